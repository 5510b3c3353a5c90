//! Origins that a source's requests may go to: its base URL, and no other host, scheme or port; and the one [`EndpointUrl`] outside it that hands
//! out tokens.
//!
//! Invariant: a URL that [`BaseUrl::join`] or [`follow`] hands out has the origin of the URL it came from, so a bearer token
//! never travels anywhere else, whatever a server writes into its links.

use serde::{Deserialize, Deserializer};
use std::fmt;
use tillhouse_model::{Error, Result};
use url::{Host, Url};

/// The address under which all of a source's paths lie: http or https, a host, maybe a path; no user, query or fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Reads what a user wrote. Errors with [`tillhouse_model::ErrorKind::Config`], never quoting credentials.
    pub fn parse(text: &str) -> Result<Self> {
        address(
            "base_url",
            text,
            "Write it like https://api.example.com or http://127.0.0.1:8080/prefix.",
        )
        .map(Self)
    }

    /// The address itself.
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// The URL of a path below the base, without a query. The path is taken as written (already percent-encoded) and starts with '/'.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] where the path leads elsewhere.
    pub fn join(&self, path: &str) -> Result<Url> {
        check_path("the path", path)?;
        let mut url = self.0.clone();
        let joined = format!("{}{}", self.0.path().trim_end_matches('/'), path);
        url.set_path(&joined);
        Ok(url)
    }

    /// Scheme, host and port, for messages.
    pub fn origin(&self) -> String {
        name(&self.0)
    }

    /// True if requests stay on this machine.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(domain)) => domain.eq_ignore_ascii_case("localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// True if requests can be read on the way: http to another machine.
    pub fn is_exposed(&self) -> bool {
        self.0.scheme() == "http" && !self.is_loopback()
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(told)
    }
}

/// Address outside the base URL, on a server of its own, such as an OAuth2 token endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl(Url);

impl EndpointUrl {
    /// Reads what a user wrote. Errors with [`tillhouse_model::ErrorKind::Config`], never quoting credentials.
    pub fn parse(text: &str) -> Result<Self> {
        address(
            "the address",
            text,
            "Write it whole, like https://id.example.com/oauth2/token.",
        )
        .map(Self)
    }

    /// The address.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The server it lies on.
    pub(crate) fn server(&self) -> BaseUrl {
        BaseUrl(self.0.clone())
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl<'de> Deserialize<'de> for EndpointUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(told)
    }
}

/// An http or https address with a host; `what` names it in errors, and `example` is their hint.
fn address(what: &str, text: &str, example: &str) -> Result<Url> {
    let bad = |why: String| Err(Error::config(format!("{what} {why}")).hint(example));
    let text = text.trim();
    if text.is_empty() {
        return bad("is empty".into());
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            return bad("has no http:// or https:// before its host".into());
        }
        Err(e) => return bad(format!("is not a URL: {e}")),
    };
    if !matches!(url.scheme(), "http" | "https") {
        // The text before the first ':' may be the beginning of a secret that went to the wrong key.
        return bad("has another scheme than http or https".into());
    }
    if !url.has_host() {
        return bad("names no host".into());
    }
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if url.domain().is_some_and(|host| !host.chars().all(usual)) {
        return bad("names a host with characters that no host has".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            Error::config(format!("{what} holds a user name or password")).hint(
                "Put credentials into their own keys of the connection; URLs end up in logs.",
            ),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return bad("has a query or a fragment".into());
    }
    Ok(url)
}

/// Error for serde, which shows one line only.
fn told<E: serde::de::Error>(error: Error) -> E {
    let hint = error
        .hint_text()
        .map(|h| format!(". {h}"))
        .unwrap_or_default();
    E::custom(format!("{error}{hint}"))
}

/// Checks a configured path: it starts with '/', stays below the base and carries no query. `key` names it in the error.
pub fn check_path(key: &str, path: &str) -> Result<()> {
    let bad = |why: &str| {
        Err(Error::config(format!("{key} {path:?} {why}"))
            .hint("Write a path below base_url, like /transactions."))
    };
    if !path.starts_with('/') || path.starts_with("//") {
        return bad("does not start with one '/'");
    }
    if path.contains(['?', '#', '\\']) || path.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        return bad("holds a query, a fragment, a backslash or white space");
    }
    let dots = |segment: &str| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    };
    if path.split('/').any(dots) {
        return bad("climbs with '.' or '..'");
    }
    Ok(())
}

