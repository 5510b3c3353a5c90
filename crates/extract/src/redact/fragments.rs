//! Pieces of a secret: what is left of it when it was cut, turned round, spaced out or written as numbers.
//!
//! Invariant: wherever eight letters in a row of a secret stand in a text, or of what encodes it, their place is found, whatever separates
//! digits from one another; of a secret only hashes of its pieces are kept here.
//!
//! `encodings` finds the exact place of a secret that is there as a whole. What it misses is looked for here, in forms in which
//! spellings no longer differ: letters without case and accents, and the digits of Base64, hexadecimal and other numbers without anything between
//! them.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Letters in a row that are a piece; a secret that is shorter and has `SHORTEST` is a piece as a
/// whole.
const PIECE: usize = 8;
const SHORTEST: usize = 6;
/// Longest secret that is looked for as numbers; of a longer one (a token) only the letters are.
const LONGEST_ENCODED: usize = 256;

/// Form in which spellings no longer differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FragmentForm {
    /// Letters without case and accents.
    Letters,
    /// Digits of Base64, of either alphabet.
    Base64,
    /// Hexadecimal digits.
    Hex,
    /// Digits.
    Digits,
}

const FORMS: [FragmentForm; 4] = [
    FragmentForm::Letters,
    FragmentForm::Base64,
    FragmentForm::Hex,
    FragmentForm::Digits,
];

impl FragmentForm {
    /// A text in this form, and from where to where each letter stands.
    fn of(self, text: &str) -> Vec<(char, usize, usize)> {
        let mut letters = Vec::with_capacity(text.len());
        let mut all = text.char_indices().peekable();
        while let Some((at, c)) = all.next() {
            let end = at + c.len_utf8();
            match self {
                Self::Letters => decompose_compatible(c, |part| {
                    if !is_combining_mark(part) {
                        letters.extend(part.to_lowercase().map(|part| (part, at, end)));
                    }
                }),
                Self::Base64 => match c {
                    '-' => letters.push(('+', at, end)),
                    '_' => letters.push(('/', at, end)),
                    '+' | '/' => letters.push((c, at, end)),
                    c if c.is_ascii_alphanumeric() => letters.push((c, at, end)),
                    _ => {}
                },
                // `0x70`: the zero is no digit of it.
                Self::Hex
                    if c == '0'
                        && all
                            .peek()
                            .is_some_and(|(_, next)| matches!(next, 'x' | 'X')) => {}
                Self::Hex if c.is_ascii_hexdigit() => {
                    letters.push((c.to_ascii_lowercase(), at, end))
                }
                Self::Digits if c.is_ascii_digit() => letters.push((c, at, end)),
                Self::Hex | Self::Digits => {}
            }
        }
        letters
    }
}

/// Text in every form.
pub(crate) struct FragmentForms([Vec<(char, usize, usize)>; 4]);

impl FragmentForms {
    pub(crate) fn of(text: &str) -> Self {
        Self(FORMS.map(|form| form.of(text)))
    }

    fn get(&self, form: FragmentForm) -> &[(char, usize, usize)] {
        FORMS
            .iter()
            .position(|known| *known == form)
            .map_or(&[], |at| &self.0[at])
    }
}

/// Fragments of one secret, as hashes.
pub(crate) struct SecretFragments(Vec<FragmentHashes>);

/// Hashes of a secret's fragments in one form.
struct FragmentHashes {
    form: FragmentForm,
    width: usize,
    hashes: HashSet<u64>,
}

impl SecretFragments {
    pub(crate) fn of(secret: &str) -> Self {
        let mut pieces = Self(Vec::new());
        let secret = secret.trim();
        pieces.add(FragmentForm::Letters, secret, PIECE, SHORTEST);
        if secret.chars().count() > LONGEST_ENCODED {
            return pieces;
        }
        let letters: String = FragmentForm::Letters
            .of(secret)
            .iter()
            .rev()
            .map(|(letter, ..)| *letter)
            .collect();
        pieces.add(FragmentForm::Letters, &letters, PIECE, SHORTEST);
        let latin = secret
            .chars()
            .map(|c| u8::try_from(u32::from(c)).ok())
            .collect::<Option<Vec<u8>>>();
        let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut spellings = vec![secret.as_bytes().to_vec(), wide];
        spellings.extend(latin.filter(|latin| latin.as_slice() != secret.as_bytes()));
        for bytes in spellings {
            for before in 0..3 {
                pieces.add(
                    FragmentForm::Base64,
                    &super::encodings::inner_base64(&bytes, before),
                    PIECE,
                    SHORTEST,
                );
            }
            let numbers = |write: fn(&u8) -> String| bytes.iter().map(write).collect::<String>();
            // Digits say less than letters, so a piece of them is longer.
            pieces.add(
                FragmentForm::Hex,
                &numbers(|byte| format!("{byte:02x}")),
                12,
                PIECE,
            );
            pieces.add(
                FragmentForm::Digits,
                &numbers(|byte| format!("{byte:03o}")),
                12,
                12,
            );
            pieces.add(
                FragmentForm::Digits,
                &numbers(|byte| byte.to_string()),
                12,
                12,
            );
        }
        pieces
    }

