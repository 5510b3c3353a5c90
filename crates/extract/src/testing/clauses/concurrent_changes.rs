//! A provider that does not stand still: records arrive, change and vanish while pages are read, and some are learnt of late.
//!
//! Invariant: what was there from before the first page until after the last one is never lost without a sign.

use crate::testing::reading::{ServerRecords, SliceReading};
use crate::testing::run::{
    ConformanceRun, SliceBaseline, StreamEvent, TenantResource, advance_clock, limits,
};
use crate::testing::source_under_test::SourceUnderTest;
use crate::testing::violation::{ClauseResult, ClauseViolation};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tillhouse_emulator::RecordMutationKind;
use tillhouse_model::{ReadBy, Window};

/// Between so many of the first pages something happens.
const STIRS: usize = 3;

/// Records that arrive between two pages, in front of those already read, push none of the others out of sight.
pub async fn records_that_arrive_while_paging_hide_none(subject: SourceUnderTest) -> ClauseResult {
    moving(&subject, RecordMutationKind::Arrive).await
}

/// Records that change between two pages, and may move within the listing, push none of the others out of sight.
pub async fn records_that_change_while_paging_hide_none(subject: SourceUnderTest) -> ClauseResult {
    moving(&subject, RecordMutationKind::Change).await
}

/// Records that vanish between two pages, of those already read, pull none of the others out of sight.
pub async fn records_that_vanish_while_paging_hide_none(subject: SourceUnderTest) -> ClauseResult {
    moving(&subject, RecordMutationKind::Vanish).await
}

async fn moving(subject: &SourceUnderTest, stir: RecordMutationKind) -> ClauseResult {
    let bench = ConformanceRun::new(subject)?;
    let mut stirred = 0;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let outcome = stir_while_paging(&bench, &asked, &course, stir).await;
        stirred += asked.say(
            format_args!("records {} between pages", stir.name()),
            outcome,
        )?;
    }
    hold!(
        stirred > 0,
        "the server could {} no record of any resource",
        stir.name()
    );
    Ok(())
}

/// Reads a slice with mutations between its pages; gives their number.
async fn stir_while_paging(
    bench: &ConformanceRun<'_>,
    asked: &TenantResource<'_>,
    course: &SliceBaseline,
    stir: RecordMutationKind,
) -> Result<usize, ClauseViolation> {
    // Every version of every record that was there at some time.
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut remember = |truth: ServerRecords| {
        for (key, text) in truth {
            versions.entry(key).or_default().insert(text);
        }
    };
    remember(bench.server_records(asked, None).await?);
    let trial = bench.open(limits(course.page_size))?;
    let mut run = trial.start(asked, trial.source.pages(&asked.slice(course.window)));
    let mut stirred = 0;
    loop {
        match run.step().await? {
            StreamEvent::Page if run.reading.pages.len() <= STIRS => {
                // The page ahead is on its way; what happens, happens after it.
                bench.settled_log().await?;
                let (name, tenant) = (asked.resource.name, asked.tenant.as_deref());
                // At first as much as a whole page holds, then a little; but where totals tell, no fewer are left than may have come: a listing that
                // declares fewer than came is rightly an error.
                let came = usize::try_from(course.page_size)
                    .unwrap_or(usize::MAX)
                    .saturating_mul(STIRS);
                let left = course.truth.len().saturating_sub(stirred);
                // What changes may leave the window, too.
                let is_kept = stir != RecordMutationKind::Arrive
                    && asked.resource.declares_total
                    && left <= came;
                let times = match stirred {
                    0 => course.page_size,
                    _ => u32::from(!is_kept),
                };
                for _ in 0..times {
                    if bench
                        .control
                        .mutate(stir, name, tenant, course.window)
                        .await?
                        .is_some()
                    {
                        stirred += 1;
                        remember(bench.server_records(asked, None).await?);
                    }
                }
            }
            StreamEvent::Page => {}
            StreamEvent::Waits => advance_clock(Duration::from_secs(120)).await,
            StreamEvent::Over => break,
        }
    }
    let reading = run.reading;
    reading.ended_well()?;
    for record in reading.records() {
        let known = versions
            .get(&record.key)
            .is_some_and(|texts| texts.contains(&record.text));
        hold!(known, "the record {:?} came as it never was", record.key);
    }
    let after = bench.server_records(asked, Some(course.window)).await?;
    let stayed: Vec<&str> = course
        .truth
        .keys()
        .filter(|key| after.contains_key(*key))
        .map(String::as_str)
        .collect();
    let complete = reading.misses_none(stayed.iter().copied(), stayed.len());
    if stirred > 0 {
        judge(asked, course, stir, &reading, complete)?;
    }
    // Whatever it came to: once all is quiet, reading again is exact.
    let again = bench.read(asked, course.window, course.page_size).await?;
    again
        .is_exactly(&after, &bench.server_records(asked, None).await?)
        .map_err(|breach| breach.at("read again afterwards"))?;
    Ok(stirred)
}

