//! A success that says of itself that it is none: in its status, by an error that it names, or in words.
//!
//! Invariant: only the envelope is asked, and whatever wraps it one or two levels down, never a record; keys count in any case and spelling
//! (`isSuccess`, `is_success`, `IS-SUCCESS`). A page of which nothing here is true says nothing against itself.
//!
//! Servers agree on no form for an error under status 200. Taken for an empty page, it would end a listing, and what the server has would never
//! be asked for again. So beside an empty list everything counts that is not known to be good: what is known to be bad is an error, and a text
//! of which neither is known is asked about again, and then believed only where the envelope says itself that all is well.
//!
//! Rejected: a list of whole bodies, which has no end; and the end of a listing by any text at all, to which an API that greets every caller
//! would never come.

use crate::{blame, envelope};
use reqwest::StatusCode;
use serde_json::Value;
use tillhouse_model::Error;
use tillhouse_model::json::{BYTE_ORDER_MARK, Scan, Scanned};

/// A statement of a page without records against itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Complaint {
    /// A text that may mean anything, beside a word that all is well.
    Note,
    /// A text that may mean anything.
    Remark,
    /// That it failed.
    Failure,
}

impl Complaint {
    /// The error, with the server's words as they were scrubbed.
    pub(crate) fn error(self, status: StatusCode, words: Option<&str>) -> Error {
        let said = words.map(|words| format!(": {words}")).unwrap_or_default();
        let error = match self {
            Self::Failure => Error::protocol(format!("the server answered {status} with an error in it{said}")),
            _ => Error::protocol(format!("the server answered {status} with a message and no records{said}")),
        };
        error.hint("Run `tillhouse sync` again later; if it stays so, ask the provider.")
    }
}

/// The statement of a page against itself; `None` where there is none.
pub(crate) fn of(page: &[u8]) -> Option<Complaint> {
    let judged = judge(page);
    match judged.complaint {
        Some(Complaint::Remark) if judged.is_well => Some(Complaint::Note),
        complaint => complaint,
    }
}

/// True if a body names an error, whatever else it says.
pub(crate) fn names_an_error(body: &[u8]) -> bool {
    judge(body).names_error
}

/// True if a body says that something failed.
pub(crate) fn is_failure(body: &[u8]) -> bool {
    judge(body).complaint == Some(Complaint::Failure)
}

/// True if a body says that something failed, by more than a message: one that comes with what was asked for may be about anything.
pub(crate) fn is_failure_beyond_words(body: &[u8]) -> bool {
    judge(body).beyond_words == Some(Complaint::Failure)
}

/// Levels of wrapping around an envelope.
const DEEPEST: usize = 2;
/// Keys of such wrappers, letters only.
const WRAPPERS: [&str; 16] = [
    "meta",
    "metadata",
    "status",
    "state",
    "result",
    "response",
    "header",
    "head",
    "envelope",
    "outcome",
    "body",
    "d",
    "responseheader",
    "responsestatus",
    "resultstatus",
    "statusinfo",
];
/// Keys that say in one word, or a number, how it went.
const STATES: [&str; 22] = [
    "status",
    "state",
    "result",
    "outcome",
    "code",
    "statuscode",
    "statustype",
    "statusmessage",
    "statustext",
    "returncode",
    "retcode",
    "rc",
    "responsecode",
    "responsestatus",
    "resultcode",
    "resultstatus",
    "requeststatus",
    "httpstatus",
    "httpcode",
    "httpstatuscode",
    "returnstatus",
    "reasonphrase",
];
/// Keys that say if it went well.
const SUCCESSES: [&str; 16] = [
    "success",
    "issuccess",
    "wassuccess",
    "successful",
    "issuccessful",
    "wassuccessful",
    "succeeded",
    "issucceeded",
    "hassucceeded",
    "ok",
    "isok",
    "valid",
    "isvalid",
    "authenticated",
    "isauthenticated",
    "successflag",
];
/// Keys that say if it failed, or what failed.
const FAILURES: [&str; 12] = [
    "failed",
    "isfailed",
    "hasfailed",
    "fail",
    "failure",
    "failures",
    "isfailure",
    "err",
    "errs",
    "errno",
    "errcode",
    "errmsg",
];
/// A key with one of these in it names an error.
const ERRORS: [&str; 5] = ["error", "exception", "problem", "fehler", "failurereason"];
/// Keys of words.
const TEXTS: [&str; 22] = [
    "message",
    "messages",
    "msg",
    "msgs",
    "detail",
    "details",
    "title",
    "reason",
    "reasons",
    "description",
    "text",
    "texts",
    "statusdescription",
    "responsemessage",
    "resultmessage",
    "returnmessage",
    "usermessage",
    "meldung",
    "hinweis",
    "nachricht",
    "cause",
    "explanation",
];
/// Words of a level, which count only where they are those of a failure.
const LEVELS: [&str; 4] = ["type", "level", "severity", "class"];
/// Keys of a number of records.
const TOTALS: [&str; 9] = [
    "total",
    "count",
    "totalcount",
    "totalrecords",
    "totalresults",
    "totalitems",
    "recordcount",
    "totalelements",
    "size",
];

