//! The shape of the statistics: HecOne's field names, plus `currency`.
//!
//! Invariant: every amount is an [`ExactDecimal`]; serialised with serde_json it is a JSON number with every digit.

use crate::definitions::is_counted_kind;
use jiff::Timestamp;
use serde::Serialize;
use tillhouse_model::reconcile::{ProviderFigure, StatisticsPart};
use tillhouse_model::{ExactDecimal, Filter, ReadBy, Window};

/// Statistics of a window: one entry a currency, and what may be thought of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatisticsReport {
    /// One entry a currency, ordered by currency.
    pub data: Vec<CurrencyStatistics>,
    /// Request, and whether the answer may be trusted.
    pub meta: StatisticsMeta,
}

/// HecOne's statistics of one currency, and `payment_method_ranking` beside them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "the names are HecOne's; DESIGN and docs/statistics.md define them"
)]
pub struct CurrencyStatistics {
    /// ISO 4217, or `unknown` where the provider named none.
    pub currency: String,
    pub hourly_transactions: Vec<HourlyTransactions>,
    pub payment_type_ranking: Vec<PaymentTypeAmount>,
    pub payment_medium_ranking: Vec<PaymentMediumAmount>,
    pub payment_scheme_ranking: Vec<PaymentSchemeAmount>,
    pub payment_entry_mode_ranking: Vec<PaymentEntryModeAmount>,
    pub payment_function_ranking: Vec<PaymentFunctionAmount>,
    pub payment_method_ranking: Vec<PaymentMethodAmount>,
    pub article_quantities_ranking: Vec<ArticleQuantities>,
    pub sites_amount_ranking: Vec<SiteAmount>,
    pub sites_transactions_ranking: Vec<SiteTransactions>,
    pub transactions_count: GrowthFigure<i64>,
    pub transactions_total_amount: GrowthFigure<ExactDecimal>,
}

impl CurrencyStatistics {
    /// The entry, figure by figure, as providers have them: methods of payment are ours alone.
    pub fn figures(&self) -> Vec<ProviderFigure> {
        let mut figures = Vec::new();
        let mut add =
            |part, unit: Option<&str>, label: Option<&str>, value: Option<ExactDecimal>| {
                figures.push(ProviderFigure {
                    part,
                    currency: Some(self.currency.clone()),
                    unit: unit.map(str::to_owned),
                    label: label.map(str::to_owned),
                    value,
                });
            };
        let count = |value: i64| Some(ExactDecimal::new(i128::from(value), 0));
        let GrowthFigure { growth, value } = &self.transactions_count;
        add(StatisticsPart::Count, None, None, count(*value));
        add(StatisticsPart::CountGrowth, None, None, *growth);
        let GrowthFigure { growth, value } = &self.transactions_total_amount;
        add(StatisticsPart::Amount, None, None, Some(*value));
        add(StatisticsPart::AmountGrowth, None, None, *growth);
        for row in &self.hourly_transactions {
            add(
                StatisticsPart::Hours,
                None,
                Some(&row.hour),
                count(row.transactions),
            );
        }
        for row in &self.payment_type_ranking {
            add(
                StatisticsPart::PaymentType,
                None,
                Some(&row.payment_type),
                Some(row.amount),
            );
        }
        for row in &self.payment_medium_ranking {
            add(
                StatisticsPart::PaymentMedium,
                None,
                Some(&row.payment_medium),
                Some(row.amount),
            );
        }
        for row in &self.payment_scheme_ranking {
            add(
                StatisticsPart::PaymentScheme,
                None,
                Some(&row.payment_scheme),
                Some(row.amount),
            );
        }
        for row in &self.payment_entry_mode_ranking {
            add(
                StatisticsPart::PaymentEntryMode,
                None,
                Some(&row.payment_entry_mode),
                Some(row.amount),
            );
        }
        for row in &self.payment_function_ranking {
            add(
                StatisticsPart::PaymentFunction,
                None,
                Some(&row.payment_function),
                Some(row.amount),
            );
        }
        for unit in &self.article_quantities_ranking {
            for row in &unit.articles_quantities {
                add(
                    StatisticsPart::Quantities,
                    Some(&unit.unit_measure),
                    Some(&row.article_name),
                    Some(row.quantity),
                );
            }
        }
        for row in &self.sites_amount_ranking {
            add(
                StatisticsPart::SiteAmount,
                None,
                Some(&row.site_name),
                Some(row.amount),
            );
        }
        for row in &self.sites_transactions_ranking {
            add(
                StatisticsPart::SiteCount,
                None,
                Some(&row.site_name),
                count(row.transactions),
            );
        }
        figures
    }
}

