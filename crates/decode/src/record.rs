//! One record's walk: JSON values in, rows of the contract's columns out.
//!
//! Invariant: after `Ok` every column of the object has exactly one row more; after `Err` the columns may be uneven, and the caller cuts
//! them back. The bytes of a secret value are only ever passed over.

use crate::column::{self, Column, Texts, Values};
use crate::instant::{self, Instant, Spelling};
use crate::number;
use crate::plan::{Field, Keep, Object, What};
use crate::pseudonyms::Pseudonyms;
use crate::scan::{Number, Raw, Scan, name_of, unescape};
use crate::stop::{Stop, Walk};
use crate::warnings::{MAX_ORIGINAL, Warnings, excerpt};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A page's containers may be nested this deep where a record is read.
const MAX_DEPTH: usize = 128;

/// So many kinds of unknown fields are told apart in one page; the rest are counted together under [`OTHER`].
const MAX_UNKNOWN: usize = 1_000;
const OTHER: &str = "(other)";

/// The rule a changed number or time breaks.
const ROUNDED: &str = "rounded";

/// A step of the path to the value at hand, as the page spells it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'p> {
    Field(&'p str),
    Index(usize),
}

#[derive(Debug)]
pub(crate) struct Walker<'p, 'd> {
    pub(crate) scan: Scan<'d>,
    /// Whether the whole page is known to be UTF-8. If not, every text is looked at by itself.
    utf8: bool,
    keep_unknown: bool,
    pub(crate) path: Vec<Step<'p>>,
    pub(crate) warnings: Warnings,
    pub(crate) unknown: BTreeMap<String, u64>,
    /// The unknown fields of this record, as JSON, by path; only where they are kept.
    pub(crate) extra: BTreeMap<String, &'d [u8]>,
    pub(crate) pseudonyms: Pseudonyms<'p>,
    scratch: Vec<u8>,
    /// Bytes the columns may still grow by, counted in whole rows.
    budget: usize,
}

impl<'p, 'd> Walker<'p, 'd> {
    pub(crate) fn new(page: &'d [u8], pseudonyms: Pseudonyms<'p>, keep_unknown: bool) -> Self {
        Self {
            scan: Scan::new(page),
            utf8: std::str::from_utf8(page).is_ok(),
            keep_unknown,
            path: Vec::new(),
            warnings: Warnings::default(),
            unknown: BTreeMap::new(),
            extra: BTreeMap::new(),
            pseudonyms,
            scratch: Vec::new(),
            // A null costs a page four bytes, or none; in a wide contract it costs a column sixteen.
            budget: page.len().saturating_mul(16).saturating_add(64 << 20),
        }
    }

