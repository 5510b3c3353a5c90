//! A text as it reads when layers of encoding are taken off, one after the other.
//!
//! Invariant: of every byte of a reading it is known which part of the text it stands for; a text that is no encoding reads as it is.
//!
//! `encodings` knows each letter in any way of writing it. What was encoded as a whole and then once more (JSON inside of a form, a form inside of
//! Base64) no longer has a letter's encoding at one place, so whole layers are taken off here, and every reading is looked through.

use super::html_names;
use std::collections::HashSet;

/// Most layers to take off, and most readings of a text.
const DEEPEST: usize = 4;
const MOST: usize = 48;
/// A run of Base64 or hexadecimal digits shorter than this may be any word.
const SHORTEST_RUN: usize = 8;
/// The longest name of a character in HTML that is looked up.
const LONGEST_NAME: usize = 16;

/// Text with layers of encoding taken off.
pub(crate) struct DecodedText {
    text: String,
    /// Start and end in the text, for every byte of it.
    places: Vec<(usize, usize)>,
}

impl DecodedText {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The part of the text that a range of bytes stands for.
    pub(crate) fn place(&self, (from, to): (usize, usize)) -> (usize, usize) {
        let start = self.places.get(from).map_or(0, |place| place.0);
        let end = to
            .checked_sub(1)
            .and_then(|last| self.places.get(last))
            .map_or(start, |place| place.1);
        (start, end.max(start))
    }
}

/// The text itself, and what it reads as with layers taken off.
pub(crate) fn readings(text: &str) -> Vec<DecodedText> {
    let places = (0..text.len()).map(|at| (at, at + 1)).collect();
    let mut all = vec![DecodedText {
        text: text.to_owned(),
        places,
    }];
    let mut known: HashSet<String> = HashSet::from([text.to_owned()]);
    let (mut from, mut depth) = (0, 0);
    while from < all.len() && depth < DEEPEST {
        let to = all.len();
        for at in from..to {
            for layer in [
                percent,
                backslashes,
                html,
                base64,
                hex_digits,
                quoted_printable,
                mojibake,
                unseen,
            ] {
                let Some(reading) = all.get(at).and_then(|reading| taken_off(reading, layer))
                else {
                    continue;
                };
                if all.len() < MOST && known.insert(reading.text.clone()) {
                    all.push(reading);
                }
            }
        }
        (from, depth) = (to, depth + 1);
    }
    all
}

/// Decoder of the beginning of a text: how many bytes it takes, and what they mean.
type LayerDecoder = fn(&str) -> Option<(usize, Vec<u8>)>;

/// A reading with one layer less; `None` where it has none such.
fn taken_off(reading: &DecodedText, layer: LayerDecoder) -> Option<DecodedText> {
    let (mut bytes, mut places) = (Vec::with_capacity(reading.text.len()), Vec::new());
    let (mut at, mut changed) = (0, false);
    let mut word = false;
    while let Some(rest) = reading.text.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next()?;
        // A run begins where a word does.
        let inside = word && first.is_ascii_alphanumeric();
        word = first.is_ascii_alphanumeric();
        let found = if inside && first != '%' && first != '&' {
            None
        } else {
            layer(rest)
        };
        let (length, meaning) = found.unwrap_or_else(|| {
            (
                first.len_utf8(),
                rest.as_bytes()[..first.len_utf8()].to_vec(),
            )
        });
        if meaning == rest.as_bytes()[..length] {
            // Byte by byte, as it stood.
            places.extend((at..at + length).map(|byte| reading.places[byte]));
        } else {
            changed = true;
            places.extend(std::iter::repeat_n(
                reading.place((at, at + length)),
                meaning.len(),
            ));
        }
        bytes.extend(meaning);
        at += length;
    }
    changed.then(|| in_text(&bytes, &places))
}

/// Bytes as text: UTF-8, and Latin-1 where they are not.
fn in_text(bytes: &[u8], places: &[(usize, usize)]) -> DecodedText {
    let mut reading = DecodedText {
        text: String::with_capacity(bytes.len()),
        places: Vec::with_capacity(places.len()),
    };
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        reading.text.push_str(chunk.valid());
        reading
            .places
            .extend_from_slice(&places[at..at + chunk.valid().len()]);
        at += chunk.valid().len();
        for byte in chunk.invalid() {
            let letter = char::from(*byte);
            reading.text.push(letter);
            reading
                .places
                .extend(std::iter::repeat_n(places[at], letter.len_utf8()));
            at += 1;
        }
    }
    reading
}

