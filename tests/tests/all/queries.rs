//! `tillhouse sql` as it is used every day: parameters, files of queries, results in files, separators and nulls.
//!
//! Invariant: a value is never read as SQL; a file has a whole result or stays what it was.

use crate::program;
use crate::project::{TestProject, run_to_end};
use crate::python;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Decimal128Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use tillhouse_sandbox::Sandbox;
use tokio::io::AsyncWriteExt;

async fn small() -> (Sandbox, TestProject) {
    TestProject::synced(200, "2026-01-06").await
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_take_the_place_of_literals_and_never_of_sql() {
    let (sandbox, project) = small().await;
    for (given, sql, answer) in [
        // Whatever a value holds, it is one text.
        (
            vec!["x='; SELECT 2 --"],
            "SELECT :x AS x",
            json!([{"x": "'; SELECT 2 --"}]),
        ),
        (
            vec!["x=a' OR '1'='1"],
            "SELECT count(*) AS n FROM counted WHERE site_name = :x",
            json!([{"n": 0}]),
        ),
        (
            vec!["x=(SELECT 1)"],
            "SELECT $x AS x",
            json!([{"x": "(SELECT 1)"}]),
        ),
        (
            vec!["1=a", "2=b"],
            "SELECT $1 || $2 AS x",
            json!([{"x": "ab"}]),
        ),
        (vec!["X=a"], "SELECT :x AS x", json!([{"x": "a"}])),
        (
            vec!["x="],
            "SELECT NULLIF(:x, '') AS x",
            json!([{"x": null}]),
        ),
        (vec!["x=a=b"], "SELECT :x AS x", json!([{"x": "a=b"}])),
        // A plate that looks like a number is a text beside a text, and a number beside a number.
        (
            vec!["x=007"],
            "SELECT x = :x AS x FROM (VALUES ('007')) AS v(x)",
            json!([{"x": true}]),
        ),
        (
            vec!["x=7"],
            "SELECT x = :x AS x, n = :x AS n, n + :x AS m FROM (VALUES ('7', 7)) AS v(x, n)",
            json!([{"x": true, "n": true, "m": 14}]),
        ),
        (
            vec!["x=7.50"],
            "SELECT x > :x AS x, x BETWEEN :x AND :x AS y, x IN (1, :x) AS z, x * :x AS w FROM (VALUES (7.5)) AS v(x)",
            json!([{"x": false, "y": true, "z": true, "w": 56.25}]),
        ),
        (
            vec!["n=2"],
            "SELECT round(1.2345, :n) AS r, left('abc', :n) AS l, upper(:n) AS u, coalesce(NULL, 1.5, :n) AS c, CASE WHEN true THEN 1 ELSE :n END AS w",
            json!([{"r": 1.23, "l": "ab", "u": "2", "c": 1.5, "w": 1}]),
        ),
        (
            vec!["n=1", "m=1"],
            "SELECT x FROM (VALUES (1), (2), (3)) AS v(x) ORDER BY x LIMIT :n OFFSET :m",
            json!([{"x": 2}]),
        ),
        (
            vec!["day=2026-01-02"],
            "SELECT DATE :day AS d, CAST(:day AS DATE) + 1 AS e, :day::date = DATE '2026-01-02' AS f",
            json!([{"d": "2026-01-02", "e": "2026-01-03", "f": true}]),
        ),
        (
            vec!["z=Europe/Berlin"],
            "SELECT TIMESTAMPTZ '2026-07-01 00:00:00Z' AT TIME ZONE :z AS t",
            json!([{"t": "2026-07-01T02:00:00"}]),
        ),
    ] {
        let mut arguments = vec!["sql", sql];
        given
            .iter()
            .for_each(|of| arguments.extend(["--param", of]));
        let answer = crate::exact_json::json(&answer.to_string(), sql);
        assert_eq!(project.json(&arguments).await, answer, "{sql}");
    }
    let by_name = project
        .json(&[
            "sql",
            "SELECT sum(transactions) AS n FROM hourly_transactions(:from, :to)",
            "--param",
            "from=2026-01-01",
            "--param",
            "to=2026-01-06",
        ])
        .await;
    let literally = project
        .json(&[
            "sql",
            "SELECT sum(transactions) AS n FROM hourly_transactions('2026-01-01', '2026-01-06')",
        ])
        .await;
    assert_eq!(by_name, literally);
    for (arguments, code, said) in [
        (vec!["SELECT :x"], 1, "the parameter :x has no value"),
        (vec!["SELECT ?"], 1, "a parameter needs a name or a number"),
        (
            vec!["SELECT :day", "--param", "dya=1", "--param", "day=1"],
            2,
            "the query does not name the parameter dya",
        ),
        (vec!["SELECT :x", "--param", "x"], 2, "has no value"),
        (
            vec!["SELECT :x", "--param", "x=1", "--param", "X=2"],
            2,
            "given twice",
        ),
        (vec!["SELECT 1", "--param", "a b=1"], 2, "is no name"),
        (
            vec![
                "SELECT * FROM counted WHERE amount > :x",
                "--param",
                "x=abc",
            ],
            1,
            "the value of the parameter x is no number",
        ),
    ] {
        let ran = project.run(&[&["sql"], &arguments[..]].concat()).await;
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_is_written_over_the_warehouse_or_the_configuration() {
    let (sandbox, project) = small().await;
    let name = |file: &str| project.path().join(file).display().to_string();
    let commit = format!("warehouse/ops/runs/_delta_log/{:020}.json", 0);
    std::os::unix::fs::symlink(name("warehouse/ops"), name("link")).unwrap();
    let before = fs::read(name(&commit)).unwrap();
    let stats = ["stats", "--from", "2026-01-01", "--to", "2026-02-01"];
    // A query that fails shows that none is run.
    let query = ["sql", "SELECT no_such_column FROM sites"];
    for (command, file, why) in [
        (&query[..], commit.as_str(), "into the warehouse"),
        (&query[..], "link/x.csv", "into the warehouse"),
        (
            &query[..],
            "pipelines/../warehouse/x.json",
            "into the warehouse",
        ),
        (
            &query[..],
            "pipelines/hecone/x.csv",
            "over the project's configuration",
        ),
        (&stats[..], commit.as_str(), "into the warehouse"),
        (
            &stats[..],
            "tillhouse.yaml",
            "over the project's configuration",
        ),
        (
            &stats[..],
            "pipelines/hecone/pipeline.yaml",
            "over the project's configuration",
        ),
    ] {
        let file = name(file);
        let ran = project.run(&[command, &["--output", &file]].concat()).await;
        assert_eq!(ran.code, Some(2), "{file}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(why) && ran.stderr.contains(&file),
            "{file}: {}",
            ran.stderr
        );
    }
    assert_eq!(fs::read(name(&commit)).unwrap(), before);
    let ran = project.run(&["check"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_come_from_files_and_results_go_into_files() {
    let (sandbox, project) = small().await;
    let at = |name: &str| project.path().join(name);
    let name = |file: &str| at(file).to_str().expect("a path in UTF-8").to_owned();
    fs::write(
        at("two.sql"),
        "-- first; a comment\nSELECT :x AS a; /* ; */\nSELECT ';' AS b;\n",
    )
    .unwrap();
    let two = name("two.sql");
    let ran = project
        .run(&["--format", "csv", "sql", "-f", &two, "--param", "x=1"])
        .await;
    assert_eq!(ran.stdout, "a\n1\nb\n;\n", "{}", ran.stderr);
    let ran = project
        .run(&["--format", "csv", "sql", "SELECT 1 AS a; SELECT 2 AS b"])
        .await;
    assert_eq!(ran.stdout, "a\n1\nb\n2\n", "{}", ran.stderr);
    let mut from_input = project.command(&["--format", "csv", "sql", "-f", "-"]);
    from_input.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = from_input.spawn().expect("the binary starts");
    let mut input = running.stdin.take().expect("a pipe");
    input.write_all(b"SELECT 3 AS c;").await.unwrap();
    drop(input);
    let output = running.wait_with_output().await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "c\n3\n");

    let wide = "SELECT 12345678901234567.89 AS amount, NULL AS nothing, 'a;\"b' AS text, TIMESTAMPTZ '2026-01-02 03:04:05Z' AS at, INTERVAL '1 month' AS span, [1, 2] AS list, 1 AS one, 2 AS two";
    let csv = name("out.csv");
    let ran = project
        .run(&[
            "sql",
            wide,
            "--output",
            &csv,
            "--csv-separator",
            ";",
            "--null",
            "-",
        ])
        .await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), ""),
        "{}",
        ran.stderr
    );
    let written = fs::read_to_string(at("out.csv")).unwrap();
    assert!(
        written.starts_with("amount;nothing;text;at;span;list;one;two\n12345678901234567.89;-;\"a;\"\"b\";2026-01-02T03:04:05Z;"),
        "{written}"
    );
    let json = name("out.json");
    project.run(&["sql", wide, "--output", &json]).await;
    let written: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(at("out.json")).unwrap()).unwrap();
    assert_eq!(written[0]["list"], json!([1, 2]));

    let parquet = name("out.parquet");
    let ran = project
        .run(&["sql", &format!("{wide}, 3 AS three"), "--output", &parquet])
        .await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut reader =
        ParquetRecordBatchReaderBuilder::try_new(File::open(at("out.parquet")).unwrap())
            .unwrap()
            .build()
            .unwrap();
    let batch = reader.next().unwrap().unwrap();
    let amount = batch.column_by_name("amount").unwrap();
    assert_eq!(*amount.data_type(), DataType::Decimal128(19, 2));
    assert_eq!(
        amount.as_primitive::<Decimal128Type>().value(0),
        1_234_567_890_123_456_789
    );
    assert!(
        batch
            .column_by_name("span")
            .unwrap()
            .data_type()
            .is_string()
    );

    // A query that fails leaves the file as it was, and nothing beside it.
    fs::write(at("kept.csv"), "kept").unwrap();
    let kept = name("kept.csv");
    let files = || fs::read_dir(project.path()).unwrap().count();
    let before = files();
    let fails = "SELECT 1 / (x - 90000) FROM (SELECT value AS x FROM range(0, 100000))";
    let ran = project.run(&["sql", fails, "--output", &kept]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(at("kept.csv")).unwrap(), "kept");
    assert_eq!(files(), before);

    let missing = name("missing.sql");
    for (arguments, said) in [
        (
            vec!["SELECT 1", "--output", "x.xlsx", "--format", "csv"],
            "the format and the ending of the file differ",
        ),
        (vec!["SELECT 1", "--output", "x.txt"], "names no format"),
        (
            vec!["SELECT 1; SELECT 2", "--output", "x.csv"],
            "one query, and 2 were given",
        ),
        (
            vec!["SELECT 1", "--csv-separator", ";"],
            "--csv-separator is for CSV",
        ),
        (
            vec!["SELECT 1", "--output", "x.parquet", "--null", "-"],
            "--null is for tables, CSV and workbooks",
        ),
        (
            vec!["SELECT 1", "--csv-separator", "a"],
            "write one character",
        ),
        (vec!["-f", &missing], "missing.sql"),
        (vec!["SELECT 1", "-f", &two], "cannot be used with"),
        (vec![" "], "there is no SQL to run"),
    ] {
        let ran = project.run(&[&["sql"], &arguments[..]].concat()).await;
        assert!(
            ran.code == Some(2) || arguments == [" "],
            "{arguments:?}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
    let table = project
        .run(&[
            "sql",
            "SELECT CAST(NULL AS INT) AS a, NULL AS b",
            "--null",
            "(none)",
        ])
        .await;
    assert_eq!(
        table.stdout.matches("(none)").count(),
        2,
        "{}",
        table.stdout
    );
    let shown = project.json(&["sql", "SHOW COLUMNS FROM ops.runs"]).await;
    let tables: Vec<&str> = shown
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["table_schema"].as_str())
        .collect();
    assert!(
        !tables.is_empty() && tables.iter().all(|schema| *schema == "ops"),
        "{shown}"
    );
    let plate = project
        .json(&[
            "sql",
            "SELECT pseudonym('plate', :plate) = pseudonym('plate', 'kaxy1') AS same, left(pseudonym('email', 'a@b.c'), 6) AS mark",
            "--param",
            "plate=KA-XY 1",
        ])
        .await;
    assert_eq!(plate, json!([{"same": true, "mark": "hmac1:"}]));
    sandbox.stop().await;
}

/// A part of a workbook.
fn part(book: &Path, name: &str) -> String {
    let mut archive = zip::ZipArchive::new(File::open(book).unwrap()).unwrap();
    let mut text = String::new();
    let mut part = archive.by_name(name).unwrap();
    part.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_has_the_whole_result_or_stays_what_it_was() {
    let (sandbox, project) = small().await;
    let folder = tempfile::tempdir().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let book = folder.path().join("book.xlsx");
    let place = book.to_str().expect("a path in UTF-8");
    let command = |sql: &str| {
        let mut command = project.command(&["sql", sql, "--output", place]);
        command.env("TMPDIR", temporary.path());
        command
    };
    let rows = "SELECT value AS n, 'row ' || CAST(value AS VARCHAR) AS text, NULL AS nothing FROM generate_series(1, 20000) ORDER BY 1";
    let mut written = Vec::new();
    for _ in ["once", "again"] {
        let ran = run_to_end(command(rows)).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        written.push(fs::read(&book).unwrap());
    }
    assert!(written[0] == written[1], "the same rows are the same bytes");
    let sheet = part(&book, "xl/worksheets/sheet1.xml");
    for has in [
        "<t>n</t>",
        "<v>20000</v>",
        "<t>row 20000</t>",
        "state=\"frozen\"",
        "<autoFilter ref=\"A1:C20001\"/>",
    ] {
        assert!(sheet.contains(has), "{has}");
    }
    assert!(!sheet.contains("r=\"C2\""), "null is an empty cell");

    for (sql, said) in [
        ("SELECT repeat('x', 32768) AS long", "32,767 characters"),
        (
            "SELECT value FROM generate_series(1, 1048576)",
            "1,048,575 rows",
        ),
        ("SELECT 1 / (value - 90000) FROM range(0, 100000)", "zero"),
    ] {
        let ran = run_to_end(command(sql)).await;
        assert_eq!(ran.code, Some(1), "{sql}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{sql}: {}", ran.stderr);
    }
    let stats = [
        "stats",
        "--from",
        "2026-01-01",
        "--to",
        "2026-01-03",
        "--output",
        place,
    ];
    let ran = project.run(&stats).await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("no workbook"), "{}", ran.stderr);
    let mut nowhere = command(rows);
    nowhere.env("TMPDIR", temporary.path().join("nowhere"));
    let ran = run_to_end(nowhere).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("TMPDIR"), "{}", ran.stderr);

    // The temporary file takes no more than 32 KiB.
    let ran = run_to_end(program::limited(&command(rows), 64)).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let said = ["folder for temporary files", "File too large", "ulimit -f"];
    assert!(
        said.iter().all(|said| ran.stderr.contains(said)),
        "{}",
        ran.stderr
    );
    assert!(fs::read(&book).unwrap() == written[0], "it is what it was");
    for (folder, files) in [(&folder, 1), (&temporary, 0)] {
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), files);
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reads_the_values_of_a_workbook_and_their_types() {
    let (sandbox, project) = small().await;
    let book = project.path().join("book.xlsx");
    let place = book.to_str().expect("a path in UTF-8");
    let sql = "SELECT CAST(12.5 AS DECIMAL(18, 4)) AS amount, CAST(123456789012345.6789 AS DECIMAL(19, 4)) AS large, 7 AS n, CAST(0.1 AS DOUBLE) AS ratio, \
               DATE '2026-02-01' AS on_day, TIMESTAMP '2026-02-01 12:00:00.250' AS clock, TIMESTAMPTZ '2026-01-02 03:04:05Z' AS at, \
               '=1+1' AS text, true AS yes, [1, 2] AS list, CAST(NULL AS INT) AS nothing";
    for (null, shown) in [(None, json!(["n", null])), (Some("-"), json!(["s", "-"]))] {
        let mut arguments = vec!["sql", sql, "--output", place];
        arguments.extend(null.into_iter().flat_map(|null| ["--null", null]));
        let ran = project.run(&arguments).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let read = python::json("read_workbook.py", [place]).await;
        let values = json!([
            ["n", "12.5"],
            ["s", "123456789012345.6789"],
            ["n", "7"],
            ["n", "0.1"],
            ["d", "2026-02-01T00:00:00"],
            ["d", "2026-02-01T12:00:00.250000"],
            ["s", "2026-01-02T03:04:05Z"],
            ["s", "=1+1"],
            ["b", "True"],
            ["s", "[1, 2]"],
            shown
        ]);
        let names = [
            "amount", "large", "n", "ratio", "on_day", "clock", "at", "text", "yes", "list",
            "nothing",
        ];
        let formats = json!([
            "0.00##",
            "0.00##",
            "0",
            "General",
            "yyyy-mm-dd",
            "yyyy-mm-dd hh:mm:ss.000",
            "General",
            "General",
            "General",
            "General"
        ]);
        assert_eq!(read["names"], json!(names));
        assert_eq!(read["rows"], json!([values]));
        let read_formats = read["formats"].as_array().unwrap();
        assert_eq!(json!(read_formats[..10]), formats);
        let look = json!({"frozen": "A2", "filter": "A1:K2", "bold": true});
        assert_eq!(read["look"], look);
    }
    sandbox.stop().await;
}

/// The suite beside PostgreSQL rounds to ten digits and counts a day as 24 hours: here both stand as they are.
#[tokio::test(flavor = "multi_thread")]
async fn quotients_keep_ten_digits_more_and_spans_their_days() {
    let (sandbox, project) = small().await;
    for (sql, answer) in [
        (
            "SELECT avg(x) FROM (VALUES (1.00), (2.00), (2.00)) AS v(x)",
            "1.666666666667",
        ),
        (
            "SELECT median(x) FROM (VALUES (1.01), (2.00)) AS v(x)",
            "1.505000000000",
        ),
        ("SELECT 2.00 / 3", "0.666666666667"),
        ("SELECT INTERVAL '1 day 1 hour'", "1 day 01:00:00"),
        ("SELECT INTERVAL '25 hours'", "25:00:00"),
        ("SELECT INTERVAL '1 month 40 days'", "1 mon 40 days"),
        (
            "SELECT TIMESTAMP '2026-01-03 01:00:00' - TIMESTAMP '2026-01-01 00:00:00'",
            "2 days 01:00:00",
        ),
    ] {
        let ran = project.run(&["--format", "csv", "sql", sql]).await;
        let last = ran.stdout.lines().last();
        assert_eq!(last, Some(answer), "{sql}: {}", ran.stderr);
    }
    sandbox.stop().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_shell_opened_goes_on_where_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::write(&log, "before\n").unwrap();
    let (sandbox, project) = small().await;
    for path in ["/dev/stdout", "/dev/fd/1"] {
        let opened = File::options().append(true).open(&log).unwrap();
        let mut command =
            project.command(&["--format", "csv", "sql", "SELECT 1 AS a", "--output", path]);
        let ended = command.stdout(opened).status().await.unwrap();
        assert!(ended.success(), "{path}");
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "before\na\n1\na\n1\n");
    // Without a format it is standard output as ever.
    let plain = project.run(&["sql", "SELECT 1 AS a"]).await;
    for path in ["/dev/stdout", "-"] {
        let arguments = ["sql", "SELECT 1 AS a", "--output", path];
        let named = project.run(&arguments).await;
        assert_eq!(named.code, Some(0), "{}", named.stderr);
        assert_eq!(named.stdout, plain.stdout, "{path}");
    }
    for asked in [
        &["--format", "json", "sql", "SELECT 1 AS a"][..],
        &["stats", "--from", "2026-01-01", "--to", "2026-02-01"],
    ] {
        let plain = project.run(asked).await;
        let named = project.run(&[asked, &["--output", "-"]].concat()).await;
        assert_eq!(
            (named.code, named.stdout),
            (plain.code, plain.stdout),
            "{}",
            named.stderr
        );
    }
    assert!(!project.path().join("-").exists());
    sandbox.stop().await;
}
