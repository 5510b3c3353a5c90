//! Data that must never be kept or said: PINs, tokens, QR codes, plates, addresses, names, card
//! numbers, in files and in output.
//!
//! Invariant: every file of the warehouse is looked at, Parquet as decoded values, everything else as bytes; a search that does
//! not find what is there would fail the test that plants it.

use crate::project::{CLIENT_SECRET, TestProject, run_to_end};
use crate::source_truth;
use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use tillhouse_sandbox::{Sandbox, SandboxOptions};

/// Prefix of every token of the sandbox.
const TOKEN: &str = "eyJhbGciOiJub25lIn0";

/// Texts that must not appear as words of their own.
struct ForbiddenTexts {
    by_start: HashMap<[u8; 4], Vec<String>>,
    all: HashSet<String>,
}

impl ForbiddenTexts {
    fn of(records: &[Value], more: &[String]) -> Self {
        let mut all: HashSet<String> = more.iter().cloned().collect();
        let mut add = |value: &Value| {
            all.extend(
                value
                    .as_str()
                    .filter(|text| text.len() >= 4 && *text != PIN)
                    .map(str::to_owned),
            );
        };
        for record in records {
            add(&record["customer_data"]["license_plate"]);
            add(&record["customer_data"]["driver_number"]);
            add(&record["receipt"]["email"]);
            add(&record["receipt"]["links"]["customer_url"]);
            add(&record["card_issuer"]["driver_name"]);
            if record["client"]["type"] == "user" {
                add(&record["client"]["id"]);
            }
            for payment in source_truth::list(record, "payments") {
                add(&payment["card_id"]);
                add(&payment["qr_code"]);
                add(&payment["additional_card"]["card_id"]);
                for line in source_truth::list(payment, "terminal_receipt") {
                    // The other lines have words that open columns have too.
                    if line
                        .as_str()
                        .is_some_and(|text| text.starts_with("Terminal "))
                    {
                        add(line);
                    }
                }
            }
        }
        let mut by_start: HashMap<[u8; 4], Vec<String>> = HashMap::new();
        for text in &all {
            let start = text
                .as_bytes()
                .first_chunk::<4>()
                .expect("at least four bytes");
            by_start.entry(*start).or_default().push(text.clone());
        }
        Self { by_start, all }
    }

    /// The first closed text in `bytes` that stands as a word of its own.
    fn find(&self, bytes: &[u8]) -> Option<&str> {
        let is_word = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
        for at in 0..bytes.len().saturating_sub(3) {
            if at > 0 && is_word(bytes.get(at - 1)) {
                continue;
            }
            let Some(start) = bytes[at..].first_chunk::<4>() else {
                break;
            };
            let Some(texts) = self.by_start.get(start) else {
                continue;
            };
            let hit = texts.iter().find(|text| {
                bytes[at..].starts_with(text.as_bytes()) && !is_word(bytes.get(at + text.len()))
            });
            if let Some(hit) = hit {
                return Some(hit);
            }
        }
        None
    }
}

/// The PIN of every sale that has one; too short to look for in text that is not a column.
const PIN: &str = "4711";

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the warehouse") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found)
        } else {
            found.push(path)
        }
    }
}

