//! Quality rules over one record that fits: what does not hold becomes a warning.
//!
//! Invariant: a rule never changes or drops a record, and null never breaks one.
//!
//! Vocabularies, currencies and zones repeat from record to record, so each rule remembers what it saw last before it looks anything up.

use crate::column::{ColumnBuilder, ColumnValues};
use crate::fields::{FieldKind, FieldPlan, PathStep};
use crate::identity::{spell, visit};
use crate::plan::{CompiledRule, DecodePlan, RuleDemand};
use crate::product_rule::ProductMismatch;
use crate::warnings::PageWarnings;
use std::cmp::Ordering;
use tillhouse_model::table::RuleCheck;
use tillhouse_model::{ExactDecimal, FastMap, MeasureUnit, money, word, zone_name};

/// Most different texts that a rule remembers.
const MAX_KNOWN: usize = 1_024;

/// Checks of a contract's quality rules, row by row.
#[derive(Debug)]
pub(crate) struct RuleChecker<'p> {
    plan: &'p DecodePlan,
    memories: Vec<RuleCache>,
    positions: Vec<usize>,
}

/// Cache of one rule's verdicts about texts.
#[derive(Debug, Default)]
struct RuleCache {
    /// Scale of the decimals it checks; 0 for others.
    scale: i8,
    /// Place of the last value in its vocabulary.
    last: usize,
    /// The last text that held.
    good: Vec<u8>,
    known: FastMap<Box<[u8]>, bool>,
}

impl<'p> RuleChecker<'p> {
    pub(crate) fn new(plan: &'p DecodePlan) -> Self {
        let memory = |rule: &CompiledRule| RuleCache {
            scale: scale_of(plan, &rule.path),
            ..RuleCache::default()
        };
        let memories = plan.rules.iter().map(memory).collect();
        Self {
            plan,
            memories,
            positions: Vec::new(),
        }
    }

    /// Checks a row and adds a warning for every value that breaks a rule.
    pub(crate) fn check(
        &mut self,
        columns: &[ColumnBuilder],
        row: usize,
        warnings: &mut PageWarnings,
    ) {
        self.check_some(&|_| true, columns, row, warnings);
    }

    /// Warnings about the time zones of a row that cannot be read.
    pub(crate) fn unread_zones(&mut self, columns: &[ColumnBuilder], row: usize) -> PageWarnings {
        let mut warnings = PageWarnings::default();
        let is_about_zones =
            |rule: &CompiledRule| matches!(rule.demand, RuleDemand::Value(RuleCheck::TimeZone));
        self.check_some(&is_about_zones, columns, row, &mut warnings);
        warnings
    }

    fn check_some(
        &mut self,
        is_wanted: &dyn Fn(&CompiledRule) -> bool,
        columns: &[ColumnBuilder],
        row: usize,
        warnings: &mut PageWarnings,
    ) {
        let Self {
            plan,
            memories,
            positions,
        } = self;
        let rules = plan.rules.iter().zip(memories);
        for (rule, memory) in rules.filter(|(rule, _)| is_wanted(rule)) {
            let check = match &rule.demand {
                RuleDemand::Value(check) => check,
                RuleDemand::Sum(adding) => {
                    across(plan, rule, adding.breach(columns, row), warnings);
                    continue;
                }
                RuleDemand::LocalTime(clock) => {
                    across(plan, rule, clock.breach(columns, row), warnings);
                    continue;
                }
                RuleDemand::Amount(priced) => {
                    priced.breaches(&plan.record, columns, row, &mut |field, words| {
                        warnings.push_message(field, &rule.name, &words);
                    });
                    continue;
                }
                RuleDemand::Present(presence) => {
                    presence.breaches(&plan.record, columns, row, &mut |field, words| {
                        warnings.push_message(field, &rule.name, &words);
                    });
                    continue;
                }
                RuleDemand::Absent(absence) => {
                    absence.breaches(&plan.record, columns, row, &mut |field, words| {
                        warnings.push_message(field, &rule.name, &words);
                    });
                    continue;
                }
                RuleDemand::Rate(rated) => {
                    across(plan, rule, rated.breach(columns, row), warnings);
                    continue;
                }
                RuleDemand::State(state) => {
                    across(plan, rule, state.breach(columns, row), warnings);
                    continue;
                }
                RuleDemand::Tax(tax) => {
                    tax.breaches(&plan.record, columns, row, &mut |field, words| {
                        warnings.push_message(field, &rule.name, &words);
                    });
                    continue;
                }
                RuleDemand::Product(product) => {
                    for ProductMismatch { field, words } in
                        product.breaches(&plan.record, columns, row)
                    {
                        warnings.push_message(field, &rule.name, &words);
                    }
                    continue;
                }
            };
            let scale = memory.scale;
            visit(
                columns,
                &rule.path,
                row,
                positions,
                &mut |column, row, positions| match &column.values {
                    ColumnValues::Text(texts) => {
                        let text = texts.get(row);
                        if !memory.holds(check, text) {
                            let original: &[u8] = if rule.is_quotable { text } else { b"" };
                            warnings.push(
                                spell(&plan.record, &rule.path, positions),
                                &rule.name,
                                original,
                            );
                        }
                    }
                    ColumnValues::Int(values) => {
                        bounded(check, i128::from(values[row]), 0, &mut |text| {
                            let original: &[u8] = if rule.is_quotable {
                                text.as_bytes()
                            } else {
                                b""
                            };
                            warnings.push(
                                spell(&plan.record, &rule.path, positions),
                                &rule.name,
                                original,
                            );
                        });
                    }
                    ColumnValues::Decimal(values) => {
                        bounded(check, values[row], scale, &mut |text| {
                            let original: &[u8] = if rule.is_quotable {
                                text.as_bytes()
                            } else {
                                b""
                            };
                            warnings.push(
                                spell(&plan.record, &rule.path, positions),
                                &rule.name,
                                original,
                            );
                        });
                    }
                    _ => {}
                },
            );
        }
    }
}

