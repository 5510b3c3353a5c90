//! Sold products: the best-selling ones by day, and products of one period against another.
//!
//! Invariant: amounts of different currencies and quantities of different units are never added up. Counting products is
//! counting pieces: whatever is not sold by the piece is one a line, however many litres it has.

use super::children::{ChildGrouping, groups};
use super::scope::{ReportScope, date, label};
use crate::articles::NamesByKey;
use crate::columns::{add, decimals, each_batch, integers, texts};
use crate::definitions::SOLD_SQL;
use crate::sales_report::{DayValue, ProductDays, ProductSales, ShiftProducts};
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tillhouse_model::word::canonical;
use tillhouse_model::{CivilPeriod, ExactDecimal, Result};
use tillhouse_query::Session;

/// The site's own day, as days since 1970.
const EPOCH_DAY: &str = "CAST(coalesce(business_date, CAST(occurred_at AS DATE)) AS INT)";
/// Number of products of a line. What was given back takes away, also where nobody tells how much it was.
const PIECES: &str =
    "CASE WHEN quantity IS NULL AND kind = 'refund' AND amount < 0 THEN CAST(-1 AS DECIMAL(18, 6))
                           WHEN unit_measure = 'pc' THEN coalesce(quantity, CAST(1 AS DECIMAL(18, 6)))
                           WHEN quantity < 0 THEN CAST(-1 AS DECIMAL(18, 6))
                           ELSE CAST(1 AS DECIMAL(18, 6)) END";

const BY_DAY: ChildGrouping = ChildGrouping {
    table: "articles",
    relation: None,
    condition: SOLD_SQL,
    labels: &[("day", EPOCH_DAY)],
    sums: &[("pieces", PIECES)],
};

const BY_PRODUCT_AND_DAY: ChildGrouping = ChildGrouping {
    table: "articles",
    relation: None,
    condition: SOLD_SQL,
    labels: &[
        ("product_key", "product_key"),
        ("name", "name"),
        ("day", EPOCH_DAY),
    ],
    sums: &[("pieces", PIECES)],
};

const BY_PRODUCT: ChildGrouping = ChildGrouping {
    table: "articles",
    relation: None,
    condition: SOLD_SQL,
    labels: &[
        ("product_key", "product_key"),
        ("product_code", "product_code"),
        ("name", "name"),
        ("unit_measure", "unit_measure"),
        ("of_a_device", OF_A_DEVICE),
        ("pipeline", "pipeline"),
        ("tenant_id", "tenant_id"),
    ],
    sums: REVENUE_AND_QUANTITY,
};

const REVENUE_AND_QUANTITY: &[(&str, &str)] = &[("revenue", "amount"), ("quantity", "quantity")];

/// The same by shift, of articles with their shifts.
fn by_shift(relation: String) -> ChildGrouping {
    ChildGrouping {
        table: "articles",
        relation: Some(relation),
        condition: SOLD_SQL,
        labels: &[
            ("product_key", "product_key"),
            ("product_code", "product_code"),
            ("name", "name"),
            ("unit_measure", "unit_measure"),
            ("of_a_device", OF_A_DEVICE),
            ("pipeline", "pipeline"),
            ("tenant_id", "tenant_id"),
            ("shift_key", "shift_key"),
        ],
        sums: REVENUE_AND_QUANTITY,
    }
}

/// True if the catalogue that the product's key is from is the device's own: then the key begins
/// with the device's (`smartnow:80/1`).
const OF_A_DEVICE: &str = "coalesce(starts_with(product_key, concat(device_key, '/')), false)";

/// Products sold, by currency and day, and the digits after their point.
pub(super) async fn pieces_by_day(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
) -> Result<(BTreeMap<(String, Date), i128>, u8)> {
    let (mut found, mut scale) = (BTreeMap::new(), 0);
    groups(scope, period, &BY_DAY, |currency, batch, row| {
        let (days, pieces) = (integers(batch, "day")?, decimals(batch, "pieces")?);
        scale = pieces.scale;
        if let Some(day) = days.get(row) {
            add(
                found.entry((currency, date(day)?)).or_default(),
                pieces.get(row),
            )?;
        }
        Ok(())
    })
    .await?;
    Ok((found, scale))
}

