//! Crate dependencies: which crate may use which, and what the innermost ones must not know.
//!
//! Invariant: an edge that is not in [`PLAN`] fails. The plan changes on purpose, here, with a reason in the commit.

use crate::source_files;
use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;

/// Allowed dependencies. The prefix `tillhouse-` is left out; the package `tillhouse` is `cli`. A member that is not named here is a source.
const PLAN: [(&str, &[&str]); 11] = [
    ("model", &[]),
    ("extract", &["model"]),
    ("decode", &["model"]),
    ("lake", &["parquet-columns", "model"]),
    ("parquet-columns", &[]),
    ("emulator", &["model"]),
    ("sandbox", &["emulator", "model"]),
    ("query", &["lake", "model"]),
    ("statistics", &["query", "lake", "model"]),
    ("serve", &["statistics", "query", "model"]),
    (
        "pipeline",
        &["extract", "decode", "lake", "query", "statistics", "model"],
    ),
];

/// Allowed dependencies in tests, or under the feature `testing`: the conformance suite's own tests need an emulated API, and the statistics' tests the oracle.
const FOR_TESTS: [(&str, &str); 2] = [("extract", "emulator"), ("statistics", "sandbox")];

/// Crates that a source may use; its tests may use the sandbox too, and nothing else reaches
/// across.
const SOURCE: &[&str] = &["extract", "model"];

/// The top crates: each knows every crate, and no crate knows it.
const TOP: [&str; 2] = ["cli", "tests"];

/// The crate without code that gives dependencies one set of features: every member names it, and it says nothing of the plan.
const FEATURES: &str = "tillhouse-workspace-hack";

/// True if the crate `name` may use the crate `used`; `for_tests` where only its tests do, or its
/// feature `testing`.
fn may_use(name: &str, used: &str, for_tests: bool) -> bool {
    if TOP.contains(&name) {
        return !TOP.contains(&used);
    }
    if FOR_TESTS.contains(&(name, used)) {
        return for_tests;
    }
    match PLAN.iter().find(|(planned, _)| *planned == name) {
        Some((_, allowed)) => allowed.contains(&used),
        None => SOURCE.contains(&used) || (for_tests && used == "sandbox"),
    }
}

/// A package's name in the plan, where it is one of ours.
fn crate_name(package: &str) -> Option<&str> {
    match package {
        "tillhouse" => Some("cli"),
        other => other.strip_prefix("tillhouse-"),
    }
}

/// The workspace as cargo sees it for this machine, from the lock file, without the network.
fn metadata() -> Metadata {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(rustc)
        .arg("-vV")
        .output()
        .expect("rustc is there where cargo test runs");
    let version = String::from_utf8(output.stdout).expect("rustc writes UTF-8");
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc -vV names its host");
    MetadataCommand::new()
        .manifest_path(source_files::root().join("Cargo.toml"))
        .other_options(["--offline", "--locked", "--filter-platform", host].map(String::from))
        .exec()
        .expect("cargo metadata works on the tree that was just built")
}

fn members(metadata: &Metadata) -> Vec<&Package> {
    metadata.workspace_packages()
}

/// The one feature that turns an optional dependency on; none where there are several, or it is not optional.
fn turned_on_by<'p>(package: &'p Package, dependency: &Dependency) -> Option<&'p str> {
    let name = &dependency.name;
    let turns_on = |item: &String| {
        let of = item.strip_prefix("dep:").unwrap_or(item);
        of == name || of.starts_with(&format!("{name}/")) || of.starts_with(&format!("{name}?/"))
    };
    let mut by = package
        .features
        .iter()
        .filter(|(_, items)| items.iter().any(turns_on))
        .map(|(feature, _)| feature);
    let first = by.next().filter(|_| dependency.optional)?;
    by.next().is_none().then_some(first.as_str())
}

