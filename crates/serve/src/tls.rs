//! TLS: the certificate that the server shows.
//!
//! Invariant: what cannot be used is refused when the server starts, with the file; no error quotes a file.

use crate::options::TlsFiles;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use tillhouse_lake::read_regular;
use tillhouse_model::{Error, Result};

/// Settings of a server that shows a certificate: TLS 1.2 and 1.3.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`] for files that are not there or do not belong together.
pub(crate) fn server_config(files: &TlsFiles) -> Result<ServerConfig> {
    let wrong = |what: &'static str, file: &Path| {
        Error::config(what)
            .at("file", file.display().to_string())
            .hint("`serve.tls` in tillhouse.yaml names a certificate with its chain and its private key, PEM both.")
    };
    let of_certificate = || wrong("the certificate cannot be read", &files.certificate);
    let of_key = || wrong("the private key cannot be read", &files.key);
    let certificates =
        read_regular(&files.certificate).map_err(|error| of_certificate().because(error))?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificates)
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| of_certificate())?;
    if chain.is_empty() {
        return Err(of_certificate());
    }
    let key = read_regular(&files.key).map_err(|error| of_key().because(error))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| of_key())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS cannot be set up").because(error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|_| wrong("the private key is not the certificate's", &files.key))
}

/// The same settings for a listener that speaks HTTP/2 alone. Clients of gRPC take no connection on which that was not agreed.
pub(crate) fn for_http2(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_certificate_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let files = |certificate: &str| TlsFiles {
            certificate: folder.path().join(certificate),
            key: folder.path().join("key.pem"),
        };
        std::fs::write(folder.path().join("empty.pem"), "SECRET").unwrap();
        for name in ["missing.pem", "empty.pem"] {
            let error = server_config(&files(name)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_or_a_device_or_a_circle_of_links_is_told_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(folder.path().join("pipe"))
            .status();
        assert!(made.unwrap().success());
        for (link, target) in [("zero", "/dev/zero"), ("circle", "circle")] {
            std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
        }
        for (name, told) in [
            ("pipe", "a pipe"),
            ("zero", "a device"),
            ("circle", ""),
            ("", "a folder"),
        ] {
            let files = TlsFiles {
                certificate: folder.path().join(name),
                key: folder.path().join("key.pem"),
            };
            let error = server_config(&files).unwrap_err();
            assert_eq!(error.message(), "the certificate cannot be read");
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