/// Writes a record's id as one path segment.
///
/// Errors with [`tillhouse_model::ErrorKind::Data`] for an id that is empty, too long, or could lead to another path.
pub fn path_segment(id: &str) -> Result<String> {
    if id.is_empty()
        || id.len() > 256
        || id == "."
        || id == ".."
        || id.chars().any(char::is_control)
    {
        return Err(Error::data(
            "an id cannot be asked for: it is empty, too long, or not a name",
        ));
    }
    let mut segment = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            segment.push(char::from(byte));
        } else {
            use std::fmt::Write;
            write!(segment, "%{byte:02X}")
                .map_err(|_| Error::internal("cannot write to a string"))?;
        }
    }
    Ok(segment)
}

/// Target of a link that was found at `current`.
///
/// Errors with [`tillhouse_model::ErrorKind::Protocol`], naming both origins, where it leaves the origin of `current`.
pub fn follow_link(current: &Url, link: &str) -> Result<Url> {
    let next = current
        .join(link)
        .map_err(|e| Error::protocol(format!("a paging link is not a URL: {e}")))?;
    if !same(current, &next) {
        return Err(Error::protocol(format!(
            "a paging link leads from {} to {}, which is not followed with our credentials",
            name(current),
            name(&next)
        ))
        .hint("Set base_url to the address the server itself uses in its links."));
    }
    Ok(next)
}

/// True if two URLs have the same scheme, host and port.
pub(crate) fn same(a: &Url, b: &Url) -> bool {
    a.origin().is_tuple() && a.origin() == b.origin()
}

/// Scheme, host and port as text; never a user name, path or query.
pub(crate) fn name(url: &Url) -> String {
    match url.port() {
        Some(port) => format!("{}://{}:{port}", url.scheme(), url.host_str().unwrap_or("")),
        None => format!("{}://{}", url.scheme(), url.host_str().unwrap_or("")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::ErrorKind;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_path_lands_below_the_base_with_or_without_slashes() {
        for base in ["http://127.0.0.1:1/hecone", "http://127.0.0.1:1/hecone/"] {
            let joined = BaseUrl::parse(base).unwrap().join("/auth/login").unwrap();
            assert_eq!(joined.as_str(), "http://127.0.0.1:1/hecone/auth/login");
        }
        let joined = BaseUrl::parse("https://api.example.com")
            .unwrap()
            .join("/t")
            .unwrap();
        assert_eq!(joined.as_str(), "https://api.example.com/t");
    }

    #[test]
    fn bases_that_cannot_be_right_are_refused_without_quoting_passwords() {
        for text in [
            "",
            "api.example.com/x",
            "ftp://example.com",
            "https://example.com/?key=1",
            "https://u:hunter2@example.com",
            "http://${HOST}",
            "http://$HOST/x",
            "http://{host}",
            "http://a b",
        ] {
            let error = BaseUrl::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(error.hint_text().is_some(), "{text}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn paths_cannot_climb() {
        let base = BaseUrl::parse("http://127.0.0.1/a").unwrap();
        for path in [
            "b",
            "//evil",
            "/x/../y",
            "/%2e%2E/y",
            "/x?y=1",
            "/x#y",
            "/x y",
            "/\\evil",
        ] {
            assert!(base.join(path).is_err(), "{path}");
        }
    }

    #[test]
    fn ids_become_one_segment() {
        assert_eq!(path_segment("8a159c56-1785").unwrap(), "8a159c56-1785");
        assert_eq!(
            path_segment("a/../b?c#d%2e").unwrap(),
            "a%2F..%2Fb%3Fc%23d%252e"
        );
        assert_eq!(path_segment("ü").unwrap(), "%C3%BC");
        for id in ["", ".", "..", "a\nb", &"x".repeat(257)] {
            assert!(path_segment(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn links_stay_at_home() {
        let here = url("https://api.example.com/v1/list?page=1");
        assert_eq!(
            follow_link(&here, "/v1/list?page=2").unwrap().as_str(),
            "https://api.example.com/v1/list?page=2"
        );
        assert_eq!(
            follow_link(&here, "?page=2").unwrap().as_str(),
            "https://api.example.com/v1/list?page=2"
        );
        assert!(follow_link(&here, "https://api.example.com:443/v1/list").is_ok());
        for away in [
            "https://evil.example.com/v1",
            "http://api.example.com/v1",
            "https://api.example.com:8443/v1",
            "//evil.example.com/",
            "data:x",
        ] {
            let error = follow_link(&here, away).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{away}");
            assert!(
                error.to_string().contains("https://api.example.com"),
                "{error}"
            );
        }
    }

    #[test]
    fn http_beyond_this_machine_is_exposed() {
        assert!(
            BaseUrl::parse("http://api.example.com")
                .unwrap()
                .is_exposed()
        );
        assert!(
            !BaseUrl::parse("https://api.example.com")
                .unwrap()
                .is_exposed()
        );
        assert!(!BaseUrl::parse("http://localhost:1").unwrap().is_exposed());
        assert!(!BaseUrl::parse("http://[::1]:1").unwrap().is_exposed());
    }
}