#[test]
fn crates_use_only_what_the_plan_allows() {
    let metadata = metadata();
    let mut broken = Vec::new();
    for package in members(&metadata) {
        for dependency in &package.dependencies {
            if dependency.path.is_none() || dependency.name == FEATURES {
                continue;
            }
            let for_tests = dependency.kind == DependencyKind::Development
                || turned_on_by(package, dependency) == Some("testing");
            let allowed = crate_name(&package.name)
                .zip(crate_name(&dependency.name))
                .is_some_and(|(name, used)| may_use(name, used, for_tests));
            if !allowed {
                broken.push(format!(
                    "{} -> {} ({})",
                    package.name, dependency.name, dependency.kind
                ));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "edges that are not in the plan:\n  {}",
        broken.join("\n  ")
    );
}

#[test]
fn the_sandbox_is_a_feature_of_the_binary() {
    let metadata = metadata();
    let binary = members(&metadata)
        .into_iter()
        .find(|p| p.name.as_str() == "tillhouse")
        .expect("the binary");
    let sandbox = binary
        .dependencies
        .iter()
        .find(|d| d.name == "tillhouse-sandbox")
        .expect("it has a sandbox");
    assert_eq!(turned_on_by(binary, sandbox), Some("sandbox"));
    assert_eq!(binary.features["default"], ["sandbox"]);
    let else_used = binary
        .dependencies
        .iter()
        .any(|d| d.name == "tillhouse-emulator");
    assert!(!else_used, "the emulator comes with the sandbox alone");
}

/// Cargo compiles a dependency once for every set of features. What a crate needs only for its tests is a plain dependency of another
/// member, mostly of these tests, so that building the workspace and testing it want the same features, and `make test` compiles no
/// dependency that `make demo` has compiled.
#[test]
fn demo_and_tests_share_one_compile() {
    let metadata = metadata();
    let members = members(&metadata);
    let named: BTreeSet<&str> = members
        .iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.kind == DependencyKind::Normal)
        .map(|dependency| dependency.name.as_str())
        .collect();
    let mut missing = BTreeSet::new();
    for package in &members {
        for dependency in &package.dependencies {
            let foreign =
                dependency.path.is_none() && dependency.kind == DependencyKind::Development;
            if foreign && !named.contains(dependency.name.as_str()) {
                missing.insert(format!("{} (for {})", dependency.name, package.name));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "tests/Cargo.toml has to name: {missing:?}"
    );
}

#[test]
fn every_member_takes_the_one_set_of_features() {
    let metadata = metadata();
    let without: Vec<&str> = members(&metadata)
        .into_iter()
        .filter(|member| member.name.as_str() != FEATURES)
        .filter(|member| !member.dependencies.iter().any(|d| d.name == FEATURES))
        .map(|member| member.name.as_str())
        .collect();
    assert!(
        without.is_empty(),
        "`cargo hakari manage-deps` adds {FEATURES} to: {without:?}"
    );
}

#[test]
fn only_the_lake_names_the_delta_crate() {
    let metadata = metadata();
    let names_delta = |package: &&Package| {
        package
            .dependencies
            .iter()
            .any(|d| d.name.starts_with("deltalake") || d.name.contains("_kernel"))
    };
    let who: BTreeSet<&str> = members(&metadata)
        .into_iter()
        .filter(names_delta)
        .filter_map(|package| crate_name(&package.name))
        .collect();
    assert!(who.contains("lake"), "the lake stands on the Delta crate");
    // The tests build tables of a stranger's making to read them back.
    assert!(
        who.iter().all(|name| ["lake", "tests"].contains(name)),
        "only `lake` may name the Delta crate: {who:?}"
    );
}

/// The encoder of column chunks names only crates on a list. The Parquet library brings a runtime
/// and stores for the lake's sake, so the names say it, not what they reach.
#[test]
fn the_encoder_knows_columns_and_nothing_of_tables() {
    let metadata = metadata();
    let members = members(&metadata);
    let encoder = members
        .iter()
        .find(|package| crate_name(&package.name) == Some("parquet-columns"));
    let encoder = encoder.expect("a member of the workspace");
    let named: BTreeSet<&str> = encoder
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind == DependencyKind::Normal)
        .map(|dependency| dependency.name.as_str())
        .filter(|name| *name != FEATURES)
        .collect();
    let allowed = BTreeSet::from([
        "arrow",
        "bytes",
        "foldhash",
        "hashbrown",
        "parquet",
        "thiserror",
        "zstd",
    ]);
    assert!(
        named.contains("parquet"),
        "the encoder stands on the Parquet library"
    );
    let other: Vec<_> = named.difference(&allowed).collect();
    assert!(
        other.is_empty(),
        "no Delta, no runtime, no store, no domain: {other:?}"
    );
}

#[test]
fn model_and_decode_reach_no_network_and_no_runtime() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    for start in ["tillhouse-model", "tillhouse-decode"] {
        let package = members(&metadata)
            .into_iter()
            .find(|p| p.name.as_str() == start)
            .expect("a member of the workspace");
        let mut reached = BTreeMap::from([(&package.id, vec![package.name.to_string()])]);
        let mut queue = VecDeque::from([&package.id]);
        while let Some(id) = queue.pop_front() {
            let way = reached[id].clone();
            for dependency in &nodes[id].deps {
                // What only a build script or a macro uses is not in the crate.
                let linked = dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal);
                let features = metadata[&dependency.pkg].name.as_str() == FEATURES;
                if linked && !features && !reached.contains_key(&dependency.pkg) {
                    let mut way = way.clone();
                    way.push(metadata[&dependency.pkg].name.to_string());
                    reached.insert(&dependency.pkg, way);
                    queue.push_back(&dependency.pkg);
                }
            }
        }
        assert!(
            reached.len() > 5,
            "{start} reaches only {} packages: the graph was not read",
            reached.len()
        );
        let broken: Vec<String> = reached
            .values()
            .filter(|way| {
                let last = way.last().map(String::as_str).unwrap_or_default();
                [
                    "tokio",
                    "reqwest",
                    "hyper",
                    "object_store",
                    "datafusion",
                    "deltalake",
                    "axum",
                ]
                .contains(&last)
            })
            .map(|way| way.join(" -> "))
            .collect();
        assert!(
            broken.is_empty(),
            "{start} is a value or a pure function, and nothing more:\n  {}",
            broken.join("\n  ")
        );
    }
}

