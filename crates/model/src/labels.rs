//! The words of one source for how was paid, and the common ones they stand for.
//!
//! Invariant: a word stands for one common word at most, whatever its case and blanks; a word that is not listed stands for its own canonical form
//! ([`word::canonical`]), so that its spellings are one label too. A word of which nothing can be seen stands for none.

use crate::word;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Dimension of a payment that a word describes: a column of `unified.payments` that statistics
/// rank by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelKind {
    /// Party that settles the payment.
    Type,
    /// Means of payment.
    Medium,
    /// The card's scheme.
    Scheme,
    /// Way in which the medium was read.
    EntryMode,
    /// Purpose of the card.
    Function,
}

impl LabelKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Type,
        Self::Medium,
        Self::Scheme,
        Self::EntryMode,
        Self::Function,
    ];

    /// The column's name, as `labels.yaml` and unify SQL write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Medium => "medium",
            Self::Scheme => "scheme",
            Self::EntryMode => "entry_mode",
            Self::Function => "function",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for LabelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The source's word as it was listed, and the common one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LabelMapping {
    word: String,
    common: String,
}

/// Map from the payment words of one source to the common labels.
///
/// ```
/// use tillhouse_model::{LabelKind, LabelMap};
/// let mut labels = LabelMap::default();
/// labels.insert(LabelKind::Medium, "card", "Card").unwrap();
/// assert_eq!(labels.common(LabelKind::Medium, " CARD").as_deref(), Some("Card"));
/// assert_eq!(labels.common(LabelKind::Medium, "Token").as_deref(), Some("token"));
/// assert_eq!(labels.common(LabelKind::Medium, " "), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelMap(BTreeMap<LabelKind, BTreeMap<String, LabelMapping>>);

impl LabelMap {
    /// Lists a word. The error is the word that was listed before and looks the same.
    pub fn insert(&mut self, kind: LabelKind, word: &str, common: &str) -> Result<(), String> {
        let of_kind = self.0.entry(kind).or_default();
        let key = folded(word);
        if let Some(known) = of_kind.get(&key) {
            return Err(known.word.clone());
        }
        of_kind.insert(
            key,
            LabelMapping {
                word: word.trim().to_owned(),
                common: common.trim().to_owned(),
            },
        );
        Ok(())
    }

    /// The common word that a source's word stands for: the listed one, else its canonical form. `None` where nothing of it can be seen.
    pub fn common<'w>(&'w self, kind: LabelKind, word: &'w str) -> Option<Cow<'w, str>> {
        if let Some(listed) = self
            .0
            .get(&kind)
            .and_then(|of_kind| of_kind.get(&folded(word)))
        {
            return Some(Cow::Borrowed(&listed.common));
        }
        Some(word::canonical(word)).filter(|form| !form.is_empty())
    }

    /// The source's words that stand for a common one, as they are listed.
    pub fn words_for(&self, kind: LabelKind, common: &str) -> Vec<&str> {
        let listed = self.0.get(&kind).into_iter().flat_map(BTreeMap::values);
        listed
            .filter(|listed| listed.common == common)
            .map(|listed| listed.word.as_str())
            .collect()
    }

    /// As JSON, in which form unify SQL gets it: `{"medium": {"card": "Card"}}`.
    pub fn to_json(&self) -> String {
        let kinds = self.0.iter().map(|(kind, listed)| {
            let words = listed
                .values()
                .map(|l| (l.word.clone(), serde_json::Value::from(l.common.as_str())));
            (
                kind.as_str().to_owned(),
                serde_json::Value::Object(words.collect()),
            )
        });
        serde_json::Value::Object(kinds.collect()).to_string()
    }

    /// Parses JSON; `None` where it is none that [`Self::to_json`] could have written.
    pub fn from_json(text: &str) -> Option<Self> {
        let written: BTreeMap<String, BTreeMap<String, String>> =
            serde_json::from_str(text).ok()?;
        let mut labels = Self::default();
        for (kind, words) in written {
            let kind = LabelKind::named(&kind)?;
            for (word, common) in words {
                labels.insert(kind, &word, &common).ok()?;
            }
        }
        Some(labels)
    }
}

/// The canonical form, without any blanks.
fn folded(word: &str) -> String {
    word::canonical(word).replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> LabelMap {
        let mut labels = LabelMap::default();
        for (kind, word, common) in [
            (LabelKind::Medium, "card", "Card"),
            (LabelKind::Medium, "bank card", "Card"),
            (LabelKind::Type, "PSPCard", "PSPCard"),
        ] {
            labels.insert(kind, word, common).unwrap();
        }
        labels
    }

    #[test]
    fn case_and_blanks_do_not_matter() {
        let labels = labels();
        let common = |kind, word| labels.common(kind, word).map(Cow::into_owned);
        for word in [
            "card",
            "Card",
            " CARD ",
            "c ard",
            "\u{ff23}ard",
            "ca\u{200b}rd",
        ] {
            assert_eq!(
                common(LabelKind::Medium, word).as_deref(),
                Some("Card"),
                "{word:?}"
            );
        }
        assert_eq!(
            common(LabelKind::Medium, "BankCard").as_deref(),
            Some("Card")
        );
        assert_eq!(
            common(LabelKind::Type, "Card").as_deref(),
            Some("card"),
            "a word of another kind is not listed"
        );
    }

    #[test]
    fn a_word_that_is_not_listed_is_one_label_too() {
        let labels = labels();
        for word in ["Cash", "cash", "CASH ", "\u{a0}cash", "\u{ff43}ash"] {
            assert_eq!(
                labels.common(LabelKind::Medium, word).as_deref(),
                Some("cash"),
                "{word:?}"
            );
        }
        for blank in ["", " ", "\t", "\u{a0}", "\u{200b}"] {
            assert_eq!(labels.common(LabelKind::Medium, blank), None, "{blank:?}");
        }
    }

    #[test]
    fn a_word_is_listed_once() {
        assert_eq!(
            labels().insert(LabelKind::Medium, "CARD", "Cash"),
            Err("card".to_owned())
        );
        assert_eq!(labels().insert(LabelKind::Scheme, "CARD", "Cash"), Ok(()));
    }

    #[test]
    fn the_way_back_is_the_sources_spelling() {
        assert_eq!(
            labels().words_for(LabelKind::Medium, "Card"),
            ["bank card", "card"]
        );
        assert!(labels().words_for(LabelKind::Medium, "card").is_empty());
    }

    #[test]
    fn json_is_read_as_it_was_written() {
        let text = labels().to_json();
        assert_eq!(
            text,
            r#"{"medium":{"bank card":"Card","card":"Card"},"type":{"PSPCard":"PSPCard"}}"#
        );
        assert_eq!(LabelMap::from_json(&text), Some(labels()));
        for bad in [
            "",
            "[]",
            r#"{"colour":{}}"#,
            r#"{"type":{"a":"b","A":"c"}}"#,
            r#"{"type":{"a":1}}"#,
        ] {
            assert_eq!(LabelMap::from_json(bad), None, "{bad}");
        }
    }
}
