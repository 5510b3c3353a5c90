//! Parameters of a statement: `$1`, `$day`, `:day`.
//!
//! Invariant: a value becomes one literal in the tree that the text was read into; no value is ever part of the text, so that none can end a quote or begin a
//! clause. It has the type that a literal would have where it stands: a text, and a number where a number is wanted.
//!
//! ```text
//!   amount * :rate, LIMIT :n, -:n                         a number, if it looks like one
//!   amount > :least, n IN (:a, :b), round(amount, :n)     known once the types beside it are: a placeholder that carries its value into the plan
//!   anywhere else, and what looks like no number          a text, which takes the other side's type
//! ```

mod list_text;
mod literals;
mod places;

pub use list_text::list_items;
pub use literals::ParameterLiteral;
pub(crate) use places::ParameterPlaces;

use crate::typed_rewrite::rewrite_expressions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr as PlannedExpr, ExprSchemable, LogicalPlan, lit};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType as SqlType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, JsonPathElem, LimitClause, Query, TableFactor,
    TimezoneInfo, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;
use tillhouse_model::{Error, ErrorKind, Result};

/// Values of parameters by name, in lower case; the name of `$1` is `1`.
#[derive(Clone, Default)]
pub struct QueryParameters(
    BTreeMap<String, String>,
    /// Those whose types are known.
    BTreeMap<String, ParameterLiteral>,
    /// Values of functions that say something of whoever asks, by name.
    BTreeMap<String, ParameterLiteral>,
);

impl fmt::Debug for QueryParameters {
    /// Names alone: a value may be somebody's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.keys().chain(self.1.keys());
        f.debug_set().entries(names).finish()
    }
}