/// The products that sold best over the period, with their days.
pub(super) async fn best_selling(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
) -> Result<Vec<ProductDays>> {
    let names = crate::articles::names(scope.session, "products", "product_key").await?;
    let mut products: HashMap<String, BTreeMap<Date, i128>> = HashMap::new();
    let mut scale = 0;
    groups(scope, period, &BY_PRODUCT_AND_DAY, |_, batch, row| {
        let (keys, own_names) = (texts(batch, "product_key")?, texts(batch, "name")?);
        let (days, pieces) = (integers(batch, "day")?, decimals(batch, "pieces")?);
        scale = pieces.scale;
        let Some(day) = days.get(row) else {
            return Ok(());
        };
        let name = current(&names, keys.get(row), own_names.get(row));
        add(
            products
                .entry(label(name))
                .or_default()
                .entry(date(day)?)
                .or_default(),
            pieces.get(row),
        )
    })
    .await?;
    let mut ranked = Vec::with_capacity(products.len());
    for (name, days) in products {
        let mut total = 0;
        days.values()
            .try_for_each(|pieces| add(&mut total, *pieces))?;
        ranked.push((total, name, days));
    }
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    ranked.truncate(scope.request.amount);
    let values = |days: BTreeMap<Date, i128>| {
        days.into_iter()
            .map(|(date, pieces)| DayValue {
                date,
                value: ExactDecimal::new(pieces, scale),
            })
            .collect()
    };
    Ok(ranked
        .into_iter()
        .map(|(_, name, days)| ProductDays {
            name,
            values: values(days),
        })
        .collect())
}

/// Identity of a product: lines of one identity are one line of the product report. Codes are in their canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ProductIdentity {
    /// Its key in the operator's catalogue.
    Key(String),
    /// A pipeline and the operator's code, where every device has a catalogue of its own.
    Coded(String, String),
    /// The same where no code is known: a pipeline and the name.
    Named(String, String),
    /// Name and code, where the article names no product.
    Unlisted(String, Option<String>),
}

/// Name of a product in the catalogues of a pipeline's and tenant's devices, in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DeviceProductName {
    pipeline: String,
    tenant: Option<String>,
    name: String,
}

/// Codes of products in devices' catalogues: by name, each by its canonical form with its spelling, of several the first by the alphabet.
#[derive(Debug, Default)]
struct KnownCodes(BTreeMap<DeviceProductName, BTreeMap<String, String>>);

impl KnownCodes {
    fn add(&mut self, name: DeviceProductName, code: &str) {
        let codes = self.0.entry(name).or_default();
        let known = codes
            .entry(canonical(code).into_owned())
            .or_insert_with(|| code.to_owned());
        if code < known.as_str() {
            code.clone_into(known);
        }
    }

    /// The code of a product of that name and its spelling, where no other one is known.
    fn only(&self, name: &DeviceProductName) -> Option<(&str, &str)> {
        let codes = self.0.get(name)?;
        let (code, spelling) = codes.first_key_value()?;
        (codes.len() == 1).then_some((code.as_str(), spelling.as_str()))
    }
}

/// Sums of one product, and the names and codes on its lines.
#[derive(Debug, Default)]
struct ProductSums {
    revenue: i128,
    quantity: i128,
    keys: BTreeSet<String>,
    /// Revenue of each name and code.
    called: BTreeMap<(String, Option<String>), i128>,
}

impl ProductSums {
    fn add(&mut self, line: &ProductLine<'_>) -> Result<()> {
        self.keys.extend(line.key.map(str::to_owned));
        let called = (label(line.name), line.code.map(str::to_owned));
        add(self.called.entry(called).or_default(), line.revenue)?;
        add(&mut self.revenue, line.revenue)?;
        add(&mut self.quantity, line.quantity)
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.keys.extend(other.keys);
        for (called, revenue) in other.called {
            add(self.called.entry(called).or_default(), revenue)?;
        }
        add(&mut self.revenue, other.revenue)?;
        add(&mut self.quantity, other.quantity)
    }

    /// The same of lines that have no code of their own, and whose product's is known.
    fn coded(self, code: &str) -> Self {
        let called = self.called.into_iter();
        Self {
            called: called
                .map(|((name, _), revenue)| ((name, Some(code.to_owned())), revenue))
                .collect(),
            ..self
        }
    }

    /// The name and code that brought in most; among equals, the first by the alphabet.
    fn name_and_code(&self) -> (String, Option<String>) {
        let most = self
            .called
            .iter()
            .rev()
            .max_by_key(|(_, revenue)| **revenue);
        most.map(|(called, _)| called.clone()).unwrap_or_default()
    }

    /// Value of a detail that all its keys share, if they do.
    fn common(&self, details: &NamesByKey) -> Option<String> {
        let mut found = self.keys.iter().map(|key| details.get(key));
        let first = found.next()??;
        found
            .all(|other| other == Some(first))
            .then(|| first.clone())
    }

