//! Systematic differences: another definition under which the other side's figures would be ours, in every window that was examined.
//!
//! Invariant: a finding is proved, not guessed. Our figures were counted again by the other definition, and then every figure agreed, hours
//! included, in all samples, also in those in which nothing differs by ours; and more than one hour, or window, of them would tell the two
//! definitions apart. What could as well be one sale that is missing, or a window that is empty there, has no finding.
//!
//! ```text
//!   samples ─> another definition ─> counts, amounts, rankings agree ─> hours agree ─> witnesses ─> finding
//!                                              │                           └─ or all of them on one other clock: a second finding
//!                                              └─ no: the next definition
//! ```

mod growth;
mod witnesses;

use super::compare::{compare, currency};
use super::hours::HourLabel;
use crate::columns::{each_batch, instants, integers, texts};
use crate::facts::FactConditions;
use crate::figures;
use crate::filter::CheckedFilter;
use crate::request::{CheckedRequest, StatisticsRequest};
use crate::transaction_totals::UNKNOWN;
use growth::growth;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::reconcile::{ProviderFigure, ProviderFigures, StatisticsPart};
use tillhouse_model::{Error, ExactDecimal, Filter, Result, Window};
use tillhouse_model::{FilterOperand, FilterOperator, FilterTest};
use tillhouse_query::Session;
use witnesses::Witnesses;

/// A window that was compared, for one tenant.
#[derive(Debug, Clone)]
pub struct ReconcileSample {
    /// Request that our figures answer.
    pub request: StatisticsRequest,
    /// Our figures.
    pub ours: Vec<ProviderFigure>,
    /// Number of free sales in the window.
    pub free: i64,
    /// The other side's figures.
    pub theirs: ProviderFigures,
}

/// A definition that differs between both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DefinitionFinding {
    /// `filter`, `states`, `kinds`, `end`, `time`, `clock`, `hours` or `growth`.
    pub definition: String,
    /// Sentence on what the other side does.
    pub text: String,
    /// In how many windows it explains what differs.
    pub windows: usize,
}

/// States that a provider may count, beside the ones that were asked for.
const STATE_SETS: [&[&str]; 6] = [
    &["completed"],
    &["completed", "consumed"],
    &["completed", "consumed", "pending"],
    &["completed", "consumed", "pending", "created"],
    &["completed", "consumed", "declined", "error"],
    &[
        "completed",
        "consumed",
        "pending",
        "created",
        "declined",
        "error",
    ],
];
/// Most hours that a provider's clock may be off UTC, either way.
const OFFSETS: i64 = 14;
/// Times of a transaction by which a provider may count or list it, instead of when the sale happened: columns and their meanings.
pub const OTHER_TIMES: [(&str, &str); 3] = [
    ("started_at", "when its first article started"),
    ("ended_at", "when its last article ended"),
    ("created_at", "when its invoice was made"),
];
/// Longest distance of these times from the sale.
const APART: SignedDuration = SignedDuration::from_hours(45 * 24);
/// Figures that have to differ before a pattern is looked for.
const PATTERN: usize = 3;

/// Looks for definitions that explain what differs in samples, each of which differs somewhere. `agreeing` are windows in which nothing
/// differs: what would make them differ explains nothing.
pub async fn explain(
    session: &Session,
    differing: &[ReconcileSample],
    agreeing: &[ReconcileSample],
) -> Result<Vec<DefinitionFinding>> {
    let differing: &[ReconcileSample] = &spelled_alike(differing);
    let samples = &[differing, spelled_alike(agreeing).as_slice()].concat();
    let evidence = Evidence {
        session,
        differing,
        samples,
    };
    let findings = evidence.ignored_filter().await?;
    if !findings.is_empty() {
        return Ok(findings);
    }
    if count_differences(differing, is_counted) >= PATTERN {
        return evidence.counting().await;
    }
    let mut findings = Vec::new();
    if count_differences(differing, is_counted) == 0 {
        if count_differences(differing, is_hours) >= PATTERN {
            findings.extend(shifted_hours(samples, differing));
        }
        if count_differences(differing, StatisticsPart::is_growth) > 0 {
            let found = growth(session, samples).await?;
            findings.extend(found.map(|text| finding("growth", text, differing)));
        }
    }
    Ok(findings)
}

