//! Floats beside decimals, compared, listed and put together as floats.
//!
//! Invariant: as in PostgreSQL a decimal that meets a float becomes the float that is nearest to it: `CAST('4.089' AS DOUBLE PRECISION) = 4.089`, and NaN is greater than any. DataFusion makes
//! a decimal of fifteen digits behind the point of the float, by which 4.089 is another number, and NaN an error.
//!
//! | where they meet | both are |
//! |---|---|
//! | `=`, `<` and their like, BETWEEN, `CASE x WHEN`, `NULLIF`, `IN` of one value or a query, keys of a join | `double precision` |
//! | `IN` of several values, results of CASE, COALESCE, GREATEST, LEAST, ARRAY, UNION | the wider of the floats |
//! | a list and what is looked for in it or put into it, `array_append(list, x)` | the wider of the floats |
//!
//! Lists of decimals meet floats and lists of floats as decimals do.
//!
//! A power, a root or a logarithm of decimals is a float here and a decimal in PostgreSQL: compared with a decimal it is one, `power(0.1, 2) = 0.01`.

use crate::exact::nearest_float;
use crate::operators::operator_of;
use crate::spans::compares;
use crate::typed_rewrite::rewrite_typed;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ExprSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Case, InSubquery};
use datafusion::logical_expr::expr_rewriter::coerce_plan_expr_for_schema;
use datafusion::logical_expr::expr_schema::cast_subquery;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, Projection, RecursiveQuery, Union,
    binary_expr, cast,
};
use datafusion::optimizer::AnalyzerRule;
use std::iter::once;
use std::sync::Arc;

/// Functions that give one of their values.
const CHOICES: [&str; 7] = [
    "coalesce",
    "first_known",
    "greatest",
    "ifnull",
    "least",
    "make_array",
    "nvl",
];
/// Functions of lists whose elements meet other values.
const OF_LISTS: [&str; 18] = [
    "array_append",
    "array_concat",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_resize",
    "array_union",
];
/// Functions that give a decimal of decimals in PostgreSQL.
const EXACT_THERE: [&str; 12] = [
    "abs",
    "ceil",
    "date_part",
    "exp",
    "floor",
    "ln",
    "log",
    "log10",
    "power",
    "round",
    "sqrt",
    "trunc",
];

/// The rule. It comes before types are coerced.
#[derive(Debug)]
pub(crate) struct FloatsBesideDecimals;

impl AnalyzerRule for FloatsBesideDecimals {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        met(plan)
    }

    fn name(&self) -> &'static str {
        "floats_beside_decimals"
    }
}

/// A plan in which decimals beside floats are floats.
pub(crate) fn met(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(met_within(plan, &DFSchema::empty())?.data)
}

/// A query, or one within a row of others, whose columns are those of `around`.
fn met_within(plan: LogicalPlan, around: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let replace = |expr: Expr, schema: &DFSchema| -> Result<Transformed<Expr>> {
        told_anew(expr, around).transform_data(|expr| as_floats(expr, schema))
    };
    let mut is_changed = false;
    plan.transform_up_with_subqueries(|step| {
        let step = if is_changed {
            within_changed(step, around)?
        } else {
            step
        };
        let step = match step {
            LogicalPlan::Join(join) => with_keys(join),
            LogicalPlan::Union(union) => with_columns(union)?,
            LogicalPlan::RecursiveQuery(query) => as_it_is_read(query)?,
            other => Transformed::no(other),
        };
        let step = step.transform_data(|step| rewrite_typed(step, &replace))?;
        is_changed |= step.transformed;
        if !is_changed {
            return Ok(step);
        }
        // A column that became a float below is one here.
        step.data.recompute_schema().map(Transformed::yes)
    })
}

