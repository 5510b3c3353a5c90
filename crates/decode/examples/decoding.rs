//! Speed of decoding pages into columns: `cargo run --release --workspace --example decoding
//! [PAGE.json]...`.
//!
//! Invariant: one thread, medians of five rounds of time on the processor (of the clock where the system does not tell), pages in memory; hashes, keys, pseudonyms and rules included, as in a sync.
//!
//! Without arguments it makes about 200 MB of pages like those of HecOne 360, 1,000 records of some 2 kB each, and decodes them by the
//! contract in schemas/hecone. Beside it stands what the scanner takes to walk the same bytes and keep nothing.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tillhouse_decode::Decoder;
use tillhouse_model::json::JsonScanner;
use tillhouse_model::{PseudonymKey, Secret, contract};

const RECORDS_A_PAGE: usize = 1_000;
const PAGES: usize = 100;

fn main() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../schemas/hecone/transactions.yaml"
    );
    let text = std::fs::read_to_string(file).expect("the contract is in the repository");
    let spec = Arc::new(contract::parse(&text, file).expect("the contract is good"));
    let key = PseudonymKey::parse(&Secret::new("00112233445566778899aabbccddeeff")).expect("a key");
    let decoder = Decoder::new(spec, Some(key)).expect("the contract can be decoded");

    let files: Vec<String> = std::env::args().skip(1).collect();
    let pages: Vec<Vec<u8>> = if files.is_empty() {
        let mut dice = ExampleRng(42);
        (0..PAGES).map(|_| page(&mut dice)).collect()
    } else {
        files
            .iter()
            .map(|f| std::fs::read(f).expect("the file can be read"))
            .collect()
    };
    let bytes: usize = pages.iter().map(Vec::len).sum();

    let mut rows = 0;
    let (mut rejects, mut warnings, mut unknown, mut memory) = (0, 0, 0, 0);
    for page in &pages {
        let decoded = decoder.decode(page, &["data"]).expect("the page is good");
        rows += decoded.batch.num_rows();
        rejects += decoded.rejects.len();
        warnings += decoded.warnings.len();
        unknown += decoded.unknown.len();
        memory = memory.max(decoded.batch.get_array_memory_size());
        if let (Some(first), true) = (decoded.rejects.first(), rejects < 3) {
            println!("a reject: {} {}", first.field, first.reason);
        }
    }
    println!(
        "{rows} records of {} bytes, {rejects} rejects, {warnings} warnings, {unknown} unknown",
        bytes / rows.max(1)
    );
    println!(
        "largest batch: {:.1} MB from pages of {:.1} MB",
        memory as f64 / 1e6,
        bytes as f64 / 1e6 / pages.len() as f64
    );

    report("decode", bytes, || {
        pages
            .iter()
            .map(|p| {
                decoder
                    .decode(p, &["data"])
                    .expect("the page is good")
                    .batch
                    .num_rows()
            })
            .sum()
    });
    report("scan only", bytes, || {
        pages
            .iter()
            .map(|p| JsonScanner::of_page(p).skip().expect("the page is JSON"))
            .sum()
    });
}

fn report(what: &str, bytes: usize, mut once: impl FnMut() -> usize) {
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let (start, clock) = (on_processor(), Instant::now());
            assert!(std::hint::black_box(once()) > 0);
            start
                .and_then(|s| on_processor()?.checked_sub(s))
                .unwrap_or_else(|| clock.elapsed())
        })
        .collect();
    times.sort();
    let seconds = times[2].as_secs_f64();
    println!(
        "{what}: {:.0} MB in {seconds:.3} s, {:.0} MB/s",
        bytes as f64 / 1e6,
        bytes as f64 / 1e6 / seconds
    );
}

/// Running time of this thread, as Linux counts it: other programs on the machine do not blur it.
fn on_processor() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace()
        .next()?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}

/// Pseudo-random numbers of the example, from a seed.
struct ExampleRng(u64);

impl ExampleRng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        let (low, high) = (a & 0xffff, b >> 48);
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            a >> 32,
            low,
            (a >> 16) & 0xfff,
            high & 0xfff,
            b & 0xffff_ffff_ffff
        )
    }

    fn time(&mut self) -> String {
        format!(
            "2024-{:02}-{:02}T{:02}:{:02}:{:02}+02:00",
            1 + self.below(12),
            1 + self.below(28),
            self.below(24),
            self.below(60),
            self.below(60)
        )
    }
}

