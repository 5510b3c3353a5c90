//! Rules that compare columns of one record: whether numbers add up, a clock fits an instant, and an amount its unit. What is multiplied
//! stands in `product`, what a state follows from in `state`.
//!
//! Invariant: a rule is checked only where every value it needs is there; numbers are compared exactly, as whole numbers of one scale. Amounts of
//! several currencies are not added up, nor compared.

use crate::column::{ColumnBuilder, ColumnValues};
use crate::common_currency::{CommonCurrency, CurrencyColumns};
use crate::fields::{FieldKind, FieldPlan, ObjectPlan, PathStep, resolve};
use crate::identity::{names_nothing, spell, visit};
use crate::operand::{
    RuleOperand, at, each_element, element_of, resolve_text, text_of, unfit_column_error,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use tillhouse_model::money::{PriceUnit, VatRateUnit, minor_digits};
use tillhouse_model::table::{
    AmountRule, ElementFilter, LocalTimeRule, PriceUnitSource, RateRule, RateUnitSource, SumRule,
};
use tillhouse_model::time_zone::time_zone;
use tillhouse_model::{Error, ExactDecimal, Result, time, word};

/// Compiled [`SumRule`].
#[derive(Debug)]
pub(crate) struct CompiledSum {
    of: Vec<RuleOperand>,
    is: RuleOperand,
    except: Option<ExcludedElements>,
    /// All elements but those that alone are added.
    only: Option<ExcludedElements>,
    /// Number that is below zero of a refund; without one, `is` is.
    direction: Option<RuleOperand>,
    /// Currency of the sum.
    currency: CurrencyColumns,
    /// Currency of each number that is added.
    of_currency: CurrencyColumns,
    /// The largest scale of them all, in which they are compared.
    scale: u8,
}

/// Compiled [`ElementFilter`]: the elements that a sum leaves out.
#[derive(Debug)]
struct ExcludedElements {
    hops: Vec<PathStep>,
    words: Vec<String>,
    /// True if those whose text is one of the words are the ones that stay.
    is_only: bool,
}

impl ExcludedElements {
    /// True if the element at these positions is left out.
    fn contains(&self, columns: &[ColumnBuilder], row: usize, positions: &[usize]) -> bool {
        let text = text_of(columns, &self.hops, row, positions);
        is_named(text, &self.words) != self.is_only
    }

    /// True if some element has a text by which it is told.
    fn tells(&self, columns: &[ColumnBuilder], row: usize) -> bool {
        let mut tells = false;
        visit(columns, &self.hops, row, &mut Vec::new(), &mut |_, _, _| {
            tells = true;
        });
        tells
    }
}

/// True if a text is one of some words.
fn is_named(text: Option<&str>, words: &[String]) -> bool {
    text.is_some_and(|text| words.iter().any(|word| word::is_same_word(word, text)))
}

/// Outcome of comparing a sum with the column it should equal.
enum SumOutcome {
    Fits,
    /// Violated; the words say by how much.
    Off(String),
    /// A value is missing, or the sum has too many digits.
    Unknown,
}

/// Compiled [`AmountRule`].
#[derive(Debug)]
pub(crate) struct CompiledAmount {
    is: RuleOperand,
    currency: CurrencyColumns,
    guess: CurrencyColumns,
    /// Column that names another record, which may name the currency, or amount at which a missing one is told.
    currency_elsewhere: Option<Vec<PathStep>>,
    unit: PriceUnit,
    /// Path to the element that is checked; empty where it is the record itself.
    element: Vec<PathStep>,
}

/// Compiled [`RateRule`].
#[derive(Debug)]
pub(crate) struct CompiledRate {
    is: RuleOperand,
    unit: VatRateUnit,
}

/// Compiled [`LocalTimeRule`]. The wall clock is the rule's own path.
#[derive(Debug)]
pub(crate) struct CompiledLocalTime {
    of: Vec<PathStep>,
    is: Vec<PathStep>,
    name: String,
    zone_by: Option<Vec<PathStep>>,
    zones: BTreeMap<String, Vec<TimeZone>>,
}

/// The sum of all values a term leads to; `None` where one is missing.
fn total(
    term: &RuleOperand,
    columns: &[ColumnBuilder],
    row: usize,
    except: Option<&ExcludedElements>,
) -> Option<ExactDecimal> {
    let (first, rest) = term.path.split_first()?;
    let PathStep::Field(at) = first else {
        return None;
    };
    let except = except.map(|left| (left.hops.as_slice(), left));
    Some(ExactDecimal::new(
        added(columns.get(*at)?, rest, row, below(except, *first))?,
        term.scale,
    ))
}

/// Parameter of the connection, read by `named`.
fn settled<T>(
    parameters: &[(&str, String)],
    name: &str,
    words: &str,
    named: fn(&str) -> Option<T>,
) -> Result<T> {
    let value = parameters
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.as_str());
    value.and_then(named).ok_or_else(|| {
        let hint = format!("Write unit: {words}, or the parameter's name as the source has it.");
        Error::config(format!("the connection does not say what unit ${name} is")).hint(hint)
    })
}

