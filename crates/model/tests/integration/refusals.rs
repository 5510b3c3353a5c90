//! Refusals of wrong contracts: the golden texts, with line and column.
//!
//! Invariant: every refusal is a configuration error that names `file:line:column` and what was expected.

use crate::meaning::{COMPARED, contract_of, with_quality};
use tillhouse_model::{ErrorKind, contract};

fn refusal(text: &str) -> String {
    let error = contract::parse(text, "kiosk/sales.yaml").expect_err(text);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.hint_text(),
        Some("docs/contracts.md says what a contract may hold.")
    );
    let shown = error.to_string();
    assert!(!shown.contains('\n'), "{shown}");
    shown
}

/// Every case's text and what it is told; all that differ are shown at once.
fn told<'a>(cases: impl IntoIterator<Item = (String, &'a str)>) {
    let differ: Vec<String> = cases
        .into_iter()
        .map(|(text, told)| (refusal(&text), told, text))
        .filter(|(found, told, _)| found != told)
        .map(|(found, told, text)| format!("{text}\nexpected: {told}\n   found: {found}"))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n\n"));
}

/// Every case's properties, added at line 15 and column 7 of the file, and what they are told.
#[test]
fn columns() {
    told([
        ("- logicalType: string", "a property needs a `name` (file kiosk/sales.yaml:15:9)"),
        ("- name: a", "`a` needs a `logicalType`: string, integer, number, boolean, date, timestamp, object, array (file kiosk/sales.yaml:15:15)"),
        ("- name: a\n  logicalType: strin", "unknown logicalType `strin`; did you mean `string`? (file kiosk/sales.yaml:16:22)"),
        (
            "- name: a\n  logicalType: money",
            "unknown logicalType `money`; expected `string`, `integer`, `number`, `boolean`, `date`, `timestamp`, `object` or `array` \
             (file kiosk/sales.yaml:16:22)",
        ),
        ("- name: a\n  logicalType: time", "`time` cannot be stored; take timestamp, or string for a time of day (file kiosk/sales.yaml:16:22)"),
        ("- name: a\n  logicalType: string\n  requird: true", "unknown key `requird`; did you mean `required`? (file kiosk/sales.yaml:17:9)"),
        ("- name: a\n  logicalType: string\n  required: yes", "`required`: expected true or false, found \"yes\" (file kiosk/sales.yaml:17:19)"),
        (
            "- name: a\n  name: b",
            "the contract has 2 problems: kiosk/sales.yaml:15:15: `a` needs a `logicalType`: string, integer, number, boolean, date, timestamp, \
             object, array; kiosk/sales.yaml:16:9: the key `name` stands here twice (file kiosk/sales.yaml)",
        ),
        (
            "- name: a\n  logicalType: strin\n- name: b\n  logicalType: string\n  required: 7\n- name: c\n  logicalType: !x string\n- name: d\n  logicalType: money",
            "the contract has 4 problems: kiosk/sales.yaml:16:22: unknown logicalType `strin`; did you mean `string`?; \
             kiosk/sales.yaml:19:19: `required`: expected true or false, found \"7\"; \
             kiosk/sales.yaml:21:25: the value begins with `!`, which makes a tag of it, and no tag has a meaning here. Put the value in quotes, \
             key: \"!value\"; or take the tag out; \
             kiosk/sales.yaml:23:22: unknown logicalType `money`; expected `string`, `integer`, `number`, `boolean`, `date`, `timestamp`, `object` \
             or `array` (file kiosk/sales.yaml)",
        ),
        (
            "- name: a b\n  logicalType: string",
            "`a b` cannot name a column: expected a letter, then letters, digits and underscores; the name in the JSON goes into `physicalName` \
             (file kiosk/sales.yaml:15:15)",
        ),
        (
            "- name: month\n  logicalType: string",
            "the column `month` is added to every source table; give this one another name, and `physicalName: month` \
             (file kiosk/sales.yaml:15:15)",
        ),
        ("- name: ID\n  logicalType: string", "two columns of one object are named `ID` (file kiosk/sales.yaml:15:15)"),
        ("- name: b\n  physicalName: id\n  logicalType: string", "two columns read the same JSON key `id` (file kiosk/sales.yaml:15:15)"),
        (
            "- name: a\n  logicalType: number",
            "a number needs `physicalType: decimal(precision,scale)`, for example decimal(18,4): nothing passes through a float \
             (file kiosk/sales.yaml:16:22)",
        ),
        (
            "- name: a\n  logicalType: number\n  physicalType: double",
            "the physicalType of a number is `decimal(precision,scale)`, found `double` (file kiosk/sales.yaml:17:23)",
        ),
        (
            "- name: a\n  logicalType: number\n  physicalType: decimal(39,4)",
            "decimal(39,4) does not fit: expected 1 to 38 digits in all, and at most as many after the point (file kiosk/sales.yaml:17:23)",
        ),
        (
            "- name: a\n  logicalType: number\n  physicalType: decimal(4,5)",
            "decimal(4,5) does not fit: expected 1 to 38 digits in all, and at most as many after the point (file kiosk/sales.yaml:17:23)",
        ),
        (
            "- name: a\n  logicalType: integer\n  physicalType: int8",
            "unknown physicalType `int8`; expected `integer`, `long` or `bigint` (file kiosk/sales.yaml:17:23)",
        ),
        (
            "- name: a\n  logicalType: string\n  physicalType: binary",
            "`binary` is for unified tables; a source's JSON has none: leave it a string (file kiosk/sales.yaml:17:23)",
        ),
        ("- name: a\n  logicalType: object", "the object `a` needs `properties` (file kiosk/sales.yaml:15:15)"),
        ("- name: a\n  logicalType: array", "the array `a` needs `items` (file kiosk/sales.yaml:15:15)"),
        (
            "- name: a\n  logicalType: string\n  items: { logicalType: string }",
            "`items` belong to `logicalType: array` (file kiosk/sales.yaml:17:16)",
        ),
        (
            "- name: a\n  logicalType: string\n  logicalTypeOptions: { maxLength: 3 }",
            "the option `maxLength` of a string is not checked; leave it out, or write a quality rule (file kiosk/sales.yaml:17:42)",
        ),
        (
            "- name: a\n  logicalType: timestamp\n  logicalTypeOptions: { timezone: false }",
            "times without an offset need `defaultTimezone`: the IANA name of the zone they are in (file kiosk/sales.yaml:17:41)",
        ),
        (
            "- name: a\n  logicalType: timestamp\n  logicalTypeOptions: { timezone: false, defaultTimezone: CET+1 }",
            "`CET+1` is not an IANA time zone name, such as Europe/Berlin (file kiosk/sales.yaml:17:65)",
        ),
        (
            "- name: a\n  logicalType: timestamp\n  customProperties: [{ property: epochUnit, value: milis }]",
            "unknown epochUnit `milis`; did you mean `millis`? (file kiosk/sales.yaml:17:58)",
        ),
        (
            "- name: a\n  logicalType: object\n  properties:\n    - { name: b, logicalType: string, primaryKey: true }",
            "`primaryKey` is for the table's own columns, not for nested ones (file kiosk/sales.yaml:18:57)",
        ),
    ]
    .map(|(properties, told)| (contract_of("", properties), told)));
}

