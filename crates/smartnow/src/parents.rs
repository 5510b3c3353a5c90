//! Lists of parents, read once for all who ask for them at the same time: products, extras and flavours are all listed machine by machine.
//!
//! Invariant: a reading is shared only while it is under way, and begun in the same run: after the end of every window that is asked for. A parent that is
//! made meanwhile may come with the next sync. The reading stops once nobody waits for it any more.
//!
//! Rejected: keeping a list for a while. A machine that was installed meanwhile would be missed.

use futures::future::{BoxFuture, WeakShared};
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tillhouse_extract::paging::ids_alone;
use tillhouse_extract::{Page, PageStream};
use tillhouse_model::{Error, Result};

/// Reading of a list from its beginning to its end.
type WholeReading = BoxFuture<'static, Result<Arc<[Page]>>>;

/// Readings of parents' lists that are under way, by resource.
#[derive(Debug, Default)]
pub(crate) struct ParentReadings(Mutex<HashMap<&'static str, WeakShared<WholeReading>>>);

impl ParentReadings {
    /// The pages of a resource's list: of the reading that is under way, else of the one that `begin` gives.
    pub(crate) fn join(
        &self,
        resource: &'static str,
        begin: impl FnOnce() -> PageStream,
    ) -> PageStream {
        let known = self.under_way().get(resource).and_then(WeakShared::upgrade);
        let reading = match known.filter(|reading| reading.peek().is_none()) {
            Some(reading) => reading,
            None => {
                // Parents may have parents: nothing is locked meanwhile.
                let pages = begin().map_ok(ids_alone).try_collect::<Vec<Page>>();
                let reading = pages.map_ok(Arc::<[Page]>::from).boxed().shared();
                if let Some(shared) = reading.downgrade() {
                    self.under_way().insert(resource, shared);
                }
                reading
            }
        };
        stream::once(reading)
            .map_ok(|pages| stream::iter(pages.to_vec()).map(Ok::<Page, Error>))
            .try_flatten()
            .boxed()
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<&'static str, WeakShared<WholeReading>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
