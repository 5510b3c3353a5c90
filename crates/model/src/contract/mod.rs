//! Data contracts: Open Data Contract Standard YAML, parsed once into a [`TableSpec`].
//!
//! Invariant: what [`parse`] returns is complete and consistent, see [`TableSpec`]; what it refuses, it refuses with file, line,
//! column and what was expected, all problems of a file at once.
//!
//! A contract is read in two stages: as written (`written`, the standard's keys with their places), then as meant (`columns`,
//! `rules`, and here the table as a whole). `docs/contracts.md` is the user's side of this.
//!
//! ```text
//!   YAML --serde--> written --columns, rules--> what each column is --here--> TableSpec
//!                      |             |                                 |
//!                      +-------------+----------- problems ------------+
//! ```
//!
//! Rejected: a format of our own (nobody's tools would read it), and a general tree of YAML values with one walk over it (a key
//! that is misspelt would be found by hand-written code only, where a struct finds it by itself).

mod columns;
mod faulty_parts;
mod odcs;
mod problems;
mod record_rules;
mod rules;

use crate::error::Result;
use crate::table::{
    ColumnClass, ColumnKind, ColumnSpec, MONTH, PIPELINE, TableRole, TableSpec, UnknownFields,
};
use crate::time::parse_duration;
use crate::yaml::{FileLocation, PartialRead, Spanned, YamlFaultKind, YamlNode};
use columns::{ColumnWalk, is_name};
use faulty_parts::FaultyParts;
use jiff::SignedDuration;
use odcs::{OdcsContract, OdcsCustomProperty, OdcsEdition, OdcsProperty, OdcsTable, OdcsValue};
use problems::{ContractProblems, unknown};
use rules::LocatedRule;
use serde::de::DeserializeOwned;

/// The value of `dataProduct` that marks a contract of a unified table.
pub const UNIFIED: &str = "unified";

/// Default span that a record's time may move by between versions: 45 days.
pub const MOVES_WITHIN: SignedDuration = SignedDuration::from_hours(45 * 24);

/// Parses one contract: an Open Data Contract Standard file, v3.1.0 or later, with exactly one schema object.
///
/// `file` is what errors call the text. Errors with [`crate::ErrorKind::Config`] and the place, `file:line:column`, of
/// every problem.
///
/// ```
/// let contract = r#"
/// apiVersion: v3.1.0
/// kind: DataContract
/// id: kiosk-sales
/// version: 1.0.0
/// status: active
/// dataProduct: kiosk
/// schema:
///   - name: sales
///     description: One sale.
///     properties:
///       - { name: id, description: Its number., logicalType: integer, required: true, primaryKey: true }
///       - { name: kiosk, physicalName: kioskName, description: Where., logicalType: string }
/// "#;
/// let spec = tillhouse_model::contract::parse(contract, "sales.yaml")?;
/// assert_eq!(spec.qualified_name(), "kiosk.sales");
/// assert_eq!(spec.column("kiosk").unwrap().json_name, "kioskName");
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
pub fn parse(text: &str, file: &str) -> Result<TableSpec> {
    let mut problems = ContractProblems::default();
    let spec = read(text, &mut problems);
    problems.into_result(file)?;
    spec.ok_or_else(|| {
        crate::Error::internal("a contract was refused without a reason").at("file", file)
    })
}

fn read(text: &str, problems: &mut ContractProblems) -> Option<TableSpec> {
    let (node, faults) = YamlNode::parse_partly(text);
    faults.iter().for_each(|fault| problems.add_fault(fault));
    let node = node?;
    let edition: OdcsEdition = yaml(&node, problems)?;
    check_edition(&edition, problems)?;
    let mut faulty = FaultyParts::default();
    faulty.add_absent(&node);
    let contract: OdcsContract = written(&node, &mut faulty, problems)?;
    let told = problems.count();
    let spec = as_meant(&contract, problems);
    // A contract that lacks a part that was refused is told of that part alone.
    problems.retain_from(told, |place, text| !faulty.explain(place, text));
    spec.filter(|_| faulty.is_empty())
}

