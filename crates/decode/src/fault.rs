//! Faults: the words that deny one, and those that a record tells in a field that its contract does not know, an `error` beside its amounts.
//!
//! Invariant: a fault that says that there is none is none. What the contract does not know may be personal, so of its texts only those are shown that
//! are codes.

use crate::warnings::{MAX_ORIGINAL, excerpt};
use serde_json::Value;
use tillhouse_model::{blank, word};

/// The rule of the warning.
pub(crate) const RULE: &str = "fault_told";

/// Words of a field's name that make it one of faults.
const FAULT: [&str; 12] = [
    "error",
    "errors",
    "err",
    "fault",
    "faults",
    "failure",
    "failures",
    "exception",
    "fehler",
    "erreur",
    "fout",
    "errore",
];
/// Words of a name that is about how many, how large or how far away they are, and not about one.
const MEASURE: [&str; 14] = [
    "count",
    "rate",
    "margin",
    "limit",
    "budget",
    "level",
    "profile",
    "profiles",
    "url",
    "uri",
    "free",
    "without",
    "correction",
    "tolerance",
];
/// Words of which the name of a field within a fault is made where it has a code: whatever else is there may be of somebody.
const OF_CODES: [&str; 15] = [
    "code", "codes", "id", "status", "state", "type", "kind", "reason", "error", "errors", "fault",
    "category", "severity", "decline", "response",
];
/// Words of the name of a field that says how it went,
const STATUS: [&str; 4] = ["status", "state", "result", "outcome"];
/// and what it says where it went wrong: canonical words.
const FAILED: [&str; 13] = [
    "failed",
    "failure",
    "error",
    "fault",
    "faulty",
    "declined",
    "rejected",
    "refused",
    "aborted",
    "cancelled",
    "canceled",
    "void",
    "reversed",
];
/// Words of the name of a field that says whether it went well.
const SUCCESS: [&str; 4] = ["success", "successful", "succeeded", "ok"];
/// Most characters of a text that is a code.
const LONGEST_CODE: usize = 40;
/// Most digits of the number in one: a password, a birthday or a card's number has more.
const MOST_DIGITS: usize = 6;
/// Words that codes are made of beside those above: any other may be a name, a plate or a secret.
const OF_SYSTEMS: [&str; 56] = [
    "access",
    "amount",
    "api",
    "auth",
    "authorisation",
    "authorization",
    "blocked",
    "busy",
    "card",
    "charge",
    "communication",
    "connection",
    "connector",
    "description",
    "detail",
    "details",
    "device",
    "duplicate",
    "expired",
    "failed",
    "found",
    "funds",
    "gateway",
    "host",
    "insufficient",
    "internal",
    "invalid",
    "issuer",
    "limit",
    "lost",
    "message",
    "missing",
    "network",
    "no",
    "not",
    "offline",
    "on",
    "out",
    "payment",
    "pin",
    "processing",
    "pump",
    "reader",
    "request",
    "security",
    "server",
    "service",
    "supported",
    "system",
    "terminal",
    "time",
    "timeout",
    "transaction",
    "unavailable",
    "unknown",
    "unsupported",
];
/// Letters before the digits of a code such as `E17`.
const PREFIXES: [&str; 3] = ["", "e", "err"];

/// True if a JSON value says nothing at any depth: null, false, a text that names nothing, and objects and lists of these. Of a fault, what
/// [denies it](denies_fault) says nothing either.
pub(crate) fn holds_nothing(value: &Value, is_fault: bool) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => is_fault && denies_fault(&number.to_string()),
        Value::String(text) => blank::names_nothing(text) || (is_fault && denies_fault(text)),
        Value::Array(elements) => elements
            .iter()
            .all(|element| holds_nothing(element, is_fault)),
        Value::Object(fields) => fields.values().all(|value| holds_nothing(value, is_fault)),
    }
}

/// True if a text in the place of a fault says that there is none: zero, HTTP's codes of success (200 to 299), and the words for it, however they
/// are spelled.
pub(crate) fn denies_fault(text: &str) -> bool {
    if blank::is_zero(text) {
        return true;
    }
    let word = word::canonical(text);
    let word = word.trim_end_matches(['.', '!']);
    let is_code = word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
    (is_code && word.starts_with('2')) || NO_FAULT.contains(&word)
}

