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
        expected: BTreeMap::new(),
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
        tenant: None,
        window,
        read_by: None,
    }
}

fn gap_of(tenant: &str, gap: ReportedGap) -> ReportedGap {
    ReportedGap {
        tenant: Some(tenant.into()),
        ..gap
    }
}

fn assessed(window: Window, tenant: Option<&str>, slices: Vec<SliceRow>) -> AnswerCompleteness {
    let tenant = tenant.map(|id| TenantPipelines {
        id,
        pipelines: BTreeSet::new(),
    });
    assess(
        &run(),
        &BTreeMap::new(),
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
        [
            gap("p", "logs", days(8, 9)),
            gap_of("b", gap("p", "sales", days(4, 5)))
        ]
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
fn a_run_knows_what_runs_before_it_have_read_as_far_as_they_had_by_its_end() {
    let sees = |run_id: &str, read_at: &str| {
        let mut row = slice("sales", None, days(1, 10));
        (row.run_id, row.read_at) = (run_id.to_owned(), t(read_at));
        could_see(&run(), &CoverageRow::from(&row))
    };
    assert!(
        !sees("20260120T000000Z-ffffff", "2026-01-20T00:00:00Z"),
        "a run of the same second that began after"
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
            &BTreeMap::new(),
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
        assert_eq!(
            acme.gaps,
            [gap_of("acme", gap("fleet", "sessions", days(5, 9)))]
        );
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
    // A window that begins with a gap was read up to nowhere, whatever was read after it.
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
        &BTreeMap::new(),
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
    let sales = gap_of("b", gap("p", "sales", days(8, 15)));
    assert_eq!(partial.gaps, [late, sales]);
}

/// Resources and tenants that a pipeline is to read.
fn reads(of: &[(&str, &[Option<&str>])]) -> ExpectedReads {
    let owned = |tenants: &[Option<&str>]| tenants.iter().map(|t| t.map(str::to_owned)).collect();
    let resources = of
        .iter()
        .map(|(resource, tenants)| ((*resource).to_owned(), owned(tenants)));
    ExpectedReads::new("pace", resources)
}

fn recorded(pipelines: &[(&str, ExpectedReads)]) -> RunRecord {
    let expected = pipelines.iter().cloned();
    RunRecord {
        expected: expected
            .map(|(pipeline, reads)| (pipeline.to_owned(), reads))
            .collect(),
        ..run()
    }
}

/// Answer about a window, of a run in which something failed.
fn judged(
    run: &RunRecord,
    window: Window,
    tenant: Option<&str>,
    slices: Vec<SliceRow>,
) -> AnswerCompleteness {
    let tenant = tenant.map(|id| TenantPipelines {
        id,
        pipelines: BTreeSet::new(),
    });
    assess(
        run,
        &BTreeMap::new(),
        &syncs(&["p"], false),
        window,
        tenant.as_ref(),
        &read(&BTreeMap::from([("p".to_owned(), slices)])),
        &[],
    )
}

#[test]
fn a_tenant_of_which_nothing_was_ever_read_lacks_everything() {
    let run = recorded(&[("p", reads(&[("sales", &[Some("a"), Some("b")])]))]);
    let read = || vec![slice("sales", Some("a"), days(1, 20))];
    let all = judged(&run, days(3, 9), None, read());
    let lacking = gap_of("b", gap("p", "sales", days(3, 9)));
    assert_eq!(
        (all.gaps, all.data_through, all.still_to_come),
        (vec![lacking.clone()], None, None)
    );
    // The time that no run can have read yet is not among it.
    let later = judged(&run, days(18, 25), None, read());
    assert_eq!(later.gaps, [gap_of("b", gap("p", "sales", days(18, 20)))]);
    let b = judged(&run, days(3, 9), Some("b"), read());
    assert_eq!((b.gaps, b.data_through), (vec![lacking], None));
    let a = judged(&run, days(3, 9), Some("a"), read());
    assert_eq!((a.gaps, a.data_through), (vec![], Some(days(1, 20).to())));
    // Once it was read, there is none.
    let mut both = read();
    both.push(slice("sales", Some("b"), days(1, 20)));
    let both = judged(&run, days(3, 9), None, both);
    assert_eq!(
        (both.gaps, both.data_through),
        (vec![], Some(days(1, 20).to()))
    );
}

#[test]
fn a_resource_of_which_nothing_was_ever_read_lacks_everything() {
    let run = recorded(&[("p", reads(&[("sales", &[None]), ("payments", &[None])]))]);
    let answer = judged(
        &run,
        days(3, 9),
        None,
        vec![slice("sales", None, days(1, 20))],
    );
    assert_eq!(
        (answer.gaps, answer.data_through),
        (vec![gap("p", "payments", days(3, 9))], None)
    );
    let nothing = judged(&run, days(3, 9), None, vec![]);
    assert_eq!(
        nothing.gaps,
        [
            gap("p", "payments", days(3, 9)),
            gap("p", "sales", days(3, 9))
        ]
    );
}

#[test]
fn a_pipeline_that_was_never_synced_lacks_everything() {
    let run = recorded(&[
        ("p", reads(&[("sales", &[None])])),
        ("new", ExpectedReads::unknown(Some("pace".into()))),
    ]);
    let judged = |window: Window, tenant: Option<&TenantPipelines<'_>>| {
        let sales = vec![slice("sales", None, days(1, 20))];
        let slices = [("p".to_owned(), sales), ("new".to_owned(), Vec::new())].into();
        assess(
            &run,
            &BTreeMap::new(),
            &syncs(&["p"], true),
            window,
            tenant,
            &read(&slices),
            &[],
        )
    };
    let answer = judged(days(18, 25), None);
    assert_eq!(
        (answer.gaps, answer.data_through),
        (vec![gap("new", "*", days(18, 20))], None)
    );
    let tenant = TenantPipelines {
        id: "north",
        pipelines: BTreeSet::from(["p".to_owned()]),
    };
    let answer = judged(days(3, 9), Some(&tenant));
    assert_eq!(
        answer.gaps,
        [gap("new", "*", days(3, 9))],
        "it may hold anything"
    );
}

#[test]
fn a_tenant_that_is_read_no_more_ends_where_it_ends_whatever_else_fails() {
    let run = recorded(&[("p", reads(&[("sales", &[Some("a"), Some("c")])]))]);
    let before = |row: SliceRow| SliceRow {
        run_id: "20260110T000000Z-000000".into(),
        ..row
    };
    let read = || {
        vec![
            slice("sales", Some("a"), days(1, 20)),
            before(slice("sales", Some("b"), days(1, 8))),
        ]
    };
    let lacking = |window| gap_of("c", gap("p", "sales", window));
    let all = judged(&run, days(5, 15), None, read());
    assert_eq!(
        (all.gaps, all.data_through),
        (vec![lacking(days(5, 15))], None)
    );
    // Asked for by itself, it answers as far as it was read.
    let b = judged(&run, days(5, 15), Some("b"), read());
    assert_eq!((b.gaps, b.data_through), (vec![], Some(days(1, 8).to())));
    // One that was never read before it was removed leaves nothing behind.
    let mut unseen = before(slice("sales", Some("d"), days(1, 8)));
    unseen.read_at = unseen.window.from();
    let mut rows = read();
    rows.push(unseen);
    let all = judged(&run, days(5, 15), None, rows);
    assert_eq!(all.gaps, [lacking(days(5, 15))]);
}

#[test]
fn what_another_process_reads_for_the_first_time_is_not_published() {
    let mut run = recorded(&[("p", ExpectedReads::unknown(None))]);
    let mut row = slice("sales", None, days(1, 10));
    row.run_id = "20260119T000000Z-000000".to_owned();
    let row = CoverageRow::from(&row);
    assert!(!could_see(&run, &row));
    run.tables.insert("p/sales".to_owned(), 1.into());
    assert!(could_see(&run, &row), "an earlier run has published it");
}

#[test]
fn what_was_read_and_not_unified_is_missing() {
    let unified_by = |id: &str| ExpectedReads {
        unified_by: Some(id.to_owned()),
        ..reads(&[("sales", &[None])])
    };
    let before = |row: SliceRow| SliceRow {
        run_id: "20260110T000000Z-000000".into(),
        ..row
    };
    let read = || {
        vec![
            before(slice("sales", None, days(1, 10))),
            slice("sales", None, days(8, 20)),
        ]
    };
    for (id, gaps, through) in [
        (run().run_id, vec![], Some(days(1, 20).to())),
        (
            "20260110T000000Z-000000".to_owned(),
            vec![gap("p", "sales", days(10, 15))],
            Some(days(1, 10).to()),
        ),
        (String::new(), vec![gap("p", "sales", days(3, 15))], None),
    ] {
        let run = recorded(&[("p", unified_by(&id))]);
        let answer = judged(&run, days(3, 15), None, read());
        assert_eq!((answer.gaps, answer.data_through), (gaps, through), "{id}");
    }
}

#[test]
fn a_reader_s_configuration_adds_what_the_run_does_not_know() {
    let old = run();
    let new = recorded(&[("p", reads(&[("sales", &[Some("a"), Some("b")])]))]);
    let configured =
        BTreeMap::from([("p".to_owned(), reads(&[("sales", &[Some("a"), Some("c")])]))]);
    let slices = BTreeMap::from([(
        "p".to_owned(),
        vec![
            slice("sales", Some("a"), days(1, 20)),
            slice("sales", Some("b"), days(1, 10)),
        ],
    )]);
    for run in [&old, &new] {
        let answer = assess(
            run,
            &configured,
            &syncs(&["p"], true),
            days(8, 15),
            None,
            &read(&slices),
            &[],
        );
        let of = |tenant: &str, window| gap_of(tenant, gap("p", "sales", window));
        assert_eq!(
            answer.gaps,
            [of("b", days(10, 15)), of("c", days(8, 15))],
            "another project may read what this one does not"
        );
        assert_eq!(answer.data_through, None);
    }
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
    // The time that nobody could read yet is no gap of a pipeline that has read nothing.
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
            &BTreeMap::new(),
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
            &BTreeMap::new(),
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

#[test]
fn what_lies_before_the_start_is_no_gap_and_is_told_apart() {
    let start = |day: u8| [("sales".to_owned(), days(day, day + 1).from())];
    let expected = || reads(&[("sales", &[None])]);
    let run = recorded(&[("p", expected().starting(start(5)))]);
    let read = || vec![slice("sales", None, days(5, 20))];
    let early = |from, to| vec![gap("p", "sales", days(from, to))];
    // Across the start: complete from there on.
    let across = judged(&run, days(3, 9), None, read());
    assert_eq!(
        (across.gaps, across.before_start, across.data_through),
        (vec![], early(3, 5), Some(days(1, 20).to()))
    );
    // Before it altogether: nothing lacks, and nothing is said to have been read.
    let before = judged(&run, days(1, 4), None, read());
    assert_eq!(
        (before.gaps, before.before_start, before.data_through),
        (vec![], early(1, 4), None)
    );
    // What was asked for all the same has been read, and a gap after the start is one.
    let torn = vec![
        slice("sales", None, days(1, 3)),
        slice("sales", None, days(5, 7)),
        slice("sales", None, days(8, 20)),
    ];
    let torn = judged(&run, days(1, 9), None, torn);
    assert_eq!(
        (torn.gaps, torn.before_start, torn.data_through),
        (early(7, 8), early(3, 5), Some(days(5, 7).to()))
    );
    // Of two that tell it, the earlier start counts; where nobody tells, everything should have been read.
    let earlier = BTreeMap::from([("p".to_owned(), expected().starting(start(4)))]);
    let slices = super::tests::read(&BTreeMap::from([("p".to_owned(), read())]));
    let both = assess(
        &run,
        &earlier,
        &syncs(&["p"], false),
        days(3, 9),
        None,
        &slices,
        &[],
    );
    assert_eq!((both.gaps, both.before_start), (early(4, 5), early(3, 4)));
    let older = recorded(&[("p", expected())]);
    let older = judged(&older, days(3, 9), None, read());
    assert_eq!((older.gaps, older.before_start), (early(3, 5), vec![]));
}
