//! The JSON scanner: one forward pass over a page's bytes, value by value, without a tree and without copying. What counts the records of a
//! page before it is decoded and what decodes it are this one scanner, so that neither is stricter than the other.
//!
//! Invariant: it accepts exactly the grammar of RFC 8259. What it reports to be one value is one value, however hostile the bytes; it
//! never recurses over the input, so that no depth of nesting can exhaust the stack. A record that breaks the grammar is passed over by
//! [`JsonScanner::skip_record`] alone, and what breaks it between two records by [`JsonScanner::next_record`].
//!
//! No ready pull parser: jiter (0.18) reports a lone surrogate or a byte that is not UTF-8 as the end of the document, and
//! cannot be asked to go on; one odd text in one record would then hold up a source for ever. Here the grammar is one thing and
//! the text in a string another, so that such a record is a reject and its neighbours land. It is also the faster way: a key that
//! comes where it came last time costs one comparison, a number is read while it is scanned, and text is checked once.

mod library_fault;
mod recovery;
mod separators;

pub use library_fault::{fault, is_too_deep};
pub use separators::SeparatorFaults;

/// Syntax error: the position at which bytes stop being JSON, and what the grammar expects there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedJson {
    /// Position, in bytes from the page's first.
    pub at: usize,
    /// Expected syntax, in words.
    pub expected: &'static str,
}

/// Prefix that some servers put before their UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Result of a step of a scan. The error is boxed: it is rare, and the good case stays one word.
pub type JsonScanResult<T = ()> = Result<T, Box<MalformedJson>>;

/// String as the page spells it: the bytes between its quotes.
#[derive(Debug, Clone, Copy)]
pub struct RawJsonString<'a> {
    /// Between the quotes.
    pub bytes: &'a [u8],
    /// True if it has a backslash.
    pub escaped: bool,
}

/// Number as it was read: `mantissa` times ten to the `exponent`, unless it is `long`.
#[derive(Debug, Clone, Copy)]
pub struct JsonNumber<'a> {
    /// Spelling in the page.
    pub text: &'a [u8],
    /// True if it has a minus sign.
    pub negative: bool,
    /// Its digits as one number.
    pub mantissa: u64,
    /// Minus the digits behind the point.
    pub exponent: i32,
    /// True if it has an exponent or more digits than fit: only `text` counts.
    pub long: bool,
}

/// Kind of the value that starts with this byte, for messages.
pub fn value_kind(first: u8) -> &'static str {
    match first {
        b'{' => "an object",
        b'[' => "an array",
        b'"' => "text",
        b't' | b'f' => "a truth value",
        b'n' => "null",
        b'-' | b'0'..=b'9' => "a number",
        _ => "what is not JSON",
    }
}

/// Scanner of a page, and its position.
#[derive(Debug)]
pub struct JsonScanner<'a> {
    /// The page.
    pub data: &'a [u8],
    /// The position, in bytes.
    pub pos: usize,
    /// Containers that are open in [`JsonScanner::skip`]; true for an object.
    open: Vec<bool>,
}

