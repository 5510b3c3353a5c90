//! Pseudonyms: how a personal value becomes a token that can be counted and joined, but not read back.
//!
//! Invariant: the same value under the same key always gives the same token, whatever its spelling; without the key nobody
//! can test a guess. Plate numbers are guessable, hence HMAC-SHA256 and never a plain hash.

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::table::ValueNormalisation;
use crate::word::one_form;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The project's key for pseudonyms.
///
/// ```
/// use tillhouse_model::{PseudonymKey, Secret, table::ValueNormalisation};
///
/// let key = PseudonymKey::parse(&Secret::new("00112233445566778899aabbccddeeff"))?;
/// let plate = |text| key.pseudonym(ValueNormalisation::Plate, text);
/// assert_eq!(plate("KA-XY 1"), plate("kaxy1"));
/// assert!(plate("KA-XY 1").starts_with("hmac1:"));
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
#[derive(Clone)]
pub struct PseudonymKey {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey(***)")
    }
}

impl PseudonymKey {
    /// Reads a key of hexadecimal digits, two a byte and at least 32 of them (128 bits); `tillhouse init` writes 64.
    ///
    /// Errors with [`crate::ErrorKind::Config`]; the message never holds the key.
    pub fn parse(secret: &Secret) -> Result<Self> {
        let bad = || {
            Error::config("privacy_key must be hexadecimal digits, an even number of them and at least 32")
                .hint("`tillhouse init` writes a fresh one into .env; or make one with `openssl rand -hex 32`.")
        };
        let text = secret.expose().trim();
        if text.len() < 32
            || !text.len().is_multiple_of(2)
            || !text.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Err(bad());
        }
        let bytes: Option<Vec<u8>> = (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok())
            .collect();
        let mac = Hmac::new_from_slice(&bytes.ok_or_else(bad)?).map_err(|_| bad())?;
        Ok(Self { mac })
    }

    /// Appends the pseudonym of `value` to `out`: `hmac1:` and 64 hexadecimal digits.
    pub fn write(&self, how: ValueNormalisation, value: &str, out: &mut String) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut mac = self.mac.clone();
        mac.update(normalise(how, value).as_bytes());
        out.push_str("hmac1:");
        for byte in mac.finalize().into_bytes() {
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }

    /// A key for another purpose. Neither this key nor a pseudonym can be told from it, nor it from them: pseudonyms are of texts, and what it is the hash of is none.
    pub fn derived_key(&self, purpose: &str) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(&[0xff]);
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// A name for the key that tells it from others, 16 hexadecimal digits: made with the key, as pseudonyms are, so that it helps nobody to guess one more than they do.
    pub fn fingerprint(&self) -> String {
        let digest = self.derived_key("fingerprint of the privacy key");
        let some = digest.iter().take(8);
        some.map(|byte| format!("{byte:02x}")).collect()
    }

    /// The pseudonym of `value`.
    pub fn pseudonym(&self, how: ValueNormalisation, value: &str) -> String {
        let mut out = String::with_capacity(70);
        self.write(how, value, &mut out);
        out
    }
}

