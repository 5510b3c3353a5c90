//! Redaction: the parts of a request or an answer that may be shown.
//!
//! Invariant: text that leaves through this module holds no value of a query, no secret that was given to the [`Redactor`], in any
//! encoding (see `encodings`, and `layers` for several of them), and nothing that looks like a token or an address, or stands where one belongs
//! (`access_token=...`, see `words`). Of a secret that was cut or turned into numbers, what is left of it counts (`fragments`), and takes the whole
//! word with it.

mod encodings;
mod fragments;
mod html_names;
mod layers;
mod words;

use encodings::EncodedSecret;
use fragments::FragmentForms;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tillhouse_model::Secret;
use url::Url;

/// Tokens change over a long run; the newest this many secrets are remembered.
const REMEMBERED: usize = 64;
/// The longest message of a provider that is shown, in characters.
const LONGEST_MESSAGE: usize = 200;
/// Most bytes of a text that are read; no more than a message of it is shown.
const LONGEST_READ: usize = 8 << 10;
/// The longest name out of a header that is shown, in characters.
const LONGEST_NAME: usize = 60;
/// A run of letters and digits at least this long is taken for a token.
const TOKEN_LENGTH: usize = 20;

/// A URL without what may be secret: scheme, host, port, path, and the names of the query's keys.
pub fn redact_url(url: &Url) -> String {
    let mut text = format!("{}{}", crate::origin::name(url), url.path());
    for (i, (key, _)) in url.query_pairs().enumerate().take(16) {
        text.push(if i == 0 { '?' } else { '&' });
        text.extend(key.chars().filter(|c| !c.is_control()).take(40));
    }
    text
}

/// A URL without its query and fragment: what a server adds there is of no use to whoever sets an address.
pub(crate) fn without_query(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Knows the secrets that were sent or received, to take them out of what servers write back.
///
/// ```
/// use tillhouse_extract::Redactor;
/// use tillhouse_model::Secret;
///
/// let redactor = Redactor::default();
/// redactor.add(&Secret::new("hunter2-and-more"));
/// assert!(!redactor.scrub("wrong password hunter2-and-more").contains("hunter2"));
/// ```
#[derive(Default)]
pub struct Redactor {
    known: RwLock<VecDeque<EncodedSecret>>,
    /// Redactor whose secrets are taken out as well.
    base: Option<Arc<Redactor>>,
}

impl Redactor {
    /// Redactor of what belongs to a single request, however many values that are; what is known to `base`, then or later, it takes out as well.
    /// `base` itself does not learn of them.
    pub fn beside(base: &Arc<Self>, values: impl IntoIterator<Item = Secret>) -> Self {
        let values = values.into_iter();
        let known = values
            .filter(|value| !value.expose().is_empty())
            .map(|value| EncodedSecret::of(&value))
            .collect();
        Self {
            known: RwLock::new(known),
            base: Some(Arc::clone(base)),
        }
    }

    /// Remembers a secret. Empty ones are ignored.
    pub fn add(&self, secret: &Secret) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if secret.expose().is_empty()
            || known
                .iter()
                .any(|known| known.plain().expose() == secret.expose())
        {
            return;
        }
        if known.len() == REMEMBERED {
            known.pop_front();
        }
        known.push_back(EncodedSecret::of(secret));
    }

    /// One line of at most 200 characters, without known secrets, things that look like tokens, and e-mail addresses.
    pub fn scrub(&self, text: &str) -> String {
        let text = self.without_secrets(text);
        let mut line = String::new();
        let mut is_value = false;
        for word in text
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|w| !w.is_empty())
        {
            let shown = words::without_values(word);
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(
                match looks_secret(word) || (is_value && !words::is_plain(word)) {
                    true => "***",
                    false => shown.as_str(),
                },
            );
            is_value = words::announces_secret(word);
        }
        if line.chars().count() > LONGEST_MESSAGE {
            line = line
                .chars()
                .take(LONGEST_MESSAGE - 1)
                .chain(['…'])
                .collect();
        }
        line
    }

    /// A name out of a header, for a message: without known secrets, and without what is no letter of a name.
    pub fn name(&self, text: &str) -> String {
        let text = self.without_secrets(text);
        let parts = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
        let shown = parts.flat_map(|part| {
            match part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()) {
                run if looks_secret(run) => ["***", &part[run.len()..]],
                run => [run, &part[run.len()..]],
            }
        });
        let shown: String = shown.collect();
        shown
            .chars()
            .map(|c| {
                if c.is_ascii_graphic() || c == ' ' {
                    c
                } else {
                    '?'
                }
            })
            .take(LONGEST_NAME)
            .collect()
    }

    fn known(&self) -> RwLockReadGuard<'_, VecDeque<EncodedSecret>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The beginning of a text without known secrets.
    fn without_secrets(&self, text: &str) -> String {
        let text = &text[..text.floor_char_boundary(LONGEST_READ)];
        let (own, base) = (self.known(), self.base.as_deref().map(Self::known));
        let known = || own.iter().chain(base.iter().flat_map(|base| base.iter()));
        if known().next().is_none() {
            return text.to_owned();
        }
        let mut places = Vec::new();
        for reading in layers::readings(text) {
            let found = known().flat_map(|secret| secret.places(reading.text()));
            places.extend(found.map(|place| reading.place(place)));
        }
        let text = without(text, places);
        let mut places = Vec::new();
        for reading in layers::readings(&text) {
            let forms = FragmentForms::of(reading.text());
            let found = known().flat_map(|secret| secret.pieces().places(&forms));
            places.extend(found.map(|place| fragments::words_at(&text, reading.place(place))));
        }
        without(&text, places)
    }

    /// The short explanation in a provider's error body, scrubbed: the first of the fields providers use for one, or the whole of a
    /// plain text.
    pub fn provider_message(&self, body: &[u8]) -> Option<String> {
        let message = match serde_json::from_slice::<serde_json::Value>(body) {
            Ok(value) => self.scrub(words::explanation(&value, 0)?),
            Err(_) => self.scrub(words::plain_text(body)?),
        };
        (!message.is_empty()).then_some(message)
    }

    /// Words of a body, scrubbed, whatever form it has: the provider's message, else the first
    /// texts of a JSON document, else what can be read of a web page or a text. For answers to a
    /// login, which hold no records. A single word that may be a token is none that explains anything.
    pub fn words(&self, body: &[u8]) -> Option<String> {
        if words::is_value_alone(body) {
            return None;
        }
        let said = || {
            let message = match serde_json::from_slice::<serde_json::Value>(body) {
                Ok(value) => words::first_texts(&value),
                Err(_) => words::readable(body),
            };
            Some(self.scrub(&message)).filter(|message| !message.is_empty())
        };
        self.provider_message(body).or_else(said)
    }

    /// True if a secret that was given stands in a text. For ids, which look like tokens and are
    /// none.
    pub fn knows(&self, text: &str) -> bool {
        self.without_secrets(text) != text
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(***)")
    }
}

