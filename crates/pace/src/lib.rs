//! PACE: fuel sold through PACE's apps, transaction by transaction.
//!
//! Invariant: only what PACE's document says, or what the connection configures, is relied on; where the document is silent, every
//! answer a server may give is coped with.
//!
//! | question | answer |
//! |---|---|
//! | login | OAuth2 client credentials, on a server of its own |
//! | media type | `application/vnd.api+json` (JSON:API) both ways |
//! | tenant | the partner; it is also the page's scope, since transactions do not repeat it |
//! | window, `api: partner` | `date_from` and `date_to`, rounded to seconds and one second more: whether the end is meant is not said |
//! | window, `api: 2025-1` | by the time of last change, rounded to seconds and from one second earlier on: the start may be outside |
//! | paging | `page[number]` from 0 and `page[size]` up to 100, both always: without the number PACE does not page at all |
//! | total | `meta.count` of every page |
//! | one transaction | cannot be asked for |
//!
//! Deliberately absent: transactions of single users, receipts, and the CSV export, which says less.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod connection;
mod error_document;
mod login;
mod transactions;

pub use connection::{PaceConnection, PaceFilters, PaceListApi, PacePaths, RESOURCES, SOURCE};
