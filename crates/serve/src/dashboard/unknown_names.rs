//! Currencies, products and payment methods that a page is narrowed to and that nothing has.
//!
//! Invariant: an empty page is of something that there is: what there is not is told as tenants and sites that there are not are. Only where nothing was found is it looked for, in what
//! the reader may see.

use super::narrowing::UNKNOWN;
use super::row_texts::rows_where_there;
use crate::problem::Problem;
use tillhouse_page::ViewQuery;
use tillhouse_query::{ScalarValue, Session};

/// Most names that are listed.
const LISTED: usize = 12;

/// The ways to narrow a page: parameter, word, and the table and column that have it.
type NarrowedTo = (&'static str, &'static str, &'static str, &'static str);

/// A currency.
pub(super) const CURRENCY: NarrowedTo = ("currency", "currency", "transactions", "currency");
/// All of a list of sales.
pub(super) const OF_SALES: [NarrowedTo; 3] = [
    CURRENCY,
    ("product", "product", "articles", "product_key"),
    ("payment_method", "payment method", "payments", "method"),
];

/// Looks up what a page that found nothing is narrowed to.
///
/// Errors with 400 at the first that is not there, where there are others.
pub(super) async fn check(
    session: &Session,
    query: &ViewQuery,
    narrowed_to: &[NarrowedTo],
) -> Result<(), Problem> {
    for (parameter, word, table, column) in narrowed_to {
        let Some(name) = query.get(parameter).filter(|name| *name != UNKNOWN) else {
            continue;
        };
        let params = [("name", ScalarValue::from(name))];
        let sql =
            format!("SELECT {column} AS value FROM unified.{table} WHERE {column} = $name LIMIT 1");
        let found = rows_where_there(session, table, &sql, &params).await?;
        if !found.is_empty() {
            continue;
        }
        let sql = format!(
            "SELECT DISTINCT {column} AS value FROM unified.{table} WHERE {column} IS NOT NULL ORDER BY value LIMIT {LISTED}"
        );
        let known = rows_where_there(session, table, &sql, &[]).await?;
        let known = (0..known.rows.len()).filter_map(|row| known.value(row, "value"));
        let known: Vec<String> = known.map(|name| format!("{name:?}")).collect();
        if !known.is_empty() {
            return Err(Problem::bad_request(format!("there is no {word} {name:?}"))
                .hint(format!("There are, among others: {}.", known.join(", "))));
        }
    }
    Ok(())
}
