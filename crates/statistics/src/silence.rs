//! Sites and devices that fell silent: where nothing was sold for longer than is usual there.
//!
//! Invariant: silence is counted in whole hours up to the end of what was read, never up to now, so that levels by the hour and facts say the same; time that was not read is never called
//! silent.
//!
//! ```text
//!   of a pipeline    |--- 12 weeks that are looked at ----------------------------|
//!                                                                  read until ────┘
//!   of a place            |- 4 weeks: largest gap -|-- silent: longer than twice that gap, and 6 hours --|
//!                                                  └ last hour with a sale, in the last 8 weeks
//! ```
//!
//! docs/statistics.md says it for readers; keep both alike.

use crate::columns::{each_batch, integers, texts};
use crate::completeness::{AnswerCompleteness, check_completeness, pipelines};
use crate::facts::FactConditions;
use crate::request::{CheckedRequest, HourGrouping, StatisticsRequest};
use crate::rollup::{AnswerSource, Span, source_of_site_hours};
use futures::future::try_join_all;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_lake::{RunRecord, Warehouse};
use tillhouse_model::calendar::{DAY, HOUR};
use tillhouse_model::{Error, ErrorKind, Result, Window};
use tillhouse_query::Session;

/// Silence that is told, in hours, at least.
pub const LEAST_SILENCE: i64 = 6;
/// How many times as long as the largest usual gap a silence has to be, and longer.
pub const USUAL_GAPS: i64 = 2;
/// Hours with a sale that say what is usual, at least.
pub const LEAST_SELLING_HOURS: usize = 10;
/// Stretch before its last sale in which a place's usual gaps are looked for, in microseconds.
const USUAL: i64 = 28 * DAY;
/// A place that sold nothing for so long is closed, and no longer silent.
const CLOSED: i64 = 56 * DAY;

/// Kind of place that sells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// Sites, which levels tell apart.
    Site,
    /// Devices, which are counted from the facts.
    Device,
}

impl PlaceKind {
    /// The column of its key.
    fn column(self) -> &'static str {
        match self {
            Self::Site => "site_key",
            Self::Device => "device_key",
        }
    }
}

/// Places that fell silent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SilenceReport {
    /// The places, the longest silent first.
    pub places: Vec<SilentPlace>,
    /// End of what was read, by pipeline; none of one of which nothing was.
    pub read_until: BTreeMap<String, Timestamp>,
}

/// A place that fell silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentPlace {
    /// Its pipeline.
    pub pipeline: String,
    /// Its key.
    pub key: String,
    /// Start of the last hour, of UTC's, in which something was sold.
    pub last_hour: Timestamp,
    /// Whole hours since that hour, up to the end of what was read.
    pub silent_hours: i64,
    /// The most hours without a sale in the four weeks before.
    pub usual_hours: i64,
}

/// The places that fell silent by the end of what was read. The request's tenant, source, pipeline, perspective and states count; its window and its filter do not.
///
/// Errors with [`ErrorKind::Config`] when the request names something unknown, with [`ErrorKind::Query`] when the session does not read a published run.
pub async fn find_silence(
    session: &Session,
    warehouse: &Warehouse,
    request: &StatisticsRequest,
    kind: PlaceKind,
) -> Result<SilenceReport> {
    let run = session.run().ok_or_else(|| {
        Error::new(
            ErrorKind::Query,
            "silence is asked of a published run, and this session reads none",
        )
    })?;
    let reads = reads(session, warehouse, run, request).await?;
    let places = reads.iter().map(|(pipeline, read)| async move {
        let of = (pipeline.as_str(), read.until);
        let hours = selling_hours(session, request, kind, of).await?;
        let places = hours.into_iter().filter_map(|(key, hours)| {
            let silence = Silence::of(&hours, read.until)?;
            let is_read = !read.lacks((silence.last.saturating_add(HOUR), read.until));
            is_read.then_some((key, silence))
        });
        let places = places.map(|(key, silence)| {
            Ok(SilentPlace {
                pipeline: pipeline.clone(),
                key,
                last_hour: instant(silence.last)?,
                silent_hours: silence.hours,
                usual_hours: silence.usual,
            })
        });
        places.collect::<Result<Vec<_>>>()
    });
    let mut places = try_join_all(places).await?.concat();
    places.sort_by(|a, b| (b.silent_hours, &a.key).cmp(&(a.silent_hours, &b.key)));
    let ends = reads.into_iter();
    let ends = ends.map(|(pipeline, read)| Ok((pipeline, instant(read.until)?)));
    Ok(SilenceReport {
        places,
        read_until: ends.collect::<Result<_>>()?,
    })
}

