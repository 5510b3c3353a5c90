//! Tokens: renewed when they are refused, when they cannot be renewed, and before they expire.
//!
//! Invariant: no page is lost to a token, and one that is refused costs one request.

use crate::testing::run::{ConformanceRun, StreamEvent, advance_clock, limits};
use crate::testing::source_under_test::SourceUnderTest;
use crate::testing::violation::ClauseResult;
use serde_json::{Value, json};
use std::time::Duration;
use tillhouse_model::ErrorKind;

/// A token that is revoked in the middle of a slice is renewed, and the slice goes on.
pub async fn a_token_that_dies_on_the_way_is_replaced(subject: SourceUnderTest) -> ClauseResult {
    revoked(&subject, false).await
}

/// When the refresh token is refused too, the source logs in anew.
pub async fn a_refused_refresh_means_a_new_login(subject: SourceUnderTest) -> ClauseResult {
    revoked(&subject, true).await
}

async fn revoked(subject: &SourceUnderTest, refresh_too: bool) -> ClauseResult {
    let bench = ConformanceRun::new(subject)?;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        let after = course.requests / 2;
        bench.control.clear_log().await?;
        bench
            .control
            .fault(json!({"kind": "unauthorized", "after": after, "refresh_too": refresh_too}))
            .await?;
        let reading = bench.read(&asked, course.window, course.page_size).await?;
        hold!(
            bench.control.pending().await? == 0,
            "{}: no request was refused",
            asked.resource.name
        );
        let log = bench.settled_log().await?;
        if subject.login.is_empty() {
            // There is nothing to be renewed: the refusal is the answer, unless the credentials, read anew, are good.
            if let Some(error) = &reading.error {
                hold!(
                    error.kind() == ErrorKind::Unauthorized,
                    "refused credentials are an error of another kind: {error}"
                );
                hold!(
                    log.len() <= after + 2,
                    "refused credentials are sent again and again"
                );
            }
            return Ok(());
        }
        asked.say(
            format_args!(
                "its token revoked at request {} of {}",
                after + 1,
                course.requests
            ),
            reading.is_exactly(&course.truth, &everything),
        )?;
        let refused = bench
            .lists(&log)
            .filter(|request| request.status == 401)
            .count();
        let logins = log.len() - bench.lists(&log).count();
        // Requests side by side are refused together; a refused refresh comes before the new login.
        hold!(
            (1..=4).contains(&refused),
            "{}: {refused} requests were sent with a dead token",
            asked.resource.name
        );
        hold!(
            (2..=3).contains(&logins),
            "{}: one dead token led to {logins} logins",
            asked.resource.name
        );
    }
    Ok(())
}

