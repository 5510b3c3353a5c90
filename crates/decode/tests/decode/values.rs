//! Values of each kind: read, changed or refused.
//!
//! Invariant: a table of texts and what becomes of them, kind by kind.

use crate::fixture::{column, spec};
use crate::row_json::rows;
use crate::{decode, decoder, sales};
use arrow::array::{Array, AsArray};
use tillhouse_decode::DecodedPage;
use tillhouse_model::table::{UnknownFields, ValueNormalisation};
use tillhouse_model::{ColumnClass, ColumnKind, ColumnSpec};

/// Outcome of a field: the row's JSON without the id, or the reject's field and reason.
fn field(json: &str) -> Result<String, (String, String)> {
    outcome(decode(&[&format!(r#"{{"id":"1",{json}}}"#)]))
}

pub(crate) fn outcome(decoded: DecodedPage) -> Result<String, (String, String)> {
    match decoded.rejects.first() {
        Some(reject) => {
            assert_eq!(decoded.batch.num_rows(), 0);
            Err((reject.field.clone(), reject.reason.clone()))
        }
        None => Ok(rows(&decoded.batch)[0]
            .replace(r#"{"id":"1","#, "{")
            .replace(r#"{"id":"1"}"#, "{}")),
    }
}

pub(crate) fn good(json: &str, expected: &str) {
    assert_eq!(field(json), Ok(expected.to_owned()), "{json}");
}

pub(crate) fn bad(json: &str, at: &str, reason: &str) {
    assert_eq!(
        field(json),
        Err((at.to_owned(), reason.to_owned())),
        "{json}"
    );
}

/// Checks a value that costs only itself: the row without the id, and the one warning's rule,
/// field and original.
pub(crate) fn odd(json: &str, expected: &str, rule: &str, at: &str, original: &str) {
    let decoded = decode(&[&format!(r#"{{"id":"1",{json}}}"#)]);
    let told: Vec<_> = decoded
        .warnings
        .iter()
        .map(|w| (&*w.key, &*w.rule, &*w.field, &*w.original))
        .collect();
    assert_eq!(told, [("1", rule, at, original)], "{json}");
    good(json, expected);
}

#[test]
fn text_is_text_or_the_digits_of_a_number() {
    good(r#""continent":"""#, r#"{"continent":""}"#);
    good(
        r#""state":"a\u00e9\n\"\ud83d\ude00""#,
        "{\"state\":\"aé\\n\\\"😀\"}",
    );
    for number in [
        "12",
        "1.0",
        "-0.50",
        "1E+3",
        "123456789012345678901234567890",
    ] {
        good(
            &format!(r#""continent":{number}"#),
            &format!(r#"{{"continent":"{number}"}}"#),
        );
    }
    odd(
        r#""continent":true"#,
        "{}",
        "expected_text",
        "continent",
        "true",
    );
    odd(
        r#""continent":["a"]"#,
        "{}",
        "expected_text",
        "continent",
        "[…]",
    );
    odd(
        r#""continent":{"a":1}"#,
        "{}",
        "expected_text",
        "continent",
        "{…}",
    );
    bad(
        r#""continent":"\ud83d""#,
        "continent",
        "the text holds half a character (a lone surrogate)",
    );
    good(
        r#""tags":["a",null,"b",1.50]"#,
        r#"{"tags":["a",null,"b","1.50"]}"#,
    );
    odd(
        r#""tags":["a",false,"b"]"#,
        r#"{"tags":["a",null,"b"]}"#,
        "expected_text",
        "tags[1]",
        "false",
    );
    bad(
        r#""articles":[{"name":"a","currency":true}]"#,
        "articles[0].currency",
        "expected text, found a truth value",
    );
}

#[test]
fn whole_numbers_may_be_written_in_any_way() {
    for (text, value) in [
        ("7", "7"),
        ("1.0", "1"),
        ("1e2", "100"),
        ("120E-1", "12"),
        ("9223372036854775807", "9223372036854775807"),
        (r#""7""#, "7"),
        (r#"" 7\u00a0""#, "7"),
        (r#""+7""#, "7"),
        (r#""007""#, "7"),
        (r#""7.000""#, "7"),
        (r#""1e2""#, "100"),
        (r#""\u0037""#, "7"),
        (r#""１２""#, "12"),
    ] {
        good(
            &format!(r#""zähler":{text}"#),
            &format!(r#"{{"counter":{value}}}"#),
        );
    }
    for (text, value) in [
        ("-7", "-7"),
        ("-0", "0"),
        ("-9223372036854775808", "-9223372036854775808"),
    ] {
        good(
            &format!(r#""tip":{text}"#),
            &format!(r#"{{"tip":{value}}}"#),
        );
    }
    for blank in [r#""""#, r#"" ""#, r#""\ufeff""#, "null"] {
        good(&format!(r#""zähler":{blank}"#), "{}");
        assert_eq!(
            decode(&[&format!(r#"{{"id":"1","zähler":{blank}}}"#)]).warnings,
            [],
            "{blank}"
        );
    }
    for (text, rule, original) in [
        ("1.5", "expected_whole_number", "1.5"),
        (r#""1.5""#, "expected_whole_number", "1.5"),
        (r#""A3""#, "expected_whole_number", "A3"),
        (r#""1,000""#, "expected_whole_number", "1,000"),
        ("true", "expected_whole_number", "true"),
        ("[7]", "expected_whole_number", "[…]"),
        (
            "9223372036854775808",
            "number_too_large",
            "9223372036854775808",
        ),
        ("1e400", "number_too_large", "1e400"),
    ] {
        odd(
            &format!(r#""zähler":{text}"#),
            "{}",
            rule,
            "zähler",
            original,
        );
    }
}

#[test]
fn decimals_are_exact_or_say_so() {
    good(
        r#""invoice":{"amount":12.3}"#,
        r#"{"invoice":{"amount":12.3000}}"#,
    );
    good(
        r#""invoice":{"amount":"-0.0001"}"#,
        r#"{"invoice":{"amount":-0.0001}}"#,
    );
    good(
        r#""invoice":{"amount":12.5E-1}"#,
        r#"{"invoice":{"amount":1.2500}}"#,
    );
    good(
        r#""invoice":{"amount":12.30000000000000000000000000}"#,
        r#"{"invoice":{"amount":12.3000}}"#,
    );
    good(
        r#""invoice":{"amount":99999999999999.9999}"#,
        r#"{"invoice":{"amount":99999999999999.9999}}"#,
    );
    for unfit in ["100000000000000", "99999999999999.99995", "1e20", "-1e400"] {
        bad(
            &format!(r#""invoice":{{"amount":{unfit}}}"#),
            "invoice.amount",
            "the number does not fit the column's precision",
        );
    }
    for text in [
        "12.5",
        " 12.50 ",
        "+12.5",
        "0012.500",
        "1.25e1",
        "\\u00312.5",
    ] {
        good(
            &format!(r#""invoice":{{"amount":"{text}"}}"#),
            r#"{"invoice":{"amount":12.5000}}"#,
        );
    }
    for text in ["\u{2212}12.5", "－１２．５", "\\u221212.50"] {
        good(
            &format!(r#""invoice":{{"amount":"{text}"}}"#),
            r#"{"invoice":{"amount":-12.5000}}"#,
        );
    }
    // Null in words is none.
    for none in ["", " ", "null", "NULL", "None"] {
        good(
            &format!(r#""invoice":{{"amount":"{none}"}}"#),
            r#"{"invoice":{}}"#,
        );
    }
    // Money is not guessed at, and not lost: what cannot be read costs the record.
    for text in [
        "12,3",
        "1,234.50",
        "1.234,50",
        "1 234.50",
        "1'234.50",
        "12.50 EUR",
        "NaN",
        "n/a",
        "--",
        "nothing",
        "Infinity",
        "5²",
        "1\u{200b}234",
    ] {
        bad(
            &format!(r#""invoice":{{"amount":"{text}"}}"#),
            "invoice.amount",
            "expected a number, found text",
        );
    }
    bad(
        r#""invoice":{"amount":{}}"#,
        "invoice.amount",
        "expected a number, found an object",
    );
    bad(
        r#""invoice":{"amount":false}"#,
        "invoice.amount",
        "expected a number, found a truth value",
    );
}

#[test]
fn rounding_is_reported_with_the_original() {
    let decoded = decode(&[
        r#"{"id":"7","invoice":{"amount":12.290000000000001},"articles":[{"name":"a"},{"name":"b","amount":0.00005}]}"#,
    ]);
    assert_eq!(
        rows(&decoded.batch)[0],
        r#"{"id":"7","invoice":{"amount":12.2900},"articles":[{"name":"a"},{"name":"b","amount":0.0000}]}"#
    );
    let said: Vec<_> = decoded
        .warnings
        .iter()
        .map(|w| (&*w.key, &*w.field, &*w.rule, &*w.original))
        .collect();
    assert_eq!(
        said,
        [
            ("7", "invoice.amount", "rounded", "12.290000000000001"),
            ("7", "articles[1].amount", "rounded", "0.00005")
        ]
    );
    let decoded = decode(&[
        r#"{"id":"7","updated_at":"2024-01-01T00:00:00.1234567+01:00","seconds":1.0000005}"#,
    ]);
    assert_eq!(
        rows(&decoded.batch)[0],
        r#"{"id":"7","seconds":"1970-01-01T00:00:01.000000Z","updated_at":"2023-12-31T23:00:00.123456Z"}"#
    );
    let said: Vec<_> = decoded
        .warnings
        .iter()
        .map(|w| (&*w.field, &*w.original))
        .collect();
    assert_eq!(
        said,
        [
            ("updated_at", "2024-01-01T00:00:00.1234567+01:00"),
            ("seconds", "1.0000005")
        ]
    );
}

#[test]
fn truth_is_true_or_false() {
    good(r#""paid":true"#, r#"{"paid":true}"#);
    good(r#""paid":false"#, r#"{"paid":false}"#);
    for yes in [
        "1",
        "1.0",
        r#""1""#,
        r#""true""#,
        r#""TRUE""#,
        r#""True ""#,
        r#"" 1""#,
    ] {
        good(&format!(r#""paid":{yes}"#), r#"{"paid":true}"#);
    }
    for no in [
        "0",
        "0.0",
        "-0",
        r#""0""#,
        r#""false""#,
        r#""FALSE""#,
        r#""f\u0061lse""#,
    ] {
        good(&format!(r#""paid":{no}"#), r#"{"paid":false}"#);
    }
    good(r#""paid":"""#, "{}");
    for (odd_one, original) in [
        ("2", "2"),
        (r#""yes""#, "yes"),
        (r#""J""#, "J"),
        ("0.5", "0.5"),
        (r#""-1""#, "-1"),
    ] {
        odd(
            &format!(r#""paid":{odd_one}"#),
            "{}",
            "expected_boolean",
            "paid",
            original,
        );
    }
}

#[test]
fn times_need_what_the_contract_names() {
    good(
        r#""updated_at":"2020-08-10T13:15:00+02:00""#,
        r#"{"updated_at":"2020-08-10T11:15:00.000000Z"}"#,
    );
    good(
        r#""updated_at":"2020-08-10T13:15:00\u002b02:00""#,
        r#"{"updated_at":"2020-08-10T11:15:00.000000Z"}"#,
    );
    good(
        r#""updated_at":"2020-08-10 24:00:00Z""#,
        r#"{"updated_at":"2020-08-11T00:00:00.000000Z"}"#,
    );
    good(
        r#""local":"2020-08-10T13:15:00""#,
        r#"{"local":"2020-08-10T11:15:00.000000Z"}"#,
    );
    good(
        r#""local":"2020-08-10T13:15:00Z""#,
        r#"{"local":"2020-08-10T13:15:00.000000Z"}"#,
    );
    good(
        r#""seconds":1597058100.5"#,
        r#"{"seconds":"2020-08-10T11:15:00.500000Z"}"#,
    );
    good(
        r#""seconds":"1597058100""#,
        r#"{"seconds":"2020-08-10T11:15:00.000000Z"}"#,
    );
    good(
        r#""seconds":"2020-08-10T13:15:00+02:00""#,
        r#"{"seconds":"2020-08-10T11:15:00.000000Z"}"#,
    );
    good(
        r#""millis":1597058100500"#,
        r#"{"millis":"2020-08-10T11:15:00.500000Z"}"#,
    );
    good(r#""day":"2024-02-29""#, r#"{"day":"2024-02-29"}"#);
    for blank in ["updated_at", "local", "seconds", "millis", "day"] {
        good(&format!(r#""{blank}":" ""#), "{}");
    }
    for (field, value, rule) in [
        (
            "updated_at",
            r#""2020-08-10T13:15:00""#,
            "time_without_offset",
        ),
        ("updated_at", "1597058100", "expected_time"),
        ("updated_at", r#""soon""#, "expected_time"),
        ("updated_at", r#""9999-12-31T23:59:59Z""#, "open_end"),
        ("updated_at", r#""0001-01-01T00:00:00Z""#, "no_time"),
        ("local", r#""0001-01-01T00:00:00""#, "no_time"),
        ("seconds", "1e30", "open_end"),
        ("seconds", r#""2020-08-10T13:15:00""#, "time_without_offset"),
        ("millis", "-62135596800000", "no_time"),
        ("day", r#""2023-02-29""#, "expected_date"),
        ("day", "20240229", "expected_date"),
        ("day", r#""9999-12-31""#, "open_end"),
    ] {
        odd(
            &format!(r#""{field}":{value}"#),
            "{}",
            rule,
            field,
            value.trim_matches('"'),
        );
    }
}

#[test]
fn null_is_missing() {
    good(
        r#""state":null,"invoice":null,"articles":null,"tags":[null],"pin":null"#,
        r#"{"tags":[null]}"#,
    );
    good(
        r#""invoice":{},"articles":[{"name":"a","log":null}],"tags":[]"#,
        r#"{"invoice":{},"articles":[{"name":"a"}],"tags":[]}"#,
    );
    good(r#""invoice":"","articles":" ","tags":"""#, "{}");
    assert_eq!(
        outcome(decode(&["{}"])),
        Err(("id".into(), "missing required field".into()))
    );
    assert_eq!(
        outcome(decode(&[r#"{"id":null}"#])),
        Err(("id".into(), "missing required field".into()))
    );
    bad(
        r#""articles":[{"name":"a"},{"amount":1}]"#,
        "articles[1].name",
        "missing required field",
    );
}

#[test]
fn what_is_not_seen_around_a_key_tells_no_two_records_apart() {
    for spelled in [
        r#""a B""#,
        r#"" a B""#,
        r#""a B ""#,
        r#""\ta B\u00a0""#,
        "\"\u{feff}a B\"",
    ] {
        let decoded = decode(&[&format!(r#"{{"id":{spelled},"state":"open"}}"#)]);
        assert!(decoded.rejects.is_empty(), "{spelled}");
        let keys: Vec<Option<&str>> = decoded.keys.iter().collect();
        assert_eq!(keys, [Some("a B")], "{spelled}");
    }
}

#[test]
fn a_key_of_nothing_is_no_key() {
    let missing = Err(("id".to_owned(), "missing required field".to_owned()));
    for blank in [
        "null",
        r#""""#,
        r#"" ""#,
        r#""\t\n""#,
        r#""\u00a0""#,
        r#""\u3000""#,
        r#""\ufeff""#,
        r#""\u200b""#,
        r#""\u200b \u200d""#,
        r#""\u0000""#,
        "{}",
        "[]",
        "[ ]",
        "\"\u{feff}\"",
        r#""null""#,
        r#"" NULL ""#,
        r#""(null)""#,
        r#""undefined""#,
        r#""None""#,
        r#""NaN""#,
        r#""00000000-0000-0000-0000-000000000000""#,
        r#""{00000000-0000-0000-0000-000000000000}""#,
        r#""00000000000000000000000000000000""#,
    ] {
        let decoded = decode(&[&format!(r#"{{"id":{blank},"state":"open"}}"#)]);
        assert_eq!(decoded.rejects[0].key, None, "{blank}");
        assert_eq!(outcome(decoded), missing, "{blank}");
    }
    for (odd, found) in [
        ("true", "a truth value"),
        (r#"{"x":1}"#, "an object"),
        (r#"["a"]"#, "an array"),
    ] {
        let why = format!("expected text, found {found}");
        assert_eq!(
            outcome(decode(&[&format!(r#"{{"id":{odd}}}"#)])),
            Err(("id".to_owned(), why)),
            "{odd}"
        );
    }
    // Written without quotes, it is one: the number 7 is the text "7".
    let decoded = decode(&[
        r#"{"id":7}"#,
        r#"{"id":7.0}"#,
        r#"{"id":"0"}"#,
        r#"{"id":7e-1}"#,
        r#"{"id":" 7 "}"#,
        r#"{"id":"\uff17"}"#,
        r#"{"id":"007"}"#,
        r#"{"id":"{3F2504E0-4F89-11D3-9A0C-0305E82C3301}"}"#,
        r#"{"id":"A-7"}"#,
        r#"{"id":"nullable"}"#,
        r#"{"id":"00000000-0000-0000-0000-000000000001"}"#,
        r#"{"id":"0000000000000000000000000000000"}"#,
    ]);
    assert_eq!(
        decoded.keys.iter().flatten().collect::<Vec<_>>(),
        [
            "7",
            "7",
            "0",
            "7e-1",
            "7",
            "7",
            "007",
            "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "A-7",
            "nullable",
            "00000000-0000-0000-0000-000000000001",
            "0000000000000000000000000000000"
        ]
    );
}

#[test]
fn a_blank_text_is_kept_unless_it_stands_for_a_word_or_an_identifier() {
    good(
        r#""continent":" ","clock":"""#,
        r#"{"clock":"","continent":" "}"#,
    );
    good(
        r#""state":" ","articles":[{"name":"a","currency":""}]"#,
        r#"{"articles":[{"name":"a"}]}"#,
    );
    let site = ColumnSpec {
        blank_is_none: true,
        ..column("site", ColumnKind::Text)
    };
    let decoder = decoder(spec(vec![column("id", ColumnKind::Text), site], &["id"]));
    let page = br#"[{"id":"1","site":""},{"id":"2","site":"\u00a0"},{"id":"3","site":" s "},{"id":"4","site":7}]"#;
    let decoded = decoder.decode(page, &[]).unwrap();
    assert_eq!(
        rows(&decoded.batch),
        [
            r#"{"id":"1"}"#,
            r#"{"id":"2"}"#,
            r#"{"id":"3","site":" s "}"#,
            r#"{"id":"4","site":"7"}"#
        ]
    );
    assert_eq!(decoded.warnings, []);
}

#[test]
fn every_part_of_a_key_must_be_seen() {
    let column = |name: &str, kind| ColumnSpec {
        required: true,
        ..column(name, kind)
    };
    let plate = ColumnSpec {
        class: ColumnClass::Pseudonym(ValueNormalisation::Plate),
        ..column("plate", ColumnKind::Text)
    };
    let columns = vec![
        column("a", ColumnKind::Text),
        column("n", ColumnKind::Int),
        plate,
    ];
    let decoder = decoder(spec(columns, &["a", "n", "plate"]));
    let page = br#"[{"a":"x","n":"7","plate":"KA"},{"a":"","n":7,"plate":"KA"},{"a":"x","n":"","plate":"KA"},{"a":"x","n":" ","plate":"KA"},
        {"a":"x","n":7,"plate":"\u00a0"},{"a":"x","n":7,"plate":null},{"a":"x","n":{},"plate":"KA"},{"a":"x","n":"A3","plate":"KA"}]"#;
    let decoded = decoder.decode(page, &[]).unwrap();
    assert_eq!(decoded.batch.num_rows(), 1);
    let told: Vec<_> = decoded
        .rejects
        .iter()
        .map(|r| (&*r.field, &*r.reason))
        .collect();
    let missing = "missing required field";
    let odd = "expected a whole number, found text";
    assert_eq!(
        told,
        [
            ("a", missing),
            ("n", missing),
            ("n", missing),
            ("plate", missing),
            ("plate", missing),
            ("n", missing),
            ("n", odd)
        ]
    );
}

#[test]
fn a_field_given_twice_is_refused() {
    bad(r#""state":"a","state":"a""#, "state", "duplicate field");
    bad(r#""state":null,"state":"a""#, "state", "duplicate field");
    bad(
        r#""state":"a","st\u0061te":"b""#,
        "state",
        "duplicate field",
    );
    bad(
        r#""invoice":{"amount":1,"created_at":null,"amount":1}"#,
        "invoice.amount",
        "duplicate field",
    );
    bad(r#""pin":"1","pin":"2""#, "pin", "duplicate field");
}

#[test]
fn fields_come_in_any_order_and_spelling() {
    let expected = r#"{"counter":3,"paid":true,"state":"open"}"#;
    good(r#""zähler":3,"paid":true,"state":"open""#, expected);
    good(
        r#" "state" : "open" , "paid" : true , "z\u00e4hler" : 3 "#,
        expected,
    );
    good(
        "\"paid\"\n:\ttrue,\r\n\"state\":\"open\",\"zähler\":3",
        expected,
    );
}

#[test]
fn personal_values_become_tokens_and_secrets_nothing() {
    let token =
        crate::fixture::key().pseudonym(tillhouse_model::table::ValueNormalisation::Plate, "KAXY1");
    for plate in ["KA-XY 1", "kaxy1", "KA\\u002dXY 1"] {
        good(
            &format!(r#""license_plate":"{plate}""#),
            &format!(r#"{{"license_plate":"{token}"}}"#),
        );
    }
    good(r#""card":"5168 xxxx xxxx 8932""#, r#"{"card":"8932"}"#);
    good(r#""card":"1234""#, r#"{"card":"34"}"#);
    good(r#""pin":"1234","driver":{"name":["x"]}"#, "{}");
    let schema = sales().schema();
    assert!(
        schema.column_with_name("pin").is_none() && schema.column_with_name("driver").is_none()
    );
}

#[test]
fn unknown_fields_are_counted_by_path() {
    let decoded = decode(&[
        r#"{"id":"1","new":1,"articles":[{"name":"a","foo":{"bar":1}},{"name":"b","foo":null}],"invoice":{"x\ty":[]}}"#,
        r#"{"new":{"id":2},"id":"2"}"#,
    ]);
    let unknown: Vec<_> = decoded
        .unknown
        .iter()
        .map(|(path, n)| (path.as_str(), *n))
        .collect();
    assert_eq!(
        unknown,
        [("articles[].foo", 2), ("invoice.x\ty", 1), ("new", 2)]
    );
    assert_eq!(decoded.batch.num_rows(), 2);
}

#[test]
fn a_flood_of_unknown_names_is_counted_together() {
    let fields: Vec<String> = (0..1500).map(|i| format!(r#""unknown{i}":0"#)).collect();
    let decoded = decode(&[&format!(r#"{{"id":"1",{}}}"#, fields.join(","))]);
    assert_eq!(decoded.unknown.len(), 1001);
    assert_eq!(decoded.unknown["(other)"], 500);
}

#[test]
fn unknown_fields_are_kept_where_the_contract_says_so() {
    let mut contract = crate::fixture::sales();
    contract.unknown = UnknownFields::Keep;
    let decoder = decoder(contract);
    let page = crate::page(&[
        r#"{"id":"1","new": {"a" : [1, 2.50]},"articles":[{"name":"a"},{"name":"b","f\"o":"\u00e9"}]}"#,
        r#"{"id":"2"}"#,
        r#"{"id":"3","new":1,"new":2}"#,
    ]);
    let decoded = decoder.decode(page.as_bytes(), &["data"]).unwrap();
    assert_eq!(decoded.batch.schema(), decoder.schema());
    let rows = rows(&decoded.batch);
    assert!(
        rows[0].ends_with(
            r#""_extra":"{\"articles[1].f\\\"o\":\"\\u00e9\",\"new\":{\"a\" : [1, 2.50]}}"}"#
        ),
        "{}",
        rows[0]
    );
    assert_eq!(rows[1], r#"{"id":"2"}"#);
    assert_eq!(decoded.rejects[0].reason, "duplicate field");
}

#[test]
fn a_zone_is_known_in_any_spelling() {
    let told = |zone: &str| {
        decode(&[&format!(r#"{{"id":"1","timezone":{zone}}}"#)])
            .warnings
            .len()
    };
    for known in [
        r#""europe/berlin""#,
        r#"" Europe/Berlin ""#,
        r#""01:00:00""#,
        r#""-03:30:00""#,
        r#""W. Europe Standard Time""#,
    ] {
        assert_eq!(told(known), 0, "{known}");
    }
    // One that is blank is none; whoever needs one says so with the rule `present`.
    assert_eq!([told(r#""""#), told(r#"" \u200b""#)], [0, 0]);
    for unknown in [r#""MEZ""#, r#""Europe""#, "7", "{}"] {
        assert_eq!(told(unknown), 1, "{unknown}");
    }
}

#[test]
fn decimals_of_every_scale_fit_their_columns() {
    let kinds = [
        (38, 38, "0.00000000000000000000000000000000000001"),
        (38, 0, "99999999999999999999999999999999999999"),
        (1, 0, "-9"),
        (1, 1, "0.9"),
    ];
    for (precision, scale, text) in kinds {
        let id = ColumnSpec {
            required: true,
            ..column("id", ColumnKind::Int)
        };
        let decoder = decoder(spec(
            vec![id, column("n", ColumnKind::Decimal { precision, scale })],
            &["id"],
        ));
        let decoded = decoder
            .decode(format!(r#"[{{"id":1,"n":{text}}}]"#).as_bytes(), &[])
            .unwrap();
        assert_eq!(rows(&decoded.batch), [format!(r#"{{"id":1,"n":{text}}}"#)]);
    }
}

#[test]
fn what_the_request_named_is_a_column() {
    let account = ColumnSpec {
        json_name: "$scope".into(),
        ..column("account", ColumnKind::Text)
    };
    let id = ColumnSpec {
        required: true,
        ..column("id", ColumnKind::Int)
    };
    let decoder = decoder(spec(vec![id, account], &["id"]));
    let page = br#"[{"id":1},{"id":2,"$scope":"forged"},{"id":"x"},{"id":"3"}]"#;
    let decoded = decoder.decode_scoped(page, &[], Some("fleet")).unwrap();
    let accounts = decoded
        .batch
        .column_by_name("account")
        .unwrap()
        .as_string::<i32>()
        .clone();
    assert_eq!(
        accounts.iter().collect::<Vec<_>>(),
        [Some("fleet"), Some("fleet"), Some("fleet")]
    );
    assert_eq!(decoded.rejects.len(), 1);
    let unnamed = decoder.decode(page, &[]).unwrap();
    assert_eq!(
        unnamed
            .batch
            .column_by_name("account")
            .unwrap()
            .null_count(),
        3
    );
    // One record that is listed for two tenants is one content.
    assert_eq!(
        decoded.content_hashes.value(0),
        unnamed.content_hashes.value(0)
    );
    assert_ne!(
        decoded.content_hashes.value(0),
        decoded.content_hashes.value(1)
    );
    assert_eq!(decoded.content_hashes.value(0)[0], 2);
}

#[test]
fn what_the_request_named_may_be_part_of_the_key() {
    let parent = ColumnSpec {
        json_name: "$scope".into(),
        required: true,
        ..column("parent", ColumnKind::Text)
    };
    let id = ColumnSpec {
        required: true,
        ..column("id", ColumnKind::Int)
    };
    let of = |key: &[&str]| {
        spec(
            vec![parent.clone(), id.clone(), column("n", ColumnKind::Int)],
            key,
        )
    };
    let decoder = decoder(of(&["parent", "id"]));
    let page = br#"[{"id":1},{"id":2,"$scope":"forged"},{"id":3,"$scope":"forged","n":1,"n":1}]"#;
    let decoded = decoder.decode_scoped(page, &[], Some("a:b")).unwrap();
    assert_eq!(
        decoded.keys.iter().flatten().collect::<Vec<_>>(),
        [r"a\:b:1", r"a\:b:2"]
    );
    assert_eq!(decoded.rejects[0].key.as_deref(), Some(r"a\:b:3"));
    for scope in [None, Some(""), Some("\u{a0}")] {
        let unnamed = decoder.decode_scoped(page, &[], scope).unwrap();
        assert_eq!((unnamed.batch.num_rows(), unnamed.rejects.len()), (0, 3));
        assert_eq!(
            (
                unnamed.rejects[0].field.as_str(),
                unnamed.rejects[2].key.as_deref()
            ),
            ("$scope", None)
        );
    }

    let error = tillhouse_decode::Decoder::new(std::sync::Arc::new(of(&["id"])), None).unwrap_err();
    assert!(
        error.message().contains("required only in the key"),
        "{error}"
    );
}