/// Samples in which the other side spells currencies as ours are: they are looked up by their names.
fn spelled_alike(samples: &[ReconcileSample]) -> Vec<ReconcileSample> {
    let mut samples = samples.to_vec();
    let figures = samples
        .iter_mut()
        .flat_map(|sample| &mut sample.theirs.figures);
    for figure in figures.filter(|figure| figure.currency.is_some()) {
        figure.currency = Some(currency(figure.currency.as_deref()));
    }
    samples
}

/// Parts that a definition has to explain first: neither hours nor growth.
fn is_counted(part: StatisticsPart) -> bool {
    !part.is_growth() && !is_hours(part)
}

fn is_hours(part: StatisticsPart) -> bool {
    part == StatisticsPart::Hours
}

fn finding(definition: &str, text: String, samples: &[ReconcileSample]) -> DefinitionFinding {
    DefinitionFinding {
        definition: definition.to_owned(),
        text,
        windows: samples.len(),
    }
}

/// The same evidence about some parts only.
fn about(evidence: &ProviderFigures, wanted: impl Fn(StatisticsPart) -> bool) -> ProviderFigures {
    ProviderFigures {
        parts: evidence
            .parts
            .iter()
            .copied()
            .filter(|part| wanted(*part))
            .collect(),
        figures: evidence
            .figures
            .iter()
            .filter(|figure| wanted(figure.part))
            .cloned()
            .collect(),
    }
}

fn count_differences(
    samples: &[ReconcileSample],
    wanted: impl Fn(StatisticsPart) -> bool,
) -> usize {
    samples
        .iter()
        .map(|sample| {
            compare(&sample.ours, &about(&sample.theirs, &wanted))
                .differences
                .len()
        })
        .sum()
}

async fn counted(session: &Session, request: &StatisticsRequest) -> Result<Vec<ProviderFigure>> {
    Ok(figures(session, request)
        .await?
        .data
        .iter()
        .flat_map(|entry| entry.figures())
        .collect())
}

/// A request as another definition would ask it; `None` where that cannot be asked.
type ChangedRequest<'a> =
    dyn Fn(&StatisticsRequest) -> Option<StatisticsRequest> + Send + Sync + 'a;

/// Another definition of what counts in a window.
struct OtherDefinition<'a> {
    name: &'static str,
    text: String,
    /// Our request that counts by it; `None` where there is none.
    request: Box<ChangedRequest<'a>>,
    /// Time of a transaction by which it counts, instead of when the sale happened.
    time: Option<&'static str>,
    /// True if it moves sales from window to window: then some have to come into a window, not only to leave one.
    moves: bool,
}

/// Figures that a definition is held against.
struct Evidence<'a> {
    session: &'a Session,
    differing: &'a [ReconcileSample],
    /// All samples, the differing ones first.
    samples: &'a [ReconcileSample],
}

