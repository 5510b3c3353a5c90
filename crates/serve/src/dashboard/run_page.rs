//! Pages that one run answers always alike, and pages of the moment.
//!
//! Invariant: a page of a run is kept and tagged as an answer is, by run, question and scope, and by what it repeats of its address; one of the moment is kept nowhere.

use super::HTML;
use super::question::DashboardQuestion;
use crate::answer::{AnswerNote, FixedQuestion, WantedRun, fixed, live};
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::state::ServerState;
use crate::work::AnswerSink;
use axum::response::Response;
use std::sync::{Arc, OnceLock};
use tillhouse_lake::AsOf;
use tillhouse_page::dashboard::PageView;

/// Text of a page, and the rows that it is of.
pub(super) type MadePage = (String, usize);

/// A page of a run, before it is made.
pub(super) struct RunPage {
    pub(super) question: DashboardQuestion,
    pub(super) wanted: WantedRun,
    /// Name of the page, and what it was asked with in one form.
    pub(super) asked: String,
}

impl RunPage {
    /// A page of the run that its address wants.
    pub(super) fn of(
        state: &ServerState,
        question: DashboardQuestion,
        asked: String,
    ) -> Result<Self, Problem> {
        Ok(Self {
            wanted: WantedRun::of(state, question.as_of())?,
            question,
            asked,
        })
    }

    /// Answers with the page, as it is kept, or as it is made.
    pub(super) async fn answer<F>(
        self,
        state: &Arc<ServerState>,
        note: &mut AnswerNote,
        make: F,
    ) -> Result<Response, Problem>
    where
        F: AsyncFnOnce(&ServerState, &RunSession, PageView) -> Result<MadePage, Problem>
            + Send
            + 'static,
    {
        self.answer_as(state, note, HTML, make).await
    }

    /// The same in another media type.
    pub(super) async fn answer_as<F>(
        self,
        state: &Arc<ServerState>,
        note: &mut AnswerNote,
        media: &'static str,
        make: F,
    ) -> Result<Response, Problem>
    where
        F: AsyncFnOnce(&ServerState, &RunSession, PageView) -> Result<MadePage, Problem>
            + Send
            + 'static,
    {
        let spelling = self.question.spelling();
        let DashboardQuestion {
            caller,
            headers,
            view,
            ..
        } = self.question;
        let question = FixedQuestion {
            caller,
            asked: format!("page {}", self.asked),
            spelling,
            wanted: self.wanted,
            media,
            pages: None,
        };
        fixed(
            state,
            question,
            &headers,
            note,
            async move |state: &ServerState, run: &RunSession, sink: &mut AnswerSink| {
                let view = PageView {
                    run: Some(run.run.clone()),
                    ..view
                };
                let (text, rows) = make(state, run, view).await?;
                sink.count(rows)?;
                sink.write(text.as_bytes()).await;
                Ok(())
            },
        )
        .await
    }
}

/// Answers with a page of the moment, which is made of a session of its own over the newest run; `asked` is its name.
pub(super) async fn answer_now<F>(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    asked: &str,
    note: &mut AnswerNote,
    make: F,
) -> Result<Response, Problem>
where
    F: AsyncFnOnce(&ServerState, &RunSession, PageView) -> Result<MadePage, Problem>
        + Send
        + 'static,
{
    let _ = note.asked.set(format!("page {asked}"));
    let DashboardQuestion { caller, view, .. } = question;
    let asking = caller.clone();
    live(
        state,
        &caller,
        HTML,
        note,
        async move |state: &ServerState, run: &OnceLock<String>, sink: &mut AnswerSink| {
            let opened = Arc::new(state.runs.open(&AsOf::Latest).await?);
            let opened = state.runs.part(&opened, &asking)?;
            let _ = run.set(opened.run.clone());
            let opened: &RunSession = &opened;
            let (text, rows) = make(state, opened, view).await?;
            sink.count(rows)?;
            sink.write(text.as_bytes()).await;
            Ok(())
        },
    )
    .await
}
