//! The transactions that are counted differently.
//!
//! Invariant: one is listed where it counts in one of the two runs at least, differs in what figures are made of, and lay in a past
//! hour in one of them.

use super::{PastCoverage, RestatementConditions, RunPairSession};
use crate::columns::{
    DecimalColumn, IntegerColumn, TextColumn, decimals, each_batch, integers, texts,
};
use crate::definitions::{self, COLLECTED_SQL};
use crate::restated::{ChangedTransaction, TransactionVersion};
use arrow::array::RecordBatch;
use jiff::Timestamp;
use tillhouse_model::calendar::HOUR;
use tillhouse_model::{ExactDecimal, Result};

/// Those that weigh most, at most so many, and how many there are.
pub(super) async fn changed(
    sides: &RunPairSession,
    asked: &RestatementConditions,
    past: &PastCoverage,
    most: usize,
) -> Result<(Vec<ChangedTransaction>, i64)> {
    let (mut listed, mut all): (Vec<ChangedTransaction>, i64) = (Vec::new(), 0);
    each_batch(&sides.session, &sql(asked), asked.params(), |batch| {
        let rows = RunPairColumns::of(batch)?;
        for row in 0..batch.num_rows() {
            if !rows.is_past(row, past) {
                continue;
            }
            all += 1;
            listed.extend(rows.transaction(row));
        }
        // Ten times too many are kept at most.
        if listed.len() > most.saturating_mul(10) {
            keep_heaviest(&mut listed, most);
        }
        Ok(())
    })
    .await?;
    keep_heaviest(&mut listed, most);
    Ok((listed, all))
}

/// By how much the amount changed, largest first; then by key.
fn keep_heaviest(listed: &mut Vec<ChangedTransaction>, most: usize) {
    let weight = |transaction: &ChangedTransaction| {
        let amount = |seen: &Option<TransactionVersion>| {
            seen.as_ref()
                .and_then(|seen| seen.amount)
                .unwrap_or(ExactDecimal::new(0, 4))
        };
        let difference = amount(&transaction.now).minus(amount(&transaction.then));
        std::cmp::Reverse(
            difference.map_or(u128::MAX, |difference| difference.units.unsigned_abs()),
        )
    };
    listed.sort_by(|a, b| {
        weight(a)
            .cmp(&weight(b))
            .then_with(|| a.transaction_key.cmp(&b.transaction_key))
    });
    listed.truncate(most);
}

/// Sums of payments and articles, so that a difference in any of them shows.
fn sql(asked: &RestatementConditions) -> String {
    let untimed = if asked.untimed {
        " OR (month = 'none' AND occurred_at IS NULL)"
    } else {
        ""
    };
    let condition = format!(
        "{} AND (({}){untimed})",
        asked.whose.sql,
        asked.hour_condition("local_hour_start(occurred_at, 'UTC')")
    );
    let side = |run: &str| {
        format!(
            "SELECT sale.*, payments.collected, payments.content AS payments, articles.content AS articles
             FROM (SELECT transaction_key, pipeline, tenant_id, occurred_at, kind, state, currency, amount, site_key,
                          {counted}
                          AND (occurred_at IS NULL OR (local_hour_start(occurred_at, 'UTC') >= $since
                               AND local_hour_start(occurred_at, 'UTC') < $until)) AS counts
                   FROM {run}_transactions WHERE {condition}) AS sale
             LEFT JOIN (SELECT transaction_key, sum(CASE WHEN {COLLECTED_SQL} THEN amount END) AS collected,
                               concat_ws(' ', CAST(count(*) AS VARCHAR), CAST(sum(amount) AS VARCHAR), min(line), max(line))
                                   AS content
                        FROM (SELECT *, concat_ws('|', state, currency, CAST(amount AS VARCHAR), type, medium, scheme,
                                                  entry_mode, function) AS line
                              FROM {run}_payments WHERE {condition}) AS line
                        GROUP BY transaction_key) AS payments
             ON sale.transaction_key = payments.transaction_key
             LEFT JOIN (SELECT transaction_key, concat_ws(' ', CAST(count(*) AS VARCHAR), CAST(sum(quantity) AS VARCHAR), min(line),
                                             max(line)) AS content
                        FROM (SELECT *, concat_ws('|', state, currency, CAST(quantity AS VARCHAR), unit_measure,
                                                  product_key, name) AS line
                              FROM {run}_articles WHERE {condition}) AS line
                        GROUP BY transaction_key) AS articles
             ON sale.transaction_key = articles.transaction_key",
            counted = definitions::counted_sql("state", &asked.states)
        )
    };
    let both = |column: &str| {
        format!("then_side.{column} AS then_{column}, now_side.{column} AS now_{column}")
    };
    let columns: Vec<String> = [
        "kind",
        "state",
        "currency",
        "amount",
        "collected",
        "site_key",
        "payments",
        "articles",
    ]
    .into_iter()
    .map(both)
    .collect();
    let differs: Vec<String> = [
        "occurred_at",
        "kind",
        "state",
        "currency",
        "amount",
        "site_key",
        "payments",
        "articles",
    ]
    .into_iter()
    .map(|column| format!("(then_side.{column} IS DISTINCT FROM now_side.{column})"))
    .collect();
    format!(
        "SELECT coalesce(then_side.transaction_key, now_side.transaction_key) AS transaction_key,
                coalesce(then_side.pipeline, now_side.pipeline) AS pipeline,
                then_side.tenant_id AS then_tenant, now_side.tenant_id AS now_tenant,
                then_side.transaction_key AS then_key, now_side.transaction_key AS now_key,
                CAST(then_side.occurred_at AS BIGINT) AS then_at, CAST(now_side.occurred_at AS BIGINT) AS now_at, {}
         FROM ({}) AS then_side FULL OUTER JOIN ({}) AS now_side ON then_side.transaction_key = now_side.transaction_key
         WHERE (coalesce(then_side.counts, FALSE) OR coalesce(now_side.counts, FALSE)) AND ({})",
        columns.join(", "),
        side("then"),
        side("now"),
        differs.join(" OR ")
    )
}

