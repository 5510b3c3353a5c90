//! Rules that compare columns of one record: whether numbers add up, a clock fits an instant, and an amount its unit. What is multiplied
//! stands in `product`, what a state follows from in `state`.
//!
//! Invariant: a rule is checked only where every value it needs is there; numbers are compared exactly, as whole numbers of one scale.

use crate::column::{Column, Values};
use crate::identity::{spell_in, visit};
use crate::plan::{Field, Hop, Object, What, resolve};
use crate::term::{Term, each_element, element_of, open_text, text_of, unfit};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use tillhouse_model::money::{PriceUnit, VatRate, minor_digits};
use tillhouse_model::table::{Amount, Except, LocalTime, Rate, RateUnit, Sum, UnitOf};
use tillhouse_model::{Error, Exact, Result, time, word};

/// [`Sum`], compiled.
#[derive(Debug)]
pub(crate) struct Adding {
    of: Vec<Term>,
    is: Term,
    within: Exact,
    except: Option<Left>,
    /// The largest scale of them all, in which they are compared.
    scale: u8,
}

/// Elements that may be left out: [`Except`], compiled.
#[derive(Debug)]
struct Left {
    hops: Vec<Hop>,
    words: Vec<String>,
}

/// What came of adding up.
enum Outcome {
    Fits,
    /// In words.
    Off(String),
    /// A value is missing, or the sum has too many digits.
    Unknown,
}

/// [`Amount`], compiled.
#[derive(Debug)]
pub(crate) struct Priced {
    is: Term,
    currency: Vec<Hop>,
    unit: PriceUnit,
    /// To the element that is looked at; empty where it is the record itself.
    element: Vec<Hop>,
}

/// [`Rate`], compiled.
#[derive(Debug)]
pub(crate) struct Rated {
    is: Term,
    unit: VatRate,
}

/// [`LocalTime`], compiled. The wall clock is the rule's own path.
#[derive(Debug)]
pub(crate) struct Clock {
    of: Vec<Hop>,
    is: Vec<Hop>,
    name: String,
    zone_by: Option<Vec<Hop>>,
    zones: BTreeMap<String, Vec<TimeZone>>,
}

/// The sum of all values a term leads to; `None` where one is missing.
fn total(term: &Term, columns: &[Column], row: usize, except: Option<&Left>) -> Option<Exact> {
    let (first, rest) = term.hops.split_first()?;
    let Hop::Field(at) = first else { return None };
    let except = except.map(|left| (left.hops.as_slice(), left.words.as_slice()));
    Some(Exact::new(added(columns.get(*at)?, rest, row, below(except, *first))?, term.scale))
}

/// What the connection settles under a name, read by `named`.
fn settled<T>(parameters: &[(&str, String)], name: &str, words: &str, named: fn(&str) -> Option<T>) -> Result<T> {
    let value = parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    value.and_then(named).ok_or_else(|| {
        let hint = format!("Write unit: {words}, or the parameter's name as the source has it.");
        Error::config(format!("the connection does not say what unit ${name} is")).hint(hint)
    })
}

impl Priced {
    /// `parameters` are what the connection settles, by name.
    pub(crate) fn new(
        record: &Object,
        path: &[String],
        amount: &Amount,
        parameters: &[(&str, String)],
    ) -> Result<Self> {
        let unit = match &amount.unit {
            UnitOf::Contract(unit) => *unit,
            UnitOf::Connection(name) => settled(parameters, name, "minor or unit: major", PriceUnit::named)?,
        };
        let ((currency, _), is) = (open_text(record, &amount.currency)?, Term::new(record, path)?);
        let element = element_of(&is.hops).to_vec();
        if !element.starts_with(element_of(&currency)) {
            return Err(unfit(&amount.currency, "the currency of the same element"));
        }
        Ok(Self { is, currency, unit, element })
    }

    /// Tells what is wrong with a row, element by element: where, and how.
    pub(crate) fn breaches(
        &self,
        record: &Object,
        columns: &[Column],
        row: usize,
        tell: &mut dyn FnMut(String, String),
    ) {
        each_element(columns, &self.element, row, &mut |positions| {
            if let Some(words) = self.breach(columns, row, positions) {
                tell(spell_in(record, &self.is.hops, positions), words);
            }
        });
    }