/// Canonical words in the place of a fault that say there is none.
const NO_FAULT: [&str; 21] = [
    "n",
    "none",
    "approved",
    "resolved",
    "keine",
    "kein fehler",
    "keine fehler",
    "false",
    "no",
    "ok",
    "okay",
    "success",
    "succeeded",
    "successful",
    "successfully",
    "completed",
    "no error",
    "no errors",
    "without error",
    "without errors",
    "no problem",
];

/// Words of a field that says that something went wrong, by its name and its JSON: an `error` that is one, a `status` of `failed`, a `success` of
/// `false`. `None` of any other.
pub(crate) fn told(name: &str, json: &[u8]) -> Option<String> {
    let named = words_of(name);
    let is_named = |list: &[&str]| named.iter().any(|word| list.contains(&word.as_str()));
    if is_named(&MEASURE) {
        return None;
    }
    if is_named(&FAULT) {
        return words(json);
    }
    if !is_named(&STATUS) && !is_named(&SUCCESS) {
        return None;
    }
    let value: Value = serde_json::from_slice(json).ok()?;
    let said = match &value {
        Value::String(text) => word::canonical(text).into_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        _ => return None,
    };
    let is_fault = match is_named(&SUCCESS) {
        true => ["false", "no", "0"].contains(&said.as_str()),
        false => FAILED.contains(&said.as_str()),
    };
    is_fault.then_some(said)
}

