//! Page bytes and a contract in; a record batch, rejects and warnings out. Pure: no I/O, no clock.
//!
//! Invariant: every record of a page ends up exactly once, in the batch or in the rejects; no value of a secret column is ever
//! decoded, and no reject or warning about a personal one holds it.
//!
//! ```text
//!   page bytes --scan--> values --plan--> columns --finish--> RecordBatch
//!                          |                |  one row complete: key, record time, hash, rules
//!                          +-- unknown: counted, passed over
//!                          +-- misfit: columns cut back, record redacted, next record
//! ```
//!
//! # How values are read
//!
//! - `null` is a missing field. A missing required field rejects the record. A field given twice rejects it as well: which of the two
//!   counts, nobody can say. So does a text that is no text (half a surrogate pair, bytes that are not UTF-8).
//! - **Text** is a JSON string, or a number: its digits as they are written (`1.0` stays `1.0`). An identifier has one spelling, see
//!   [`tillhouse_model::identifier::canonical`]; of a whole number its digits (`1.0` is `1`). A key, a reference, a name,
//!   a word of a vocabulary or a currency that names nothing (blanks, `null`, a UUID of zeros, see [`tillhouse_model::blank::names_nothing`]) is missing.
//! - **Bool** is `true` or `false`, `1` or `0`, or one of these as text in any case.
//! - **Int** is a whole number of 64 bits, also written `1.0` or `1e2`, or a text that holds one. A text that names nothing is none.
//! - **Decimal** is a number, or a text that holds one; digits beyond the scale are rounded half-even with a warning. A number in a text is digits,
//!   full-width ones too, one point at most, a sign, an exponent, and blanks around them; whatever else people write into numbers is not read.
//! - **Timestamp**: see [`tillhouse_model::TimeFormat`]. Digits beyond microseconds are cut with a warning (rule `rounded`). Where a zone
//!   is named, an offset in the text wins; of a local time that occurs twice the earlier instant is meant, and one that never
//!   occurs is read with the offset from before the clock leapt. `9999-12-31` and `0001-01-01` are no instants: see `instant`. Nor is,
//!   where the contract says so, what was still to come: see [`Decoder::asked_at`].
//! - An **object** may be `[]`, an **array** `{}`: some languages write an empty one as the other.
//! - An empty text is null where no text is expected.
//! - **LastFour** keeps at most half of a value, so that a short one is not shown whole.
//!
//! The rest does not fit. [`tillhouse_model::MisfitPolicy`] says whether that rejects the record or the value is null, with a warning
//! that says what was expected. An object or array within an array is left out then, and its neighbours stay, unless it would hold money or a
//! quantity: that rejects the record.
//!
//! Memory: a page and its columns, nothing that grows over pages. A page whose columns would take more than 64 MiB and sixteen
//! times its size is refused.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod abort;
mod absence_rule;
mod column;
mod common_currency;
mod fault;
mod fields;
#[cfg(test)]
mod fixture;
mod hash;
mod identity;
mod instant;
mod json_path;
mod known_records;
mod misfit;
mod number;
mod operand;
mod page;
mod plan;
mod presence_rule;
mod product_rule;
mod pseudonyms;
mod record;
mod record_rules;
mod redact;
mod rules;
mod scalar;
mod scan;
mod state_rule;
mod tax_rule;
mod warnings;

use crate::page::{PageDecoder, SizeHint};
use crate::plan::DecodePlan;
pub use crate::warnings::MORE_WARNINGS;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_model::table::{EXTRA, UnknownFields};
use tillhouse_model::{PseudonymKey, Result, TableSpec};

pub use known_records::KnownRecords;

