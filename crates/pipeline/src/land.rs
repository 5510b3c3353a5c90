//! Gathers decoded pages into packages and commits each to its source table, then hands what must be remembered about it to the run's
//! bookkeeping.
//!
//! Invariant: a slice's ledger row is handed on only after the commit that holds its last page. Three things go on side by side: one
//! package is gathered, the one before is written, and what must be remembered of the one before that is; at most two packages' records
//! are in memory.

use crate::context::SharedWork;
use crate::message::{LandedPackage, LandingMessage, NumberedReject, QueuedPage, SliceReadSummary};
use crate::observer::{RunEvent, RunObserver};
use crate::package_warning::PackageWarning;
use crate::seen_keys::SeenKeys;
use crate::warning_limit::WarningLimit;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tillhouse_decode::Warning;
use tillhouse_lake::{
    DriftRow, KnownList, LandedRows, LandingOptions, LandingSummary, OpsTables, PackagePage,
    PassedOverRecord, RejectFate, RejectRow, RunBookkeeping, SliceRow, SourceTable, UnlistedRecord,
    WarningRow, WholeListings,
};
use tillhouse_model::{Error, ReadBy, Resource, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A package is committed when its columns take the memory that [`crate::package_budget`] gives it, or when its first page has waited this
/// long.
const PACKAGE_AGE: Duration = Duration::from_secs(120);
/// The rule of the warning about a record that is listed for another tenant than its own.
const LISTED_ELSEWHERE: &str = "listed_elsewhere";
/// The rule of the warning about a record that its tenant lists no more, and another one does.
const TENANT_CHANGED: &str = "tenant_changed";
/// The rule of the warning about a record whose identifier is stored in another spelling too.
const OTHER_SPELLING: &str = "other_spelling";
/// The rule of the warning about a record that came with other content and an earlier time of change than what stays of it.
const OLDER_CHANGE: &str = "older_change";
/// The rule of the warning about a record that a listing of its time had before, and has no more.
pub(crate) const NOT_LISTED_AGAIN: &str = "not_listed_again";
/// Time near the ends of what was read in which nothing is said to lack: a provider may list a sale by when it began, and its record be of when it ended.
const NEAR_END: SignedDuration = SignedDuration::from_hours(6);

/// Counts of what landing one resource did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ResourceLandingCounts {
    pub(crate) new: u64,
    pub(crate) changed: u64,
    pub(crate) unchanged: u64,
    pub(crate) stale: u64,
    /// Those of them that differ, and name an earlier change than what stays.
    pub(crate) passed_over: u64,
    /// Records that came, rejects included, each once.
    pub(crate) records: u64,
    /// Rejects, each once.
    pub(crate) rejects: u64,
    pub(crate) listed: ListedRecords,
    /// Warnings, but for those about versions that do not count.
    pub(crate) warnings: u64,
    /// Records of windows that were read again that did not come again, where that was looked at.
    pub(crate) not_listed_again: u64,
    pub(crate) packages: u64,
    /// The version of the source table that the last package was compared with, or made.
    pub(crate) version: Option<u64>,
    /// True if some package was compared with what the table has.
    pub(crate) is_compared: bool,
}

/// Records that listings had. What was asked for by its id is one that was open before, and says nothing of the others.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ListedRecords {
    has_fit: bool,
    has_unfit: bool,
}

impl ListedRecords {
    /// True if records were listed, and none fitted its contract.
    pub(crate) fn is_none_fit(self) -> bool {
        self.has_unfit && !self.has_fit
    }

    fn add(&mut self, other: Self) {
        self.has_fit |= other.has_fit;
        self.has_unfit |= other.has_unfit;
    }
}

