//! Files of what is seen: the statistics of a view, or its sales, as CSV, Parquet or a workbook.
//!
//! Invariant: a file is the answer of the endpoint, to the byte, or of a view of one currency what is of that in it; only its name is added.

use super::question::DashboardQuestion;
use crate::answer::{AnswerNote, set};
use crate::api::{EndpointRequest, statistics, transactions};
use crate::endpoints::no_such_path;
use crate::media::AnswerFormat;
use crate::problem::Problem;
use crate::state::ServerState;
use axum::http::header;
use axum::response::Response;
use std::sync::Arc;
use tillhouse_page::ViewQuery;
use tillhouse_page::dashboard::FILE_FORMATS;

/// A file by its name: `sales.csv`.
pub(super) async fn file(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    name: &str,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let (subject, ending) = name.split_once('.').ok_or_else(no_such_path)?;
    let format = AnswerFormat::named(ending)
        .filter(|_| FILE_FORMATS.contains(&ending))
        .ok_or_else(no_such_path)?;
    let values = match subject {
        "statistics" => question.file_of_figures(),
        "sales" => question.all_sales(),
        _ => return Err(no_such_path()),
    };
    let name = name_of(subject, &question.dated(), ending);
    let incoming = EndpointRequest {
        headers: question.headers,
        values,
        in_path: String::new(),
        caller: question.caller,
    };
    let mut response = match subject {
        "statistics" => statistics::answer(state, &incoming, format, note).await?,
        _ => transactions::answer(state, &incoming, format, note).await?,
    };
    let disposition = format!("attachment; filename=\"{name}\"");
    set(
        response.headers_mut(),
        header::CONTENT_DISPOSITION,
        &disposition,
    );
    Ok(response)
}

/// Name of a file, with the first day of what is in it and the first after it: `sales_2026-01-01_2026-02-01.csv`.
fn name_of(subject: &str, days: &ViewQuery, ending: &str) -> String {
    let day = |name: &str| -> String {
        let written = days.get(name).unwrap_or_default().chars();
        let plain = written.filter(|c| c.is_ascii_alphanumeric() || *c == '-');
        plain.take(10).collect()
    };
    format!("{subject}_{}_{}.{ending}", day("from"), day("to"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_has_its_days_and_nothing_else_of_the_address() {
        let days = |from: &str, to: &str| {
            ViewQuery::new([("from", from.to_owned()), ("to", to.to_owned())])
        };
        for (from, to, name) in [
            (
                "2026-01-01",
                "2026-02-01",
                "sales_2026-01-01_2026-02-01.csv",
            ),
            (
                "2026-01-01T10:00:00Z",
                "2026-01-01 \"11:00",
                "sales_2026-01-01_2026-01-01.csv",
            ),
        ] {
            assert_eq!(name_of("sales", &days(from, to), "csv"), name);
        }
    }
}
