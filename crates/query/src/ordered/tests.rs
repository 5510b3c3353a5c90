//! Gathering in an order, without a plan around it: orders, nulls, equal keys, partial results, memory.
//!
//! Invariant: whatever way rows come in (at once, in pieces, merged, spilled between), the same values come out in the same order.

use super::gathered::GatheredInto;
use super::held::{HeldValues, WholeGroup};
use super::holds_in_order;
use crate::engine::{QueryEngine, QueryEngineOptions};
use crate::failure::collect;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use arrow::util::display::array_value_to_string;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use std::sync::Arc;

fn keys(descending: bool, nulls_first: bool) -> RowConverter {
    let options = SortOptions {
        descending,
        nulls_first,
    };
    RowConverter::new(vec![SortField::new_with_options(DataType::Int64, options)]).unwrap()
}

fn texts(delimiter: &str, descending: bool, nulls_first: bool) -> HeldValues {
    let into = GatheredInto::Text {
        delimiter: delimiter.to_owned(),
    };
    HeldValues::new(into, keys(descending, nulls_first), 2)
}

fn lists(leaves_nulls_out: bool) -> HeldValues {
    let into = GatheredInto::list(&DataType::Utf8, leaves_nulls_out).unwrap();
    HeldValues::new(into, keys(false, false), 1)
}

