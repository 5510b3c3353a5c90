//! The key `serve` of tillhouse.yaml: where the server listens, who logs in, and how much it gives at once.
//!
//! Invariant: what comes out can be carried out; every value that is wrong is told, each with its place. Whether an address may be listened on is for the server to say.

use crate::config::project::read_bytes;
use crate::yaml::{YamlFile, error_at};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tillhouse_extract::{Credential, EndpointUrl};
use tillhouse_model::money::{canonical_currency, is_currency};
use tillhouse_model::time::parse_duration;
use tillhouse_model::yaml::Spanned;
use tillhouse_model::{Error, Result};

/// Port that is listened on where nothing is said.
const PORT: u16 = 8373;
/// Questions that wait for their turn, at most, where nothing is said.
const QUEUE: usize = 512;
/// Time that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Rows of one answer.
const ROWS: u64 = 1_000_000;
/// Bytes of the body of a request.
const BODY_BYTES: u64 = 1 << 20;
/// Bytes of answers that are kept.
const CACHE_BYTES: u64 = 64 << 20;

/// Claim of a token that names its user, where nothing is said: OpenID Connect's identifier of whoever logged in.
const CLAIM: &str = "sub";

/// Example of a provider of tokens, for errors.
const EXAMPLE: &str =
    "Write it like `oidc: { issuer: https://id.example.com, audience: tillhouse, claim: sub }`.";

/// Most questions at once: each has a thread, and a part of the memory.
const MOST_CONCURRENCY: u64 = 1_024;
/// Most questions that wait.
const MOST_QUEUE: u64 = 65_536;
/// Longest time that an answer may take.
const MOST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Most bytes of a body: it is held in memory.
const MOST_BODY: u64 = 1 << 30;
/// Most bytes of answers that are kept.
const MOST_CACHE: u64 = 64 << 30;

/// Login of clients that speak HecOne's API.
#[derive(Debug, Clone)]
pub struct ServedLogin {
    /// Its name.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Credential,
}

/// Certificate that the server shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedCertificate {
    /// File of the certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// File of its private key, PEM.
    pub key: PathBuf,
}

/// Provider whose tokens the server takes, by OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedProvider {
    /// Its issuer, letter by letter as its tokens name it.
    pub issuer: String,
    /// Audience that tokens for the server are for.
    pub audience: String,
    /// Claim with the name of a user.
    pub claim: String,
}

/// Settings of the server.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// Address it listens on.
    pub listen: SocketAddr,
    /// Address for PostgreSQL's protocol; nothing listens for it where nothing is said.
    pub postgres: Option<SocketAddr>,
    /// Address for Flight SQL; nothing listens for it where nothing is said.
    pub flight: Option<SocketAddr>,
    /// Login of HecOne's endpoints; without one they let nobody in.
    pub hecone_login: Option<ServedLogin>,
    /// Currency of HecOne's statistics, which have one; the only one there is where nothing is said.
    pub hecone_currency: Option<String>,
    /// Provider whose tokens are taken beside passwords.
    pub oidc: Option<ServedProvider>,
    /// Certificate; without one the server speaks in the clear, and to this machine alone.
    pub tls: Option<ServedCertificate>,
    /// File of the audit log; the table `ops.audit` where there is none.
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
    pub body_bytes: u64,
    /// Bytes of answers that are kept to be given again.
    pub cache_bytes: u64,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            postgres: None,
            flight: None,
            hecone_login: None,
            hecone_currency: None,
            oidc: None,
            tls: None,
            audit: None,
            concurrency: std::thread::available_parallelism().map_or(2, |n| n.get().max(2)),
            queue: QUEUE,
            timeout: TIMEOUT,
            rows: ROWS,
            body_bytes: BODY_BYTES,
            cache_bytes: CACHE_BYTES,
        }
    }
}

/// Section `serve` as it is written.
#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServeSection {
    listen: Option<Spanned<String>>,
    postgres: Option<Spanned<String>>,
    flight: Option<Spanned<String>>,
    hecone_login: Option<LoginSection>,
    hecone_currency: Option<Spanned<String>>,
    oidc: Option<OidcSection>,
    tls: Option<TlsSection>,
    audit: Option<Spanned<String>>,
    concurrency: Option<Spanned<u64>>,
    queue: Option<Spanned<u64>>,
    timeout: Option<Spanned<String>>,
    rows: Option<Spanned<u64>>,
    body: Option<Spanned<String>>,
    cache: Option<Spanned<String>>,
}

