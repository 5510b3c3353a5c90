//! The fields a filter may name: HecOne's, and the columns of unified.transactions with the names the view `sales` adds.
//!
//! Invariant: every field stands here once, with the column it reads and what may be compared with it. A test holds this list
//! against the contracts in schemas/unified, and docs/statistics.md lists the same.

use tillhouse_model::did_you_mean::nearest;
use tillhouse_model::table::ValueNormalisation;
use tillhouse_model::{Error, FilterOperator, Result};

/// A field of a transaction that a filter may name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FilterField {
    pub(crate) name: &'static str,
    /// The column's name in its table.
    pub(crate) column: &'static str,
    /// The table its column is in.
    pub(crate) table: FieldTable,
    pub(crate) kind: FilterFieldType,
}

/// The table a field's column is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FieldTable {
    /// The fact itself, transactions.
    Transaction,
    /// The fact itself, also where that is an article or a payment: they have these columns from their transaction.
    EveryFact,
    Site,
    Device,
    Point,
    Tenant,
}

/// Type of a field's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilterFieldType {
    Text,
    /// Text that is a number where the source has one; a number may be compared with it as well.
    TextOrNumber,
    /// A key, of which the provider's own id is meant: what follows the pipeline's name.
    ProvidersId,
    /// A personal value, stored as its pseudonym.
    Pseudonym(ValueNormalisation),
    Decimal {
        precision: u8,
        scale: i8,
    },
    Whole,
    Instant,
    Date,
}

/// A dimension that a fact is joined with, and the columns of the join, of the same name on both.
pub(crate) struct FilterDimension {
    /// The dimension, as fields name it.
    pub(crate) field_table: FieldTable,
    pub(crate) table: &'static str,
    pub(crate) keys: &'static [&'static str],
}

/// The dimensions, as the view `sales` joins them.
pub(crate) const DIMENSIONS: [FilterDimension; 4] = [
    FilterDimension {
        field_table: FieldTable::Site,
        table: "sites",
        keys: &["site_key"],
    },
    FilterDimension {
        field_table: FieldTable::Device,
        table: "devices",
        keys: &["device_key"],
    },
    FilterDimension {
        field_table: FieldTable::Point,
        table: "points",
        keys: &["point_key"],
    },
    FilterDimension {
        field_table: FieldTable::Tenant,
        table: "tenants",
        keys: &["pipeline", "tenant_id"],
    },
];

impl FilterField {
    /// True if its column is of personal values: the contracts classify no other column so, which a test holds.
    pub(crate) fn is_personal(&self) -> bool {
        matches!(self.kind, FilterFieldType::Pseudonym(_))
    }

    /// True if an operator can be asked of it: the parts and the order of a text alone can be looked into, and of a pseudonym nothing but the whole.
    pub(crate) fn takes(&self, operator: FilterOperator) -> bool {
        match self.kind {
            FilterFieldType::Text
            | FilterFieldType::TextOrNumber
            | FilterFieldType::ProvidersId => true,
            FilterFieldType::Pseudonym(_) => {
                operator.is_unary() || matches!(operator, FilterOperator::Eq | FilterOperator::Neq)
            }
            FilterFieldType::Decimal { .. }
            | FilterFieldType::Whole
            | FilterFieldType::Instant
            | FilterFieldType::Date => !operator.is_for_text(),
        }
    }

    /// True if articles and payments can be asked as well: they have the column, or meet the
    /// dimension.
    pub(crate) fn is_on_every_fact(&self) -> bool {
        !matches!(self.table, FieldTable::Transaction | FieldTable::Point)
    }

    /// The fact's column that it takes: its own, or the key of its dimension.
    pub(crate) fn fact_column(&self) -> &'static str {
        match self.table {
            FieldTable::Site => "site_key",
            FieldTable::Device => "device_key",
            FieldTable::Point => "point_key",
            FieldTable::Tenant => "tenant_id",
            FieldTable::Transaction | FieldTable::EveryFact => self.column,
        }
    }
}

const AMOUNT: FilterFieldType = FilterFieldType::Decimal {
    precision: 18,
    scale: 4,
};
const PLATE: FilterFieldType = FilterFieldType::Pseudonym(ValueNormalisation::Plate);
const EMAIL: FilterFieldType = FilterFieldType::Pseudonym(ValueNormalisation::Email);
const WORDS: FilterFieldType = FilterFieldType::Pseudonym(ValueNormalisation::Text);

const fn field(
    name: &'static str,
    column: &'static str,
    place: FieldTable,
    kind: FilterFieldType,
) -> FilterField {
    FilterField {
        name,
        column,
        table: place,
        kind,
    }
}

/// A column of transactions under its own name.
const fn own(name: &'static str, kind: FilterFieldType) -> FilterField {
    field(name, name, FieldTable::Transaction, kind)
}

/// A column that articles and payments have from their transaction.
const fn shared(name: &'static str, kind: FilterFieldType) -> FilterField {
    field(name, name, FieldTable::EveryFact, kind)
}

