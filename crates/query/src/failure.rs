//! DataFusion's errors, made readable.
//!
//! Invariant: one line, the cause and not the layers around it; an error of ours that travelled through DataFusion comes out as
//! it went in.

use crate::spill::ROOM;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::error::DataFusionError as E;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use std::error::Error as StdError;
use tillhouse_lake::REPLACE_FILES;
use tillhouse_model::{Error, ErrorKind, Result};

/// Most names that an error lists.
const NAMES: usize = 12;
/// Longest error, in characters.
const LONGEST: usize = 600;

/// Turns what DataFusion says into one of our errors: kind, one line, and what to do where that is known.
pub fn into_error(error: DataFusionError) -> Error {
    if let Some(ours) = ours(&error) {
        return ours;
    }
    let root = error.find_root().message();
    if TOO_LARGE.iter().any(|sign| root.contains(sign)) {
        return overflow();
    }
    if root.contains("Cannot cast timezone to different timezone") {
        return Error::new(ErrorKind::Query, "a time is there twice, or never, on the clock of its zone").hint(
            "Clocks that are set forward or back leave an hour out or have it twice: write an instant with its offset, '2026-10-25T02:30:00+01:00'.",
        );
    }
    if let Some(error) = of_pattern(&root).or_else(|| of_filter(&root)) {
        return error;
    }
    match error.find_root() {
        E::ResourcesExhausted(why) if why.contains("disk space") => {
            Error::new(ErrorKind::Query, "the query would spill more than may be spilled")
                .because(shorten(why))
                .hint(ROOM)
        }
        E::ResourcesExhausted(_) => Error::new(ErrorKind::Query, "the query needs more memory than it may use")
            .because(shorten(&error.find_root().message()))
            .hint("Raise memory_limit in tillhouse.yaml, or ask for less at a time: a shorter period, fewer columns."),
        E::SchemaError(schema, _) => schema_error(schema),
        E::SQL(parser, _) => {
            let what = parser.to_string();
            let what = what.strip_prefix("sql parser error: ").unwrap_or(&what);
            Error::new(ErrorKind::Query, format!("the SQL cannot be read: {}", shorten(what)))
                .hint("Texts stand in single quotes, names in double ones; docs/sql.md has examples.")
        }
        E::IoError(io) => of_disk(io),
        E::ObjectStore(_) => unreadable(&error.find_root().message()),
        E::ParquetError(_) => unreadable(&error.find_root().message()),
        E::ArrowError(arrow, _) if matches!(**arrow, ArrowError::ParquetError(_)) => unreadable(&arrow.to_string()),
        E::ArrowError(arrow, _) if matches!(**arrow, ArrowError::IoError(..)) => match &**arrow {
            ArrowError::IoError(_, io) => of_disk(io),
            other => unreadable(&other.to_string()),
        },
        E::Execution(text) if is_of_spilling(text) => no_room(text),
        // Without the numbers: they may be somebody's.
        E::ArrowError(error, _) if matches!(**error, ArrowError::ArithmeticOverflow(_)) => overflow(),
        E::ArrowError(error, _) if matches!(**error, ArrowError::DivideByZero) => divided_by_zero(),
        E::ArrowError(error, _) if matches!(**error, ArrowError::CastError(_) | ArrowError::ParseError(_)) => {
            no_cast(&error.to_string())
        }
        E::Internal(_) => {
            let text = error.find_root().message();
            let text = text.split(" This issue was likely caused").next().unwrap_or(&text).trim_end_matches('.');
            Error::internal("the query engine failed").because(shorten(text)).hint(
                "Write the query in another way: the engine has a fault there. If it is none of yours, report it with the output of -vv.",
            )
        }
        root => planned(&root.message()),
    }
}

/// Signs of a number that does not fit, in the texts of errors that name no kind; the numbers in them are nobody's business.
const TOO_LARGE: [&str; 4] = [
    "is too large to store in a Decimal",
    "is too small to store in a Decimal",
    "overflow on abs(",
    "Arithmetic Overflow in",
];

