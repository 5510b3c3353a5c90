//! Rules over a record from quality entries as written.
//!
//! Invariant: a rule that comes out can be checked on its column: it is stored as the source wrote it, and its type fits. (A rule over
//! several columns is looked at again once all are known, see `across`.) What another engine checks is left to that engine;
//! what this house would have to check and does not know is refused.

use super::odcs::{OdcsQuality, OdcsValue};
use super::problems::{ContractProblems, unknown};
use super::record_rules;
use crate::table::{ColumnClass, ColumnKind, QualityRule, RuleCheck};
use crate::yaml::{FileLocation, Spanned};
use std::collections::BTreeMap;

/// The name by which quality entries of type `custom` call this house.
const ENGINE: &str = "tillhouse";

/// Quality rule and its place in the file.
pub(super) struct LocatedRule {
    pub(super) rule: QualityRule,
    pub(super) at: FileLocation,
    /// Columns that are unique together, of [`RuleCheck::Unique`].
    pub(super) unique: Vec<Vec<String>>,
}

impl LocatedRule {
    pub(super) fn unique(name: String, columns: Vec<Vec<String>>, at: FileLocation) -> Self {
        let path = columns.first().cloned().unwrap_or_default();
        Self {
            rule: QualityRule {
                name,
                path,
                check: RuleCheck::Unique,
            },
            at,
            unique: columns,
        }
    }
}

/// Reads one quality entry of a column, or of the table where `column` is `None`.
pub(super) fn read_rules(
    written: &Spanned<OdcsQuality>,
    path: &[String],
    column: Option<(&ColumnKind, ColumnClass)>,
    problems: &mut ContractProblems,
) -> Option<LocatedRule> {
    let quality = &written.value;
    if let Some(rule) = &quality.rule {
        problems.add(
            rule.referenced,
            "`rule` is the old name of this key; write `metric`",
        );
        return None;
    }
    let sort = quality.sort.as_ref();
    let check = match sort.map_or("library", |s| s.value.as_str()) {
        // For people to read.
        "text" => return None,
        "library" => library(written, path, column.is_none(), problems)?,
        "custom" => custom(written, problems)?,
        "sql" => {
            let text = "SQL rules are not run; write a library metric, or type custom with engine tillhouse";
            problems.add(sort.map_or(written.referenced, |s| s.referenced), text);
            return None;
        }
        other => {
            let text = unknown(
                "type of quality rule",
                other,
                &["library", "custom", "text"],
            );
            problems.add(sort.map_or(written.referenced, |s| s.referenced), text);
            return None;
        }
    };
    let Some(name) = quality
        .name
        .as_ref()
        .filter(|n| super::columns::is_name(&n.value))
    else {
        let at = quality
            .name
            .as_ref()
            .map_or(written.referenced, |n| n.referenced);
        problems
            .add(at, "a quality rule needs a `name` of letters, digits and underscores: breaches are listed under it");
        return None;
    };
    let at = written.referenced;
    match check {
        ParsedRule::Unique(columns) => Some(LocatedRule::unique(name.value.clone(), columns, at)),
        ParsedRule::Across(..) if column.is_some() => {
            problems.add(
                at,
                "this rule compares columns: write it under the table's own `quality`",
            );
            None
        }
        ParsedRule::Across(path, check) => Some(LocatedRule {
            rule: QualityRule {
                name: name.value.clone(),
                path,
                check,
            },
            at,
            unique: Vec::new(),
        }),
        ParsedRule::Check(check) => {
            let Some((kind, class)) = column else {
                problems.add(
                    at,
                    "this rule is about one column: write it under that column",
                );
                return None;
            };
            fits(&check, kind, class, at, problems)?;
            let rule = QualityRule {
                name: name.value.clone(),
                path: path.to_vec(),
                check,
            };
            Some(LocatedRule {
                rule,
                at,
                unique: Vec::new(),
            })
        }
    }
}