/// The table that a contract means.
fn as_meant(contract: &OdcsContract, problems: &mut ContractProblems) -> Option<TableSpec> {
    for (key, value) in [
        ("id", &contract.id),
        ("version", &contract.version),
        ("status", &contract.status),
    ] {
        if value.is_none() {
            problems.add(
                FileLocation::UNKNOWN,
                format!("the key `{key}` is missing; the standard wants it"),
            );
        }
    }
    let source = match &contract.data_product {
        Some(name) if is_name(&name.value) => Some(name.value.clone()),
        Some(name) => {
            let text = format!(
                "`dataProduct` is the source's name, or unified; `{}` is not a name",
                name.value
            );
            problems.add(name.referenced, text);
            None
        }
        None => {
            problems.add(
                FileLocation::UNKNOWN,
                "the key `dataProduct` is missing: the source's name, or unified",
            );
            None
        }
    };
    let table = match contract
        .schema
        .as_ref()
        .map(|s| (s.referenced, s.value.as_slice()))
    {
        Some((_, [one])) => Some(one),
        Some((_, [_, second, ..])) => {
            problems.add(
                second.referenced,
                "expected one schema object a file, found a second one",
            );
            None
        }
        Some((at, [])) => {
            problems.add(at, "expected one schema object, found none");
            None
        }
        None => {
            problems.add(
                FileLocation::UNKNOWN,
                "the key `schema` is missing: a list with one table",
            );
            None
        }
    };
    table_spec(source?, table?, problems)
}

fn yaml<T: DeserializeOwned>(node: &YamlNode, problems: &mut ContractProblems) -> Option<T> {
    node.read_all()
        .map_err(|faults| faults.iter().for_each(|fault| problems.add_fault(fault)))
        .ok()
}

/// The contract as written, as far as it can be read: what is wrong with it goes to `problems`, and where it stands to `faulty`.
fn written<T: DeserializeOwned>(
    node: &YamlNode,
    faulty: &mut FaultyParts,
    problems: &mut ContractProblems,
) -> Option<T> {
    let PartialRead {
        value,
        faults,
        made_up,
        ..
    } = node.read_partly();
    for fault in &faults {
        if !matches!(fault.what, YamlFaultKind::UnknownKey { .. }) {
            faulty.add(node, &fault.path());
        }
        problems.add_fault(fault);
    }
    value.filter(|_| made_up.is_empty())
}

fn check_edition(edition: &OdcsEdition, problems: &mut ContractProblems) -> Option<()> {
    match &edition.kind {
        Some(kind) if kind.value == "DataContract" => {}
        Some(kind) => {
            problems.add(
                kind.referenced,
                format!("expected `kind: DataContract`, found `{}`", kind.value),
            );
            return None;
        }
        None => {
            problems.add(
                FileLocation::UNKNOWN,
                "the key `kind` is missing: expected `kind: DataContract`",
            );
            return None;
        }
    }
    let Some(version) = &edition.api_version else {
        problems.add(
            FileLocation::UNKNOWN,
            "the key `apiVersion` is missing: v3.1.0 or later",
        );
        return None;
    };
    let numbers: Option<Vec<u32>> = version
        .value
        .strip_prefix('v')
        .and_then(|v| v.split('.').map(|n| n.parse().ok()).collect());
    let text = match numbers.as_deref() {
        Some([3, minor, _]) if *minor >= 1 => return Some(()),
        Some([0..=3, ..]) => {
            format!(
                "apiVersion {} is too old: expected v3.1.0 or a later v3 of the Open Data Contract Standard",
                version.value
            )
        }
        Some([_, _, _]) => format!(
            "apiVersion {} is not known here: expected v3.1.0 or a later v3",
            version.value
        ),
        _ => format!(
            "`{}` is no apiVersion: expected v3.1.0 or a later v3",
            version.value
        ),
    };
    problems.add(version.referenced, text);
    None
}

