//! Sign that a document of JSON is cut off: a proxy gave up in the middle, and whoever reads until the connection closes cannot see it otherwise.
//!
//! Invariant: a document that is damaged in any other way is not called so. It may hold records that are whole, and they are the decoder's to read.

use memchr::memchr2;

/// Brackets that may be open at once; what has more of them is no answer of a provider's.
const DEEPEST: usize = 512;

/// True if a document begins with a bracket and does not end with the one that belongs to it, or ends while others are open, also where it
/// is cut exactly between two records.
pub(crate) fn is_cut_off(document: &[u8]) -> bool {
    let document = document.trim_ascii();
    match document.first() {
        Some(b'{') => !document.ends_with(b"}") || is_open(document),
        Some(b'[') => !document.ends_with(b"]") || is_open(document),
        _ => false,
    }
}

/// True if brackets are open at the end, and every other one was closed by the one that belongs to it. Of a document in which a quote or a bracket is
/// lacking in the middle, some are closed by others, or it ends within a text.
fn is_open(document: &[u8]) -> bool {
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(byte) = document.get(at) {
        at += 1;
        match byte {
            b'"' => match behind_text(document, at) {
                Some(behind) => at = behind,
                None => return false,
            },
            b'{' | b'[' if open.len() < DEEPEST => open.push(*byte),
            b'{' | b'[' => return false,
            b'}' if open.pop() != Some(b'{') => return false,
            b']' if open.pop() != Some(b'[') => return false,
            _ => {}
        }
    }
    !open.is_empty()
}

/// Position behind the text that begins here, behind its first quote; `None` where it does not end.
fn behind_text(document: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr2(b'"', b'\\', document.get(at..)?)?;
        if document.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        // The escaped character, whatever it is.
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_cut_off_wherever_it_ends_too_early() {
        for whole in [
            r#"{"meta":{"total":2},"data":[{"id":1,"x":[1,2],"n":"a]\"[{"},{"id":2,"y":{}}]}"#,
            r#"[{"id":"\\"},{"id":[{}]},7]"#,
            r#" {"data":[]} "#,
        ] {
            assert!(!is_cut_off(whole.as_bytes()), "{whole}");
            let whole = whole.trim();
            for end in 1..whole.len() {
                assert!(is_cut_off(&whole.as_bytes()[..end]), "{}", &whole[..end]);
            }
        }
    }

    #[test]
    fn what_is_damaged_otherwise_is_not() {
        for document in [
            "",
            "7",
            "null",
            "<html>",
            // A bracket or a quote that lacks in a record, and one too many.
            r#"{"data":[{"id":1,{"id":2}]}"#,
            r#"{"data":[{"id":1},{"id":[2}]}"#,
            r#"{"data":[{"id":"1},{"id":2}]}"#,
            r#"{"data":[{"id":1}},{"id":2}]}"#,
            r#"{"data":[{"id":1}]]}"#,
            r#"{"data":[{"name":"a"{b"},{"id":2}]}"#,
            r#"{"data":[1]} {"data":[2]}"#,
            r#"{"data":[{"name":"\ud83d"},{"id":NaN}]}"#,
        ] {
            assert!(!is_cut_off(document.as_bytes()), "{document}");
        }
        assert!(!is_cut_off(&[&[b'['; 1_000][..], b"]"].concat()));
    }
}
