//! A provider of tokens: its keys, found by its discovery document and read anew as they change.
//!
//! Invariant: however many tokens come that no known key has signed, the provider is asked at most once in five seconds. Whoever's token a known key has signed waits for
//! none of them. Keys that could not be confirmed for a day are good for nobody.

use super::OidcFault;
use super::key_set::KeySet;
use super::signed_token::SignedToken;
use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use serde::Deserialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tillhouse_model::{Error, Result};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use url::{Host, Url};

/// Time after which keys are read anew though they serve: one that the provider withdrew ends by then.
const FRESH: Duration = Duration::from_secs(3600);
/// Time for which keys serve while the provider does not answer.
const SERVES: Duration = Duration::from_secs(24 * 3600);
/// Time between two questions to the provider.
const PAUSE: Duration = Duration::from_secs(5);
/// Time that the provider has to answer a question.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of an answer, at most.
const MOST_BYTES: usize = 256 << 10;
/// Path of the discovery document, below the issuer.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A provider, and what is known of its keys.
pub(super) struct Provider {
    issuer: String,
    discovery: Url,
    client: reqwest::Client,
    known: Mutex<KnownKeys>,
    /// Held by the one who asks.
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct KnownKeys {
    keys: Arc<KeySet>,
    /// Moment they were read; none before the first time.
    read: Option<Instant>,
    /// Moment the provider was asked last.
    asked: Option<Instant>,
}

/// Members of a discovery document that are read.
#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

impl Provider {
    /// A provider that has not been asked yet.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] for an issuer that is no address, or one that others could answer for.
    pub(super) fn new(issuer: &str) -> Result<Self> {
        let discovery = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
        let discovery = Url::parse(&discovery).ok().filter(is_private);
        let discovery = discovery.ok_or_else(|| {
            Error::config("the issuer of tokens is no address with https")
                .hint("`serve.oidc.issuer` in tillhouse.yaml names it like https://id.example.com; http is for providers on this machine.")
        })?;
        // Whoever was first has chosen, and chose the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("tillhouse/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_gzip()
            .timeout(ANSWERS_WITHIN);
        if is_loopback(&discovery) {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| Error::internal("cannot set up HTTP").because(error))?;
        Ok(Self {
            issuer: issuer.to_owned(),
            discovery,
            client,
            known: Mutex::default(),
            asking: Arc::default(),
        })
    }

    /// Checks that one of the provider's keys has signed a token; asks for the keys where none that is known has, and where those that are known have not been confirmed for an hour.
    ///
    /// Errors where none has, and where the provider's keys are not known.
    pub(super) async fn check(self: &Arc<Self>, token: &SignedToken<'_>) -> Result<(), OidcFault> {
        let has_signed = self.serving().is_some_and(|keys| keys.has_signed(token));
        if has_signed && !self.is_to_be_asked() {
            return Ok(());
        }
        if has_signed {
            // The keys serve until the provider has answered, whoever asks it.
            if let Ok(turn) = Arc::clone(&self.asking).try_lock_owned() {
                drop(self.ask(turn));
            }
            return Ok(());
        }
        let turn = Arc::clone(&self.asking).lock_owned().await;
        // Whoever waited finds what the one before was told, also where that was just now.
        if let Some(asked) = self.ask(turn) {
            // What went wrong has been logged.
            let _ = asked.await;
        }
        match self.serving() {
            None => Err(OidcFault::Unavailable),
            Some(keys) if keys.has_signed(token) => Ok(()),
            Some(_) => Err(OidcFault::Refused(
                "the token is signed by no key of its provider",
            )),
        }
    }

    fn known(&self) -> MutexGuard<'_, KnownKeys> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys, where they were confirmed lately enough to serve.
    fn serving(&self) -> Option<Arc<KeySet>> {
        let known = self.known();
        let serves = known.read.is_some_and(|read| read.elapsed() < SERVES);
        serves.then(|| Arc::clone(&known.keys))
    }

    /// True where the keys have grown old, and the provider was not asked just now.
    fn is_to_be_asked(&self) -> bool {
        let known = self.known();
        let is_fresh = known.read.is_some_and(|read| read.elapsed() < FRESH);
        !is_fresh && known.may_ask()
    }

    /// Begins to read the keys anew, unless the provider was asked just now. What was known stays where it does not answer.
    fn ask(self: &Arc<Self>, turn: OwnedMutexGuard<()>) -> Option<JoinHandle<()>> {
        {
            let mut known = self.known();
            if !known.may_ask() {
                return None;
            }
            known.asked = Some(Instant::now());
        }
        let provider = Arc::clone(self);
        // A task of its own: a client that leaves ends no reading that others wait for.
        Some(tokio::spawn(async move {
            let _turn = turn;
            match provider.read().await {
                Ok(keys) => {
                    let mut known = provider.known();
                    known.keys = Arc::new(keys);
                    known.read = Some(Instant::now());
                }
                Err(fault) => tracing::warn!(
                    issuer = %provider.issuer,
                    "the keys of the tokens' provider cannot be read: {fault}"
                ),
            }
        }))
    }

    /// Forgets when the provider was asked, as where time has passed.
    #[cfg(test)]
    pub(super) fn after_the_pause(&self) {
        self.known().asked = None;
    }

    /// The provider's keys, as it has them now.
    async fn read(&self) -> std::result::Result<KeySet, String> {
        let document = self.get(&self.discovery).await?;
        let document: DiscoveryDocument = serde_json::from_slice(&document)
            .map_err(|error| format!("its discovery document cannot be read: {error}"))?;
        if document.issuer != self.issuer {
            return Err(format!(
                "its discovery document is of the issuer {:?}",
                document.issuer
            ));
        }
        let address = Url::parse(&document.jwks_uri).ok();
        // What was asked for encrypted leads nowhere else.
        let is_allowed = |address: &Url| match self.discovery.scheme() {
            "https" => address.scheme() == "https",
            _ => is_private(address),
        };
        let address = address
            .filter(is_allowed)
            .ok_or("its `jwks_uri` is no address with https")?;
        let keys = self.get(&address).await?;
        KeySet::read(&keys).ok_or_else(|| "it has no key for RS256, ES256 or EdDSA".to_owned())
    }

    async fn get(&self, address: &Url) -> std::result::Result<Vec<u8>, String> {
        let failed =
            |error: reqwest::Error| format!("{address} does not answer: {}", error.without_url());
        let request = self.client.get(address.clone());
        let request = request.header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("{address} answers {}", response.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > MOST_BYTES {
                return Err(format!("{address} answers more than {MOST_BYTES} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

impl KnownKeys {
    fn may_ask(&self) -> bool {
        self.asked.is_none_or(|asked| asked.elapsed() >= PAUSE)
    }
}

/// True for an address where nobody on the way can answer: encrypted, or on this machine.
fn is_private(address: &Url) -> bool {
    match address.scheme() {
        "https" => address.has_host(),
        "http" => is_loopback(address),
        _ => false,
    }
}

fn is_loopback(address: &Url) -> bool {
    match address.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
