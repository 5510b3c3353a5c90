//! A slice as read: its records as bytes and by key, and how they compare with the server's.
//!
//! Invariant: records are compared as they were written, byte for byte; nothing is parsed but what identifies them.

use crate::source::Page;
use crate::testing::source_under_test::ResourceUnderTest;
use crate::testing::violation::{ClauseResult, ClauseViolation};
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use tillhouse_model::{Error, Resource};

/// Record of a page: its key and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageRecord {
    pub(crate) key: String,
    pub(crate) text: String,
}

/// Page that a source read.
#[derive(Debug, Clone)]
pub(crate) struct ReadPage {
    pub(crate) records: Vec<PageRecord>,
    pub(crate) declared_total: Option<u64>,
    pub(crate) requested_at: Timestamp,
    pub(crate) anew: bool,
    /// True if it says of the listing what nobody could prove.
    pub(crate) has_remarks: bool,
}

/// Slice, read to its end or to the error that ended it.
#[derive(Debug, Default)]
pub(crate) struct SliceReading {
    pub(crate) pages: Vec<ReadPage>,
    pub(crate) error: Option<Error>,
}

/// Records that the server holds, by key.
pub(crate) type ServerRecords = BTreeMap<String, String>;

impl ResourceUnderTest {
    /// Key of a record.
    fn key_of(&self, record: &str) -> Result<String, ClauseViolation> {
        let value: Value = serde_json::from_str(record)
            .map_err(|error| ClauseViolation::new(format!("a record is no JSON: {error}")))?;
        let mut parts = Vec::new();
        for pointer in &self.key {
            parts.push(match value.pointer(pointer) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                _ => {
                    return Err(ClauseViolation::new(format!(
                        "a record of {} has no key at {pointer}",
                        self.resource
                    )));
                }
            });
        }
        hold!(
            !parts.is_empty(),
            "the subject names no key of {}",
            self.resource
        );
        Ok(parts.join("|"))
    }

    /// A record's time, where it has one that the subject's pointers find.
    pub(crate) fn time_of(&self, record: &str) -> Option<Timestamp> {
        let value: Value = serde_json::from_str(record).ok()?;
        self.time
            .iter()
            .find_map(|pointer| value.pointer(pointer)?.as_str()?.parse().ok())
    }

    /// The page's records.
    pub(crate) fn read_page(
        &self,
        page: &Page,
        resource: &Resource,
    ) -> Result<ReadPage, ClauseViolation> {
        let texts = records(&page.bytes, resource.records_at)
            .map_err(|what| ClauseViolation::new(format!("a page of {}: {what}", self.resource)))?;
        let records = texts.into_iter().map(|text| {
            Ok(PageRecord {
                key: self.key_of(&text)?,
                text,
            })
        });
        Ok(ReadPage {
            records: records.collect::<Result<_, ClauseViolation>>()?,
            declared_total: page.declared_total,
            requested_at: page.requested_at,
            anew: page.restarts_listing,
            has_remarks: !page.remarks.is_empty(),
        })
    }

    /// Records of the server, from the lines of its answer.
    pub(crate) fn truth(&self, lines: Vec<String>) -> Result<ServerRecords, ClauseViolation> {
        let mut truth = ServerRecords::new();
        for line in lines {
            let key = self.key_of(&line)?;
            let twice = truth.insert(key.clone(), line).is_some();
            hold!(
                !twice,
                "two records of {} have the key {key:?}: the subject's key is not one",
                self.resource
            );
        }
        Ok(truth)
    }
}

/// The elements of the array at a path of keys, as they are written. What stands there alone is one record.
fn records(bytes: &[u8], at: &[&str]) -> Result<Vec<String>, String> {
    let Some((key, rest)) = at.split_first() else {
        let whole: &RawValue =
            serde_json::from_slice(bytes).map_err(|error| format!("no JSON: {error}"))?;
        if whole.get().starts_with('[') {
            let elements: Vec<&RawValue> =
                serde_json::from_str(whole.get()).map_err(|error| error.to_string())?;
            return Ok(elements
                .into_iter()
                .map(|element| element.get().to_owned())
                .collect());
        }
        return Ok(vec![whole.get().to_owned()]);
    };
    let object: HashMap<String, &RawValue> =
        serde_json::from_slice(bytes).map_err(|error| format!("no object: {error}"))?;
    let inner = object
        .get(*key)
        .ok_or_else(|| format!("there is no {key}"))?;
    records(inner.get().as_bytes(), rest)
}

