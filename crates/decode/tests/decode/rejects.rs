//! Rejects and refused pages: what is said, what is shown, and that the others land.
//!
//! Invariant: no test here may be satisfied by dropping a record.

use crate::fixture::{MONEY, column, spec};
use crate::generated::{GeneratedContract, contract, page_of, record, values};
use crate::row_json::rows;
use crate::{decode, decoder, page, sales};
use proptest::prelude::*;
use tillhouse_model::{ColumnKind, ColumnSpec, ErrorKind};

#[test]
fn a_reject_is_shown_without_what_must_not_be_seen() {
    let decoded = decode(&[
        r#"{"id":"a"}"#,
        r#"{"id":"b","state":"open","pin":"4711SECRET","license_plate":"SECRET","card":"SECRETSECRET","driver":"SECRET","new":"SECRET","zähler":"SECRETwrong",
            "invoice":"SECRET","tags":{"x":"SECRET"},"articles":[{"name":"a","pin":"SECRET","amount":"1.5","foo":["SECRET"]},null],"paid":["SECRET"],"day":7,"tip":{},"tip":0}"#,
        r#"{"id":"c"}"#,
    ]);
    assert_eq!(rows(&decoded.batch), [r#"{"id":"a"}"#, r#"{"id":"c"}"#]);
    let [reject] = &decoded.rejects[..] else {
        panic!("{:?}", decoded.rejects)
    };
    assert_eq!(
        (reject.key.as_deref(), &*reject.field),
        (Some("b"), "invoice")
    );
    assert_eq!(
        reject.redacted,
        r#"{"id":"b","state":"open","pin":"***","license_plate":"***","card":"***","driver":"***","zähler":"SECRETwrong","invoice":"***","tags":"***","articles":[{"name":"a","pin":"***","amount":"1.5"},null],"paid":"***","day":7,"tip":"***","tip":0}"#
    );
}

#[test]
fn a_redacted_record_is_bounded_and_still_json() {
    let long = "é\\n".repeat(10_000);
    let articles = vec![r#"{"name":"a","log":[{"code":1},{"code":2}]}"#; 5_000].join(",");
    let decoded = decode(&[&format!(
        r#"{{"id":"1","state":"{long}","articles":[{articles},{{"amount":"x"}}]}}"#
    )]);
    let reject = &decoded.rejects[0];
    assert_eq!(reject.field, "articles[5000].amount");
    assert!(
        reject.redacted.len() <= 4096 && reject.redacted.len() > 2000,
        "{}",
        reject.redacted.len()
    );
    let shown: serde_json::Value = serde_json::from_str(&reject.redacted).unwrap();
    assert!(shown["state"].as_str().unwrap().ends_with('…'));
}

#[test]
fn the_key_of_a_reject_is_spelled_as_a_row_would_be() {
    let decoded = decode(&[
        r#"{"invoice":1,"id":"\u0061b"}"#,
        r#"{"invoice":1}"#,
        r#"{"invoice":1,"id":7}"#,
        r#"{"invoice":1,"id":""}"#,
        r#"{"invoice":1,"id":true}"#,
        r#"{"id":"a","id":"b"}"#,
        "7",
    ]);
    let keys: Vec<_> = decoded.rejects.iter().map(|r| r.key.as_deref()).collect();
    assert_eq!(keys, [Some("ab"), None, Some("7"), None, None, None, None]);
    let mut contract = crate::fixture::sales();
    contract.key = vec!["counter".into(), "license_plate".into()];
    let decoded = decoder(contract)
        .decode(
            page(&[r#"{"license_plate":"SECRET","zähler":1e1}"#]).as_bytes(),
            &["data"],
        )
        .unwrap();
    let token = crate::fixture::key()
        .pseudonym(tillhouse_model::table::ValueNormalisation::Plate, "SECRET");
    assert_eq!(decoded.rejects[0].key, Some(format!("10:{token}")));
}

#[test]
fn a_reject_still_tells_its_time() {
    let at =
        r#""invoice":{"created_at":"2024-01-02T03:04:05Z"},"updated_at":"2024-01-03T00:00:00Z""#;
    let times = |records: &[&str]| {
        let decoded = decode(records);
        let instant = |micros: Option<i64>| {
            micros.map(|micros| crate::row_json::instant(micros)[..10].to_owned())
        };
        assert_eq!(
            decoded.batch.num_rows() + decoded.rejects.len(),
            records.len()
        );
        decoded
            .rejects
            .iter()
            .map(|r| (instant(r.record_time), instant(r.updated_at)))
            .collect::<Vec<_>>()
    };
    let (happened, changed) = (Some("2024-01-02".to_owned()), Some("2024-01-03".to_owned()));
    for keyless in [
        format!("{{{at}}}"),
        format!(r#"{{"id":"",{at}}}"#),
        format!(r#"{{"id":null,{at},"new":[1,{{}}]}}"#),
        format!(r#"{{{at},"id":{{}}}}"#),
        format!(r#"{{"id":true,{at},"state":["x"],"zähler":"many"}}"#),
        format!(r#"{{"id":" ",{at},"articles":[{{"amount":"much"}},7,null]}}"#),
    ] {
        assert_eq!(
            times(&[&keyless]),
            [(happened.clone(), changed.clone())],
            "{keyless}"
        );
        // Between others, which are as if it were not there.
        let decoded = decode(&[r#"{"id":"a"}"#, &keyless, r#"{"id":"c"}"#]);
        assert_eq!(
            rows(&decoded.batch),
            [r#"{"id":"a"}"#, r#"{"id":"c"}"#],
            "{keyless}"
        );
        assert!(
            decoded.warnings.is_empty() && decoded.unknown.values().all(|count| *count == 1),
            "{keyless}"
        );
    }
    let keyed = format!(r#"{{"id":"a",{at},"articles":[{{"amount":"much"}}]}}"#);
    assert_eq!(times(&[&keyed]), [(happened.clone(), changed)]);
    // Of what cannot be read nobody knows when it was.
    for other in [
        r#"{"invoice":{"created_at":"soon"},"articles":[{"start_time":"2024-01-02T03:04:05Z"}]}"#
            .to_owned(),
        format!(r#"{{{at},{at}}}"#),
        format!(r#"{{{at},"new":NaN}}"#),
        "{}".to_owned(),
        "null".to_owned(),
        "7".to_owned(),
    ] {
        assert_eq!(times(&[&other]), [(None, None)], "{other}");
    }
    let later = r#"{"invoice":{},"articles":[{"start_time":"2024-01-02T03:04:05Z"}]}"#;
    assert_eq!(times(&[later]), [(happened, None)]);
}

#[test]
fn a_key_column_must_have_a_value_even_where_the_contract_forgot_to_say_so() {
    let mut contract = crate::fixture::sales();
    contract.key = vec!["counter".into()];
    let decoded = decoder(contract)
        .decode(page(&[r#"{"id":"a"}"#]).as_bytes(), &["data"])
        .unwrap();
    assert_eq!(
        (&*decoded.rejects[0].field, &*decoded.rejects[0].reason),
        ("zähler", "missing required field")
    );
}

#[test]
fn bad_text_spoils_its_record_alone() {
    let mut bytes = page(&[
        r#"{"id":"a"}"#,
        r#"{"id":"b","state":"XX"}"#,
        r#"{"id":"c","XX":1}"#,
        r#"{"id":"d","pin":"XX"}"#,
    ])
    .into_bytes();
    while let Some(at) = bytes.windows(2).position(|w| w == b"XX") {
        bytes[at] = 0xff;
        bytes[at + 1] = 0xc3;
    }
    let decoded = sales().decode(&bytes, &["data"]).unwrap();
    assert_eq!(
        rows(&decoded.batch),
        [r#"{"id":"a"}"#, r#"{"id":"c"}"#, r#"{"id":"d"}"#]
    );
    assert_eq!(
        (&*decoded.rejects[0].field, &*decoded.rejects[0].reason),
        ("state", "the text is not UTF-8")
    );
    assert_eq!(decoded.rejects[0].key.as_deref(), Some("b"));
}

#[test]
fn depth_spoils_its_record_alone() {
    let deep = |n: usize| format!(r#"{{"id":"{n}","pin":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    let unknown = |n: usize| {
        format!(
            r#"{{"id":"u{n}","new":{}{}}}"#,
            "[".repeat(n),
            "]".repeat(n)
        )
    };
    let decoded = decode(&[
        &deep(128),
        &deep(129),
        &unknown(128),
        &unknown(100_000),
        r#"{"id":"z"}"#,
    ]);
    assert_eq!(
        rows(&decoded.batch),
        [r#"{"id":"128"}"#, r#"{"id":"u128"}"#, r#"{"id":"z"}"#]
    );
    assert!(
        decoded
            .rejects
            .iter()
            .all(|r| r.reason == "nested deeper than 128"),
        "{:?}",
        decoded.rejects
    );
}

#[test]
fn a_record_that_is_not_json_spoils_itself_alone() {
    let nested = format!(
        r#"{{"id":"b","new":{}1{}}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    for (damaged, field, reason) in [
        (
            &br#"{"id":"b","invoice":{"amount":NaN}}"#[..],
            "invoice",
            "",
        ),
        (
            br#"{"id":"b","invoice":{"amount":-Infinity}}"#,
            "invoice",
            "not valid JSON: expected a value",
        ),
        (
            br#"{"id":"b","invoice":{"amount":007}}"#,
            "invoice",
            "not valid JSON: expected a value",
        ),
        (
            br#"{"id":"b","new":NaN,"state":"x"}"#,
            "",
            "not valid JSON: expected a value",
        ),
        (
            br#"{"id":"b","articles":[{"name":"C:\x\temp\q"},{"name":"C:\q\"}]}"#,
            "",
            "",
        ),
        (
            br#"{"id":"b","articles":[{"name":"a"},{"name":"C:\q"}]}"#,
            "articles[1]",
            "not valid JSON: expected an escape sequence",
        ),
        (br#"{"id":"b","state":"C:\"}"#, "", ""),
        (
            b"{\"id\":\"b\",\"state\":\"a\nb\"}",
            "",
            "not valid JSON: expected text without control characters",
        ),
        (
            br#"{"id":"b","state":"12" screen"}"#,
            "",
            "not valid JSON: expected a comma or the end of the container",
        ),
        (
            br#"{"id":"b","state":"x",}"#,
            "",
            "not valid JSON: expected a key",
        ),
        (
            br#"{"id":"b",,"state":"x"}"#,
            "",
            "not valid JSON: expected a key",
        ),
        (br#"{"id":"b","state":}"#, "", ""),
        (br#"{"id":"b","id":"c"}"#, "id", "duplicate field"),
        (
            nested.as_bytes(),
            "(unknown field)",
            "nested deeper than 128",
        ),
        (b"NaN", "", "expected an object, found what is not JSON"),
    ] {
        let shown = String::from_utf8_lossy(damaged);
        let page = [
            &br#"{"data":[{"id":"a"},"#[..],
            damaged,
            br#",{"id":"c"}],"meta":{}}"#,
        ]
        .concat();
        let decoded = sales()
            .decode(&page, &["data"])
            .unwrap_or_else(|error| panic!("{shown}: {error:?}"));
        assert_eq!(
            rows(&decoded.batch),
            [r#"{"id":"a"}"#, r#"{"id":"c"}"#],
            "{shown}"
        );
        let [reject] = &decoded.rejects[..] else {
            panic!("{shown}: {:?}", decoded.rejects)
        };
        if !reason.is_empty() {
            assert_eq!(
                (&*reject.field, &*reject.reason),
                (field, reason),
                "{shown}"
            );
        }
        let key = Some("b").filter(|_| field != "id" && damaged != b"NaN");
        assert_eq!(reject.key.as_deref(), key, "{shown}");
        assert!(!reject.redacted.contains("screen"), "{}", reject.redacted);
    }
}

#[test]
fn the_envelope_is_found_or_the_page_refused() {
    let decoder = sales();
    let rows_at = |page: &str, at: &[&str]| {
        decoder
            .decode(page.as_bytes(), at)
            .map(|d| d.batch.num_rows())
    };
    assert_eq!(rows_at(r#"[{"id":"a"},{"id":"b"}]"#, &[]).unwrap(), 2);
    assert_eq!(rows_at("[]", &[]).unwrap(), 0);
    assert_eq!(rows_at("\u{feff} [ ] \n", &[]).unwrap(), 0);
    assert_eq!(
        rows_at(r#"{"a":{"x":[1],"b":[{"id":"a"}]},"c":[{}]}"#, &["a", "b"]).unwrap(),
        1
    );
    assert_eq!(
        rows_at(r#"{"d\u0061ta":[{"id":"a"}]}"#, &["data"]).unwrap(),
        1
    );
    for (page, at) in [
        ("", &["data"][..]),
        ("{}", &["data"]),
        (r#"{"data":{}}"#, &["data"]),
        (r#"{"data":null}"#, &["data"]),
        ("[]", &["data"]),
        ("{}", &[]),
        (r#"{"data":[],"data":[]}"#, &["data"]),
        (r#"{"data":[]"#, &["data"]),
        (r#"{"data":[]} x"#, &["data"]),
        (r#"{"data":[{"id":"a"}:]}"#, &["data"]),
        (r#"{"data":[{"id":"a"}"id":"b"}]}"#, &["data"]),
        (r#"{"data":[{"id":"a"},{"id":1"#, &["data"]),
        (
            r#"{"data":[{"id":"a","state":"x},{"id":"b","state":"y"}]}"#,
            &["data"],
        ),
    ] {
        let error = decoder.decode(page.as_bytes(), at).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{page}");
        assert!(error.to_string().contains("contract shop.sales"), "{error}");
    }
}

#[test]
fn errors_hold_no_values() {
    let error = sales()
        .decode(
            br#"{"data":[{"id":"SECRET","license_plate":"SECRET" SECRET"#,
            &["data"],
        )
        .unwrap_err();
    assert!(
        !format!("{error} {error:?}").contains("SECRET"),
        "{error:?}"
    );
    assert!(error.to_string().contains("byte 49"), "{error}");
    let key = tillhouse_decode::Decoder::new(std::sync::Arc::new(crate::fixture::sales()), None)
        .unwrap_err();
    assert_eq!(key.kind(), ErrorKind::Config);
}

#[test]
fn a_page_that_would_explode_is_refused() {
    let wide = ColumnKind::Struct((0..200).map(|i| column(&format!("c{i}"), MONEY)).collect());
    let id = ColumnSpec {
        required: true,
        ..column("id", ColumnKind::Text)
    };
    let list = column("l", ColumnKind::List(Box::new(column("element", wide))));
    let decoder = decoder(spec(vec![id, list], &["id"]));
    let page = |n: usize| format!(r#"[{{"id":"a","l":[{}]}}]"#, vec!["{}"; n].join(","));
    assert_eq!(
        decoder
            .decode(page(1_000).as_bytes(), &[])
            .unwrap()
            .batch
            .num_rows(),
        1
    );
    let error = decoder.decode(page(50_000).as_bytes(), &[]).unwrap_err();
    assert!(
        error.to_string().contains("too large once decoded"),
        "{error}"
    );
}

#[test]
fn a_page_of_nothing_but_rejects_is_refused_at_some_point() {
    let page = format!("[{}]", vec!["1"; 100_001].join(","));
    let error = sales().decode(page.as_bytes(), &[]).unwrap_err();
    assert!(
        error.to_string().contains("more than 100000 records"),
        "{error}"
    );
}

fn spoilt() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "7",
        "null",
        "[]",
        r#""text""#,
        "{}",
        r#"{"key":""}"#,
        r#"{"key":{}}"#,
        r#"{"k0":{}}"#,
        r#"{"k0":"x","k0":"x"}"#,
        r#"{"new":[[[]]]}"#,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Rejects in between, and records that break off in their middle, leave no trace in the batch.
    #[test]
    fn rejects_leave_no_trace(
        (contract, rows) in contract().prop_flat_map(|c: GeneratedContract| { let v = prop::collection::vec(values(&c.columns), 1..6); (Just(c), v) }),
        spoilt in prop::collection::vec((0_usize..6, spoilt()), 0..6),
        broken in prop::collection::vec((0_usize..6, any::<u64>()), 0..6),
    ) {
        let decoder = decoder(contract.spec());
        let good: Vec<String> = rows.iter().enumerate().map(|(i, v)| record(&contract.columns, i, v, i as u64)).collect();
        let mut mixed = good.clone();
        let mut bad = 0;
        for (at, text) in &spoilt {
            mixed.insert(at % (mixed.len() + 1), (*text).to_owned());
            bad += 1;
        }
        for (of, seed) in &broken {
            // A good record that ends in a field of its own a second time: everything before was appended already.
            let victim = &good[of % good.len()];
            let twice = format!(r#"{},"key":"again"}}"#, &victim[..victim.len() - 1]);
            mixed.insert(usize::try_from(*seed % (mixed.len() as u64 + 1)).unwrap(), twice);
            bad += 1;
        }
        let clean = decoder.decode(page_of(&good).as_bytes(), &["data"]).unwrap();
        let dirty = decoder.decode(page_of(&mixed).as_bytes(), &["data"]).unwrap();
        prop_assert_eq!(clean.rejects.len(), 0, "{:?}", clean.rejects);
        prop_assert_eq!(dirty.rejects.len(), bad);
        prop_assert_eq!(&dirty.batch, &clean.batch);
        prop_assert_eq!(&dirty.keys, &clean.keys);
        prop_assert_eq!(&dirty.content_hashes, &clean.content_hashes);
        prop_assert_eq!(&dirty.record_times, &clean.record_times);
        prop_assert_eq!(&dirty.warnings, &clean.warnings);
    }
}
