//! The `tillhouse` command.
//!
//! Invariant: data goes to standard output, everything else to standard error; every error is one paragraph that says what to
//! do now, and the exit code says what kind it was: 0 done, 1 failed, 2 usage or configuration, 3 done in part.

mod args;
mod commands;
mod failure;
mod logging;
mod output;
mod progress;
mod prompt;
mod registry;

use clap::Parser;
use std::process::ExitCode;

/// Pages, columns and row groups come and go by the megabyte on several threads. With one arena jemalloc gives them back soon and
/// reuses them; glibc kept nearly twice as much, mimalloc spent a fifth of a sync clearing fresh pages.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Two providers are linked in through our dependencies; without a choice the first TLS connection would panic.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = args::Cli::parse();
    logging::start(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return failure::report(&tillhouse_model::Error::internal("cannot start threads").because(error));
        }
    };
    let outcome = runtime.block_on(commands::run(&cli));
    // A prompt or a server may leave blocking reads behind; they must not keep the process alive.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
