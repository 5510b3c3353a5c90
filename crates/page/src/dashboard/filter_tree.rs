//! Filters as people change them: conditions are added to one, and taken off.
//!
//! Invariant: whatever is added or taken off, what is left means what it meant, its numbers keep every digit, and nothing stands in it that a descriptor cannot say. A value that does not fit its field is
//! written as it was typed: whoever checks the filter says what is wrong with it.

use crate::language::Language;
use tillhouse_model::{
    Error, ErrorKind, ExactDecimal, Filter, FilterOperand, FilterOperator, FilterTest, Result,
    ResultExt,
};
use tillhouse_statistics::{FieldForm, offered_fields};

/// A condition as it was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterRow {
    /// Name of the field.
    pub field: String,
    /// Name of the operator.
    pub operator: String,
    /// The value.
    pub value: String,
}

/// Conditions that the form of the filter builder sent.
///
/// ```
/// use tillhouse_page::Language;
/// use tillhouse_page::dashboard::SentFilter;
/// let sent = [("field", "amount"), ("operator", "gte"), ("value", "12,50")];
/// let sent = SentFilter::read(sent.map(|(name, value)| (name.to_owned(), value.to_owned())));
/// let text = sent.text(Language::German, false).unwrap();
/// assert_eq!(text.as_deref(), Some(r#"{"field":"amount","operator":"gte","value":12.5}"#));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentFilter {
    /// The filter that the view has.
    pub present: Option<String>,
    /// True if it is enough to pass either the filter that the view has or the conditions.
    pub is_or_else: bool,
    /// True if it is enough that one of the conditions holds.
    pub is_any: bool,
    /// The conditions.
    pub rows: Vec<FilterRow>,
}

impl SentFilter {
    /// What was sent, name by name in the order of the form: a field begins a condition.
    pub fn read(sent: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut read = Self::default();
        for (name, value) in sent {
            match name.as_str() {
                "filter" if !value.trim().is_empty() => read.present = Some(value),
                "join" => read.is_or_else = value == "or",
                "logic" => read.is_any = value == "or",
                "operator" => {
                    if let Some(row) = read.rows.last_mut() {
                        row.operator = value;
                    }
                }
                "value" => {
                    if let Some(row) = read.rows.last_mut() {
                        row.value = value;
                    }
                }
                "field" => read.rows.push(FilterRow {
                    field: value,
                    ..FilterRow::default()
                }),
                _ => {}
            }
        }
        read
    }

    /// The descriptor of the view's filter and the conditions; none without either. A filter of the view that cannot be read stays as it is.
    ///
    /// Errors with [`ErrorKind::Config`] for an operator that there is not.
    pub fn text(&self, language: Language, sees_personal: bool) -> Result<Option<String>> {
        let filled = self.rows.iter().filter(|row| !row.field.is_empty());
        let tests = filled
            .map(|row| row.test(language, sees_personal))
            .collect::<Result<Vec<Filter>>>()?;
        let added = (!tests.is_empty()).then(|| composite(tests, self.is_any));
        let Some(present) = &self.present else {
            return added.as_ref().map(text_of).transpose();
        };
        match (Filter::parse(present), added) {
            (Ok(filter), Some(added)) => text_of(&joined(filter, added, self.is_or_else)).map(Some),
            _ => Ok(Some(present.clone())),
        }
    }
}

impl FilterRow {
    fn test(&self, language: Language, sees_personal: bool) -> Result<Filter> {
        let operator = FilterOperator::parse(&self.operator).ok_or_else(|| {
            Error::config(format!("there is no operator {:?}", self.operator))
                .hint("Choose one of those that the form has.")
        })?;
        let field = offered_fields(sees_personal).find(|field| field.name() == self.field);
        let may_be_number = match field.map(|field| field.form()) {
            Some(FieldForm::Number) => true,
            Some(FieldForm::TextOrNumber) => !operator.is_for_text(),
            _ => false,
        };
        let number = || number(self.value.trim(), language).filter(|_| may_be_number);
        let value = match operator.is_unary() {
            true => FilterOperand::Null,
            false => number().map_or_else(
                || FilterOperand::Text(self.value.clone()),
                FilterOperand::Number,
            ),
        };
        Ok(Filter::Test(FilterTest {
            field: self.field.clone(),
            operator,
            value,
            ignore_case: true,
        }))
    }
}

/// A number as people type it, in German with a comma too.
fn number(text: &str, language: Language) -> Option<ExactDecimal> {
    let plain = text.replace('\u{2212}', "-");
    let is_with_comma = language == Language::German && !plain.contains('.');
    match is_with_comma {
        true => ExactDecimal::parse(&plain.replacen(',', ".", 1)),
        false => ExactDecimal::parse(&plain),
    }
}

/// The descriptor of a filter.
pub(crate) fn text_of(filter: &Filter) -> Result<String> {
    serde_json::to_string(filter).or_error(ErrorKind::Internal, "a filter cannot be written")
}

/// One filter of several; of a single one that one.
fn composite(parts: Vec<Filter>, is_any: bool) -> Filter {
    match (<[Filter; 1]>::try_from(parts), is_any) {
        (Ok([one]), _) => one,
        (Err(parts), true) => Filter::Any(parts),
        (Err(parts), false) => Filter::All(parts),
    }
}

fn joined(left: Filter, right: Filter, is_any: bool) -> Filter {
    let parts = [left, right].into_iter();
    let parts = parts.flat_map(|filter| match (filter, is_any) {
        (Filter::All(parts), false) | (Filter::Any(parts), true) => parts,
        (other, _) => vec![other],
    });
    composite(parts.collect(), is_any)
}