#[test]
fn classes() {
    let personal = "- name: a\n  logicalType: string\n  classification: personal\n";
    told([
        (
            "- name: a\n  logicalType: string\n  classification: secrt".to_owned(),
            "unknown classification `secrt`; did you mean `secret`? (file kiosk/sales.yaml:17:25)",
        ),
        (
            personal.to_owned(),
            "a personal value needs the custom property `treatment`: `pseudonym`, `lastFour` or `drop` (file kiosk/sales.yaml:17:25)",
        ),
        (
            format!("{personal}  customProperties: [{{ property: treatment, value: hash }}]"),
            "unknown treatment of a personal value `hash`; expected `pseudonym`, `lastFour` or `drop` (file kiosk/sales.yaml:18:58)",
        ),
        (
            format!("{personal}  customProperties: [{{ property: treatment, value: pseudonym }}]"),
            "a pseudonym needs the custom property `normalise`: `text`, `plate`, `email` or `card` (file kiosk/sales.yaml:18:58)",
        ),
        (
            format!("{personal}  customProperties: [{{ property: treatmet, value: drop }}]"),
            "the contract has 2 problems: kiosk/sales.yaml:17:25: a personal value needs the custom property `treatment`: `pseudonym`, \
             `lastFour` or `drop`; kiosk/sales.yaml:18:40: unknown custom property `treatmet`; did you mean `treatment`? \
             (file kiosk/sales.yaml)",
        ),
        (
            "- name: a\n  logicalType: string\n  classification: secret\n  required: true".to_owned(),
            "what is never stored cannot be required (file kiosk/sales.yaml:18:19)",
        ),
        (
            "- name: a\n  logicalType: integer\n  classification: personal\n  customProperties: [{ property: treatment, value: lastFour }]"
                .to_owned(),
            "pseudonyms and last four characters are made of strings only; drop it, or make it a string (file kiosk/sales.yaml:17:25)",
        ),
        (
            "- name: a\n  logicalType: object\n  properties:\n    - { name: b, logicalType: string, classification: secret }".to_owned(),
            "nothing of the object `a` is stored: classify the object itself instead (file kiosk/sales.yaml:15:15)",
        ),
        (
            "- name: a\n  logicalType: array\n  items: { logicalType: string, classification: secret }".to_owned(),
            "items that are never stored: classify the array itself instead (file kiosk/sales.yaml:17:55)",
        ),
    ]
    .map(|(properties, told)| (contract_of("", &properties), told)));
}