    /// Takes `bytes` from what the columns may grow by.
    #[inline]
    pub(crate) fn spend(&mut self, bytes: usize) -> Walk {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(column::too_large()),
        }
    }

    /// Reads an object; the position is at its opening brace.
    pub(crate) fn object(&mut self, plan: &'p Object, columns: &mut [Column]) -> Walk {
        let row = columns.first().map_or(0, |c| c.valid.len());
        self.scan.pos += 1;
        if !self.scan.empty(b'}')? {
            let mut guess = 0;
            loop {
                match self.key(plan, guess)? {
                    Key::Known(at) => {
                        guess = at + 1;
                        let (field, column) = (&plan.fields[at], &mut columns[at]);
                        if column.valid.len() != row {
                            return self.reject(&field.json_name, "duplicate field");
                        }
                        let first = self.scan.peek()?;
                        self.value(field, column, first)?;
                    }
                    Key::Unknown(key) => self.unknown(key)?,
                }
                if !self.scan.another(b'}')? {
                    break;
                }
                self.scan.peek()?;
            }
        }
        for (field, column) in plan.fields.iter().zip(columns) {
            if column.valid.len() == row {
                if field.required {
                    return self.reject(&field.json_name, "missing required field");
                }
                column.push_null()?;
            }
        }
        Ok(())
    }

    /// Reads a key and its colon. Fields mostly come in one order, so the one after the last is compared first.
    #[inline]
    fn key(&mut self, plan: &'p Object, guess: usize) -> Walk<Key<'d>> {
        if let Some(field) = plan.fields.get(guess)
            && self.scan.take(&field.spelled)
        {
            return Ok(Key::Known(guess));
        }
        let key = self.scan.key()?;
        let name = unescaped(key, &mut self.scratch);
        Ok(name.and_then(|name| plan.find(name, guess)).map_or(Key::Unknown(key), Key::Known))
    }

    /// Reads a value into its column; `first` is its first byte, and the position is there.
    #[inline]
    pub(crate) fn value(&mut self, field: &'p Field, column: &mut Column, first: u8) -> Walk {
        if first == b'n' {
            self.scan.literal("null")?;
            if field.required {
                return self.reject(&field.json_name, "missing required field");
            }
            return column.push_null();
        }
        match (&field.what, &mut column.values) {
            (What::Text(keep), Values::Text(texts)) => {
                if first != b'"' {
                    return self.mismatch(field, "text", first);
                }
                self.text(field, *keep, texts)?;
            }
            (What::Decimal { scale, limit }, Values::Decimal(values)) => {
                let number = self.decimal(field, first)?;
                let Some(scaled) = number::to_scale(&number, i32::from(*scale)).filter(|s| s.units.abs() < *limit)
                else {
                    return self.reject(&field.json_name, "the number does not fit the column's precision");
                };
                if scaled.rounded {
                    self.warnings.push(self.path_to(&field.json_name), ROUNDED, number.text);
                }
                values.push(scaled.units);
            }
            (What::Time(spelling), Values::Time(values)) => {
                values.push(self.instant(field, spelling, first)?);
            }
            (What::Int, Values::Int(values)) => {
                let number = self.number(field, "a whole number", first)?;
                let whole = number::to_scale(&number, 0);
                if whole.is_some_and(|n| n.rounded) {
                    return self.reject(&field.json_name, "expected a whole number, found a fraction");
                }
                match whole.and_then(|n| i64::try_from(n.units).ok()) {
                    Some(whole) => values.push(whole),
                    None => return self.reject(&field.json_name, "the number does not fit 64 bits"),
                }
            }
            (What::Bool, Values::Bool(bits)) => {
                let bit = match first {
                    b't' => self.scan.literal("true").map(|()| true)?,
                    b'f' => self.scan.literal("false").map(|()| false)?,
                    _ => return self.mismatch(field, "true or false", first),
                };
                bits.push(bit);
            }
            (What::Date, Values::Date(values)) => {
                let text = self.time_text(field, "a date", first)?;
                match instant::date(&text) {
                    Ok(days) => values.push(days),
                    Err(reason) => return self.reject(&field.json_name, reason),
                }
            }
            (What::Object(plan), Values::Object(columns)) => {
                if first != b'{' {
                    return self.mismatch(field, "an object", first);
                }
                self.path.push(Step::Field(&field.json_name));
                self.object(plan, columns)?;
                self.path.pop();
            }
            (What::List(element), Values::List { offsets, elements }) => {
                if first != b'[' {
                    return self.mismatch(field, "an array", first);
                }
                self.list(field, element, elements)?;
                Column::close_list(offsets, elements)?;
            }
            (What::Nothing, Values::Nothing) => {
                let depth = self.scan.skip()?;
                self.check_depth(depth, &field.json_name)?;
            }
            // Columns are made from the plan, field by field.
            _ => return Err(Box::new(Stop::Page(tillhouse_model::Error::internal("plan and columns differ")))),
        }
        column.valid.push(true);
        Ok(())
    }

    fn list(&mut self, field: &'p Field, element: &'p Field, elements: &mut Column) -> Walk {
        self.scan.pos += 1;
        if self.scan.empty(b']')? {
            return Ok(());
        }
        self.path.push(Step::Field(&field.json_name));
        for at in 0.. {
            self.path.push(Step::Index(at));
            self.spend(element.row_bytes())?;
            let first = self.scan.peek()?;
            self.value(element, elements, first)?;
            self.path.pop();
            if !self.scan.another(b']')? {
                break;
            }
        }
        self.path.pop();
        Ok(())
    }

    #[inline]
    fn text(&mut self, field: &Field, keep: Keep, texts: &mut Texts) -> Walk {
        let raw = self.scan.string()?;
        if keep == Keep::All && !raw.escaped && self.utf8 {
            texts.bytes.extend_from_slice(raw.bytes);
            return texts.close();
        }
        let text = match self.checked(raw) {
            Ok(text) => text,
            Err(reason) => return self.reject(&field.json_name, reason),
        };
        match keep {
            Keep::All => texts.bytes.extend_from_slice(text.as_bytes()),
            Keep::Pseudonym(how) => self.pseudonyms.write(how, &text, &mut texts.bytes),
            Keep::LastFour => texts.bytes.extend_from_slice(last_four(&text).as_bytes()),
        }
        texts.close()
    }

    /// What a string means, if it is text at all.
    fn checked(&self, raw: Raw<'d>) -> Result<Cow<'d, str>, &'static str> {
        if raw.escaped {
            let mut bytes = Vec::with_capacity(raw.bytes.len());
            unescape(raw.bytes, &mut bytes).map_err(|_| "the text holds half a character (a lone surrogate)")?;
            return String::from_utf8(bytes).map(Cow::Owned).map_err(|_| "the text is not UTF-8");
        }
        std::str::from_utf8(raw.bytes).map(Cow::Borrowed).map_err(|_| "the text is not UTF-8")
    }

    #[inline]
    fn number(&mut self, field: &Field, expected: &str, first: u8) -> Walk<Number<'d>> {
        if first.is_ascii_digit() || first == b'-' {
            return self.scan.number();
        }
        self.mismatch(field, expected, first)
    }

    /// A number, or a string that holds one: some APIs spell decimals so, to keep them exact.
    #[inline]
    fn decimal(&mut self, field: &Field, first: u8) -> Walk<Number<'d>> {
        if first != b'"' {
            return self.number(field, "a number", first);
        }
        let raw = self.scan.string()?;
        match number::in_text(raw.bytes) {
            Some(number) => Ok(number),
            None => self.mismatch(field, "a number", first),
        }
    }

    fn time_text(&mut self, field: &Field, expected: &str, first: u8) -> Walk<Cow<'d, [u8]>> {
        if first != b'"' {
            return self.mismatch(field, expected, first);
        }
        let raw = self.scan.string()?;
        if !raw.escaped {
            return Ok(Cow::Borrowed(raw.bytes));
        }
        match self.checked(raw) {
            Ok(text) => Ok(Cow::Owned(text.into_owned().into_bytes())),
            Err(reason) => self.reject(&field.json_name, reason),
        }
    }

    #[inline]
    fn instant(&mut self, field: &Field, spelling: &Spelling, first: u8) -> Walk<i64> {
        let (read, original) = match spelling {
            Spelling::Epoch { scale } => {
                let number = self.number(field, "a number (the contract names a unit since 1970)", first)?;
                (instant::epoch(&number, *scale), Cow::Borrowed(number.text))
            }
            Spelling::Offset => {
                let text = self.time_text(field, "a time as text", first)?;
                (instant::read(&text, None), text)
            }
            Spelling::Zone(zone) => {
                let text = self.time_text(field, "a time as text", first)?;
                (instant::read(&text, Some(zone)), text)
            }
        };
        match read {
            Ok(Instant { micros, rounded: false }) => Ok(micros),
            Ok(Instant { micros, rounded: true }) => {
                self.warnings.push(self.path_to(&field.json_name), ROUNDED, &original);
                Ok(micros)
            }
            Err(reason) => self.reject(&field.json_name, reason),
        }
    }

    /// Counts a field the contract does not know, keeps it where that is wanted, and passes over it.
    #[cold]
    fn unknown(&mut self, key: Raw<'d>) -> Walk {
        let name = unescaped(key, &mut self.scratch).map_or_else(
            || String::from_utf8_lossy(key.bytes).into_owned(),
            |n| String::from_utf8_lossy(n).into_owned(),
        );
        let name = if name.is_empty() { r#""""#.to_owned() } else { name };
        self.scan.peek()?;
        let start = self.scan.pos;
        let depth = self.scan.skip()?;
        self.check_depth(depth, "(unknown field)")?;
        let pattern = self.pattern_of(&excerpt(name.as_bytes(), MAX_ORIGINAL));
        if let Some(count) = self.unknown.get_mut(&pattern) {
            *count += 1;
        } else {
            let kept = if self.unknown.len() < MAX_UNKNOWN { pattern } else { OTHER.to_owned() };
            *self.unknown.entry(kept).or_default() += 1;
        }
        if self.keep_unknown {
            let value = &self.scan.data[start..self.scan.pos];
            if !self.utf8 && std::str::from_utf8(value).is_err() {
                return self.reject("(unknown field)", "the text is not UTF-8");
            }
            if self.extra.insert(self.path_to(&name), value).is_some() {
                return self.reject("(unknown field)", "duplicate field");
            }
        }
        Ok(())
    }

    fn check_depth(&self, depth: usize, name: &str) -> Walk {
        if self.path.len() + depth > MAX_DEPTH {
            return self.reject(name, "nested deeper than 128");
        }
        Ok(())
    }

    /// The path to a field of the object at hand: `payments[0].amount`.
    #[cold]
    pub(crate) fn path_to(&self, name: &str) -> String {
        path(&self.path, name, true)
    }

    /// The same without positions: `payments[].amount`.
    fn pattern_of(&self, name: &str) -> String {
        path(&self.path, name, false)
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn reject<T>(&self, name: &str, reason: &str) -> Walk<T> {
        Err(Box::new(Stop::Reject { field: self.path_to(name), reason: reason.to_owned() }))
    }

    #[cold]
    #[inline(never)]
    fn mismatch<T>(&self, field: &Field, expected: &str, found: u8) -> Walk<T> {
        self.reject(&field.json_name, &format!("expected {expected}, found {}", name_of(found)))
    }
}

enum Key<'d> {
    Known(usize),
    Unknown(Raw<'d>),
}

/// What a key means; `None` if it is not text, and so no contract's.
#[inline]
fn unescaped<'s>(key: Raw<'s>, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
    if !key.escaped {
        return Some(key.bytes);
    }
    scratch.clear();
    unescape(key.bytes, scratch).ok().map(|()| &scratch[..])
}

