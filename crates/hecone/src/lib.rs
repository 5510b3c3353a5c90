//! HecOne 360: its login, endpoints, paging and quirks.
//!
//! Invariant: only what HecOne's document says, or what the connection configures, is relied on; where the document is silent
//! (base URL, paths, whether a window's end is inclusive, the largest page), every answer a server may give is coped with.
//!
//! | question | answer |
//! |---|---|
//! | login | POST client_id and client_secret; a token is had anew with the credentials, or at `paths.refresh` where that is set |
//! | window | `start_date` rounded down to the second; `end_date` rounded up, and one second more |
//! | paging | `page[offset]` and `page[limit]`, sorted by id; the next offset is where the page's records ended |
//! | total | `meta.total` of every page |
//! | statistics | `GET /transactions/statistics` of one mandator, to reconcile with |
//! | one record | `GET /transactions/{id}?additional_info=true`; 404 and 410 mean that it is gone |
//!
//! Deliberately absent: creating and updating transactions, and the deprecated `mandator_id` of the list.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod connection;
mod statistics;
mod transactions;

pub use connection::{HecOneConnection, HecOnePaths, RESOURCES, SOURCE};
