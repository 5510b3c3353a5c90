//! Logs: to standard error, as text or JSON, around the progress bars.
//!
//! Invariant: no secret gets here; the crates that hold secrets cannot print them. What a server says in a log line cannot order the terminal.

use crate::args::{Cli, LogFormat};
use crate::environment;
use crate::output::terminal_escape::LogStyle;
use crate::registry;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging as the flags say; RUST_LOG has the last word.
pub(crate) fn start(cli: &Cli) {
    let asked =
        environment::set(EnvFilter::DEFAULT_ENV).map(|asked| asked.to_string_lossy().into_owned());
    let parsed = asked.as_deref().map(EnvFilter::try_new);
    let is_refused = matches!(parsed, Some(Err(_)));
    let filter = parsed
        .and_then(Result::ok)
        .unwrap_or_else(|| EnvFilter::new(default_filter(cli.verbose)));
    // Colours are for people: a log that goes to a file holds text only.
    let is_coloured =
        std::io::stderr().is_terminal() && environment::set("NO_COLOR").is_none() && !is_dumb();
    let style = match cli.log_format {
        LogFormat::Json => LogStyle::Json,
        LogFormat::Text if is_coloured => LogStyle::Coloured,
        LogFormat::Text => LogStyle::Plain,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || crate::progress::LogWriter::new(style))
        .with_ansi(is_coloured);
    match cli.log_format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    if is_refused {
        tracing::warn!(
            "RUST_LOG cannot be understood and is passed over; write it like RUST_LOG=tillhouse=debug"
        );
    }
}

/// Filter of log lines for a number of `-v`, where RUST_LOG says nothing.
fn default_filter(verbose: u8) -> String {
    // Libraries' own words stand in the error that follows, in better ones.
    const QUIET: &str = "warn,rustls_platform_verifier=off,buoyant_kernel=off,buoyant_kernel_engine=off,tillhouse_serve=info";
    const OURS: [&str; 5] = [
        "tillhouse",
        "tillhouse_pipeline",
        "tillhouse_extract",
        "tillhouse_lake",
        "tillhouse_workers",
    ];
    let at = |level: &str, targets: &[&str]| -> String {
        targets
            .iter()
            .map(|target| format!(",{target}={level}"))
            .collect()
    };
    match verbose {
        0 => format!("{QUIET},deltalake_core=off"),
        1 => format!("{QUIET}{}", at("info", &OURS)),
        _ => {
            let sources = registry::log_targets();
            let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
            format!("info{}{}", at("debug", &OURS), at("debug", &sources))
        }
    }
}

/// True if the terminal knows no colours and moves no cursor, as that of an editor or of a build server.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_logs_its_details_at_the_second_v() {
        let filter = default_filter(2);
        for source in registry::NAMES {
            assert!(
                filter.contains(&format!(",tillhouse_{source}=debug")),
                "{filter}"
            );
        }
        for verbose in 0..=3 {
            let filter = default_filter(verbose);
            assert!(EnvFilter::try_new(&filter).is_ok(), "{filter}");
        }
        assert!(default_filter(1).ends_with(
            ",tillhouse=info,tillhouse_pipeline=info,tillhouse_extract=info,tillhouse_lake=info,tillhouse_workers=info"
        ));
    }
}
