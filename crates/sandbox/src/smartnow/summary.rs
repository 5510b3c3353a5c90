//! The summary of revenue by currency and date, by plain loops over the records as they are served.
//!
//! Invariant: it looks at nothing but the records' own text, so that it checks whoever counts from them. The date is the sale's own
//! day, as written in `occurredAt`; both ends of the stretch belong to it. Every sale counts with its price as it is now.

use super::table::SmartNowRow;
use jiff::civil::Date;
use serde::Serialize;
use std::collections::BTreeMap;

/// Date range, machines and locations of a revenue summary.
#[derive(Debug)]
pub(super) struct RevenueQuery {
    from: Date,
    to: Date,
    machines: Vec<i64>,
    locations: Vec<i64>,
}

impl RevenueQuery {
    /// Reads a query. The error is for the caller's eyes.
    pub(super) fn parse(pairs: &[(String, String)]) -> Result<Self, String> {
        let (mut from, mut to, mut machines, mut locations) = (None, None, Vec::new(), Vec::new());
        for (key, value) in pairs {
            let name = key.split('[').next().unwrap_or_default();
            let id = || {
                value
                    .parse::<i64>()
                    .map_err(|_| format!("`{name}` must be ids"))
            };
            match name {
                "startDate" => from = Some(date(name, value)?),
                "endDate" => to = Some(date(name, value)?),
                "machines" => machines.push(id()?),
                "locations" => locations.push(id()?),
                _ => return Err(format!("Unknown query parameter `{key}`")),
            }
        }
        match (from, to) {
            (Some(from), Some(to)) => Ok(Self {
                from,
                to,
                machines,
                locations,
            }),
            _ => Err("`startDate` and `endDate` are required.".into()),
        }
    }
}

/// A date, or the date of a date-time.
fn date(name: &str, text: &str) -> Result<Date, String> {
    let day = text.get(..10).unwrap_or(text);
    day.parse()
        .map_err(|_| format!("`{name}` must be a date like 2026-01-31"))
}

/// A day's revenue, with the names of the document, spelling included.
#[derive(Debug, Serialize)]
pub(super) struct SmartNowDayRevenue {
    currency: String,
    #[serde(rename = "currencyRate")]
    currency_rate: i64,
    date: String,
    #[serde(rename = "orginalValue")]
    original_value: i64,
    value: i64,
}

/// Revenue by currency, the days in their order. A `lie` counts one too much on the middle one of
/// the first currency's days: who asks for a day more on either side, since the document does not
/// say where a stretch ends, does not look at these.
pub(super) fn revenue(
    rows: &[SmartNowRow],
    asked: &RevenueQuery,
    lie: bool,
) -> BTreeMap<String, Vec<SmartNowDayRevenue>> {
    let mut sums: BTreeMap<(String, Date), i64> = BTreeMap::new();
    for row in rows {
        let record = row.fields();
        let number = |name: &str| record.get(name).and_then(serde_json::Value::as_i64);
        let text = |name: &str| record.get(name).and_then(serde_json::Value::as_str);
        let Some((day, currency, price)) = text("occurredAt")
            .and_then(|at| at.get(..10)?.parse::<Date>().ok())
            .and_then(|day| Some((day, text("currency")?, number("price")?)))
        else {
            continue;
        };
        let is_one_of = |ids: &[i64], field| {
            ids.is_empty() || number(field).is_some_and(|id| ids.contains(&id))
        };
        if asked.from <= day
            && day <= asked.to
            && is_one_of(&asked.machines, "machine")
            && is_one_of(&asked.locations, "location")
        {
            *sums.entry((currency.to_owned(), day)).or_default() += price;
        }
    }
    let mut summary: BTreeMap<String, Vec<SmartNowDayRevenue>> = BTreeMap::new();
    for ((currency, day), value) in sums {
        let entry = SmartNowDayRevenue {
            currency: currency.clone(),
            currency_rate: 1,
            date: day.to_string(),
            original_value: value,
            value,
        };
        summary.entry(currency).or_default().push(entry);
    }
    if lie && let Some(days) = summary.values_mut().next() {
        let middle = days.len().saturating_sub(1) / 2;
        if let Some(entry) = days.get_mut(middle) {
            entry.original_value += 1;
            entry.value += 1;
        }
    }
    summary
}
