//! Servers whose certificates are not trusted: told as that, once, with what to do.
//!
//! Invariant: the trusted certificate differs from each other one in what the error names alone. All are of one key, and made to be valid until 2120, but for those that are not.

use crate::project::{TestProject, run_to_end};
use crate::source_files;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Attempts of a request that may succeed when it is made again.
const ATTEMPTS: usize = 3;

/// The file of a certificate or key.
pub(crate) fn fixture(name: &str) -> PathBuf {
    source_files::root().join(format!("tests/fixtures/certificates/{name}.pem"))
}

/// Starts a server that shows a certificate and lets nobody in; its origin, and the connections that it took.
fn serve(certificate: &str) -> (String, Arc<AtomicUsize>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_file(fixture(certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("server-key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("https://{}", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            // A client that does not trust the server is gone by now.
            let _ = refuse(socket, &config);
        }
    });
    (origin, taken)
}

fn refuse(mut socket: TcpStream, config: &Arc<ServerConfig>) -> io::Result<()> {
    let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    let mut first = [0];
    stream.read_exact(&mut first)?;
    stream.write_all(
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )?;
    stream.flush()?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_is_told_once_with_what_to_do() {
    for (certificate, told) in [
        ("trusted", None),
        ("self-issued", Some("was issued by itself")),
        (
            "unknown-issuer",
            Some("was issued by nobody whom this machine trusts"),
        ),
        ("expired", Some("has expired")),
        ("not-yet-valid", Some("is not valid yet")),
        ("another-name", Some("is for another name")),
    ] {
        let (origin, taken) = serve(certificate);
        let project = TestProject::new(&origin).await;
        let mut check = project.command(&["check"]);
        check.env("SSL_CERT_FILE", fixture("authority"));
        let ran = run_to_end(check).await;
        let shown = format!("{}{}", ran.stdout, ran.stderr);
        assert_ne!(ran.code, Some(0), "{certificate}: {shown}");
        let connections = taken.load(Ordering::Relaxed);
        assert!(connections > 0, "{certificate}: {shown}");
        match told {
            None => assert!(
                !shown.contains("certificate") && !shown.contains("cannot reach"),
                "{shown}"
            ),
            Some(told) => {
                let expected = format!("cannot trust {origin}: its certificate {told}");
                assert!(shown.contains(&expected), "{certificate}: {shown}");
                assert!(shown.contains("SSL_CERT_FILE"), "{certificate}: {shown}");
                assert!(connections < ATTEMPTS, "{certificate}: {connections}");
            }
        }
    }
}