/// Decodes pages of one resource. Cheap to clone and to share between threads.
///
/// ```
/// use std::sync::Arc;
/// use tillhouse_decode::Decoder;
///
/// let contract = r#"
/// apiVersion: v3.1.0
/// kind: DataContract
/// id: kiosk-sales
/// version: 1.0.0
/// status: active
/// dataProduct: kiosk
/// schema:
///   - name: sales
///     description: One sale.
///     properties:
///       - { name: id, description: Its number., logicalType: integer, required: true, primaryKey: true }
///       - { name: total, description: Gross., logicalType: number, physicalType: "decimal(18,4)" }
/// "#;
/// let spec = tillhouse_model::contract::parse(contract, "sales.yaml")?;
/// let decoder = Decoder::new(Arc::new(spec), None)?;
/// let page = br#"{"data": [{"id": 7, "total": 4.9, "mood": "fine"}, {"total": 1}]}"#;
/// let decoded = decoder.decode(page, &["data"])?;
/// assert_eq!((decoded.batch.num_rows(), decoded.keys.value(0)), (1, "7"));
/// assert_eq!(decoded.rejects[0].field, "id");
/// assert_eq!(decoded.unknown["mood"], 1);
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Decoder {
    spec: Arc<TableSpec>,
    key: Option<PseudonymKey>,
    plan: Arc<DecodePlan>,
    schema: SchemaRef,
    content: Fields,
    /// When the pages were asked for, where what had not come then is to be none.
    asked_at: Option<Timestamp>,
    /// Sizes of the last page's columns.
    hint: Arc<Mutex<Arc<SizeHint>>>,
}

/// Rows, rejects and warnings of one page.
#[derive(Debug, Clone)]
pub struct DecodedPage {
    /// The records that fit, one row each: exactly the columns of [`TableSpec::content_schema`] (then `_extra` where kept).
    pub batch: RecordBatch,
    /// The record key of each row: the key columns' values as text, joined by ':'. Where there are several, a ':' or '\\' within a
    /// text is preceded by '\\', so that no two keys meet.
    pub keys: arrow::array::StringArray,
    /// The record time of each row, microseconds UTC.
    pub record_times: arrow::array::TimestampMicrosecondArray,
    /// The source's own version time of each row, where the contract names one; else all null.
    pub updated_at: arrow::array::TimestampMicrosecondArray,
    /// The content hash of each row: one byte of hash version, then 16 bytes.
    pub content_hashes: arrow::array::FixedSizeBinaryArray,
    /// Records that did not fit, with field and reason.
    pub rejects: Vec<Reject>,
    /// Values that were changed on the way, and quality rules that did not hold. At most 20,000; then one more of rule
    /// `more_warnings` says how many were left out.
    pub warnings: Vec<Warning>,
    /// Count of each unknown field, by path (`payments[].foo`); in rejects as far as they were
    /// read. Beyond 1,000 paths a page the rest is counted as `(other)`.
    pub unknown: BTreeMap<String, u64>,
}

/// A record that did not fit its contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The record's key, spelled as that of a row, where all its parts could be read. A personal part is its pseudonym.
    pub key: Option<String>,
    /// The field's path, `payments[0].amount`.
    pub field: String,
    /// Reason, without the value.
    pub reason: String,
    /// The record's JSON with every value that is not an open column of the contract replaced by `"***"`, and unknown fields
    /// left out. Valid JSON, at most 4 KiB. Empty where the record is no object, or no JSON.
    pub redacted: String,
    /// Hash of the record's bytes, by which one is known that a listing gives again. It is stored nowhere.
    pub content: u128,
    /// The record time, microseconds UTC, where it can be read whatever else is wrong with the record.
    pub record_time: Option<i64>,
    /// The source's own version time of the record, microseconds UTC, where it can be read.
    pub updated_at: Option<i64>,
}

/// Remark on a landed record: a value that was rounded, or that did not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The record's key.
    pub key: String,
    /// The field's path.
    pub field: String,
    /// The rule: `rounded`, what was expected and not found (`expected_whole_number`, `no_time`), or a quality rule's name.
    pub rule: String,
    /// The original text, shortened, for open columns only; else empty. Of a rule over several columns, what they say in words.
    pub original: String,
    /// Number of warnings it stands for: one, but for the last of a page that has too many.
    pub count: u64,
}