/// A text without these places, which may overlap.
fn without(text: &str, mut places: Vec<(usize, usize)>) -> String {
    places.sort_unstable();
    let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
    for (from, to) in places {
        if from >= end {
            shown.push_str(&text[end..from]);
            shown.push_str("***");
        }
        end = end.max(to);
    }
    shown.push_str(&text[end..]);
    shown
}

fn looks_secret(word: &str) -> bool {
    if word.contains('@') {
        return true;
    }
    let part_of_token =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '~');
    word.split(|c| !part_of_token(c)).any(|run| {
        run.len() >= TOKEN_LENGTH
            && run.contains(|c: char| c.is_ascii_digit())
            && run.contains(|c: char| c.is_ascii_alphabetic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_show_keys_and_no_values() {
        let secret =
            Url::parse("https://u:pw@api.example.com:8443/v1/list?token=hunter2&page[offset]=10")
                .unwrap();
        assert_eq!(
            redact_url(&secret),
            "https://api.example.com:8443/v1/list?token&page[offset]"
        );
    }

    #[test]
    fn messages_lose_secrets_tokens_and_addresses() {
        let redactor = Redactor::default();
        redactor.add(&Secret::new("hunter2"));
        assert_eq!(
            redactor.scrub("client hunter2 is\nunknown"),
            "client *** is unknown"
        );
        assert_eq!(
            redactor.scrub("bad token eyJhbGciOiJIUzI1NiJ9.e30.abc1"),
            "bad token ***"
        );
        assert_eq!(redactor.scrub("no user someone@example.com"), "no user ***");
        assert_eq!(
            redactor.scrub("start_date must not lie after 2026-01-01T00:00:00Z"),
            "start_date must not lie after 2026-01-01T00:00:00Z"
        );
        assert_eq!(redactor.scrub(&"word ".repeat(100)).chars().count(), 200);
        assert!(!format!("{redactor:?}").contains("hunter2"));
        assert!(redactor.knows("1-hunter2-3") && !redactor.knows("cbgmhslmp1o9or9kh1p0"));
    }

    #[test]
    fn several_coats_are_taken_off() {
        let redactor = Redactor::default();
        redactor.add(&Secret::new("p@ss w\"rd"));
        for coat in [
            "p%5Cu0040ss%20w%5C%22rd",
            "p%5cu0040ss+w%5c%22rd",
            r"p%40ss w%5C%22rd",
            r"p\u002540ss\u002520w\u002522rd",
            "p&#37;40ss%20w&#37;22rd",
            "p&amp;#64;ss%20w&amp;quot;rd",
            "p&commat;ss&nbsp;w&quot;rd",
            r"p\u{40}ss\u{20}w\u{22}rd",
            r"p\U00000040ss w\U00000022rd",
            "p%26%2364%3Bss%20w%26quot%3Brd",
            "p%25255Cu0040ss%252520w%25255C%252522rd",
            // Base64 of the form, of the JSON, of Base64; and in hexadecimal digits.
            "cCU0MHNzJTIwdyUyMnJk",
            "cFx1MDA0MHNzIHdcInJk",
            "Y0VCemN5QjNJbkpr",
            "cEBzcyB3InJk",
            "704073732077227264",
            // UTF-16, plain and escaped; signs of no width between the letters.
            "p\0@\0s\0s\0 \0w\0\"\0r\0d",
            "p\\u0000@\\u0000s\\u0000s\\u0000 \\u0000w\\u0000\\\"\\u0000r\\u0000d",
            "p\u{200b}@\u{200b}s\u{feff}s w\"rd",
            "6345427a63794233496e4a6b",
        ] {
            assert_eq!(
                redactor.scrub(&format!("no {coat} here")),
                "no *** here",
                "{coat}"
            );
        }
        assert_eq!(
            redactor.scrub("no secret: 100%25 of \\u0041bc here"),
            "no secret: 100%25 of \\u0041bc here"
        );
    }

    #[test]
    fn any_two_coats_over_one_another_are_taken_off() {
        fn base64(text: &str, alphabet: &[u8; 64]) -> String {
            let mut all = String::new();
            for group in text.as_bytes().chunks(3) {
                let bits = group
                    .iter()
                    .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                    << (8 * (3 - group.len()));
                all.extend(
                    (0..=group.len())
                        .map(|nth| char::from(alphabet[(bits >> (18 - 6 * nth) & 63) as usize])),
                );
            }
            all
        }
        const STANDARD: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        type SecretEncoding = fn(&str) -> String;
        let coats: [(&str, SecretEncoding); 10] = [
            ("percent", |text| {
                text.bytes().map(|byte| format!("%{byte:02x}")).collect()
            }),
            ("form", |text| {
                url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
            }),
            ("json", |text| {
                serde_json::to_string(text)
                    .unwrap()
                    .trim_matches('"')
                    .to_owned()
            }),
            ("unicode", |text| {
                text.encode_utf16()
                    .map(|unit| format!("\\u{unit:04x}"))
                    .collect()
            }),
            ("html", |text| {
                text.replace('&', "&amp;")
                    .replace('<', "&lt;")
                    .replace('"', "&quot;")
                    .replace('@', "&commat;")
            }),
            ("numbers", |text| {
                text.chars()
                    .map(|c| format!("&#{};", u32::from(c)))
                    .collect()
            }),
            ("base64", |text| base64(text, STANDARD)),
            ("padded", |text| {
                format!(
                    "{}{}",
                    base64(text, STANDARD),
                    "=".repeat((3 - text.len() % 3) % 3)
                )
            }),
            ("url", |text| base64(text, URL)),
            ("hex", |text| {
                text.bytes().map(|byte| format!("{byte:02X}")).collect()
            }),
        ];
        for secret in [
            "p@ss w\"rd/\u{fc}%25+x&y",
            "hunter2hunter2",
            "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
        ] {
            let redactor = Redactor::default();
            redactor.add(&Secret::new(secret));
            for (inner, under) in coats {
                assert_eq!(
                    redactor.scrub(&format!("no {} here", under(secret))),
                    "no *** here",
                    "{inner} of {secret}"
                );
                for (outer, over) in coats {
                    let text = format!("no {} here", over(&under(secret)));
                    let shown = redactor.scrub(&text);
                    assert_eq!(
                        shown, "no *** here",
                        "{outer} of {inner} of {secret}: {text}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_left_of_a_secret_that_was_cut_off_is_taken_out() {
        let redactor = Redactor::default();
        redactor.add(&Secret::new("correct-horse-battery"));
        for (text, shown) in [
            ("bad secret correct-ho", "bad secret ***"),
            ("bad secret correct-horse-batter…", "bad secret ***…"),
            ("bad secret \"correct-horse...", "bad secret \"***..."),
            ("bad secret correct%2Dhorse", "bad secret ***"),
            ("correct-h and more", "*** and more"),
            ("correct", "correct"),
            ("the correct answer", "the correct answer"),
        ] {
            assert_eq!(redactor.scrub(text), shown, "{text}");
        }
    }

    #[test]
    fn names_out_of_headers_hold_no_secret_and_no_escape() {
        let redactor = Redactor::default();
        redactor.add(&Secret::new("Hunter2-Long"));
        assert_eq!(redactor.name("text/Hunter2-Long"), "text/***");
        assert_eq!(redactor.name("text/Hunter2-L"), "text/***");
        assert_eq!(redactor.name("text/\u{1b}[31mred\n"), "text/?[31mred?");
        assert_eq!(
            redactor.name("text/a1b2c3d4e5f6a7b8c9d0e1; x=1"),
            "text/***; x=1"
        );
        assert_eq!(
            redactor.name("application/vnd.ms-excel.sheet.12"),
            "application/vnd.ms-excel.sheet.12"
        );
        assert_eq!(redactor.name(&"x".repeat(500)).len(), LONGEST_NAME);
    }

    #[test]
    fn a_secret_within_another_or_twice_at_one_place_is_taken_out_whole() {
        let redactor = Redactor::default();
        for secret in ["hunter2", "hunter2-long", "2-long-er"] {
            redactor.add(&Secret::new(secret));
        }
        assert_eq!(
            redactor.scrub("a hunter2-long-er b hunter2. aHVudGVyMi1sb25n"),
            "a *** b ***. ***"
        );
    }

    #[test]
    fn old_tokens_make_room() {
        let redactor = Redactor::default();
        for i in 0..100 {
            redactor.add(&Secret::new(format!("token-{i}")));
        }
        assert_eq!(redactor.known.read().unwrap().len(), REMEMBERED);
        assert_eq!(redactor.scrub("token-99"), "***");
    }

    #[test]
    fn what_belongs_to_a_request_makes_no_room_and_is_known_to_it_alone() {
        let shared = Arc::new(Redactor::default());
        shared.add(&Secret::new("hunter2-long"));
        let plates = (0..1_000).map(|i| Secret::new(format!("KA-XY {i:04}")));
        let own = Redactor::beside(&shared, plates);
        shared.add(&Secret::new("token-of-later"));
        let said = "no KA-XY 0000, KA-XY%200999, hunter2-long, token-of-later here";
        assert_eq!(own.scrub(said), "no ***, ***, ***, *** here");
        assert_eq!(
            shared.scrub(said),
            "no KA-XY 0000, KA-XY%200999, ***, *** here"
        );
    }

    #[test]
    fn explanations_are_found_where_providers_put_them() {
        let redactor = Redactor::default();
        let message = |body: &str| redactor.provider_message(body.as_bytes());
        assert_eq!(message(r#"{"message":"no"}"#).as_deref(), Some("no"));
        assert_eq!(
            message(r#"{"error":{"code":1,"message":"no"}}"#).as_deref(),
            Some("no")
        );
        assert_eq!(
            message(r#"{"error":"invalid_client","error_description":"no"}"#).as_deref(),
            Some("no")
        );
        assert_eq!(
            message(r#"{"errors":[{"status":"404","title":"no"}]}"#).as_deref(),
            Some("no")
        );
        for told in [
            r#"{"Message":"no"}"#,
            r#"{"msg":"no"}"#,
            r#"{"fault":"no"}"#,
            r#"{"Fault":{"faultCode":7,"faultString":"no"}}"#,
            r#"{"reason":"no","code":401}"#,
            r#"{"ErrorDescription":"no","error":"x"}"#,
            r#"{"error":{"message":"no"}}"#,
            r#"{"error":{"inner":{"status":3},"details":[{"reason":"no"}]}}"#,
            r#"{"success":false,"error":{"code":"E1","description":"no"}}"#,
            r#"{"errors":{"client_id":["no"]}}"#,
            r#"{"message":"","error":true,"Errors":["","no"]}"#,
            r#"{"status":{"code":3,"description":"no"}}"#,
            r#"{"response":7,"error_msg":"no"}"#,
            r#"[{"message":"no"}]"#,
            r#"{"d":{"results":{"msg":"no"}}}"#,
        ] {
            assert_eq!(message(told).as_deref(), Some("no"), "{told}");
        }
        assert_eq!(message(r#"{"status":"Error"}"#), None);
        assert_eq!(message("<html>"), None);
        assert_eq!(message("Out of order.\n").as_deref(), Some("Out of order."));
        assert_eq!(message(r#"{"message":"cut"#), None);
        assert_eq!(message(&"x".repeat(2_000)), None);
        assert_eq!(message(r#"{"data":"private"}"#), None);
    }
}
