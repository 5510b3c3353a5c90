//! Source tables: the append-only history of every version of a record that was ever seen.
//!
//! Invariant: no two versions of a key that follow each other have equal content, and `_load_id` rises strictly from commit to commit.

use crate::file::layout::TableLayout;
use crate::file::writer::PartitionWriter;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::data_file::{DataFile, decoded};
use crate::log::registry::TableRegistry;
use crate::log::schema_evolution;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::month::MonthNamer;
use crate::scan;
use crate::source::dedup::{self, KeyIndex, KeyLookup, KnownVersion};
use crate::source::dropped::{DroppedVersion, PassedOverRecord};
use crate::source::fingerprints::{
    self, ContentFingerprint, FingerprintedKey, RecordFingerprints, files_identity,
};
use crate::source::package::{self, NewestRecord, PackagePage, PageRows};
use crate::source::tenants::TenantOrder;
use crate::source::whole_listings::WholeListings;
use crate::table_provider::provider;
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::execution::session_state::SessionState;
use deltalake::kernel::Add;
use futures::StreamExt;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::table::{LOAD_ID, MONTH};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, TableSpec};

/// Run and tenants of a landing.
#[derive(Debug, Clone)]
pub struct LandingOptions {
    /// The run that lands.
    pub run_id: String,
    /// The tenants that are read, in the order in which they are configured: a record that does not name its own belongs to the first
    /// that lists it.
    pub tenants: Vec<Option<String>>,
    /// Listings that the run has read whole so far: a record that its tenant lists no more is another's that lists it.
    pub whole: WholeListings,
}

/// Summary of a landed package: version, package number, and how many records were new, changed,
/// unchanged or stale.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LandingSummary {
    /// The table's version that holds the package.
    pub version: u64,
    /// Its number.
    pub load_id: i64,
    /// Records never seen before.
    pub new: u64,
    /// Records whose content differs from the newest known version.
    pub changed: u64,
    /// Records whose content is the newest known version's.
    pub unchanged: u64,
    /// Records older than what is known, or than another in the package: dropped.
    pub stale: u64,
    /// Those of them that were asked for later, differ, and name an earlier change than what stays.
    pub passed_over: Vec<PassedOverRecord>,
    /// Versions that were dropped for others with other content.
    pub dropped: Vec<DroppedVersion>,
    /// Records that are listed for another tenant than the one they belong to: their keys, and that other tenant.
    pub elsewhere: Vec<(String, String)>,
    /// Records that their tenant lists no more, and another one does, to which they belong from now on: their keys, and the tenant that they had.
    pub moved: Vec<(String, String)>,
    /// New records whose identifier is stored in another spelling too, from before identifiers had one: their keys, and that spelling. Both count.
    pub other_spellings: Vec<(String, String)>,
    /// Bytes of data files written.
    pub bytes_written: u64,
    /// Data files whose keys had to be read to find known versions.
    pub files_read: u64,
}

/// Rows that a landing wrote, and the keys of the records that changed.
#[derive(Debug, Clone, Default)]
pub struct LandedRows {
    /// The rows, of [`TableSpec::source_schema`].
    pub rows: Vec<RecordBatch>,
    /// The key of every record that was known before and has changed, with the record time it had.
    pub changed: Vec<(String, Option<i64>)>,
}

/// One package in a table's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackageInfo {
    /// Its number.
    pub load_id: i64,
    /// Number of its record versions.
    pub records: u64,
    /// Their size on storage.
    pub bytes: u64,
}

/// The history of one resource of one pipeline. A cheap handle.
#[derive(Clone)]
pub struct SourceTable {
    pub(crate) registry: Arc<TableRegistry>,
    pub(crate) path: String,
    pub(crate) spec: Arc<TableSpec>,
    /// Notes by which records are known that come as they are.
    pub(crate) fingerprints: Option<Arc<RecordFingerprints>>,
}

