//! Words of filters in every language: of fields, of operators, and of the form that builds a filter.
//!
//! Invariant: every field that a filter may name has a label, and every operator; a test holds the fields against the table that filters are checked by.

use crate::language::Language;
use tillhouse_model::FilterOperator;

/// Words of the form that builds a filter.
#[derive(Debug)]
pub(crate) struct FilterWords {
    pub(crate) title: &'static str,
    pub(crate) present: &'static str,
    pub(crate) add: &'static str,
    pub(crate) further_row: &'static str,
    pub(crate) field: &'static str,
    pub(crate) operator: &'static str,
    pub(crate) value: &'static str,
    pub(crate) choose: &'static str,
    pub(crate) often: &'static str,
    pub(crate) other_fields: &'static str,
    pub(crate) join: &'static str,
    pub(crate) join_and: &'static str,
    pub(crate) join_or: &'static str,
    pub(crate) logic: &'static str,
    pub(crate) logic_all: &'static str,
    pub(crate) logic_any: &'static str,
    pub(crate) and: &'static str,
    pub(crate) or: &'static str,
    pub(crate) conditions: &'static str,
    pub(crate) unread: &'static str,
    pub(crate) group: &'static str,
    pub(crate) exact_case: &'static str,
    pub(crate) note: &'static str,
}

impl FilterWords {
    /// The words of a language.
    pub(crate) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::German => &GERMAN,
        }
    }
}

static ENGLISH: FilterWords = FilterWords {
    title: "Filter",
    present: "Filter in force",
    add: "Add to the filter",
    further_row: "A further condition",
    field: "Field",
    operator: "Comparison",
    value: "Value",
    choose: "Choose a field",
    often: "Often used",
    other_fields: "Other fields",
    join: "With the filter in force",
    join_and: "and also",
    join_or: "or else",
    logic: "Of these conditions",
    logic_all: "all hold",
    logic_any: "one holds at least",
    and: "and",
    or: "or",
    conditions: "conditions",
    unread: "A filter that cannot be read",
    group: "a group",
    exact_case: "in these letters",
    note: "Instants and dates like 2026-01-31T12:00 and 2026-01-31, on the clock of the view.",
};

static GERMAN: FilterWords = FilterWords {
    title: "Filter",
    present: "Geltender Filter",
    add: "Zum Filter hinzuf\u{fc}gen",
    further_row: "Eine weitere Bedingung",
    field: "Feld",
    operator: "Vergleich",
    value: "Wert",
    choose: "Feld w\u{e4}hlen",
    often: "H\u{e4}ufig",
    other_fields: "Weitere Felder",
    join: "Mit dem geltenden Filter",
    join_and: "und au\u{df}erdem",
    join_or: "oder sonst",
    logic: "Von diesen Bedingungen",
    logic_all: "gelten alle",
    logic_any: "gilt mindestens eine",
    and: "und",
    or: "oder",
    conditions: "Bedingungen",
    unread: "Ein Filter, der nicht zu lesen ist",
    group: "eine Gruppe",
    exact_case: "in dieser Schreibung",
    note: "Zeitpunkte und Tage wie 2026-01-31T12:00 und 2026-01-31, nach der Uhr der Ansicht.",
};

