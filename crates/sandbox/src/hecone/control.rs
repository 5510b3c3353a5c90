//! HecOne as the sandbox drives it: the clock, the truth, and what tests make happen to its records.
//!
//! Invariant: what is stirred stands first in the listing by id, which is also the first of its window by time if it is new.

use super::listing::{HecOneListQuery, HecOnePageRange};
use super::records::{HecOneRecordId, HecOneRecordStore};
use super::sale::{HecOneSale, SaleOutcome, SaleStage};
use super::wire::HecOneTransaction;
use super::{EmulatedHecOne, endpoints};
use crate::HECONE;
use bytes::Bytes;
use jiff::Timestamp;
use std::sync::atomic::Ordering;
use tillhouse_emulator::{
    EmulatedApi, EmulatedFault, EmulatedRequest, EmulatedResponse, FaultTarget, RecordMutation,
    RecordMutationKind, RecordSelection, no_resource, no_tenant,
};
use tillhouse_model::Result;

impl EmulatedApi for EmulatedHecOne {
    fn target(&self, call: &EmulatedRequest<'_>) -> FaultTarget {
        endpoints::target(call)
    }

    fn answer(
        &self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        self.respond(call, fault)
    }

    fn route(&self, call: &EmulatedRequest<'_>) -> Option<String> {
        let id = call.path.strip_prefix("/transactions/")?;
        (id != "statistics").then(|| format!("/{HECONE}/transactions/{{id}}"))
    }

    fn revoke(&self, refresh_too: bool) {
        self.tokens().revoke(refresh_too);
    }

    fn set_clock(&self, now: Timestamp) -> Result<()> {
        self.records_mut().set_clock(now)
    }

    fn truth(&self, selection: &RecordSelection) -> Result<Vec<Bytes>> {
        let records = self.records();
        let mandator = mandator(&records, selection)?;
        let is_meant = |row: &&super::records::HecOneStoredRecord| {
            mandator.is_none_or(|wanted| row.mandator == wanted) && selection.holds(row.time)
        };
        Ok(records
            .live_records()
            .filter(is_meant)
            .map(|row| row.body.clone())
            .collect())
    }

    fn mutate(&self, order: &RecordMutation) -> Result<Option<String>> {
        let mut records = self.records_mut();
        let wanted = mandator(&records, &order.selection())?;
        let (from, to) = (order.from.as_microsecond(), order.to.as_microsecond());
        let first_second = from.div_euclid(1_000_000) + i64::from(from.rem_euclid(1_000_000) > 0);
        if order.kind == RecordMutationKind::Arrive {
            if first_second * 1_000_000 >= to {
                return Ok(None);
            }
            return records
                .insert_at_edge(wanted, first_second, false)
                .map(Some);
        }
        let rows = records
            .between(from, to, false)
            .iter()
            .map(|row| &records.rows[*row as usize]);
        let mut rows: Vec<_> = rows
            .filter(|row| wanted.is_none_or(|wanted| row.mandator == wanted))
            .collect();
        rows.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        if order.kind == RecordMutationKind::Vanish {
            let id = rows.first().map(|row| row.id.text());
            return Ok(id.filter(|id| records.remove(id)));
        }
        // A record that does not have the document's shape cannot be changed in a way that keeps it as it is.
        let Some(record) = rows
            .into_iter()
            .find_map(|row| HecOneTransaction::parse(&row.body))
        else {
            return Ok(None);
        };
        let id = record.id.to_string();
        records.touch(record)?;
        Ok(Some(id))
    }

    fn put(&self, resource: &str, tenant: Option<&str>, json: &str) -> Result<String> {
        let mut records = self.records_mut();
        mandator(
            &records,
            &RecordSelection {
                tenant: tenant.map(str::to_owned),
                ..RecordSelection::of(resource)
            },
        )?;
        records.put(json, None)
    }

    fn cap_pages(&self, largest: u32) {
        self.largest_page.store(largest.max(1), Ordering::Relaxed);
    }
}