/// Findings about one page.
#[derive(Debug, Default)]
struct Judged {
    complaint: Option<Complaint>,
    /// The same, messages left out.
    beyond_words: Option<Complaint>,
    /// An error was named, under a key for that.
    names_error: bool,
    /// The envelope says that it succeeded, or that there is nothing.
    is_well: bool,
}

impl Judged {
    fn add(&mut self, complaint: Complaint) {
        self.complaint = self.complaint.max(Some(complaint));
        self.beyond_words = self.beyond_words.max(Some(complaint));
    }

    fn add_words(&mut self, complaint: Complaint) {
        self.complaint = self.complaint.max(Some(complaint));
    }
}

fn judge(page: &[u8]) -> Judged {
    let mut judged = Judged::default();
    let page = page.strip_prefix(BYTE_ORDER_MARK).unwrap_or(page);
    match serde_json::from_slice::<Value>(page) {
        Ok(Value::Object(fields)) => walk(&mut fields.iter().map(|(key, value)| (key.as_str(), value)), 0, &mut judged),
        // A text alone.
        Ok(text @ Value::String(_)) => told(&text, &mut judged),
        Ok(_) => {}
        Err(_) => {
            // One text that is damaged takes nothing from the others.
            let mut fields = Vec::new();
            // Of a page that is cut off, what stands before the cut.
            let _ = fields_of(page, &mut fields);
            walk(&mut fields.iter().map(|(key, value)| (key.as_str(), value)), 0, &mut judged);
        }
    }
    judged
}

/// The fields of an object that serde does not take, as far as they can be read.
fn fields_of(page: &[u8], fields: &mut Vec<(String, Value)>) -> Scanned {
    let mut scan = Scan::new(page);
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
        fields.push((key, serde_json::from_slice(value).unwrap_or_else(|_| text())));
        more = scan.another(b'}')?;
    }
    Ok(())
}

fn walk<'v>(fields: &mut dyn Iterator<Item = (&'v str, &'v Value)>, depth: usize, judged: &mut Judged) {
    for (key, value) in fields {
        let key: String = key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        let key = key.as_str();
        if ERRORS.iter().any(|error| key.contains(error)) || key.starts_with("fault") || FAILURES.contains(&key) {
            named(key, value, judged);
        } else if SUCCESSES.contains(&key) {
            match yes_or_no(value) {
                Some(true) => judged.is_well = true,
                Some(false) => judged.add(Complaint::Failure),
                None => {}
            }
        } else if STATES.contains(&key) {
            stated(key, value, judged);
        } else if TEXTS.contains(&key) {
            told(value, judged);
        } else if LEVELS.contains(&key) && value.as_str().is_some_and(fails) {
            judged.add(Complaint::Failure);
        } else if TOTALS.contains(&key) && matches!(value, Value::Number(_) | Value::String(_)) {
            judged.is_well |= yes_or_no(value) == Some(false);
        }
        if let Value::Object(fields) = value
            && depth < DEEPEST
            && WRAPPERS.contains(&key)
        {
            walk(&mut fields.iter().map(|(key, value)| (key.as_str(), value)), depth + 1, judged);
        }
    }
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
fn named(key: &str, value: &Value, judged: &mut Judged) {
    if !says_something(key, value) {
        return;
    }
    match value {
        // `{"error": "no transactions found"}`.
        Value::String(text) if is_good(text) => {
            judged.add(Complaint::Remark);
            judged.is_well = true;
        }
        _ => {
            judged.add(Complaint::Failure);
            judged.names_error = true;
        }
    }
}

