//! The facts that are rolled up, and what the roll-ups keep of each.
//!
//! Invariant: every column that decides what a roll-up holds is named here, and is what two versions of the fact are compared by.

use super::level::{LOCAL_HOURS, UTC_HOURS};
use super::{CURRENCY, HOURS, START, TRANSACTION_KEY};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;
use tillhouse_lake::{ChangedRanges, ComparedColumns, TableVersion, Warehouse};
use tillhouse_model::Result;
use tillhouse_model::table::{LEVEL, MONTH, PERIOD, PIPELINE, timestamp};

/// Type of a label column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LabelType {
    Text,
    Flag,
}

use LabelType::{Flag, Text};

/// A fact, with the labels and sums that its roll-ups have.
#[derive(Debug)]
pub(crate) struct RolledFact {
    /// The unified table.
    pub(crate) name: &'static str,
    /// True if its roll-ups count by the hours of the day.
    pub(super) has_hours: bool,
    /// The fact's own columns by which its rows are told apart, beyond those every fact has.
    pub(super) labels: &'static [(&'static str, LabelType)],
    /// Name of the number of rows.
    pub(crate) count: &'static str,
    /// Columns that are summed, with digits after the point.
    pub(super) sums: &'static [(&'static str, i8)],
    /// A column that counts the rows without a value in one of the sums, and that sum: a sum alone hides that something is missing.
    pub(super) missing: Option<(&'static str, &'static str)>,
    /// The unified tables that its roll-ups are made from: itself, and transactions where a row without a currency has its transaction's.
    pub(super) sources: &'static [&'static str],
}

/// The facts.
pub(crate) const FACTS: [&RolledFact; 3] = [&TRANSACTIONS, &ARTICLES, &PAYMENTS];

/// Counts rows without an amount.
pub(crate) const WITHOUT_AMOUNT: &str = "without_amount";

/// Transactions by state.
pub(crate) const TRANSACTIONS: RolledFact = RolledFact {
    name: "transactions",
    has_hours: true,
    labels: &[("state", Text)],
    count: "transactions",
    sums: &[("amount", 4)],
    missing: Some((WITHOUT_AMOUNT, "amount")),
    sources: &["transactions"],
};

/// Articles by what was sold.
pub(crate) const ARTICLES: RolledFact = RolledFact {
    name: "articles",
    has_hours: false,
    labels: &[
        ("transaction_state", Text),
        ("state", Text),
        ("unit_measure", Text),
        ("product_key", Text),
        ("name", Text),
    ],
    count: "articles",
    sums: &[("quantity", 6)],
    missing: None,
    sources: &["articles", "transactions"],
};

/// Payments by how was paid.
pub(crate) const PAYMENTS: RolledFact = RolledFact {
    name: "payments",
    has_hours: false,
    labels: &[
        ("transaction_state", Text),
        ("state", Text),
        ("type", Text),
        ("medium", Text),
        ("scheme", Text),
        ("entry_mode", Text),
        ("function", Text),
        ("method", Text),
        ("excluded", Flag),
    ],
    count: "payments",
    sums: &[("amount", 4)],
    missing: Some((WITHOUT_AMOUNT, "amount")),
    sources: &["payments", "transactions"],
};

/// The columns every fact has from its transaction, and every level keeps; pipeline, month, currency and those on the site's clock
/// apart.
pub(super) const SHARED: [&str; 4] = ["source", "tenant_id", "perspective", "kind"];
/// The site, which some levels keep.
pub(super) const SITE: &str = "site_key";
/// The site's own day, which some levels keep.
pub(super) const BUSINESS_DATE: &str = "business_date";
/// The hour of the site's own clock, which some levels count by.
pub(super) const LOCAL_HOUR: &str = "local_hour";
/// On the site's own clock.
const LOCAL: [&str; 2] = [BUSINESS_DATE, LOCAL_HOUR];

impl RolledFact {
    /// True if a row without a currency has its transaction's.
    pub(super) fn inherits(&self) -> bool {
        self.sources.len() > 1
    }

