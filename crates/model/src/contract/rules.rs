//! From quality entries as written to rules over a record.
//!
//! Invariant: a rule that comes out can be checked on its column: it is stored as the source wrote it, and its type fits. (A rule over
//! several columns is looked at again once all are known, see `across`.) What another engine checks is left to that engine;
//! what this house would have to check and does not know is refused.

use super::across;
use super::problems::{Problems, unknown};
use super::written::{Quality, Value};
use crate::table::{Check, Class, Kind, Rule};
use crate::yaml::{Location, Spanned};
use std::collections::BTreeMap;

/// The name by which quality entries of type `custom` call this house.
const ENGINE: &str = "tillhouse";

/// A rule, and where it stands.
pub(super) struct Found {
    pub(super) rule: Rule,
    pub(super) at: Location,
    /// For [`Check::Unique`]: the columns that are said to be unique together.
    pub(super) unique: Vec<Vec<String>>,
}

impl Found {
    pub(super) fn unique(name: String, columns: Vec<Vec<String>>, at: Location) -> Self {
        let path = columns.first().cloned().unwrap_or_default();
        Self { rule: Rule { name, path, check: Check::Unique }, at, unique: columns }
    }
}

/// Reads one quality entry of a column, or of the table where `column` is `None`.
pub(super) fn read_rules(
    written: &Spanned<Quality>,
    path: &[String],
    column: Option<(&Kind, Class)>,
    problems: &mut Problems,
) -> Option<Found> {
    let quality = &written.value;
    if let Some(rule) = &quality.rule {
        problems.add(rule.referenced, "`rule` is the old name of this key; write `metric`");
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
            let text = unknown("type of quality rule", other, &["library", "custom", "text"]);
            problems.add(sort.map_or(written.referenced, |s| s.referenced), text);
            return None;
        }
    };
    let Some(name) = quality.name.as_ref().filter(|n| super::columns::is_name(&n.value)) else {
        let at = quality.name.as_ref().map_or(written.referenced, |n| n.referenced);
        problems
            .add(at, "a quality rule needs a `name` of letters, digits and underscores: breaches are listed under it");
        return None;
    };
    let at = written.referenced;
    match check {
        Named::Unique(columns) => Some(Found::unique(name.value.clone(), columns, at)),
        Named::Across(..) if column.is_some() => {
            problems.add(at, "this rule compares columns: write it under the table's own `quality`");
            None
        }
        Named::Across(path, check) => {
            Some(Found { rule: Rule { name: name.value.clone(), path, check }, at, unique: Vec::new() })
        }
        Named::Check(check) => {
            let Some((kind, class)) = column else {
                problems.add(at, "this rule is about one column: write it under that column");
                return None;
            };
            fits(&check, kind, class, at, problems)?;
            let rule = Rule { name: name.value.clone(), path: path.to_vec(), check };
            Some(Found { rule, at, unique: Vec::new() })
        }
    }
}

enum Named {
    Check(Check),
    Unique(Vec<Vec<String>>),
    /// The column that is compared, and with what.
    Across(Vec<String>, Check),
}

fn library(written: &Spanned<Quality>, path: &[String], of_table: bool, problems: &mut Problems) -> Option<Named> {
    let quality = &written.value;
    let Some(metric) = &quality.metric else {
        problems.add(written.referenced, "a quality rule needs a `metric`, or `type: custom` with engine tillhouse");
        return None;
    };
    if quality.must_be.as_ref().is_none_or(|m| m.value != Value::Int(0)) {
        let at = quality.must_be.as_ref().map_or(metric.referenced, |m| m.referenced);
        problems.add(at, "rules are checked record by record: write `mustBe: 0`");
        return None;
    }
    let argument = |key: &str, problems: &mut Problems| -> Option<Vec<String>> {
        for (other, value) in &quality.arguments {
            if other != key {
                problems.add(value.referenced, unknown("argument", other, &[key]));
            }
        }
        let value = quality.arguments.get(key);
        let texts = value.and_then(|v| v.value.as_texts()).map(|texts| texts.into_iter().map(str::to_owned).collect());
        if texts.is_none() {
            let at = value.map_or(metric.referenced, |v| v.referenced);
            problems.add(at, format!("`{}` needs the argument `{key}`: a list of strings", metric.value));
        }
        texts
    };
    match metric.value.as_str() {
        "invalidValues" => argument("validValues", problems).map(|values| Named::Check(Check::OneOf(values))),
        "duplicateValues" if of_table => argument("properties", problems)
            .map(|names| Named::Unique(names.iter().map(|n| n.split('.').map(str::to_owned).collect()).collect())),
        "duplicateValues" => Some(Named::Unique(vec![path.to_vec()])),
        "nullValues" | "missingValues" => {
            problems.add(
                metric.referenced,
                "write `required: true` at the column instead: a record without it is rejected; or the rule `present`, which warns",
            );
            None
        }
        other => {
            problems.add(metric.referenced, unknown("metric", other, &["invalidValues", "duplicateValues"]));
            None
        }
    }
}

