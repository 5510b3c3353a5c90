//! Connections that can be made to break: a listener whose streams carry a budget of bytes they may still write.
//!
//! Invariant: with an unlimited budget a stream behaves as the plain one; with a spent budget it writes nothing more and closes.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const UNLIMITED: u64 = u64::MAX;

/// The handle by which a request's handler breaks the connection it came on.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionHandle(Arc<ConnectionState>);

/// Bytes that a connection may still write, and whether it is to be reset.
#[derive(Debug)]
struct ConnectionState {
    budget: AtomicU64,
    reset: AtomicBool,
}

impl ConnectionHandle {
    fn new() -> Self {
        Self(Arc::new(ConnectionState {
            budget: AtomicU64::new(UNLIMITED),
            reset: AtomicBool::new(false),
        }))
    }

    /// Lets `bytes` more out, then closes.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.0.budget.store(bytes, Ordering::Release);
    }

    /// Resets the connection instead of answering.
    pub(crate) fn reset(&self) {
        self.0.reset.store(true, Ordering::Release);
        self.cut_after(0);
    }
}

impl Connected<IncomingStream<'_, LoopbackListener>> for ConnectionHandle {
    fn connect_info(stream: IncomingStream<'_, LoopbackListener>) -> Self {
        stream.io().line.clone()
    }
}

/// The listener.
#[derive(Debug)]
pub(crate) struct LoopbackListener(pub TcpListener);

impl Listener for LoopbackListener {
    type Io = BreakableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BreakableStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        (
            BreakableStream {
                stream,
                line: ConnectionHandle::new(),
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Stream that closes once its budget of bytes is written.
#[derive(Debug)]
pub(crate) struct BreakableStream {
    stream: TcpStream,
    line: ConnectionHandle,
}

impl AsyncRead for BreakableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for BreakableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let budget = self.line.0.budget.load(Ordering::Acquire);
        if budget == UNLIMITED {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        if budget == 0 {
            if self.line.0.reset.load(Ordering::Acquire) {
                // With no linger, closing sends a reset.
                self.stream.set_zero_linger()?;
            }
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::BrokenPipe)));
        }
        let most = bytes
            .len()
            .min(usize::try_from(budget).unwrap_or(usize::MAX));
        let part = bytes.get(..most).unwrap_or(bytes);
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, part))?;
        self.line
            .0
            .budget
            .fetch_sub(written as u64, Ordering::AcqRel);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.line.0.budget.load(Ordering::Acquire) == UNLIMITED {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        }
        let first = slices
            .iter()
            .find(|slice| !slice.is_empty())
            .map_or(&[][..], |slice| slice);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
