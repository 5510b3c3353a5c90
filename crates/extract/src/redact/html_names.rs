//! Names of characters in HTML, as encoders write them (`&commat;`, `&ouml;`).
//!
//! Invariant: every printable character of ASCII that has a name, and every character of Latin-1's upper half, is here under each name that an encoder
//! gives it.

/// Names of characters of ASCII, and of the euro; a blank that does not break is a blank.
static COMMON: [(&str, char); 43] = [
    ("quot", '"'),
    ("amp", '&'),
    ("apos", '\''),
    ("lt", '<'),
    ("gt", '>'),
    ("nbsp", ' '),
    ("excl", '!'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("midast", '*'),
    ("plus", '+'),
    ("comma", ','),
    ("period", '.'),
    ("sol", '/'),
    ("colon", ':'),
    ("semi", ';'),
    ("equals", '='),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("Hat", '^'),
    ("lowbar", '_'),
    ("UnderBar", '_'),
    ("grave", '`'),
    ("DiacriticalGrave", '`'),
    ("lcub", '{'),
    ("lbrace", '{'),
    ("verbar", '|'),
    ("vert", '|'),
    ("VerticalLine", '|'),
    ("rcub", '}'),
    ("rbrace", '}'),
    ("Tab", '\t'),
    ("NewLine", '\n'),
    ("euro", '\u{20ac}'),
];

/// Names of the characters of Latin-1 from U+00A0 on, in their order.
#[rustfmt::skip]
static LATIN: [&str; 96] = [
    "nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar", "sect", "uml", "copy", "ordf", "laquo",
    "not", "shy", "reg", "macr", "deg", "plusmn", "sup2", "sup3", "acute", "micro", "para", "middot",
    "cedil", "sup1", "ordm", "raquo", "frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc", "Atilde",
    "Auml", "Aring", "AElig", "Ccedil", "Egrave", "Eacute", "Ecirc", "Euml", "Igrave", "Iacute", "Icirc", "Iuml",
    "ETH", "Ntilde", "Ograve", "Oacute", "Ocirc", "Otilde", "Ouml", "times", "Oslash", "Ugrave", "Uacute", "Ucirc",
    "Uuml", "Yacute", "THORN", "szlig", "agrave", "aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil",
    "egrave", "eacute", "ecirc", "euml", "igrave", "iacute", "icirc", "iuml", "eth", "ntilde", "ograve", "oacute",
    "ocirc", "otilde", "ouml", "divide", "oslash", "ugrave", "uacute", "ucirc", "uuml", "yacute", "thorn", "yuml",
];

/// The first of [`LATIN`].
const FIRST: u32 = 0xa0;

/// The names of a character.
pub(super) fn names_of(letter: char) -> impl Iterator<Item = &'static str> {
    let common = COMMON.iter().filter(move |(_, known)| *known == letter);
    let latin = u32::from(letter)
        .checked_sub(FIRST)
        .and_then(|at| LATIN.get(usize::try_from(at).ok()?));
    common.map(|(name, _)| *name).chain(latin.copied())
}

/// The character of a name.
pub(super) fn letter_of(name: &str) -> Option<char> {
    let common = COMMON.iter().find(|(known, _)| *known == name);
    common.map(|(_, letter)| *letter).or_else(|| {
        let at = LATIN.iter().position(|known| *known == name)?;
        char::from_u32(FIRST + u32::try_from(at).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_character_lead_to_each_other() {
        for (name, letter) in [
            ("commat", '@'),
            ("excl", '!'),
            ("bsol", '\\'),
            ("ouml", '\u{f6}'),
            ("szlig", '\u{df}'),
            ("yuml", '\u{ff}'),
            ("euro", '\u{20ac}'),
        ] {
            assert_eq!(letter_of(name), Some(letter), "{name}");
            assert!(names_of(letter).any(|known| known == name), "{name}");
        }
        assert_eq!(letter_of("nbsp"), Some(' '));
        assert_eq!(names_of('\u{a0}').collect::<Vec<_>>(), ["nbsp"]);
        assert_eq!(names_of('[').collect::<Vec<_>>(), ["lsqb", "lbrack"]);
        assert_eq!((letter_of("nothing"), names_of('a').next()), (None, None));
    }
}
