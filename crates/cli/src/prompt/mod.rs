//! The SQL prompt: history, several lines, completion, commands.
//!
//! Invariant: neither a mistake in a query nor one Ctrl-C ends the prompt.

mod child;
mod commands;
mod completer;

use crate::args::DataFormat;
use crate::commands::query::{QueryRunner, read_file};
use crate::commands::read_given;
use crate::environment;
use crate::output::results::{ResultFile, ResultStyle, collect_rows, write_results};
use crate::output::{
    CsvStyle, ResultLayout, TextTable, describe as shown, print_notice, result_text,
};
use crate::temporary_file::TemporaryFile;
use crate::watchdog::{PromptGuard, guarded, is_stopping};
use commands::{PromptCommand, ResultFormat, fits, help};
use completer::PromptCompleter;
use reedline::{
    ColumnarMenu, DefaultPrompt, DefaultPromptSegment, EditCommand, Emacs, FileBackedHistory,
    InputMode, KeyCode, KeyModifiers, MenuBuilder, Reedline, ReedlineEvent, ReedlineMenu, Signal,
    ValidationResult, Validator, default_emacs_keybindings,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tillhouse_lake::special_file;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_query::{LocatedStatement, Session, is_complete, locate_statements};
use tokio::runtime::Handle;

/// Name of the menu that Tab opens.
const MENU: &str = "completion";
/// The beginning and the end of the name of a file in which a query is edited.
const EDITED: (&str, &str) = ("tillhouse-", ".sql");
/// Age from which such a file was left: an editor may put a new file in its place, which nobody holds while it is edited on.
const EDITED_LEFT: Duration = Duration::from_secs(24 * 60 * 60);

/// A query is complete with its semicolon; a command is complete as it is.
struct QueryValidator;

impl Validator for QueryValidator {
    fn validate(&self, line: &str) -> ValidationResult {
        // Enter was pressed, and the terminal still gives Ctrl-C as a key: what came as a signal was meant for what is over, and what comes now for this line.
        PromptGuard::forget_interrupt();
        let line = line.trim();
        if line.is_empty() || PromptCommand::parse(line).is_some() || is_complete(line) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

/// Reads and runs queries until the user leaves.
pub(crate) async fn run(runner: &QueryRunner, format: DataFormat, csv: CsvStyle) -> Result<()> {
    let mut editor = editor(runner);
    if let Some(run) = runner.session.run() {
        print_notice(&format!("run {}; \\? for help", run.run_id));
    }
    let prompt = DefaultPrompt::new(
        DefaultPromptSegment::Basic("tillhouse".to_owned()),
        DefaultPromptSegment::Empty,
    );
    let _guard = PromptGuard::new();
    let mut state = PromptState {
        runner,
        format,
        csv,
        layout: ResultLayout::Automatic,
        is_timed: false,
        is_paged: true,
        last: String::new(),
        draft: None,
        output: None,
    };
    loop {
        if let Some(draft) = state.draft.take() {
            editor.run_edit_commands(&[EditCommand::InsertString(draft)]);
        }
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
            Signal::Success(line) => match state.answer(line.trim()).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    let _ = crate::failure::report(&error);
                }
            },
            Signal::CtrlD => return Ok(()),
            _ => {}
        }
    }
}

/// The line editor, with history and completion.
fn editor(runner: &QueryRunner) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let next = vec![
        ReedlineEvent::Menu(MENU.to_owned()),
        ReedlineEvent::MenuNext,
    ];
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(next),
    );
    keys.add_binding(
        KeyModifiers::SHIFT,
        KeyCode::BackTab,
        ReedlineEvent::MenuPrevious,
    );
    let completer = PromptCompleter {
        session: Arc::clone(&runner.session),
        runtime: Handle::current(),
    };
    // What stands behind the cursor names the tables.
    let menu = ColumnarMenu::default()
        .with_name(MENU)
        .with_input_mode(InputMode::FullBuffer);
    let mut editor = Reedline::create()
        .with_validator(Box::new(QueryValidator))
        .with_completer(Box::new(completer))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_edit_mode(Box::new(Emacs::new(keys)));
    if let Some(path) = history_file() {
        let kept = keep_private(&path).map_err(|error| error.to_string());
        match kept.and_then(|()| {
            FileBackedHistory::with_file(5_000, path).map_err(|error| error.to_string())
        }) {
            Ok(history) => editor = editor.with_history(Box::new(history)),
            Err(error) => tracing::warn!("no history: {error}"),
        }
    }
    editor
}