/// Words of a name in small letters: `errorCode`, `error_code`, `ErrorCode` and `ERROR-CODE` have two.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut was_small = false;
    for letter in name.chars() {
        let begins = !letter.is_alphanumeric() || (letter.is_uppercase() && was_small);
        if begins {
            words.push(String::new());
        }
        was_small = letter.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

/// Words of the JSON of such a field, as far as they may be shown; `None` where it says that there is no fault.
fn words(json: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(json).ok()?;
    if holds_nothing(&value, true) {
        return None;
    }
    let mut out = String::new();
    write(&value, true, &mut out);
    Some(excerpt(out.as_bytes(), MAX_ORIGINAL))
}

/// Writes a value, its texts and numbers but for codes as `…`, up to about as much as is shown. `may_be_code` says whether its place may have one.
fn write(value: &Value, may_be_code: bool, out: &mut String) {
    if out.len() > MAX_ORIGINAL {
        return;
    }
    match value {
        Value::Null | Value::Bool(_) => out.push_str(&value.to_string()),
        Value::String(text) if may_be_code && is_code(text) => out.push_str(text),
        Value::String(_) => out.push('…'),
        Value::Array(elements) => {
            out.push('[');
            for (nth, element) in elements.iter().enumerate() {
                out.push_str(if nth == 0 { "" } else { ", " });
                write(element, may_be_code, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (nth, (name, field)) in fields.iter().enumerate() {
                out.push_str(if nth == 0 { "" } else { ", " });
                out.push_str(if is_code(name) { name } else { "…" });
                out.push_str(": ");
                write(field, is_of_codes(name), out);
            }
            out.push('}');
        }
        Value::Number(number) => {
            let written = number.to_string();
            let is_shown = may_be_code && is_code(&written);
            out.push_str(if is_shown { &written } else { "…" });
        }
    }
}

/// True if the name of a field within a fault is that of a code.
fn is_of_codes(name: &str) -> bool {
    let named = words_of(name);
    named.iter().all(|word| OF_CODES.contains(&word.as_str()))
}

/// True if a text is a code of a system's: a short number, words that codes are made of, or both. Any other word may be a name, a plate or a secret.
fn is_code(text: &str) -> bool {
    let is_of_code = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if text.is_empty() || text.len() > LONGEST_CODE || !text.bytes().all(is_of_code) {
        return false;
    }
    let mut numbers = 0;
    words_of(text).iter().all(|word| {
        let number = word.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        if number.is_empty() {
            let lists: [&[&str]; 4] = [&OF_CODES, &OF_SYSTEMS, &FAILED, &FAULT];
            return word.is_empty() || lists.iter().any(|list| list.contains(&word.as_str()));
        }
        numbers += 1;
        numbers == 1
            && number.len() <= MOST_DIGITS
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && PREFIXES.contains(&&word[..word.len() - number.len()])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_fault_where_it_says_that_it_failed() {
        for (name, json, said) in [
            ("status", r#""FAILED""#, Some("failed")),
            ("paymentStatus", r#"" Declined""#, Some("declined")),
            ("result", r#""error""#, Some("error")),
            ("success", "false", Some("false")),
            ("isSuccessful", r#""No""#, Some("no")),
            ("success", "0", Some("0")),
            ("status", r#""completed""#, None),
            ("status", r#""failed over""#, None),
            ("status", "false", None),
            ("status", "402", None),
            ("state", "null", None),
            ("state", r#"{"failed":true}"#, None),
            ("success", "true", None),
            ("success", "null", None),
            ("statement", r#""failed""#, None),
            ("successCount", "0", None),
            ("success_rate", r#""0""#, None),
        ] {
            let told = told(name, json.as_bytes());
            assert_eq!(told.as_deref(), said, "{name} {json}");
        }
    }

    #[test]
    fn a_name_tells_that_a_field_is_of_faults() {
        let is_fault_name = |name: &str| told(name, b"17").is_some();
        for name in [
            "error",
            "Errors",
            "errorCode",
            "error_code",
            "ERROR-CODE",
            "lastError",
            "faultId",
            "failureReason",
            "exception",
            "Fehler",
            "erreur",
        ] {
            assert!(is_fault_name(name), "{name}");
        }
        for name in [
            "",
            "terror",
            "default",
            "errorCount",
            "error_rate",
            "errorProfile",
            "errorUrl",
            "errorFree",
            "mirror",
            "state",
            "faultless",
            "\u{e9}\u{20ac}",
        ] {
            assert!(!is_fault_name(name), "{name}");
        }
    }

    #[test]
    fn what_says_that_nothing_went_wrong_is_no_fault() {
        for json in [
            "null",
            "false",
            "0",
            "\"\"",
            "\" \"",
            "\"none\"",
            "\"OK\"",
            "\"0\"",
            "200",
            "[]",
            "{}",
            "[{}]",
            r#"{"code":0,"message":""}"#,
            r#"{"code":200,"message":"OK"}"#,
            "{",
            "",
        ] {
            assert_eq!(words(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn codes_are_shown_and_sentences_are_not() {
        for (json, shown) in [
            ("17", "17"),
            ("true", "true"),
            (r#""CARD_DECLINED""#, "CARD_DECLINED"),
            (r#""E17""#, "E17"),
            (r#""ERR_TIMEOUT_504""#, "ERR_TIMEOUT_504"),
            (r#""Huber""#, "…"),
            (r#""B-AB1234""#, "…"),
            (r#""KAXY1""#, "…"),
            (r#""01.02.1990""#, "…"),
            (r#""s3cr3ts3cr3t""#, "…"),
            (r#""12345678""#, "…"),
            (r#""the card of Jo Doe was declined""#, "…"),
            (r#""jo@example.com""#, "…"),
            (r#""5168123412341234""#, "…"),
            ("5168123412341234", "…"),
            (r#""3f2504e0-4f89-11d3-9a0c-0305e82c3301""#, "…"),
            (
                r#"{"code":"E17","detail":"for Jo Doe","of":[{"id":"x1"},null],"status":402}"#,
                "{code: E17, detail: …, …: [{id: …}, null], status: 402}",
            ),
            (r#"{"Jo Doe":1}"#, "{…: …}"),
            (
                r#"{"error":{"code":"E17","customer":"Doe","pin":1234,"plate":"M-AB1234","reasonCodes":["a1"]}}"#,
                "{error: {code: E17, …: …, pin: …, …: …, reasonCodes: […]}}",
            ),
        ] {
            assert_eq!(words(json.as_bytes()).as_deref(), Some(shown), "{json}");
        }
        let many = format!("[{}]", ["12345"; 100].join(","));
        let shown = words(many.as_bytes()).unwrap();
        assert!(shown.len() <= MAX_ORIGINAL + '…'.len_utf8(), "{shown}");
    }
}