/// Section `serve.tls` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    certificate: Spanned<String>,
    key: Spanned<String>,
}

/// Section `serve.oidc` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OidcSection {
    issuer: Spanned<String>,
    audience: Spanned<String>,
    #[serde(default)]
    claim: Option<Spanned<String>>,
}

/// Section `serve.hecone_login` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginSection {
    client_id: Spanned<String>,
    client_secret: Credential,
}

impl ServeSection {
    /// The settings, and what is wrong with the section. Relative paths are below `dir`.
    pub(super) fn settings(self, file: &YamlFile, dir: &Path) -> (ServeSettings, Vec<Error>) {
        let mut settings = ServeSettings::default();
        let mut problems = Vec::new();
        let mut keep = |outcome: Result<()>| problems.extend(outcome.err());
        if let Some(text) = &self.listen {
            keep(address(file, "listen", text).map(|listen| settings.listen = listen));
        }
        if let Some(text) = &self.postgres {
            keep(address(file, "postgres", text).map(|at| settings.postgres = Some(at)));
        }
        if let Some(text) = &self.flight {
            keep(address(file, "flight", text).map(|at| settings.flight = Some(at)));
        }
        if let Some(login) = self.hecone_login {
            keep(
                login
                    .checked(file)
                    .map(|login| settings.hecone_login = Some(login)),
            );
        }
        if let Some(text) = &self.hecone_currency {
            keep(currency(file, text).map(|code| settings.hecone_currency = Some(code)));
        }
        if let Some(oidc) = &self.oidc {
            keep(oidc.checked(file).map(|oidc| settings.oidc = Some(oidc)));
        }
        if let Some(tls) = &self.tls {
            keep(tls.checked(file, dir).map(|tls| settings.tls = Some(tls)));
        }
        if let Some(text) = &self.audit {
            keep(path(file, "audit", text, dir).map(|path| settings.audit = Some(path)));
        }
        for (key, written, most, number) in [
            (
                "concurrency",
                &self.concurrency,
                MOST_CONCURRENCY,
                &mut settings.concurrency,
            ),
            ("queue", &self.queue, MOST_QUEUE, &mut settings.queue),
        ] {
            if let Some(text) = written {
                let count = usize::try_from(text.value).unwrap_or(usize::MAX);
                keep(count_within(file, key, text, most).map(|()| *number = count));
            }
        }
        if let Some(text) = &self.rows {
            let within = count_within(file, "rows", text, u64::MAX);
            keep(within.map(|()| settings.rows = text.value));
        }
        if let Some(text) = &self.timeout {
            keep(timeout(file, text).map(|length| settings.timeout = length));
        }
        for (key, written, most, number) in [
            ("body", &self.body, MOST_BODY, &mut settings.body_bytes),
            ("cache", &self.cache, MOST_CACHE, &mut settings.cache_bytes),
        ] {
            if let Some(text) = written {
                keep(bytes(file, key, text, most).map(|bytes| *number = bytes));
            }
        }
        (settings, problems)
    }
}

impl TlsSection {
    fn checked(&self, file: &YamlFile, dir: &Path) -> Result<ServedCertificate> {
        Ok(ServedCertificate {
            certificate: path(file, "tls.certificate", &self.certificate, dir)?,
            key: path(file, "tls.key", &self.key, dir)?,
        })
    }
}

impl OidcSection {
    fn checked(&self, file: &YamlFile) -> Result<ServedProvider> {
        let name = |key: &str, text: &Spanned<String>| match text.value.trim() {
            "" => {
                let what = format!("`serve.oidc.{key}` is empty");
                Err(error_at(file, text.referenced, what).hint(EXAMPLE))
            }
            written => Ok(written.to_owned()),
        };
        let issuer = name("issuer", &self.issuer)?;
        if let Err(error) = EndpointUrl::parse(&issuer) {
            let what = format!("`serve.oidc.issuer`: {}", error.message());
            return Err(error_at(file, self.issuer.referenced, what).hint(EXAMPLE));
        }
        Ok(ServedProvider {
            issuer,
            audience: name("audience", &self.audience)?,
            claim: match &self.claim {
                None => CLAIM.to_owned(),
                Some(claim) => name("claim", claim)?,
            },
        })
    }
}

