//! The words of one source for how was paid, and the common ones they stand for.
//!
//! Invariant: a word stands for one common word at most, whatever its case and blanks; a word that is not listed stands for itself.

use std::collections::BTreeMap;
use std::fmt;

/// What a word is about: the columns of `unified.payments` that statistics rank by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelKind {
    /// Who settles the payment.
    Type,
    /// What was paid with.
    Medium,
    /// The card's scheme.
    Scheme,
    /// How the medium was read.
    EntryMode,
    /// What the card is for.
    Function,
}

impl LabelKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Type, Self::Medium, Self::Scheme, Self::EntryMode, Self::Function];

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
struct Listed {
    word: String,
    common: String,
}

/// See the module.
///
/// ```
/// use tillhouse_model::{LabelKind, Labels};
/// let mut labels = Labels::default();
/// labels.list(LabelKind::Medium, "card", "Card").unwrap();
/// assert_eq!(labels.common(LabelKind::Medium, " CARD"), Some("Card"));
/// assert_eq!(labels.common(LabelKind::Medium, "token"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<LabelKind, BTreeMap<String, Listed>>);

impl Labels {
    /// Lists a word. The word that was listed before and cannot be told from it is the error.
    pub fn list(&mut self, kind: LabelKind, word: &str, common: &str) -> Result<(), String> {
        let of_kind = self.0.entry(kind).or_default();
        let key = folded(word);
        if let Some(known) = of_kind.get(&key) {
            return Err(known.word.clone());
        }
        of_kind.insert(key, Listed { word: word.trim().to_owned(), common: common.trim().to_owned() });
        Ok(())
    }

    /// The common word that a source's word stands for; `None` where it is not listed.
    pub fn common(&self, kind: LabelKind, word: &str) -> Option<&str> {
        self.0.get(&kind)?.get(&folded(word)).map(|listed| listed.common.as_str())
    }

    /// The source's words that stand for a common one, as they are listed.
    pub fn words_for(&self, kind: LabelKind, common: &str) -> Vec<&str> {
        let listed = self.0.get(&kind).into_iter().flat_map(BTreeMap::values);
        listed.filter(|listed| listed.common == common).map(|listed| listed.word.as_str()).collect()
    }

    /// As JSON, in which form unify SQL gets it: `{"medium": {"card": "Card"}}`.
    pub fn to_json(&self) -> String {
        let kinds = self.0.iter().map(|(kind, listed)| {
            let words = listed.values().map(|l| (l.word.clone(), serde_json::Value::from(l.common.as_str())));
            (kind.as_str().to_owned(), serde_json::Value::Object(words.collect()))
        });
        serde_json::Value::Object(kinds.collect()).to_string()
    }

    /// From JSON; `None` where it is none that [`Labels::to_json`] could have written.
    pub fn from_json(text: &str) -> Option<Self> {
        let written: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(text).ok()?;
        let mut labels = Self::default();
        for (kind, words) in written {
            let kind = LabelKind::named(&kind)?;
            for (word, common) in words {
                labels.list(kind, &word, &common).ok()?;
            }
        }
        Some(labels)
    }
}

/// Without blanks and in lower case.
fn folded(word: &str) -> String {
    word.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        let mut labels = Labels::default();
        for (kind, word, common) in [
            (LabelKind::Medium, "card", "Card"),
            (LabelKind::Medium, "bank card", "Card"),
            (LabelKind::Type, "PSPCard", "PSPCard"),
        ] {
            labels.list(kind, word, common).unwrap();
        }
        labels
    }

    #[test]
    fn case_and_blanks_do_not_matter() {
        let labels = labels();
        for word in ["card", "Card", " CARD ", "c ard"] {
            assert_eq!(labels.common(LabelKind::Medium, word), Some("Card"), "{word:?}");
        }
        assert_eq!(labels.common(LabelKind::Medium, "BankCard"), Some("Card"));
        assert_eq!(labels.common(LabelKind::Type, "card"), None, "a word of another kind");
        assert_eq!(labels.common(LabelKind::Medium, ""), None);
    }

    #[test]
    fn a_word_is_listed_once() {
        assert_eq!(labels().list(LabelKind::Medium, "CARD", "Cash"), Err("card".to_owned()));
        assert_eq!(labels().list(LabelKind::Scheme, "CARD", "Cash"), Ok(()));
    }

    #[test]
    fn the_way_back_is_the_sources_spelling() {
        assert_eq!(labels().words_for(LabelKind::Medium, "Card"), ["bank card", "card"]);
        assert!(labels().words_for(LabelKind::Medium, "card").is_empty());
    }

    #[test]
    fn json_is_read_as_it_was_written() {
        let text = labels().to_json();
        assert_eq!(text, r#"{"medium":{"bank card":"Card","card":"Card"},"type":{"PSPCard":"PSPCard"}}"#);
        assert_eq!(Labels::from_json(&text), Some(labels()));
        for bad in ["", "[]", r#"{"colour":{}}"#, r#"{"type":{"a":"b","A":"c"}}"#, r#"{"type":{"a":1}}"#] {
            assert_eq!(Labels::from_json(bad), None, "{bad}");
        }
    }
}
