//! The one world behind all APIs: fleets and their vehicles, the places they stop at, and what they do there.
//!
//! Invariant: everything is a function of the seed, the stretch of time and a number; nothing is drawn in a shared order. The
//! schedule is made on first use, so that a sandbox whose HecOne alone is asked never makes it.
//!
//! ```text
//!   fleets --> vehicles -.
//!                         >-- visit(number): who, where, when, what for, how much
//!   sites --> products  -'      |            be-mo: what an account's vehicles bought
//!                               |            PACE: what a partner's pumps sold (to others too)
//!                               `--------->  SmartNow: coffee (to others too)
//! ```

mod fleet;
mod sites;
mod visits;

pub(crate) use fleet::{DriveType, Fleet, Vehicle};
pub(crate) use sites::{PRODUCTS, WorldProduct, WorldSite, partners, zone};
pub(crate) use visits::{Visit, VisitPurpose, draw_instant};

use crate::random::RandomStream;
use jiff::Timestamp;
use std::sync::OnceLock;
use tillhouse_model::Result;

/// The world.
#[derive(Debug)]
pub(crate) struct World {
    pub seed: u64,
    /// The stretch of time, Unix seconds, [since, until).
    pub since: i64,
    pub until: i64,
    pub fleets: Vec<Fleet>,
    pub vehicles: Vec<Vehicle>,
    pub sites: Vec<WorldSite>,
    visits: u64,
    schedule: OnceLock<Vec<Visit>>,
}

/// Streams of the world's own, far from those of HecOne's sales, which count up from zero.
const STREAM: u64 = 1 << 60;

/// Visits to a coffee machine, of ten.
const COFFEES: u64 = 2;

impl World {
    /// The world of a seed, over [from, to), with `sessions` visits that are not for coffee.
    pub(crate) fn new(seed: u64, from: Timestamp, to: Timestamp, sessions: u64) -> Result<Self> {
        let (fleets, vehicles) = fleet::make_fleets(seed);
        Ok(Self {
            seed,
            since: from.as_second(),
            until: to.as_second(),
            fleets,
            vehicles,
            sites: sites::make_sites()?,
            visits: (sessions * 10).div_ceil(10 - COFFEES),
            schedule: OnceLock::new(),
        })
    }

    /// A stream of random numbers that no other API draws from. `of` is a number of the caller's below 2^20: its own, once.
    pub(crate) fn stream(&self, of: u64, number: u64) -> RandomStream {
        RandomStream::new(self.seed, STREAM + (of << 40) + number)
    }

    /// All visits in the order of their time.
    pub(crate) fn visits(&self) -> &[Visit] {
        self.schedule.get_or_init(|| {
            let mut all: Vec<Visit> = (0..self.visits).map(|number| self.visit(number)).collect();
            all.sort_unstable_by_key(|visit| (visit.at, visit.number));
            all
        })
    }
}
