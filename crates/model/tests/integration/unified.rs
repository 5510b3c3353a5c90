//! The contracts of the unified tables: their columns, keys and lineage.
//!
//! Invariant: the columns are the ones others were promised, in that order; only on purpose are they changed.

use crate::shipped;
use arrow_schema::{DataType, Field};
use std::sync::Arc;
use tillhouse_model::table::{ColumnClass, ColumnKind, TableRole, timestamp};

const FROM_TRANSACTION: &str = "pipeline source tenant_id perspective kind site_key device_key occurred_at month business_date \
                                local_hour transaction_state";

fn promised() -> Vec<(&'static str, TableRole, String)> {
    let (fact, dimension) = (TableRole::Fact, TableRole::Dimension);
    vec![
        (
            "transactions",
            fact,
            "transaction_key pipeline source transaction_id tenant_id perspective kind state state_derived category \
             occurred_at month business_date local_hour utc_offset_minutes timezone created_at updated_at started_at \
             ended_at amount discount_amount net_amount tax_amount tax_origin paid_amount currency site_key device_key \
             point_key client_id client_type license_plate vin odometer_km driver_number vehicle_id vehicle_number \
             cost_center additional_info card_vehicle_number card_driver_name receipt_state receipt_email \
             terminal_transaction_number session_id roaming_session_id"
                .to_owned(),
        ),
        (
            "articles",
            fact,
            format!(
                "article_key transaction_key article_id line_number product_key product_code name category state \
                 unit_measure source_unit quantity free_quantity max_quantity unit_price amount discount_amount \
                 tax_percentage tax_amount currency tariff_code start_time end_time {FROM_TRANSACTION}"
            ),
        ),
        (
            "payments",
            fact,
            format!(
                "payment_key transaction_key payment_id type medium scheme entry_mode function method state amount \
                 reserved_amount currency card_id additional_card_id additional_card_function identification_id excluded report_group created_at {FROM_TRANSACTION}"
            ),
        ),
        (
            "events",
            fact,
            "event_key scope code error_identity description level occurred_at resolved_at duration_seconds transaction_key \
             article_key payment_key pipeline source tenant_id site_key device_key month"
                .to_owned(),
        ),
        ("tenants", dimension, "tenant_key tenant_id name pipeline source".to_owned()),
        (
            "sites",
            dimension,
            "site_key name code timezone street house_number city postal_code country_code latitude longitude brand \
             pipeline source"
                .to_owned(),
        ),
        ("devices", dimension, "device_key site_key name code pipeline source".to_owned()),
        ("points", dimension, "point_key device_key site_key name number pipeline source".to_owned()),
        ("products", dimension, "product_key code barcode report_name ledger subledger name category unit_measure pipeline source".to_owned()),
        ("device_groups", dimension, "group_key name device_keys pipeline source".to_owned()),
        ("site_groups", dimension, "group_key name site_keys pipeline source".to_owned()),
        (
            "shifts",
            dimension,
            "shift_key shift_id site_key previous_shift_key first_transaction_key last_transaction_key opened_at \
             closed_at pipeline source"
                .to_owned(),
        ),
        (
            "vouchers",
            dimension,
            "voucher_key voucher_id campaign_id type status currency value_amount initial_amount balance_amount \
             redeemed_amount total_redeemed_amount redemption_limit redemptions total_redemptions last_redeemed_at \
             last_redeemed_where reset_frequency last_reset_at expires_on timezone created_at updated_at pipeline source"
                .to_owned(),
        ),
        (
            "voucher_redemptions",
            fact,
            "redemption_key redemption_id voucher_key action succeeded requester requester_location currency \
             occurred_at pipeline source month"
                .to_owned(),
        ),
    ]
}

#[test]
fn columns_stand_in_the_promised_order_with_lineage_behind() {
    for (name, role, columns) in promised() {
        let spec = shipped(&format!("unified/{name}.yaml"));
        assert_eq!(spec.role, role, "{name}");
        let lineage = match role {
            TableRole::Fact => {
                "_record_key _record_time _load_id _extracted_at _content_hash _run_id"
            }
            _ => "_as_of _deleted_at _extracted_at _content_hash _run_id",
        };
        let expected: Vec<&str> = columns
            .split_whitespace()
            .chain(lineage.split_whitespace())
            .collect();
        let schema = spec.unified_schema();
        let have: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(have, expected, "{name}");
    }
}