fn instant(micros: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(micros)
        .map_err(|e| Error::data(format!("{micros} microseconds are no instant")).because(e))
}

/// What was read of a pipeline, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PipelineRead {
    until: i64,
    /// Stretches before that which were not read.
    unread: Vec<Span>,
}

impl PipelineRead {
    /// By its completeness in a window; `None` where nothing of the window was read.
    fn of(window: Window, found: &AnswerCompleteness) -> Option<Self> {
        let span = |window: Window| (window.from().as_microsecond(), window.to().as_microsecond());
        let gaps = found.gaps.iter().chain(&found.before_start);
        let unread: Vec<Span> = gaps.map(|gap| span(gap.window)).collect();
        let to_come = found.still_to_come.map(|rest| rest.from());
        let mut until = to_come.unwrap_or(window.to()).as_microsecond();
        // What was not read at the end is no part of it.
        while let Some((from, _)) = unread
            .iter()
            .find(|(from, to)| *from < until && until <= *to)
        {
            until = *from;
        }
        (until > window.from().as_microsecond()).then_some(Self { until, unread })
    }

    /// True if a part of a stretch was not read.
    fn lacks(&self, (from, to): Span) -> bool {
        self.unread
            .iter()
            .any(|unread| unread.0 < to && from < unread.1)
    }
}

/// What was read of each pipeline that the request is about, since 1970.
async fn reads(
    session: &Session,
    warehouse: &Warehouse,
    run: &RunRecord,
    request: &StatisticsRequest,
) -> Result<BTreeMap<String, PipelineRead>> {
    // However long ago it was read last.
    let window = Window::new(Timestamp::UNIX_EPOCH, run.finished_at)?;
    let request = StatisticsRequest {
        filter: None,
        window,
        ..request.clone()
    };
    let asked = CheckedRequest::new(&request)?;
    let request = &request;
    let reads = pipelines(session, run, &asked).await?;
    let reads = reads.into_iter().map(|pipeline| async move {
        let of_pipeline = StatisticsRequest {
            pipeline: Some(pipeline.clone()),
            ..request.clone()
        };
        let asked = CheckedRequest::new(&of_pipeline)?;
        let found = check_completeness(session, warehouse, run, &asked).await?;
        Ok::<_, Error>((pipeline, PipelineRead::of(window, &found)))
    });
    let reads = try_join_all(reads).await?.into_iter();
    Ok(reads
        .filter_map(|(pipeline, read)| Some((pipeline, read?)))
        .collect())
}

/// Starts of the hours in which each place sold something, by its key.
type SellingHours = BTreeMap<String, BTreeSet<i64>>;

