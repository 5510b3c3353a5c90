//! The APIs emulated on loopback: same wire format, deterministic data, faults on demand.
//!
//! Invariant: with the same options, and moved and changed the same way, two sandboxes serve the same bytes (ports and tokens
//! aside). The wire types are this crate's own, so that it checks the extractors instead of sharing their mistakes.
//!
//! ```text
//!   http://127.0.0.1:PORT/hecone/...     HecOne 360: /auth/login, /transactions, /transactions/{id}, /transactions/statistics
//!   http://127.0.0.1:PORT/smartnow/...   SmartNow: /auth/login, /auth/refresh, thirty-one lists; see the module `smartnow`
//!   http://127.0.0.1:PORT/bemo/...       be-mo: /reporting/v1/api/accounts/{id}/sessions
//!   http://127.0.0.1:PORT/pace/...       PACE: /auth/token, /pay/2022-1/transactions/contracts/partners/{partner},
//!                                        /pay/2025-1/transactions
//!   http://127.0.0.1:PORT/control/...    clock, faults, records, truth, requests: see `tillhouse_emulator`; statistics: the module `control`
//!
//!   world (fleets, vehicles, sites, visits) --> an API each: `EmulatedApi` --> `tillhouse_emulator`: server, faults, one clock, one log
//! ```
//!
//! Where the provider's document is silent, this provider does the following; a source must cope with other choices too:
//! - A window is [start_date, end_date) over invoice.created_at, else the first article's start, else the first payment;
//!   [`SandboxOptions::end_included`] makes the end inclusive.
//! - `page[limit]` is 100 by default and silently cut to [`SandboxOptions::largest_page`]. There is no next link on the last page.
//! - A refresh token is sent to the login path or to `/auth/refresh`, as `{"refresh_token": "..."}`.
//! - Records are rendered once and kept as the bytes that are served: about 2 kB each, in memory.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bemo;
pub mod control;
mod decimal;
mod hecone;
pub mod oracle;
mod pace;
mod random;
mod record_store;
mod scheduled_records;
mod smartnow;
mod tokens;
mod world;

pub use bemo::BemoOptions;
pub use decimal::Decimal;
pub use hecone::statistics;
pub use pace::PaceApi;
pub use tillhouse_emulator::{
    EmulatedFault, FaultKind, LoggedRequest, RecordMutation, RecordMutationKind, RecordSelection,
    RequestLog,
};

use bemo::EmulatedBemo;
use bytes::Bytes;
use hecone::EmulatedHecOne;
use jiff::{SignedDuration, Timestamp};
use pace::EmulatedPace;
use smartnow::EmulatedSmartNow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_emulator::{EmulatedApi, EmulatedApis, Emulator};
use tillhouse_model::{Error, ErrorKind, Result};
use tokio::net::TcpListener;
use world::World;

/// Path of HecOne.
pub(crate) const HECONE: &str = "hecone";
/// Path of be-mo.
const BEMO: &str = "bemo";

/// Kinds that SmartNow's `salestype` tells apart, as a pipeline's `sales_types` has them.
pub const SALES_TYPES: &str = "{ 1: test, 2: void, 3: refund }";

