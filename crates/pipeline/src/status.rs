//! Status of every pipeline: how far it has been read, and what needs attention.
//!
//! Invariant: read from the warehouse alone; no source is asked. What is configured counts, whether or not it was ever read; whether something
//! lacks is [`Coverage::assess`]'s to say, as it is for statistics and reports.

use crate::config::{Pipeline, ResourcePlan};
use crate::expected::configured_reads;
use crate::land::NOT_LISTED_AGAIN;
use crate::lease::{LeaseHolder, LeaseHolders};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_lake::{CoverageRow, RunRecord, Warehouse, readable_until};
use tillhouse_model::{Coverage, ExpectedReads, ReadMode, Result, Window, WindowRead};

/// Stretch of time that was never read of a resource, or of one of its tenants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UnreadStretch {
    /// The tenant, where the resource is read tenant by tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The stretch.
    #[serde(flatten)]
    pub window: Window,
}

/// Clock of a provider by which nothing of what a run asked for had happened yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerClockBehind {
    /// The run.
    pub run: String,
    /// When it began, by the clock of its machine.
    pub started_at: Timestamp,
    /// When it asked, by the provider's clock.
    pub server_time: Timestamp,
}

/// The state of one resource of one pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResourceStatus {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// Up to when it has been read without a gap, counted from `sync.start`, of all its tenants; null where nothing was read.
    pub data_through: Option<Timestamp>,
    /// When it was last read.
    pub last_read: Option<Timestamp>,
    /// Record versions in the source table.
    pub versions: u64,
    /// Stretches of time since `sync.start` that were never read of some tenant, in the time the resource is read by.
    pub gaps: Vec<UnreadStretch>,
    /// Records that did not fit their contract and have not landed since.
    pub open_rejects: u64,
    /// Records that did not come again when their time was read again, as far as syncs told of it; they count as before.
    #[serde(skip_serializing_if = "crate::report::is_none")]
    pub not_listed_again: u64,
    /// The newest published run that touched the pipeline.
    pub last_run: Option<String>,
    /// Its outcome: done or partial.
    pub outcome: Option<String>,
    /// Reason that nothing counts as read of what the newest sync asked for, where the provider's clock is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_clock_behind: Option<ServerClockBehind>,
    /// The run that writes the pipeline now.
    pub running: Option<LeaseHolder>,
}

/// Difference of two clocks that is none: a Date header has whole seconds, and an answer takes its time. Who asks for a time that is still to come sees nothing of it either.
const CLOCKS_AGREE: SignedDuration = SignedDuration::from_mins(1);

/// Coverage of a resource, by tenant.
type TenantCoverage<'a> = BTreeMap<Option<&'a str>, Coverage>;

/// Up to when all tenants of a resource have been read without a gap, and the gaps of any of them, of the time up to `until`.
fn read_so_far(
    plan: &ResourcePlan,
    until: Timestamp,
    tenants: &TenantCoverage<'_>,
) -> (Option<Timestamp>, Vec<UnreadStretch>) {
    let wanted = Window::new(plan.sync.start, until).ok();
    let mut through: Vec<Option<Timestamp>> = Vec::new();
    let mut gaps: BTreeSet<UnreadStretch> = BTreeSet::new();
    for (tenant, coverage) in tenants {
        let Some(wanted) = wanted else {
            through.push(coverage.covered().last().map(Window::to));
            continue;
        };
        let answer = coverage.assess(wanted, wanted.to());
        through.push(answer.through);
        gaps.extend(answer.gaps.into_iter().map(|gap| UnreadStretch {
            tenant: tenant.map(str::to_owned),
            window: gap.window,
        }));
    }
    (
        through.into_iter().min().flatten(),
        gaps.into_iter().collect(),
    )
}

