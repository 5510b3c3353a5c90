//! `tillhouse serve --flight` from end to end: what is answered, refused, cancelled, of which run, and for whom.
//!
//! Invariant: it is asked by arrow-flight's own client, and by ADBC's driver as a stranger would; messages are counted as they came.

use crate::project::TestProject;
use crate::serve::synced;
use crate::serve_users::{PASSWORD, add, tenants};
use crate::served::{ENDLESS, RunningServer, set};
use crate::{python, source_files};
use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimeUnit, TimestampNanosecondType};
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo,
    EndTransaction, SqlInfo,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo, Ticket,
};
use futures::TryStreamExt;
use prost::Message;
use std::sync::Arc;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

const SETTINGS: &str = "  flight: 127.0.0.1:0";
/// Bytes of a message that every client of gRPC takes.
const MESSAGE: usize = 4 << 20;

type Client = FlightSqlServiceClient<Channel>;

/// A client that has said nothing yet.
async fn connect(server: &RunningServer) -> Client {
    let address = server.flight.as_deref().expect("it speaks Flight SQL");
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    FlightSqlServiceClient::new(endpoint.connect().await.unwrap())
}

/// A client of a user who has to come in.
async fn logged_in(server: &RunningServer, user: &str) -> Client {
    let mut client = connect(server).await;
    client.handshake(user, PASSWORD).await.unwrap();
    assert!(client.token().is_some());
    client
}

fn ticket(info: &FlightInfo) -> Ticket {
    let [endpoint] = info.endpoint.as_slice() else {
        panic!("one endpoint: {info:?}");
    };
    endpoint.ticket.clone().unwrap()
}

