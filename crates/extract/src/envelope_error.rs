//! A success that says of itself that it is none: in its status, by an error that it names, or in words.
//!
//! Invariant: only the envelope is asked, and whatever wraps it one or two levels down, never a record; keys count in any case and spelling
//! (`isSuccess`, `is_success`, `IS-SUCCESS`). A page of which nothing here is true says nothing against itself.
//!
//! Servers agree on no form for an error under status 200. Taken for an empty page, it would end a listing, and what the server has would never
//! be asked for again. So beside an empty list everything counts that is not known to be good: what is known to be bad is an error, and a text
//! of which neither is known is asked about again, and then believed only where the envelope says itself that all is well.
//!
//! The words themselves are data: `vocabulary/words.txt`. What they leave open a connection can say ([`EmptyMessages`]).
//!
//! Rejected: a list of whole bodies, which has no end; and the end of a listing by any text at all, to which an API that greets every caller
//! would never come.

mod beside_records;

use crate::empty_messages::EmptyMessages;
use crate::vocabulary::{self, WORDS};
use crate::{envelope, plain_text};
use reqwest::StatusCode;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::LazyLock;
use tillhouse_model::Error;
use tillhouse_model::json::{BYTE_ORDER_MARK, JsonScanResult, JsonScanner};

pub(crate) use beside_records::PageRemark;

/// Error that an answer with a status of success states in its envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EnvelopeError {
    /// A text that may mean anything, beside a word that all is well, or a total of which others judge whether it was reached.
    Note,
    /// A text that may mean anything.
    Remark,
    /// That it failed.
    Failure,
}

impl EnvelopeError {
    /// The error, with the server's words as they were scrubbed.
    pub(crate) fn error(self, status: StatusCode, words: Option<&str>) -> Error {
        let said = words.map(|words| format!(": {words}")).unwrap_or_default();
        let error = match self {
            Self::Failure => Error::protocol(format!(
                "the server answered {status} with an error in it{said}"
            )),
            _ => Error::protocol(format!(
                "the server answered {status} with a message and no records{said}"
            )),
        };
        error.hint(match (self, words) {
            (Self::Remark | Self::Note, Some(words)) => EmptyMessages::hint(words),
            // It may be the server's way to say that there is nothing.
            (Self::Failure, Some(words)) if !fails(words) => EmptyMessages::hint(words),
            _ => "Run `tillhouse sync` again later; if it stays so, ask the provider.".to_owned(),
        })
    }
}

/// The statement of a page against itself; `None` where there is none.
pub(crate) fn of(page: &[u8]) -> Option<EnvelopeError> {
    let judged = judge(page);
    match judged.complaint {
        // Whatever the envelope says beside it, an error's key is no place for good news.
        Some(EnvelopeError::Remark) if judged.is_well && !judged.names_nothing => {
            Some(EnvelopeError::Note)
        }
        complaint => complaint,
    }
}

/// True if an envelope counts nothing (`total: 0`), and says nothing against itself.
pub(crate) fn says_none(page: &[u8]) -> bool {
    let judged = judge(page);
    judged.counts_nothing && judged.complaint.is_none()
}

/// True if a body names an error, whatever else it says.
pub(crate) fn names_an_error(body: &[u8]) -> bool {
    judge(body).names_error
}

/// True if a body says that something failed.
pub(crate) fn is_failure(body: &[u8]) -> bool {
    judge(body).complaint == Some(EnvelopeError::Failure)
}

/// True if a body says that something failed, by more than a message: one that comes with what was asked for may be about anything.
pub(crate) fn is_failure_beyond_words(body: &[u8]) -> bool {
    judge(body).beyond_words == Some(EnvelopeError::Failure)
}

/// Statement of an envelope about the records that it comes with. Words alone say nothing here: they may be about anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EnvelopeRemark {
    /// That something failed, so that the records may not be all.
    pub(crate) failed: bool,
    /// That more are to come, or were left out.
    pub(crate) is_part: bool,
    /// A warning, or a count of things that went wrong.
    pub(crate) warns: bool,
}

/// The statement of an envelope, of which the fields beside the records are given.
fn remark_of(fields: &serde_json::Map<String, Value>) -> EnvelopeRemark {
    let mut judged = EnvelopeFindings::default();
    walk(
        &mut fields.iter().map(|(key, value)| (key.as_str(), value)),
        0,
        &mut judged,
    );
    judged.beside
}

