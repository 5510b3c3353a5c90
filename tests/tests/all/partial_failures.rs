//! A part that fails: a resource, a tenant or a value that is not as it should be, and all the rest that goes on.
//!
//! Invariant: what can be read is read, unified and published; what cannot is named with what to do, and the exit code is 3.

use crate::exact_json;
use crate::project::{CommandOutput, TestProject, run_to_end};
use serde_json::{Value, json};
use tillhouse_sandbox::{EmulatedFault, FaultKind, RecordSelection, Sandbox, SandboxOptions};

const SYNC: [&str; 5] = ["--format", "json", "sync", "--to", "2026-02-01"];

async fn of(source: &str) -> (Sandbox, TestProject) {
    let options = SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(200),
        bemo_sessions: Some(100),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::of(&[source], &sandbox, "2025-06-01").await;
    (sandbox, project)
}

fn refused(status: u16) -> EmulatedFault {
    EmulatedFault {
        status: Some(status),
        ..EmulatedFault::new(FaultKind::ServerError).times(1_000_000)
    }
}

fn held(sandbox: &Sandbox, source: &str, resource: &str, tenant: Option<&str>) -> Vec<Value> {
    let selection = RecordSelection {
        tenant: tenant.map(str::to_owned),
        ..RecordSelection::of(resource)
    };
    let records = sandbox.truth_of(source, &selection).unwrap();
    records
        .iter()
        .map(|record| exact_json::json(std::str::from_utf8(record).unwrap(), resource))
        .collect()
}

fn many(records: &[Value]) -> i64 {
    i64::try_from(records.len()).unwrap()
}

