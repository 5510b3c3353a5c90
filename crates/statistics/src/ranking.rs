//! Putting figures in the report's order.
//!
//! Invariant: largest first, ties by label ascending, then by key: the same figures always give the same text.

use crate::articles::{ArticleTotals, NamesByKey, ProductTotals, UnitTotals};
use crate::hour_counts::HourCounts;
use crate::payments::PaymentTotals;
use crate::report::{
    ArticleQuantities, ArticleQuantity, CurrencyStatistics, GrowthFigure, HourlyTransactions,
    PaymentEntryModeAmount, PaymentFunctionAmount, PaymentMediumAmount, PaymentMethodAmount,
    PaymentSchemeAmount, PaymentTypeAmount, SiteAmount, SiteTransactions,
};
use crate::request::{CheckedRequest, HourGrouping};
use crate::transaction_totals::{AmountTally, CurrencyTotals, TransactionTotals, UNKNOWN};
use std::collections::{BTreeSet, HashMap};
use tillhouse_model::calendar::{DAY, HOUR};
use tillhouse_model::{Error, ExactDecimal, Result};
use tillhouse_query::zone::{Zone, ZoneClock};

/// One entry a currency, ordered by currency.
pub(crate) fn entries(
    question: &CheckedRequest<'_>,
    mut transactions: TransactionTotals,
    mut articles: ArticleTotals,
    mut payments: PaymentTotals,
    site_names: &NamesByKey,
) -> Result<Vec<CurrencyStatistics>> {
    let names: BTreeSet<String> = transactions
        .currencies
        .keys()
        .chain(articles.currencies.keys())
        .chain(payments.currencies.keys())
        .cloned()
        .collect();
    let mut entries = Vec::with_capacity(names.len());
    let mut labels = HourLabels::new(question.zone);
    for name in names {
        let sales = transactions.currencies.remove(&name).unwrap_or_default();
        let [types, mediums, schemes, entry_modes, functions, methods] =
            payments.currencies.remove(&name).unwrap_or_default();
        let paid = |by_label| ranked(by_label, payments.scale);
        let amount = |units| ExactDecimal::new(units, transactions.scale);
        let count = |count| ExactDecimal::new(i128::from(count), 0);
        let (sites_amount_ranking, sites_transactions_ranking) =
            sites(&sales, site_names, transactions.scale);
        entries.push(CurrencyStatistics {
            hourly_transactions: hours(question, &sales.hours, &mut labels)?,
            payment_type_ranking: to_rows(paid(types), |payment_type, amount| PaymentTypeAmount {
                amount,
                payment_type,
            }),
            payment_medium_ranking: to_rows(paid(mediums), |payment_medium, amount| {
                PaymentMediumAmount {
                    amount,
                    payment_medium,
                }
            }),
            payment_scheme_ranking: to_rows(paid(schemes), |payment_scheme, amount| {
                PaymentSchemeAmount {
                    amount,
                    payment_scheme,
                }
            }),
            payment_entry_mode_ranking: to_rows(paid(entry_modes), |payment_entry_mode, amount| {
                PaymentEntryModeAmount {
                    amount,
                    payment_entry_mode,
                }
            }),
            payment_function_ranking: to_rows(paid(functions), |payment_function, amount| {
                PaymentFunctionAmount {
                    amount,
                    payment_function,
                }
            }),
            payment_method_ranking: to_rows(paid(methods), |payment_method, amount| {
                PaymentMethodAmount {
                    amount,
                    payment_method,
                }
            }),
            article_quantities_ranking: quantities(
                articles.currencies.remove(&name).unwrap_or_default(),
                articles.scale,
            ),
            sites_amount_ranking,
            sites_transactions_ranking,
            transactions_count: GrowthFigure {
                growth: count(sales.now.count).growth_against(count(sales.before.count)),
                value: sales.now.count,
            },
            transactions_total_amount: GrowthFigure {
                growth: amount(sales.now.amount).growth_against(amount(sales.before.amount)),
                value: amount(sales.now.amount),
            },
            currency: name,
        });
    }
    Ok(entries)
}

fn to_rows<R>(
    ranked: Vec<(String, ExactDecimal)>,
    row: impl Fn(String, ExactDecimal) -> R,
) -> Vec<R> {
    ranked
        .into_iter()
        .map(|(label, amount)| row(label, amount))
        .collect()
}

fn ranked(by_label: HashMap<String, i128>, scale: u8) -> Vec<(String, ExactDecimal)> {
    let mut rows: Vec<(String, i128)> = by_label.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    rows.into_iter()
        .map(|(label, units)| (label, ExactDecimal::new(units, scale)))
        .collect()
}