impl SourceTable {
    /// The same table, whose landings go by these notes and keep them up to date.
    #[must_use]
    pub fn recognizing(self, fingerprints: Arc<RecordFingerprints>) -> Self {
        Self {
            fingerprints: Some(fingerprints),
            ..self
        }
    }

    /// True if it is known, without reading, that completing a record's newest version by this answer by id changes nothing.
    pub async fn recognizes_answer(&self, key: &str, answer: u128) -> Result<bool> {
        let Some(fingerprints) = &self.fingerprints else {
            return Ok(false);
        };
        let newest = self.table()?.latest().await?;
        let files = newest.as_ref().map(files_identity);
        Ok(files.is_some_and(|files| fingerprints.recognizes_answer(files, key, answer)))
    }

    /// Remembers an answer by id that a record was completed from, and that is landed next.
    pub fn note_answer(&self, key: &str, answer: u128) {
        if let Some(fingerprints) = &self.fingerprints {
            fingerprints.note_answer(key, answer);
        }
    }

    /// Lands a package: the records that are new or changed, in one commit. When nothing is, nothing is written.
    ///
    /// Safe under any number of writers: whoever loses the race for a version looks up the package's keys again on the new one.
    /// Errors with [`tillhouse_model::ErrorKind::Storage`]; then nothing or everything of the package is in the table, and
    /// landing it again is right in both cases.
    pub async fn land(
        &self,
        package: Vec<PackagePage>,
        options: &LandingOptions,
    ) -> Result<LandingSummary> {
        self.land_returning_rows(package, options, None).await
    }

    /// As [`SourceTable::land`]; hands back the written rows too, for a caller that goes on with
    /// them before they leave memory.
    pub async fn land_returning_rows(
        &self,
        package: Vec<PackagePage>,
        options: &LandingOptions,
        mut shown: Option<&mut LandedRows>,
    ) -> Result<LandingSummary> {
        let table = self.table()?;
        package::check(&package, &self.spec, &self.path)?;
        let package = Arc::new(package);
        let layout = self.layout()?;
        let mut keys = KeyIndex::default();
        let tenants = TenantOrder::new(self.spec.tenant_column(), &options.tenants);
        let (survivors, doubles) = newest_of_each(&package, &tenants, &mut keys);
        let all = KeysAndTimes::of_package(&package, keys);
        for _ in 0..ROUNDS {
            let mut snapshot = table
                .latest_or_create(&layout.definition, &options.run_id)
                .await?;
            if !schema_evolution::ensure(&table, &mut snapshot, &layout.definition, &options.run_id)
                .await?
            {
                continue;
            }
            let files = files_identity(&snapshot);
            let unknown = self.unrecognized(files, &package, &survivors, &tenants);
            let some = unknown
                .as_ref()
                .map(|records| KeysAndTimes::of_records(&package, records));
            let asked = some.as_ref().unwrap_or(&all);
            let wanted = unknown.as_ref().unwrap_or(&survivors);
            let question = KeyLookup {
                keys: &asked.keys,
                times: &asked.times,
                moves_within: micros(self.spec.moves_within),
                updated_at: self.spec.updated_at.as_deref(),
                tenant: tenants.column(),
            };
            let known = dedup::find_known_versions(&table, &snapshot, &question).await?;
            let highest = highest_load_id(&table, &snapshot).await?;
            let mut landed = LandingSummary {
                version: snapshot.version,
                load_id: highest,
                files_read: known.files_read,
                other_spellings: package::other_spellings(&package, wanted, &known),
                ..doubles.clone()
            };
            landed.unchanged += (survivors.len() - wanted.len()) as u64;
            let mut changed = Vec::new();
            let mut settled = Vec::new();
            let now = self.registry.now().as_microsecond();
            let parts = decide(
                &package,
                wanted,
                (&known.newest, &tenants, &options.whole),
                now,
                SurvivorOutcome {
                    landed: &mut landed,
                    changed: &mut changed,
                    settled: &mut settled,
                },
            );
            if parts.is_empty() {
                self.settle((files, files), settled);
                return Ok(landed);
            }
            landed.load_id = highest + 1;
            let mut rows = shown.is_some().then(Vec::new);
            let adds = self
                .write(
                    &table,
                    &layout,
                    &package,
                    parts,
                    (landed.load_id, options),
                    rows.as_mut(),
                )
                .await?;
            landed.bytes_written = adds
                .iter()
                .map(|add| u64::try_from(add.size).unwrap_or(0))
                .sum();
            let paths: Vec<String> = adds.iter().map(|add| add.path.clone()).collect();
            let after = paths.iter().fold(files, |files, path| {
                fingerprints::with_file(files, &decoded(path))
            });
            let change =
                CommitRequest::append(adds, &layout.definition.partition_by, &options.run_id);
            match commit::commit(&table, &snapshot, &change).await? {
                CommitOutcome::Committed(version) => {
                    landed.version = version;
                    self.settle((files, after), settled);
                    table.checkpoint_if_due(version).await;
                    if let (Some(shown), Some(rows)) = (shown.take(), rows) {
                        shown.rows = rows;
                        shown.changed = changed;
                    }
                    return Ok(landed);
                }
                CommitOutcome::Lost => commit::discard(&table, paths).await,
            }
        }
        Err(commit::too_many_conflicts(&table))
    }