/// The unit of a rate, of the contract or of the connection's `parameters`.
pub(crate) fn rate_unit(
    unit: &RateUnitSource,
    parameters: &[(&str, String)],
) -> Result<VatRateUnit> {
    match unit {
        RateUnitSource::Contract(unit) => Ok(*unit),
        RateUnitSource::Connection(name) => settled(
            parameters,
            name,
            "percent or unit: fraction",
            VatRateUnit::named,
        ),
    }
}

impl CompiledAmount {
    /// `parameters` are what the connection settles, by name.
    pub(crate) fn new(
        record: &ObjectPlan,
        path: &[String],
        amount: &AmountRule,
        parameters: &[(&str, String)],
    ) -> Result<Self> {
        let unit = match &amount.unit {
            PriceUnitSource::Contract(unit) => *unit,
            PriceUnitSource::Connection(name) => {
                settled(parameters, name, "minor or unit: major", PriceUnit::named)?
            }
        };
        let (currency, is) = (
            CurrencyColumns::new(record, &amount.currency)?,
            RuleOperand::new(record, path)?,
        );
        let element = element_of(&is.path).to_vec();
        if !currency.is_of_element(&element) {
            return Err(unfit_column_error(path, "the currency of the same element"));
        }
        let elsewhere = amount.currency_elsewhere.as_ref();
        let elsewhere = elsewhere.map(|path| Ok::<_, Error>(resolve(record, path)?.0));
        Ok(Self {
            is,
            currency,
            guess: CurrencyColumns::new(record, &amount.guess)?,
            currency_elsewhere: elsewhere.transpose()?,
            unit,
            element,
        })
    }

    /// Tells what is wrong with a row, element by element: where, and how.
    pub(crate) fn breaches(
        &self,
        record: &ObjectPlan,
        columns: &[ColumnBuilder],
        row: usize,
        tell: &mut dyn FnMut(String, String),
    ) {
        each_element(columns, &self.element, row, &mut |positions| {
            if let Some(words) = self.breach(record, columns, row, positions) {
                tell(spell(record, &self.is.path, positions), words);
            }
        });
    }

    /// True if another record is named, which may name the currency, or an amount of this one, which is told in its place; 0 is neither.
    fn has_currency_elsewhere(
        &self,
        columns: &[ColumnBuilder],
        row: usize,
        positions: &[usize],
    ) -> bool {
        let path = self.currency_elsewhere.as_deref();
        let named = path.and_then(|path| at(columns, path, row, positions));
        named.is_some_and(|(column, row)| match &column.values {
            ColumnValues::Int(values) => values.get(row).is_some_and(|id| *id != 0),
            ColumnValues::Decimal(values) => values.get(row).is_some_and(|units| *units != 0),
            _ => !names_nothing(column, row),
        })
    }

