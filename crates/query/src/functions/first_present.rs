//! `first_present`: the first argument that is not null, like `coalesce`, but with every argument computed for every row.
//!
//! Invariant: where no argument fails, it gives what `coalesce` gives. DataFusion turns `coalesce` into a CASE, which picks out the rows
//! that still need a value, with every column the next argument reads, lists included: over the wide records of source tables that
//! copy took a third of the time that unify's expressions took.

use arrow::array::Array;
use arrow::compute::is_not_null;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::functions::core::coalesce::CoalesceFunc;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// `first_present`.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(FirstPresent {
        like: CoalesceFunc::new(),
    })
}

/// SQL function with the types of `coalesce`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FirstPresent {
    like: CoalesceFunc,
}

impl ScalarUDFImpl for FirstPresent {
    fn name(&self) -> &str {
        "first_present"
    }

    fn signature(&self) -> &Signature {
        self.like.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.like.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.like.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.like.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut arguments = args.args.into_iter();
        let Some(first) = arguments.next() else {
            return exec_err!("first_present takes at least one argument");
        };
        let mut result = first.to_array(args.number_rows)?;
        for argument in arguments {
            if result.null_count() == 0 {
                break;
            }
            let next = argument.to_array(args.number_rows)?;
            result = if result.null_count() == result.len() {
                next
            } else {
                zip(&is_not_null(&result)?, &result, &next)?
            };
        }
        Ok(ColumnarValue::Array(result))
    }
}
