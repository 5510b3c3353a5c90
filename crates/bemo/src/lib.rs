//! be-mo: what an account's own vehicles fuelled and charged elsewhere, session by session.
//!
//! Invariant: only what be-mo's document says, or what the connection configures, is relied on; where the document is silent (names of
//! headers, where pages are counted from, how large they may be, whether a window's end is inclusive), every answer a server
//! may give is coped with.
//!
//! | question | answer |
//! |---|---|
//! | login | an access token and a subscription key, each in a header of its own; read anew when the token is refused |
//! | tenant | the account; it is also the page's scope, since sessions do not repeat it |
//! | window | `from` and `to` are dates, of a clock that is not named: those of every clock on earth, and a day more |
//! | late sessions | `lastCreated`, a date too: what be-mo learnt since, whenever it happened |
//! | paging | the next-range header where there is one, else `offset` as the page's number; see [`tillhouse_extract::paging::by_page`] |
//! | total | not declared |
//! | one session | cannot be asked for |
//! | errors | the envelope's status counts, whatever the HTTP status is |
//!
//! Deliberately absent: the filters by vehicle and by country, which would make of an account's sessions a part of them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod connection;
mod error_envelope;
mod login;
mod sessions;

pub use connection::{BemoConnection, BemoHeaders, BemoPaths, RESOURCES, SOURCE};
