//! Tab: commands, tables behind `\d`, files behind `\i`, and whatever the query may go on with.
//!
//! Invariant: what is offered replaces the word at the cursor alone, and cannot order the terminal; nothing is asked of the warehouse but the columns of tables that the query names.

use super::commands::COMMANDS;
use crate::environment;
use reedline::{Completer, CompletionResult, Span, Suggestion};
use std::sync::Arc;
use tillhouse_query::{ChoiceKind, Completion, Session};
use tokio::runtime::Handle;

/// Completer of the prompt. It asks the session from the prompt's own thread.
pub(super) struct PromptCompleter {
    pub(super) session: Arc<Session>,
    pub(super) runtime: Handle,
}

impl Completer for PromptCompleter {
    fn complete(&mut self, line: &str, at: usize) -> CompletionResult {
        CompletionResult::fresh(self.runtime.block_on(suggestions(&self.session, line, at)))
    }
}

/// Completions in place of the word that ends at a byte of the line.
async fn suggestions(session: &Session, line: &str, at: usize) -> Vec<Suggestion> {
    let written = line.get(..at).unwrap_or_default();
    if !written.starts_with('\\') {
        return of_query(session.complete(line, at).await, at);
    }
    let Some((command, rest)) = written.split_once(' ') else {
        return COMMANDS
            .iter()
            .flat_map(|command| command.names.iter().map(move |name| (name, command.does)))
            .filter(|(name, _)| name.starts_with(written))
            .map(|(name, does)| {
                suggestion((*name).to_owned(), Some(does.to_owned()), (0, at), true)
            })
            .collect();
    };
    let word = rest.trim_start();
    let span = (at - word.len(), at);
    match command {
        "\\d" | "\\d+" | "\\dt" | "\\dt+" => {
            let choices = session.table_choices(word, &[]).await.into_iter();
            choices
                .filter(|choice| choice.kind == ChoiceKind::Table)
                .map(|choice| {
                    let is_whole = !choice.text.ends_with('.');
                    suggestion(choice.text, choice.note, span, is_whole)
                })
                .collect()
        }
        "\\df" => {
            let functions = session.functions().into_iter();
            functions
                .filter(|function| function.name.starts_with(word))
                .map(|function| suggestion(function.name, function.syntax, span, false))
                .collect()
        }
        "\\x" => words(&["on", "off", "auto"], word, span),
        "\\timing" | "\\pager" => words(&["on", "off"], word, span),
        "\\i" | "\\o" | "\\e" => files(word, span),
        _ => Vec::new(),
    }
}

fn words(known: &[&str], word: &str, span: (usize, usize)) -> Vec<Suggestion> {
    let known = known.iter().filter(|known| known.starts_with(word));
    known
        .map(|known| suggestion((*known).to_owned(), None, span, false))
        .collect()
}

/// Files and folders whose path begins with what is written, by name; hidden ones where their point is written. What cannot be read has none.
fn files(word: &str, span: (usize, usize)) -> Vec<Suggestion> {
    let (folder, begun) = word
        .rsplit_once('/')
        .map_or(("", word), |(folder, name)| (&word[..=folder.len()], name));
    let place = match folder {
        "" => ".".into(),
        folder => environment::from_home(folder),
    };
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let is_offered = name.starts_with(begun)
                && (begun.starts_with('.') || !name.starts_with('.'))
                && !name.contains(char::is_control);
            let end = if entry.path().is_dir() { "/" } else { "" };
            is_offered.then(|| format!("{folder}{name}{end}"))
        })
        .collect();
    found.sort_unstable();
    let suggested = found.into_iter();
    suggested
        .map(|path| suggestion(path, None, span, false))
        .collect()
}

fn of_query(completion: Completion, at: usize) -> Vec<Suggestion> {
    let span = (completion.start, at);
    completion
        .choices
        .into_iter()
        .map(|choice| {
            // A bracket or a point goes on with the same word.
            let is_whole = !choice.text.ends_with(['(', '.']);
            let is_followed =
                choice.kind == ChoiceKind::Keyword || choice.kind == ChoiceKind::Table;
            suggestion(choice.text, choice.note, span, is_whole && is_followed)
        })
        .collect()
}

fn suggestion(
    value: String,
    description: Option<String>,
    (start, end): (usize, usize),
    append_whitespace: bool,
) -> Suggestion {
    Suggestion {
        value,
        description,
        span: Span { start, end },
        append_whitespace,
        ..Suggestion::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use tillhouse_query::{QueryEngine, QueryEngineOptions, empty_table};

    #[test]
    fn tab_completes_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("months")).unwrap();
        for name in [
            "may.sql",
            "march.sql",
            ".hidden.sql",
            "\u{1b}m.sql",
            "june.sql",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let folder = format!("{}/", folder.path().display());
        for (begun, expected) in [
            ("m", &["march.sql", "may.sql", "months/"][..]),
            ("", &["june.sql", "march.sql", "may.sql", "months/"]),
            (".h", &[".hidden.sql"]),
            ("none/", &[]),
        ] {
            let found = files(&format!("{folder}{begun}"), (3, 9));
            let expected: Vec<String> = expected
                .iter()
                .map(|name| format!("{folder}{name}"))
                .collect();
            let values: Vec<&str> = found.iter().map(|one| one.value.as_str()).collect();
            assert_eq!(values, expected, "{begun}");
        }
    }

    #[tokio::test]
    async fn tab_completes_commands_and_queries() {
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        let schema = Schema::new(vec![Field::new("amount", DataType::Utf8, true)]);
        session
            .register("transactions", empty_table(Arc::new(schema)))
            .unwrap();
        for (line, expected) in [
            ("\\tim", &["\\timing"][..]),
            ("\\d", &["\\dt", "\\dt+", "\\d", "\\d+", "\\df"]),
            ("\\d tra", &["transactions"]),
            ("\\d+ tra", &["transactions"]),
            ("\\dt tra", &["transactions"]),
            ("\\x a", &["auto"]),
            ("\\df canonical_u", &["canonical_unit"]),
            ("SELECT amo", &[]),
            ("SELECT 1 FROM tra", &["transactions"]),
        ] {
            let found = suggestions(&session, line, line.len()).await;
            let mut values: Vec<&str> = found.iter().map(|one| one.value.as_str()).collect();
            values.sort_by_key(|value| expected.iter().position(|known| known == value));
            assert_eq!(values, expected, "{line}");
            for one in &found {
                assert!(
                    one.value.starts_with(&line[one.span.start..one.span.end]),
                    "{line}"
                );
            }
        }
    }
}