#[test]
fn misfits() {
    let with = |column: &str, word: &str| {
        format!(
            "- name: a\n  logicalType: string\n{column}  customProperties: [{{ property: misfit, value: {word} }}]"
        )
    };
    told([
        (with("", "null"), "`misfit` is a word (file kiosk/sales.yaml:17:55)"),
        (
            with("", "ignore"),
            "unknown price of a misfit `ignore`; expected `reject`, `warn` or `keep` (file kiosk/sales.yaml:17:55)",
        ),
        (
            with("  required: true\n", "warn"),
            "what is required cannot be null: leave `misfit: warn` out, or `required` (file kiosk/sales.yaml:18:55)",
        ),
        (
            with("  classification: secret\n", "warn"),
            "`misfit` is for what is stored: this is never read (file kiosk/sales.yaml:18:55)",
        ),
        (
            "- name: a\n  logicalType: string\n  customProperties: [{ property: blank, value: null_it }]".to_owned(),
            "unknown meaning of a blank text `null_it`; expected `none` (file kiosk/sales.yaml:17:54)",
        ),
        (
            "- name: a\n  logicalType: integer\n  customProperties: [{ property: blank, value: none }]".to_owned(),
            "`blank: none` is for the strings of a source's table that are stored as they come (file kiosk/sales.yaml:17:54)",
        ),
        (
            "- name: a\n  logicalType: integer\n  customProperties: [{ property: zero, value: null_it }]".to_owned(),
            "unknown meaning of a zero `null_it`; expected `none` (file kiosk/sales.yaml:17:53)",
        ),
        (
            "- name: a\n  logicalType: boolean\n  customProperties: [{ property: zero, value: none }]".to_owned(),
            "`zero: none` is for the strings and integers of a source's table that are stored as they come (file kiosk/sales.yaml:17:53)",
        ),
        (
            "- name: a\n  logicalType: string\n  customProperties: [{ property: identifier, value: upper }]".to_owned(),
            "unknown spelling of an identifier `upper`; expected `canonical` (file kiosk/sales.yaml:17:59)",
        ),
        (
            "- name: a\n  logicalType: string\n  customProperties: [{ property: ahead, value: none }]".to_owned(),
            "`ahead: none` is for the timestamps of a source's table that are stored as they come (file kiosk/sales.yaml:17:54)",
        ),
        (
            "- name: a\n  logicalType: integer\n  customProperties: [{ property: identifier, value: canonical }]".to_owned(),
            "`identifier: canonical` is for the strings of a source's table that are stored as they come (file kiosk/sales.yaml:17:59)",
        ),
    ]
    .map(|(properties, told)| (contract_of("", &properties), told)));
}

