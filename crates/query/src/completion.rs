//! Completion of a query that is being written: tables behind FROM, columns of the tables it names, functions, SQL's words.
//!
//! Invariant: what is offered may stand where it is offered, and begins with what is written; within a text or a comment nothing is. Tables are opened only
//! when their columns are asked for.

use crate::function_list::FunctionKind;
use crate::schemas::DEFAULT_SCHEMA;
use crate::session::Session;
use crate::sql_type::sql_type;
use crate::sql_view::quoted_name;
use crate::statements::tokens;
use datafusion::sql::sqlparser::tokenizer::Token;

/// SQL's words.
const KEYWORDS: &str = "ALL AND AS ASC BETWEEN BY CASE CAST CROSS CURRENT DATE DESC DESCRIBE DISTINCT ELSE END EXCEPT EXCLUDE EXISTS EXPLAIN EXTRACT \
    FALSE FILTER FIRST FOLLOWING FROM FULL GROUP HAVING ILIKE IN INNER INTERSECT INTERVAL IS JOIN LAST LATERAL LEFT LIKE LIMIT NOT NULL NULLS OFFSET ON OR ORDER \
    OUTER OVER PARTITION PRECEDING QUALIFY RANGE RECURSIVE RIGHT ROWS SELECT SHOW SIMILAR TABLES THEN TIMESTAMP TRUE TRY_CAST UNBOUNDED UNION UNNEST USING VALUES \
    WHEN WHERE WINDOW WITH WITHIN ZONE";

/// Words that begin a part of a query; a comma belongs to the part it is in.
const CLAUSES: [&str; 12] = [
    "SELECT", "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "QUALIFY", "WINDOW", "VALUES",
    "WITH", "ON",
];

/// Kind of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChoiceKind {
    /// A column of a table in FROM.
    Column,
    /// A table, a view, a schema or a query of WITH.
    Table,
    /// A function.
    Function,
    /// A word of SQL.
    Keyword,
}

/// A text that may stand in place of the word at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionChoice {
    /// The text.
    pub text: String,
    /// Kind of thing.
    pub kind: ChoiceKind,
    /// A column's type, or how a function is called.
    pub note: Option<String>,
}

/// Choices for the word at a cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    /// First byte of the word; it ends at the cursor.
    pub start: usize,
    /// The likeliest first.
    pub choices: Vec<CompletionChoice>,
}

impl CompletionChoice {
    fn new(text: impl Into<String>, kind: ChoiceKind, note: Option<String>) -> Self {
        Self {
            text: text.into(),
            kind,
            note,
        }
    }
}

/// A table that a query names in FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NamedTable {
    schema: Option<String>,
    table: String,
    alias: Option<String>,
}

/// A word or a sign, as far as completion tells them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// A word without quotes, in capital letters.
    Word(String),
    /// A name, as it is stored.
    Quoted(String),
    Sign(char),
    Other,
}

impl Piece {
    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found == word)
    }

    fn name(&self) -> Option<String> {
        match self {
            Self::Word(word) if !is_reserved(word) => Some(word.to_lowercase()),
            Self::Quoted(name) => Some(name.clone()),
            _ => None,
        }
    }
}

fn is_reserved(word: &str) -> bool {
    KEYWORDS.split_whitespace().any(|known| known == word)
}

/// Pieces of a text; `None` where it ends within a text or a comment.
fn pieces(text: &str) -> Option<Vec<Piece>> {
    let (tokens, is_whole) = tokens(text);
    let piece = |token: &Token| match token {
        Token::Whitespace(_) => None,
        Token::Word(word) => Some(match word.quote_style {
            None => Piece::Word(word.value.to_uppercase()),
            Some(_) => Piece::Quoted(word.value.clone()),
        }),
        Token::Comma => Some(Piece::Sign(',')),
        Token::Period => Some(Piece::Sign('.')),
        Token::LParen => Some(Piece::Sign('(')),
        Token::RParen => Some(Piece::Sign(')')),
        Token::SemiColon => Some(Piece::Sign(';')),
        _ => Some(Piece::Other),
    };
    is_whole.then(|| {
        tokens
            .iter()
            .filter_map(|token| piece(&token.token))
            .collect()
    })
}

