//! Places that say of which type a parameter is, and that planning does not ask: a cast, a limit, a list that something is looked for in, a value that stands in for a column.
//!
//! ```text
//!   $1::bigint, LIMIT $1     that type        x = ANY ($1)     a list of what x is        coalesce($1, amount)     what the column is
//! ```
//!
//! Invariant: it is for a statement that is planned to see its columns and never run; the columns keep their types.

use super::{limits, number, placeholder, value};
use crate::dialect::SqlDialect;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType as SqlType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments,
    ObjectNamePart, Query, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Functions that give one of their arguments, which are all of one type.
const ONE_OF: [&str; 5] = ["coalesce", "nullif", "ifnull", "greatest", "least"];

/// Types of parameters, as their places say, by name.
#[derive(Debug, Default)]
pub(crate) struct ParameterPlaces {
    /// Those that are of a type by its name in SQL.
    pub(crate) types: BTreeMap<String, SqlType>,
    /// Those that are lists of the type that planning finds.
    pub(crate) lists: BTreeSet<String>,
}

impl ParameterPlaces {
    /// The places of a statement, which is put so that it can be planned without their values.
    pub(crate) fn take(statement: &mut Statement) -> Self {
        let mut places = Self::default();
        places.take_of(statement);
        places
    }

    fn take_of(&mut self, statement: &mut Statement) {
        match statement {
            Statement::Statement(inner) => {
                let _ = VisitMut::visit(inner.as_mut(), self);
            }
            Statement::Explain(explain) => self.take_of(&mut explain.statement),
            _ => {}
        }
    }
}

/// The name of an expression that is a parameter, without its sign.
fn named(expr: &Expr) -> Option<String> {
    let name = placeholder(expr)?.trim_start_matches([':', '$', '@']);
    Some(name.to_lowercase())
}

fn argument(argument: &mut FunctionArg) -> Option<&mut Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// Puts a comparison with a column, of the column's type, in the place of each parameter beside it.
fn beside_column(arguments: &mut [FunctionArg]) {
    let is_column =
        |expr: &&Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    let mut exprs: Vec<&mut Expr> = arguments.iter_mut().filter_map(argument).collect();
    let column = exprs.iter().map(|expr| &**expr).find(is_column).cloned();
    let Some(column) = column else {
        return;
    };
    for expr in &mut exprs {
        if placeholder(expr).is_none() {
            continue;
        }
        let written = format!("CASE WHEN {column} = {expr} THEN {column} ELSE {column} END");
        let dialect = SqlDialect::default();
        let parser = Parser::new(&dialect).try_with_sql(&written);
        if let Ok(compared) = parser.and_then(|mut parser| parser.parse_expr()) {
            **expr = compared;
        }
    }
}

impl VisitorMut for ParameterPlaces {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for limit in limits(query) {
            if let Some(name) = named(limit) {
                self.types.insert(name, SqlType::BigInt(None));
                *limit = number("1");
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast {
                expr: of,
                data_type,
                ..
            } => {
                if let Some(name) = named(of) {
                    self.types.entry(name).or_insert_with(|| data_type.clone());
                    **of = value(Value::Null);
                }
            }
            Expr::AnyOp {
                left,
                compare_op,
                right,
                ..
            }
            | Expr::AllOp {
                left,
                compare_op,
                right,
            } => {
                if let Some(name) = named(right) {
                    self.lists.insert(name);
                    let compared = Expr::BinaryOp {
                        left: left.clone(),
                        op: BinaryOperator::clone(compare_op),
                        right: right.clone(),
                    };
                    *expr = compared;
                }
            }
            Expr::Function(call) => {
                let name = call.name.0.last().and_then(ObjectNamePart::as_ident);
                let is_one_of =
                    name.is_some_and(|name| ONE_OF.contains(&name.value.to_lowercase().as_str()));
                if let FunctionArguments::List(list) = &mut call.args
                    && is_one_of
                {
                    beside_column(&mut list.args);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_only;

    #[test]
    fn places_say_what_parameters_are() {
        let mut places = ParameterPlaces::default();
        let sql = "SELECT $1::int, CAST($2 AS BIGINT[]), coalesce($3, t.amount) FROM t \
             WHERE currency = ANY($4) AND $5 > 1 AND site = ANY($6::text[]) LIMIT $7 OFFSET $8";
        let statement = read_only::parse_with(sql, |statement| {
            places = ParameterPlaces::take(statement);
            Ok(())
        });
        let types: Vec<(&str, String)> = places
            .types
            .iter()
            .map(|(name, of)| (name.as_str(), of.to_string()))
            .collect();
        let own = |text: &str| text.to_owned();
        assert_eq!(
            types,
            [
                ("1", own("INT")),
                ("2", own("BIGINT[]")),
                ("6", own("TEXT[]")),
                ("7", own("BIGINT")),
                ("8", own("BIGINT")),
            ]
        );
        assert_eq!(places.lists, BTreeSet::from([own("4")]));
        let written = statement.unwrap().to_string();
        assert!(written.contains("currency = $4"), "{written}");
        assert!(written.contains("t.amount = $3"), "{written}");
    }
}
