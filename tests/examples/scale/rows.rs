//! Rows of the unified tables: sales of a month, and with them their articles, payments and events.
//!
//! Invariant: columns are built as arrays, in the order of the sales' instants, and have the names and types of the contracts; a column that is not
//! made here is null. A sale's rows in all tables say the same of it.

use crate::world::{
    CURRENCIES, DEVICES, HECONE, MonthPlan, POINTS, PaymentLabels, Product, SMARTNOW, SOURCES,
    Site, World, mixed,
};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use tillhouse_model::calendar::{DAY, HOUR};
use tillhouse_model::table::{
    AS_OF, CONTENT_HASH, EXTRACTED_AT, LOAD_ID, MONTH, OCCURRED_AT, PIPELINE, RECORD_KEY,
    RECORD_TIME, RUN_ID,
};

/// Microseconds.
const SECOND: i64 = 1_000_000;
/// Days of a shift.
const SHIFT_DAYS: i64 = 7;

/// Schemas of the facts.
#[derive(Clone)]
pub(crate) struct FactSchemas {
    pub(crate) transactions: SchemaRef,
    pub(crate) articles: SchemaRef,
    pub(crate) payments: SchemaRef,
    pub(crate) events: SchemaRef,
}

/// Origin of rows, as they say it.
#[derive(Clone, Copy)]
pub(crate) struct Lineage<'a> {
    pub(crate) load_id: i64,
    /// When they were read, microseconds UTC.
    pub(crate) extracted_at: i64,
    pub(crate) run_id: &'a str,
    /// Version of the records, from 0.
    pub(crate) version: u64,
}

/// Rows of some sales, table by table.
pub(crate) struct FactRows {
    pub(crate) transactions: RecordBatch,
    pub(crate) articles: RecordBatch,
    pub(crate) payments: RecordBatch,
    /// Of sources that have them.
    pub(crate) events: Option<RecordBatch>,
    /// First and last number of the shifts' sales, by site and number of the shift; of the source that has them.
    pub(crate) shifts: BTreeMap<(usize, i64), (u64, u64)>,
}

/// A line item.
struct Line<'w> {
    product: &'w Product,
    /// In thousandths.
    quantity: i64,
    /// In millionths.
    price: i64,
    /// In ten-thousandths.
    amount: i64,
}

/// A sale, with what all its rows have in common.
struct Sale<'w> {
    number: u64,
    id: String,
    key: String,
    at: i64,
    site: &'w Site,
    site_at: usize,
    device: usize,
    point: usize,
    kind: &'static str,
    state: &'static str,
    /// In ten-thousandths.
    amount: i64,
    lines: Vec<Line<'w>>,
    paid_by: &'w PaymentLabels,
    payments: usize,
    /// Seconds that the site's clock is ahead of UTC.
    offset: i64,
    random: u64,
    hash: [u8; 17],
}

impl Sale<'_> {
    fn local(&self) -> i64 {
        self.at + self.offset * SECOND
    }

    fn currency(&self) -> &'static str {
        CURRENCIES[self.site.currency].code
    }

    /// States of its articles and payments.
    fn states(&self) -> (&'static str, &'static str) {
        match self.state {
            "completed" => ("done", "collected"),
            "consumed" => ("done", "open"),
            "declined" => ("declined", "declined"),
            "error" => ("error", "error"),
            _ => ("ongoing", "reserved"),
        }
    }

    fn tax(&self) -> i64 {
        tax_in(self.amount)
    }
}

/// Tax of 19 per cent in an amount, in hundredths.
fn tax_in(amount: i64) -> i64 {
    amount * 19 / 119 / 100 * 100
}

/// Clocks of the currencies' zones. An offset is looked up once an hour: none of the zones changes within one.
struct Clocks {
    zones: [TimeZone; 6],
    known: [(i64, i64); 6],
}

impl Clocks {
    fn new() -> Self {
        Self {
            zones: std::array::from_fn(|at| TimeZone::get(CURRENCIES[at].zone).unwrap()),
            known: [(i64::MIN, 0); 6],
        }
    }

    fn offset(&mut self, currency: usize, at: i64) -> i64 {
        let hour = at.div_euclid(HOUR);
        if self.known[currency].0 != hour {
            let instant = Timestamp::from_microsecond(at).unwrap();
            let offset = self.zones[currency].to_offset(instant).seconds();
            self.known[currency] = (hour, i64::from(offset));
        }
        self.known[currency].1
    }
}

