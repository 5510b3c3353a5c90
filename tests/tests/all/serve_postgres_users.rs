//! Users of `tillhouse serve --postgres`: their passwords, their own tenant's rows and nobody else's, and the end of what they hold.
//!
//! Invariant: what a user is answered by PostgreSQL's protocol is what that user is answered over HTTP; the login is checked by a client that is written from the standard.

use crate::postgres_client::{Body, PostgresClient, ServerMessage, error, tags};
use crate::project::TestProject;
use crate::serve::synced;
use crate::serve_postgres::{SETTINGS, address};
use crate::serve_users::{PASSWORD, add, tenants};
use crate::served::{RunningServer, set};
use crate::{python, source_files};

/// A connection of a user who has to come in.
async fn logged_in(server: &RunningServer, user: &str) -> PostgresClient {
    let entered = PostgresClient::log_in(&address(server), user, PASSWORD).await;
    entered.expect("it comes in")
}

/// Everything that an answer says.
fn said(messages: &[ServerMessage]) -> String {
    let bodies = messages.iter().map(|message| message.body.as_slice());
    String::from_utf8_lossy(&bodies.collect::<Vec<_>>().concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_see_their_own_rows_over_postgresql() {
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
    let mut all = logged_in(&server, "all").await;
    for (user, own, other) in [("north", north, south), ("south", south, north)] {
        let mut client = logged_in(&server, user).await;
        let count = "SELECT count(*) FROM transactions";
        assert_eq!(
            client.texts(count).await,
            all.texts(&format!("{count} WHERE tenant_id = '{own}'"))
                .await
        );
        let whose = "SELECT DISTINCT tenant_id FROM transactions";
        assert_eq!(client.texts(whose).await, [[own.clone()]]);
        assert_eq!(client.texts("SELECT current_user").await, [[user]]);
        for sql in [
            "SELECT * FROM sales",
            "SELECT * FROM tenants",
            "SELECT * FROM statistics.levels",
            "SELECT * FROM hourly_transactions('2026-01-01', '2026-01-06')",
            "SELECT * FROM ops.slices",
            "SELECT * FROM information_schema.columns",
            "SELECT relname FROM pg_catalog.pg_class",
            "SELECT description FROM pg_catalog.pg_description",
            "EXPLAIN VERBOSE SELECT * FROM transactions",
            "COPY (SELECT * FROM transactions) TO STDOUT",
            "COPY transactions TO STDOUT",
            "BEGIN; DECLARE c CURSOR FOR SELECT * FROM sales; FETCH ALL FROM c; COMMIT",
        ] {
            let messages = client.query(sql).await;
            let said = said(&messages);
            assert!(
                messages.iter().all(|message| message.kind != 'E'),
                "{sql}: {said}"
            );
            assert!(!said.contains(other.as_str()), "{sql}");
            assert!(!said.contains("hmac1:"), "{sql}");
        }
        // What is not seen is not listed, and named nowhere else.
        let columns =
            "SELECT count(*) FROM pg_catalog.pg_attribute WHERE attname = 'license_plate'";
        assert_eq!(client.texts(columns).await, [["0"]]);
        assert_ne!(all.texts(columns).await, [["0"]]);
        let schemas = "SELECT nspname FROM pg_catalog.pg_namespace";
        let of_source = vec!["hecone".to_owned()];
        assert!(!client.texts(schemas).await.contains(&of_source));
        assert!(all.texts(schemas).await.contains(&of_source));
        for (sql, code) in [
            ("SELECT license_plate FROM transactions", "42703"),
            ("SELECT * FROM ops.warnings", "42P01"),
        ] {
            let messages = client.query(sql).await;
            assert_eq!(error(&messages)[&'C'], code, "{sql}");
            assert!(!said(&messages).contains(other.as_str()), "{sql}");
            all.texts(sql).await;
        }
    }
    // A stranger, who reads with the library that everybody has.
    let arguments = [address(&server), "all".to_owned(), PASSWORD.to_owned()];
    let read = python::json("read_postgres.py", arguments).await;
    assert_eq!(read["wrong"], serde_json::json!([]), "{read}");
    let log = std::fs::read_to_string(project.path().join("audit.jsonl")).unwrap();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let of_north = lines
        .filter(|line| line["endpoint"] == "postgres" && line["who"] == "north")
        .count();
    assert!(of_north > 10, "{of_north}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_in_over_postgresql_without_the_password() {
    let project = TestProject::bare().await;
    add(&project, "north", &[]).await;
    let settings = format!("{SETTINGS}\n  audit: audit.jsonl");
    let server = RunningServer::start(&project, &settings).await;
    for (user, password) in [
        ("north", "not the password"),
        ("north", ""),
        ("stranger", PASSWORD),
    ] {
        let refused = PostgresClient::log_in(&address(&server), user, password).await;
        let fields = refused.err().expect("it is refused");
        assert_eq!(
            (fields[&'S'].as_str(), fields[&'C'].as_str()),
            ("FATAL", "28P01")
        );
        let message = format!("password authentication failed for user \"{user}\"");
        assert_eq!(fields[&'M'], message);
    }
    // Who has not come in sends nothing long, and asks nothing.
    let startup = || {
        let said = Body::new().long(3 << 16).text("user").text("north");
        said.text("")
    };
    for message in [
        Body::new().text("SELECT 1").message(b'Q'),
        [[b'p'].as_slice(), &10_001_u32.to_be_bytes()].concat(),
    ] {
        let mut client = PostgresClient::silent(&address(&server)).await;
        client.send_first(startup()).await;
        assert_eq!(client.message().await.unwrap().kind, 'R');
        client.send(&message).await;
        assert_eq!(error(&client.until_closed().await)[&'C'], "08P01");
    }
    logged_in(&server, "north").await;
    let log = std::fs::read_to_string(project.path().join("audit.jsonl")).unwrap();
    let refused = log
        .lines()
        .filter(|line| line.contains("\"method\":\"LOGIN\""))
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let refused: Vec<_> = refused
        .map(|line| (line["status"].clone(), line["who"].clone()))
        .collect();
    assert_eq!(refused.len(), 3, "{log}");
    assert!(
        refused
            .iter()
            .all(|(status, who)| *status == 401 && who.is_null())
    );
    assert!(!log.contains("stranger"), "it may be a password");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_user_and_its_rights() {
    let (sandbox, project) = synced(300).await;
    let ids = tenants(&project).await;
    for user in ["gone", "narrowed", "other"] {
        add(&project, user, &[]).await;
    }
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut gone = logged_in(&server, "gone").await;
    let mut narrowed = logged_in(&server, "narrowed").await;
    let mut other = logged_in(&server, "other").await;
    let declare = "DECLARE c CURSOR WITH HOLD FOR SELECT tenant_id FROM transactions";
    for client in [&mut gone, &mut narrowed, &mut other] {
        assert_eq!(tags(&client.query(declare).await), ["DECLARE CURSOR"]);
    }
    let removed = project.run(&["user", "remove", "gone"]).await;
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    add(&project, "narrowed", &["--change", "--tenant", &ids[0]]).await;
    // It is told, though it asks nothing.
    for client in [&mut gone, &mut narrowed] {
        assert_eq!(error(&client.until_closed().await)[&'C'], "28000");
    }
    assert_eq!(tags(&other.query("FETCH 1 FROM c").await), ["FETCH 1"]);
    let again = PostgresClient::log_in(&address(&server), "gone", PASSWORD).await;
    assert_eq!(again.err().expect("it is gone")[&'C'], "28P01");
    let mut narrowed = logged_in(&server, "narrowed").await;
    assert_eq!(
        narrowed
            .texts("SELECT DISTINCT tenant_id FROM transactions")
            .await,
        [[ids[0].clone()]]
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_out_as_soon_as_there_are_users() {
    let project = TestProject::bare().await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let mut guest = PostgresClient::connect(&address(&server)).await;
    add(&project, "north", &[]).await;
    assert_eq!(error(&guest.until_closed().await)[&'C'], "28000");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_encrypted_with_the_servers_certificate() {
    let project = TestProject::bare().await;
    let fixture =
        |name: &str| source_files::root().join(format!("tests/fixtures/certificates/{name}.pem"));
    let settings = format!(
        "{SETTINGS}\n  tls: {{ certificate: '{}', key: '{}' }}",
        fixture("trusted").display(),
        fixture("server-key").display()
    );
    set(&project, &settings);
    let ports = ["--listen", "127.0.0.1:0", "--postgres", "0.0.0.0:0"];
    let elsewhere = [&["serve", "--check"][..], &ports].concat();
    let refused = project.run(&elsewhere).await;
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("0.0.0.0:0 is reached from other machines"),
        "{}",
        refused.stderr
    );
    add(&project, "north", &[]).await;
    let checked = project.json(&elsewhere).await;
    assert_eq!(checked["postgres"], "0.0.0.0:0");
    assert_eq!(checked["who"], "users, from any machine that reaches it");
    let server = RunningServer::start(&project, &settings).await;
    let address = address(&server);
    let authority = fixture("authority");
    let encrypted = PostgresClient::encrypted(&address, &authority).await;
    let mut client = encrypted
        .enter("north", PASSWORD)
        .await
        .expect("it comes in");
    // Nothing is published yet.
    assert_eq!(error(&client.query("SELECT 1 AS n").await)[&'C'], "55000");
    let encrypted = PostgresClient::encrypted(&address, &authority).await;
    let refused = encrypted.enter("north", "not the password").await;
    assert_eq!(refused.err().expect("it is refused")[&'C'], "28P01");
    // On this machine it may be in the clear.
    logged_in(&server, "north").await;
    // What somebody puts before the encryption is not taken for the client's.
    let mut stuffed = PostgresClient::silent(&address).await;
    let wish = [8_i32.to_be_bytes(), 80_877_103_i32.to_be_bytes()].concat();
    stuffed.send(&[wish.as_slice(), b"more"].concat()).await;
    assert_eq!(error(&stuffed.until_closed().await)[&'C'], "08P01");
}
