//! Before anything is read: checking, refused credentials, questions that make no sense.
//!
//! Invariant: what cannot work is an error before the first page, and costs the provider nearly nothing.

use crate::testing::run::{ConformanceRun, advance_clock, limits};
use crate::testing::source_under_test::SourceUnderTest;
use crate::testing::violation::{ClauseResult, ClauseViolation};
use futures::StreamExt;
use std::time::Duration;
use tillhouse_model::{ErrorKind, Slice};

/// `check` says that all is well where all is well, without reading the place empty.
pub async fn checking_works_and_asks_little(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let trial = bench.open(limits(100))?;
    subject.keeps_secrets(&format!("{:?}", trial.source), "the source's Debug")?;
    bench.control.clear_log().await?;
    trial
        .source
        .check()
        .await
        .map_err(|error| ClauseViolation::new(format!("check fails: {error}")))?;
    let log = bench.settled_log().await?;
    let (asked, allowed) = (bench.lists(&log).count(), subject.records.len() + 2);
    hold!(
        asked <= allowed,
        "check asks {asked} times, logins aside; {allowed} should do"
    );
    Ok(())
}

/// Credentials that the provider refuses are an error that says what to do. They are not sent again and again, which locks accounts.
pub async fn a_refused_login_is_told_and_not_tried_again(subject: SourceUnderTest) -> ClauseResult {
    let Some(open) = &subject.open_refused else {
        hold!(
            subject.secrets.is_empty(),
            "the subject has secrets, but no `refused` to try wrong ones"
        );
        return Ok(());
    };
    let bench = ConformanceRun::new(&subject)?;
    let source =
        open(limits(100)).map_err(|error| ClauseViolation::new(format!("cannot open: {error}")))?;
    for attempt in 1..=2 {
        let Err(error) = source.check().await else {
            return Err(ClauseViolation::new(
                "check says that all is well, with credentials that the server refuses",
            ));
        };
        subject.keeps_secrets(
            &format!("{error} {error:?} {:?}", error.hint_text()),
            "the error of a refused login",
        )?;
        hold!(
            error.kind() == ErrorKind::Unauthorized,
            "refused credentials are an error of kind {:?}",
            error.kind()
        );
        hold!(
            error.hint_text().is_some(),
            "the error of refused credentials says not what to do: {error}"
        );
        hold!(
            !error.is_retryable(),
            "refused credentials are said to be worth another try: {error}"
        );
        let sent = bench.settled_log().await?.len();
        // Without a login every request carries the credentials; one that reads them anew may try twice.
        let allowed = if subject.login.is_empty() {
            2 * attempt
        } else {
            1
        };
        hold!(
            sent <= allowed,
            "refused credentials were sent {sent} times by check number {attempt}"
        );
    }
    if !subject.login.is_empty() {
        advance_clock(Duration::from_secs(3_600)).await;
        hold!(
            source.check().await.is_err(),
            "credentials that were refused are good an hour later"
        );
        let sent = bench.settled_log().await?.len();
        hold!(
            sent == 2,
            "an hour after a refusal the credentials were sent {} times",
            sent.saturating_sub(1)
        );
    }
    Ok(())
}

/// A resource that the source does not have is an error of the configuration, and nothing is asked.
pub async fn what_is_not_offered_is_an_error(subject: SourceUnderTest) -> ClauseResult {
    const NONE: &str = "no_such_resource";
    let bench = ConformanceRun::new(&subject)?;
    let trial = bench.open(limits(100))?;
    bench.control.clear_log().await?;
    let tenants = trial.source.tenants(NONE).await;
    hold!(
        tenants.is_err(),
        "a resource that does not exist has tenants"
    );
    let slice = Slice {
        resource: NONE.to_owned(),
        tenant: None,
        window: subject.window,
    };
    let streams = [
        ("pages", trial.source.pages(&slice)),
        (
            "pages_by_id",
            trial.source.pages_by_id(NONE, vec!["1".to_owned()]),
        ),
    ];
    for (what, stream) in streams {
        let came: Vec<_> = stream.collect().await;
        let [Err(error)] = &came[..] else {
            return Err(ClauseViolation::new(format!(
                "{what} of a resource that does not exist is not one error"
            )));
        };
        hold!(
            error.kind() == ErrorKind::Config,
            "{what} of a resource that does not exist: {:?}",
            error.kind()
        );
    }
    hold!(
        bench.settled_log().await?.is_empty(),
        "a resource that does not exist was asked for"
    );
    Ok(())
}
