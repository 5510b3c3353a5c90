//! HecOne's own statistics of a mandator and a window, to reconcile with.
//!
//! Invariant: numbers keep every digit they were written with; a part that HecOne left out is not taken for one that is empty. Forms that can mean
//! one thing only are read, as in records: a number as text, a number where a label is expected, `{}` or null for an empty list, no content at all.
//! A value that cannot be read is an error that names the field, and never the value.
//!
//! The document knows no currency in an entry. Where one names it all the same it is kept; where none does, figures have none.

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_extract::{AuthorizedClient, HttpOutcome, HttpRefusal, HttpRequest, Redactor};
use tillhouse_model::reconcile::{ProviderFigure, ProviderFigures, StatisticsPart};
use tillhouse_model::{Error, ErrorKind, ExactDecimal, Filter, FilterOperand};
use tillhouse_model::{Result, ResultExt, Secret, Window};
use url::Url;

/// Name of requests for statistics in errors and logs.
const STATISTICS: &str = "statistics";
/// Rankings: a number a row, and a label under the ranking's own name.
const RANKINGS: [(&str, &str, StatisticsPart); 7] = [
    (
        "payment_type_ranking",
        "payment_type",
        StatisticsPart::PaymentType,
    ),
    (
        "payment_medium_ranking",
        "payment_medium",
        StatisticsPart::PaymentMedium,
    ),
    (
        "payment_scheme_ranking",
        "payment_scheme",
        StatisticsPart::PaymentScheme,
    ),
    (
        "payment_entry_mode_ranking",
        "payment_entry_mode",
        StatisticsPart::PaymentEntryMode,
    ),
    (
        "payment_function_ranking",
        "payment_function",
        StatisticsPart::PaymentFunction,
    ),
    (
        "sites_amount_ranking",
        "site_name",
        StatisticsPart::SiteAmount,
    ),
    (
        "sites_transactions_ranking",
        "site_name",
        StatisticsPart::SiteCount,
    ),
];
/// Shorter texts of a filter are words of any message.
const SHORTEST_QUOTED: usize = 3;
/// Texts that say that there is no growth.
const NO_GROWTH: [&str; 8] = ["", "-", "--", "n/a", "na", "nan", "none", "null"];

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
        // A server that refuses a filter may quote it, and a plate in it with it.
        let quoted = filter
            .tests()
            .into_iter()
            .filter_map(|test| match &test.value {
                FilterOperand::Text(text) if may_be_personal(text) => {
                    Some(Secret::new(text.clone()))
                }
                _ => None,
            });
        let redactor = Redactor::beside(api.client().redactor(), quoted);
        let filter = serde_json::to_string(filter)
            .or_error(ErrorKind::Internal, "a filter cannot be written")?;
        request = request.query(parameter, &filter).redacted_by(redactor);
    }
    match api.send(&request).await? {
        HttpOutcome::Success(response) => read(&response.bytes),
        HttpOutcome::Refused(refusal) => Err(refused(refusal)),
    }
}

/// True if a text of a filter may be what nobody should see; an instant or a day is not.
fn may_be_personal(text: &str) -> bool {
    let is_time = text.parse::<Timestamp>().is_ok() || text.parse::<DateTime>().is_ok();
    text.chars().count() >= SHORTEST_QUOTED && !is_time
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
    let text = std::str::from_utf8(body).map_err(|_| strange())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    let mut evidence = ProviderFigures::default();
    let entries = match text {
        // No content: nothing was sold.
        "" => Vec::new(),
        text => {
            let envelope: BTreeMap<String, &RawValue> =
                serde_json::from_str(text).map_err(|_| strange())?;
            let data = envelope.get("data").ok_or_else(strange)?;
            list(&JsonField::of(data, "data")).map_err(unreadable)?
        }
    };
    if entries.is_empty() {
        // Nothing was sold at all, and every part says so.
        evidence.parts = StatisticsPart::ALL
            .iter()
            .copied()
            .filter(|part| *part != StatisticsPart::Records)
            .collect();
    }
    for entry in &entries {
        read_entry(entry, &mut evidence).map_err(unreadable)?;
    }
    if evidence.parts.is_empty() {
        let keys: BTreeSet<&str> = entries
            .iter()
            .flat_map(|entry| entry.fields.keys().map(String::as_str))
            .collect();
        tracing::warn!(
            ?keys,
            "the statistics name no figure that is known: nothing can be compared with them"
        );
    }
    Ok(evidence)
}

