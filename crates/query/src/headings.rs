//! Names of a result's columns, as PostgreSQL gives them.
//!
//! ```text
//!   sum(t.amount) → sum       CAST(x AS DATE) → x        CASE ... END → case      1 + n → 1 + n, as it is written
//!   sum(a), sum(b) → sum, sum_2                          SELECT * of a join: a second key is key_2
//! ```
//!
//! Invariant: every column of a result has a name of its own, the same in every format; names change nothing in the plan. What PostgreSQL calls `?column?`
//! (a calculation, a literal) has the text of it as its name, so that whoever reads a table or a JSON key knows what it is.
//!
//! Rejected: aliases put into every statement (those that are asked for are, see [`crate::output_names`]). GROUP BY and ORDER BY would read them, and `GROUP BY state` beside `upper(state)` could come to mean another thing.

use crate::language::without_given_names;
use crate::mistakes::in_sql_words;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, Expr, Query, SelectItem, SetExpr, Value};
use futures::TryStreamExt;
use std::collections::HashSet;
use std::sync::Arc;

/// Names of the columns that a statement gives; `None` stands for all columns of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headings(Vec<Option<String>>);

impl Headings {
    /// The headings of a statement; none where it is no query.
    pub fn of(statement: &Statement) -> Self {
        match statement {
            Statement::Statement(inner) => match inner.as_ref() {
                ast::Statement::Query(query) => Self(of_query(query).unwrap_or_default()),
                _ => Self::default(),
            },
            _ => Self::default(),
        }
    }

    /// The schema with these names for its columns.
    pub fn name(&self, schema: &Schema) -> SchemaRef {
        let fields = schema.fields();
        let mut names: Vec<String> = fields.iter().map(|field| of_engine(field.name())).collect();
        // Items before the first `*` are counted from the left, those behind the last one from the right.
        let is_known = |item: &Option<String>| item.is_some();
        let before = self.0.iter().take_while(|item| is_known(item)).count();
        let behind = self
            .0
            .iter()
            .rev()
            .take_while(|item| is_known(item))
            .count();
        let is_whole = before == self.0.len();
        if is_whole && before == names.len() || !is_whole && before + behind <= names.len() {
            let last = names.len() - if is_whole { 0 } else { behind };
            let (left, right) = names.split_at_mut(last);
            let given = self.0.iter().flatten();
            for (name, heading) in left.iter_mut().zip(given.clone().take(before)) {
                name.clone_from(heading);
            }
            let skipped = given.clone().count().saturating_sub(right.len());
            for (name, heading) in right.iter_mut().zip(given.skip(skipped)) {
                name.clone_from(heading);
            }
        }
        let fields: Vec<FieldRef> = unique_names(names.iter().map(String::as_str))
            .into_iter()
            .zip(fields)
            .map(|(name, field)| match field.name() == &name {
                true => Arc::clone(field),
                false => Arc::new(Field::clone(field).with_name(name)),
            })
            .collect();
        Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
    }

    /// A result with these names for its columns.
    pub fn apply(&self, stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = self.name(&stream.schema());
        let given = Arc::clone(&schema);
        let named = stream.and_then(move |batch| {
            let rows = batch.num_rows();
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
            let columns = batch.columns().to_vec();
            let named = arrow::array::RecordBatch::try_new_with_options(
                Arc::clone(&given),
                columns,
                &options,
            );
            std::future::ready(named.map_err(DataFusionError::from))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, named))
    }
}

/// Names of columns, each once: of several `sum`, the second is `sum_2`, unless another column is called that.
///
/// ```
/// use tillhouse_query::unique_names;
///
/// assert_eq!(unique_names(["sum", "n", "sum"]), ["sum", "n", "sum_2"]);
/// ```
pub fn unique_names<'a>(given: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let given: Vec<&str> = given.into_iter().collect();
    let all: HashSet<&str> = given.iter().copied().collect();
    let mut taken: HashSet<String> = HashSet::new();
    let mut names = Vec::with_capacity(given.len());
    for wanted in given {
        let mut name = wanted.to_owned();
        let mut number = 1_usize;
        while taken.contains(&name) || (number > 1 && all.contains(name.as_str())) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        taken.insert(name.clone());
        names.push(name);
    }
    names
}

/// The name of a column that the engine named: `sum` of `sum(t.amount)`. Names of tables' own columns stay.
fn of_engine(name: &str) -> String {
    let name = without_given_names(name);
    let Some((function, _)) = name.split_once('(') else {
        return name.into_owned();
    };
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !function.is_empty() && function.chars().all(is_name) {
        return function.to_owned();
    }
    in_sql_words(&name)
}

