//! The form that builds a filter, condition by condition, and the filter in force, in words, of which each part can be taken off.
//!
//! Invariant: the form offers what the check of filters lets pass, and works without scripts, a condition at a time; with one it has further rows, and offers the values that there are. What it sends becomes the
//! parameter `filter` of the view's address, and nothing else of the view changes.

use super::FILTER_PATH;
use super::document::PageView;
use super::filter_tree::{text_of, without};
use super::filter_words::{FilterWords, OFTEN, field_label, operator_words};
use crate::html::Html;
use crate::language::Language;
use std::collections::BTreeSet;
use tillhouse_model::{Filter, FilterOperand, FilterOperator, FilterTest};
use tillhouse_statistics::{FieldForm, OfferedField, offered_fields};

/// Most conditions that are shown one by one: each has a link with all others in it.
const SHOWN: usize = 40;

/// Adds the filter in force, and the form that adds to it.
pub(crate) fn filter_builder(html: &mut Html, view: &PageView) {
    let words = FilterWords::of(view.language);
    let present = view.query.get("filter");
    if let Some(text) = present {
        FilterChips { view, words }.add_to(html, text);
    }
    html.element("details", &[("class", "builder")], |html| {
        html.leaf("summary", &[], words.title);
        let attributes = [
            ("class", "builder"),
            ("method", "get"),
            ("action", FILTER_PATH),
            ("aria-label", words.title),
        ];
        html.element("form", &attributes, |html| {
            hidden(html, "path", &view.path);
            for (name, value) in view.query.without(&["cursor"]).pairs() {
                hidden(html, name, value);
            }
            if present.is_some() {
                let ways = [("and", words.join_and), ("or", words.join_or)];
                choice(html, (words.join, "join"), &[], &ways);
            }
            // Of one condition there is nothing to say.
            let ways = [("and", words.logic_all), ("or", words.logic_any)];
            choice(html, (words.logic, "logic"), &[("hidden", "")], &ways);
            html.element("div", &[("class", "conditions")], |html| {
                row(html, view, words);
            });
            html.leaf("p", &[("class", "note")], words.note);
            let further = [("type", "button"), ("class", "further"), ("hidden", "")];
            html.leaf("button", &further, words.further_row);
            html.raw(" ");
            html.leaf("button", &[("type", "submit")], words.add);
        });
    });
    html.raw("\n");
}

fn hidden(html: &mut Html, name: &str, value: &str) {
    html.open(
        "input",
        &[("type", "hidden"), ("name", name), ("value", value)],
    );
}

