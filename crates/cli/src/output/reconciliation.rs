//! Result of a reconciliation, as tables and CSV.
//!
//! Invariant: where nothing differs that is said as well, with how much was compared and how much was not. `all equal` stands nowhere but
//! beside [`ReconcileVerdict::Equal`].

use crate::output::{CsvStyle, TextTable};
use tillhouse_model::ExactDecimal;
use tillhouse_model::money::format_amount;
use tillhouse_model::reconcile::StatisticsPart;
use tillhouse_pipeline::{
    PipelineReconciliation, ReconcileVerdict, Reconciliation, ReportedDifference,
};

/// Number of transactions that a row of the table names.
const SHOWN: usize = 3;

/// One paragraph a pipeline.
pub(crate) fn text(done: &Reconciliation) -> String {
    done.pipelines
        .iter()
        .map(outcome)
        .collect::<Vec<_>>()
        .join("\n")
}

fn outcome(outcome: &PipelineReconciliation) -> String {
    let mut text = format!(
        "{}, compared with {}. {}\n",
        outcome.pipeline,
        outcome.yardstick.as_str(),
        outcome.proves
    );
    if !outcome.differences.is_empty() {
        let mut table = TextTable::new();
        table.set_header([
            "window",
            "part",
            "label",
            "ours",
            "theirs",
            "difference",
            "transactions to look at",
        ]);
        for difference in &outcome.differences {
            let line = |text: String| vec![text];
            table.add_row_of_lines([
                window(difference),
                line(difference.part.to_owned()),
                line(label(difference)),
                line(number(difference, difference.ours)),
                line(number(difference, difference.theirs)),
                line(number(difference, difference.difference)),
                transactions(difference),
            ]);
        }
        table.align_numbers(3..6);
        text.push_str(&format!("{table}\n"));
    }
    for finding in &outcome.findings {
        text.push_str(&format!(
            "A definition differs ({}): {}\n",
            finding.definition, finding.text
        ));
    }
    for note in &outcome.notes {
        text.push_str(&format!("Note: {note}\n"));
    }
    text.push_str(&verdict(outcome));
    text.push('\n');
    text
}

/// The last line: what the comparison comes to.
fn verdict(outcome: &PipelineReconciliation) -> String {
    let PipelineReconciliation {
        figures,
        windows,
        not_compared,
        ..
    } = outcome;
    let left_out = match not_compared {
        0 => String::new(),
        1 => "; 1 was not compared, see the notes".to_owned(),
        many => format!("; {many} were not compared, see the notes"),
    };
    let silent = match outcome.parts_not_compared.len() {
        0 => "",
        _ => ", but for the parts that the provider says nothing about",
    };
    match outcome.verdict {
        ReconcileVerdict::Equal => {
            format!("{figures} figures in {windows} windows: all equal{silent}")
        }
        ReconcileVerdict::Empty => format!("0 figures in {windows} windows: neither side has any"),
        ReconcileVerdict::Different => {
            format!(
                "{figures} figures in {windows} windows: {} differ{left_out}",
                outcome.differences.len()
            )
        }
        ReconcileVerdict::Incomplete if *figures > 0 => {
            format!("{figures} figures in {windows} windows: what was compared is equal{left_out}")
        }
        ReconcileVerdict::Incomplete => {
            format!("0 figures in {windows} windows: nothing was compared{left_out}")
        }
    }
}

fn window(difference: &ReportedDifference) -> Vec<String> {
    let mut lines = vec![
        difference.window.from().to_string(),
        difference.window.to().to_string(),
    ];
    lines.extend(difference.tenant.clone());
    lines
}

/// The first few: keys are long.
fn transactions(difference: &ReportedDifference) -> Vec<String> {
    let mut lines: Vec<String> = difference
        .transactions
        .iter()
        .take(SHOWN)
        .cloned()
        .collect();
    let more = difference.transactions.len().saturating_sub(SHOWN);
    lines.extend((more > 0).then(|| format!("and {more} more: --format json")));
    lines
}

/// Currency, unit and label, as far as there are any.
fn label(difference: &ReportedDifference) -> String {
    let parts = [&difference.currency, &difference.unit, &difference.label];
    parts
        .into_iter()
        .flatten()
        .cloned()
        .collect::<Vec<_>>()
        .join(" ")
}

/// One of its figures; amounts have their currency's digits.
fn number(difference: &ReportedDifference, value: Option<ExactDecimal>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let is_amount = StatisticsPart::ALL
        .iter()
        .any(|part| part.as_str() == difference.part && part.is_amount());
    match (&difference.currency, is_amount) {
        (Some(currency), true) => format_amount(value, currency),
        _ => value.trimmed().to_string(),
    }
}

/// Parts of an answer that the lines of CSV have no room for: notes, and what each comparison comes to.
pub(crate) fn remarks(done: &Reconciliation) -> String {
    let of = |outcome: &PipelineReconciliation| {
        let notes = outcome
            .notes
            .iter()
            .map(|note| format!("{}: {note}\n", outcome.pipeline));
        notes.collect::<String>() + &format!("{}: {}", outcome.pipeline, verdict(outcome))
    };
    done.pipelines.iter().map(of).collect::<Vec<_>>().join("\n")
}

/// One line a difference.
pub(crate) fn csv(done: &Reconciliation, style: CsvStyle) -> String {
    let mut text = String::from(
        "pipeline,yardstick,from,to,tenant,part,currency,unit,label,ours,theirs,difference,transactions\n",
    );
    for outcome in &done.pipelines {
        for d in &outcome.differences {
            let own = |text: &Option<String>| style.cell(text.as_deref().unwrap_or_default());
            let number = |value: Option<ExactDecimal>| {
                value
                    .map(|value| value.trimmed().to_string())
                    .unwrap_or_default()
            };
            let cells = [
                style.cell(&outcome.pipeline),
                outcome.yardstick.as_str().to_owned(),
                d.window.from().to_string(),
                d.window.to().to_string(),
                own(&d.tenant),
                d.part.to_owned(),
                own(&d.currency),
                own(&d.unit),
                own(&d.label),
                number(d.ours),
                number(d.theirs),
                number(d.difference),
                style.cell(&d.transactions.join(" ")),
            ];
            text.push_str(&cells.join(","));
            text.push('\n');
        }
    }
    text
}
