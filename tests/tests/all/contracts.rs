//! Every data contract, as an independent tool and as Tillhouse understand it.
//!
//! Invariant: a contract that the standard's own tool refuses cannot be merged, and neither can one that we cannot parse.

use crate::{python, source_files};
use futures::stream::{self, StreamExt};
use std::path::Path;
use std::process::Output;
use tillhouse_model::contract;

/// Output of the tool, for a failure's message.
fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

async fn lint(path: &Path) -> Output {
    python::program("datacontract", ["lint".as_ref(), path.as_os_str()]).await
}

#[tokio::test]
async fn the_standards_tool_accepts_every_contract() {
    let contracts = source_files::files("schemas", "yaml");
    assert!(!contracts.is_empty(), "there are contracts under schemas/");
    let mut outcomes = stream::iter(&contracts)
        .map(async |path| (path, lint(path).await))
        .buffer_unordered(2);
    let mut refused = Vec::new();
    while let Some((path, output)) = outcomes.next().await {
        if !output.status.success() {
            refused.push(format!("{}:\n{}", source_files::name(path), said(&output)));
        }
    }
    assert!(
        refused.is_empty(),
        "`datacontract lint` refuses:\n{}",
        refused.join("\n")
    );
}

/// The standard knows no such type: a tool that accepts this would accept anything.
const BROKEN: &str = "\
apiVersion: v3.1.0
kind: DataContract
id: broken
version: 1.0.0
status: active
schema:
  - name: sales
    properties:
      - name: amount
        logicalType: money
";

#[tokio::test]
async fn the_standards_tool_refuses_what_is_not_the_standard() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("broken.yaml");
    std::fs::write(&path, BROKEN).expect("a file in a temporary folder");
    let output = lint(&path).await;
    assert!(!output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("money"), "{}", said(&output));
}

#[test]
fn the_house_reads_every_contract() {
    let mut broken = Vec::new();
    for path in source_files::files("schemas", "yaml") {
        let name = source_files::name(&path);
        match contract::parse(&source_files::text(&path), &name) {
            Ok(spec) => {
                let expected = format!("schemas/{}/{}.yaml", spec.source, spec.name);
                if expected != name {
                    broken.push(format!(
                        "{name}: the contract calls itself {}.{}",
                        spec.source, spec.name
                    ));
                }
            }
            Err(error) => broken.push(format!("{name}: {error:?}")),
        }
    }
    assert!(
        broken.is_empty(),
        "contracts that cannot be used:\n  {}",
        broken.join("\n  ")
    );
}
