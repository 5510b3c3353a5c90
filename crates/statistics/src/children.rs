//! Common part of articles and payments: both hang on a transaction, carry its columns, and may
//! lack a currency.
//!
//! Invariant: the table is scanned once, unless rows without a currency turn up; those alone are then asked for again, joined
//! with their transactions.

use crate::columns::each_batch_of;
use crate::facts::FactConditions;
use crate::filter::{FilteredFact, TransactionKeys, select};
use crate::request::CheckedRequest;
use crate::rollup::{AnswerSource, WITHOUT_AMOUNT};
use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::common::JoinType;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Expr, ident, lit};
use std::sync::Arc;
use tillhouse_model::{Error, Result};
use tillhouse_query::{DataFrame, Session, into_error};

/// A fact whose rows belong to a transaction: articles or payments.
pub(crate) struct ChildFact {
    pub(crate) table: &'static str,
    /// Which rows are asked for.
    pub(crate) condition: &'static str,
    /// True for those of counted transactions only.
    pub(crate) of_counted: bool,
    /// True if those without a time are asked for too; the label `timeless` tells them from those of the window.
    pub(crate) untimed: bool,
    pub(crate) labels: &'static [&'static str],
    pub(crate) sum: &'static str,
    /// True if it is asked how many rows have no value in the sum, as [`WITHOUT_AMOUNT`].
    pub(crate) counts_missing: bool,
}

/// Keys of the transactions that pass the request's filter, where articles and payments cannot be
/// filtered by their own columns.
pub(crate) type PassingKeys = Option<Arc<TransactionKeys>>;

/// Groups the rows of the window by currency and labels, and hands over batches with the columns `currency`, the labels, the sum as
/// `total`, how many rows of the fact there are as `rows` and, where that is asked, how many of them lack an amount.
pub(crate) async fn groups(
    session: &Session,
    question: &CheckedRequest<'_>,
    passing: &PassingKeys,
    child: &ChildFact,
    mut take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let (schema, table) = question.answer_source.table(child.table);
    if !session.has_table(schema, table).await? {
        return Ok(());
    }
    if question.answer_source == AnswerSource::Rollups {
        // Every row has the currency it belongs to already.
        let own = rows(session, question, passing, child, "TRUE").await?;
        return each_batch_of(grouped(own, "currency", question, child)?, take).await;
    }
    let mut without_currency = false;
    let own = rows(session, question, passing, child, "TRUE").await?;
    each_batch_of(grouped(own, "currency", question, child)?, |batch| {
        let currencies = batch.column_by_name("currency");
        let currencies =
            currencies.ok_or_else(|| Error::internal("the query gave no column currency"))?;
        let named: BooleanArray = (0..batch.num_rows())
            .map(|row| Some(currencies.is_valid(row)))
            .collect();
        without_currency |= named.false_count() > 0;
        take(
            &filter_record_batch(batch, &named)
                .map_err(|e| Error::internal("a batch could not be filtered").because(e))?,
        )
    })
    .await?;
    if !without_currency {
        return Ok(());
    }
    let orphans = rows(session, question, passing, child, "currency IS NULL").await?;
    let conditions = FactConditions::between(question, question.now);
    let transactions = if session.has_table("unified", "transactions").await? {
        format!(
            "SELECT transaction_key AS parent_key, currency AS parent_currency FROM unified.transactions WHERE {}",
            conditions.sql
        )
    } else {
        "SELECT CAST(NULL AS VARCHAR) AS parent_key, CAST(NULL AS VARCHAR) AS parent_currency"
            .to_owned()
    };
    let transactions = session.frame(&transactions, &conditions.params).await?;
    let inherited = orphans
        .join(
            transactions,
            JoinType::Left,
            &["transaction_key"],
            &["parent_key"],
            None,
        )
        .map_err(into_error)?;
    each_batch_of(
        grouped(inherited, "parent_currency", question, child)?,
        take,
    )
    .await
}

/// The rows that are asked for.
async fn rows(
    session: &Session,
    question: &CheckedRequest<'_>,
    passing: &PassingKeys,
    child: &ChildFact,
    which: &str,
) -> Result<DataFrame> {
    let (conditions, timeless) = match child.untimed {
        true => (
            FactConditions::between_or_untimed(question, question.now),
            ", occurred_at IS NULL AS timeless",
        ),
        false => (FactConditions::between(question, question.now), ""),
    };
    let counted = match child.of_counted {
        true => question.counted_sql("transaction_state"),
        false => "TRUE".to_owned(),
    };
    // A roll-up has it as its own.
    let missing = if child.counts_missing && question.answer_source == AnswerSource::Facts {
        format!(
            ", CASE WHEN {} IS NULL THEN 1 ELSE 0 END AS {WITHOUT_AMOUNT}",
            child.sum
        )
    } else {
        String::new()
    };
    let sql = format!(
        "SELECT *{timeless}{missing} FROM {} WHERE {} AND {counted} AND {} AND {which}",
        question.answer_source.relation(child.table),
        conditions.sql,
        child.condition
    );
    let rows = session.frame(&sql, &conditions.params).await?;
    match (passing, &question.request.filter) {
        (Some(keys), _) => rows.filter(keys.has_transaction()).map_err(into_error),
        (None, Some(filter)) => select(session, rows, filter, FilteredFact::Child).await,
        (None, None) => Ok(rows),
    }
}

fn grouped(
    rows: DataFrame,
    currency: &str,
    question: &CheckedRequest<'_>,
    child: &ChildFact,
) -> Result<DataFrame> {
    let mut groups: Vec<Expr> = vec![ident(currency).alias("currency")];
    groups.extend(child.labels.iter().map(|label| ident(*label)));
    let counted = match question.answer_source {
        AnswerSource::Facts => count(lit(1)),
        AnswerSource::Rollups => sum(ident(question.answer_source.weight(child.table))),
    };
    let mut sums = vec![sum(ident(child.sum)).alias("total"), counted.alias("rows")];
    if child.counts_missing {
        sums.push(sum(ident(WITHOUT_AMOUNT)).alias(WITHOUT_AMOUNT));
    }
    rows.aggregate(groups, sums).map_err(into_error)
}