impl<'a> JsonScanner<'a> {
    /// A pass from the first byte on.
    pub fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            pos: 0,
            open: Vec::new(),
        }
    }

    /// A pass over a page as a server sent it: a byte order mark is no JSON, but some send one, and a reader may ignore it.
    pub fn of_page(page: &'a [u8]) -> Self {
        let pos = if page.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        Self {
            data: page,
            pos,
            open: Vec::new(),
        }
    }

    /// The error that something else stands here than is expected.
    #[cold]
    #[inline(never)]
    pub fn fail<T>(&self, expected: &'static str) -> JsonScanResult<T> {
        let expected = if self.pos >= self.data.len() {
            "more bytes"
        } else {
            expected
        };
        Err(Box::new(MalformedJson {
            at: self.pos.min(self.data.len()),
            expected,
        }))
    }

    #[inline(always)]
    fn white_space(&mut self) {
        while let Some(byte) = self.data.get(self.pos) {
            if *byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                break;
            }
            self.pos += 1;
        }
    }

    /// The next byte that is not white space, not consumed.
    #[inline(always)]
    pub fn peek(&mut self) -> JsonScanResult<u8> {
        self.white_space();
        match self.data.get(self.pos) {
            Some(byte) => Ok(*byte),
            None => self.fail("a value"),
        }
    }

    /// Checks that only white space follows.
    pub fn end(&mut self) -> JsonScanResult {
        self.white_space();
        if self.pos == self.data.len() {
            Ok(())
        } else {
            self.fail("the end of the page")
        }
    }

    /// Consumes exactly this text.
    #[inline(always)]
    pub fn literal(&mut self, text: &'static str) -> JsonScanResult {
        if self.data[self.pos..].starts_with(text.as_bytes()) {
            self.pos += text.len();
            return Ok(());
        }
        self.fail(text)
    }

    /// Consumes a string; the position is at its opening quote.
    #[inline]
    pub fn string(&mut self) -> JsonScanResult<RawJsonString<'a>> {
        let start = self.pos + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at = plain_end(self.data, at);
            match self.data.get(at) {
                Some(b'"') => {
                    self.pos = at + 1;
                    return Ok(RawJsonString {
                        bytes: &self.data[start..at],
                        escaped,
                    });
                }
                Some(b'\\') => {
                    escaped = true;
                    at = match self.data.get(at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at + 2,
                        Some(b'u')
                            if self
                                .data
                                .get(at + 2..at + 6)
                                .is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) =>
                        {
                            at + 6
                        }
                        _ => {
                            self.pos = at;
                            return self.fail("an escape sequence");
                        }
                    };
                }
                _ => {
                    self.pos = at;
                    return self.fail("text without control characters");
                }
            }
        }
    }

    /// Consumes `text` if it stands right here. Most keys come this way, and they are too short for a call of memcmp to pay.
    #[inline(always)]
    pub fn eat(&mut self, text: &[u8]) -> bool {
        let end = self.pos + text.len();
        let Some(there) = self.data.get(self.pos..end) else {
            return false;
        };
        let same = if let (Some(a), Some(b)) = (there.last_chunk::<8>(), text.last_chunk::<8>()) {
            // The last eight bytes, then all whole words from the front; they may overlap.
            u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b)
                && std::iter::zip(there.as_chunks::<8>().0, text.as_chunks::<8>().0)
                    .all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
        } else {
            std::iter::zip(there, text).all(|(a, b)| a == b)
        };
        if same {
            self.pos = end;
        }
        same
    }

    /// Consumes a key and its colon; the position is where the key must start.
    #[inline]
    pub fn key(&mut self) -> JsonScanResult<RawJsonString<'a>> {
        if self.peek()? != b'"' {
            return self.fail("a key");
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return self.fail("a colon");
        }
        self.pos += 1;
        Ok(key)
    }

    /// After a value in an object or array: whether another one follows. Consumes the comma or `close`.
    #[inline(always)]
    pub fn another(&mut self, close: u8) -> JsonScanResult<bool> {
        let byte = self.peek()?;
        if byte == b',' {
            self.pos += 1;
            return Ok(true);
        }
        if byte == close {
            self.pos += 1;
            return Ok(false);
        }
        self.fail("a comma or the end of the container")
    }

    /// Checks that a field's value ends here: a closing bracket, the end of the bytes or a comma follows, and behind the comma no digit. Whoever takes a
    /// value of a record that may be damaged asks first: of `12abc` and of `12,50`, 12 is no value, nor is `"a"` of `"a"b`.
    #[inline]
    pub fn value_end(&mut self) -> JsonScanResult {
        self.white_space();
        let (next, behind) = (self.data.get(self.pos), self.data.get(self.pos + 1));
        match next {
            Some(b',') if behind.is_none_or(|byte| !byte.is_ascii_digit()) => Ok(()),
            None | Some(b'}' | b']') => Ok(()),
            Some(_) => self.fail("a comma or the end of the container"),
        }
    }

    /// After an opening bracket: whether the container is empty. Consumes `close` if so.
    #[inline(always)]
    pub fn empty(&mut self, close: u8) -> JsonScanResult<bool> {
        if self.peek()? == close {
            self.pos += 1;
            return Ok(true);
        }
        Ok(false)
    }

    /// Consumes a number, reading it on the way.
    #[inline]
    pub fn number(&mut self) -> JsonScanResult<JsonNumber<'a>> {
        let data = self.data;
        let start = self.pos;
        let negative = data.get(start) == Some(&b'-');
        let mut at = start + usize::from(negative);
        let digits_from = at;
        let mut mantissa: u64 = 0;
        while let Some(digit) = digit(data, at) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
            at += 1;
        }
        let mut digits = at - digits_from;
        if digits == 0 || (digits > 1 && data[digits_from] == b'0') {
            self.pos = digits_from;
            return self.fail("a value");
        }
        let mut exponent = 0;
        let mut long = false;
        if data.get(at) == Some(&b'.') {
            at += 1;
            let fraction_from = at;
            while let Some(digit) = digit(data, at) {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
                at += 1;
            }
            let fraction = at - fraction_from;
            if fraction == 0 {
                self.pos = at;
                return self.fail("a digit");
            }
            digits += fraction;
            exponent = -i32::try_from(fraction).unwrap_or(i32::MAX);
        }
        if matches!(data.get(at), Some(b'e' | b'E')) {
            long = true;
            at += 1;
            if matches!(data.get(at), Some(b'+' | b'-')) {
                at += 1;
            }
            if digit(data, at).is_none() {
                self.pos = at;
                return self.fail("a digit");
            }
            while digit(data, at).is_some() {
                at += 1;
            }
        }
        self.pos = at;
        // Nineteen digits always fit a u64, twenty may not.
        Ok(JsonNumber {
            text: &data[start..at],
            negative,
            mantissa,
            exponent,
            long: long || digits > 19,
        })
    }

    /// Consumes any one value; the position is at its first byte or at white space before it. Answers how many containers
    /// were open at once. Text is not looked at beyond the grammar.
    pub fn skip(&mut self) -> JsonScanResult<usize> {
        let mut deepest = 0;
        self.open.clear();
        'value: loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' => {
                    self.pos += 1;
                    deepest = deepest.max(self.open.len() + 1);
                    if !self.empty(b'}')? {
                        self.open.push(true);
                        self.key()?;
                        continue 'value;
                    }
                }
                b'[' => {
                    self.pos += 1;
                    deepest = deepest.max(self.open.len() + 1);
                    if !self.empty(b']')? {
                        self.open.push(false);
                        continue 'value;
                    }
                }
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                _ => {
                    self.number()?;
                }
            }
            loop {
                let Some(&object) = self.open.last() else {
                    return Ok(deepest);
                };
                if self.another(if object { b'}' } else { b']' })? {
                    if object {
                        self.key()?;
                    }
                    continue 'value;
                }
                self.open.pop();
            }
        }
    }
}

