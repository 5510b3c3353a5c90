//! The views `counted`, `counted_articles` and `counted_payments`: the rows that the statistics count unless somebody says otherwise, with the
//! names and the words under which they show them.
//!
//! Invariant: over the rows of any window, `count(*)` and `sum(amount)` of `counted` by `currency` are `transactions_count` and
//! `transactions_total_amount`; `sum(amount)` of `counted_payments` by a label, and `sum(quantity)` of `counted_articles` by unit and article name, are
//! the rankings. What counts is asked of [`definitions`](crate::definitions) alone; a property test holds the figures against each other.
//!
//! ```text
//!   transactions ─ counted states and kinds, sales, with a time ─┬─ names of site, device, point, tenant ─> counted
//!   articles     ─ the same, sold ─────────┬─ currency of its own, else its transaction's ─ product's name ─> counted_articles
//!   payments     ─ the same, collected ────┘                                                              └─> counted_payments
//! ```
//!
//! Articles and payments that name no currency are a second branch of a union, so that nobody else waits for a join with transactions.

use crate::definitions::{COLLECTED_SQL, SALE, SOLD_SQL, counted_by_default_sql};
use crate::transaction_totals::UNKNOWN;
use tillhouse_query::{JoinedNames, SqlView, ViewTables, column_of};

/// The transactions that count.
pub(crate) const COUNTED: SqlView = SqlView {
    name: "counted",
    description: "One transaction that the statistics count: a sale or refund that is completed or consumed.",
    notes: &TIME_NOTES,
    over: "transactions",
    beside: &["sites", "devices", "points", "tenants"],
    definition: transactions,
};

/// The articles of transactions that count, but for those that were not sold.
pub(crate) const COUNTED_ARTICLES: SqlView = SqlView {
    name: "counted_articles",
    description: "One article that the statistics count: of a transaction that counts, and sold.",
    notes: &[
        TIME_NOTES[0],
        TIME_NOTES[1],
        TIME_NOTES[2],
        TIME_NOTES[3],
        (
            "article_name",
            "Name of the article as the statistics show it: its product's current name, else its own.",
        ),
    ],
    over: "articles",
    beside: &["transactions", "products", "sites", "devices", "tenants"],
    definition: articles,
};

/// The collected payments of transactions that count.
pub(crate) const COUNTED_PAYMENTS: SqlView = SqlView {
    name: "counted_payments",
    description: "One payment that the statistics count: of a transaction that counts, and collected.",
    notes: &TIME_NOTES,
    over: "payments",
    beside: &["transactions", "sites", "devices", "tenants"],
    definition: payments,
};

/// Meaning of the columns that the views have of their own.
const TIME_NOTES: [(&str, &str); 4] = [
    (
        "local_hour",
        "Hour of occurred_at on the site's own clock, 0 to 23; UTC's where that clock is not known.",
    ),
    ("iso_week", "ISO 8601 week of business_date, like 2026-W05."),
    ("business_month", "Month of business_date, YYYY-MM."),
    (
        "currency",
        "Currency, ISO 4217; of an article or payment without one its transaction's. unknown where nobody says.",
    ),
];

/// Fact whose rows count, and what a view makes of its columns.
struct CountedFact {
    table: &'static str,
    /// The column of the transaction's state.
    state: &'static str,
    /// Further condition on its rows.
    condition: Option<&'static str>,
    /// Columns that are `unknown` where there is nothing in them, as the statistics show them.
    labels: &'static [&'static str],
    /// Columns that come right after the times.
    first: &'static [&'static str],
}

fn transactions(tables: &ViewTables) -> Option<String> {
    let fact = CountedFact {
        table: "transactions",
        state: "state",
        condition: None,
        labels: &[],
        first: &["currency", "amount"],
    };
    fact.query(tables, None)
}

fn articles(tables: &ViewTables) -> Option<String> {
    let fact = CountedFact {
        table: "articles",
        state: "transaction_state",
        condition: Some(SOLD_SQL),
        labels: &["unit_measure"],
        first: &["currency", "amount", "quantity", "unit_measure"],
    };
    // An article is shown by its product's current name.
    let has_products = tables.has_column("products", "product_key")
        && tables.has_column("products", "name")
        && tables.has_column("articles", "product_key");
    let own = blank_is_null(&column_of("t", "name"));
    let (name, join) = if has_products {
        (
            format!(
                "coalesce({}, {own}, '{UNKNOWN}')",
                blank_is_null("products.name")
            ),
            "\nLEFT JOIN products ON products.product_key = t.product_key",
        )
    } else {
        (format!("coalesce({own}, '{UNKNOWN}')"), "")
    };
    fact.query(tables, Some(("article_name", name, join)))
}

fn payments(tables: &ViewTables) -> Option<String> {
    let fact = CountedFact {
        table: "payments",
        state: "transaction_state",
        condition: Some(COLLECTED_SQL),
        labels: &[
            "method",
            "type",
            "medium",
            "scheme",
            "entry_mode",
            "function",
        ],
        first: &["currency", "amount", "method", "type", "medium"],
    };
    fact.query(tables, None)
}

