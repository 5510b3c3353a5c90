//! Errors of texts and lists that are larger than a column can hold.
//!
//! Invariant: whichever library notices it, and however it says so, the error is the same, and names the bytes where they are known.

use datafusion::common::{DataFusionError, Result};
use tillhouse_model::{Error, ErrorKind};

/// Texts of the panics, whole.
const WHOLE: [&str; 3] = ["overflow", "usize overflow", "capacity overflow"];
/// A part of all others, and of the errors that some functions give instead.
const PART: &str = "offset overflow";
/// True for the text of a panic about it.
pub(crate) fn is_of_panic(text: &str) -> bool {
    WHOLE.contains(&text) || text.contains(PART)
}

/// The error that an engine's error is, where a column became too large.
pub(crate) fn of_text(text: &str) -> Option<Error> {
    let wanted = text
        .split_once("Offset overflow error: ")
        .and_then(|(_, bytes)| {
            bytes
                .split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        });
    let is_panic = WHOLE
        .iter()
        .any(|whole| text.contains(&format!("panicked with message \"{whole}\"")));
    (wanted.is_some() || is_panic || text.to_lowercase().contains(PART)).then(|| too_large(wanted))
}

/// Bytes of the texts that a column of them holds.
const LARGEST: usize = (1 << 31) - 1;

/// Errors where a column of texts would take more bytes than it holds, before any of them is taken.
pub(crate) fn check_bytes(bytes: usize) -> Result<()> {
    if bytes <= LARGEST {
        return Ok(());
    }
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    Err(DataFusionError::External(Box::new(too_large(Some(bytes)))))
}

/// Error of a column that is too large, with the bytes that it would have where they are known.
pub(crate) fn too_large(bytes: Option<u64>) -> Error {
    let wanted = bytes.map_or_else(String::new, |bytes| {
        format!(" would take {} MiB, and", bytes >> 20)
    });
    let message = format!(
        "texts or lists of one step of the query{wanted} are larger than a column of 2 GiB holds"
    );
    Error::new(ErrorKind::Query, message).hint(
        "Make shorter ones: fewer repetitions, fewer elements of a list, groups of fewer rows; or cut them first with left(x, n).",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_columns_that_are_too_large_are_told_from_others() {
        for (text, wanted) in [
            ("Arrow error: Offset overflow error: 2412000000", "2300 MiB"),
            ("Execution error: byte array offset overflow", "2 GiB"),
            (
                "Join Error: task 9 panicked with message \"overflow\"",
                "2 GiB",
            ),
        ] {
            let error = of_text(text).unwrap();
            assert!(error.message().contains(wanted), "{text}: {error:?}");
            assert!(error.hint_text().unwrap().contains("left(x, n)"));
        }
        for text in [
            "Arrow error: Arithmetic overflow: Overflow happened on: 1 + 2",
            "task 9 panicked with message \"attempt to add with overflow\"",
        ] {
            assert!(of_text(text).is_none(), "{text}");
        }
    }
}
