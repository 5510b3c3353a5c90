//! The Python environment of the tests, in which strangers read what we wrote.
//!
//! Invariant: a missing environment fails the test that needs it, with what to do; no program runs without a time limit.

use crate::source_files;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;
use tokio::process::Command;

/// Time after which a program hangs; none of the tests takes nearly as long.
const LIMIT: Duration = Duration::from_secs(300);

/// The environment's interpreter.
pub(crate) fn interpreter() -> PathBuf {
    std::env::var_os("TILLHOUSE_TEST_PYTHON").map(PathBuf::from).unwrap_or_else(|| {
        panic!(
            "TILLHOUSE_TEST_PYTHON is not set. `make test` makes the environment and sets it; to run cargo by hand:\n  \
             tests/python/venv.sh ~/.cache/tillhouse/venv-test tests/python/requirements.txt\n  \
             export TILLHOUSE_TEST_PYTHON=~/.cache/tillhouse/venv-test/bin/python"
        )
    })
}

async fn run(mut command: Command) -> Output {
    let shown = format!("{:?}", command.as_std());
    tokio::time::timeout(LIMIT, command.kill_on_drop(true).output())
        .await
        .unwrap_or_else(|_| panic!("{shown} has not ended after {LIMIT:?}"))
        .unwrap_or_else(|e| panic!("{shown}: {e}"))
}

/// Runs a script of `tests/python` to its end.
pub(crate) async fn script<S: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Output {
    let mut command = Command::new(interpreter());
    command
        .arg("-B")
        .arg(source_files::root().join("tests/python").join(name))
        .args(arguments);
    run(command).await
}

/// Runs a script of `tests/python` that prints one JSON value, and must end well.
pub(crate) async fn json<S: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = S>,
) -> serde_json::Value {
    let output = script(name, arguments).await;
    assert!(
        output.status.success(),
        "{name}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!(
            "{name} printed no JSON ({e}): {}",
            String::from_utf8_lossy(&output.stdout)
        )
    })
}

/// Runs a program that a Python package brought into the environment.
pub(crate) async fn program<S: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Output {
    let mut command = Command::new(interpreter().with_file_name(name));
    command.args(arguments);
    run(command).await
}
