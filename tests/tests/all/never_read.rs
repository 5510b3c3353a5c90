//! Reads that are configured and were never done: a tenant that is refused, a resource, a pipeline; and those that are removed or added.
//!
//! Invariant: whatever of it is missing, every answer says so, also to a reader who has no credentials and no configuration.

use crate::project::{CommandOutput, TestProject, run_to_end};
use crate::recent_sales::{in_hours, recent_sales, stats_meta};
use serde_json::{Value, json};
use tillhouse_sandbox::{EmulatedFault, FaultKind};

fn refused(status: u16, path: &str) -> EmulatedFault {
    let fault = EmulatedFault {
        status: Some(status),
        ..EmulatedFault::new(FaultKind::ServerError).times(1_000_000)
    };
    fault.on(path)
}

/// The same question always, so that gaps can be compared.
struct Question {
    from: String,
    to: String,
}

impl Question {
    fn new() -> Self {
        Self {
            from: in_hours(-5 * 24),
            to: in_hours(-2),
        }
    }

    fn words<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["stats", "--from", &self.from, "--to", &self.to];
        words.extend(more);
        words
    }

    async fn meta(&self, project: &TestProject, more: &[&str]) -> Value {
        stats_meta(project, &self.from, &self.to, more).await
    }

    fn gap(&self, pipeline: &str, resource: &str, tenant: Option<&str>) -> Value {
        let mut gap = json!({
            "pipeline": pipeline, "resource": resource, "from": self.from, "to": self.to,
        });
        if let Some(tenant) = tenant {
            gap["tenant"] = json!(tenant);
        }
        gap
    }

    fn check_complete(&self, meta: &Value, when: &str) {
        assert_eq!(meta["gaps"], json!([]), "{when}: {meta}");
        let through = meta["data_through"].as_str().expect(when);
        assert!(through >= self.to.as_str(), "{when}: {meta}");
    }

    fn check_gaps(&self, meta: &Value, gaps: &[Value], when: &str) {
        assert_eq!(meta["gaps"], json!(gaps), "{when}: {meta}");
        assert!(meta["data_through"].is_null(), "{when}: {meta}");
    }
}

fn partial(ran: &CommandOutput) {
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
}

/// The status of a resource: up to when, and the tenants of its gaps.
async fn status(project: &TestProject, pipeline: &str, resource: &str) -> (bool, Vec<Value>) {
    let status = project.json(&["status"]).await;
    let rows = status.as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["pipeline"] == pipeline && row["resource"] == resource)
        .unwrap_or_else(|| panic!("{pipeline}.{resource} is missing in {status}"));
    let gaps = row["gaps"].as_array().unwrap().iter();
    let tenants = gaps.map(|gap| gap.get("tenant").cloned().unwrap_or(Value::Null));
    (row["data_through"].is_null(), tenants.collect())
}

