//! Settings of a conversation, as SET and SHOW know them.
//!
//! Invariant: a setting that would change what is answered has one value, and another is refused or told to be without effect; all others are kept, so that they are read back
//! as they were set. They are bounded in number and size.

use super::fault::{Fault, NOT_THERE};
use std::collections::BTreeMap;
use std::time::Duration;
use tillhouse_query::DEFAULT_SCHEMA;

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

/// Settings that no client makes: who asks, and whether what is said is encrypted.
pub(super) const OF_CONNECTION: [&str; 2] = ["session_authorization", "ssl"];

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

    /// Takes note that the connection is encrypted, which stays so.
    pub(super) fn note_encryption(&mut self) {
        self.0.insert("ssl".to_owned(), "on".to_owned());
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

    /// Forgets what was set, but for what the connection is.
    pub(super) fn reset(&mut self) {
        self.0
            .retain(|name, _| OF_CONNECTION.contains(&name.as_str()));
    }

    /// Sets one; without a value it gets its default back.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) -> Result<Changed, Fault> {
        let name = name.to_lowercase();
        let Some(value) = value else {
            if !OF_CONNECTION.contains(&name.as_str()) {
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
        match name.as_str() {
            "statement_timeout" if length(value).is_none() => return Err(invalid(&name)),
            "search_path" => check_path(value)?,
            _ => {}
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

/// Names on a search path that have no tables of ours, and that tools put before others.
const PASSED_OVER: [&str; 5] = ["", "$user", "public", "pg_catalog", "pg_temp"];

/// Errors where a search path would have names without a schema read in another schema than they are read in here.
pub(super) fn check_path(path: &str) -> Result<(), Fault> {
    let mut names = path.split(',').map(|name| {
        let name = name.trim().trim_matches('\\').trim();
        name.trim_matches(['"', '\'']).to_lowercase()
    });
    match names.find(|name| !PASSED_OVER.contains(&name.as_str())) {
        Some(first) if first != DEFAULT_SCHEMA => {
            let what = format!(
                "search_path cannot begin with {first:?}: a table named without a schema is one of {DEFAULT_SCHEMA}"
            );
            let hint = format!("Name the schema with the table, as in {first}.transactions.");
            Err(Fault::new(NOT_THERE, what).hint(hint))
        }
        _ => Ok(()),
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
    fn a_search_path_reads_no_other_schema() {
        let mut settings = Settings::of_user("ada");
        for path in [
            "unified",
            "public",
            "$user, public",
            "\"$user\", unified, hecone",
            "public,\\ unified",
            "pg_catalog",
            "",
            "Unified",
        ] {
            assert_eq!(
                settings.set("search_path", Some(path)),
                Ok(Changed::AsAsked),
                "{path}"
            );
            assert_eq!(settings.get("search_path"), Some(path));
        }
        for path in ["hecone", "latest, unified", "\"$user\", public, ops"] {
            let fault = settings.set("Search_Path", Some(path)).unwrap_err();
            assert_eq!(fault.code, NOT_THERE, "{path}");
        }
        assert_eq!(settings.get("search_path"), Some("Unified"));
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
        assert_eq!(settings.get("ssl"), Some("off"));
        settings.note_encryption();
        settings.set("ssl", None).unwrap();
        assert!(settings.set("ssl", Some("off")).is_err());
        settings.reset();
        assert_eq!(settings.get("ssl"), Some("on"));
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
