//! Definitions of what counts: kinds, states, perspectives, collected payments and sold articles. The code half of docs/statistics.md.
//!
//! Invariant: each definition stands here once; every list that SQL reads is the list that Rust reads (a test compares them). Raise
//! [`DEFINITIONS_VERSION`] when one of them changes, and say in docs/statistics.md what is different.

/// Edition of the definitions in docs/statistics.md that this crate follows.
pub const DEFINITIONS_VERSION: u32 = 4;

/// Perspective of a pipeline's own sales, the one that is asked for unless somebody says otherwise.
pub const SALE: &str = "sale";
/// Perspective of what an account's own vehicles bought elsewhere; never added to sales.
pub const PURCHASE: &str = "purchase";

/// Kinds of transactions that count; states aside.
pub const COUNTED_KINDS: [&str; 2] = ["sale", "refund"];
/// Kind of transactions that gave something away; counted apart.
pub const FREE: &str = "free";
/// Kind of transactions that tested a device; counted apart.
pub const TEST: &str = "test";
/// [`COUNTED_KINDS`] as a condition.
pub(crate) const COUNTED_KINDS_SQL: &str = "kind IN ('sale', 'refund')";

/// States of a transaction, HecOne's.
pub const STATES: [&str; 6] = [
    "created",
    "pending",
    "consumed",
    "completed",
    "declined",
    "error",
];
/// States in which a transaction counts unless somebody says otherwise.
pub const COUNTED_STATES: [&str; 2] = ["completed", "consumed"];
/// [`COUNTED_STATES`] as a list of SQL literals.
const COUNTED_STATES_SQL: &str = "'completed', 'consumed'";
/// States of a transaction that may still change.
pub const OPEN_STATES: [&str; 3] = ["created", "pending", "consumed"];
/// [`OPEN_STATES`] as a condition.
pub const OPEN_STATES_SQL: &str = "state IN ('created', 'pending', 'consumed')";

/// State of a payment that came in.
pub const COLLECTED: &str = "collected";
/// [`COLLECTED`] as a condition on payments.
pub(crate) const COLLECTED_SQL: &str = "state = 'collected'";
/// Collected payments, and those whose sale is in no table: they have neither kind nor state of one.
pub(crate) const COLLECTED_OR_WITHOUT_SALE_SQL: &str =
    "(state = 'collected' OR (kind IS NULL AND transaction_state IS NULL))";
/// State of a payment's sale where the sale is in no table.
pub const WITHOUT_SALE: &str = "without_sale";

/// Condition on articles that were sold: all but those in state declined or error.
pub(crate) const SOLD_SQL: &str = "(state IS NULL OR state NOT IN ('declined', 'error'))";

/// True for a perspective of the unified model.
pub(crate) fn is_perspective(word: &str) -> bool {
    matches!(word, SALE | PURCHASE)
}

/// True if transactions of a kind count, their state aside.
pub(crate) fn is_counted_kind(kind: Option<&str>) -> bool {
    kind.is_some_and(|kind| COUNTED_KINDS.contains(&kind))
}

/// True if a transaction in that state may still change.
pub(crate) fn is_open(state: Option<&str>) -> bool {
    state.is_some_and(|state| OPEN_STATES.contains(&state))
}

/// True if a payment in that state came in.
pub(crate) fn is_collected(state: Option<&str>) -> bool {
    state == Some(COLLECTED)
}

/// Condition on rows of transactions that count, or on their articles and payments: `state_column` holds the transaction's state, `states` are
/// SQL literals with commas between them.
pub(crate) fn counted_sql(state_column: &str, states: &str) -> String {
    format!("{COUNTED_KINDS_SQL} AND {state_column} IN ({states})")
}

/// Condition on rows whose transaction is in a state that counts unless somebody says otherwise.
pub(crate) fn counted_states_sql(state_column: &str) -> String {
    format!("{state_column} IN ({COUNTED_STATES_SQL})")
}

/// [`counted_sql`] for the states that count unless somebody says otherwise.
pub(crate) fn counted_by_default_sql(state_column: &str) -> String {
    counted_sql(state_column, COUNTED_STATES_SQL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> String {
        words
            .iter()
            .map(|word| format!("'{word}'"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn sql_says_what_the_lists_say() {
        assert_eq!(
            COUNTED_KINDS_SQL,
            format!("kind IN ({})", list(&COUNTED_KINDS))
        );
        assert_eq!(
            OPEN_STATES_SQL,
            format!("state IN ({})", list(&OPEN_STATES))
        );
        assert_eq!(COUNTED_STATES_SQL, list(&COUNTED_STATES));
        assert_eq!(COLLECTED_SQL, format!("state = '{COLLECTED}'"));
        assert!(COLLECTED_OR_WITHOUT_SALE_SQL.starts_with(&format!("({COLLECTED_SQL} OR ")));
        assert_eq!(
            counted_sql("transaction_state", &list(&COUNTED_STATES)),
            "kind IN ('sale', 'refund') AND transaction_state IN ('completed', 'consumed')"
        );
    }

    #[test]
    fn what_counts_is_known_by_its_word() {
        for (kind, counts) in [
            (Some("sale"), true),
            (Some("refund"), true),
            (Some(FREE), false),
            (Some(TEST), false),
            (Some("void"), false),
            (Some("Sale"), false),
            (None, false),
        ] {
            assert_eq!(is_counted_kind(kind), counts, "{kind:?}");
        }
        assert!(is_open(Some("consumed")) && !is_open(Some("completed")) && !is_open(None));
        assert!(is_collected(Some("collected")) && !is_collected(Some("open")));
        assert!(is_perspective("sale") && is_perspective("purchase") && !is_perspective("lease"));
        for state in COUNTED_STATES.iter().chain(&OPEN_STATES) {
            assert!(STATES.contains(state), "{state}");
        }
    }

    /// The examples and tables of the document name the words of this file.
    #[test]
    fn the_document_names_the_same_words() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/statistics.md");
        let document = std::fs::read_to_string(path).unwrap();
        let hand_count = format!(
            "perspective = '{SALE}' AND {COUNTED_KINDS_SQL} AND state IN ({})",
            list(&COUNTED_STATES)
        );
        assert!(document.contains(&hand_count), "{hand_count}");
        assert!(document.contains(&format!("**{DEFINITIONS_VERSION}**:")));
        assert!(document.contains(WITHOUT_SALE));
    }
}
