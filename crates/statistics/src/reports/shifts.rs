//! Sales by shift: whose is whose, and payments shift by shift.
//!
//! Invariant: a sale is of the shift whose first and last sale its own number lies between, at the shift's site; of an open shift, the last
//! one is the one before the next shift's first. What lies in no shift is kept, under no shift, so that a report adds up to the others.

use super::children::{ChildGrouping, groups};
use super::scope::{ReportScope, label};
use crate::columns::{add, decimals, integers, texts};
use crate::definitions::COLLECTED_SQL;
use crate::sales_report::ShiftPayments;
use std::collections::BTreeMap;
use tillhouse_model::{CivilPeriod, ExactDecimal, Result};
use tillhouse_query::Session;

/// The number of a sale, from its key behind the pipeline.
fn number_of(key: &str) -> String {
    format!("TRY_CAST(substr({key}, character_length(pipeline) + 2) AS BIGINT)")
}

/// A relation of a child table's columns and `shift_key`.
pub(super) async fn with_shifts(session: &Session, table: &str) -> Result<String> {
    if !session.has_table("unified", "shifts").await? {
        return Ok(format!(
            "(SELECT *, CAST(NULL AS VARCHAR) AS shift_key FROM unified.{table}) AS of_shifts"
        ));
    }
    let (first, last) = (
        number_of("first_transaction_key"),
        number_of("last_transaction_key"),
    );
    Ok(format!(
        "(SELECT c.*, s.shift_key
          FROM (SELECT *, {} AS sale_number FROM unified.{table}) AS c
          LEFT JOIN (
              SELECT shift_key, shift_site, first_sale,
                     coalesce(last_sale, lead(first_sale) OVER (PARTITION BY shift_site ORDER BY first_sale) - 1) AS last_sale
              FROM (SELECT shift_key, site_key AS shift_site, {first} AS first_sale, {last} AS last_sale
                    FROM unified.shifts WHERE _deleted_at IS NULL)
              WHERE first_sale IS NOT NULL
          ) AS s
          ON c.site_key = s.shift_site AND c.sale_number >= s.first_sale AND (s.last_sale IS NULL OR c.sale_number <= s.last_sale)
         ) AS of_shifts",
        number_of("transaction_key"),
    ))
}

/// Shifts in the order of their numbers, and at the end what is of none.
pub(super) fn order(shift: Option<&str>) -> (bool, String, u64, String) {
    let (pipeline, id) = shift
        .and_then(|key| key.split_once(':'))
        .unwrap_or_default();
    (
        shift.is_none(),
        pipeline.to_owned(),
        id.parse().unwrap_or(u64::MAX),
        id.to_owned(),
    )
}

/// Key that payments by shift are grouped by: currency, shift, location, medium, type and report
/// group.
type ShiftPaymentKey = (
    String,
    Option<String>,
    String,
    String,
    String,
    Option<String>,
);

/// Payments by shift and type, the largest first within shift and currency. Those that their provider leaves out are left out here
/// too; how many, is the second answer.
pub(super) async fn payments(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
) -> Result<(Vec<ShiftPayments>, i64)> {
    let grouping = ChildGrouping {
        table: "payments",
        relation: Some(with_shifts(scope.session, "payments").await?),
        condition: COLLECTED_SQL,
        labels: &[
            ("shift_key", "shift_key"),
            ("site_key", "site_key"),
            ("medium", "medium"),
            ("type", "type"),
            ("report_group", "report_group"),
            ("excluded", "excluded"),
        ],
        sums: &[("revenue", "amount"), ("payments", "1")],
    };
    let sites = crate::articles::names(scope.session, "sites", "site_key").await?;
    let mut kinds: BTreeMap<ShiftPaymentKey, (i64, i128)> = BTreeMap::new();
    let (mut left_out, mut scale) = (0, 0);
    groups(scope, period, &grouping, |currency, batch, row| {
        let (shifts, keys) = (texts(batch, "shift_key")?, texts(batch, "site_key")?);
        let (media, words) = (texts(batch, "medium")?, texts(batch, "type")?);
        let (report_groups, excluded) =
            (texts(batch, "report_group")?, integers(batch, "excluded")?);
        let (payments, revenue) = (integers(batch, "payments")?, decimals(batch, "revenue")?);
        scale = revenue.scale;
        let count = payments.get(row).unwrap_or(0);
        if excluded.get(row) == Some(1) {
            left_out += count;
            return Ok(());
        }
        let site = keys
            .get(row)
            .map(|key| sites.get(key).map_or(key, String::as_str));
        let kind = (
            currency,
            shifts.get(row).map(str::to_owned),
            label(site),
            label(media.get(row)),
            label(words.get(row)),
            report_groups.get(row).map(str::to_owned),
        );
        let sums = kinds.entry(kind).or_default();
        sums.0 += count;
        add(&mut sums.1, revenue.get(row))
    })
    .await?;
    let mut rows: Vec<(ShiftPaymentKey, (i64, i128))> = kinds.into_iter().collect();
    // The map's order decides among equals.
    rows.sort_by(|(a, (a_count, a_revenue)), (b, (b_count, b_revenue))| {
        let place = |kind: &ShiftPaymentKey| (order(kind.1.as_deref()), kind.0.clone());
        place(a)
            .cmp(&place(b))
            .then_with(|| (b_revenue, b_count).cmp(&(a_revenue, a_count)))
    });
    let row = |(
        (currency, shift, location, payment, payment_type, report_group),
        (quantity, revenue),
    )| ShiftPayments {
        location,
        payment,
        quantity,
        report_group,
        revenue: ExactDecimal::new(revenue, scale),
        shift,
        payment_type,
        currency,
    };
    Ok((rows.into_iter().map(row).collect(), left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_are_ordered_by_number() {
        let mut shifts = [None, Some("p:10"), Some("p:9"), Some("a:11")];
        shifts.sort_by_key(|shift| order(*shift));
        assert_eq!(shifts, [Some("a:11"), Some("p:9"), Some("p:10"), None]);
    }
}
