//! HecOne 360, emulated: the world it sells in, the records it keeps, and the endpoints that show them.
//!
//! Invariant: what an endpoint shows is a function of the seed, the clock, and what was changed by hand; never of the machine's
//! time. Only tokens age with the machine.
//!
//! ```text
//!   places, traffic --> sale (a plan) --at(clock)--> render --> records --> endpoints
//!                                                                  `-----> statistics (by the oracle)
//! ```

pub(crate) mod endpoints;
pub(crate) mod filter;
pub(crate) mod listing;
pub(crate) mod means;
pub(crate) mod paper;
pub(crate) mod places;
pub(crate) mod records;
pub(crate) mod render;
pub(crate) mod sale;
pub(crate) mod states;
pub mod statistics;
pub(crate) mod steering;
pub(crate) mod traffic;
pub(crate) mod wire;

use crate::SandboxOptions;
use crate::tokens::Tokens;
use listing::Listings;
use records::Records;
use sale::World;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tillhouse_model::Result;

/// The provider.
#[derive(Debug)]
pub(crate) struct HecOne {
    client_id: String,
    client_secret: String,
    token_ttl: std::time::Duration,
    largest_page: AtomicU32,
    end_included: bool,
    sparse_by_id: bool,
    /// Where the provider says it lives, for links: `http://127.0.0.1:PORT/hecone`.
    base_url: String,
    records: RwLock<Records>,
    tokens: Mutex<Tokens>,
    listings: Mutex<Listings>,
}

impl HecOne {
    /// Builds the world and renders it. Takes a core's time: call it off the async threads.
    pub(crate) fn new(options: &SandboxOptions, around: Arc<crate::world::World>, base_url: String) -> Result<Self> {
        let places = places::Places::new(options.seed)?;
        let traffic = traffic::Traffic::new(&places.sites, options.from, options.to)?;
        let world = World {
            seed: options.seed,
            around,
            places,
            traffic,
            transactions: options.transactions,
            stragglers: options.transactions / 200,
            since: options.from.as_second(),
            until: options.to.as_second(),
        };
        let records = Records::new(Arc::new(world), options.clock())?;
        Ok(Self {
            client_id: options.client_id.clone(),
            client_secret: options.client_secret.clone(),
            token_ttl: options.token_ttl,
            largest_page: AtomicU32::new(options.largest_page.max(1)),
            end_included: options.end_included,
            sparse_by_id: options.sparse_by_id,
            base_url,
            records: RwLock::new(records),
            tokens: Mutex::new(Tokens::new(options.seed, u64::MAX - 1, options.token_ttl)),
            listings: Mutex::default(),
        })
    }

    /// The most records a page has.
    pub(crate) fn largest_page(&self) -> u32 {
        self.largest_page.load(Ordering::Relaxed)
    }

    // A handler that panicked leaves data that is still whole: each change is made by one call.
    pub(crate) fn records(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn records_mut(&self) -> RwLockWriteGuard<'_, Records> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn listings(&self) -> MutexGuard<'_, Listings> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
