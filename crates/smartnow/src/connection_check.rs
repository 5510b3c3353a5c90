//! Questions of `tillhouse check`: may this user read sales, does the server compare as we spell
//! it, and are prices and rates of tax in the units that are configured?
//!
//! Invariant: seven requests at most, the longest for one page; nothing is asked that a sync of all resources would not ask.
//!
//! A server that does not know an operator may refuse it, which says itself, or ignore it, and then every window would hold
//! everything. So each operator is asked a question whose answer is known, and the newest sales show whether `sort` is heeded.
//!
//! The document's samples are in minor units where they are in euros (a small coffee costs 10) and contradict it elsewhere (49
//! card sales of 81,000 Armenian drams). So the connection says which it is, and here it is noticed where that cannot be, as far as
//! [`PriceUnit::fits`] can tell. What a sync meets is a quality warning of the contracts.

use crate::endpoints::{self, ENDPOINTS, SmartNowEndpoint};
use crate::source::{SmartNowSource, comparison_parameter, refusal_error};
use serde::Deserialize;
use serde_json::value::RawValue;
use tillhouse_extract::{HttpOutcome, HttpRequest, check_page, envelope};
use tillhouse_model::money::{PriceUnit, VatRateUnit};
use tillhouse_model::{Error, ExactDecimal, Result};

const SALES: &SmartNowEndpoint = &ENDPOINTS[0];
/// Before the first sale, and behind the last.
const LONG_AGO: &str = "1971-01-01T00:00:00Z";
const FAR_AWAY: &str = "2200-01-01T00:00:00Z";

/// Fields of a sale that the check reads.
#[derive(Debug, Default, Deserialize)]
struct SaleExcerpt<'p> {
    #[serde(borrow)]
    id: Option<&'p RawValue>,
    #[serde(borrow)]
    price: Option<&'p RawValue>,
    #[serde(borrow)]
    currency: Option<&'p RawValue>,
}

impl SaleExcerpt<'_> {
    /// Its id, where it is a number.
    fn number(&self) -> Option<i64> {
        self.id?.get().parse().ok()
    }

    /// True if its price, where it has one, can be in this unit.
    fn fits(&self, unit: PriceUnit) -> bool {
        let currency = self
            .currency
            .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let price = self
            .price
            .and_then(|raw| ExactDecimal::from_json(raw.get().trim_matches('"')));
        price.is_none_or(|price| unit.fits(price, currency.as_deref()))
    }
}

/// Fields of a machine or a product that the check reads.
#[derive(Debug, Default, Deserialize)]
struct TaxedItemExcerpt<'p> {
    #[serde(borrow)]
    id: Option<&'p RawValue>,
    #[serde(borrow)]
    vatrate: Option<&'p RawValue>,
}

/// The records of a page, or the one that stands for a list of one; none where it is neither.
fn items(page: &[u8]) -> Vec<TaxedItemExcerpt<'_>> {
    let records = envelope::list(page).unwrap_or_else(|| vec![page]);
    records
        .into_iter()
        .map(|record| serde_json::from_slice(record).unwrap_or_default())
        .collect()
}

/// The sales of a page, or the one that stands for a list of one. Errors with [`tillhouse_model::ErrorKind::Protocol`] where it is
/// neither, without quoting it.
fn sales(page: &[u8]) -> Result<Vec<SaleExcerpt<'_>>> {
    if let Some(records) = envelope::list(page) {
        return Ok(records
            .into_iter()
            .map(|record| serde_json::from_slice(record).unwrap_or_default())
            .collect());
    }
    match serde_json::from_slice::<SaleExcerpt<'_>>(page) {
        Ok(sale) if sale.id.is_some() => Ok(vec![sale]),
        _ => Err(Error::protocol("the answer is neither a list nor a record")
            .hint("Check connection.base_url and connection.paths: something else may be answering there.")),
    }
}

pub(crate) async fn check(source: &SmartNowSource) -> Result<()> {
    source.api.log_in().await?;
    let list = || source.request(SALES);
    let operators = &source.settings.operators;
    let newest = check_page(source.page_size(SALES)?, async |limit| {
        ask(
            source,
            &list()?
                .query("sort", "id desc")
                .query("limit", &limit.to_string()),
        )
        .await
    });
    let newest = newest.await?;
    let newest = sales(&newest)?;
    order(&newest, source.page_size(SALES)?)?;
    prices(source, &newest)?;
    let column = SALES.time.unwrap_or_default();
    for (key, operator, bound) in [
        ("at_least", &operators.at_least, FAR_AWAY),
        ("below", &operators.below, LONG_AGO),
    ] {
        let request = list()?
            .query(&comparison_parameter(column, operator), bound)
            .query("limit", "1");
        if !sales(&ask(source, &request).await?)?.is_empty() {
            return Err(ignored(key, operator));
        }
    }
    if let Some(id) = newest.iter().filter_map(SaleExcerpt::number).max() {
        let request = list()?
            .query(
                &comparison_parameter("id", &operators.above),
                &id.to_string(),
            )
            .query("limit", "1");
        // A sale may have happened meanwhile, but none with that id or an earlier one.
        if sales(&ask(source, &request).await?)?
            .iter()
            .filter_map(SaleExcerpt::number)
            .any(|other| other <= id)
        {
            return Err(ignored("above", &operators.above));
        }
    }
    rates(source).await
}

