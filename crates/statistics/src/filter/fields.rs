//! The fields a filter may name: HecOne's, and the columns of unified.transactions with the names the view `sales` adds.
//!
//! Invariant: every field stands here once, with the column it reads and what may be compared with it. A test holds this list
//! against the contracts in schemas/unified, and docs/statistics.md lists the same.

use tillhouse_model::spelling::nearest;
use tillhouse_model::table::Normalise;
use tillhouse_model::{Error, Result};

/// A field of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// The column's name in its table.
    pub(crate) column: &'static str,
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

/// The table a field's column is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The fact itself, transactions.
    Transaction,
    /// The fact itself, also where that is an article or a payment: they have these columns from their transaction.
    EveryFact,
    Site,
    Device,
    Point,
    Tenant,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// Text that is a number where the source has one; a number may be compared with it as well.
    TextOrNumber,
    /// A key, of which the provider's own id is meant: what follows the pipeline's name.
    ProvidersId,
    /// A personal value, stored as its pseudonym.
    Pseudonym(Normalise),
    Decimal {
        precision: u8,
        scale: i8,
    },
    Whole,
    Instant,
    Date,
}

/// A dimension that a fact is joined with, and the columns by which they meet, of the same name on both.
pub(crate) struct Dimension {
    pub(crate) place: Place,
    pub(crate) table: &'static str,
    pub(crate) keys: &'static [&'static str],
}

/// The dimensions, as the view `sales` joins them.
pub(crate) const DIMENSIONS: [Dimension; 4] = [
    Dimension { place: Place::Site, table: "sites", keys: &["site_key"] },
    Dimension { place: Place::Device, table: "devices", keys: &["device_key"] },
    Dimension { place: Place::Point, table: "points", keys: &["point_key"] },
    Dimension { place: Place::Tenant, table: "tenants", keys: &["pipeline", "tenant_id"] },
];

impl Field {
    /// Whether articles and payments can be asked as well: their own columns say it, or those of a dimension they meet.
    pub(crate) fn is_on_every_fact(&self) -> bool {
        !matches!(self.place, Place::Transaction | Place::Point)
    }

    /// Whether the roll-ups can be asked as well: they keep the column, or the key of the dimension.
    pub(crate) fn is_on_rollups(&self) -> bool {
        match self.place {
            Place::Site | Place::Tenant => true,
            // An hour is not the instant, and devices are not told apart.
            Place::EveryFact => !matches!(self.column, "occurred_at" | "device_key"),
            Place::Transaction | Place::Device | Place::Point => false,
        }
    }
}

const AMOUNT: Kind = Kind::Decimal { precision: 18, scale: 4 };
const PLATE: Kind = Kind::Pseudonym(Normalise::Plate);
const EMAIL: Kind = Kind::Pseudonym(Normalise::Email);
const WORDS: Kind = Kind::Pseudonym(Normalise::Text);

const fn field(name: &'static str, column: &'static str, place: Place, kind: Kind) -> Field {
    Field { name, column, place, kind }
}

/// A column of transactions under its own name.
const fn own(name: &'static str, kind: Kind) -> Field {
    field(name, name, Place::Transaction, kind)
}

/// A column that articles and payments have from their transaction.
const fn shared(name: &'static str, kind: Kind) -> Field {
    field(name, name, Place::EveryFact, kind)
}

/// Every field.
pub(crate) static FIELDS: [Field; 66] = [
    // HecOne's names where they differ from ours.
    field("id", "transaction_id", Place::Transaction, Kind::Text),
    field("mandator_id", "tenant_id", Place::EveryFact, Kind::Text),
    field("site_id", "site_key", Place::EveryFact, Kind::ProvidersId),
    field("point_id", "point_key", Place::Transaction, Kind::ProvidersId),
    field("customer_odometer", "odometer_km", Place::Transaction, Kind::Decimal { precision: 18, scale: 3 }),
    field("customer_driver_number", "driver_number", Place::Transaction, WORDS),
    field("customer_vehicle_number", "vehicle_number", Place::Transaction, Kind::Text),
    field("customer_additional_info", "additional_info", Place::Transaction, Kind::Text),
    // The document's filter list says number where its record has the driver's name.
    field("card_driver_number", "card_driver_name", Place::Transaction, WORDS),
    // Names in the dimensions: HecOne's, then the rest of what `sales` shows.
    field("site_name", "name", Place::Site, Kind::Text),
    field("site_code", "code", Place::Site, Kind::Text),
    field("device_name", "name", Place::Device, Kind::Text),
    field("device_code", "code", Place::Device, Kind::Text),
    field("point_name", "name", Place::Point, Kind::Text),
    field("point_number", "number", Place::Point, Kind::TextOrNumber),
    field("site_city", "city", Place::Site, Kind::Text),
    field("site_country_code", "country_code", Place::Site, Kind::Text),
    field("site_brand", "brand", Place::Site, Kind::Text),
    field("tenant_name", "name", Place::Tenant, Kind::Text),
    // The columns of transactions, in the contract's order.
    own("transaction_key", Kind::Text),
    shared("pipeline", Kind::Text),
    shared("source", Kind::Text),
    own("transaction_id", Kind::Text),
    shared("tenant_id", Kind::Text),
    shared("perspective", Kind::Text),
    shared("kind", Kind::Text),
    shared("state", Kind::Text),
    own("state_derived", Kind::Text),
    own("category", Kind::Text),
    shared("occurred_at", Kind::Instant),
    shared("month", Kind::Text),
    shared("business_date", Kind::Date),
    shared("local_hour", Kind::Whole),
    own("utc_offset_minutes", Kind::Whole),
    own("timezone", Kind::Text),
    own("created_at", Kind::Instant),
    own("updated_at", Kind::Instant),
    own("started_at", Kind::Instant),
    own("ended_at", Kind::Instant),
    own("amount", AMOUNT),
    own("discount_amount", AMOUNT),
    own("net_amount", AMOUNT),
    own("tax_amount", AMOUNT),
    own("tax_origin", Kind::Text),
    own("paid_amount", AMOUNT),
    own("currency", Kind::Text),
    shared("site_key", Kind::Text),
    shared("device_key", Kind::Text),
    own("point_key", Kind::Text),
    own("client_id", EMAIL),
    own("client_type", Kind::Text),
    own("license_plate", PLATE),
    own("vin", PLATE),
    own("odometer_km", Kind::Decimal { precision: 18, scale: 3 }),
    own("driver_number", WORDS),
    own("vehicle_id", Kind::Text),
    own("vehicle_number", Kind::Text),
    own("cost_center", Kind::Text),
    own("additional_info", Kind::Text),
    own("card_vehicle_number", Kind::Text),
    own("card_driver_name", WORDS),
    own("receipt_state", Kind::Text),
    own("receipt_email", EMAIL),
    own("terminal_transaction_number", Kind::Text),
    own("session_id", Kind::Text),
    own("roaming_session_id", Kind::Text),
];