/// Writer that gathers the decoded pages of one resource into packages and commits each.
pub(crate) struct PackageWriter {
    pub(crate) pipeline: String,
    pub(crate) resource: &'static Resource,
    pub(crate) table: Arc<SourceTable>,
    pub(crate) ops: OpsTables,
    /// Taker of what must be remembered.
    pub(crate) bookkeeping: Arc<RunBookkeeping>,
    pub(crate) options: LandingOptions,
    pub(crate) observer: Arc<dyn RunObserver>,
    /// Keys of open rejects: one that lands now is resolved.
    pub(crate) rejected_keys: Arc<HashSet<String>>,
    /// Lists that were read whole before, by tenant: what comes the same again is not compared.
    pub(crate) known_lists: BTreeMap<Option<String>, KnownList>,
    /// True if there are open rejects: a slice that is read again says whether they are still there.
    pub(crate) has_open_rejects: bool,
    /// True if records of what is read that do not come again are looked for, which reads keys of the table.
    pub(crate) finds_unlisted: bool,
    /// Receiver of landed packages while their rows are in memory: the streaming unify.
    pub(crate) landed_packages: Option<mpsc::Sender<LandedPackage>>,
    /// Warnings that are still written down.
    pub(crate) warning_limit: Mutex<WarningLimit>,
    /// Shared with the writers of other resources.
    pub(crate) shared: SharedWork,
}

#[derive(Default)]
struct Package {
    pages: Vec<PackagePage>,
    bytes: usize,
    /// Records that did not come before in this run.
    records: u64,
    /// And those that did.
    repeated: u64,
    /// Those of both that are in no page, since they are known to be in the table as they came.
    unchanged: u64,
    listed: ListedRecords,
    first_page_at: Option<Instant>,
    complete: Vec<SliceReadSummary>,
    rejects: Vec<PackageReject>,
    warnings: Vec<PackageWarning>,
    unknown: BTreeMap<String, u64>,
    resolved: HashSet<String>,
    /// The tenants whose pages it has.
    tenants: HashSet<Option<String>>,
    /// Listings that the run has read whole by its end, where a record may be of several tenants.
    whole: WholeListings,
}

/// Reject of a package, and what it was asked for by.
struct PackageReject {
    tenant: Option<String>,
    read_by: Option<ReadBy>,
    rejected: NumberedReject,
}

/// Package that is committed and whose bookkeeping is not written yet; its pages are gone.
struct CommittedPackage {
    at: Timestamp,
    landed: LandingSummary,
    /// True if it was compared with what the table has.
    is_compared: bool,
    package: Package,
}

/// Tasks under way: the package being written, and the bookkeeping of the one before.
#[derive(Default)]
struct InFlight {
    writing: Option<JoinHandle<Result<CommittedPackage>>>,
    bookkeeping: Option<JoinHandle<Result<ResourceLandingCounts>>>,
    tally: ResourceLandingCounts,
}

impl InFlight {
    /// Starts to write `next` once the package before is written, and then the bookkeeping of
    /// that one.
    async fn advance(&mut self, lander: &Arc<PackageWriter>, next: Option<Package>) -> Result<()> {
        let written = match joined(self.writing.take()).await {
            Ok(written) => written,
            Err(error) => {
                // Keys that were committed before are remembered all the same.
                joined(self.bookkeeping.take()).await?;
                return Err(error);
            }
        };
        self.writing = next.map(|package| tokio::spawn(Arc::clone(lander).write(package)));
        self.tally
            .add(joined(self.bookkeeping.take()).await?.unwrap_or_default());
        self.bookkeeping =
            written.map(|written| tokio::spawn(Arc::clone(lander).write_bookkeeping(written)));
        Ok(())
    }
}

