//! Arguments and help of the command `worker`.
//!
//! Invariant: nothing is decided here; a token is never an argument, which others on the machine could read.

use clap::Args;
use std::net::SocketAddr;

pub(super) const WORKER_HELP: &str = "\
Examples:
  tillhouse worker                                  on 127.0.0.1:7433, until Ctrl-C or SIGTERM
  tillhouse worker --listen 10.0.0.2:7433           for other machines: with TILLHOUSE_WORKERS_TOKEN, or certificates
  tillhouse stats --from 2025-01-01 --to 2026-01-01 --from-facts --workers 10.0.0.2:7433,10.0.0.3:7433
  tillhouse sql --workers \"\" \"SELECT count(*) FROM transactions\"   without the workers of tillhouse.yaml

A worker has a tillhouse.yaml of its own, which names the same warehouse, and reads it by its own credentials. It keeps nothing, and
writes nothing. The version must be the same on all machines. docs/scale.md says when workers help.";

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Address to listen on, of this machine alone unless there is a token or certificates; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7433")]
    pub(crate) listen: SocketAddr,
}