/// Options of the world to make.
#[derive(Clone)]
pub struct SandboxOptions {
    /// Everything is drawn from this.
    pub seed: u64,
    /// Number of sales that start in [from, to). All of them are known once the clock stands at
    /// `to`; half a per cent more arrive up to 30 hours after it.
    pub transactions: u64,
    /// Number of SmartNow's sales; a quarter of `transactions` unless told.
    pub smartnow_sales: Option<u64>,
    /// Number of be-mo's sessions, over all accounts; a twentieth of `transactions` unless told.
    pub bemo_sessions: Option<u64>,
    /// Number of PACE's transactions, over all partners; a tenth of `transactions` unless told.
    pub pace_transactions: Option<u64>,
    /// be-mo's login, and what its document leaves open.
    pub bemo: BemoOptions,
    /// Endpoint of PACE, of two, that its truth and its mutations are of.
    pub pace_api: PaceApi,
    /// The first instant of sales.
    pub from: Timestamp,
    /// The first instant without.
    pub to: Timestamp,
    /// The sandbox's now. What happens at this instant or later has not happened yet. The default, [`Timestamp::MAX`], is
    /// read as `to`, so that whoever moves `to` need not move this too.
    pub clock: Timestamp,
    /// The login's name.
    pub client_id: String,
    /// The login's secret. Not one: it is the sandbox's.
    pub client_secret: String,
    /// Lifetime of an access token, on the machine's clock.
    pub token_ttl: Duration,
    /// The largest page served.
    pub largest_page: u32,
    /// True if a window's end belongs to it.
    pub end_included: bool,
    /// True if a HecOne transaction by id is as in the document's sample, without site, device,
    /// point, products, card issuer and log, also where `additional_info=true` is asked for.
    pub sparse_by_id: bool,
    /// True for a world with what tills have beside plain sales: HecOne has refunds, a few records whose invoice's time has no
    /// offset, so that they do not fit their contract, and a site that gets another name in the middle of the stretch; SmartNow has sales that were
    /// voided or refunded ([`SALES_TYPES`]). Late and changed records, declined, free and test sales are in every world.
    pub incidents: bool,
    /// True if bodies are compressed for who accepts it.
    pub gzip: bool,
    /// Address to listen on; only loopback is taken.
    pub bind: SocketAddr,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            transactions: 20_000,
            smartnow_sales: None,
            bemo_sessions: None,
            pace_transactions: None,
            bemo: BemoOptions::default(),
            pace_api: PaceApi::Partner,
            from: Timestamp::constant(1_767_225_600, 0), // 2026-01-01T00:00:00Z
            to: Timestamp::constant(1_767_657_600, 0),   // 2026-01-06T00:00:00Z
            clock: Timestamp::MAX,
            client_id: "sandbox".into(),
            client_secret: "sandbox-secret".into(),
            token_ttl: Duration::from_secs(3600),
            largest_page: 1000,
            end_included: false,
            sparse_by_id: false,
            incidents: false,
            gzip: false,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

impl SandboxOptions {
    /// Number of SmartNow's sales.
    pub fn smartnow_sales(&self) -> u64 {
        self.smartnow_sales.unwrap_or(self.transactions / 4)
    }

    /// Number of be-mo's sessions.
    pub fn bemo_sessions(&self) -> u64 {
        self.bemo_sessions.unwrap_or(self.transactions / 20)
    }

    /// Number of PACE's transactions.
    pub fn pace_transactions(&self) -> u64 {
        self.pace_transactions.unwrap_or(self.transactions / 10)
    }

    /// The now that the sandbox starts with.
    pub(crate) fn clock(&self) -> Timestamp {
        if self.clock == Timestamp::MAX {
            self.to
        } else {
            self.clock
        }
    }
}

impl fmt::Debug for SandboxOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxOptions")
            .field("seed", &self.seed)
            .field("transactions", &self.transactions)
            .field("from", &self.from)
            .field("to", &self.to)
            .field("clock", &self.clock)
            .field("bind", &self.bind)
            .finish_non_exhaustive()
    }
}

/// A running sandbox. Dropping it stops the server.
#[derive(Debug)]
pub struct Sandbox {
    made: SandboxApi,
    emulator: Emulator,
}

/// The world and the APIs that are asked for more than every API can.
#[derive(Debug)]
struct SandboxApi {
    world: Arc<World>,
    hecone: Arc<EmulatedHecOne>,
    bemo: Arc<EmulatedBemo>,
}

