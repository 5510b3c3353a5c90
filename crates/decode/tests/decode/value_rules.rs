//! Rules about values: what does not hold is a warning, and changes nothing.
//!
//! Invariant: a rule never costs a record or a value; each is seen to hold and to be broken.

use crate::fixture::{self, column, spec};
use crate::row_json::rows;
use crate::{decode, decoder};
use std::sync::Arc;
use tillhouse_decode::Decoder;
use tillhouse_model::money::{PriceUnit, VatRateUnit};
use tillhouse_model::table::{
    AmountRule, PriceUnitSource, QualityRule, RateRule, RateUnitSource, RuleCheck, TaxRule,
};
use tillhouse_model::{ColumnKind, ColumnSpec, Error, MisfitPolicy, TableSpec};

#[test]
fn rules_warn_and_change_nothing() {
    let decoded = decode(&[
        r#"{"id":"1","state":"open","timezone":"Europe/Berlin","zähler":1,"invoice":{"amount":0},"articles":[{"name":"a","currency":"EUR"},{"name":"b"}]}"#,
        r#"{"id":"2","state":"gone","timezone":"Mars/Base","zähler":0,"invoice":{"amount":-0.5},"articles":[{"name":"a","currency":"EUR"},{"name":"b","currency":"EURO"}]}"#,
        r#"{"id":"3","state":"done","timezone":"Mars/Base"}"#,
    ]);
    assert_eq!(decoded.batch.num_rows(), 3);
    let said: Vec<_> = decoded
        .warnings
        .iter()
        .map(|w| (&*w.key, &*w.field, &*w.rule, &*w.original))
        .collect();
    assert_eq!(
        said,
        [
            ("2", "state", "known_state", "gone"),
            ("2", "articles[1].currency", "real_currency", "EURO"),
            ("2", "timezone", "real_zone", "Mars/Base"),
            ("2", "invoice.amount", "not_negative", "-0.5"),
            ("2", "zähler", "counted", "0"),
            ("3", "timezone", "real_zone", "Mars/Base"),
        ]
    );
}

#[test]
fn a_number_may_have_a_largest_value() {
    let rule = QualityRule {
        name: "at_most".into(),
        path: vec!["rate".into()],
        check: RuleCheck::AtMost(100),
    };
    let columns = vec![
        column("id", ColumnKind::Text),
        column(
            "rate",
            ColumnKind::Decimal {
                precision: 9,
                scale: 4,
            },
        ),
    ];
    let decoder = decoder(TableSpec {
        rules: vec![rule],
        ..spec(columns, &["id"])
    });
    let page = br#"[{"id":"1","rate":100},{"id":"2","rate":100.0001},{"id":"3","rate":-500},{"id":"4","rate":"119"},{"id":"5"}]"#;
    let decoded = decoder.decode(page, &[]).unwrap();
    let told: Vec<_> = decoded
        .warnings
        .iter()
        .map(|w| (&*w.key, &*w.rule, &*w.original))
        .collect();
    assert_eq!(
        told,
        [("2", "at_most", "100.0001"), ("4", "at_most", "119")]
    );
}

