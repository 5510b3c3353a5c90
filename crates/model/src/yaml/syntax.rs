//! Errors of the YAML library about a file that is no YAML, said to the people who write it.
//!
//! Invariant: what to do follows; the library's own words get through only where they name what is wrong with the text.

use super::fault::{YamlFault, YamlFaultKind};
use super::node::{FileLocation, YamlNode};
use super::recovery::FaultyToken;
use serde_saphyr::Error as Yaml;
use serde_saphyr::budget::BudgetBreach as Breach;

const UNCLOSED_QUOTE: &str = "a quote is opened and never closed";
const KEEP_ONE: &str = "Keep one of them: a key may stand in a map once.";

/// The fault of a key that stands in its map before; the library tells `1` from `"1"`, and whoever reads the map does not.
pub(super) fn twice(key: &str, at: FileLocation) -> YamlFault {
    YamlFault::new(YamlFaultKind::Syntax {
        text: format!("the key `{key}` stands here twice"),
        hint: KEEP_ONE,
    })
    .at(at)
}

/// Text that the library refuses: the fault, and the token that can be blanked out to read on.
#[derive(Debug)]
pub(super) struct RefusedText {
    pub(super) fault: YamlFault,
    pub(super) token: Option<FaultyToken>,
}

/// The token that an error is about; `None` where nobody can tell what is meant behind it.
fn token_of(error: &Yaml) -> Option<FaultyToken> {
    match error.without_snippet() {
        Yaml::InvalidScalar { .. }
        | Yaml::TaggedScalarCannotDeserializeIntoString { .. }
        | Yaml::InvalidBinaryBase64 { .. }
        | Yaml::BinaryNotUtf8 { .. }
        | Yaml::UnsupportedTag { .. }
        | Yaml::TaggedStructFieldName { .. } => Some(FaultyToken::Tag),
        Yaml::UnknownAnchor { .. } => Some(FaultyToken::Alias),
        Yaml::MultipleDocuments { .. } => Some(FaultyToken::Document),
        other => is_of_tags(&other.to_string().to_lowercase()).then_some(FaultyToken::Tag),
    }
}

/// The fault of a text that the library refuses.
pub(super) fn fault(error: &Yaml, text: &str) -> RefusedText {
    let mut at = error
        .location()
        .map_or(FileLocation::UNKNOWN, FileLocation::of);
    let line = line_of(text, at);
    let (says, hint) = match error.without_snippet() {
        Yaml::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("the key `{key}` stands here twice"), KEEP_ONE)
        }
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
        Yaml::InvalidScalar { .. }
        | Yaml::TaggedScalarCannotDeserializeIntoString { .. }
        | Yaml::InvalidBinaryBase64 { .. }
        | Yaml::BinaryNotUtf8 { .. } => not_what_its_tag_says(),
        // Not shown: it may be a secret that begins with `!`.
        Yaml::UnsupportedTag { tag, .. }
            if !tag.contains("yaml.org,2002:") && !tag.starts_with("!!") =>
        {
            tagged()
        }
        Yaml::UnsupportedTag { .. } | Yaml::TaggedStructFieldName { .. } => not_what_its_tag_says(),
        Yaml::NullIntoString { .. } => (
            "a key is empty here".into(),
            "Write a name before the `:`, in quotes if it is `null` or `~`.",
        ),
        Yaml::Unexpected { expected, .. } if expected.contains("string") => (
            "a key is a list or a map here, which no key may be".into(),
            "Write keys as plain names: key: value.",
        ),
        Yaml::Eof { .. } => (
            "the file ends where a value is expected".into(),
            "Write key: value, one a line.",
        ),
        Yaml::AliasReplayLimitExceeded { .. }
        | Yaml::AliasExpansionLimitExceeded { .. }
        | Yaml::AliasReplayStackDepthExceeded { .. }
        | Yaml::RecursiveReferencesRequireWeakTypes { .. } => (
            "aliases (`*`) make this too large, or go in circles".into(),
            "Write the values out instead.",
        ),
        Yaml::Budget { breach, .. } => match breach {
            Breach::Depth { .. } => too_deep(),
            _ => too_large(),
        },
        // Some breaches come as a text.
        other => match other.to_string() {
            says if says.contains("budget breached") => too_large(),
            says if says.contains("recursion limit") => too_deep(),
            says => scanned(&says, line, text),
        },
    };
    if says == UNCLOSED_QUOTE {
        at = unclosed_quote(text).unwrap_or(at);
    }
    RefusedText {
        fault: YamlFault::new(YamlFaultKind::Syntax { text: says, hint }).at(at),
        token: token_of(error),
    }
}

