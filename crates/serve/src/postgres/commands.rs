//! Statements that are about the conversation and not about the data: transactions, settings, cursors, COPY.
//!
//! Invariant: what is not known here is a query, and whoever runs queries says what is wrong with it. Nothing here lets a statement by that writes.

use super::copy::{self, CopyOrder};
use super::fault::{Fault, NOT_THERE, READ_ONLY};
use super::words::{Placed, Token, tokens};

/// Kind of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// A query, with the word that ends its answer.
    Query(&'static str),
    Begin,
    Commit,
    Rollback,
    /// COMMIT or ROLLBACK AND CHAIN: the next transaction begins where this one ends.
    Chain(&'static str),
    /// SAVEPOINT, RELEASE: a transaction that writes nothing has nothing to go back to.
    Savepoint(&'static str),
    RollbackTo,
    /// A value of a setting; none for its default.
    Set(String, Option<String>),
    /// A setting that gets its default back.
    Reset(String),
    ResetAll,
    Show(String),
    ShowAll,
    DiscardAll,
    /// A prepared statement by its name; none for all.
    Deallocate(Option<String>),
    /// A cursor by its name; none for all.
    Close(Option<String>),
    Declare(Box<DeclaredCursor>),
    Fetch(FetchOrder),
    Copy(Box<CopyOrder>),
    /// Something that changes nothing here.
    Nothing(&'static str),
    /// Something that is not done.
    Refused(Fault),
}

/// Cursor over a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeclaredCursor {
    pub(super) name: String,
    pub(super) sql: String,
    /// Byte that the query begins at.
    pub(super) from: usize,
    /// True if it outlives its transaction.
    pub(super) is_held: bool,
}

/// Rows that are wanted of a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FetchOrder {
    pub(super) cursor: String,
    /// Number of rows; none for all.
    pub(super) count: Option<u64>,
    /// True for MOVE, which passes rows over.
    pub(super) is_move: bool,
}

/// Words of `SHOW` that ask about tables and not about settings.
const SHOWN_BY_QUERY: [&str; 4] = ["tables", "columns", "functions", "create"];

/// First words of statements that change something and that the engine does not read.
const WRITING: [&str; 15] = [
    "lock",
    "vacuum",
    "analyze",
    "notify",
    "call",
    "do",
    "grant",
    "revoke",
    "checkpoint",
    "cluster",
    "reindex",
    "refresh",
    "comment",
    "security",
    "load",
];

/// Reads what kind of statement it is.
pub(super) fn read(sql: &str) -> Command {
    let placed = tokens(sql);
    let words = Words(&placed);
    match words.word(0) {
        "begin" => Command::Begin,
        "start" if words.word(1) == "transaction" => Command::Begin,
        "commit" | "end" if words.chains() => Command::Chain("COMMIT"),
        "commit" | "end" => Command::Commit,
        "rollback" | "abort" if words.chains() => Command::Chain("ROLLBACK"),
        "rollback" | "abort" => match words.has("to") {
            true => Command::RollbackTo,
            false => Command::Rollback,
        },
        "savepoint" => Command::Savepoint("SAVEPOINT"),
        "release" => Command::Savepoint("RELEASE"),
        "set" => set(&words),
        "reset" => match words.word(1) {
            "all" => Command::ResetAll,
            "session" => Command::Nothing("RESET"),
            name => Command::Reset(setting_name(name, words.word(2))),
        },
        "show" => match words.word(1) {
            "all" => Command::ShowAll,
            name if SHOWN_BY_QUERY.contains(&name) => Command::Query("SHOW"),
            name => Command::Show(setting_name(name, words.word(2))),
        },
        "discard" => match words.word(1) {
            "all" => Command::DiscardAll,
            "plans" => Command::Nothing("DISCARD PLANS"),
            "sequences" => Command::Nothing("DISCARD SEQUENCES"),
            _ => Command::Nothing("DISCARD TEMP"),
        },
        "deallocate" => {
            let at = if words.word(1) == "prepare" { 2 } else { 1 };
            Command::Deallocate(words.named(at))
        }
        "close" => Command::Close(words.named(1)),
        "declare" => declare(sql, &words),
        "fetch" => fetch(&words, false),
        "move" => fetch(&words, true),
        "copy" => match copy::read(sql, &placed) {
            Ok(order) => Command::Copy(Box::new(order)),
            Err(fault) => Command::Refused(fault),
        },
        "listen" => Command::Nothing("LISTEN"),
        "unlisten" => Command::Nothing("UNLISTEN"),
        "prepare" | "execute" => Command::Refused(
            Fault::new(NOT_THERE, "PREPARE and EXECUTE are not there as SQL")
                .hint("Prepare statements by the protocol, as every driver does."),
        ),
        verb if WRITING.contains(&verb) => Command::Refused(read_only(verb)),
        "explain" => Command::Query("EXPLAIN"),
        "select" | "with" => match words.written_within() {
            Some(what) => Command::Refused(read_only(what)),
            None => Command::Query("SELECT"),
        },
        _ => Command::Query("SELECT"),
    }
}

/// The fault of a statement that is no query.
pub(super) fn read_only(verb: &str) -> Fault {
    let verb = verb.to_uppercase();
    Fault::new(READ_ONLY, format!("{verb} is not a query, and SQL here only reads"))
        .hint("SELECT, WITH, VALUES, EXPLAIN and SHOW run. Tables change by `tillhouse sync` and `tillhouse rebuild` alone.")
}

struct Words<'a>(&'a [Placed]);