/// Every field.
pub(crate) static FIELDS: [FilterField; 66] = [
    // HecOne's names where they differ from ours.
    field(
        "id",
        "transaction_id",
        FieldTable::Transaction,
        FilterFieldType::Text,
    ),
    field(
        "mandator_id",
        "tenant_id",
        FieldTable::EveryFact,
        FilterFieldType::Text,
    ),
    field(
        "site_id",
        "site_key",
        FieldTable::EveryFact,
        FilterFieldType::ProvidersId,
    ),
    field(
        "point_id",
        "point_key",
        FieldTable::Transaction,
        FilterFieldType::ProvidersId,
    ),
    field(
        "customer_odometer",
        "odometer_km",
        FieldTable::Transaction,
        FilterFieldType::Decimal {
            precision: 18,
            scale: 3,
        },
    ),
    field(
        "customer_driver_number",
        "driver_number",
        FieldTable::Transaction,
        WORDS,
    ),
    field(
        "customer_vehicle_number",
        "vehicle_number",
        FieldTable::Transaction,
        FilterFieldType::Text,
    ),
    field(
        "customer_additional_info",
        "additional_info",
        FieldTable::Transaction,
        FilterFieldType::Text,
    ),
    // The document's filter list says number where its record has the driver's name.
    field(
        "card_driver_number",
        "card_driver_name",
        FieldTable::Transaction,
        WORDS,
    ),
    // Names in the dimensions: HecOne's, then the rest of what `sales` shows.
    field("site_name", "name", FieldTable::Site, FilterFieldType::Text),
    field("site_code", "code", FieldTable::Site, FilterFieldType::Text),
    field(
        "device_name",
        "name",
        FieldTable::Device,
        FilterFieldType::Text,
    ),
    field(
        "device_code",
        "code",
        FieldTable::Device,
        FilterFieldType::Text,
    ),
    field(
        "point_name",
        "name",
        FieldTable::Point,
        FilterFieldType::Text,
    ),
    field(
        "point_number",
        "number",
        FieldTable::Point,
        FilterFieldType::TextOrNumber,
    ),
    field("site_city", "city", FieldTable::Site, FilterFieldType::Text),
    field(
        "site_country_code",
        "country_code",
        FieldTable::Site,
        FilterFieldType::Text,
    ),
    field(
        "site_brand",
        "brand",
        FieldTable::Site,
        FilterFieldType::Text,
    ),
    field(
        "tenant_name",
        "name",
        FieldTable::Tenant,
        FilterFieldType::Text,
    ),
    // The columns of transactions, in the contract's order.
    own("transaction_key", FilterFieldType::Text),
    shared("pipeline", FilterFieldType::Text),
    shared("source", FilterFieldType::Text),
    own("transaction_id", FilterFieldType::Text),
    shared("tenant_id", FilterFieldType::Text),
    shared("perspective", FilterFieldType::Text),
    shared("kind", FilterFieldType::Text),
    shared("state", FilterFieldType::Text),
    own("state_derived", FilterFieldType::Text),
    own("category", FilterFieldType::Text),
    shared("occurred_at", FilterFieldType::Instant),
    shared("month", FilterFieldType::Text),
    shared("business_date", FilterFieldType::Date),
    shared("local_hour", FilterFieldType::Whole),
    own("utc_offset_minutes", FilterFieldType::Whole),
    own("timezone", FilterFieldType::Text),
    own("created_at", FilterFieldType::Instant),
    own("updated_at", FilterFieldType::Instant),
    own("started_at", FilterFieldType::Instant),
    own("ended_at", FilterFieldType::Instant),
    own("amount", AMOUNT),
    own("discount_amount", AMOUNT),
    own("net_amount", AMOUNT),
    own("tax_amount", AMOUNT),
    own("tax_origin", FilterFieldType::Text),
    own("paid_amount", AMOUNT),
    own("currency", FilterFieldType::Text),
    shared("site_key", FilterFieldType::Text),
    shared("device_key", FilterFieldType::Text),
    own("point_key", FilterFieldType::Text),
    own("client_id", EMAIL),
    own("client_type", FilterFieldType::Text),
    own("license_plate", PLATE),
    own("vin", PLATE),
    own(
        "odometer_km",
        FilterFieldType::Decimal {
            precision: 18,
            scale: 3,
        },
    ),
    own("driver_number", WORDS),
    own("vehicle_id", FilterFieldType::Text),
    own("vehicle_number", FilterFieldType::Text),
    own("cost_center", FilterFieldType::Text),
    own("additional_info", FilterFieldType::Text),
    own("card_vehicle_number", FilterFieldType::Text),
    own("card_driver_name", WORDS),
    own("receipt_state", FilterFieldType::Text),
    own("receipt_email", EMAIL),
    own("terminal_transaction_number", FilterFieldType::Text),
    own("session_id", FilterFieldType::Text),
    own("roaming_session_id", FilterFieldType::Text),
];

/// The fields, personal ones only where those are seen.
pub(crate) fn seen(sees_personal: bool) -> impl Iterator<Item = &'static FilterField> {
    FIELDS
        .iter()
        .filter(move |field| sees_personal || !field.is_personal())
}

