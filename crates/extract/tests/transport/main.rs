//! The HTTP kit over real sockets on loopback, against servers that misbehave byte by byte.
//!
//! Invariant: every server answers a fixed script and nothing here sleeps; pauses that are waited for are those of the kit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authorized;
mod credentials;
mod limits;
mod printing;
mod refusals;
mod retries;
mod scripted;
mod wrappings;