/// A step whose queries within a row know the columns that have become floats.
fn within_changed(step: LogicalPlan, around: &DFSchema) -> Result<LogicalPlan> {
    let mut columns = merge_schema(&step.inputs());
    columns.merge(around);
    let step = step
        .map_subqueries(|query| met_within(query, &columns))?
        .data;
    let LogicalPlan::Join(mut join) = step else {
        return Ok(step);
    };
    // The right side may be LATERAL.
    let right = met_within(Arc::unwrap_or_clone(join.right), &columns)?;
    join.right = Arc::new(right.data);
    Ok(LogicalPlan::Join(join))
}

/// A column of the row around a query, with the type that it has there now; any other expression as it is.
fn told_anew(expr: Expr, around: &DFSchema) -> Transformed<Expr> {
    let Expr::OuterReferenceColumn(field, column) = expr else {
        return Transformed::no(expr);
    };
    let now = around.field_from_column(&column).ok();
    let now = now.map(|now| now.data_type().clone());
    match now.filter(|now| now != field.data_type()) {
        Some(now) => {
            let field = Arc::new(field.as_ref().clone().with_data_type(now));
            Transformed::yes(Expr::OuterReferenceColumn(field, column))
        }
        None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
    }
}

/// Outcome of values that meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meeting {
    Comparison,
    Choice,
}

fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    expr.get_type(schema).ok()
}

/// The type of what is in a list, in lists of lists too; any other type itself.
fn innermost(of: &DataType) -> &DataType {
    match of {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            innermost(item.data_type())
        }
        other => other,
    }
}

/// A type with floats in the place of the decimals in it; `None` where there are none.
fn in_floats(of: &DataType, float: &DataType) -> Option<DataType> {
    let of_item = |item: &FieldRef| {
        let float = in_floats(item.data_type(), float)?;
        Some(Arc::new(Field::clone(item).with_data_type(float)))
    };
    match of {
        DataType::List(item) => of_item(item).map(DataType::List),
        DataType::LargeList(item) => of_item(item).map(DataType::LargeList),
        DataType::FixedSizeList(item, width) => {
            of_item(item).map(|item| DataType::FixedSizeList(item, *width))
        }
        other => other.is_decimal().then(|| float.clone()),
    }
}

fn as_floats(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    use Meeting::{Choice, Comparison};
    if let Some(plain) = without_decimals(&expr, schema) {
        return Ok(Transformed::yes(plain));
    }
    let is_changed = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
            brought_together([left.as_mut(), right.as_mut()], schema, Comparison)
        }
        Expr::Between(of) => {
            let values = [of.expr.as_mut(), of.low.as_mut(), of.high.as_mut()];
            brought_together(values, schema, Comparison)
        }
        Expr::InList(of) => {
            let meeting = match of.list.len() {
                1 => Comparison,
                _ => Choice,
            };
            let values = once(of.expr.as_mut()).chain(&mut of.list);
            brought_together(values, schema, meeting)
        }
        Expr::Case(case) => case_together(case, schema),
        Expr::ScalarFunction(call)
            if CHOICES.contains(&call.func.name()) || OF_LISTS.contains(&call.func.name()) =>
        {
            brought_together(&mut call.args, schema, Choice)
        }
        Expr::ScalarFunction(call) if call.func.name() == "nullif" => {
            brought_together(&mut call.args, schema, Comparison)
        }
        Expr::InSubquery(test) => query_together(test, schema)?,
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, is_changed))
}

/// A product or quotient of decimals of which one has become a float, as that of floats.
fn without_decimals(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    let operator = operator_of(&call.func)?;
    let [left, right] = call.args.as_slice() else {
        return None;
    };
    let is_float = |of: &Expr| type_of(of, schema).is_some_and(|of| of.is_floating());
    let has_float = is_float(left) || is_float(right);
    has_float.then(|| binary_expr(left.clone(), operator, right.clone()))
}

