//! A large warehouse, made without any API, and what is measured of it: `make bench-scale` runs this through `bench/scale.py`.
//!
//! Invariant: what is printed is one line of JSON a result, and nothing else; a step that cannot be taken ends the program.
//!
//! ```text
//! scale generate FOLDER SALES SEED                      a warehouse below FOLDER, unless it is there
//! scale time WAREHOUSE CASES.json MEMORY_MIB            statistics and reports, asked over and over
//! scale add WAREHOUSE SALES SEED                        new sales into one table, which may be empty
//! scale replace WAREHOUSE SALES CHANGED FILE SEED       some of these in a new version, which FILE gets too
//! scale replace-old WAREHOUSE SALES SEED                one sale of three years ago
//! ```
//!
//! The warehouse has 500 sites of 4 sources, 6 currencies, 60 products and 40 combinations of payment labels, over ten years. Source tables are left out:
//! what is measured reads the unified tables.

// The output of a benchmark is its result; one that cannot go on stops, and says why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod changes;
mod generate;
mod rows;
mod timing;
mod world;

use std::path::Path;
use tillhouse_query::WORKER_STACK;

/// The allocator of the `tillhouse` binary, so that times and peaks are its own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().thread_stack_size(WORKER_STACK).build();
    runtime.unwrap().block_on(run());
}

async fn run() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| -> u64 {
        text.parse()
            .unwrap_or_else(|_| panic!("{text} is no whole number"))
    };
    match words.as_slice() {
        ["generate", folder, sales, seed] => {
            let made = generate::generate(Path::new(folder), number(sales), number(seed)).await;
            println!("{}", serde_json::to_string(&made).unwrap());
        }
        ["time", warehouse, cases, memory] => {
            timing::time(Path::new(warehouse), Path::new(cases), number(memory)).await;
        }
        ["add", warehouse, sales, seed] => {
            changes::add(Path::new(warehouse), number(sales), number(seed)).await;
        }
        ["replace", warehouse, sales, changed, file, seed] => {
            let numbers = (number(sales), number(changed));
            changes::replace(Path::new(warehouse), numbers, Path::new(file), number(seed)).await;
        }
        ["replace-old", warehouse, sales, seed] => {
            changes::replace_old(Path::new(warehouse), number(sales), number(seed)).await;
        }
        _ => panic!("the head of tests/examples/scale/main.rs says what can be asked"),
    }
}