    /// The records of a package that have to be looked up in a table with these files; `None` where all of them have to.
    fn unrecognized(
        &self,
        files: u128,
        package: &[PackagePage],
        survivors: &[NewestRecord],
        tenants: &TenantOrder<'_>,
    ) -> Option<Vec<NewestRecord>> {
        let fingerprints = self.fingerprints.as_ref()?;
        if !fingerprints.count_for(files) {
            return None;
        }
        let records = survivors.iter().map(|record| {
            let content = ContentFingerprint::of(package, tenants, *record);
            (fingerprints::key_of(record.key(package)), content)
        });
        let known = fingerprints.recognize(files, records);
        let records = survivors.iter().zip(known);
        let unknown = records.filter_map(|(record, is_known)| (!is_known).then_some(*record));
        Some(unknown.collect())
    }

    /// Notes what a landing found or wrote.
    fn settle(&self, files: (u128, u128), settled: Vec<FingerprintedKey>) {
        if let Some(fingerprints) = &self.fingerprints {
            fingerprints.settle(files, settled);
        }
    }

    /// Writes one file a month. What was written is handed back where it is wanted.
    async fn write(
        &self,
        table: &Arc<TableHandle>,
        layout: &Arc<TableLayout>,
        package: &Arc<Vec<PackagePage>>,
        parts: BTreeMap<String, Vec<PageRows>>,
        (land, options): (i64, &LandingOptions),
        mut kept: Option<&mut Vec<RecordBatch>>,
    ) -> Result<Vec<Add>> {
        let mut adds = Vec::with_capacity(parts.len());
        for (month, parts) in parts {
            let (of_layout, of_package, run_id) =
                (layout.clone(), package.clone(), options.run_id.clone());
            let gathered = tokio::task::spawn_blocking(move || {
                let rows = parts
                    .iter()
                    .map(|part| part.rows(&of_package, &of_layout.file_schema, land, &run_id));
                Ok::<_, Error>((
                    rows.collect::<Result<Vec<_>>>()?,
                    package::key_hashes(&of_package, &parts),
                ))
            });
            let (rows, hashes) = gathered
                .await
                .or_error(ErrorKind::Internal, "gathering rows was interrupted")??;
            if let Some(kept) = &mut kept {
                for rows in &rows {
                    kept.push(package::with_month(
                        rows,
                        &layout.definition.schema,
                        &month,
                    )?);
                }
            }
            let mut writer =
                PartitionWriter::new(table, layout.clone(), vec![(MONTH.to_owned(), Some(month))]);
            writer.write_file(rows).await?;
            for add in writer.finish().await? {
                table
                    .recent_keys()
                    .remember(add.path.clone(), hashes.clone());
                adds.push(add);
            }
        }
        Ok(adds)
    }

