//! Filters: any descriptor over any rows gives the same as a plain-loop reading of the documented meaning.
//!
//! Invariant: what passes is judged by [`crate::world`] alone; the crate is then asked for the figures of everything with the filter, and
//! of what passes without one, and both answers must be the same in every part.

use crate::published::{FixtureWarehouse, RUN};
use crate::world::{self, DAY, OracleWorld, key};
use crate::{fixture::window, world::filter};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use tillhouse_model::{ErrorKind, Filter};
use tillhouse_query::Session;
use tillhouse_statistics::{
    CheckedFilter, StatisticsFigures, StatisticsRequest, figures, statistics,
};

/// The zone in which dates in these filters are cut.
const ZONE: &str = "+01:00";

fn request(filter: Option<CheckedFilter>) -> StatisticsRequest {
    StatisticsRequest {
        filter,
        ..StatisticsRequest::new(window(DAY.0, DAY.1))
    }
}

fn selection(json: &str) -> tillhouse_model::Result<CheckedFilter> {
    CheckedFilter::new(&Filter::parse(json)?, ZONE, Some(&key()))
}

async fn ask(session: &Session, filter: Option<CheckedFilter>) -> StatisticsFigures {
    figures(session, &request(filter)).await.unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_filter_over_any_rows_is_the_plain_loops(world in world::world(), filter in filter()) {
        match CheckedFilter::new(&filter, ZONE, Some(&key())) {
            Err(error) => {
                prop_assert!(world.passing(&filter).is_none(), "{}", error);
                prop_assert_eq!(error.kind(), ErrorKind::Config);
                prop_assert!(error.hint_text().is_some(), "{}", error);
            }
            Ok(selection) => {
                let kept = world.passing(&filter);
                prop_assert!(kept.is_some(), "this should have been refused");
                let kept = kept.unwrap();
                let found = run(ask(&world.session(), Some(selection)));
                let wanted = run(ask(&kept.session(), None));
                prop_assert_eq!(found, wanted, "{} of {} pass", kept.sales.len(), world.sales.len());
            }
        }
    }
}

/// Files, row groups and statistics of files take part as well: a filter must not lose what a file is thought not to hold.
#[tokio::test(flavor = "multi_thread")]
async fn tables_on_disk_pass_the_same() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let worlds = prop::collection::vec(world::world(), 6)
        .new_tree(&mut runner)
        .unwrap()
        .current();
    let mut world: OracleWorld = worlds[0].clone();
    world.sales = worlds.into_iter().flat_map(|world| world.sales).collect();
    world.number();
    let place = FixtureWarehouse::new().await;
    for (table, contract, key) in world::TABLES {
        for pipeline in ["p", "pp"] {
            let rows = format!(
                "SELECT *, {key} AS _record_key, to_timestamp_micros(0) AS _record_time FROM unified.{table}
                 WHERE pipeline = '{pipeline}'"
            );
            place
                .fill_from(&world.session(), pipeline, contract, &rows, 1)
                .await;
        }
    }
    place
        .publish_of(&["p", "pp"], RUN, "2026-02-01T00:00:00Z")
        .await;
    let session = place.session().await;
    let mut compared = 0;
    for _ in 0..250 {
        let filter = filter().new_tree(&mut runner).unwrap().current();
        let Ok(selection) = CheckedFilter::new(&filter, ZONE, Some(&key())) else {
            continue;
        };
        let kept = world.passing(&filter).unwrap();
        let found = ask(&session, Some(selection)).await;
        assert_eq!(
            found,
            ask(&kept.session(), None).await,
            "{}",
            serde_json::to_string(&filter).unwrap()
        );
        compared += usize::from(!kept.sales.is_empty() && kept.sales.len() < world.sales.len());
    }
    assert!(
        compared >= 40,
        "only {compared} of the filters told some rows from others"
    );

    let plate =
        selection(r#"{"field": "license_plate", "operator": "neq", "value": "KA-XY 1"}"#).unwrap();
    let answer = statistics(&session, &place.warehouse, &request(Some(plate)))
        .await
        .unwrap();
    let meta = serde_json::to_value(&answer.meta).unwrap();
    let token = world::key().pseudonym(tillhouse_model::table::ValueNormalisation::Plate, "kaxy1");
    let asked = json!({"field": "license_plate", "operator": "neq", "value": token});
    assert_eq!(
        meta["filter"], asked,
        "a plate is not repeated in the answer"
    );
    assert_eq!(meta["compare"], "previous");
    assert_eq!(
        meta["compared"],
        json!({"from": "2026-01-14T00:00:00Z", "to": "2026-01-15T00:00:00Z"})
    );
}

