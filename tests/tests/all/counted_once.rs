//! Records that come several times: for two tenants, in windows side by side, without a key.
//!
//! Invariant: whatever comes twice counts once, in tables, reports, statistics and comparisons alike.

use crate::canned_project::{CannedProject, SOURCES};
use tillhouse_lake::AsOf;
use tillhouse_model::Window;
use tillhouse_model::reconcile::ReconcileAgainst;
use tillhouse_pipeline::{ReconcileRequest, reconcile};
use tillhouse_statistics::{StatisticsRequest, statistics};

const NOW: &str = "2026-01-01T12:30:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_for_two_tenants_belongs_to_the_first_of_them_and_stays_as_it_is() {
    let session = |id: &str| {
        format!(
            r#"{{"sessionId":"{id}","sessionStartDate":"{NOW}","timeZone":"+01:00","transactions":[{{"currencyKey":"EUR","totalAmount":1.5}}]}}"#
        )
    };
    let sale = |id: &str| {
        format!(
            r#"{{"id":"{id}","attributes":{{"createdAt":"{NOW}","priceIncludingVAT":1.5,"currency":"EUR"}}}}"#
        )
    };
    let sources = [
        ("bemo", "sessions", ["x", "y"].map(session), "account_id"),
        ("pace", "transactions", ["x", "y"].map(sale), "partner"),
    ];
    for (source, resource, records, column) in sources {
        let bench = CannedProject::new(source, &[(resource, records.to_vec())], "").await;
        let file = bench
            .context
            .project
            .dir
            .join("pipelines")
            .join(source)
            .join("pipeline.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let order = async |tenants: &str| {
            std::fs::write(
                &file,
                text.replace(
                    "connection: { ",
                    &format!("connection: {{ tenants: [{tenants}], "),
                ),
            )
            .unwrap();
        };
        let owners = "SELECT DISTINCT tenant_id, count(*) FROM unified.transactions GROUP BY 1";
        order("second, first").await;
        for new in [2, 0, 0] {
            let report = bench.sync().await;
            assert_eq!(
                (report.pipelines[0].new, report.pipelines[0].changed),
                (new, 0),
                "{report:?}"
            );
            assert!(report.pipelines[0].warnings >= 2, "{report:?}");
            assert_eq!(bench.rows(owners).await, ["second 2"]);
        }
        let warned = "SELECT record_key, field, original FROM ops.warnings WHERE rule = 'listed_elsewhere' ORDER BY 1";
        assert_eq!(
            bench.rows(warned).await,
            [format!("x {column} first"), format!("y {column} first")]
        );
        // Whoever is configured first now has them, once.
        order("first, second").await;
        for changed in [2, 0] {
            assert_eq!(bench.sync().await.pipelines[0].changed, changed);
            assert_eq!(bench.rows(owners).await, ["first 2"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_without_a_key_that_does_not_fit_is_counted_once() {
    let good = format!(
        r#"{{"id":"fine","attributes":{{"createdAt":"{NOW}","priceIncludingVAT":2,"currency":"EUR"}}}}"#
    );
    let records: Vec<String> = [&*good, "null", "null", "null", "5", "5", "[]"]
        .map(str::to_owned)
        .into();
    let bench = CannedProject::new("pace", &[("transactions", records)], "").await;
    for _ in 0..2 {
        let report = bench.sync().await;
        assert_eq!(
            (report.pipelines[0].records, report.pipelines[0].rejects),
            (7, 6),
            "{report:?}"
        );
        assert_eq!(
            bench
                .rows("SELECT count(*) FROM ops.rejects WHERE resolved_at IS NULL")
                .await,
            ["6"]
        );
        let session = bench
            .context
            .engine
            .open(&bench.context.warehouse, &AsOf::Latest)
            .await
            .unwrap();
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let window = Window::new(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z")).unwrap();
        let answer = statistics(
            &session,
            &bench.context.warehouse,
            &StatisticsRequest::new(window),
        )
        .await
        .unwrap();
        assert_eq!(answer.meta.rejects, 6);
    }
    // The newest reading counts: four of them are gone.
    let file = bench.context.project.dir.join("pages.json");
    let fewer = std::fs::read_to_string(&file)
        .unwrap()
        .replace("null,null,null,5,5", "null,5");
    std::fs::write(&file, fewer).unwrap();
    assert_eq!(bench.sync().await.pipelines[0].rejects, 3);
    assert_eq!(
        bench
            .rows("SELECT count(*) FROM ops.rejects WHERE resolved_at IS NULL")
            .await,
        ["3"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reject_whose_record_is_gone_is_closed_by_the_next_complete_reading() {
    let sale = |id: &str, price: &str| {
        format!(
            r#"{{"id":"{id}","attributes":{{"createdAt":"{NOW}","priceIncludingVAT":{price},"currency":"EUR"}}}}"#
        )
    };
    let (fine, odd, gone) = (sale("fine", "2"), sale("odd", "{}"), sale("gone", "{}"));
    let all = vec![fine.clone(), odd.clone(), gone.clone()];
    let bench = CannedProject::new("pace", &[("transactions", all)], "").await;
    let open = "SELECT record_key, count(record_time) FROM ops.rejects WHERE resolved_at IS NULL GROUP BY 1 ORDER BY 1";
    for _ in 0..2 {
        assert_eq!(bench.sync().await.pipelines[0].rejects, 2);
        assert_eq!(bench.rows(open).await, ["gone 1", "odd 1"]);
    }
    let file = bench.context.project.dir.join("pages.json");
    let pages = std::fs::read_to_string(&file).unwrap();
    let quoted = |record: &str| {
        let text = serde_json::to_string(record).unwrap();
        text.trim_matches('"').to_owned()
    };
    let fewer = pages.replace(&format!(",{}", quoted(&gone)), "");
    assert_ne!(pages, fewer);
    std::fs::write(&file, fewer).unwrap();
    assert_eq!(bench.sync().await.pipelines[0].rejects, 1);
    assert_eq!(bench.rows(open).await, ["odd 1"]);
    // It comes again, and is open again.
    std::fs::write(&file, pages).unwrap();
    bench.sync().await;
    assert_eq!(bench.rows(open).await, ["gone 1", "odd 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_windows_side_by_side_both_have_is_counted_once_and_closed_where_it_lies() {
    let session = |id: &str, start: &str| {
        format!(
            r#"{{"sessionId":"{id}","sessionStartDate":"{start}","timeZone":"+00:00","transactions":[{{"currencyKey":"EUR","totalAmount":1.5}}]}}"#
        )
    };
    let (noon, evening) = ("2026-01-01T12:30:00Z", "2026-01-01T20:00:00Z");
    let records = vec![
        session("fine", noon),
        session("", noon),
        session("", evening),
        "null".into(),
        "null".into(),
    ];
    let bench = CannedProject::new("bemo", &[("sessions", records)], "").await;
    let rejected = async |from: &str| {
        // The 1st, and the 2nd beside it: each is given what the other has.
        let mut counts = Vec::new();
        for (from, to) in [
            (from, "2026-01-02T00:00:00Z"),
            ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
        ] {
            let report = bench.sync_within(from, Some(to)).await;
            counts.push((report.pipelines[0].rejects, report.pipelines[0].records));
        }
        let open = "SELECT count(*), count(record_time) FROM ops.rejects WHERE resolved_at IS NULL";
        (counts, bench.rows(open).await.remove(0))
    };
    assert_eq!(
        rejected("2026-01-01T00:00:00Z").await,
        (vec![(4, 5), (4, 5)], "4 2".to_owned())
    );
    // The look-back's start moves by seconds: they are the same ones, and each lies in the day in which it happened.
    assert_eq!(
        rejected("2026-01-01T00:00:05Z").await,
        (vec![(4, 5), (4, 5)], "4 2".to_owned())
    );
    let days =
        "SELECT DISTINCT CAST(window_to AS date) FROM ops.rejects WHERE record_time IS NOT NULL";
    assert_eq!(bench.rows(days).await, ["2026-01-02"]);
    // Mended is closed by the next reading of where it lies, whatever seconds that begins later; the other one still comes, and stays.
    let file = bench.context.project.dir.join("pages.json");
    let pages = std::fs::read_to_string(&file).unwrap();
    let mended = |nth: usize| {
        let at = pages
            .match_indices(r#"\"sessionId\":\"\""#)
            .nth(nth)
            .unwrap()
            .0;
        format!(
            r#"{}\"sessionId\":\"mended\"{}"#,
            &pages[..at],
            &pages[at + r#"\"sessionId\":\"\""#.len()..]
        )
    };
    std::fs::write(&file, mended(0)).unwrap();
    assert_eq!(
        rejected("2026-01-01T00:00:09Z").await,
        (vec![(3, 5), (3, 5)], "3 1".to_owned())
    );
    let left = "SELECT CAST(record_time AS text) FROM ops.rejects WHERE resolved_at IS NULL AND record_time IS NOT NULL";
    assert!(bench.rows(left).await[0].contains("20:00"));
    // A list that is no longer read is not closed for that.
    std::fs::write(
        &file,
        mended(0)
            .replace(",null,null", "")
            .replace(r#"\"sessionId\":\"\""#, r#"\"sessionId\":\"z\""#),
    )
    .unwrap();
    bench
        .sync_within("2026-01-01T21:00:00Z", Some("2026-01-02T00:00:00Z"))
        .await;
    assert!(bench.rows(left).await[0].contains("20:00"));
    assert_eq!(
        rejected("2026-01-01T00:00:00Z").await,
        (vec![(0, 3), (0, 3)], "0 0".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_fit_is_left_out_of_a_comparison_once() {
    let session = |id: &str, start: &str| {
        format!(
            r#"{{"sessionId":"{id}","sessionStartDate":"{start}","timeZone":"+01:00","transactions":[{{"currencyKey":"EUR","totalAmount":1.5}}]}}"#
        )
    };
    // Every window asked for has all of them, as that of an API that is asked for the days around.
    let fine = session("fine", "2026-01-02T12:30:00Z");
    for (records, rejected) in [
        (vec![fine.clone(), session("broken", "on Friday")], 1),
        (
            vec![
                fine.clone(),
                session("broken", "on Friday"),
                session("other", "on Monday"),
                "null".into(),
                "null".into(),
            ],
            4,
        ),
        (vec![fine.clone()], 0),
    ] {
        let bench = CannedProject::new("bemo", &[("sessions", records)], "").await;
        assert_eq!(bench.sync().await.pipelines[0].rejects, rejected);
        let pipelines = bench.context.project.pipelines(&[], SOURCES).unwrap();
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let asked = ReconcileRequest {
            window: Window::new(at("2026-01-01T00:00:00Z"), at("2026-01-05T00:00:00Z")).unwrap(),
            step: jiff::SignedDuration::from_hours(24),
            states: vec!["completed".to_owned()],
            against: Some(ReconcileAgainst::Records),
            control: None,
            timezone: None,
            max_transactions: 20,
            filter: None,
        };
        let done = reconcile(&bench.context, &pipelines, &asked).await.unwrap();
        let outcome = &done.pipelines[0];
        assert_eq!(
            (outcome.windows, outcome.not_compared),
            (4, rejected),
            "{outcome:?}"
        );
        assert!(outcome.differences.is_empty(), "{outcome:?}");
        let told: Vec<&String> = outcome
            .notes
            .iter()
            .filter(|note| note.contains("were not compared"))
            .collect();
        assert_eq!(told.len() as u64, rejected.min(1), "{told:?}");
        assert!(
            told.iter()
                .all(|note| note.contains(&format!(": {rejected} records"))),
            "{told:?}"
        );
    }
}