/// The provider's clock, where the newest sync saw nothing of a resource by it.
fn clock_behind(
    ledger: &[CoverageRow],
    resource: &str,
    sync: Option<&RunRecord>,
    now: Timestamp,
) -> Option<ServerClockBehind> {
    let sync = sync.filter(|sync| sync.started_at <= now)?;
    let mut rows = ledger
        .iter()
        .filter(|row| row.resource == resource && row.run_id == sync.run_id)
        .peekable();
    let server_time = rows.peek()?.read.read_at;
    let is_behind = sync.started_at.duration_since(server_time) > CLOCKS_AGREE
        && rows.all(CoverageRow::is_of_clock_behind);
    is_behind.then(|| ServerClockBehind {
        run: sync.run_id.clone(),
        started_at: sync.started_at,
        server_time,
    })
}

/// Coverage of every tenant that is to be read, whether or not it ever was.
fn coverages<'a>(
    ledger: &'a [CoverageRow],
    plan: &ResourcePlan,
    expected: &'a ExpectedReads,
    last: Option<&RunRecord>,
) -> TenantCoverage<'a> {
    let resource = plan.resource.name;
    let mut tenants: BTreeMap<Option<&str>, Vec<&CoverageRow>> = BTreeMap::new();
    for row in ledger.iter().filter(|row| row.resource == resource) {
        tenants.entry(row.tenant.as_deref()).or_default().push(row);
    }
    if expected.is_known() {
        tenants.retain(|tenant, _| expected.contains(resource, *tenant));
        for (_, tenant) in expected.each().filter(|(of, _)| *of == resource) {
            tenants.entry(tenant).or_default();
        }
    } else {
        // Of a sync in which nothing failed there is a slice of every tenant that is still read.
        let sync = last.filter(|run| run.command == "sync" && run.outcome == "done");
        let is_read = |rows: &Vec<&CoverageRow>| {
            sync.is_some_and(|sync| rows.iter().any(|row| row.run_id == sync.run_id))
        };
        if tenants.values().any(is_read) {
            tenants.retain(|_, rows| is_read(rows));
        }
    }
    let of = |rows: Vec<&CoverageRow>| {
        let reads = rows.into_iter().map(CoverageRow::as_read);
        match plan.resource.read_mode {
            ReadMode::FullRefresh => Coverage::of(reads.map(WindowRead::of_everything)),
            ReadMode::Incremental => {
                Coverage::new(plan.resource.read_by, plan.resource.follows_changes, reads)
            }
        }
    };
    tenants
        .into_iter()
        .map(|(tenant, rows)| (tenant, of(rows)))
        .collect()
}

/// Reads that a pipeline should do by its configuration; where that does not tell the tenants, by the newest run.
async fn expected_by_now(warehouse: &Warehouse, pipeline: &Pipeline) -> Result<ExpectedReads> {
    let configured = configured_reads(pipeline);
    if configured.is_known() {
        return Ok(configured);
    }
    let (newest, _) = warehouse.ops().newest_published().await?;
    let recorded = newest.and_then(|mut run| run.expected.remove(&pipeline.name));
    Ok(recorded.unwrap_or(configured))
}

