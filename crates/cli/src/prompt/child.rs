//! Programs that the prompt hands the terminal to: a pager, an editor.
//!
//! Invariant: while one runs, Ctrl-C is its own; what cannot be started costs no result.

use crate::environment;
use crate::output::print_text;
use crate::watchdog::ChildGuard;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// A text of at most so many lines fits any terminal.
const SHORT: usize = 20;

/// Exit codes of a shell for a program that it cannot start.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Shows a text that may be longer than the terminal: through `$PAGER`, else `less`, else as it is.
pub(super) fn page(text: &str) -> Result<()> {
    if text.lines().count() <= SHORT || !std::io::stdout().is_terminal() {
        return print_text(text);
    }
    let mut command = match variable("PAGER") {
        Some(pager) => shell(&pager),
        None => Command::new("less"),
    };
    if variable("LESS").is_none() {
        // Leave at once what fits the screen, and leave it on the screen.
        command.env("LESS", "FRX");
    }
    let guard = ChildGuard::new();
    let Ok(mut child) = command.stdin(Stdio::piped()).spawn() else {
        drop(guard);
        return print_text(text);
    };
    if let Some(mut input) = child.stdin.take() {
        let shown = crate::output::terminal_escape::escape_controls_in_lines(text);
        // Whoever has seen enough closes the pager.
        let _ = input.write_all(shown.as_bytes());
    }
    let status = child
        .wait()
        .or_error(ErrorKind::Internal, "the pager failed")?;
    drop(guard);
    match status.code() {
        // The shell found no such program, or may not run it.
        Some(NOT_FOUND | NOT_EXECUTABLE) => print_text(text),
        _ => Ok(()),
    }
}

/// Opens a file in `$VISUAL` or `$EDITOR`, else in `vi`, and waits until it is closed.
pub(super) fn edit(file: &Path) -> Result<()> {
    let editor = variable("VISUAL")
        .or_else(|| variable("EDITOR"))
        .unwrap_or_else(|| if cfg!(windows) { "notepad" } else { "vi" }.to_owned());
    let failed = |error: Error| {
        error
            .at("editor", editor.clone())
            .hint("EDITOR names the editor, like EDITOR=nano.")
    };
    let _guard = ChildGuard::new();
    let status = shell(&format!("{editor} {}", quoted(file)))
        .status()
        .or_error(ErrorKind::Config, "cannot start the editor")
        .map_err(failed)?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(Error::config("the editor failed")))
    }
}

/// A variable of the environment that is set to something.
fn variable(name: &str) -> Option<String> {
    environment::set(name)?.into_string().ok()
}

/// A line for the shell: `PAGER` and `EDITOR` may have arguments.
fn shell(line: &str) -> Command {
    let mut command = if cfg!(windows) {
        let mut command = Command::new("cmd");
        command.arg("/C");
        command
    } else {
        let mut command = Command::new("sh");
        command.arg("-c");
        command
    };
    command.arg(line);
    command
}

/// A path as one word of a line for the shell.
fn quoted(file: &Path) -> String {
    let path = file.to_string_lossy();
    if cfg!(windows) {
        format!("\"{path}\"")
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_path_is_one_word_for_the_shell() {
        assert_eq!(
            quoted(Path::new("/tmp/it's; rm x.sql")),
            "'/tmp/it'\\''s; rm x.sql'"
        );
    }
}
