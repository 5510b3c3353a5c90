//! One question to the list endpoint, and the rows that answer it in their order.
//!
//! Invariant: two pages of one listing are cut from the same list of rows, as long as no record changed in between.

use super::filter::HecOneFilter;
use super::records::{HecOneRecordId, HecOneRecordStore};
use super::wire::HecOneTransaction;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use tillhouse_emulator::query::last;

/// Sort key of the transaction list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HecOneSortKey {
    Time,
    Id,
    /// A text of the record, by name; empty where the record has none.
    Word(&'static str),
}

/// Parsed query of the transaction list, without the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HecOneListQuery {
    /// Microseconds since 1970 UTC.
    pub from: i64,
    pub to: i64,
    pub mandator: Option<String>,
    pub sort: HecOneSortKey,
    pub descending: bool,
    pub filter: Option<String>,
}

/// Offset and limit of a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HecOnePageRange {
    pub offset: usize,
    pub limit: usize,
}

const WORDS: [&str; 8] = [
    "state",
    "mandator_id",
    "site_id",
    "point_id",
    "session_id",
    "terminal_transaction_number",
    "site_name",
    "device_name",
];

impl HecOneListQuery {
    /// Reads the query; the error is for the caller's eyes. `largest` is the largest page; more is silently cut to that.
    pub(crate) fn parse(
        pairs: &[(String, String)],
        largest: u32,
    ) -> Result<(Self, HecOnePageRange), String> {
        let (from, to) = window(pairs)?;
        let sort = last(pairs, "sort").unwrap_or("created_at");
        let (descending, name) = sort
            .strip_prefix('-')
            .map_or((false, sort), |name| (true, name));
        let sort = match name {
            "created_at" | "invoice.created_at" => HecOneSortKey::Time,
            "id" => HecOneSortKey::Id,
            other => HecOneSortKey::Word(
                WORDS
                    .iter()
                    .find(|word| **word == other)
                    .copied()
                    .ok_or_else(|| format!("cannot sort by {other:?}"))?,
            ),
        };
        let number = |key: &str, default: u64| match last(pairs, key) {
            None => Ok(default),
            Some(text) => text
                .parse::<u64>()
                .map_err(|_| format!("{key} must be a whole number, zero or more")),
        };
        let limit = number("page[limit]", 100)?;
        if limit == 0 {
            return Err("page[limit] must be at least 1".into());
        }
        let cut = HecOnePageRange {
            offset: usize::try_from(number("page[offset]", 0)?).unwrap_or(usize::MAX),
            limit: usize::try_from(limit.min(u64::from(largest))).unwrap_or(1),
        };
        let question = Self {
            from,
            to,
            mandator: last(pairs, "mandator_id").map(str::to_owned),
            sort,
            descending,
            filter: last(pairs, "filter").map(str::to_owned),
        };
        Ok((question, cut))
    }

    /// The rows, in the order asked for.
    fn rows(&self, records: &HecOneRecordStore, end_included: bool) -> Result<Vec<u32>, String> {
        let filter = self
            .filter
            .as_deref()
            .map(HecOneFilter::parse)
            .transpose()?;
        let mut rows = records.between(self.from, self.to, end_included).to_vec();
        if let Some(wanted) = &self.mandator {
            let wanted = records.mandators.iter().position(|known| known == wanted);
            rows.retain(|row| Some(usize::from(records.rows[*row as usize].mandator)) == wanted);
        }
        let record = |row: u32| HecOneTransaction::parse(&records.rows[row as usize].body);
        if let Some(filter) = filter {
            rows.retain(|row| record(*row).is_some_and(|record| filter.passes(&record)));
        }
        match self.sort {
            HecOneSortKey::Time => {}
            HecOneSortKey::Id => sort_by_id(&mut rows, records),
            HecOneSortKey::Word(name) => {
                rows.sort_by_cached_key(|row| {
                    (
                        record(*row).map_or_else(String::new, |r| word(&r, name)),
                        records.rows[*row as usize].id.clone(),
                    )
                });
            }
        }
        if self.descending {
            rows.reverse();
        }
        Ok(rows)
    }
}

/// `start_date` and `end_date`, microseconds; both required, both with an offset.
pub(crate) fn window(pairs: &[(String, String)]) -> Result<(i64, i64), String> {
    let instant = |key: &str| {
        let text = last(pairs, key).ok_or_else(|| format!("{key} is required"))?;
        let instant: Timestamp = text.parse().map_err(|_| {
            format!("{key} must be a date-time with an offset, like 2020-08-10T10:00:00Z")
        })?;
        Ok::<_, String>(instant.as_microsecond())
    };
    let (from, to) = (instant("start_date")?, instant("end_date")?);
    if from > to {
        return Err("start_date is after end_date".into());
    }
    Ok((from, to))
}

fn sort_by_id(rows: &mut Vec<u32>, records: &HecOneRecordStore) {
    let uuids: Option<Vec<(u128, u32)>> = rows
        .iter()
        .map(|row| match &records.rows[*row as usize].id {
            HecOneRecordId::Uuid(number) => Some((*number, *row)),
            HecOneRecordId::Odd(_) => None,
        })
        .collect();
    match uuids {
        // Numbers sort without leaving their cache lines.
        Some(mut uuids) => {
            uuids.sort_unstable();
            *rows = uuids.into_iter().map(|(_, row)| row).collect();
        }
        None => rows.sort_by(|a, b| {
            records.rows[*a as usize]
                .id
                .cmp(&records.rows[*b as usize].id)
        }),
    }
}

fn word(record: &HecOneTransaction<'_>, name: &str) -> String {
    let text = match name {
        "state" => Some(record.state.as_ref()),
        "mandator_id" => Some(record.mandator_id.as_ref()),
        "site_id" => record.site_id.as_deref(),
        "point_id" => record.point_id.as_deref(),
        "session_id" => record.session_id.as_deref(),
        "terminal_transaction_number" => record.terminal_transaction_number.as_deref(),
        "site_name" => record.site.as_ref().and_then(|s| s.name.as_deref()),
        "device_name" => record.device.as_ref().and_then(|d| d.name.as_deref()),
        _ => None,
    };
    text.unwrap_or_default().to_owned()
}

/// Cache of the listings that were requested last, so that a page costs no sort.
#[derive(Debug, Default)]
pub(crate) struct HecOneListingCache(VecDeque<(HecOneListQuery, u64, Arc<Vec<u32>>)>);

/// Listings kept: slices are read side by side.
const KEPT: usize = 48;

impl HecOneListingCache {
    /// The rows of a question; made anew when a record changed since.
    pub(crate) fn rows(
        &mut self,
        question: &HecOneListQuery,
        records: &HecOneRecordStore,
        end_included: bool,
    ) -> Result<Arc<Vec<u32>>, String> {
        self.0
            .retain(|(_, generation, _)| *generation == records.generation);
        if let Some((_, _, rows)) = self.0.iter().find(|(known, _, _)| known == question) {
            return Ok(Arc::clone(rows));
        }
        let rows = Arc::new(question.rows(records, end_included)?);
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0
            .push_back((question.clone(), records.generation, Arc::clone(&rows)));
        Ok(rows)
    }
}
