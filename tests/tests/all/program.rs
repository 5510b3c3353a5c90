//! The `tillhouse` binary, as a user starts it.
//!
//! Invariant: the binary under test is the one `make test` has just built and named, never one that happens to lie around.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;
use tokio::process::Command;

/// Time after which a command hangs; none of the tests takes nearly as long.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// The binary.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("TILLHOUSE_TEST_BINARY").map(PathBuf::from).unwrap_or_else(|| {
        panic!(
            "TILLHOUSE_TEST_BINARY is not set. `make test` builds the binary and sets it; to run cargo by hand:\n  \
             cargo build --release --workspace --bins\n  \
             export TILLHOUSE_TEST_BINARY=$PWD/target/release/tillhouse"
        )
    })
}

/// A command of the binary that sees none of the caller's settings and is ended when it is dropped.
pub(crate) fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    command
}

/// The same command where no file may be larger than so many blocks of 512 bytes.
pub(crate) fn limited(command: &Command, blocks: u32) -> Command {
    let plain = command.as_std();
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!("ulimit -f {blocks}; exec \"$0\" \"$@\""))
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_clear()
        .envs(
            plain
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    if let Some(folder) = plain.get_current_dir() {
        limited.current_dir(folder);
    }
    limited
}

/// Runs a command to its end.
pub(crate) async fn run(mut command: Command) -> Output {
    let shown = format!("{:?}", command.as_std().get_args().collect::<Vec<_>>());
    tokio::time::timeout(LIMIT, command.output())
        .await
        .unwrap_or_else(|_| panic!("tillhouse {shown} has not ended after {LIMIT:?}"))
        .unwrap_or_else(|e| panic!("{}: {e}", binary().display()))
}

#[tokio::test]
async fn it_says_its_name_and_version() {
    let output = run(command(["--version"])).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("tillhouse {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn an_unknown_command_is_a_usage_error() {
    let output = run(command(["sell"])).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty(), "errors go to stderr");
    assert!(!output.stderr.is_empty());
}
