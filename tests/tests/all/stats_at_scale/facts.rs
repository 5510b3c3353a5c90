//! Records of four providers as sales: the mapping of the documents, written again without a
//! look at the SQL's results.
//!
//! Invariant: nothing here shares code with the other crates. Rules are those of docs/{smartnow,bemo,pace}.md, of HecOne's rule table and of
//! docs/functions.md; each stands where it is applied. Wire types name only what is read; numbers go from their text to a decimal.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use tillhouse_sandbox::oracle::{self, OraclePayment, OracleSale};
use tillhouse_sandbox::{Decimal, RecordSelection, Sandbox};

/// A transaction, as the oracle has it, and what else is told of it: of be-mo what was bought in a session in one currency.
#[derive(Debug)]
pub(crate) struct ExpectedFact {
    pub(crate) sale: OracleSale,
    /// Minutes that the site's clock is ahead of UTC.
    pub(crate) offset: Option<i32>,
    /// The tax in it where it is derived from a rate: SmartNow's.
    pub(crate) derived_tax: Option<Decimal>,
    pub(crate) has_plate: bool,
}

/// Facts that the statistics must be computed from, and the current names of sites and products.
#[derive(Debug, Default)]
pub(crate) struct ExpectedFacts {
    /// Payments whose sale nobody serves are each a sale of which only time, place, tenant and the payment are known.
    pub(crate) all: Vec<ExpectedFact>,
    /// By key: since when a site or product has its name, and the name.
    sites: HashMap<String, (Timestamp, String)>,
    products: HashMap<String, (Timestamp, String)>,
}

impl ExpectedFacts {
    /// The records that the sandbox serves now.
    pub(crate) fn of(sandbox: &Sandbox) -> Self {
        let mut facts = Self::default();
        facts.read_hecone(sandbox);
        facts.read_smartnow(sandbox);
        facts.read_bemo(sandbox);
        facts.read_pace(sandbox);
        // The last name told of a site or product is its name in all sales.
        let Self {
            all,
            sites,
            products,
        } = &mut facts;
        for ExpectedFact { sale, .. } in all {
            sale.site_name = sale
                .site
                .as_ref()
                .and_then(|key| Some(sites.get(key)?.1.clone()));
            for article in &mut sale.articles {
                let product = article.product.as_ref().and_then(|key| products.get(key));
                article.name = product
                    .map(|(_, name)| name.clone())
                    .or(article.name.take());
            }
        }
        facts
    }
}

/// Puts a name in place of an older one.
fn call(names: &mut HashMap<String, (Timestamp, String)>, key: &str, since: Timestamp, name: &str) {
    match names.get_mut(key) {
        Some((known, old)) if *known <= since => {
            *known = since;
            if old != name {
                name.clone_into(old);
            }
        }
        Some(_) => {}
        None => {
            names.insert(key.to_owned(), (since, name.to_owned()));
        }
    }
}

fn records<T: DeserializeOwned>(bodies: &[Bytes]) -> impl Iterator<Item = T> {
    let text = |body: &Bytes| String::from_utf8_lossy(body).into_owned();
    bodies.iter().map(move |body| {
        serde_json::from_slice(body).unwrap_or_else(|e| panic!("{e}: {}", text(body)))
    })
}

fn served(sandbox: &Sandbox, source: &str, resource: &str, tenant: Option<&str>) -> Vec<Bytes> {
    let selection = RecordSelection {
        tenant: tenant.map(str::to_owned),
        ..RecordSelection::of(resource)
    };
    sandbox.truth_of(source, &selection).unwrap()
}

/// A currency that ISO 4217 does not have.
const UNHEARD_OF: &str = "XQX";

/// The currency in one spelling. These are all that the sandbox's world pays in, and one that nobody knows.
fn currency(text: Option<&str>) -> Option<String> {
    const KNOWN: [&str; 11] = [
        "AMD", "CHF", "EUR", "GBP", "INR", "JPY", "KWD", "NPR", "PLN", "USD", UNHEARD_OF,
    ];
    let code = text?.trim().to_uppercase();
    Some(code).filter(|code| KNOWN.contains(&code.as_str()))
}

/// Cents and the like as the currency has them; nobody knows how many an unknown one has.
fn from_minor(price: Decimal, currency: Option<&str>) -> Option<Decimal> {
    let digits = match currency? {
        UNHEARD_OF => return None,
        "JPY" => 0,
        "KWD" => 3,
        _ => 2,
    };
    Some(price.times(Decimal::new(1, digits), 4))
}

