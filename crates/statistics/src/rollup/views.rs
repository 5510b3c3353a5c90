//! The views of the levels, `statistics.daily_transactions` and the like, and the notes on the roll-ups.
//!
//! Invariant: a view has the rows of one level and the columns it tells apart or adds up, so that nobody adds up two levels, which are
//! sums of the same sales.

use super::fact::{RolledFact, SITE};
use super::level::{LEVELS, LOCAL_HOURS, Level, UTC_HOURS};
use super::table::{self, TABLE};
use super::{FACTS, SCHEMA, START};
use std::collections::BTreeMap;
use tillhouse_model::table::{LEVEL, PERIOD};
use tillhouse_model::{ColumnNote, DataDictionary, TableNote};
use tillhouse_query::{SqlView, ViewTables};

/// The views, one a level.
pub(crate) fn level_views() -> Vec<SqlView> {
    vec![
        view::<0>(),
        view::<1>(),
        view::<2>(),
        view::<3>(),
        view::<4>(),
        view::<5>(),
        view::<6>(),
        view::<7>(),
        view::<8>(),
        view::<9>(),
        view::<10>(),
        view::<11>(),
        view::<12>(),
        view::<13>(),
    ]
}

/// The view of the level at a place. A view's query is a function without a state: this one has its level by its type.
fn view<const AT: usize>() -> SqlView {
    let level = &LEVELS[AT];
    SqlView {
        name: level.name,
        description: "Sums of sales from which statistics answer.",
        notes: &[],
        over: TABLE,
        beside: &[],
        definition: definition::<AT>,
    }
}

fn definition<const AT: usize>(tables: &ViewTables) -> Option<String> {
    let level = &LEVELS[AT];
    let columns = level.view_columns();
    let is_there = |(name, _): &(String, String)| tables.has_column(TABLE, name);
    if !columns.iter().all(is_there) {
        return None;
    }
    let shown: Vec<String> = columns
        .into_iter()
        .map(|(name, shown)| match name == shown {
            // The table has it as null of the other facts.
            true if name == level.fact.count => format!("coalesce({name}, 0) AS {name}"),
            true => name,
            false => format!("{name} AS {shown}"),
        })
        .collect();
    Some(format!(
        "SELECT {}\nFROM {TABLE}\nWHERE {LEVEL} = '{}'",
        shown.join(", "),
        level.name
    ))
}

/// Meaning of a column that files are apart by.
const OF_PERIOD: &str = "UTC month or year that the row lies in, YYYY-MM or YYYY, or none. The table is partitioned by it.";

/// A fact, and the notes on its columns.
type NotedFact = (&'static RolledFact, BTreeMap<String, ColumnNote>);

/// Adds notes on the roll-ups: their labels mean what they do in the facts.
pub(crate) fn add_notes(dictionary: &mut DataDictionary) {
    let with_notes = |fact: &'static RolledFact| {
        let of_fact = dictionary.table(tillhouse_query::DEFAULT_SCHEMA, fact.name);
        let of_fact = of_fact.map(|note| note.columns.clone());
        (fact, of_fact.unwrap_or_default())
    };
    let facts: Vec<NotedFact> = FACTS.into_iter().map(with_notes).collect();
    dictionary.add(SCHEMA, TABLE, table_note(&facts));
    for (fact, of_fact) in &facts {
        for level in Level::of(fact) {
            dictionary.add(SCHEMA, level.name, view_note(level, of_fact));
        }
    }
}

