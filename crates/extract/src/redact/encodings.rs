//! Encodings of a secret: as it is, and as forms, JSON, HTML and headers write it.
//!
//! Invariant: where a secret stands in a text, in whichever of these encodings and however they are mixed, its whole place is found; a secret so
//! short that it stands everywhere is looked for as a word of its own only.
//!
//! | encoding | of `p@ss` (the last two: of `hunter2`) |
//! |---|---|
//! | plain | `p@ss` |
//! | percent-encoded, once or more, of any of its letters, in either case | `p%40ss`, `p%2540ss`, `%70%40ss` |
//! | a form's blank | `+` for a blank |
//! | escaped in JSON, once or more, or in a programming language | `p\u0040ss`, `\/` for `/`, `\\\"` for `"`, `\x40` |
//! | escaped in HTML, once or more | `p&#64;ss`, `&#x40;`, `&amp;amp;` for `&` |
//! | Base64, either alphabet, with and without padding, at any place within what is encoded (`user:secret`) | `aHVudGVyMg==`, `dXNlcjpodW50ZXIy` |
//! | in hexadecimal digits | `68756e74657232` |
//!
//! Rejected: a list of all spellings, which has no end, as encoders differ in what they leave as it is, and are applied one after the other. Instead
//! the text is compared letter by letter, each of which may be written in any way. Base64 alone mixes letters, and has a list.

use super::fragments::SecretFragments;
use super::html_names;
use tillhouse_model::Secret;

/// A secret shorter than this is only looked for between other things than letters and digits.
const SHORT: usize = 6;
/// A secret of one letter cannot be hidden.
const SHORTEST: usize = 2;
/// First letters of a secret that are taken for one that was cut off.
const PIECE: usize = 8;
/// First letters that are enough where as much of their encoding was left.
const FEWEST: usize = 3;
/// A piece of Base64 or hexadecimal digits shorter than this may stand anywhere by chance.
const SHORTEST_ENCODED: usize = 6;

/// Secret with the encodings of it that are looked for.
pub(crate) struct EncodedSecret {
    plain: Secret,
    /// Certain part of it in Base64 at each of three places, and its hexadecimal digits.
    encoded: Vec<Secret>,
    /// Possible remains of it.
    pieces: SecretFragments,
}

impl EncodedSecret {
    /// Derives what has a list.
    pub(crate) fn of(secret: &Secret) -> Self {
        let mut encoded: Vec<Secret> = Vec::new();
        let mut add = |form: String| {
            if form.len() >= SHORTEST_ENCODED && encoded.iter().all(|known| known.expose() != form)
            {
                encoded.push(Secret::new(form));
            }
        };
        let plain = secret.expose();
        // OAuth2 wants the secret form-encoded before it is put into a Basic header; few do so.
        let form: String = url::form_urlencoded::byte_serialize(plain.as_bytes()).collect();
        let json = serde_json::Value::from(plain).to_string();
        for spelling in [plain, &form, json.trim_matches('"')] {
            for before in 0..3 {
                let inner = inner_base64(spelling.as_bytes(), before);
                add(inner.replace('+', "-").replace('/', "_"));
                add(inner);
            }
        }
        let hex: String = plain.bytes().map(|byte| format!("{byte:02x}")).collect();
        add(hex.to_uppercase());
        add(hex);
        Self {
            plain: secret.clone(),
            encoded,
            pieces: SecretFragments::of(plain),
        }
    }

    /// The secret itself.
    pub(crate) fn plain(&self) -> &Secret {
        &self.plain
    }

    /// Possible remains of it.
    pub(crate) fn pieces(&self) -> &SecretFragments {
        &self.pieces
    }

