//! Control totals: what somebody else's books say of a day and a currency, from a CSV file, and ours of the same days.
//!
//! Invariant: an amount goes from the file's text to an exact number; a line that cannot be read is an error that names it.

use crate::columns::{decimals, each_batch, integers, texts};
use crate::facts::FactConditions;
use crate::request::{CheckedRequest, StatisticsRequest};
use crate::rollup::{AnswerSource, source_of_days};
use crate::transaction_totals::UNKNOWN;
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::reconcile::{ProviderFigure, ProviderFigures, StatisticsPart};
use tillhouse_model::{Error, ExactDecimal, Result};
use tillhouse_query::Session;

/// Control totals of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlTotal {
    /// The day.
    pub day: Date,
    /// The figures: at most a count and an amount a currency.
    pub figures: ProviderFigures,
}

/// The columns a control file may have.
const COLUMNS: [&str; 4] = ["day", "currency", "count", "amount"];

/// Reads a control file: a header with `day`, `currency` and at least one of `count` and `amount`, in any order, then a line a day and
/// currency. Separated by commas, semicolons or tabs; where it is not commas, one may be the decimal point.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`], naming the file and line.
pub fn control_totals(text: &str, file: &str) -> Result<Vec<ControlTotal>> {
    let at = |line: usize, what: String| Error::config(what).at("file", format!("{file}:{line}"));
    let mut lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let hint = "The first line names the columns: day,currency,count,amount.";
    let (_, header) = lines.next().ok_or_else(|| {
        Error::config("the control file is empty")
            .at("file", file)
            .hint(hint)
    })?;
    let separator = [';', '\t']
        .into_iter()
        .find(|c| header.contains(*c))
        .unwrap_or(',');
    let names: Vec<String> = cells(header, separator)
        .iter()
        .map(|name| name.to_ascii_lowercase())
        .collect();
    let place = |name: &str| names.iter().position(|n| n == name);
    if let Some(unknown) = names.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        return Err(at(1, format!("a control file has no column {unknown:?}")).hint(hint));
    }
    let (Some(day_at), Some(currency_at)) = (place("day"), place("currency")) else {
        return Err(at(
            1,
            "the control file has no column day, or none called currency".to_owned(),
        )
        .hint(hint));
    };
    let sums = [
        (StatisticsPart::Count, "count"),
        (StatisticsPart::Amount, "amount"),
    ]
    .map(|(part, name)| (part, name, place(name)));
    if sums.iter().all(|(.., at)| at.is_none()) {
        return Err(at(
            1,
            "the control file has neither count nor amount".to_owned(),
        )
        .hint(hint));
    }
    let mut days: BTreeMap<Date, ProviderFigures> = BTreeMap::new();
    let mut seen: BTreeSet<(Date, String)> = BTreeSet::new();
    for (index, line) in lines {
        let cells = cells(line, separator);
        if cells.len() != names.len() {
            let hint = "An amount with a decimal comma needs semicolons between the columns, or quotes around it.";
            let what = format!("{} cells where the header has {}", cells.len(), names.len());
            return Err(at(index + 1, what).hint(hint));
        }
        let cell = |at: usize| cells.get(at).map(String::as_str).unwrap_or_default();
        let wrong = |what: &str| at(index + 1, format!("{what} cannot be read"));
        let day: Date = cell(day_at)
            .parse()
            .map_err(|_| wrong("the day").hint("Write it like 2026-01-31."))?;
        let currency = match cell(currency_at) {
            code if code.len() == 3 && code.bytes().all(|c| c.is_ascii_alphabetic()) => {
                code.to_ascii_uppercase()
            }
            other if other.eq_ignore_ascii_case(UNKNOWN) => UNKNOWN.to_owned(),
            _ => {
                return Err(wrong("the currency")
                    .hint("Write its code, like EUR, or `unknown` where there is none."));
            }
        };
        if !seen.insert((day, currency.clone())) {
            return Err(at(index + 1, format!("{day} {currency} stands here twice")));
        }
        let said = days.entry(day).or_default();
        let mut has_number = false;
        for (part, name, column) in sums {
            let Some(text) = column.map(cell) else {
                continue;
            };
            let figure = |value| ProviderFigure {
                part,
                currency: Some(currency.clone()),
                unit: None,
                label: None,
                value,
            };
            if text.is_empty() {
                // Nobody knows it: that is no zero.
                said.figures.push(figure(None));
                continue;
            }
            let text = if separator == ',' {
                text.to_owned()
            } else {
                text.replace(',', ".")
            };
            let value = ExactDecimal::parse(&text)
                .filter(|v| part == StatisticsPart::Amount || v.trimmed().scale == 0);
            let hint = "Write digits with a point, without thousands' separators.";
            let value = value.ok_or_else(|| wrong(&format!("the {name}")).hint(hint))?;
            said.parts.insert(part);
            said.figures.push(figure(Some(value)));
            has_number = true;
        }
        if !has_number {
            return Err(at(
                index + 1,
                "there is neither a count nor an amount".to_owned(),
            ));
        }
    }
    Ok(days
        .into_iter()
        .map(|(day, said)| ControlTotal { day, figures: said })
        .collect())
}

