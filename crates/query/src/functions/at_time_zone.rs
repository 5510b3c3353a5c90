//! `t AT TIME ZONE zone`; where the zone is no constant, every row has its own.
//!
//! Invariant: an instant becomes what a clock in the zone shows then, and what a clock shows becomes an instant, as in PostgreSQL. A zone that is not known is an error, null
//! gives null, and what is no time is an error. Of what a clock shows twice in autumn the second is meant. DataFusion's own keeps the instant, in a type of that zone: days, casts and comparisons went by UTC then, texts by the zone.

use super::arguments::by_columns;
use crate::zone::{Zone, ZoneClock};
use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{
    DataFusionError, Result, exec_datafusion_err, internal_err, plan_datafusion_err, plan_err,
};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;
use tillhouse_model::FastMap;
use tillhouse_model::table::timestamp;

/// The function that the operator becomes.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(AtTimeZone {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AtTimeZone {
    signature: Signature,
}

/// Error of a zone for what is no time.
fn no_time(of: &DataType) -> DataFusionError {
    plan_datafusion_err!("AT TIME ZONE is of a time, not of {of}")
}

fn wall() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &'static str {
        "at_time_zone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [time, zone] = types else {
            return plan_err!("AT TIME ZONE is of a time and a zone");
        };
        let time = match time {
            DataType::Timestamp(_, Some(_)) => timestamp(),
            DataType::Timestamp(_, None) | DataType::Date32 => wall(),
            other if other.is_string() || other.is_null() => timestamp(),
            other => return Err(no_time(other)),
        };
        if !zone.is_string() && !zone.is_null() {
            return plan_err!("a time zone is a text like 'Europe/Berlin', not {zone}");
        }
        Ok(vec![time, DataType::Utf8])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(DataType::Timestamp(_, None)) => Ok(timestamp()),
            _ => Ok(wall()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_columns(&args, |columns, rows| {
            let [times, zones] = columns else {
                return internal_err!("AT TIME ZONE is of a time and a zone");
            };
            let is_wall = matches!(times.data_type(), DataType::Timestamp(_, None));
            let (Some(times), Some(zones)) = (
                times.as_primitive_opt::<TimestampMicrosecondType>(),
                zones.as_string_opt::<i32>(),
            ) else {
                return internal_err!("AT TIME ZONE came as {}", times.data_type());
            };
            let mut known: FastMap<&str, (Zone, ZoneClock)> = FastMap::default();
            let moved: TimestampMicrosecondArray = (0..rows)
                .map(|row| {
                    if times.is_null(row) || zones.is_null(row) {
                        return Ok(None);
                    }
                    let (name, at) = (zones.value(row), times.value(row));
                    if !known.contains_key(name) {
                        let zone = Zone::parse(name).ok_or_else(|| {
                            exec_datafusion_err!("the time zone {name:?} is not known")
                        })?;
                        known.insert(name, (zone, ZoneClock::new(zone)));
                    }
                    let Some((zone, clock)) = known.get_mut(name) else {
                        return internal_err!("a zone that was just made known");
                    };
                    Ok(Some(if is_wall {
                        zone.last_instant_of(at)
                    } else {
                        clock.wall(at)
                    }))
                })
                .collect::<Result<_>>()?;
            let moved: ArrayRef = if is_wall {
                Arc::new(moved.with_timezone("UTC"))
            } else {
                Arc::new(moved)
            };
            Ok(moved)
        })
    }
}