/// The paths of all columns, and the texts of all columns, however deep.
fn texts(array: &dyn Array, path: &str, names: &mut BTreeSet<String>, found: &mut HashSet<String>) {
    names.insert(path.to_owned());
    match array.data_type() {
        DataType::Utf8 => {
            found.extend(array.as_string::<i32>().iter().flatten().map(str::to_owned))
        }
        DataType::LargeUtf8 => {
            found.extend(array.as_string::<i64>().iter().flatten().map(str::to_owned))
        }
        DataType::Utf8View => {
            found.extend(array.as_string_view().iter().flatten().map(str::to_owned))
        }
        DataType::List(_) => texts(array.as_list::<i32>().values().as_ref(), path, names, found),
        DataType::Struct(fields) => {
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                texts(
                    column.as_ref(),
                    &format!("{path}.{}", field.name()),
                    names,
                    found,
                );
            }
        }
        DataType::Map(_, _) => texts(array.as_map().entries(), path, names, found),
        DataType::Dictionary(_, _) => {
            let plain = arrow::compute::cast(array, &DataType::Utf8).expect("a dictionary of text");
            texts(plain.as_ref(), path, names, found);
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            // Hashes and the like; looked at as raw bytes with the file they stand in would be compressed.
            let plain =
                arrow::compute::cast(array, &DataType::LargeBinary).expect("binary is binary");
            let values = plain.as_binary::<i64>();
            found.extend(
                values
                    .iter()
                    .flatten()
                    .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            );
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_closed_is_kept_or_said() {
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 6000,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    // A record that does not fit, so that a redacted payload is kept too.
    let mut broken = serde_json::from_slice::<Value>(&sandbox.truth()[0]).unwrap();
    broken["id"] = "5a5a5a5a-0000-4000-8000-000000000001".into();
    broken["invoice"]["amount"] = "much".into();
    broken["customer_data"] = serde_json::json!({"license_plate": "B-ZZ 98765"});
    broken["receipt"] = serde_json::json!({"email": "reject-77@example.com"});
    sandbox.put(&broken.to_string()).unwrap();

    let project = TestProject::new(&sandbox.hecone_url()).await;
    let mut said = String::new();
    for arguments in [
        &["check", "-vv"][..],
        &["sync", "-vv", "--to", "2026-01-06"],
        &["sync", "-vv", "--log-format", "json", "--to", "2026-01-06"],
        &["status", "-vv", "--format", "json"],
        &["stats", "-vv", "--from", "2026-01-01", "--to", "2026-01-06"],
        &[
            "stats",
            "-vv",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-06",
            "--format",
            "json",
        ],
        &["sql", "-vv", "--format", "json", "SELECT * FROM sales"],
        &[
            "sql",
            "-vv",
            "--format",
            "csv",
            "SELECT * FROM transactions",
        ],
        &["sql", "-vv", "--format", "json", "SELECT * FROM payments"],
        &[
            "sql",
            "-vv",
            "--format",
            "json",
            "SELECT * FROM ops.rejects",
        ],
        &[
            "sql",
            "-vv",
            "--format",
            "json",
            "SELECT * FROM hecone.transactions",
        ],
        &["rebuild", "-vv"],
        &["eject", "-vv", "hecone"],
    ] {
        let ran = project.run(arguments).await;
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
    }

    let secrets = [
        CLIENT_SECRET.to_owned(),
        project.env("TILLHOUSE_PRIVACY_KEY"),
        TOKEN.to_owned(),
    ];
    let records = source_truth::records(&sandbox);
    let closed = ForbiddenTexts::of(&records, &secrets);
    assert!(
        closed.all.len() > 2000,
        "only {} closed texts: the sandbox has more",
        closed.all.len()
    );
    assert!(
        records
            .iter()
            .flat_map(|r| source_truth::list(r, "payments"))
            .any(|p| p["pin"] == PIN),
        "some sales have a PIN"
    );
    for planted in [
        "plate B-ZZ 98765.",
        "\"reject-77@example.com\"",
        &format!("Bearer {TOKEN}.a00.b00"),
    ] {
        assert!(
            closed.find(planted.as_bytes()).is_some(),
            "the search does not see {planted}"
        );
    }
    assert_eq!(closed.find(said.as_bytes()), None, "in the output");
    for key in ["\"pin\"", "\"qr_code\"", "\"customer_url\""] {
        let values = [
            format!("{key}: \"4711\""),
            format!("{key}:\"4711\""),
            format!("{key}: \"https"),
        ];
        assert!(
            !values.iter().any(|value| said.contains(value)),
            "{key} in the output"
        );
    }

    let (mut all, mut names, mut found) = (Vec::new(), BTreeSet::new(), HashSet::new());
    files(&project.warehouse(), &mut all);
    let mut parquet = 0;
    for path in &all {
        if path.extension().is_some_and(|e| e == "parquet") {
            parquet += 1;
            let file = std::fs::File::open(path).unwrap();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file)
                .unwrap()
                .build()
                .unwrap()
            {
                let batch = batch.unwrap();
                for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                    texts(column.as_ref(), field.name(), &mut names, &mut found);
                }
            }
        }
        // Parquet too: statistics and footers are not compressed.
        assert_eq!(
            closed.find(&std::fs::read(path).unwrap()),
            None,
            "in {}",
            path.display()
        );
    }
    assert!(
        parquet > 10 && found.len() > 20_000,
        "{parquet} files, {} texts: not the whole warehouse",
        found.len()
    );
    assert!(
        names.contains("payments.card_id") && names.contains("license_plate"),
        "{names:?}"
    );
    for name in &names {
        let leaf = name.rsplit('.').next().unwrap_or_default();
        assert!(
            ![
                "pin",
                "qr_code",
                "customer_url",
                "terminal_receipt",
                "fiscal_receipt"
            ]
            .contains(&leaf),
            "{name}"
        );
    }
    for text in &found {
        assert!(text != PIN, "a PIN is kept");
        assert_eq!(closed.find(text.as_bytes()), None, "in {text:?}");
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_privacy_key_is_refused_before_one_car_becomes_two() {
    let (_sandbox, project) = TestProject::synced_at_once(60).await;
    let other = "0f".repeat(32);
    let with_other = async |arguments: &[&str]| {
        let mut command = project.command(arguments);
        command.env("TILLHOUSE_PRIVACY_KEY", &other);
        run_to_end(command).await
    };
    let versions = "SELECT count(*) FROM hecone.transactions";
    let before = project.count(versions).await;
    for arguments in [
        &["check"][..],
        &["sync", "--full", "--to", "2026-01-06"],
        &["rebuild"],
    ] {
        let ran = with_other(arguments).await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        for word in ["privacy_key", "Put the old key back", "--new-privacy-key"] {
            assert!(ran.stderr.contains(word), "{arguments:?}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains(&other), "{}", ran.stderr);
    }
    assert_eq!(project.count(versions).await, before);
    let asked = with_other(&["sql", "SELECT pseudonym('plate', 'KA-XY 1')"]).await;
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    assert!(
        asked.stderr.contains("privacy_key is not the one"),
        "{}",
        asked.stderr
    );
    let asked = project
        .run(&["sql", "SELECT pseudonym('plate', 'KA-XY 1')"])
        .await;
    assert!(!asked.stderr.contains("privacy_key"), "{}", asked.stderr);
    // Alone it would leave most of what is there under the old key.
    let alone = with_other(&["sync", "--new-privacy-key"]).await;
    assert_eq!(alone.code, Some(2), "{}", alone.stderr);
    let anew = with_other(&["sync", "--full", "--new-privacy-key", "--to", "2026-01-06"]).await;
    assert_eq!(anew.code, Some(0), "{}", anew.stderr);
    assert_eq!(with_other(&["check"]).await.code, Some(0));
    assert_eq!(project.run(&["check"]).await.code, Some(2));
}
