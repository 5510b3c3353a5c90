//! The calendar in UTC: months, days and hours of instants, and days counted from 1970-01-01.
//!
//! Invariant: instants are microseconds since 1970-01-01T00:00:00Z, months are named `YYYY-MM` as partitions are, and every answer depends on
//! its argument alone. Clocks of time zones are in [`crate::time_zone`].

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Microseconds of an hour.
pub const HOUR: i64 = 3_600_000_000;
/// Microseconds of a day.
pub const DAY: i64 = 24 * HOUR;
/// Partition of rows without a time.
pub const NO_MONTH: &str = "none";
/// The day from which days are counted.
const FIRST_DAY: Date = Date::constant(1970, 1, 1);

/// Names the month of an instant; remembers the last one, since neighbouring rows mostly share it.
///
/// ```
/// use tillhouse_model::calendar::MonthNamer;
/// let mut months = MonthNamer::default();
/// assert_eq!(months.name_of(Some(0)), "1970-01");
/// assert_eq!(months.name_of(None), "none");
/// ```
#[derive(Debug, Default)]
pub struct MonthNamer {
    from: i64,
    to: i64,
    name: String,
}

impl MonthNamer {
    /// The month of an instant; [`NO_MONTH`] for none, and for one beyond the calendar.
    pub fn name_of(&mut self, time: Option<i64>) -> &str {
        let Some(time) = time else { return NO_MONTH };
        if !(self.from <= time && time < self.to) {
            let Ok(instant) = Timestamp::from_microsecond(time) else {
                return NO_MONTH;
            };
            let first = instant.to_zoned(TimeZone::UTC).date().first_of_month();
            self.name = first.strftime("%Y-%m").to_string();
            self.from = midnight(first).unwrap_or(time);
            let next = first.last_of_month().tomorrow().ok().and_then(midnight);
            self.to = next.unwrap_or(time.saturating_add(1));
        }
        &self.name
    }
}

/// The month of one instant.
pub fn month_of(instant: Timestamp) -> String {
    month_of_micros(instant.as_microsecond())
}

/// The month of one instant in microseconds; [`NO_MONTH`] beyond the calendar.
pub fn month_of_micros(instant: i64) -> String {
    MonthNamer::default().name_of(Some(instant)).to_owned()
}

/// The year and month of a day counted from 1970-01-01, in the proleptic Gregorian calendar, for every day there can be
/// (Howard Hinnant's days_from_civil, the other way round).
pub fn civil_month(day: i64) -> (i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, for years from 0: years start in March, so that the leap day is last.
#[inline]
pub fn days_from_civil(year: i32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Number of days of a month, counted from 1.
pub fn days_in(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date.
#[expect(
    clippy::expect_used,
    reason = "jiff's dates are within 10^7 days of 1970"
)]
pub fn epoch_day(date: Date) -> i32 {
    let days = date.duration_since(FIRST_DAY).as_hours() / 24;
    i32::try_from(days).expect("a date within jiff's years")
}

/// The date so many days after 1970-01-01; `None` beyond the calendar.
pub fn date_of(epoch_day: i64) -> Option<Date> {
    FIRST_DAY
        .checked_add(Span::new().try_days(epoch_day).ok()?)
        .ok()
}

/// The first instant of a date in UTC, in microseconds; `None` at the end of the calendar.
pub fn midnight(date: Date) -> Option<i64> {
    date.to_zoned(TimeZone::UTC)
        .ok()
        .map(|zoned| zoned.timestamp().as_microsecond())
}

/// The start of the UTC month that an instant is in, both in microseconds.
pub fn month_start(micros: i64) -> i64 {
    let (year, month) = civil_month(micros.div_euclid(DAY));
    start_of_month(year, month)
}

/// The start of the UTC month after the one that an instant is in, both in microseconds.
pub fn next_month_start(micros: i64) -> i64 {
    match civil_month(micros.div_euclid(DAY)) {
        (year, 12) => start_of_month(year + 1, 1),
        (year, month) => start_of_month(year, month + 1),
    }
}

/// The start of the UTC year that an instant is in, both in microseconds.
pub fn year_start(micros: i64) -> i64 {
    let (year, _) = civil_month(micros.div_euclid(DAY));
    start_of_month(year, 1)
}

/// The start of the UTC year after the one that an instant is in, both in microseconds.
pub fn next_year_start(micros: i64) -> i64 {
    let (year, _) = civil_month(micros.div_euclid(DAY));
    start_of_month(year + 1, 1)
}

#[expect(
    clippy::expect_used,
    reason = "microseconds reach years of six digits, and months are 1 to 12"
)]
fn start_of_month(year: i64, month: i64) -> i64 {
    let year = i32::try_from(year).expect("a year of six digits");
    let month = u32::try_from(month).expect("a month");
    days_from_civil(year, month, 1).saturating_mul(DAY)
}

