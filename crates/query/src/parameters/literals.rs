//! Parameters whose types are known, as those of a database protocol are: each is one literal of its type.
//!
//! Invariant: a value becomes a literal in the tree that the text was read into, never text of the query; it has the type that its sender gave it, also where it looks
//! like a value of another one: the text '007' stays a text.

use super::{number, placeholder, value};
use datafusion::sql::sqlparser::ast::{
    Array, CastKind, DataType as SqlType, Expr, Function, FunctionArguments, Ident, Statement,
    TimezoneInfo, Value, VisitMut, VisitorMut,
};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

/// Value of a parameter whose type is known.
#[derive(Clone, PartialEq, Eq)]
pub enum ParameterLiteral {
    /// No value.
    Null,
    /// A number, as it is written: `-12.50`.
    Number(String),
    /// True or false.
    Truth(bool),
    /// A text, also where it looks like something else.
    Text(String),
    /// The text of a floating-point number, of which there are NaN and infinities too.
    Float(String),
    /// The text of a date.
    Date(String),
    /// The text of a time of day.
    Time(String),
    /// The text of a date and a time on a clock.
    Timestamp(String),
    /// The text of an instant, with its offset.
    Instant(String),
    /// The text of a span of time.
    Span(String),
    /// A list of values.
    List(Vec<ParameterLiteral>),
}

impl fmt::Debug for ParameterLiteral {
    /// The kind alone: a value may be somebody's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Number(_) => "Number",
            Self::Truth(_) => "Truth",
            Self::Text(_) => "Text",
            Self::Float(_) => "Float",
            Self::Date(_) => "Date",
            Self::Time(_) => "Time",
            Self::Timestamp(_) => "Timestamp",
            Self::Instant(_) => "Instant",
            Self::Span(_) => "Span",
            Self::List(_) => "List",
        })
    }
}

impl ParameterLiteral {
    fn expr(&self) -> Expr {
        let text = |text: &str| value(Value::SingleQuotedString(text.to_owned()));
        let (of, data_type) = match self {
            Self::Null => return value(Value::Null),
            Self::Number(digits) => return number(digits),
            Self::Truth(is_true) => return value(Value::Boolean(*is_true)),
            Self::Text(of) => return text(of),
            Self::List(items) => {
                return Expr::Array(Array {
                    elem: items.iter().map(Self::expr).collect(),
                    named: true,
                });
            }
            Self::Float(of) => (of, SqlType::DoublePrecision),
            Self::Date(of) => (of, SqlType::Date),
            Self::Time(of) => (of, SqlType::Time(None, TimezoneInfo::None)),
            Self::Timestamp(of) => (of, SqlType::Timestamp(None, TimezoneInfo::None)),
            Self::Instant(of) => (of, SqlType::Timestamp(None, TimezoneInfo::Tz)),
            Self::Span(of) => (
                of,
                SqlType::Interval {
                    fields: None,
                    precision: None,
                },
            ),
        };
        Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(text(of)),
            data_type,
            array: false,
            format: None,
        }
    }

    /// The text of a value that stands behind the name of a type: `DATE $1`.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Null | Self::Truth(_) | Self::List(_) => None,
            Self::Number(of)
            | Self::Text(of)
            | Self::Float(of)
            | Self::Date(of)
            | Self::Time(of)
            | Self::Timestamp(of)
            | Self::Instant(of)
            | Self::Span(of) => Some(of),
        }
    }
}

/// Visitor that puts literals in the places of parameters.
struct LiteralVisitor<'a>(&'a BTreeMap<String, ParameterLiteral>);

impl LiteralVisitor<'_> {
    fn of(&self, placeholder: &str) -> Option<&ParameterLiteral> {
        let name = placeholder.trim_start_matches([':', '$', '@']);
        self.0.get(&name.to_lowercase())
    }
}

impl VisitorMut for LiteralVisitor<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(literal) = placeholder(expr).and_then(|name| self.of(name)) {
            *expr = literal.expr();
        } else if let Expr::TypedString(typed) = expr
            && let Value::Placeholder(name) = &typed.value.value
            && let Some(text) = self.of(name).and_then(ParameterLiteral::text)
        {
            typed.value.value = Value::SingleQuotedString(text.to_owned());
        }
        ControlFlow::Continue(())
    }
}

/// Puts literals in the places of the parameters that have these names; others stay.
pub(super) fn apply(literals: &BTreeMap<String, ParameterLiteral>, statement: &mut Statement) {
    let _ = VisitMut::visit(statement, &mut LiteralVisitor(literals));
}

/// Visitor that puts literals in the places of calls.
struct CallVisitor<'a>(&'a BTreeMap<String, ParameterLiteral>);