/// True where a table is named next.
fn wants_table(before: &[Piece]) -> bool {
    match before.last() {
        Some(last)
            if ["FROM", "JOIN", "DESCRIBE"]
                .iter()
                .any(|word| last.is(word)) =>
        {
            true
        }
        Some(Piece::Sign(',')) => {
            let mut depth = 0_i32;
            for piece in before.iter().rev() {
                match piece {
                    Piece::Sign(')') => depth += 1,
                    Piece::Sign('(') if depth == 0 => return false,
                    Piece::Sign('(') => depth -= 1,
                    Piece::Word(word) if depth == 0 && CLAUSES.contains(&word.as_str()) => {
                        return word == "FROM";
                    }
                    _ => {}
                }
            }
            false
        }
        _ => false,
    }
}

/// The tables that a statement names in FROM, wherever in it.
fn tables_of(pieces: &[Piece]) -> Vec<NamedTable> {
    let mut tables = Vec::new();
    for at in 1..pieces.len() {
        if !wants_table(&pieces[..at]) {
            continue;
        }
        let Some(first) = pieces[at].name() else {
            continue;
        };
        let (schema, table, next) = match (pieces.get(at + 1), pieces.get(at + 2)) {
            (Some(Piece::Sign('.')), Some(second)) => match second.name() {
                Some(second) => (Some(first), second, at + 3),
                None => continue,
            },
            _ => (None, first, at + 1),
        };
        let next = next + usize::from(pieces.get(next).is_some_and(|piece| piece.is("AS")));
        let alias = pieces.get(next).and_then(Piece::name);
        tables.push(NamedTable {
            schema,
            table,
            alias,
        });
    }
    tables
}

/// The names of the queries in WITH.
fn queries_of(pieces: &[Piece]) -> Vec<String> {
    let named = |window: &[Piece]| {
        let is_named = window[1].is("AS") && window[2] == Piece::Sign('(');
        window[0].name().filter(|_| is_named)
    };
    pieces.windows(3).filter_map(named).collect()
}

/// The word that ends at a place, and the names before it that dots part from it.
fn word_at(text: &str) -> (usize, Vec<String>) {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let start = |text: &str| {
        text.len()
            - text
                .chars()
                .rev()
                .take_while(|c| is_part(*c))
                .map(char::len_utf8)
                .sum::<usize>()
    };
    let begin = start(text);
    let mut qualifiers = Vec::new();
    let mut rest = &text[..begin];
    while let Some(before) = rest.strip_suffix('.') {
        let (name, left) = if let Some(quoted) = before.strip_suffix('"') {
            let Some(open) = quoted.rfind('"') else { break };
            (quoted[open + 1..].to_owned(), &before[..open])
        } else {
            let open = start(before);
            (before[open..].to_lowercase(), &before[..open])
        };
        qualifiers.insert(0, name);
        rest = left;
    }
    (begin, qualifiers)
}

impl Session {
    /// Choices for the word that ends at a byte of a text.
    pub async fn complete(&self, text: &str, at: usize) -> Completion {
        let Some(written) = text.get(..at) else {
            return Completion::default();
        };
        let (start, qualifiers) = word_at(written);
        let word = &written[start..];
        let nothing = Completion {
            start,
            choices: Vec::new(),
        };
        let Some(before) = pieces(&written[..start]) else {
            return nothing;
        };
        let behind = pieces(&text[at..]).unwrap_or_default();
        let begin = before
            .iter()
            .rposition(|piece| *piece == Piece::Sign(';'))
            .map_or(0, |last| last + 1);
        let end = behind
            .iter()
            .position(|piece| *piece == Piece::Sign(';'))
            .unwrap_or(behind.len());
        let before = &before[begin..];
        let mut whole = before.to_vec();
        whole.push(Piece::Word(word.to_uppercase()));
        whole.extend_from_slice(&behind[..end]);
        let choices = match qualifiers.as_slice() {
            [] if wants_table(before) => self.table_choices(word, &queries_of(&whole)).await,
            [] => self.value_choices(word, &tables_of(&whole)).await,
            [name] => self.choices_of(name, word, &tables_of(&whole)).await,
            [schema, table] => self.column_choices(schema, table, word).await,
            _ => Vec::new(),
        };
        Completion { start, choices }
    }