/// The fault of characters that no text file has; the library takes them for signs of its own.
pub(super) fn unprintable(text: &str) -> Option<YamlFault> {
    let is_wrong = |c: char| {
        matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}')
            || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    let (at, found) = text.char_indices().find(|(_, c)| is_wrong(*c))?;
    let before = text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    let place = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let at = FileLocation::new(place(before.matches('\n').count() + 1), place(column));
    let (text, hint) = match found {
        '\0' => (
            "the file is no text, or not in UTF-8: a NUL character stands here".to_owned(),
            "Save it as UTF-8 in the editor it was written with.",
        ),
        other => (
            format!(
                "a character that no text has stands here: U+{:04X}",
                u32::from(other)
            ),
            "Take it out; within double quotes it can be written as an escape, like \"\\x1b\".",
        ),
    };
    Some(YamlFault::new(YamlFaultKind::Syntax { text, hint }).at(at))
}

/// The fault of the first value with a tag that the library obeys, as `!!binary` or `!!int`: it would make something else of what is written.
pub(super) fn obeyed_tag(root: &YamlNode, text: &str) -> Option<RefusedText> {
    if !text.contains('!') {
        return None;
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut found = tag_before(&lines, root.defined);
    root.each(&mut Vec::new(), &mut |_, _, node| {
        if found.is_none() {
            found = tag_before(&lines, node.defined);
        }
    });
    let (text, hint) = not_what_its_tag_says();
    Some(RefusedText {
        fault: YamlFault::new(YamlFaultKind::Syntax { text, hint }).at(found?),
        token: Some(FaultyToken::Tag),
    })
}

/// The place of the tag of a value that begins at a place, or right behind its tag.
fn tag_before(lines: &[&str], at: FileLocation) -> Option<FileLocation> {
    let row = usize::try_from(at.line()).ok()?.checked_sub(1)?;
    let column = usize::try_from(at.column()).ok()?.checked_sub(1)?;
    let line = lines.get(row)?;
    let here = line
        .char_indices()
        .nth(column)
        .map_or(line.len(), |(at, _)| at);
    if line.get(here..)?.starts_with('!') {
        return Some(at);
    }
    // On the line before, where it stands alone or behind a key.
    let is_passed = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let (row, before) = match line.get(..here)? {
        blank if blank.trim().is_empty() => {
            let (row, line) = (0..row).rev().find_map(|row| {
                lines
                    .get(row)
                    .copied()
                    .filter(|line| !is_passed(line))
                    .map(|line| (row, line))
            })?;
            (row, line.split_once(" #").map_or(line, |(line, _)| line))
        }
        before => (row, before),
    };
    let mut rest = before.trim_end();
    loop {
        let start = last_word(rest);
        let token = rest.get(start..)?;
        if token.starts_with('&') {
            rest = rest.get(..start)?.trim_end();
            continue;
        }
        let is_tag =
            token.starts_with('!') && !token.contains(['"', '\'']) && !token.ends_with(':');
        let place = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        return is_tag.then(|| {
            let column = before.get(..start).unwrap_or_default().chars().count() + 1;
            FileLocation::new(place(row + 1), place(column))
        });
    }
}

/// True for a message of the library's scanner about a tag; it is in small letters.
fn is_of_tags(says: &str) -> bool {
    says.contains(" tag") || says.contains("handle")
}

/// The beginning of the word that ends a text: a tag, an anchor, or a value. A tag within `<` and `>` may have in it what ends any other.
fn last_word(text: &str) -> usize {
    let verbatim = text.ends_with('>').then(|| text.rfind("!<")).flatten();
    let is_whole = |start: &usize| {
        text.get(*start..)
            .is_some_and(|tag| !tag.contains(char::is_whitespace))
    };
    verbatim.filter(is_whole).unwrap_or_else(|| {
        text.rfind(|c: char| c.is_whitespace() || matches!(c, '[' | '{' | ','))
            .map_or(0, |at| at + 1)
    })
}

fn too_deep() -> (String, &'static str) {
    (
        "lists and maps stand too deeply within each other here".into(),
        "No key of a configuration needs more than a handful of levels: take some out.",
    )
}

fn too_large() -> (String, &'static str) {
    (
        "the file is larger than a configuration may be".into(),
        "Take out what is not needed, and aliases (`*`) that repeat large values.",
    )
}

fn not_what_its_tag_says() -> (String, &'static str) {
    (
        "the value has a tag (`!!...`), which would make something else of it".into(),
        "Take the tag out: no value here needs one.",
    )
}

fn tagged() -> (String, &'static str) {
    (
        "the value begins with `!`, which makes a tag of it, and no tag has a meaning here".into(),
        "Put the value in quotes, key: \"!value\"; or take the tag out.",
    )
}

/// The place of the quote that is never closed: the first value that begins with one and does not end with it on its line. The library names the end of the file.
fn unclosed_quote(text: &str) -> Option<FileLocation> {
    let opens = |line: &str| {
        let value = line
            .find(": ")
            .map(|at| at + 2)
            .or_else(|| line.find("- ").map(|at| at + 2))
            .unwrap_or(0);
        let rest = line.get(value..)?;
        let blanks = rest.len() - rest.trim_start().len();
        let quote = rest
            .trim_start()
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\''))?;
        let closes = rest.trim_start().get(1..)?.contains(quote);
        (!closes).then(|| {
            line.get(..value + blanks)
                .unwrap_or_default()
                .chars()
                .count()
                + 1
        })
    };
    let place = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    text.lines()
        .enumerate()
        .find_map(|(n, line)| Some(FileLocation::new(place(n + 1), place(opens(line)?))))
}