fn of_query(query: &Query) -> Option<Vec<Option<String>>> {
    let mut body = query.body.as_ref();
    loop {
        body = match body {
            SetExpr::Select(select) => {
                return select.projection.iter().map(of_item).collect();
            }
            SetExpr::Query(inner) => return of_query(inner),
            // The first SELECT names the columns of all.
            SetExpr::SetOperation { left, .. } => left,
            _ => return None,
        };
    }
}

/// The heading of an item; `None` where it is several columns with names of their own.
#[expect(
    clippy::option_option,
    reason = "no heading at all, and that of many columns"
)]
fn of_item(item: &SelectItem) -> Option<Option<String>> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(Some(name_of(expr).unwrap_or_else(|| written(expr)))),
        SelectItem::ExprWithAlias { alias, .. } => Some(Some(folded(alias))),
        SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => Some(None),
        SelectItem::ExprWithAliases { .. } => None,
    }
}

/// The name that an expression has by itself; `None` for what PostgreSQL calls `?column?`.
pub(crate) fn name_of(expr: &Expr) -> Option<String> {
    of_expr(expr).map(|(name, _)| name)
}

/// Longest text of an expression that is its name, in characters.
const LONGEST: usize = 100;

/// An expression as it is written, in one line; PostgreSQL's name for all such where that is too long.
pub(crate) fn written(expr: &Expr) -> String {
    match expr {
        Expr::Nested(inner) => written(inner),
        other => {
            let text = other.to_string();
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if line.chars().count() > LONGEST {
                "?column?".to_owned()
            } else {
                line
            }
        }
    }
}

/// A name as it is stored: in small letters without quotes.
fn folded(name: &ast::Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// Fitness of a name: that of a column or a function is kept by a cast around it, that of a type is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Weak,
    Good,
}

/// The name that an expression has by itself.
fn of_expr(expr: &Expr) -> Option<(String, Fit)> {
    let good = |name: &str| Some((name.to_owned(), Fit::Good));
    match expr {
        Expr::Identifier(name) => Some((folded(name), Fit::Good)),
        Expr::CompoundIdentifier(names) => names.last().map(|name| (folded(name), Fit::Good)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                ast::AccessExpr::Dot(Expr::Identifier(name)) => Some((folded(name), Fit::Good)),
                _ => None,
            });
            field.or_else(|| of_expr(root))
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => of_expr(inner),
        Expr::Function(function) => {
            let name = function.name.0.last()?.as_ident()?;
            Some((folded(name), Fit::Good))
        }
        Expr::Cast {
            expr, data_type, ..
        } => match of_expr(expr) {
            Some((name, Fit::Good)) => Some((name, Fit::Good)),
            _ => Some((type_name(&data_type.to_string()), Fit::Weak)),
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type.to_string()), Fit::Weak)),
        Expr::Interval(_) => Some(("interval".to_owned(), Fit::Weak)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(of_expr) {
            Some((name, Fit::Good)) => Some((name, Fit::Good)),
            _ => Some(("case".to_owned(), Fit::Weak)),
        },
        Expr::AtTimeZone { timestamp, .. } => match of_expr(timestamp) {
            Some((name, Fit::Good)) => Some((name, Fit::Good)),
            _ => good("timezone"),
        },
        Expr::Extract { .. } => good("extract"),
        Expr::Ceil { .. } => good("ceil"),
        Expr::Floor { .. } => good("floor"),
        Expr::Position { .. } => good("position"),
        Expr::Substring { .. } => good("substring"),
        Expr::Trim { .. } => good("trim"),
        Expr::Overlay { .. } => good("overlay"),
        Expr::Exists { .. } => good("exists"),
        Expr::Array(_) => Some(("array".to_owned(), Fit::Weak)),
        Expr::Tuple(_) => Some(("row".to_owned(), Fit::Weak)),
        Expr::Value(value) => match value.value {
            Value::Boolean(_) => Some(("bool".to_owned(), Fit::Weak)),
            _ => None,
        },
        Expr::Subquery(query) => match of_query(query)?.into_iter().next()?? {
            name if name.is_empty() => None,
            name => Some((name, Fit::Good)),
        },
        _ => None,
    }
}

