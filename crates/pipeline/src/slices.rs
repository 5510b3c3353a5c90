//! Slices of a run: everything that a resource has to be asked for now, tenant by tenant.
//!
//! Invariant: nothing is asked here, so that a start that was hardly meant is refused before the first request.

use crate::config::{Pipeline, ResourcePlan};
use crate::expected::configured_reads;
use crate::plan::{self, SyncOptions, SyncRange};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;
use tillhouse_extract::{ClockLead, clock_lead};
use tillhouse_lake::{CoverageRow, Warehouse};
use tillhouse_model::{
    Coverage, Error, ProblemList, ReadBy, ReadMode, Resource, Result, Slice, time,
};

/// Most slices of a resource that are read without a question: twenty-seven years, day by day.
pub const MOST_SLICES: u64 = 10_000;

/// Time without a sync after which a clock that is wrong is likelier than that there was none.
const UNSEEN: SignedDuration = SignedDuration::from_hours(24 * 366);

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
    let expected = configured_reads(pipeline);
    let check = |plan: &ResourcePlan| {
        check_start(pipeline, plan, now)?;
        if plan.resource.read_mode == ReadMode::FullRefresh {
            return Ok(());
        }
        // The tenants that are configured, or were read so far: a provider is not asked for those there are.
        let name = plan.resource.name;
        let mut tenants: HashSet<Option<&str>> = HashSet::new();
        if expected.is_known() {
            let own = expected.each().filter(|(resource, _)| *resource == name);
            tenants.extend(own.map(|(_, tenant)| tenant));
        } else {
            let own = ledger.iter().filter(|row| row.resource == name);
            tenants.extend(own.map(|row| row.tenant.as_deref()));
        }
        if tenants.is_empty() {
            tenants.insert(None);
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
            Err(too_many(
                plan,
                SyncRange::default(),
                planned,
                (&ledger, now),
            ))
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

fn check_start(pipeline: &Pipeline, plan: &ResourcePlan, now: Timestamp) -> Result<()> {
    if plan.sync.start < now {
        return Ok(());
    }
    let text = format!(
        "the `start` of sync, {}, lies in the future",
        plan.sync.start
    );
    Err(Error::config(text)
        .at("file", format!("pipelines/{}/pipeline.yaml", pipeline.name))
        .at("resource", plan.resource.name)
        .hint(format!(
            "Set it to the provider's first day with you; nothing that happened before it is read. By this machine's clock it is {now:.0} now."
        )))
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
        check_start(pipeline, plan, now)?;
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
            return Err(too_many(plan, range, planned, (ledger, now)));
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

/// That a start lies so far back that it was hardly meant, or that this machine's clock is ahead.
fn too_many(
    plan: &ResourcePlan,
    range: SyncRange,
    planned: u64,
    (ledger, now): (&[CoverageRow], Timestamp),
) -> Error {
    let (from, slice) = (range.from.unwrap_or(plan.sync.start), plan.sync.slice);
    let slice = time::readable(slice);
    let text = format!(
        "from {from} on, in slices of {slice}, are {planned} slices or more, each one request at least"
    );
    let of_resource = ledger
        .iter()
        .filter(|row| row.resource == plan.resource.name);
    let read_at = of_resource.map(|row| row.read.read_at).max();
    Error::config(text)
        .at("resource", plan.resource.name)
        .at("now", format!("{now:.0}"))
        .hint(too_many_hint(now, clock_lead(), read_at))
}

/// Advice where there are too many slices: the start, or the clock by which `now` is what it is.
fn too_many_hint(now: Timestamp, lead: Option<ClockLead>, read_at: Option<Timestamp>) -> String {
    let start = "sync.start (or --from): the provider's first day with you is early enough. A longer sync.slice makes fewer; --yes reads them all.";
    if let Some(ClockLead {
        server,
        here,
        there,
    }) = lead
    {
        return format!(
            "This machine's clock is ahead of that of {server}: it says {here:.0}, where that one says {there:.0}. Set it. If it is right, check {start}"
        );
    }
    // What was read before was not too much then.
    match read_at.filter(|read_at| now.duration_since(*read_at) > UNSEEN) {
        Some(read_at) => format!(
            "This machine's clock says {now:.0}, and the resource was read last at {read_at:.0}: set the clock if it is wrong. If it is right, check {start}"
        ),
        None => format!(
            "Check {start} All of it is counted up to now, which is {now:.0} by this machine's clock: set the clock if it is wrong."
        ),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted_source::t;

    #[test]
    fn too_many_slices_are_the_clocks_fault_where_something_says_so() {
        let now = t("2300-01-01T00:00:00Z");
        let hint = |lead, read_at| too_many_hint(now, lead, read_at);
        let told = hint(None, None);
        assert!(
            told.starts_with("Check sync.start") && told.contains("2300-01-01"),
            "{told}"
        );
        let read = hint(None, Some(t("2026-03-01T00:00:00Z")));
        assert!(
            read.contains("clock says 2300-01-01") && read.contains("2026-03-01"),
            "{read}"
        );
        let lately = hint(None, Some(t("2299-12-01T00:00:00Z")));
        assert!(lately.starts_with("Check sync.start"), "{lately}");
        let there = t("2026-03-02T00:00:00Z");
        let server = "https://api.example.com".to_owned();
        let lead = ClockLead {
            server,
            here: now,
            there,
        };
        let ahead = hint(Some(lead), None);
        for part in [
            "clock is ahead of that of https://api.example.com",
            "2300-01-01",
            "2026-03-02",
        ] {
            assert!(ahead.contains(part), "{ahead}");
        }
    }
}
