//! The law of catching up: which steps a table takes, and where it goes on after a crash.
//!
//! Invariant: a table that was caught up with has the rows of the newest versions, whatever came in between.

use super::super::scripted_statements::{
    ARTICLES, JOINED, SITES, TRANSACTIONS, catch_up, land, land_of, pipeline, progress, rows,
};
use super::*;
use crate::config::{ChildLink, ChildResource};
use crate::scripted_source::{CLOCKS, PAYMENTS, SALES, ScriptedRun, sale};
use tillhouse_model::Resource;

fn changed(id: &str, hour: u8) -> String {
    format!(
        r#"{{"id":"{id}","at":"2026-01-01T10:00:00Z","changed":"2026-01-02T{hour:02}:00:00Z"}}"#
    )
}

#[tokio::test]
async fn statements_that_are_fed_and_those_that_are_not_give_the_same_versions() {
    let run = ScriptedRun::new([]).await;
    let (context, pipeline) = (
        run.context(),
        pipeline(&run, &[TRANSACTIONS, ARTICLES, JOINED]),
    );
    let packages = [
        vec![sale("a"), sale("b")],
        vec![changed("a", 1)],
        vec![sale("c"), changed("a", 2)],
    ];
    land(&run, 1, &packages).await;
    let totals = catch_up(&context, &pipeline).await.unwrap();
    for (table, key) in [
        ("transactions", "transaction_id"),
        ("articles", "split_part(transaction_key, ':', 2)"),
        ("events", "code"),
    ] {
        assert_eq!(
            totals.tables[table].added, 3,
            "{table}: one step, the newest of each"
        );
        let found = rows(&context, table, &[key, "_load_id"]).await;
        assert_eq!(found, ["a 3", "b 1", "c 3"], "{table}");
        assert_eq!(progress(&context, &pipeline, table).await, 3);
    }
    let again = catch_up(&context, &pipeline).await.unwrap();
    assert!(again.tables.is_empty());
}

#[tokio::test]
async fn each_table_goes_on_from_where_it_is() {
    let run = ScriptedRun::new([]).await;
    let context = run.context();
    land(&run, 1, &[vec![sale("a")]]).await;
    let first = pipeline(&run, &[TRANSACTIONS]);
    catch_up(&context, &first).await.unwrap();
    land(&run, 2, &[vec![sale("b"), changed("a", 1)]]).await;
    let both = pipeline(&run, &[TRANSACTIONS, SITES]);
    let totals = catch_up(&context, &both).await.unwrap();
    let counts = totals.tables["transactions"];
    assert_eq!((counts.added, counts.removed), (2, 1), "only what is new");
    assert_eq!(totals.tables["sites"].added, 2, "from the beginning");
    assert_eq!(
        rows(&context, "transactions", &["transaction_id"]).await,
        ["a", "b"]
    );
}

#[tokio::test]
async fn a_table_whose_statement_fails_leaves_those_before_it_done() {
    let fails = (
        "events",
        "SELECT concat($pipeline, ':', s.id) AS event_key, nullif('device', 'device') AS scope, \
                  month_of(s.at) AS month FROM sales s JOIN sales o ON o.id = s.id",
    );
    let run = ScriptedRun::new([]).await;
    let (context, pipeline) = (run.context(), pipeline(&run, &[TRANSACTIONS, fails]));
    land(&run, 1, &[vec![sale("a")]]).await;
    let error = catch_up(&context, &pipeline).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("events.sql"), "{text}");
    assert_eq!(progress(&context, &pipeline, "transactions").await, 1);
    assert_eq!(progress(&context, &pipeline, "events").await, 0);
}