    /// The tables, views and table functions whose name begins with a word; `more` are names beside them.
    pub async fn table_choices(&self, word: &str, more: &[String]) -> Vec<CompletionChoice> {
        let tables = self.tables().await.unwrap_or_default();
        let mut schemas: Vec<String> = Vec::new();
        let mut names: Vec<String> = more.to_vec();
        let mut others: Vec<String> = Vec::new();
        for (schema, table) in tables {
            if schema == DEFAULT_SCHEMA {
                names.push(quoted_name(&table));
            } else {
                let full = format!("{}.{}", quoted_name(&schema), quoted_name(&table));
                // A schema stands for its tables until it is written.
                if word.len() > schema.len() || begins(&table, word) && !word.is_empty() {
                    others.push(full);
                }
                schemas.push(format!("{}.", quoted_name(&schema)));
            }
        }
        schemas.dedup();
        names.extend(others);
        names.extend(schemas);
        let mut choices: Vec<CompletionChoice> = names
            .into_iter()
            .filter(|name| {
                begins(name, word)
                    || name
                        .split_once('.')
                        .is_some_and(|(_, table)| !word.is_empty() && begins(table, word))
            })
            .map(|name| CompletionChoice::new(name, ChoiceKind::Table, None))
            .collect();
        choices.extend(self.function_choices(word, |kind| kind == FunctionKind::Table));
        choices
    }

    async fn value_choices(&self, word: &str, tables: &[NamedTable]) -> Vec<CompletionChoice> {
        let mut choices: Vec<CompletionChoice> = Vec::new();
        for table in tables {
            let schema = table.schema.as_deref().unwrap_or(DEFAULT_SCHEMA);
            for choice in self.column_choices(schema, &table.table, word).await {
                if !choices.iter().any(|known| known.text == choice.text) {
                    choices.push(choice);
                }
            }
        }
        if word.is_empty() {
            return choices;
        }
        let names = tables
            .iter()
            .map(|table| table.alias.as_ref().unwrap_or(&table.table));
        choices.extend(
            names
                .filter(|name| begins(name, word))
                .map(|name| CompletionChoice::new(quoted_name(name), ChoiceKind::Table, None)),
        );
        choices.extend(self.function_choices(word, |kind| kind != FunctionKind::Table));
        let is_lower = word.chars().all(|c| !c.is_uppercase());
        choices.extend(
            KEYWORDS
                .split_whitespace()
                .filter(|keyword| begins(keyword, word))
                .map(|keyword| match is_lower {
                    true => keyword.to_lowercase(),
                    false => keyword.to_owned(),
                })
                .map(|keyword| CompletionChoice::new(keyword, ChoiceKind::Keyword, None)),
        );
        choices
    }

    /// Completions behind `name.`: columns of the table of that name or alias, else tables of the schema.
    async fn choices_of(
        &self,
        name: &str,
        word: &str,
        tables: &[NamedTable],
    ) -> Vec<CompletionChoice> {
        let is_named = |table: &&NamedTable| {
            table.alias.as_deref() == Some(name) || table.alias.is_none() && table.table == name
        };
        if let Some(table) = tables.iter().find(is_named) {
            let schema = table.schema.as_deref().unwrap_or(DEFAULT_SCHEMA);
            return self.column_choices(schema, &table.table, word).await;
        }
        let tables = self.tables().await.unwrap_or_default();
        tables
            .into_iter()
            .filter(|(schema, table)| schema == name && begins(table, word))
            .map(|(_, table)| CompletionChoice::new(quoted_name(&table), ChoiceKind::Table, None))
            .collect()
    }

    async fn column_choices(&self, schema: &str, table: &str, word: &str) -> Vec<CompletionChoice> {
        // What is not there, or cannot be opened, has nothing to offer.
        let Ok(columns) = self.columns(schema, table).await else {
            return Vec::new();
        };
        let own = columns
            .fields()
            .iter()
            .filter(|field| begins(field.name(), word));
        own.filter(|field| !field.name().starts_with('_') || word.starts_with('_'))
            .map(|field| {
                let note = Some(sql_type(field.data_type()));
                CompletionChoice::new(quoted_name(field.name()), ChoiceKind::Column, note)
            })
            .collect()
    }

    fn function_choices(
        &self,
        word: &str,
        is_wanted: impl Fn(FunctionKind) -> bool,
    ) -> Vec<CompletionChoice> {
        let mut choices: Vec<CompletionChoice> = self
            .functions()
            .into_iter()
            .filter(|function| is_wanted(function.kind) && begins(&function.name, word))
            .map(|function| {
                CompletionChoice::new(
                    format!("{}(", function.name),
                    ChoiceKind::Function,
                    function.syntax,
                )
            })
            .collect();
        choices.dedup_by(|a, b| a.text == b.text);
        choices
    }
}

