//! SQL beside PostgreSQL 15: tests/answers/*.slt hold statements over a small warehouse and PostgreSQL's answers, which `tests/python/make_sql_answers.py` wrote; the table of
//! differences in docs/sql.md holds the others.
//!
//! Invariant: every answer is PostgreSQL's, in the form that the script describes. What differs by design stands in the guide's table with both answers, and nowhere else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, DurationMicrosecondType, Float64Type, IntervalMonthDayNanoType, IntervalUnit,
    TimeUnit,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::fs;
use std::path::{Path, PathBuf};
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session, collect};

/// Statements with answers, at least.
const STATEMENTS: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of a folder of the answers, by their ending.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/answers").join(folder)).unwrap();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == extension))
        .collect();
    found.sort();
    found
}

/// The cells of a CSV file; null for one that is empty and not quoted.
fn cells(text: &str) -> Vec<Vec<Option<String>>> {
    let mut rows = vec![Vec::new()];
    let (mut cell, mut was_quoted, mut is_quoted) = (String::new(), false, false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if is_quoted && rest.peek() == Some(&'"') => {
                rest.next();
                cell.push('"');
            }
            '"' => (is_quoted, was_quoted) = (!is_quoted, true),
            ',' | '\n' if !is_quoted => {
                let value = (was_quoted || !cell.is_empty()).then(|| std::mem::take(&mut cell));
                was_quoted = false;
                rows.last_mut().unwrap().push(value);
                if c == '\n' {
                    rows.push(Vec::new());
                }
            }
            c => cell.push(c),
        }
    }
    rows.retain(|row| !row.is_empty());
    rows
}

/// Makes a CSV file known as a table, with the types that its first line names.
async fn register(session: &Session, path: &Path) {
    let rows = cells(&fs::read_to_string(path).unwrap());
    let columns: Vec<(&str, &str)> = rows[0]
        .iter()
        .map(|column| column.as_deref().unwrap().split_once(':').unwrap())
        .collect();
    let made: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, (name, kind))| {
            let kind = match *kind {
                "timestamptz" => "TIMESTAMPTZ",
                "text" => "VARCHAR",
                other => other,
            };
            let of = format!("CAST(column{} AS {kind})", at + 1);
            match kind {
                "TIMESTAMPTZ" => {
                    format!("arrow_cast({of}, 'Timestamp(Microsecond, Some(\"UTC\"))') AS {name}")
                }
                "timestamp" => {
                    format!("arrow_cast({of}, 'Timestamp(Microsecond, None)') AS {name}")
                }
                _ => format!("{of} AS {name}"),
            }
        })
        .collect();
    let values: Vec<String> = rows[1..]
        .iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .map(|cell| match cell {
                    Some(text) => format!("'{}'", text.replace('\'', "''")),
                    None => "CAST(NULL AS VARCHAR)".to_owned(),
                })
                .collect();
            format!("({})", cells.join(", "))
        })
        .collect();
    let sql = format!(
        "SELECT {} FROM (VALUES {}) AS v",
        made.join(", "),
        values.join(", ")
    );
    let batches = session.sql(&sql).await.unwrap().cache().await.unwrap();
    let name = path.file_stem().unwrap().to_str().unwrap();
    session.register(name, batches.into_view()).unwrap();
}

async fn warehouse() -> Session {
    let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
    let session = engine.empty_session().unwrap();
    let tables = files("tables", "csv");
    assert!(tables.len() >= 4);
    for path in tables {
        register(&session, &path).await;
    }
    session
}

/// A number in its one form: at most ten digits behind the point, rounded half away from zero, and no noughts at the end.
fn number(text: &str) -> String {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => ("-", text),
        None => ("", text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes().take(10)).collect();
    if fraction.as_bytes().get(10).is_some_and(|c| *c >= b'5') {
        let mut at = digits.len();
        loop {
            if at == 0 {
                digits.insert(0, b'1');
                break;
            }
            at -= 1;
            if digits[at] < b'9' {
                digits[at] += 1;
                break;
            }
            digits[at] = b'0';
        }
    }
    let decimals = fraction.len().min(10);
    let digits = String::from_utf8(digits).unwrap();
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let fraction = fraction.trim_end_matches('0');
    match (whole, fraction) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    }
}