/// Adds a choice of two: its label and name, the attributes of the label, and the ways.
fn choice(
    html: &mut Html,
    (label, name): (&str, &str),
    attributes: &[(&'static str, &str)],
    ways: &[(&str, &str); 2],
) {
    html.element("label", attributes, |html| {
        html.leaf("span", &[], label);
        html.element("select", &[("name", name)], |html| {
            for (value, said) in ways {
                html.leaf("option", &[("value", value)], said);
            }
        });
    });
}

/// Adds the row of one condition.
fn row(html: &mut Html, view: &PageView, words: &FilterWords) {
    let attributes = [("class", "condition"), ("role", "group")];
    html.element("div", &attributes, |html| {
        html.element("label", &[], |html| {
            html.leaf("span", &[], words.field);
            html.element("select", &[("name", "field")], |html| {
                fields(html, view, words)
            });
        });
        html.element("label", &[], |html| {
            html.leaf("span", &[], words.operator);
            html.element("select", &[("name", "operator")], |html| {
                operators(html, view.language);
            });
        });
        html.element("label", &[], |html| {
            html.leaf("span", &[], words.value);
            html.open(
                "input",
                &[
                    ("name", "value"),
                    ("autocomplete", "off"),
                    ("spellcheck", "false"),
                ],
            );
        });
    });
}

/// Adds the fields, those that are asked for most before the others.
fn fields(html: &mut Html, view: &PageView, words: &FilterWords) {
    let offered: Vec<OfferedField> = offered_fields(view.sees_personal)
        .filter(|field| !field.is_another_name())
        .collect();
    let often = OFTEN.into_iter().filter_map(|name| {
        let mut fields = offered.iter();
        fields.find(|field| field.name() == name)
    });
    let often: Vec<&OfferedField> = often.collect();
    let mut others: Vec<&OfferedField> = offered
        .iter()
        .filter(|field| !OFTEN.contains(&field.name()))
        .collect();
    others.sort_by_key(|field| field_label(field.name(), view.language).to_lowercase());
    html.leaf("option", &[("value", "")], words.choose);
    for (label, fields) in [(words.often, often), (words.other_fields, others)] {
        html.element("optgroup", &[("label", label)], |html| {
            for field in fields {
                let attributes = [
                    ("value", field.name()),
                    ("data-form", form_name(field.form())),
                    ("data-listed", yes_or_no(field.values().is_some())),
                ];
                let label = field_label(field.name(), view.language);
                html.leaf("option", &attributes, label);
            }
        });
    }
}

/// Adds the operators, each with the forms of values that it is for.
fn operators(html: &mut Html, language: Language) {
    for operator in FilterOperator::ALL {
        let takers = offered_fields(true).filter(|field| field.takes(*operator));
        let forms: BTreeSet<&str> = takers.map(|field| form_name(field.form())).collect();
        let forms = forms.into_iter().collect::<Vec<&str>>().join(" ");
        let attributes = [
            ("value", operator.as_str()),
            ("data-forms", forms.as_str()),
            ("data-unary", yes_or_no(operator.is_unary())),
        ];
        html.leaf("option", &attributes, operator_words(*operator, language));
    }
}

fn yes_or_no(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

/// Name of a form of values, for the script.
fn form_name(form: FieldForm) -> &'static str {
    match form {
        FieldForm::Text => "text",
        FieldForm::TextOrNumber => "mixed",
        FieldForm::Pseudonym => "personal",
        FieldForm::Number => "number",
        FieldForm::Instant => "instant",
        FieldForm::Date => "date",
    }
}

/// The filter in force, in words.
#[derive(Clone, Copy)]
struct FilterChips<'a> {
    view: &'a PageView,
    words: &'static FilterWords,
}

impl FilterChips<'_> {
    fn add_to(self, html: &mut Html, text: &str) {
        let attributes = [
            ("class", "narrowed filter"),
            ("aria-label", self.words.present),
        ];
        let filter = Filter::parse(text).ok();
        html.element("ul", &attributes, |html| match filter {
            Some(filter) if (1..=SHOWN).contains(&filter.tests().len()) => {
                self.parts(html, &filter, &filter, &mut Vec::new());
            }
            Some(filter) => {
                let said = format!("{} {}", filter.tests().len(), self.words.conditions);
                self.chip(html, &said, None);
            }
            None => self.chip(html, self.words.unread, None),
        });
        html.raw("\n");
    }

    /// Adds the parts of a node, which is at that place of the whole.
    fn parts(self, html: &mut Html, whole: &Filter, node: &Filter, at: &mut Vec<usize>) {
        let (parts, word) = match node {
            Filter::Test(test) => {
                self.chip(html, &self.said(test), left(whole, at).as_deref());
                return;
            }
            Filter::All(parts) => (parts, self.words.and),
            Filter::Any(parts) => (parts, self.words.or),
        };
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                html.leaf("li", &[("class", "word")], word);
            }
            at.push(place);
            match part {
                Filter::Test(_) => self.parts(html, whole, part, at),
                Filter::All(_) | Filter::Any(_) => {
                    html.element("li", &[("class", "group")], |html| {
                        let attributes = [("class", "narrowed"), ("aria-label", self.words.group)];
                        html.element("ul", &attributes, |html| {
                            self.parts(html, whole, part, at);
                        });
                        self.take_off(html, self.words.group, left(whole, at).as_deref());
                    });
                }
            }
            at.pop();
        }
    }

    /// Adds a chip, and the link that leaves that filter; none where no filter is left.
    fn chip(self, html: &mut Html, said: &str, left: Option<&str>) {
        html.element("li", &[], |html| {
            html.text(said);
            html.raw(" ");
            self.take_off(html, said, left);
        });
    }

    fn take_off(self, html: &mut Html, said: &str, left: Option<&str>) {
        let query = self.view.query.without(&["filter", "cursor"]);
        let query = match left {
            Some(left) => query.with("filter", left),
            None => query,
        };
        let address = query.address(&self.view.path);
        let label = format!("{}: {said}", self.view.words().take_off);
        let attributes = [("href", address.as_str()), ("aria-label", label.as_str())];
        html.leaf("a", &attributes, "\u{d7}");
    }

    /// A condition in words: `Amount is at least 50`.
    fn said(self, test: &FilterTest) -> String {
        let language = self.view.language;
        let is_null = test.value == FilterOperand::Null;
        let operator = match test.operator {
            FilterOperator::Eq if is_null => FilterOperator::IsNull,
            FilterOperator::Neq if is_null => FilterOperator::IsNotNull,
            other => other,
        };
        let value = match &test.value {
            _ if operator.is_unary() => String::new(),
            FilterOperand::Null => " null".to_owned(),
            FilterOperand::Bool(value) => format!(" {value}"),
            FilterOperand::Number(value) => format!(" {}", language.quantity(*value)),
            FilterOperand::Text(value) => match language {
                Language::English => format!(" \u{201c}{value}\u{201d}"),
                Language::German => format!(" \u{201e}{value}\u{201c}"),
            },
        };
        let is_exact = !test.ignore_case && matches!(test.value, FilterOperand::Text(_));
        let exact = match is_exact {
            true => format!(" ({})", self.words.exact_case),
            false => String::new(),
        };
        format!(
            "{} {}{value}{exact}",
            field_label(&test.field, language),
            operator_words(operator, language)
        )
    }
}