/// Rows of the sales at some places of a month.
pub(crate) fn fact_rows(
    world: &World,
    schemas: &FactSchemas,
    plan: &MonthPlan,
    places: Range<u64>,
    lineage: Lineage<'_>,
) -> FactRows {
    let mut clocks = Clocks::new();
    let sales: Vec<Sale<'_>> = places
        .map(|place| sale(world, plan, place, lineage.version, &mut clocks))
        .collect();
    let mut shifts = BTreeMap::new();
    if plan.source == SMARTNOW {
        for sale in &sales {
            let shift = sale.at.div_euclid(SHIFT_DAYS * DAY);
            let numbers = shifts
                .entry((sale.site_at, shift))
                .or_insert((sale.number, sale.number));
            numbers.1 = sale.number;
        }
    }
    FactRows {
        transactions: transactions(&schemas.transactions, plan, &sales, lineage),
        articles: articles(&schemas.articles, plan, &sales, lineage),
        payments: payments(&schemas.payments, plan, &sales, lineage),
        events: matches!(plan.source, HECONE | SMARTNOW)
            .then(|| events(&schemas.events, plan, &sales, lineage)),
        shifts,
    }
}

/// Rows of the transactions at some places of a month, without their articles and payments.
pub(crate) fn transaction_rows(
    world: &World,
    schema: &SchemaRef,
    plan: &MonthPlan,
    places: impl Iterator<Item = u64>,
    lineage: Lineage<'_>,
) -> RecordBatch {
    let mut clocks = Clocks::new();
    let sales: Vec<Sale<'_>> = places
        .map(|place| sale(world, plan, place, lineage.version, &mut clocks))
        .collect();
    transactions(schema, plan, &sales, lineage)
}

/// The sale at a place of a month. Another version of it is of the same time and place, and costs more.
fn sale<'w>(
    world: &'w World,
    plan: &MonthPlan,
    place: u64,
    version: u64,
    clocks: &mut Clocks,
) -> Sale<'w> {
    let (source, number) = (plan.source, plan.first + place);
    let mut draws = world.draws(source, number);
    let at = plan.instant(place, draws.next());
    let id = match source {
        SMARTNOW => number.to_string(),
        _ => uuid(draws.next(), draws.next()),
    };
    let site_at = draws.place(world.sites[source].len());
    let site = &world.sites[source][site_at];
    let state = match draws.below(1_000) {
        0..930 => "completed",
        930..960 => "consumed",
        960..985 => "declined",
        985..995 => "error",
        _ => "pending",
    };
    let (kind, state) = match draws.below(1_000) {
        0..12 => ("refund", "completed"),
        12..20 => ("free", "completed"),
        20..25 => ("test", state),
        _ => ("sale", state),
    };
    let count = match draws.below(100) {
        0..70 => 1,
        70..92 => 2,
        _ => 3,
    };
    let currency = &CURRENCIES[site.currency];
    let mut line = || {
        let products = &world.products[source];
        let product = &products[draws.place(products.len())];
        let (least, more, step) = product.quantity;
        let more = i64::try_from(draws.below(more)).unwrap();
        let quantity = least + more / step * step;
        let price = match kind {
            "free" => 0,
            _ => product.price * currency.price / 100,
        };
        let more = match price {
            0 => 0,
            _ => i64::try_from(version).unwrap() * 10_000,
        };
        let amount = quantity * price / 100_000 + more;
        let amount = amount / currency.smallest * currency.smallest;
        let sign = if kind == "refund" { -1 } else { 1 };
        Line {
            product,
            quantity: sign * quantity,
            price,
            amount: sign * amount,
        }
    };
    let lines: Vec<Line<'_>> = (0..count).map(|_| line()).collect();
    let payments = match (kind, draws.below(100)) {
        ("free", _) => 0,
        (_, 0..3) => 2,
        _ => 1,
    };
    let paid_by = &world.payments[draws.place(world.payments.len())];
    let mut hash = [1; 17];
    for half in [1..9, 9..17] {
        let of_version = mixed(draws.next() ^ version);
        hash[half].copy_from_slice(&of_version.to_be_bytes());
    }
    Sale {
        number,
        key: format!("{}:{id}", SOURCES[source]),
        id,
        at,
        site,
        site_at,
        device: usize::try_from(draws.below(DEVICES as u64)).unwrap(),
        point: usize::try_from(draws.below(POINTS as u64)).unwrap(),
        kind,
        state,
        amount: lines.iter().map(|line| line.amount).sum(),
        lines,
        paid_by,
        payments,
        offset: clocks.offset(site.currency, at),
        random: draws.next(),
        hash,
    }
}

