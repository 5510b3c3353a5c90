//! Sales, payments, logs and shifts as SmartNow shows them at the clock.
//!
//! Invariant: a record is there from its `createdAt` on, and its `updatedAt` moves whenever anything else of it does. Logs have
//! no `updatedAt`: they are resolved without notice, as in the document.

use super::object::{JsonObjectWriter, utc};
use super::plan::{
    CODES, SmartNowPayment, SmartNowPaymentMethod, SmartNowPlan, SmartNowSale, is_past,
};
use super::table::SmartNowRow;
use crate::hecone::receipts::local_timestamp;

/// Stands before the tag of a driver who bought something.
pub(super) const TAG_MARKER: &str = "SECRETTAG";

pub(crate) fn sales(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    plan.sales
        .iter()
        .filter(|sale| is_past(sale.created, now))
        .map(|sale| sale_row(plan, sale, now))
        .collect()
}

/// Machine's note on how a sale was paid.
pub(super) fn token(plan: &SmartNowPlan, sale: &SmartNowSale) -> String {
    match (sale.vehicle, sale.paid.0) {
        (Some(vehicle), _) => format!("^^T:{TAG_MARKER}-{}", plan.world.vehicles[vehicle].rfid),
        (None, SmartNowPaymentMethod::Cash) => "^^C:R/-0".to_owned(),
        (None, method) => format!(
            "^^{}:R/-{}",
            method.word().get(..1).unwrap_or("X").to_uppercase(),
            sale.remote % 7
        ),
    }
}

fn sale_row(plan: &SmartNowPlan, sale: &SmartNowSale, now: i64) -> SmartNowRow {
    let location = &plan.locations[sale.location];
    let updated = sale.updated_at(now);
    let price = sale.price_at(now);
    let body = JsonObjectWriter::new()
        .put("id", sale.id)
        .put("product", sale.item.plu)
        .put("name", sale.item.name)
        .put("internalRef", sale.item.short)
        .put("machine", plan.machines[sale.machine].id)
        .put("location", location.id)
        .put("occurredAt", local_timestamp(&location.zone, sale.occurred))
        .put("timeZone", location.timezone)
        .put(
            "originalPrice",
            if price == sale.list_price {
                0
            } else {
                sale.list_price
            },
        )
        .put("price", price)
        .put("barcode", sale.item.barcode)
        .put("currency", location.currency)
        .put("timestamp", sale.occurred)
        .put("token", token(plan, sale))
        .put("salestype", sale.sales_type)
        .put("numPaymentTransactions", sale.payments_at(now))
        .put("remote", sale.remote)
        .put("pricelist", 0)
        .put("usergroup", location.group)
        .times(sale.created, updated)
        .done();
    SmartNowRow::new(sale.id, sale.created, updated, body).at(sale.occurred)
}

pub(crate) fn payments(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    let known = plan
        .payments
        .iter()
        .filter(|payment| is_past(payment.created, now));
    known
        .map(|payment| payment_row(plan, payment, now))
        .collect()
}

fn payment_row(plan: &SmartNowPlan, payment: &SmartNowPayment, now: i64) -> SmartNowRow {
    let sale = &plan.sales[payment.sale];
    let location = &plan.locations[sale.location];
    let price = sale.price_at(now);
    // The second one pays a third.
    let share = if sale.paid_too.is_some() {
        price / 3
    } else {
        0
    };
    let (method, price) = match sale.paid_too {
        Some((method, _)) if payment.is_second => (method, share),
        _ => (sale.paid.0, price - share),
    };
    let excluded = sale
        .excluded
        .filter(|at| is_past(*at, now) && !payment.is_second);
    let changes = [
        excluded,
        sale.correction
            .map(|(at, _)| at)
            .filter(|at| is_past(*at, now)),
    ];
    let updated = changes
        .into_iter()
        .flatten()
        .fold(payment.created, i64::max);
    let kind = super::inventory::payment_type(plan.machines[sale.machine].kind(), method);
    let group = if method == SmartNowPaymentMethod::Token {
        Some("fleet")
    } else {
        None
    };
    let body = JsonObjectWriter::new()
        .put("id", payment.id)
        .put("revenuetransaction", sale.id)
        .put("machine", plan.machines[sale.machine].id)
        .put("location", location.id)
        .put("occurredAt", local_timestamp(&location.zone, sale.occurred))
        .put("timeZone", location.timezone)
        .put("method", method.word())
        .put("type", kind)
        .put("price", price)
        .put("currency", location.currency)
        .put("exclude", i64::from(excluded.is_some()))
        .put("reportGroup", group)
        .times(payment.created, updated)
        .done();
    SmartNowRow::new(payment.id, payment.created, updated, body).at(sale.occurred)
}