impl Evidence<'_> {
    /// The finding that the other side goes by a definition, and what else is found then; nothing where anything speaks against it.
    async fn findings_by(&self, other: &OtherDefinition<'_>) -> Result<Vec<DefinitionFinding>> {
        let mut recounted = Vec::with_capacity(self.samples.len());
        for sample in self.samples {
            let Some(request) = (other.request)(&sample.request) else {
                return Ok(Vec::new());
            };
            let recount = ReconcileSample {
                ours: counted(self.session, &request).await?,
                request,
                ..sample.clone()
            };
            if count_differences(std::slice::from_ref(&recount), is_counted) > 0 {
                return Ok(Vec::new());
            }
            recounted.push(recount);
        }
        if !Witnesses::of(self.samples, &recounted).tell_apart(other.moves) {
            return Ok(Vec::new());
        }
        let by_hours = match self.hours_by(other, &mut recounted).await? {
            HoursByDefinition::Equal => None,
            HoursByDefinition::OnAnotherClock(found) => Some(found),
            HoursByDefinition::Different => return Ok(Vec::new()),
        };
        let grows_alike =
            growth::is_ours_by(self.session, self.samples, &recounted, &other.request).await?;
        let mut text = other.text.clone();
        if !grows_alike {
            text.push_str(" Growth differs by that, too.");
        }
        let mut findings = vec![finding(other.name, text, self.differing)];
        findings.extend(by_hours);
        Ok(findings)
    }

    /// The hours of samples that were counted by another definition, beside the other side's.
    async fn hours_by(
        &self,
        other: &OtherDefinition<'_>,
        recounted: &mut [ReconcileSample],
    ) -> Result<HoursByDefinition> {
        if count_differences(recounted, is_hours) == 0 {
            return Ok(HoursByDefinition::Equal);
        }
        if let Some(column) = other.time {
            // A sale that is counted by another time may be labelled by that as well.
            for (sample, recount) in self.samples.iter().zip(recounted.iter_mut()) {
                let Some(hours) = hours_by_time(self.session, &sample.request, column).await?
                else {
                    return Ok(HoursByDefinition::Different);
                };
                recount.ours.retain(|figure| !is_hours(figure.part));
                recount.ours.extend(hours);
            }
            if count_differences(recounted, is_hours) == 0 {
                return Ok(HoursByDefinition::Equal);
            }
        }
        if count_differences(recounted, is_hours) >= PATTERN
            && let Some(found) = shifted_hours(recounted, self.differing)
        {
            return Ok(HoursByDefinition::OnAnotherClock(found));
        }
        Ok(HoursByDefinition::Different)
    }

    /// Figures that came back of transactions which the filter leaves out.
    async fn ignored_filter(&self) -> Result<Vec<DefinitionFinding>> {
        const TEXT: &str = "The filter's parameter may have another name at the provider: see the connection's keys.";
        if self.differing.is_empty() || self.samples.iter().any(|s| s.request.filter.is_none()) {
            return Ok(Vec::new());
        }
        let unfiltered = |request: &StatisticsRequest| StatisticsRequest {
            filter: None,
            ..request.clone()
        };
        let found = self
            .findings_by(&OtherDefinition {
                name: "filter",
                text: format!(
                    "The other side ignores the filter: its figures are those of all transactions. {TEXT}"
                ),
                request: Box::new(|request: &StatisticsRequest| Some(unfiltered(request))),
                time: None,
                moves: false,
            })
            .await?;
        if !found.is_empty() {
            return Ok(found);
        }
        for sample in self.differing {
            let theirs = labels(&sample.theirs.figures);
            let stray = theirs
                .difference(&labels(&sample.ours))
                .cloned()
                .collect::<BTreeSet<_>>();
            if stray.is_empty() {
                continue;
            }
            let all = labels(&counted(self.session, &unfiltered(&sample.request)).await?);
            if let Some(label) = stray.intersection(&all).next() {
                let text = format!(
                    "Figures of what the filter leaves out came back ({label:?}): the other side ignores the filter, or reads it otherwise. {TEXT}"
                );
                return Ok(vec![finding("filter", text, self.differing)]);
            }
        }
        Ok(Vec::new())
    }

    /// Definitions of the transactions that count.
    async fn counting(&self) -> Result<Vec<DefinitionFinding>> {
        for other in by_states() {
            let found = self.findings_by(&other).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        if self.counts_free_sales() {
            let text =
                "The other side counts free sales too; ours stand apart, in meta.free_transactions."
                    .to_owned();
            return Ok(vec![finding("kinds", text, self.differing)]);
        }
        for other in by_ends_and_times() {
            let found = self.findings_by(&other).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// True if every sample's counts differ by its free sales, those of hours and sites too where there are such, and nothing else does; in
    /// more than one window, or hour.
    fn counts_free_sales(&self) -> bool {
        let is_count = |part: StatisticsPart| {
            matches!(
                part,
                StatisticsPart::Count | StatisticsPart::SiteCount | StatisticsPart::Hours
            )
        };
        let more = |sample: &ReconcileSample, part: StatisticsPart| -> i128 {
            let total = |figures: &[ProviderFigure]| -> i128 {
                figures
                    .iter()
                    .filter(|figure| figure.part == part)
                    .filter_map(|figure| figure.value?.rescaled(0))
                    .map(|value| value.units)
                    .sum()
            };
            total(&sample.theirs.figures) - total(&sample.ours)
        };
        let counts_them = |sample: &ReconcileSample| {
            let spoken = sample.theirs.parts.iter().copied().filter(|p| is_count(*p));
            let (free, mut counts) = (i128::from(sample.free), spoken.peekable());
            counts.peek().is_some()
                && counts.all(|part| more(sample, part) == free)
                && count_differences(std::slice::from_ref(sample), |part| {
                    is_counted(part) && !is_count(part)
                }) == 0
        };
        let hours = |sample: &ReconcileSample| {
            let theirs = about(&sample.theirs, is_hours);
            compare(&sample.ours, &theirs).differences.len().max(1)
        };
        let has_free = |sample: &&ReconcileSample| sample.free > 0;
        let witnesses: usize = self.differing.iter().filter(has_free).map(hours).sum();
        witnesses > 1 && self.samples.iter().all(counts_them)
    }
}

/// Hours of figures that were counted by another definition.
enum HoursByDefinition {
    Equal,
    OnAnotherClock(DefinitionFinding),
    Different,
}

/// Labels of sites and articles that sold something.
fn labels(figures: &[ProviderFigure]) -> BTreeSet<String> {
    let sold = |f: &&ProviderFigure| {
        matches!(
            f.part,
            StatisticsPart::SiteAmount | StatisticsPart::SiteCount | StatisticsPart::Quantities
        ) && f.value.is_some_and(|v| v.units != 0)
    };
    figures
        .iter()
        .filter(sold)
        .filter_map(|figure| figure.label.clone())
        .collect()
}

/// Other states that count.
fn by_states() -> impl Iterator<Item = OtherDefinition<'static>> {
    STATE_SETS.into_iter().map(|states| {
        let states: Vec<String> = states.iter().map(|state| (*state).to_owned()).collect();
        let text = format!(
            "The other side counts transactions in state {}. Ask with --states {} to compare like with like.",
            states.join(", "),
            states.join(",")
        );
        OtherDefinition {
            name: "states",
            text,
            request: Box::new(move |request: &StatisticsRequest| {
                let same = request.states.len() == states.len()
                    && request.states.iter().all(|s| states.contains(s));
                (!same).then(|| StatisticsRequest {
                    states: states.clone(),
                    ..request.clone()
                })
            }),
            time: None,
            moves: false,
        }
    })
}

/// Other ends of windows, and other times that lie in them.
fn by_ends_and_times() -> impl Iterator<Item = OtherDefinition<'static>> {
    let end = OtherDefinition {
        name: "end",
        text: "The other side counts the end of a window as part of it; ours is not.".to_owned(),
        request: Box::new(|request: &StatisticsRequest| {
            moved(request, SignedDuration::ZERO, SignedDuration::from_secs(1))
        }),
        time: None,
        moves: false,
    };
    let times = OTHER_TIMES.into_iter().map(|(column, means)| OtherDefinition {
        name: "time",
        text: format!(
            "The other side counts a transaction by {means} ({column}); ours counts it by occurred_at."
        ),
        request: Box::new(move |request: &StatisticsRequest| by_time(request, column)),
        time: Some(column),
        moves: true,
    });
    let clocks = (1..=OFFSETS)
        .flat_map(|hours| [hours, -hours])
        .map(|hours| {
            let by = SignedDuration::from_hours(-hours);
            OtherDefinition {
                name: "clock",
                text: format!(
                    "The other side reads the ends of a window on a clock {} UTC: its figures are ours of a window that begins and \
                     ends {} h {}.",
                    ahead(hours),
                    hours.abs(),
                    if hours > 0 { "earlier" } else { "later" }
                ),
                request: Box::new(move |request: &StatisticsRequest| moved(request, by, by)),
                time: None,
                moves: true,
            }
        });
    std::iter::once(end).chain(times).chain(clocks)
}

