//! The keys that the `connection` of every source has, read beside those of the source's own.
//!
//! Invariant: a source's own type never sees a common key, so that it can refuse what it does not know; a source that comes later has the
//! common keys without a line for them.
//!
//! Rejected: `#[serde(flatten)]`, under which no type can refuse unknown keys.

use crate::yaml::YamlFile;
use serde::de::DeserializeOwned;
use tillhouse_extract::{EmptyMessages, MediaTypes};
use tillhouse_model::Error;
use tillhouse_model::yaml::{PartialRead, YamlNode};

/// The common keys: media types that JSON may come under, and texts that mean that there is nothing.
const COMMON: &[&str] = &["accept_media_types", "empty_messages"];

/// A `connection` as it is written.
pub(crate) struct ConnectionSection<C> {
    /// The source's own keys.
    pub(crate) own: C,
    /// See [`tillhouse_extract::SourceLimits::accept_media_types`].
    pub(crate) accept_media_types: MediaTypes,
    /// See [`tillhouse_extract::SourceLimits::empty_messages`].
    pub(crate) empty_messages: EmptyMessages,
    /// Keys whose values are made up or passed over, see [`tillhouse_model::yaml::PartialRead`]: what is wrong with them is told.
    pub(crate) made_up: Vec<String>,
}

/// Reads the `connection` of a file. What is wrong with it goes to `problems`; `None` where nothing is to be had of it.
pub(crate) fn connection<C: DeserializeOwned>(
    file: &YamlFile,
    node: &YamlNode,
    problems: &mut Vec<Error>,
) -> Option<ConnectionSection<C>> {
    let mut node = node.clone();
    let mut common = |name: &str, problems: &mut Vec<Error>| {
        let entry = node.take(name).map(YamlNode::single_entry)?;
        file.read_partly::<CommonConnectionKeys>(&entry, "connection", problems)
            .value
    };
    let accept_media_types = common("accept_media_types", problems)
        .unwrap_or_default()
        .accept_media_types;
    let empty_messages = common("empty_messages", problems)
        .unwrap_or_default()
        .empty_messages;
    let PartialRead {
        value,
        faults,
        made_up,
        left_out,
    } = node.read_partly::<C>();
    if !faults.is_empty() {
        let faults = faults
            .into_iter()
            .map(|fault| fault.with_known_keys(COMMON))
            .collect();
        problems.push(file.errors(faults, "connection"));
    }
    Some(ConnectionSection {
        own: value?,
        accept_media_types,
        empty_messages,
        made_up: made_up
            .into_iter()
            .chain(left_out)
            .map(|key| format!("connection.{key}"))
            .collect(),
    })
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct CommonConnectionKeys {
    accept_media_types: MediaTypes,
    empty_messages: EmptyMessages,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use serde::Deserialize;
    use tillhouse_extract::Credential;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct TestConnectionKeys {
        name: String,
        #[serde(default)]
        secret: Option<Credential>,
        #[serde(default)]
        port: u16,
    }

    fn parse(text: &str) -> tillhouse_model::Result<ConnectionSection<TestConnectionKeys>> {
        let environment = Environment::of([("NAME".into(), "x: y".into())]);
        let file = YamlFile {
            path: "pipeline.yaml".into(),
            text: text.into(),
            environment: Some(environment),
        };
        let mut problems = Vec::new();
        let written = connection(
            &file,
            file.tree()?.root.get("connection").unwrap(),
            &mut problems,
        );
        if problems.is_empty() {
            Ok(written.unwrap())
        } else {
            Err(Error::combine(problems))
        }
    }

    #[test]
    fn common_keys_stand_anywhere_among_a_sources_own() {
        for text in [
            "connection:\n  accept_media_types: [text/plain]\n  empty_messages: [Nix da]\n  name: ${NAME}\n  secret: { file: /x }\n",
            "connection: { name: 'x: y', accept_media_types: [ Text/Plain ], empty_messages: ['Nix  Da'], secret: { command: [a] } }",
            "connection:\n  name: \"x: y\"\n  secret: z\n  empty_messages:\n    - Nix da\n  accept_media_types:\n    - text/plain\n",
        ] {
            let written = parse(text).unwrap();
            assert_eq!((written.own.name.as_str(), written.own.port), ("x: y", 0));
            assert!(written.own.secret.is_some());
            assert_eq!(
                written.accept_media_types,
                MediaTypes::new(["text/plain"]).unwrap()
            );
            assert_eq!(
                written.empty_messages,
                EmptyMessages::new(["nix da"]).unwrap()
            );
        }
        assert_eq!(
            parse("connection: { name: x }").unwrap().accept_media_types,
            MediaTypes::default()
        );
    }

    #[test]
    fn mistakes_point_at_their_place_and_all_are_told() {
        for (text, message, place) in [
            (
                "connection:\n  name: x\n  nmae: y\n",
                "unknown key `nmae` in `connection`; did you mean `name`?",
                ":3:",
            ),
            (
                "connection:\n  name: x\n  accept_media_type: y\n",
                "did you mean `accept_media_types`?",
                ":3:",
            ),
            (
                "connection:\n  name: x\n  colour: y\n",
                "expected `name`, `secret`, `port`, `accept_media_types` or `empty_messages`",
                ":3:",
            ),
            (
                "connection:\n  name: x\n  port: many\n",
                "`connection.port`: expected a whole number",
                ":3:",
            ),
            (
                "connection:\n  name: x\n  accept_media_types: [plain]\n",
                "write it like text/plain",
                ":3:",
            ),
            (
                "connection:\n  name: x\n  accept_media_types: 7\n",
                "`connection.accept_media_types`",
                ":3:",
            ),
            (
                "connection:\n  name: x\n  empty_messages: ['']\n",
                "is no message",
                ":3:",
            ),
            (
                "connection:\n  name: x\n  empty_messages: nothing\n",
                "`connection.empty_messages`",
                ":3:",
            ),
            (
                "connection:\n  name: x\n  empty_message: [y]\n",
                "did you mean `empty_messages`?",
                ":3:",
            ),
            (
                "connection:\n  port: 1\n",
                "the key `connection.name` is missing",
                ":2:",
            ),
            (
                "connection: 7\n",
                "`connection`: expected keys and values, found a number",
                ":1:",
            ),
        ] {
            let error = parse(text).err().unwrap().to_string();
            assert!(
                error.contains(message) && error.contains(&format!("pipeline.yaml{place}")),
                "{text}{error}"
            );
        }
        let error = parse("connection:\n  port: x\n  nmae: y\n  accept_media_types: 7\n")
            .err()
            .unwrap();
        assert_eq!(error.parts().len(), 4, "{error}");
    }
}
