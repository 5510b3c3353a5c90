//! HecOne's endpoints of `tillhouse serve`, as a client that was written against HecOne asks them.
//!
//! Invariant: an answer has the names of HecOne's document and no others; our own source for HecOne reconciles against it, and finds nothing.

use crate::exact_json;
use crate::project::{TestProject, run_to_end};
use crate::serve::synced;
use crate::served::{ReadAnswer, RunningServer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const SECRET: &str = "a-secret-of-the-server";
const SETTINGS: &str = "  hecone_login: { client_id: till, client_secret: a-secret-of-the-server }";
const WINDOW: [(&str, &str); 2] = [
    ("start_date", "2026-01-01T00:00:00Z"),
    ("end_date", "2026-01-06T00:00:00Z"),
];

async fn log_in(server: &RunningServer, id: &str, secret: &str) -> ReadAnswer {
    let body = json!({"client_id": id, "client_secret": secret});
    let request = server.client.post(format!("{}/auth/login", server.url));
    RunningServer::read(request.json(&body).send().await.unwrap()).await
}

async fn statistics(server: &RunningServer, token: &str, more: &[(&str, &str)]) -> ReadAnswer {
    let request = server
        .client
        .get(format!("{}/transactions/statistics", server.url))
        .bearer_auth(token)
        .query(&WINDOW)
        .query(more);
    RunningServer::read(request.send().await.unwrap()).await
}

fn names(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// The mandator with the most currencies, and its currencies.
async fn mandator(project: &TestProject) -> (String, BTreeSet<String>) {
    let rows = project
        .sql("SELECT tenant_id, currency FROM counted GROUP BY 1, 2 ORDER BY 1, 2")
        .await;
    let mut mandators: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &rows {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let of_mandator = mandators.entry(text("tenant_id")).or_default();
        of_mandator.insert(text("currency"));
    }
    let most = mandators
        .into_iter()
        .max_by_key(|(_, currencies)| currencies.len());
    most.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_hecone_gets_what_it_knows() {
    let (sandbox, project) = synced(2_000).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    let wrong = log_in(&server, "till", "no").await;
    wrong.problem(401);
    log_in(&server, "nobody", SECRET).await.problem(401);
    let given = log_in(&server, "till", SECRET).await;
    assert!(given.header("tillhouse-run").is_some());
    let given = given.json();
    assert_eq!(
        names(&given),
        BTreeSet::from(["access_token", "expires_in", "refresh_token", "token_type"])
    );
    assert_eq!(given["token_type"], "Bearer");
    assert_eq!(given["expires_in"], 3600);
    let token = given["access_token"].as_str().unwrap();
    let (mandator, currencies) = mandator(&project).await;
    let of_mandator = ("mandator_id", mandator.as_str());
    let refused = statistics(&server, "no-token", &[of_mandator]).await;
    refused.problem(401);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    statistics(&server, token, &[]).await.problem(400);
    let unknown = statistics(&server, token, &[("mandator_id", "nobody")]).await;
    unknown.problem(400);

    let currency = currencies.first().unwrap().as_str();
    let filter = format!(r#"{{"field":"currency","operator":"eq","value":"{currency}"}}"#);
    let of_currency = ("filter", filter.as_str());
    let answer = statistics(&server, token, &[of_mandator, of_currency]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = exact_json::json(answer.text(), "statistics");
    assert_eq!(names(&body), BTreeSet::from(["_links", "data", "meta"]));
    assert_eq!(
        names(&body["_links"]),
        BTreeSet::from(["first", "last", "next", "prev", "self"])
    );
    assert_eq!(
        names(&body["meta"]),
        BTreeSet::from(["limit", "size", "start", "total"])
    );
    let entry = &body["data"][0];
    let expected: BTreeSet<&str> = [
        "hourly_transactions",
        "payment_type_ranking",
        "payment_medium_ranking",
        "payment_scheme_ranking",
        "payment_entry_mode_ranking",
        "payment_function_ranking",
        "article_quantities_ranking",
        "sites_amount_ranking",
        "sites_transactions_ranking",
        "transactions_count",
        "transactions_total_amount",
    ]
    .into_iter()
    .collect();
    assert_eq!(names(entry), expected);
    let ours = project
        .json(&[
            "stats",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-06",
            "--tenant",
            &mandator,
            "--filter",
            &filter,
        ])
        .await;
    for name in expected {
        assert_eq!(entry[name], ours["data"][0][name], "{name}");
    }
    if currencies.len() > 1 {
        let several = statistics(&server, token, &[of_mandator])
            .await
            .problem(409);
        let told: BTreeSet<&str> = several["currencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert!(
            currencies.iter().all(|known| told.contains(known.as_str())),
            "{several}"
        );
        drop(server);
        let settings = format!("{SETTINGS}\n  hecone_currency: {currency}");
        let server = RunningServer::start(&project, &settings).await;
        let given = log_in(&server, "till", SECRET).await.json();
        let token = given["access_token"].as_str().unwrap();
        let one = statistics(&server, token, &[of_mandator]).await.json();
        assert_eq!(one["data"].as_array().unwrap().len(), 1);
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_source_reconciles_against_it() {
    let (sandbox, project) = synced(1_500).await;
    let server = RunningServer::start(&project, SETTINGS).await;
    // Of one site, whose currency is one.
    let busiest = "SELECT site_key FROM counted WHERE site_key IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC LIMIT 1";
    let rows = project.sql(busiest).await;
    let site = rows[0]["site_key"].as_str().unwrap();
    let site = site.strip_prefix("hecone:").unwrap();
    let filter = format!(r#"{{"field":"site_id","operator":"eq","value":"{site}"}}"#);
    let arguments = [
        "--format",
        "json",
        "reconcile",
        "hecone",
        "--from",
        "2026-01-02",
        "--to",
        "2026-01-05",
        "--by",
        "statistics",
        "--filter",
        &filter,
    ];
    let mut command = project.command(&arguments);
    command
        .env("HECONE_URL", &server.url)
        .env("HECONE_CLIENT_ID", "till")
        .env("HECONE_CLIENT_SECRET", SECRET);
    let ran = run_to_end(command).await;
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    let report = exact_json::json(&ran.stdout, "a reconciliation");
    let pipeline = &report["pipelines"][0];
    assert_eq!(
        pipeline["differences"],
        Value::Array(Vec::new()),
        "{pipeline}"
    );
    assert!(exact_json::integer(&pipeline["figures"]) > 10, "{pipeline}");
    sandbox.stop().await;
}
