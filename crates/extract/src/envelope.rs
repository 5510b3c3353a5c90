//! Reads a few values of a page's envelope (a total, a link) without parsing its records.
//!
//! Invariant: reading stops as soon as every wanted value is found or known to be absent; where the envelope comes before the
//! records, their bytes are never touched.
//!
//! Rejected: serde with `IgnoredAny`, which always walks the whole page; and a search for `"total":` in the bytes, which
//! would find it inside a record.

use jiter::{Jiter, JiterError, Peek};
use std::hash::{DefaultHasher, Hasher};
use tillhouse_model::{Error, Result};

/// A value of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// A string, unescaped.
    Text(String),
    /// An object or array, which is not read.
    Nested,
}

impl Scalar {
    /// A whole number that is not negative, also where it is written as a string.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(text) | Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A string that is not empty.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// The values at some paths of object keys, `None` where there is none. Where a key stands twice, the first counts.
///
/// Errors with [`tillhouse_model::ErrorKind::Protocol`] when the page is not a JSON object as far as it was read.
pub fn read<const N: usize>(page: &[u8], wanted: &[&[&str]; N]) -> Result<[Option<Scalar>; N]> {
    const { assert!(N > 0 && N <= 32) };
    let mut search = Search { jiter: Jiter::new(page), wanted, found: std::array::from_fn(|_| None), open: all(N) };
    search.object(0, all(N)).map_err(|e| not_json(&e))?;
    Ok(search.found)
}

/// How many elements the array at a path of keys has. Walks the whole array.
///
/// Errors with [`tillhouse_model::ErrorKind::Protocol`] when the page is not JSON as far as it was read, or there is no such array.
pub fn count(page: &[u8], path: &[&str]) -> Result<u64> {
    let mut count = 0;
    let found = elements(&mut Jiter::new(page), path, &mut |jiter, peek| {
        count += 1;
        jiter.known_skip(peek)
    });
    found_at(path, found)?;
    Ok(count)
}

/// What identifies the records in the array at a path of keys: a hash of each one's value at `key`, or of the whole record where it has
/// none. Enough to tell whether a page brings anything new. Hashes are good within this process and program only.
///
/// Errors with [`tillhouse_model::ErrorKind::Protocol`] when the page is not JSON as far as it was read, or there is no such array.
pub fn identities(page: &[u8], path: &[&str], key: &str) -> Result<Vec<u64>> {
    let mut identities = Vec::new();
    let found = elements(&mut Jiter::new(page), path, &mut |jiter, peek| {
        identities.push(identity(jiter, peek, key)?);
        Ok(())
    });
    found_at(path, found)?;
    Ok(identities)
}

/// An error where there is no such array.
fn found_at(path: &[&str], found: Result<bool, JiterError>) -> Result<()> {
    if found.map_err(|e| not_json(&e))? {
        return Ok(());
    }
    Err(Error::protocol(format!("the page holds no list called {}", path.join(".")))
        .hint("Check connection.base_url and connection.paths: something else may be answering there."))
}

fn identity(jiter: &mut Jiter<'_>, peek: Peek, key: &str) -> Result<u64, JiterError> {
    let start = jiter.current_index();
    let mut value = None;
    if peek == Peek::Object {
        let mut is_key = jiter.known_object()?.map(|k| k == key);
        while let Some(here) = is_key {
            let peek = jiter.peek()?;
            let from = jiter.current_index();
            jiter.known_skip(peek)?;
            if here && peek != Peek::Null {
                value = Some(hash(jiter.slice_to_current(from)));
            }
            is_key = jiter.next_key()?.map(|k| k == key);
        }
    } else {
        jiter.known_skip(peek)?;
    }
    Ok(value.unwrap_or_else(|| hash(jiter.slice_to_current(start))))
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Calls `each` for the elements of the array at a path of keys, which it has to read; whether there is such an array.
fn elements(
    jiter: &mut Jiter<'_>,
    path: &[&str],
    each: &mut dyn FnMut(&mut Jiter<'_>, Peek) -> Result<(), JiterError>,
) -> Result<bool, JiterError> {
    let Some((key, rest)) = path.split_first() else {
        if jiter.peek()? != Peek::Array {
            return Ok(false);
        }
        let mut next = jiter.known_array()?;
        while let Some(peek) = next {
            each(jiter, peek)?;
            next = jiter.array_step()?;
        }
        return Ok(true);
    };
    if jiter.peek()? != Peek::Object {
        return Ok(false);
    }
    let mut matches = jiter.known_object()?.map(|k| k == *key);
    while let Some(here) = matches {
        if here {
            return elements(jiter, rest, each);
        }
        jiter.next_skip()?;
        matches = jiter.next_key()?.map(|k| k == *key);
    }
    Ok(false)
}

struct Search<'j, 'w, const N: usize> {
    jiter: Jiter<'j>,
    wanted: &'w [&'w [&'w str]; N],
    found: [Option<Scalar>; N],
    /// The paths, as bits, of which it is not yet known whether they are there.
    open: u32,
}

fn all(n: usize) -> u32 {
    u32::MAX >> (32 - n)
}

impl<const N: usize> Search<'_, '_, N> {
    /// Walks an object whose path is a prefix, of `depth` keys, of the paths in `here`.
    fn object(&mut self, depth: usize, here: u32) -> Result<(), JiterError> {
        let mut key = below(self.wanted, self.jiter.next_object()?, depth, here & self.open);
        while let Some(below_key) = key {
            self.value(depth + 1, below_key)?;
            if self.open == 0 {
                return Ok(());
            }
            key = below(self.wanted, self.jiter.next_key()?, depth, here & self.open);
        }
        Ok(())
    }

    /// Reads or skips a value at a path of `depth` keys; `here` are the wanted paths that lead to it or through it.
    fn value(&mut self, depth: usize, here: u32) -> Result<(), JiterError> {
        let peek = self.jiter.peek()?;
        if here == 0 {
            return self.jiter.known_skip(peek);
        }
        let ends_here = (0..N).filter(|i| here & (1 << i) != 0 && self.wanted[*i].len() == depth);
        let ends: Vec<usize> = ends_here.collect();
        if !ends.is_empty() {
            let scalar = self.scalar(peek)?;
            for i in ends {
                self.found[i] = Some(scalar.clone());
            }
        } else if peek == Peek::Object {
            self.object(depth, here)?;
        } else if self.open != here {
            self.jiter.known_skip(peek)?;
        }
        self.open &= !here;
        Ok(())
    }

    fn scalar(&mut self, peek: Peek) -> Result<Scalar, JiterError> {
        Ok(match peek {
            Peek::Null => {
                self.jiter.known_null()?;
                Scalar::Null
            }
            Peek::True | Peek::False => Scalar::Bool(self.jiter.known_bool(peek)?),
            Peek::String => Scalar::Text(self.jiter.known_str()?.to_owned()),
            Peek::Array | Peek::Object => {
                self.jiter.known_skip(peek)?;
                Scalar::Nested
            }
            _ => {
                let bytes = self.jiter.known_number_bytes(peek)?;
                Scalar::Number(String::from_utf8_lossy(bytes).into_owned())
            }
        })
    }
}

/// The paths of `here` whose key at `depth` is `key`; `None` at the end of the object.
fn below(wanted: &[&[&str]], key: Option<&str>, depth: usize, here: u32) -> Option<u32> {
    let key = key?;
    let leads = |i: &usize| here & (1 << i) != 0 && wanted[*i].get(depth) == Some(&key);
    Some((0..wanted.len()).filter(leads).fold(0, |bits, i| bits | 1 << i))
}

/// The error's kind and place; never the text around it, which may be a record's.
fn not_json(error: &JiterError) -> Error {
    Error::protocol(format!("the answer is not the JSON object it should be, at byte {}", error.index))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: &[&str] = &["meta", "total"];
    const NEXT: &[&str] = &["_links", "next"];

    fn number(text: &str) -> Option<Scalar> {
        Some(Scalar::Number(text.into()))
    }

    #[test]
    fn values_before_the_records_are_found_without_reading_them() {
        // What follows is not JSON at all, and nobody notices.
        let page = br#"{"_links":{"self":"a","next":"b\u002fc"},"meta":{"limit":2,"total":7}, "data":[{"id": NONSENSE"#;
        let found = read(page, &[TOTAL, NEXT]).unwrap();
        assert_eq!(found, [number("7"), Some(Scalar::Text("b/c".into()))]);
    }

    #[test]
    fn values_after_the_records_are_found_and_records_do_not_fool_it() {
        let page = br#"{"data":[{"meta":{"total":1}},{"x":"\"meta\":{\"total\":2}"}],"meta":{"total":3}}"#;
        assert_eq!(read(page, &[TOTAL, NEXT]).unwrap(), [number("3"), None]);
        let page = br#"{"meta":{"total":3,"x":{"y":[]}},"data":[],"_links":{"next":"n"}}"#;
        assert_eq!(read(page, &[TOTAL, NEXT]).unwrap(), [number("3"), Some(Scalar::Text("n".into()))]);
    }

    #[test]
    fn what_a_visited_object_lacks_is_not_searched_in_the_records() {
        let page = br#"{"meta":{"total":3},"data":[NONSENSE"#;
        assert_eq!(read(page, &[TOTAL, &["meta", "limit"]]).unwrap(), [number("3"), None]);
        let page = br#"{"meta":null,"data":[NONSENSE"#;
        assert_eq!(read(page, &[TOTAL]).unwrap(), [None]);
    }

    #[test]
    fn kinds_are_told_apart() {
        let page = br#"{"a":null,"b":true,"c":"12","d":-1.5e3,"e":[1],"f":"","g":9}"#;
        let [a, b, c, d, e, f, g, h] =
            read(page, &[&["a"], &["b"], &["c"], &["d"], &["e"], &["f"], &["g"], &["g", "h"]]).unwrap();
        assert_eq!((a, b, e), (Some(Scalar::Null), Some(Scalar::Bool(true)), Some(Scalar::Nested)));
        assert_eq!(c.unwrap().as_u64(), Some(12));
        assert_eq!(d.clone().unwrap().as_u64(), None);
        assert_eq!(d, number("-1.5e3"));
        assert_eq!(f.unwrap().as_text(), None);
        assert_eq!(g.unwrap().as_u64(), Some(9));
        assert_eq!(h, None);
    }

    #[test]
    fn arrays_are_counted() {
        let page = br#"{"meta":{},"data":[{"a":[1,2]},{"b":"]"},3]}"#;
        assert_eq!(count(page, &["data"]).unwrap(), 3);
        assert!(count(page, &["meta"]).is_err());
        assert!(count(page, &["meta", "x"]).unwrap_err().message().ends_with("no list called meta.x"));
        assert_eq!(count(b"[1,2]", &[]).unwrap(), 2);
        assert_eq!(count(br#"{"data":[]}"#, &["data"]).unwrap(), 0);
    }

    #[test]
    fn records_are_known_again_by_their_key() {
        let of = |page: &str| identities(page.as_bytes(), &["data"], "id").unwrap();
        let [a, b] = of(r#"{"data":[{"id":"a","x":{"id":"b"}},{"x":[1],"id":7}]}"#)[..] else { panic!() };
        assert_eq!(of(r#"{"trace":1,"data":[ {"x":2,"id" : "a"}, {"id":7} ]}"#), [a, b]);
        let without = of(r#"{"data":[{"x":1},{"id":null,"x":1},{"x":1},3]}"#);
        assert_eq!(without[0], without[2], "as a whole, where there is no key");
        assert_ne!(without[0], without[1]);
        assert!(of(r#"{"data":[]}"#).is_empty());
        for none in [&br#"{"data":null}"#[..], br#"{"items":[]}"#] {
            assert!(identities(none, &["data"], "id").unwrap_err().message().ends_with("no list called data"));
        }
        assert!(identities(br#"{"data":[{"id":"#, &["data"], "id").is_err());
    }

    #[test]
    fn what_is_not_json_is_an_error_that_quotes_nothing() {
        for page in [&b""[..], b"<html>", b"[1]", br#"{"meta":{"total":"#, br#"{"secret":tru"#, b"\xff\xfe"] {
            let error = read(page, &[TOTAL]).unwrap_err();
            assert_eq!(error.kind(), tillhouse_model::ErrorKind::Protocol);
            assert!(!error.to_string().contains("secret"));
        }
        assert!(count(br#"{"data":[1,"#, &["data"]).is_err());
    }
}
