//! A value as text: the one writer of instants, dates, numbers for tables and JSON.
//!
//! Invariant: an instant is RFC 3339 with the offset of the clock it is printed by (`2026-07-01T02:11:53+02:00` in Berlin, `Z` for UTC), in as many digits
//! as it has; a time without a zone has no offset. RFC 3339 has no offset of seconds, as clocks had before they were set by zones: such an instant is told in UTC, `1890-01-01T00:00:00Z`. CSV,
//! which Arrow writes, says the same, as a test proves. Lists and objects are JSON, so that `[null]`, `[""]` and `[]` differ. A value that cannot be shown is an error and never text in its place.

use crate::encode::{cannot_show, interval, json};
use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tillhouse_model::Result;

/// Formatter of a column's values as text; nulls are empty.
pub struct CellFormatter<'a> {
    column: &'a dyn Array,
    plain: ArrayFormatter<'a>,
    historic: Option<StringArray>,
}

impl<'a> CellFormatter<'a> {
    /// The formatter of a column.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Query`] where its type cannot be shown.
    pub fn of(column: &'a dyn Array) -> Result<Self> {
        let options = FormatOptions::default().with_null("");
        Ok(Self {
            column,
            plain: ArrayFormatter::try_new(column, &options).map_err(cannot_show)?,
            historic: historic(column)?,
        })
    }

    /// The text of a row's value.
    pub fn text(&self, row: usize) -> Result<String> {
        if let Some(texts) = self.historic.as_ref().filter(|texts| texts.is_valid(row)) {
            return Ok(texts.value(row).to_owned());
        }
        if self.column.data_type().is_nested() && self.column.is_valid(row) {
            return json::value(self.column, row);
        }
        if let Some(span) = interval::text(self.column, row)? {
            return Ok(span);
        }
        self.plain.value(row).try_to_string().map_err(cannot_show)
    }
}

/// Errors when a column has an instant that cannot be shown, for formats that would write its number.
pub fn in_calendar(column: &dyn Array) -> Result<()> {
    if !matches!(
        column.data_type(),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
    ) {
        return Ok(());
    }
    let numbers = cast(column, &DataType::Int64).map_err(cannot_show)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let rows = || (0..column.len()).filter(|row| column.is_valid(*row));
    let earliest = rows().min_by_key(|row| numbers.value(*row));
    let latest = rows().max_by_key(|row| numbers.value(*row));
    let cells = CellFormatter::of(column)?;
    for row in earliest.into_iter().chain(latest) {
        cells.text(row)?;
    }
    Ok(())
}

/// The last offset of seconds was Liberia's, until January 1972.
const LAST_HISTORIC: i64 = 64_000_000;

/// The texts of instants whose clock differs from UTC by seconds too, in UTC, null for all others; `None` if there are none. Arrow would cut the offset to minutes.
pub(crate) fn historic(column: &dyn Array) -> Result<Option<StringArray>> {
    let DataType::Timestamp(unit, Some(zone)) = column.data_type() else {
        return Ok(None);
    };
    // A fixed offset has no seconds, and is no zone's name.
    let zone = match TimeZone::get(zone) {
        Ok(zone) if zone != TimeZone::UTC => zone,
        _ => return Ok(None),
    };
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let numbers = cast(column, &DataType::Int64).map_err(cannot_show)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let is_old = |number: &i64| number.div_euclid(per_second) < LAST_HISTORIC;
    if !numbers.iter().flatten().any(|number| is_old(&number)) {
        return Ok(None);
    }
    let text = |number: i64| {
        let nanoseconds = i128::from(number) * i128::from(1_000_000_000 / per_second);
        let at = Timestamp::from_nanosecond(nanoseconds).ok()?;
        let offset = zone.to_offset(at);
        (offset.seconds() % 60 != 0).then(|| at.to_string())
    };
    let texts: StringArray = numbers
        .iter()
        .map(|number| number.filter(is_old).and_then(text))
        .collect();
    Ok((texts.null_count() < texts.len()).then_some(texts))
}
