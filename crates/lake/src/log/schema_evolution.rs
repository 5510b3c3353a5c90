//! When a contract has changed since its table was made.
//!
//! Invariant: a table only ever gains nullable columns; old files show null there. Anything else needs a rebuild and is refused
//! before a row is written.

use crate::log::comments::written_comments;
use crate::log::commit::{self, CommitOutcome, CommitRequest};
use crate::log::create::TableDefinition;
use crate::log::remedy::replace_log_file;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use arrow::datatypes::{DataType, Field, Schema};
use deltalake::kernel::{Action, MetadataExt};
use deltalake::protocol::DeltaOperation;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result};

/// Makes sure the table has the definition's columns; new nullable ones are added in a commit of their own, which the snapshot then
/// shows. `false`: another writer was faster, look again.
///
/// Errors with [`ErrorKind::Config`] when the contract changed in a way a table cannot follow.
pub(crate) async fn ensure(
    table: &TableHandle,
    snapshot: &mut Snapshot,
    definition: &TableDefinition,
    run_id: &str,
) -> Result<bool> {
    let present = snapshot.schema();
    let Some(widened) =
        widened(&present, &definition.schema).map_err(|column| misfit(table.path(), &column))?
    else {
        return Ok(true);
    };
    // Columns that the contract no longer has keep the words they had.
    let mut comments = written_comments(&snapshot.description.metadata)?;
    comments.extend(definition.comments.clone());
    let schema = table.delta_schema(&widened, &comments)?;
    let failed = |e| table.storage_error("the table's description cannot be written", e);
    let metadata = snapshot
        .description
        .metadata
        .clone()
        .with_schema(&schema)
        .map_err(failed)?
        .add_config_key(
            "delta.dataSkippingStatsColumns".to_owned(),
            definition.stat_columns.names().join(","),
        )
        .map_err(failed)?;
    let change = CommitRequest {
        actions: vec![Action::Metadata(metadata)],
        operation: DeltaOperation::AddColumn { fields: Vec::new() },
        watermarks: Vec::new(),
        run_id,
    };
    match commit::commit(table, snapshot, &change).await? {
        CommitOutcome::Committed(version) => table.checkpoint_if_due(version).await,
        CommitOutcome::Lost => return Ok(false),
    }
    match table.latest().await? {
        Some(latest) => *snapshot = latest,
        None => return Ok(false),
    }
    Ok(true)
}

/// The error of a table whose columns do not become those of the definition. Bookkeeping and roll-ups have no contract that could change.
fn misfit(path: &str, column: &str) -> Error {
    let error = match path.split_once('/') {
        Some(("ops" | "statistics", _)) => Error::new(
            ErrorKind::Storage,
            "a table has other columns than this program writes: its log may be another table's",
        )
        .hint(replace_log_file(path)),
        _ => Error::new(
            ErrorKind::Config,
            "the contract changed in a way its table cannot follow",
        )
        .hint(
            "Only new optional columns can be added. For anything else give the resource a new name, or move the table away and sync again.",
        ),
    };
    error.at("table", path).at("column", column)
}

/// True if a table of these columns is one of the wanted ones, or becomes it.
pub(crate) fn fits(present: &Schema, wanted: &Schema) -> bool {
    widened(present, wanted).is_ok()
}

/// The present schema with the wanted one's additional columns; `None` when there are none. `Err` names a column that does not fit.
/// A column the contract no longer has stays, if rows can do without it.
fn widened(present: &Schema, wanted: &Schema) -> std::result::Result<Option<Schema>, String> {
    let mut grew = false;
    let mut fields: Vec<Arc<Field>> = Vec::new();
    for field in present.fields() {
        match wanted.field_with_name(field.name()) {
            Ok(wanted) => fields.push(Arc::new(merged(field, wanted, &mut grew)?)),
            Err(_) if field.is_nullable() => fields.push(field.clone()),
            Err(_) => return Err(field.name().clone()),
        }
    }
    for field in wanted.fields() {
        if present.field_with_name(field.name()).is_err() {
            if !field.is_nullable() {
                return Err(field.name().clone());
            }
            grew = true;
            fields.push(field.clone());
        }
    }
    Ok(grew.then(|| Schema::new(fields)))
}

fn merged(present: &Field, wanted: &Field, grew: &mut bool) -> std::result::Result<Field, String> {
    let data_type = match (present.data_type(), wanted.data_type()) {
        (DataType::Struct(old), DataType::Struct(new)) => {
            let before = *grew;
            let mut inner = false;
            let schema = match nested(old, new, &mut inner) {
                Ok(fields) => fields,
                Err(name) => return Err(format!("{}.{name}", present.name())),
            };
            *grew = before || inner;
            DataType::Struct(schema.into())
        }
        (DataType::List(old), DataType::List(new)) => {
            let element =
                merged(old, new, grew).map_err(|name| format!("{}.{name}", present.name()))?;
            DataType::List(Arc::new(element))
        }
        (old, new) if old == new => old.clone(),
        _ => return Err(present.name().clone()),
    };
    // A column that was required and no longer is: rows without it are coming.
    let relaxed = wanted.is_nullable() && !present.is_nullable();
    *grew |= relaxed;
    Ok(Field::new(
        present.name(),
        data_type,
        present.is_nullable() || relaxed,
    ))
}

fn nested(
    old: &arrow::datatypes::Fields,
    new: &arrow::datatypes::Fields,
    grew: &mut bool,
) -> std::result::Result<Vec<Arc<Field>>, String> {
    let (old, new) = (Schema::new(old.clone()), Schema::new(new.clone()));
    match widened(&old, &new)? {
        Some(schema) => {
            *grew = true;
            Ok(schema.fields().iter().cloned().collect())
        }
        None => Ok(old.fields().iter().cloned().collect()),
    }
}