/// The operator in words, between a field and a value.
pub(crate) fn operator_words(operator: FilterOperator, language: Language) -> &'static str {
    let (english, german) = match operator {
        FilterOperator::Eq => ("is", "ist"),
        FilterOperator::Neq => ("is not", "ist nicht"),
        FilterOperator::IsNull => ("has no value", "hat keinen Wert"),
        FilterOperator::IsNotNull => ("has a value", "hat einen Wert"),
        FilterOperator::Lt => ("is less than", "ist kleiner als"),
        FilterOperator::Lte => ("is at most", "ist h\u{f6}chstens"),
        FilterOperator::Gt => ("is more than", "ist gr\u{f6}\u{df}er als"),
        FilterOperator::Gte => ("is at least", "ist mindestens"),
        FilterOperator::StartsWith => ("begins with", "beginnt mit"),
        FilterOperator::DoesNotStartWith => ("does not begin with", "beginnt nicht mit"),
        FilterOperator::EndsWith => ("ends with", "endet mit"),
        FilterOperator::DoesNotEndWith => ("does not end with", "endet nicht mit"),
        FilterOperator::Contains => ("contains", "enth\u{e4}lt"),
        FilterOperator::DoesNotContain => ("does not contain", "enth\u{e4}lt nicht"),
        FilterOperator::IsEmpty => ("is an empty text", "ist ein leerer Text"),
        FilterOperator::IsNotEmpty => ("is no empty text", "ist kein leerer Text"),
        FilterOperator::IsNullOrEmpty => ("is missing or empty", "fehlt oder ist leer"),
        FilterOperator::IsNotNullOrEmpty => ("is there and not empty", "ist da und nicht leer"),
    };
    match language {
        Language::English => english,
        Language::German => german,
    }
}

/// Label of a field; its name where it has none.
pub(crate) fn field_label(name: &str, language: Language) -> &str {
    let known = LABELS.iter().find(|(known, ..)| *known == name);
    match (known, language) {
        (Some(&(_, english, _)), Language::English) => english,
        (Some(&(_, _, german)), Language::German) => german,
        (None, _) => name,
    }
}

/// Fields that are asked for most, in the order in which they are offered.
pub(crate) const OFTEN: [&str; 15] = [
    "amount",
    "kind",
    "state",
    "category",
    "currency",
    "site_name",
    "site_city",
    "device_name",
    "point_name",
    "tenant_name",
    "source",
    "business_date",
    "local_hour",
    "paid_amount",
    "license_plate",
];

