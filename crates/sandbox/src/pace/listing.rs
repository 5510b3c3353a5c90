//! One question to PACE's lists of transactions, and which transactions answer it.
//!
//! Invariant: a parameter that cannot be read is an error that names it, never ignored; without `page[number]` there is no paging.

use crate::record_store::{ListingOrder, SortKey, StoredRecord};
use jiff::Timestamp;
use tillhouse_emulator::query::last;
use tillhouse_emulator::{first_whole_second, last_whole_second};

/// One of the two endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaceApi {
    /// `/pay/2022-1/transactions/contracts/partners/{partner}`: windows by createdAt.
    Partner,
    /// `/pay/2025-1/transactions`: windows by createdAt or updatedAt, and more fields.
    Successor,
}

/// Comparison of an instant with a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PaceBound {
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// Parsed query of a transaction list, without the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PaceListQuery {
    pub api: PaceApi,
    pub partner: Option<u16>,
    pub order: ListingOrder,
    bounds: Vec<(SortKey, PaceBound, i64)>,
}

/// Page of a listing: its number from zero and its size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PacePageRange {
    pub number: usize,
    pub size: usize,
}

/// Error of a query that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PaceQueryError {
    pub status: u16,
    pub detail: String,
    /// The parameter at fault.
    pub parameter: String,
}

/// Transactions a page unless asked otherwise, and at most.
const USUAL: u64 = 50;
const MOST: u64 = 100;

fn refuse<T>(parameter: &str, detail: &str) -> Result<T, PaceQueryError> {
    Err(PaceQueryError {
        status: 400,
        detail: detail.into(),
        parameter: parameter.into(),
    })
}

impl PaceApi {
    /// The order that a list has where none is asked for.
    pub(crate) fn order(self) -> ListingOrder {
        match self {
            Self::Partner => ListingOrder::by(SortKey::Time, false),
            Self::Successor => ListingOrder::by(SortKey::Id, false),
        }
    }

    /// The instant of a row that windows are about, where a window may be about two.
    pub(crate) fn instant(self, row: &StoredRecord) -> Option<i64> {
        match self {
            Self::Partner => row.time,
            Self::Successor => row.stamp.or(row.time),
        }
    }
}

impl PaceListQuery {
    /// The partners' endpoint's.
    pub(crate) fn of_partner(
        partner: u16,
        pairs: &[(String, String)],
        end_included: bool,
    ) -> Result<Self, PaceQueryError> {
        let end = if end_included {
            PaceBound::AtMost
        } else {
            PaceBound::Below
        };
        let mut bounds = Vec::new();
        for (key, bound) in [("date_from", PaceBound::AtLeast), ("date_to", end)] {
            if let Some(text) = last(pairs, key) {
                bounds.push((SortKey::Time, bound, micros(key, text)?));
            }
        }
        if let [(_, _, from), (_, _, to)] = bounds[..]
            && from > to
        {
            let detail = "date_from is after date_to".into();
            return Err(PaceQueryError {
                status: 422,
                detail,
                parameter: "date_from".into(),
            });
        }
        Ok(Self {
            api: PaceApi::Partner,
            partner: Some(partner),
            order: PaceApi::Partner.order(),
            bounds,
        })
    }

    /// The successor's. `partner` finds a partner by its name.
    pub(crate) fn of_successor(
        pairs: &[(String, String)],
        partner: impl Fn(&str) -> Option<u16>,
    ) -> Result<Self, PaceQueryError> {
        let mut question = Self {
            api: PaceApi::Successor,
            partner: None,
            order: PaceApi::Successor.order(),
            bounds: Vec::new(),
        };
        for (key, text) in pairs {
            if key == "sort" {
                question.order = sorting(text)?;
            } else if key == "filter[partner]" {
                let known = partner(text);
                question.partner =
                    Some(known.map_or_else(|| refuse(key, "there is no such partner"), Ok)?);
            } else if let Some(rest) = key.strip_prefix("filter[") {
                let bound = |rest: &str| {
                    let (field, rest) = rest.split_once("][")?;
                    Some((field_of(field)?, bound_of(rest.strip_suffix(']')?)?))
                };
                let Some((field, bound)) = bound(rest) else {
                    return refuse(key, "there is no such filter");
                };
                question.bounds.push((field, bound, micros(key, text)?));
            }
        }
        Ok(question)
    }

    /// Tests whether a transaction matches the query. One without an instant is in no window.
    pub(crate) fn matches(&self, row: &StoredRecord) -> bool {
        self.partner.is_none_or(|partner| row.tenant == partner)
            && self.bounds.iter().all(|(key, bound, at)| {
                let instant = if *key == SortKey::Stamp {
                    row.stamp
                } else {
                    row.time
                };
                instant.is_some_and(|instant| match bound {
                    PaceBound::AtLeast => instant >= *at,
                    PaceBound::Above => instant > *at,
                    PaceBound::AtMost => instant <= *at,
                    PaceBound::Below => instant < *at,
                })
            })
    }

