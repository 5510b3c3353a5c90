//! Between unify and publish: the roll-ups are brought to the versions of the unified tables that are about to be published.
//!
//! Invariant: a run names roll-ups that were counted from the very versions it names, or none. What an earlier run left undone is
//! done here, since the roll-ups themselves remember what they were counted from. They are a short cut: where they cannot be
//! made, the run is published without them, and answered from the facts.

use crate::context::RunContext;
use crate::observer::RunEvent;
use std::collections::BTreeMap;
use std::time::Instant;
use tillhouse_statistics::roll_up;

/// The versions of the roll-ups that belong to these versions of the unified tables, by path. Some pipelines are counted anew.
pub(crate) async fn versions(
    context: &RunContext,
    unified: &BTreeMap<String, u64>,
    anew: &[String],
    run_id: &str,
) -> BTreeMap<String, u64> {
    let stage = Instant::now();
    let done = roll_up(&context.warehouse, unified, anew, run_id).await.unwrap_or_else(|error| {
        tracing::warn!("this run has no roll-ups, statistics are counted from the facts until the next: {error:?}");
        BTreeMap::new()
    });
    context.observer.on_event(&RunEvent::Stage {
        pipeline: None,
        name: "roll-ups",
        took: stage.elapsed(),
    });
    done
}
