//! SmartNow's master data as it is at the clock: machines and what they sell, places, people, alarms.
//!
//! Invariant: no person in it exists; every e-mail ends in `@person.invalid`.

use super::locations::{BEFORE, MANUFACTURERS, MODELS, SmartNowMachine, TYPES};
use super::object::{JsonObjectWriter, utc};
use super::plan::{CODES, SmartNowPaymentMethod, SmartNowPlan, is_past};
use super::table::{SmartNowKey, SmartNowRow};
use std::collections::HashMap;

/// When the account was set up.
fn setup(plan: &SmartNowPlan) -> i64 {
    plan.since - BEFORE - 86_400
}

/// A record that was made at the setup and never changed.
fn fixed(plan: &SmartNowPlan, id: i64, object: JsonObjectWriter) -> SmartNowRow {
    let made = setup(plan);
    SmartNowRow::new(id, made, made, object.times(made, made).done())
}

/// A payment's type: the word of the profile of that type of machine.
pub(crate) fn payment_type(machine_type: i64, method: SmartNowPaymentMethod) -> &'static str {
    match (machine_type, method) {
        (1, SmartNowPaymentMethod::Cash) => "Bargeld",
        (1, SmartNowPaymentMethod::Card) => "Karte",
        (_, SmartNowPaymentMethod::Card) => "EC/Credit",
        (_, other) => other.word(),
    }
}

pub(crate) fn machines(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    let mut last_sale = HashMap::new();
    for sale in plan.sales.iter().filter(|sale| is_past(sale.created, now)) {
        last_sale.insert(sale.machine, sale);
    }
    let mut last_log = HashMap::new();
    for log in plan.logs.iter().filter(|log| is_past(log.created, now)) {
        last_log.insert(log.machine, log);
    }
    let there = plan
        .machines
        .iter()
        .enumerate()
        .filter(|(_, machine)| stands(machine, now));
    let row = |(index, machine): (usize, &SmartNowMachine)| {
        let location = &plan.locations[machine.location];
        let model = MODELS
            .iter()
            .find(|model| model.0 == machine.model)
            .unwrap_or(&MODELS[0]);
        let (sale, log) = (last_sale.get(&index), last_log.get(&index));
        let updated = sale.map_or(machine.installed, |sale| {
            sale.created.max(machine.installed)
        });
        let body = JsonObjectWriter::new()
            .put("id", machine.id)
            .put("name", format!("{} {}", model.1, machine.id))
            .put("hostname", format!("sb-{}", machine.id))
            .put("gateway", machine.id + 1000)
            .put("location", location.id)
            .put("machineModel", machine.model)
            .put("machineType", model.3)
            .put("manufacturer", model.2)
            .put("lastRevenuetransaction", sale.map(|sale| sale.id))
            .put("lastLog", log.map(|log| log.id))
            .put("lastIotevent", None::<i64>)
            .put("tag", format!("T{}", machine.id % 5))
            .put(
                "notes",
                (machine.id % 6 == 0).then_some("Second floor, beside the lift"),
            )
            .put("virtualPrices", 0)
            .put("active", 1)
            .put("currency", machine.location as i64 + 1)
            .put("debtor", 70_000 + machine.id)
            .put("logSynced", log.map(|log| log.created))
            .put("revenuetransactionSynced", sale.map(|sale| sale.created))
            .put("ioteventSynced", None::<i64>)
            .put("ruleSet", "default")
            .times(machine.installed, updated)
            .put("lastSoldId", sale.map(|sale| sale.item.plu))
            .put("isManagedAssortment", 0)
            .put("configState", "scheduled")
            .put("transactionProfile", if model.3 == 1 { 1 } else { 2 })
            .put("hasSubscription", 1)
            .done();
        SmartNowRow::new(machine.id, machine.installed, updated, body)
    };
    there.map(row).collect()
}

pub(crate) fn machine_models(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |(id, name, manufacturer, kind, profile): &(i64, &str, i64, i64, i64)| {
        let object = JsonObjectWriter::new()
            .put("id", id)
            .put("name", name)
            .put("manufacturer", manufacturer)
            .put("machineType", kind)
            .put("errorProfile", profile)
            .put("image", None::<i64>)
            .put("userGroup", 1);
        fixed(plan, *id, object)
    };
    MODELS.iter().map(row).collect()
}

pub(crate) fn machine_types(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |(name, id): (&&str, i64)| {
        fixed(
            plan,
            id,
            JsonObjectWriter::new().put("id", id).put("name", name),
        )
    };
    TYPES.iter().zip(1..).map(row).collect()
}