async fn fetch(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>, FlightError> {
    let told = info.clone().try_decode_schema().unwrap();
    let stream = client.do_get(ticket(&info)).await?;
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    for batch in &batches {
        assert_eq!(batch.schema().as_ref(), &told);
    }
    Ok(batches)
}

async fn ask(client: &mut Client, sql: &str) -> Result<Vec<RecordBatch>, FlightError> {
    let info = client.execute(sql.to_owned(), None).await?;
    fetch(client, info).await
}

/// Code and message of a refusal.
fn refusal<T>(outcome: Result<T, FlightError>) -> (Code, String) {
    match outcome {
        Err(FlightError::Tonic(status)) => (status.code(), status.message().to_owned()),
        Err(other) => panic!("no status: {other}"),
        Ok(_) => panic!("it is not refused"),
    }
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// The only value of an answer, a count.
async fn count(client: &mut Client, sql: &str) -> i64 {
    let batches = ask(client, sql).await.unwrap();
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// The texts of the first column of an answer.
async fn texts(client: &mut Client, sql: &str) -> Vec<String> {
    let batches = ask(client, sql).await.unwrap();
    let texts = batches.iter().flat_map(|batch| {
        let column = batch.column(0).as_string::<i32>().iter().flatten();
        column.map(str::to_owned).collect::<Vec<_>>()
    });
    texts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_answered_in_exact_columns() {
    let (sandbox, project) = synced(200).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut client = connect(&server).await;
    let sql = "SELECT CAST('12345678901234567890.123456789012345678' AS DECIMAL(38,18)) AS n, 'it''s' AS x, \
         TIMESTAMPTZ '2026-01-01T10:00:00+02:00' AS i, arrow_cast('a', 'Dictionary(Int32, Utf8)') AS w, \
         arrow_cast('b', 'Utf8View') AS v, ARRAY['a', 'b c'] AS a, CAST(NULL AS VARCHAR) AS z";
    let batches = ask(&mut client, sql).await.unwrap();
    let [batch] = batches.as_slice() else {
        panic!("one batch: {batches:?}");
    };
    let number = batch.column(0).as_primitive::<Decimal128Type>();
    assert_eq!(
        number.value_as_string(0),
        "12345678901234567890.123456789012345678"
    );
    let schema = batch.schema();
    let types: Vec<&DataType> = schema
        .fields()
        .iter()
        .map(|field| field.data_type())
        .collect();
    assert_eq!(types[1], &DataType::Utf8);
    assert!(
        matches!(types[2], DataType::Timestamp(_, Some(_))),
        "{types:?}"
    );
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()));
    let instant = arrow::compute::cast(batch.column(2), &nanoseconds).unwrap();
    let instant = instant.as_primitive::<TimestampNanosecondType>();
    assert_eq!(instant.value(0), 1_767_254_400_000_000_000);
    assert_eq!((types[3], types[4]), (&DataType::Utf8, &DataType::Utf8));
    assert_eq!(batch.column(5).as_list::<i32>().value(0).len(), 2);
    assert!(batch.column(6).is_null(0));
    // The command line says the same.
    let sql = "SELECT concat(currency, ' ', CAST(sum(amount) AS VARCHAR)) AS line FROM counted GROUP BY currency ORDER BY 1";
    let expected = project.sql(sql).await;
    let expected: Vec<&str> = expected
        .iter()
        .filter_map(|row| row["line"].as_str())
        .collect();
    assert_eq!(texts(&mut client, sql).await, expected);
    // A query without rows has its columns all the same.
    let nothing = ask(&mut client, "SELECT amount FROM transactions WHERE false").await;
    assert_eq!(rows(&nothing.unwrap()), 0);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_come_in_messages_that_every_client_takes() {
    let (sandbox, project) = synced(100).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut client = connect(&server).await;
    let sql = "SELECT value, repeat('x', 100) AS text FROM generate_series(1, 1000000)";
    let info = client.execute(sql.to_owned(), None).await.unwrap();
    let mut messages = client
        .inner_mut()
        .do_get(ticket(&info))
        .await
        .unwrap()
        .into_inner();
    let (mut count, mut bytes) = (0_usize, 0_usize);
    while let Some(message) = messages.message().await.unwrap() {
        assert!(message.encoded_len() < MESSAGE, "{}", message.encoded_len());
        count += 1;
        bytes += message.data_body.len();
    }
    assert!(count > 50 && bytes > 100_000_000, "{count} {bytes}");
    let info = client.execute(sql.to_owned(), None).await.unwrap();
    assert_eq!(rows(&fetch(&mut client, info).await.unwrap()), 1_000_000);
    // Rows of very different widths: a message of them is no larger.
    let uneven = "SELECT CASE WHEN value % 1000 = 0 THEN repeat('y', 1500000) ELSE 'z' END AS text FROM generate_series(1, 8000)";
    let info = client.execute(uneven.to_owned(), None).await.unwrap();
    assert_eq!(rows(&fetch(&mut client, info).await.unwrap()), 8_000);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_by_its_code() {
    let (sandbox, project) = synced(100).await;
    let settings = format!("{SETTINGS}\n  audit: audit.jsonl\n  rows: 5");
    let server = RunningServer::start(&project, &settings).await;
    let mut client = connect(&server).await;
    for (sql, code, said) in [
        ("SELECT * FROM nowhere", Code::InvalidArgument, "nowhere"),
        (
            "SELECT nothing FROM sales",
            Code::InvalidArgument,
            "nothing",
        ),
        ("DELETE FROM sales", Code::PermissionDenied, "only reads"),
        (
            "CREATE TABLE t (a INT)",
            Code::PermissionDenied,
            "only reads",
        ),
        ("SELECT 1 / 0", Code::InvalidArgument, "divided by zero"),
        (
            "SELECT * FROM generate_series(1, 6)",
            Code::InvalidArgument,
            "than the 5 rows",
        ),
        ("SELECT $1", Code::InvalidArgument, "1 parameters"),
    ] {
        let (found, message) = refusal(ask(&mut client, sql).await);
        assert_eq!(found, code, "{sql}: {message}");
        assert!(message.contains(said), "{sql}: {message}");
    }
    let update = client.execute_update("DELETE FROM sales".to_owned(), None);
    assert_eq!(refusal(update.await).0, Code::PermissionDenied);
    let made_up = FlightInfo::new()
        .with_endpoint(arrow_flight::FlightEndpoint::new().with_ticket(Ticket::new("made up")));
    assert_eq!(
        refusal(client.do_get(ticket(&made_up)).await).0,
        Code::InvalidArgument
    );
    // A ticket that was changed.
    let info = client.execute("SELECT 1".to_owned(), None).await.unwrap();
    let mut changed = ticket(&info).ticket.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let refused = client.do_get(Ticket::new(changed)).await;
    assert_eq!(refusal(refused).0, Code::InvalidArgument);
    let unknown = client.do_action(Action::new("CloseSession", "")).await;
    assert_eq!(refusal(unknown).0, Code::Unimplemented);
    let gone = client.execute("SELECT 1".to_owned(), Some("0123456789abcdef".into()));
    assert_eq!(refusal(gone.await).0, Code::NotFound);
    let answered = "tillhouse_http_requests_total{endpoint=\"flight\",status=\"403\"}";
    server.until_metric(answered, 3).await;
    let log = std::fs::read_to_string(project.path().join("audit.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<serde_json::Value> = lines.collect();
    let line = lines
        .iter()
        .find(|line| line["asked"] == "sql SELECT nothing FROM sales");
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert_eq!(
        (&line["endpoint"], &line["status"]),
        (&"flight".into(), &400.into())
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_prepared_and_asked_with_values() {
    let (sandbox, project) = synced(200).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut client = connect(&server).await;
    let sql = "SELECT count(*) AS n FROM transactions WHERE amount >= $1 AND currency <> $2";
    let mut prepared = client.prepare(sql.to_owned(), None).await.unwrap();
    let parameters = prepared.parameter_schema().unwrap().clone();
    let names: Vec<&String> = parameters
        .fields()
        .iter()
        .map(|field| field.name())
        .collect();
    assert_eq!(names, ["$1", "$2"]);
    assert!(
        parameters.field(0).data_type().is_decimal(),
        "{parameters:?}"
    );
    assert_eq!(prepared.dataset_schema().unwrap().field(0).name(), "n");
    assert_eq!(refusal(prepared.execute().await).0, Code::InvalidArgument);
    let least = |cents: i128| -> ArrayRef {
        let amounts = Decimal128Array::from(vec![cents]);
        Arc::new(amounts.with_precision_and_scale(9, 2).unwrap())
    };
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    for (cents, shown) in [(0, "0"), (1_050, "10.50")] {
        let row = RecordBatch::try_from_iter([("0", least(cents)), ("1", text("XTS"))]);
        prepared.set_parameters(row.unwrap()).unwrap();
        let info = prepared.execute().await.unwrap();
        let batches = fetch(&mut client, info).await.unwrap();
        let found = batches[0].column(0).as_primitive::<Int64Type>().value(0);
        let wanted = format!(
            "SELECT count(*) AS n FROM transactions WHERE amount >= {shown} AND currency <> 'XTS'"
        );
        assert_eq!(found, project.count(&wanted).await);
    }
    // A query has one row of values.
    let two: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let rows = RecordBatch::try_from_iter([("0", Arc::clone(&two)), ("1", two)]).unwrap();
    prepared.set_parameters(rows).unwrap();
    assert_eq!(refusal(prepared.execute().await).0, Code::InvalidArgument);
    // No value becomes a part of the query.
    let sql = "SELECT $1 AS a";
    let mut echo = client.prepare(sql.to_owned(), None).await.unwrap();
    let evil = "' UNION SELECT currency FROM transactions --";
    echo.set_parameters(RecordBatch::try_from_iter([("0", text(evil))]).unwrap())
        .unwrap();
    let info = echo.execute().await.unwrap();
    let batches = fetch(&mut client, info).await.unwrap();
    assert_eq!(batches[0].column(0).as_string::<i32>().value(0), evil);
    echo.close().await.unwrap();
    prepared.close().await.unwrap();
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_reads_one_run_and_a_ticket_too() {
    let (sandbox, project) = TestProject::synced(600, "2026-01-03").await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let run = server.get("/readyz").await.json()["run"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut client = connect(&server).await;
    let sql = "SELECT count(*) AS n FROM transactions";
    let before = count(&mut client, sql).await;
    let transaction = client.begin_transaction().await.unwrap();
    let told = client.execute(sql.to_owned(), None).await.unwrap();
    let prepared = client.prepare(sql.to_owned(), Some(transaction.clone()));
    let mut prepared = prepared.await.unwrap();
    project.sync(&["--to", "2026-01-09"]).await;
    server.until_run_after(&run).await;
    let after = count(&mut client, sql).await;
    assert_ne!(after, before);
    let within = client.execute(sql.to_owned(), Some(transaction.clone()));
    let within = within.await.unwrap();
    let of_prepared = prepared.execute().await.unwrap();
    for info in [within, told, of_prepared] {
        let batches = fetch(&mut client, info).await.unwrap();
        assert_eq!(
            batches[0].column(0).as_primitive::<Int64Type>().value(0),
            before
        );
    }
    let end = client.end_transaction(transaction.clone(), EndTransaction::Commit);
    end.await.unwrap();
    let ended = client.execute(sql.to_owned(), Some(transaction));
    assert_eq!(refusal(ended.await).0, Code::NotFound);
    let info = prepared.execute().await.unwrap();
    let batches = fetch(&mut client, info).await.unwrap();
    assert_eq!(
        batches[0].column(0).as_primitive::<Int64Type>().value(0),
        after
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_when_its_client_wants_it_or_leaves() {
    let (sandbox, project) = synced(900).await;
    let settings = format!("{SETTINGS}\n  concurrency: 1");
    let server = RunningServer::start(&project, &settings).await;
    let mut client = connect(&server).await;
    let cancel = async |client: &mut Client, info: &FlightInfo| {
        let request = CancelFlightInfoRequest::new(info.clone());
        let action = Action::new("CancelFlightInfo", request.encode_to_vec());
        let mut results = client.do_action(action).await.unwrap();
        let result = results.message().await.unwrap().unwrap();
        CancelFlightInfoResult::decode(result.body)
            .unwrap()
            .status()
    };
    let info = client.execute(ENDLESS.to_owned(), None).await.unwrap();
    // Nothing is being answered yet.
    assert_eq!(
        cancel(&mut client, &info).await,
        CancelStatus::NotCancellable
    );
    let mut other = connect(&server).await;
    let asked = ticket(&info);
    let running = tokio::spawn(async move {
        let mut stream = other.do_get(asked).await?;
        stream.try_next().await
    });
    server.until_metric("tillhouse_slots_taken", 1).await;
    assert_eq!(cancel(&mut client, &info).await, CancelStatus::Cancelled);
    assert_eq!(refusal(running.await.unwrap()).0, Code::Cancelled);
    server.until_metric("tillhouse_slots_taken", 0).await;
    // The same for a client that leaves.
    let mut other = connect(&server).await;
    let running = tokio::spawn(async move {
        let mut stream = other.do_get(ticket(&info)).await?;
        stream.try_next().await
    });
    server.until_metric("tillhouse_slots_taken", 1).await;
    running.abort();
    server.until_metric("tillhouse_slots_taken", 0).await;
    assert_eq!(
        count(&mut client, "SELECT count(*) FROM generate_series(1, 3)").await,
        3
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drivers_ask_first_is_answered() {
    let (sandbox, project) = synced(100).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut client = connect(&server).await;
    let info = client.get_catalogs().await.unwrap();
    let catalogs = fetch(&mut client, info).await.unwrap();
    assert_eq!(
        catalogs[0].column(0).as_string::<i32>().value(0),
        "tillhouse"
    );
    let schemas = CommandGetDbSchemas {
        catalog: None,
        db_schema_filter_pattern: Some("unif%".to_owned()),
    };
    let info = client.get_db_schemas(schemas).await.unwrap();
    let schemas = fetch(&mut client, info).await.unwrap();
    assert_eq!(schemas[0].column(1).as_string::<i32>().value(0), "unified");
    let tables = CommandGetTables {
        catalog: None,
        db_schema_filter_pattern: Some("unified".to_owned()),
        table_name_filter_pattern: Some("transactions".to_owned()),
        table_types: Vec::new(),
        include_schema: true,
    };
    let info = client.get_tables(tables).await.unwrap();
    let tables = fetch(&mut client, info).await.unwrap();
    assert_eq!(rows(&tables), 1);
    assert_eq!(
        tables[0].column(2).as_string::<i32>().value(0),
        "transactions"
    );
    let columns = tables[0].column(4).as_binary::<i32>().value(0).to_vec();
    let columns = arrow_flight::IpcMessage(columns.into());
    let columns: arrow::datatypes::Schema = columns.try_into().unwrap();
    let amount = columns.field_with_name("amount").unwrap();
    assert!(amount.data_type().is_decimal());
    assert!(
        amount.metadata().contains_key("ARROW:FLIGHT:SQL:REMARKS"),
        "{amount:?}"
    );
    let info = client.get_table_types().await.unwrap();
    assert_eq!(rows(&fetch(&mut client, info).await.unwrap()), 2);
    let keys = CommandGetPrimaryKeys {
        catalog: None,
        db_schema: None,
        table: "transactions".to_owned(),
    };
    let info = client.get_primary_keys(keys).await.unwrap();
    assert_eq!(rows(&fetch(&mut client, info).await.unwrap()), 0);
    let wanted = vec![
        SqlInfo::FlightSqlServerName,
        SqlInfo::FlightSqlServerReadOnly,
    ];
    let info = client.get_sql_info(wanted).await.unwrap();
    assert_eq!(rows(&fetch(&mut client, info).await.unwrap()), 2);
    let types = CommandGetXdbcTypeInfo { data_type: None };
    let info = client.get_xdbc_type_info(types).await.unwrap();
    assert!(rows(&fetch(&mut client, info).await.unwrap()) > 5);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_see_their_own_rows_over_flight() {
    let (sandbox, project) = synced(600).await;
    let ids = tenants(&project).await;
    let [north, .., south] = ids.as_slice() else {
        panic!("several tenants: {ids:?}");
    };
    add(&project, "north", &["--tenant", north]).await;
    add(&project, "south", &["--tenant", south]).await;
    add(&project, "all", &["--personal", "--sources"]).await;
    let settings = format!("{SETTINGS}\n  audit: audit.jsonl");
    let server = RunningServer::start(&project, &settings).await;
    let sql = "SELECT DISTINCT tenant_id FROM transactions";
    let mut given = Vec::new();
    for (user, own) in [("north", north), ("south", south)] {
        let mut client = logged_in(&server, user).await;
        assert_eq!(texts(&mut client, sql).await, std::slice::from_ref(own));
        let hidden = "SELECT license_plate FROM transactions";
        assert_eq!(
            refusal(ask(&mut client, hidden).await).0,
            Code::InvalidArgument
        );
        let info = client.get_tables(CommandGetTables {
            db_schema_filter_pattern: Some("hecone".to_owned()),
            ..CommandGetTables::default()
        });
        let info = info.await.unwrap();
        assert_eq!(rows(&fetch(&mut client, info).await.unwrap()), 0);
        given.push(client.execute(sql.to_owned(), None).await.unwrap());
    }
    // A ticket of one user is nothing for another, and nothing for nobody.
    let mut all = logged_in(&server, "all").await;
    assert_eq!(texts(&mut all, sql).await.len(), ids.len());
    let of_all = all.begin_transaction().await.unwrap();
    let mut south_client = logged_in(&server, "south").await;
    let refused = south_client.do_get(ticket(&given[0])).await;
    assert_eq!(refusal(refused).0, Code::PermissionDenied);
    let refused = south_client.execute(sql.to_owned(), Some(of_all)).await;
    assert_eq!(refusal(refused).0, Code::NotFound);
    let mut nobody = connect(&server).await;
    let refused = nobody.do_get(ticket(&given[0])).await;
    assert_eq!(refusal(refused).0, Code::Unauthenticated);
    assert_eq!(
        refusal(nobody.get_catalogs().await).0,
        Code::Unauthenticated
    );
    for (user, password) in [("north", "not the password"), ("stranger", PASSWORD)] {
        assert!(nobody.handshake(user, password).await.is_err());
    }
    // A token ends with its user.
    let removed = project.run(&["user", "remove", "all"]).await;
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    while all.get_catalogs().await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(refusal(all.get_catalogs().await).0, Code::Unauthenticated);
    let log = std::fs::read_to_string(project.path().join("audit.jsonl")).unwrap();
    let refused = log
        .lines()
        .filter(|line| line.contains("\"method\":\"LOGIN\""));
    let refused = refused
        .filter(|line| line.contains("\"status\":401"))
        .count();
    assert!(refused >= 4, "{log}");
    assert!(!log.contains("stranger"), "it may be a password");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_closes_what_is_idle() {
    let project = TestProject::bare().await;
    let mut server = RunningServer::start(&project, SETTINGS).await;
    let mut idle = connect(&server).await;
    // Nothing is published yet, and what the server can do is told all the same.
    idle.get_sql_info(Vec::new()).await.unwrap();
    let nothing = ask(&mut idle, "SELECT 1").await;
    assert_eq!(refusal(nothing).0, Code::Unavailable);
    server.terminate().await;
    assert!(server.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_reads_what_it_is_sent() {
    let (sandbox, project) = synced(300).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let uri = format!("grpc://{}", server.flight.as_deref().unwrap());
    let read = python::json("read_flight.py", [uri]).await;
    assert_eq!(read["wrong"], serde_json::json!([]), "{read}");
    let expected = project
        .count("SELECT count(*) AS n FROM transactions")
        .await;
    assert_eq!(read["rows"].to_string(), expected.to_string());
    assert_eq!(read["streamed"], 1_000_000);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_comes_in_with_a_password_over_tls() {
    let (sandbox, project) = synced(100).await;
    let fixture = |name: &str| {
        let path = format!("tests/fixtures/certificates/{name}.pem");
        source_files::root().join(path)
    };
    let settings = format!(
        "{SETTINGS}\n  tls: {{ certificate: '{}', key: '{}' }}",
        fixture("trusted").display(),
        fixture("server-key").display()
    );
    set(&project, &settings);
    let ports = ["--listen", "127.0.0.1:0", "--flight", "0.0.0.0:0"];
    let elsewhere = [&["serve", "--check"][..], &ports].concat();
    let refused = project.run(&elsewhere).await;
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    let said = "0.0.0.0:0 is reached from other machines";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    add(&project, "north", &[]).await;
    assert_eq!(project.json(&elsewhere).await["flight"], "0.0.0.0:0");
    let server = RunningServer::start(&project, &settings).await;
    let address = server.flight.clone().unwrap();
    let authority = fixture("authority").display().to_string();
    let uri = format!("grpc+tls://{address}");
    let arguments = |password: &str| {
        let words = [uri.as_str(), "north", password, authority.as_str()];
        words.map(str::to_owned)
    };
    let read = python::json("read_flight.py", arguments(PASSWORD)).await;
    assert_eq!(read["wrong"], serde_json::json!([]), "{read}");
    let refused = python::script("read_flight.py", arguments("not the password")).await;
    assert!(!refused.status.success());
    // Nothing is said in the clear.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    if let Ok(channel) = endpoint.connect().await {
        assert!(
            FlightSqlServiceClient::new(channel)
                .get_catalogs()
                .await
                .is_err()
        );
    }
    sandbox.stop().await;
}
