//! The contracts and unify SQL that come with the binary, and how a project overrides them.
//!
//! Invariant: an override has the same relative path as what it replaces; everything else comes from the binary.

use crate::text_file;
use crate::yaml::YamlFile;
use include_dir::{Dir, include_dir};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tillhouse_model::{DataDictionary, Error, Result, TableSpec};

static PIPELINES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../pipelines");
static SCHEMAS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../schemas");

/// Contracts that were read before, by their origin, each with the text that it was read from. The unified ones belong to every pipeline, and are asked for
/// by whatever knows tables: reading them is most of what a short command has to do before it can open the warehouse.
static PARSED: Mutex<BTreeMap<String, (String, Arc<TableSpec>)>> = Mutex::new(BTreeMap::new());

/// The name of the file that holds a pipeline's words, without extension.
const LABELS: &str = "labels";

/// A text asset and where it came from.
#[derive(Debug, Clone)]
pub struct TextAsset {
    /// Its file name without extension.
    pub name: String,
    /// Name in messages: a path in the project, or `built-in:...`.
    pub origin: String,
    /// True if the project overrides the built-in one.
    pub overridden: bool,
    /// Its text.
    pub text: String,
}

/// The unified contracts, and a source's own, with the project's overrides.
pub(crate) fn contracts(
    project: Option<&Path>,
    source: &str,
) -> Result<Vec<(TextAsset, Arc<TableSpec>)>> {
    let assets = merged(
        &SCHEMAS,
        Path::new(source),
        project.map(|p| p.join("schemas").join(source)),
        "yaml",
    )?;
    parse_built_in(&assets);
    let (mut specs, mut errors) = (Vec::new(), Vec::new());
    for asset in assets {
        // Contracts are read with none: what looks like a variable would be taken as it is written.
        if asset.overridden && asset.text.contains('$') {
            let file = YamlFile::of(asset.origin.clone().into(), asset.text.clone());
            errors.extend(file.tree().map(|tree| tree.problems).unwrap_or_default());
        }
        match parsed(&asset) {
            Ok(spec) => specs.push((asset, spec)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(specs)
    } else {
        Err(Error::combine(errors))
    }
}

/// A contract, read once: as it was read before, where its text is the same.
fn parsed(asset: &TextAsset) -> Result<Arc<TableSpec>> {
    if let Some(spec) = known(asset) {
        return Ok(spec);
    }
    let spec = tillhouse_model::contract::parse(&asset.text, &asset.origin)?;
    let spec = Arc::new(spec);
    let mut parsed = PARSED.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = (asset.text.clone(), Arc::clone(&spec));
    parsed.insert(asset.origin.clone(), entry);
    Ok(spec)
}

/// The contract that was read of the same text before.
fn known(asset: &TextAsset) -> Option<Arc<TableSpec>> {
    let parsed = PARSED.lock().unwrap_or_else(PoisonError::into_inner);
    let (text, spec) = parsed.get(&asset.origin)?;
    (*text == asset.text).then(|| Arc::clone(spec))
}

/// Reads the contracts that come with the binary and were not read yet, side by side. What is wrong with one is told by who asks for it. Those of a
/// project may be anything, and are read on the stack of who asks.
fn parse_built_in(assets: &[TextAsset]) {
    let unread: Vec<&TextAsset> = assets
        .iter()
        .filter(|asset| !asset.overridden && known(asset).is_none())
        .collect();
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = unread.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        // The first share is for this thread, which reads what is left.
        let shares = unread.chunks(share).skip(1);
        let started: Vec<_> = shares
            .map(|share| {
                let read = move || share.iter().for_each(|asset| drop(parsed(asset)));
                thread::Builder::new().spawn_scoped(scope, read)
            })
            .collect();
        for asset in unread.iter().take(share) {
            drop(parsed(asset));
        }
        for thread in started.into_iter().flatten() {
            drop(thread.join());
        }
    });
}

/// Adds the tables of a source's contracts, or of the unified ones, to the notes on a schema.
pub(crate) fn add_notes(
    dictionary: &mut DataDictionary,
    schema: &str,
    project: Option<&Path>,
    source: &str,
) {
    let own = contracts(project, source).or_else(|_| contracts(None, source));
    for (_, spec) in own.unwrap_or_default() {
        dictionary.add_contract(schema, &spec);
    }
}

/// The contracts that come with the binary, of a source or of the unified tables.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`] where one cannot be read, which a test keeps from happening.
pub fn built_in_contracts(source: &str) -> Result<Vec<Arc<TableSpec>>> {
    let contracts = contracts(None, source)?;
    Ok(contracts.into_iter().map(|(_, spec)| spec).collect())
}

/// The unify statements of a pipeline: the source's built-in ones with the project's overrides for this pipeline.
pub(crate) fn unify_sql(
    project: Option<&Path>,
    source: &str,
    pipeline: &str,
) -> Result<Vec<TextAsset>> {
    merged(
        &PIPELINES,
        &Path::new(source).join("unify"),
        project.map(|p| p.join("pipelines").join(pipeline).join("unify")),
        "sql",
    )
}

/// Resources that are children of others, for a pipeline's unify statements: `unify/children.yaml`, where there is one.
pub(crate) fn children(
    project: Option<&Path>,
    source: &str,
    pipeline: &str,
) -> Result<Option<TextAsset>> {
    let folder = Path::new(source).join("unify");
    let project = project.map(|p| p.join("pipelines").join(pipeline).join("unify"));
    Ok(merged(&PIPELINES, &folder, project, "yaml")?
        .into_iter()
        .find(|asset| asset.name == "children"))
}

