//! A source as the registry lists it, and the opening of its connection.
//!
//! Invariant: a connection with made-up values in place of wrong ones is told of its own faults alone.

use crate::common_keys::{ConnectionSection, connection};
use crate::yaml::{self, YamlFile};
use std::sync::Arc;
use tillhouse_extract::{Source, SourceConnection, SourceLimits};
use tillhouse_model::yaml::YamlNode;
use tillhouse_model::{Error, Resource};

/// A source as the registry lists it.
#[derive(Clone, Copy)]
pub struct SourceEntry {
    /// The source's name.
    pub name: &'static str,
    /// Resources that it offers.
    pub resources: &'static [Resource],
    pub(super) open: fn(&YamlFile, &YamlNode, SourceLimits) -> OpenedConnection,
}

impl SourceEntry {
    /// The entry of a source, from its connection type.
    pub const fn of<C: SourceConnection>() -> Self {
        Self {
            name: C::SOURCE,
            resources: C::RESOURCES,
            open: open::<C>,
        }
    }
}

impl std::fmt::Debug for SourceEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceEntry({})", self.name)
    }
}

/// A connection that was opened, which may hold made-up values in place of wrong ones, and the
/// problems found.
pub(super) struct OpenedConnection {
    pub(super) source: Option<Arc<dyn Source>>,
    pub(super) problems: Vec<Error>,
}

/// The source that a connection leads to. What is wrong with the connection is told with it, and what `open` finds wrong, but not of what is made up.
fn open<C: SourceConnection>(
    file: &YamlFile,
    node: &YamlNode,
    mut limits: SourceLimits,
) -> OpenedConnection {
    let mut problems = Vec::new();
    let Some(ConnectionSection {
        own,
        accept_media_types,
        empty_messages,
        made_up,
    }) = connection::<C>(file, node, &mut problems)
    else {
        return OpenedConnection {
            source: None,
            problems,
        };
    };
    limits.accept_media_types = accept_media_types;
    limits.empty_messages = empty_messages;
    let source = match own.open(limits) {
        Ok(source) => Some(source),
        Err(error) => {
            problems.extend(without(error, &made_up).map(|error| file.annotate_error(error)));
            None
        }
    };
    OpenedConnection { source, problems }
}

/// An error without those of its parts that are about keys whose values are made up.
fn without(error: Error, made_up: &[String]) -> Option<Error> {
    let parts = if error.parts().is_empty() {
        vec![error]
    } else {
        error.into_parts()
    };
    let parts: Vec<Error> = parts
        .into_iter()
        .filter(|part| !made_up.iter().any(|key| yaml::is_about(part, key)))
        .collect();
    (!parts.is_empty()).then(|| Error::combine(parts))
}
