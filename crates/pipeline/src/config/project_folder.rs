//! The folder of a project, from which its pipelines are read.
//!
//! Invariant: all that is wrong with a pipeline is told at once; as much of it as can be had is there for its SQL to be looked at.

use super::children::children;
use super::shared_connections::SharedConnections;
use super::{ExaminedPipeline, Pipeline, ResourcePlan, SourceEntry};
use crate::assets::{self, TextAsset};
use crate::environment::Environment;
use crate::sync_keys::{self, RequestedResource, SyncSection};
use crate::text_file::{may_be_file, unreadable_folder};
use crate::yaml::{YamlFile, YamlTree, error_at};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tillhouse_extract::SourceLimits;
use tillhouse_model::yaml::YamlNode;
use tillhouse_model::{
    ColumnClass, ColumnKind, ColumnSpec, Error, ProblemList, Resource, Result, TableSpec,
    did_you_mean,
};

/// The file that makes a folder below `pipelines` a pipeline.
const PIPELINE_FILE: &str = "pipeline.yaml";

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
    let blank = file.blank_keys(root.get("sync"), "sync", |_| true);
    problems.0.extend(blank);
    let mut sync = written.and_then(|written| written.sync).unwrap_or_default();
    let holds_something = root
        .find(&["sync"])
        .is_some_and(|sync| sync.absent || sync.text().is_some());
    if holds_something || root.find(&["sync", "start"]).is_some() {
        // Its fault is told; it is not missing.
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

/// Folder of a project, from which its pipelines are read.
pub(super) struct ProjectFolder<'a> {
    pub(super) dir: &'a Path,
    pub(super) environment: &'a Environment,
    pub(super) connections: SharedConnections,
}

/// True for the folder of a pipeline. One that may not be looked into is taken for one, and so is one where something else stands in the place of its
/// file: it is then told why that cannot be read. Those whose names begin with a dot have to have the file.
fn is_pipeline(folder: &Path) -> bool {
    let file = folder.join(PIPELINE_FILE);
    let is_hidden = folder
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'));
    match is_hidden {
        true => file.is_file(),
        false => may_be_file(&file) || file.symlink_metadata().is_ok(),
    }
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
    /// Names of the pipelines, also of those whose files may not be read.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] where they cannot be listed.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let folder = self.dir.join("pipelines");
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
            Err(error) => return Err(unreadable_folder(&folder, error)),
        };
        for entry in entries.flatten() {
            if is_pipeline(&entry.path()) {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Folders among the pipelines that are none, and why; those whose name begins with a dot are somebody else's.
    pub(super) fn unread(&self) -> Vec<(String, Error)> {
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
            if name.starts_with('.') || !path.is_dir() || is_pipeline(&path) {
                continue;
            }
            let (text, hint) = match path.join("pipeline.yml").exists() {
                true => ("pipeline.yml is not read", "Rename it pipeline.yaml."),
                false => (
                    "the folder has no pipeline.yaml, so it is no pipeline",
                    "Write one, with `tillhouse init --source SOURCE` for example, or take the folder away.",
                ),
            };
            let place = path.display().to_string();
            unread.push((name, Error::config(text).at("file", place).hint(hint)));
        }
        unread.sort_by(|a, b| a.0.cmp(&b.0));
        unread
    }

    /// The names of those that are asked for, all of them where none is named.
    pub(super) fn chosen(&self, names: &[String]) -> Result<Vec<String>> {
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

    pub(super) fn pipeline(&self, name: &str, registry: &[SourceEntry]) -> Result<Pipeline> {
        self.examine(name, registry).outcome
    }

    pub(super) fn examine(&self, name: &str, registry: &[SourceEntry]) -> ExaminedPipeline {
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

    /// The source that a pipeline's file names; `None` where it cannot be read.
    pub(super) fn source_of(&self, name: &str) -> Option<String> {
        let tree = self.file_of(name).ok()?.tree().ok()?;
        let source = tree.root.get("source")?.text()?;
        Some(source.trim().to_owned())
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
            let limits = SourceLimits {
                shared: Some(self.connections.limits(entry.name, node)),
                ..limits
            };
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
        // The checks of contracts go by those that can be read; of one that cannot, it is told that it cannot.
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
