//! Sales that their provider calls faulty and that have amounts all the same: taken, and told, in every source.
//!
//! Invariant: what a contract knows as an error is told by its rule, with what the provider said and the amount beside it; what it does not know, by
//! the name of the field.

use crate::sources::{BEMO, HECONE, PACE, SMARTNOW, shipped};
use arrow::array::Array;

/// The sale with more text behind a piece of it, how many are taken, and what is told.
fn told(table: &str, record: &str, behind: &str, more: &str) -> (usize, Vec<String>) {
    assert!(record.contains(behind), "{behind} is in {record}");
    let page = format!(
        "[{}]",
        record.replacen(behind, &format!("{behind}{more}"), 1)
    );
    let decoded = shipped(table)
        .decode_scoped(page.as_bytes(), &[], Some("scope"))
        .unwrap();
    assert_eq!(decoded.rejects, [], "{more}");
    let told = decoded.warnings.iter();
    let told = told.map(|w| format!("{} {} {}: {}", w.key, w.rule, w.field, w.original));
    (decoded.keys.len(), told.collect())
}

#[test]
fn a_sale_with_an_error_and_an_amount_is_taken_and_told_with_both() {
    let sale = |changes: &[(&str, &str)], error: &str| {
        let mut record = PACE.to_owned();
        for (from, to) in changes {
            assert!(record.contains(from), "{from}");
            record = record.replacen(from, to, 1);
        }
        let more = format!(r#","error":{error}"#);
        let (taken, told) = told(
            "pace/transactions.yaml",
            &record,
            r#""mileage":1000"#,
            &more,
        );
        assert_eq!(taken, 1);
        let ours = told
            .into_iter()
            .filter(|told| told.contains("error_has_no_amount"));
        ours.collect::<Vec<_>>()
    };
    let of = |said: &str, amount: &str| {
        format!(
            "1 error_has_no_amount attributes.error: attributes.error is {said}, and attributes.{amount}: it is of state error, and counts as not paid"
        )
    };
    let price = "priceIncludingVAT is 119";
    assert_eq!(sale(&[], r#""declined""#), [of("declined", price)]);
    assert_eq!(
        sale(&[], r#"{"id":"cbgmhs","code":402}"#),
        [of(r#"{"id":"cbgmhs","code":402}"#, price)]
    );
    assert_eq!(sale(&[], "17"), [of("17", price)]);
    assert_eq!(
        sale(
            &[(r#""priceIncludingVAT":119"#, r#""priceIncludingVAT":-119"#)],
            r#""declined""#
        ),
        [of("declined", "priceIncludingVAT is -119")]
    );
    let free = (r#""priceIncludingVAT":119"#, r#""priceIncludingVAT":0"#);
    assert_eq!(
        sale(&[free], r#""declined""#),
        [of("declined", "priceWithoutVAT is 100")]
    );
    let no_net = (r#""priceWithoutVAT":100"#, r#""priceWithoutVAT":null"#);
    assert_eq!(
        sale(&[free, no_net], r#""declined""#),
        [of("declined", "fuel.amount is 70")]
    );
    let no_fuel = (r#""amount":70"#, r#""amount":0"#);
    assert_eq!(sale(&[free, no_net, no_fuel], r#""declined""#), [""; 0]);
    for none in ["null", "{}", r#""OK""#, "0", "false", r#"" ""#] {
        assert_eq!(sale(&[], none), [""; 0], "{none}");
    }
    let long = "x".repeat(4_000);
    let told = sale(&[], &format!("{long:?}"));
    assert!(
        told[0].contains("priceIncludingVAT is 119: it is of state error") && told[0].len() < 400,
        "{told:?}"
    );
}

#[test]
fn a_fault_in_a_field_that_no_contract_knows_is_told_in_every_source() {
    for (table, record, behind, path) in [
        ("hecone/transactions.yaml", HECONE, r#""id":"1""#, ""),
        (
            "hecone/transactions.yaml",
            HECONE,
            r#""id":"p""#,
            "payments[0].",
        ),
        ("bemo/sessions.yaml", BEMO, r#""sessionId":"1""#, ""),
        (
            "bemo/sessions.yaml",
            BEMO,
            r#""productCode":"B7""#,
            "transactions[0].",
        ),
        (
            "smartnow/revenue_transactions.yaml",
            SMARTNOW,
            r#""id":1"#,
            "",
        ),
        (
            "pace/transactions.yaml",
            PACE,
            r#""type":"transaction""#,
            "",
        ),
        (
            "pace/transactions.yaml",
            PACE,
            r#""mileage":1000"#,
            "attributes.",
        ),
    ] {
        for (field, said, shown) in [
            ("errors", r#"[{"code":"E17"}]"#, "[{code: E17}]"),
            ("errorId", r#""cbgmhs""#, "…"),
            ("lastError", r#""refused by Jo Doe""#, "…"),
            ("faultCode", "402", "402"),
            ("status", r#""FAILED""#, "failed"),
            ("success", "false", "false"),
        ] {
            let more = format!(",{field:?}:{said}");
            let (taken, told) = told(table, record, behind, &more);
            let expected = format!("1 fault_told {path}{field}: {shown}");
            assert_eq!((taken, told), (1, vec![expected]), "{table} {path}");
        }
        for nothing in ["null", "[]", "false", "0", r#""OK""#, r#"{"code":200}"#] {
            let (taken, told) = told(table, record, behind, &format!(r#","errors":{nothing}"#));
            assert_eq!((taken, told), (1, vec![]), "{table} {nothing}");
        }
    }
}
