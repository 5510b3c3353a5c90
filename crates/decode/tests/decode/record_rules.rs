//! Rules that look into a record's lists: products, sums, states; and currencies in one spelling.
//!
//! Invariant: what is told names the element and what was compared; a value that is missing breaks nothing.

use crate::decoder;
use crate::fixture::{self, column, spec};
use crate::row_json::rows;
use arrow::array::AsArray;
use std::sync::Arc;
use tillhouse_decode::Decoder;
use tillhouse_model::money::PriceUnit;
use tillhouse_model::table::{
    AmountRule, ElementFilter, PresenceRule, PriceUnitSource, ProductRule, QualityRule, RuleCheck,
    StateCurrencies, StateRule, SumRule,
};
use tillhouse_model::{ColumnKind, ColumnSpec, TableSpec, TimeFormat};

/// A sale with lines and payments, and all rules that look into them.
fn till() -> TableSpec {
    till_where(&[])
}

fn till_where(or_less: &[&str]) -> TableSpec {
    let list = |name: &str, of: Vec<ColumnSpec>| {
        column(
            name,
            ColumnKind::List(Box::new(column("element", ColumnKind::Struct(of)))),
        )
    };
    let quantity = || ColumnKind::Decimal {
        precision: 18,
        scale: 6,
    };
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let rule = |name: &str, is: &str, check| QualityRule {
        name: name.into(),
        path: path(is),
        check,
    };
    let or_less = or_less.iter().map(|text| path(text)).collect();
    let sum = SumRule {
        of: vec![path("lines.amount")],
        except: Some(ElementFilter {
            path: path("lines.state"),
            words: vec!["declined".into(), "error".into()],
        }),
        only: None,
        currency: vec![path("currency")],
        of_currency: Some(path("lines.currency")),
        direction: None,
    };
    let product = ProductRule {
        of: vec![
            path("lines.quantity"),
            path("lines.unit_price"),
            path("factor"),
        ],
        is: vec![path("lines.before"), path("lines.amount")],
        or_less,
        currency: vec![path("lines.currency"), path("currency")],
    };
    let state = StateRule {
        articles: path("lines.state"),
        payments: path("payments.state"),
        collected: path("payments.amount"),
        owed: path("total"),
        currencies: Some(StateCurrencies {
            collected: path("payments.currency"),
            owed: vec![path("currency"), path("lines.currency")],
        }),
    };
    let columns = vec![
        column("id", ColumnKind::Text),
        column("state", ColumnKind::Text),
        column("total", fixture::MONEY),
        column("currency", ColumnKind::Text),
        column("factor", ColumnKind::Int),
        list(
            "lines",
            vec![
                column("state", ColumnKind::Text),
                column("quantity", quantity()),
                column("unit_price", quantity()),
                column("before", fixture::MONEY),
                column("amount", fixture::MONEY),
                column("currency", ColumnKind::Text),
            ],
        ),
        list(
            "payments",
            vec![
                column("state", ColumnKind::Text),
                column("amount", fixture::MONEY),
                column("currency", ColumnKind::Text),
            ],
        ),
    ];
    let rules = vec![
        rule("currency_known", "currency", RuleCheck::Currency),
        rule(
            "payment_currency_known",
            "payments.currency",
            RuleCheck::Currency,
        ),
        rule("adds_up", "total", RuleCheck::Sum(sum)),
        rule("multiplies", "lines.before", RuleCheck::Product(product)),
        rule("follows", "state", RuleCheck::State(state)),
    ];
    TableSpec {
        rules,
        ..spec(columns, &["id"])
    }
}

