//! Parts of a statement's tree, made by hand.
//!
//! Invariant: what is made here is as if it had been read from a text: names are quoted, so that none changes its letters.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, OrderByExpr, OrderByOptions, Value,
    ValueWithSpan,
};
use datafusion::sql::sqlparser::tokenizer::Span;

/// A name with its letters as they are.
pub(super) fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// A literal.
pub(super) fn literal(value: Value) -> Expr {
    Expr::Value(ValueWithSpan {
        value,
        span: Span::empty(),
    })
}

/// A text.
pub(crate) fn text(text: &str) -> Expr {
    literal(Value::SingleQuotedString(text.to_owned()))
}

/// A whole number.
pub(super) fn whole(number: usize) -> Expr {
    literal(Value::Number(number.to_string(), false))
}

/// An operation of two operands.
pub(super) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

/// Both conditions, where there are two.
pub(super) fn both(condition: Expr, other: Option<Box<Expr>>) -> Box<Expr> {
    Box::new(match other {
        Some(other) => binary(condition, BinaryOperator::And, *other),
        None => condition,
    })
}

/// Conditions of which one has to hold, in pairs of pairs: a long list makes no deep tree. `None` where there are none.
pub(super) fn either(mut conditions: Vec<Expr>) -> Option<Expr> {
    while conditions.len() > 1 {
        let mut level = Vec::with_capacity(conditions.len().div_ceil(2));
        let mut rest = conditions.into_iter();
        while let Some(one) = rest.next() {
            level.push(match rest.next() {
                Some(other) => binary(one, BinaryOperator::Or, other),
                None => one,
            });
        }
        conditions = level;
    }
    conditions.pop()
}

/// A test that a value is not null.
pub(super) fn is_not_null(expr: &Expr) -> Expr {
    Expr::IsNotNull(Box::new(expr.clone()))
}

/// An argument.
fn argument(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

/// Arguments of a call.
pub(super) fn arguments(args: Vec<Expr>) -> FunctionArguments {
    FunctionArguments::List(FunctionArgumentList {
        duplicate_treatment: None,
        args: args.into_iter().map(argument).collect(),
        clauses: Vec::new(),
    })
}

/// The one argument of `count(*)`.
pub(super) fn all_rows() -> FunctionArguments {
    FunctionArguments::List(FunctionArgumentList {
        duplicate_treatment: None,
        args: vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)],
        clauses: Vec::new(),
    })
}

/// A call with its parts.
pub(super) fn function(name: &str, args: FunctionArguments, filter: Option<Box<Expr>>) -> Function {
    Function {
        name: ObjectName::from(Ident::new(name)),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args,
        filter,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// A call.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(function(name, arguments(args), None))
}

/// A place in an order.
pub(super) fn ordered(expr: Expr, options: OrderByOptions) -> OrderByExpr {
    OrderByExpr {
        expr,
        options,
        with_fill: None,
    }
}

/// The name of a function that has no schema and no quotes, in lower case.
pub(super) fn plain_name(name: &ObjectName) -> Option<String> {
    let [part] = name.0.as_slice() else {
        return None;
    };
    part.as_ident()
        .filter(|name| name.quote_style.is_none())
        .map(|name| name.value.to_lowercase())
}

/// The arguments of a call that has nothing but values for arguments.
pub(super) fn values(args: &FunctionArguments) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = args else {
        return None;
    };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return None;
    }
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

/// Leaves numbers out of the order within a call: they are constants there, which order nothing, and the planner takes them for places of columns.
pub(super) fn leave_out_numbers(order: &mut Vec<OrderByExpr>) {
    order
        .retain(|by| !matches!(&by.expr, Expr::Value(of) if matches!(of.value, Value::Number(..))));
}

/// An aggregate of a value in an order.
pub(super) fn with_order(name: &str, of: Expr, mut order: Vec<OrderByExpr>) -> Function {
    leave_out_numbers(&mut order);
    let mut args = arguments(vec![of]);
    if let FunctionArguments::List(list) = &mut args
        && !order.is_empty()
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    function(name, args, None)
}
