//! Tables that have lost commits: noticed before anything is read or written, and repaired where that can be done.
//!
//! Invariant: no pipeline is published over a loss of its records. A run writes a pipeline only if it makes every lost record of it anew: a sync of
//! everything from the provider, a rebuild from source tables that are whole. Until then the newest run says what is missing. What shared tables have
//! lost is everybody's; what a source table has lost is its pipeline's alone, and nobody's where the project has no such pipeline any more.

use crate::config::Pipeline;
use crate::context::RunContext;
use crate::held_lease::check_leases;
use crate::lease::LeaseHolders;
use crate::loss::{LossOutcome, RunScope, gone, problems_of, refusal, tell, without};
use crate::record_origin::RecordOrigin;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tillhouse_lake::{
    LedgerEnd, LostKind, LostRun, LostTable, OlderCopy, RunRecord, SliceRow, TableDamage, Warehouse,
};
use tillhouse_model::{Error, ErrorKind, Result};

/// Tables of which nobody knows a run.
const WITHOUT_A_RUN: &str = "the warehouse has tables and no published run: its first sync did not end, or ops/runs was lost";

/// Errors where a table is not what the newest published run says of it, or that run's record is gone, with what helps. All that is found.
pub async fn check_tables(warehouse: &Warehouse) -> Result<()> {
    let found = PublishedState::of(warehouse).await?;
    found.tell_of_what_is_not_published(warehouse).await?;
    let older = found.refused_copy(warehouse).await?;
    several(found.problems().into_iter().chain(older).collect())
}

/// As [`check_tables`]; and every table that is there can be read from its log alone, the records of the newest days' runs, and every lease; and no record of a run
/// is missing, as far as tables and the ledger tell.
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
            let older = found.older_copy(warehouse).await;
            let missing = match &older {
                // Its list of runs lacks these too, and that is all.
                Ok(Some(older)) if older.is_of_runs_alone() => {
                    let told = found.tell_of_what_is_not_published(warehouse).await;
                    told.map(|()| Vec::new())
                }
                _ => found.missing_records(warehouse).await,
            };
            let mut problems = found.problems();
            match older {
                Ok(older) => problems.extend(older.and_then(refusal_of)),
                Err(error) => problems.push(error),
            }
            problems.extend(missing.unwrap_or_else(|error| vec![error]));
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