fn quantities(units: UnitTotals, scale: u8) -> Vec<ArticleQuantities> {
    let ranked = |names: HashMap<String, ProductTotals>| {
        let mut rows: Vec<(String, ProductTotals)> = names.into_iter().collect();
        rows.sort_by(|a, b| b.1.quantity.cmp(&a.1.quantity).then_with(|| a.0.cmp(&b.0)));
        let row = |(article_name, sold): (String, ProductTotals)| ArticleQuantity {
            article_name,
            quantity: ExactDecimal::new(sold.quantity, scale),
            product_key: sold.only_product(),
            products: sold.products(),
        };
        rows.into_iter().map(row).collect()
    };
    units
        .into_iter()
        .map(|(unit_measure, names)| ArticleQuantities {
            unit_measure,
            articles_quantities: ranked(names),
        })
        .collect()
}

/// Sites are told apart by key; two of the same name are two rows. The transactions that name none are one more.
fn sites(
    sales: &CurrencyTotals,
    names: &NamesByKey,
    scale: u8,
) -> (Vec<SiteAmount>, Vec<SiteTransactions>) {
    let label = |key: &String| {
        names
            .get(key)
            .cloned()
            .unwrap_or_else(|| UNKNOWN.to_owned())
    };
    let mut rows: Vec<(String, Option<&String>, AmountTally)> = sales
        .sites
        .iter()
        .map(|(key, tally)| (label(key), Some(key), *tally))
        .collect();
    if sales.without_site.count > 0 {
        rows.push((UNKNOWN.to_owned(), None, sales.without_site));
    }
    let by_name = |a: &(String, Option<&String>, AmountTally),
                   b: &(String, Option<&String>, AmountTally)| {
        a.0.cmp(&b.0).then_with(|| a.1.cmp(&b.1))
    };
    rows.sort_by(|a, b| b.2.amount.cmp(&a.2.amount).then_with(|| by_name(a, b)));
    let amounts = rows
        .iter()
        .map(|(name, key, tally)| SiteAmount {
            amount: ExactDecimal::new(tally.amount, scale),
            site_name: name.clone(),
            site_key: key.cloned(),
        })
        .collect();
    rows.sort_by(|a, b| b.2.count.cmp(&a.2.count).then_with(|| by_name(a, b)));
    let counts = rows
        .into_iter()
        .map(|(site_name, key, tally)| SiteTransactions {
            site_name,
            transactions: tally.count,
            site_key: key.cloned(),
        })
        .collect();
    (amounts, counts)
}

/// The hours in order.
fn hours(
    question: &CheckedRequest<'_>,
    hours: &HourCounts,
    labels: &mut HourLabels,
) -> Result<Vec<HourlyTransactions>> {
    let row = |(start, transactions): (i64, i64)| -> Result<HourlyTransactions> {
        let hour = match question.request.hours {
            HourGrouping::Timeline => labels.of(start)?,
            HourGrouping::OfDay => format!("{start:02}"),
        };
        Ok(HourlyTransactions { hour, transactions })
    };
    hours.in_order().into_iter().map(row).collect()
}

/// Labels of hours. Of a day all but the hour is written once: ten years have half a million labels.
struct HourLabels {
    zone: Zone,
    clock: ZoneClock,
    /// The zone's day and offset that the texts are of.
    day: Option<(i64, i64)>,
    /// Text before the hour, and behind its minutes and seconds.
    around: (String, String),
}

impl HourLabels {
    fn new(zone: Zone) -> Self {
        Self {
            zone,
            clock: ZoneClock::new(zone),
            day: None,
            around: (String::new(), String::new()),
        }
    }

    /// As [`hour_label`] writes it.
    fn of(&mut self, start: i64) -> Result<String> {
        let offset = self.clock.offset(start);
        let wall = start.saturating_add(offset);
        if wall.rem_euclid(HOUR) != 0 {
            return hour_label(start, self.zone);
        }
        let day = Some((wall.div_euclid(DAY), offset));
        if self.day != day {
            let label = hour_label(start, self.zone)?;
            let Some((date, time)) = label.split_once('T') else {
                return Ok(label);
            };
            let behind = time.get(MINUTES.len() + 2..).unwrap_or_default();
            self.around = (format!("{date}T"), behind.to_owned());
            self.day = day;
        }
        let (before, behind) = &self.around;
        let hour = u8::try_from(wall.rem_euclid(DAY) / HOUR).unwrap_or_default();
        let mut label = String::with_capacity(before.len() + 2 + MINUTES.len() + behind.len());
        label.push_str(before);
        label.push(char::from(b'0' + hour / 10));
        label.push(char::from(b'0' + hour % 10));
        label.push_str(MINUTES);
        label.push_str(behind);
        Ok(label)
    }
}