#[test]
fn keys_partitions_and_what_must_be_there() {
    for (name, role, columns) in promised() {
        let spec = shipped(&format!("unified/{name}.yaml"));
        let key = columns.split_whitespace().next().unwrap();
        assert_eq!(spec.key, [key], "{name}");
        let partitions: &[&str] = if role == TableRole::Fact {
            &["pipeline", "month"]
        } else {
            &["pipeline"]
        };
        assert_eq!(spec.partition_by, partitions, "{name}");
        for always in [key, "pipeline", "source", "kind", "perspective", "month"] {
            if let Some(column) = spec.column(always) {
                // A payment whose sale is not there is of no kind.
                let required = (name, always) != ("payments", "kind");
                assert!(
                    column.required == required && column.kind == ColumnKind::Text,
                    "{name}.{always}"
                );
            }
        }
        assert!(
            spec.record_time.is_empty(),
            "{name}: the record time is its record's"
        );
    }
}

#[test]
fn types_are_the_houses_own() {
    let decimal = |p, s| Some(DataType::Decimal128(p, s));
    for (name, ..) in promised() {
        for field in shipped(&format!("unified/{name}.yaml"))
            .unified_schema()
            .fields()
        {
            let expected = match field.name().as_str() {
                "quantity" | "free_quantity" | "max_quantity" | "unit_price" => decimal(18, 6),
                "tax_percentage" => decimal(9, 4),
                "odometer_km" => decimal(18, 3),
                "latitude" | "longitude" => decimal(9, 6),
                n if n.ends_with("amount") => decimal(18, 4),
                n if n.ends_with("_at") || n.ends_with("_time") || n == "_as_of" => {
                    Some(timestamp())
                }
                "local_hour" | "utc_offset_minutes" | "line_number" | "duration_seconds"
                | "error_identity" | "_load_id" => Some(DataType::Int64),
                "redemption_limit" | "redemptions" | "total_redemptions" => Some(DataType::Int64),
                "business_date" | "expires_on" => Some(DataType::Date32),
                "excluded" | "succeeded" => Some(DataType::Boolean),
                "_content_hash" => Some(DataType::Binary),
                "device_keys" | "site_keys" => Some(DataType::List(Arc::new(Field::new(
                    "element",
                    DataType::Utf8,
                    true,
                )))),
                _ => Some(DataType::Utf8),
            };
            assert_eq!(
                Some(field.data_type().clone()),
                expected,
                "{name}.{}",
                field.name()
            );
        }
    }
}

#[test]
fn pseudonyms_are_marked_so_that_filters_can_hash_what_they_look_for() {
    let spec = shipped("unified/transactions.yaml");
    let marked: Vec<&str> = spec
        .columns
        .iter()
        .filter(|c| matches!(c.class, ColumnClass::Pseudonym(_)))
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(
        marked,
        [
            "client_id",
            "license_plate",
            "vin",
            "driver_number",
            "card_driver_name",
            "receipt_email"
        ]
    );

    // A pseudonym made from the source's column must be found by one made for the unified column.
    let source = shipped("hecone/transactions.yaml");
    let class = |path: &[&str]| {
        let (mut columns, mut class) = (source.columns.as_slice(), ColumnClass::Open);
        for name in path {
            let column = columns.iter().find(|c| c.name == *name).unwrap();
            class = column.class;
            let mut kind = &column.kind;
            while let ColumnKind::List(element) = kind {
                kind = &element.kind;
            }
            if let ColumnKind::Struct(inner) = kind {
                columns = inner;
            }
        }
        class
    };
    let payments = shipped("unified/payments.yaml");
    for (unified, source) in [
        (spec.column("client_id"), class(&["client", "id"])),
        (
            spec.column("license_plate"),
            class(&["customer_data", "license_plate"]),
        ),
        (
            spec.column("driver_number"),
            class(&["customer_data", "driver_number"]),
        ),
        (
            spec.column("card_driver_name"),
            class(&["card_issuer", "driver_name"]),
        ),
        (spec.column("receipt_email"), class(&["receipt", "email"])),
        (payments.column("card_id"), class(&["payments", "card_id"])),
    ] {
        assert_eq!(unified.unwrap().class, source, "{}", unified.unwrap().name);
    }
}