/// Custom properties of a table.
#[derive(Default)]
struct TableOptions<'w> {
    role: Option<&'w Spanned<OdcsValue>>,
    record_time: Option<&'w Spanned<OdcsValue>>,
    updated_at: Option<&'w Spanned<OdcsValue>>,
    moves_within: Option<&'w Spanned<OdcsValue>>,
    unknown: Option<&'w Spanned<OdcsValue>>,
}

impl<'w> TableOptions<'w> {
    fn read(written: &'w [OdcsCustomProperty], problems: &mut ContractProblems) -> Self {
        const KNOWN: [&str; 5] = ["role", "recordTime", "updatedAt", "movesWithin", "unknown"];
        let mut said = Self::default();
        for OdcsCustomProperty {
            property, value, ..
        } in written
        {
            let slot = match property.value.as_str() {
                "role" => &mut said.role,
                "recordTime" => &mut said.record_time,
                "updatedAt" => &mut said.updated_at,
                "movesWithin" => &mut said.moves_within,
                "unknown" => &mut said.unknown,
                other => {
                    problems.add(
                        property.referenced,
                        unknown("custom property", other, &KNOWN),
                    );
                    continue;
                }
            };
            if slot.replace(value).is_some() {
                problems.add(
                    property.referenced,
                    format!("the custom property `{}` stands here twice", property.value),
                );
            }
        }
        said
    }
}

fn table_spec(
    source: String,
    written: &Spanned<OdcsTable>,
    problems: &mut ContractProblems,
) -> Option<TableSpec> {
    let (table, at) = (&written.value, written.referenced);
    let name = match &table.name {
        Some(name) if is_name(&name.value) => name.clone(),
        Some(name) => {
            let text = format!(
                "`{}` cannot name a table: expected a letter, then letters, digits and underscores",
                name.value
            );
            problems.add(name.referenced, text);
            return None;
        }
        None => {
            problems.add(at, "a table needs a `name`");
            return None;
        }
    };
    if let Some(logical) = table.logical_type.as_ref().filter(|t| t.value != "object") {
        problems.add(
            logical.referenced,
            format!("a table's logicalType is object, found `{}`", logical.value),
        );
    }
    let said = TableOptions::read(&table.custom_properties, problems);
    let role = role(&source, &said, at, problems)?;
    if table.properties.is_empty() {
        problems.add(at, format!("the table `{}` needs `properties`", name.value));
        return None;
    }

    let before = problems.count();
    let mut walk = ColumnWalk::new(problems, role);
    let columns = walk.columns(&table.properties);
    let mut found = walk.rules;
    for quality in &table.quality {
        found.extend(rules::read_rules(quality, &[], None, problems));
    }
    // The checks that follow look columns up; a column that was refused would be missed a second time.
    if problems.count() > before {
        return None;
    }
    let key = key(&table.properties, &columns, role, name.referenced, problems);
    let partition_by = partition(&table.properties, role, name.referenced, problems);
    check_rules(&mut found, &key, &columns, problems);
    let record_time = record_time(&said, &columns, role, problems);
    Some(TableSpec {
        source,
        name: name.value,
        description: table
            .description
            .as_ref()
            .map(|d| d.value.trim().to_owned())
            .unwrap_or_default(),
        role,
        updated_at: said
            .updated_at
            .and_then(|v| updated_at(v, &columns, role, problems)),
        moves_within: moves_within(&said, record_time.is_empty(), problems),
        record_time,
        key,
        partition_by,
        unknown: unknown_fields(&said, problems),
        rules: found.into_iter().map(|f| f.rule).collect(),
        columns,
    })
}