/// A pipeline of sales and their payments; a payment without its sale stands by itself.
fn with_payments(run: &ScriptedRun) -> Pipeline {
    let lineage = |column: &str| {
        format!("CASE WHEN s.id IS NULL THEN p.{column} ELSE s.{column} END AS {column}")
    };
    let lineage = [
        "_record_time",
        "_load_id",
        "_extracted_at",
        "_content_hash",
        "_run_id",
    ]
    .map(lineage);
    let payments = format!(
        "SELECT concat($pipeline, ':', p.id) AS payment_key, concat($pipeline, ':', p.sale) AS transaction_key, 'sale' AS perspective, \
         month_of(coalesce(s.at, p.at)) AS month, CASE WHEN s.id IS NULL THEN 'alone' ELSE 'sold' END AS state, \
         CASE WHEN s.id IS NULL THEN concat('payments/', p._record_key) ELSE s._record_key END AS _record_key, {} \
         FROM payments p LEFT JOIN sales s ON s.id = p.sale",
        lineage.join(", ")
    );
    let mut pipeline = pipeline(run, &[("payments", &payments)]);
    let both = run.pipeline_of(&[SALES, PAYMENTS]);
    (pipeline.resources, pipeline.offered) = (both.resources, both.offered);
    pipeline.children = vec![ChildResource {
        resource: PAYMENTS.name,
        of: SALES.name,
        link: ChildLink::Part {
            by: "sale".to_owned(),
            orphans: Some("payments".to_owned()),
            counted: None,
        },
    }];
    pipeline
}

