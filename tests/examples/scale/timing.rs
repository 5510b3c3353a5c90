//! Times of statistics and reports, in one process over one warehouse that is opened once.
//!
//! Invariant: every answer is asked in a fresh session over the newest published run, as a server's would be, so that opening the tables counts; the first
//! answer of a case is not timed. One line of JSON a case.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tillhouse_lake::{AsOf, Warehouse, WarehouseLocation};
use tillhouse_model::{CivilPeriod, Filter, Window, parse_day};
use tillhouse_query::{QueryEngine, QueryEngineOptions};
use tillhouse_statistics::report::StatisticsReport;
use tillhouse_statistics::reports::{ReportName, ReportRequest, ReportTime, report};
use tillhouse_statistics::{CheckedFilter, StatisticsRequest, statistics, statistics_of_facts};

/// A case is not asked again when it has taken this long.
const ENOUGH: Duration = Duration::from_secs(60);

/// Question, and how often it is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Instants of statistics, days of a report.
    from: String,
    to: String,
    runs: usize,
    #[serde(default)]
    timezone: Option<String>,
    #[serde(default)]
    hours: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    filter: Option<Value>,
    /// True for statistics that are counted from the facts.
    #[serde(default)]
    facts: bool,
    /// Name of a report, for reports.
    #[serde(default)]
    report: Option<String>,
    /// The report's other period, `2020-01-01..2021-01-01`.
    #[serde(default)]
    compared: Option<String>,
}

/// An answer: where it was computed from, and what can be compared of it.
type Answered = (String, Value);

/// Times the cases of a file, each so often as it says.
pub(crate) async fn time(warehouse: &Path, cases: &Path, memory_mib: u64) {
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(cases).unwrap()).unwrap();
    let location = WarehouseLocation::new(warehouse.display().to_string());
    let warehouse = Warehouse::open(&location).await.unwrap();
    let engine = QueryEngine::new(QueryEngineOptions {
        memory_limit_bytes: memory_mib << 20,
        ..QueryEngineOptions::default()
    })
    .unwrap();
    for case in cases {
        println!("{}", timed(&warehouse, &engine, &case).await);
    }
}

async fn timed(warehouse: &Warehouse, engine: &QueryEngine, case: &Case) -> Value {
    let (mut seconds, mut opening): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut told = None;
    let mut requests = warehouse.requests();
    let begun = Instant::now();
    for run in 0..=case.runs {
        let clock = Instant::now();
        let session = engine.open(warehouse, &AsOf::Latest).await.unwrap();
        let opened = clock.elapsed();
        let answer = match &case.report {
            None => {
                let request = case.statistics();
                let report = match case.facts {
                    true => statistics_of_facts(&session, warehouse, &request).await,
                    false => statistics(&session, warehouse, &request).await,
                };
                let report = report.unwrap();
                let taken = clock.elapsed();
                (taken, answered(&report))
            }
            Some(name) => {
                let report = report(&session, warehouse, &case.report(name))
                    .await
                    .unwrap();
                let taken = clock.elapsed();
                (taken, ("facts".to_owned(), json!(report.meta.report)))
            }
        };
        let (taken, answer) = answer;
        if let Some(before) = &told {
            assert_eq!(before, &answer, "{}: another answer than before", case.name);
        }
        told = Some(answer);
        if run == 0 {
            requests = warehouse.requests();
            continue;
        }
        seconds.push(taken.as_secs_f64());
        opening.push(opened.as_secs_f64());
        if begun.elapsed() > ENOUGH {
            break;
        }
    }
    let now = warehouse.requests();
    let runs = seconds.len() as u64;
    let (from, figures) = told.unwrap_or_default();
    json!({
        "name": case.name,
        "from": from,
        "seconds": seconds,
        "opening": opening,
        "data_gets": (now.data_gets - requests.data_gets) / runs,
        "bytes_read": (now.bytes_read - requests.bytes_read) / runs,
        "figures": figures,
    })
}

impl Case {
    fn statistics(&self) -> StatisticsRequest {
        let instant = |text: &str| text.parse::<Timestamp>().unwrap();
        let window = Window::new(instant(&self.from), instant(&self.to)).unwrap();
        let timezone = self.timezone.clone().unwrap_or_else(|| "UTC".to_owned());
        let filter = self.filter.as_ref().map(|filter| {
            let filter = Filter::parse(&filter.to_string()).unwrap();
            CheckedFilter::new(&filter, &timezone, None).unwrap()
        });
        let asked = StatisticsRequest::new(window);
        StatisticsRequest {
            source: self.source.clone(),
            hours: match &self.hours {
                Some(hours) => hours.parse().unwrap(),
                None => asked.hours,
            },
            timezone,
            filter,
            ..asked
        }
    }

    fn report(&self, name: &str) -> ReportRequest {
        let day = |text: &str| parse_day(text).unwrap();
        let name: ReportName = name.parse().unwrap();
        let when = if name.is_about_a_date() {
            ReportTime::On(day(&self.from))
        } else {
            let period = CivilPeriod::days(day(&self.from), day(&self.to)).unwrap();
            let compared = self.compared.as_deref();
            ReportTime::Periods(
                period,
                compared.map(|text| CivilPeriod::parse(text).unwrap()),
            )
        };
        ReportRequest::new(name, when)
    }
}

/// Figures that can be compared with another program's answer, by currency.
fn answered(report: &StatisticsReport) -> Answered {
    let entries = report.data.iter().map(|entry| {
        let paid = entry.payment_type_ranking.iter();
        let paid: Vec<String> = paid.map(|row| row.amount.to_string()).collect();
        let articles = entry.article_quantities_ranking.iter();
        let articles: usize = articles.map(|unit| unit.articles_quantities.len()).sum();
        let figures = json!({
            "transactions": entry.transactions_count.value,
            "amount": entry.transactions_total_amount.value.to_string(),
            "hours": entry.hourly_transactions.len(),
            "sites": entry.sites_amount_ranking.len(),
            "articles": articles,
            "paid": paid,
        });
        (entry.currency.clone(), figures)
    });
    let figures: serde_json::Map<String, Value> = entries.collect();
    (report.meta.answered_from.clone(), Value::Object(figures))
}
