//! Settings of a conversation, as SET and SHOW know them.
//!
//! Invariant: a setting that would change what is answered has one value, and another is refused or told to be without effect; all others are kept, so that they are read back
//! as they were set. They are bounded in number and size.

use super::fault::Fault;
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings that a client may make.
const MOST: usize = 128;
/// Bytes of one.
const LONGEST: usize = 4_096;

/// Version of PostgreSQL whose words are spoken.
pub(super) const SERVER_VERSION: &str = "16.0";

/// Settings and their values where nobody set another.
pub(super) const DEFAULTS: [(&str, &str); 27] = [
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_isolation", "repeatable read"),
    ("default_transaction_read_only", "on"),
    ("extra_float_digits", "1"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("lc_messages", "C"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("search_path", "unified"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160000"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
    ("transaction_isolation", "repeatable read"),
    ("transaction_read_only", "on"),
    ("ssl", "off"),
];

/// Settings that a client is told when it comes, and when they change, in the spelling that drivers look for.
pub(super) const REPORTED: [(&str, &str); 13] = [
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    (
        "default_transaction_read_only",
        "default_transaction_read_only",
    ),
    ("in_hot_standby", "in_hot_standby"),
    ("integer_datetimes", "integer_datetimes"),
    ("intervalstyle", "IntervalStyle"),
    ("is_superuser", "is_superuser"),
    ("server_encoding", "server_encoding"),
    ("server_version", "server_version"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("timezone", "TimeZone"),
    ("session_authorization", "session_authorization"),
];

/// The settings.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings(BTreeMap<String, String>);

/// Outcome of a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// It has the value that was asked for.
    AsAsked,
    /// It keeps the one value that it has, which the client has to know.
    Not(&'static str),
}

impl Settings {
    pub(super) fn of_user(user: &str) -> Self {
        Self(BTreeMap::from([(
            "session_authorization".to_owned(),
            user.to_owned(),
        )]))
    }

    /// The value of a setting.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let name = name.to_lowercase();
        let otherwise = DEFAULTS.iter().find(|(known, _)| *known == name);
        let set = self.0.get(&name).map(String::as_str);
        set.or_else(|| otherwise.map(|(_, value)| *value))
    }

    /// All settings, by name.
    pub(super) fn all(&self) -> BTreeMap<&str, &str> {
        let set = self
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        DEFAULTS.into_iter().chain(set).collect()
    }

    /// Forgets what was set, but for the user.
    pub(super) fn reset(&mut self) {
        self.0.retain(|name, _| name == "session_authorization");
    }

    /// Sets one; without a value it gets its default back.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) -> Result<Changed, Fault> {
        let name = name.to_lowercase();
        let Some(value) = value else {
            if name != "session_authorization" {
                self.0.remove(&name);
            }
            return Ok(Changed::AsAsked);
        };
        if !is_free(&name) {
            return self.fixed(&name, value);
        }
        if value.len() > LONGEST || name.len() > LONGEST || self.0.len() >= MOST {
            return Err(Fault::new("53400", "more is set than can be kept"));
        }
        if name == "statement_timeout" {
            length(value).ok_or_else(|| invalid(&name))?;
        }
        self.0.insert(name, value.to_owned());
        Ok(Changed::AsAsked)
    }

    /// A setting that has one value.
    fn fixed(&self, name: &str, value: &str) -> Result<Changed, Fault> {
        let plain = value.to_lowercase().replace(['-', '_', ' ', '"', '\''], "");
        let is_same = match name {
            "client_encoding" => matches!(plain.as_str(), "utf8" | "unicode" | "sqlascii"),
            "datestyle" => plain.starts_with("iso"),
            "timezone" => matches!(
                plain.as_str(),
                "utc" | "etc/utc" | "gmt" | "z" | "zulu" | "0" | "local" | "+00" | "+00:00"
            ),
            "standard_conforming_strings" => matches!(plain.as_str(), "on" | "true" | "1" | "yes"),
            "default_transaction_read_only" | "transaction_read_only" => true,
            "default_transaction_isolation" | "transaction_isolation" => true,
            _ => self
                .get(name)
                .is_some_and(|known| known.eq_ignore_ascii_case(value)),
        };
        match (is_same, name) {
            (true, _) => Ok(Changed::AsAsked),
            (false, "timezone") => Ok(Changed::Not(
                "instants are shown in UTC; x AT TIME ZONE 'Europe/Berlin' shows one on another clock",
            )),
            (false, "datestyle") => Ok(Changed::Not("dates are shown in ISO 8601")),
            (false, "intervalstyle") => Ok(Changed::Not("intervals are shown as PostgreSQL does")),
            (false, "bytea_output") => Ok(Changed::Not("bytes are shown in hexadecimal digits")),
            (false, _) => Err(invalid(name)),
        }
    }

    /// Time that a statement may take, where the client has said less than the server gives.
    pub(super) fn timeout(&self, most: Duration) -> Duration {
        let wanted = self.get("statement_timeout").and_then(length);
        match wanted.filter(|wanted| !wanted.is_zero()) {
            Some(wanted) => wanted.min(most),
            None => most,
        }
    }
}

fn invalid(name: &str) -> Fault {
    Fault::new("22023", format!("{name} cannot have that value here"))
}

/// True for a setting that changes nothing of what is answered, or is carried out.
fn is_free(name: &str) -> bool {
    matches!(
        name,
        "application_name"
            | "client_min_messages"
            | "extra_float_digits"
            | "search_path"
            | "statement_timeout"
    ) || !DEFAULTS
        .iter()
        .chain(&REPORTED)
        .any(|(known, _)| *known == name)
}

/// A length of time: a number of milliseconds, or with a unit.
fn length(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at_checked(digits)?;
    let count: u64 = count.parse().ok()?;
    let milliseconds = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.checked_mul(milliseconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_an_answer_is_not_taken_silently() {
        let mut settings = Settings::of_user("ada");
        for (name, value) in [
            ("DateStyle", "ISO"),
            ("client_encoding", "UTF-8"),
            ("TimeZone", "Etc/UTC"),
            ("standard_conforming_strings", "on"),
            ("extra_float_digits", "3"),
            ("myapp.x", "1"),
        ] {
            assert_eq!(
                settings.set(name, Some(value)),
                Ok(Changed::AsAsked),
                "{name}"
            );
        }
        for (name, value) in [("TimeZone", "Europe/Berlin"), ("datestyle", "German")] {
            assert!(matches!(
                settings.set(name, Some(value)),
                Ok(Changed::Not(_))
            ));
        }
        assert_eq!(settings.get("TIMEZONE"), Some("UTC"));
        for (name, value) in [
            ("client_encoding", "LATIN1"),
            ("standard_conforming_strings", "off"),
            ("server_version", "9"),
            ("is_superuser", "on"),
            ("session_authorization", "root"),
            ("statement_timeout", "soon"),
        ] {
            assert!(settings.set(name, Some(value)).is_err(), "{name}");
        }
        assert_eq!(settings.get("session_authorization"), Some("ada"));
    }

    #[test]
    fn settings_are_kept_until_they_are_reset() {
        let mut settings = Settings::of_user("ada");
        settings.set("application_name", Some("x")).unwrap();
        settings.set("statement_timeout", Some("5s")).unwrap();
        let most = Duration::from_secs(60);
        assert_eq!(settings.timeout(most), Duration::from_secs(5));
        settings.set("statement_timeout", Some("5min")).unwrap();
        assert_eq!(settings.timeout(most), most);
        settings.reset();
        assert_eq!(settings.get("application_name"), Some(""));
        assert_eq!(settings.get("session_authorization"), Some("ada"));
        assert_eq!(settings.get("no_such"), None);
        for number in 0..200 {
            let _ = settings.set(&format!("a.b{number}"), Some("x"));
        }
        assert!(settings.all().len() <= MOST + DEFAULTS.len());
    }

    #[test]
    fn every_setting_that_is_told_has_a_value() {
        let settings = Settings::of_user("ada");
        for (name, _) in REPORTED {
            assert!(settings.get(name).is_some(), "{name}");
        }
    }
}