impl QueryParameters {
    /// Parameters as they are given: `NAME=VALUE` each, where everything behind the first `=` is the value.
    ///
    /// Errors with [`ErrorKind::Config`] for what is none, and for a name that is given twice.
    pub fn read<'a>(given: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut values = BTreeMap::new();
        for text in given {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                Error::config(format!("the parameter {text:?} has no value"))
                    .hint("Write --param NAME=VALUE, like --param day=2026-11-01; a query names it :day or $day.")
            })?;
            let name = name.trim().trim_start_matches([':', '$']).to_lowercase();
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(Error::config(format!("{name:?} is no name of a parameter"))
                    .hint("Letters, digits and _ make a name; $1 is given as --param 1=VALUE."));
            }
            if values.insert(name.clone(), value.to_owned()).is_some() {
                return Err(
                    Error::config(format!("the parameter {name} is given twice"))
                        .hint("Each has one value."),
                );
            }
        }
        Ok(Self(values, BTreeMap::new(), BTreeMap::new()))
    }

    /// The parameters with one more, whose type is known: it is that literal wherever it stands.
    #[must_use]
    pub fn with_literal(mut self, name: &str, literal: ParameterLiteral) -> Self {
        self.1.insert(name.to_lowercase(), literal);
        self
    }

    /// The parameters with the value of a function without arguments that says something of whoever asks, as `current_user` does: it is that literal wherever it is called.
    #[must_use]
    pub fn with_call(mut self, name: &str, literal: ParameterLiteral) -> Self {
        self.2.insert(name.to_lowercase(), literal);
        self
    }

    /// The parameters with the functions of others.
    #[must_use]
    pub(crate) fn with_calls_of(mut self, other: &Self) -> Self {
        self.2.clone_from(&other.2);
        self
    }

    /// Parameters that have no value yet, for a query that is planned to see its columns: each is NULL.
    pub fn unknown_in(sql: &str) -> Self {
        let names = named_in(sql).into_iter();
        let literals = names.map(|name| (name, ParameterLiteral::Null)).collect();
        Self(BTreeMap::new(), literals, BTreeMap::new())
    }

    /// Errors when one is given that none of the statements names.
    pub fn check_named<'a>(&self, statements: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let named: BTreeSet<String> = statements.into_iter().flat_map(named_in).collect();
        let mut given = self.0.keys().chain(self.1.keys());
        match given.find(|name| !named.contains(*name)) {
            None => Ok(()),
            Some(name) => {
                let known = if named.is_empty() {
                    "A query names a parameter :day or $day, and $1 by its number.".to_owned()
                } else {
                    let named: Vec<&str> = named.iter().map(String::as_str).collect();
                    format!("It names {}.", named.join(", "))
                };
                Err(
                    Error::config(format!("the query does not name the parameter {name}"))
                        .hint(known),
                )
            }
        }
    }

    /// Puts the values into a statement of another engine's words: each is a literal, and those whose types nobody knows are texts.
    pub fn put_into(&self, statement: &mut ast::Statement) {
        let texts = self.0.iter();
        let texts = texts.map(|(name, text)| (name.clone(), ParameterLiteral::Text(text.clone())));
        let literals: BTreeMap<_, _> = texts.chain(self.1.clone()).collect();
        literals::apply(&literals, statement);
        literals::apply_calls(&self.2, statement);
    }

    /// Puts the values of functions into a statement, and leaves its parameters.
    pub(crate) fn apply_calls(&self, statement: &mut Statement) {
        match statement {
            Statement::Statement(inner) => literals::apply_calls(&self.2, inner),
            Statement::Explain(explain) => self.apply_calls(&mut explain.statement),
            _ => {}
        }
    }

    /// Puts the values into a statement; true where types must be known for some of them, see [`resolve`].
    ///
    /// Errors with [`ErrorKind::Query`] when it names one that has no value.
    pub(crate) fn apply(&self, statement: &mut Statement) -> Result<bool> {
        let inner = match statement {
            Statement::Statement(inner) => inner,
            Statement::Explain(explain) => return self.apply(&mut explain.statement),
            _ => return Ok(false),
        };
        if !self.1.is_empty() {
            literals::apply(&self.1, inner.as_mut());
        }
        literals::apply_calls(&self.2, inner.as_mut());
        let mut values = ValueVisitor {
            given: self,
            is_left: false,
        };
        match VisitMut::visit(inner.as_mut(), &mut values) {
            ControlFlow::Continue(()) => Ok(values.is_left),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// The name of the parameter that has a value.
    pub(crate) fn name_of(&self, value: &str) -> Option<&str> {
        let mut given = self.0.iter();
        let (name, _) = given.find(|(_, given)| given.as_str() == value)?;
        Some(name)
    }

    fn value(&self, placeholder: &str) -> Result<&str> {
        let name = placeholder
            .trim_start_matches([':', '$', '@'])
            .to_lowercase();
        if placeholder.starts_with('?') {
            return Err(
                Error::new(ErrorKind::Query, "a parameter needs a name or a number")
                    .hint("Write $1 or :day instead of ?."),
            );
        }
        self.0.get(&name).map(String::as_str).ok_or_else(|| {
            Error::new(
                ErrorKind::Query,
                format!("the parameter {placeholder} has no value"),
            )
            .hint(format!("Give it one: --param {name}=VALUE."))
        })
    }
}

/// Names of the parameters in a text, and perhaps of what only looks like one, as in `list[1:n]`.
fn named_in(text: &str) -> Vec<String> {
    let tokens = crate::statements::tokens(text).0;
    let mut names = Vec::new();
    for (at, TokenWithSpan { token, .. }) in tokens.iter().enumerate() {
        match (token, tokens.get(at + 1).map(|next| &next.token)) {
            (Token::Placeholder(name), _) => {
                names.push(name.trim_start_matches('$').to_lowercase())
            }
            (Token::Colon, Some(Token::Word(word))) => names.push(word.value.to_lowercase()),
            (Token::Colon, Some(Token::Number(number, _))) => names.push(number.clone()),
            _ => {}
        }
    }
    names
}

/// Digits of a decimal, at most.
const MOST_DIGITS: u8 = 38;

/// True for a text that is a number as it is written in SQL. One that begins with noughts is none: a code or a plate that stays as it is.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    are_digits(whole)
        && are_digits(fraction)
        && (whole == "0" || !whole.starts_with('0'))
        && digits.len() <= usize::from(MOST_DIGITS)
}

/// Visitor that puts values in the places of parameters.
struct ValueVisitor<'a> {
    given: &'a QueryParameters,
    /// True where a placeholder was left that carries its value.
    is_left: bool,
}

/// Prefix of the value of a placeholder that carries it.
const CARRIED: &str = "$=";