/// A pipeline's words for how was paid: `labels.yaml`, where there is one.
pub(crate) fn labels(
    project: Option<&Path>,
    source: &str,
    pipeline: &str,
) -> Result<Option<TextAsset>> {
    let project = project.map(|p| p.join("pipelines").join(pipeline));
    Ok(merged(&PIPELINES, Path::new(source), project, "yaml")?
        .into_iter()
        .find(|asset| asset.name == LABELS))
}

/// The built-in `pipeline.yaml` of a source, which `init` writes.
pub(crate) fn pipeline_template(source: &str) -> Option<&'static str> {
    PIPELINES
        .get_file(Path::new(source).join("pipeline.yaml"))?
        .contents_utf8()
}

/// The files `eject` writes for a pipeline: relative path in the project, and text.
pub(crate) fn ejectable(source: &str, pipeline: &str) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for extension in ["sql", "yaml"] {
        for asset in merged(
            &PIPELINES,
            &Path::new(source).join("unify"),
            None,
            extension,
        )? {
            let name = format!("{}.{extension}", asset.name);
            files.push((
                Path::new("pipelines")
                    .join(pipeline)
                    .join("unify")
                    .join(name),
                asset.text,
            ));
        }
    }
    if let Some(labels) = labels(None, source, pipeline)? {
        files.push((
            Path::new("pipelines")
                .join(pipeline)
                .join(format!("{LABELS}.yaml")),
            labels.text,
        ));
    }
    for folder in [source, "unified"] {
        for asset in merged(&SCHEMAS, Path::new(folder), None, "yaml")? {
            files.push((
                Path::new("schemas")
                    .join(folder)
                    .join(format!("{}.yaml", asset.name)),
                asset.text,
            ));
        }
    }
    Ok(files)
}

fn merged(
    built_in: &Dir<'_>,
    folder: &Path,
    project: Option<PathBuf>,
    extension: &str,
) -> Result<Vec<TextAsset>> {
    let mut assets: Vec<TextAsset> = Vec::new();
    if let Some(dir) = built_in.get_dir(folder) {
        for file in dir.files() {
            let path = file.path();
            if path.extension().is_some_and(|e| e == extension) {
                let text = file
                    .contents_utf8()
                    .ok_or_else(|| Error::internal("a built-in file is not UTF-8"))?;
                assets.push(TextAsset {
                    name: stem(path),
                    origin: format!("built-in:{}", path.display()),
                    overridden: false,
                    text: text.to_owned(),
                });
            }
        }
    }
    let mut errors = Vec::new();
    for path in files(project)? {
        let ends = path.extension().unwrap_or_default();
        // Beside contracts and words nobody would look for a file that is passed over.
        if ends.eq_ignore_ascii_case(extension) && ends != extension
            || extension == "yaml" && ends == "yml"
        {
            let hint = format!("Rename it to end in .{extension}, or take it away.");
            let error = Error::config("a file is not read, for the end of its name").hint(hint);
            errors.push(error.at("file", path.display().to_string()));
        }
        if ends != extension {
            continue;
        }
        let name = stem(&path);
        match text_file::read_regular(&path) {
            Ok(text) => {
                let unchanged = assets.iter().any(|a| a.name == name && a.text == text);
                assets.retain(|a| a.name != name);
                assets.push(TextAsset {
                    name,
                    origin: path.display().to_string(),
                    overridden: !unchanged,
                    text,
                });
            }
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(Error::combine(errors));
    }
    assets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(assets)
}

/// Files in a folder of the project, where there is one, by name.
fn files(folder: Option<PathBuf>) -> Result<Vec<PathBuf>> {
    let Some(folder) = folder.filter(|folder| folder.try_exists().unwrap_or(true)) else {
        return Ok(Vec::new());
    };
    let list = || {
        std::fs::read_dir(&folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()
    };
    let mut files = list().map_err(|error| text_file::unreadable_folder(&folder, error))?;
    files.sort();
    Ok(files)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_is_read_once_and_again_where_its_text_changes() {
        let specs = |project: Option<&Path>| contracts(project, "unified").unwrap();
        let (first, again) = (specs(None), specs(None));
        assert!(first.len() > 5);
        for ((_, one), (_, other)) in first.iter().zip(&again) {
            assert!(Arc::ptr_eq(one, other), "{}", one.name);
        }

        let project = tempfile::tempdir().unwrap();
        let folder = project.path().join("schemas/unified");
        std::fs::create_dir_all(&folder).unwrap();
        let (sites, built_in) = first
            .iter()
            .find(|(asset, _)| asset.name == "sites")
            .unwrap();
        let mut texts = vec![sites.text.clone()];
        for comment in ["# Ours.\n", "# Ours still.\n"] {
            texts.push(format!("{comment}{}", sites.text));
        }
        let mut read = Vec::new();
        for text in &texts {
            std::fs::write(folder.join("sites.yaml"), text).unwrap();
            let own = specs(Some(project.path()));
            let (asset, spec) = own
                .into_iter()
                .find(|(asset, _)| asset.name == "sites")
                .unwrap();
            assert_eq!(asset.text, *text);
            assert_eq!(*spec, **built_in, "comments mean nothing");
            read.push(spec);
        }
        assert!(!Arc::ptr_eq(&read[0], &read[1]) && !Arc::ptr_eq(&read[1], &read[2]));
        std::fs::write(folder.join("sites.yaml"), "nothing").unwrap();
        assert!(contracts(Some(project.path()), "unified").is_err());
    }
}