impl PackageWriter {
    /// Lands everything that arrives until the channel closes.
    pub(crate) async fn run(
        self,
        mut from: mpsc::Receiver<LandingMessage>,
    ) -> Result<ResourceLandingCounts> {
        let this = Arc::new(self);
        let share = this.shared.packages.share();
        let mut package = Package::default();
        let mut work = InFlight::default();
        let mut came = SeenKeys::of_resource(this.is_shared());
        loop {
            let deadline = package.first_page_at.map(|s| s + PACKAGE_AGE);
            let message = match deadline {
                Some(deadline) => match tokio::time::timeout_at(deadline, from.recv()).await {
                    Ok(message) => message,
                    Err(_) => {
                        work.advance(&this, Some(package.cut(&came))).await?;
                        continue;
                    }
                },
                None => from.recv().await,
            };
            match message {
                None => break,
                Some(LandingMessage::Complete(read)) => {
                    came.note_listing(this.resource, &read);
                    package.complete.push(*read);
                }
                Some(LandingMessage::Flush(answer)) => {
                    let before = package.cut(&came);
                    work.advance(&this, (!before.is_empty()).then_some(before))
                        .await?;
                    work.advance(&this, None).await?;
                    // Whoever asked may have been stopped.
                    let _ = answer.send(());
                }
                Some(LandingMessage::Page(page)) => {
                    package.take(this.resource, *page, &this.rejected_keys, &mut came);
                    if package.bytes >= share.bytes() {
                        work.advance(&this, Some(package.cut(&came))).await?;
                    }
                }
            }
        }
        let last = package.cut(&came);
        work.advance(&this, (!last.is_empty()).then_some(last))
            .await?;
        work.advance(&this, None).await?;
        work.tally
            .add(joined(work.bookkeeping.take()).await?.unwrap_or_default());
        let unlisted = this.not_listed_again(&came).await?;
        work.tally.not_listed_again = unlisted.len() as u64;
        work.tally.warnings += unlisted.len() as u64;
        let mut warnings: Vec<PackageWarning> = PackageWarning::all(unlisted).collect();
        {
            let mut limit = this
                .warning_limit
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            warnings.retain(|told| limit.admit(&told.warning));
            warnings.extend(PackageWarning::all(limit.left_out()));
        }
        let now = this.ops.now();
        this.bookkeeping
            .add_warnings(this.warning_rows(warnings, now), now);
        Ok(work.tally)
    }

    /// True if a record may be listed for several tenants.
    fn is_shared(&self) -> bool {
        self.options.tenants.len() > 1 && self.table.spec().tenant_column().is_some()
    }

    /// Commits a package's records, and shows them to whoever follows.
    async fn write(self: Arc<Self>, mut package: Package) -> Result<CommittedPackage> {
        let at = self.ops.now();
        let pages = std::mem::take(&mut package.pages);
        if let Some((version, load_id)) = self.known_version(&package).await? {
            let landed = LandingSummary {
                version,
                load_id,
                unchanged: package.records + package.repeated,
                ..LandingSummary::default()
            };
            return Ok(CommittedPackage {
                at,
                landed,
                is_compared: false,
                package,
            });
        }
        if pages.is_empty() {
            return Ok(CommittedPackage {
                at,
                landed: LandingSummary {
                    unchanged: package.unchanged,
                    ..LandingSummary::default()
                },
                is_compared: true,
                package,
            });
        }
        // Whoever follows may have stopped: then the source table is all there is.
        let shown = self
            .landed_packages
            .as_ref()
            .filter(|shown| !shown.is_closed());
        let mut fresh = LandedRows::default();
        self.shared.check_lease().await?;
        let options = LandingOptions {
            whole: std::mem::take(&mut package.whole),
            ..self.options.clone()
        };
        let mut landed = self
            .table
            .land_returning_rows(pages, &options, shown.map(|_| &mut fresh))
            .await?;
        if let Some(shown) = shown {
            let package = LandedPackage {
                summary: landed.clone(),
                rows: fresh,
            };
            let _ = shown.send(package).await;
        }
        landed.unchanged += package.unchanged;
        Ok(CommittedPackage {
            at,
            landed,
            is_compared: true,
            package,
        })
    }