fn column(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn numbers(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// The arguments of `string_agg(text, delimiter ORDER BY key)`.
fn call(texts: &[Option<&str>], keys: &[Option<i64>]) -> Vec<ArrayRef> {
    let delimiter = column(&vec![Some(","); texts.len()]);
    vec![column(texts), delimiter, numbers(keys)]
}

fn shown(results: &ArrayRef) -> Vec<String> {
    (0..results.len())
        .map(|row| match results.is_null(row) {
            true => "null".to_owned(),
            false => array_value_to_string(results, row).unwrap(),
        })
        .collect()
}

const TEXTS: [Option<&str>; 6] = [Some("c"), Some("a"), None, Some("d"), Some("b"), Some("e")];
const KEYS: [Option<i64>; 6] = [Some(3), Some(1), Some(2), None, Some(1), Some(-9)];

#[test]
fn texts_come_in_the_order_of_their_keys() {
    for (descending, nulls_first, expected) in [
        (false, false, "e,a,b,c,d"),
        (false, true, "d,e,a,b,c"),
        (true, false, "c,a,b,e,d"),
        (true, true, "d,c,a,b,e"),
    ] {
        let mut held = texts(",", descending, nulls_first);
        held.update_batch(&call(&TEXTS, &KEYS), &[0; 6], None, 1)
            .unwrap();
        assert_eq!(
            shown(&held.evaluate(EmitTo::All).unwrap()),
            [expected],
            "{descending} {nulls_first}"
        );
    }
}

#[test]
fn delimiters_stand_between_texts_alone() {
    for (delimiter, expected) in [("", "eabcd"), ("; ", "e; a; b; c; d"), ("ä", "eäaäbäcäd")] {
        let mut held = WholeGroup(texts(delimiter, false, false));
        held.update_batch(&call(&TEXTS, &KEYS)).unwrap();
        assert_eq!(held.evaluate().unwrap().to_string(), expected);
    }
}

#[test]
fn texts_with_equal_keys_keep_the_order_in_which_they_came() {
    let mut held = texts(",", true, false);
    for batch in [["x", "a"], ["m", "z"], ["a", "b"]] {
        let batch: Vec<Option<&str>> = batch.into_iter().map(Some).collect();
        held.update_batch(&call(&batch, &[Some(7), Some(7)]), &[0, 0], None, 1)
            .unwrap();
    }
    assert_eq!(shown(&held.evaluate(EmitTo::All).unwrap()), ["x,a,m,z,a,b"]);
}

#[test]
fn a_group_without_texts_is_null_and_a_filter_leaves_rows_out() {
    let mut held = texts(",", false, false);
    let filter = BooleanArray::from(vec![
        Some(true),
        Some(false),
        Some(true),
        None,
        Some(true),
        Some(true),
    ]);
    let groups = [0, 0, 1, 0, 2, 2];
    held.update_batch(&call(&TEXTS, &KEYS), &groups, Some(&filter), 4)
        .unwrap();
    assert_eq!(
        shown(&held.evaluate(EmitTo::All).unwrap()),
        ["c", "null", "e,b", "null"]
    );
}

#[test]
fn first_groups_are_handed_out_and_the_others_go_on() {
    let mut held = texts(",", false, false);
    held.update_batch(&call(&TEXTS, &KEYS), &[0, 1, 2, 0, 1, 2], None, 3)
        .unwrap();
    assert_eq!(shown(&held.evaluate(EmitTo::First(1)).unwrap()), ["c,d"]);
    held.update_batch(
        &call(&[Some("f"), Some("g")], &[Some(0), Some(0)]),
        &[0, 2],
        None,
        3,
    )
    .unwrap();
    assert_eq!(
        shown(&held.evaluate(EmitTo::All).unwrap()),
        ["f,a,b", "e", "g"]
    );
    assert_eq!(held.evaluate(EmitTo::All).unwrap().len(), 0);
}

#[test]
fn partial_results_become_the_whole_one() {
    let rows = |range: std::ops::Range<usize>| call(&TEXTS[range.clone()], &KEYS[range]);
    let (mut first, mut second) = (texts(",", false, false), texts(",", false, false));
    first
        .update_batch(&rows(0..3), &[0, 1, 0], None, 2)
        .unwrap();
    second
        .update_batch(&rows(3..6), &[1, 1, 0], None, 2)
        .unwrap();
    let third = texts(",", false, false);
    let late = call(&[Some("h"), None], &[Some(0), Some(0)]);
    let late = third.convert_to_state(&late, None).unwrap();
    let mut whole = texts(",", false, false);
    whole
        .merge_batch(&first.state(EmitTo::All).unwrap(), &[0, 1], 2)
        .unwrap();
    whole
        .merge_batch(&second.state(EmitTo::All).unwrap(), &[0, 1], 2)
        .unwrap();
    whole.merge_batch(&late, &[1, 1], 2).unwrap();
    assert_eq!(
        shown(&whole.evaluate(EmitTo::All).unwrap()),
        ["e,c", "h,a,b,d"]
    );
}

#[test]
fn one_group_gives_its_partial_result_to_another() {
    let (mut one, mut other) = (
        WholeGroup(texts("-", false, false)),
        WholeGroup(texts("-", false, false)),
    );
    one.update_batch(&call(&TEXTS, &KEYS)).unwrap();
    let states = one.state().unwrap();
    let states: Vec<ArrayRef> = states
        .iter()
        .map(|state| state.to_array().unwrap())
        .collect();
    other.merge_batch(&states).unwrap();
    assert_eq!(other.evaluate().unwrap().to_string(), "e-a-b-c-d");
    // Nothing is taken out: it may be asked again.
    assert_eq!(other.evaluate().unwrap().to_string(), "e-a-b-c-d");
}

#[test]
fn lists_keep_nulls_unless_they_are_left_out() {
    for (leaves_nulls_out, expected) in [(false, "[e, a, b, , c, d]"), (true, "[e, a, b, c, d]")] {
        let mut held = lists(leaves_nulls_out);
        let (values, keys) = (column(&TEXTS), numbers(&KEYS));
        held.update_batch(&[values, keys], &[0; 6], None, 2)
            .unwrap();
        let results = held.evaluate(EmitTo::All).unwrap();
        assert_eq!(shown(&results), [expected, "null"]);
        assert_eq!(
            results.as_list::<i32>().value(0).data_type(),
            &DataType::Utf8
        );
    }
}

#[test]
fn every_byte_that_is_held_is_counted() {
    let mut held = texts(",", false, false);
    let empty = held.size();
    let long = "x".repeat(1000);
    let batch = vec![Some(long.as_str()); 1000];
    let keys: Vec<Option<i64>> = (0..1000).map(Some).collect();
    held.update_batch(&call(&batch, &keys), &vec![0; 1000], None, 1)
        .unwrap();
    assert!(held.size() - empty >= 1_009_000, "{}", held.size());
    held.state(EmitTo::All).unwrap();
    assert!(held.size() < 1000, "{}", held.size());
}

#[test]
fn the_aggregates_are_known_by_their_names() {
    assert!(holds_in_order("string_agg") && holds_in_order("array_agg"));
    assert!(!holds_in_order("sum"));
}

/// Rows of a query, its columns separated by `|`, or its error.
async fn answer(memory: u64, sql: &str) -> Result<Vec<String>, String> {
    let options = QueryEngineOptions {
        memory_limit_bytes: memory << 20,
        spill_dir: None,
        threads: 1,
    };
    let session = QueryEngine::new(options).unwrap().empty_session().unwrap();
    let batches = match session.query(sql).await {
        Ok(stream) => collect(stream).await,
        Err(error) => Err(error),
    };
    let batches = batches.map_err(|error| error.message().to_owned())?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter();
            let values: Vec<String> = values
                .map(|values| array_value_to_string(values, row).unwrap())
                .collect();
            rows.push(values.join("|"));
        }
    }
    Ok(rows)
}

