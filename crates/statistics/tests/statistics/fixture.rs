//! A small house of tables in memory, for tests that compute by hand.
//!
//! Invariant: the tables have the columns statistics read, under the unified contracts' names and types; a row says only what its
//! test is about, the rest is an ordinary completed sale.

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::datasource::MemTable;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tillhouse_model::Window;
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session};

/// A transaction. Its key is `p:<its position>`.
#[derive(Debug, Clone)]
pub(crate) struct FixtureSale {
    pub(crate) tenant: Option<String>,
    pub(crate) source: String,
    pub(crate) perspective: String,
    pub(crate) kind: String,
    pub(crate) state: Option<String>,
    pub(crate) at: Option<Timestamp>,
    pub(crate) local_hour: Option<i64>,
    /// In ten-thousandths.
    pub(crate) amount: Option<i128>,
    pub(crate) currency: Option<String>,
    pub(crate) site: Option<String>,
}

/// An article of the transaction at position `sale`.
#[derive(Debug, Clone)]
pub(crate) struct FixtureArticle {
    pub(crate) sale: usize,
    pub(crate) product: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) unit: Option<String>,
    /// In millionths.
    pub(crate) quantity: Option<i128>,
    pub(crate) currency: Option<String>,
}

/// A payment of the transaction at position `sale`; of a position beyond the sales it is a payment whose sale is in no table.
#[derive(Debug, Clone)]
pub(crate) struct FixturePayment {
    pub(crate) sale: usize,
    /// type, medium, scheme, entry mode, function
    pub(crate) words: [Option<String>; 5],
    pub(crate) state: Option<String>,
    /// In ten-thousandths.
    pub(crate) amount: Option<i128>,
    pub(crate) currency: Option<String>,
    /// True if the provider leaves it out of its own reports.
    pub(crate) excluded: Option<bool>,
}

/// Unified tables in memory, for tests that compute by hand.
#[derive(Debug, Clone, Default)]
pub(crate) struct FixtureTables {
    pub(crate) sales: Vec<FixtureSale>,
    /// Payments without a sale, with their own time, tenant and site. Of kind and state they know
    /// nothing.
    pub(crate) orphans: Vec<FixtureSale>,
    pub(crate) articles: Vec<FixtureArticle>,
    pub(crate) payments: Vec<FixturePayment>,
    /// Key and name.
    pub(crate) sites: Vec<(String, Option<String>)>,
    pub(crate) products: Vec<(String, Option<String>)>,
}

pub(crate) fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(crate) fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn window(from: &str, to: &str) -> Window {
    Window::new(t(from), t(to)).unwrap()
}

impl FixtureSale {
    /// A completed sale in euros, at a site without a name.
    pub(crate) fn new(at: &str, amount: i128) -> Self {
        Self {
            tenant: None,
            source: "hecone".to_owned(),
            perspective: "sale".to_owned(),
            kind: "sale".to_owned(),
            state: some("completed"),
            at: Some(t(at)),
            local_hour: None,
            amount: Some(amount),
            currency: some("EUR"),
            site: None,
        }
    }
}

impl FixtureSale {
    /// The day on the site's clock, which is less than half a day beside UTC's; the UTC day where the clock is not known.
    pub(crate) fn business_date(&self) -> Option<i32> {
        let second = self.at?.as_second();
        let utc_hour = second.rem_euclid(86_400) / 3_600;
        let ahead = self
            .local_hour
            .map_or(0, |local| (local - utc_hour + 12).rem_euclid(24) - 12);
        let day = (second + ahead * 3_600).div_euclid(86_400);
        Some(i32::try_from(day).unwrap())
    }
}

impl FixtureArticle {
    pub(crate) fn new(sale: usize, name: &str, unit: &str, quantity: i128) -> Self {
        let (name, unit, state) = (some(name), some(unit), some("done"));
        Self {
            sale,
            product: None,
            name,
            state,
            unit,
            quantity: Some(quantity),
            currency: some("EUR"),
        }
    }
}

impl FixturePayment {
    pub(crate) fn new(sale: usize, words: [&str; 5], amount: i128) -> Self {
        let (state, currency) = (some("collected"), some("EUR"));
        Self {
            sale,
            words: words.map(some),
            state,
            amount: Some(amount),
            currency,
            excluded: Some(false),
        }
    }

    /// The medium in small letters; an empty one stays what it is.
    pub(crate) fn method(&self) -> Option<String> {
        self.words[1].as_ref().map(|medium| medium.to_lowercase())
    }
}

impl FixtureTables {
    /// The sale at a position, or what a payment without one says.
    pub(crate) fn sale(&self, position: usize) -> &FixtureSale {
        self.sales
            .get(position)
            .unwrap_or_else(|| &self.orphans[position - self.sales.len()])
    }

    pub(crate) fn is_known(&self, position: usize) -> bool {
        position < self.sales.len()
    }