/// Failures reported by a sync that was done in part: name and hint.
fn failures(ran: &CommandOutput) -> Vec<(String, String)> {
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let report = exact_json::json(&ran.stdout, "sync");
    assert_eq!(report["published"], true, "{report}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let failed = report["pipelines"][0]["failed"].as_array().unwrap();
    failed
        .iter()
        .map(|failed| (text(&failed["slice"]), text(&failed["hint"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_is_refused_leaves_the_others_alone() {
    let (sandbox, project) = of("smartnow").await;
    sandbox.inject([
        refused(403).on("/smartnow/paymenttransaction"),
        refused(404).on("/smartnow/machinegroup"),
    ]);
    let ran = project.run(&SYNC).await;
    let mut failed = failures(&ran);
    failed.sort();
    let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["machine_groups", "payment_transactions"],
        "once each, however many slices they have"
    );
    assert!(
        failed[1]
            .1
            .contains("leave payment_transactions out of the pipeline's resources"),
        "{failed:?}"
    );
    assert!(
        failed[0].1.contains("connection.paths.machine_groups"),
        "{failed:?}"
    );
    for said in [
        "failed: smartnow payment_transactions: ",
        "does not allow this",
        "status 403",
        failed[1].1.as_str(),
    ] {
        assert!(
            ran.stderr.contains(said),
            "{said:?} is missing in: {}",
            ran.stderr
        );
    }
    let sales = many(&held(&sandbox, "smartnow", "revenue_transactions", None));
    assert_eq!(
        project.count("SELECT count(*) FROM transactions").await,
        sales,
        "the sales are there without payments"
    );
    assert!(
        project.count("SELECT count(*) FROM vouchers").await > 0,
        "and what comes after the refused ones"
    );
    assert_eq!(
        project
            .count("SELECT count(*) FROM ops.runs WHERE outcome = 'partial'")
            .await,
        1
    );

    sandbox.clear_faults();
    let report = project.json(&SYNC[2..]).await;
    assert_eq!(report["pipelines"][0]["failed"], json!([]));
    let payments = many(&held(&sandbox, "smartnow", "payment_transactions", None));
    assert_eq!(
        project.count("SELECT count(*) FROM payments").await,
        payments,
        "the next sync takes them up"
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_read_nothing_gets_one_error() {
    let (sandbox, project) = of("smartnow").await;
    sandbox.inject([refused(403)]);
    let ran = project.run(&SYNC).await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(1), ""),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("error: the server knows us but does not allow this"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("Ask the provider to let this user read revenue_transactions"),
        "{}",
        ran.stderr
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_does_not_exist_leaves_the_others_alone() {
    let (sandbox, project) = of("bemo").await;
    let with = |accounts: String| {
        let mut command = project.command(&SYNC);
        command.env("BEMO_ACCOUNTS", accounts);
        run_to_end(command)
    };
    let known = sandbox.accounts();
    let all = with(format!("nobody,{}", known.join(","))).await;
    let failed = failures(&all);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].0, "sessions/nobody");
    assert!(
        failed[0].1.contains("Check connection.accounts"),
        "{failed:?}"
    );
    assert!(
        all.stderr.contains("be-mo has no account \"nobody\""),
        "{}",
        all.stderr
    );
    let sessions = known
        .iter()
        .map(|account| many(&held(&sandbox, "bemo", "sessions", Some(account))))
        .sum::<i64>();
    assert_eq!(
        project.count("SELECT count(*) FROM bemo.sessions").await,
        sessions
    );

    let none = with("nobody".to_owned()).await;
    assert_eq!(
        (none.code, none.stdout.as_str()),
        (Some(2), ""),
        "a configuration that gives nothing: {}",
        none.stderr
    );
    assert!(
        none.stderr.contains("be-mo has no account \"nobody\""),
        "{}",
        none.stderr
    );
    assert!(
        none.stderr.contains("Check connection.accounts"),
        "{}",
        none.stderr
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_nobody_knows_and_a_price_of_another_unit_are_kept_and_told() {
    let (sandbox, project) = of("smartnow").await;
    let like = held(&sandbox, "smartnow", "revenue_transactions", None).remove(0);
    let put = |id: i64, changes: Value| {
        let mut sale = json!({
            "id": id, "machine": 80, "location": 2, "product": 1, "price": 150, "originalPrice": 0, "currency": "EUR", "usergroup": 0,
            "occurredAt": "2026-01-05T00:30:00+01:00", "timeZone": "Europe/Amsterdam",
            "createdAt": "2026-01-04T23:30:00Z", "updatedAt": "2026-01-04T23:30:00Z"
        });
        let sale = sale.as_object_mut().unwrap();
        sale.extend(changes.as_object().unwrap().clone());
        assert!(
            sale.keys().all(|key| like.get(key).is_some()),
            "{sale:?} has the fields of {like}"
        );
        sandbox
            .put_in(
                "smartnow",
                "revenue_transactions",
                None,
                &Value::Object(sale.clone()).to_string(),
            )
            .unwrap();
    };
    // At a location that nobody knows either: its own zone would count.
    put(
        99_000_001,
        json!({"timeZone": "Mars/Olympus", "location": 99_000}),
    );
    put(99_000_002, json!({"price": 12.5}));
    put(99_000_003, json!({}));
    let report = project.json(&SYNC[2..]).await;
    assert_eq!(
        exact_json::integer(&report["pipelines"][0]["rejects"]),
        0,
        "{report}"
    );
    assert_eq!(
        exact_json::integer(&report["pipelines"][0]["warnings"]),
        2,
        "{report}"
    );

    let rows = project
        .sql(
            "SELECT transaction_id AS id, CAST(business_date AS VARCHAR) AS day, local_hour AS hour, utc_offset_minutes AS off, timezone, \
             CAST(amount AS VARCHAR) AS amount FROM transactions WHERE transaction_id LIKE '9900000%' ORDER BY 1",
        )
        .await;
    let told = project
        .sql("SELECT record_key AS id, resource, field, rule, original FROM ops.warnings ORDER BY record_key")
        .await;
    let plain = |value: &Value| match value.as_str() {
        Some(text) => text.trim_start_matches('#').to_owned(),
        None => value.to_string(),
    };
    let line = |row: &Value, names: &[&str]| {
        names
            .iter()
            .map(|name| plain(&row[*name]))
            .collect::<Vec<_>>()
            .join(" | ")
    };
    let lines = |rows: &[Value], names: &[&str]| {
        rows.iter().map(|row| line(row, names)).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&rows, &["id", "day", "hour", "off", "timezone", "amount"]),
        [
            "99000001 | 2026-01-04 | 23 | null | Mars/Olympus | 1.5000",
            "99000002 | 2026-01-05 | 0 | 60 | Europe/Amsterdam | 0.1250",
            "99000003 | 2026-01-05 | 0 | 60 | Europe/Amsterdam | 1.5000",
        ],
        "a zone nobody knows gives the day of UTC"
    );
    assert_eq!(
        lines(&told, &["id", "resource", "field", "rule", "original"]),
        [
            "99000001 | revenue_transactions | timeZone | time_zone_known | Mars/Olympus",
            "99000002 | revenue_transactions | price | price_fits_unit | 12.5 EUR has a fraction, and amounts are said to be in minor units",
        ]
    );
    sandbox.stop().await;
}

/// The facts that each source lists, and the column of a record that tells its site's clock.
const CLOCKS: [(&str, &str, &str); 4] = [
    ("hecone", "transactions", "timezone"),
    ("bemo", "sessions", "timeZone"),
    ("pace", "transactions", "createdAtLocaltime"),
    ("smartnow", "revenue_transactions", "timeZone"),
];

/// All four sources; from now on, each list of facts comes with one of its records, as it is written, replaced by what `damage` makes of it. The
/// number of facts is told beside them.
async fn of_all(damage: impl Fn(&str, &str) -> String) -> (Sandbox, TestProject, i64) {
    let options = SandboxOptions {
        transactions: 50,
        smartnow_sales: Some(200),
        bemo_sessions: Some(100),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let mut facts = 0;
    for (source, resource, clock) in CLOCKS {
        let selection = RecordSelection {
            tenant: (source == "bemo").then(|| sandbox.accounts()[0].clone()),
            ..RecordSelection::of(resource)
        };
        let records = sandbox.truth_of(source, &selection).unwrap();
        let record = std::str::from_utf8(&records[records.len() / 2]).unwrap();
        facts += i64::try_from(records.len()).unwrap();
        let path = match source {
            "smartnow" => "/smartnow/revenuetransaction",
            "bemo" => "/sessions",
            "pace" => "/pace/pay/",
            _ => "/hecone/transactions",
        };
        sandbox.inject([EmulatedFault {
            text: Some(record.to_owned()),
            with: Some(damage(record, clock)),
            ..EmulatedFault::new(FaultKind::Replaced)
                .times(1_000_000)
                .on(path)
        }]);
        for account in sandbox
            .accounts()
            .iter()
            .skip(1)
            .filter(|_| source == "bemo")
        {
            facts += many(&held(&sandbox, source, resource, Some(account)));
        }
    }
    let sources = CLOCKS.map(|(source, ..)| source);
    let project = TestProject::of(&sources, &sandbox, "2025-06-01").await;
    (sandbox, project, facts)
}

const FACTS: &str = "SELECT (SELECT count(*) FROM hecone.transactions) + (SELECT count(*) FROM bemo.sessions) \
     + (SELECT count(*) FROM pace.transactions) + (SELECT count(*) FROM smartnow.revenue_transactions)";

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_its_sites_clock_is_named_in_every_source_and_no_other_is() {
    let (sandbox, project, facts) = of_all(|record, clock| {
        let (before, rest) = record.split_once(&format!("\"{clock}\":\"")).unwrap();
        let (_, behind) = rest.split_once('"').unwrap();
        format!("{before}\"{clock}\":null{behind}")
    })
    .await;
    for _ in 0..2 {
        project.json(&SYNC[2..]).await;
        assert_eq!(project.count(FACTS).await, facts);
        let told = project
            .sql("SELECT concat_ws(' ', pipeline, rule, original) AS told, record_key FROM ops.warnings WHERE rule LIKE '%\\_given' ORDER BY 1")
            .await;
        let words: Vec<&str> = told
            .iter()
            .map(|row| row["told"].as_str().unwrap())
            .collect();
        assert_eq!(
            words,
            [
                "bemo time_zone_given timeZone is missing: the day and hour are those of UTC",
                "hecone site_timezone_given site.timezone is missing: the day and hour are those of UTC",
                "pace local_time_given attributes.createdAtLocaltime is missing: the day and hour are those of UTC",
                "smartnow time_zone_given timeZone is missing: the location's counts, else the day and hour are those of UTC",
            ],
            "once each"
        );
    }
    // The location knows better.
    let unknown = "SELECT count(*) FROM transactions WHERE utc_offset_minutes IS NULL AND pipeline";
    assert_eq!(project.count(&format!("{unknown} = 'smartnow'")).await, 0);
    assert!(project.count(&format!("{unknown} <> 'smartnow'")).await >= 2);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_comma_between_two_records_costs_none_of_them() {
    let (sandbox, project, facts) = of_all(|record, _| format!(",{record} ;")).await;
    let report = project.json(&SYNC[2..]).await;
    for pipeline in report["pipelines"].as_array().unwrap() {
        assert_eq!(pipeline["failed"], json!([]), "{report}");
        assert_eq!(exact_json::integer(&pipeline["rejects"]), 0, "{report}");
    }
    assert_eq!(project.count(FACTS).await, facts);
    let told = "SELECT count(DISTINCT pipeline) FROM ops.warnings WHERE rule = 'record_separators' AND record_key = '' \
         AND field LIKE '%[]' AND original LIKE '%too many%'";
    assert_eq!(project.count(told).await, 4);
    sandbox.stop().await;
}
