//! SmartNow, emulated: what happens at its machines, the records it keeps, and the lists that show them.
//!
//! Invariant: what a list shows is a function of the seed, the clock, and what was changed by hand. Only tokens age with the machine.
//!
//! ```text
//!   world, places --> plan (all that ever happens) --at(clock)--> tables + edits by hand --> lists
//!                                                                     `--> summary (revenue by plain loops)
//! ```
//!
//! The plan is made when the first question comes, a table when it is first asked for after the clock moved. Keeping tables up to
//! date row by row was not worth its code: a clock moves now and then, and a table takes milliseconds.
//!
//! Where the document is silent, this provider does the following; a source must cope with other choices too:
//! - Paths are the resources' names in its CSV export, login and refresh are `/auth/login` and `/auth/refresh`; a refresh token is
//!   good once. Machine configurations are at `/machineconfig` and `/machineconfig/{hostname}`, the revenue summary is at
//!   `/revenuetransaction/summary`.
//! - Every list takes `limit` (1 to 100), `skip`, `where`, `sort` and `useArchive`. The default order is by id.
//! - Texts are compared byte by byte. `in` and `nin` take repeated values, with or without `[]`, and lists with commas.
//! - A sale's `product` is the PLU that the machine reports, which means the same in all machines, as in the reports of the document.
//! - Prices are minor units by ISO 4217; `originalPrice` is 0 where there was no discount. `vatrate` is in per cent.
//! - What happened more than 90 days before the clock is in the archive; by id it is found without asking for the archive.

mod control;
mod endpoints;
mod facts;
mod inventory;
mod list_query;
mod locations;
mod object;
mod plan;
mod resources;
mod summary;
mod table;
mod vouchers;

use crate::SandboxOptions;
use crate::tokens::TokenIssuer;
use crate::world::World;
use jiff::Timestamp;
use plan::SmartNowPlan;
use resources::{RESOURCES, SmartNowResource};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::{SmartNowKey, SmartNowRow, SmartNowTable};
use tillhouse_model::Result;

/// The emulated SmartNow API.
#[derive(Debug)]
pub(crate) struct EmulatedSmartNow {
    username: String,
    password: String,
    world: Arc<World>,
    sales: u64,
    /// True for a world with sales that were voided or refunded.
    incidents: bool,
    largest_page: AtomicUsize,
    tokens: Mutex<TokenIssuer>,
    state: Mutex<SmartNowState>,
}

/// Clock, plan, tables and manual edits of the emulated SmartNow.
#[derive(Debug)]
struct SmartNowState {
    clock: Timestamp,
    plan: Option<Arc<SmartNowPlan>>,
    /// By the number of the resource; none until it is asked for.
    tables: Vec<Option<Arc<SmartNowTable>>>,
    /// Changes by hand: a row in place of the plan's, or none in place of any.
    edits: Vec<BTreeMap<SmartNowKey, Option<SmartNowRow>>>,
    /// Counts what was made up by hand.
    turn: i64,
}

/// Age at which records move to the archive, in microseconds.
const ARCHIVE: i64 = 90 * 86_400 * 1_000_000;

impl EmulatedSmartNow {
    pub(crate) fn new(options: &SandboxOptions, world: Arc<World>) -> Self {
        Self {
            username: options.client_id.clone(),
            password: options.client_secret.clone(),
            world,
            sales: options.smartnow_sales(),
            incidents: options.incidents,
            largest_page: AtomicUsize::new(usize::MAX),
            tokens: Mutex::new(TokenIssuer::new(
                options.seed,
                u64::MAX - 2,
                options.token_ttl,
            )),
            state: Mutex::new(SmartNowState {
                clock: options.clock(),
                plan: None,
                tables: vec![None; RESOURCES.len()],
                edits: vec![BTreeMap::new(); RESOURCES.len()],
                turn: 0,
            }),
        }
    }