pub(crate) fn logs(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    let known = plan.logs.iter().filter(|log| is_past(log.created, now));
    let row = |log: &super::plan::SmartNowLog| {
        let (code, kind, resolvable, _) = CODES[log.code];
        let machine = &plan.machines[log.machine];
        let location = &plan.locations[machine.location];
        let resolved = log.resolved.filter(|at| is_past(*at, now));
        let extra = match code {
            "CM_REBOOT" => Some(format!("{{\"uptime\": {}}}", log.remote % 90_000)),
            "CLEANING" => Some("{\"program\": \"short\"}".to_owned()),
            _ => None,
        };
        let body = JsonObjectWriter::new()
            .put("id", log.id)
            .put("remote", log.remote)
            .put("machine", machine.id)
            .put("location", location.id)
            .put("code", code)
            .put("errorIdentity", log.code as i64 + 1)
            .put("type", kind)
            .put("isResolvable", resolvable)
            .put("occurredAt", local_timestamp(&location.zone, log.occurred))
            .put("timeZone", location.timezone)
            .put("duration", resolved.map(|at| at - log.occurred))
            .put("extraData", extra)
            .put("date", log.occurred)
            .put("timestamp", log.occurred)
            .put("resolvedAt", resolved.map(utc))
            .put("state", resolved.map(|_| "resolved"))
            .put("createdAt", utc(log.created))
            .done();
        SmartNowRow {
            updated: None,
            ..SmartNowRow::new(log.id, log.created, log.created, body).at(log.occurred)
        }
    };
    known.map(row).collect()
}

pub(crate) fn shifts(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    /// A shift by its index, with its first and last sale.
    // By location, in the order of time: the first and last sale that came in during each.
    type ShiftSales<'p> = (usize, Option<&'p SmartNowSale>, Option<&'p SmartNowSale>);
    let mut by_place: Vec<Vec<ShiftSales<'_>>> = vec![Vec::new(); plan.locations.len()];
    for (index, shift) in plan.shifts.iter().enumerate() {
        by_place[shift.location].push((index, None, None));
    }
    for sale in plan.sales.iter().filter(|sale| is_past(sale.created, now)) {
        let of_place = &mut by_place[sale.location];
        let at =
            of_place.partition_point(|(index, _, _)| plan.shifts[*index].closed <= sale.created);
        if let Some((index, first, last)) = of_place.get_mut(at)
            && plan.shifts[*index].opened <= sale.created
        {
            first.get_or_insert(sale);
            *last = Some(sale);
        }
    }
    let row = |(index, first, last): ShiftSales<'_>| {
        let shift = &plan.shifts[index];
        let closed = Some(shift.closed).filter(|at| is_past(*at, now));
        let updated = closed
            .or(first.map(|sale| sale.created))
            .unwrap_or(shift.opened);
        let body = JsonObjectWriter::new()
            .put("id", shift.id)
            .put("location", plan.locations[shift.location].id)
            .put("firstTransaction", first.map(|sale| sale.id))
            // The last one is written down when the shift closes.
            .put(
                "lastTransaction",
                last.filter(|_| closed.is_some()).map(|sale| sale.id),
            )
            .put("previousShift", shift.previous)
            .put("closed", closed.map(utc))
            .times(shift.opened, updated)
            .done();
        SmartNowRow::new(shift.id, shift.opened, updated, body)
    };
    let is_open = |entry: &ShiftSales<'_>| is_past(plan.shifts[entry.0].opened, now);
    by_place
        .into_iter()
        .flatten()
        .filter(is_open)
        .map(row)
        .collect()
}
