//! Decimals that keep their digits: quotients, products, averages, medians and percentiles, rounded as PostgreSQL's `numeric` is.
//!
//! Invariant: no digit is cut off without being rounded, half away from zero, and no decimal passes through a float. A quotient or an average has
//! [`MORE_DIGITS`] digits more than what it is of, up to [`MOST_DIGITS`] behind the point; what does not fit into 38 digits is an error.
//!
//! ```text
//!   decimal(18,4) / decimal(18,6)   decimal(38,16)     DataFusion's has 8 digits, the last one cut
//!   avg(decimal(18,4))              decimal(28,14)     DataFusion's has 8 digits, the last one cut
//!   median(decimal(18,4))           decimal(28,14)     DataFusion's has 4 digits, the last one cut
//! ```
//!
//! The operators that use them are [`crate::operators`].

mod casts;
mod mean;
mod nearest;
mod percentile;
mod rounding;
mod texts;

pub(crate) use casts::{RoundedCasts, function as rounded_cast};
pub(crate) use mean::ExactAverage;
pub(crate) use nearest::{function as nearest_float_function, nearest_float};
pub(crate) use percentile::{ExactMedian, ExactPercentile, holds_values, with_files};
pub(crate) use rounding::{rounded_product, rounded_quotient};
pub(crate) use texts::{DecimalTexts, function as decimal_text};

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};

/// The digits that a quotient or an average has more than its values.
const MORE_DIGITS: i8 = 10;
/// Digits behind the point from which on none are added: eighteen are left before it.
pub(crate) const MOST_DIGITS: i8 = 20;

/// The scale of a quotient or an average of values of a scale.
pub(crate) fn scale_of_quotient(scale: i8) -> i8 {
    scale.max(scale.saturating_add(MORE_DIGITS).min(MOST_DIGITS))
}

/// The type of an average of decimals; any other type as it is.
pub(crate) fn average_type(of: &DataType) -> DataType {
    match of {
        DataType::Decimal128(precision, scale) => {
            let to = scale_of_quotient(*scale);
            let more = to.saturating_sub(*scale).unsigned_abs();
            let precision = precision.saturating_add(more).min(DECIMAL128_MAX_PRECISION);
            DataType::Decimal128(precision, to)
        }
        other => other.clone(),
    }
}

/// A decimal's type in 128 bits; `None` for what is no decimal that fits.
pub(crate) fn as_decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal128(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal32(precision, scale)
            if *scale >= 0 =>
        {
            Some((*precision, *scale))
        }
        DataType::Int8 | DataType::UInt8 => Some((3, 0)),
        DataType::Int16 | DataType::UInt16 => Some((5, 0)),
        DataType::Int32 | DataType::UInt32 => Some((10, 0)),
        DataType::Int64 | DataType::UInt64 => Some((20, 0)),
        _ => None,
    }
}