/// Message of the library's scanner, and its most frequent cause.
fn scanned(says: &str, line: &str, text: &str) -> (String, &'static str) {
    let says = says.lines().next().unwrap_or_default();
    // The library repeats the place, which is told apart.
    let says = says
        .split(" at line ")
        .next()
        .unwrap_or(says)
        .trim_end_matches([':', ' ']);
    let lower = says.to_lowercase();
    let in_a_variable = line
        .split_once("${")
        .is_some_and(|(_, rest)| rest.contains(": ") || rest.contains(" #"));
    let in_flow = line
        .split_once("${")
        .is_some_and(|(before, _)| before.contains(['{', '[']));
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
    if lower.contains("escape") {
        return told(
            "within double quotes `\\` begins an escape, and this is none",
            "Put the value in single quotes, key: 'C:\\data'; or write each `\\` twice.",
        );
    }
    if lower.contains("anchor") {
        return told(
            "`&` and `*` at the beginning of a value mean something else in YAML, and want a name",
            "Put the value in quotes: key: \"&value\".",
        );
    }
    if is_of_tags(&lower) {
        let (text, hint) = tagged();
        return (text, hint);
    }
    if lower.contains("block sequence entries") {
        return told(
            "a `- ` begins a list here, where none can begin",
            "Write a list on lines of its own below its key, or as [a, b]; put a value that begins with `- ` in quotes.",
        );
    }
    if lower.contains("tab") || line.trim_start_matches(' ').starts_with('\t') {
        return told(
            "a tab stands where YAML wants blanks",
            "Indent with blanks: put two of them for each tab.",
        );
    }
    if lower.contains("simple key expected")
        || lower.contains("could not find expected ':'")
        || lower.contains("expected ':'")
    {
        return told(
            "a `:` is missing after the key",
            "Write `key: value`, with a blank after the `:`.",
        );
    }
    if lower.contains("did not find expected key")
        || lower.contains("indentation") && !lower.contains("quoted")
    {
        return told(
            "this line is indented differently from its neighbours",
            "Indent keys that belong together by the same number of blanks.",
        );
    }
    if lower.contains("mapping values are not allowed")
        && line.matches(": ").count() + usize::from(line.ends_with(':')) < 2
    {
        return told(
            "this line is indented deeper than the one before it, which has a value already",
            "Indent keys that belong together by the same number of blanks; put a value of several lines in quotes.",
        );
    }
    if lower.contains("mapping values are not allowed") {
        return told(
            "a second `: ` stands in the value",
            "Put a value with `: ` in it in quotes: key: \"a: b\".",
        );
    }
    if lower.contains("unclosed quote")
        || lower.contains("quoted scalar") && !lower.contains("trailing")
    {
        return told(
            UNCLOSED_QUOTE,
            "End the text with the quote that it begins with.",
        );
    }
    if lower.contains("trailing content") {
        return told(
            "something stands after the closing quote",
            "Put the whole value into the quotes, a quote in it doubled ('it''s').",
        );
    }
    if lower.contains("bracket") || lower.contains("flow") {
        return told(
            "a `{` or `[` is not closed, or closed by the other",
            "Close { with } and [ with ].",
        );
    }
    if lower.contains("unexpected character") {
        return told(
            "the value begins with a character that means something else in YAML",
            "Put the value in quotes: key: \"@value\".",
        );
    }
    if lower.contains("unexpected end of input") || text.trim().is_empty() {
        return told(
            "the file ends where a value is expected",
            "Write key: value, one a line.",
        );
    }
    (
        format!("this is not YAML: {says}"),
        "Write `key: value`, one a line, and put values with special characters in quotes.",
    )
}

fn line_of(text: &str, at: FileLocation) -> &str {
    let line = usize::try_from(at.line())
        .ok()
        .and_then(|line| line.checked_sub(1));
    line.and_then(|line| text.lines().nth(line))
        .unwrap_or_default()
}