/// Records may only be missing where the total tells, so that the pipeline reads again, or where the subject has said that the API
/// leaves no way to know.
fn judge(
    asked: &TenantResource<'_>,
    course: &SliceBaseline,
    stir: RecordMutationKind,
    reading: &SliceReading,
    complete: ClauseResult,
) -> ClauseResult {
    let excused = stir == RecordMutationKind::Vanish && !asked.records.shifts;
    let Err(missing) = complete else {
        let enough = course.pages > STIRS + 1;
        hold!(
            !(excused && enough),
            "nothing was hidden by what vanished, though the subject says that it is"
        );
        return Ok(());
    };
    if !asked.resource.declares_total {
        return if excused {
            Ok(())
        } else {
            Err(missing.at("records that were there throughout"))
        };
    }
    let (told, came) = (reading.declared_total(), reading.distinct() as u64);
    hold!(
        told != Some(came),
        "records that were there throughout: {missing}; and {came} records came, as the total says, so that nobody will notice"
    );
    Ok(())
}

/// Records that the provider learns of now, for times long gone, are found by asking for what it learnt; and those that change now by asking
/// for now, where a resource is said to be read by change time.
pub async fn late_records_are_found(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources_by_tenant().await? {
        let trial = bench.open(limits(50))?;
        let now = bench.control.clock().await?;
        let hour = SignedDuration::from_hours(1);
        let around = now.checked_sub(hour).ok().zip(now.checked_add(hour).ok());
        let around = around.and_then(|(from, to)| Window::new(from, to).ok());
        let around = around
            .ok_or_else(|| ClauseViolation::new("the server's clock stands at the end of time"))?;
        if asked.resource.read_by == ReadBy::ChangeTime {
            let is_twice = asked.resource.follows_changes;
            hold!(
                !is_twice,
                "{}: windows of change time need no late records beside them",
                asked.resource.name
            );
            let late =
                let_one_be_learnt(&bench, &asked, RecordMutationKind::Change, around).await?;
            let reading = trial
                .read(&asked, trial.source.pages(&asked.slice(around)))
                .await?;
            asked.say(format_args!("changed in {around}"), late.is_found(&reading))?;
        }
        if !asked.resource.follows_changes {
            bench.control.clear_log().await?;
            let reading = trial
                .read(
                    &asked,
                    trial.source.pages_by_change_time(&asked.slice(around)),
                )
                .await?;
            let silent = reading.pages.is_empty()
                && reading.error.is_none()
                && bench.settled_log().await?.is_empty();
            hold!(
                silent,
                "{}: asks for late records, though it is said to have none",
                asked.resource.name
            );
            continue;
        }
        let stir = if asked.records.learns_by_change {
            RecordMutationKind::Change
        } else {
            RecordMutationKind::Arrive
        };
        let late = let_one_be_learnt(&bench, &asked, stir, around).await?;
        let reading = trial
            .read(
                &asked,
                trial.source.pages_by_change_time(&asked.slice(around)),
            )
            .await?;
        asked.say(
            format_args!("learnt in {around} for {}", late.of),
            late.is_found(&reading),
        )?;
        // A server may take a window's start for outside of it: then one from a second later on tells what is asked for earlier.
        let after = now
            .checked_add(SignedDuration::from_secs(1))
            .ok()
            .and_then(|next| Window::new(next, around.to()).ok());
        if let Some(after) = after {
            let pages = trial.source.pages_by_change_time(&asked.slice(after));
            let reading = trial.read(&asked, pages).await?;
            asked.say(
                format_args!("learnt a second before {after}"),
                late.is_found(&reading),
            )?;
        }
    }
    Ok(())
}

