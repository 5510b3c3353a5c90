//! Aggregates that gather values in an order, `string_agg(text, delimiter ORDER BY …)` and `array_agg(value ORDER BY …)`, and hold bytes: each value with its sorting key in one buffer.
//!
//! Invariant: the same text or list as DataFusion's aggregate, of values with equal keys the one that came first; every byte is counted, and what is held spills with its groups. DataFusion
//! keeps a value of its own for each value and each key, some three hundred bytes a row, and sorts all rows before it groups them.
//!
//! ```text
//!   mod       the aggregates: which calls are gathered here
//!   gathered  bytes of a value, and what becomes of a group's values: a text or a list
//!   held      the buffer of all groups: sorting, partial results
//! ```
//!
//! Without ORDER BY, with DISTINCT, and of values that have no bytes to be sorted by, it is DataFusion's own.

mod gathered;
mod held;
#[cfg(test)]
mod tests;

use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use datafusion::functions_aggregate::{array_agg, string_agg};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
};
use gathered::GatheredInto;
use held::{HeldValues, WholeGroup};
use std::sync::Arc;

/// The aggregates.
pub(crate) fn aggregates() -> [AggregateUDF; 2] {
    [
        (Gathering::Texts, string_agg::string_agg_udaf()),
        (Gathering::Lists, array_agg::array_agg_udaf()),
    ]
    .map(|(gathering, inner)| AggregateUDF::new_from_impl(OrderedAggregate { gathering, inner }))
}

/// True for the name of an aggregate that holds all values of its groups where it is called with an order.
pub(crate) fn holds_in_order(name: &str) -> bool {
    [Gathering::Texts, Gathering::Lists]
        .iter()
        .any(|gathering| gathering.name() == name)
}

/// Result that the values of a group become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Gathering {
    /// One text, with a delimiter between each two.
    Texts,
    /// A list.
    Lists,
}

impl Gathering {
    const fn name(self) -> &'static str {
        match self {
            Self::Texts => "string_agg",
            Self::Lists => "array_agg",
        }
    }

    /// The arguments of a call before its sorting keys.
    const fn arguments(self) -> usize {
        match self {
            Self::Texts => 2,
            Self::Lists => 1,
        }
    }

    /// True if values of a type are held as bytes, and come back as they were.
    fn holds(self, value: &DataType) -> bool {
        match self {
            Self::Texts => true,
            Self::Lists => {
                !has_dictionary(value)
                    && RowConverter::supports_fields(&[SortField::new(value.clone())])
            }
        }
    }
}

/// True for a type whose values would come back as another: those of a dictionary without it.
fn has_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) | DataType::RunEndEncoded(..) | DataType::Map(..) => true,
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => has_dictionary(element.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        _ => false,
    }
}

/// DataFusion's aggregate, with its own way where there is an order.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OrderedAggregate {
    gathering: Gathering,
    inner: Arc<AggregateUDF>,
}

impl OrderedAggregate {
    /// The values that a call holds; `None` for one that is left to DataFusion.
    fn held(&self, args: &AccumulatorArgs<'_>) -> Result<Option<HeldValues>> {
        let Some(value) = args.expr_fields.first() else {
            return Ok(None);
        };
        if args.is_distinct || args.order_bys.is_empty() || !self.gathering.holds(value.data_type())
        {
            return Ok(None);
        }
        let fields = args.order_bys.iter().map(|order| {
            let data_type = order.expr.data_type(args.schema)?;
            Ok(SortField::new_with_options(data_type, order.options))
        });
        let into = match self.gathering {
            Gathering::Texts => GatheredInto::text(args)?,
            Gathering::Lists => GatheredInto::list(value.data_type(), args.ignore_nulls)?,
        };
        let keys = RowConverter::new(fields.collect::<Result<Vec<_>>>()?)?;
        let arguments = self.gathering.arguments();
        Ok(Some(HeldValues::new(into, keys, arguments)))
    }
}

impl AggregateUDFImpl for OrderedAggregate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let is_held = args
            .input_fields
            .first()
            .is_some_and(|value| self.gathering.holds(value.data_type()));
        if args.is_distinct || args.ordering_fields.is_empty() || !is_held {
            return self.inner.state_fields(args);
        }
        let list = |name: &str| {
            let field = Field::new_list_field(DataType::LargeBinary, true);
            let name = format_state_name(args.name, name);
            Arc::new(Field::new(name, DataType::List(Arc::new(field)), true))
        };
        Ok(vec![list("values"), list("keys")])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match self.held(&args)? {
            Some(held) => Ok(Box::new(WholeGroup(held))),
            None => self.inner.accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        let is_held = !args.is_distinct
            && !args.order_bys.is_empty()
            && args
                .expr_fields
                .first()
                .is_some_and(|value| self.gathering.holds(value.data_type()));
        is_held || self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match self.held(&args)? {
            Some(held) => Ok(Box::new(held)),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    /// Rows are sorted here: none of them has to come in order, but the keys have to come with them.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Beneficial
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        _: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