    /// The whole second at the window's end that the list begins with, Unix seconds; where the window is open there, now's.
    pub(crate) fn edge_second(&self, now: i64) -> i64 {
        let lower = |bound: &PaceBound| matches!(bound, PaceBound::AtLeast | PaceBound::Above);
        let earliest = self.order.earliest_first();
        let ends = self
            .bounds
            .iter()
            .filter(|(_, bound, _)| lower(bound) == earliest)
            .map(|(_, _, at)| *at);
        if earliest {
            first_whole_second(ends.max().unwrap_or(now))
        } else {
            last_whole_second(ends.min().unwrap_or(now))
        }
    }
}

/// `page[number]` and `page[size]`; `None` without a number, whatever the size.
pub(crate) fn page_range(
    pairs: &[(String, String)],
    largest: u32,
) -> Result<Option<PacePageRange>, PaceQueryError> {
    let Some(number) = last(pairs, "page[number]") else {
        return Ok(None);
    };
    let Ok(number) = number.parse::<u32>() else {
        return refuse(
            "page[number]",
            "page[number] must be a whole number, zero or more",
        );
    };
    let size = last(pairs, "page[size]").map_or(Ok(USUAL), str::parse);
    match size {
        Ok(size @ 1..=MOST) => {
            let size = size.min(u64::from(largest));
            Ok(Some(PacePageRange {
                number: number as usize,
                size: usize::try_from(size).unwrap_or(1),
            }))
        }
        _ => refuse(
            "page[size]",
            "page[size] must be a whole number from 1 to 100",
        ),
    }
}

fn micros(parameter: &str, text: &str) -> Result<i64, PaceQueryError> {
    match text.parse::<Timestamp>() {
        Ok(instant) => Ok(instant.as_microsecond()),
        Err(_) => refuse(
            parameter,
            &format!("{parameter} must be a date-time with an offset (RFC 3339)"),
        ),
    }
}

fn field_of(name: &str) -> Option<SortKey> {
    match name {
        "createdAt" => Some(SortKey::Time),
        "updatedAt" => Some(SortKey::Stamp),
        _ => None,
    }
}

fn bound_of(name: &str) -> Option<PaceBound> {
    match name {
        "gte" => Some(PaceBound::AtLeast),
        "gt" => Some(PaceBound::Above),
        "lte" => Some(PaceBound::AtMost),
        "lt" => Some(PaceBound::Below),
        _ => None,
    }
}

/// `id`, `createdAt`, `updatedAt`, each with '-' for descending; more than one with commas.
fn sorting(text: &str) -> Result<ListingOrder, PaceQueryError> {
    let mut keys = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (descending, name) = part
            .strip_prefix('-')
            .map_or((false, part), |name| (true, name));
        let Some(key) = field_of(name).or((name == "id").then_some(SortKey::Id)) else {
            return refuse("sort", &format!("there is no sorting by {name:?}"));
        };
        keys.push((key, descending));
    }
    Ok(if keys.is_empty() {
        PaceApi::Successor.order()
    } else {
        ListingOrder(keys)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_emulator::query::decode;

    #[test]
    fn pages_are_cut_only_by_number() {
        let cut = |query: &str| super::page_range(&decode(query).unwrap(), 100);
        assert!(cut("page[size]=10").unwrap().is_none());
        let page = cut("page[number]=2").unwrap().unwrap();
        assert_eq!((page.number, page.size), (2, 50));
        for bad in [
            "page[number]=-1",
            "page[number]=x",
            "page[number]=0&page[size]=101",
            "page[number]=0&page[size]=0",
        ] {
            assert!(cut(bad).is_err(), "{bad}");
        }
        assert_eq!(
            super::page_range(&decode("page[number]=0&page[size]=90").unwrap(), 7)
                .unwrap()
                .unwrap()
                .size,
            7
        );
    }

    #[test]
    fn unknown_filters_and_sorts_are_refused() {
        let parse = |query: &str| PaceListQuery::of_successor(&decode(query).unwrap(), |_| None);
        for bad in [
            "filter[createdAt]=2026-01-01T00:00:00Z",
            "filter[deletedAt][gte]=2026-01-01T00:00:00Z",
            "filter[createdAt][eq]=2026-01-01T00:00:00Z",
            "filter[createdAt][gte]=2026-01-01",
            "filter[partner]=nobody",
            "sort=price",
        ] {
            assert_eq!(parse(bad).unwrap_err().status, 400, "{bad}");
        }
        let question =
            parse("filter[updatedAt][gte]=1970-01-01T00:00:00.5Z&sort=-updatedAt,id").unwrap();
        assert_eq!(
            question.edge_second(9_000_000),
            8,
            "newest first, and no end"
        );
        let question = parse("filter[updatedAt][gte]=1970-01-01T00:00:00.5Z&sort=id").unwrap();
        assert_eq!(question.edge_second(9_000_000), 1);
        let question = parse("sort=-updatedAt,id").unwrap();
        assert_eq!(
            question.order,
            ListingOrder(vec![(SortKey::Stamp, true), (SortKey::Id, false)])
        );
    }
}