impl CallVisitor<'_> {
    fn of(&self, name: &Ident) -> Option<&ParameterLiteral> {
        self.0.get(&name.value.to_lowercase())
    }

    /// The value of a function that is called without arguments, with brackets or without; of PostgreSQL's own alone, where a schema is named.
    fn called(&self, call: &Function) -> Option<&ParameterLiteral> {
        let is_plain = match &call.args {
            FunctionArguments::None => true,
            FunctionArguments::List(list) => list.args.is_empty(),
            FunctionArguments::Subquery(_) => false,
        };
        let (name, schema) = call.name.0.split_last()?;
        let is_own = schema
            .iter()
            .all(|part| part.as_ident().is_some_and(|of| of.value == "pg_catalog"));
        let name = name.as_ident().filter(|_| is_plain && is_own)?;
        self.of(name)
    }
}

/// Name of the one function of these that the parser takes for a column where it has no brackets.
const BARE: &str = "current_schema";

impl VisitorMut for CallVisitor<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let literal = match expr {
            Expr::Function(call) => self.called(call),
            Expr::Identifier(name)
                if name.quote_style.is_none() && name.value.eq_ignore_ascii_case(BARE) =>
            {
                self.of(name)
            }
            _ => None,
        };
        if let Some(literal) = literal {
            *expr = literal.expr();
        }
        ControlFlow::Continue(())
    }
}

/// Puts literals in the places of calls of functions of these names.
pub(super) fn apply_calls(calls: &BTreeMap<String, ParameterLiteral>, statement: &mut Statement) {
    if !calls.is_empty() {
        let _ = VisitMut::visit(statement, &mut CallVisitor(calls));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn applied(sql: &str, literals: &[(&str, ParameterLiteral)]) -> String {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        let literals = literals.iter();
        let literals = literals.map(|(name, of)| ((*name).to_owned(), of.clone()));
        apply(&literals.collect(), &mut statements[0]);
        statements[0].to_string()
    }

    #[test]
    fn a_value_has_the_type_that_its_sender_gave_it() {
        let text = |text: &str| ParameterLiteral::Text(text.to_owned());
        for (literal, written) in [
            (ParameterLiteral::Null, "SELECT NULL"),
            (
                ParameterLiteral::Number("-1.50".to_owned()),
                "SELECT (-1.50)",
            ),
            (ParameterLiteral::Truth(true), "SELECT true"),
            (text("007"), "SELECT '007'"),
            (
                ParameterLiteral::Date("2026-01-01".to_owned()),
                "SELECT CAST('2026-01-01' AS DATE)",
            ),
            (
                ParameterLiteral::List(vec![text("a"), text("b")]),
                "SELECT ARRAY['a', 'b']",
            ),
        ] {
            assert_eq!(applied("SELECT $1", &[("1", literal)]), written);
        }
    }

    #[test]
    fn parameters_stand_wherever_a_value_may() {
        let number = |digits: &str| ParameterLiteral::Number(digits.to_owned());
        assert_eq!(
            applied(
                "SELECT f($1), $2 FROM t WHERE a IN ($1, $3) LIMIT $1",
                &[
                    ("1", number("7")),
                    ("2", ParameterLiteral::Text("it's".to_owned()))
                ],
            ),
            "SELECT f(7), 'it''s' FROM t WHERE a IN (7, $3) LIMIT 7"
        );
        let day = ParameterLiteral::Text("2026-01-01".to_owned());
        assert_eq!(
            applied("SELECT DATE $1", &[("1", day)]),
            "SELECT DATE '2026-01-01'"
        );
    }

    #[test]
    fn a_function_of_whoever_asks_is_its_value() {
        let calls = ["current_user", "current_schema", "version"];
        let calls = calls.map(|name| (name.to_owned(), ParameterLiteral::Text("x".to_owned())));
        let calls = BTreeMap::from(calls);
        for (sql, written) in [
            ("SELECT current_user, current_schema", "SELECT 'x', 'x'"),
            (
                "SELECT count(*), pg_catalog.version() FROM t",
                "SELECT count(*), 'x' FROM t",
            ),
            (
                "SELECT a FROM t WHERE b = CURRENT_SCHEMA()",
                "SELECT a FROM t WHERE b = 'x'",
            ),
            (
                "SELECT version(1), version, hecone.version()",
                "SELECT version(1), version, hecone.version()",
            ),
            (
                "SELECT \"current_schema\", t.current_schema FROM t",
                "SELECT \"current_schema\", t.current_schema FROM t",
            ),
        ] {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
            apply_calls(&calls, &mut statements[0]);
            assert_eq!(statements[0].to_string(), written);
        }
    }

    #[test]
    fn no_value_is_shown() {
        let shown = format!("{:?}", ParameterLiteral::Text("KA-XY 1".to_owned()));
        assert_eq!(shown, "Text");
    }
}