fn value(value: Value) -> Expr {
    Expr::Value(ValueWithSpan {
        value,
        span: Span::empty(),
    })
}

fn number(text: &str) -> Expr {
    let of = |digits: &str| value(Value::Number(digits.to_owned(), false));
    match text.strip_prefix('-') {
        Some(digits) => Expr::Nested(Box::new(Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: Box::new(of(digits)),
        })),
        None => of(text),
    }
}

/// The name of an expression that is a parameter, in brackets or without.
fn placeholder(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Nested(inner) => placeholder(inner),
        Expr::Value(ValueWithSpan {
            value: Value::Placeholder(name),
            ..
        }) if !name.starts_with(CARRIED) => Some(name),
        _ => None,
    }
}

impl ValueVisitor<'_> {
    /// Puts a number, where the value is one, and else a text.
    fn by_form(&self, expr: &mut Expr) -> Result<()> {
        if let Some(name) = placeholder(expr) {
            let text = self.given.value(name)?;
            *expr = if is_number(text) {
                number(text)
            } else {
                value(Value::SingleQuotedString(text.to_owned()))
            };
        }
        Ok(())
    }

    /// Leaves a number to [`resolve`]; else puts a text.
    fn by_types(&mut self, expr: &mut Expr) -> Result<()> {
        if let Some(name) = placeholder(expr) {
            let text = self.given.value(name)?;
            *expr = if is_number(text) {
                self.is_left = true;
                value(Value::Placeholder(format!("{CARRIED}{text}")))
            } else {
                value(Value::SingleQuotedString(text.to_owned()))
            };
        }
        Ok(())
    }

    fn arguments<'e>(
        &mut self,
        arguments: impl IntoIterator<Item = &'e mut FunctionArg>,
        are_planned: bool,
    ) -> Result<()> {
        for argument in arguments {
            let (FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
            | FunctionArg::Named {
                arg: FunctionArgExpr::Expr(expr),
                ..
            }
            | FunctionArg::ExprNamed {
                arg: FunctionArgExpr::Expr(expr),
                ..
            }) = argument
            else {
                continue;
            };
            if are_planned {
                self.by_types(expr)?;
            } else {
                self.by_form(expr)?;
            }
        }
        Ok(())
    }

    /// `x = ANY ($1)` and `x <> ALL ($1)` of the text of a list as IN, each of whose items has the type that `x` wants.
    fn among(&mut self, expr: &Expr) -> Result<Option<Expr>> {
        let (left, right, negated) = match expr {
            Expr::AnyOp {
                left,
                compare_op: BinaryOperator::Eq,
                right,
                ..
            } => (left, right, false),
            Expr::AllOp {
                left,
                compare_op: BinaryOperator::NotEq,
                right,
            } => (left, right, true),
            _ => return Ok(None),
        };
        let Some(name) = placeholder(right) else {
            return Ok(None);
        };
        let Some(items) = list_items(self.given.value(name)?) else {
            return Ok(None);
        };
        if items.is_empty() {
            return Ok(Some(value(Value::Boolean(negated))));
        }
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            list.push(value(match item {
                None => Value::Null,
                Some(text) if is_number(&text) => {
                    self.is_left = true;
                    Value::Placeholder(format!("{CARRIED}{text}"))
                }
                Some(text) => Value::SingleQuotedString(text),
            }));
        }
        Ok(Some(Expr::InList {
            expr: left.clone(),
            list,
            negated,
        }))
    }

    fn within(&mut self, expr: &mut Expr) -> Result<()> {
        if let Some(typed) = typed_parameter(expr) {
            *expr = typed;
        }
        if let Some(among) = self.among(expr)? {
            *expr = among;
            return Ok(());
        }
        match expr {
            Expr::BinaryOp { left, op, right } if is_arithmetic(op) => {
                self.by_form(left)?;
                self.by_form(right)
            }
            Expr::UnaryOp {
                op: UnaryOperator::Minus | UnaryOperator::Plus,
                expr,
            } => self.by_form(expr),
            Expr::BinaryOp { left, right, .. } => {
                self.by_types(left)?;
                self.by_types(right)
            }
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.by_types(left)?;
                self.by_types(right)
            }
            Expr::Between {
                expr, low, high, ..
            } => [expr, low, high]
                .into_iter()
                .try_for_each(|of| self.by_types(of)),
            Expr::InList { expr, list, .. } => {
                self.by_types(expr)?;
                list.iter_mut().try_for_each(|of| self.by_types(of))
            }
            Expr::Function(Function {
                args: FunctionArguments::List(list),
                ..
            }) => self.arguments(&mut list.args, true),
            Expr::Case {
                conditions,
                else_result,
                ..
            } => {
                for when in conditions {
                    self.by_types(&mut when.result)?;
                }
                else_result
                    .as_deref_mut()
                    .map_or(Ok(()), |otherwise| self.by_types(otherwise))
            }
            Expr::Substring {
                substring_from,
                substring_for,
                ..
            } => [substring_from, substring_for]
                .into_iter()
                .flatten()
                .try_for_each(|part| self.by_form(part)),
            // `DATE $day`: a text behind the name of a type.
            Expr::TypedString(typed) => {
                if let Value::Placeholder(name) = &typed.value.value {
                    let text = self.given.value(name)?.to_owned();
                    typed.value.value = Value::SingleQuotedString(text);
                }
                Ok(())
            }
            other => {
                let Some(name) = placeholder(other) else {
                    return Ok(());
                };
                let text = self.given.value(name)?.to_owned();
                *other = value(Value::SingleQuotedString(text));
                Ok(())
            }
        }
    }
}