/// The field of that name.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`], listing the fields.
pub(crate) fn find(name: &str) -> Result<&'static Field> {
    FIELDS.iter().find(|field| field.name == name).ok_or_else(|| {
        let names: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
        let near = nearest(name, &names).map_or_else(String::new, |near| format!(", did you mean {near}"));
        Error::config(format!("there is no field {name:?} to filter by{near}"))
            .hint(format!("Fields are {}.", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tillhouse_model::table::Column;
    use tillhouse_model::{Class, Kind as ColumnKind, contract};

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/unified");

    fn columns(table: &str) -> BTreeMap<String, Column> {
        let text = std::fs::read_to_string(format!("{FOLDER}/{table}.yaml")).unwrap();
        let columns = contract::parse(&text, table).unwrap().columns;
        columns.into_iter().map(|column| (column.name.clone(), column)).collect()
    }

    #[test]
    fn every_field_is_what_its_contract_says() {
        let tables = BTreeMap::from([
            (Place::Transaction, columns("transactions")),
            (Place::EveryFact, columns("transactions")),
            (Place::Site, columns("sites")),
            (Place::Device, columns("devices")),
            (Place::Point, columns("points")),
            (Place::Tenant, columns("tenants")),
        ]);
        for field in &FIELDS {
            let column = tables[&field.place].get(field.column).unwrap_or_else(|| panic!("{field:?}"));
            let fits = match field.kind {
                Kind::Text | Kind::TextOrNumber | Kind::ProvidersId => {
                    column.kind == ColumnKind::Text && column.class == Class::Open
                }
                Kind::Pseudonym(how) => column.class == Class::Pseudonym(how),
                Kind::Decimal { precision, scale } => column.kind == ColumnKind::Decimal { precision, scale },
                Kind::Whole => column.kind == ColumnKind::Int,
                Kind::Instant => matches!(column.kind, ColumnKind::Timestamp(_)),
                Kind::Date => column.kind == ColumnKind::Date,
            };
            assert!(fits, "{field:?} is {:?}, {:?}", column.kind, column.class);
            if field.place == Place::EveryFact {
                for child in ["articles", "payments"] {
                    let name = if field.column == "state" { "transaction_state" } else { field.column };
                    assert!(columns(child).contains_key(name), "{child} has no {name}");
                }
            }
        }
        for name in tables[&Place::Transaction].keys() {
            assert!(FIELDS.iter().any(|field| field.name == name), "{name} cannot be filtered by");
        }
        let names: std::collections::BTreeSet<&str> = FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), FIELDS.len(), "a name stands twice");
    }

    #[test]
    fn what_hecone_names_is_there_and_in_the_docs() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/statistics.md")).unwrap();
        // The document's list, and the general fields of a transaction.
        let hecone = "created_at amount paid_amount client_id client_type receipt_state receipt_email site_name site_code device_name \
            device_code point_name point_number license_plate customer_odometer customer_driver_number customer_vehicle_number \
            customer_additional_info card_vehicle_number card_driver_number \
            id mandator_id state site_id point_id terminal_transaction_number session_id";
        for name in hecone.split_whitespace() {
            let field = find(name).unwrap();
            let row = docs.lines().find(|line| line.starts_with("| `") && line.contains(&format!("`{name}`")));
            let row = row.unwrap_or_else(|| panic!("docs/statistics.md does not list {name}"));
            assert!(row.contains(field.column) || row.contains("same name"), "{name} reads {}: {row}", field.column);
        }
    }
}
