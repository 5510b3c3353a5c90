//! Newest versions of records that are asked for by id, where an answer may leave something out.
//!
//! Invariant: they are read from the table unless the answer is the one that made them what they are: whether it is, the table's fingerprints say, and
//! where these say nothing the versions are read.

use arrow::array::Array;
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use tillhouse_decode::{DecodedPage, KnownRecords};
use tillhouse_lake::SourceTable;
use tillhouse_model::Result;
use tokio::sync::OnceCell;
use xxhash_rust::xxh3::xxh3_128;

/// Newest versions of some records, read from their table once they are wanted.
pub(crate) struct NewestVersions<'a> {
    table: &'a SourceTable,
    keys: Vec<String>,
    /// When they happened, as far as that is known.
    times: Vec<Timestamp>,
    /// Keys of open rejects, which are resolved by landing.
    rejected: &'a HashSet<String>,
    rows: OnceCell<Arc<KnownRecords>>,
}

impl<'a> NewestVersions<'a> {
    /// Those of records by key, with the times at which they happened, as far as that is known.
    pub(crate) fn of(
        table: &'a SourceTable,
        (keys, times): (Vec<String>, Vec<Timestamp>),
        rejected: &'a HashSet<String>,
    ) -> Self {
        Self {
            table,
            keys,
            times,
            rejected,
            rows: OnceCell::new(),
        }
    }

    /// Their rows.
    pub(crate) async fn rows(&self) -> Result<Arc<KnownRecords>> {
        let reading = || async {
            let rows = self.table.newest_rows(&self.keys, &self.times).await?;
            KnownRecords::new(rows).map(Arc::new)
        };
        self.rows.get_or_try_init(reading).await.map(Arc::clone)
    }

    /// True if it is known, without reading, that completing the newest versions by what a page says changes none of them.
    pub(crate) async fn recognize(&self, said: &DecodedPage) -> Result<bool> {
        if said.keys.is_empty() || !said.rejects.is_empty() {
            return Ok(false);
        }
        for (key, answer) in answers(said) {
            let is_known =
                !self.rejected.contains(key) && self.table.recognizes_answer(key, answer).await?;
            if !is_known {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Remembers what a page said of the records that it was completed to.
    pub(crate) fn note(&self, said: &DecodedPage, completed: &DecodedPage) {
        let landing: HashSet<&str> = completed.keys.iter().flatten().collect();
        for (key, answer) in answers(said).filter(|(key, _)| landing.contains(key)) {
            self.table.note_answer(key, answer);
        }
    }
}

/// Keys of a page's records, and a fingerprint of what it says of each.
fn answers(page: &DecodedPage) -> impl Iterator<Item = (&str, u128)> {
    let records = page.keys.iter().zip(page.content_hashes.iter());
    records.filter_map(|(key, hash)| Some((key?, xxh3_128(hash?))))
}