    /// The columns of the fact that decide what the roll-ups hold. The transaction's key is among them because a currency is
    /// inherited by it.
    pub(crate) fn columns(&self) -> Vec<&'static str> {
        let labels = self.labels.iter().map(|(name, _)| *name);
        let sums = self.sums.iter().map(|(name, _)| *name);
        LOCAL
            .into_iter()
            .chain(SHARED)
            .chain([SITE, TRANSACTION_KEY, CURRENCY])
            .chain(labels)
            .chain(sums)
            .collect()
    }

    /// The columns that its levels have in the table of all levels. Those that a level does not tell apart are null in its rows.
    pub(crate) fn schema(&self) -> SchemaRef {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let number = |name: &str| Field::new(name, DataType::Int64, true);
        let mut fields = vec![
            Field::new(START, timestamp(), true),
            Field::new(BUSINESS_DATE, DataType::Date32, true),
            Field::new(PIPELINE, DataType::Utf8, false),
        ];
        fields.extend(SHARED.iter().map(|name| text(name)));
        fields.push(text(SITE));
        fields.extend(self.labels.iter().map(|(name, sort)| match sort {
            LabelType::Text => text(name),
            LabelType::Flag => Field::new(*name, DataType::Boolean, true),
        }));
        fields.push(text(CURRENCY));
        fields.push(Field::new(self.count, DataType::Int64, false));
        fields.extend(self.missing.map(|(name, _)| number(name)));
        // Three digits more than a single amount has: nothing adds up to more. Every further one is a byte a row.
        fields.extend(
            self.sums
                .iter()
                .map(|(name, scale)| Field::new(*name, DataType::Decimal128(21, *scale), true)),
        );
        if self.has_hours {
            fields.extend(
                UTC_HOURS
                    .iter()
                    .chain(&LOCAL_HOURS)
                    .map(|name| number(name)),
            );
        }
        fields.push(Field::new(LEVEL, DataType::Utf8, false));
        fields.push(Field::new(PERIOD, DataType::Utf8, false));
        Arc::new(Schema::new(fields))
    }

    /// True for a column that tells where a row belongs; all rows that are added up together are alike in it.
    pub(super) fn is_place(column: &str) -> bool {
        [LEVEL, PIPELINE, PERIOD].contains(&column)
    }

    /// True for a column that is summed.
    pub(crate) fn is_sum(&self, column: &str) -> bool {
        self.sums.iter().any(|(name, _)| *name == column)
    }

    /// The hours in which two versions of the fact differ in what the roll-ups hold.
    pub(crate) async fn changed_hours(
        &self,
        warehouse: &Warehouse,
        since: Option<&TableVersion>,
        now: &TableVersion,
    ) -> Result<ChangedRanges> {
        let compared = ComparedColumns {
            by: HOURS,
            columns: &self.columns(),
            distinct: &[TRANSACTION_KEY],
        };
        let path = format!("unified/{}", self.name);
        warehouse.changed_ranges(&path, since, now, &compared).await
    }

    /// Rows of a table named after the fact, with a prefix: each with its UTC hour, its own currency or its transaction's, how many rows it
    /// stands for, and what the roll-ups add up.
    pub(crate) fn rows_sql(&self, prefix: &str) -> String {
        let (fact, count) = (format!("{prefix}{}", self.name), self.count);
        let kept: Vec<&str> = LOCAL
            .into_iter()
            .chain([PIPELINE])
            .chain(SHARED)
            .chain([SITE])
            .chain(self.labels.iter().map(|(name, _)| *name))
            .chain([MONTH])
            .collect();
        let kept = kept.join(", ");
        let measured: Vec<&str> = self.sums.iter().map(|(name, _)| *name).collect();
        let measured = measured.join(", ");
        let sums: Vec<String> = self
            .sums
            .iter()
            .map(|(name, scale)| format!("CAST({name} AS DECIMAL(28, {scale})) AS {name}"))
            .collect();
        let sums = sums.join(", ");
        let hour = "local_hour_start(occurred_at, 'UTC') AS hour";
        let own = format!("SELECT {hour}, {kept}, currency, 1 AS {count}, {sums} FROM {fact}");
        match self.inherits() {
            false => own,
            true => format!(
                "{own} WHERE currency IS NOT NULL
                 UNION ALL
                 SELECT {hour}, {kept}, parent.currency AS currency, 1 AS {count}, {sums}
                 FROM (SELECT transaction_key, occurred_at, {kept}, {measured} FROM {fact}
                       WHERE currency IS NULL) AS child
                 LEFT JOIN (SELECT transaction_key AS parent_key, currency FROM {prefix}transactions) AS parent
                 ON child.transaction_key = parent.parent_key"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollup::FACTS;

    #[test]
    fn every_column_that_is_compared_is_in_the_fact_and_in_its_roll_ups() {
        for fact in FACTS {
            let file = format!(
                "{}/../../schemas/unified/{}.yaml",
                env!("CARGO_MANIFEST_DIR"),
                fact.name
            );
            let text = std::fs::read_to_string(&file).unwrap();
            let spec = tillhouse_model::contract::parse(&text, &file).unwrap();
            let schema = fact.schema();
            for column in fact.columns() {
                assert!(spec.column(column).is_some(), "{}: {column}", fact.name);
                // The key is only joined by; hours are columns, which articles and payments have none of.
                let is_left_out = [TRANSACTION_KEY, LOCAL_HOUR].contains(&column);
                let is_kept = schema.field_with_name(column).is_ok();
                assert!(is_kept || is_left_out, "{}: {column}", fact.name);
            }
        }
    }
}