/// Columns on their way into a batch of a schema.
struct Columns<'a> {
    schema: &'a SchemaRef,
    rows: usize,
    made: BTreeMap<&'static str, ArrayRef>,
}

impl<'a> Columns<'a> {
    fn new(schema: &'a SchemaRef, rows: usize) -> Self {
        Self {
            schema,
            rows,
            made: BTreeMap::new(),
        }
    }

    fn add(&mut self, name: &'static str, column: ArrayRef) {
        assert!(
            self.schema.field_with_name(name).is_ok(),
            "the contract has no column {name}"
        );
        self.made.insert(name, column);
    }

    fn texts<T: AsRef<str>>(&mut self, name: &'static str, values: impl Iterator<Item = T>) {
        self.add(name, Arc::new(StringArray::from_iter_values(values)));
    }

    fn some_texts<T: AsRef<str>>(
        &mut self,
        name: &'static str,
        values: impl Iterator<Item = Option<T>>,
    ) {
        self.add(name, Arc::new(values.collect::<StringArray>()));
    }

    fn text(&mut self, name: &'static str, value: &str) {
        let values = std::iter::repeat_n(value, self.rows);
        self.add(name, Arc::new(StringArray::from_iter_values(values)));
    }

    fn numbers(&mut self, name: &'static str, values: impl Iterator<Item = i64>) {
        self.add(name, Arc::new(Int64Array::from_iter_values(values)));
    }

    fn number(&mut self, name: &'static str, value: i64) {
        self.add(name, Arc::new(Int64Array::from_value(value, self.rows)));
    }

    fn instants(&mut self, name: &'static str, values: impl Iterator<Item = i64>) {
        let instants = TimestampMicrosecondArray::from_iter_values(values);
        self.add(name, Arc::new(instants.with_timezone("UTC")));
    }

    fn instant(&mut self, name: &'static str, value: i64) {
        self.instants(name, std::iter::repeat_n(value, self.rows));
    }

    /// Decimals of the column's own precision and scale, in units of its last digit.
    fn decimals(&mut self, name: &'static str, units: impl Iterator<Item = i64>) {
        let decimals = Decimal128Array::from_iter_values(units.map(i128::from));
        let field = self.schema.field_with_name(name).unwrap();
        let decimals = decimals.with_data_type(field.data_type().clone());
        self.add(name, Arc::new(decimals));
    }

    fn finish(mut self) -> RecordBatch {
        let columns = self.schema.fields().iter().map(|field| {
            let made = self.made.remove(field.name().as_str());
            made.unwrap_or_else(|| new_null_array(field.data_type(), self.rows))
        });
        let columns = columns.collect();
        RecordBatch::try_new(Arc::clone(self.schema), columns).unwrap()
    }
}

/// Columns of the rows of some sales, those of one sale together: `of` has the sale of each row.
fn add_shared(columns: &mut Columns<'_>, plan: &MonthPlan, of: &[&Sale<'_>], lineage: Lineage<'_>) {
    let source = SOURCES[plan.source];
    columns.text(PIPELINE, source);
    columns.text("source", source);
    columns.text(MONTH, &plan.month);
    columns.texts("transaction_key", of.iter().map(|sale| &sale.key));
    columns.texts("tenant_id", of.iter().map(|sale| &sale.site.tenant));
    columns.texts("site_key", of.iter().map(|sale| &sale.site.key));
    let devices = of.iter().map(|sale| &sale.site.devices[sale.device]);
    columns.texts("device_key", devices);
    columns.texts(RECORD_KEY, of.iter().map(|sale| &sale.id));
    columns.instants(RECORD_TIME, of.iter().map(|sale| sale.at));
    columns.number(LOAD_ID, lineage.load_id);
    columns.instant(EXTRACTED_AT, lineage.extracted_at);
    let hashes = BinaryArray::from_iter_values(of.iter().map(|sale| sale.hash));
    columns.add(CONTENT_HASH, Arc::new(hashes));
    columns.text(RUN_ID, lineage.run_id);
}