/// Rule as it was parsed, before it is bound to a column.
enum ParsedRule {
    Check(RuleCheck),
    Unique(Vec<Vec<String>>),
    /// The column that is compared, and with what.
    Across(Vec<String>, RuleCheck),
}

fn library(
    written: &Spanned<OdcsQuality>,
    path: &[String],
    of_table: bool,
    problems: &mut ContractProblems,
) -> Option<ParsedRule> {
    let quality = &written.value;
    let Some(metric) = &quality.metric else {
        problems.add(
            written.referenced,
            "a quality rule needs a `metric`, or `type: custom` with engine tillhouse",
        );
        return None;
    };
    if quality
        .must_be
        .as_ref()
        .is_none_or(|m| m.value != OdcsValue::Int(0))
    {
        let at = quality
            .must_be
            .as_ref()
            .map_or(metric.referenced, |m| m.referenced);
        problems.add(at, "rules are checked record by record: write `mustBe: 0`");
        return None;
    }
    let argument = |key: &str, problems: &mut ContractProblems| -> Option<Vec<String>> {
        for (other, value) in &quality.arguments {
            if other != key {
                problems.add(value.referenced, unknown("argument", other, &[key]));
            }
        }
        let value = quality.arguments.get(key);
        let texts = value
            .and_then(|v| v.value.as_texts())
            .map(|texts| texts.into_iter().map(str::to_owned).collect());
        if texts.is_none() {
            let at = value.map_or(metric.referenced, |v| v.referenced);
            problems.add(
                at,
                format!(
                    "`{}` needs the argument `{key}`: a list of strings",
                    metric.value
                ),
            );
        }
        texts
    };
    match metric.value.as_str() {
        "invalidValues" => argument("validValues", problems)
            .map(|values| ParsedRule::Check(RuleCheck::OneOf(values))),
        "duplicateValues" if of_table => argument("properties", problems).map(|names| {
            ParsedRule::Unique(
                names
                    .iter()
                    .map(|n| n.split('.').map(str::to_owned).collect())
                    .collect(),
            )
        }),
        "duplicateValues" => Some(ParsedRule::Unique(vec![path.to_vec()])),
        "nullValues" | "missingValues" => {
            problems.add(
                metric.referenced,
                "write `required: true` at the column instead: a record without it is rejected; or the rule `present`, which warns",
            );
            None
        }
        other => {
            problems.add(
                metric.referenced,
                unknown("metric", other, &["invalidValues", "duplicateValues"]),
            );
            None
        }
    }
}

/// The rules that are written as a map.
const MAPS: &str = "`{ atLeast: 0 }`, `{ atMost: 100 }`, `{ sum: ... }`, `{ product: ... }`, `{ tax: ... }`, `{ localTime: ... }`, `{ amount: ... }`, `{ rate: ... }`, `{ state: ... }`, `{ present: ... }` or `{ absent: ... }`";