/// True if a key can say something about the records that stand beside it.
fn tells_of_records(key: &str) -> bool {
    let key = spelled(key);
    let key = key.as_str();
    is_of_errors(key)
        || [
            &WORDS.cuts,
            &WORDS.successes,
            &WORDS.states,
            &WORDS.warnings,
            &WORDS.texts,
            &WORDS.levels,
            &WORDS.wrappers,
        ]
        .into_iter()
        .any(|list| list.has(key))
}

/// Keys that say with `true` that more is to come.
const MORE: [&str; 8] = [
    "hasmore",
    "hasnext",
    "hasnextpage",
    "hasmorepages",
    "hasmoreresults",
    "morepages",
    "moreavailable",
    "moreresults",
];

/// The key and value with which the envelope of a page without records says that more than `came` is there: `hasMore: true`, `totalCount: 7`.
pub(crate) fn claim_of_more(page: &[u8], came: u64) -> Option<String> {
    let page = page.strip_prefix(BYTE_ORDER_MARK).unwrap_or(page);
    match serde_json::from_slice::<Value>(page) {
        Ok(Value::Object(fields)) => claim_in(&fields, came, 0),
        _ => None,
    }
}

fn claim_in(fields: &serde_json::Map<String, Value>, came: u64, depth: usize) -> Option<String> {
    fields.iter().find_map(|(name, value)| {
        let key = spelled(name);
        let key = key.as_str();
        match value {
            Value::Bool(true) if MORE.contains(&key) => Some(format!("{name}: true")),
            // A size may be the one that was asked for.
            Value::Number(total) if WORDS.totals.has(key) && key != "size" => {
                envelope::whole_number(&total.to_string())
                    .filter(|total| *total > came)
                    .map(|total| format!("{name}: {total}"))
            }
            Value::Object(inner) if depth < DEEPEST && WORDS.wrappers.has(key) => {
                claim_in(inner, came, depth + 1)
            }
            _ => None,
        }
    })
}

/// Levels of wrapping around an envelope.
const DEEPEST: usize = 2;

/// Findings about one page's envelope.
#[derive(Debug, Default)]
struct EnvelopeFindings {
    complaint: Option<EnvelopeError>,
    /// `complaint` without regard to messages.
    beyond_words: Option<EnvelopeError>,
    /// An error was named, under a key for that.
    names_error: bool,
    /// Under such a key stood that there is nothing.
    names_nothing: bool,
    /// The envelope says that it succeeded, or that there is nothing.
    is_well: bool,
    /// A total is 0.
    counts_nothing: bool,
    /// Remark of a page on which records came.
    beside: EnvelopeRemark,
}

impl EnvelopeFindings {
    fn add(&mut self, complaint: EnvelopeError) {
        self.add_without_records(complaint);
        self.beside.failed |= complaint == EnvelopeError::Failure;
    }

    /// Adds what means something else where records came.
    fn add_without_records(&mut self, complaint: EnvelopeError) {
        self.complaint = self.complaint.max(Some(complaint));
        self.beyond_words = self.beyond_words.max(Some(complaint));
    }

    /// Adds that an answer is not whole, under a key.
    fn add_cut(&mut self, key: &str) {
        self.add_without_records(EnvelopeError::Failure);
        if WORDS.parts.has(key) {
            self.beside.is_part = true;
        } else {
            self.beside.failed = true;
        }
    }

    fn add_words(&mut self, complaint: EnvelopeError) {
        self.complaint = self.complaint.max(Some(complaint));
    }
}

fn judge(page: &[u8]) -> EnvelopeFindings {
    let mut judged = EnvelopeFindings::default();
    let page = page.strip_prefix(BYTE_ORDER_MARK).unwrap_or(page);
    match serde_json::from_slice::<Value>(page) {
        Ok(Value::Object(fields)) => walk(
            &mut fields.iter().map(|(key, value)| (key.as_str(), value)),
            0,
            &mut judged,
        ),
        // A text alone.
        Ok(text @ Value::String(_)) => told(&text, &mut judged),
        Ok(_) => {}
        Err(_) => {
            // One text that is damaged takes nothing from the others.
            let mut fields = Vec::new();
            // Of a page that is cut off, what stands before the cut.
            let _ = fields_of(page, &mut fields);
            walk(
                &mut fields.iter().map(|(key, value)| (key.as_str(), value)),
                0,
                &mut judged,
            );
        }
    }
    judged
}