/// The hours in which the places of a pipeline sold something, in the weeks that are looked at before an instant.
async fn selling_hours(
    session: &Session,
    request: &StatisticsRequest,
    kind: PlaceKind,
    (pipeline, until): (&str, i64),
) -> Result<SellingHours> {
    let mut found = SellingHours::new();
    // Whole days, since sums may be those of days.
    let start_of = |at: i64| at.saturating_sub(at.rem_euclid(DAY));
    let span = (
        start_of(until.saturating_sub(CLOSED + USUAL)),
        start_of(until.saturating_add(DAY - 1)),
    );
    let request = StatisticsRequest {
        filter: None,
        pipeline: Some(pipeline.to_owned()),
        ..request.clone()
    };
    let question = CheckedRequest::new(&request)?;
    let source = match kind {
        PlaceKind::Site => source_of_site_hours(session).await?,
        PlaceKind::Device => AnswerSource::Facts,
    };
    let (schema, table) = source.table("transactions");
    if !session.has_table(schema, table).await? {
        return Ok(found);
    }
    let columns = source.hours(HourGrouping::Timeline);
    let time = match source.is_counted() {
        true => "occurred_at",
        false => "local_hour_start(occurred_at, 'UTC')",
    };
    let sums = columns.iter();
    let sums: Vec<String> = sums
        .map(|column| format!(", sum({column}) AS {column}"))
        .collect();
    let sums = sums.concat();
    let conditions = FactConditions::of_source(&question, span, source);
    let place = kind.column();
    let sql = format!(
        "SELECT {place} AS place, CAST({time} AS BIGINT) AS begins{sums} FROM {} WHERE {} AND {} AND {place} IS NOT NULL
         GROUP BY {place}, {time}",
        source.relation("transactions"),
        conditions.sql,
        question.counted_sql("state")
    );
    each_batch(session, &sql, &conditions.params, |batch| {
        let (places, starts) = (texts(batch, "place")?, integers(batch, "begins")?);
        let counts = columns.iter().map(|column| integers(batch, column));
        let counts = counts.collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let (Some(place), Some(start)) = (places.get(row), starts.get(row)) else {
                continue;
            };
            let hours = found.entry(place.to_owned()).or_default();
            if counts.is_empty() {
                hours.insert(start);
            }
            let counted = (0..).zip(&counts);
            let counted = counted.filter(|(_, counts)| counts.get(row).unwrap_or(0) > 0);
            hours.extend(counted.map(|(hour, _)| start.saturating_add(hour * HOUR)));
        }
        Ok(())
    })
    .await?;
    Ok(found)
}

/// Silence of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Silence {
    /// Start of the last hour with a sale, in microseconds.
    last: i64,
    /// Whole hours since then.
    hours: i64,
    /// The most hours between two with a sale.
    usual: i64,
}

