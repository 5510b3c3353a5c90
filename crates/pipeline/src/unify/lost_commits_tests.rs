//! Tables that have lost commits, of pipelines that are in the run, beside it, and not in the project any more.
//!
//! Invariant: each test runs whole syncs and rebuilds in processes of their own, and looks at what `check` says behind them.

use super::other_process_tests::{options, pipeline_of, publish, shown};
use super::scripted_statements::{ARTICLES, TRANSACTIONS, pipeline};
use crate::config::Pipeline;
use crate::held_lease::{FRESH, VALID};
use crate::lease::{IfRunning, RunLeases};
use crate::loss::{LossOutcome, RunScope, gone, problems_of, refusal};
use crate::record_origin::RecordOrigin;
use crate::repair::prepare;
use crate::report::RunReport;
use crate::scripted_source::{ScriptedRun, window};
use crate::{check_all_tables, rebuild, sync};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tillhouse_lake::{AsOf, LeaseOwner, LeaseRecord, LostRun, LostTable, RunRecord, TableVersion};
use tillhouse_model::{ErrorKind, Result};

fn folder(run: &ScriptedRun, table: &str) -> PathBuf {
    run.warehouse.url().to_file_path().unwrap().join(table)
}

/// Removes the newest commit of a table.
fn lose(run: &ScriptedRun, table: &str) {
    let log = std::fs::read_dir(folder(run, table).join("_delta_log")).unwrap();
    let commits = log.map(|entry| entry.unwrap().path());
    let commits = commits.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    std::fs::remove_file(commits.max().unwrap()).unwrap();
}

/// Writes the file by which a pipeline is one of the project.
fn configure(run: &ScriptedRun, pipeline: &str) {
    let project = folder(run, "..").join("pipelines").join(pipeline);
    std::fs::create_dir_all(&project).unwrap();
    std::fs::write(project.join("pipeline.yaml"), "source: shop\n").unwrap();
}

async fn sync_of(run: &ScriptedRun, names: &[&str]) -> Result<RunReport> {
    let all: Vec<_> = names
        .iter()
        .map(|name| pipeline_of(run, name, &["a", "b", "c"]))
        .collect();
    sync(&run.other_process().await, &all, options()).await
}

async fn rebuild_of(run: &ScriptedRun, names: &[&str]) -> Result<RunReport> {
    let all: Vec<_> = names
        .iter()
        .map(|name| pipeline_of(run, name, &[]))
        .collect();
    rebuild(&run.other_process().await, &all, IfRunning::Fail).await
}

/// Problems that `check` has with the warehouse; nothing where it has none.
async fn told(run: &ScriptedRun) -> String {
    let checked = check_all_tables(&run.other_process().await.warehouse).await;
    checked
        .err()
        .map_or_else(String::new, |error| format!("{error:?}"))
}

/// Two pipelines, of which `kiosk` was published last.
async fn published() -> ScriptedRun {
    let run = ScriptedRun::new([]).await;
    for (name, sales) in [("shop", vec!["a", "b"]), ("kiosk", vec!["k"])] {
        publish(&run.other_process().await, pipeline_of(&run, name, &sales)).await;
    }
    assert_eq!(told(&run).await, "");
    run
}

#[tokio::test]
async fn a_pipeline_that_was_taken_out_of_the_project_stops_nobody_and_rebuild_goes_on_with_what_is_left()
 {
    for is_gone in [false, true] {
        let run = published().await;
        let before = shown(&run).await;
        match is_gone {
            true => std::fs::remove_dir_all(folder(&run, "kiosk/sales")).unwrap(),
            false => lose(&run, "kiosk/sales"),
        }
        assert!(told(&run).await.contains("kiosk/sales"));
        let report = sync_of(&run, &["shop"]).await.unwrap();
        assert!(report.published && !report.is_partial(), "{report:?}");
        let still = told(&run).await;
        assert!(
            still.contains("kiosk/sales") && still.contains("`tillhouse rebuild`"),
            "{still}"
        );
        assert!(rebuild_of(&run, &["shop"]).await.unwrap().published);
        assert_eq!(told(&run).await, "");
        let report = sync_of(&run, &["shop"]).await.unwrap();
        assert!(report.published, "{report:?}");
        assert_eq!(told(&run).await, "");
        let after = shown(&run).await;
        assert!(before.iter().all(|sale| after.contains(sale)), "{after:?}");
        assert_eq!(after.len(), 4);
    }
}

