//! The style rules, as far as a machine can check them.
//!
//! Invariant: every rule names all the places that break it, not only the first.

use crate::{program, source_files};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Most lines of a file, tests included.
const LONGEST: usize = 1_000;

/// Names that say nothing of what is inside, so that everything ends up there.
const NO_ROOMS: [&str; 12] = [
    "common", "helper", "helpers", "manager", "managers", "misc", "shared", "stuff", "type",
    "types", "util", "utils",
];

/// The documents at the top of the repository.
const DOCUMENTS: [&str; 4] = [
    "README.md",
    "CHANGELOG.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
];

fn sources() -> Vec<PathBuf> {
    let mut files = source_files::files("crates", "rs");
    files.extend(source_files::files("tests", "rs"));
    assert!(
        files.len() > 20,
        "only {} source files were found: the test looks in the wrong place",
        files.len()
    );
    files
}

fn assert_none(broken: Vec<String>, rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn every_file_opens_with_its_purpose() {
    let broken = sources()
        .iter()
        .filter(|path| {
            let text = source_files::text(path);
            let first = text.lines().next().unwrap_or_default();
            first
                .strip_prefix("//! ")
                .is_none_or(|purpose| purpose.trim().is_empty())
        })
        .map(|path| source_files::name(path))
        .collect();
    assert_none(
        broken,
        "line 1 of a source file is `//!` and says what the file is for",
    );
}

#[test]
fn no_file_is_too_long() {
    let broken = sources()
        .iter()
        .map(|path| {
            (
                source_files::name(path),
                source_files::text(path).lines().count(),
            )
        })
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert_none(
        broken,
        "a source file has at most 1,000 lines; split it by subject",
    );
}

#[test]
fn no_room_has_an_empty_name() {
    let is_bad = |part: &Path| {
        let stem = part
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        NO_ROOMS.contains(&stem.as_str())
    };
    let broken = sources()
        .iter()
        .filter(|path| {
            Path::new(&source_files::name(path))
                .components()
                .any(|part| is_bad(Path::new(part.as_os_str())))
        })
        .map(|path| source_files::name(path))
        .collect();
    assert_none(broken, "a module is named for what it holds");
}

#[test]
fn nothing_is_left_to_do() {
    // Put together here, so that this file does not hold the words itself.
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["X", "XX"].concat(),
    ];
    let mut broken = Vec::new();
    for path in sources() {
        for (number, line) in source_files::text(&path).lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
            if words.any(|word| marks.iter().any(|mark| mark == word)) {
                broken.push(format!("{}:{}", source_files::name(&path), number + 1));
            }
        }
    }
    assert_none(
        broken,
        "what is not done is said in the docs as absent, not left as a mark in the code",
    );
}

/// The name of a type that a line of source defines, where it is one that others see: `pub struct Name`.
fn public_type(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ")?;
    let rest = ["struct ", "enum ", "trait ", "union ", "type "]
        .iter()
        .find_map(|kind| rest.strip_prefix(kind))?;
    rest.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .next()
}

#[test]
fn no_two_public_types_share_a_name() {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in source_files::files("crates", "rs")
        .iter()
        .filter(|path| source_files::name(path).contains("/src/"))
    {
        for line in source_files::text(path).lines() {
            if let Some(name) = public_type(line) {
                // Alternatives of one name, by feature, stand in one file.
                places
                    .entry(name.to_owned())
                    .or_default()
                    .insert(source_files::name(path));
            }
        }
    }
    assert!(
        places.len() > 100,
        "only {} public types were found",
        places.len()
    );
    let broken = places.into_iter().filter(|(_, files)| files.len() > 1);
    assert_none(
        broken
            .map(|(name, files)| {
                format!(
                    "{name}: {}",
                    files.into_iter().collect::<Vec<_>>().join(", ")
                )
            })
            .collect(),
        "a name means one type in the whole workspace",
    );
}

#[tokio::test]
async fn the_commands_that_texts_name_exist() {
    let help = program::run(program::command(["--help"])).await;
    let help = String::from_utf8(help.stdout).expect("help is UTF-8");
    let section = help
        .split("Commands:")
        .nth(1)
        .and_then(|rest| rest.split("\n\n").next())
        .expect("help lists the commands");
    let commands: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains("sync"), "{commands:?}");

    let mut files: Vec<PathBuf> = ["crates", "docs", "pipelines", "schemas", "tests"]
        .iter()
        .flat_map(|folder| {
            ["rs", "md", "yaml", "sql"].map(|extension| source_files::files(folder, extension))
        })
        .flatten()
        .collect();
    files.extend(DOCUMENTS.map(|name| source_files::root().join(name)));
    let (mut named, mut broken) = (0, Vec::new());
    for path in files {
        let text = source_files::text(&path);
        for rest in text.split("`tillhouse ").skip(1) {
            let word = rest
                .split(|c: char| !(c.is_ascii_lowercase() || c == '-'))
                .next()
                .unwrap_or_default();
            if word.is_empty() || word.starts_with('-') {
                continue;
            }
            named += 1;
            if !commands.contains(word) {
                broken.push(format!("{}: `tillhouse {word}`", source_files::name(&path)));
            }
        }
    }
    assert!(named > 50, "only {named} commands were found in texts");
    assert_none(broken, "a text names a command that is there");
}

