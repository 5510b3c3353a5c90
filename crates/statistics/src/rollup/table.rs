//! The table of the levels: what has been added up of all facts.
//!
//! Invariant: the table stands for one set of versions of the facts, those that its marks name, in all levels. A column that not all facts have is null in
//! the rows of the others' levels, where it takes next to no room.
//!
//! Rejected: a table a fact. Each is a commit and two data files of every run, and one more log to look at for whoever answers.

use super::fact::{FACTS, RolledFact, SITE};
use super::level::LEVELS;
use super::{SCHEMA, START};
use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use std::sync::Arc;
use tillhouse_lake::{RangeTable, RunRecord, Warehouse};
use tillhouse_model::table::{LEVEL, PERIOD};
use tillhouse_model::{ErrorKind, Result, ResultExt};

/// The table of all levels, below `statistics`.
pub(crate) const TABLE: &str = "levels";

/// Raised when the levels mean something else than before, or there are others; all of them are then counted anew. Readers ask only a table that this
/// edition has brought to the facts they read: another one lets be what it does not know.
///
/// 8: one table for the levels of all facts, under another name than the tables before it: programs of earlier editions would write into it what neither
/// reads.
const EDITION: u32 = 8;

/// The unified tables that the levels are made from.
pub(super) fn sources() -> [&'static str; FACTS.len()] {
    FACTS.map(|fact| fact.name)
}

/// The path of the table below the warehouse.
pub(super) fn path() -> String {
    format!("{SCHEMA}/{TABLE}")
}

/// The table in a warehouse.
pub(super) fn range_table(warehouse: &Warehouse) -> RangeTable {
    let table = warehouse.range_table(TABLE, schema(), START, &sources(), EDITION);
    LEVELS
        .iter()
        .fold(table.with_bounds_of(SITE), |table, level| {
            table.with_level(level.name, level.width)
        })
}

/// True if the table stands, in all its levels, for the facts that a run names.
pub(super) async fn is_kept_up(warehouse: &Warehouse, run: &RunRecord) -> Result<bool> {
    let Some(named) = run.tables.get(&path()) else {
        return Ok(false);
    };
    let Some(made_from) = range_table(warehouse).made_from_at(named).await? else {
        return Ok(false);
    };
    Ok(sources().into_iter().all(|source| {
        let facts = run.tables.get(&format!("unified/{source}"));
        made_from.get(source).copied() == facts.map(|facts| facts.version)
    }))
}

/// The columns of the table: those of the facts' levels, in their order.
pub(crate) fn schema() -> SchemaRef {
    let schemas = FACTS.map(RolledFact::schema);
    let mut fields: Vec<FieldRef> = Vec::new();
    for field in schemas.iter().flat_map(|schema| schema.fields()) {
        let name = field.name();
        if fields.iter().any(|known| known.name() == name) {
            continue;
        }
        let mut schemas = schemas.iter();
        let is_everywhere = schemas.all(|schema| schema.field_with_name(name).is_ok());
        let is_nullable = field.is_nullable() || !is_everywhere;
        let field = Field::clone(field).with_nullable(is_nullable);
        fields.push(Arc::new(field));
    }
    // Where a row belongs stands last.
    let is_last = |field: &FieldRef| [LEVEL, PERIOD].contains(&field.name().as_str());
    fields.sort_by_key(is_last);
    Arc::new(Schema::new(fields))
}

/// Rows of a fact's levels with the columns of the table.
pub(super) fn widened(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let column = |field: &FieldRef| match rows.column_by_name(field.name()) {
        Some(column) => ArrayRef::clone(column),
        None => new_null_array(field.data_type(), rows.num_rows()),
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(SchemaRef::clone(schema), columns).or_error(
        ErrorKind::Internal,
        "what was added up does not fit its roll-up",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_has_every_column_of_every_fact_once() {
        let all = schema();
        let names: BTreeSet<&String> = all.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names.len(), all.fields().len());
        for fact in FACTS {
            let own = fact.schema();
            for field in own.fields() {
                let found = all.field_with_name(field.name()).unwrap();
                assert_eq!(found.data_type(), field.data_type(), "{}", field.name());
                assert!(found.is_nullable() || !field.is_nullable());
            }
            // Rows of another fact have no count of this one.
            assert!(all.field_with_name(fact.count).unwrap().is_nullable());
            let rows = RecordBatch::new_empty(own);
            assert_eq!(widened(&rows, &all).unwrap().schema(), all);
        }
        let last: Vec<&String> = all.fields().iter().map(|field| field.name()).collect();
        assert_eq!(last[last.len() - 2..], [LEVEL, PERIOD]);
    }
}