fn payment(id: &str, sale: &str) -> String {
    format!(r#"{{"id":"{id}","at":"2026-01-01T10:00:00Z","sale":"{sale}"}}"#)
}

#[tokio::test]
async fn a_child_that_comes_first_stands_alone_until_its_parent_comes() {
    let run = ScriptedRun::new([]).await;
    let (context, pipeline) = (run.context(), with_payments(&run));
    let state = async || {
        let totals = catch_up(&context, &pipeline).await.unwrap();
        let warned = totals.warnings;
        (
            rows(&context, "payments", &["payment_key", "state"]).await,
            warned,
        )
    };
    land_of(
        &run,
        PAYMENTS,
        1,
        &[vec![payment("p1", "a"), payment("p2", "b")]],
    )
    .await;
    let alone = ["shop:p1 alone", "shop:p2 alone"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(state().await, (alone.clone(), 2), "there is no sale at all");
    assert_eq!(state().await, (alone, 0), "nothing is taken twice");
    land(&run, 2, &[vec![sale("a")]]).await;
    let one = ["shop:p1 sold", "shop:p2 alone"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(state().await, (one, 0));
    land(&run, 3, &[vec![sale("b")]]).await;
    land_of(&run, PAYMENTS, 4, &[vec![payment("p3", "a")]]).await;
    let all = ["shop:p1 sold", "shop:p2 sold", "shop:p3 sold"];
    assert_eq!(state().await, (all.map(str::to_owned).to_vec(), 0));
    assert_eq!(progress(&context, &pipeline, "payments").await, 2);
}

#[tokio::test]
async fn a_child_that_changes_its_parent_makes_both_parents_anew() {
    let run = ScriptedRun::new([]).await;
    let (context, pipeline) = (run.context(), with_payments(&run));
    land(&run, 1, &[vec![sale("a")], vec![sale("b")]]).await;
    land_of(
        &run,
        PAYMENTS,
        3,
        &[vec![payment("p1", "a"), payment("p2", "a")]],
    )
    .await;
    catch_up(&context, &pipeline).await.unwrap();
    land_of(&run, PAYMENTS, 4, &[vec![payment("p2", "b")]]).await;
    let totals = catch_up(&context, &pipeline).await.unwrap();
    let counts = totals.tables["payments"];
    assert_eq!((counts.added, counts.removed), (2, 2), "of a and of b");
    let found = rows(
        &context,
        "payments",
        &["payment_key", "transaction_key", "_record_key"],
    )
    .await;
    assert_eq!(found, ["shop:p1 shop:a a", "shop:p2 shop:b b"]);
}

/// A payment that happened, and changed, at other times than its sale; without a time where `at` is empty.
fn payment_at(id: &str, sale: &str, at: &str, changed: u8) -> String {
    let at = if at.is_empty() {
        String::new()
    } else {
        format!(r#""at":"{at}","#)
    };
    format!(r#"{{"id":"{id}",{at}"sale":"{sale}","changed":"2026-01-02T{changed:02}:00:00Z"}}"#)
}

fn sale_at(id: &str, at: &str, changed: u8) -> String {
    format!(r#"{{"id":"{id}","at":"{at}","changed":"2026-01-02T{changed:02}:00:00Z"}}"#)
}

/// Records of a resource that land in one package.
type Landing = (&'static Resource, Vec<String>);

/// The payments after the landings, each of which was caught up with, or all of them at once.
async fn payments_after(landings: &[Landing], is_each_caught_up: bool) -> Vec<String> {
    let run = ScriptedRun::new([]).await;
    let (context, pipeline) = (run.context(), with_payments(&run));
    for ((resource, records), hour) in landings.iter().zip(1_i8..) {
        land_of(&run, resource, hour, std::slice::from_ref(records)).await;
        if is_each_caught_up {
            catch_up(&context, &pipeline).await.unwrap();
        }
    }
    catch_up(&context, &pipeline).await.unwrap();
    rows(
        &context,
        "payments",
        &["payment_key", "transaction_key", "state"],
    )
    .await
}

/// Times are no part of the question whose payment one is: steps and a rebuild agree.
async fn assert_payments(landings: &[Landing], wanted: &[&str]) {
    let steps = payments_after(landings, true).await;
    assert_eq!(steps, wanted, "step by step");
    let rebuilt = payments_after(landings, false).await;
    assert_eq!(rebuilt, wanted, "all at once");
}

const LONG_BEFORE: &str = "2023-06-01T10:00:00Z";
const LONG_AFTER: &str = "2027-06-01T10:00:00Z";

#[tokio::test]
async fn a_child_long_before_its_parent_is_its_parents_whichever_came_first() {
    let early = || vec![payment_at("p1", "a", LONG_BEFORE, 1)];
    let wanted = ["shop:p1 shop:a sold"];
    assert_payments(&[(PAYMENTS, early()), (SALES, vec![sale("a")])], &wanted).await;
    assert_payments(&[(SALES, vec![sale("a")]), (PAYMENTS, early())], &wanted).await;
}

#[tokio::test]
async fn a_parent_whose_time_moves_keeps_its_children() {
    let landings = [
        (SALES, vec![sale("a"), sale("b")]),
        (PAYMENTS, vec![payment("p1", "a"), payment("p2", "b")]),
        (SALES, vec![sale_at("a", LONG_AFTER, 1)]),
        (SALES, vec![sale_at("b", LONG_BEFORE, 2)]),
        (SALES, vec![sale_at("a", LONG_BEFORE, 3)]),
    ];
    assert_payments(&landings, &["shop:p1 shop:a sold", "shop:p2 shop:b sold"]).await;
}

#[tokio::test]
async fn a_version_counts_by_its_number_wherever_its_time_has_gone() {
    let landings = [
        (SALES, vec![sale("a"), sale("b")]),
        (
            PAYMENTS,
            vec![payment_at("p1", "a", "2026-01-01T10:00:00Z", 1)],
        ),
        (PAYMENTS, vec![payment_at("p1", "b", LONG_BEFORE, 2)]),
        // Its step reads the payments of `a` anew.
        (SALES, vec![sale_at("a", "2026-01-01T11:00:00Z", 3)]),
    ];
    assert_payments(&landings, &["shop:p1 shop:b sold"]).await;
}

#[tokio::test]
async fn a_child_without_a_time_leaves_its_first_parent_too() {
    let landings = [
        (SALES, vec![sale("a"), sale("b")]),
        (PAYMENTS, vec![payment_at("p1", "a", "", 1)]),
        (
            PAYMENTS,
            vec![payment_at("p1", "b", "2026-01-01T10:00:00Z", 2)],
        ),
        (PAYMENTS, vec![payment_at("p1", "nobody's", "", 3)]),
        (PAYMENTS, vec![payment_at("p1", "a", "", 4)]),
    ];
    assert_payments(&landings[..3], &["shop:p1 shop:b sold"]).await;
    assert_payments(&landings, &["shop:p1 shop:a sold"]).await;
}

/// As [`with_payments`]; sales look up the clock of their id, and so do payments that stand alone.
fn with_clocks(run: &ScriptedRun) -> Pipeline {
    let mut pipeline = with_payments(run);
    let all = run.pipeline_of(&[SALES, PAYMENTS, CLOCKS]);
    (pipeline.resources, pipeline.offered) = (all.resources, all.offered);
    pipeline.children.push(ChildResource {
        resource: CLOCKS.name,
        of: SALES.name,
        link: ChildLink::Lookup {
            on: vec![("id".to_owned(), "id".to_owned())],
            uses: vec!["at".to_owned()],
            unless: None,
        },
    });
    for statement in &mut pipeline.unify {
        let text = statement.text.replace(
            " FROM payments p",
            ", CAST(local_hour(z.at, 'UTC') AS VARCHAR) AS type FROM payments p",
        );
        statement.text = format!(
            "{text} LEFT JOIN (SELECT id, last_value(at ORDER BY _load_id) AS at FROM clocks GROUP BY id) z \
             ON z.id = CASE WHEN s.id IS NULL THEN p.id ELSE s.id END"
        );
    }
    pipeline
}

#[tokio::test]
async fn a_child_that_stands_alone_looks_up_what_its_parent_would() {
    let clock = |id: &str, hour: u8| {
        format!(
            r#"{{"id":"{id}","at":"2026-01-01T{hour}:00:00Z","changed":"2026-01-02T{hour}:00:00Z"}}"#
        )
    };
    let steps: [(Landing, [&str; 2], u64); 6] = [
        (
            (PAYMENTS, vec![payment("p1", "a"), payment("p2", "b")]),
            ["shop:p1 alone", "shop:p2 alone"],
            2,
        ),
        (
            (CLOCKS, vec![clock("p1", 11)]),
            ["shop:p1 alone 11", "shop:p2 alone"],
            1,
        ),
        (
            (CLOCKS, vec![clock("p1", 12), clock("p2", 20)]),
            ["shop:p1 alone 12", "shop:p2 alone 20"],
            2,
        ),
        (
            (SALES, vec![sale("a")]),
            ["shop:p1 sold", "shop:p2 alone 20"],
            1,
        ),
        (
            (CLOCKS, vec![clock("p1", 13)]),
            ["shop:p1 sold", "shop:p2 alone 20"],
            0,
        ),
        (
            (CLOCKS, vec![clock("a", 14)]),
            ["shop:p1 sold 14", "shop:p2 alone 20"],
            1,
        ),
    ];
    let columns = ["payment_key", "state", "type"];
    let (run, rebuilt) = (ScriptedRun::new([]).await, ScriptedRun::new([]).await);
    let (context, pipeline) = (run.context(), with_clocks(&run));
    for (((resource, records), wanted, added), hour) in steps.iter().zip(1_i8..) {
        land_of(&run, resource, hour, std::slice::from_ref(records)).await;
        land_of(&rebuilt, resource, hour, std::slice::from_ref(records)).await;
        let totals = catch_up(&context, &pipeline).await.unwrap();
        let found = totals.tables.get("payments").map_or(0, |rows| rows.added);
        assert_eq!(rows(&context, "payments", &columns).await, wanted);
        assert_eq!(found, *added, "{wanted:?}: no more than what looks it up");
        let warned = if hour == 1 { 2 } else { 0 };
        assert_eq!(totals.warnings, warned, "{wanted:?}: told once");
    }
    let (context, pipeline) = (rebuilt.context(), with_clocks(&rebuilt));
    catch_up(&context, &pipeline).await.unwrap();
    let (_, last, _) = &steps[5];
    assert_eq!(rows(&context, "payments", &columns).await, last);
}

#[tokio::test]
async fn what_a_sale_does_not_say_of_its_site_stays_known() {
    let fed = "SELECT concat($pipeline, ':s') AS site_key, CASE WHEN id <> 'bare' THEN id END AS name FROM sales";
    // It needs its records as a table, and is run on tables.
    let joined = "SELECT concat($pipeline, ':s') AS site_key, CASE WHEN s.id <> 'bare' THEN s.id END AS name \
         FROM sales s JOIN sales o ON o.id = s.id";
    for sql in [fed, joined] {
        let sites = ("sites", sql);
        // Records that are no facts are what they tell of: what they no longer say is gone.
        for (statements, wanted) in [(&[TRANSACTIONS, sites][..], "named"), (&[sites][..], "")] {
            for is_each_caught_up in [true, false] {
                let run = ScriptedRun::new([]).await;
                let (context, pipeline) = (run.context(), pipeline(&run, statements));
                let sales = [
                    sale_at("named", "2026-01-01T10:00:00Z", 1),
                    sale_at("bare", "2026-01-03T10:00:00Z", 1),
                ];
                for (sale, hour) in sales.into_iter().zip(1..) {
                    land(&run, hour, &[vec![sale]]).await;
                    if is_each_caught_up {
                        catch_up(&context, &pipeline).await.unwrap();
                    }
                }
                if !is_each_caught_up {
                    catch_up(&context, &pipeline).await.unwrap();
                }
                let found = rows(&context, "sites", &["name"]).await;
                assert_eq!(found, [wanted], "{is_each_caught_up} {sql}");
            }
        }
    }
}