impl Words<'_> {
    fn token(&self, at: usize) -> Option<&Token> {
        self.0.get(at).map(|placed| &placed.token)
    }

    fn word(&self, at: usize) -> &str {
        self.token(at).and_then(Token::word).unwrap_or_default()
    }

    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|placed| placed.token.is_word(word))
    }

    /// True for AND CHAIN, and not for AND NO CHAIN.
    fn chains(&self) -> bool {
        self.word(self.0.len().saturating_sub(1)) == "chain" && !self.has("no")
    }

    /// The part of a query that would write: SELECT INTO, and a WITH of rows that are changed.
    fn written_within(&self) -> Option<&str> {
        let mut depth = 0_usize;
        for (at, placed) in self.0.iter().enumerate() {
            match &placed.token {
                Token::Sign('(') => {
                    depth += 1;
                    let is_with = at > 0 && matches!(self.word(at - 1), "as" | "materialized");
                    let verb = self.word(at + 1);
                    let is_change = matches!(
                        (verb, self.word(at + 2)),
                        ("insert" | "merge", "into") | ("delete", "from")
                    ) || (verb == "update"
                        && self.token(at + 2).and_then(Token::name).is_some());
                    if is_with && is_change {
                        return Some(verb);
                    }
                }
                Token::Sign(')') => depth = depth.saturating_sub(1),
                Token::Word(word) if depth == 0 && word == "into" => return Some("select into"),
                _ => {}
            }
        }
        None
    }

    /// A name, none for ALL.
    fn named(&self, at: usize) -> Option<String> {
        let name = self.token(at)?;
        (!name.is_word("all")).then(|| name.value())
    }
}

/// Settings that have names of several words.
fn setting_name(name: &str, next: &str) -> String {
    match (name, next) {
        ("time", "zone") => "timezone".to_owned(),
        ("transaction", "isolation") => "transaction_isolation".to_owned(),
        ("session", "authorization") => "session_authorization".to_owned(),
        _ => name.to_owned(),
    }
}

fn set(words: &Words<'_>) -> Command {
    let at = match words.word(1) {
        "local" => 2,
        "session" if !matches!(words.word(2), "characteristics" | "authorization") => 2,
        _ => 1,
    };
    let refused = |what: &str| {
        Command::Refused(Fault::new(
            "42501",
            format!("{what} cannot be changed in a session"),
        ))
    };
    match words.word(at) {
        // All transactions read, and see one run.
        "transaction" | "session" if words.word(at + 1) != "authorization" => {
            Command::Nothing("SET")
        }
        "session" if words.word(at + 2) == "default" => Command::Nothing("SET"),
        "session" => refused("the user"),
        "role" if words.word(at + 1) == "none" => Command::Nothing("SET"),
        "role" => refused("the user"),
        "constraints" => Command::Nothing("SET CONSTRAINTS"),
        "names" => Command::Set("client_encoding".to_owned(), value(words, at + 1)),
        "time" => Command::Set("timezone".to_owned(), value(words, at + 2)),
        "schema" if matches!(words.token(at + 1), Some(Token::Text(_))) => {
            Command::Set("search_path".to_owned(), value(words, at + 1))
        }
        _ => {
            let Some(name) = words.token(at).and_then(Token::name) else {
                return Command::Query("SET");
            };
            // A name may have a point in it: `pgbouncer.x`.
            let is_part = |token: &Token| token.name().is_some() || token.is_sign('.');
            let mut full = name.to_lowercase();
            let mut next = at + 1;
            while let Some(token) = words
                .token(next)
                .filter(|&token| is_part(token) && !token.is_word("to"))
            {
                full.push_str(&token.value().to_lowercase());
                next += 1;
            }
            let is_given = words
                .token(next)
                .is_some_and(|token| token.is_sign('=') || token.is_word("to"));
            match is_given {
                true => Command::Set(full, value(words, next + 1)),
                false => Command::Query("SET"),
            }
        }
    }
}

