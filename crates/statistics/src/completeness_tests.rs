//! The law of completeness: what counts as read, for whom, and by which run.
//!
//! Invariant: each test assesses rows of the bookkeeping alone, without a warehouse.

use super::*;
use tillhouse_lake::SliceRow;

fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A window of days in January 2026.
fn days(from: u8, to: u8) -> Window {
    Window::new(
        t(&format!("2026-01-{from:02}T00:00:00Z")),
        t(&format!("2026-01-{to:02}T00:00:00Z")),
    )
    .unwrap()
}

fn run() -> RunRecord {
    RunRecord {
        run_id: "20260120T000000Z-000000".into(),
        command: "sync".into(),
        pipelines: vec!["p".into()],
        started_at: t("2026-01-20T00:00:00Z"),
        finished_at: t("2026-01-20T01:00:00Z"),
        outcome: "done".into(),
        published: true,
        tables: BTreeMap::new(),
        figures: BTreeMap::new(),
        counts: BTreeMap::new(),
    }
}

/// Slices as coverage.
fn read(slices: &BTreeMap<String, Vec<SliceRow>>) -> BTreeMap<String, Vec<CoverageRow>> {
    let of = |rows: &Vec<SliceRow>| rows.iter().map(CoverageRow::from).collect();
    slices
        .iter()
        .map(|(pipeline, rows)| (pipeline.clone(), of(rows)))
        .collect()
}

fn slice(resource: &str, tenant: Option<&str>, window: Window) -> SliceRow {
    SliceRow {
        pipeline: "p".into(),
        resource: resource.into(),
        tenant: tenant.map(str::to_owned),
        window,
        read_by: Some(ReadBy::EventTime),
        also_read_by: None,
        run_id: run().run_id,
        read_at: t("2026-01-20T00:30:00Z"),
        records: 0,
        rejects: 0,
        declared_total: None,
        attempts: 1,
        load_id: 1,
    }
}

/// Each was last asked by the run itself.
fn syncs(pipelines: &[&str], is_whole: bool) -> BTreeMap<String, LastSync> {
    let sync = LastSync {
        run_id: run().run_id,
        started_at: run().started_at,
        is_whole,
    };
    pipelines
        .iter()
        .map(|pipeline| ((*pipeline).to_owned(), sync.clone()))
        .collect()
}

fn gap(pipeline: &str, resource: &str, window: Window) -> ReportedGap {
    ReportedGap {
        pipeline: pipeline.into(),
        resource: resource.into(),
        window,
        read_by: None,
    }
}

fn assessed(window: Window, tenant: Option<&str>, slices: Vec<SliceRow>) -> AnswerCompleteness {
    let tenant = tenant.map(|id| TenantPipelines {
        id,
        pipelines: BTreeSet::new(),
    });
    assess(
        &run(),
        &syncs(&["p"], true),
        window,
        tenant.as_ref(),
        &read(&BTreeMap::from([("p".to_owned(), slices)])),
        &[],
    )
}

#[test]
fn coverage_is_each_resources_and_each_tenants_own() {
    let slices = vec![
        slice("sales", Some("a"), days(1, 10)),
        slice("sales", Some("b"), days(1, 4)),
        slice("sales", Some("b"), days(5, 10)),
        slice("logs", None, days(2, 8)),
    ];
    let all = assessed(days(3, 9), None, slices.clone());
    assert_eq!(
        all.gaps,
        [gap("p", "logs", days(8, 9)), gap("p", "sales", days(4, 5))]
    );
    assert_eq!(all.data_through, Some(days(1, 4).to()));
    let a = assessed(days(3, 9), Some("a"), slices);
    assert_eq!(a.gaps, [gap("p", "logs", days(8, 9))]);
    assert_eq!(
        a.data_through,
        Some(days(1, 8).to()),
        "the logs, which have no tenant, end on the 8th"
    );
}

