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
/// The word for no end.
const FOR_EVER: &str = "forever";

/// Retention of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Which runs are kept.
    pub policy: RetentionPolicy,
    /// For how long a file stays that no kept run names: it may be of a commit that is on its way, or of a version that somebody still reads.
    pub unused: SignedDuration,
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