    /// Its places in a text, as ranges of bytes.
    pub(crate) fn places(&self, text: &str) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        let plain = self.plain.expose().trim();
        let letters = plain.chars().count();
        if letters >= SHORTEST {
            let alone = |from: usize, to: usize| {
                letters >= SHORT
                    || (!ends_in_a_letter(&text[..from])
                        && !text[to..].starts_with(char::is_alphanumeric))
            };
            places.extend(found(text, plain).filter(|(from, to)| alone(*from, *to)));
        }
        if letters >= SHORT {
            places.extend(cut_off(text, plain));
        }
        for form in &self.encoded {
            places.extend(found(text, form.expose()).map(|(from, to)| widened(text, from, to)));
        }
        places
    }
}

/// True if a text ends in a letter or digit that is not the end of an escape (`%3D`, `\u003d`).
fn ends_in_a_letter(text: &str) -> bool {
    let escape = |marker: &str, digits: usize| {
        let bytes = text.as_bytes();
        bytes
            .len()
            .checked_sub(digits + marker.len())
            .is_some_and(|from| {
                bytes[from..].starts_with(marker.as_bytes())
                    && bytes[from + marker.len()..]
                        .iter()
                        .all(u8::is_ascii_hexdigit)
            })
    };
    text.ends_with(char::is_alphanumeric)
        && !escape("%", 2)
        && !escape("\\u", 4)
        && !escape("\\x", 2)
}

/// Place of a secret in a text, in any mixture of encodings but Base64.
fn found<'t>(text: &'t str, secret: &'t str) -> impl Iterator<Item = (usize, usize)> + 't {
    let starts = text.char_indices().map(|(at, _)| at);
    let first = secret.chars().next();
    let begins = move |from: &usize| {
        first.is_some_and(|first| after(&text[*from..], first).next().is_some())
    };
    starts
        .filter(begins)
        .filter_map(move |from| Some((from, end_of(text, from, secret)?)))
}

/// Beginnings of a secret that something else follows before it ends, if they are long enough. Of one that is encoded the letters of
/// the encoding count, and what is left of the letter in which it was cut goes with it.
fn cut_off<'t>(text: &'t str, secret: &'t str) -> impl Iterator<Item = (usize, usize)> + 't {
    text.char_indices()
        .map(|(at, _)| at)
        .filter_map(move |from| {
            let (mut ends, mut whole, mut bytes) = (vec![from], 0, 0);
            for letter in secret.chars() {
                let next = letter_ends(text, &ends, letter);
                if next.is_empty() {
                    break;
                }
                (ends, whole, bytes) = (next, whole + 1, bytes + letter.len_utf8());
            }
            let end = ends.last().copied()?;
            if whole >= PIECE {
                return Some((from, end));
            }
            let is_encoded = end - from >= PIECE && end - from > bytes;
            let rest = text[end..].trim_start_matches(|c: char| {
                c.is_ascii_alphanumeric() || matches!(c, '%' | '\\' | '&' | '#')
            });
            (whole >= FEWEST && is_encoded).then(|| (from, text.len() - rest.len()))
        })
}

/// Possible ends of a letter that begins at one of these places.
fn letter_ends(text: &str, ends: &[usize], letter: char) -> Vec<usize> {
    let mut next: Vec<usize> = ends
        .iter()
        .flat_map(|at| after(&text[*at..], letter).map(move |n| at + n))
        .collect();
    next.sort_unstable();
    next.dedup();
    next
}

/// End of the secret that begins here; the furthest, if it can be read in several ways.
fn end_of(text: &str, from: usize, secret: &str) -> Option<usize> {
    let mut ends = vec![from];
    for letter in secret.chars() {
        ends = letter_ends(text, &ends, letter);
        if ends.is_empty() {
            return None;
        }
    }
    ends.last().copied()
}