/// Transactions that started in one hour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HourlyTransactions {
    /// The hour's start, ISO 8601 with offset; or `00` to `23` for hours of the day.
    pub hour: String,
    /// Number of transactions.
    pub transactions: i64,
}

macro_rules! ranked {
    ($name:ident, $label:ident, $what:literal) => {
        #[doc = concat!("One row of the ranking of amounts by ", $what, ".")]
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct $name {
            /// Amount in major units of the entry's currency.
            pub amount: ExactDecimal,
            /// The label, or `unknown`.
            pub $label: String,
        }
    };
}
ranked!(PaymentTypeAmount, payment_type, "payment type");
ranked!(PaymentMediumAmount, payment_medium, "payment medium");
ranked!(PaymentSchemeAmount, payment_scheme, "payment scheme");
ranked!(PaymentEntryModeAmount, payment_entry_mode, "entry mode");
ranked!(PaymentFunctionAmount, payment_function, "payment function");
ranked!(PaymentMethodAmount, payment_method, "payment method");

/// One row of the ranking of amounts by site.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SiteAmount {
    /// Amount in major units of the entry's currency.
    pub amount: ExactDecimal,
    /// The site's current name, or `unknown`.
    pub site_name: String,
    /// The site's key; none for the transactions that name no site. HecOne's shape has no room for it: it is for SQL.
    #[serde(skip)]
    pub site_key: Option<String>,
}

/// Transactions of one site.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SiteTransactions {
    /// The site's current name, or `unknown`.
    pub site_name: String,
    /// Number of transactions.
    pub transactions: i64,
    /// The site's key, as in [`SiteAmount::site_key`].
    #[serde(skip)]
    pub site_key: Option<String>,
}

/// Quantities sold in one unit of measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArticleQuantities {
    /// The canonical unit, or `unknown`.
    pub unit_measure: String,
    /// Largest quantity first.
    pub articles_quantities: Vec<ArticleQuantity>,
}

/// The quantity of one article.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArticleQuantity {
    /// The article's current product name, or `unknown`.
    pub article_name: String,
    /// Quantity in the group's unit.
    pub quantity: ExactDecimal,
    /// The product's key, where everything that the row adds up is of one product. For SQL, as [`SiteAmount::site_key`].
    #[serde(skip)]
    pub product_key: Option<String>,
    /// Number of products that the row adds up; articles that name no product are one more.
    #[serde(skip)]
    pub products: i64,
}

/// Figure and its growth against the window it is compared with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GrowthFigure<T> {
    /// Per cent with two decimals; null where the earlier figure was zero.
    pub growth: Option<ExactDecimal>,
    /// The figure itself.
    pub value: T,
}

