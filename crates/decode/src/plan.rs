//! A contract compiled for the walk: its fields, its key and times, and the rules that its values have to keep.
//!
//! Invariant: a [`DecodePlan`] that exists can be walked: every type can be decoded, every path ends in a stored column of a type that fits,
//! and every pseudonym has a key. What cannot be is a configuration error here, before any page is read. What a value costs that
//! cannot be read is settled here too, for every field, by the rules of [`tillhouse_model::MisfitPolicy`].

use crate::absence_rule::CompiledAbsence;
use crate::fields::{
    ElementIdentity, FieldKind, FieldPlan, MisfitCost, ObjectPlan, PathStep, TextMeaning,
    TextTreatment, field_at, resolve,
};
use crate::presence_rule::CompiledPresence;
use crate::product_rule::CompiledProduct;
use crate::record_rules::{CompiledAmount, CompiledLocalTime, CompiledRate, CompiledSum};
use crate::state_rule::CompiledState;
use crate::tax_rule::CompiledTax;
use tillhouse_model::blank::{is_blank, names_nothing};
use tillhouse_model::table::{RuleCheck, SCOPE};
use tillhouse_model::{ColumnKind, ColumnSpec, Error, MisfitPolicy, Result, TableSpec};

/// Contract compiled for decoding.
#[derive(Debug)]
pub(crate) struct DecodePlan {
    pub(crate) record: ObjectPlan,
    /// Indexes of the record's key fields, in key order.
    pub(crate) key: Vec<usize>,
    pub(crate) record_time: Vec<Vec<PathStep>>,
    pub(crate) updated_at: Option<Vec<PathStep>>,
    pub(crate) rules: Vec<CompiledRule>,
    /// The field that holds what the request named, see [`SCOPE`].
    pub(crate) scope: Option<usize>,
}

/// Quality rule compiled for decoding.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) name: String,
    /// Path to the value it is about.
    pub(crate) path: Vec<PathStep>,
    /// True if that value may stand in the warning.
    pub(crate) is_quotable: bool,
    pub(crate) demand: RuleDemand,
}

/// Demand of a compiled rule.
#[derive(Debug)]
pub(crate) enum RuleDemand {
    /// Something of one value.
    Value(RuleCheck),
    /// That numbers add up.
    Sum(CompiledSum),
    /// That a clock fits an instant.
    LocalTime(CompiledLocalTime),
    /// That an amount fits its unit.
    Amount(CompiledAmount),
    /// That a rate fits its unit.
    Rate(CompiledRate),
    /// That a number is the product of others.
    Product(CompiledProduct),
    /// That a number is the tax in an amount.
    Tax(CompiledTax),
    /// That a state follows from those of its articles and payments.
    State(CompiledState),
    /// That a number is there.
    Present(CompiledPresence),
    /// That a text is not there.
    Absent(CompiledAbsence),
}

