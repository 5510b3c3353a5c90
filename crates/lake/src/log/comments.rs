//! Comments on a table's columns, as other Delta readers show them: `comment` in a field's metadata.
//!
//! Invariant: comments stand in the log's description of the table and nowhere else. Schemas in memory have none, so that two tables, or
//! two versions of one, that differ in their comments alone have the same schema.
//!
//! They are written when a table is made and whenever it gains a column. Rejected: a commit of their own as soon as the words differ. Two
//! programs of different versions that write one warehouse would commit by turns for ever, and a sync that finds nothing new would write.

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::{Metadata, StructType};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::{ErrorKind, Result, ResultExt, TableNote};

/// Key of a field's metadata that Delta readers show.
const COMMENT: &str = "comment";

/// Comments by the path of their column, like `invoice.amount`.
pub(crate) type ColumnComments = BTreeMap<String, String>;

/// The comments that a table's note makes.
pub(crate) fn comments_of(note: &TableNote) -> ColumnComments {
    let comment = |(path, note): (&String, &tillhouse_model::ColumnNote)| {
        Some((path.clone(), note.comment())).filter(|(_, text)| !text.is_empty())
    };
    note.columns.iter().filter_map(comment).collect()
}

/// The comments that a table's description has.
pub(crate) fn written_comments(metadata: &Metadata) -> Result<ColumnComments> {
    let unknown = "a table's columns cannot be read";
    let columns: StructType =
        serde_json::from_str(metadata.schema_string()).or_error(ErrorKind::Storage, unknown)?;
    let schema: Schema = (&columns)
        .try_into_arrow()
        .or_error(ErrorKind::Storage, unknown)?;
    let mut found = ColumnComments::new();
    collect(schema.fields(), "", &mut found);
    Ok(found)
}

fn collect(fields: &Fields, above: &str, found: &mut ColumnComments) {
    for field in fields {
        let path = path(above, field);
        if let Some(comment) = field.metadata().get(COMMENT) {
            found.insert(path.clone(), comment.clone());
        }
        if let DataType::Struct(inner) = innermost(field.data_type()) {
            collect(inner, &path, found);
        }
    }
}

/// The schema with comments in its fields' metadata, for the log.
pub(crate) fn commented(schema: &Schema, comments: &ColumnComments) -> Schema {
    Schema::new(with_metadata(schema.fields(), "", &|path: &str| {
        comments
            .get(path)
            .map(|comment| (COMMENT.to_owned(), comment.clone()))
    }))
}

/// The schema without any metadata of fields.
pub(crate) fn uncommented(schema: &Schema) -> Schema {
    Schema::new(with_metadata(schema.fields(), "", &|_: &str| None))
}

fn with_metadata(
    fields: &Fields,
    above: &str,
    of: &impl Fn(&str) -> Option<(String, String)>,
) -> Vec<FieldRef> {
    let changed = |field: &FieldRef| {
        let path = path(above, field);
        let data_type = nested_with_metadata(field.data_type(), &path, of);
        let field = Field::new(field.name(), data_type, field.is_nullable());
        Arc::new(field.with_metadata(of(&path).into_iter().collect()))
    };
    fields.iter().map(changed).collect()
}

fn nested_with_metadata(
    data_type: &DataType,
    path: &str,
    of: &impl Fn(&str) -> Option<(String, String)>,
) -> DataType {
    match data_type {
        DataType::Struct(inner) => DataType::Struct(with_metadata(inner, path, of).into()),
        DataType::List(element) => {
            let data_type = nested_with_metadata(element.data_type(), path, of);
            let element = Field::new(element.name(), data_type, element.is_nullable());
            DataType::List(Arc::new(element))
        }
        other => other.clone(),
    }
}

/// Path of a field; the elements of a list have their list's.
fn path(above: &str, field: &Field) -> String {
    match above {
        "" => field.name().clone(),
        above => format!("{above}.{}", field.name()),
    }
}

fn innermost(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(element) => innermost(element.data_type()),
        other => other,
    }
}
