//! Tables that have lost commits: noticed before anything is read or written, and repaired where that can be done.
//!
//! Invariant: no run is published over a loss. A run goes on only if it makes every lost record anew: a sync of everything from the
//! provider, a rebuild from source tables that are whole. Until then the newest run stays the newest, and says what is missing.

use crate::config::Pipeline;
use crate::context::RunContext;
use std::collections::BTreeSet;
use std::sync::Arc;
use tillhouse_lake::{
    LostKind, LostRun, LostTable, RunRecord, SliceRow, TableDamage, Warehouse, lost_commits,
};
use tillhouse_model::{Error, Result};

/// Origin of a run's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordOrigin {
    /// The provider, of whose records it reads some.
    ProviderIncremental,
    /// The provider, of whose records it reads all.
    ProviderFull,
    /// The source tables.
    SourceTables,
}

/// Errors where a table is not what the newest published run says of it, or that run's record is gone, with what helps. All that is found.
pub async fn check_tables(warehouse: &Warehouse) -> Result<()> {
    let found = PublishedState::of(warehouse).await?;
    found.tell_of_what_is_not_published(warehouse).await?;
    several(found.problems())
}

/// As [`check_tables`]; and every table that is there can be read from its log alone, every record of a run, and every lease.
pub async fn check_all_tables(warehouse: &Warehouse) -> Result<()> {
    check_with(warehouse, warehouse.unreadable_tables()).await
}

/// As [`check_all_tables`], for whoever has had the logs and the records of runs read by [`Warehouse::inspect`].
pub async fn check_inspected_tables(warehouse: &Warehouse) -> Result<()> {
    check_with(warehouse, std::future::ready(Vec::new())).await
}

async fn check_with(
    warehouse: &Warehouse,
    unreadable_tables: impl Future<Output = Vec<Error>>,
) -> Result<()> {
    let mut problems = match PublishedState::of(warehouse).await {
        Ok(found) => {
            let untold = found.tell_of_what_is_not_published(warehouse).await;
            let mut problems = found.problems();
            problems.extend(untold.err());
            problems
        }
        Err(error) => vec![error],
    };
    let told: BTreeSet<String> = problems.iter().map(ToString::to_string).collect();
    // A run that keeps what a table holds needs no log; whoever comes later does.
    let mut unreadable = unreadable_tables.await;
    unreadable.extend(warehouse.ops().damaged_leases().await);
    problems.extend(
        unreadable
            .into_iter()
            .filter(|error| !told.contains(&error.to_string())),
    );
    several(problems)
}

fn several(problems: Vec<Error>) -> Result<()> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::combine(problems))
    }
}

/// The newest published run, and the problems found with it.
struct PublishedState {
    run: Option<RunRecord>,
    lost_run: Option<LostRun>,
    damage: TableDamage,
}

impl PublishedState {
    async fn of(warehouse: &Warehouse) -> Result<Self> {
        let (found, lost_run) = warehouse.ops().newest_published().await?;
        // A run whose record is gone says all the same what its tables were.
        let run = lost_run.as_ref().map(LostRun::as_run).or(found);
        let damage = match &run {
            Some(run) => warehouse.damage(run).await,
            None => TableDamage::default(),
        };
        Ok(Self {
            run,
            lost_run,
            damage,
        })
    }

    /// Tables without a run, and reads that no run has, unless more is known to be lost.
    async fn tell_of_what_is_not_published(&self, warehouse: &Warehouse) -> Result<()> {
        self.tell_of_tables_without_a_run(warehouse).await?;
        match &self.run {
            Some(run) if self.lost_run.is_none() && self.damage.is_none() => {
                warehouse.ops().warn_of_unpublished_reads(run).await
            }
            _ => Ok(()),
        }
    }

    /// A first sync that was cut short leaves tables and no run, and so does somebody who removes `ops/runs` of a warehouse in which no
    /// run was noted: nobody can tell the two apart, and a sync is right for both.
    async fn tell_of_tables_without_a_run(&self, warehouse: &Warehouse) -> Result<()> {
        if self.run.is_none()
            && self.lost_run.is_none()
            && !warehouse.source_tables().await?.is_empty()
        {
            tracing::warn!(
                "the warehouse has tables and no published run: its first sync did not end, or ops/runs was lost. `tillhouse sync` goes on \
                 from what is there"
            );
        }
        Ok(())
    }

    fn problems(self) -> Vec<Error> {
        let TableDamage { lost, unreadable } = self.damage;
        let mut problems: Vec<Error> = self.lost_run.iter().map(LostRun::error).collect();
        problems.extend(unreadable.into_iter().map(|(_, error)| error));
        problems.extend(
            self.run
                .filter(|_| !lost.is_empty())
                .map(|run| refusal(&run, &lost)),
        );
        problems
    }
}

