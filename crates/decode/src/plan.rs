//! A contract compiled for the walk: fields with their keys as the page spells them, and paths as steps.
//!
//! Invariant: a [`DecodePlan`] that exists can be walked: every type can be decoded, every path ends in a stored column of a type that fits,
//! and every pseudonym has a key. What cannot be is a configuration error here, before any page is read. What a value costs that
//! cannot be read is settled here too, for every field, by the rules of [`tillhouse_model::MisfitPolicy`].

use crate::instant::InstantFormat;
use crate::presence_rule::CompiledPresence;
use crate::product_rule::CompiledProduct;
use crate::record_rules::{CompiledAmount, CompiledLocalTime, CompiledRate, CompiledSum};
use crate::state_rule::CompiledState;
use std::collections::{HashMap, HashSet};
use tillhouse_model::blank::is_blank;
use tillhouse_model::table::{RuleCheck, SCOPE, ValueNormalisation};
use tillhouse_model::time_zone::time_zone;
use tillhouse_model::{
    ColumnClass, ColumnKind, ColumnSpec, Error, MisfitPolicy, Result, TableSpec, TimeFormat,
};

/// Objects of a contract may be nested this deep; pages may nest twice as deep in what the contract does not know.
const MAX_CONTRACT_DEPTH: usize = 64;

/// Number of fields from which on a key out of turn is looked up in a hash table.
const MANY_FIELDS: usize = 48;

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

/// Fields of an object, looked up by name.
#[derive(Debug)]
pub(crate) struct ObjectPlan {
    pub(crate) fields: Vec<FieldPlan>,
    /// One word a field that differs whenever short names differ: the first seven bytes and the length.
    tags: Vec<u64>,
    by_name: Option<HashMap<Box<[u8]>, usize>>,
    /// Least memory of one more of these, in bytes, lists' elements aside.
    pub(crate) row_bytes: usize,
}

/// Decoding of one field: its name in JSON, its type, and the cost of a misfit.
#[derive(Debug)]
pub(crate) struct FieldPlan {
    /// The column's name; part of paths in reports is [`FieldPlan::json_name`], as the source spells it.
    pub(crate) name: String,
    /// Empty for the elements of a list.
    pub(crate) json_name: String,
    /// `"name":`, as a page without white space spells it.
    pub(crate) spelled: Box<[u8]>,
    pub(crate) required: bool,
    /// Part of the record's key: a text nobody can see is none.
    pub(crate) key: bool,
    /// A text of which nothing can be seen is none.
    pub(crate) blank_is_none: bool,
    /// The element of a list.
    pub(crate) element: bool,
    /// True if a value may stand in a warning or a reject as it came.
    pub(crate) is_quotable: bool,
    /// Cost of a value that cannot be read as this field's.
    pub(crate) misfit: MisfitCost,
    /// True for a whole number that its rules keep between 0 and 1: a yes or no.
    pub(crate) is_zero_or_one: bool,
    /// Of a list: the key of its elements.
    pub(crate) distinct: Option<ElementIdentity>,
    /// Stands for the column's path in the content hash; never zero.
    pub(crate) id: u64,
    pub(crate) kind: FieldKind,
}

/// Cost of a value that cannot be read as its field's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MisfitCost {
    Record,
    /// Itself. Of a list's element that is no single value: the element.
    Value,
    /// The record, where it would have decided the record time; else itself. The place of its path among those of the record time.
    Time(usize),
}

/// Column that identifies the elements of a list.
#[derive(Debug)]
pub(crate) struct ElementIdentity {
    /// The field of the element.
    pub(crate) by: usize,
    /// The rule that says so.
    pub(crate) rule: String,
}

/// Decoding of a field's value, by its type.
#[derive(Debug)]
pub(crate) enum FieldKind {
    Text(TextTreatment),
    Bool,
    Int,
    Decimal {
        scale: i8,
        limit: i128,
    },
    Time(InstantFormat),
    Date,
    Object(ObjectPlan),
    List(Box<FieldPlan>),
    /// Secret or dropped: never decoded.
    NotDecoded,
}

/// Treatment of a text before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextTreatment {
    Whole,
    /// Without surrounding blanks and in upper case, as ISO 4217 writes it, so that whatever compares or groups by it meets one spelling.
    Currency,
    Pseudonym(ValueNormalisation),
    LastFour,
}