/// A float to twelve digits.
fn float(value: f64) -> String {
    if !value.is_finite() {
        let name = if value.is_nan() { "NaN" } else { "Infinity" };
        return if value < 0.0 {
            format!("-{name}")
        } else {
            name.to_owned()
        };
    }
    let text = format!("{:.11e}", value.abs());
    let (digits, exponent) = text.split_once('e').unwrap();
    let exponent: i32 = exponent.parse().unwrap();
    let mut digits = digits.replace('.', "");
    let point = exponent + 1;
    let plain = if point <= 0 {
        format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize))
    } else {
        while digits.len() < point as usize {
            digits.push('0');
        }
        let (whole, fraction) = digits.split_at(point as usize);
        format!("{whole}.{fraction}")
    };
    let plain = number(&plain);
    if value < 0.0 && plain != "0" {
        format!("-{plain}")
    } else {
        plain
    }
}

fn text(text: &str) -> String {
    match text {
        "" => return "(empty)".to_owned(),
        "NULL" => return "(NULL)".to_owned(),
        _ => {}
    }
    let text = text
        .replace('\t', "\\t")
        .replace('\n', "\\n")
        .replace('\r', "\\r");
    if text.trim() != text || text.contains("  ") {
        text.replace(' ', "·")
    } else {
        text
    }
}

const MICROS_OF_DAY: i128 = 86_400_000_000;

/// Microseconds as seconds.
fn seconds(micros: i128) -> String {
    number(&format!(
        "{}{}.{:06}",
        if micros < 0 { "-" } else { "" },
        micros.abs() / 1_000_000,
        micros.abs() % 1_000_000
    ))
}

/// A span of months and microseconds.
fn span(months: i32, micros: i128) -> String {
    format!("{months} mons {} s", seconds(micros))
}

/// A time without noughts at the end of its second.
fn fraction(text: String) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A value in the form of the answers.
fn shown(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".to_owned();
    }
    let as_of = |to: DataType| cast(column, &to).unwrap();
    let formatted = |column: &ArrayRef| {
        let options = FormatOptions::default();
        ArrayFormatter::try_new(column.as_ref(), &options)
            .unwrap()
            .value(row)
            .to_string()
    };
    match column.data_type() {
        DataType::Null => "NULL".to_owned(),
        DataType::Float64 | DataType::Float32 | DataType::Float16 => {
            // A short float is what its own digits say, as PostgreSQL prints it.
            if *column.data_type() == DataType::Float64 {
                float(column.as_primitive::<Float64Type>().value(row))
            } else {
                float(formatted(column).parse().unwrap())
            }
        }
        kind if kind.is_integer() || kind.is_decimal() => number(&formatted(column)),
        DataType::Timestamp(_, zone) => {
            let zone = zone.clone();
            let wall = DataType::Timestamp(
                TimeUnit::Microsecond,
                zone.as_ref().map(|_| "+00:00".into()),
            );
            let shown = formatted(&as_of(wall));
            match zone {
                Some(_) => fraction(shown.trim_end_matches('Z').to_owned()) + "Z",
                None => fraction(shown),
            }
        }
        DataType::Time32(_) | DataType::Time64(_) => fraction(formatted(column)),
        DataType::Duration(_) => {
            let micros = as_of(DataType::Duration(TimeUnit::Microsecond));
            span(
                0,
                micros
                    .as_primitive::<DurationMicrosecondType>()
                    .value(row)
                    .into(),
            )
        }
        DataType::Interval(_) => {
            let of = as_of(DataType::Interval(IntervalUnit::MonthDayNano));
            let of = of.as_primitive::<IntervalMonthDayNanoType>().value(row);
            let (days, micros) = (i128::from(of.days), i128::from(of.nanoseconds) / 1_000);
            if micros.abs() >= MICROS_OF_DAY || days * micros < 0 {
                // These are no days, or days the other way round.
                return format!("{} mons {days} days {} s", of.months, seconds(micros));
            }
            span(of.months, days * MICROS_OF_DAY + micros)
        }
        DataType::List(_) => list(&column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(&column.as_list::<i64>().value(row)),
        _ => text(&formatted(column)),
    }
}

fn list(values: &ArrayRef) -> String {
    let values: Vec<String> = (0..values.len()).map(|row| shown(values, row)).collect();
    format!("[{}]", values.join(", "))
}

/// Rows of a query, or what it says instead.
async fn rows(session: &Session, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let said = |error: tillhouse_model::Error| error.to_string();
    let batches = collect(session.query(sql).await.map_err(said)?)
        .await
        .map_err(said)?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            rows.push(
                batch
                    .columns()
                    .iter()
                    .map(|column| shown(column, row))
                    .collect(),
            );
        }
    }
    Ok(rows)
}