/// True if something stands under a key that is said of errors.
fn says_something(key: &str, value: &Value) -> bool {
    const NOTHING: [&str; 14] = [
        "",
        "null",
        "false",
        "none",
        "no",
        "ok",
        "success",
        "no error",
        "no errors",
        "n/a",
        "-",
        "nil",
        "no problem",
        "kein fehler",
    ];
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => {
            let is_code = ["code", "status", "no"].iter().any(|word| key.ends_with(word));
            number.as_f64() != Some(0.0) && !(is_code && number.as_u64().is_some_and(|code| (200..300).contains(&code)))
        }
        Value::String(text) => {
            let text = text.trim().to_lowercase();
            !NOTHING.contains(&text.as_str()) && !text.bytes().all(|byte| byte == b'0')
        }
        Value::Array(items) => items.iter().any(|item| says_something(key, item)),
        Value::Object(fields) => fields.iter().any(|(key, field)| says_something(&key.to_lowercase(), field)),
    }
}

/// A state: a word, a number, or several.
fn stated(key: &str, value: &Value, judged: &mut Judged) {
    match value {
        Value::Bool(true) => judged.is_well = true,
        Value::Bool(false) => judged.add(Complaint::Failure),
        Value::Number(number) => code(key, number.as_i64(), judged),
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(number) => code(key, Some(number), judged),
            Err(_) if text.trim().is_empty() => {}
            Err(_) if fails(text) => judged.add(Complaint::Failure),
            Err(_) if is_good(text) => judged.is_well = true,
            Err(_) => judged.add(Complaint::Remark),
        },
        Value::Array(items) => items.iter().for_each(|item| stated(key, item, judged)),
        Value::Null | Value::Object(_) => {}
    }
}

fn code(key: &str, number: Option<i64>, judged: &mut Judged) {
    match number {
        Some(200..=299) => judged.is_well = true,
        Some(400..=599) => judged.add(Complaint::Failure),
        Some(0 | 1) => {}
        Some(number) if number < 0 => judged.add(Complaint::Failure),
        // A provider's own number, of which nothing is known.
        _ if key.contains("code") || key == "rc" => judged.add(Complaint::Remark),
        _ => {}
    }
}

