//! The page on reconciliations: what was compared with whom, what differed, of the moment.
//!
//! Invariant: a reader sees the rows of `ops.reconciliations` that the session lets be seen, and nothing is kept: a comparison changes nothing that a run publishes.

use super::question::DashboardQuestion;
use super::row_texts::rows_of;
use super::run_page::answer_now;
use crate::answer::AnswerNote;
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::state::ServerState;
use axum::http::StatusCode;
use axum::response::Response;
use std::collections::BTreeSet;
use std::sync::Arc;
use tillhouse_page::dashboard::{self as page, PageView, ReconciliationsPage, RecordTable};
use tillhouse_query::{ScalarValue, Session};

/// Reconciliations that are listed.
const LISTED: usize = 50;
/// Differences that are listed.
const DIFFERENCES: usize = 500;
/// Sales to look at that are listed.
const NAMED: usize = 100;

/// The page on reconciliations.
pub(super) async fn reconciliations(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let chosen = question.reconciliation().map(str::to_owned);
    answer_now(
        state,
        question,
        "reconciliations",
        note,
        async move |_: &ServerState, run: &RunSession, view: PageView| {
            let session = &run.session;
            if let Some(id) = &chosen {
                check(session, id).await?;
            }
            let list = list(session).await?;
            let newest = list.value(0, "reconciliation_id").map(str::to_owned);
            let chosen = chosen.or(newest);
            let differences = match &chosen {
                Some(id) => differences(session, id).await?,
                None => RecordTable::default(),
            };
            let page = ReconciliationsPage {
                list,
                chosen,
                sales_to_look_at: named_sales(&differences)?,
                differences,
            };
            let rows = page.list.rows.len() + page.differences.rows.len();
            Ok((page::reconciliations(&view, &page), rows))
        },
    )
    .await
}

/// Errors with 404 where there is no such reconciliation, or it is not seen.
async fn check(session: &Session, id: &str) -> Result<(), Problem> {
    let sql =
        "SELECT reconciliation_id FROM ops.reconciliations WHERE reconciliation_id = $id LIMIT 1";
    let found = rows_of(session, sql, &[("id", ScalarValue::from(id))]).await?;
    match found.is_empty() {
        true => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no reconciliation {id:?}"),
        )
        .hint("The page without a choice lists those there are.")),
        false => Ok(()),
    }
}

/// The reconciliations of each pipeline, the newest first. A window stands there once for each of its differences, with the figures that were compared of it all.
async fn list(session: &Session) -> Result<RecordTable, Problem> {
    let sql = format!(
        "SELECT reconciliation_id, pipeline, yardstick, max(made_at) AS reconciled_at, min(window_from) AS window_from, max(window_to) AS window_to,
                count(*) AS windows, sum(figures) AS figures, sum(differing) AS differing, sum(incomplete) AS incomplete
         FROM (SELECT reconciliation_id, pipeline, yardstick, tenant, window_from, window_to, max(reconciled_at) AS made_at, max(figures) AS figures,
                      sum(CASE WHEN outcome = 'different' THEN 1 ELSE 0 END) AS differing,
                      max(CASE WHEN outcome = 'incomplete' THEN 1 ELSE 0 END) AS incomplete
               FROM ops.reconciliations GROUP BY reconciliation_id, pipeline, yardstick, tenant, window_from, window_to) AS of_windows
         GROUP BY reconciliation_id, pipeline, yardstick ORDER BY reconciliation_id DESC, pipeline, yardstick LIMIT {LISTED}"
    );
    rows_of(session, &sql, &[]).await
}

/// What differed, or was not compared, in a reconciliation.
async fn differences(session: &Session, id: &str) -> Result<RecordTable, Problem> {
    let sql = format!(
        "SELECT window_from, window_to, pipeline, tenant, outcome, part, label, unit, currency, ours, theirs, theirs - ours AS difference, transactions
         FROM ops.reconciliations WHERE reconciliation_id = $id AND outcome IN ('different', 'incomplete')
         ORDER BY window_from, pipeline, tenant, part, label LIMIT {DIFFERENCES}"
    );
    rows_of(session, &sql, &[("id", ScalarValue::from(id))]).await
}

/// Keys of the sales that rows name, each once; not more than are worth a look.
fn named_sales(rows: &RecordTable) -> Result<Vec<String>, Problem> {
    let mut keys: BTreeSet<String> = BTreeSet::new();
    for row in 0..rows.rows.len() {
        let list = rows.value(row, "transactions").unwrap_or("[]");
        let named: Vec<String> = serde_json::from_str(list).map_err(|error| {
            Problem::internal(format!("the sales of a difference cannot be read: {error}"))
        })?;
        keys.extend(named);
    }
    Ok(keys.into_iter().take(NAMED).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sales_that_differences_name_are_listed_once() {
        let rows = |lists: &[Option<&str>]| RecordTable {
            columns: vec!["transactions".to_owned()],
            rows: lists
                .iter()
                .map(|list| vec![list.map(str::to_owned)])
                .collect(),
        };
        let named = named_sales(&rows(&[Some(r#"["b", "a"]"#), None, Some(r#"["b"]"#)]));
        assert_eq!(named.unwrap(), ["a", "b"]);
        assert!(named_sales(&rows(&[Some("[1")])).is_err());
    }
}
