//! Slice: the unit of fetching; and the resources that a source offers.
//!
//! Invariant: a slice names everything a request depends on, so that fetching the same slice twice asks the same question.

use crate::window::Window;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One unit of extraction: a resource of one tenant, over a half-open window of record time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slice {
    /// The resource's name, as the source lists it.
    pub resource: String,
    /// The tenant, where a source is asked tenant by tenant.
    pub tenant: Option<String>,
    /// The instants asked for, [from, to).
    pub window: Window,
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if let Some(tenant) = &self.tenant {
            write!(f, "/{tenant}")?;
        }
        write!(f, " {}", self.window)
    }
}

/// One kind of record that a source offers.
///
/// ```
/// use tillhouse_model::{ReadMode, Resource};
///
/// const SALES: Resource = Resource { name: "sales", records_at: &["data"], ..Resource::INCREMENTAL };
/// assert_eq!(SALES.read_mode, ReadMode::Incremental);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The name used in configuration, in the warehouse's paths, and as the contract's file name.
    pub name: &'static str,
    /// The keys that lead from a page's top to the array of records; empty when the page itself is the array.
    pub records_at: &'static [&'static str],
    /// True if single records can be fetched again by id.
    pub by_id: bool,
    /// True if an answer by id may leave out fields that the listing has. What it does not carry,
    /// not even as null, keeps its last known value.
    pub sparse_by_id: bool,
    /// True if every page declares how many records the window has, so that a window can be proved
    /// complete.
    pub declares_total: bool,
    /// The largest page the provider is known to allow, if it is known.
    pub largest_page: Option<u32>,
    /// Incremental or whole.
    pub read_mode: ReadMode,
    /// Kind of time that a slice's window is of.
    pub read_by: ReadBy,
    /// True if it can, beside its windows of event time, also be read by change time: late records
    /// that no window of their own time would find any more.
    pub follows_changes: bool,
}

/// Kind of time by which a source cuts a listing into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadBy {
    /// When they happened: a window is known once it was read, but for what the provider learns of later.
    EventTime,
    /// When the provider learnt of them, or of their last change: a window says nothing of what happened in it alone, and with all that
    /// follow it everything.
    ChangeTime,
}

impl ReadBy {
    /// As tables and JSON spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventTime => "event_time",
            Self::ChangeTime => "change_time",
        }
    }

    /// Reads what [`ReadBy::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::EventTime, Self::ChangeTime]
            .into_iter()
            .find(|by| by.as_str() == text)
    }

    /// The other time.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::EventTime => Self::ChangeTime,
            Self::ChangeTime => Self::EventTime,
        }
    }
}

/// Mode in which a resource is brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// Window by window: what is new or changed lies in windows that were not read yet, or in the look-back.
    Incremental,
    /// Whole, by every run, with one slice a tenant: what was there before and no longer comes is marked as deleted.
    FullRefresh,
}

impl Resource {
    /// A resource that is read by windows, to be completed with `..`: no ids, no totals, no known page size.
    pub const INCREMENTAL: Self = Self {
        name: "",
        records_at: &[],
        by_id: false,
        sparse_by_id: false,
        declares_total: false,
        largest_page: None,
        read_mode: ReadMode::Incremental,
        read_by: ReadBy::EventTime,
        follows_changes: false,
    };

    /// A resource that is read whole, to be completed with `..`.
    pub const FULL_REFRESH: Self = Self {
        read_mode: ReadMode::FullRefresh,
        ..Self::INCREMENTAL
    };

    /// Kinds of time to record of a slice that was read by this time: that of its window, and the
    /// other one the resource is read by too. Both `None` for a resource that is read whole.
    pub fn recorded_read_by(&self, by: ReadBy) -> (Option<ReadBy>, Option<ReadBy>) {
        match self.read_mode {
            ReadMode::FullRefresh => (None, None),
            ReadMode::Incremental => (Some(by), self.follows_changes.then(|| by.other())),
        }
    }
}
