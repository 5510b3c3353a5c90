//! The parts of a plan that are worth to be run elsewhere.
//!
//! Invariant: a part ends with a step whose results are added up above it. Below are scans of data files, and steps of which each row is its own: any division of the files among tasks gives
//! the same sums. What a join looks its rows up in is read whole by every task.
//!
//! ```text
//!   Final sums                               here
//!     ...
//!       Partial sums                         ┐
//!         Projection, Filter, Repartition    │
//!           Join                             │ a part
//!             what is looked up: whole       │
//!             Filter                         │
//!               scan of files: divided       ┘
//! ```

use crate::codec::expressions;
use datafusion::common::{JoinType, Result};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use std::sync::Arc;
use tillhouse_statistics::TransactionSums;

/// Aggregates that are the same in whatever order the rows come.
const ORDERLESS: [&str; 6] = ["bool_and", "bool_or", "count", "max", "min", "sum"];

/// A scan of Parquet files.
pub(crate) fn file_scan(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    let scan = plan.downcast_ref::<DataSourceExec>()?;
    let (config, _) = scan.downcast_to_file_source::<ParquetSource>()?;
    Some(config)
}

/// True for a step whose results are added up above it.
pub(crate) fn is_end(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<TransactionSums>() {
        return true;
    }
    plan.downcast_ref::<AggregateExec>().is_some_and(|sums| {
        *sums.mode() == AggregateMode::Partial && sums.limit_options().is_none()
    })
}

/// Bytes that a part reads, of the files that are divided and of those that every task reads whole; `None` for steps whose rows cannot be divided.
pub(crate) fn bytes_of_part(end: &Arc<dyn ExecutionPlan>) -> Result<Option<(u64, u64)>> {
    let mut bytes = ReadBytes::default();
    for child in end.children() {
        if !bytes.add_divided(child)? {
            return Ok(None);
        }
    }
    Ok((!has_volatile(end)?).then_some((bytes.divided, bytes.whole)))
}

#[derive(Default)]
struct ReadBytes {
    divided: u64,
    whole: u64,
}

impl ReadBytes {
    /// Adds what a plan reads whose rows are divided; false where they cannot be.
    fn add_divided(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
        if plan.fetch().is_some() || has_volatile(plan)? {
            return Ok(false);
        }
        if let Some(scan) = file_scan(plan) {
            self.divided += size(scan);
            let is_plain = scan.limit.is_none()
                && scan.output_ordering.is_empty()
                && scan.output_partitioning.is_none();
            return Ok(is_plain);
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            // A row of the left side is known to be without a match only once all rows of the right one have been seen.
            let is_of_each_row = matches!(
                join.join_type(),
                JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti
            );
            return Ok(is_of_each_row
                && self.add_whole(join.left())?
                && self.add_divided(join.right())?);
        }
        if !keeps_rows_apart(plan) {
            return Ok(false);
        }
        for child in plan.children() {
            if !self.add_divided(child)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds what a plan reads that every task runs whole; false where that may give other rows each time.
    fn add_whole(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
        if !gives_same_rows(plan) || has_volatile(plan)? {
            return Ok(false);
        }
        self.whole += file_scan(plan).map_or(0, size);
        for child in plan.children() {
            if !self.add_whole(child)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// True for steps that make of each row what they make of it, whatever the others are.
fn keeps_rows_apart(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<UnionExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<EmptyExec>()
}

/// True for steps that give the same rows each time that they run over the same files. Which rows come first, and so which are left by a LIMIT or have which number, is another matter each time.
fn gives_same_rows(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.fetch().is_some() || file_scan(plan).is_some_and(|scan| scan.limit.is_some()) {
        return false;
    }
    if let Some(sums) = plan.downcast_ref::<AggregateExec>() {
        let mut functions = sums
            .aggr_expr()
            .iter()
            .map(|function| function.fun().name());
        return sums.limit_options().is_none() && functions.all(|name| ORDERLESS.contains(&name));
    }
    keeps_rows_apart(plan)
        || plan.is::<DataSourceExec>()
        || plan.is::<HashJoinExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<PlaceholderRowExec>()
}

fn has_volatile(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    Ok(expressions(plan)?.iter().any(is_volatile))
}

fn size(scan: &FileScanConfig) -> u64 {
    let files = scan.file_groups.iter().flat_map(FileGroup::iter);
    files.map(|file| file.effective_size()).sum()
}
