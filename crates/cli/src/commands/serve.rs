//! `serve`: the HTTP API, PostgreSQL's protocol and Flight SQL over the newest published run, until Ctrl-C, SIGTERM or SIGHUP.
//!
//! Invariant: it listens on loopback alone, unless there are users and TLS, and writes nothing but its audit log. Asked to stop, it ends with exit code 0 once what ran by then has been answered.

use crate::args::{Cli, DataFormat, ServeArgs};
use crate::commands::check::status_csv;
use crate::commands::user::{USERS_FILE, seen};
use crate::commands::{
    engine, find_project, open_warehouse, protected_files, stop_after, stop_signal,
    warn_of_other_key,
};
use crate::output::{TextTable, json_text, print, print_json, print_notice, print_text};
use crate::registry::SOURCES;
#[cfg(unix)]
use crate::watchdog::is_ignored;
use futures::future::LocalBoxFuture;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_lake::{AsOf, Warehouse};
use tillhouse_model::{DataDictionary, ExpectedReads, Result};
use tillhouse_pipeline::{Project, RequestedPipeline, expected_of_project, status};
use tillhouse_serve::{
    BoundServer, CoverageAnswer, LoginCredentials, OidcOptions, ServeOptions, ServedProject,
    ServedWarehouse, TlsFiles, Users,
};
use tokio_util::sync::CancellationToken;

/// Time that running requests have to finish once the server is to stop: less than a service manager waits before it kills.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// Pause between two looks for a new run.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Key of the login's secret, as errors name it.
const SECRET: &str = "serve.hecone_login.client_secret";

pub(crate) async fn run(cli: &Cli, arguments: &ServeArgs, format: DataFormat) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let options = options(&project, arguments).await?;
    tillhouse_serve::check(&options)?;
    if arguments.check {
        tillhouse_serve::check_addresses(&options).await?;
    }
    let warehouse = open_warehouse(&project).await?;
    warn_of_other_key(&project, &warehouse);
    if arguments.check {
        return check(&options, &warehouse, format).await;
    }
    let served = ServedWarehouse {
        warehouse: warehouse.clone(),
        engine: engine(&project)?,
        privacy_key: project.privacy_key.clone(),
        project: Arc::new(OpenProject { project, warehouse }),
    };
    let server = BoundServer::bind(served, options).await?;
    tell(&server, format)?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    server.answer(stop).await;
    Ok(ExitCode::SUCCESS)
}

/// The settings of a project, and what the arguments say beside them.
async fn options(project: &Project, arguments: &ServeArgs) -> Result<ServeOptions> {
    let settings = &project.serve;
    if let Some(audit) = &settings.audit {
        protected_files(project).check("the audit log (`serve.audit` in tillhouse.yaml)", audit)?;
    }
    let hecone_login = match &settings.hecone_login {
        None => None,
        Some(login) => Some(LoginCredentials {
            client_id: login.client_id.clone(),
            client_secret: login.client_secret.read(SECRET).await?,
        }),
    };
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Ok(ServeOptions {
        listen: arguments.listen.unwrap_or(settings.listen),
        postgres: arguments.postgres.or(settings.postgres),
        flight: arguments.flight.or(settings.flight),
        hecone_login,
        hecone_currency: settings.hecone_currency.clone(),
        users: Some(project.dir.join(USERS_FILE)),
        oidc: settings.oidc.as_ref().map(|oidc| OidcOptions {
            issuer: oidc.issuer.clone(),
            audience: oidc.audience.clone(),
            claim: oidc.claim.clone(),
        }),
        tls: settings.tls.as_ref().map(|tls| TlsFiles {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
        }),
        audit: settings.audit.clone(),
        concurrency: settings.concurrency,
        queue: settings.queue,
        timeout: settings.timeout,
        rows: settings.rows,
        body_bytes: size(settings.body_bytes),
        cache_bytes: size(settings.cache_bytes),
        look_every: LOOK_EVERY,
        stop_within: STOP_WITHIN,
    })
}

