//! Messages of the protocol, version 3.0: framed, read within their bounds, written in batches.
//!
//! Invariant: nothing is read beyond the end of a message, whatever it says of its own parts, and no message is longer than a limit; a message that does not hold to that is
//! an error and never a panic.
//!
//! Rejected: `pgwire`'s decoder, which takes the lengths within a message at their word, and its server, which begins every statement of a text before the rows of the
//! first have been sent.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a message of who has not come in, at most, as PostgreSQL has it for the first.
pub(super) const MOST_BEFORE_LOGIN: usize = 10_000;
/// Bytes that a client may send ahead while it waits for an answer.
const AHEAD: usize = 1 << 20;
/// Bytes that are gathered before they are sent.
const GATHERED: usize = 64 << 10;

/// End of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client left, or takes nothing any more.
    Left,
    /// Bytes that are no message.
    Broken(&'static str),
}

/// A connection as messages.
pub(super) struct Wire<S> {
    stream: S,
    input: BytesMut,
    output: BytesMut,
    /// Bytes of a message, at most.
    most: usize,
    /// Bytes that were written.
    pub(super) written: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, most: usize) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            most,
            written: 0,
        }
    }

    /// Lets messages be as long as this from now on.
    pub(super) fn allow(&mut self, most: usize) {
        self.most = most;
    }

    /// True if more has been read than was taken.
    pub(super) fn is_ahead(&self) -> bool {
        !self.input.is_empty()
    }

    /// The stream below, for who goes on with it in another way.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    async fn fill(&mut self) -> Result<(), Ended> {
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) | Err(_) => Err(Ended::Left),
            Ok(_) => Ok(()),
        }
    }

    /// Body of a message whose length stands at a place of what was read; none while it has not come whole.
    fn framed(&mut self, at: usize, most: usize) -> Result<Option<Bytes>, Ended> {
        let Some(length) = self.input.get(at..at + 4) else {
            return Ok(None);
        };
        let length = <[u8; 4]>::try_from(length).map_or(0, u32::from_be_bytes);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < 4 {
            return Err(Ended::Broken("a message has a length that none has"));
        }
        if length > most {
            return Err(Ended::Broken("a message is longer than one may be"));
        }
        if self.input.len() < at + length {
            return Ok(None);
        }
        self.input.advance(at + 4);
        Ok(Some(self.input.split_to(length - 4).freeze()))
    }

    /// The first message, which has no kind.
    pub(super) async fn first(&mut self) -> Result<Bytes, Ended> {
        loop {
            if let Some(body) = self.framed(0, MOST_BEFORE_LOGIN)? {
                return Ok(body);
            }
            self.fill().await?;
        }
    }

    /// The next message: its kind and its body.
    pub(super) async fn message(&mut self) -> Result<(u8, Bytes), Ended> {
        loop {
            let kind = self.input.first().copied();
            if let Some(kind) = kind
                && let Some(body) = self.framed(1, self.most)?
            {
                return Ok((kind, body));
            }
            self.fill().await?;
        }
    }

    /// Waits until the client has left. What it sends ahead is kept, as far as there is room.
    pub(super) async fn left(&mut self) {
        while self.input.len() < AHEAD {
            if self.fill().await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Writes a byte that is no message: the answer to the wish for TLS.
    pub(super) fn put_byte(&mut self, byte: u8) {
        self.output.put_u8(byte);
    }

    /// Writes a message.
    pub(super) fn put(&mut self, kind: u8, fill: impl FnOnce(&mut BytesMut)) {
        let _ = self.try_put(kind, |out| {
            fill(out);
            Ok::<_, std::convert::Infallible>(())
        });
    }

    /// Writes a message, or nothing of it where that fails.
    pub(super) fn try_put<E>(
        &mut self,
        kind: u8,
        fill: impl FnOnce(&mut BytesMut) -> Result<(), E>,
    ) -> Result<(), E> {
        let at = self.output.len();
        self.output.put_u8(kind);
        self.output.put_u32(0);
        if let Err(error) = fill(&mut self.output) {
            self.output.truncate(at);
            return Err(error);
        }
        let length = self.output.len() - at - 1;
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some(place) = self.output.get_mut(at + 1..at + 5) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    /// Sends what was written.
    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        let length = u64::try_from(self.output.len()).unwrap_or(u64::MAX);
        self.written = self.written.saturating_add(length);
        let sent = self.stream.write_all(&self.output).await;
        self.output.clear();
        sent.map_err(|_| Ended::Left)?;
        self.stream.flush().await.map_err(|_| Ended::Left)
    }

    /// Sends what was written, once it is much.
    pub(super) async fn flush_much(&mut self) -> Result<(), Ended> {
        match self.output.len() < GATHERED {
            true => Ok(()),
            false => self.flush().await,
        }
    }
}

/// Writes a text as the protocol ends one.
pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    // A nought within would end it.
    out.put_slice(text.replace('\0', " ").as_bytes());
    out.put_u8(0);
}

