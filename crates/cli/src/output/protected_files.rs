//! Files that no output is written over: those of a warehouse, and a project's configuration; of the project at hand, and of any other.
//!
//! Invariant: a file is told by the folder that it leads to, whatever it is called: through links, `..`, and a folder that is mounted in
//! two places. A folder is another warehouse or project if it holds the file that makes it one. Of another project's links to its own files
//! nothing is known.

use super::output_file::{end_of_links, folder_of};
use std::fs;
use std::path::{Path, PathBuf};
use tillhouse_lake::FORMAT_FILE;
use tillhouse_model::{Error, Result};
use tillhouse_pipeline::PROJECT_FILE;

/// Configuration in a project's folder.
const CONFIGURATION: [&str; 5] = [
    PROJECT_FILE,
    ".env",
    ".env.example",
    ".gitignore",
    "users.yaml",
];
/// The folders of a project's pipelines (settings, labels and unify SQL) and of its contracts.
const FOLDERS: [&str; 2] = ["pipelines", "schemas"];

/// The places of a project that are not for output.
#[derive(Debug, Clone)]
pub(crate) struct ProtectedFiles {
    /// The warehouse's folder; `None` where it is in a bucket.
    warehouse: Option<PathBuf>,
    project: PathBuf,
}

impl ProtectedFiles {
    /// Those of the project in a folder, with its warehouse where that is on a disk.
    pub(crate) fn new(project: PathBuf, warehouse: Option<PathBuf>) -> Self {
        Self { warehouse, project }
    }

    /// Errors with [`ErrorKind::Config`](tillhouse_model::ErrorKind::Config) where `what` (`the output`) would be written into a warehouse
    /// or over a project's configuration. Of a path that leads nowhere, whoever opens it says so.
    pub(crate) fn check(&self, what: &str, file: &Path) -> Result<()> {
        let Some(place) = place_of(file) else {
            return Ok(());
        };
        let refused = |why: &str| {
            let error = Error::config(format!("{what} would be written {why}"));
            error.at("file", file.display().to_string())
        };
        if let Some(warehouse) = self.warehouse_of(&place) {
            return Err(refused("into the warehouse")
                .at("warehouse", warehouse.display().to_string())
                .hint("Name a file outside of the warehouse's folder: what is in there is Tillhouse's own, and would be lost."));
        }
        if let Some(project) = self.project_of(&place) {
            return Err(refused("over the project's configuration")
                .at("project", project.display().to_string())
                .hint("Name another file: tillhouse.yaml, .env, .gitignore, users.yaml and what is in pipelines and schemas are the project's settings."));
        }
        Ok(())
    }

    /// The warehouse that a place is in: the project's, or any other.
    fn warehouse_of<'a>(&'a self, place: &'a Path) -> Option<&'a Path> {
        let own = self.warehouse.as_deref();
        let own = own.filter(|warehouse| is_in(place, warehouse));
        own.or_else(|| {
            let mut above = place.ancestors();
            above.find(|folder| folder.join(FORMAT_FILE).is_file())
        })
    }

    /// The project whose configuration a place is: this one, or any other.
    fn project_of<'a>(&'a self, place: &'a Path) -> Option<&'a Path> {
        let own = self.project.as_path();
        if is_configuration(place, own) {
            return Some(own);
        }
        let mut above = place.ancestors();
        above.find(|folder| folder.join(PROJECT_FILE).is_file() && is_configuration(place, folder))
    }
}

/// True if a place is configuration of the project in a folder.
fn is_configuration(place: &Path, project: &Path) -> bool {
    let mut files = CONFIGURATION.iter().map(|name| project.join(name));
    let mut folders = FOLDERS.iter().map(|name| project.join(name));
    files.any(|file| place_of(&file).is_some_and(|file| file == place))
        || folders.any(|folder| is_in(place, &folder))
}

/// The file that a path leads to, whether or not it is there; `None` where its folder is not.
fn place_of(file: &Path) -> Option<PathBuf> {
    if let Ok(place) = fs::canonicalize(file) {
        return Some(place);
    }
    let end = end_of_links(file).ok()?;
    let folder = fs::canonicalize(folder_of(&end)).ok()?;
    Some(folder.join(end.file_name()?))
}

