//! DataFusion's errors, made readable.
//!
//! Invariant: one line, the cause and not the layers around it; an error of ours that travelled through DataFusion comes out as
//! it went in.

use crate::mistakes::{self, WrittenQuery, shorten};
use crate::spill::ROOM;
use crate::unfit;
use arrow::array::{RecordBatch, StringArray};
use arrow::compute::kernels::regexp::regexp_is_match_scalar;
use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::error::DataFusionError as E;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use std::error::Error as StdError;
use tillhouse_lake::{LET_READ, REPLACE_FILES, is_denied};
use tillhouse_model::{Error, ErrorKind, Result};

/// Turns what DataFusion says into one of our errors: kind, one line, and what to do where that is known.
pub fn into_error(error: DataFusionError) -> Error {
    explain(&error, &WrittenQuery::default())
}

/// As [`into_error`], of a query that somebody wrote: with its place in the text and what is likely meant.
pub(crate) fn explain(error: &DataFusionError, query: &WrittenQuery) -> Error {
    if let Some(ours) = ours(error) {
        return query.of_ours(ours);
    }
    let root = error.find_root().message();
    if let Some(error) = unfit::of_text(&root) {
        return error;
    }
    if TOO_LARGE.iter().any(|sign| root.contains(sign)) {
        return mistakes::overflow(query);
    }
    if root.contains("Cannot cast timezone to different timezone") {
        return Error::new(ErrorKind::Query, "a time is there twice, or never, on the clock of its zone").hint(
            "Clocks that are set forward or back leave an hour out or have it twice: write an instant with its offset, '2026-10-25T02:30:00+01:00'.",
        );
    }
    if let Some(error) = mistakes::of_zone(&root) {
        return query.of_ours(error);
    }
    if let Some(error) = of_pattern(&root).or_else(|| of_filter(&root, query)) {
        return error;
    }
    let diagnostic = error.diagnostic();
    match error.find_root() {
        E::ResourcesExhausted(why) if why.contains("disk space") => {
            Error::new(ErrorKind::Query, "the query would spill more than may be spilled")
                .because(shorten(why))
                .hint(ROOM)
        }
        E::ResourcesExhausted(_) => Error::new(ErrorKind::Query, "the query needs more memory than it may use")
            .because(shorten(&error.find_root().message()))
            .hint("Raise memory_limit in tillhouse.yaml, or ask for less at a time: a shorter period, fewer columns."),
        E::SchemaError(schema, _) => mistakes::of_schema(schema, diagnostic, query),
        E::SQL(parser, _) => mistakes::of_parser(parser, query),
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
        E::ArrowError(error, _) if matches!(**error, ArrowError::ArithmeticOverflow(_)) => mistakes::overflow(query),
        E::ArrowError(error, _) if matches!(**error, ArrowError::DivideByZero) => mistakes::divided_by_zero(query),
        E::ArrowError(error, _) => mistakes::of_text(&error.to_string(), diagnostic, query),
        // Of a query that somebody wrote it is that query's form; of ours it is a fault.
        E::Internal(text) if !query.is_written() => {
            let text = text.split(" This issue was likely caused").next().unwrap_or(text);
            Error::internal("the query engine failed").because(shorten(text.trim_end_matches('.')))
        }
        root => mistakes::of_text(&root.message(), diagnostic, query),
    }
}

/// Signs of a number that does not fit, in the texts of errors that name no kind; the numbers in them are nobody's business.
const TOO_LARGE: [&str; 4] = [
    "is too large to store in a Decimal",
    "is too small to store in a Decimal",
    "overflow on abs(",
    "Arithmetic Overflow in",
];

/// The words before what is wrong with a regular expression.
const NOT_COMPILED: &str = "Regular expression did not compile: ";

/// The reason why a pattern cannot be compiled, where a function named the pattern in its place (`regexp_count`). `is_shown` is true of a text as Rust prints it.
fn reason_of(said: &str, is_shown: bool) -> Option<String> {
    if ["CompiledTooBig", "Syntax("]
        .iter()
        .any(|reason| said.starts_with(reason))
    {
        return None;
    }
    let pattern = match is_shown {
        true => said
            .split("\")")
            .next()
            .unwrap_or(said)
            .replace("\\\\", "\\")
            .replace("\\\"", "\""),
        false => said.to_owned(),
    };
    let nothing = StringArray::from(Vec::<&str>::new());
    let error = regexp_is_match_scalar(&nothing, &pattern, None).err()?;
    let text = error.to_string();
    text.split_once(NOT_COMPILED).map(|(_, why)| why.to_owned())
}

