//! Every row, or an error: what a sign of the end is worth, and what is done where it is worth nothing.
//!
//! Invariant: where the server lies, a slice ends with an error or with every record; never with fewer and no word, and never not at all.

use crate::EmptyMessages;
use crate::testing::reading::SliceReading;
use crate::testing::run::{
    BACKOFF, CAP, ConformanceRun, SliceBaseline, StreamEvent, TenantResource, advance_clock, limits,
};
use crate::testing::source_under_test::{PageLinks, SourceUnderTest};
use crate::testing::violation::{ClauseResult, ClauseViolation};
use serde_json::{Value, json};
use tillhouse_model::{ErrorKind, Window};

/// Times a fault hits: every request there can be.
pub(super) const ALWAYS: u64 = 100_000;
/// Most readings of a listing.
pub(super) const READINGS: usize = 1 + crate::paging::REREADS;

/// A slice read while a fault was in force, and the number of requests that took.
pub(super) async fn faulty(
    bench: &ConformanceRun<'_>,
    asked: &TenantResource<'_>,
    window: Window,
    page_size: u32,
    fault: Value,
) -> Result<(SliceReading, usize, u64), ClauseViolation> {
    let times = fault["times"].as_u64().unwrap_or(1);
    bench.control.clear_log().await?;
    bench.control.fault(fault).await?;
    let trial = bench.open(limits(page_size))?;
    let reading = trial
        .read(asked, trial.source.pages(&asked.slice(window)))
        .await?;
    let met = times - bench.control.pending().await?;
    bench.control.clear_faults().await?;
    let log = bench.settled_log().await?;
    let requests = bench.lists(&log).count();
    Ok((reading, requests, met))
}

/// A total that promises more than comes is read again, a few times and after pauses, and is then an error with both figures.
pub async fn a_total_that_stays_wrong_is_an_error(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.resource.declares_total)
    {
        let name = asked.resource.name;
        let SliceBaseline {
            window,
            page_size,
            requests,
            truth,
            ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        let fault = json!({"kind": "lie_total", "times": ALWAYS});
        let (reading, sent, met) = faulty(&bench, &asked, window, page_size, fault).await?;
        hold!(met > 0, "{name}: the server did not lie about its total");
        let Some(error) = &reading.error else {
            hold!(
                false,
                "{name}: a total that is never reached ends the slice as if all were well"
            );
            continue;
        };
        hold!(
            error.kind() == ErrorKind::Protocol,
            "{name}: a wrong total is an error of kind {:?}",
            error.kind()
        );
        let (declared, came) = ((truth.len() + 1).to_string(), truth.len().to_string());
        let text = error.to_string();
        let figures = text.contains(&declared) && text.contains(&came);
        hold!(
            figures,
            "{name}: {declared} declared, {came} came, and the error says not so: {error}"
        );
        asked.say("a total one too high", reading.is_true(&everything))?;
        asked.say(
            "a total one too high",
            reading.misses_none(truth.keys().map(String::as_str), truth.len()),
        )?;
        let most = READINGS * (requests + 2);
        hold!(sent <= most, "{name}: {sent} requests, where {requests} do");
    }
    Ok(())
}

/// A total that promises more than comes, until it was read again after a pause, costs nothing but the time.
pub async fn a_total_that_is_wrong_for_a_while_is_outwaited(
    subject: SourceUnderTest,
) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.resource.declares_total)
    {
        let name = asked.resource.name;
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        bench
            .control
            .fault(json!({"kind": "lie_total", "times": ALWAYS}))
            .await?;
        let trial = bench.open(limits(course.page_size))?;
        let mut run = trial.start(&asked, trial.source.pages(&asked.slice(course.window)));
        let mut waits = 0;
        loop {
            match run.step().await? {
                StreamEvent::Page => {}
                StreamEvent::Waits => {
                    waits += 1;
                    bench.control.clear_faults().await?;
                    advance_clock(BACKOFF).await;
                }
                StreamEvent::Over => break,
            }
        }
        bench.control.clear_faults().await?;
        hold!(
            waits == 1,
            "{name}: a total that was wrong once was waited for {waits} times"
        );
        asked.say(
            "a total that is wrong for a while",
            run.reading.is_complete(&course.truth, &everything),
        )?;
        let last = run.reading.last_leaves();
        let came: usize = last.iter().map(|leaf| leaf.records.len()).sum();
        hold!(
            came == course.truth.len(),
            "{name}: the reading that is good has {came} records"
        );
    }
    Ok(())
}

