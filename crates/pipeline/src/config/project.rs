//! The project's file, and the way to it.
//!
//! Invariant: what is wrong with one pipeline keeps nobody from hearing what is wrong with the others.

use super::project_folder::ProjectFolder;
use super::retention::{self, RetentionSection, RetentionSettings};
use super::serve::{ServeSection, ServeSettings};
use super::shared_connections::SharedConnections;
use super::store_option::OptionValue;
use super::workers::{self, WorkerSettings};
use super::{Pipeline, RequestedPipeline, SourceEntry};
use crate::assets;
use crate::environment::{self, Environment};
use crate::text_file::{NO_FILE, WRITE_FILE, unreadable, unreadable_folder};
use crate::yaml::{YamlFile, YamlTree, error_at};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use tillhouse_lake::{WarehouseLocation, is_store_variable};
use tillhouse_model::contract::UNIFIED;
use tillhouse_model::yaml::{PartialRead, Spanned};
use tillhouse_model::{DataDictionary, Error, ProblemList, PseudonymKey, Result, Secret};

/// The file that makes a folder a project.
pub const PROJECT_FILE: &str = "tillhouse.yaml";

/// A project: a warehouse, a privacy key, and the folder its pipelines live in.
#[derive(Clone)]
pub struct Project {
    /// The folder that holds `tillhouse.yaml`.
    pub dir: PathBuf,
    /// Place of the warehouse.
    pub warehouse: WarehouseLocation,
    /// Memory that queries may use, in bytes.
    pub memory_limit: u64,
    /// The key for pseudonyms.
    pub privacy_key: PseudonymKey,
    /// Retention of the past.
    pub retention: RetentionSettings,
    /// True if a sync does a share of the warehouse's maintenance by itself.
    pub maintenance: bool,
    /// Settings of the server.
    pub serve: ServeSettings,
    /// Workers that help with questions.
    pub workers: WorkerSettings,
    environment: Environment,
}