    /// The newest version; `None` before the first landing.
    pub async fn version(&self) -> Result<Option<u64>> {
        Ok(self
            .table()?
            .latest()
            .await?
            .map(|snapshot| snapshot.version))
    }

    /// The number of the newest package; 0 before the first landing.
    pub async fn newest_load_id(&self) -> Result<i64> {
        let table = self.table()?;
        match table.latest().await? {
            Some(snapshot) => highest_load_id(&table, &snapshot).await,
            None => Ok(0),
        }
    }

    /// The newest version and the number of its newest package; `None` before the first landing.
    pub async fn newest_package(&self) -> Result<Option<(u64, i64)>> {
        let table = self.table()?;
        match table.latest().await? {
            Some(snapshot) => {
                let load_id = highest_load_id(&table, &snapshot).await?;
                Ok(Some((snapshot.version, load_id)))
            }
            None => Ok(None),
        }
    }

    /// The packages with a higher number than `after_load_id` at a version (`None`: the latest), ascending. Read from file statistics alone,
    /// except where a file holds several packages.
    ///
    /// Whoever marks packages as done must list and read them at one version: another run may land more between the two.
    pub async fn packages(
        &self,
        version: Option<u64>,
        after_load_id: i64,
    ) -> Result<Vec<PackageInfo>> {
        let table = self.table()?;
        let Some(snapshot) = self.snapshot(&table, version).await? else {
            return Ok(Vec::new());
        };
        let mut found: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        for file in snapshot
            .files
            .iter()
            .filter(|f| f.load_ids.is_none_or(|(_, max)| max > after_load_id))
        {
            let counts: Vec<(i64, u64)> = match (file.load_ids, file.rows) {
                (Some((min, max)), Some(rows)) if min == max => vec![(min, rows)],
                _ => load_ids_of_file(&table, file).await?,
            };
            let rows: u64 = counts.iter().map(|(_, n)| n).sum();
            for (land, records) in counts.into_iter().filter(|(land, _)| *land > after_load_id) {
                let entry = found.entry(land).or_default();
                entry.0 += records;
                let share = u128::from(file.size) * u128::from(records) / u128::from(rows.max(1));
                entry.1 += u64::try_from(share).unwrap_or(file.size);
            }
        }
        Ok(found
            .into_iter()
            .map(|(land, (records, bytes))| PackageInfo {
                load_id: land,
                records,
                bytes,
            })
            .collect())
    }

    /// The table for a query engine at a version (`None`: the latest); `None` where it does not exist yet. The session it will be
    /// read in decides whether text comes as views, which cost a copy where it is written again.
    pub async fn provider(
        &self,
        version: Option<u64>,
        session: Option<Arc<SessionState>>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = self.table()?;
        match self.snapshot(&table, version).await? {
            Some(snapshot) => provider(&table, &snapshot, session.as_deref(), None).map(Some),
            None => Ok(None),
        }
    }

    /// The packages after `after` up to and with `to` at a version: the files that hold them, if these hold nothing else. `None`
    /// where a file holds others too, or its statistics are missing: then [`SourceTable::provider`] has to be filtered.
    ///
    /// A filter would copy every row it lets pass, with all its lists.
    pub async fn package_provider(
        &self,
        version: u64,
        session: Option<Arc<SessionState>>,
        after: i64,
        to: i64,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = self.table()?;
        let Some(snapshot) = table.at(&version.into()).await? else {
            return Ok(None);
        };
        let mut files = Vec::new();
        for file in snapshot.files.iter() {
            match file.load_ids {
                Some((min, max)) if max <= after || min > to => {}
                Some((min, max)) if min > after && max <= to => files.push(file.path.clone()),
                _ => return Ok(None),
            }
        }
        if files.is_empty() {
            return Ok(None);
        }
        provider(&table, &snapshot, session.as_deref(), Some(&files)).map(Some)
    }