#[test]
fn what_cannot_be_asked_is_said_with_what_can() {
    for (json, message, hint) in [
        (
            r#"{"field": "amout", "operator": "eq", "value": 1}"#,
            "no field \"amout\" to filter by, did you mean amount",
            "site_name",
        ),
        (
            r#"{"field": "pin", "operator": "eq", "value": "1"}"#,
            "no field \"pin\"",
            "customer_odometer",
        ),
        (
            r#"{"field": "amount", "operator": "eq", "value": "ten"}"#,
            "amount is a number, and the filter's value is text",
            "without quotes",
        ),
        (
            r#"{"field": "amount", "operator": "contains", "value": "1"}"#,
            "contains works on text, and amount is a number",
            "eq, neq, isnull",
        ),
        (
            r#"{"field": "site_name", "operator": "eq", "value": 7}"#,
            "site_name is text, and the filter's value is a number",
            "in quotes",
        ),
        (
            r#"{"field": "site_name", "operator": "contains", "value": true}"#,
            "true or false",
            "in quotes",
        ),
        (
            r#"{"field": "point_number", "operator": "gt", "value": false}"#,
            "text or a number",
            "\"A3\"",
        ),
        (
            r#"{"field": "local_hour", "operator": "gt", "value": "7"}"#,
            "a whole number",
            "12.5",
        ),
        (
            r#"{"field": "created_at", "operator": "gt", "value": "31.01.2026"}"#,
            "\"31.01.2026\" is neither a date nor a time (field created_at)",
            "2026-01-31",
        ),
        (
            r#"{"field": "created_at", "operator": "gt", "value": 5}"#,
            "created_at is an instant",
            "2026-01-31T12:00:00Z",
        ),
        (
            r#"{"field": "business_date", "operator": "gt", "value": "2026-01-31T00:00:00Z"}"#,
            "is no date",
            "2026-01-31",
        ),
        (
            r#"{"field": "license_plate", "operator": "contains", "value": "KA"}"#,
            "contains cannot be asked of license_plate: it is stored as a pseudonym",
            "eq, neq, isnull, isnotnull, isempty",
        ),
        (
            r#"{"field": "card_driver_number", "operator": "lt", "value": "KA"}"#,
            "lt cannot be asked of card_driver_number",
            "eq, neq",
        ),
        (
            r#"{"field": "license_plate", "operator": "eq", "value": 7}"#,
            "license_plate is text, and the filter's value is a number",
            "quotes",
        ),
    ] {
        let error = selection(json).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{json}");
        assert!(error.to_string().contains(message), "{json}: {error}");
        assert!(
            error.hint_text().unwrap().contains(hint),
            "{json}: {:?}",
            error.hint_text()
        );
        assert!(!format!("{error:?}").contains("KA\""), "{error:?}");
    }
}

#[test]
fn a_pseudonym_needs_the_key_or_is_given_as_it_is() {
    let filter = |value: &str| {
        Filter::parse(&format!(
            r#"{{"field": "license_plate", "operator": "eq", "value": "{value}"}}"#
        ))
        .unwrap()
    };
    let error = CheckedFilter::new(&filter("KA-XY 1"), "UTC", None).unwrap_err();
    assert!(
        error.hint_text().unwrap().contains("privacy_key"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("KA-XY"), "{error:?}");
    let token = key().pseudonym(tillhouse_model::table::ValueNormalisation::Plate, "KA-XY 1");
    let as_it_is = CheckedFilter::new(&filter(&token), "UTC", None).unwrap();
    let spelled = CheckedFilter::new(&filter("ka xy-1"), "UTC", Some(&key())).unwrap();
    assert_eq!(as_it_is, spelled, "spellings of one plate meet");
    assert!(!format!("{spelled:?}").contains("ka xy"), "{spelled:?}");
}

#[test]
fn the_largest_filter_is_answered() {
    let mut runner = TestRunner::deterministic();
    let world = world::world().new_tree(&mut runner).unwrap().current();
    let test = |i: usize| {
        format!(r#"{{"field":"point_name","operator":"doesnotcontain","value":"x{i}"}}"#)
    };
    let wide = format!(
        r#"{{"logic":"and","filters":[{}]}}"#,
        (0..999).map(test).collect::<Vec<_>>().join(",")
    );
    let deep = format!(
        "{}{}{}",
        r#"{"logic":"or","filters":["#.repeat(31),
        test(0),
        "]}".repeat(31)
    );
    for json in [wide, deep] {
        let filter = Filter::parse(&json).unwrap();
        let kept = world.passing(&filter).unwrap();
        let found = run(ask(&world.session(), Some(selection(&json).unwrap())));
        assert_eq!(found, run(ask(&kept.session(), None)));
    }
}

#[test]
fn a_house_without_dimensions_or_columns_reads_them_as_null() {
    let house = crate::fixture::FixtureTables {
        sales: vec![crate::fixture::FixtureSale::new(DAY.0, 10_000)],
        ..crate::fixture::FixtureTables::default()
    };
    let counted = |json: &str| {
        let found = run(ask(&house.session(), Some(selection(json).unwrap())));
        found
            .data
            .first()
            .map_or(0, |entry| entry.transactions_count.value)
    };
    for field in [
        "device_name",
        "point_number",
        "license_plate",
        "customer_odometer",
        "created_at",
        "cost_center",
        "point_id",
    ] {
        assert_eq!(
            counted(&format!(r#"{{"field": "{field}", "operator": "isnull"}}"#)),
            1,
            "{field}"
        );
        assert_eq!(
            counted(&format!(
                r#"{{"field": "{field}", "operator": "isnotnull"}}"#
            )),
            0,
            "{field}"
        );
    }
    assert_eq!(
        counted(r#"{"field": "site_name", "operator": "doesnotcontain", "value": "x"}"#),
        1
    );
}
