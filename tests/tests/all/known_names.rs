//! Names of sites and products that one sale tells and a later one lacks.
//!
//! Invariant: what stands in for a name never takes the place of one that was told, in whichever order sales are read.

use crate::canned_project::{CannedProject, SOURCES};
use tillhouse_pipeline::{IfRunning, rebuild};

/// Replaces the records that a project's source has.
fn give(bench: &CannedProject, resource: &str, key: &str, records: &[String]) {
    let page = format!(r#"{{"{key}":[{}]}}"#, records.join(","));
    let pages = std::collections::BTreeMap::from([(resource, page)]);
    let file = bench.context.project.dir.join("pages.json");
    std::fs::write(file, serde_json::to_string(&pages).unwrap()).unwrap();
}

/// A PACE transaction at one site, on a day of January.
fn sale(day: u8, station: Option<&str>) -> String {
    let station = station.map_or(String::new(), |name| format!(r#""stationName":"{name}","#));
    format!(
        r#"{{"id":"{day}","attributes":{{"createdAt":"2026-01-{day:02}T12:00:00Z","priceIncludingVAT":1.5,"currency":"EUR",
        "location":{{{station}"brand":"JET","address":{{"street":"Ring","houseNo":"1","postalCode":"1","city":"Bern","countryCode":"CH"}}}}}}}}"#
    )
}

/// Day of January and station of a sale.
type Sale = (u8, Option<&'static str>);

#[tokio::test(flavor = "multi_thread")]
async fn a_station_keeps_its_name_where_a_later_sale_tells_none() {
    let names = "SELECT name FROM sites";
    let steps: [(Vec<Sale>, &str); 4] = [
        // Until somebody tells the name, brand and address stand in for it.
        (vec![(10, None), (11, None)], "JET Bern Ring 1"),
        (vec![(12, Some("Ringtank"))], "Ringtank"),
        (vec![(20, None)], "Ringtank"),
        // In one reading too, and told anew.
        (
            vec![(21, Some("Ring Ost")), (22, None), (5, None)],
            "Ring Ost",
        ),
    ];
    let bench = CannedProject::new("pace", &[("transactions", vec![])], "").await;
    let mut all = Vec::new();
    for (sales, wanted) in steps {
        all.extend(sales.iter().map(|(day, station)| sale(*day, *station)));
        give(&bench, "transactions", "data", &all);
        bench.sync().await;
        assert_eq!(bench.rows(names).await, [wanted], "{sales:?}");
    }
    let pipelines = bench.context.project.pipelines(&[], SOURCES).unwrap();
    rebuild(&bench.context, &pipelines, IfRunning::Fail)
        .await
        .unwrap();
    assert_eq!(bench.rows(names).await, ["Ring Ost"]);
}

/// A be-mo session of one purchase, on a day of January.
fn session(day: u8, family: Option<&str>) -> String {
    let family = family.map_or("null".to_owned(), |name| format!("\"{name}\""));
    format!(
        r#"{{"sessionId":"{day}","sessionStartDate":"2026-01-{day:02}T12:00:00Z","timeZone":"+01:00","transactions":[
        {{"productCategory":"Fueling","productFamily":{family},"productCode":"B7","quantity":1,"quantityUnit":"L","currencyKey":"EUR","totalAmount":1.5}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_keeps_its_name_where_a_later_session_tells_its_code_alone() {
    let bench = CannedProject::new("bemo", &[("sessions", vec![])], "").await;
    let mut all = Vec::new();
    for (day, family, wanted) in [
        (10, None, "B7 none"),
        (11, Some("Diesel"), "B7 Diesel"),
        (20, None, "B7 Diesel"),
        (9, None, "B7 Diesel"),
    ] {
        all.push(session(day, family));
        give(&bench, "sessions", "data", &all);
        bench.sync().await;
        let names = bench
            .rows("SELECT code, coalesce(name, 'none') FROM products")
            .await;
        assert_eq!(names, [wanted], "{day}");
    }
    // A line without a family has its code for a name, as it came.
    let lines = "SELECT name, count(*) FROM articles GROUP BY 1 ORDER BY 1";
    assert_eq!(bench.rows(lines).await, ["B7 3", "Diesel 1"]);
}
