//! Kendo UI filter descriptors: which records are meant, as HecOne's `filter` parameter and ours say it.
//!
//! Invariant: a [`Filter`] is well formed and within bounds, at most [`Filter::MAX_DEPTH`] deep and of at most [`Filter::MAX_NODES`] nodes, and a
//! number in it has every digit it was written with. Whether its fields exist is for whoever applies it to say.
//!
//! ```text
//!   {"field": ..., "operator": ..., "value": ..., "ignoreCase"?: true|false}        a test
//!   {"logic": "and"|"or", "filters": [test or composite, ...]}                      a composite
//! ```
//!
//! Deliberately absent: the older spellings of operators (`==`, `equals`), functions as values, and a default for `logic`. They are
//! refused with what there is, because a filter that is read otherwise than it was meant gives figures that look right.

use crate::did_you_mean::nearest;
use crate::error::{Error, Result};
use crate::exact_decimal::ExactDecimal;
use crate::json::is_too_deep;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;
use std::fmt;

/// A filter descriptor, or a composite of some.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Filter {
    /// One field against one value.
    Test(FilterTest),
    /// Conjunction; true if empty.
    All(Vec<Self>),
    /// Disjunction; false if empty.
    Any(Vec<Self>),
}

/// Test of one field against one value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FilterTest {
    /// The field's name, as whoever asked wrote it.
    pub field: String,
    /// Comparison of field and value.
    pub operator: FilterOperator,
    /// Right-hand side of the comparison; null for unary operators.
    pub value: FilterOperand,
    /// True (the default) if text is compared without regard to case.
    pub ignore_case: bool,
}

/// Value that a field is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FilterOperand {
    /// The null value.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, exact.
    Number(ExactDecimal),
    /// A text; also how instants and dates are written.
    Text(String),
}