    fn largest_page(&self) -> usize {
        self.largest_page.load(Ordering::Relaxed)
    }

    // A handler that panicked leaves state that is still whole: each change is made by one call.
    fn state(&self) -> MutexGuard<'_, SmartNowState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens(&self) -> MutexGuard<'_, TokenIssuer> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan, made if there is none yet.
    fn plan(&self, state: &mut SmartNowState) -> Result<Arc<SmartNowPlan>> {
        if let Some(plan) = &state.plan {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(SmartNowPlan::new(
            Arc::clone(&self.world),
            self.sales,
            self.incidents,
        )?);
        state.plan = Some(Arc::clone(&plan));
        Ok(plan)
    }

    /// A resource's records as they are now.
    fn table(&self, state: &mut SmartNowState, number: usize) -> Result<Arc<SmartNowTable>> {
        if let Some(table) = &state.tables[number] {
            return Ok(Arc::clone(table));
        }
        let plan = self.plan(state)?;
        let mut table = SmartNowTable::new(rows(
            &plan,
            RESOURCES[number].name,
            state.clock.as_microsecond(),
        ));
        for (key, edit) in &state.edits[number] {
            match edit {
                Some(row) => table.insert(row.clone()),
                None => table.remove(key),
            }
        }
        let table = Arc::new(table);
        state.tables[number] = Some(Arc::clone(&table));
        Ok(table)
    }

    /// The records of the parents by whose ids a resource is listed; none where it is listed at once.
    fn parents(
        &self,
        state: &mut SmartNowState,
        kind: &SmartNowResource,
    ) -> Result<Option<Arc<SmartNowTable>>> {
        let parent = kind
            .parent
            .filter(|_| kind.is_listed_by_parent())
            .and_then(|parent| resources::resource_index(parent.of));
        parent.map(|number| self.table(state, number)).transpose()
    }
}

impl SmartNowState {
    /// The instant before which records are in the archive, in microseconds.
    fn archived(&self) -> i64 {
        self.clock.as_microsecond() - ARCHIVE
    }

