//! Address of a worker.
//!
//! Invariant: an address has a host and a port, and nothing else; errors and logs name a worker as its address was written.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use tillhouse_model::{Error, Result};
use url::{Host, Url};

/// Host and port of a worker, like `10.0.0.2:7433`.
///
/// ```
/// use tillhouse_workers::WorkerAddress;
///
/// let address: WorkerAddress = "worker-1:7433".parse()?;
/// assert_eq!(address.to_string(), "worker-1:7433");
/// assert!("worker-1".parse::<WorkerAddress>().is_err());
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerAddress {
    written: Arc<str>,
    host: Host,
    port: u16,
}

impl WorkerAddress {
    /// True for this machine's own addresses, which no other machine reaches.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(ip) => IpAddr::V4(*ip).is_loopback(),
            Host::Ipv6(ip) => IpAddr::V6(*ip).is_loopback(),
        }
    }

    /// The address as it was written.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.written
    }

    /// URL of the worker, with TLS or without.
    pub(crate) fn url(&self, is_encrypted: bool) -> Result<Url> {
        let scheme = if is_encrypted { "https" } else { "http" };
        Url::parse(&format!("{scheme}://{}:{}", self.host, self.port))
            .map_err(|error| Error::internal("an address is no URL").because(error))
    }
}

impl FromStr for WorkerAddress {
    type Err = Error;

    /// Errors with [`tillhouse_model::ErrorKind::Config`].
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let read = text.rsplit_once(':').and_then(|(host, port)| {
            let host = Host::parse(host).ok()?;
            let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
            Some((host, port))
        });
        match read {
            Some((host, port)) => Ok(Self {
                written: text.into(),
                host,
                port,
            }),
            None => Err(
                Error::config(format!("{text:?} is no address of a worker"))
                    .hint("Write a host and a port, like worker-1:7433; an IPv6 address stands in brackets: [::1]:7433."),
            ),
        }
    }
}

impl fmt::Display for WorkerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let loopback = [
            "127.0.0.1:7433",
            "localhost:80",
            "[::1]:7433",
            " 127.9.9.9:1 ",
        ];
        for text in loopback {
            let address: WorkerAddress = text.parse().unwrap();
            assert!(address.is_loopback(), "{text}");
            assert_eq!(address.url(false).unwrap().scheme(), "http");
        }
        for text in [
            "10.0.0.2:7433",
            "worker-1.example.com:443",
            "[2001:db8::1]:1",
        ] {
            let address: WorkerAddress = text.parse().unwrap();
            assert!(!address.is_loopback(), "{text}");
            assert_eq!(address.to_string(), text);
            assert_eq!(address.url(true).unwrap().scheme(), "https");
        }
        for text in [
            "",
            "worker",
            "worker:",
            "worker:0",
            "worker:70000",
            ":1",
            "a b:1",
            "http://a:1",
            "::1",
        ] {
            let error = text.parse::<WorkerAddress>().unwrap_err();
            assert!(error.hint_text().is_some(), "{text}: {error}");
        }
    }
}