/// The fields of an object that serde does not take, as far as they can be read.
fn fields_of(page: &[u8], fields: &mut Vec<(String, Value)>) -> JsonScanResult {
    let mut scan = JsonScanner::new(page);
    if scan.peek()? != b'{' {
        return Ok(());
    }
    scan.pos += 1;
    let mut more = !scan.empty(b'}')?;
    while more {
        let key = envelope::meaning(scan.key()?).into_owned();
        scan.peek()?;
        let start = scan.pos;
        scan.skip_any()?;
        let value = &page[start..scan.pos];
        let text = || Value::String(String::from_utf8_lossy(value).trim_matches('"').to_owned());
        fields.push((
            key,
            serde_json::from_slice(value).unwrap_or_else(|_| text()),
        ));
        more = scan.another(b'}')?;
    }
    Ok(())
}

fn walk<'v>(
    fields: &mut dyn Iterator<Item = (&'v str, &'v Value)>,
    depth: usize,
    judged: &mut EnvelopeFindings,
) {
    for (key, value) in fields {
        let key = spelled(key);
        let key = key.as_str();
        if is_of_errors(key) {
            named(key, value, judged);
        } else if WORDS.cuts.has(key) {
            cut(key, value, judged);
        } else if WORDS.successes.has(key) {
            match yes_or_no(value) {
                Some(true) => judged.is_well = true,
                Some(false) => judged.add_cut(key),
                None => {}
            }
        } else if WORDS.states.has(key) {
            stated(key, value, judged);
        } else if WORDS.texts.has(key) {
            told(value, judged);
        } else if WORDS.warnings.has(key) {
            warned(value, judged);
        } else if WORDS.levels.has(key) && value.as_str().is_some_and(fails) {
            // Beside records it may be what they are: `"type": "failed_sales"`.
            judged.add_without_records(EnvelopeError::Failure);
        } else if WORDS.traces.has(key) {
            traced(value, judged);
        } else if WORDS.totals.has(key) && is_no_count(key, value) {
            judged.add_without_records(EnvelopeError::Failure);
        } else if WORDS.totals.has(key) && matches!(value, Value::Number(_) | Value::String(_)) {
            let is_nothing = yes_or_no(value) == Some(false);
            judged.is_well |= is_nothing;
            judged.counts_nothing |= is_nothing;
        }
        if let Value::Object(fields) = value
            && depth < DEEPEST
            && WORDS.wrappers.has(key)
        {
            walk(
                &mut fields.iter().map(|(key, value)| (key.as_str(), value)),
                depth + 1,
                judged,
            );
        }
    }
}

/// A key in lower case, by its letters and digits.
fn spelled(key: &str) -> String {
    key.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// True if a key is made for an error.
fn is_of_errors(key: &str) -> bool {
    WORDS.errors.iter().any(|error| key.contains(error))
        || key.starts_with("fault")
        || WORDS.failures.has(key)
}

/// True if an answer explains itself in words, whatever they say.
pub(crate) fn explains(page: &[u8]) -> bool {
    let page = page.strip_prefix(BYTE_ORDER_MARK).unwrap_or(page);
    match serde_json::from_slice::<Value>(page) {
        Ok(Value::Object(fields)) => fields
            .iter()
            .any(|(key, value)| WORDS.texts.has(&spelled(key)) && has_text(value)),
        Ok(text @ Value::String(_)) => has_text(&text),
        _ => false,
    }
}

fn has_text(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => items.iter().any(has_text),
        Value::Object(fields) => fields.values().any(has_text),
        _ => false,
    }
}

/// True if a body says one of the texts that mean that there is nothing, and nothing else that would be about a failure.
pub(crate) fn says_only(messages: &EmptyMessages, body: &[u8]) -> bool {
    let is_known = |text: &str| messages.has(text);
    !messages.is_empty() && plain_text::any_text(body, &is_known) && !says_more(body, &is_known)
}

