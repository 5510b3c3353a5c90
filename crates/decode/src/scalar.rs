//! Single values from their many spellings: numbers, truth values and instants, as such or as text.
//!
//! Invariant: what is read can mean only one thing, whoever wrote it; nothing is guessed, and nothing is lost on the way: what is none of
//! these is distinguished from an empty text.

use crate::abort::ReadResult;
use crate::fields::FieldPlan;
use crate::instant::{self, InstantFormat, RoundedInstant};
use crate::misfit::{self, ValueMisfit};
use crate::number;
use crate::record::{JsonRecordReader, ROUNDED};
use crate::scan::{JsonNumber, RawJsonString};
use std::borrow::Cow;
use tillhouse_model::blank;

/// Number as it was found, or that there is none.
pub(crate) enum ParsedNumber<'d> {
    Number(JsonNumber<'d>),
    /// A text without anything in it.
    Blank,
    Other,
}

/// Boolean as it was found, or that there is none.
pub(crate) enum ParsedBool {
    Known(bool),
    Blank,
    Other,
}

/// Instant as it was found, or that there is none.
pub(crate) enum ParsedInstant {
    At(i64),
    Blank,
    No(ValueMisfit),
}

impl<'d> JsonRecordReader<'_, 'd> {
    /// A number, or a text that holds one: some APIs spell decimals so, to keep them exact.
    #[inline]
    pub(crate) fn read_number(&mut self, first: u8) -> ReadResult<ParsedNumber<'d>> {
        if is_number(first) {
            return Ok(ParsedNumber::Number(self.scan.number()?));
        }
        if first != b'"' {
            return Ok(ParsedNumber::Other);
        }
        let raw = self.scan.string()?;
        match number::in_text(raw.bytes) {
            Some(number) => Ok(ParsedNumber::Number(number)),
            None => Ok(self.odd_figure(raw)),
        }
    }

    #[cold]
    fn odd_figure(&self, raw: RawJsonString<'d>) -> ParsedNumber<'d> {
        let Ok(text) = self.checked(raw) else {
            return ParsedNumber::Other;
        };
        if blank::is_blank(&text) {
            return ParsedNumber::Blank;
        }
        // A number in escapes. One that does not fit a machine's word would have to be kept as text, which is here no longer.
        match number::in_text(text.as_bytes()).filter(|number| raw.escaped && !number.long) {
            Some(number) => ParsedNumber::Number(JsonNumber {
                text: raw.bytes,
                ..number
            }),
            None => ParsedNumber::Other,
        }
    }

    #[inline]
    pub(crate) fn read_bool(&mut self, first: u8) -> ReadResult<ParsedBool> {
        match first {
            b't' => Ok(self
                .scan
                .literal("true")
                .map(|()| ParsedBool::Known(true))?),
            b'f' => Ok(self
                .scan
                .literal("false")
                .map(|()| ParsedBool::Known(false))?),
            _ => self.odd_truth(first),
        }
    }

    /// True if a word that is no number begins here: `true`, `"False"`.
    #[inline]
    pub(crate) fn begins_bool(&self, first: u8) -> bool {
        match first {
            b't' | b'f' => true,
            b'"' => {
                let text = self
                    .scan
                    .data
                    .get(self.scan.pos + 1..)
                    .unwrap_or_default()
                    .trim_ascii_start();
                matches!(text.first(), Some(b't' | b'T' | b'f' | b'F'))
            }
            _ => false,
        }
    }

    /// `1`, `"0"`, `"True"`.
    #[cold]
    fn odd_truth(&mut self, first: u8) -> ReadResult<ParsedBool> {
        let start = self.scan.pos;
        Ok(match self.read_number(first)? {
            ParsedNumber::Blank => ParsedBool::Blank,
            ParsedNumber::Number(number) => match number::to_scale(&number, 0) {
                Some(whole) if !whole.rounded && matches!(whole.units, 0 | 1) => {
                    ParsedBool::Known(whole.units == 1)
                }
                _ => ParsedBool::Other,
            },
            ParsedNumber::Other if first == b'"' => {
                self.scan.pos = start;
                let text = self.read_string()?;
                match blank::trim(&String::from_utf8_lossy(&text)) {
                    word if word.eq_ignore_ascii_case("true") => ParsedBool::Known(true),
                    word if word.eq_ignore_ascii_case("false") => ParsedBool::Known(false),
                    _ => ParsedBool::Other,
                }
            }
            ParsedNumber::Other => ParsedBool::Other,
        })
    }

    /// Text of a string; the position is at its opening quote. Where it is no text, its bytes.
    pub(crate) fn read_string(&mut self) -> ReadResult<Cow<'d, [u8]>> {
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
    pub(crate) fn read_instant(
        &mut self,
        field: &FieldPlan,
        spelling: &InstantFormat,
        first: u8,
        start: usize,
    ) -> ReadResult<ParsedInstant> {
        let (read, original) = match spelling {
            InstantFormat::Epoch { scale } => match self.read_number(first)? {
                ParsedNumber::Number(number) => {
                    (instant::epoch(&number, *scale), Cow::Borrowed(number.text))
                }
                ParsedNumber::Blank => return Ok(ParsedInstant::Blank),
                // A text with an offset is an instant whatever the contract expects.
                ParsedNumber::Other if first == b'"' => {
                    self.scan.pos = start;
                    let text = self.read_string()?;
                    (instant::read(&text, None), text)
                }
                ParsedNumber::Other => {
                    return Ok(ParsedInstant::No(ValueMisfit::expected(
                        misfit::EPOCH,
                        first,
                    )));
                }
            },
            InstantFormat::Offset | InstantFormat::Zone(_) if first != b'"' => {
                return Ok(ParsedInstant::No(ValueMisfit::expected(
                    misfit::TIME,
                    first,
                )));
            }
            InstantFormat::Offset => {
                let text = self.read_string()?;
                (instant::read(&text, None), text)
            }
            InstantFormat::Zone(zone) => {
                let text = self.read_string()?;
                (instant::read(&text, Some(zone)), text)
            }
        };
        Ok(match read {
            Ok(RoundedInstant {
                micros,
                rounded: false,
            }) => ParsedInstant::At(micros),
            Ok(RoundedInstant {
                micros,
                rounded: true,
            }) => {
                let original: &[u8] = if field.is_quotable { &original } else { b"" };
                self.warnings
                    .push(self.path_to(&field.json_name), ROUNDED, original);
                ParsedInstant::At(micros)
            }
            Err(_) if is_blank(&original) => ParsedInstant::Blank,
            Err(why) => ParsedInstant::No(ValueMisfit::no_time(why, misfit::TIME)),
        })
    }

    /// True if an empty container stands here; consumes it then. The position is at its opening
    /// bracket.
    pub(crate) fn empty_container(&mut self, close: u8) -> ReadResult<bool> {
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
