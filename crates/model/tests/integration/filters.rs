//! Filter descriptors as they are written: what one means, the errors of wrong ones, and that writing gives what was read.
//!
//! Invariant: no error shows a value somebody asked for.

use proptest::prelude::*;
use tillhouse_model::{ErrorKind, ExactDecimal};
use tillhouse_model::{Filter, FilterOperand, FilterOperator, FilterTest};

fn test(field: &str, operator: FilterOperator, value: FilterOperand) -> Filter {
    Filter::Test(FilterTest {
        field: field.into(),
        operator,
        value,
        ignore_case: true,
    })
}

#[test]
fn a_test_and_a_composite_are_read() {
    let parsed = Filter::parse(
        r#" {"logic": "or", "filters": [
            {"field": "amount", "operator": "gte", "value": 12.340},
            {"filters": [], "logic": "and"},
            {"value": "Centre", "ignoreCase": false, "operator": "contains", "field": "site_name"},
            {"field": "license_plate", "operator": "isnull", "value": {"ignored": [1]}},
            {"field": "license_plate", "operator": "neq", "value": null},
            {"field": "paid_amount", "operator": "eq"}
        ]} "#,
    )
    .unwrap();
    let contains = FilterTest {
        field: "site_name".into(),
        operator: FilterOperator::Contains,
        value: FilterOperand::Text("Centre".into()),
        ignore_case: false,
    };
    assert_eq!(
        parsed,
        Filter::Any(vec![
            test(
                "amount",
                FilterOperator::Gte,
                FilterOperand::Number(ExactDecimal::new(1_234, 2))
            ),
            Filter::All(vec![]),
            Filter::Test(contains),
            test("license_plate", FilterOperator::IsNull, FilterOperand::Null),
            test("license_plate", FilterOperator::Neq, FilterOperand::Null),
            test("paid_amount", FilterOperator::Eq, FilterOperand::Null),
        ])
    );
    let fields: Vec<&str> = parsed
        .tests()
        .iter()
        .map(|test| test.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "amount",
            "site_name",
            "license_plate",
            "license_plate",
            "paid_amount"
        ]
    );
}