/// `%40`.
fn percent(text: &str) -> Option<(usize, Vec<u8>)> {
    let digits = text.strip_prefix('%')?.get(..2)?;
    Some((3, vec![byte(digits)?]))
}

/// `\u0040`, `\u{40}`, `\U00000040`, `\x40`, `\/`.
fn backslashes(text: &str) -> Option<(usize, Vec<u8>)> {
    let rest = text.strip_prefix('\\')?;
    let unit = |text: &str| {
        u16::from_str_radix(text.strip_prefix('u')?.get(..4).filter(|d| is_hex(d))?, 16).ok()
    };
    let first = rest.chars().next()?;
    if let Some((digits, length)) = wide_escape(rest) {
        let letter = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
        return Some((length, letter.to_string().into_bytes()));
    }
    if let Some(high) = unit(rest) {
        let low = rest
            .get(5..)
            .and_then(|rest| unit(rest.strip_prefix('\\')?));
        let pair = low
            .and_then(|low| char::decode_utf16([high, low]).next()?.ok())
            .filter(|c| c.len_utf16() == 2);
        let (letter, length) = match pair {
            Some(letter) => (letter, 12),
            None => (char::from_u32(u32::from(high))?, 6),
        };
        return Some((length, letter.to_string().into_bytes()));
    }
    if first == 'x' {
        return Some((
            4,
            char::from(byte(rest.get(1..3)?)?).to_string().into_bytes(),
        ));
    }
    if let Some(octal) = rest
        .get(..3)
        .filter(|digits| digits.bytes().all(|digit| matches!(digit, b'0'..=b'7')))
    {
        return Some((4, vec![u8::from_str_radix(octal, 8).ok()?]));
    }
    let meaning = match first {
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'b' => 8,
        'f' => 12,
        '"' | '\'' | '/' | '\\' => u8::try_from(first).ok()?,
        _ => return None,
    };
    Some((2, vec![meaning]))
}

/// The digits of `u{40}` and `U00000040`, and how long the escape is with its backslash.
fn wide_escape(text: &str) -> Option<(&str, usize)> {
    if let Some(digits) = text.strip_prefix('U') {
        let digits = digits.get(..8).filter(|digits| is_hex(digits))?;
        return Some((digits, 10));
    }
    let (digits, _) = text.strip_prefix("u{")?.split_once('}')?;
    let is_number = (1..=6).contains(&digits.len()) && is_hex(digits);
    is_number.then_some((digits, digits.len() + 4))
}

/// `=40`, and a line's end that is none.
fn quoted_printable(text: &str) -> Option<(usize, Vec<u8>)> {
    let rest = text.strip_prefix('=')?;
    if let Some(end) = ["\r\n", "\n"].into_iter().find(|end| rest.starts_with(end)) {
        return Some((1 + end.len(), Vec::new()));
    }
    Some((3, vec![byte(rest.get(..2)?)?]))
}

/// A sign of no width, or one half of a letter of UTF-16.
fn unseen(text: &str) -> Option<(usize, Vec<u8>)> {
    let sign = text.chars().next()?;
    let is_unseen = matches!(
        sign,
        '\0' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
    );
    is_unseen.then(|| (sign.len_utf8(), Vec::new()))
}

/// A letter of UTF-8 that was read as Latin-1, or as Windows does.
fn mojibake(text: &str) -> Option<(usize, Vec<u8>)> {
    let mut letters = text.chars();
    let first = letters.next()?;
    let mut bytes = vec![single_byte(first)?];
    let more = match bytes[0] {
        0xc2..=0xdf => 1,
        0xe0..=0xef => 2,
        0xf0..=0xf4 => 3,
        _ => return None,
    };
    let mut length = first.len_utf8();
    for letter in letters.take(more) {
        bytes.push(single_byte(letter)?);
        length += letter.len_utf8();
    }
    std::str::from_utf8(&bytes)
        .is_ok()
        .then_some((length, bytes))
}

