//! How records are brought in: the [`Source`] trait that every API implements, and the HTTP kit they build on.
//!
//! Invariant: nothing here knows an API, a contract or a table; a page is bytes and what its envelope declares.

pub mod source;

pub use source::{Connection, Limits, Page, PageStream, Source};
