//! Keys, record times, version times and content hashes.
//!
//! Invariant: the hash of a fixed record is pinned here; whoever changes it makes a new version of every record of every warehouse, and must
//! raise the hash version.

use crate::fixture::{MONEY, column, sales as contract, spec};
use crate::generated::{GeneratedContract, contract as any_contract, page_of, record, values};
use crate::{decode, decoder, page};
use arrow::array::Array as _;
use proptest::prelude::*;
use tillhouse_model::{ColumnClass, ColumnKind, ColumnSpec, TimeFormat};

fn hash(json: &str) -> Vec<u8> {
    let decoded = decode(&[json]);
    assert_eq!(decoded.rejects, [], "{json}");
    decoded.content_hashes.value(0).to_vec()
}

const FULL: &str = r#"{"id":"1","zähler":5,"paid":true,"invoice":{"amount":12.5,"created_at":"2024-01-01T10:00:00+01:00"},"articles":[{"name":"a","amount":10},{"name":"b","log":[]}],"tags":["x",null],"day":"2024-02-29","license_plate":"KA-XY 1","card":"5168 xxxx xxxx 8932","state":"done"}"#;

#[test]
fn the_hash_is_pinned() {
    let hex: String = hash(FULL).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "01b494d21325ca45e6a3b6640c947c0bf1");
}