/// Settings of the commands, and what they go by.
struct PromptState<'a> {
    runner: &'a QueryRunner,
    format: DataFormat,
    csv: CsvStyle,
    layout: ResultLayout,
    is_timed: bool,
    is_paged: bool,
    /// The last text that was run.
    last: String,
    /// Text that the next line begins with.
    draft: Option<String>,
    /// File that the next result goes into.
    output: Option<ResultFile>,
}

impl PromptState<'_> {
    /// Answers a line; false when the user leaves.
    async fn answer(&mut self, line: &str) -> Result<bool> {
        let Some(command) = PromptCommand::parse(line) else {
            if !line.is_empty() {
                line.clone_into(&mut self.last);
                self.run_all(line).await?;
            }
            return Ok(true);
        };
        let session = self.runner.session.as_ref();
        match command? {
            PromptCommand::Quit => return Ok(false),
            PromptCommand::Help => self.show(&help())?,
            PromptCommand::Tables { pattern, is_full } => {
                let listed = tables(session, pattern.as_deref(), is_full);
                self.show(&guarded(self.runner.memory_limit_bytes, listed).await?)?;
            }
            PromptCommand::Describe { table, is_full } => {
                let described = session.describe_named(&table);
                let table = guarded(self.runner.memory_limit_bytes, described).await?;
                self.show(&match is_full {
                    true => shown::text(&table),
                    false => shown::columns_text(&table),
                })?;
            }
            PromptCommand::Functions(pattern) => {
                self.show(&functions(session, pattern.as_deref())?)?;
            }
            PromptCommand::Expanded(to) => {
                self.layout = match (to.as_deref(), self.layout) {
                    (Some("on"), _) | (None, ResultLayout::Automatic | ResultLayout::Table) => {
                        ResultLayout::Expanded
                    }
                    (Some("off"), _) => ResultLayout::Table,
                    (Some("auto"), _) | (None, ResultLayout::Expanded) => ResultLayout::Automatic,
                    (Some(other), _) => {
                        return Err(Error::config(format!(
                            "\\x is on, off or auto, not {other}"
                        )));
                    }
                };
                print_notice(match self.layout {
                    ResultLayout::Expanded => "each row is shown as a record",
                    ResultLayout::Table => "results are shown as tables",
                    ResultLayout::Automatic => {
                        "rows that are wider than the terminal are shown as records"
                    }
                });
            }
            PromptCommand::Format(to) => {
                self.format = match to {
                    ResultFormat::Table => DataFormat::Table,
                    ResultFormat::Json => DataFormat::Json,
                    ResultFormat::Csv => DataFormat::Csv(self.csv),
                };
            }
            PromptCommand::Timing(to) => {
                self.is_timed = to.unwrap_or(!self.is_timed);
                print_notice(&format!("timing is {}", on_or_off(self.is_timed)));
            }
            PromptCommand::Pager(to) => {
                self.is_paged = to.unwrap_or(!self.is_paged);
                print_notice(&format!("the pager is {}", on_or_off(self.is_paged)));
            }
            PromptCommand::Output(file) => {
                let named = file.map(|file| ResultFile::of(&environment::from_home(&file), None));
                // What it says of flags is nothing for a prompt.
                let named = named.transpose().map_err(|error| {
                    Error::config(error.message())
                        .hint("A result is written as CSV, JSON, Parquet or a workbook: \\o x.csv, \\o x.json, \\o x.parquet, \\o x.xlsx.")
                })?;
                let named = named.flatten();
                if let Some(file) = &named {
                    self.runner.protected.check("the output", file.path())?;
                }
                self.output = named;
                print_notice(&match &self.output {
                    Some(file) => format!("the next result goes into {}", file.path().display()),
                    None => "results are shown here".to_owned(),
                });
            }
            PromptCommand::Include(file) => self.include(&environment::from_home(&file)).await?,
            PromptCommand::Edit(file) => {
                let file = file.as_deref().map(environment::from_home);
                self.draft = Some(self.edit(file.as_deref())?);
            }
        }
        Ok(true)
    }

    /// Runs the queries of a file; an error says where in it.
    async fn include(&mut self, file: &Path) -> Result<()> {
        let text = read_file(file)?;
        self.run_all(&text)
            .await
            .map_err(|error| error.at("file", file.display().to_string()))
    }

    async fn run_all(&mut self, text: &str) -> Result<()> {
        for statement in locate_statements(text) {
            let began = Instant::now();
            self.run(&statement).await?;
            if self.is_timed {
                print_notice(&format!("{:.3} s", began.elapsed().as_secs_f64()));
            }
        }
        Ok(())
    }

    async fn run(&mut self, statement: &LocatedStatement) -> Result<()> {
        if let Some(file) = &self.output {
            // It may have become a link since it was named.
            self.runner.protected.check("the output", file.path())?;
            let style = ResultStyle {
                file: Some(file.clone()),
                ..self.runner.style.clone()
            };
            self.runner
                .consume(statement, async move |stream| {
                    write_results(DataFormat::Table, &style, stream, is_stopping).await
                })
                .await?;
            // A query that fails leaves the file to the next.
            if let Some(file) = self.output.take() {
                print_notice(&format!("the result is in {}", file.path().display()));
            }
            return Ok(());
        }
        if self.format != DataFormat::Table {
            return self.runner.execute(statement, self.format).await;
        }
        let layout = self.layout;
        let null = self.runner.style.null_in_tables().to_owned();
        let shown = self.runner.consume(statement, async move |stream| {
            let result = collect_rows(stream).await?;
            let width = TextTable::terminal_width();
            let text = result_text(&result.schema, &result.batches, &null, layout, width)?;
            Ok((text, result.is_cut))
        });
        let (text, is_cut) = shown.await?;
        self.show(&text)?;
        if is_cut {
            print_notice("there are more; \\csv or \\json prints all of them");
        }
        Ok(())
    }

    /// The last query, or a file, after it was edited: the next line begins with it.
    fn edit(&self, file: Option<&Path>) -> Result<String> {
        let failed = |error: Error| error.hint("The folder for temporary files is TMPDIR.");
        let file_of_query = || {
            tempfile::Builder::new()
                .prefix(EDITED.0)
                .suffix(EDITED.1)
                .tempfile()
        };
        let kept = TemporaryFile::make(file_of_query)
            .or_error(ErrorKind::Storage, "cannot make a file to edit")
            .map_err(failed)?;
        kept.remove_left(EDITED, EDITED_LEFT);
        let path = match file {
            Some(file) => file,
            None => {
                std::fs::write(kept.path(), &self.last)
                    .or_error(ErrorKind::Storage, "cannot make a file to edit")
                    .map_err(failed)?;
                kept.path()
            }
        };
        child::edit(path)?;
        let text = read_given(path, "cannot read what was edited")?;
        Ok(text.trim_end().to_owned())
    }

    fn show(&self, text: &str) -> Result<()> {
        if self.is_paged {
            child::page(text)
        } else {
            crate::output::print_text(text)
        }
    }
}