impl Decoder {
    /// A decoder for a contract. Errors with [`tillhouse_model::ErrorKind::Config`] when the contract has pseudonymised columns and
    /// there is no key, or when it asks for something that JSON cannot give.
    pub fn new(spec: Arc<TableSpec>, key: Option<PseudonymKey>) -> Result<Self> {
        Self::with_parameters(spec, key, &[])
    }

    /// As [`Decoder::new`], with what the connection settles, by name: quality rules may ask for it.
    pub fn with_parameters(
        spec: Arc<TableSpec>,
        key: Option<PseudonymKey>,
        parameters: &[(&str, String)],
    ) -> Result<Self> {
        let plan = DecodePlan::new(&spec, key.is_some(), parameters)
            .map_err(|e| e.at("contract", spec.qualified_name()))?;
        let content = spec.content_schema().fields().clone();
        let mut all: Vec<Arc<Field>> = content.iter().cloned().collect();
        if spec.unknown == UnknownFields::Keep {
            all.push(Arc::new(Field::new(EXTRA, DataType::Utf8, true)));
        }
        let schema = Arc::new(Schema::new(all));
        Ok(Self {
            spec,
            key,
            plan: Arc::new(plan),
            schema,
            content,
            asked_at: None,
            hint: Arc::default(),
        })
    }

    /// The same decoder, for pages that were asked for at an instant: a time that the contract says cannot lie ahead (`ahead: none`) is null, with a
    /// warning, where it is more than a day later, and a record whose own time is stays, with one. Without this no time is.
    #[must_use]
    pub fn asked_at(&self, instant: Timestamp) -> Self {
        Self {
            asked_at: Some(instant),
            ..self.clone()
        }
    }

    /// The schema of every batch: [`TableSpec::content_schema`], then `_extra` where unknown fields are kept.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Decodes one page; `records_at` are the keys that lead from the top to the array of records.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Data`] when the page is not JSON to its end, has no such array, has more than
    /// 100,000 rejects, or would take far more memory than a page of its size should. Never panics.
    pub fn decode(&self, page: &[u8], records_at: &[&str]) -> Result<DecodedPage> {
        self.decode_scoped(page, records_at, None)
    }

    /// As [`Decoder::decode`], with what the page's request named: it goes into the column whose `physicalName` is `$scope`.
    pub fn decode_scoped(
        &self,
        page: &[u8],
        records_at: &[&str],
        scope: Option<&str>,
    ) -> Result<DecodedPage> {
        self.decode_partial(page, records_at, scope, None)
    }

    /// As [`Decoder::decode_scoped`], for pages whose records may leave out what other pages have: where a record says nothing, at any depth, the
    /// value stays that it has in `known`. A missing field, null, `{}`, `[]` and a text of which nothing can be seen all say nothing. Hash,
    /// times and rules are about the record as it then is, so that one that did not change has the hash it had.
    pub fn decode_partial(
        &self,
        page: &[u8],
        records_at: &[&str],
        scope: Option<&str>,
        known: Option<&KnownRecords>,
    ) -> Result<DecodedPage> {
        let at = |e: tillhouse_model::Error| e.at("contract", self.spec.qualified_name());
        let hint = Arc::clone(&self.hint.lock().unwrap_or_else(PoisonError::into_inner));
        let keep = self.spec.unknown == UnknownFields::Keep;
        let mut reading = PageDecoder::new(
            &self.plan,
            self.key.as_ref(),
            keep,
            &hint,
            page,
            scope,
            known,
        );
        reading.asked_at(self.asked_at);
        reading
            .read(records_at)
            .map_err(|stop| at(stop.into_error()))?;
        let (decoded, hint) = reading.finish(&self.schema, &self.content).map_err(at)?;
        *self.hint.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(hint);
        Ok(decoded)
    }
}