    /// The fault of an element; `None` where there is none, or no amount.
    fn breach(
        &self,
        record: &ObjectPlan,
        columns: &[ColumnBuilder],
        row: usize,
        positions: &[usize],
    ) -> Option<String> {
        let amount = self.is.value(columns, row, positions)?;
        let named = self.currency.of_element(columns, row, positions);
        let guess = match named {
            Some(_) => None,
            None => self.guess.of_record(columns, row),
        };
        let currency = named.or(guess.as_ref().map(|guess| guess.text));
        let fits = self.unit.fits(amount, currency);
        // 0 is 0 of whatever it is.
        let is_untold = named.is_none()
            && amount.units != 0
            && !self.has_currency_elsewhere(columns, row, positions);
        let is_known = || match currency {
            Some(currency) => minor_digits(currency).is_some(),
            None => !is_untold,
        };
        let has_no_digits = self.unit == PriceUnit::Minor && amount.units != 0 && !is_known();
        if fits && !has_no_digits && !is_untold {
            return None;
        }
        let amount = amount.trimmed();
        if let Some(guess) = guess.filter(|_| fits && !has_no_digits) {
            let from = spell(record, guess.path, &guess.positions);
            return Some(format!("{amount} names no currency: that of {from} counts"));
        }
        let currency = currency.unwrap_or("of no currency");
        Some(match self.unit {
            PriceUnit::Minor if fits => {
                format!(
                    "{amount} {currency} is in minor units, and nobody knows how many of them make a major one"
                )
            }
            PriceUnit::Minor => {
                format!(
                    "{amount} {currency} has a fraction, and amounts are said to be in minor units"
                )
            }
            PriceUnit::Major if fits => {
                format!("{amount} {currency}: nobody knows what it is an amount of")
            }
            PriceUnit::Major => {
                format!(
                    "{amount} {currency} has too many decimals, and amounts are said to be in major units"
                )
            }
        })
    }
}

impl CompiledRate {
    /// `parameters` are what the connection settles, by name.
    pub(crate) fn new(
        record: &ObjectPlan,
        path: &[String],
        rate: &RateRule,
        parameters: &[(&str, String)],
    ) -> Result<Self> {
        Ok(Self {
            is: RuleOperand::new(record, path)?,
            unit: rate_unit(&rate.unit, parameters)?,
        })
    }

    /// The fault of a row; `None` where there is none, or no rate.
    pub(crate) fn breach(&self, columns: &[ColumnBuilder], row: usize) -> Option<String> {
        let rate = total(&self.is, columns, row, None)
            .filter(|rate| !self.unit.fits(*rate))?
            .trimmed();
        Some(match self.unit {
            VatRateUnit::Percent => {
                format!("{rate} is no rate in per cent: expected 0, or 1 to 100")
            }
            VatRateUnit::Fraction => format!("{rate} is no rate as a fraction: expected 0 to 1"),
        })
    }
}

impl CompiledSum {
    pub(crate) fn new(record: &ObjectPlan, path: &[String], sum: &SumRule) -> Result<Self> {
        let of = RuleOperand::all(record, &sum.of)?;
        let is = RuleOperand::new(record, path)?;
        let direction = sum.direction.as_ref();
        let direction = direction.map(|path| RuleOperand::new(record, path));
        let scale = of
            .iter()
            .map(|t| t.scale)
            .chain([is.scale])
            .max()
            .unwrap_or(0);
        let elements = |filter: &Option<ElementFilter>, is_only| {
            let filter = filter.as_ref().map(|ElementFilter { path, words }| {
                resolve_text(record, path).map(|(hops, _)| ExcludedElements {
                    hops,
                    words: words.clone(),
                    is_only,
                })
            });
            filter.transpose()
        };
        Ok(Self {
            of,
            is,
            except: elements(&sum.except, false)?,
            only: elements(&sum.only, true)?,
            direction: direction.transpose()?,
            currency: CurrencyColumns::new(record, &sum.currency)?,
            of_currency: CurrencyColumns::new(record, sum.of_currency.as_slice())?,
            scale,
        })
    }

