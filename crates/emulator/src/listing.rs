//! A listing's page as all these APIs have it: an envelope with a list, or the list itself; for faults that concern no API in particular.
//!
//! Invariant: what is not understood is left as it is.

use serde_json::Value;

/// The records of an answer: the list that it is, or the first that it holds.
fn records(answer: &mut Value) -> Option<&mut Value> {
    match answer {
        Value::Array(_) => Some(answer),
        Value::Object(fields) => fields.values_mut().find(|value| value.is_array()),
        _ => None,
    }
}

/// True if an answer is a listing's page without records.
pub(crate) fn is_empty(body: &[u8]) -> bool {
    let Ok(mut answer) = serde_json::from_slice(body) else {
        return false;
    };
    records(&mut answer).is_some_and(|records| records.as_array().is_some_and(Vec::is_empty))
}

/// Envelope with this in place of the records.
pub(crate) fn with_records(body: &[u8], instead: Value) -> Option<String> {
    let mut answer = serde_json::from_slice(body).ok()?;
    *records(&mut answer)? = instead;
    Some(answer.to_string())
}