/// `DATE :day` as a cast: the parser takes the name of a type before a colon for a value that holds JSON.
fn typed_parameter(expr: &Expr) -> Option<Expr> {
    let Expr::JsonAccess { value: of, path } = expr else {
        return None;
    };
    let Expr::Identifier(Ident {
        value: name,
        quote_style: None,
        ..
    }) = of.as_ref()
    else {
        return None;
    };
    let [JsonPathElem::Dot { key, quoted: false }] = path.path.as_slice() else {
        return None;
    };
    let data_type = match name.to_lowercase().as_str() {
        "date" => SqlType::Date,
        "time" => SqlType::Time(None, TimezoneInfo::None),
        "timestamp" => SqlType::Timestamp(None, TimezoneInfo::None),
        "timestamptz" => SqlType::Timestamp(None, TimezoneInfo::Tz),
        _ => return None,
    };
    Some(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(value(Value::Placeholder(format!(":{key}")))),
        data_type,
        array: false,
        format: None,
    })
}

fn is_arithmetic(operator: &BinaryOperator) -> bool {
    matches!(
        operator,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::PGExp
    )
}

fn flow(outcome: Result<()>) -> ControlFlow<Error> {
    match outcome {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

/// Numbers of rows that a query gives and passes over.
fn limits(query: &mut Query) -> Vec<&mut Expr> {
    let limits = match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            [limit.as_mut(), offset.as_mut().map(|of| &mut of.value)]
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => [Some(limit), Some(offset)],
        None => [None, None],
    };
    let fetched = query.fetch.as_mut().and_then(|of| of.quantity.as_mut());
    limits.into_iter().chain([fetched]).flatten().collect()
}

impl VisitorMut for ValueVisitor<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        flow(
            limits(query)
                .into_iter()
                .try_for_each(|limit| self.by_form(limit)),
        )
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Error> {
        // Arguments of a table function must be known when it is planned.
        let arguments = match table {
            TableFactor::Table {
                args: Some(arguments),
                ..
            } => &mut arguments.args,
            TableFactor::Function { args, .. } => args,
            _ => return ControlFlow::Continue(()),
        };
        flow(self.arguments(arguments, false))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        flow(self.within(expr))
    }
}

/// The value that a placeholder carries.
fn carried(expr: &PlannedExpr) -> Option<&str> {
    match expr {
        PlannedExpr::Placeholder(of) => of.id.strip_prefix(CARRIED),
        _ => None,
    }
}

/// Gives the values that were left the types that their places want: a number beside numbers, and where no text is taken.
pub(crate) fn resolve(plan: LogicalPlan) -> datafusion::common::Result<LogicalPlan> {
    let plan = rewrite_expressions(plan, in_calls)?;
    rewrite_expressions(plan, |expr, _| match carried(&expr) {
        Some(text) => Transformed::yes(lit(text)),
        None => Transformed::no(expr),
    })
}

