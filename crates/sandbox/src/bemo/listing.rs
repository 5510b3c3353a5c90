//! One question to be-mo's list of sessions, and which sessions answer it.
//!
//! Invariant: two pages of one listing are cut from the same list, as long as no session
//! changed in between.

use super::wire::BemoText;
use crate::record_store::StoredRecord;
use jiff::civil::Date;
use serde::Deserialize;
use tillhouse_emulator::query::last;
use tillhouse_emulator::{first_whole_second, last_whole_second};

/// Parsed query of the session list, without the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BemoListQuery {
    pub account: u16,
    /// The days asked for, as microseconds since 1970: the first instant that is in, the first that is not.
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub created_from: Option<i64>,
    pub vehicle: Option<String>,
    pub countries: Option<Vec<String>>,
    /// True if a day is the place's own.
    pub local_days: bool,
}

/// Page of a listing: its index from zero and its size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BemoPageRange {
    pub page: usize,
    pub limit: usize,
}

/// Choices of this provider where the document is silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BemoListRules {
    pub first_page: u32,
    pub largest: u32,
    /// Days are the place's own, and the day `to` is not in.
    pub narrow_days: bool,
}

/// Sessions a page unless asked otherwise.
const USUAL: u64 = 100;
const DAY: i64 = 86_400_000_000;

impl BemoListQuery {
    /// Reads the query; the error is for the caller's eyes.
    pub(crate) fn parse(
        pairs: &[(String, String)],
        account: u16,
        reading: BemoListRules,
    ) -> Result<(Self, BemoPageRange), String> {
        let day = |key: &str| -> Result<Option<i64>, String> {
            let Some(text) = last(pairs, key).filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            let date = text
                .parse::<Date>()
                .ok()
                .filter(|date| date.to_string() == text);
            let date = date.ok_or_else(|| format!("{key} must be a valid date (YYYY-MM-DD)"))?;
            let midnight = date
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map_err(|_| format!("{key} is out of range"))?;
            Ok(Some(midnight.timestamp().as_microsecond()))
        };
        let number = |key: &str, usual: u64, least: u64| match last(pairs, key)
            .filter(|text| !text.is_empty())
        {
            None => Ok(usual),
            Some(text) => text
                .parse::<u64>()
                .ok()
                .filter(|number| *number >= least)
                .ok_or_else(|| format!("{key} must be an integer, {least} or more")),
        };
        let first = u64::from(reading.first_page);
        let page = number("offset", first, first)? - first;
        let limit = number("limit", USUAL, 1)?.min(u64::from(reading.largest));
        let to = day("to")?.map(|to| if reading.narrow_days { to } else { to + DAY });
        let countries = last(pairs, "countryCode").filter(|text| !text.is_empty());
        let question = Self {
            account,
            from: day("from")?,
            to,
            created_from: day("lastCreated")?,
            vehicle: last(pairs, "vehicleId")
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
            countries: countries.map(|text| {
                text.split(',')
                    .map(|code| code.trim().to_uppercase())
                    .collect()
            }),
            local_days: reading.narrow_days,
        };
        let cut = BemoPageRange {
            page: usize::try_from(page).unwrap_or(usize::MAX),
            limit: usize::try_from(limit).unwrap_or(1),
        };
        Ok((question, cut))
    }