/// Brings a value into the form that is hashed.
///
/// Spellings that look alike give one form: full-width letters, an umlaut of one character or of two, blanks that do not break, blanks of
/// no width, dashes of any length (Unicode's NFKC, and what it leaves of those). What is plain ASCII is only trimmed and
/// folded as [`ValueNormalisation`] says, so that its pseudonyms are those of earlier versions.
pub(crate) fn normalise(how: ValueNormalisation, value: &str) -> String {
    let kept = |value: &str, extra: &[char]| -> String {
        // Marks that have no character together with their letter go, whichever case the letter was in.
        value
            .chars()
            .filter(|c| c.is_alphanumeric() || extra.contains(c))
            .flat_map(char::to_uppercase)
            .collect()
    };
    if value.is_ascii() {
        return match how {
            ValueNormalisation::Text => value.trim().to_owned(),
            ValueNormalisation::Plate => kept(value, &[]),
            ValueNormalisation::Email => value.trim().to_lowercase(),
            ValueNormalisation::Card => kept(value, &['*']),
        };
    }
    let value = one_form(value);
    let upper = || one_form(&value.to_lowercase().to_uppercase());
    match how {
        ValueNormalisation::Text => value.trim().to_owned(),
        ValueNormalisation::Plate => kept(&upper(), &[]),
        ValueNormalisation::Email => one_form(&value.to_lowercase()).trim().to_owned(),
        ValueNormalisation::Card => kept(&upper(), &['*']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hex: &str) -> PseudonymKey {
        PseudonymKey::parse(&Secret::new(hex)).unwrap()
    }

    #[test]
    fn spellings_of_one_plate_meet_and_keys_part() {
        let (a, b) = (key(&"ab".repeat(32)), key(&"cd".repeat(32)));
        let token = a.pseudonym(ValueNormalisation::Plate, "KA-XY 1");
        assert_eq!(token, a.pseudonym(ValueNormalisation::Plate, "kaxy1"));
        assert_ne!(token, b.pseudonym(ValueNormalisation::Plate, "kaxy1"));
        assert!(token.starts_with("hmac1:") && token.len() == 70, "{token}");
    }

    #[test]
    fn a_key_for_another_purpose_is_no_pseudonym() {
        let (a, b) = (key(&"ab".repeat(32)), key(&"cd".repeat(32)));
        let of = |key: &PseudonymKey, purpose: &str| {
            let bytes = key.derived_key(purpose);
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        assert_eq!(of(&a, "x"), of(&a, "x"));
        assert_ne!(of(&a, "x"), of(&a, "y"));
        assert_ne!(of(&a, "x"), of(&b, "x"));
        let pseudonym = a.pseudonym(ValueNormalisation::Text, "x");
        assert_ne!(format!("hmac1:{}", of(&a, "x")), pseudonym);
    }

    /// Warehouses keep it: whoever changes how it is made has every one of them refuse its own key.
    #[test]
    fn a_fingerprint_tells_keys_apart_and_is_part_of_no_pseudonym() {
        let (a, b) = (key(&"ab".repeat(32)), key(&"cd".repeat(32)));
        assert_eq!(a.fingerprint(), key(&"AB".repeat(32)).fingerprint());
        assert_ne!(a.fingerprint(), b.fingerprint());
        assert_eq!(a.fingerprint().len(), 16);
        assert_eq!(a.fingerprint(), "9e3a7ce4fa0f1fc4");
        let pseudonym = a.pseudonym(ValueNormalisation::Text, "fingerprint of the privacy key");
        assert!(!pseudonym.contains(&a.fingerprint()));
    }

    /// Pseudonyms stand in tables for years: whoever changes these parts every warehouse from its past.
    #[test]
    fn pseudonyms_of_plain_values_never_change() {
        let key = key(&"ab".repeat(32));
        for (how, value, token) in [
            (
                ValueNormalisation::Plate,
                "KA-XY 1",
                "hmac1:bd2aeaebda7db004884974263245303de0fc5e22647d2373ab82f1d905e214b1",
            ),
            (
                ValueNormalisation::Text,
                " Driver 7\t",
                "hmac1:bf5d6fd9ffc1ffb4fb4366834db4fc79a8314bd6e410848cceca019c22700931",
            ),
            (
                ValueNormalisation::Email,
                "Jo@Example.org ",
                "hmac1:a5d493227a0953cd4556cddc7d0fd221d89f751f95a472acae458df5ea1f657f",
            ),
            (
                ValueNormalisation::Card,
                "5168 12** **** 8932",
                "hmac1:839817c307729cd7df024d956707c3e3008d6cf106bc50c10de6f41afe8d9b46",
            ),
            (
                ValueNormalisation::Plate,
                "M\u{dc}-X 1",
                "hmac1:7374bf64360245bb45fa92496a52d437bb863d8de909c014ed1d7b46170d6af5",
            ),
        ] {
            assert_eq!(key.pseudonym(how, value), token, "{value}");
        }
    }

    #[test]
    fn what_looks_alike_is_one_value() {
        let alike = |how, values: &[&str]| {
            let forms: Vec<String> = values.iter().map(|value| normalise(how, value)).collect();
            for (form, value) in forms.iter().zip(values) {
                assert_eq!(form, &forms[0], "{value:?} and {:?}", values[0]);
            }
        };
        alike(
            ValueNormalisation::Plate,
            &[
                "KAXY1",
                "KA-XY 1",
                "ka\u{2011}xy\u{a0}1",
                "\u{ff2b}\u{ff21}\u{ff0d}\u{ff38}\u{ff39}\u{3000}\u{ff11}",
                "KA\u{2013}XY\u{200b}1",
                "KA\u{2014}XY\u{2009}1",
                "\u{feff}KA\u{ad}XY1",
                "KA\u{2212}XY\u{202f}1",
                "\u{24c0}AXY\u{b9}",
            ],
        );
        alike(
            ValueNormalisation::Plate,
            &[
                "M\u{dc}-X 1",
                "MU\u{308}-X 1",
                "mu\u{308}x1",
                "m\u{fc} x 1",
                "M\u{fc}\u{200d}X1",
            ],
        );
        alike(ValueNormalisation::Plate, &["x\u{30c}1", "X\u{30c}1", "x1"]);
        alike(
            ValueNormalisation::Plate,
            &["\u{1f0}1", "J\u{30c}1", "j\u{30c}1"],
        );
        alike(
            ValueNormalisation::Plate,
            &["STRASSE1", "stra\u{df}e 1", "STRA\u{1e9e}E-1"],
        );
        alike(
            ValueNormalisation::Text,
            &[
                "Jos\u{e9} M",
                "Jose\u{301} M",
                "Jos\u{e9}\u{a0}M ",
                "\u{200b}Jos\u{e9} M",
                "\u{ff2a}os\u{e9} M",
            ],
        );
        alike(
            ValueNormalisation::Text,
            &["A-1", "A\u{2010}1", "A\u{2013}1", " A\u{2011}1\u{a0}"],
        );
        alike(
            ValueNormalisation::Email,
            &[
                "m\u{fc}@x.org",
                "MU\u{308}@X.ORG",
                " m\u{fc}\u{ff20}x.org\u{200b}",
            ],
        );
        alike(
            ValueNormalisation::Card,
            &[
                "5168**8932",
                "5168 \u{ff0a}\u{ff0a} 8932",
                "5168\u{a0}**\u{2011}8932",
            ],
        );
        assert_ne!(
            normalise(ValueNormalisation::Plate, "M\u{dc}X1"),
            normalise(ValueNormalisation::Plate, "MUX1"),
            "an umlaut is no U"
        );
        assert_ne!(
            normalise(ValueNormalisation::Text, "a b"),
            normalise(ValueNormalisation::Text, "ab")
        );
    }

    #[test]
    fn a_bad_key_is_refused_without_being_shown() {
        let error = PseudonymKey::parse(&Secret::new("hunter2")).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