    /// The product's key, where it has one in all.
    fn key(&self) -> Option<String> {
        self.keys.first().filter(|_| self.keys.len() == 1).cloned()
    }
}

/// Currency, shift (where that is asked for) and unit of lines.
type LinePlace = (String, Option<String>, String);

/// A group of lines of one product.
struct ProductLine<'a> {
    key: Option<&'a str>,
    name: Option<&'a str>,
    code: Option<&'a str>,
    /// Pipeline and tenant, where the product is of a device's own catalogue.
    catalogue: Option<(String, Option<String>)>,
    revenue: i128,
    quantity: i128,
}

/// Products by currency, shift (where that is asked for), identity and unit; and the digits after
/// the points of revenue and quantity.
#[derive(Default)]
struct ProductTotals {
    products: BTreeMap<(String, Option<String>, ProductIdentity, String), ProductSums>,
    scales: (u8, u8),
}

/// Product totals that wait for the codes of lines which have none: another machine's may tell.
#[derive(Default)]
struct ProductSumming {
    totals: ProductTotals,
    /// By place, the product's name, and its spelling.
    uncoded: BTreeMap<(LinePlace, DeviceProductName, String), ProductSums>,
    codes: KnownCodes,
}

impl ProductTotals {
    fn product(&mut self, place: LinePlace, identity: ProductIdentity) -> &mut ProductSums {
        let (currency, shift, unit) = place;
        self.products
            .entry((currency, shift, identity, unit))
            .or_default()
    }
}

impl ProductSumming {
    fn add(&mut self, place: LinePlace, line: &ProductLine<'_>) -> Result<()> {
        let code = line.code.map(|code| canonical(code).into_owned());
        let identity = match (line.key, &line.catalogue) {
            (Some(_), Some((pipeline, tenant))) => {
                let named = line.name.map(|name| DeviceProductName {
                    pipeline: pipeline.clone(),
                    tenant: tenant.clone(),
                    name: canonical(name).into_owned(),
                });
                match (code, named) {
                    (Some(code), named) => {
                        if let (Some(named), Some(spelling)) = (named, line.code) {
                            self.codes.add(named, spelling);
                        }
                        ProductIdentity::Coded(pipeline.clone(), code)
                    }
                    (None, Some(named)) => {
                        let uncoded = (place, named, label(line.name));
                        return self.uncoded.entry(uncoded).or_default().add(line);
                    }
                    (None, None) => ProductIdentity::Named(pipeline.clone(), label(None)),
                }
            }
            (Some(key), None) => ProductIdentity::Key(key.to_owned()),
            (None, _) => ProductIdentity::Unlisted(label(line.name), code),
        };
        self.totals.product(place, identity).add(line)
    }

    fn finish(self) -> Result<ProductTotals> {
        let Self {
            mut totals,
            uncoded,
            codes,
        } = self;
        for ((place, named, name), sums) in uncoded {
            let (identity, sums) = match codes.only(&named) {
                Some((code, spelling)) => (
                    ProductIdentity::Coded(named.pipeline.clone(), code.to_owned()),
                    sums.coded(spelling),
                ),
                None => (ProductIdentity::Named(named.pipeline, name), sums),
            };
            totals.product(place, identity).merge(sums)?;
        }
        Ok(totals)
    }
}

/// Adds up what a grouping gives.
async fn add_up(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
    grouping: &ChildGrouping,
) -> Result<ProductTotals> {
    let names = crate::articles::names(scope.session, "products", "product_key").await?;
    let codes = details(scope.session, "code").await?;
    let has_shifts = grouping.relation.is_some();
    let mut summing = ProductSumming::default();
    groups(scope, period, grouping, |currency, batch, row| {
        let (keys, own_names) = (texts(batch, "product_key")?, texts(batch, "name")?);
        let (own_codes, units) = (texts(batch, "product_code")?, texts(batch, "unit_measure")?);
        let (pipelines, tenants) = (texts(batch, "pipeline")?, texts(batch, "tenant_id")?);
        let of_a_device = integers(batch, "of_a_device")?;
        let (revenue, quantity) = (decimals(batch, "revenue")?, decimals(batch, "quantity")?);
        let shift = if has_shifts {
            texts(batch, "shift_key")?.get(row).map(str::to_owned)
        } else {
            None
        };
        summing.totals.scales = (revenue.scale, quantity.scale);
        let key = keys.get(row);
        let catalogue = (of_a_device.get(row) == Some(1)).then(|| {
            let tenant = tenants.get(row).map(str::to_owned);
            (label(pipelines.get(row)), tenant)
        });
        let line = ProductLine {
            key,
            name: current(&names, key, own_names.get(row)),
            code: current(&codes, key, own_codes.get(row)),
            catalogue,
            revenue: revenue.get(row),
            quantity: quantity.get(row),
        };
        summing.add((currency, shift, label(units.get(row))), &line)
    })
    .await?;
    summing.finish()
}

