//! Table specification: the validated meaning of one data contract.
//!
//! Invariant: a [`TableSpec`] is complete and consistent. Every path it names exists, every key column is required and open
//! or pseudonymised, every decimal fits Arrow's Decimal128; whoever holds one needs no further check.

use crate::money::{PriceUnit, VatRateUnit};
use crate::note::ColumnNote;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The column that holds each record's lineage: the run that landed it.
pub const RUN_ID: &str = "_run_id";
/// When the request that brought a record was sent, UTC: the record is at least as fresh as that.
pub const EXTRACTED_AT: &str = "_extracted_at";
/// The hash of a record's decoded values, see the decode crate: one byte of hash version, then 16 bytes.
pub const CONTENT_HASH: &str = "_content_hash";
/// JSON of the fields a contract does not know, where it says `unknown: keep`.
pub const EXTRA: &str = "_extra";
/// The package number that landed a record; strictly increasing within a table.
pub const LOAD_ID: &str = "_load_id";
/// The record's key as one string; key columns joined by ':'.
pub const RECORD_KEY: &str = "_record_key";
/// The record time, see [`TableSpec::record_time`].
pub const RECORD_TIME: &str = "_record_time";
/// The record time of the version this one supersedes; null if it is the first.
pub const PREV_RECORD_TIME: &str = "_prev_record_time";
/// The `physicalName` of a column that no JSON has: what the page's request named and its records do not repeat.
pub const SCOPE: &str = "$scope";
/// When a record that is read whole was found to be gone, UTC; null while it is there.
pub const DELETED_AT: &str = "_deleted_at";
/// The UTC month of the record time, `YYYY-MM`, or `none`.
pub const MONTH: &str = "month";
/// The level of a row of a roll-up: the length of its period, and whether sites are told apart.
pub const LEVEL: &str = "level";
/// The UTC month (`YYYY-MM`) or year (`YYYY`) that a row of a roll-up lies in, or `none`: a partition whose width is its level's.
pub const PERIOD: &str = "period";
/// The pipeline a row belongs to: one configured connection to one source.
pub const PIPELINE: &str = "pipeline";
/// The instant at which a fact happened, UTC.
pub const OCCURRED_AT: &str = "occurred_at";
/// The instant the values of a dimension's row are from, UTC: a row that is older than the one there never overwrites it.
pub const AS_OF: &str = "_as_of";

/// One table: its columns and the rules its records obey.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSpec {
    /// The source it comes from (`hecone`), or `unified`.
    pub source: String,
    /// Its own name (`transactions`).
    pub name: String,
    /// Meaning of one row.
    pub description: String,
    /// Role of the table; decides its lineage columns.
    pub role: TableRole,
    /// The columns, in the contract's order. Secret and dropped ones are listed too: decode must know what to skip.
    pub columns: Vec<ColumnSpec>,
    /// Names of the top-level columns that identify a record, in key order. Never empty.
    pub key: Vec<String>,
    /// Columns that may hold the record time, in order; the first that is present counts. Empty: records have no time.
    /// A path through a list means the earliest value in that list that is present.
    pub record_time: Vec<Vec<String>>,
    /// The column by which the source itself orders versions (`updated_at`), where it has one.
    pub updated_at: Option<Vec<String>>,
    /// Span that a record's time may move by between versions; dedup looks that far around.
    pub moves_within: SignedDuration,
    /// Names of the columns the table is partitioned by.
    pub partition_by: Vec<String>,
    /// Treatment of fields the contract does not know.
    pub unknown: UnknownFields,
    /// Quality rules checked on every landed record; a violation is a warning, never a loss.
    pub rules: Vec<QualityRule>,
}

/// Kind of table that a contract describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableRole {
    /// Records of a source: append-only history of every version.
    #[default]
    Source,
    /// Unified, current state, in time: transactions, articles, payments, events.
    Fact,
    /// Unified, current state, one row a key: tenants, sites, devices, points, products.
    Dimension,
}