/// Parameters of a statistics report, and whether it may be trusted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatisticsMeta {
    /// The first instant counted.
    pub from: Timestamp,
    /// The first instant no longer counted.
    pub to: Timestamp,
    /// The tenant asked for; null for all.
    pub tenant: Option<String>,
    /// The source asked for; null for all.
    pub source: Option<String>,
    /// `sale` or `purchase`.
    pub perspective: String,
    /// The transaction states that count.
    pub states: Vec<String>,
    /// The zone in which hours are cut.
    pub timezone: String,
    /// `timeline` or `of_day`.
    pub hours: String,
    /// The filter asked for, with pseudonyms for what is personal in it; null for none.
    pub filter: Option<Filter>,
    /// Window that growth is measured against: `previous`, `calendar`, `last-year` or `window`.
    pub compare: String,
    /// The window growth is measured against; null before the beginning of time.
    pub compared: Option<Window>,
    /// Transactions of that window that are counted, of all currencies: where it is 0, growth has nothing to be measured against.
    pub compared_transactions: i64,
    /// Windows of the window compared that were not read, whether or not they were to be: growth is then measured against a part of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compared_unread: Vec<ReportedGap>,
    /// Edition of the definitions.
    pub definitions_version: u32,
    /// The published run the figures come from.
    pub run: String,
    /// Tables that it was counted from: `facts` (transactions, articles and payments), levels of the roll-ups, or levels and `facts`.
    pub answered_from: String,
    /// End of what every pipeline has read without a gap, from the window's beginning on; null
    /// where that was not read.
    pub data_through: Option<Timestamp>,
    /// Windows that this answer needs and that were not read, by pipeline, resource and tenant.
    pub gaps: Vec<ReportedGap>,
    /// Windows that were not read and were not to be, since it lies before the resource's `sync.start`: no gap, and not read by any later sync of itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_start: Vec<ReportedGap>,
    /// The end of the window that no run can have read yet, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub still_to_come: Option<Window>,
    /// Records of the window that did not fit their contract.
    pub rejects: i64,
    /// Sales of the window that are not yet closed: created, pending or consumed.
    pub open_transactions: i64,
    /// Free sales of the window, not counted above.
    pub free_transactions: i64,
    /// Test sales of the window, not counted above.
    pub test_transactions: i64,
    /// Transactions without any time, which no window can count.
    pub transactions_without_time: i64,
    /// Counted transactions without an amount: each counts as one and adds nothing.
    pub transactions_without_amount: i64,
    /// Collected payments of the window without an amount, of counted transactions or not: they add nothing.
    pub payments_without_amount: i64,
    /// Payments of the window that name a sale which is in no table.
    pub payments_without_sale: i64,
    /// Payments that name a sale which is in no table and have no time either, which no window can count.
    pub payments_without_time: i64,
    /// Bridge from charged to collected amounts, one entry a currency, ordered by currency.
    pub bridge: Vec<Bridge>,
}

/// Bridge from the charged to the collected amount of one currency: `collected + open = total`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bridge {
    /// ISO 4217, or `unknown`.
    pub currency: String,
    /// Charged amount: the sum of the counted transactions, `transactions_total_amount` of the
    /// same currency.
    pub total: ExactDecimal,
    /// Collected amount: the collected payments of counted transactions, the sum of every payment
    /// ranking.
    pub collected: ExactDecimal,
    /// Amount yet to be collected; negative where more was collected than charged.
    pub open: ExactDecimal,
    /// Of `collected`, the payments that the providers leave out of their own reports.
    pub collected_excluded: ExactDecimal,
    /// Collected payments of transactions that are not counted; with `collected` all collected
    /// payments of the window.
    pub collected_elsewhere: CollectedElsewhere,
    /// Free sales, in none of the above.
    pub free: UncountedTotals,
    /// Test sales, in none of the above.
    pub test: UncountedTotals,
    /// Transactions of the window that are not counted: void ones, and those in a state that is
    /// not asked for.
    pub excluded: UncountedTotals,
}

/// Collected payments of transactions that are not counted: a sale whose first card was declined and whose second card paid, for example.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CollectedElsewhere {
    /// Number of payments.
    pub count: i64,
    /// Sum of the payments.
    pub amount: ExactDecimal,
    /// Payments by the state and kind of their transactions, ordered by both.
    pub by_state: Vec<CollectedInState>,
}

/// Collected payments of the uncounted transactions in one state and of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CollectedInState {
    /// The transactions' state, `unknown` where they have none, or [`WITHOUT_SALE`](crate::definitions::WITHOUT_SALE).
    pub state: String,
    /// The transactions' kind; null without a sale.
    pub kind: Option<String>,
    /// Number of payments.
    pub count: i64,
    /// Sum of the payments.
    pub amount: ExactDecimal,
}

impl CollectedInState {
    /// `declined`; `completed (free)` where the kind is why it is not counted.
    pub fn words(&self) -> String {
        match self.kind.as_deref() {
            Some(kind) if !is_counted_kind(Some(kind)) => format!("{} ({kind})", self.state),
            _ => self.state.clone(),
        }
    }
}

/// Number and amount of transactions that stand beside the counted ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UncountedTotals {
    /// Number of transactions.
    pub transactions: i64,
    /// Sum of the amounts.
    pub amount: ExactDecimal,
}

/// Stretch of time that was not read, by pipeline, resource and tenant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportedGap {
    /// The pipeline.
    pub pipeline: String,
    /// The resource; `*` where nobody knows what there is to be read.
    pub resource: String,
    /// The tenant, where the resource is read tenant by tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The stretch.
    #[serde(flatten)]
    pub window: Window,
    /// `change_time` where the stretch is one of the provider's knowledge of records, and not of when they happened: it may then lie
    /// beyond the window that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_by: Option<ReadBy>,
}
