//! A resource's records as they are at the clock, in the order of their ids.
//!
//! Invariant: rows are sorted by key and no key comes twice; a row's instants are those of its body.

use super::resources::{SmartNowColumnType, SmartNowResource};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tillhouse_model::{Error, Result};

/// Id of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SmartNowKey {
    Number(i64),
    Text(Box<str>),
}

impl SmartNowKey {
    /// The key of a JSON value; `None` when that is neither a whole number nor a text.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_i64().map(Self::Number),
            Value::String(text) => Some(Self::Text(text.as_str().into())),
            _ => None,
        }
    }

    /// The key that a path or a query names, for a resource whose ids are numbers or texts.
    pub(crate) fn parse(kind: &SmartNowResource, text: &str) -> Option<Self> {
        match kind.column("id") {
            Some((_, SmartNowColumnType::Number)) => text.parse().ok().map(Self::Number),
            _ => Some(Self::Text(text.into())),
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.to_string(),
        }
    }

    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Number(number) => Value::from(*number),
            Self::Text(text) => Value::from(text.as_ref()),
        }
    }
}

/// One record.
#[derive(Debug, Clone)]
pub(crate) struct SmartNowRow {
    pub key: SmartNowKey,
    /// The id of what it belongs to, where its list is asked for by that.
    pub parent: Option<SmartNowKey>,
    /// Microseconds since 1970 UTC; none where the record has no such time.
    pub created: Option<i64>,
    pub updated: Option<i64>,
    pub occurred: Option<i64>,
    pub body: Bytes,
}

impl SmartNowRow {
    /// A generated record. Times are Unix seconds.
    pub(crate) fn new(key: i64, created: i64, updated: i64, body: Bytes) -> Self {
        let micros = |second: i64| Some(second.saturating_mul(1_000_000));
        Self {
            key: SmartNowKey::Number(key),
            parent: None,
            created: micros(created),
            updated: micros(updated),
            occurred: None,
            body,
        }
    }

    /// The same record with the instant it is about.
    pub(crate) fn at(self, second: i64) -> Self {
        Self {
            occurred: Some(second.saturating_mul(1_000_000)),
            ..self
        }
    }

    /// The same record as one of a parent's.
    pub(crate) fn under(self, parent: SmartNowKey) -> Self {
        Self {
            parent: Some(parent),
            ..self
        }
    }

    /// Any record, exactly as written; `parent` counts where the record itself does not name it. Errors with
    /// [`tillhouse_model::ErrorKind::Data`] when it is no JSON object with an id.
    pub(crate) fn read(
        kind: &SmartNowResource,
        json: &str,
        parent: Option<SmartNowKey>,
    ) -> Result<Self> {
        let bad = || Error::data("a record must be a JSON object with an `id`");
        let record: Map<String, Value> = serde_json::from_str(json).map_err(|_| bad())?;
        let key = record.get("id").and_then(SmartNowKey::of).ok_or_else(bad)?;
        let named = kind
            .parent
            .and_then(|parent| parent.by)
            .and_then(|by| record.get(by))
            .and_then(SmartNowKey::of);
        let instant = |name: &str| record.get(name).and_then(micros);
        Ok(Self {
            key,
            parent: named.or(parent),
            created: instant("createdAt"),
            updated: instant("updatedAt"),
            occurred: instant("occurredAt"),
            // A line of the truth holds one record.
            body: Bytes::from(json.replace(['\n', '\r'], " ")),
        })
    }

    /// The time that the windows of its resource are about.
    pub(crate) fn window_time(&self, kind: &SmartNowResource) -> Option<i64> {
        match kind.window? {
            "updatedAt" => self.updated,
            _ => self.created,
        }
    }

    /// The record, parsed; empty when it is no object.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A date-time's microseconds since 1970 UTC; `None` where it is none.
pub(crate) fn micros(value: &Value) -> Option<i64> {
    Some(value.as_str()?.parse::<Timestamp>().ok()?.as_microsecond())
}

/// The records of a resource.
#[derive(Debug, Clone, Default)]
pub(crate) struct SmartNowTable(Vec<SmartNowRow>);

impl SmartNowTable {
    pub(crate) fn new(mut rows: Vec<SmartNowRow>) -> Self {
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        Self(rows)
    }

    pub(crate) fn rows(&self) -> &[SmartNowRow] {
        &self.0
    }

    fn place(&self, key: &SmartNowKey) -> std::result::Result<usize, usize> {
        self.0.binary_search_by(|row| row.key.cmp(key))
    }

    pub(crate) fn find(&self, key: &SmartNowKey) -> Option<&SmartNowRow> {
        self.place(key).ok().map(|index| &self.0[index])
    }

    /// The rows behind a key.
    pub(crate) fn rows_after(&self, key: &SmartNowKey) -> &[SmartNowRow] {
        let from = self.0.partition_point(|row| row.key <= *key);
        self.0.get(from..).unwrap_or_default()
    }

    /// Inserts a row, or replaces the one with its key.
    pub(crate) fn insert(&mut self, row: SmartNowRow) {
        match self.place(&row.key) {
            Ok(index) => self.0[index] = row,
            Err(index) => self.0.insert(index, row),
        }
    }

    pub(crate) fn remove(&mut self, key: &SmartNowKey) {
        if let Ok(index) = self.place(key) {
            self.0.remove(index);
        }
    }
}