/// A message.
fn told(value: &Value, judged: &mut Judged) {
    match value {
        Value::String(text) if text.trim().is_empty() => {}
        Value::String(text) if fails(text) => judged.add_words(Complaint::Failure),
        Value::String(text) if is_good(text) => {}
        Value::String(_) => judged.add_words(Complaint::Remark),
        Value::Array(items) => items.iter().for_each(|item| told(item, judged)),
        Value::Object(fields) => fields.values().for_each(|field| told(field, judged)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// True if a text is about credentials that are not accepted.
pub(crate) fn names_credentials(text: &str) -> bool {
    const CREDENTIALS: [&str; 30] = [
        "password",
        "passwort",
        "kennwort",
        "credential",
        "credentials",
        "user",
        "username",
        "login",
        "logon",
        "client",
        "account",
        "secret",
        "authentication",
        "unauthorized",
        "unauthorised",
        "unauthenticated",
        "denied",
        "forbidden",
        "benutzer",
        "benutzername",
        "zugangsdaten",
        "anmeldung",
        "konto",
        "zugang",
        "sign in",
        "log in",
        "access",
        "identity",
        "api key",
        "permission",
    ];
    const UNKNOWN: [&str; 6] = ["not found", "not exist", "does not match", "do not match", "not match", "unbekannt"];
    let words = blame::words(text);
    holds(&words, &CREDENTIALS) && (fails(text) || holds(&words, &UNKNOWN))
}

/// True if a text holds one of some words, which are given with a blank before and after.
fn holds(words: &str, any: &[&str]) -> bool {
    any.iter().any(|word| words.contains(&format!(" {word} ")))
}

/// True if a text is about a failure.
pub(crate) fn fails(text: &str) -> bool {
    const NONE: [&str; 12] = [
        "no error",
        "no errors",
        "without error",
        "without errors",
        "without any error",
        "without any errors",
        "no problem",
        "no problems",
        "no failures",
        "no exception",
        "errors none",
        "kein fehler",
    ];
    const BAD: [&str; 74] = [
        "error",
        "errors",
        "err",
        "failed",
        "failure",
        "failures",
        "fail",
        "fails",
        "exception",
        "unavailable",
        "fault",
        "denied",
        "unauthorized",
        "unauthorised",
        "unauthenticated",
        "forbidden",
        "nok",
        "ko",
        "invalid",
        "abort",
        "aborted",
        "rejected",
        "refused",
        "timeout",
        "timed out",
        "expired",
        "locked",
        "blocked",
        "bad",
        "broken",
        "crash",
        "crashed",
        "offline",
        "maintenance",
        "overload",
        "overloaded",
        "throttled",
        "exceeded",
        "too many",
        "not allowed",
        "not authorized",
        "not authorised",
        "not available",
        "not supported",
        "not permitted",
        "went wrong",
        "try again",
        "retry",
        "cannot",
        "can t",
        "could not",
        "couldn t",
        "unable",
        "down",
        "wrong",
        "missing",
        "unexpected",
        "incorrect",
        "problem",
        "busy",
        "incomplete",
        "partial",
        "unknown",
        "disabled",
        "suspended",
        "fehler",
        "fehlgeschlagen",
        "gesperrt",
        "abgelehnt",
        "verweigert",
        "falsch",
        "wartung",
        "erreur",
        "fallo",
    ];
    let words = NONE.iter().fold(blame::words(text), |words, none| words.replace(&format!(" {none} "), " "));
    let counted = text.trim().to_lowercase();
    !counted.starts_with("0 error") && holds(&words, &BAD)
}

/// True if a text says that all is well, or that there is nothing.
fn is_good(text: &str) -> bool {
    const GOOD: [&str; 30] = [
        "ok",
        "okay",
        "success",
        "successful",
        "successfully",
        "succeeded",
        "erfolg",
        "erfolgreich",
        "done",
        "complete",
        "completed",
        "finished",
        "retrieved",
        "fetched",
        "loaded",
        "returned",
        "good",
        "fine",
        "ready",
        "active",
        "passed",
        "processed",
        "accepted",
        "available",
        "healthy",
        "true",
        "yes",
        "normal",
        "final",
        "executed",
    ];
    const NOTHING: [&str; 26] = [
        "empty",
        "none",
        "nothing",
        "no data",
        "nodata",
        "no record",
        "no records",
        "no result",
        "no results",
        "no rows",
        "no content",
        "no items",
        "no entries",
        "no transactions",
        "no transaction",
        "no sessions",
        "no session",
        "no sales",
        "no sale",
        "no payments",
        "no more",
        "no matching",
        "no matches",
        "keine",
        "zero",
        "no documents",
    ];
    let words = blame::words(text);
    let letters: String = words.split_whitespace().collect();
    let missing = holds(&words, &["not found"]) || letters == "notfound";
    let of_records = ["data", "record", "result", "transaction", "session", "sale", "item", "entr", "row", "payment"];
    let is_nothing = holds(&words, &NOTHING)
        || ["empty", "nodata", "norecords", "noresults", "notfound"].contains(&letters.as_str())
        || (missing && of_records.iter().any(|what| letters.contains(what)));
    !fails(text)
        && (is_nothing || (!missing && holds(&words, &["found"])) || (!holds(&words, &["not"]) && holds(&words, &GOOD)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_says_so_in_many_ways() {
        for page in [
            r#"{"status":"error","data":[]}"#,
            r#"{"status":" Failed "}"#,
            r#"{"Status":"FAILED","data":[]}"#,
            r#"{"STATUS":"ERROR","data":[]}"#,
            r#"{"status":500,"data":[]}"#,
            r#"{"status":"INTERNAL_ERROR","data":[]}"#,
            r#"{"status":"InternalServerError","data":[]}"#,
            r#"{"status":false,"data":[]}"#,
            r#"{"statusCode":"503","message":"later","data":[]}"#,
            r#"{"code":429}"#,
            r#"{"returnCode":-1,"data":[]}"#,
            r#"{"result":"failure","data":null}"#,
            r#"{"result":"KO","data":[]}"#,
            r#"{"error":"down"}"#,
            r#"{"Error":"x","data":[]}"#,
            r#"{"Errors":["x"],"data":[]}"#,
            r#"{"error":true,"data":[]}"#,
            r#"{"error":17}"#,
            r#"{"error":{"code":1}}"#,
            r#"{"errorCode":"E1","data":[]}"#,
            r#"{"error_code":17,"data":[]}"#,
            r#"{"ERROR-CODE":17,"data":[]}"#,
            r#"{"errorMessage":"boom","data":[]}"#,
            r#"{"hasError":true,"data":[]}"#,
            r#"{"errorCount":2,"data":[]}"#,
            r#"{"data":[],"errors":[{"title":"down"}],"meta":{"count":0}}"#,
            r#"{"errors":["down"]}"#,
            r#"{"errors":{"page":["down"]}}"#,
            r#"{"fault":{"faultstring":"down"}}"#,
            r#"{"FaultString":"down"}"#,
            r#"{"exceptionMessage":"boom","data":[]}"#,
            r#"{"problem":"boom","data":[]}"#,
            r#"{"Fehler":"kaputt","data":[]}"#,
            r#"{"success":false,"data":[]}"#,
            r#"{"Success":false,"data":[]}"#,
            r#"{"isSuccess":false,"data":[]}"#,
            r#"{"is_success":0,"data":[]}"#,
            r#"{"success":"false"}"#,
            r#"{"success":"failed"}"#,
            r#"{"ok":0,"data":[]}"#,
            r#"{"succeeded":false,"data":[]}"#,
            r#"{"failed":true,"data":[]}"#,
            r#"{"type":"ERROR","data":[]}"#,
            r#"{"message":"Internal server error","data":[]}"#,
            r#"{"success":true,"message":"Database unavailable","data":[]}"#,
            r#"{"messages":[{"text":"timed out"}],"data":[]}"#,
            r#"{"meta":{"error":"boom","total":0},"data":[]}"#,
            r#"{"meta":{"status":"error"},"data":[]}"#,
            r#"{"_meta":{"Status":{"code":500}},"data":[]}"#,
            r#"{"response":{"status":{"text":"failed"}},"data":[]}"#,
            r#"{"status":"failed","message":"Caf\ud83d","data":[]}"#,
            "\u{feff}{\"error\":\"down\"}",
        ] {
            assert_eq!(of(page.as_bytes()), Some(Complaint::Failure), "{page}");
        }
    }

    #[test]
    fn a_text_of_which_nothing_is_known_is_doubtful() {
        for page in [
            r#"{"Message":"boom"}"#,
            r#"{"message":"boom","data":[]}"#,
            r#"{"message":"internal"}"#,
            r#"{"detail":"x","title":"y","data":[]}"#,
            r#"{"status":"processing","data":[]}"#,
            r#"{"code":"E1","data":[]}"#,
            r#"{"code":1017,"data":[]}"#,
            r#"{"message":"Account not found","data":[]}"#,
            r#"{"meta":{"message":"boom"},"data":[]}"#,
            r#""boom""#,
        ] {
            assert_eq!(of(page.as_bytes()), Some(Complaint::Remark), "{page}");
        }
        for page in [
            r#"{"status":"ok","message":"boom","data":[]}"#,
            r#"{"success":true,"message":"boom","data":[]}"#,
            r#"{"code":200,"message":"boom","data":[]}"#,
            r#"{"meta":{"total":0},"message":"boom","data":[]}"#,
            r#"{"error":"no transactions found","data":[]}"#,
        ] {
            assert_eq!(of(page.as_bytes()), Some(Complaint::Note), "{page}");
        }
    }

    #[test]
    fn good_words_are_no_complaint() {
        for page in [
            r#"{"status":"ok","data":[]}"#,
            r#"{"Status":"Success","message":"OK","data":[]}"#,
            r#"{"status":"success","code":200,"data":[]}"#,
            r#"{"status":204}"#,
            r#"{"status":0,"code":0,"result":1,"data":[]}"#,
            r#"{"code":"E-MPTY","data":[]}"#,
            r#"{"status":"Success","errors":[],"data":[]}"#,
            r#"{"errors":null,"error":null}"#,
            r#"{"errors":{},"error":""}"#,
            r#"{"errors":[ [ ] ],"error":false}"#,
            r#"{"error":0,"fault":"none","exception":"null"}"#,
            r#"{"error":{"code":0,"message":""},"data":[]}"#,
            r#"{"errorCode":"0","errorMessage":"No error","hasErrors":false,"data":[]}"#,
            r#"{"errorCode":200,"data":[]}"#,
            r#"{"success":true,"ok":1,"failed":0,"data":[]}"#,
            r#"{"message":"nothing found","data":[]}"#,
            r#"{"message":"","msg":null,"detail":" ","data":[]}"#,
            r#"{"message":"Request completed without errors","data":[]}"#,
            r#"{"message":"No data found","data":[]}"#,
            r#"{"message":"0 records found","data":[]}"#,
            r#"{"message":"Records not found.","data":[]}"#,
            r#"{"title":"Transactions retrieved","data":[]}"#,
            r#"{"meta":{"status":"ok","message":"success","total":0},"data":[]}"#,
            r#"{"type":"list","default":"x","data":[]}"#,
            r#"{"filter":{"status":"failed"},"data":[]}"#,
            "[]",
            "null",
            "7",
            "",
            "<html>",
        ] {
            assert_eq!(of(page.as_bytes()), None, "{page}");
        }
    }
}