    /// The table's version and its newest package, where a package is made of whole lists that are as they were when they were landed last, and
    /// nothing was landed since: then comparing it would find nothing.
    async fn known_version(&self, package: &Package) -> Result<Option<(u64, i64)>> {
        let mut tenants = package.tenants.clone();
        let mut known: Option<u64> = None;
        for read in &package.complete {
            let Some(list) = self.known_lists.get(&read.slice.tenant) else {
                return Ok(None);
            };
            let is_same = read.fingerprint.as_ref() == Some(&list.fingerprint)
                && known.is_none_or(|version| version == list.version);
            if !is_same {
                return Ok(None);
            }
            known = Some(list.version);
            tenants.remove(&read.slice.tenant);
        }
        // A list whose first pages were landed before comes the same again in its last ones too.
        let Some(known) = known.filter(|_| tenants.is_empty()) else {
            return Ok(None);
        };
        let newest = self.table.newest_package().await?;
        Ok(newest.filter(|(version, _)| *version == known))
    }

    /// Hands on the bookkeeping rows of a committed package.
    async fn write_bookkeeping(
        self: Arc<Self>,
        CommittedPackage {
            at,
            landed,
            is_compared,
            mut package,
        }: CommittedPackage,
    ) -> Result<ResourceLandingCounts> {
        let _turn = self.shared.bookkeeping.lock().await;
        self.shared.check_lease().await?;
        let versions = landed.new + landed.changed;
        let run_id = &self.options.run_id;
        let rejects: Vec<RejectRow> = package
            .rejects
            .into_iter()
            .map(|rejected| self.reject_row(rejected, at))
            .collect();
        let of_records = [
            self.listed_elsewhere(&landed),
            self.passed_over(&landed),
            self.other_spellings(&landed),
        ];
        let of_records = of_records.into_iter().flatten();
        package.warnings.extend(PackageWarning::all(of_records));
        let counted = PackageWarning::count_of_current(&package.warnings, &landed.dropped);
        {
            let mut limit = self
                .warning_limit
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            package.warnings.retain(|told| limit.admit(&told.warning));
        }
        let warnings = self.warning_rows(package.warnings, at);
        let drift: Vec<DriftRow> = package
            .unknown
            .into_iter()
            .map(|(field, count)| DriftRow {
                pipeline: self.pipeline.clone(),
                resource: self.resource.name.to_owned(),
                field,
                count,
                run_id: run_id.clone(),
                seen_at: at,
            })
            .collect();
        let is_read_again = self.has_open_rejects && !package.complete.is_empty();
        let mut new_rejects = 0;
        if !rejects.is_empty() || !package.resolved.is_empty() || is_read_again {
            let fate = self.fate_of_rejects(package.resolved, &package.complete);
            new_rejects = self.bookkeeping.add_rejects(rejects, fate, at);
        }
        self.bookkeeping.add_warnings(warnings, at);
        self.bookkeeping.add_drift(drift, at);
        let slices: Vec<SliceRow> = package
            .complete
            .into_iter()
            .map(|read| {
                let slice = read.slice;
                let (read_by, also_read_by) = self.resource.recorded_read_by(read.by);
                SliceRow {
                    pipeline: self.pipeline.clone(),
                    resource: slice.resource,
                    tenant: slice.tenant,
                    window: slice.window,
                    read_by,
                    also_read_by,
                    run_id: run_id.clone(),
                    read_at: read.read_at,
                    records: read.records,
                    rejects: read.rejects,
                    declared_total: read.declared_total,
                    attempts: read.attempts,
                    load_id: landed.load_id,
                }
            })
            .collect();
        self.bookkeeping.add_slices(slices, at);
        self.bookkeeping.flush_if_due(&self.ops).await?;
        self.observer.on_event(&RunEvent::Landed { versions });
        Ok(ResourceLandingCounts {
            new: landed.new,
            changed: landed.changed,
            // Of those that came before in this run, some other version may have been the older one.
            unchanged: landed
                .unchanged
                .saturating_sub(package.repeated.saturating_sub(landed.stale)),
            stale: landed.stale,
            passed_over: landed.passed_over.len() as u64,
            records: package.records + new_rejects,
            rejects: new_rejects,
            listed: package.listed,
            warnings: counted,
            not_listed_again: 0,
            packages: u64::from(versions > 0),
            version: Some(landed.version).filter(|version| *version > 0),
            is_compared,
        })
    }