pub(crate) fn manufacturers(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |((name, types), id): (&(&str, &[i64]), i64)| {
        fixed(
            plan,
            id,
            JsonObjectWriter::new()
                .put("id", id)
                .put("name", name)
                .put("machineTypes", types),
        )
    };
    MANUFACTURERS.iter().zip(1..).map(row).collect()
}

pub(crate) fn machine_groups(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |(name, id): (&str, i64)| {
        let machines: Vec<i64> = plan
            .machines
            .iter()
            .filter(|machine| machine.kind() == id)
            .map(|machine| machine.id)
            .collect();
        fixed(
            plan,
            id,
            JsonObjectWriter::new()
                .put("id", id)
                .put("name", name)
                .put("machines", machines),
        )
    };
    ["All coffee", "All snacks", "All drinks"]
        .into_iter()
        .zip(1..)
        .map(row)
        .collect()
}

pub(crate) fn locations(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    // One place gets another name a few hours after the stretch.
    let renamed = plan.until + 6 * 3600;
    let row = |(index, place): (usize, &super::locations::SmartNowLocation)| {
        let open = plan
            .shifts
            .iter()
            .rfind(|shift| shift.location == index && is_past(shift.opened, now));
        let is_renamed = index == 2 && is_past(renamed, now);
        let name = if is_renamed {
            format!("{} II", place.name)
        } else {
            place.name.to_owned()
        };
        let updated = open.map_or(setup(plan), |shift| shift.opened);
        let updated = if is_renamed {
            updated.max(renamed)
        } else {
            updated
        };
        let body = JsonObjectWriter::new()
            .put("id", place.id)
            .put("name", name)
            .put("address", place.address)
            .put("postcode", place.postcode)
            .put("city", place.city)
            .put("country", place.country)
            .put("activeShift", open.map(|shift| shift.id))
            .put("latitude", place.latitude)
            .put("longitude", place.longitude)
            .put("placeId", format!("sandbox-place-{}", place.id))
            .put("timeZone", place.timezone)
            .times(setup(plan), updated)
            .done();
        SmartNowRow::new(place.id, setup(plan), updated, body)
    };
    plan.locations.iter().enumerate().map(row).collect()
}

pub(crate) fn location_groups(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |(name, group): (&str, i64)| {
        let of_group = plan
            .locations
            .iter()
            .filter(|location| location.group == group);
        let ids: Vec<i64> = of_group.map(|location| location.id).collect();
        fixed(
            plan,
            group - 1,
            JsonObjectWriter::new()
                .put("id", group - 1)
                .put("name", name)
                .put("locations", ids),
        )
    };
    [("Continent", 2), ("Overseas", 3)]
        .into_iter()
        .map(row)
        .collect()
}

pub(crate) fn opening_hours(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    let mut rows = Vec::new();
    for machine in plan
        .machines
        .iter()
        .filter(|machine| is_past(machine.installed, now))
    {
        for day in (1..=5).filter(|_| machine.id % 3 == 0) {
            let id = machine.id * 10 + day;
            let object = JsonObjectWriter::new()
                .put("id", id)
                .put("machine", machine.id)
                .put("day", day)
                .put("startTime", "07:30:00")
                .put("endTime", "18:00:00")
                .times(machine.installed, machine.installed);
            rows.push(SmartNowRow::new(
                id,
                machine.installed,
                machine.installed,
                object.done(),
            ));
        }
    }
    rows
}

/// True if a machine is known by now, and stands there.
fn stands(machine: &SmartNowMachine, now: i64) -> bool {
    is_past(machine.installed, now) && machine.removed.is_none_or(|removed| !is_past(removed, now))
}

/// The machines that stand there, for what belongs to them.
fn standing(plan: &SmartNowPlan, now: i64) -> impl Iterator<Item = &SmartNowMachine> {
    plan.machines
        .iter()
        .filter(move |machine| stands(machine, now))
}

