//! When a civil period is, in instants, over all sites together.
//!
//! Invariant: the window holds the period on every known site's clock, and no more than the clocks demand: a window that is too
//! wide would show gaps that are none of the report's.

use super::scope::micros;
use crate::columns::{each_batch, texts};
use crate::facts::instant;
use std::collections::BTreeSet;
use tillhouse_model::calendar::DAY;
use tillhouse_model::{CivilPeriod, Error, Result, Window};
use tillhouse_query::zone::Zone;
use tillhouse_query::{ScalarValue, Session};

/// The instants from the period's start on the first clock that reaches it to its end on the last.
pub(super) async fn window(
    session: &Session,
    source: Option<&str>,
    period: &CivilPeriod,
) -> Result<Window> {
    let zones = zones(session, source, period).await?;
    let on = |civil: i64, zone: &Zone| {
        // The offset is the one that holds at about that time; an hour that comes twice is not told apart.
        let guess = civil.saturating_sub(i64::from(zone.offset_at(civil)) * 1_000_000);
        civil.saturating_sub(i64::from(zone.offset_at(guess)) * 1_000_000)
    };
    let (from, to) = (micros(period.from()), micros(period.to()));
    let first = zones
        .iter()
        .map(|zone| on(from, zone))
        .min()
        .unwrap_or(from);
    let last = zones.iter().map(|zone| on(to, zone)).max().unwrap_or(to);
    let at = |micros| {
        jiff::Timestamp::from_microsecond(micros).map_err(|e| {
            Error::config(format!("the period {period} is beyond the calendar")).because(e)
        })
    };
    Window::new(at(first)?, at(last)?)
}

/// The zones of the sites. Where one is not known, as of sources that tell an offset at each sale alone, the clocks of the sales of that time stand in
/// for it; UTC where there is nothing at all.
async fn zones(session: &Session, source: Option<&str>, period: &CivilPeriod) -> Result<Vec<Zone>> {
    let mut names = BTreeSet::new();
    if session.has_table("unified", "sites").await? {
        let (condition, params) = match source {
            None => ("", Vec::new()),
            Some(source) => (
                "WHERE source = $source",
                vec![("source", ScalarValue::Utf8(Some(source.to_owned())))],
            ),
        };
        let sql = format!("SELECT DISTINCT timezone FROM unified.sites {condition}");
        each_batch(session, &sql, &params, |batch| {
            let zones = texts(batch, "timezone")?;
            names.extend((0..batch.num_rows()).map(|row| zones.get(row).map(str::to_owned)));
            Ok(())
        })
        .await?;
    }
    if names.remove(&None) {
        names.extend(clocks(session, source, period).await?);
    }
    let known = |name: Option<String>| name.as_deref().and_then(Zone::parse).unwrap_or(Zone::UTC);
    let zones: Vec<Zone> = names.into_iter().map(known).collect();
    Ok(if zones.is_empty() {
        vec![Zone::UTC]
    } else {
        zones
    })
}

/// The clocks of the sales about a period, as the sales tell them; none for those that go by UTC.
async fn clocks(
    session: &Session,
    source: Option<&str>,
    period: &CivilPeriod,
) -> Result<BTreeSet<Option<String>>> {
    let mut found = BTreeSet::new();
    if !session.has_table("unified", "transactions").await?
        || session
            .columns("unified", "transactions")
            .await?
            .field_with_name("timezone")
            .is_err()
    {
        return Ok(BTreeSet::from([None]));
    }
    let mut sql = "SELECT DISTINCT timezone FROM unified.transactions
                   WHERE occurred_at >= $since AND occurred_at < $until"
        .to_owned();
    let mut params = vec![
        ("since", instant(micros(period.from()).saturating_sub(DAY))),
        ("until", instant(micros(period.to()).saturating_add(DAY))),
    ];
    if let Some(source) = source {
        sql.push_str(" AND source = $source");
        params.push(("source", ScalarValue::Utf8(Some(source.to_owned()))));
    }
    each_batch(session, &sql, &params, |batch| {
        let zones = texts(batch, "timezone")?;
        found.extend((0..batch.num_rows()).map(|row| zones.get(row).map(str::to_owned)));
        Ok(())
    })
    .await?;
    Ok(found)
}
