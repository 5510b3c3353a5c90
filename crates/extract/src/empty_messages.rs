//! Texts by which a server says that there is nothing.
//!
//! Invariant: a text counts as a whole, never by a part of it, but for what a `*` stands for.
//!
//! Much of what servers say beside an empty list is understood by itself; what is not may as well mean that they failed. Only whoever knows the
//! provider can tell, and does so once, in the connection.

use serde::{Deserialize, Deserializer, de};

/// Texts that mean that there is nothing, compared without case and without regard to blanks; `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EmptyMessages(Vec<String>);

impl EmptyMessages {
    /// Checks texts. The error says what is wrong with the first that is none.
    pub fn new(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, String> {
        let texts = texts.into_iter().map(|written| checked(written.as_ref()));
        texts.collect::<Result<_, _>>().map(Self)
    }

    /// True if there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if a text is one of them.
    pub(crate) fn has(&self, text: &str) -> bool {
        let text = folded(text);
        self.0.iter().any(|known| fits(known, &text))
    }

    /// Advice on a message, scrubbed as it was shown, that may mean that there is nothing.
    pub(crate) fn hint(message: &str) -> String {
        format!(
            "If it means that there is nothing, say so in the pipeline's connection: empty_messages: [{}]. If not, run `tillhouse sync` \
             again later; if it stays so, ask the provider.",
            Self::written(message)
        )
    }

    /// A message, scrubbed as it was shown, as somebody may write it into such a list.
    pub(crate) fn written(message: &str) -> String {
        let open = message.replace('…', "*").replace("***", "*");
        serde_json::Value::from(open).to_string()
    }
}

/// A text in lower case, with one blank between its words.
fn folded(text: &str) -> String {
    text.split_whitespace()
        .map(str::to_lowercase)
        .collect::<Vec<_>>()
        .join(" ")
}

/// True if a text is as a pattern says, in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, inner)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in inner {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A text as it is written.
fn checked(written: &str) -> Result<String, String> {
    let text = folded(written);
    if text.chars().any(char::is_alphanumeric) {
        Ok(text)
    } else {
        Err(format!(
            "{written:?} is no message: write what the server says, like \"Nothing to see\""
        ))
    }
}

/// Element of a list of texts, read by itself, so that each that is none is told.
struct MessageEntry(String);

impl<'de> Deserialize<'de> for MessageEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(&String::deserialize(deserializer)?)
            .map(Self)
            .map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for EmptyMessages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<MessageEntry>::deserialize(deserializer)?;
        Ok(Self(entries.into_iter().map(|entry| entry.0).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_count_as_a_whole() {
        let texts = EmptyMessages::new(["Nix da", " Period *:  nothing", "a*b*"]).unwrap();
        for said in [
            "nix da",
            "NIX   DA ",
            "\tNix\nda",
            "period 2026-01: Nothing",
            "ab",
            "axb",
            "a b c",
        ] {
            assert!(texts.has(said), "{said}");
        }
        for other in [
            "nix",
            "nix da!",
            "so nix da",
            "period 2026-01",
            "b",
            "",
            "a",
            "period 1: nothing yet",
        ] {
            assert!(!texts.has(other), "{other}");
        }
        assert!(!EmptyMessages::default().has("") && EmptyMessages::default().is_empty());
        assert!(
            !EmptyMessages::new(["aba*aba"]).unwrap().has("aba"),
            "no part counts twice"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for wrong in ["", "  ", "*", "* *", "--"] {
            assert!(
                EmptyMessages::new([wrong])
                    .unwrap_err()
                    .contains("is no message"),
                "{wrong}"
            );
        }
        let read = |text: &str| serde_json::from_str::<EmptyMessages>(text);
        assert_eq!(
            read(r#"["Nix  da"]"#).unwrap(),
            EmptyMessages(vec!["nix da".into()])
        );
        assert!(read(r#"[""]"#).is_err() && read(r#""x""#).is_err());
    }

    #[test]
    fn what_was_shown_can_be_written_down() {
        for (said, shown) in [
            ("boom \"x\"", "boom \"x\""),
            ("for a@b.c none", "for *** none"),
            ("long text", "long t…"),
        ] {
            let written: String = serde_json::from_str(&EmptyMessages::written(shown)).unwrap();
            assert!(EmptyMessages::new([written]).unwrap().has(said), "{shown}");
        }
    }
}