#[inline(always)]
fn digit(data: &[u8], at: usize) -> Option<u64> {
    let digit = data.get(at)?.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

/// End of the run of plain characters that starts at `at`: at a quote, a backslash, a control character or the end.
/// Eight bytes at a time; within a word the lowest marked byte is exact, marks above it may be carries.
#[inline(always)]
fn plain_end(data: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let marks = |word: u64| {
        let quote = word ^ (ONES * 0x22);
        let slash = word ^ (ONES * 0x5c);
        ((quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash)
            | (word.wrapping_sub(ONES * 0x20) & !word))
            & HIGH
    };
    while let Some(chunk) = data.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let marked = marks(u64::from_le_bytes(*chunk));
        if marked != 0 {
            return at + (marked.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&byte) = data.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        at += 1;
    }
    at
}

/// A text names half of a character: `\ud83d` without its other half. JSON's grammar allows it, Unicode does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoneSurrogate;

/// Appends what a string with escapes means to `out`. The escapes are known to be well formed.
pub fn unescape(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), LoneSurrogate> {
    let mut rest = bytes;
    while let Some(slash) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..slash]);
        let (kind, after) = rest[slash + 1..].split_first().ok_or(LoneSurrogate)?;
        rest = after;
        let plain = match kind {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut unit = hex4(rest).ok_or(LoneSurrogate)?;
                rest = &rest[4..];
                if (0xd800..0xdc00).contains(&unit) {
                    let low = rest
                        .strip_prefix(b"\\u")
                        .and_then(hex4)
                        .filter(|low| (0xdc00..0xe000).contains(low));
                    unit =
                        0x1_0000 + ((unit - 0xd800) << 10) + (low.ok_or(LoneSurrogate)? - 0xdc00);
                    rest = &rest[6..];
                }
                let character = char::from_u32(unit).ok_or(LoneSurrogate)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => *other,
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
    Ok(())
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    bytes
        .get(..4)?
        .iter()
        .try_fold(0, |unit, b| Some(unit * 16 + char::from(*b).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(data: &[u8]) -> bool {
        let mut scan = JsonScanner::new(data);
        scan.skip().is_ok() && scan.end().is_ok()
    }

    #[test]
    fn the_grammar_is_that_of_the_standard() {
        for good in [
            "0",
            "-0",
            "1.50",
            "1e2",
            "1E+2",
            "-12.5e-10",
            "\"\"",
            r#""a\u00e9\n""#,
            "[]",
            "{}",
            " [ 1 , {\"a\" : null } ] ",
            "true",
            "false",
            "null",
            r#""\ud800""#,
        ] {
            assert!(accepts(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            " ",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "1e+",
            "NaN",
            "Infinity",
            "tru",
            "nulll",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "[1 2]",
            "[1}",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12",
            "\"a\nb\"",
            "\"\u{1}\"",
            "1 1",
            "'a'",
            "[\u{a0}1]",
        ] {
            assert!(!accepts(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn only_the_very_text_is_taken() {
        for text in [
            "\"id\":",
            "\"a\":",
            "\"abcd\":",
            "\"transaction_number\":",
            "\"sixteen_chars\":",
        ] {
            let page = format!("{text}1");
            let mut scan = JsonScanner::new(page.as_bytes());
            assert!(scan.eat(text.as_bytes()) && scan.pos == text.len());
            assert!(!JsonScanner::new(&text.as_bytes()[1..]).eat(text.as_bytes()));
            for at in 0..text.len() {
                let mut other = page.clone().into_bytes();
                other[at] ^= 1;
                assert!(
                    !JsonScanner::new(&other).eat(text.as_bytes()),
                    "{text} at {at}"
                );
            }
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(JsonScanner::new(deep.as_bytes()).skip().unwrap(), 1_000_000);
        assert!(
            JsonScanner::new(&deep.as_bytes()[..1_500_000])
                .skip()
                .is_err()
        );
    }

    #[test]
    fn half_a_character_is_not_text() {
        let mut out = Vec::new();
        assert_eq!(unescape(br"\ud83d\ude00 \u00e9\/\\\t", &mut out), Ok(()));
        assert_eq!(std::str::from_utf8(&out).unwrap(), "\u{1f600} \u{e9}/\\\t");
        for lone in [
            &br"\ud83d"[..],
            br"\ude00",
            br"\ud83d\u0041",
            br"\ud83d\ud83d\ude00",
        ] {
            assert_eq!(unescape(lone, &mut Vec::new()), Err(LoneSurrogate));
        }
    }

    proptest! {
        #[test]
        fn the_end_of_a_plain_run_is_found_wherever_it_is(
            before in "[a-zA-Z \u{e9}\u{20ac}!#\\[\\]\u{7f}]{0,40}", end in prop_oneof![Just(b'"'), Just(b'\\'), 0_u8..0x20], after in "[a-z\"]{0,20}",
        ) {
            let mut data = before.clone().into_bytes();
            data.push(end);
            data.extend_from_slice(after.as_bytes());
            prop_assert_eq!(plain_end(&data, 0), before.len());
            prop_assert_eq!(plain_end(before.as_bytes(), 0), before.len());
        }

        /// serde_json ignores values by the grammar alone, as `skip` does, except that it looks into strings and limits depth.
        #[test]
        fn it_agrees_with_serde_json(text in r#"[\[\]{}:,"\\ 0-9eE.+truefalsn-]{0,24}"#) {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(accepts(text.as_bytes()), theirs, "{}", text);
        }

        #[test]
        fn what_serde_json_writes_is_accepted_and_any_cut_of_it_is_not(numbers in prop::collection::vec(any::<f64>(), 0..4), text in any::<String>()) {
            let value = serde_json::json!({"n": numbers.iter().filter(|n| n.is_finite()).collect::<Vec<_>>(), "t": text, "o": {"x": [null, true]}});
            let written = serde_json::to_vec(&value).unwrap();
            prop_assert!(accepts(&written));
            for cut in 0..written.len() {
                prop_assert!(!accepts(&written[..cut]));
            }
        }
    }
}
