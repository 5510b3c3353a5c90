//! Day by day: with the revenue a provider sums up itself, or with somebody else's control totals.
//!
//! Invariant: days outside the window asked for are not compared. Within it a provider's summary speaks of every day; a control file
//! speaks of the days from its first to its last, and one in between that it leaves out sold nothing.

use super::{ComparedWindow, PipelineReconciliation, ReconcileRequest, request};
use crate::config::Pipeline;
use crate::context::RunContext;
use crate::message::interrupted;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::reconcile::{
    ProviderFigure, ProviderFigures, ReconcileAgainst, StatisticsPart,
};
use tillhouse_model::time_zone::time_zone;
use tillhouse_model::{Error, Result, Window};
use tillhouse_query::Session;
use tillhouse_statistics::reconcile::{
    ControlTotal, DefinitionFinding, compare as side_by_side, own_totals,
};

/// States that somebody else may count, beside the ones that were asked for.
const STATE_SETS: [&[&str]; 4] = [
    &["completed"],
    &["completed", "consumed"],
    &["completed", "consumed", "pending"],
    &[
        "completed",
        "consumed",
        "pending",
        "created",
        "declined",
        "error",
    ],
];

type OwnDailyFigures = BTreeMap<Date, Vec<ProviderFigure>>;
type ReferenceDailyFigures = BTreeMap<Date, ProviderFigures>;

