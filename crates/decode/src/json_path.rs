//! Paths to values of a record, as the page spells them: `payments[0].amount`.
//!
//! Invariant: two places of a record never have the same path.

use std::fmt::Write as _;

/// Segment of the path to the current value, as the page spells it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum JsonPathSegment<'p> {
    Field(&'p str),
    Index(usize),
}

/// The path to a field of the object that steps lead to, with positions in lists or without.
pub(crate) fn path(steps: &[JsonPathSegment<'_>], name: &str, positions: bool) -> String {
    let mut out = String::new();
    let field = |out: &mut String, name: &str| {
        if name.contains(['.', '[', ']']) {
            // Spelled so that it cannot be taken for a path of its own.
            out.push('[');
            out.push_str(&serde_json::Value::from(name).to_string());
            out.push(']');
        } else if !name.is_empty() {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(name);
        }
    };
    for step in steps {
        match step {
            JsonPathSegment::Field(name) => field(&mut out, name),
            JsonPathSegment::Index(at) if positions => {
                let _infallible = write!(out, "[{at}]");
            }
            JsonPathSegment::Index(_) => out.push_str("[]"),
        }
    }
    field(&mut out, name);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_like_the_page() {
        let steps = [
            JsonPathSegment::Field("payments"),
            JsonPathSegment::Index(3),
            JsonPathSegment::Field(""),
            JsonPathSegment::Field("log"),
            JsonPathSegment::Index(0),
        ];
        assert_eq!(path(&steps, "code", true), "payments[3].log[0].code");
        assert_eq!(path(&steps, "code", false), "payments[].log[].code");
        assert_eq!(path(&steps, "", true), "payments[3].log[0]");
        assert_eq!(path(&[], "id", true), "id");
        assert_eq!(path(&steps[..1], "a.b", true), r#"payments["a.b"]"#);
    }
}