/// The warnings of one record, and nothing else.
fn warned(json: &str) -> Vec<(String, String)> {
    let decoded = decode(&[&format!(r#"{{"id":"1",{json}}}"#)]);
    assert_eq!(decoded.batch.num_rows(), 1, "{json}");
    decoded
        .warnings
        .into_iter()
        .map(|w| (format!("{}: {}", w.rule, w.field), w.original))
        .collect()
}

#[test]
fn sums_are_compared_exactly_and_only_where_all_is_there() {
    let sale = |amounts: &str, tip: &str, invoice: &str| {
        let articles: Vec<String> = amounts
            .split(' ')
            .filter(|a| !a.is_empty())
            .map(|a| format!(r#"{{"name":"a","amount":{a}}}"#))
            .collect();
        warned(&format!(
            r#""articles":[{}],"tip":{tip},"invoice":{{"amount":{invoice}}}"#,
            articles.join(",")
        ))
    };
    let off = |words: &str| vec![("adds_up: invoice.amount".to_owned(), words.to_owned())];
    assert_eq!(sale("1.50 2.25", "1", "4.75"), []);
    assert_eq!(sale("1.50 2.25", "1", "4.76"), [], "within a hundredth");
    assert_eq!(
        sale("1.50 2.25", "1", "4.7601"),
        off("invoice.amount is 4.7601, expected 4.75 = articles[].amount 3.75 + tip 1")
    );
    assert_eq!(
        sale("0.0001", "0", "0.5"),
        off("invoice.amount is 0.5, expected 0.0001 = articles[].amount 0.0001 + tip 0")
    );
    assert_eq!(sale("", "2", "2"), [], "an empty list adds nothing");
    assert_eq!(
        sale("", "2", "3"),
        off("invoice.amount is 3, expected 2 = articles[].amount 0 + tip 2")
    );
    for incomplete in [
        ("null", "1", "9"),
        ("1 null", "1", "9"),
        ("1", "null", "9"),
        ("1", "1", "null"),
    ] {
        assert_eq!(
            sale(incomplete.0, incomplete.1, incomplete.2),
            [],
            "{incomplete:?}"
        );
    }
    assert_eq!(warned(r#""tip":1,"invoice":{"amount":9}"#), []);
    // Amounts that cannot be added up are not compared.
    assert_eq!(
        sale(
            "99999999999999.9999 99999999999999.9999",
            "9223372036854775807",
            "0"
        )
        .len(),
        1
    );
}

#[test]
fn a_clock_is_compared_with_its_instant() {
    let at = |clock: &str, continent: &str| {
        warned(&format!(
            r#""updated_at":"2017-07-21T17:32:28.9Z","clock":"{clock}","continent":{continent}"#
        ))
    };
    let off = |words: &str| vec![("clock_right: clock".to_owned(), words.to_owned())];
    for right in ["2017-07-21T19:32:28", "2017-07-21T18:32:28"] {
        assert_eq!(at(right, r#""Europe""#), [], "Berlin's or London's");
    }
    let told = "clock is 2017-07-21T17:32:28, expected what a clock in Europe shows at 2017-07-21T17:32:28.9Z";
    assert_eq!(at("2017-07-21T17:32:28", r#""Europe""#), off(told));
    // Where the zone is not known, any offset there can be will do.
    for elsewhere in ["null", r#""Asia""#] {
        assert_eq!(at("2017-07-21T23:02:28", elsewhere), []);
        assert_eq!(at("2017-07-21T23:09:28", elsewhere).len(), 1);
    }
    assert_eq!(
        at("teatime", "null"),
        off("clock is teatime, expected what a clock shows at 2017-07-21T17:32:28.9Z")
    );
    assert_eq!(
        warned(r#""clock":"teatime""#),
        [],
        "nothing to compare with"
    );
    assert_eq!(warned(r#""updated_at":"2017-07-21T17:32:28Z""#), []);
}

#[test]
fn warnings_are_bounded_and_the_rest_is_counted() {
    let amounts = vec![r#"{"name":"a","amount":0.00001}"#; 20_100].join(",");
    let decoded = decode(&[&format!(r#"{{"id":"1","articles":[{amounts}]}}"#)]);
    assert_eq!(decoded.warnings.len(), 20_001);
    let last = decoded.warnings.last().unwrap();
    assert_eq!(
        (&*last.rule, &*last.original, last.count),
        ("more_warnings", "100", 100)
    );
}

#[test]
fn an_amount_is_compared_with_its_unit() {
    let told = |unit: &str, json: &str, is_of_sale: bool| {
        let amount = AmountRule {
            currency: vec![vec!["currency".into()]],
            guess: Vec::new(),
            currency_elsewhere: is_of_sale.then(|| vec!["sale".into()]),
            unit: PriceUnitSource::Connection("price_unit".into()),
        };
        let rule = QualityRule {
            name: "fits".into(),
            path: vec!["price".into()],
            check: RuleCheck::Amount(amount),
        };
        let columns = vec![
            column("id", ColumnKind::Text),
            column("price", fixture::MONEY),
            column("currency", ColumnKind::Text),
            column("sale", ColumnKind::Int),
        ];
        let spec = Arc::new(TableSpec {
            rules: vec![rule],
            ..fixture::spec(columns, &["id"])
        });
        let decoder = Decoder::with_parameters(spec, None, &[("price_unit", unit.to_owned())])?;
        let decoded = decoder.decode(format!(r#"[{{"id":"1",{json}}}]"#).as_bytes(), &[])?;
        assert_eq!(decoded.batch.num_rows(), 1, "the record is kept");
        Ok::<_, Error>(
            decoded
                .warnings
                .into_iter()
                .map(|w| format!("{}: {}", w.field, w.original))
                .collect::<Vec<_>>(),
        )
    };
    let in_minor = |json: &str| told("minor", json, false).unwrap();
    let in_major = |json: &str| told("major", json, false).unwrap();
    let fraction = "has a fraction, and amounts are said to be in minor units";
    let decimals = "has too many decimals, and amounts are said to be in major units";
    assert_eq!(
        in_minor(r#""price":"12.50","currency":"EUR""#),
        [format!("price: 12.5 EUR {fraction}")]
    );
    assert_eq!(
        in_minor(r#""price":12.5"#),
        [format!("price: 12.5 of no currency {fraction}")]
    );
    assert_eq!(
        in_major(r#""price":-1.505,"currency":"EUR""#),
        [format!("price: -1.505 EUR {decimals}")]
    );
    assert_eq!(
        in_major(r#""price":"10.5","currency":"JPY""#),
        [format!("price: 10.5 JPY {decimals}")]
    );
    let unknown = "is in minor units, and nobody knows how many of them make a major one";
    assert_eq!(
        in_minor(r#""price":1250"#),
        [format!("price: 1250 of no currency {unknown}")]
    );
    assert_eq!(
        in_minor(r#""price":1250,"currency":"???""#),
        [format!("price: 1250 ??? {unknown}")]
    );
    assert_eq!(
        in_minor(r#""price":0,"currency":"???""#),
        [""; 0],
        "0 is 0 of whatever it is"
    );
    for none in [
        r#""price":1250"#,
        r#""price":1250,"currency":null"#,
        r#""price":1250,"currency":" ""#,
    ] {
        assert_eq!(
            in_major(none),
            ["price: 1250 of no currency: nobody knows what it is an amount of"],
            "{none}"
        );
        for unit in ["minor", "major"] {
            let of_sale = |sale: &str| told(unit, &format!("{none}{sale}"), true).unwrap().len();
            assert_eq!(of_sale(r#","sale":7"#), 0, "the sale may name it: {none}");
            for no_sale in ["", r#","sale":0"#, r#","sale":null"#] {
                assert_eq!(of_sale(no_sale), 1, "{none}{no_sale}");
            }
        }
    }
    assert_eq!(
        told("minor", r#""price":12.5,"sale":7"#, true).unwrap(),
        [format!("price: 12.5 of no currency {fraction}")]
    );
    assert_eq!(
        told("minor", r#""price":1250,"currency":"???","sale":7"#, true).unwrap(),
        [format!("price: 1250 ??? {unknown}")]
    );
    for fits in [
        r#""price":1250,"currency":"EUR""#,
        r#""price":null"#,
        r#""currency":"EUR""#,
        r#""price":0,"currency":"EUR""#,
    ] {
        assert_eq!((in_minor(fits), in_major(fits)), (vec![], vec![]), "{fits}");
    }
    assert_eq!(
        in_major(r#""price":1.505,"currency":"???""#),
        [""; 0],
        "nobody knows its decimals"
    );
    let error = told("cents", r#""price":1"#, false).unwrap_err();
    assert!(
        error.message().contains("$price_unit") && error.hint_text().is_some(),
        "{error}"
    );
}

#[test]
fn nothing_costs_nothing_in_any_currency() {
    let amount = AmountRule {
        currency: vec![vec!["currency".into()]],
        guess: Vec::new(),
        currency_elsewhere: None,
        unit: PriceUnitSource::Contract(PriceUnit::Minor),
    };
    let rule = QualityRule {
        name: "fits".into(),
        path: vec!["price".into()],
        check: RuleCheck::Amount(amount),
    };
    let columns = vec![
        column("id", ColumnKind::Text),
        column("price", fixture::MONEY),
        column("currency", ColumnKind::Text),
    ];
    let decoder = decoder(TableSpec {
        rules: vec![rule],
        ..spec(columns, &["id"])
    });
    assert_eq!(
        decoder
            .decode(br#"[{"id":"1","price":0.0}]"#, &[])
            .unwrap()
            .warnings,
        []
    );
}

#[test]
fn a_rate_is_compared_with_its_unit() {
    let told = |unit: &str, rate: &str| {
        let check = RuleCheck::Rate(RateRule {
            unit: RateUnitSource::Connection("vat_rate".into()),
        });
        let rule = QualityRule {
            name: "fits".into(),
            path: vec!["rate".into()],
            check,
        };
        let rate_column = ColumnSpec {
            on_misfit: Some(MisfitPolicy::Warn),
            ..column("rate", fixture::MONEY)
        };
        let spec = TableSpec {
            rules: vec![rule],
            ..spec(vec![column("id", ColumnKind::Text), rate_column], &["id"])
        };
        let decoder =
            Decoder::with_parameters(Arc::new(spec), None, &[("vat_rate", unit.to_owned())])?;
        let decoded = decoder.decode(format!(r#"[{{"id":"1","rate":{rate}}}]"#).as_bytes(), &[])?;
        assert_eq!(decoded.batch.num_rows(), 1, "the record is kept");
        Ok::<_, Error>(
            decoded
                .warnings
                .into_iter()
                .map(|w| format!("{}: {}", w.rule, w.original))
                .collect::<Vec<_>>(),
        )
    };
    for (unit, fitting, odd) in [
        (
            "percent",
            ["0", "1", "7.7", "19", "100", "null"],
            ["0.19", "0.5", "-1", "100.5", "1900", "-0.19"],
        ),
        (
            "fraction",
            ["0", "0.077", "0.19", "1", "1.0", "null"],
            ["19", "1.01", "-0.19", "100", "7", "-19"],
        ),
    ] {
        for rate in fitting {
            assert_eq!(told(unit, rate).unwrap(), [""; 0], "{rate} as {unit}");
        }
        for rate in odd {
            let told = told(unit, rate).unwrap();
            assert!(
                told.len() == 1 && told[0].starts_with(&format!("fits: {rate} is no rate")),
                "{told:?}"
            );
        }
    }
    assert_eq!(
        told("percent", r#""19 %""#).unwrap(),
        ["expected_number: 19 %"]
    );
    assert!(
        told("promille", "1")
            .unwrap_err()
            .message()
            .contains("$vat_rate")
    );
}

/// Warnings about the lines of a sale in euros whose rates are in that unit.
fn taxes(unit: Option<VatRateUnit>, lines: &str) -> Vec<String> {
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let tax = TaxRule {
        of: path("lines.amount"),
        rate: path("lines.rate"),
        currency: vec![path("lines.currency"), path("currency")],
        unit: unit.map(RateUnitSource::Contract),
    };
    let line = vec![
        column("amount", fixture::MONEY),
        column("rate", fixture::MONEY),
        column("tax", fixture::MONEY),
        column("currency", ColumnKind::Text),
    ];
    let element = column("element", ColumnKind::Struct(line));
    let spec = TableSpec {
        rules: vec![QualityRule {
            name: "fits".into(),
            path: path("lines.tax"),
            check: RuleCheck::Tax(tax),
        }],
        ..spec(
            vec![
                column("id", ColumnKind::Text),
                column("currency", ColumnKind::Text),
                column("lines", ColumnKind::List(Box::new(element))),
            ],
            &["id"],
        )
    };
    let page = format!(r#"[{{"id":"1","currency":"EUR","lines":[{lines}]}}]"#);
    let decoded = decoder(spec).decode(page.as_bytes(), &[]).unwrap();
    assert_eq!(decoded.batch.num_rows(), 1, "the record is kept");
    decoded
        .warnings
        .into_iter()
        .map(|w| format!("{} {}: {}", w.rule, w.field, w.original))
        .collect()
}

#[test]
fn a_tax_is_what_is_in_its_amount_at_its_rate() {
    let per_cent = |lines: &str| taxes(Some(VatRateUnit::Percent), lines);
    for fitting in [
        r#"{"amount":119,"rate":19,"tax":19}"#,
        r#"{"amount":68.17,"rate":19,"tax":10.88},{"amount":68.17,"rate":19,"tax":10.89}"#,
        r#"{"amount":1.7,"rate":7.6,"tax":0.12}"#,
        r#"{"amount":5,"rate":0,"tax":0}"#,
        // A refund, with its sign and without.
        r#"{"amount":-119,"rate":19,"tax":-19},{"amount":-119,"rate":19,"tax":19}"#,
        // Given away.
        r#"{"amount":0,"rate":19,"tax":19}"#,
        r#"{"amount":119,"rate":19},{"amount":119,"tax":1},{"rate":19,"tax":1}"#,
        // No such rate, which other rules tell.
        r#"{"amount":119,"rate":119,"tax":1},{"amount":119,"rate":-19,"tax":1}"#,
        // A yen is not divided, and of a token nobody knows.
        r#"{"amount":100,"rate":8,"tax":7,"currency":"JPY"},{"amount":100,"rate":8,"tax":1,"currency":"TOKEN"}"#,
    ] {
        assert_eq!(per_cent(fitting), [""; 0], "{fitting}");
    }
    assert_eq!(
        per_cent(
            r#"{"amount":119,"rate":19,"tax":19},{"amount":10.5,"rate":7.6,"tax":13},{"amount":-119,"rate":19,"tax":18.98}"#
        ),
        [
            "fits lines[1].tax: lines[1].tax is 13, expected 0.74 in lines[1].amount 10.5 at lines[1].rate 7.6",
            "fits lines[2].tax: lines[2].tax is 18.98, expected -19 in lines[2].amount -119 at lines[2].rate 19",
        ]
    );
    for off in [
        r#"{"amount":119,"rate":19,"tax":-19}"#,
        r#"{"amount":119,"rate":19,"tax":0}"#,
        r#"{"amount":119,"rate":19,"tax":19.0101}"#,
        r#"{"amount":119,"rate":0.19,"tax":19}"#,
        r#"{"amount":1,"rate":19,"tax":0.162,"currency":"KWD"}"#,
        r#"{"amount":100,"rate":8,"tax":5,"currency":"JPY"}"#,
    ] {
        assert_eq!(per_cent(off).len(), 1, "{off}");
    }
    let both = r#"{"amount":119,"rate":0.19,"tax":19},{"amount":119,"rate":19,"tax":19}"#;
    assert_eq!(taxes(None, both), [""; 0]);
    assert_eq!(taxes(Some(VatRateUnit::Fraction), both), [""; 0]);
    assert_eq!(
        taxes(None, r#"{"amount":119,"rate":0.19,"tax":0.23}"#).len(),
        1
    );
}

#[test]
fn of_a_sale_a_wrong_sign_is_told_and_of_a_refund_a_missing_one_is_not() {
    let decoder = crate::sources::shipped("hecone/transactions.yaml");
    let told = |invoice: &str, tax: &str, paid: &str| {
        let page = format!(
            r#"[{{"id":"1","invoice":{{"currency":"EUR",{invoice}}},
                "articles":[{{"id":"a","state":"done","currency":"EUR","amount":10,"tax_amount":{tax}}}],
                "payments":[{{"id":"p","state":"collected","currency":"EUR","amount":{paid}}}]}}]"#
        );
        let decoded = decoder.decode(page.as_bytes(), &[]).unwrap();
        assert_eq!(decoded.rejects, []);
        let rules = decoded.warnings.into_iter().map(|warning| warning.rule);
        let adds_up = |rule: &String| rule.ends_with("add_up") || rule.ends_with("adds_up");
        rules.filter(adds_up).collect::<Vec<_>>()
    };
    let fine = [
        (
            r#""amount":10,"tax_amount":1.6,"paid_amount":10"#,
            "1.6",
            "10",
        ),
        (
            r#""amount":-10,"tax_amount":-1.6,"paid_amount":-10"#,
            "1.6",
            "10",
        ),
        (
            r#""amount":-10,"tax_amount":1.6,"paid_amount":10"#,
            "-1.6",
            "-10",
        ),
    ];
    for (invoice, tax, paid) in fine {
        assert_eq!(told(invoice, tax, paid), [""; 0], "{invoice} {tax} {paid}");
    }
    let off = [
        (
            r#""amount":10,"tax_amount":-1.6,"paid_amount":10"#,
            "taxes_add_up",
        ),
        (
            r#""amount":10,"tax_amount":1.6,"paid_amount":-10"#,
            "paid_amount_adds_up",
        ),
        (
            r#""amount":-10,"tax_amount":1.7,"paid_amount":10"#,
            "taxes_add_up",
        ),
    ];
    for (invoice, rule) in off {
        assert_eq!(told(invoice, "1.6", "10"), [rule], "{invoice}");
    }
}

#[test]
fn money_that_went_the_other_way_than_its_sale_is_told() {
    let decoder = crate::sources::shipped("hecone/transactions.yaml");
    let told = |invoice: &str, payments: &[(&str, &str, &str)]| {
        let payment = |(state, amount, currency): &(&str, &str, &str)| {
            format!(r#"{{"state":"{state}","amount":{amount},"currency":"{currency}"}}"#)
        };
        let payments: Vec<String> = payments.iter().map(payment).collect();
        let page = format!(
            r#"[{{"id":"1","invoice":{{"currency":"EUR",{invoice}}},"payments":[{}]}}]"#,
            payments.join(",")
        );
        let decoded = decoder.decode(page.as_bytes(), &[]).unwrap();
        assert_eq!(decoded.rejects, []);
        let of_payments = decoded.warnings.into_iter();
        let of_payments = of_payments.filter(|warning| warning.rule == "paid_amount_adds_up");
        of_payments
            .map(|warning| warning.original)
            .collect::<Vec<_>>()
    };
    let collected = |amount| ("collected", amount, "EUR");
    let came_in = [collected("15"), collected("-5")];
    let words =
        "payments[].amount comes to 10, and invoice.amount is -10: money went the other way";
    for invoice in [r#""amount":-10"#, r#""amount":-10,"paid_amount":10"#] {
        assert_eq!(told(invoice, &came_in), [words], "{invoice}");
    }
    let went_out = told(r#""amount":10,"paid_amount":-10"#, &[collected("-10")]);
    assert_eq!(went_out.len(), 1, "{went_out:?}");
    // One that differs is told once, with the difference.
    let both = told(r#""amount":-10,"paid_amount":-10"#, &came_in);
    assert_eq!(both.len(), 1, "{both:?}");
    let fine = [
        (r#""amount":10"#, vec![collected("15"), collected("-5")]),
        (r#""amount":-10"#, vec![collected("-15"), collected("5")]),
        // Without a sign, in another currency, or not collected; and what costs nothing goes no way.
        (r#""amount":-10"#, vec![collected("15")]),
        (
            r#""amount":-10"#,
            vec![collected("-5"), ("collected", "15", "USD")],
        ),
        (
            r#""amount":-10"#,
            vec![collected("-10"), ("declined", "25", "EUR")],
        ),
        (r#""amount":0"#, vec![collected("15"), collected("-5")]),
        (r#""amount":null"#, vec![collected("15"), collected("-5")]),
    ];
    for (invoice, payments) in fine {
        assert_eq!(told(invoice, &payments), [""; 0], "{invoice} {payments:?}");
    }
}

#[test]
fn a_code_that_no_amount_is_in_is_told_and_kept() {
    let decoder = crate::sources::shipped("hecone/transactions.yaml");
    let no_currency = "X".repeat(3);
    for (code, is_told) in [(no_currency.as_str(), true), ("XTS", true), ("XAU", false)] {
        let page = format!(r#"[{{"id":"1","invoice":{{"currency":"{code}","amount":5}}}}]"#);
        let decoded = decoder.decode(page.as_bytes(), &[]).unwrap();
        let told = decoded.warnings.iter();
        let told = told.filter(|warning| warning.rule == "invoice_currency_known");
        let told: Vec<&str> = told.map(|warning| warning.original.as_str()).collect();
        let expected: Vec<&str> = is_told.then_some(code).into_iter().collect();
        assert_eq!(told, expected);
        let row = &rows(&decoded.batch)[0];
        assert!(row.contains(&format!(r#""currency":"{code}""#)), "{row}");
    }
}
