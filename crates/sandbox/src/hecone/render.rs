//! Record that the API shows of a sale, from its plan and its stage.
//!
//! Invariant: ids, cards and texts are drawn in the same order at every stage, so that a record keeps them as it moves on.

use super::payment_methods::HecOnePaymentMethod;
use super::receipts::{self, local_timestamp, log};
use super::sale::{HecOneSale, HecOneSaleLine, HecOneWorld, SaleOutcome, SaleStage};
use super::sites::{CurrencyProfile, MerchantSite, PRODUCTS, SiteCategory};
use super::states;
use super::wire::{
    HecOneAdditionalCard, HecOneArticle, HecOneCardIssuer, HecOneClient, HecOneCustomerData,
    HecOneDevice, HecOneInvoice, HecOnePayment, HecOnePoint, HecOneProduct, HecOneReceipt,
    HecOneReceiptLinks, HecOneSite, HecOneText, HecOneTransaction,
};
use crate::decimal::Decimal;
use crate::random::{RandomStream, uuid_text};
use crate::world::Vehicle;

/// Instants by which the provider's list orders a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordTimes {
    /// The record time, Unix seconds: the invoice's, else the first article's start.
    pub time: i64,
}

/// Empty words are nulls.
fn word(text: &'static str) -> Option<HecOneText<'static>> {
    (!text.is_empty()).then_some(HecOneText::Borrowed(text))
}

/// Renderer of one sale at one stage.
struct RecordRenderer<'w> {
    world: &'w HecOneWorld,
    place: &'w MerchantSite,
    sale: &'w HecOneSale,
    stage: SaleStage,
    currency: Option<HecOneText<'static>>,
    random: RandomStream,
    /// True if this till writes down everything; most write little.
    wordy: bool,
}

/// Builds the record of a sale at a stage.
pub(crate) fn transaction<'w>(
    world: &'w HecOneWorld,
    sale: &'w HecOneSale,
    stage: SaleStage,
) -> (HecOneTransaction<'w>, RecordTimes) {
    let place = &world.places.sites[sale.site];
    let CurrencyProfile(currency, _, vat) = place.money;
    let currency = sale
        .named_currency
        .then_some(HecOneText::Borrowed(currency));
    let mut random = sale.details.clone();
    let wordy = random.chance(150);
    let mut pen = RecordRenderer {
        world,
        place,
        sale,
        stage,
        currency,
        random,
        wordy,
    };
    pen.write(Decimal::new(i128::from(vat), 3))
}

impl<'w> RecordRenderer<'w> {
    fn at(&self, second: i64) -> String {
        local_timestamp(&self.place.zone, second)
    }

    /// When the invoice was made, as the till writes it: the clock of some knows no offset, and nobody can tell the instant then.
    fn invoiced_at(&self, sale: &HecOneSale) -> String {
        let at = self.at(sale.done);
        match at.get(..LOCAL_TIME) {
            Some(local) if sale.has_no_offset => local.replace('T', " "),
            _ => at,
        }
    }