/// A number as a column of that many digits holds it. Halves, which go to the even neighbour there, are not among the sandbox's.
fn cut(number: Option<Decimal>, digits: u8) -> Option<Decimal> {
    number.map(|number| number.times(Decimal::from(1), digits))
}

/// One spelling of the units that the sandbox's world sells in.
fn unit(text: Option<&str>) -> Option<String> {
    let unit = match text.map(str::to_lowercase).as_deref() {
        Some("l" | "liter") => "l",
        Some("kwh") => "kWh",
        Some("h") => "h",
        Some("min") => "min",
        Some("pc") => "pc",
        Some("kg") => "kg",
        _ => return None,
    };
    Some(unit.to_owned())
}

/// Refund: a negative amount. Free: over, zero, and no article costs anything. Else a sale.
fn kind(
    amount: Option<Decimal>,
    state: &str,
    costs: impl Iterator<Item = Option<Decimal>>,
) -> Option<String> {
    let is_over = matches!(state, "completed" | "consumed");
    let mut costs = costs.flatten();
    let kind = match amount {
        Some(amount) if amount < Decimal::ZERO => "refund",
        Some(amount) if is_over && amount.is_zero() && costs.all(|cost| cost <= Decimal::ZERO) => {
            "free"
        }
        _ => "sale",
    };
    Some(kind.to_owned())
}