/// The rules that are written as a map.
const MAPS: &str = "`{ atLeast: 0 }`, `{ atMost: 100 }`, `{ sum: ... }`, `{ product: ... }`, `{ localTime: ... }`, `{ amount: ... }`, `{ rate: ... }`, `{ state: ... }` or `{ present: ... }`";

fn custom(written: &Spanned<Quality>, problems: &mut Problems) -> Option<Named> {
    const KNOWN: [&str; 11] = [
        "currency",
        "timeZone",
        "atLeast",
        "atMost",
        "sum",
        "product",
        "localTime",
        "amount",
        "rate",
        "state",
        "present",
    ];
    let quality = &written.value;
    let (Some(engine), Some(implementation)) = (&quality.engine, &quality.implementation) else {
        problems.add(written.referenced, "a custom rule needs `engine` and `implementation`");
        return None;
    };
    if engine.value != ENGINE {
        if strsim::osa_distance(&engine.value.to_lowercase(), ENGINE) <= 2 {
            problems.add(engine.referenced, unknown("engine", &engine.value, &[ENGINE]));
        }
        return None;
    }
    let at = implementation.referenced;
    match &implementation.value {
        Value::Text(word) if word == "currency" => Some(Named::Check(Check::Currency)),
        Value::Text(word) if word == "timeZone" => Some(Named::Check(Check::TimeZone)),
        Value::Text(word) if word == "atLeast" || word == "atMost" => {
            problems.add(at, format!("`{word}` needs its bound: write `implementation: {{ {word}: 0 }}`"));
            None
        }
        Value::Text(word) if across::KNOWN.contains(&word.as_str()) => {
            problems.add(at, across::wanted(word));
            None
        }
        Value::Text(word) => {
            problems.add(at, unknown("implementation", word, &KNOWN));
            None
        }
        Value::Map(map) => with_arguments(map, at, problems),
        _ => {
            problems.add(at, format!("expected `currency`, `timeZone`, {MAPS}"));
            None
        }
    }
}

fn with_arguments(map: &BTreeMap<String, Value>, at: Location, problems: &mut Problems) -> Option<Named> {
    const KNOWN: [&str; 9] = ["atLeast", "atMost", "sum", "product", "localTime", "amount", "rate", "state", "present"];
    let (Some((key, value)), 1) = (map.iter().next(), map.len()) else {
        problems.add(at, format!("`implementation` says one thing: {MAPS}"));
        return None;
    };
    match (key.as_str(), value) {
        ("atLeast", Value::Int(bound)) => Some(Named::Check(Check::AtLeast(*bound))),
        ("atMost", Value::Int(bound)) => Some(Named::Check(Check::AtMost(*bound))),
        ("atLeast" | "atMost", _) => {
            problems.add(at, format!("`{key}` takes one whole number"));
            None
        }
        (key, value) if across::KNOWN.contains(&key) => {
            across::read(key, value, at, problems).map(|(path, check)| Named::Across(path, check))
        }
        (key, _) => {
            problems.add(at, unknown("implementation", key, &KNOWN));
            None
        }
    }
}

fn fits(check: &Check, kind: &Kind, class: Class, at: Location, problems: &mut Problems) -> Option<()> {
    // The rule of an array of strings is about each of them.
    let kind = if let Kind::List(element) = kind { &element.kind } else { kind };
    let (fitting, expected) = match check {
        Check::AtLeast(_) | Check::AtMost(_) => {
            (matches!(kind, Kind::Int | Kind::Decimal { .. }), "a whole or decimal number")
        }
        Check::OneOf(_) | Check::Currency | Check::TimeZone => (*kind == Kind::Text, "a string"),
        Check::Unique
        | Check::Sum(_)
        | Check::Product(_)
        | Check::LocalTime(_)
        | Check::Amount(_)
        | Check::Rate(_)
        | Check::State(_)
        | Check::Present(_) => (true, ""),
    };
    if !fitting {
        problems.add(at, format!("this rule needs a column that is {expected}"));
        return None;
    }
    if class != Class::Open {
        problems.add(at, "a rule cannot be checked where the value is not stored as it came");
        return None;
    }
    Some(())
}
