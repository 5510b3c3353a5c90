//! The words in a body that explain it: under the keys that servers use, or wherever there are any.
//!
//! Invariant: nothing here is scrubbed; what is under a key for secrets, or looks like a value and not like a text, is never among the first
//! texts of a document.

/// The longest plain text that is taken for an explanation, in bytes.
const PLAIN_TEXT: usize = 1_000;
/// Most texts of a document that are shown where no key explains it, and most bytes of a page that
/// are read.
const TEXTS: usize = 3;
const READ: usize = 16 << 10;
/// Words whose values are never quoted, letters only.
const SECRETS: [&str; 14] = [
    "token",
    "secret",
    "password",
    "passwort",
    "passwd",
    "pwd",
    "jwt",
    "apikey",
    "accesskey",
    "cookie",
    "session",
    "signature",
    "authorization",
    "bearer",
];

/// True if a key is one of a secret.
fn names_secret(key: &str) -> bool {
    let key: String = key
        .chars()
        .filter(char::is_ascii_alphabetic)
        .collect::<String>()
        .to_lowercase();
    SECRETS.iter().any(|secret| key.contains(secret))
}

/// A word without the values that stand in it behind the names of secrets: `access_token=***&expires_in=3600`.
pub(super) fn without_values(word: &str) -> String {
    let mut shown = String::with_capacity(word.len());
    for part in word.split_inclusive(['&', ';', ',']) {
        let pair = part.trim_end_matches(['&', ';', ',']);
        match pair.find(['=', ':']) {
            Some(at) if at + 1 < pair.len() && names_secret(&pair[..at]) => {
                shown.push_str(&pair[..=at]);
                shown.push_str("***");
                shown.push_str(&part[pair.len()..]);
            }
            _ => shown.push_str(part),
        }
    }
    shown
}

/// True if a word is the name of a secret's field, with its value in the next word: `access_token:`. A sentence about a token (`Invalid
/// token: it has expired`) writes no name like that.
pub(super) fn announces_secret(word: &str) -> bool {
    let Some(name) = word.strip_suffix([':', '=']) else {
        return false;
    };
    let is_compound =
        name.contains(['_', '-', '"']) || name.chars().skip(1).any(|c| c.is_ascii_uppercase());
    is_compound && names_secret(name)
}

/// True if a word is one of a sentence: letters and its signs alone.
pub(super) fn is_plain(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ',', ';', ':', '!', '?']);
    word.len() < 20 && word.chars().all(char::is_alphabetic)
}

/// True if a body is one word, plain or as a JSON text, that may be a token itself: it has a digit or another sign in it, or is longer than words
/// are.
pub(super) fn is_value_alone(body: &[u8]) -> bool {
    const LONGEST_WORD: usize = 20;
    let text = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(_) => return false,
        Err(_) => match plain_text(body) {
            Some(text) => text.to_owned(),
            None => return false,
        },
    };
    let text = text.trim();
    let is_word = |c: char| c.is_alphabetic() || matches!(c, '.' | '!' | '_');
    !text.contains(char::is_whitespace)
        && !text.contains('=')
        && (text.len() > LONGEST_WORD || !text.chars().all(is_word))
}

/// The first texts of a document, under whichever keys.
pub(super) fn first_texts(value: &serde_json::Value) -> String {
    let mut texts = Vec::new();
    collect(value, 0, &mut texts);
    texts.join("; ")
}

fn collect<'v>(value: &'v serde_json::Value, depth: usize, texts: &mut Vec<&'v str>) {
    if texts.len() == TEXTS || depth > 5 {
        return;
    }
    match value {
        serde_json::Value::String(text) if is_said(text) && !texts.contains(&text.trim()) => {
            texts.push(text.trim())
        }
        serde_json::Value::Array(items) => items
            .iter()
            .for_each(|item| collect(item, depth + 1, texts)),
        serde_json::Value::Object(fields) => {
            for (key, field) in fields {
                if !names_secret(key) {
                    collect(field, depth + 1, texts);
                }
            }
        }
        _ => {}
    }
}