impl SandboxApi {
    /// Makes the world and its APIs, which will live at `url`. Takes a core's time: call it off the async threads.
    fn new(options: &SandboxOptions, url: &str) -> Result<(Self, EmulatedApis)> {
        let world = Arc::new(World::new(
            options.seed,
            options.from,
            options.to,
            options.bemo_sessions(),
        )?);
        let hecone = Arc::new(EmulatedHecOne::new(
            options,
            Arc::clone(&world),
            format!("{url}/{HECONE}"),
        )?);
        let bemo = Arc::new(EmulatedBemo::new(
            options,
            Arc::clone(&world),
            format!("{url}/{BEMO}"),
        ));
        let sources: Vec<(&'static str, Arc<dyn EmulatedApi>)> = vec![
            (HECONE, Arc::clone(&hecone) as _),
            (
                "smartnow",
                Arc::new(EmulatedSmartNow::new(options, Arc::clone(&world))),
            ),
            (BEMO, Arc::clone(&bemo) as _),
            (
                "pace",
                Arc::new(EmulatedPace::new(options, Arc::clone(&world))),
            ),
        ];
        let control = control::router(Arc::clone(&hecone), Arc::clone(&bemo));
        let apis = EmulatedApis {
            sources,
            clock: options.clock(),
            gzip: options.gzip,
            control,
        };
        Ok((
            Self {
                world,
                hecone,
                bemo,
            },
            apis,
        ))
    }
}

impl Sandbox {
    /// Markers of SmartNow's secrets and personal data: voucher codes, addresses of their PDFs,
    /// drivers' tags in sales' tokens, keys of wireless networks, e-mail addresses. None of it may
    /// be found anywhere behind an extractor.
    pub const SMARTNOW_MARKERS: [&str; 5] = [
        "SECRETVOUCHER",
        "SECRETPDF",
        "SECRETTAG",
        "SECRETWIFI",
        "@person.invalid",
    ];
    /// Prefix of every RFID tag that is served: whoever finds this text in a table has found
    /// personal data.
    pub const RFID_MARKER: &str = bemo::RFID_MARKER;

    /// Makes the world and starts serving it. The address answers when this returns.
    ///
    /// Errors with [`ErrorKind::Config`] for a stretch that is empty or an address that is not loopback, and with
    /// [`ErrorKind::Unreachable`] when the address cannot be bound.
    pub async fn start(options: SandboxOptions) -> Result<Self> {
        if !options.bind.ip().is_loopback() {
            return Err(
                Error::config("the sandbox listens on loopback only").hint("Bind it to 127.0.0.1.")
            );
        }
        let unreachable = |error: std::io::Error| {
            Error::new(ErrorKind::Unreachable, "the sandbox cannot listen")
                .at("address", options.bind.to_string())
                .hint("Another program may hold the port; port 0 picks a free one.")
                .because(error)
        };
        let listener = TcpListener::bind(options.bind).await.map_err(unreachable)?;
        let url = format!("http://{}", listener.local_addr().map_err(unreachable)?);
        let base_url = url.clone();
        let (made, apis) =
            tokio::task::spawn_blocking(move || SandboxApi::new(&options, &base_url))
                .await
                .map_err(|error| {
                    Error::internal("the sandbox's generator failed").because(error)
                })??;
        Ok(Self {
            made,
            emulator: Emulator::serve(listener, url, apis),
        })
    }

    /// `http://127.0.0.1:PORT`; the source's prefix follows.
    pub fn url(&self) -> String {
        self.emulator.url().to_owned()
    }

    /// The base URL of the emulated HecOne.
    pub fn hecone_url(&self) -> String {
        self.url_of(HECONE)
    }

    /// The base URL of an emulated API: `hecone`, `smartnow`, `bemo` or `pace`.
    pub fn url_of(&self, source: &str) -> String {
        format!("{}/{source}", self.emulator.url())
    }

    /// The ids of be-mo's accounts.
    pub fn accounts(&self) -> Vec<String> {
        self.made
            .world
            .fleets
            .iter()
            .map(|fleet| fleet.account.clone())
            .collect()
    }

    /// Replaces be-mo's access token: the one before is expired from now on.
    pub fn renew_bemo_token(&self, token: impl Into<String>) {
        self.made.bemo.renew_token(token.into());
    }

    /// The names of PACE's partners.
    pub fn partners(&self) -> Vec<String> {
        world::partners().map(str::to_owned).to_vec()
    }

    /// The ids of the login's mandators.
    pub fn mandators(&self) -> Vec<String> {
        self.made.hecone.records().mandators.clone()
    }