/// Warnings about a sale: field, rule and words.
fn told(json: &str) -> Vec<String> {
    let decoded = decoder(till())
        .decode(format!(r#"[{{"id":"1",{json}}}]"#).as_bytes(), &[])
        .unwrap();
    assert_eq!(
        (decoded.batch.num_rows(), decoded.rejects.len()),
        (1, 0),
        "{json}"
    );
    decoded
        .warnings
        .into_iter()
        .map(|w| format!("{} {}: {}", w.rule, w.field, w.original))
        .collect()
}

#[test]
fn products_are_compared_element_by_element() {
    let lines = |lines: &str| told(&format!(r#""factor":1,"lines":[{lines}]"#));
    assert_eq!(
        lines(
            r#"{"quantity":2,"unit_price":1.5,"amount":3},{"quantity":5,"unit_price":0.34,"amount":10.5},{},{"quantity":16.53,"unit_price":1.21,"amount":20}"#
        ),
        [
            "multiplies lines[1].amount: lines[1].amount is 10.5, expected 1.7 = lines[1].quantity 5 x lines[1].unit_price 0.34 x factor 1"
        ]
    );
    assert_eq!(
        lines(
            r#"{"quantity":1,"unit_price":10,"amount":9.99},{"quantity":1,"unit_price":10,"amount":9.9899}"#
        ),
        [
            "multiplies lines[1].amount: lines[1].amount is 9.9899, expected 10 = lines[1].quantity 1 x lines[1].unit_price 10 x factor 1"
        ]
    );
    assert_eq!(
        lines(r#"{"quantity":1,"unit_price":10,"amount":8,"before":10}"#),
        [""; 0],
        "before a discount"
    );
    assert_eq!(
        lines(r#"{"quantity":1,"unit_price":10,"amount":10,"before":12}"#),
        [
            "multiplies lines[0].before: lines[0].before is 12, expected 10 = lines[0].quantity 1 x lines[0].unit_price 10 x factor 1"
        ]
    );
    assert_eq!(
        lines(r#"{"quantity":-1,"unit_price":2.5,"amount":-2.5}"#),
        [""; 0]
    );
    // A gift costs nothing, and a refund may be told by its amount alone.
    for fine in [
        r#"{"quantity":2,"unit_price":5,"amount":0}"#,
        r#"{"quantity":2,"unit_price":5,"amount":-10}"#,
        r#"{"quantity":2,"unit_price":5,"amount":-9.995}"#,
    ] {
        assert_eq!(lines(fine), [""; 0], "{fine}");
    }
    assert_eq!(
        lines(r#"{"quantity":2,"unit_price":5,"amount":-9}"#).len(),
        1
    );
    assert_eq!(
        lines(r#"{"quantity":-2,"unit_price":5,"amount":10}"#).len(),
        1
    );
    assert_eq!(
        lines(r#"{"quantity":2,"unit_price":-5,"amount":-10}"#),
        [""; 0]
    );
    assert_eq!(
        lines(r#"{"quantity":-2,"unit_price":-5,"amount":-10}"#),
        [
            "multiplies lines[0].amount: lines[0].amount is -10, expected 10 = lines[0].quantity -2 x lines[0].unit_price -5 x factor 1"
        ],
        "two signs are none"
    );
    for missing in [
        r#"{"unit_price":10,"amount":8}"#,
        r#"{"quantity":1,"amount":8}"#,
        r#"{"quantity":1,"unit_price":10}"#,
    ] {
        assert_eq!(lines(missing), [""; 0], "{missing}");
    }
    assert_eq!(
        told(r#""lines":[{"quantity":5,"unit_price":0.34,"amount":10.5}]"#),
        [""; 0],
        "a factor of the record is missing"
    );
    let most = "999999999999.999999";
    let words = lines(&format!(
        r#"{{"quantity":{most},"unit_price":-{most},"amount":-99999999999999.9999}}"#
    ));
    assert_eq!(
        words.len(),
        1,
        "the largest numbers there are can be multiplied: {words:?}"
    );
    assert!(
        words[0].contains(
            " is -99999999999999.9999, expected -999999999999999998000000.000000000001 = "
        ),
        "{words:?}"
    );
}

#[test]
fn amounts_may_be_off_by_the_smallest_coin_of_their_currency() {
    let (eur, jpy, kwd, none) = (r#""EUR""#, r#"" jpy""#, r#""KWD""#, "null");
    for (of_sale, of_line, amount, is_told) in [
        (eur, none, "499.49", false),
        (eur, none, "499.52", true),
        (jpy, none, "500", false),
        (jpy, none, "499", false),
        (jpy, none, "501", true),
        (kwd, none, "499.501", false),
        (kwd, none, "499.505", true),
        // The currency of the line itself counts first.
        (eur, jpy, "500", false),
        (jpy, kwd, "499.505", true),
        // Nobody knows it.
        (none, none, "499.51", false),
        (none, none, "499.52", true),
        (jpy, r#""TOKEN""#, "499.52", true),
    ] {
        let told = told(&format!(
            r#""factor":1,"currency":{of_sale},"lines":[{{"quantity":1.5,"unit_price":333,"amount":{amount},"currency":{of_line}}}]"#
        ));
        let case = format!("{amount} of {of_line} in {of_sale}: {told:?}");
        assert_eq!(told.len(), usize::from(is_told), "{case}");
    }
    for (of_sale, of_line, total, is_told) in [
        (eur, none, "300.01", false),
        (eur, none, "300.02", true),
        (jpy, none, "301", false),
        (jpy, none, "302", true),
        (kwd, none, "300.001", false),
        (kwd, none, "300.005", true),
        // Where the sum names none, that of what is added counts.
        (none, jpy, "301", false),
        (none, kwd, "300.005", true),
        (none, none, "300.01", false),
        (none, none, "300.02", true),
        // A refund that is told by its sum alone.
        (jpy, none, "-301", false),
        (jpy, none, "-302", true),
        (kwd, none, "-300.005", true),
    ] {
        let line = |amount| format!(r#"{{"amount":{amount},"currency":{of_line}}}"#);
        let told = told(&format!(
            r#""total":{total},"currency":{of_sale},"lines":[{},{}]"#,
            line(100),
            line(200)
        ));
        let case = format!("{total} in {of_sale} of {of_line}: {told:?}");
        assert_eq!(told.len(), usize::from(is_told), "{case}");
    }
}

#[test]
fn what_may_be_less_is_told_where_it_is_more() {
    let decoder = decoder(till_where(&["lines.amount"]));
    for (numbers, is_told) in [
        (r#""quantity":2,"unit_price":5,"amount":10"#, false),
        (r#""quantity":2,"unit_price":5,"amount":9"#, false),
        (r#""quantity":2,"unit_price":5,"amount":0"#, false),
        (r#""quantity":-2,"unit_price":5,"amount":-9"#, false),
        (r#""quantity":2,"unit_price":5,"amount":10.01"#, false),
        (r#""quantity":2,"unit_price":5,"amount":10.02"#, true),
        (r#""quantity":-2,"unit_price":5,"amount":-11"#, true),
        (r#""quantity":2,"unit_price":5,"amount":-9"#, true),
        (
            r#""quantity":2,"unit_price":5,"amount":9,"before":10"#,
            false,
        ),
        (r#""quantity":2,"unit_price":5,"amount":9,"before":9"#, true),
    ] {
        let page = format!(r#"[{{"id":"1","factor":1,"lines":[{{{numbers}}}]}}]"#);
        let decoded = decoder.decode(page.as_bytes(), &[]).unwrap();
        assert_eq!(
            decoded.warnings.len(),
            usize::from(is_told),
            "{numbers}: {:?}",
            decoded.warnings
        );
    }
}

#[test]
fn elements_that_may_not_count_may_be_left_out() {
    let sale = |lines: &str, total: &str| told(&format!(r#""total":{total},"lines":[{lines}]"#));
    assert_eq!(
        sale(
            r#"{"state":"done","amount":2},{"state":" DECL\u0130NED ","amount":5},{"state":"error"}"#,
            "2"
        ),
        [""; 0]
    );
    assert_eq!(
        sale(r#"{"state":"done","amount":2},{"amount":5}"#, "2"),
        ["adds_up total: total is 2, expected 7 = lines[].amount"]
    );
    assert_eq!(
        sale(r#"{"state":"done"},{"amount":5}"#, "2"),
        [""; 0],
        "an amount is missing"
    );
    assert_eq!(
        sale(r#"{"state":"declined","amount":5}"#, "5"),
        [""; 0],
        "they may count all the same"
    );
    assert_eq!(
        sale(
            r#"{"state":"done","amount":2},{"state":"declined","amount":5}"#,
            "7"
        ),
        [""; 0]
    );
    assert_eq!(
        sale(
            r#"{"state":"done","amount":2},{"state":"declined","amount":5}"#,
            "6"
        ),
        ["adds_up total: total is 6, expected 2 = lines[].amount"]
    );
    assert_eq!(
        sale(r#"{"state":"done","amount":2},{"state":"declined"}"#, "6"),
        ["adds_up total: total is 6, expected 2 = lines[].amount"]
    );
}

#[test]
fn what_a_refund_is_made_of_may_be_told_without_a_sign() {
    let refund = |lines: &[(&str, i8)], total: i8| {
        let lines = lines
            .iter()
            .map(|(state, amount)| format!(r#"{{"state":"{state}","amount":{amount}}}"#));
        let lines = lines.collect::<Vec<_>>().join(",");
        told(&format!(r#""total":{total},"lines":[{lines}]"#))
    };
    let (done, declined) = ("done", "declined");
    let fine: [&[(&str, i8)]; 7] = [
        &[(done, -4), (done, -6)],
        &[(done, 4), (done, 6)],
        &[(done, 0), (done, 10)],
        &[(done, 2), (done, -12)],
        &[(done, 10), (declined, -10)],
        &[(done, 10), (declined, 3)],
        &[(done, 7), (declined, 3)],
    ];
    for fine in fine {
        assert_eq!(refund(fine, -10), [""; 0], "{fine:?}");
    }
    let off: [(&[(&str, i8)], i8); 4] = [
        (&[(done, 4), (done, 5)], 9),
        (&[(done, -2), (done, 12)], 10),
        (&[(done, 8), (done, -2)], 6),
        (&[(done, -4), (done, -5)], -9),
    ];
    for (off, sum) in off {
        let words = format!("adds_up total: total is -10, expected {sum} = lines[].amount");
        assert_eq!(refund(off, -10), [words], "{off:?}");
    }
    // Of what is no refund nothing is below zero.
    let words = "adds_up total: total is 10, expected -10 = lines[].amount";
    assert_eq!(refund(&[(done, -4), (done, -6)], 10), [words]);
}

#[test]
fn a_state_follows_from_articles_and_payments() {
    let sale = |state: &str, payments: &str| {
        told(&format!(
            r#""state":"{state}","total":10,"lines":[{{"state":"done","amount":10}}],"payments":[{payments}]"#
        ))
    };
    let ten = r#"{"state":"collected","amount":10}"#;
    assert_eq!(sale("completed", ten), [""; 0]);
    assert_eq!(sale(" Completed", ten), [""; 0]);
    assert_eq!(
        sale(
            "\u{ff23}OMPLETED\u{200b}",
            &ten.replace("collected", " COLLECTED")
        ),
        [""; 0]
    );
    assert_eq!(
        sale("consumed", ten),
        [
            "follows state: state is consumed, expected completed; lines[].state done; payments[].state collected; payments[].amount collected 10 for total 10"
        ]
    );
    assert_eq!(
        sale("completed", r#"{"state":"collected","amount":9.99}"#),
        [
            "follows state: state is completed, expected consumed; lines[].state done; payments[].state collected; payments[].amount collected 9.99 for total 10"
        ]
    );
    assert_eq!(
        sale(
            "completed",
            r#"{"state":"collected","amount":4},{"state":"open","amount":9},{"state":"collected","amount":6}"#
        ),
        [""; 0]
    );
    assert_eq!(
        sale("completed", &format!(r#"{{"state":"declined"}},{ten}"#)),
        [
            "follows state: state is completed, expected declined; lines[].state done; payments[].state declined, collected; payments[].amount collected 10 for total 10"
        ]
    );
    assert_eq!(
        sale("completed", r#"{"state":"collected"}"#),
        [""; 0],
        "nobody knows how much was collected"
    );
    assert_eq!(sale("completed", ""), [""; 0], "the table has no answer");
    assert_eq!(
        told(r#""lines":[{"state":"reserved"}]"#),
        [""; 0],
        "no state was named"
    );
    let most = "99999999999999.9999";
    let payments = format!(
        r#"{{"state":"collected","amount":{most}}},{{"state":"collected","amount":{most}}}"#
    );
    assert_eq!(
        sale("completed", &payments),
        [""; 0],
        "a sum may be larger than an amount"
    );
}

#[test]
fn amounts_of_several_currencies_are_not_compared() {
    let sale = |state: &str, owed: &str, payments: &[(&str, &str, &str)]| {
        let payments: Vec<String> = payments
            .iter()
            .map(|(state, amount, currency)| {
                format!(r#"{{"state":"{state}","amount":{amount},"currency":{currency}}}"#)
            })
            .collect();
        told(&format!(
            r#""state":"{state}","total":10,"currency":{owed},"lines":[{{"state":"done","amount":10}}],"payments":[{}]"#,
            payments.join(",")
        ))
    };
    let (euro, dollar, none) = (r#""EUR""#, r#""USD""#, "null");
    let mixed = [
        ("collected", "4", euro),
        ("collected", "1", dollar),
        ("collected", "1", euro),
    ];
    for state in ["completed", "consumed"] {
        assert_eq!(sale(state, euro, &mixed), [""; 0], "nobody knows");
        assert_eq!(sale(state, none, &mixed), [""; 0], "nor here");
    }
    assert_eq!(
        sale("completed", dollar, &[("collected", "9", euro)]),
        [""; 0],
        "all of it is in another currency"
    );
    // What was not collected is not added, and whatever names no currency is in the sale's.
    let one = [
        ("collected", "4", r#"" eur""#),
        ("collected", "5", none),
        ("open", "5", dollar),
    ];
    assert_eq!(sale("consumed", euro, &one), [""; 0]);
    assert_eq!(sale("completed", euro, &one).len(), 1);
    assert_eq!(sale("completed", none, &one).len(), 1);
    // A state that no amount decides is told all the same.
    let declined = [mixed[0], mixed[1], ("declined", "5", euro)];
    assert_eq!(
        sale("completed", euro, &declined),
        [
            "follows state: state is completed, expected declined; lines[].state done; payments[].state collected, collected, declined"
        ]
    );
}

#[test]
fn what_is_owed_in_no_currency_is_in_that_of_the_lines() {
    for (of_line, differs) in [("USD", true), ("EUR", false)] {
        let told = told(&format!(
            r#""state":"completed","total":10,"lines":[{{"state":"done","amount":10,"currency":"{of_line}"}}],"payments":[{{"state":"collected","amount":9,"currency":"USD"}}]"#
        ));
        assert_eq!(told.len(), usize::from(differs), "{told:?}");
    }
}

#[test]
fn amounts_of_several_currencies_are_not_added_up() {
    let told = |lines: &str, currency: &str| {
        told(&format!(
            r#""total":6,"currency":{currency},"lines":[{lines}]"#
        ))
    };
    let line = |state: &str, amount: u8, currency: &str| {
        format!(r#"{{"state":"{state}","amount":{amount},"currency":{currency}}}"#)
    };
    let (eur, usd) = (r#""EUR""#, r#""usd""#);
    let of = |currencies: [&str; 2]| {
        format!(
            "{},{}",
            line("done", 5, currencies[0]),
            line("done", 2, currencies[1])
        )
    };
    for mixed in [
        (of([eur, usd]), eur),
        (of([eur, usd]), "null"),
        (of([eur, eur]), usd),
        (of(["null", eur]), usd),
        (of([eur, r#""points""#]), eur),
    ] {
        assert_eq!(told(&mixed.0, mixed.1), [""; 0], "{mixed:?}");
    }
    let off = ["adds_up total: total is 6, expected 7 = lines[].amount"];
    for one in [
        (of([eur, r#"" Eur""#]), eur),
        (of([eur, "null"]), eur),
        (of(["null", eur]), "null"),
        (of(["null", "null"]), usd),
    ] {
        assert_eq!(told(&one.0, one.1), off, "{one:?}");
    }
    // A line that was declined in another currency is not on the sale.
    let declined = format!("{},{}", line("done", 5, eur), line("declined", 2, usd));
    assert_eq!(
        told(&declined, eur),
        ["adds_up total: total is 6, expected 5 = lines[].amount"]
    );
}

#[test]
fn a_currency_has_one_spelling() {
    let page = r#"[{"id":"1","currency":"EUR","payments":[{"currency":" eur"},{"currency":"\u0065ur"},{"currency":"\u00a0Eur\t"}]},
        {"id":"2","currency":"  "},{"id":"3","currency":""},{"id":"4","currency":null},{"id":"5"},{"id":"6","currency":"euros"},{"id":"7","currency":"eur"},
        {"id":"8","currency":"\uff25\uff35\uff32"},{"id":"9","currency":"E\u200bU\u00adR\ufeff"}]"#;
    let decoded = decoder(till()).decode(page.as_bytes(), &[]).unwrap();
    assert_eq!(decoded.rejects, []);
    let rows = rows(&decoded.batch);
    assert_eq!(
        rows[0].matches(r#""currency":"EUR""#).count(),
        4,
        "{}",
        rows[0]
    );
    let currencies = decoded
        .batch
        .column_by_name("currency")
        .unwrap()
        .as_string::<i32>();
    let currencies: Vec<_> = currencies.iter().collect();
    assert_eq!(
        currencies,
        [
            Some("EUR"),
            None,
            None,
            None,
            None,
            Some("EUROS"),
            Some("EUR"),
            Some("EUR"),
            Some("EUR")
        ]
    );
    let told: Vec<_> = decoded
        .warnings
        .iter()
        .map(|w| (&*w.key, &*w.rule, &*w.original))
        .collect();
    assert_eq!(told, [("6", "currency_known", "EUROS")]);
    let twice = decoder(till())
        .decode(
            br#"[{"id":"1","currency":"EUR"},{"id":"1","currency":" eur "}]"#,
            &[],
        )
        .unwrap();
    assert_eq!(
        twice.content_hashes.value(0),
        twice.content_hashes.value(1),
        "another spelling is no new version"
    );
    let required = TableSpec {
        columns: till()
            .columns
            .into_iter()
            .map(|c| ColumnSpec {
                required: c.required || c.name == "currency",
                ..c
            })
            .collect(),
        ..till()
    };
    let decoded = decoder(required)
        .decode(br#"[{"id":"1","currency":" "}]"#, &[])
        .unwrap();
    assert_eq!(decoded.rejects[0].reason, "missing required field");
}

/// A sale whose payments have ids, amounts and currencies, and the rules about them.
fn paid() -> TableSpec {
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let rule = |name: &str, is: &str, check| QualityRule {
        name: name.into(),
        path: path(is),
        check,
    };
    let payment = vec![
        column("id", ColumnKind::Text),
        column("state", ColumnKind::Text),
        column("amount", fixture::MONEY),
        column("currency", ColumnKind::Text),
        column(
            "tags",
            ColumnKind::List(Box::new(column("element", ColumnKind::Text))),
        ),
        column("is_cash", ColumnKind::Bool),
    ];
    let columns = vec![
        column("id", ColumnKind::Text),
        column("total", fixture::MONEY),
        column("currency", ColumnKind::Text),
        column("test", ColumnKind::Int),
        column(
            "payments",
            ColumnKind::List(Box::new(column("element", ColumnKind::Struct(payment)))),
        ),
    ];
    let collected = ElementFilter {
        path: path("payments.state"),
        words: vec!["collected".into()],
    };
    let amount = |currency: &[&str]| {
        RuleCheck::Amount(AmountRule {
            currency: currency.iter().map(|named| path(named)).collect(),
            guess: vec![path("payments.currency")],
            currency_elsewhere: None,
            unit: PriceUnitSource::Contract(PriceUnit::Major),
        })
    };
    let rules = vec![
        rule(
            "known",
            "payments.amount",
            RuleCheck::Present(PresenceRule {
                when: Some(collected),
                ..PresenceRule::default()
            }),
        ),
        rule(
            "total_known",
            "total",
            RuleCheck::Present(PresenceRule::default()),
        ),
        rule(
            "fits",
            "payments.amount",
            amount(&["payments.currency", "currency"]),
        ),
        rule("total_fits", "total", amount(&["currency"])),
        rule("once", "payments.id", RuleCheck::Unique),
        rule("not_below", "test", RuleCheck::AtLeast(0)),
        rule("not_above", "test", RuleCheck::AtMost(1)),
    ];
    TableSpec {
        rules,
        ..spec(columns, &["id"])
    }
}

/// The sale without its id, in euros where it says nothing else, and what is warned about.
fn sale_paid(json: &str) -> (String, Vec<String>) {
    let currency = match json.contains(r#""currency":"#) {
        true => "",
        false => r#""currency":"EUR","#,
    };
    let decoded = decoder(paid())
        .decode(
            format!(r#"[{{"id":"1",{currency}{json}}}]"#).as_bytes(),
            &[],
        )
        .unwrap();
    assert_eq!(
        (decoded.batch.num_rows(), decoded.rejects.len()),
        (1, 0),
        "{json}"
    );
    let told = decoded
        .warnings
        .into_iter()
        .map(|w| format!("{} {}: {}", w.rule, w.field, w.original))
        .collect();
    (
        rows(&decoded.batch)[0].replacen(r#""id":"1","#, "", 1),
        told,
    )
}

#[test]
fn what_has_to_be_there_is_told_where_it_is_missing() {
    let told = |json: &str| sale_paid(json).1;
    assert_eq!(
        told(r#""total":1,"payments":[{"state":"collected","amount":0},{"state":"open"},{}]"#),
        [""; 0]
    );
    assert_eq!(told(r#""total":1,"payments":[]"#), [""; 0]);
    assert_eq!(
        told(
            r#""payments":[{"state":"collected","amount":1},{"state":" COLLECTED","amount":null}]"#
        ),
        [
            "known payments[1].amount: payments[1].amount is missing, and payments[1].state is collected",
            "total_known total: total is missing"
        ]
    );
}

/// A record with an object in which a value is wanted.
fn wanting(kind: ColumnKind) -> TableSpec {
    let site = ColumnKind::Struct(vec![column("wanted", kind)]);
    let columns = vec![column("id", ColumnKind::Text), column("site", site)];
    let given = QualityRule {
        name: "given".into(),
        path: vec!["site".into(), "wanted".into()],
        check: RuleCheck::Present(PresenceRule {
            otherwise: Some("the day is that of UTC".into()),
            ..PresenceRule::default()
        }),
    };
    TableSpec {
        rules: vec![given],
        ..spec(columns, &["id"])
    }
}

#[test]
fn any_single_value_can_be_wanted_and_a_blank_text_is_none() {
    let told = |kind: &ColumnKind, site: &str| -> Vec<String> {
        let page = format!(r#"[{{"id":"1"{site}}}]"#);
        let decoded = decoder(wanting(kind.clone())).decode(page.as_bytes(), &[]);
        let warnings = decoded.unwrap().warnings.into_iter();
        let told = warnings.filter(|warning| warning.rule == "given");
        told.map(|warning| format!("{}: {}", warning.field, warning.original))
            .collect()
    };
    let missing = ["site.wanted: site.wanted is missing: the day is that of UTC"];
    for (kind, there) in [
        (ColumnKind::Text, r#""Europe/Berlin""#),
        (ColumnKind::Text, "7"),
        (ColumnKind::Int, "0"),
        (ColumnKind::Bool, "false"),
        (ColumnKind::Date, r#""2026-01-05""#),
        (
            ColumnKind::Timestamp(TimeFormat::Offset),
            r#""2026-01-05T10:00:00Z""#,
        ),
    ] {
        let site = format!(r#","site":{{"wanted":{there}}}"#);
        assert_eq!(told(&kind, &site), [""; 0], "{there}");
        for site in [
            "",
            r#","site":null"#,
            r#","site":[]"#,
            r#","site":{}"#,
            r#","site":{"wanted":null}"#,
            r#","site":{"wanted":""}"#,
            r#","site":{"wanted":" \u200b"}"#,
            r#","site":{"wanted":[1]}"#,
            r#","site":"here""#,
        ] {
            assert_eq!(told(&kind, site), missing, "{there} {site}");
        }
    }
    let object = ColumnKind::Struct(vec![column("inner", ColumnKind::Text)]);
    let refused = Decoder::new(Arc::new(wanting(object)), None).unwrap_err();
    assert!(refused.to_string().contains("a single value"), "{refused}");
}

#[test]
fn an_amount_has_the_digits_of_its_own_currency() {
    let told = |json: &str| sale_paid(json).1;
    let payments = r#"{"amount":1,"currency":"JPY"},{"amount":1.005,"currency":"JPY"},{"amount":1.005,"currency":"KWD"},{"amount":1.005},{"amount":1.005,"currency":"eur "}"#;
    assert_eq!(
        told(&format!(
            r#""total":1.50,"currency":"JPY","payments":[{payments}]"#
        )),
        [
            "fits payments[1].amount: 1.005 JPY has too many decimals, and amounts are said to be in major units",
            "fits payments[3].amount: 1.005 JPY has too many decimals, and amounts are said to be in major units",
            "fits payments[4].amount: 1.005 eur  has too many decimals, and amounts are said to be in major units",
            "total_fits total: 1.5 JPY has too many decimals, and amounts are said to be in major units"
        ]
    );
}

#[test]
fn an_amount_whose_currency_is_guessed_or_missing_is_told() {
    let told = |json: &str| sale_paid(json).1;
    let guessed = "names no currency: that of payments[1].currency counts";
    for none in ["null", r#""""#, r#"" \u200b""#] {
        assert_eq!(
            told(&format!(
                r#""total":2,"currency":{none},"payments":[{{"amount":1,"currency":{none}}},{{"amount":1.5,"currency":"CHF"}}]"#
            )),
            [
                format!("fits payments[0].amount: 1 {guessed}"),
                format!("total_fits total: 2 {guessed}"),
            ],
            "{none}"
        );
        let nobody = "of no currency: nobody knows what it is an amount of";
        assert_eq!(
            told(&format!(
                r#""total":2,"currency":{none},"payments":[{{"amount":-1.5}},{{"amount":0}},{{"amount":null}}]"#
            )),
            [
                format!("fits payments[0].amount: -1.5 {nobody}"),
                format!("total_fits total: 2 {nobody}"),
            ],
            "{none}"
        );
        assert_eq!(
            told(&format!(r#""total":0,"currency":{none},"payments":[]"#)),
            [""; 0],
            "0 is 0 of whatever it is"
        );
    }
    assert_eq!(
        told(r#""total":2.5,"currency":null,"payments":[{"currency":"JPY"}]"#),
        [
            "total_fits total: 2.5 JPY has too many decimals, and amounts are said to be in major units"
        ]
    );
    // The currency that the sale names is no guess.
    assert_eq!(
        told(
            r#""total":2,"currency":"EUR","payments":[{"amount":1.5},{"amount":1,"currency":"JPY"}]"#
        ),
        [""; 0]
    );
}

#[test]
fn of_two_elements_with_one_id_the_last_counts() {
    let five = r#"{"id":"p","state":"collected","amount":5,"tags":["a","b"],"is_cash":true}"#;
    let kept = |json: &str| {
        let (row, told) = sale_paid(&format!(r#""total":5,"payments":[{json}]"#));
        (
            row.split_once(r#""payments":"#)
                .unwrap()
                .1
                .trim_end_matches('}')
                .to_owned()
                + "}",
            told,
        )
    };
    let once = kept(five).0;
    let (row, told) = kept(&format!("{five},{five}"));
    assert_eq!(row, once);
    assert_eq!(
        told,
        ["once payments[0]: payments[0] is left out: payments names it again behind, the same"]
    );
    let (row, told) = kept(&format!(
        r#"{five},{{"id":"q","amount":1}},{five},{}"#,
        five.replace(":5", ":6.50")
    ));
    assert_eq!(row.matches(r#""id":"p""#).count(), 1, "{row}");
    assert!(
        row.contains(r#""amount":6.5000,"tags":["a","b"],"is_cash":true"#)
            && row.contains(r#""id":"q""#),
        "{row}"
    );
    assert_eq!(
        told,
        [
            "once payments[2]: payments[2] is left out: payments names it again behind, another version of it, which counts",
            "once payments[0]: payments[0] is left out: payments names it again behind, another version of it, which counts"
        ]
    );
    let (row, told) = kept(&format!(
        "{five},{},{},{},{}",
        r#"{"amount":1}"#,
        r#"{"amount":1}"#,
        r#"{"id":" ","amount":2}"#,
        r#"{"id":" ","amount":2}"#
    ));
    assert_eq!(
        (row.matches(r#""amount""#).count(), told.len()),
        (5, 0),
        "what names nothing is not the same: {row}"
    );
    // Records behind have what is theirs.
    let page = format!(
        r#"[{{"id":"1","total":1,"payments":[{five},{five}]}},{{"id":"2","total":1,"payments":[{five},{{"id":"r","tags":[]}}]}},{{"id":"3","total":1}}]"#
    );
    let decoded = decoder(paid()).decode(page.as_bytes(), &[]).unwrap();
    let all = rows(&decoded.batch);
    assert!(
        all[1].contains(r#""id":"p""#) && all[1].contains(r#""id":"r","tags":[]"#),
        "{}",
        all[1]
    );
    let plain = format!(r#"[{{"id":"1","total":1,"payments":[{five}]}}]"#);
    let plain = decoder(paid()).decode(plain.as_bytes(), &[]).unwrap();
    assert_eq!(
        plain.content_hashes.value(0),
        decoded.content_hashes.value(0),
        "told twice is no new version"
    );
}

#[test]
fn a_number_that_is_0_or_1_is_read_where_it_is_written_as_a_truth_value() {
    for (json, number, warned) in [
        ("true", Some("1"), 0),
        ("false", Some("0"), 0),
        (r#""true""#, Some("1"), 0),
        (r#"" False ""#, Some("0"), 0),
        ("1", Some("1"), 0),
        (r#""1""#, Some("1"), 0),
        ("0", Some("0"), 0),
        ("null", None, 0),
        (r#""""#, None, 0),
        (r#""yes""#, None, 1),
        (r#""tru""#, None, 1),
        ("2", Some("2"), 1),
        ("-1", Some("-1"), 1),
    ] {
        let (row, told) = sale_paid(&format!(r#""total":5,"test":{json}"#));
        assert_eq!(told.len(), warned, "{json}: {told:?}");
        match number {
            Some(number) => assert!(
                row.contains(&format!(r#""test":{number}"#)),
                "{json}: {row}"
            ),
            None => assert!(!row.contains("test"), "{json}: {row}"),
        }
    }
}
