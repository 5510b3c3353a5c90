//! Quantities sold: by currency, unit of measure and the product's current name.
//!
//! Invariant: quantities of different units are never added up.

use crate::children::{self, ChildFact, PassingKeys};
use crate::columns::{add, each_batch, texts};
use crate::definitions::SOLD_SQL;
use crate::request::CheckedRequest;
use crate::transaction_totals::UNKNOWN;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tillhouse_model::Result;
use tillhouse_query::Session;

/// Names of things, by key.
pub(crate) type NamesByKey = HashMap<String, String>;

/// Quantity of the articles of one name, and the products they are of.
#[derive(Debug, Default)]
pub(crate) struct ProductTotals {
    pub(crate) quantity: i128,
    /// Their keys, none for articles that name no product.
    products: BTreeSet<Option<String>>,
}

impl ProductTotals {
    /// The product, where there is one and no article of another or of none.
    pub(crate) fn only_product(&self) -> Option<String> {
        match self.products.len() {
            1 => self.products.first().cloned().flatten(),
            _ => None,
        }
    }

    /// Number of products; articles that name none are one more.
    pub(crate) fn products(&self) -> i64 {
        i64::try_from(self.products.len()).unwrap_or(i64::MAX)
    }
}

/// Quantities of one currency by unit and article name.
pub(crate) type UnitTotals = BTreeMap<String, HashMap<String, ProductTotals>>;

/// Quantities by currency.
#[derive(Debug, Default)]
pub(crate) struct ArticleTotals {
    pub(crate) currencies: BTreeMap<String, UnitTotals>,
    /// Digits after the point of every quantity.
    pub(crate) scale: u8,
}

const ARTICLES: ChildFact = ChildFact {
    table: "articles",
    condition: SOLD_SQL,
    of_counted: true,
    labels: &["unit_measure", "product_key", "name"],
    sum: "quantity",
    counts_missing: false,
};

/// Sums what was sold in the request's window.
pub(crate) async fn articles(
    session: &Session,
    question: &CheckedRequest<'_>,
    passing: &PassingKeys,
) -> Result<ArticleTotals> {
    let (groups, names) = futures::try_join!(
        children::groups(session, question, passing, &ARTICLES),
        names(session, "products", "product_key"),
    )?;
    let mut found = ArticleTotals {
        scale: groups.scale,
        ..ArticleTotals::default()
    };
    let unknown = || UNKNOWN.to_owned();
    for group in groups.groups {
        let mut labels = group.labels.into_iter();
        let mut label = || labels.next().flatten();
        // In the order of the fact's labels.
        let (unit, product, name) = (label(), label(), label());
        let current = product.as_ref().and_then(|key| names.get(key)).cloned();
        let units = found
            .currencies
            .entry(group.currency.unwrap_or_else(unknown))
            .or_default();
        let unit = units.entry(unit.unwrap_or_else(unknown)).or_default();
        let sold = unit
            .entry(current.or(name).unwrap_or_else(unknown))
            .or_default();
        add(&mut sold.quantity, group.total)?;
        sold.products.insert(product);
    }
    Ok(found)
}

/// The current names in a dimension; none where it does not exist yet.
pub(crate) async fn names(session: &Session, table: &str, key: &str) -> Result<NamesByKey> {
    let mut found = NamesByKey::new();
    if !session.has_table("unified", table).await? {
        return Ok(found);
    }
    let sql = format!("SELECT {key} AS key, name FROM unified.{table} WHERE name IS NOT NULL");
    each_batch(session, &sql, &[], |batch| {
        let (keys, names) = (texts(batch, "key")?, texts(batch, "name")?);
        for row in 0..batch.num_rows() {
            if let (Some(key), Some(name)) = (keys.get(row), names.get(row)) {
                found.insert(key.to_owned(), name.to_owned());
            }
        }
        Ok(())
    })
    .await?;
    Ok(found)
}