/// A line's cells; one in quotes may hold the separator.
fn cells(line: &str, separator: char) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.trim_end_matches('\r').chars() {
        match c {
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                cells.push(std::mem::take(&mut cell).trim().to_owned())
            }
            c => cell.push(c),
        }
    }
    cells.push(cell.trim().to_owned());
    cells
}

/// Our counts and amounts of the days that lie in the request's window, by currency. Days are every site's own, or where `zone` is
/// given that zone's.
pub async fn own_totals(
    session: &Session,
    request: &StatisticsRequest,
    zone: Option<&str>,
) -> Result<BTreeMap<Date, Vec<ProviderFigure>>> {
    let question = CheckedRequest::new(request)?;
    let source = match zone {
        None => source_of_days(session).await?,
        Some(_) => AnswerSource::Facts,
    };
    let (schema, table) = source.table("transactions");
    let mut totals = BTreeMap::new();
    if !session.has_table(schema, table).await? {
        return Ok(totals);
    }
    // A site's day begins and ends within a day of UTC's. Whole days, since sums may be those of days; what is beside the window is left
    // out below.
    let day = tillhouse_model::calendar::DAY;
    let first_of_day = |micros: i64| micros.saturating_sub(micros.rem_euclid(day));
    let around = (
        first_of_day(question.now.0.saturating_sub(day)),
        first_of_day(question.now.1.saturating_add(2 * day)),
    );
    let mut conditions = FactConditions::between(&question, around);
    let date = match zone {
        None => "coalesce(business_date, local_date(occurred_at, 'UTC'))",
        Some(zone) => {
            conditions.params.push((
                "zone",
                tillhouse_query::ScalarValue::Utf8(Some(zone.to_owned())),
            ));
            "local_date(occurred_at, $zone)"
        }
    };
    let sql = format!(
        "SELECT CAST(date AS INT) AS date, currency, sum(weight) AS transactions, sum(amount) AS amount
         FROM (SELECT {date} AS date, currency, {} AS weight, amount FROM {}
               WHERE {} AND {}) AS asked
         GROUP BY date, currency ORDER BY date, currency",
        source.weight(),
        source.relation("transactions"),
        conditions.sql,
        question.counted_sql("state")
    );
    each_batch(session, &sql, &conditions.params, |batch| {
        let (dates, counts) = (integers(batch, "date")?, integers(batch, "transactions")?);
        let (currencies, amounts) = (texts(batch, "currency")?, decimals(batch, "amount")?);
        for row in 0..batch.num_rows() {
            let Some(date) = dates.get(row).and_then(civil) else {
                continue;
            };
            let currency = Some(currencies.get(row).unwrap_or(UNKNOWN).to_owned());
            let count = ExactDecimal::new(i128::from(counts.get(row).unwrap_or(0)), 0);
            let amount = ExactDecimal::new(amounts.get(row), amounts.scale);
            let figures: &mut Vec<ProviderFigure> = totals.entry(date).or_default();
            for (part, value) in [
                (StatisticsPart::Count, count),
                (StatisticsPart::Amount, amount),
            ] {
                figures.push(ProviderFigure {
                    part,
                    currency: currency.clone(),
                    unit: None,
                    label: None,
                    value: Some(value),
                });
            }
        }
        Ok(())
    })
    .await?;
    let utc = |micros: i64| {
        jiff::Timestamp::from_microsecond(micros)
            .ok()
            .map(|t| t.to_zoned(jiff::tz::TimeZone::UTC).date())
    };
    if let Some((first, end)) = utc(question.now.0).zip(utc(question.now.1)) {
        totals.retain(|date, _| first <= *date && *date < end);
    }
    Ok(totals)
}

