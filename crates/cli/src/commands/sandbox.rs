//! `sandbox`: the four emulated APIs, until Ctrl-C.
//!
//! Invariant: it listens on loopback only.

use crate::args::{DataFormat, SandboxArgs as Arguments};
use crate::commands::stop_signal;
use crate::output::{print, print_notice};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, Window, time::parse_instant};
use tillhouse_sandbox::{SALES_TYPES, Sandbox, SandboxOptions};

pub(crate) async fn run(arguments: &Arguments, format: DataFormat) -> Result<ExitCode> {
    let now = Timestamp::now();
    let instant = |text: &Option<String>| {
        text.as_deref()
            .map(|t| parse_instant(t, &TimeZone::UTC))
            .transpose()
    };
    let to = instant(&arguments.to)?.unwrap_or(now);
    let from = match instant(&arguments.from)? {
        Some(from) => from,
        None => to
            .checked_sub(SignedDuration::from_hours(30 * 24))
            .map_err(|_| Error::config("--to is too early"))?,
    };
    Window::new(from, to)?;
    let options = SandboxOptions {
        seed: arguments.seed,
        transactions: arguments.transactions,
        from,
        to,
        clock: to,
        incidents: !arguments.plain,
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port)),
        ..SandboxOptions::default()
    };
    let amounts = format!(
        "{} HecOne transactions, {} SmartNow sales, {} be-mo sessions and {} PACE transactions",
        options.transactions,
        options.smartnow_sales(),
        options.bemo_sessions(),
        options.pace_transactions()
    );
    let login = (options.client_id.clone(), options.client_secret.clone());
    let sandbox = Sandbox::start(options).await?;
    if format == DataFormat::Json {
        print(&format!("{}\n", addresses(&sandbox)))?;
    } else {
        print(&format!("{}\n", sandbox.url()))?;
    }
    print_notice(&format!(
        "{amounts} from {from} to {to}, until Ctrl-C. SmartNow's sales_types are {SALES_TYPES}. For a project's .env:\n\n{}",
        env(&sandbox, &login)
    ));
    stop_signal()
        .await
        .or_error(ErrorKind::Internal, "cannot wait for a signal")?;
    sandbox.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Addresses of everything: a key a source, and the tenants that two of them are asked for.
fn addresses(sandbox: &Sandbox) -> serde_json::Value {
    serde_json::json!({
        "url": sandbox.url(),
        "hecone": sandbox.url_of("hecone"),
        "smartnow": sandbox.url_of("smartnow"),
        "bemo": sandbox.url_of("bemo"),
        "pace": sandbox.url_of("pace"),
        "accounts": sandbox.accounts(),
        "partners": sandbox.partners(),
    })
}

/// Variables that a project's `.env` needs to read the sandbox. None of it is a secret.
pub(crate) fn env(sandbox: &Sandbox, (id, secret): &(String, String)) -> String {
    let (smartnow, pace) = (sandbox.url_of("smartnow"), sandbox.url_of("pace"));
    let (accounts, partners) = (sandbox.accounts().join(","), sandbox.partners().join(","));
    format!(
        "HECONE_URL={}\nHECONE_CLIENT_ID={id}\nHECONE_CLIENT_SECRET={secret}\n\n\
         SMARTNOW_URL={smartnow}\nSMARTNOW_USERNAME={id}\nSMARTNOW_PASSWORD={secret}\n\n\
         BEMO_URL={}\nBEMO_ACCESS_TOKEN=sandbox-token\nBEMO_SUBSCRIPTION_KEY=sandbox-key\nBEMO_ACCOUNTS={accounts}\n\n\
         PACE_URL={pace}\nPACE_TOKEN_URL={pace}/auth/token\nPACE_CLIENT_ID={id}\nPACE_CLIENT_SECRET={secret}\n\
         PACE_PARTNERS={partners}",
        sandbox.hecone_url(),
        sandbox.url_of("bemo"),
    )
}
