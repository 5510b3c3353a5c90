//! Numbers in a column of texts: a point is number 7 at one provider and `A3` at another.
//!
//! Invariant: the text is read as JSON writes a number, exactly; one that is none is as good as null.

use super::check::ComparisonOrder;
use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_datafusion_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;
use tillhouse_model::ExactDecimal;

/// Compares the numbers in a column of texts with one. What is no number passes `Neq` alone.
pub(super) fn compare(column: Expr, order: ComparisonOrder, number: ExactDecimal) -> Expr {
    // The same number never has two spellings, so that equal comparisons are seen to be equal.
    let number = number.trimmed();
    let test = |order| {
        let signature = Signature::exact(vec![DataType::Utf8], Volatility::Immutable);
        ScalarUDF::new_from_impl(NumberInTextTest {
            order,
            number,
            signature,
        })
        .call(vec![column.clone()])
    };
    if order == ComparisonOrder::Neq {
        test(ComparisonOrder::Eq).is_not_true()
    } else {
        test(order)
    }
}

/// Function that compares the numbers in a column of texts with one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NumberInTextTest {
    order: ComparisonOrder,
    number: ExactDecimal,
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
        let texts = args
            .args
            .first()
            .ok_or_else(|| plan_datafusion_err!("a number is compared with a column"))?;
        let texts = cast(&texts.to_array(args.number_rows)?, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let passes = |text: &str| {
            ExactDecimal::from_json(text).map(|found| self.order.passes(found.compare(self.number)))
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