/// Makes floats of the decimals among values, where a float is among them; true if there was one.
fn brought_together<'e>(
    values: impl IntoIterator<Item = &'e mut Expr>,
    schema: &DFSchema,
    meeting: Meeting,
) -> bool {
    let values: Vec<&mut Expr> = values.into_iter().collect();
    let types = values.iter().filter_map(|value| {
        let of_type = type_of(value, schema)?;
        (!innermost(&of_type).is_floating() || !is_exact_there(value, schema)).then_some(of_type)
    });
    let Some(float) = float_of(types) else {
        return false;
    };
    let float = match meeting {
        Meeting::Comparison => DataType::Float64,
        Meeting::Choice => float,
    };
    for value in values {
        if let Some(float) = type_of(value, schema).and_then(|of| in_floats(&of, &float)) {
            *value = as_float(std::mem::take(value), &float);
        }
    }
    true
}

/// The float that decimals beside floats become, also in lists; `None` where there are not both.
fn float_of(types: impl Iterator<Item = DataType>) -> Option<DataType> {
    let (mut has_decimal, mut float) = (false, None);
    for of_type in types {
        let of_type = innermost(&of_type);
        has_decimal |= of_type.is_decimal();
        if *of_type == DataType::Float64 {
            float = Some(DataType::Float64);
        } else if of_type.is_floating() {
            float = float.or(Some(DataType::Float32));
        }
    }
    float.filter(|_| has_decimal)
}

/// True for a float that is worked out of exact numbers alone, in a way that gives an exact number in PostgreSQL.
fn is_exact_there(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::Alias(named) => is_exact_there(&named.expr, schema),
        Expr::Negative(of) => is_exact_there(of, schema),
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => {
            is_exact_there(left, schema) && is_exact_there(right, schema)
        }
        Expr::ScalarFunction(call)
            if call.func.name() == "make_array" || EXACT_THERE.contains(&call.func.name()) =>
        {
            call.args.iter().all(|of| is_exact_there(of, schema))
        }
        other => type_of(other, schema).is_some_and(|of| !innermost(&of).is_floating()),
    }
}

fn as_float(decimal: Expr, float: &DataType) -> Expr {
    match decimal {
        Expr::Literal(ScalarValue::Decimal128(Some(digits), _, scale), metadata)
            if *float == DataType::Float64 =>
        {
            let value = ScalarValue::Float64(Some(nearest_float(digits, scale)));
            Expr::Literal(value, metadata)
        }
        other => cast(other, float.clone()),
    }
}

/// The value that a CASE compares with others, and the values that it may give.
fn case_together(case: &mut Case, schema: &DFSchema) -> bool {
    let (mut compared, mut given) = (Vec::new(), Vec::new());
    for (when, then) in &mut case.when_then_expr {
        compared.push(when.as_mut());
        given.push(then.as_mut());
    }
    given.extend(case.else_expr.as_deref_mut());
    let is_chosen = brought_together(given, schema, Meeting::Choice);
    let Some(of) = case.expr.as_deref_mut() else {
        return is_chosen;
    };
    compared.push(of);
    brought_together(compared, schema, Meeting::Comparison) || is_chosen
}

/// `x IN (SELECT ...)`, of a float and decimals, or the other way round.
fn query_together(test: &mut InSubquery, schema: &DFSchema) -> Result<bool> {
    let rows = test.subquery.subquery.schema();
    let Some(of_rows) = rows.fields().first().map(|field| field.data_type().clone()) else {
        return Ok(false);
    };
    let Some(of_value) = type_of(&test.expr, schema) else {
        return Ok(false);
    };
    if of_value.is_decimal() && of_rows.is_floating() {
        *test.expr = as_float(std::mem::take(test.expr.as_mut()), &DataType::Float64);
        return Ok(true);
    }
    if of_value.is_floating() && of_rows.is_decimal() && !is_exact_there(&test.expr, schema) {
        test.subquery = cast_subquery(test.subquery.clone(), &DataType::Float64)?;
        return Ok(true);
    }
    Ok(false)
}

