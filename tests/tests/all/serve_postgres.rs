//! `tillhouse serve --postgres` from end to end: what is answered, refused, cancelled, and of which run.
//!
//! Invariant: messages are read as they came, so that no driver mends what is wrong with them; psycopg reads the same as a stranger would.

use crate::postgres_client::{
    Body, PostgresClient, bind, columns, describe, error, execute, kinds, parse, rows, sync, tags,
    texts,
};
use crate::project::TestProject;
use crate::serve::synced;
use crate::served::{COUNTED, ENDLESS, NOTHING_PASSES, RunningServer};
use crate::{python, source_files};
use tillhouse_query::split_statements;

pub(crate) const SETTINGS: &str = "  postgres: 127.0.0.1:0";

/// The address for PostgreSQL's protocol.
pub(crate) fn address(server: &RunningServer) -> String {
    server
        .postgres
        .clone()
        .expect("it listens for the protocol")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_answered_in_exact_types() {
    let (sandbox, project) = synced(200).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut client = PostgresClient::connect(&address(&server)).await;
    for (name, value) in [
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("integer_datetimes", "on"),
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, MDY"),
        ("default_transaction_read_only", "on"),
        ("is_superuser", "off"),
        ("session_authorization", "ada"),
        ("application_name", "tests"),
    ] {
        assert_eq!(
            client.told.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    let sql = "SELECT CAST('12345678901234567890.123456789012345678' AS DECIMAL(38,18)) AS n, \
         CAST(7 AS SMALLINT) AS s, CAST(7 AS BIGINT) AS b, CAST(0.5 AS DOUBLE) AS f, true AS t, 'it''s' AS x, \
         DATE '2026-01-01' AS d, TIMESTAMP '2026-01-01 10:00:00.5' AS l, \
         TIMESTAMPTZ '2026-01-01T10:00:00+02:00' AS i, ARRAY['a', 'b c'] AS a, CAST(NULL AS VARCHAR) AS z";
    let messages = client.query(sql).await;
    assert_eq!(kinds(&messages), "TDCZ", "{messages:?}");
    let types: Vec<u32> = columns(&messages).iter().map(|column| column.1).collect();
    assert_eq!(
        types,
        [1700, 21, 20, 701, 16, 25, 1082, 1114, 1184, 1009, 25]
    );
    assert_eq!(columns(&messages)[0].2, (38 << 16) + 18 + 4);
    assert_eq!(
        texts(&messages),
        [[
            "12345678901234567890.123456789012345678",
            "7",
            "7",
            "0.5",
            "t",
            "it's",
            "2026-01-01",
            "2026-01-01 10:00:00.5",
            "2026-01-01 08:00:00+00",
            "{a,\"b c\"}",
            "NULL",
        ]]
    );
    assert_eq!(tags(&messages), ["SELECT 1"]);
    // What the command line says.
    let sql = "SELECT currency, CAST(sum(amount) AS VARCHAR) AS amount, CAST(count(*) AS VARCHAR) AS n FROM counted GROUP BY 1 ORDER BY 1";
    let expected = project.sql(sql).await;
    let answered = client.texts(sql).await;
    assert_eq!(answered.len(), expected.len());
    for (row, expected) in answered.iter().zip(&expected) {
        let expected = ["currency", "amount", "n"].map(|name| expected[name].as_str().unwrap());
        assert_eq!(row, &expected);
    }
    // What is nested is JSON.
    let nested = client
        .texts("SELECT named_struct('a', 1, 'b', ARRAY[1, 2]) AS n")
        .await;
    assert_eq!(nested, [[r#"{"a": 1, "b": [1, 2]}"#]]);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_as_postgresql_tells_it() {
    let (sandbox, project) = synced(100).await;
    let settings = format!("{SETTINGS}\n  audit: audit.jsonl\n  rows: 5");
    let server = RunningServer::start(&project, &settings).await;
    let mut client = PostgresClient::connect(&address(&server)).await;
    for (sql, code) in [
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT nothing FROM sales", "42703"),
        ("SELECT 'nope'::regclass", "42P01"),
        ("SELECT CAST('hecone.nope' AS pg_catalog.regclass)", "42P01"),
        ("SELECT pg_relation_size('nope')", "42P01"),
        (
            "SELECT 'upper'::pg_catalog.regproc::pg_catalog.oid",
            "42883",
        ),
        ("DELETE FROM sales", "25006"),
        ("INSERT INTO sales VALUES (1)", "25006"),
        ("CREATE TABLE t (a INT)", "25006"),
        ("SELECT * INTO t FROM sales", "25006"),
        (
            "WITH d AS (DELETE FROM sales RETURNING *) SELECT * FROM d",
            "25006",
        ),
        ("CHECKPOINT", "25006"),
        ("COPY sales FROM STDIN", "25006"),
        ("COPY sales TO '/tmp/x'", "42501"),
        ("SET ROLE admin", "42501"),
        ("SET search_path = hecone", "0A000"),
        ("SET SCHEMA 'latest'", "0A000"),
        ("SHOW no_such_setting", "42704"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT * FROM generate_series(1, 6)", "54000"),
        ("FETCH 1 FROM nothing", "34000"),
        ("DEALLOCATE nothing", "26000"),
        ("SAVEPOINT a", "25P01"),
    ] {
        let messages = client.query(sql).await;
        let error = error(&messages);
        assert_eq!(error[&'C'], code, "{sql}: {error:?}");
        assert_eq!(error[&'S'], "ERROR");
        assert_eq!(messages.last().unwrap().body, b"I", "{sql}");
    }
    // Tables and the catalog are not read together: one of them would have no rows.
    for sql in [
        "SELECT * FROM sales, pg_catalog.pg_class",
        "SELECT count(*) FROM sales WHERE currency IN (SELECT relname FROM pg_class)",
    ] {
        let told = error(&client.query(sql).await);
        assert_eq!(told[&'C'], "0A000", "{told:?}");
        assert!(told[&'M'].contains("the catalog or tables"), "{told:?}");
    }
    let failed = error(
        &client
            .query("SELECT 1;\nSELECT nothing FROM sales; SELECT 2")
            .await,
    );
    let place: usize = failed[&'P'].parse().unwrap();
    assert_eq!(
        place,
        "SELECT 1;\nSELECT nothing".find("nothing").unwrap() + 1
    );
    // Statements of a text are answered one after the other, up to the first that fails.
    let messages = client
        .query("SELECT 1; SELECT 2; SELECT nothing; SELECT 3")
        .await;
    assert_eq!(kinds(&messages), "TDCTDCEZ");
    assert_eq!(kinds(&client.query(" ; ").await), "IZ");
    // A transaction that failed does nothing until it ends.
    client.query("BEGIN").await;
    let failed = client.query("SELECT nothing").await;
    assert_eq!(failed.last().unwrap().body, b"E");
    assert_eq!(error(&client.query("SELECT 1").await)[&'C'], "25P02");
    assert_eq!(tags(&client.query("COMMIT").await), ["ROLLBACK"]);
    assert_eq!(client.texts("SELECT 1").await, [["1"]]);
    drop(client);
    let log = std::fs::read_to_string(project.path().join("audit.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let line = lines
        .iter()
        .find(|line| line["asked"] == "sql SELECT 1 / 0")
        .unwrap();
    assert_eq!(
        (&line["endpoint"], &line["who"], &line["status"]),
        (&"postgres".into(), &"ada".into(), &400.into())
    );
    assert!(!log.contains("/tmp/x"), "no text of a statement is kept");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_prepared_and_rows_taken_in_pieces() {
    let (sandbox, project) = synced(100).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut client = PostgresClient::connect(&address(&server)).await;
    let sql = "SELECT amount AS a FROM transactions WHERE amount > $1 AND currency <> $2 ORDER BY 1 LIMIT 1";
    client
        .send(&[parse("s", sql, &[0, 25]), describe(b'S', "s"), sync()].concat())
        .await;
    let messages = client.until_ready().await;
    assert_eq!(kinds(&messages), "1tTZ", "{messages:?}");
    // The place says that the first is a decimal, and its sender that the second is a text.
    assert_eq!(messages[1].body, [0, 2, 0, 0, 6, 164, 0, 0, 0, 25]);
    // A column that is made of a parameter has the type that its sender named, also for a whole decimal and for none.
    let sql = "SELECT $1 AS n, $2 AS d, $3 AS t";
    let described = [
        parse("typed", sql, &[20, 1700, 1184]),
        describe(b'S', "typed"),
        bind("", "typed", (0, &[Some(b"7"), Some(b"8"), None]), 0),
        execute("", 0),
        sync(),
    ];
    client.send(&described.concat()).await;
    let messages = client.until_ready().await;
    assert_eq!(kinds(&messages), "1tT2DCZ", "{messages:?}");
    let types: Vec<u32> = columns(&messages).iter().map(|column| column.1).collect();
    assert_eq!(types, [20, 1700, 1184]);
    assert_eq!(texts(&messages), [["7", "8", "NULL"]]);
    let seven = 7_i64.to_be_bytes();
    let asked = [
        parse(
            "",
            "SELECT $1 + 1 AS n, CAST('-0.05' AS DECIMAL(9,2)) AS d",
            &[20],
        ),
        bind("", "", (1, &[Some(&seven)]), 1),
        describe(b'P', ""),
        execute("", 0),
        sync(),
    ];
    client.send(&asked.concat()).await;
    let messages = client.until_ready().await;
    assert_eq!(kinds(&messages), "12TDCZ", "{messages:?}");
    let formats: Vec<u16> = columns(&messages).iter().map(|column| column.3).collect();
    assert_eq!(formats, [1, 1]);
    let expected = [
        8_i64.to_be_bytes().to_vec(),
        vec![0, 1, 255, 255, 64, 0, 0, 2, 1, 244],
    ];
    assert_eq!(rows(&messages), [expected.map(Some)]);
    // A text that looks like a number stays a text, and no value is none.
    let asked = [
        parse(
            "",
            "SELECT $1 AS a, $2 IS NULL AS b, $3 = ANY($4) AS c",
            &[25, 25, 25, 1009],
        ),
        bind(
            "",
            "",
            (0, &[Some(b"007"), None, Some(b"x"), Some(b"{x,y}")]),
            0,
        ),
        execute("", 0),
        sync(),
    ];
    client.send(&asked.concat()).await;
    let messages = client.until_ready().await;
    assert_eq!(texts(&messages), [["007", "t", "t"]], "{messages:?}");
    // Casts, limits and what stands beside say the types.
    let sql = "SELECT $1::int AS a, $2::bigint[] AS b, coalesce($3, amount) AS c FROM transactions \
         WHERE currency = ANY($4) LIMIT $5";
    let asked = [parse("placed", sql, &[]), describe(b'S', "placed"), sync()];
    client.send(&asked.concat()).await;
    let messages = client.until_ready().await;
    assert_eq!(kinds(&messages), "1tTZ", "{messages:?}");
    let types = messages[1].body[2..].chunks(4);
    let types: Vec<u32> = types
        .map(|of| u32::from_be_bytes(of.try_into().unwrap()))
        .collect();
    assert_eq!(types, [23, 1016, 1700, 1009, 20]);
    // Also where nobody has asked for them, a list is one.
    for (list, is_any) in [("{EUR,CHF,\"a b\"}", "t"), ("{}", "f"), ("{NULL,x}", "f")] {
        let sql = "SELECT count(*) > 0 FROM transactions WHERE currency = ANY($1)";
        let asked = [
            parse("", sql, &[]),
            bind("", "", (0, &[Some(list.as_bytes())]), 0),
            execute("", 0),
            sync(),
        ];
        client.send(&asked.concat()).await;
        assert_eq!(texts(&client.until_ready().await), [[is_any]], "{list}");
    }
    // Rows in pieces.
    let pieces = "SELECT value FROM generate_series(1, 5) ORDER BY 1";
    client.query("BEGIN").await;
    let asked = [
        parse("", pieces, &[]),
        bind("p", "", (0, &[]), 0),
        execute("p", 2),
        execute("p", 2),
        execute("p", 2),
        execute("p", 2),
        sync(),
    ];
    client.send(&asked.concat()).await;
    let messages = client.until_ready().await;
    assert_eq!(kinds(&messages), "12DDsDDsDCCZ", "{messages:?}");
    client.query("COMMIT").await;
    // A failure is told before Sync, which a client that sends ahead keeps until it has heard of it.
    let asked = [
        parse("", "SELECT nothing", &[]),
        bind("", "", (0, &[]), 0),
        execute("", 0),
        Body::new().message(b'H'),
    ];
    client.send(&asked.concat()).await;
    let mut heard = String::new();
    while !heard.ends_with('E') {
        heard.push(client.message().await.expect("it is told").kind);
    }
    assert_eq!(heard, "12E");
    client.send(&sync()).await;
    assert_eq!(kinds(&client.until_ready().await), "Z");
    // After a failure nothing is done up to Sync.
    let asked = [
        parse("", "SELECT nothing", &[]),
        bind("", "", (0, &[]), 0),
        execute("", 0),
        parse("t", "SELECT 1", &[]),
        sync(),
    ];
    client.send(&asked.concat()).await;
    let messages = client.until_ready().await;
    assert_eq!(kinds(&messages), "12EZ", "{messages:?}");
    client
        .send(&[bind("", "t", (0, &[]), 0), sync()].concat())
        .await;
    assert_eq!(error(&client.until_ready().await)[&'C'], "26000");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_and_copies_are_read_to_their_end() {
    let (sandbox, project) = synced(100).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut client = PostgresClient::connect(&address(&server)).await;
    let declare = "DECLARE c CURSOR FOR SELECT value FROM generate_series(1, 5) ORDER BY 1";
    assert_eq!(error(&client.query(declare).await)[&'C'], "25P01");
    client.query("BEGIN").await;
    assert_eq!(tags(&client.query(declare).await), ["DECLARE CURSOR"]);
    assert_eq!(client.texts("FETCH 2 FROM c").await, [["1"], ["2"]]);
    assert_eq!(tags(&client.query("MOVE 1 IN c").await), ["MOVE 1"]);
    assert_eq!(client.texts("FETCH NEXT FROM c").await, [["4"]]);
    assert_eq!(tags(&client.query("FETCH ALL FROM c").await), ["FETCH 1"]);
    assert_eq!(tags(&client.query("FETCH ALL FROM c").await), ["FETCH 0"]);
    assert_eq!(
        tags(&client.query("CLOSE c; COMMIT").await),
        ["CLOSE CURSOR", "COMMIT"]
    );
    let messages = client
        .query("COPY (SELECT value, concat('a', chr(9), value) AS t FROM generate_series(1, 2) ORDER BY 1) TO STDOUT WITH (FORMAT csv, HEADER)")
        .await;
    assert_eq!(kinds(&messages), "HdddcCZ", "{messages:?}");
    let copied = messages.iter().filter(|message| message.kind == 'd');
    let copied: Vec<u8> = copied.flat_map(|message| message.body.clone()).collect();
    assert_eq!(
        String::from_utf8(copied).unwrap(),
        "value,t\n1,a\t1\n2,a\t2\n"
    );
    assert_eq!(tags(&messages), ["COPY 2"]);
    // What the binary form begins with comes with its first row, as clients take it.
    for (query, form) in [
        ("SELECT 1 AS a WHERE false", "HdcCZ"),
        ("SELECT value FROM generate_series(1, 2)", "HdddcCZ"),
    ] {
        let sql = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
        let messages = client.query(&sql).await;
        assert_eq!(kinds(&messages), form, "{messages:?}");
        let first = &messages[1].body;
        assert!(first.starts_with(b"PGCOPY\n\xff\r\n\0") && first.len() > 19);
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_reads_one_run_from_beginning_to_end() {
    let (sandbox, project) = TestProject::synced(600, "2026-01-03").await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let run = server.get("/readyz").await.json()["run"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut within = PostgresClient::connect(&address(&server)).await;
    let mut outside = PostgresClient::connect(&address(&server)).await;
    let count = "SELECT count(*) FROM transactions";
    within.query("BEGIN").await;
    let before = outside.texts(count).await;
    project.sync(&["--to", "2026-01-09"]).await;
    server.until_run_after(&run).await;
    let after = outside.texts(count).await;
    assert_ne!(after, before);
    // It was begun before it asked anything, and after a failure it goes back to its run.
    assert_eq!(within.texts(count).await, before);
    within.query("SAVEPOINT a").await;
    let failed = within.query("SELECT nothing").await;
    assert_eq!(failed.last().unwrap().body, b"E");
    let back = within.query("ROLLBACK TO SAVEPOINT a").await;
    assert_eq!(tags(&back), ["ROLLBACK"]);
    assert_eq!(back.last().unwrap().body, b"T");
    assert_eq!(within.texts(count).await, before);
    let chained = within.query("COMMIT AND CHAIN").await;
    assert_eq!(tags(&chained), ["COMMIT"]);
    assert_eq!(chained.last().unwrap().body, b"T");
    assert_eq!(within.texts(count).await, after);
    within.query("COMMIT").await;
    assert_eq!(within.texts(count).await, after);
    assert_eq!(
        error(&within.query("COMMIT AND CHAIN").await)[&'C'],
        "25P01"
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_when_its_client_wants_it_or_leaves() {
    let (sandbox, project) = synced(900).await;
    let settings = format!("{SETTINGS}\n  concurrency: 2");
    let server = RunningServer::start(&project, &settings).await;
    let address = address(&server);
    for endless in [ENDLESS, COUNTED, NOTHING_PASSES] {
        let asked = Body::new().text(endless).message(b'Q');
        let mut client = PostgresClient::connect(&address).await;
        let (number, secret) = client.key;
        client.send(&asked).await;
        server.until_metric("tillhouse_slots_taken", 1).await;
        let cancel = async |secret: i32| {
            let mut other = PostgresClient::silent(&address).await;
            let asked = Body::new().long(80_877_102).long(number).long(secret);
            other.send_first(asked).await;
            assert!(other.until_closed().await.is_empty());
        };
        cancel(secret.wrapping_add(1)).await;
        assert_eq!(server.metric("tillhouse_slots_taken").await, 1);
        cancel(secret).await;
        let failed = client.until_ready().await;
        assert_eq!(error(&failed)[&'C'], "57014", "{endless}");
        // The query ends, and not only the wait for it.
        server.until_metric("tillhouse_slots_taken", 0).await;
        assert_eq!(client.texts("SELECT 1").await, [["1"]]);
        client.query("SET statement_timeout = '100ms'").await;
        let failed = client.query(endless).await;
        assert_eq!(error(&failed)[&'C'], "57014", "{endless}");
        server.until_metric("tillhouse_slots_taken", 0).await;
        client.query("RESET ALL").await;
        client.send(&asked).await;
        server.until_metric("tillhouse_slots_taken", 1).await;
        drop(client);
        server.until_metric("tillhouse_slots_taken", 0).await;
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_end_their_connection_alone() {
    let (sandbox, project) = synced(100).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let address = address(&server);
    let mut witness = PostgresClient::connect(&address).await;
    // Before anybody has come in.
    for first in [
        Body::new().long(2 << 16),
        Body::new().long(3 << 16).text(""),
        Body::new().long(3 << 16).bytes(b"user"),
        Body::new()
            .long(3 << 16)
            .text("user")
            .text("ada")
            .text("replication")
            .text("true")
            .text(""),
        Body::new()
            .long(3 << 16)
            .text("user")
            .text("ada")
            .text("options")
            .text("-csearch_path=hecone")
            .text(""),
        Body::new(),
    ] {
        let mut client = PostgresClient::silent(&address).await;
        client.send_first(first).await;
        let messages = client.until_closed().await;
        assert_eq!(error(&messages)[&'S'], "FATAL", "{messages:?}");
    }
    let mut client = PostgresClient::silent(&address).await;
    client.send(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(error(&client.until_closed().await)[&'C'], "08P01");
    let mut client = PostgresClient::silent(&address).await;
    for _ in 0..2 {
        client.send_first(Body::new().long(80_877_103)).await;
        assert_eq!(client.byte().await, b'N');
    }
    // Afterwards.
    for message in [
        vec![b'Q', 0, 0, 0, 3],
        vec![b'Q', 255, 255, 255, 255],
        vec![b'?', 0, 0, 0, 4],
        Body::new().bytes(b"SELECT 1").message(b'Q'),
        Body::new().bytes(&[255, 0]).message(b'Q'),
        Body::new().text("").text("").short(9).message(b'B'),
        Body::new()
            .text("")
            .text("SELECT 1")
            .short(60_000)
            .message(b'P'),
        Body::new().message(b'E'),
    ] {
        let mut client = PostgresClient::connect(&address).await;
        client.send(&message).await;
        let messages = client.until_closed().await;
        assert_eq!(error(&messages)[&'C'], "08P01", "{message:?}");
    }
    assert_eq!(witness.texts("SELECT 1").await, [["1"]]);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tools_ask_first_is_answered() {
    let (sandbox, project) = synced(100).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut client = PostgresClient::connect(&address(&server)).await;
    let path = source_files::root().join("tests/fixtures/postgres/first_questions.sql");
    let mut refused = Vec::new();
    for sql in split_statements(&source_files::text(&path)) {
        let messages = client.query(&sql).await;
        if let Some(error) = messages.iter().find(|message| message.kind == 'E') {
            refused.push(format!("{sql}\n{:?}", error.fields()));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n\n"));
    let version = client.texts("SELECT version()").await;
    assert!(version[0][0].starts_with("PostgreSQL 16.0 "), "{version:?}");
    assert_eq!(
        client.texts("SELECT current_schema(), current_user").await,
        [["unified", "ada"]]
    );
    // Within any query, and by the names that PostgreSQL gives such columns.
    let asked = "SELECT count(*) > 0, current_schema(), current_user, session_user, current_database() FROM transactions";
    let messages = client.query(asked).await;
    assert_eq!(
        texts(&messages),
        [["t", "unified", "ada", "ada", "tillhouse"]]
    );
    let asked = "SELECT current_user, session_user, current_setting('timezone'), pg_backend_pid()";
    let messages = client.query(asked).await;
    let names: Vec<String> = columns(&messages).into_iter().map(|of| of.0).collect();
    assert_eq!(
        names,
        [
            "current_user",
            "session_user",
            "current_setting",
            "pg_backend_pid"
        ]
    );
    let number = client.key.0.to_string();
    assert_eq!(texts(&messages), [["ada", "ada", "UTC", number.as_str()]]);
    assert_eq!(
        client.texts("SELECT 1::float4 / 2, 1::float8 / 2").await,
        [["0.5", "0.5"]]
    );
    // Without a schema the tables of one are read, and these alone are listed.
    let visible = "SELECT DISTINCT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname !~ '^pg_' AND pg_catalog.pg_table_is_visible(c.oid)";
    assert_eq!(client.texts(visible).await, [["unified"]]);
    let number = "SELECT c.oid = 'transactions'::regclass FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
         ON n.oid = c.relnamespace WHERE n.nspname = 'unified' AND c.relname = 'transactions'";
    assert_eq!(client.texts(number).await, [["t"]]);
    let numbers = "SELECT c.oid = to_regclass('unified.transactions'), c.oid = to_regclass('transactions'), n.oid = to_regnamespace('unified'), \
         to_regclass('nothing') IS NULL, to_regnamespace('nothing') IS NULL \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'unified' AND c.relname = 'transactions'";
    assert_eq!(client.texts(numbers).await, [["t", "t", "t", "t", "t"]]);
    let sizes = "SELECT pg_total_relation_size('transactions') > 0, pg_table_size('counted'), pg_size_pretty(20480)";
    assert_eq!(client.texts(sizes).await, [["t", "NULL", "20 kB"]]);
    // Rows beside those of constraints and indexes, of which there are none.
    let table = "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'unified' AND c.relname = 'transactions'";
    let both = format!(
        "{table} UNION ALL SELECT a.attname FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
    );
    assert_eq!(client.texts(&both).await, [["transactions"]]);
    let outer = "SELECT c.relname, i.indkey[0] IS NULL FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid WHERE n.nspname = 'unified' AND c.relname = 'transactions'";
    assert_eq!(client.texts(outer).await, [["transactions", "t"]]);
    for (sql, rows) in [
        ("SELECT count(*) FROM pg_catalog.pg_index", "0"),
        ("SELECT count(*) FROM pg_constraint", "0"),
        (
            "SELECT count(*) FROM pg_class c WHERE c.oid = 'pg_class'::regclass",
            "1",
        ),
        (
            "SELECT (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'amount') FROM pg_class c \
             WHERE c.oid = 'transactions'::regclass",
            "1",
        ),
    ] {
        assert_eq!(client.texts(sql).await, [[rows]], "{sql}");
    }
    // Words of questions about the catalog, in a query of sales.
    let sales = "SELECT current_user, 'indkey[' AS x FROM unified.transactions LIMIT 1";
    assert_eq!(client.texts(sales).await, [["ada", "indkey["]]);
    let counted =
        "SELECT current_user, (SELECT json_build_object('n', count(*)) FROM transactions)";
    let refused = error(&client.query(counted).await);
    assert!(refused[&'M'].contains("json_build_object"), "{refused:?}");
    let databases = "SELECT datname FROM pg_catalog.pg_database";
    assert_eq!(client.texts(databases).await, [["tillhouse"]]);
    let owners = "SELECT DISTINCT tableowner FROM pg_catalog.pg_tables";
    assert_eq!(client.texts(owners).await, [["tillhouse"]]);
    let roles = "SELECT rolname FROM pg_catalog.pg_roles ORDER BY 1";
    assert_eq!(client.texts(roles).await, [["ada"], ["tillhouse"]]);
    // Nothing here can be changed by anybody.
    let allowed = "SELECT has_table_privilege('unified.transactions', 'SELECT'), \
         has_table_privilege('unified.transactions', 'INSERT')";
    assert_eq!(client.texts(allowed).await, [["t", "f"]]);
    // \dt and \d+: tables, columns with their types, and what the contracts say of them.
    let tables = "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
         ON n.oid = c.relnamespace WHERE n.nspname = 'unified' AND c.relkind IN ('r', 'v') ORDER BY 1";
    let tables = client.texts(tables).await;
    assert!(
        tables.contains(&vec!["transactions".to_owned()]),
        "{tables:?}"
    );
    let described = "SELECT format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum) FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'unified' AND c.relname = 'transactions' AND a.attname = 'amount'";
    let described = client.texts(described).await;
    assert_eq!(described.len(), 1);
    assert!(
        !matches!(described[0][1].as_str(), "" | "NULL"),
        "{described:?}"
    );
    // What drivers take a limit, pages and options from.
    let limit = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_index_keys'";
    assert_eq!(client.texts(limit).await, [["32"]]);
    let pages = "SELECT DISTINCT relpages, reloptions IS NULL FROM pg_catalog.pg_class";
    assert_eq!(client.texts(pages).await, [["0", "t"]]);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_about_the_catalog_are_bounded_as_queries_are() {
    let (sandbox, project) = synced(100).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut client = PostgresClient::connect(&address(&server)).await;
    // Each of these ends a process that plans it.
    let long = format!("SELECT current_user, 1{}", " + 1".repeat(200_000));
    let deep = format!("SELECT current_user, 1{}", " + 1".repeat(4_000));
    let mut doubled = "WITH a0 AS (SELECT oid FROM pg_catalog.pg_class)".to_owned();
    for level in 1..=30 {
        let below = level - 1;
        doubled.push_str(&format!(
            ", a{level} AS (SELECT x.oid FROM a{below} x, a{below} y)"
        ));
    }
    doubled.push_str(" SELECT count(*) FROM a30");
    for sql in [long, deep, doubled] {
        let failed = error(&client.query(&sql).await);
        assert!(!failed[&'C'].starts_with("XX"), "{failed:?}");
        assert_eq!(client.texts("SELECT current_user").await, [["ada"]]);
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_holds_no_more_than_it_may() {
    let (sandbox, project) = synced(100).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut client = PostgresClient::connect(&address(&server)).await;
    // Short texts that name types of 65,535 parameters, a quarter of a megabyte each.
    let types = vec![25_u32; usize::from(u16::MAX)];
    let mut kept = 0;
    let refused = loop {
        let asked = [parse(&format!("s{kept}"), "SELECT 1", &types), sync()];
        client.send(&asked.concat()).await;
        let messages = client.until_ready().await;
        if kinds(&messages) != "1Z" {
            break messages;
        }
        kept += 1;
        assert!(kept < 64, "there is no end");
    };
    assert_eq!(error(&refused)[&'C'], "54000");
    client.query("DEALLOCATE ALL").await;
    // Cursors, each of which holds rows.
    client.query("BEGIN").await;
    let declare =
        |number: usize| format!("DECLARE c{number} CURSOR FOR SELECT * FROM generate_series(1, 9)");
    for number in 0..16 {
        assert_eq!(
            tags(&client.query(&declare(number)).await),
            ["DECLARE CURSOR"]
        );
    }
    assert_eq!(error(&client.query(&declare(16)).await)[&'C'], "54000");
    client.query("ROLLBACK").await;
    // More columns than a message can count.
    let columns: Vec<String> = (0..2_000).map(|at| format!("1 AS c{at}")).collect();
    let wide = format!("SELECT {}", columns.join(", "));
    assert_eq!(error(&client.query(&wide).await)[&'C'], "54011");
    client
        .send(&[parse("", &wide, &[]), describe(b'S', ""), sync()].concat())
        .await;
    assert_eq!(error(&client.until_ready().await)[&'C'], "54011");
    // As many statements as a text has room for are answered while they are done.
    let many = client.query(&"SHOW ALL;".repeat(2_000)).await;
    assert_eq!(tags(&many).len(), 2_000);
    assert_eq!(client.texts("SELECT 1").await, [["1"]]);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_lets_a_statement_end() {
    let (sandbox, project) = synced(100).await;
    let mut server = RunningServer::start(&project, SETTINGS).await;
    let mut idle = PostgresClient::connect(&address(&server)).await;
    server.terminate().await;
    let messages = idle.until_closed().await;
    assert_eq!(error(&messages)[&'C'], "57P01");
    assert!(server.ended().await.success());
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_reads_what_it_is_sent() {
    let (sandbox, project) = synced(300).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let read = python::json("read_postgres.py", [address(&server)]).await;
    assert_eq!(read["wrong"], serde_json::json!([]), "{read}");
    let expected = project
        .count("SELECT count(*) AS n FROM transactions")
        .await;
    for way in ["rows", "copied", "fetched"] {
        assert_eq!(read[way].to_string(), expected.to_string(), "{way}");
    }
    sandbox.stop().await;
}
