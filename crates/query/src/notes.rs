//! Notes on the tables of a session: what their columns mean, in `information_schema.columns` and for whoever describes a table.
//!
//! Invariant: notes are words beside the tables. No plan has them in a schema, so that two tables whose notes differ are still alike to
//! every query.
//!
//! ```text
//!   contracts, roll-ups ─ register_notes ─┐
//!   ops (the lake's own) ─────────────────┼─> SessionNotes ─┬─> Session::describe
//!   views (of what they show) ────────────┘                 └─> information_schema.columns: description, unit, examples
//! ```
//!
//! Rejected: notes as metadata of Arrow fields. They would travel through joins and views by themselves, but the two sides of a union
//! differ in them, and a plan whose schema is not the one it was planned with is an error of the engine.

use crate::catalog_schema::{CatalogSchema, ShownBy};
use crate::sales::NAME_DIMENSIONS;
use crate::schemas::{DEFAULT_SCHEMA, OPS};
use crate::sql_type;
use arrow::array::{ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::catalog::TableProvider;
use datafusion::common::cast::as_string_array;
use datafusion::common::{Column, Result};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock};
use tillhouse_lake::OpsTables;
use tillhouse_model::{ColumnNote, DataDictionary, TableNote};

/// A table or view, with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Meaning of one row; empty where nobody says.
    pub description: String,
    /// Its columns in their order, each followed by the fields of its objects.
    pub columns: Vec<DescribedColumn>,
}

/// A column, with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedColumn {
    /// Its name; of a field of an object, or of the objects of a list, the path: `invoice.amount`.
    pub path: String,
    /// Its type.
    pub data_type: DataType,
    /// True if it may be null.
    pub is_nullable: bool,
    /// Its meaning, unit and examples; empty where nobody says.
    pub note: ColumnNote,
}

/// Maker of a dictionary, for when somebody asks.
type DictionaryMaker = Box<dyn FnOnce() -> DataDictionary + Send>;

/// Notes of a session.
#[derive(Clone, Default)]
pub(crate) struct SessionNotes {
    pub(crate) schemas: Arc<RwLock<BTreeMap<String, Arc<CatalogSchema>>>>,
    registered: Arc<OnceLock<LazyLock<DataDictionary, DictionaryMaker>>>,
}

impl fmt::Debug for SessionNotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionNotes")
    }
}

impl SessionNotes {
    /// Makes a dictionary known, which is made when somebody first asks; the first that is registered stays.
    pub(crate) fn register(&self, make: DictionaryMaker) {
        let _ = self.registered.set(LazyLock::new(make));
    }

    /// The same words for other schemas; which there are is for their catalog to say.
    pub(crate) fn of_others(&self) -> Self {
        Self {
            schemas: Arc::default(),
            registered: Arc::clone(&self.registered),
        }
    }

    /// The note on a table or view.
    pub(crate) fn table(&self, schema: &str, table: &str) -> Option<Cow<'_, TableNote>> {
        let dictionary = self.registered.get().map(|made| &**made);
        if let Some(note) = dictionary.and_then(|notes| notes.table(schema, table)) {
            return Some(Cow::Borrowed(note));
        }
        if schema == OPS {
            return OpsTables::note(table).map(Cow::Owned);
        }
        let found = {
            let schemas = self.schemas.read().unwrap_or_else(PoisonError::into_inner);
            schemas.get(schema).cloned()
        };
        match found?.shown_by(table)? {
            ShownBy::NewestRecords { schema, table } => {
                let mut note = self.table(&schema, &table)?.into_owned();
                note.description = format!(
                    "The newest version of each record of {schema}.{table}, without those that are gone."
                );
                Some(Cow::Owned(note))
            }
            ShownBy::View {
                description,
                over,
                notes,
            } => Some(Cow::Owned(self.view(description, over, notes))),
        }
    }

    /// The note on a view of the default schema: its own words, then those of the tables it shows.
    fn view(&self, description: &str, over: &str, own: &[(&str, &str)]) -> TableNote {
        let mut columns = self
            .table(DEFAULT_SCHEMA, over)
            .map(|note| note.into_owned().columns)
            .unwrap_or_default();
        for dimension in &NAME_DIMENSIONS {
            let Some(note) = self.table(DEFAULT_SCHEMA, dimension.table) else {
                continue;
            };
            for (name, shown) in dimension.names {
                if let Some(note) = note.columns.get(*name) {
                    columns.insert((*shown).to_owned(), note.clone());
                }
            }
        }
        for (name, text) in own {
            let unit = columns.remove(*name).and_then(|note| note.unit);
            let note = ColumnNote {
                unit,
                ..ColumnNote::of(*text)
            };
            columns.insert((*name).to_owned(), note);
        }
        TableNote {
            description: description.to_owned(),
            columns,
        }
    }
}

