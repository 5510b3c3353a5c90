//! Aggregates that gather values in an order, `string_agg(text, delimiter ORDER BY …)` and `array_agg(value ORDER BY …)`, and hold bytes: each value with its sorting key, one behind the other.
//!
//! Invariant: the same text or list as DataFusion's aggregate, of values with equal keys the one that came first; every byte is counted, and what is held spills with its groups. DataFusion
//! keeps a value of its own for each value and each key, some three hundred bytes a row, and sorts all rows before it groups them.
//!
//! ```text
//!   mod       the aggregates: which calls are gathered here, and which of them have files
//!   keys      bytes of sorting keys
//!   records   values and keys of all groups in memory
//!   sort      the rows of a group by their keys
//!   gathered  bytes of a value, and what becomes of a group's values: a text or a list
//!   held      the accumulators: partial results, spilling to [`crate::value_files`], memory
//! ```
//!
//! Without ORDER BY, with DISTINCT, and of values that have no bytes to be sorted by, it is DataFusion's own.

mod gathered;
mod held;
mod keys;
mod records;
mod sort;
#[cfg(test)]
mod tests;

use crate::value_files::{ValueFiles, ValueSpill};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use datafusion::functions_aggregate::{array_agg, string_agg};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::CastExpr;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use gathered::GatheredInto;
use held::{HeldValues, WholeGroup};
use keys::{SortKey, SortKeys, is_text};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The aggregates.
pub(crate) fn aggregates() -> [AggregateUDF; 2] {
    Gathering::ALL.map(|gathering| {
        AggregateUDF::new_from_impl(OrderedAggregate {
            gathering,
            inner: gathering.inner(),
            files: None,
        })
    })
}

/// True for the name of an aggregate that holds all values of its groups where it is called with an order.
pub(crate) fn holds_in_order(name: &str) -> bool {
    Gathering::named(name).is_some()
}

/// A call whose large groups spill to files that live for as long as its plan; `None` for one that is not gathered here. It has to be the only step of its grouping: partial results that
/// name files are of no use to another call.
pub(crate) fn with_files(
    call: &AggregateFunctionExpr,
    input: &SchemaRef,
    spill: &ValueSpill,
) -> Result<Option<AggregateFunctionExpr>> {
    let gathering = Gathering::named(call.fun().name());
    let Some(gathering) = gathering.filter(|_| !call.order_bys().is_empty()) else {
        return Ok(None);
    };
    let function = AggregateUDF::new_from_impl(OrderedAggregate {
        gathering,
        inner: gathering.inner(),
        files: Some(Arc::new(ValueFiles::new(spill.clone()))),
    });
    let mut builder = AggregateExprBuilder::new(Arc::new(function), call.expressions())
        .order_by(call.order_bys().to_vec())
        .schema(Arc::clone(input))
        .alias(call.name())
        .with_ignore_nulls(call.ignore_nulls())
        .with_distinct(call.is_distinct())
        .with_reversed(call.is_reversed());
    if let Some(display) = call.human_display() {
        builder = builder.human_display(display);
    }
    if let Some(alias) = call.human_display_alias() {
        builder = builder.human_display_alias(alias);
    }
    Ok(Some(builder.build()?))
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
    const ALL: [Self; 2] = [Self::Texts, Self::Lists];

    fn named(name: &str) -> Option<Self> {
        (Self::ALL.into_iter()).find(|gathering| gathering.name() == name)
    }

    /// DataFusion's aggregate.
    fn inner(self) -> Arc<AggregateUDF> {
        match self {
            Self::Texts => string_agg::string_agg_udaf(),
            Self::Lists => array_agg::array_agg_udaf(),
        }
    }

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
#[derive(Debug)]
struct OrderedAggregate {
    gathering: Gathering,
    inner: Arc<AggregateUDF>,
    /// Files of the large groups of one call of a plan.
    files: Option<Arc<ValueFiles>>,
}

impl PartialEq for OrderedAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.gathering == other.gathering
    }
}

impl Eq for OrderedAggregate {}

impl Hash for OrderedAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.gathering.hash(state);
    }
}

/// The expression below casts between texts, which change no byte.
fn without_casts<'a>(
    mut expr: &'a Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<&'a Arc<dyn PhysicalExpr>> {
    while let Some(cast) = expr.downcast_ref::<CastExpr>() {
        if !is_text(cast.cast_type()) || !is_text(&cast.expr().data_type(schema)?) {
            break;
        }
        expr = cast.expr();
    }
    Ok(expr)
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
        let into = match self.gathering {
            Gathering::Texts => GatheredInto::text(args)?,
            Gathering::Lists => GatheredInto::list(value.data_type(), args.ignore_nulls)?,
        };
        let keys = SortKeys::new(&self.sort_keys(args)?, into.holds_nulls())?;
        let (arguments, files) = (self.gathering.arguments(), self.files.clone());
        Ok(Some(HeldValues::new(into, keys, arguments, files)))
    }

    /// The sorting keys of a call.
    fn sort_keys(&self, args: &AccumulatorArgs<'_>) -> Result<Vec<SortKey>> {
        let value = match args.exprs.first() {
            Some(value) if !is_volatile(value) => Some(self.bare(value, args.schema)?),
            _ => None,
        };
        let mut keys = Vec::with_capacity(args.order_bys.len());
        for order in args.order_bys {
            let of = self.bare(&order.expr, args.schema)?;
            let data_type = order.expr.data_type(args.schema)?;
            // A text is held as the text that it is, whatever it was before.
            let is_held_so = self.gathering == Gathering::Lists || is_text(&data_type);
            keys.push(SortKey {
                data_type,
                options: order.options,
                is_value: is_held_so && value.is_some_and(|value| value == of),
            });
        }
        Ok(keys)
    }

    /// An expression without the casts that leave the bytes of its values as they are.
    fn bare<'a>(
        &self,
        expr: &'a Arc<dyn PhysicalExpr>,
        schema: &Schema,
    ) -> Result<&'a Arc<dyn PhysicalExpr>> {
        match self.gathering {
            Gathering::Texts => without_casts(expr, schema),
            Gathering::Lists => Ok(expr),
        }
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
        let bytes = |name: &str| {
            let name = format_state_name(args.name, name);
            Arc::new(Field::new(name, DataType::LargeBinary, true))
        };
        Ok(vec![bytes("records"), bytes("pieces")])
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
