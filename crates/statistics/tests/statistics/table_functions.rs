//! The statistics as table functions: every row is one of the statistics of the same request, and the document's examples run.
//!
//! Invariant: what a function gives is compared with [`figures`], never with numbers of its own.

use crate::fixture::{FixtureArticle, FixturePayment, FixtureSale, FixtureTables, some, window};
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use tillhouse_model::ErrorKind;
use tillhouse_query::{Session, collect};
use tillhouse_statistics::{HourGrouping, StatisticsRequest, figures, register_sql};

fn house() -> FixtureTables {
    let sale = |at: &str, amount: i128| FixtureSale {
        site: some("p:a"),
        tenant: some("north"),
        ..FixtureSale::new(at, amount)
    };
    FixtureTables {
        sales: vec![
            sale("2026-01-01T10:30:00Z", 125_000),
            sale("2026-01-01T23:30:00Z", 75_000),
            FixtureSale {
                currency: some("CHF"),
                source: "pace".into(),
                ..sale("2026-01-02T10:30:00Z", 90_000)
            },
            sale("2025-12-20T10:30:00Z", 50_000),
            FixtureSale {
                state: some("created"),
                ..sale("2026-01-02T10:30:00Z", 10_000)
            },
        ],
        articles: vec![
            FixtureArticle::new(0, "Diesel", "l", 5_500_000),
            FixtureArticle::new(1, "Tea", "pc", 1_000_000),
        ],
        payments: vec![
            FixturePayment::new(
                0,
                ["PSPCard", "Card", "Visa", "Contactless", "SingleCard"],
                125_000,
            ),
            FixturePayment::new(1, ["Cash", "Cash", "none", "none", "none"], 75_000),
        ],
        sites: vec![("p:a".into(), some("Harbour"))],
        products: vec![],
        ..FixtureTables::default()
    }
}

fn session() -> Session {
    let session = house().session();
    register_sql(&session, None);
    session
}

