//! Single values from their many spellings: numbers, truth values and instants, as such or as text.
//!
//! Invariant: what is read can mean only one thing, whoever wrote it; nothing is guessed, and nothing is lost on the way: what is none of
//! these is told apart from a text without anything in it.

use crate::instant::{self, Instant, Spelling};
use crate::misfit::{self, Misfit};
use crate::number;
use crate::plan::Field;
use crate::record::{ROUNDED, Walker};
use crate::scan::{Number, Raw};
use crate::stop::Walk;
use std::borrow::Cow;
use tillhouse_model::blank;

/// A number as it was found, if there is one.
pub(crate) enum Figure<'d> {
    Number(Number<'d>),
    /// A text without anything in it.
    Blank,
    Other,
}

pub(crate) enum Truth {
    Known(bool),
    Blank,
    Other,
}

/// An instant as it was found, if there is one.
pub(crate) enum Moment {
    At(i64),
    Blank,
    No(Misfit),
}

impl<'d> Walker<'_, 'd> {
    /// A number, or a text that holds one: some APIs spell decimals so, to keep them exact.
    #[inline]
    pub(crate) fn figure(&mut self, first: u8) -> Walk<Figure<'d>> {
        if is_number(first) {
            return Ok(Figure::Number(self.scan.number()?));
        }
        if first != b'"' {
            return Ok(Figure::Other);
        }
        let raw = self.scan.string()?;
        match number::in_text(raw.bytes) {
            Some(number) => Ok(Figure::Number(number)),
            None => Ok(self.odd_figure(raw)),
        }
    }

    #[cold]
    fn odd_figure(&self, raw: Raw<'d>) -> Figure<'d> {
        let Ok(text) = self.checked(raw) else { return Figure::Other };
        if blank::is_blank(&text) {
            return Figure::Blank;
        }
        // A number in escapes. One that does not fit a machine's word would have to be kept as text, which is here no longer.
        match number::in_text(text.as_bytes()).filter(|number| raw.escaped && !number.long) {
            Some(number) => Figure::Number(Number { text: raw.bytes, ..number }),
            None => Figure::Other,
        }
    }

    #[inline]
    pub(crate) fn truth(&mut self, first: u8) -> Walk<Truth> {
        match first {
            b't' => Ok(self.scan.literal("true").map(|()| Truth::Known(true))?),
            b'f' => Ok(self.scan.literal("false").map(|()| Truth::Known(false))?),
            _ => self.odd_truth(first),
        }
    }

    /// True if a word that is no number begins here: `true`, `"False"`.
    #[inline]
    pub(crate) fn says_truth(&self, first: u8) -> bool {
        match first {
            b't' | b'f' => true,
            b'"' => {
                let text = self.scan.data.get(self.scan.pos + 1..).unwrap_or_default().trim_ascii_start();
                matches!(text.first(), Some(b't' | b'T' | b'f' | b'F'))
            }
            _ => false,
        }
    }

    /// `1`, `"0"`, `"True"`.
    #[cold]
    fn odd_truth(&mut self, first: u8) -> Walk<Truth> {
        let start = self.scan.pos;
        Ok(match self.figure(first)? {
            Figure::Blank => Truth::Blank,
            Figure::Number(number) => match number::to_scale(&number, 0) {
                Some(whole) if !whole.rounded && matches!(whole.units, 0 | 1) => Truth::Known(whole.units == 1),
                _ => Truth::Other,
            },
            Figure::Other if first == b'"' => {
                self.scan.pos = start;
                let text = self.string()?;
                match blank::trim(&String::from_utf8_lossy(&text)) {
                    word if word.eq_ignore_ascii_case("true") => Truth::Known(true),
                    word if word.eq_ignore_ascii_case("false") => Truth::Known(false),
                    _ => Truth::Other,
                }
            }
            Figure::Other => Truth::Other,
        })
    }

    /// What a string says; the position is at its opening quote. Where it is no text, its bytes.
    pub(crate) fn string(&mut self) -> Walk<Cow<'d, [u8]>> {
        let raw = self.scan.string()?;
        if !raw.escaped {
            return Ok(Cow::Borrowed(raw.bytes));
        }
        Ok(match self.checked(raw) {
            Ok(text) => Cow::Owned(text.into_owned().into_bytes()),
            Err(_) => Cow::Borrowed(raw.bytes),
        })
    }

    #[inline]
    pub(crate) fn instant(&mut self, field: &Field, spelling: &Spelling, first: u8, start: usize) -> Walk<Moment> {
        let (read, original) = match spelling {
            Spelling::Epoch { scale } => match self.figure(first)? {
                Figure::Number(number) => (instant::epoch(&number, *scale), Cow::Borrowed(number.text)),
                Figure::Blank => return Ok(Moment::Blank),
                // A text with an offset is an instant whatever the contract expects.
                Figure::Other if first == b'"' => {
                    self.scan.pos = start;
                    let text = self.string()?;
                    (instant::read(&text, None), text)
                }
                Figure::Other => return Ok(Moment::No(Misfit::expected(misfit::EPOCH, first))),
            },
            Spelling::Offset | Spelling::Zone(_) if first != b'"' => {
                return Ok(Moment::No(Misfit::expected(misfit::TIME, first)));
            }
            Spelling::Offset => {
                let text = self.string()?;
                (instant::read(&text, None), text)
            }
            Spelling::Zone(zone) => {
                let text = self.string()?;
                (instant::read(&text, Some(zone)), text)
            }
        };
        Ok(match read {
            Ok(Instant { micros, rounded: false }) => Moment::At(micros),
            Ok(Instant { micros, rounded: true }) => {
                let original: &[u8] = if field.shown { &original } else { b"" };
                self.warnings.push(self.path_to(&field.json_name), ROUNDED, original);
                Moment::At(micros)
            }
            Err(_) if is_blank(&original) => Moment::Blank,
            Err(why) => Moment::No(Misfit::no_time(why, misfit::TIME)),
        })
    }

    /// Whether an empty container stands here; consumes it if so. The position is at its opening bracket.
    pub(crate) fn empty_container(&mut self, close: u8) -> Walk<bool> {
        let start = self.scan.pos;
        self.scan.pos += 1;
        let empty = self.scan.empty(close)?;
        if !empty {
            self.scan.pos = start;
        }
        Ok(empty)
    }
}

#[inline]
pub(crate) fn is_number(first: u8) -> bool {
    first.is_ascii_digit() || first == b'-'
}

pub(crate) fn is_blank(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(blank::is_blank)
}
