//! Settings of the server, and what it needs to know of a project.
//!
//! Invariant: nobody is let in from another machine while nothing says who may come in: an address that is not loopback is refused, with what is missing.

use futures::future::LocalBoxFuture;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_lake::Warehouse;
use tillhouse_model::{DataDictionary, Error, ExpectedReads, PseudonymKey, Result, Secret};
use tillhouse_query::QueryEngine;

/// Credentials of clients that speak HecOne's API.
#[derive(Debug, Clone)]
pub struct LoginCredentials {
    /// The client's name.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
}

/// Settings of the server.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Address it listens on; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Credentials of HecOne's login; without them it lets nobody in.
    pub hecone_login: Option<LoginCredentials>,
    /// Currency of HecOne's statistics; the only one there is where nothing is said.
    pub hecone_currency: Option<String>,
    /// File of the audit log, a line of JSON a request; the process's own log where there is none.
    pub audit: Option<PathBuf>,
    /// Questions that are worked on at once.
    pub concurrency: usize,
    /// Questions that wait for their turn, at most.
    pub queue: usize,
    /// Time that an answer may take.
    pub timeout: Duration,
    /// Rows of one answer, at most.
    pub rows: u64,
    /// Bytes of the body of a request, at most.
    pub body_bytes: usize,
    /// Bytes of answers that are kept to be given again.
    pub cache_bytes: usize,
    /// Time between two looks for a new run.
    pub look_every: Duration,
    /// Time that running requests have to finish when the server stops.
    pub stop_within: Duration,
}

impl ServeOptions {
    /// Errors with [`tillhouse_model::ErrorKind::Config`] for an address that others reach.
    pub fn check_address(&self) -> Result<()> {
        match self.listen.ip().is_loopback() {
            true => Ok(()),
            false => Err(Error::config(format!(
                "{} is reached from other machines, and nothing says who may come in",
                self.listen
            ))
            .hint(
                "Listen on 127.0.0.1 or [::1], as `serve.listen` and --listen say. Other addresses need users and TLS, which this version does not have: \
                 put a proxy that has both before it.",
            )),
        }
    }
}

/// Coverage of every pipeline, in the formats that there are.
#[derive(Debug, Clone)]
pub struct CoverageAnswer {
    /// As `tillhouse status --format json` prints it.
    pub json: String,
    /// As `tillhouse status --format csv` prints it.
    pub csv: String,
    /// Number of resources.
    pub rows: u64,
}

/// Knowledge of a project beside its warehouse. It is asked for each run anew, so that a changed configuration counts from the next run on.
pub trait ServedProject: Send + Sync {
    /// Reads that its pipelines are configured for.
    fn expected(&self) -> BTreeMap<String, ExpectedReads>;
    /// Its contracts' notes on tables and columns.
    fn dictionary(&self) -> DataDictionary;
    /// Names of its pipelines.
    fn pipelines(&self) -> Vec<String>;
    /// Coverage of every pipeline.
    fn coverage(&self) -> LocalBoxFuture<'_, Result<CoverageAnswer>>;
}

/// Place that the server reads.
#[derive(Clone)]
pub struct ServedWarehouse {
    /// The warehouse.
    pub warehouse: Warehouse,
    /// Engine of all its queries, with the memory that they share.
    pub engine: QueryEngine,
    /// The project.
    pub project: Arc<dyn ServedProject>,
    /// Key for filters that name personal values.
    pub privacy_key: PseudonymKey,
}

#[cfg(test)]
impl Default for ServeOptions {
    /// Loopback, any free port, nobody's login. What holds where nothing is said is the configuration's to say.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0)),
            hecone_login: None,
            hecone_currency: None,
            audit: None,
            concurrency: 2,
            queue: 64,
            timeout: Duration::from_secs(60),
            rows: 1_000_000,
            body_bytes: 1 << 20,
            cache_bytes: 64 << 20,
            look_every: Duration::from_secs(2),
            stop_within: Duration::from_secs(20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        let at = |listen: &str| ServeOptions {
            listen: listen.parse().unwrap(),
            ..ServeOptions::default()
        };
        for loopback in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1"] {
            assert!(at(loopback).check_address().is_ok(), "{loopback}");
        }
        for other in ["0.0.0.0:1", "[::]:1", "192.168.1.4:1", "[2001:db8::1]:1"] {
            let error = at(other).check_address().unwrap_err();
            assert!(error.hint_text().unwrap().contains("users"), "{error}");
        }
    }
}