/// The byte, not ASCII's, that Latin-1 or Windows-1252 reads as a letter.
fn single_byte(letter: char) -> Option<u8> {
    const WINDOWS: &str = "\u{20ac}\u{81}\u{201a}\u{192}\u{201e}\u{2026}\u{2020}\u{2021}\u{2c6}\u{2030}\u{160}\u{2039}\u{152}\u{8d}\u{17d}\u{8f}\u{90}\u{2018}\u{2019}\u{201c}\u{201d}\u{2022}\u{2013}\u{2014}\u{2dc}\u{2122}\u{161}\u{203a}\u{153}\u{9d}\u{17e}\u{178}";
    match u8::try_from(u32::from(letter)) {
        Ok(byte) => Some(byte).filter(|byte| *byte >= 0x80),
        Err(_) => u8::try_from(0x80 + WINDOWS.chars().position(|known| known == letter)?).ok(),
    }
}

/// `&#64;`, `&amp;`, `&commat;`.
fn html(text: &str) -> Option<(usize, Vec<u8>)> {
    let (name, _) = text
        .strip_prefix('&')?
        .split_once(';')
        .filter(|(name, _)| name.len() <= LONGEST_NAME)?;
    let letter = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
        None => html_names::letter_of(name)?,
    };
    Some((name.len() + 2, letter.to_string().into_bytes()))
}

/// A run of Base64 in either alphabet that is text.
fn base64(text: &str) -> Option<(usize, Vec<u8>)> {
    let digit = |byte: &u8| {
        Some(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        })
    };
    let digits: Vec<u8> = text.bytes().map_while(|byte| digit(&byte)).collect();
    if digits.len() < SHORTEST_RUN || digits.len() % 4 == 1 {
        return None;
    }
    let padding = text[digits.len()..]
        .bytes()
        .take(2)
        .take_while(|byte| *byte == b'=')
        .count();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit))
            << (6 * (4 - group.len()));
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    is_text(&bytes).then_some((digits.len() + padding, bytes))
}

/// A run of hexadecimal digits that is text.
fn hex_digits(text: &str) -> Option<(usize, Vec<u8>)> {
    let length = text.bytes().take_while(u8::is_ascii_hexdigit).count();
    if length < SHORTEST_RUN || length % 2 == 1 {
        return None;
    }
    let bytes: Vec<u8> = (0..length)
        .step_by(2)
        .filter_map(|at| byte(text.get(at..at + 2)?))
        .collect();
    is_text(&bytes).then_some((length, bytes))
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(char::is_control))
}

fn is_hex(digits: &str) -> bool {
    digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn byte(digits: &str) -> Option<u8> {
    u8::from_str_radix(Some(digits).filter(|digits| is_hex(digits))?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_taken_off_in_any_order() {
        for text in [
            "x p@ss y",
            "x p%40ss y",
            r"x p\u0040ss y",
            r"x p\u{40}ss y",
            r"x p\U00000040ss y",
            "x p&commat;ss&excl; y",
            "x p%5Cu0040ss y",
            r"x p\u0026#64;ss y",
            "x p%26%2364%3Bss y",
            "x cEBzcw%3D%3D y cEBzcyB5bw== x",
            "x cCU0MHNzIG9y y",
            "x 7025343073732079 y",
        ] {
            assert!(
                readings(text)
                    .iter()
                    .any(|reading| reading.text().contains("p@ss")),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_found_in_a_reading_has_a_place_in_the_text() {
        let text = r"a %5Cu00e9t%C3%A9 b";
        let place = |wanted: &str| {
            let all = readings(text);
            let found = all
                .iter()
                .find_map(|reading| Some((reading, reading.text().find(wanted)?)));
            let (reading, at) = found.unwrap();
            let (from, to) = reading.place((at, at + wanted.len()));
            &text[from..to]
        };
        assert_eq!(place("été"), "%5Cu00e9t%C3%A9");
        assert_eq!(place(" b"), " b");
        assert_eq!(place("a "), "a ");
    }

    #[test]
    fn odd_texts_have_few_readings() {
        for text in [
            "",
            "%",
            "%4",
            "%zz",
            "\\",
            "\\u12",
            "\\ud83d",
            "&",
            "&#;",
            "&#x110000;",
            "ä%",
            "%ff%fe",
            "==",
        ] {
            assert!(readings(text).len() <= 2, "{text}");
        }
        assert!(readings(&"%2525%5C%26amp;".repeat(100)).len() <= MOST);
    }
}