/// A file's code without its unit tests, which stand at the end or in a file of their own.
fn code(path: &std::path::Path) -> String {
    let text = source_files::text(path);
    if path.file_name().is_some_and(|name| name == "tests.rs")
        || source_files::name(path).contains("/tests/")
    {
        return String::new();
    }
    text.split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .to_string()
}

/// Places of the words in the code, comments left out.
fn places(folder: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in source_files::files(folder, "rs") {
        for (number, line) in code(&path).lines().enumerate() {
            if !line.trim_start().starts_with("//") && words.iter().any(|word| line.contains(word))
            {
                found.push(format!(
                    "{}:{}: {}",
                    source_files::name(&path),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    found
}

#[test]
fn model_and_decode_have_no_clock() {
    let clocks = [
        "Timestamp::now",
        "Zoned::now",
        "SystemTime::now",
        "Instant::now",
        "Utc::now",
        "Local::now",
    ];
    let mut found = places("crates/model/src", &clocks);
    found.extend(places("crates/decode/src", &clocks));
    assert!(
        found.is_empty(),
        "the same input gives the same output, at any time:\n  {}",
        found.join("\n  ")
    );
}

#[test]
fn only_query_builds_a_session() {
    let sessions = [
        "SessionContext::new",
        "SessionStateBuilder::new",
        "SessionContext::default",
        "DeltaSessionContext",
    ];
    let metadata = metadata();
    let mut found = Vec::new();
    for name in members(&metadata)
        .iter()
        .filter_map(|package| crate_name(&package.name))
    {
        if name != "query" && name != "tests" {
            // A crate's tests may query what it wrote.
            let all = places(&format!("crates/{name}/src"), &sessions);
            let is_of_tests =
                |place: &String| place.contains("_tests.rs") || place.contains("/faulty_store.rs");
            found.extend(all.into_iter().filter(|place| !is_of_tests(place)));
        }
    }
    assert!(
        found.is_empty(),
        "memory limits and functions are set in one place, `query`:\n  {}",
        found.join("\n  ")
    );
}
