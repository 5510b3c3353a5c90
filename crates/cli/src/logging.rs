//! Logs: to standard error, as text or JSON, around the progress bars.
//!
//! Invariant: no secret gets here; the crates that hold secrets cannot print them. What a server says in a log line cannot order the terminal.

use crate::args::{Cli, LogFormat};
use crate::environment;
use crate::output::terminal_escape::LogStyle;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging as the flags say; RUST_LOG has the last word.
pub(crate) fn start(cli: &Cli) {
    let default = match cli.verbose {
        // What these say stands in the error that follows, in better words.
        0 => {
            "warn,rustls_platform_verifier=off,buoyant_kernel=off,buoyant_kernel_engine=off,deltalake_core=off"
        }
        1 => {
            "warn,rustls_platform_verifier=off,buoyant_kernel=off,buoyant_kernel_engine=off,tillhouse=info,tillhouse_pipeline=info,tillhouse_extract=info,tillhouse_lake=info"
        }
        _ => {
            "info,tillhouse=debug,tillhouse_pipeline=debug,tillhouse_extract=debug,tillhouse_hecone=debug,tillhouse_smartnow=debug,tillhouse_bemo=debug,tillhouse_pace=debug,tillhouse_lake=debug"
        }
    };
    let asked =
        environment::set(EnvFilter::DEFAULT_ENV).map(|asked| asked.to_string_lossy().into_owned());
    let parsed = asked.as_deref().map(EnvFilter::try_new);
    let is_refused = matches!(parsed, Some(Err(_)));
    let filter = parsed
        .and_then(Result::ok)
        .unwrap_or_else(|| EnvFilter::new(default));
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

/// True if the terminal knows no colours and moves no cursor, as that of an editor or of a build server.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