/// Minutes and seconds of the start of an hour.
const MINUTES: &str = ":00:00";

/// An hour's start as ISO 8601 with the offset of that hour; `Z` where the zone is UTC.
///
/// Zones that move their clock by half an hour (Lord Howe Island): the hour after the change starts with it, at half past.
fn hour_label(start: i64, zone: Zone) -> Result<String> {
    let offset = zone.offset_at(start);
    let beyond = || {
        Error::data(format!(
            "the hour that starts at {start} microseconds cannot be written as a date"
        ))
    };
    let instant = jiff::Timestamp::from_microsecond(start).map_err(|_| beyond())?;
    let offset = jiff::tz::Offset::from_seconds(offset).map_err(|_| beyond())?;
    let wall = offset.to_datetime(instant);
    let suffix = if zone.is_utc() {
        "Z".to_owned()
    } else {
        written(offset.seconds())
    };
    Ok(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{suffix}",
        wall.year(),
        wall.month(),
        wall.day(),
        wall.hour(),
        wall.minute(),
        wall.second()
    ))
}

/// `+01:00`; with seconds where an offset has them, as before there were time zones.
fn written(offset: i32) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes, seconds) = (
        offset.abs() / 3600,
        offset.abs() / 60 % 60,
        offset.abs() % 60,
    );
    if seconds == 0 {
        format!("{sign}{hours:02}:{minutes:02}")
    } else {
        format!("{sign}{hours:02}:{minutes:02}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(instant: &str, zone: &str) -> String {
        let zone = Zone::parse(zone).unwrap();
        let micros = instant.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        hour_label(
            tillhouse_query::zone::ZoneClock::new(zone).hour_start(micros),
            zone,
        )
        .unwrap()
    }

    #[test]
    fn labels_of_a_day_are_those_of_its_hours() {
        for zone in ["UTC", "Europe/Berlin", "+05:30", "Australia/Lord_Howe"] {
            let zone = Zone::parse(zone).unwrap();
            let mut labels = HourLabels::new(zone);
            let from: jiff::Timestamp = "2026-03-27T00:00:00Z".parse().unwrap();
            for half in 0..2_000 {
                let start = from.as_microsecond() + half * (HOUR / 2);
                assert_eq!(labels.of(start).unwrap(), hour_label(start, zone).unwrap());
            }
        }
    }

    #[test]
    fn hours_carry_their_offset() {
        assert_eq!(label("2026-01-01T09:59:59Z", "UTC"), "2026-01-01T09:00:00Z");
        assert_eq!(
            label("2026-01-01T09:59:59Z", "Europe/Zurich"),
            "2026-01-01T10:00:00+01:00"
        );
        assert_eq!(
            label("2026-01-01T09:59:59Z", "Europe/London"),
            "2026-01-01T09:00:00+00:00"
        );
        assert_eq!(
            label("2026-01-01T09:59:59Z", "-03:30"),
            "2026-01-01T06:00:00-03:30"
        );
        assert_eq!(
            label("2026-01-01T09:20:00Z", "Asia/Kolkata"),
            "2026-01-01T14:00:00+05:30"
        );
    }

    #[test]
    fn an_hour_that_comes_twice_has_two_labels() {
        assert_eq!(
            label("2026-10-25T00:30:00Z", "Europe/Berlin"),
            "2026-10-25T02:00:00+02:00"
        );
        assert_eq!(
            label("2026-10-25T01:30:00Z", "Europe/Berlin"),
            "2026-10-25T02:00:00+01:00"
        );
        assert_eq!(
            label("2026-03-29T01:30:00Z", "Europe/Berlin"),
            "2026-03-29T03:00:00+02:00"
        );
    }

    #[test]
    fn lord_howe_moves_by_half_an_hour() {
        assert_eq!(
            label("2026-04-04T14:45:00Z", "Australia/Lord_Howe"),
            "2026-04-05T01:00:00+11:00"
        );
        assert_eq!(
            label("2026-04-04T15:15:00Z", "Australia/Lord_Howe"),
            "2026-04-05T01:30:00+10:30"
        );
        assert_eq!(
            label("2026-10-03T15:45:00Z", "Australia/Lord_Howe"),
            "2026-10-04T02:30:00+11:00"
        );
    }

    #[test]
    fn hours_before_and_behind_a_change_are_two() {
        assert_eq!(
            label("2026-04-04T13:50:00Z", "Pacific/Chatham"),
            "2026-04-05T03:00:00+13:45"
        );
        assert_eq!(
            label("2026-04-04T14:10:00Z", "Pacific/Chatham"),
            "2026-04-05T02:45:00+12:45"
        );
    }
}
