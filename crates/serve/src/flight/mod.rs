//! Flight SQL over the newest published run: what `tillhouse sql` answers, in Arrow's columns, for ADBC, JDBC and whoever speaks it.
//!
//! Invariant: a query is read, planned, limited and run by `query` as any other; nothing here goes round it. Nobody reaches a method but the login who has not come in. What is
//! asked for in one call is answered in another by a ticket, which is signed, and good for its user and its run alone. Nothing can be written.
//!
//! ```text
//!   connection ─ listener (TLS, HTTP/2, admission) ─ service ─┬─ GetFlightInfo, GetSchema: statements::plan ─> columns and a ticket
//!                                                             ├─ DoGet: statements::answer ─> batches ─ sent (types, pieces) ─> client
//!                                                             ├─ DoGet of lists: metadata, over the session that the user's queries run in
//!                                                             ├─ DoPut: parameters of a prepared statement
//!                                                             └─ DoAction: held (prepared statements, transactions), cancelling
//! ```
//!
//! Rejected: `FlightSqlService` of arrow-flight, which answers GetSchema by refusing it, tells an unknown command as a fault of the server, and lists actions that there are
//! not; and a query that is kept running between GetFlightInfo and DoGet, which would hold a slot for a client that may never come.

mod held;
mod listener;
mod metadata;
mod parameters;
mod sent;
mod service;
mod statements;
mod status;
mod ticket;

pub(crate) use listener::FlightListener;

/// Name of the endpoint, in metrics and in the audit log.
const ENDPOINT: &str = "flight";
