//! Parts of a contract whose values have a wrong type, so that what lacks them is not told of as well.
//!
//! Invariant: a problem that has another cause is never explained by one of them: only what stands in the same column or rule is, and what names the
//! same key.

use crate::yaml::{FileLocation, YamlContent, YamlNode};

/// Faulty parts of one contract.
#[derive(Debug, Default)]
pub(super) struct FaultyParts {
    /// From the beginning of a column, rule or other element of a list to what follows it.
    elements: Vec<(FileLocation, FileLocation)>,
    /// Keys that are passed over, in backticks.
    keys: Vec<String>,
}

impl FaultyParts {
    /// Adds the part that a fault's path leads to.
    pub(super) fn add(&mut self, root: &YamlNode, path: &[&str]) {
        if let Some(key) = path.iter().rev().find(|key| !key.starts_with('[')) {
            self.keys.push(format!("`{key}`"));
        }
        // The table is an element too, and holds all columns.
        let inner = path
            .iter()
            .rposition(|key| key.starts_with('['))
            .filter(|at| *at > 1);
        let Some(above) = inner.and_then(|at| path.get(..=at)) else {
            return;
        };
        if let Some(element) = root.find(above) {
            self.elements
                .push((element.at, behind(root, element.at, last(element))));
        }
    }

    /// Adds what readers pass over already.
    pub(super) fn add_absent(&mut self, root: &YamlNode) {
        let mut paths = Vec::new();
        absent(root, &mut Vec::new(), &mut paths);
        for path in paths {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            self.add(root, &path);
        }
    }

    /// True if there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// True if a problem at a place comes from a part that is passed over.
    pub(super) fn explain(&self, place: FileLocation, text: &str) -> bool {
        let is_within = self
            .elements
            .iter()
            .any(|(from, to)| *from <= place && place < *to);
        is_within || self.keys.iter().any(|key| text.contains(key.as_str()))
    }
}

/// The paths that lead to what readers pass over.
fn absent(node: &YamlNode, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let mut enter = |key: String, child: &YamlNode| {
        path.push(key);
        if child.absent {
            found.push(path.clone());
        } else {
            absent(child, path, found);
        }
        path.pop();
    };
    match &node.content {
        YamlContent::Scalar { .. } => {}
        YamlContent::List(elements) => {
            for (at, element) in elements.iter().enumerate() {
                enter(format!("[{}]", at + 1), element);
            }
        }
        YamlContent::Map(entries) => {
            for entry in entries {
                enter(entry.key.clone(), &entry.value);
            }
        }
    }
}

/// The last place in a node.
fn last(node: &YamlNode) -> FileLocation {
    match &node.content {
        YamlContent::Scalar { .. } => node.at,
        YamlContent::List(elements) => elements.iter().map(last).max().unwrap_or(node.at),
        YamlContent::Map(entries) => entries
            .iter()
            .map(|entry| entry.at.max(last(&entry.value)))
            .max()
            .unwrap_or(node.at),
    }
}

/// The first place behind a node that ends so; far away where nothing follows.
fn behind(root: &YamlNode, from: FileLocation, to: FileLocation) -> FileLocation {
    let mut next = FileLocation::new(u64::MAX, 1);
    let mut note = |at: FileLocation| {
        if at > to && at > from && at < next {
            next = at;
        }
    };
    fn walk(node: &YamlNode, note: &mut dyn FnMut(FileLocation)) {
        note(node.at);
        match &node.content {
            YamlContent::Scalar { .. } => {}
            YamlContent::List(elements) => elements.iter().for_each(|node| walk(node, note)),
            YamlContent::Map(entries) => {
                for entry in entries {
                    note(entry.at);
                    walk(&entry.value, note);
                }
            }
        }
    }
    walk(root, &mut note);
    next
}