    /// Puts a row in place of the plan's, or removes it.
    fn edit(&mut self, number: usize, key: SmartNowKey, row: Option<SmartNowRow>) {
        if let Some(table) = &mut self.tables[number] {
            let table = Arc::make_mut(table);
            match &row {
                Some(row) => table.insert(row.clone()),
                None => table.remove(&key),
            }
        }
        self.edits[number].insert(key, row);
    }
}

/// Rows of a resource by the plan, at a clock.
fn rows(plan: &SmartNowPlan, resource: &str, now: i64) -> Vec<SmartNowRow> {
    let render: fn(&SmartNowPlan, i64) -> Vec<SmartNowRow> = match resource {
        "revenue_transactions" => facts::sales,
        "payment_transactions" => facts::payments,
        "logs" => facts::logs,
        "shifts" => facts::shifts,
        "machines" => inventory::machines,
        "machine_models" => inventory::machine_models,
        "machine_types" => inventory::machine_types,
        "manufacturers" => inventory::manufacturers,
        "machine_groups" => inventory::machine_groups,
        "locations" => inventory::locations,
        "location_groups" => inventory::location_groups,
        "opening_hours" => inventory::opening_hours,
        "products" => inventory::products,
        "product_extras" => inventory::product_extras,
        "product_flavours" => inventory::product_flavours,
        "error_profiles" => inventory::error_profiles,
        "error_identities" => inventory::error_identities,
        "error_codes" => inventory::error_codes,
        "transaction_profiles" => inventory::transaction_profiles,
        "languages" => inventory::languages,
        "users" => inventory::users,
        "user_groups" => inventory::user_groups,
        "alert_observers" => inventory::alert_observers,
        "alert_groups" => inventory::alert_groups,
        "alert_recipients" => inventory::alert_recipients,
        "campaigns" => vouchers::campaigns,
        "vouchers" => vouchers::vouchers,
        "voucher_logs" => vouchers::voucher_logs,
        "integrations" => vouchers::integrations,
        "integration_records" => vouchers::integration_records,
        "integration_transactions" => vouchers::integration_transactions,
        _ => |_, _| Vec::new(),
    };
    render(plan, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn plan() -> SmartNowPlan {
        let options = SandboxOptions::default();
        let world = World::new(1, options.from, options.to, 200).unwrap();
        SmartNowPlan::new(Arc::new(world), 2000, true).unwrap()
    }

    #[test]
    fn every_record_has_exactly_the_documents_fields_in_their_order() {
        let plan = plan();
        for kind in &RESOURCES {
            let rows = rows(&plan, kind.name, plan.until * 1_000_000);
            assert!(!rows.is_empty(), "{}", kind.name);
            let columns: Vec<&str> = kind.columns().map(|(name, _)| name).collect();
            let keys: BTreeSet<&SmartNowKey> = rows.iter().map(|row| &row.key).collect();
            assert_eq!(
                keys.len(),
                rows.len(),
                "{}: two rows with one id",
                kind.name
            );
            for row in &rows {
                let text = std::str::from_utf8(&row.body).unwrap();
                let mut at = 0;
                for column in &columns {
                    let found = text[at..].find(&format!("\"{column}\":"));
                    at += found.unwrap_or_else(|| {
                        panic!("{} has no {column} in its place: {text}", kind.name)
                    });
                }
                assert_eq!(row.fields().len(), columns.len(), "{}: {text}", kind.name);
                let read = SmartNowRow::read(kind, text, row.parent.clone()).unwrap();
                assert_eq!(format!("{read:?}"), format!("{row:?}"), "{}", kind.name);
            }
        }
    }

    #[test]
    fn nothing_is_known_before_it_happens_and_changes_move_updated_at() {
        let plan = plan();
        let end = plan.until * 1_000_000;
        for kind in &RESOURCES {
            let (mut before, mut changed) = (BTreeMap::new(), 0);
            for step in 0..6 {
                let now = end + (step - 3) * 86_400_000_000;
                for row in rows(&plan, kind.name, now) {
                    assert!(
                        row.created.unwrap() < now && row.updated.is_none_or(|at| at < now),
                        "{}",
                        kind.name
                    );
                    if let Some(old) = before
                        .insert(row.key.clone(), row.clone())
                        .filter(|old| old.body != row.body)
                    {
                        changed += 1;
                        let is_silent = matches!(kind.name, "logs" | "machines" | "opening_hours");
                        assert!(
                            is_silent || row.updated > old.updated,
                            "{}: {:?}",
                            kind.name,
                            row.fields()
                        );
                    }
                }
            }
            let moves = [
                "revenue_transactions",
                "payment_transactions",
                "logs",
                "shifts",
                "machines",
                "locations",
                "products",
            ];
            assert!(
                changed > 0 || !moves.contains(&kind.name),
                "{} never changes",
                kind.name
            );
        }
    }

    #[test]
    fn payments_add_up_to_their_sales() {
        let plan = plan();
        let now = (plan.until + 10 * 86_400) * 1_000_000;
        let number = |row: &SmartNowRow, field: &str| row.fields()[field].as_i64().unwrap();
        let mut paid: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for row in rows(&plan, "payment_transactions", now) {
            let sum = paid.entry(number(&row, "revenuetransaction")).or_default();
            (sum.0, sum.1) = (sum.0 + number(&row, "price"), sum.1 + 1);
        }
        let sales = rows(&plan, "revenue_transactions", now);
        assert_eq!(sales.len(), 2000 + 10 + 80);
        for row in sales {
            let sums = (
                number(&row, "price"),
                number(&row, "numPaymentTransactions"),
            );
            assert_eq!(paid[&number(&row, "id")], sums, "{:?}", row.fields());
        }
    }
}