fn table_note(facts: &[NotedFact]) -> TableNote {
    let names: Vec<&str> = LEVELS.iter().map(|level| level.name).collect();
    let of_level = format!(
        "Level of the row, and the name of its view: {}. Levels of transactions add up the same transactions, and so on.",
        names.join(", ")
    );
    let of_table = |name: &str| match name {
        START => Some("Start of the day, month or year, UTC.".to_owned()),
        LEVEL => Some(of_level.clone()),
        PERIOD => Some(OF_PERIOD.to_owned()),
        _ => None,
    };
    let schema = table::schema();
    let columns = schema.fields().iter().filter_map(|field| {
        let name = field.name().as_str();
        let own = of_table(name).map(ColumnNote::of);
        Some((
            name.to_owned(),
            own.or_else(|| noted_by_facts(facts, name))?,
        ))
    });
    TableNote {
        description: "Sums of unified.transactions, unified.articles and unified.payments by day, month and year, from which statistics answer. Its \
             levels are sums of the same sales: read one of them, by the column `level` or as the view of it, and never add up two."
            .to_owned(),
        columns: columns.collect(),
    }
}

/// The note on a column of the levels of several facts. Where it means different things of them it says each.
fn noted_by_facts(facts: &[NotedFact], name: &str) -> Option<ColumnNote> {
    let mut found: Vec<(Vec<&str>, ColumnNote)> = Vec::new();
    let has_column = |(fact, _): &&NotedFact| fact.schema().field_with_name(name).is_ok();
    for (fact, of_fact) in facts.iter().filter(has_column) {
        let Some(note) = noted(fact, of_fact, name) else {
            continue;
        };
        let mut known = found.iter_mut();
        match known.find(|(_, known)| known.description == note.description) {
            Some((alike, _)) => alike.push(fact.name),
            None => found.push((vec![fact.name], note)),
        }
    }
    let said: Vec<String> = match found.as_slice() {
        [(_, only)] => vec![only.description.clone()],
        several => several
            .iter()
            .map(|(facts, note)| format!("Of {}: {}", facts.join(" and "), note.description))
            .collect(),
    };
    let (_, first) = found.into_iter().next()?;
    Some(ColumnNote {
        description: said.join(" "),
        ..first
    })
}

fn view_note(level: &Level, of_fact: &BTreeMap<String, ColumnNote>) -> TableNote {
    let (fact, period) = (level.fact, level.grain.name());
    let columns = level
        .view_columns()
        .into_iter()
        .filter_map(|(name, shown)| {
            let own =
                (name == START).then(|| ColumnNote::of(format!("Start of the {period}, UTC.")));
            let note = own.or_else(|| noted(fact, of_fact, &name))?;
            Some((shown, note))
        });
    let sites = match level.keeps(SITE) {
        true => ", site and label",
        false => " and label, all sites together",
    };
    TableNote {
        description: format!("Sums of unified.{} by {period}{sites}.", fact.name),
        columns: columns.collect(),
    }
}

/// The note on a column that a fact's roll-ups have of it.
fn noted(
    fact: &RolledFact,
    of_fact: &BTreeMap<String, ColumnNote>,
    name: &str,
) -> Option<ColumnNote> {
    let hour = |names: &[&str]| names.iter().position(|hour| *hour == name);
    let own = if name == fact.count {
        format!("Number of {}.", fact.name)
    } else if fact.missing.is_some_and(|(count, _)| count == name) {
        format!("Number of {} without an amount.", fact.name)
    } else if fact.is_sum(name) {
        let unit = of_fact.get(name).and_then(|note| note.unit.clone());
        return Some(ColumnNote {
            unit,
            ..ColumnNote::of(format!("Sum of {name} of these {}.", fact.name))
        });
    } else if let Some(hour) = hour(&UTC_HOURS) {
        format!("Number of {} in the hour from {hour:02}:00 UTC.", fact.name)
    } else if let Some(hour) = hour(&LOCAL_HOURS) {
        format!(
            "Number of {} in the hour from {hour:02}:00 on the site's own clock.",
            fact.name
        )
    } else {
        return of_fact.get(name).cloned();
    };
    Some(ColumnNote::of(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_a_view_of_its_own() {
        let views = level_views();
        let named: Vec<&str> = views.iter().map(|view| view.name).collect();
        let levels: Vec<&str> = LEVELS.iter().map(|level| level.name).collect();
        assert_eq!(named, levels);
    }
}