/// The expressions of a comparison or a CASE, which have one type, or of a call, which have those that its signature says.
fn beside(expr: &mut PlannedExpr) -> Vec<&mut PlannedExpr> {
    match expr {
        PlannedExpr::ScalarFunction(call) => call.args.iter_mut().collect(),
        PlannedExpr::AggregateFunction(call) => call.params.args.iter_mut().collect(),
        PlannedExpr::WindowFunction(call) => call.params.args.iter_mut().collect(),
        PlannedExpr::BinaryExpr(of) => vec![of.left.as_mut(), of.right.as_mut()],
        PlannedExpr::Between(of) => vec![of.expr.as_mut(), of.low.as_mut(), of.high.as_mut()],
        PlannedExpr::InList(of) => std::iter::once(of.expr.as_mut())
            .chain(&mut of.list)
            .collect(),
        PlannedExpr::Case(case) => case
            .when_then_expr
            .iter_mut()
            .map(|(_, then)| then.as_mut())
            .chain(case.else_expr.as_deref_mut())
            .collect(),
        _ => Vec::new(),
    }
}

/// Resolves the values among what [`beside`] has; what their types are is known, since everything within them is resolved.
fn in_calls(mut expr: PlannedExpr, schema: &DFSchema) -> Transformed<PlannedExpr> {
    let (mut has_values, mut is_of_numbers) = (false, false);
    for argument in beside(&mut expr) {
        if carried(argument).is_some() {
            has_values = true;
        } else {
            is_of_numbers |= matches!(argument.get_type(schema), Ok(of) if of.is_numeric());
        }
    }
    if !has_values {
        return Transformed::no(expr);
    }
    let filled = |literal: fn(&str) -> PlannedExpr| {
        let mut filled = expr.clone();
        for argument in beside(&mut filled) {
            if let Some(text) = carried(argument) {
                *argument = literal(text);
            }
        }
        filled
    };
    let texts = filled(|text| lit(text));
    if !is_of_numbers && texts.get_type(schema).is_ok() {
        return Transformed::yes(texts);
    }
    let numbers = filled(numeral);
    let is_taken = numbers.get_type(schema).is_ok();
    Transformed::yes(if is_taken { numbers } else { texts })
}

/// Resolves the operands of an operator that is about to be planned.
pub(crate) fn in_operands(
    left: &mut PlannedExpr,
    right: &mut PlannedExpr,
    schema: &DFSchema,
) -> datafusion::common::Result<()> {
    for operand in [&mut *left, &mut *right] {
        // Operators within are resolved already.
        let is_done = matches!(
            operand,
            PlannedExpr::BinaryExpr(_) | PlannedExpr::Column(_) | PlannedExpr::Literal(..)
        );
        if !is_done {
            let of = std::mem::take(operand);
            *operand = of.transform_up(|expr| Ok(in_calls(expr, schema)))?.data;
        }
    }
    fill(left, right, schema);
    fill(right, left, schema);
    Ok(())
}

/// Puts a number beside a number, and a text beside anything else.
fn fill(operand: &mut PlannedExpr, other: &PlannedExpr, schema: &DFSchema) {
    if let Some(text) = carried(operand) {
        let is_of_numbers = matches!(other.get_type(schema), Ok(of) if of.is_numeric());
        *operand = if is_of_numbers {
            numeral(text)
        } else {
            lit(text)
        };
    }
}

/// A number as a literal: whole, or a decimal with its digits.
pub(crate) fn numeral(text: &str) -> PlannedExpr {
    if let Ok(whole) = text.parse::<i64>() {
        return lit(whole);
    }
    let scale = text
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    let digits: String = text.chars().filter(|c| *c != '.').collect();
    let of = i8::try_from(scale).ok().zip(digits.parse::<i128>().ok());
    match of {
        Some((scale, units)) => {
            let precision = digits.trim_start_matches('-').len();
            let precision = u8::try_from(precision).unwrap_or(MOST_DIGITS);
            lit(ScalarValue::Decimal128(Some(units), precision, scale))
        }
        None => lit(text),
    }
}