impl CountedFact {
    /// The view's query; `None` where the table lacks a column that decides what counts. `more` is a further column behind the first ones, and
    /// its join.
    fn query(
        &self,
        tables: &ViewTables,
        more: Option<(&'static str, String, &'static str)>,
    ) -> Option<String> {
        let needed = [
            "perspective",
            "kind",
            self.state,
            "occurred_at",
            "currency",
            "business_date",
            "local_hour",
        ];
        if !needed
            .iter()
            .all(|column| tables.has_column(self.table, column))
        {
            return None;
        }
        let names = JoinedNames::of(tables, self.table, "t");
        let (extra, join) = match more {
            Some((name, sql, join)) => (Some((name, sql)), join),
            None => (None, ""),
        };
        let mut shown: Vec<(String, String)> = times();
        let own: Vec<&str> = tables.own_columns(self.table);
        let is_first = |name: &str| self.first.contains(&name);
        let first = self.first.iter().filter(|name| own.contains(name));
        shown.extend(first.map(|name| ((*name).to_owned(), self.column(name))));
        shown.extend(extra.map(|(name, sql)| (name.to_owned(), sql)));
        let named = names.columns.iter().map(|(name, column)| {
            let column = match name.strip_suffix("_name") {
                Some(_) => known(column),
                None => column.clone(),
            };
            ((*name).to_owned(), column)
        });
        shown.extend(named);
        let is_shown = |name: &str| is_first(name) || shown.iter().any(|(known, _)| known == name);
        let rest: Vec<(String, String)> = own
            .iter()
            .filter(|name| !is_shown(name))
            .map(|name| ((*name).to_owned(), self.column(name)))
            .collect();
        shown.extend(rest);
        let columns: Vec<String> = shown
            .iter()
            .map(|(name, sql)| match *sql == column_of("t", name) {
                true => sql.clone(),
                false => format!("{sql} AS {name}", name = tillhouse_query::quoted_name(name)),
            })
            .collect();
        Some(format!(
            "SELECT\n  {}\nFROM (\n{}\n) AS t{join}{}",
            columns.join(",\n  "),
            self.rows(tables),
            names.joins
        ))
    }

    /// A column as the view shows it.
    fn column(&self, name: &str) -> String {
        let column = column_of("t", name);
        if name == "currency" || self.labels.contains(&name) {
            known(&column)
        } else {
            column
        }
    }

    /// Condition on the rows that count. An alias before the column of the transaction's state would be one before all of them, so there is
    /// none: it is asked of one table alone.
    fn condition(&self) -> String {
        let more = self
            .condition
            .map_or_else(String::new, |condition| format!(" AND {condition}"));
        format!(
            "perspective = '{SALE}' AND {} AND occurred_at IS NOT NULL{more}",
            counted_by_default_sql(self.state)
        )
    }

    /// The rows that count, articles and payments with their transaction's currency where they have none.
    fn rows(&self, tables: &ViewTables) -> String {
        let (table, condition) = (self.table, self.condition());
        let has_parents = table != "transactions"
            && tables.has_column("transactions", "transaction_key")
            && tables.has_column("transactions", "currency")
            && tables.has_column(table, "transaction_key");
        if !has_parents {
            return format!("  SELECT * FROM {table} WHERE {condition}");
        }
        let own = tables.own_columns(table);
        let plain: Vec<String> = own
            .iter()
            .map(|name| tillhouse_query::quoted_name(name))
            .collect();
        let inherited: Vec<String> = own
            .iter()
            .map(|name| match *name {
                "currency" => "p.currency".to_owned(),
                name => column_of("c", name),
            })
            .collect();
        format!(
            "  SELECT {plain}\n  FROM {table}\n  WHERE {condition} AND currency IS NOT NULL\n  UNION ALL\n  SELECT {inherited}\n  \
             FROM (SELECT * FROM {table} WHERE {condition} AND currency IS NULL) AS c\n  \
             LEFT JOIN transactions AS p ON p.transaction_key = c.transaction_key",
            plain = plain.join(", "),
            inherited = inherited.join(", ")
        )
    }
}

/// The site's own date, week, month and hour. A site whose clock is not known goes by UTC, as in the statistics.
fn times() -> Vec<(String, String)> {
    // By the seconds since 1970, which no engine reads on a clock of its own. Before that they are negative, and so is what is left of them.
    let hour = "(CAST(floor(date_part('epoch', t.occurred_at) / 3600) AS BIGINT) % 24 + 24) % 24";
    let date = "t.business_date";
    let week = format!(
        "CAST(date_part('isoyear', {date}) AS VARCHAR) || '-W' || lpad(CAST(date_part('week', {date}) AS VARCHAR), 2, '0')"
    );
    [
        ("occurred_at", "t.occurred_at".to_owned()),
        ("business_date", date.to_owned()),
        ("local_hour", format!("coalesce(t.local_hour, {hour})")),
        ("iso_week", week),
        (
            "business_month",
            format!("substr(CAST({date} AS VARCHAR), 1, 7)"),
        ),
    ]
    .map(|(name, sql)| (name.to_owned(), sql))
    .into()
}

/// A text, or null where it is empty: providers use both for "not said".
fn blank_is_null(column: &str) -> String {
    format!("nullif({column}, '')")
}

/// A text as the statistics show it.
fn known(column: &str) -> String {
    format!("coalesce({}, '{UNKNOWN}')", blank_is_null(column))
}