#[test]
fn tables() {
    let time = "- { name: at, logicalType: timestamp }\n- { name: when, logicalType: array, items: { logicalType: timestamp } }";
    told([
        (
            "- { property: recordtime, value: [at] }",
            "unknown custom property `recordtime`; did you mean `recordTime`? (file kiosk/sales.yaml:11:21)",
        ),
        (
            "- { property: recordTime, value: at }",
            "`recordTime` is a list of paths, for example [invoice.created_at, payments.created_at] (file kiosk/sales.yaml:11:40)",
        ),
        (
            "- { property: recordTime, value: [att, id, at.x] }",
            "the contract has 3 problems: kiosk/sales.yaml:11:40: recordTime `att`: unknown column `att`; did you mean `at`?; \
             kiosk/sales.yaml:11:40: recordTime `id` is not a timestamp; kiosk/sales.yaml:11:40: recordTime `at.x`: `at` is no object: \
             nothing lies below it (file kiosk/sales.yaml)",
        ),
        (
            "- { property: updatedAt, value: when }",
            "updatedAt `when` is not a timestamp (file kiosk/sales.yaml:11:39)",
        ),
        (
            "- { property: recordTime, value: [at] }\n- { property: movesWithin, value: 45 days }",
            "`movesWithin` is a whole number and a unit: 90s, 10m, 12h, 45d or 6w (file kiosk/sales.yaml:12:41)",
        ),
        (
            "- { property: movesWithin, value: 45d }",
            "`movesWithin` is about the record time: say `recordTime` too (file kiosk/sales.yaml:11:41)",
        ),
        (
            "- { property: unknown, value: drop }",
            "unknown treatment of unknown fields `drop`; expected `count` or `keep` (file kiosk/sales.yaml:11:37)",
        ),
        (
            "- { property: role, value: fact }",
            "`role` is for contracts with `dataProduct: unified` (file kiosk/sales.yaml:11:34)",
        ),
    ]
    .map(|(custom, told)| (contract_of(custom, time), told)));
}

#[test]
fn keys_and_partitions() {
    let base = contract_of("", "");
    told([
        ("        primaryKey: true\n", "", "a table needs a key: mark its column, or columns, with `primaryKey: true` (file kiosk/sales.yaml:8:11)"),
        ("        required: true\n", "", "the key column `id` must be `required: true` (file kiosk/sales.yaml:13:21)"),
        ("logicalType: string", "logicalType: boolean", "the key column `id` must be a string or an integer (file kiosk/sales.yaml:14:21)"),
        (
            "primaryKey: true",
            "primaryKey: true\n        primaryKeyPosition: 2",
            "`primaryKeyPosition` counts 1, 2, 3 and so on, without gaps: expected 1 (file kiosk/sales.yaml:15:29)",
        ),
        (
            "primaryKey: true",
            "primaryKey: true\n        partitioned: true",
            "source tables are partitioned by the month of the record time, which is added to them (file kiosk/sales.yaml:15:22)",
        ),
        (
            "dataProduct: kiosk",
            "dataProduct: unified",
            "a unified table needs the custom property `role`: `fact` or `dimension` (file kiosk/sales.yaml:8:5)",
        ),
        (
            "    properties:\n",
            "    quality: [{ name: u, metric: duplicateValues, arguments: { properties: [sku] }, mustBe: 0 }]\n    properties:\n",
            "only the key can be checked for duplicates, and the key is id (file kiosk/sales.yaml:10:15)",
        ),
    ]
    .map(|(from, to, told)| (base.replacen(from, to, 1), told)));
    let unified = base
        .replace("dataProduct: kiosk", "dataProduct: unified")
        .replace(
            "    properties:\n",
            "    customProperties: [{ property: role, value: fact }]\n    properties:\n",
        );
    assert_eq!(
        refusal(&unified),
        "this table must be partitioned by pipeline, month, in this order (file kiosk/sales.yaml:8:11)"
    );
}