/// Names of fields, with their labels in English and German.
const LABELS: [(&str, &str, &str); 66] = [
    ("id", "Id of the sale", "Kennung des Verkaufs"),
    ("mandator_id", "Mandator's id", "Kennung des Mandanten"),
    (
        "site_id",
        "Provider's id of the site",
        "Standort-Kennung des Anbieters",
    ),
    (
        "point_id",
        "Provider's id of the point",
        "Punkt-Kennung des Anbieters",
    ),
    ("customer_odometer", "Odometer, km", "Kilometerstand"),
    ("customer_driver_number", "Driver's number", "Fahrernummer"),
    (
        "customer_vehicle_number",
        "Vehicle's number",
        "Fahrzeugnummer",
    ),
    (
        "customer_additional_info",
        "Additional information",
        "Zusatzangabe",
    ),
    (
        "card_driver_number",
        "Driver on the card",
        "Fahrer auf der Karte",
    ),
    ("site_name", "Site", "Standort"),
    ("site_code", "Code of the site", "Code des Standorts"),
    ("device_name", "Device", "Ger\u{e4}t"),
    ("device_code", "Code of the device", "Code des Ger\u{e4}ts"),
    ("point_name", "Point of service", "Abgabepunkt"),
    (
        "point_number",
        "Number of the point",
        "Nummer des Abgabepunkts",
    ),
    ("site_city", "City of the site", "Ort des Standorts"),
    (
        "site_country_code",
        "Country of the site",
        "Land des Standorts",
    ),
    ("site_brand", "Brand of the site", "Marke des Standorts"),
    ("tenant_name", "Tenant", "Mandant"),
    (
        "transaction_key",
        "Key of the sale",
        "Schl\u{fc}ssel des Verkaufs",
    ),
    ("pipeline", "Pipeline", "Pipeline"),
    ("source", "Source", "Quelle"),
    ("transaction_id", "Id of the sale", "Kennung des Verkaufs"),
    ("tenant_id", "Tenant's id", "Kennung des Mandanten"),
    ("perspective", "Sale or purchase", "Verkauf oder Einkauf"),
    ("kind", "Kind", "Art"),
    ("state", "State", "Zustand"),
    ("state_derived", "Derived state", "Abgeleiteter Zustand"),
    ("category", "Category", "Kategorie"),
    ("occurred_at", "Time of the sale", "Zeit des Verkaufs"),
    ("month", "Month (UTC)", "Monat (UTC)"),
    (
        "business_date",
        "Day, on the site's clock",
        "Tag nach der Uhr des Standorts",
    ),
    (
        "local_hour",
        "Hour, on the site's clock",
        "Stunde nach der Uhr des Standorts",
    ),
    (
        "utc_offset_minutes",
        "Offset from UTC, minutes",
        "Abstand zu UTC, Minuten",
    ),
    (
        "timezone",
        "Time zone of the site",
        "Zeitzone des Standorts",
    ),
    ("created_at", "Created", "Angelegt"),
    ("updated_at", "Changed", "Ge\u{e4}ndert"),
    ("started_at", "Began", "Begonnen"),
    ("ended_at", "Ended", "Beendet"),
    ("amount", "Amount", "Betrag"),
    ("discount_amount", "Discount", "Rabatt"),
    ("net_amount", "Net amount", "Nettobetrag"),
    ("tax_amount", "Tax", "Steuer"),
    ("tax_origin", "Origin of the tax", "Herkunft der Steuer"),
    ("paid_amount", "Paid amount", "Bezahlter Betrag"),
    ("currency", "Currency", "W\u{e4}hrung"),
    (
        "site_key",
        "Key of the site",
        "Schl\u{fc}ssel des Standorts",
    ),
    (
        "device_key",
        "Key of the device",
        "Schl\u{fc}ssel des Ger\u{e4}ts",
    ),
    (
        "point_key",
        "Key of the point",
        "Schl\u{fc}ssel des Abgabepunkts",
    ),
    ("client_id", "Customer", "Kunde"),
    ("client_type", "Type of customer", "Kundentyp"),
    ("license_plate", "License plate", "Kennzeichen"),
    ("vin", "Vehicle identification number", "Fahrgestellnummer"),
    ("odometer_km", "Odometer, km", "Kilometerstand"),
    ("driver_number", "Driver's number", "Fahrernummer"),
    ("vehicle_id", "Vehicle's id", "Kennung des Fahrzeugs"),
    ("vehicle_number", "Vehicle's number", "Fahrzeugnummer"),
    ("cost_center", "Cost centre", "Kostenstelle"),
    ("additional_info", "Additional information", "Zusatzangabe"),
    (
        "card_vehicle_number",
        "Vehicle on the card",
        "Fahrzeug auf der Karte",
    ),
    (
        "card_driver_name",
        "Driver on the card",
        "Fahrer auf der Karte",
    ),
    (
        "receipt_state",
        "State of the receipt",
        "Zustand des Belegs",
    ),
    (
        "receipt_email",
        "Address of the receipt",
        "Adresse des Belegs",
    ),
    (
        "terminal_transaction_number",
        "Number at the terminal",
        "Nummer am Terminal",
    ),
    ("session_id", "Session", "Sitzung"),
    ("roaming_session_id", "Roaming session", "Roaming-Sitzung"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_statistics::offered_fields;

    #[test]
    fn every_field_has_a_label_and_every_label_a_field() {
        let fields: Vec<&str> = offered_fields(true).map(|field| field.name()).collect();
        let labelled: Vec<&str> = LABELS.iter().map(|(name, ..)| *name).collect();
        for name in &fields {
            assert!(labelled.contains(name), "{name} has no label");
        }
        assert_eq!(fields.len(), labelled.len());
        for name in OFTEN {
            assert!(fields.contains(&name), "{name}");
        }
        // Of the fields that are offered no two are called alike.
        for language in Language::ALL {
            let offered = offered_fields(true).filter(|field| !field.is_another_name());
            let mut labels: Vec<&str> = offered
                .map(|field| field_label(field.name(), language))
                .collect();
            let count = labels.len();
            labels.sort_unstable();
            labels.dedup();
            assert_eq!(labels.len(), count, "{labels:?}");
        }
    }
}
