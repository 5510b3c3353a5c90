//! With the provider's own statistics: the whole window piece by piece, then what differs hour by hour.
//!
//! Invariant: a difference that shows in an hour is listed there and not once more in the day around it; one that shows in the day
//! alone (the provider contradicts itself, or it is about growth) stays listed with the day.

use super::provider_labels::map_to_common_labels;
use super::{
    ComparedWindow, PipelineReconciliation, ReconcileRequest, nothing_to_compare, request,
};
use crate::config::Pipeline;
use crate::context::RunContext;
use crate::message::interrupted;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, UInt64Type};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;
use std::collections::BTreeSet;
use tillhouse_model::reconcile::{ProviderFigures, ReconcileAgainst, StatisticsPart};
use tillhouse_model::{Error, Result, Window};
use tillhouse_query::{ScalarValue, Session};
use tillhouse_statistics::reconcile::{
    FigureDifference, ReconcileSample, compare as side_by_side, explain,
};
use tillhouse_statistics::{StatisticsRequest, figures};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Most windows that differ, and most in which nothing does, examined for a pattern.
const SAMPLES: usize = 6;
/// Most further requests, made to find the hours of what differs.
const MOST_HOURS: usize = 240;

pub(super) async fn compare(
    context: &RunContext,
    session: &Session,
    pipeline: &Pipeline,
    asked: &ReconcileRequest,
) -> Result<(PipelineReconciliation, Vec<ComparedWindow>)> {
    let mut outcome = PipelineReconciliation::new(&pipeline.name, ReconcileAgainst::Statistics);
    // Statistics are a tenant's own; the provider does not say which there are, the transactions do.
    let tenants = tenants(session, pipeline, asked.window, &mut outcome).await?;
    let windows = asked.window.split(asked.window.from(), asked.step);
    let questions: Vec<StatisticsRequest> = tenants
        .iter()
        .flat_map(|tenant| {
            windows
                .iter()
                .map(move |window| (tenant.as_deref(), *window))
        })
        .map(|(tenant, window)| request(asked, Some(&pipeline.name), tenant, window))
        .collect();
    let samples = ask(context, session, pipeline, asked, questions, &mut outcome).await?;
    for sample in &samples {
        note_silence(sample.request.window, &sample.theirs, &mut outcome);
    }
    let spoken: BTreeSet<StatisticsPart> = samples
        .iter()
        .flat_map(|sample| sample.theirs.parts.iter().copied())
        .collect();
    let silent: Vec<&str> = StatisticsPart::ALL
        .iter()
        .filter(|part| **part != StatisticsPart::Records && !spoken.contains(part))
        .map(|part| part.as_str())
        .collect();
    if !silent.is_empty() {
        outcome.notes.push(format!(
            "The provider says nothing about {}: not compared.",
            silent.join(", ")
        ));
        outcome.parts_not_compared = silent;
    }
    let mut compared: Vec<ComparedWindow> = Vec::new();
    let (mut differing, mut agreeing) = (Vec::new(), Vec::new());
    for sample in samples {
        let found = side_by_side(&sample.ours, &sample.theirs);
        let differs = !found.differences.is_empty();
        compared.push(ComparedWindow::of(
            sample.request.window,
            sample.request.tenant.clone(),
            found,
        ));
        if differs {
            differing.push(sample);
        } else {
            agreeing.push(sample);
        }
    }
    if !differing.is_empty() {
        outcome.findings = explain(session, &some_of(&differing), &some_of(&agreeing)).await?;
    }
    // Where another definition is at work every hour differs, and looking at each shows nothing new.
    if outcome.findings.is_empty() {
        refine(
            context,
            session,
            pipeline,
            asked,
            &differing,
            &mut compared,
            &mut outcome,
        )
        .await?;
    }
    Ok((outcome, compared))
}

/// Notes an answer that names none of the parts: nothing of its window is compared. One without an entry speaks of every part, and has none.
fn note_silence(window: Window, theirs: &ProviderFigures, outcome: &mut PipelineReconciliation) {
    if theirs.parts.is_empty() {
        outcome.leave_out(
            1,
            format!(
                "The provider's statistics of {window} name no figure that is known: nothing of that window was compared. The log \
                 has what they name."
            ),
        );
    }
}

