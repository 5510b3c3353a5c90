//! A project and its pipelines: what the user wrote, turned once into what it means.
//!
//! Invariant: a [`TestProject`] and a [`Pipeline`] are valid; everything about them that can be checked without a network has been.

use crate::assets::{self, TextAsset};
use crate::common_keys::{ConnectionSection, connection};
use crate::environment;
pub use crate::sync_keys::SyncSettings;
use crate::sync_keys::{self, RequestedResource, SyncSection};
use crate::yaml::{self, Environment, YamlFile, YamlTree, error_at};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tillhouse_extract::{Source, SourceConnection, SourceLimits};
use tillhouse_lake::WarehouseLocation;
use tillhouse_model::yaml::{PartialRead, Spanned, YamlNode};
use tillhouse_model::{
    ColumnClass, ColumnKind, ColumnSpec, Error, LabelMap, ProblemList, PseudonymKey, Resource,
    Result, Secret, TableSpec, did_you_mean,
};

/// The file that makes a folder a project.
pub const PROJECT_FILE: &str = "tillhouse.yaml";
/// The file that makes a folder below `pipelines` a pipeline.
const PIPELINE_FILE: &str = "pipeline.yaml";

/// A source as the registry lists it.
#[derive(Clone, Copy)]
pub struct SourceEntry {
    /// The source's name.
    pub name: &'static str,
    /// What it can be asked for.
    pub resources: &'static [Resource],
    open: fn(&YamlFile, &YamlNode, SourceLimits) -> OpenedConnection,
}