/// Treatment of fields the contract does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownFields {
    /// Counted by path, for ops.drift.
    #[default]
    Count,
    /// Counted, and kept as JSON in `_extra`.
    Keep,
}

/// Quality rule over one record.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityRule {
    /// A stable name, shown in ops.warnings.
    pub name: String,
    /// The top-level or nested column it is about; of a rule over several columns, the one that is compared with the others.
    pub path: Vec<String>,
    /// Condition to hold.
    pub check: RuleCheck,
}

/// Condition of a quality rule.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleCheck {
    /// One of these strings (the source's documented vocabulary).
    OneOf(Vec<String>),
    /// A number not below this one.
    AtLeast(i64),
    /// A number not above this one.
    AtMost(i64),
    /// A text that matches an ISO 4217 alphabetic code.
    Currency,
    /// A time zone that [`crate::zone_name`] reads.
    TimeZone,
    /// A unit of measure that is [known](crate::MeasureUnit::is_known).
    Unit,
    /// The key is unique in the table; of a column in a list, in its list: of elements that have one value, the last counts.
    Unique,
    /// The number is the sum of those of other columns of the record.
    Sum(SumRule),
    /// The text is what the site's clock showed at an instant of the record.
    LocalTime(LocalTimeRule),
    /// The number can be an amount of its currency.
    Amount(AmountRule),
    /// The number can be a rate of tax in its unit.
    Rate(RateRule),
    /// The number is the product of those of other columns of the record, or of the same element of a list.
    Product(ProductRule),
    /// The number is the tax in an amount at a rate, both of the record or of the same element of a list.
    Tax(TaxRule),
    /// The text is the state that follows from those of the record's articles and payments.
    State(StateRule),
    /// The value is there, in every element of the list it is in.
    Present(PresenceRule),
    /// The text is not there, in any element of the list it is in, where an amount is.
    Absent(AbsenceRule),
}

/// Requirement that a text is not there beside amounts: what went wrong with a sale that has a price all the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AbsenceRule {
    /// Columns of numbers: the rule holds where none of them is there, or all are 0.
    pub beside: Vec<Vec<String>>,
    /// Words for what becomes of the record, such as `it is in no figure`.
    pub otherwise: Option<String>,
}

/// Requirement that a value is there: a number, a time, or a text that is not blank.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PresenceRule {
    /// Columns of which one does as well, in whatever element; where there are any, the record is looked at as a whole.
    pub or: Vec<Vec<String>>,
    /// Columns of which one has to be there for the rule to hold; empty: it always does.
    pub with: Vec<Vec<String>>,
    /// Elements that the rule is for, by a text of theirs; `None`: all.
    pub when: Option<ElementFilter>,
    /// Words for what counts in its place, such as `the day is that of UTC`.
    pub otherwise: Option<String>,
}

/// Currency and unit of an amount.
#[derive(Debug, Clone, PartialEq)]
pub struct AmountRule {
    /// The columns that name the currency, the first that does: of the same element, or of what it is in.
    pub currency: Vec<Vec<String>>,
    /// Columns whose currency counts where those name none, the first that does; through a list, that of any of its elements. It is a guess,
    /// and told.
    pub guess: Vec<Vec<String>>,
    /// The column that names another record, which may name the currency, or an amount of this one: where it does, or is there, and is not 0, nothing is
    /// told here of one that is missing.
    pub currency_elsewhere: Option<Vec<String>>,
    /// The unit.
    pub unit: PriceUnitSource,
}

/// Unit of a tax rate.
#[derive(Debug, Clone, PartialEq)]
pub struct RateRule {
    /// The unit.
    pub unit: RateUnitSource,
}

/// Origin of a rate's unit: the contract, or a parameter of the connection.
#[derive(Debug, Clone, PartialEq)]
pub enum RateUnitSource {
    /// The contract.
    Contract(VatRateUnit),
    /// The connection, by the parameter of that name, which unify SQL reads as `$name`.
    Connection(String),
}