/// Lengths in bytes of a letter at the beginning of a text, in each way of writing it.
fn after(text: &str, letter: char) -> impl Iterator<Item = usize> {
    let plain = text.starts_with(letter).then(|| letter.len_utf8());
    let blank = (letter == ' ' && text.starts_with('+')).then_some(1);
    let mut utf8 = [0; 4];
    let percent = percent_encoded(text, letter.encode_utf8(&mut utf8).as_bytes());
    // Old forms are in Latin-1.
    let latin = u8::try_from(u32::from(letter))
        .ok()
        .filter(|byte| *byte >= 0x80);
    let percent = percent.or_else(|| percent_encoded(text, &[latin?]));
    // The text behind a percent sign may be another layer of encoding, or the secret's own digits.
    let percent_sign = (letter == '%' && text.starts_with("%25")).then_some(3);
    [
        plain,
        blank,
        percent_sign,
        percent,
        backslashed(text, letter),
        in_html(text, letter),
    ]
    .into_iter()
    .flatten()
}

/// `%40`, or `%2540` and so on.
fn percent_encoded(text: &str, bytes: &[u8]) -> Option<usize> {
    let mut rest = text;
    for byte in bytes {
        rest = rest.strip_prefix('%')?;
        while let Some(deeper) = rest.strip_prefix("25").filter(|deeper| is_hex(deeper, 2)) {
            rest = deeper;
        }
        rest = hex(rest, 2, u32::from(*byte))?;
    }
    Some(text.len() - rest.len())
}

/// `\u0040`, `\x40`, `\/`, with one backslash or more.
fn backslashed(text: &str, letter: char) -> Option<usize> {
    let slashes =
        |text: &str| Some(text.trim_start_matches('\\').len()).filter(|left| *left < text.len());
    let rest = &text[text.len() - slashes(text)?..];
    let mut units = [0; 2];
    let units = letter.encode_utf16(&mut units);
    let mut escaped = Some(rest);
    for (nth, unit) in units.iter().enumerate() {
        escaped = escaped.and_then(|rest| {
            let rest = if nth == 0 {
                rest
            } else {
                &rest[rest.len() - slashes(rest)?..]
            };
            hex(rest.strip_prefix('u')?, 4, u32::from(*unit))
        });
    }
    let short = || {
        rest.strip_prefix('x')
            .and_then(|rest| hex(rest, 2, u32::from(letter)))
    };
    let named = || {
        let name = match letter {
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            '"' | '\'' | '/' | '\\' => letter,
            _ => return None,
        };
        // Of the secret's own backslashes the last one was taken for an escape.
        if name == '\\' {
            (text.len() - rest.len() >= 2).then_some(rest)
        } else {
            rest.strip_prefix(name)
        }
    };
    let rest = escaped.or_else(short).or_else(named)?;
    Some(text.len() - rest.len())
}

/// `&#64;`, `&#x40;`, `&quot;`, and the same with `&amp;` for the `&`.
fn in_html(text: &str, letter: char) -> Option<usize> {
    let mut rest = text.strip_prefix('&')?;
    let mut ampersands = None;
    while let Some(deeper) = rest.strip_prefix("amp;") {
        rest = deeper;
        ampersands = Some(text.len() - rest.len());
    }
    let numbered =
        rest.strip_prefix('#')
            .and_then(|digits| match digits.strip_prefix(['x', 'X']) {
                Some(digits) => numbered_in_html(digits, 16, letter),
                None => numbered_in_html(digits, 10, letter),
            });
    let named =
        html_names::names_of(letter).find_map(|name| rest.strip_prefix(name)?.strip_prefix(';'));
    let end = numbered.or(named).map(|rest| text.len() - rest.len());
    end.or(ampersands.filter(|_| letter == '&'))
}

/// Text behind a letter's number and a semicolon.
fn numbered_in_html(text: &str, radix: u32, letter: char) -> Option<&str> {
    let (digits, rest) = text.split_once(';')?;
    (u32::from_str_radix(digits, radix).ok()? == u32::from(letter)).then_some(rest)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.as_bytes()
        .get(..digits)
        .is_some_and(|text| text.iter().all(u8::is_ascii_hexdigit))
}

/// Text behind a number in so many hexadecimal digits.
fn hex(text: &str, digits: usize, value: u32) -> Option<&str> {
    let written = text.get(..digits).filter(|_| is_hex(text, digits))?;
    (u32::from_str_radix(written, 16).ok()? == value).then(|| &text[digits..])
}