#[test]
fn versions_and_lints_stand_once_in_the_root() {
    let mut manifests = source_files::files("crates", "toml");
    manifests.push(source_files::root().join("tests/Cargo.toml"));
    manifests.retain(|path| path.file_name().is_some_and(|name| name == "Cargo.toml"));
    // Written by `cargo hakari`, which knows the versions itself.
    manifests.retain(|path| !source_files::name(path).starts_with("crates/workspace-hack/"));
    assert!(
        manifests.len() > 5,
        "only {} manifests were found",
        manifests.len()
    );

    let mut broken = Vec::new();
    for path in manifests {
        let text = source_files::text(&path);
        let mut section = "";
        let mut lints = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with('[') {
                section = line;
                if section.contains("dependencies.") {
                    broken.push(format!(
                        "{}:{}: write it as one line",
                        source_files::name(&path),
                        number + 1
                    ));
                }
                continue;
            }
            let inherits = line.replace(' ', "").contains("workspace=true");
            lints |= section == "[lints]" && inherits;
            if section.ends_with("dependencies]") && !inherits {
                broken.push(format!(
                    "{}:{}: {line}",
                    source_files::name(&path),
                    number + 1
                ));
            }
        }
        if !lints {
            broken.push(format!(
                "{}: no [lints] workspace = true",
                source_files::name(&path)
            ));
        }
    }
    assert_none(
        broken,
        "every version and every lint stands in the root Cargo.toml, and members inherit it",
    );
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = source_files::files("docs", "md");
    documents.extend(DOCUMENTS.map(|name| source_files::root().join(name)));
    let mut broken = Vec::new();
    let mut seen = 0;
    for path in documents {
        for rest in source_files::text(&path).split("](").skip(1) {
            let link = rest.split([')', '#']).next().unwrap_or_default();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            seen += 1;
            if !path.with_file_name(link).exists() {
                broken.push(format!("{} -> {link}", source_files::name(&path)));
            }
        }
    }
    assert!(
        seen > 3,
        "only {seen} links were found: the test does not see them"
    );
    assert_none(broken, "a link in a document leads to a file");
}

#[test]
fn the_readme_lists_every_document_once() {
    let readme = source_files::text(&source_files::root().join("README.md"));
    let (_, list) = readme.split_once("\n## Documentation\n").unwrap();
    let mut broken = Vec::new();
    for path in source_files::files("docs", "md") {
        let name = source_files::name(&path);
        let listed = list.matches(&format!("\n- [{name}]({name})")).count();
        if listed != 1 {
            broken.push(format!("{name} is listed {listed} times"));
        }
    }
    assert_none(
        broken,
        "the README's list of documents has each of docs/ once",
    );
}

#[test]
fn the_paths_that_documents_name_are_there() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = source_files::text(&source_files::root().join(document));
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = ["crates/", "tests/", "pipelines/", "schemas/", "bench/"]
                .iter()
                .any(|folder| name.starts_with(folder));
            if !is_path || name.contains('*') {
                continue;
            }
            seen += 1;
            if !source_files::root().join(name).exists() {
                broken.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(seen > 20, "only {seen} paths were found");
    assert_none(broken, "a path that a document names leads somewhere");
}

#[test]
fn the_tests_that_documents_name_are_there() {
    let sources: Vec<PathBuf> = [
        source_files::files("crates", "rs"),
        source_files::files("tests", "rs"),
    ]
    .concat();
    let all: String = sources
        .iter()
        .map(|path| source_files::text(path))
        .collect();
    let mut named = 0;
    let mut missing = Vec::new();
    for line in source_files::text(&source_files::root().join("docs/security.md"))
        .lines()
        .filter(|line| line.starts_with('|'))
    {
        let held_by = line
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or_default();
        let names = held_by
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.matches('_').count() >= 2);
        for name in names {
            named += 1;
            if !all.contains(&format!("fn {name}(")) {
                missing.push(name.to_owned());
            }
        }
    }
    assert!(named > 30, "only {named} tests were found in the tables");
    assert_none(missing, "docs/security.md names tests that are not there");
}