pub(crate) fn products(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    let mut rows = Vec::new();
    for machine in standing(plan, now) {
        let location = &plan.locations[machine.location];
        for item in machine.items() {
            let id = machine.id * 100 + item.plu;
            let middle = plan.middle();
            let (before, after) = (
                plan.price(location, item, middle - 1),
                plan.price(location, item, middle),
            );
            let risen = before != after && is_past(middle, now);
            let price = if risen { after } else { before };
            let updated = if risen {
                middle.max(machine.installed)
            } else {
                machine.installed
            };
            let body = JsonObjectWriter::new()
                .put("id", id)
                .put("plu", item.plu)
                .put("name", item.name)
                .put("price", price)
                .put("barcode", item.barcode)
                .put("machine", machine.id)
                .put("reportName", item.name)
                .times(machine.installed, updated)
                .put("remotePrice", price)
                .put("type", "product")
                .put("vatrate", location.vat)
                .put("ledger", "8400")
                .put("subledger", format!("{:02}", item.of))
                .done();
            rows.push(
                SmartNowRow::new(id, machine.installed, updated, body)
                    .under(SmartNowKey::Number(machine.id)),
            );
        }
    }
    rows
}

/// Additions to a product. Prices are texts in the document.
fn additions(
    plan: &SmartNowPlan,
    now: i64,
    first: i64,
    names: [(&'static str, i64); 2],
) -> Vec<SmartNowRow> {
    let mut rows = Vec::new();
    for machine in standing(plan, now).filter(|machine| machine.kind() == 1) {
        let location = &plan.locations[machine.location];
        for ((name, cents), plu) in names.into_iter().zip(first..) {
            let id = machine.id * 1000 + plu;
            let body = JsonObjectWriter::new()
                .put("id", id)
                .put("plu", plu)
                .put("name", name)
                .put("price", location.price(cents).to_string())
                .put("barcode", None::<&str>)
                .put("machine", machine.id)
                .put("reportName", name)
                .times(machine.installed, machine.installed)
                .done();
            rows.push(
                SmartNowRow::new(id, machine.installed, machine.installed, body)
                    .under(SmartNowKey::Number(machine.id)),
            );
        }
    }
    rows
}

pub(crate) fn product_extras(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    additions(plan, now, 101, [("Extra shot", 50), ("Large cup", 30)])
}

pub(crate) fn product_flavours(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    additions(plan, now, 201, [("Vanilla", 40), ("Hazelnut", 40)])
}

pub(crate) fn error_profiles(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |id: i64| {
        let object = JsonObjectWriter::new()
            .put("id", id)
            .put("name", format!("Standard {id}"))
            .put("machineType", id)
            .put("manufacturer", id);
        fixed(plan, id, object)
    };
    (1..=3).map(row).collect()
}

pub(crate) fn error_identities(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |(code, id): (&(&str, i64, bool, u64), i64)| {
        fixed(
            plan,
            id,
            JsonObjectWriter::new()
                .put("id", id)
                .put("machineType", 1)
                .put("error", code.0),
        )
    };
    CODES.iter().zip(1..).map(row).collect()
}

pub(crate) fn error_codes(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let mut rows = Vec::new();
    for profile in 1..=3 {
        for (code, identity) in CODES.iter().zip(1..) {
            let id = profile * 100 + identity;
            let object = JsonObjectWriter::new()
                .put("id", id)
                .put("errorIdentity", identity)
                .put("errorProfile", profile)
                .put("code", format!("{profile}-{}", code.0));
            rows.push(fixed(plan, id, object));
        }
    }
    rows
}

pub(crate) fn transaction_profiles(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let methods = [
        SmartNowPaymentMethod::Cash,
        SmartNowPaymentMethod::Card,
        SmartNowPaymentMethod::Code,
        SmartNowPaymentMethod::Virtual,
        SmartNowPaymentMethod::Token,
    ];
    let row = |(rule, id): (&str, i64)| {
        let map: serde_json::Map<String, serde_json::Value> = methods
            .iter()
            .map(|method| (method.word().to_owned(), payment_type(id, *method).into()))
            .collect();
        fixed(
            plan,
            id,
            JsonObjectWriter::new()
                .put("id", id)
                .put("reportRule", rule)
                .put("paymentTypesMap", map),
        )
    };
    [("first_letter", 1), ("first_block", 2)]
        .into_iter()
        .map(row)
        .collect()
}

pub(crate) fn languages(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |((name, language, locale), id): (&(&str, &str, &str), i64)| {
        let object = JsonObjectWriter::new()
            .put("id", id)
            .put("name", name)
            .put("language", language)
            .put("locale", locale);
        fixed(plan, id, object)
    };
    [
        ("English", "en", "en-GB"),
        ("Deutsch", "de", "de-DE"),
        ("Nederlands", "nl", "nl-NL"),
    ]
    .iter()
    .zip(1..)
    .map(row)
    .collect()
}

pub(crate) fn users(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let made = setup(plan);
    let row = |id: i64| {
        let disabled = id == 5;
        let updated = if disabled { plan.since - 86_400 } else { made };
        let body = JsonObjectWriter::new()
            .put("id", id)
            .put("username", format!("operator-{id}"))
            .put("email", format!("operator{id}@person.invalid"))
            .put("language", id % 3 + 1)
            .put("userGroup", id % 3 + 1)
            .times(made, updated)
            .put("emailConfirmed", i64::from(id != 4))
            .put("disabledAt", disabled.then(|| utc(updated)))
            .put("password_expires", utc(plan.until + 90 * 86_400))
            .done();
        SmartNowRow::new(id, made, updated, body)
    };
    (1..=5).map(row).collect()
}

pub(crate) fn user_groups(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |((name, parent), id): (&(&str, Option<i64>), i64)| {
        let made = setup(plan);
        let body = JsonObjectWriter::new()
            .put("id", id)
            .put("name", name)
            .put("parent", parent)
            .put("admin", i64::from(id == 1))
            .times(made, made)
            .put("disabledAt", None::<&str>)
            .put("deleted", false)
            .done();
        SmartNowRow::new(id, made, made, body)
    };
    [
        ("Headquarters", None),
        ("Continent", Some(1)),
        ("Overseas", Some(1)),
    ]
    .iter()
    .zip(1..)
    .map(row)
    .collect()
}

pub(crate) fn alert_observers(plan: &SmartNowPlan, now: i64) -> Vec<SmartNowRow> {
    // Those that watch for an error say when they last sent word of it.
    let watched: [(&str, Option<usize>, &str); 4] = [
        ("Machine offline", Some(0), "non_resolution"),
        ("Grinder jammed", Some(4), "occurrence"),
        ("Boiler fault", Some(5), "occurrence"),
        ("No card sales", None, "non_occurrence"),
    ];
    let row = |((name, code, observer), id): (&(&str, Option<usize>, &str), i64)| {
        let seen = plan
            .logs
            .iter()
            .filter(|log| Some(log.code) == *code && is_past(log.created, now));
        let sent = seen.map(|log| log.created).max();
        let (made, updated) = (setup(plan), sent.unwrap_or(setup(plan)));
        let body = JsonObjectWriter::new()
            .put("id", id)
            .put("name", name)
            .put("error", code.map(|code| code as i64 + 1))
            .put("observer", observer)
            .put("occurs", code.map(|_| 1))
            .put("timer", 30)
            .put("timerType", 1)
            .put("alertGroup", id % 2 + 1)
            .put("sentAt", sent.map(utc))
            .put(
                "type",
                if code.is_some() {
                    "event"
                } else {
                    "transaction"
                },
            )
            .put("paymentMethod", code.is_none().then_some("card"))
            .put("openingHours", 1)
            .put("userGroup", 2)
            .times(made, updated)
            .done();
        SmartNowRow::new(id, made, updated, body)
    };
    watched.iter().zip(1..).map(row).collect()
}

pub(crate) fn alert_groups(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |(name, id): (&str, i64)| {
        fixed(
            plan,
            id,
            JsonObjectWriter::new()
                .put("id", id)
                .put("name", name)
                .put("userGroup", 2),
        )
    };
    ["Technicians", "Office"]
        .into_iter()
        .zip(1..)
        .map(row)
        .collect()
}

pub(crate) fn alert_recipients(plan: &SmartNowPlan, _now: i64) -> Vec<SmartNowRow> {
    let row = |id: i64| {
        let object = JsonObjectWriter::new()
            .put("id", id)
            .put("name", format!("Recipient {id}"))
            .put("email", format!("recipient{id}@person.invalid"))
            .put("alertGroup", id % 2 + 1)
            .put("language", 1)
            .put("active", i64::from(id != 3))
            .put("userGroup", 2);
        fixed(plan, id, object)
    };
    (1..=4).map(row).collect()
}

/// A machine's configuration, whose key nobody may ask for; `None` where there is no such machine.
pub(crate) fn configuration(
    plan: &SmartNowPlan,
    hostname: &str,
    now: i64,
) -> Option<JsonObjectWriter> {
    let machine = standing(plan, now).find(|machine| format!("sb-{}", machine.id) == hostname)?;
    let object = JsonObjectWriter::new()
        .put("id", machine.id)
        .put("name", hostname)
        .put("apn", None::<&str>)
        .put("config", "{}")
        .put("sharing", "off")
        .put("mode", "wlan")
        .put("encryption", "wpa2")
        .put("encryptionKey", format!("SECRETWIFI-{}", machine.id))
        .put("ssid", "machines");
    Some(object)
}