fn role(
    source: &str,
    said: &TableOptions<'_>,
    at: FileLocation,
    problems: &mut ContractProblems,
) -> Option<TableRole> {
    match (source == UNIFIED, said.role) {
        (false, None) => Some(TableRole::Source),
        (true, Some(value)) => match value.value.as_text() {
            Some("fact") => Some(TableRole::Fact),
            Some("dimension") => Some(TableRole::Dimension),
            other => {
                problems.add(
                    value.referenced,
                    unknown("role", other.unwrap_or_default(), &["fact", "dimension"]),
                );
                None
            }
        },
        (true, None) => {
            problems.add(
                at,
                "a unified table needs the custom property `role`: `fact` or `dimension`",
            );
            None
        }
        (false, Some(value)) => {
            problems.add(
                value.referenced,
                "`role` is for contracts with `dataProduct: unified`",
            );
            None
        }
    }
}

/// Properties that are marked, in the order of their positions, which have to be 1, 2, 3 and so on where there are several.
fn marked<'w>(
    properties: &'w [Spanned<OdcsProperty>],
    mark: impl Fn(&OdcsProperty) -> Option<&Spanned<bool>>,
    position: impl Fn(&OdcsProperty) -> Option<&Spanned<i64>>,
    keys: (&str, &str),
    problems: &mut ContractProblems,
) -> Vec<(&'w str, FileLocation)> {
    let mut all = Vec::new();
    for property in properties {
        let Some(name) = &property.value.name else {
            continue;
        };
        let place = position(&property.value);
        match mark(&property.value).filter(|m| m.value) {
            Some(mark) => all.push((place, name.value.as_str(), mark.referenced)),
            // The standard's default is -1.
            None => {
                if let Some(place) = place.filter(|p| p.value != -1) {
                    problems.add(
                        place.referenced,
                        format!("`{}` needs `{}: true` beside it", keys.1, keys.0),
                    );
                }
            }
        }
    }
    all.sort_by_key(|(place, _, _)| place.map_or(i64::MAX, |p| p.value));
    for (index, (place, _, at)) in all.iter().enumerate() {
        let expected = i64::try_from(index + 1).unwrap_or(i64::MAX);
        let stated = place.map(|p| p.value);
        if stated != Some(expected) && (all.len() > 1 || stated.is_some()) {
            let text = format!(
                "`{}` counts 1, 2, 3 and so on, without gaps: expected {expected}",
                keys.1
            );
            problems.add(place.map_or(*at, |p| p.referenced), text);
        }
    }
    all.into_iter().map(|(_, name, at)| (name, at)).collect()
}

fn key(
    properties: &[Spanned<OdcsProperty>],
    columns: &[ColumnSpec],
    role: TableRole,
    at: FileLocation,
    problems: &mut ContractProblems,
) -> Vec<String> {
    let keys = ("primaryKey", "primaryKeyPosition");
    let key = marked(
        properties,
        |p| p.primary_key.as_ref(),
        |p| p.primary_key_position.as_ref(),
        keys,
        problems,
    );
    if key.is_empty() {
        problems.add(
            at,
            "a table needs a key: mark its column, or columns, with `primaryKey: true`",
        );
    }
    if role != TableRole::Source && key.len() > 1 {
        problems.add(
            at,
            "the key of a unified table is one column, `<pipeline>:<id>`",
        );
    }
    for (name, at) in &key {
        let Some(column) = columns.iter().find(|c| c.name == *name) else {
            continue;
        };
        if !column.required {
            problems.add(
                *at,
                format!("the key column `{name}` must be `required: true`"),
            );
        }
        if !matches!(column.kind, ColumnKind::Text | ColumnKind::Int)
            || (role != TableRole::Source && column.kind != ColumnKind::Text)
        {
            problems.add(
                *at,
                format!(
                    "the key column `{name}` must be a string{}",
                    if role == TableRole::Source {
                        " or an integer"
                    } else {
                        ""
                    }
                ),
            );
        }
        if !matches!(column.class, ColumnClass::Open | ColumnClass::Pseudonym(_)) {
            problems.add(
                *at,
                format!("the key column `{name}` must be stored whole, or as a pseudonym"),
            );
        }
    }
    key.into_iter().map(|(name, _)| name.to_owned()).collect()
}