/// Columns that transactions, articles and payments have beyond that.
fn add_clock(columns: &mut Columns<'_>, of: &[&Sale<'_>]) {
    columns.text("perspective", "sale");
    columns.texts("kind", of.iter().map(|sale| sale.kind));
    columns.instants(OCCURRED_AT, of.iter().map(|sale| sale.at));
    let days = of.iter().map(|sale| sale.local().div_euclid(DAY));
    let days = days.map(|day| i32::try_from(day).unwrap());
    columns.add(
        "business_date",
        Arc::new(Date32Array::from_iter_values(days)),
    );
    let hours = of.iter().map(|sale| sale.local().rem_euclid(DAY) / HOUR);
    columns.numbers("local_hour", hours);
}

fn transactions(
    schema: &SchemaRef,
    plan: &MonthPlan,
    sales: &[Sale<'_>],
    lineage: Lineage<'_>,
) -> RecordBatch {
    let of: Vec<&Sale<'_>> = sales.iter().collect();
    let mut columns = Columns::new(schema, of.len());
    add_shared(&mut columns, plan, &of, lineage);
    add_clock(&mut columns, &of);
    columns.texts("transaction_id", of.iter().map(|sale| &sale.id));
    columns.texts("state", of.iter().map(|sale| sale.state));
    columns.texts("state_derived", of.iter().map(|sale| sale.state));
    let category = |sale: &&Sale<'_>| {
        let first = sale.lines[0].product.category;
        let is_one = sale.lines.iter().all(|line| line.product.category == first);
        if is_one { first } else { "mixed" }
    };
    columns.texts("category", of.iter().map(category));
    columns.numbers("utc_offset_minutes", of.iter().map(|sale| sale.offset / 60));
    let zones = of.iter().map(|sale| CURRENCIES[sale.site.currency].zone);
    columns.texts("timezone", zones);
    columns.instants("created_at", of.iter().map(|sale| sale.at));
    let changed = i64::try_from(lineage.version).unwrap() * DAY;
    columns.instants(
        "updated_at",
        of.iter().map(|sale| sale.at + 60 * SECOND + changed),
    );
    columns.instants("started_at", of.iter().map(|sale| started(sale)));
    columns.instants("ended_at", of.iter().map(|sale| sale.at - 20 * SECOND));
    columns.decimals("amount", of.iter().map(|sale| sale.amount));
    columns.decimals("net_amount", of.iter().map(|sale| sale.amount - sale.tax()));
    columns.decimals("tax_amount", of.iter().map(|sale| sale.tax()));
    columns.text("tax_origin", "reported");
    let paid = |sale: &&Sale<'_>| match sale.state {
        "completed" => sale.amount,
        _ => 0,
    };
    columns.decimals("paid_amount", of.iter().map(paid));
    columns.texts("currency", of.iter().map(|sale| sale.currency()));
    let points = of
        .iter()
        .map(|sale| &sale.site.points[sale.device * POINTS + sale.point]);
    columns.texts("point_key", points);
    columns.texts(
        "client_type",
        of.iter().map(|sale| match sale.random % 3 {
            0 => "app",
            1 => "terminal",
            _ => "kiosk",
        }),
    );
    let plates = of.iter().map(|sale| {
        let has_plate = plan.source == HECONE && sale.random % 10 < 3;
        has_plate.then(|| pseudonym(sale.random / 10 % 20_000))
    });
    columns.some_texts("license_plate", plates);
    columns.text("receipt_state", "created");
    let terminal_numbers = of.iter().map(|sale| (sale.number % 10_000).to_string());
    columns.texts("terminal_transaction_number", terminal_numbers);
    columns.finish()
}

/// When what is bought began to flow.
fn started(sale: &Sale<'_>) -> i64 {
    sale.at - (60 + i64::try_from(sale.random % 600).unwrap()) * SECOND
}

