//! Names that a query uses and that are not there: columns, tables, functions, types.
//!
//! Invariant: a guess is one that makes sense: the same name written otherwise, a slip of the hand, or a word that means the same, of the same kind and in scope.
//! Where there is none, the error lists what there is instead of guessing.

use super::meanings::{self, lookup};
use super::query_text::Evidence;
use super::{Mistake, WrittenQuery};
use crate::function_list::{FunctionKind, FunctionSummary};
use crate::language::is_given;
use crate::schemas::DEFAULT_SCHEMA;
use crate::sql_view::quoted_name;
use datafusion::common::{Column, Diagnostic, SchemaError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token};
use tillhouse_model::did_you_mean::nearest;

/// Most names that an error lists.
const NAMES: usize = 12;

/// Names that a session knows, for guesses.
#[derive(Debug, Default)]
pub(crate) struct KnownNames {
    /// Tables and views, by schema.
    pub(crate) tables: Vec<(String, String)>,
    /// Functions of all kinds.
    pub(crate) functions: Vec<FunctionSummary>,
    /// Tables of the default schema that have the column in question.
    pub(crate) elsewhere: Vec<String>,
}

impl KnownNames {
    /// A function by its name.
    pub(crate) fn function(
        &self,
        name: &str,
        kind: Option<FunctionKind>,
    ) -> Option<&FunctionSummary> {
        self.functions.iter().find(|function| {
            function.name.eq_ignore_ascii_case(name)
                && kind.is_none_or(|kind| function.kind == kind)
        })
    }
}

/// A name as it is compared: small letters, without what parts its words.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// The name that is likely meant, of those in scope.
fn likely<'a>(
    name: &str,
    known: &[&'a str],
    list: &str,
    relation: Option<&str>,
) -> Option<&'a str> {
    let wanted = plain(name);
    let same = known.iter().find(|known| plain(known) == wanted);
    if let Some(same) = same.copied() {
        return Some(same);
    }
    let meant = lookup(list, &wanted)
        .into_iter()
        .find_map(|meant| known.iter().find(|known| **known == meant).copied());
    if meant.is_some() {
        return meant;
    }
    if let Some(slip) = nearest(name, known) {
        return Some(slip);
    }
    // `site_name` of sites is its `name`.
    let own = relation.and_then(|relation| {
        let rest = name.strip_prefix(relation.trim_end_matches('s'))?;
        let rest = rest.strip_prefix('_')?;
        known.iter().find(|known| **known == rest).copied()
    });
    if own.is_some() {
        return own;
    }
    // `tenant` is `tenant_id`; `name` rather than `key` where there are both.
    ["name", "key", "id", "number", "code"]
        .iter()
        .find_map(|end| {
            let whole = format!("{}_{end}", name.to_lowercase());
            known.iter().find(|known| **known == whole).copied()
        })
}

/// The first names of a list, and how many more there are.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    let names = names.join(", ");
    if more > 0 {
        format!("{names} and {more} more")
    } else {
        names
    }
}

fn at_span(diagnostic: Option<&Diagnostic>) -> Location {
    let span = diagnostic.and_then(|diagnostic| diagnostic.span);
    span.map_or(Location { line: 0, column: 0 }, |span| Location {
        line: span.start.line,
        column: span.start.column,
    })
}

