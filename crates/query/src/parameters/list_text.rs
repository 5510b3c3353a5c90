//! Lists as PostgreSQL writes them: `{1,"a b",NULL}`.
//!
//! Invariant: what is no list, or has lists within it, is none.

/// Items of `{1,"a b",NULL}`; none for lists within a list, and for what is no list.
pub fn list_items(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim().is_empty() {
        return Some(items);
    }
    let mut chars = inner.chars();
    let (mut item, mut was_quoted, mut is_in_quotes) = (String::new(), false, false);
    let finished = |item: &str, was_quoted: bool| match was_quoted {
        true => Some(item.to_owned()),
        false if item.trim().eq_ignore_ascii_case("null") => None,
        false => Some(item.trim().to_owned()),
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' => item.push(chars.next()?),
            '"' => {
                // Blanks before the quotes are none of the item.
                if !was_quoted {
                    item.clear();
                }
                is_in_quotes = !is_in_quotes;
                was_quoted = true;
            }
            ',' if !is_in_quotes => {
                items.push(finished(&item, was_quoted));
                item.clear();
                was_quoted = false;
            }
            '{' | '}' if !is_in_quotes => return None,
            c if was_quoted && !is_in_quotes && c.is_whitespace() => {}
            c => item.push(c),
        }
    }
    items.push(finished(&item, was_quoted));
    (!is_in_quotes).then_some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_or_is_none() {
        let own = |text: &str| Some(text.to_owned());
        for (text, items) in [
            ("{}", Some(vec![])),
            ("{EUR, CHF}", Some(vec![own("EUR"), own("CHF")])),
            (
                "{\"a,b\",NULL,\"NULL\"}",
                Some(vec![own("a,b"), None, own("NULL")]),
            ),
            ("EUR", None),
            ("{{1},{2}}", None),
            ("{\"a}", None),
        ] {
            assert_eq!(list_items(text), items, "{text}");
        }
    }
}
