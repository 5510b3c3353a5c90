//! Sites in different zones: what the site's clock shows by SQL, and hours of the day, against jiff, which goes by rules instead of a
//! table.
//!
//! Invariant: the rows of one batch are of many zones, in any order, around the moments at which clocks are hard to read.

use crate::fixture::{register, t};
use crate::oracle::{MOMENTS, ZONES};
use arrow::array::{
    ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::Window;
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session, collect};
use tillhouse_statistics::{HourGrouping, StatisticsRequest, figures};

/// A sale at a site: its time, and the site's zone as an index.
type FixtureZonedSale = (i64, usize);

fn sales() -> impl Strategy<Value = Vec<FixtureZonedSale>> {
    let at = (
        proptest::sample::select(&MOMENTS[..]),
        -30_i64 * 3_600_000_000..30 * 3_600_000_000,
    )
        .prop_map(|(moment, micros)| t(moment).as_microsecond() + micros);
    // Whole half hours are where clocks change.
    let at = (at, any::<bool>()).prop_map(|(at, exact)| {
        if exact {
            at - at.rem_euclid(1_800_000_000)
        } else {
            at
        }
    });
    prop::collection::vec((at, 0..ZONES.len()), 1..80)
}

fn session(sales: &[FixtureZonedSale]) -> Session {
    let session = QueryEngine::new(QueryEngineOptions {
        threads: 2,
        ..QueryEngineOptions::default()
    })
    .unwrap()
    .empty_session()
    .unwrap();
    let words =
        |word: &'static str| -> ArrayRef { Arc::new(StringArray::from(vec![word; sales.len()])) };
    let times: TimestampMicrosecondArray = sales.iter().map(|(at, _)| Some(*at)).collect();
    let zones: StringArray = sales.iter().map(|(_, zone)| Some(ZONES[*zone].0)).collect();
    let amounts = Decimal128Array::from(vec![10_000; sales.len()])
        .with_precision_and_scale(18, 4)
        .unwrap();
    let rows: Int64Array = (0..sales.len() as i64).map(Some).collect();
    register(
        &session,
        "read",
        vec![
            ("row", Arc::new(rows)),
            ("occurred_at", Arc::new(times.with_timezone("UTC"))),
            ("timezone", Arc::new(zones.clone())),
            ("site_key", Arc::new(zones)),
            ("amount", Arc::new(amounts)),
            ("currency", words("EUR")),
            ("kind", words("sale")),
            ("state", words("completed")),
            ("perspective", words("sale")),
        ],
    );
    session
}

fn local((at, zone): FixtureZonedSale) -> Zoned {
    Timestamp::from_microsecond(at)
        .unwrap()
        .to_zoned(TimeZone::posix(ZONES[zone].1).unwrap())
}

fn numbers<'a>(batch: &'a RecordBatch, name: &str) -> &'a Int64Array {
    batch
        .column_by_name(name)
        .unwrap()
        .as_primitive::<Int64Type>()
}

fn times<'a>(batch: &'a RecordBatch, name: &str) -> &'a TimestampMicrosecondArray {
    batch
        .column_by_name(name)
        .unwrap()
        .as_primitive::<TimestampMicrosecondType>()
}

async fn read(sales: &[FixtureZonedSale]) -> Vec<RecordBatch> {
    let sql = "SELECT row, local_hour(occurred_at, timezone) AS hour, local_date(occurred_at, timezone) AS day,
                      utc_offset_minutes(occurred_at, timezone) AS ahead, local_timestamp(occurred_at, timezone) AS wall,
                      local_hour_start(occurred_at, timezone) AS start, month_of(occurred_at) AS month
               FROM read";
    collect(session(sales).query(sql).await.unwrap())
        .await
        .unwrap()
}

/// The transactions of every site, as unify writes them: with the site's own hour.
async fn of_day(sales: &[FixtureZonedSale]) -> BTreeMap<String, i64> {
    let session = session(sales);
    let sql = "SELECT *, month_of(occurred_at) AS month, local_hour(occurred_at, timezone) AS local_hour FROM read";
    session.create_view("transactions", sql).await.unwrap();
    let window = Window::new(t("2020-01-01T00:00:00Z"), t("2200-01-01T00:00:00Z")).unwrap();
    let found = figures(
        &session,
        &StatisticsRequest {
            hours: HourGrouping::OfDay,
            ..StatisticsRequest::new(window)
        },
    )
    .await
    .unwrap();
    found.data[0]
        .hourly_transactions
        .iter()
        .map(|hour| (hour.hour.clone(), hour.transactions))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_site_has_its_own_clock(sales in sales()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let epoch = jiff::civil::date(1970, 1, 1);
        let as_utc = |wall: jiff::civil::DateTime| wall.to_zoned(TimeZone::UTC).unwrap().timestamp().as_microsecond();
        let mut seen = 0;
        for batch in runtime.block_on(read(&sales)) {
            for row in 0..batch.num_rows() {
                let sale = sales[usize::try_from(numbers(&batch, "row").value(row)).unwrap()];
                let local = local(sale);
                let shown = format!("{local}");
                prop_assert_eq!(numbers(&batch, "hour").value(row), i64::from(local.hour()), "{}", shown);
                let day = batch.column_by_name("day").unwrap().as_primitive::<Date32Type>().value(row);
                prop_assert_eq!(epoch.checked_add(i64::from(day).days()).unwrap(), local.date(), "{}", shown);
                prop_assert_eq!(numbers(&batch, "ahead").value(row), i64::from(local.offset().seconds() / 60), "{}", shown);
                prop_assert_eq!(times(&batch, "wall").value(row), as_utc(local.datetime()), "{}", shown);
                let into = i64::from(local.minute()) * 60_000_000
                    + i64::from(local.second()) * 1_000_000
                    + i64::from(local.subsec_nanosecond()) / 1000;
                let change = local.time_zone().preceding(local.timestamp() + 1.microsecond()).next();
                let changed = change.map_or(i64::MIN, |change| change.timestamp().as_microsecond());
                prop_assert_eq!(times(&batch, "start").value(row), changed.max(sale.0 - into), "{}", shown);
                let month = batch.column_by_name("month").unwrap();
                prop_assert_eq!(month.as_string::<i32>().value(row), local.timestamp().strftime("%Y-%m").to_string(), "{}", shown);
                seen += 1;
            }
        }
        prop_assert_eq!(seen, sales.len());

        let mut by_hour: BTreeMap<String, i64> = BTreeMap::new();
        for sale in &sales {
            *by_hour.entry(format!("{:02}", local(*sale).hour())).or_default() += 1;
        }
        prop_assert_eq!(runtime.block_on(of_day(&sales)), by_hour);
    }
}