/// True if a page says, beside a text that is known, another one that is about a failure, or about which nothing is known. What stands with a
/// known text in one error (its title, its code) belongs to it; a word alone says nothing that a text would not say better.
fn says_more(page: &[u8], is_known: &dyn Fn(&str) -> bool) -> bool {
    let page = page.strip_prefix(BYTE_ORDER_MARK).unwrap_or(page);
    match serde_json::from_slice::<Value>(page) {
        Ok(Value::Object(fields)) => fields.iter().any(|(key, value)| {
            let key = spelled(key);
            let is_told = is_of_errors(&key) || WORDS.texts.has(&key) || WORDS.warnings.has(&key);
            if is_told {
                tells_more(value, is_known)
            } else {
                // One level of wrapping.
                WORDS.wrappers.has(&key)
                    && value.as_object().is_some_and(|fields| {
                        fields.iter().any(|(key, value)| {
                            let key = spelled(key);
                            (is_of_errors(&key)
                                || WORDS.texts.has(&key)
                                || WORDS.warnings.has(&key))
                                && tells_more(value, is_known)
                        })
                    })
            }
        }),
        _ => false,
    }
}

fn tells_more(value: &Value, is_known: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => {
            text.trim().contains(char::is_whitespace)
                && !is_known(text)
                && !is_good(text)
                && !WORDS.no_error.has(&text.trim().to_lowercase())
        }
        Value::Array(items) => items.iter().any(|item| tells_more(item, is_known)),
        Value::Object(fields) => {
            let is_its_own = fields
                .values()
                .any(|field| field.as_str().is_some_and(is_known));
            !is_its_own && fields.values().any(|field| tells_more(field, is_known))
        }
        _ => false,
    }
}

/// A word about an answer that is not whole: then an empty list is none.
fn cut(key: &str, value: &Value, judged: &mut EnvelopeFindings) {
    let is_cut = match value {
        Value::Bool(yes) => *yes,
        Value::Number(_) => !WORDS.settings.has(key) && yes_or_no(value) == Some(true),
        Value::String(text) => match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "y" | "1" | "on" | "ja" => true,
            text => !WORDS.settings.has(key) && (fails(text) || is_cut_key(text)),
        },
        Value::Array(_) | Value::Object(_) => {
            !WORDS.settings.has(key) && says_something(key, value)
        }
        Value::Null => false,
    };
    if is_cut {
        judged.add_cut(key);
    }
}

/// True if a word is the name of such a key: `"incomplete": "incompleteResults"`.
fn is_cut_key(text: &str) -> bool {
    WORDS.cuts.has(
        &text
            .chars()
            .filter(|c| c.is_alphanumeric())
            .collect::<String>(),
    )
}

fn yes_or_no(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::Number(number) => Some(number.as_f64() != Some(0.0)),
        Value::String(text) => match text.trim().to_lowercase().as_str() {
            "false" | "no" | "n" | "0" | "off" | "nein" => Some(false),
            "true" | "yes" | "y" | "1" | "on" | "ja" => Some(true),
            text if fails(text) => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// An error under a key that is made for one.
fn named(key: &str, value: &Value, judged: &mut EnvelopeFindings) {
    if !says_something(key, value) {
        return;
    }
    match value {
        // `{"error": "no transactions found"}`.
        Value::String(text) if is_good(text) && yes_or_no(value) != Some(true) => {
            judged.add(EnvelopeError::Remark);
            judged.names_nothing = true;
        }
        // Numbers of things that went wrong may be about the records themselves.
        Value::Number(_) if !is_of_codes(key) => {
            judged.add_without_records(EnvelopeError::Failure);
            judged.names_error = true;
            judged.beside.warns = true;
        }
        _ => {
            judged.add(EnvelopeError::Failure);
            judged.names_error = true;
        }
    }
}

/// True if a number under such a key is the code of an error.
fn is_of_codes(key: &str) -> bool {
    ["code", "status", "no"]
        .iter()
        .any(|word| key.ends_with(word))
}

/// True if something stands under a key that is said of errors.
fn says_something(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => {
            number.as_f64() != Some(0.0)
                && !(is_of_codes(key)
                    && number
                        .as_u64()
                        .is_some_and(|code| (200..300).contains(&code)))
        }
        Value::String(text) => {
            let text = text.trim().to_lowercase();
            let is_well = is_of_codes(key)
                && text
                    .parse::<u64>()
                    .is_ok_and(|code| (200..300).contains(&code));
            !text.is_empty()
                && !is_well
                && !WORDS.no_error.has(&text)
                && !text.bytes().all(|byte| byte == b'0')
        }
        Value::Array(items) => items.iter().any(|item| says_something(key, item)),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, field)| says_something(&key.to_lowercase(), field)),
    }
}

