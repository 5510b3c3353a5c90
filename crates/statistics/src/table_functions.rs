//! The statistics as SQL table functions: `SELECT * FROM hourly_transactions('2026-01-01', '2026-02-01')`.
//!
//! Invariant: a row of a table function is a row of the statistics of the same request; nothing is counted here. A function's columns
//! are known when the query is planned, its figures are worked out when it runs: EXPLAIN asks the tables nothing.
//!
//! ```text
//!   call (plan time, not async) ─> CheckedRequest::new, for its errors ─> StreamingTable ─run─> figures(sibling session) ─> one batch
//! ```
//!
//! docs/sql.md describes each function with an example that runs.

use crate::request::{CheckedRequest, HourGrouping, StatisticsRequest};
use crate::{CheckedFilter, GrowthBaseline, RequestedNames, StatisticsFigures, figures};
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;
use tillhouse_lake::{ColumnType, RowValue, encode_column};
use tillhouse_model::json::fault;
use tillhouse_model::table::timestamp;
use tillhouse_model::time::{beyond_calendar, parse_instant};
use tillhouse_model::time_zone::time_zone;
use tillhouse_model::{Error, Filter, PseudonymKey, Result, Window};
use tillhouse_query::zone::Zone;
use tillhouse_query::{ScalarValue, Scope, Session};

/// Digits after the point of amounts, as in the tables.
const AMOUNT: u8 = 4;
/// Digits after the point of quantities, as in the tables.
const QUANTITY: u8 = 6;
/// Digits after the point of growth.
const GROWTH: u8 = 2;

/// Makes the table functions known to a session.
///
/// They read what the session reads: the same run, within the same memory.
///
/// `key` is the project's, for filters that name personal values.
pub(crate) fn register(session: &Session, key: Option<&PseudonymKey>) {
    let asked = Arc::new(session.sibling());
    let key = key.cloned().map(Arc::new);
    for figure in FIGURES {
        session.register_table_function(
            figure.name,
            Arc::new(FigureFunction {
                figure,
                session: Arc::clone(&asked),
                key: key.clone(),
            }),
        );
    }
}

/// One of the figures, as a table.
struct FigureTable {
    name: &'static str,
    /// Its columns after the currency.
    columns: &'static [(&'static str, ColumnType)],
    rows: fn(&StatisticsFigures, &mut FigureRows) -> Result<()>,
}

macro_rules! ranking {
    ($name:ident, $label:ident, $value:ident, $sort:expr) => {
        FigureTable {
            name: stringify!($name),
            columns: &[
                (stringify!($label), ColumnType::Text),
                (stringify!($value), $sort),
            ],
            rows: |figures, rows| {
                for entry in &figures.data {
                    for row in &entry.$name {
                        rows.push(
                            &entry.currency,
                            [
                                RowValue::from(row.$label.as_str()),
                                RowValue::from(row.$value),
                            ],
                        );
                    }
                }
                Ok(())
            },
        }
    };
}

macro_rules! site_ranking {
    ($name:ident, $value:ident, $sort:expr) => {
        FigureTable {
            name: stringify!($name),
            columns: &[
                ("site_name", ColumnType::Text),
                ("site_key", ColumnType::Text),
                (stringify!($value), $sort),
            ],
            rows: |figures, rows| {
                for entry in &figures.data {
                    for row in &entry.$name {
                        let cells = [
                            RowValue::from(row.site_name.as_str()),
                            optional(&row.site_key),
                            RowValue::from(row.$value),
                        ];
                        rows.push(&entry.currency, cells);
                    }
                }
                Ok(())
            },
        }
    };
}

fn optional(text: &Option<String>) -> RowValue {
    text.as_deref().map_or(RowValue::Null, RowValue::from)
}