    /// Violation of a row; `None` where there is none, or a value is missing.
    pub(crate) fn breach(&self, columns: &[ColumnBuilder], row: usize) -> Option<String> {
        if let Some(only) = &self.only {
            let sum = only
                .tells(columns, row)
                .then(|| self.added_up(columns, row, Some(only)));
            return match sum {
                Some(SumOutcome::Off(words)) => Some(words),
                Some(_) => self.contradicts_direction(columns, row, only),
                None => None,
            };
        }
        // It adds up with them or, which is asked only then, without.
        let all = match self.added_up(columns, row, None) {
            SumOutcome::Fits => return None,
            other => other,
        };
        let left = self
            .except
            .as_ref()
            .map(|except| self.added_up(columns, row, Some(except)));
        match (all, left) {
            (_, Some(SumOutcome::Fits)) => None,
            (_, Some(SumOutcome::Off(words))) | (SumOutcome::Off(words), _) => Some(words),
            _ => None,
        }
    }

    /// Sum of the numbers, without the elements of `except`.
    fn added_up(
        &self,
        columns: &[ColumnBuilder],
        row: usize,
        except: Option<&ExcludedElements>,
    ) -> SumOutcome {
        let compared = || {
            let terms: Option<Vec<i128>> = self
                .of
                .iter()
                .map(|term| self.total(term, columns, row, except))
                .collect();
            let (terms, is) = (terms?, self.total(&self.is, columns, row, None)?);
            let sum = terms
                .iter()
                .try_fold(0_i128, |sum, term| sum.checked_add(*term))?;
            let off = sum.checked_sub(is)?.checked_abs()?;
            Some((terms, sum, is, off))
        };
        let shown = |units| ExactDecimal::new(units, self.scale).trimmed();
        let Some((terms, sum, is, off)) = compared() else {
            return SumOutcome::Unknown;
        };
        if off == 0 {
            return SumOutcome::Fits;
        }
        // Asked only here, since nearly all add up.
        let common = self.common_currency(columns, row, except);
        let tolerance = self.currency.tolerance(common.known);
        if self.is_within(off, tolerance) {
            return SumOutcome::Fits;
        }
        if common.is_mixed {
            return SumOutcome::Unknown;
        }
        if self.fits_unsigned((columns, row), except, (terms.as_slice(), is), tolerance) {
            return SumOutcome::Fits;
        }
        let terms: Vec<String> = match self.of.as_slice() {
            // Its number is the sum.
            [one] => vec![one.name.clone()],
            of => of
                .iter()
                .zip(terms)
                .map(|(of, units)| format!("{} {}", of.name, shown(units)))
                .collect(),
        };
        let (name, is, sum) = (&self.is.name, shown(is), shown(sum));
        SumOutcome::Off(format!(
            "{name} is {is}, expected {sum} = {}",
            terms.join(" + ")
        ))
    }

    /// Violation of a row whose numbers that alone are added come to the other side of zero than the direction: money that came in on a refund, or
    /// went out on a sale. Where none of them has a sign, they are told without it; in several currencies they come to nothing.
    fn contradicts_direction(
        &self,
        columns: &[ColumnBuilder],
        row: usize,
        only: &ExcludedElements,
    ) -> Option<String> {
        let direction = self.direction.as_ref()?;
        let named = direction.value(columns, row, &[])?;
        let sum = self.of.iter().try_fold(0_i128, |sum, term| {
            sum.checked_add(self.total(term, columns, row, Some(only))?)
        })?;
        if sum.signum() * named.units.signum() >= 0 {
            return None;
        }
        let is_signed = self
            .of
            .iter()
            .any(|term| has_sign(term, columns, row, Some(only)));
        if !is_signed || self.common_currency(columns, row, Some(only)).is_mixed {
            return None;
        }
        let of: Vec<&str> = self.of.iter().map(|term| term.name.as_str()).collect();
        Some(format!(
            "{} comes to {}, and {} is {}: money went the other way",
            of.join(" + "),
            ExactDecimal::new(sum, self.scale).trimmed(),
            direction.name,
            named.trimmed()
        ))
    }

    /// True if a difference at the common scale is no more than it may be.
    fn is_within(&self, off: i128, tolerance: ExactDecimal) -> bool {
        ExactDecimal::new(off, self.scale)
            .compare(tolerance)
            .is_le()
    }