#[test]
fn of_two_runs_in_one_second_the_second_knows_what_the_first_has_read() {
    let sees = |run_id: &str, read_at: &str| {
        let mut row = slice("sales", None, days(1, 10));
        (row.run_id, row.read_at) = (run_id.to_owned(), t(read_at));
        could_see(&run(), &CoverageRow::from(&row))
    };
    assert!(
        sees("20260120T000000Z-ffffff", "2026-01-20T00:00:00Z"),
        "the first of that second, whatever its id"
    );
    assert!(
        !sees("20260120T000000Z-ffffff", "2026-01-20T00:00:01Z"),
        "the second of them"
    );
    assert!(
        sees("20260119T235959Z-ffffff", "2026-01-20T00:10:00Z"),
        "a run beside it that began before"
    );
    assert!(
        !sees("20260120T000001Z-000000", "2026-01-20T00:10:00Z"),
        "a run beside it that began after"
    );
    assert!(
        !sees("20260119T235959Z-ffffff", "2026-01-20T01:00:01Z"),
        "read after it was over"
    );
}

#[test]
fn a_pipeline_that_is_read_for_others_does_not_spoil_a_tenants_answer() {
    let slices = BTreeMap::from([
        (
            "fleet".to_owned(),
            vec![slice("sessions", Some("acme"), days(1, 5))],
        ),
        ("tills".to_owned(), vec![slice("sales", None, days(1, 10))]),
    ]);
    let assessed = |id: &str, homes: &[&str], slices: &BTreeMap<String, Vec<SliceRow>>| {
        let tenant = TenantPipelines {
            id,
            pipelines: homes.iter().map(|name| (*name).to_owned()).collect(),
        };
        assess(
            &run(),
            &syncs(&["fleet", "tills"], true),
            days(1, 9),
            Some(&tenant),
            &read(slices),
            &[],
        )
    };
    let everything = |pipeline: &str| gap(pipeline, "*", days(1, 9));

    let north = assessed("north", &["tills"], &slices);
    assert_eq!(
        (north.gaps, north.data_through),
        (Vec::new(), Some(days(1, 10).to())),
        "the tills alone know north"
    );
    // An account's own coverage counts, whether or not it has bought anything yet.
    for homes in [&["fleet"][..], &[]] {
        let acme = assessed("acme", homes, &slices);
        assert_eq!(acme.gaps, [gap("fleet", "sessions", days(5, 9))]);
        assert_eq!(acme.data_through, Some(days(1, 5).to()));
    }
    // Nobody knows it: it may be an account that is yet to be read.
    let new = assessed("new", &[], &slices);
    assert_eq!(
        (new.gaps, new.data_through),
        (vec![everything("fleet")], None)
    );
    // A pipeline that has read nothing at all may hold anything.
    let empty = BTreeMap::from([
        ("fleet".to_owned(), Vec::new()),
        ("tills".to_owned(), slices["tills"].clone()),
    ]);
    let north = assessed("north", &["tills"], &empty);
    assert_eq!(
        (north.gaps, north.data_through),
        (vec![everything("fleet")], None)
    );
    // Of the pipelines asked about, none knows it.
    let fleet = BTreeMap::from([("fleet".to_owned(), slices["fleet"].clone())]);
    assert_eq!(
        assessed("north", &["tills"], &fleet).gaps,
        [everything("fleet")]
    );
}

#[test]
fn data_through_starts_where_the_question_does() {
    let slices = || {
        vec![
            slice("s", None, days(2, 4)),
            slice("s", None, days(4, 6)),
            slice("s", None, days(8, 10)),
        ]
    };
    for (asked, through) in [(days(3, 4), 6), (days(5, 7), 6), (days(8, 9), 10)] {
        let expected = Some(days(1, through).to());
        assert_eq!(
            assessed(asked, None, slices()).data_through,
            expected,
            "{asked}"
        );
    }
    // What begins with a gap was read up to nowhere, whatever was read after it.
    for asked in [days(1, 2), days(1, 9), days(6, 7), days(11, 12)] {
        let answer = assessed(asked, None, slices());
        assert_eq!(
            (answer.data_through, answer.gaps[0].window.from()),
            (None, asked.from()),
            "{asked}"
        );
    }
}

/// A slice by change time, of a resource that is read by that alone or by event time too.
fn changes(window: Window, also_read_by: Option<ReadBy>) -> SliceRow {
    SliceRow {
        read_by: Some(ReadBy::ChangeTime),
        also_read_by,
        ..slice("s", None, window)
    }
}

