//! The view `uncounted_payments`: collected payments that no statistics count by default, one row a payment, and why.
//!
//! Invariant: of the collected payments, exactly those are left out whose transaction has a time, a kind and a state that count
//! ([`definitions`](crate::definitions)), so that these and the view's rows together are all that was collected. Lineage columns
//! (those that start with `_`) are left out.

use crate::definitions::{COLLECTED_SQL, COUNTED_KINDS_SQL, WITHOUT_SALE, counted_states_sql};
use crate::transaction_totals::UNKNOWN;
use tillhouse_query::{SqlView, ViewTables, quoted_name};

/// The view, for a session to know.
pub(crate) const UNCOUNTED_PAYMENTS: SqlView = SqlView {
    name: "uncounted_payments",
    description: "One collected payment that no statistics count by default, and why.",
    notes: &[(
        "why",
        "Why it is not counted: without_sale, without_time, or the kind or state of its transaction.",
    )],
    over: PAYMENTS,
    beside: &[],
    definition,
};
/// The table the view is built on.
const PAYMENTS: &str = "payments";

/// The view over the payments; `None` where they lack a column it needs. `why` is `without_sale`, `kind free`, `state declined` or
/// `without_time`; null for a payment that is counted.
fn definition(tables: &ViewTables) -> Option<String> {
    let has = |name: &&str| tables.has_column(PAYMENTS, name);
    if !["state", "kind", "transaction_state", "occurred_at"]
        .iter()
        .all(has)
    {
        return None;
    }
    let own: Vec<String> = tables
        .own_columns(PAYMENTS)
        .into_iter()
        .map(quoted_name)
        .collect();
    let states = counted_states_sql("transaction_state");
    Some(format!(
        "SELECT * FROM (\n  SELECT\n    CASE\n      \
         WHEN kind IS NULL AND transaction_state IS NULL THEN '{WITHOUT_SALE}'\n      \
         WHEN kind IS NULL OR NOT ({COUNTED_KINDS_SQL}) THEN 'kind ' || coalesce(kind, '{UNKNOWN}')\n      \
         WHEN transaction_state IS NULL OR NOT ({states}) THEN 'state ' || coalesce(transaction_state, '{UNKNOWN}')\n      \
         WHEN occurred_at IS NULL THEN 'without_time'\n    END AS why,\n    {}\n  \
         FROM {PAYMENTS}\n  WHERE {COLLECTED_SQL}\n) AS t\nWHERE why IS NOT NULL",
        own.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use crate::register_sql;
    use arrow::array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::Int32Type;
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use std::sync::Arc;
    use tillhouse_query::{QueryEngine, QueryEngineOptions, Session, collect};

    /// Kind, state of the transaction, state, whether it has a time.
    fn session(rows: &[(Option<&str>, Option<&str>, &str, bool)]) -> Session {
        let kinds: DictionaryArray<Int32Type> = rows.iter().map(|row| row.0).collect();
        let columns: [(&str, ArrayRef); 6] = [
            (
                "payment_key",
                Arc::new(
                    (0..rows.len())
                        .map(|i| Some(format!("p{i}")))
                        .collect::<StringArray>(),
                ),
            ),
            ("kind", Arc::new(kinds)),
            (
                "transaction_state",
                Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
            ),
            (
                "state",
                Arc::new(rows.iter().map(|row| Some(row.2)).collect::<StringArray>()),
            ),
            (
                "occurred_at",
                Arc::new(
                    rows.iter()
                        .map(|row| row.3.then_some(1))
                        .collect::<Int64Array>(),
                ),
            ),
            (
                "_load",
                Arc::new(rows.iter().map(|_| Some(1)).collect::<Int64Array>()),
            ),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        register_sql(&session, None);
        session
            .register(
                "payments",
                Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap()),
            )
            .unwrap();
        session
    }

    async fn shown(session: &Session, sql: &str) -> String {
        pretty_format_batches(&collect(session.query(sql).await.unwrap()).await.unwrap())
            .unwrap()
            .to_string()
    }

    #[tokio::test]
    async fn every_collected_payment_is_counted_or_listed_with_why() {
        let rows = [
            (Some("sale"), Some("completed"), "collected", true),
            (Some("refund"), Some("consumed"), "collected", true),
            (Some("sale"), Some("declined"), "collected", true),
            (Some("sale"), Some("declined"), "declined", true),
            (Some("free"), Some("completed"), "collected", true),
            (Some("void"), Some("declined"), "collected", true),
            (Some("sale"), None, "collected", true),
            (None, Some("completed"), "collected", true),
            (None, None, "collected", true),
            (None, None, "open", true),
            (Some("sale"), Some("completed"), "collected", false),
        ];
        let session = session(&rows);
        let table = shown(
            &session,
            "SELECT payment_key || ' ' || why AS found FROM uncounted_payments ORDER BY 1",
        )
        .await;
        let found: Vec<&str> = table
            .lines()
            .filter(|line| line.contains("| p"))
            .map(|l| l.trim_matches(['|', ' ']))
            .collect();
        let expected = [
            "p10 without_time",
            "p2 state declined",
            "p4 kind free",
            "p5 kind void",
            "p6 state unknown",
            "p7 kind unknown",
            "p8 without_sale",
        ];
        assert_eq!(found, expected);
        let header = shown(&session, "SELECT * FROM uncounted_payments LIMIT 1").await;
        let names: Vec<&str> = header
            .lines()
            .nth(1)
            .unwrap()
            .split('|')
            .map(str::trim)
            .filter(|n| !n.is_empty())
            .collect();
        assert_eq!(
            names,
            [
                "why",
                "payment_key",
                "kind",
                "transaction_state",
                "state",
                "occurred_at"
            ]
        );
        let tables = session.tables().await.unwrap();
        assert!(
            tables.contains(&("unified".into(), "uncounted_payments".into())),
            "{tables:?}"
        );
    }

    #[tokio::test]
    async fn without_payments_there_is_no_view() {
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        register_sql(&session, None);
        assert!(
            session
                .query("SELECT * FROM uncounted_payments")
                .await
                .is_err()
        );
        assert!(
            session
                .tables()
                .await
                .unwrap()
                .iter()
                .all(|(_, table)| table != "uncounted_payments")
        );
    }
}
