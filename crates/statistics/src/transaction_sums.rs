//! The step of a plan that sums up transactions: rows of a scan in, the totals of each partition out, as one batch.
//!
//! Invariant: the totals of all partitions together are those of all rows, whatever partition a row is in. The step needs nothing but its rows and its rules, so that it can run in
//! another process: the rules can be written as text, and the totals are columns.
//!
//! | figure | currency | site | hour | what |
//! |---|---|---|---|---|
//! | `scale`, `open`, `without_time`, `without_amount` | | | | a number of the whole, as `count` |
//! | `now`, `before`, `without_site`, `free`, `test`, `excluded` | its | | | count and amount |
//! | `site` | its | the key | | count and amount |
//! | `hour` | its | | the hour | count |

use crate::columns::{TextColumn, decimals, integers, texts};
use crate::request::HourGrouping;
use crate::rollup::{AnswerSource, FactScan, Part};
use crate::transaction_totals::{
    AmountTally, CountingRules, TransactionTotals, UncountedSales, named,
};
use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::{TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, LazyLock};
use tillhouse_model::time_zone::IanaZone;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_query::zone::{Zone, ZoneClock};

/// Columns of the totals.
static COLUMNS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("figure", DataType::Utf8, false),
        Field::new("currency", DataType::Utf8, true),
        Field::new("site", DataType::Utf8, true),
        Field::new("hour", DataType::Int64, true),
        Field::new("count", DataType::Int64, false),
        Field::new("amount", amount_type(), false),
    ]))
});

/// Type of amounts: whole numbers, of which the scale stands in a row of its own.
fn amount_type() -> DataType {
    DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0)
}

/// The step: one batch of totals for each partition of its input.
#[derive(Debug)]
pub struct TransactionSums {
    input: Arc<dyn ExecutionPlan>,
    rules: Arc<CountingRules>,
    properties: Arc<PlanProperties>,
}

impl TransactionSums {
    /// The step over the rows of a scan.
    pub(crate) fn over(
        input: Arc<dyn ExecutionPlan>,
        rules: CountingRules,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(Arc::new(Self::new(input, Arc::new(rules))))
    }

    fn new(input: Arc<dyn ExecutionPlan>, rules: Arc<CountingRules>) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&COLUMNS)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            input,
            rules,
            properties: Arc::new(properties),
        }
    }

    /// The rules as text, for another process of this version.
    ///
    /// Errors with [`ErrorKind::Internal`] where they cannot be written.
    pub fn rules_text(&self) -> Result<String> {
        serde_json::to_string(&WrittenRules::of(&self.rules))
            .or_error(ErrorKind::Internal, "a step of a query cannot be written")
    }

    /// The step over other rows, by rules that were written as text.
    ///
    /// Errors with [`ErrorKind::Query`] for a text that is none, or names what this version does not know.
    pub fn by_rules(text: &str, input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let written: WrittenRules = serde_json::from_str(text)
            .or_error(ErrorKind::Query, "a step of a query cannot be read")?;
        Ok(Arc::new(Self::new(input, Arc::new(written.rules()?))))
    }
}

impl DisplayAs for TransactionSums {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionSums: from {}", self.rules.scan.source.name())
    }
}

impl ExecutionPlan for TransactionSums {
    fn name(&self) -> &'static str {
        "TransactionSums"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion, DataFusionError>,
    ) -> Result<TreeNodeRecursion, DataFusionError> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        match children.into_iter().next() {
            Some(input) => Ok(Arc::new(Self::new(input, Arc::clone(&self.rules)))),
            None => internal_err!("{} has an input", self.name()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let rows = self.input.execute(partition, context)?;
        let sums = stream::once(sums(rows, Arc::clone(&self.rules)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&COLUMNS),
            sums,
        )))
    }
}

async fn sums(
    mut rows: SendableRecordBatchStream,
    rules: Arc<CountingRules>,
) -> Result<RecordBatch, DataFusionError> {
    let ours = |error: Error| DataFusionError::External(Box::new(error));
    let (mut found, mut clock) = (TransactionTotals::default(), ZoneClock::new(rules.zone));
    while let Some(batch) = rows.try_next().await? {
        found
            .count(&batch, &rules, &mut clock, None)
            .map_err(ours)?;
    }
    write(&found)
}

/// A row of the totals.
#[derive(Default)]
struct TotalRow<'a> {
    figure: &'static str,
    currency: Option<&'a str>,
    site: Option<&'a str>,
    hour: Option<i64>,
    tally: AmountTally,
}

impl<'a> TotalRow<'a> {
    fn number(figure: &'static str, count: i64) -> Self {
        let tally = AmountTally { count, amount: 0 };
        Self {
            figure,
            tally,
            ..Self::default()
        }
    }

    fn of(figure: &'static str, currency: &'a str, tally: AmountTally) -> Self {
        Self {
            figure,
            currency: Some(currency),
            tally,
            ..Self::default()
        }
    }
}

