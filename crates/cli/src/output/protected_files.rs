//! Files that no output is written over: those of the warehouse, and the project's configuration.
//!
//! Invariant: a file is told by the folder that it leads to, whatever it is called: through links, `..`, and a folder that is mounted in two places.

use super::output_file::{end_of_links, folder_of};
use std::fs;
use std::path::{Path, PathBuf};
use tillhouse_model::{Error, Result};

/// Configuration in a project's folder.
const CONFIGURATION: [&str; 3] = ["tillhouse.yaml", ".env", "users.yaml"];
/// The folder of a project's pipelines: settings, contracts, labels and unify SQL.
const PIPELINES: &str = "pipelines";

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

    /// Errors with [`ErrorKind::Config`](tillhouse_model::ErrorKind::Config) where `what` (`the output`) would be written into the warehouse or over the
    /// project's configuration. Of a path that leads nowhere, whoever opens it says so.
    pub(crate) fn check(&self, what: &str, file: &Path) -> Result<()> {
        let Some(place) = place_of(file) else {
            return Ok(());
        };
        let refused = |why: &str| {
            let error = Error::config(format!("{what} would be written {why}"));
            error.at("file", file.display().to_string())
        };
        if let Some(warehouse) = &self.warehouse
            && is_in(&place, warehouse)
        {
            return Err(refused("into the warehouse")
                .at("warehouse", warehouse.display().to_string())
                .hint("Name a file outside of the warehouse's folder: what is in there is Tillhouse's own, and would be lost."));
        }
        if self.is_configuration(&place) {
            return Err(refused("over the project's configuration")
                .at("project", self.project.display().to_string())
                .hint("Name another file: tillhouse.yaml, .env, users.yaml and what is in pipelines are the project's settings."));
        }
        Ok(())
    }

    fn is_configuration(&self, place: &Path) -> bool {
        let mut files = CONFIGURATION.iter().map(|name| self.project.join(name));
        files.any(|file| place_of(&file).is_some_and(|file| file == place))
            || is_in(place, &self.project.join(PIPELINES))
    }
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
        ] {
            fs::create_dir_all(at(made)).unwrap();
        }
        for written in ["store/ops/runs/part.parquet", "settings.yaml"] {
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
            (
                "project/pipelines/hecone/pipeline.yaml",
                "over the project's configuration",
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
