//! The page on what was restated since an earlier run, and that run.
//!
//! Invariant: both runs are published ones, each seen as whoever asks may see it; without a choice it is compared with the last run before the day began, on the clock of the view, in which
//! the question came, or an earlier run that is shown finished.

use super::pages::site_zones;
use super::period::today;
use super::question::DashboardQuestion;
use super::row_texts::rows_of;
use super::run_page::RunPage;
use crate::answer::AnswerNote;
use crate::api::statistics::{names_of, request_over};
use crate::callers::Caller;
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::state::ServerState;
use axum::response::Response;
use futures::try_join;
use jiff::Timestamp;
use std::sync::Arc;
use tillhouse_lake::AsOf;
use tillhouse_model::Window;
use tillhouse_page::dashboard::{self as page, PageView, RecordTable, RestatedPage};
use tillhouse_query::{ScalarValue, Session};
use tillhouse_statistics::restated::RestatedReport;
use tillhouse_statistics::{StatisticsRequest, find_restatements_seen, parse_instant};

/// Most transactions that are listed.
const LISTED: usize = 200;
/// Most runs that are offered to compare with.
const RUNS: usize = 20;

/// The run that another is compared with.
pub(super) enum EarlierRun {
    /// One by its id.
    Named(String),
    /// The last that had finished by a time.
    By(Timestamp),
    /// The last that had finished before the day in which the shown run did.
    BeforeItsDay,
}

impl EarlierRun {
    /// The run that a question compares with.
    pub(super) fn of(state: &ServerState, question: &DashboardQuestion) -> Result<Self, Problem> {
        let timezone = &question.view.timezone;
        Ok(match (question.since(), question.as_of()) {
            (Some(text), _) => match parse_instant(text, timezone) {
                Ok(time) => Self::By(time),
                Err(_) => Self::Named(text.to_owned()),
            },
            (None, None) => Self::By(day_start(state.served.warehouse.now(), timezone)?),
            (None, Some(_)) => Self::BeforeItsDay,
        })
    }

    /// What an answer is kept under.
    pub(super) fn canonical(&self) -> String {
        match self {
            Self::Named(run) => format!("since run {run:?}"),
            Self::By(time) => format!("since {time}"),
            Self::BeforeItsDay => "since the day before".to_owned(),
        }
    }
}

/// Start of the day that it is in a zone.
fn day_start(at: Timestamp, timezone: &str) -> Result<Timestamp, Problem> {
    Ok(parse_instant(&today(at, timezone).to_string(), timezone)?)
}

/// Request for all sales of those whom a question is about.
pub(super) fn request_of(question: &DashboardQuestion) -> Result<StatisticsRequest, Problem> {
    let always = Window::new(Timestamp::MIN, Timestamp::MAX)?;
    Ok(request_over(&question.whose(), always))
}

/// What changed since an earlier run; none where nothing had been published by the time that is compared with.
///
/// Errors with 400 where there is no run of the name, and where the earlier run is the later one.
pub(super) async fn changes(
    state: &ServerState,
    (caller, view): (&Caller, &PageView),
    run: &RunSession,
    since: &EarlierRun,
    request: &StatisticsRequest,
    most: usize,
) -> Result<Option<RestatedReport>, Problem> {
    let at = match since {
        EarlierRun::Named(run) => AsOf::Run(run.clone()),
        EarlierRun::By(time) => AsOf::Time(*time),
        EarlierRun::BeforeItsDay => AsOf::Time(day_start(run.finished_at, &view.timezone)?),
    };
    let warehouse = &state.served.warehouse;
    let Some(earlier) = warehouse.ops().published(&at).await? else {
        return match since {
            EarlierRun::Named(run) => Err(Problem::bad_request(format!(
                "there is no published run {run:?}"
            ))
            .hint("The page on what was restated lists the last runs.")),
            _ => Ok(None),
        };
    };
    let earlier = state.runs.at(Some(&earlier.run_id)).await?;
    let earlier = state.runs.part(&earlier, caller)?;
    let both = state.runs.empty(caller)?;
    let sessions = (&earlier.session, &run.session);
    let report = find_restatements_seen(both, warehouse, sessions, request, most);
    let names = names_of(request);
    let looked_up = names.check(&run.session);
    let (report, ()) = try_join!(report, looked_up)?;
    Ok(Some(report))
}

/// The published runs up to one, the newest first.
async fn runs(session: &Session, run: &RunSession) -> Result<RecordTable, Problem> {
    let sql = format!(
        "SELECT run_id, finished_at, command FROM ops.runs WHERE published AND finished_at < $finished ORDER BY finished_at DESC, run_id DESC LIMIT {RUNS}"
    );
    let finished = run.finished_at.as_microsecond();
    let finished = ScalarValue::TimestampMicrosecond(Some(finished), Some("UTC".into()));
    rows_of(session, &sql, &[("finished", finished)]).await
}

/// The page on what was restated.
pub(super) async fn restated(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let (request, since) = (request_of(&question)?, EarlierRun::of(state, &question)?);
    let whose = question.whose().canonical();
    let asked = format!("restated {} {whose}", since.canonical());
    let caller = question.caller.clone();
    let page = RunPage::of(state, question, asked)?;
    page.answer(
        state,
        note,
        async move |state: &ServerState, run: &RunSession, view: PageView| {
            let changes = changes(state, (&caller, &view), run, &since, &request, LISTED);
            let (report, runs, site_zones) =
                try_join!(changes, runs(&run.session, run), site_zones(&run.session))?;
            let page = RestatedPage {
                report,
                runs,
                site_zones,
            };
            let rows = page.report.as_ref();
            let rows = rows.map_or(0, |report| report.days.len() + report.transactions.len());
            Ok((page::restated(&view, &page), rows))
        },
    )
    .await
}