/// The error of a schema: a column that is not there, or is there twice.
pub(crate) fn of_schema(
    error: &SchemaError,
    diagnostic: Option<&Diagnostic>,
    query: &WrittenQuery,
) -> Mistake {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => no_column(field, valid_fields, at_span(diagnostic), query),
        // A column that is calculated, beside that of a table.
        SchemaError::AmbiguousReference { field } if field.relation.is_some() => {
            two_called(&field.name).near(query, &Evidence::Name(None, &field.name))
        }
        SchemaError::AmbiguousReference { field } => {
            let name = quoted_name(&field.name);
            let notes = diagnostic.map_or(&[][..], |diagnostic| &diagnostic.notes);
            let end = format!(".{}", field.name);
            let found: Vec<&str> = notes
                .iter()
                .filter_map(|note| note.message.strip_prefix("possible column "))
                .filter_map(|column| column.strip_suffix(&end))
                .collect();
            let is_unnamed = found.iter().any(|table| is_given(table));
            let mut tables: Vec<String> = found
                .into_iter()
                .filter(|table| !is_given(table))
                .map(|table| format!("{}.{name}", super::wording::in_sql_words(table)))
                .collect();
            tables.dedup();
            let hint = if tables.len() > 1 {
                format!("Say which: {}.", tables.join(" or "))
            } else if is_unnamed {
                format!(
                    "Give the query in FROM a name, and say which: (SELECT ...) AS q, q.{name}."
                )
            } else {
                format!("Say of which table, like t.{name}.")
            };
            Mistake::new(format!(
                "the column `{name}` is in more than one table of the query"
            ))
            .near(query, &Evidence::At(at_span(diagnostic)))
            .near(query, &Evidence::Name(None, &field.name))
            .hint(hint)
        }
        SchemaError::DuplicateQualifiedField { qualifier, .. } => {
            let name = super::wording::in_sql_words(&qualifier.to_string());
            Mistake::new(format!("two tables of the query are called `{name}`"))
                .hint("Give each a name of its own: FROM sites AS a JOIN sites AS b ON ...")
        }
        SchemaError::DuplicateUnqualifiedField { name } => two_called(name),
    }
}

fn two_called(name: &str) -> Mistake {
    Mistake::new(format!("two columns are called `{}`", quoted_name(name)))
        .hint("Give one of them another name: ... AS other_name.")
}

fn no_column(field: &Column, valid: &[Column], place: Location, query: &WrittenQuery) -> Mistake {
    let qualifier = field.relation.as_ref().map(|relation| relation.table());
    let qualifier = qualifier.filter(|table| !is_given(table));
    let shown = match qualifier {
        Some(qualifier) => format!("{qualifier}.{}", field.name),
        None => quoted_name(&field.name),
    };
    let mistake = Mistake::new(format!("there is no column `{shown}`"))
        .near(query, &Evidence::At(place))
        .near(query, &Evidence::Name(qualifier, &field.name));
    let relation_of = |column: &Column| {
        let table = column.relation.as_ref()?.table();
        (!is_given(table)).then(|| table.to_owned())
    };
    let mut relations: Vec<String> = valid.iter().filter_map(relation_of).collect();
    relations.dedup();
    if let Some(at) = mistake.place.map(|place| query.text.index_at(place)) {
        if let Some(word) = ["LIMIT", "OFFSET"]
            .into_iter()
            .find(|word| at > 0 && query.text.is_word(at - 1, word))
        {
            return Mistake::new(format!(
                "{word} takes a whole number, not the column `{shown}`"
            ))
            .placed(mistake.place);
        }
        let known = valid.iter().map(|column| column.name.as_str());
        let is_otherwise = known.clone().any(|name| plain(name) == plain(&field.name));
        if query.text.is_quoted_name(at)
            && !is_otherwise
            && nearest(&field.name, &known.collect::<Vec<_>>()).is_none()
        {
            let text = field.name.replace('\'', "''");
            return mistake.hint(format!(
                "A text stands in single quotes: '{text}'; double quotes are for names."
            ));
        }
    }
    if let Some(qualifier) = qualifier
        && !relations.iter().any(|relation| relation == qualifier)
    {
        let has_it = |relation: &&String| {
            valid.iter().any(|column| {
                column.name == field.name && relation_of(column).as_ref() == Some(*relation)
            })
        };
        let mistake =
            Mistake::new(format!("there is no table `{qualifier}` in FROM")).placed(mistake.place);
        let likely: Vec<String> = relations
            .iter()
            .filter(has_it)
            .map(|relation| format!("`{relation}.{}`", field.name))
            .collect();
        return match (likely.is_empty(), relations.is_empty()) {
            (false, _) => mistake.hint(format!("Did you mean {}?", likely.join(" or "))),
            (true, false) => mistake.hint(format!(
                "FROM has {}.",
                listed(relations.iter().map(String::as_str))
            )),
            (true, true) if !valid.is_empty() => mistake.hint(
                "The query in FROM has no name: write the column alone, or give it one, FROM (SELECT ...) AS q.",
            ),
            (true, true) => mistake.hint("The query has no FROM that it could come from."),
        };
    }
    if is_alias(&field.name, query) {
        return mistake.hint(format!(
            "`{shown}` is a name that SELECT gives, and this part comes before it: repeat the expression, filter groups by HAVING, or put the query into \
             FROM (...)."
        ));
    }
    let of_relation = |column: &&Column| {
        qualifier.is_none_or(|qualifier| relation_of(column).as_deref() == Some(qualifier))
    };
    let own: Vec<&Column> = valid.iter().filter(of_relation).collect();
    let mut names: Vec<&str> = own.iter().map(|column| column.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let relation = match relations.as_slice() {
        [one] => Some(one.as_str()),
        _ => qualifier,
    };
    if let Some(meant) = likely(&field.name, &names, meanings::COLUMNS, relation) {
        let columns = own.iter().filter(|column| column.name == meant);
        let mut choices: Vec<String> = columns
            .map(|column| match relation_of(column) {
                Some(relation) if relations.len() > 1 => {
                    format!("`{relation}.{}`", quoted_name(meant))
                }
                _ => format!("`{}`", quoted_name(meant)),
            })
            .collect();
        choices.dedup();
        let note = if plain(meant) == plain(&field.name) && field.name != field.name.to_lowercase()
        {
            " A name in double quotes is taken letter by letter; without them it is read in small letters."
        } else {
            ""
        };
        return mistake.hint(format!("Did you mean {}?{note}", choices.join(" or ")));
    }
    if valid.is_empty() {
        return mistake.hint(
            "The query has no FROM that it could come from. A text stands in single quotes.",
        );
    }
    if !query.names.elsewhere.is_empty() {
        let tables = listed(query.names.elsewhere.iter().map(String::as_str));
        return mistake.hint(format!("It is a column of {tables}."));
    }
    let columns = own
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| !name.starts_with('_'));
    match relation {
        Some(relation) => mistake.hint(format!(
            "The columns of {relation} are {}.",
            listed(columns)
        )),
        None => mistake.hint(format!("There are {}.", listed(columns))),
    }
}

