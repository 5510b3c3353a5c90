//! Roll-ups of other editions, and of other facts than a run names: an earlier program that works on a warehouse for a while leaves no figure wrong.
//!
//! Invariant: what a level does not stand for is counted from the facts, and the next run counts it anew.

use crate::fixture::window;
use crate::published::{FixtureWarehouse, LATER, RUN};
use crate::rollups::{all, both, every_request, kathmandu, lines};
use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::Schema;
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_lake::PeriodWidth;
use tillhouse_statistics::{StatisticsRequest, rollup_table, statistics};

const AFTERWARDS: &str = "20261114T000000Z-eeeeee";
const AT_LAST: &str = "20261115T000000Z-ffffff";

/// The table of roll-ups as an earlier program leaves it: of an earlier edition, without a column that was added since, and counted from what there is. It has
/// one row, which is wrong, so that it shows if it is asked; the rows of all other levels are gone. The tables that a run names then.
async fn with_earlier_roll_ups(
    place: &FixtureWarehouse,
    (edition, without): (u32, &str),
) -> BTreeMap<String, u64> {
    let (table, schema) = rollup_table();
    let fields = schema.fields().iter().cloned();
    let fields = fields.filter(|field| field.name() != without);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let sql = "SELECT to_timestamp_micros(1790812800000000) AS period_start, 'p' AS pipeline, 'hecone' AS source, 'sale' AS perspective,
                      'sale' AS kind, 'completed' AS state, 'EUR' AS currency, 99 AS transactions, 99 AS amount,
                      'monthly_transactions' AS level, '2026' AS period";
    let session = place.engine.empty_session().unwrap();
    let rows = session.query(sql).await.unwrap().map_ok(|batch| {
        let columns =
            schema
                .fields()
                .iter()
                .map(|field| match batch.column_by_name(field.name()) {
                    Some(column) => cast(column, field.data_type()).unwrap(),
                    None => new_null_array(field.data_type(), 1),
                });
        RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
    });
    let rows: Vec<RecordBatch> = rows.try_collect().await.unwrap();
    let mut tables = place.versions().await;
    let sources = ["transactions", "articles", "payments"];
    let counted = sources.map(|name| (name.to_owned(), tables[&format!("unified/{name}")]));
    let old = place
        .warehouse
        .range_table(table, schema.clone(), "period_start", &sources, edition);
    let old = old.with_level("monthly_transactions", PeriodWidth::Year);
    let rows = futures::stream::iter(rows.into_iter().map(Ok)).boxed();
    let done = old
        .replace_all(&BTreeMap::new(), &BTreeMap::from(counted), rows, RUN)
        .await
        .unwrap()
        .unwrap();
    tables.insert(format!("statistics/{table}"), done.version);
    tables
}

#[tokio::test]
async fn roll_ups_of_an_earlier_edition_are_not_asked_and_then_counted_anew() {
    for without in ["without_amount", "business_date", "none"] {
        let place = FixtureWarehouse::new().await;
        let mut house = kathmandu();
        house.sales[2].amount = None;
        place.replace(&house, &all(&house), None, 1).await;
        let tables = with_earlier_roll_ups(&place, (3, without)).await;
        place.publish_tables(tables, RUN).await;

        let asked = StatisticsRequest::new(window("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"));
        let day = StatisticsRequest::new(window("2026-10-24T00:00:00Z", "2026-10-25T00:00:00Z"));
        for request in [&asked, &day] {
            let session = place.session().await;
            assert_eq!(both(&place, &session, request).await, "facts", "{without}");
        }
        place.roll(LATER).await;
        let session = place.session().await;
        assert_eq!(both(&place, &session, &day).await, "levels");
        assert_eq!(both(&place, &session, &asked).await, "levels");
        let answer = statistics(&session, &place.warehouse, &asked)
            .await
            .unwrap();
        assert_eq!(
            answer.meta.answered_from,
            "monthly_transactions, daily_transaction_totals, monthly_article_totals, monthly_payment_totals"
        );
        assert_eq!(
            (
                answer.data[0].transactions_count.value,
                answer.meta.transactions_without_amount
            ),
            (3, 1)
        );
        every_request(&place).await;
    }
}

#[tokio::test]
async fn an_earlier_program_that_ran_for_a_while_leaves_no_level_too_low() {
    let day = StatisticsRequest::new(window("2026-10-24T00:00:00Z", "2026-10-25T00:00:00Z"));
    // It finds sales that changed, or none.
    for has_news in [true, false] {
        let place = FixtureWarehouse::new().await;
        let mut house = kathmandu();
        place.replace(&house, &all(&house), None, 1).await;
        place.roll(RUN).await;
        let session = place.session().await;
        assert_eq!(both(&place, &session, &day).await, "levels");

        let old = house.clone();
        if has_news {
            house.sales[1].currency = Some("CHF".into());
            place.replace(&house, &[1], Some(&old), 2).await;
        }
        let tables = with_earlier_roll_ups(&place, (4, "business_date")).await;
        place.publish_tables(tables, LATER).await;
        let session = place.session().await;
        assert_eq!(both(&place, &session, &day).await, "facts", "{has_news}");

        // Back to this program, which finds nothing new itself.
        place.roll(AFTERWARDS).await;
        let session = place.session().await;
        assert_eq!(both(&place, &session, &day).await, "levels", "{has_news}");
        every_request(&place).await;
        let sql = "SELECT level, sum(articles) FROM statistics.levels WHERE articles IS NOT NULL GROUP BY level ORDER BY level";
        let levels = [
            "daily_article_totals",
            "monthly_article_totals",
            "monthly_articles",
            "yearly_article_totals",
            "yearly_articles",
        ];
        let wanted = levels.map(|level| format!("|{level}|1|"));
        assert_eq!(lines(&session, sql).await, wanted, "{has_news}");
    }
}

#[tokio::test]
async fn roll_ups_of_other_facts_than_the_run_names_are_not_asked() {
    let place = FixtureWarehouse::new().await;
    let mut house = kathmandu();
    place.replace(&house, &all(&house), None, 1).await;
    let rolled = place.publish_rolled(place.versions().await, RUN, &[]).await;
    let old = house.clone();
    house.sales[0].amount = Some(990_000);
    place.replace(&house, &[0], Some(&old), 2).await;
    let mut tables = place.versions().await;
    tables.extend(rolled);
    place.publish_tables(tables, LATER).await;
    let asked = StatisticsRequest::new(window("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"));
    let session = place.session().await;
    assert_eq!(both(&place, &session, &asked).await, "facts");
    place.roll(AT_LAST).await;
    let session = place.session().await;
    assert_eq!(both(&place, &session, &asked).await, "levels");
}
