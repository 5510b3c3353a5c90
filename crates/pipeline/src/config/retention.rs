//! The keys `retention` and `maintenance` of tillhouse.yaml.
//!
//! Invariant: what comes out can be carried out; every value that is wrong is told, each with its place.

use crate::yaml::{YamlFile, error_at};
use jiff::SignedDuration;
use serde::Deserialize;
use tillhouse_lake::RetentionPolicy;
use tillhouse_model::time::parse_duration;
use tillhouse_model::yaml::{FileLocation, Spanned};
use tillhouse_model::{Error, Result};

/// For how long files stay that no kept run names, where nothing else is said. Longer than any sync.
const UNUSED: SignedDuration = SignedDuration::from_hours(24);
/// Less than that for files that no kept run names is remarked on: syncs of some size take as long.
const LEAST_UNUSED: SignedDuration = SignedDuration::from_hours(1);
/// The word for no end.
const FOR_EVER: &str = "forever";

/// Retention of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Rule by which runs are kept.
    pub policy: RetentionPolicy,
    /// For how long a file stays that no kept run names: it may be of a commit that is on its way, or of a version that somebody still reads.
    pub unused: SignedDuration,
}

impl RetentionSettings {
    /// Remarks on settings that were hardly meant, in a sentence each.
    pub(super) fn remarks(&self) -> Vec<String> {
        let is_short = self.unused < LEAST_UNUSED;
        let text = "retention.unused is less than an hour: what a sync that takes longer has written, and what a query that takes longer reads, may be deleted \
                    under it. Make it longer than the longest of them";
        is_short.then(|| text.to_owned()).into_iter().collect()
    }
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            policy: RetentionPolicy::default(),
            unused: UNUSED,
        }
    }
}

/// Section `retention` as it is written.
#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetentionSection {
    runs: Option<Spanned<String>>,
    daily: Option<Spanned<String>>,
    monthly: Option<Spanned<String>>,
    unused: Option<Spanned<String>>,
}

impl RetentionSection {
    /// The settings, and what is wrong with the section.
    pub(super) fn settings(&self, file: &YamlFile) -> (RetentionSettings, Vec<Error>) {
        let mut settings = RetentionSettings::default();
        let mut problems = Vec::new();
        let policy = &mut settings.policy;
        let lengths = [
            ("runs", &self.runs, &mut policy.runs),
            ("daily", &self.daily, &mut policy.daily),
            ("monthly", &self.monthly, &mut policy.monthly),
        ];
        for (key, written, length) in lengths {
            match written {
                None => {}
                Some(text) if text.value.trim() == FOR_EVER => *length = None,
                Some(text) => match parsed(file, key, text, " or `forever`") {
                    Ok(parsed) => *length = Some(parsed),
                    Err(error) => problems.push(error),
                },
            }
        }
        if let Some(text) = &self.unused {
            match parsed(file, "unused", text, "") {
                Ok(parsed) => settings.unused = parsed,
                Err(error) => problems.push(error),
            }
        }
        (settings, problems)
    }
}

fn parsed(file: &YamlFile, key: &str, text: &Spanned<String>, or: &str) -> Result<SignedDuration> {
    parse_duration(&text.value).map_err(|_| {
        let what = format!("`retention.{key}` is {:?}, and must be a length of time{or}", text.value);
        error_at(file, text.referenced, what)
            .hint("Write a whole number and a unit: `retention: { runs: 90d, daily: 400d, monthly: forever, unused: 24h }`.")
    })
}

