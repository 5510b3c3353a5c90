//! A rejected record as it may be shown: its shape, and the values of open columns.
//!
//! Invariant: no value of a column that is not open, and nothing the contract does not know, is ever in the result; the result is JSON and at
//! most [`MAX_BYTES`] long.

use crate::abort::ReadResult;
use crate::fields::{FieldKind, FieldPlan, ObjectPlan};
use crate::scan::{JsonScanner, RawJsonString, unescape};
use crate::warnings::excerpt;

/// The longest result.
pub(crate) const MAX_BYTES: usize = 4_096;

/// The longest value that is shown whole, and the room kept for closing brackets.
const MAX_VALUE: usize = 256;
const RESERVE: usize = 1_024;

const HIDDEN: &str = r#""***""#;

/// The record, redacted; empty if it is no object.
pub(crate) fn redact(record: &ObjectPlan, bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut scan = JsonScanner::new(bytes);
    // The bytes were passed over before, so they are JSON; were they not, there would be nothing to show.
    if scan.peek().is_ok_and(|first| first == b'{')
        && object(record, &mut scan, &mut out).is_ok()
        && out.len() <= MAX_BYTES
    {
        return out;
    }
    String::new()
}

fn object(plan: &ObjectPlan, scan: &mut JsonScanner<'_>, out: &mut String) -> ReadResult {
    scan.pos += 1;
    out.push('{');
    let mut more = !scan.empty(b'}')?;
    let mut first = true;
    let mut name = Vec::new();
    while more {
        let key = scan.key()?;
        name.clear();
        let known = meaning(key, &mut name)
            .and_then(|name| plan.find(name, 0))
            .and_then(|at| plan.fields.get(at));
        match known {
            Some(field) if out.len() < MAX_BYTES - RESERVE - MAX_VALUE => {
                if !first {
                    out.push(',');
                }
                first = false;
                out.push_str(&String::from_utf8_lossy(&field.spelled));
                value(field, scan, out)?;
            }
            _ => {
                scan.skip()?;
            }
        }
        more = scan.another(b'}')?;
    }
    out.push('}');
    Ok(())
}

fn meaning<'s>(key: RawJsonString<'s>, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
    if !key.escaped {
        return Some(key.bytes);
    }
    unescape(key.bytes, scratch).ok().map(|()| &scratch[..])
}

fn value(field: &FieldPlan, scan: &mut JsonScanner<'_>, out: &mut String) -> ReadResult {
    let first = scan.peek()?;
    let start = scan.pos;
    match (&field.kind, first) {
        (_, b'n') => {
            scan.skip()?;
            out.push_str("null");
        }
        (FieldKind::Object(plan), b'{') => object(plan, scan, out)?,
        (FieldKind::List(element), b'[') => {
            scan.pos += 1;
            out.push('[');
            let mut more = !scan.empty(b']')?;
            let mut first = true;
            while more {
                if out.len() < MAX_BYTES - RESERVE - MAX_VALUE {
                    if !first {
                        out.push(',');
                    }
                    first = false;
                    value(element, scan, out)?;
                } else {
                    scan.skip()?;
                }
                more = scan.another(b']')?;
            }
            out.push(']');
        }
        // Not to be seen; or a container where one value belongs, or the reverse: who knows what is in it.
        (FieldKind::Object(_) | FieldKind::List(_) | FieldKind::NotDecoded, _)
        | (_, b'{' | b'[') => {
            scan.skip()?;
            out.push_str(HIDDEN);
        }
        _ if !field.is_quotable => {
            scan.skip()?;
            out.push_str(HIDDEN);
        }
        (_, b'"') => {
            let raw = scan.string()?;
            match std::str::from_utf8(&scan.data[start..scan.pos]) {
                Ok(text) if text.len() <= MAX_VALUE => out.push_str(text),
                _ => {
                    let mut bytes = Vec::new();
                    let text = meaning(raw, &mut bytes)
                        .map_or_else(String::new, |text| excerpt(text, MAX_VALUE / 8));
                    out.push_str(&serde_json::Value::from(text).to_string());
                }
            }
        }
        (_, _) => {
            scan.skip()?;
            let text = String::from_utf8_lossy(&scan.data[start..scan.pos]);
            out.push_str(if text.len() <= MAX_VALUE {
                &text
            } else {
                HIDDEN
            });
        }
    }
    Ok(())
}
