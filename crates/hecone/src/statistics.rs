//! HecOne's own statistics of a mandator and a window, to reconcile with.
//!
//! Invariant: numbers keep every digit they were written with; a part that HecOne left out is not taken for one that is empty.
//!
//! The document knows no currency in an entry. Where one names it all the same it is kept; where none does, figures have none.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use tillhouse_extract::{AuthorizedClient, HttpOutcome, HttpRefusal, HttpRequest};
use tillhouse_model::reconcile::{ProviderFigure, ProviderFigures, StatisticsPart};
use tillhouse_model::{Error, ErrorKind, ExactDecimal, Filter, Result, ResultExt, Window};
use url::Url;

/// Name of requests for statistics in errors and logs.
const STATISTICS: &str = "statistics";

/// Body of a statistics response.
#[derive(Deserialize)]
struct HecOneStatisticsEnvelope<'a> {
    #[serde(borrow)]
    data: Vec<HecOneStatisticsEntry<'a>>,
}

/// One entry; every part may be missing.
#[derive(Deserialize)]
struct HecOneStatisticsEntry<'a> {
    currency: Option<String>,
    hourly_transactions: Option<Vec<HecOneHourCount<'a>>>,
    payment_type_ranking: Option<Vec<HecOneRankingRow<'a>>>,
    payment_medium_ranking: Option<Vec<HecOneRankingRow<'a>>>,
    payment_scheme_ranking: Option<Vec<HecOneRankingRow<'a>>>,
    payment_entry_mode_ranking: Option<Vec<HecOneRankingRow<'a>>>,
    payment_function_ranking: Option<Vec<HecOneRankingRow<'a>>>,
    #[serde(borrow)]
    article_quantities_ranking: Option<Vec<HecOneUnitQuantities<'a>>>,
    #[serde(borrow)]
    sites_amount_ranking: Option<Vec<HecOneRankingRow<'a>>>,
    #[serde(borrow)]
    sites_transactions_ranking: Option<Vec<HecOneRankingRow<'a>>>,
    #[serde(borrow)]
    transactions_count: Option<HecOneTotalFigure<'a>>,
    #[serde(borrow)]
    transactions_total_amount: Option<HecOneTotalFigure<'a>>,
}

/// Transactions of one hour.
#[derive(Deserialize)]
struct HecOneHourCount<'a> {
    #[serde(borrow)]
    hour: &'a RawValue,
    #[serde(borrow)]
    transactions: &'a RawValue,
}

/// A row of any ranking: one number, and a label under the ranking's own name.
#[derive(Deserialize)]
struct HecOneRankingRow<'a> {
    #[serde(borrow, alias = "transactions")]
    amount: &'a RawValue,
    #[serde(
        alias = "payment_type",
        alias = "payment_medium",
        alias = "payment_scheme",
        alias = "payment_entry_mode",
        alias = "payment_function",
        alias = "site_name"
    )]
    label: Option<String>,
}

/// Quantities sold in one unit.
#[derive(Deserialize)]
struct HecOneUnitQuantities<'a> {
    unit_measure: Option<String>,
    #[serde(borrow)]
    articles_quantities: Vec<HecOneArticleQuantity<'a>>,
}

/// Quantity of one article.
#[derive(Deserialize)]
struct HecOneArticleQuantity<'a> {
    article_name: Option<String>,
    #[serde(borrow)]
    quantity: &'a RawValue,
}

/// A total and its growth.
#[derive(Deserialize)]
struct HecOneTotalFigure<'a> {
    #[serde(borrow)]
    growth: Option<&'a RawValue>,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// Fetches the statistics of one mandator; those of the transactions that pass a filter, with the
/// name of its query parameter.
pub(crate) async fn fetch_statistics(
    api: &AuthorizedClient,
    url: &Url,
    mandator: &str,
    window: Window,
    filter: Option<(&str, &Filter)>,
) -> Result<ProviderFigures> {
    let mut request = HttpRequest::get(STATISTICS, url.clone())
        .query("mandator_id", mandator)
        .query("start_date", &window.from().to_string())
        .query("end_date", &window.to().to_string());
    if let Some((parameter, filter)) = filter {
        let filter = serde_json::to_string(filter)
            .or_error(ErrorKind::Internal, "a filter cannot be written")?;
        request = request.query(parameter, &filter);
    }
    match api.send(&request).await? {
        HttpOutcome::Success(response) => read(&response.bytes),
        HttpOutcome::Refused(refusal) => Err(refused(refusal)),
    }
}

