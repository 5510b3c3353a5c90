//! SmartNow: its login, endpoints, paging and quirks.
//!
//! Invariant: only what SmartNow's document says, or what the connection configures, is relied on; where the document is silent
//! (addresses of most lists, how comparisons are spelt, whether a list knows paging), a server's answers show it, or an error does.
//!
//! | question | answer |
//! |---|---|
//! | login | POST username and password; the refresh token gets the next pair, the password where that is refused |
//! | window | `where[updatedAt][>=]` and `[<]`, in whole seconds and from one second earlier on; logs by `createdAt` |
//! | late | a log is resolved long after it was written: `where[resolvedAt]` finds those, from three days earlier on for machines that were offline, see [`Source::pages_by_change_time`] |
//! | paging | by key, `where[id][>]` with `sort=id asc` and `limit` of 100 at most |
//! | archive | `useArchive=true` for windows that begin longer ago than `archive.after` (60 days; the provider archives after 90) |
//! | parents | products, extras, flavours, voucher logs and an integration's records and transactions are listed parent by parent |
//! | revenue | `GET /revenuetransaction/summary` by currency and date, to reconcile with |
//! | prices | as they come; unify SQL reads `$price_unit` |
//! | rates of tax | as they come; unify SQL reads `$vat_rate` |
//! | kinds of sale | `salestype` as it comes; unify SQL reads `$sales_types` |
//!
//! A late change of a sale that is archived already is found only with `archive: { after: 0d }`, which asks the archive every time.
//!
//! Logs could also be followed by id, one request for each that is not resolved. That was rejected: most logs never are.
//!
//! Deliberately absent: everything that writes; reports, dashboards and CSV exports; images and translations; and the machines'
//! configurations, which hold Wi-Fi keys and are refused even as a configured path.
//!
//! [`Source::pages_by_change_time`]: tillhouse_extract::Source::pages_by_change_time

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod connection;
mod connection_check;
mod endpoints;
mod parents;
mod source;
mod summary;

pub use connection::{SOURCE, SalesType, SmartNowArchive, SmartNowConnection, SmartNowOperators};
pub use endpoints::RESOURCES;
pub use tillhouse_model::money::VatRateUnit;
