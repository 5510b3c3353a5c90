//! `strftime(time, format)`, also known as `date_format`: DataFusion's `to_char`, with the formats that begin with a per cent sign.
//!
//! Invariant: nothing of it differs from DataFusion's but the name, which `to_char` with PostgreSQL's patterns has taken.

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::sync::Arc;

/// The function, out of those that a session knows.
pub(crate) fn functions(known: impl Fn(&str) -> Option<Arc<ScalarUDF>>) -> Option<ScalarUDF> {
    // The alias is asked for: the name itself may be taken already.
    let inner = known("date_format")?;
    Some(ScalarUDF::new_from_impl(Strftime {
        inner,
        aliases: vec!["date_format".to_owned()],
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Strftime {
    inner: Arc<ScalarUDF>,
    aliases: Vec<String>,
}

impl ScalarUDFImpl for Strftime {
    fn name(&self) -> &'static str {
        "strftime"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