fn custom(written: &Spanned<OdcsQuality>, problems: &mut ContractProblems) -> Option<ParsedRule> {
    const KNOWN: [&str; 14] = [
        "currency",
        "timeZone",
        "unit",
        "atLeast",
        "atMost",
        "sum",
        "product",
        "tax",
        "localTime",
        "amount",
        "rate",
        "state",
        "present",
        "absent",
    ];
    let quality = &written.value;
    let (Some(engine), Some(implementation)) = (&quality.engine, &quality.implementation) else {
        problems.add(
            written.referenced,
            "a custom rule needs `engine` and `implementation`",
        );
        return None;
    };
    if engine.value != ENGINE {
        if strsim::osa_distance(&engine.value.to_lowercase(), ENGINE) <= 2 {
            problems.add(
                engine.referenced,
                unknown("engine", &engine.value, &[ENGINE]),
            );
        }
        return None;
    }
    let at = implementation.referenced;
    match &implementation.value {
        OdcsValue::Text(word) if word == "currency" => Some(ParsedRule::Check(RuleCheck::Currency)),
        OdcsValue::Text(word) if word == "timeZone" => Some(ParsedRule::Check(RuleCheck::TimeZone)),
        OdcsValue::Text(word) if word == "unit" => Some(ParsedRule::Check(RuleCheck::Unit)),
        OdcsValue::Text(word) if word == "atLeast" || word == "atMost" => {
            problems.add(
                at,
                format!("`{word}` needs its bound: write `implementation: {{ {word}: 0 }}`"),
            );
            None
        }
        OdcsValue::Text(word) if record_rules::KNOWN.contains(&word.as_str()) => {
            problems.add(at, record_rules::wanted(word));
            None
        }
        OdcsValue::Text(word) => {
            problems.add(at, unknown("implementation", word, &KNOWN));
            None
        }
        OdcsValue::Map(map) => with_arguments(map, at, problems),
        _ => {
            problems.add(
                at,
                format!("expected `currency`, `timeZone`, `unit`, {MAPS}"),
            );
            None
        }
    }
}

fn with_arguments(
    map: &BTreeMap<String, OdcsValue>,
    at: FileLocation,
    problems: &mut ContractProblems,
) -> Option<ParsedRule> {
    const KNOWN: [&str; 11] = [
        "atLeast",
        "atMost",
        "sum",
        "product",
        "tax",
        "localTime",
        "amount",
        "rate",
        "state",
        "present",
        "absent",
    ];
    let (Some((key, value)), 1) = (map.iter().next(), map.len()) else {
        problems.add(at, format!("`implementation` says one thing: {MAPS}"));
        return None;
    };
    match (key.as_str(), value) {
        ("atLeast", OdcsValue::Int(bound)) => Some(ParsedRule::Check(RuleCheck::AtLeast(*bound))),
        ("atMost", OdcsValue::Int(bound)) => Some(ParsedRule::Check(RuleCheck::AtMost(*bound))),
        ("atLeast" | "atMost", _) => {
            problems.add(at, format!("`{key}` takes one whole number"));
            None
        }
        (key, value) if record_rules::KNOWN.contains(&key) => {
            record_rules::read(key, value, at, problems)
                .map(|(path, check)| ParsedRule::Across(path, check))
        }
        (key, _) => {
            problems.add(at, unknown("implementation", key, &KNOWN));
            None
        }
    }
}

fn fits(
    check: &RuleCheck,
    kind: &ColumnKind,
    class: ColumnClass,
    at: FileLocation,
    problems: &mut ContractProblems,
) -> Option<()> {
    // The rule of an array of strings is about each of them.
    let kind = if let ColumnKind::List(element) = kind {
        &element.kind
    } else {
        kind
    };
    let (fitting, expected) = match check {
        RuleCheck::AtLeast(_) | RuleCheck::AtMost(_) => (
            matches!(kind, ColumnKind::Int | ColumnKind::Decimal { .. }),
            "a whole or decimal number",
        ),
        RuleCheck::OneOf(_) | RuleCheck::Currency | RuleCheck::TimeZone | RuleCheck::Unit => {
            (*kind == ColumnKind::Text, "a string")
        }
        RuleCheck::Unique
        | RuleCheck::Sum(_)
        | RuleCheck::Product(_)
        | RuleCheck::Tax(_)
        | RuleCheck::LocalTime(_)
        | RuleCheck::Amount(_)
        | RuleCheck::Rate(_)
        | RuleCheck::State(_)
        | RuleCheck::Present(_)
        | RuleCheck::Absent(_) => (true, ""),
    };
    if !fitting {
        problems.add(at, format!("this rule needs a column that is {expected}"));
        return None;
    }
    if class != ColumnClass::Open {
        problems.add(
            at,
            "a rule cannot be checked where the value is not stored as it came",
        );
        return None;
    }
    Some(())
}
