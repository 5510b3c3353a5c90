//! Retry-After: what a provider asks for is done, by everybody who asks it.
//!
//! Invariant: whether something was sent too early is read from the server's log, on a clock that is moved by hand.

use crate::testing::run::{
    ConformanceRun, SliceBaseline, StreamEvent, TenantResource, advance_clock, limits,
};
use crate::testing::source_under_test::SourceUnderTest;
use crate::testing::violation::ClauseResult;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tillhouse_model::ErrorKind;

/// Pause that the provider asks for, in seconds. The clock moves by itself too, and a date is read
/// on the machine's own: on a slow machine some seconds pass that nobody meant.
const PAUSE: u64 = 240;
/// When nothing may have been sent, in seconds.
const SILENCE: [u64; 3] = [0, 100, 200];

/// `Retry-After: 240`: nothing is sent for 240 seconds, then the slice goes on.
pub async fn retry_after_seconds_are_obeyed(subject: SourceUnderTest) -> ClauseResult {
    obeyed(
        &subject,
        || json!({"kind": "rate_limited", "retry_after": PAUSE.to_string()}),
    )
    .await
}

/// `Retry-After: 240.0`, as some gateways write it.
pub async fn retry_after_with_a_fraction_is_obeyed(subject: SourceUnderTest) -> ClauseResult {
    obeyed(
        &subject,
        || json!({"kind": "rate_limited", "retry_after": format!("{PAUSE}.0")}),
    )
    .await
}

/// Without `Retry-After`, the time at which the limit starts again is what is asked for.
pub async fn a_limit_that_starts_again_is_waited_for(subject: SourceUnderTest) -> ClauseResult {
    obeyed(&subject, || starts_again(429, "{}")).await
}

/// A gateway that counts calls says 403, in words that a quota is used up, and by a header when it starts again.
pub async fn a_quota_that_is_used_up_is_waited_for(subject: SourceUnderTest) -> ClauseResult {
    let words = "Out of call volume quota. Quota will be replenished in 00:04:00.";
    let body = json!({"statusCode": 403, "message": words}).to_string();
    obeyed(&subject, || starts_again(403, &body)).await
}

/// An answer without `Retry-After` that names the second since 1970 at which the limit starts again.
fn starts_again(status: u16, body: &str) -> Value {
    let then = SystemTime::now() + Duration::from_secs(PAUSE);
    let then = then
        .duration_since(SystemTime::UNIX_EPOCH)
        .map(|since| since.as_secs())
        .unwrap_or_default();
    json!({"kind": "answer", "status": status, "body": body, "headers": {"X-RateLimit-Reset": then.to_string()}})
}

/// `Retry-After` as a date.
pub async fn retry_after_a_date_is_obeyed(subject: SourceUnderTest) -> ClauseResult {
    let date = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(PAUSE));
    obeyed(
        &subject,
        || json!({"kind": "rate_limited", "retry_after": date()}),
    )
    .await
}

async fn obeyed(subject: &SourceUnderTest, fault: impl Fn() -> Value) -> ClauseResult {
    let bench = ConformanceRun::new(subject)?;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        asked.say(
            format_args!("asked to wait {PAUSE} s"),
            wait(&bench, &asked, &course, fault()).await,
        )?;
    }
    Ok(())
}

async fn wait(
    bench: &ConformanceRun<'_>,
    asked: &TenantResource<'_>,
    course: &SliceBaseline,
    mut fault: Value,
) -> ClauseResult {
    let everything = bench.server_records(asked, None).await?;
    let slice = asked.slice(course.window);
    bench.control.clear_log().await?;
    fault["after"] = json!(course.requests / 2);
    bench.control.fault(fault).await?;
    let trial = bench.open(limits(course.page_size))?;
    let mut run = trial.start(asked, trial.source.pages(&slice));
    loop {
        match run.step().await? {
            StreamEvent::Page => {}
            StreamEvent::Waits => break,
            StreamEvent::Over => {
                hold!(
                    bench.control.pending().await? == 0,
                    "no request was asked to wait"
                );
                run.reading.ended_well()?;
                hold!(false, "the slice was read, and its stats show no retry");
            }
        }
    }
    let sent = bench.settled_log().await?.len();
    // A slice that begins now has to wait as well.
    let mut other = trial.start(asked, trial.source.pages(&slice));
    let mut passed = 0;
    for silence in SILENCE {
        advance_clock(Duration::from_secs(silence - passed)).await;
        passed = silence;
        let now = run.during(other.during(bench.settled_log())).await?.len();
        hold!(
            now == sent,
            "{} requests were sent after {passed} of {PAUSE} s",
            now - sent
        );
    }
    // A date has no fractions of a second.
    advance_clock(Duration::from_secs(PAUSE + 2 - passed)).await;
    // Were it to wait longer, no page would come in real time.
    let (one, two) = (run.finish().await?, other.finish().await?);
    one.is_exactly(&course.truth, &everything)?;
    two.is_exactly(&course.truth, &everything)
        .map_err(|breach| breach.at("a slice that began meanwhile"))
}

/// A pause longer than the limit is an error at once, not a wait.
pub async fn a_retry_after_beyond_the_limit_is_an_error(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources().await? {
        let name = asked.resource.name;
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let times = 1_000;
        let fault = json!({"kind": "rate_limited", "retry_after": "301", "after": course.requests / 2, "times": times});
        bench.control.fault(fault).await?;
        let mut limits = limits(course.page_size);
        limits.max_retry_after = Duration::from_secs(300);
        limits.concurrency = 1;
        let trial = bench.open(limits)?;
        let mut run = trial.start(&asked, trial.source.pages(&asked.slice(course.window)));
        loop {
            match run.step().await? {
                StreamEvent::Page => {}
                StreamEvent::Waits => hold!(false, "{name}: a pause beyond the limit was begun"),
                StreamEvent::Over => break,
            }
        }
        let met = times - bench.control.pending().await?;
        hold!(
            met == 1,
            "{name}: {met} requests met a 429 that asks for more than the limit"
        );
        let kind = run.reading.error.as_ref().map(tillhouse_model::Error::kind);
        hold!(
            kind == Some(ErrorKind::Busy),
            "{name}: a pause beyond the limit ends the slice with {kind:?}, not Busy"
        );
        bench.control.clear_faults().await?;
    }
    Ok(())
}
