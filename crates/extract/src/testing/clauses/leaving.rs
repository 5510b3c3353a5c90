//! A slice that is not read to its end: how far it reads ahead, and what it does after it was dropped.
//!
//! Invariant: what is sent is read from the server's log, after a time in which everything that was to come has come.

use crate::testing::breach::Held;
use crate::testing::subject::Subject;
use crate::testing::trial::{Bench, Step, limits, pass};
use serde_json::json;
use std::time::Duration;

/// A stream reads at most one page more than were taken from it, however long nobody takes one.
pub async fn one_page_is_read_ahead(subject: Subject) -> Held {
    let bench = Bench::new(&subject)?;
    for asked in bench.resources().await? {
        let name = asked.resource.name;
        let course = asked.say("undisturbed", bench.course(&asked).await)?;
        bench.control.clear_log().await?;
        let trial = bench.open(limits(course.page_size))?;
        let pages = trial.source.pages(&asked.slice(course.window));
        let idle = bench.quiet().await?.len();
        hold!(idle == 0, "{name}: {idle} requests before a page was wanted");
        let mut run = trial.start(&asked, pages);
        for taken in 1..=2 {
            if run.step().await? != Step::Page {
                break;
            }
            pass(Duration::from_secs(3_600)).await;
            let log = bench.quiet().await?;
            let sent = bench.lists(&log).count();
            if course.requests == course.pages {
                hold!(sent <= taken + 1, "{name}: {sent} pages were asked for when {taken} had been taken");
            } else if course.pages > taken + 2 {
                hold!(sent < course.requests, "{name}: all was asked for when {taken} pages had been taken");
            }
        }
    }
    Ok(())
}

/// A slice that is dropped half-way asks nothing more.
pub async fn a_dropped_slice_sends_nothing_more(subject: Subject) -> Held {
    let bench = Bench::new(&subject)?;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.course(&asked).await)?;
        for in_flight in [true, false] {
            bench.control.clear_log().await?;
            let trial = bench.open(limits(course.page_size))?;
            let mut run = trial.start(&asked, trial.source.pages(&asked.slice(course.window)));
            let step = run.step().await?;
            hold!(step == Step::Page, "{}: no page came", asked.resource.name);
            if !in_flight {
                bench.quiet().await?;
            }
            drop(run);
            let sent = bench.quiet().await?.len();
            pass(Duration::from_secs(3_600)).await;
            let later = bench.quiet().await?.len();
            hold!(later == sent, "{}: {} requests after the slice was dropped", asked.resource.name, later - sent);
            let log = bench.quiet().await?;
            let sent = bench.lists(&log).count();
            let all = course.pages > 3 && sent >= course.requests;
            hold!(!all, "{}: all was asked for, though the slice was dropped after one page", asked.resource.name);
        }
    }
    Ok(())
}

/// A slice that is dropped while it waits does not come back after the wait.
pub async fn a_dropped_slice_stops_waiting(subject: Subject) -> Held {
    let bench = Bench::new(&subject)?;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.course(&asked).await)?;
        bench.control.clear_log().await?;
        bench.control.fault(json!({"kind": "rate_limited", "retry_after": "60", "after": course.requests / 2})).await?;
        let trial = bench.open(limits(course.page_size))?;
        let mut run = trial.start(&asked, trial.source.pages(&asked.slice(course.window)));
        while run.step().await? == Step::Page {}
        drop(run);
        let sent = bench.quiet().await?.len();
        pass(Duration::from_secs(3_600)).await;
        let later = bench.quiet().await?.len();
        hold!(later == sent, "{}: {} requests after the slice was dropped", asked.resource.name, later - sent);
    }
    Ok(())
}
