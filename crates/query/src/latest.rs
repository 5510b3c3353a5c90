//! The views of `latest`: of a source table, the newest version of each record, without those that were deleted.
//!
//! Invariant: of the versions of a key, the one with the highest `_load_id` is shown, or none where that one says that the record is
//! gone. Within a package a key comes once, so there are no two newest.
//!
//! Rejected: numbering the versions of each key by a window, which sorts whole records to find the few that were superseded.
//! Grouping reads the key and the package number alone, spills where it has to, and hands on only the keys that have several versions.

use datafusion::catalog::TableProvider;
use datafusion::common::{Column, Result};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder, lit};
use std::sync::Arc;
use tillhouse_model::table::{DELETED_AT, LOAD_ID, RECORD_KEY};

const RECORDS: &str = "records";
const VERSIONS: &str = "versions";

/// The view over a source table.
pub(crate) fn view(table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let schema = table.schema();
    let source = provider_as_source(table);
    let several = LogicalPlanBuilder::scan(VERSIONS, Arc::clone(&source), None)?
        .aggregate(
            [column(VERSIONS, RECORD_KEY)],
            [
                max(column(VERSIONS, LOAD_ID)).alias("newest"),
                count(lit(1_i64)).alias("how_many"),
            ],
        )?
        .filter(Expr::Column(Column::from_name("how_many")).gt(lit(1_i64)))?
        .build()?;
    let records = LogicalPlanBuilder::scan(RECORDS, source, None)?.build()?;
    let keys = (
        vec![Column::new(Some(VERSIONS), RECORD_KEY)],
        vec![Column::new(Some(RECORDS), RECORD_KEY)],
    );
    // The left side is the one that is held in memory: the keys with several versions, not the records.
    let superseded = column(RECORDS, LOAD_ID).lt(Expr::Column(Column::from_name("newest")));
    let mut plan = LogicalPlanBuilder::from(several).join(
        records,
        JoinType::RightAnti,
        keys,
        Some(superseded),
    )?;
    if schema.field_with_name(DELETED_AT).is_ok() {
        plan = plan.filter(column(RECORDS, DELETED_AT).is_null())?;
    }
    let shown = schema
        .fields()
        .iter()
        .filter(|field| field.name() != DELETED_AT);
    let shown: Vec<Expr> = shown.map(|field| column(RECORDS, field.name())).collect();
    Ok(Arc::new(ViewTable::new(
        plan.project(shown)?.build()?,
        None,
    )))
}

fn column(table: &str, name: &str) -> Expr {
    Expr::Column(Column::new(Some(table), name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueryEngine, QueryEngineOptions, Session, collect};
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;

    /// Key, package, content, and whether the record is gone.
    fn history(versions: &[(&str, i64, i64, bool)], marked: bool) -> Arc<MemTable> {
        let gone = versions.iter().map(|version| version.3.then_some(1));
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            (
                "content",
                Arc::new(
                    versions
                        .iter()
                        .map(|version| version.2)
                        .collect::<Int64Array>(),
                ),
            ),
            (
                RECORD_KEY,
                Arc::new(
                    versions
                        .iter()
                        .map(|version| Some(version.0))
                        .collect::<StringArray>(),
                ),
            ),
            (
                LOAD_ID,
                Arc::new(
                    versions
                        .iter()
                        .map(|version| version.1)
                        .collect::<Int64Array>(),
                ),
            ),
        ];
        if marked {
            columns.push((
                DELETED_AT,
                Arc::new(
                    gone.collect::<TimestampMicrosecondArray>()
                        .with_timezone("UTC"),
                ),
            ));
        }
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(n, c)| (n, c, true)),
        )
        .unwrap();
        // Every version in a batch and partition of its own: nothing may rely on their order.
        let mut parts: Vec<Vec<RecordBatch>> = (0..batch.num_rows())
            .map(|row| vec![batch.slice(row, 1)])
            .collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        Arc::new(MemTable::try_new(batch.schema(), parts).unwrap())
    }

    async fn shown(session: &Session, sql: &str) -> String {
        pretty_format_batches(&collect(session.query(sql).await.unwrap()).await.unwrap())
            .unwrap()
            .to_string()
    }

    fn session(table: Arc<MemTable>) -> Session {
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        session.register("l", view(table).unwrap()).unwrap();
        session
    }

    const VERSIONS: [(&str, i64, i64, bool); 9] = [
        ("once", 1, 10, false),
        ("twice", 1, 20, false),
        ("twice", 3, 21, false),
        ("gone", 1, 30, false),
        ("gone", 2, 30, true),
        ("back", 1, 40, false),
        ("back", 2, 40, true),
        ("back", 4, 41, false),
        ("never", 4, 50, true),
    ];

    #[tokio::test]
    async fn the_newest_version_is_shown_unless_it_says_that_the_record_is_gone() {
        let session = session(history(&VERSIONS, true));
        let expected = "\
+---------+-------------+----------+
| content | _record_key | _load_id |
+---------+-------------+----------+
| 10      | once        | 1        |
| 21      | twice       | 3        |
| 41      | back        | 4        |
+---------+-------------+----------+";
        assert_eq!(
            shown(&session, "SELECT * FROM l ORDER BY content").await,
            expected
        );
        assert!(
            shown(&session, "SELECT count(*) AS n FROM l WHERE content > 15")
                .await
                .contains("| 2 |")
        );
    }

    #[tokio::test]
    async fn a_table_that_marks_nothing_as_gone_has_no_such_column() {
        let session = session(history(&VERSIONS, false));
        assert!(
            shown(&session, "SELECT sum(content) AS n FROM l")
                .await
                .contains("| 152 |")
        );
        let nothing = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        nothing
            .register("l", view(history(&[], true)).unwrap())
            .unwrap();
        assert!(
            shown(&nothing, "SELECT count(*) AS n FROM l")
                .await
                .contains("| 0 |")
        );
    }
}