/// A field that is not what it should be.
struct UnreadableField {
    path: String,
    expected: &'static str,
}

fn unreadable(UnreadableField { path, expected }: UnreadableField) -> Error {
    Error::protocol(format!(
        "`{path}` of HecOne's statistics cannot be read: expected {expected}"
    ))
    .hint("Ask the provider what that field holds; `tillhouse reconcile --by records` compares without these statistics.")
}

/// A value, and where it stands.
struct JsonField<'a> {
    value: &'a RawValue,
    path: String,
}

impl<'a> JsonField<'a> {
    fn of(value: &'a RawValue, path: impl Into<String>) -> Self {
        let path = path.into();
        Self { value, path }
    }

    fn fail<T>(&self, expected: &'static str) -> FieldResult<T> {
        let path = self.path.clone();
        Err(UnreadableField { path, expected })
    }

    fn is_null(&self) -> bool {
        self.value.get() == "null"
    }
}

type FieldResult<T> = std::result::Result<T, UnreadableField>;

/// An object, and where it stands.
struct JsonObject<'a> {
    fields: BTreeMap<String, &'a RawValue>,
    path: String,
}

impl<'a> JsonObject<'a> {
    fn of(field: &JsonField<'a>) -> FieldResult<Self> {
        match serde_json::from_str(field.value.get()) {
            Ok(fields) => Ok(Self {
                fields,
                path: field.path.clone(),
            }),
            Err(_) => field.fail("an object"),
        }
    }

    /// A field that is there, be it null.
    fn get(&self, name: &str) -> Option<JsonField<'a>> {
        let value = self.fields.get(name)?;
        Some(JsonField::of(value, format!("{}.{name}", self.path)))
    }

    /// The first of some that is there.
    fn required(&self, names: &[&str], expected: &'static str) -> FieldResult<JsonField<'a>> {
        let found = names.iter().find_map(|name| self.get(name));
        found.ok_or_else(|| UnreadableField {
            path: format!(
                "{}.{}",
                self.path,
                names.first().copied().unwrap_or_default()
            ),
            expected,
        })
    }
}

/// The objects of a list. Null and an empty object are an empty list, and null in it is nothing.
fn list<'a>(field: &JsonField<'a>) -> FieldResult<Vec<JsonObject<'a>>> {
    if field.is_null() {
        return Ok(Vec::new());
    }
    let text = field.value.get();
    let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(text) else {
        let is_empty = serde_json::from_str::<BTreeMap<String, &RawValue>>(text)
            .is_ok_and(|fields| fields.is_empty());
        return if is_empty {
            Ok(Vec::new())
        } else {
            field.fail("a list")
        };
    };
    values
        .into_iter()
        .enumerate()
        .map(|(at, value)| JsonField::of(value, format!("{}[{at}]", field.path)))
        .filter(|item| !item.is_null())
        .map(|item| JsonObject::of(&item))
        .collect()
}

/// A text, also where it is written as a number or a boolean; null is none.
fn text(field: &JsonField<'_>) -> FieldResult<Option<String>> {
    let raw = field.value.get();
    match raw.as_bytes().first() {
        _ if raw == "null" => Ok(None),
        Some(b'"') => match serde_json::from_str(raw) {
            Ok(text) => Ok(Some(text)),
            Err(_) => field.fail("a text"),
        },
        Some(b'{' | b'[') => field.fail("a text"),
        _ => Ok(Some(raw.to_owned())),
    }
}

/// A number, also where it is written as text; null is none.
fn number(field: &JsonField<'_>) -> FieldResult<Option<ExactDecimal>> {
    let Some(text) = text(field)? else {
        return Ok(None);
    };
    let text = text.trim();
    match ExactDecimal::from_json(text.strip_prefix('+').unwrap_or(text)) {
        Some(number) => Ok(Some(number)),
        None => field.fail("a number"),
    }
}

