//! A connection whose peer has to read on: what is sent to it must move within a time.
//!
//! Invariant: a peer that takes nothing for that long is given up, and the answer that it was sent goes with it. While bytes move, however few, nobody is hurried: the time
//! that an answer may take is another limit.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A stream that is given up when its peer takes nothing any more.
pub(crate) struct PatientStream<S> {
    inner: S,
    patience: Duration,
    /// The end of patience, while something waits to be taken.
    end: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl<S> PatientStream<S> {
    pub(crate) fn new(inner: S, patience: Duration) -> Self {
        Self {
            inner,
            patience,
            end: Box::pin(sleep(patience)),
            is_waiting: false,
        }
    }

    /// Outcome of an attempt to send, or the end of patience.
    fn within<T>(&mut self, sent: Poll<Result<T>>, context: &mut Context<'_>) -> Poll<Result<T>> {
        if sent.is_ready() {
            self.is_waiting = false;
            return sent;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.end.as_mut().reset(Instant::now() + self.patience);
        }
        self.end.as_mut().poll(context).map(|()| {
            Err(Error::new(
                ErrorKind::TimedOut,
                "the peer takes nothing any more",
            ))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let sent = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.within(sent, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let sent = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.within(sent, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let sent = Pin::new(&mut self.inner).poll_flush(context);
        self.within(sent, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let sent = Pin::new(&mut self.inner).poll_shutdown(context);
        self.within(sent, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (ours, theirs) = duplex(4);
        let mut ours = PatientStream::new(ours, Duration::from_millis(20));
        let outcome = ours.write_all(&[7; 8]).await;
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(theirs);
    }

    #[tokio::test]
    async fn a_peer_that_reads_on_gets_everything() {
        let (ours, mut theirs) = duplex(4);
        let mut ours = PatientStream::new(ours, Duration::from_secs(60));
        let sending = tokio::spawn(async move { ours.write_all(&[7; 100]).await });
        let mut taken = Vec::new();
        theirs.read_to_end(&mut taken).await.unwrap();
        assert_eq!(taken, [7; 100]);
        sending.await.unwrap().unwrap();
    }
}
