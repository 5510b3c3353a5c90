//! Parameters of a request: what an endpoint knows, and what somebody wrote.
//!
//! Invariant: a parameter that the endpoint does not know, one that is given twice and one that is missing are errors; what passes has the form that the endpoint's document says.

use crate::problem::Problem;
use std::collections::BTreeMap;
use tillhouse_model::did_you_mean::nearest;
use tillhouse_query::zone::Zone;
use url::form_urlencoded;

/// Form of a parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterForm {
    /// Any text.
    Text,
    /// A whole number within bounds.
    Whole { least: u64, most: u64 },
    /// One of some words.
    Word(&'static [&'static str]),
    /// Texts with commas between them.
    List,
    /// JSON.
    Json,
    /// A time zone: an IANA name, or an offset.
    Zone,
}

/// Parameter of an endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) form: ParameterForm,
    pub(crate) is_required: bool,
    pub(crate) description: &'static str,
    pub(crate) example: &'static str,
}

impl Parameter {
    /// A parameter that may be left out.
    pub(crate) const fn new(
        name: &'static str,
        form: ParameterForm,
        description: &'static str,
        example: &'static str,
    ) -> Self {
        Self {
            name,
            form,
            is_required: false,
            description,
            example,
        }
    }

    /// The same, which must be given.
    pub(crate) const fn required(self) -> Self {
        Self {
            is_required: true,
            ..self
        }
    }

    /// The value of a parameter that is part of the path.
    pub(crate) fn checked_in_path(&self, value: Option<String>) -> Result<String, Problem> {
        let value = value
            .filter(|value| !value.contains('\u{fffd}') && !value.contains('\0'))
            .ok_or_else(|| Problem::bad_request("the path is no text in UTF-8"))?;
        check(self, &value)?;
        Ok(value)
    }
}

/// Values that a request gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ParameterValues(BTreeMap<&'static str, String>);

impl ParameterValues {
    /// Reads the query part of an address.
    pub(crate) fn read(query: Option<&str>, known: &[Parameter]) -> Result<Self, Problem> {
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let parameter = known
                .iter()
                .find(|parameter| parameter.name == name)
                .ok_or_else(|| unknown(&name, known))?;
            if value.contains('\u{fffd}') || value.contains('\0') {
                return Err(Problem::bad_request(format!(
                    "the parameter {} is no text in UTF-8",
                    parameter.name
                )));
            }
            check(parameter, &value)?;
            if values.insert(parameter.name, value.into_owned()).is_some() {
                return Err(Problem::bad_request(format!(
                    "the parameter {} is given twice",
                    parameter.name
                ))
                .hint("Each has one value."));
            }
        }
        match known
            .iter()
            .find(|parameter| parameter.is_required && !values.contains_key(parameter.name))
        {
            None => Ok(Self(values)),
            Some(missing) => Err(Problem::bad_request(format!(
                "the parameter {} is missing",
                missing.name
            ))
            .hint(format!(
                "{} Write it like {}={}.",
                missing.description, missing.name, missing.example
            ))),
        }
    }

    /// Reads what a form wrote into an address: fields that were left empty are left out.
    pub(crate) fn read_form(query: Option<&str>, known: &[Parameter]) -> Result<Self, Problem> {
        let written = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .filter(|(_, value)| !value.trim().is_empty());
        let written = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(written)
            .finish();
        Self::read(Some(&written), known)
    }

    /// Every value, by its parameter.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Those of the parameters that are among the names.
    #[must_use]
    pub(crate) fn only(&self, names: &[&str]) -> Self {
        let kept = self.0.iter().filter(|(name, _)| names.contains(name));
        Self(kept.map(|(name, value)| (*name, value.clone())).collect())
    }

    /// A value that may be left out.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A value that may be left out, by itself.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// A value, or what stands for it.
    pub(crate) fn or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.get(name).unwrap_or(default)
    }

    /// A whole number, or what stands for it.
    pub(crate) fn whole(&self, name: &str, default: usize) -> usize {
        self.get(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    }

    /// Texts with commas between them; none where it is left out.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.get(name)
            .map(|text| text.split(',').map(|part| part.trim().to_owned()).collect())
            .unwrap_or_default()
    }

    /// The question, in one form whatever the order it was written in.
    pub(crate) fn canonical(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            text.push_str(&form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>());
            text.push('=');
            text.push_str(&form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>());
            text.push('&');
        }
        text
    }

    /// The same parameters with one in another way, or left out.
    #[must_use]
    pub(crate) fn with(&self, name: &'static str, value: Option<String>) -> Self {
        let mut values = self.0.clone();
        match value {
            Some(value) => values.insert(name, value),
            None => values.remove(name),
        };
        Self(values)
    }
}

fn unknown(name: &str, known: &[Parameter]) -> Problem {
    let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
    let problem = Problem::bad_request(format!("there is no parameter {name:?}"));
    match nearest(name, &names) {
        Some(meant) => problem.hint(format!("Did you mean {meant}?")),
        None if names.is_empty() => problem.hint("None is known here."),
        None => problem.hint(format!("Known are {}.", names.join(", "))),
    }
}

