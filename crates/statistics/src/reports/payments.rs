//! Payment types of one period against another.
//!
//! Invariant: as in the statistics, money that came in: collected payments of counted transactions. Those that their provider leaves
//! out of its own reports are left out here and counted apart.

use super::children::{ChildGrouping, groups};
use super::scope::{ReportScope, label};
use crate::columns::{add, decimals, integers, texts};
use crate::definitions::COLLECTED_SQL;
use crate::sales_report::PaymentTypeSales;
use std::collections::BTreeMap;
use tillhouse_model::{CivilPeriod, ExactDecimal, Result};

const BY_TYPE: ChildGrouping = ChildGrouping {
    table: "payments",
    relation: None,
    condition: COLLECTED_SQL,
    labels: &[
        ("type", "type"),
        ("report_group", "report_group"),
        ("excluded", "excluded"),
    ],
    sums: &[("revenue", "amount"), ("payments", "1")],
};

/// The payments by type, the largest first within their currency; and how many were left out.
pub(super) async fn by_type(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
) -> Result<(Vec<PaymentTypeSales>, i64)> {
    let mut types: BTreeMap<(String, String, Option<String>), (i64, i128)> = BTreeMap::new();
    let (mut left_out, mut scale) = (0, 0);
    groups(scope, period, &BY_TYPE, |currency, batch, row| {
        let (words, report_groups) = (texts(batch, "type")?, texts(batch, "report_group")?);
        let (excluded, payments) = (integers(batch, "excluded")?, integers(batch, "payments")?);
        let revenue = decimals(batch, "revenue")?;
        scale = revenue.scale;
        let count = payments.get(row).unwrap_or(0);
        if excluded.get(row) == Some(1) {
            left_out += count;
            return Ok(());
        }
        let group = report_groups.get(row).map(str::to_owned);
        let sums = types
            .entry((currency, label(words.get(row)), group))
            .or_default();
        sums.0 += count;
        add(&mut sums.1, revenue.get(row))
    })
    .await?;
    let mut rows: Vec<_> = types.into_iter().collect();
    // The map's order (currency, then type and group) decides among equals.
    rows.sort_by(|(a, (a_count, a_revenue)), (b, (b_count, b_revenue))| {
        a.0.cmp(&b.0)
            .then_with(|| (b_revenue, b_count).cmp(&(a_revenue, a_count)))
    });
    let row = |((currency, payment_type, report_group), (quantity, revenue))| PaymentTypeSales {
        payment_type,
        quantity,
        revenue: ExactDecimal::new(revenue, scale),
        report_group,
        currency,
    };
    Ok((rows.into_iter().map(row).collect(), left_out))
}
