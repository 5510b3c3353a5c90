//! Cost of a value that cannot be read: the record, the element of a list, or itself.
//!
//! Invariant: a misfit that costs only itself is null in the row and in its hash, and makes exactly one warning, which never shows what must not be seen.

use crate::fixture::{self, column, spec};
use crate::values::{bad, good, odd, outcome};
use crate::{decode, decoder};
use arrow::array::Array as _;
use tillhouse_model::table::ValueNormalisation;
use tillhouse_model::{ColumnClass, ColumnKind, ColumnSpec, MisfitPolicy};

/// The record time comes from the invoice, else from the first article: what cannot be read there counts if it would have decided.
#[test]
fn a_time_that_decides_when_a_sale_was_is_worth_the_sale() {
    let sale = |invoice: &str, article: &str| {
        decode(&[&format!(
            r#"{{"id":"1","invoice":{{"created_at":{invoice}}},"articles":[{{"name":"a","start_time":{article}}}]}}"#
        )])
    };
    let (good, zero, open, odd) = (
        r#""2024-01-01T00:00:00Z""#,
        r#""0001-01-01T00:00:00Z""#,
        r#""9999-12-31T23:59:59Z""#,
        r#""soon""#,
    );
    for article in [zero, open, odd] {
        let decoded = sale(good, article);
        assert_eq!(
            (decoded.batch.num_rows(), decoded.warnings.len()),
            (1, 1),
            "{article}"
        );
        assert_eq!(decoded.warnings[0].field, "articles[0].start_time");
    }
    // None and never are none: the article's time decides, as if the invoice had not been written yet; or nobody's does.
    for (none, rule) in [(zero, "no_time"), (open, "open_end")] {
        let decoded = sale(none, r#""2024-01-02T00:00:00Z""#);
        assert_eq!(
            crate::row_json::instant(decoded.record_times.value(0)),
            "2024-01-02T00:00:00.000000Z"
        );
        assert_eq!(decoded.warnings[0].rule, rule);
        for (invoice, article) in [(none, "null"), ("null", none), (none, none)] {
            let decoded = sale(invoice, article);
            assert_eq!(
                (decoded.batch.num_rows(), decoded.record_times.null_count()),
                (1, 1),
                "{invoice} {article}"
            );
            assert!(!decoded.warnings.is_empty());
        }
    }
    for (invoice, article, field) in [
        (odd, good, "invoice.created_at"),
        ("null", odd, "articles[0].start_time"),
        (zero, odd, "articles[0].start_time"),
        (odd, zero, "invoice.created_at"),
    ] {
        let decoded = sale(invoice, article);
        assert_eq!(
            (decoded.batch.num_rows(), &*decoded.rejects[0].field),
            (0, field),
            "{invoice} {article}"
        );
        assert_eq!(decoded.warnings, [], "a reject warns of nothing");
    }
    assert_eq!(sale("null", "null").rejects, []);
    assert_eq!(sale(r#""""#, good).rejects, []);
}

#[test]
fn the_wrong_shape_costs_what_may_be_in_it() {
    bad(
        r#""invoice":[1]"#,
        "invoice",
        "expected an object, found an array",
    );
    bad(
        r#""invoice":"none""#,
        "invoice",
        "expected an object, found text",
    );
    bad(
        r#""articles":{"name":"a"}"#,
        "articles",
        "expected an array, found an object",
    );
    bad(
        r#""articles":"a""#,
        "articles",
        "expected an array, found text",
    );
    good(
        r#""invoice":[],"articles":{},"tags":{ }"#,
        r#"{"invoice":{},"articles":[],"tags":[]}"#,
    );
    odd(r#""tags":"x""#, "{}", "expected_array", "tags", "");
    odd(r#""tags":{"x":1}"#, "{}", "expected_array", "tags", "{…}");
    // An element costs itself, and its neighbours stay: but where it would hold money.
    odd(
        r#""articles":[{"name":"a","log":[{"code":1},7,{"code":2}]}]"#,
        r#"{"articles":[{"name":"a","log":[{"code":1},{"code":2}]}]}"#,
        "expected_object",
        "articles[0].log[1]",
        "",
    );
    odd(
        r#""articles":[{"name":"a","log":["text"]}]"#,
        r#"{"articles":[{"name":"a","log":[]}]}"#,
        "expected_object",
        "articles[0].log[0]",
        "",
    );
    for (element, found) in [
        (r#""{\"name\":\"b\",\"amount\":5}""#, "text"),
        (r#"[{"name":"b","amount":5}]"#, "an array"),
        ("1", "a number"),
        ("true", "a truth value"),
    ] {
        bad(
            &format!(r#""articles":[{{"name":"a"}},{element}]"#),
            "articles[1]",
            &format!("expected an object, found {found}"),
        );
    }
    odd(
        r#""articles":[{"name":"a"}," ",{"name":"b"}]"#,
        r#"{"articles":[{"name":"a"},{"name":"b"}]}"#,
        "expected_object",
        "articles[1]",
        "",
    );
    for (nulls, left) in [
        ("[null]", "[]"),
        (r#"[null,{"name":"b"}]"#, r#"[{"name":"b"}]"#),
        (r#"[ null , {"name":"b"} ]"#, r#"[{"name":"b"}]"#),
    ] {
        odd(
            &format!(r#""articles":{nulls}"#),
            &format!(r#"{{"articles":{left}}}"#),
            "expected_object",
            "articles[0]",
            "null",
        );
    }
    let in_the_middle = r#""articles":[{"name":"a","log":[]},null,{"name":"b"}]"#;
    odd(
        in_the_middle,
        r#"{"articles":[{"name":"a","log":[]},{"name":"b"}]}"#,
        "expected_object",
        "articles[1]",
        "null",
    );
    odd(
        r#""articles":[{"name":"a","log":[null]}]"#,
        r#"{"articles":[{"name":"a","log":[]}]}"#,
        "expected_object",
        "articles[0].log[0]",
        "null",
    );
    odd(
        r#""articles":[{"name":"a","log":[{"code":1},{"code":"x"}]}]"#,
        r#"{"articles":[{"name":"a","log":[{"code":1},{}]}]}"#,
        "expected_whole_number",
        "articles[0].log[1].code",
        "x",
    );
    bad(
        r#""articles":[{"name":"a","amount":"x"}]"#,
        "articles[0].amount",
        "expected a number, found text",
    );
    assert_eq!(
        outcome(decode(&["[1]"])),
        Err((String::new(), "expected an object, found an array".into()))
    );
}

#[test]
fn what_must_not_be_seen_is_not_quoted() {
    let secret = |class, kind| ColumnSpec {
        class,
        ..column("x", kind)
    };
    let restricted = ColumnSpec {
        restricted: true,
        ..column("x", ColumnKind::Text)
    };
    let within = column("x", ColumnKind::Struct(vec![column("y", ColumnKind::Int)]));
    let within = ColumnSpec {
        restricted: true,
        ..within
    };
    for (column, value) in [
        (
            secret(
                ColumnClass::Pseudonym(ValueNormalisation::Text),
                ColumnKind::Text,
            ),
            r#"["SECRET"]"#,
        ),
        (
            secret(ColumnClass::LastFour, ColumnKind::Text),
            r#"{"a":"SECRET"}"#,
        ),
        (restricted, r#"["SECRET"]"#),
        (within, r#"{"y":"SECRET"}"#),
        (
            secret(
                ColumnClass::Open,
                ColumnKind::List(Box::new(fixture::column("element", ColumnKind::Int))),
            ),
            r#"{"a":"SECRET"}"#,
        ),
    ] {
        let id = fixture::column("id", ColumnKind::Text);
        let decoded = decoder(spec(vec![id, column], &["id"]))
            .decode(format!(r#"[{{"id":"1","x":{value}}}]"#).as_bytes(), &[])
            .unwrap();
        assert_eq!(
            (decoded.batch.num_rows(), decoded.warnings.len()),
            (1, 1),
            "{value}"
        );
        assert!(
            !format!("{decoded:?}").contains("SECRET"),
            "{:?}",
            decoded.warnings
        );
    }
    // Digits are a plate too.
    let token = crate::fixture::key().pseudonym(ValueNormalisation::Plate, "123");
    good(
        r#""license_plate":123"#,
        &format!(r#"{{"license_plate":"{token}"}}"#),
    );
    good(r#""card":12345678"#, r#"{"card":"5678"}"#);
}

#[test]
fn the_contract_decides_what_a_misfit_costs() {
    let money = |on_misfit| ColumnSpec {
        on_misfit,
        ..column("x", fixture::MONEY)
    };
    let text = |on_misfit| ColumnSpec {
        on_misfit,
        ..column("x", ColumnKind::Int)
    };
    for (column, rejected) in [
        (money(None), true),
        (money(Some(MisfitPolicy::Warn)), false),
        (text(None), false),
        (text(Some(MisfitPolicy::Reject)), true),
        (
            ColumnSpec {
                required: true,
                ..text(None)
            },
            true,
        ),
    ] {
        let id = fixture::column("id", ColumnKind::Text);
        let decoded = decoder(spec(vec![id, column.clone()], &["id"]))
            .decode(br#"[{"id":"1","x":"odd"}]"#, &[])
            .unwrap();
        assert_eq!(decoded.rejects.len(), usize::from(rejected), "{column:?}");
        assert_eq!(decoded.warnings.len(), usize::from(!rejected), "{column:?}");
    }
}

/// Elements of the wrong type, in lists of elements with money, without it, and where the contract wants no more than a warning.
#[test]
fn an_element_costs_the_record_where_it_would_hold_money() {
    let amount = |on_misfit| ColumnSpec {
        on_misfit,
        ..column("amount", fixture::MONEY)
    };
    let of = |inner: ColumnSpec| column("element", ColumnKind::Struct(vec![inner]));
    let list = |element: ColumnSpec, on_misfit| ColumnSpec {
        on_misfit,
        ..column("x", ColumnKind::List(Box::new(element)))
    };
    let warn = Some(MisfitPolicy::Warn);
    let deep = column("element", ColumnKind::List(Box::new(of(amount(None)))));
    for (list, is_rejected) in [
        (list(of(amount(None)), None), true),
        (list(deep, None), true),
        (list(of(amount(warn)), None), false),
        (list(of(amount(None)), warn), false),
        (list(of(column("code", ColumnKind::Int)), None), false),
        (
            list(
                of(column("inner", ColumnKind::Struct(vec![amount(None)]))),
                None,
            ),
            true,
        ),
    ] {
        let id = fixture::column("id", ColumnKind::Text);
        let decoded = decoder(spec(vec![id, list.clone()], &["id"]))
            .decode(br#"[{"id":"1","x":["5"]}]"#, &[])
            .unwrap();
        assert_eq!(decoded.rejects.len(), usize::from(is_rejected), "{list:?}");
        assert_eq!(
            decoded.warnings.len(),
            usize::from(!is_rejected),
            "{list:?}"
        );
    }
}

#[test]
fn an_odd_value_hashes_as_none() {
    let hash = |json: &str| {
        decode(&[&format!(r#"{{"id":"1",{json}}}"#)])
            .content_hashes
            .value(0)
            .to_vec()
    };
    assert_eq!(hash(r#""zähler":"A3""#), hash(r#""zähler":null"#));
    assert_eq!(hash(r#""zähler":"3""#), hash(r#""zähler":3"#));
    assert_eq!(hash(r#""continent":3"#), hash(r#""continent":"3""#));
    assert_eq!(hash(r#""paid":1"#), hash(r#""paid":true"#));
    assert_eq!(hash(r#""invoice":[]"#), hash(r#""invoice":{}"#));
    assert_eq!(hash(r#""tags":{}"#), hash(r#""tags":[]"#));
}
