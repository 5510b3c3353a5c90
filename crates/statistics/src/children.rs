//! Common part of articles and payments: both hang on a transaction, carry its columns, and may
//! lack a currency.
//!
//! Invariant: a source is scanned once, unless facts without a currency turn up; those alone are then asked for again, joined
//! with their transactions. A group whose rows were added by one source and taken off again by another is none.

use crate::columns::{IntegerColumn, add, decimals, each_batch_of, integers, texts};
use crate::facts::FactConditions;
use crate::filter::{FilteredFact, TransactionKeys, select};
use crate::request::CheckedRequest;
use crate::rollup::{FactScan, WITHOUT_AMOUNT};
use arrow::array::{Array, RecordBatch};
use datafusion::common::JoinType;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Expr, ident, lit};
use futures::future::try_join_all;
use std::collections::HashMap;
use std::sync::Arc;
use tillhouse_model::{Error, Result};
use tillhouse_query::{DataFrame, Session, into_error};

/// A fact whose rows belong to a transaction: articles or payments.
pub(crate) struct ChildFact {
    /// The unified table.
    pub(crate) table: &'static str,
    /// Rows that are asked for.
    pub(crate) condition: &'static str,
    /// True for those of counted transactions only.
    pub(crate) of_counted: bool,
    /// Columns that they are grouped by; `timeless` tells those without a time from those of the window.
    pub(crate) labels: &'static [&'static str],
    pub(crate) sum: &'static str,
    /// True if it is asked how many rows have no value in the sum, as [`WITHOUT_AMOUNT`].
    pub(crate) counts_missing: bool,
}

/// Rows of a fact that are alike.
pub(crate) struct ChildGroup {
    pub(crate) currency: Option<String>,
    /// In the order of the fact's labels; what is true or false is `true` or `false`.
    pub(crate) labels: Vec<Option<String>>,
    pub(crate) total: i128,
    /// Number of rows of the fact.
    pub(crate) rows: i64,
    /// Those of them without a value in the sum; none where that is not asked.
    pub(crate) missing: i64,
}

/// The groups of an answer.
pub(crate) struct ChildGroups {
    pub(crate) groups: Vec<ChildGroup>,
    /// Digits after the point of every total.
    pub(crate) scale: u8,
}

/// Keys of the transactions that pass the request's filter, where articles and payments cannot be
/// filtered by their own columns.
pub(crate) type PassingKeys = Option<Arc<TransactionKeys>>;

/// Groups the rows of the window by currency and labels.
pub(crate) async fn groups(
    session: &Session,
    question: &CheckedRequest<'_>,
    passing: &PassingKeys,
    child: &ChildFact,
) -> Result<ChildGroups> {
    let scans = match child.table {
        "articles" => &question.plan.articles,
        _ => &question.plan.payments,
    };
    let asked = scans.iter().map(|scan| {
        let scan = ChildScan {
            session,
            question,
            passing,
            child,
            scan,
        };
        scan.sums()
    });
    let mut sums = GroupSums::default();
    for found in try_join_all(asked).await? {
        sums.merge(found)?;
    }
    Ok(sums.into_groups())
}

/// Currency and labels of a group.
type GroupKey = (Option<String>, Vec<Option<String>>);

/// Sum and counts of one group.
#[derive(Default, Clone, Copy)]
struct ChildSums {
    total: i128,
    rows: i64,
    missing: i64,
}

impl ChildSums {
    fn add(&mut self, more: Self) -> Result<()> {
        add(&mut self.total, more.total)?;
        self.rows = added(self.rows, more.rows)?;
        self.missing = added(self.missing, more.missing)?;
        Ok(())
    }
}

fn added(to: i64, more: i64) -> Result<i64> {
    to.checked_add(more)
        .ok_or_else(|| Error::data("more rows than can be counted"))
}

/// Sums and counts by group.
#[derive(Default)]
struct GroupSums {
    groups: HashMap<GroupKey, ChildSums>,
    scale: u8,
}

impl GroupSums {
    fn add(&mut self, key: GroupKey, sums: ChildSums) -> Result<()> {
        self.groups.entry(key).or_default().add(sums)
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.scale = self.scale.max(other.scale);
        let mut groups = other.groups.into_iter();
        groups.try_for_each(|(key, sums)| self.add(key, sums))
    }

    fn into_groups(self) -> ChildGroups {
        let groups = self.groups.into_iter();
        let groups = groups.filter(|(_, sums)| sums.rows != 0);
        let groups = groups.map(|((currency, labels), sums)| ChildGroup {
            currency,
            labels,
            total: sums.total,
            rows: sums.rows,
            missing: sums.missing,
        });
        ChildGroups {
            groups: groups.collect(),
            scale: self.scale,
        }
    }
}

/// The rows of one scan.
struct ChildScan<'a> {
    session: &'a Session,
    question: &'a CheckedRequest<'a>,
    passing: &'a PassingKeys,
    child: &'a ChildFact,
    scan: &'a FactScan,
}

