//! `labels.yaml`: a source's words for how was paid, and the common ones.
//!
//! ```yaml
//! medium:
//!   card: Card
//! ```
//!
//! Invariant: what comes out lists every word once; a mistake points at file and line.

use crate::assets::{self, TextAsset};
use crate::yaml::{YamlFile, YamlTree, error_at};
use std::path::Path;
use tillhouse_model::yaml::{YamlContent, YamlNode};
use tillhouse_model::{Error, LabelKind, LabelMap, Result, did_you_mean};

/// The labels of a pipeline: its source's built-in ones, or the project's own for this pipeline, and where they stand.
///
/// A source without any has none.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`], naming file and line.
pub fn labels(
    project: Option<&Path>,
    source: &str,
    pipeline: &str,
) -> Result<(Option<TextAsset>, LabelMap)> {
    let asset = assets::labels(project, source, pipeline)?;
    let labels = asset
        .as_ref()
        .map(|asset| parse(&asset.origin, &asset.text))
        .transpose()?;
    Ok((asset, labels.unwrap_or_default()))
}

fn parse(origin: &str, text: &str) -> Result<LabelMap> {
    let file = YamlFile::of(origin.into(), text.to_owned());
    let YamlTree { root, mut problems } = file.tree()?;
    let mut labels = LabelMap::default();
    let kinds = match &root.content {
        YamlContent::Map(kinds) => kinds.as_slice(),
        _ if root.is_null() => &[],
        _ => {
            problems.push(shape(&file, &root, "the file"));
            &[]
        }
    };
    for entry in kinds {
        let Some(kind) = LabelKind::named(&entry.key) else {
            problems.push(unknown_kind(&file, &entry.key, entry.at));
            continue;
        };
        let words = match &entry.value.content {
            YamlContent::Map(words) => words.as_slice(),
            _ if entry.value.is_null() => &[],
            _ => {
                problems.push(shape(&file, &entry.value, &format!("`{kind}`")));
                continue;
            }
        };
        for word in words {
            let at = |message: String| error_at(&file, word.value.at, message);
            let Some(common) = word.value.text() else {
                let expected = format!("`{kind}.{}`: expected the common word as a text", word.key);
                problems.push(
                    at(expected)
                        .hint("Write the source's word and the common one, like `card: Card`."),
                );
                continue;
            };
            if word.key.trim().is_empty() || common.trim().is_empty() {
                problems.push(
                    at(format!(
                        "a word of {kind} and what it stands for cannot be empty"
                    ))
                    .hint("Write the source's word and the common one, like `card: Card`."),
                );
                continue;
            }
            if let Err(known) = labels.insert(kind, &word.key, common) {
                problems.push(
                    at(format!(
                        "{:?} and {known:?} are the same word of {kind}: neither case nor blanks tell them apart",
                        word.key
                    ))
                    .hint("Keep one of the two."),
                );
            }
        }
    }
    if problems.is_empty() {
        Ok(labels)
    } else {
        Err(Error::combine(problems))
    }
}

fn shape(file: &YamlFile, node: &YamlNode, what: &str) -> Error {
    error_at(
        file,
        node.at,
        format!("{what}: expected a source's words and the common ones, as keys and values"),
    )
    .hint("Write it like `medium: { card: Card, cash: Cash }`.")
}

fn unknown_kind(file: &YamlFile, name: &str, at: tillhouse_model::yaml::FileLocation) -> Error {
    let kinds = LabelKind::ALL.map(LabelKind::as_str);
    let error = error_at(
        file,
        at,
        match did_you_mean::nearest(name, &kinds) {
            Some(nearest) => format!("unknown kind of label `{name}`; did you mean `{nearest}`?"),
            None => format!("unknown kind of label `{name}`"),
        },
    );
    error.hint(format!("There are: {}.", kinds.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn refused(text: &str) -> String {
        parse("pipelines/kiosk/labels.yaml", text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn words_are_listed_by_kind() {
        let labels = parse(
            "f",
            "medium:\n  card: Card\n  \"7 Byte UID\": UID\nscheme:\nentry_mode: {}\n",
        )
        .unwrap();
        assert_eq!(
            labels.common(LabelKind::Medium, "7byte uid").as_deref(),
            Some("UID")
        );
        assert_eq!(parse("f", "# nothing yet\n").unwrap(), LabelMap::default());
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
        assert!(
            refused("medium:\n  card: ' '\n")
                .ends_with("cannot be empty (file pipelines/kiosk/labels.yaml:2:9)")
        );
        assert!(refused("medium: [card]\n").contains("labels.yaml:1:"));
    }

    #[test]
    fn hecones_words_are_the_common_ones() {
        let (_, labels) = labels(None, "hecone", "hecone").unwrap();
        for (kind, word) in [
            (LabelKind::Medium, "Card"),
            (LabelKind::Medium, "Cash"),
            (LabelKind::Type, "PSPCard"),
        ] {
            assert_eq!(labels.common(kind, word).as_deref(), Some(word));
        }
        let text = assets::labels(None, "hecone", "hecone")
            .unwrap()
            .unwrap()
            .text;
        let written: BTreeMap<String, BTreeMap<String, String>> =
            serde_saphyr::from_str(&text).unwrap();
        assert!(
            written
                .values()
                .flatten()
                .all(|(word, common)| word == common),
            "the identity"
        );
    }
    /// A label with capitals that one source lists and another does not is two labels: the other's word is shown in lower case.
    #[test]
    fn a_label_is_written_alike_by_every_source() {
        let written = |source: &str| -> BTreeMap<String, BTreeMap<String, String>> {
            let asset = assets::labels(None, source, source).unwrap().unwrap();
            serde_saphyr::from_str(&asset.text).unwrap()
        };
        // be-mo's words are not the provider's.
        let sources = ["hecone", "smartnow", "pace"];
        for (kind, name) in [(LabelKind::Type, "type"), (LabelKind::Medium, "medium")] {
            let common: Vec<String> = sources
                .iter()
                .filter_map(|source| written(source).remove(name))
                .flat_map(BTreeMap::into_values)
                .collect();
            for source in sources {
                if !written(source).contains_key(name) {
                    continue;
                }
                let (_, labels) = labels(None, source, source).unwrap();
                for word in &common {
                    assert_eq!(
                        labels.common(kind, word).as_deref(),
                        Some(word.as_str()),
                        "{name} of {source}"
                    );
                }
            }
        }
    }
}