/// Parts of a message that are read one after the other.
pub(super) struct Parts(Bytes);

/// Contradiction within a message.
const SHORT: Ended = Ended::Broken("a message ends before its parts do");

impl Parts {
    pub(super) fn of(body: Bytes) -> Self {
        Self(body)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<Bytes, Ended> {
        match self.0.len() < count {
            true => Err(SHORT),
            false => Ok(self.0.split_to(count)),
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Ended> {
        let byte = self.bytes(1)?;
        Ok(byte.first().copied().unwrap_or_default())
    }

    pub(super) fn short(&mut self) -> Result<i16, Ended> {
        Ok(self.bytes(2)?.get_i16())
    }

    /// A number of parts that follow.
    pub(super) fn count(&mut self) -> Result<u16, Ended> {
        Ok(self.bytes(2)?.get_u16())
    }

    pub(super) fn long(&mut self) -> Result<i32, Ended> {
        Ok(self.bytes(4)?.get_i32())
    }

    /// A text up to its end.
    pub(super) fn text(&mut self) -> Result<String, Ended> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(SHORT)?;
        let text = self.bytes(end)?;
        self.0.advance(1);
        match std::str::from_utf8(&text) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Ended::Broken("a text is no UTF-8")),
        }
    }

    /// A value behind its length; none where that is -1.
    pub(super) fn value(&mut self) -> Result<Option<Bytes>, Ended> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.bytes(length).map(Some),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(Ended::Broken("a value has a length that none has")),
        }
    }

    /// Everything that is left.
    pub(super) fn rest(self) -> Bytes {
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    async fn read(bytes: &[u8], most: usize) -> Result<(u8, Bytes), Ended> {
        let (mut theirs, ours) = duplex(64);
        theirs.write_all(bytes).await.unwrap();
        drop(theirs);
        Wire::new(ours, most).message().await
    }

    #[tokio::test]
    async fn a_message_is_read_whole_or_refused() {
        let whole = read(&[b'Q', 0, 0, 0, 6, b'a', 0, b'X'], 100).await;
        assert_eq!(whole, Ok((b'Q', Bytes::from_static(b"a\0"))));
        assert_eq!(read(&[b'Q', 0, 0, 0, 6, b'a'], 100).await, Err(Ended::Left));
        for broken in [
            [b'Q', 0, 0, 0, 3],
            [b'Q', 0, 0, 0, 101],
            [b'Q', 255, 255, 255, 255],
        ] {
            assert!(matches!(read(&broken, 100).await, Err(Ended::Broken(_))));
        }
    }

    #[test]
    fn parts_end_with_their_message() {
        let mut parts = Parts::of(Bytes::from_static(b"ab\0\0\x01\0\0\0\x09x"));
        assert_eq!(parts.text(), Ok("ab".to_owned()));
        assert_eq!(parts.short(), Ok(1));
        assert_eq!(parts.value(), Err(SHORT));
        assert_eq!(Parts::of(Bytes::from_static(b"ab")).text(), Err(SHORT));
        let null = Bytes::from_static(&[255; 4]);
        assert_eq!(Parts::of(null).value(), Ok(None));
        for length in [-2_i32, i32::MIN] {
            let body = Bytes::copy_from_slice(&length.to_be_bytes());
            assert!(Parts::of(body).value().is_err(), "{length}");
        }
        assert!(Parts::of(Bytes::from_static(&[255, 0])).text().is_err());
    }

    #[tokio::test]
    async fn what_fails_half_way_is_not_sent() {
        let (ours, mut theirs) = duplex(64);
        let mut wire = Wire::new(ours, 100);
        wire.put(b'Z', |out| out.put_u8(b'I'));
        let failed = wire.try_put(b'D', |out| {
            out.put_u8(1);
            Err::<(), _>("no")
        });
        assert_eq!(failed, Err("no"));
        wire.flush().await.unwrap();
        drop(wire);
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, [b'Z', 0, 0, 0, 5, b'I']);
    }
}
