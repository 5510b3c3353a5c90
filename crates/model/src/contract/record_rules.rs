//! Rules that compare columns of one record: `sum`, `product`, `tax`, `localTime`, `amount`, `rate`, `state`, `present` and `absent`, written at the table.
//!
//! Invariant: a rule that comes out of [`fits`] unharmed names columns that are stored as they came, of types that can be compared.

use super::find;
use super::odcs::OdcsValue;
use super::problems::{ContractProblems, unknown};
use crate::blank::is_blank;
use crate::money::{PriceUnit, VatRateUnit};
use crate::table::{
    AbsenceRule, AmountRule, ColumnClass, ColumnKind, ColumnSpec, ElementFilter, LocalTimeRule,
    PresenceRule, PriceUnitSource, ProductRule, RateRule, RateUnitSource, RuleCheck,
    StateCurrencies, StateRule, SumRule, TaxRule,
};
use crate::time_zone::IanaZone;
use crate::yaml::FileLocation;
use std::collections::BTreeMap;

/// The rules there are.
pub(super) const KNOWN: [&str; 9] = [
    "sum",
    "product",
    "tax",
    "localTime",
    "amount",
    "rate",
    "state",
    "present",
    "absent",
];

/// Hint for a rule that lacks its operands.
pub(super) fn wanted(rule: &str) -> String {
    let keys = match rule {
        "amount" => "is: ..., currency: ..., unit: ...",
        "rate" => "is: ..., unit: ...",
        "tax" => "is: ..., of: ..., rate: ..., currency: ...",
        "present" => "is: ...",
        "absent" => "is: ..., beside: ...",
        "state" => "is: ..., articles: ..., payments: ..., collected: ..., owed: ...",
        _ => "of: ..., is: ...",
    };
    format!("`{rule}` needs what it compares: write `{rule}: {{ {keys} }}`")
}

/// Arguments of one rule, each looked up once.
struct RuleArguments<'w> {
    rule: &'w str,
    map: &'w BTreeMap<String, OdcsValue>,
    at: FileLocation,
}

impl RuleArguments<'_> {
    fn path(&self, key: &str, problems: &mut ContractProblems) -> Option<Vec<String>> {
        let path = self.map.get(key).and_then(OdcsValue::as_text).map(split);
        if path.is_none() {
            problems.add(
                self.at,
                format!("`{}` needs `{key}`: the path of a column", self.rule),
            );
        }
        path
    }

    fn paths(&self, key: &str, problems: &mut ContractProblems) -> Option<Vec<Vec<String>>> {
        let texts = self.map.get(key).and_then(OdcsValue::as_texts);
        if texts.is_none() {
            problems.add(
                self.at,
                format!("`{}` needs `{key}`: a list of paths of columns", self.rule),
            );
        }
        texts.map(|texts| texts.into_iter().map(split).collect())
    }

    /// A path, or a list of paths.
    fn one_or_more(&self, key: &str, problems: &mut ContractProblems) -> Option<Vec<Vec<String>>> {
        match self.map.get(key).and_then(OdcsValue::as_text) {
            Some(path) => Some(vec![split(path)]),
            None => self.paths(key, problems),
        }
    }

    /// The columns that name the currency; none where the key is not written.
    fn currency(&self, problems: &mut ContractProblems) -> Option<Vec<Vec<String>>> {
        if self.has_any(&["currency"]) {
            self.one_or_more("currency", problems)
        } else {
            Some(Vec::new())
        }
    }

    /// True if one of these keys is written.
    fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.map.contains_key(*key))
    }

    fn only(&self, known: &[&str], problems: &mut ContractProblems) -> Option<()> {
        let stray = self.map.keys().find(|key| !known.contains(&key.as_str()))?;
        problems.add(
            self.at,
            unknown(&format!("key of `{}`", self.rule), stray, known),
        );
        Some(())
    }
}

fn split(path: &str) -> Vec<String> {
    path.split('.').map(str::to_owned).collect()
}

