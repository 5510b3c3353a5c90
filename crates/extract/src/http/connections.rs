//! Connections of a client, set up by its first request.
//!
//! Invariant: no redirect is followed and no body is decompressed by the library, and what goes to this machine passes no proxy.

use super::root_cause;
use crate::origin::BaseUrl;
use crate::source::SourceLimits;
use std::sync::OnceLock;
use std::time::Duration;
use tillhouse_model::{Error, Result};

/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections to servers of one kind, on this machine or elsewhere. They are set up by the first request: the machine's certificates are read for
/// them, and who only wants to know what a source is configured for sends none.
pub(super) struct LazyConnections {
    is_loopback: bool,
    most_idle: usize,
    opened: OnceLock<reqwest::Client>,
}

impl LazyConnections {
    /// Those to a server like this one.
    pub(super) fn new(base: &BaseUrl, limits: &SourceLimits) -> Self {
        Self {
            is_loopback: base.is_loopback(),
            most_idle: limits.concurrency,
            opened: OnceLock::new(),
        }
    }

    pub(super) fn client(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.opened.get() {
            return Ok(client);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("tillhouse/", env!("CARGO_PKG_VERSION")))
            // Both are done here: what becomes of a POST, and what of a body in an encoding that was not asked for.
            .redirect(reqwest::redirect::Policy::none())
            .no_gzip()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(self.most_idle)
            .tcp_nodelay(true);
        if self.is_loopback {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|e| Error::internal("cannot set up HTTP").because(root_cause(&e)))?;
        // Of two requests that come first at once, one's connections stay.
        Ok(self.opened.get_or_init(|| client))
    }
}