fn partition(
    properties: &[Spanned<OdcsProperty>],
    role: TableRole,
    at: FileLocation,
    problems: &mut ContractProblems,
) -> Vec<String> {
    let keys = ("partitioned", "partitionKeyPosition");
    let by = marked(
        properties,
        |p| p.partitioned.as_ref(),
        |p| p.partition_key_position.as_ref(),
        keys,
        problems,
    );
    let expected: &[&str] = match role {
        TableRole::Source => {
            for (_, at) in &by {
                problems
                    .add(*at, "source tables are partitioned by the month of the record time, which is added to them");
            }
            return vec![MONTH.to_owned()];
        }
        TableRole::Fact => &[PIPELINE, MONTH],
        TableRole::Dimension => &[PIPELINE],
    };
    let names: Vec<&str> = by.iter().map(|(name, _)| *name).collect();
    if names != expected {
        problems.add(
            at,
            format!(
                "this table must be partitioned by {}, in this order",
                expected.join(", ")
            ),
        );
    }
    for (name, at) in by {
        let property = properties
            .iter()
            .map(|p| &p.value)
            .find(|p| p.name.as_ref().is_some_and(|n| n.value == name));
        let is_text =
            |p: &OdcsProperty| p.logical_type.as_ref().is_some_and(|t| t.value == "string");
        if !property.is_some_and(|p| is_text(p) && p.required.as_ref().is_some_and(|r| r.value)) {
            problems.add(
                at,
                format!("the partition column `{name}` must be a string and `required: true`"),
            );
        }
    }
    expected.iter().map(|n| (*n).to_owned()).collect()
}

fn check_rules(
    found: &mut [LocatedRule],
    key: &[String],
    columns: &[ColumnSpec],
    problems: &mut ContractProblems,
) {
    let mut names: Vec<String> = Vec::new();
    for LocatedRule { rule, at, unique } in found.iter_mut() {
        if names.contains(&rule.name) {
            problems.add(*at, format!("two quality rules are named `{}`", rule.name));
        }
        names.push(rule.name.clone());
        if let Err(why) = record_rules::fits(&rule.path, &rule.check, columns) {
            problems.add(*at, format!("the rule `{}`: {why}", rule.name));
        }
        if unique.is_empty() {
            continue;
        }
        // In a list: among its elements.
        if let [path] = unique.as_slice()
            && is_of_an_element(columns, path)
        {
            rule.path.clone_from(path);
            continue;
        }
        let mut said: Vec<String> = unique.iter().map(|path| path.join(".")).collect();
        let mut wanted = key.to_vec();
        said.sort();
        wanted.sort();
        if said != wanted {
            problems.add(
                *at,
                format!(
                    "only the key can be checked for duplicates, and the key is {}",
                    key.join(", ")
                ),
            );
        }
        rule.path = key.to_vec();
    }
}

/// True if a path leads to what can identify the elements of a list: an open text or whole number right below a list of objects.
fn is_of_an_element(columns: &[ColumnSpec], path: &[String]) -> bool {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    let Some((_, list)) = names.split_last() else {
        return false;
    };
    let is_list =
        find(columns, list).is_ok_and(|(column, _)| matches!(column.kind, ColumnKind::List(_)));
    let tells = |column: &ColumnSpec| {
        matches!(column.kind, ColumnKind::Text | ColumnKind::Int)
            && column.class == ColumnClass::Open
    };
    is_list && find(columns, &names).is_ok_and(|(column, _)| tells(column))
}

/// The column at a path of names, and whether the path leads through a list.
fn find<'c>(columns: &'c [ColumnSpec], path: &[&str]) -> Result<(&'c ColumnSpec, bool), String> {
    let Some((name, rest)) = path.split_first() else {
        return Err("an empty path names no column".to_owned());
    };
    let Some(column) = columns.iter().find(|c| c.name == *name) else {
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        return Err(unknown("column", name, &names));
    };
    if !column.class.is_stored() {
        return Err(format!(
            "`{name}` is never stored, so nothing can be told from it"
        ));
    }
    if rest.is_empty() {
        return Ok((column, matches!(column.kind, ColumnKind::List(_))));
    }
    let (mut kind, mut through_list) = (&column.kind, false);
    while let ColumnKind::List(element) = kind {
        (kind, through_list) = (&element.kind, true);
    }
    let ColumnKind::Struct(inner) = kind else {
        return Err(format!("`{name}` is no object: nothing lies below it"));
    };
    find(inner, rest).map(|(found, list)| (found, list || through_list))
}