/// A total that counts the page only, or is wrong on the first page alone, hides no record.
pub async fn a_total_that_is_too_low_is_not_believed(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.resource.declares_total)
    {
        let SliceBaseline {
            window,
            page_size,
            requests,
            truth,
            ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        for fault in [
            json!({"kind": "page_total", "times": ALWAYS}),
            json!({"kind": "page_total"}),
            json!({"kind": "lie_total"}),
            json!({"kind": "lie_total", "after": 1}),
        ] {
            let name = format!("{}, {fault}", asked.resource.name);
            let (reading, sent, met) = faulty(&bench, &asked, window, page_size, fault).await?;
            hold!(met > 0, "{name}: the server told its total as ever");
            reading
                .is_complete(&truth, &everything)
                .map_err(|breach| breach.at(&name))?;
            hold!(
                sent <= READINGS * (requests + 4),
                "{name}: {sent} requests, where {requests} do"
            );
        }
    }
    Ok(())
}

/// A server that gives the same page whatever it is asked is found out, and soon.
pub async fn a_page_that_comes_again_is_found_out(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.records.paged)
    {
        let name = asked.resource.name;
        let SliceBaseline {
            window,
            page_size,
            pages,
            ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        if page_size < 2 || pages < 3 {
            // One record again may be one that is listed twice.
            continue;
        }
        let everything = bench.server_records(&asked, None).await?;
        let fault = json!({"kind": "repeat", "times": ALWAYS});
        let (reading, sent, _) = faulty(&bench, &asked, window, page_size, fault).await?;
        let kind = reading.error.as_ref().map(tillhouse_model::Error::kind);
        hold!(
            kind == Some(ErrorKind::Protocol),
            "{name}: the same page again and again ends the slice with {kind:?}, not Protocol"
        );
        hold!(
            sent <= 6 * READINGS,
            "{name}: the same page was asked for {sent} times"
        );
        if asked.records.links == PageLinks::None {
            asked.say(
                "the same page again and again",
                reading.is_true(&everything),
            )?;
        }
    }
    Ok(())
}

/// One page that comes without its records once, in a list without links, does not end the slice, and hides none of them.
pub async fn an_empty_page_in_the_middle_is_found_out(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let linked = |asked: &TenantResource<'_>| asked.records.links == PageLinks::Followed;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.records.paged && !linked(asked))
    {
        let SliceBaseline {
            window,
            page_size,
            requests,
            truth,
            ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        for after in [0, 1, 2] {
            let fault = json!({"kind": "hole", "after": after});
            let (reading, sent, _) = faulty(&bench, &asked, window, page_size, fault).await?;
            let how = format!("request {} answered without its records", after + 1);
            asked.say(&how, reading.is_complete(&truth, &everything))?;
            let name = asked.resource.name;
            hold!(
                sent <= 2 * requests + 4,
                "{name}, {how}: {sent} requests, where {requests} do"
            );
        }
    }
    Ok(())
}

/// A page that is missing once (404) behind others is no end, and hides no record.
pub async fn a_page_that_is_missing_once_is_asked_for_again(
    subject: SourceUnderTest,
) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.records.paged)
    {
        let SliceBaseline {
            window,
            page_size,
            requests,
            truth,
            ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        for (after, status) in [(1, 404), (2, 410), (3, 416)] {
            let fault = json!({"kind": "answer", "status": status, "body": "{}", "after": after});
            let (reading, sent, _) = faulty(&bench, &asked, window, page_size, fault).await?;
            let how = format!("request {} answered with {status}", after + 1);
            asked.say(&how, reading.is_complete(&truth, &everything))?;
            let name = asked.resource.name;
            hold!(
                sent <= 2 * requests + 4,
                "{name}, {how}: {sent} requests, where {requests} do"
            );
        }
    }
    Ok(())
}

