//! The page on the sources' health: freshness, coverage, rejects, drift and the last runs, of the moment.
//!
//! Invariant: a reader sees what the endpoints of the bookkeeping show it, and nothing is kept.

use super::question::DashboardQuestion;
use super::row_texts::rows_of;
use super::run_page::answer_now;
use crate::answer::AnswerNote;
use crate::api::bookkeeping::{of_ours, published_runs, query_of};
use crate::endpoints::EndpointId;
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::state::ServerState;
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;
use tillhouse_page::dashboard::{
    self as page, PageView, PipelineFreshness, RecordTable, SourcesPage,
};
use tillhouse_query::Scope;

/// Runs that are listed.
const RUNS: usize = 20;
/// Fields that are listed, of rejects and of drift.
const FIELDS: usize = 100;
/// Gaps that are listed.
const GAPS: usize = 100;
/// Members of a gap.
const GAP: [&str; 3] = ["tenant", "from", "to"];
/// Members of a resource's coverage that are texts or numbers.
const COVERAGE: [&str; 5] = [
    "pipeline",
    "resource",
    "data_through",
    "last_read",
    "open_rejects",
];

/// The page on the sources' health.
pub(super) async fn sources(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let scope = question.caller.scope();
    answer_now(
        state,
        question,
        "sources",
        note,
        async move |state: &ServerState, run: &RunSession, view: PageView| {
            let session = &run.session;
            let runs = query_of(EndpointId::Runs, false, RUNS, session.scope());
            let rejects = format!(
                "SELECT pipeline, resource, field, count(*) AS records, max(last_seen) AS last_seen FROM ops.rejects \
                 WHERE resolved_at IS NULL GROUP BY pipeline, resource, field ORDER BY records DESC, pipeline, resource, field LIMIT {FIELDS}"
            );
            // Both tell of the records of all tenants.
            let sees_tenants = scope.tenants.is_none();
            let drift = query_of(EndpointId::Drift, false, FIELDS, session.scope());
            let (coverage, gaps) = match sees_tenants {
                true => coverage(state, &scope).await?,
                false => (None, None),
            };
            let page = SourcesPage {
                freshness: freshness(state, &scope).await?,
                coverage,
                gaps,
                runs: Some(rows_of(session, &runs, &[]).await?),
                rejects: Some(rows_of(session, &rejects, &[]).await?),
                drift: match sees_tenants {
                    true => Some(rows_of(session, &drift, &[]).await?),
                    false => None,
                },
            };
            Ok((page::sources(&view, &page), page.freshness.len()))
        },
    )
    .await
}

async fn freshness(state: &ServerState, scope: &Scope) -> Result<Vec<PipelineFreshness>, Problem> {
    let runs = published_runs(state, scope).await?;
    let freshness = runs.into_iter().map(|run| PipelineFreshness {
        pipeline: run.pipeline,
        finished_at: run.finished_at,
        age_seconds: run.age_seconds,
    });
    Ok(freshness.collect())
}

/// Coverage of every resource with the number of its gaps, and the gaps.
async fn coverage(
    state: &ServerState,
    scope: &Scope,
) -> Result<(Option<RecordTable>, Option<RecordTable>), Problem> {
    let told = state.served.project.coverage(scope.pipelines.clone()).await;
    let told = told.map_err(of_ours)?;
    let resources: Vec<Value> = serde_json::from_str(&told.json)
        .map_err(|error| Problem::internal(format!("the coverage cannot be read: {error}")))?;
    let covered = resources.iter().map(|resource| {
        let gaps = gaps_of(resource).len().to_string();
        let members = COVERAGE.iter().map(|member| text(resource, member));
        members.chain([Some(gaps)]).collect::<Vec<_>>()
    });
    let gaps = resources.iter().flat_map(|resource| {
        gaps_of(resource).iter().map(move |gap| {
            let of = ["pipeline", "resource"].map(|member| text(resource, member));
            let members = GAP.iter().map(|member| text(gap, member));
            of.into_iter().chain(members).collect::<Vec<_>>()
        })
    });
    let columns = |first: &[&str], then: &[&str]| {
        let names = first.iter().chain(then);
        names.map(|name| (*name).to_owned()).collect::<Vec<_>>()
    };
    let covered = RecordTable {
        columns: columns(&COVERAGE, &["gaps"]),
        rows: covered.collect(),
    };
    let gaps = RecordTable {
        columns: columns(&["pipeline", "resource"], &GAP),
        rows: gaps.take(GAPS).collect(),
    };
    Ok((Some(covered), Some(gaps)))
}

/// The gaps of a resource.
fn gaps_of(resource: &Value) -> &[Value] {
    let gaps = resource.get("gaps").and_then(Value::as_array);
    gaps.map(Vec::as_slice).unwrap_or_default()
}

/// A member of an object as text; none where it is null, or not there.
fn text(object: &Value, member: &str) -> Option<String> {
    match object.get(member)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
