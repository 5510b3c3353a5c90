//! Script of views over one published run, for DuckDB.
//!
//! Invariant: every view reads the version of its table that the run names, and of a pipeline that is pinned there its own, so that what DuckDB
//! sees belongs together whatever a sync does meanwhile; no credential is in the script.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use tillhouse_lake::TableVersion;
use tillhouse_query::{DEFAULT_SCHEMA, ViewDefinition, quoted_name};

/// The published run that a script attaches.
pub(crate) struct AttachedRun<'a> {
    pub(crate) id: &'a str,
    /// The warehouse's URL.
    pub(crate) url: &'a str,
    /// Its folder, where it is one.
    pub(crate) folder: Option<PathBuf>,
    /// Versions of tables, by `schema/table`.
    pub(crate) tables: &'a BTreeMap<String, TableVersion>,
    /// Views of the default schema.
    pub(crate) views: &'a [ViewDefinition],
}

/// The script.
pub(crate) fn script(run: &AttachedRun<'_>) -> String {
    let mut out = format!(
        "-- Tillhouse's tables as run {} published them, for DuckDB 1.5 or newer:\n\
         --   tillhouse attach duckdb > tillhouse.sql; duckdb -init tillhouse.sql\n\
         -- Each view reads its table as the run names it, so they belong together. Run it again for a newer run; a version can be read for as\n\
         -- long as its run is kept (`retention` in tillhouse.yaml).\n\
         INSTALL delta;\nLOAD delta;\n{}",
        run.id,
        store(run.url)
    );
    let mut schema = "";
    for (path, version) in run.tables {
        let Some((of, table)) = path.split_once('/') else {
            continue;
        };
        // Writing to a String cannot fail.
        if of != schema {
            let _ = writeln!(out, "\nCREATE SCHEMA IF NOT EXISTS {};", quoted_name(of));
            schema = of;
        }
        let _ = writeln!(
            out,
            "CREATE OR REPLACE VIEW {}.{} AS {};",
            quoted_name(of),
            quoted_name(table),
            rows(&text(&place(run, path)), version)
        );
    }
    let _ = writeln!(out, "\nUSE {DEFAULT_SCHEMA};");
    for ViewDefinition { name, sql } in run.views {
        let _ = writeln!(
            out,
            "\nCREATE OR REPLACE VIEW {DEFAULT_SCHEMA}.{name} AS\n{sql};"
        );
    }
    out
}

/// Query of a table as a run names it. Columns are matched by name: a later version may have more of them.
fn rows(place: &str, named: &TableVersion) -> String {
    let scan = |version: u64| format!("SELECT * FROM delta_scan({place}, version = {version})");
    let mut query = scan(named.version);
    if named.pinned.is_empty() {
        return query;
    }
    let listed = |pipelines: &[&str]| {
        let pipelines: Vec<String> = pipelines.iter().map(|pipeline| text(pipeline)).collect();
        pipelines.join(", ")
    };
    let pinned: Vec<&str> = named.pinned.keys().map(String::as_str).collect();
    // Writing to a String cannot fail.
    let _ = write!(query, " WHERE pipeline NOT IN ({})", listed(&pinned));
    let mut versions: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (pipeline, version) in &named.pinned {
        if let Some(version) = version {
            versions.entry(*version).or_default().push(pipeline);
        }
    }
    for (version, pipelines) in versions {
        let (scan, pipelines) = (scan(version), listed(&pipelines));
        let _ = write!(
            query,
            " UNION ALL BY NAME {scan} WHERE pipeline IN ({pipelines})"
        );
    }
    query
}