    async fn snapshot(
        &self,
        table: &TableHandle,
        version: Option<u64>,
    ) -> Result<Option<Snapshot>> {
        match version {
            Some(version) => table.at(&version.into()).await,
            None => table.latest().await,
        }
    }

    /// Makes good for versions that were lost, so that no later one has their numbers. The table is made first if need be.
    pub async fn raise_to(&self, version: u64, run_id: &str) -> Result<()> {
        let (table, layout) = (self.table()?, self.layout()?);
        table.latest_or_create(&layout.definition, run_id).await?;
        table.raise_to(version, run_id).await
    }

    pub(super) fn layout(&self) -> Result<Arc<TableLayout>> {
        let layout = TableLayout::new(
            self.spec.source_schema(),
            &self.spec.key,
            vec![MONTH.to_owned()],
        )?;
        Ok(Arc::new(layout.with_comments(&self.spec.note())))
    }

    /// The path below the warehouse.
    pub fn path(&self) -> String {
        self.path.clone()
    }

    /// Role of a row.
    pub fn spec(&self) -> &Arc<TableSpec> {
        &self.spec
    }

    pub(crate) fn table(&self) -> Result<Arc<TableHandle>> {
        self.registry.table(&self.path)
    }
}

pub(crate) fn micros(duration: jiff::SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Orders two versions of a record: by the source's own version time where both have one and they differ, else by request time.
fn fresher(a: (Option<i64>, i64), b: (Option<i64>, i64)) -> Ordering {
    newer_by_source(a, b).then(a.1.cmp(&b.1))
}

fn newer_by_source(a: (Option<i64>, i64), b: (Option<i64>, i64)) -> Ordering {
    a.0.zip(b.0).map_or(Ordering::Equal, |(a, b)| a.cmp(&b))
}

/// The newest record of each key in a package, in the order of the package, and the others, counted. Of equally fresh ones the last
/// counts; of those of two tenants the first tenant's, unless the source says that the other one is newer.
fn newest_of_each<'a>(
    package: &'a [PackagePage],
    tenants: &TenantOrder<'_>,
    keys: &mut KeyIndex<'a>,
) -> (Vec<NewestRecord>, LandingSummary) {
    let mut newest: Vec<NewestRecord> = Vec::new();
    // The last time of change that is named of each: one that names none leaves it as it was.
    let mut changed: Vec<Option<i64>> = Vec::new();
    let mut doubles = LandingSummary::default();
    for (page, incoming) in package.iter().enumerate() {
        for row in 0..incoming.keys.len() {
            let next = NewestRecord { page, row };
            let number = u32::try_from(newest.len()).unwrap_or(u32::MAX);
            match keys.entry(incoming.keys.value(row)) {
                std::collections::hash_map::Entry::Vacant(slot) => {
                    slot.insert(number);
                    newest.push(next);
                    changed.push(next.freshness(package).0);
                }
                std::collections::hash_map::Entry::Occupied(slot) => {
                    let at = *slot.get() as usize;
                    let (Some(held), Some(changed)) = (newest.get_mut(at), changed.get_mut(at))
                    else {
                        continue;
                    };
                    if held.content_hash(package) == next.content_hash(package) {
                        doubles.unchanged += 1;
                    } else {
                        doubles.stale += 1;
                    }
                    let (of_next, of_held) =
                        (tenants.of(package, next), tenants.of(package, *held));
                    doubles
                        .elsewhere
                        .extend(tenants.elsewhere(slot.key(), of_next, of_held));
                    let a = next.freshness(package);
                    let b = (*changed, held.freshness(package).1);
                    let by_tenant = tenants.order(of_held, of_next);
                    let order = newer_by_source(a, b).then(by_tenant).then(a.1.cmp(&b.1));
                    *changed = match order {
                        Ordering::Less => b.0.or(a.0),
                        _ => a.0.or(b.0),
                    };
                    let (a, b) = (
                        (a, next.content_hash(package)),
                        (b, held.content_hash(package)),
                    );
                    let (dropped, stays) = match order {
                        Ordering::Less => (a, b),
                        _ => (b, a),
                    };
                    let version = DroppedVersion::of(slot.key(), dropped.1, stays.1);
                    doubles.dropped.extend(version);
                    let passed_over = PassedOverRecord::of(slot.key(), dropped, stays);
                    doubles.passed_over.extend(passed_over);
                    if order != Ordering::Less {
                        *held = next;
                    }
                }
            }
        }
    }
    // One that came before another and again behind it counts.
    doubles.dropped.retain(|version| {
        let number = keys.get(version.key.as_str());
        let counts = number.and_then(|number| newest.get(*number as usize));
        counts.and_then(|record| record.content_hash(package)) != Some(version.content_hash)
    });
    (newest, doubles)
}

