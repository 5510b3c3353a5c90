//! Campaigns, vouchers and what becomes of them; and the integrations that sales are handed on to.
//!
//! Invariant: every code begins with `SECRETVOUCHER`, every PDF's address holds `SECRETPDF`, every e-mail ends in
//! `@person.invalid` (comments of vouchers hold some), so that a test finds them wherever they leak.

use super::facts::token;
use super::object::{JsonObjectWriter, utc};
use super::plan::{SmartNowPaymentMethod, SmartNowPlan, SmartNowSale, is_past};
use super::table::{SmartNowKey, SmartNowRow};
use crate::hecone::receipts::local_timestamp;
use crate::random::uuid_text;
use std::collections::HashMap;

/// A campaign: name, type, currency, value in minor units.
const CAMPAIGNS: [(&str, &str, &str, i64); 4] = [
    ("Willkommen", "discount", "EUR", 100),
    ("Gift card", "gift", "EUR", 2_000),
    ("Jubiläum", "discount", "CHF", 150),
    ("Office perks", "gift", "GBP", 1_500),
];

/// One voucher.
#[derive(Debug)]
struct SmartNowVoucher {
    id: String,
    code: String,
    campaign: usize,
    /// The sales it paid for, by index.
    redeemed: Vec<usize>,
}

/// One line of a voucher's log.
#[derive(Debug)]
struct VoucherLogEntry {
    at: i64,
    voucher: usize,
    sale: usize,
    is_redemption: bool,
    success: bool,
}

/// All vouchers and their logs.
#[derive(Debug, Default)]
pub(crate) struct VoucherPlan {
    all: Vec<SmartNowVoucher>,
    log: Vec<VoucherLogEntry>,
}

/// The first ids, less one.
const ENTRIES: i64 = 90_000;
const HANDED_ON: i64 = 60_000;

/// Draws the vouchers and the sales that they paid for.
pub(crate) fn make_vouchers(plan: &SmartNowPlan, count: u64) -> VoucherPlan {
    if count == 0 {
        return VoucherPlan::default();
    }
    let mut random = plan.world.stream(4, 0);
    let mut all: Vec<SmartNowVoucher> = (0..(32 + count / 500).min(5000))
        .map(|number| SmartNowVoucher {
            id: uuid_text(random.uuid()),
            code: format!("SECRETVOUCHER-{:08X}", random.below(1 << 32)),
            campaign: (number % CAMPAIGNS.len() as u64) as usize,
            redeemed: Vec::new(),
        })
        .collect();
    let mut by_currency: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, voucher) in all.iter().enumerate() {
        by_currency
            .entry(CAMPAIGNS[voucher.campaign].2)
            .or_default()
            .push(index);
    }
    let mut log = Vec::new();
    for (index, sale) in plan
        .sales
        .iter()
        .enumerate()
        .filter(|(_, sale)| sale.paid.0 == SmartNowPaymentMethod::Code)
    {
        let Some(choices) = by_currency.get(plan.locations[sale.location].currency) else {
            continue;
        };
        let mut random = plan.world.stream(5, index as u64);
        let voucher = *random.pick(choices);
        all[voucher].redeemed.push(index);
        let entry = |at, is_redemption, success| VoucherLogEntry {
            at,
            voucher,
            sale: index,
            is_redemption,
            success,
        };
        if random.chance(120) {
            log.push(entry(sale.occurred - 40, false, false));
        }
        log.push(entry(sale.occurred - 6, false, true));
        log.push(entry(sale.occurred - 1, true, true));
    }
    log.sort_unstable_by_key(|entry| (entry.at, entry.sale, entry.is_redemption));
    VoucherPlan { all, log }
}

/// When campaigns and vouchers were made.
fn made(plan: &SmartNowPlan) -> i64 {
    plan.since - 200 * 86_400
}

/// Until when they hold.
fn end(plan: &SmartNowPlan) -> i64 {
    plan.until + 400 * 86_400
}

