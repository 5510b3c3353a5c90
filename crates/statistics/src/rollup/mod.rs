//! Roll-ups: what the unified facts add up to, hour by hour, in three tables under `statistics/`.
//!
//! Invariant: a roll-up holds every row of its facts, whatever its kind, state or perspective, and adds up only what can be added up
//! further: row counts, amounts, quantities. What a request counts is decided when it is answered, so that a roll-up answers it
//! to the last digit.
//!
//! ```text
//!   unified.transactions ──> hourly_transactions    how many, and their amounts
//!   unified.articles     ──> hourly_articles        how many, their quantities and amounts, by what was sold
//!   unified.payments     ──> hourly_payments        how many, and their amounts, by how was paid
//! ```
//!
//! - `aggregate` adds the facts of some hours up;
//! - `maintain` brings them to the versions a run is about to publish, hour by hour;
//! - `routing` decides whether a request can be answered from them.
//!
//! A row is one UTC hour on one site's clock: an hour of a site half an hour off UTC is two rows, which differ in `local_hour`. That
//! serves both UTC hours and the site's own. Rejected: one table for all three facts, in which every transaction would have
//! to be either counted once a payment or kept in rows of its own; and an own cut of hours a zone, since a request may name any
//! zone: those that are not whole hours off UTC are answered from the facts.

mod aggregate;
mod maintain;
mod routing;

pub use maintain::roll_up;
pub use routing::AnswerSource;
pub(crate) use routing::route;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;
use tillhouse_lake::{
    ChangedRanges, ComparedColumns, RangeColumn, RangeTable, TableVersion, Warehouse,
};
use tillhouse_model::calendar::HOUR;
use tillhouse_model::table::{MONTH, OCCURRED_AT, PIPELINE, timestamp};
use tillhouse_model::{ColumnNote, DataDictionary, Result, TableNote};

/// Raised when the roll-ups mean something else than before; they are then counted anew. 2: `without_amount` of transactions; 3: of
/// payments.
const EDITION: u32 = 3;

/// The column that holds the start of a roll-up's hour.
const HOUR_COLUMN: &str = "hour";
/// The hours by which roll-ups are brought up to date.
const HOURS: RangeColumn = RangeColumn::new(OCCURRED_AT, HOUR);
/// The column that names the transaction a fact is of.
const TRANSACTION_KEY: &str = "transaction_key";
const CURRENCY: &str = "currency";

/// Type of a label column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LabelType {
    Text,
    Flag,
}

/// Definition of one roll-up: its fact, labels and sums.
#[derive(Debug)]
pub(crate) struct RollupSpec {
    /// Its name, below `statistics`.
    pub(crate) name: &'static str,
    /// The fact it adds up.
    pub(crate) fact: &'static str,
    /// The fact's own columns by which its rows are told apart, beyond those every fact has.
    labels: &'static [(&'static str, LabelType)],
    /// Name of the number of rows.
    pub(crate) count: &'static str,
    /// Columns that are summed, with digits after the point.
    sums: &'static [(&'static str, i8)],
    /// A column that counts the rows without a value in one of the sums, and that sum: a sum alone hides that something is missing.
    missing: Option<(&'static str, &'static str)>,
    /// True if a row without a currency has its transaction's.
    pub(crate) inherits: bool,
}

use LabelType::{Flag, Text};

/// The roll-ups.
pub(crate) const ROLLUPS: [&RollupSpec; 3] = [&TRANSACTIONS, &ARTICLES, &PAYMENTS];

/// Counts rows without an amount.
pub(crate) const WITHOUT_AMOUNT: &str = "without_amount";

/// Transactions by state.
pub(crate) const TRANSACTIONS: RollupSpec = RollupSpec {
    name: "hourly_transactions",
    fact: "transactions",
    labels: &[("state", Text)],
    count: "transactions",
    sums: &[("amount", 4)],
    missing: Some((WITHOUT_AMOUNT, "amount")),
    inherits: false,
};

/// Articles by what was sold.
pub(crate) const ARTICLES: RollupSpec = RollupSpec {
    name: "hourly_articles",
    fact: "articles",
    labels: &[
        ("transaction_state", Text),
        ("state", Text),
        ("unit_measure", Text),
        ("product_key", Text),
        ("name", Text),
    ],
    count: "articles",
    sums: &[("quantity", 6), ("amount", 4)],
    missing: None,
    inherits: true,
};

/// Payments by how was paid.
pub(crate) const PAYMENTS: RollupSpec = RollupSpec {
    name: "hourly_payments",
    fact: "payments",
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
    inherits: true,
};

/// The columns every fact has from its transaction, and the roll-ups keep; hour, pipeline, month, currency and those on the
/// site's clock apart.
const SHARED: [&str; 5] = ["source", "tenant_id", "perspective", "kind", "site_key"];
/// On the site's own clock.
const LOCAL: [&str; 2] = ["business_date", "local_hour"];

impl RollupSpec {
    /// The table.
    fn table(&self, warehouse: &Warehouse) -> RangeTable {
        let sources: &[&str] = if self.inherits {
            &[self.fact, "transactions"]
        } else {
            &[self.fact]
        };
        warehouse.range_table(self.name, self.schema(), HOUR_COLUMN, sources, EDITION)
    }

