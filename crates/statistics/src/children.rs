//! What articles and payments have in common: both hang on a transaction, carry its columns, and may lack a currency.
//!
//! Invariant: the table is scanned once, unless rows without a currency turn up; those alone are then asked for again, joined
//! with their transactions.

use crate::columns::{each_batch, integers};
use crate::facts::Conditions;
use crate::request::Question;
use arrow::array::RecordBatch;
use tillhouse_model::Result;
use tillhouse_query::Session;

/// A fact that hangs on a transaction.
pub(crate) struct Child {
    pub(crate) table: &'static str,
    /// Which rows count, beyond those of counted transactions.
    pub(crate) condition: &'static str,
    pub(crate) labels: &'static [&'static str],
    pub(crate) sum: &'static str,
}

/// Groups the rows of the window by currency and labels, and hands over batches with the columns `currency`, the labels, and the
/// sum as `total`.
pub(crate) async fn groups(
    session: &Session,
    question: &Question<'_>,
    child: &Child,
    mut take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    if !session.has_table("unified", child.table).await? {
        return Ok(());
    }
    let conditions = Conditions::between(question, question.now);
    let Child { table, condition, labels, sum } = child;
    let labels = labels.join(", ");
    let rows = format!(
        "{} AND kind IN ('sale', 'refund') AND transaction_state IN ({}) AND {condition}",
        conditions.sql,
        question.states_sql()
    );
    let own = format!(
        "SELECT currency, {labels}, sum({sum}) AS total, currency IS NULL AS no_currency
         FROM unified.{table} WHERE {rows} GROUP BY currency, {labels}"
    );
    let mut without_currency = false;
    each_batch(session, &own, &conditions.params, |batch| {
        let missing = integers(batch, "no_currency")?;
        let named: arrow::array::BooleanArray =
            (0..batch.num_rows()).map(|row| Some(missing.get(row) == Some(0))).collect();
        without_currency |= named.false_count() > 0;
        take(
            &arrow::compute::filter_record_batch(batch, &named)
                .map_err(|e| tillhouse_model::Error::internal("a batch could not be filtered").because(e))?,
        )
    })
    .await?;
    if !without_currency {
        return Ok(());
    }
    let transactions = if session.has_table("unified", "transactions").await? {
        format!("SELECT transaction_key, currency FROM unified.transactions WHERE {}", conditions.sql)
    } else {
        "SELECT CAST(NULL AS VARCHAR) AS transaction_key, CAST(NULL AS VARCHAR) AS currency".to_owned()
    };
    let inherited = format!(
        "SELECT parent.currency AS currency, {labels}, sum({sum}) AS total
         FROM (SELECT transaction_key, {labels}, {sum} FROM unified.{table} WHERE {rows} AND currency IS NULL) AS child
         LEFT JOIN ({transactions}) AS parent ON child.transaction_key = parent.transaction_key
         GROUP BY parent.currency, {labels}"
    );
    each_batch(session, &inherited, &conditions.params, take).await
}