/// Subject of a program: a sentence, or the name of a failure, and no id.
fn traced(value: &Value, judged: &mut EnvelopeFindings) {
    match value {
        Value::String(text) if fails(text) || text.trim().contains(char::is_whitespace) => {
            judged.add_words(EnvelopeError::Failure);
        }
        Value::Array(items) => items.iter().for_each(|item| traced(item, judged)),
        _ => {}
    }
}

/// True if what stands for a number of records counts nothing that can be: `-1`, `"many"`. A size may be a word.
fn is_no_count(key: &str, value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|number| number < 0.0),
        Value::String(text) => {
            let text = text.trim();
            let is_word = !text.is_empty() && !text.contains(|c: char| c.is_ascii_digit());
            text.starts_with('-') || (key != "size" && is_word && yes_or_no(value).is_none())
        }
        _ => false,
    }
}

/// True if a code is one of a success: `0`, `E0000`, `200`, `OK`.
fn is_success(text: &str) -> bool {
    let text = text.trim();
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let is_zero = !digits.is_empty() && digits.bytes().all(|byte| byte == b'0');
    is_zero
        || text
            .parse::<u64>()
            .is_ok_and(|code| code == 1 || (200..300).contains(&code))
        || is_good(text)
}

/// A state: a word, a number, or several.
fn stated(key: &str, value: &Value, judged: &mut EnvelopeFindings) {
    if WORDS.outcome_codes.has(key) {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        if !text.trim().is_empty() && !is_success(&text) {
            // Beside records it may be a remark.
            judged.add_without_records(EnvelopeError::Failure);
        }
    }
    match value {
        Value::Bool(true) => judged.is_well = true,
        Value::Bool(false) => judged.add(EnvelopeError::Failure),
        Value::Number(number) => code(key, number.as_i64(), judged),
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(number) => code(key, Some(number), judged),
            Err(_) if text.trim().is_empty() => {}
            Err(_) if fails(text) => judged.add(EnvelopeError::Failure),
            Err(_) if is_good(text) => judged.is_well = true,
            // A code that stands alone: `E0000`.
            Err(_) if WORDS.outcome_codes.has(key) && is_success(text) => {}
            // Beside records it may be a state of theirs.
            Err(_) if WORDS.unfinished.is_in(&plain_text::words(text)) => {
                judged.add_without_records(EnvelopeError::Failure);
            }
            Err(_) => judged.add(EnvelopeError::Remark),
        },
        Value::Array(items) => items.iter().for_each(|item| stated(key, item, judged)),
        Value::Null | Value::Object(_) => {}
    }
}

/// Key under which status 206 says that an answer is a part.
const PARTIAL_CONTENT: &str = "partialcontent";

fn code(key: &str, number: Option<i64>, judged: &mut EnvelopeFindings) {
    match number {
        Some(206) => judged.add_cut(PARTIAL_CONTENT),
        Some(200..=299) => judged.is_well = true,
        Some(400..=599) => judged.add(EnvelopeError::Failure),
        Some(0 | 1) => {}
        Some(number) if number < 0 => judged.add(EnvelopeError::Failure),
        // A provider's own number, of which nothing is known.
        _ if key.contains("code") || key.starts_with("codi") || key == "rc" => {
            judged.add(EnvelopeError::Remark)
        }
        _ => {}
    }
}