/// Error of a query that cannot be planned or run, in words of its user, with what to do where that is known.
fn planned(message: &str) -> Error {
    const NO_FUNCTION: &str = "Invalid function ";
    const NO_SIGNATURE: &str = " failed to match any signature, errors: ";
    let message = shorten(message);
    let message = [
        "Internal error: ",
        "Execution error: ",
        "Compute error: ",
        "Error during planning: ",
    ]
    .iter()
    .fold(message.as_str(), |text, layer| {
        text.strip_prefix(layer).unwrap_or(text)
    });
    if let Some(rest) = message.strip_prefix(NO_FUNCTION) {
        // What it takes for a likely name is often nothing like it.
        let name = rest.split(". Did you mean").next().unwrap_or(rest);
        return Error::new(
            ErrorKind::Query,
            format!("there is no function {}", name.replace('\'', "`")),
        )
        .hint("`SHOW FUNCTIONS` lists them; docs/functions.md has Tillhouse's own.");
    }
    if let Some((function, why)) = message.split_once(NO_SIGNATURE) {
        let function = function.trim_start_matches("Function ").trim_matches('\'');
        let given = why
            .split("but received ")
            .nth(1)
            .and_then(|given| given.split(" (").next())
            .map_or_else(String::new, |given| format!(": {given}"));
        return Error::new(
            ErrorKind::Query,
            format!("{function} does not take arguments of these types{given}"),
        )
        .hint(
            "CAST(x AS TYPE) makes another type of a value; arrow_typeof(x) tells the one it has.",
        );
    }
    let error = Error::new(ErrorKind::Query, sentence(message));
    if message.starts_with("table ") && message.ends_with(" not found") {
        return error
            .hint("`SHOW TABLES` lists the tables, `SHOW COLUMNS FROM x` the columns of one.");
    }
    if message.contains("returned more than one row") {
        return error.hint("Where one value is wanted, a query gives one row: add LIMIT 1, or max(...) around its column.");
    }
    error
}

fn overflow() -> Error {
    Error::new(ErrorKind::Query, "a number does not fit its type")
        .hint("Calculate in a wider type: CAST(... AS DECIMAL(38, 4)).")
}

fn divided_by_zero() -> Error {
    Error::new(ErrorKind::Query, "a number is divided by zero")
        .hint("x / NULLIF(y, 0) is null where y is zero.")
}

fn no_cast(what: &str) -> Error {
    Error::new(ErrorKind::Query, sentence(&shorten(what)))
        .hint("Use a wider type, or TRY_CAST(x AS TYPE), which is null where a value does not fit.")
}

/// The error of a regular expression, wherever it was met.
fn of_pattern(text: &str) -> Option<Error> {
    let (_, why) = text.split_once("Regular expression did not compile: ")?;
    let hint = "Patterns are those of Rust's `regex`: without backreferences and look-around.";
    if why.starts_with("CompiledTooBig") {
        return Some(
            Error::new(ErrorKind::Query, "the regular expression is too large")
                .hint("Numbers of repetitions within each other multiply, (a{100}){100}: write `*` or `+` for them."),
        );
    }
    let why = why
        .rsplit_once("error: ")
        .map_or(why, |(_, why)| why)
        .replace("\\n", " ");
    let why = why.trim_end_matches(['~', ')', '"', ' ', '\n']);
    let why = why.split(" ~~~").next().unwrap_or(why);
    Some(
        Error::new(
            ErrorKind::Query,
            format!("the regular expression cannot be read: {}", shorten(why)),
        )
        .hint(hint),
    )
}

/// The text of a condition that failed while a file was read: the reader of Parquet wraps what it met as if it were the file's fault.
const OF_FILTER: &str = "Error evaluating filter predicate: ";

