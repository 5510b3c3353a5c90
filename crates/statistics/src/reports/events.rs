//! Events by code: how often, and how long.
//!
//! Invariant: an event is of the day that its own site's clock showed. Events are nobody's sale, so perspective, kind and state
//! play no part.

use super::scope::{ReportScope, label};
use crate::columns::{integers, texts};
use crate::sales_report::{EventCount, EventSum};
use tillhouse_model::{CivilPeriod, Result};

/// The events of a period by code, the most frequent first.
pub(super) async fn sums(scope: &ReportScope<'_>, period: &CivilPeriod) -> Result<Vec<EventSum>> {
    let mut rows = Vec::new();
    if !scope.session.has_table("unified", "events").await? {
        return Ok(rows);
    }
    let zones = if scope.session.has_table("unified", "sites").await? {
        "SELECT site_key AS zone_of, timezone AS zone FROM unified.sites"
    } else {
        "SELECT CAST(NULL AS VARCHAR) AS zone_of, CAST(NULL AS VARCHAR) AS zone"
    };
    let events = scope.events(period);
    // Runs that were published before there was the column have no identities.
    let columns = scope.session.columns("unified", "events").await?;
    let identity = match columns.field_with_name("error_identity") {
        Ok(_) => "e.error_identity",
        Err(_) => "CAST(NULL AS BIGINT)",
    };
    let sql = format!(
        "SELECT code, count(*) AS quantity, sum(duration_seconds) AS duration,
                min(description) AS first_words, max(description) AS last_words,
                min(error_identity) AS first_identity, max(error_identity) AS last_identity
         FROM (SELECT nullif(e.code, '') AS code, e.duration_seconds, {identity} AS error_identity,
                      CASE WHEN e.description NOT LIKE '{{%' THEN nullif(e.description, '') END AS description
               FROM unified.events AS e LEFT JOIN ({zones}) AS clock ON e.site_key = clock.zone_of
               WHERE {}) AS counted
         GROUP BY code",
        events.sql
    );
    events
        .each(scope.session, &sql, |batch| {
            let codes = texts(batch, "code")?;
            let (first, last) = (texts(batch, "first_words")?, texts(batch, "last_words")?);
            let (quantities, durations) =
                (integers(batch, "quantity")?, integers(batch, "duration")?);
            let (first_of, last_of) = (
                integers(batch, "first_identity")?,
                integers(batch, "last_identity")?,
            );
            for row in 0..batch.num_rows() {
                let code = label(codes.get(row));
                // Where one code comes with different words, as in a log, none of them is what the code means; nor are
                // particulars in JSON, which machines add to their events.
                let meaning = first.get(row).filter(|words| last.get(row) == Some(words));
                rows.push(EventSum {
                    error: meaning.map_or_else(|| code.clone(), str::to_owned),
                    code,
                    // Where one code has several, as of machines of different types, none of them is the code's.
                    erroridentity: first_of
                        .get(row)
                        .filter(|identity| last_of.get(row) == Some(*identity)),
                    quantity: quantities.get(row).unwrap_or(0),
                    duration: durations.get(row).unwrap_or(0),
                });
            }
            Ok(())
        })
        .await?;
    rows.sort_by(|a, b| {
        b.quantity
            .cmp(&a.quantity)
            .then_with(|| a.code.cmp(&b.code))
    });
    Ok(rows)
}

/// The most frequent codes of a period.
pub(super) async fn counts(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
) -> Result<Vec<EventCount>> {
    let mut rows = sums(scope, period).await?;
    rows.truncate(scope.request.limit);
    let count = |row: EventSum| EventCount {
        code: row.code,
        error: row.error,
        summary: row.quantity,
        duration: row.duration,
    };
    Ok(rows.into_iter().map(count).collect())
}
