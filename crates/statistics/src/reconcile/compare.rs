//! Two lists of figures, side by side.
//!
//! Invariant: a figure that one side does not list is zero there, so that a ranking may leave out what sold nothing; growth, which has
//! no zero, is compared only where both sides speak of it. A figure that has no number on one side is neither equal nor different: it is
//! counted as not compared.

use super::hours::{self, HourLabel};
use crate::transaction_totals::UNKNOWN;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::money::canonical_currency;
use tillhouse_model::reconcile::{ProviderFigure, ProviderFigures, StatisticsPart};
use tillhouse_model::{ExactDecimal, MeasureUnit};

/// A figure that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FigureDifference {
    /// Part of the statistics.
    pub part: StatisticsPart,
    /// ISO 4217, or `unknown`; `None` where the other side names no currency, and ours are added up.
    pub currency: Option<String>,
    /// The unit of a quantity.
    pub unit: Option<String>,
    /// The hour, site, article or payment label.
    pub label: Option<String>,
    /// Ours.
    pub ours: Option<ExactDecimal>,
    /// The other side's.
    pub theirs: Option<ExactDecimal>,
}

impl FigureDifference {
    /// Theirs less ours; `None` where one has no number.
    pub fn difference(&self) -> Option<ExactDecimal> {
        self.theirs?.minus(self.ours?)
    }
}

/// Result of a comparison: the differences, and how many figures were compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FigureComparison {
    /// Number of figures compared.
    pub figures: u64,
    /// Figures that could not be, since one side has no number that our tables could hold.
    pub not_compared: u64,
    /// Those that differ, in the order of their parts.
    pub differences: Vec<FigureDifference>,
}