/// True if SELECT gives this name: `... AS name` stands in the query.
fn is_alias(name: &str, query: &WrittenQuery) -> bool {
    query.text.find_words(0, &["AS", name]).is_some()
}

/// The error of a table that is not there. `name` is what the planner looked for.
pub(crate) fn no_table(
    name: &str,
    diagnostic: Option<&Diagnostic>,
    query: &WrittenQuery,
) -> Mistake {
    let full = name.strip_prefix("tillhouse.").unwrap_or(name);
    let (schema, table) = match full.split_once('.') {
        Some((schema, table)) => (Some(schema), table),
        None => (None, full),
    };
    let is_default = schema.is_none_or(|schema| schema == DEFAULT_SCHEMA);
    let shown = if is_default { table } else { full };
    let mistake = Mistake::new(format!("there is no table `{shown}`"))
        .near(query, &Evidence::At(at_span(diagnostic)))
        .near(
            query,
            &Evidence::Name(schema.filter(|_| !is_default), table),
        )
        .near(query, &Evidence::Name(None, table));
    let all = "\\dt at the prompt, or SHOW TABLES, lists what there is.";
    if ["csv", "parquet", "json", "xlsx", "txt"]
        .iter()
        .any(|end| table.to_lowercase().ends_with(&format!(".{end}")))
    {
        return Mistake::new("a file is no table: SQL here reads the warehouse alone")
            .placed(mistake.place)
            .near(query, &Evidence::Literal(table))
            .hint(all);
    }
    let with = |words: &[&str]| query.text.find_words(0, words).is_some();
    if with(&["WITH", table]) && !with(&["WITH", "RECURSIVE"]) {
        return mistake.hint(format!(
            "A query that reads itself begins with WITH RECURSIVE {table} AS (SELECT ... UNION ALL SELECT ... FROM {table} ...)."
        ));
    }
    if with(&["RECURSIVE", table]) {
        return mistake.hint(format!(
            "A recursive query has two parts, and only the second reads itself: SELECT ... UNION ALL SELECT ... FROM {table} ..."
        ));
    }
    if let Some(function) = query.names.function(table, Some(FunctionKind::Table)) {
        return mistake.hint(format!("It is a function: FROM {}(...).", function.name));
    }
    let named = |(of, name): &(String, String)| {
        if of == DEFAULT_SCHEMA {
            name.clone()
        } else {
            format!("{of}.{name}")
        }
    };
    let tables = &query.names.tables;
    // The same name in another schema is the likeliest; then its own schema, then the default one.
    let mut same: Vec<String> = tables
        .iter()
        .filter(|(_, name)| plain(name) == plain(table))
        .map(named)
        .collect();
    same.truncate(NAMES);
    if !same.is_empty() {
        return mistake.hint(format!("Did you mean `{}`?", same.join("` or `")));
    }
    let schemas: Vec<&str> = {
        let mut schemas: Vec<&str> = tables.iter().map(|(schema, _)| schema.as_str()).collect();
        schemas.dedup();
        schemas
    };
    if let Some(schema) = schema
        && !tables.is_empty()
        && !schemas.contains(&schema)
    {
        let mistake = Mistake::new(format!("there is no schema `{schema}`")).placed(mistake.place);
        return match nearest(schema, &schemas) {
            Some(meant) => mistake.hint(format!("Did you mean `{meant}.{table}`?")),
            None => mistake.hint(format!("There are {}.", listed(schemas.into_iter()))),
        };
    }
    let known: Vec<String> = tables.iter().map(named).collect();
    let of_schema: Vec<&str> = known
        .iter()
        .map(String::as_str)
        .filter(|known| match (is_default, known.split_once('.')) {
            (true, None) => true,
            (false, Some((of, _))) => Some(of) == schema,
            _ => false,
        })
        .collect();
    let singular = table.to_lowercase();
    let plural = format!("{}s", singular.trim_end_matches('s'));
    let bare = |known: &&str| known.rsplit('.').next().map(str::to_owned);
    let meant = of_schema
        .iter()
        .find(|known| bare(known) == Some(plural.clone()))
        .copied()
        .map(str::to_owned)
        .or_else(|| {
            let words = [plain(table), plain(singular.trim_end_matches('s'))];
            let meant = words.iter().flat_map(|word| lookup(meanings::TABLES, word));
            meant
                .into_iter()
                .find(|meant| known.iter().any(|known| known == meant))
                .map(str::to_owned)
        })
        .or_else(|| {
            let names: Vec<String> = of_schema.iter().filter_map(bare).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let meant = nearest(table, &names)?;
            of_schema
                .iter()
                .find(|known| bare(known).as_deref() == Some(meant))
                .map(|known| (*known).to_owned())
        });
    match meant {
        Some(meant) => mistake.hint(format!("Did you mean `{meant}`?")),
        None => mistake.hint(all),
    }
}