impl LoginSection {
    fn checked(self, file: &YamlFile) -> Result<ServedLogin> {
        self.client_secret
            .check("serve.hecone_login.client_secret")?;
        if self.client_id.value.trim().is_empty() {
            let what = "`serve.hecone_login.client_id` is empty";
            return Err(error_at(file, self.client_id.referenced, what)
                .hint("Write the name that clients log in with, like `client_id: reporting`."));
        }
        Ok(ServedLogin {
            client_id: self.client_id.value,
            client_secret: self.client_secret,
        })
    }
}

fn address(file: &YamlFile, key: &str, text: &Spanned<String>) -> Result<SocketAddr> {
    let written = text.value.trim();
    let local = written.strip_prefix("localhost:").map(|port| {
        let port: Option<u16> = port.parse().ok();
        port.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    });
    let read = local.unwrap_or_else(|| written.parse().ok());
    read.ok_or_else(|| {
        let what = format!(
            "`serve.{key}` is {:?}, and must be an address and a port",
            text.value
        );
        error_at(file, text.referenced, what).hint(format!(
            "Write it like `{key}: 127.0.0.1:8373`; an IPv6 address stands in brackets: `\"[::1]:8373\"`."
        ))
    })
}

fn currency(file: &YamlFile, text: &Spanned<String>) -> Result<String> {
    match is_currency(&text.value) {
        true => Ok(canonical_currency(&text.value)),
        false => {
            let what = format!(
                "`serve.hecone_currency` is {:?}, which is no currency",
                text.value
            );
            Err(error_at(file, text.referenced, what)
                .hint("Write a code of ISO 4217: `hecone_currency: EUR`."))
        }
    }
}

fn path(file: &YamlFile, key: &str, text: &Spanned<String>, dir: &Path) -> Result<PathBuf> {
    match text.value.trim() {
        "" => Err(
            error_at(file, text.referenced, format!("`serve.{key}` is empty"))
                .hint("Name a file, or leave the key out."),
        ),
        written => Ok(dir.join(written)),
    }
}

fn count_within(file: &YamlFile, key: &str, text: &Spanned<u64>, most: u64) -> Result<()> {
    let what = match text.value {
        0 => format!("`serve.{key}` is 0, and must be 1 or more"),
        count if count > most => {
            format!("`serve.{key}` is {count}, and must be {most} or less")
        }
        _ => return Ok(()),
    };
    Err(error_at(file, text.referenced, what).hint(format!("Write it like `{key}: 8`.")))
}

fn timeout(file: &YamlFile, text: &Spanned<String>) -> Result<Duration> {
    let length = parse_duration(&text.value).ok();
    let length = length.and_then(|length| Duration::try_from(length).ok());
    let is_sensible = |length: &Duration| !length.is_zero() && *length <= MOST_TIMEOUT;
    length.filter(is_sensible).ok_or_else(|| {
        let what = format!(
            "`serve.timeout` is {:?}, and must be a length of time, of {} hours at most",
            text.value,
            MOST_TIMEOUT.as_secs() / 3600
        );
        error_at(file, text.referenced, what)
            .hint("Write a whole number and a unit: `timeout: 60s`.")
    })
}

