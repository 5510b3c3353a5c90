//! The views `counted`, `counted_articles` and `counted_payments` against the statistics: random rows, windows, zones and filters.
//!
//! Invariant: what a view's plain sums give is compared with [`figures`] of the same question, row by row, and never with numbers of its own.

use crate::fixture::{FixtureTables, some};
use crate::oracle::{ZONES, house, moved_house, request};
use crate::world::{self, OracleValue, OracleWorld};
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tillhouse_model::{ExactDecimal, Filter};
use tillhouse_query::{Session, collect};
use tillhouse_statistics::{
    CheckedFilter, HourGrouping, StatisticsFigures, StatisticsRequest, figures, register_sql,
};

/// Rows as texts, by their first columns; the last one is the figure.
type Rows = BTreeMap<Vec<String>, String>;

async fn rows(session: &Session, sql: &str) -> Rows {
    let stream = session
        .query(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    let batches: Vec<RecordBatch> = collect(stream)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    let options = FormatOptions::default().with_null("null");
    let mut found = Rows::new();
    for batch in &batches {
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let mut cells: Vec<String> = columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect();
            let figure = cells.pop().unwrap();
            assert_eq!(found.insert(cells, figure), None, "{sql}: a group twice");
        }
    }
    found
}

/// A figure without trailing zeros; a sum of nothing is nothing.
fn plain(text: &str) -> String {
    match text {
        "null" => "0".to_owned(),
        text => ExactDecimal::from_json(text).unwrap().trimmed().to_string(),
    }
}

/// The figures of one part as rows: their labels, then the value.
fn wanted<'a>(
    figures: &'a StatisticsFigures,
    part: impl Fn(&'a tillhouse_statistics::report::CurrencyStatistics) -> Vec<(Vec<String>, String)>,
) -> Rows {
    figures
        .data
        .iter()
        .flat_map(|entry| {
            part(entry).into_iter().map(move |(mut labels, value)| {
                labels.insert(0, entry.currency.clone());
                (labels, plain(&value))
            })
        })
        .collect()
}

/// Compares every figure that the views can give with the statistics. `window` and `passing` are conditions on transactions.
async fn assert_the_views_agree(
    session: &Session,
    request: &StatisticsRequest,
    window: &str,
    passing: Option<&str>,
) {
    register_sql(session, None);
    let figures = figures(session, request).await.unwrap();
    let narrowed = |view: &str| match (view, passing) {
        ("counted", Some(passing)) => format!("{window} AND ({passing})"),
        (_, Some(passing)) => format!(
            "{window} AND transaction_key IN (SELECT transaction_key FROM counted WHERE {window} AND ({passing}))"
        ),
        (_, None) => window.to_owned(),
    };
    let ask = async |view: &str, labels: &str, figure: &str| -> Rows {
        let labels = match labels {
            "" => "currency".to_owned(),
            labels => format!("currency, {labels}"),
        };
        let sql = format!(
            "SELECT {labels}, {figure} AS figure FROM {view} WHERE {} GROUP BY {labels}",
            narrowed(view)
        );
        rows(session, &sql)
            .await
            .into_iter()
            .map(|(labels, value)| (labels, plain(&value)))
            .collect()
    };
    // A currency that only the window before had, or only payments have, is in the statistics with nothing.
    let without_nothing =
        |rows: Rows| -> Rows { rows.into_iter().filter(|(_, value)| value != "0").collect() };
    let count = ask("counted", "", "count(*)").await;
    assert_eq!(
        count,
        without_nothing(wanted(&figures, |e| vec![(
            vec![],
            e.transactions_count.value.to_string()
        )])),
        "counts of {request:?}"
    );
    assert_eq!(
        without_nothing(ask("counted", "", "sum(amount)").await),
        without_nothing(wanted(&figures, |e| vec![(
            vec![],
            e.transactions_total_amount.value.to_string()
        )])),
        "amounts of {request:?}"
    );
    let sites = wanted(&figures, |e| {
        let row = |s: &tillhouse_statistics::report::SiteAmount| {
            let key = s.site_key.clone().unwrap_or_else(|| "null".to_owned());
            (vec![key, s.site_name.clone()], s.amount.to_string())
        };
        e.sites_amount_ranking.iter().map(row).collect()
    });
    assert_eq!(
        ask("counted", "site_key, site_name", "sum(amount)").await,
        sites,
        "sites of {request:?}"
    );
    let hours = wanted(&figures, |e| {
        let row = |h: &tillhouse_statistics::report::HourlyTransactions| {
            (vec![h.hour.clone()], h.transactions.to_string())
        };
        e.hourly_transactions.iter().map(row).collect()
    });
    let by_hour = match request.hours {
        HourGrouping::OfDay => {
            ask(
                "counted",
                "lpad(CAST(local_hour AS VARCHAR), 2, '0')",
                "count(*)",
            )
            .await
        }
        HourGrouping::Timeline => {
            let sql = format!(
                "SELECT currency, h.hour, c.transactions FROM (
                     SELECT currency, local_hour_start(occurred_at, '{zone}') AS start, count(*) AS transactions
                     FROM counted WHERE {condition} GROUP BY ALL) AS c
                 JOIN (SELECT currency AS of, hour, starts_at FROM hourly_transactions('{from}', '{to}', '{zone}'{options})) AS h
                   ON h.of = c.currency AND h.starts_at = c.start",
                zone = request.timezone,
                condition = narrowed("counted"),
                from = request.window.from(),
                to = request.window.to(),
                options = options(request),
            );
            rows(session, &sql)
                .await
                .into_iter()
                .map(|(labels, value)| (labels, plain(&value)))
                .collect()
        }
    };
    assert_eq!(by_hour, hours, "hours of {request:?}");
    macro_rules! payments {
        ($($column:literal $ranking:ident $label:ident,)*) => {$(
            let ranking = wanted(&figures, |e| {
                e.$ranking.iter().map(|row| (vec![row.$label.clone()], row.amount.to_string())).collect()
            });
            assert_eq!(ask("counted_payments", $column, "sum(amount)").await, ranking, "{} of {request:?}", $column);
        )*};
    }
    payments!(
        "type" payment_type_ranking payment_type,
        "medium" payment_medium_ranking payment_medium,
        "scheme" payment_scheme_ranking payment_scheme,
        "entry_mode" payment_entry_mode_ranking payment_entry_mode,
        "function" payment_function_ranking payment_function,
        "method" payment_method_ranking payment_method,
    );
    let quantities = wanted(&figures, |e| {
        let unit = |unit: &tillhouse_statistics::report::ArticleQuantities| {
            let row = |row: &tillhouse_statistics::report::ArticleQuantity| {
                (
                    vec![unit.unit_measure.clone(), row.article_name.clone()],
                    row.quantity.to_string(),
                )
            };
            unit.articles_quantities.iter().map(row).collect::<Vec<_>>()
        };
        e.article_quantities_ranking.iter().flat_map(unit).collect()
    });
    assert_eq!(
        ask(
            "counted_articles",
            "unit_measure, article_name",
            "sum(quantity)"
        )
        .await,
        quantities,
        "articles of {request:?}"
    );
}

