//! Outcome of a run for each table that has lost commits, by what the run is about and what the project is about.
//!
//! Invariant: a loss that a run does not make good stays named by the newest run. What is of no pipeline or resource of the project any more stops
//! nobody, and a command that makes everything anew goes on with what is left of it: there is always one that helps.

use crate::config::Pipeline;
use crate::record_origin::RecordOrigin;
use std::collections::BTreeSet;
use tillhouse_lake::{LET_READ, LostKind, LostTable, RunRecord, lost_commits};
use tillhouse_model::Error;

/// Outcome of a run for a table that has lost commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LossOutcome {
    /// It is made anew, or goes on without what was lost.
    MadeGood,
    /// It is of no pipeline and no resource of the project any more.
    Abandoned,
    /// It is a source table of a pipeline that the run is not about.
    Beside,
    /// Nothing is written of its pipeline.
    PipelineRefused,
    /// Nothing is written at all.
    RunRefused,
}

/// The pipelines that a run is about, and those of the project.
pub(crate) struct RunScope<'a> {
    pipelines: &'a [&'a Pipeline],
    configured: BTreeSet<String>,
    origin: RecordOrigin,
    /// Pipelines of the run that nothing is written of.
    refused: BTreeSet<String>,
    /// Source tables of which an earlier run has begun to read all again.
    begun: BTreeSet<String>,
}

impl<'a> RunScope<'a> {
    /// The scope of a run about some pipelines of a project that has those of these names.
    pub(crate) fn new(
        project: Vec<String>,
        pipelines: &'a [&'a Pipeline],
        origin: RecordOrigin,
    ) -> Self {
        let own = pipelines.iter().map(|pipeline| pipeline.name.clone());
        Self {
            pipelines,
            configured: project.into_iter().chain(own).collect(),
            origin,
            refused: BTreeSet::new(),
            begun: BTreeSet::new(),
        }
    }

    /// True if the run goes through everything that it is about, from the provider or from source tables.
    pub(crate) fn reads_all(&self) -> bool {
        self.origin.reads_all()
    }

    /// True if the run asks the providers for everything.
    pub(crate) fn asks_for_all(&self) -> bool {
        self.origin == RecordOrigin::ProviderFull
    }

    /// From now on nothing is written of a pipeline.
    pub(crate) fn refuse(&mut self, pipeline: &str) {
        self.refused.insert(pipeline.to_owned());
    }

    /// From now on a source table is one of which an earlier run has begun to read all again, and whatever is not noted as read is read by any run that
    /// reads what is new.
    pub(crate) fn goes_on_with(&mut self, table: &str) {
        self.begun.insert(table.to_owned());
    }

    /// A pipeline of the run, whether anything is written of it or not.
    pub(crate) fn own(&self, name: &str) -> Option<&'a Pipeline> {
        let mut own = self.pipelines.iter().copied();
        own.find(|pipeline| pipeline.name == name)
    }

    /// True if a source table is of no pipeline of the project, or of a resource that its pipeline reads no more. A pipeline that the run is not
    /// about is taken to read all that it has tables of.
    pub(crate) fn is_abandoned(&self, pipeline: &str, resource: &str) -> bool {
        match self.own(pipeline) {
            Some(own) => !own.reads(resource),
            None => !self.configured.contains(pipeline),
        }
    }

    /// Pipelines of the project that the run writes nothing of.
    pub(crate) fn left_out(&self) -> Vec<&str> {
        let all = self.configured.iter().map(String::as_str);
        all.filter(|name| self.own(name).is_none() || self.refused.contains(*name))
            .collect()
    }

    /// Pipelines of the project whose records a run names, and of which this one writes nothing.
    pub(crate) fn absent<'r>(&self, run: &'r RunRecord) -> Vec<&'r str> {
        let written = |name: &str| self.own(name).is_some() && !self.refused.contains(name);
        let of_run = pipelines_of(run).into_iter();
        of_run
            .filter(|name| self.configured.contains(*name) && !written(name))
            .collect()
    }

    /// Pipelines whose records a run names, and that are not in the project any more.
    pub(crate) fn strangers<'r>(&self, run: &'r RunRecord) -> Vec<&'r str> {
        let of_run = pipelines_of(run).into_iter();
        of_run
            .filter(|name| !self.configured.contains(*name))
            .collect()
    }

    /// Outcome of the run for a table, where these pipelines are absent.
    pub(crate) fn outcome(&self, table: &LostTable, absent: &[&str]) -> LossOutcome {
        let of_all = match absent.is_empty() {
            true => LossOutcome::MadeGood,
            false => LossOutcome::RunRefused,
        };
        match (table.kind(), self.origin) {
            (kind, _) if kind.heals_by_itself() => LossOutcome::MadeGood,
            (LostKind::Source, _) => self.outcome_of_source(table),
            (LostKind::Unified, _) if !self.knows_unified(&table.path) => LossOutcome::Abandoned,
            // A unified table holds the rows of all pipelines, and so do rejects and warnings.
            (LostKind::Unified, RecordOrigin::ProviderFull | RecordOrigin::SourceTables)
            | (_, RecordOrigin::ProviderFull) => of_all,
            _ => LossOutcome::RunRefused,
        }
    }

    fn outcome_of_source(&self, table: &LostTable) -> LossOutcome {
        let Some((pipeline, resource)) = table.source() else {
            return LossOutcome::RunRefused;
        };
        if self.is_abandoned(pipeline, resource) {
            return LossOutcome::Abandoned;
        }
        match self.origin {
            _ if self.own(pipeline).is_none() => LossOutcome::Beside,
            // A rebuild is published as a whole or not at all.
            RecordOrigin::SourceTables => LossOutcome::RunRefused,
            _ if self.refused.contains(pipeline) => LossOutcome::PipelineRefused,
            RecordOrigin::ProviderFull => LossOutcome::MadeGood,
            RecordOrigin::ProviderIncremental if self.begun.contains(&table.path) => {
                LossOutcome::MadeGood
            }
            RecordOrigin::ProviderIncremental | RecordOrigin::ProviderRange => {
                LossOutcome::PipelineRefused
            }
        }
    }

    /// True if the run has the contract of a unified table; all pipelines have the same ones.
    fn knows_unified(&self, path: &str) -> bool {
        let name = path.split_once('/').map_or(path, |(_, name)| name);
        let mut own = self.pipelines.iter();
        own.any(|pipeline| pipeline.unified.contains_key(name))
    }
}