/// The path, if it leads to an instant.
fn instant_path(text: &str, columns: &[ColumnSpec]) -> Result<(Vec<String>, bool), String> {
    let path: Vec<&str> = text.split('.').collect();
    let (column, through_list) = find(columns, &path).map_err(|why| format!("`{text}`: {why}"))?;
    if !matches!(column.kind, ColumnKind::Timestamp(_)) {
        return Err(format!("`{text}` is not a timestamp"));
    }
    Ok((path.into_iter().map(str::to_owned).collect(), through_list))
}

fn record_time(
    said: &TableOptions<'_>,
    columns: &[ColumnSpec],
    role: TableRole,
    problems: &mut ContractProblems,
) -> Vec<Vec<String>> {
    let Some(value) = said.record_time else {
        return Vec::new();
    };
    if role != TableRole::Source {
        problems.add(
            value.referenced,
            "`recordTime` is for source tables; a unified row has its record's",
        );
        return Vec::new();
    }
    let Some(texts) = value.value.as_texts() else {
        let text = "`recordTime` is a list of paths, for example [invoice.created_at, payments.created_at]";
        problems.add(value.referenced, text);
        return Vec::new();
    };
    let mut paths = Vec::new();
    for text in texts {
        match instant_path(text, columns) {
            Ok((path, _)) => paths.push(path),
            Err(why) => problems.add(value.referenced, format!("recordTime {why}")),
        }
    }
    paths
}

fn updated_at(
    value: &Spanned<OdcsValue>,
    columns: &[ColumnSpec],
    role: TableRole,
    problems: &mut ContractProblems,
) -> Option<Vec<String>> {
    let Some(text) = value.value.as_text().filter(|_| role == TableRole::Source) else {
        problems.add(
            value.referenced,
            "`updatedAt` is one path in a source table, for example updated_at",
        );
        return None;
    };
    match instant_path(text, columns) {
        Ok((path, false)) => Some(path),
        Ok((_, true)) => {
            problems.add(
                value.referenced,
                format!("updatedAt `{text}` leads through an array: a record has one such time"),
            );
            None
        }
        Err(why) => {
            problems.add(value.referenced, format!("updatedAt {why}"));
            None
        }
    }
}

fn moves_within(
    said: &TableOptions<'_>,
    timeless: bool,
    problems: &mut ContractProblems,
) -> SignedDuration {
    let Some(value) = said.moves_within else {
        return MOVES_WITHIN;
    };
    if timeless {
        problems.add(
            value.referenced,
            "`movesWithin` is about the record time: say `recordTime` too",
        );
        return MOVES_WITHIN;
    }
    value
        .value
        .as_text()
        .and_then(|text| parse_duration(text).ok())
        .unwrap_or_else(|| {
            problems.add(
                value.referenced,
                "`movesWithin` is a whole number and a unit: 90s, 10m, 12h, 45d or 6w",
            );
            MOVES_WITHIN
        })
}

fn unknown_fields(said: &TableOptions<'_>, problems: &mut ContractProblems) -> UnknownFields {
    match said
        .unknown
        .map(|value| (value.value.as_text(), value.referenced))
    {
        None | Some((Some("count"), _)) => UnknownFields::Count,
        Some((Some("keep"), _)) => UnknownFields::Keep,
        Some((other, at)) => {
            problems.add(
                at,
                unknown(
                    "treatment of unknown fields",
                    other.unwrap_or_default(),
                    &["count", "keep"],
                ),
            );
            UnknownFields::Count
        }
    }
}