    /// The fault of an element; `None` where there is none, or no amount.
    fn breach(&self, columns: &[Column], row: usize, positions: &[usize]) -> Option<String> {
        let amount = self.is.value(columns, row, positions)?;
        let currency = text_of(columns, &self.currency, row, positions);
        let fits = self.unit.fits(amount, currency);
        // 0 minor units are 0 of whatever it is.
        let is_known = currency.and_then(minor_digits).is_some();
        let has_no_digits = self.unit == PriceUnit::Minor && !is_known && amount.units != 0;
        if fits && !has_no_digits {
            return None;
        }
        let (amount, currency) = (amount.trimmed(), currency.unwrap_or("of no currency"));
        Some(match self.unit {
            PriceUnit::Minor if fits => {
                format!("{amount} {currency} is in minor units, and nobody knows how many of them make a major one")
            }
            PriceUnit::Minor => {
                format!("{amount} {currency} has a fraction, and amounts are said to be in minor units")
            }
            PriceUnit::Major => {
                format!("{amount} {currency} has too many decimals, and amounts are said to be in major units")
            }
        })
    }
}

impl Rated {
    /// `parameters` are what the connection settles, by name.
    pub(crate) fn new(record: &Object, path: &[String], rate: &Rate, parameters: &[(&str, String)]) -> Result<Self> {
        let unit = match &rate.unit {
            RateUnit::Contract(unit) => *unit,
            RateUnit::Connection(name) => settled(parameters, name, "percent or unit: fraction", VatRate::named)?,
        };
        Ok(Self { is: Term::new(record, path)?, unit })
    }

    /// The fault of a row; `None` where there is none, or no rate.
    pub(crate) fn breach(&self, columns: &[Column], row: usize) -> Option<String> {
        let rate = total(&self.is, columns, row, None).filter(|rate| !self.unit.fits(*rate))?.trimmed();
        Some(match self.unit {
            VatRate::Percent => format!("{rate} is no rate in per cent: expected 0, or 1 to 100"),
            VatRate::Fraction => format!("{rate} is no rate as a fraction: expected 0 to 1"),
        })
    }
}

impl Adding {
    pub(crate) fn new(record: &Object, path: &[String], sum: &Sum) -> Result<Self> {
        let of = Term::all(record, &sum.of)?;
        let is = Term::new(record, path)?;
        let scale = of.iter().map(|t| t.scale).chain([is.scale, sum.within.scale]).max().unwrap_or(0);
        let except = sum
            .except
            .as_ref()
            .map(|Except { path, words }| open_text(record, path).map(|(hops, _)| Left { hops, words: words.clone() }));
        Ok(Self { of, is, within: sum.within, except: except.transpose()?, scale })
    }

    /// What is wrong with a row; `None` where nothing is, or a value is missing.
    pub(crate) fn breach(&self, columns: &[Column], row: usize) -> Option<String> {
        // It adds up with them or, which is asked only then, without.
        let all = match self.added_up(columns, row, None) {
            Outcome::Fits => return None,
            other => other,
        };
        let left = self.except.as_ref().map(|except| self.added_up(columns, row, Some(except)));
        match (all, left) {
            (_, Some(Outcome::Fits)) => None,
            (_, Some(Outcome::Off(words))) | (Outcome::Off(words), _) => Some(words),
            _ => None,
        }
    }

    /// What the numbers add up to, without the elements of `except`.
    fn added_up(&self, columns: &[Column], row: usize, except: Option<&Left>) -> Outcome {
        let off = || {
            let terms: Option<Vec<i128>> = self.of.iter().map(|term| self.total(term, columns, row, except)).collect();
            let (terms, is) = (terms?, self.total(&self.is, columns, row, None)?);
            let sum = terms.iter().try_fold(0_i128, |sum, term| sum.checked_add(*term))?;
            let off = sum.checked_sub(is)?.checked_abs()?;
            Some((terms, sum, is, off > self.within.rescaled(self.scale)?.units))
        };
        let shown = |units| Exact::new(units, self.scale).trimmed();
        match off() {
            None => Outcome::Unknown,
            Some((.., false)) => Outcome::Fits,
            Some((terms, sum, is, true)) => {
                let terms: Vec<String> = match self.of.as_slice() {
                    // Its number is the sum.
                    [one] => vec![one.name.clone()],
                    of => of.iter().zip(terms).map(|(of, units)| format!("{} {}", of.name, shown(units))).collect(),
                };
                let (name, is, sum) = (&self.is.name, shown(is), shown(sum));
                Outcome::Off(format!("{name} is {is}, expected {sum} = {}", terms.join(" + ")))
            }
        }
    }

    /// The total of a term at the common scale.
    fn total(&self, term: &Term, columns: &[Column], row: usize, except: Option<&Left>) -> Option<i128> {
        Some(total(term, columns, row, except)?.rescaled(self.scale)?.units)
    }
}

/// What is left of the way to a text that keeps elements out, and the words that do.
type Excluding<'e> = Option<(&'e [Hop], &'e [String])>;

