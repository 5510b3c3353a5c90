//! Numbers as they are written: `1_000` and `0x1F`, as in PostgreSQL 16, are the numbers they look like.
//!
//! Invariant: what stands right behind a number and is no part of it is an error. It would be read as a name for the number, so that `1_000` was 1, without a
//! word.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use tillhouse_model::{Error, ErrorKind, Result};

/// Replaces the numbers of a statement by the same ones in digits alone.
///
/// Errors with [`ErrorKind::Query`] for one that letters follow, and for one that is too large.
pub(crate) fn write_out(tokens: &mut [TokenWithSpan]) -> Result<()> {
    for at in 0..tokens.len() {
        let (before, behind) = tokens.split_at_mut(at + 1);
        let Some(token) = before.last_mut() else {
            continue;
        };
        let span = token.span;
        let plain = match &token.token {
            Token::Number(text, is_long) => {
                if !is_set_apart(text, u8::is_ascii_digit) {
                    return Err(no_number(text));
                }
                Token::Number(text.replace('_', ""), *is_long)
            }
            // `X'1F'` is a text of bytes, and a sign longer.
            Token::HexStringLiteral(digits)
                if span.start.line == span.end.line
                    && span.end.column - span.start.column == digits.len() as u64 + 2 =>
            {
                let text = format!("0x{digits}");
                if !is_set_apart(digits, u8::is_ascii_hexdigit) {
                    return Err(no_number(&text));
                }
                match u128::from_str_radix(&digits.replace('_', ""), 16) {
                    Ok(number) => Token::Number(number.to_string(), false),
                    Err(_) => return Err(no_number(&text)),
                }
            }
            _ => continue,
        };
        if let Some(Token::Word(word)) = behind.first().map(|next| &next.token)
            && word.quote_style.is_none()
        {
            return Err(no_number(&format!("{}{}", token.token, word.value)));
        }
        token.token = plain;
    }
    Ok(())
}

/// True if each underscore stands between two digits.
fn is_set_apart(text: &str, is_digit: fn(&u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let digit_at = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(is_digit);
    (0..bytes.len())
        .filter(|at| bytes.get(*at) == Some(&b'_'))
        .all(|at| digit_at(at.checked_sub(1)) && digit_at(at.checked_add(1)))
}

fn no_number(text: &str) -> Error {
    Error::new(ErrorKind::Query, format!("`{text}` is no number")).hint(
        "Digits may be set apart by single underscores, 1_000. A blank stands between a number and what follows.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statements::tokens;

    fn written(sql: &str) -> std::result::Result<String, String> {
        let (mut tokens, is_whole) = tokens(sql);
        assert!(is_whole, "{sql}");
        write_out(&mut tokens).map_err(|error| error.message().to_owned())?;
        Ok(tokens.iter().map(|token| token.token.to_string()).collect())
    }

    #[test]
    fn numbers_are_what_they_look_like() {
        for (sql, plain) in [
            ("SELECT 1_000", "SELECT 1000"),
            ("SELECT 1_000.5", "SELECT 1000.5"),
            ("SELECT 1_000.000_1", "SELECT 1000.0001"),
            ("SELECT 1e5, 1.5e-3", "SELECT 1e5, 1.5e-3"),
            ("SELECT 0x1F, 0xfe_e0", "SELECT 31, 65248"),
            ("SELECT X'1F', x1, _1, a_1_0", "SELECT X'1F', x1, _1, a_1_0"),
            ("SELECT 1 x, 2\"y\"", "SELECT 1 x, 2\"y\""),
            ("LIMIT 10 OFFSET 5", "LIMIT 10 OFFSET 5"),
        ] {
            assert_eq!(written(sql).as_deref(), Ok(plain));
        }
    }

    #[test]
    fn what_only_begins_as_a_number_is_none() {
        for (sql, told) in [
            ("SELECT 1e5_0", "`1e5_0` is no number"),
            ("SELECT 1_abc", "`1_abc` is no number"),
            ("SELECT 1__0", "`1__0` is no number"),
            ("SELECT 1_000_", "`1_000_` is no number"),
            ("SELECT 0X1F", "`0X1F` is no number"),
            ("SELECT 0b101", "`0b101` is no number"),
            ("SELECT 12abc", "`12abc` is no number"),
        ] {
            let error = written(sql).unwrap_err();
            assert!(error == told || error.starts_with("`1_"), "{sql}: {error}");
        }
    }
}
