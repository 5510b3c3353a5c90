//! A project and its pipelines: what the user wrote, turned once into what it means.
//!
//! Invariant: a [`Project`] and a [`Pipeline`] are valid; everything about them that can be checked without a network has been.

use crate::assets::{self, Asset};
use crate::common_keys::ConnectionWritten;
use crate::yaml::{Environment, YamlFile, error_at};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tillhouse_extract::{Connection, Limits, Source};
use tillhouse_lake::Location;
use tillhouse_model::{Class, Column, Error, Kind, Labels, PseudonymKey, Resource, Result, Secret, TableSpec, time};

/// The file that makes a folder a project.
pub const PROJECT_FILE: &str = "tillhouse.yaml";

/// A source as the registry lists it.
#[derive(Clone, Copy)]
pub struct SourceEntry {
    /// The source's name.
    pub name: &'static str,
    /// What it can be asked for.
    pub resources: &'static [Resource],
    parse: fn(&YamlFile) -> Result<Parsed>,
}

impl SourceEntry {
    /// The entry of a source, from its connection type.
    pub const fn of<C: Connection>() -> Self {
        Self { name: C::SOURCE, resources: C::RESOURCES, parse: parse::<C> }
    }
}

impl std::fmt::Debug for SourceEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceEntry({})", self.name)
    }
}

/// A project: a warehouse, a privacy key, and the folder its pipelines live in.
#[derive(Clone)]
pub struct Project {
    /// The folder that holds `tillhouse.yaml`.
    pub dir: PathBuf,
    /// Where the warehouse is.
    pub warehouse: Location,
    /// How much memory queries may use, in bytes.
    pub memory_limit: u64,
    /// The key for pseudonyms.
    pub privacy_key: PseudonymKey,
    environment: Environment,
}

impl std::fmt::Debug for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The warehouse's options may hold credentials.
        write!(f, "Project({})", self.dir.display())
    }
}

/// One configured connection to one source.
#[derive(Debug)]
pub struct Pipeline {
    /// Its folder's name.
    pub name: String,
    /// The source's name.
    pub source_name: &'static str,
    /// The source, ready to be asked.
    pub source: Arc<dyn Source>,
    /// What is read, in the order of the configuration.
    pub resources: Vec<ResourcePlan>,
    /// Everything the source offers that has a contract, whether it is read or not: unify statements may name it.
    pub offered: Vec<(&'static Resource, Arc<TableSpec>)>,
    /// Which resources hold parts of another's records.
    pub children: Vec<Child>,
    /// The source's words for how was paid, and the common ones.
    pub labels: Labels,
    /// The unify statements, by name of the unified table.
    pub unify: Vec<Asset>,
    /// The contracts of the unified tables, by name.
    pub unified: BTreeMap<String, Arc<TableSpec>>,
    /// Which built-in files the project overrides.
    pub overrides: Vec<String>,
    /// Requests and slices under way at once.
    pub concurrency: usize,
}

impl Pipeline {
    /// Whether a resource is read.
    pub(crate) fn reads(&self, resource: &str) -> bool {
        self.resources.iter().any(|plan| plan.resource.name == resource)
    }
}

/// A resource whose records are parts of another's, or looked up by them: when one arrives or changes, its parents are unified anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The child.
    pub resource: &'static str,
    /// The parent.
    pub of: &'static str,
    /// How a child finds its parents.
    pub link: ChildLink,
}

/// How a child finds its parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildLink {
    /// It is a part of one parent, and names it.
    Part {
        /// The child's column that holds the parent's record key.
        by: String,
        /// The unified table that holds a child by itself until its parent is there.
        orphans: Option<String>,
        /// The parent's column that says how many children it has.
        counted: Option<String>,
    },
    /// Parents look it up.
    Lookup {
        /// The child's columns, and the parent's that hold the same.
        on: Vec<(String, String)>,
        /// The child's columns that are looked up; when others change, no parent is unified anew.
        uses: Vec<String>,
    },
}