/// A page in the middle that is missing (404) for good, with records behind it, does not end the slice: they are had in another way, or it is an
/// error. Where pages are had by links alone, nobody can look behind one; and of what is had parent by parent, a parent may be gone.
pub async fn a_page_that_stays_missing_is_no_end(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let linked = |asked: &TenantResource<'_>| asked.records.links == PageLinks::Followed;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.records.paged && !linked(asked) && !asked.records.by_parents)
    {
        let SliceBaseline {
            window,
            page_size,
            requests,
            truth,
            ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        for (after, status) in [(1, 404), (2, 410), (1, 416)] {
            let fault = json!({"kind": "lost", "status": status, "after": after, "times": ALWAYS});
            let (reading, sent, met) = faulty(&bench, &asked, window, page_size, fault).await?;
            let how = format!("page {} answered with {status} for good", after + 1);
            let name = asked.resource.name;
            hold!(met > 0, "{name}, {how}: it was not asked for");
            let held = match &reading.error {
                None => reading.is_complete(&truth, &everything),
                Some(error) => {
                    hold!(
                        error.kind() == ErrorKind::Protocol,
                        "{name}, {how}: an error of kind {:?}",
                        error.kind()
                    );
                    reading.is_true(&everything)
                }
            };
            asked.say(&how, held)?;
            hold!(
                sent <= READINGS * (requests + 4),
                "{name}, {how}: {sent} requests, where {requests} do"
            );
        }
    }
    Ok(())
}

/// Records beside which the envelope names an error may not be all: the page is asked for again, and where it stays so, the slice is an error in the
/// server's words.
pub async fn an_error_beside_records_is_no_whole_page(subject: SourceUnderTest) -> ClauseResult {
    const WORDS: &str = "backend B did not answer";
    let bench = ConformanceRun::new(&subject)?;
    // A page that is a list has no envelope to say so in.
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| !asked.resource.records_at.is_empty())
    {
        let SliceBaseline {
            window,
            page_size,
            truth,
            ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        let name = asked.resource.name;
        for beside in [
            json!({"errors": [{"message": WORDS, "title": WORDS}]}),
            json!({"partialResults": true, "message": WORDS}),
        ] {
            let fields = beside.to_string();
            let with = format!("{},", fields.trim_end_matches('}'));
            let fault =
                |times| json!({"kind": "replaced", "text": "{", "with": with, "times": times});
            let (reading, ..) = faulty(&bench, &asked, window, page_size, fault(1)).await?;
            let how = format!("{beside} beside the records");
            asked.say(&how, reading.is_complete(&truth, &everything))?;
            let (reading, ..) = faulty(&bench, &asked, window, page_size, fault(ALWAYS)).await?;
            let Some(error) = &reading.error else {
                hold!(
                    false,
                    "{name}, {how} for good: the slice ends as if all were well"
                );
                continue;
            };
            hold!(
                error.kind() == ErrorKind::Protocol,
                "{name}, {how} for good: an error of kind {:?}",
                error.kind()
            );
            hold!(
                error.to_string().contains(WORDS),
                "{name}, {how} for good: the server's words are lost: {error}"
            );
            // A sign without a meaning can be told.
            let mut limits = limits(page_size);
            limits.empty_messages = EmptyMessages::new([WORDS]).map_err(ClauseViolation::new)?;
            let trial = bench.open(limits)?;
            bench.control.fault(fault(ALWAYS)).await?;
            let reading = trial
                .read(&asked, trial.source.pages(&asked.slice(window)))
                .await?;
            bench.control.clear_faults().await?;
            asked.say(
                format!("{how}, which the connection knows"),
                reading.is_complete(&truth, &everything),
            )?;
        }
    }
    Ok(())
}

/// A success that says that it failed, and has no records, is tried again; where it stays so, it is an error in the server's words. It is never
/// the end.
pub async fn a_success_that_says_that_it_failed_is_no_end(
    subject: SourceUnderTest,
) -> ClauseResult {
    const WORDS: &str = "the database is down";
    let bench = ConformanceRun::new(&subject)?;
    let body = json!({
        "status": "error",
        "error": WORDS,
        "errors": [{"code": "Down", "title": WORDS, "message": WORDS}],
        "data": [],
        "meta": {"total": 0, "count": 0},
    });
    for asked in bench.resources().await? {
        let SliceBaseline {
            window,
            page_size,
            truth,
            ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        for after in [0, 1] {
            let answer = |times: u64| {
                let headers = json!({"Content-Type": "application/json"});
                json!({"kind": "answer", "body": body.to_string(), "headers": headers, "after": after, "times": times})
            };
            let how = format!("request {} answered with an error in a success", after + 1);
            let (reading, ..) = faulty(&bench, &asked, window, page_size, answer(1)).await?;
            let held = if reading.error.is_some() {
                reading.is_true(&everything)
            } else {
                reading.is_complete(&truth, &everything)
            };
            asked.say(&how, held)?;
            if after == 0 {
                continue;
            }
            let (reading, _, met) =
                faulty(&bench, &asked, window, page_size, answer(ALWAYS)).await?;
            let name = asked.resource.name;
            let Some(error) = &reading.error else {
                hold!(
                    met == 0,
                    "{name}, {how} for good: the slice ends as if all were well"
                );
                continue;
            };
            hold!(
                error.to_string().contains(WORDS),
                "{name}, {how} for good: the server's words are lost: {error}"
            );
        }
    }
    Ok(())
}

/// A message without records of which nothing is known is an error in the server's words that says how to let it through; once the connection
/// knows it, it means that there is nothing, whatever it comes with.
pub async fn a_message_that_means_nothing_can_be_told(subject: SourceUnderTest) -> ClauseResult {
    const WORDS: &str = "Nix da for today";
    let bench = ConformanceRun::new(&subject)?;
    const NONE: &str = "No transactions available";
    let told = EmptyMessages::new(["nix da for *", NONE]).map_err(ClauseViolation::new)?;
    for asked in bench.resources().await? {
        let name = asked.resource.name;
        let SliceBaseline {
            window, page_size, ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        for (status, words, body) in [
            (WORDS, json!({"message": WORDS})),
            (WORDS, json!({"message": WORDS, "data": []})),
            (
                WORDS,
                json!({"status": "Error", "errors": [{"code": "E17", "title": WORDS, "message": WORDS}], "data": null}),
            ),
            (
                WORDS,
                json!({"status": "Error", "message": WORDS, "data": null}),
            ),
            // An error's key, and an answer without a list, mean something even by words that mean nothing.
            (NONE, json!({"message": NONE})),
            (NONE, json!({"error": NONE, "data": []})),
        ]
        .into_iter()
        .flat_map(|said| [(200, said.clone()), (404, said)])
        .map(|(status, (words, body))| (status, words, body))
        {
            let headers = json!({"Content-Type": "application/json"});
            for knows in [false, true] {
                let fault = json!({"kind": "answer", "status": status, "body": body.to_string(), "headers": headers.clone(), "times": ALWAYS});
                let mut limits = limits(page_size);
                limits.empty_messages = if knows {
                    told.clone()
                } else {
                    EmptyMessages::default()
                };
                let trial = bench.open(limits)?;
                hold!(trial.source.check().await.is_ok(), "check fails");
                bench.control.fault(fault).await?;
                let reading = trial
                    .read(&asked, trial.source.pages(&asked.slice(window)))
                    .await?;
                bench.control.clear_faults().await?;
                match &reading.error {
                    None => hold!(knows, "{name}, {status} {body}: the slice ends as if all were well"),
                    Some(error) => {
                        hold!(
                            !knows,
                            "{name}, {status} {body}: the message that the connection knows is an error: {error}"
                        );
                        hold!(
                            error.to_string().contains(words),
                            "{name}, {status} {body}: the server's words are lost: {error}"
                        );
                        let is_shown = error.hint_text().is_some_and(|hint| {
                            hint.contains("empty_messages: [") && hint.contains(words)
                        });
                        hold!(
                            is_shown,
                            "{name}, {status} {body}: no line for empty_messages is shown: {:?}",
                            error.hint_text()
                        );
                    }
                }
                let came: usize = reading.pages.iter().map(|leaf| leaf.records.len()).sum();
                hold!(came == 0, "{name}, {status} {body}: {came} records of none");
            }
        }
    }
    Ok(())
}

/// A total that counts the page only, on a server that gives shorter pages than were asked for, hides no record.
pub async fn a_page_cut_short_with_a_total_of_its_own_is_no_end(
    subject: SourceUnderTest,
) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let all = bench.resources().await?;
    bench.control.page_cap(CAP).await?;
    for asked in all
        .into_iter()
        .filter(|asked| asked.resource.declares_total && asked.records.cut_pages)
    {
        let window = bench.window(&asked, CAP as usize * 5 / 2).await?;
        let truth = bench.server_records(&asked, Some(window)).await?;
        let everything = bench.server_records(&asked, None).await?;
        let fault = json!({"kind": "page_total", "times": ALWAYS});
        let (reading, _, met) = faulty(&bench, &asked, window, 10 * CAP, fault).await?;
        hold!(
            met > 0,
            "{}: the server told its total as ever",
            asked.resource.name
        );
        asked.say(
            "pages cut short, each with its own total",
            reading.is_complete(&truth, &everything),
        )?;
    }
    Ok(())
}

/// A page that comes a second time in place of the next one, once, has the listing read anew, and hides no record.
pub async fn a_page_that_comes_again_once_is_read_over(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.records.paged)
    {
        let SliceBaseline {
            window,
            page_size,
            pages,
            truth,
            ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        if page_size < 2 || pages < 3 {
            continue;
        }
        let everything = bench.server_records(&asked, None).await?;
        let fault = json!({"kind": "repeat", "times": 2});
        let (reading, ..) = faulty(&bench, &asked, window, page_size, fault).await?;
        asked.say(
            "the second page the same as the first, once",
            reading.is_complete(&truth, &everything),
        )?;
    }
    Ok(())
}

/// However a server says that there is nothing behind the last page, it is the end.
pub async fn nothing_is_understood_however_it_is_said(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.records.paged)
    {
        let window = asked
            .say("undisturbed", bench.baseline(&asked).await)?
            .window;
        let truth = bench.server_records(&asked, Some(window)).await?;
        let everything = bench.server_records(&asked, None).await?;
        // A page that is full may not be the last: what is behind it is asked for.
        let all = u32::try_from(truth.len()).unwrap_or(u32::MAX);
        let full = asked
            .resource
            .largest_page
            .map_or(all, |largest| largest.min(all));
        for fault in [
            json!({"kind": "null_page", "times": ALWAYS}),
            json!({"kind": "null_page", "with": "{}", "times": ALWAYS}),
            json!({"kind": "no_content", "times": ALWAYS}),
            json!({"kind": "missing", "times": ALWAYS}),
            json!({"kind": "missing", "status": 410, "times": ALWAYS}),
            json!({"kind": "missing", "status": 416, "times": ALWAYS}),
        ] {
            let name = format!("{}, {fault}", asked.resource.name);
            let (reading, ..) = faulty(&bench, &asked, window, full, fault).await?;
            reading
                .is_complete(&truth, &everything)
                .map_err(|breach| breach.at(&name))?;
        }
        if let Some(empty) =
            crate::testing::run::long_after(subject.window).filter(|_| !asked.is_whole())
        {
            for fault in [
                json!({"kind": "null_page", "times": ALWAYS}),
                json!({"kind": "null_page", "with": "{}", "times": ALWAYS}),
                json!({"kind": "no_content", "times": ALWAYS}),
            ] {
                let kind = fault.to_string();
                let (reading, ..) = faulty(&bench, &asked, empty, full, fault).await?;
                let held = reading
                    .ended_well()
                    .and_then(|()| reading.is_true(&everything));
                asked.say(format_args!("a window without records, {kind}"), held)?;
            }
        }
    }
    Ok(())
}
