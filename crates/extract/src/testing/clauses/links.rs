//! Links of a server, and listings that never end.
//!
//! Invariant: nothing that a server writes sends the source to another host or keeps it for ever.

use crate::testing::run::{ConformanceRun, SliceBaseline, advance_clock, limits};
use crate::testing::source_under_test::{PageLinks, SourceUnderTest};
use crate::testing::violation::{ClauseResult, ClauseViolation};
use serde_json::json;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tillhouse_model::ErrorKind;

/// Times a fault hits: every request there can be.
const ALWAYS: u64 = 100_000;

/// A link to another host is not followed; a source that goes by links only says so.
pub async fn a_link_to_another_host_is_not_followed(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let unbound = |error| ClauseViolation::new(format!("cannot listen on loopback: {error}"));
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(unbound)?;
    let elsewhere = format!("http://{}/elsewhere", trap.local_addr().map_err(unbound)?);
    let caught = Rc::new(Cell::new(0));
    let count = Rc::clone(&caught);
    let watch = async move {
        while let Ok((stream, _)) = trap.accept().await {
            count.set(count.get() + 1);
            drop(stream);
        }
    };
    let local = tokio::task::LocalSet::new();
    local.spawn_local(watch);
    let held = local.run_until(async {
        let held = misled(
            &bench,
            json!({"kind": "foreign_link", "link": elsewhere, "times": ALWAYS}),
        )
        .await;
        advance_clock(Duration::from_secs(3_600)).await;
        bench.settled_log().await.and(held)
    });
    let held = held.await;
    // That the other host was asked at all is worse than what came of it.
    hold!(
        caught.get() == 0,
        "the host that a page's link leads to was asked {} times",
        caught.get()
    );
    held.map(drop)
}

/// A link that leads to its own page ends the slice; a source that goes by links only says so.
pub async fn a_link_to_itself_ends(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    misled(&bench, json!({"kind": "self_link", "times": ALWAYS})).await
}

async fn misled(bench: &ConformanceRun<'_>, fault: serde_json::Value) -> ClauseResult {
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        bench.control.clear_log().await?;
        bench.control.fault(fault.clone()).await?;
        // A circle that a source should notice at once need not be followed for long.
        let mut limits = limits(course.page_size);
        limits.most_pages = 3 * course.pages as u64 + 10;
        let trial = bench.open(limits)?;
        let reading = trial
            .read(&asked, trial.source.pages(&asked.slice(course.window)))
            .await?;
        let met = ALWAYS - bench.control.pending().await?;
        bench.control.clear_faults().await?;
        let name = format!("{}, {}", asked.resource.name, fault["kind"]);
        let log = bench.settled_log().await?;
        let sent = bench.lists(&log).count();
        // One for the link, and one more where the end shows without it only; a page that comes again has the listing read anew.
        let readings = if asked.records.links == PageLinks::Followed {
            1 + crate::paging::REREADS
        } else {
            1
        };
        hold!(
            sent <= (course.requests + 2).max(2 * readings),
            "{name}: {sent} requests, where {} do",
            course.requests
        );
        match asked.records.links {
            PageLinks::Followed => {
                hold!(
                    met > 0,
                    "{name}: the server's pages have no links, though the subject says that they are followed"
                );
                // It may also know another way to the next page.
                let Some(error) = &reading.error else {
                    asked.say(
                        &fault["kind"],
                        reading.is_complete(&course.truth, &everything),
                    )?;
                    continue;
                };
                let kind = error.kind();
                hold!(
                    kind == ErrorKind::Protocol,
                    "{name}: the slice ends with {kind:?}, not Protocol: {error}"
                );
                reading
                    .is_true(&everything)
                    .map_err(|breach| breach.at(name))?;
            }
            PageLinks::Ignored | PageLinks::None => {
                let must_meet = asked.records.links == PageLinks::Ignored;
                hold!(
                    !must_meet || met > 0,
                    "{name}: the server's pages have no links, though the subject says that they have"
                );
                asked.say(
                    &fault["kind"],
                    reading.is_complete(&course.truth, &everything),
                )?;
            }
        }
    }
    Ok(())
}

/// A listing that never ends is an error after as many pages as the limits allow.
pub async fn a_listing_without_end_ends(subject: SourceUnderTest) -> ClauseResult {
    const MOST: u64 = 25;
    let bench = ConformanceRun::new(&subject)?;
    let mut endless = 0;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.records.paged)
    {
        let name = asked.resource.name;
        let SliceBaseline {
            window, page_size, ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        bench.control.clear_log().await?;
        bench
            .control
            .fault(json!({"kind": "endless", "times": ALWAYS}))
            .await?;
        let mut limits = limits(page_size);
        limits.most_pages = MOST;
        let trial = bench.open(limits)?;
        let reading = trial
            .read(&asked, trial.source.pages(&asked.slice(window)))
            .await?;
        let met = ALWAYS - bench.control.pending().await?;
        bench.control.clear_faults().await?;
        endless += met;
        hold!(
            met <= MOST + 1,
            "{name}: {met} requests, where {MOST} pages are allowed"
        );
        let kind = reading.error.as_ref().map(tillhouse_model::Error::kind);
        hold!(
            met == 0 || kind == Some(ErrorKind::Protocol),
            "{name}: ends with {kind:?} after {met} pages, not Protocol"
        );
    }
    let paged = subject.records.iter().any(|records| records.paged);
    hold!(
        endless > 0 || !paged,
        "no listing of the server was endless"
    );
    Ok(())
}
