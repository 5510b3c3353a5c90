//! `string_agg(text, delimiter ORDER BY …)` that holds bytes: each text with its sorting key in one buffer, sorted when a group is handed out.
//!
//! Invariant: the same text as DataFusion's `string_agg`, of texts with equal keys the one that came first; every byte is counted, and what is held spills with its groups. DataFusion
//! keeps a value of its own for each text and each key, some three hundred bytes a row, and sorts all rows before it groups them.
//!
//! Without ORDER BY, and with DISTINCT, it is DataFusion's own.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, LargeBinaryBuilder, LargeStringBuilder, ListArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, internal_datafusion_err};
use datafusion::functions_aggregate::string_agg::StringAgg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, Signature,
};
use datafusion::physical_expr::expressions::Literal;
use std::mem::{size_of, size_of_val};
use std::sync::Arc;

/// The aggregate's name.
pub(crate) const NAME: &str = "string_agg";

/// DataFusion's `string_agg`, with its own way where there is an order.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct OrderedTexts {
    inner: StringAgg,
}

impl AggregateUDFImpl for OrderedTexts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if args.is_distinct || args.ordering_fields.is_empty() {
            return self.inner.state_fields(args);
        }
        let list = |name: &str, of: DataType| {
            let field = Field::new_list_field(of, true);
            let name = format_state_name(args.name, name);
            Arc::new(Field::new(name, DataType::List(Arc::new(field)), true))
        };
        Ok(vec![
            list("texts", DataType::LargeUtf8),
            list("keys", DataType::LargeBinary),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match HeldTexts::of(&args)? {
            Some(held) => Ok(Box::new(WholeText(held))),
            None => self.inner.accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match HeldTexts::of(&args)? {
            Some(held) => Ok(Box::new(held)),
            None => self.inner.create_groups_accumulator(args),
        }
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

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// A text of a group, and where it lies: its key, then the text itself.
#[derive(Debug, Clone, Copy)]
struct HeldText {
    at: usize,
    group: u32,
    key: u32,
    text: u32,
}

/// The texts of all groups.
#[derive(Debug)]
struct HeldTexts {
    texts: Vec<HeldText>,
    bytes: Vec<u8>,
    groups: usize,
    delimiter: String,
    converter: RowConverter,
}

fn length(of: &[u8]) -> Result<u32> {
    u32::try_from(of.len()).map_err(|_| exec_datafusion_err!("a text is longer than 4 GiB"))
}

impl HeldTexts {
    /// `None` for what is left to DataFusion.
    fn of(args: &AccumulatorArgs<'_>) -> Result<Option<Self>> {
        if args.is_distinct || args.order_bys.is_empty() {
            return Ok(None);
        }
        let delimiter = args
            .exprs
            .get(1)
            .and_then(|delimiter| delimiter.downcast_ref::<Literal>())
            .map(|literal| literal.value());
        let Some(delimiter) = delimiter else {
            return Err(exec_datafusion_err!(
                "the delimiter of string_agg is a constant"
            ));
        };
        let delimiter = delimiter.try_as_str().flatten().unwrap_or("").to_owned();
        let fields = args
            .order_bys
            .iter()
            .map(|order| {
                Ok(SortField::new_with_options(
                    order.expr.data_type(args.schema)?,
                    order.options,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Some(Self {
            texts: Vec::new(),
            bytes: Vec::new(),
            groups: 0,
            delimiter,
            converter: RowConverter::new(fields)?,
        }))
    }

    fn push(&mut self, group: u32, key: &[u8], text: &[u8]) -> Result<()> {
        self.texts.push(HeldText {
            at: self.bytes.len(),
            group,
            key: length(key)?,
            text: length(text)?,
        });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(text);
        Ok(())
    }

    /// Takes rows in: texts, the delimiter, and keys. A window sorts its rows itself, and gives no keys.
    fn update(
        &mut self,
        values: &[ArrayRef],
        group: impl Fn(usize) -> Option<usize>,
    ) -> Result<()> {
        let texts = cast(&values[0], &DataType::LargeUtf8)?;
        let texts = texts.as_string::<i64>();
        let keys = match values.get(2..).unwrap_or_default() {
            [] => None,
            keys => Some(self.converter.convert_columns(keys)?),
        };
        for row in 0..texts.len() {
            let Some(group) = group(row).filter(|_| texts.is_valid(row)) else {
                continue;
            };
            let key = keys.as_ref().map(|keys| keys.row(row));
            let key = key.as_ref().map_or(&[][..], |key| key.as_ref());
            self.push(group_number(group)?, key, texts.value(row).as_bytes())?;
        }
        Ok(())
    }

    /// Takes partial results in.
    fn merge(&mut self, states: &[ArrayRef], group: impl Fn(usize) -> usize) -> Result<()> {
        let lists = |at: usize| {
            let state = states.get(at).and_then(|state| state.as_list_opt::<i32>());
            state.ok_or_else(|| internal_datafusion_err!("a state of string_agg is a list"))
        };
        let (texts, keys) = (lists(0)?, lists(1)?);
        for row in 0..texts.len() {
            if texts.is_null(row) {
                continue;
            }
            let group = group_number(group(row))?;
            let (texts, keys) = (texts.value(row), keys.value(row));
            let (texts, keys) = (texts.as_string::<i64>(), keys.as_binary::<i64>());
            for at in 0..texts.len() {
                self.push(group, keys.value(at), texts.value(at).as_bytes())?;
            }
        }
        Ok(())
    }

    fn key(&self, of: &HeldText) -> &[u8] {
        &self.bytes[of.at..of.at + of.key as usize]
    }

    fn text(&self, of: &HeldText) -> Result<&str> {
        let from = of.at + of.key as usize;
        std::str::from_utf8(&self.bytes[from..from + of.text as usize])
            .map_err(|_| internal_datafusion_err!("a text is no text any more"))
    }

    /// The texts by group and key; of equal ones the first first.
    fn sorted(&self) -> Vec<HeldText> {
        let mut sorted = self.texts.clone();
        sorted.sort_unstable_by(|one, other| {
            one.group
                .cmp(&other.group)
                .then_with(|| self.key(one).cmp(self.key(other)))
                .then_with(|| one.at.cmp(&other.at))
        });
        sorted
    }

    /// Takes out the texts of the first groups, sorted, and numbers the others anew.
    fn take(&mut self, emit_to: EmitTo) -> Result<(Self, Vec<HeldText>, usize)> {
        let groups = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(groups) => groups,
        };
        let first = group_number(groups)?;
        let sorted = self.sorted();
        let fields: Vec<SortField> = Vec::new();
        let mut taken = Self {
            texts: Vec::new(),
            bytes: std::mem::take(&mut self.bytes),
            groups,
            delimiter: self.delimiter.clone(),
            converter: RowConverter::new(fields)?,
        };
        self.texts = Vec::new();
        self.groups = self.groups.saturating_sub(groups);
        let end = sorted.partition_point(|text| text.group < first);
        for left in &sorted[end..] {
            self.push(
                left.group - first,
                taken.key(left),
                taken.text(left)?.as_bytes(),
            )?;
        }
        let mut sorted = sorted;
        sorted.truncate(end);
        taken.texts.clear();
        Ok((taken, sorted, groups))
    }

    /// The text of each group.
    fn joined(&self, sorted: &[HeldText], groups: usize) -> Result<ArrayRef> {
        let mut builder = LargeStringBuilder::with_capacity(groups, 0);
        let mut rest = sorted;
        for group in 0..groups {
            let group = group_number(group)?;
            let end = rest.partition_point(|text| text.group <= group);
            let (of_group, others) = rest.split_at(end);
            rest = others;
            if of_group.is_empty() {
                builder.append_null();
                continue;
            }
            let texts: usize = of_group.iter().map(|text| text.text as usize).sum();
            let mut joined =
                String::with_capacity(texts + (of_group.len() - 1) * self.delimiter.len());
            for (at, text) in of_group.iter().enumerate() {
                if at > 0 {
                    joined.push_str(&self.delimiter);
                }
                joined.push_str(self.text(text)?);
            }
            builder.append_value(&joined);
        }
        Ok(Arc::new(builder.finish()))
    }

    /// Partial results: a list of texts and one of keys for each group.
    fn states(&self, sorted: &[HeldText], groups: usize) -> Result<Vec<ArrayRef>> {
        let mut lengths = vec![0_usize; groups];
        let (mut texts, mut keys) = (LargeStringBuilder::new(), LargeBinaryBuilder::new());
        for text in sorted {
            lengths[text.group as usize] += 1;
            texts.append_value(self.text(text)?);
            keys.append_value(self.key(text));
        }
        let list = |values: ArrayRef| -> ArrayRef {
            let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            let offsets = OffsetBuffer::<i32>::from_lengths(lengths.iter().copied());
            Arc::new(ListArray::new(field, offsets, values, None))
        };
        Ok(vec![
            list(Arc::new(texts.finish())),
            list(Arc::new(keys.finish())),
        ])
    }

    fn bytes_held(&self) -> usize {
        // Sorting takes the places once more.
        self.bytes.capacity() + 2 * self.texts.capacity() * size_of::<HeldText>()
    }
}

fn group_number(group: usize) -> Result<u32> {
    u32::try_from(group).map_err(|_| internal_datafusion_err!("more groups than can be numbered"))
}

/// True for rows that a filter lets pass.
fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

impl GroupsAccumulator for HeldTexts {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        self.update(values, |row| {
            group_indices
                .get(row)
                .copied()
                .filter(|_| passes(opt_filter, row))
        })
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        self.merge(values, |row| group_indices[row])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (taken, sorted, groups) = self.take(emit_to)?;
        taken.joined(&sorted, groups)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (taken, sorted, groups) = self.take(emit_to)?;
        taken.states(&sorted, groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let texts = cast(&values[0], &DataType::LargeUtf8)?;
        let texts = texts.as_string::<i64>();
        let rows = self
            .converter
            .convert_columns(values.get(2..).unwrap_or_default())?;
        let mut kept = Self {
            texts: Vec::new(),
            bytes: Vec::new(),
            groups: texts.len(),
            delimiter: String::new(),
            converter: RowConverter::new(Vec::new())?,
        };
        for row in 0..texts.len() {
            if texts.is_valid(row) && passes(opt_filter, row) {
                let key = rows.row(row);
                kept.push(
                    group_number(row)?,
                    key.as_ref(),
                    texts.value(row).as_bytes(),
                )?;
            }
        }
        kept.states(&kept.texts, texts.len())
    }

    fn size(&self) -> usize {
        self.bytes_held()
    }
}

/// The texts of one group. They are kept when the text is asked for: a window goes on with them.
#[derive(Debug)]
struct WholeText(HeldTexts);

impl Accumulator for WholeText {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update(values, |_| Some(0))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge(states, |_| 0)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let joined = self.0.joined(&self.0.sorted(), 1)?;
        ScalarValue::try_from_array(&joined, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let states = self.0.states(&self.0.sorted(), 1)?;
        let scalar = |state: &ArrayRef| ScalarValue::try_from_array(state, 0);
        states.iter().map(scalar).collect()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.bytes_held()
    }
}
