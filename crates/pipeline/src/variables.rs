//! References to variables in a text: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar sign.
//!
//! Invariant: a value is put in as it is and never looked into: what a variable holds is no reference and no YAML. Nothing here
//! shows a value; a mistake says where it is, and names at most the variable.

/// Error in a text's references to variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VariableError {
    /// Start of the reference, in bytes from the start of the text.
    pub(crate) at: usize,
    pub(crate) kind: VariableErrorKind,
}

/// Fault of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VariableErrorKind {
    /// No `}` follows.
    Unclosed,
    /// Text between the braces that is neither `NAME` nor `NAME:-default`.
    Name,
    /// The variable is not set, and there is no default.
    Missing(String),
    /// Defaults within defaults, too many.
    Deep,
}

/// Defaults may hold references with defaults, so deep.
const DEEPEST: u32 = 16;

/// One part of a text.
enum TemplatePart<'a> {
    Text(&'a str),
    Reference {
        at: usize,
        name: &'a str,
        default: Option<(usize, &'a str)>,
    },
}

/// A text with its references replaced by what `lookup` says of them. A default counts where the variable is not set or empty.
pub(crate) fn replace<'v>(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<&'v str>,
) -> Result<String, VariableError> {
    let mut out = String::with_capacity(text.len());
    expand(text, 0, DEEPEST, &mut |part| {
        match part {
            TemplateToken::Text(text) => out.push_str(text),
            TemplateToken::Variable { name, has_default } => match lookup(name) {
                Some(value) if !(value.is_empty() && has_default) => out.push_str(value),
                _ if has_default => return Ok(true),
                _ => return Err(VariableErrorKind::Missing(name.to_owned())),
            },
        }
        Ok(false)
    })?;
    Ok(out)
}

/// The names of a text's variables, those of defaults included, in order, not each once.
pub(crate) fn names(text: &str) -> Result<Vec<String>, VariableError> {
    let mut names = Vec::new();
    expand(text, 0, DEEPEST, &mut |part| {
        if let TemplateToken::Variable { name, .. } = part {
            names.push(name.to_owned());
        }
        Ok(true)
    })?;
    Ok(names)
}

