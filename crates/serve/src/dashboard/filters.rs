//! The form of filters: what it sends becomes the filter of the view, and the values that its fields have are listed.
//!
//! Invariant: a form leads to the page it was on, whose address has the filter and is all that there is of it; whether a filter is right is said by that page. Values are of what the reader may see, and are
//! looked up where that is cheap.

use super::question::DashboardQuestion;
use super::row_texts::rows_of;
use super::run_page::RunPage;
use super::{asked_with, language, redirect};
use crate::answer::AnswerNote;
use crate::callers::Caller;
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::state::ServerState;
use axum::http::request::Parts;
use axum::response::Response;
use std::sync::Arc;
use tillhouse_page::dashboard::{OVERVIEW_PATH, PageView, SALES_PATH, SITES_PATH, SentFilter};
use tillhouse_query::Session;
use tillhouse_statistics::offered_fields;

/// Most values of a field that are offered: a field of more is no choice.
const OFFERED: usize = 200;

/// The page that a form was on, with the conditions that it adds in its filter.
pub(super) fn added(parts: &Parts, caller: &Caller) -> Result<Response, Problem> {
    let query = parts.uri.query().unwrap_or_default();
    let sent: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let path = sent.iter().find(|(name, _)| name == "path");
    let path = match path.map(|(_, path)| path.as_str()) {
        Some(SALES_PATH) => SALES_PATH,
        Some(SITES_PATH) => SITES_PATH,
        _ => OVERVIEW_PATH,
    };
    let filter = SentFilter::read(sent).text(language(parts), caller.scope().personal)?;
    let view = asked_with(parts).without(&["filter"]);
    let view = match filter {
        Some(filter) => view.with("filter", filter),
        None => view,
    };
    Ok(redirect(&view.address(path)))
}

/// The values of a field as a JSON array of texts; an empty one where they are too many, or cannot be looked up cheaply.
pub(super) async fn values(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    field: &str,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let sees_personal = question.caller.scope().personal;
    let place = offered_fields(sees_personal)
        .find(|known| known.name() == field)
        .and_then(|known| known.values());
    let asked = format!("filter values {field:?}");
    let page = RunPage::of(state, question, asked)?;
    page.answer_as(
        state,
        note,
        "application/json",
        async move |_: &ServerState, run: &RunSession, _: PageView| {
            let values = match place {
                Some(place) => found(&run.session, place).await?,
                None => Vec::new(),
            };
            Ok((serde_json::json!(values).to_string(), values.len()))
        },
    )
    .await
}

/// The values that a column has, in order; none where they are too many.
async fn found(
    session: &Session,
    [schema, table, column]: [&str; 3],
) -> Result<Vec<String>, Problem> {
    if !session.has_table(schema, table).await? {
        return Ok(Vec::new());
    }
    let most = OFFERED + 1;
    let sql = format!(
        "SELECT DISTINCT {column} AS value FROM {schema}.{table} WHERE {column} IS NOT NULL AND {column} <> '' ORDER BY value LIMIT {most}"
    );
    let rows = rows_of(session, &sql, &[]).await?;
    let values = (0..rows.rows.len()).filter_map(|row| rows.value(row, "value"));
    let values: Vec<String> = values.map(str::to_owned).collect();
    Ok(match values.len() > OFFERED {
        true => Vec::new(),
        false => values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{Request, header};

    fn led_to(address: &str) -> String {
        let request = Request::builder().uri(address).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        let response = added(&parts, &Caller::default()).unwrap();
        let location = &response.headers()[header::LOCATION];
        location.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_form_leads_to_its_page_with_the_filter_and_the_view_it_had() {
        let row = "field=amount&operator=gte&value=50";
        let filter = "filter=%7B%22field%22%3A%22amount%22%2C%22operator%22%3A%22gte%22%2C%22value%22%3A50%7D";
        for (sent, expected) in [
            (
                format!("/filter?path=/sales&period=today&cursor=7b&logic=and&{row}"),
                format!("/sales?{filter}&period=today"),
            ),
            (
                format!("/filter?path=https://example.com/&{row}"),
                format!("/?{filter}"),
            ),
            // Nothing was filled in.
            (
                format!("/filter?path=/sites&{filter}&field=&operator=eq&value="),
                format!("/sites?{filter}"),
            ),
        ] {
            assert_eq!(led_to(&sent), expected, "{sent}");
        }
    }
}
