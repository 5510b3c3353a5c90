//! The proxies that the environment names, which the HTTP library reads by itself and passes over in silence where it cannot use them.
//!
//! Invariant: what a variable holds is never shown, as it may hold a password; its name is.

use tillhouse_model::{Error, Result};
use url::Url;

/// The variables for a scheme, in the order the HTTP library looks at them.
fn variables(scheme: &str) -> [&'static str; 4] {
    match scheme {
        "https" => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        _ => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    }
}

/// The variable that names the proxy for a server, if one does. `lookup` reads the environment.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`], naming the variable, where it holds what no proxy can be made of.
pub(crate) fn variable(
    server: &Url,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<&'static str>> {
    let set = |name: &&str| lookup(name).filter(|value| !value.trim().is_empty());
    let Some((name, value)) = variables(server.scheme())
        .iter()
        .find_map(|name| Some((*name, set(name)?)))
    else {
        return Ok(None);
    };
    let except = ["NO_PROXY", "no_proxy"]
        .iter()
        .find_map(|name| lookup(name))
        .unwrap_or_default();
    if is_excepted(server, &except) {
        return Ok(None);
    }
    if is_usable(&value) {
        return Ok(Some(name));
    }
    Err(Error::config(format!("the environment variable {name} does not name a proxy that can be used"))
        .hint(format!("Set {name} to an address like http://proxy.example.com:3128, or unset it; NO_PROXY lists servers that need none.")))
}

/// True if the list of servers that need no proxy has this one: its name, a domain it lies in, or
/// all.
fn is_excepted(server: &Url, list: &str) -> bool {
    let host = server
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']']);
    list.split(',')
        .map(|entry| entry.trim().trim_start_matches('.'))
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let inside = host.len().checked_sub(entry.len()).is_some_and(|at| {
                host.get(at..)
                    .is_some_and(|end| end.eq_ignore_ascii_case(entry))
                    && (at == 0 || host[..at].ends_with('.'))
            });
            entry == "*" || inside
        })
}

/// True if this can be a proxy: `http` or `https`, or no scheme, which means `http`.
fn is_usable(value: &str) -> bool {
    let value = value.trim();
    let whole = if value.contains("://") {
        value.to_owned()
    } else {
        format!("http://{value}")
    };
    Url::parse(&whole).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
    }) && !value.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(server: &str, environment: &[(&str, &str)]) -> Result<Option<&'static str>> {
        let lookup = |name: &str| {
            environment
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        variable(&Url::parse(server).unwrap(), lookup)
    }

    #[test]
    fn the_variable_of_the_scheme_is_found() {
        let api = "https://api.example.com/x";
        assert_eq!(asked(api, &[]).unwrap(), None);
        assert_eq!(
            asked(api, &[("HTTP_PROXY", "garbage garbage")]).unwrap(),
            None
        );
        assert_eq!(
            asked(api, &[("https_proxy", "http://proxy:3128")]).unwrap(),
            Some("https_proxy")
        );
        assert_eq!(
            asked(
                api,
                &[("ALL_PROXY", "user:pw@proxy:3128"), ("HTTPS_PROXY", " ")]
            )
            .unwrap(),
            Some("ALL_PROXY")
        );
        assert_eq!(
            asked("http://api.example.com", &[("http_proxy", "proxy")]).unwrap(),
            Some("http_proxy")
        );
        for except in ["*", "example.com", ".example.com", "x, API.example.com"] {
            assert_eq!(
                asked(api, &[("HTTPS_PROXY", "::"), ("NO_PROXY", except)]).unwrap(),
                None,
                "{except}"
            );
        }
        assert!(
            asked(
                api,
                &[("HTTPS_PROXY", "::"), ("NO_PROXY", "ample.com,other.com,")]
            )
            .is_err()
        );
    }

    #[test]
    fn what_no_proxy_can_be_made_of_is_named_and_not_shown() {
        for value in [
            "::",
            "http://",
            "ftp://hunter2",
            "http://hunter2:port",
            "hunter2 hunter2",
            "socks5://hunter2:1080",
            "http://u:hunter2@",
        ] {
            let error = asked("https://api.example.com", &[("HTTPS_PROXY", value)]).unwrap_err();
            assert_eq!(error.kind(), tillhouse_model::ErrorKind::Config);
            assert!(error.message().contains("HTTPS_PROXY"), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