impl FilterOperand {
    /// Kind of the value, for an error: `text`, never the value itself.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
        }
    }
}

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Comparison of a field with a value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FilterOperator {
            $($(#[$doc])* $name,)+
        }

        impl FilterOperator {
            /// Every operator.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// As a descriptor writes it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

operators! {
    /// Equal; with null as its value, null.
    Eq = "eq",
    /// Not equal, null included; with null as its value, not null.
    Neq = "neq",
    /// Null.
    IsNull = "isnull",
    /// Not null.
    IsNotNull = "isnotnull",
    /// Less.
    Lt = "lt",
    /// Less or equal.
    Lte = "lte",
    /// Greater.
    Gt = "gt",
    /// Greater or equal.
    Gte = "gte",
    /// The text starts with the value.
    StartsWith = "startswith",
    /// The text does not start with the value.
    DoesNotStartWith = "doesnotstartwith",
    /// The text ends with the value.
    EndsWith = "endswith",
    /// The text does not end with the value.
    DoesNotEndWith = "doesnotendwith",
    /// The value is in the text.
    Contains = "contains",
    /// The value is not in the text.
    DoesNotContain = "doesnotcontain",
    /// The empty text.
    IsEmpty = "isempty",
    /// Anything but the empty text, null included.
    IsNotEmpty = "isnotempty",
    /// Null or the empty text.
    IsNullOrEmpty = "isnullorempty",
    /// Neither null nor the empty text.
    IsNotNullOrEmpty = "isnotnullorempty",
}

impl FilterOperator {
    /// The operator of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|operator| operator.as_str() == text)
    }

    /// True if it takes no value.
    pub fn is_unary(self) -> bool {
        matches!(
            self,
            Self::IsNull
                | Self::IsNotNull
                | Self::IsEmpty
                | Self::IsNotEmpty
                | Self::IsNullOrEmpty
                | Self::IsNotNullOrEmpty
        )
    }

    /// True if it applies to text alone.
    pub fn is_for_text(self) -> bool {
        !matches!(
            self,
            Self::Eq
                | Self::Neq
                | Self::IsNull
                | Self::IsNotNull
                | Self::Lt
                | Self::Lte
                | Self::Gt
                | Self::Gte
        )
    }
}

impl fmt::Display for FilterOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Filter {
    /// Deepest nesting of a filter; a single test is 1 deep.
    pub const MAX_DEPTH: usize = 32;
    /// Most tests and composites that a filter may hold.
    pub const MAX_NODES: usize = 1_000;

    /// Reads a descriptor.
    ///
    /// Errors with [`crate::ErrorKind::Config`], saying where (`filters[1].operator`), what is wrong and what there is. The message
    /// holds names and operators, never a value.
    ///
    /// ```
    /// use tillhouse_model::Filter;
    ///
    /// let filter = Filter::parse(r#"{"field": "amount", "operator": "gte", "value": 50}"#)?;
    /// assert_eq!(filter.tests()[0].field, "amount");
    /// assert!(Filter::parse(r#"{"field": "amount", "operator": ">=", "value": 50}"#).is_err());
    /// # Ok::<(), tillhouse_model::Error>(())
    /// ```
    pub fn parse(json: &str) -> Result<Self> {
        let root: &RawValue = serde_json::from_str(json).map_err(|error| {
            if is_too_deep(&error) {
                return too_large(1 + Filter::MAX_DEPTH);
            }
            Error::config(format!("the filter is not JSON: {error}")).hint(format!(
                "Write a filter like {EXAMPLE}; a shell wants it in single quotes."
            ))
        })?;
        FilterParser { nodes: 0 }.node(root, 1, "")
    }

    /// Every test in it, from left to right.
    pub fn tests(&self) -> Vec<&FilterTest> {
        let (mut found, mut open) = (Vec::new(), vec![self]);
        while let Some(filter) = open.pop() {
            match filter {
                Self::Test(test) => found.push(test),
                Self::All(filters) | Self::Any(filters) => open.extend(filters.iter().rev()),
            }
        }
        found
    }
}

/// Error of a filter that has too many levels, or else too many nodes.
fn too_large(depth: usize) -> Error {
    let what = if depth > Filter::MAX_DEPTH {
        format!("the filter is more than {} deep", Filter::MAX_DEPTH)
    } else {
        format!("the filter has more than {} nodes", Filter::MAX_NODES)
    };
    let (depth, nodes) = (Filter::MAX_DEPTH, Filter::MAX_NODES);
    Error::config(what).hint(format!(
        "At most {depth} levels and {nodes} tests and composites together; composites of the same logic can be joined into one."
    ))
}

const EXAMPLE: &str = r#"{"field": "amount", "operator": "gte", "value": 50}"#;

/// Descriptor as it is written. Values stay text until their digits are read exactly.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFilter<'a> {
    field: Option<String>,
    operator: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(rename = "ignoreCase")]
    ignore_case: Option<bool>,
    logic: Option<String>,
    #[serde(borrow)]
    filters: Option<Vec<&'a RawValue>>,
}

/// Parser of descriptors that counts their nodes.
struct FilterParser {
    nodes: usize,
}

impl FilterParser {
    fn node(&mut self, raw: &RawValue, depth: usize, at: &str) -> Result<Filter> {
        self.nodes += 1;
        if depth > Filter::MAX_DEPTH || self.nodes > Filter::MAX_NODES {
            return Err(too_large(depth));
        }
        if !raw.get().starts_with('{') {
            return Err(
                wrong(at, "a filter is an object").hint(format!("Write one like {EXAMPLE}."))
            );
        }
        let written: RawFilter<'_> = serde_json::from_str(raw.get()).map_err(|error| {
            // The text as a whole is JSON; what line of a part of it is meant helps nobody.
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or(&what);
            wrong(at, &format!("the filter cannot be read: {what}")).hint(
                "A test has field, operator, value and perhaps ignoreCase; a composite has logic (\"and\" or \"or\") and filters.",
            )
        })?;
        match &written.filters {
            Some(filters) => self.composite(&written, filters, depth, at),
            None => test(written, at),
        }
    }

    fn composite(
        &mut self,
        written: &RawFilter<'_>,
        filters: &[&RawValue],
        depth: usize,
        at: &str,
    ) -> Result<Filter> {
        if written.field.is_some() || written.operator.is_some() {
            return Err(wrong(at, "the filter is both a test and a composite")
                .hint("Leave out filters, or put the test into filters as one of them."));
        }
        let filters = |reader: &mut Self| {
            filters
                .iter()
                .enumerate()
                .map(|(index, raw)| {
                    reader.node(raw, depth + 1, &below(at, &format!("filters[{index}]")))
                })
                .collect::<Result<Vec<Filter>>>()
        };
        match written.logic.as_deref() {
            Some("and") => Ok(Filter::All(filters(self)?)),
            Some("or") => Ok(Filter::Any(filters(self)?)),
            Some(other) => Err(
                wrong(&below(at, "logic"), &format!("there is no logic {other:?}"))
                    .hint("Write \"and\" or \"or\"."),
            ),
            None => Err(wrong(at, "a composite filter needs logic")
                .hint("Add \"logic\": \"and\" or \"or\".")),
        }
    }
}