/// The error of bookkeeping that is older than the tables; `None` where its list of runs alone is, which is said.
fn refusal_of(older: OlderCopy) -> Option<Error> {
    if older.is_of_runs_alone() {
        older.warn();
        return None;
    }
    Some(older.into_error())
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

    /// Error where bookkeeping is older than the tables, and not its list of runs alone.
    async fn refused_copy(&self, warehouse: &Warehouse) -> Result<Option<Error>> {
        Ok(self.older_copy(warehouse).await?.and_then(refusal_of))
    }

    /// Bookkeeping that is older than the tables.
    async fn older_copy(&self, warehouse: &Warehouse) -> Result<Option<OlderCopy>> {
        match (&self.run, &self.lost_run) {
            (Some(run), None) => warehouse.ops().older_copy(run, &self.damage.ahead).await,
            _ => Ok(None),
        }
    }

    /// Tables without a run, and reads that no run has, unless more is known to be lost.
    async fn tell_of_what_is_not_published(&self, warehouse: &Warehouse) -> Result<()> {
        self.tell_of_tables_without_a_run(warehouse).await?;
        match &self.run {
            Some(run) if self.lost_run.is_none() && self.damage.is_none() => {
                let ledger = LedgerEnd::default();
                warehouse.ops().warn_of_unpublished_reads(run, ledger).await
            }
            _ => Ok(()),
        }
    }

    /// A first sync that was cut short leaves tables and no run, and so does somebody who removes `ops/runs` of a warehouse in which no
    /// run was noted: nobody can tell the two apart, and a sync is right for both.
    async fn tell_of_tables_without_a_run(&self, warehouse: &Warehouse) -> Result<()> {
        if !self.tables_without_a_run(warehouse).await?.is_empty() {
            tracing::warn!("{WITHOUT_A_RUN}. `tillhouse sync` goes on from what is there");
        }
        Ok(())
    }

    /// Pipeline and resource of each source table, where no run was ever published as far as anything tells; nothing where one was.
    async fn tables_without_a_run(&self, warehouse: &Warehouse) -> Result<Vec<(String, String)>> {
        match (&self.run, &self.lost_run) {
            (None, None) => warehouse.source_tables().await,
            _ => Ok(Vec::new()),
        }
    }

    /// Errors for tables without a run, and for reads that no run has: a record is missing, unless a run is under way that will write it.
    async fn missing_records(&self, warehouse: &Warehouse) -> Result<Vec<Error>> {
        let tables = self.tables_without_a_run(warehouse).await?;
        if !tables.is_empty() {
            let holders = LeaseHolders::read(warehouse).await?;
            let is_under_way = |(pipeline, _): &(String, String)| {
                let holder = holders.of(pipeline);
                holder.is_some_and(|holder| !holder.abandoned)
            };
            if tables.iter().any(is_under_way) {
                return Ok(Vec::new());
            }
            // A first run gives its leases back once its record is there.
            let (published, lost) = warehouse.ops().newest_published().await?;
            if published.is_some() || lost.is_some() {
                return Ok(Vec::new());
            }
            let error = Error::new(ErrorKind::Storage, WITHOUT_A_RUN).hint(
                "Put the folders ops/runs and ops/published back from a copy, or run `tillhouse sync`: it goes on from what is there.",
            );
            return Ok(vec![error]);
        }
        match &self.run {
            Some(run) if self.lost_run.is_none() && self.damage.is_none() => {
                warehouse.ops().missing_records(run).await
            }
            _ => Ok(Vec::new()),
        }
    }

    fn problems(self) -> Vec<Error> {
        let TableDamage {
            lost, unreadable, ..
        } = self.damage;
        let mut problems: Vec<Error> = self.lost_run.iter().map(LostRun::error).collect();
        if let Some(run) = &self.run {
            problems.extend(problems_of(run, &lost, unreadable, None));
        }
        problems
    }
}

