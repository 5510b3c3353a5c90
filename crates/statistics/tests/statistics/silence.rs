//! Sites that fell silent, over a real warehouse.
//!
//! Invariant: levels by the hour and facts say the same, and nothing behind the end of what was read is looked at.

use crate::fixture::{FixtureSale, FixtureTables, some, t, window};
use crate::published::{FixtureWarehouse, LATER, RUN, slice};
use crate::rollups::all;
use jiff::SignedDuration;
use tillhouse_lake::SliceRow;
use tillhouse_statistics::{PlaceKind, StatisticsRequest, find_silence};

/// A sale an hour at a site, from 25 October 2026 to an hour, which is the last.
fn hourly(site: &str, last: &str, state: &str) -> Vec<FixtureSale> {
    let (mut at, last) = (t("2026-10-25T00:20:00Z"), t(last));
    let mut sales = Vec::new();
    while at < last + SignedDuration::from_hours(1) {
        sales.push(FixtureSale {
            site: some(site),
            state: some(state),
            ..FixtureSale::new(&at.to_string(), 10_000)
        });
        at += SignedDuration::from_hours(1);
    }
    sales
}

async fn silent(place: &FixtureWarehouse, kind: PlaceKind) -> Vec<String> {
    let session = place.session().await;
    // Its window does not count.
    let request = StatisticsRequest::new(window("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"));
    let report = find_silence(&session, &place.warehouse, &request, kind)
        .await
        .unwrap();
    let until = report.read_until.get("p").map(ToString::to_string);
    assert_eq!(until.as_deref(), Some("2026-11-10T00:00:00Z"));
    let places = report.places.iter();
    places
        .map(|of| {
            format!(
                "{} {} {} {} {}",
                of.pipeline, of.key, of.last_hour, of.silent_hours, of.usual_hours
            )
        })
        .collect()
}

#[tokio::test]
async fn sites_that_fell_silent_are_the_same_from_levels_and_from_facts() {
    let mut sales = hourly("p:a", "2026-11-05T12:00:00Z", "completed");
    // Declined sales are none, and what came after the end of what was read does not count.
    sales.extend(hourly("p:a", "2026-11-09T23:00:00Z", "declined"));
    sales.extend(hourly("p:a", "2026-11-10T00:00:00Z", "completed").pop());
    sales.extend(hourly("p:b", "2026-11-09T23:00:00Z", "completed"));
    // Half of the hours of a day, and silent for less than twice the night.
    let nightly = hourly("p:c", "2026-11-09T11:00:00Z", "completed").into_iter();
    sales.extend(
        nightly
            .enumerate()
            .filter(|(at, _)| at % 24 < 12)
            .map(|(_, sale)| sale),
    );
    // Too few to say.
    sales.extend(hourly("p:d", "2026-10-25T04:00:00Z", "completed"));
    sales.extend(hourly("p:e", "2026-11-09T17:00:00Z", "completed"));
    sales.extend(hourly("p:f", "2026-11-09T16:00:00Z", "completed"));
    let house = FixtureTables {
        sales,
        ..FixtureTables::default()
    };
    let place = FixtureWarehouse::new().await;
    place.replace(&house, &all(&house), None, 1).await;
    let read = SliceRow {
        pipeline: "p".into(),
        read_at: t("2026-11-10T00:30:00Z"),
        ..slice("2026-08-01T00:00:00Z", "2026-11-10T00:00:00Z", RUN)
    };
    let ops = place.warehouse.ops();
    ops.record_slices(std::slice::from_ref(&read))
        .await
        .unwrap();
    let expected = [
        "p p:a 2026-11-05T12:00:00Z 107 0",
        "p p:f 2026-11-09T16:00:00Z 7 0",
        "p p:e 2026-11-09T17:00:00Z 6 0",
    ];
    place.publish_tables(place.versions().await, RUN).await;
    assert_eq!(
        silent(&place, PlaceKind::Site).await,
        expected,
        "from facts"
    );
    assert!(silent(&place, PlaceKind::Device).await.is_empty());
    let again = SliceRow {
        run_id: LATER.into(),
        ..read
    };
    ops.record_slices(&[again]).await.unwrap();
    place.roll(LATER).await;
    assert_eq!(
        silent(&place, PlaceKind::Site).await,
        expected,
        "from levels"
    );
}