/// The pipelines whose source tables a run names.
fn pipelines_of(run: &RunRecord) -> BTreeSet<&str> {
    let sources = run.tables.keys().filter(|path| LostTable::is_source(path));
    sources
        .filter_map(|path| path.split_once('/'))
        .map(|(pipeline, _)| pipeline)
        .collect()
}

/// Reason that nothing is done with tables that have lost commits, with what helps: to a run of a scope, or to somebody who does not know the project.
pub(crate) fn refusal(run: &RunRecord, lost: &[LostTable], scope: Option<&RunScope<'_>>) -> Error {
    lost_commits(run, lost).hint(format!(
        "Put the tables' files back from a copy. Where there is none, {}",
        way_out(run, lost, scope)
    ))
}

/// Problems with tables that have lost commits, and with others that cannot be read, each by path. Where they are of several kinds, what
/// helps one stops at another: then all have the way out of all of them.
pub(crate) fn problems_of(
    run: &RunRecord,
    lost: &[LostTable],
    unreadable: Vec<(String, Error)>,
    scope: Option<&RunScope<'_>>,
) -> Vec<Error> {
    let unread = unreadable.iter().map(|(path, _)| gone(path));
    let all: Vec<LostTable> = unread.chain(lost.iter().cloned()).collect();
    let is_mixed = all.windows(2).any(|two| two[0].kind() != two[1].kind());
    let all_refused = (!lost.is_empty()).then(|| refusal(run, lost, scope));
    let mut problems: Vec<Error> = unreadable.into_iter().map(|(_, error)| error).collect();
    if is_mixed && !problems.is_empty() {
        let hint = format!(
            "Put the tables' files back from a copy. Where there is none, {} Where that stops at a table all the same, move the table's folder out of the warehouse before.",
            way_out(run, &all, scope)
        );
        problems.extend(all_refused);
        return problems
            .into_iter()
            .map(|error| match error.hint_text() {
                // Nothing is made anew for want of a permission.
                Some(LET_READ) => error,
                _ => error.hint(hint.clone()),
            })
            .collect();
    }
    problems.extend(all_refused);
    problems
}

/// A table of which nothing can be used.
pub(crate) fn gone(path: &str) -> LostTable {
    LostTable {
        path: path.to_owned(),
        named: 0,
        found: None,
    }
}

/// The command that makes all of these tables good, as the end of a sentence, and what it needs.
fn way_out(run: &RunRecord, lost: &[LostTable], scope: Option<&RunScope<'_>>) -> String {
    let is_abandoned = |table: &LostTable| {
        let source = table.source();
        scope.is_some_and(|scope| {
            source.is_some_and(|(pipeline, resource)| scope.is_abandoned(pipeline, resource))
        })
    };
    let relevant: Vec<&LostTable> = lost.iter().filter(|table| !is_abandoned(table)).collect();
    let has = |kind: LostKind| relevant.iter().any(|table| table.kind() == kind);
    let sources: BTreeSet<&str> = relevant
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
    let more = match scope {
        Some(scope) if has(LostKind::Unified) || has(LostKind::Notes) => {
            without(&scope.absent(run))
        }
        None if has(LostKind::Source) => {
            " Of a pipeline or a resource that is not in the project any more, `tillhouse rebuild` goes on with what is left."
                .to_owned()
        }
        _ => String::new(),
    };
    format!("{means}.{more}")
}

/// Hint for a run that does not have all pipelines.
pub(crate) fn without(absent: &[&str]) -> String {
    match absent {
        [] => String::new(),
        absent => format!(
            " It has to be about all pipelines, and this run is without {}: name none, mend a configuration that is wrong, wait for a run that is under \
             way, or take a pipeline's folder out of the project, whose rows then stay as they are.",
            absent.join(" and ")
        ),
    }
}

/// Says what becomes of a table that is made good.
pub(crate) fn tell(table: &LostTable) {
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
