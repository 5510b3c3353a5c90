//! The `tillhouse` command.
//!
//! Invariant: data goes to standard output, everything else to standard error; every error is one paragraph that says what to
//! do now, and the exit code says what kind it was: 0 done, 1 failed, 2 usage or configuration, 3 done in part.

mod args;
mod commands;
mod environment;
mod failure;
mod logging;
mod output;
mod progress;
mod prompt;
mod registry;
mod temporary_file;
mod watchdog;

use clap::Parser;
use output::terminal_escape::escape_controls_in_lines;
use std::borrow::Cow;
use std::io::Write;
use std::process::ExitCode;
use tillhouse_model::Error;
use tillhouse_query::{DEEP_STACK, WORKER_STACK};

/// Pages, columns and row groups come and go by the megabyte on several threads. With one arena jemalloc gives them back soon and
/// reuses them; glibc kept nearly twice as much, mimalloc spent a fifth of a sync clearing fresh pages.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Two providers are linked in through our dependencies; without a choice the first TLS connection would panic.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = args::Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    logging::start(&cli);
    let answered = watchdog::GuardedSignals {
        interrupts: !cli.command.handles_interrupts(),
        terminations: !cli.command.handles_terminations(),
    };
    if let Err(error) = watchdog::start(answered) {
        return failure::report(&Error::internal("cannot start threads").because(error));
    }
    // Queries are nested as deep as people write them: everything that plans or runs one has a stack for it.
    let thread = std::thread::Builder::new()
        .name("tillhouse".to_owned())
        .stack_size(DEEP_STACK);
    let outcome = thread
        .spawn(move || run(&cli))
        .map(std::thread::JoinHandle::join);
    watchdog::clean_up();
    match outcome {
        Ok(Ok(code)) => code,
        // The panic has been written to standard error, but for some of the query engine's.
        Ok(Err(_)) => failure::report(&Error::internal("Tillhouse met a fault of its own")),
        Err(error) => failure::report(&Error::internal("cannot start threads").because(error)),
    }
}

/// Ends the process where its arguments are wrong, or ask for help. What is quoted of them cannot order the terminal.
fn refuse(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    match escape_controls_in_lines(&text) {
        Cow::Owned(harmless) if error.use_stderr() => {
            let _ = std::io::stderr().write_all(harmless.as_bytes());
            std::process::exit(error.exit_code())
        }
        _ => error.exit(),
    }
}

fn run(cli: &args::Cli) -> ExitCode {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.enable_all().thread_stack_size(WORKER_STACK).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return failure::report(&Error::internal("cannot start threads").because(error));
        }
    };
    let outcome = runtime.block_on(async {
        let outcome = commands::run(cli).await;
        tillhouse_lake::end_uploads().await;
        outcome
    });
    // The threads end with the process: blocking reads that a prompt or a server may leave behind must not keep it alive, and cancelling tasks
    // now would make the Delta library panic where it waits for one of them.
    std::mem::forget(runtime);
    match outcome {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
