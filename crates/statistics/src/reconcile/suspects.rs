//! The transactions to look at when a figure differs.
//!
//! Invariant: every one of them lies in the window, and at the site, hour or label, of the difference. Those come first that explain most:
//! the very amount that is missing, then what only one side may count, then what changed last.

use super::compare::FigureDifference;
use super::hours;
use crate::columns::{each_batch, texts};
use crate::definitions::OPEN_STATES_SQL;
use crate::facts::{FactConditions, instant};
use crate::request::{CheckedRequest, StatisticsRequest};
use crate::transaction_totals::UNKNOWN;
use tillhouse_model::Result;
use tillhouse_model::reconcile::StatisticsPart;
use tillhouse_query::{ScalarValue, Session};

/// The keys of at most `most` transactions of the request's window, tenant and pipeline.
pub async fn find_suspects(
    session: &Session,
    request: &StatisticsRequest,
    difference: &FigureDifference,
    most: usize,
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if difference.part.is_growth()
        || most == 0
        || !session.has_table("unified", "transactions").await?
    {
        return Ok(found);
    }
    let question = CheckedRequest::new(request)?;
    let mut conditions = FactConditions::between(&question, question.now);
    let Some(label) = label(session, difference, &mut conditions).await? else {
        return Ok(found);
    };
    let counts = question.counted_sql("state");
    let delta = difference.difference();
    let less_here = delta.is_some_and(|delta| delta.units > 0);
    // A sale that ours has too many is among the counted ones; one that it lacks may be here and not counted.
    let (only, order) = if less_here {
        ("TRUE".to_owned(), "ASC")
    } else {
        (counts.clone(), "DESC")
    };
    let is_amount = matches!(
        difference.part,
        StatisticsPart::Amount | StatisticsPart::SiteAmount
    );
    let exact = match delta
        .filter(|_| is_amount)
        .and_then(|delta| delta.rescaled(4))
    {
        Some(delta) => {
            conditions
                .params
                .push(("delta", ScalarValue::Decimal128(Some(delta.units), 38, 4)));
            conditions.params.push((
                "minus_delta",
                ScalarValue::Decimal128(Some(-delta.units), 38, 4),
            ));
            "CASE WHEN amount = $delta OR amount = $minus_delta THEN 0 ELSE 1 END, "
        }
        None => "",
    };
    let sql = format!(
        "SELECT transaction_key FROM
            (SELECT transaction_key, amount, _extracted_at, coalesce({counts}, FALSE) AS counts,
                    CASE WHEN {OPEN_STATES_SQL} THEN 0 ELSE 1 END AS settled
             FROM unified.transactions WHERE {} AND {only} AND {label}) AS near
         ORDER BY {exact}counts {order}, settled, _extracted_at DESC, transaction_key LIMIT {most}",
        conditions.sql
    );
    each_batch(session, &sql, &conditions.params, |batch| {
        let keys = texts(batch, "transaction_key")?;
        found.extend(
            (0..batch.num_rows())
                .filter_map(|row| keys.get(row))
                .map(str::to_owned),
        );
        Ok(())
    })
    .await?;
    Ok(found)
}

/// The condition that a transaction has to do with the difference; `None` where nothing can be said.
async fn label(
    session: &Session,
    difference: &FigureDifference,
    conditions: &mut FactConditions,
) -> Result<Option<String>> {
    let text = |value: &str| ScalarValue::Utf8(Some(value.to_owned()));
    let window = conditions.sql.clone();
    let currency = match difference.currency.as_deref() {
        None => "TRUE".to_owned(),
        Some(UNKNOWN) => "(currency IS NULL OR currency = '')".to_owned(),
        Some(currency) => {
            conditions.params.push(("currency", text(currency)));
            "currency = $currency".to_owned()
        }
    };
    let Some(label) = difference.label.as_deref() else {
        return Ok(Some(currency));
    };
    let mut named = |column: &str| match label {
        UNKNOWN => format!("({column} IS NULL OR {column} = '')"),
        label => {
            conditions.params.push(("label", text(label)));
            format!("{column} = $label")
        }
    };
    // Of a child, the currency is its own, or its transaction's.
    let of_child = |table: &str, condition: &str| {
        format!(
            "transaction_key IN (SELECT transaction_key FROM unified.{table} WHERE {window} AND {condition})"
        )
    };
    let column = match difference.part {
        StatisticsPart::PaymentType => Some("type"),
        StatisticsPart::PaymentMedium => Some("medium"),
        StatisticsPart::PaymentScheme => Some("scheme"),
        StatisticsPart::PaymentEntryMode => Some("entry_mode"),
        StatisticsPart::PaymentFunction => Some("function"),
        _ => None,
    };
    if let Some(column) = column {
        let has = session.has_table("unified", "payments").await?;
        return Ok(has.then(|| of_child("payments", &named(column))));
    }
    let name_of = |table: &str, key: &str, has: bool| match has {
        true => format!("(SELECT {key} AS named_key, name AS current_name FROM unified.{table})"),
        false => {
            "(SELECT CAST(NULL AS VARCHAR) AS named_key, CAST(NULL AS VARCHAR) AS current_name)"
                .to_owned()
        }
    };
    Ok(match difference.part {
        StatisticsPart::SiteAmount | StatisticsPart::SiteCount => {
            let sites = name_of(
                "sites",
                "site_key",
                session.has_table("unified", "sites").await?,
            );
            let at = named("current_name");
            Some(format!(
                "{currency} AND transaction_key IN (SELECT transaction_key FROM unified.transactions
                 LEFT JOIN {sites} AS place ON site_key = named_key WHERE {window} AND {at})"
            ))
        }
        StatisticsPart::Quantities if session.has_table("unified", "articles").await? => {
            let products = name_of(
                "products",
                "product_key",
                session.has_table("unified", "products").await?,
            );
            let sold = named("coalesce(current_name, name)");
            let unit = match difference.unit.as_deref() {
                None | Some(UNKNOWN) => "unit_measure IS NULL".to_owned(),
                Some(unit) => {
                    conditions.params.push(("unit", text(unit)));
                    "base_unit(unit_measure) = $unit".to_owned()
                }
            };
            Some(format!(
                "transaction_key IN (SELECT transaction_key FROM unified.articles
                 LEFT JOIN {products} AS product ON product_key = named_key WHERE {window} AND {unit} AND {sold})"
            ))
        }
        StatisticsPart::Hours => hours::window(label).map(|hour| {
            conditions
                .params
                .push(("hour_from", instant(hour.from().as_microsecond())));
            conditions
                .params
                .push(("hour_to", instant(hour.to().as_microsecond())));
            format!("{currency} AND occurred_at >= $hour_from AND occurred_at < $hour_to")
        }),
        _ => Some(currency),
    })
}