#[test]
fn by_change_time_an_answer_needs_all_that_was_read_since() {
    let read = || vec![changes(days(1, 5), None), changes(days(7, 20), None)];
    let late = |window| ReportedGap {
        read_by: Some(ReadBy::ChangeTime),
        ..gap("p", "s", window)
    };
    let first = assessed(days(2, 4), None, read());
    assert_eq!(
        (first.gaps, first.data_through),
        (vec![late(days(5, 7))], Some(days(4, 5).to()))
    );
    assert_eq!(assessed(days(6, 8), None, read()).gaps, [late(days(6, 7))]);
    let last = assessed(days(7, 8), None, read());
    assert_eq!(
        (last.gaps, last.data_through),
        (vec![], Some(days(8, 20).to()))
    );
    // Nothing was read of it by the run that is asked.
    assert_eq!(
        assessed(days(2, 4), None, vec![changes(days(1, 15), None)]).gaps,
        [late(days(15, 20))]
    );
}

#[test]
fn asking_what_was_learnt_since_makes_no_gap_of_what_happened_before() {
    let both = |row: SliceRow| SliceRow {
        also_read_by: row.read_by.map(ReadBy::other),
        ..row
    };
    let first = SliceRow {
        read_at: days(18, 19).to(),
        ..slice("s", None, days(1, 19))
    };
    let again = slice("s", None, days(17, 20));
    let rows = vec![
        both(first.clone()),
        both(again.clone()),
        both(changes(days(19, 20), None)),
    ];
    let answer = assessed(days(1, 19), None, rows);
    assert_eq!(
        (answer.gaps, answer.data_through),
        (vec![], Some(days(19, 20).to()))
    );
    let lacking = assessed(days(1, 19), None, vec![both(first), both(again)]);
    let late = ReportedGap {
        read_by: Some(ReadBy::ChangeTime),
        ..gap("p", "s", days(19, 20))
    };
    assert_eq!(
        (lacking.gaps, lacking.data_through),
        (vec![late], Some(days(19, 20).from()))
    );
}

#[test]
fn what_is_read_whole_has_no_past_to_read() {
    let whole = |resource: &str, to: u8| SliceRow {
        read_by: None,
        ..slice(resource, None, days(10, to))
    };
    let rows = vec![
        slice("sales", None, days(10, 20)),
        whole("machines", 20),
        whole("users", 15),
    ];
    let gaps = [
        gap("p", "sales", days(5, 10)),
        gap("p", "users", days(15, 18)),
    ];
    assert_eq!(assessed(days(5, 18), None, rows).gaps, gaps);
    // Bookkeeping of an older version does not tell what is read whole, nor does what it had in a name.
    let old = vec![
        whole("sales", 20),
        changes(days(17, 20), Some(ReadBy::EventTime)),
    ];
    assert_eq!(
        assessed(days(5, 18), None, old[..1].to_vec()).gaps,
        [gap("p", "sales", days(5, 10))]
    );
    assert!(
        assessed(days(5, 18), None, old)
            .gaps
            .contains(&gap("p", "sales", days(5, 10)))
    );
}

#[test]
fn what_a_pipeline_reads_no_more_is_no_gap() {
    let before = |row: SliceRow| SliceRow {
        run_id: "20260110T000000Z-000000".into(),
        ..row
    };
    let rows = vec![
        slice("sales", Some("a"), days(1, 20)),
        before(slice("sales", Some("b"), days(1, 8))),
        before(changes(days(3, 8), None)),
    ];
    let all = assessed(days(5, 15), None, rows.clone());
    assert_eq!(
        (all.gaps, all.data_through),
        (vec![], Some(days(19, 20).to()))
    );
    // It was read from the 3rd on, as long as it was read.
    let late = ReportedGap {
        read_by: Some(ReadBy::ChangeTime),
        ..gap("p", "s", days(2, 3))
    };
    assert_eq!(assessed(days(2, 15), None, rows.clone()).gaps, [late]);
    // Where something failed, it may be this.
    let slices = BTreeMap::from([("p".to_owned(), rows)]);
    let partial = assess(
        &run(),
        &syncs(&["p"], false),
        days(5, 15),
        None,
        &read(&slices),
        &[],
    );
    let late = ReportedGap {
        read_by: Some(ReadBy::ChangeTime),
        ..gap("p", "s", days(8, 20))
    };
    assert_eq!(partial.gaps, [late, gap("p", "sales", days(8, 15))]);
}