/// Columns of one run in a batch of both.
struct RunColumns {
    keys: TextColumn,
    tenants: TextColumn,
    at: IntegerColumn,
    kinds: TextColumn,
    states: TextColumn,
    currencies: TextColumn,
    amounts: DecimalColumn,
    collected: DecimalColumn,
    sites: TextColumn,
    payments: TextColumn,
    articles: TextColumn,
}

impl RunColumns {
    fn of(batch: &RecordBatch, run: &str) -> Result<Self> {
        let text = |column: &str| texts(batch, &format!("{run}_{column}"));
        Ok(Self {
            keys: text("key")?,
            tenants: text("tenant")?,
            at: integers(batch, &format!("{run}_at"))?,
            kinds: text("kind")?,
            states: text("state")?,
            currencies: text("currency")?,
            amounts: decimals(batch, &format!("{run}_amount"))?,
            collected: decimals(batch, &format!("{run}_collected"))?,
            sites: text("site_key")?,
            payments: text("payments")?,
            articles: text("articles")?,
        })
    }

    fn seen(&self, row: usize) -> Option<TransactionVersion> {
        self.keys.get(row)?;
        let own = |text: Option<&str>| text.map(str::to_owned);
        let exact = |numbers: &DecimalColumn| {
            numbers
                .known(row)
                .map(|units| ExactDecimal::new(units, numbers.scale))
        };
        Some(TransactionVersion {
            occurred_at: self
                .at
                .get(row)
                .and_then(|at| Timestamp::from_microsecond(at).ok()),
            kind: own(self.kinds.get(row)),
            state: own(self.states.get(row)),
            currency: own(self.currencies.get(row)),
            amount: exact(&self.amounts),
            collected: exact(&self.collected),
            site_key: own(self.sites.get(row)),
        })
    }
}

/// Columns of a batch of transactions of both runs.
struct RunPairColumns {
    keys: TextColumn,
    pipelines: TextColumn,
    then: RunColumns,
    now: RunColumns,
}

impl RunPairColumns {
    fn of(batch: &RecordBatch) -> Result<Self> {
        Ok(Self {
            keys: texts(batch, "transaction_key")?,
            pipelines: texts(batch, "pipeline")?,
            then: RunColumns::of(batch, "then")?,
            now: RunColumns::of(batch, "now")?,
        })
    }

    fn is_past(&self, row: usize, past: &PastCoverage) -> bool {
        let Some(pipeline) = self.pipelines.get(row) else {
            return false;
        };
        [&self.then, &self.now].into_iter().any(|side| {
            let hour = side
                .at
                .get(row)
                .map(|at| at.saturating_sub(at.rem_euclid(HOUR)));
            hour.is_some_and(|hour| past.holds(pipeline, side.tenants.get(row), hour))
        })
    }

    fn transaction(&self, row: usize) -> Option<ChangedTransaction> {
        let (then, now) = (self.then.seen(row), self.now.seen(row));
        let mut what = Vec::new();
        if let (Some(then), Some(now)) = (&then, &now) {
            for (name, differs) in [
                ("time", then.occurred_at != now.occurred_at),
                ("kind", then.kind != now.kind),
                ("state", then.state != now.state),
                ("currency", then.currency != now.currency),
                ("amount", then.amount != now.amount),
                ("site", then.site_key != now.site_key),
                (
                    "payments",
                    self.then.payments.get(row) != self.now.payments.get(row),
                ),
                (
                    "articles",
                    self.then.articles.get(row) != self.now.articles.get(row),
                ),
            ] {
                if differs {
                    what.push(name.to_owned());
                }
            }
        }
        let change = match (&then, &now) {
            (None, _) => "arrived",
            (_, None) => "gone",
            _ => "changed",
        };
        let transaction_key = self.keys.get(row)?.to_owned();
        Some(ChangedTransaction {
            transaction_key,
            change: change.to_owned(),
            what,
            then,
            now,
        })
    }
}