impl DecodePlan {
    pub(crate) fn new(
        spec: &TableSpec,
        has_key: bool,
        parameters: &[(&str, String)],
    ) -> Result<Self> {
        let mut record = ObjectPlan::new(&spec.columns, "", has_key, true, 0)?;
        for rule in &spec.rules {
            match rule.check {
                RuleCheck::Currency => record.make(TextMeaning::Currency, &rule.path),
                RuleCheck::TimeZone => record.make(TextMeaning::TimeZone, &rule.path),
                _ => {}
            }
        }
        let mut key = Vec::new();
        for name in &spec.key {
            let index = spec
                .columns
                .iter()
                .position(|c| c.name == *name)
                .filter(|i| {
                    !matches!(
                        record.fields[*i].kind,
                        FieldKind::NotDecoded | FieldKind::Object(_) | FieldKind::List(_)
                    )
                });
            key.push(index.ok_or_else(|| {
                Error::config("the key is no stored column of one value").at("column", name)
            })?);
        }
        if key.is_empty() {
            return Err(Error::config("the contract names no key"));
        }
        for at in &key {
            record.fields[*at].key = true;
            record.fields[*at].is_name = true;
            record.fields[*at].is_identifier = true;
            record.fields[*at].misfit = MisfitCost::Record;
        }
        let scope = record.fields.iter().position(|f| f.json_name == SCOPE);
        if let Some((at, field)) = scope.and_then(|at| Some((at, record.fields.get_mut(at)?))) {
            if !matches!(field.kind, FieldKind::Text(TextTreatment::Whole))
                || (field.required && !key.contains(&at))
            {
                return Err(Error::config(
                    "a column of what the request named is open text, and required only in the key",
                )
                .at("column", &field.name));
            }
            // No record has it: as part of the key it is looked at once it was put in.
            (field.required, field.key, field.misfit) = (false, false, MisfitCost::Value);
        }
        let time = |path: &Vec<String>| {
            let (hops, field) = resolve(&record, path)?;
            if matches!(field.kind, FieldKind::Time(_) | FieldKind::Date) {
                return Ok(hops);
            }
            Err(Error::config("a record time must be an instant or a date")
                .at("column", path.join(".")))
        };
        let record_time: Vec<Vec<PathStep>> =
            spec.record_time.iter().map(time).collect::<Result<_>>()?;
        let updated_at = spec.updated_at.as_ref().map(time).transpose()?;
        settle_misfits(&mut record, spec, &record_time)?;
        settle_truths(&mut record, spec)?;
        settle_lists(&mut record, spec)?;
        let mut rules = Vec::new();
        for rule in &spec.rules {
            // Uniqueness is a matter of the table, or of a list while it is read.
            if rule.check == RuleCheck::Unique {
                continue;
            }
            let (hops, field) = resolve(&record, &rule.path)?;
            let (fits, demand) = match &rule.check {
                RuleCheck::AtLeast(_) | RuleCheck::AtMost(_) => (
                    matches!(field.kind, FieldKind::Int | FieldKind::Decimal { .. }),
                    RuleDemand::Value(rule.check.clone()),
                ),
                RuleCheck::Sum(sum) => (
                    true,
                    RuleDemand::Sum(CompiledSum::new(&record, &rule.path, sum)?),
                ),
                RuleCheck::LocalTime(clock) => (
                    true,
                    RuleDemand::LocalTime(CompiledLocalTime::new(&record, &rule.path, clock)?),
                ),
                RuleCheck::Amount(amount) => (
                    true,
                    RuleDemand::Amount(CompiledAmount::new(
                        &record, &rule.path, amount, parameters,
                    )?),
                ),
                RuleCheck::Rate(rate) => (
                    true,
                    RuleDemand::Rate(CompiledRate::new(&record, &rule.path, rate, parameters)?),
                ),
                RuleCheck::Product(product) => (
                    true,
                    RuleDemand::Product(CompiledProduct::new(&record, product)?),
                ),
                RuleCheck::Tax(tax) => (
                    true,
                    RuleDemand::Tax(CompiledTax::new(&record, &rule.path, tax, parameters)?),
                ),
                RuleCheck::Present(present) => (
                    true,
                    RuleDemand::Present(CompiledPresence::new(&record, &rule.path, present)?),
                ),
                RuleCheck::Absent(absent) => (
                    true,
                    RuleDemand::Absent(CompiledAbsence::new(&record, &rule.path, absent)?),
                ),
                RuleCheck::State(state) => (
                    true,
                    RuleDemand::State(CompiledState::new(&record, &rule.path, state)?),
                ),
                _ => (field.is_open_text(), RuleDemand::Value(rule.check.clone())),
            };
            if !fits {
                return Err(Error::config(
                    "the quality rule does not fit its column's type, or the column is not open",
                )
                .at("rule", &rule.name)
                .at("column", rule.path.join(".")));
            }
            rules.push(CompiledRule {
                name: rule.name.clone(),
                path: hops,
                is_quotable: field.is_quotable,
                demand,
            });
        }
        Ok(Self {
            record,
            key,
            record_time,
            updated_at,
            rules,
            scope,
        })
    }
}

