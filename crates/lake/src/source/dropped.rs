//! Versions of records that were dropped for others: what landing says of them.
//!
//! Invariant: a version with the content of what stays is no other one.

use crate::source::dedup::ContentHash;

/// Version of a record that was dropped for one with other content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedVersion {
    /// The record's key.
    pub key: String,
    /// The content hash of the version, 17 bytes.
    pub content_hash: [u8; 17],
}

impl DroppedVersion {
    /// `None` where what stays says the same.
    pub(super) fn of(
        key: &str,
        dropped: Option<ContentHash>,
        stays: Option<ContentHash>,
    ) -> Option<Self> {
        let content_hash = dropped.filter(|_| dropped != stays)?;
        Some(Self {
            key: key.to_owned(),
            content_hash,
        })
    }
}

/// Record that came with other content than what stays of it, and with an earlier time of change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOverRecord {
    /// Its key.
    pub key: String,
    /// The time of change that it names, microseconds UTC.
    pub updated_at: i64,
    /// That of what stays.
    pub stays: i64,
}

impl PassedOverRecord {
    /// `None` where the one that is dropped is older by its request, and so no news, or says the same.
    pub(super) fn of(
        key: &str,
        dropped: ((Option<i64>, i64), Option<ContentHash>),
        stays: ((Option<i64>, i64), Option<ContentHash>),
    ) -> Option<Self> {
        let ((updated_at, asked_at), content) = dropped;
        let ((stays_of, stays_asked_at), stays_content) = stays;
        let (updated_at, stays) = (updated_at?, stays_of?);
        let is_news = updated_at < stays && asked_at > stays_asked_at && content != stays_content;
        is_news.then(|| Self {
            key: key.to_owned(),
            updated_at,
            stays,
        })
    }
}