/// The filter without the part at a place, which is told by its place in each composite on the way; none where nothing is left.
pub(crate) fn without(filter: &Filter, at: &[usize]) -> Option<Filter> {
    let (first, rest) = at.split_first()?;
    let (parts, is_any) = match filter {
        Filter::Test(_) => return Some(filter.clone()),
        Filter::All(parts) => (parts, false),
        Filter::Any(parts) => (parts, true),
    };
    let kept = parts
        .iter()
        .enumerate()
        .filter_map(|(place, part)| match place == *first {
            true => without(part, rest),
            false => Some(part.clone()),
        });
    let kept: Vec<Filter> = kept.collect();
    (!kept.is_empty()).then(|| composite(kept, is_any))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(pairs: &[(&str, &str)]) -> SentFilter {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        SentFilter::read(pairs)
    }

    fn row<'a>(field: &'a str, operator: &'a str, value: &'a str) -> [(&'a str, &'a str); 3] {
        [("field", field), ("operator", operator), ("value", value)]
    }

    fn text(pairs: &[(&str, &str)]) -> Option<String> {
        sent(pairs).text(Language::English, false).unwrap()
    }

    #[test]
    fn conditions_become_the_descriptor_that_they_say() {
        for (row, expected) in [
            (
                row("amount", "gte", "12.50"),
                r#"{"field":"amount","operator":"gte","value":12.5}"#,
            ),
            (
                row("local_hour", "eq", " 9 "),
                r#"{"field":"local_hour","operator":"eq","value":9}"#,
            ),
            // A text of digits is a text, a point's number a number.
            (
                row("site_code", "eq", "007"),
                r#"{"field":"site_code","operator":"eq","value":"007"}"#,
            ),
            (
                row("point_number", "lt", "7"),
                r#"{"field":"point_number","operator":"lt","value":7}"#,
            ),
            (
                row("point_number", "contains", "7"),
                r#"{"field":"point_number","operator":"contains","value":"7"}"#,
            ),
            (
                row("site_name", "isnullorempty", "ignored"),
                r#"{"field":"site_name","operator":"isnullorempty"}"#,
            ),
            // Whoever checks it says that this is no number.
            (
                row("amount", "gte", "much"),
                r#"{"field":"amount","operator":"gte","value":"much"}"#,
            ),
            (
                row("site_name", "eq", "\"<b>\\"),
                r#"{"field":"site_name","operator":"eq","value":"\"<b>\\"}"#,
            ),
        ] {
            assert_eq!(text(&row).as_deref(), Some(expected));
        }
        assert_eq!(
            text(&row("", "eq", "x")),
            None,
            "a row that nobody filled in"
        );
        assert!(
            sent(&row("amount", ">=", "1"))
                .text(Language::English, false)
                .is_err()
        );
    }

    #[test]
    fn numbers_are_read_as_the_language_writes_them() {
        for (written, language, read) in [
            ("12,50", Language::German, Some("12.50")),
            ("\u{2212}3", Language::German, Some("-3")),
            ("12.50", Language::German, Some("12.50")),
            ("1.234,50", Language::German, None),
            ("1,234", Language::English, None),
            ("1,2,3", Language::German, None),
        ] {
            let number = number(written, language).map(|number| number.to_string());
            assert_eq!(number.as_deref(), read, "{written}");
        }
    }

    #[test]
    fn conditions_join_the_filter_that_there_is_and_go_again() {
        let present = r#"{"field":"amount","operator":"gte","value":12345678901234567.8901}"#;
        let rows = [row("kind", "eq", "sale"), row("kind", "eq", "refund")].concat();
        let with = |more: &[(&str, &str)]| {
            let first = [("filter", present)];
            text(&[&first[..], &rows[..], more].concat()).unwrap()
        };
        let both = with(&[("join", "and"), ("logic", "or")]);
        let kinds = r#"{"field":"kind","operator":"eq","value":"sale"},{"field":"kind","operator":"eq","value":"refund"}"#;
        let any = format!(r#"{{"logic":"or","filters":[{kinds}]}}"#);
        assert_eq!(
            both,
            format!(r#"{{"logic":"and","filters":[{present},{any}]}}"#)
        );
        // Of one logic they are one composite.
        let flat = with(&[("join", "or"), ("logic", "or")]);
        assert_eq!(
            flat,
            format!(r#"{{"logic":"or","filters":[{present},{kinds}]}}"#)
        );

        let filter = Filter::parse(&both).unwrap();
        let left = |at: &[usize]| without(&filter, at).map(|left| text_of(&left).unwrap());
        assert_eq!(left(&[0]), Some(any));
        assert_eq!(left(&[1]).as_deref(), Some(present));
        let one = r#"{"field":"kind","operator":"eq","value":"refund"}"#;
        assert_eq!(
            left(&[1, 0]),
            Some(format!(r#"{{"logic":"and","filters":[{present},{one}]}}"#))
        );
        assert_eq!(left(&[]), None);
        assert_eq!(without(&Filter::All(vec![filter.clone()]), &[0]), None);
    }

    #[test]
    fn a_filter_that_cannot_be_read_stays_to_be_told() {
        let pairs = [&[("filter", "{")][..], &row("kind", "eq", "sale")[..]].concat();
        assert_eq!(text(&pairs).as_deref(), Some("{"));
    }
}
