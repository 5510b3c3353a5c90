//! Reading on behind a fault, so that one reading reports all that is wrong.
//!
//! Invariant: a fault is told once, and none is told of what was left out or made up here. A value in which something is made up is never taken for what
//! somebody wrote: [`PartialRead::made_up`] names it.
//!
//! ```text
//!   read --fault--> what it is about is passed over --+
//!    ^                 or, where a key is missing, made up
//!    +-------------------------------------------------+
//! ```

use super::fault::{YamlFault, YamlFaultKind, joined};
use super::node::{YamlContent, YamlEntry, YamlNode, YamlScalar};
use serde::de::DeserializeOwned;

/// Most faults of one value that are reported.
const MOST_FAULTS: usize = 20;
/// Most readings of a value for that; each fault takes one, and some more where something has to
/// be made up.
const MOST_READINGS: usize = 200;

/// Readable part of a value, and the faults of the rest.
#[derive(Debug)]
pub struct PartialRead<T> {
    /// The value; `None` where nothing is to be had.
    pub value: Option<T>,
    /// Faults.
    pub faults: Vec<YamlFault>,
    /// Keys with dots whose values are made up, since they are missing, or wrong, and the value cannot be without them.
    pub made_up: Vec<String>,
    /// Keys with dots of what was passed over: variables that are not set, and what is wrong and has a default. Of what is in a list, the list's.
    pub left_out: Vec<String>,
}

/// A key that is made up, and how many forms of a value were tried.
struct MadeUpKey {
    path: Vec<String>,
    tried: usize,
}

impl YamlNode {
    /// Reads it as whatever is wanted of it, or says all that is wrong with it.
    pub fn read_all<T: DeserializeOwned>(&self) -> Result<T, Vec<YamlFault>> {
        match self.read_partly() {
            PartialRead {
                value: Some(value),
                faults,
                made_up,
                ..
            } if faults.is_empty() && made_up.is_empty() => Ok(value),
            PartialRead { faults, .. } => Err(faults),
        }
    }

    /// Reads what can be read of it as whatever is wanted, and says all that is wrong with the rest. `None` where nothing can be read, or not without
    /// making something up.
    pub fn read_some<T: DeserializeOwned>(&self) -> (Option<T>, Vec<YamlFault>) {
        let PartialRead {
            value,
            faults,
            made_up,
            ..
        } = self.read_partly();
        (value.filter(|_| made_up.is_empty()), faults)
    }

    /// Reads what can be read of it as whatever is wanted, with something made up in place of what it cannot be without.
    pub fn read_partly<T: DeserializeOwned>(&self) -> PartialRead<T> {
        let (mut rest, mut faults, mut filled) =
            (self.clone(), Vec::new(), Vec::<MadeUpKey>::new());
        let mut value = None;
        for _ in 0..MOST_READINGS {
            let fault = match rest.read() {
                Ok(read) => {
                    value = Some(read);
                    break;
                }
                Err(fault) => fault,
            };
            let mut path: Vec<String> = fault.path().into_iter().map(str::to_owned).collect();
            let made_up = filled
                .iter_mut()
                .filter(|filled| path.starts_with(&filled.path))
                .max_by_key(|filled| filled.path.len());
            let goes_on = match (&fault.what, made_up) {
                (YamlFaultKind::MissingKey(key), made_up) => {
                    path.push(key.clone());
                    // A value that was left out is not missing.
                    if made_up.is_none() && !rest.find_mut(&path).is_some_and(|node| node.absent) {
                        faults.push(fault);
                    }
                    let goes_on = rest.fill(&path, form(0));
                    filled.push(MadeUpKey { path, tried: 1 });
                    goes_on
                }
                (YamlFaultKind::UnknownWord { known, .. }, Some(filled)) if filled.path == path => {
                    let word = known.first().map(|word| YamlContent::Scalar {
                        text: (*word).to_owned(),
                        plain: YamlScalar::Text,
                    });
                    filled.tried = FORMS;
                    rest.fill(&path, word)
                }
                (_, Some(filled)) => {
                    filled.tried += 1;
                    rest.fill(&filled.path, form(filled.tried - 1))
                }
                (what, None) => {
                    let is_whole =
                        matches!(what, YamlFaultKind::Wrong { .. } | YamlFaultKind::Custom(_));
                    let below = |filled: &MadeUpKey| filled.path.starts_with(&path);
                    // Without a part that was left out or made up, the whole may be wrong.
                    let by_us = is_whole
                        && (filled.iter().any(below)
                            || rest
                                .find_mut(&path)
                                .is_some_and(|node| node.lacks_something()));
                    if !by_us {
                        faults.push(fault);
                    }
                    rest.leave_out(&path)
                }
            };
            if !goes_on || faults.len() >= MOST_FAULTS {
                break;
            }
        }
        let made_up = filled.iter().map(|filled| joined(&filled.path)).collect();
        PartialRead {
            value,
            faults,
            made_up,
            left_out: rest.left_out(),
        }
    }

    /// Keys with dots of what is passed over in it; of what is in a list, the list's.
    fn left_out(&self) -> Vec<String> {
        fn walk(node: &YamlNode, path: &mut Vec<String>, found: &mut Vec<String>) {
            let is_left_out = match &node.content {
                YamlContent::List(_) => node.lacks_something(),
                YamlContent::Scalar { .. } | YamlContent::Map(_) => node.absent,
            };
            if is_left_out {
                found.extend((!path.is_empty()).then(|| joined(path.as_slice())));
            } else if let YamlContent::Map(entries) = &node.content {
                for entry in entries {
                    path.push(entry.key.clone());
                    walk(&entry.value, path, found);
                    path.pop();
                }
            }
        }
        let mut found = Vec::new();
        walk(self, &mut Vec::new(), &mut found);
        found
    }

