//! A small report of statistics, for tests of what is made of one.
//!
//! Invariant: it is the same whenever it is made.

#![allow(clippy::unwrap_used)]

use tillhouse_model::{ExactDecimal, Window};
use tillhouse_statistics::definitions::DEFINITIONS_VERSION;
use tillhouse_statistics::report::{
    CurrencyStatistics, GrowthFigure, HourlyTransactions, PaymentTypeAmount, SiteAmount,
    SiteTransactions, StatisticsMeta, StatisticsReport,
};

/// The report; `name` is that of its tenant, its sites and its payment type.
pub(crate) fn report(name: &str) -> StatisticsReport {
    let window =
        |from: &str, to: &str| Window::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
    let week = window("2026-01-05T00:00:00Z", "2026-01-12T00:00:00Z");
    let total = ExactDecimal::new(12_345_000, 4);
    let entry = CurrencyStatistics {
        currency: "EUR".into(),
        hourly_transactions: vec![HourlyTransactions {
            hour: "2026-01-06T10:00:00Z".into(),
            transactions: 40,
        }],
        payment_type_ranking: vec![PaymentTypeAmount {
            amount: total,
            payment_type: name.into(),
        }],
        payment_medium_ranking: vec![],
        payment_scheme_ranking: vec![],
        payment_entry_mode_ranking: vec![],
        payment_function_ranking: vec![],
        payment_method_ranking: vec![],
        article_quantities_ranking: vec![],
        sites_amount_ranking: (0..10)
            .map(|i| SiteAmount {
                amount: ExactDecimal::new(10 - i, 0),
                site_name: name.into(),
                site_key: None,
            })
            .collect(),
        sites_transactions_ranking: vec![SiteTransactions {
            site_name: "unknown".into(),
            transactions: 40,
            site_key: None,
        }],
        transactions_count: GrowthFigure {
            growth: Some(ExactDecimal::new(-250, 2)),
            value: 40,
        },
        transactions_total_amount: GrowthFigure {
            growth: None,
            value: total,
        },
    };
    let meta = StatisticsMeta {
        from: week.from(),
        to: week.to(),
        tenant: Some(name.into()),
        source: None,
        perspective: "sale".into(),
        states: vec!["completed".into(), "consumed".into()],
        timezone: "UTC".into(),
        hours: "timeline".into(),
        filter: None,
        compare: "previous".into(),
        compared: None,
        compared_transactions: 0,
        compared_unread: vec![],
        definitions_version: DEFINITIONS_VERSION,
        run: "20260112T000000Z-000000".into(),
        answered_from: "facts".into(),
        data_through: Some(week.to()),
        gaps: vec![],
        before_start: vec![],
        still_to_come: None,
        rejects: 0,
        open_transactions: 1,
        free_transactions: 0,
        test_transactions: 2,
        transactions_without_time: 0,
        transactions_without_amount: 0,
        payments_without_amount: 0,
        payments_without_sale: 0,
        payments_without_time: 0,
        bridge: vec![],
    };
    StatisticsReport {
        data: vec![entry],
        meta,
    }
}