/// True if a name begins with what is written, in any case.
fn begins(name: &str, word: &str) -> bool {
    name.get(..word.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueryEngine, QueryEngineOptions, empty_table};
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn session() -> Session {
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        for (name, columns) in [
            (
                "transactions",
                &["transaction_key", "amount", "state", "_run_id"][..],
            ),
            ("articles", &["article_key", "amount", "name", "Odd Name"]),
            ("sites", &["site_key", "name"]),
            ("ops.runs", &["run_id"]),
            ("hecone.transactions", &["id", "invoice"]),
        ] {
            let fields: Vec<Field> = columns
                .iter()
                .map(|column| Field::new(*column, DataType::Utf8, true))
                .collect();
            session
                .register(name, empty_table(Arc::new(Schema::new(fields))))
                .unwrap();
        }
        session
    }

    /// Choices at the mark `|`, functions and words left out where others are wanted.
    async fn at_mark(session: &Session, text: &str, kinds: &[ChoiceKind]) -> Vec<String> {
        let at = text.find('|').unwrap();
        let text = text.replacen('|', "", 1);
        let completion = session.complete(&text, at).await;
        assert!(completion.start <= at, "{text}");
        completion
            .choices
            .into_iter()
            .filter(|choice| kinds.contains(&choice.kind))
            .map(|choice| choice.text)
            .collect()
    }

    #[tokio::test]
    async fn what_may_stand_at_the_cursor_is_offered() {
        use ChoiceKind::{Column, Function, Keyword, Table};
        let session = session();
        for (text, kinds, expected) in [
            (
                "SELECT * FROM tr|",
                &[Table][..],
                &["transactions", "hecone.transactions"][..],
            ),
            (
                "SELECT * FROM |",
                &[Table],
                &[
                    "articles",
                    "sales",
                    "sites",
                    "transactions",
                    "hecone.",
                    "ops.",
                ],
            ),
            ("SELECT * FROM op|", &[Table], &["ops."]),
            ("SELECT * FROM ops.|", &[Table], &["runs"]),
            ("SELECT * FROM sites s, ar|", &[Table], &["articles"]),
            ("SELECT * FROM sites JOIN ar|", &[Table], &["articles"]),
            (
                "WITH mine AS (SELECT 1) SELECT * FROM mi|",
                &[Table],
                &["mine"],
            ),
            ("DESCRIBE si|", &[Table], &["sites"]),
            ("SELECT am| FROM transactions", &[Column], &["amount"]),
            (
                "SELECT | FROM transactions",
                &[Column],
                &["transaction_key", "amount", "state"],
            ),
            ("SELECT _| FROM transactions", &[Column], &["_run_id"]),
            (
                "SELECT a.| FROM transactions t JOIN articles AS a ON true",
                &[Column],
                &["article_key", "amount", "name", "\"Odd Name\""],
            ),
            ("SELECT t.s| FROM transactions t", &[Column], &["state"]),
            (
                "SELECT transactions.s| FROM transactions",
                &[Column],
                &["state"],
            ),
            (
                "SELECT hecone.transactions.i| FROM hecone.transactions",
                &[Column],
                &["id", "invoice"],
            ),
            (
                "SELECT i| FROM hecone.transactions",
                &[Column],
                &["id", "invoice"],
            ),
            ("SELECT n|, x FROM articles, sites", &[Column], &["name"]),
            ("SELECT name FROM sites WHERE na|", &[Column], &["name"]),
            (
                "SELECT 1; SELECT st| FROM transactions; SELECT 2 FROM sites",
                &[Column, Keyword],
                &["state"],
            ),
            ("SELECT 'FROM tr|", &[Table, Column], &[]),
            ("SELECT 1 -- FROM tr|", &[Table, Column], &[]),
            ("sel|", &[Keyword], &["select"]),
            ("SEL|", &[Keyword], &["SELECT"]),
            (
                "SELECT loc| FROM sites",
                &[Function],
                &[
                    "local_date(",
                    "local_hour(",
                    "local_hour_start(",
                    "local_timestamp(",
                ],
            ),
            ("SELECT medi| FROM sites", &[Function], &["median("]),
            ("SELECT zzz|", &[Table, Column, Function, Keyword], &[]),
            ("SELECT é.|", &[Table, Column, Function, Keyword], &[]),
            ("|", &[Table, Column, Function, Keyword], &[]),
        ] {
            assert_eq!(at_mark(&session, text, kinds).await, expected, "{text}");
        }
        let amount = session.complete("SELECT amo FROM transactions", 10).await;
        assert_eq!(amount.start, 7);
        assert_eq!(amount.choices[0].note.as_deref(), Some("varchar"));
    }
}