/// Compares the rates of tax of one machine's products with `vat_rate`. Whoever may not read products has none to compare.
async fn rates(source: &SmartNowSource) -> Result<()> {
    let (Some(machines), Some(products)) =
        (endpoints::find("machines"), endpoints::find("products"))
    else {
        return Ok(());
    };
    let machines = source.request(machines)?.query("limit", "1");
    let Some(machines) = answered(source, &machines).await? else {
        return Ok(());
    };
    let Some(machine) = items(&machines)
        .first()
        .and_then(|machine| machine.id)
        .map(|id| id.get().trim_matches('"').to_owned())
    else {
        return Ok(());
    };
    let limit = source.page_size(products)?;
    let products = source
        .request_of(products, &machine)?
        .query("limit", &limit.to_string());
    let Some(products) = answered(source, &products).await? else {
        return Ok(());
    };
    let rates: Vec<ExactDecimal> = items(&products)
        .iter()
        .filter_map(|product| ExactDecimal::from_json(product.vatrate?.get().trim_matches('"')))
        .collect();
    let unit = source.settings.vat_rate;
    let (what, other) = match unit {
        VatRateUnit::Percent => (
            "rates of tax are below one, although vat_rate says percent",
            VatRateUnit::Fraction,
        ),
        VatRateUnit::Fraction => (
            "rates of tax are above one, although vat_rate says fraction",
            VatRateUnit::Percent,
        ),
    };
    // What is no rate in either unit speaks for none.
    let is_odd = |rate: &&ExactDecimal| !unit.fits(**rate) && other.fits(**rate);
    let odd = rates.iter().filter(is_odd).count();
    if odd == 0 {
        return Ok(());
    }
    let other = other.as_str();
    Err(Error::config(what)
        .at("key", "connection.vat_rate")
        .at(
            "products",
            format!("{odd} of {} of one machine", rates.len()),
        )
        .hint(format!(
            "Set connection.vat_rate to {other}; then run `tillhouse rebuild`."
        )))
}

/// The answer to a request; `None` where it is refused.
async fn answered(source: &SmartNowSource, request: &HttpRequest) -> Result<Option<bytes::Bytes>> {
    Ok(match source.api.send(request).await? {
        HttpOutcome::Success(response) => Some(response.bytes),
        HttpOutcome::Refused(_) => None,
    })
}

async fn ask(source: &SmartNowSource, request: &HttpRequest) -> Result<bytes::Bytes> {
    Ok(source
        .api
        .send(request)
        .await?
        .success_or(|refusal| refusal_error(SALES, refusal))?
        .bytes)
}

fn ignored(key: &str, operator: &str) -> Error {
    Error::config(format!("the server does not heed {:?}", comparison_parameter("column", operator)))
        .at("key", format!("connection.operators.{key}"))
        .hint("Ask the provider how comparisons are spelt, and set connection.operators; without them a sync would miss records or read all of them every day.")
}

/// Errors where the newest sales, asked for first, come in another order: lists are paged in the order of their ids. A page that is longer than
/// asked for is the whole list, in whichever order.
fn order(newest: &[SaleExcerpt<'_>], page_size: u32) -> Result<()> {
    let ids: Vec<i64> = newest.iter().filter_map(SaleExcerpt::number).collect();
    let is_whole = u32::try_from(newest.len()).is_ok_and(|records| records > page_size);
    if is_whole || ids.is_sorted_by(|one, next| one >= next) {
        return Ok(());
    }
    Err(Error::config("the server does not heed `sort`")
        .at("asked", "sort=id desc")
        .hint("Ask the provider how a list is sorted by id: a sync pages lists in that order, and would miss records or end with an error."))
}

fn prices(source: &SmartNowSource, sales: &[SaleExcerpt<'_>]) -> Result<()> {
    let unit = source.settings.price_unit;
    let odd = sales.iter().filter(|sale| !sale.fits(unit)).count();
    if odd == 0 {
        return Ok(());
    }
    let (what, hint) = match unit {
        PriceUnit::Minor => (
            "prices have fractions, although price_unit says minor units",
            "Set connection.price_unit to major if a price of 1.50 means 1.50 euros; then run `tillhouse rebuild`.",
        ),
        PriceUnit::Major => (
            "prices have more decimals than their currency, although price_unit says major units",
            "Compare a sale with the provider's own report, and set connection.price_unit; then run `tillhouse rebuild`.",
        ),
    };
    Err(Error::config(what)
        .at("key", "connection.price_unit")
        .at("sales", format!("{odd} of the newest {}", sales.len()))
        .hint(hint))
}
