//! The figures that are compared: what is added up of which fact, then and now, in one query.
//!
//! Invariant: both runs' rows pass the same condition. A difference is looked for more finely than it is shown: two sites that swap a
//! sale within an hour changed it.

use super::{RestatementConditions, RunPairSession};
use crate::columns::{decimals, each_batch, integers, texts};
use crate::definitions::{COLLECTED, COLLECTED_SQL, SOLD_SQL};
use crate::transaction_totals::UNKNOWN;
use jiff::civil::Date;
use tillhouse_model::calendar;
use tillhouse_model::{Error, ExactDecimal, Result};

/// The figures of a restatement, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RestatedMeasure {
    Transactions,
    Amount,
    Collected,
    Quantity,
}

impl RestatedMeasure {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Amount => "amount",
            Self::Collected => COLLECTED,
            Self::Quantity => "quantity",
        }
    }
}

/// One figure of one pipeline, tenant and hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RestatedHourFigure {
    pub(super) pipeline: String,
    /// The tenant whose sales it adds up, where they name one.
    pub(super) tenant: Option<String>,
    /// Its start in microseconds.
    pub(super) hour: i64,
    /// The site's own day.
    pub(super) date: Date,
    pub(super) currency: String,
    pub(super) name: RestatedMeasure,
    pub(super) unit: Option<String>,
}

/// Sums of a figure in the earlier and the later run, as whole numbers of its last digit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RestatedSums {
    pub(super) then: i128,
    pub(super) now: i128,
    pub(super) scale: u8,
}

impl RestatedSums {
    pub(super) fn exact(&self) -> [ExactDecimal; 3] {
        [self.then, self.now, self.now - self.then]
            .map(|units| ExactDecimal::new(units, self.scale))
    }
}

/// Columns of a fact that are summed, and the conditions on its rows.
pub(super) struct FactMeasure {
    table: &'static str,
    /// The column with the transaction's state.
    pub(super) state: &'static str,
    /// Rows that count.
    pub(super) condition: &'static str,
    unit: &'static str,
    /// Column that rows are grouped by, beside hour, currency and unit.
    detail: &'static str,
    /// The figure that counts rows.
    rows: Option<SummedColumn>,
    /// The figure with digits after the point.
    sum: SummedColumn,
}

/// Figure that a column of a fact adds up to.
#[derive(Clone, Copy)]
struct SummedColumn {
    figure: RestatedMeasure,
    column: &'static str,
    /// Digits after the point.
    scale: u8,
}

impl SummedColumn {
    const fn new(figure: RestatedMeasure, column: &'static str, scale: u8) -> Self {
        Self {
            figure,
            column,
            scale,
        }
    }
}

pub(super) const MEASURES: [FactMeasure; 3] = [
    FactMeasure {
        table: "transactions_hourly",
        state: "state",
        condition: "TRUE",
        unit: "CAST(NULL AS VARCHAR)",
        detail: "site_key",
        rows: Some(SummedColumn::new(
            RestatedMeasure::Transactions,
            "transactions",
            0,
        )),
        sum: SummedColumn::new(RestatedMeasure::Amount, "amount", 4),
    },
    FactMeasure {
        table: "payments_hourly",
        state: "transaction_state",
        condition: COLLECTED_SQL,
        unit: "CAST(NULL AS VARCHAR)",
        detail: "concat_ws('|', site_key, type, medium, scheme, entry_mode, function)",
        rows: None,
        sum: SummedColumn::new(RestatedMeasure::Collected, "amount", 4),
    },
    FactMeasure {
        table: "articles_hourly",
        state: "transaction_state",
        condition: SOLD_SQL,
        unit: "coalesce(unit_measure, 'unknown')",
        detail: "concat_ws('|', site_key, product_key, name)",
        rows: None,
        sum: SummedColumn::new(RestatedMeasure::Quantity, "quantity", 6),
    },
];