/// The warning of a rule over several columns: at the one that is compared, with all of them in words.
fn across(
    plan: &DecodePlan,
    rule: &CompiledRule,
    breach: Option<String>,
    warnings: &mut PageWarnings,
) {
    if let Some(words) = breach {
        warnings.push_message(spell(&plan.record, &rule.path, &[]), &rule.name, &words);
    }
}

impl RuleCache {
    fn holds(&mut self, check: &RuleCheck, text: &[u8]) -> bool {
        if !text.is_empty() && self.good == text {
            return true;
        }
        let look_up: &dyn Fn(&str) -> bool = match check {
            RuleCheck::OneOf(words) => {
                if words.get(self.last).is_some_and(|w| w.as_bytes() == text) {
                    return true;
                }
                if let Some(found) = words.iter().position(|w| w.as_bytes() == text) {
                    self.last = found;
                    return true;
                }
                // Another spelling of one of them is the same word.
                &|text| words.iter().any(|word| word::is_same_word(word, text))
            }
            RuleCheck::Currency => &|text| money::is_currency(text),
            RuleCheck::Unit => &|text| MeasureUnit::is_known(text),
            RuleCheck::TimeZone => &|text| zone_name::parse(text).is_some(),
            RuleCheck::AtLeast(_)
            | RuleCheck::AtMost(_)
            | RuleCheck::Unique
            | RuleCheck::Sum(_)
            | RuleCheck::Product(_)
            | RuleCheck::Tax(_)
            | RuleCheck::LocalTime(_)
            | RuleCheck::Amount(_)
            | RuleCheck::Rate(_)
            | RuleCheck::State(_)
            | RuleCheck::Present(_)
            | RuleCheck::Absent(_) => return true,
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
fn scale_of(plan: &DecodePlan, hops: &[PathStep]) -> i8 {
    let mut object = Some(&plan.record);
    let mut field: Option<&FieldPlan> = None;
    for hop in hops {
        field = match hop {
            PathStep::Field(at) => object.and_then(|o| o.fields.get(*at)),
            PathStep::Elements => field.and_then(|f| {
                if let FieldKind::List(e) = &f.kind {
                    Some(&**e)
                } else {
                    None
                }
            }),
        };
        object = field.and_then(|f| {
            if let FieldKind::Object(o) = &f.kind {
                Some(o)
            } else {
                None
            }
        });
    }
    field.map_or(0, |f| {
        if let FieldKind::Decimal { scale, .. } = f.kind {
            scale
        } else {
            0
        }
    })
}

/// Reports a number outside the bound a check sets.
fn bounded(check: &RuleCheck, units: i128, scale: i8, breach: &mut dyn FnMut(String)) {
    let (bound, wrong) = match check {
        RuleCheck::AtLeast(least) => (*least, Ordering::Less),
        RuleCheck::AtMost(most) => (*most, Ordering::Greater),
        _ => return,
    };
    // Compared as units times ten to the minus scale; a side that overflows is larger than any i64 could make it.
    let power = 10_i128.checked_pow(u32::from(scale.unsigned_abs()));
    let order = if scale >= 0 {
        let bound_units = power.and_then(|p| i128::from(bound).checked_mul(p));
        bound_units.map_or(0.cmp(&bound), |bound| units.cmp(&bound))
    } else {
        power
            .and_then(|p| units.checked_mul(p))
            .map_or(units.cmp(&0), |units| units.cmp(&i128::from(bound)))
    };
    if order == wrong {
        let shown = if scale >= 0 {
            ExactDecimal::new(units, scale.unsigned_abs())
                .trimmed()
                .to_string()
        } else {
            format!("{units}e{}", scale.unsigned_abs())
        };
        breach(shown);
    }
}
