//! Decompresses gzip while it arrives.
//!
//! Invariant: what comes out is never longer than the limit, checked before it is kept; a stream that is cut off, or whose checksum is
//! wrong, is an error. Members that follow each other are one body, as RFC 1952 has it; what follows the last one and is none is ignored.

use flate2::write::GzDecoder;
use std::fmt;
use std::io::{self, Write};

/// First byte of every gzip member, and of no JSON document.
const FIRST_BYTE: u8 = 0x1f;

/// True if a body begins as gzip does.
pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.first() == Some(&FIRST_BYTE)
}

/// Streaming decompression of a body of one gzip member or several.
#[derive(Debug)]
pub(crate) struct GunzipDecoder {
    state: GunzipState,
}

/// Position between or within gzip members.
#[derive(Debug)]
enum GunzipState {
    /// Within a member.
    Member(Box<GzDecoder<BoundedBuffer>>),
    /// After a member, or before the first.
    Between(BoundedBuffer),
    /// After what is no member.
    After(BoundedBuffer),
}

/// Output buffer with a size limit.
#[derive(Debug, Default)]
struct BoundedBuffer {
    bytes: Vec<u8>,
    limit: usize,
}

/// Error of a body that is longer than the limit.
#[derive(Debug)]
struct OverLimitError;

impl fmt::Display for OverLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("longer than allowed")
    }
}

impl std::error::Error for OverLimitError {}

impl Write for BoundedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::Error::other(OverLimitError));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// True if an error is about the limit.
pub(crate) fn is_over_limit(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<OverLimitError>())
}

impl GunzipDecoder {
    /// A body of at most `limit` bytes, decompressed; `guess` is how long it may be.
    pub(crate) fn new(limit: usize, guess: usize) -> Self {
        Self {
            state: GunzipState::Between(BoundedBuffer {
                bytes: Vec::with_capacity(guess.min(limit)),
                limit,
            }),
        }
    }

    /// Number of bytes so far.
    pub(crate) fn len(&self) -> usize {
        match &self.state {
            GunzipState::Member(decoder) => decoder.get_ref().bytes.len(),
            GunzipState::Between(out) | GunzipState::After(out) => out.bytes.len(),
        }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> io::Result<()> {
        while !piece.is_empty() {
            match &mut self.state {
                GunzipState::Member(decoder) => {
                    let read = decoder.write(piece)?;
                    piece = &piece[read..];
                    if read == 0 {
                        decoder.try_finish()?;
                        self.state = GunzipState::Between(std::mem::take(decoder.get_mut()));
                    }
                }
                GunzipState::Between(out) => {
                    let out = std::mem::take(out);
                    self.state = if is_gzip(piece) {
                        GunzipState::Member(Box::new(GzDecoder::new(out)))
                    } else {
                        GunzipState::After(out)
                    };
                }
                GunzipState::After(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Unpacked bytes.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self.state {
            GunzipState::Member(decoder) => Ok(decoder.finish()?.bytes),
            GunzipState::Between(out) | GunzipState::After(out) => Ok(out.bytes),
        }
    }

    /// Unpacked bytes of a body that may be cut off.
    pub(crate) fn beginning(self) -> Vec<u8> {
        match self.state {
            GunzipState::Member(mut decoder) => {
                // A cut is no error here.
                let _ = decoder.flush();
                std::mem::take(&mut decoder.get_mut().bytes)
            }
            GunzipState::Between(out) | GunzipState::After(out) => out.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8], piece: usize, limit: usize) -> io::Result<Vec<u8>> {
        let mut gunzip = GunzipDecoder::new(limit, 0);
        bytes
            .chunks(piece)
            .try_for_each(|piece| gunzip.push(piece))?;
        gunzip.finish()
    }

    #[test]
    fn members_are_one_body_however_they_are_cut() {
        let all = [
            gzip(b"{\"a\":"),
            gzip(b""),
            gzip(&[b'1'; 5_000]),
            gzip(b"}"),
        ]
        .concat();
        let wanted = [&b"{\"a\":"[..], &[b'1'; 5_000], b"}"].concat();
        for piece in [1, 2, 7, 19, 1 << 20] {
            assert_eq!(read(&all, piece, 1 << 20).unwrap(), wanted, "{piece}");
            for rest in [&b"\0\0\0\0"[..], b"garbage"] {
                assert_eq!(
                    read(&[&all[..], rest].concat(), piece, 1 << 20).unwrap(),
                    wanted,
                    "{piece}"
                );
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_wrong_or_too_long_is_an_error() {
        let whole = gzip(&b"some text, some text, some text"[..]);
        for cut in 1..whole.len() {
            assert!(read(&whole[..cut], 8, 1 << 20).is_err(), "{cut}");
            assert!(
                read(&[&whole[..], &whole[..cut]].concat(), 8, 1 << 20).is_err(),
                "{cut}"
            );
        }
        let mut wrong = whole.clone();
        let at = wrong.len() - 6;
        wrong[at] ^= 1;
        assert!(read(&wrong, 8, 1 << 20).is_err());
        assert!(is_over_limit(
            &read(&gzip(&vec![b' '; 1 << 20]), 100, 1_000).unwrap_err()
        ));
        assert!(is_over_limit(
            &read(
                &[gzip(&[b' '; 600]), gzip(&[b' '; 600])].concat(),
                100,
                1_000
            )
            .unwrap_err()
        ));
        assert_eq!(
            read(&gzip(&[b' '; 1_000]), 100, 1_000).unwrap().len(),
            1_000
        );
    }

    #[test]
    fn of_a_cut_body_its_beginning_is_had() {
        let whole = gzip(
            &(0..50_000_u32)
                .flat_map(u32::to_le_bytes)
                .collect::<Vec<u8>>(),
        );
        let mut gunzip = GunzipDecoder::new(1 << 20, 0);
        gunzip.push(&whole[..whole.len() / 2]).unwrap();
        assert!(gunzip.beginning().starts_with(&[0, 0, 0, 0, 1, 0, 0, 0]));
    }
}