/// The table functions' options for a request.
fn options(request: &StatisticsRequest) -> String {
    let mut options = serde_json::json!({});
    for (name, value) in [("tenant", &request.tenant), ("source", &request.source)] {
        if let Some(value) = value {
            options[name] = value.as_str().into();
        }
    }
    if let Some(filter) = &request.filter {
        options["filter"] = serde_json::to_value(filter.descriptor()).unwrap();
    }
    format!(", '{}'", options.to_string().replace('\'', "''"))
}

fn window_of(request: &StatisticsRequest) -> String {
    let text = |value: &Option<String>, column: &str| {
        value
            .as_ref()
            .map_or_else(String::new, |value| format!(" AND {column} = '{value}'"))
    };
    format!(
        "occurred_at >= '{}' AND occurred_at < '{}'{}{}",
        request.window.from(),
        request.window.to(),
        text(&request.tenant, "tenant_id"),
        text(&request.source, "source"),
    )
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work);
}

/// Blank texts where a provider means "not said".
fn with_blanks(mut house: FixtureTables, which: usize) -> FixtureTables {
    let blank = |index: usize, text: &mut Option<String>| {
        if index % 7 == which {
            *text = some("");
        }
    };
    for (index, sale) in house.sales.iter_mut().enumerate() {
        blank(index, &mut sale.currency);
    }
    for (index, article) in house.articles.iter_mut().enumerate() {
        blank(index, &mut article.name);
        blank(index + 1, &mut article.unit);
        blank(index + 2, &mut article.currency);
    }
    for (index, payment) in house.payments.iter_mut().enumerate() {
        blank(index, &mut payment.words[0]);
        blank(index + 1, &mut payment.words[1]);
        blank(index + 2, &mut payment.currency);
    }
    for (index, (_, name)) in house
        .sites
        .iter_mut()
        .chain(&mut house.products)
        .enumerate()
    {
        blank(index, name);
    }
    house
}