#[test]
fn numbers_keep_every_digit() {
    let value = |text: &str| {
        let json = format!(r#"{{"field": "amount", "operator": "eq", "value": {text}}}"#);
        match Filter::parse(&json).unwrap() {
            Filter::Test(FilterTest {
                value: FilterOperand::Number(number),
                ..
            }) => number,
            other => panic!("{other:?}"),
        }
    };
    // As a double this would be 0.1.
    assert_eq!(
        value("0.1000000000000000055511151231257827"),
        ExactDecimal::new(1_000_000_000_000_000_055_511_151_231_257_827, 34)
    );
    assert_eq!(
        value("9007199254740993"),
        ExactDecimal::new(9_007_199_254_740_993, 0)
    );
    assert_eq!(value("-1.5e2"), ExactDecimal::new(-150, 0));
}

#[test]
fn what_is_wrong_is_said_with_what_there_is() {
    for (json, message, hint) in [
        ("", "the filter is not JSON", "single quotes"),
        (r#"{"field": "amount""#, "line 1 column 18", "single quotes"),
        ("[]", "a filter is an object", "\"field\""),
        (
            "{}",
            "needs field and operator, or logic and filters",
            "\"field\"",
        ),
        (r#"{"field": "a"}"#, "needs field and operator", "\"field\""),
        (
            r#"{"feild": "a", "operator": "eq"}"#,
            "unknown field `feild`, expected one of `field`, `operator`",
            "A test has",
        ),
        (
            r#"{"field": "a", "field": "b", "operator": "eq"}"#,
            "duplicate field",
            "A test has",
        ),
        (
            r#"{"field": 1, "operator": "eq"}"#,
            "expected a string",
            "A test has",
        ),
        (
            r#"{"field": "a", "operator": "eq", "ignoreCase": "no"}"#,
            "expected a boolean",
            "A test has",
        ),
        (
            r#"{"field": "a", "operator": "like", "value": 1}"#,
            "there is no operator \"like\" (filter operator)",
            "Operators are eq, neq, isnull",
        ),
        (
            r#"{"field": "a", "operator": "contians", "value": 1}"#,
            "did you mean contains",
            "doesnotcontain",
        ),
        (
            r#"{"field": "a", "operator": "eq", "value": ["secret"]}"#,
            "a filter's value is a text, a number",
            "logic \"or\"",
        ),
        (
            r#"{"field": "a", "operator": "eq", "value": 1e99}"#,
            "more digits than can be compared",
            "38",
        ),
        (
            r#"{"field": "a", "operator": "eq", "value": "\ud800"}"#,
            "half a character",
            "",
        ),
        (
            r#"{"field": "a", "operator": "eq", "logic": "and"}"#,
            "a test takes no logic",
            "composite",
        ),
        (
            r#"{"filters": []}"#,
            "a composite filter needs logic",
            "\"and\"",
        ),
        (
            r#"{"logic": "not", "filters": []}"#,
            "there is no logic \"not\" (filter logic)",
            "\"or\"",
        ),
        (
            r#"{"logic": "and", "filters": {}}"#,
            "expected a sequence",
            "A test has",
        ),
        (
            r#"{"logic": "and", "filters": [], "field": "a"}"#,
            "both a test and a composite",
            "filters",
        ),
        (
            r#"{"logic": "and", "filters": [{"logic": "or", "filters": [{"field": "a", "operator": "isnull"}, 5]}]}"#,
            "a filter is an object (filter filters[0].filters[1])",
            "\"field\"",
        ),
        (
            r#"{"logic": "and", "filters": [{"field": "a", "operator": "is", "value": "secret"}]}"#,
            "there is no operator \"is\" (filter filters[0].operator)",
            "Operators are",
        ),
    ] {
        let error = Filter::parse(json).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{json}");
        assert!(error.to_string().contains(message), "{json}: {error}");
        assert!(
            error.hint_text().unwrap_or_default().contains(hint),
            "{json}: {:?}",
            error.hint_text()
        );
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

fn nested(depth: usize) -> String {
    let (open, close) = (
        r#"{"logic":"and","filters":["#.repeat(depth - 1),
        "]}".repeat(depth - 1),
    );
    format!(r#"{open}{{"field":"a","operator":"isnull"}}{close}"#)
}

fn wide(nodes: usize) -> String {
    let tests = vec![r#"{"field":"a","operator":"isnull"}"#; nodes - 1];
    format!(r#"{{"logic":"or","filters":[{}]}}"#, tests.join(","))
}

#[test]
fn depth_and_size_are_bounded() {
    assert_eq!(
        Filter::parse(&nested(Filter::MAX_DEPTH))
            .unwrap()
            .tests()
            .len(),
        1
    );
    assert_eq!(
        Filter::parse(&wide(Filter::MAX_NODES))
            .unwrap()
            .tests()
            .len(),
        Filter::MAX_NODES - 1
    );
    for (json, words) in [
        (nested(Filter::MAX_DEPTH + 1), "more than 32 deep"),
        (nested(100_000), "more than 32 deep"),
        (wide(Filter::MAX_NODES + 1), "more than 1000 nodes"),
    ] {
        let error = Filter::parse(&json).unwrap_err();
        assert!(error.message().contains(words), "{error}");
        assert!(
            error.hint_text().unwrap().contains("1000"),
            "{:?}",
            error.hint_text()
        );
    }
    // Deep in the middle of a text that is not JSON at all.
    assert!(Filter::parse(&"[".repeat(1_000_000)).is_err());
}

fn operand() -> impl Strategy<Value = FilterOperand> {
    prop_oneof![
        Just(FilterOperand::Null),
        any::<bool>().prop_map(FilterOperand::Bool),
        (any::<i64>(), 0_u8..20).prop_map(|(units, scale)| FilterOperand::Number(
            ExactDecimal::new(i128::from(units), scale).trimmed()
        )),
        any::<String>().prop_map(FilterOperand::Text),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let leaf = (
        any::<String>(),
        proptest::sample::select(FilterOperator::ALL),
        operand(),
        any::<bool>(),
    )
        .prop_map(|(field, operator, value, ignore_case)| {
            let value = if operator.is_unary() {
                FilterOperand::Null
            } else {
                value
            };
            Filter::Test(FilterTest {
                field,
                operator,
                value,
                ignore_case,
            })
        });
    leaf.prop_recursive(6, 60, 6, |inner| {
        let filters = || prop::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            filters().prop_map(Filter::All),
            filters().prop_map(Filter::Any)
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back_as_it_was(filter in filter()) {
        let json = serde_json::to_string(&filter).unwrap();
        prop_assert_eq!(Filter::parse(&json).unwrap(), filter);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]{}:,\"a-z0-9 .-]{0,80}") {
        let _ = Filter::parse(&text);
    }

    #[test]
    fn a_number_reads_back_as_it_was(units in any::<i64>(), scale in 0_u8..30) {
        let number = ExactDecimal::new(i128::from(units), scale).trimmed();
        prop_assert_eq!(ExactDecimal::from_json(&number.to_string()), Some(number));
    }
}