fn on_or_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

/// The tables whose name fits, with what a row of each is where that is wanted.
async fn tables(session: &Session, pattern: Option<&str>, is_full: bool) -> Result<String> {
    let mut found = session.described_tables().await?;
    found.retain(|(schema, name, _)| {
        pattern
            .is_none_or(|pattern| fits(pattern, name) || fits(pattern, &format!("{schema}.{name}")))
    });
    if let (true, Some(pattern)) = (found.is_empty(), pattern) {
        return Err(
            Error::config(format!("no table fits {pattern}")).hint("\\dt lists all of them.")
        );
    }
    if is_full {
        return Ok(shown::list_text(&found));
    }
    let mut table = TextTable::new();
    table.set_header(["schema", "table"]);
    for (schema, name, _) in found {
        table.add_row([schema, name]);
    }
    Ok(format!("{table}\n"))
}

/// The functions whose name fits; of a single one, what is said of it.
fn functions(session: &Session, pattern: Option<&str>) -> Result<String> {
    let mut found = session.functions();
    found.retain(|function| pattern.is_none_or(|pattern| fits(pattern, &function.name)));
    if let Some(pattern) = pattern
        && let Some(exact) = found.iter().find(|function| function.name == pattern)
    {
        let mut text = format!("{} ({})\n", exact.name, exact.kind.as_str());
        for line in exact.syntax.iter().chain(&exact.description) {
            text.push_str(&format!("  {line}\n"));
        }
        return Ok(text);
    }
    if found.is_empty() {
        return Err(
            Error::config(format!("no function fits {}", pattern.unwrap_or_default()))
                .hint("\\df lists all of them."),
        );
    }
    let mut table = TextTable::new();
    table.set_header(["function", "kind", "called as"]);
    for function in found {
        let kind = function.kind.as_str();
        table.add_row([
            function.name.as_str(),
            kind,
            function.syntax.as_deref().unwrap_or_default(),
        ]);
    }
    Ok(format!("{table}\n"))
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
    if let Some(kind) = special_file(path) {
        let text = format!("{kind} stands where a file is expected");
        return Err(std::io::Error::other(text));
    }
    if let Some(folder) = path.parent() {
        let mut folders = std::fs::DirBuilder::new();
        folders.recursive(true);
        // Of folders that are there the mode stays: they may be shared.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
        folders.create(folder)?;
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
        let made = std::fs::metadata(folder.join("below")).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o700);
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