macro_rules! headline {
    ($name:ident, $sort:expr) => {
        FigureTable {
            name: stringify!($name),
            columns: &[("value", $sort), ("growth", ColumnType::Decimal(GROWTH))],
            rows: |figures, rows| {
                for entry in &figures.data {
                    let growth = RowValue::from(entry.$name.growth);
                    rows.push(&entry.currency, [RowValue::from(entry.$name.value), growth]);
                }
                Ok(())
            },
        }
    };
}

const FIGURES: &[FigureTable] = &[
    FigureTable {
        name: "hourly_transactions",
        columns: &[
            ("hour", ColumnType::Text),
            ("starts_at", ColumnType::Time),
            ("transactions", ColumnType::Int),
        ],
        rows: |figures, rows| {
            for entry in &figures.data {
                for row in &entry.hourly_transactions {
                    // Hours of the day start on many days, so at no instant.
                    let starts_at = row
                        .hour
                        .parse::<Timestamp>()
                        .map_or(RowValue::Null, RowValue::Time);
                    let cells = [
                        RowValue::from(row.hour.as_str()),
                        starts_at,
                        RowValue::from(row.transactions),
                    ];
                    rows.push(&entry.currency, cells);
                }
            }
            Ok(())
        },
    },
    ranking!(
        payment_type_ranking,
        payment_type,
        amount,
        ColumnType::Decimal(AMOUNT)
    ),
    ranking!(
        payment_medium_ranking,
        payment_medium,
        amount,
        ColumnType::Decimal(AMOUNT)
    ),
    ranking!(
        payment_scheme_ranking,
        payment_scheme,
        amount,
        ColumnType::Decimal(AMOUNT)
    ),
    ranking!(
        payment_entry_mode_ranking,
        payment_entry_mode,
        amount,
        ColumnType::Decimal(AMOUNT)
    ),
    ranking!(
        payment_function_ranking,
        payment_function,
        amount,
        ColumnType::Decimal(AMOUNT)
    ),
    ranking!(
        payment_method_ranking,
        payment_method,
        amount,
        ColumnType::Decimal(AMOUNT)
    ),
    FigureTable {
        name: "article_quantities_ranking",
        columns: &[
            ("unit_measure", ColumnType::Text),
            ("article_name", ColumnType::Text),
            ("product_key", ColumnType::Text),
            ("quantity", ColumnType::Decimal(QUANTITY)),
            ("products", ColumnType::Int),
        ],
        rows: |figures, rows| {
            for entry in &figures.data {
                for unit in &entry.article_quantities_ranking {
                    for row in &unit.articles_quantities {
                        let unit = RowValue::from(unit.unit_measure.as_str());
                        let cells = [
                            unit,
                            RowValue::from(row.article_name.as_str()),
                            optional(&row.product_key),
                            RowValue::from(row.quantity),
                            RowValue::from(row.products),
                        ];
                        rows.push(&entry.currency, cells);
                    }
                }
            }
            Ok(())
        },
    },
    site_ranking!(sites_amount_ranking, amount, ColumnType::Decimal(AMOUNT)),
    site_ranking!(sites_transactions_ranking, transactions, ColumnType::Int),
    headline!(transactions_count, ColumnType::Int),
    headline!(transactions_total_amount, ColumnType::Decimal(AMOUNT)),
];

/// Rows of a figure, column by column.
struct FigureRows {
    columns: Vec<Vec<RowValue>>,
}

impl FigureRows {
    fn push<const N: usize>(&mut self, currency: &str, cells: [RowValue; N]) {
        for (column, cell) in self
            .columns
            .iter_mut()
            .zip([RowValue::from(currency)].into_iter().chain(cells))
        {
            column.push(cell);
        }
    }
}

impl FigureTable {
    fn columns(&self) -> impl Iterator<Item = (&'static str, ColumnType)> {
        [("currency", ColumnType::Text)]
            .into_iter()
            .chain(self.columns.iter().copied())
    }

