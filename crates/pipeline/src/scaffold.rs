//! Files that `init` and `eject` write.
//!
//! Invariant: no file that exists is ever changed; a secret is written to `.env` only, which `.gitignore` keeps out of git.

use crate::assets;
use crate::config::{PROJECT_FILE, SourceEntry};
use crate::text_file;
use crate::yaml::YamlFile;
use std::io::Write;
use std::path::{Path, PathBuf};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, Secret};

const PROJECT: &str = "\
# A Tillhouse project. Values like ${NAME} come from the environment or the .env file beside this one.
warehouse:
  url: ./warehouse        # a folder, or s3://bucket/path, az://container/path, gs://bucket/path (docs/storage.md)
memory_limit: 512MiB      # for queries; what does not fit is spilled to disk
privacy_key: ${TILLHOUSE_PRIVACY_KEY}
";

const GITIGNORE: &str = "# Secrets and data stay out of git.\n.env\nusers.yaml\nwarehouse/\n";

const EXAMPLE: &str = ".env.example";

/// Outcome of `init`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitOutcome {
    /// The files written.
    pub written: Vec<PathBuf>,
    /// The variables that the named sources' pipelines read and a `.env.example` that was there before does not name.
    pub missing_variables: Vec<String>,
}

/// Makes a project, or adds pipelines to one: one for each source named, called like it.
///
/// Errors with [`ErrorKind::Config`] for an unknown source, and when nothing would be left to write.
pub fn init(
    dir: &Path,
    sources: &[String],
    registry: &[SourceEntry],
    privacy_key: &Secret,
) -> Result<InitOutcome> {
    let mut files: Vec<(PathBuf, String)> = vec![
        (PROJECT_FILE.into(), PROJECT.to_owned()),
        (".gitignore".into(), GITIGNORE.to_owned()),
        (
            ".env".into(),
            format!("TILLHOUSE_PRIVACY_KEY={}\n", privacy_key.expose()),
        ),
    ];
    let mut variables = String::from(
        "# Copy what you need to .env, or set it in the environment. The privacy key makes pseudonyms: 64 hexadecimal digits,\n\
         # made once and kept; with another key the same licence plate becomes another token.\nTILLHOUSE_PRIVACY_KEY=\n",
    );
    let mut wanted: Vec<String> = Vec::new();
    for name in sources {
        let entry = registry.iter().find(|e| e.name == name).ok_or_else(|| {
            let known: Vec<_> = registry.iter().map(|e| e.name).collect();
            Error::config(format!("there is no source {name:?}"))
                .hint(format!("Known sources: {}.", known.join(", ")))
        })?;
        let template = assets::pipeline_template(entry.name).ok_or_else(|| {
            Error::internal("a source comes without a pipeline.yaml").at("source", entry.name)
        })?;
        files.push((
            Path::new("pipelines")
                .join(entry.name)
                .join("pipeline.yaml"),
            template.to_owned(),
        ));
        variables.push('\n');
        for variable in YamlFile::of(
            format!("built-in:{}/pipeline.yaml", entry.name).into(),
            template.to_owned(),
        )
        .variables()?
        {
            variables.push_str(&variable);
            variables.push_str("=\n");
            if !wanted.contains(&variable) {
                wanted.push(variable);
            }
        }
    }
    files.push((EXAMPLE.into(), variables));
    let mut written = Vec::new();
    for (path, text) in files {
        if write_new(&dir.join(&path), &text, path == Path::new(".env"))? {
            written.push(path);
        }
    }
    if written.is_empty() {
        return Err(
            Error::config(format!("{} already has everything", dir.display()))
                .hint("Nothing was changed. To add a source's pipeline, name it with --source."),
        );
    }
    let example = text_file::read_regular(&dir.join(EXAMPLE)).unwrap_or_default();
    let is_named = |variable: &String| example.lines().any(|line| assigns(line, variable));
    let unnamed = wanted
        .into_iter()
        .filter(|variable| !is_named(variable))
        .collect();
    Ok(InitOutcome {
        written,
        missing_variables: unnamed,
    })
}

/// True if a line of an environment file gives a variable a value, if only in a comment.
fn assigns(line: &str, variable: &str) -> bool {
    let line = line
        .trim_start_matches(['#', ' '])
        .trim_start_matches("export ");
    line.split_once('=')
        .is_some_and(|(name, _)| name.trim() == variable)
}

/// Copies a pipeline's unify SQL and contracts into the project, so that they can be changed.
///
/// Returns the files written and those that were there already, which stay as they are.
pub fn eject(dir: &Path, pipeline: &str, source: &str) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for (path, text) in assets::ejectable(source, pipeline)? {
        if write_new(&dir.join(&path), &text, false)? {
            written.push(path);
        } else {
            kept.push(path);
        }
    }
    Ok((written, kept))
}

/// Writes a file that does not exist yet; `false` when it does.
fn write_new(path: &Path, text: &str, private: bool) -> Result<bool> {
    let failed = |e: std::io::Error| {
        Err::<bool, _>(e)
            .or_error(ErrorKind::Config, "cannot write a file of the project")
            .map_err(|e| e.at("file", path.display().to_string()))
    };
    if let Some(parent) = path.parent()
        && let Err(error) = std::fs::create_dir_all(parent)
    {
        return failed(error);
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = private;
    match options.open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => failed(e),
        Ok(mut file) => match file.write_all(text.as_bytes()) {
            Ok(()) => Ok(true),
            Err(e) => failed(e),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_named_by_its_whole_name() {
        for line in ["URL=", "URL = x", "# URL=", "export URL=1"] {
            assert!(assigns(line, "URL"), "{line}");
        }
        for line in ["URLS=", "MY_URL=", "URL", "# set URL", ""] {
            assert!(!assigns(line, "URL"), "{line}");
        }
    }
}