#[tokio::test]
async fn a_unified_table_that_holds_rows_of_nobody_is_made_anew_but_for_these() {
    let run = published().await;
    assert!(rebuild_of(&run, &["shop"]).await.unwrap().published);
    let before = shown(&run).await;
    lose(&run, "unified/articles");
    let error = sync_of(&run, &["shop"]).await.unwrap_err();
    let hint = error.hint_text().unwrap().to_owned();
    assert!(error.to_string().contains("unified/articles"), "{error:?}");
    assert!(hint.contains("`tillhouse rebuild`"), "{hint}");
    // As long as its pipeline is in the project, it has to be made anew too.
    configure(&run, "kiosk");
    let error = rebuild_of(&run, &["shop"]).await.unwrap_err();
    let hint = error.hint_text().unwrap().to_owned();
    assert!(hint.contains("without kiosk"), "{hint}");
    std::fs::remove_dir_all(folder(&run, "..").join("pipelines")).unwrap();
    assert!(rebuild_of(&run, &["shop"]).await.unwrap().published);
    assert_eq!(told(&run).await, "");
    assert_eq!(shown(&run).await, before);
}

#[tokio::test]
async fn a_record_of_a_run_that_is_missing_with_its_note_is_told_until_a_sync_publishes() {
    for (is_all, what) in [
        (false, "no published run has that"),
        (true, "tables and no published run"),
    ] {
        let run = published().await;
        let notes = folder(&run, "ops/published");
        if is_all {
            std::fs::remove_dir_all(folder(&run, "ops/runs")).unwrap();
            std::fs::remove_dir_all(notes).unwrap();
        } else {
            lose(&run, "ops/runs");
            let notes = std::fs::read_dir(notes).unwrap();
            let newest = notes.map(|note| note.unwrap().path()).max();
            std::fs::remove_file(newest.unwrap()).unwrap();
        }
        let missing = told(&run).await;
        assert!(
            missing.contains(what) && missing.contains("`tillhouse sync`"),
            "{missing}"
        );
        let report = sync_of(&run, &["shop", "kiosk"]).await.unwrap();
        assert!(report.published, "{report:?}");
        assert_eq!(told(&run).await, "");
    }
}

/// Copies a folder with all that is in it.
pub(super) fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy_folder(&path, &to),
            false => drop(std::fs::copy(&path, &to).unwrap()),
        }
    }
}

#[tokio::test]
async fn bookkeeping_from_an_older_copy_is_refused_until_a_sync_of_all_pipelines_publishes() {
    let run = published().await;
    let (ops, copy) = (folder(&run, "ops"), folder(&run, "../ops"));
    copy_folder(&ops, &copy);
    for sale in ["d", "e"] {
        let context = run.other_process().await;
        publish(&context, pipeline_of(&run, "shop", &[sale])).await;
    }
    let before = shown(&run).await;
    std::fs::remove_dir_all(&ops).unwrap();
    std::fs::rename(&copy, &ops).unwrap();
    let what = "older than the tables";
    let missing = told(&run).await;
    assert!(
        missing.contains(what) && missing.contains("`tillhouse sync`"),
        "{missing}"
    );
    let reader = run.other_process().await;
    let opened = reader.engine.open(&reader.warehouse, &AsOf::Latest).await;
    let refused = opened.err().unwrap();
    assert!(refused.to_string().contains(what), "{refused:?}");
    // Pipelines that a run is not about would be shown as the older copy has them.
    configure(&run, "kiosk");
    let error = sync_of(&run, &["shop"]).await.unwrap_err();
    let hint = error.hint_text().unwrap();
    assert!(error.to_string().contains(what), "{error:?}");
    assert!(hint.contains("without kiosk"), "{hint}");
    let report = sync_of(&run, &["shop", "kiosk"]).await.unwrap();
    assert!(report.published && !report.is_partial(), "{report:?}");
    assert_eq!(told(&run).await, "");
    let after = shown(&run).await;
    assert!(before.iter().all(|sale| after.contains(sale)), "{after:?}");
}