    fn schema(&self) -> SchemaRef {
        let fields = self
            .columns()
            .map(|(name, sort)| Field::new(name, sort.data_type(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn batch(&self, figures: &StatisticsFigures) -> Result<RecordBatch> {
        let mut rows = FigureRows {
            columns: vec![Vec::new(); self.columns.len() + 1],
        };
        (self.rows)(figures, &mut rows)?;
        let arrays = self
            .columns()
            .zip(rows.columns)
            .map(|((name, sort), cells)| encode_column(name, sort, &cells))
            .collect::<Result<Vec<_>>>()
            .map_err(|e| e.at("function", self.name))?;
        RecordBatch::try_new(self.schema(), arrays).map_err(|e| {
            Error::internal("statistics do not fit their table")
                .at("function", self.name)
                .because(e)
        })
    }
}

/// Table function of one figure.
struct FigureFunction {
    figure: &'static FigureTable,
    session: Arc<Session>,
    key: Option<Arc<PseudonymKey>>,
}

impl fmt::Debug for FigureFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.figure.name).finish()
    }
}

impl TableFunctionImpl for FigureFunction {
    fn call_with_args(
        &self,
        args: TableFunctionArgs<'_, '_>,
    ) -> datafusion::common::Result<Arc<dyn TableProvider>> {
        let request = request(args.exprs(), self.key.as_deref(), self.session.scope())
            .and_then(|request| CheckedRequest::new(&request).map(|_| ()).map(|()| request))
            .map_err(|e| DataFusionError::External(Box::new(e.at("function", self.figure.name))))?;
        let answer = FigureStream {
            figure: self.figure,
            schema: self.figure.schema(),
            session: Arc::clone(&self.session),
            request,
        };
        Ok(Arc::new(StreamingTable::try_new(
            self.figure.schema(),
            vec![Arc::new(answer)],
        )?))
    }
}

/// Rows of one call, computed when they are read.
struct FigureStream {
    figure: &'static FigureTable,
    schema: SchemaRef,
    session: Arc<Session>,
    request: StatisticsRequest,
}

impl fmt::Debug for FigureStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("figure", &self.figure.name)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

impl PartitionStream for FigureStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (figure, session, request) =
            (self.figure, Arc::clone(&self.session), self.request.clone());
        let answer = async move {
            let names = RequestedNames {
                tenant: request.tenant.as_deref(),
                source: request.source.as_deref(),
                filter: request.filter.as_ref(),
                ..RequestedNames::default()
            };
            let batch = async {
                names
                    .check(&session)
                    .await
                    .map_err(|e| e.at("function", figure.name))?;
                figure.batch(&figures(&session, &request).await?)
            };
            batch
                .await
                .map_err(|e| DataFusionError::External(Box::new(e)))
        };
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::once(answer),
        ))
    }
}

/// Options of a call, its fourth argument.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FigureOptions {
    tenant: Option<String>,
    source: Option<String>,
    perspective: Option<String>,
    states: Option<Vec<String>>,
    hours: Option<String>,
    compare: Option<String>,
    filter: Option<Box<RawValue>>,
}

