//! The words and keys that an envelope and a refusal are judged by, as `vocabulary/words.txt` lists them.
//!
//! Invariant: a list is named once in the file and once here; a test tells where the two differ.

use std::sync::LazyLock;

/// The lists, read once.
pub(crate) static WORDS: LazyLock<MessageVocabulary> =
    LazyLock::new(|| MessageVocabulary::read(include_str!("vocabulary/words.txt")));

/// The lists of `words.txt`, which says what each is.
#[derive(Debug)]
pub(crate) struct MessageVocabulary {
    pub(crate) wrappers: WordList,
    pub(crate) states: WordList,
    pub(crate) outcome_codes: WordList,
    pub(crate) unfinished: WordList,
    pub(crate) successes: WordList,
    pub(crate) failures: WordList,
    pub(crate) traces: WordList,
    pub(crate) cuts: WordList,
    pub(crate) settings: WordList,
    pub(crate) parts: WordList,
    pub(crate) errors: WordList,
    pub(crate) no_error: WordList,
    pub(crate) texts: WordList,
    pub(crate) warnings: WordList,
    pub(crate) levels: WordList,
    pub(crate) totals: WordList,
    pub(crate) credentials: WordList,
    pub(crate) unknown: WordList,
    pub(crate) no_failure: WordList,
    pub(crate) bad: WordList,
    pub(crate) bad_signs: WordList,
    pub(crate) good: WordList,
    pub(crate) negations: WordList,
    pub(crate) nothing: WordList,
    pub(crate) nothing_phrases: WordList,
    pub(crate) denials: WordList,
    pub(crate) not_there: WordList,
    pub(crate) fillers: WordList,
    pub(crate) things: WordList,
    pub(crate) doubts: WordList,
    pub(crate) harmless: WordList,
    pub(crate) tokens: WordList,
    pub(crate) logins: WordList,
    pub(crate) expiries: WordList,
    pub(crate) token_faults: WordList,
    pub(crate) other_tokens: WordList,
}

impl MessageVocabulary {
    fn read(text: &'static str) -> Self {
        let list = |name: &str| WordList::read(text, name);
        Self {
            wrappers: list("wrappers"),
            states: list("states"),
            outcome_codes: list("outcome codes"),
            unfinished: list("unfinished"),
            successes: list("successes"),
            failures: list("failures"),
            traces: list("traces"),
            cuts: list("cuts"),
            settings: list("settings"),
            parts: list("parts"),
            errors: list("errors"),
            no_error: list("no error"),
            texts: list("texts"),
            warnings: list("warnings"),
            levels: list("levels"),
            totals: list("totals"),
            credentials: list("credentials"),
            unknown: list("unknown"),
            no_failure: list("no failure"),
            bad: list("bad"),
            bad_signs: list("bad signs"),
            good: list("good"),
            negations: list("negations"),
            nothing: list("nothing"),
            nothing_phrases: list("nothing phrases"),
            denials: list("denials"),
            not_there: list("not there"),
            fillers: list("fillers"),
            things: list("things"),
            doubts: list("doubts"),
            harmless: list("harmless"),
            tokens: list("tokens"),
            logins: list("logins"),
            expiries: list("expiries"),
            token_faults: list("token faults"),
            other_tokens: list("other tokens"),
        }
    }
}

/// One list.
#[derive(Debug)]
pub(crate) struct WordList(Vec<&'static str>);

impl WordList {
    fn read(text: &'static str, name: &str) -> Self {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let is_head = |line: &&str| line.starts_with('[');
        let from = lines
            .skip_while(|line| line.trim_matches(['[', ']']) != name || !is_head(line))
            .skip(1);
        let entries = from
            .take_while(|line| !is_head(line))
            .flat_map(|line| line.split(','));
        Self(
            entries
                .map(str::trim)
                .filter(|entry| !entry.is_empty())
                .collect(),
        )
    }

    /// The entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }

    /// True if it has this entry.
    pub(crate) fn has(&self, entry: &str) -> bool {
        self.0.contains(&entry)
    }

    /// True if one of its entries stands in some words, which have a blank before and after.
    pub(crate) fn is_in(&self, words: &str) -> bool {
        self.iter()
            .any(|entry| places(words, entry).next().is_some())
    }

    /// True if a word is one of its entries, or a longer word that ends in one of five letters or more.
    pub(crate) fn ends(&self, word: &str) -> bool {
        self.iter()
            .any(|entry| word == entry || (entry.len() >= 5 && word.ends_with(entry)))
    }
}

/// Texts behind an entry in some words, a blank first, one for each of its places.
pub(crate) fn places<'w>(words: &'w str, entry: &'static str) -> impl Iterator<Item = &'w str> {
    words.match_indices(entry).filter_map(move |(at, _)| {
        let rest = &words[at + entry.len()..];
        (words[..at].ends_with(' ') && rest.starts_with(' ')).then_some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain_text;

    #[test]
    fn every_list_of_the_file_is_read_and_none_is_empty() {
        let text = include_str!("vocabulary/words.txt");
        let debug = format!("{:?}", MessageVocabulary::read(text));
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
        assert_eq!(heads.len(), debug.matches("List(").count());
        assert_eq!(debug.matches("List([])").count(), 0, "{debug}");
        for head in heads {
            assert!(
                debug.contains(&format!(
                    "{}: WordList([",
                    head.trim_matches(['[', ']']).replace(' ', "_")
                )),
                "{head}"
            );
        }
    }

    #[test]
    fn words_are_spelled_as_texts_are_read() {
        for list in [
            &WORDS.bad,
            &WORDS.unfinished,
            &WORDS.good,
            &WORDS.things,
            &WORDS.denials,
            &WORDS.fillers,
            &WORDS.doubts,
            &WORDS.harmless,
        ] {
            for entry in list.iter() {
                assert_eq!(plain_text::words(entry).trim(), entry);
            }
        }
        for list in [
            &WORDS.tokens,
            &WORDS.logins,
            &WORDS.expiries,
            &WORDS.token_faults,
            &WORDS.other_tokens,
        ] {
            for entry in list.iter() {
                assert_eq!(plain_text::letters(entry), entry);
            }
        }
    }
}
