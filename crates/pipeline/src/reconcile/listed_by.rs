//! Another time by which a provider lists its records.
//!
//! Invariant: a time is named only if by it every record that the listing left out lies outside of what was asked for, and every one looked at that
//! it had lies inside; and if more than one record tells it from our own.

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeSet, HashMap};
use tillhouse_model::table::timestamp;
use tillhouse_model::{Error, Result, Window};
use tillhouse_query::{ScalarValue, Session};
use tillhouse_statistics::reconcile::OTHER_TIMES;

/// Most records that were listed are looked at.
pub(super) const LOOKED_AT: usize = 1_000;
/// Seconds around a window that a listing may have as well.
const EDGE: SignedDuration = SignedDuration::from_secs(60);
/// Records that have to tell two times apart.
const WITNESSES: usize = 2;

/// Records that a listing of windows had, and those it left out.
pub(super) struct ListingEvidence<'a> {
    pub(super) pipeline: &'a str,
    /// All that was asked for.
    pub(super) asked: Window,
    /// Keys of records that lie in it by our time, are there by their ids, and were not listed.
    pub(super) unlisted: &'a BTreeSet<String>,
    /// Keys of some that were listed.
    pub(super) listed: &'a [String],
    /// Number of these that lie outside of it by our time.
    pub(super) outside: usize,
}

fn is_in(window: Window, at: Timestamp) -> bool {
    window.from() <= at && at < window.to()
}

impl ListingEvidence<'_> {
    /// Column of the other time and its meaning, where there is one.
    pub(super) async fn other_time(
        &self,
        session: &Session,
    ) -> Result<Option<(&'static str, &'static str)>> {
        if !self.has_witnesses() || !session.has_table("unified", "transactions").await? {
            return Ok(None);
        }
        let columns = session.columns("unified", "transactions").await?;
        for (column, means) in OTHER_TIMES {
            if columns.field_with_name(column).is_err() {
                continue;
            }
            let unlisted: Vec<&String> = self.unlisted.iter().collect();
            let listed: Vec<&String> = self.listed.iter().take(LOOKED_AT).collect();
            let left_out = self.times(session, column, &unlisted).await?;
            if self.leaves_out(&left_out)
                && self.lists(&self.times(session, column, &listed).await?)
            {
                return Ok(Some((column, means)));
            }
        }
        Ok(None)
    }

    fn has_witnesses(&self) -> bool {
        !self.unlisted.is_empty() && self.unlisted.len() + self.outside >= WITNESSES
    }

    /// True if all that was not listed lies outside of what was asked for, by these times.
    fn leaves_out(&self, times: &HashMap<String, Timestamp>) -> bool {
        let is_outside = |key: &String| times.get(key).is_some_and(|at| !is_in(self.asked, *at));
        self.unlisted.iter().all(is_outside)
    }

    /// True if all that was listed lies within what was asked for, by these times. Where nothing of it is here, nobody can say so.
    fn lists(&self, times: &HashMap<String, Timestamp>) -> bool {
        let is_shown = self.listed.is_empty() || !times.is_empty();
        is_shown
            && times
                .values()
                .all(|at| is_in(self.asked.widened(EDGE), *at))
    }

    /// That time of records, by key; of one that has none, when it happened.
    async fn times(
        &self,
        session: &Session,
        column: &str,
        keys: &[&String],
    ) -> Result<HashMap<String, Timestamp>> {
        let mut found = HashMap::new();
        for some in keys.chunks(LOOKED_AT) {
            let names: Vec<String> = (0..some.len()).map(|nth| format!("k{nth}")).collect();
            let list: Vec<String> = names.iter().map(|name| format!("${name}")).collect();
            let mut params: Vec<(&str, ScalarValue)> = names
                .iter()
                .map(String::as_str)
                .zip(some.iter().map(|key| ScalarValue::from(key.as_str())))
                .collect();
            params.push(("pipeline", ScalarValue::from(self.pipeline)));
            let sql = format!(
                "SELECT _record_key, coalesce({column}, occurred_at) AS at FROM unified.transactions
                 WHERE pipeline = $pipeline AND _record_key IN ({})",
                list.join(", ")
            );
            let rows = session.query_with(&sql, &params).await?;
            for batch in &tillhouse_query::collect(rows).await? {
                let of_type =
                    |e| Error::internal("record keys and times are something else").because(e);
                let keys = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)
                    .map_err(of_type)?;
                let times = arrow::compute::cast(batch.column(1), &timestamp()).map_err(of_type)?;
                let times = times.as_primitive::<TimestampMicrosecondType>();
                for (row, key) in keys.as_string::<i32>().iter().enumerate() {
                    let at = times.is_valid(row).then(|| times.value(row));
                    let at = at.and_then(|micros| Timestamp::from_microsecond(micros).ok());
                    found.extend(key.map(str::to_owned).zip(at));
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 January, at such an hour.
    fn at(hour: i64) -> Timestamp {
        let midnight: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        midnight + SignedDuration::from_hours(hour)
    }

    #[test]
    fn a_listing_by_another_time_is_told_by_more_than_one_record() {
        // By their first articles; b and c began the day before, d began on the first and happened the day after.
        let started = [("a", 9), ("b", -1), ("c", -3), ("d", 23), ("e", 5)];
        let told = |unlisted: &[&str], listed: &[&str], outside| {
            let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
            let (unlisted, listed): (Vec<String>, Vec<String>) = (owned(unlisted), owned(listed));
            let times = |of: &[String]| -> HashMap<String, Timestamp> {
                let known = started
                    .iter()
                    .filter(|(key, _)| of.iter().any(|own| own == key));
                known
                    .map(|(key, hour)| ((*key).to_owned(), at(*hour)))
                    .collect()
            };
            let evidence = ListingEvidence {
                pipeline: "p",
                asked: Window::new(at(0), at(24)).unwrap(),
                unlisted: &unlisted.iter().cloned().collect(),
                listed: &listed,
                outside,
            };
            evidence.has_witnesses()
                && evidence.leaves_out(&times(&unlisted))
                && evidence.lists(&times(&listed))
        };
        assert!(told(&["b", "c"], &["a", "d", "e"], 1));
        assert!(told(&["b"], &["a", "d"], 1));
        // One alone may have been forgotten.
        assert!(!told(&["b"], &["a", "e"], 0));
        // One that began that day should have been listed, one that began before it should not, and of one nothing is known.
        assert!(!told(&["a", "b", "c"], &["d"], 1));
        assert!(!told(&["b", "d"], &["a", "c"], 0));
        assert!(!told(&["b", "x"], &["a"], 0));
        assert!(!told(&[], &["a", "d"], 1));
        // Nothing that was listed is here; nothing was listed at all.
        assert!(!told(&["b", "c"], &["x", "y"], 0));
        assert!(told(&["b", "c"], &[], 0));
    }
}