fn bytes(file: &YamlFile, key: &str, text: &Spanned<String>, most: u64) -> Result<u64> {
    read_bytes(&text.value)
        .filter(|bytes| (1..=most).contains(bytes))
        .ok_or_else(|| {
            let what = format!(
                "`serve.{key}` is {:?}, and must be a whole number and a unit, {} GiB at most",
                text.value,
                most >> 30
            );
            error_at(file, text.referenced, what).hint(format!(
                "Write it like `{key}: 64MiB`; units are KiB, MiB, GiB, KB, MB and GB."
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Written {
        #[serde(default)]
        serve: ServeSection,
    }

    fn settings(text: &str) -> (ServeSettings, Vec<String>) {
        let file = YamlFile::of("tillhouse.yaml".into(), text.to_owned());
        let written: Written = file.parse().unwrap();
        let (settings, problems) = written.serve.settings(&file, Path::new("/project"));
        (settings, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn it_listens_on_loopback_where_nothing_is_said() {
        let (said, problems) = settings("other: 1");
        assert!(problems.is_empty(), "{problems:?}");
        assert!(said.listen.ip().is_loopback());
        assert!(said.hecone_login.is_none() && said.audit.is_none());
        assert_eq!((said.postgres, said.flight), (None, None));
        assert!(said.concurrency >= 2);
    }

    #[test]
    fn every_key_is_read() {
        let text = "serve:\n  listen: localhost:9000\n  postgres: \"[::1]:5432\"\n  flight: localhost:32010\n  hecone_login: { client_id: till, client_secret: s3cret }\n  \
                    hecone_currency: eur\n  oidc: { issuer: https://id.example.com/realms/north, audience: tillhouse, claim: email }\n  tls: { certificate: c.pem, key: /etc/k.pem }\n  audit: logs/audit.jsonl\n  concurrency: 3\n  queue: 5\n  timeout: 90s\n  \
                    rows: 10\n  body: 4KiB\n  cache: 1MiB\n";
        let (said, problems) = settings(text);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(said.listen.to_string(), "127.0.0.1:9000");
        let postgres = said.postgres.map(|address| address.to_string());
        assert_eq!(postgres.as_deref(), Some("[::1]:5432"));
        let flight = said.flight.map(|address| address.to_string());
        assert_eq!(flight.as_deref(), Some("127.0.0.1:32010"));
        assert_eq!(
            said.hecone_login.map(|login| login.client_id).as_deref(),
            Some("till")
        );
        assert_eq!(said.hecone_currency.as_deref(), Some("EUR"));
        assert_eq!(
            said.audit.as_deref(),
            Some(Path::new("/project/logs/audit.jsonl"))
        );
        let tls = ServedCertificate {
            certificate: "/project/c.pem".into(),
            key: "/etc/k.pem".into(),
        };
        assert_eq!(said.tls, Some(tls));
        let provider = ServedProvider {
            issuer: "https://id.example.com/realms/north".to_owned(),
            audience: "tillhouse".to_owned(),
            claim: "email".to_owned(),
        };
        assert_eq!(said.oidc, Some(provider));
        assert_eq!((said.concurrency, said.queue), (3, 5));
        assert_eq!(said.timeout, Duration::from_secs(90));
        assert_eq!(
            (said.rows, said.body_bytes, said.cache_bytes),
            (10, 4 << 10, 1 << 20)
        );
    }

    #[test]
    fn each_wrong_value_is_told_with_its_place() {
        let text = "serve:\n  listen: here\n  hecone_currency: gold\n  concurrency: 0\n  timeout: soon\n  body: much\n  rows: 0\n";
        let (_, told) = settings(text);
        assert_eq!(told.len(), 6, "{told:?}");
        for (line, key) in [
            (2, "listen"),
            (3, "hecone_currency"),
            (4, "concurrency"),
            (5, "timeout"),
            (6, "body"),
            (7, "rows"),
        ] {
            assert!(
                told.iter()
                    .any(|told| told.contains(&format!("tillhouse.yaml:{line}:"))
                        && told.contains(&format!("`serve.{key}`"))),
                "{key}: {told:?}"
            );
        }
    }

    #[test]
    fn a_provider_of_tokens_has_an_issuer_and_an_audience() {
        let section = |text: &str| settings(&format!("serve:\n  oidc: {text}\n"));
        let (said, told) = section("{ issuer: 'https://id.example.com/', audience: till }");
        assert!(told.is_empty(), "{told:?}");
        let said = said.oidc.unwrap();
        assert_eq!(
            (said.issuer.as_str(), said.claim.as_str()),
            ("https://id.example.com/", "sub")
        );
        for wrong in [
            "{ issuer: '', audience: till }",
            "{ issuer: id.example.com, audience: till }",
            "{ issuer: 'https://id.example.com/?x=1', audience: till }",
            "{ issuer: 'https://id.example.com', audience: ' ' }",
            "{ issuer: 'https://id.example.com', audience: till, claim: '' }",
        ] {
            let (_, told) = section(wrong);
            assert_eq!(told.len(), 1, "{wrong}: {told:?}");
            assert!(told[0].contains("tillhouse.yaml:2:"), "{told:?}");
            assert!(told[0].contains("`serve.oidc."), "{told:?}");
        }
    }

    #[test]
    fn what_no_machine_can_do_is_refused() {
        for wrong in [
            "concurrency: 1025",
            "concurrency: 18446744073709551615",
            "queue: 65537",
            "timeout: 25h",
            "timeout: 100000000h",
            "body: 2GiB",
            "cache: 65GiB",
        ] {
            let (_, told) = settings(&format!("serve:\n  {wrong}\n"));
            assert_eq!(told.len(), 1, "{wrong}: {told:?}");
        }
        let most = "serve:\n  concurrency: 1024\n  queue: 65536\n  timeout: 24h\n  body: 1GiB\n  cache: 64GiB\n";
        assert!(settings(most).1.is_empty(), "{:?}", settings(most).1);
    }
}