/// A join by a float and a decimal.
fn with_keys(mut join: Join) -> Transformed<LogicalPlan> {
    let mut is_changed = false;
    for (left, right) in &mut join.on {
        let (Some(of_left), Some(of_right)) = (
            type_of(left, join.left.schema()),
            type_of(right, join.right.schema()),
        ) else {
            continue;
        };
        let key = if of_left.is_decimal() && of_right.is_floating() {
            left
        } else if of_left.is_floating() && of_right.is_decimal() {
            right
        } else {
            continue;
        };
        *key = as_float(std::mem::take(key), &DataType::Float64);
        is_changed = true;
    }
    Transformed::new_transformed(LogicalPlan::Join(join), is_changed)
}

/// A query that goes on from its own rows, with columns of the types that it reads them by: a decimal stays one there.
fn as_it_is_read(mut query: RecursiveQuery) -> Result<Transformed<LogicalPlan>> {
    let mut is_changed = false;
    for term in [&mut query.static_term, &mut query.recursive_term] {
        let columns = term.schema().fields().iter();
        let mut columns = columns.zip(query.schema.fields());
        if columns.any(|(column, read)| column.data_type() != read.data_type()) {
            let rows = coerce_plan_expr_for_schema(LogicalPlan::clone(term), &query.schema)?;
            *term = Arc::new(rows);
            is_changed = true;
        }
    }
    let query = LogicalPlan::RecursiveQuery(query);
    Ok(Transformed::new_transformed(query, is_changed))
}

/// A union in which a column is a float in one query and a decimal in another.
fn with_columns(union: Union) -> Result<Transformed<LogicalPlan>> {
    let width = union.schema.fields().len();
    let floats: Vec<Option<DataType>> = (0..width)
        .map(|at| {
            let schemas = union.inputs.iter().map(|input| input.schema());
            let columns = schemas.chain(once(&union.schema));
            float_of(columns.filter_map(|schema| {
                let field = schema.fields().get(at)?;
                Some(field.data_type().clone())
            }))
        })
        .collect();
    if floats.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union.inputs.iter().map(|input| in_columns(input, &floats));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let fields = union.schema.iter().zip(&floats);
    let fields = fields.map(|((table, field), float)| {
        let of = float.as_ref().map(|float| {
            let of = field.data_type();
            in_floats(of, float).unwrap_or_else(|| of.clone())
        });
        let field = match of {
            Some(of) => {
                // A function that takes the place of a cast may say that it gives nulls.
                let field = field.as_ref().clone().with_data_type(of);
                Arc::new(field.with_nullable(true))
            }
            None => Arc::clone(field),
        };
        (table.cloned(), field)
    });
    let metadata = union.schema.as_arrow().metadata().clone();
    let schema = DFSchema::new_with_metadata(fields.collect(), metadata)?;
    Ok(Transformed::yes(LogicalPlan::Union(Union {
        inputs,
        schema: Arc::new(schema),
    })))
}

/// A query of a union, with floats where its decimals meet some.
fn in_columns(input: &Arc<LogicalPlan>, floats: &[Option<DataType>]) -> Result<Arc<LogicalPlan>> {
    let schema = input.schema();
    let mut is_changed = false;
    let columns = schema.iter().zip(floats);
    let columns: Vec<Expr> = columns
        .map(|((table, field), float)| {
            let column = Expr::from((table, field));
            let of = float.as_ref();
            match of.and_then(|float| in_floats(field.data_type(), float)) {
                Some(of) => {
                    is_changed = true;
                    cast(column, of).alias_qualified(table.cloned(), field.name())
                }
                None => column,
            }
        })
        .collect();
    if !is_changed {
        return Ok(Arc::clone(input));
    }
    let columns = Projection::try_new(columns, Arc::clone(input))?;
    Ok(Arc::new(LogicalPlan::Projection(columns)))
}

#[cfg(test)]
mod tests {
    use super::innermost;
    use crate::nested_projections::tests::{column, value};
    use crate::{QueryEngine, QueryEngineOptions, collect};
    use arrow::datatypes::DataType;