#[tokio::test]
async fn a_copy_that_was_made_while_runs_were_published_answers_from_those_it_knows() {
    let run = published().await;
    let before = shown(&run).await;
    let (ops, copy) = (folder(&run, "ops"), folder(&run, "../ops"));
    // What names something is copied before what it names.
    for first in ["published", "runs"] {
        copy_folder(&ops.join(first), &copy.join(first));
    }
    for sale in ["d", "e"] {
        let context = run.other_process().await;
        publish(&context, pipeline_of(&run, "shop", &[sale])).await;
    }
    for first in ["published", "runs"] {
        std::fs::remove_dir_all(ops.join(first)).unwrap();
        std::fs::rename(copy.join(first), ops.join(first)).unwrap();
    }
    assert_eq!(told(&run).await, "");
    assert_eq!(shown(&run).await, before);
    // Pipelines that a run is not about would be shown as these runs have them.
    configure(&run, "kiosk");
    let error = sync_of(&run, &["shop"]).await.unwrap_err();
    assert!(error.to_string().contains("list of runs"), "{error:?}");
    let report = sync_of(&run, &["shop", "kiosk"]).await.unwrap();
    assert!(report.published && !report.is_partial(), "{report:?}");
    assert_eq!(told(&run).await, "");
    let after = shown(&run).await;
    assert!(before.iter().all(|sale| after.contains(sale)), "{after:?}");
    assert!(after.contains(&"shop:d shop:d/1".to_owned()), "{after:?}");
}

#[tokio::test]
async fn tables_of_nobody_do_not_make_bookkeeping_seem_older_once_a_sync_has_published() {
    let run = published().await;
    let (ops, copy) = (folder(&run, "ops"), folder(&run, "../ops"));
    copy_folder(&ops, &copy);
    for sale in ["l", "m"] {
        let context = run.other_process().await;
        publish(&context, pipeline_of(&run, "kiosk", &[sale])).await;
    }
    std::fs::remove_dir_all(&ops).unwrap();
    std::fs::rename(&copy, &ops).unwrap();
    assert!(told(&run).await.contains("kiosk/sales"));
    // By now the project has no such pipeline.
    for _ in 0..2 {
        let report = sync_of(&run, &["shop"]).await.unwrap();
        assert!(report.published && !report.is_partial(), "{report:?}");
        assert_eq!(told(&run).await, "");
    }
}

#[tokio::test]
async fn a_unified_table_whose_log_lacks_a_commit_is_set_aside_by_a_rebuild_that_fills_it() {
    let run = published().await;
    let before = shown(&run).await;
    let table = folder(&run, "unified/articles");
    let first = table.join("_delta_log").join(format!("{:020}.json", 0));
    std::fs::remove_file(&first).unwrap();
    // Neither a run that does not make it anew, nor one that cannot fill it, nor one that is refused for another reason.
    let source = folder(&run, "shop/sales").join("_delta_log");
    let source = source.join(format!("{:020}.json", 0));
    let commit = std::fs::read(&source).unwrap();
    for is_other in [false, true] {
        if is_other {
            std::fs::remove_file(&source).unwrap();
        }
        for outcome in [
            sync_of(&run, &["shop", "kiosk"]).await,
            rebuild_of(&run, &["shop"]).await,
        ] {
            let error = outcome.unwrap_err();
            assert!(error.to_string().contains("unified/articles"), "{error:?}");
        }
        if is_other {
            assert!(rebuild_of(&run, &["shop", "kiosk"]).await.is_err());
        }
        assert!(table.exists());
    }
    std::fs::write(&source, commit).unwrap();
    let report = rebuild_of(&run, &["shop", "kiosk"]).await.unwrap();
    assert!(report.published, "{report:?}");
    assert_eq!(told(&run).await, "");
    assert_eq!(shown(&run).await, before);
    let aside = std::fs::read_dir(folder(&run, ".set-aside")).unwrap();
    let aside: Vec<_> = aside.map(|run| run.unwrap().path()).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(aside[0].join("unified/articles/_delta_log").exists());
    let report = sync_of(&run, &["shop", "kiosk"]).await.unwrap();
    assert!(report.published && !report.is_partial(), "{report:?}");
}