fn path(steps: &[Step<'_>], name: &str, positions: bool) -> String {
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
            Step::Field(name) => field(&mut out, name),
            Step::Index(at) if positions => {
                let _infallible = write!(out, "[{at}]");
            }
            Step::Index(_) => out.push_str("[]"),
        }
    }
    field(&mut out, name);
    out
}

/// The last four characters, but never more than half: four of a short value would be all of it.
fn last_four(text: &str) -> &str {
    let count = text.chars().count();
    let keep = (count / 2).min(4);
    let from = text.char_indices().nth(count - keep).map_or(text.len(), |(at, _)| at);
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_four_never_show_the_whole() {
        for (text, kept) in [
            ("5168 xxxx xxxx 8932", "8932"),
            ("12345678", "5678"),
            ("1234567", "567"),
            ("1234", "34"),
            ("12", "2"),
            ("1", ""),
            ("", ""),
            ("\u{e9}\u{e8}\u{ea}\u{20ac}\u{1f600}\u{e9}\u{e8}\u{ea}", "\u{1f600}\u{e9}\u{e8}\u{ea}"),
        ] {
            assert_eq!(last_four(text), kept, "{text}");
        }
    }

    #[test]
    fn paths_read_like_the_page() {
        let steps = [Step::Field("payments"), Step::Index(3), Step::Field(""), Step::Field("log"), Step::Index(0)];
        assert_eq!(path(&steps, "code", true), "payments[3].log[0].code");
        assert_eq!(path(&steps, "code", false), "payments[].log[].code");
        assert_eq!(path(&steps, "", true), "payments[3].log[0]");
        assert_eq!(path(&[], "id", true), "id");
        assert_eq!(path(&steps[..1], "a.b", true), r#"payments["a.b"]"#);
    }
}