/// The error of a condition that failed while a file was read.
fn of_filter(text: &str) -> Option<Error> {
    let (_, why) = text.split_once(OF_FILTER)?;
    if why.contains("DivideByZero") {
        return Some(divided_by_zero());
    }
    if why.contains("ArithmeticOverflow") {
        return Some(overflow());
    }
    let (name, what) = match (
        why.split_once("CastError(\""),
        why.split_once("ParseError(\""),
    ) {
        (Some((_, what)), _) => ("Cast error", what),
        (None, Some((_, what))) => ("Parser error", what),
        (None, None) => {
            return Some(Error::new(
                ErrorKind::Query,
                format!("a condition fails: {}", shorten(why)),
            ));
        }
    };
    let what = what.split("\")").next().unwrap_or(what);
    Some(no_cast(&format!("{name}: {}", what.replace("\\\"", "\""))))
}

/// True if an error may be one of a data file that is missing or damaged.
pub(crate) fn is_of_data_file(error: &DataFusionError) -> bool {
    let root = error.find_root();
    let text = root.message();
    let is_of_reading = match root {
        E::ParquetError(_) | E::ObjectStore(_) | E::IoError(_) => true,
        E::ArrowError(arrow, _) => !matches!(
            **arrow,
            ArrowError::ArithmeticOverflow(_)
                | ArrowError::DivideByZero
                | ArrowError::CastError(_)
                | ArrowError::ParseError(_)
                | ArrowError::ComputeError(_)
        ),
        _ => false,
    };
    is_of_reading && !text.contains(OF_FILTER) && !is_of_spilling(&text) && ours(error).is_none()
}

/// The error of a data file, by its place in the store of local files.
pub(crate) fn in_file(file: &str, why: &str) -> Error {
    // The layers that the library puts around it say nothing.
    const LAYERS: [&str; 4] = [
        "Arrow: ",
        "Parquet argument error: ",
        "Parquet error: ",
        "External: ",
    ];
    let mut why = why;
    while let Some(inner) = LAYERS.iter().find_map(|layer| why.strip_prefix(layer)) {
        why = inner;
    }
    unreadable(why).at("file", format!("/{file}"))
}

/// A data file that is missing, damaged or cut.
fn unreadable(what: &str) -> Error {
    if is_of_spilling(what) {
        return no_room(what);
    }
    let missing = what.contains("not found") || what.contains("No such file");
    let message = if missing {
        "a data file is missing"
    } else {
        "a data file is damaged"
    };
    Error::new(ErrorKind::Storage, message)
        .because(shorten(what))
        .hint(format!(
            "{REPLACE_FILES} `tillhouse check` names the files that are lost."
        ))
}

/// Error of the disk, about data files or the spill folder.
fn of_disk(error: &std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let text = error.to_string();
    match error.kind() {
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => no_room(&text),
        Io::NotFound if is_of_spilling(&text) => no_room(&text),
        Io::PermissionDenied | Io::ReadOnlyFilesystem => Error::new(
            ErrorKind::Storage,
            "a file may not be read or written",
        )
        .because(shorten(&text))
        .hint(
            "Let the user who runs Tillhouse read the warehouse, and write to the folder for temporary files (TMPDIR).",
        ),
        _ => unreadable(&text),
    }
}

/// True if a text is about files that a query puts aside: nothing else of it is written to, so that a full disk is theirs too.
fn is_of_spilling(text: &str) -> bool {
    let text = text.to_lowercase();
    if ["no space left", "quota exceeded", "file too large"]
        .iter()
        .any(|sign| text.contains(sign))
    {
        return true;
    }
    // A warehouse may lie in a folder for temporary files too.
    let is_of_warehouse = text.contains(".parquet") || text.contains("_delta_log");
    let signs = [
        "spill",
        "temporary file",
        "temp file",
        "/.tmp",
        "/datafusion-",
    ];
    !is_of_warehouse && signs.iter().any(|sign| text.contains(sign))
}

fn no_room(what: &str) -> Error {
    Error::new(ErrorKind::Storage, "there is no room for what does not fit into memory").because(shorten(what)).hint(
        "What does not fit is put into the folder for temporary files: make room there, set TMPDIR to a folder that exists and has some, or raise \
         memory_limit in tillhouse.yaml.",
    )
}

