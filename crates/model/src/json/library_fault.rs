//! Errors of the JSON library, in words of whoever wrote the JSON.
//!
//! Invariant: the place stays; what is the library's own limit is said as a property of the text.

/// True if a text is nested more deeply than the library reads.
pub fn is_too_deep(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("recursion limit exceeded")
}

/// Fault of a text.
pub fn fault(error: &serde_json::Error) -> String {
    if is_too_deep(error) {
        let (line, column) = (error.line(), error.column());
        return format!(
            "its lists and objects stand more than 127 deep within each other, at line {line} column {column}"
        );
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_said_in_words_and_all_else_as_it_is() {
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap_err();
        let deep = read(&"[".repeat(200));
        assert!(is_too_deep(&deep));
        assert_eq!(
            fault(&deep),
            "its lists and objects stand more than 127 deep within each other, at line 1 column 128"
        );
        assert!(
            serde_json::from_str::<serde_json::Value>(&format!(
                "{}{}",
                "[".repeat(127),
                "]".repeat(127)
            ))
            .is_ok()
        );
        let open = read("[1");
        assert!(!is_too_deep(&open));
        assert_eq!(fault(&open), open.to_string());
    }
}
