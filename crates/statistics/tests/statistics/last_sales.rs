//! The last sale of each site, over a real warehouse.
//!
//! Invariant: levels of days and facts say the same, to the microsecond.

use crate::fixture::{FixtureSale, FixtureTables, some};
use crate::published::{FixtureWarehouse, LATER, RUN};
use crate::rollups::all;
use tillhouse_statistics::last_sales;

fn sale(site: &str, at: &str) -> FixtureSale {
    FixtureSale {
        site: some(site),
        ..FixtureSale::new(at, 10_000)
    }
}

async fn told(place: &FixtureWarehouse) -> Vec<String> {
    let last = last_sales(&place.session().await).await.unwrap();
    last.iter()
        .map(|(site, at)| format!("{site} {at}"))
        .collect()
}

#[tokio::test]
async fn the_last_sale_of_a_site_is_the_same_from_levels_and_from_facts() {
    let mut sales = vec![
        sale("p:a", "2026-01-05T10:20:00Z"),
        sale("p:a", "2026-01-06T23:59:59.999999Z"),
        sale("p:a", "2026-01-06T00:00:00Z"),
        // The day before that of another, and one of another month.
        sale("p:b", "2026-01-05T07:00:00Z"),
        sale("p:c", "2025-06-30T23:30:00Z"),
    ];
    // What is no sale that counts, at sites that have one and at one that has none.
    for (site, at) in [
        ("p:a", "2026-01-08T00:00:00Z"),
        ("p:d", "2026-01-05T08:00:00Z"),
    ] {
        for (perspective, kind, state) in [
            ("sale", "sale", "declined"),
            ("sale", "refund", "completed"),
            ("sale", "test", "completed"),
            ("purchase", "sale", "completed"),
        ] {
            sales.push(FixtureSale {
                perspective: perspective.to_owned(),
                kind: kind.to_owned(),
                state: some(state),
                ..sale(site, at)
            });
        }
    }
    // Of a site that nobody named, and one for each of so many months that one query does not name them all.
    sales.push(FixtureSale::new("2026-01-09T00:00:00Z", 10_000));
    let mut expected = vec![
        "p:a 2026-01-06T23:59:59.999999Z".to_owned(),
        "p:b 2026-01-05T07:00:00Z".to_owned(),
        "p:c 2025-06-30T23:30:00Z".to_owned(),
    ];
    for year in 2016..2020 {
        for month in 1..=12 {
            let (site, at) = (
                format!("p:m{year}{month:02}"),
                format!("{year}-{month:02}-15T12:00:00Z"),
            );
            expected.push(format!("{site} {at}"));
            sales.push(sale(&site, &at));
        }
    }
    let house = FixtureTables {
        sales,
        ..FixtureTables::default()
    };
    let place = FixtureWarehouse::new().await;
    place.replace(&house, &all(&house), None, 1).await;
    place.publish_tables(place.versions().await, RUN).await;
    assert_eq!(told(&place).await, expected, "from facts");
    place.roll(LATER).await;
    assert_eq!(told(&place).await, expected, "from levels");
}