/// The samples that are examined for a pattern, evenly from all.
fn some_of(samples: &[ReconcileSample]) -> Vec<ReconcileSample> {
    let spread = samples.len().div_ceil(SAMPLES).max(1);
    samples.iter().step_by(spread).cloned().collect()
}

/// The tenants that a pipeline's transactions name.
async fn tenants(
    session: &Session,
    pipeline: &Pipeline,
    window: Window,
    outcome: &mut PipelineReconciliation,
) -> Result<Vec<Option<String>>> {
    if !session.has_table("unified", "transactions").await? {
        return Err(nothing_to_compare());
    }
    let at = |t: jiff::Timestamp| {
        ScalarValue::TimestampMicrosecond(Some(t.as_microsecond()), Some("UTC".into()))
    };
    let params = [
        ("pipeline", ScalarValue::from(pipeline.name.as_str())),
        ("from", at(window.from())),
        ("to", at(window.to())),
    ];
    let sql = "SELECT tenant_id, count(*) FILTER (WHERE occurred_at >= $from AND occurred_at < $to) AS asked
               FROM unified.transactions WHERE pipeline = $pipeline GROUP BY tenant_id ORDER BY tenant_id";
    let batches = tillhouse_query::collect(session.query_with(sql, &params).await?).await?;
    let (mut tenants, mut without) = (Vec::new(), 0);
    for batch in &batches {
        let of_type =
            |e| Error::internal("tenants are not text, or their counts no numbers").because(e);
        let names = arrow::compute::cast(batch.column(0), &DataType::Utf8).map_err(of_type)?;
        let counts = arrow::compute::cast(batch.column(1), &DataType::UInt64).map_err(of_type)?;
        for (tenant, asked) in names
            .as_string::<i32>()
            .iter()
            .zip(counts.as_primitive::<UInt64Type>())
        {
            match tenant {
                Some(tenant) => tenants.push(Some(tenant.to_owned())),
                None => without += asked.unwrap_or(0),
            }
        }
    }
    if without > 0 {
        let note = format!(
            "{without} transactions without a tenant are not compared: the provider wants one named."
        );
        outcome.leave_out(without, note);
    }
    if tenants.is_empty() {
        Err(nothing_to_compare())
    } else {
        Ok(tenants)
    }
}

/// Asks both sides. The provider is asked as many questions at once as the pipeline allows.
async fn ask(
    context: &RunContext,
    session: &Session,
    pipeline: &Pipeline,
    asked: &ReconcileRequest,
    questions: Vec<StatisticsRequest>,
    outcome: &mut PipelineReconciliation,
) -> Result<Vec<ReconcileSample>> {
    let filter = asked.filter.as_ref().map(|filter| &filter.asked);
    let asking = stream::iter(questions).map(|request| async move {
        let theirs = tokio::select! {
            biased;
            () = context.cancel.cancelled() => return Err(interrupted()),
            evidence = pipeline.source.provider_figures(request.tenant.as_deref(), request.window, filter) => evidence,
        };
        let theirs = theirs.map_err(|e| e.at("window", request.window.to_string()))?;
        let found = figures(session, &request).await?;
        let ours = found.data.iter().flat_map(|entry| entry.figures()).collect();
        Ok(ReconcileSample { ours, free: found.free_transactions, theirs, request })
    });
    let mut samples: Vec<ReconcileSample> =
        asking.buffered(pipeline.concurrency).try_collect().await?;
    for sample in &mut samples {
        outcome.words.note(&pipeline.labels, &sample.theirs.figures);
        map_to_common_labels(&pipeline.labels, &mut sample.ours);
        map_to_common_labels(&pipeline.labels, &mut sample.theirs.figures);
    }
    Ok(samples)
}

