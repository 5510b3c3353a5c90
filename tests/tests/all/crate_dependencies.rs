//! Crate dependencies: which crate may use which, and what the innermost ones must not know.
//!
//! Invariant: an edge that is not in [`PLAN`] fails. The plan changes on purpose, here, with a reason in the commit.

use crate::source_files;
use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;

/// Allowed dependencies. The prefix `tillhouse-` is left out; the package `tillhouse` is `cli`. A member that is not named here is a source.
const PLAN: [(&str, &[&str]); 13] = [
    ("model", &[]),
    ("extract", &["model"]),
    ("decode", &["model"]),
    ("lake", &["parquet-columns", "model"]),
    ("parquet-columns", &[]),
    ("emulator", &["model"]),
    ("sandbox", &["emulator", "model"]),
    ("query", &["lake", "model"]),
    ("statistics", &["query", "lake", "model"]),
    ("page", &["statistics", "model"]),
    ("workers", &["statistics", "query", "lake", "model"]),
    ("serve", &["page", "statistics", "query", "lake", "model"]),
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
    assert_eq!(
        binary.features["default"],
        ["cloud", "sandbox", "serve", "workers"]
    );
    let else_used = binary
        .dependencies
        .iter()
        .any(|d| d.name == "tillhouse-emulator");
    assert!(!else_used, "the emulator comes with the sandbox alone");
}