impl SourceEntry {
    /// The entry of a source, from its connection type.
    pub const fn of<C: SourceConnection>() -> Self {
        Self {
            name: C::SOURCE,
            resources: C::RESOURCES,
            open: open::<C>,
        }
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
    pub warehouse: WarehouseLocation,
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
    pub children: Vec<ChildResource>,
    /// The source's words for how was paid, and the common ones.
    pub labels: LabelMap,
    /// The unify statements, by name of the unified table.
    pub unify: Vec<TextAsset>,
    /// The contracts of the unified tables, by name.
    pub unified: BTreeMap<String, Arc<TableSpec>>,
    /// Which built-in files the project overrides.
    pub overrides: Vec<String>,
    /// Requests and slices under way at once.
    pub concurrency: usize,
    /// True if `sync.schedule` says when it is to run, which whoever runs it has to see to.
    pub scheduled: bool,
    /// What is allowed in its file and was hardly meant, in a sentence each.
    pub remarks: Vec<String>,
}

impl Pipeline {
    /// Whether a resource is read.
    pub(crate) fn reads(&self, resource: &str) -> bool {
        self.resources
            .iter()
            .any(|plan| plan.resource.name == resource)
    }
}

/// A resource whose records are parts of another's, or looked up by them: when one arrives or changes, its parents are unified anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildResource {
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

impl ChildResource {
    /// Whether the statement of that unified table holds children by themselves until their parents are there.
    pub(crate) fn has_orphans_in(&self, table: &str) -> bool {
        matches!(&self.link, ChildLink::Part { orphans: Some(orphans), .. } if orphans == table)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChildEntry {
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectFile {
    warehouse: WarehouseSection,
    #[serde(default)]
    memory_limit: Option<Spanned<String>>,
    privacy_key: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WarehouseSection {
    url: Spanned<String>,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

/// The file's keys; what `connection` and `resources` hold is read by itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelineFile {
    #[serde(rename = "source")]
    _source: IgnoredAny,
    #[serde(rename = "connection")]
    _connection: IgnoredAny,
    #[serde(default)]
    sync: Option<SyncSection>,
    #[serde(default, rename = "resources")]
    _resources: IgnoredAny,
}

/// Keys of a pipeline's file that do not depend on its source.
struct PipelineKeys {
    sync: SyncSection,
    wanted: Option<Vec<RequestedResource>>,
    limits: SourceLimits,
    /// False where what is wrong with how resources are synced is told.
    are_settings_valid: bool,
}

/// The part of a pipeline's file that does not depend on its source; what is wrong with it goes to `problems`.
fn common(file: &YamlFile, root: &YamlNode, problems: &mut ProblemList) -> PipelineKeys {
    let written = file
        .read_partly::<PipelineFile>(root, "", &mut problems.0)
        .value;
    let (wanted, faults) = sync_keys::requested_resources(file, root.get("resources"));
    problems.0.extend(faults);
    let mut sync = written.and_then(|written| written.sync).unwrap_or_default();
    let holds_something = root
        .find(&["sync"])
        .is_some_and(|sync| sync.absent || sync.text().is_some());
    if holds_something || root.find(&["sync", "start"]).is_some() {
        // What is wrong with it is told; it is not missing.
        sync.make_up_start();
    }
    let limits = problems.keep(sync_keys::limits(
        file,
        &sync,
        wanted.as_deref().unwrap_or_default(),
    ));
    let settled = problems.keep(sync_keys::check(file, &sync, wanted.as_deref()));
    PipelineKeys {
        sync,
        wanted,
        limits: limits.unwrap_or_default(),
        are_settings_valid: settled.is_some(),
    }
}

/// A connection that was opened, which may hold made-up values in place of wrong ones, and the
/// problems found.
struct OpenedConnection {
    source: Option<Arc<dyn Source>>,
    problems: Vec<Error>,
}

/// The source that a connection leads to. What is wrong with the connection is told with it, and what `open` finds wrong, but not of what is made up.
fn open<C: SourceConnection>(
    file: &YamlFile,
    node: &YamlNode,
    mut limits: SourceLimits,
) -> OpenedConnection {
    let mut problems = Vec::new();
    let Some(ConnectionSection {
        own,
        accept_media_types,
        empty_messages,
        made_up,
    }) = connection::<C>(file, node, &mut problems)
    else {
        return OpenedConnection {
            source: None,
            problems,
        };
    };
    limits.accept_media_types = accept_media_types;
    limits.empty_messages = empty_messages;
    let source = match own.open(limits) {
        Ok(source) => Some(source),
        Err(error) => {
            problems.extend(without(error, &made_up).map(|error| file.annotate_error(error)));
            None
        }
    };
    OpenedConnection { source, problems }
}

/// An error without those of its parts that are about keys whose values are made up.
fn without(error: Error, made_up: &[String]) -> Option<Error> {
    let parts = if error.parts().is_empty() {
        vec![error]
    } else {
        error.into_parts()
    };
    let parts: Vec<Error> = parts
        .into_iter()
        .filter(|part| !made_up.iter().any(|key| yaml::is_about(part, key)))
        .collect();
    (!parts.is_empty()).then(|| Error::combine(parts))
}

impl Project {
    /// The project in `start` or the nearest folder above it that has a `tillhouse.yaml`.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] when there is none, or it is not valid.
    pub fn find(start: &Path) -> Result<Self> {
        Self::load(&Self::folder(start)?)
    }

    /// The nearest folder, from `start` upwards, that has a `tillhouse.yaml`.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] when there is none.
    pub fn folder(start: &Path) -> Result<PathBuf> {
        let start = without_parents(start);
        let dir = start.ancestors().find(|d| d.join(PROJECT_FILE).is_file()).ok_or_else(|| {
            if let Some(error) = nearly_a_project(&start) {
                return error;
            }
            Error::config(format!("{} is no Tillhouse project, and no folder above it is one", start.display()))
                .hint("Go to your project's folder, name it with --project DIR, or make one with `tillhouse init`.")
        })?;
        Ok(dir.to_owned())
    }

    /// The project in exactly this folder.
    pub fn load(dir: &Path) -> Result<Self> {
        let environment = Environment::load(dir)?;
        let file = YamlFile::read(&dir.join(PROJECT_FILE), &environment)?;
        Self::of(dir, &file, environment).map_err(|error| file.annotate_error(error))
    }

    /// The project and its pipelines of these names, or all where `names` is empty, as far as each is valid: what is wrong with one
    /// keeps nobody from hearing what is wrong with the others.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] where there is no project in `dir`, or no such pipeline.
    pub fn examine(
        dir: &Path,
        names: &[String],
        registry: &[SourceEntry],
    ) -> Result<ProjectExamination> {
        let (environment, problems) = Environment::load_partly(dir);
        let folder = ProjectFolder {
            dir,
            environment: &environment,
        };
        let refused = |name: String, error| ExaminedPipeline {
            name,
            outcome: Err(error),
            draft: None,
        };
        let unread = if names.is_empty() {
            folder.unread()
        } else {
            Vec::new()
        };
        let mut pipelines: Vec<_> = match folder.chosen(names) {
            Ok(names) => names
                .iter()
                .map(|name| folder.examine(name, registry))
                .collect(),
            Err(_) if !unread.is_empty() => Vec::new(),
            Err(error) if names.is_empty() => vec![refused("pipelines".to_owned(), error)],
            Err(error) => return Err(error),
        };
        pipelines.extend(unread.into_iter().map(|(name, error)| refused(name, error)));
        let read = YamlFile::read(&dir.join(PROJECT_FILE), &environment);
        let project = read.and_then(|file| {
            Self::of(dir, &file, environment).map_err(|error| file.annotate_error(error))
        });
        let environment = if problems.is_empty() {
            Ok(())
        } else {
            Err(Error::combine(problems))
        };
        Ok(ProjectExamination {
            environment,
            remarks: environment::remarks(dir),
            project,
            pipelines,
        })
    }

    fn of(dir: &Path, file: &YamlFile, environment: Environment) -> Result<Self> {
        let YamlTree { root, problems } = file.tree()?;
        file.check_not_empty(&root)?;
        let mut problems = ProblemList(problems);
        let PartialRead { value, made_up, .. } =
            file.read_partly::<ProjectFile>(&root, "", &mut problems.0);
        let Some(ProjectFile {
            warehouse,
            memory_limit,
            privacy_key,
        }) = value
        else {
            return problems.or(None);
        };
        let is_made_up = |key: &str| {
            made_up
                .iter()
                .any(|made_up| key.starts_with(made_up.as_str()))
        };
        let memory_limit = match &memory_limit {
            None => Some(512 << 20),
            Some(text) => problems.keep(parse_bytes(&text.value).ok_or_else(|| {
                let what = format!(
                    "`memory_limit` is {:?}, and must be 64MiB or more, as a whole number and a unit",
                    text.value
                );
                file.annotate_error(
                    error_at(file, text.referenced, what)
                        .hint("Write it like `memory_limit: 512MiB`; units are KiB, MiB, GiB, KB, MB and GB."),
                )
            })),
        };
        let privacy_key = match is_made_up("privacy_key") {
            true => None,
            false => problems.keep(
                PseudonymKey::parse(&privacy_key).map_err(|error| file.annotate_error(error)),
            ),
        };
        let url = match warehouse.url.value.trim() {
            _ if is_made_up("warehouse.url") => None,
            "" => problems.keep(Err(error_at(
                file,
                warehouse.url.referenced,
                "`warehouse.url` is empty",
            )
            .hint("Write it like `url: ./warehouse`."))),
            text if text.contains("://") => Some(text.to_owned()),
            path => problems.keep(
                at_home(path, std::env::home_dir())
                    .map(|path| without_parents(&dir.join(path)).display().to_string())
                    .map_err(|error| file.annotate_error(error)),
            ),
        };
        let warehouse = url.map(|url| WarehouseLocation {
            url,
            options: warehouse.options,
        });
        if let Some(warehouse) = &warehouse {
            problems.keep(
                warehouse
                    .check()
                    .map_err(|error| file.annotate_error(error)),
            );
        }
        let settled = memory_limit.zip(privacy_key).zip(warehouse);
        let ((memory_limit, privacy_key), warehouse) = problems.or(settled)?;
        Ok(Self {
            dir: dir.to_owned(),
            warehouse,
            memory_limit,
            privacy_key,
            environment,
        })
    }

    /// The names of all pipelines, in alphabetical order.
    pub fn pipeline_names(&self) -> Result<Vec<String>> {
        self.folder_of().names()
    }

    /// The pipelines of these names, or all where `names` is empty.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] for a name that does not exist, listing those that do, and with all that is wrong
    /// with any of them.
    pub fn pipelines(&self, names: &[String], registry: &[SourceEntry]) -> Result<Vec<Pipeline>> {
        let folder = self.folder_of();
        let mut problems = ProblemList::default();
        let pipelines: Vec<Pipeline> = folder
            .chosen(names)?
            .iter()
            .filter_map(|name| problems.keep(folder.pipeline(name, registry)))
            .collect();
        problems.or(Some(pipelines))
    }

    fn folder_of(&self) -> ProjectFolder<'_> {
        ProjectFolder {
            dir: &self.dir,
            environment: &self.environment,
        }
    }
}

/// Project and pipelines, as far as each is valid, see [`Project::examine`].
#[derive(Debug)]
pub struct ProjectExamination {
    /// The `.env` file.
    pub environment: Result<()>,
    /// What of the project's folder was hardly meant, in a sentence each.
    pub remarks: Vec<String>,
    /// `tillhouse.yaml`.
    pub project: Result<Project>,
    /// The pipelines by name.
    pub pipelines: Vec<ExaminedPipeline>,
}

/// One pipeline as far as it is valid, see [`Project::examine`].
#[derive(Debug)]
pub struct ExaminedPipeline {
    /// Its name.
    pub name: String,
    /// The pipeline, or all that is wrong with it.
    pub outcome: Result<Pipeline>,
    /// What is to be had of one that is not valid, so that its SQL can be looked at all the same. Never to be run: what is wrong is made up, or left out.
    pub draft: Option<Pipeline>,
}

/// Folder of a project, from which its pipelines are read.
struct ProjectFolder<'a> {
    dir: &'a Path,
    environment: &'a Environment,
}

/// A path, where it begins with `~/` in the user's home folder.
fn at_home(path: &str, home: Option<PathBuf>) -> Result<PathBuf> {
    let Some(below) = path
        .strip_prefix("~/")
        .or_else(|| (path == "~").then_some(""))
    else {
        return Ok(path.into());
    };
    let home = home.filter(|home| home.is_absolute()).ok_or_else(|| {
        Error::config("`warehouse.url` begins with ~/, and nobody knows the home folder")
            .hint("Set HOME, or write the whole path.")
    })?;
    Ok(home.join(below))
}

/// Names that mean something else in the warehouse or in SQL.
const TAKEN: [&str; 7] = [
    "unified",
    "ops",
    "statistics",
    "latest",
    "information_schema",
    "pg_catalog",
    "public",
];
/// The longest name of a pipeline: names of folders and objects are made from it.
const LONGEST_NAME: usize = 64;

impl ProjectFolder<'_> {
    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        if let Ok(entries) = std::fs::read_dir(self.dir.join("pipelines")) {
            for entry in entries.flatten() {
                if entry.path().join(PIPELINE_FILE).is_file() {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// Folders among the pipelines that are none, and why; those whose name begins with a dot are somebody else's.
    fn unread(&self) -> Vec<(String, Error)> {
        let mut unread = Vec::new();
        for entry in std::fs::read_dir(self.dir.join("pipelines"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let (path, name) = (
                entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            );
            if name.starts_with('.') || !path.is_dir() || path.join(PIPELINE_FILE).is_file() {
                continue;
            }
            let (text, hint) = if path.join(PIPELINE_FILE).is_dir() {
                (
                    "a folder stands where a file is expected",
                    "Rename the folder, or take it away.",
                )
            } else if path.join("pipeline.yml").exists() {
                ("pipeline.yml is not read", "Rename it pipeline.yaml.")
            } else {
                (
                    "the folder has no pipeline.yaml, so it is no pipeline",
                    "Write one, with `tillhouse init --source SOURCE` for example, or take the folder away.",
                )
            };
            let place = path
                .join(if text.starts_with("a folder") {
                    PIPELINE_FILE
                } else {
                    ""
                })
                .display()
                .to_string();
            unread.push((
                name,
                Error::config(text)
                    .at("file", place.trim_end_matches('/'))
                    .hint(hint),
            ));
        }
        unread.sort_by(|a, b| a.0.cmp(&b.0));
        unread
    }

    /// The names of those that are asked for, all of them where none is named.
    fn chosen(&self, names: &[String]) -> Result<Vec<String>> {
        let all = self.names()?;
        if all.is_empty() {
            return Err(Error::config(format!("{} has no pipelines", self.dir.display()))
                .hint("Add one with `tillhouse init --source hecone`, or write pipelines/NAME/pipeline.yaml."));
        }
        if let Some(unknown) = names.iter().find(|n| !all.contains(n)) {
            let known: Vec<&str> = all.iter().map(String::as_str).collect();
            let meant = did_you_mean::nearest(unknown, &known)
                .map(|near| format!("; did you mean {near:?}?"));
            return Err(Error::config(format!(
                "there is no pipeline {unknown:?}{}",
                meant.unwrap_or_default()
            ))
            .hint(format!("This project has: {}.", all.join(", "))));
        }
        Ok(if names.is_empty() {
            all
        } else {
            names.to_vec()
        })
    }

    fn pipeline(&self, name: &str, registry: &[SourceEntry]) -> Result<Pipeline> {
        self.examine(name, registry).outcome
    }

    fn examine(&self, name: &str, registry: &[SourceEntry]) -> ExaminedPipeline {
        let name = name.to_owned();
        let file = match self.file_of(&name) {
            Ok(file) => file,
            Err(error) => {
                return ExaminedPipeline {
                    name,
                    outcome: Err(error),
                    draft: None,
                };
            }
        };
        let mut problems = ProblemList::default();
        let pipeline = self.pipeline_of(&name, &file, registry, &mut problems);
        if problems.0.is_empty() {
            let outcome = pipeline
                .ok_or_else(|| Error::internal("a configuration was refused without a reason"));
            return ExaminedPipeline {
                name,
                outcome,
                draft: None,
            };
        }
        ExaminedPipeline {
            name,
            outcome: Err(file.annotate_error(Error::combine(problems.0))),
            draft: pipeline,
        }
    }

    fn file_of(&self, name: &str) -> Result<YamlFile> {
        let place = self.dir.join("pipelines").join(name);
        let letters =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if !name.chars().all(letters)
            || name.starts_with('-')
            || TAKEN.contains(&name)
            || name.len() > LONGEST_NAME
        {
            return Err(Error::config(format!("{name:?} cannot be a pipeline's name"))
                .at("file", place.display().to_string())
                .hint(format!(
                    "Rename the folder: at most {LONGEST_NAME} lower-case letters, digits, '-' and '_', no '-' first; {} are taken.",
                    TAKEN.join(", ")
                )));
        }
        YamlFile::read(&place.join(PIPELINE_FILE), self.environment)
    }

    /// As much of a pipeline as can be had, for its SQL to be looked at; and what is wrong goes to `problems`.
    fn pipeline_of(
        &self,
        name: &str,
        file: &YamlFile,
        registry: &[SourceEntry],
        problems: &mut ProblemList,
    ) -> Option<Pipeline> {
        let YamlTree {
            root,
            problems: mistakes,
        } = problems.keep(file.tree())?;
        problems.keep(file.check_not_empty(&root))?;
        problems.0.extend(mistakes);
        let PipelineKeys {
            sync,
            wanted,
            limits,
            are_settings_valid,
        } = common(file, &root, problems);
        let entry = match root
            .get("source")
            .and_then(|node| Some((node.at, node.text()?)))
        {
            Some((at, name)) => match registry.iter().find(|entry| entry.name == name.trim()) {
                Some(entry) => entry,
                None => {
                    problems.0.push(no_source(file, at, name, registry));
                    return None;
                }
            },
            None => {
                if let Some(node) = root.get("source") {
                    let known: Vec<_> = registry.iter().map(|entry| entry.name).collect();
                    let error = error_at(file, node.at, "`source`: expected the name of a source");
                    problems
                        .0
                        .push(error.hint(format!("Write one of {}.", known.join(", "))));
                }
                return None;
            }
        };
        let concurrency = limits.concurrency;
        let source = root.get("connection").and_then(|node| {
            let opened = (entry.open)(file, node, limits);
            problems.0.extend(opened.problems);
            opened.source
        });
        let mut overrides = Vec::new();
        let mut note = |asset: &TextAsset| {
            if asset.overridden {
                overrides.push(asset.origin.clone());
            }
        };
        let contracts = problems.keep(assets::contracts(Some(self.dir), entry.name));
        let unified_contracts = problems.keep(assets::contracts(Some(self.dir), "unified"));
        let labels = problems.keep(crate::labels::labels(Some(self.dir), entry.name, name));
        // As this connection offers them: it may settle by which time one is read.
        let offers = source
            .as_ref()
            .map_or(entry.resources, |source| source.resources());
        let chosen: Vec<(&'static Resource, SyncSection)> = match &wanted {
            None => offers.iter().map(|r| (r, SyncSection::default())).collect(),
            Some(wanted) => {
                let known: Vec<_> = offers.iter().map(|r| r.name).collect();
                let find = |one: &RequestedResource| {
                    let found = offers.iter().find(|r| r.name == one.name).ok_or_else(|| {
                        let meant = did_you_mean::nearest(&one.name, &known)
                            .map(|near| format!("; did you mean {near:?}?"));
                        let text = format!(
                            "{} has no resource {:?}{}",
                            entry.name,
                            one.name,
                            meant.unwrap_or_default()
                        );
                        error_at(file, one.at, text).hint(format!("It has: {}.", known.join(", ")))
                    });
                    found.map(|resource| (resource, one.sync.clone()))
                };
                wanted
                    .iter()
                    .filter_map(|one| problems.keep(find(one)))
                    .collect()
            }
        };
        // What is said of contracts goes by those that can be read; of one that cannot, it is told that it cannot.
        let is_whole = contracts.is_some() && unified_contracts.is_some();
        let (contracts, unified_contracts) = (
            contracts.unwrap_or_default(),
            unified_contracts.unwrap_or_default(),
        );
        let (labels_asset, labels) = labels.unwrap_or_default();
        let mut resources = Vec::new();
        for (resource, own) in chosen {
            let Some((asset, spec)) = contracts.iter().find(|(_, s)| s.name == resource.name)
            else {
                if !is_whole {
                    continue;
                }
                problems.0.push(
                    Error::config(format!(
                        "there is no contract for {}.{}",
                        entry.name, resource.name
                    ))
                    .hint(format!(
                        "Write schemas/{}/{}.yaml.",
                        entry.name, resource.name
                    )),
                );
                continue;
            };
            note(asset);
            problems.keep(
                check_pseudonyms_are_text(&spec.columns)
                    .map_err(|e| e.at("file", asset.origin.clone())),
            );
            match sync_keys::settings(file, &sync, resource.name, &own) {
                Ok(sync) => resources.push(ResourcePlan {
                    resource,
                    spec: Arc::clone(spec),
                    sync,
                }),
                Err(error) if are_settings_valid => problems.0.push(error),
                // Told with those of all resources.
                Err(_) => {}
            }
        }
        let mut unified = BTreeMap::new();
        for (asset, spec) in unified_contracts {
            note(&asset);
            unified.insert(spec.name.clone(), spec);
        }
        let offered: Vec<(&'static Resource, Arc<TableSpec>)> = offers
            .iter()
            .filter_map(|r| {
                Some((
                    r,
                    Arc::clone(&contracts.iter().find(|(_, s)| s.name == r.name)?.1),
                ))
            })
            .collect();
        let children = match problems
            .keep(assets::children(Some(self.dir), entry.name, name))
            .flatten()
        {
            Some(asset) if is_whole => {
                note(&asset);
                problems
                    .keep(children(&asset, &offered, &unified))
                    .unwrap_or_default()
            }
            _ => Vec::new(),
        };
        labels_asset.iter().for_each(&mut note);
        let mut unify = problems
            .keep(assets::unify_sql(Some(self.dir), entry.name, name))
            .unwrap_or_default();
        for statement in &unify {
            note(statement);
            if is_whole && !unified.contains_key(&statement.name) {
                let known: Vec<_> = unified.keys().map(String::as_str).collect();
                problems.0.push(
                    Error::config(format!("there is no unified table {:?}", statement.name))
                        .at("file", statement.origin.clone())
                        .hint(format!(
                            "A unify file is named after its table: {}.",
                            known.join(", ")
                        )),
                );
            }
        }
        // Of contracts that cannot be read, statements would be told that their columns are missing.
        let source = source.filter(|_| is_whole)?;
        unify.retain(|statement| unified.contains_key(&statement.name));
        Some(Pipeline {
            name: name.to_owned(),
            source_name: entry.name,
            source,
            resources,
            offered,
            children,
            labels,
            unify,
            unified,
            overrides,
            concurrency,
            scheduled: sync_keys::is_scheduled(&sync),
            remarks: file.remarks(),
        })
    }
}

/// The error of a folder whose `tillhouse.yaml` is a folder, or is called in another way.
fn nearly_a_project(start: &Path) -> Option<Error> {
    let near = [
        "tillhouse.yml",
        "tillhouse.yaml.txt",
        "Tillhouse.yaml",
        "tillhouse.yaml",
    ];
    let found = start.ancestors().find_map(|dir| {
        near.iter()
            .map(|name| dir.join(name))
            .find(|path| path.exists())
    })?;
    let place = found.display().to_string();
    Some(
        match found.is_dir() {
            true => Error::config("a folder stands where a file is expected")
                .hint("Rename the folder, or take it away."),
            false => Error::config("no Tillhouse project is here: its file has another name")
                .hint("Rename it tillhouse.yaml."),
        }
        .at("file", place),
    )
}

fn no_source(
    file: &YamlFile,
    at: tillhouse_model::yaml::FileLocation,
    name: &str,
    registry: &[SourceEntry],
) -> Error {
    let known: Vec<_> = registry.iter().map(|entry| entry.name).collect();
    let meant = did_you_mean::nearest(name, &known).map(|near| format!("; did you mean {near:?}?"));
    error_at(
        file,
        at,
        format!("there is no source {name:?}{}", meant.unwrap_or_default()),
    )
    .hint(format!("Known sources: {}.", known.join(", ")))
}

/// An absolute path without `..`: where one follows a link, it leads above what the link leads to.
fn without_parents(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean = std::fs::canonicalize(&clean).unwrap_or(clean);
                clean.pop();
            }
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}

/// The children that a unify folder declares.
fn children(
    asset: &TextAsset,
    offered: &[(&'static Resource, Arc<TableSpec>)],
    unified: &BTreeMap<String, Arc<TableSpec>>,
) -> Result<Vec<ChildResource>> {
    let file = YamlFile::of(asset.origin.clone().into(), asset.text.clone());
    let written: BTreeMap<String, ChildEntry> = file.parse()?;
    let find = |name: &str| offered.iter().find(|(r, _)| r.name == name);
    let known = || {
        offered
            .iter()
            .map(|(r, _)| r.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let read = |(name, child): (String, ChildEntry)| {
        let (resource, spec) = find(&name).ok_or_else(|| {
            error_at(
                &file,
                child.of.referenced,
                format!("there is no resource {name:?}"),
            )
            .hint(format!("There are: {}.", known()))
        })?;
        let (of, of_spec) = find(&child.of.value).ok_or_else(|| {
            error_at(
                &file,
                child.of.referenced,
                format!("there is no resource {:?}", child.of.value),
            )
            .hint(format!("There are: {}.", known()))
        })?;
        let has = |spec: &TableSpec, column: &Spanned<String>| {
            if spec
                .column(&column.value)
                .is_some_and(|column| column.class.is_stored())
            {
                return Ok(column.value.clone());
            }
            let message = format!("{} has no column {:?}", spec.name, column.value);
            Err(error_at(&file, column.referenced, message)
                .hint("Name a column that the resource's contract stores."))
        };
        let link = match (child.by, child.on) {
            (Some(by), None) => {
                if let Some(orphans) = child
                    .orphans
                    .as_ref()
                    .filter(|orphans| !unified.contains_key(&orphans.value))
                {
                    let message = format!("there is no unified table {:?}", orphans.value);
                    return Err(error_at(&file, orphans.referenced, message));
                }
                let orphans = child.orphans.map(|orphans| orphans.value);
                let counted = child
                    .counted
                    .map(|counted| has(of_spec, &counted))
                    .transpose()?;
                ChildLink::Part {
                    by: has(spec, &by)?,
                    orphans,
                    counted,
                }
            }
            (None, Some(on)) if !on.is_empty() => {
                let key = |name: &str| Spanned {
                    value: name.to_owned(),
                    ..child.of.clone()
                };
                let pairs = on
                    .iter()
                    .map(|(own, theirs)| Ok((has(spec, &key(own))?, has(of_spec, theirs)?)));
                let on = pairs.collect::<Result<_>>()?;
                let uses = child.uses.unwrap_or_default();
                ChildLink::Lookup {
                    on,
                    uses: uses
                        .iter()
                        .map(|used| has(spec, used))
                        .collect::<Result<_>>()?,
                }
            }
            _ => {
                return Err(error_at(&file, child.of.referenced, format!("how does a record of {name} find its parent?"))
                    .hint("Write `by: COLUMN` (and `orphans: TABLE`), or `on: { COLUMN: PARENT'S COLUMN }` with `uses: [COLUMN]`."));
            }
        };
        Ok(ChildResource {
            resource: resource.name,
            of: of.name,
            link,
        })
    };
    let mut problems = ProblemList::default();
    let all = written
        .into_iter()
        .filter_map(|child| problems.keep(read(child)))
        .collect();
    problems.or(Some(all))
}

/// Only text can become a pseudonym; a contract that says otherwise would silently store the value.
fn check_pseudonyms_are_text(columns: &[ColumnSpec]) -> Result<()> {
    for column in columns {
        match &column.kind {
            ColumnKind::Struct(inner) => check_pseudonyms_are_text(inner)?,
            ColumnKind::List(element) => check_pseudonyms_are_text(std::slice::from_ref(element))?,
            ColumnKind::Text => {}
            _ if matches!(
                column.class,
                ColumnClass::Pseudonym(_) | ColumnClass::LastFour
            ) =>
            {
                return Err(Error::config(format!(
                    "column {:?} is personal but not text",
                    column.name
                ))
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
    digits
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
        .filter(|bytes| *bytes >= 64 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_folder_is_meant_at_the_beginning_alone() {
        let home = Some(PathBuf::from("/home/ada"));
        let of = |path: &str| {
            at_home(path, home.clone())
                .map(|path| path.display().to_string())
                .ok()
        };
        for (path, meant) in [
            ("~/w", "/home/ada/w"),
            ("~", "/home/ada/"),
            ("~/", "/home/ada/"),
            ("~/a/~/b", "/home/ada/a/~/b"),
            ("./~/w", "./~/w"),
            ("~ada/w", "~ada/w"),
            ("w~", "w~"),
            ("/w", "/w"),
        ] {
            assert_eq!(of(path).as_deref(), Some(meant), "{path}");
        }
        for home in [None, Some(PathBuf::from("relative")), Some(PathBuf::new())] {
            let error = at_home("~/w", home).unwrap_err();
            assert!(error.hint_text().unwrap().contains("HOME"), "{error:?}");
        }
    }
}
