//! Grouping articles and payments, whose currency may be their transaction's.
//!
//! Invariant: the table is scanned once, unless rows without a currency turn up; those alone are then asked for again, joined with
//! their transactions.

use super::scope::{ReportScope, label};
use crate::columns::{integers, texts};
use arrow::array::RecordBatch;
use tillhouse_model::{CivilPeriod, Result};

/// Grouping of articles or payments: table, condition, labels and sums.
pub(super) struct ChildGrouping {
    pub(super) table: &'static str,
    /// Relation that is read in its place, with its columns and more.
    pub(super) relation: Option<String>,
    /// Rows that count, beyond those of counted transactions.
    pub(super) condition: &'static str,
    /// The labels: the column's name in the result, and the expression over the table's columns.
    pub(super) labels: &'static [(&'static str, &'static str)],
    /// The sums, likewise; what stands there is added up.
    pub(super) sums: &'static [(&'static str, &'static str)],
}

/// Groups the rows of a period by currency and labels. `take` gets the currency (`unknown` where nobody names one), the batch
/// with the labels and sums, and the row in it; the same group may come twice.
pub(super) async fn groups(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
    grouping: &ChildGrouping,
    mut take: impl FnMut(String, &RecordBatch, usize) -> Result<()>,
) -> Result<()> {
    let ChildGrouping {
        table,
        relation,
        condition,
        labels,
        sums,
    } = grouping;
    if !scope.session.has_table("unified", table).await? {
        return Ok(());
    }
    let relation = relation
        .clone()
        .unwrap_or_else(|| format!("unified.{table}"));
    let rows = scope.children(period);
    let has_parents = scope.session.has_table("unified", "transactions").await?;
    let listed = |of: &[(&str, &str)]| -> String {
        of.iter()
            .map(|(name, sql)| format!(", {sql} AS {name}"))
            .collect()
    };
    let named: String = labels.iter().map(|(name, _)| format!(", {name}")).collect();
    let summed: String = sums
        .iter()
        .map(|(name, _)| format!(", sum({name}) AS {name}"))
        .collect();
    let child = |more: &str| {
        format!(
            "(SELECT transaction_key, currency{}{} FROM {relation} WHERE {} AND {condition}{more}) AS child",
            listed(labels),
            listed(sums),
            rows.sql
        )
    };
    let own = format!(
        "SELECT currency, currency IS NULL AS no_currency{named}{summed} FROM {} GROUP BY currency{named}",
        child("")
    );
    let mut without_currency = false;
    rows.each(scope.session, &own, |batch| {
        let (currencies, missing) = (texts(batch, "currency")?, integers(batch, "no_currency")?);
        for row in 0..batch.num_rows() {
            if has_parents && missing.get(row) == Some(1) {
                without_currency = true;
            } else {
                take(label(currencies.get(row)), batch, row)?;
            }
        }
        Ok(())
    })
    .await?;
    if !without_currency {
        return Ok(());
    }
    let inherited = format!(
        "SELECT parent.parents_currency AS currency{named}{summed}
         FROM {} LEFT JOIN
              (SELECT transaction_key AS parent_key, currency AS parents_currency FROM unified.transactions WHERE {}) AS parent
              ON child.transaction_key = parent.parent_key
         GROUP BY parent.parents_currency{named}",
        child(" AND currency IS NULL"),
        scope.parents(period)
    );
    rows.each(scope.session, &inherited, |batch| {
        let currencies = texts(batch, "currency")?;
        (0..batch.num_rows()).try_for_each(|row| take(label(currencies.get(row)), batch, row))
    })
    .await
}
