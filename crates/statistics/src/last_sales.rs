//! The last sale of each site.
//!
//! Invariant: where there are roll-ups of days, of the facts no more than the newest day of each site is read, however many there are; without them all facts are.

use crate::columns::{each_batch, instants, texts};
use crate::definitions::{SALE, counted_states_sql};
use crate::facts::instant;
use crate::rollup::{AnswerSource, Span, source_of_site_hours};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::calendar::{DAY, month_of_micros};
use tillhouse_model::{Error, Result};
use tillhouse_query::{ScalarValue, Session};

/// Most stretches of days that one query names.
const STRETCHES: usize = 32;

/// Newest sales, or days with one, by the key of their site, in microseconds.
type NewestOfSites = BTreeMap<String, i64>;

/// Time of the last sale of each site that had one, by its key: sales in the states that count, neither refunds nor tests.
pub async fn last_sales(session: &Session) -> Result<BTreeMap<String, Timestamp>> {
    let source = source_of_site_hours(session).await?;
    let newest = newest_sales(session, source, "TRUE", &[]).await?;
    let last = match source.is_counted() {
        // A row of a day begins with it.
        true => of_days(session, newest.into_values().collect()).await?,
        false => newest,
    };
    let last = last.into_iter().map(|(site, micros)| {
        let at = Timestamp::from_microsecond(micros)
            .map_err(|e| Error::data(format!("{micros} microseconds are no instant")).because(e))?;
        Ok((site, at))
    });
    last.collect()
}

/// The newest sales of each site in some of UTC's days, which are told by their starts.
async fn of_days(session: &Session, days: BTreeSet<i64>) -> Result<NewestOfSites> {
    let mut found = NewestOfSites::new();
    for stretches in stretches(&days).chunks(STRETCHES) {
        let names: Vec<[String; 2]> = (0..stretches.len())
            .map(|at| [format!("from_{at}"), format!("to_{at}")])
            .collect();
        let times: Vec<String> = names
            .iter()
            .map(|[from, to]| format!("(occurred_at >= ${from} AND occurred_at < ${to})"))
            .collect();
        let (first, end) = (stretches[0].0, stretches[stretches.len() - 1].1);
        let months: BTreeSet<String> = days
            .range(first..end)
            .map(|day| format!("'{}'", month_of_micros(*day)))
            .collect();
        let months: Vec<String> = months.into_iter().collect();
        let ends = names.iter().zip(stretches).flat_map(|(names, span)| {
            let [from, to] = names;
            [
                (from.as_str(), instant(span.0)),
                (to.as_str(), instant(span.1)),
            ]
        });
        let params: Vec<(&str, ScalarValue)> = ends.collect();
        let condition = format!(
            "month IN ({}) AND ({})",
            months.join(", "),
            times.join(" OR ")
        );
        let newest = newest_sales(session, AnswerSource::Facts, &condition, &params).await?;
        for (site, at) in newest {
            let known = found.entry(site).or_insert(at);
            *known = at.max(*known);
        }
    }
    Ok(found)
}

/// The days as stretches of time; those that follow each other are one.
fn stretches(days: &BTreeSet<i64>) -> Vec<Span> {
    let mut stretches: Vec<Span> = Vec::new();
    for &day in days {
        let end = day.saturating_add(DAY);
        match stretches.last_mut() {
            Some(last) if last.1 == day => last.1 = end,
            _ => stretches.push((day, end)),
        }
    }
    stretches
}

/// The newest sale of each site among the rows of a source that a condition takes; of a level the newest period with one.
async fn newest_sales(
    session: &Session,
    source: AnswerSource,
    condition: &str,
    params: &[(&str, ScalarValue)],
) -> Result<NewestOfSites> {
    let mut found = NewestOfSites::new();
    let (schema, table) = source.table("transactions");
    if !session.has_table(schema, table).await? {
        return Ok(found);
    }
    let sql = format!(
        "SELECT site_key, max(occurred_at) AS newest FROM {} WHERE perspective = '{SALE}' AND kind = 'sale' AND {} AND site_key IS NOT NULL AND {condition}
         GROUP BY site_key",
        source.relation("transactions"),
        counted_states_sql("state")
    );
    each_batch(session, &sql, params, |batch| {
        let (sites, times) = (texts(batch, "site_key")?, instants(batch, "newest")?);
        let rows = 0..batch.num_rows();
        found.extend(rows.filter_map(|row| Some((sites.get(row)?.to_owned(), times.get(row)?))));
        Ok(())
    })
    .await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_follow_each_other_are_one_stretch() {
        let days = |days: &[i64]| -> BTreeSet<i64> { days.iter().map(|day| day * DAY).collect() };
        assert!(stretches(&days(&[])).is_empty());
        assert_eq!(
            stretches(&days(&[-3, 7, 8, 9, 20])),
            [
                (-3 * DAY, -2 * DAY),
                (7 * DAY, 10 * DAY),
                (20 * DAY, 21 * DAY)
            ]
        );
    }
}