fn civil(days: i64) -> Option<Date> {
    jiff::civil::date(1970, 1, 1)
        .checked_add(jiff::Span::new().try_days(days).ok()?)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(totals: &[ControlTotal]) -> Vec<String> {
        let line = |total: &ControlTotal| {
            let figures = total
                .figures
                .figures
                .iter()
                .map(|f| {
                    (
                        f,
                        f.value
                            .map_or_else(|| "-".to_owned(), |value| value.to_string()),
                    )
                })
                .map(|(f, value)| format!("{}:{}={value}", f.currency.as_deref().unwrap(), f.part));
            format!("{} {}", total.day, figures.collect::<Vec<_>>().join(" "))
        };
        totals.iter().map(line).collect()
    }

    #[test]
    fn files_are_read_in_the_shapes_spreadsheets_write() {
        let plain = "day,currency,count,amount\n2026-01-02,EUR,3,10.50\n2026-01-01,eur,0,0\n\n2026-01-02,CHF,1,\n2026-01-02,Unknown,2,\n";
        let expected = [
            "2026-01-01 EUR:transactions_count=0 EUR:transactions_total_amount=0",
            "2026-01-02 EUR:transactions_count=3 EUR:transactions_total_amount=10.50 CHF:transactions_count=1 CHF:transactions_total_amount=- unknown:transactions_count=2 unknown:transactions_total_amount=-",
        ];
        assert_eq!(shown(&control_totals(plain, "f").unwrap()), expected);
        let other = "\u{feff}Amount;Day;Currency\r\n\"10,50\";2026-01-02;EUR\r\n";
        assert_eq!(
            shown(&control_totals(other, "f").unwrap()),
            ["2026-01-02 EUR:transactions_total_amount=10.50"]
        );
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, place, said) in [
            ("", "f", "empty"),
            ("day,count\n", "f:1", "currency"),
            ("day,currency\n", "f:1", "neither count nor amount"),
            ("day,currency,total\n", "f:1", "\"total\""),
            ("day,currency,count\n1.1.2026,EUR,1\n", "f:2", "the day"),
            ("day,currency,count\n2026-01-01,,1\n", "f:2", "the currency"),
            (
                "day,currency,count\n2026-01-01,Euro,1\n",
                "f:2",
                "the currency",
            ),
            (
                "day,currency,count\n2026-01-01,EUR,1.5\n",
                "f:2",
                "the count",
            ),
            (
                "day,currency,amount\n\n2026-01-01,EUR,1 000\n",
                "f:3",
                "the amount",
            ),
            (
                "day,currency,count,amount\n2026-01-01,EUR,,\n",
                "f:2",
                "neither a count nor an amount",
            ),
            (
                "day,currency,count,amount\n2026-01-01,EUR\n",
                "f:2",
                "2 cells where the header has 4",
            ),
            (
                "day,currency,count,amount\n2026-01-01,EUR,1,10,50\n",
                "f:2",
                "5 cells where the header has 4",
            ),
            (
                "day,currency,count\n2026-01-01,EUR,1\n2026-01-01,eur,1\n",
                "f:3",
                "twice",
            ),
        ] {
            let error = control_totals(text, "f").unwrap_err();
            assert_eq!(error.kind(), tillhouse_model::ErrorKind::Config);
            let shown = error.to_string();
            assert!(
                shown.contains(&format!("file {place}")) && shown.contains(said),
                "{text:?}: {shown}"
            );
        }
    }
}