/// Origin of an amount's unit: the contract, or a parameter of the connection.
#[derive(Debug, Clone, PartialEq)]
pub enum PriceUnitSource {
    /// The contract.
    Contract(PriceUnit),
    /// The connection, by the parameter of that name, which unify SQL reads as `$name`.
    Connection(String),
}

/// Columns that add up to another one. Of a refund, a column none of whose numbers is below zero may be told without the sign.
#[derive(Debug, Clone, PartialEq)]
pub struct SumRule {
    /// The columns that are added; through a list, each of its elements is.
    pub of: Vec<Vec<String>>,
    /// Elements of a list that may be left out: the sum holds with them or without.
    pub except: Option<ElementFilter>,
    /// Elements of a list that alone are added. Where no element has such a text, nothing is known of the sum.
    pub only: Option<ElementFilter>,
    /// The columns that name the currency of the sum, the first that does. Its smallest coin is the tolerance, 0.01 where none is known: figures that are
    /// rounded one by one need not meet exactly. Empty: they do.
    pub currency: Vec<Vec<String>>,
    /// The column that is below zero of a refund; without one, the one they add up to is. Numbers that `only` picks, and of which one is below zero, do
    /// not come to its other side: money does not come in on a refund.
    pub direction: Option<Vec<String>>,
    /// The column that names the currency of each number that is added, below the same list: those of several are not added up, nor compared.
    pub of_currency: Option<Vec<String>>,
}

/// Elements of a list, selected by a text of theirs, such as those that need not count.
#[derive(Debug, Clone, PartialEq)]
pub struct ElementFilter {
    /// The text's column, below the list.
    pub path: Vec<String>,
    /// The texts of those that are meant; compared as words, whatever their spelling.
    pub words: Vec<String>,
}

/// Columns whose product another one is. Where that one is below zero, the factors may be told without the sign, all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct ProductRule {
    /// The factors. Those that lead through the list that `is` leads through are of the same element.
    pub of: Vec<Vec<String>>,
    /// The column that is compared: the first of these that has a value.
    pub is: Vec<Vec<String>>,
    /// Columns of `is` that may be less than the product: an undeclared reduction.
    pub or_less: Vec<Vec<String>>,
    /// The columns that name the currency, the first that does: of the same element, or of what it is in. The tolerance is that of a [`SumRule`].
    pub currency: Vec<Vec<String>>,
}

/// Columns that a tax follows from.
#[derive(Debug, Clone, PartialEq)]
pub struct TaxRule {
    /// The gross amount that the tax is in: of the same element, or of what it is in.
    pub of: Vec<String>,
    /// The rate.
    pub rate: Vec<String>,
    /// The columns that name the currency, the first that does. Its smallest coin is the tolerance.
    pub currency: Vec<Vec<String>>,
    /// Unit of the rate; `None` where it may be either: up to 1 it is a fraction, above that in per cent.
    pub unit: Option<RateUnitSource>,
}

/// Columns that a state follows from, see [`crate::derived_state`].
#[derive(Debug, Clone, PartialEq)]
pub struct StateRule {
    /// The states of the articles.
    pub articles: Vec<String>,
    /// The states of the payments.
    pub payments: Vec<String>,
    /// The amounts of the payments, below the same list as their states.
    pub collected: Vec<String>,
    /// Amounts to be collected.
    pub owed: Vec<String>,
    /// Currencies of the amounts, where the source names them: what was collected in another one than what is owed cannot be compared with it.
    pub currencies: Option<StateCurrencies>,
}

/// Columns that name the currencies of what was collected and of what is owed.
#[derive(Debug, Clone, PartialEq)]
pub struct StateCurrencies {
    /// Of each payment, below the same list as its amount.
    pub collected: Vec<String>,
    /// Of the amount to be collected: the first of these that is named; through a list, by any of its elements.
    pub owed: Vec<Vec<String>>,
}

/// Wall clock beside an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalTimeRule {
    /// The instant.
    pub of: Vec<String>,
    /// The column by which the clock's time zone is looked up, where it can be.
    pub zone_by: Option<Vec<String>>,
    /// The IANA zones that a value of that column may mean. A value that is not listed is no breach, as long as the clock is off by
    /// an offset there can be.
    pub zones: BTreeMap<String, Vec<String>>,
}