#[test]
fn server_and_workers_are_features_of_the_binary() {
    let metadata = metadata();
    let members = members(&metadata);
    let binary = members.iter().find(|p| p.name.as_str() == "tillhouse");
    let binary = binary.expect("the binary");
    for feature in ["serve", "workers"] {
        let dependency = binary
            .dependencies
            .iter()
            .find(|d| d.name == format!("tillhouse-{feature}"))
            .unwrap_or_else(|| panic!("the binary has no {feature}"));
        assert_eq!(turned_on_by(binary, dependency), Some(feature));
    }
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
                // A name that only a build script or a macro uses is not in the crate.
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

/// Circles of modules that are left, by crate: what cannot be understood apart. No module that is not named here may join one.
const CIRCLES: [(&str, &[&str]); 13] = [
    // A source's connection hands out the readers of its resources, which hold it.
    ("bemo", &["connection", "sessions"]),
    ("hecone", &["connection", "transactions"]),
    ("pace", &["connection", "transactions"]),
    ("smartnow", &["connection", "connection_check", "source"]),
    // A format is an argument, and prints what arguments name; the prompt runs the commands that open it; progress is drawn around logs.
    ("cli", &["args", "output"]),
    ("cli", &["commands", "prompt"]),
    ("cli", &["logging", "progress"]),
    // Records nest in values.
    ("decode", &["record", "scalar"]),
    // A server is steered by what it serves.
    ("emulator", &["control", "server"]),
    // The kit's client pages, and a page is asked for by it.
    ("extract", &["body", "http", "paging", "source", "throttle"]),
    // A failure says what was spilled; a session is one of its engine's.
    ("query", &["failure", "spill"]),
    ("query", &["engine", "session"]),
    // A request is routed by what it asks, and says where it was answered from.
    ("statistics", &["request", "rollup"]),
];

/// Imports between the modules at a crate's top, by the module that imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The names that follow a path's start, as `crate::`, in code; of a group in braces each one's first.
fn names_after(start: &str, code: &str) -> Vec<String> {
    fn name(text: &str) -> &str {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        &text[..end.unwrap_or(text.len())]
    }
    let mut names = Vec::new();
    for (at, _) in code.match_indices(start) {
        let rest = &code[at + start.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(name(rest).to_string());
            continue;
        };
        let (mut depth, mut is_next) = (0, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => is_next = true,
                c if is_next && !c.is_whitespace() => {
                    names.push(name(&group[at..]).to_string());
                    is_next = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// Code without the lines that are comments.
fn uncommented(code: &str) -> String {
    let lines = code.lines();
    lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Imports between the modules at the top of a crate. A name that the crate's root re-exports counts for the module that it is from; tests are
/// left out.
fn imports(krate: &str) -> Imports {
    let folder = format!("crates/{krate}/src/");
    let (mut root, mut of_modules) = (String::new(), BTreeMap::<String, String>::new());
    for path in source_files::files(&folder, "rs") {
        let name = source_files::name(&path);
        let name = name.strip_prefix(&folder).unwrap_or(&name).to_string();
        if ["lib.rs", "main.rs"].contains(&name.as_str()) {
            root += &uncommented(&source_files::text(&path));
        } else if !name.ends_with("_tests.rs") {
            let top = name.split('/').next().unwrap_or(&name);
            let mut code = uncommented(&code(&path));
            if [format!("{top}/mod.rs"), top.to_string()].contains(&name) {
                // From here the parent is the root.
                code = code.replace("use super::", "use crate::");
            }
            let module = top.strip_suffix(".rs").unwrap_or(top).to_string();
            *of_modules.entry(module).or_default() += &code;
        }
    }
    for (test, _) in root.match_indices("#[cfg(test)]\nmod ") {
        let name = root[test..].lines().nth(1).unwrap_or_default();
        of_modules.remove(name.trim_start_matches("mod ").trim_end_matches(';'));
    }
    let mut from = BTreeMap::new();
    for statement in root.split("use ").skip(1) {
        let statement = statement.split(';').next().unwrap_or_default();
        let words = statement.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mut words = words.filter(|word| !word.is_empty() && *word != "crate");
        if let Some(module) = words.next().filter(|word| of_modules.contains_key(*word)) {
            from.extend(words.map(|word| (word, module)));
        }
    }
    let mut imports = Imports::new();
    for (module, code) in &of_modules {
        let named = names_after("crate::", code);
        let named = named.iter().map(|name| match from.get(name.as_str()) {
            Some(home) if !of_modules.contains_key(name) => *home,
            _ => name.as_str(),
        });
        let others =
            named.filter(|name| *name != module.as_str() && of_modules.contains_key(*name));
        imports.insert(module.clone(), others.map(str::to_string).collect());
    }
    imports
}

/// Sets of modules that import each other, directly or by way of others of the set.
fn circles(imports: &Imports) -> BTreeSet<BTreeSet<&str>> {
    let reached = |start: &str| {
        let (mut reached, mut queue) = (BTreeSet::new(), vec![start.to_string()]);
        while let Some(module) = queue.pop() {
            for next in imports.get(&module).into_iter().flatten() {
                if reached.insert(next.as_str()) {
                    queue.push(next.clone());
                }
            }
        }
        reached
    };
    let all: BTreeMap<&str, BTreeSet<&str>> = imports
        .keys()
        .map(|module| (module.as_str(), reached(module)))
        .collect();
    let circle = |module: &&str| -> BTreeSet<&str> {
        let others = all[module].iter().copied();
        others
            .filter(|other| all.get(other).is_some_and(|back| back.contains(module)))
            .collect()
    };
    let circles: BTreeSet<BTreeSet<&str>> = all.keys().map(circle).collect();
    circles
        .into_iter()
        .filter(|circle| circle.len() > 1)
        .collect()
}

#[test]
fn modules_import_in_one_direction() {
    let metadata = metadata();
    let mut found = Vec::new();
    for name in members(&metadata)
        .iter()
        .filter_map(|package| crate_name(&package.name))
    {
        let imports = imports(name);
        for circle in circles(&imports) {
            let is_known = CIRCLES.iter().any(|(krate, modules)| {
                *krate == name && circle.iter().all(|module| modules.contains(module))
            });
            if !is_known {
                found.push(format!("{name}: {circle:?}"));
            }
        }
    }
    assert!(
        found.is_empty(),
        "modules that import each other; move what both need beneath them:\n  {}",
        found.join("\n  ")
    );
}

/// The rooms of the lake, the lowest first: each imports only from those before it.
const ROOMS: [&str; 15] = [
    "month",
    "ranges",
    "typed_rows",
    "store",
    "log",
    "scan",
    "pinned_table",
    "table_provider",
    "file",
    "source",
    "unified",
    "range_table",
    "ops",
    "warehouse",
    "maintenance",
];

/// Words of what the lake stores and does not know.
const UNKNOWN_TO_THE_LAKE: [&str; 6] = [
    "transaction_key",
    "Currency",
    "hour",
    "Hour",
    "local_",
    "business_date",
];

#[test]
fn the_lake_knows_no_transaction_currency_or_hour() {
    let found = places("crates/lake/src", &UNKNOWN_TO_THE_LAKE);
    let found: Vec<_> = found
        .into_iter()
        .filter(|place| !place.contains("_tests.rs") && !place.contains("faulty_store.rs"))
        .collect();
    assert!(
        found.is_empty(),
        "a storage engine is told the names of columns:\n  {}",
        found.join("\n  ")
    );
}

#[test]
fn the_rooms_of_the_lake_lie_above_each_other() {
    let imports = imports("lake");
    let place = |room: &str| ROOMS.iter().position(|known| *known == room);
    for (room, others) in &imports {
        let own = place(room).unwrap_or_else(|| panic!("the plan of the lake has no room {room}"));
        for other in others {
            assert!(
                place(other).is_some_and(|other| other < own),
                "`{room}` lies beneath `{other}` and may not import from it"
            );
        }
    }
    assert!(
        imports["warehouse"].contains("log"),
        "the imports were not read"
    );
}

#[test]
fn a_circle_is_found_whatever_way_it_takes() {
    let imports: Imports = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]
        .map(|(from, to)| (from.to_string(), BTreeSet::from([to.to_string()])))
        .into();
    assert_eq!(
        circles(&imports),
        BTreeSet::from([BTreeSet::from(["a", "b", "c"])])
    );
    let code =
        "use crate::one::Two;\nuse crate::{three::{self, Four}, five};\nlet six = crate::seven();";
    assert_eq!(
        names_after("crate::", code),
        ["one", "three", "five", "seven"]
    );
}