/// Totals as a batch.
fn write(totals: &TransactionTotals) -> Result<RecordBatch, DataFusionError> {
    let mut rows = vec![
        TotalRow::number("scale", i64::from(totals.scale)),
        TotalRow::number("open", totals.open),
        TotalRow::number("without_time", totals.without_time),
        TotalRow::number("without_amount", totals.without_amount),
    ];
    for (currency, aside) in &totals.uncounted {
        for (figure, tally) in [
            ("free", aside.free),
            ("test", aside.test),
            ("excluded", aside.excluded),
        ] {
            rows.push(TotalRow::of(figure, currency, tally));
        }
    }
    for (currency, of) in &totals.currencies {
        for (figure, tally) in [
            ("now", of.now),
            ("before", of.before),
            ("without_site", of.without_site),
        ] {
            rows.push(TotalRow::of(figure, currency, tally));
        }
        rows.extend(of.sites.iter().map(|(site, tally)| TotalRow {
            site: Some(site),
            ..TotalRow::of("site", currency, *tally)
        }));
        let hours = of.hours.in_order().into_iter();
        rows.extend(hours.map(|(hour, count)| TotalRow {
            currency: Some(currency),
            hour: Some(hour),
            ..TotalRow::number("hour", count)
        }));
    }
    let figures: StringArray = rows.iter().map(|row| Some(row.figure)).collect();
    let currencies: StringArray = rows.iter().map(|row| row.currency).collect();
    let sites: StringArray = rows.iter().map(|row| row.site).collect();
    let hours: Int64Array = rows.iter().map(|row| row.hour).collect();
    let counts = Int64Array::from_iter_values(rows.iter().map(|row| row.tally.count));
    let amounts = Decimal128Array::from_iter_values(rows.iter().map(|row| row.tally.amount));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(figures),
        Arc::new(currencies),
        Arc::new(sites),
        Arc::new(hours),
        Arc::new(counts),
        Arc::new(amounts.with_data_type(amount_type())),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&COLUMNS), columns)?)
}

/// Totals of a batch of them. Errors with [`ErrorKind::Internal`] for one that is none.
pub(crate) fn read(batch: &RecordBatch) -> Result<TransactionTotals> {
    let (figures, currencies, sites) = (
        texts(batch, "figure")?,
        texts(batch, "currency")?,
        texts(batch, "site")?,
    );
    let (hours, counts) = (integers(batch, "hour")?, integers(batch, "count")?);
    let amounts = decimals(batch, "amount")?;
    let missing = || Error::internal("a total lacks what it is of");
    let key = |of: &TextColumn, row| of.get(row).map(str::to_owned).ok_or_else(missing);
    let mut totals = TransactionTotals::default();
    for row in 0..batch.num_rows() {
        let count = counts.get(row).ok_or_else(missing)?;
        let tally = AmountTally {
            count,
            amount: amounts.get(row),
        };
        let figure = figures.get(row).ok_or_else(missing)?;
        match figure {
            "scale" => {
                totals.scale = u8::try_from(count)
                    .or_error(ErrorKind::Internal, "a scale is a number of digits")?;
            }
            "open" => totals.open += count,
            "without_time" => totals.without_time += count,
            "without_amount" => totals.without_amount += count,
            "free" | "test" | "excluded" => {
                let aside = named(&mut totals.uncounted, &key(&currencies, row)?);
                of_aside(aside, figure).add(tally)?;
            }
            _ => {
                let of = named(&mut totals.currencies, &key(&currencies, row)?);
                match figure {
                    "now" => of.now.add(tally)?,
                    "before" => of.before.add(tally)?,
                    "without_site" => of.without_site.add(tally)?,
                    "site" => {
                        let site = key(&sites, row)?;
                        of.sites.entry(site).or_default().add(tally)?;
                    }
                    "hour" => of.hours.add(hours.get(row).ok_or_else(missing)?, count),
                    other => return Err(Error::internal(format!("{other} is no figure"))),
                }
            }
        }
    }
    Ok(totals)
}

fn of_aside<'a>(aside: &'a mut UncountedSales, figure: &str) -> &'a mut AmountTally {
    match figure {
        "free" => &mut aside.free,
        "test" => &mut aside.test,
        _ => &mut aside.excluded,
    }
}

/// A part of a window as it is written: from, to, and whether it is taken off.
type WrittenPart = (i64, i64, bool);

/// Rules as they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRules {
    source: String,
    now: Vec<WrittenPart>,
    hours: Vec<WrittenPart>,
    before: Vec<WrittenPart>,
    untimed: bool,
    states: Vec<String>,
    grouping: String,
    zone: WrittenZone,
}

/// A zone as it is written.
#[derive(Serialize, Deserialize)]
enum WrittenZone {
    Named(String),
    Seconds(i32),
}

fn written(parts: &[Part]) -> Vec<WrittenPart> {
    let parts = parts.iter();
    parts
        .map(|part| (part.span.0, part.span.1, part.is_taken_off))
        .collect()
}

fn parts(written: Vec<WrittenPart>) -> Vec<Part> {
    let parts = written.into_iter();
    parts
        .map(|(from, to, is_taken_off)| Part {
            span: (from, to),
            is_taken_off,
        })
        .collect()
}