/// Keys of records of a package, numbered in their order, and their times, sorted.
struct KeysAndTimes<'a> {
    keys: KeyIndex<'a>,
    times: Vec<i64>,
}

impl<'a> KeysAndTimes<'a> {
    /// Those of a whole package, whose keys are known.
    fn of_package(package: &'a [PackagePage], keys: KeyIndex<'a>) -> Self {
        let times = package
            .iter()
            .flat_map(|page| page.record_times.iter().flatten());
        let mut times: Vec<i64> = times.collect();
        times.sort_unstable();
        Self { keys, times }
    }

    /// Those of some of its records.
    fn of_records(package: &'a [PackagePage], records: &[NewestRecord]) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let keys = records.iter().enumerate();
        let keys = keys.map(|(nth, record)| (record.key(package), number(nth)));
        let times = records
            .iter()
            .filter_map(|record| record.record_time(package));
        let mut times: Vec<i64> = times.collect();
        times.sort_unstable();
        Self {
            keys: keys.collect(),
            times,
        }
    }
}

/// Counts, changed records and newest versions that the survivors of a package add to.
struct SurvivorOutcome<'a> {
    landed: &'a mut LandingSummary,
    changed: &'a mut Vec<(String, Option<i64>)>,
    settled: &'a mut Vec<FingerprintedKey>,
}

/// True if a record has the content of a known version, and no other time. A contract may find a time where an earlier one found none, or another.
fn is_as_known(package: &[PackagePage], record: NewestRecord, known: &KnownVersion) -> bool {
    let time = record.record_time(package);
    record.content_hash(package) == Some(known.hash)
        && (time.is_none() || time == known.record_time)
}

