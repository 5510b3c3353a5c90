//! Failures on the way: once, for good, and beyond the limits.
//!
//! Invariant: each trouble hits in the middle of a slice whose undisturbed course is known, so that nothing but the trouble differs.

use crate::testing::run::{ConformanceRun, StreamEvent, advance_clock, limits};
use crate::testing::source_under_test::SourceUnderTest;
use crate::testing::violation::ClauseResult;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tillhouse_model::ErrorKind;

/// A 500 is asked for again.
pub async fn a_server_error_is_outwaited(subject: SourceUnderTest) -> ClauseResult {
    outwaited(&subject, json!({"kind": "server_error"})).await
}

/// Whatever a server or a gateway says that passes is asked for again; so is a quota of calls that is used up, which gateways say with 403.
pub async fn every_passing_failure_is_outwaited(subject: SourceUnderTest) -> ClauseResult {
    for status in [408, 425, 429, 502, 503, 504, 507, 520, 524, 530, 598, 599] {
        outwaited(
            &subject,
            json!({"kind": "answer", "status": status, "body": "<html>"}),
        )
        .await?;
    }
    // Some say it under status 200.
    for body in [
        r#"{"Success":false}"#,
        r#"{"Errors":["down"]}"#,
        r#"{"hasError":true}"#,
        r#"{"message":"internal"}"#,
        r#"{"warnings":["timeout, partial result"],"data":[]}"#,
        r#"{"data":[],"partial":true,"meta":{"total":0}}"#,
        r#"{"timed_out":true,"data":[]}"#,
    ] {
        outwaited(
            &subject,
            json!({"kind": "answer", "status": 200, "body": body}),
        )
        .await?;
    }
    let azure = r#"{"statusCode":403,"message":"Out of call volume quota. Quota will be replenished in 00:00:07."}"#;
    let quota =
        json!({"kind": "answer", "status": 403, "body": azure, "headers": {"Retry-After": "7"}});
    outwaited(&subject, quota).await
}

/// A connection that is reset is made again.
pub async fn a_reset_connection_is_outwaited(subject: SourceUnderTest) -> ClauseResult {
    outwaited(&subject, json!({"kind": "reset"})).await
}

/// A body that breaks off is asked for again, also where only its JSON tells that it did.
pub async fn a_truncated_body_is_outwaited(subject: SourceUnderTest) -> ClauseResult {
    outwaited(&subject, json!({"kind": "truncated"})).await?;
    let cut = r#"{"data": [{"id": "4"#;
    outwaited(&subject, json!({"kind": "answer", "body": cut})).await
}

/// An answer without a body is asked for again.
pub async fn an_empty_body_is_outwaited(subject: SourceUnderTest) -> ClauseResult {
    outwaited(&subject, json!({"kind": "empty"})).await
}

/// A web page in place of JSON is asked for again.
pub async fn a_web_page_is_outwaited(subject: SourceUnderTest) -> ClauseResult {
    outwaited(&subject, json!({"kind": "html"})).await
}

/// JSON that does not say that it is, is asked for again.
pub async fn a_wrong_content_type_is_outwaited(subject: SourceUnderTest) -> ClauseResult {
    outwaited(&subject, json!({"kind": "wrong_content_type"})).await
}

/// An answer that does not come within the time limit is given up, and asked for again.
pub async fn an_answer_that_never_comes_is_given_up(subject: SourceUnderTest) -> ClauseResult {
    const LIMIT: Duration = Duration::from_secs(100);
    const NOTICED: Duration = Duration::from_secs(60);
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources().await? {
        let name = asked.resource.name;
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        let mut limits = limits(course.page_size);
        limits.request_timeout = LIMIT;
        let trial = bench.open(limits)?;
        hold!(trial.source.check().await.is_ok(), "check fails");
        // Ten years.
        bench
            .control
            .fault(json!({"kind": "slow", "millis": 315_360_000_000_u64, "after": course.requests / 2}))
            .await?;
        let mut run = trial.start(&asked, trial.source.pages(&asked.slice(course.window)));
        let start = Instant::now();
        while run.during(bench.control.pending()).await? > 0 {
            hold!(
                start.elapsed() < LIMIT,
                "{name}: no request met the trouble"
            );
        }
        advance_clock(LIMIT + Duration::from_secs(1)).await;
        // The request's own task has to notice; the wall clock bounds how long that may take.
        let noticed = Instant::now();
        while trial.stats().retries == 0 && noticed.elapsed() < NOTICED {
            run.during(bench.settled_log()).await?;
        }
        hold!(
            trial.stats().retries == 1,
            "{name}: still waits for an answer when its time is over"
        );
        let reading = run.finish().await?;
        asked.say(
            "one answer that never comes",
            reading.is_exactly(&course.truth, &everything),
        )?;
    }
    Ok(())
}

