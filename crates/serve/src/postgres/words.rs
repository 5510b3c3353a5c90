//! Words of a statement, as far as its kind and its options can be told from them.
//!
//! Invariant: what stands in quotes or in a comment is no word. A query is read by `query` alone; here it is only told what is one.

/// Word, value or sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or a key word, in lower case.
    Word(String),
    /// A name in double quotes.
    Name(String),
    /// A text in single quotes, or between dollars.
    Text(String),
    /// A number.
    Number(String),
    /// Anything else.
    Sign(char),
}

/// A token, and where it stands in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Token {
    /// The word, if it is one.
    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    /// The name that it is, in quotes or without.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Text of it, without its quotes.
    pub(super) fn value(&self) -> String {
        match self {
            Self::Word(text) | Self::Name(text) | Self::Text(text) | Self::Number(text) => {
                text.clone()
            }
            Self::Sign(sign) => sign.to_string(),
        }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }

    pub(super) fn is_sign(&self, sign: char) -> bool {
        *self == Self::Sign(sign)
    }
}

/// The tokens of a statement. What is never closed ends with the text.
pub(super) fn tokens(sql: &str) -> Vec<Placed> {
    let mut reader = Reader { sql, at: 0 };
    let mut tokens = Vec::new();
    loop {
        reader.skip_blank();
        let from = reader.at;
        let Some(token) = reader.token() else {
            return tokens;
        };
        let to = reader.at;
        tokens.push(Placed { token, from, to });
    }
}

/// The character that stands behind a backslash, as it is meant: `E'\t'` is a tab.
fn escaped(c: char) -> char {
    match c {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        other => other,
    }
}

struct Reader<'a> {
    sql: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take_while(&mut self, is_taken: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.peek().filter(|c| is_taken(*c)) {
            self.at += c.len_utf8();
            taken.push(c);
        }
        taken
    }

    fn skip_blank(&mut self) {
        loop {
            if self.rest().starts_with("--") {
                self.take_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                self.skip_comment();
            } else if self
                .peek()
                .is_some_and(|c| c.is_whitespace() || c == '\u{feff}')
            {
                self.take();
            } else {
                return;
            }
        }
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            if self.rest().starts_with("/*") {
                self.at += 2;
                depth += 1;
            } else if self.rest().starts_with("*/") {
                self.at += 2;
                depth = depth.saturating_sub(1);
            } else if self.take().is_none() {
                return;
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn token(&mut self) -> Option<Token> {
        let c = self.peek()?;
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        if c == '\'' {
            return Some(Token::Text(self.quoted('\'', false)));
        }
        if c == '"' {
            return Some(Token::Name(self.quoted('"', false)));
        }
        if c == '$'
            && let Some(text) = self.between_dollars()
        {
            return Some(Token::Text(text));
        }
        if c.is_alphabetic() || c == '_' {
            let word = self.take_while(is_name).to_lowercase();
            return Some(match (word.as_str(), self.peek()) {
                ("e", Some('\'')) => Token::Text(self.quoted('\'', true)),
                _ => Token::Word(word),
            });
        }
        if c.is_ascii_digit() {
            let digits = self.take_while(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
            return Some(Token::Number(digits));
        }
        self.take().map(Token::Sign)
    }

    fn quoted(&mut self, quote: char, has_escapes: bool) -> String {
        self.take();
        let mut text = String::new();
        while let Some(c) = self.take() {
            if c == '\\' && has_escapes {
                text.extend(self.take().map(escaped));
            } else if c != quote {
                text.push(c);
            } else if self.peek() == Some(quote) {
                text.extend(self.take());
            } else {
                break;
            }
        }
        text
    }

    /// `$$...$$` or `$tag$...$tag$`, where there is one.
    fn between_dollars(&mut self) -> Option<String> {
        let rest = self.rest();
        let end = rest.get(1..)?.find('$')? + 2;
        let tag = rest.get(..end)?;
        let name = tag.trim_matches('$');
        let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if !is_tag {
            return None;
        }
        let body = rest.get(end..)?;
        let (text, taken) = match body.find(tag) {
            Some(at) => (body.get(..at)?.to_owned(), end + at + tag.len()),
            None => (body.to_owned(), rest.len()),
        };
        self.at += taken;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_texts_and_comments() {
        let shown: Vec<Token> = tokens(
            "/* a /* b */ c */ SET Search_Path TO 'it''s', \"Q\" -- end\n = 1.5, E'\\'\\t', $$x 'y$$, $t$z$t$, $1",
        )
        .into_iter()
        .map(|placed| placed.token)
        .collect();
        let text = |text: &str| Token::Text(text.to_owned());
        let word = |word: &str| Token::Word(word.to_owned());
        assert_eq!(
            shown,
            [
                word("set"),
                word("search_path"),
                word("to"),
                text("it's"),
                Token::Sign(','),
                Token::Name("Q".to_owned()),
                Token::Sign('='),
                Token::Number("1.5".to_owned()),
                Token::Sign(','),
                text("'\t"),
                Token::Sign(','),
                text("x 'y"),
                Token::Sign(','),
                text("z"),
                Token::Sign(','),
                Token::Sign('$'),
                Token::Number("1".to_owned()),
            ]
        );
    }

    #[test]
    fn a_token_knows_its_place() {
        let sql = "COPY (SELECT 'é') TO STDOUT";
        let placed = tokens(sql);
        let texts: Vec<&str> = placed.iter().map(|of| &sql[of.from..of.to]).collect();
        assert_eq!(texts, ["COPY", "(", "SELECT", "'é'", ")", "TO", "STDOUT"]);
    }

    #[test]
    fn what_is_never_closed_ends_with_the_text() {
        for sql in ["'a", "\"a", "/* a", "$$a", "$a$b", "E'\\", "", "$"] {
            tokens(sql);
        }
    }
}
