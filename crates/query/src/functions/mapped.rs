//! Words by a mapping that is given as text.
//!
//! Invariant: a word that the mapping does not know gives null.

use super::arguments::CallArguments;
use super::{ArgumentType, SqlFunction};
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use std::sync::Arc;
use tillhouse_model::{FastMap, word};

/// `mapped(word, mapping)`.
pub(super) fn function() -> SqlFunction {
    SqlFunction::new(
        "mapped",
        &[ArgumentType::Text, ArgumentType::Text],
        DataType::Utf8,
        mapped,
    )
}

fn mapped(arguments: &CallArguments) -> Result<ArrayRef> {
    let (words, mappings) = (arguments.text(0)?, arguments.text(1)?);
    // A statement has one mapping, and its words repeat.
    let mut known: FastMap<(&str, &str), Option<&str>> = FastMap::default();
    let found: StringArray = (0..arguments.rows())
        .map(|row| {
            let (word, mapping) = words.get(row).zip(mappings.get(row))?;
            *known
                .entry((word, mapping))
                .or_insert_with(|| meaning(word, mapping))
        })
        .collect();
    Ok(Arc::new(found))
}

/// Meaning of a word by a mapping such as `1=test, 2=void`.
fn meaning<'m>(word: &str, mapping: &'m str) -> Option<&'m str> {
    let pairs = mapping.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.trim(), value.trim()))
        .find(|(key, _)| word::is_same_word(key, word))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_mapped_means_something() {
        assert_eq!(meaning("1", "1=test, 2=void"), Some("test"));
        assert_eq!(meaning(" 2 ", "1=test,2=void"), Some("void"));
        for (word, mapping) in [
            ("3", "1=test"),
            ("", "1=test"),
            ("1", ""),
            ("11", "1=test"),
            ("1", "test"),
        ] {
            assert_eq!(meaning(word, mapping), None, "{word} {mapping}");
        }
    }
}
