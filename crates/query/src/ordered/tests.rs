//! Gathering in an order, without a plan around it: orders, nulls, equal keys, partial results, memory.
//!
//! Invariant: whatever way rows come in (at once, in pieces, merged, spilled between), the same values come out in the same order.

use super::gathered::GatheredInto;
use super::held::{HeldValues, WholeGroup};
use super::keys::{SortKey, SortKeys};
use super::{holds_in_order, with_files};
use crate::engine::{QueryEngine, QueryEngineOptions};
use crate::failure::collect;
use crate::value_files::{ValueFiles, ValueSpill};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::array_value_to_string;
use datafusion::common::DataFusionError;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::{Accumulator, AggregateUDF, EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{col, lit};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use std::sync::Arc;

/// A key that descends or not, and has its nulls first or not.
pub(super) fn key(
    data_type: DataType,
    (descending, nulls_first): (bool, bool),
    is_value: bool,
) -> SortKey {
    let options = SortOptions {
        descending,
        nulls_first,
    };
    SortKey {
        data_type,
        options,
        is_value,
    }
}

fn keys(descending: bool, nulls_first: bool) -> SortKeys {
    let key = key(DataType::Int64, (descending, nulls_first), false);
    SortKeys::new(&[key], true).unwrap()
}

fn spill(memory: usize) -> ValueSpill {
    ValueSpill {
        disk: Arc::new(DiskManager::builder().build().unwrap()),
        pool: Arc::new(GreedyMemoryPool::new(memory)),
    }
}

fn texts(delimiter: &str, descending: bool, nulls_first: bool) -> HeldValues {
    let into = GatheredInto::Text {
        delimiter: delimiter.to_owned(),
    };
    HeldValues::new(into, keys(descending, nulls_first), 2, None)
}

fn lists(leaves_nulls_out: bool) -> HeldValues {
    let into = GatheredInto::list(&DataType::Utf8, leaves_nulls_out).unwrap();
    HeldValues::new(into, keys(false, false), 1, None)
}

/// `string_agg(text, ',' ORDER BY text DESC)`, as a call that has files.
fn texts_by_themselves(files: &Arc<ValueFiles>) -> HeldValues {
    let into = GatheredInto::Text {
        delimiter: ",".to_owned(),
    };
    let keys = SortKeys::new(&[key(DataType::Utf8, (true, false), true)], false).unwrap();
    HeldValues::new(into, keys, 2, Some(Arc::clone(files)))
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

/// Rows of five groups; the first has most of them, the last has none. Some texts are null, many begin alike, none is twice in a group.
fn many_rows() -> (Vec<Option<String>>, Vec<usize>) {
    let text =
        |n: usize| (!n.is_multiple_of(11)).then(|| format!("text {:05}-{n}", n * 7919 % 10_007));
    let group = |n: usize| match n % 100 {
        0 => 3,
        1..=5 => 2,
        6..=20 => 1,
        _ => 0,
    };
    (0..20_000).map(|n| (text(n), group(n))).unzip()
}

/// The texts of each group, by a plain loop.
fn expected(rows: &[Option<String>], groups: &[usize]) -> Vec<String> {
    let mut texts = vec![Vec::new(); 5];
    for (text, group) in rows.iter().zip(groups) {
        texts[*group].extend(text.clone());
    }
    texts
        .into_iter()
        .map(|mut texts| {
            texts.sort_by(|one, other| other.cmp(one));
            match texts.is_empty() {
                true => "null".to_owned(),
                false => texts.join(","),
            }
        })
        .collect()
}

/// The same rows in pieces, each handed on as a partial result: large groups by their files, small ones as they are.
fn partial_results(files: &Arc<ValueFiles>, rows_a_piece: usize) -> HeldValues {
    let (rows, groups) = many_rows();
    let mut whole = texts_by_themselves(files);
    let mut first = texts_by_themselves(files);
    for (rows, groups) in rows.chunks(rows_a_piece).zip(groups.chunks(rows_a_piece)) {
        let rows: Vec<Option<&str>> = rows.iter().map(Option::as_deref).collect();
        let batch = [
            column(&rows),
            column(&vec![Some(","); rows.len()]),
            column(&rows),
        ];
        first.update_batch(&batch, groups, None, 5).unwrap();
        let states = first.state(EmitTo::All).unwrap();
        whole.merge_batch(&states, &[0, 1, 2, 3, 4], 5).unwrap();
    }
    whole
}

#[test]
fn groups_on_disk_become_what_a_plain_loop_makes_of_them() {
    let (rows, groups) = many_rows();
    let expected = expected(&rows, &groups);
    for rows_a_piece in [100, 1_500, 20_000] {
        let files = Arc::new(ValueFiles::new(spill(64 << 20)));
        let mut all = partial_results(&files, rows_a_piece);
        assert_eq!(files.paths().len(), 1, "one call writes one file");
        assert_eq!(shown(&all.evaluate(EmitTo::All).unwrap()), expected);
        // The same, handed on once more, and a few groups at a time.
        let mut again = partial_results(&files, rows_a_piece);
        let states = again.state(EmitTo::All).unwrap();
        let mut last = texts_by_themselves(&files);
        last.merge_batch(&states, &[0, 1, 2, 3, 4], 5).unwrap();
        let first = last.evaluate(EmitTo::First(2)).unwrap();
        assert_eq!(shown(&first), expected[..2]);
        assert_eq!(shown(&last.evaluate(EmitTo::All).unwrap()), expected[2..]);
    }
}

#[test]
fn texts_with_equal_keys_keep_their_order_between_files_and_memory() {
    let files = Arc::new(ValueFiles::new(spill(64 << 20)));
    let held = || {
        let into = GatheredInto::Text {
            delimiter: ",".to_owned(),
        };
        HeldValues::new(into, keys(false, false), 2, Some(Arc::clone(&files)))
    };
    // Some of few bytes, some of many: what is handed on of two groups is by turns held and on disk.
    let (mut first, mut whole) = (held(), held());
    let mut expected = Vec::new();
    for step in 0..7_usize {
        let rows = if step % 2 == 1 { 200 } else { 3 };
        let texts: Vec<String> = (0..rows).map(|n| format!("{step} {n}")).collect();
        let batch: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
        let batch = call(&batch, &vec![Some(7); rows]);
        for group in [0, 1] {
            first
                .update_batch(&batch, &vec![group; rows], None, 2)
                .unwrap();
        }
        let states = first.state(EmitTo::All).unwrap();
        whole.merge_batch(&states, &[0, 1], 2).unwrap();
        expected.extend(texts);
    }
    let expected = expected.join(",");
    // One group before the other, which is handed on once more.
    assert_eq!(
        shown(&whole.evaluate(EmitTo::First(1)).unwrap()),
        [expected.as_str()]
    );
    let mut last = held();
    let states = whole.state(EmitTo::All).unwrap();
    last.merge_batch(&states, &[0], 1).unwrap();
    assert_eq!(
        shown(&last.evaluate(EmitTo::All).unwrap()),
        [expected.as_str()]
    );
}

#[test]
fn what_is_handed_on_is_small_however_large_a_group_is() {
    let (rows, groups) = many_rows();
    let rows: Vec<Option<&str>> = rows.iter().map(Option::as_deref).collect();
    let files = Arc::new(ValueFiles::new(spill(0)));
    let mut held = texts_by_themselves(&files);
    let delimiters = column(&vec![Some(","); rows.len()]);
    let batch = [column(&rows), delimiters, column(&rows)];
    held.update_batch(&batch, &groups, None, 5).unwrap();
    let states = held.state(EmitTo::All).unwrap();
    let bytes: usize = states
        .iter()
        .map(|state| state.get_array_memory_size())
        .sum();
    assert!(bytes < 4096, "{bytes}");
    assert!(held.size() < 1000, "{}", held.size());
}

#[test]
fn a_group_that_does_not_fit_is_refused() {
    let files = Arc::new(ValueFiles::new(spill(100_000)));
    let mut held = partial_results(&files, 1_000);
    let error = held.evaluate(EmitTo::All).unwrap_err();
    let error = error.find_root();
    assert!(
        matches!(error, DataFusionError::ResourcesExhausted(_)),
        "{error}"
    );
}

#[test]
fn calls_of_a_plan_get_files_of_their_own() {
    let fields = vec![
        Field::new("x", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ];
    let schema = Arc::new(Schema::new(fields));
    let [string_agg, _] = super::aggregates();
    let built = |function: Arc<AggregateUDF>, of: Vec<Arc<dyn PhysicalExpr>>, is_ordered| {
        let by = PhysicalSortExpr::new(col("n", &schema).unwrap(), SortOptions::default());
        let by = if is_ordered { vec![by] } else { Vec::new() };
        let builder = AggregateExprBuilder::new(function, of).order_by(by);
        (builder.schema(Arc::clone(&schema)).alias("of"))
            .build()
            .unwrap()
    };
    let texts = || vec![col("x", &schema).unwrap(), lit(",")];
    let string_agg = Arc::new(string_agg);
    let ordered = built(Arc::clone(&string_agg), texts(), true);
    let with = with_files(&ordered, &schema, &spill(0)).unwrap().unwrap();
    assert_eq!((with.name(), with.field()), ("of", ordered.field()));
    assert_eq!(
        with.state_fields().unwrap(),
        ordered.state_fields().unwrap()
    );
    let unordered = built(string_agg, texts(), false);
    let sum = built(sum_udaf(), vec![col("n", &schema).unwrap()], true);
    for call in [unordered, sum] {
        assert!(with_files(&call, &schema, &spill(0)).unwrap().is_none());
    }
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
        ("string_agg(x, '/' ORDER BY x)", ["1|a/a/b", "2|c"]),
        (
            "string_agg(x, '/' ORDER BY x DESC NULLS FIRST)",
            ["1|b/a/a", "2|c"],
        ),
        (
            "string_agg(x, '/' ORDER BY d DESC NULLS FIRST, x)",
            ["1|a/a/b", "2|c"],
        ),
        (
            "string_agg(x, '/' ORDER BY x || 'z' DESC, k)",
            ["1|b/a/a", "2|c"],
        ),
        (
            "array_agg(d ORDER BY d DESC NULLS LAST)",
            ["1|[7.00, 2.50, ]", "2|[3.00, 1.00]"],
        ),
        (
            "array_agg(x ORDER BY x NULLS FIRST)",
            ["1|[a, a, b]", "2|[, c]"],
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

#[tokio::test]
async fn a_few_large_groups_spill_again_and_again() {
    // Texts that differ at their ends alone; a group of them takes some megabytes.
    let rows = "SELECT value % 7 AS g, value * 7919 % 1000003 AS k, 'a text that begins alike ' || lpad(CAST(value AS VARCHAR), 12, '-') AS x FROM range(0, 400000)";
    for call in [
        "md5(string_agg(x, ', ' ORDER BY x DESC))",
        "md5(string_agg(x, ', ' ORDER BY k, x))",
        "md5(string_agg(x, ', ' ORDER BY k DESC) FILTER (WHERE k % 3 > 0))",
        "md5(array_to_string(array_agg(x ORDER BY k), ', '))",
    ] {
        let sql = format!("SELECT g, {call} FROM ({rows}) GROUP BY g ORDER BY g");
        let spilled = answer(64, &sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(spilled.len(), 7);
        assert_eq!(spilled, answer(4096, &sql).await.unwrap(), "{sql}");
    }
}
