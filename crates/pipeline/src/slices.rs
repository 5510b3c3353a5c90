//! Slices of a run: everything that a resource has to be asked for now, tenant by tenant.
//!
//! Invariant: nothing is asked here, so that a start that was hardly meant is refused before the first request.

use crate::config::{Pipeline, ResourcePlan};
use crate::plan::{self, SyncOptions, SyncRange};
use jiff::Timestamp;
use std::collections::HashSet;
use tillhouse_lake::{CoverageRow, Warehouse};
use tillhouse_model::{
    Coverage, Error, ProblemList, ReadBy, ReadMode, Resource, Result, Slice, time,
};

/// So many slices of a resource are read without a question: twenty-seven years, day by day.
pub const MOST_SLICES: u64 = 10_000;

/// Slice to be read, and by which time.
pub(crate) struct PlannedSlice {
    pub(crate) slice: Slice,
    pub(crate) read_by: ReadBy,
}

/// Errors with [`tillhouse_model::ErrorKind::Config`] for every resource of a pipeline that would be read from a moment that has not come yet, or so far back that a sync would ask
/// for `--yes`. What was read before is taken from a warehouse, where there is one.
pub async fn check_starts(
    pipeline: &Pipeline,
    warehouse: Option<&Warehouse>,
    now: Timestamp,
) -> Result<()> {
    let ledger = match warehouse {
        Some(warehouse) => warehouse.ops().coverage(&pipeline.name).await?,
        None => Vec::new(),
    };
    let check = |plan: &ResourcePlan| {
        check_start(plan, now)?;
        if plan.resource.read_mode == ReadMode::FullRefresh {
            return Ok(());
        }
        // The tenants that were read so far: a provider is not asked for those there are.
        let known = ledger
            .iter()
            .filter(|row| row.resource == plan.resource.name)
            .map(|row| row.tenant.as_deref());
        let mut tenants: Vec<Option<&str>> = known.collect::<HashSet<_>>().into_iter().collect();
        if tenants.is_empty() {
            tenants.push(None);
        }
        let count = |tenant: &Option<&str>| {
            plan::count_windows(
                &plan.sync,
                &coverage(&ledger, plan.resource, *tenant),
                SyncRange::default(),
                now,
            )
        };
        let planned = tenants.iter().map(count).sum::<Result<u64>>()?;
        if planned > MOST_SLICES {
            Err(too_many(plan, SyncRange::default(), planned))
        } else {
            Ok(())
        }
    };
    let mut problems = ProblemList::default();
    for plan in &pipeline.resources {
        problems.keep(check(plan));
    }
    problems.or(Some(()))
}

fn check_start(plan: &ResourcePlan, now: Timestamp) -> Result<()> {
    if plan.sync.start < now {
        return Ok(());
    }
    let text = format!(
        "the `start` of sync, {}, lies in the future",
        plan.sync.start
    );
    Err(Error::config(text).at("resource", plan.resource.name).hint(
        "Set it to the provider's first day with you; nothing that happened before it is read.",
    ))
}

/// Everything that a resource has to be asked for now, and by which time.
pub(crate) async fn plan(
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    ledger: &[CoverageRow],
    options: SyncOptions,
    now: Timestamp,
) -> Result<Vec<PlannedSlice>> {
    let (resource, range) = (plan.resource, options.range);
    let (mut all, mut planned) = (Vec::new(), 0_u64);
    if range.is_open() {
        check_start(plan, now)?;
    }
    for tenant in pipeline.source.tenants(resource.name).await? {
        let of = |window, read_by| PlannedSlice {
            slice: Slice {
                resource: resource.name.to_owned(),
                tenant: tenant.clone(),
                window,
            },
            read_by,
        };
        if resource.read_mode == ReadMode::FullRefresh {
            all.push(of(plan::full_window(&plan.sync, now)?, resource.read_by));
            continue;
        }
        let coverage = coverage(ledger, resource, tenant.as_deref());
        planned = planned.saturating_add(plan::count_windows(&plan.sync, &coverage, range, now)?);
        if planned > MOST_SLICES && !options.allow_many_slices {
            return Err(too_many(plan, range, planned));
        }
        let windows = plan::windows(&plan.sync, &coverage, range, now)?;
        all.extend(
            windows
                .into_iter()
                .map(|window| of(window, resource.read_by)),
        );
        if range.is_open() {
            all.extend(
                coverage
                    .change_window_to_read(now)
                    .map(|window| of(window, ReadBy::ChangeTime)),
            );
        }
    }
    Ok(all)
}

/// That a start lies so far back that it was hardly meant.
fn too_many(plan: &ResourcePlan, range: SyncRange, planned: u64) -> Error {
    let (from, slice) = (range.from.unwrap_or(plan.sync.start), plan.sync.slice);
    let slice = time::readable(slice);
    let text = format!(
        "from {from} on, in slices of {slice}, are {planned} slices or more, each one request at least"
    );
    Error::config(text)
        .at("resource", plan.resource.name)
        .hint("Check sync.start (or --from): the provider's first day with you is early enough. A longer sync.slice makes fewer; --yes reads them all.")
}

/// Coverage of a resource of a tenant.
fn coverage(ledger: &[CoverageRow], resource: &Resource, tenant: Option<&str>) -> Coverage {
    let ours =
        |row: &&CoverageRow| row.resource == resource.name && row.tenant.as_deref() == tenant;
    Coverage::new(
        resource.read_by,
        resource.follows_changes,
        ledger.iter().filter(ours).map(CoverageRow::as_read),
    )
}