#[test]
fn spelling_does_not_change_a_hash() {
    let same = [
        r#"{"state":"done","card":"0000 yyyy yyyy 8932","license_plate":"kaxy1","day":"2024-02-29","tags":["x",null],"articles":[{"amount":1e1,"name":"a","pin":"7"},{"log":[],"name":"b","new":1}],"invoice":{"created_at":"2024-01-01T09:00:00Z","amount":"12.50"},"paid":true,"zähler":5.0,"id":"1"}"#,
        r#"{ "id":"1", "zähler":5, "paid":true, "invoice":{"amount":12.5000,"created_at":"2024-01-01T09:00:00.000Z"}, "articles":[{"name":"a","amount":10,"start_time":null},{"name":"\u0062","log":[]}], "tags":["x",null], "day":"2024-02-29", "license_plate":"KA XY-1", "card":"8932 8932", "state":"done", "pin":"1234", "driver":"x", "local":null, "unknown":[1]}"#,
    ];
    for other in same {
        assert_eq!(hash(FULL), hash(other), "{other}");
    }
    assert_eq!(hash(FULL)[0], 1);
    // An object without any value is as good as none; an empty list is not.
    assert_eq!(hash(r#"{"id":"1","invoice":{}}"#), hash(r#"{"id":"1"}"#));
    assert_ne!(hash(r#"{"id":"1","tags":[]}"#), hash(r#"{"id":"1"}"#));
}

#[test]
fn every_value_changes_a_hash() {
    let variants = [
        FULL.to_owned(),
        FULL.replace(r#""id":"1""#, r#""id":"2""#),
        FULL.replace(":5,", ":6,"),
        FULL.replace("true", "false"),
        FULL.replace("12.5", "12.51"),
        FULL.replace("T10:00", "T10:01"),
        FULL.replace(r#""amount":10"#, r#""amount":11"#),
        FULL.replace(r#","amount":10},"#, "},"),
        FULL.replace(r#","log":[]"#, ""),
        FULL.replace(r#"["x",null]"#, r#"[null,"x"]"#),
        FULL.replace(r#"["x",null]"#, r#"["x"]"#),
        FULL.replace("02-29", "02-28"),
        FULL.replace("KA-XY 1", "KA-XY 2"),
        FULL.replace("8932", "8933"),
        FULL.replace("done", "open"),
        // The same values in other places.
        FULL.replace(
            r#"{"name":"a","amount":10},{"name":"b","log":[]}"#,
            r#"{"name":"a"},{"name":"b","amount":10,"log":[]}"#,
        ),
    ];
    let mut hashes: Vec<Vec<u8>> = variants.iter().map(|v| hash(v)).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), variants.len());
}

#[test]
fn a_contract_may_grow_without_new_versions() {
    let page = page(&[FULL]);
    let before = decoder(contract())
        .decode(page.as_bytes(), &["data"])
        .unwrap()
        .content_hashes;
    let mut grown = contract();
    grown
        .columns
        .insert(3, column("new_text", ColumnKind::Text));
    grown.columns[1].kind = ColumnKind::Decimal {
        precision: 20,
        scale: 2,
    };
    grown.rules.clear();
    let ColumnKind::Struct(invoice) = &mut grown.columns[4].kind else {
        panic!("invoice is an object")
    };
    invoice.insert(0, column("new_amount", MONEY));
    invoice[1].kind = ColumnKind::Decimal {
        precision: 30,
        scale: 10,
    };
    let ColumnKind::List(element) = &mut grown.columns[5].kind else {
        panic!("articles is a list")
    };
    let ColumnKind::Struct(article) = &mut element.kind else {
        panic!("of objects")
    };
    article.push(column(
        "new_time",
        ColumnKind::Timestamp(TimeFormat::Offset),
    ));
    let after = decoder(grown)
        .decode(page.as_bytes(), &["data"])
        .unwrap()
        .content_hashes;
    assert_eq!(before, after);
}

#[test]
fn the_record_time_is_the_first_that_is_there_and_the_earliest_of_a_list() {
    let time = |json: &str| {
        let decoded = decode(&[json]);
        assert_eq!(decoded.rejects, []);
        (!decoded.record_times.is_null(0))
            .then(|| crate::row_json::instant(decoded.record_times.value(0)))
    };
    let articles = r#""articles":[{"name":"a"},{"name":"b","start_time":"2024-01-02T00:00:00Z"},{"name":"c","start_time":"2024-01-01T00:00:00Z"},null]"#;
    assert_eq!(
        time(&format!(
            r#"{{"id":"1",{articles},"invoice":{{"created_at":"2024-05-01T00:00:00Z"}}}}"#
        ))
        .unwrap(),
        "2024-05-01T00:00:00.000000Z"
    );
    assert_eq!(
        time(&format!(
            r#"{{"id":"1",{articles},"invoice":{{"amount":1}}}}"#
        ))
        .unwrap(),
        "2024-01-01T00:00:00.000000Z"
    );
    assert_eq!(time(r#"{"id":"1","articles":[]}"#), None);
}

#[test]
fn the_sources_own_version_time_is_handed_on() {
    let decoded = decode(&[
        r#"{"id":"1","updated_at":"2024-01-01T00:00:00Z"}"#,
        r#"{"id":"2"}"#,
    ]);
    assert_eq!(decoded.updated_at.value(0), 1_704_067_200_000_000);
    assert!(decoded.updated_at.is_null(1));
    let mut without = contract();
    without.updated_at = None;
    let decoded = decoder(without)
        .decode(
            page(&[r#"{"id":"1","updated_at":"2024-01-01T00:00:00Z"}"#]).as_bytes(),
            &["data"],
        )
        .unwrap();
    assert!(decoded.updated_at.is_null(0));
}

#[test]
fn keys_are_text_and_never_meet() {
    let kinds = vec![
        ColumnSpec {
            required: true,
            ..column("t", ColumnKind::Text)
        },
        ColumnSpec {
            required: true,
            ..column("n", ColumnKind::Int)
        },
        ColumnSpec {
            required: true,
            ..column(
                "d",
                ColumnKind::Decimal {
                    precision: 10,
                    scale: 2,
                },
            )
        },
        ColumnSpec {
            required: true,
            ..column("at", ColumnKind::Timestamp(TimeFormat::Offset))
        },
        ColumnSpec {
            required: true,
            ..column("day", ColumnKind::Date)
        },
        ColumnSpec {
            required: true,
            ..column("b", ColumnKind::Bool)
        },
        ColumnSpec {
            required: true,
            class: ColumnClass::LastFour,
            ..column("u", ColumnKind::Text)
        },
    ];
    let keys = |names: &[&str], t: &str, u: &str| {
        let json = format!(
            r#"[{{"t":"{t}","n":-3,"d":1.50,"at":"2024-01-01T01:00:00+01:00","day":"2024-02-29","b":true,"u":"{u}"}}]"#
        );
        let decoded = decoder(spec(kinds.clone(), names))
            .decode(json.as_bytes(), &[])
            .unwrap();
        assert_eq!(decoded.rejects, []);
        decoded.keys.value(0).to_owned()
    };
    assert_eq!(keys(&["t"], "a:b", "x"), "a:b");
    assert_eq!(
        keys(&["t", "n", "d", "day", "b"], "a", "x"),
        "a:-3:1.5:2024-02-29:true"
    );
    assert_eq!(keys(&["at"], "a", "x"), "2024-01-01T00:00:00Z");
    assert_eq!(keys(&["at", "n"], "a", "x"), "1704067200000000:-3");
    assert_eq!(keys(&["t", "u"], "a:b", "----....cccc"), r"a\:b:cccc");
    assert_ne!(
        keys(&["t", "u"], "a:b", "--------c"),
        keys(&["t", "u"], "a", "------b:c")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_spelling_changes_a_hash(
        (contract, row) in any_contract().prop_flat_map(|c: GeneratedContract| { let v = values(&c.columns); (Just(c), v) }),
        seeds in prop::collection::vec(any::<u64>(), 2..5),
    ) {
        let records: Vec<String> = seeds.iter().map(|seed| record(&contract.columns, 7, &row, *seed)).collect();
        let decoded = decoder(contract.spec()).decode(page_of(&records).as_bytes(), &["data"]).unwrap();
        prop_assert_eq!(&decoded.rejects, &[]);
        for at in 1..records.len() {
            prop_assert_eq!(decoded.content_hashes.value(0), decoded.content_hashes.value(at));
            prop_assert_eq!(decoded.batch.slice(0, 1), decoded.batch.slice(at, 1));
            prop_assert_eq!(decoded.keys.value(at), "7");
        }
    }

    #[test]
    fn different_content_has_different_hashes(
        (contract, rows) in any_contract().prop_flat_map(|c: GeneratedContract| { let v = prop::collection::vec(values(&c.columns), 2); (Just(c), v) }),
    ) {
        let records: Vec<String> = rows.iter().map(|row| record(&contract.columns, 7, row, 1)).collect();
        let decoded = decoder(contract.spec()).decode(page_of(&records).as_bytes(), &["data"]).unwrap();
        let texts = crate::row_json::rows(&decoded.batch);
        // Empty objects count for nothing, so only texts without any are compared.
        prop_assume!(texts.iter().all(|t| !t.contains("{}")));
        prop_assert_eq!(texts[0] == texts[1], decoded.content_hashes.value(0) == decoded.content_hashes.value(1));
    }
}
