//! Records that leave out what is known of them.
//!
//! Invariant: a record that did not change is the same record, hash and all, however much of it a page leaves out.

use crate::fixture::{column as field, spec};
use crate::generated::{GeneratedContract, GeneratedValue, contract, page_of, record, values};
use crate::{decoder, page, sales};
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;
use std::sync::Arc;
use tillhouse_decode::{DecodedPage, KnownRecords};
use tillhouse_model::ColumnKind;

/// As a source table has them.
fn known(decoded: &DecodedPage) -> KnownRecords {
    let mut fields: Vec<_> = decoded.batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("_record_key", DataType::Utf8, false)));
    let mut columns = decoded.batch.columns().to_vec();
    columns.push(Arc::new(decoded.keys.clone()) as ArrayRef);
    KnownRecords::new(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap())
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_left_out_is_as_it_was(
        (contract, rows) in contract().prop_flat_map(|c: GeneratedContract| { let v = prop::collection::vec(values(&c.columns), 1..4); (Just(c), v) }),
        left_out in prop::collection::vec(any::<bool>(), 8),
        seed: u64,
    ) {
        let decoder = decoder(contract.spec());
        let spelled = |columns: &[_], pick: &dyn Fn(usize) -> bool, seed: u64| -> Vec<String> {
            let of_row = |(i, row): (usize, &Vec<GeneratedValue>)| {
                let row: Vec<_> = row.iter().enumerate().filter(|(at, _)| pick(*at)).map(|(_, v)| v.clone()).collect();
                record(columns, i, &row, seed.wrapping_add(i as u64))
            };
            rows.iter().enumerate().map(of_row).collect()
        };
        let whole = decoder.decode(page_of(&spelled(&contract.columns, &|_| true, seed)).as_bytes(), &["data"]).unwrap();
        let pick = |at: usize| left_out.get(at) != Some(&true);
        let columns: Vec<_> = contract.columns.iter().enumerate().filter(|(at, _)| pick(*at)).map(|(_, c)| c.clone()).collect();
        let page = page_of(&spelled(&columns, &pick, !seed));
        let again = decoder.decode_partial(page.as_bytes(), &["data"], None, Some(&known(&whole))).unwrap();
        prop_assert_eq!(&again.rejects, &[]);
        prop_assert_eq!(&again.batch, &whole.batch);
        prop_assert_eq!(&again.content_hashes, &whole.content_hashes);
    }
}

const WHOLE: &str = r#"{"id":"1","counter":7,"invoice":{"amount":12.5,"created_at":"2026-01-02T03:04:05Z"},"tags":["a"],"updated_at":"2026-01-02T03:04:06Z","license_plate":"KA-XY 1","pin":"1234","state":"open","zähler":7}"#;

fn column(decoded: &DecodedPage, name: &str) -> ArrayRef {
    decoded.batch.column_by_name(name).unwrap().clone()
}