fn refused(refusal: HttpRefusal) -> Error {
    let status = refusal.status;
    let error = refusal.into_error();
    match status.as_u16() {
        404 | 405 => error.hint(
            "Set connection.paths.statistics: HecOne does not document where its statistics are, so ask the provider.",
        ),
        403 => error.hint("Ask the provider whether this login may see the statistics of that mandator."),
        _ => error,
    }
}

/// Reads an answer. serde's own errors quote what they stumble over, so they are not shown.
fn read(body: &[u8]) -> Result<ProviderFigures> {
    let strange = || {
        Error::protocol("the answer is not in the shape of HecOne's statistics")
            .hint("Check connection.paths.statistics: something else may be answering there.")
    };
    let envelope: HecOneStatisticsEnvelope<'_> =
        serde_json::from_slice(body).map_err(|_| strange())?;
    let mut evidence = ProviderFigures::default();
    if envelope.data.is_empty() {
        // Nothing was sold at all, and every part says so.
        evidence.parts = StatisticsPart::ALL
            .iter()
            .copied()
            .filter(|part| *part != StatisticsPart::Records)
            .collect();
    }
    for entry in &envelope.data {
        entry.read(&mut evidence).ok_or_else(strange)?;
    }
    Ok(evidence)
}

impl HecOneStatisticsEntry<'_> {
    /// `None` where something that should be a number is none.
    fn read(&self, evidence: &mut ProviderFigures) -> Option<()> {
        let ProviderFigures { parts, figures } = evidence;
        let mut list = FigureCollector {
            currency: self.currency.as_deref().filter(|c| !c.trim().is_empty()),
            parts,
            figures,
        };
        for (total, value, growth) in [
            (
                &self.transactions_count,
                StatisticsPart::Count,
                StatisticsPart::CountGrowth,
            ),
            (
                &self.transactions_total_amount,
                StatisticsPart::Amount,
                StatisticsPart::AmountGrowth,
            ),
        ] {
            let Some(total) = total else { continue };
            list.add(value, None, None, Some(number(total.value)?));
            // No growth, and growth that is null, say the same: there is none.
            let found = total.growth.filter(|text| text.get() != "null").map(number);
            list.add(
                growth,
                None,
                None,
                found.map_or(Some(None), |found| found.map(Some))?,
            );
        }
        if let Some(hours) = &self.hourly_transactions {
            list.parts.insert(StatisticsPart::Hours);
            for row in hours {
                list.add(
                    StatisticsPart::Hours,
                    None,
                    Some(text(row.hour)?),
                    Some(number(row.transactions)?),
                );
            }
        }
        for (ranking, part) in [
            (&self.payment_type_ranking, StatisticsPart::PaymentType),
            (&self.payment_medium_ranking, StatisticsPart::PaymentMedium),
            (&self.payment_scheme_ranking, StatisticsPart::PaymentScheme),
            (
                &self.payment_entry_mode_ranking,
                StatisticsPart::PaymentEntryMode,
            ),
            (
                &self.payment_function_ranking,
                StatisticsPart::PaymentFunction,
            ),
            (&self.sites_amount_ranking, StatisticsPart::SiteAmount),
            (&self.sites_transactions_ranking, StatisticsPart::SiteCount),
        ] {
            let Some(rows) = ranking else { continue };
            list.parts.insert(part);
            for row in rows {
                list.add(
                    part,
                    None,
                    Some(label(row.label.as_deref())),
                    Some(number(row.amount)?),
                );
            }
        }
        if let Some(units) = &self.article_quantities_ranking {
            list.parts.insert(StatisticsPart::Quantities);
            for unit in units {
                for row in &unit.articles_quantities {
                    let name = label(row.article_name.as_deref());
                    list.add(
                        StatisticsPart::Quantities,
                        unit.unit_measure.as_deref(),
                        Some(name),
                        Some(number(row.quantity)?),
                    );
                }
            }
        }
        Some(())
    }
}

/// Collector of the figures of one entry.
struct FigureCollector<'a> {
    currency: Option<&'a str>,
    parts: &'a mut BTreeSet<StatisticsPart>,
    figures: &'a mut Vec<ProviderFigure>,
}