fn page(dice: &mut ExampleRng) -> Vec<u8> {
    let mut out = String::with_capacity(RECORDS_A_PAGE * 2_200);
    out.push_str(r#"{"_links":{"self":"/transactions?page[offset]=0","next":"/transactions?page[offset]=1000"},"meta":{"limit":1000,"start":0,"size":1000,"total":100000},"data":["#);
    for i in 0..RECORDS_A_PAGE {
        if i > 0 {
            out.push(',');
        }
        record(dice, &mut out);
    }
    out.push_str("]}");
    out.into_bytes()
}

fn log(dice: &mut ExampleRng, entries: u64) -> String {
    let entries: Vec<String> = (0..entries)
        .map(|_| {
            format!(
                r#"{{"code":{},"description":"nozzle lifted at pump","timestamp":"{}","level":"info"}}"#,
                dice.below(900),
                dice.time()
            )
        })
        .collect();
    format!("[{}]", entries.join(","))
}

fn record(dice: &mut ExampleRng, out: &mut String) {
    let (site, point) = (dice.below(40), dice.below(12));
    let product = ["Diesel", "Super E5", "Super E10", "AdBlue"][dice.below(4) as usize];
    // Records that contradict themselves are rare: these add up.
    let (quantity, price, plate) = (dice.below(8_000), 100 + dice.below(100), dice.below(5_000));
    let money = |units: u64| format!("{}.{:04}", units / 10_000, units % 10_000);
    let (amount, tax) = (money(quantity * price), money(quantity * price * 19 / 119));
    let (id, mandator, article, product_id, payment, identification) = (
        dice.uuid(),
        "dc5a5bcf-08ed-4181-bdd6-b189c7f464f9",
        dice.uuid(),
        dice.uuid(),
        dice.uuid(),
        dice.uuid(),
    );
    write!(
        out,
        r#"{{"id":"{id}","mandator_id":"{mandator}","state":"completed","invoice":{{"amount":{amount},"paid_amount":{amount},"currency":"EUR","created_at":"{}","tax_amount":{tax}}},"client":{{"id":"terminal-{site}@example.com","type":"device"}},"site_id":"72771e6a-6f5e-4de4-a5b9-1266c41978{site:02}","point_id":"cd99f0d9-6824-4d90-b67f-24518d22d7{point:02}","#,
        dice.time(),
    ).unwrap();
    write!(
        out,
        r#""articles":[{{"id":"{article}","product_id":"{product_id}","category":"fuelling","state":"done","start_time":"{}","end_time":"{}","unit_price":{}.{:02},"amount":{amount},"tax_percentage":19,"tax_amount":{tax},"quantity":{}.{:02},"free_quantity":0,"max_quantity":null,"max_amount":150,"name":"{product}","unit_measure":"l","currency":"EUR","log":{}}}],"#,
        dice.time(), dice.time(), price / 100, price % 100, quantity / 100, quantity % 100, log(dice, 1),
    ).unwrap();
    write!(
        out,
        r#""payments":[{{"id":"{payment}","identification_id":"{identification}","state":"collected","created_at":"{}","reserved_amount":150,"amount":{amount},"currency":"EUR","card_entrymode":"Contactless","entry_mode":"Contactless","medium":"Card","type":"PSPCard","function":"SingleCard","scheme":"Visa","card_id":"5168 xxxx xxxx {:04}","pin":"0000","terminal_receipt":["line one of it","line two of it"],"fiscal_receipt":["fiscal line"],"log":{},"additional_card":{{"function":"SingleCard","card_id":"5168 xxxx xxxx {:04}"}},"qr_code":"https://example.com/r/{id}"}}],"#,
        dice.time(), dice.below(10_000), log(dice, 1), dice.below(100),
    ).unwrap();
    write!(
        out,
        r#""customer_data":{{"odometer":{},"driver_number":"{}","vehicle_number":"V{}","additional_info":null,"license_plate":"KA-XY {plate}","cost_center":"4711"}},"receipt":{{"ocmf_start":null,"ocmf_stop":null,"state":"printed","additional_information":"Danke f\u00fcr Ihren Einkauf","email":null,"links":{{"customer_url":"https://example.com/{id}"}},"log":[]}},"terminal_transaction_number":"{}","session_id":null,"site":{{"name":"Site {site}","code":"S{site:03}","timezone":"Europe/Berlin","street":"Hauptstraße 1","city":"Bonn"}},"device":{{"name":"Terminal {site}","code":"T{site}"}},"point":{{"name":"Pump {point}","number":{point}}},"products":[{{"id":"{product_id}","code":"{product}"}}],"card_issuer":{{"vehicle_number":"V{}","driver_name":"driver {}"}},"log":{}}}"#,
        dice.below(300_000), dice.below(500), dice.below(500), dice.below(10_000), dice.below(500), dice.below(500), log(dice, 2),
    ).unwrap();
}
