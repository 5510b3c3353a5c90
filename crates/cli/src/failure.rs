//! Display of an error: one paragraph, and what to do now.
//!
//! Invariant: what a server or a file says in it cannot order the terminal; exit code 2 for usage and configuration, 1 for everything else that failed.

use crate::output::terminal_escape::{escape_controls, escape_controls_in_lines};
use std::io::Write;
use std::process::ExitCode;
use tillhouse_model::{Error, ErrorKind};

/// Done in part: some slices failed, the next run takes them up.
pub(crate) const PARTIAL: u8 = 3;

/// Writes an error to standard error and gives the exit code for it.
pub(crate) fn report(error: &Error) -> ExitCode {
    let mut err = std::io::stderr().lock();
    // Errors that were found together each say what to do.
    let each = if error.parts().is_empty() {
        std::slice::from_ref(error)
    } else {
        error.parts()
    };
    for error in each {
        // Nothing can be done where standard error itself is gone.
        let _ = writeln!(err, "error: {}", escape_controls(&error.to_string()));
        if let Some(hint) = error.hint_text().or_else(|| general_hint(error.kind())) {
            let _ = writeln!(err, "  {}", escape_controls_in_lines(hint));
        }
    }
    ExitCode::from(code(error.kind()))
}

fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Config => 2,
        _ => 1,
    }
}

fn general_hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Unreachable => {
            Some("Check the address and the network; `tillhouse check` tries every connection.")
        }
        ErrorKind::Busy => Some("The provider asks for patience; run the command again later."),
        ErrorKind::Storage => Some(
            "`tillhouse check` tries the warehouse: that it is there, may be written, and is whole.",
        ),
        ErrorKind::Internal => {
            Some("This is a bug in Tillhouse; please report it with the output of -vv.")
        }
        _ => None,
    }
}
