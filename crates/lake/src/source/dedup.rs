//! Lookup of a package's keys among the known ones.
//!
//! Invariant: a version that is in the table is found, however far its record has moved. Memory is bounded by the package and by
//! the keys that a table handle keeps, never by the table. Of files that hold none of the package's keys no more than keys is read, of the others only the
//! columns that decide.

use crate::log::data_file::DataFile;
use crate::log::recent_keys::{intersect, key_hash};
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::scan;
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use std::borrow::Cow;
use std::sync::Arc;
use tillhouse_model::table::{CONTENT_HASH, EXTRACTED_AT, LOAD_ID, RECORD_KEY, RECORD_TIME};
use tillhouse_model::{Error, ErrorKind, FastMap, Result, identifier};

/// Files whose keys are read at once.
const READ_AT_ONCE: usize = 4;

/// A content hash, one byte of hash version and 16 of hash.
pub(crate) type ContentHash = [u8; 17];

/// The newest known version of a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KnownVersion {
    pub load_id: i64,
    pub hash: ContentHash,
    pub record_time: Option<i64>,
    /// The package that was the last to name a time of change, and that time. A version that names none leaves it as it was.
    pub updated_at: Option<(i64, i64)>,
    pub extracted_at: i64,
    /// The tenant it was listed for, where it does not name its own.
    pub tenant: Option<String>,
}

impl KnownVersion {
    /// The source's own version time, as far as any version names it, and when the newest one was asked for.
    pub(crate) fn freshness(&self) -> (Option<i64>, i64) {
        (self.updated_at.map(|(_, time)| time), self.extracted_at)
    }
}

/// The keys a package asks about; each has a number.
pub(crate) type KeyIndex<'a> = FastMap<&'a str, u32>;

/// Keys and record times of a package whose known versions are looked up.
pub(crate) struct KeyLookup<'a> {
    pub keys: &'a KeyIndex<'a>,
    /// The package's record times, sorted, microseconds.
    pub times: &'a [i64],
    /// The length by which a record time moves as a rule, microseconds: files that near are read for versions at once, of all others the keys
    /// come first.
    pub moves_within: i64,
    /// The path of the column by which the source orders versions.
    pub updated_at: Option<&'a [String]>,
    /// The column of the tenant, where records do not name their own.
    pub tenant: Option<&'a str>,
}

/// Known versions of the keys that a package asks about.
#[derive(Debug, Default)]
pub(crate) struct KnownVersions {
    /// The newest version of each key, by its number.
    pub newest: Vec<Option<KnownVersion>>,
    /// Other spellings in which an identifier was stored before identifiers had one, by the number of the key that it has now.
    pub other_spellings: FastMap<u32, String>,
    /// Number of files that were read to find them.
    pub files_read: u64,
}

/// The newest known version of each key.
///
/// Files near the package's times most likely hold earlier versions and are read for them. A record can have moved further than its
/// contract expects, by a till's clock that was set right, and would be there twice: so of all other files the keys are read, once
/// a process, and the whole only where one of the package's keys is inside.
pub(crate) async fn find_known_versions(
    table: &TableHandle,
    snapshot: &Snapshot,
    question: &KeyLookup<'_>,
) -> Result<KnownVersions> {
    let mut known = KnownVersions {
        newest: vec![None; question.keys.len()],
        ..KnownVersions::default()
    };
    if question.keys.is_empty() {
        return Ok(known);
    }
    let mut hashes: Vec<u64> = question.keys.keys().map(|key| key_hash(key)).collect();
    hashes.sort_unstable();
    let (mut candidates, mut far): (Vec<&DataFile>, Vec<&DataFile>) = (Vec::new(), Vec::new());
    {
        let recent = table.recent_keys();
        for file in snapshot.files.iter() {
            match recent.may_hold(&file.path, &hashes) {
                Some(false) => {}
                Some(true) => candidates.push(file),
                None if file.may_hold_untimed()
                    || file.may_hold_times(question.times, question.moves_within) =>
                {
                    candidates.push(file);
                }
                None => far.push(file),
            }
        }
    }
    let mut files_read = (candidates.len() + far.len()) as u64;
    scan::read_ahead(table, candidates.iter().chain(&far).copied()).await;
    let opened: Vec<_> = far.into_iter().map(|file| keys_of(table, file)).collect();
    let mut opened = stream::iter(opened).buffer_unordered(READ_AT_ONCE);
    while let Some((file, keys)) = opened.try_next().await? {
        if intersect(&hashes, &keys) {
            candidates.push(file);
            files_read += 1;
        }
        table.recent_keys().remember_if_room(&file.path, keys);
    }
    drop(opened);
    let mut paths: Vec<String> = [RECORD_KEY, CONTENT_HASH, LOAD_ID, RECORD_TIME, EXTRACTED_AT]
        .map(ToOwned::to_owned)
        .to_vec();
    paths.extend(question.updated_at.map(|path| path.join(".")));
    paths.extend(question.tenant.map(str::to_owned));
    // Collected first: a lazy closure over borrowed files would keep this future from being sent between threads.
    let opened: Vec<_> = candidates
        .into_iter()
        .map(|file| scan::columns(table, file, paths.clone()))
        .collect();
    let mut batches = stream::iter(opened)
        .buffer_unordered(2)
        .try_flatten_unordered(2);
    while let Some(batch) = batches.next().await {
        probe(&batch?, question, &mut known)?;
    }
    known.files_read = files_read;
    Ok(known)
}