    /// Floats and decimals that are the same, as they are written.
    const ROWS: &str = "(SELECT CAST(s AS DOUBLE PRECISION) AS f, CAST(s AS DECIMAL(18, 4)) AS d FROM (VALUES ('4.089'), ('1.1'), ('0.3'), ('1234567890.1234')) AS v(s)) AS r";

    #[tokio::test]
    async fn a_decimal_beside_a_float_is_a_float() {
        for (asked, expected) in [
            ("bool_and(f = d)", "true"),
            (
                "bool_or(f < d) OR bool_or(f > d) OR bool_or(f <> d)",
                "false",
            ),
            ("bool_and(f BETWEEN d AND d)", "true"),
            ("bool_and(d BETWEEN f AND f)", "true"),
            ("count(*) FILTER (WHERE f IN (4.089, 1.1))", "2"),
            ("count(*) FILTER (WHERE f IN (4.089))", "1"),
            (
                "count(*) FILTER (WHERE d IN (CAST('4.089' AS DOUBLE PRECISION), 1.1))",
                "2",
            ),
            (
                "sum(CASE f WHEN 4.089 THEN 1 WHEN 1.1 THEN 10 ELSE 100 END)",
                "211",
            ),
            ("count(NULLIF(f, d))", "0"),
            ("count(*) FILTER (WHERE COALESCE(f, 1.5) = d)", "4"),
            ("count(*) FILTER (WHERE GREATEST(f, d) = LEAST(f, d))", "4"),
            (
                "count(*) FILTER (WHERE CASE WHEN f > 0.0 THEN d ELSE f END = f)",
                "4",
            ),
            (
                "count(*) FILTER (WHERE (CASE WHEN f > 0.0 THEN d ELSE f END) * 2.00000000000000000001 >= f)",
                "4",
            ),
            ("bool_and(f IS NOT DISTINCT FROM d)", "true"),
        ] {
            let sql = format!("SELECT {asked} FROM {ROWS}");
            assert_eq!(value(&sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn queries_and_joins_compare_floats_with_decimals_as_floats() {
        for (sql, expected) in [
            (
                format!("SELECT count(*) FROM {ROWS} WHERE f IN (SELECT q.d FROM {ROWS_AGAIN})"),
                "4",
            ),
            (
                format!("SELECT count(*) FROM {ROWS} WHERE d IN (SELECT q.f FROM {ROWS_AGAIN})"),
                "4",
            ),
            (
                format!("SELECT count(*) FROM {ROWS} JOIN {ROWS_AGAIN} ON r.f = q.d"),
                "4",
            ),
            (
                format!(
                    "SELECT count(*) FROM (SELECT f FROM {ROWS} INTERSECT SELECT d FROM {ROWS}) AS q"
                ),
                "4",
            ),
            (
                format!(
                    "SELECT count(*) FROM (SELECT d FROM {ROWS} UNION SELECT f FROM {ROWS}) AS q"
                ),
                "4",
            ),
            (
                format!(
                    "SELECT count(*) FROM (SELECT d AS x FROM {ROWS} UNION ALL SELECT f FROM {ROWS}) AS q WHERE x = 4.089"
                ),
                "2",
            ),
        ] {
            assert_eq!(value(&sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn a_query_within_a_row_knows_what_has_become_a_float() {
        let chosen = format!("(SELECT COALESCE(f, 0.5) AS x FROM {ROWS}) AS c");
        for (condition, expected) in [
            (
                format!("EXISTS (SELECT 1 FROM {ROWS_AGAIN} WHERE q.d = c.x)"),
                "4",
            ),
            (
                format!("EXISTS (SELECT 1 FROM {ROWS_AGAIN} WHERE q.d < c.x)"),
                "3",
            ),
            (format!("c.x IN (SELECT q.d FROM {ROWS_AGAIN})"), "4"),
        ] {
            let sql = format!("SELECT count(*) FROM {chosen} WHERE {condition}");
            assert_eq!(value(&sql).await, expected, "{sql}");
        }
        let sql = format!(
            "SELECT count(*) FROM {chosen}, LATERAL (SELECT q.d FROM {ROWS_AGAIN} WHERE q.d = c.x) AS l"
        );
        assert_eq!(value(&sql).await, "4", "{sql}");
    }

    const ROWS_AGAIN: &str = "(SELECT CAST(s AS DOUBLE PRECISION) AS f, CAST(s AS DECIMAL(18, 4)) AS d FROM (VALUES ('4.089'), ('1.1'), ('0.3'), ('1234567890.1234')) AS v(s)) AS q";

    #[tokio::test]
    async fn a_query_that_goes_on_from_its_own_rows_reads_them_as_they_are() {
        let sql = "WITH RECURSIVE t(x) AS (SELECT COALESCE(CAST('1.5' AS DOUBLE PRECISION), 0.5) UNION ALL SELECT x + 1 FROM t WHERE x < 4) SELECT count(*) FROM t";
        assert_eq!(value(sql).await, "4", "{sql}");
    }

    #[tokio::test]
    async fn no_number_and_infinities_have_their_places() {
        let rows = "(SELECT CAST(s AS DOUBLE PRECISION) AS f FROM (VALUES ('NaN'), ('Infinity'), ('-Infinity'), ('1.5')) AS v(s)) AS r";
        for (asked, expected) in [
            ("f > 1.5", "true true false false"),
            ("f = 1.5", "false false false true"),
            ("f IN (1.5, 2.5)", "false false false true"),
            ("COALESCE(f, 0.5)", "NaN inf -inf 1.5"),
        ] {
            let sql = format!("SELECT {asked} FROM {rows}");
            assert_eq!(column(&sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn the_columns_of_a_query_are_told_as_they_come() {
        let session = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = session.empty_session().unwrap();
        for columns in [
            "COALESCE(f, 1.5)",
            "CASE WHEN f > 1 THEN 1.5 ELSE f END",
            "GREATEST(1.5, f) * 2.0",
        ] {
            let sql = format!("SELECT {columns} AS x FROM {ROWS} UNION ALL SELECT 2.5");
            let frame = session.sql(&sql).await.unwrap();
            let told = frame.schema().field(0).data_type().clone();
            assert_eq!(told, DataType::Float64, "{sql}");
            let batches = collect(session.query(&sql).await.unwrap()).await.unwrap();
            assert_eq!(batches[0].schema().field(0).data_type(), &told, "{sql}");
        }
    }

    #[tokio::test]
    async fn lists_of_decimals_beside_floats_are_of_floats() {
        let session = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = session.empty_session().unwrap();
        for list in ["ARRAY[d, f]", "ARRAY[ARRAY[d], ARRAY[f]]"] {
            let sql = format!("SELECT {list} AS x FROM {ROWS}");
            let frame = session.sql(&sql).await.unwrap();
            let told = frame.schema().field(0).data_type().clone();
            assert_eq!(innermost(&told), &DataType::Float64, "{sql}");
            let batches = collect(session.query(&sql).await.unwrap()).await.unwrap();
            let schema = batches[0].schema();
            let came = innermost(schema.field(0).data_type());
            assert_eq!(came, &DataType::Float64, "{sql}");
        }
    }

    #[tokio::test]
    async fn a_power_of_decimals_is_compared_as_one() {
        for (asked, expected) in [
            ("power(0.1, 2) = 0.01", "true"),
            ("0.1 ^ 2 = 0.01", "true"),
            ("power(CAST(0.1 AS DOUBLE PRECISION), 2) = 0.01", "false"),
            (
                "CAST(0.1 AS DOUBLE PRECISION) + CAST(0.2 AS DOUBLE PRECISION) = 0.3",
                "false",
            ),
            ("CAST(0.1 AS REAL) = 0.1", "false"),
            ("CAST(0.1 AS REAL) IN (0.1, 0.2)", "true"),
        ] {
            assert_eq!(value(&format!("SELECT {asked}")).await, expected, "{asked}");
        }
    }
}
