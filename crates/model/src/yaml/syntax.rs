//! What the YAML library says of a file that is no YAML, said to the people who write it.
//!
//! Invariant: what to do follows; the library's own words get through only where they name what is wrong with the text.

use super::fault::{Fault, What};
use super::node::Location;
use serde_saphyr::Error as Yaml;

const KEEP_ONE: &str = "Keep one of them: a key may stand in a map once.";

/// The fault of a key that stands in its map before; the library tells `1` from `"1"`, and whoever reads the map does not.
pub(super) fn twice(key: &str, at: Location) -> Fault {
    Fault::new(What::Syntax { text: format!("the key `{key}` stands here twice"), hint: KEEP_ONE }).at(at)
}

/// The fault of a text that the library refuses.
pub(super) fn fault(error: &Yaml, text: &str) -> Fault {
    let at = error.location().map_or(Location::UNKNOWN, Location::of);
    let line = line_of(text, at);
    let (says, hint) = match error.without_snippet() {
        Yaml::DuplicateMappingKey { key: Some(key), .. } => (format!("the key `{key}` stands here twice"), KEEP_ONE),
        Yaml::DuplicateMappingKey { .. } => ("a key stands here twice".into(), KEEP_ONE),
        Yaml::MultipleDocuments { .. } => (
            "a second document begins here, and one is read".into(),
            "Write one document a file: take `---` and what follows out.",
        ),
        Yaml::UnknownAnchor { .. } => (
            "`*` refers to a name that no `&` before it gives".into(),
            "Name the value with &NAME before, or put the text in quotes: '*...'.",
        ),
        Yaml::MergeValueNotMapOrSeqOfMaps { .. } | Yaml::MergeKeyNotAllowed { .. } => (
            "`<<` wants keys and values, or a list of such".into(),
            "Write `<<: *NAME`, where &NAME names a map before.",
        ),
        Yaml::InvalidScalar { .. } | Yaml::TaggedScalarCannotDeserializeIntoString { .. } => {
            ("the value is not what its tag (`!!...`) says".into(), "Take the tag out: no value here needs one.")
        }
        Yaml::NullIntoString { .. } => {
            ("a key is empty here".into(), "Write a name before the `:`, in quotes if it is `null` or `~`.")
        }
        Yaml::Unexpected { expected, .. } if expected.contains("string") => {
            ("a key is a list or a map here, which no key may be".into(), "Write keys as plain names: key: value.")
        }
        Yaml::Eof { .. } => ("the file ends where a value is expected".into(), "Write key: value, one a line."),
        Yaml::AliasReplayLimitExceeded { .. }
        | Yaml::AliasExpansionLimitExceeded { .. }
        | Yaml::AliasReplayStackDepthExceeded { .. }
        | Yaml::RecursiveReferencesRequireWeakTypes { .. } => {
            ("aliases (`*`) make this too large, or go in circles".into(), "Write the values out instead.")
        }
        other => scanned(&other.to_string(), line, text),
    };
    Fault::new(What::Syntax { text: says, hint }).at(at)
}

/// What the library's scanner says, and what most often is behind it.
fn scanned(says: &str, line: &str, text: &str) -> (String, &'static str) {
    let says = says.lines().next().unwrap_or_default();
    // The library repeats the place, which is told apart.
    let says = says.split(" at line ").next().unwrap_or(says).trim_end_matches([':', ' ']);
    let lower = says.to_lowercase();
    let in_a_variable = line.split_once("${").is_some_and(|(_, rest)| rest.contains(": ") || rest.contains(" #"));
    let in_flow = line.split_once("${").is_some_and(|(before, _)| before.contains(['{', '[']));
    let told = |text: &str, hint| (text.to_owned(), hint);
    if in_flow {
        return told(
            "within { } and [ ] the braces of a variable end the map around it",
            "Within { } and [ ] write a variable in quotes: { key: \"${NAME}\" }.",
        );
    }
    if in_a_variable {
        return told(
            "`: ` and ` #` within a variable's default mean something else without quotes",
            "Put the value in quotes: key: \"${NAME:-a: b #c}\".",
        );
    }
    if lower.contains("tab") || line.trim_start_matches(' ').starts_with('\t') {
        return told("a tab stands where YAML wants blanks", "Indent with blanks: put two of them for each tab.");
    }
    if lower.contains("simple key expected")
        || lower.contains("could not find expected ':'")
        || lower.contains("expected ':'")
    {
        return told("a `:` is missing after the key", "Write `key: value`, with a blank after the `:`.");
    }
    if lower.contains("did not find expected key") || lower.contains("indentation") && !lower.contains("quoted") {
        return told(
            "this line is indented differently from its neighbours",
            "Indent keys that belong together by the same number of blanks.",
        );
    }
    if lower.contains("mapping values are not allowed") {
        return told("a second `: ` stands in the value", "Put a value with `: ` in it in quotes: key: \"a: b\".");
    }
    if lower.contains("unclosed quote") || lower.contains("quoted scalar") && !lower.contains("trailing") {
        return told("a quote is opened and never closed", "End the text with the quote that it begins with.");
    }
    if lower.contains("trailing content") {
        return told(
            "something stands after the closing quote",
            "Put the whole value into the quotes, a quote in it doubled ('it''s').",
        );
    }
    if lower.contains("bracket") || lower.contains("flow") {
        return told("a `{` or `[` is not closed, or closed by the other", "Close { with } and [ with ].");
    }
    if lower.contains("unexpected character") {
        return told(
            "the value begins with a character that means something else in YAML",
            "Put the value in quotes: key: \"@value\".",
        );
    }
    if lower.contains("unexpected end of input") || text.trim().is_empty() {
        return told("the file ends where a value is expected", "Write key: value, one a line.");
    }
    (
        format!("this is not YAML: {says}"),
        "Write `key: value`, one a line, and put values with special characters in quotes.",
    )
}

fn line_of(text: &str, at: Location) -> &str {
    let line = usize::try_from(at.line()).ok().and_then(|line| line.checked_sub(1));
    line.and_then(|line| text.lines().nth(line)).unwrap_or_default()
}
