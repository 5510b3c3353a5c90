//! The state machine of the document: what a transaction's state is, given its articles and payments.
//!
//! Invariant: the state is a pure function of article states, payment states, the invoice amount and what was collected.
//!
//! The document's table overlaps itself and speaks of one article and one payment. Read here as: a failure outranks
//! everything and an error outranks a refusal; of several articles the one that is least far along decides; what was collected is
//! the sum over the collected payments.

use super::wire::{HecOneArticle, HecOneInvoice, HecOnePayment, HecOneTransaction};
use crate::decimal::Decimal;

/// The transaction's state by the document's table.
pub(crate) fn derive(
    articles: &[HecOneArticle<'_>],
    payments: &[HecOnePayment<'_>],
    invoice: Option<Decimal>,
) -> &'static str {
    let any = |wanted: &str| {
        let mut states = articles
            .iter()
            .map(|a| &a.state)
            .chain(payments.iter().map(|p| &p.state));
        states.any(|state| state.as_deref() == Some(wanted))
    };
    if any("error") {
        return "error";
    }
    if any("declined") {
        return "declined";
    }
    let article_is = |wanted: &str| articles.iter().any(|a| a.state.as_deref() == Some(wanted));
    if articles.is_empty() || article_is("reserved") {
        return "created";
    }
    if !articles.iter().all(|a| a.state.as_deref() == Some("done")) {
        return "pending";
    }
    let any_collected = payments
        .iter()
        .any(|p| p.state.as_deref() == Some("collected"));
    if any_collected && collected(payments) >= invoice.unwrap_or(Decimal::ZERO) {
        "completed"
    } else {
        "consumed"
    }
}

/// The sum of what was collected.
pub(crate) fn collected(payments: &[HecOnePayment<'_>]) -> Decimal {
    payments
        .iter()
        .filter(|p| p.state.as_deref() == Some("collected"))
        .filter_map(|p| p.amount)
        .sum()
}

/// Brings a transaction's invoice and state in line with its articles and payments. The invoice appears when every
/// article is done, and is dated `now` (RFC 3339 with offset) then; it keeps its date afterwards.
pub(crate) fn settle(transaction: &mut HecOneTransaction<'_>, now: &str) {
    let done = !transaction.articles.is_empty()
        && transaction
            .articles
            .iter()
            .all(|a| a.state.as_deref() == Some("done"));
    if done {
        let created_at = transaction
            .invoice
            .take()
            .and_then(|i| i.created_at)
            .unwrap_or_else(|| now.to_owned().into());
        transaction.invoice = Some(HecOneInvoice {
            amount: Some(transaction.articles.iter().filter_map(|a| a.amount).sum()),
            paid_amount: Some(collected(&transaction.payments)),
            currency: transaction.articles.iter().find_map(|a| a.currency.clone()),
            created_at: Some(created_at.into_owned().into()),
            tax_amount: Some(
                transaction
                    .articles
                    .iter()
                    .filter_map(|a| a.tax_amount)
                    .sum(),
            ),
        });
    }
    let amount = transaction.invoice.as_ref().and_then(|i| i.amount);
    transaction.state = derive(&transaction.articles, &transaction.payments, amount).into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn article(state: &'static str) -> HecOneArticle<'static> {
        HecOneArticle {
            state: Some(state.into()),
            amount: Some(Decimal::from(10)),
            ..HecOneArticle::default()
        }
    }

    fn payment(state: &'static str, amount: i64) -> HecOnePayment<'static> {
        HecOnePayment {
            state: Some(state.into()),
            amount: Some(Decimal::from(amount)),
            ..HecOnePayment::default()
        }
    }

    #[test]
    fn the_documents_table() {
        let ten = Some(Decimal::from(10));
        let table: &[(&str, &str, i64, &str)] = &[
            ("reserved", "open", 0, "created"),
            ("reserved", "reserved", 0, "created"),
            ("reserved", "collected", 10, "created"),
            ("released", "open", 0, "pending"),
            ("released", "reserved", 0, "pending"),
            ("ongoing", "open", 0, "pending"),
            ("ongoing", "reserved", 0, "pending"),
            ("ongoing", "collected", 10, "pending"),
            ("done", "open", 0, "consumed"),
            ("done", "reserved", 0, "consumed"),
            ("done", "collected", 9, "consumed"),
            ("done", "collected", 10, "completed"),
            ("done", "collected", 11, "completed"),
            ("declined", "open", 0, "declined"),
            ("done", "declined", 0, "declined"),
            ("reserved", "declined", 0, "declined"),
            ("error", "open", 0, "error"),
            ("done", "error", 0, "error"),
            ("declined", "error", 0, "error"),
        ];
        for (a, p, amount, expected) in table {
            assert_eq!(
                derive(&[article(a)], &[payment(p, *amount)], ten),
                *expected,
                "{a} {p} {amount}"
            );
        }
        assert_eq!(derive(&[], &[], None), "created");
        assert_eq!(
            derive(&[article("done"), article("ongoing")], &[], None),
            "pending"
        );
        assert_eq!(
            derive(
                &[article("done")],
                &[payment("collected", 4), payment("collected", 6)],
                ten
            ),
            "completed"
        );
        assert_eq!(derive(&[article("done")], &[], ten), "consumed");
        assert_eq!(
            derive(
                &[article("done")],
                &[payment("collected", 0)],
                Some(Decimal::ZERO)
            ),
            "completed"
        );
    }

    #[test]
    fn the_invoice_appears_when_consumption_is_complete_and_keeps_its_date() {
        let mut transaction = HecOneTransaction {
            articles: vec![article("ongoing")],
            ..HecOneTransaction::default()
        };
        settle(&mut transaction, "2026-01-01T00:00:00Z");
        assert!(transaction.invoice.is_none() && transaction.state == "pending");
        transaction.articles[0].state = Some("done".into());
        settle(&mut transaction, "2026-01-01T00:05:00Z");
        assert_eq!(transaction.state, "consumed");
        transaction.payments.push(payment("collected", 10));
        settle(&mut transaction, "2026-01-01T00:09:00Z");
        let invoice = transaction.invoice.unwrap();
        assert_eq!(transaction.state, "completed");
        assert_eq!(invoice.created_at.as_deref(), Some("2026-01-01T00:05:00Z"));
        assert_eq!(
            (invoice.amount, invoice.paid_amount),
            (Some(Decimal::from(10)), Some(Decimal::from(10)))
        );
    }
}
