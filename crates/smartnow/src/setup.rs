//! What `tillhouse check` asks: may this user read sales, does the server compare as we spell it, and are prices in the unit that
//! is configured?
//!
//! Invariant: five requests at most, the longest for one page; nothing is asked that a sync would not ask.
//!
//! A server that does not know an operator may refuse it, which says itself, or ignore it, and then every window would hold
//! everything. So each operator is asked a question whose answer is known.

use crate::endpoints::{ENDPOINTS, Endpoint, LARGEST_PAGE};
use crate::listing::{Id, Row, rows};
use crate::smartnow::{SmartNow, compare, refused};
use tillhouse_extract::{Answer, Request};
use tillhouse_model::{Error, Result};

const SALES: &Endpoint = &ENDPOINTS[0];
/// Before the first sale, and behind the last.
const LONG_AGO: &str = "1971-01-01T00:00:00Z";
const FAR_AWAY: &str = "2200-01-01T00:00:00Z";

pub(crate) async fn check(source: &SmartNow) -> Result<()> {
    source.api().log_in().await?;
    let list = || source.request(SALES, "");
    let operators = &source.settings().operators;
    let newest = list()?.query("sort", "id desc").query("limit", &LARGEST_PAGE.to_string());
    let newest = ask(source, &newest).await?;
    let (sales, _) = rows(&newest)?;
    prices(source, &sales)?;
    let column = SALES.time.unwrap_or_default();
    for (key, operator, bound) in [("at_least", &operators.at_least, FAR_AWAY), ("below", &operators.below, LONG_AGO)] {
        let request = list()?.query(&compare(column, operator), bound).query("limit", "1");
        if !rows(&ask(source, &request).await?)?.0.is_empty() {
            return Err(ignored(key, operator));
        }
    }
    if let Some(id) = sales.iter().filter_map(Row::id).max_by(order) {
        let request = list()?.query(&compare("id", &operators.above), &id.to_string()).query("limit", "1");
        let answer = ask(source, &request).await?;
        let (behind, _) = rows(&answer)?;
        // A sale may have happened meanwhile, but none with that id or an earlier one.
        if behind.iter().filter_map(Row::id).any(|other| order(&other, &id).is_le()) {
            return Err(ignored("above", &operators.above));
        }
    }
    Ok(())
}

/// Numbers by size; a sale's id that is no number says nothing of an order.
fn order(a: &Id, b: &Id) -> std::cmp::Ordering {
    match (a, b) {
        (Id::Number(a), Id::Number(b)) => a.cmp(b),
        (a, b) if a == b => std::cmp::Ordering::Equal,
        _ => std::cmp::Ordering::Greater,
    }
}

async fn ask(source: &SmartNow, request: &Request) -> Result<bytes::Bytes> {
    match source.api().send(request).await? {
        Answer::Success(response) => Ok(response.bytes),
        Answer::Refused(refusal) => Err(refused(SALES, refusal)),
    }
}

fn ignored(key: &str, operator: &str) -> Error {
    Error::config(format!("the server does not heed {:?}", compare("column", operator)))
        .at("key", format!("connection.operators.{key}"))
        .hint("Ask the provider how comparisons are spelt, and set connection.operators; without them a sync would miss records or read all of them every day.")
}

fn prices(source: &SmartNow, sales: &[Row<'_>]) -> Result<()> {
    let unit = source.settings().price_unit;
    let odd = sales.iter().filter(|sale| !sale.fits(unit)).count();
    if odd == 0 {
        return Ok(());
    }
    let (what, hint) = unit.misfit();
    Err(Error::config(what)
        .at("key", "connection.price_unit")
        .at("sales", format!("{odd} of the newest {}", sales.len()))
        .hint(hint))
}