    /// True if money went back, and what is added comes to the whole where a column none of whose numbers has a sign is told without it: a refund
    /// says by one of its numbers alone which way the money went.
    fn fits_unsigned(
        &self,
        (columns, row): (&[ColumnBuilder], usize),
        except: Option<&ExcludedElements>,
        (terms, is): (&[i128], i128),
        tolerance: ExactDecimal,
    ) -> bool {
        let sum = || {
            self.of
                .iter()
                .zip(terms)
                .try_fold(0_i128, |sum, (term, units)| {
                    if has_sign(term, columns, row, except) {
                        sum.checked_add(*units)
                    } else {
                        sum.checked_sub(*units)
                    }
                })
        };
        let direction = self.direction.as_ref();
        let direction = direction.and_then(|number| number.value(columns, row, &[]));
        let is_refund = direction.map_or(is < 0, |number| number.units < 0);
        let off = || sum()?.checked_add(is.checked_abs()?)?.checked_abs();
        is_refund && off().is_some_and(|off| self.is_within(off, tolerance))
    }

    /// The currency of the sum and of what is added, without the elements of `except`.
    fn common_currency<'c>(
        &self,
        columns: &'c [ColumnBuilder],
        row: usize,
        except: Option<&ExcludedElements>,
    ) -> CommonCurrency<'c> {
        let mut common = CommonCurrency::of(self.currency.of_element(columns, row, &[]));
        for term in &self.of {
            visit(
                columns,
                &term.path,
                row,
                &mut Vec::new(),
                &mut |_, _, positions| {
                    if !except.is_some_and(|except| except.contains(columns, row, positions)) {
                        common.add(self.of_currency.of_element(columns, row, positions));
                    }
                },
            );
        }
        common
    }

    /// The total of a term at the common scale.
    fn total(
        &self,
        term: &RuleOperand,
        columns: &[ColumnBuilder],
        row: usize,
        except: Option<&ExcludedElements>,
    ) -> Option<i128> {
        Some(
            total(term, columns, row, except)?
                .rescaled(self.scale)?
                .units,
        )
    }
}

/// True if one of the numbers a term leads to, without the elements of `except`, is below zero.
fn has_sign(
    term: &RuleOperand,
    columns: &[ColumnBuilder],
    row: usize,
    except: Option<&ExcludedElements>,
) -> bool {
    let mut has_sign = false;
    visit(
        columns,
        &term.path,
        row,
        &mut Vec::new(),
        &mut |_, _, positions| {
            let is_below = term
                .value(columns, row, positions)
                .is_some_and(|number| number.units < 0);
            has_sign |=
                is_below && !except.is_some_and(|except| except.contains(columns, row, positions));
        },
    );
    has_sign
}

/// Remaining path to the text that excludes an element, and what excludes it.
type ExclusionPath<'e> = Option<(&'e [PathStep], &'e ExcludedElements)>;

/// The rest of the way after a step; `None` where it parts from this one.
fn below(except: ExclusionPath<'_>, step: PathStep) -> ExclusionPath<'_> {
    except.and_then(|(hops, excluded)| {
        hops.split_first()
            .filter(|(first, _)| **first == step)
            .map(|(_, rest)| (rest, excluded))
    })
}

/// True if an element is excluded.
fn is_kept_out(element: &ColumnBuilder, row: usize, except: ExclusionPath<'_>) -> bool {
    // An element of a list further in is told by its own text.
    let Some((hops, excluded)) = except.filter(|(hops, _)| !hops.contains(&PathStep::Elements))
    else {
        return false;
    };
    is_named(text_below(element, row, hops), &excluded.words) != excluded.is_only
}

/// The text of an element at the end of a path; `None` where it has none.
fn text_below<'c>(element: &'c ColumnBuilder, row: usize, hops: &[PathStep]) -> Option<&'c str> {
    let (mut column, mut hops) = (element, hops);
    while let Some((PathStep::Field(field), rest)) = hops.split_first() {
        let ColumnValues::Object(columns) = &column.values else {
            return None;
        };
        (column, hops) = (columns.get(*field).filter(|_| column.valid.get(row))?, rest);
    }
    match &column.values {
        ColumnValues::Text(texts) if column.valid.get(row) => {
            std::str::from_utf8(texts.get(row)).ok()
        }
        _ => None,
    }
}

