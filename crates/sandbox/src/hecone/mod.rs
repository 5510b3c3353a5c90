//! HecOne 360, emulated: the world it sells in, the records it keeps, and the endpoints that show them.
//!
//! Invariant: what an endpoint shows is a function of the seed, the clock, and what was changed by hand; never of the machine's
//! time. Only tokens age with the machine.
//!
//! ```text
//!   places, traffic --> sale (a plan) --at(clock)--> render --> records --> endpoints
//!                                                                  `-----> statistics (by the oracle)
//! ```

pub(crate) mod control;
pub(crate) mod endpoints;
pub(crate) mod filter;
pub(crate) mod listing;
pub(crate) mod payment_methods;
pub(crate) mod receipts;
pub(crate) mod records;
pub(crate) mod render;
pub(crate) mod sale;
pub(crate) mod sites;
pub(crate) mod states;
pub mod statistics;
pub(crate) mod traffic;
pub(crate) mod wire;

use crate::SandboxOptions;
use crate::tokens::TokenIssuer;
use listing::HecOneListingCache;
use records::HecOneRecordStore;
use sale::HecOneWorld;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tillhouse_model::Result;

/// The emulated HecOne API.
#[derive(Debug)]
pub(crate) struct EmulatedHecOne {
    client_id: String,
    client_secret: String,
    token_ttl: std::time::Duration,
    largest_page: AtomicU32,
    end_included: bool,
    sparse_by_id: bool,
    /// Address the provider gives itself in links: `http://127.0.0.1:PORT/hecone`.
    base_url: String,
    records: RwLock<HecOneRecordStore>,
    tokens: Mutex<TokenIssuer>,
    listings: Mutex<HecOneListingCache>,
}

impl EmulatedHecOne {
    /// Builds the world and renders it. Takes a core's time: call it off the async threads.
    pub(crate) fn new(
        options: &SandboxOptions,
        around: Arc<crate::world::World>,
        base_url: String,
    ) -> Result<Self> {
        let places = sites::MerchantDirectory::new(options.seed)?;
        let traffic = traffic::SiteTraffic::new(&places.sites, options.from, options.to)?;
        let world = HecOneWorld {
            seed: options.seed,
            shared_world: around,
            places,
            traffic,
            transactions: options.transactions,
            stragglers: options.transactions / 200,
            since: options.from.as_second(),
            until: options.to.as_second(),
            incidents: options.incidents,
        };
        let records = HecOneRecordStore::new(Arc::new(world), options.clock())?;
        Ok(Self {
            client_id: options.client_id.clone(),
            client_secret: options.client_secret.clone(),
            token_ttl: options.token_ttl,
            largest_page: AtomicU32::new(options.largest_page.max(1)),
            end_included: options.end_included,
            sparse_by_id: options.sparse_by_id,
            base_url,
            records: RwLock::new(records),
            tokens: Mutex::new(TokenIssuer::new(
                options.seed,
                u64::MAX - 1,
                options.token_ttl,
            )),
            listings: Mutex::default(),
        })
    }

    /// The most records a page has.
    pub(crate) fn largest_page(&self) -> u32 {
        self.largest_page.load(Ordering::Relaxed)
    }

    // A handler that panicked leaves data that is still whole: each change is made by one call.
    pub(crate) fn records(&self) -> RwLockReadGuard<'_, HecOneRecordStore> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn records_mut(&self) -> RwLockWriteGuard<'_, HecOneRecordStore> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tokens(&self) -> MutexGuard<'_, TokenIssuer> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn listings(&self) -> MutexGuard<'_, HecOneListingCache> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