impl FactMeasure {
    /// Both runs' sums. With `differing` only groups that are not what they were, told apart in detail.
    pub(super) fn sql(&self, condition: &str, differing: bool) -> String {
        let Self {
            table,
            unit,
            detail,
            rows,
            sum: SummedColumn {
                column: sum, scale, ..
            },
            ..
        } = self;
        let rows = rows.map_or("0", |rows| rows.column);
        let zero = format!("CAST(0 AS DECIMAL(28, {scale}))");
        let side = |run: &str, then: bool| {
            let sum = format!("coalesce({sum}, {zero})");
            let values = match then {
                true => format!(
                    "{rows} AS then_rows, 0 AS now_rows, {sum} AS then_sum, {zero} AS now_sum"
                ),
                false => format!(
                    "0 AS then_rows, {rows} AS now_rows, {zero} AS then_sum, {sum} AS now_sum"
                ),
            };
            format!(
                "SELECT pipeline, tenant_id, hour, coalesce(business_date, local_date(hour, 'UTC')) AS date, currency, {unit} AS unit,
                        {detail} AS detail, {values}
                 FROM {run}_{table} WHERE {condition}"
            )
        };
        let (detail, having) = match differing {
            true => (
                ", detail",
                "HAVING sum(then_rows) <> sum(now_rows) OR sum(then_sum) <> sum(now_sum)",
            ),
            false => ("", ""),
        };
        format!(
            "SELECT pipeline, tenant_id, CAST(hour AS BIGINT) AS hour, CAST(date AS INT) AS date, currency, unit,
                    sum(then_rows) AS then_rows, sum(now_rows) AS now_rows, sum(then_sum) AS then_sum, sum(now_sum) AS now_sum
             FROM ({} UNION ALL {}) AS both_runs
             GROUP BY pipeline, tenant_id, hour, date, currency, unit{detail} {having}",
            side("then", true),
            side("now", false)
        )
    }
}

/// Runs a measure's query and hands over its figures one by one.
pub(super) async fn figures(
    sides: &RunPairSession,
    measure: &FactMeasure,
    sql: &str,
    asked: &RestatementConditions,
    mut take: impl FnMut(RestatedHourFigure, RestatedSums) -> Result<()>,
) -> Result<()> {
    each_batch(&sides.session, sql, asked.params(), |batch| {
        let (pipelines, tenants, currencies, units) = (
            texts(batch, "pipeline")?,
            texts(batch, "tenant_id")?,
            texts(batch, "currency")?,
            texts(batch, "unit")?,
        );
        let (hours, dates) = (integers(batch, "hour")?, integers(batch, "date")?);
        let counts = [integers(batch, "then_rows")?, integers(batch, "now_rows")?];
        let sums = [decimals(batch, "then_sum")?, decimals(batch, "now_sum")?];
        for row in 0..batch.num_rows() {
            let (Some(pipeline), Some(hour), Some(date)) =
                (pipelines.get(row), hours.get(row), dates.get(row))
            else {
                continue;
            };
            let figure = |name| {
                Ok::<_, Error>(RestatedHourFigure {
                    pipeline: pipeline.to_owned(),
                    tenant: tenants.get(row).map(str::to_owned),
                    hour,
                    date: calendar::date_of(date).ok_or_else(|| {
                        Error::data(format!("day {date} since 1970 cannot be written as a date"))
                    })?,
                    currency: currencies.get(row).unwrap_or(UNKNOWN).to_owned(),
                    name,
                    unit: units.get(row).map(str::to_owned),
                })
            };
            if let Some(rows) = measure.rows {
                let [then, now] = counts
                    .each_ref()
                    .map(|count| i128::from(count.get(row).unwrap_or(0)));
                take(
                    figure(rows.figure)?,
                    RestatedSums {
                        then,
                        now,
                        scale: rows.scale,
                    },
                )?;
            }
            let [then, now] = sums.each_ref().map(|sum| sum.get(row));
            take(
                figure(measure.sum.figure)?,
                RestatedSums {
                    then,
                    now,
                    scale: measure.sum.scale,
                },
            )?;
        }
        Ok(())
    })
    .await
}
