//! Settings of a connection, and what is read through it.
//!
//! Invariant: every mistake is named by its key before anything is asked.

use tillhouse_extract::{SourceConnection, SourceLimits};
use tillhouse_model::money::PriceUnit;
use tillhouse_model::{ErrorKind, ReadMode};
use tillhouse_smartnow::{RESOURCES, SmartNowArchive, SmartNowConnection, SmartNowOperators};

fn parse(more: &str) -> Result<SmartNowConnection, serde_json::Error> {
    serde_json::from_str(&format!(
        r#"{{"base_url":"http://127.0.0.1:1/smartnow","username":"me","password":"hunter2"{more}}}"#
    ))
}

#[test]
fn little_has_to_be_written() {
    let connection = parse("").unwrap();
    assert_eq!(connection.price_unit, PriceUnit::Minor);
    assert_eq!(
        (&connection.operators, &connection.archive),
        (&SmartNowOperators::default(), &SmartNowArchive::default())
    );
    assert!(!format!("{connection:?}").contains("hunter2"));
    let source = connection.open(SourceLimits::default()).unwrap();
    assert_eq!((source.name(), source.resources()), ("smartnow", RESOURCES));
    assert_eq!(source.parameters(), parameters("minor", "percent", ""));
    assert!(!format!("{source:?}").contains("hunter2"));
}

#[test]
fn what_is_set_is_taken() {
    let more = r#","price_unit":"major","vat_rate":"fraction","sales_types":{"2":"void","1":"test","0":"sale"},"token_prefix":"","operators":{"above":"gt"},"archive":{"after":"never"},
        "paths":{"vouchers":"/campaign/{campaign}/vouchers","voucher_logs":"/voucherlog"}"#;
    let connection = parse(more).unwrap();
    assert_eq!(
        connection.operators,
        SmartNowOperators {
            above: "gt".into(),
            ..SmartNowOperators::default()
        }
    );
    assert_eq!(
        connection
            .open(SourceLimits::default())
            .unwrap()
            .parameters(),
        parameters("major", "fraction", "1=test,2=void")
    );
}

fn parameters(price_unit: &str, vat_rate: &str, sales_types: &str) -> [(&'static str, String); 3] {
    [
        ("price_unit", price_unit.into()),
        ("vat_rate", vat_rate.into()),
        ("sales_types", sales_types.into()),
    ]
}

#[test]
fn types_of_sales_are_checked_word_by_word() {
    let refused = |types: &str| {
        let connection = parse(&format!(r#","sales_types":{types}"#)).unwrap();
        connection.open(SourceLimits::default()).unwrap_err()
    };
    for (types, key, hint) in [
        (
            r#"{"1":"tset"}"#,
            "connection.sales_types.1",
            "Did you mean \"test\"?",
        ),
        (
            r#"{"1":"return"}"#,
            "connection.sales_types.1",
            "There are sale, refund, void, free, test.",
        ),
        (r#"{"1":""}"#, "connection.sales_types.1", "There are"),
        (
            r#"{"one":"test"}"#,
            "connection.sales_types.one",
            "salestype",
        ),
        (r#"{"1":"test"," 1 ":"void"}"#, "connection.sales_types", ""),
    ] {
        let error = refused(types);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(key), "{error}");
        assert!(
            error.hint_text().unwrap_or_default().contains(hint),
            "{error:?}"
        );
    }
    assert!(
        parse(r#","vat_rate":"permille""#)
            .unwrap_err()
            .to_string()
            .contains("`percent` or `fraction`")
    );
}

#[test]
fn mistakes_are_named() {
    assert!(
        parse(r#","passwrod":"x""#)
            .unwrap_err()
            .to_string()
            .contains("unknown field `passwrod`")
    );
    assert!(
        parse(r#","price_unit":"cents""#)
            .unwrap_err()
            .to_string()
            .contains("`minor` or `major`")
    );
    for (more, named) in [
        (r#","paths":{"machine":"/x"}"#, "connection.paths.machine "),
        (r#","paths":{"login":"auth"}"#, "connection.paths.login"),
        (r#","paths":{"refresh":"/a?b"}"#, "connection.paths.refresh"),
        (
            r#","paths":{"machines":"/../x"}"#,
            "connection.paths.machines",
        ),
        (
            r#","paths":{"machines":"/machine/{id}"}"#,
            "connection.paths.machines",
        ),
        (
            r#","paths":{"machines":"/machineconfig"}"#,
            "configurations",
        ),
        (
            r#","paths":{"products":"/product/{machine"}"#,
            "connection.paths.products",
        ),
        (
            r#","paths":{"products":"/product/{a}/{b}"}"#,
            "connection.paths.products",
        ),
        (
            r#","operators":{"above":"]["}"#,
            "connection.operators.above",
        ),
        (
            r#","archive":{"parameter":""}"#,
            "connection.archive.parameter",
        ),
    ] {
        let error = parse(more)
            .unwrap()
            .open(SourceLimits::default())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(named), "{error}");
    }
    let error = parse(r#","archive":{"after":"soon"}"#)
        .unwrap()
        .open(SourceLimits::default())
        .unwrap_err();
    assert!(
        error.to_string().contains("connection.archive.after"),
        "{error}"
    );
    let empty = r#"{"base_url":"http://127.0.0.1","username":"me","password":""}"#;
    let error = serde_json::from_str::<SmartNowConnection>(empty)
        .unwrap()
        .open(SourceLimits::default())
        .unwrap_err();
    assert!(error.message().contains("connection.password"), "{error}");
}

#[test]
fn facts_are_read_by_windows_and_all_else_whole() {
    let windows: Vec<&str> = RESOURCES
        .iter()
        .filter(|r| r.read_mode == ReadMode::Incremental)
        .map(|resource| resource.name)
        .collect();
    assert_eq!(
        windows,
        [
            "revenue_transactions",
            "payment_transactions",
            "logs",
            "voucher_logs",
            "integration_records",
            "integration_transactions"
        ]
    );
    let late: Vec<&str> = RESOURCES
        .iter()
        .filter(|r| r.follows_changes)
        .map(|resource| resource.name)
        .collect();
    assert_eq!(late, ["logs"]);
}