/// The name of a type without its digits.
fn type_name(written: &str) -> String {
    let name = written.split('(').next().unwrap_or(written);
    name.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_only;
    use arrow::datatypes::DataType;

    fn headings(sql: &str, engine: &[&str]) -> Vec<String> {
        let fields: Vec<Field> = engine
            .iter()
            .map(|name| Field::new(*name, DataType::Int64, true))
            .collect();
        let mut headings = Headings::default();
        read_only::parse_with(sql, |statement| {
            headings = Headings::of(statement);
            Ok(())
        })
        .unwrap();
        let named = headings.name(&Schema::new(fields));
        named
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    }

    #[test]
    fn a_column_is_called_as_postgresql_calls_it() {
        for (expr, heading) in [
            ("amount", "amount"),
            ("t.Amount", "amount"),
            ("\"Amount\"", "Amount"),
            ("sum(t.amount)", "sum"),
            ("count(*)", "count"),
            ("SUM(amount) FILTER (WHERE amount > 0)", "sum"),
            ("row_number() OVER (ORDER BY a)", "row_number"),
            ("(max(a))", "max"),
            ("amount::int", "amount"),
            ("CAST(sum(a) AS DECIMAL(18, 2))", "sum"),
            ("CAST('1' AS INT)", "int"),
            ("DATE '2026-01-01'", "date"),
            ("INTERVAL '1 day'", "interval"),
            ("CASE WHEN a THEN 1 ELSE 2 END", "case"),
            ("CASE WHEN a THEN 1 ELSE amount END", "amount"),
            ("extract(year FROM a)", "extract"),
            ("a AT TIME ZONE 'Europe/Berlin'", "a"),
            ("list[1]", "list"),
            ("coalesce(a, b)", "coalesce"),
            ("(SELECT max(x) FROM t)", "max"),
            ("EXISTS (SELECT 1)", "exists"),
            ("1", "1"),
            ("amount  *  2", "amount * 2"),
            ("(a + b)", "a + b"),
            ("'x'", "'x'"),
            ("true", "bool"),
            ("a AS Name", "name"),
            ("a \"My Name\"", "My Name"),
        ] {
            let sql = format!("SELECT {expr} FROM t");
            assert_eq!(headings(&sql, &["x"]), [heading], "{expr}");
        }
    }

    #[test]
    fn stars_keep_the_names_of_their_columns_and_none_is_there_twice() {
        for (sql, engine, names) in [
            (
                "SELECT sum(a), n, sum(b) FROM t",
                &["sum(t.a)", "n", "sum(t.b)"][..],
                &["sum", "n", "sum_2"][..],
            ),
            (
                "SELECT 1, *, 2 FROM t",
                &["Int64(1)", "a", "b", "Int64(2)"],
                &["1", "a", "b", "2"],
            ),
            (
                "SELECT * FROM a JOIN b USING (k)",
                &["k", "x", "k", "x"],
                &["k", "x", "k_2", "x_2"],
            ),
            (
                "SELECT t.*, count(*), u.* FROM t, u",
                &["a", "count(*)", "b"],
                &["a", "count", "b"],
            ),
            (
                "SELECT *, a * 2 FROM t",
                &["a", "t.a * Int64(2)"],
                &["a", "a * 2"],
            ),
            (
                "SELECT * FROM (SELECT max(a) FROM t)",
                &["max(t.a)"],
                &["max"],
            ),
            (
                "SELECT * FROM (SELECT a + b, max(a) FROM (SELECT 1 AS a, 2 AS b))",
                &["__from_2.a + __from_2.b", "max(__from_2.a)"],
                &["a + b", "max"],
            ),
            (
                "SELECT a + 1 FROM t UNION SELECT b FROM u",
                &["t.a + Int64(1)"],
                &["a + 1"],
            ),
            (
                "(SELECT count(*) FROM t) ORDER BY 1",
                &["count(*)"],
                &["count"],
            ),
            (
                "WITH c AS (SELECT 1) SELECT a, a FROM c",
                &["a", "a"],
                &["a", "a_2"],
            ),
            (
                "VALUES (1, 2)",
                &["column1", "column2"],
                &["column1", "column2"],
            ),
            ("FROM t", &["a"], &["a"]),
            (
                "EXPLAIN SELECT sum(a) FROM t",
                &["plan_type", "plan"],
                &["plan_type", "plan"],
            ),
            (
                "SELECT a FROM t",
                &["a", "more than was asked for"],
                &["a", "more than was asked for"],
            ),
        ] {
            assert_eq!(headings(sql, engine), names, "{sql}");
        }
    }
}
