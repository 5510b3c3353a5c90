//! The state of a transaction, derived from its articles and payments by HecOne's rule table.
//!
//! Invariant: where no line of the table applies, the answer is `None`; nothing is guessed.
//!
//! HecOne's table, to the letter, and how it is read where it is silent:
//!
//! | state | its condition | read as |
//! |---|---|---|
//! | error | any error state in article or payment | before everything else, since "declined" names error too |
//! | declined | any error or declined state in article or payment | then any declined |
//! | created | article is reserved + any payment state | with several articles: any is reserved |
//! | pending | article is released or ongoing + any payment state | else any is released or ongoing |
//! | completed | article is done + payment is collected (amount >= invoice) | else all are done; collected amounts together |
//! | consumed | article is done + payment is open/reserved (or collected, amount < invoice) | else |
//!
//! So the article that has come least far decides. "Any payment state" is met by having no payment too; "payment is ..."
//! is not: done and never paid is null, and so is collected where either amount is missing.

use crate::word;
use std::cmp::Ordering;

/// Known states among the articles or payments of a transaction, and whether there was any other.
#[derive(Default)]
struct ObservedStates {
    error: bool,
    declined: bool,
    reserved: bool,
    under_way: bool,
    done: bool,
    open: bool,
    collected: bool,
    unknown: bool,
}

fn seen<'a>(states: impl Iterator<Item = &'a str>) -> ObservedStates {
    let mut seen = ObservedStates::default();
    for state in states {
        let state = word::canonical(state);
        let is = |name: &str| state == name;
        let flag = if is("error") {
            &mut seen.error
        } else if is("declined") {
            &mut seen.declined
        } else if is("reserved") {
            &mut seen.reserved
        } else if is("released") || is("ongoing") {
            &mut seen.under_way
        } else if is("done") {
            &mut seen.done
        } else if is("open") {
            &mut seen.open
        } else if is("collected") {
            &mut seen.collected
        } else {
            &mut seen.unknown
        };
        *flag = true;
    }
    seen
}

/// The state of a transaction whose articles and payments have these states; `collected` is how what was collected compares with what is
/// owed, where both are known. `None` where no line of the table applies.
pub fn derived_state<'a>(
    articles: impl Iterator<Item = &'a str>,
    payments: impl Iterator<Item = &'a str>,
    collected: Option<Ordering>,
) -> Option<&'static str> {
    let (articles, payments) = (seen(articles), seen(payments));
    if articles.error || payments.error {
        return Some("error");
    }
    if articles.declined || payments.declined {
        return Some("declined");
    }
    if articles.reserved {
        return Some("created");
    }
    if articles.under_way {
        return Some("pending");
    }
    if !articles.done || articles.unknown {
        return None;
    }
    if payments.collected {
        return collected.map(|order| {
            if order.is_lt() {
                "consumed"
            } else {
                "completed"
            }
        });
    }
    (payments.open || payments.reserved).then_some("consumed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExactDecimal;

    fn state(
        articles: &[&str],
        payments: &[&str],
        amounts: Option<(i128, i128)>,
    ) -> Option<&'static str> {
        let compared = amounts.map(|(collected, owed)| {
            ExactDecimal::new(collected, 4).compare(ExactDecimal::new(owed, 2))
        });
        derived_state(articles.iter().copied(), payments.iter().copied(), compared)
    }

    #[test]
    fn the_documents_table() {
        for payment in ["open", "reserved", "collected"] {
            assert_eq!(
                state(&["reserved"], &[payment], None),
                Some("created"),
                "{payment}"
            );
            assert_eq!(
                state(&["released"], &[payment], None),
                Some("pending"),
                "{payment}"
            );
            assert_eq!(
                state(&["ongoing"], &[payment], None),
                Some("pending"),
                "{payment}"
            );
        }
        assert_eq!(state(&["done"], &["open"], None), Some("consumed"));
        assert_eq!(state(&["done"], &["reserved"], None), Some("consumed"));
        assert_eq!(
            state(&["done"], &["collected"], Some((99_999, 1_000))),
            Some("consumed")
        );
        assert_eq!(
            state(&["done"], &["collected"], Some((100_000, 1_000))),
            Some("completed")
        );
        assert_eq!(
            state(&["done"], &["collected"], Some((100_001, 1_000))),
            Some("completed")
        );
        for bad in ["declined", "error"] {
            assert_eq!(state(&[bad], &["collected"], None), Some(bad));
            assert_eq!(state(&["done"], &[bad], None), Some(bad));
        }
    }

    #[test]
    fn error_comes_before_declined() {
        assert_eq!(state(&["declined"], &["error"], None), Some("error"));
        assert_eq!(
            state(&["error", "done"], &["declined"], None),
            Some("error")
        );
    }

    #[test]
    fn the_article_that_has_come_least_far_decides() {
        assert_eq!(
            state(&["done", "reserved"], &["collected"], Some((1, 0))),
            Some("created")
        );
        assert_eq!(
            state(&["done", "ongoing"], &["collected"], Some((1, 0))),
            Some("pending")
        );
        assert_eq!(
            state(&["done", "done"], &["collected", "open"], Some((100, 1))),
            Some("completed")
        );
    }

    #[test]
    fn where_the_table_is_silent_nothing_is_guessed() {
        assert_eq!(state(&[], &["collected"], Some((1, 0))), None);
        assert_eq!(state(&["done"], &[], None), None);
        assert_eq!(state(&["done"], &["collected"], None), None);
        assert_eq!(state(&["done", "exploded"], &["open"], None), None);
        assert_eq!(
            state(&["reserved"], &[], None),
            Some("created"),
            "any payment state is met by none"
        );
        assert_eq!(state(&[], &["declined"], None), Some("declined"));
    }
}