/// State of the warehouse that a run begins with.
#[derive(Debug, Default)]
pub(crate) struct PreparedRun {
    /// The pipelines whose unified tables it has to fill from the beginning, since records of theirs were lost. With them those that are not in the
    /// project any more, where rows of theirs may be lost: nobody can fill theirs, and roll-ups are counted anew from what is left.
    pub(crate) anew: Vec<String>,
    /// Paths of tables that are named as they are now, whatever they have lost: nobody can make them anew.
    pub(crate) let_be: Vec<String>,
    /// The newest published run.
    pub(crate) published: Option<RunRecord>,
    /// Pipelines that nothing is written of, with the reason: a source table has lost commits, or its log cannot be read.
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
/// Errors where tables that all pipelines share have lost commits that the run would not make good, or cannot be read.
pub(crate) async fn prepare(
    context: &RunContext,
    pipelines: &[&Pipeline],
    origin: RecordOrigin,
    run_id: &str,
) -> Result<PreparedRun> {
    let found = PublishedState::of(&context.warehouse).await?;
    found
        .tell_of_tables_without_a_run(&context.warehouse)
        .await?;
    if let Some(run) = &found.lost_run {
        tracing::warn!(
            "the record of run {}, which was published last, is missing in ops/runs: this run publishes what its tables hold now",
            run.run_id
        );
    }
    let older = found.older_copy(&context.warehouse).await?;
    let Some(run) = found.run else {
        return Ok(PreparedRun::default());
    };
    let mut scope = RunScope::new(context.project.pipeline_names()?, pipelines, origin);
    let mut damage = found.damage;
    let mut let_be = Vec::new();
    if let Some(older) = older {
        go_on_with_older_copy(older.into_error(), &scope)?;
        let_be.extend(of_nobody(&damage, &scope));
    }
    let lacking = lost_data(context, &run, &damage.lost, &scope).await;
    damage.unreadable.extend(lacking);
    let of_logs = damaged_logs(context, &run, &damage, &scope).await;
    damage.unreadable.extend(of_logs);
    let beside = damage_beside_loss(context, &run, &damage.lost, &scope).await;
    damage.unreadable.extend(beside);
    if set_aside(context, &run, &damage, &scope, run_id).await? {
        damage = context.warehouse.damage(&run).await;
    }
    let (unreadable, mut refused) = set_apart(damage.unreadable, &mut scope, origin);
    let (mut lost, absent) = (damage.lost, scope.absent(&run));
    for table in damaged_roll_ups(context, &run, &scope).await {
        if lost.iter().all(|known| known.path != table.path) {
            lost.push(table);
        }
    }
    if origin == RecordOrigin::ProviderIncremental {
        for table in read_anew(context, &run, &lost).await {
            scope.goes_on_with(table);
        }
    }
    let outcomes: Vec<(&LostTable, LossOutcome)> = lost
        .iter()
        .map(|table| (table, scope.outcome(table, &absent)))
        .collect();
    let is_refused = outcomes
        .iter()
        .any(|(_, outcome)| *outcome == LossOutcome::RunRefused);
    if is_refused || !unreadable.is_empty() {
        let problems = problems_of(&run, &lost, unreadable, Some(&scope));
        return Err(Error::combine(problems));
    }
    let of = |wanted: LossOutcome| {
        let matching = outcomes.iter().filter(move |(_, found)| *found == wanted);
        matching.map(|(table, _)| *table).collect::<Vec<_>>()
    };
    refused.extend(refusals(&run, &of(LossOutcome::PipelineRefused), &scope));
    for table in of(LossOutcome::Beside) {
        tracing::warn!("{table}: this run is not about it, and goes on");
    }
    let_be.extend(leave(context, &of(LossOutcome::Abandoned), origin, run_id).await?);
    let made_good = of(LossOutcome::MadeGood);
    let mut anew = mend(context, pipelines, &made_good, (origin, run_id)).await?;
    anew.extend(tell_of_strangers(&scope, &run, &made_good));
    Ok(PreparedRun {
        anew,
        let_be,
        published: Some(run),
        refused,
    })
}

/// Paths of lost source tables of which a run has begun to read all again and was cut short: nothing that they had counts as read. Whoever cannot tell does not go
/// on from there.
async fn read_anew<'l>(
    context: &RunContext,
    run: &RunRecord,
    lost: &'l [LostTable],
) -> Vec<&'l str> {
    let ops = context.warehouse.ops();
    let mut begun = Vec::new();
    for table in lost {
        let Some((pipeline, resource)) = table.source() else {
            continue;
        };
        let is_begun = ops.is_read_anew_since(run, pipeline, resource).await;
        if is_begun.is_ok_and(|is_begun| is_begun) {
            begun.push(table.path.as_str());
        }
    }
    begun
}

/// Goes on with bookkeeping that is older than the tables, where the run is about all pipelines: those that it is not about would be shown
/// as the older run has them.
fn go_on_with_older_copy(older: Error, scope: &RunScope<'_>) -> Result<()> {
    let left_out = scope.left_out();
    if !left_out.is_empty() {
        let hint = older.hint_text().unwrap_or_default().to_owned();
        return Err(older.hint(format!("{hint}{}", without(&left_out))));
    }
    tracing::warn!(
        "{older}: this run publishes the tables as they are, and reads again what is not noted as read"
    );
    Ok(())
}

/// Tables that were written behind the newest run and are of no pipeline and no resource of the project any more: no other run would ever
/// name them as they are.
fn of_nobody(damage: &TableDamage, scope: &RunScope<'_>) -> Vec<String> {
    let paths = damage.ahead.iter().map(|table| &table.path);
    let of_nobody = paths.filter(|path| scope.outcome(&gone(path), &[]) == LossOutcome::Abandoned);
    of_nobody.cloned().collect()
}

/// Source tables of the run that lack data files, each with what to do, where the run reads all of them or makes them anew; of the latter also
/// those with a file that is not what was written. A sync of what is new needs few of the files, and whoever needs one says so.
async fn lost_data(
    context: &RunContext,
    run: &RunRecord,
    lost: &[LostTable],
    scope: &RunScope<'_>,
) -> Vec<(String, Error)> {
    let mut found = Vec::new();
    if !scope.reads_all() {
        return found;
    }
    let is_lost = |path: &str| lost.iter().any(|table| table.path == path);
    for path in run.tables.keys().filter(|path| !is_lost(path)) {
        let Some((pipeline, resource)) = path.split_once('/') else {
            continue;
        };
        let is_own = LostTable::is_source(path)
            && scope.own(pipeline).is_some()
            && !scope.is_abandoned(pipeline, resource);
        if is_own && let Some(error) = damage_of_data(context, path, scope.asks_for_all()).await {
            found.push((path.clone(), error));
        }
    }
    found
}

