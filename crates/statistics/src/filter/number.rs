//! Numbers in a column of texts: a point is number 7 at one provider and `A3` at another.
//!
//! Invariant: the text is read as JSON writes a number, exactly; one that is none is as good as null. The function is the same for every filter, and what a filter asks is in its
//! arguments: so it can run in another process, which knows it by its name.

use super::check::ComparisonOrder;
use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_datafusion_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use std::sync::Arc;
use tillhouse_model::ExactDecimal;

/// Compares the numbers in a column of texts with one. What is no number passes `Neq` alone.
pub(super) fn compare(column: Expr, order: ComparisonOrder, number: ExactDecimal) -> Expr {
    // The same number never has two spellings, so that equal comparisons are seen to be equal.
    let number = number.trimmed().to_string();
    let test = |order: ComparisonOrder| {
        function().call(vec![column.clone(), lit(order.name()), lit(number.clone())])
    };
    if order == ComparisonOrder::Neq {
        test(ComparisonOrder::Eq).is_not_true()
    } else {
        test(order)
    }
}

/// The function: a column of texts, an order by its name, and a number as text.
pub(crate) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(NumberInTextTest {
        signature: Signature::exact(vec![DataType::Utf8; 3], Volatility::Immutable),
    })
}

/// Function that compares the numbers in a column of texts with one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NumberInTextTest {
    signature: Signature,
}

impl ScalarUDFImpl for NumberInTextTest {
    fn name(&self) -> &'static str {
        "number_in_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unknown = || plan_datafusion_err!("a number is compared with a column, in an order");
        let [texts, order, number] = args.args.as_slice() else {
            return Err(unknown());
        };
        let order = constant(order).and_then(ComparisonOrder::named);
        let number = constant(number).and_then(ExactDecimal::parse);
        let (order, number) = order.zip(number).ok_or_else(unknown)?;
        let texts = cast(&texts.to_array(args.number_rows)?, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let passes = |text: &str| {
            ExactDecimal::from_json(text).map(|found| order.passes(found.compare(number)))
        };
        let passing: BooleanArray = (0..texts.len())
            .map(|row| {
                texts
                    .is_valid(row)
                    .then(|| passes(texts.value(row)))
                    .flatten()
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(passing)))
    }
}

/// The text of an argument that is the same for all rows.
fn constant(argument: &ColumnarValue) -> Option<&str> {
    match argument {
        ColumnarValue::Scalar(value) => value.try_as_str().flatten(),
        ColumnarValue::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{RecordBatch, StringArray};
    use arrow::datatypes::{Field, Schema};
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::ident;
    use tillhouse_query::{QueryEngine, QueryEngineOptions};

    #[test]
    fn what_a_filter_asks_is_in_the_arguments() {
        assert_eq!(function(), function());
        for order in ComparisonOrder::ALL {
            assert_eq!(ComparisonOrder::named(order.name()), Some(order));
        }
        let schema = Schema::new(vec![Field::new("number", DataType::Utf8, true)]);
        let texts = [Some("7"), Some("-7.50"), Some("A3"), None, Some("7.0")];
        let texts = Arc::new(StringArray::from(texts.to_vec()));
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![texts]).unwrap();
        let schema = DFSchema::try_from(schema).unwrap();
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = engine.empty_session().unwrap();
        let passing = |order: ComparisonOrder, number: &str| {
            let number = ExactDecimal::from_json(number).unwrap();
            let test = compare(ident("number"), order, number);
            let test = session
                .context()
                .create_physical_expr(test, &schema)
                .unwrap();
            let passing = test.evaluate(&batch).unwrap().into_array(5).unwrap();
            passing.as_boolean().iter().collect::<Vec<_>>()
        };
        let (yes, no) = (Some(true), Some(false));
        for (order, number, wanted) in [
            (ComparisonOrder::Eq, "7.00", [yes, no, None, None, yes]),
            (ComparisonOrder::Lt, "-7.4", [no, yes, None, None, no]),
            (ComparisonOrder::Neq, "7", [no, yes, yes, yes, no]),
        ] {
            assert_eq!(passing(order, number), wanted, "{number}");
        }
    }
}
