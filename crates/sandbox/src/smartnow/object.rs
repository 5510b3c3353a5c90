//! JSON objects written field by field, in the order of the document.
//!
//! Invariant: what comes out is one JSON object on one line.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

/// Writer of one JSON object, field by field.
#[derive(Debug)]
pub(crate) struct JsonObjectWriter(Vec<u8>);

impl JsonObjectWriter {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(480))
    }

    /// Adds a field; `None` is null.
    pub(crate) fn put<T: Serialize>(mut self, name: &str, value: T) -> Self {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.write(name);
        self.0.push(b':');
        self.write(&value);
        self
    }

    // Texts, numbers and lists of them can always be written; should something else not, the record says so by a null.
    fn write<T: Serialize + ?Sized>(&mut self, value: &T) {
        let before = self.0.len();
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.truncate(before);
            self.0.extend_from_slice(b"null");
        }
    }

    /// Adds `createdAt` and `updatedAt`, the way nearly every record ends.
    pub(crate) fn times(self, created: i64, updated: i64) -> Self {
        self.put("createdAt", utc(created))
            .put("updatedAt", utc(updated))
    }

    pub(crate) fn done(mut self) -> Bytes {
        if self.0.is_empty() {
            self.0.push(b'{');
        }
        self.0.push(b'}');
        Bytes::from(self.0)
    }
}

/// An instant in UTC, `2019-02-06T06:12:16Z`.
pub(crate) fn utc(second: i64) -> String {
    Timestamp::from_second(second)
        .unwrap_or_default()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order() {
        let object = JsonObjectWriter::new()
            .put("b", 1)
            .put("a", None::<i64>)
            .put("c", "\"ü\"")
            .times(0, 1)
            .done();
        let text = r#"{"b":1,"a":null,"c":"\"ü\"","createdAt":"1970-01-01T00:00:00Z","updatedAt":"1970-01-01T00:00:01Z"}"#;
        assert_eq!(object, text.as_bytes());
        assert_eq!(JsonObjectWriter::new().done(), "{}");
    }
}