fn test(written: RawFilter<'_>, at: &str) -> Result<Filter> {
    let (Some(field), Some(operator)) = (written.field, written.operator) else {
        let missing = "a filter needs field and operator, or logic and filters";
        return Err(wrong(at, missing).hint(format!("Write one like {EXAMPLE}.")));
    };
    if written.logic.is_some() {
        return Err(wrong(at, "a test takes no logic")
            .hint("logic belongs to a composite, beside filters."));
    }
    let operator = FilterOperator::parse(&operator).ok_or_else(|| {
        let all: Vec<&str> = FilterOperator::ALL
            .iter()
            .map(|operator| operator.as_str())
            .collect();
        let near = nearest(&operator, &all)
            .map_or_else(String::new, |near| format!(", did you mean {near}"));
        wrong(
            &below(at, "operator"),
            &format!("there is no operator {operator:?}{near}"),
        )
        .hint(format!("Operators are {}.", all.join(", ")))
    })?;
    let value = match written.value {
        Some(value) if !operator.is_unary() => operand(value, &below(at, "value"))?,
        _ => FilterOperand::Null,
    };
    Ok(Filter::Test(FilterTest {
        field,
        operator,
        value,
        ignore_case: written.ignore_case.unwrap_or(true),
    }))
}

fn operand(raw: &RawValue, at: &str) -> Result<FilterOperand> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'n') => Ok(FilterOperand::Null),
        Some(b't') => Ok(FilterOperand::Bool(true)),
        Some(b'f') => Ok(FilterOperand::Bool(false)),
        Some(b'"') => serde_json::from_str(text)
            .map(FilterOperand::Text)
            .map_err(|_| wrong(at, "the text holds half a character (a lone surrogate)")),
        Some(b'-' | b'0'..=b'9') => ExactDecimal::from_json(text)
            .map(FilterOperand::Number)
            .ok_or_else(|| {
                wrong(at, "the number has more digits than can be compared")
                    .hint("At most 38 digits, before and after the point together.")
            }),
        _ => Err(wrong(
            at,
            "a filter's value is a text, a number, true, false or null",
        )
        .hint("To ask for one of several values, make a composite with logic \"or\".")),
    }
}

fn wrong(at: &str, what: &str) -> Error {
    let error = Error::config(what);
    if at.is_empty() {
        error
    } else {
        error.at("filter", at)
    }
}

fn below(at: &str, part: &str) -> String {
    if at.is_empty() {
        part.to_owned()
    } else {
        format!("{at}.{part}")
    }
}

/// As a descriptor, the way it can be sent to a provider: every key written out.
impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Test(test) => test.serialize(serializer),
            Self::All(filters) | Self::Any(filters) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry(
                    "logic",
                    if matches!(self, Self::All(_)) {
                        "and"
                    } else {
                        "or"
                    },
                )?;
                map.serialize_entry("filters", filters)?;
                map.end()
            }
        }
    }
}

impl Serialize for FilterTest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("field", &self.field)?;
        map.serialize_entry("operator", self.operator.as_str())?;
        if !self.operator.is_unary() {
            match &self.value {
                FilterOperand::Null => map.serialize_entry("value", &())?,
                FilterOperand::Bool(value) => map.serialize_entry("value", value)?,
                FilterOperand::Number(value) => map.serialize_entry("value", value)?,
                FilterOperand::Text(value) => map.serialize_entry("value", value)?,
            }
        }
        if !self.ignore_case {
            map.serialize_entry("ignoreCase", &false)?;
        }
        map.end()
    }
}