    /// Has readers pass over what a path leads to; false where that changes nothing.
    fn leave_out(&mut self, path: &[String]) -> bool {
        match self.find_mut(path) {
            Some(node) if !path.is_empty() && !node.absent => {
                node.absent = true;
                true
            }
            _ => false,
        }
    }

    /// Puts a value under the key that a path ends with; false where there is none to put, or no room for it.
    fn fill(&mut self, path: &[String], content: Option<YamlContent>) -> bool {
        let (Some(content), Some((key, above))) = (content, path.split_last()) else {
            return false;
        };
        if let Some(node) = self.find_mut(path) {
            (node.content, node.absent) = (content, false);
            return true;
        }
        let Some(holder) = self.find_mut(above) else {
            return false;
        };
        if holder.is_null() {
            holder.content = YamlContent::Map(Vec::new());
        }
        let (at, YamlContent::Map(entries)) = (holder.at, &mut holder.content) else {
            return false;
        };
        let value = Self {
            at,
            defined: at,
            content,
            written: None,
            absent: false,
        };
        entries.push(YamlEntry {
            key: key.clone(),
            at,
            value,
        });
        true
    }

    /// True if something in it is passed over.
    fn lacks_something(&self) -> bool {
        self.absent
            || match &self.content {
                YamlContent::Scalar { .. } => false,
                YamlContent::List(elements) => elements.iter().any(Self::lacks_something),
                YamlContent::Map(entries) => {
                    entries.iter().any(|entry| entry.value.lacks_something())
                }
            }
    }
}

/// Number of forms in which a value is made up.
const FORMS: usize = 5;

/// Values that are made up, one after the other: a text that is a number too, an address, a list, keys and values, a boolean.
fn form(n: usize) -> Option<YamlContent> {
    let scalar = |text: &str, plain| YamlContent::Scalar {
        text: text.to_owned(),
        plain,
    };
    Some(match n {
        0 => scalar("1", YamlScalar::Text),
        1 => scalar("https://example.com", YamlScalar::Text),
        2 => YamlContent::List(Vec::new()),
        3 => YamlContent::Map(Vec::new()),
        4 => scalar("true", YamlScalar::Bool(true)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        name: String,
        word: Word,
        #[serde(default)]
        count: Option<u8>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        One,
        Two,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        inner: Inner,
        yes: bool,
        all: BTreeMap<String, u8>,
        list: Vec<Inner>,
        #[serde(default)]
        late: u8,
    }

    fn told(text: &str) -> (PartialRead<Outer>, Vec<String>) {
        let read = YamlNode::parse(text).unwrap().read_partly::<Outer>();
        let told = read
            .faults
            .iter()
            .map(|fault| format!("{}:{} {fault}", fault.at.line(), fault.at.column()))
            .collect();
        (read, told)
    }

    #[test]
    fn every_key_that_is_missing_is_told_and_what_is_wrong_behind_it() {
        let (read, told) = told("inner: { cuont: 1 }\nlate: x\nlist: []\n");
        assert_eq!(
            told,
            [
                "1:10 unknown key `cuont` in `inner`; did you mean `count`?",
                "1:8 the key `inner.name` is missing",
                "1:8 the key `inner.word` is missing",
                "2:7 `late`: expected a whole number that is not negative, found \"x\"",
                "1:1 the key `yes` is missing",
                "1:1 the key `all` is missing",
            ]
        );
        let value = read.value.expect("with what is made up");
        assert_eq!(
            (
                value.late,
                value.inner.count,
                matches!(value.inner.word, Word::One)
            ),
            (0, None, true)
        );
        assert_eq!(read.made_up, ["inner.name", "inner.word", "yes", "all"]);
        assert!(
            YamlNode::parse("late: 1")
                .unwrap()
                .read_some::<Outer>()
                .0
                .is_none(),
            "nothing made up passes for written"
        );
    }

    #[test]
    fn places_in_a_list_stay_what_they_are() {
        let (read, told) = told(
            "inner: { name: a, word: two }\nyes: true\nall: { a: 1, b: x, c: y }\nlist:\n  - { name: b }\n  - 7\n  - { name: c, word: tow, count: 300 }\n  - { name: d, word: one, coutn: 1 }\n",
        );
        assert_eq!(
            told,
            [
                "3:17 `all.b`: expected a whole number that is not negative, found \"x\"",
                "3:23 `all.c`: expected a whole number that is not negative, found \"y\"",
                "5:5 the key `list[1].word` is missing",
                "6:5 `list[2]`: expected keys and values, found a number",
                "7:22 `list[3].word`: `tow` is not known; did you mean `two`?",
                "7:34 `list[3].count`: expected a whole number up to 255, found \"300\"",
                "8:27 unknown key `coutn` in `list[4]`; did you mean `count`?",
            ]
        );
        let value = read.value.unwrap();
        assert_eq!((value.all.len(), value.list.len()), (1, 3));
    }

    #[test]
    fn what_is_passed_over_is_neither_there_nor_missing() {
        let mut node = YamlNode::parse(
            "inner: { name: a, word: two }\nyes: true\nall: { a: 1 }\nlist: []\nlate: x\n",
        )
        .unwrap();
        for key in ["late", "yes"] {
            assert!(node.leave_out(&[key.to_owned()]));
        }
        assert!(node.get("late").is_none());
        let read = node.read_partly::<Outer>();
        assert!(read.faults.is_empty(), "{:?}", read.faults);
        assert_eq!(read.made_up, ["yes"]);
        assert_eq!(read.left_out, ["late"]);
        assert!(node.read_all::<Outer>().is_err());
    }
}
