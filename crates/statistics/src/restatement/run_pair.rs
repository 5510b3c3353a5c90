//! Both runs' tables in one session: `then_...` and `now_...`, the facts and what they add up to.
//!
//! Invariant: what a run does not have is there all the same, empty or added up from its facts, so that the queries need not ask.

use crate::rollup::{ROLLUPS, RollupSpec};
use tillhouse_lake::{RunRecord, Warehouse};
use tillhouse_model::Result;
use tillhouse_query::{QueryEngine, Session};

/// Session over the tables of both runs.
pub(super) struct RunPairSession {
    pub(super) session: Session,
}

impl RunPairSession {
    pub(super) async fn open(
        engine: &QueryEngine,
        warehouse: &Warehouse,
        since: &RunRecord,
        now: &RunRecord,
    ) -> Result<Self> {
        let session = engine.empty_session()?;
        // The later run first: what the earlier one lacks looks like the later one's.
        for (prefix, run) in [("now_", now), ("then_", since)] {
            for rollup in ROLLUPS {
                let name = format!("{prefix}{}", rollup.fact);
                if !register(
                    &session,
                    &name,
                    warehouse,
                    run,
                    &format!("unified/{}", rollup.fact),
                )
                .await?
                {
                    session
                        .create_view(&name, &stand_in(rollup, prefix))
                        .await?;
                }
            }
            let has_all = ROLLUPS
                .iter()
                .all(|rollup| run.tables.contains_key(&rollup.path()));
            for rollup in ROLLUPS {
                let name = format!("{prefix}{}", rollup.name);
                if !has_all || !register(&session, &name, warehouse, run, &rollup.path()).await? {
                    session.create_view(&name, &rollup.sql(prefix)).await?;
                }
            }
        }
        Ok(Self { session })
    }
}

async fn register(
    session: &Session,
    name: &str,
    warehouse: &Warehouse,
    run: &RunRecord,
    path: &str,
) -> Result<bool> {
    let Some(version) = run.tables.get(path) else {
        return Ok(false);
    };
    let Some(table) = warehouse.open_at(path, Some(version)).await? else {
        return Ok(false);
    };
    session.register(name, table.provider)?;
    Ok(true)
}

/// A fact without rows.
fn stand_in(rollup: &RollupSpec, prefix: &str) -> String {
    if prefix == "then_" {
        return format!("SELECT * FROM now_{} WHERE FALSE", rollup.fact);
    }
    // Every fact has its transaction's columns; the others need a type, and no value.
    let schema = rollup.schema();
    let own = |name: &&str| {
        schema
            .field_with_name(name)
            .is_ok_and(|_| !SHARED.contains(name))
    };
    let columns: Vec<String> = rollup
        .columns()
        .into_iter()
        .filter(own)
        .map(|name| {
            let kind = match schema
                .field_with_name(name)
                .map(|field| field.data_type().is_numeric())
            {
                Ok(true) => "DECIMAL(18, 4)",
                _ => "VARCHAR",
            };
            format!("CAST(NULL AS {kind}) AS {name}")
        })
        .collect();
    format!(
        "SELECT transaction_key, pipeline, month, occurred_at, {}, {} FROM now_transactions WHERE FALSE",
        SHARED.join(", "),
        columns.join(", ")
    )
}

/// Columns that a transaction shares with everything that hangs on it.
const SHARED: [&str; 7] = [
    "business_date",
    "local_hour",
    "source",
    "tenant_id",
    "perspective",
    "kind",
    "site_key",
];