impl WrittenRules {
    fn of(rules: &CountingRules) -> Self {
        let scan = &rules.scan;
        Self {
            source: scan.source.name().to_owned(),
            now: written(&scan.now),
            hours: written(&scan.hours),
            before: written(&scan.before),
            untimed: scan.untimed,
            states: rules.states.clone(),
            grouping: rules.hours.as_str().to_owned(),
            zone: match rules.zone {
                Zone::Named(zone) => WrittenZone::Named(zone.name().to_owned()),
                Zone::Fixed(seconds) => WrittenZone::Seconds(seconds),
            },
        }
    }

    fn rules(self) -> Result<CountingRules> {
        let unknown =
            |what: &str, name: &str| Error::new(ErrorKind::Query, format!("{name:?} is no {what}"));
        let source = AnswerSource::named(&self.source);
        let zone = match self.zone {
            WrittenZone::Seconds(seconds) => Zone::Fixed(seconds),
            WrittenZone::Named(name) => {
                Zone::Named(IanaZone::get(&name).ok_or_else(|| unknown("time zone", &name))?)
            }
        };
        Ok(CountingRules {
            scan: FactScan {
                source: source.ok_or_else(|| unknown("table of statistics", &self.source))?,
                now: parts(self.now),
                hours: parts(self.hours),
                before: parts(self.before),
                untimed: self.untimed,
            },
            states: self.states,
            hours: self.grouping.parse::<HourGrouping>()?,
            zone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollup::Span;
    use datafusion::physical_plan::empty::EmptyExec;
    use tillhouse_model::calendar::HOUR;

    fn tally(count: i64, amount: i128) -> AmountTally {
        AmountTally { count, amount }
    }

    fn totals() -> TransactionTotals {
        let mut totals = TransactionTotals {
            scale: 4,
            open: 3,
            without_time: 2,
            without_amount: 1,
            ..TransactionTotals::default()
        };
        // More digits than a column of decimals shows.
        named(&mut totals.uncounted, "EUR").excluded = tally(5, i128::MAX);
        let euros = named(&mut totals.currencies, "EUR");
        euros.now = tally(7, -12_345);
        euros.before = tally(-1, 1);
        euros.without_site = tally(0, 9);
        euros.sites.insert("hecone:1".to_owned(), tally(7, -12_354));
        euros.hours.add(480_000 * HOUR, 6);
        // The hour of a day, as of a site's own clock.
        euros.hours.add(23, 1);
        totals
    }

    fn shown(totals: &TransactionTotals) -> String {
        let of_currencies = totals.currencies.iter().map(|(name, of)| {
            let tallies = (of.now, of.before, of.without_site);
            format!(
                "{name} {tallies:?} {:?} {:?}",
                of.sites,
                of.hours.in_order()
            )
        });
        format!(
            "{} {} {} {} {:?} {:?}",
            totals.scale,
            totals.open,
            totals.without_time,
            totals.without_amount,
            totals.uncounted,
            of_currencies.collect::<Vec<_>>()
        )
    }

    #[test]
    fn totals_come_out_of_a_batch_as_they_went_in() {
        let batch = write(&totals()).unwrap();
        assert_eq!(shown(&read(&batch).unwrap()), shown(&totals()));
        let nothing = write(&TransactionTotals::default()).unwrap();
        let read = read(&nothing).unwrap();
        assert_eq!(shown(&read), shown(&TransactionTotals::default()));
    }

    #[test]
    fn rules_come_out_of_a_text_as_they_went_in() {
        let part = |span: Span, is_taken_off| Part { span, is_taken_off };
        let sources = ["facts", "daily_transactions"];
        let zones = ["Europe/Berlin", "+05:45", "UTC"];
        for (source, zone) in sources.into_iter().flat_map(|s| zones.map(|z| (s, z))) {
            let rules = CountingRules {
                scan: FactScan {
                    source: AnswerSource::named(source).unwrap(),
                    now: vec![part((1, 2), false), part((3, 4), true)],
                    hours: vec![part((i64::MIN, i64::MAX), false)],
                    before: vec![],
                    untimed: true,
                },
                states: vec!["completed".to_owned()],
                hours: HourGrouping::OfDay,
                zone: Zone::parse(zone).unwrap(),
            };
            let input: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::clone(&COLUMNS)));
            let step = TransactionSums::new(Arc::clone(&input), Arc::new(rules.clone()));
            let text = step.rules_text().unwrap();
            let read = TransactionSums::by_rules(&text, input).unwrap();
            let read = read.downcast_ref::<TransactionSums>().unwrap();
            assert_eq!(
                format!("{:?}", read.rules),
                format!("{:?}", Arc::new(rules))
            );
        }
        let unknown = r#"{"source":"hourly","now":[],"hours":[],"before":[],"untimed":false,"states":[],"grouping":"timeline","zone":{"Seconds":0}}"#;
        let input: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::clone(&COLUMNS)));
        let error = TransactionSums::by_rules(unknown, input).unwrap_err();
        assert!(error.to_string().contains("hourly"), "{error}");
    }
}