/// Statements that DuckDB needs for the store, credentials left to its own means of finding them.
fn store(url: &str) -> &'static str {
    match url.split_once(':').map_or("", |(scheme, _)| scheme) {
        "s3" => {
            "INSTALL httpfs;\nLOAD httpfs;\n\
             -- Once, for a store that wants to know who asks; SHOW SECRETS lists what there is. A store of your own also takes ENDPOINT, URL_STYLE, USE_SSL.\n\
             -- CREATE PERSISTENT SECRET tills (TYPE s3, PROVIDER credential_chain, REGION 'eu-central-1');\n"
        }
        "az" | "abfss" => {
            "INSTALL azure;\nLOAD azure;\n\
             -- Once, for a store that wants to know who asks; SHOW SECRETS lists what there is.\n\
             -- CREATE PERSISTENT SECRET tills (TYPE azure, PROVIDER credential_chain, ACCOUNT_NAME 'tills');\n"
        }
        "gs" => {
            "INSTALL httpfs;\nLOAD httpfs;\n\
             -- Once, for a store that wants to know who asks; SHOW SECRETS lists what there is.\n\
             -- CREATE PERSISTENT SECRET tills (TYPE gcs, KEY_ID '...', SECRET '...');\n"
        }
        _ => "",
    }
}

/// A table's place: a folder as its path, anything else as a URL.
fn place(run: &AttachedRun<'_>, path: &str) -> String {
    match &run.folder {
        Some(folder) => folder.join(path).display().to_string(),
        None => format!("{}/{path}", run.url.trim_end_matches('/')),
    }
}

/// A text as SQL writes it.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(url: &str) -> String {
        let tables = BTreeMap::from([
            ("hecone/transactions".to_owned(), 3.into()),
            ("unified/sites".to_owned(), 4.into()),
            ("unified/transactions".to_owned(), 12.into()),
            ("vending-2/sales".to_owned(), 1.into()),
        ]);
        script(&AttachedRun {
            id: "20260131T060000Z-a1b2c3",
            url,
            folder: url.strip_prefix("file://").map(PathBuf::from),
            tables: &tables,
            views: &[ViewDefinition {
                name: "counted".to_owned(),
                sql: "SELECT 1".to_owned(),
            }],
        })
    }

    #[test]
    fn every_table_has_its_version_and_definitions_come_last() {
        let script = attached("file:///data/o'brien/warehouse/");
        for part in [
            "CREATE SCHEMA IF NOT EXISTS \"vending-2\";",
            "CREATE OR REPLACE VIEW unified.transactions AS SELECT * FROM delta_scan('/data/o''brien/warehouse/unified/transactions', version = 12);",
            "USE unified;\n\nCREATE OR REPLACE VIEW unified.counted AS\nSELECT 1;\n",
        ] {
            assert!(script.contains(part), "{part}\n{script}");
        }
        assert_eq!(script.matches("CREATE SCHEMA").count(), 3);
        assert!(script.ends_with("SELECT 1;\n"));
    }

    #[test]
    fn pinned_pipelines_come_from_versions_of_their_own() {
        let mut named = TableVersion::from(12);
        named.pinned.insert("o'brien".to_owned(), Some(7));
        named.pinned.insert("new".to_owned(), None);
        named.pinned.insert("pace".to_owned(), Some(7));
        assert_eq!(
            rows("'t'", &named),
            "SELECT * FROM delta_scan('t', version = 12) WHERE pipeline NOT IN ('new', 'o''brien', 'pace') \
             UNION ALL BY NAME SELECT * FROM delta_scan('t', version = 7) WHERE pipeline IN ('o''brien', 'pace')"
        );
    }

    #[test]
    fn a_store_brings_its_extension() {
        for (url, extension, place) in [
            (
                "s3://tills/wh/",
                "LOAD httpfs;",
                "'s3://tills/wh/unified/sites'",
            ),
            (
                "az://tills/wh/",
                "LOAD azure;",
                "'az://tills/wh/unified/sites'",
            ),
        ] {
            let script = attached(url);
            assert!(
                script.contains(extension) && script.contains(place),
                "{script}"
            );
        }
        assert!(!attached("file:///w/").contains("SECRET"));
    }
}