/// The mandator that is meant, by its index. Errors for a resource or mandator that is not there.
fn mandator(records: &HecOneRecordStore, selection: &RecordSelection) -> Result<Option<u16>> {
    if selection.resource != "transactions" {
        return Err(no_resource(&selection.resource));
    }
    let Some(wanted) = &selection.tenant else {
        return Ok(None);
    };
    let found = records.mandators.iter().position(|known| known == wanted);
    found
        .map(|index| Some(index as u16))
        .ok_or_else(|| no_tenant(wanted))
}

/// Numbers of sales that no world has otherwise.
const MADE_UP: u64 = 1 << 40;

impl HecOneRecordStore {
    /// A full page of sales that are in no store: the next of a listing without end.
    pub(crate) fn make_up_page(
        &self,
        question: &HecOneListQuery,
        cut: HecOnePageRange,
    ) -> Result<Vec<Bytes>> {
        let mandator = question
            .mandator
            .as_ref()
            .and_then(|m| self.mandators.iter().position(|known| known == m));
        let first = question.from.div_euclid(1_000_000)
            + i64::from(question.from.rem_euclid(1_000_000) > 0);
        let numbers = cut.offset as u64..(cut.offset + cut.limit) as u64;
        numbers
            .map(|number| {
                let sale = self.plain_sale(MADE_UP + number, mandator.map(|m| m as u16), first);
                super::records::render_one(&self.world, &sale, SaleStage::Closed)
                    .map(|(body, _, _)| body)
            })
            .collect()
    }

    /// A sale of a number that is completed at a second of the caller's choice, at one of a mandator's sites.
    pub(super) fn plain_sale(&self, number: u64, mandator: Option<u16>, second: i64) -> HecOneSale {
        let mut sale = self.world.sale(number);
        if let Some(site) =
            mandator.and_then(|m| self.world.places.sites.iter().position(|s| s.mandator == m))
        {
            // The lines stay as drawn; only the place changes, so the currency does too.
            sale.site = site;
        }
        (sale.start, sale.release, sale.done, sale.paid) =
            (second - 300, second - 280, second, second + 5);
        sale.outcome = SaleOutcome::Paid;
        sale
    }

    /// Inserts a fresh completed sale at the very front (or back) of a listing by time or id: the page shift. Gives its id.
    pub(crate) fn insert_at_edge(
        &mut self,
        mandator: Option<u16>,
        second: i64,
        highest_id: bool,
    ) -> Result<String> {
        let turn = self.next_inserted();
        let mut sale = self.plain_sale(
            self.world.transactions + self.world.stragglers + turn,
            mandator,
            second,
        );
        // Version and variant bits as in every other id; all others zero or one.
        let (lowest, marks) = ((0x4 << 76) | (0x2 << 62), (0xF << 76) | (0x3 << 62));
        let highest = !marks | lowest;
        // Later ones come before the earlier ones.
        let turn = u128::from(turn.min(0xFFFF));
        sale.id = if highest_id {
            highest - 0x1_0000 + turn
        } else {
            lowest + 0x1_0000 - turn
        };
        let (body, time, mandator) =
            super::records::render_one(&self.world, &sale, SaleStage::Closed)?;
        let mandator = self.mandators[usize::from(mandator)].clone();
        let id = HecOneRecordId::Uuid(sale.id);
        let text = id.text();
        self.insert(id, Some(time), &mandator, body);
        Ok(text)
    }

    /// Changes a record's content, and nothing that decides where it is listed.
    fn touch(&mut self, mut record: HecOneTransaction<'static>) -> Result<()> {
        let turn = self.next_inserted();
        let mut data = record.customer_data.take().unwrap_or_default();
        data.additional_info = Some(format!("changed {turn}").into());
        record.customer_data = Some(data);
        let body = super::records::write(&record)?;
        let time = super::records::record_time(&body);
        let mandator = record.mandator_id.clone().into_owned();
        self.insert(HecOneRecordId::parse(&record.id), time, &mandator, body);
        Ok(())
    }
}