    /// The sandbox's now.
    pub fn clock(&self) -> Timestamp {
        self.emulator.clock()
    }

    /// Moves the clock forward. Errors with [`ErrorKind::Config`] for a time before its now.
    pub fn set_clock(&self, now: Timestamp) -> Result<()> {
        self.emulator.set_clock(now)
    }

    /// Moves the clock forward by a length of time. Errors with [`ErrorKind::Config`] beyond the end of time.
    pub fn advance(&self, by: Duration) -> Result<()> {
        let far = |error: jiff::Error| {
            Error::config("the sandbox's clock cannot go that far").because(error)
        };
        self.emulator
            .advance(SignedDuration::try_from(by).map_err(far)?)
    }

    /// Queues faults.
    pub fn inject(&self, faults: impl IntoIterator<Item = EmulatedFault>) {
        self.emulator.inject(faults);
    }

    /// The faults that have not hit yet.
    pub fn pending_faults(&self) -> Vec<EmulatedFault> {
        self.emulator.pending_faults()
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.emulator.clear_faults();
    }

    /// Inserts a record exactly as written, or replaces the one with its id; gives the id. The record time is read from it.
    /// Errors with [`ErrorKind::Data`] when it is no JSON object with a string `id`.
    pub fn put(&self, json: &str) -> Result<String> {
        self.made.hecone.records_mut().put(json, None)
    }

    /// As [`Sandbox::put`], under a record time of the caller's choice, for records whose own cannot be read.
    pub fn put_at(&self, json: &str, time: Timestamp) -> Result<String> {
        self.made.hecone.records_mut().put(json, Some(time))
    }

    /// Removes a record; false when there is none.
    pub fn remove(&self, id: &str) -> bool {
        self.made.hecone.records_mut().remove(id)
    }

    /// Every record known at the clock, as served: by time, then those without one.
    pub fn truth(&self) -> Vec<Bytes> {
        self.made
            .hecone
            .records()
            .live_records()
            .map(|row| row.body.clone())
            .collect()
    }

    /// The records of a source that are known at the clock, each exactly as its API would serve it.
    ///
    /// Errors with [`ErrorKind::Config`] for a source, resource or tenant that is not there.
    pub fn truth_of(&self, source: &str, selection: &RecordSelection) -> Result<Vec<Bytes>> {
        self.emulator.source(source)?.truth(selection)
    }

    /// Changes, inserts or removes a record of a source at the beginning of its listing; returns
    /// the record's id, or `None` where no record fits. Errors as [`Sandbox::truth_of`] does.
    pub fn mutate(&self, source: &str, order: &RecordMutation) -> Result<Option<String>> {
        self.emulator.source(source)?.mutate(order)
    }

    /// Inserts a record of a source exactly as written, or replaces the one with its id; gives the id. Errors as
    /// [`Sandbox::truth_of`] does, and with [`ErrorKind::Data`] when it is no record.
    pub fn put_in(
        &self,
        source: &str,
        resource: &str,
        tenant: Option<&str>,
        json: &str,
    ) -> Result<String> {
        self.emulator.source(source)?.put(resource, tenant, json)
    }

    /// Cuts a source's pages to `largest` records. Errors with [`ErrorKind::Config`] for a source that is not there.
    pub fn cap_pages(&self, source: &str, largest: u32) -> Result<()> {
        self.emulator.source(source)?.cap_pages(largest);
        Ok(())
    }

    /// Requests so far, control requests aside.
    pub fn requests(&self) -> RequestLog {
        self.emulator.requests()
    }

    /// Forgets what was asked.
    pub fn clear_requests(&self) {
        self.emulator.clear_requests();
    }

    /// The statistics by plain loops over the records. Errors with [`ErrorKind::Config`] for a bad filter.
    pub fn statistics(
        &self,
        question: &statistics::HecOneStatisticsQuery,
    ) -> Result<statistics::HecOneStatisticsBody> {
        statistics::answer(&self.made.hecone.records(), question).map_err(Error::config)
    }

    /// Stops the server and waits until it has.
    pub async fn stop(self) {
        self.emulator.stop().await;
    }
}
