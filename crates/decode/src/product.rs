//! The rule that a number is the product of others: quantity and unit price, and what they come to.
//!
//! Invariant: one element is compared at a time, and only where every number it needs is there; exactly, as whole numbers of one scale.

use crate::column::{Column, Values};
use crate::identity::visit;
use crate::plan::{Hop, Object, What, resolve};
use tillhouse_model::table::Product;
use tillhouse_model::{Error, Exact, Result};

/// A column and the scale of its numbers.
#[derive(Debug)]
struct Factor {
    hops: Vec<Hop>,
    scale: u8,
}

/// [`Product`], compiled.
#[derive(Debug)]
pub(crate) struct ProductRule {
    of: Vec<Factor>,
    /// What is compared, and whether it may be less.
    is: Vec<(Factor, bool)>,
    within: Exact,
    /// To the element that is compared; empty where it is the record itself.
    element: Vec<Hop>,
}

/// A product that is another one.
#[derive(Debug)]
pub(crate) struct Miscalculated<'r> {
    /// The column that was compared,
    pub(crate) hops: &'r [Hop],
    /// in which element,
    pub(crate) positions: Vec<usize>,
    /// and how.
    pub(crate) words: String,
}

impl Factor {
    fn new(record: &Object, path: &[String]) -> Result<Self> {
        let (hops, field) = resolve(record, path)?;
        let scale = match field.what {
            What::Int => Some(0),
            What::Decimal { scale, .. } => u8::try_from(scale).ok(),
            _ => None,
        };
        let unfit =
            || Error::config("the quality rule needs a number that can be multiplied").at("column", path.join("."));
        Ok(Self { hops, scale: scale.ok_or_else(unfit)? })
    }

    /// Its number in the element at these positions.
    fn value(&self, columns: &[Column], row: usize, positions: &[usize]) -> Option<Exact> {
        let (column, row) = at(columns, &self.hops, row, positions)?;
        match &column.values {
            Values::Decimal(values) => values.get(row).map(|units| Exact::new(*units, self.scale)),
            Values::Int(values) => values.get(row).map(|whole| Exact::new(i128::from(*whole), self.scale)),
            _ => None,
        }
    }
}

/// The value a path leads to, in the elements at these positions of the lists on its way; `None` where it is null.
pub(crate) fn at<'c>(
    columns: &'c [Column],
    hops: &[Hop],
    row: usize,
    positions: &[usize],
) -> Option<(&'c Column, usize)> {
    let (Hop::Field(first), rest) = hops.split_first()? else { return None };
    let (mut column, mut row, mut positions) = (columns.get(*first)?, row, positions.iter());
    for hop in rest {
        if !column.valid.get(row) {
            return None;
        }
        match (hop, &column.values) {
            (Hop::Field(at), Values::Object(columns)) => column = columns.get(*at)?,
            (Hop::Elements, Values::List { offsets, elements }) => {
                row = Column::elements_of(offsets, row).nth(*positions.next()?)?;
                column = elements;
            }
            _ => return None,
        }
    }
    column.valid.get(row).then_some((column, row))
}

/// The steps up to the last list on the way.
pub(crate) fn element_of(hops: &[Hop]) -> &[Hop] {
    let last = hops.iter().rposition(|hop| *hop == Hop::Elements);
    last.map_or(&[], |last| &hops[..=last])
}

impl ProductRule {
    pub(crate) fn new(record: &Object, rule: &Product) -> Result<Self> {
        let factors =
            |paths: &[Vec<String>]| paths.iter().map(|path| Factor::new(record, path)).collect::<Result<Vec<_>>>();
        let (of, is) = (factors(&rule.of)?, factors(&rule.is)?);
        let is: Vec<(Factor, bool)> =
            is.into_iter().zip(&rule.is).map(|(factor, path)| (factor, rule.or_less.contains(path))).collect();
        let element = is.first().map(|(is, _)| element_of(&is.hops).to_vec()).unwrap_or_default();
        if is.is_empty()
            || of.iter().chain(is.iter().map(|(is, _)| is)).any(|factor| !element.starts_with(element_of(&factor.hops)))
        {
            return Err(Error::config("the quality rule multiplies numbers of different elements"));
        }
        Ok(Self { of, is, within: rule.within, element })
    }

    /// What is wrong with a row, element by element.
    pub(crate) fn breaches(&self, columns: &[Column], row: usize) -> Vec<Miscalculated<'_>> {
        if self.element.is_empty() {
            return self.breach(columns, row, &[]).into_iter().collect();
        }
        let mut found = Vec::new();
        visit(columns, &self.element, row, &mut Vec::new(), &mut |_, _, positions| {
            found.extend(self.breach(columns, row, positions));
        });
        found
    }

    fn breach(&self, columns: &[Column], row: usize, positions: &[usize]) -> Option<Miscalculated<'_>> {
        let product = self.of.iter().try_fold(Exact::new(1, 0), |product, factor| {
            let factor = factor.value(columns, row, positions)?;
            Some(Exact::new(product.units.checked_mul(factor.units)?, product.scale.checked_add(factor.scale)?))
        })?;
        let (hops, is, may_be_less) = self.is.iter().find_map(|(is, may_be_less)| {
            Some((is.hops.as_slice(), is.value(columns, row, positions)?, *may_be_less))
        })?;
        let size = |number: Exact| Some(Exact::new(number.units.checked_abs()?, number.scale));
        // What may be less may be anything from nothing to the product.
        let is_less = may_be_less
            && (is.units == 0 || is.units.signum() == product.units.signum())
            && size(is)?.compare(size(product)?).is_lt();
        if is_less {
            return None;
        }
        let off = size(product.minus(is)?)?;
        (off.compare(self.within).is_gt()).then(|| {
            let factors = self.of.iter().filter_map(|factor| factor.value(columns, row, positions));
            let factors: Vec<String> = factors.map(|factor| factor.trimmed().to_string()).collect();
            let words = format!("{} is {}, not {}", factors.join(" x "), product.trimmed(), is.trimmed());
            Miscalculated { hops, positions: positions.to_vec(), words }
        })
    }
}