/// The error of a function in FROM that is not there.
pub(crate) fn no_table_function(name: &str, query: &WrittenQuery) -> Mistake {
    let mistake = Mistake::new(format!("there is no table function `{name}`"))
        .near(query, &Evidence::Call(name));
    if query
        .names
        .tables
        .iter()
        .any(|(_, table)| table.eq_ignore_ascii_case(name))
    {
        return Mistake::new(format!("`{name}` is a table and takes no arguments"))
            .placed(mistake.place)
            .hint("Conditions stand in WHERE.");
    }
    if query.names.function(name, None).is_some() {
        return Mistake::new(format!("`{name}` gives a value, and FROM wants a table"))
            .placed(mistake.place)
            .hint(format!("SELECT {name}(...) shows it."));
    }
    let of_kind: Vec<&str> = query
        .names
        .functions
        .iter()
        .filter(|function| function.kind == FunctionKind::Table)
        .map(|function| function.name.as_str())
        .collect();
    match nearest(name, &of_kind) {
        Some(meant) => mistake.hint(format!("Did you mean `{meant}`?")),
        None if of_kind.is_empty() => mistake,
        None => mistake.hint(format!("There are {}.", listed(of_kind.into_iter()))),
    }
}

/// The error of a function that is not there.
pub(crate) fn no_function(
    name: &str,
    diagnostic: Option<&Diagnostic>,
    query: &WrittenQuery,
) -> Mistake {
    let mistake = Mistake::new(format!("there is no function `{name}`"))
        .near(query, &Evidence::At(at_span(diagnostic)))
        .near(query, &Evidence::Call(name));
    let is_window = mistake
        .place
        .is_some_and(|place| is_over(query, query.text.index_at(place)));
    if !is_window
        && query
            .names
            .function(name, Some(FunctionKind::Window))
            .is_some()
    {
        return Mistake::new(format!("`{name}` is a window function and needs OVER"))
            .placed(mistake.place)
            .hint(format!("{name}() OVER (PARTITION BY ... ORDER BY ...)."));
    }
    if query
        .names
        .function(name, Some(FunctionKind::Table))
        .is_some()
    {
        return Mistake::new(format!(
            "`{name}` gives a table, and a value is wanted here"
        ))
        .placed(mistake.place)
        .hint(format!("It stands in FROM: SELECT * FROM {name}(...)."));
    }
    let lower = name.to_lowercase();
    let is_here =
        |meant: &&str| meant.contains([' ', '(']) || query.names.function(meant, None).is_some();
    if let Some(meant) = lookup(meanings::FUNCTIONS, &lower)
        .into_iter()
        .find(is_here)
    {
        return mistake.hint(match meant.contains([' ', '(']) {
            true => format!("Here it is written {meant}."),
            false => format!("Did you mean `{meant}`?"),
        });
    }
    let of_kind = |is_wanted: fn(FunctionKind) -> bool| -> Vec<&str> {
        let functions = query.names.functions.iter();
        functions
            .filter(|f| is_wanted(f.kind))
            .map(|f| f.name.as_str())
            .collect()
    };
    let names = if is_window {
        of_kind(|kind| matches!(kind, FunctionKind::Window | FunctionKind::Aggregate))
    } else {
        of_kind(|kind| matches!(kind, FunctionKind::Scalar | FunctionKind::Aggregate))
    };
    let wanted = plain(name);
    let same = names.iter().find(|known| plain(known) == wanted).copied();
    match same.or_else(|| nearest_function(&lower, &names)) {
        Some(meant) => mistake.hint(format!("Did you mean `{meant}`?")),
        None => mistake.hint("\\df at the prompt, or SHOW FUNCTIONS, lists what there is."),
    }
}

