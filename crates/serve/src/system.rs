//! Word of clients that are gone, as the operating system has it.
//!
//! Invariant: nothing depends on it. A system that does not tell serves all the same, and what it refuses is logged and goes on.

use socket2::{SockRef, TcpKeepalive};
use std::time::Duration;
use tokio::net::TcpStream;

/// Time without a word after which a client is asked if it is still there.
const QUIET: Duration = Duration::from_secs(60);
/// Time between two questions.
const ASKED_EVERY: Duration = Duration::from_secs(10);

/// Has the system ask a client that says nothing if it is still there, and end the connection of one that is not.
pub(crate) fn ask_if_there(stream: &TcpStream) {
    let asked = TcpKeepalive::new()
        .with_time(QUIET)
        .with_interval(ASKED_EVERY);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&asked) {
        tracing::debug!("a client is not asked if it is still there: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_client_that_says_nothing_is_asked_if_it_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, _) = accepted.unwrap();
        assert!(!SockRef::from(&stream).keepalive().unwrap());
        ask_if_there(&stream);
        assert!(SockRef::from(&stream).keepalive().unwrap());
    }
}