impl std::fmt::Debug for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The warehouse's options may hold credentials.
        write!(f, "Project({})", self.dir.display())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectFile {
    warehouse: WarehouseSection,
    #[serde(default)]
    memory_limit: Option<Spanned<String>>,
    privacy_key: Secret,
    #[serde(default)]
    retention: RetentionSection,
    #[serde(default)]
    maintenance: Option<Spanned<String>>,
    #[serde(default)]
    serve: ServeSection,
    #[serde(default)]
    workers: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WarehouseSection {
    url: Spanned<String>,
    #[serde(default)]
    options: BTreeMap<String, OptionValue>,
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
    /// Errors with [`tillhouse_model::ErrorKind::Config`] when there is none, or a folder on the way may not be looked into.
    pub fn folder(start: &Path) -> Result<PathBuf> {
        let start = without_parents(start);
        for dir in start.ancestors() {
            let file = dir.join(PROJECT_FILE);
            match std::fs::metadata(&file) {
                Ok(found) if found.is_file() => return Ok(dir.to_owned()),
                // The project is here, as far as anybody knows: not one above it.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    return Err(unreadable_folder(dir, error));
                }
                // So too behind a link that leads nowhere.
                Err(error) if std::fs::symlink_metadata(&file).is_ok() => {
                    return Err(unreadable(&file, error));
                }
                Ok(_) | Err(_) => {}
            }
        }
        Err(nearly_a_project(&start).unwrap_or_else(|| {
            Error::config(format!("{} is no Tillhouse project, and no folder above it is one", start.display()))
                .hint("Go to your project's folder, name it with --project DIR, or make one with `tillhouse init`.")
        }))
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
            connections: SharedConnections::default(),
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
        let mut remarks = environment::remarks(dir);
        if let Ok(project) = &project {
            remarks.extend(project.retention.remarks());
        }
        let environment = if problems.is_empty() {
            Ok(())
        } else {
            Err(Error::combine(problems))
        };
        Ok(ProjectExamination {
            environment,
            remarks,
            project,
            pipelines,
        })
    }

    fn of(dir: &Path, file: &YamlFile, environment: Environment) -> Result<Self> {
        let YamlTree { root, problems } = file.tree()?;
        file.check_not_empty(&root)?;
        let mut problems = ProblemList(problems);
        let blank = file.blank_keys(root.get("retention"), "retention", |_| true);
        problems.0.extend(blank);
        let is_section = |key: &str| ["hecone_login", "oidc", "tls"].contains(&key);
        let blank = file.blank_keys(root.get("serve"), "serve", |key| !is_section(key));
        problems.0.extend(blank);
        let is_value = |key: &str| ["memory_limit", "maintenance", "workers"].contains(&key);
        problems
            .0
            .extend(file.blank_keys(Some(&root), "", is_value));
        let PartialRead { value, made_up, .. } =
            file.read_partly::<ProjectFile>(&root, "", &mut problems.0);
        let Some(ProjectFile {
            warehouse,
            memory_limit,
            privacy_key,
            retention,
            maintenance,
            serve,
            workers,
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
        let (retention, faults) = retention.settings(file);
        problems
            .0
            .extend(faults.into_iter().map(|error| file.annotate_error(error)));
        let (serve, faults) = serve.settings(file, dir);
        problems
            .0
            .extend(faults.into_iter().map(|error| file.annotate_error(error)));
        let (workers, faults) = workers::settings(file, &workers, &environment, dir);
        problems
            .0
            .extend(faults.into_iter().map(|error| file.annotate_error(error)));
        let maintenance = problems.keep(
            retention::maintenance(file, maintenance.as_ref())
                .map_err(|error| file.annotate_error(error)),
        );
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
        let options = warehouse.options.into_iter().map(|(name, value)| {
            let option = value.into_option(&name, dir)?;
            Ok((name, option))
        });
        let options: Option<BTreeMap<_, _>> = problems.keep(
            options
                .collect::<Result<_>>()
                .map_err(|error| file.annotate_error(error)),
        );
        let warehouse = url.zip(options).map(|(url, options)| WarehouseLocation {
            url,
            options,
            variables: environment.pairs(is_store_variable),
        });
        if let Some(warehouse) = &warehouse {
            problems.keep(
                warehouse
                    .check()
                    .map_err(|error| file.annotate_error(error)),
            );
        }
        let settled = memory_limit
            .zip(privacy_key)
            .zip(warehouse)
            .zip(maintenance);
        let (((memory_limit, privacy_key), warehouse), maintenance) = problems.or(settled)?;
        Ok(Self {
            dir: dir.to_owned(),
            warehouse,
            memory_limit,
            privacy_key,
            retention,
            maintenance,
            serve,
            workers,
            environment,
        })
    }

    /// The names of all pipelines, in alphabetical order.
    pub fn pipeline_names(&self) -> Result<Vec<String>> {
        self.folder_of().names()
    }

    /// The source of every pipeline there is, by its name; `None` where its file does not tell.
    pub(crate) fn pipeline_sources(&self) -> BTreeMap<String, Option<String>> {
        let folder = self.folder_of();
        let names = folder.names().unwrap_or_default().into_iter();
        names
            .map(|name| {
                let source = folder.source_of(&name);
                (name, source)
            })
            .collect()
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

    /// As [`Project::pipelines`], each with what is wrong with it: that keeps none of the others from being worked on.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] for a name that does not exist.
    pub fn requested_pipelines(
        &self,
        names: &[String],
        registry: &[SourceEntry],
    ) -> Result<Vec<RequestedPipeline>> {
        let folder = self.folder_of();
        let requested = |name: String| RequestedPipeline {
            pipeline: folder.pipeline(&name, registry),
            name,
        };
        Ok(folder.chosen(names)?.into_iter().map(requested).collect())
    }

    /// Notes on the tables that contracts describe: the unified ones, and those of every pipeline. Where contracts of the project cannot be
    /// read, those that came with the binary stand in: notes are words, and what is wrong with a contract is for `check` to say.
    pub fn dictionary(&self) -> DataDictionary {
        let folder = self.folder_of();
        let mut dictionary = DataDictionary::default();
        assets::add_notes(&mut dictionary, UNIFIED, Some(&self.dir), UNIFIED);
        for name in folder.names().unwrap_or_default() {
            if let Some(source) = folder.source_of(&name) {
                assets::add_notes(&mut dictionary, &name, Some(&self.dir), &source);
            }
        }
        dictionary
    }

    fn folder_of(&self) -> ProjectFolder<'_> {
        ProjectFolder {
            dir: &self.dir,
            environment: &self.environment,
            connections: SharedConnections::default(),
        }
    }
}

/// Project and pipelines, as far as each is valid, see [`Project::examine`].
#[derive(Debug)]
pub struct ProjectExamination {
    /// The `.env` file.
    pub environment: Result<()>,
    /// Remarks on the project's folder: what was hardly meant, in a sentence each.
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
    /// Readable part of a pipeline that is not valid, so that its SQL can be checked all the same.
    /// Never to be run: what is wrong is made up, or left out.
    pub draft: Option<Pipeline>,
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

/// The error of a folder whose `tillhouse.yaml` is a folder or a pipe, or is called in another way.
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
            false if found.ends_with(PROJECT_FILE) => Error::config(NO_FILE).hint(WRITE_FILE),
            false => Error::config("no Tillhouse project is here: its file has another name")
                .hint("Rename it tillhouse.yaml."),
        }
        .at("file", place),
    )
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

/// Reads an amount of memory: a whole number and KiB, MiB, GiB (or KB, MB, GB), not below 64 MiB. `None` for anything else.
pub fn parse_bytes(text: &str) -> Option<u64> {
    read_bytes(text).filter(|bytes| *bytes >= 64 << 20)
}

/// Reads a number of bytes: a whole number and KiB, MiB, GiB (or KB, MB, GB). `None` for anything else.
pub(super) fn read_bytes(text: &str) -> Option<u64> {
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
    digits.parse::<u64>().ok()?.checked_mul(factor)
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
