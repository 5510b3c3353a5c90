//! The page on sites and devices that fell silent, and what the first view says of them and of restatement.
//!
//! Invariant: the first view asks for these lines by themselves, when it is there: neither depends on its period, and both are kept with their run.

use super::pages::{of_places, site_names, site_zones};
use super::question::DashboardQuestion;
use super::restated::{EarlierRun, changes, request_of};
use super::run_page::RunPage;
use crate::answer::AnswerNote;
use crate::api::statistics::names_of;
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::state::ServerState;
use axum::response::Response;
use futures::try_join;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_page::dashboard::{
    self as page, PageView, RESTATED_NOTICE, SILENCE_NOTICE, SilencePage,
};
use tillhouse_query::Session;
use tillhouse_statistics::{PlaceKind, SilenceReport, StatisticsRequest, find_silence};

/// Most devices whose names are read.
const DEVICES: usize = 20_000;

/// The places of a kind that fell silent.
async fn silent(
    state: &ServerState,
    run: &RunSession,
    request: &StatisticsRequest,
    kind: PlaceKind,
) -> Result<SilenceReport, Problem> {
    let warehouse = &state.served.warehouse;
    Ok(find_silence(&run.session, warehouse, request, kind).await?)
}

/// A column of the devices, by key.
async fn of_devices(session: &Session, column: &str) -> Result<BTreeMap<String, String>, Problem> {
    of_places(session, ("devices", "device_key"), column, DEVICES).await
}

/// The page on places that fell silent.
pub(super) async fn silence(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let request = request_of(&question)?;
    let asked = format!("silent {}", question.whose().canonical());
    let page = RunPage::of(state, question, asked)?;
    page.answer(
        state,
        note,
        async move |state: &ServerState, run: &RunSession, view: PageView| {
            let names = names_of(&request);
            let looked_up = async { Ok::<_, Problem>(names.check(&run.session).await?) };
            let ((), sites, devices, site_names, site_zones, device_names, device_sites) = try_join!(
                looked_up,
                silent(state, run, &request, PlaceKind::Site),
                silent(state, run, &request, PlaceKind::Device),
                site_names(&run.session),
                site_zones(&run.session),
                of_devices(&run.session, "name"),
                of_devices(&run.session, "site_key"),
            )?;
            let page = SilencePage {
                sites,
                devices,
                site_names,
                site_zones,
                device_names,
                device_sites,
            };
            let rows = page.sites.places.len() + page.devices.places.len();
            Ok((page::silence(&view, &page), rows))
        },
    )
    .await
}

/// The document with what the first view says of silence and restatement: texts by the name of their notice, null where there is nothing to say.
pub(super) async fn notices(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let (request, since) = (request_of(&question)?, EarlierRun::of(state, &question)?);
    let whose = question.whose().canonical();
    let asked = format!("notices {} {whose}", since.canonical());
    let caller = question.caller.clone();
    let page = RunPage::of(state, question, asked)?;
    page.answer_as(
        state,
        note,
        "application/json",
        async move |state: &ServerState, run: &RunSession, view: PageView| {
            let changes = changes(state, (&caller, &view), run, &since, &request, 0);
            let (report, sites, devices) = try_join!(
                changes,
                silent(state, run, &request, PlaceKind::Site),
                silent(state, run, &request, PlaceKind::Device),
            )?;
            let restated = report.map(|report| page::restated_line(&view, &report));
            let silence = page::silence_line(&view, sites.places.len(), devices.places.len());
            let said = serde_json::json!({ RESTATED_NOTICE: restated, SILENCE_NOTICE: silence });
            Ok((said.to_string(), 1))
        },
    )
    .await
}