/// Settles what a misfit costs where the contract does not say so at the field itself: what is in a currency's column or decides the record time, and what
/// holds something that a record is rejected for. And where a blank text is none: no currency, no time zone and no word of a vocabulary is blank, and no
/// currency and no word, but one that is listed, is called `null`.
fn settle_misfits(
    record: &mut ObjectPlan,
    spec: &TableSpec,
    record_time: &[Vec<PathStep>],
) -> Result<()> {
    for rule in &spec.rules {
        let currency = rule.check == RuleCheck::Currency;
        let is_name = match &rule.check {
            RuleCheck::Currency | RuleCheck::Unit => true,
            RuleCheck::OneOf(words) => !words.iter().any(|word| names_nothing(word)),
            _ => false,
        };
        let never_blank = match &rule.check {
            RuleCheck::Currency | RuleCheck::TimeZone | RuleCheck::Unit => true,
            RuleCheck::OneOf(words) => !words.iter().any(|word| is_blank(word)),
            _ => false,
        };
        if !never_blank {
            continue;
        }
        let (hops, _) = resolve(record, &rule.path)?;
        let said = said(&spec.columns, &rule.path);
        if let Some(field) = field_at(record, &hops) {
            field.blank_is_none = true;
            field.is_name |= is_name;
            if currency && said.is_none() {
                field.misfit = MisfitCost::Record;
            }
        }
    }
    for (nth, hops) in record_time.iter().enumerate() {
        if let Some(field) = field_at(record, hops).filter(|field| !field.required && !field.key) {
            field.misfit = MisfitCost::Time(nth);
        }
    }
    settle_containers(record, &spec.columns);
    Ok(())
}

/// Settles which whole numbers are truth values: those that two rules keep between 0 and 1.
fn settle_truths(record: &mut ObjectPlan, spec: &TableSpec) -> Result<()> {
    let bounded = |path: &[String], check: &RuleCheck| {
        spec.rules
            .iter()
            .any(|rule| rule.path == path && rule.check == *check)
    };
    for rule in spec
        .rules
        .iter()
        .filter(|rule| rule.check == RuleCheck::AtMost(1))
    {
        if bounded(&rule.path, &RuleCheck::AtLeast(0)) {
            let (hops, _) = resolve(record, &rule.path)?;
            if let Some(field) = field_at(record, &hops) {
                field.is_zero_or_one = true;
            }
        }
    }
    Ok(())
}

/// Sets the keys of lists' elements, which are identifiers as the record's own.
fn settle_lists(record: &mut ObjectPlan, spec: &TableSpec) -> Result<()> {
    // The rule about the record's own key names its columns, which are no path.
    for rule in spec
        .rules
        .iter()
        .filter(|rule| rule.check == RuleCheck::Unique && rule.path != spec.key)
    {
        let (hops, _) = resolve(record, &rule.path)?;
        if let [list @ .., PathStep::Elements, PathStep::Field(by)] = hops.as_slice()
            && let Some(field) = field_at(record, list)
        {
            field.distinct = Some(ElementIdentity {
                by: *by,
                rule: rule.name.clone(),
            });
            if let Some(key) = field_at(record, &hops) {
                key.is_identifier = true;
            }
        }
    }
    Ok(())
}

/// Misfit policy that the contract sets at a path.
fn said(columns: &[ColumnSpec], path: &[String]) -> Option<MisfitPolicy> {
    let (name, rest) = path.split_first()?;
    let column = columns.iter().find(|c| c.name == *name)?;
    let mut kind = &column.kind;
    while let ColumnKind::List(element) = kind {
        kind = &element.kind;
    }
    match kind {
        ColumnKind::Struct(inner) if !rest.is_empty() => said(inner, rest),
        _ => column.on_misfit,
    }
}

/// An object or list of the wrong type costs what it may hold.
fn settle_containers(object: &mut ObjectPlan, columns: &[ColumnSpec]) {
    for (field, column) in object.fields.iter_mut().zip(columns) {
        let costly = costly(field, column);
        if costly && column.on_misfit.is_none() {
            field.misfit = MisfitCost::Record;
        }
        settle_elements(field, column);
    }
}

/// An element of the wrong type costs itself, since the others are there. One that would hold money or a quantity costs the record: the sums of the
/// others would pass for the whole.
fn settle_elements(list: &mut FieldPlan, column: &ColumnSpec) {
    let (FieldKind::List(element), ColumnKind::List(of)) = (&mut list.kind, &column.kind) else {
        return;
    };
    let is_left_open = column.on_misfit != Some(MisfitPolicy::Warn) && of.on_misfit.is_none();
    let has_fields = matches!(element.kind, FieldKind::Object(_) | FieldKind::List(_));
    if is_left_open && has_fields && holds_money(element) {
        element.misfit = MisfitCost::Record;
    }
    settle_elements(element, of);
}

/// True if a decimal that a record is rejected for, money or a quantity, lies in the field.
fn holds_money(field: &FieldPlan) -> bool {
    match &field.kind {
        FieldKind::Decimal { .. } => field.misfit == MisfitCost::Record,
        FieldKind::Object(object) => object.fields.iter().any(holds_money),
        FieldKind::List(element) => holds_money(element),
        _ => false,
    }
}