/// The hashes of a file's keys, sorted.
async fn keys_of<'f>(
    table: &TableHandle,
    file: &'f DataFile,
) -> Result<(&'f DataFile, Arc<Vec<u64>>)> {
    let mut hashes = Vec::with_capacity(usize::try_from(file.rows.unwrap_or(0)).unwrap_or(0));
    let mut batches = scan::columns(table, file, vec![RECORD_KEY.to_owned()]).await?;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let keys = batch
            .column_by_name(RECORD_KEY)
            .and_then(|keys| keys.as_string_opt::<i32>())
            .ok_or_else(unlike)?;
        for key in keys.iter().flatten() {
            hashes.push(key_hash(key));
            // An identifier that was stored in another spelling is found by the one that it has now.
            if let Cow::Owned(canonical) = identifier::canonical(key) {
                hashes.push(key_hash(&canonical));
            }
        }
    }
    hashes.sort_unstable();
    Ok((file, Arc::new(hashes)))
}

fn unlike() -> Error {
    Error::new(
        ErrorKind::Storage,
        "a source table's data file lacks its lineage columns",
    )
    .hint("Was the file written by something else? `tillhouse check` names what is there.")
}

fn probe(batch: &RecordBatch, question: &KeyLookup<'_>, known: &mut KnownVersions) -> Result<()> {
    let columns = DedupColumns::of(batch, question).ok_or_else(unlike)?;
    for row in 0..batch.num_rows() {
        let key = columns.keys.value(row);
        let Some(number) = question.keys.get(key) else {
            if let Cow::Owned(canonical) = identifier::canonical(key)
                && let Some(number) = question.keys.get(canonical.as_str())
            {
                known.other_spellings.insert(*number, key.to_owned());
            }
            continue;
        };
        let Some(slot) = known.newest.get_mut(*number as usize) else {
            continue;
        };
        let land = columns.load_ids.value(row);
        let updated_at = columns.updated_at.as_ref();
        let named = updated_at.and_then(|array| time(array, row));
        let mut updated_at = named.map(|time| (land, time));
        if let Some(held) = slot {
            updated_at = updated_at.max(held.updated_at);
            held.updated_at = updated_at;
            if held.load_id >= land {
                continue;
            }
        }
        let hash = ContentHash::try_from(columns.hash(row)).map_err(|_| {
            Error::new(
                ErrorKind::Storage,
                "a source table holds a content hash of another length",
            )
        })?;
        *slot = Some(KnownVersion {
            load_id: land,
            hash,
            record_time: time(&columns.times, row),
            updated_at,
            extracted_at: time(&columns.extracted_at, row).unwrap_or(i64::MIN),
            tenant: columns
                .tenants
                .filter(|tenants| tenants.is_valid(row))
                .map(|tenants| tenants.value(row).to_owned()),
        });
    }
    Ok(())
}

fn time(array: &ArrayRef, row: usize) -> Option<i64> {
    array
        .is_valid(row)
        .then(|| {
            array
                .as_primitive_opt::<TimestampMicrosecondType>()
                .map(|a| a.value(row))
        })
        .flatten()
}

/// Columns of a batch that decide which version of a key is the newest.
struct DedupColumns<'a> {
    keys: &'a StringArray,
    hashes: &'a ArrayRef,
    load_ids: &'a arrow::array::Int64Array,
    times: ArrayRef,
    extracted_at: ArrayRef,
    updated_at: Option<ArrayRef>,
    tenants: Option<&'a StringArray>,
}

impl<'a> DedupColumns<'a> {
    fn of(batch: &'a RecordBatch, question: &KeyLookup<'_>) -> Option<Self> {
        let is_time = |array: &ArrayRef| {
            matches!(
                array.data_type(),
                DataType::Timestamp(TimeUnit::Microsecond, _)
            )
        };
        let times = batch
            .column_by_name(RECORD_TIME)
            .filter(|a| is_time(a))?
            .clone();
        let extracted_at = batch
            .column_by_name(EXTRACTED_AT)
            .filter(|a| is_time(a))?
            .clone();
        let hashes = batch.column_by_name(CONTENT_HASH).filter(|a| {
            matches!(
                a.data_type(),
                DataType::Binary | DataType::FixedSizeBinary(_)
            )
        })?;
        Some(Self {
            keys: batch.column_by_name(RECORD_KEY)?.as_string_opt::<i32>()?,
            hashes,
            load_ids: batch
                .column_by_name(LOAD_ID)?
                .as_primitive_opt::<Int64Type>()?,
            times,
            extracted_at,
            updated_at: question
                .updated_at
                .and_then(|path| descend(batch, path))
                .filter(is_time),
            tenants: question
                .tenant
                .and_then(|name| batch.column_by_name(name)?.as_string_opt::<i32>()),
        })
    }

    fn hash(&self, row: usize) -> &[u8] {
        match self.hashes.data_type() {
            DataType::Binary => self.hashes.as_binary::<i32>().value(row),
            _ => self.hashes.as_fixed_size_binary().value(row),
        }
    }
}

/// The column at a path through structs. A path through a list has no single value: then only request times order versions.
fn descend(batch: &RecordBatch, path: &[String]) -> Option<ArrayRef> {
    let (first, rest) = path.split_first()?;
    let mut array = batch.column_by_name(first)?.clone();
    for name in rest {
        let parent = array.as_struct_opt()?;
        let child = parent.column_by_name(name)?.clone();
        // A child under a null parent counts as null.
        array = match parent.nulls() {
            Some(nulls) => {
                let is_null = arrow::array::BooleanArray::new(!nulls.inner(), None);
                arrow::compute::nullif(&child, &is_null).ok()?
            }
            None => child,
        };
    }
    Some(array)
}