/// The value that begins at a token; none for DEFAULT.
fn value(words: &Words<'_>, at: usize) -> Option<String> {
    let rest = words.0.get(at..).unwrap_or_default();
    let parts: Vec<String> = rest
        .iter()
        .filter(|placed| !placed.token.is_sign(';'))
        .map(|placed| placed.token.value())
        .collect();
    match parts.as_slice() {
        [] => None,
        [one] if one.eq_ignore_ascii_case("default") => None,
        parts => Some(parts.join(" ").replace(" ,", ",").replace("- ", "-")),
    }
}

fn declare(sql: &str, words: &Words<'_>) -> Command {
    let name = words.token(1).and_then(Token::name);
    let begins = words
        .0
        .iter()
        .position(|placed| placed.token.is_word("for"));
    let query = begins.and_then(|at| words.0.get(at + 1));
    let (Some(name), Some(query), Some(begins)) = (name, query, begins) else {
        return Command::Refused(
            Fault::new("42601", "a cursor has a name and a query")
                .hint("Write DECLARE name CURSOR FOR SELECT ..."),
        );
    };
    let options = words.0.get(..begins).unwrap_or_default();
    let has = |word: &str| options.iter().any(|placed| placed.token.is_word(word));
    if has("scroll") && !has("no") {
        return Command::Refused(
            Fault::new(NOT_THERE, "a cursor here goes forward alone")
                .hint("Declare it without SCROLL."),
        );
    }
    if has("binary") {
        return Command::Refused(Fault::not_there("a binary cursor"));
    }
    Command::Declare(Box::new(DeclaredCursor {
        name: name.to_owned(),
        sql: sql.get(query.from..).unwrap_or_default().to_owned(),
        from: query.from,
        is_held: has("hold") && !has("without"),
    }))
}

fn fetch(words: &Words<'_>, is_move: bool) -> Command {
    let rest = words.0.get(1..).unwrap_or_default();
    let Some(cursor) = rest.last().and_then(|placed| placed.token.name()) else {
        return Command::Refused(Fault::new("42601", "FETCH wants the name of a cursor"));
    };
    let end = words.0.len() - 1;
    let mut before = words.0.get(1..end).unwrap_or_default();
    if let Some((last, rest)) = before.split_last()
        && matches!(last.token.word(), Some("from" | "in"))
    {
        before = rest;
    }
    let order = |count: Option<u64>| {
        Command::Fetch(FetchOrder {
            cursor: cursor.to_owned(),
            count,
            is_move,
        })
    };
    let tokens: Vec<&Token> = before.iter().map(|placed| &placed.token).collect();
    match tokens.as_slice() {
        [] => order(Some(1)),
        [Token::Word(word)] if matches!(word.as_str(), "next" | "forward") => order(Some(1)),
        [all] if all.is_word("all") => order(None),
        [forward, all] if forward.is_word("forward") && all.is_word("all") => order(None),
        [Token::Number(count)] => counted(count, order),
        [forward, Token::Number(count)] if forward.is_word("forward") => counted(count, order),
        _ => Command::Refused(
            Fault::new("55000", "a cursor here goes forward alone")
                .hint("FETCH, FETCH n, FETCH FORWARD n and FETCH ALL are there."),
        ),
    }
}