/// Compares one pipeline with its provider's summary of revenue.
pub(super) async fn with_revenue(
    context: &RunContext,
    session: &Session,
    pipeline: &Pipeline,
    asked: &ReconcileRequest,
) -> Result<(PipelineReconciliation, Vec<ComparedWindow>)> {
    let mut outcome = PipelineReconciliation::new(&pipeline.name, ReconcileAgainst::Revenue);
    let said = tokio::select! {
        biased;
        () = context.cancel.cancelled() => return Err(interrupted()),
        evidence = pipeline.source.provider_figures(None, asked.window, asked.filter.as_ref().map(|filter| &filter.asked)) => evidence?,
    };
    let (from, to) = dates(asked, &mut outcome);
    let mut theirs = ReferenceDailyFigures::new();
    let mut day = from;
    while day < to {
        theirs.insert(
            day,
            ProviderFigures {
                parts: said.parts.clone(),
                figures: Vec::new(),
            },
        );
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    for figure in said.figures {
        let day = figure
            .label
            .as_deref()
            .and_then(|label| label.parse::<Date>().ok());
        if let Some(of_day) = day.and_then(|day| theirs.get_mut(&day)) {
            of_day.figures.push(ProviderFigure {
                label: None,
                ..figure
            });
        }
    }
    let compared = compare(session, &[&pipeline.name], asked, &theirs, &mut outcome).await?;
    Ok((outcome, compared))
}

/// Compares pipelines, added up, with control totals.
pub(super) async fn with_control(
    session: &Session,
    pipelines: &[Pipeline],
    asked: &ReconcileRequest,
    totals: &[ControlTotal],
) -> Result<(PipelineReconciliation, Vec<ComparedWindow>)> {
    let names: Vec<&str> = pipelines
        .iter()
        .map(|pipeline| pipeline.name.as_str())
        .collect();
    let mut outcome = PipelineReconciliation::new(&names.join("+"), ReconcileAgainst::Control);
    let (from, to) = dates(asked, &mut outcome);
    let is_asked = |day: Date| from <= day && day < to;
    let left_out = totals.iter().filter(|total| !is_asked(total.day)).count();
    if left_out == totals.len() {
        return Err(
            Error::config("no day of the control file lies between --from and --to").hint(format!(
                "Asked for are the days from {from} to {to}, which is not included."
            )),
        );
    }
    if left_out > 0 {
        outcome.notes.push(format!(
            "Days of the control file that lie outside --from and --to: {left_out}."
        ));
    }
    let mut theirs: ReferenceDailyFigures = totals
        .iter()
        .filter(|total| is_asked(total.day))
        .map(|total| (total.day, total.figures.clone()))
        .collect();
    let parts: BTreeSet<StatisticsPart> = theirs
        .values()
        .flat_map(|said| said.parts.iter().copied())
        .collect();
    let ends = theirs
        .keys()
        .next()
        .copied()
        .zip(theirs.keys().next_back().copied());
    if let Some((mut day, last)) = ends {
        let days = |from: Date, to: Date| {
            u64::try_from(to.duration_since(from).as_hours() / 24).unwrap_or(0)
        };
        let beyond = days(from, day) + days(last, to).saturating_sub(1);
        if beyond > 0 {
            let note = format!(
                "{beyond} days between --from and --to lie before the control file's first day or after its last: not compared."
            );
            outcome.leave_out(beyond, note);
        }
        while day <= last {
            theirs.entry(day).or_default().parts.clone_from(&parts);
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
    }
    let compared = compare(session, &names, asked, &theirs, &mut outcome).await?;
    Ok((outcome, compared))
}

/// The first day asked for and the first that is not. A last day that is asked for in part is left out.
fn dates(asked: &ReconcileRequest, outcome: &mut PipelineReconciliation) -> (Date, Date) {
    let zone = asked
        .timezone
        .as_deref()
        .and_then(time_zone)
        .unwrap_or(TimeZone::UTC);
    let of = |instant: jiff::Timestamp| instant.to_zoned(zone.clone()).datetime();
    let (from, to) = (of(asked.window.from()), of(asked.window.to()));
    if to.time() != Time::midnight() {
        outcome.leave_out(
            1,
            format!(
                "{} is not over by the end of the window: not compared.",
                to.date()
            ),
        );
    }
    (from.date(), to.date())
}

async fn compare(
    session: &Session,
    pipelines: &[&str],
    asked: &ReconcileRequest,
    theirs: &ReferenceDailyFigures,
    outcome: &mut PipelineReconciliation,
) -> Result<Vec<ComparedWindow>> {
    let ours = own(session, pipelines, asked, asked.timezone.as_deref()).await?;
    let compared = days(&ours, theirs);
    if compared.iter().any(|day| !day.differences.is_empty()) {
        outcome.findings = explain(session, pipelines, asked, theirs).await?;
    }
    Ok(compared)
}

async fn own(
    session: &Session,
    pipelines: &[&str],
    asked: &ReconcileRequest,
    zone: Option<&str>,
) -> Result<OwnDailyFigures> {
    let mut days = OwnDailyFigures::new();
    for pipeline in pipelines {
        let request = request(asked, Some(pipeline), None, asked.window);
        for (day, figures) in own_totals(session, &request, zone).await? {
            days.entry(day).or_default().extend(figures);
        }
    }
    Ok(days)
}

fn days(ours: &OwnDailyFigures, theirs: &ReferenceDailyFigures) -> Vec<ComparedWindow> {
    let compared = theirs.iter().filter_map(|(day, said)| {
        let found = side_by_side(ours.get(day).map(Vec::as_slice).unwrap_or_default(), said);
        let start = |day: Date| day.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
        let window = Window::new(start(*day).ok()?, start(day.tomorrow().ok()?).ok()?).ok()?;
        Some(ComparedWindow::of(window, None, found))
    });
    compared.collect()
}

/// Looks for other states, or another clock, under which every day would agree.
async fn explain(
    session: &Session,
    pipelines: &[&str],
    asked: &ReconcileRequest,
    theirs: &ReferenceDailyFigures,
) -> Result<Vec<DefinitionFinding>> {
    let agrees = |ours: &OwnDailyFigures| {
        days(ours, theirs)
            .iter()
            .all(|day| day.differences.is_empty())
    };
    let finding = |definition: &str, text: String| DefinitionFinding {
        definition: definition.into(),
        text,
        windows: theirs.len(),
    };
    for states in STATE_SETS {
        let states: Vec<String> = states.iter().map(|state| (*state).to_owned()).collect();
        let text = format!(
            "The other side counts transactions in state {}.",
            states.join(", ")
        );
        let other = ReconcileRequest {
            states,
            ..asked.clone()
        };
        if agrees(&own(session, pipelines, &other, asked.timezone.as_deref()).await?) {
            return Ok(vec![finding("states", text)]);
        }
    }
    let clocks = [(None, "on every site's own clock"), (Some("UTC"), "in UTC")];
    for (zone, text) in clocks
        .into_iter()
        .filter(|(zone, _)| *zone != asked.timezone.as_deref())
    {
        if agrees(&own(session, pipelines, asked, zone).await?) {
            return Ok(vec![finding(
                "clock",
                format!("The other side cuts its days {text}."),
            )]);
        }
    }
    Ok(Vec::new())
}