    /// Tests whether a session matches the query.
    pub(crate) fn matches(&self, row: &StoredRecord) -> bool {
        if row.tenant != self.account {
            return false;
        }
        if self
            .created_from
            .is_some_and(|from| row.stamp.is_none_or(|stamp| stamp < from))
        {
            return false;
        }
        let looks_inside = self.local_days || self.vehicle.is_some() || self.countries.is_some();
        let inside = if looks_inside {
            BemoFilterFields::read(&row.body)
        } else {
            BemoFilterFields::default()
        };
        let time = row.time.map(|time| {
            if self.local_days {
                time + inside.offset()
            } else {
                time
            }
        });
        let in_window = match time {
            None => self.from.is_none() && self.to.is_none(),
            Some(time) => {
                self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time < to)
            }
        };
        in_window
            && self
                .vehicle
                .as_deref()
                .is_none_or(|wanted| inside.vehicle_id.as_deref() == Some(wanted))
            && self.countries.as_ref().is_none_or(|wanted| {
                inside
                    .country_code
                    .as_deref()
                    .is_some_and(|code| wanted.iter().any(|known| known == code))
            })
    }

    /// The first or the last whole second of the window, Unix seconds; `now` (microseconds) where it is open there.
    pub(crate) fn edge_second(&self, earliest: bool, now: i64) -> i64 {
        if earliest {
            return first_whole_second(self.from.unwrap_or(now));
        }
        let last = last_whole_second(self.to.unwrap_or(now));
        last.max(self.from.map_or(i64::MIN, first_whole_second))
    }
}

/// Fields of a session that filters test.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BemoFilterFields<'a> {
    #[serde(borrow)]
    vehicle_id: Option<BemoText<'a>>,
    #[serde(borrow)]
    country_code: Option<BemoText<'a>>,
    #[serde(borrow)]
    time_zone: Option<BemoText<'a>>,
}

impl<'a> BemoFilterFields<'a> {
    /// Parses a body; empty where a field has another shape than the document's.
    fn read(body: &'a [u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// `+01:00` in microseconds; zero for anything else.
    fn offset(&self) -> i64 {
        let read = || {
            let text = self.time_zone.as_deref()?;
            let sign = if text.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = text.get(1..)?.split_once(':')?;
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            Some(sign * minutes * 60_000_000)
        };
        read().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READING: BemoListRules = BemoListRules {
        first_page: 0,
        largest: 1000,
        narrow_days: false,
    };

    fn parse(
        query: &str,
        reading: BemoListRules,
    ) -> Result<(BemoListQuery, BemoPageRange), String> {
        BemoListQuery::parse(
            &tillhouse_emulator::query::decode(query).unwrap(),
            0,
            reading,
        )
    }

    #[test]
    fn days_are_whole_and_the_last_one_is_in_unless_told() {
        let (question, cut) = parse("from=1970-01-01&to=1970-01-02", READING).unwrap();
        assert_eq!((question.from, question.to), (Some(0), Some(2 * DAY)));
        assert_eq!((cut.page, cut.limit), (0, 100));
        let narrow = BemoListRules {
            narrow_days: true,
            first_page: 1,
            ..READING
        };
        let (question, cut) =
            parse("from=1970-01-01&to=1970-01-02&offset=3&limit=5000", narrow).unwrap();
        assert_eq!((question.to, cut.page, cut.limit), (Some(DAY), 2, 1000));
        assert_eq!(
            (
                question.edge_second(true, 0),
                question.edge_second(false, 0)
            ),
            (0, 86_399)
        );
    }

    #[test]
    fn what_is_no_date_and_no_number_is_named() {
        for bad in [
            "2026-1-1",
            "20260101",
            "2026-02-30",
            "2026-01-01T00:00:00Z",
            "yesterday",
        ] {
            let message = parse(&format!("from={bad}"), READING).unwrap_err();
            assert_eq!(message, "from must be a valid date (YYYY-MM-DD)");
        }
        assert!(parse("limit=0", READING).unwrap_err().starts_with("limit"));
        assert!(
            parse("offset=-1", READING)
                .unwrap_err()
                .starts_with("offset")
        );
        assert!(
            parse(
                "offset=0",
                BemoListRules {
                    first_page: 1,
                    ..READING
                }
            )
            .is_err()
        );
    }

    #[test]
    fn offsets_are_read_as_written() {
        let offset = |text: &str| {
            BemoFilterFields {
                time_zone: Some(text.into()),
                ..BemoFilterFields::default()
            }
            .offset()
                / 60_000_000
        };
        assert_eq!(
            [offset("+01:00"), offset("-05:30"), offset("Z"), offset("")],
            [60, -330, 0, 0]
        );
    }
}