/// True if a text says something: a word of letters, or several words. An id, a number or a time does not.
fn is_said(text: &str) -> bool {
    let text = text.trim();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    letters >= 2
        && (text.contains(char::is_whitespace) || !text.contains(|c: char| c.is_ascii_digit()))
}

/// Readable words of a text or a web page: without tags, scripts and styles.
pub(super) fn readable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(READ)]);
    let text = text.trim();
    if text.contains('\0') || text.starts_with(['{', '[']) {
        return String::new();
    }
    if !text.starts_with('<') {
        return text.lines().next().unwrap_or_default().to_owned();
    }
    let (mut read, mut rest) = (String::new(), text);
    while let Some((before, tag)) = rest.split_once('<') {
        read.push_str(before);
        read.push(' ');
        let lower = tag.to_ascii_lowercase();
        let hidden = ["script", "style", "!--"]
            .into_iter()
            .find(|name| lower.starts_with(name));
        let end = match hidden {
            Some("!--") => lower.find("-->").map(|at| at + 3),
            Some(name) => lower
                .find(&format!("</{name}"))
                .and_then(|at| Some(at + lower[at..].find('>')? + 1)),
            None => lower.find('>').map(|at| at + 1),
        };
        rest = end.and_then(|end| tag.get(end..)).unwrap_or_default();
    }
    read.push_str(rest);
    read
}

/// A body that is neither JSON nor a web page, if it is text and short.
pub(super) fn plain_text(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let is_said =
        text.len() <= PLAIN_TEXT && !text.starts_with(['{', '[', '<']) && !text.contains('\0');
    is_said.then_some(text)
}

/// The keys under which servers explain themselves, letters only, the most telling first.
const EXPLAINING: [&str; 64] = [
    "message",
    "msg",
    "errormessage",
    "errormsg",
    "errordescription",
    "faultstring",
    "statusmessage",
    "detail",
    "details",
    "description",
    "reason",
    "reasonphrase",
    "error",
    "title",
    "errors",
    "errorinfo",
    "fault",
    "failure",
    "exception",
    "cause",
    "text",
    "messages",
    "statustext",
    "err",
    "errortext",
    "errordetail",
    "errordetails",
    "exceptionmessage",
    "failurereason",
    "problem",
    "problems",
    "fehler",
    "fehlermeldung",
    "meldung",
    "nachricht",
    "warning",
    "warnings",
    "warningmessage",
    "notice",
    "notices",
    "note",
    "notes",
    "alert",
    "alerts",
    "issues",
    "remark",
    "remarks",
    "erreur",
    "erreurs",
    "errores",
    "errore",
    "errori",
    "erro",
    "erros",
    "fout",
    "fouten",
    "fel",
    "resulttext",
    "hinweis",
    "warnung",
    "warnungen",
    "status",
    "result",
    "trace",
];