/// True if a record is rejected for something that lies in the field; settles the containers in it
/// on the way.
fn costly(field: &mut FieldPlan, column: &ColumnSpec) -> bool {
    match (&mut field.kind, &column.kind) {
        (FieldKind::Object(object), ColumnKind::Struct(columns)) => {
            settle_containers(object, columns);
            object
                .fields
                .iter()
                .any(|field| field.misfit != MisfitCost::Value)
        }
        (FieldKind::List(element), ColumnKind::List(column)) => match &element.kind {
            FieldKind::Object(_) | FieldKind::List(_) => costly(element, column),
            _ => element.misfit != MisfitCost::Value,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use tillhouse_model::ErrorKind;
    use tillhouse_model::table::ValueNormalisation;
    use tillhouse_model::{ColumnClass, TimeFormat};

    fn refused(change: impl FnOnce(&mut TableSpec)) -> String {
        let mut spec = fixture::sales();
        change(&mut spec);
        let error = DecodePlan::new(&spec, true, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn names_are_found_wherever_they_stand() {
        let plan = DecodePlan::new(&fixture::sales(), true, &[]).unwrap();
        for (i, field) in plan.record.fields.iter().enumerate() {
            for guess in 0..=plan.record.fields.len() + 1 {
                assert_eq!(plan.record.find(field.json_name.as_bytes(), guess), Some(i));
            }
        }
        assert_eq!(plan.record.find(b"", 0), None);
        assert_eq!(plan.record.find(b"license_plates", 0), None);
        let wide: Vec<ColumnSpec> = (0..200)
            .map(|i| fixture::column(&format!("column_{i}"), ColumnKind::Int))
            .collect();
        let object = ObjectPlan::new(&wide, "", true, true, 0).unwrap();
        assert_eq!(object.find(b"column_150", 3), Some(150));
        assert_eq!(object.find(b"column_200", 3), None);
    }

    #[test]
    fn a_contract_that_cannot_be_walked_is_refused() {
        assert!(refused(|s| s.key = vec!["nothing".into()]).contains("column nothing"));
        assert!(refused(|s| s.key = vec!["pin".into()]).contains("column pin"));
        assert!(refused(|s| s.key.clear()).contains("names no key"));
        assert!(
            refused(|s| s.record_time = vec![vec!["invoice".into(), "amount".into()]])
                .contains("invoice.amount")
        );
        assert!(
            refused(|s| s.record_time = vec![vec!["invoice".into(), "nothing".into()]])
                .contains("invoice.nothing")
        );
        assert!(refused(|s| s.columns[1].json_name = "id".into()).contains("two columns"));
        assert!(refused(|s| s.columns[0].kind = ColumnKind::Binary).contains("binary"));
        assert!(
            refused(
                |s| s.columns[0].kind = ColumnKind::Timestamp(TimeFormat::Zone("Mars/Base".into()))
            )
            .contains("Mars/Base")
        );
        assert!(
            refused(|s| {
                s.columns[0].kind = ColumnKind::Int;
                s.columns[0].class = ColumnClass::Pseudonym(ValueNormalisation::Plate);
            })
            .contains("only text")
        );
        assert!(
            refused(|s| {
                let pin = ColumnSpec {
                    class: ColumnClass::Secret,
                    ..fixture::column("pin", ColumnKind::Text)
                };
                s.columns[1].kind = ColumnKind::Struct(vec![pin]);
            })
            .contains("without any stored column")
        );
    }

    #[test]
    fn pseudonyms_need_a_key() {
        let error = DecodePlan::new(&fixture::sales(), false, &[]).unwrap_err();
        assert!(error.to_string().contains("no key"), "{error}");
    }

    #[test]
    fn paths_pass_through_lists() {
        let plan = DecodePlan::new(&fixture::sales(), true, &[]).unwrap();
        let path = |names: &[&str]| {
            resolve(
                &plan.record,
                &names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(),
            )
            .map(|(hops, _)| hops)
        };
        let short = path(&["articles", "start_time"]).unwrap();
        assert_eq!(short, path(&["articles", "element", "start_time"]).unwrap());
        assert_eq!(short.len(), 3);
        assert!(path(&["articles", "pin"]).is_err());
        assert!(path(&["element"]).is_err());
    }
}
