//! HecOne's login and statistics, for clients that were written against HecOne.
//!
//! Invariant: names and shapes are those of HecOne's document and nothing besides: an entry has no currency, and no figure that HecOne's does not have. Where amounts of
//! several currencies would have to be added up or chosen from, the answer is 409 with the list.

use super::{
    EndpointRequest, body_bytes, filter, json_body, media_type, statistics::counted, window,
};
use crate::answer::{AnswerNote, FixedQuestion, WantedRun, document, fixed, name_run};
use crate::callers::{REFUSED_AFTER, basic_credentials};
use crate::media::AnswerFormat;
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::state::ServerState;
use crate::tokens::{GOOD_FOR, TokenOwner, are_right};
use crate::work::AnswerSink;
use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tillhouse_model::ExactDecimal;
use tillhouse_query::encode::json_text;
use tillhouse_statistics::StatisticsRequest;
use tillhouse_statistics::report::{
    ArticleQuantities, CurrencyStatistics, GrowthFigure, HourlyTransactions,
    PaymentEntryModeAmount, PaymentFunctionAmount, PaymentMediumAmount, PaymentSchemeAmount,
    PaymentTypeAmount, SiteAmount, SiteTransactions, StatisticsReport,
};
use url::form_urlencoded;
use xxhash_rust::xxh3::xxh3_64;

/// Media type of a form.
const FORM: &str = "application/x-www-form-urlencoded";
/// Path of the statistics.
const PATH: &str = "/transactions/statistics";

/// `POST /auth/login`: a token for credentials, in HecOne's form or in that of OAuth 2.0.
pub(crate) async fn log_in(
    state: &Arc<ServerState>,
    incoming: &EndpointRequest,
    body: Body,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let _ = note.asked.set("login".to_owned());
    let is_form = media_type(&incoming.headers).eq_ignore_ascii_case(FORM);
    let (id, secret) = match is_form {
        true => form_credentials(state, &incoming.headers, body).await?,
        false => json_credentials(state, &incoming.headers, body).await?,
    };
    let proven = prove(state, &id, secret.expose_secret()).await;
    let owner = proven.map_err(|problem| match problem.status {
        // The word by which clients of OAuth 2.0 know it.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_form => {
            problem.member("error", json!("invalid_client"))
        }
        _ => problem,
    })?;
    let _ = note.who.set(owner.name.clone());
    let pair = state.tokens.give(Instant::now(), owner);
    let given = json!({
        "access_token": pair.access,
        "expires_in": GOOD_FOR.as_secs(),
        "token_type": "Bearer",
        "refresh_token": pair.refresh,
    });
    let mut response = document(given.to_string(), AnswerFormat::Json.media_type());
    // A client sees beforehand which run its questions will be answered from.
    if let Some(newest) = state.runs.known_newest() {
        name_run(response.headers_mut(), &newest.run);
    }
    Ok(response)
}

/// Credentials in HecOne's form.
async fn json_credentials(
    state: &ServerState,
    headers: &HeaderMap,
    body: Body,
) -> Result<(String, SecretString), Problem> {
    let mut body = json_body(state, headers, body).await?;
    match (body.take_text("client_id"), body.take_text("client_secret")) {
        (Some(id), Some(secret)) => Ok((id, secret.into())),
        _ => Err(Problem::bad_request(
            "client_id and client_secret are texts that have to be given",
        )
        .hint(r#"Send {"client_id": "...", "client_secret": "..."}."#)),
    }
}

/// Client credentials as OAuth 2.0 has them (RFC 6749, section 4.4): a form, with the credentials in it or as HTTP's Basic.
async fn form_credentials(
    state: &ServerState,
    headers: &HeaderMap,
    body: Body,
) -> Result<(String, SecretString), Problem> {
    let wrong = |what: &str, word: &str| {
        Problem::bad_request(what)
            .hint("Send grant_type=client_credentials, and client_id and client_secret in the form or as Basic.")
            .member("error", json!(word))
    };
    let bytes = body_bytes(state, headers, body).await?;
    let mut form: HashMap<String, String> = HashMap::new();
    for (name, value) in form_urlencoded::parse(&bytes) {
        if form.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err(wrong("a parameter is given twice", "invalid_request"));
        }
    }
    match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {}
        Some(_) => {
            return Err(wrong(
                "grant_type is another than client_credentials",
                "unsupported_grant_type",
            ));
        }
        None => return Err(wrong("grant_type is missing", "invalid_request")),
    }
    if let Some(known) = basic_credentials(headers) {
        return Ok(known);
    }
    match (form.remove("client_id"), form.remove("client_secret")) {
        (Some(id), Some(secret)) => Ok((id, secret.into())),
        _ => Err(wrong(
            "client_id and client_secret have to be given",
            "invalid_request",
        )),
    }
}

/// Bearer of a token that these credentials get: a user, or where there are none the client that may log in.
async fn prove(state: &ServerState, id: &str, secret: &str) -> Result<TokenOwner, Problem> {
    match state.callers.users() {
        Some(users) => state.callers.log_in(&users, id, secret).await,
        None => client(state, id, secret).await,
    }
}

/// The client that may log in where there are no users.
async fn client(state: &ServerState, id: &str, secret: &str) -> Result<TokenOwner, Problem> {
    let Some(known) = &state.options.hecone_login else {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "nobody may log in: no credentials are configured",
        )
        .hint("`tillhouse user add` makes a user who may; or set serve.hecone_login in tillhouse.yaml."));
    };
    if !are_right(known, id, secret) {
        tokio::time::sleep(REFUSED_AFTER).await;
        return Err(
            Problem::new(StatusCode::UNAUTHORIZED, "the credentials are not right")
                .header(header::WWW_AUTHENTICATE, "Bearer"),
        );
    }
    Ok(TokenOwner {
        name: known.client_id.clone(),
        fingerprint: None,
    })
}