#[test]
fn where_nothing_is_said_what_was_known_stays() {
    let decoder = sales();
    let whole = WHOLE.replace(
        r#""counter":7,"#,
        r#""timezone":"Europe/Berlin","paid":true,"day":"2026-01-02",
        "articles":[{"name":"a","amount":1,"log":[{"code":1,"note":"x"}]},{"name":"b","currency":"EUR"}],"#,
    );
    let whole = decoder
        .decode(page(&[&whole]).as_bytes(), &["data"])
        .unwrap();
    assert_eq!(whole.rejects, []);
    let known = known(&whole);
    let onto = |record: &str| {
        decoder
            .decode_partial(page(&[record]).as_bytes(), &["data"], None, Some(&known))
            .unwrap()
    };
    // Missing, null, empty, and whatever cannot be read, are all the same.
    for nothing in [
        "",
        r#","invoice":null"#,
        r#","invoice":{}"#,
        r#","invoice":[]"#,
        r#","invoice":"""#,
        r#","invoice":{"amount":null}"#,
        r#","invoice":{"amount":12.5,"created_at":null}"#,
        r#","invoice":{"created_at":"9999-12-31T23:59:59Z"}"#,
        r#","invoice":{"created_at":"soon"}"#,
        r#","timezone":null"#,
        r#","timezone":"""#,
        r#","timezone":"\u00a0""#,
        r#","timezone":{}"#,
        r#","timezone":"Foo/Bar""#,
        r#","tags":null"#,
        r#","tags":[]"#,
        r#","tags":{}"#,
        r#","tags":[null]"#,
        r#","zähler":null,"paid":null,"day":null,"updated_at":null,"state":null"#,
        r#","zähler":"A3","paid":"maybe","day":"0001-01-01","state":" ""#,
        r#","license_plate":null"#,
        r#","license_plate":" ""#,
        r#","articles":null"#,
        r#","articles":[]"#,
        r#","articles":[{},{}]"#,
        r#","articles":[null,{"log":[]}]"#,
        r#","articles":[{"name":"a"},{"name":"b","amount":null}]"#,
        r#","articles":[{"log":[{}]},{"name":null,"log":[{}]}]"#,
        r#","articles":[{"log":[{"code":1,"note":null}]},{"currency":""}]"#,
    ] {
        let same = onto(&format!(r#"{{"id":"1"{nothing}}}"#));
        assert_eq!(same.rejects, [], "{nothing}");
        assert_eq!(
            (&same.batch, &same.content_hashes),
            (&whole.batch, &whole.content_hashes),
            "{nothing}"
        );
        assert_eq!(
            (&same.record_times, &same.updated_at),
            (&whole.record_times, &whole.updated_at),
            "they are the known ones: {nothing}"
        );
    }
}

#[test]
fn a_zone_that_nobody_can_read_says_nothing_and_is_told() {
    let decoder = sales();
    let (berlin, without) = (r#"{"id":"1","timezone":"Europe/Berlin"}"#, r#"{"id":"1"}"#);
    for (before, said, zone, told) in [
        (berlin, "Foo/Bar", "Europe/Berlin", 1),
        (berlin, "Europe/Zurich", "Europe/Zurich", 0),
        (berlin, "", "Europe/Berlin", 0),
        (without, "Foo/Bar", "Foo/Bar", 1),
        (r#"{"id":"2"}"#, "Foo/Bar", "Foo/Bar", 1),
    ] {
        let known = known(
            &decoder
                .decode(page(&[before]).as_bytes(), &["data"])
                .unwrap(),
        );
        let record = format!(r#"{{"id":"1","timezone":"{said}"}}"#);
        let decoded = decoder
            .decode_partial(page(&[&record]).as_bytes(), &["data"], None, Some(&known))
            .unwrap();
        let zones = column(&decoded, "timezone");
        assert_eq!(
            arrow::util::display::array_value_to_string(&zones, 0).unwrap(),
            zone
        );
        let warned: Vec<_> = decoded
            .warnings
            .iter()
            .map(|warning| (&*warning.key, &*warning.rule, &*warning.original))
            .collect();
        assert_eq!(warned, vec![("1", "real_zone", "Foo/Bar"); told]);
    }
}

#[test]
fn what_is_said_counts() {
    let decoder = sales();
    let whole = WHOLE.replace(
        r#""counter":7,"#,
        r#""articles":[{"name":"a","amount":1},{"name":"b","currency":"EUR"}],"#,
    );
    let whole = decoder
        .decode(page(&[&whole]).as_bytes(), &["data"])
        .unwrap();
    let known = known(&whole);
    let onto = |record: &str| {
        decoder
            .decode_partial(page(&[record]).as_bytes(), &["data"], None, Some(&known))
            .unwrap()
    };
    let row = |decoded: &DecodedPage, name: &str| {
        let column = column(decoded, name);
        arrow::util::display::array_value_to_string(&column, 0).unwrap()
    };
    let said =
        onto(r#"{"id":"1","zähler":0,"tags":["b","c"],"invoice":{"amount":13},"paid":false}"#);
    assert_eq!(
        (
            row(&said, "counter"),
            row(&said, "tags"),
            row(&said, "paid")
        ),
        ("0".into(), "[b, c]".into(), "false".into())
    );
    assert_eq!(
        row(&said, "invoice"),
        "{amount: 13.0000, created_at: 2026-01-02T03:04:05Z}"
    );
    assert_eq!(
        &column(&said, "license_plate"),
        &column(&whole, "license_plate"),
        "no pseudonym of a pseudonym"
    );
    assert_ne!(said.content_hashes, whole.content_hashes);
    // An element that went is gone, and one that came has nothing of another.
    for (articles, names) in [
        (
            r#"[{"name":"b"}]"#,
            "[{name: b, amount: , start_time: , currency: , log: }]",
        ),
        (
            r#"[{"name":"c","amount":2},{"amount":3}]"#,
            "[{name: c, amount: 2.0000, start_time: , currency: , log: }, {name: b, amount: 3.0000, start_time: , currency: EUR, log: }]",
        ),
    ] {
        assert_eq!(
            row(
                &onto(&format!(r#"{{"id":"1","articles":{articles}}}"#)),
                "articles"
            ),
            names,
            "{articles}"
        );
    }
    let reject = onto(r#"{"id":"1","articles":[{"name":"a"},{"name":"b"},{"amount":1}]}"#)
        .rejects
        .remove(0);
    assert_eq!(
        (&*reject.field, &*reject.reason),
        ("articles[2].name", "missing required field")
    );
    // Nothing is known of another record, and a page that is read as ever knows nothing.
    assert!(column(&onto(r#"{"id":"2"}"#), "state").is_null(0));
    let plain = decoder
        .decode(page(&[r#"{"id":"1"}"#]).as_bytes(), &["data"])
        .unwrap();
    assert!(column(&plain, "state").is_null(0));
    // Each record has its own.
    let two = decoder
        .decode_partial(
            page(&[r#"{"id":"2"}"#, r#"{"id":"1"}"#]).as_bytes(),
            &["data"],
            None,
            Some(&known),
        )
        .unwrap();
    assert!(column(&two, "state").is_null(0) && column(&two, "state").is_valid(1));
    assert_eq!(
        onto("{}").rejects.len(),
        1,
        "a record without its key is nobody's"
    );
}

#[test]
fn elements_are_told_by_their_ids() {
    let line = ColumnKind::Struct(vec![
        field("id", ColumnKind::Text),
        field("name", ColumnKind::Text),
        field("amount", ColumnKind::Int),
    ]);
    let lines = field("lines", ColumnKind::List(Box::new(field("element", line))));
    let decoder = decoder(spec(vec![field("id", ColumnKind::Text), lines], &["id"]));
    let whole = r#"{"id":"1","lines":[{"id":"a","name":"Diesel","amount":1},{"id":"b","name":"Coffee"},{"name":"Bag"}]}"#;
    let whole = decoder
        .decode(page(&[whole]).as_bytes(), &["data"])
        .unwrap();
    let known = known(&whole);
    let onto = |lines: &str| {
        let page = page(&[&format!(r#"{{"id":"1","lines":{lines}}}"#)]);
        let decoded = decoder
            .decode_partial(page.as_bytes(), &["data"], None, Some(&known))
            .unwrap();
        arrow::util::display::array_value_to_string(&column(&decoded, "lines"), 0).unwrap()
    };
    for (said, expected) in [
        (
            r#"[{"id":"b"},{"id":"a"}]"#,
            "[{id: b, name: Coffee, amount: }, {id: a, name: Diesel, amount: 1}]",
        ),
        (
            r#"[{"id":"b","name":null,"amount":5}]"#,
            "[{id: b, name: Coffee, amount: 5}]",
        ),
        (
            r#"[{"id":"c"},{"id":"b"}]"#,
            "[{id: c, name: , amount: }, {id: b, name: Coffee, amount: }]",
        ),
        (
            r#"[{"amount":7},{},{"id":"a"}]"#,
            "[{id: a, name: Diesel, amount: 7}, {id: b, name: Coffee, amount: }, {id: a, name: Diesel, amount: 1}]",
        ),
        (r#"[{"amount":7}]"#, "[{id: , name: , amount: 7}]"),
    ] {
        assert_eq!(onto(said), expected, "{said}");
    }
}

#[test]
fn what_was_known_of_one_thing_is_not_said_of_another() {
    let object = |name: &str, fields: &[&str]| {
        let fields = fields.iter().map(|name| field(name, ColumnKind::Text));
        field(name, ColumnKind::Struct(fields.collect()))
    };
    let columns = vec![
        field("id", ColumnKind::Text),
        field("site_id", ColumnKind::Text),
        object("site", &["name", "code"]),
        object("device", &["name", "code"]),
        object("client", &["id", "kind"]),
        object("customer", &["note"]),
    ];
    let decoder = decoder(spec(columns, &["id"]));
    let whole = r#"{"id":"1","site_id":"a","site":{"name":"A","code":"1"},"device":{"name":"D","code":"7"},"client":{"id":"c","kind":"user"},
        "customer":{"note":"n"}}"#;
    let whole = decoder
        .decode(page(&[whole]).as_bytes(), &["data"])
        .unwrap();
    let known = known(&whole);
    let site = "{name: A, code: 1}";
    let device = "{name: D, code: 7}";
    let client = "{id: c, kind: user}";
    for (said, expected) in [
        // Nothing is said of who it is, or the same: all of it stays.
        ("", [site, device, client]),
        (r#","site_id":"a""#, [site, device, client]),
        (r#","site_id":null"#, [site, device, client]),
        (
            r#","site_id":"null","client":{"id":""}"#,
            [site, device, client],
        ),
        // Another site, and what stands there.
        (r#","site_id":"b""#, ["", "", client]),
        (
            r#","site_id":"b","site":{"name":"B"},"device":{"code":"7"}"#,
            ["{name: B, code: }", "{name: , code: 7}", client],
        ),
        // A site that is called otherwise is the same one; a device is its code.
        (
            r#","site":{"code":"2"},"device":{"code":"8"}"#,
            ["{name: A, code: 2}", "{name: , code: 8}", client],
        ),
        (
            r#","device":{"name":"E"},"client":{"id":"d"}"#,
            [site, "{name: E, code: 7}", "{id: d, kind: }"],
        ),
    ] {
        let page = page(&[&format!(r#"{{"id":"1"{said}}}"#)]);
        let decoded = decoder
            .decode_partial(page.as_bytes(), &["data"], None, Some(&known))
            .unwrap();
        let shown = |name: &str| {
            arrow::util::display::array_value_to_string(&column(&decoded, name), 0).unwrap()
        };
        let found = ["site", "device", "client"].map(shown);
        assert_eq!(found, expected, "{said}");
        assert_eq!(shown("customer"), "{note: n}", "{said}");
    }
}
