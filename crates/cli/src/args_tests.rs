//! Command lines as they are typed.
//!
//! Invariant: a command line is parsed alone; no command is run.

use super::*;

fn parsed(line: &[&str]) -> CliCommand {
    let words = std::iter::once("tillhouse").chain(line.iter().copied());
    Cli::try_parse_from(words).unwrap().command
}

#[test]
fn values_may_begin_with_a_hyphen() {
    let window = ["--from", "2026-01-01", "--to", "2026-02-01"];
    let stats = ["stats", "--timezone", "-05:00", "--tenant", "-7"];
    let CliCommand::Stats(stats) = parsed(&[&stats[..], &window[..]].concat()) else {
        panic!("no statistics");
    };
    assert_eq!(stats.timezone, "-05:00");
    assert_eq!(stats.tenant.as_deref(), Some("-7"));
    assert_eq!(stats.to, "2026-02-01");

    let reconcile = ["reconcile", "--control", "t.csv", "--timezone", "-05:00"];
    let CliCommand::Reconcile(reconcile) = parsed(&[&reconcile[..], &window[..]].concat()) else {
        panic!("no reconciliation");
    };
    assert_eq!(reconcile.timezone.as_deref(), Some("-05:00"));

    let sql = ["sql", "--null", "--", "--csv-separator", ";", "SELECT 1"];
    let CliCommand::Sql(sql) = parsed(&sql) else {
        panic!("no query");
    };
    assert_eq!(sql.null.as_deref(), Some("--"));
    assert_eq!(sql.csv_separator, Some(b';'));
    assert_eq!(sql.query.as_deref(), Some("SELECT 1"));

    let report = ["report", "heat-map", "--sites", "-1,-2", "--devices", "-3"];
    let CliCommand::Report(report) = parsed(&report) else {
        panic!("no report");
    };
    assert_eq!(report.sites, ["-1", "-2"]);
    assert_eq!(report.devices, ["-3"]);
}

#[cfg(feature = "serve")]
#[test]
fn what_a_user_sees_is_named_or_taken_away_or_left() {
    let cases: [(&[&str], Option<bool>, Option<bool>); 3] = [
        (&[], None, None),
        (&["--personal"], Some(true), None),
        (
            &["--personal=false", "--sources=true"],
            Some(false),
            Some(true),
        ),
    ];
    for (flags, personal, sources) in cases {
        // A flag does not take the name for its value.
        let line = [&["user", "add"][..], flags, &["analyst"]].concat();
        let CliCommand::User {
            command: UserCommand::Add(arguments),
        } = parsed(&line)
        else {
            panic!("no user");
        };
        assert_eq!(arguments.name, "analyst");
        assert_eq!((arguments.personal, arguments.sources), (personal, sources));
    }
}

#[cfg(feature = "workers")]
#[test]
fn workers_are_named_or_taken_away_or_left_to_the_project() {
    let workers = |line: &[&str]| {
        let words = std::iter::once("tillhouse").chain(line.iter().copied());
        Cli::try_parse_from(words).unwrap().workers
    };
    let named = workers(&["sql", "--workers", "a:1,b:2", "SELECT 1"]);
    assert_eq!(named, Some(vec!["a:1".to_owned(), "b:2".to_owned()]));
    // No worker at all, whatever the project says.
    assert_eq!(
        workers(&["--workers", "", "status"]),
        Some(vec![String::new()])
    );
    assert_eq!(workers(&["status"]), None);
    let CliCommand::Worker(worker) = parsed(&["worker", "--listen", "[::1]:0"]) else {
        panic!("no worker");
    };
    assert_eq!(worker.listen.to_string(), "[::1]:0");
}