async fn rows(session: &Session, sql: &str) -> Vec<RecordBatch> {
    let stream = session
        .query(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    collect(stream)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

async fn shown(session: &Session, sql: &str) -> String {
    pretty_format_batches(&rows(session, sql).await)
        .unwrap()
        .to_string()
}

#[tokio::test]
async fn hours_as_the_document_shows_them() {
    let expected = "\
+----------+---------------------------+----------------------+--------------+
| currency | hour                      | starts_at            | transactions |
+----------+---------------------------+----------------------+--------------+
| CHF      | 2026-01-02T11:00:00+01:00 | 2026-01-02T10:00:00Z | 1            |
| EUR      | 2026-01-01T11:00:00+01:00 | 2026-01-01T10:00:00Z | 1            |
| EUR      | 2026-01-02T00:00:00+01:00 | 2026-01-01T23:00:00Z | 1            |
+----------+---------------------------+----------------------+--------------+";
    let sql = "SELECT * FROM hourly_transactions('2026-01-01', '2026-02-01', 'Europe/Zurich') ORDER BY currency, starts_at";
    assert_eq!(shown(&session(), sql).await, expected);
    let by_day = "SELECT hour, starts_at IS NULL AS no_instant FROM hourly_transactions('2026-01-01', '2026-02-01', NULL, \
                  '{\"hours\": \"of_day\", \"source\": \"hecone\"}') ORDER BY hour";
    let expected = "\
+------+------------+
| hour | no_instant |
+------+------------+
| 10   | true       |
| 23   | true       |
+------+------------+";
    assert_eq!(shown(&session(), by_day).await, expected);
}

#[tokio::test]
async fn every_function_has_the_figures_rows() {
    let session = session();
    let request = StatisticsRequest::new(window("2026-01-01T00:00:00Z", "2026-01-13T00:00:00Z"));
    let figures = figures(&session, &request).await.unwrap();
    let (mut hours, mut paid, mut sold, mut sites) = (0, 0, 0, 0);
    for entry in &figures.data {
        hours += entry.hourly_transactions.len();
        paid += entry.payment_scheme_ranking.len();
        sold += entry
            .article_quantities_ranking
            .iter()
            .map(|unit| unit.articles_quantities.len())
            .sum::<usize>();
        sites += entry.sites_amount_ranking.len();
    }
    for (function, expected) in [
        ("hourly_transactions", hours),
        ("payment_type_ranking", 2),
        ("payment_medium_ranking", 2),
        ("payment_scheme_ranking", paid),
        ("payment_entry_mode_ranking", 2),
        ("payment_function_ranking", 2),
        ("payment_method_ranking", 2),
        ("article_quantities_ranking", sold),
        ("sites_amount_ranking", sites),
        ("sites_transactions_ranking", sites),
        ("transactions_count", figures.data.len()),
        ("transactions_total_amount", figures.data.len()),
    ] {
        let batches = rows(
            &session,
            &format!("SELECT * FROM {function}('2026-01-01', '2026-01-13')"),
        )
        .await;
        assert_eq!(
            batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
            expected,
            "{function}"
        );
    }
    let total = "SELECT value, growth FROM transactions_total_amount('2026-01-01', '2026-01-13') WHERE currency = 'EUR'";
    let expected = "\
+---------+--------+
| value   | growth |
+---------+--------+
| 20.0000 | 300.00 |
+---------+--------+";
    assert_eq!(shown(&session, total).await, expected);
    let joined = "SELECT site_name, amount / transactions AS mean
                  FROM sites_amount_ranking('2026-01-01', '2026-01-13') AS a
                  JOIN sites_transactions_ranking('2026-01-01', '2026-01-13') AS t USING (currency, site_name)
                  WHERE a.currency = 'EUR'";
    assert!(
        shown(&session, joined).await.contains("| Harbour   | 10.0"),
        "{}",
        shown(&session, joined).await
    );
}

#[tokio::test]
async fn growth_is_measured_as_asked_and_keys_stand_beside_names() {
    let session = session();
    let growth = |compare: &str| {
        format!(
            "SELECT value, growth FROM transactions_total_amount('2026-01-01', '2026-01-21', 'UTC', '{{\"compare\": \"{compare}\"}}')
             WHERE currency = 'EUR'"
        )
    };
    // The sale of 20 December lies in the twenty days before, and in December's first twenty.
    for (compare, expected) in [
        ("previous", "300.00"),
        ("calendar", "300.00"),
        ("last-year", ""),
        ("2025-12-21..2026-01-01", ""),
    ] {
        let found = shown(&session, &growth(compare)).await;
        let row = format!("| 20.0000 | {expected:<6} |");
        assert!(found.contains(&row), "{compare}: {found}");
    }
    let sites = "SELECT currency, site_name, site_key, amount FROM sites_amount_ranking('2026-01-01', '2026-01-21') ORDER BY currency";
    let expected = "\
+----------+-----------+----------+---------+
| currency | site_name | site_key | amount  |
+----------+-----------+----------+---------+
| CHF      | Harbour   | p:a      | 9.0000  |
| EUR      | Harbour   | p:a      | 20.0000 |
+----------+-----------+----------+---------+";
    assert_eq!(shown(&session, sites).await, expected);
    let house = FixtureTables {
        articles: vec![
            FixtureArticle {
                product: some("p:1"),
                ..FixtureArticle::new(0, "Tea", "pc", 1_000_000)
            },
            FixtureArticle {
                product: some("p:2"),
                ..FixtureArticle::new(1, "Tea", "pc", 2_000_000)
            },
            FixtureArticle {
                product: some("p:3"),
                ..FixtureArticle::new(1, "Milk", "pc", 2_000_000)
            },
            FixtureArticle::new(1, "Water", "pc", 1_000_000),
        ],
        ..house()
    };
    let session = house.session();
    register_sql(&session, None);
    let sold = "SELECT article_name, product_key, products, quantity FROM article_quantities_ranking('2026-01-01', '2026-01-21') ORDER BY 1";
    let expected = "\
+--------------+-------------+----------+----------+
| article_name | product_key | products | quantity |
+--------------+-------------+----------+----------+
| Milk         | p:3         | 1        | 2.000000 |
| Tea          |             | 2        | 3.000000 |
| Water        |             | 1        | 1.000000 |
+--------------+-------------+----------+----------+";
    assert_eq!(shown(&session, sold).await, expected);
}

#[tokio::test]
async fn dates_and_options_are_read_in_every_form() {
    let session = session();
    let count =
        |arguments: &str| format!("SELECT sum(value) AS n FROM transactions_count({arguments})");
    for (arguments, expected) in [
        ("'2026-01-01', '2026-01-02'", "2"),
        ("DATE '2026-01-01', DATE '2026-01-02'", "2"),
        (
            "TIMESTAMP '2026-01-01 00:00:00', TIMESTAMP '2026-01-01 23:00:00'",
            "1",
        ),
        // A time without a zone is what it shows, as everywhere in SQL.
        (
            "TIMESTAMP '2026-01-01 00:00:00', TIMESTAMP '2026-01-01 23:00:00-05'",
            "1",
        ),
        ("'2026-01-01', '2026-01-02', 'Europe/Zurich'", "1"),
        ("DATE '2026-01-01', DATE '2026-01-02', '+01:00'", "1"),
        ("'2026-01-01T23:00:00Z', '2026-01-02T00:00:00+00:00'", "1"),
        (
            "'2026-01-01', '2026-02-01', 'UTC', '{\"states\": [\"created\"]}'",
            "1",
        ),
        (
            "'2026-01-01', '2026-02-01', NULL, '{\"source\": \"pace\", \"tenant\": \"north\"}'",
            "1",
        ),
        (
            "'2026-01-01', '2026-02-01', NULL, '{\"filter\": {\"field\": \"amount\", \"operator\": \"gt\", \"value\": 7.5}}'",
            "2",
        ),
        ("'2026-01-01', '2026-02-01', NULL, NULL", "3"),
    ] {
        let found = shown(&session, &count(arguments)).await;
        assert!(
            found.contains(&format!("| {expected} |")),
            "{arguments}: {found}"
        );
    }
    for (arguments, part) in [
        ("'2026-01-01'", "2 to 4 arguments"),
        ("'2026-02-01', '2026-01-01'", "the window is empty"),
        ("'January', '2026-01-02'", "neither a date nor a time"),
        ("1, 2", "neither a date nor a time"),
        (
            "'2026-01-01', '9999-12-31'",
            "lies at the end of the calendar",
        ),
        (
            "'2026-01-01', DATE '9999-12-31'",
            "lies at the end of the calendar",
        ),
        ("NULL, '2026-01-02'", "argument 1 is null"),
        (
            "'2026-01-01', '2026-01-02', 'Mars/Olympus'",
            "is no time zone",
        ),
        (
            "'2026-01-01', '2026-01-02', 'UTC', '{\"tenants\": 1}'",
            "the options cannot be read",
        ),
        (
            "'2026-01-01', '2026-01-02', 'UTC', '{\"perspective\": \"lease\"}'",
            "is no perspective",
        ),
        (
            "'2026-01-01', '2026-01-02', 'UTC', '{\"hours\": \"daily\"}'",
            "no way to show hours",
        ),
        (
            "'2026-01-01', '2026-01-02', 'UTC', '{\"compare\": \"yesterday\"}'",
            "nothing to compare with",
        ),
        (
            "'2026-01-01', '2026-01-02', 'UTC', '{\"filter\": {\"field\": \"mood\", \"operator\": \"isnull\"}}'",
            "no field \"mood\"",
        ),
    ] {
        let error = session
            .query(&count(arguments))
            .await
            .err()
            .unwrap_or_else(|| panic!("{arguments}"));
        assert_eq!(error.kind(), ErrorKind::Config, "{arguments}: {error}");
        assert!(
            error.to_string().contains(part) && error.hint_text().is_some(),
            "{arguments}: {error}"
        );
    }
}

#[tokio::test]
async fn a_function_asks_nothing_until_it_runs_and_keeps_no_session_alive() {
    let session = session();
    session.deregister("transactions").unwrap();
    let plan = shown(
        &session,
        "EXPLAIN SELECT * FROM hourly_transactions('2026-01-01', '2026-02-01')",
    )
    .await;
    assert!(plan.contains("StreamingTable"), "{plan}");
    let catalogs = std::sync::Arc::downgrade(session.context().state_ref().read().catalog_list());
    drop(session);
    assert!(
        catalogs.upgrade().is_none(),
        "a session that registered the functions lives on"
    );
}

#[tokio::test]
async fn the_documents_examples_run() {
    let session = session();
    let document = include_str!("../../../../docs/sql.md");
    let examples: Vec<&str> = document
        .split("```sql\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    for function in [
        "hourly_transactions",
        "payment_type_ranking",
        "payment_medium_ranking",
        "payment_scheme_ranking",
        "payment_entry_mode_ranking",
        "payment_function_ranking",
        "payment_method_ranking",
        "article_quantities_ranking",
        "sites_amount_ranking",
        "sites_transactions_ranking",
        "transactions_count",
        "transactions_total_amount",
    ] {
        assert!(
            examples
                .iter()
                .any(|sql| sql.contains(&format!("{function}('"))
                    || sql.contains(&format!("{function}(DATE"))),
            "{function} has no example"
        );
    }
    for sql in examples {
        rows(&session, sql).await;
    }
    let section = document.split("## What counts").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let examples: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("    SELECT"))
        .collect();
    assert_eq!(examples.len(), 4, "{examples:?}");
    for sql in examples {
        rows(&session, &format!("SELECT{sql}")).await;
    }
}

#[tokio::test]
async fn hours_of_a_request_are_the_same_in_sql() {
    let session = session();
    let request = StatisticsRequest {
        hours: HourGrouping::OfDay,
        ..StatisticsRequest::new(window("2026-01-01T00:00:00Z", "2026-01-13T00:00:00Z"))
    };
    let hours: Vec<String> = figures(&session, &request)
        .await
        .unwrap()
        .data
        .iter()
        .flat_map(|entry| {
            entry
                .hourly_transactions
                .iter()
                .map(|row| format!("{} {} {}", entry.currency, row.hour, row.transactions))
        })
        .collect();
    let sql = "SELECT currency || ' ' || hour || ' ' || CAST(transactions AS VARCHAR) AS line
               FROM hourly_transactions('2026-01-01', '2026-01-13', 'UTC', '{\"hours\": \"of_day\"}')";
    let found = shown(&session, sql).await;
    for line in &hours {
        assert!(found.contains(line), "{line} is not in {found}");
    }
}
