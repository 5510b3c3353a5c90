//! Versions of records, and a session's views of a history that show only some of them.
//!
//! Invariant: a version is known by its record's key and the number of its package; of each key [`LatestVersions`] keeps the highest.

use super::rows::{cast, text};
use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_lake::TableProvider;
use tillhouse_model::table::{LOAD_ID, RECORD_KEY, timestamp};
use tillhouse_model::{Error, Result};
use tillhouse_query::Session;

/// A version of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HistoryVersion {
    pub(super) key: String,
    pub(super) load_id: i64,
    /// Its record time, in microseconds UTC.
    pub(super) time: Option<i64>,
}

/// Newest version of each record.
#[derive(Debug, Default)]
pub(super) struct LatestVersions {
    /// Package number and record time, by key.
    by_key: BTreeMap<String, (i64, Option<i64>)>,
}

impl LatestVersions {
    /// Those in rows of key, package number and record time.
    pub(super) fn of(batches: &[RecordBatch]) -> Result<Self> {
        let mut newest = Self::default();
        for batch in batches {
            let keys = text(batch, 0)?;
            let load_ids = cast(batch.column(1), &DataType::Int64)?;
            let load_ids = load_ids.as_primitive::<Int64Type>();
            let times = cast(batch.column(2), &timestamp())?;
            let times = times.as_primitive::<TimestampMicrosecondType>();
            for ((key, load_id), time) in keys.iter().zip(load_ids.iter()).zip(times.iter()) {
                if let (Some(key), Some(load_id)) = (key, load_id) {
                    newest.add(key, load_id, time);
                }
            }
        }
        Ok(newest)
    }

    fn add(&mut self, key: &str, load_id: i64, time: Option<i64>) {
        match self.by_key.get_mut(key) {
            Some((known, _)) if *known >= load_id => {}
            Some(known) => *known = (load_id, time),
            None => {
                self.by_key.insert(key.to_owned(), (load_id, time));
            }
        }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(String::as_str)
    }

    /// Adds versions of other records.
    pub(super) fn extend(&mut self, others: impl IntoIterator<Item = HistoryVersion>) {
        let others = others.into_iter();
        self.by_key
            .extend(others.map(|version| (version.key, (version.load_id, version.time))));
    }

    /// Forgets a record.
    pub(super) fn remove(&mut self, key: &str) {
        self.by_key.remove(key);
    }

    /// The lowest package number; `None` where there are none.
    pub(super) fn lowest_load_id(&self) -> Option<i64> {
        self.by_key.values().map(|(load_id, _)| *load_id).min()
    }

    /// As a table of keys and package numbers.
    pub(super) fn batch(&self) -> Result<RecordBatch> {
        let versions = self.by_key.iter();
        version_batch(versions.map(|(key, (load_id, _))| (key.as_str(), *load_id)))
    }
}

impl IntoIterator for LatestVersions {
    type Item = HistoryVersion;
    type IntoIter = Box<dyn Iterator<Item = HistoryVersion>>;

    fn into_iter(self) -> Self::IntoIter {
        let versions = self.by_key.into_iter();
        Box::new(versions.map(|(key, (load_id, time))| HistoryVersion { key, load_id, time }))
    }
}

/// Versions as a table of keys and package numbers.
pub(super) fn version_batch<'a>(
    versions: impl IntoIterator<Item = (&'a str, i64)>,
) -> Result<RecordBatch> {
    let (keys, load_ids): (Vec<&str>, Vec<i64>) = versions.into_iter().unzip();
    let schema = Schema::new(vec![
        Field::new(RECORD_KEY, DataType::Utf8, false),
        Field::new(LOAD_ID, DataType::Int64, false),
    ]);
    let columns = (StringArray::from(keys), Int64Array::from(load_ids));
    RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(columns.0), Arc::new(columns.1)],
    )
    .map_err(|e| Error::internal("versions of records cannot be listed").because(e))
}

/// Makes a resource's table in a session show those versions of its history, see [`version_batch`].
pub(super) async fn create_version_view(
    session: &Session,
    resource: &str,
    history: &Arc<dyn TableProvider>,
    versions: RecordBatch,
) -> Result<()> {
    let all = format!("history_of_{resource}");
    let wanted = format!("versions_of_{resource}");
    session.deregister(resource)?;
    session.register(&all, Arc::clone(history))?;
    session.register_batches(&wanted, versions.schema(), vec![versions])?;
    let view = format!(
        "SELECT h.* FROM {all} h JOIN {wanted} w ON h._record_key = w._record_key AND h._load_id = w._load_id"
    );
    session.create_view(resource, &view).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, TimestampMicrosecondArray};

    fn rows(rows: &[(&str, i64, Option<i64>)]) -> RecordBatch {
        let keys: StringArray = rows.iter().map(|row| Some(row.0)).collect();
        let load_ids: Int64Array = rows.iter().map(|row| Some(row.1)).collect();
        let times: TimestampMicrosecondArray = rows.iter().map(|row| row.2).collect();
        let columns: [(&str, ArrayRef); 3] = [
            ("key", Arc::new(keys)),
            ("load_id", Arc::new(load_ids)),
            ("time", Arc::new(times.with_timezone("UTC"))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn the_newest_version_counts_in_whichever_order_they_come() {
        let batches = [
            rows(&[("a", 3, Some(30)), ("b", 1, None), ("a", 2, Some(20))]),
            rows(&[("b", 4, Some(40)), ("a", 3, Some(31)), ("c", 1, Some(10))]),
        ];
        let newest = LatestVersions::of(&batches).unwrap();
        assert_eq!(newest.lowest_load_id(), Some(1));
        let listed = newest.batch().unwrap();
        assert_eq!((listed.num_rows(), listed.num_columns()), (3, 2));
        let told: Vec<_> = newest
            .into_iter()
            .map(|version| (version.key, version.load_id, version.time))
            .collect();
        let version = |key: &str, load_id, time| (key.to_owned(), load_id, Some(time));
        assert_eq!(
            told,
            [
                version("a", 3, 30),
                version("b", 4, 40),
                version("c", 1, 10)
            ]
        );
    }

    #[test]
    fn a_record_that_was_removed_counts_for_nothing() {
        let mut newest =
            LatestVersions::of(&[rows(&[("a", 1, Some(10)), ("b", 2, None)])]).unwrap();
        newest.remove("a");
        assert_eq!(newest.lowest_load_id(), Some(2));
        assert!(!newest.contains("a") && newest.contains("b"));
        assert_eq!(LatestVersions::default().lowest_load_id(), None);
    }
}