    /// Its path below the warehouse.
    pub(crate) fn path(&self) -> String {
        format!("statistics/{}", self.name)
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let mut fields = vec![
            Field::new(HOUR_COLUMN, timestamp(), true),
            Field::new("business_date", DataType::Date32, true),
            Field::new("local_hour", DataType::Int64, true),
            Field::new(PIPELINE, DataType::Utf8, false),
        ];
        fields.extend(SHARED.iter().map(|name| text(name)));
        fields.extend(self.labels.iter().map(|(name, sort)| match sort {
            Text => text(name),
            Flag => Field::new(*name, DataType::Boolean, true),
        }));
        fields.push(text(CURRENCY));
        fields.push(Field::new(self.count, DataType::Int64, false));
        // Nullable, since tables of an earlier edition gain it.
        fields.extend(
            self.missing
                .map(|(name, _)| Field::new(name, DataType::Int64, true)),
        );
        // Ten digits more than a single amount has: no hour adds up to more.
        fields.extend(
            self.sums
                .iter()
                .map(|(name, scale)| Field::new(*name, DataType::Decimal128(28, *scale), true)),
        );
        fields.push(Field::new(MONTH, DataType::Utf8, false));
        Arc::new(Schema::new(fields))
    }

    /// The columns of the fact that decide what the roll-up holds. The transaction's key is among them because a currency is
    /// inherited by it.
    pub(crate) fn columns(&self) -> Vec<&'static str> {
        let labels = self.labels.iter().map(|(name, _)| *name);
        let sums = self.sums.iter().map(|(name, _)| *name);
        LOCAL
            .into_iter()
            .chain(SHARED)
            .chain([TRANSACTION_KEY, CURRENCY])
            .chain(labels)
            .chain(sums)
            .collect()
    }

    /// The hours in which two versions of the fact differ in what the roll-up holds.
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
        let path = format!("unified/{}", self.fact);
        warehouse.changed_ranges(&path, since, now, &compared).await
    }

    /// Adds up all rows of tables named after the facts, with a prefix: what a run that names no roll-ups would have in them.
    pub(crate) fn sql(&self, prefix: &str) -> String {
        let (fact, count) = (format!("{prefix}{}", self.fact), self.count);
        let kept: Vec<&str> = LOCAL
            .into_iter()
            .chain([PIPELINE])
            .chain(SHARED)
            .chain(self.labels.iter().map(|(name, _)| *name))
            .chain([MONTH])
            .collect();
        let kept = kept.join(", ");
        let measured: Vec<&str> = self.sums.iter().map(|(name, _)| *name).collect();
        let measured = measured.join(", ");
        let sums = self
            .sums
            .iter()
            .map(|(name, scale)| format!("CAST(sum({name}) AS DECIMAL(28, {scale})) AS {name}"));
        let missing = self
            .missing
            .map(|(name, of)| format!("count(*) FILTER (WHERE {of} IS NULL) AS {name}"));
        let sums = missing
            .into_iter()
            .chain(sums)
            .collect::<Vec<_>>()
            .join(", ");
        let hour = "local_hour_start(occurred_at, 'UTC') AS hour";
        let rows = if self.inherits {
            format!(
                "SELECT {hour}, {kept}, currency, {measured} FROM {fact}
                 WHERE currency IS NOT NULL
                 UNION ALL
                 SELECT {hour}, {kept}, parent.currency AS currency, {measured}
                 FROM (SELECT transaction_key, occurred_at, {kept}, {measured} FROM {fact}
                       WHERE currency IS NULL) AS child
                 LEFT JOIN (SELECT transaction_key AS parent_key, currency FROM {prefix}transactions) AS parent
                 ON child.transaction_key = parent.parent_key"
            )
        } else {
            format!("SELECT {hour}, {kept}, currency, {measured} FROM {fact}")
        };
        format!(
            "SELECT hour, {kept}, currency, count(*) AS {count}, {sums} FROM ({rows}) AS counted
             GROUP BY hour, {kept}, currency"
        )
    }
}

/// Adds notes on the roll-ups: their labels mean what they do in the facts.
pub(crate) fn add_notes(dictionary: &mut DataDictionary) {
    for rollup in ROLLUPS {
        let fact = rollup.fact;
        let noted = dictionary
            .table(tillhouse_query::DEFAULT_SCHEMA, fact)
            .cloned();
        let of_fact = |name: &str| noted.as_ref()?.columns.get(name).cloned();
        let is_sum = |name: &str| rollup.sums.iter().any(|(sum, _)| *sum == name);
        let sum_of = |name: &str| {
            is_sum(name).then(|| ColumnNote {
                unit: of_fact(name).and_then(|note| note.unit),
                ..ColumnNote::of(format!("Sum of {name} of these {fact}."))
            })
        };
        let own = |name: &str| {
            let text = match name {
                HOUR_COLUMN => "Start of the hour, UTC.".to_owned(),
                name if name == rollup.count => format!("Number of {fact}."),
                name if rollup.missing.is_some_and(|(count, _)| count == name) => {
                    format!("Number of {fact} without an amount.")
                }
                _ => return None,
            };
            Some(ColumnNote::of(text))
        };
        let schema = rollup.schema();
        let columns = schema.fields().iter().filter_map(|field| {
            let name = field.name().as_str();
            let note = own(name)
                .or_else(|| sum_of(name))
                .or_else(|| of_fact(name))?;
            Some((name.to_owned(), note))
        });
        let note = TableNote {
            description: format!(
                "Sums of unified.{fact} by hour, site and label, from which statistics answer."
            ),
            columns: columns.collect(),
        };
        dictionary.add("statistics", rollup.name, note);
    }
}