/// Record that the provider has just learnt something of.
struct LearntRecord {
    key: String,
    /// When it happened.
    of: Window,
    /// Records on the server since.
    after: ServerRecords,
}

impl LearntRecord {
    fn is_found(&self, reading: &SliceReading) -> ClauseResult {
        reading
            .ended_well()
            .and_then(|()| reading.is_true(&self.after))
            .and_then(|()| reading.misses_none([self.key.as_str()].into_iter(), 1))
    }
}

/// Lets one record of long ago arrive or change now.
async fn let_one_be_learnt(
    bench: &ConformanceRun<'_>,
    asked: &TenantResource<'_>,
    stir: RecordMutationKind,
    around: Window,
) -> Result<LearntRecord, ClauseViolation> {
    let name = asked.resource.name;
    let of = bench.window(asked, 5).await?;
    hold!(
        of.to() < around.from(),
        "{name}: the server's first records are of today"
    );
    let before = bench.server_records(asked, None).await?;
    let stirred = bench
        .control
        .mutate(stir, name, asked.tenant.as_deref(), of)
        .await?;
    hold!(
        stirred.is_some(),
        "{name}: the server cannot let a record {} in {of}",
        stir.name()
    );
    let after = bench.server_records(asked, None).await?;
    let late: Vec<&String> = after
        .iter()
        .filter(|(key, text)| before.get(*key) != Some(text))
        .map(|(key, _)| key)
        .collect();
    let &[key] = late.as_slice() else {
        return Err(ClauseViolation::new(format!(
            "{name}: the server let {} records {}",
            late.len(),
            stir.name()
        )));
    };
    Ok(LearntRecord {
        key: key.clone(),
        of,
        after,
    })
}

/// Records asked for by id come, and those that are no more are left out.
pub async fn records_are_had_by_id(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.resource.by_id)
    {
        let name = asked.resource.name;
        let window = bench.window(&asked, 15).await?;
        let mut truth = bench.server_records(&asked, Some(window)).await?;
        let trial = bench.open(limits(50))?;
        let by_id = |ids: Vec<String>| trial.read(&asked, trial.source.pages_by_id(name, ids));
        let ids: Vec<String> = truth.keys().cloned().collect();
        asked.say(
            "by id",
            by_id(ids.clone()).await?.is_exactly(&truth, &truth),
        )?;
        asked.say(
            "by no id",
            by_id(Vec::new())
                .await?
                .is_exactly(&ServerRecords::new(), &truth),
        )?;
        let gone = bench
            .control
            .mutate(
                RecordMutationKind::Vanish,
                name,
                asked.tenant.as_deref(),
                window,
            )
            .await?;
        hold!(
            gone.is_some(),
            "{name}: the server cannot let a record vanish"
        );
        truth = bench.server_records(&asked, Some(window)).await?;
        hold!(
            truth.len() + 1 == ids.len(),
            "{name}: not one record vanished"
        );
        asked.say(
            "by id, one of which is gone",
            by_id(ids).await?.is_exactly(&truth, &truth),
        )?;
    }
    Ok(())
}