/// Every batch of a result. For results known to be small; others are read as the stream they are.
pub async fn collect(stream: SendableRecordBatchStream) -> Result<Vec<RecordBatch>> {
    stream.try_collect().await.map_err(into_error)
}

/// Our own error somewhere below; rebuilt, because what travels through DataFusion is shared.
fn ours(error: &DataFusionError) -> Option<Error> {
    let mut at: &(dyn StdError + 'static) = error;
    loop {
        if let Some(found) = at.downcast_ref::<Error>() {
            return Some(copy(found));
        }
        if let Some(E::External(inner)) = at.downcast_ref::<E>()
            && let Some(found) = inner.downcast_ref::<Error>()
        {
            return Some(copy(found));
        }
        at = at.source()?;
    }
}

fn copy(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.message()).retryable(error.is_retryable());
    for (key, value) in error.context() {
        copy = copy.at(key, value.clone());
    }
    if let Some(hint) = error.hint_text() {
        copy = copy.hint(hint);
    }
    if let Some(cause) = StdError::source(error) {
        copy = copy.because(cause.to_string());
    }
    copy
}

fn schema_error(error: &SchemaError) -> Error {
    if let SchemaError::FieldNotFound {
        field,
        valid_fields,
    } = error
    {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or(&message);
        let what = first
            .trim_start_matches("Schema error: ")
            .replacen("No field named", "there is no column", 1)
            .replace(". Did you mean", ", did you mean");
        let mut names: Vec<String> = valid_fields
            .iter()
            .map(|f| f.name.clone())
            .filter(|n| !n.starts_with('_'))
            .collect();
        let more = names.len().saturating_sub(NAMES);
        names.truncate(NAMES);
        let mut error = Error::new(ErrorKind::Query, shorten(what.trim_end_matches(['.', '?'])));
        if !names.is_empty() && field.name != "*" {
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            error = error.hint(format!("Its columns are {}{more}.", names.join(", ")));
        }
        return error;
    }
    Error::new(ErrorKind::Query, sentence(&shorten(&error.to_string())))
}

/// One line, without the backtrace, not beyond a bearable length.
fn shorten(message: &str) -> String {
    let message = message
        .split(DataFusionError::BACK_TRACE_SEP)
        .next()
        .unwrap_or(message);
    let line: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST).chain("...".chars()).collect()
}

