//! What is fetched at a time, and what a source offers.
//!
//! Invariant: a slice names everything a request depends on, so that fetching the same slice twice asks the same question.

use crate::time::Window;
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

/// What a source can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The name used in configuration, in the warehouse's paths, and as the contract's file name.
    pub name: &'static str,
    /// The keys that lead from a page's top to the array of records; empty when the page itself is the array.
    pub records_at: &'static [&'static str],
    /// Whether single records can be asked for again by id.
    pub by_id: bool,
    /// Whether every page declares how many records the window has, so that a window can be proved complete.
    pub declares_total: bool,
    /// The largest page the provider is known to allow, if it is known.
    pub largest_page: Option<u32>,
}