/// Tables of the run whose logs are damaged, which whoever has what the run keeps of them does not notice, each with what to do; of those
/// that this one makes anew and may set aside.
async fn damaged_logs(
    context: &RunContext,
    run: &RunRecord,
    damage: &TableDamage,
    scope: &RunScope<'_>,
) -> Errors {
    let mut found = Vec::new();
    if !scope.reads_all() {
        return found;
    }
    let absent = scope.absent(run);
    let lost = damage.lost.iter().map(|table| &table.path);
    let known: BTreeSet<&String> = lost
        .chain(damage.unreadable.iter().map(|(path, _)| path))
        .collect();
    for path in run.tables.keys().filter(|path| !known.contains(path)) {
        if is_made_anew(&gone(path), run, scope, &absent)
            && let Some(error) = damage_of_log(context, path).await
        {
            found.push((path.clone(), error));
        }
    }
    found
}

/// True if the run makes all of a table anew, and may set it aside.
fn is_made_anew(table: &LostTable, run: &RunRecord, scope: &RunScope<'_>, absent: &[&str]) -> bool {
    let is_of_run = match table.kind() {
        LostKind::Source => true,
        LostKind::Unified => scope.strangers(run).is_empty(),
        _ => false,
    };
    is_of_run && scope.outcome(table, absent) == LossOutcome::MadeGood
}

/// Lost tables of the run that cannot be gone on with even so, each with what to do, of those that this one makes anew and may set aside: data files are not there, as
/// where the log is another table's and does not say so.
async fn damage_beside_loss(
    context: &RunContext,
    run: &RunRecord,
    lost: &[LostTable],
    scope: &RunScope<'_>,
) -> Errors {
    let mut found = Vec::new();
    if !scope.reads_all() || context.cancel.is_cancelled() {
        return found;
    }
    let absent = scope.absent(run);
    for table in lost.iter().filter(|table| table.found.is_some()) {
        let path = &table.path;
        let asked = context.warehouse.may_be_set_aside(path);
        if !is_made_anew(table, run, scope, &absent) || !asked.await.is_ok_and(|may_be| may_be) {
            continue;
        }
        let damage = match damage_of_log(context, path).await {
            Some(error) => Some(error),
            None => damage_of_data(context, path, true).await,
        };
        found.extend(damage.map(|error| (path.clone(), error)));
    }
    found
}

/// Damage of a table's log. A table that cannot be read is told of by now, and whoever is interrupted notices by itself.
async fn damage_of_log(context: &RunContext, path: &str) -> Option<Error> {
    tokio::select! {
        () = context.cancel.cancelled() => None,
        found = context.warehouse.damaged_log(path) => found.ok().flatten(),
    }
}

/// Roll-ups of which data files are lost or damaged, or the log is, where the run counts them anew.
async fn damaged_roll_ups(
    context: &RunContext,
    run: &RunRecord,
    scope: &RunScope<'_>,
) -> Vec<LostTable> {
    let mut found = Vec::new();
    if !scope.reads_all() {
        return found;
    }
    for (path, version) in &run.tables {
        let table = LostTable {
            path: path.clone(),
            named: version.newest(),
            found: Some(version.newest()),
        };
        if table.kind() == LostKind::RollUp
            && (damage_of_data(context, path, true).await.is_some()
                || damage_of_log(context, path).await.is_some())
        {
            found.push(table);
        }
    }
    found
}

/// Damage of a table's data files: some are missing or cut or, where all are read for it, not what was written. A table that cannot be read is
/// told of by now, and whoever is interrupted notices by itself.
async fn damage_of_data(context: &RunContext, path: &str, is_read: bool) -> Option<Error> {
    let looking = async {
        match is_read {
            true => context.warehouse.damaged_data(path).await,
            false => context.warehouse.lost_data(path).await,
        }
    };
    tokio::select! {
        () = context.cancel.cancelled() => None,
        found = looking => found.ok().flatten(),
    }
}