/// Reads `{ of: ..., is: ... }` and its like: the column that is compared, and what with.
pub(super) fn read(
    rule: &str,
    value: &OdcsValue,
    at: FileLocation,
    problems: &mut ContractProblems,
) -> Option<(Vec<String>, RuleCheck)> {
    let OdcsValue::Map(map) = value else {
        problems.add(at, wanted(rule));
        return None;
    };
    let keys = RuleArguments { rule, map, at };
    if rule == "sum" {
        if keys.only(&SUM_KEYS, problems).is_some() {
            return None;
        }
        let (of, is) = (keys.paths("of", problems), keys.path("is", problems));
        let mut elements = |key: &str| {
            map.get(key)
                .map(|words| words_of(key, words, at, problems).ok_or(()))
                .transpose()
                .ok()
        };
        let (except, only) = (elements("except")?, elements("only")?);
        if except.is_some() && only.is_some() {
            problems.add(at, "`sum` takes `except` or `only`, not both");
            return None;
        }
        let currency = keys.currency(problems)?;
        let mut named = |key: &str| match keys.has_any(&[key]) {
            true => keys.path(key, problems).map(Some),
            false => Some(None),
        };
        let (of_currency, direction) = (named("ofCurrency")?, named("direction")?);
        if of_currency.is_some() && currency.is_empty() {
            problems.add(at, "`ofCurrency` needs `currency`, the currency of the sum");
            return None;
        }
        return Some((
            is?,
            RuleCheck::Sum(SumRule {
                of: of?,
                except,
                only,
                currency,
                direction,
                of_currency,
            }),
        ));
    }
    if rule == "product" {
        if keys
            .only(&["of", "is", "orLess", "currency"], problems)
            .is_some()
        {
            return None;
        }
        let (of, is) = (keys.paths("of", problems), keys.one_or_more("is", problems));
        let or_less = match map.get("orLess") {
            None => Vec::new(),
            Some(_) => keys.one_or_more("orLess", problems)?,
        };
        let currency = keys.currency(problems)?;
        let is = is?;
        if let Some(stray) = or_less.iter().find(|path| !is.contains(path)) {
            problems.add(
                at,
                format!("`orLess` names `{}`, which `is` does not", stray.join(".")),
            );
            return None;
        }
        return Some((
            is.first()?.clone(),
            RuleCheck::Product(ProductRule {
                of: of?,
                is,
                or_less,
                currency,
            }),
        ));
    }
    if rule == "state" {
        return state(&keys, problems);
    }
    if rule == "present" {
        if keys
            .only(&["is", "with", "when", "otherwise"], problems)
            .is_some()
        {
            return None;
        }
        let is = keys.one_or_more("is", problems);
        let with = match keys.has_any(&["with"]) {
            true => keys.one_or_more("with", problems)?,
            false => Vec::new(),
        };
        let when = map
            .get("when")
            .map(|when| words_of("when", when, at, problems).ok_or(()))
            .transpose()
            .ok()?;
        let otherwise = otherwise(&keys, problems)?;
        let is = is?;
        let (first, or) = is.split_first()?;
        return Some((
            first.clone(),
            RuleCheck::Present(PresenceRule {
                or: or.to_vec(),
                with,
                when,
                otherwise,
            }),
        ));
    }
    if rule == "absent" {
        return absence(&keys, problems);
    }
    if rule == "amount" {
        return amount(&keys, problems);
    }
    if rule == "rate" {
        if keys.only(&["is", "unit"], problems).is_some() {
            return None;
        }
        let is = keys.path("is", problems);
        let unit = rate_unit(map.get("unit"), at, problems);
        return Some((is?, RuleCheck::Rate(RateRule { unit: unit? })));
    }
    if rule == "tax" {
        return tax(&keys, problems);
    }
    if keys
        .only(&["of", "is", "zoneBy", "zones"], problems)
        .is_some()
    {
        return None;
    }
    let (of, is) = (keys.path("of", problems), keys.path("is", problems));
    let (zone_by, zones) = match (map.get("zoneBy"), map.get("zones")) {
        (None, None) => (None, BTreeMap::new()),
        (Some(_), Some(zones)) => (
            keys.path("zoneBy", problems),
            zones_of(zones, at, problems)?,
        ),
        _ => {
            problems.add(
                at,
                "`zoneBy` names the column that `zones` is looked up by: write both, or neither",
            );
            return None;
        }
    };
    Some((
        is?,
        RuleCheck::LocalTime(LocalTimeRule {
            of: of?,
            zone_by,
            zones,
        }),
    ))
}

