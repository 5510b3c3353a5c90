//! Parsing on behind a fault, so that one tag or one key too many hides nothing else that is wrong with the file.
//!
//! Invariant: what a fault is about is passed over by readers ([`YamlNode::absent`]) and never taken for what was written; no line and no column
//! moves. A fault of the YAML itself, behind which nobody can tell what is meant, is the last.
//!
//! ```text
//!   parse --a tag, an alias, a second document--> blanked out, and parsed again
//!     |
//!     +--a key for the second time--------------> taken out of the tree
//! ```

use super::fault::YamlFault;
use super::node::{FileLocation, YamlContent, YamlNode};
use super::syntax;
use std::collections::HashSet;

/// Most faults that are parsed on behind.
const MOST: usize = 20;

/// Caller's use of a node: the positions that lead to it, the place of its key if it has one, and the node.
pub(super) type NodeVisitor<'a> = dyn FnMut(&[usize], Option<FileLocation>, &YamlNode) + 'a;

impl YamlNode {
    /// Parses what can be read of a document, in the way of [`YamlNode::parse`], and says what is wrong with the rest.
    pub fn parse_partly(text: &str) -> (Option<Self>, Vec<YamlFault>) {
        Self::parse_recovering(text, true)
    }

    /// Parses what can be read of a document, in the way of [`YamlNode::parse_lenient`], and says what is wrong with the rest.
    pub fn parse_lenient_partly(text: &str) -> (Option<Self>, Vec<YamlFault>) {
        Self::parse_recovering(text, false)
    }

    pub(super) fn parse_recovering(
        text: &str,
        strict_booleans: bool,
    ) -> (Option<Self>, Vec<YamlFault>) {
        let mut text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let (mut faults, mut blanked) = (Vec::new(), Vec::new());
        let root = loop {
            let refused = match Self::parse_once(&text, strict_booleans) {
                Ok(root) => break Some(root),
                Err(refused) => refused,
            };
            let place = refused.fault.at;
            faults.push(refused.fault);
            match refused.token.and_then(|token| without(&text, place, token)) {
                Some((rest, stood)) if faults.len() < MOST => {
                    text = rest;
                    blanked.extend((refused.token != Some(FaultyToken::Document)).then_some(stood));
                }
                _ => break None,
            }
        };
        let root = root.map(|mut root| {
            for place in blanked {
                root.pass_over(place);
            }
            root.take_repeated_keys(&mut faults);
            root
        });
        faults.sort_by_key(|fault| fault.at);
        (root, faults)
    }

    /// Has readers pass over the value at a place: the first one there or behind it on its line, else the one under the last key before it.
    fn pass_over(&mut self, place: FileLocation) {
        let (mut on_its_line, mut before) = (None, None);
        self.each(&mut Vec::new(), &mut |path, key, node| {
            let is_there = node.at.line() == place.line() && node.at >= place;
            if is_there && on_its_line.is_none() {
                on_its_line = Some(path.to_vec());
            }
            if key.is_some_and(|key| key <= place) {
                before = Some(path.to_vec());
            }
        });
        if let Some(node) = on_its_line.or(before).and_then(|path| self.at_mut(&path)) {
            node.absent = true;
        }
    }

    /// Calls `found` with every node below this one, the positions that lead to it, and the place of its key if it has one.
    pub(super) fn each(&self, path: &mut Vec<usize>, found: &mut NodeVisitor<'_>) {
        let children: Vec<_> = match &self.content {
            YamlContent::Scalar { .. } => Vec::new(),
            YamlContent::List(elements) => elements.iter().map(|node| (None, node)).collect(),
            YamlContent::Map(entries) => entries
                .iter()
                .map(|entry| (Some(entry.at), &entry.value))
                .collect(),
        };
        for (at, (key, child)) in children.into_iter().enumerate() {
            path.push(at);
            found(path, key, child);
            child.each(path, found);
            path.pop();
        }
    }

    fn at_mut(&mut self, path: &[usize]) -> Option<&mut Self> {
        path.iter()
            .try_fold(self, |node, at| match &mut node.content {
                YamlContent::Scalar { .. } => None,
                YamlContent::List(elements) => elements.get_mut(*at),
                YamlContent::Map(entries) => entries.get_mut(*at).map(|entry| &mut entry.value),
            })
    }