/// Growth in per cent. No growth, and growth that is null or says so in words, are the same: there is none.
fn growth(field: &JsonField<'_>) -> FieldResult<Option<ExactDecimal>> {
    let said = text(field)?.unwrap_or_default();
    let said = said.trim();
    if NO_GROWTH.iter().any(|none| said.eq_ignore_ascii_case(none)) {
        return Ok(None);
    }
    let said = said.strip_suffix('%').unwrap_or(said).trim_end();
    match ExactDecimal::from_json(said.strip_prefix('+').unwrap_or(said)) {
        Some(number) => Ok(Some(number)),
        None => field.fail("a number"),
    }
}

/// A label that is missing is shown as ours are.
fn label(field: Option<&JsonField<'_>>) -> FieldResult<String> {
    let said = field.map(text).transpose()?.flatten();
    let said = said.filter(|text| !text.trim().is_empty());
    Ok(said.unwrap_or_else(|| "unknown".to_owned()))
}

/// Reads one entry, any part of which may be missing.
fn read_entry(entry: &JsonObject<'_>, evidence: &mut ProviderFigures) -> FieldResult<()> {
    let currency = entry.get("currency");
    let currency = currency.as_ref().map(text).transpose()?.flatten();
    let ProviderFigures { parts, figures } = evidence;
    let mut figures = FigureCollector {
        currency: currency.as_deref().filter(|c| !c.trim().is_empty()),
        parts,
        figures,
    };
    // A part that is null was not said.
    let part = |name: &str| entry.get(name).filter(|field| !field.is_null());
    for (name, value, growing) in [
        (
            "transactions_count",
            StatisticsPart::Count,
            StatisticsPart::CountGrowth,
        ),
        (
            "transactions_total_amount",
            StatisticsPart::Amount,
            StatisticsPart::AmountGrowth,
        ),
    ] {
        let Some(total) = part(name) else { continue };
        if !total.value.get().starts_with(['{', '[']) {
            figures.add(value, None, None, number(&total)?);
            continue;
        }
        let total = JsonObject::of(&total)?;
        let said = total.required(&["value"], "a number")?;
        figures.add(value, None, None, number(&said)?);
        let said = total.get("growth").as_ref().map(growth).transpose()?;
        figures.add(growing, None, None, said.flatten());
    }
    if let Some(hours) = part("hourly_transactions") {
        figures.parts.insert(StatisticsPart::Hours);
        for row in list(&hours)? {
            let hour = row.required(&["hour"], "an hour")?;
            let Some(label) = text(&hour)? else {
                return hour.fail("an hour");
            };
            let count = number(&row.required(&["transactions"], "a number")?)?;
            figures.add(StatisticsPart::Hours, None, Some(label), count);
        }
    }
    for (name, named, ranking) in RANKINGS {
        let Some(rows) = part(name) else { continue };
        figures.parts.insert(ranking);
        for row in list(&rows)? {
            let value = number(&row.required(&["amount", "transactions"], "a number")?)?;
            let label = label(row.get(named).as_ref())?;
            figures.add(ranking, None, Some(label), value);
        }
    }
    if let Some(units) = part("article_quantities_ranking") {
        figures.parts.insert(StatisticsPart::Quantities);
        for unit in list(&units)? {
            let measure = unit.get("unit_measure");
            let measure = measure.as_ref().map(text).transpose()?.flatten();
            for row in list(&unit.required(&["articles_quantities"], "a list")?)? {
                let quantity = number(&row.required(&["quantity"], "a number")?)?;
                let name = label(row.get("article_name").as_ref())?;
                figures.add(
                    StatisticsPart::Quantities,
                    measure.as_deref(),
                    Some(name),
                    quantity,
                );
            }
        }
    }
    Ok(())
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
        for body in [
            r#"{"data":[]}"#,
            r#"{"data":null}"#,
            r#"{"data":{}}"#,
            r#"{"data":[null]}"#,
            "",
            "\u{feff} \n",
        ] {
            let evidence = read(body.as_bytes()).unwrap();
            assert!(evidence.figures.is_empty(), "{body:?}");
            assert!(
                evidence.parts.contains(&StatisticsPart::Hours)
                    && !evidence.parts.contains(&StatisticsPart::Records),
                "{body:?}"
            );
        }
    }

    #[test]
    fn an_entry_without_a_known_figure_speaks_of_no_part() {
        for body in [
            r#"{"data":[{}]}"#,
            r#"{"data":[{"revenue":{"value":5}},{}]}"#,
            r#"{"data":[{"transactions_count":null}]}"#,
        ] {
            let evidence = read(body.as_bytes()).unwrap();
            assert_eq!(evidence, ProviderFigures::default(), "{body}");
        }
    }

    #[test]
    fn forms_that_can_mean_one_thing_only_are_read() {
        let body = br#"{"data":[null,{
            "hourly_transactions":[null,{"hour":"08","transactions":"2"}],
            "payment_type_ranking":{},
            "payment_medium_ranking":[{"amount":"+1.50","payment_medium":7},{"amount":2,"payment_medium":true},
                {"amount":3,"payment_medium":" "},{"amount":null,"payment_medium":"Cash"}],
            "article_quantities_ranking":[{"unit_measure":null,"articles_quantities":{}},
                {"unit_measure":1,"articles_quantities":[{"article_name":5,"quantity":"2"},null]}],
            "sites_amount_ranking":null,
            "transactions_count":{"growth":"n/a","value":"5"},
            "transactions_total_amount":49.999999999999996}]}"#;
        let evidence = read(body).unwrap();
        assert_eq!(
            shown(&evidence),
            [
                "transactions_count - - - 5",
                "transactions_count.growth - - - -",
                "transactions_total_amount - - - 49.999999999999996",
                "hourly_transactions - - 08 2",
                "payment_medium_ranking - - 7 1.5",
                "payment_medium_ranking - - true 2",
                "payment_medium_ranking - - unknown 3",
                "payment_medium_ranking - - Cash -",
                "article_quantities_ranking - 1 5 2",
            ]
        );
        let spoken = |part| evidence.parts.contains(&part);
        assert!(spoken(StatisticsPart::PaymentType) && spoken(StatisticsPart::Quantities));
        assert!(!spoken(StatisticsPart::SiteAmount) && !spoken(StatisticsPart::AmountGrowth));
        for (growth, read_as) in [("\"12.5 %\"", "12.5"), ("\"+3\"", "3"), ("\"-\"", "-")] {
            let body =
                format!(r#"{{"data":[{{"transactions_count":{{"growth":{growth},"value":1}}}}]}}"#);
            let said = shown(&read(body.as_bytes()).unwrap());
            assert_eq!(
                said[1],
                format!("transactions_count.growth - - - {read_as}")
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (entry, named) in [
            (
                r#"{"sites_amount_ranking":[{"site_name":"a","amount":1},{"site_name":"b","amount":{}}]}"#,
                "`data[0].sites_amount_ranking[1].amount`",
            ),
            (
                r#"{"sites_amount_ranking":[1]}"#,
                "`data[0].sites_amount_ranking[0]`",
            ),
            (
                r#"{"sites_amount_ranking":{"a":1}}"#,
                "`data[0].sites_amount_ranking`",
            ),
            (
                r#"{"payment_type_ranking":[{"amount":1,"payment_type":[]}]}"#,
                "[0].payment_type`",
            ),
            (
                r#"{"hourly_transactions":[{"hour":null,"transactions":1}]}"#,
                "[0].hour`",
            ),
            (
                r#"{"transactions_count":{}}"#,
                "`data[0].transactions_count.value`",
            ),
            (
                r#"{"transactions_count":{"value":1,"growth":"much"}}"#,
                ".growth`",
            ),
            ("7", "`data[0]`"),
        ] {
            let error = read(format!(r#"{{"data":[{entry}]}}"#).as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains(named), "{entry}: {error}");
        }
    }

    #[test]
    fn what_is_something_else_is_an_error_that_quotes_nothing() {
        for body in [
            &b"<html>"[..],
            b"[]",
            br#"{"data":{"hunter2":1}}"#,
            br#"{"items":[]}"#,
            br#"{"data":[{"transactions_count":{"value":"hunter2"}}]}"#,
            br#"{"data":[{"sites_amount_ranking":[{"site_name":"hunter2"}]}]}"#,
        ] {
            let error = read(body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
