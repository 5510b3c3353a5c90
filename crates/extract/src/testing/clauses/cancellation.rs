//! A slice that is not read to its end: how far it reads ahead, and what it does after it was dropped.
//!
//! Invariant: what is sent is read from the server's log, after a time in which everything that was to come has come.

use crate::testing::run::{ConformanceRun, StreamEvent, advance_clock, limits};
use crate::testing::source_under_test::SourceUnderTest;
use crate::testing::violation::ClauseResult;
use serde_json::json;
use std::time::Duration;

/// Requests that a resource which is listed parent by parent may have sent ahead: two of each list that is begun.
fn ahead_of_parents(page_size: u32) -> usize {
    2 * limits(page_size).concurrency
}

/// A stream reads at most one page more than were taken from it, however long nobody takes one; of the lists of several parents the beginnings of
/// as many as may be asked for at once.
pub async fn one_page_is_read_ahead(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources().await? {
        let name = asked.resource.name;
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        bench.control.clear_log().await?;
        let trial = bench.open(limits(course.page_size))?;
        let pages = trial.source.pages(&asked.slice(course.window));
        let idle = bench.settled_log().await?.len();
        hold!(
            idle == 0,
            "{name}: {idle} requests before a page was wanted"
        );
        let mut run = trial.start(&asked, pages);
        for taken in 1..=2 {
            if run.step().await? != StreamEvent::Page {
                break;
            }
            advance_clock(Duration::from_secs(3_600)).await;
            let log = bench.settled_log().await?;
            let sent = bench.lists(&log).count();
            if course.requests == course.pages {
                hold!(
                    sent <= taken + 1,
                    "{name}: {sent} pages were asked for when {taken} had been taken"
                );
            } else if course.pages > taken + 2 + ahead_of_parents(course.page_size) {
                hold!(
                    sent < course.requests,
                    "{name}: all was asked for when {taken} pages had been taken"
                );
            }
        }
    }
    Ok(())
}

/// A slice that is dropped half-way asks nothing more.
pub async fn a_dropped_slice_sends_nothing_more(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        for in_flight in [true, false] {
            bench.control.clear_log().await?;
            let trial = bench.open(limits(course.page_size))?;
            let mut run = trial.start(&asked, trial.source.pages(&asked.slice(course.window)));
            let step = run.step().await?;
            hold!(
                step == StreamEvent::Page,
                "{}: no page came",
                asked.resource.name
            );
            if !in_flight {
                bench.settled_log().await?;
            }
            drop(run);
            let sent = bench.settled_log().await?.len();
            advance_clock(Duration::from_secs(3_600)).await;
            let later = bench.settled_log().await?.len();
            hold!(
                later == sent,
                "{}: {} requests after the slice was dropped",
                asked.resource.name,
                later - sent
            );
            let log = bench.settled_log().await?;
            let sent = bench.lists(&log).count();
            let ahead = match course.requests == course.pages {
                true => 0,
                false => ahead_of_parents(course.page_size),
            };
            let all = course.pages > 3 + ahead && sent >= course.requests;
            hold!(
                !all,
                "{}: all was asked for, though the slice was dropped after one page",
                asked.resource.name
            );
        }
    }
    Ok(())
}

/// A slice that is dropped while it waits does not come back after the wait.
pub async fn a_dropped_slice_stops_waiting(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        bench.control.clear_log().await?;
        bench
            .control
            .fault(
                json!({"kind": "rate_limited", "retry_after": "60", "after": course.requests / 2}),
            )
            .await?;
        let trial = bench.open(limits(course.page_size))?;
        let mut run = trial.start(&asked, trial.source.pages(&asked.slice(course.window)));
        while run.step().await? == StreamEvent::Page {}
        drop(run);
        let sent = bench.settled_log().await?.len();
        advance_clock(Duration::from_secs(3_600)).await;
        let later = bench.settled_log().await?.len();
        hold!(
            later == sent,
            "{}: {} requests after the slice was dropped",
            asked.resource.name,
            later - sent
        );
    }
    Ok(())
}
