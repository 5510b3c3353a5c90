//! When a civil period is, in instants, over all sites together.
//!
//! Invariant: the window holds the period on every known site's clock, and no more than the clocks demand: a window that is too
//! wide would show gaps that are none of the report's.

use super::scope::micros;
use crate::columns::{each_batch, texts};
use std::collections::BTreeSet;
use tillhouse_model::{CivilPeriod, Error, Result, Window};
use tillhouse_query::zone::Zone;
use tillhouse_query::{ScalarValue, Session};

/// The instants from the period's start on the first clock that reaches it to its end on the last.
pub(super) async fn window(
    session: &Session,
    source: Option<&str>,
    period: &CivilPeriod,
) -> Result<Window> {
    let zones = zones(session, source).await?;
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
    let instant = |micros| {
        jiff::Timestamp::from_microsecond(micros).map_err(|e| {
            Error::config(format!("the period {period} is beyond the calendar")).because(e)
        })
    };
    Window::new(instant(first)?, instant(last)?)
}

/// The zones of the sites; UTC for those whose zone is not known, and where there are no sites.
async fn zones(session: &Session, source: Option<&str>) -> Result<Vec<Zone>> {
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
    let known = |name: Option<String>| name.as_deref().and_then(Zone::parse).unwrap_or(Zone::UTC);
    let zones: Vec<Zone> = names.into_iter().map(known).collect();
    Ok(if zones.is_empty() {
        vec![Zone::UTC]
    } else {
        zones
    })
}
