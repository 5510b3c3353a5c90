//! A sandbox with sales of the days before yesterday, a project that reads it, and the questions about what was read of them.
//!
//! Invariant: the sandbox's clock is this machine's, so that what is still to come is so for both.

use crate::project::TestProject;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

/// The instant so many hours from now, before it where they are negative.
pub(crate) fn in_hours(hours: i64) -> String {
    Timestamp::now()
        .checked_add(SignedDuration::from_hours(hours))
        .unwrap()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Sales of five days that ended a day ago, and a project that reads these sources from a week ago on.
pub(crate) async fn recent_sales(sources: &[&str]) -> (Sandbox, TestProject) {
    let options = SandboxOptions {
        transactions: 60,
        smartnow_sales: Some(40),
        bemo_sessions: Some(40),
        pace_transactions: Some(60),
        from: in_hours(-6 * 24).parse().unwrap(),
        to: in_hours(-24).parse().unwrap(),
        clock: in_hours(0).parse().unwrap(),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::of(sources, &sandbox, &in_hours(-7 * 24)[..10]).await;
    (sandbox, project)
}

/// The `meta` of `stats` about a window.
pub(crate) async fn stats_meta(
    project: &TestProject,
    from: &str,
    to: &str,
    more: &[&str],
) -> Value {
    let words = [&["stats", "--from", from, "--to", to][..], more].concat();
    project.json(&words).await["meta"].take()
}
