//! Settings of the server, and what it needs to know of a project.
//!
//! Invariant: nobody is let in from another machine while nothing says who may come in: an address that is not loopback is refused without users and without TLS, with what is missing.

use crate::users::Users;
use futures::future::LocalBoxFuture;
use std::collections::{BTreeMap, BTreeSet};
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

/// Files of a server's certificate, PEM both.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, and those between it and the one that clients trust.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Provider whose tokens are taken, by OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcOptions {
    /// Its issuer, letter by letter as its tokens name it.
    pub issuer: String,
    /// Audience that tokens for this server are for.
    pub audience: String,
    /// Claim with the name of a user.
    pub claim: String,
}

/// Settings of the server.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Address it listens on; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Address for PostgreSQL's protocol; nothing listens for it where there is none.
    pub postgres: Option<SocketAddr>,
    /// Address for Flight SQL; nothing listens for it where there is none.
    pub flight: Option<SocketAddr>,
    /// Credentials of HecOne's login; without them it lets nobody in.
    pub hecone_login: Option<LoginCredentials>,
    /// Currency of HecOne's statistics; the only one there is where nothing is said.
    pub hecone_currency: Option<String>,
    /// File of the users; where there is none, whoever is on this machine may ask.
    pub users: Option<PathBuf>,
    /// Provider whose tokens are taken beside passwords; none where it is not there.
    pub oidc: Option<OidcOptions>,
    /// Certificate and key; without them the server speaks in the clear.
    pub tls: Option<TlsFiles>,
    /// File of the audit log, a line of JSON a request; the table `ops.audit` where there is none.
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
    /// All addresses that it listens on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let others = self.postgres.into_iter().chain(self.flight);
        std::iter::once(self.listen).chain(others)
    }

    /// An address that other machines reach; none where all are loopback.
    pub(crate) fn reached_address(&self) -> Option<SocketAddr> {
        self.addresses().find(|address| !address.ip().is_loopback())
    }

    /// Errors with [`tillhouse_model::ErrorKind::Config`] for an address that others reach, unless there are users and TLS, and for one address twice.
    pub(crate) fn check_address(&self) -> Result<()> {
        let mut known = BTreeSet::new();
        let fixed = self.addresses().filter(|address| address.port() != 0);
        for address in fixed {
            if !known.insert(address) {
                return Err(Error::config(format!(
                    "{address} is to be listened on for two of HTTP, PostgreSQL's protocol and Flight SQL"
                ))
                .hint("Name another port: `serve.listen` or --listen, `serve.postgres` or --postgres, `serve.flight` or --flight."));
            }
        }
        let Some(address) = self.reached_address() else {
            return Ok(());
        };
        let has_users = match &self.users {
            Some(path) => Users::load_if_there(path)?.is_some_and(|users| !users.is_empty()),
            None => false,
        };
        let missing = match (has_users, &self.tls) {
            (true, Some(_)) => return Ok(()),
            (false, None) => "nothing says who may come in, and there is no TLS",
            (false, Some(_)) => "nothing says who may come in",
            (true, None) => "there is no TLS",
        };
        Err(Error::config(format!(
            "{address} is reached from other machines, and {missing}"
        ))
        .hint(
            "Listen on 127.0.0.1 or [::1], as `serve.listen` and --listen, `serve.postgres` and --postgres, `serve.flight` and --flight say. Another address needs users and TLS: \
             `tillhouse user add NAME`, and `serve: { tls: { certificate: FILE, key: FILE } }` in tillhouse.yaml.",
        ))
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
    /// Coverage of every pipeline, or of these.
    fn coverage(&self, of: Option<BTreeSet<String>>) -> LocalBoxFuture<'_, Result<CoverageAnswer>>;
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
            postgres: None,
            flight: None,
            hecone_login: None,
            hecone_currency: None,
            users: None,
            oidc: None,
            tls: None,
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
    use crate::users::{NewUser, add_user, remove_user};
    use secrecy::SecretString;
    use tillhouse_query::Scope;

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
            let beside = ServeOptions {
                postgres: Some(other.parse().unwrap()),
                ..at("127.0.0.1:1")
            };
            assert!(beside.check_address().is_err(), "{other}");
            let beside = ServeOptions {
                flight: Some(other.parse().unwrap()),
                ..at("127.0.0.1:1")
            };
            assert!(beside.check_address().is_err(), "{other}");
        }
    }

    #[test]
    fn others_are_let_in_by_users_and_tls_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let tls = || {
            Some(TlsFiles {
                certificate: "c.pem".into(),
                key: "k.pem".into(),
            })
        };
        let at = |users: bool, tls: Option<TlsFiles>| ServeOptions {
            listen: "192.168.1.4:1".parse().unwrap(),
            users: users.then(|| path.clone()),
            tls,
            ..ServeOptions::default()
        };
        // A file that is not there has no users.
        assert!(at(true, tls()).check_address().is_err());
        let new = NewUser {
            name: "north".to_owned(),
            scope: Scope::everything(),
        };
        let password = SecretString::from("correct horse battery".to_owned());
        add_user(&path, &new, Some(&password)).unwrap();
        assert!(at(true, tls()).check_address().is_ok());
        // What PostgreSQL's protocol is spoken at is held to the same.
        let beside = |users: bool, tls: Option<TlsFiles>| ServeOptions {
            listen: "127.0.0.1:1".parse().unwrap(),
            postgres: Some("192.168.1.4:2".parse().unwrap()),
            ..at(users, tls)
        };
        assert!(beside(true, tls()).check_address().is_ok());
        let error = beside(true, None).check_address().unwrap_err();
        assert!(error.message().starts_with("192.168.1.4:2"), "{error}");
        assert!(beside(false, tls()).check_address().is_err());
        let error = at(true, None).check_address().unwrap_err();
        assert!(error.message().contains("no TLS"), "{error}");
        let error = at(false, tls()).check_address().unwrap_err();
        assert!(error.message().contains("who may come in"), "{error}");
        remove_user(&path, "north").unwrap();
        assert!(at(true, tls()).check_address().is_err(), "there is nobody");
    }
}
