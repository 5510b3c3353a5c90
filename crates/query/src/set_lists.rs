//! Long lists of constants, `x IN (1, 2, …)`, as calls of a function that holds them as a set.
//!
//! Invariant: the call gives what the list gives, nulls included. DataFusion goes through every value of a list with each of its rules, several times over, and once more for each
//! file that is read: with a hundred thousand values that takes seconds before anything is read. A call has one argument.
//!
//! No file is read for it that would not be read for the list: bounds of files are compared with short lists alone.

use crate::typed_rewrite::rewrite_expressions;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{Cast, InList, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, InListExpr};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Values from which on a list is long.
const LONG: usize = 1_000;

/// The rule. It comes after types are coerced, and after those that change casts.
#[derive(Debug)]
pub(crate) struct SetLists;

impl AnalyzerRule for SetLists {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| match expr {
            Expr::InList(list) if list.list.len() >= LONG => match ValueSet::of(&list, schema) {
                Some(set) => {
                    let function = Arc::new(ScalarUDF::new_from_impl(set));
                    let call = ScalarFunction::new_udf(function, vec![*list.expr]);
                    Transformed::yes(Expr::ScalarFunction(call))
                }
                None => Transformed::no(Expr::InList(list)),
            },
            other => Transformed::no(other),
        })
    }

    fn name(&self) -> &'static str {
        "set_lists"
    }
}

/// Function that tells whether a value is one of a set, or, where it is negated, none of it.
struct ValueSet {
    /// `value IN (…)`, over a batch of one column.
    test: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    values: ArrayRef,
    is_negated: bool,
    signature: Signature,
}

impl ValueSet {
    /// The set of a list; `None` for one that has anything but constants.
    fn of(list: &InList, schema: &DFSchema) -> Option<Self> {
        let data_type = list.expr.get_type(schema).ok()?;
        let values: Option<Vec<ScalarValue>> = list.list.iter().map(constant).collect();
        let values = ScalarValue::iter_to_array(values?).ok()?;
        let schema = Arc::new(Schema::new(vec![Field::new("value", data_type, true)]));
        let column = Arc::new(Column::new("value", 0));
        let found = Arc::clone(&values);
        let test = InListExpr::try_new_from_array(column, found, list.negated, &schema).ok()?;
        Some(Self {
            test: Arc::new(test),
            schema,
            values,
            is_negated: list.negated,
            signature: Signature::any(1, Volatility::Immutable),
        })
    }
}

/// A constant, in the type that it is cast to; `None` for anything else, and for one that cannot be cast.
fn constant(expr: &Expr) -> Option<ScalarValue> {
    let value = match expr {
        Expr::Literal(value, _) => value.clone(),
        Expr::Cast(Cast { expr, field }) => match expr.as_ref() {
            Expr::Literal(value, _) => value.cast_to(field.data_type()).ok()?,
            _ => return None,
        },
        _ => return None,
    };
    Some(match value {
        ScalarValue::Dictionary(_, value) => *value,
        value => value,
    })
}

impl fmt::Debug for ValueSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueSet")
            .field("values", &self.values.len())
            .field("is_negated", &self.is_negated)
            .finish_non_exhaustive()
    }
}

impl PartialEq for ValueSet {
    fn eq(&self, other: &Self) -> bool {
        self.is_negated == other.is_negated
            && self.schema == other.schema
            && (Arc::ptr_eq(&self.values, &other.values) || *self.values == *other.values)
    }
}

impl Eq for ValueSet {}

impl Hash for ValueSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.is_negated.hash(state);
        self.values.len().hash(state);
    }
}

impl ScalarUDFImpl for ValueSet {
    fn name(&self) -> &'static str {
        if self.is_negated {
            "is_not_in_set"
        } else {
            "is_in_set"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return internal_err!("a set is asked for one value");
        };
        let is_constant = matches!(value, ColumnarValue::Scalar(_));
        let mut values = value.to_array(1)?;
        let wanted = self.schema.field(0).data_type();
        if values.data_type() != wanted {
            values = cast(&values, wanted)?;
        }
        let rows = values.len();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![values])?;
        let found = self.test.evaluate(&batch)?.into_array(rows)?;
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &found, 0,
            )?));
        }
        Ok(ColumnarValue::Array(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueryEngine, QueryEngineOptions, Session, collect};
    use arrow::util::pretty::pretty_format_batches;

    const ROWS: &str =
        "(VALUES (1, 't1'), (2, 't2'), (NULL, NULL), (2999, 'x'), (5000, '2')) AS t(n, s)";

    fn session() -> Session {
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        engine.empty_session().unwrap()
    }

    async fn shown(session: &Session, sql: &str) -> String {
        let stream = session
            .query(sql)
            .await
            .unwrap_or_else(|e| panic!("{sql:.100}: {e}"));
        let batches = collect(stream)
            .await
            .unwrap_or_else(|e| panic!("{sql:.100}: {e}"));
        pretty_format_batches(&batches).unwrap().to_string()
    }

    #[tokio::test]
    async fn a_long_list_gives_what_its_pieces_give() {
        let session = session();
        let of = |value: fn(usize) -> String| (2..3_002).map(value).collect::<Vec<_>>();
        let mut with_null = of(|i| i.to_string());
        with_null.push("NULL".to_owned());
        for (value, list) in [
            ("n", of(|i| i.to_string())),
            ("n", of(|i| format!("-{i}"))),
            ("n", of(|i| format!("'{i}'"))),
            ("n", of(|i| format!("{i}.0"))),
            ("n", with_null.clone()),
            ("NULLIF(n, 2)", with_null),
            ("CAST(n AS DECIMAL(10, 2))", of(|i| format!("{i}.00"))),
            ("s", of(|i| format!("'t{i}'"))),
            ("2500", of(|i| i.to_string())),
            ("n", of(|i| format!("{i} + n"))),
        ] {
            for (is_in, joined) in [("IN", " OR "), ("NOT IN", " AND ")] {
                let piece = |piece: &[String]| format!("{value} {is_in} ({})", piece.join(", "));
                let long = piece(&list);
                let short: Vec<String> = list.chunks(LONG - 1).map(piece).collect();
                let select =
                    |test: &str| format!("SELECT n, {test} AS found FROM {ROWS} ORDER BY n");
                let (long, short) = (select(&long), select(&format!("({})", short.join(joined))));
                assert_eq!(
                    shown(&session, &long).await,
                    shown(&session, &short).await,
                    "{long:.100}"
                );
            }
        }
    }

    #[tokio::test]
    async fn the_plan_of_a_long_list_has_no_list() {
        let session = session();
        let list = |count: usize| {
            (0..count)
                .map(|i| i.to_string())
                .collect::<Vec<_>>()
                .join(",")
        };
        for (count, is_short) in [(LONG - 1, false), (LONG, true), (50_000, true)] {
            let sql = format!("SELECT s FROM {ROWS} WHERE n IN ({})", list(count));
            let plan = session
                .frame(&sql, &[])
                .await
                .unwrap()
                .into_optimized_plan()
                .unwrap();
            let text = plan.display_indent().to_string();
            assert_eq!(text.len() < 1_000, is_short, "{count}: {text:.300}");
        }
    }
}
