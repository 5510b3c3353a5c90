//! The object stores of the tests: real servers on loopback, started once for all tests of this program, and ended with it.
//!
//! Invariant: a server ends when its standard input does, which is held here; so it outlives neither the tests nor a test program that is killed.

use crate::project::TestProject;
use crate::{python, source_files};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use tillhouse_lake::{StoreOption, WarehouseLocation};
use tokio::sync::OnceCell;

/// Lines to the store's script, and its answers. Not tokio's pipes: those end with the runtime of the test that was first.
struct ScriptPipe {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Child,
}

impl ScriptPipe {
    fn start(kind: &str) -> (Self, Value) {
        let mut process = Command::new(python::interpreter())
            .arg("-B")
            .arg(source_files::root().join("tests/python/object_stores.py"))
            .arg(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut pipe = Self {
            input,
            output,
            _process: process,
        };
        let place = pipe.answer();
        (pipe, place)
    }

    /// The script's next line. Where it ends instead, its reason stands on standard error.
    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the object store's script has ended");
        serde_json::from_str(&line).unwrap()
    }

    fn order(&mut self, words: &str) -> Value {
        writeln!(self.input, "{words}").unwrap();
        self.input.flush().unwrap();
        self.answer()
    }
}

/// A running object store.
pub(super) struct ObjectStoreServer {
    /// Its own description: its endpoint and, where it has one, its account.
    pub(super) place: Value,
    pipe: Arc<Mutex<ScriptPipe>>,
}

impl ObjectStoreServer {
    pub(super) async fn start(kind: &'static str) -> Self {
        let started = tokio::task::spawn_blocking(move || ScriptPipe::start(kind));
        let (pipe, place) = started.await.unwrap();
        Self {
            place,
            pipe: Arc::new(Mutex::new(pipe)),
        }
    }

    /// Gives an order and waits for its answer.
    pub(super) async fn order(&self, words: &str) -> Value {
        let (pipe, order) = (Arc::clone(&self.pipe), words.to_owned());
        let answer = tokio::task::spawn_blocking(move || pipe.lock().unwrap().order(&order))
            .await
            .unwrap();
        assert!(answer.get("error").is_none(), "{words}: {answer}");
        answer
    }

    /// Names of objects below a path of the bucket, and of uploads that were not ended.
    pub(super) async fn list(&self, prefix: &str) -> (Vec<String>, Vec<String>) {
        let answer = self.order(&format!("list {prefix}")).await;
        let texts = |name: &str| {
            let list = answer[name].as_array().unwrap();
            list.iter()
                .map(|text| text.as_str().unwrap().to_owned())
                .collect()
        };
        (texts("names"), texts("uploads"))
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.place[name].as_str().unwrap()
    }
}

/// SeaweedFS, for all tests.
pub(super) async fn seaweedfs() -> &'static ObjectStoreServer {
    static SERVER: OnceCell<ObjectStoreServer> = OnceCell::const_new();
    SERVER
        .get_or_init(|| ObjectStoreServer::start("seaweedfs"))
        .await
}

/// Azurite, for all tests.
pub(super) async fn azurite() -> &'static ObjectStoreServer {
    static SERVER: OnceCell<ObjectStoreServer> = OnceCell::const_new();
    SERVER
        .get_or_init(|| ObjectStoreServer::start("azurite"))
        .await
}

/// A warehouse's place in an object store, with what leads to it.
#[derive(Clone)]
pub(super) struct CloudPlace {
    pub(super) url: String,
    pub(super) options: Vec<(&'static str, String)>,
    /// Lines of `.env`.
    pub(super) env: String,
    /// The same, for readers in Python.
    pub(super) reader: Value,
}

impl CloudPlace {
    /// A path of SeaweedFS' bucket.
    pub(super) fn s3(server: &ObjectStoreServer, path: &str) -> Self {
        let endpoint = server.text("endpoint");
        let url = format!("s3://tills/{path}");
        Self {
            options: vec![
                ("endpoint", endpoint.to_owned()),
                ("allow_http", "true".to_owned()),
                ("access_key_id", "tillkey".to_owned()),
                ("secret_access_key", "${S3_SECRET}".to_owned()),
            ],
            env: "S3_SECRET=tillsecret\n".to_owned(),
            reader: json!({"url": url, "endpoint": endpoint, "key_id": "tillkey", "secret": "tillsecret"}),
            url,
        }
    }

    /// A path of Azurite's container.
    pub(super) fn azure(server: &ObjectStoreServer, path: &str) -> Self {
        let (endpoint, account, key) = (
            server.text("endpoint"),
            server.text("account"),
            server.text("key"),
        );
        let url = format!("az://tills/{path}");
        Self {
            options: vec![
                ("endpoint", endpoint.to_owned()),
                ("allow_http", "true".to_owned()),
                ("account_name", account.to_owned()),
                ("account_key", "${AZURE_KEY}".to_owned()),
            ],
            env: format!("AZURE_KEY={key}\n"),
            reader: json!({"url": url, "endpoint": endpoint, "account": account, "key": key}),
            url,
        }
    }

    /// The same place with an option set to another value; without it where that is empty.
    pub(super) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut place = self.clone();
        place.options.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            place.options.push((name, value.to_owned()));
        }
        place
    }

    pub(super) fn at(&self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..self.clone()
        }
    }

    /// The same place, for a warehouse of this process.
    pub(super) fn location(&self) -> WarehouseLocation {
        let (variable, secret) = self.env.trim_end().split_once('=').unwrap();
        let variable = format!("${{{variable}}}");
        let options = self.options.iter().map(|(name, value)| {
            let value = value.replace(&variable, secret);
            ((*name).to_owned(), StoreOption::from(value.as_str()))
        });
        WarehouseLocation {
            options: options.collect(),
            ..WarehouseLocation::new(&self.url)
        }
    }

    /// Makes this the project's warehouse.
    pub(super) fn settle(&self, project: &TestProject) {
        project.add_env(&self.env);
        self.write(project);
    }

    /// As [`CloudPlace::settle`], where `.env` has its lines.
    pub(super) fn write(&self, project: &TestProject) {
        let options: Vec<String> = self
            .options
            .iter()
            .map(|(name, value)| match value.starts_with('{') {
                true => format!("    {name}: {value}\n"),
                false => format!("    {name}: \"{value}\"\n"),
            })
            .collect();
        let text = format!(
            "warehouse:\n  url: {}\n  options:\n{}memory_limit: 512MiB\nprivacy_key: ${{TILLHOUSE_PRIVACY_KEY}}\n",
            self.url,
            options.concat()
        );
        std::fs::write(project.path().join("tillhouse.yaml"), text).unwrap();
    }
}