/// Column, top level or nested.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSpec {
    /// The name in the table.
    pub name: String,
    /// The name in the source's JSON; `physicalName` in the contract, by default [`ColumnSpec::name`].
    pub json_name: String,
    /// The type.
    pub kind: ColumnKind,
    /// True if a record without it is rejected.
    pub required: bool,
    /// Confidentiality of the value.
    pub class: ColumnClass,
    /// Kept although it may hold personal data: never quoted, in no warning and no reject.
    pub restricted: bool,
    /// Cost of a value that cannot be read as this column's; `None`: see [`MisfitPolicy`] for the
    /// default.
    pub on_misfit: Option<MisfitPolicy>,
    /// True if a text that names nothing (see [`names_nothing`](crate::blank::names_nothing)) is null: an identifier, a word that decides.
    /// Otherwise it is kept as it came.
    pub blank_is_none: bool,
    /// True if zero is null: an identifier of which the source has none that is 0.
    pub zero_is_none: bool,
    /// True if the text names a thing, and is stored in the [canonical](crate::identifier::canonical) spelling of identifiers. The key's columns and those that
    /// tell the elements of a list apart are so anyway.
    pub is_identifier: bool,
    /// True if an instant that had not come when it was read is null: an end, a payment, a change that was made.
    pub ahead_is_none: bool,
    /// Meaning, unit and examples.
    pub note: ColumnNote,
}

/// Policy for a value that is there and cannot be read as its column's.
///
/// Where the contract says nothing, a record is rejected for its key, what is required, a decimal (money and quantities are), a text under the
/// rule [`RuleCheck::Currency`], an instant that decides its record time, an object or array that holds one of these, and an element of an array
/// that would hold a decimal. Any other value costs itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MisfitPolicy {
    /// The record is rejected: without the value it would be counted wrong.
    Reject,
    /// The value is null, with a warning.
    Warn,
    /// The value of a text is its JSON, as it came; what holds nothing (`{}`, `[]`, `false`, objects and lists of nothing) is null.
    Keep,
}

/// Type of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// UTF-8 text.
    Text,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// An exact decimal number.
    Decimal {
        /// Digits in all, at most 38.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// An instant, microseconds UTC.
    Timestamp(TimeFormat),
    /// A civil date.
    Date,
    /// 16-byte or longer binary; never decoded from JSON, for lineage columns of unified tables.
    Binary,
    /// An object.
    Struct(Vec<ColumnSpec>),
    /// An array; the element's column is named `element`.
    List(Box<ColumnSpec>),
}

/// Notation of an instant in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 with an offset; a time without one is refused.
    Offset,
    /// A wall clock time in a named IANA zone.
    Zone(String),
    /// A number of seconds since 1970-01-01T00:00:00Z.
    EpochSeconds,
    /// A number of milliseconds since then.
    EpochMillis,
}

/// Classification of a column's values: stored as they are, pseudonymised, or never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColumnClass {
    /// Stored as it is.
    #[default]
    Open,
    /// Never decoded, stored, logged or hashed.
    Secret,
    /// Personal and not needed: dropped like a secret.
    Dropped,
    /// Personal: stored as a keyed pseudonym of its normalised value, `hmac1:<hex>`.
    Pseudonym(ValueNormalisation),
    /// Personal: only the last four characters are stored.
    LastFour,
}

impl ColumnClass {
    /// True if the table has a column for it.
    pub fn is_stored(self) -> bool {
        !matches!(self, Self::Secret | Self::Dropped)
    }
}

/// Normal form of a personal value before it is hashed, so that spellings of one thing meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueNormalisation {
    /// Surrounding white space goes. Whatever the kind, spellings that look alike are one.
    Text,
    /// Upper case; only letters and digits stay ("KA-XY 1" and "kaxy1" are one plate).
    Plate,
    /// Lower case, trimmed.
    Email,
    /// Upper case; only letters, digits and mask characters stay.
    Card,
}