/// The field of that name, personal ones only where those are seen: where not, they are unknown like any other word.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`], listing the fields.
pub(crate) fn find(name: &str, sees_personal: bool) -> Result<&'static FilterField> {
    let seen = || seen(sees_personal);
    seen().find(|field| field.name == name).ok_or_else(|| {
        let names: Vec<&str> = seen().map(|field| field.name).collect();
        let near =
            nearest(name, &names).map_or_else(String::new, |near| format!(", did you mean {near}"));
        Error::config(format!("there is no field {name:?} to filter by{near}"))
            .hint(format!("Fields are {}.", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tillhouse_model::table::ColumnSpec;
    use tillhouse_model::{ColumnClass, ColumnKind, contract};

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/unified");

    fn columns(table: &str) -> BTreeMap<String, ColumnSpec> {
        let text = std::fs::read_to_string(format!("{FOLDER}/{table}.yaml")).unwrap();
        let columns = contract::parse(&text, table).unwrap().columns;
        columns
            .into_iter()
            .map(|column| (column.name.clone(), column))
            .collect()
    }

    #[test]
    fn every_field_is_what_its_contract_says() {
        let tables = BTreeMap::from([
            (FieldTable::Transaction, columns("transactions")),
            (FieldTable::EveryFact, columns("transactions")),
            (FieldTable::Site, columns("sites")),
            (FieldTable::Device, columns("devices")),
            (FieldTable::Point, columns("points")),
            (FieldTable::Tenant, columns("tenants")),
        ]);
        for field in &FIELDS {
            let column = tables[&field.table]
                .get(field.column)
                .unwrap_or_else(|| panic!("{field:?}"));
            let fits = match field.kind {
                FilterFieldType::Text
                | FilterFieldType::TextOrNumber
                | FilterFieldType::ProvidersId => {
                    column.kind == ColumnKind::Text && column.class == ColumnClass::Open
                }
                FilterFieldType::Pseudonym(how) => column.class == ColumnClass::Pseudonym(how),
                FilterFieldType::Decimal { precision, scale } => {
                    column.kind == ColumnKind::Decimal { precision, scale }
                }
                FilterFieldType::Whole => column.kind == ColumnKind::Int,
                FilterFieldType::Instant => matches!(column.kind, ColumnKind::Timestamp(_)),
                FilterFieldType::Date => column.kind == ColumnKind::Date,
            };
            assert!(fits, "{field:?} is {:?}, {:?}", column.kind, column.class);
            let is_open = column.class == ColumnClass::Open;
            assert_ne!(field.is_personal(), is_open, "{field:?}");
            if field.table == FieldTable::EveryFact {
                for child in ["articles", "payments"] {
                    let name = if field.column == "state" {
                        "transaction_state"
                    } else {
                        field.column
                    };
                    assert!(columns(child).contains_key(name), "{child} has no {name}");
                }
            }
        }
        for name in tables[&FieldTable::Transaction].keys() {
            assert!(
                FIELDS.iter().any(|field| field.name == name),
                "{name} cannot be filtered by"
            );
        }
        let names: std::collections::BTreeSet<&str> =
            FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), FIELDS.len(), "a name stands twice");
    }

    #[test]
    fn a_personal_field_is_unknown_to_whoever_sees_none() {
        let personal: Vec<&FilterField> = FIELDS.iter().filter(|f| f.is_personal()).collect();
        assert!(personal.len() >= 8, "{personal:?}");
        for field in personal {
            assert_eq!(find(field.name, true).unwrap(), field);
            let refused = find(field.name, false).unwrap_err();
            let unknown = find("a word that nothing is near to", false).unwrap_err();
            assert_eq!(refused.kind(), unknown.kind());
            let listed = refused.hint_text().unwrap();
            assert_eq!(listed, unknown.hint_text().unwrap());
            for hidden in FIELDS.iter().filter(|field| field.is_personal()) {
                assert!(!listed.contains(&format!("{},", hidden.name)), "{listed}");
            }
        }
        assert!(find("amount", false).is_ok());
    }

    #[test]
    fn what_hecone_names_is_there_and_in_the_docs() {
        let docs = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/statistics.md"
        ))
        .unwrap();
        // The document's list, and the general fields of a transaction.
        let hecone = "created_at amount paid_amount client_id client_type receipt_state receipt_email site_name site_code device_name \
            device_code point_name point_number license_plate customer_odometer customer_driver_number customer_vehicle_number \
            customer_additional_info card_vehicle_number card_driver_number \
            id mandator_id state site_id point_id terminal_transaction_number session_id";
        for name in hecone.split_whitespace() {
            let field = find(name, true).unwrap();
            let row = docs
                .lines()
                .find(|line| line.starts_with("| `") && line.contains(&format!("`{name}`")));
            let row = row.unwrap_or_else(|| panic!("docs/statistics.md does not list {name}"));
            assert!(
                row.contains(field.column) || row.contains("same name"),
                "{name} reads {}: {row}",
                field.column
            );
        }
    }
}