    /// A reject as the warehouse keeps it.
    fn reject_row(&self, of_package: PackageReject, at: Timestamp) -> RejectRow {
        let PackageReject {
            tenant,
            read_by,
            rejected,
        } = of_package;
        let NumberedReject {
            reject,
            nth,
            time,
            within,
        } = rejected;
        RejectRow {
            pipeline: self.pipeline.clone(),
            resource: self.resource.name.to_owned(),
            record_key: reject.key,
            field: reject.field,
            reason: reject.reason,
            redacted: reject.redacted,
            tenant,
            nth,
            time,
            slice: within,
            read_by,
            run_id: self.options.run_id.clone(),
            first_seen: at,
            last_seen: at,
            resolved_at: None,
        }
    }

    /// News of a package about the known rejects: their records landed, or what they came with was read again.
    ///
    /// It outlives the writer, whose end others wait for, and holds nothing of it.
    fn fate_of_rejects(
        &self,
        resolved: HashSet<String>,
        complete: &[SliceReadSummary],
    ) -> impl Fn(&RejectRow) -> RejectFate + Send + Sync + use<> {
        let (pipeline, resource) = (self.pipeline.clone(), self.resource);
        let run_id = self.options.run_id.clone();
        let complete: Vec<SliceReadSummary> = complete
            .iter()
            .map(|read| SliceReadSummary {
                slice: read.slice.clone(),
                keys: None,
                fingerprint: None,
                ..*read
            })
            .collect();
        move |row: &RejectRow| {
            let is_landed = || {
                row.record_key
                    .as_ref()
                    .is_some_and(|key| resolved.contains(key))
            };
            let is_read_again = || {
                let mut complete = complete.iter();
                row.run_id != run_id && complete.any(|read| covers_reject(resource, read, row))
            };
            if row.pipeline != pipeline || row.resource != resource.name {
                RejectFate::Open
            } else if is_landed() {
                RejectFate::Landed
            } else if is_read_again() {
                RejectFate::ReadAgain
            } else {
                RejectFate::Open
            }
        }
    }

    /// Warnings about records that are listed for other tenants than their own, or than those that they were of.
    fn listed_elsewhere(&self, landed: &LandingSummary) -> Vec<Warning> {
        let Some(column) = self.table.spec().tenant_column() else {
            return Vec::new();
        };
        if !landed.elsewhere.is_empty() {
            let (resource, records) = (self.resource.name, landed.elsewhere.len());
            tracing::warn!(
                resource,
                records,
                "records are listed for more than one tenant: each counts for the first alone"
            );
        }
        let warning = |key: &String, rule: &str, original: String| Warning {
            key: key.clone(),
            field: column.name.clone(),
            rule: rule.to_owned(),
            original,
            count: 1,
        };
        let elsewhere = landed.elsewhere.iter();
        let elsewhere =
            elsewhere.map(|(key, tenant)| warning(key, LISTED_ELSEWHERE, tenant.clone()));
        let moved = landed.moved.iter().map(|(key, tenant)| {
            let original = format!("{tenant} had it and lists it no more");
            warning(key, TENANT_CHANGED, original)
        });
        elsewhere.chain(moved).collect()
    }