/// The first text that explains an error, in whichever case and however nested its key is; a text that says nothing is passed over.
pub(super) fn explanation(value: &serde_json::Value, depth: usize) -> Option<&str> {
    if depth > 5 {
        return None;
    }
    match value {
        serde_json::Value::String(text) => {
            Some(text.as_str()).filter(|text| !text.trim().is_empty())
        }
        serde_json::Value::Array(items) => {
            items.iter().find_map(|item| explanation(item, depth + 1))
        }
        serde_json::Value::Object(fields) => {
            let letters = |key: &str| {
                key.chars()
                    .filter(char::is_ascii_alphabetic)
                    .collect::<String>()
                    .to_lowercase()
            };
            let keys: Vec<(String, &serde_json::Value)> =
                fields.iter().map(|(k, v)| (letters(k), v)).collect();
            let under = |wanted: &str| {
                keys.iter()
                    .filter(|(key, _)| key == wanted)
                    .map(|(_, value)| *value)
                    .collect()
            };
            let known = EXPLAINING.iter().find_map(|wanted| {
                let values: Vec<&serde_json::Value> = under(wanted);
                values.into_iter().find_map(|value| match (*wanted, value) {
                    // A status that is a word ("Error") is no explanation, but one that holds more may be.
                    ("status" | "result" | "state", serde_json::Value::String(text)) => {
                        Some(text.as_str()).filter(|text| text.trim().contains(char::is_whitespace))
                    }
                    // Faults by field: {"errors": {"client_id": ["is unknown"]}}.
                    ("errors" | "error" | "details", serde_json::Value::Object(by_field)) => {
                        explanation(value, depth + 1).or_else(|| {
                            by_field
                                .values()
                                .find_map(|of_field| explanation(of_field, depth + 2))
                        })
                    }
                    _ => explanation(value, depth + 1),
                })
            });
            // Some wrap all they say: {"d": {"results": {"message": ...}}}.
            known.or_else(|| {
                let nested = fields.values().filter(|value| value.is_object());
                nested
                    .into_iter()
                    .find_map(|value| explanation(value, depth + 1))
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_under_any_key_and_values_are_not() {
        let of = |body: &str| first_texts(&serde_json::from_str(body).unwrap());
        assert_eq!(of(r#"{"x":{"y":["kein Zugang",7]}}"#), "kein Zugang");
        assert_eq!(
            of(r#"{"a":"one","b":"two","c":"three","d":"four"}"#),
            "one; two; three"
        );
        for silent in [
            r#"{"token":"hunter"}"#,
            r#"{"refreshToken":"hunter two"}"#,
            r#"{"id":"a1b2","at":"2026-01-01T00:00:00Z"}"#,
            r#"{"x":7,"y":true,"z":""}"#,
            "[]",
        ] {
            assert_eq!(of(silent), "", "{silent}");
        }
    }

    #[test]
    fn values_behind_the_names_of_secrets_are_not_shown() {
        for (word, shown) in [
            (
                "access_token=hunter2&expires_in=3600",
                "access_token=***&expires_in=3600",
            ),
            (
                "expires_in=3600&refreshToken=abc",
                "expires_in=3600&refreshToken=***",
            ),
            ("a=1;session-id:abc,b=2", "a=1;session-id:***,b=2"),
            ("password:x", "password:***"),
            ("token:", "token:"),
            ("page[size]=500", "page[size]=500"),
            ("https://api.example.com/x", "https://api.example.com/x"),
        ] {
            assert_eq!(without_values(word), shown);
        }
        for (word, is_name) in [
            ("access_token:", true),
            ("accessToken:", true),
            ("\"token\":", true),
            ("client-secret=", true),
            ("token:", false),
            ("Token:", false),
            ("message:", false),
            ("access_token", false),
        ] {
            assert_eq!(announces_secret(word), is_name, "{word}");
        }
        assert!(
            is_plain("please,") && is_plain("Größe") && !is_plain("hunter2") && !is_plain("a-b")
        );
    }

    #[test]
    fn one_word_alone_may_be_a_token() {
        for token in [
            "AT-0123456789",
            "\"AT-abc\"",
            "abcdefghijklmnopqrstuv",
            "\"x9\"",
            "a/b",
        ] {
            assert!(is_value_alone(token.as_bytes()), "{token}");
        }
        for said in [
            "Unauthorized",
            "\"locked!\"",
            "invalid_client",
            "no such user 7",
            "a=b",
            "<html>",
            "{\"a\":1}",
            "",
        ] {
            assert!(!is_value_alone(said.as_bytes()), "{said}");
        }
    }

    #[test]
    fn web_pages_are_read_without_their_tags() {
        let page = "<!DOCTYPE html><html><head><title>Oops</title><style>b { x }</style><!-- <p>no</p> --></head>\
                    <body><script>var a = '<b>';</script><p>Wrong password</p></body></html>";
        assert_eq!(
            readable(page.as_bytes())
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            "Oops Wrong password"
        );
        assert_eq!(readable(b"Bad login\nfor you"), "Bad login");
        for nothing in [&b"<html>"[..], b"<", b"<script>x", b"", b"{\"cut", b"a\0b"] {
            assert_eq!(readable(nothing).trim(), "");
        }
    }
}
