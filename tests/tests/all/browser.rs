//! The dashboard in a real browser: Chromium, led by the walks of `tests/python/browser_walks.py`.
//!
//! Invariant: a browser that is not there fails these tests, and none skips itself. A walk waits for what it expects, and for nothing else.

use crate::project::TestProject;
use crate::python;
use crate::serve::synced;
use crate::serve_dashboard::{HOSTILE, hostile};
use crate::serve_history::corrected;
use crate::serve_users::{PASSWORD, add, tenants};
use crate::served::RunningServer;
use serde_json::{Value, json};
use tillhouse_sandbox::Sandbox;

/// Period of the sales.
const PERIOD: &str = "from=2026-01-01&to=2026-01-06";
/// The password that ends sessions which began with another.
const NEW_PASSWORD: &str = "another password of the tests";

/// Goes these walks, one after the other, and gives what they counted.
async fn walk(options: &Value, names: &[&str]) -> Value {
    let options = options.to_string();
    let words = std::iter::once(options.as_str()).chain(names.iter().copied());
    python::json("browser_walks.py", words).await
}

/// Words of a command of the project, which a walk runs when it comes to it.
fn command(project: &TestProject, arguments: &[&str]) -> Vec<String> {
    let command = project.command(arguments);
    let command = command.as_std();
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_finds_the_sales_behind_a_figure_and_is_told_of_a_newer_run() {
    // The sales of the last day are the newer run's.
    let (_sandbox, project) = TestProject::synced(600, "2026-01-05").await;
    let server = RunningServer::start(&project, "").await;
    let options = json!({
        "url": server.url,
        "period": PERIOD,
        "command": command(&project, &["sync", "--to", "2026-01-06"]),
    });
    walk(&options, &["person", "phone", "paper", "news"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_built_by_hand_and_what_changed_is_found_with_its_sale_and_versions() {
    let (_sandbox, project, sale, _) = corrected().await;
    let server = RunningServer::start(&project, "").await;
    let options = json!({ "url": server.url, "period": PERIOD, "sale": sale });
    walk(&options, &["filters", "changes"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyboard_is_enough_and_two_tenants_see_their_own_until_the_session_ends() {
    let (_sandbox, project) = synced(600).await;
    let all = tenants(&project).await;
    let [first, .., last] = all.as_slice() else {
        panic!("several tenants: {all:?}");
    };
    add(&project, "first", &["--tenant", first]).await;
    add(&project, "last", &["--tenant", last]).await;
    let file = project.path().join("new_password.txt");
    std::fs::write(&file, format!("{NEW_PASSWORD}\n")).unwrap();
    let file = file.to_str().unwrap();
    let change = ["user", "add", "first", "--change", "--password-file", file];
    let server = RunningServer::start(&project, "").await;
    let options = json!({
        "url": server.url,
        "period": PERIOD,
        "users": { "first": PASSWORD, "last": PASSWORD },
        "own": "first",
        "other": "last",
        "tenants": { "first": first, "last": last },
        "command": command(&project, &change),
        "new_password": NEW_PASSWORD,
    });
    walk(&options, &["keyboard", "sessions"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_for_everybody_on_phones_and_desktops_in_light_and_dark() {
    let (_sandbox, project, ..) = corrected().await;
    add(&project, "all", &["--personal", "--sources"]).await;
    let server = RunningServer::start(&project, "").await;
    let options = json!({
        "url": server.url,
        "period": PERIOD,
        "users": { "all": PASSWORD },
    });
    let found = walk(&options, &["pages"]).await;
    let (pages, looks) = (&found["pages"], &found["looks"]);
    assert!(pages.as_u64() >= Some(15), "{found}");
    assert_eq!(looks.as_u64(), pages.as_u64().map(|pages| 4 * pages));
}

/// Gives the sale of the hostile site a second version, in a run of its own.
async fn restate(sandbox: &Sandbox, project: &TestProject) {
    let records = sandbox.truth();
    let mut records = records
        .iter()
        .map(|body| serde_json::from_slice::<Value>(body).unwrap());
    let mut sale = records
        .find(|record| record["site_id"] == "hostile")
        .expect("the sale of the site");
    sale["invoice"]["amount"] = 1000.into();
    sandbox.put(&sale.to_string()).unwrap();
    project.sync(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_and_addresses_run_no_script_and_ask_no_other_host() {
    let (sandbox, project) = hostile().await;
    restate(&sandbox, &project).await;
    let server = RunningServer::start(&project, "").await;
    let options = json!({
        "url": server.url,
        "period": "from=2026-01-01&to=2026-02-01",
        "name": HOSTILE,
        "site": "hecone:hostile",
    });
    walk(&options, &["hostile"]).await;
}