/// True if a place is the folder, or in it.
fn is_in(place: &Path, folder: &Path) -> bool {
    let Ok(folder) = fs::canonicalize(folder) else {
        return false;
    };
    let mut above = place.ancestors();
    above.any(|above| above == folder || is_same(above, &folder))
}

/// True if two paths are one folder, which may be mounted in two places.
#[cfg(unix)]
fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    let one = identity(one);
    one.is_some() && one == identity(other)
}

#[cfg(not(unix))]
fn is_same(_: &Path, _: &Path) -> bool {
    false
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tillhouse_model::ErrorKind;

    #[test]
    fn no_path_into_the_warehouse_or_the_configuration_is_taken_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for made in [
            "project/pipelines/hecone",
            "project/reports",
            "store/ops/runs",
            "elsewhere",
            "other/pipelines/pace",
            "other/schemas/unified",
            "other/reports",
            "copy of a store/ops/format",
            "copy of a store/pace/orders",
        ] {
            fs::create_dir_all(at(made)).unwrap();
        }
        for written in [
            "store/ops/runs/part.parquet",
            "settings.yaml",
            "other/tillhouse.yaml",
            "copy of a store/ops/format/format.json",
        ] {
            fs::write(at(written), "x").unwrap();
        }
        for (target, link) in [
            ("../store", "project/warehouse"),
            ("../settings.yaml", "project/tillhouse.yaml"),
            ("../store/ops", "elsewhere/ops"),
            ("../store/ops/new.csv", "elsewhere/new.csv"),
            ("../store/ops/runs/part.parquet", "elsewhere/there.parquet"),
            ("nowhere/x.csv", "elsewhere/nowhere.csv"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        let protected = ProtectedFiles::new(at("project"), Some(at("project/warehouse")));
        for (file, why) in [
            ("store/x.csv", "into the warehouse"),
            ("store", "into the warehouse"),
            ("project/warehouse/x.csv", "into the warehouse"),
            ("project/reports/../warehouse/x.csv", "into the warehouse"),
            ("elsewhere/ops/x.csv", "into the warehouse"),
            ("elsewhere/ops/runs/part.parquet", "into the warehouse"),
            ("elsewhere/ops/../x.csv", "into the warehouse"),
            ("elsewhere/new.csv", "into the warehouse"),
            ("elsewhere/there.parquet", "into the warehouse"),
            ("settings.yaml", "over the project's configuration"),
            ("project/tillhouse.yaml", "over the project's configuration"),
            ("project/.env", "over the project's configuration"),
            ("project/users.yaml", "over the project's configuration"),
            ("project/.gitignore", "over the project's configuration"),
            (
                "project/pipelines/hecone/pipeline.yaml",
                "over the project's configuration",
            ),
            ("other/tillhouse.yaml", "over the project's configuration"),
            ("other/.env", "over the project's configuration"),
            ("other/.gitignore", "over the project's configuration"),
            ("other/users.yaml", "over the project's configuration"),
            (
                "other/pipelines/pace/pipeline.yaml",
                "over the project's configuration",
            ),
            (
                "elsewhere/../other/schemas/unified/sites.yaml",
                "over the project's configuration",
            ),
            ("copy of a store/x.csv", "into the warehouse"),
            (
                "copy of a store/pace/orders/part.parquet",
                "into the warehouse",
            ),
        ] {
            let error = protected.check("the output", &at(file)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{file}");
            let text = error.to_string();
            assert!(text.contains(why) && text.contains(file), "{file}: {text}");
            assert!(error.hint_text().is_some());
        }
        for file in [
            "x.csv",
            "project/x.csv",
            "project/reports/x.csv",
            "project/reports/tillhouse.yaml",
            "other/x.csv",
            "other/reports/.env",
            "elsewhere/.gitignore",
            "elsewhere/x.csv",
            "elsewhere/nowhere.csv",
            "no/where.csv",
            "storehouse.csv",
        ] {
            protected.check("the output", &at(file)).unwrap();
        }
        for device in ["/dev/null", "/dev/stdout"] {
            protected.check("the output", Path::new(device)).unwrap();
        }
        let in_a_bucket = ProtectedFiles::new(at("project"), None);
        in_a_bucket.check("the output", &at("store/x.csv")).unwrap();
    }
}