fn check(parameter: &Parameter, value: &str) -> Result<(), Problem> {
    let wrong = |expected: String| {
        Problem::bad_request(format!(
            "the parameter {} cannot be {value:?}",
            parameter.name
        ))
        .hint(format!("{expected}, like {}.", parameter.example))
    };
    match parameter.form {
        ParameterForm::Whole { least, most } => {
            let number: Option<u64> = value
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| value.parse().ok())
                .flatten();
            match number {
                Some(number) if (least..=most).contains(&number) => Ok(()),
                _ => Err(wrong(format!(
                    "Write a whole number from {least} to {most}"
                ))),
            }
        }
        ParameterForm::Word(words) if !words.contains(&value) => {
            Err(wrong(format!("Write one of {}", words.join(", "))))
        }
        ParameterForm::Zone if Zone::parse(value).is_none() => {
            Err(wrong("Write an IANA name or an offset".to_owned()))
        }
        ParameterForm::Json if serde_json::from_str::<serde::de::IgnoredAny>(value).is_err() => {
            // What it holds may be somebody's.
            Err(
                Problem::bad_request(format!("the parameter {} is no JSON", parameter.name))
                    .hint(format!("Write it like {}.", parameter.example)),
            )
        }
        ParameterForm::List
            if value.split(',').any(|part| part.trim().is_empty()) && !value.is_empty() =>
        {
            Err(wrong("Write texts with commas between them".to_owned()))
        }
        _ if value.trim().is_empty() => {
            Err(wrong("It is empty: leave it out, or write it".to_owned()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    const KNOWN: [Parameter; 6] = [
        Parameter::new(
            "from",
            ParameterForm::Text,
            "The first instant.",
            "2026-01-01",
        )
        .required(),
        Parameter::new(
            "limit",
            ParameterForm::Whole {
                least: 1,
                most: 100,
            },
            "Rows.",
            "10",
        ),
        Parameter::new("hours", ParameterForm::Word(&["a", "b"]), "Hours.", "a"),
        Parameter::new(
            "states",
            ParameterForm::List,
            "States.",
            "completed,consumed",
        ),
        Parameter::new("filter", ParameterForm::Json, "Filter.", "{}"),
        Parameter::new("timezone", ParameterForm::Zone, "Zone.", "Europe/Berlin"),
    ];

    fn read(query: &str) -> Result<ParameterValues, Problem> {
        ParameterValues::read(Some(query), &KNOWN)
    }

    #[test]
    fn parameters_are_read_and_named_in_one_order() {
        let values = read("limit=7&from=2026-01-01%20x&states=a,%20b&filter=%7B%7D").unwrap();
        assert_eq!(values.get("from"), Some("2026-01-01 x"));
        assert_eq!(values.whole("limit", 3), 7);
        assert_eq!(values.list("states"), ["a", "b"]);
        assert_eq!(values.or("hours", "b"), "b");
        for zone in ["Europe/Berlin", "UTC", "%2B02:00", "-05:30"] {
            assert!(read(&format!("from=1&timezone={zone}")).is_ok(), "{zone}");
        }
        let other = read("filter={}&states=a, b&from=2026-01-01+x&limit=7").unwrap();
        assert_eq!(values.canonical(), other.canonical());
        let without = values.with("limit", None);
        assert_ne!(values.canonical(), without.canonical());
        assert_eq!(without.whole("limit", 3), 3);
    }

    #[test]
    fn fields_that_a_form_leaves_empty_are_left_out() {
        let form = |query| ParameterValues::read_form(Some(query), &KNOWN);
        let values = form("from=2026-01-01&limit=&states=+&hours=a").unwrap();
        assert_eq!(values, read("from=2026-01-01&hours=a").unwrap());
        assert_eq!(
            values.only(&["hours"]).pairs().collect::<Vec<_>>(),
            [("hours", "a")]
        );
        assert!(form("from=2026-01-01&form=1").is_err());
        assert!(form("from=%FF").is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (query, word) in [
            ("", "from is missing"),
            ("from=1&form=2", "no parameter \"form\""),
            ("from=1&from=2", "given twice"),
            ("from=1&limit=0", "limit cannot be"),
            ("from=1&limit=101", "limit cannot be"),
            ("from=1&limit=+5", "limit cannot be"),
            ("from=1&hours=c", "hours cannot be"),
            ("from=1&filter=%7B", "filter is no JSON"),
            ("from=1&states=a,,b", "states cannot be"),
            ("from=", "from cannot be"),
            ("from=%FF", "no text in UTF-8"),
            ("from=1&timezone=Mars/X", "timezone cannot be"),
            ("from=1&timezone=", "timezone cannot be"),
            ("from=1&timezone=soon", "timezone cannot be"),
        ] {
            let problem = read(query).unwrap_err();
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
            assert!(problem.for_log().contains(word), "{query}: {problem:?}");
        }
    }
}