pub(crate) fn campaigns(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let count = |index: usize| {
        plan.vouchers
            .all
            .iter()
            .filter(|voucher| voucher.campaign == index)
            .count()
    };
    let row = |(index, (name, kind, currency, value)): (usize, &(&str, &str, &str, i64))| {
        let id = index as i64 + 1;
        let body = JsonObjectWriter::new()
            .put("id", id)
            .put("name", name)
            .put("totalVouchers", count(index))
            .put("type", kind)
            .put("valueType", "cents")
            .put("voucherValue", value)
            .put(
                "redemptionLimit",
                if *kind == "gift" { None } else { Some(1000) },
            )
            .put("resetFrequency", "never")
            .put("expiresOn", utc(end(plan)))
            .put("currency", currency)
            .put("timeZone", "Europe/Amsterdam")
            .put("status", "active")
            .times(made(plan), made(plan))
            .put("prefix", format!("SB{id:03}"))
            .put("ownerId", 2)
            .put("ownerData", None::<&str>)
            .put("voucherText1", "Enjoy!")
            .put("voucherText2", None::<&str>)
            .put("voucherText3", None::<&str>)
            .put("voucherText4", None::<&str>)
            .put(
                "voucherStyle",
                "{\"voucherText1Lbl\": {\"fontSize\": \"28px\"}}",
            )
            .put("campaignstats", id)
            .put("lastResetAt", None::<&str>)
            .put("vouchersPdfStatus", "ready")
            .put(
                "vouchersPdfUrl",
                format!("https://vouchers.example.com/SECRETPDF-campaign-{id}.pdf"),
            )
            .put("voucherLogoImg", None::<i64>)
            .done();
        SmartNowRow::new(id, made(plan), made(plan), body)
    };
    CAMPAIGNS.iter().enumerate().map(row).collect()
}

pub(crate) fn vouchers(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    let row = |(number, voucher): (usize, &SmartNowVoucher)| {
        let (_, kind, currency, value) = CAMPAIGNS[voucher.campaign];
        let used: Vec<usize> = voucher
            .redeemed
            .iter()
            .copied()
            .filter(|sale| is_past(plan.sales[*sale].occurred - 1, now))
            .collect();
        let amount: i64 = used.iter().map(|sale| plan.sales[*sale].price).sum();
        let last = used
            .iter()
            .map(|sale| &plan.sales[*sale])
            .max_by_key(|sale| sale.occurred);
        let updated = last.map_or(made(plan), |sale| sale.occurred - 1);
        let initial = if kind == "gift" { value } else { 0 };
        let campaign = voucher.campaign as i64 + 1;
        let body = JsonObjectWriter::new()
            .put("id", &voucher.id)
            .put("code", &voucher.code)
            .put("campaign", campaign)
            .put("type", kind)
            .put("value", value)
            .put("valueType", "cents")
            .put("currency", currency)
            .put("initialValue", initial)
            .put(
                "redemptionLimit",
                if kind == "gift" { None } else { Some(1000) },
            )
            .put("redemptionCount", used.len())
            .put("totalRedemptionCount", used.len())
            .put("lastRedemptionAt", last.map(|sale| utc(sale.occurred - 1)))
            .put(
                "lastRedemptionLocation",
                last.map(|sale| plan.locations[sale.location].name),
            )
            .put("prefix", format!("SB{campaign:03}"))
            .put("resetFrequency", "never")
            .put("lastResetAt", None::<&str>)
            .put("expiresOn", utc(end(plan)))
            .put("timeZone", "Europe/Amsterdam")
            .put("lockOwner", None::<&str>)
            .put("lockedTill", None::<&str>)
            .put("status", "active")
            .put("amountRedeemed", amount)
            .put("totalAmountRedeemed", amount)
            .times(made(plan), updated)
            .put("balance", (initial - amount).max(0))
            .put("text1", "Enjoy!")
            .put("text2", None::<&str>)
            .put("text3", None::<&str>)
            .put("text4", None::<&str>)
            .put("logoImg", None::<&str>)
            .put("pdfStatus", "ready")
            .put("style", None::<&str>)
            .put(
                "pdfUrl",
                format!("https://vouchers.example.com/SECRETPDF-{}.pdf", voucher.id),
            )
            .put(
                "voucherComments",
                (number % 9 == 4).then(|| format!("for guest{number}@person.invalid")),
            )
            .done();
        let row =
            SmartNowRow::new(0, made(plan), updated, body).under(SmartNowKey::Number(campaign));
        SmartNowRow {
            key: SmartNowKey::Text(voucher.id.as_str().into()),
            ..row
        }
    };
    plan.vouchers.all.iter().enumerate().map(row).collect()
}