impl Child {
    /// Whether the statement of that unified table holds children by themselves until their parents are there.
    pub(crate) fn has_orphans_in(&self, table: &str) -> bool {
        matches!(&self.link, ChildLink::Part { orphans: Some(orphans), .. } if orphans == table)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChildWritten {
    of: Spanned<String>,
    by: Option<Spanned<String>>,
    orphans: Option<Spanned<String>>,
    counted: Option<Spanned<String>>,
    on: Option<BTreeMap<String, Spanned<String>>>,
    uses: Option<Vec<Spanned<String>>>,
}

/// One resource of a pipeline and how it is synced.
#[derive(Debug, Clone)]
pub struct ResourcePlan {
    /// What the source offers.
    pub resource: &'static Resource,
    /// Its contract.
    pub spec: Arc<TableSpec>,
    /// How it is synced.
    pub sync: SyncSettings,
}

/// How a resource is synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncSettings {
    /// The first instant that is wanted.
    pub start: Timestamp,
    /// How much is asked for at a time.
    pub slice: SignedDuration,
    /// How far back every run reads again, for late and changed records.
    pub lookback: SignedDuration,
    /// For how long open transactions are asked for by id.
    pub follow_open: SignedDuration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectWritten {
    warehouse: WarehouseWritten,
    #[serde(default)]
    memory_limit: Option<Spanned<String>>,
    privacy_key: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WarehouseWritten {
    url: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct SourceOnly {
    source: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelineWritten<C> {
    #[serde(rename = "source")]
    _source: String,
    connection: ConnectionWritten<C>,
    #[serde(default)]
    sync: SyncWritten,
    #[serde(default)]
    resources: Option<Spanned<ResourcesWritten>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ResourcesWritten {
    List(Vec<String>),
    Map(BTreeMap<String, Option<SyncWritten>>),
}

#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields, default)]
struct SyncWritten {
    start: Option<Spanned<String>>,
    slice: Option<Spanned<String>>,
    lookback: Option<Spanned<String>>,
    follow_open: Option<Spanned<String>>,
    concurrency: Option<Spanned<usize>>,
    rate_limit: Option<Spanned<String>>,
    page_size: Option<Spanned<u32>>,
    /// Whether the end of a listing that declares no total is proved by a request more.
    confirm_end: Option<Spanned<bool>>,
    /// When a scheduler runs the pipeline; a single sync has no use for it.
    #[serde(rename = "schedule")]
    _schedule: Option<String>,
}

struct Parsed {
    source: Arc<dyn Source>,
    sync: SyncWritten,
    resources: Option<Spanned<ResourcesWritten>>,
    concurrency: usize,
}

fn parse<C: Connection>(file: &YamlFile) -> Result<Parsed> {
    let written: PipelineWritten<C> = file.parse()?;
    let ConnectionWritten { own: connection, accept_media_types } = written.connection;
    let mut limits = Limits { rate_per_second: None, accept_media_types, ..Limits::default() };
    if let Some(size) = &written.sync.page_size {
        if size.value == 0 {
            return Err(error_at(file, size.referenced, "page_size must be at least 1"));
        }
        limits.page_size = size.value;
    }
    limits.confirm_end = written.sync.confirm_end.as_ref().is_none_or(|confirm| confirm.value);
    if let Some(concurrency) = &written.sync.concurrency {
        if concurrency.value == 0 || concurrency.value > 64 {
            return Err(error_at(file, concurrency.referenced, "concurrency must be between 1 and 64"));
        }
        limits.concurrency = concurrency.value;
    }
    if let Some(rate) = &written.sync.rate_limit {
        let per_second = rate.value.trim().strip_suffix("/s").and_then(|n| n.trim().parse::<u32>().ok());
        match per_second {
            Some(n) if n > 0 => limits.rate_per_second = Some(n),
            _ => return Err(error_at(file, rate.referenced, "rate_limit must be a whole number a second, like 20/s")),
        }
    }
    let concurrency = limits.concurrency;
    let source = connection.open(limits).map_err(|e| e.at("file", file.path.display().to_string()))?;
    Ok(Parsed { source, sync: written.sync, resources: written.resources, concurrency })
}

impl Project {
    /// The project in `start` or the nearest folder above it that has a `tillhouse.yaml`.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] when there is none, or it is not valid.
    pub fn find(start: &Path) -> Result<Self> {
        let start = std::path::absolute(start).unwrap_or_else(|_| start.to_owned());
        let dir = start.ancestors().find(|d| d.join(PROJECT_FILE).is_file()).ok_or_else(|| {
            Error::config(format!("{} is no Tillhouse project, and no folder above it is one", start.display()))
                .hint("Go to your project's folder, name it with --project DIR, or make one with `tillhouse init`.")
        })?;
        Self::load(dir)
    }

    /// The project in exactly this folder.
    pub fn load(dir: &Path) -> Result<Self> {
        let environment = Environment::load(dir)?;
        let file = YamlFile::read(&dir.join(PROJECT_FILE), &environment)?;
        Self::of(dir, &file, environment).map_err(|error| file.redact(error))
    }

    fn of(dir: &Path, file: &YamlFile, environment: Environment) -> Result<Self> {
        let written: ProjectWritten = file.parse()?;
        let memory_limit = match &written.memory_limit {
            None => 512 << 20,
            Some(text) => parse_bytes(&text.value).ok_or_else(|| {
                error_at(file, text.referenced, "memory_limit must be a number and a unit, like 512MiB or 2GiB")
            })?,
        };
        let privacy_key =
            PseudonymKey::parse(&written.privacy_key).map_err(|e| e.at("file", file.path.display().to_string()))?;
        let url = if written.warehouse.url.contains("://") || Path::new(&written.warehouse.url).is_absolute() {
            written.warehouse.url
        } else {
            let relative = written.warehouse.url.trim_start_matches("./");
            dir.join(relative).display().to_string()
        };
        Ok(Self {
            dir: dir.to_owned(),
            warehouse: Location { url, options: written.warehouse.options },
            memory_limit,
            privacy_key,
            environment,
        })
    }

    /// The names of all pipelines, in alphabetical order.
    pub fn pipeline_names(&self) -> Result<Vec<String>> {
        let folder = self.dir.join("pipelines");
        let mut names = Vec::new();
        if let Ok(entries) = std::fs::read_dir(&folder) {
            for entry in entries.flatten() {
                if entry.path().join("pipeline.yaml").is_file() {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// The pipelines of these names, or all where `names` is empty.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] for a name that does not exist, listing those that do.
    pub fn pipelines(&self, names: &[String], registry: &[SourceEntry]) -> Result<Vec<Pipeline>> {
        let all = self.pipeline_names()?;
        if all.is_empty() {
            return Err(Error::config(format!("{} has no pipelines", self.dir.display()))
                .hint("Add one with `tillhouse init --source hecone`, or write pipelines/NAME/pipeline.yaml."));
        }
        if let Some(unknown) = names.iter().find(|n| !all.contains(n)) {
            return Err(Error::config(format!("there is no pipeline {unknown:?}"))
                .hint(format!("This project has: {}.", all.join(", "))));
        }
        let wanted = if names.is_empty() { &all } else { names };
        wanted.iter().map(|name| self.pipeline(name, registry)).collect()
    }

    fn pipeline(&self, name: &str, registry: &[SourceEntry]) -> Result<Pipeline> {
        if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
            || ["unified", "ops", "statistics", "latest"].contains(&name)
        {
            return Err(Error::config(format!("{name:?} cannot be a pipeline's name"))
                .hint("Use lower-case letters, digits, '-' and '_'; unified, ops, statistics and latest are taken."));
        }
        let file = YamlFile::read(&self.dir.join("pipelines").join(name).join("pipeline.yaml"), &self.environment)?;
        self.pipeline_of(name, &file, registry).map_err(|error| file.redact(error))
    }

    fn pipeline_of(&self, name: &str, file: &YamlFile, registry: &[SourceEntry]) -> Result<Pipeline> {
        let SourceOnly { source } = file.parse()?;
        let entry = registry.iter().find(|e| e.name == source.value).ok_or_else(|| {
            let known: Vec<_> = registry.iter().map(|e| e.name).collect();
            error_at(file, source.referenced, format!("there is no source {:?}", source.value))
                .hint(format!("Known sources: {}.", known.join(", ")))
        })?;
        let parsed = (entry.parse)(file)?;
        // As this connection offers them: it may settle by which time one is read.
        let offers = parsed.source.resources();
        let contracts = assets::contracts(Some(&self.dir), entry.name)?;
        let mut overrides = Vec::new();
        let mut note = |asset: &Asset| {
            if asset.overridden {
                overrides.push(asset.origin.clone());
            }
        };
        let mut chosen: Vec<(&'static Resource, SyncWritten)> = Vec::new();
        let find = |name: &str| {
            offers.iter().find(|r| r.name == name).ok_or_else(|| {
                let known: Vec<_> = offers.iter().map(|r| r.name).collect();
                let error = Error::config(format!("{} has no resource {name:?}", entry.name));
                let place = parsed.resources.as_ref().map(|r| r.referenced);
                let error = match place {
                    Some(p) => error.at("file", format!("{}:{}:{}", file.path.display(), p.line(), p.column())),
                    None => error,
                };
                error.hint(format!("It has: {}.", known.join(", ")))
            })
        };
        match parsed.resources.as_ref().map(|r| &r.value) {
            None => chosen.extend(offers.iter().map(|r| (r, SyncWritten::default()))),
            Some(ResourcesWritten::List(names)) => {
                for name in names {
                    chosen.push((find(name)?, SyncWritten::default()));
                }
            }
            Some(ResourcesWritten::Map(map)) => {
                for (name, sync) in map {
                    chosen.push((find(name)?, sync.clone().unwrap_or_default()));
                }
            }
        }
        let mut resources = Vec::new();
        for (resource, overrides_of_one) in chosen {
            let (asset, spec) = contracts.iter().find(|(_, s)| s.name == resource.name).ok_or_else(|| {
                Error::config(format!("there is no contract for {}.{}", entry.name, resource.name))
                    .hint(format!("Write schemas/{}/{}.yaml.", entry.name, resource.name))
            })?;
            note(asset);
            check_pseudonyms_are_text(&spec.columns)?;
            let sync = settings(file, &parsed.sync, &overrides_of_one)?;
            resources.push(ResourcePlan { resource, spec: Arc::clone(spec), sync });
        }
        let mut unified = BTreeMap::new();
        for (asset, spec) in assets::contracts(Some(&self.dir), "unified")? {
            note(&asset);
            unified.insert(spec.name.clone(), spec);
        }
        let offered: Vec<(&'static Resource, Arc<TableSpec>)> = offers
            .iter()
            .filter_map(|r| Some((r, Arc::clone(&contracts.iter().find(|(_, s)| s.name == r.name)?.1))))
            .collect();
        let children = match assets::children(Some(&self.dir), entry.name, name)? {
            Some(asset) => {
                note(&asset);
                children(&asset, &offered, &unified)?
            }
            None => Vec::new(),
        };
        let (asset, labels) = crate::labels::labels(Some(&self.dir), entry.name, name)?;
        asset.iter().for_each(&mut note);
        let unify = assets::unify_sql(Some(&self.dir), entry.name, name)?;
        for statement in &unify {
            note(statement);
            if !unified.contains_key(&statement.name) {
                let known: Vec<_> = unified.keys().map(String::as_str).collect();
                return Err(Error::config(format!("there is no unified table {:?}", statement.name))
                    .at("file", statement.origin.clone())
                    .hint(format!("A unify file is named after its table: {}.", known.join(", "))));
            }
        }
        Ok(Pipeline {
            name: name.to_owned(),
            source_name: entry.name,
            source: parsed.source,
            resources,
            offered,
            children,
            labels,
            unify,
            unified,
            overrides,
            concurrency: parsed.concurrency,
        })
    }
}

/// The children that a unify folder declares.
fn children(
    asset: &Asset,
    offered: &[(&'static Resource, Arc<TableSpec>)],
    unified: &BTreeMap<String, Arc<TableSpec>>,
) -> Result<Vec<Child>> {
    let file = YamlFile::of(asset.origin.clone().into(), asset.text.clone());
    let written: BTreeMap<String, ChildWritten> = file.parse()?;
    let find = |name: &str| offered.iter().find(|(r, _)| r.name == name);
    let known = || offered.iter().map(|(r, _)| r.name).collect::<Vec<_>>().join(", ");
    let mut all = Vec::new();
    for (name, child) in written {
        let (resource, spec) = find(&name).ok_or_else(|| {
            error_at(&file, child.of.referenced, format!("there is no resource {name:?}"))
                .hint(format!("There are: {}.", known()))
        })?;
        let (of, of_spec) = find(&child.of.value).ok_or_else(|| {
            error_at(&file, child.of.referenced, format!("there is no resource {:?}", child.of.value))
                .hint(format!("There are: {}.", known()))
        })?;
        let has = |spec: &TableSpec, column: &Spanned<String>| {
            if spec.column(&column.value).is_some_and(|column| column.class.is_stored()) {
                return Ok(column.value.clone());
            }
            let message = format!("{} has no column {:?}", spec.name, column.value);
            Err(error_at(&file, column.referenced, message).hint("Name a column that the resource's contract stores."))
        };
        let link = match (child.by, child.on) {
            (Some(by), None) => {
                if let Some(orphans) = child.orphans.as_ref().filter(|orphans| !unified.contains_key(&orphans.value)) {
                    let message = format!("there is no unified table {:?}", orphans.value);
                    return Err(error_at(&file, orphans.referenced, message));
                }
                let orphans = child.orphans.map(|orphans| orphans.value);
                let counted = child.counted.map(|counted| has(of_spec, &counted)).transpose()?;
                ChildLink::Part { by: has(spec, &by)?, orphans, counted }
            }
            (None, Some(on)) if !on.is_empty() => {
                let key = |name: &str| Spanned { value: name.to_owned(), ..child.of.clone() };
                let pairs = on.iter().map(|(own, theirs)| Ok((has(spec, &key(own))?, has(of_spec, theirs)?)));
                let on = pairs.collect::<Result<_>>()?;
                let uses = child.uses.unwrap_or_default();
                ChildLink::Lookup { on, uses: uses.iter().map(|used| has(spec, used)).collect::<Result<_>>()? }
            }
            _ => {
                return Err(error_at(&file, child.of.referenced, format!("how does a record of {name} find its parent?"))
                    .hint("Write `by: COLUMN` (and `orphans: TABLE`), or `on: { COLUMN: PARENT'S COLUMN }` with `uses: [COLUMN]`."));
            }
        };
        all.push(Child { resource: resource.name, of: of.name, link });
    }
    Ok(all)
}

fn settings(file: &YamlFile, base: &SyncWritten, over: &SyncWritten) -> Result<SyncSettings> {
    let duration = |a: &Option<Spanned<String>>, b: &Option<Spanned<String>>, default: &str, least: i64| {
        let (text, place) = match a.as_ref().or(b.as_ref()) {
            Some(s) => (s.value.as_str(), Some(s.referenced)),
            None => (default, None),
        };
        let at = |e: Error| match place {
            Some(p) => e.at("file", format!("{}:{}:{}", file.path.display(), p.line(), p.column())),
            None => e,
        };
        let parsed = time::parse_duration(text).map_err(at)?;
        if parsed.as_secs() < least {
            return Err(at(Error::config(format!("{text:?} is too short; the least is {least}s"))));
        }
        Ok(parsed)
    };
    for (what, given) in [
        ("concurrency", over.concurrency.as_ref().map(|s| s.referenced)),
        ("rate_limit", over.rate_limit.as_ref().map(|s| s.referenced)),
        ("page_size", over.page_size.as_ref().map(|s| s.referenced)),
        ("confirm_end", over.confirm_end.as_ref().map(|s| s.referenced)),
    ] {
        if let Some(place) = given {
            return Err(error_at(file, place, format!("{what} belongs to the whole pipeline: write it under sync")));
        }
    }
    let start = over.start.as_ref().or(base.start.as_ref());
    let start = match start {
        Some(s) => time::parse_instant(&s.value, &TimeZone::UTC).map_err(|e| {
            e.at("file", format!("{}:{}:{}", file.path.display(), s.referenced.line(), s.referenced.column()))
        })?,
        None => {
            return Err(Error::config("sync.start is missing: from when on shall be read?")
                .at("file", file.path.display().to_string())
                .hint("Write `sync: { start: 2024-01-01 }`."));
        }
    };
    Ok(SyncSettings {
        start,
        slice: duration(&over.slice, &base.slice, "1d", 60)?,
        lookback: duration(&over.lookback, &base.lookback, "3d", 0)?,
        follow_open: duration(&over.follow_open, &base.follow_open, "30d", 0)?,
    })
}

/// Only text can become a pseudonym; a contract that says otherwise would silently store the value.
fn check_pseudonyms_are_text(columns: &[Column]) -> Result<()> {
    for column in columns {
        match &column.kind {
            Kind::Struct(inner) => check_pseudonyms_are_text(inner)?,
            Kind::List(element) => check_pseudonyms_are_text(std::slice::from_ref(element))?,
            Kind::Text => {}
            _ if matches!(column.class, Class::Pseudonym(_) | Class::LastFour) => {
                return Err(Error::config(format!("column {:?} is personal but not text", column.name))
                    .hint("Make it a string in the contract, or drop it with `treatment: drop`."));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads an amount of memory: a whole number and KiB, MiB, GiB (or KB, MB, GB), not below 64 MiB. `None` for anything else.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(split);
    let factor: u64 = match unit.trim() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes >= 64 << 20)
}