/// Identity of a figure: part, currency, unit and label.
type FigureKey = (
    StatisticsPart,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// Compares every part the other side spoke of.
pub fn compare(ours: &[ProviderFigure], theirs: &ProviderFigures) -> FigureComparison {
    // A provider that does not tell currencies apart is compared with all of ours together.
    let mixed = !theirs.figures.is_empty()
        && theirs
            .figures
            .iter()
            .all(|figure| figure.currency.is_none());
    let currencies: BTreeSet<String> = ours
        .iter()
        .map(|figure| currency(figure.currency.as_deref()))
        .collect();
    let growth_is_comparable = !mixed || currencies.len() <= 1;
    // One that only knows hours of the day is compared with all days together.
    let hour_labels = || {
        theirs
            .figures
            .iter()
            .filter(|f| f.part == StatisticsPart::Hours)
            .filter_map(|f| f.label.as_deref())
    };
    let folds = hour_labels().next().is_some()
        && hour_labels().all(|label| matches!(HourLabel::read(label), Some(HourLabel::OfDay(_))));
    let hour = |label: &str| match HourLabel::read(label).map(HourLabel::of_day) {
        Some(HourLabel::OfDay(hour)) if folds => format!("{hour:02}"),
        _ => hours::canonical(label),
    };
    let table = |figures: &[ProviderFigure]| {
        let mut table: BTreeMap<FigureKey, Option<ExactDecimal>> = BTreeMap::new();
        let wanted = figures.iter().filter(|figure| {
            theirs.parts.contains(&figure.part)
                && (growth_is_comparable || !figure.part.is_growth())
        });
        for figure in wanted {
            let label = figure.label.as_deref().map(|label| match figure.part {
                StatisticsPart::Hours => hour(label),
                _ => label.to_owned(),
            });
            let currency = (!mixed).then(|| currency(figure.currency.as_deref()));
            let (unit, value) = match figure.part {
                StatisticsPart::Quantities => {
                    let (unit, value) = in_base_unit(figure);
                    (Some(unit), value)
                }
                _ => (None, figure.value),
            };
            let value = value.and_then(|value| value.rescaled(figure.part.scale()));
            table
                .entry((figure.part, currency, unit, label))
                .and_modify(|sum| *sum = sum.zip(value).and_then(|(sum, value)| sum.plus(value)))
                .or_insert(value);
        }
        table
    };
    let (ours, theirs) = (table(ours), table(&theirs.figures));
    let keys: BTreeSet<&FigureKey> = ours.keys().chain(theirs.keys()).collect();
    let mut compared = FigureComparison::default();
    for key in keys {
        let (a, b) = (ours.get(key), theirs.get(key));
        if key.0.is_growth() && (a.is_none() || b.is_none()) {
            continue;
        }
        let zero = Some(ExactDecimal::new(0, key.0.scale()));
        let (a, b) = (a.copied().unwrap_or(zero), b.copied().unwrap_or(zero));
        if !key.0.is_growth() && (a.is_none() || b.is_none()) {
            compared.not_compared += 1;
            continue;
        }
        compared.figures += 1;
        if a != b {
            let (part, currency, unit, label) = key.clone();
            compared.differences.push(FigureDifference {
                part,
                currency,
                unit,
                label,
                ours: a,
                theirs: b,
            });
        }
    }
    compared
}

/// A quantity as both sides are compared by it: the base unit of its measure, `unknown` where none is named, and the number of them.
fn in_base_unit(figure: &ProviderFigure) -> (String, Option<ExactDecimal>) {
    match figure.unit.as_deref().and_then(MeasureUnit::named) {
        Some(unit) => {
            let value = figure.value.and_then(|value| unit.in_base(value));
            (unit.base.into_owned(), value)
        }
        None => (UNKNOWN.to_owned(), figure.value),
    }
}

/// A currency as both sides are compared by it: in one spelling, and `unknown` where it is none.
pub(super) fn currency(written: Option<&str>) -> String {
    let canonical = canonical_currency(written.unwrap_or_default());
    let is_none = canonical.is_empty() || canonical.eq_ignore_ascii_case(UNKNOWN);
    if is_none {
        UNKNOWN.to_owned()
    } else {
        canonical
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(
        part: StatisticsPart,
        currency: Option<&str>,
        label: Option<&str>,
        value: Option<&str>,
    ) -> ProviderFigure {
        ProviderFigure {
            part,
            currency: currency.map(str::to_owned),
            unit: None,
            label: label.map(str::to_owned),
            value: value.map(|text| ExactDecimal::parse(text).unwrap()),
        }
    }

    fn evidence(figures: Vec<ProviderFigure>) -> ProviderFigures {
        ProviderFigures {
            parts: figures.iter().map(|f| f.part).collect(),
            figures,
        }
    }

    fn shown(compared: &FigureComparison) -> Vec<String> {
        let text =
            |value: Option<ExactDecimal>| value.map_or("-".to_owned(), |v| v.trimmed().to_string());
        compared
            .differences
            .iter()
            .map(|d| {
                let label = d.label.as_deref().or(d.currency.as_deref()).unwrap_or("-");
                format!("{} {label} {} {}", d.part, text(d.ours), text(d.theirs))
            })
            .collect()
    }

    #[test]
    fn the_digits_of_a_float_are_no_difference_and_a_cent_is() {
        let ours = [
            figure(StatisticsPart::Amount, Some("EUR"), None, Some("12.2900")),
            figure(
                StatisticsPart::PaymentType,
                Some("EUR"),
                Some("Cash"),
                Some("1"),
            ),
        ];
        let theirs = evidence(vec![
            figure(
                StatisticsPart::Amount,
                Some("EUR"),
                None,
                Some("12.290000000000001"),
            ),
            figure(
                StatisticsPart::PaymentType,
                Some("EUR"),
                Some("Cash"),
                Some("1.01"),
            ),
        ]);
        let compared = compare(&ours, &theirs);
        assert_eq!(compared.figures, 2);
        assert_eq!(shown(&compared), ["payment_type_ranking Cash 1 1.01"]);
        assert_eq!(
            compared.differences[0].difference(),
            Some(ExactDecimal::new(100, 4))
        );
    }

    #[test]
    fn what_is_not_listed_is_zero_and_what_was_not_said_is_not_compared() {
        let ours = [
            figure(
                StatisticsPart::SiteCount,
                Some("EUR"),
                Some("Centre"),
                Some("2"),
            ),
            figure(
                StatisticsPart::SiteCount,
                Some("EUR"),
                Some("Closed"),
                Some("0"),
            ),
            figure(
                StatisticsPart::Hours,
                Some("EUR"),
                Some("2026-01-01T10:00:00Z"),
                Some("9"),
            ),
        ];
        let theirs = evidence(vec![figure(
            StatisticsPart::SiteCount,
            Some("EUR"),
            Some("Harbour"),
            Some("1"),
        )]);
        let expected = [
            "sites_transactions_ranking Centre 2 0",
            "sites_transactions_ranking Harbour 0 1",
        ];
        assert_eq!(shown(&compare(&ours, &theirs)), expected);
    }

    #[test]
    fn growth_is_compared_where_both_have_an_entry() {
        let ours = [
            figure(StatisticsPart::CountGrowth, Some("CHF"), None, Some("-100")),
            figure(StatisticsPart::CountGrowth, Some("EUR"), None, None),
            figure(StatisticsPart::CountGrowth, Some("GBP"), None, Some("5.00")),
        ];
        let theirs = evidence(vec![
            figure(StatisticsPart::CountGrowth, Some("EUR"), None, Some("0")),
            figure(StatisticsPart::CountGrowth, Some("GBP"), None, Some("5")),
        ]);
        assert_eq!(
            shown(&compare(&ours, &theirs)),
            ["transactions_count.growth EUR - 0"]
        );
    }

    #[test]
    fn a_provider_without_currencies_is_compared_with_all_of_them_together() {
        let ours = [
            figure(StatisticsPart::Count, Some("CHF"), None, Some("2")),
            figure(StatisticsPart::Count, Some("EUR"), None, Some("3")),
            figure(StatisticsPart::CountGrowth, Some("EUR"), None, Some("3")),
            figure(StatisticsPart::CountGrowth, Some("CHF"), None, Some("3")),
        ];
        let theirs = |count| {
            evidence(vec![
                figure(StatisticsPart::Count, None, None, Some(count)),
                figure(StatisticsPart::CountGrowth, None, None, Some("7")),
            ])
        };
        assert_eq!(
            shown(&compare(&ours, &theirs("5"))),
            Vec::<String>::new(),
            "growth of a mixture is nobody's"
        );
        assert_eq!(
            shown(&compare(&ours, &theirs("6"))),
            ["transactions_count - 5 6"]
        );
    }

    #[test]
    fn currencies_are_compared_in_canonical_form() {
        let ours = [
            figure(StatisticsPart::Count, Some("EUR"), None, Some("3")),
            figure(StatisticsPart::Count, Some("unknown"), None, Some("2")),
        ];
        for spelled in ["eur", " EUR", "Eur\t"] {
            for none in [None, Some(""), Some(" "), Some("Unknown")] {
                let theirs = evidence(vec![
                    figure(StatisticsPart::Count, Some(spelled), None, Some("3")),
                    figure(StatisticsPart::Count, none, None, Some("2")),
                ]);
                let compared = compare(&ours, &theirs);
                assert_eq!(
                    (compared.figures, shown(&compared)),
                    (2, Vec::new()),
                    "{spelled:?} {none:?}"
                );
            }
        }
        // Two spellings of one are one sum.
        let theirs = evidence(vec![
            figure(StatisticsPart::Count, Some("eur"), None, Some("1")),
            figure(StatisticsPart::Count, Some("EUR "), None, Some("3")),
            figure(StatisticsPart::Count, Some("unknown"), None, Some("2")),
        ]);
        assert_eq!(
            shown(&compare(&ours, &theirs)),
            ["transactions_count EUR 3 4"]
        );
    }

    #[test]
    fn what_has_no_number_is_not_compared() {
        let ours = [
            figure(StatisticsPart::Amount, Some("EUR"), None, Some("5")),
            figure(StatisticsPart::Amount, Some("TOKEN"), None, Some("0")),
        ];
        let too_large = "1".repeat(38);
        for none in [None, Some(too_large.as_str())] {
            let theirs = evidence(vec![
                figure(StatisticsPart::Amount, Some("EUR"), None, Some("5")),
                figure(StatisticsPart::Amount, Some("TOKEN"), None, none),
            ]);
            let compared = compare(&ours, &theirs);
            assert_eq!(
                (compared.figures, compared.not_compared, shown(&compared)),
                (1, 1, Vec::new()),
                "{none:?}"
            );
        }
    }

    #[test]
    fn quantities_are_compared_in_base_units() {
        let quantity = |unit: Option<&str>, value: &str| ProviderFigure {
            unit: unit.map(str::to_owned),
            ..figure(
                StatisticsPart::Quantities,
                Some("EUR"),
                Some("Diesel"),
                Some(value),
            )
        };
        let ours = [
            quantity(Some("l"), "30"),
            quantity(Some("barrel"), "3"),
            quantity(Some("unknown"), "2"),
        ];
        let theirs = |last| {
            let units = [
                (Some("Liter"), "10"),
                (Some("hl"), "0.145"),
                (Some("ML"), "500"),
                (Some(" LTR."), last),
                (Some("Barrel"), "3"),
                (None, "2"),
            ];
            evidence(units.map(|(unit, value)| quantity(unit, value)).into())
        };
        assert_eq!(shown(&compare(&ours, &theirs("5"))), Vec::<String>::new());
        let compared = compare(&ours, &theirs("6"));
        assert_eq!(
            shown(&compared),
            ["article_quantities_ranking Diesel 30 31"]
        );
        assert_eq!(compared.differences[0].unit.as_deref(), Some("l"));
        let gallons = compare(
            &[quantity(Some("us_gal"), "1")],
            &evidence(vec![quantity(Some("uk-gallon"), "1")]),
        );
        assert_eq!(gallons.differences.len(), 2, "two gallons are two units");
        let unknown = compare(
            &[quantity(Some("barrel"), "1")],
            &evidence(vec![quantity(Some("drum"), "1")]),
        );
        assert_eq!(unknown.differences.len(), 2, "so are two unknown ones");
    }

    #[test]
    fn hours_are_the_same_however_they_are_written_and_namesakes_add_up() {
        let ours = [
            figure(
                StatisticsPart::Hours,
                Some("EUR"),
                Some("2026-01-01T09:00:00Z"),
                Some("2"),
            ),
            figure(
                StatisticsPart::SiteAmount,
                Some("EUR"),
                Some("Centre"),
                Some("2"),
            ),
            figure(
                StatisticsPart::SiteAmount,
                Some("EUR"),
                Some("Centre"),
                Some("3"),
            ),
        ];
        for label in ["2026-01-01T10:00:00+01:00", "2026-01-01 09:00", "9"] {
            let theirs = evidence(vec![
                figure(StatisticsPart::Hours, Some("EUR"), Some(label), Some("2")),
                figure(
                    StatisticsPart::SiteAmount,
                    Some("EUR"),
                    Some("Centre"),
                    Some("5"),
                ),
            ]);
            assert_eq!(
                shown(&compare(&ours, &theirs)),
                Vec::<String>::new(),
                "{label}"
            );
        }
    }
}