/// Keys of `sum`.
const SUM_KEYS: [&str; 7] = [
    "of",
    "is",
    "except",
    "only",
    "currency",
    "ofCurrency",
    "direction",
];

/// Reads `{ is: ..., beside: ... }`, with `otherwise` or without.
fn absence(
    keys: &RuleArguments<'_>,
    problems: &mut ContractProblems,
) -> Option<(Vec<String>, RuleCheck)> {
    if keys
        .only(&["is", "beside", "otherwise"], problems)
        .is_some()
    {
        return None;
    }
    let (is, beside) = (
        keys.path("is", problems),
        keys.one_or_more("beside", problems),
    );
    let otherwise = otherwise(keys, problems)?;
    let absence = AbsenceRule {
        beside: beside?,
        otherwise,
    };
    Some((is?, RuleCheck::Absent(absence)))
}

/// Keys of `amount`.
const AMOUNT_KEYS: [&str; 5] = ["is", "currency", "guess", "currencyElsewhere", "unit"];

/// Reads `{ is: ..., currency: ..., unit: ... }`, with `guess` or `currencyElsewhere` or without.
fn amount(
    keys: &RuleArguments<'_>,
    problems: &mut ContractProblems,
) -> Option<(Vec<String>, RuleCheck)> {
    if keys.only(&AMOUNT_KEYS, problems).is_some() {
        return None;
    }
    let (is, currency) = (
        keys.path("is", problems),
        keys.one_or_more("currency", problems),
    );
    let guess = match keys.has_any(&["guess"]) {
        true => keys.one_or_more("guess", problems)?,
        false => Vec::new(),
    };
    let currency_elsewhere = match keys.has_any(&["currencyElsewhere"]) {
        true => Some(keys.path("currencyElsewhere", problems)?),
        false => None,
    };
    let unit = unit(keys.map.get("unit"), keys.at, problems)?;
    let amount = AmountRule {
        currency: currency?,
        guess,
        currency_elsewhere,
        unit,
    };
    Some((is?, RuleCheck::Amount(amount)))
}

/// Reads `{ is: ..., of: ..., rate: ..., currency: ... }`, with `unit` or without.
fn tax(
    keys: &RuleArguments<'_>,
    problems: &mut ContractProblems,
) -> Option<(Vec<String>, RuleCheck)> {
    let known = ["is", "of", "rate", "currency", "unit"];
    if keys.only(&known, problems).is_some() {
        return None;
    }
    let mut path = |key: &str| keys.path(key, problems);
    let (is, of, rate) = (path("is"), path("of"), path("rate"));
    let currency = keys.one_or_more("currency", problems);
    let unit = match keys.map.get("unit") {
        Some(unit) => Some(rate_unit(Some(unit), keys.at, problems)?),
        None => None,
    };
    let tax = TaxRule {
        of: of?,
        rate: rate?,
        currency: currency?,
        unit,
    };
    Some((is?, RuleCheck::Tax(tax)))
}

/// Keys of `state`.
const STATE_KEYS: [&str; 7] = [
    "is",
    "articles",
    "payments",
    "collected",
    "owed",
    "collectedCurrency",
    "owedCurrency",
];

/// Reads `{ is: ..., articles: ..., payments: ..., collected: ..., owed: ... }`, with both currencies or without.
fn state(
    keys: &RuleArguments<'_>,
    problems: &mut ContractProblems,
) -> Option<(Vec<String>, RuleCheck)> {
    if keys.only(&STATE_KEYS, problems).is_some() {
        return None;
    }
    let names_currencies = keys.has_any(&["collectedCurrency", "owedCurrency"]);
    let mut path = |key: &str| keys.path(key, problems);
    let (is, articles, payments) = (path("is"), path("articles"), path("payments"));
    let (collected, owed) = (path("collected"), path("owed"));
    let currencies = match names_currencies {
        true => Some(StateCurrencies {
            collected: path("collectedCurrency")?,
            owed: keys.one_or_more("owedCurrency", problems)?,
        }),
        false => None,
    };
    let state = StateRule {
        articles: articles?,
        payments: payments?,
        collected: collected?,
        owed: owed?,
        currencies,
    };
    Some((is?, RuleCheck::State(state)))
}