/// The rest of the way after a step; `None` where it parts from this one.
fn below(except: Excluding<'_>, step: Hop) -> Excluding<'_> {
    except.and_then(|(hops, words)| {
        hops.split_first().filter(|(first, _)| **first == step).map(|(_, rest)| (rest, words))
    })
}

/// Whether an element is one of those that are kept out.
fn is_kept_out(element: &Column, row: usize, except: Excluding<'_>) -> bool {
    let Some((mut hops, words)) = except else { return false };
    let mut column = element;
    while let Some((Hop::Field(field), rest)) = hops.split_first() {
        let Values::Object(columns) = &column.values else { return false };
        let Some(inner) = columns.get(*field).filter(|_| column.valid.get(row)) else { return false };
        (column, hops) = (inner, rest);
    }
    match &column.values {
        Values::Text(texts) if hops.is_empty() && column.valid.get(row) => {
            let text = std::str::from_utf8(texts.get(row)).unwrap_or_default();
            words.iter().any(|word| word::is(word, text))
        }
        _ => false,
    }
}

fn added(column: &Column, hops: &[Hop], row: usize, except: Excluding<'_>) -> Option<i128> {
    if !column.valid.get(row) {
        return None;
    }
    match (hops.split_first(), &column.values) {
        (None, Values::Decimal(values)) => values.get(row).copied(),
        (None, Values::Int(values)) => values.get(row).map(|value| i128::from(*value)),
        (Some((Hop::Field(at), rest)), Values::Object(columns)) => {
            added(columns.get(*at)?, rest, row, below(except, Hop::Field(*at)))
        }
        (Some((Hop::Elements, rest)), Values::List { offsets, elements }) => {
            let except = below(except, Hop::Elements);
            Column::elements_of(offsets, row)
                .filter(|element| !is_kept_out(elements, *element, except))
                .try_fold(0_i128, |sum, element| sum.checked_add(added(elements, rest, element, except)?))
        }
        _ => None,
    }
}

impl Clock {
    pub(crate) fn new(record: &Object, path: &[String], rule: &LocalTime) -> Result<Self> {
        let column = |path: &[String], expected, fits: fn(&Field) -> bool| {
            let (hops, field) = resolve(record, path)?;
            if fits(field) && !hops.contains(&Hop::Elements) { Ok(hops) } else { Err(unfit(path, expected)) }
        };
        // A machine without a time zone database can still tell whether a clock is off by an offset there can be.
        let listed = if jiff::tz::db().is_definitively_empty() { None } else { Some(&rule.zones) };
        let zone = |name: &String| {
            TimeZone::get(name).map_err(|e| Error::config(format!("no time zone is named {name:?}")).because(e))
        };
        let zones = listed
            .into_iter()
            .flatten()
            .map(|(value, names)| Ok((value.clone(), names.iter().map(zone).collect::<Result<Vec<TimeZone>>>()?)));
        Ok(Self {
            of: column(&rule.of, "one instant", |field| matches!(field.what, What::Time(_)))?,
            is: column(path, "one open text", Field::is_open_text)?,
            name: open_text(record, path)?.1,
            zone_by: rule
                .zone_by
                .as_ref()
                .map(|path| column(path, "one open text", Field::is_open_text))
                .transpose()?,
            zones: zones.collect::<Result<_>>()?,
        })
    }

    /// What is wrong with a row; `None` where nothing is, or a value is missing.
    pub(crate) fn breach(&self, columns: &[Column], row: usize) -> Option<String> {
        let text = |hops: &Vec<Hop>| text_at(columns, hops, row);
        let (wall_text, mut instant) = (text(&self.is)?, None);
        visit(columns, &self.of, row, &mut Vec::new(), &mut |column, row, _| {
            if let Values::Time(values) = &column.values {
                instant = values.get(row).copied();
            }
        });
        let instant = instant?;
        let offset = time::wall_clock(wall_text).and_then(|wall| time::clock_offset_minutes(wall, instant));
        let key = self.zone_by.as_ref().and_then(text);
        let at = Timestamp::from_microsecond(instant).ok()?;
        let holds = match (offset, key.and_then(|key| self.zones.get(key))) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(minutes), Some(zones)) => {
                zones.iter().any(|zone| i64::from(zone.to_offset(at).seconds()) == minutes * 60)
            }
        };
        let place = key.map(|key| format!(" in {key}")).unwrap_or_default();
        let name = &self.name;
        (!holds).then(|| format!("{name} is {wall_text}, expected what a clock{place} shows at {at}"))
    }
}

fn text_at<'c>(columns: &'c [Column], hops: &[Hop], row: usize) -> Option<&'c str> {
    let mut found = None;
    visit(columns, hops, row, &mut Vec::new(), &mut |column, row, _| {
        if let Values::Text(texts) = &column.values {
            found = std::str::from_utf8(texts.get(row)).ok();
        }
    });
    found
}
