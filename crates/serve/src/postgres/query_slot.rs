//! Slot of a query: held while rows are made or wait for a client that takes them, and given back while a cursor waits and once all rows are made.
//!
//! Invariant: rows are made with a slot and not without: a cursor that waits gives its slot back when what it made ahead waits too, and makes no more before its client brings
//! another. Nobody runs more queries at once by declaring them as cursors, and nobody keeps a slot by taking slowly what is made already.

use crate::slots::TakenSlot;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Slot of a query, which its client and its thread share.
#[derive(Debug)]
pub(super) struct QuerySlot {
    usage: Mutex<SlotUse>,
    brought: Notify,
}

#[derive(Debug)]
struct SlotUse {
    slot: Option<TakenSlot>,
    /// True while rows are made.
    is_making: bool,
    /// True while rows are taken.
    is_taking: bool,
    /// True once no more rows are made.
    is_over: bool,
}

/// Side of the thread that makes rows; none are made any more when this is dropped.
pub(super) struct RowMaker(Arc<QuerySlot>);

impl QuerySlot {
    /// A slot in use by both.
    pub(super) fn new(slot: TakenSlot) -> Arc<Self> {
        Arc::new(Self {
            usage: Mutex::new(SlotUse {
                slot: Some(slot),
                is_making: true,
                is_taking: true,
                is_over: false,
            }),
            brought: Notify::new(),
        })
    }

    /// The side of the thread that makes rows.
    pub(super) fn maker(self: &Arc<Self>) -> RowMaker {
        RowMaker(Arc::clone(self))
    }

    fn usage(&self) -> MutexGuard<'_, SlotUse> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that rows are taken; false where a slot has to be brought first.
    pub(super) fn begin_taking(&self) -> bool {
        let mut usage = self.usage();
        usage.is_taking = true;
        usage.is_over || usage.slot.is_some()
    }

    /// Brings a slot, with which rows are made again.
    pub(super) fn bring(&self, slot: TakenSlot) {
        self.usage().slot = Some(slot);
        self.brought.notify_one();
    }

    /// Says that no rows are taken for now.
    pub(super) fn end_taking(&self) {
        self.change(|usage| usage.is_taking = false);
    }

    /// Changes the use, and gives the slot back where none is left.
    fn change(&self, change: impl FnOnce(&mut SlotUse)) {
        let unused = {
            let mut usage = self.usage();
            change(&mut usage);
            match !usage.is_over && (usage.is_making || usage.is_taking) {
                true => None,
                false => usage.slot.take(),
            }
        };
        // Others are served when nobody holds the lock.
        drop(unused);
    }
}

impl RowMaker {
    /// Says that no rows are made for now.
    pub(super) fn pause(&self) {
        self.0.change(|usage| usage.is_making = false);
    }

    /// Waits until there is a slot to make rows with.
    pub(super) async fn resume(&self) {
        loop {
            {
                let mut usage = self.0.usage();
                if usage.slot.is_some() {
                    usage.is_making = true;
                    return;
                }
            }
            self.0.brought.notified().await;
        }
    }
}

impl Drop for RowMaker {
    fn drop(&mut self) {
        self.0.change(|usage| usage.is_over = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::{Claim, Slots, later};

    #[tokio::test]
    async fn a_slot_is_free_when_rows_are_neither_made_nor_taken() {
        let slots = Slots::new(4, 4);
        let slot = QuerySlot::new(slots.take(Claim::GUEST, later()).await.unwrap());
        let maker = slot.maker();
        slot.end_taking();
        assert_eq!(slots.taken(), 1, "a cursor is being made");
        maker.pause();
        assert_eq!(slots.taken(), 0);
        assert!(!slot.begin_taking());
        {
            let mut resumed = std::pin::pin!(maker.resume());
            assert!(futures::poll!(resumed.as_mut()).is_pending());
            slot.bring(slots.take(Claim::GUEST, later()).await.unwrap());
            resumed.await;
        }
        assert!(slot.begin_taking());
        slot.end_taking();
        assert_eq!(slots.taken(), 1, "rows are being made");
        drop(maker);
        assert_eq!(slots.taken(), 0);
    }

    #[tokio::test]
    async fn who_takes_slowly_what_is_made_keeps_no_slot() {
        let slots = Slots::new(4, 4);
        let slot = QuerySlot::new(slots.take(Claim::GUEST, later()).await.unwrap());
        let maker = slot.maker();
        maker.pause();
        assert_eq!(slots.taken(), 1, "more is made as soon as there is room");
        drop(maker);
        assert_eq!(slots.taken(), 0);
        assert!(slot.begin_taking(), "none is needed any more");
    }

    #[tokio::test]
    async fn a_slot_goes_with_its_query() {
        let slots = Slots::new(4, 4);
        let slot = QuerySlot::new(slots.take(Claim::GUEST, later()).await.unwrap());
        let maker = slot.maker();
        drop(slot);
        assert_eq!(slots.taken(), 1, "its thread has not ended");
        drop(maker);
        assert_eq!(slots.taken(), 0);
    }
}