/// A site's clock: by the name of its zone or by its offset; `None` where neither is known.
fn clock(zone: Option<&str>) -> Option<TimeZone> {
    let zone = zone?;
    let Some(sign) = zone.chars().next().filter(|c| matches!(c, '+' | '-')) else {
        return TimeZone::get(zone).ok();
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let size = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    Some(TimeZone::fixed(
        Offset::from_seconds(if sign == '-' { -size } else { size }).ok()?,
    ))
}

impl ExpectedFact {
    /// Reads the site's clock; where it is not known, day and hour are those of UTC.
    fn by(mut sale: OracleSale, zone: Option<&TimeZone>) -> Self {
        sale.local = sale
            .at
            .map(|at| zone.unwrap_or(&TimeZone::UTC).to_datetime(at));
        let offset = sale
            .at
            .and_then(|at| Some(zone?.to_offset(at).seconds() / 60));
        Self {
            sale,
            offset,
            derived_tax: None,
            has_plate: false,
        }
    }
}

#[derive(Deserialize)]
struct HecOneTransactionJson {
    mandator_id: Option<String>,
    state: String,
    invoice: Option<HecOneInvoiceJson>,
    site_id: Option<String>,
    site: Option<HecOneSiteJson>,
    articles: Option<Vec<HecOneArticleJson>>,
    payments: Option<Vec<HecOnePaymentJson>>,
    customer_data: Option<HecOneCustomerJson>,
}

#[derive(Deserialize)]
struct HecOneInvoiceJson {
    amount: Option<Decimal>,
    currency: Option<String>,
    created_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct HecOneSiteJson {
    name: Option<String>,
    timezone: Option<String>,
}

#[derive(Deserialize)]
struct HecOneArticleJson {
    product_id: Option<String>,
    name: Option<String>,
    state: String,
    unit_measure: Option<String>,
    quantity: Option<Decimal>,
    amount: Option<Decimal>,
    currency: Option<String>,
    start_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct HecOnePaymentJson {
    #[serde(rename = "type")]
    kind: Option<String>,
    medium: Option<String>,
    scheme: Option<String>,
    entry_mode: Option<String>,
    /// Entry mode as older terminals write it.
    card_entrymode: Option<String>,
    function: Option<String>,
    state: String,
    amount: Option<Decimal>,
    currency: Option<String>,
    created_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct HecOneCustomerJson {
    license_plate: Option<String>,
}

impl ExpectedFacts {
    fn read_hecone(&mut self, sandbox: &Sandbox) {
        for record in records::<HecOneTransactionJson>(&sandbox.truth()) {
            let (articles, payments) = (
                record.articles.unwrap_or_default(),
                record.payments.unwrap_or_default(),
            );
            let invoice = record.invoice.as_ref();
            // The invoice's time, else the first article's start, else the first payment.
            let at = invoice.and_then(|invoice| invoice.created_at);
            let at = at.or_else(|| {
                articles
                    .iter()
                    .filter_map(|article| article.start_time)
                    .min()
            });
            let at = at.or_else(|| {
                payments
                    .iter()
                    .filter_map(|payment| payment.created_at)
                    .min()
            });
            let named = invoice.and_then(|invoice| invoice.currency.as_deref());
            let named = named.or_else(|| {
                articles
                    .first()
                    .and_then(|article| article.currency.as_deref())
            });
            let named = named.or_else(|| {
                payments
                    .first()
                    .and_then(|payment| payment.currency.as_deref())
            });
            let amount = cut(invoice.and_then(|invoice| invoice.amount), 4);
            let site = record.site_id.map(|id| format!("hecone:{id}"));
            let zone = clock(
                record
                    .site
                    .as_ref()
                    .and_then(|site| site.timezone.as_deref()),
            );
            let name = record.site.and_then(|site| site.name);
            // The newest record tells a name; one without a time is as old as its reading, which comes after every sale here.
            let since = at.unwrap_or(Timestamp::MAX);
            if let (Some(key), Some(name)) = (&site, name) {
                call(&mut self.sites, key, since, &name);
            }
            let lines = articles.iter().map(|article| {
                let product = article.product_id.as_ref().map(|id| format!("hecone:{id}"));
                if let (Some(key), Some(name)) = (&product, &article.name) {
                    call(&mut self.products, key, since, name);
                }
                oracle::OracleArticle {
                    unit: unit(article.unit_measure.as_deref()),
                    product,
                    name: article.name.clone(),
                    state: Some(article.state.clone()),
                    quantity: cut(article.quantity, 6),
                    currency: currency(article.currency.as_deref().or(named)),
                    ..oracle::OracleArticle::default()
                }
            });
            let paid = payments.iter().map(|payment| OraclePayment {
                words: [
                    payment.kind.clone(),
                    payment.medium.clone(),
                    payment.scheme.clone(),
                    payment
                        .entry_mode
                        .clone()
                        .or_else(|| payment.card_entrymode.clone()),
                    payment.function.clone(),
                ],
                is_collected: payment.state == "collected",
                amount: cut(payment.amount, 4),
                currency: currency(payment.currency.as_deref().or(named)),
                ..OraclePayment::default()
            });
            let sale = OracleSale {
                tenant: record.mandator_id,
                kind: kind(
                    amount,
                    &record.state,
                    articles.iter().map(|article| article.amount),
                ),
                state: Some(record.state),
                at,
                amount,
                currency: currency(named),
                site,
                articles: lines.collect(),
                payments: paid.collect(),
                ..OracleSale::of("hecone")
            };
            let has_plate = record
                .customer_data
                .is_some_and(|customer| customer.license_plate.is_some());
            self.all.push(ExpectedFact {
                has_plate,
                ..ExpectedFact::by(sale, zone.as_ref())
            });
        }
    }
}

#[derive(Deserialize)]
struct SmartNowRevenueJson {
    id: i64,
    product: i64,
    name: Option<String>,
    machine: i64,
    location: i64,
    #[serde(rename = "occurredAt")]
    occurred_at: Timestamp,
    #[serde(rename = "timeZone")]
    timezone: Option<String>,
    price: Decimal,
    currency: Option<String>,
    usergroup: i64,
}

#[derive(Deserialize)]
struct SmartNowPaymentJson {
    revenuetransaction: i64,
    location: i64,
    #[serde(rename = "occurredAt")]
    occurred_at: Timestamp,
    #[serde(rename = "timeZone")]
    timezone: Option<String>,
    method: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    price: Decimal,
    currency: Option<String>,
    exclude: i64,
}

#[derive(Deserialize)]
struct SmartNowLocationJson {
    id: i64,
    name: String,
    #[serde(rename = "timeZone")]
    timezone: Option<String>,
}

#[derive(Deserialize)]
struct SmartNowProductJson {
    plu: i64,
    machine: i64,
    name: String,
    /// In per cent.
    vatrate: Decimal,
}

impl SmartNowPaymentJson {
    fn read(self) -> OraclePayment {
        let own = currency(self.currency.as_deref());
        OraclePayment {
            words: [
                self.kind.map(common),
                self.method.map(common),
                None,
                None,
                None,
            ],
            is_collected: true,
            is_excluded: self.exclude != 0,
            amount: from_minor(self.price, own.as_deref()),
            currency: own,
            ..OraclePayment::default()
        }
    }
}

/// The tax in a gross amount, amount x rate / (100 + rate), with four digits, halves to the even one.
fn tax_inside(amount: Decimal, rate: Decimal) -> Decimal {
    let units = |number: Decimal| -> i128 {
        let text = number.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((text.as_str(), ""));
        format!("{whole}{fraction:0<4}").parse().unwrap()
    };
    let (amount, rate) = (units(amount), units(rate));
    let (dividend, divisor) = (amount.abs() * rate, 100 * 10_000 + rate);
    let (whole, rest) = (dividend / divisor, dividend % divisor);
    let up = i128::from(rest * 2 > divisor || (rest * 2 == divisor && whole % 2 == 1));
    Decimal::new((whole + up) * amount.signum(), 4)
}

/// SmartNow's word as statistics show it: HecOne's where HecOne has one.
fn common(word: String) -> String {
    match word.to_lowercase().as_str() {
        "card" | "karte" | "ec/credit" => "Card".to_owned(),
        "cash" | "bargeld" => "Cash".to_owned(),
        // A label that is not listed is one word whatever its case.
        lower => lower.to_owned(),
    }
}

impl ExpectedFacts {
    fn read_smartnow(&mut self, sandbox: &Sandbox) {
        let list = |resource| served(sandbox, "smartnow", resource, None);
        // Master data is read whole: what is listed is how it is.
        let mut zones: HashMap<i64, TimeZone> = HashMap::new();
        for place in records::<SmartNowLocationJson>(&list("locations")) {
            zones.extend(clock(place.timezone.as_deref()).map(|zone| (place.id, zone)));
            call(
                &mut self.sites,
                &format!("smartnow:{}", place.id),
                Timestamp::MAX,
                &place.name,
            );
        }
        let mut rates: HashMap<String, Decimal> = HashMap::new();
        for product in records::<SmartNowProductJson>(&list("products")) {
            let key = format!("smartnow:{}/{}", product.machine, product.plu);
            rates.insert(key.clone(), product.vatrate);
            call(&mut self.products, &key, Timestamp::MAX, &product.name);
        }
        let mut paid: HashMap<i64, Vec<SmartNowPaymentJson>> = HashMap::new();
        for payment in records::<SmartNowPaymentJson>(&list("payment_transactions")) {
            paid.entry(payment.revenuetransaction)
                .or_default()
                .push(payment);
        }
        for sale in records::<SmartNowRevenueJson>(&list("revenue_transactions")) {
            let payments = paid.remove(&sale.id).unwrap_or_default();
            let own = currency(sale.currency.as_deref());
            let collected: Decimal = payments
                .iter()
                .filter(|payment| payment.currency == sale.currency)
                .map(|payment| payment.price)
                .sum();
            // An article that is done: completed where its payments cover the price, consumed where they do not.
            let state = if collected < sale.price {
                "consumed"
            } else {
                "completed"
            };
            let amount = from_minor(sale.price, own.as_deref());
            let zone =
                clock(sale.timezone.as_deref()).or_else(|| zones.get(&sale.location).cloned());
            let paid = payments.into_iter().map(SmartNowPaymentJson::read);
            let product = format!("smartnow:{}/{}", sale.machine, sale.product);
            let derived_tax = amount
                .zip(rates.get(&product).copied())
                .map(|(amount, rate)| tax_inside(amount, rate));
            let line = oracle::OracleArticle {
                unit: Some("pc".to_owned()),
                product: Some(product),
                name: sale.name,
                state: Some("done".to_owned()),
                // A piece given back is taken away.
                quantity: Some(Decimal::from(if sale.price < Decimal::ZERO {
                    -1
                } else {
                    1
                })),
                currency: own.clone(),
                ..oracle::OracleArticle::default()
            };
            let read = OracleSale {
                tenant: (sale.usergroup != 0).then(|| sale.usergroup.to_string()),
                // In the sale's own price: an unknown currency hides its amount, not what kind of sale it is.
                kind: kind(
                    Some(sale.price),
                    "completed",
                    std::iter::once(Some(sale.price)),
                ),
                state: Some(state.to_owned()),
                at: Some(sale.occurred_at),
                amount,
                currency: own,
                site: Some(format!("smartnow:{}", sale.location)),
                articles: vec![line],
                payments: paid.collect(),
                ..OracleSale::of("smartnow")
            };
            self.all.push(ExpectedFact {
                derived_tax,
                ..ExpectedFact::by(read, zone.as_ref())
            });
        }
        // Payments of sales that nobody serves have their own time and place.
        for payment in paid.into_values().flatten() {
            let zone = clock(payment.timezone.as_deref())
                .or_else(|| zones.get(&payment.location).cloned());
            let orphan = OracleSale {
                kind: None,
                at: Some(payment.occurred_at),
                site: Some(format!("smartnow:{}", payment.location)),
                payments: vec![payment.read()],
                ..OracleSale::of("smartnow")
            };
            self.all.push(ExpectedFact::by(orphan, zone.as_ref()));
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BemoSessionJson {
    session_start_date: Timestamp,
    session_end_date: Option<Timestamp>,
    time_zone: Option<String>,
    place_id: Option<String>,
    place_name: Option<String>,
    place_network: Option<String>,
    is_rfid: bool,
    transactions: Vec<BemoPurchaseJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BemoPurchaseJson {
    currency_key: Option<String>,
    product_family: Option<String>,
    product_code: Option<String>,
    quantity: Option<Decimal>,
    quantity_unit: Option<String>,
    total_amount: Option<Decimal>,
}

impl ExpectedFacts {
    fn read_bemo(&mut self, sandbox: &Sandbox) {
        for account in sandbox.accounts() {
            for session in
                records::<BemoSessionJson>(&served(sandbox, "bemo", "sessions", Some(&account)))
            {
                self.read_session(&account, session);
            }
        }
    }

    fn read_session(&mut self, account: &str, session: BemoSessionJson) {
        let at = session.session_start_date;
        // A session that has ended is done and charged to the account; one that has not is going on.
        let is_over = session.session_end_date.is_some();
        let state = if is_over { "completed" } else { "pending" };
        // Ids and codes are the network's own.
        let network = session
            .place_network
            .as_deref()
            .map(|network| format!("{network}/"))
            .unwrap_or_default();
        let site = session.place_id.map(|id| format!("bemo:{network}{id}"));
        if let (Some(key), Some(name)) = (&site, &session.place_name) {
            call(&mut self.sites, key, at, name);
        }
        let zone = clock(session.time_zone.as_deref());
        let mut labels: Vec<Option<&str>> = Vec::new();
        for bought in &session.transactions {
            // A code names a line, and no product.
            let named = (bought.key(&network), bought.product_family.as_deref());
            if let (Some(key), Some(name)) = named {
                call(&mut self.products, &key, at, name);
            }
            if !labels.contains(&bought.currency_key.as_deref()) {
                labels.push(bought.currency_key.as_deref());
            }
        }
        // A session is a transaction a currency.
        for label in labels {
            let own = || {
                session
                    .transactions
                    .iter()
                    .filter(|bought| bought.currency_key.as_deref() == label)
            };
            let amounts: Vec<Decimal> = own()
                .filter_map(|bought| cut(bought.total_amount, 4))
                .collect();
            let amount = (!amounts.is_empty()).then(|| amounts.iter().copied().sum());
            let lines = own().map(|bought| oracle::OracleArticle {
                unit: unit(bought.quantity_unit.as_deref()),
                product: bought.key(&network),
                name: bought.name().map(str::to_owned),
                state: Some(if is_over { "done" } else { "ongoing" }.to_owned()),
                quantity: cut(bought.quantity, 6),
                currency: currency(label),
                ..oracle::OracleArticle::default()
            });
            let payment = OraclePayment {
                words: [
                    Some("account".to_owned()),
                    session.is_rfid.then(|| "RFID".to_owned()),
                    None,
                    None,
                    None,
                ],
                is_collected: is_over,
                amount,
                currency: currency(label),
                ..OraclePayment::default()
            };
            let sale = OracleSale {
                perspective: "purchase".to_owned(),
                tenant: Some(account.to_owned()),
                kind: kind(amount, state, amounts.iter().map(|amount| Some(*amount))),
                state: Some(state.to_owned()),
                at: Some(at),
                amount,
                currency: currency(label),
                site: site.clone(),
                articles: lines.collect(),
                payments: vec![payment],
                ..OracleSale::of("bemo")
            };
            self.all.push(ExpectedFact::by(sale, zone.as_ref()));
        }
    }
}

impl BemoPurchaseJson {
    fn key(&self, network: &str) -> Option<String> {
        Some(format!(
            "bemo:{network}{}",
            self.product_code
                .as_ref()
                .or(self.product_family.as_ref())?
        ))
    }

    fn name(&self) -> Option<&str> {
        self.product_family
            .as_deref()
            .or(self.product_code.as_deref())
    }
}

#[derive(Deserialize)]
struct PaceTransactionJson {
    attributes: PaceAttributesJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaceAttributesJson {
    created_at: Timestamp,
    created_at_localtime: Option<DateTime>,
    #[serde(rename = "priceIncludingVAT")]
    price: Option<Decimal>,
    currency: Option<String>,
    fuel: Option<PaceFuelJson>,
    location: PaceStationJson,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaceFuelJson {
    unit: Option<String>,
    amount: Option<Decimal>,
    product_name: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct PaceStationJson {
    brand: String,
    address: PaceAddressJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaceAddressJson {
    street: String,
    house_no: String,
    postal_code: String,
    city: String,
    country_code: String,
}

impl ExpectedFacts {
    fn read_pace(&mut self, sandbox: &Sandbox) {
        for partner in sandbox.partners() {
            for PaceTransactionJson { attributes: record } in records::<PaceTransactionJson>(
                &served(sandbox, "pace", "transactions", Some(&partner)),
            ) {
                let at = record.created_at;
                // The site is its brand and address; the name is the station's where it is told, which this list does not.
                let PaceStationJson { brand, address } = record.location;
                let PaceAddressJson {
                    street,
                    house_no,
                    postal_code,
                    city,
                    country_code,
                } = address;
                let site = format!("pace:{brand}/{country_code}/{postal_code}/{street}/{house_no}")
                    .to_lowercase();
                call(
                    &mut self.sites,
                    &site,
                    at,
                    &format!("{brand} {city} {street} {house_no}"),
                );
                // The site's clock is as far ahead as it shows more, to the quarter of an hour.
                let zone = record.created_at_localtime.and_then(|shown| {
                    let ahead = shown
                        .duration_since(TimeZone::UTC.to_datetime(at))
                        .as_secs();
                    let quarters = i32::try_from((ahead + 450).div_euclid(900)).ok()?;
                    Some(TimeZone::fixed(Offset::from_seconds(quarters * 900).ok()?))
                });
                // There is no state: what has an error was not paid.
                let is_paid = record.error.is_none();
                let state = if is_paid { "completed" } else { "error" };
                let (amount, own) = (cut(record.price, 4), currency(record.currency.as_deref()));
                let line = record.fuel.map(|fuel| {
                    // Every brand has a name of its own for a product of one type.
                    let key = format!("pace:{}/{}", fuel.kind, fuel.product_name);
                    call(&mut self.products, &key, at, &fuel.product_name);
                    oracle::OracleArticle {
                        unit: unit(fuel.unit.as_deref()),
                        product: Some(key),
                        name: Some(fuel.product_name),
                        state: Some("done".to_owned()),
                        // PACE tells a refund by its price: the quantity is given back all the same.
                        quantity: cut(fuel.amount, 6).map(|quantity| match amount {
                            Some(amount) if amount < Decimal::ZERO && quantity > Decimal::ZERO => {
                                Decimal::ZERO.minus(quantity)
                            }
                            _ => quantity,
                        }),
                        currency: own.clone(),
                        ..oracle::OracleArticle::default()
                    }
                });
                let payment = OraclePayment {
                    // The means of payment only the newer list says.
                    words: [const { None }; 5],
                    is_collected: is_paid,
                    amount,
                    currency: own.clone(),
                    ..OraclePayment::default()
                };
                let sale = OracleSale {
                    tenant: Some(partner.clone()),
                    kind: kind(amount, state, std::iter::once(amount)),
                    state: Some(state.to_owned()),
                    at: Some(at),
                    amount,
                    currency: own,
                    site: Some(site),
                    articles: line.into_iter().collect(),
                    payments: vec![payment],
                    ..OracleSale::of("pace")
                };
                self.all.push(ExpectedFact::by(sale, zone.as_ref()));
            }
        }
    }
}
