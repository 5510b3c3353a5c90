//! `worker`: parts of the questions that other machines are asked, until Ctrl-C or SIGTERM; and the workers of those who ask.
//!
//! Invariant: a worker listens on loopback alone, unless there is a token or certificates; it reads its own project's warehouse, and writes nothing.

use crate::args::{Cli, DataFormat, WorkerArgs};
use crate::commands::{
    engine_of_this_machine, find_project, open_warehouse, stop_after, stop_signal,
};
use crate::output::{print, print_notice};
use std::process::ExitCode;
use tillhouse_model::Result;
use tillhouse_pipeline::{Project, WorkerSettings};
use tillhouse_query::QueryEngine;
use tillhouse_workers::{
    PlacementOptions, TrustFiles, VERSION, WorkerAddress, WorkerFleet, WorkerServer, WorkerTrust,
    with_workers,
};
use tokio_util::sync::CancellationToken;

pub(crate) async fn run(cli: &Cli, arguments: &WorkerArgs, format: DataFormat) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let warehouse = open_warehouse(&project).await?;
    let engine = engine_of_this_machine(&project, project.memory_limit)?;
    let trust = trust(&project.workers);
    let server = WorkerServer::bind(arguments.listen, &trust, &engine, &warehouse).await?;
    let address = server.address();
    match format {
        DataFormat::Json => {
            let line = serde_json::json!({ "address": address.to_string(), "version": VERSION });
            print(&format!("{line}\n"))?;
        }
        DataFormat::Table | DataFormat::Csv(_) => print(&format!("{address}\n"))?,
    }
    print_notice(&format!(
        "parts of questions are answered at {address}, for machines that ask of {}. Ctrl-C stops.",
        warehouse.url()
    ));
    let stop = CancellationToken::new();
    tokio::spawn(stop_after(stop_signal(), stop.clone()));
    server.answer(stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// A project with the workers that a command line names, where it names any.
pub(super) fn named(mut project: Project, workers: Option<&[String]>) -> Project {
    if let Some(workers) = workers {
        let addresses = workers.iter().filter(|address| !address.trim().is_empty());
        project.workers.addresses = addresses.cloned().collect();
    }
    project
}

/// An engine with the help of workers; as it is where there are none.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`] for addresses and certificates that cannot be used.
pub(super) fn helped(engine: QueryEngine, workers: &WorkerSettings) -> Result<QueryEngine> {
    if workers.addresses.is_empty() {
        return Ok(engine);
    }
    let addresses = workers
        .addresses
        .iter()
        .map(|address| address.parse::<WorkerAddress>());
    let addresses: Vec<WorkerAddress> = addresses.collect::<Result<_>>()?;
    let fleet = WorkerFleet::new(&addresses, &trust(workers))?;
    with_workers(engine, &fleet, PlacementOptions::default())
}

fn trust(settings: &WorkerSettings) -> WorkerTrust {
    let files = settings.certificates.as_ref();
    WorkerTrust {
        token: settings.token.clone(),
        tls: files.map(|files| TrustFiles {
            authority: files.authority.clone(),
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        }),
    }
}