/// The server as it would be, for `--check`.
#[derive(Serialize)]
struct ServeCheck {
    url: String,
    /// Address for PostgreSQL's protocol.
    postgres: Option<String>,
    /// Address for Flight SQL.
    flight: Option<String>,
    /// Clients that may ask.
    who: String,
    /// Scopes by user, in words; null where there are no users.
    users: Option<BTreeMap<String, String>>,
    is_encrypted: bool,
    /// Issuer whose tokens are taken.
    oidc: Option<String>,
    /// The client that may log in at HecOne's endpoints.
    hecone_login: Option<String>,
    hecone_currency: Option<String>,
    audit: Option<PathBuf>,
    concurrency: usize,
    queue: usize,
    timeout_seconds: u64,
    rows: u64,
    /// The run that would be answered from.
    run: Option<String>,
}

async fn check(
    options: &ServeOptions,
    warehouse: &Warehouse,
    format: DataFormat,
) -> Result<ExitCode> {
    let run = warehouse.ops().published(&AsOf::Latest).await?;
    let users = match &options.users {
        Some(path) => Users::load_if_there(path)?,
        None => None,
    };
    let users: Option<BTreeMap<String, String>> = users.map(|users| {
        let users = users.all();
        users
            .map(|user| (user.name.clone(), seen(&user.scope)))
            .collect()
    });
    let is_loopback = options
        .addresses()
        .all(|address| address.ip().is_loopback());
    let who = match &users {
        None if options.oidc.is_some() => "nobody: there are no users, whom tokens name".to_owned(),
        None => "whoever is on this machine; nobody from another".to_owned(),
        Some(users) if users.is_empty() => "nobody: there are no users in users.yaml".to_owned(),
        Some(_) if is_loopback => "users, from this machine; nobody from another".to_owned(),
        Some(_) => "users, from any machine that reaches it".to_owned(),
    };
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let told = ServeCheck {
        url: format!("{scheme}://{}", options.listen),
        postgres: options.postgres.map(|address| address.to_string()),
        flight: options.flight.map(|address| address.to_string()),
        who,
        is_encrypted: options.tls.is_some(),
        oidc: options.oidc.as_ref().map(|oidc| oidc.issuer.clone()),
        hecone_login: options
            .hecone_login
            .as_ref()
            .map(|login| login.client_id.clone()),
        hecone_currency: options.hecone_currency.clone(),
        audit: options.audit.clone(),
        concurrency: options.concurrency,
        queue: options.queue,
        timeout_seconds: options.timeout.as_secs(),
        rows: options.rows,
        run: run.map(|run| run.run_id),
        users,
    };
    if format == DataFormat::Json {
        print_json(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = TextTable::new();
    table.set_header(["what", "is"]);
    let none = |text: &str| text.to_owned();
    let rows = [
        ("listens on", told.url),
        (
            "PostgreSQL's protocol",
            told.postgres
                .unwrap_or_else(|| none("not: serve.postgres is not set")),
        ),
        (
            "Flight SQL",
            told.flight
                .unwrap_or_else(|| none("not: serve.flight is not set")),
        ),
        ("who may ask", told.who),
        (
            "tokens of",
            told.oidc
                .unwrap_or_else(|| none("this server alone: serve.oidc is not set")),
        ),
        (
            "HecOne login",
            match (&told.users, told.hecone_login) {
                (Some(_), _) => none("the users"),
                (None, Some(client)) => client,
                (None, None) => none("nobody: serve.hecone_login is not set"),
            },
        ),
        (
            "HecOne currency",
            told.hecone_currency
                .unwrap_or_else(|| none("the only one there is, else 409 with the list")),
        ),
        (
            "audit log",
            told.audit.map_or_else(
                || none("the table ops.audit, once a run is published"),
                |path| path.display().to_string(),
            ),
        ),
        (
            "at once",
            format!(
                "{} questions, {} wait, the others are sent away",
                told.concurrency, told.queue
            ),
        ),
        (
            "an answer",
            format!(
                "takes {} s and has {} rows at most",
                told.timeout_seconds, told.rows
            ),
        ),
        (
            "answers from",
            told.run.map_or_else(
                || none("nothing: no run is published yet"),
                |run| format!("run {run}"),
            ),
        ),
    ];
    let users = told.users.unwrap_or_default();
    let users =
        (users.into_iter()).map(|(name, seen)| (format!("user {name}"), format!("sees {seen}")));
    let rows = rows.into_iter().map(|(what, is)| (what.to_owned(), is));
    for (what, is) in rows.chain(users) {
        table.add_row([what, is]);
    }
    print_text(&format!("{table}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Says where the server listens: the address on standard output, the rest on standard error.
fn tell(server: &BoundServer, format: DataFormat) -> Result<()> {
    let url = server.url();
    match format {
        DataFormat::Json => {
            let postgres = server.postgres_address().map(|address| address.to_string());
            let flight = server.flight_address().map(|address| address.to_string());
            let line = serde_json::json!({
                "url": url, "postgres": postgres, "flight": flight, "run": server.run()
            });
            print(&format!("{line}\n"))?;
        }
        DataFormat::Table | DataFormat::Csv(_) => print(&format!("{url}\n"))?,
    }
    let run = match server.run() {
        Some(run) => format!("answers are of run {run} until a newer one is published"),
        None => {
            "nothing is published yet; answers begin with the first `tillhouse sync`".to_owned()
        }
    };
    let postgres = server
        .postgres_address()
        .map_or_else(String::new, |address| {
            format!("; PostgreSQL's protocol is spoken at {address}")
        });
    let flight = server.flight_address().map_or_else(String::new, |address| {
        format!("; Flight SQL is spoken at {address}")
    });
    print_notice(&format!(
        "{run}; {url}/docs/ shows what may be asked{postgres}{flight}. Ctrl-C stops."
    ));
    Ok(())
}

/// Cancels `stop` at Ctrl-C, SIGTERM or SIGHUP; at a second of the first two, ends the process. A shell that goes away hangs up more
/// than once, and means no more by it.
async fn stop_on_signal(stop: CancellationToken) {
    let first = async {
        tokio::select! {
            outcome = stop_signal() => outcome,
            outcome = hang_up() => outcome,
        }
    };
    stop_after(first, stop).await;
}

/// Waits for SIGHUP; for ever where the process was started with that ignored, as by `nohup`.
#[cfg(unix)]
async fn hang_up() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let kind = SignalKind::hangup();
    if is_ignored(kind) {
        return std::future::pending().await;
    }
    signal(kind)?.recv().await;
    Ok(())
}

#[cfg(not(unix))]
async fn hang_up() -> std::io::Result<()> {
    std::future::pending().await
}

/// A project that is served.
struct OpenProject {
    project: Arc<Project>,
    warehouse: Warehouse,
}

impl ServedProject for OpenProject {
    fn expected(&self) -> BTreeMap<String, ExpectedReads> {
        expected_of_project(&self.project, SOURCES)
    }

    fn dictionary(&self) -> DataDictionary {
        self.project.dictionary()
    }

    fn pipelines(&self) -> Vec<String> {
        self.project.pipeline_names().unwrap_or_default()
    }

    fn coverage(&self, of: Option<BTreeSet<String>>) -> LocalBoxFuture<'_, Result<CoverageAnswer>> {
        Box::pin(async move {
            let requested = self.project.requested_pipelines(&[], SOURCES)?;
            let pipelines: Vec<_> = requested
                .into_iter()
                .filter_map(|RequestedPipeline { pipeline, .. }| pipeline.ok())
                .filter(|pipeline| of.as_ref().is_none_or(|of| of.contains(&pipeline.name)))
                .collect();
            let rows = status(&self.warehouse, &pipelines).await?;
            Ok(CoverageAnswer {
                json: json_text(&rows)?,
                csv: status_csv(&rows),
                rows: u64::try_from(rows.len()).unwrap_or(u64::MAX),
            })
        })
    }
}
