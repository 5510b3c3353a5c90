//! Data dictionary: what tables and their columns mean, in words for people and for tools that show them.
//!
//! Invariant: nothing is decided by a note. Two tables that differ in their notes alone are the same table.

use crate::note::ColumnNote;
use crate::table::{
    AS_OF, CONTENT_HASH, ColumnClass, ColumnKind, ColumnSpec, DELETED_AT, EXTRA, EXTRACTED_AT,
    LOAD_ID, MONTH, PREV_RECORD_TIME, RECORD_KEY, RECORD_TIME, RUN_ID, TableRole, TableSpec,
    UnknownFields,
};
use std::collections::BTreeMap;

/// Meaning of a table, and notes on its columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableNote {
    /// Meaning of one row.
    pub description: String,
    /// Columns by their path: `invoice.amount` is the field of an object, or of every object of a list.
    pub columns: BTreeMap<String, ColumnNote>,
}

/// Notes on tables, by schema and name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataDictionary {
    tables: BTreeMap<String, BTreeMap<String, TableNote>>,
}

impl DataDictionary {
    /// Adds the table of a contract, with its lineage columns, to a schema.
    ///
    /// ```
    /// use tillhouse_model::DataDictionary;
    ///
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
    ///       - { name: id, description: Its number., logicalType: integer, required: true, primaryKey: true, examples: [17] }
    /// "#;
    /// let mut dictionary = DataDictionary::default();
    /// dictionary.add_contract("kiosk", &tillhouse_model::contract::parse(contract, "sales.yaml")?);
    /// let note = dictionary.column("kiosk", "sales", "id").unwrap();
    /// assert_eq!(note.comment(), "Its number. Examples: 17.");
    /// # Ok::<(), tillhouse_model::Error>(())
    /// ```
    pub fn add_contract(&mut self, schema: &str, spec: &TableSpec) {
        self.add(schema, &spec.name, spec.note());
    }

    /// Adds a table to a schema; the notes on one of the same name are replaced.
    pub fn add(&mut self, schema: &str, table: &str, note: TableNote) {
        self.tables
            .entry(schema.to_owned())
            .or_default()
            .insert(table.to_owned(), note);
    }

    /// The note on a table.
    pub fn table(&self, schema: &str, table: &str) -> Option<&TableNote> {
        self.tables.get(schema)?.get(table)
    }

    /// The note on a column, by its path.
    pub fn column(&self, schema: &str, table: &str, column: &str) -> Option<&ColumnNote> {
        self.table(schema, table)?.columns.get(column)
    }

    /// All notes, as (schema, table, note), sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &TableNote)> {
        self.tables.iter().flat_map(|(schema, tables)| {
            tables
                .iter()
                .map(move |(table, note)| (schema.as_str(), table.as_str(), note))
        })
    }
}

impl TableSpec {
    /// Notes on the table and its stored columns, those of lineage included.
    pub fn note(&self) -> TableNote {
        let mut columns = BTreeMap::new();
        add_columns(&mut columns, "", &self.columns);
        for (name, description) in self.lineage_notes() {
            columns
                .entry((*name).to_owned())
                .or_insert_with(|| ColumnNote::of(*description));
        }
        TableNote {
            description: self.description.clone(),
            columns,
        }
    }

    /// Lineage columns of the table's role, and what they mean.
    fn lineage_notes(&self) -> Vec<&'static (&'static str, &'static str)> {
        let is_there = |name: &str| match self.role {
            TableRole::Source => {
                name != AS_OF && (name != EXTRA || self.unknown == UnknownFields::Keep)
            }
            TableRole::Fact => {
                !matches!(name, AS_OF | DELETED_AT | PREV_RECORD_TIME | EXTRA | MONTH)
            }
            TableRole::Dimension => {
                matches!(
                    name,
                    AS_OF | DELETED_AT | EXTRACTED_AT | CONTENT_HASH | RUN_ID
                )
            }
        };
        LINEAGE.iter().filter(|(name, _)| is_there(name)).collect()
    }
}