#[test]
fn rules() {
    let rule = |lines: &str| {
        contract_of(
            "",
            &format!("- name: a\n  logicalType: string\n  quality:\n    - {lines}"),
        )
    };
    told([
        (
            "{ metric: invalidValues, arguments: { validValues: [x] }, mustBe: 0 }",
            "a quality rule needs a `name` of letters, digits and underscores: breaches are listed under it (file kiosk/sales.yaml:18:13)",
        ),
        (
            "{ name: r, metric: invalidValue, mustBe: 0 }",
            "unknown metric `invalidValue`; did you mean `invalidValues`? (file kiosk/sales.yaml:18:32)",
        ),
        (
            "{ name: r, metric: invalidValues, arguments: { validValues: [x] } }",
            "rules are checked record by record: write `mustBe: 0` (file kiosk/sales.yaml:18:32)",
        ),
        (
            "{ name: r, metric: invalidValues, mustBe: 0 }",
            "`invalidValues` needs the argument `validValues`: a list of strings (file kiosk/sales.yaml:18:32)",
        ),
        (
            "{ name: r, metric: nullValues, mustBe: 0 }",
            "write `required: true` at the column instead: a record without it is rejected; or the rule `present`, which warns (file kiosk/sales.yaml:18:32)",
        ),
        (
            "{ name: r, type: custom, engine: tilhouse, implementation: currency }",
            "unknown engine `tilhouse`; did you mean `tillhouse`? (file kiosk/sales.yaml:18:46)",
        ),
        (
            "{ name: r, type: custom, engine: tillhouse, implementation: timezone }",
            "unknown implementation `timezone`; did you mean `timeZone`? (file kiosk/sales.yaml:18:73)",
        ),
        (
            "{ name: r, type: custom, engine: tillhouse, implementation: { atLeast: 0 } }",
            "this rule needs a column that is a whole or decimal number (file kiosk/sales.yaml:18:13)",
        ),
        (
            "{ name: r, type: sql, query: SELECT 1, mustBe: 0 }",
            "SQL rules are not run; write a library metric, or type custom with engine tillhouse (file kiosk/sales.yaml:18:30)",
        ),
        (
            "{ name: r, metric: duplicateValues, mustBe: 0 }",
            "only the key can be checked for duplicates, and the key is id (file kiosk/sales.yaml:18:13)",
        ),
    ]
    .map(|(lines, told)| (rule(lines), told)));
    let twice = "- { name: r, type: custom, engine: tillhouse, implementation: currency }";
    assert_eq!(
        refusal(&rule(&format!(
            "{}\n    {twice}",
            twice.trim_start_matches("- ")
        ))),
        "two quality rules are named `r` (file kiosk/sales.yaml:19:13)"
    );
    let pseudonym = "- name: a\n  logicalType: string\n  classification: personal\n  customProperties: [{ property: treatment, value: lastFour }]\n  \
                     quality: [{ name: r, type: custom, engine: tillhouse, implementation: currency }]";
    assert_eq!(
        refusal(&contract_of("", pseudonym)),
        "a rule cannot be checked where the value is not stored as it came (file kiosk/sales.yaml:19:19)"
    );
}