impl Silence {
    /// Silence at an instant, by the starts of the hours with a sale; `None` where it is not silent, closed, or sold too little to say.
    fn of(hours: &BTreeSet<i64>, until: i64) -> Option<Self> {
        let last = *hours.range(..until).next_back()?;
        if last < until.saturating_sub(CLOSED) {
            return None;
        }
        let usual: Vec<i64> = hours
            .range(last.saturating_sub(USUAL)..=last)
            .copied()
            .collect();
        if usual.len() < LEAST_SELLING_HOURS {
            return None;
        }
        let between = |from: i64, to: i64| (to - from).div_euclid(HOUR) - 1;
        let gaps = usual.windows(2).map(|pair| match pair {
            [from, to] => between(*from, *to),
            _ => 0,
        });
        let silence = Self {
            last,
            hours: between(last, until),
            usual: gaps.max().unwrap_or(0),
        };
        let is_silent =
            silence.hours >= LEAST_SILENCE && silence.hours > USUAL_GAPS * silence.usual;
        is_silent.then_some(silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ReportedGap;
    use std::collections::HashSet;

    /// The same, hour by hour.
    fn by_a_plain_loop(hours: &BTreeSet<i64>, until: i64) -> Option<Silence> {
        let sold: HashSet<i64> = hours.iter().map(|at| at / HOUR).collect();
        let end = until / HOUR;
        // The hour that is not over may have a sale.
        let begun = if until % HOUR == 0 { end - 1 } else { end };
        let mut last = None;
        for hour in (end - 24 * 7 * 30)..=begun {
            if sold.contains(&hour) {
                last = Some(hour);
            }
        }
        let last = last?;
        if last * HOUR < until - 8 * 7 * 24 * HOUR {
            return None;
        }
        let (mut selling, mut gap, mut largest) = (0, 0, 0);
        for hour in (last - 4 * 7 * 24)..=last {
            match sold.contains(&hour) {
                true => {
                    if selling > 0 && gap > largest {
                        largest = gap;
                    }
                    (selling, gap) = (selling + 1, 0);
                }
                false => gap += 1,
            }
        }
        let mut silent = 0;
        for _ in (last + 1)..end {
            silent += 1;
        }
        let is_silent = selling >= 10 && silent >= 6 && silent > 2 * largest;
        is_silent.then_some(Silence {
            last: last * HOUR,
            hours: silent,
            usual: largest,
        })
    }

    #[test]
    fn silence_is_what_a_plain_loop_over_hours_finds() {
        // A generator of Lehmer's, for the same numbers on every machine.
        let mut state: u64 = 7;
        let mut below = |most: u64| {
            state = state * 48_271 % 2_147_483_647;
            i64::try_from(state % most).unwrap()
        };
        let first: i64 = 490_000;
        let (mut silent, mut others) = (0, 0);
        for _ in 0..400 {
            let pace = 1 + below(30);
            let mut hours = BTreeSet::new();
            let mut hour = first;
            for _ in 0..(5 + below(160)) {
                hour += 1 + below(u64::try_from(pace).unwrap());
                hours.insert(hour * HOUR);
            }
            let ends = [below(12), below(80), below(2_000)];
            for until in ends {
                let until = (hour + until) * HOUR + below(2) * HOUR / 2;
                let found = Silence::of(&hours, until);
                assert_eq!(found, by_a_plain_loop(&hours, until), "{hours:?} {until}");
                match found {
                    Some(_) => silent += 1,
                    None => others += 1,
                }
            }
        }
        assert!(silent > 100 && others > 100, "{silent} {others}");
    }

    #[test]
    fn a_night_is_no_silence_where_nights_are_usual() {
        // From six to twenty-two, for thirty days.
        let hours: BTreeSet<i64> = (0..30 * 24)
            .filter(|hour| (6..22).contains(&(hour % 24)))
            .map(|hour| hour * HOUR)
            .collect();
        let day = |hours: i64| 30 * DAY + hours * HOUR;
        for (until, silent) in [
            (6, None),
            (12, None),
            (14, None),
            (15, Some(17)),
            (40, Some(42)),
        ] {
            let found = Silence::of(&hours, day(until));
            assert_eq!(found.map(|found| found.hours), silent, "{until}");
            assert!(found.is_none_or(|found| found.usual == 8));
        }
        assert_eq!(Silence::of(&hours, day(0) + CLOSED), None, "closed");
        assert_eq!(Silence::of(&BTreeSet::new(), day(0)), None);
    }

    #[test]
    fn what_was_not_read_is_no_silence() {
        let t = |text: &str| text.parse::<Timestamp>().unwrap();
        let window = |from: &str, to: &str| Window::new(t(from), t(to)).unwrap();
        let gap = |from: &str, to: &str| ReportedGap {
            pipeline: "p".into(),
            resource: "sales".into(),
            tenant: None,
            window: window(from, to),
            read_by: None,
        };
        let asked = window("2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z");
        let found = AnswerCompleteness {
            gaps: vec![
                gap("2026-01-10T00:00:00Z", "2026-01-11T00:00:00Z"),
                // Two at the end, one before the other.
                gap("2026-02-20T00:00:00Z", "2026-02-25T00:00:00Z"),
                gap("2026-02-25T00:00:00Z", "2026-02-28T00:00:00Z"),
            ],
            still_to_come: Some(window("2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z")),
            ..AnswerCompleteness::default()
        };
        let read = PipelineRead::of(asked, &found).unwrap();
        assert_eq!(read.until, t("2026-02-20T00:00:00Z").as_microsecond());
        let lacks = |from: &str| read.lacks((t(from).as_microsecond(), read.until));
        assert!(lacks("2026-01-10T23:00:00Z") && !lacks("2026-01-11T00:00:00Z"));
        let nothing = AnswerCompleteness {
            gaps: vec![gap("2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z")],
            ..AnswerCompleteness::default()
        };
        assert_eq!(PipelineRead::of(asked, &nothing), None);
    }
}