/// The descriptor of what is left without the part at a place. One that cannot be written would be a fault of ours, and takes all of it off.
fn left(whole: &Filter, at: &[usize]) -> Option<String> {
    without(whole, at).and_then(|left| text_of(&left).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view_query::ViewQuery;

    fn built(filter: &str, language: Language, sees_personal: bool) -> String {
        let view = PageView {
            language,
            path: "/sales".to_owned(),
            query: ViewQuery::new([
                ("from", "2026-01-01".to_owned()),
                ("cursor", "7b".to_owned()),
                ("filter", filter.to_owned()),
            ]),
            sees_personal,
            ..PageView::default()
        };
        let mut html = Html::default();
        filter_builder(&mut html, &view);
        html.into_text()
    }

    #[test]
    fn the_filter_in_force_is_said_in_words_and_its_parts_can_be_taken_off() {
        let any = r#"{"logic":"or","filters":[{"field":"kind","operator":"eq","value":"sale","ignoreCase":false},{"field":"site_name","operator":"eq","value":null}]}"#;
        let filter = format!(
            r#"{{"logic":"and","filters":[{{"field":"amount","operator":"gte","value":1234.5}},{any}]}}"#
        );
        let english = built(&filter, Language::English, false);
        for part in [
            "<li>Amount is at least 1,234.5 <a ",
            "<li class=\"word\">and</li><li class=\"group\">",
            "Kind is \u{201c}sale\u{201d} (in these letters)",
            "<li class=\"word\">or</li>",
            "Site has no value",
            "aria-label=\"Take off: Amount is at least 1,234.5\"",
            "name=\"filter\" value=\"{&quot;logic&quot;",
        ] {
            assert!(english.contains(part), "{part}: {english}");
        }
        // Without the amount the rest is left; the page of the list begins anew.
        let rest = ViewQuery::new([
            ("from", "2026-01-01".to_owned()),
            ("filter", any.to_owned()),
        ]);
        let rest = rest.address("/sales").replace('&', "&amp;");
        assert!(english.contains(&format!("href=\"{rest}\"")), "{english}");
        assert!(!english.contains("cursor"), "{english}");
        let german = built(&filter, Language::German, false);
        for part in ["Betrag ist mindestens 1.234,5", "Standort hat keinen Wert"] {
            assert!(german.contains(part), "{part}: {german}");
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_or_is_too_long_can_be_taken_off_as_a_whole() {
        let unread = built("{\"<script>", Language::English, false);
        assert!(
            unread.contains("<li>A filter that cannot be read <a href=\"/sales?from=2026-01-01\"")
        );
        assert!(!unread.contains("<script>"), "{unread}");
        let one = r#"{"field":"kind","operator":"eq","value":"sale"}"#;
        let many = format!(
            r#"{{"logic":"or","filters":[{}]}}"#,
            vec![one; SHOWN + 1].join(",")
        );
        let many = built(&many, Language::English, false);
        assert!(many.contains("<li>41 conditions <a href="), "{many}");
        let none = built(r#"{"logic":"and","filters":[]}"#, Language::English, false);
        assert!(none.contains("<li>0 conditions <a href="), "{none}");
    }

    #[test]
    fn personal_fields_are_offered_to_whoever_sees_them() {
        for (sees_personal, count) in [(false, 0), (true, 1)] {
            let form = built("{}", Language::English, sees_personal);
            assert_eq!(form.matches("value=\"license_plate\"").count(), count);
            assert_eq!(form.matches("value=\"amount\"").count(), 1, "{form}");
            // HecOne's names are read, and offered under their own.
            assert!(!form.contains("value=\"mandator_id\""), "{form}");
            assert!(form.contains("data-forms=\"mixed text\""), "{form}");
        }
    }
}