#[test]
fn rules_that_compare_columns() {
    let rule = |implementation: &str| {
        with_quality(
            &format!(
                "- {{ name: r, type: custom, engine: tillhouse, implementation: {implementation} }}"
            ),
            COMPARED,
        )
    };
    told([
        ("sum", "`sum` needs what it compares: write `sum: { of: ..., is: ... }` (file kiosk/sales.yaml:11:69)"),
        ("{ sum: [net] }", "`sum` needs what it compares: write `sum: { of: ..., is: ... }` (file kiosk/sales.yaml:11:69)"),
        ("{ sum: { of: [net] } }", "`sum` needs `is`: the path of a column (file kiosk/sales.yaml:11:69)"),
        ("{ sum: { of: net, is: net } }", "`sum` needs `of`: a list of paths of columns (file kiosk/sales.yaml:11:69)"),
        (
            "{ sum: { of: [net], is: net, curency: country } }",
            "unknown key of `sum` `curency`; did you mean `currency`? (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ sum: { of: [net], is: net, currency: lines.kind } }",
            "the rule `r`: `lines.kind` leads through an array: a record has one such value (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ product: { of: [net], is: net, currency: lines.kind } }",
            "the rule `r`: `lines.kind` leads through another array than `net`: which element belongs to which? (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ sum: { of: [vat.amuont], is: net } }",
            "the rule `r`: `vat.amuont`: unknown column `amuont`; did you mean `amount`? (file kiosk/sales.yaml:11:9)",
        ),
        ("{ sum: { of: [clock], is: net } }", "the rule `r`: `clock` is not a whole or decimal number (file kiosk/sales.yaml:11:9)"),
        (
            "{ sum: { of: [net], is: lines.pieces } }",
            "the rule `r`: `lines.pieces` leads through an array: a record has one such value (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ sum: { of: [net], is: net, except: declined } }",
            "`except` names a column below the list and its words: { articles.state: [declined, error] } (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ sum: { of: [net], is: net, except: { clock: [x] } } }",
            "the rule `r`: `clock` is below no array that is added (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ sum: { of: [lines.pieces], is: net, except: { lines.kind: [x] }, only: { lines.kind: [y] } } }",
            "`sum` takes `except` or `only`, not both (file kiosk/sales.yaml:11:69)",
        ),
        ("product", "`product` needs what it compares: write `product: { of: ..., is: ... }` (file kiosk/sales.yaml:11:69)"),
        ("{ product: { of: [net] } }", "`product` needs `is`: a list of paths of columns (file kiosk/sales.yaml:11:69)"),
        (
            "{ product: { of: [net], is: net, orLess: vat.amount } }",
            "`orLess` names `vat.amount`, which `is` does not (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ product: { of: [lines.pieces], is: net } }",
            "the rule `r`: `lines.pieces` leads through another array than `net`: which element belongs to which? (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ product: { of: [net, vat.amuont], is: [net, vat.amount] } }",
            "the rule `r`: `vat.amuont`: unknown column `amuont`; did you mean `amount`? (file kiosk/sales.yaml:11:9)",
        ),
        (
            "state",
            "`state` needs what it compares: write `state: { is: ..., articles: ..., payments: ..., collected: ..., owed: ... }` (file \
             kiosk/sales.yaml:11:69)",
        ),
        (
            "{ state: { is: clock, articles: clock, payments: country, collected: lines.pieces, owed: net } }",
            "the rule `r`: `country` and `lines.pieces` are not of one array (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ state: { is: clock, articles: clock, payments: country, collected: net, owned: net } }",
            "unknown key of `state` `owned`; did you mean `owed`? (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ state: { is: clock, articles: clock, payments: clock, collected: net, owed: net, owedCurrency: country } }",
            "`state` needs `collectedCurrency`: the path of a column (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ state: { is: clock, articles: clock, payments: clock, collected: net, owed: net, collectedCurrency: lines.kind, owedCurrency: country } }",
            "the rule `r`: `lines.kind` leads through another array than `net`: which element belongs to which? (file kiosk/sales.yaml:11:9)",
        ),
        ("{ localTime: { of: clock, is: clock } }", "the rule `r`: `clock` is not a timestamp (file kiosk/sales.yaml:11:9)"),
        (
            "{ localTime: { of: at, is: card } }",
            "the rule `r`: `card` is not stored as it came, so nothing can be compared with it (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ localTime: { of: at, is: clock, zoneBy: country } }",
            "`zoneBy` names the column that `zones` is looked up by: write both, or neither (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ localTime: { of: at, is: clock, zoneBy: country, zones: { DE: Europe/Bonn } } }",
            "`Europe/Bonn` is not an IANA time zone name, such as Europe/Berlin (file kiosk/sales.yaml:11:69)",
        ),
        ("present", "`present` needs what it compares: write `present: { is: ... }` (file kiosk/sales.yaml:11:69)"),
        (
            "{ present: { is: net, when: [paid] } }",
            "`when` names a column below the list and its words: { articles.state: [declined, error] } (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ present: { is: net, where: { lines.kind: [void] } } }",
            "unknown key of `present` `where`; did you mean `when`? (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ present: { is: net, otherwise: [nothing] } }",
            "`otherwise` says in words what counts instead: { is: time_zone, otherwise: the day is that of UTC } (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ present: { is: lines } }",
            "the rule `r`: `lines` is not a single value (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ present: { is: net, when: { lines.kind: [void] } } }",
            "the rule `r`: `lines.kind` leads through another array than `net`: which element belongs to which? (file kiosk/sales.yaml:11:9)",
        ),
        ("absent", "`absent` needs what it compares: write `absent: { is: ..., beside: ... }` (file kiosk/sales.yaml:11:69)"),
        (
            "{ absent: { is: clock } }",
            "`absent` needs `beside`: a list of paths of columns (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ absent: { is: clock, besides: net } }",
            "unknown key of `absent` `besides`; did you mean `beside`? (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ absent: { is: net, beside: net } }",
            "the rule `r`: `net` is not a string (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ absent: { is: clock, beside: country } }",
            "the rule `r`: `country` is not a whole or decimal number (file kiosk/sales.yaml:11:9)",
        ),
        ("rate", "`rate` needs what it compares: write `rate: { is: ..., unit: ... }` (file kiosk/sales.yaml:11:69)"),
        (
            "{ rate: { is: net, unit: minor } }",
            "`unit` is `percent`, `fraction`, or the name of what the connection says of it: `$vat_rate` (file kiosk/sales.yaml:11:69)",
        ),
        ("tax", "`tax` needs what it compares: write `tax: { is: ..., of: ..., rate: ..., currency: ... }` (file kiosk/sales.yaml:11:69)"),
        (
            "{ tax: { is: net, of: net, rate: net, currency: country, unit: cents } }",
            "`unit` is `percent`, `fraction`, or the name of what the connection says of it: `$vat_rate` (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ tax: { is: net, of: net, rate: lines.pieces, currency: country } }",
            "the rule `r`: `lines.pieces` leads through another array than `net`: which element belongs to which? (file kiosk/sales.yaml:11:9)",
        ),
        ("amount", "`amount` needs what it compares: write `amount: { is: ..., currency: ..., unit: ... }` (file kiosk/sales.yaml:11:69)"),
        (
            "{ amount: { is: net, currency: country, unit: cents } }",
            "`unit` is `minor`, `major`, or the name of what the connection says of it: `$price_unit` (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ amount: { is: net, currency: country, currencyElsewhere: at, unit: minor } }",
            "the rule `r`: `at` is not a string or a number (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ amount: { is: net, currency: [country, lines.kind], unit: minor } }",
            "the rule `r`: `lines.kind` leads through another array than `net`: which element belongs to which? (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ sum: { of: [net], is: net, direction: country } }",
            "the rule `r`: `country` is not a whole or decimal number (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ sum: { of: [lines.pieces], is: net, ofCurrency: lines.kind } }",
            "`ofCurrency` needs `currency`, the currency of the sum (file kiosk/sales.yaml:11:69)",
        ),
        (
            "{ sum: { of: [net], is: net, ofCurrency: lines.kind, currency: country } }",
            "the rule `r`: `lines.kind` leads through another array than `net`: which element belongs to which? (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ amount: { is: net, currency: at, unit: minor } }",
            "the rule `r`: `at` is not a string (file kiosk/sales.yaml:11:9)",
        ),
        (
            "{ sum: { of: [net], is: net }, atLeast: 0 }",
            "`implementation` says one thing: `{ atLeast: 0 }`, `{ atMost: 100 }`, `{ sum: ... }`, `{ product: ... }`, `{ tax: ... }`, `{ localTime: ... }`, `{ amount: ... }`, `{ rate: ... }`, `{ state: ... }`, `{ present: ... }` or `{ absent: ... }` (file kiosk/sales.yaml:11:69)",
        ),
        ("{ summ: { of: [net], is: net } }", "unknown implementation `summ`; did you mean `sum`? (file kiosk/sales.yaml:11:69)"),
    ]
    .map(|(implementation, told)| (rule(implementation), told)));
    let at_a_column = "- name: a\n  logicalType: number\n  physicalType: decimal(18,4)\n  quality:\n    - { name: r, type: custom, \
                       engine: tillhouse, implementation: { sum: { of: [a], is: a } } }";
    assert_eq!(
        refusal(&contract_of("", at_a_column)),
        "this rule compares columns: write it under the table's own `quality` (file kiosk/sales.yaml:19:13)"
    );
}

