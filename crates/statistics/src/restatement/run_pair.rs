//! Both runs' tables in one session: `then_...` and `now_...`, the facts, and as `..._hourly` their rows with what is added up of them by hour.
//!
//! Invariant: what a run does not have is there all the same, empty, so that the queries need not ask.
//!
//! Rejected: the roll-ups. They have no hours with amounts, and runs of earlier versions have others; what changed lies in few hours, whose facts are soon
//! read.

use crate::rollup::{FACTS, RolledFact};
use tillhouse_model::Result;
use tillhouse_query::Session;

/// Session over the tables of both runs.
pub(super) struct RunPairSession {
    pub(super) session: Session,
}

impl RunPairSession {
    /// The tables of both runs as two sessions see them, in a third, which is empty.
    pub(super) async fn open(both: Session, since: &Session, now: &Session) -> Result<Self> {
        // The later run first: what the earlier one lacks looks like the later one's.
        for (prefix, of_run) in [("now_", now), ("then_", since)] {
            for fact in FACTS {
                let name = format!("{prefix}{}", fact.name);
                match of_run.table("unified", fact.name).await? {
                    Some(table) => both.register(&name, table)?,
                    None => both.create_view(&name, &stand_in(fact, prefix)).await?,
                }
            }
            for fact in FACTS {
                let name = format!("{prefix}{}_hourly", fact.name);
                both.create_view(&name, &fact.rows_sql(prefix)).await?;
            }
        }
        Ok(Self { session: both })
    }
}

/// A fact without rows.
fn stand_in(fact: &RolledFact, prefix: &str) -> String {
    if prefix == "then_" {
        return format!("SELECT * FROM now_{} WHERE FALSE", fact.name);
    }
    // Every fact has its transaction's columns; the others need a type, and no value.
    let own = fact.columns().into_iter();
    let columns: Vec<String> = own
        .filter(|name| !SHARED.contains(name))
        .map(|name| {
            let kind = match fact.is_sum(name) {
                true => "DECIMAL(18, 4)",
                false => "VARCHAR",
            };
            format!("CAST(NULL AS {kind}) AS {name}")
        })
        .collect();
    format!(
        "SELECT pipeline, month, occurred_at, {}, {} FROM now_transactions WHERE FALSE",
        SHARED.join(", "),
        columns.join(", ")
    )
}

/// Columns that a transaction shares with everything that hangs on it.
const SHARED: [&str; 8] = [
    "transaction_key",
    "business_date",
    "local_hour",
    "source",
    "tenant_id",
    "perspective",
    "kind",
    "site_key",
];