/// Revenue of each product, the largest first within its currency.
pub(super) async fn sales(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
) -> Result<Vec<ProductSales>> {
    let ProductTotals { products, scales } = add_up(scope, period, &BY_PRODUCT).await?;
    let mut rows: Vec<ProductSales> = products
        .into_iter()
        .map(|((currency, _, _, unit), sums)| {
            let (name, internal_ref) = sums.name_and_code();
            ProductSales {
                product_id: sums.key(),
                name,
                internal_ref,
                revenue: ExactDecimal::new(sums.revenue, scales.0),
                quantity: ExactDecimal::new(sums.quantity, scales.1),
                currency,
                unit,
            }
        })
        .collect();
    rows.sort_by(|a, b| {
        let rank = |row: &ProductSales| (row.revenue.units, row.quantity.units);
        let called = |row: &ProductSales| {
            (
                row.product_id.clone(),
                row.name.clone(),
                row.internal_ref.clone(),
                row.unit.clone(),
            )
        };
        a.currency
            .cmp(&b.currency)
            .then_with(|| rank(b).cmp(&rank(a)))
            .then_with(|| called(a).cmp(&called(b)))
    });
    Ok(rows)
}

/// Revenue of each product, shift by shift, the largest first within shift and currency.
pub(super) async fn sales_by_shift(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
) -> Result<Vec<ShiftProducts>> {
    let relation = super::shifts::with_shifts(scope.session, "articles").await?;
    let ProductTotals { products, scales } = add_up(scope, period, &by_shift(relation)).await?;
    let (barcodes, report_names) = (
        details(scope.session, "barcode").await?,
        details(scope.session, "report_name").await?,
    );
    let mut rows: Vec<ShiftProducts> = products
        .into_iter()
        .map(|((currency, shift, _, unit), sums)| ShiftProducts {
            shift,
            product_id: sums.key(),
            name: sums.name_and_code().0,
            barcode: sums.common(&barcodes),
            report_name: sums.common(&report_names),
            quantity: ExactDecimal::new(sums.quantity, scales.1),
            revenue: ExactDecimal::new(sums.revenue, scales.0),
            sum: ExactDecimal::new(sums.revenue, scales.0),
            currency,
            unit,
        })
        .collect();
    rows.sort_by(|a, b| {
        let place = |row: &ShiftProducts| {
            (
                super::shifts::order(row.shift.as_deref()),
                row.currency.clone(),
            )
        };
        let rank = |row: &ShiftProducts| (row.revenue.units, row.quantity.units);
        let called =
            |row: &ShiftProducts| (row.product_id.clone(), row.name.clone(), row.unit.clone());
        place(a)
            .cmp(&place(b))
            .then_with(|| rank(b).cmp(&rank(a)))
            .then_with(|| called(a).cmp(&called(b)))
    });
    Ok(rows)
}

/// Current name of a product; else the article's own name for it.
fn current<'a>(names: &'a NamesByKey, key: Option<&str>, own: Option<&'a str>) -> Option<&'a str> {
    key.and_then(|key| names.get(key))
        .map(String::as_str)
        .or(own)
}

/// A text of the products, by key; none where the dimension does not have it yet.
async fn details(session: &Session, column: &str) -> Result<NamesByKey> {
    let mut found = NamesByKey::new();
    if !session.has_table("unified", "products").await? {
        return Ok(found);
    }
    if session
        .columns("unified", "products")
        .await?
        .field_with_name(column)
        .is_err()
    {
        return Ok(found);
    }
    let sql =
        format!("SELECT product_key, {column} FROM unified.products WHERE {column} IS NOT NULL");
    each_batch(session, &sql, &[], |batch| {
        let (keys, texts) = (texts(batch, "product_key")?, texts(batch, column)?);
        let pairs = (0..batch.num_rows()).filter_map(|row| keys.get(row).zip(texts.get(row)));
        found.extend(pairs.map(|(key, text)| (key.to_owned(), text.to_owned())));
        Ok(())
    })
    .await?;
    Ok(found)
}
