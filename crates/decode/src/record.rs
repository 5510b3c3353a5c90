//! One record's walk: JSON values in, rows of the contract's columns out.
//!
//! Invariant: after `Ok` every column of the object has exactly one row more; after `Err` the columns may be uneven, and the caller cuts
//! them back. The bytes of a secret value are only ever passed over.
//!
//! A value that is not of its field's type is read where it can mean only one thing, see the crate's head. What is left is a misfit, and the plan
//! says what it costs: the record, or itself.

use crate::abort::{Abort, ReadResult};
use crate::column::{self, ColumnBuilder, ColumnValues, TextBuffer};
use crate::fault::{self, denies_fault};
use crate::fields::{ElementIdentity, FieldKind, FieldPlan, MisfitCost, ObjectPlan, TextTreatment};
use crate::hash;
use crate::instant;
use crate::json_path::{JsonPathSegment, path};
use crate::misfit::{self, UnreadTime, ValueMisfit};
use crate::number;
use crate::pseudonyms::PseudonymCache;
use crate::scalar::{ParsedBool, ParsedInstant, ParsedNumber, is_blank, is_number, last_four};
use crate::scan::{JsonScanner, RawJsonString, unescape};
use crate::warnings::{MAX_ORIGINAL, PageWarnings, excerpt};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use tillhouse_model::money::canonical_currency;
use tillhouse_model::{FastMap, blank, identifier};

/// A page's containers may be nested this deep where a record is read.
const MAX_DEPTH: usize = 128;

/// Most unknown fields that one page counts by path; the rest are counted together under [`OTHER`].
const MAX_UNKNOWN: usize = 1_000;
const OTHER: &str = "(other)";

/// The rule a changed number or time breaks.
pub(crate) const ROUNDED: &str = "rounded";

/// Reader of one record after the other: JSON values in, rows of columns out.
#[derive(Debug)]
pub(crate) struct JsonRecordReader<'p, 'd> {
    pub(crate) scan: JsonScanner<'d>,
    /// True if the whole page is known to be UTF-8. If not, every text is checked by itself.
    utf8: bool,
    keep_unknown: bool,
    pub(crate) path: Vec<JsonPathSegment<'p>>,
    pub(crate) warnings: PageWarnings,
    pub(crate) unknown: BTreeMap<String, u64>,
    /// The unknown fields of this record, as JSON, by path; only where they are kept.
    pub(crate) extra: BTreeMap<String, &'d [u8]>,
    pub(crate) pseudonyms: PseudonymCache<'p>,
    /// True if records are completed from what is known of them: then what is required is asked for afterwards.
    pub(crate) completing: bool,
    /// The latest instant of what has happened already, in microseconds, where that is known.
    pub(crate) latest: Option<i64>,
    /// True if a record that was rejected is read once more for its times: whatever else it lacks or has wrong is null.
    times_only: bool,
    /// Unreadable values of this record that might have decided the record time.
    pub(crate) unread_times: Vec<UnreadTime>,
    scratch: Vec<u8>,
    /// Bytes the columns may still grow by, counted in whole rows.
    budget: usize,
}

impl<'p, 'd> JsonRecordReader<'p, 'd> {
    pub(crate) fn new(page: &'d [u8], pseudonyms: PseudonymCache<'p>, keep_unknown: bool) -> Self {
        Self {
            scan: JsonScanner::of_page(page),
            utf8: std::str::from_utf8(page).is_ok(),
            keep_unknown,
            path: Vec::new(),
            warnings: PageWarnings::default(),
            unknown: BTreeMap::new(),
            extra: BTreeMap::new(),
            pseudonyms,
            completing: false,
            latest: None,
            times_only: false,
            unread_times: Vec::new(),
            scratch: Vec::new(),
            // A null costs a page four bytes, or none; in a wide contract it costs a column sixteen.
            budget: page.len().saturating_mul(16).saturating_add(64 << 20),
        }
    }