/// The pipelines whose source tables a run names.
fn pipelines_of(run: &RunRecord) -> BTreeSet<&str> {
    let schemas = run
        .tables
        .keys()
        .filter_map(|path| path.split_once('/'))
        .map(|(schema, _)| schema);
    schemas
        .filter(|schema| !matches!(*schema, "unified" | "statistics" | "ops"))
        .collect()
}

fn refusal(run: &RunRecord, lost: &[LostTable]) -> Error {
    let has = |kind: LostKind| lost.iter().any(|table| table.kind() == kind);
    let sources: BTreeSet<&str> = lost
        .iter()
        .filter_map(|table| Some(table.source()?.0))
        .collect();
    let means = match (
        has(LostKind::Source),
        has(LostKind::Unified),
        has(LostKind::Notes),
    ) {
        (_, _, true) | (true, true, _) => {
            "`tillhouse sync --full` reads everything from the providers again and repairs them"
                .to_owned()
        }
        (false, true, false) => {
            "`tillhouse rebuild` makes them anew from the source tables".to_owned()
        }
        (true, false, false) => {
            let names: Vec<&str> = sources.into_iter().collect();
            format!(
                "`tillhouse sync {} --full` reads everything from the provider again and repairs them",
                names.join(" ")
            )
        }
        (false, false, false) if has(LostKind::Ledger) => {
            "`tillhouse sync` reads again what is not noted as read any more".to_owned()
        }
        (false, false, false) if has(LostKind::RollUp) => {
            "`tillhouse sync` counts the roll-ups anew".to_owned()
        }
        (false, false, false) => {
            "`tillhouse sync` goes on without them, and `tillhouse reconcile` compares again"
                .to_owned()
        }
    };
    lost_commits(run, lost).hint(format!(
        "Put the tables' files back from a copy. Where there is none, {means}."
    ))
}

/// True if a run of these pipelines restores everything that was lost.
fn restores_all(
    run: &RunRecord,
    lost: &[LostTable],
    pipelines: &[&Pipeline],
    origin: RecordOrigin,
) -> bool {
    // A unified table holds the rows of all pipelines, and so do rejects and warnings.
    let all = || {
        pipelines_of(run)
            .into_iter()
            .all(|name| pipelines.iter().any(|pipeline| pipeline.name == name))
    };
    lost.iter().all(|table| match (table.kind(), origin) {
        (kind, _) if kind.heals_by_itself() => true,
        (LostKind::Source | LostKind::Notes, RecordOrigin::SourceTables)
        | (_, RecordOrigin::ProviderIncremental) => false,
        (LostKind::Source, RecordOrigin::ProviderFull) => {
            table.source().is_some_and(|(name, resource)| {
                pipelines.iter().any(|pipeline| {
                    pipeline.name == name
                        && pipeline
                            .resources
                            .iter()
                            .any(|plan| plan.resource.name == resource)
                })
            })
        }
        _ => all(),
    })
}

/// Says what becomes of a table that has lost commits.
fn tell(table: &LostTable) {
    let becomes = match table.kind() {
        LostKind::Source | LostKind::Unified | LostKind::Notes => "it is made anew",
        // Whoever counts it anew says so.
        LostKind::RollUp => return,
        LostKind::Ledger => {
            "what is not noted as read any more is read again by the next sync of its pipeline"
        }
        LostKind::Comparisons => "earlier outcomes of `tillhouse reconcile` are gone",
    };
    tracing::warn!("{table}: {becomes}");
}

/// State of the warehouse that a run begins with.
#[derive(Debug, Default)]
pub(crate) struct PreparedRun {
    /// The pipelines whose unified tables it has to fill from the beginning, since records of theirs were lost.
    pub(crate) anew: Vec<String>,
    /// The newest published run.
    pub(crate) published: Option<RunRecord>,
    /// Pipelines that nothing is written of, with the reason: the log of a source table cannot be read.
    pub(crate) refused: Vec<(String, Error)>,
}

impl PreparedRun {
    /// The reason why nothing is written of a pipeline.
    pub(crate) fn refusal_of(&self, pipeline: &str) -> Option<Error> {
        let mut reasons = self.refused.iter().filter(|(name, _)| name == pipeline);
        let first = reasons.next()?.1.clone();
        let others = reasons.map(|(_, error)| error.clone());
        Some(Error::combine(
            std::iter::once(first).chain(others).collect(),
        ))
    }
}

