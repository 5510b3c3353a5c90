//! Warnings of a package, and the version of its record that each is about.
//!
//! Invariant: a warning about a version names it by its content, so that it can be told from one about the version that counts; one about a record or a
//! listing names none. Nothing that was warned about is left out for that: what does not count is written down, and not counted.

use arrow::array::Array;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use tillhouse_decode::Warning;
use tillhouse_lake::{DroppedVersion, PackagePage};

/// Warning of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackageWarning {
    pub(crate) warning: Warning,
    /// Content hash of the version that it is about, in hexadecimal digits.
    pub(crate) version: Option<String>,
}

impl PackageWarning {
    /// Warnings that are about records or listings, and about no version alone.
    pub(crate) fn all(warnings: impl IntoIterator<Item = Warning>) -> impl Iterator<Item = Self> {
        let of = |warning| Self {
            warning,
            version: None,
        };
        warnings.into_iter().map(of)
    }

    /// The warnings of a page: each is about the row with its key, where there is one row of it or all are the same.
    pub(crate) fn of_page(warnings: Vec<Warning>, page: &PackagePage) -> Vec<Self> {
        let mut versions: HashMap<&str, Option<&[u8]>> = HashMap::new();
        if warnings.iter().any(|warning| !warning.key.is_empty()) {
            for (row, key) in page.keys.iter().enumerate() {
                let Some(key) = key else { continue };
                let is_hashed = page.content_hashes.is_valid(row);
                let hash = is_hashed.then(|| page.content_hashes.value(row));
                let version = versions.entry(key).or_insert(hash);
                *version = version.filter(|known| Some(*known) == hash);
            }
        }
        let with_version = |warning: Warning| {
            let version = versions.get(warning.key.as_str()).copied().flatten();
            Self {
                version: version.map(hexadecimal),
                warning,
            }
        };
        warnings.into_iter().map(with_version).collect()
    }

    /// Number of warnings that are not about versions that were `dropped` for others.
    pub(crate) fn count_of_current(warnings: &[Self], dropped: &[DroppedVersion]) -> u64 {
        let dropped: HashSet<(&str, String)> = dropped
            .iter()
            .map(|version| (version.key.as_str(), hexadecimal(&version.content_hash)))
            .collect();
        let counts = |told: &&Self| {
            let version = told.version.as_ref().filter(|_| !dropped.is_empty());
            version.is_none_or(|version| {
                !dropped.contains(&(told.warning.key.as_str(), version.clone()))
            })
        };
        let current = warnings.iter().filter(counts);
        current.map(|told| told.warning.count).sum()
    }
}

/// Bytes as two digits each.
fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _infallible = write!(digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted_source::{queued, sale};

    fn warning(key: &str, rule: &str) -> Warning {
        Warning {
            key: key.to_owned(),
            field: String::new(),
            rule: rule.to_owned(),
            original: String::new(),
            count: 2,
        }
    }

    #[test]
    fn a_warning_names_the_content_of_the_row_that_it_is_about() {
        let later = r#"{"id":"b","at":"2026-01-01T11:00:00Z"}"#.to_owned();
        let page = queued(&[sale("a"), sale("b"), later, sale("c"), sale("c")], 1).incoming;
        let warnings = ["a", "b", "c", "d", ""].map(|key| warning(key, "r"));
        let told = PackageWarning::of_page(warnings.to_vec(), &page);
        let hash = |row: usize| Some(hexadecimal(page.content_hashes.value(row)));
        let versions: Vec<Option<String>> = told.iter().map(|it| it.version.clone()).collect();
        // Of two rows with one key nobody knows which of them is meant, unless they are the same.
        assert_eq!(versions, [hash(0), None, hash(3), None, None]);
        assert_eq!(hash(0).map(|digits| digits.len()), Some(34));
        let unchanged = told.into_iter().map(|it| it.warning);
        assert_eq!(unchanged.collect::<Vec<_>>(), warnings);
        assert_eq!(hexadecimal(&[0, 1, 0xab, 0xff]), "0001abff");
    }

    #[test]
    fn warnings_about_versions_that_were_dropped_are_not_counted() {
        let of = |key: &str, version: Option<u8>| PackageWarning {
            warning: warning(key, "r"),
            version: version.map(|byte| hexadecimal(&[byte; 17])),
        };
        let warnings = [
            of("a", Some(1)),
            of("a", Some(2)),
            of("b", Some(1)),
            of("a", None),
        ];
        assert_eq!(PackageWarning::count_of_current(&warnings, &[]), 8);
        let dropped = [DroppedVersion {
            key: "a".to_owned(),
            content_hash: [1; 17],
        }];
        assert_eq!(PackageWarning::count_of_current(&warnings, &dropped), 6);
        let other = PackageWarning::all([warning("c", "older_change")]);
        let other: Vec<PackageWarning> = other.collect();
        assert_eq!(PackageWarning::count_of_current(&other, &dropped), 2);
    }
}