/// Step of a path from a row to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathStep {
    /// Step to the field of that index.
    Field(usize),
    /// Step to every element of the list.
    Elements,
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
    /// That a state follows from those of its articles and payments.
    State(CompiledState),
    /// That a number is there.
    Present(CompiledPresence),
}

/// Names of at most seven bytes have the same tag only if they are equal.
#[inline]
fn tag(name: &[u8]) -> u64 {
    let mut word = [0; 8];
    let size = name.len().min(7);
    word[..size].copy_from_slice(&name[..size]);
    word[7] = u8::try_from(name.len()).unwrap_or(u8::MAX);
    u64::from_le_bytes(word)
}

impl ObjectPlan {
    /// The field of that name, tried from `guess` on, around.
    #[inline]
    pub(crate) fn find(&self, name: &[u8], guess: usize) -> Option<usize> {
        if let Some(map) = &self.by_name {
            return map.get(name).copied();
        }
        let tag = tag(name);
        let hit = |i: &usize| {
            self.tags[*i] == tag
                && (name.len() <= 7 || self.fields[*i].json_name.as_bytes() == name)
        };
        let guess = guess.min(self.tags.len());
        (guess..self.tags.len())
            .find(hit)
            .or_else(|| (0..guess).find(hit))
    }

    /// `shown`: whether the values of these columns may be shown, as far as what they lie in is concerned.
    fn new(
        columns: &[ColumnSpec],
        path: &str,
        has_key: bool,
        shown: bool,
        depth: usize,
    ) -> Result<Self> {
        if depth > MAX_CONTRACT_DEPTH {
            return Err(Error::config(format!(
                "the contract nests objects deeper than {MAX_CONTRACT_DEPTH}"
            ))
            .at("column", path));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = columns.iter().find(|c| !seen.insert(c.json_name.as_str())) {
            return Err(
                Error::config(format!("two columns read the field {:?}", twice.json_name))
                    .at("column", join(path, &twice.name)),
            );
        }
        let fields: Vec<FieldPlan> = columns
            .iter()
            .map(|c| FieldPlan::new(c, join(path, &c.name), has_key, shown, depth))
            .collect::<Result<_>>()?;
        if fields
            .iter()
            .all(|f| matches!(f.kind, FieldKind::NotDecoded))
        {
            return Err(Error::config(
                "an object without any stored column cannot be a table's column",
            )
            .at("column", path)
            .hint("Mark the object itself as secret or dropped."));
        }
        let tags = fields.iter().map(|f| tag(f.json_name.as_bytes())).collect();
        let by_name = (fields.len() > MANY_FIELDS).then(|| {
            fields
                .iter()
                .enumerate()
                .map(|(i, f)| (f.json_name.as_bytes().into(), i))
                .collect()
        });
        let row_bytes = fields.iter().map(FieldPlan::row_bytes).sum();
        Ok(Self {
            fields,
            tags,
            by_name,
            row_bytes,
        })
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

impl ObjectPlan {
    /// Has the text at a path read as a currency. A path that leads elsewhere is refused where its rule is compiled.
    fn make_currency(&mut self, path: &[String]) {
        let Some((name, rest)) = path.split_first() else {
            return;
        };
        if let Some(field) = self.fields.iter_mut().find(|field| field.name == *name) {
            field.make_currency(rest);
        }
    }
}

impl FieldPlan {
    fn make_currency(&mut self, rest: &[String]) {
        match &mut self.kind {
            FieldKind::List(element) => {
                // Lists are passed through by themselves; `element` may be said, or left out.
                let is_said = rest.first().is_some_and(|name| name == "element");
                element.make_currency(if is_said { &rest[1..] } else { rest });
            }
            FieldKind::Object(object) => object.make_currency(rest),
            FieldKind::Text(keep) if rest.is_empty() && *keep == TextTreatment::Whole => {
                *keep = TextTreatment::Currency
            }
            _ => {}
        }
    }

    /// True for text that is stored, not changed into something else.
    pub(crate) fn is_open_text(&self) -> bool {
        matches!(
            self.kind,
            FieldKind::Text(TextTreatment::Whole | TextTreatment::Currency)
        )
    }

    fn new(
        column: &ColumnSpec,
        path: String,
        has_key: bool,
        shown: bool,
        depth: usize,
    ) -> Result<Self> {
        let shown = shown && column.class == ColumnClass::Open && !column.restricted;
        let wrong = |message: &str| Err(Error::config(message).at("column", &path));
        let keep = match column.class {
            ColumnClass::Open => Some(TextTreatment::Whole),
            ColumnClass::Pseudonym(how) => Some(TextTreatment::Pseudonym(how)),
            ColumnClass::LastFour => Some(TextTreatment::LastFour),
            ColumnClass::Secret | ColumnClass::Dropped => None,
        };
        if matches!(keep, Some(TextTreatment::Pseudonym(_))) && !has_key {
            return Err(Error::config(
                "the contract has pseudonyms, but the project has no key for them",
            )
            .at("column", &path)
            .hint(
                "Set privacy_key in tillhouse.yaml; `tillhouse init` writes a fresh one into .env.",
            ));
        }
        let what = match (&column.kind, keep) {
            (_, None) => FieldKind::NotDecoded,
            (ColumnKind::Text, Some(keep)) => FieldKind::Text(keep),
            (_, Some(TextTreatment::Pseudonym(_) | TextTreatment::LastFour)) => {
                return wrong("only text can be pseudonymised or cut to its last four characters");
            }
            (ColumnKind::Bool, _) => FieldKind::Bool,
            (ColumnKind::Int, _) => FieldKind::Int,
            (ColumnKind::Decimal { precision, scale }, _) => {
                let Some(limit) = 10_i128
                    .checked_pow(u32::from(*precision))
                    .filter(|_| (1..=38).contains(precision))
                else {
                    return wrong("a decimal has 1 to 38 digits");
                };
                FieldKind::Decimal {
                    scale: *scale,
                    limit,
                }
            }
            (ColumnKind::Timestamp(format), _) => FieldKind::Time(match format {
                TimeFormat::Offset => InstantFormat::Offset,
                TimeFormat::Zone(name) => {
                    InstantFormat::Zone(time_zone(name).ok_or_else(|| {
                        Error::config(format!("no time zone is named {name:?}"))
                            .at("column", &path)
                            .hint("Write an IANA name like Europe/Berlin.")
                    })?)
                }
                TimeFormat::EpochSeconds => InstantFormat::Epoch { scale: 6 },
                TimeFormat::EpochMillis => InstantFormat::Epoch { scale: 3 },
            }),
            (ColumnKind::Date, _) => FieldKind::Date,
            (ColumnKind::Binary, _) => {
                return wrong("JSON has no binary values; a source's column cannot be binary");
            }
            (ColumnKind::Struct(columns), _) => {
                FieldKind::Object(ObjectPlan::new(columns, &path, has_key, shown, depth + 1)?)
            }
            (ColumnKind::List(element), _) => {
                let mut element =
                    Self::new(element, format!("{path}[]"), has_key, shown, depth + 1)?;
                if matches!(element.kind, FieldKind::NotDecoded) {
                    return wrong(
                        "a list whose elements are secret or dropped must itself be marked so",
                    );
                }
                element.json_name.clear();
                element.element = true;
                FieldKind::List(Box::new(element))
            }
        };
        let mut spelled = serde_json::to_vec(&column.json_name)
            .map_err(|e| Error::internal("a name is not JSON").because(e))?;
        spelled.push(b':');
        Ok(Self {
            name: column.name.clone(),
            json_name: column.json_name.clone(),
            spelled: spelled.into(),
            required: column.required,
            key: false,
            blank_is_none: column.blank_is_none,
            element: false,
            is_quotable: shown,
            misfit: match column.on_misfit {
                _ if column.required => MisfitCost::Record,
                Some(MisfitPolicy::Warn) => MisfitCost::Value,
                Some(MisfitPolicy::Reject) => MisfitCost::Record,
                None if matches!(what, FieldKind::Decimal { .. }) => MisfitCost::Record,
                None => MisfitCost::Value,
            },
            is_zero_or_one: false,
            distinct: None,
            id: xxhash_rust::xxh3::xxh3_64(path.as_bytes()).max(1),
            kind: what,
        })
    }

    /// Bytes a row of it takes at least.
    pub(crate) fn row_bytes(&self) -> usize {
        match &self.kind {
            FieldKind::NotDecoded | FieldKind::Bool => 1,
            FieldKind::Text(TextTreatment::Pseudonym(_)) => 75,
            FieldKind::Text(_) | FieldKind::Date | FieldKind::List(_) => 5,
            FieldKind::Int | FieldKind::Time(_) => 9,
            FieldKind::Decimal { .. } => 17,
            FieldKind::Object(object) => object.row_bytes + 1,
        }
    }
}

impl DecodePlan {
    pub(crate) fn new(
        spec: &TableSpec,
        has_key: bool,
        parameters: &[(&str, String)],
    ) -> Result<Self> {
        let mut record = ObjectPlan::new(&spec.columns, "", has_key, true, 0)?;
        for rule in spec
            .rules
            .iter()
            .filter(|rule| rule.check == RuleCheck::Currency)
        {
            record.make_currency(&rule.path);
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
                RuleCheck::Present(present) => (
                    true,
                    RuleDemand::Present(CompiledPresence::new(&record, &rule.path, present)?),
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
/// holds something that a record is rejected for. And where a blank text is none: no currency and no word of a vocabulary is blank.
fn settle_misfits(
    record: &mut ObjectPlan,
    spec: &TableSpec,
    record_time: &[Vec<PathStep>],
) -> Result<()> {
    for rule in &spec.rules {
        let currency = rule.check == RuleCheck::Currency;
        let words = matches!(&rule.check, RuleCheck::OneOf(words) if !words.iter().any(|word| is_blank(word)));
        if !(currency || words) {
            continue;
        }
        let (hops, _) = resolve(record, &rule.path)?;
        let said = said(&spec.columns, &rule.path);
        if let Some(field) = field_at(record, &hops) {
            field.blank_is_none = true;
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

/// Sets the keys of lists' elements.
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

/// An object or list of the wrong type costs what it may hold. A list's elements only cost themselves: the others are there.
fn settle_containers(object: &mut ObjectPlan, columns: &[ColumnSpec]) {
    for (field, column) in object.fields.iter_mut().zip(columns) {
        let costly = costly(field, column);
        if costly && column.on_misfit.is_none() {
            field.misfit = MisfitCost::Record;
        }
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

/// The field that a path leads to.
fn field_at<'p>(record: &'p mut ObjectPlan, hops: &[PathStep]) -> Option<&'p mut FieldPlan> {
    let mut hops = hops.iter();
    let Some(PathStep::Field(at)) = hops.next() else {
        return None;
    };
    let mut field = record.fields.get_mut(*at)?;
    for hop in hops {
        field = match (hop, &mut field.kind) {
            (PathStep::Field(at), FieldKind::Object(object)) => object.fields.get_mut(*at)?,
            (PathStep::Elements, FieldKind::List(element)) => element,
            _ => return None,
        };
    }
    Some(field)
}

/// The steps to a column by its names. Lists are passed through by themselves; `element` may be said, or left out.
pub(crate) fn resolve<'p>(
    record: &'p ObjectPlan,
    path: &[String],
) -> Result<(Vec<PathStep>, &'p FieldPlan)> {
    let missing = || Error::config("no stored column has this path").at("column", path.join("."));
    let mut hops = Vec::new();
    let mut object = Some(record);
    let mut at: Option<&FieldPlan> = None;
    for name in path {
        let found = object.and_then(|o| Some((o, o.fields.iter().position(|f| f.name == *name)?)));
        let Some((parent, index)) = found else {
            if name == "element" && hops.last() == Some(&PathStep::Elements) {
                continue;
            }
            return Err(missing());
        };
        hops.push(PathStep::Field(index));
        let mut field = &parent.fields[index];
        while let FieldKind::List(element) = &field.kind {
            hops.push(PathStep::Elements);
            field = element;
        }
        object = if let FieldKind::Object(o) = &field.kind {
            Some(o)
        } else {
            None
        };
        at = Some(field);
    }
    let field = at
        .filter(|f| !matches!(f.kind, FieldKind::NotDecoded))
        .ok_or_else(missing)?;
    Ok((hops, field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use tillhouse_model::ErrorKind;

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