    /// Takes out every entry whose key stands in its map before, `1` and `"1"` being one, with a fault each.
    fn take_repeated_keys(&mut self, faults: &mut Vec<YamlFault>) {
        match &mut self.content {
            YamlContent::Scalar { .. } => {}
            YamlContent::List(elements) => elements
                .iter_mut()
                .for_each(|element| element.take_repeated_keys(faults)),
            YamlContent::Map(entries) => {
                let mut seen = HashSet::new();
                entries.retain(|entry| {
                    let is_first = seen.insert(entry.key.clone());
                    if !is_first && faults.len() < MOST {
                        faults.push(syntax::twice(&entry.key, entry.at));
                    }
                    is_first
                });
                entries
                    .iter_mut()
                    .for_each(|entry| entry.value.take_repeated_keys(faults));
            }
        }
    }
}

/// Token that a fault is about, and that can be blanked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultyToken {
    /// A tag, `!name`, before a value or in place of one.
    Tag,
    /// An alias, `*name`, in place of a value.
    Alias,
    /// A second document, and all that follows it.
    Document,
}

/// Bytes of the tag or alias that a text begins with. A tag within `<` and `>` may have in it what ends any other; a comma ends one within `{ }` and `[ ]` alone.
fn length_of_token(text: &str, is_in_flow: bool) -> usize {
    let ends = |c: char| c.is_whitespace() || is_in_flow && matches!(c, ',' | ']' | '}');
    let verbatim = text.strip_prefix("!<").and_then(|tag| {
        let end = tag.find(|c: char| c == '>' || c.is_whitespace())?;
        tag.get(end..)?
            .starts_with('>')
            .then_some("!<".len() + end + 1)
    });
    let from = verbatim.unwrap_or(0);
    let rest = text.get(from..).unwrap_or_default();
    from + rest.find(ends).unwrap_or(rest.len())
}

/// True behind a `{` or `[` that begins a value and is not closed yet.
fn is_in_flow(before: &str) -> bool {
    let (mut depth, mut quote, mut last) = (0_usize, None, '\n');
    let mut is_comment = false;
    for c in before.chars() {
        let begins = last.is_whitespace() || depth > 0 && matches!(last, '{' | '[' | ',' | ':');
        match (c, quote) {
            ('\n', _) => is_comment = false,
            _ if is_comment => {}
            (c, Some(open)) if c == open && (open == '\'' || last != '\\') => quote = None,
            (_, Some(_)) => {}
            ('#', None) if last.is_whitespace() => is_comment = true,
            // Twice, it stands for itself.
            ('\'', None) if last == c => quote = Some(c),
            ('"' | '\'', None) if begins => quote = Some(c),
            ('{' | '[', None) if begins => depth += 1,
            ('}' | ']', None) => depth = depth.saturating_sub(1),
            _ => {}
        }
        // An escaped mark escapes nothing.
        last = if c == '\\' && last == c { ' ' } else { c };
    }
    depth > 0
}