/// Transactions by the hour of another time, as figures; `None` where a filter narrows them, which may ask for more than these columns.
async fn hours_by_time(
    session: &Session,
    request: &StatisticsRequest,
    column: &str,
) -> Result<Option<Vec<ProviderFigure>>> {
    if request.filter.is_some() {
        return Ok(None);
    }
    let wide = StatisticsRequest {
        window: request.window.widened(APART),
        ..request.clone()
    };
    let question = CheckedRequest::new(&wide)?;
    let mut conditions = FactConditions::between(&question, question.now);
    let at = |at: Timestamp| crate::facts::instant(at.as_microsecond());
    conditions.params.push(("first", at(request.window.from())));
    conditions.params.push(("end", at(request.window.to())));
    let sql = format!(
        "SELECT currency, hour, count(*) AS transactions FROM
            (SELECT coalesce(nullif(currency, ''), '{UNKNOWN}') AS currency, date_trunc('hour', coalesce({column}, occurred_at)) AS hour
             FROM unified.transactions
             WHERE {} AND {} AND coalesce({column}, occurred_at) >= $first AND coalesce({column}, occurred_at) < $end) AS counted
         GROUP BY currency, hour",
        conditions.sql,
        question.counted_sql("state")
    );
    let mut figures = Vec::new();
    each_batch(session, &sql, &conditions.params, |batch| {
        let (currency, hour) = (texts(batch, "currency")?, instants(batch, "hour")?);
        let count = integers(batch, "transactions")?;
        for row in 0..batch.num_rows() {
            let Some((hour, count)) = hour.get(row).zip(count.get(row)) else {
                continue;
            };
            let hour = Timestamp::from_microsecond(hour)
                .map_err(|e| Error::internal("an hour is no instant").because(e))?;
            figures.push(ProviderFigure {
                part: StatisticsPart::Hours,
                currency: currency.get(row).map(str::to_owned),
                unit: None,
                label: Some(hour.to_string()),
                value: Some(ExactDecimal::new(i128::from(count), 0)),
            });
        }
        Ok(())
    })
    .await?;
    Ok(Some(figures))
}

