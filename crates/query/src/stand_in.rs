//! The skeleton of an aggregate that stands in for another one.
//!
//! Invariant: to whoever plans a query such an aggregate is what the other one is: it has its name, its types and its values.

/// The parts of an `AggregateUDFImpl` that say what is called and what comes of it, handed on to the `AggregateUDF` in a field. Those that say how it is worked out, and in which
/// order, are for the type itself.
macro_rules! stand_in {
    ($inner:ident) => {
        fn name(&self) -> &str {
            self.$inner.name()
        }

        fn aliases(&self) -> &[String] {
            self.$inner.aliases()
        }

        fn signature(&self) -> &datafusion::logical_expr::Signature {
            self.$inner.signature()
        }

        fn return_type(
            &self,
            types: &[arrow::datatypes::DataType],
        ) -> datafusion::common::Result<arrow::datatypes::DataType> {
            self.$inner.return_type(types)
        }

        fn return_field(
            &self,
            fields: &[arrow::datatypes::FieldRef],
        ) -> datafusion::common::Result<arrow::datatypes::FieldRef> {
            self.$inner.return_field(fields)
        }

        fn is_nullable(&self) -> bool {
            self.$inner.is_nullable()
        }

        fn state_fields(
            &self,
            args: datafusion::logical_expr::function::StateFieldsArgs<'_>,
        ) -> datafusion::common::Result<Vec<arrow::datatypes::FieldRef>> {
            self.$inner.state_fields(args)
        }

        fn coerce_types(
            &self,
            types: &[arrow::datatypes::DataType],
        ) -> datafusion::common::Result<Vec<arrow::datatypes::DataType>> {
            self.$inner.coerce_types(types)
        }

        fn default_value(
            &self,
            data_type: &arrow::datatypes::DataType,
        ) -> datafusion::common::Result<datafusion::common::ScalarValue> {
            self.$inner.default_value(data_type)
        }

        fn supports_null_handling_clause(&self) -> bool {
            self.$inner.supports_null_handling_clause()
        }

        fn documentation(&self) -> Option<&datafusion::logical_expr::Documentation> {
            self.$inner.documentation()
        }
    };
}

pub(crate) use stand_in;