/// True if a sync does a share of the maintenance by itself; it does where nothing is said.
pub(super) fn maintenance(file: &YamlFile, written: Option<&Spanned<String>>) -> Result<bool> {
    match written.map(|text| text.value.trim()) {
        None | Some("on" | "true") => Ok(true),
        Some("off" | "false") => Ok(false),
        Some(other) => {
            let what = format!("`maintenance` is {other:?}, and must be `on` or `off`");
            let at = written.map_or(FileLocation::UNKNOWN, |text| text.referenced);
            Err(error_at(file, at, what).hint(
                "`off` is for those who run `tillhouse compact` and `tillhouse vacuum` by themselves.",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Written {
        #[serde(default)]
        retention: RetentionSection,
        maintenance: Option<Spanned<String>>,
    }

    fn written(text: &str) -> (YamlFile, Written) {
        let file = YamlFile::of("tillhouse.yaml".into(), text.to_owned());
        let written = file.parse().unwrap();
        (file, written)
    }

    fn settings(text: &str) -> RetentionSettings {
        let (file, written) = written(text);
        let (settings, problems) = written.retention.settings(&file);
        assert!(problems.is_empty(), "{problems:?}");
        settings
    }

    /// Everything that is wrong, with its place.
    fn problems(text: &str) -> Vec<String> {
        let (file, written) = written(text);
        let (_, problems) = written.retention.settings(&file);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn runs_are_kept_ninety_days_then_one_a_day_then_one_a_month_where_nothing_is_said() {
        let days = |days: i64| Some(SignedDuration::from_hours(24 * days));
        let said = settings("maintenance: on");
        assert_eq!(said, RetentionSettings::default());
        let RetentionPolicy {
            runs,
            daily,
            monthly,
        } = said.policy;
        assert_eq!((runs, daily, monthly), (days(90), days(400), days(3_660)));
        assert_eq!(said.unused, SignedDuration::from_hours(24));
    }

    #[test]
    fn every_key_is_a_length_and_all_but_unused_may_be_for_ever() {
        let said = settings("retention: { runs: 36h, daily: 52w, monthly: forever, unused: 90m }");
        assert_eq!(said.policy.runs, Some(SignedDuration::from_hours(36)));
        assert_eq!(
            said.policy.daily,
            Some(SignedDuration::from_hours(364 * 24))
        );
        assert_eq!(said.policy.monthly, None);
        assert_eq!(said.unused, SignedDuration::from_mins(90));
        // One that is left out is as if nothing was said.
        let said = settings("retention: { runs: forever }");
        assert_eq!(said.policy.runs, None);
        assert_eq!(said.policy.daily, RetentionPolicy::default().daily);
    }

    #[test]
    fn less_than_any_sync_takes_is_remarked_on() {
        for (unused, is_told) in [("0s", true), ("59m", true), ("1h", false), ("24h", false)] {
            let said = settings(&format!("retention: {{ runs: 1h, unused: {unused} }}"));
            assert_eq!(said.remarks().len(), usize::from(is_told), "{unused}");
        }
        assert!(RetentionSettings::default().remarks().is_empty());
    }

    #[test]
    fn each_wrong_value_is_told_with_its_place() {
        let text = "retention:\n  runs: soon\n  daily: 3x\n  monthly: -1d\n  unused: forever\n";
        let told = problems(text);
        assert_eq!(told.len(), 4, "{told:?}");
        for (told, (line, key)) in
            told.iter()
                .zip([(2, "runs"), (3, "daily"), (4, "monthly"), (5, "unused")])
        {
            assert!(told.contains(&format!("tillhouse.yaml:{line}:")), "{told}");
            assert!(told.contains(&format!("`retention.{key}`")), "{told}");
        }
        assert!(told[0].contains("or `forever`") && !told[3].contains("or `forever`"));
        let file = YamlFile::of("tillhouse.yaml".into(), "retention: { weekly: 3d }".into());
        let error = file.parse::<Written>().err().unwrap().to_string();
        assert!(error.contains("weekly"), "{error}");
    }

    #[test]
    fn maintenance_is_on_unless_it_is_off() {
        let is_on = |text: &str| {
            let (file, written) = written(text);
            maintenance(&file, written.maintenance.as_ref())
        };
        for (text, on) in [
            ("retention: {}", true),
            ("maintenance: on", true),
            ("maintenance: \"true\"", true),
            ("maintenance: off", false),
            ("maintenance: \"false\"", false),
        ] {
            assert_eq!(is_on(text).unwrap(), on, "{text}");
        }
        let error = is_on("maintenance: nightly").unwrap_err();
        assert!(error.to_string().contains("\"nightly\""), "{error}");
        assert!(error.hint_text().unwrap().contains("tillhouse vacuum"));
        for wrong in ["{ a: b }", "[on]"] {
            let file = YamlFile::of("tillhouse.yaml".into(), format!("maintenance: {wrong}"));
            let error = file.parse::<Written>().err().unwrap();
            let told = error.to_string();
            assert!(
                told.starts_with("`maintenance`: expected a text, found")
                    && told.contains("tillhouse.yaml:1:14"),
                "{told}"
            );
            let advice = error.hint_text().unwrap();
            assert!(
                advice.contains("maintenance: on, or maintenance: off"),
                "{advice}"
            );
        }
    }
}