fn articles(
    schema: &SchemaRef,
    plan: &MonthPlan,
    sales: &[Sale<'_>],
    lineage: Lineage<'_>,
) -> RecordBatch {
    let lines = sales.iter().flat_map(|sale| {
        let numbered = sale.lines.iter().zip(1_i64..);
        numbered.map(move |(line, number)| (sale, line, number))
    });
    let lines: Vec<(&Sale<'_>, &Line<'_>, i64)> = lines.collect();
    let of: Vec<&Sale<'_>> = lines.iter().map(|(sale, ..)| *sale).collect();
    let mut columns = Columns::new(schema, lines.len());
    add_shared(&mut columns, plan, &of, lineage);
    add_clock(&mut columns, &of);
    columns.texts("transaction_state", of.iter().map(|sale| sale.state));
    let keys = lines
        .iter()
        .map(|(sale, _, number)| format!("{}/{number}", sale.key));
    columns.texts("article_key", keys);
    let ids = lines.iter().map(|(sale, _, number)| id_of(sale, *number));
    columns.texts("article_id", ids);
    columns.numbers("line_number", lines.iter().map(|(.., number)| *number));
    columns.texts(
        "product_key",
        lines.iter().map(|(_, line, _)| &line.product.key),
    );
    columns.texts(
        "product_code",
        lines.iter().map(|(_, line, _)| &line.product.code),
    );
    columns.texts("name", lines.iter().map(|(_, line, _)| &line.product.name));
    columns.texts(
        "category",
        lines.iter().map(|(_, line, _)| line.product.category),
    );
    columns.texts("state", of.iter().map(|sale| sale.states().0));
    columns.texts(
        "unit_measure",
        lines.iter().map(|(_, line, _)| line.product.unit),
    );
    columns.texts(
        "source_unit",
        lines.iter().map(|(_, line, _)| line.product.unit),
    );
    columns.decimals(
        "quantity",
        lines.iter().map(|(_, line, _)| line.quantity * 1_000),
    );
    columns.decimals("unit_price", lines.iter().map(|(_, line, _)| line.price));
    columns.decimals("amount", lines.iter().map(|(_, line, _)| line.amount));
    columns.decimals("tax_percentage", lines.iter().map(|_| 190_000));
    columns.decimals(
        "tax_amount",
        lines.iter().map(|(_, line, _)| tax_in(line.amount)),
    );
    columns.texts("currency", of.iter().map(|sale| sale.currency()));
    columns.instants("start_time", of.iter().map(|sale| started(sale)));
    columns.instants("end_time", of.iter().map(|sale| sale.at - 20 * SECOND));
    columns.finish()
}

fn payments(
    schema: &SchemaRef,
    plan: &MonthPlan,
    sales: &[Sale<'_>],
    lineage: Lineage<'_>,
) -> RecordBatch {
    let parts = sales.iter().flat_map(|sale| {
        // Of two payments the first has the half.
        let half = sale.amount / 200 * 100;
        (1..=sale.payments).map(move |number| match (sale.payments, number) {
            (1, _) => (sale, sale.amount, 1),
            (_, 1) => (sale, half, 1),
            _ => (sale, sale.amount - half, 2),
        })
    });
    let parts: Vec<(&Sale<'_>, i64, i64)> = parts.collect();
    let of: Vec<&Sale<'_>> = parts.iter().map(|(sale, ..)| *sale).collect();
    let mut columns = Columns::new(schema, parts.len());
    add_shared(&mut columns, plan, &of, lineage);
    add_clock(&mut columns, &of);
    columns.texts("transaction_state", of.iter().map(|sale| sale.state));
    let keys = parts
        .iter()
        .map(|(sale, _, number)| format!("{}/{number}", sale.key));
    columns.texts("payment_key", keys);
    let ids = parts
        .iter()
        .map(|(sale, _, number)| id_of(sale, number + 8));
    columns.texts("payment_id", ids);
    columns.texts("type", of.iter().map(|sale| sale.paid_by.kind));
    columns.texts("medium", of.iter().map(|sale| sale.paid_by.medium));
    columns.texts("scheme", of.iter().map(|sale| sale.paid_by.scheme));
    columns.texts("entry_mode", of.iter().map(|sale| sale.paid_by.entry_mode));
    columns.texts("function", of.iter().map(|sale| sale.paid_by.function));
    columns.texts("method", of.iter().map(|sale| sale.paid_by.method));
    columns.texts("state", of.iter().map(|sale| sale.states().1));
    columns.decimals("amount", parts.iter().map(|(_, amount, _)| *amount));
    columns.texts("currency", of.iter().map(|sale| sale.currency()));
    let cards = of.iter().map(|sale| {
        let is_card = sale.paid_by.method == "card";
        is_card.then(|| pseudonym(sale.random / 16 % 50_000))
    });
    columns.some_texts("card_id", cards);
    let excluded = BooleanArray::from(vec![false; parts.len()]);
    columns.add("excluded", Arc::new(excluded));
    columns.instants("created_at", of.iter().map(|sale| sale.at - 5 * SECOND));
    columns.finish()
}

/// One of eight HecOne sales has a log entry, one of sixteen SmartNow sales comes with one of its device.
fn events(
    schema: &SchemaRef,
    plan: &MonthPlan,
    sales: &[Sale<'_>],
    lineage: Lineage<'_>,
) -> RecordBatch {
    let is_device = plan.source == SMARTNOW;
    let every = if is_device { 16 } else { 8 };
    let with_event = |sale: &&Sale<'_>| sale.random.is_multiple_of(every);
    let of: Vec<&Sale<'_>> = sales.iter().filter(with_event).collect();
    let mut columns = Columns::new(schema, of.len());
    add_shared(&mut columns, plan, &of, lineage);
    columns.instants(OCCURRED_AT, of.iter().map(|sale| sale.at));
    columns.texts(
        "event_key",
        of.iter().map(|sale| format!("{}/log/1", sale.key)),
    );
    columns.text("scope", if is_device { "device" } else { "transaction" });
    let code = |sale: &Sale<'_>| sale.random / 64 % 30;
    columns.texts("code", of.iter().map(|sale| format!("E{:03}", code(sale))));
    let words = of
        .iter()
        .map(|sale| format!("something of kind {} happened", code(sale)));
    columns.texts("description", words);
    columns.texts(
        "level",
        of.iter().map(|sale| match code(sale) % 3 {
            0 => "info",
            1 => "warning",
            _ => "error",
        }),
    );
    let resolved = |sale: &Sale<'_>| i64::try_from(1 + sale.random % 7_200).unwrap();
    columns.instants(
        "resolved_at",
        of.iter().map(|sale| sale.at + resolved(sale) * SECOND),
    );
    columns.numbers("duration_seconds", of.iter().map(|sale| resolved(sale)));
    columns.finish()
}

/// Rows of a dimension: what each has beside the lineage, and the lineage.
pub(crate) fn dimension_rows(
    schema: &SchemaRef,
    source: usize,
    columns: &[(&'static str, Vec<String>)],
    lineage: Lineage<'_>,
) -> RecordBatch {
    let rows = columns[0].1.len();
    let mut made = Columns::new(schema, rows);
    made.text(PIPELINE, SOURCES[source]);
    made.text("source", SOURCES[source]);
    made.instant(AS_OF, lineage.extracted_at);
    made.instant(EXTRACTED_AT, lineage.extracted_at);
    let hash = |row: usize| {
        let mut hash = [1; 17];
        let key = columns[0].1[row].bytes();
        let number = key.fold(7, |hash, byte| mixed(hash ^ u64::from(byte)));
        hash[1..9].copy_from_slice(&number.to_be_bytes());
        hash
    };
    let hashes = BinaryArray::from_iter_values((0..rows).map(hash));
    made.add(CONTENT_HASH, Arc::new(hashes));
    made.text(RUN_ID, lineage.run_id);
    for (name, values) in columns {
        made.texts(name, values.iter());
    }
    made.finish()
}

/// Text of a UUID of version 4.
fn uuid(high: u64, low: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xFFFF,
        high & 0xFFF,
        0x8000 | (low >> 50),
        low & 0xFFFF_FFFF_FFFF
    )
}

/// The provider's id of a part of a sale.
fn id_of(sale: &Sale<'_>, part: i64) -> String {
    let part = u64::try_from(part).unwrap();
    format!("{:016x}", mixed(sale.random ^ part))
}

/// Pseudonym of one of so many values.
fn pseudonym(number: u64) -> String {
    let mut text = String::with_capacity(70);
    text.push_str("hmac1:");
    for word in 0..4 {
        write!(text, "{:016x}", mixed((number << 2) | word)).unwrap();
    }
    text
}