/// A slip of the hand keeps the first letter, and is one of few in a long name: `mode` is not `md5`, and `year` is not `mean`.
fn nearest_function<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let alike: Vec<&str> = known
        .iter()
        .filter(|known| known.chars().next() == name.chars().next())
        .filter(|known| known.len().abs_diff(name.len()) <= 1)
        .copied()
        .collect();
    if name.len() < 4 {
        return None;
    }
    nearest(name, &alike).filter(|found| name.len() > 5 || is_one_slip(name, found))
}

/// True if two short names have the same letters in another order, or differ by one that is doubled or left out.
fn is_one_slip(a: &str, b: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    a.len() != b.len() || sorted(a) == sorted(b)
}

/// True if the call that begins at a token is followed by OVER.
fn is_over(query: &WrittenQuery, at: usize) -> bool {
    let (mut depth, mut next) = (0_usize, at + 1);
    while next < query.text.len() {
        if query.text.is(next, &Token::LParen) {
            depth += 1;
        } else if query.text.is(next, &Token::RParen) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return query.text.is_word(next + 1, "OVER");
            }
        }
        next += 1;
    }
    false
}

/// The error of a type that is not there.
pub(crate) fn no_type(name: &str, query: &WrittenQuery) -> Mistake {
    let bare = name.split(['(', ' ']).next().unwrap_or(name);
    let mistake =
        Mistake::new(format!("there is no type {name}")).near(query, &Evidence::Name(None, bare));
    match lookup(meanings::TYPES, &bare.to_lowercase()).first() {
        Some(meant) => mistake.hint(format!("{meant} holds the same.")),
        None => mistake.hint(
            "Types are VARCHAR, INTEGER, BIGINT, DECIMAL(18, 4), DOUBLE, BOOLEAN, DATE, TIMESTAMP, TIMESTAMPTZ, INTERVAL.",
        ),
    }
}