    /// The vehicle of the world that a fleet card belongs to, where the fleets drive.
    fn vehicle(&self, means: Option<&'static HecOnePaymentMethod>) -> Option<&'w Vehicle> {
        let vehicles = &self.world.shared_world.vehicles;
        let drives_here = matches!(self.place.money.0, "EUR" | "CHF");
        let index = (self.sale.id >> 80) as usize % vehicles.len().max(1);
        vehicles
            .get(index)
            .filter(|_| drives_here && means.is_some_and(HecOnePaymentMethod::is_fleet))
    }

    /// True if everything was consumed.
    fn is_done(&self) -> bool {
        let never = matches!(
            self.sale.outcome,
            SaleOutcome::Refused
                | SaleOutcome::Failed
                | SaleOutcome::NeverReleased
                | SaleOutcome::NeverFinished
        );
        !never && self.stage >= SaleStage::Consumed
    }

    fn write(&mut self, vat: Decimal) -> (HecOneTransaction<'w>, RecordTimes) {
        let (world, place, sale) = (self.world, self.place, self.sale);
        let number = self.random.below(10_000);
        let device = self.random.below(place.devices.len() as u64) as usize;
        let point = self.random.below(place.points.len() as u64) as usize;
        let means = if sale.free {
            None
        } else {
            Some(HecOnePaymentMethod::draw(place.trade, &mut self.random))
        };
        let meter = self.random.below(100_000_000);
        let (ocmf_start, ocmf_stop) = self.meter_records(meter);
        let articles: Vec<HecOneArticle<'w>> = sale
            .lines
            .iter()
            .enumerate()
            .map(|(i, line)| self.article(i, line, vat, &ocmf_start, &ocmf_stop))
            .collect();
        let tax: Decimal = sale
            .lines
            .iter()
            .map(|line| line.amount.tax_inside(vat))
            .sum();
        let payments = self.payments(means, tax);
        let done = self.is_done();
        let invoice = done.then(|| HecOneInvoice {
            amount: Some(sale.total),
            paid_amount: Some(states::collected(&payments)),
            currency: self.currency.clone(),
            created_at: Some(self.invoiced_at(sale).into()),
            tax_amount: Some(tax),
        });
        let state = states::derive(&articles, &payments, done.then_some(sale.total));
        let customer_data = self.customer_data(means);
        let receipt = self.receipt(ocmf_start, ocmf_stop.filter(|_| done));
        let client = match self.random.below(100) {
            0..2 => None,
            2..50 => Some((
                format!("client-{}@example.com", self.random.below(5000)),
                "user",
            )),
            _ => Some((place.devices[device].code.clone(), "device")),
        };
        let roaming = means.is_some_and(HecOnePaymentMethod::is_roaming);
        let session_id = uuid_text(self.random.uuid());
        let driver = self.random.below(900) + 100;
        let has_point = !self.random.chance(8);
        let mut entries = Vec::new();
        if self.wordy || state == "created" {
            entries.push(log(
                100,
                "info",
                "Transaction created",
                &self.at(sale.start),
            ));
        }
        if self.stage > SaleStage::Created && self.wordy {
            entries.push(log(120, "info", "Point released", &self.at(sale.release)));
        }
        match state {
            "completed" => entries.push(log(
                190,
                "info",
                "Transaction completed",
                &self.at(sale.paid),
            )),
            "declined" => entries.push(log(
                451,
                "warning",
                "Declined by host",
                &self.at(sale.release),
            )),
            "error" => entries.push(log(
                910,
                "error",
                "Terminal \"T1\" lost\tconnection",
                &self.at(sale.release),
            )),
            _ => {}
        }
        let spot = &place.points[point];
        let transaction = HecOneTransaction {
            id: uuid_text(sale.id).into(),
            mandator_id: world.places.mandators[usize::from(place.mandator)]
                .as_str()
                .into(),
            state: state.into(),
            invoice,
            client: client.map(|(id, kind)| HecOneClient {
                id: Some(id.into()),
                kind: Some(kind.into()),
            }),
            site_id: Some(place.id.as_str().into()),
            point_id: has_point.then(|| spot.id.as_str().into()),
            products: Some(
                sale.lines
                    .iter()
                    .map(|line| HecOneProduct {
                        id: world.places.product_ids[line.product].as_str().into(),
                        code: Some(PRODUCTS[line.product].code.into()),
                    })
                    .collect(),
            ),
            articles,
            payments,
            customer_data,
            receipt,
            terminal_transaction_number: Some(format!("{}/{number:04}", device + 1).into()),
            session_id: roaming.then(|| session_id.into()),
            site: Some(HecOneSite {
                name: Some(world.site_name(sale).into()),
                code: Some(place.code.into()),
                timezone: Some(place.timezone.into()),
                street: Some(place.street.into()),
                city: Some(place.city.into()),
            }),
            device: Some(HecOneDevice {
                name: Some(place.devices[device].name.as_str().into()),
                code: Some(place.devices[device].code.as_str().into()),
            }),
            point: has_point.then(|| HecOnePoint {
                name: Some(spot.name.as_str().into()),
                number: Some(Decimal::from(spot.number)),
            }),
            card_issuer: means.is_some_and(HecOnePaymentMethod::is_fleet).then(|| {
                HecOneCardIssuer {
                    vehicle_number: Some(self.vehicle(means).map_or_else(
                        || format!("V-{number:04}").into(),
                        |v| v.vehicle_number.as_str().into(),
                    )),
                    driver_name: Some(format!("Driver {driver}").into()),
                }
            }),
            log: Some(entries),
        };
        (
            transaction,
            RecordTimes {
                time: if done { sale.done } else { sale.start },
            },
        )
    }

    fn meter_records(&mut self, meter: u64) -> (Option<String>, Option<String>) {
        if self.place.trade != SiteCategory::Charging {
            return (None, None);
        }
        let reading = Decimal::new(i128::from(self.random.between(10_000, 900_000)), 1);
        let start = receipts::ocmf(
            true,
            &self.at(self.sale.release),
            reading,
            meter,
            &mut self.random,
        );
        let end = reading.plus(self.sale.lines[0].quantity);
        let stop = receipts::ocmf(
            false,
            &self.at(self.sale.done),
            end,
            meter,
            &mut self.random,
        );
        (Some(start), Some(stop))
    }

    fn article(
        &mut self,
        index: usize,
        line: &HecOneSaleLine,
        vat: Decimal,
        ocmf_start: &Option<String>,
        ocmf_stop: &Option<String>,
    ) -> HecOneArticle<'w> {
        let (sale, plan, done) = (self.sale, &PRODUCTS[line.product], self.is_done());
        let state = match (sale.outcome, self.stage) {
            (SaleOutcome::Refused, SaleStage::Closed) => "declined",
            (SaleOutcome::Failed, SaleStage::Closed) => "error",
            (_, SaleStage::Created) => "reserved",
            (_, SaleStage::Pending) if index == 0 => "ongoing",
            (_, SaleStage::Pending) => "released",
            _ => "done",
        };
        let id = uuid_text(self.random.uuid());
        let signed = match (ocmf_start, ocmf_stop) {
            (Some(start), Some(stop)) if index == 0 => {
                // An eighth of the stations sign: the strings are long.
                let record = receipts::signed_meter_records(start, stop, &mut self.random);
                (done && self.sale.id.is_multiple_of(8)).then_some(record)
            }
            _ => None,
        };
        let mut entries = Vec::new();
        if self.wordy {
            entries.push(log(10, "info", "Article reserved", &self.at(sale.start)));
        }
        if done && self.wordy {
            entries.push(log(13, "info", "Consumption complete", &self.at(sale.done)));
        }
        let allowance = if plan.unit == "min" {
            Some(Decimal::from(10))
        } else {
            None
        };
        HecOneArticle {
            id: id.into(),
            product_id: Some(self.world.places.product_ids[line.product].as_str().into()),
            category: Some(plan.trade.category().into()),
            state: Some(state.into()),
            start_time: Some(self.at(sale.start).into()),
            end_time: done.then(|| self.at(sale.done).into()),
            unit_price: Some(line.unit_price),
            amount: done.then_some(line.amount),
            tax_percentage: Some(vat),
            tax_amount: done.then(|| line.amount.tax_inside(vat)),
            quantity: done.then_some(line.quantity),
            free_quantity: allowance,
            max_quantity: Some(
                Decimal::from(plan.quantity.1).times(scale_of(plan.quantity_scale), 0),
            ),
            max_amount: Some(
                Decimal::from(150).times(Decimal::new(i128::from(self.place.money.1), 3), 0),
            ),
            name: Some(plan.name.into()),
            unit_measure: Some(plan.unit.into()),
            currency: self.currency.clone(),
            log: entries,
            charge_detail_record: signed,
        }
    }