async fn outwaited(subject: &SourceUnderTest, mut trouble: Value) -> ClauseResult {
    let bench = ConformanceRun::new(subject)?;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        let trial = bench.open(limits(course.page_size))?;
        // An answer without JSON is trusted only where JSON was seen before.
        let checked = trial.source.check().await;
        hold!(checked.is_ok(), "check fails");
        bench.control.clear_log().await?;
        trouble["after"] = json!(course.requests / 2);
        bench.control.fault(trouble.clone()).await?;
        let reading = trial
            .read(&asked, trial.source.pages(&asked.slice(course.window)))
            .await?;
        let name = asked.resource.name;
        hold!(
            bench.control.pending().await? == 0,
            "{name}: no request met the trouble {}",
            trouble["kind"]
        );
        asked.say(
            format_args!("one {} on the way", trouble["kind"]),
            reading.is_exactly(&course.truth, &everything),
        )?;
        let log = bench.settled_log().await?;
        let asked_for = bench.lists(&log).count();
        hold!(
            asked_for == course.requests + 1,
            "{name}: {asked_for} requests for {}, one of them twice",
            course.requests
        );
        hold!(
            trial.stats().retries == 1,
            "{name}: one retry, and its stats show {}",
            trial.stats().retries
        );
    }
    Ok(())
}

/// A failure that stays ends the slice with an error that says so, after as many attempts as are
/// allowed; the pages before are good.
pub async fn troubles_that_stay_are_errors(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let troubles = [
        ("server_error", ErrorKind::Busy),
        ("rate_limited", ErrorKind::Busy),
        ("reset", ErrorKind::Unreachable),
        ("truncated", ErrorKind::Unreachable),
        ("empty", ErrorKind::Protocol),
        ("html", ErrorKind::Protocol),
        ("wrong_content_type", ErrorKind::Protocol),
    ];
    let (times, attempts) = (1_000, 3);
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        for (trouble, kind) in troubles {
            let name = format!("{}, {trouble} for good", asked.resource.name);
            let mut limits = limits(course.page_size);
            limits.attempts = attempts;
            limits.concurrency = 1;
            let trial = bench.open(limits)?;
            hold!(trial.source.check().await.is_ok(), "check fails");
            let fault = json!({"kind": trouble, "after": course.requests / 2, "times": times, "retry_after": "1"});
            bench.control.fault(fault).await?;
            let reading = trial
                .read(&asked, trial.source.pages(&asked.slice(course.window)))
                .await?;
            reading
                .is_true(&everything)
                .map_err(|breach| breach.at(&name))?;
            let Some(error) = &reading.error else {
                hold!(false, "{name}: the stream ends as if all were well");
                continue;
            };
            hold!(
                error.kind() == kind,
                "{name}: an error of kind {:?}, not {kind:?}: {error}",
                error.kind()
            );
            let met = times - bench.control.pending().await?;
            hold!(
                met == attempts as u64,
                "{name}: tried {met} times, where {attempts} are allowed"
            );
            let good = reading.pages.len();
            hold!(
                good < course.pages,
                "{name}: as many pages came as without it"
            );
            if course.requests == course.pages {
                hold!(
                    good == course.requests / 2,
                    "{name}: {good} pages came before it, not {}",
                    course.requests / 2
                );
            }
            bench.control.clear_faults().await?;
        }
    }
    Ok(())
}

/// A body over the limit is an error, and is not asked for again: it would be as large.
pub async fn a_body_over_the_limit_is_an_error(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let (limit, times) = (1 << 20, 1_000);
    for asked in bench.resources().await? {
        let name = asked.resource.name;
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let mut limits = limits(course.page_size);
        limits.max_body_bytes = limit;
        limits.concurrency = 1;
        let trial = bench.open(limits)?;
        let after = course.requests / 2;
        bench
            .control
            .fault(json!({"kind": "oversized", "bytes": 2 * limit, "after": after, "times": times}))
            .await?;
        let reading = trial
            .read(&asked, trial.source.pages(&asked.slice(course.window)))
            .await?;
        let kind = reading.error.as_ref().map(tillhouse_model::Error::kind);
        hold!(
            kind == Some(ErrorKind::Protocol),
            "{name}: a body over the limit ends the slice with {kind:?}, not Protocol"
        );
        let met = times - bench.control.pending().await?;
        hold!(
            met == 1,
            "{name}: a body over the limit was asked for {met} times"
        );
        bench.control.clear_faults().await?;
    }
    Ok(())
}

/// A page's `requested_at` lies before its request and after the attempts that failed: its records are at least as fresh.
pub async fn a_page_is_as_fresh_as_its_last_attempt(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources().await? {
        let name = asked.resource.name;
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let mut limits = limits(course.page_size);
        limits.concurrency = 1;
        let trial = bench.open(limits)?;
        bench
            .control
            .fault(json!({"kind": "server_error", "after": course.requests - 1}))
            .await?;
        let start = Timestamp::now();
        let mut failed = None;
        let mut run = trial.start(&asked, trial.source.pages(&asked.slice(course.window)));
        loop {
            match run.step().await? {
                StreamEvent::Page => {
                    let taken = run
                        .reading
                        .pages
                        .last()
                        .map_or(start, |leaf| leaf.requested_at);
                    hold!(
                        (start..=Timestamp::now()).contains(&taken),
                        "{name}: a page says it was asked for at {taken}"
                    );
                }
                StreamEvent::Waits => {
                    failed = Some(Timestamp::now());
                    advance_clock(Duration::from_secs(120)).await;
                }
                StreamEvent::Over => break,
            }
        }
        run.reading.ended_well()?;
        let (Some(failed), Some(last)) = (failed, run.reading.pages.last()) else {
            hold!(
                false,
                "{name}: its last request failed, and no retry is seen"
            );
            continue;
        };
        hold!(
            last.requested_at >= failed,
            "{name}: a page that was asked for twice has the time of the first attempt"
        );
    }
    Ok(())
}