/// The error of a regular expression beyond the limit of the library, wherever it was met.
fn pattern_too_large() -> Error {
    Error::new(ErrorKind::Query, "the regular expression is too large").hint(
        "It may take 10 MiB once it is made ready. Numbers of repetitions within each other multiply, (a{100}){100}: write `*` or `+` for them, and a long list of \
         texts as x IN ('a', 'b').",
    )
}

/// The error of a regular expression, wherever it was met.
fn of_pattern(text: &str) -> Option<Error> {
    if text.contains("Compiled regex exceeds size limit") {
        return Some(pattern_too_large());
    }
    let (_, said) = text.split_once(NOT_COMPILED)?;
    let reason = reason_of(said, text.contains(OF_FILTER));
    let why = reason.as_deref().unwrap_or(said);
    let hint = "Patterns are those of Rust's `regex`: without backreferences and look-around.";
    if why.starts_with("CompiledTooBig") {
        return Some(pattern_too_large());
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
fn of_filter(text: &str, query: &WrittenQuery) -> Option<Error> {
    let (_, why) = text.split_once(OF_FILTER)?;
    if why.contains("DivideByZero") {
        return Some(mistakes::divided_by_zero(query));
    }
    if why.contains("ArithmeticOverflow") {
        return Some(mistakes::overflow(query));
    }
    let what = why
        .split_once("CastError(\"")
        .or_else(|| why.split_once("ParseError(\""));
    let Some((_, what)) = what else {
        // The error is there as Rust prints it; what it says stands in quotes.
        let said = why.split('"').nth(1).unwrap_or(why);
        let message = format!("a condition fails: {}", shorten(said));
        return Some(Error::new(ErrorKind::Query, message));
    };
    let what = what.split("\")").next().unwrap_or(what);
    Some(mistakes::of_text(&what.replace("\\\"", "\""), None, query))
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

/// A data file that is missing, damaged or cut, or may not be read.
fn unreadable(what: &str) -> Error {
    if is_of_spilling(what) {
        return no_room(what);
    }
    if is_denied(what) {
        // The library's words before it say nothing of the file.
        let at = what.find("Unable to open file").unwrap_or_default();
        let what = what.get(at..).unwrap_or(what);
        return Error::new(
            ErrorKind::Storage,
            "a data file may not be read by the user that runs this",
        )
        .because(shorten(what))
        .hint(LET_READ);
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
                parquet(
                    "External: Generic LocalFileSystem error: Unable to open file /w/x.parquet: Permission denied (os error 13)",
                ),
                "a data file may not be read by the user that runs this",
                "move and delete nothing",
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
                "`sum` does not take varchar",
                "CAST",
            ),
            (
                "table 'tillhouse.unified.x' not found",
                "there is no table `x`",
                "SHOW TABLES",
            ),
            (
                "Scalar subquery returned more than one row",
                "a query that stands for one value gave several rows",
                "LIMIT 1",
            ),
            (
                "failed to call 'regex_match_dyn_scalar' Compute error: Regular expression did not compile: CompiledTooBig(10485760)",
                "the regular expression is too large",
                "multiply",
            ),
            (
                "External error: Compiled regex exceeds size limit of 10485760 bytes.",
                "the regular expression is too large",
                "10 MiB",
            ),
            (
                "Compute error: Regular expression did not compile: (a{1000}){1000}",
                "the regular expression is too large",
                "multiply",
            ),
            (
                "Error evaluating filter predicate: ArrowError(ComputeError(\"Regular expression did not compile: (\\\\d{1000}){1000}\"), Some(\"\"))",
                "the regular expression is too large",
                "multiply",
            ),
            (
                "Compute error: Regular expression did not compile: (a",
                "the regular expression cannot be read: unclosed group",
                "Rust",
            ),
            (
                "Compute error: Regular expression did not compile: (?=a)b",
                "the regular expression cannot be read: look-around, including look-ahead and look-behind, is not supported",
                "look-around",
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
                "a text of the data is no whole number",
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