    fn add(&mut self, form: FragmentForm, text: &str, piece: usize, shortest: usize) {
        let letters = form.of(text);
        if letters.len() >= shortest {
            let width = piece.min(letters.len());
            self.0.push(FragmentHashes {
                form,
                width,
                hashes: letters.windows(width).map(hash).collect(),
            });
        }
    }

    /// Places of pieces in a text, as ranges of bytes.
    pub(crate) fn places(&self, text: &FragmentForms) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        for FragmentHashes {
            form,
            width,
            hashes,
        } in &self.0
        {
            for window in text.get(*form).windows(*width) {
                if let [(_, from, _), .., (_, _, to)] = window
                    && hashes.contains(&hash(window))
                {
                    places.push((*from, *to));
                }
            }
        }
        places
    }
}

fn hash(window: &[(char, usize, usize)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    window
        .iter()
        .for_each(|(letter, ..)| letter.hash(&mut hasher));
    hasher.finish()
}

/// A place with the words that it touches.
pub(crate) fn words_at(text: &str, (from, to): (usize, usize)) -> (usize, usize) {
    let (from, to) = (text.floor_char_boundary(from), text.ceil_char_boundary(to));
    let before = text[..from]
        .trim_end_matches(|c: char| !c.is_whitespace())
        .len();
    (
        before,
        text.len()
            - text[to..]
                .trim_start_matches(|c: char| !c.is_whitespace())
                .len(),
    )
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;
    use tillhouse_model::Secret;

    const SECRET: &str = "Sup€r-gehe\u{ef}m/ w\u{f6}rd+42";

    fn base64(bytes: &[u8]) -> String {
        let padded = [bytes, &[0, 0]].concat();
        super::super::encodings::inner_base64(&padded, 0)[..(bytes.len() * 8).div_ceil(6)]
            .to_owned()
    }

    fn joined(bytes: &[u8], by: &str, write: fn(&u8) -> String) -> String {
        bytes.iter().map(write).collect::<Vec<_>>().join(by)
    }

    fn wrapped(text: &str, every: usize, by: &str) -> String {
        let parts: Vec<String> = text
            .as_bytes()
            .chunks(every)
            .map(|part| String::from_utf8_lossy(part).into())
            .collect();
        parts.join(by)
    }

    #[test]
    fn nothing_of_a_secret_comes_through() {
        for secret in [
            SECRET,
            "hunter2-hunter2",
            "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
            "p@ss w\"rd/\u{fc}%25+x&y",
        ] {
            let redactor = Redactor::default();
            redactor.add(&Secret::new(secret));
            let bytes = secret.as_bytes();
            let letters: Vec<char> = secret.chars().collect();
            let cut = |from: usize, to: usize| letters[from..to].iter().collect::<String>();
            let latin = |bytes: &[u8]| {
                bytes
                    .iter()
                    .map(|byte| char::from(*byte))
                    .collect::<String>()
            };
            let coats = [
                cut(3, letters.len() - 3),
                cut(2, 10),
                cut(letters.len() - 8, letters.len()),
                cut(1, letters.len()).to_uppercase(),
                letters.iter().rev().collect(),
                wrapped(&base64(bytes), 7, "\r\n"),
                wrapped(&base64(bytes), 4, "\\n"),
                base64(&bytes[2..]),
                base64(
                    &secret
                        .encode_utf16()
                        .flat_map(u16::to_le_bytes)
                        .collect::<Vec<_>>(),
                ),
                joined(bytes, ":", |byte| format!("{byte:02X}")),
                joined(bytes, " ", |byte| format!("{byte:02x}")),
                joined(bytes, "-", |byte| format!("{byte:02x}")),
                joined(bytes, ", ", |byte| format!("0x{byte:02x}")),
                joined(bytes, "", |byte| format!("={byte:02X}")),
                joined(bytes, "", |byte| format!("\\x{byte:02x}")),
                joined(bytes, "", |byte| format!("\\{byte:03o}")),
                joined(bytes, " ", |byte| format!("{byte:03o}")),
                joined(bytes, ",", |byte| byte.to_string()),
                latin(bytes),
                latin(latin(bytes).as_bytes()),
                secret
                    .replace('\u{ef}', "i\u{308}")
                    .replace('\u{f6}', "o\u{308}")
                    .replace('\u{fc}', "u\u{308}"),
                secret
                    .replace('\u{ef}', "=C3=AF")
                    .replace('\u{f6}', "=C3=B6")
                    .replace('w', "=\r\nw"),
            ];
            for coat in coats {
                let shown = redactor.scrub(&format!("no {coat} here"));
                let left = shown.replace("***", "").replace(['"', '\\'], "");
                assert_eq!(
                    left.split_whitespace().collect::<String>().replace(".", ""),
                    "nohere",
                    "{coat:?}: {shown}"
                );
            }
        }
    }

    #[test]
    fn other_texts_are_left_as_they_are() {
        let redactor = Redactor::default();
        for secret in [
            SECRET,
            "correct-horse-battery",
            "sandbox-secret",
            "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
            "12345678",
        ] {
            redactor.add(&Secret::new(secret));
        }
        for text in [
            "the sandbox says that the correct answer is no secret",
            "start_date must not lie after 2026-01-01T00:00:00Z",
            "client_id and client_secret do not match",
            "request 8d3f0b12 of machine 4711 failed at 00:11:22:33:44:55",
        ] {
            assert_eq!(redactor.scrub(text), text);
        }
    }
}