/// Token that [`expand`] passes on.
enum TemplateToken<'a> {
    Text(&'a str),
    Variable { name: &'a str, has_default: bool },
}

/// Expands a text part by part; where `each` answers a variable with `true`, its default follows.
fn expand(
    text: &str,
    offset: usize,
    depth: u32,
    each: &mut dyn FnMut(TemplateToken<'_>) -> Result<bool, VariableErrorKind>,
) -> Result<(), VariableError> {
    for part in parts(text).map_err(|m| VariableError {
        at: offset + m.at,
        ..m
    })? {
        match part {
            TemplatePart::Text(text) => {
                each(TemplateToken::Text(text)).map_err(|what| VariableError {
                    at: offset,
                    kind: what,
                })?;
            }
            TemplatePart::Reference { at, name, default } => {
                let mistake = |what| VariableError {
                    at: offset + at,
                    kind: what,
                };
                let wants_default = each(TemplateToken::Variable {
                    name,
                    has_default: default.is_some(),
                })
                .map_err(mistake)?;
                if let (Some((from, default)), true) = (default, wants_default) {
                    let depth = depth
                        .checked_sub(1)
                        .ok_or_else(|| mistake(VariableErrorKind::Deep))?;
                    expand(default, offset + from, depth, each)?;
                }
            }
        }
    }
    Ok(())
}

/// Cuts a text at its references.
fn parts(text: &str) -> Result<Vec<TemplatePart<'_>>, VariableError> {
    let mut parts = Vec::new();
    let (mut done, mut at) = (0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('$')) {
        let dollar = at + found;
        let plain = |done| TemplatePart::Text(text.get(done..dollar).unwrap_or_default());
        match text.as_bytes().get(dollar + 1) {
            Some(b'$') => {
                parts.push(plain(done));
                parts.push(TemplatePart::Text("$"));
                at = dollar + 2;
                done = at;
            }
            Some(b'{') => {
                parts.push(plain(done));
                let (reference, end) = reference(text, dollar)?;
                parts.push(reference);
                at = end;
                done = end;
            }
            // A dollar sign by itself is one.
            _ => at = dollar + 1,
        }
    }
    parts.push(TemplatePart::Text(text.get(done..).unwrap_or_default()));
    Ok(parts)
}

/// The reference whose `${` is at `dollar`, and where it ends.
fn reference(text: &str, dollar: usize) -> Result<(TemplatePart<'_>, usize), VariableError> {
    let mistake = |what| VariableError {
        at: dollar,
        kind: what,
    };
    let start = dollar + 2;
    let inner = text.get(start..).unwrap_or_default();
    let end = closing(inner).ok_or_else(|| mistake(VariableErrorKind::Unclosed))?;
    let inner = inner.get(..end).unwrap_or_default();
    let length = inner
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(inner.len());
    let (name, rest) = inner.split_at(length);
    if !is_name(name) {
        return Err(mistake(VariableErrorKind::Name));
    }
    let default = match rest.strip_prefix(":-") {
        Some(default) => Some((start + length + 2, default)),
        None if rest.is_empty() => None,
        None => return Err(mistake(VariableErrorKind::Name)),
    };
    Ok((
        TemplatePart::Reference {
            at: dollar,
            name,
            default,
        },
        start + end + 1,
    ))
}

/// Place of the brace that closes one open before `text`; braces within come in pairs.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// True if a text is a variable's name: letters, digits and `_`, no digit first.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Option<&'static str> {
        match name {
            "HOST" => Some("example.com"),
            "PORT" => Some("8080"),
            "EMPTY" => Some(""),
            "_ODD" => Some("a$$b${HOST}"),
            _ => None,
        }
    }

    fn replaced(text: &str) -> Result<String, VariableError> {
        replace(text, &value)
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        for (text, wanted) in [
            ("", ""),
            ("plain", "plain"),
            ("${HOST}", "example.com"),
            ("http://${HOST}:${PORT}/x", "http://example.com:8080/x"),
            ("${HOST}${HOST}", "example.comexample.com"),
            ("é${HOST}é", "éexample.comé"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${NONE:-}", ""),
            ("${NONE:-a b: # c}", "a b: # c"),
            ("${NONE:-${HOST}:1}", "example.com:1"),
            ("${NONE:-${NEITHER:-${PORT}}}", "8080"),
            ("${HOST:-${NONE}}", "example.com"),
            ("${NONE:-{\"a\":{}}}", "{\"a\":{}}"),
            ("${NONE:-$$5}", "$5"),
        ] {
            assert_eq!(replaced(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn a_dollar_sign_by_itself_or_doubled_is_one_and_a_value_is_not_looked_into() {
        for (text, wanted) in [
            ("$", "$"),
            ("a$", "a$"),
            ("$HOST", "$HOST"),
            ("5$ or $5", "5$ or $5"),
            ("$$", "$"),
            ("$$$", "$$"),
            ("$$$$", "$$"),
            ("$${HOST}", "${HOST}"),
            ("$$${HOST}", "$example.com"),
            ("pa$$word", "pa$word"),
            ("${_ODD}", "a$$b${HOST}"),
            ("}{", "}{"),
        ] {
            assert_eq!(replaced(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn mistakes_say_where() {
        for (text, at, what) in [
            ("a ${HOST", 2, VariableErrorKind::Unclosed),
            ("${", 0, VariableErrorKind::Unclosed),
            ("${NONE:-{}", 0, VariableErrorKind::Unclosed),
            ("${HOST}${NONE:-${X}", 7, VariableErrorKind::Unclosed),
            ("${}", 0, VariableErrorKind::Name),
            ("${1X}", 0, VariableErrorKind::Name),
            ("${A-B}", 0, VariableErrorKind::Name),
            ("${A:B}", 0, VariableErrorKind::Name),
            ("${ HOST }", 0, VariableErrorKind::Name),
            ("${HÖST}", 0, VariableErrorKind::Name),
            ("x${NONE}", 1, VariableErrorKind::Missing("NONE".into())),
            (
                "${NONE:-ab${OTHER}}",
                10,
                VariableErrorKind::Missing("OTHER".into()),
            ),
            ("${NONE:-ab${1}}", 10, VariableErrorKind::Name),
        ] {
            assert_eq!(
                replaced(text),
                Err(VariableError { at, kind: what }),
                "{text}"
            );
        }
        let mut deep = "x".to_owned();
        for _ in 0..100 {
            deep = format!("${{NONE:-{deep}}}");
        }
        assert_eq!(replaced(&deep).unwrap_err().kind, VariableErrorKind::Deep);
    }

    #[test]
    fn names_are_those_of_defaults_too() {
        assert_eq!(
            names("${X}/${Y:-${Z}} $$${X} $${NOT}").unwrap(),
            ["X", "Y", "Z", "X"]
        );
    }
}