/// The request that a call's arguments make: from, to, the time zone, options as JSON.
fn request(
    arguments: &[Expr],
    key: Option<&PseudonymKey>,
    scope: &Scope,
) -> Result<StatisticsRequest> {
    let usage = "Write hourly_transactions('2026-01-01', '2026-02-01'), then the time zone and other options if need be: \
                 'Europe/Zurich', '{\"source\": \"hecone\"}'.";
    if !(2..=4).contains(&arguments.len()) {
        return Err(Error::config(format!(
            "it takes 2 to 4 arguments, not {}",
            arguments.len()
        ))
        .hint(usage));
    }
    let mut values = Vec::with_capacity(4);
    for argument in arguments {
        let Expr::Literal(value, _) = argument else {
            return Err(Error::config("its arguments must be constants").hint(usage));
        };
        values.push(value);
    }
    let text = |index: usize| match values.get(index) {
        None => Ok(None),
        Some(value) if value.is_null() => Ok(None),
        Some(value) => match value.try_as_str() {
            Some(text) => Ok(text),
            None => Err(Error::config(format!("argument {} is not text", index + 1)).hint(usage)),
        },
    };
    let timezone = text(2)?.unwrap_or("UTC").to_owned();
    let zone = time_zone(&timezone)
        .or_else(|| offset(&timezone))
        .ok_or_else(|| {
            Error::config(format!("{timezone:?} is no time zone"))
                .hint("Write an IANA name like Europe/Zurich, or an offset like +02:00.")
        })?;
    let options: FigureOptions = match text(3)? {
        None => FigureOptions::default(),
        Some(json) => serde_json::from_str(json).map_err(|e| {
            Error::config("the options cannot be read").because(fault(&e)).hint(
                "Write a JSON object with tenant, source, perspective, states, hours, compare or filter: '{\"states\": [\"completed\"]}'.",
            )
        })?,
    };
    let end = |index: usize| match values.get(index) {
        Some(value) if !value.is_null() => instant(value, &zone),
        _ => Err(Error::config(format!("argument {} is null", index + 1)).hint(usage)),
    };
    let defaults = StatisticsRequest::new(Window::new(end(0)?, end(1)?)?);
    let compare = options
        .compare
        .map_or(Ok(GrowthBaseline::default()), |text| {
            GrowthBaseline::parse(&text, &timezone)
        })?;
    let filter = options
        .filter
        .map(|json| CheckedFilter::within(scope, &Filter::parse(json.get())?, &timezone, key))
        .transpose()?;
    Ok(StatisticsRequest {
        tenant: options.tenant,
        source: options.source,
        perspective: options
            .perspective
            .unwrap_or_else(|| defaults.perspective.clone()),
        states: options.states.unwrap_or_else(|| defaults.states.clone()),
        timezone,
        hours: options
            .hours
            .map_or(Ok(HourGrouping::default()), |hours| hours.parse())?,
        compare,
        filter,
        ..defaults
    })
}

fn offset(text: &str) -> Option<TimeZone> {
    match Zone::parse(text)? {
        Zone::Fixed(seconds) => jiff::tz::Offset::from_seconds(seconds)
            .ok()
            .map(TimeZone::fixed),
        Zone::Named(_) => None,
    }
}

/// An end of the window: text, a date, or a timestamp; what has no offset is the zone's.
fn instant(value: &ScalarValue, zone: &TimeZone) -> Result<Timestamp> {
    if let Some(Some(text)) = value.try_as_str() {
        return parse_instant(text.trim(), zone);
    }
    let bad = || {
        Error::config(format!("{value} is neither a date nor a time"))
            .hint("Write '2026-01-31', DATE '2026-01-31', or a time with its offset like '2026-01-31T12:00:00Z'.")
    };
    let micros = |value: &ScalarValue| match value.cast_to(&timestamp()) {
        Ok(ScalarValue::TimestampMicrosecond(Some(micros), _)) => {
            Timestamp::from_microsecond(micros).map_err(|_| beyond_calendar(&value.to_string()))
        }
        _ => Err(bad()),
    };
    match value {
        ScalarValue::TimestampSecond(_, Some(_))
        | ScalarValue::TimestampMillisecond(_, Some(_))
        | ScalarValue::TimestampMicrosecond(_, Some(_))
        | ScalarValue::TimestampNanosecond(_, Some(_)) => micros(value),
        ScalarValue::Date32(_)
        | ScalarValue::Date64(_)
        | ScalarValue::TimestampSecond(_, None)
        | ScalarValue::TimestampMillisecond(_, None)
        | ScalarValue::TimestampMicrosecond(_, None)
        | ScalarValue::TimestampNanosecond(_, None) => {
            let wall = TimeZone::UTC.to_datetime(micros(value)?);
            wall.to_zoned(zone.clone())
                .map(|at| at.timestamp())
                .map_err(|_| beyond_calendar(&value.to_string()))
        }
        _ => Err(bad()),
    }
}