fn added(
    column: &ColumnBuilder,
    hops: &[PathStep],
    row: usize,
    except: ExclusionPath<'_>,
) -> Option<i128> {
    if !column.valid.get(row) {
        return None;
    }
    match (hops.split_first(), &column.values) {
        (None, ColumnValues::Decimal(values)) => values.get(row).copied(),
        (None, ColumnValues::Int(values)) => values.get(row).map(|value| i128::from(*value)),
        (Some((PathStep::Field(at), rest)), ColumnValues::Object(columns)) => added(
            columns.get(*at)?,
            rest,
            row,
            below(except, PathStep::Field(*at)),
        ),
        (Some((PathStep::Elements, rest)), ColumnValues::List { offsets, elements }) => {
            let except = below(except, PathStep::Elements);
            ColumnBuilder::elements_of(offsets, row)
                .filter(|element| !is_kept_out(elements, *element, except))
                .try_fold(0_i128, |sum, element| {
                    sum.checked_add(added(elements, rest, element, except)?)
                })
        }
        _ => None,
    }
}

impl CompiledLocalTime {
    pub(crate) fn new(record: &ObjectPlan, path: &[String], rule: &LocalTimeRule) -> Result<Self> {
        let column = |path: &[String], expected, fits: fn(&FieldPlan) -> bool| {
            let (hops, field) = resolve(record, path)?;
            if fits(field) && !hops.contains(&PathStep::Elements) {
                Ok(hops)
            } else {
                Err(unfit_column_error(path, expected))
            }
        };
        let zone = |name: &String| {
            time_zone(name).ok_or_else(|| Error::config(format!("no time zone is named {name:?}")))
        };
        let zones = rule.zones.iter().map(|(value, names)| {
            Ok((
                value.clone(),
                names.iter().map(zone).collect::<Result<Vec<TimeZone>>>()?,
            ))
        });
        Ok(Self {
            of: column(&rule.of, "one instant", |field| {
                matches!(field.kind, FieldKind::Time(_))
            })?,
            is: column(path, "one open text", FieldPlan::is_open_text)?,
            name: resolve_text(record, path)?.1,
            zone_by: rule
                .zone_by
                .as_ref()
                .map(|path| column(path, "one open text", FieldPlan::is_open_text))
                .transpose()?,
            zones: zones.collect::<Result<_>>()?,
        })
    }

    /// Violation of a row; `None` where there is none, or a value is missing.
    pub(crate) fn breach(&self, columns: &[ColumnBuilder], row: usize) -> Option<String> {
        let text = |hops: &Vec<PathStep>| text_at(columns, hops, row);
        let (wall_text, mut instant) = (text(&self.is)?, None);
        visit(
            columns,
            &self.of,
            row,
            &mut Vec::new(),
            &mut |column, row, _| {
                if let ColumnValues::Time(values) = &column.values {
                    instant = values.get(row).copied();
                }
            },
        );
        let instant = instant?;
        let offset =
            time::wall_clock(wall_text).and_then(|wall| time::clock_offset_minutes(wall, instant));
        let key = self.zone_by.as_ref().and_then(text);
        let at = Timestamp::from_microsecond(instant).ok()?;
        let holds = match (offset, key.and_then(|key| self.zones.get(key))) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(minutes), Some(zones)) => zones
                .iter()
                .any(|zone| i64::from(zone.to_offset(at).seconds()) == minutes * 60),
        };
        let place = key.map(|key| format!(" in {key}")).unwrap_or_default();
        let name = &self.name;
        (!holds)
            .then(|| format!("{name} is {wall_text}, expected what a clock{place} shows at {at}"))
    }
}

fn text_at<'c>(columns: &'c [ColumnBuilder], hops: &[PathStep], row: usize) -> Option<&'c str> {
    let mut found = None;
    visit(
        columns,
        hops,
        row,
        &mut Vec::new(),
        &mut |column, row, _| {
            if let ColumnValues::Text(texts) = &column.values {
                found = std::str::from_utf8(texts.get(row)).ok();
            }
        },
    );
    found
}