    /// Takes `bytes` from what the columns may grow by.
    #[inline]
    pub(crate) fn reserve(&mut self, bytes: usize) -> ReadResult {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(column::too_large()),
        }
    }

    /// Reads an object; the position is at its opening brace.
    pub(crate) fn object(
        &mut self,
        plan: &'p ObjectPlan,
        columns: &mut [ColumnBuilder],
    ) -> ReadResult {
        let row = rows_of(columns);
        self.scan.pos += 1;
        if !self.scan.empty(b'}')? {
            let mut guess = 0;
            loop {
                match self.key(plan, guess)? {
                    FieldKey::Known(at) => {
                        guess = at + 1;
                        let (field, column) = (&plan.fields[at], &mut columns[at]);
                        if column.valid.len() != row {
                            return self.reject(&field.json_name, "duplicate field");
                        }
                        let first = self.scan.peek()?;
                        self.value(field, column, first)?;
                    }
                    FieldKey::Unknown(key) => self.unknown(key)?,
                }
                if !self.scan.another(b'}')? {
                    break;
                }
                self.scan.peek()?;
            }
        }
        self.fill(plan, columns, row)
    }

    /// Reads an object that was rejected for the times that it has, as far as it can be read. Nothing of it counts: not its unknown fields, and not the room
    /// it takes, for its columns are cut back.
    #[cold]
    pub(crate) fn object_for_its_times(
        &mut self,
        plan: &'p ObjectPlan,
        columns: &mut [ColumnBuilder],
    ) -> ReadResult {
        let budget = self.budget;
        self.path.clear();
        self.unread_times.clear();
        self.times_only = true;
        let read = self.object(plan, columns);
        self.times_only = false;
        self.budget = budget;
        read
    }

    /// Appends a null to every column that still has `row` rows.
    fn fill(
        &mut self,
        plan: &'p ObjectPlan,
        columns: &mut [ColumnBuilder],
        row: usize,
    ) -> ReadResult {
        for (field, column) in plan.fields.iter().zip(columns) {
            if column.valid.len() == row {
                self.missing(field, column)?;
            }
        }
        Ok(())
    }

    /// Appends the null of a field that has no value.
    fn missing(&mut self, field: &FieldPlan, column: &mut ColumnBuilder) -> ReadResult {
        if !self.times_only && (field.key || (field.required && !self.completing)) {
            return self.reject(&field.json_name, MISSING);
        }
        column.push_null()
    }

    /// Reads a key and its colon. Fields mostly come in one order, so the one after the last is compared first.
    #[inline]
    fn key(&mut self, plan: &'p ObjectPlan, guess: usize) -> ReadResult<FieldKey<'d>> {
        if let Some(field) = plan.fields.get(guess)
            && self.scan.eat(&field.spelled)
        {
            return Ok(FieldKey::Known(guess));
        }
        let key = self.scan.key()?;
        let name = unescaped(key, &mut self.scratch);
        Ok(name
            .and_then(|name| plan.find(name, guess))
            .map_or(FieldKey::Unknown(key), FieldKey::Known))
    }

    /// Reads a value into its column; `first` is its first byte, and the position is there.
    #[inline]
    pub(crate) fn value(
        &mut self,
        field: &'p FieldPlan,
        column: &mut ColumnBuilder,
        first: u8,
    ) -> ReadResult {
        if first == b'n' {
            self.scan.literal("null")?;
            return self.missing(field, column);
        }
        let start = self.scan.pos;
        match (&field.kind, &mut column.values) {
            (FieldKind::Text(keep), ColumnValues::Text(texts)) => {
                if first == b'"' {
                    if !self.text(field, *keep, texts)? {
                        return self.missing(field, column);
                    }
                } else if is_number(first) {
                    // An identifier or code that is written without its quotes; its digits are its text, and `7.0` is the identifier 7.
                    let number = self.scan.number()?;
                    let written = String::from_utf8_lossy(&self.scan.data[start..self.scan.pos]);
                    // Most are nothing but digits, and canonical so.
                    let is_plain = written.bytes().all(|byte| byte.is_ascii_digit());
                    let written = match field.is_identifier && !is_plain {
                        true => number::whole_text(&number).map_or(written, Cow::Owned),
                        false => written,
                    };
                    if field.zero_is_none && blank::is_zero(&written) {
                        return self.missing(field, column);
                    }
                    self.keep(*keep, &written, texts)?;
                } else if field.keeps_json {
                    if !self.json_text(field, *keep, texts)? {
                        return self.missing(field, column);
                    }
                } else {
                    return self.misfit(
                        field,
                        column,
                        start,
                        ValueMisfit::expected(misfit::TEXT, first),
                    );
                }
            }
            (FieldKind::Decimal { scale, limit }, ColumnValues::Decimal(values)) => {
                let number = match self.read_decimal(first)? {
                    ParsedNumber::Number(number) => number,
                    ParsedNumber::Blank => return self.missing(field, column),
                    ParsedNumber::Other => {
                        return self.misfit(
                            field,
                            column,
                            start,
                            ValueMisfit::expected(misfit::NUMBER, first),
                        );
                    }
                };
                let Some(scaled) =
                    number::to_scale(&number, i32::from(*scale)).filter(|s| s.units.abs() < *limit)
                else {
                    return self.misfit(field, column, start, misfit::BEYOND_PRECISION);
                };
                if scaled.rounded {
                    let original: &[u8] = if field.is_quotable { number.text } else { b"" };
                    self.warnings
                        .push(self.path_to(&field.json_name), ROUNDED, original);
                }
                values.push(scaled.units);
            }
            (FieldKind::Time(spelling), ColumnValues::Time(values)) => {
                match self.read_instant(field, spelling, first, start)? {
                    ParsedInstant::At(micros)
                        if field.ahead_is_none && self.latest.is_some_and(|last| micros > last) =>
                    {
                        return self.misfit(field, column, start, misfit::AHEAD);
                    }
                    ParsedInstant::At(micros) => values.push(micros),
                    ParsedInstant::Blank => return self.missing(field, column),
                    ParsedInstant::No(misfit) => return self.misfit(field, column, start, misfit),
                }
            }
            (FieldKind::Int, ColumnValues::Int(values))
                if field.is_zero_or_one && self.begins_bool(first) =>
            {
                match self.read_bool(first)? {
                    ParsedBool::Known(bit) => values.push(i64::from(bit)),
                    ParsedBool::Blank => return self.missing(field, column),
                    ParsedBool::Other => {
                        return self.misfit(
                            field,
                            column,
                            start,
                            ValueMisfit::expected(misfit::WHOLE_NUMBER, first),
                        );
                    }
                }
            }
            (FieldKind::Int, ColumnValues::Int(values)) => {
                let number = match self.read_whole_number(first)? {
                    ParsedNumber::Number(number) => number,
                    ParsedNumber::Blank => return self.missing(field, column),
                    ParsedNumber::Other => {
                        return self.misfit(
                            field,
                            column,
                            start,
                            ValueMisfit::expected(misfit::WHOLE_NUMBER, first),
                        );
                    }
                };
                let whole = number::to_scale(&number, 0);
                if whole.is_some_and(|n| n.rounded) {
                    return self.misfit(field, column, start, misfit::FRACTION);
                }
                match whole.and_then(|n| i64::try_from(n.units).ok()) {
                    Some(0) if field.zero_is_none => return self.missing(field, column),
                    Some(whole) => values.push(whole),
                    None => return self.misfit(field, column, start, misfit::BEYOND_64_BITS),
                }
            }
            (FieldKind::Bool, ColumnValues::Bool(bits)) => match self.read_bool(first)? {
                ParsedBool::Known(bit) => bits.push(bit),
                ParsedBool::Blank => return self.missing(field, column),
                ParsedBool::Other => {
                    return self.misfit(
                        field,
                        column,
                        start,
                        ValueMisfit::expected(misfit::TRUTH, first),
                    );
                }
            },
            (FieldKind::Date, ColumnValues::Date(values)) => {
                if first != b'"' {
                    return self.misfit(
                        field,
                        column,
                        start,
                        ValueMisfit::expected(misfit::DATE, first),
                    );
                }
                let text = self.read_string()?;
                if is_blank(&text) {
                    return self.missing(field, column);
                }
                match instant::date(&text) {
                    Ok(days) => values.push(days),
                    Err(why) => {
                        return self.misfit(
                            field,
                            column,
                            start,
                            ValueMisfit::no_time(why, misfit::DATE),
                        );
                    }
                }
            }
            (FieldKind::Object(plan), ColumnValues::Object(columns)) => {
                self.path.push(JsonPathSegment::Field(&field.json_name));
                if first == b'{' {
                    self.object(plan, columns)?;
                } else if first == b'[' && self.empty_container(b']')? {
                    // The way some languages write an object without fields.
                    let row = rows_of(columns);
                    self.fill(plan, columns, row)?;
                } else {
                    self.path.pop();
                    return self.no_container(
                        field,
                        column,
                        start,
                        ValueMisfit::expected(misfit::OBJECT, first),
                    );
                }
                self.path.pop();
            }
            (FieldKind::List(element), ColumnValues::List { offsets, elements }) => {
                if first == b'[' {
                    self.list(field, element, elements)?;
                } else if first != b'{' || !self.empty_container(b'}')? {
                    return self.no_container(
                        field,
                        column,
                        start,
                        ValueMisfit::expected(misfit::ARRAY, first),
                    );
                }
                ColumnBuilder::close_list(offsets, elements)?;
            }
            (FieldKind::NotDecoded, ColumnValues::NotDecoded) => {
                let depth = self.scan.skip()?;
                self.check_depth(depth, &field.json_name)?;
            }
            // Columns are made from the plan, field by field.
            _ => {
                return Err(Box::new(Abort::Page(tillhouse_model::Error::internal(
                    "plan and columns differ",
                ))));
            }
        }
        column.valid.push(true);
        Ok(())
    }

    fn list(
        &mut self,
        field: &'p FieldPlan,
        element: &'p FieldPlan,
        elements: &mut ColumnBuilder,
    ) -> ReadResult {
        self.scan.pos += 1;
        if self.scan.empty(b']')? {
            return Ok(());
        }
        let start = elements.valid.len();
        // Where what is known completes a list, a place in it tells which element is meant.
        let has_fields = matches!(element.kind, FieldKind::Object(_) | FieldKind::List(_));
        let drops_null = has_fields && !element.required && !self.completing;
        self.path.push(JsonPathSegment::Field(&field.json_name));
        for at in 0.. {
            self.path.push(JsonPathSegment::Index(at));
            self.reserve(element.row_bytes())?;
            let first = self.scan.peek()?;
            if first == b'n' && drops_null {
                self.no_element(element)?;
            } else {
                self.value(element, elements, first)?;
            }
            self.path.pop();
            if !self.scan.another(b']')? {
                break;
            }
        }
        self.path.pop();
        if let Some(distinct) = &field.distinct
            && elements.valid.len() > start + 1
        {
            self.keep_last(field, element, distinct, elements, start);
        }
        Ok(())
    }

    /// Passes over a null in the place of an element that has fields: a row of nulls would count as one.
    #[cold]
    fn no_element(&mut self, element: &FieldPlan) -> ReadResult {
        self.scan.literal("null")?;
        let expected = if matches!(element.kind, FieldKind::List(_)) {
            misfit::ARRAY
        } else {
            misfit::OBJECT
        };
        self.warnings
            .push(self.path_to(&element.json_name), expected.0, b"null");
        Ok(())
    }

    /// Drops all but the last of the elements of a list, from row `start` on, that have the same
    /// key.
    fn keep_last(
        &mut self,
        field: &FieldPlan,
        element: &FieldPlan,
        distinct: &ElementIdentity,
        elements: &mut ColumnBuilder,
        start: usize,
    ) {
        let ColumnValues::Object(columns) = &elements.values else {
            return;
        };
        let Some(ids) = columns.get(distinct.by) else {
            return;
        };
        let mut last: FastMap<Cow<'_, [u8]>, usize> = FastMap::default();
        let mut out = Vec::new();
        for row in (start..elements.valid.len())
            .rev()
            .filter(|row| ids.valid.get(*row))
        {
            let id = match &ids.values {
                ColumnValues::Text(texts) => Cow::Borrowed(texts.get(row)),
                ColumnValues::Int(values) => Cow::Owned(values[row].to_le_bytes().to_vec()),
                _ => continue,
            };
            // What names nothing is no key, and where several are called zero, none of them is.
            let is_none = match &ids.values {
                ColumnValues::Int(values) => values[row] == 0,
                _ if blank::begins_a_name(&id) => false,
                _ => std::str::from_utf8(&id)
                    .is_ok_and(|id| blank::names_nothing(id) || blank::is_zero(id)),
            };
            if is_none {
                continue;
            }
            match last.entry(id) {
                Entry::Vacant(place) => {
                    place.insert(row);
                }
                Entry::Occupied(later) => {
                    out.push((row, hash::is_same(element, elements, row, *later.get())))
                }
            }
        }
        if out.is_empty() {
            return;
        }
        let at = path(&self.path, &field.json_name, true);
        // From the end on, so that what is taken out moves nothing that is still to go.
        for (row, same) in out {
            let what = if same {
                "the same"
            } else {
                "another version of it, which counts"
            };
            let nth = row - start;
            let words = format!("{at}[{nth}] is left out: {at} names it again behind, {what}");
            self.warnings
                .push_message(format!("{at}[{nth}]"), &distinct.rule, &words);
            elements.remove(row);
        }
    }

    /// Appends a text; false if there was none.
    #[inline]
    fn text(
        &mut self,
        field: &FieldPlan,
        keep: TextTreatment,
        texts: &mut TextBuffer,
    ) -> ReadResult<bool> {
        let raw = self.scan.string()?;
        let is_canonical =
            |bytes: &[u8]| bytes.len() == 3 && bytes.iter().all(u8::is_ascii_uppercase);
        let as_it_is = keep == TextTreatment::Whole
            || (keep == TextTreatment::Currency && is_canonical(raw.bytes));
        if as_it_is && !raw.escaped && self.utf8 && says_something(field, raw.bytes) {
            texts.bytes.extend_from_slice(raw.bytes);
            return texts.close().map(|()| true);
        }
        let checked = match self.checked(raw) {
            Ok(text) => text,
            Err(reason) => return self.reject(&field.json_name, reason),
        };
        let text = match field.is_identifier {
            true => identifier::canonical(&checked),
            false => Cow::Borrowed(&*checked),
        };
        // A value stored in another form must not stand for something where nothing was said.
        let is_none = match field.is_name || !matches!(keep, TextTreatment::Whole) {
            true => blank::names_nothing(&text),
            false => field.blank_is_none && blank::is_blank(&text),
        };
        if is_none
            || (field.zero_is_none && blank::is_zero(&text))
            || (field.is_fault && denies_fault(&text))
        {
            return Ok(false);
        }
        self.keep(keep, &text, texts).map(|()| true)
    }

    /// Appends what is kept of a text.
    pub(crate) fn keep(
        &mut self,
        keep: TextTreatment,
        text: &str,
        texts: &mut TextBuffer,
    ) -> ReadResult {
        match keep {
            TextTreatment::Whole => texts.bytes.extend_from_slice(text.as_bytes()),
            TextTreatment::Currency => texts
                .bytes
                .extend_from_slice(canonical_currency(text).as_bytes()),
            TextTreatment::Pseudonym(how) => self.pseudonyms.write(how, text, &mut texts.bytes),
            TextTreatment::LastFour => texts.bytes.extend_from_slice(last_four(text).as_bytes()),
        }
        texts.close()
    }

    /// Text of a string, if it is valid.
    pub(crate) fn checked(&self, raw: RawJsonString<'d>) -> Result<Cow<'d, str>, &'static str> {
        if raw.escaped {
            let mut bytes = Vec::with_capacity(raw.bytes.len());
            unescape(raw.bytes, &mut bytes)
                .map_err(|_| "the text holds half a character (a lone surrogate)")?;
            return String::from_utf8(bytes)
                .map(Cow::Owned)
                .map_err(|_| "the text is not UTF-8");
        }
        std::str::from_utf8(raw.bytes)
            .map(Cow::Borrowed)
            .map_err(|_| "the text is not UTF-8")
    }

    /// Something else where an object or an array belongs: an empty text is none of them.
    #[cold]
    fn no_container(
        &mut self,
        field: &FieldPlan,
        column: &mut ColumnBuilder,
        start: usize,
        misfit: ValueMisfit,
    ) -> ReadResult {
        self.scan.pos = start;
        if self.scan.peek()? == b'"' {
            let text = self.read_string()?;
            if is_blank(&text) {
                // As null: an element that nothing is said of is none.
                if field.element && !field.required && !self.completing {
                    let place = self.path_to(&field.json_name);
                    self.warnings.push(place, misfit.rule, b"");
                    return Ok(());
                }
                return self.missing(field, column);
            }
        }
        self.misfit(field, column, start, misfit)
    }

    /// A value that is not its field's: costs the record, or is null with a warning. `start` is where it begins.
    #[cold]
    #[inline(never)]
    fn misfit(
        &mut self,
        field: &FieldPlan,
        column: &mut ColumnBuilder,
        start: usize,
        misfit: ValueMisfit,
    ) -> ReadResult {
        // A date that stands for none or for an open end is an answer, the same as null, and no record is worth losing for it but where one is
        // required: not for the record time either, which the next of its paths decides, or nobody.
        let cost = if misfit.is_answer() && !field.required && !field.key {
            MisfitCost::Value
        } else {
            field.misfit
        };
        let is_passed_over =
            self.times_only && !matches!(field.kind, FieldKind::Time(_) | FieldKind::Date);
        if cost == MisfitCost::Record && !is_passed_over {
            // An empty value names nothing: as a key it is missing rather than wrong.
            self.scan.pos = start;
            let first = self.scan.peek()?;
            // A bracket's closing one stands two places behind it in ASCII.
            let nothing = matches!(first, b'{' | b'[') && self.empty_container(first + 2)?;
            let reason = if field.key && nothing {
                MISSING
            } else {
                &*misfit.reason
            };
            return self.reject(&field.json_name, reason);
        }
        self.scan.pos = start;
        let depth = self.scan.skip()?;
        self.check_depth(depth, &field.json_name)?;
        let path = self.path_to(&field.json_name);
        let original = match (&field.kind, self.scan.data[start]) {
            // Who knows what is in it.
            _ if !field.is_quotable => &b""[..],
            (_, b'{') => "{…}".as_bytes(),
            (_, b'[') => "[…]".as_bytes(),
            (FieldKind::Object(_) | FieldKind::List(_), _) => &b""[..],
            (_, b'"') => &self.scan.data[start + 1..self.scan.pos - 1],
            _ => &self.scan.data[start..self.scan.pos],
        };
        self.warnings.push(path.clone(), misfit.rule, original);
        if let MisfitCost::Time(path_of_time) = cost {
            self.unread_times.push(UnreadTime {
                path_of_time,
                field: path,
                misfit,
            });
        }
        // An element that is no single value costs its place too: a row of nulls would count as one.
        if field.element && matches!(field.kind, FieldKind::Object(_) | FieldKind::List(_)) {
            return Ok(());
        }
        column.push_null()
    }

    /// Counts a field the contract does not know, keeps it where that is wanted, and passes over it.
    #[cold]
    fn unknown(&mut self, key: RawJsonString<'d>) -> ReadResult {
        let name = unescaped(key, &mut self.scratch).map_or_else(
            || String::from_utf8_lossy(key.bytes).into_owned(),
            |n| String::from_utf8_lossy(n).into_owned(),
        );
        let name = if name.is_empty() {
            r#""""#.to_owned()
        } else {
            name
        };
        self.scan.peek()?;
        let start = self.scan.pos;
        let depth = self.scan.skip()?;
        self.check_depth(depth, "(unknown field)")?;
        if self.times_only {
            return Ok(());
        }
        if let Some(words) = fault::told(&name, &self.scan.data[start..self.scan.pos]) {
            let field = self.path_to(&excerpt(name.as_bytes(), MAX_ORIGINAL));
            self.warnings.push(field, fault::RULE, words.as_bytes());
        }
        let pattern = self.pattern_of(&excerpt(name.as_bytes(), MAX_ORIGINAL));
        if let Some(count) = self.unknown.get_mut(&pattern) {
            *count += 1;
        } else {
            let kept = if self.unknown.len() < MAX_UNKNOWN {
                pattern
            } else {
                OTHER.to_owned()
            };
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

    pub(crate) fn check_depth(&self, depth: usize, name: &str) -> ReadResult {
        if self.path.len() + depth > MAX_DEPTH {
            return self.reject(name, "nested deeper than 128");
        }
        Ok(())
    }

    /// Rejects the record if something could not be read that would have decided its record time. `decided`: the path of the record time that did.
    pub(crate) fn check_times(&self, decided: Option<usize>) -> ReadResult {
        let missed = |unread: &&UnreadTime| decided.is_none_or(|nth| unread.path_of_time <= nth);
        match self.unread_times.iter().find(missed) {
            Some(UnreadTime { field, misfit, .. }) => Err(Box::new(Abort::Reject {
                field: field.clone(),
                reason: misfit.reason.clone().into_owned(),
            })),
            None => Ok(()),
        }
    }

    /// The path to a field of the object at hand: `payments[0].amount`.
    #[cold]
    pub(crate) fn path_to(&self, name: &str) -> String {
        path(&self.path, name, true)
    }

    /// Path of a field without positions: `payments[].amount`.
    fn pattern_of(&self, name: &str) -> String {
        path(&self.path, name, false)
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn reject<T>(&self, name: &str, reason: &str) -> ReadResult<T> {
        Err(Box::new(Abort::Reject {
            field: self.path_to(name),
            reason: reason.to_owned(),
        }))
    }
}

/// The message of a field without a value.
pub(crate) const MISSING: &str = "missing required field";

fn rows_of(columns: &[ColumnBuilder]) -> usize {
    columns.first().map_or(0, |c| c.valid.len())
}

/// Key of an object: a field of the contract, or an unknown one.
enum FieldKey<'d> {
    Known(usize),
    Unknown(RawJsonString<'d>),
}

/// Key without escapes; `None` if it is not text, and so no contract's.
#[inline]
fn unescaped<'s>(key: RawJsonString<'s>, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
    if !key.escaped {
        return Some(key.bytes);
    }
    scratch.clear();
    unescape(key.bytes, scratch).ok().map(|()| &scratch[..])
}

/// True if a text as a page has it surely is a value of its field, and an identifier as it is kept: for most are, and need no second look.
fn says_something(field: &FieldPlan, text: &[u8]) -> bool {
    // A text that starts with a letter or a digit is not blank.
    let is_visible = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    let first = text.first().copied().unwrap_or(b' ');
    if field.is_fault || (field.is_identifier && !identifier::is_canonical(text)) {
        return false;
    }
    if field.zero_is_none && (first == b'0' || !first.is_ascii_alphanumeric()) {
        return false;
    }
    if !field.is_name {
        return !field.blank_is_none || is_visible(text.first());
    }
    blank::begins_a_name(text)
        || std::str::from_utf8(text).is_ok_and(|text| !blank::names_nothing(text))
}