/// The year of a month that [`MonthNamer`] named: `2026` of `2026-01`, [`NO_MONTH`] of itself.
///
/// ```
/// use tillhouse_model::calendar::year_of;
/// assert_eq!(year_of("2026-01"), "2026");
/// assert_eq!(year_of("none"), "none");
/// ```
pub fn year_of(month: &str) -> &str {
    month.rsplit_once('-').map_or(month, |(year, _)| year)
}

/// The start of the UTC hour that an instant is in, both in microseconds.
pub fn hour_start(micros: i64) -> i64 {
    micros.saturating_sub(micros.rem_euclid(HOUR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn years_begin_on_the_first_of_january() {
        for (at, start, next) in [
            (
                "2026-12-31T23:59:59Z",
                "2026-01-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
            (
                "2024-01-01T00:00:00Z",
                "2024-01-01T00:00:00Z",
                "2025-01-01T00:00:00Z",
            ),
            (
                "1969-05-01T00:00:00Z",
                "1969-01-01T00:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
        ] {
            assert_eq!(
                (year_start(t(at)), next_year_start(t(at))),
                (t(start), t(next))
            );
        }
    }

    #[test]
    fn months_change_at_utc_midnight() {
        let mut months = MonthNamer::default();
        let mut of = |text: &str| months.name_of(Some(t(text))).to_owned();
        assert_eq!(of("2026-01-31T23:59:59.999999Z"), "2026-01");
        assert_eq!(of("2026-02-01T00:00:00Z"), "2026-02");
        assert_eq!(of("2026-02-01T00:30:00+01:00"), "2026-01");
        assert_eq!(of("2025-12-31T23:00:00Z"), "2025-12");
        assert_eq!(of("1969-12-31T23:00:00Z"), "1969-12");
        assert_eq!(of("0000-01-01T00:00:00Z"), "0000-01");
        assert_eq!(of("9999-12-30T22:00:00Z"), "9999-12");
        assert_eq!(months.name_of(None), "none");
        assert_eq!(month_of_micros(i64::MAX), "none");
    }

    #[test]
    fn days_and_months_are_those_of_the_calendar() {
        for day in (-700_000..2_900_000).step_by(13) {
            let date = date_of(day).unwrap();
            let (year, month) = (i32::from(date.year()), date.month().unsigned_abs().into());
            assert_eq!(
                civil_month(day),
                (i64::from(year), i64::from(date.month())),
                "{date}"
            );
            assert_eq!(i64::from(epoch_day(date)), day, "{date}");
            assert_eq!(midnight(date), Some(day * DAY), "{date}");
            assert_eq!(
                days_in(year, month),
                u32::from(date.days_in_month().unsigned_abs())
            );
            if year >= 0 {
                let of_month = date.day().unsigned_abs().into();
                assert_eq!(days_from_civil(year, month, of_month), day, "{date}");
            }
        }
        assert_eq!(date_of(i64::MAX), None);
        assert_eq!(date_of(3_000_000), None);
    }

    #[test]
    fn months_start_on_their_first_day_whatever_the_year() {
        for (at, start, next) in [
            (
                "2026-02-28T23:59:59.999999Z",
                "2026-02-01T00:00:00Z",
                "2026-03-01T00:00:00Z",
            ),
            (
                "2026-12-01T00:00:00Z",
                "2026-12-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
            (
                "1969-12-31T23:00:00Z",
                "1969-12-01T00:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
            (
                "-000003-02-27T12:00:00Z",
                "-000003-02-01T00:00:00Z",
                "-000003-03-01T00:00:00Z",
            ),
        ] {
            assert_eq!(month_start(t(at)), t(start), "{at}");
            assert_eq!(next_month_start(t(at)), t(next), "{at}");
        }
        let _ = (month_start(i64::MIN), next_month_start(i64::MAX));
        assert_eq!(year_of("-0003-02"), "-0003");
    }

    #[test]
    fn hours_start_before_1970_as_after_it() {
        assert_eq!(
            hour_start(t("2026-01-01T10:45:00Z")),
            t("2026-01-01T10:00:00Z")
        );
        assert_eq!(
            hour_start(t("1969-12-31T23:59:59.999999Z")),
            t("1969-12-31T23:00:00Z")
        );
        assert_eq!(hour_start(0), 0);
        let _ = (hour_start(i64::MIN), hour_start(i64::MAX));
    }
}