/// The state of every resource of these pipelines.
pub async fn status(warehouse: &Warehouse, pipelines: &[Pipeline]) -> Result<Vec<ResourceStatus>> {
    let runs = warehouse.ops().run_heads().await?;
    let holders = LeaseHolders::read(warehouse).await?;
    let mut all = Vec::new();
    for pipeline in pipelines {
        let running = holders.of(&pipeline.name);
        let ledger = warehouse.ops().coverage(&pipeline.name).await?;
        let rejects = warehouse.ops().rejects(Some(&pipeline.name), true).await?;
        let unlisted = warehouse
            .ops()
            .warnings(&pipeline.name, NOT_LISTED_AGAIN)
            .await?;
        let run = runs
            .iter()
            .find(|r| r.published && r.pipelines.contains(&pipeline.name));
        let sync = runs.iter().find(|run| {
            run.published && run.command == "sync" && run.pipelines.contains(&pipeline.name)
        });
        let expected = expected_by_now(warehouse, pipeline).await?;
        let read: Vec<TenantCoverage<'_>> = pipeline
            .resources
            .iter()
            .map(|plan| coverages(&ledger, plan, &expected, run))
            .collect();
        // As far as anything of the pipeline was read by time, everything should have been: what lies after that is for the next run. Where
        // nothing was, everything lacks.
        let by_time = pipeline
            .resources
            .iter()
            .zip(&read)
            .filter(|(plan, _)| plan.resource.read_mode == ReadMode::Incremental);
        let until = by_time
            .flat_map(|(_, read)| read.values())
            .filter_map(|read| read.covered().last())
            .map(Window::to)
            .max()
            .unwrap_or_else(|| warehouse.now());
        let newest_run = ledger
            .iter()
            .filter(|row| row.read.seen().is_some())
            .max_by(|a, b| a.run_id.cmp(&b.run_id));
        let until = newest_run.map_or(until, |row| readable_until(&row.run_id, until, &ledger));
        for (plan, read) in pipeline.resources.iter().zip(&read) {
            let of_resource = |row: &&CoverageRow| row.resource == plan.resource.name;
            let last_read = ledger
                .iter()
                .filter(of_resource)
                .map(|row| row.read.read_at)
                .max();
            let (data_through, gaps) = read_so_far(plan, until, read);
            let table = warehouse
                .open_at(&format!("{}/{}", pipeline.name, plan.resource.name), None)
                .await?;
            all.push(ResourceStatus {
                pipeline: pipeline.name.clone(),
                resource: plan.resource.name.to_owned(),
                data_through,
                last_read,
                versions: table.and_then(|t| t.figures.rows).unwrap_or(0),
                gaps,
                open_rejects: rejects
                    .iter()
                    .filter(|r| r.resource == plan.resource.name)
                    .count() as u64,
                not_listed_again: unlisted
                    .iter()
                    .filter(|warning| warning.resource == plan.resource.name)
                    .count() as u64,
                last_run: run.map(|r| r.run_id.clone()),
                outcome: run.map(|r| r.outcome.clone()),
                server_clock_behind: clock_behind(
                    &ledger,
                    plan.resource.name,
                    sync,
                    warehouse.now(),
                ),
                running: running.clone(),
            });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_that_is_still_to_come_says_nothing_about_the_providers_clock() {
        let sync = RunRecord {
            run_id: "r1".to_owned(),
            command: "sync".to_owned(),
            pipelines: vec!["hecone".to_owned()],
            started_at: at("2026-03-01T12:00:00.7Z"),
            finished_at: at("2026-03-01T12:00:09Z"),
            outcome: "done".to_owned(),
            published: true,
            tables: BTreeMap::new(),
            figures: BTreeMap::new(),
            counts: BTreeMap::new(),
            expected: BTreeMap::new(),
        };
        let told = |from: &str, read_at: &str| {
            let row = CoverageRow {
                pipeline: "hecone".to_owned(),
                resource: "transactions".to_owned(),
                tenant: None,
                read: WindowRead {
                    window: Window::new(at(from), at("2026-03-03T00:00:00Z")).unwrap(),
                    read_at: at(read_at),
                    read_by: None,
                    also_read_by: None,
                },
                run_id: "r1".to_owned(),
            };
            let now = at("2026-03-01T13:00:00Z");
            clock_behind(&[row], "transactions", Some(&sync), now).map(|clock| clock.server_time)
        };
        let (tomorrow, today) = ("2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z");
        assert_eq!(told(tomorrow, "2026-03-01T12:00:00Z"), None);
        let behind = "2026-02-27T12:00:00Z";
        assert_eq!(told(today, behind), Some(at(behind)));
        assert_eq!(told(today, "2026-03-01T12:00:00Z"), None);
    }
}