proptest! {
    // Few where nothing is optimized: a case plans fifteen queries.
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 12 } else { 120 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// Windows and zones of every kind, currencies that payments and articles have of their own or not at all.
    #[test]
    fn sums_over_the_views_are_the_statistics(house in house(), (asked, _, by) in request(), blanks in 0_usize..14) {
        let defaults = StatisticsRequest::new(asked.window);
        let request = StatisticsRequest { perspective: defaults.perspective, states: defaults.states, ..asked };
        let house = with_blanks(moved_house(house, by), blanks);
        block_on(async {
            assert_the_views_agree(&house.session(), &request, &window_of(&request), None).await;
        });
    }

    /// Filters by what sales, sites, devices, points and tenants have, each beside the SQL that says the same.
    #[test]
    fn a_filter_narrows_the_views_as_it_narrows_the_statistics(
        mut world in world::world(),
        which in 0_usize..FILTERS.len(),
        (zone, _) in proptest::sample::select(&ZONES[..]),
        (from, hours) in (-20_i64..40, 1_i64..30),
    ) {
        // No name of a fixture is a name of a dimension's by chance alone.
        if let Some(sites) = world.dimensions.get_mut("sites") {
            for (index, site) in sites.iter_mut().enumerate() {
                site.insert("name".into(), OracleValue::Text(["Harbour", "Centre", "harbour"][index % 3].into()));
            }
        }
        let (filter, sql) = FILTERS[which];
        let day: jiff::Timestamp = world::DAY.0.parse().unwrap();
        let hour = jiff::SignedDuration::from_hours;
        let window = tillhouse_model::Window::new(day + hour(from), day + hour(from + hours)).unwrap();
        let filter = CheckedFilter::new(&Filter::parse(filter).unwrap(), zone, None).unwrap();
        let request = StatisticsRequest { timezone: zone.to_owned(), filter: Some(filter), ..StatisticsRequest::new(window) };
        let world: OracleWorld = world;
        block_on(async {
            assert_the_views_agree(&world.session(), &request, &window_of(&request), Some(sql)).await;
        });
    }
}

/// Filters, and conditions on the columns of `counted` that mean the same.
const FILTERS: [(&str, &str); 10] = [
    (
        r#"{"field": "amount", "operator": "gte", "value": 1.25}"#,
        "amount >= 1.25",
    ),
    (
        r#"{"field": "kind", "operator": "eq", "value": "refund"}"#,
        "kind = 'refund'",
    ),
    (
        r#"{"field": "site_name", "operator": "eq", "value": "harbour"}"#,
        "lower(site_name) = 'harbour'",
    ),
    (
        r#"{"field": "site_name", "operator": "contains", "value": "CENT", "ignoreCase": true}"#,
        "site_name ILIKE '%cent%'",
    ),
    (
        r#"{"field": "site_id", "operator": "eq", "value": "s1"}"#,
        "substr(site_key, character_length(pipeline) + 2) = 's1'",
    ),
    (
        r#"{"field": "device_key", "operator": "isnull"}"#,
        "device_key IS NULL",
    ),
    (
        r#"{"field": "point_key", "operator": "neq", "value": "p:p0", "ignoreCase": false}"#,
        "point_key IS DISTINCT FROM 'p:p0'",
    ),
    (
        r#"{"field": "mandator_id", "operator": "eq", "value": "A", "ignoreCase": false}"#,
        "tenant_id = 'A'",
    ),
    (
        r#"{"logic": "or", "filters": [{"field": "local_hour", "operator": "lt", "value": 9},
            {"field": "category", "operator": "eq", "value": "abc", "ignoreCase": false}]}"#,
        "local_hour < 9 OR category = 'abc'",
    ),
    (
        r#"{"logic": "and", "filters": [{"field": "occurred_at", "operator": "gte", "value": "2026-01-15T06:00:00Z"},
            {"field": "pipeline", "operator": "neq", "value": "pp"}]}"#,
        "occurred_at >= '2026-01-15T06:00:00Z' AND pipeline <> 'pp'",
    ),
];

#[tokio::test]
async fn weeks_months_and_hours_are_the_sites_own() {
    let house = FixtureTables {
        sales: vec![
            crate::fixture::FixtureSale {
                local_hour: Some(3),
                ..crate::fixture::FixtureSale::new("2026-01-01T02:00:00Z", 10_000)
            },
            crate::fixture::FixtureSale::new("2024-12-30T23:59:59Z", 10_000),
            crate::fixture::FixtureSale {
                kind: "test".to_owned(),
                ..crate::fixture::FixtureSale::new("2026-01-01T02:00:00Z", 10_000)
            },
        ],
        ..FixtureTables::default()
    };
    let session = house.session();
    register_sql(&session, None);
    let found = rows(
        &session,
        "SELECT business_date, iso_week, business_month, local_hour FROM counted",
    )
    .await;
    let row = |cells: [&str; 3], hour: &str| (cells.map(str::to_owned).to_vec(), hour.to_owned());
    let expected: Rows = [
        row(["2024-12-30", "2025-W01", "2024-12"], "23"),
        row(["2026-01-01", "2026-W01", "2026-01"], "3"),
    ]
    .into();
    assert_eq!(found, expected);
}
