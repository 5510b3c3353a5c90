//! PostgreSQL's protocol over the newest published run: what `tillhouse sql` answers, for tools that speak to PostgreSQL.
//!
//! Invariant: a query is read, planned, limited and run by `query` as any other; nothing here goes round it. What tools ask about tables and about the server is answered from
//! a catalog without rows. Nothing can be written, and nobody has every right.
//!
//! ```text
//!   connection ─ listener ─ opening (TLS, cancel request, SCRAM) ─ conversation ─┬─ commands: BEGIN, SET, SHOW, DISCARD, ...
//!                              │                                  │              └─ portals: queries, cursors, COPY
//!                              login: who comes in ── runs::part ─┘                     │
//!   running: a thread a query; batches ─ encode (text, binary) ─ wire        reader: one run │ session (query) | catalog (pg_catalog)
//! ```
//!
//! Rejected: the server of `datafusion-postgres`, whose default user may do everything with an empty password, whose decimals end at 28 digits, and which runs statements
//! through a context of DataFusion and so round our rules; its catalog of PostgreSQL's tables is what is taken from it.

mod bind;
mod cancel;
mod catalog;
mod catalog_empty;
mod catalog_functions;
mod catalog_sizes;
mod catalog_tables;
mod catalog_words;
mod columns;
mod commands;
mod conversation;
mod copy;
mod encode;
mod fault;
mod listener;
mod login;
mod numeric;
mod opening;
mod portals;
mod query_slot;
mod reader;
mod running;
mod scram;
mod settings;
mod times;
mod wire;
mod words;

pub(crate) use listener::PostgresListener;
pub(crate) use portals::parameter_count;

/// Name of the endpoint, in metrics and in the audit log.
const ENDPOINT: &str = "postgres";