#[tokio::test]
async fn a_unified_table_with_damage_that_only_its_log_tells_is_set_aside_by_a_rebuild_too() {
    for is_folder in [false, true] {
        let run = published().await;
        let before = shown(&run).await;
        let log = folder(&run, "unified/articles").join("_delta_log");
        let commits = std::fs::read_dir(&log).unwrap();
        let commits = commits.map(|entry| entry.unwrap().path());
        let commits = commits.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
        let mut commits: Vec<PathBuf> = commits.collect();
        commits.sort();
        match is_folder {
            // A bit of a commit behind the newest.
            false => {
                let mut commit = std::fs::read(&commits[1]).unwrap();
                let middle = commit.len() / 2;
                commit[middle] ^= 1;
                std::fs::write(&commits[1], commit).unwrap();
            }
            // A folder in the newest one's place.
            true => {
                let newest = commits.last().unwrap();
                std::fs::remove_file(newest).unwrap();
                std::fs::create_dir(newest).unwrap();
            }
        }
        let problem = told(&run).await;
        assert!(
            problem.contains("unified/articles") && problem.contains("`tillhouse rebuild`"),
            "{problem}"
        );
        let report = rebuild_of(&run, &["shop", "kiosk"]).await.unwrap();
        assert!(report.published, "{report:?}");
        assert_eq!(told(&run).await, "");
        assert_eq!(shown(&run).await, before);
        assert!(folder(&run, ".set-aside").exists());
        let report = sync_of(&run, &["shop", "kiosk"]).await.unwrap();
        assert!(report.published && !report.is_partial(), "{report:?}");
    }
}

#[test]
fn what_helps_tables_of_several_kinds_is_named_for_each_of_them() {
    let run = LostRun {
        run_id: "r".to_owned(),
        finished_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        tables: BTreeMap::new(),
        figures: BTreeMap::new(),
    }
    .as_run();
    let hints = |lost: &[&str], unreadable: &[&str]| -> Vec<String> {
        let lost: Vec<LostTable> = lost.iter().map(|path| gone(path)).collect();
        let unreadable = unreadable.iter().map(|path| {
            let error = tillhouse_model::Error::new(ErrorKind::Storage, "damaged");
            ((*path).to_owned(), error.hint("its own"))
        });
        let problems = problems_of(&run, &lost, unreadable.collect(), None);
        let hints = problems.iter().map(|problem| problem.hint_text());
        hints.map(|hint| hint.unwrap().to_owned()).collect()
    };
    assert_eq!(hints(&[], &["unified/a", "unified/b"]), ["its own"; 2]);
    let (source, unified, roll_up) = ("shop/sales", "unified/a", "statistics/sums");
    for (lost, unreadable, command) in [
        (vec![source], vec![unified], "`tillhouse sync --full`"),
        (vec![unified], vec![source], "`tillhouse sync --full`"),
        (vec![], vec![source, unified], "`tillhouse sync --full`"),
        (vec![unified], vec![roll_up], "`tillhouse rebuild`"),
        (
            vec![],
            vec![roll_up, source],
            "`tillhouse sync shop --full`",
        ),
        (
            vec!["ops/rejects"],
            vec![unified],
            "`tillhouse sync --full`",
        ),
    ] {
        let told = hints(&lost, &unreadable);
        assert_eq!(told.len(), unreadable.len() + usize::from(!lost.is_empty()));
        for hint in told {
            assert!(hint.contains(command), "{lost:?} {unreadable:?}: {hint}");
        }
    }
}

