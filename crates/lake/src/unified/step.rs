//! Steps of unification: the packages one covers, and the earlier versions its records supersede.
//!
//! Invariant: a step's packages follow those that are unified already, without a gap.

use futures::future::join_all;
use std::collections::HashSet;
use tokio::sync::oneshot;

/// One step of unification: the packages (`after_load_id`, `to_load_id`] of one source table.
#[derive(Debug, Clone)]
pub struct UnifyStep {
    /// The pipeline whose rows are replaced.
    pub pipeline: String,
    /// The source table's resource.
    pub resource: String,
    /// The highest package unified before.
    pub after_load_id: i64,
    /// The highest package in this step.
    pub to_load_id: i64,
    /// Resources whose records are children of that one's, and how far they are unified along with it.
    pub children: Vec<ResourceWatermark>,
    /// The run that unifies.
    pub run_id: String,
}

/// Packages of one resource that a step covers: after one, up to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceWatermark {
    /// The resource.
    pub resource: String,
    /// The highest package unified before.
    pub after_load_id: i64,
    /// The highest package in this step.
    pub to_load_id: i64,
}

impl UnifyStep {
    /// Its own resource's watermark, then its children's.
    pub fn watermarks(&self) -> impl Iterator<Item = ResourceWatermark> + '_ {
        let own = ResourceWatermark {
            resource: self.resource.clone(),
            after_load_id: self.after_load_id,
            to_load_id: self.to_load_id,
        };
        std::iter::once(own).chain(self.children.iter().cloned())
    }
}

/// Watermark of a unified table that a step brings up to date without changing a row of it, for the log of its carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedWatermark {
    pub(crate) app_id: String,
    /// The table's watermark in its own log: what is carried goes on from that one, and from no other.
    pub(crate) own: i64,
    /// The highest package in the step.
    pub(crate) done: i64,
}

/// Place of the watermark of a step that changes no row of a table.
#[derive(Debug)]
pub enum WatermarkPlace {
    /// The table's own log: it is committed in any case. With it go those that other tables send; one that is committed itself, or fails, sends none.
    OwnLog(Vec<oneshot::Receiver<CarriedWatermark>>),
    /// The log of its carrier, which takes part in the step.
    Carrier(oneshot::Sender<CarriedWatermark>),
}

impl WatermarkPlace {
    /// Watermarks of other tables for this one's commit, once, when all have been found. A carrier knows from here on that this table's is not for it.
    pub(crate) async fn of_others(&mut self) -> Vec<CarriedWatermark> {
        match std::mem::replace(self, Self::OwnLog(Vec::new())) {
            Self::OwnLog(others) => join_all(others).await.into_iter().flatten().collect(),
            Self::Carrier(_) => Vec::new(),
        }
    }
}

/// Earlier versions that the records of a step supersede: their keys and record times.
#[derive(Debug, Default, Clone)]
pub struct SupersededRecords {
    /// Record keys that had an earlier version.
    pub keys: HashSet<String>,
    /// Every non-null `_prev_record_time`, microseconds UTC; in any order, and some of them twice.
    pub times: Vec<i64>,
    /// Changed keys whose `_prev_record_time` is null: new, or their earlier version had no time.
    pub keys_maybe_untimed: HashSet<String>,
}

impl SupersededRecords {
    /// Adds a record whose earlier version had that time; `None` where it had none, or where there may be no earlier version.
    pub fn add(&mut self, key: String, time: Option<i64>) {
        match time {
            Some(time) => {
                self.times.push(time);
                self.keys.insert(key);
            }
            None => {
                self.keys_maybe_untimed.insert(key);
            }
        }
    }

    /// True if no record supersedes another.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.keys_maybe_untimed.is_empty()
    }

    /// True if an earlier version of that key may be there.
    pub fn holds(&self, key: &str) -> bool {
        self.keys.contains(key) || self.keys_maybe_untimed.contains(key)
    }
}
