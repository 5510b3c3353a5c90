//! Quality rules over one record that fits: what does not hold becomes a warning.
//!
//! Invariant: a rule never changes or drops a record, and null never breaks one.
//!
//! Vocabularies, currencies and zones repeat from record to record, so each rule remembers what it saw last before it looks anything up.

use crate::column::{Column, Values};
use crate::identity::{spell, visit};
use crate::plan::{Demand, Field, Hop, Plan, Rule, What};
use crate::product::Miscalculated;
use crate::warnings::Warnings;
use std::cmp::Ordering;
use tillhouse_model::table::Check;
use tillhouse_model::{Exact, FastMap, money, word, zone_name};

/// So many different texts are remembered for a rule.
const MAX_KNOWN: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Rules<'p> {
    plan: &'p Plan,
    memories: Vec<Memory>,
    positions: Vec<usize>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Of the decimals it is about; 0 for others.
    scale: i8,
    /// Where in its vocabulary the last value was.
    last: usize,
    /// The last text that held.
    good: Vec<u8>,
    known: FastMap<Box<[u8]>, bool>,
}

impl<'p> Rules<'p> {
    pub(crate) fn new(plan: &'p Plan) -> Self {
        let memory = |rule: &Rule| Memory { scale: scale_of(plan, &rule.hops), ..Memory::default() };
        let memories = plan.rules.iter().map(memory).collect();
        Self { plan, memories, positions: Vec::new() }
    }

    /// Checks a row and adds a warning for every value that breaks a rule.
    pub(crate) fn check(&mut self, columns: &[Column], row: usize, warnings: &mut Warnings) {
        let Self { plan, memories, positions } = self;
        for (rule, memory) in plan.rules.iter().zip(memories) {
            let check = match &rule.demand {
                Demand::Value(check) => check,
                Demand::Adding(adding) => {
                    across(plan, rule, adding.breach(columns, row), warnings);
                    continue;
                }
                Demand::Clock(clock) => {
                    across(plan, rule, clock.breach(columns, row), warnings);
                    continue;
                }
                Demand::Priced(priced) => {
                    priced.breaches(&plan.record, columns, row, &mut |field, words| {
                        warnings.tell(field, &rule.name, &words);
                    });
                    continue;
                }
                Demand::Present(presence) => {
                    presence.breaches(&plan.record, columns, row, &mut |field, words| {
                        warnings.tell(field, &rule.name, &words);
                    });
                    continue;
                }
                Demand::Rated(rated) => {
                    across(plan, rule, rated.breach(columns, row), warnings);
                    continue;
                }
                Demand::State(state) => {
                    across(plan, rule, state.breach(columns, row), warnings);
                    continue;
                }
                Demand::Product(product) => {
                    for Miscalculated { field, words } in product.breaches(&plan.record, columns, row) {
                        warnings.tell(field, &rule.name, &words);
                    }
                    continue;
                }
            };
            let scale = memory.scale;
            visit(columns, &rule.hops, row, positions, &mut |column, row, positions| match &column.values {
                Values::Text(texts) => {
                    let text = texts.get(row);
                    if !memory.holds(check, text) {
                        let original: &[u8] = if rule.shown { text } else { b"" };
                        warnings.push(spell(plan, &rule.hops, positions), &rule.name, original);
                    }
                }
                Values::Int(values) => {
                    bounded(check, i128::from(values[row]), 0, &mut |text| {
                        let original: &[u8] = if rule.shown { text.as_bytes() } else { b"" };
                        warnings.push(spell(plan, &rule.hops, positions), &rule.name, original);
                    });
                }
                Values::Decimal(values) => {
                    bounded(check, values[row], scale, &mut |text| {
                        let original: &[u8] = if rule.shown { text.as_bytes() } else { b"" };
                        warnings.push(spell(plan, &rule.hops, positions), &rule.name, original);
                    });
                }
                _ => {}
            });
        }
    }
}

/// The warning of a rule over several columns: at the one that is compared, with all of them in words.
fn across(plan: &Plan, rule: &Rule, breach: Option<String>, warnings: &mut Warnings) {
    if let Some(words) = breach {
        warnings.tell(spell(plan, &rule.hops, &[]), &rule.name, &words);
    }
}

impl Memory {
    fn holds(&mut self, check: &Check, text: &[u8]) -> bool {
        if !text.is_empty() && self.good == text {
            return true;
        }
        let look_up: &dyn Fn(&str) -> bool = match check {
            Check::OneOf(words) => {
                if words.get(self.last).is_some_and(|w| w.as_bytes() == text) {
                    return true;
                }
                if let Some(found) = words.iter().position(|w| w.as_bytes() == text) {
                    self.last = found;
                    return true;
                }
                // Another spelling of one of them is the same word.
                &|text| words.iter().any(|word| word::is(word, text))
            }
            Check::Currency => &|text| money::minor_digits(text).is_some(),
            Check::TimeZone => &|text| zone_name::parse(text).is_some(),
            Check::AtLeast(_)
            | Check::AtMost(_)
            | Check::Unique
            | Check::Sum(_)
            | Check::Product(_)
            | Check::LocalTime(_)
            | Check::Amount(_)
            | Check::Rate(_)
            | Check::State(_)
            | Check::Present(_) => return true,
        };
        let known = self.known.get(text).copied();
        let holds = known.unwrap_or_else(|| std::str::from_utf8(text).is_ok_and(look_up));
        if known.is_none() && self.known.len() < MAX_KNOWN {
            self.known.insert(text.into(), holds);
        }
        if holds {
            self.good.clear();
            self.good.extend_from_slice(text);
        }
        holds
    }
}

/// The scale of the decimal column a path ends in; 0 for others.
fn scale_of(plan: &Plan, hops: &[Hop]) -> i8 {
    let mut object = Some(&plan.record);
    let mut field: Option<&Field> = None;
    for hop in hops {
        field = match hop {
            Hop::Field(at) => object.and_then(|o| o.fields.get(*at)),
            Hop::Elements => field.and_then(|f| if let What::List(e) = &f.what { Some(&**e) } else { None }),
        };
        object = field.and_then(|f| if let What::Object(o) = &f.what { Some(o) } else { None });
    }
    field.map_or(0, |f| if let What::Decimal { scale, .. } = f.what { scale } else { 0 })
}

/// Tells a number that lies outside the bound a check sets.
fn bounded(check: &Check, units: i128, scale: i8, breach: &mut dyn FnMut(String)) {
    let (bound, wrong) = match check {
        Check::AtLeast(least) => (*least, Ordering::Less),
        Check::AtMost(most) => (*most, Ordering::Greater),
        _ => return,
    };
    // Compared as units times ten to the minus scale; a side that overflows is larger than any i64 could make it.
    let power = 10_i128.checked_pow(u32::from(scale.unsigned_abs()));
    let order = if scale >= 0 {
        let bound_units = power.and_then(|p| i128::from(bound).checked_mul(p));
        bound_units.map_or(0.cmp(&bound), |bound| units.cmp(&bound))
    } else {
        power.and_then(|p| units.checked_mul(p)).map_or(units.cmp(&0), |units| units.cmp(&i128::from(bound)))
    };
    if order == wrong {
        let shown = if scale >= 0 {
            Exact::new(units, scale.unsigned_abs()).trimmed().to_string()
        } else {
            format!("{units}e{}", scale.unsigned_abs())
        };
        breach(shown);
    }
}
