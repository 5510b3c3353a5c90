//! Failures of connections, as errors that say what to do.
//!
//! Invariant: an error names the server's origin and the innermost cause, never a URL's path or query.

use super::HttpClientInner;
use crate::retry::AttemptFailure;
use tillhouse_model::{Error, ErrorKind};

impl HttpClientInner {
    /// Reason that no answer began. reqwest's own text holds the URL, so only the innermost cause is shown.
    pub(super) fn not_sent(&self, error: &reqwest::Error) -> AttemptFailure {
        let origin = self.base.origin();
        if error.is_builder() {
            return AttemptFailure::permanent(
                Error::internal("cannot build a request").because(root_cause(error)),
            );
        }
        if let Some(certificate) = certificate_trouble(error) {
            let error = Error::new(ErrorKind::Unreachable, format!("cannot trust {origin}: {certificate}"))
                .retryable(false)
                .hint(format!(
                    "Check {} and this machine's clock. Where the server's authority is your own, add it to the certificates that this machine \
                     trusts, or name its file in the environment variable SSL_CERT_FILE.",
                    self.key
                ));
            return AttemptFailure::permanent(error);
        }
        let message = if error.is_connect() {
            format!("cannot reach {origin}")
        } else if error.is_timeout() {
            format!("{origin} does not answer in time")
        } else {
            format!("the connection to {origin} broke before the answer")
        };
        let hint = match self.proxy {
            Some(variable) => format!(
                "Requests go through the proxy that the environment variable {variable} names: check it, or list the server in \
                 NO_PROXY; then {} (host and port) and the network.",
                self.key
            ),
            None => format!(
                "Check {} (host and port), the network, and any proxy or VPN the server needs.",
                self.key
            ),
        };
        AttemptFailure::transient(
            Error::new(ErrorKind::Unreachable, message)
                .because(root_cause(error))
                .hint(hint),
        )
    }
}

/// The innermost cause, as text; it names no URL.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = match std::error::Error::source(error) {
        Some(source) => source,
        None => return "no further cause is known".into(),
    };
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Fault of a server's certificate, where that is why no connection was made.
fn certificate_trouble(error: &reqwest::Error) -> Option<String> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(reason) = distrust(error) {
            return Some(reason);
        }
        cause = error.source();
    }
    None
}

/// An error of TLS's, in however many errors of I/O it is wrapped: these show their content's cause, and not their content.
fn distrust(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    use rustls::CertificateError as Of;
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        return distrust(io.get_ref()?);
    }
    let reason = match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(reason) => reason,
        rustls::Error::NoCertificatesPresented => return Some("it shows no certificate".into()),
        _ => return None,
    };
    let text = reason.to_string();
    let says = match reason {
        Of::Expired | Of::ExpiredContext { .. } => "its certificate has expired",
        Of::NotValidYet | Of::NotValidYetContext { .. } => "its certificate is not valid yet",
        Of::NotValidForName | Of::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        Of::Revoked => "its certificate has been revoked",
        Of::UnknownIssuer => "its certificate was issued by nobody whom this machine trusts",
        _ if text.contains("CaUsedAsEndEntity") => "its certificate was issued by itself",
        _ => return Some(format!("its certificate is not valid: {text}")),
    };
    Some(says.to_owned())
}