/// The ways in which servers say that a token is dead; all but the first without a 401.
fn dead_tokens() -> [Value; 9] {
    const WORDS: &str = "the access token has expired, says till nine";
    let said = |status: u16, headers: Value, body: Value| json!({"kind": "answer", "status": status, "headers": headers, "body": body.to_string()});
    let challenge =
        format!(r#"Bearer realm="api", error="invalid_token", error_description="{WORDS}""#);
    [
        said(401, json!({}), json!({"message": WORDS})),
        said(403, json!({"WWW-Authenticate": challenge}), json!({})),
        said(400, json!({"WWW-Authenticate": challenge}), json!({})),
        said(400, json!({}), json!({"message": WORDS})),
        said(403, json!({}), json!({"errors": [{"title": WORDS}]})),
        said(419, json!({}), json!({"message": WORDS})),
        said(498, json!({}), json!({"error": {"message": WORDS}})),
        said(422, json!({}), json!({"message": WORDS})),
        said(500, json!({}), json!({"message": WORDS})),
    ]
}

/// Words for a dead token, as servers say them.
fn words_for_dead_tokens() -> Vec<Value> {
    let words = [
        "TokenExpired",
        "the token is no longer active",
        "your access token has timed out",
        "The provided JWT was revoked",
        "Your session has expired, please log in again",
        "Das Zugriffstoken ist abgelaufen",
        "Das Token ist nicht mehr gültig",
        "Le jeton d'accès n'est plus valide",
        "El token ha caducado",
        "Il token è scaduto",
        "De sessie is verlopen",
    ];
    let said = |words: &str| {
        let body = json!({"message": format!("{words}, says till nine")}).to_string();
        json!({"kind": "answer", "status": 403, "headers": {}, "body": body})
    };
    words.map(said).into()
}

/// A token is dead when the server says so in words, whatever the status.
pub async fn a_dead_token_is_replaced_however_it_is_said(subject: SourceUnderTest) -> ClauseResult {
    if subject.login.is_empty() {
        return Ok(());
    }
    let bench = ConformanceRun::new(&subject)?;
    for (nth, asked) in bench.resources().await?.into_iter().enumerate() {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        // Words mean the same whatever is read.
        let words = if nth == 0 {
            words_for_dead_tokens()
        } else {
            Vec::new()
        };
        for mut dead in dead_tokens().into_iter().chain(words) {
            let how = format!("its token dead by {} {}", dead["status"], dead["body"]);
            dead["after"] = json!(course.requests / 2);
            bench.control.clear_log().await?;
            bench.control.fault(dead).await?;
            let reading = bench.read(&asked, course.window, course.page_size).await?;
            hold!(
                bench.control.pending().await? == 0,
                "{}: no request was refused",
                asked.resource.name
            );
            asked.say(&how, reading.is_exactly(&course.truth, &everything))?;
            let log = bench.settled_log().await?;
            let logins = log.len() - bench.lists(&log).count();
            hold!(
                (2..=3).contains(&logins),
                "{}, {how}: led to {logins} logins",
                asked.resource.name
            );
        }
    }
    Ok(())
}

/// A new token is tried once; when it is refused as well, that is an error with the server's own words in it.
pub async fn a_token_that_stays_refused_is_an_error_in_the_servers_words(
    subject: SourceUnderTest,
) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let asked = bench.resources().await?.swap_remove(0);
    let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
    for mut dead in dead_tokens() {
        let how = format!("tokens refused with {}", dead["status"]);
        dead["times"] = json!(1_000);
        bench.control.clear_log().await?;
        bench.control.fault(dead).await?;
        let mut limits = limits(course.page_size);
        limits.concurrency = 1;
        let trial = bench.open(limits)?;
        let reading = trial
            .read(&asked, trial.source.pages(&asked.slice(course.window)))
            .await?;
        let log = bench.settled_log().await?;
        bench.control.clear_faults().await?;
        let Some(error) = &reading.error else {
            hold!(false, "{how}: the stream ends as if all were well");
            continue;
        };
        hold!(
            error.kind() == ErrorKind::Unauthorized,
            "{how}: an error of another kind: {error}"
        );
        hold!(
            error.to_string().contains("says till nine"),
            "{how}: the server's words are lost: {error}"
        );
        let asked_for = bench.lists(&log).count();
        hold!(
            asked_for <= 2,
            "{how}: asked {asked_for} times, where one new token is worth a try"
        );
    }
    Ok(())
}

/// A token whose lifetime the provider tells is renewed before its end, not after a refusal.
pub async fn a_token_is_renewed_before_it_expires(subject: SourceUnderTest) -> ClauseResult {
    let Some(lifetime) = subject.token_lifetime else {
        return Ok(());
    };
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        bench.control.clear_log().await?;
        let trial = bench.open(limits(course.page_size))?;
        let mut run = trial.start(&asked, trial.source.pages(&asked.slice(course.window)));
        loop {
            match run.step().await? {
                StreamEvent::Page if run.reading.pages.len() == 1 => {
                    bench.settled_log().await?;
                    advance_clock(lifetime).await;
                }
                StreamEvent::Page => {}
                StreamEvent::Waits => advance_clock(Duration::from_secs(120)).await,
                StreamEvent::Over => break,
            }
        }
        asked.say(
            "its token over after the first page",
            run.reading.is_exactly(&course.truth, &everything),
        )?;
        let log = bench.settled_log().await?;
        let logins = log.len() - bench.lists(&log).count();
        let refused = log.iter().filter(|request| request.status == 401).count();
        let name = asked.resource.name;
        hold!(refused == 0, "{name}: {refused} requests were refused");
        // The page ahead may have been the last one.
        let needed = if course.requests > 2 { 2 } else { 1 };
        hold!(
            logins == needed,
            "{name}: {logins} logins, where the token expires once on the way"
        );
    }
    Ok(())
}

/// A login that fails for a moment is tried again.
pub async fn troubles_at_the_login_are_outwaited(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let asked = bench.resources().await?.swap_remove(0);
    let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
    let everything = bench.server_records(&asked, None).await?;
    let Some(path) = subject.login.first() else {
        return Ok(());
    };
    for trouble in [
        json!({"kind": "server_error", "path": path}),
        json!({"kind": "rate_limited", "retry_after": "5", "path": path}),
        json!({"kind": "reset", "path": path}),
        json!({"kind": "truncated", "path": path}),
    ] {
        bench.control.fault(trouble.clone()).await?;
        let reading = bench.read(&asked, course.window, course.page_size).await?;
        hold!(
            bench.control.pending().await? == 0,
            "the source does not log in at {path}"
        );
        asked.say(
            format_args!("{} at the login", trouble["kind"]),
            reading.is_exactly(&course.truth, &everything),
        )?;
    }
    Ok(())
}