fn counted(count: &str, order: impl FnOnce(Option<u64>) -> Command) -> Command {
    match count.parse() {
        Ok(count) => order(Some(count)),
        Err(_) => Command::Refused(Fault::new("22023", "a number of rows is a whole number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_to(name: &str, value: Option<&str>) -> Command {
        Command::Set(name.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn what_tools_send_first_is_known() {
        for (sql, command) in [
            ("BEGIN", Command::Begin),
            ("BEGIN TRANSACTION READ ONLY", Command::Begin),
            (
                "START TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                Command::Begin,
            ),
            ("END", Command::Commit),
            ("ROLLBACK TO SAVEPOINT a", Command::RollbackTo),
            ("ROLLBACK", Command::Rollback),
            ("COMMIT AND CHAIN", Command::Chain("COMMIT")),
            ("rollback work and chain", Command::Chain("ROLLBACK")),
            ("COMMIT AND NO CHAIN", Command::Commit),
            (
                "WITH a AS (SELECT 1) SELECT \"into\", 'into' FROM a",
                Command::Query("SELECT"),
            ),
            ("DISCARD ALL", Command::DiscardAll),
            ("DEALLOCATE ALL", Command::Deallocate(None)),
            (
                "DEALLOCATE PREPARE s1",
                Command::Deallocate(Some("s1".to_owned())),
            ),
            ("CLOSE ALL", Command::Close(None)),
            ("UNLISTEN *", Command::Nothing("UNLISTEN")),
            (
                "SET extra_float_digits = 3",
                set_to("extra_float_digits", Some("3")),
            ),
            (
                "SET application_name = 'PostgreSQL JDBC Driver'",
                set_to("application_name", Some("PostgreSQL JDBC Driver")),
            ),
            (
                "SET SESSION TIME ZONE 'UTC'",
                set_to("timezone", Some("UTC")),
            ),
            ("SET TimeZone TO DEFAULT", set_to("timezone", None)),
            ("RESET TIME ZONE", Command::Reset("timezone".to_owned())),
            ("SET NAMES 'UTF8'", set_to("client_encoding", Some("UTF8"))),
            (
                "SET search_path TO unified, public",
                set_to("search_path", Some("unified, public")),
            ),
            ("SET SCHEMA 'hecone'", set_to("search_path", Some("hecone"))),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                Command::Nothing("SET"),
            ),
            ("SET SESSION AUTHORIZATION DEFAULT", Command::Nothing("SET")),
            (
                "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                Command::Nothing("SET"),
            ),
            (
                "SHOW TRANSACTION ISOLATION LEVEL",
                Command::Show("transaction_isolation".to_owned()),
            ),
            (
                "SHOW server_version",
                Command::Show("server_version".to_owned()),
            ),
            ("SHOW TABLES", Command::Query("SHOW")),
            ("RESET ALL", Command::ResetAll),
            ("-- c\nSELECT 1", Command::Query("SELECT")),
            ("EXPLAIN SELECT 1", Command::Query("EXPLAIN")),
            ("DELETE FROM t", Command::Query("SELECT")),
        ] {
            assert_eq!(read(sql), command, "{sql}");
        }
        for sql in [
            "CHECKPOINT",
            "COMMENT ON TABLE t IS 'x'",
            "SELECT * INTO t FROM sales",
            "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
            "WITH d AS MATERIALIZED (UPDATE t SET a = 1 RETURNING a) SELECT * FROM d",
            "WITH d AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM d",
        ] {
            let Command::Refused(fault) = read(sql) else {
                panic!("it would write: {sql}");
            };
            assert_eq!(fault.code, READ_ONLY, "{sql}");
        }
        for sql in [
            "SET ROLE admin",
            "SET SESSION AUTHORIZATION admin",
            "SET LOCAL ROLE x",
        ] {
            assert!(matches!(read(sql), Command::Refused(_)), "{sql}");
        }
    }

    #[test]
    fn cursors_go_forward() {
        let Command::Declare(cursor) =
            read("DECLARE \"C\" NO SCROLL CURSOR WITH HOLD FOR SELECT 1")
        else {
            panic!("it is a cursor");
        };
        assert_eq!(
            (cursor.name.as_str(), cursor.sql.as_str()),
            ("C", "SELECT 1")
        );
        assert!(cursor.is_held);
        for (sql, count) in [
            ("FETCH c", Some(1)),
            ("FETCH NEXT FROM c", Some(1)),
            ("FETCH FORWARD 50 FROM c", Some(50)),
            ("FETCH 7 IN c", Some(7)),
            ("FETCH ALL FROM c", None),
            ("FETCH FORWARD ALL FROM c", None),
        ] {
            let order = FetchOrder {
                cursor: "c".to_owned(),
                count,
                is_move: false,
            };
            assert_eq!(read(sql), Command::Fetch(order), "{sql}");
        }
        for sql in [
            "FETCH BACKWARD 5 FROM c",
            "FETCH PRIOR FROM c",
            "FETCH ABSOLUTE 1 FROM c",
            "FETCH -1 FROM c",
            "FETCH",
            "DECLARE c SCROLL CURSOR FOR SELECT 1",
            "DECLARE c",
        ] {
            assert!(matches!(read(sql), Command::Refused(_)), "{sql}");
        }
    }
}