    fn payments(
        &mut self,
        means: Option<&'static HecOnePaymentMethod>,
        tax: Decimal,
    ) -> Vec<HecOnePayment<'w>> {
        let sale = self.sale;
        let Some(means) = means else {
            return vec![self.token_payment()];
        };
        let both = self.random.chance(45) && sale.outcome == SaleOutcome::Paid;
        let share = Decimal::new(i128::from(self.random.between(20, 80)), 2);
        let second = HecOnePaymentMethod::draw(self.place.trade, &mut self.random);
        let state = self.payment_state();
        if sale.outcome == SaleOutcome::PaidByAnother {
            let refused = self.payment(means, sale.total, tax, true, state);
            // The second card is taken once the first was refused.
            let paid = self.payment(second, sale.total, tax, false, "collected");
            return if self.stage == SaleStage::Closed {
                vec![refused, paid]
            } else {
                vec![refused]
            };
        }
        if !both {
            return vec![self.payment(means, sale.total, tax, true, state)];
        }
        let first = sale.total.times(share, 2);
        let rest = sale.total.plus(first.times(Decimal::from(-1), 2));
        vec![
            self.payment(means, first, tax, true, state),
            self.payment(second, rest, tax, false, state),
        ]
    }

    /// The state of the first payment, or of the only one.
    fn payment_state(&self) -> &'static str {
        match (self.sale.outcome, self.stage) {
            (
                SaleOutcome::Refused | SaleOutcome::PaymentRefused | SaleOutcome::PaidByAnother,
                SaleStage::Closed,
            ) => "declined",
            (SaleOutcome::PaymentFailed, SaleStage::Closed) => "error",
            (SaleOutcome::Failed, SaleStage::Closed) => "open",
            (_, SaleStage::Closed) => "collected",
            (SaleOutcome::NeverPaid, SaleStage::Consumed) | (_, SaleStage::Created) => "open",
            _ => "reserved",
        }
    }

    fn payment(
        &mut self,
        means: &'static HecOnePaymentMethod,
        amount: Decimal,
        tax: Decimal,
        first: bool,
        state: &'static str,
    ) -> HecOnePayment<'w> {
        let sale = self.sale;
        let collected = state == "collected";
        let id = uuid_text(self.random.uuid());
        let identification = uuid_text(self.random.uuid());
        let scheme = *self.random.pick(means.schemes);
        let entry_mode = *self.random.pick(means.entry_modes);
        let function = *self.random.pick(means.functions);
        let card = means.has_card.then(|| receipts::card(&mut self.random));
        let pin = self.random.chance(60) && means.has_card;
        let companion = self.random.chance(400) && means.is_fleet();
        let companion_card = receipts::card(&mut self.random);
        let token = receipts::hex(1, &mut self.random);
        let currency = self.currency.as_deref().unwrap_or("");
        let (printed, filed) = (self.random.chance(350), self.random.chance(150));
        let slip =
            receipts::terminal_receipt(scheme, card.as_deref(), amount, currency, &mut self.random);
        let fiscal =
            receipts::fiscal_receipt(self.place, &sale.lines, sale.total, tax, &mut self.random);
        let mut entries = Vec::new();
        if self.wordy {
            entries.push(log(40, "info", "Payment opened", &self.at(sale.start + 1)));
        }
        if collected && self.wordy {
            entries.push(log(44, "info", "Payment collected", &self.at(sale.paid)));
        }
        HecOnePayment {
            id: id.into(),
            identification_id: Some(identification.into()),
            state: Some(state.into()),
            created_at: Some(self.at(sale.start + if first { 1 } else { 2 }).into()),
            reserved_amount: means.has_card.then_some(amount),
            amount: self.is_done().then_some(amount),
            currency: self.currency.clone(),
            card_entrymode: if means.has_card {
                word(entry_mode)
            } else {
                None
            },
            entry_mode: word(entry_mode),
            medium: Some(means.medium.into()),
            kind: Some(means.kind.into()),
            function: word(function),
            scheme: word(scheme),
            card_id: self
                .vehicle(Some(means))
                .map(|v| v.card.as_str().into())
                .or_else(|| card.map(Into::into)),
            pin: pin.then_some("4711".into()),
            terminal_receipt: if collected && means.has_card && printed {
                slip
            } else {
                Vec::new()
            },
            fiscal_receipt: if collected && first && filed {
                fiscal
            } else {
                Vec::new()
            },
            log: entries,
            additional_card: companion.then(|| HecOneAdditionalCard {
                function: Some("DriverCard".into()),
                card_id: Some(companion_card.into()),
            }),
            qr_code: (means.kind == "App")
                .then(|| format!("https://pay.example.com/r/{token}").into()),
        }
    }

    /// Payment of a sale that costs nothing.
    fn token_payment(&mut self) -> HecOnePayment<'w> {
        let (id, state) = (uuid_text(self.random.uuid()), self.payment_state());
        HecOnePayment {
            id: id.into(),
            state: Some(state.into()),
            created_at: Some(self.at(self.sale.start + 1).into()),
            amount: self.is_done().then_some(Decimal::ZERO),
            currency: self.currency.clone(),
            medium: Some("Barcode".into()),
            kind: Some("Voucher".into()),
            entry_mode: Some("Manual".into()),
            log: vec![log(
                40,
                "info",
                "Payment opened",
                &self.at(self.sale.start + 1),
            )],
            ..HecOnePayment::default()
        }
    }

    fn customer_data(
        &mut self,
        means: Option<&'static HecOnePaymentMethod>,
    ) -> Option<HecOneCustomerData<'w>> {
        let (kilometres, driver, cost) = (
            self.random.between(900, 399_000),
            self.random.below(9000),
            self.random.below(90),
        );
        let plate = receipts::plate(self.place, &mut self.random);
        let (known, seen) = (self.random.chance(400), self.random.chance(700));
        let fleet = means.is_some_and(HecOnePaymentMethod::is_fleet);
        let additional_info =
            (driver % 23 == 0).then(|| "Beleg für die Buchhaltung; \u{20ac} inkl. MwSt.".into());
        if let Some(vehicle) = self.vehicle(means) {
            // The camera spells a plate in its own way.
            let plate = if driver % 4 == 0 {
                &vehicle.loose_plate
            } else {
                &vehicle.plate
            };
            return Some(HecOneCustomerData {
                odometer: Some(Decimal::from(vehicle.odometer_km + kilometres % 3_000)),
                driver_number: Some(vehicle.driver_number.as_str().into()),
                vehicle_number: Some(vehicle.vehicle_number.as_str().into()),
                additional_info,
                license_plate: seen.then(|| plate.as_str().into()),
                cost_center: Some(vehicle.cost_center.as_str().into()),
            });
        }
        ((known && seen) || fleet).then(|| HecOneCustomerData {
            odometer: fleet.then(|| Decimal::from(kilometres)),
            driver_number: fleet.then(|| format!("D-{driver:04}").into()),
            vehicle_number: fleet.then(|| format!("V-{:04}", driver % 700).into()),
            additional_info,
            license_plate: seen.then(|| plate.into()),
            cost_center: fleet.then(|| format!("CC-{cost:02}").into()),
        })
    }

    fn receipt(
        &mut self,
        start: Option<String>,
        stop: Option<String>,
    ) -> Option<HecOneReceipt<'w>> {
        let (mail, number, token) = (
            self.random.chance(150),
            self.random.below(100_000),
            receipts::hex(2, &mut self.random),
        );
        let wanted = self.random.chance(330);
        let closed = self.stage == SaleStage::Closed && self.is_done();
        let sent_at = self.at(self.sale.paid);
        wanted.then(|| HecOneReceipt {
            ocmf_start: start.map(Into::into),
            ocmf_stop: stop.map(Into::into),
            state: Some(if closed { "sent" } else { "open" }.into()),
            additional_information: None,
            email: mail.then(|| format!("receipt-{number}@example.com").into()),
            links: closed.then(|| HecOneReceiptLinks {
                customer_url: Some(format!("https://receipts.example.com/{token}").into()),
            }),
            log: if closed && self.wordy {
                vec![log(70, "info", "Receipt sent", &sent_at)]
            } else {
                Vec::new()
            },
        })
    }
}

/// Characters of a time without its offset, like `2026-03-01T12:00:00`.
const LOCAL_TIME: usize = 19;

/// One unit of a quantity with that many digits after the point.
fn scale_of(scale: u8) -> Decimal {
    Decimal::new(1, scale)
}
