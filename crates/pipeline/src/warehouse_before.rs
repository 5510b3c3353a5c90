//! The warehouse as a run finds it, once it holds its leases: read side by side, before any pipeline asks for its part.
//!
//! Invariant: what is read ahead is only taken where it says what asking later would: of the pipelines that the run holds nobody else changes it, and rows
//! of the ledger that have come since are read beside its fold.

use crate::config::Pipeline;
use crate::context::RunContext;
use crate::record_origin::RecordOrigin;
use crate::repair::{self, PreparedRun};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tillhouse_lake::{FoldAhead, OpsTables, PipelineFingerprints, RunLedger};
use tillhouse_model::Result;
use tokio::sync::OnceCell;

/// State of the warehouse before a run has written anything.
#[derive(Default)]
pub(crate) struct WarehouseBefore {
    /// Damage that was found, and the newest published run.
    pub(crate) prepared: PreparedRun,
    /// Read once, by whichever pipeline is first.
    ledger: OnceCell<RunLedger>,
    fold: Mutex<FoldAhead>,
    /// By pipeline, until it takes them.
    fingerprints: Mutex<BTreeMap<String, PipelineFingerprints>>,
}

impl WarehouseBefore {
    /// Makes ready for a run over these pipelines.
    ///
    /// Errors as [`repair::prepare`] does.
    pub(crate) async fn read(
        context: &RunContext,
        pipelines: &[&Pipeline],
        origin: RecordOrigin,
        run_id: &str,
    ) -> Result<Self> {
        let ops = context.warehouse.ops();
        let mut fingerprints = Vec::with_capacity(pipelines.len());
        for pipeline in pipelines {
            let (ops, name) = (ops.clone(), pipeline.name.clone());
            fingerprints.push(async move {
                let found = ops.fingerprints(&name).await;
                (name, found)
            });
        }
        let (prepared, fold, fingerprints) = tokio::join!(
            repair::prepare(context, pipelines, origin, run_id),
            ops.fold_ahead(),
            futures::future::join_all(fingerprints),
        );
        Ok(Self {
            prepared: prepared?,
            ledger: OnceCell::new(),
            fold: Mutex::new(fold),
            fingerprints: Mutex::new(fingerprints.into_iter().collect()),
        })
    }

    /// The ledger of all pipelines.
    pub(crate) async fn ledger(&self, ops: &OpsTables) -> Result<&RunLedger> {
        let reading = || {
            let mut fold = self.fold.lock().unwrap_or_else(PoisonError::into_inner);
            ops.run_ledger_after(std::mem::take(&mut *fold))
        };
        self.ledger.get_or_try_init(reading).await
    }

    /// Fingerprints of a pipeline's records, for whoever keeps them up to date: once.
    pub(crate) async fn fingerprints(
        &self,
        ops: &OpsTables,
        pipeline: &str,
    ) -> PipelineFingerprints {
        let known = self
            .fingerprints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(pipeline);
        match known {
            Some(known) => known,
            None => ops.fingerprints(pipeline).await,
        }
    }
}
