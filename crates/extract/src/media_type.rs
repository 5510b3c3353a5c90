//! Under which media types an answer is taken for JSON.
//!
//! Invariant: JSON's own types, its unregistered names, no type at all, and what else the connection names count where the body begins as JSON
//! does. Anything else is told by its type before it is read: a portal's or a proxy's web page.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::{Deserialize, Deserializer, de};

/// Media types that count beside JSON's own, without parameters, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MediaTypes(Vec<String>);

impl MediaTypes {
    /// Checks media types. The error says what is wrong with the first that is none.
    pub fn new(types: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, String> {
        let types = types.into_iter().map(|written| checked(written.as_ref()));
        types.collect::<Result<_, _>>().map(Self)
    }

    /// Judges an answer by its headers.
    pub(crate) fn judge(&self, headers: &HeaderMap) -> MediaTypeVerdict {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return MediaTypeVerdict::Json;
        };
        let text = value.to_str().unwrap_or("unreadable");
        let written = text.split([';', ',']).next().unwrap_or("").trim();
        let essence = written.to_ascii_lowercase();
        let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
        let is_json = subtype == "json" || subtype.ends_with("+json");
        // Names that are not registered, and mean it all the same. The first could not even be listed.
        let means_json = matches!(
            essence.as_str(),
            "json" | "application/x-json" | "text/x-json"
        );
        if is_json || essence.is_empty() || means_json || self.0.contains(&essence) {
            return MediaTypeVerdict::Json;
        }
        MediaTypeVerdict::Other(written.to_owned())
    }
}

/// Verdict on an answer's media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MediaTypeVerdict {
    /// The body is JSON, or says so: it shows by how it begins.
    Json,
    /// The body is something else, by the name it was given. Not for printing.
    Other(String),
}

/// True if a body begins as a JSON document does.
pub(crate) fn begins_as_json(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    body.first()
        .is_none_or(|first| matches!(first, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9'))
        || [&b"true"[..], b"false", b"null"]
            .iter()
            .any(|word| body.starts_with(word))
}

/// A media type as it is written.
fn checked(written: &str) -> Result<String, String> {
    let name = written.trim().to_ascii_lowercase();
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    match name.split_once('/') {
        Some((kind, subtype)) if part(kind) && part(subtype) => Ok(name),
        _ => Err(format!(
            "{written:?} is not a media type: write it like text/plain"
        )),
    }
}

/// Element of a list of media types, read by itself, so that each that is none is told.
struct MediaTypeEntry(String);

impl<'de> Deserialize<'de> for MediaTypeEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(&String::deserialize(deserializer)?)
            .map(Self)
            .map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for MediaTypes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<MediaTypeEntry>::deserialize(deserializer)?;
        Ok(Self(entries.into_iter().map(|entry| entry.0).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn judged(accepted: &[&str], header: Option<&str>) -> MediaTypeVerdict {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(header).unwrap());
        }
        MediaTypes::new(accepted).unwrap().judge(&headers)
    }

    #[test]
    fn json_has_many_names_and_others_are_had_by_asking() {
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "text/json",
            "application/vnd.api+json",
            "application/problem+json;v=1",
        ] {
            assert_eq!(judged(&[], Some(json)), MediaTypeVerdict::Json, "{json}");
        }
        for none in [
            None,
            Some(""),
            Some("; charset=utf-8"),
            Some("json"),
            Some("JSON; charset=utf-8"),
            Some("application/x-json"),
        ] {
            assert_eq!(judged(&[], none), MediaTypeVerdict::Json);
        }
        for other in [
            "text/plain; charset=utf-8",
            "application/octet-stream",
            "text/html",
            "application/jsonp",
            "unreadable",
        ] {
            let essence = other.split(';').next().unwrap();
            assert_eq!(
                judged(&[], Some(other)),
                MediaTypeVerdict::Other(essence.to_owned()),
                "{other}"
            );
            if let Ok(accepted) = MediaTypes::new([essence.to_uppercase()]) {
                let headers = [(CONTENT_TYPE, HeaderValue::from_str(other).unwrap())]
                    .into_iter()
                    .collect();
                assert_eq!(accepted.judge(&headers), MediaTypeVerdict::Json, "{other}");
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        for wrong in [
            "",
            "json",
            "text/",
            "/plain",
            "text/plain; charset=utf-8",
            "*/*",
            "text plain",
        ] {
            assert!(
                MediaTypes::new([wrong])
                    .unwrap_err()
                    .contains("is not a media type"),
                "{wrong}"
            );
        }
        let read = |text: &str| serde_json::from_str::<MediaTypes>(text);
        assert_eq!(
            read(r#"["Text/Plain "]"#).unwrap(),
            MediaTypes(vec!["text/plain".into()])
        );
        assert!(
            read(r#"["x"]"#)
                .unwrap_err()
                .to_string()
                .contains("like text/plain")
        );
        assert!(read(r#""text/plain""#).is_err());
    }

    #[test]
    fn json_is_known_by_its_first_byte() {
        for json in [&b"{}"[..], b" \r\n[", b"null", b"-1", b"\"x\"", b"", b" "] {
            assert!(begins_as_json(json));
        }
        for other in [
            &b"<html>"[..],
            b"Please wait",
            b"\xff\xfe",
            b"%PDF",
            b")]}',\n{}",
            b"cb({})",
            b"found({})",
            b"not found",
        ] {
            assert!(!begins_as_json(other));
        }
    }
}
