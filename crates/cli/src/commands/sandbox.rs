//! `sandbox`: the emulated API, until Ctrl-C.
//!
//! Invariant: it listens on loopback only.

use crate::args::{Format, Sandbox as Arguments};
use crate::output::{print, say};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, Window, time::parse_instant};
use tillhouse_sandbox::{Sandbox, SandboxOptions};

pub(crate) async fn run(arguments: &Arguments, format: Format) -> Result<ExitCode> {
    let now = Timestamp::now();
    let instant = |text: &Option<String>| text.as_deref().map(|t| parse_instant(t, &TimeZone::UTC)).transpose();
    let to = instant(&arguments.to)?.unwrap_or(now);
    let from = match instant(&arguments.from)? {
        Some(from) => from,
        None => to.checked_sub(SignedDuration::from_hours(30 * 24)).map_err(|_| Error::config("--to is too early"))?,
    };
    Window::new(from, to)?;
    let options = SandboxOptions {
        seed: arguments.seed,
        transactions: arguments.transactions,
        from,
        to,
        clock: to,
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port)),
        ..SandboxOptions::default()
    };
    let (id, secret) = (options.client_id.clone(), options.client_secret.clone());
    let sandbox = Sandbox::start(options).await?;
    let url = sandbox.url();
    if format == Format::Json {
        print(&format!("{{\"url\": \"{url}\", \"hecone\": \"{url}/hecone\"}}\n"))?;
    } else {
        print(&format!("{url}\n"))?;
    }
    say(&format!(
        "{} transactions from {from} to {to}, until Ctrl-C. For a project's .env:\n\n\
         HECONE_URL={url}/hecone\nHECONE_CLIENT_ID={id}\nHECONE_CLIENT_SECRET={secret}",
        arguments.transactions
    ));
    stopped().await.or_error(ErrorKind::Internal, "cannot wait for a signal")?;
    sandbox.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C, or for the signal a service manager sends.
async fn stopped() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            outcome = tokio::signal::ctrl_c() => outcome,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