/// Meaning of the columns that the program adds.
const LINEAGE: [(&str, &str); 11] = [
    (
        RECORD_KEY,
        "Key of the record as one text; key columns are joined by a colon.",
    ),
    (
        RECORD_TIME,
        "Record time, UTC: the instant that decides which window the record belongs to.",
    ),
    (
        PREV_RECORD_TIME,
        "Record time of the version that this one supersedes, UTC; null for the first version.",
    ),
    (
        LOAD_ID,
        "Number of the package that landed the record; the newest version of a record has the highest.",
    ),
    (
        CONTENT_HASH,
        "Hash of the record's values: equal hashes are equal content.",
    ),
    (
        EXTRACTED_AT,
        "When the request that brought the record was sent, UTC.",
    ),
    (RUN_ID, "Run that wrote the row."),
    (
        DELETED_AT,
        "When the record was found to be gone, UTC; null while it is there.",
    ),
    (AS_OF, "Instant that the row's values are from, UTC."),
    (
        EXTRA,
        "Fields of the record that its contract does not know, as JSON.",
    ),
    (
        MONTH,
        "UTC month of the record time, YYYY-MM; none where the record has no time. The table is partitioned by it.",
    ),
];

fn add_columns(found: &mut BTreeMap<String, ColumnNote>, above: &str, columns: &[ColumnSpec]) {
    for column in columns.iter().filter(|column| column.class.is_stored()) {
        let path = match above {
            "" => column.name.clone(),
            above => format!("{above}.{}", column.name),
        };
        let mut kind = &column.kind;
        while let ColumnKind::List(element) = kind {
            kind = &element.kind;
        }
        if let ColumnKind::Struct(inner) = kind {
            add_columns(found, &path, inner);
        }
        found.insert(path, column.stored_note());
    }
}

impl ColumnSpec {
    /// The column's note, with what is stored in place of a personal value.
    pub fn stored_note(&self) -> ColumnNote {
        let stored = match self.class {
            ColumnClass::Pseudonym(_) if !self.note.description.contains("pseudonym") => {
                "Stored as a pseudonym."
            }
            ColumnClass::LastFour => "Only its last four characters are stored.",
            _ => return self.note.clone(),
        };
        ColumnNote {
            description: format!("{} {stored}", self.note.description),
            ..self.note.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = "
apiVersion: v3.1.0
kind: DataContract
id: kiosk-sales
version: 1.0.0
status: active
dataProduct: kiosk
schema:
  - name: sales
    description: One sale.
    properties:
      - { name: id, description: Its number., logicalType: integer, required: true, primaryKey: true }
      - name: pin
        description: Never stored.
        logicalType: string
        classification: secret
      - name: plate
        description: The car's plate.
        logicalType: string
        classification: personal
        customProperties: [{ property: treatment, value: pseudonym }, { property: normalise, value: plate }]
      - name: lines
        description: What was bought.
        logicalType: array
        items:
          logicalType: object
          properties:
            - name: price
              description: What it cost.
              logicalType: number
              physicalType: decimal(18,4)
              examples: [1.5, 2]
              customProperties: [{ property: unit, value: EUR }]
";

    #[test]
    fn a_dictionary_has_what_is_stored_and_no_more() {
        let mut dictionary = DataDictionary::default();
        dictionary.add_contract(
            "kiosk",
            &crate::contract::parse(CONTRACT, "sales.yaml").unwrap(),
        );
        let comment = |column: &str| {
            dictionary
                .column("kiosk", "sales", column)
                .map(ColumnNote::comment)
        };
        assert_eq!(comment("pin"), None);
        assert_eq!(
            comment("plate").as_deref(),
            Some("The car's plate. Stored as a pseudonym.")
        );
        assert_eq!(
            comment("lines.price").as_deref(),
            Some("What it cost. Unit: EUR. Examples: 1.5, 2.")
        );
        assert!(comment("_load_id").is_some() && comment("_as_of").is_none());
        let note = dictionary.table("kiosk", "sales").unwrap();
        assert_eq!(note.description, "One sale.");
    }

    #[test]
    fn every_lineage_column_of_every_role_has_a_note() {
        let mut spec = crate::contract::parse(CONTRACT, "sales.yaml").unwrap();
        let all_noted = |spec: &TableSpec, schema: arrow_schema::SchemaRef| {
            let note = spec.note();
            for field in schema.fields() {
                assert!(note.columns.contains_key(field.name()), "{}", field.name());
            }
            let stored = spec.columns.iter().filter(|c| c.class.is_stored()).count();
            let nested = note
                .columns
                .keys()
                .filter(|name| name.contains('.'))
                .count();
            assert_eq!(
                note.columns.len() - nested - stored,
                schema.fields().len() - stored
            );
        };
        for unknown in [UnknownFields::Count, UnknownFields::Keep] {
            spec.unknown = unknown;
            all_noted(&spec, spec.source_schema());
        }
        for role in [TableRole::Fact, TableRole::Dimension] {
            spec.role = role;
            all_noted(&spec, spec.unified_schema());
        }
    }
}
