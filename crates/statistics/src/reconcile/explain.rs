//! Systematic differences: another definition under which the other side's figures would be ours, in every window that differs.
//!
//! Invariant: a finding is proved, not guessed: our figures were counted again by the other definition, and every figure it is about
//! then agreed, in all samples. One stray figure proves nothing and has no finding.

use super::compare::compare;
use super::hours::HourLabel;
use crate::figures;
use crate::filter::CheckedFilter;
use crate::request::StatisticsRequest;
use jiff::{SignedDuration, ToSpan};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::reconcile::{ProviderFigure, ProviderFigures, StatisticsPart};
use tillhouse_model::{ExactDecimal, Filter, Result, Window};
use tillhouse_model::{FilterOperand, FilterOperator, FilterTest};
use tillhouse_query::Session;

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
/// Times of a transaction by which a provider may count it, instead of when the sale happened.
const TIMES: [(&str, &str); 3] = [
    ("started_at", "when its first article started"),
    ("ended_at", "when its last article ended"),
    ("created_at", "when its invoice was made"),
];
/// Longest distance of these times from the sale.
const APART: SignedDuration = SignedDuration::from_hours(45 * 24);
/// So many figures have to differ before a pattern is looked for.
const PATTERN: usize = 3;

/// Looks for definitions that explain what differs in all of the samples, each of which differs somewhere.
pub async fn explain(
    session: &Session,
    samples: &[ReconcileSample],
) -> Result<Vec<DefinitionFinding>> {
    let mut findings: Vec<DefinitionFinding> = ignored_filter(session, samples)
        .await?
        .into_iter()
        .collect();
    if !findings.is_empty() {
        return Ok(findings);
    }
    let counts = |part: StatisticsPart| !part.is_growth() && part != StatisticsPart::Hours;
    if differing(samples, counts) >= PATTERN {
        findings.extend(counting(session, samples).await?);
    } else if differing(samples, counts) == 0 {
        if differing(samples, |part| part == StatisticsPart::Hours) >= PATTERN {
            findings.extend(shifted_hours(samples));
        }
        if differing(samples, StatisticsPart::is_growth) > 0 {
            findings.extend(growth(session, samples).await?);
        }
    }
    Ok(findings)
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

fn differing(samples: &[ReconcileSample], wanted: impl Fn(StatisticsPart) -> bool) -> usize {
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

/// True if our figures of other requests would be theirs, hours and growth aside.
async fn agrees(
    session: &Session,
    samples: &[ReconcileSample],
    other: impl Fn(&StatisticsRequest) -> Option<StatisticsRequest>,
) -> Result<bool> {
    for sample in samples {
        let Some(request) = other(&sample.request) else {
            return Ok(false);
        };
        let theirs = about(&sample.theirs, |part| {
            !part.is_growth() && part != StatisticsPart::Hours
        });
        if !compare(&counted(session, &request).await?, &theirs)
            .differences
            .is_empty()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// True if figures of transactions that the filter leaves out came back.
async fn ignored_filter(
    session: &Session,
    samples: &[ReconcileSample],
) -> Result<Option<DefinitionFinding>> {
    const TEXT: &str =
        "The filter's parameter may have another name at the provider: see the connection's keys.";
    if samples.is_empty() || samples.iter().any(|sample| sample.request.filter.is_none()) {
        return Ok(None);
    }
    let unfiltered = |request: &StatisticsRequest| StatisticsRequest {
        filter: None,
        ..request.clone()
    };
    if agrees(session, samples, |request| Some(unfiltered(request))).await? {
        let text = format!(
            "The other side ignores the filter: its figures are those of all transactions. {TEXT}"
        );
        return Ok(Some(finding("filter", text, samples)));
    }
    let labels = |figures: &[ProviderFigure]| -> BTreeSet<String> {
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
    };
    for sample in samples {
        let theirs = labels(&sample.theirs.figures);
        let stray = theirs
            .difference(&labels(&sample.ours))
            .cloned()
            .collect::<BTreeSet<_>>();
        if stray.is_empty() {
            continue;
        }
        let all = labels(&counted(session, &unfiltered(&sample.request)).await?);
        if let Some(label) = stray.intersection(&all).next() {
            let text = format!(
                "Figures of what the filter leaves out came back ({label:?}): the other side ignores the filter, or reads it otherwise. {TEXT}"
            );
            return Ok(Some(finding("filter", text, samples)));
        }
    }
    Ok(None)
}

/// Which transactions count.
async fn counting(
    session: &Session,
    samples: &[ReconcileSample],
) -> Result<Option<DefinitionFinding>> {
    for states in STATE_SETS {
        let states: Vec<String> = states.iter().map(|state| (*state).to_owned()).collect();
        let other = |request: &StatisticsRequest| {
            let same = request.states.len() == states.len()
                && request.states.iter().all(|s| states.contains(s));
            (!same).then(|| StatisticsRequest {
                states: states.clone(),
                ..request.clone()
            })
        };
        if agrees(session, samples, other).await? {
            let text = format!(
                "The other side counts transactions in state {}. Ask with --states {} to compare like with like.",
                states.join(", "),
                states.join(",")
            );
            return Ok(Some(finding("states", text, samples)));
        }
    }
    if samples.iter().all(counts_free_sales) {
        let text =
            "The other side counts free sales too; ours stand apart, in meta.free_transactions."
                .to_owned();
        return Ok(Some(finding("kinds", text, samples)));
    }
    let longer = |request: &StatisticsRequest| {
        moved(request, SignedDuration::ZERO, SignedDuration::from_secs(1))
    };
    if agrees(session, samples, longer).await? {
        let text =
            "The other side counts the end of a window as part of it; ours is not.".to_owned();
        return Ok(Some(finding("end", text, samples)));
    }
    for (column, means) in TIMES {
        if agrees(session, samples, |request| by_time(request, column)).await? {
            let text = format!(
                "The other side counts a transaction by {means} ({column}); ours counts it by occurred_at."
            );
            return Ok(Some(finding("time", text, samples)));
        }
    }
    for hours in (1..=OFFSETS).flat_map(|hours| [hours, -hours]) {
        let by = SignedDuration::from_hours(-hours);
        if agrees(session, samples, |request| moved(request, by, by)).await? {
            let text = format!(
                "The other side reads the ends of a window on a clock {} UTC: its figures are ours of a window that begins and \
                 ends {} h {}.",
                ahead(hours),
                hours.abs(),
                if hours > 0 { "earlier" } else { "later" }
            );
            return Ok(Some(finding("clock", text, samples)));
        }
    }
    Ok(None)
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

/// True if a sample's counts differ by its free sales, and its amounts not at all.
fn counts_free_sales(sample: &ReconcileSample) -> bool {
    let amounts = about(&sample.theirs, |part| {
        matches!(part, StatisticsPart::Amount | StatisticsPart::SiteAmount)
    });
    let total = |figures: &[ProviderFigure]| -> i128 {
        figures
            .iter()
            .filter(|f| f.part == StatisticsPart::Count)
            .filter_map(|f| f.value?.rescaled(0))
            .map(|v| v.units)
            .sum()
    };
    sample.free > 0
        && total(&sample.theirs.figures) - total(&sample.ours) == i128::from(sample.free)
        && compare(&sample.ours, &amounts).differences.is_empty()
}

/// On which clock hours are cut.
fn shifted_hours(samples: &[ReconcileSample]) -> Option<DefinitionFinding> {
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
    Some(finding("hours", text, samples))
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

/// A figure, the one it grew from, and the other side's growth.
struct GrowthPair {
    now: ExactDecimal,
    before: ExactDecimal,
    theirs: Option<ExactDecimal>,
}

/// Meaning of the other side's growth.
async fn growth(
    session: &Session,
    samples: &[ReconcileSample],
) -> Result<Option<DefinitionFinding>> {
    let mut pairs = Vec::new();
    for sample in samples {
        pairs.extend(self::pairs(session, sample, |window| window.before()).await?);
    }
    let stated = pairs.iter().filter(|pair| pair.theirs.is_some()).count();
    if stated >= PATTERN {
        for (means, grown) in DEFINITIONS {
            if pairs
                .iter()
                .filter(|pair| pair.theirs.is_some())
                .all(|pair| is_theirs(pair, grown(pair)))
            {
                return Ok(Some(finding(
                    "growth",
                    format!("The other side's growth is {means}."),
                    samples,
                )));
            }
        }
        for (means, back) in [
            ("the same window a week before", 7_i64),
            ("the same window 364 days before", 364),
        ] {
            let mut others = Vec::new();
            for sample in samples {
                let earlier = |window: Window| {
                    let back = |t: jiff::Timestamp| t.checked_sub((back * 24).hours()).ok();
                    Window::new(back(window.from())?, back(window.to())?).ok()
                };
                others.extend(self::pairs(session, sample, earlier).await?);
            }
            if others
                .iter()
                .all(|pair| is_theirs(pair, pair.now.growth_against(pair.before)))
            {
                return Ok(Some(finding(
                    "growth",
                    format!("The other side's growth is against {means}."),
                    samples,
                )));
            }
        }
    }
    // Ours is null there.
    let from_nothing: Vec<Option<ExactDecimal>> = pairs
        .iter()
        .filter(|pair| pair.before.units == 0)
        .map(|pair| pair.theirs)
        .collect();
    let rest_is_ours = pairs
        .iter()
        .filter(|pair| pair.before.units != 0)
        .all(|pair| is_theirs(pair, pair.now.growth_against(pair.before)));
    let said = from_nothing.first().copied().flatten().filter(|said| {
        rest_is_ours
            && from_nothing
                .iter()
                .all(|other| other.is_some_and(|o| o.minus(*said).is_some_and(|d| d.units == 0)))
    });
    Ok(said.map(|said| {
        finding(
            "growth",
            format!(
                "The other side calls growth from nothing {}; ours is null.",
                said.trimmed()
            ),
            samples,
        )
    }))
}

/// A formula for growth that the other side may use.
type GrowthFormula = fn(&GrowthPair) -> Option<ExactDecimal>;
const DEFINITIONS: [(&str, GrowthFormula); 6] = [
    ("a fraction, not per cent", |pair| {
        share(pair.now.minus(pair.before)?, pair.before, 0)
    }),
    ("rounded to whole per cent", |pair| {
        pair.now.growth_against(pair.before)?.rescaled(0)
    }),
    ("rounded to one decimal", |pair| {
        pair.now.growth_against(pair.before)?.rescaled(1)
    }),
    ("the difference, not per cent", |pair| {
        pair.now.minus(pair.before)
    }),
    (
        "per cent of the earlier figure, 100 where nothing changed",
        |pair| share(pair.now, pair.before, 2),
    ),
    ("per cent of the later figure", |pair| {
        share(pair.now.minus(pair.before)?, pair.now, 2)
    }),
];

/// `part` of `whole` to four digits after the point, half-even, which is then moved so many digits to the right (2: per cent).
fn share(part: ExactDecimal, whole: ExactDecimal, digits: u8) -> Option<ExactDecimal> {
    let scale = part.scale.max(whole.scale);
    let (part, whole) = (part.rescaled(scale)?.units, whole.rescaled(scale)?.units);
    if whole == 0 {
        return None;
    }
    let numerator = part.checked_mul(10_000)?.checked_mul(whole.signum())?;
    let divisor = whole.checked_abs()?;
    let (quotient, rest) = (numerator.div_euclid(divisor), numerator.rem_euclid(divisor));
    let round_up = match rest.checked_mul(2)?.cmp(&divisor) {
        Ordering::Less => 0,
        Ordering::Greater => 1,
        Ordering::Equal => quotient.rem_euclid(2),
    };
    Some(ExactDecimal::new(quotient + round_up, 4 - digits))
}

/// True if the other side says this, to the digits both have.
fn is_theirs(pair: &GrowthPair, ours: Option<ExactDecimal>) -> bool {
    match (pair.theirs, ours) {
        (Some(theirs), Some(ours)) => {
            let scale = theirs.scale.min(ours.scale);
            theirs.rescaled(scale) == ours.rescaled(scale)
        }
        (theirs, ours) => theirs == ours,
    }
}

async fn pairs(
    session: &Session,
    sample: &ReconcileSample,
    earlier: impl Fn(Window) -> Option<Window>,
) -> Result<Vec<GrowthPair>> {
    let Some(window) = earlier(sample.request.window) else {
        return Ok(Vec::new());
    };
    let before = counted(
        session,
        &StatisticsRequest {
            window,
            ..sample.request.clone()
        },
    )
    .await?;
    let find = |figures: &[ProviderFigure], part: StatisticsPart, currency: &Option<String>| {
        figures
            .iter()
            .find(|f| f.part == part && f.currency == *currency)
            .and_then(|f| f.value)
    };
    // A provider that names no currency can be followed where there is only one.
    let of_ours = |currency: &Option<String>| match currency {
        Some(_) => Some(currency.clone()),
        None => {
            let mut known: Vec<_> = sample
                .ours
                .iter()
                .map(|figure| figure.currency.clone())
                .collect();
            known.dedup();
            known.pop().filter(|_| known.is_empty())
        }
    };
    let mut pairs = Vec::new();
    for figure in sample
        .theirs
        .figures
        .iter()
        .filter(|figure| figure.part.is_growth())
    {
        let value = if figure.part == StatisticsPart::CountGrowth {
            StatisticsPart::Count
        } else {
            StatisticsPart::Amount
        };
        let Some(currency) = of_ours(&figure.currency) else {
            continue;
        };
        let Some(now) = find(&sample.ours, value, &currency) else {
            continue;
        };
        let before = find(&before, value, &currency).unwrap_or(ExactDecimal::new(0, now.scale));
        let before = before.rescaled(now.scale).unwrap_or(before);
        pairs.push(GrowthPair {
            now,
            before,
            theirs: figure.value,
        });
    }
    Ok(pairs)
}