#[tokio::test]
async fn queries_gather_in_order() {
    const ROWS: &str = "(VALUES (1, 'b', 2.50, 1), (1, 'a', NULL, 2), (2, NULL, 1.00, 3), (1, 'a', 7.00, NULL), (2, 'c', 3.00, 3)) AS t(g, x, d, k)";
    for (calls, expected) in [
        ("string_agg(x, '/' ORDER BY k)", ["1|b/a/a", "2|c"]),
        (
            "string_agg(x, '/' ORDER BY k DESC NULLS LAST, x)",
            ["1|a/b/a", "2|c"],
        ),
        (
            "string_agg(DISTINCT x, '/' ORDER BY x DESC)",
            ["1|b/a", "2|c"],
        ),
        ("string_agg(DISTINCT x, '/' ORDER BY x)", ["1|a/b", "2|c"]),
        (
            "string_agg(x, '/' ORDER BY x, k) FILTER (WHERE d > 2)",
            ["1|a/b", "2|c"],
        ),
        ("array_agg(x ORDER BY k, x)", ["1|[b, a, a]", "2|[c, ]"]),
        ("array_agg(x ORDER BY x DESC)", ["1|[b, a, a]", "2|[, c]"]),
        (
            "array_agg(x ORDER BY x NULLS LAST)",
            ["1|[a, a, b]", "2|[c, ]"],
        ),
        (
            "array_agg(d ORDER BY d NULLS FIRST)",
            ["1|[, 2.50, 7.00]", "2|[1.00, 3.00]"],
        ),
        ("array_agg(DISTINCT x ORDER BY x)", ["1|[a, b]", "2|[c, ]"]),
        (
            "array_agg(d ORDER BY k DESC) FILTER (WHERE d IS NOT NULL)",
            ["1|[7.00, 2.50]", "2|[1.00, 3.00]"],
        ),
        (
            "array_agg([k, g] ORDER BY d DESC NULLS LAST)",
            ["1|[[, 1], [1, 1], [2, 1]]", "2|[[3, 2], [3, 2]]"],
        ),
        ("array_agg(x ORDER BY k)[1], count(*)", ["1|b|3", "2||2"]),
    ] {
        let sql = format!("SELECT g, {calls} FROM {ROWS} GROUP BY g ORDER BY g");
        assert_eq!(answer(64, &sql).await.unwrap(), expected, "{sql}");
    }
    let none = "SELECT array_agg(value ORDER BY value) IS NULL, string_agg('x', '' ORDER BY value) IS NULL FROM range(0, 0)";
    assert_eq!(answer(64, none).await.unwrap(), ["true|true"]);
}

#[tokio::test]
async fn what_does_not_fit_is_spilled_group_by_group_or_refused() {
    let rows = "SELECT value % 20000 AS g, value AS k, lpad(CAST(value AS VARCHAR), 36, '-') AS x FROM range(0, 600000)";
    for call in [
        "array_length(array_agg(x ORDER BY k DESC))",
        "length(string_agg(x, '' ORDER BY k DESC)) / 36",
    ] {
        let sql = format!(
            "SELECT min(n), max(n), count(*) FROM (SELECT g, {call} AS n FROM ({rows}) GROUP BY g)"
        );
        assert_eq!(answer(64, &sql).await.unwrap(), ["30|30|20000"], "{sql}");
    }
    let first = format!(
        "SELECT g, a[1], a[30] FROM (SELECT g, array_agg(k ORDER BY k DESC) AS a FROM ({rows}) GROUP BY g) WHERE g IN (0, 19999) ORDER BY g"
    );
    assert_eq!(
        answer(64, &first).await.unwrap(),
        ["0|580000|0", "19999|599999|19999"]
    );
    let whole = format!("SELECT array_length(array_agg(x || x || x ORDER BY k)) FROM ({rows})");
    assert_eq!(
        answer(64, &whole).await.unwrap_err(),
        "the query needs more memory than it may use"
    );
}
