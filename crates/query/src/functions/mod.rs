//! Tillhouse's SQL functions: the site's clock, units, currencies, states, categories.
//!
//! Invariant: every function here is pure (same arguments, same answer: no clock, no storage, no session setting), answers
//! null rather than guess, and never takes a float. docs/functions.md describes each with an example that runs.

mod arguments;
mod at_time_zone;
mod calendar;
mod canonical_word;
mod category;
mod clock;
mod first_present;
pub(crate) mod json;
mod julian_day;
mod label;
mod len;
mod like;
mod list;
pub(crate) mod list_arithmetic;
mod mapped;
mod money;
mod payment;
pub(crate) mod pseudonym;
mod replacement;
mod sale_kind;
mod signed;
mod similar_to;
mod sorted_list;
pub(crate) mod span_product;
mod standard;
mod state;
mod strftime;
mod time_bucket;
mod to_char;
mod unit;
mod width_bucket;

pub(crate) use like::{ilike, like};
pub(crate) use signed::{functions as signed, windows as signed_windows};
pub(crate) use similar_to::SimilarTo;
pub(crate) use standard::{aggregates as standard_aggregates, functions as standard};
pub(crate) use strftime::functions as strftime;

use arguments::{ArgumentType, CallArguments};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::hash::{Hash, Hasher};

/// Every function, ready to be registered with a session.
pub(crate) fn all() -> Vec<ScalarUDF> {
    clock::functions()
        .into_iter()
        .chain(money::functions())
        .chain(unit::functions())
        .chain([
            payment::function(),
            state::function(),
            category::function(),
            sale_kind::function(),
            mapped::function(),
        ])
        .chain(calendar::functions())
        .chain([replacement::function(), canonical_word::one_spelling()])
        .map(ScalarUDF::new_from_impl)
        .chain(list::functions())
        .chain(json::functions())
        .chain(sorted_list::functions())
        .chain([
            first_present::function(),
            julian_day::function(),
            label::function(),
            canonical_word::function(),
            to_char::function(),
            SimilarTo::function(),
            at_time_zone::function(),
            len::function(),
            time_bucket::function(),
            width_bucket::function(),
        ])
        .collect()
}

/// One scalar function: its name, argument types, result type and body.
///
/// One type for all of them, instead of an implementation of `ScalarUDFImpl` each: they differ in four values only.
#[derive(Debug)]
struct SqlFunction {
    name: &'static str,
    takes: &'static [ArgumentType],
    /// Number of arguments that every call has: those behind may be left out.
    least: usize,
    gives: DataType,
    body: fn(&CallArguments) -> Result<ArrayRef>,
    signature: Signature,
}

impl SqlFunction {
    fn new(
        name: &'static str,
        takes: &'static [ArgumentType],
        gives: DataType,
        body: fn(&CallArguments) -> Result<ArrayRef>,
    ) -> Self {
        Self {
            name,
            takes,
            least: takes.len(),
            gives,
            body,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// The function with so many arguments at its end that may be left out.
    fn with_optional(self, last: usize) -> Self {
        Self {
            least: self.takes.len().saturating_sub(last),
            ..self
        }
    }
}

impl PartialEq for SqlFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for SqlFunction {}

impl Hash for SqlFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for SqlFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.gives.clone())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if !(self.least..=self.takes.len()).contains(&given.len()) {
            let or_less = match self.takes.len() - self.least {
                0 => String::new(),
                1 => format!("{} or ", self.least),
                _ => format!("{} to ", self.least),
            };
            return plan_err!(
                "{} takes {or_less}{} arguments, not {}",
                self.name,
                self.takes.len(),
                given.len()
            );
        }
        let mut coerced = Vec::with_capacity(given.len());
        for (position, (argument, data_type)) in self.takes.iter().zip(given).enumerate() {
            coerced.push(argument.coerce(data_type).ok_or_else(|| {
                plan_datafusion_err!(
                    "argument {} of {} must be {argument}, not {data_type}",
                    position + 1,
                    self.name
                )
            })?);
        }
        Ok(coerced)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arguments = CallArguments::new(&args.args, args.number_rows)?;
        let result = (self.body)(&arguments)?;
        if arguments.is_constant() {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?));
        }
        Ok(ColumnarValue::Array(result))
    }
}
