//! A page: its envelope, its records one after the other, and what becomes of each.
//!
//! Invariant: a record is either a row of every column here, or a reject, never both and never neither; so is one that is not JSON, as
//! long as its end can be made out. A comma too many or too few between two records costs neither, and is told once a page. A page whose bytes are not
//! JSON to the end otherwise gives nothing at all.

use crate::abort::{Abort, ReadResult};
use crate::column::{BitBuffer, ColumnBuilder, ColumnSizes, TextBuffer};
use crate::fields::PathStep;
use crate::hash;
use crate::identity;
use crate::known_records::{self, KnownRecords};
use crate::misfit::AHEAD;
use crate::plan::DecodePlan;
use crate::pseudonyms::PseudonymCache;
use crate::record::{JsonRecordReader, MISSING};
use crate::redact::redact;
use crate::rules::RuleChecker;
use crate::scan::{unescape, value_kind};
use crate::warnings::{PageWarnings, WarningCheckpoint};
use crate::{DecodedPage, Reject};
use arrow::array::{ArrayRef, FixedSizeBinaryArray, TimestampMicrosecondArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{Fields, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use jiff::Timestamp;
use std::sync::Arc;
use tillhouse_model::json::SeparatorFaults;
use tillhouse_model::table::timestamp;
use tillhouse_model::{Error, ErrorKind, PseudonymKey, Result, ResultExt as _};
use xxhash_rust::xxh3::xxh3_128;

/// A page with more rejects than this is refused as a whole: it is not what the contract describes.
const MAX_REJECTS: usize = 100_000;

/// The rule of the warning that something else than one comma stands between two records.
const RECORD_SEPARATORS: &str = "record_separators";

/// Microseconds of a day, by which the clocks of those who write times may be ahead.
const DAY: i64 = 86_400_000_000;

/// The longest key a reject is reported with.
const MAX_KEY: usize = 1_024;

/// Size of an earlier page and of its columns, from which room for the next one is reserved.
#[derive(Debug, Default, Clone)]
pub(crate) struct SizeHint {
    page_bytes: usize,
    sizes: ColumnSizes,
}

impl SizeHint {
    /// The sizes for a page of so many bytes, with a little to spare.
    fn scaled(&self, page_bytes: usize) -> ColumnSizes {
        let scale = |n: u32| {
            let whole = u64::from(n) * page_bytes as u64 / self.page_bytes.max(1) as u64;
            u32::try_from(whole + whole / 16).unwrap_or(u32::MAX)
        };
        self.sizes
            .iter()
            .map(|(rows, bytes)| (scale(*rows), scale(*bytes)))
            .collect()
    }
}

/// Growable column of optional instants.
#[derive(Debug, Default)]
struct TimeBuffer {
    values: Vec<i64>,
    valid: BitBuffer,
}

impl TimeBuffer {
    fn push(&mut self, time: Option<i64>) {
        self.values.push(time.unwrap_or(0));
        self.valid.push(time.is_some());
    }

    fn finish(self) -> Result<TimestampMicrosecondArray, ArrowError> {
        let array =
            TimestampMicrosecondArray::try_new(self.values.into(), self.valid.into_nulls())?;
        Ok(array.with_data_type(timestamp()))
    }
}

/// State of decoding one page: its columns, rejects and warnings so far.
pub(crate) struct PageDecoder<'p, 'd> {
    plan: &'p DecodePlan,
    walker: JsonRecordReader<'p, 'd>,
    rules: RuleChecker<'p>,
    columns: Vec<ColumnBuilder>,
    rows: usize,
    keys: TextBuffer,
    record_times: TimeBuffer,
    updated_at: TimeBuffer,
    hashes: Vec<u8>,
    extra: Option<(TextBuffer, BitBuffer)>,
    rejects: Vec<Reject>,
    scope: Option<&'p str>,
    /// Origin of the fields that records leave out.
    known: Option<&'p KnownRecords>,
    /// The key of the record at hand.
    key: Vec<u8>,
    scratch: Vec<u8>,
}

impl<'p, 'd> PageDecoder<'p, 'd> {
    pub(crate) fn new(
        plan: &'p DecodePlan,
        key: Option<&'p PseudonymKey>,
        keep_unknown: bool,
        hint: &SizeHint,
        bytes: &'d [u8],
        scope: Option<&'p str>,
        known: Option<&'p KnownRecords>,
    ) -> Self {
        let mut walker = JsonRecordReader::new(bytes, PseudonymCache::new(key), keep_unknown);
        walker.completing = known.is_some();
        Self {
            plan,
            walker,
            rules: RuleChecker::new(plan),
            columns: ColumnBuilder::all(&plan.record, &mut hint.scaled(bytes.len()).iter()),
            rows: 0,
            keys: TextBuffer::default(),
            record_times: TimeBuffer::default(),
            updated_at: TimeBuffer::default(),
            hashes: Vec::new(),
            extra: keep_unknown.then(Default::default),
            rejects: Vec::new(),
            scope,
            known,
            key: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Takes what the page says to come later than a day after this instant for something that has not happened: clocks may differ by less. A record of
    /// such a time is told.
    pub(crate) fn asked_at(&mut self, instant: Option<Timestamp>) {
        let latest = |instant: Timestamp| instant.as_microsecond().saturating_add(DAY);
        self.walker.latest = instant.map(latest);
    }

    /// Reads the whole page; `records_at` are the keys that lead to the array of records.
    pub(crate) fn read(&mut self, records_at: &[&str]) -> ReadResult {
        let faults = self.envelope(records_at)?;
        self.walker.scan.end()?;
        if !faults.is_none() {
            let list = format!("{}[]", records_at.join("."));
            let words = faults.to_string();
            self.walker
                .warnings
                .push_message(list, RECORD_SEPARATORS, &words);
        }
        Ok(())
    }

    fn envelope(&mut self, records_at: &[&str]) -> ReadResult<SeparatorFaults> {
        let Some((wanted, deeper)) = records_at.split_first() else {
            return self.records();
        };
        let first = self.walker.scan.peek()?;
        if first != b'{' {
            return self.elsewhere(wanted, first);
        }
        self.walker.scan.pos += 1;
        let mut found = None;
        let mut more = !self.walker.scan.empty(b'}')?;
        let mut name = Vec::new();
        while more {
            let key = self.walker.scan.key()?;
            name.clear();
            let meaning = if key.escaped && unescape(key.bytes, &mut name).is_ok() {
                &name[..]
            } else {
                key.bytes
            };
            if meaning == wanted.as_bytes() {
                if found.is_some() {
                    let error = Error::data(format!(
                        "the page has the key {wanted:?} twice, and nobody knows which of its two lists counts"
                    ))
                    .at("key", *wanted)
                    .hint("Nothing of the page was taken; the next sync asks for it again. If it stays so, tell the provider.");
                    return Err(Box::new(Abort::Page(error)));
                }
                found = Some(self.envelope(deeper)?);
            } else {
                self.walker.scan.skip_any()?;
            }
            more = self.walker.scan.another(b'}')?;
        }
        found.ok_or_else(|| {
            let error = Error::data("the page has no records").at("missing key", *wanted);
            Box::new(Abort::Page(error))
        })
    }

    #[cold]
    fn elsewhere<T>(&mut self, key: &str, first: u8) -> ReadResult<T> {
        self.walker.scan.skip()?;
        let error = Error::data(format!(
            "the page's records are not where they belong: found {}",
            value_kind(first)
        ));
        Err(Box::new(Abort::Page(error.at("key", key))))
    }

    fn records(&mut self) -> ReadResult<SeparatorFaults> {
        let first = self.walker.scan.peek()?;
        if first != b'[' {
            return self.elsewhere("(records)", first);
        }
        self.walker.scan.pos += 1;
        let mut faults = SeparatorFaults::default();
        let mut more = self.walker.scan.first_record(&mut faults)?;
        while more {
            let first = self.walker.scan.peek()?;
            let start = self.walker.scan.pos;
            let warned = self.walker.warnings.checkpoint();
            match self.record(first, warned) {
                Ok(()) => self.rows += 1,
                Err(stop) => {
                    let (field, reason) = match *stop {
                        Abort::Reject { field, reason } => (field, reason),
                        // Where the record's end cannot be made out either, that is the page's error.
                        Abort::Syntax { expected, .. } => (
                            self.walker.path_to(""),
                            format!("not valid JSON: expected {expected}"),
                        ),
                        page @ Abort::Page(_) => return Err(Box::new(page)),
                    };
                    self.reject(start, warned, field, reason)?;
                }
            }
            more = self.walker.scan.next_record(&mut faults)?;
        }
        Ok(faults)
    }

    /// Tells a record whose time, of the `nth` path, is still to come; it stays, with its time.
    fn tell_ahead(&mut self, nth: usize, micros: i64) {
        let is_ahead = self.walker.latest.is_some_and(|last| micros > last);
        let path = self.plan.record_time.get(nth);
        if let (true, Some(path), Ok(time)) = (is_ahead, path, Timestamp::from_microsecond(micros))
        {
            let field = identity::spell(&self.plan.record, path, &[]);
            let words = format!("{time}: {}, and counts when it comes", AHEAD.reason);
            self.walker.warnings.push_message(field, AHEAD.rule, &words);
        }
    }

    fn record(&mut self, first: u8, warned: WarningCheckpoint) -> ReadResult {
        self.walker.path.clear();
        self.walker.extra.clear();
        self.walker.unread_times.clear();
        self.walker.reserve(self.plan.record.row_bytes)?;
        if first != b'{' {
            return self.walker.reject(
                "",
                &format!("expected an object, found {}", value_kind(first)),
            );
        }
        self.walker.object(&self.plan.record, &mut self.columns)?;
        if let Some(column) = self.plan.scope.and_then(|at| self.columns.get_mut(at)) {
            // Whatever the record itself may have under that name is not what the request named.
            column.truncate(self.rows);
            column.push_text(self.scope)?;
        }
        let (plan, columns, row) = (self.plan, &self.columns, self.rows);
        if let Some(empty) = plan
            .key
            .iter()
            .find(|at| identity::names_nothing(&columns[**at], row))
        {
            return self
                .walker
                .reject(&plan.record.fields[*empty].json_name, MISSING);
        }
        self.key.clear();
        identity::key((&plan.record, &plan.key), columns, row, &mut self.key);
        let mut is_known = false;
        let mut unread = PageWarnings::default();
        if let Some(known) = self.known {
            // What is known stands in their place, and would hide them.
            unread = self.rules.unread_zones(&self.columns, row);
            is_known = known.complete(&self.key, plan, &mut self.columns, row)?;
            if let Some(missing) = known_records::missing(&plan.record, &self.columns, row, "") {
                return Err(Box::new(Abort::Reject {
                    field: missing,
                    reason: MISSING.to_owned(),
                }));
            }
        }
        let columns = &self.columns;
        let time = identity::earliest(&plan.record_time, columns, row);
        // The known time of a record that was read before stands where a time could not be read now.
        if !is_known {
            self.walker.check_times(time.map(|(nth, _)| nth))?;
        }
        self.keys.bytes.extend_from_slice(&self.key);
        self.keys.close()?;
        self.record_times.push(time.map(|(_, micros)| micros));
        if let Some((nth, micros)) = time {
            self.tell_ahead(nth, micros);
        }
        let columns = &self.columns;
        let updated_at = identity::earliest(plan.updated_at.as_slice(), columns, row);
        self.updated_at.push(updated_at.map(|(_, micros)| micros));
        self.hashes
            .extend_from_slice(&hash::content_hash(plan, columns, row, &mut self.scratch));
        if let Some((texts, valid)) = &mut self.extra {
            let extra = &self.walker.extra;
            for (at, (path, value)) in extra.iter().enumerate() {
                texts.bytes.push(if at == 0 { b'{' } else { b',' });
                texts.bytes.extend_from_slice(
                    serde_json::Value::from(path.as_str())
                        .to_string()
                        .as_bytes(),
                );
                texts.bytes.push(b':');
                texts.bytes.extend_from_slice(value);
            }
            if !extra.is_empty() {
                texts.bytes.push(b'}');
            }
            valid.push(!extra.is_empty());
            texts.close()?;
        }
        self.rules.check(columns, row, &mut self.walker.warnings);
        self.walker.warnings.extend_new(warned, unread);
        self.walker.warnings.sign(warned, &self.key);
        Ok(())
    }

    #[cold]
    fn reject(
        &mut self,
        start: usize,
        warned: WarningCheckpoint,
        field: String,
        reason: String,
    ) -> ReadResult {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
        self.walker.warnings.rewind(warned);
        self.walker.scan.pos = start;
        self.walker.scan.skip_record()?;
        let end = self.walker.scan.pos;
        let key = self.key_of(start);
        let (record_time, updated_at) = self.times_of(start);
        self.walker.warnings.rewind(warned);
        self.walker.scan.pos = end;
        let bytes = &self.walker.scan.data[start..end];
        let (redacted, content) = (redact(&self.plan.record, bytes), xxh3_128(bytes));
        self.rejects.push(Reject {
            key,
            field,
            reason,
            redacted,
            content,
            record_time,
            updated_at,
        });
        if self.rejects.len() > MAX_REJECTS {
            let error = Error::data(format!("more than {MAX_REJECTS} records of one page do not fit the contract"))
                .hint("Compare the contract with what the server sends; `tillhouse eject` copies the contract into the project.");
            return Err(Box::new(Abort::Page(error)));
        }
        Ok(())
    }

    /// The record time and the version time of a record that did not fit, as far as they can be read. They say where it lies, and so which other
    /// reading would have to hold it.
    fn times_of(&mut self, start: usize) -> (Option<i64>, Option<i64>) {
        let (plan, row) = (self.plan, self.rows);
        self.walker.scan.pos = start;
        let read = self.walker.scan.peek().is_ok_and(|first| first == b'{')
            && self
                .walker
                .object_for_its_times(&plan.record, &mut self.columns)
                .is_ok();
        let mut times = (None, None);
        if read {
            let time = |paths: &[Vec<PathStep>]| identity::earliest(paths, &self.columns, row);
            let (happened, changed) = (time(&plan.record_time), time(plan.updated_at.as_slice()));
            let is_sure = self
                .walker
                .check_times(happened.map(|(nth, _)| nth))
                .is_ok();
            times = (
                happened.filter(|_| is_sure).map(|(_, micros)| micros),
                changed.map(|(_, micros)| micros),
            );
        }
        for column in &mut self.columns {
            column.truncate(row);
        }
        times
    }

    /// The key of a record that did not fit, if its parts can be read: spelled as the key of one that fits.
    fn key_of(&mut self, start: usize) -> Option<String> {
        let (plan, walker) = (self.plan, &mut self.walker);
        walker.path.clear();
        walker.scan.pos = start;
        if walker.scan.peek().ok()? != b'{' {
            return None;
        }
        walker.scan.pos += 1;
        let mut parts: Vec<ColumnBuilder> = plan
            .key
            .iter()
            .map(|at| ColumnBuilder::new(&plan.record.fields[*at], &mut [].iter()))
            .collect();
        let mut more = !walker.scan.empty(b'}').ok()?;
        while more {
            more = match self.key_field(&mut parts) {
                Ok(more) => more,
                // Of a record that is not JSON counts what stands before the damage.
                Err(stop) if matches!(*stop, Abort::Syntax { .. }) => false,
                Err(_) => return None,
            };
        }
        if let Some(nth) = plan.key.iter().position(|at| Some(*at) == plan.scope) {
            parts[nth].truncate(0);
            parts[nth].push_text(self.scope).ok()?;
        }
        let mut out = Vec::new();
        for (nth, (at, part)) in plan.key.iter().zip(&parts).enumerate() {
            if identity::names_nothing(part, 0) {
                return None;
            }
            if nth > 0 {
                out.push(b':');
            }
            identity::key_part(&plan.record.fields[*at], part, 0, parts.len() > 1, &mut out);
        }
        String::from_utf8(out)
            .ok()
            .filter(|key| key.len() <= MAX_KEY)
    }

    /// Reads a field of a record into its key's parts, if it is one of them; whether another field follows.
    fn key_field(&mut self, parts: &mut [ColumnBuilder]) -> ReadResult<bool> {
        let (plan, walker) = (self.plan, &mut self.walker);
        let key = walker.scan.key()?;
        self.scratch.clear();
        let name = if key.escaped {
            unescape(key.bytes, &mut self.scratch)
                .ok()
                .map(|()| &self.scratch[..])
        } else {
            Some(key.bytes)
        };
        let field = name.and_then(|name| plan.record.find(name, 0));
        let first = walker.scan.peek()?;
        match plan.key.iter().position(|at| Some(*at) == field) {
            // A key that is given twice is none.
            Some(nth) if parts[nth].valid.len() > 0 => return walker.reject("", "duplicate field"),
            Some(nth) => {
                walker.value(&plan.record.fields[plan.key[nth]], &mut parts[nth], first)?;
                // A number that was cut off in the middle would name another record.
                if walker.scan.value_end().is_err() {
                    parts[nth].truncate(0);
                    return Ok(false);
                }
            }
            None => {
                walker.scan.skip()?;
            }
        }
        Ok(walker.scan.another(b'}')?)
    }

    /// The decoded page, and a size hint for the next one.
    pub(crate) fn finish(
        self,
        schema: &SchemaRef,
        content: &Fields,
    ) -> Result<(DecodedPage, SizeHint)> {
        let mut sizes = ColumnSizes::new();
        self.columns.iter().for_each(|c| c.sizes(&mut sizes));
        let hint = SizeHint {
            page_bytes: self.walker.scan.data.len(),
            sizes,
        };
        let rejects = self.rejects;
        let unknown = self.walker.unknown;
        let warnings = self.walker.warnings.finish();
        let arrays = || -> Result<DecodedPage, ArrowError> {
            let mut columns = ColumnBuilder::finish_all(self.columns, content)?;
            if let Some((texts, valid)) = self.extra {
                columns.push(Arc::new(texts.into_array(valid.into_nulls())?) as ArrayRef);
            }
            let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
            let hash_size = i32::try_from(hash::SIZE).unwrap_or(0);
            Ok(DecodedPage {
                batch: RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?,
                keys: self.keys.into_array(None)?,
                record_times: self.record_times.finish()?,
                updated_at: self.updated_at.finish()?,
                content_hashes: FixedSizeBinaryArray::try_new(
                    hash_size,
                    Buffer::from_vec(self.hashes),
                    None,
                )?,
                rejects,
                warnings,
                unknown,
            })
        };
        Ok((
            arrays().or_error(
                ErrorKind::Internal,
                "the decoded columns do not fit the contract",
            )?,
            hint,
        ))
    }
}
