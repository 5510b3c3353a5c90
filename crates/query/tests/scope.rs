//! Attacks on a scope: a reader who may see the rows of one tenant asks for those of another, in every way that SQL has.
//!
//! Invariant: every test has a row of somebody else that a fault would show, fail on or count; the whole session shows it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use std::sync::Arc;
use tillhouse_model::Result;
use tillhouse_query::{
    ContractTable, ParameterLiteral, QueryEngine, QueryEngineOptions, QueryParameters, Scope,
    Session, collect,
};

/// Texts of the other tenant, none of which may show anywhere.
const OTHERS: [&str; 6] = [
    "south",
    "Southgate",
    "p:s1",
    "SECRET",
    "Mallory",
    "cat-south",
];

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Arc<MemTable> {
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap())
}

fn contract(name: &str, columns: &[(&str, DataType)], personal: &[&str]) -> ContractTable {
    let fields = columns
        .iter()
        .map(|(name, kind)| Field::new(*name, kind.clone(), true));
    ContractTable {
        schema: "unified".to_owned(),
        name: name.to_owned(),
        columns: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        personal: personal.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// Two sales of `north`, one of `south`; the second and the last are of another pipeline.
fn whole() -> Session {
    let (t, n) = (DataType::Utf8, DataType::Int64);
    let contracts = [
        contract(
            "transactions",
            &[
                ("transaction_key", t.clone()),
                ("pipeline", t.clone()),
                ("tenant_id", t.clone()),
                ("site_key", t.clone()),
                ("amount", n),
                ("note", t.clone()),
                ("driver", t.clone()),
            ],
            &["driver"],
        ),
        contract(
            "sites",
            &[
                ("site_key", t.clone()),
                ("name", t.clone()),
                ("pipeline", t.clone()),
            ],
            &[],
        ),
        contract(
            "tenants",
            &[
                ("tenant_id", t.clone()),
                ("name", t.clone()),
                ("pipeline", t.clone()),
            ],
            &[],
        ),
        contract(
            "vouchers",
            &[("voucher_key", t.clone()), ("pipeline", t)],
            &[],
        ),
    ];
    let session = QueryEngine::new(QueryEngineOptions::default())
        .unwrap()
        .knowing(contracts)
        .empty_session()
        .unwrap();
    let tables = [
        (
            "transactions",
            table(vec![
                ("transaction_key", text(&["p:1", "q:2", "p:3"])),
                ("pipeline", text(&["p", "q", "q"])),
                ("tenant_id", text(&["north", "north", "south"])),
                ("site_key", text(&["p:n1", "p:n2", "p:s1"])),
                ("amount", Arc::new(Int64Array::from(vec![10, 20, 7]))),
                ("note", text(&["1", "2", "SECRET"])),
                ("driver", text(&["Alice", "Bob", "Mallory"])),
            ]),
        ),
        (
            "sites",
            table(vec![
                ("site_key", text(&["p:n1", "p:n2", "p:s1"])),
                ("name", text(&["Northgate", "Northpark", "Southgate"])),
                ("pipeline", text(&["p", "q", "q"])),
            ]),
        ),
        (
            "tenants",
            table(vec![
                ("tenant_id", text(&["north", "south"])),
                ("name", text(&["North", "Southgate AG"])),
                ("pipeline", text(&["p", "q"])),
            ]),
        ),
        (
            "vouchers",
            table(vec![
                ("voucher_key", text(&["SECRET"])),
                ("pipeline", text(&["q"])),
            ]),
        ),
        (
            "cat-south.cards",
            table(vec![("card", text(&["SECRET"])), ("id", text(&["1"]))]),
        ),
        (
            "ops.runs",
            table(vec![
                ("run_id", text(&["r"])),
                ("counts", text(&["{\"south\":1}"])),
            ]),
        ),
    ];
    for (name, table) in tables {
        session.register(name, table).unwrap();
    }
    session
}

fn north() -> Scope {
    Scope {
        tenants: Some(["north".to_owned()].into()),
        pipelines: None,
        personal: false,
        source_schemas: false,
    }
}

/// The answer as text; an error with all that it says.
async fn asked(session: &Session, sql: &str) -> String {
    let rows = async {
        let none = QueryParameters::default();
        collect(session.query_written(sql, &none, (1, 1)).await?).await
    };
    let rows: Result<Vec<RecordBatch>> = rows.await;
    match rows {
        Ok(rows) => pretty_format_batches(&rows).unwrap().to_string(),
        Err(error) => format!("{error} {error:?} {:?}", error.hint_text()),
    }
}

async fn number(session: &Session, sql: &str) -> String {
    let shown = asked(session, sql).await;
    let cell = shown.lines().nth(3).unwrap_or(&shown);
    cell.trim_matches(['|', ' ']).to_owned()
}

#[tokio::test]
async fn another_tenants_rows_come_by_no_way() {
    let whole = whole();
    let part = whole.scoped(&north());
    for sql in [
        "SELECT * FROM transactions",
        "SELECT * FROM unified.transactions WHERE tenant_id = 'south' OR 1 = 1",
        "SELECT t.*, s.name FROM transactions t FULL JOIN sites s ON t.site_key = s.site_key",
        "SELECT * FROM sales",
        "SELECT tenant_id FROM transactions UNION ALL SELECT name FROM tenants UNION SELECT name FROM sites",
        "SELECT (SELECT max(note) FROM transactions) AS n, * FROM sites",
        "SELECT * FROM sites WHERE EXISTS (SELECT 1 FROM transactions t WHERE t.site_key <> sites.site_key)",
        "SELECT *, lag(note) OVER (ORDER BY amount) AS l, first_value(tenant_id) OVER (ORDER BY amount) AS f FROM transactions",
        "SELECT string_agg(note, ',' ORDER BY amount) AS n FROM transactions",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r, transactions",
        "SELECT min(note) AS a, max(note) AS b, min(tenant_id) AS c, max(tenant_id) AS d FROM transactions",
        "SELECT * FROM transactions ORDER BY amount LIMIT 1",
        "SELECT * FROM tenants",
        "SELECT * FROM transactions t, LATERAL (SELECT * FROM sites s WHERE s.site_key >= t.site_key) x",
        "EXPLAIN SELECT * FROM transactions WHERE note = 'x'",
        "EXPLAIN VERBOSE SELECT count(*) FROM transactions t JOIN sites s ON t.site_key = s.site_key",
        "EXPLAIN ANALYZE VERBOSE SELECT * FROM transactions",
        "SELECT * FROM ops.runs",
        "SHOW TABLES",
        "SHOW COLUMNS FROM transactions",
        "DESCRIBE transactions",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.columns",
        "SELECT * FROM information_schema.views",
        "SELECT * FROM information_schema.schemata",
        "SELECT * FROM vouchers",
        "SELECT * FROM \"cat-south\".cards",
        "SELECT driver FROM transactions",
        "SELECT * FROM transaction",
        "SELECT nope FROM transactions",
    ] {
        let shown = asked(&part, sql).await;
        for other in OTHERS {
            // What the question itself says comes back in its answer.
            let is_asked = sql.contains(other);
            assert!(
                is_asked || !shown.contains(other),
                "{sql}: {other}: {shown}"
            );
        }
    }
    let all = asked(&whole, "SELECT * FROM sales").await;
    assert!(all.contains("SECRET") && all.contains("Mallory"), "{all}");
}

#[tokio::test]
async fn a_personal_column_comes_by_no_way() {
    let part = whole().scoped(&north());
    for sql in [
        "SELECT driver FROM transactions",
        "SELECT transactions.driver FROM transactions",
        "SELECT * FROM transactions",
        "SELECT t.* FROM transactions t",
        "SELECT count(*) AS n FROM transactions WHERE driver = 'A' || 'lice'",
        "SELECT count(driver) AS n FROM transactions",
        "SELECT note FROM transactions ORDER BY driver",
        "SELECT note FROM transactions GROUP BY note, driver",
        "SELECT note FROM transactions GROUP BY note HAVING min(driver) > ''",
        "SELECT a.note FROM transactions a JOIN transactions b USING (driver)",
        "SELECT a.note FROM transactions a JOIN transactions b ON a.driver = b.driver",
        "SELECT * FROM transactions a NATURAL JOIN transactions b",
        "SELECT name FROM sites s WHERE EXISTS (SELECT 1 FROM transactions t WHERE t.site_key = s.site_key AND t.driver > '')",
        "SELECT name, (SELECT max(t.driver) FROM transactions t WHERE t.site_key = s.site_key) AS d FROM sites s",
        "SELECT first_value(driver) OVER (ORDER BY note) AS d FROM transactions",
        "WITH t AS (SELECT * FROM transactions) SELECT driver FROM t",
        "SELECT note FROM transactions UNION SELECT driver FROM transactions",
        "SELECT * FROM sales",
        "SELECT driver FROM sales",
        "EXPLAIN SELECT * FROM transactions WHERE driver = 'x'",
    ] {
        let shown = asked(&part, sql).await;
        for name in ["Alice", "Bob", "Mallory"] {
            assert!(!shown.contains(name), "{sql}: {shown}");
        }
        let is_answered = shown.starts_with('+');
        assert!(!(sql.contains("driver") && is_answered), "{sql}: {shown}");
    }
}

#[tokio::test]
async fn parameters_and_descriptions_are_of_the_part() {
    let part = whole().scoped(&north());
    let hidden = part.shape_unbound("SELECT driver FROM transactions WHERE amount > $1", (1, 1));
    assert!(hidden.await.is_err());
    let seen = part.shape_unbound("SELECT * FROM transactions WHERE amount > $1", (1, 1));
    let columns = seen.await.unwrap().columns;
    assert!(columns.field_with_name("note").is_ok() && columns.field_with_name("driver").is_err());
    let south = ParameterLiteral::Text("south".to_owned());
    let given = QueryParameters::default().with_literal("1", south);
    let sql = "SELECT note FROM transactions WHERE tenant_id = $1 OR 1 / (amount - 7) > 5";
    let rows = part.query_written(sql, &given, (1, 1)).await.unwrap();
    let rows: usize = collect(rows)
        .await
        .unwrap()
        .iter()
        .map(RecordBatch::num_rows)
        .sum();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn rows_without_a_tenant_are_nobodys() {
    let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
    let session = engine.empty_session().unwrap();
    let tenants: ArrayRef = Arc::new(StringArray::from(vec![Some("north"), None]));
    let payments = vec![("tenant_id", tenants), ("pipeline", text(&["p", "p"]))];
    session.register("payments", table(payments)).unwrap();
    let part = session.scoped(&Scope {
        personal: true,
        ..north()
    });
    for (condition, expected) in [
        ("true", "1"),
        ("tenant_id IS NULL", "0"),
        ("tenant_id IS DISTINCT FROM 'north'", "0"),
        ("coalesce(tenant_id, 'south') = 'south'", "0"),
    ] {
        let sql = format!("SELECT count(*) AS n FROM payments WHERE {condition}");
        assert_eq!(number(&part, &sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn what_was_worked_out_for_one_scope_is_not_another_ones() {
    let whole = whole();
    let of = |tenant: &str| Scope {
        tenants: Some([tenant.to_owned()].into()),
        ..north()
    };
    let names = "SELECT string_agg(name, ' ' ORDER BY name) AS n FROM sites";
    for _ in 0..2 {
        let (north, south) = (whole.scoped(&of("north")), whole.scoped(&of("south")));
        assert_eq!(number(&north, names).await, "Northgate Northpark");
        assert_eq!(number(&south, names).await, "Southgate");
        let again = whole.scoped_as(&south);
        assert_eq!(number(&again, names).await, "Southgate");
    }
}

#[tokio::test]
async fn what_is_counted_is_what_may_be_seen() {
    let part = whole().scoped(&north());
    for (sql, expected) in [
        ("SELECT count(*) AS n FROM transactions", "2"),
        ("SELECT count(*) AS n FROM sales", "2"),
        ("SELECT sum(amount) AS n FROM transactions", "30"),
        ("SELECT count(*) AS n FROM sites", "2"),
        ("SELECT count(*) AS n FROM tenants", "1"),
        (
            "SELECT count(DISTINCT tenant_id) AS n FROM transactions",
            "1",
        ),
        (
            "SELECT count(*) AS n FROM transactions WHERE tenant_id IS NULL",
            "0",
        ),
        (
            "SELECT count(*) AS n FROM transactions WHERE amount < 15",
            "1",
        ),
        (
            "SELECT count(*) AS n FROM transactions WHERE amount IN (7, 10)",
            "1",
        ),
        (
            "SELECT count(*) AS n FROM transactions WHERE NOT amount = 10",
            "1",
        ),
        (
            "SELECT count(*) AS n FROM (SELECT * FROM transactions LIMIT 5) x",
            "2",
        ),
        (
            "SELECT max(n) AS n FROM (SELECT count(*) OVER () AS n FROM transactions) x",
            "2",
        ),
        (
            "SELECT count(*) AS n FROM transactions a CROSS JOIN transactions b",
            "4",
        ),
    ] {
        assert_eq!(number(&part, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn nothing_is_evaluated_on_a_row_that_is_not_there() {
    let (whole, scope) = (whole(), north());
    let part = whole.scoped(&scope);
    // Each of these fails on the row of the other tenant, and on no other.
    for condition in [
        "1 / (amount - 7) > 5",
        "1 / (amount - 7) > 5 AND tenant_id = 'south'",
        "tenant_id = 'south' AND 1 / (amount - 7) > 5",
        "CAST(note AS BIGINT) > 100",
        "CASE WHEN tenant_id = 'south' THEN 1 / (amount - 7) ELSE 0 END > 5",
        "9223372036854775800 + amount * (CASE amount WHEN 7 THEN 100 ELSE 0 END) < 0",
        "arrow_cast(note, 'Int64') > 100",
    ] {
        let sql = format!("SELECT count(*) AS n FROM transactions WHERE {condition}");
        assert_eq!(number(&part, &sql).await, "0", "{sql}");
        for sql in [
            format!("SELECT count(*) AS n FROM sales WHERE {condition}"),
            format!(
                "SELECT count(*) AS n FROM (SELECT * FROM transactions LIMIT 10) t WHERE {condition}"
            ),
        ] {
            assert_eq!(number(&part, &sql).await, "0", "{sql}");
        }
    }
    let failing = "SELECT count(*) AS n FROM transactions WHERE 1 / (amount - 7) > 5";
    assert!(
        asked(&whole, failing).await.contains("divided by zero"),
        "the whole fails on the row of the other tenant"
    );
    // Dimensions without a tenant too: the condition fails for the site of the other tenant.
    let sites = "SELECT count(*) AS n FROM sites WHERE 1 / (CASE name WHEN 'Southgate' THEN 0 ELSE 1 END) > 5";
    assert_eq!(number(&part, sites).await, "0");
    assert!(asked(&whole, sites).await.contains("divided by zero"));
    let sums = "SELECT sum(1 / (amount - 7)) AS n FROM transactions";
    assert_eq!(number(&part, sums).await, "0");
}

#[tokio::test]
async fn a_plan_tells_nothing_of_the_whole() {
    let part = whole().scoped(&north());
    for sql in [
        "EXPLAIN SELECT * FROM transactions WHERE amount > 1",
        "EXPLAIN VERBOSE SELECT * FROM transactions WHERE amount > 1",
        "EXPLAIN ANALYZE SELECT * FROM transactions",
    ] {
        let shown = asked(&part, sql).await;
        assert!(shown.contains("ScopedExec"), "{sql}: {shown}");
        for inside in [
            "DataSourceExec",
            "Exact(3)",
            "north",
            "partition_sizes",
            "rows=3",
        ] {
            assert!(!shown.contains(inside), "{sql}: {inside}: {shown}");
        }
    }
    let counted = asked(&part, "EXPLAIN SELECT count(*) FROM transactions").await;
    assert!(
        counted.contains("AggregateExec"),
        "a count that is known without reading is one of the whole: {counted}"
    );
}

#[tokio::test]
async fn a_plan_is_the_same_however_much_others_have() {
    let seen = async |partitions: usize, sql: &str| {
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = engine.empty_session().unwrap();
        let columns = [
            ("tenant_id", text(&["north", "south"]), true),
            ("pipeline", text(&["p", "p"]), true),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]; partitions]).unwrap();
        session.register("payments", Arc::new(table)).unwrap();
        let part = session.scoped(&Scope {
            personal: true,
            ..north()
        });
        asked(&part, sql).await
    };
    let plan = "EXPLAIN SELECT pipeline, count(*) AS n FROM payments GROUP BY pipeline";
    assert_eq!(seen(1, plan).await, seen(5, plan).await);
    for partitions in [1, 5] {
        let counted = seen(partitions, "SELECT count(*) AS n FROM payments").await;
        assert!(counted.contains(&format!("| {partitions} |")), "{counted}");
    }
}

#[tokio::test]
async fn the_catalog_has_what_may_be_seen() {
    let part = whole().scoped(&north());
    let tables = part.tables().await.unwrap();
    let named = |schema: &str, name: &str| tables.contains(&(schema.to_owned(), name.to_owned()));
    assert!(named("unified", "transactions") && named("unified", "sites"));
    assert!(named("unified", "sales") && named("ops", "runs"));
    assert!(!named("unified", "vouchers"), "it tells no tenants apart");
    assert!(!tables.iter().any(|(schema, _)| schema == "cat-south"));
    let columns = part.columns("unified", "transactions").await.unwrap();
    assert!(columns.field_with_name("driver").is_err());
    assert!(columns.field_with_name("note").is_ok());
    let sales = part.describe("unified", "sales").await.unwrap();
    assert!(sales.columns.iter().all(|column| column.path != "driver"));
    let runs = part.columns("ops", "runs").await.unwrap();
    assert!(runs.field_with_name("counts").is_err());
    assert!(!part.has_table("unified", "vouchers").await.unwrap());
}

#[tokio::test]
async fn pipelines_personal_columns_and_source_schemas_are_scopes_of_their_own() {
    let whole = whole();
    let of_p = whole.scoped(&Scope {
        pipelines: Some(["p".to_owned()].into()),
        ..Scope::everything()
    });
    assert_eq!(
        number(&of_p, "SELECT count(*) AS n FROM transactions").await,
        "1"
    );
    assert_eq!(number(&of_p, "SELECT count(*) AS n FROM sites").await, "1");
    assert_eq!(
        number(&of_p, "SELECT count(*) AS n FROM vouchers").await,
        "0"
    );
    assert!(
        asked(&of_p, "SELECT driver FROM transactions")
            .await
            .contains("Alice")
    );
    assert!(
        !asked(&of_p, "SELECT * FROM \"cat-south\".cards")
            .await
            .contains("| SECRET")
    );

    let with_sources = whole.scoped(&Scope::everything());
    assert!(
        asked(&with_sources, "SELECT * FROM \"cat-south\".cards")
            .await
            .contains("SECRET")
    );
    assert!(with_sources.scope().is_everything());

    let without_personal = whole.scoped(&Scope {
        personal: false,
        ..Scope::everything()
    });
    assert_eq!(
        number(&without_personal, "SELECT count(*) AS n FROM transactions").await,
        "3"
    );
    let cards = asked(&without_personal, "SELECT * FROM \"cat-south\".cards").await;
    assert!(
        !cards.contains("| SECRET"),
        "no contract says that nothing of it is personal: {cards}"
    );

    let nobody = whole.scoped(&Scope::default());
    assert_eq!(
        number(&nobody, "SELECT count(*) AS n FROM transactions").await,
        "0"
    );
    assert_eq!(
        number(&nobody, "SELECT count(*) AS n FROM sites").await,
        "0"
    );
}

#[tokio::test]
async fn a_part_of_a_part_is_what_both_let_be_seen() {
    let part = whole().scoped(&north());
    let wider = part.scoped(&Scope::everything());
    assert_eq!(
        number(&wider, "SELECT count(*) AS n FROM transactions").await,
        "2"
    );
    assert_eq!(wider.scope(), &north());
    let of_q = part.scoped(&Scope {
        pipelines: Some(["q".to_owned()].into()),
        ..Scope::everything()
    });
    assert_eq!(
        number(&of_q, "SELECT min(amount) AS n FROM transactions").await,
        "20"
    );
    let sibling = part.sibling();
    assert_eq!(
        number(&sibling, "SELECT count(*) AS n FROM transactions").await,
        "2"
    );
}