/// `{ articles.state: [declined, error] }`: the elements that are meant, by a text of theirs.
fn words_of(
    key: &str,
    value: &OdcsValue,
    at: FileLocation,
    problems: &mut ContractProblems,
) -> Option<ElementFilter> {
    let one = match value {
        OdcsValue::Map(map) if map.len() == 1 => map.first_key_value(),
        _ => None,
    };
    let except = one.and_then(|(path, words)| {
        let words = words.as_texts()?.into_iter().map(str::to_owned).collect();
        Some(ElementFilter {
            path: split(path),
            words,
        })
    });
    if except.is_none() {
        let text = format!(
            "`{key}` names a column below the list and its words: {{ articles.state: [declined, error] }}"
        );
        problems.add(at, text);
    }
    except
}

/// Words for what counts instead, where the rule says so; `None` where it says none that can be read.
fn otherwise(keys: &RuleArguments<'_>, problems: &mut ContractProblems) -> Option<Option<String>> {
    let Some(value) = keys.map.get("otherwise") else {
        return Some(None);
    };
    let words = value.as_text().filter(|words| !is_blank(words));
    if words.is_none() {
        problems.add(
            keys.at,
            "`otherwise` says in words what counts instead: { is: time_zone, otherwise: the day is that of UTC }",
        );
    }
    words.map(|words| Some(words.to_owned()))
}

/// `minor`, `major`, or `$parameter` of the connection.
fn unit(
    value: Option<&OdcsValue>,
    at: FileLocation,
    problems: &mut ContractProblems,
) -> Option<PriceUnitSource> {
    let unit = match parameter(value) {
        Some(name) => Some(PriceUnitSource::Connection(name)),
        None => value
            .and_then(OdcsValue::as_text)
            .and_then(PriceUnit::named)
            .map(PriceUnitSource::Contract),
    };
    if unit.is_none() {
        problems.add(at, unit_wanted("minor", "major", "price_unit"));
    }
    unit
}

/// `percent`, `fraction`, or `$parameter` of the connection.
fn rate_unit(
    value: Option<&OdcsValue>,
    at: FileLocation,
    problems: &mut ContractProblems,
) -> Option<RateUnitSource> {
    let unit = match parameter(value) {
        Some(name) => Some(RateUnitSource::Connection(name)),
        None => value
            .and_then(OdcsValue::as_text)
            .and_then(VatRateUnit::named)
            .map(RateUnitSource::Contract),
    };
    if unit.is_none() {
        problems.add(at, unit_wanted("percent", "fraction", "vat_rate"));
    }
    unit
}