    /// A session in which these are the unified tables.
    pub(crate) fn session(&self) -> Session {
        let options = QueryEngineOptions {
            threads: 2,
            ..QueryEngineOptions::default()
        };
        let session = QueryEngine::new(options).unwrap().empty_session().unwrap();
        let every: Vec<usize> = (0..self.sales.len()).collect();
        let mut columns = self.inherited(&every, "state");
        columns.push((
            "transaction_key",
            text(every.iter().map(|i| Some(format!("p:{i}")))),
        ));
        columns.push(("amount", decimal(self.sales.iter().map(|s| s.amount), 4)));
        columns.push((
            "currency",
            text(self.sales.iter().map(|s| s.currency.clone())),
        ));
        let started: TimestampMicrosecondArray = every
            .iter()
            .map(|i| self.started(*i).map(Timestamp::as_microsecond))
            .collect();
        columns.push(("started_at", Arc::new(started.with_timezone("UTC"))));
        register(&session, "transactions", columns);

        let parents: Vec<usize> = self.articles.iter().map(|a| a.sale).collect();
        let mut columns = self.inherited(&parents, "transaction_state");
        columns.push((
            "transaction_key",
            text(parents.iter().map(|i| Some(format!("p:{i}")))),
        ));
        columns.push((
            "product_key",
            text(self.articles.iter().map(|a| a.product.clone())),
        ));
        columns.push(("name", text(self.articles.iter().map(|a| a.name.clone()))));
        columns.push(("state", text(self.articles.iter().map(|a| a.state.clone()))));
        columns.push((
            "unit_measure",
            text(self.articles.iter().map(|a| a.unit.clone())),
        ));
        columns.push((
            "quantity",
            decimal(self.articles.iter().map(|a| a.quantity), 6),
        ));
        columns.push((
            "currency",
            text(self.articles.iter().map(|a| a.currency.clone())),
        ));
        register(&session, "articles", columns);

        let parents: Vec<usize> = self.payments.iter().map(|p| p.sale).collect();
        let mut columns = self.inherited(&parents, "transaction_state");
        columns.push((
            "transaction_key",
            text(parents.iter().map(|i| Some(format!("p:{i}")))),
        ));
        for (i, name) in ["type", "medium", "scheme", "entry_mode", "function"]
            .into_iter()
            .enumerate()
        {
            columns.push((name, text(self.payments.iter().map(|p| p.words[i].clone()))));
        }
        columns.push((
            "method",
            text(self.payments.iter().map(FixturePayment::method)),
        ));
        columns.push(("state", text(self.payments.iter().map(|p| p.state.clone()))));
        columns.push(("amount", decimal(self.payments.iter().map(|p| p.amount), 4)));
        columns.push((
            "currency",
            text(self.payments.iter().map(|p| p.currency.clone())),
        ));
        columns.push((
            "excluded",
            Arc::new(
                self.payments
                    .iter()
                    .map(|p| p.excluded)
                    .collect::<BooleanArray>(),
            ),
        ));
        register(&session, "payments", columns);

        for (table, key, rows) in [
            ("sites", "site_key", &self.sites),
            ("products", "product_key", &self.products),
        ] {
            let keys = text(rows.iter().map(|(key, _)| Some(key.clone())));
            register(
                &session,
                table,
                vec![
                    (key, keys),
                    ("name", text(rows.iter().map(|(_, name)| name.clone()))),
                ],
            );
        }
        session
    }

    /// When a sale's first article started: one to thirteen hours before the sale; every ninth has none.
    pub(crate) fn started(&self, sale: usize) -> Option<Timestamp> {
        let before = SignedDuration::from_hours(1 + i64::try_from(sale % 5).unwrap() * 3);
        self.sales[sale]
            .at
            .filter(|_| sale % 9 != 8)
            .map(|at| at - before)
    }

    /// The columns every fact has from its transaction.
    fn inherited(&self, parents: &[usize], state: &'static str) -> Vec<(&'static str, ArrayRef)> {
        let of = |get: fn(&FixtureSale) -> Option<String>| {
            text(parents.iter().map(|i| get(self.sale(*i))))
        };
        let of_known = |get: fn(&FixtureSale) -> Option<String>| {
            text(parents.iter().map(|i| {
                if self.is_known(*i) {
                    get(self.sale(*i))
                } else {
                    None
                }
            }))
        };
        let times: TimestampMicrosecondArray = parents
            .iter()
            .map(|i| self.sale(*i).at.map(Timestamp::as_microsecond))
            .collect();
        let dates: Date32Array = parents
            .iter()
            .map(|i| self.sale(*i).business_date())
            .collect();
        let hours: Int64Array = parents.iter().map(|i| self.sale(*i).local_hour).collect();
        let month = |sale: &FixtureSale| {
            Some(
                sale.at
                    .map_or("none".to_owned(), |at| at.strftime("%Y-%m").to_string()),
            )
        };
        vec![
            ("pipeline", of(|_| some("p"))),
            ("source", of(|s| Some(s.source.clone()))),
            ("tenant_id", of(|s| s.tenant.clone())),
            ("perspective", of(|s| Some(s.perspective.clone()))),
            ("kind", of_known(|s| Some(s.kind.clone()))),
            (state, of_known(|s| s.state.clone())),
            ("site_key", of(|s| s.site.clone())),
            ("occurred_at", Arc::new(times.with_timezone("UTC"))),
            ("business_date", Arc::new(dates)),
            ("local_hour", Arc::new(hours)),
            ("month", text(parents.iter().map(|i| month(self.sale(*i))))),
        ]
    }
}

pub(crate) fn text(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn decimal(values: impl Iterator<Item = Option<i128>>, scale: i8) -> ArrayRef {
    Arc::new(
        values
            .collect::<Decimal128Array>()
            .with_precision_and_scale(18, scale)
            .unwrap(),
    )
}

pub(crate) fn register(session: &Session, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .unwrap();
    // In two batches, so that nothing relies on having everything in one.
    let half = batch.num_rows() / 2;
    let halves = vec![
        vec![batch.slice(0, half)],
        vec![batch.slice(half, batch.num_rows() - half)],
    ];
    session
        .register(
            name,
            Arc::new(MemTable::try_new(batch.schema(), halves).unwrap()),
        )
        .unwrap();
}