/// Looks for the hours of what differs.
async fn refine(
    context: &RunContext,
    session: &Session,
    pipeline: &Pipeline,
    asked: &ReconcileRequest,
    differing: &[ReconcileSample],
    compared: &mut Vec<ComparedWindow>,
    outcome: &mut PipelineReconciliation,
) -> Result<()> {
    let mut questions: Vec<StatisticsRequest> = Vec::new();
    for sample in differing
        .iter()
        .filter(|sample| sample.request.window.duration() > HOUR)
    {
        let hours = hours(sample);
        if questions.len() + hours.len() > MOST_HOURS {
            outcome.notes.push(format!(
                "More differs than was looked into hour by hour; narrow --from and --to to see the hours after {}.",
                sample.request.window.from()
            ));
            break;
        }
        questions.extend(hours.into_iter().map(|window| StatisticsRequest {
            window,
            ..sample.request.clone()
        }));
    }
    let mut found: Vec<ComparedWindow> = Vec::new();
    for sample in ask(context, session, pipeline, asked, questions, outcome).await? {
        let hour = side_by_side(&sample.ours, &sample.theirs);
        let differences: Vec<FigureDifference> = hour
            .differences
            .into_iter()
            .filter(|difference| !difference.part.is_growth())
            .collect();
        if !differences.is_empty() {
            let (window, tenant) = (sample.request.window, sample.request.tenant);
            // A figure without a number in an hour had none in the day.
            found.push(ComparedWindow {
                window,
                tenant,
                figures: hour.figures,
                not_compared: 0,
                differences,
            });
        }
    }
    for day in compared.iter_mut() {
        let within = |hour: &&ComparedWindow| {
            hour.tenant == day.tenant && day.window.intersection(&hour.window).is_some()
        };
        let hours: Vec<&ComparedWindow> = found.iter().filter(within).collect();
        day.differences.retain(|of_day| {
            let same = |of_hour: &FigureDifference| {
                (
                    of_hour.part,
                    &of_hour.currency,
                    &of_hour.unit,
                    &of_hour.label,
                ) == (of_day.part, &of_day.currency, &of_day.unit, &of_day.label)
            };
            !hours.iter().any(|hour| hour.differences.iter().any(same))
        });
    }
    // A day of which nothing is left to say is not equal: its hours follow it.
    compared.retain(|day| {
        let within = |hour: &ComparedWindow| {
            hour.tenant == day.tenant && day.window.intersection(&hour.window).is_some()
        };
        !day.differences.is_empty() || !found.iter().any(within)
    });
    compared.extend(found);
    compared.sort_by(|a, b| (&a.tenant, a.window).cmp(&(&b.tenant, b.window)));
    Ok(())
}

/// The hours of a window to look at: those whose counts differ, or where all counts agree every one with sales.
fn hours(sample: &ReconcileSample) -> Vec<Window> {
    let labelled = |label: &str| {
        let from: jiff::Timestamp = label.parse().ok()?;
        Window::new(from, from.checked_add(HOUR).ok()?)
            .ok()?
            .intersection(&sample.request.window)
    };
    let differing: BTreeSet<Window> = side_by_side(&sample.ours, &sample.theirs)
        .differences
        .iter()
        .filter(|difference| difference.part == StatisticsPart::Hours)
        .filter_map(|difference| labelled(difference.label.as_deref()?))
        .collect();
    if !differing.is_empty() {
        return differing.into_iter().collect();
    }
    let ours = sample
        .ours
        .iter()
        .filter(|figure| figure.part == StatisticsPart::Hours);
    let all: BTreeSet<Window> = ours
        .filter_map(|figure| labelled(figure.label.as_deref()?))
        .collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::ReconcileVerdict;
    use super::*;

    #[test]
    fn an_answer_that_names_no_figure_compares_nothing() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let window = Window::new(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z")).unwrap();
        let of_all = ProviderFigures {
            parts: [StatisticsPart::Count].into(),
            figures: Vec::new(),
        };
        for (theirs, is_empty) in [(ProviderFigures::default(), false), (of_all, true)] {
            let mut outcome = PipelineReconciliation::new("till", ReconcileAgainst::Statistics);
            note_silence(window, &theirs, &mut outcome);
            outcome.set_verdict(true);
            assert_eq!(
                matches!(outcome.verdict, ReconcileVerdict::Empty),
                is_empty,
                "{:?}",
                outcome.notes
            );
            assert_eq!(outcome.notes.is_empty(), is_empty);
        }
    }
}