#[test]
fn files() {
    let base = contract_of("", "");
    let second = base.split_once("schema:\n").unwrap().1;
    told([
        (
            base.replace("v3.1.0", "v3.0.2"),
            "apiVersion v3.0.2 is too old: expected v3.1.0 or a later v3 of the Open Data Contract Standard (file kiosk/sales.yaml:1:13)",
        ),
        (
            base.replace("v3.1.0", "v2.2.2"),
            "apiVersion v2.2.2 is too old: expected v3.1.0 or a later v3 of the Open Data Contract Standard (file kiosk/sales.yaml:1:13)",
        ),
        (
            base.replace("v3.1.0", "v4.0.0"),
            "apiVersion v4.0.0 is not known here: expected v3.1.0 or a later v3 (file kiosk/sales.yaml:1:13)",
        ),
        (
            base.replace("v3.1.0", "3.1"),
            "`3.1` is no apiVersion: expected v3.1.0 or a later v3 (file kiosk/sales.yaml:1:13)",
        ),
        (
            base.replace("apiVersion: v3.1.0\n", ""),
            "the key `apiVersion` is missing: v3.1.0 or later (file kiosk/sales.yaml:1:1)",
        ),
        (
            base.replace("DataContract", "Contract"),
            "expected `kind: DataContract`, found `Contract` (file kiosk/sales.yaml:2:7)",
        ),
        (
            base.replace("dataProduct: kiosk\n", ""),
            "the key `dataProduct` is missing: the source's name, or unified (file kiosk/sales.yaml:1:1)",
        ),
        (
            base.replace("status:", "state:"),
            "the contract has 2 problems: kiosk/sales.yaml:1:1: the key `status` is missing; the standard wants it; kiosk/sales.yaml:5:1: \
             unknown key `state`; did you mean `status`? (file kiosk/sales.yaml)",
        ),
        (
            format!("{base}{second}"),
            "expected one schema object a file, found a second one (file kiosk/sales.yaml:15:5)",
        ),
        (
            base.replace(&format!("schema:\n{second}"), "schema: []\n"),
            "expected one schema object, found none (file kiosk/sales.yaml:7:9)",
        ),
        (
            base.replace(&format!("schema:\n{second}"), ""),
            "the key `schema` is missing: a list with one table (file kiosk/sales.yaml:1:1)",
        ),
        (
            base.replace("id: kiosk-sales\nversion: 1.0.0\n", ""),
            "the contract has 2 problems: kiosk/sales.yaml:1:1: the key `id` is missing; the standard wants it; kiosk/sales.yaml:1:1: \
             the key `version` is missing; the standard wants it (file kiosk/sales.yaml)",
        ),
    ]);
    for (broken, line) in [
        ("", 1),
        ("[1, 2]", 1),
        ("a: [", 1),
        ("just words", 1),
        ("a: 1\n---\nb: 2\n", 3),
        ("a: 1\n b: 2\n", 2),
        ("\u{0}", 1),
    ] {
        let told = refusal(broken);
        assert!(
            told.contains(&format!("kiosk/sales.yaml:{line}:")),
            "{broken:?}: {told}"
        );
    }
}

#[test]
fn all_problems_of_a_file_are_named_at_once_in_the_files_order() {
    let text = contract_of(
        "",
        "- name: a\n  logicalType: number\n- name: b\n  logicalType: time\n- name: c",
    );
    let told = refusal(&text);
    let places: Vec<usize> = ["16:22: a number", "18:22: `time`", "19:15: `c`"]
        .iter()
        .map(|p| {
            told.find(&format!("kiosk/sales.yaml:{p}"))
                .unwrap_or_else(|| panic!("{p} not in {told}"))
        })
        .collect();
    assert!(
        told.starts_with("the contract has 3 problems: ") && places.is_sorted(),
        "{told}"
    );
}

#[test]
fn keys_nobody_knows_hide_no_other_problem() {
    let text = contract_of(
        "",
        "- name: a\n  logicalType: number\n  requird: true\n- name: b\n  logicalType: time\n  uniqe: 1",
    );
    let told = refusal(&text);
    for problem in [
        "unknown key `requird`",
        "unknown key `uniqe`",
        "`time`",
        "a number",
    ] {
        assert!(told.contains(problem), "{problem} is missing in {told}");
    }
    assert!(told.starts_with("the contract has 4 problems: "), "{told}");
}