/// A message in our style: no full stop, and DataFusion's own names for our tables cut to what the
/// user wrote.
fn sentence(message: &str) -> String {
    message.trim_end_matches('.').replace("'tillhouse.", "'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_disk_that_fails_says_what_to_do_about_it() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let gone = |path: &str| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("No such file or directory at path {path:?}"),
            )
        };
        let parquet = |text: &str| E::ParquetError(Box::new(parquet_error(text)));
        for (error, message, hint) in [
            (
                E::IoError(full()),
                "there is no room for what does not fit into memory",
                "TMPDIR",
            ),
            (
                E::IoError(gone("/nowhere/.tmpAbC")),
                "there is no room for what does not fit into memory",
                "TMPDIR",
            ),
            (
                E::IoError(gone("/tmp/.tmpA/w/x.parquet")),
                "a data file is missing",
                "tillhouse check",
            ),
            (
                parquet("Restored data doesn't match checksum"),
                "a data file is damaged",
                "--full",
            ),
            (
                parquet("IO error: No space left on device (os error 28)"),
                "there is no room for what does not fit into memory",
                "TMPDIR",
            ),
            (
                E::IoError(io::Error::from_raw_os_error(27)),
                "there is no room for what does not fit into memory",
                "TMPDIR",
            ),
            (
                E::IoError(io::ErrorKind::PermissionDenied.into()),
                "a file may not be read or written",
                "user who runs",
            ),
        ] {
            let error = into_error(error);
            assert_eq!(
                (error.kind(), error.message()),
                (ErrorKind::Storage, message),
                "{error:?}"
            );
            assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
        }
    }

    #[test]
    fn what_cannot_be_planned_is_said_in_words_of_its_user() {
        for (text, message, hint) in [
            (
                "Invalid function 'foo'. Did you mean 'pow'?",
                "there is no function `foo`",
                "SHOW FUNCTIONS",
            ),
            (
                "Internal error: Function 'sum' failed to match any signature, errors: Error during planning: Function 'sum' requires Decimal, but received String (DataType: Utf8View).,Error",
                "sum does not take arguments of these types: String",
                "CAST",
            ),
            (
                "table 'tillhouse.unified.x' not found",
                "table 'unified.x' not found",
                "SHOW TABLES",
            ),
            (
                "Scalar subquery returned more than one row",
                "Scalar subquery returned more than one row",
                "LIMIT 1",
            ),
            (
                "failed to call 'regex_match_dyn_scalar' Compute error: Regular expression did not compile: CompiledTooBig(10485760)",
                "the regular expression is too large",
                "multiply",
            ),
            (
                "Regular expression did not compile: Syntax(\n~~~\nregex parse error:\n    (((\n      ^\nerror: unclosed group\n~~~~~~\n)",
                "the regular expression cannot be read: unclosed group",
                "Rust",
            ),
        ] {
            let error = into_error(E::Execution(text.to_owned()));
            assert_eq!(error.message(), message);
            assert!(
                error.hint_text().is_some_and(|text| text.contains(hint)),
                "{error:?}"
            );
        }
        let error = into_error(E::Plan("no idea".to_owned()));
        assert_eq!((error.message(), error.hint_text()), ("no idea", None));
    }

    #[test]
    fn numbers_and_texts_that_do_not_fit_say_what_to_do() {
        for (error, hint) in [
            (ArrowError::DivideByZero, "NULLIF"),
            (
                ArrowError::CastError("Can't cast value 3000000000 to type Int32".to_owned()),
                "TRY_CAST",
            ),
            (ArrowError::ParseError("no number".to_owned()), "TRY_CAST"),
            (
                ArrowError::ArithmeticOverflow("too large".to_owned()),
                "wider",
            ),
        ] {
            let error = into_error(E::ArrowError(Box::new(error), None));
            assert_eq!(error.kind(), ErrorKind::Query);
            assert!(
                error.hint_text().is_some_and(|text| text.contains(hint)),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_condition_that_fails_while_a_file_is_read_is_no_damage() {
        let of = |what: &str| {
            let text = format!("Compute error: {OF_FILTER}{what}");
            let error = E::ParquetError(Box::new(parquet_error(&text)));
            assert!(!is_of_data_file(&error), "{text}");
            into_error(error)
        };
        for (what, message, hint) in [
            (
                "ArrowError(DivideByZero, Some(\"\"))",
                "a number is divided by zero",
                "NULLIF",
            ),
            (
                "ArrowError(ArithmeticOverflow(\"1 * 2\"), None)",
                "a number does not fit its type",
                "wider",
            ),
            (
                "ArrowError(CastError(\"Cannot cast string 'x' to value of Int32 type\"), Some(\"\"))",
                "Cast error: Cannot cast string 'x' to value of Int32 type",
                "TRY_CAST",
            ),
        ] {
            let error = of(what);
            assert_eq!(
                (error.kind(), error.message()),
                (ErrorKind::Query, message),
                "{error:?}"
            );
            assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
        }
        assert!(
            of("Execution(\"no such thing\")")
                .message()
                .starts_with("a condition fails: ")
        );
        assert!(is_of_data_file(&E::ParquetError(Box::new(parquet_error(
            "Data corruption detected"
        )))));
    }

    fn parquet_error(text: &str) -> datafusion::parquet::errors::ParquetError {
        datafusion::parquet::errors::ParquetError::General(text.to_owned())
    }
}
