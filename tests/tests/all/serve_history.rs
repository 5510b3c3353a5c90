//! Pages of the dashboard about what changed: versions of a sale, restatement, reconciliation, places that fell silent.
//!
//! Invariant: a page says what the command or the table that it is made of says, and nobody is shown what the session would not let them read.

use crate::project::TestProject;
use crate::serve_dashboard::{Browser, addresses};
use crate::serve_users::{PASSWORD, add, tenants};
use crate::served::RunningServer;
use serde_json::Value;
use tillhouse_sandbox::{EmulatedFault, FaultKind, Sandbox};

/// A project that has read a sale twice, whose amount was corrected in between: its id, and the run before.
pub(crate) async fn corrected() -> (Sandbox, TestProject, String, String) {
    let (sandbox, project) = TestProject::synced_at_once(500).await;
    let runs = project.sql("SELECT run_id FROM ops.runs").await;
    let since = runs[0]["run_id"].as_str().unwrap().to_owned();
    let records: Vec<Value> = sandbox
        .truth()
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    let in_euros = |r: &&Value| {
        let has_time = r["invoice"]["created_at"].is_string();
        r["state"] == "completed" && r["invoice"]["currency"] == "EUR" && has_time
    };
    let mut sale = records.iter().find(in_euros).expect("a sale").clone();
    sale["invoice"]["amount"] = 1000.into();
    sandbox.put(&sale.to_string()).unwrap();
    project.sync(&["--to", "2026-01-06"]).await;
    let id = sale["id"].as_str().unwrap().to_owned();
    (sandbox, project, id, since)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_was_corrected_is_shown_in_every_version_and_as_restated() {
    let (_sandbox, project, id, since) = corrected().await;
    let server = RunningServer::start(&project, "").await;
    let browser = Browser::new(&server);
    let sale = format!("/sales/hecone%3A{id}");
    let versions = format!("{sale}/versions");
    let page = browser.seen(&sale).await;
    assert!(addresses(&page, &versions).contains(&versions), "{page}");
    let page = browser.seen(&versions).await;
    let count = format!("SELECT count(*) AS n FROM hecone.transactions WHERE _record_key = '{id}'");
    let versions = project.count(&count).await;
    assert!(versions >= 2);
    assert!(
        page.contains(&format!("<caption>Version {versions}</caption>")),
        "{page}"
    );
    assert!(
        !page.contains(&format!("Version {}", versions + 1)),
        "{page}"
    );
    for part in [
        format!("hecone.transactions {id}"),
        "<td class=\"plain\">invoice.amount</td>".to_owned(),
        since.clone(),
    ] {
        assert!(page.contains(&part), "{part}: {page}");
    }
    // What the program notes of a version is no field of the record.
    assert!(
        !page.contains("_load_id") && !page.contains("_content_hash"),
        "{page}"
    );
    let missing = browser.page("/sales/hecone%3Anosuch/versions").await;
    assert_eq!(missing.status.as_u16(), 404);

    // The same answer as the command's.
    let report = project.json(&["restated", "--since", &since]).await;
    let days = report["days"].as_array().unwrap();
    assert_eq!(days.len(), 1, "{report}");
    let page = browser.seen(&format!("/restated?since={since}")).await;
    let day = days[0]["period"].as_str().unwrap();
    for part in [
        format!("<td class=\"plain\">{day}</td>"),
        format!("<a href=\"{sale}\">hecone:{id}</a>"),
        format!("({since})"),
    ] {
        assert!(page.contains(&part), "{part}: {page}");
    }
    // Earlier runs are offered, and a run that is none is told.
    assert!(
        addresses(&page, "/restated?").contains(&format!("/restated?since={since}")),
        "{page}"
    );
    let wrong = browser.page("/restated?since=nosuchrun").await;
    assert_eq!(wrong.status.as_u16(), 400);
    assert!(wrong.text().contains("nosuchrun"), "{}", wrong.text());
    let before = browser.seen("/restated?since=2020-01-01").await;
    assert!(
        before.contains("Nothing had been published by then."),
        "{before}"
    );

    // The first view leads to them, and what it says of them is asked for by itself.
    let overview = browser.seen("/?from=2026-01-01&to=2026-01-06").await;
    for path in ["/restated?", "/silent?"] {
        assert!(!addresses(&overview, path).is_empty(), "{path}: {overview}");
    }
    let (_, rest) = overview.split_once("data-notices=\"").expect("lines");
    let address = rest.split('"').next().unwrap().replace("&amp;", "&");
    let notices = server.get(&address).await;
    assert_eq!(notices.status.as_u16(), 200, "{}", notices.text());
    let said = notices.json();
    assert!(said.as_object().unwrap().contains_key("restated"), "{said}");
    let silent = browser.seen("/silent").await;
    assert!(silent.contains("Read until hecone:"), "{silent}");
    assert_eq!(
        said["silence"].is_null(),
        silent.contains("No site and no device fell silent."),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciliations_that_were_kept_are_on_their_page() {
    let (sandbox, project) = TestProject::synced_at_once(3_000).await;
    let server = RunningServer::start(&project, "").await;
    let browser = Browser::new(&server);
    let empty = browser.seen("/reconciliations").await;
    assert!(empty.contains("Nothing was ever compared."), "{empty}");
    sandbox.inject([EmulatedFault::new(FaultKind::LieStatistics).after(3)]);
    let arguments = ["reconcile", "--from", "2026-01-01", "--to", "2026-01-06"];
    let ran = project.run(&arguments).await;
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let kept = project
        .sql("SELECT DISTINCT reconciliation_id, part FROM ops.reconciliations WHERE outcome = 'different'")
        .await;
    let (id, part) = (&kept[0]["reconciliation_id"], &kept[0]["part"]);
    let (id, part) = (id.as_str().unwrap(), part.as_str().unwrap());
    let page = browser.seen("/reconciliations").await;
    for shown in [id, part, "statistics"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!addresses(&page, "/sales?").is_empty(), "{page}");
    assert!(!addresses(&page, "/sales/").is_empty(), "{page}");
    let chosen = browser
        .seen(&format!("/reconciliations?reconciliation={id}"))
        .await;
    assert!(chosen.contains(part), "{chosen}");
    let wrong = browser.page("/reconciliations?reconciliation=none").await;
    assert_eq!(wrong.status.as_u16(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_changes_are_shown_to_those_who_may_see_them() {
    let (_sandbox, project, id, since) = corrected().await;
    let key = format!("hecone:{id}");
    let tenant = project
        .sql(&format!(
            "SELECT tenant_id FROM transactions WHERE transaction_key = '{key}'"
        ))
        .await;
    let own = tenant[0]["tenant_id"].as_str().unwrap().to_owned();
    let all = tenants(&project).await;
    let other = all.iter().find(|tenant| **tenant != own).expect("another");
    add(&project, "analyst", &["--personal", "--sources"]).await;
    add(&project, "plain", &["--sources"]).await;
    add(&project, "own", &["--tenant", &own, "--sources"]).await;
    add(&project, "other", &["--tenant", other, "--sources"]).await;
    let server = RunningServer::start(&project, "").await;
    let versions = format!("/sales/hecone%3A{id}/versions");
    let restated = format!("/restated?since={since}");
    let mut seen = Vec::new();
    for name in ["analyst", "plain", "own", "other"] {
        let mut browser = Browser::new(&server);
        browser.log_in(name, PASSWORD).await;
        let page = browser.page(&versions).await;
        let changes = browser.seen(&restated).await;
        seen.push((
            page.status.as_u16(),
            page.text().contains("invoice.amount"),
            page.text().contains("Personal fields are left out."),
            changes.contains(&key),
        ));
    }
    assert_eq!(
        seen,
        [
            (200, true, false, true),
            // What is inside of an invoice is not personal; what is does not come.
            (200, true, true, true),
            // The records of a source tell no tenants apart.
            (200, false, false, true),
            (404, false, false, false),
        ]
    );
}