impl ChildScan<'_> {
    /// Sums of the scan's rows, of facts those without a currency by that of their transactions.
    async fn sums(self) -> Result<GroupSums> {
        let mut sums = GroupSums::default();
        let (schema, table) = self.scan.source.table(self.child.table);
        if !self.session.has_table(schema, table).await? {
            return Ok(sums);
        }
        // Every row of a level has the currency it belongs to already.
        let is_facts = !self.scan.source.is_counted();
        let own = self.rows("TRUE").await?;
        let mut without_currency = false;
        each_batch_of(self.grouped(own, "currency")?, |batch| {
            without_currency |= self.take(batch, is_facts, &mut sums)?;
            Ok(())
        })
        .await?;
        if !without_currency {
            return Ok(sums);
        }
        let orphans = self.rows("currency IS NULL").await?;
        let conditions = FactConditions::of_scan(self.question, self.scan);
        let transactions = if self.session.has_table("unified", "transactions").await? {
            format!(
                "SELECT transaction_key AS parent_key, currency AS parent_currency FROM unified.transactions WHERE {}",
                conditions.sql
            )
        } else {
            "SELECT CAST(NULL AS VARCHAR) AS parent_key, CAST(NULL AS VARCHAR) AS parent_currency"
                .to_owned()
        };
        let transactions = self
            .session
            .frame(&transactions, &conditions.params)
            .await?;
        let inherited = orphans
            .join(
                transactions,
                JoinType::Left,
                &["transaction_key"],
                &["parent_key"],
                None,
            )
            .map_err(into_error)?;
        each_batch_of(self.grouped(inherited, "parent_currency")?, |batch| {
            self.take(batch, false, &mut sums)?;
            Ok(())
        })
        .await?;
        Ok(sums)
    }

    /// Takes groups in. `defers`: those whose currency is null are left out; true if there are any.
    fn take(&self, batch: &RecordBatch, defers: bool, sums: &mut GroupSums) -> Result<bool> {
        let totals = decimals(batch, "total")?;
        let (currencies, rows) = (texts(batch, "currency")?, integers(batch, "rows")?);
        let nulls = batch
            .column_by_name("currency")
            .and_then(|currencies| currencies.logical_nulls());
        let labels = self.child.labels.iter();
        let labels: Vec<_> = labels
            .map(|name| texts(batch, name))
            .collect::<Result<_>>()?;
        let taken_off = match self.has_taken_off() {
            true => Some(integers(batch, "taken_off")?),
            false => None,
        };
        let missing = match self.child.counts_missing {
            true => Some(integers(batch, WITHOUT_AMOUNT)?),
            false => None,
        };
        sums.scale = totals.scale;
        let mut has_deferred = false;
        for row in 0..batch.num_rows() {
            if defers && nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                has_deferred = true;
                continue;
            }
            let number = |of: &IntegerColumn| of.get(row).unwrap_or(0);
            let sign: i64 = match taken_off.as_ref().map_or(0, number) {
                1 => -1,
                _ => 1,
            };
            let own = |text: Option<&str>| text.map(str::to_owned);
            let key = (
                own(currencies.get(row)),
                labels.iter().map(|label| own(label.get(row))).collect(),
            );
            let of_group = ChildSums {
                total: i128::from(sign) * totals.get(row),
                rows: sign * number(&rows),
                missing: sign * missing.as_ref().map_or(0, number),
            };
            sums.add(key, of_group)?;
        }
        Ok(has_deferred)
    }

    fn has_taken_off(&self) -> bool {
        !self.scan.taken_off().is_empty()
    }

    /// The rows that are asked for.
    async fn rows(&self, which: &str) -> Result<DataFrame> {
        let (question, child) = (self.question, self.child);
        let mut conditions = FactConditions::of_scan(question, self.scan);
        let taken_off = conditions.taken_off(self.scan);
        let counted = match child.of_counted {
            true => question.counted_sql("transaction_state"),
            false => "TRUE".to_owned(),
        };
        // A level has it as its own.
        let missing = match child.counts_missing && !self.scan.source.is_counted() {
            true => format!(
                ", CASE WHEN {} IS NULL THEN 1 ELSE 0 END AS {WITHOUT_AMOUNT}",
                child.sum
            ),
            false => String::new(),
        };
        let sql = format!(
            "SELECT *, occurred_at IS NULL AS timeless, {taken_off} AS taken_off{missing} FROM {} WHERE {} AND {counted} AND {} AND {which}",
            self.scan.source.relation(child.table),
            conditions.sql,
            child.condition
        );
        let rows = self.session.frame(&sql, &conditions.params).await?;
        match (self.passing, &question.request.filter) {
            (Some(keys), _) => rows.filter(keys.has_transaction()).map_err(into_error),
            (None, Some(filter)) => select(self.session, rows, filter, FilteredFact::Child).await,
            (None, None) => Ok(rows),
        }
    }

    fn grouped(&self, rows: DataFrame, currency: &str) -> Result<DataFrame> {
        let child = self.child;
        let mut groups: Vec<Expr> = vec![ident(currency).alias("currency")];
        groups.extend(child.labels.iter().map(|label| ident(*label)));
        if self.has_taken_off() {
            groups.push(ident("taken_off"));
        }
        let counted = match self.scan.source.is_counted() {
            false => count(lit(1)),
            true => sum(ident(self.scan.source.weight())),
        };
        let mut sums = vec![sum(ident(child.sum)).alias("total"), counted.alias("rows")];
        if child.counts_missing {
            sums.push(sum(ident(WITHOUT_AMOUNT)).alias(WITHOUT_AMOUNT));
        }
        rows.aggregate(groups, sums).map_err(into_error)
    }
}