/// A statement of a file: where it stands, its SQL, and its answer; none for one that is an error.
struct SuiteStatement {
    place: String,
    sql: String,
    answer: Option<Vec<String>>,
}

/// The statements of a file in sqllogictest's format, of which these need no more than `query`, `query … rowsort` and `statement error`.
fn asked(path: &Path) -> Vec<SuiteStatement> {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut all = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let is_error = line == "statement error";
        assert!(
            is_error || line.starts_with("query "),
            "{name}:{at}: {line}"
        );
        let (mut sql, mut answer) = (Vec::new(), Vec::new());
        let mut is_answer = false;
        for (_, line) in lines.by_ref().take_while(|(_, line)| !line.is_empty()) {
            match line {
                "----" => is_answer = true,
                line if is_answer => answer.push(line.to_owned()),
                line => sql.push(line),
            }
        }
        all.push(SuiteStatement {
            place: format!("{name}:{}", at + 1),
            sql: sql.join("\n"),
            answer: (!is_error).then_some(answer),
        });
        assert!(is_error != is_answer, "{name}:{at}: {line}");
        let sorted = line.ends_with("rowsort");
        assert!(!sorted, "{name}:{at}: order the rows by what they are");
    }
    all
}

#[tokio::test]
async fn every_answer_is_postgresqls() {
    let session = warehouse().await;
    let (mut statements, mut broken) = (0, Vec::new());
    for path in files("", "slt") {
        for SuiteStatement { place, sql, answer } in asked(&path) {
            statements += 1;
            let given = rows(&session, &sql).await;
            match (given, answer) {
                (Ok(rows), Some(answer)) => {
                    let rows: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
                    if rows != answer {
                        let differing = rows.iter().zip(&answer).find(|(one, other)| one != other);
                        broken.push(format!(
                            "{place}: {sql}\n  {} rows, not {}; {differing:?}",
                            rows.len(),
                            answer.len()
                        ));
                    }
                }
                (Err(_), None) => {}
                (Ok(rows), None) => {
                    broken.push(format!("{place}: {sql}\n  no error, but {rows:?}"))
                }
                (Err(error), Some(_)) => broken.push(format!("{place}: {sql}\n  {error}")),
            }
        }
    }
    assert!(
        broken.is_empty(),
        "{} of {statements} answers differ:\n{}",
        broken.len(),
        broken.join("\n")
    );
    assert!(statements >= STATEMENTS, "{statements} statements");
}

/// The rows of the guide's table of differences: statement, our answer, PostgreSQL's.
fn differences() -> Vec<(String, String, String)> {
    let guide = fs::read_to_string(root().join("docs/sql.md")).unwrap();
    let part = guide
        .split_once("## Differences from PostgreSQL")
        .expect("the guide has the table")
        .1;
    let part = part.split("\n## ").next().unwrap();
    let plain = |cell: &str| cell.trim().trim_matches('`').replace("&#124;", "|");
    part.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
            assert_eq!(cells.len(), 4, "{line}");
            (plain(cells[0]), plain(cells[1]), plain(cells[2]))
        })
        .collect()
}

#[tokio::test]
async fn the_table_of_differences_holds() {
    let kept = fs::read_to_string(root().join("tests/answers/differences.txt")).unwrap();
    let lines: Vec<&str> = kept.lines().collect();
    let of_postgres: Vec<(&str, &str)> = lines
        .chunks(2)
        .map(|pair| (pair[0], pair[1].trim()))
        .collect();
    let session = warehouse().await;
    let listed = differences();
    assert!(listed.len() >= 8, "{} differences", listed.len());
    let mut broken = Vec::new();
    for (sql, ours, postgres) in &listed {
        let statement = if sql.starts_with("SELECT") || sql.starts_with("WITH") {
            sql.clone()
        } else {
            format!("SELECT {sql}")
        };
        let answer = match rows(&session, &statement).await {
            Ok(rows) => rows
                .iter()
                .map(|row| row.join(" "))
                .collect::<Vec<_>>()
                .join(" | "),
            Err(_) => "an error".to_owned(),
        };
        if answer != *ours {
            broken.push(format!("{sql}: {answer}, not {ours}"));
        }
        let kept = of_postgres.iter().find(|(known, _)| known == sql);
        if kept.map(|(_, answer)| *answer) != Some(postgres.as_str()) {
            broken.push(format!(
                "{sql}: PostgreSQL's answer is {kept:?}, not {postgres}"
            ));
        }
        if ours == postgres {
            broken.push(format!("{sql} is no difference"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert_eq!(of_postgres.len(), listed.len());
}