/// The same window of another time; a transaction that has none keeps its own.
fn by_time(request: &StatisticsRequest, column: &str) -> Option<StatisticsRequest> {
    let test = |field: &str, operator: FilterOperator, value: FilterOperand| {
        Filter::Test(FilterTest {
            field: field.to_owned(),
            operator,
            value,
            ignore_case: true,
        })
    };
    let within = |field: &str| {
        let at = |instant: jiff::Timestamp| FilterOperand::Text(instant.to_string());
        let (from, to) = (at(request.window.from()), at(request.window.to()));
        [
            test(field, FilterOperator::Gte, from),
            test(field, FilterOperator::Lt, to),
        ]
    };
    let [from, to] = within("occurred_at");
    let untimed = Filter::All(vec![
        test(column, FilterOperator::IsNull, FilterOperand::Null),
        from,
        to,
    ]);
    let other = CheckedFilter::new(
        &Filter::Any(vec![Filter::All(within(column).into()), untimed]),
        "UTC",
        None,
    )
    .ok()?;
    let filter = Some(
        request
            .filter
            .as_ref()
            .map_or_else(|| other.clone(), |asked| asked.and(&other)),
    );
    Some(StatisticsRequest {
        window: request.window.widened(APART),
        filter,
        ..request.clone()
    })
}

fn moved(
    request: &StatisticsRequest,
    from: SignedDuration,
    to: SignedDuration,
) -> Option<StatisticsRequest> {
    let window = Window::new(
        request.window.from().checked_add(from).ok()?,
        request.window.to().checked_add(to).ok()?,
    );
    Some(StatisticsRequest {
        window: window.ok()?,
        ..request.clone()
    })
}

fn ahead(hours: i64) -> String {
    format!(
        "{} h {}",
        hours.abs(),
        if hours > 0 { "ahead of" } else { "behind" }
    )
}

/// The clock on which hours are labelled, if it is one and the same in all samples.
fn shifted_hours(
    samples: &[ReconcileSample],
    differing: &[ReconcileSample],
) -> Option<DefinitionFinding> {
    let (first, _) = (1..=OFFSETS)
        .flat_map(|hours| [hours, -hours])
        .map(|hours| {
            (
                hours,
                samples.iter().all(|sample| hours_agree(sample, hours)),
            )
        })
        .find(|(_, agree)| *agree)?;
    let text = format!(
        "The other side labels hours on a clock {} UTC.",
        ahead(first)
    );
    Some(finding("hours", text, differing))
}

fn hours_agree(sample: &ReconcileSample, shift: i64) -> bool {
    let hours = |figures: &[ProviderFigure],
                 shift: i64,
                 of_day: bool|
     -> Option<BTreeMap<(Option<String>, HourLabel), i128>> {
        let mut table = BTreeMap::new();
        let mixed = sample
            .theirs
            .figures
            .iter()
            .any(|figure| figure.currency.is_none());
        for figure in figures
            .iter()
            .filter(|figure| figure.part == StatisticsPart::Hours)
        {
            let hour = HourLabel::read(figure.label.as_deref()?)?.shifted(shift);
            let hour = if of_day { hour.of_day() } else { hour };
            let count = figure.value?.rescaled(0)?.units;
            *table
                .entry((figure.currency.clone().filter(|_| !mixed), hour))
                .or_default() += count;
        }
        table.retain(|_, count| *count != 0);
        Some(table)
    };
    let Some(theirs) = hours(&sample.theirs.figures, 0, false) else {
        return false;
    };
    let of_day = theirs
        .keys()
        .any(|(_, hour)| matches!(hour, HourLabel::OfDay(_)));
    hours(&sample.ours, shift, of_day) == Some(theirs)
}
