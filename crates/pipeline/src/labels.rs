//! `labels.yaml`: a source's words for how was paid, and the common ones.
//!
//! ```yaml
//! medium:
//!   card: Card
//! ```
//!
//! Invariant: what comes out lists every word once; a mistake points at file and line.

use crate::assets::{self, Asset};
use crate::yaml::{YamlFile, error_at};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::path::Path;
use tillhouse_model::{Error, LabelKind, Labels, Result, spelling};

/// The labels of a pipeline: its source's built-in ones, or the project's own for this pipeline, and where they stand.
///
/// A source without any has none.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`], naming file and line.
pub fn labels(project: Option<&Path>, source: &str, pipeline: &str) -> Result<(Option<Asset>, Labels)> {
    let asset = assets::labels(project, source, pipeline)?;
    let labels = asset.as_ref().map(|asset| parse(&asset.origin, &asset.text)).transpose()?;
    Ok((asset, labels.unwrap_or_default()))
}

/// The file as written: by kind, a source's words and the common ones.
type Written = BTreeMap<String, Option<BTreeMap<String, Spanned<String>>>>;

fn parse(origin: &str, text: &str) -> Result<Labels> {
    let file = YamlFile::of(origin.into(), text.to_owned());
    let written: Option<Written> = file.parse()?;
    let mut labels = Labels::default();
    for (name, words) in written.unwrap_or_default() {
        let kind = LabelKind::named(&name).ok_or_else(|| unknown_kind(origin, text, &name))?;
        for (word, common) in words.unwrap_or_default() {
            let at = |message: String| error_at(&file, common.referenced, message);
            if word.trim().is_empty() || common.value.trim().is_empty() {
                return Err(at(format!("a word of {kind} and what it stands for cannot be empty")));
            }
            labels.list(kind, &word, &common.value).map_err(|known| {
                at(format!(
                    "{word:?} and {known:?} are the same word of {kind}: neither case nor blanks tell them apart"
                ))
            })?;
        }
    }
    Ok(labels)
}

fn unknown_kind(origin: &str, text: &str, name: &str) -> Error {
    let kinds = LabelKind::ALL.map(LabelKind::as_str);
    let line = text
        .lines()
        .position(|line| line.split(':').next().is_some_and(|key| key.trim_matches(['"', '\'', ' ']) == name));
    let place = line.map_or_else(|| origin.to_owned(), |line| format!("{origin}:{}:1", line + 1));
    let error = Error::config(match spelling::nearest(name, &kinds) {
        Some(nearest) => format!("unknown kind of label `{name}`; did you mean `{nearest}`?"),
        None => format!("unknown kind of label `{name}`"),
    });
    error.at("file", place).hint(format!("There are: {}.", kinds.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse("pipelines/kiosk/labels.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn words_are_listed_by_kind() {
        let labels = parse("f", "medium:\n  card: Card\n  \"7 Byte UID\": UID\nscheme:\nentry_mode: {}\n").unwrap();
        assert_eq!(labels.common(LabelKind::Medium, "7byte uid"), Some("UID"));
        assert_eq!(parse("f", "# nothing yet\n").unwrap(), Labels::default());
    }

    #[test]
    fn mistakes_point_at_their_line() {
        assert_eq!(
            refused("medium:\n  card: Card\nmeduim:\n  cash: Cash\n"),
            "unknown kind of label `meduim`; did you mean `medium`? (file pipelines/kiosk/labels.yaml:3:1)"
        );
        assert_eq!(
            refused("medium:\n  CARD: Card\n  card: Cash\n"),
            "\"card\" and \"CARD\" are the same word of medium: neither case nor blanks tell them apart (file \
             pipelines/kiosk/labels.yaml:3:9)"
        );
        assert!(refused("medium:\n  card: ' '\n").ends_with("cannot be empty (file pipelines/kiosk/labels.yaml:2:9)"));
        assert!(refused("medium: [card]\n").contains("labels.yaml:1:"));
    }

    #[test]
    fn hecones_words_are_the_common_ones() {
        let (_, labels) = labels(None, "hecone", "hecone").unwrap();
        for (kind, word) in [(LabelKind::Medium, "Card"), (LabelKind::Medium, "Cash"), (LabelKind::Type, "PSPCard")] {
            assert_eq!(labels.common(kind, word), Some(word));
        }
        let text = assets::labels(None, "hecone", "hecone").unwrap().unwrap().text;
        let written: BTreeMap<String, BTreeMap<String, String>> = serde_saphyr::from_str(&text).unwrap();
        assert!(written.values().flatten().all(|(word, common)| word == common), "the identity");
    }
}