/// Sets tables aside whose logs are damaged, or which lack data files, where the run makes all of them anew and nothing else stops it: then
/// they are gone, as if somebody had moved their folders away. True if there were any.
///
/// Not where a unified table may hold rows of a pipeline that is not in the project any more: nobody could make these anew.
async fn set_aside(
    context: &RunContext,
    run: &RunRecord,
    damage: &TableDamage,
    scope: &RunScope<'_>,
    run_id: &str,
) -> Result<bool> {
    let absent = scope.absent(run);
    let is_refused = |table: &LostTable| {
        let outcome = scope.outcome(table, &absent);
        matches!(
            outcome,
            LossOutcome::RunRefused | LossOutcome::PipelineRefused
        )
    };
    if damage.lost.iter().any(is_refused) {
        return Ok(false);
    }
    let mut damaged = Vec::new();
    for (path, error) in &damage.unreadable {
        let gone = gone(path);
        match (gone.kind(), scope.outcome(&gone, &absent)) {
            // Whoever counts it anew says so.
            (LostKind::RollUp, _) => {}
            (LostKind::Source, LossOutcome::Beside | LossOutcome::Abandoned) => {}
            (LostKind::Source, LossOutcome::MadeGood) => damaged.push((path, error)),
            (LostKind::Unified, LossOutcome::MadeGood) if scope.strangers(run).is_empty() => {
                damaged.push((path, error));
            }
            _ => return Ok(false),
        }
    }
    for (path, _) in &damaged {
        if !context.warehouse.may_be_set_aside(path).await? {
            return Ok(false);
        }
    }
    for (path, error) in &damaged {
        // A run that was suspended for long would move what another one has made since.
        check_leases(run_id).await?;
        let place = context.warehouse.set_aside(path, run_id).await?;
        tracing::warn!(
            "{error}: {path} is set aside in {}, which may be removed once nobody needs it, and is made anew",
            place.display()
        );
    }
    Ok(!damaged.is_empty())
}

/// Errors, each by the path of its table or the name of its pipeline.
type Errors = Vec<(String, Error)>;

/// Of tables whose logs cannot be read, the errors that stop the run, and the pipelines that are refused alone. Shared tables are everybody's; a
/// source table is its pipeline's alone.
fn set_apart(
    unreadable: Vec<(String, Error)>,
    scope: &mut RunScope<'_>,
    origin: RecordOrigin,
) -> (Errors, Errors) {
    let (mut stopping, mut refused) = (Vec::new(), Vec::new());
    for (path, error) in unreadable {
        // Roll-ups that cannot be read are counted anew, and whoever does it says so.
        if path.starts_with("statistics/") {
            continue;
        }
        match path.split_once('/').filter(|_| LostTable::is_source(&path)) {
            Some((name, resource))
                if scope.own(name).is_none() || scope.is_abandoned(name, resource) =>
            {
                tracing::warn!("{error}: this run is not about it, and goes on");
            }
            // A rebuild is published as a whole or not at all.
            Some((name, _)) if origin != RecordOrigin::SourceTables => {
                scope.refuse(name);
                refused.push((name.to_owned(), error));
            }
            _ => stopping.push((path, error)),
        }
    }
    (stopping, refused)
}

/// The pipelines of source tables that have lost commits, each with the reason why nothing is written of it.
fn refusals(run: &RunRecord, lost: &[&LostTable], scope: &RunScope<'_>) -> Vec<(String, Error)> {
    let mut by_pipeline: BTreeMap<&str, Vec<LostTable>> = BTreeMap::new();
    for table in lost {
        if let Some((name, _)) = table.source() {
            by_pipeline.entry(name).or_default().push((*table).clone());
        }
    }
    by_pipeline
        .into_iter()
        .map(|(name, lost)| (name.to_owned(), refusal(run, &lost, Some(scope))))
        .collect()
}