#[tokio::test]
async fn a_run_that_was_suspended_and_whose_lease_has_passed_on_sets_nothing_aside() {
    let run = published().await;
    let table = folder(&run, "unified/articles");
    let first = table.join("_delta_log").join(format!("{:020}.json", 0));
    std::fs::remove_file(first).unwrap();
    let context = run.other_process().await;
    let asking = (&context.warehouse, &context.cancel);
    let owner = ("suspended", "rebuild");
    let taken = RunLeases::take(asking, &["kiosk", "shop"], owner, IfRunning::Fail).await;
    let (leases, _outcomes) = taken.unwrap();
    let ops = context.warehouse.ops();
    let stored = ops.lease("shop").await.unwrap().unwrap();
    let other = LeaseOwner {
        run_id: "other".to_owned(),
        ..stored.record.owner.clone()
    };
    let other = LeaseRecord::new("shop", other, ops.now(), VALID);
    ops.swap_lease(Some(&stored), other).await.unwrap().unwrap();
    tokio::time::pause();
    tokio::time::advance(2 * FRESH).await;
    let all = ["kiosk", "shop"].map(|name| pipeline_of(&run, name, &[]));
    let all: Vec<&Pipeline> = all.iter().collect();
    let prepared = prepare(&context, &all, RecordOrigin::SourceTables, "suspended").await;
    assert_eq!(prepared.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(table.exists());
    leases.release().await;
}

#[tokio::test]
async fn a_source_table_that_has_lost_a_commit_stops_its_pipeline_alone() {
    let run = published().await;
    configure(&run, "shop");
    lose(&run, "shop/sales");
    // Together with what heals by itself.
    lose(&run, "ops/slices");
    let alone = sync_of(&run, &["shop"]).await.unwrap_err();
    let hint = alone.hint_text().unwrap().to_owned();
    assert!(alone.to_string().contains("shop/sales"), "{alone:?}");
    assert!(hint.contains("`tillhouse sync shop --full`"), "{hint}");
    let both = sync_of(&run, &["kiosk", "shop"]).await.unwrap();
    assert!(both.published && both.is_partial(), "{both:?}");
    let failed: Vec<bool> = both.pipelines.iter().map(|p| p.failure.is_some()).collect();
    assert_eq!(failed, [false, true]);
    let other = sync_of(&run, &["kiosk"]).await.unwrap();
    assert!(other.published && !other.is_partial(), "{other:?}");
    assert!(rebuild_of(&run, &["kiosk"]).await.unwrap().published);
    // The loss is told until it is made good.
    let still = told(&run).await;
    assert!(
        still.contains("shop/sales") && !still.contains("ops/slices"),
        "{still}"
    );
    rebuild_of(&run, &["kiosk", "shop"]).await.unwrap_err();
}

const PATHS: [&str; 7] = [
    "shop/sales",
    "shop/devices",
    "kiosk/sales",
    "gone/sales",
    "unified/articles",
    "unified/earlier",
    "ops/warnings",
];

fn lost(path: &str) -> LostTable {
    LostTable {
        path: path.to_owned(),
        named: 2,
        found: Some(1),
    }
}

/// A run that names all tables.
fn run_of_all() -> RunRecord {
    let named = PATHS.map(|path| (path.to_owned(), TableVersion::from(2)));
    let run = LostRun {
        run_id: "r".to_owned(),
        finished_at: window().to(),
        tables: BTreeMap::from(named),
        figures: BTreeMap::new(),
    };
    run.as_run()
}

#[tokio::test]
async fn what_a_run_does_about_a_loss_depends_on_whose_it_is() {
    const ALONE: &[&str] = &["shop"];
    const BOTH: &[&str] = &["shop", "kiosk"];
    use LossOutcome::{Abandoned, Beside, MadeGood, PipelineRefused, RunRefused};
    let run = ScriptedRun::new([]).await;
    let shop = pipeline(&run, &[TRANSACTIONS, ARTICLES]);
    let (own, named) = ([&shop], run_of_all());
    let scope = |origin: RecordOrigin, project: &[&str]| {
        let project = project.iter().map(|name| (*name).to_owned());
        RunScope::new(project.collect(), &own, origin)
    };
    let outcomes = |origin: RecordOrigin, project: &[&str]| {
        let scope = scope(origin, project);
        let absent = scope.absent(&named);
        PATHS.map(|path| scope.outcome(&lost(path), &absent))
    };
    assert_eq!(
        outcomes(RecordOrigin::ProviderIncremental, BOTH),
        [
            PipelineRefused,
            Abandoned,
            Beside,
            Abandoned,
            RunRefused,
            Abandoned,
            RunRefused
        ]
    );
    assert_eq!(
        outcomes(RecordOrigin::ProviderFull, BOTH),
        [
            MadeGood, Abandoned, Beside, Abandoned, RunRefused, Abandoned, RunRefused
        ]
    );
    assert_eq!(
        outcomes(RecordOrigin::ProviderFull, ALONE),
        [
            MadeGood, Abandoned, Abandoned, Abandoned, MadeGood, Abandoned, MadeGood
        ]
    );
    assert_eq!(
        outcomes(RecordOrigin::SourceTables, ALONE),
        [
            RunRefused, Abandoned, Abandoned, Abandoned, MadeGood, Abandoned, RunRefused
        ]
    );
    // A pipeline of which nothing is written is absent.
    let mut refused = scope(RecordOrigin::ProviderFull, ALONE);
    refused.refuse("shop");
    let absent = refused.absent(&named);
    assert_eq!(absent, ["shop"]);
    let of = |path: &str| refused.outcome(&lost(path), &absent);
    assert_eq!(
        [of("shop/sales"), of("unified/articles")],
        [PipelineRefused, RunRefused]
    );
    // What is of nobody is not asked for from anybody.
    let tables = [lost("kiosk/sales"), lost("unified/articles")];
    let hint_of = |project: &[&str]| {
        let scope = scope(RecordOrigin::ProviderIncremental, project);
        let error = refusal(&named, &tables, Some(&scope));
        error.hint_text().unwrap().to_owned()
    };
    let hint = hint_of(ALONE);
    assert!(
        hint.contains("rebuild") && !hint.contains("--full"),
        "{hint}"
    );
    assert!(hint_of(BOTH).contains("--full"));
}

#[tokio::test]
async fn a_full_sync_that_was_cut_short_behind_its_repair_is_gone_on_with_by_a_sync_of_what_is_new()
{
    let run = published().await;
    lose(&run, "shop/sales");
    let shop = pipeline_of(&run, "shop", &[]);
    let prepared = async |origin: RecordOrigin| {
        let context = run.other_process().await;
        prepare(&context, &[&shop], origin, "a run").await.unwrap()
    };
    let is_refused = async |origin: RecordOrigin| !prepared(origin).await.refused.is_empty();
    for origin in [
        RecordOrigin::ProviderIncremental,
        RecordOrigin::ProviderRange,
    ] {
        assert!(is_refused(origin).await, "{origin:?}");
    }
    // It makes the table ready, and is not heard of again.
    assert!(!is_refused(RecordOrigin::ProviderFull).await);
    let told = told(&run).await;
    assert!(told.contains("shop/sales"), "{told}");
    assert!(!told.contains("no published run"), "{told}");
    // A range is not all that was lost.
    assert!(is_refused(RecordOrigin::ProviderRange).await);
    for origin in [
        RecordOrigin::ProviderIncremental,
        RecordOrigin::ProviderFull,
    ] {
        let prepared = prepared(origin).await;
        assert!(prepared.refused.is_empty(), "{origin:?}: {prepared:?}");
        assert_eq!(prepared.anew, ["shop"]);
        let slices = run
            .other_process()
            .await
            .warehouse
            .ops()
            .slices("shop")
            .await;
        let slices = slices.unwrap();
        assert!(!slices.is_empty());
        let mut read = slices
            .iter()
            .filter(|slice| slice.as_read().seen().is_some());
        assert!(read.next().is_none(), "{slices:?}");
    }
}

#[tokio::test]
async fn a_source_table_with_the_log_of_another_one_is_set_aside_by_who_reads_everything_again() {
    for is_named in [true, false] {
        let run = published().await;
        let [own, other] =
            ["shop/sales", "kiosk/sales"].map(|table| folder(&run, table).join("_delta_log"));
        std::fs::remove_dir_all(&own).unwrap();
        copy_folder(&other, &own);
        if !is_named {
            // As an earlier version of the program wrote it.
            let first = own.join(format!("{:020}.json", 0));
            let text = std::fs::read_to_string(&first).unwrap();
            let earlier = text
                .replace("\"name\":\"kiosk/sales\"", "\"name\":null")
                .replace("\"tillhouseChecksum\":", "\"tillhouseSum\":");
            assert_ne!(earlier, text, "{text}");
            std::fs::write(&first, earlier).unwrap();
        }
        let told = told(&run).await;
        assert!(told.contains("shop/sales"), "{told}");
        assert!(!is_named || told.contains("another table's"), "{told}");
        let context = run.other_process().await;
        let shop = pipeline_of(&run, "shop", &[]);
        let prepared = prepare(&context, &[&shop], RecordOrigin::ProviderFull, "full").await;
        let prepared = prepared.unwrap();
        assert!(prepared.refused.is_empty(), "{prepared:?}");
        let aside = folder(&run, ".set-aside/full/shop/sales/_delta_log");
        assert!(aside.exists());
    }
}