/// A text without the token at a place or right before it, blanks or nothing (`~`) instead, and where it stood; `None` where no such token stands
/// there.
fn without(text: &str, place: FileLocation, token: FaultyToken) -> Option<(String, FileLocation)> {
    let line = usize::try_from(place.line()).ok()?.checked_sub(1)?;
    let column = usize::try_from(place.column()).ok()?.checked_sub(1)?;
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let line_text = text.get(start..)?.lines().next().unwrap_or_default();
    let at = line_text
        .char_indices()
        .nth(column)
        .map_or(line_text.len(), |(at, _)| at);
    let here = start + at;
    let mark = match token {
        FaultyToken::Document => {
            let before = text.get(..here)?;
            // The place may be that of what follows the line that begins it.
            let ends = match line_text.starts_with("---") {
                true => start,
                false => before.rfind("\n---")? + 1,
            };
            let first = text.get(..ends)?;
            return (!first.trim().is_empty()).then(|| (first.to_owned(), place));
        }
        FaultyToken::Tag => '!',
        FaultyToken::Alias => '*',
    };
    let from = match text.get(here..)?.starts_with(mark) {
        true => here,
        false => {
            let last = text.get(..here)?.rfind(mark)?;
            // A tag may have another mark in it: `!!str`, `!name!str`.
            let start = text
                .get(..last)?
                .rfind(|c: char| c.is_whitespace() || matches!(c, '[' | '{' | ','))
                .map_or(0, |at| at + 1);
            match text.get(start..)?.starts_with(mark) {
                true => start,
                false => last,
            }
        }
    };
    let behind = text.get(from..)?;
    let length = length_of_token(behind, is_in_flow(text.get(..from)?));
    let between = text.get(from + length..here.max(from + length))?.trim();
    if !(between.is_empty() || between.starts_with('#')) {
        return None;
    }
    let line_start = text.get(..from)?.rfind('\n').map_or(0, |end| end + 1);
    let before = text.get(line_start..from)?;
    let mut lines = behind.get(length..)?.lines();
    let value = lines.next().unwrap_or_default().trim_start();
    let is_last = value.is_empty() || value.starts_with('#');
    let stands_alone = is_last || value.starts_with([',', ']', '}']);
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let next = lines.find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    // A block below belongs to the tag.
    let has_block = next.is_some_and(|next| {
        let is_list = next.trim_start().starts_with("- ") && !before.trim_start().starts_with("- ");
        indent(next) > indent(before) || (is_list && indent(next) == indent(before))
    });
    let mut fill = if stands_alone && !(is_last && has_block) {
        "~"
    } else {
        " "
    }
    .to_owned();
    let characters = behind.get(..length)?.chars().count();
    fill.extend(std::iter::repeat_n(' ', characters.checked_sub(1)?));
    let place = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let stood = FileLocation::new(
        place(text.get(..line_start)?.matches('\n').count() + 1),
        place(before.chars().count() + 1),
    );
    let rest = text.get(from + length..)?;
    Some((format!("{}{fill}{rest}", text.get(..from)?), stood))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults of a document, and its keys with texts.
    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let (root, faults) = YamlNode::parse_partly(text);
        let faults = faults
            .iter()
            .map(|fault| format!("{}:{} {fault}", fault.at.line(), fault.at.column()))
            .collect();
        let mut there = Vec::new();
        if let Some(root) = &root {
            root.each(&mut Vec::new(), &mut |_, _, node| {
                if let (Some(text), false) = (node.text(), node.absent) {
                    there.push(text.to_owned());
                }
            });
        }
        (faults, there)
    }

    #[test]
    fn a_key_that_stands_twice_hides_no_other() {
        let (faults, there) =
            read("a: 1\nb: { c: 2, c: 3 }\na: 4\n\"1\": x\n1: y\nl: [{ d: 5, d: 6 }]\n");
        assert_eq!(
            faults,
            [
                "2:12 the key `c` stands here twice",
                "3:1 the key `a` stands here twice",
                "5:1 the key `1` stands here twice",
                "6:13 the key `d` stands here twice",
            ]
        );
        assert_eq!(there, ["1", "2", "x", "5"]);
    }

    #[test]
    fn a_tag_hides_nothing_but_its_value() {
        for (text, faulty, rest) in [
            ("a: !env X\nb: 2\n", 1, &["2"][..]),
            ("a: !hunter2\nb: 2\n", 1, &["2"]),
            ("a: !x # why\nb: 2\n", 1, &["2"]),
            ("m: { a: !x, b: 2 }\nc: 3\n", 1, &["2", "3"]),
            ("l: [!x, 2, !y z]\nc: 3\n", 2, &["2", "3"]),
            ("l:\n  - !x\n  - 2\n", 1, &["2"]),
            ("l:\n  - !x y\n  - 2\n", 1, &["2"]),
            ("äö: ü\na: !env \"X Y\"\nb: 2\n", 1, &["ü", "2"]),
            // Those that YAML itself knows would make something else of a value.
            ("a: !!binary aHVudGVyMg==\nb: 2\n", 1, &["2"]),
            ("a: !!str 12\nb: !!int \"3\"\nc: 2\n", 2, &["2"]),
            ("a: !!float 1\nb: !!bool true\nd: 2\n", 2, &["2"]),
            ("a: !!int x\nb: !!binary x\nd: 2\n", 2, &["2"]),
            ("a: ! 12\nb: 2\n", 1, &["2"]),
            ("a: !!str &x 12\nb: 2\n", 1, &["2"]),
            ("a: &x !!str 12\nb: 2\n", 1, &["2"]),
            (
                "a: [!!binary aGk=, 2]\nb: { c: !!str 1, d: 3 }\n",
                2,
                &["2", "3"],
            ),
            // Tags written out, in flow and in blocks, and those with marks and commas in them.
            ("a: !<tag:yaml.org,2002:str> 12\nb: 2\n", 1, &["2"]),
            ("a: !<tag:yaml.org,2002:int> \"3\"\nb: 2\n", 1, &["2"]),
            ("a: &x !<tag:yaml.org,2002:str> 12\nb: 2\n", 1, &["2"]),
            (
                "a: !<tag:yaml.org,2002:binary> aHVudGVyMg==\nb: 2\n",
                1,
                &["2"],
            ),
            ("a: !<tag:example.com,2026:x> y\nb: 2\n", 1, &["2"]),
            ("a: !<!hunter2> y\nb: 2\n", 1, &["2"]),
            (
                "a: [!<tag:yaml.org,2002:str> 1, 2]\nb: { c: !<tag:x,[1]> y, d: 3 }\n",
                2,
                &["2", "3"],
            ),
            ("l:\n  - !<tag:yaml.org,2002:str> 1\n  - 2\n", 1, &["2"]),
            ("a: !<tag:yaml.org,2002:str\nb: 2\n", 1, &["2"]),
            ("a: !x,hunter2 y\nb: 2\n", 1, &["2"]),
            ("a: !x,hunter2\nb: 2\n", 1, &["2"]),
            ("a: !x, y\nb: 2\n", 1, &["2"]),
            ("a: [!x,3, 2]\n", 1, &["3", "2"]),
            ("a: !e!x y\nb: 2\n", 1, &["2"]),
            ("x: a [b\na: !x,y z\nb: 2\n", 1, &["a [b", "2"]),
            (
                "x: { c: 'it''s }', d: \"}\" } # {\na: !x,y z\nb: 2\n",
                1,
                &["it's }", "}", "2"],
            ),
            // Words that only look like one.
            (
                "a: x !!str y\nb: \"!!str\"\nc: '! z'\n",
                0,
                &["x !!str y", "!!str", "! z"],
            ),
            ("a: # not !!str\n  b: 2\n", 0, &["2"]),
            ("\"!x\": 2\n", 0, &["2"]),
        ] {
            let (faults, there) = read(text);
            assert_eq!(faults.len(), faulty, "{text}: {faults:?}");
            assert!(!faults.concat().contains("hunter2"), "{faults:?}");
            assert_eq!(there, rest, "{text}: {faults:?}");
        }
        for text in [
            "a: !x\n  b: 1\nc: 2\n",
            "a: !!map\n  b: 1\nc: 2\n",
            "a: !!binary\n  aGk=\nc: 2\n",
            "a: !!seq\n  - 1\nc: 2\n",
            "a: !!map # why\n\n  # why\n  b: 1\nc: 2\n",
            "a: !<tag:yaml.org,2002:map>\n  b: 1\nc: 2\n",
            "a: !<tag:x,y>\n  b: 1\nc: 2\n",
            "a: !x,y\n  b: 1\nc: 2\n",
        ] {
            let (root, faults) = YamlNode::parse_partly(text);
            assert_eq!(faults.len(), 1, "{text}: {faults:?}");
            let root = root.unwrap();
            assert!(root.get("a").is_none() && root.get("c").is_some(), "{text}");
        }
        let (faults, _) = read("a: !x y\nb: *z\nc: 1\nc: 2\n");
        assert_eq!(faults.len(), 3, "{faults:?}");
    }

    #[test]
    fn a_second_document_hides_nothing_in_the_first() {
        let (faults, there) = read("a: 1\na: 2\n---\nb: 3\n");
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert_eq!(there, ["1"]);
    }

    #[test]
    fn behind_what_is_no_yaml_nothing_is_read() {
        let (root, faults) = YamlNode::parse_partly("a: !x 1\nb: \"open\nc: 2\n");
        assert!(root.is_none());
        assert!(!faults.is_empty());
        let many: String = (0..30).map(|n| format!("k{n}: !x y\n")).collect();
        let (root, faults) = YamlNode::parse_partly(&many);
        assert!(root.is_none() && faults.len() == MOST, "{}", faults.len());
    }
}