impl FigureCollector<'_> {
    fn add(
        &mut self,
        part: StatisticsPart,
        unit: Option<&str>,
        label: Option<String>,
        value: Option<ExactDecimal>,
    ) {
        self.parts.insert(part);
        self.figures.push(ProviderFigure {
            part,
            currency: self.currency.map(str::to_owned),
            unit: unit.map(str::to_owned),
            label,
            value,
        });
    }
}

/// A label that is missing is shown as ours are.
fn label(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty())
        .unwrap_or("unknown")
        .to_owned()
}

/// A number, also where it is written as text.
fn number(raw: &RawValue) -> Option<ExactDecimal> {
    let text = raw.get();
    ExactDecimal::from_json(
        text.strip_prefix('"')
            .and_then(|t| t.strip_suffix('"'))
            .unwrap_or(text),
    )
}

/// A text, also where it is written as a number.
fn text(raw: &RawValue) -> Option<String> {
    match raw.get().starts_with('"') {
        true => serde_json::from_str(raw.get()).ok(),
        false => Some(raw.get().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::ErrorKind;

    fn shown(evidence: &ProviderFigures) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let value = |value: &Option<ExactDecimal>| value.map_or("-".to_owned(), |v| v.to_string());
        evidence
            .figures
            .iter()
            .map(|f| {
                format!(
                    "{} {} {} {} {}",
                    f.part,
                    text(&f.currency),
                    text(&f.unit),
                    text(&f.label),
                    value(&f.value)
                )
            })
            .collect()
    }

    #[test]
    fn an_answer_of_the_documents_shape_is_read_with_every_digit() {
        let body = br#"{"_links":{},"meta":{"total":1},"data":[{
            "hourly_transactions":[{"hour":"2026-01-02T10:00:00+01:00","transactions":2},{"hour":11,"transactions":"3"}],
            "payment_type_ranking":[{"amount":12.290000000000001,"payment_type":"PSPCard"},{"amount":1e1,"payment_type":null}],
            "payment_medium_ranking":[],
            "article_quantities_ranking":[{"unit_measure":"l","articles_quantities":[{"article_name":"Diesel","quantity":5.5}]}],
            "sites_transactions_ranking":[{"site_name":"Centre","transactions":5}],
            "transactions_count":{"growth":null,"value":5},
            "transactions_total_amount":{"growth":-1.5,"value":22.29},
            "something_new":[1]}]}"#;
        let evidence = read(body).unwrap();
        assert_eq!(
            shown(&evidence),
            [
                "transactions_count - - - 5",
                "transactions_count.growth - - - -",
                "transactions_total_amount - - - 22.29",
                "transactions_total_amount.growth - - - -1.5",
                "hourly_transactions - - 2026-01-02T10:00:00+01:00 2",
                "hourly_transactions - - 11 3",
                "payment_type_ranking - - PSPCard 12.290000000000001",
                "payment_type_ranking - - unknown 10",
                "sites_transactions_ranking - - Centre 5",
                "article_quantities_ranking - l Diesel 5.5",
            ]
        );
        assert!(
            evidence.parts.contains(&StatisticsPart::PaymentMedium),
            "an empty ranking was answered"
        );
        assert!(
            !evidence.parts.contains(&StatisticsPart::PaymentScheme),
            "one that is not there was not"
        );
    }

    #[test]
    fn an_entry_may_name_its_currency() {
        let body = br#"{"data":[{"currency":"EUR","transactions_count":{"value":1}},
                               {"currency":"","transactions_count":{"value":2}}]}"#;
        let evidence = read(body).unwrap();
        assert_eq!(shown(&evidence)[0], "transactions_count EUR - - 1");
        assert_eq!(shown(&evidence)[2], "transactions_count - - - 2");
    }

    #[test]
    fn no_entry_at_all_speaks_of_every_part() {
        let evidence = read(br#"{"data":[]}"#).unwrap();
        assert!(evidence.figures.is_empty());
        assert!(
            evidence.parts.contains(&StatisticsPart::Hours)
                && !evidence.parts.contains(&StatisticsPart::Records)
        );
    }

    #[test]
    fn what_is_something_else_is_an_error_that_quotes_nothing() {
        for body in [
            &b"<html>"[..],
            b"[]",
            br#"{"data":{}}"#,
            br#"{"data":[{"transactions_count":{"value":"hunter2"}}]}"#,
            br#"{"data":[{"sites_amount_ranking":[{"site_name":"hunter2"}]}]}"#,
        ] {
            let error = read(body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
