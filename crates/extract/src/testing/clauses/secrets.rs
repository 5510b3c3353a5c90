//! Credentials: never in an error, a log line or a Debug text.
//!
//! Invariant: everything is listened to, at the finest level, from all crates; the secrets looked for are the subject's.

use crate::testing::log_capture::LogCapture;
use crate::testing::run::{ConformanceRun, limits};
use crate::testing::source_under_test::SourceUnderTest;
use crate::testing::violation::ClauseResult;
use serde_json::json;

/// Whatever goes wrong, no error and no log holds a credential. Errors are looked at in every other clause as well.
pub async fn no_error_or_log_tells_a_secret(subject: SourceUnderTest) -> ClauseResult {
    let (ear, guard) = LogCapture::start();
    let bench = ConformanceRun::new(&subject)?;
    let asked = bench.resources().await?.swap_remove(0);
    let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
    let login = subject.login.first();
    for trouble in [
        "server_error",
        "reset",
        "truncated",
        "empty",
        "html",
        "wrong_content_type",
        "unauthorized",
        "echo",
    ] {
        for path in [login, None] {
            let mut limits = limits(course.page_size);
            limits.attempts = 2;
            let trial = bench.open(limits)?;
            let mut fault = json!({"kind": trouble, "times": 4, "refresh_too": true});
            if let Some(path) = path {
                fault["path"] = json!(path);
            }
            bench.control.fault(fault).await?;
            let reading = trial
                .read(&asked, trial.source.pages(&asked.slice(course.window)))
                .await?;
            bench.control.clear_faults().await?;
            if let Some(error) = &reading.error {
                trial.check_no_secrets(error)?;
            }
            subject.keeps_secrets(&format!("{:?}", trial.source), "the source's Debug")?;
        }
    }
    if let Some(Ok(source)) = subject.open_refused.as_ref().map(|open| open(limits(10)))
        && let Err(error) = source.check().await
    {
        subject.keeps_secrets(
            &format!("{error} {error:?} {:?}", error.hint_text()),
            "an error",
        )?;
    }
    drop(guard);
    subject.keeps_secrets(&ear.heard(), "a log")
}
