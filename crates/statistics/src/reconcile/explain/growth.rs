//! Other meanings of growth.
//!
//! Invariant: a meaning is named where all the growth that the other side states follows it, and no less than two of it would differ by ours.

use super::{ReconcileSample, counted};
use crate::request::StatisticsRequest;
use jiff::ToSpan;
use std::cmp::Ordering;
use tillhouse_model::reconcile::{ProviderFigure, StatisticsPart};
use tillhouse_model::{ExactDecimal, Result, Window};
use tillhouse_query::Session;

/// Figures that have to be stated before a pattern is looked for.
const PATTERN: usize = 3;
/// Figures of them that have to differ from ours: one alone may be a figure that lies.
const WITNESSES: usize = 2;

/// A figure, the one it grew from, and the other side's growth.
struct GrowthPair {
    now: ExactDecimal,
    before: ExactDecimal,
    theirs: Option<ExactDecimal>,
}

/// Meaning of the other side's growth.
pub(super) async fn growth(
    session: &Session,
    samples: &[ReconcileSample],
) -> Result<Option<String>> {
    let mut pairs = Vec::new();
    for sample in samples {
        pairs.extend(self::pairs(session, sample, |window| window.before()).await?);
    }
    let stated = pairs.iter().filter(|pair| pair.theirs.is_some()).count();
    // To the last digit: a growth that is rounded differs.
    let differs = |pair: &&GrowthPair| match (pair.theirs, pair.now.growth_against(pair.before)) {
        (Some(theirs), Some(ours)) => theirs.minus(ours).is_none_or(|by| by.units != 0),
        (theirs, ours) => theirs != ours,
    };
    let differing = pairs.iter().filter(differs).count();
    if stated >= PATTERN && differing >= WITNESSES {
        for (means, grown) in DEFINITIONS {
            if pairs
                .iter()
                .filter(|pair| pair.theirs.is_some())
                .all(|pair| is_theirs(pair, grown(pair)))
            {
                return Ok(Some(format!("The other side's growth is {means}.")));
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
                return Ok(Some(format!("The other side's growth is against {means}.")));
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
            && from_nothing.len() >= WITNESSES
            && from_nothing
                .iter()
                .all(|other| other.is_some_and(|o| o.minus(*said).is_some_and(|d| d.units == 0)))
    });
    Ok(said.map(|said| {
        format!(
            "The other side calls growth from nothing {}; ours is null.",
            said.trimmed()
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

/// True if the other side's growth of these windows is ours, where both sides are counted by another definition.
pub(super) async fn is_ours_by(
    session: &Session,
    samples: &[ReconcileSample],
    recounted: &[ReconcileSample],
    other: impl Fn(&StatisticsRequest) -> Option<StatisticsRequest>,
) -> Result<bool> {
    for (sample, recount) in samples.iter().zip(recounted) {
        let earlier = sample.request.window.before().and_then(|window| {
            other(&StatisticsRequest {
                window,
                ..sample.request.clone()
            })
        });
        let Some(earlier) = earlier else { continue };
        let before = counted(session, &earlier).await?;
        let differs = |pair: &GrowthPair| !is_theirs(pair, pair.now.growth_against(pair.before));
        if pairs_of(recount, &before).iter().any(differs) {
            return Ok(false);
        }
    }
    Ok(true)
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
    Ok(pairs_of(sample, &before))
}

/// The growth of a sample, beside its own figures and those of an earlier window.
fn pairs_of(sample: &ReconcileSample, before: &[ProviderFigure]) -> Vec<GrowthPair> {
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
        let before = find(before, value, &currency).unwrap_or(ExactDecimal::new(0, now.scale));
        let before = before.rescaled(now.scale).unwrap_or(before);
        pairs.push(GrowthPair {
            now,
            before,
            theirs: figure.value,
        });
    }
    pairs
}
