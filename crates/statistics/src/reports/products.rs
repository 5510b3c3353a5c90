//! What was sold: the best-selling products by day, and products of one period against another.
//!
//! Invariant: amounts of different currencies and quantities of different units are never added up. Counting products is
//! counting pieces: whatever is not sold by the piece is one a line, however many litres it has.

use super::children::{Grouping, groups};
use super::scope::{Scope, date, label};
use crate::articles::Names;
use crate::columns::{add, decimals, each_batch, integers, texts};
use jiff::civil::Date;
use std::collections::{BTreeMap, HashMap};
use tillhouse_model::sales_report::{DayValue, ProductDays, ProductSales};
use tillhouse_model::{Exact, Period, Result};
use tillhouse_query::Session;

/// Articles that count; those of counted transactions that were not sold after all do not.
const SOLD: &str = "(state IS NULL OR state NOT IN ('declined', 'error'))";
/// The site's own day, as days since 1970.
const EPOCH_DAY: &str = "CAST(coalesce(business_date, CAST(occurred_at AS DATE)) AS INT)";
/// How many products a line is. What was given back takes away.
const PIECES: &str = "CASE WHEN unit_measure = 'pc' THEN coalesce(quantity, CAST(1 AS DECIMAL(18, 6)))
                           WHEN quantity < 0 THEN CAST(-1 AS DECIMAL(18, 6))
                           ELSE CAST(1 AS DECIMAL(18, 6)) END";

const BY_DAY: Grouping =
    Grouping { table: "articles", condition: SOLD, labels: &[("day", EPOCH_DAY)], sums: &[("pieces", PIECES)] };

const BY_PRODUCT_AND_DAY: Grouping = Grouping {
    table: "articles",
    condition: SOLD,
    labels: &[("product_key", "product_key"), ("name", "name"), ("day", EPOCH_DAY)],
    sums: &[("pieces", PIECES)],
};

const BY_PRODUCT: Grouping = Grouping {
    table: "articles",
    condition: SOLD,
    labels: &[
        ("product_key", "product_key"),
        ("product_code", "product_code"),
        ("name", "name"),
        ("unit_measure", "unit_measure"),
    ],
    sums: &[("revenue", "amount"), ("quantity", "quantity")],
};

/// Products sold, by currency and day, and the digits after their point.
pub(super) async fn pieces_by_day(scope: &Scope<'_>, period: &Period) -> Result<(BTreeMap<(String, Date), i128>, u8)> {
    let (mut found, mut scale) = (BTreeMap::new(), 0);
    groups(scope, period, &BY_DAY, |currency, batch, row| {
        let (days, pieces) = (integers(batch, "day")?, decimals(batch, "pieces")?);
        scale = pieces.scale;
        if let Some(day) = days.get(row) {
            add(found.entry((currency, date(day)?)).or_default(), pieces.get(row))?;
        }
        Ok(())
    })
    .await?;
    Ok((found, scale))
}

/// The products that sold best over the period, with their days.
pub(super) async fn best_selling(scope: &Scope<'_>, period: &Period) -> Result<Vec<ProductDays>> {
    let names = crate::articles::names(scope.session, "products", "product_key").await?;
    let mut products: HashMap<String, BTreeMap<Date, i128>> = HashMap::new();
    let mut scale = 0;
    groups(scope, period, &BY_PRODUCT_AND_DAY, |_, batch, row| {
        let (keys, own_names) = (texts(batch, "product_key")?, texts(batch, "name")?);
        let (days, pieces) = (integers(batch, "day")?, decimals(batch, "pieces")?);
        scale = pieces.scale;
        let Some(day) = days.get(row) else { return Ok(()) };
        let name = current(&names, keys.get(row), own_names.get(row));
        add(products.entry(label(name)).or_default().entry(date(day)?).or_default(), pieces.get(row))
    })
    .await?;
    let mut ranked = Vec::with_capacity(products.len());
    for (name, days) in products {
        let mut total = 0;
        days.values().try_for_each(|pieces| add(&mut total, *pieces))?;
        ranked.push((total, name, days));
    }
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    ranked.truncate(scope.request.amount);
    let values = |days: BTreeMap<Date, i128>| {
        days.into_iter().map(|(date, pieces)| DayValue { date, value: Exact::new(pieces, scale) }).collect()
    };
    Ok(ranked.into_iter().map(|(_, name, days)| ProductDays { name, values: values(days) }).collect())
}

/// By what rows of the product report are told apart, after the currency.
type Product = (Option<String>, String, Option<String>, String);

/// What each product brought in, the largest first within its currency.
pub(super) async fn sales(scope: &Scope<'_>, period: &Period) -> Result<Vec<ProductSales>> {
    let names = crate::articles::names(scope.session, "products", "product_key").await?;
    let codes = codes(scope.session).await?;
    let mut products: BTreeMap<(String, Product), (i128, i128)> = BTreeMap::new();
    let (mut money_scale, mut quantity_scale) = (0, 0);
    groups(scope, period, &BY_PRODUCT, |currency, batch, row| {
        let (keys, own_names) = (texts(batch, "product_key")?, texts(batch, "name")?);
        let (own_codes, units) = (texts(batch, "product_code")?, texts(batch, "unit_measure")?);
        let (revenue, quantity) = (decimals(batch, "revenue")?, decimals(batch, "quantity")?);
        (money_scale, quantity_scale) = (revenue.scale, quantity.scale);
        let key = keys.get(row);
        let product = (
            key.map(str::to_owned),
            label(current(&names, key, own_names.get(row))),
            current(&codes, key, own_codes.get(row)).map(str::to_owned),
            label(units.get(row)),
        );
        let sums = products.entry((currency, product)).or_default();
        add(&mut sums.0, revenue.get(row))?;
        add(&mut sums.1, quantity.get(row))
    })
    .await?;
    let mut rows: Vec<((String, Product), (i128, i128))> = products.into_iter().collect();
    // The map's order (currency, then key, name, code, unit) decides among equals.
    rows.sort_by(|(a, (a_revenue, a_quantity)), (b, (b_revenue, b_quantity))| {
        a.0.cmp(&b.0).then_with(|| (b_revenue, b_quantity).cmp(&(a_revenue, a_quantity)))
    });
    let row = |((currency, (product_id, name, internal_ref, unit)), (revenue, quantity))| ProductSales {
        product_id,
        name,
        internal_ref,
        revenue: Exact::new(revenue, money_scale),
        quantity: Exact::new(quantity, quantity_scale),
        currency,
        unit,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// What a product is called now; else what the article calls it.
fn current<'a>(names: &'a Names, key: Option<&str>, own: Option<&'a str>) -> Option<&'a str> {
    key.and_then(|key| names.get(key)).map(String::as_str).or(own)
}

/// The current codes of products; none where the dimension does not exist yet.
async fn codes(session: &Session) -> Result<Names> {
    let mut found = Names::new();
    if !session.has_table("unified", "products").await? {
        return Ok(found);
    }
    let sql = "SELECT product_key, code FROM unified.products WHERE code IS NOT NULL";
    each_batch(session, sql, &[], |batch| {
        let (keys, codes) = (texts(batch, "product_key")?, texts(batch, "code")?);
        let pairs = (0..batch.num_rows()).filter_map(|row| keys.get(row).zip(codes.get(row)));
        found.extend(pairs.map(|(key, code)| (key.to_owned(), code.to_owned())));
        Ok(())
    })
    .await?;
    Ok(found)
}