/// Certain part of some bytes in Base64, where `before` bytes more than a multiple of three stand
/// before them.
pub(super) fn inner_base64(bytes: &[u8], before: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |nth: usize| {
        // Six bits from the bit `6 * nth` on; those of the bytes before are left out by the range.
        (0..6).fold(0, |sextet, bit| {
            let at = 6 * nth + bit;
            let byte = (at / 8)
                .checked_sub(before)
                .and_then(|at| bytes.get(at))
                .copied()
                .unwrap_or(0);
            sextet << 1 | usize::from(byte >> (7 - at % 8) & 1)
        })
    };
    let (first, end) = ((before * 8).div_ceil(6), (before + bytes.len()) * 8 / 6);
    (first..end)
        .map(|nth| char::from(ALPHABET[bits(nth)]))
        .collect()
}

/// A place in Base64 with all that belongs to it: its neighbours are parts of the same secret.
fn widened(text: &str, from: usize, to: usize) -> (usize, usize) {
    let belongs = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_' | '=' | '%' | '\\')
    };
    let before = text[..from].trim_end_matches(belongs).len();
    (
        before,
        text.len() - text[to..].trim_start_matches(belongs).len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(secret: &str, text: &str) -> String {
        let coats = EncodedSecret::of(&Secret::new(secret));
        crate::redact::without(text, coats.places(text))
    }

    #[test]
    fn a_secret_is_found_in_every_coat() {
        let secret = "p@ss w/ö\"rd&+1";
        for coat in [
            "p@ss w/ö\"rd&+1",
            "p%40ss%20w%2F%C3%B6%22rd%26%2B1",
            "p%40ss+w%2f%c3%b6%22rd%26%2b1",
            "p@ss+w/%C3%B6\"rd&+1",
            "%70%40%73%73%20%77%2F%C3%B6%22%72%64%26%2B%31",
            "p%2540ss%2520w%252F%25C3%25B6%2522rd%2526%252B1",
            "p%25252540ss%2520w/%25C3%25B6%22rd%26%2B1",
            "p%40ss+w%2F%F6%22rd%26%2B1",
            r#"p@ss w/ö\"rd&+1"#,
            r#"p@ss w\/\u00f6\"rd&+1"#,
            r#"p\u0040ss w\u002F\u00F6\u0022rd\u0026\u002b1"#,
            r#"p\\u0040ss w\\\/\\u00f6\\\"rd&+1"#,
            r"p\x40ss w/\xf6\x22rd\x26+1",
            "p&#64;ss w&#x2F;&#246;&quot;rd&amp;&#43;1",
            "p&amp;#64;ss w/ö&amp;quot;rd&amp;amp;+1",
            "p&commat;ss w&sol;&#xF6;&#34;rd&#38;&plus;1",
            "p&commat;ss&nbsp;w&sol;&ouml;&quot;rd&amp;&plus;1",
        ] {
            assert_eq!(
                hidden(secret, &format!("secret={coat}, so")),
                "secret=***, so",
                "{coat}"
            );
        }
    }

    #[test]
    fn names_of_signs_are_found_however_few_letters_stand_between_them() {
        assert_eq!(
            hidden("a!b#c$d(e)", "no a&excl;b&num;c&dollar;d&lpar;e&rpar; here"),
            "no *** here"
        );
    }

    #[test]
    fn base64_is_found_at_every_place() {
        let base64 = |text: &str, pad: bool| {
            let mut out = inner_base64(text.as_bytes(), 0);
            let rest = text.len() % 3;
            if rest > 0 {
                // The last digit, whose lowest bits are none.
                let padded = format!("{text}\0\0");
                out = inner_base64(padded.as_bytes(), 0)[..out.len() + 1].to_owned();
                out.push_str(&"=".repeat(if pad { 3 - rest } else { 0 }));
            }
            out
        };
        assert_eq!(base64("user:p", true), "dXNlcjpw");
        assert_eq!(base64("ab", true), "YWI=");
        for secret in [
            "p@ss w/ö\"rd&+1",
            "hunter2-hunter2",
            "\u{3ff}\u{3fe}\u{3fd}\u{3fc}?>?>?>",
        ] {
            for user in ["", "u", "us", "use", "user:", "client-7:", "{\"secret\":\""] {
                for pad in [true, false] {
                    let text = base64(&format!("{user}{secret}"), pad);
                    for coat in [
                        text.clone(),
                        text.replace('+', "-").replace('/', "_"),
                        text.replace('+', "%2B")
                            .replace('/', "%2f")
                            .replace('=', "%3D"),
                        text.replace('/', r"\/"),
                    ] {
                        assert_eq!(
                            hidden(secret, &format!("Basic {coat}")),
                            "Basic ***",
                            "{user} {coat}"
                        );
                    }
                }
            }
        }
        assert_eq!(hidden("p@ss", "70407373 and"), "*** and");
    }

    #[test]
    fn an_encoding_that_was_cut_is_found() {
        let secret = "p@ss w\u{f6}rd/42";
        for cut in [
            "p%40ss%20w%C3%",
            "p%40ss%20w%C3",
            "p%40ss%20w%C",
            "p%40ss%20w%",
            "p%40ss%20w",
            "p%40ss%20",
            "p%40ss+w%c3%b6r",
            "p%2540ss%2520w%25C",
            "%70%40%73%73%2",
            "p\\u0040ss w\\u00",
            "p&#64;ss w&#2",
            "p%40ss%20w%F6rd%2F4",
        ] {
            assert_eq!(
                hidden(secret, &format!("secret={cut}")),
                "secret=***",
                "{cut}"
            );
            assert_eq!(
                hidden(secret, &format!("\"{cut}...\" is bad")),
                "\"***...\" is bad",
                "{cut}"
            );
        }
        for other in [
            "p%40s",
            "ss%20w%C3%",
            "100%20w%C3%",
            "pass%20word",
            "p%40st%20w%C3%B6rd",
        ] {
            assert_eq!(hidden(secret, other), other);
        }
    }

    #[test]
    fn short_secrets_are_words_of_their_own() {
        assert_eq!(
            hidden("a", "a banana"),
            "a banana",
            "one letter hides nothing"
        );
        assert_eq!(
            hidden("abc", "abc of the abcde, x=abc"),
            "*** of the abcde, x=***"
        );
        assert_eq!(
            hidden("test", "the latest test failed: secret%3Dtest"),
            "the latest *** failed: secret%3D***"
        );
        assert_eq!(hidden("1234", "12345 \"1234\""), "12345 \"***\"");
        assert_eq!(hidden("hunter2", "ahunter2b"), "a***b");
    }

    #[test]
    fn odd_secrets_and_odd_texts_do_no_harm() {
        assert_eq!(
            hidden(
                r"C:\new\%25",
                r"C:\new\%25 C:\\new\\%2525 C%3A%5Cnew%5C%2525"
            ),
            "*** *** ***"
        );
        assert_eq!(hidden("100%25", "100%25 100%2525"), "*** ***");
        assert_eq!(hidden("aaaaaaaa", "aaaaaaaaaaaa"), "***");
        assert_eq!(
            hidden(
                "\u{1f511}key-key",
                r"\ud83d\udd11key-key %F0%9F%94%91key-key"
            ),
            "*** ***"
        );
        for text in [
            "%", "%2", "%25", "\\", "\\u", "\\u12", "&", "&#", "&#x;", "&amp;", "ä%c3", "",
        ] {
            assert_eq!(hidden("p@ss-word", text), text);
        }
        assert!(
            !format!("{:?}", EncodedSecret::of(&Secret::new("hunter2")).plain())
                .contains("hunter2")
        );
    }
}