/// `GET /transactions/statistics`.
pub(crate) async fn statistics(
    state: &Arc<ServerState>,
    incoming: &EndpointRequest,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let values = &incoming.values;
    let window = window(
        values.or("start_date", ""),
        values.or("end_date", ""),
        "UTC",
    )?;
    window.until(state.served.warehouse.now())?;
    let (filter, shown) = filter(state, &incoming.caller, values, "UTC")?;
    let request = StatisticsRequest {
        tenant: values.text("mandator_id"),
        filter,
        ..StatisticsRequest::new(window)
    };
    let itself = format!("{PATH}?{}", values.canonical().trim_end_matches('&'));
    let currency = state.options.hecone_currency.clone();
    let question = FixedQuestion {
        caller: incoming.caller.clone(),
        asked: format!("hecone_statistics {}", shown.canonical()),
        // The links in the answer say what was asked, letter by letter; the currency is the project's, and not in the question.
        spelling: xxh3_64(format!("{itself}\n{currency:?}").as_bytes()),
        wanted: WantedRun::of(state, None)?,
        media: AnswerFormat::Json.media_type(),
        pages: None,
    };
    fixed(
        state,
        question,
        &incoming.headers,
        note,
        async move |state: &ServerState, run: &RunSession, sink: &mut AnswerSink| {
            let report = counted(state, run, &request).await?;
            let data = in_one_currency(&report, currency.as_deref())?;
            sink.count(data.len())?;
            let body = HecOneBody::of(data, &itself);
            sink.write(json_text(&body)?.as_bytes()).await;
            Ok(())
        },
    )
    .await
}

/// The entry of one currency, as a list: HecOne's entries name none.
///
/// Errors with 409 where there are several and nobody says which.
fn in_one_currency<'a>(
    report: &'a StatisticsReport,
    configured: Option<&str>,
) -> Result<Vec<HecOneEntry<'a>>, Problem> {
    let entries = &report.data;
    let chosen: Vec<&CurrencyStatistics> = match configured {
        Some(currency) => entries
            .iter()
            .filter(|entry| entry.currency == currency)
            .collect(),
        None => entries.iter().collect(),
    };
    if chosen.len() > 1 {
        let currencies: Vec<&str> = entries
            .iter()
            .map(|entry| entry.currency.as_str())
            .collect();
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "the transactions are of several currencies, and HecOne's statistics have one",
        )
        .hint("Set serve.hecone_currency in tillhouse.yaml, filter by currency, or ask /api/v1/statistics, which tells them apart.")
        .member("currencies", json!(currencies)));
    }
    Ok(chosen.into_iter().map(HecOneEntry::of).collect())
}

/// Answer in HecOne's envelope.
#[derive(Serialize)]
struct HecOneBody<'a> {
    _links: HecOneLinks<'a>,
    meta: HecOneMeta,
    data: Vec<HecOneEntry<'a>>,
}

#[derive(Serialize)]
struct HecOneLinks<'a> {
    #[serde(rename = "self")]
    itself: &'a str,
    next: Option<&'a str>,
    prev: Option<&'a str>,
    first: &'a str,
    last: &'a str,
}

#[derive(Serialize)]
struct HecOneMeta {
    limit: usize,
    start: usize,
    size: usize,
    total: usize,
}

/// HecOne's statistics of a window.
#[derive(Serialize)]
struct HecOneEntry<'a> {
    hourly_transactions: &'a [HourlyTransactions],
    payment_type_ranking: &'a [PaymentTypeAmount],
    payment_medium_ranking: &'a [PaymentMediumAmount],
    payment_scheme_ranking: &'a [PaymentSchemeAmount],
    payment_entry_mode_ranking: &'a [PaymentEntryModeAmount],
    payment_function_ranking: &'a [PaymentFunctionAmount],
    article_quantities_ranking: &'a [ArticleQuantities],
    sites_amount_ranking: &'a [SiteAmount],
    sites_transactions_ranking: &'a [SiteTransactions],
    transactions_count: &'a GrowthFigure<i64>,
    transactions_total_amount: &'a GrowthFigure<ExactDecimal>,
}

impl<'a> HecOneEntry<'a> {
    fn of(entry: &'a CurrencyStatistics) -> Self {
        Self {
            hourly_transactions: &entry.hourly_transactions,
            payment_type_ranking: &entry.payment_type_ranking,
            payment_medium_ranking: &entry.payment_medium_ranking,
            payment_scheme_ranking: &entry.payment_scheme_ranking,
            payment_entry_mode_ranking: &entry.payment_entry_mode_ranking,
            payment_function_ranking: &entry.payment_function_ranking,
            article_quantities_ranking: &entry.article_quantities_ranking,
            sites_amount_ranking: &entry.sites_amount_ranking,
            sites_transactions_ranking: &entry.sites_transactions_ranking,
            transactions_count: &entry.transactions_count,
            transactions_total_amount: &entry.transactions_total_amount,
        }
    }
}

impl<'a> HecOneBody<'a> {
    fn of(data: Vec<HecOneEntry<'a>>, itself: &'a str) -> Self {
        let size = data.len();
        Self {
            _links: HecOneLinks {
                itself,
                next: None,
                prev: None,
                first: itself,
                last: itself,
            },
            meta: HecOneMeta {
                limit: size,
                start: 0,
                size,
                total: size,
            },
            data,
        }
    }
}