    /// Warnings about records that are there twice, since they were stored before identifiers had one spelling.
    fn other_spellings(&self, landed: &LandingSummary) -> Vec<Warning> {
        if !landed.other_spellings.is_empty() {
            let (resource, records) = (self.resource.name, landed.other_spellings.len());
            tracing::warn!(
                resource,
                records,
                "records are stored in another spelling of their identifier too, and count twice: read this pipeline into a new warehouse, or under a new name"
            );
        }
        let warning = |(key, stored): &(String, String)| Warning {
            key: key.clone(),
            field: self.table.spec().key.join(", "),
            rule: OTHER_SPELLING.to_owned(),
            original: format!("it is stored as {stored} too, and counts twice"),
            count: 1,
        };
        landed.other_spellings.iter().map(warning).collect()
    }

    /// Warnings about records that differ from what stays of them, since they name an earlier change.
    fn passed_over(&self, landed: &LandingSummary) -> Vec<Warning> {
        let path = self.table.spec().updated_at.as_deref().unwrap_or_default();
        let warning = |record: &PassedOverRecord| Warning {
            key: record.key.clone(),
            field: path.join("."),
            rule: OLDER_CHANGE.to_owned(),
            original: format!(
                "it differs, and names {} as its last change: the version of {} stays",
                instant(record.updated_at),
                instant(record.stays)
            ),
            count: 1,
        };
        landed.passed_over.iter().map(warning).collect()
    }

    /// Warnings about records that lie in windows of event time that were read again to their end, and did not come again: the provider took them back, or
    /// they happened at another time now. They count as before.
    async fn not_listed_again(&self, came: &SeenKeys) -> Result<Vec<Warning>> {
        if !self.finds_unlisted || !came.knows_what_lacks() || came.listings().is_empty() {
            return Ok(Vec::new());
        }
        let (listings, tenants) = (came.listings(), &self.options.tenants);
        let unlisted = self
            .table
            .unlisted(listings, tenants, NEAR_END, |key| came.has(key))
            .await?;
        if !unlisted.is_empty() {
            let (resource, records) = (self.resource.name, unlisted.len());
            tracing::warn!(
                resource,
                records,
                "records of windows that were read again did not come again: they count as before"
            );
        }
        let warning = |UnlistedRecord { key, record_time }: UnlistedRecord| Warning {
            key,
            field: String::new(),
            rule: NOT_LISTED_AGAIN.to_owned(),
            original: format!(
                "it is of {}, and the list of that time has it no more: it counts as before",
                instant(record_time)
            ),
            count: 1,
        };
        Ok(unlisted.into_iter().map(warning).collect())
    }

    /// Warnings as the warehouse keeps them.
    fn warning_rows(&self, warnings: Vec<PackageWarning>, at: Timestamp) -> Vec<WarningRow> {
        let row = |PackageWarning { warning, version }: PackageWarning| WarningRow {
            pipeline: self.pipeline.clone(),
            resource: self.resource.name.to_owned(),
            record_key: warning.key,
            field: warning.field,
            rule: warning.rule,
            original: warning.original,
            content_hash: version,
            run_id: self.options.run_id.clone(),
            first_seen: at,
        };
        warnings.into_iter().map(row).collect()
    }
}