/// The name of what the connection says, `$name`.
fn parameter(value: Option<&OdcsValue>) -> Option<String> {
    let name = value.and_then(OdcsValue::as_text)?.strip_prefix('$')?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn unit_wanted(one: &str, other: &str, parameter: &str) -> String {
    format!(
        "`unit` is `{one}`, `{other}`, or the name of what the connection says of it: `${parameter}`"
    )
}

/// A zone or several a value: `{ DE: Europe/Berlin, ES: [Europe/Madrid, Atlantic/Canary] }`.
fn zones_of(
    value: &OdcsValue,
    at: FileLocation,
    problems: &mut ContractProblems,
) -> Option<BTreeMap<String, Vec<String>>> {
    let OdcsValue::Map(map) = value else {
        problems.add(
            at,
            "`zones` is a map from values to time zone names: { DE: Europe/Berlin }",
        );
        return None;
    };
    let mut zones = BTreeMap::new();
    for (value, names) in map {
        let names = names
            .as_text()
            .map(|name| vec![name])
            .or_else(|| names.as_texts());
        let Some(names) = names else {
            problems.add(
                at,
                format!("the zones of `{value}` are a time zone name, or a list of them"),
            );
            return None;
        };
        if let Some(name) = names.iter().find(|name| IanaZone::get(name).is_none()) {
            problems.add(
                at,
                format!("`{name}` is not an IANA time zone name, such as Europe/Berlin"),
            );
            return None;
        }
        zones.insert(
            value.clone(),
            names.into_iter().map(str::to_owned).collect(),
        );
    }
    Some(zones)
}

/// Checks that the columns a rule names exist and can be compared; the text says why not. Other
/// rules pass.
pub(super) fn fits(
    path: &[String],
    check: &RuleCheck,
    columns: &[ColumnSpec],
) -> Result<(), String> {
    let is_number =
        |kind: &ColumnKind| matches!(kind, ColumnKind::Int | ColumnKind::Decimal { .. });
    let is_text = |kind: &ColumnKind| *kind == ColumnKind::Text;
    match check {
        RuleCheck::Amount(AmountRule {
            currency,
            guess,
            currency_elsewhere,
            ..
        }) => {
            column(columns, path, true, "a whole or decimal number", is_number)?;
            for named in currency.iter().chain(guess) {
                column(columns, named, true, "a string", is_text)?;
            }
            if let Some(elsewhere) = currency_elsewhere {
                column(columns, elsewhere, true, "a string or a number", |kind| {
                    is_text(kind) || is_number(kind)
                })?;
            }
            currency
                .iter()
                .chain(currency_elsewhere)
                .try_for_each(|named| of_its_element(columns, path, named))
        }
        RuleCheck::Present(PresenceRule { or, with, when, .. }) => {
            for named in or.iter().chain(with).map(Vec::as_slice).chain([path]) {
                column(columns, named, true, "a single value", |kind| {
                    !matches!(
                        kind,
                        ColumnKind::Struct(_) | ColumnKind::List(_) | ColumnKind::Binary
                    )
                })?;
            }
            match when {
                Some(ElementFilter { path: told_by, .. }) => {
                    column(columns, told_by, true, "a string", |kind| {
                        *kind == ColumnKind::Text
                    })?;
                    of_its_element(columns, path, told_by)
                }
                None => Ok(()),
            }
        }
        RuleCheck::Absent(AbsenceRule { beside, .. }) => {
            for number in beside {
                column(
                    columns,
                    number,
                    true,
                    "a whole or decimal number",
                    is_number,
                )?;
            }
            column(columns, path, true, "a string", is_text)
        }
        RuleCheck::Sum(SumRule {
            of,
            except,
            only,
            currency,
            direction,
            of_currency,
        }) => {
            for path in of {
                column(columns, path, true, "a whole or decimal number", is_number)?;
            }
            if let Some(direction) = direction {
                column(
                    columns,
                    direction,
                    false,
                    "a whole or decimal number",
                    is_number,
                )?;
            }
            for named in currency {
                column(columns, named, false, "a string", is_text)?;
            }
            if let Some(of_each) = of_currency {
                column(columns, of_each, true, "a string", is_text)?;
                of.iter()
                    .try_for_each(|of| of_its_element(columns, of, of_each))?;
            }
            for ElementFilter { path, .. } in except.iter().chain(only) {
                column(columns, path, true, "a string", |kind| {
                    *kind == ColumnKind::Text
                })?;
                let list = lists(columns, path);
                if list.is_empty() || !of.iter().any(|of| lists(columns, of).starts_with(&list)) {
                    return Err(format!(
                        "`{}` is below no array that is added",
                        path.join(".")
                    ));
                }
            }
            column(columns, path, false, "a whole or decimal number", is_number)
        }
        RuleCheck::Product(ProductRule {
            of, is, currency, ..
        }) => {
            for path in of.iter().chain(is) {
                column(columns, path, true, "a whole or decimal number", is_number)?;
            }
            for named in currency {
                column(columns, named, true, "a string", is_text)?;
            }
            // One element is compared at a time, so all that is named has to be of that element, or of what it is in.
            of.iter()
                .chain(is)
                .chain(currency)
                .try_for_each(|other| of_its_element(columns, path, other))
        }
        RuleCheck::Tax(TaxRule {
            of, rate, currency, ..
        }) => {
            for number in [path, of.as_slice(), rate.as_slice()] {
                column(
                    columns,
                    number,
                    true,
                    "a whole or decimal number",
                    is_number,
                )?;
            }
            for named in currency {
                column(columns, named, true, "a string", is_text)?;
            }
            [of, rate]
                .into_iter()
                .chain(currency)
                .try_for_each(|other| of_its_element(columns, path, other))
        }
        RuleCheck::State(StateRule {
            articles,
            payments,
            collected,
            owed,
            currencies,
        }) => {
            column(columns, path, false, "a string", |kind| {
                *kind == ColumnKind::Text
            })?;
            column(columns, articles, true, "a string", |kind| {
                *kind == ColumnKind::Text
            })?;
            column(columns, payments, true, "a string", |kind| {
                *kind == ColumnKind::Text
            })?;
            column(
                columns,
                collected,
                true,
                "a whole or decimal number",
                is_number,
            )?;
            if lists(columns, payments) != lists(columns, collected) {
                let (payments, collected) = (payments.join("."), collected.join("."));
                return Err(format!(
                    "`{payments}` and `{collected}` are not of one array"
                ));
            }
            if let Some(StateCurrencies {
                collected: of_collected,
                owed: of_owed,
            }) = currencies
            {
                column(columns, of_collected, true, "a string", is_text)?;
                for owed in of_owed {
                    column(columns, owed, true, "a string", is_text)?;
                }
                of_its_element(columns, collected, of_collected)?;
            }
            column(columns, owed, false, "a whole or decimal number", is_number)
        }
        RuleCheck::Rate(_) => column(columns, path, false, "a whole or decimal number", is_number),
        RuleCheck::LocalTime(LocalTimeRule { of, zone_by, .. }) => {
            column(columns, of, false, "a timestamp", |kind| {
                matches!(kind, ColumnKind::Timestamp(_))
            })?;
            column(columns, path, false, "a string", |kind| {
                *kind == ColumnKind::Text
            })?;
            match zone_by {
                Some(path) => column(columns, path, false, "a string", |kind| {
                    *kind == ColumnKind::Text
                }),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// True if what is compared with a column is of the same element, or of what that is in.
fn of_its_element(columns: &[ColumnSpec], path: &[String], other: &[String]) -> Result<(), String> {
    if lists(columns, path).starts_with(&lists(columns, other)) {
        return Ok(());
    }
    let (path, other) = (path.join("."), other.join("."));
    Err(format!(
        "`{other}` leads through another array than `{path}`: which element belongs to which?"
    ))
}

/// The names of the path up to the last array that it leads through; none where it leads through none.
fn lists(columns: &[ColumnSpec], path: &[String]) -> Vec<String> {
    let (mut at, mut last) = (columns, 0);
    for (depth, name) in path.iter().enumerate() {
        let Some(column) = at.iter().find(|column| column.name == *name) else {
            break;
        };
        let mut kind = &column.kind;
        while let ColumnKind::List(element) = kind {
            (kind, last) = (&element.kind, depth + 1);
        }
        let ColumnKind::Struct(inner) = kind else {
            break;
        };
        at = inner;
    }
    path.iter().take(last).cloned().collect()
}

fn column(
    columns: &[ColumnSpec],
    path: &[String],
    through_lists: bool,
    expected: &str,
    fits: impl Fn(&ColumnKind) -> bool,
) -> Result<(), String> {
    let written = path.join(".");
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    let (column, through_list) =
        find(columns, &names).map_err(|why| format!("`{written}`: {why}"))?;
    if through_list && !through_lists {
        return Err(format!(
            "`{written}` leads through an array: a record has one such value"
        ));
    }
    let (mut kind, mut class) = (&column.kind, column.class);
    while let ColumnKind::List(element) = kind {
        (kind, class) = (&element.kind, element.class);
    }
    if class != ColumnClass::Open {
        return Err(format!(
            "`{written}` is not stored as it came, so nothing can be compared with it"
        ));
    }
    if !fits(kind) {
        return Err(format!("`{written}` is not {expected}"));
    }
    Ok(())
}