/// The columns of a schema, each followed by the fields of its objects, with their notes.
pub(crate) fn describe_columns(fields: &Fields, note: Option<&TableNote>) -> Vec<DescribedColumn> {
    let mut found = Vec::new();
    add_columns(&mut found, "", fields, note);
    found
}

fn add_columns(
    found: &mut Vec<DescribedColumn>,
    above: &str,
    fields: &Fields,
    note: Option<&TableNote>,
) {
    for field in fields {
        let path = match above {
            "" => field.name().clone(),
            above => format!("{above}.{}", field.name()),
        };
        let of_column = note.and_then(|note| note.columns.get(&path));
        found.push(DescribedColumn {
            path: path.clone(),
            data_type: field.data_type().clone(),
            is_nullable: field.is_nullable(),
            note: of_column.cloned().unwrap_or_default(),
        });
        if let DataType::Struct(inner) = innermost(field) {
            add_columns(found, &path, inner, note);
        }
    }
}

/// Type of a column, or of the elements of the lists that it has.
fn innermost(field: &Field) -> &DataType {
    match field.data_type() {
        DataType::List(element) | DataType::LargeList(element) => innermost(element),
        other => other,
    }
}

/// `information_schema.columns` with three columns more: description, unit and examples. Types are SQL's.
pub(crate) fn noted_columns(
    columns: Arc<dyn TableProvider>,
    notes: &SessionNotes,
) -> Result<Arc<dyn TableProvider>> {
    let plain = |name: &str| Expr::Column(Column::from_name(name));
    let own = sql_type::with_sql_types(&columns.schema());
    let place = || {
        ["table_schema", "table_name", "column_name"]
            .map(plain)
            .to_vec()
    };
    let more = [NotePart::Description, NotePart::Unit, NotePart::Examples].map(|part| {
        ScalarUDF::new_from_impl(ColumnNoteFunction {
            part,
            notes: notes.clone(),
            signature: Signature::uniform(3, vec![DataType::Utf8], Volatility::Stable),
        })
        .call(place())
        .alias(part.column())
    });
    let plan = LogicalPlanBuilder::scan("columns", provider_as_source(columns), None)?
        .project(own.into_iter().chain(more))?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// Part of a note that a column of `information_schema.columns` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum NotePart {
    Description,
    Unit,
    Examples,
}

impl NotePart {
    fn column(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Unit => "unit",
            Self::Examples => "examples",
        }
    }

    fn of(self, note: &ColumnNote) -> Option<Cow<'_, str>> {
        match self {
            Self::Description => Some(Cow::Borrowed(note.description.as_str())),
            Self::Unit => note.unit.as_deref().map(Cow::Borrowed),
            Self::Examples => Some(Cow::Owned(note.examples.join(", "))),
        }
        .filter(|text| !text.is_empty())
    }
}

/// A part of the note on a column, by its schema, table and name.
#[derive(Debug)]
struct ColumnNoteFunction {
    part: NotePart,
    notes: SessionNotes,
    signature: Signature,
}

impl PartialEq for ColumnNoteFunction {
    fn eq(&self, other: &Self) -> bool {
        self.part == other.part && Arc::ptr_eq(&self.notes.schemas, &other.notes.schemas)
    }
}

impl Eq for ColumnNoteFunction {}

impl Hash for ColumnNoteFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.part.hash(state);
    }
}

impl ScalarUDFImpl for ColumnNoteFunction {
    fn name(&self) -> &'static str {
        match self.part {
            NotePart::Description => "column_description",
            NotePart::Unit => "column_unit",
            NotePart::Examples => "column_examples",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays: Vec<ArrayRef> = args
            .args
            .iter()
            .map(|arg| arg.to_array(args.number_rows))
            .collect::<Result<_>>()?;
        let [schemas, tables, names] = arrays.as_slice() else {
            return datafusion::common::internal_err!("a column has a schema, a table and a name");
        };
        let (schemas, tables) = (as_string_array(schemas)?, as_string_array(tables)?);
        let names = names.as_string::<i32>();
        let mut builder = StringBuilder::new();
        // The columns of a table stand together.
        let (mut last, mut note) = (None, None);
        for row in 0..args.number_rows {
            let table = (schemas.value(row), tables.value(row));
            if last != Some(table) {
                (last, note) = (Some(table), self.notes.table(table.0, table.1));
            }
            let note = note.as_deref();
            let column = note.and_then(|note| note.columns.get(names.value(row)));
            builder.append_option(column.and_then(|column| self.part.of(column)));
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}
