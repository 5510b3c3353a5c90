//! Category of a sale's business.
//!
//! Invariant: the answer is one of fuelling, charging, parking, vending, other, mixed, or null where nothing is known.

use super::arguments::CallArguments;
use super::{ArgumentType, SqlFunction};
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use std::sync::Arc;
use tillhouse_model::{FastMap, word};

/// `category_of(categories)`.
pub(super) fn function() -> SqlFunction {
    SqlFunction::new(
        "category_of",
        &[ArgumentType::Texts],
        DataType::Utf8,
        category_of,
    )
}

fn category_of(arguments: &CallArguments) -> Result<ArrayRef> {
    let lists = arguments.lists(0)?;
    // Words repeat, so each distinct one is worked out once a batch.
    let mut known: FastMap<&str, Option<&'static str>> = FastMap::default();
    let categories: StringArray = (0..arguments.rows())
        .map(|row| {
            let mut found = None;
            for word in lists.get(row) {
                let category = *known.entry(word).or_insert_with(|| single(word));
                match (found, category) {
                    (None, _) => found = category,
                    (Some(one), Some(other)) if one != other => return Some("mixed"),
                    _ => {}
                }
            }
            found
        })
        .collect();
    Ok(Arc::new(categories))
}

/// One provider's word for it. Longest stems first: "charging park" is about charging, "tankstelle" about fuel.
fn single(word: &str) -> Option<&'static str> {
    const STEMS: [(&str, &str); 17] = [
        ("mixed", "mixed"),
        ("charg", "charging"),
        ("electri", "charging"),
        ("laden", "charging"),
        ("ladung", "charging"),
        ("fuel", "fuelling"),
        ("petrol", "fuelling"),
        ("diesel", "fuelling"),
        ("gasoline", "fuelling"),
        ("tank", "fuelling"),
        ("park", "parking"),
        ("vend", "vending"),
        ("snack", "vending"),
        ("beverage", "vending"),
        ("drink", "vending"),
        ("coffee", "vending"),
        ("food", "vending"),
    ];
    let word = word::canonical(word);
    if word.is_empty() {
        return None;
    }
    Some(
        STEMS
            .iter()
            .find(|(stem, _)| word.contains(stem))
            .map_or("other", |(_, category)| category),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_words_are_understood() {
        for (word, category) in [
            ("charging", "charging"),
            ("Charging", "charging"),
            ("Fueling", "fuelling"),
            ("fuelling", "fuelling"),
            ("refuelling", "fuelling"),
            ("Parking-Tariff", "parking"),
            ("vending", "vending"),
            ("carwash", "other"),
            ("\u{ff26}UEL\u{200b}ING ", "fuelling"),
            ("PARK\u{130}NG", "parking"),
        ] {
            assert_eq!(single(word), Some(category), "{word}");
        }
        assert_eq!(single("  "), None);
    }
}
