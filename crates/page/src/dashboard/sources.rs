//! The health of the sources: how fresh each is, what was not read, what was refused, what was not expected, and the last runs.
//!
//! Invariant: it is of the moment that it was asked in, and says of what a reader may not see that it is not shown.

use super::document::{PageView, document};
use super::record_table::{ColumnForm, RecordTable, duration, record_table};
use crate::html::Html;
use jiff::Timestamp;

/// The newest published run of the warehouse, or of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PipelineFreshness {
    /// None for the warehouse.
    pub pipeline: Option<String>,
    /// None where nothing was ever published.
    pub finished_at: Option<Timestamp>,
    /// Seconds since then.
    pub age_seconds: Option<i64>,
}

/// The health of the sources. A table that is none may not be seen by whoever asks.
#[derive(Debug, Clone, Default)]
pub struct SourcesPage {
    /// The warehouse first, then the pipelines.
    pub freshness: Vec<PipelineFreshness>,
    /// Coverage of every resource.
    pub coverage: Option<RecordTable>,
    /// Stretches of time that were never read.
    pub gaps: Option<RecordTable>,
    /// The last runs, the newest first.
    pub runs: Option<RecordTable>,
    /// Open rejects, by pipeline, resource and field.
    pub rejects: Option<RecordTable>,
    /// Fields that no contract knows.
    pub drift: Option<RecordTable>,
}

/// The page on the health of the sources.
pub fn sources(view: &PageView, page: &SourcesPage) -> String {
    let words = view.words();
    document(view, words.source_health, |html| {
        let freshness = freshness(view, &page.freshness);
        let columns = [
            ("pipeline", words.pipeline, ColumnForm::Plain),
            ("finished_at", words.newest_run, ColumnForm::Instant),
            ("age", words.age, ColumnForm::Plain),
        ];
        record_table(html, view, words.freshness, &columns, &freshness, |_| None);
        let columns = [
            ("pipeline", words.pipeline, ColumnForm::Plain),
            ("resource", words.resource, ColumnForm::Plain),
            ("data_through", words.read_until, ColumnForm::Instant),
            ("last_read", words.last_read, ColumnForm::Instant),
            ("gaps", words.gaps, ColumnForm::Number),
            ("open_rejects", words.rejects, ColumnForm::Number),
        ];
        seen(html, view, words.coverage, &columns, page.coverage.as_ref());
        let columns = [
            ("pipeline", words.pipeline, ColumnForm::Plain),
            ("resource", words.resource, ColumnForm::Plain),
            ("tenant", words.tenant, ColumnForm::Plain),
            ("from", words.from, ColumnForm::Instant),
            ("to", words.to, ColumnForm::Instant),
        ];
        seen(html, view, words.gaps, &columns, page.gaps.as_ref());
        let columns = [
            ("finished_at", words.finished, ColumnForm::Instant),
            ("command", words.command, ColumnForm::Plain),
            ("outcome", words.outcome, ColumnForm::Plain),
            ("took", words.took, ColumnForm::Plain),
            ("published", words.published, ColumnForm::Plain),
            ("run_id", words.run, ColumnForm::Plain),
        ];
        let runs = page.runs.as_ref().map(with_duration);
        seen(html, view, words.last_runs, &columns, runs.as_ref());
        let columns = [
            ("pipeline", words.pipeline, ColumnForm::Plain),
            ("resource", words.resource, ColumnForm::Plain),
            ("field", words.field, ColumnForm::Plain),
            ("records", words.records, ColumnForm::Number),
            ("last_seen", words.last_seen, ColumnForm::Instant),
        ];
        seen(
            html,
            view,
            words.open_rejects,
            &columns,
            page.rejects.as_ref(),
        );
        let columns = [
            ("pipeline", words.pipeline, ColumnForm::Plain),
            ("resource", words.resource, ColumnForm::Plain),
            ("field", words.field, ColumnForm::Plain),
            ("last_seen", words.last_seen, ColumnForm::Instant),
        ];
        seen(html, view, words.drift, &columns, page.drift.as_ref());
    })
}

/// Adds a table, or that it is empty, or that it is not shown.
fn seen(
    html: &mut Html,
    view: &PageView,
    title: &str,
    columns: &[(&'static str, &str, ColumnForm)],
    table: Option<&RecordTable>,
) {
    let words = view.words();
    match table {
        Some(table) if !table.is_empty() => {
            record_table(html, view, title, columns, table, |_| None);
        }
        other => {
            html.leaf("h2", &[], title);
            let said = match other {
                Some(_) => words.none,
                None => words.not_shown,
            };
            html.leaf("p", &[("class", "note")], said);
        }
    }
}

fn freshness(view: &PageView, pipelines: &[PipelineFreshness]) -> RecordTable {
    let words = view.words();
    let rows = pipelines.iter().map(|of| {
        vec![
            Some(
                of.pipeline
                    .clone()
                    .unwrap_or_else(|| words.warehouse.to_owned()),
            ),
            of.finished_at.map(|at| at.to_string()),
            Some(
                of.age_seconds
                    .map_or_else(|| words.never.to_owned(), duration),
            ),
        ]
    });
    RecordTable {
        columns: ["pipeline", "finished_at", "age"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
    }
}

/// The runs with the time that each took.
fn with_duration(runs: &RecordTable) -> RecordTable {
    let mut table = runs.clone();
    table.columns.push("took".to_owned());
    for (row, values) in table.rows.iter_mut().enumerate() {
        let at = |column: &str| runs.value(row, column)?.parse::<Timestamp>().ok();
        let ends = at("started_at").zip(at("finished_at"));
        values.push(ends.map(|(start, end)| duration(end.duration_since(start).as_secs())));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_seen_is_said_and_a_run_has_its_duration() {
        let text = |text: &str| Some(text.to_owned());
        let page = SourcesPage {
            freshness: vec![PipelineFreshness::default()],
            runs: Some(RecordTable {
                columns: ["started_at", "finished_at"].map(str::to_owned).to_vec(),
                rows: vec![vec![
                    text("2026-01-05T10:00:00Z"),
                    text("2026-01-05T10:02:30Z"),
                ]],
            }),
            rejects: Some(RecordTable::default()),
            ..SourcesPage::default()
        };
        let view = PageView::default();
        let words = view.words();
        let html = sources(&view, &page);
        assert!(html.contains("<td class=\"plain\">2 min</td>"), "{html}");
        assert_eq!(html.matches(words.not_shown).count(), 3, "{html}");
        assert!(
            html.contains(words.never) && html.contains(words.none),
            "{html}"
        );
    }
}
