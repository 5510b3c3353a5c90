//! The SQL prompt: history, several lines, `\d`.
//!
//! Invariant: a mistake in a query never ends the prompt.

use crate::args::DataFormat;
use crate::commands::query::QueryRunner;
use crate::environment;
use crate::output::{CsvStyle, TextTable, print_notice, print_text};
use reedline::{
    DefaultPrompt, DefaultPromptSegment, FileBackedHistory, Reedline, Signal, ValidationResult,
    Validator,
};
use std::path::{Path, PathBuf};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_query::{Session, is_complete};

const HELP: &str = "\
A query ends with a semicolon and may take several lines.
  \\d            tables        \\d TABLE   its columns
  \\json \\csv \\table           how results are printed
  \\q            leave         Ctrl-C      stop a query";

/// A query is complete with its semicolon; a command is complete as it is.
struct QueryValidator;

impl Validator for QueryValidator {
    fn validate(&self, line: &str) -> ValidationResult {
        let line = line.trim();
        if line.is_empty() || line.starts_with('\\') || is_complete(line) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

/// Reads and runs queries until the user leaves.
pub(crate) async fn run(runner: &QueryRunner, format: DataFormat, csv: CsvStyle) -> Result<()> {
    let (mut format, session) = (format, runner.session.as_ref());
    let mut editor = Reedline::create().with_validator(Box::new(QueryValidator));
    if let Some(path) = history_file() {
        let kept = keep_private(&path).map_err(|error| error.to_string());
        match kept.and_then(|()| {
            FileBackedHistory::with_file(5_000, path).map_err(|error| error.to_string())
        }) {
            Ok(history) => editor = editor.with_history(Box::new(history)),
            Err(error) => tracing::warn!("no history: {error}"),
        }
    }
    if let Some(run) = session.run() {
        print_notice(&format!("run {}; \\? for help", run.run_id));
    }
    let prompt = DefaultPrompt::new(
        DefaultPromptSegment::Basic("tillhouse".to_owned()),
        DefaultPromptSegment::Empty,
    );
    loop {
        // Reading a line blocks; the runtime must go on for the queries' own tasks.
        let (line, back) = {
            let (mut moved, prompt) = (editor, prompt.clone());
            tokio::task::spawn_blocking(move || (moved.read_line(&prompt), moved))
                .await
                .or_error(ErrorKind::Internal, "the prompt failed")?
        };
        editor = back;
        // A query that cannot be stopped ends the process, and the history must not end with it.
        if let Err(error) = editor.sync_history() {
            tracing::debug!("the history is not written: {error}");
        }
        match line.or_error(ErrorKind::Internal, "cannot read from the terminal")? {
            Signal::Success(line) => {
                let line = line.trim();
                let outcome = match line {
                    "" => Ok(()),
                    "\\q" | "quit" | "exit" | "quit;" | "exit;" => return Ok(()),
                    "\\?" | "\\h" | "help" | "help;" => {
                        print_notice(HELP);
                        Ok(())
                    }
                    "\\json" => set(&mut format, DataFormat::Json),
                    "\\csv" => set(&mut format, DataFormat::Csv(csv)),
                    "\\table" => set(&mut format, DataFormat::Table),
                    command if command.starts_with("\\d") => {
                        describe(session, command[2..].trim()).await
                    }
                    command if command.starts_with('\\') => {
                        Err(Error::config(format!("there is no command {command}"))
                            .hint("\\? lists them."))
                    }
                    text => runner.execute_all(text, format).await,
                };
                if let Err(error) = outcome {
                    let _ = crate::failure::report(&error);
                }
            }
            Signal::CtrlD => return Ok(()),
            _ => {}
        }
    }
}

fn set(format: &mut DataFormat, to: DataFormat) -> Result<()> {
    *format = to;
    Ok(())
}

async fn describe(session: &Session, what: &str) -> Result<()> {
    let mut table = TextTable::new();
    if what.is_empty() {
        table.set_header(["schema", "table"]);
        for (schema, name) in session.tables().await? {
            table.add_row([schema, name]);
        }
    } else {
        let (schema, name) = what
            .trim_end_matches(';')
            .split_once('.')
            .unwrap_or(("unified", what.trim_end_matches(';')));
        table.set_header(["column", "type", "null"]);
        for field in session.columns(schema, name).await?.fields() {
            let null = if field.is_nullable() { "yes" } else { "no" };
            table.add_row([field.name().as_str(), &field.data_type().to_string(), null]);
        }
    }
    print_text(&format!("{table}\n"))
}

/// `$XDG_STATE_HOME/tillhouse/sql_history`, by default below `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    Some(
        environment::state_folder()?
            .join("tillhouse")
            .join("sql_history"),
    )
}

/// Makes the history's file before it is written to, and keeps it from others: queries name plates and customers.
fn keep_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        options.mode(0o600);
        let file = options.open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))
    }
    #[cfg(not(unix))]
    options.open(path).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_history_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("tillhouse-history-{}", std::process::id()));
        let path = folder.join("below/sql_history");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        keep_private(&path).unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::write(&path, "SELECT 1").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        keep_private(&path).unwrap();
        assert_eq!(
            (mode(), std::fs::read_to_string(&path).unwrap().as_str()),
            (0o600, "SELECT 1")
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