/// Takes credentials from whoever reads.
fn forget_credentials(project: &TestProject) {
    let path = project.path().join(".env");
    let text = std::fs::read_to_string(&path).unwrap();
    let key = text
        .lines()
        .find(|line| line.starts_with("TILLHOUSE_PRIVACY_KEY"))
        .unwrap();
    std::fs::write(&path, format!("{key}\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_whose_every_request_is_refused_is_a_gap_until_it_is_read() {
    let (sandbox, project) = recent_sales(&["pace"]).await;
    let partners = sandbox.partners();
    let (good, bad) = (&partners[0], &partners[1]);
    sandbox.inject([refused(403, bad)]);
    let ran = project.run(&["sync"]).await;
    partial(&ran);
    assert!(ran.stderr.contains(bad.as_str()), "{}", ran.stderr);
    let question = Question::new();
    let gap = question.gap("pace", "transactions", Some(bad));
    let meta = question.meta(&project, &[]).await;
    question.check_gaps(&meta, std::slice::from_ref(&gap), "all");
    let run = meta["run"].as_str().unwrap().to_owned();
    let meta = question.meta(&project, &["--tenant", bad]).await;
    question.check_gaps(&meta, std::slice::from_ref(&gap), "its own");
    let meta = question.meta(&project, &["--tenant", good]).await;
    question.check_complete(&meta, "another's");
    assert_eq!(
        status(&project, "pace", "transactions").await,
        (true, vec![json!(bad)])
    );
    let never = format!("never read: transactions of {bad} of pace, from");
    let shown = project.run(&question.words(&[])).await.stdout;
    assert!(
        shown.contains(&never) && shown.contains("not read from the beginning on"),
        "{shown}"
    );
    let page = project.run(&question.words(&["--format", "html"])).await;
    assert!(
        page.stdout
            .contains(&format!("Never read: transactions of {bad} of pace")),
        "{}",
        page.stdout
    );
    let report = ["report", "revenue-summary", "--from", &question.from[..10]];
    let report = [&report[..], &["--to", &question.to[..10]]].concat();
    let periods = project.json(&report).await["meta"]["periods"].take();
    assert_eq!(periods[0]["gaps"][0]["tenant"], json!(bad), "{periods}");

    // It answers again; what is read of it now was not there before, and nothing of the past has changed.
    sandbox.clear_faults();
    let again = project.json(&["sync"]).await;
    assert_eq!(again["pipelines"][0]["failed"], json!([]), "{again}");
    let meta = question.meta(&project, &[]).await;
    question.check_complete(&meta, "after it was read");
    assert_eq!(
        status(&project, "pace", "transactions").await,
        (false, vec![])
    );
    let sold = project
        .count(&format!(
            "SELECT count(*) FROM transactions WHERE tenant_id = '{bad}'"
        ))
        .await;
    assert!(sold > 0);
    let restated = project.json(&["restated", "--since", &run]).await;
    assert_eq!(restated["hours"], json!([]), "{restated}");
    assert_ne!(
        crate::exact_json::integer(&restated["meta"]["hours_first_read"]),
        0,
        "{restated}"
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_does_not_exist_is_a_gap_until_it_is_removed() {
    let (sandbox, project) = recent_sales(&["bemo"]).await;
    let known = sandbox.accounts().join(",");
    let with = |accounts: &str, words: Vec<&str>| {
        let mut command = project.command(&words);
        command.env("BEMO_ACCOUNTS", accounts);
        run_to_end(command)
    };
    let question = Question::new();
    let asked = async |accounts: &str, more: &[&str]| {
        let words = question.words(more);
        let words = [&["--format", "json"][..], &words].concat();
        let ran = with(accounts, words).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        crate::exact_json::json(&ran.stdout, "stats")["meta"].take()
    };
    let all = format!("{known},nobody");
    partial(&with(&all, vec!["sync"]).await);
    let gap = |tenant: &str| question.gap("bemo", "sessions", Some(tenant));
    let meta = asked(&all, &[]).await;
    question.check_gaps(&meta, &[gap("nobody")], "configured");
    let meta = question.meta(&project, &[]).await;
    question.check_gaps(&meta, &[gap("nobody")], "read by another configuration");
    let later = asked(&format!("{all},zoe"), &[]).await;
    question.check_gaps(
        &later,
        &[gap("nobody"), gap("zoe")],
        "added and not synced yet",
    );
    // A later sync that fails for it changes nothing.
    partial(&with(&all, vec!["sync"]).await);
    question.check_gaps(&asked(&all, &[]).await, &[gap("nobody")], "again");
    let ran = with(&known, vec!["sync"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    question.check_complete(&asked(&known, &[]).await, "removed");

    // One that was read, and is removed while another fails, keeps its sales and is missing nowhere.
    let accounts = sandbox.accounts();
    let (first, others) = accounts.split_first().unwrap();
    let sold = project.count("SELECT count(*) FROM bemo.sessions").await;
    let fewer = format!("{},nobody", others.join(","));
    partial(&with(&fewer, vec!["sync"]).await);
    let meta = asked(&fewer, &[]).await;
    question.check_gaps(&meta, &[gap("nobody")], "one removed, one failing");
    let ran = with(&others.join(","), vec!["sync"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    question.check_complete(&asked(&others.join(","), &[]).await, "one removed");
    let meta = asked(&others.join(","), &["--tenant", first]).await;
    assert_eq!(meta["gaps"], json!([]), "{meta}");
    assert!(!meta["data_through"].is_null(), "{meta}");
    assert_eq!(
        project.count("SELECT count(*) FROM bemo.sessions").await,
        sold
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_was_never_read_is_a_gap() {
    let (sandbox, project) = recent_sales(&["smartnow"]).await;
    sandbox.inject([
        refused(403, "/smartnow/paymenttransaction"),
        refused(404, "/smartnow/machinegroup"),
    ]);
    partial(&project.run(&["sync"]).await);
    let question = Question::new();
    let meta = question.meta(&project, &[]).await;
    let gaps = [
        question.gap("smartnow", "machine_groups", None),
        question.gap("smartnow", "payment_transactions", None),
    ];
    question.check_gaps(&meta, &gaps, "two resources");
    for resource in ["machine_groups", "payment_transactions"] {
        let (is_unread, gaps) = status(&project, "smartnow", resource).await;
        assert_eq!((is_unread, gaps.len()), (true, 1), "{resource}");
    }
    sandbox.clear_faults();
    project.json(&["sync"]).await;
    let meta = question.meta(&project, &[]).await;
    question.check_complete(&meta, "read at last");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_was_never_synced_is_a_gap() {
    let (sandbox, project) = recent_sales(&["hecone", "pace"]).await;
    project.json(&["sync", "hecone"]).await;
    let question = Question::new();
    let meta = question.meta(&project, &[]).await;
    let partners = sandbox.partners();
    let mut gaps: Vec<Value> = partners
        .iter()
        .map(|partner| question.gap("pace", "transactions", Some(partner)))
        .collect();
    gaps.sort_by_key(Value::to_string);
    question.check_gaps(&meta, &gaps, "as the configuration tells");
    let meta = question.meta(&project, &["--source", "hecone"]).await;
    question.check_complete(&meta, "of another source");
    let (is_unread, unread) = status(&project, "pace", "transactions").await;
    assert_eq!((is_unread, unread.len()), (true, partners.len()));

    // Its configuration is wrong: that is no reason not to miss it.
    let path = project.path().join("pipelines/pace/pipeline.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("api: partner", "api: nothing")).unwrap();
    partial(&project.run(&["sync"]).await);
    let everything = question.gap("pace", "*", None);
    let meta = question.meta(&project, &[]).await;
    question.check_gaps(&meta, std::slice::from_ref(&everything), "wrong");
    std::fs::write(&path, &text).unwrap();

    // Every request of it fails: its resources are known, and nothing of them.
    sandbox.inject([refused(403, "/contracts/partners/")]);
    partial(&project.run(&["sync"]).await);
    forget_credentials(&project);
    let meta = question.meta(&project, &[]).await;
    question.check_gaps(&meta, &gaps, "without credentials");
    std::fs::remove_dir_all(project.path().join("pipelines")).unwrap();
    let meta = question.meta(&project, &[]).await;
    question.check_gaps(&meta, &gaps, "without a configuration");
    let shown = project.run(&question.words(&[])).await.stdout;
    assert!(shown.contains("never read: transactions of"), "{shown}");
    sandbox.stop().await;
}