/// Makes ready for a run.
///
/// Errors where tables have lost commits that the run would not make good.
pub(crate) async fn prepare(
    context: &RunContext,
    pipelines: &[&Pipeline],
    origin: RecordOrigin,
    run_id: &str,
) -> Result<PreparedRun> {
    let mut found = PublishedState::of(&context.warehouse).await?;
    found
        .tell_of_tables_without_a_run(&context.warehouse)
        .await?;
    // Roll-ups that cannot be read are counted anew, and whoever does it says so.
    found
        .damage
        .unreadable
        .retain(|(path, _)| !path.starts_with("statistics/"));
    if let Some(run) = &found.lost_run {
        tracing::warn!(
            "the record of run {}, which was published last, is missing in ops/runs: this run publishes what its tables hold now",
            run.run_id
        );
    }
    // Shared tables, and those that a rebuild reads, are everybody's; a source table is its pipeline's alone.
    let of_sources = |(path, _): &(String, Error)| LostTable::is_source(path);
    let mut refused = Vec::new();
    if origin != RecordOrigin::SourceTables
        && found.damage.lost.is_empty()
        && found.damage.unreadable.iter().all(of_sources)
    {
        for (path, error) in std::mem::take(&mut found.damage.unreadable) {
            let name = path.split('/').next().unwrap_or_default().to_owned();
            if pipelines.iter().any(|pipeline| pipeline.name == name) {
                refused.push((name, error));
            } else {
                tracing::warn!("{error}: this run is not about it, and goes on");
            }
        }
    }
    let is_made_good = found
        .run
        .as_ref()
        .is_none_or(|run| restores_all(run, &found.damage.lost, pipelines, origin));
    if !found.damage.unreadable.is_empty() || !is_made_good {
        let published = found.run.clone();
        several(
            PublishedState {
                lost_run: None,
                ..found
            }
            .problems(),
        )?;
        return Ok(PreparedRun {
            published,
            ..PreparedRun::default()
        });
    }
    let lost = &found.damage.lost;
    let mut anew = Vec::new();
    for pipeline in pipelines {
        let of_sources: BTreeSet<&str> = lost
            .iter()
            .filter_map(LostTable::source)
            .filter(|(name, _)| *name == pipeline.name)
            .map(|(_, resource)| resource)
            .collect();
        let is_unified = lost.iter().any(|table| table.kind() == LostKind::Unified);
        if of_sources.is_empty() && !is_unified {
            continue;
        }
        // Slices read into what is lost do not count as read: a slice that fails now is a gap.
        let ops = context.warehouse.ops();
        let is_lost = |row: &SliceRow| {
            row.pipeline == pipeline.name && of_sources.contains(row.resource.as_str())
        };
        ops.forget_reads(run_id, is_lost).await?;
        anew.push(pipeline.name.clone());
    }
    // Versions that were named are never used again, for other content.
    for table in lost {
        tell(table);
        raise(context, pipelines, table, run_id).await?;
    }
    for pipeline in pipelines
        .iter()
        .filter(|pipeline| anew.contains(&pipeline.name))
    {
        clear(context, pipeline, run_id).await?;
    }
    Ok(PreparedRun {
        anew,
        published: found.run,
        refused,
    })
}

async fn raise(
    context: &RunContext,
    pipelines: &[&Pipeline],
    table: &LostTable,
    run_id: &str,
) -> Result<()> {
    if let Some((name, resource)) = table.source() {
        let plans = pipelines
            .iter()
            .filter(|p| p.name == name)
            .flat_map(|p| &p.resources);
        for plan in plans.filter(|plan| plan.resource.name == resource) {
            let source = context.warehouse.source_table(name, Arc::clone(&plan.spec));
            source.raise_to(table.named, run_id).await?;
        }
        return Ok(());
    }
    if table.kind() != LostKind::Unified {
        return context.warehouse.go_on_with(table, run_id).await;
    }
    let specs = pipelines.first().map(|pipeline| pipeline.unified.values());
    for spec in specs.into_iter().flatten() {
        let unified = context.warehouse.unified_table(Arc::clone(spec));
        if unified.path() == table.path {
            unified.raise_to(table.named, run_id).await?;
        }
    }
    Ok(())
}

/// Empties a pipeline's part of the unified tables, so that all of it is unified again.
pub(crate) async fn clear(context: &RunContext, pipeline: &Pipeline, run_id: &str) -> Result<()> {
    for spec in pipeline.unified.values() {
        let table = context.warehouse.unified_table(Arc::clone(spec));
        table
            .clear(&pipeline.name, run_id)
            .await
            .map_err(|e| e.at("pipeline", pipeline.name.clone()))?;
    }
    Ok(())
}