impl Package {
    fn take(
        &mut self,
        resource: &Resource,
        page: QueuedPage,
        rejected_keys: &HashSet<String>,
        came: &mut SeenKeys,
    ) {
        let repeated = came.note_page(&page);
        let contradictions = came.told_differently(resource, &page);
        let is_listed = !page.is_by_id(resource);
        let QueuedPage {
            slice,
            incoming,
            unchanged,
            rejects,
            warnings,
            unknown,
            read_by,
        } = page;
        self.first_page_at.get_or_insert_with(Instant::now);
        if !self.tenants.contains(&slice.tenant) {
            self.tenants.insert(slice.tenant.clone());
        }
        self.bytes += incoming.batch.get_array_memory_size();
        self.unchanged += unchanged.len() as u64;
        let records = incoming.batch.num_rows() + unchanged.len();
        self.records += records.saturating_sub(repeated) as u64;
        self.repeated += repeated as u64;
        self.listed.add(ListedRecords {
            has_fit: is_listed && records > 0,
            has_unfit: is_listed && !rejects.is_empty(),
        });
        if !rejected_keys.is_empty() {
            self.resolved.extend(
                incoming
                    .keys
                    .iter()
                    .flatten()
                    .filter(|k| rejected_keys.contains(*k))
                    .map(str::to_owned),
            );
        }
        self.rejects
            .extend(rejects.into_iter().map(|rejected| PackageReject {
                tenant: slice.tenant.clone(),
                read_by,
                rejected,
            }));
        self.warnings
            .extend(PackageWarning::of_page(warnings, &incoming));
        self.warnings.extend(PackageWarning::all(contradictions));
        for (field, count) in unknown {
            *self.unknown.entry(field).or_default() += count;
        }
        if incoming.batch.num_rows() > 0 {
            self.pages.push(incoming);
        }
    }

    /// The package up to here; another one begins.
    fn cut(&mut self, came: &SeenKeys) -> Self {
        let mut package = std::mem::take(self);
        if came.is_shared {
            let keys = package.pages.iter().flat_map(|page| page.keys.iter());
            let contested = keys.flatten().filter(|key| came.is_contested(key));
            package.whole = WholeListings {
                contested: contested.map(str::to_owned).collect(),
                windows: came.listings().to_vec(),
            };
        }
        package
    }

    fn is_empty(&self) -> bool {
        self.pages.is_empty()
            && self.complete.is_empty()
            && self.rejects.is_empty()
            && self.unchanged == 0
    }
}

/// True if a slice that was read to its end has all that an earlier reading had where it found a reject. One that has a time lies there; one
/// that has none, anywhere in the time that was asked for.
///
/// One with a key and a time that was learnt of late lies at its time as well: a window of changes that it left by another change says nothing. And
/// it is of the tenant that it was listed for, which rows of early versions do not name: these are closed once they are seen again, or land.
fn covers_reject(resource: &Resource, read: &SliceReadSummary, row: &RejectRow) -> bool {
    let slice = &read.slice;
    let has_key = row.record_key.is_some();
    let is_same_tenant = row.tenant == slice.tenant || (row.tenant.is_none() && !has_key);
    let (read_by, _) = resource.recorded_read_by(read.by);
    let (own, _) = resource.recorded_read_by(resource.read_by);
    let is_at = |time: Timestamp| slice.window.from() <= time && time < slice.window.to();
    let is_placed = own.is_some() && row.time.is_some() && (has_key || row.read_by == own);
    let lies_here = own.is_some() && read_by == own && row.time.is_some_and(is_at);
    let is_read_again =
        read_by == row.read_by && read.asked.intersection(&row.slice) == Some(row.slice);
    is_same_tenant && (lies_here || (!is_placed && is_read_again))
}

/// An instant in words; microseconds since 1970 where it is none.
fn instant(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| micros.to_string(), |t| t.to_string())
}

impl ResourceLandingCounts {
    pub(crate) fn add(&mut self, other: Self) {
        self.new += other.new;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.stale += other.stale;
        self.passed_over += other.passed_over;
        self.records += other.records;
        self.rejects += other.rejects;
        self.listed.add(other.listed);
        self.warnings += other.warnings;
        self.not_listed_again += other.not_listed_again;
        self.packages += other.packages;
        self.version = other.version.or(self.version);
        self.is_compared |= other.is_compared;
    }
}

async fn joined<T>(task: Option<JoinHandle<Result<T>>>) -> Result<Option<T>> {
    match task {
        None => Ok(None),
        Some(task) => task
            .await
            .map_err(|e| Error::internal("landing a package failed").because(e))?
            .map(Some),
    }
}

#[cfg(test)]
#[path = "land_tests.rs"]
mod tests;