/// A message.
fn told(value: &Value, judged: &mut EnvelopeFindings) {
    match value {
        Value::String(text) if text.trim().is_empty() => {}
        Value::String(text) if fails(text) => judged.add_words(EnvelopeError::Failure),
        Value::String(text) if is_good(text) => {}
        Value::String(_) => judged.add_words(EnvelopeError::Remark),
        Value::Array(items) => items.iter().for_each(|item| told(item, judged)),
        Value::Object(fields) => fields.values().for_each(|field| told(field, judged)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Adds a server's warning to the findings.
fn warned(value: &Value, judged: &mut EnvelopeFindings) {
    judged.beside.warns |= match value {
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        value => has_text(value),
    };
    match value {
        Value::Bool(true) => judged.add_words(EnvelopeError::Remark),
        Value::Number(number) if number.as_f64() != Some(0.0) => {
            judged.add_words(EnvelopeError::Remark)
        }
        _ => told(value, judged),
    }
}

/// True if a text is about credentials that are not accepted.
pub(crate) fn names_credentials(text: &str) -> bool {
    let words = plain_text::words(text);
    WORDS.credentials.is_in(&words) && (fails(text) || WORDS.unknown.is_in(&words))
}

/// A text's words without those that say that nothing failed.
fn words_of(text: &str) -> String {
    WORDS
        .no_failure
        .iter()
        .fold(plain_text::words(text), |words, none| {
            words.replace(&format!(" {none} "), " ")
        })
}

/// True if a text is about a failure.
pub(crate) fn fails(text: &str) -> bool {
    let counted = text.trim().to_lowercase();
    let is_sign = || {
        !WORDS.no_error.has(&counted) && WORDS.bad_signs.iter().any(|sign| counted.contains(sign))
    };
    !counted.starts_with("0 error") && (WORDS.bad.is_in(&words_of(text)) || is_sign())
}

/// True if a text says that all is well, or that there is nothing, and not a word more.
fn is_good(text: &str) -> bool {
    let words = words_of(text);
    let is_well = || words.contains(" found ") || WORDS.good.is_in(&words);
    !fails(text)
        && !counts_parts(text)
        && (says_nothing_is_there(text, &words)
            || (!WORDS.negations.is_in(&words) && is_well() && is_harmless(&words, true)))
}

/// True if every one of some words is known to take nothing from a text that there is nothing, or where it `is_well` that all is well.
fn is_harmless(words: &str, is_well: bool) -> bool {
    let is_known = |word: &str| {
        word.len() == 1
            || WORDS.harmless.has(word)
            || WORDS.things.ends(word)
            || NOTHING_WORDS.contains(word)
            || (is_well && WORDS.good.has(word))
    };
    words.split_whitespace().all(is_known)
}

/// The single words of the lists that say that there is nothing.
static NOTHING_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    [
        &WORDS.nothing,
        &WORDS.nothing_phrases,
        &WORDS.denials,
        &WORDS.negations,
        &WORDS.not_there,
        &WORDS.fillers,
    ]
    .into_iter()
    .flat_map(|list| list.iter())
    .flat_map(str::split_whitespace)
    .collect()
});

/// True if a text counts a part of a whole: `2 of 3`, `2/3`.
fn counts_parts(text: &str) -> bool {
    let text = text.to_lowercase().replace('/', " / ");
    let words: Vec<&str> = text
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/'))
        .collect();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    words.windows(3).any(|three| {
        let [part, of, whole] = three else {
            return false;
        };
        is_number(part)
            && is_number(whole)
            && ["of", "/", "von", "sur", "de", "van", "out"].contains(of)
            && part != whole
            && !(*of == "/" && text.matches('/').count() > 1)
    })
}

/// True if a text, whose words are given too, says that there is nothing.
fn says_nothing_is_there(text: &str, words: &str) -> bool {
    let letters: String = words.split_whitespace().collect();
    if WORDS.nothing.has(&letters) {
        return true;
    }
    if !is_harmless(words, false) {
        return false;
    }
    let is_denied = || {
        WORDS.denials.iter().any(|denial| {
            vocabulary::places(words, denial).any(|rest| first_is_a_thing(rest.split(' ')))
        })
    };
    let is_missing =
        || WORDS.not_there.is_in(words) && words.split(' ').any(|word| WORDS.things.ends(word));
    !WORDS.doubts.is_in(words)
        && (WORDS.nothing_phrases.is_in(words)
            || is_denied()
            || is_missing()
            || counts_nothing(text))
}

/// True if the first of some words that is no filler is a thing that can be listed.
fn first_is_a_thing<'w>(mut words: impl Iterator<Item = &'w str>) -> bool {
    words
        .find(|word| !word.is_empty() && !WORDS.fillers.has(word))
        .is_some_and(|word| WORDS.things.ends(word))
}

/// True if a text counts things that can be listed, and comes to nought: `0 results`, `Records found: 0`.
fn counts_nothing(text: &str) -> bool {
    let words: Vec<String> = text
        .split_whitespace()
        .map(
            |word| match word.trim_matches(|c: char| !c.is_alphanumeric()) {
                "0" => "0".to_owned(),
                word => plain_text::words(word).trim().to_owned(),
            },
        )
        .collect();
    let noughts = words
        .iter()
        .enumerate()
        .filter(|(_, word)| *word == "0")
        .map(|(at, _)| at);
    noughts.into_iter().any(|at| {
        first_is_a_thing(words[at + 1..].iter().map(String::as_str))
            || (at + 1 == words.len()
                && first_is_a_thing(words[..at].iter().rev().map(String::as_str)))
    })
}

#[cfg(test)]
mod tests;
