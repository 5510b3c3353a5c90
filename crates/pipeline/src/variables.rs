//! References to variables in a text: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar sign.
//!
//! Invariant: a value is put in as it is and never looked into: what a variable holds is no reference and no YAML. Nothing here
//! shows a value; a mistake says where it is, and names at most the variable.

/// Why a text's references cannot be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where the reference begins, in bytes from the start of the text.
    pub(crate) at: usize,
    pub(crate) what: What,
}

/// What is wrong with a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// No `}` follows.
    Unclosed,
    /// What stands between the braces is neither `NAME` nor `NAME:-default`.
    Name,
    /// The variable is not set, and there is no default.
    Missing(String),
    /// Defaults within defaults, too many.
    Deep,
}

/// Defaults may hold references with defaults, so deep.
const DEEPEST: u32 = 16;

/// One part of a text.
enum Part<'a> {
    Text(&'a str),
    Reference { at: usize, name: &'a str, default: Option<(usize, &'a str)> },
}

/// A text with its references replaced by what `lookup` says of them. A default counts where the variable is not set or empty.
pub(crate) fn replace<'v>(text: &str, lookup: &dyn Fn(&str) -> Option<&'v str>) -> Result<String, Mistake> {
    let mut out = String::with_capacity(text.len());
    put(text, 0, DEEPEST, &mut |part| {
        match part {
            Put::Text(text) => out.push_str(text),
            Put::Variable { name, has_default } => match lookup(name) {
                Some(value) if !(value.is_empty() && has_default) => out.push_str(value),
                _ if has_default => return Ok(true),
                _ => return Err(What::Missing(name.to_owned())),
            },
        }
        Ok(false)
    })?;
    Ok(out)
}

/// The names of a text's variables, those of defaults included, in order, not each once.
pub(crate) fn names(text: &str) -> Result<Vec<String>, Mistake> {
    let mut names = Vec::new();
    put(text, 0, DEEPEST, &mut |part| {
        if let Put::Variable { name, .. } = part {
            names.push(name.to_owned());
        }
        Ok(true)
    })?;
    Ok(names)
}

/// What [`put`] hands out.
enum Put<'a> {
    Text(&'a str),
    Variable { name: &'a str, has_default: bool },
}

/// Hands out a text part by part; where `each` answers a variable with `true`, its default follows.
fn put(
    text: &str,
    offset: usize,
    depth: u32,
    each: &mut dyn FnMut(Put<'_>) -> Result<bool, What>,
) -> Result<(), Mistake> {
    for part in parts(text).map_err(|m| Mistake { at: offset + m.at, ..m })? {
        match part {
            Part::Text(text) => {
                each(Put::Text(text)).map_err(|what| Mistake { at: offset, what })?;
            }
            Part::Reference { at, name, default } => {
                let mistake = |what| Mistake { at: offset + at, what };
                let wants_default = each(Put::Variable { name, has_default: default.is_some() }).map_err(mistake)?;
                if let (Some((from, default)), true) = (default, wants_default) {
                    let depth = depth.checked_sub(1).ok_or_else(|| mistake(What::Deep))?;
                    put(default, offset + from, depth, each)?;
                }
            }
        }
    }
    Ok(())
}

/// Cuts a text at its references.
fn parts(text: &str) -> Result<Vec<Part<'_>>, Mistake> {
    let mut parts = Vec::new();
    let (mut done, mut at) = (0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('$')) {
        let dollar = at + found;
        let plain = |done| Part::Text(text.get(done..dollar).unwrap_or_default());
        match text.as_bytes().get(dollar + 1) {
            Some(b'$') => {
                parts.push(plain(done));
                parts.push(Part::Text("$"));
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
    parts.push(Part::Text(text.get(done..).unwrap_or_default()));
    Ok(parts)
}

/// The reference whose `${` is at `dollar`, and where it ends.
fn reference(text: &str, dollar: usize) -> Result<(Part<'_>, usize), Mistake> {
    let mistake = |what| Mistake { at: dollar, what };
    let start = dollar + 2;
    let inner = text.get(start..).unwrap_or_default();
    let end = closing(inner).ok_or_else(|| mistake(What::Unclosed))?;
    let inner = inner.get(..end).unwrap_or_default();
    let length = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, rest) = inner.split_at(length);
    if !is_name(name) {
        return Err(mistake(What::Name));
    }
    let default = match rest.strip_prefix(":-") {
        Some(default) => Some((start + length + 2, default)),
        None if rest.is_empty() => None,
        None => return Err(mistake(What::Name)),
    };
    Ok((Part::Reference { at: dollar, name, default }, start + end + 1))
}

/// Where the brace closes that was open before `text`; braces within come in pairs.
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

/// Whether a text is a variable's name: letters, digits and `_`, no digit first.
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

    fn replaced(text: &str) -> Result<String, Mistake> {
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
            ("a ${HOST", 2, What::Unclosed),
            ("${", 0, What::Unclosed),
            ("${NONE:-{}", 0, What::Unclosed),
            ("${HOST}${NONE:-${X}", 7, What::Unclosed),
            ("${}", 0, What::Name),
            ("${1X}", 0, What::Name),
            ("${A-B}", 0, What::Name),
            ("${A:B}", 0, What::Name),
            ("${ HOST }", 0, What::Name),
            ("${HÖST}", 0, What::Name),
            ("x${NONE}", 1, What::Missing("NONE".into())),
            ("${NONE:-ab${OTHER}}", 10, What::Missing("OTHER".into())),
            ("${NONE:-ab${1}}", 10, What::Name),
        ] {
            assert_eq!(replaced(text), Err(Mistake { at, what }), "{text}");
        }
        let mut deep = "x".to_owned();
        for _ in 0..100 {
            deep = format!("${{NONE:-{deep}}}");
        }
        assert_eq!(replaced(&deep).unwrap_err().what, What::Deep);
    }

    #[test]
    fn names_are_those_of_defaults_too() {
        assert_eq!(names("${X}/${Y:-${Z}} $$${X} $${NOT}").unwrap(), ["X", "Y", "Z", "X"]);
    }
}