impl SliceReading {
    pub(crate) fn records(&self) -> impl Iterator<Item = &PageRecord> {
        self.pages.iter().flat_map(|leaf| &leaf.records)
    }

    /// The pages of the last reading of the slice, where it was read anew.
    pub(crate) fn last_leaves(&self) -> &[ReadPage] {
        let from = self.pages.iter().rposition(|leaf| leaf.anew).unwrap_or(0);
        self.pages.get(from..).unwrap_or_default()
    }

    /// True if a remark says what nobody could prove of the listing.
    pub(crate) fn has_remarks(&self) -> bool {
        self.pages.iter().any(|leaf| leaf.has_remarks)
    }

    /// Number of different records.
    pub(crate) fn distinct(&self) -> usize {
        self.records()
            .map(|record| &record.key)
            .collect::<std::collections::HashSet<_>>()
            .len()
    }

    /// The total of the last page that declares one.
    pub(crate) fn declared_total(&self) -> Option<u64> {
        self.pages.iter().rev().find_map(|leaf| leaf.declared_total)
    }

    /// Holds where it ended well.
    pub(crate) fn ended_well(&self) -> ClauseResult {
        match &self.error {
            None => Ok(()),
            Some(error) => Err(ClauseViolation::new(format!(
                "after {} pages came an error: {error}",
                self.pages.len()
            ))),
        }
    }

    /// Holds where it has each of `wanted`, and beyond that only what the server holds elsewhere.
    pub(crate) fn is_complete(
        &self,
        wanted: &ServerRecords,
        everything: &ServerRecords,
    ) -> ClauseResult {
        self.ended_well()?;
        self.is_true(everything)?;
        self.misses_none(wanted.keys().map(String::as_str), wanted.len())
    }

    /// As [`Self::is_complete`], and each exactly once: the trait allows more, but without a disturbance there is no reason for it.
    pub(crate) fn is_exactly(
        &self,
        wanted: &ServerRecords,
        everything: &ServerRecords,
    ) -> ClauseResult {
        self.is_complete(wanted, everything)?;
        let mut times: HashMap<&str, usize> = HashMap::new();
        for record in self.records() {
            *times.entry(&record.key).or_default() += 1;
        }
        let often = wanted
            .keys()
            .find(|key| times.get(key.as_str()).is_some_and(|times| *times > 1));
        hold!(
            often.is_none(),
            "the record {:?} came more than once",
            often.map_or("", |key| key)
        );
        Ok(())
    }

    /// Holds where all these came, of so many.
    pub(crate) fn misses_none<'k>(
        &self,
        wanted: impl Iterator<Item = &'k str>,
        of: usize,
    ) -> ClauseResult {
        let came: std::collections::HashSet<&str> =
            self.records().map(|record| record.key.as_str()).collect();
        let missing: Vec<&str> = wanted.filter(|key| !came.contains(key)).collect();
        let first = missing.first().copied().unwrap_or_default();
        hold!(
            missing.is_empty(),
            "{} of {of} records are missing, {first:?} among them",
            missing.len()
        );
        Ok(())
    }

    /// Holds where whatever came is what the server has, to the byte.
    pub(crate) fn is_true(&self, everything: &ServerRecords) -> ClauseResult {
        for record in self.records() {
            match everything.get(&record.key) {
                None => {
                    return Err(ClauseViolation::new(format!(
                        "the record {:?} came, which is not there",
                        record.key
                    )));
                }
                Some(text) => hold!(
                    *text == record.text,
                    "the record {:?} came otherwise than the server has it: {} instead of {text}",
                    record.key,
                    record.text
                ),
            }
        }
        Ok(())
    }
}
