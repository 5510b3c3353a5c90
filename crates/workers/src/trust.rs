//! Proof of identity between a coordinator and its workers: a token that they share, or certificates of one authority.
//!
//! Invariant: without either, only this machine's own addresses are listened on and asked. No error and no log shows a token or quotes a file.

use crate::address::WorkerAddress;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tillhouse_model::{Error, Result, Secret};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};
use tonic::{Request, Status};

/// Hint of errors about who may come in.
const BETWEEN_MACHINES: &str = "Between machines set TILLHOUSE_WORKERS_TOKEN to the same secret on all of them, or name certificates of one authority with TILLHOUSE_WORKERS_CA, \
     TILLHOUSE_WORKERS_CERTIFICATE and TILLHOUSE_WORKERS_KEY. docs/scale.md has both.";
/// Header of a token.
const AUTHORIZATION: &str = "authorization";

/// Files for mutual TLS, PEM all of them: the authority that both sides trust, and this side's certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFiles {
    /// Certificate of the authority.
    pub authority: PathBuf,
    /// Certificate of this side, with its chain.
    pub certificate: PathBuf,
    /// Private key of that certificate.
    pub key: PathBuf,
}

/// Proof of identity between coordinator and workers. The same settings serve both sides.
#[derive(Debug, Clone, Default)]
pub struct WorkerTrust {
    /// Secret that both sides have.
    pub token: Option<Secret>,
    /// Certificates of both sides.
    pub tls: Option<TrustFiles>,
}

impl WorkerTrust {
    fn is_none(&self) -> bool {
        self.token.is_none() && self.tls.is_none()
    }

    /// Errors with [`tillhouse_model::ErrorKind::Config`] for an address that other machines reach, where nothing says who may come in.
    pub(crate) fn check_listen(&self, listen: SocketAddr) -> Result<()> {
        match self.is_none() && !listen.ip().is_loopback() {
            true => Err(Error::config(format!(
                "{listen} is reached from other machines, and nothing says who may come in"
            ))
            .hint(BETWEEN_MACHINES)),
            false => Ok(()),
        }
    }

    /// Errors with [`tillhouse_model::ErrorKind::Config`] for a worker on another machine, where it cannot know whose question it is.
    pub(crate) fn check_worker(&self, address: &WorkerAddress) -> Result<()> {
        match self.is_none() && !address.is_loopback() {
            true => Err(Error::config(format!(
                "worker {address} is another machine, and there is nothing to show it"
            ))
            .hint(BETWEEN_MACHINES)),
            false => Ok(()),
        }
    }

    /// TLS of a coordinator. Errors with [`tillhouse_model::ErrorKind::Config`] for files that cannot be read.
    pub(crate) fn client_tls(&self) -> Result<Option<ClientTlsConfig>> {
        let Some(files) = &self.tls else {
            return Ok(None);
        };
        let config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(&files.authority)?))
            .identity(files.identity()?);
        Ok(Some(config))
    }

    /// TLS of a worker, which takes none but the authority's certificates. Errors as [`Self::client_tls`] does.
    pub(crate) fn server_tls(&self) -> Result<Option<ServerTlsConfig>> {
        let Some(files) = &self.tls else {
            return Ok(None);
        };
        let config = ServerTlsConfig::new()
            .client_ca_root(Certificate::from_pem(read(&files.authority)?))
            .identity(files.identity()?);
        Ok(Some(config))
    }

    /// The header that shows the token; `None` without one.
    pub(crate) fn header(&self) -> Result<Option<http::HeaderValue>> {
        let Some(token) = &self.token else {
            return Ok(None);
        };
        let mut value = http::HeaderValue::from_str(&bearer(token)).map_err(|_| {
            Error::config("the workers' token has a character that cannot be sent")
                .hint("Letters, digits and - _ . ~ can.")
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// The check of a call's token.
    pub(crate) fn token_check(&self) -> TokenCheck {
        TokenCheck {
            wanted: self.token.as_ref().map(|token| digest(&bearer(token))),
        }
    }
}

impl TrustFiles {
    fn identity(&self) -> Result<Identity> {
        Ok(Identity::from_pem(
            read(&self.certificate)?,
            read(&self.key)?,
        ))
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| {
        Error::config("a file for the workers' TLS cannot be read")
            .at("file", file.display().to_string())
            .because(error)
            .hint("TILLHOUSE_WORKERS_CA, _CERTIFICATE and _KEY name files in PEM.")
    })
}

fn bearer(token: &Secret) -> String {
    format!("Bearer {}", token.expose())
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Check of the token of every call, before any method sees it. Digests are compared, so that the time it takes says nothing of the token.
#[derive(Clone)]
pub(crate) struct TokenCheck {
    wanted: Option<[u8; 32]>,
}

impl tonic::service::Interceptor for TokenCheck {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(wanted) = self.wanted else {
            return Ok(request);
        };
        let shown = request.metadata().get(AUTHORIZATION);
        let shown = shown.and_then(|value| value.to_str().ok()).map(digest);
        match shown == Some(wanted) {
            true => Ok(request),
            false => Err(Status::unauthenticated("the token is not this worker's")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::service::Interceptor;

    fn with_token(token: &str) -> WorkerTrust {
        WorkerTrust {
            token: Some(Secret::new(token)),
            tls: None,
        }
    }

    #[test]
    fn other_machines_need_something_to_be_known_by() {
        let nothing = WorkerTrust::default();
        assert!(nothing.check_listen("127.0.0.1:1".parse().unwrap()).is_ok());
        let everywhere: SocketAddr = "0.0.0.0:1".parse().unwrap();
        let error = nothing.check_listen(everywhere).unwrap_err();
        assert!(error.hint_text().unwrap().contains("TOKEN"), "{error}");
        assert!(
            nothing
                .check_worker(&"localhost:1".parse().unwrap())
                .is_ok()
        );
        let other: WorkerAddress = "10.0.0.2:1".parse().unwrap();
        assert!(nothing.check_worker(&other).is_err());
        let token = with_token("s3cret");
        assert!(token.check_listen(everywhere).is_ok());
        assert!(token.check_worker(&other).is_ok());
        assert!(!format!("{token:?}").contains("s3cret"));
    }

    #[test]
    fn a_call_shows_the_token() {
        let mut check = with_token("s3cret").token_check();
        let shown = |text: Option<&'static str>| {
            let mut request = Request::new(());
            if let Some(text) = text {
                let value = text.parse().unwrap();
                request.metadata_mut().insert(AUTHORIZATION, value);
            }
            request
        };
        assert!(check.call(shown(Some("Bearer s3cret"))).is_ok());
        for other in [
            None,
            Some("s3cret"),
            Some("Bearer s3cre"),
            Some("bearer s3cret"),
        ] {
            let refused = check.call(shown(other)).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{other:?}");
        }
        let mut nothing = WorkerTrust::default().token_check();
        assert!(nothing.call(shown(None)).is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        assert!(with_token("line\nbreak").header().is_err());
        let trust = WorkerTrust {
            token: None,
            tls: Some(TrustFiles {
                authority: "nowhere/ca.pem".into(),
                certificate: "nowhere/worker.pem".into(),
                key: "nowhere/key.pem".into(),
            }),
        };
        let error = trust.client_tls().unwrap_err();
        assert!(error.to_string().contains("ca.pem"), "{error}");
        assert!(trust.server_tls().is_err());
    }
}