/// Survivors to write, by month. Counts the rest, and says of each what its newest version is after that, as far as that is known.
fn decide(
    package: &[PackagePage],
    survivors: &[NewestRecord],
    (known, tenants, whole): (&[Option<KnownVersion>], &TenantOrder<'_>, &WholeListings),
    now: i64,
    SurvivorOutcome {
        landed,
        changed,
        settled,
    }: SurvivorOutcome<'_>,
) -> BTreeMap<String, Vec<PageRows>> {
    // By page, so that a page all of whose rows are new and of one month is written as it is.
    let mut kept: Vec<Vec<(u32, Option<i64>)>> = vec![Vec::new(); package.len()];
    for (survivor, known) in survivors.iter().zip(known) {
        let mut keep = |prev| {
            if let (Some(rows), Ok(row)) =
                (kept.get_mut(survivor.page), u32::try_from(survivor.row))
            {
                rows.push((row, prev));
            }
        };
        let (mut comes_first, mut is_own, mut moved_from) = (false, true, None);
        if let (Some(known), Some(page)) = (known, package.get(survivor.page)) {
            let (ours, theirs) = (tenants.of(package, *survivor), known.tenant.as_deref());
            comes_first = tenants.order(ours, theirs) == Ordering::Less;
            is_own = ours == theirs;
            let key = page.keys.value(survivor.row);
            let has_moved = !is_own && !comes_first && whole.lack(key, theirs, known.record_time);
            moved_from = theirs.filter(|_| has_moved);
            if moved_from.is_none() {
                let elsewhere = tenants.elsewhere(key, ours, theirs);
                landed.elsewhere.extend(elsewhere);
            }
        }
        let mut is_newest = true;
        match known {
            None => {
                landed.new += 1;
                keep(None);
            }
            // Listed for a tenant that comes before the one it was found under, or no more for that: its own from now on.
            Some(known)
                if is_as_known(package, *survivor, known)
                    && !comes_first
                    && moved_from.is_none() =>
            {
                landed.unchanged += 1;
                is_newest = is_own;
            }
            // A record by a clock that was ahead is older than it says.
            Some(known)
                if known.extracted_at <= now
                    && fresher(survivor.freshness(package), known.freshness())
                        == Ordering::Less =>
            {
                landed.stale += 1;
                let content = survivor.content_hash(package);
                landed.dropped.extend(DroppedVersion::of(
                    survivor.key(package),
                    content,
                    Some(known.hash),
                ));
                landed.passed_over.extend(PassedOverRecord::of(
                    survivor.key(package),
                    (survivor.freshness(package), content),
                    (known.freshness(), Some(known.hash)),
                ));
                is_newest = false;
            }
            Some(known) => {
                landed.changed += 1;
                let moved =
                    moved_from.map(|from| (survivor.key(package).to_owned(), from.to_owned()));
                landed.moved.extend(moved);
                if let Some(page) = package.get(survivor.page) {
                    changed.push((page.keys.value(survivor.row).to_owned(), known.record_time));
                }
                keep(known.record_time);
            }
        }
        let content = ContentFingerprint::of(package, tenants, *survivor);
        settled.push((
            fingerprints::key_of(survivor.key(package)),
            content.filter(|_| is_newest),
        ));
    }
    let mut parts: BTreeMap<String, Vec<PageRows>> = BTreeMap::new();
    let mut months = MonthNamer::default();
    for (page, mut rows) in kept.into_iter().enumerate() {
        // A survivor may have replaced an earlier row of its key.
        rows.sort_unstable_by_key(|(row, _)| *row);
        let mut by_month: BTreeMap<String, Vec<(u32, Option<i64>)>> = BTreeMap::new();
        let times = &package[page].record_times;
        for (row, prev) in rows {
            let time = times
                .is_valid(row as usize)
                .then(|| times.value(row as usize));
            let month = months.of(time);
            match by_month.get_mut(month) {
                Some(rows) => rows.push((row, prev)),
                None => {
                    by_month.insert(month.to_owned(), vec![(row, prev)]);
                }
            }
        }
        for (month, rows) in by_month {
            parts.entry(month).or_default().push(PageRows::new(
                page,
                rows,
                package[page].keys.len(),
            ));
        }
    }
    parts
}

/// The highest package number in a snapshot; 0 where there is none.
pub(crate) async fn highest_load_id(table: &TableHandle, snapshot: &Snapshot) -> Result<i64> {
    let mut highest = 0;
    for file in snapshot.files.iter() {
        highest = highest.max(match file.load_ids {
            Some((_, max)) => max,
            None => load_ids_of_file(table, file)
                .await?
                .into_iter()
                .map(|(land, _)| land)
                .max()
                .unwrap_or(0),
        });
    }
    Ok(highest)
}

/// The packages in one file and their rows, read from its column.
async fn load_ids_of_file(table: &TableHandle, file: &DataFile) -> Result<Vec<(i64, u64)>> {
    let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
    let mut batches = scan::columns(table, file, vec![LOAD_ID.to_owned()]).await?;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let column = batch
            .column_by_name(LOAD_ID)
            .and_then(|c| c.as_primitive_opt::<Int64Type>());
        for land in column.into_iter().flatten().flatten() {
            *counts.entry(land).or_default() += 1;
        }
    }
    Ok(counts.into_iter().collect())
}

#[cfg(test)]
#[path = "table_commit_tests.rs"]
mod commit_tests;
#[cfg(test)]
#[path = "recognized_tests.rs"]
mod recognized_tests;
#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
