//! Listings that a run has read whole: what they have no more.
//!
//! Invariant: a record is given up only for a tenant whose list of its time was read to the end in the same run, and has not had it.

use jiff::Timestamp;
use std::collections::HashSet;
use tillhouse_model::Window;

/// Windows that a run has read to their end, by tenant, and records that came for several tenants.
#[derive(Debug, Clone, Default)]
pub struct WholeListings {
    /// Windows of event time.
    pub windows: Vec<(Option<String>, Window)>,
    /// Keys of records that another tenant may have listed too.
    pub contested: HashSet<String>,
}

impl WholeListings {
    /// True if the list of this tenant was read whole where the record lies, and had it no more.
    pub(crate) fn lack(&self, key: &str, tenant: Option<&str>, record_time: Option<i64>) -> bool {
        let time = record_time.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let is_read = |time: Timestamp| {
            let mut windows = self.windows.iter();
            windows.any(|(of, window)| {
                of.as_deref() == tenant && window.from() <= time && time < window.to()
            })
        };
        time.is_some_and(is_read) && !self.contested.contains(key)
    }
}
