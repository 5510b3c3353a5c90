//! Writing into a unified table: rows are taken before it is known how far their step goes, and come into the table with its commit.
//!
//! Invariant: nothing of what was written is in the table until the commit; what is dropped without one leaves files for vacuum.

use super::dimension::NewestDimensionRows;
use super::step::{SupersededRecords, UnifyStep, WatermarkPlace};
use super::table::{StepStatus, UnifiedTable};
use crate::file::fan_out::{FanOutWriter, conform_batch};
use crate::file::layout::TableLayout;
use crate::file::replacement::{ReplaceSummary, UnifiedRowStream};
use crate::log::table::TableHandle;
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use std::sync::Arc;
use tillhouse_model::table::{PIPELINE, TableRole};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Writer of rows into a unified table. One that is dropped without a commit leaves files that no commit names, for vacuum.
pub struct UnifiedTableWriter {
    target: UnifiedTable,
    table: Arc<TableHandle>,
    layout: Arc<TableLayout>,
    pipeline: String,
    gathered: UnifiedRowBuffer,
}

/// Rows written so far: files of a fact, or the newest rows of a dimension.
enum UnifiedRowBuffer {
    Fact(Box<FanOutWriter>),
    Dimension(Box<NewestDimensionRows>),
}

impl UnifiedTableWriter {
    /// Takes rows of [`TableSpec::unified_schema`](tillhouse_model::TableSpec::unified_schema). Errors with [`ErrorKind::Data`] for rows of another pipeline or shape.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        check_pipeline(&batch, &self.pipeline)?;
        match &mut self.gathered {
            UnifiedRowBuffer::Fact(splitter) => splitter.write(batch).await,
            UnifiedRowBuffer::Dimension(newest) => {
                newest.add(&conform_batch(&batch, &self.layout)?)
            }
        }
    }

    /// Puts the rows into the table and marks the step as done, in one commit: [`UnifiedTable::replace`] for a fact,
    /// [`UnifiedTable::merge`] for a dimension.
    pub async fn commit(
        self,
        step: &UnifyStep,
        superseded: &SupersededRecords,
    ) -> Result<ReplaceSummary> {
        let place = WatermarkPlace::OwnLog(Vec::new());
        self.commit_with(step, superseded, place).await
    }

    /// As [`UnifiedTableWriter::commit`], with another place for the watermark where the step changes no row. Where that is the log of the table's carrier
    /// there is no commit here, and the step is done once the carrier has committed.
    pub async fn commit_with(
        self,
        step: &UnifyStep,
        superseded: &SupersededRecords,
        place: WatermarkPlace,
    ) -> Result<ReplaceSummary> {
        let Self {
            target,
            table,
            layout,
            gathered,
            ..
        } = self;
        match gathered {
            UnifiedRowBuffer::Fact(splitter) => {
                target
                    .replace_with(&table, &layout, step, superseded, *splitter, place)
                    .await
            }
            UnifiedRowBuffer::Dimension(newest) => {
                target
                    .merge_with(&table, &layout, step, *newest, place)
                    .await
            }
        }
    }
}

impl UnifiedTable {
    /// Replaces whole records of a fact table: the old rows of the superseded records go, the given rows come, and the step is
    /// marked as done, in one commit.
    ///
    /// A step that is done already is left alone (the rows are not read). Errors with [`ErrorKind::Conflict`] when the table is not
    /// where the step begins: another run is unifying; compute the step anew.
    pub async fn replace(
        &self,
        step: &UnifyStep,
        superseded: &SupersededRecords,
        mut rows: UnifiedRowStream,
    ) -> Result<ReplaceSummary> {
        let (table, layout) = (self.table()?, self.layout()?);
        if let StepStatus::Done(version) = self.step_status(&table, &layout, step).await? {
            return Ok(ReplaceSummary {
                version,
                ..ReplaceSummary::default()
            });
        }
        let mut writing = self.begin(&step.pipeline)?;
        while let Some(batch) = rows.next().await {
            writing.write(batch?).await?;
        }
        writing.commit(step, superseded).await
    }

    /// Merges rows of a dimension: of each key the newest `_as_of` wins, over what came and what is there; of [`UnifiedTable::keeping_known`] with
    /// the newest value that is known of each column. The pipeline's rows are
    /// written anew only when one of them changed; the step is marked as done in any case.
    ///
    /// A step that is done already is left alone. Errors with [`ErrorKind::Conflict`] when the table is not where the step begins.
    pub async fn merge(
        &self,
        step: &UnifyStep,
        mut rows: UnifiedRowStream,
    ) -> Result<ReplaceSummary> {
        let (table, layout) = (self.table()?, self.layout()?);
        if let StepStatus::Done(version) = self.step_status(&table, &layout, step).await? {
            return Ok(ReplaceSummary {
                version,
                ..ReplaceSummary::default()
            });
        }
        let mut writing = self.begin(&step.pipeline)?;
        while let Some(batch) = rows.next().await {
            writing.write(batch?).await?;
        }
        writing.commit(step, &SupersededRecords::default()).await
    }

    /// Takes rows before it is known how far the step goes. Nothing of them is in the table until [`UnifiedTableWriter::commit`].
    pub fn begin(&self, pipeline: &str) -> Result<UnifiedTableWriter> {
        let (table, layout) = (self.table()?, self.layout()?);
        let gathered = match self.spec.role {
            TableRole::Dimension => {
                let now = self.registry.now().as_microsecond();
                UnifiedRowBuffer::Dimension(Box::new(NewestDimensionRows::new(
                    &layout.definition.schema,
                    &self.spec.key,
                    now,
                    self.keeps_known,
                )?))
            }
            TableRole::Fact | TableRole::Source => {
                UnifiedRowBuffer::Fact(Box::new(FanOutWriter::new(table.clone(), layout.clone())?))
            }
        };
        Ok(UnifiedTableWriter {
            target: self.clone(),
            table,
            layout,
            pipeline: pipeline.to_owned(),
            gathered,
        })
    }
}

/// Refuses rows of another pipeline: they would never be found again.
fn check_pipeline(batch: &RecordBatch, pipeline: &str) -> Result<()> {
    let column = batch
        .column_by_name(PIPELINE)
        .ok_or_else(|| Error::data("unified rows have no pipeline"))?;
    let text = cast(column, &DataType::Utf8)
        .or_error(ErrorKind::Data, "the pipeline column is not text")?;
    let text = text.as_string::<i32>();
    if text.null_count() > 0 || text.iter().flatten().any(|value| value != pipeline) {
        return Err(Error::data("unified rows name another pipeline").at("pipeline", pipeline));
    }
    Ok(())
}