pub(crate) fn voucher_logs(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    let row = |(entry, id): (&VoucherLogEntry, i64)| {
        let voucher = &plan.vouchers.all[entry.voucher];
        let sale = &plan.sales[entry.sale];
        let location = &plan.locations[sale.location];
        let device = format!("sb-{}", plan.machines[sale.machine].id);
        let code = &voucher.code;
        let request = format!("{{\"code\":\"{code}\",\"deviceId\":\"{device}\"}}");
        let response = if entry.is_redemption {
            format!(
                "{{\"code\":\"{code}\",\"redeemed\":true,\"voucherValue\":{}}}",
                sale.price
            )
        } else {
            format!("{{\"code\":\"{code}\",\"valid\":{}}}", entry.success)
        };
        let body = JsonObjectWriter::new()
            .put("id", id)
            .put("voucher", &voucher.id)
            .put("requester", &device)
            .put("requesterLocation", location.name)
            .put(
                "action",
                if entry.is_redemption {
                    "redeem"
                } else {
                    "validate"
                },
            )
            .put("success", i64::from(entry.success))
            .put("request", request)
            .put("response", response)
            .put("currency", location.currency)
            .times(entry.at, entry.at)
            .done();
        SmartNowRow::new(id, entry.at, entry.at, body)
            .under(SmartNowKey::Text(voucher.id.as_str().into()))
    };
    plan.vouchers
        .log
        .iter()
        .zip(ENTRIES + 1..)
        .filter(|(entry, _)| is_past(entry.at, now))
        .map(row)
        .collect()
}

/// The integrations' names.
const INTEGRATIONS: [&str; 2] = ["Bookkeeping", "Stock"];

pub(crate) fn integrations(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |(name, id): (&&str, i64)| {
        let body = JsonObjectWriter::new()
            .put("id", id)
            .put("type", "httptransactions")
            .put("name", name)
            .put("active", true)
            .put("state", "idle")
            .put("throttle", 5)
            .put("maxRetries", 3)
            .put("retryThrottle", 3600)
            .put("stopOnFailure", false)
            .times(made(plan), made(plan))
            .done();
        SmartNowRow::new(id, made(plan), made(plan), body)
    };
    INTEGRATIONS.iter().zip(1..).map(row).collect()
}

/// The integration that a sale is handed on by, every tenth one.
fn handed_on(plan: &SmartNowPlan) -> impl Iterator<Item = (i64, &SmartNowSale)> {
    let every_tenth = plan
        .sales
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 10 == 3);
    every_tenth.map(|(index, sale)| (index as i64 / 10 % 2 + 1, sale))
}

/// Outcomes of handing sales on; some only get through at the second try, an hour later.
pub(crate) fn integration_records(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    let row = |(((integration, sale), number), id): (((i64, &SmartNowSale), i64), i64)| {
        let created = sale.created + 60;
        let (fails, again) = (number % 7 == 0, created + 3600);
        let updated = if fails && is_past(again, now) {
            again
        } else {
            created
        };
        let failed = fails && updated == created;
        let body = JsonObjectWriter::new()
            .put("id", id)
            .put("state", if failed { "failed" } else { "succeeded" })
            .put("machine", plan.machines[sale.machine].id)
            .put("revenuetransaction", sale.id)
            .put("message", if failed { "HTTP 503" } else { "OK" })
            .put("details", failed.then_some("{\"attempt\": 1}"))
            .times(created, updated)
            .done();
        is_past(created, now).then(|| {
            SmartNowRow::new(id, created, updated, body).under(SmartNowKey::Number(integration))
        })
    };
    handed_on(plan)
        .zip(0..)
        .zip(HANDED_ON + 1..)
        .filter_map(row)
        .collect()
}

/// The sales as they are handed on, each under its own id.
pub(crate) fn integration_transactions(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    let row = |(integration, sale): (i64, &SmartNowSale)| {
        let created = sale.created + 60;
        let location = &plan.locations[sale.location];
        let body = JsonObjectWriter::new()
            .put("id", sale.id)
            .put("remote", sale.remote)
            .put("price", sale.price)
            .put("occurredAt", local_timestamp(&location.zone, sale.occurred))
            .put("machine", plan.machines[sale.machine].id)
            .put("location", location.id)
            .put("timestamp", sale.occurred)
            .put("currency", location.currency)
            .put("timezone", location.timezone)
            .put("name", sale.item.name)
            .put("token", token(plan, sale))
            .put("salestype", sale.sales_type)
            .times(created, created)
            .done();
        let row = || {
            SmartNowRow::new(sale.id, created, created, body)
                .at(sale.occurred)
                .under(SmartNowKey::Number(integration))
        };
        is_past(created, now).then(row)
    };
    handed_on(plan).filter_map(row).collect()
}