/// Lets tables be that are of nothing in the project any more. A run that makes everything anew goes on with what is left of them; after others the
/// newest run says still that they have lost something.
async fn leave(
    context: &RunContext,
    lost: &[&LostTable],
    origin: RecordOrigin,
    run_id: &str,
) -> Result<Vec<String>> {
    let mut let_be = Vec::new();
    for table in lost {
        if !origin.reads_all() {
            tracing::warn!(
                "{table}: the project has nothing any more that it is of, and it is let be. `tillhouse rebuild` goes on with what is left of it"
            );
            continue;
        }
        tracing::warn!(
            "{table}: the project has nothing any more that it is of, and from now on it is taken as it is"
        );
        context.warehouse.go_on_with(table, run_id).await?;
        let_be.push(table.path.clone());
    }
    Ok(let_be)
}

/// Makes ready what the run makes anew; the pipelines whose unified tables it has to fill from the beginning.
async fn mend(
    context: &RunContext,
    pipelines: &[&Pipeline],
    lost: &[&LostTable],
    (origin, run_id): (RecordOrigin, &str),
) -> Result<Vec<String>> {
    let is_unified = lost.iter().any(|table| table.kind() == LostKind::Unified);
    let mut anew = Vec::new();
    for pipeline in pipelines {
        let of_sources: BTreeSet<&str> = lost
            .iter()
            .filter_map(|table| table.source())
            .filter(|(name, _)| *name == pipeline.name)
            .map(|(_, resource)| resource)
            .collect();
        if of_sources.is_empty() && !is_unified {
            continue;
        }
        // Slices read into what is lost do not count as read: a slice that fails now is a gap. What was read since an earlier run began to read all again is there.
        let is_there = |table: &LostTable| {
            origin == RecordOrigin::ProviderIncremental
                && table.found.is_some_and(|found| found >= table.named)
        };
        let kept: BTreeSet<&str> = lost
            .iter()
            .filter(|table| is_there(table))
            .filter_map(|table| table.source())
            .filter(|(name, _)| *name == pipeline.name)
            .map(|(_, resource)| resource)
            .collect();
        let ops = context.warehouse.ops();
        let is_lost = |row: &SliceRow| {
            let resource = row.resource.as_str();
            row.pipeline == pipeline.name
                && of_sources.contains(resource)
                && !kept.contains(resource)
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
    Ok(anew)
}

/// Pipelines that are not in the project any more, where unified tables have lost commits: their rows stay as the tables have them now.
fn tell_of_strangers(scope: &RunScope<'_>, run: &RunRecord, lost: &[&LostTable]) -> Vec<String> {
    let strangers = scope.strangers(run);
    let mut kinds = lost.iter().map(|table| table.kind());
    if strangers.is_empty() || !kinds.any(|kind| kind == LostKind::Unified) {
        return Vec::new();
    }
    tracing::warn!(
        "what unified tables hold of {} stays as it is now, rows may be missing: it is in the project no more, and nobody can make it anew. With its \
         folder back in the project, `tillhouse rebuild` does",
        strangers.join(" and ")
    );
    strangers.into_iter().map(str::to_owned).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{SyncOptions, SyncRange};
    use crate::scripted_source::{SALES, ScriptedRun, Turn, page, sale, window};
    use crate::sync;

    #[tokio::test]
    async fn a_first_run_that_ends_while_it_is_looked_for_misses_no_record() {
        let run = ScriptedRun::new([vec![Turn::Page(page(&[sale("a")]))]]).await;
        let before = PublishedState::of(&run.warehouse).await.unwrap();
        assert!(before.run.is_none() && before.lost_run.is_none());
        let options = SyncOptions {
            range: SyncRange {
                from: Some(window().from()),
                to: Some(window().to()),
            },
            ..SyncOptions::default()
        };
        let process = run.other_process().await;
        let report = sync(&process, &[run.pipeline(SALES)], options).await;
        assert!(report.unwrap().published);
        let tables = before.tables_without_a_run(&run.warehouse).await;
        assert_eq!(tables.unwrap(), [("shop".to_owned(), "sales".to_owned())]);
        let missing = before.missing_records(&run.warehouse).await.unwrap();
        assert!(missing.is_empty(), "{missing:?}");
        // Unless it is lost.
        let root = run.warehouse.url().to_file_path().unwrap();
        for folder in ["ops/runs", "ops/published"] {
            std::fs::remove_dir_all(root.join(folder)).unwrap();
        }
        let warehouse = run.other_process().await.warehouse;
        let missing = before.missing_records(&warehouse).await.unwrap();
        assert_eq!(missing.len(), 1);
    }
}