impl ColumnKind {
    /// The Arrow type of a stored column of this kind.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Timestamp(_) => timestamp(),
            Self::Date => DataType::Date32,
            Self::Binary => DataType::Binary,
            Self::Struct(columns) => DataType::Struct(fields(columns)),
            Self::List(element) => DataType::List(Arc::new(Field::new(
                "element",
                element.kind.data_type(),
                true,
            ))),
        }
    }
}

/// Microseconds UTC, the only timestamp type of all tables.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The Arrow fields of the stored columns, all nullable below the top level's required ones.
pub fn fields(columns: &[ColumnSpec]) -> Fields {
    columns
        .iter()
        .filter(|c| c.class.is_stored())
        .map(|c| Field::new(&c.name, c.kind.data_type(), !c.required))
        .collect()
}

impl TableSpec {
    /// The Arrow schema of the contract's stored columns, without lineage.
    pub fn content_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(fields(&self.columns)))
    }

    /// The schema of a source table: the contract's columns, then `_extra` where kept, then the lineage columns and `month`.
    pub fn source_schema(&self) -> SchemaRef {
        let mut all: Vec<Arc<Field>> = fields(&self.columns).iter().cloned().collect();
        if self.unknown == UnknownFields::Keep {
            all.push(Arc::new(Field::new(EXTRA, DataType::Utf8, true)));
        }
        for (name, data_type, nullable) in [
            (RECORD_KEY, DataType::Utf8, false),
            (RECORD_TIME, timestamp(), true),
            (PREV_RECORD_TIME, timestamp(), true),
            (LOAD_ID, DataType::Int64, false),
            (CONTENT_HASH, DataType::Binary, false),
            (EXTRACTED_AT, timestamp(), false),
            (RUN_ID, DataType::Utf8, false),
            (DELETED_AT, timestamp(), true),
            (MONTH, DataType::Utf8, false),
        ] {
            all.push(Arc::new(Field::new(name, data_type, nullable)));
        }
        Arc::new(Schema::new(all))
    }

    /// The schema of a unified table: the contract's columns, then the lineage columns of its role. A fact says which record it
    /// came from and which version of it; a dimension which instant its values are from. For a source's contract, whose
    /// table is never unified, the contract's columns alone.
    pub fn unified_schema(&self) -> SchemaRef {
        let mut all: Vec<Arc<Field>> = fields(&self.columns).iter().cloned().collect();
        let lineage: &[(&str, DataType, bool)] = match self.role {
            TableRole::Source => &[],
            TableRole::Fact => &[
                (RECORD_KEY, DataType::Utf8, false),
                (RECORD_TIME, timestamp(), true),
                (LOAD_ID, DataType::Int64, false),
                (EXTRACTED_AT, timestamp(), false),
                (CONTENT_HASH, DataType::Binary, false),
                (RUN_ID, DataType::Utf8, false),
            ],
            TableRole::Dimension => &[
                (AS_OF, timestamp(), false),
                (DELETED_AT, timestamp(), true),
                (EXTRACTED_AT, timestamp(), false),
                (CONTENT_HASH, DataType::Binary, false),
                (RUN_ID, DataType::Utf8, false),
            ],
        };
        all.extend(
            lineage
                .iter()
                .map(|(name, kind, nullable)| Arc::new(Field::new(*name, kind.clone(), *nullable))),
        );
        Arc::new(Schema::new(all))
    }

    /// The column of the tenant that a record was listed for, where its key does without: the same record may be listed for several.
    pub fn tenant_column(&self) -> Option<&ColumnSpec> {
        self.columns
            .iter()
            .find(|c| c.json_name == SCOPE && !self.key.contains(&c.name))
    }

    /// The top-level column of that name.
    pub fn column(&self, name: &str) -> Option<&ColumnSpec> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// `source.name`.
    pub fn qualified_name(&self) -> String {
        format!("{}.{}", self.source, self.name)
    }
}