#[test]
fn what_is_still_to_come_is_no_gap_and_was_not_read() {
    let year = Window::new(t("2026-01-01T00:00:00Z"), t("2030-01-01T00:00:00Z")).unwrap();
    let (read_at, started) = (t("2026-01-20T00:30:00Z"), run().started_at);
    for row in [slice("s", None, year), changes(year, None)] {
        let answer = assessed(days(19, 25), None, vec![row.clone()]);
        assert_eq!(
            (answer.gaps, answer.data_through),
            (vec![], Some(read_at)),
            "not further than it was read"
        );
        assert_eq!(
            answer.still_to_come,
            Window::new(started, days(19, 25).to()).ok()
        );
        let later = Window::new(t("2029-01-01T00:00:00Z"), year.to()).unwrap();
        let answer = assessed(later, None, vec![row]);
        assert_eq!((answer.gaps, answer.data_through), (vec![], Some(read_at)));
        assert_eq!(answer.still_to_come, Some(later));
    }
    assert_eq!(
        assessed(days(2, 20), None, vec![slice("s", None, days(1, 20))]).still_to_come,
        None
    );
    // What nobody could read yet is no gap of a pipeline that has read nothing.
    assert_eq!(
        assessed(days(18, 25), None, vec![]).gaps,
        [gap("p", "*", days(18, 20))]
    );
}

#[test]
fn what_came_after_the_run_is_not_seen() {
    let later = SliceRow {
        run_id: "20260121T000000Z-000000".into(),
        ..slice("s", None, days(1, 10))
    };
    assert_eq!(assessed(days(1, 10), None, vec![later]).gaps.len(), 1);
    // A run that began before this one, but read its slice after this one had ended.
    let beside = SliceRow {
        run_id: "20260119T000000Z-000000".into(),
        read_at: t("2026-01-20T02:00:00Z"),
        ..slice("s", None, days(1, 10))
    };
    assert_eq!(
        assessed(days(1, 10), None, vec![beside.clone()]).data_through,
        None
    );
    let before = SliceRow {
        read_at: t("2026-01-19T00:00:00Z"),
        ..beside
    };
    assert!(assessed(days(1, 10), None, vec![before]).gaps.is_empty());
}

#[test]
fn rejects_count_records_while_they_were_open() {
    let reject = |key: Option<&str>, field: &str, redacted: &str| RejectRow {
        pipeline: "p".into(),
        resource: "s".into(),
        record_key: key.map(str::to_owned),
        field: field.into(),
        reason: "wrong".into(),
        redacted: redacted.into(),
        tenant: None,
        nth: 1,
        time: None,
        slice: days(1, 2),
        read_by: Some(ReadBy::EventTime),
        run_id: run().run_id,
        first_seen: t("2026-01-20T00:30:00Z"),
        last_seen: t("2026-01-20T00:30:00Z"),
        resolved_at: None,
    };
    let rejects = [
        reject(Some("1"), "a", ""),
        reject(Some("1"), "b", ""),
        reject(None, "a", "{1}"),
        reject(None, "a", "{2}"),
        reject(None, "", ""),
        RejectRow {
            nth: 2,
            ..reject(None, "", "")
        },
        RejectRow {
            resolved_at: Some(t("2026-01-20T00:40:00Z")),
            ..reject(Some("2"), "a", "")
        },
        RejectRow {
            resolved_at: Some(t("2026-01-21T00:00:00Z")),
            ..reject(Some("3"), "a", "")
        },
        RejectRow {
            first_seen: t("2026-01-21T00:00:00Z"),
            ..reject(Some("4"), "a", "")
        },
        RejectRow {
            pipeline: "other".into(),
            ..reject(Some("5"), "a", "")
        },
        RejectRow {
            slice: days(5, 6),
            ..reject(Some("6"), "a", "")
        },
        RejectRow {
            slice: days(5, 6),
            read_by: Some(ReadBy::ChangeTime),
            ..reject(Some("7"), "a", "")
        },
    ];
    let slices = BTreeMap::from([("p".to_owned(), vec![slice("s", None, days(1, 2))])]);
    assert_eq!(
        assess(
            &run(),
            &syncs(&["p"], true),
            days(1, 3),
            None,
            &read(&slices),
            &rejects
        )
        .rejects,
        7
    );
    assert_eq!(
        assess(
            &run(),
            &syncs(&["p"], true),
            days(6, 7),
            None,
            &read(&slices),
            &rejects
        )
        .rejects,
        0
    );
}
