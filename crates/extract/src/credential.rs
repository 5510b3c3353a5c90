//! A credential as a configuration gives it: the value, a file that holds it, or a command that prints it.
//!
//! Invariant: the value itself is only in a [`Secret`]; files are read and commands run anew at every login, so that a rotated
//! secret is taken up without a restart. A command is run as given, without a shell.

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tillhouse_model::{Error, Result, ResultExt, Secret};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest secret that is read, in bytes.
const LONGEST: u64 = 64 << 10;
/// The time a file has to be read, which may be a pipe or a device.
const FILE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two looks at a pipe that nobody has opened for writing.
const PIPE_PAUSE: Duration = Duration::from_millis(50);
/// Longest time a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// Origin of a secret.
#[derive(Clone)]
pub enum Credential {
    /// The value itself.
    Value(Secret),
    /// A file that holds it, `{ file: PATH }`; a line break at its end does not count.
    File(PathBuf),
    /// A program and its arguments that print it, `{ command: [PROGRAM, ARGUMENT...] }`; a line break at the end does not count.
    Command(Vec<String>),
}

impl Credential {
    /// Checks what can be checked without reading it. `key` names it in the error, which is of kind
    /// [`tillhouse_model::ErrorKind::Config`].
    pub fn check(&self, key: &str) -> Result<()> {
        let empty = match self {
            Self::Value(secret) => secret.expose().trim().is_empty(),
            Self::File(path) => path.as_os_str().is_empty(),
            Self::Command(words) => words.first().is_none_or(String::is_empty),
        };
        if empty {
            return Err(Error::config(format!("{key} is empty"))
                .hint("Write the value, { file: PATH } or { command: [PROGRAM, ARGUMENT...] }."));
        }
        Ok(())
    }

    /// The secret as it is now. `key` names it in errors, which are of kind [`tillhouse_model::ErrorKind::Config`] and never show
    /// what was read.
    pub async fn read(&self, key: &str) -> Result<Secret> {
        self.check(key)?;
        let secret = match self {
            Self::Value(secret) => return Ok(secret.clone()),
            Self::File(path) => {
                match tokio::time::timeout(FILE_TIMEOUT, file(path, key)).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(Error::config(format!("the file of {key} gave nothing within {} s", FILE_TIMEOUT.as_secs()))
                        .hint("A pipe or a device has to be written to by somebody; write the secret into a file, or use { command: [...] }.")),
                }
                .map_err(|e| e.at("file", path.display().to_string()))?
            }
            Self::Command(words) => {
                let (program, arguments) = words.split_first().ok_or_else(|| Error::internal("an empty command"))?;
                match tokio::time::timeout(COMMAND_TIMEOUT, run(program, arguments, key)).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(Error::config(format!(
                        "the command of {key} took more than {} s",
                        COMMAND_TIMEOUT.as_secs()
                    ))
                    .hint("It gets no input: it must not ask for a password.")),
                }
                .map_err(|e| e.at("program", program))?
            }
        };
        if secret.expose().trim().is_empty() {
            return Err(Error::config(format!("what {key} points to is empty")));
        }
        Ok(secret)
    }
}

/// Secret from a file. A pipe is opened without waiting for its writer, since nothing could end
/// that wait.
async fn file(path: &Path, key: &str) -> Result<Secret> {
    let wrong = || format!("cannot read the file of {key}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let is_pipe = tokio::fs::metadata(path)
            .await
            .is_ok_and(|found| found.file_type().is_fifo());
        if is_pipe {
            let pipe = tokio::net::unix::pipe::OpenOptions::new().open_receiver(path);
            let mut pipe = pipe.or_error(tillhouse_model::ErrorKind::Config, wrong())?;
            loop {
                let secret = text(&mut pipe, key).await?;
                if !secret.expose().is_empty() {
                    return Ok(secret);
                }
                tokio::time::sleep(PIPE_PAUSE).await;
            }
        }
    }
    let file = tokio::fs::File::open(path)
        .await
        .or_error(tillhouse_model::ErrorKind::Config, wrong())?;
    text(file, key).await
}

/// Process groups of the commands that run now.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stops the commands of secrets that run now, with all that they started. For a process that ends without ending its tasks: on a signal
/// nothing is dropped, and a password manager would wait for ever for somebody who is gone.
pub fn stop_commands() {
    let groups = std::mem::take(&mut *running());
    groups.into_iter().for_each(stop);
}

/// Stops a process group.
fn stop(group: u32) {
    // The shell's own `kill`: it needs no program of its own, and no unsafe call.
    let kill = std::process::Command::new("/bin/sh")
        .args(["-c", &format!("kill -s KILL -- -{group}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = kill {
        tracing::debug!(%error, "the children of a command could not be stopped");
    }
}

/// Process group of a command, killed with it: what the command started would go on otherwise.
struct ProcessGroup(Option<u32>);

impl ProcessGroup {
    fn new(leader: Option<u32>) -> Self {
        running().extend(leader);
        Self(leader)
    }

    /// The command ended by itself: what it left behind on purpose, an agent for example, stays.
    fn release(self) {
        if let Some(group) = self.0 {
            running().remove(&group);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && running().remove(&group)
            && cfg!(unix)
        {
            stop(group);
        }
    }
}

async fn run(program: &str, arguments: &[String], key: &str) -> Result<Secret> {
    let mut command = tokio::process::Command::new(program);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Complaints of a password manager may hold what it keeps.
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .or_error(
            tillhouse_model::ErrorKind::Config,
            format!("cannot run the command of {key}"),
        )?;
    let group = ProcessGroup::new(child.id());
    let output = child
        .stdout
        .take()
        .ok_or_else(|| Error::internal("a child without its output"))?;
    let secret = text(output, key).await?;
    let status = child.wait().await.or_error(
        tillhouse_model::ErrorKind::Config,
        "cannot wait for a command",
    )?;
    group.release();
    if !status.success() {
        return Err(
            Error::config(format!("the command of {key} failed: {status}"))
                .hint("Run it by hand to see what it says."),
        );
    }
    Ok(secret)
}

async fn text(from: impl AsyncRead + Unpin, key: &str) -> Result<Secret> {
    let mut text = String::new();
    from.take(LONGEST + 1)
        .read_to_string(&mut text)
        .await
        .or_error(
            tillhouse_model::ErrorKind::Config,
            format!("cannot read what {key} points to"),
        )?;
    if text.len() as u64 > LONGEST {
        return Err(Error::config(format!(
            "what {key} points to is longer than {LONGEST} bytes"
        )));
    }
    // Some editors begin a file with a byte order mark.
    Ok(Secret::new(
        text.trim_start_matches('\u{feff}')
            .trim_end_matches(['\r', '\n']),
    ))
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Credential(***)"),
            Self::File(path) => write!(f, "Credential(file {})", path.display()),
            // Arguments may hold what opens the vault.
            Self::Command(words) => write!(
                f,
                "Credential(command {})",
                words.first().map_or("", String::as_str)
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Credential {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CredentialVisitor)
    }
}

/// Visitor of the accepted forms; an untagged enum would answer every mistake with "did not match
/// any variant".
struct CredentialVisitor;

impl<'de> Visitor<'de> for CredentialVisitor {
    type Value = Credential;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret, { file: PATH } or { command: [PROGRAM, ARGUMENT...] }")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Credential, E> {
        Ok(Credential::Value(Secret::new(value)))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Credential, E> {
        Ok(Credential::Value(Secret::new(value)))
    }

    // Scalars that YAML reads as something else than text: named without their value, which serde's own error would show.
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Credential, E> {
        Err(E::custom(
            "the secret reads as true or false: put it in quotes",
        ))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Credential, E> {
        Err(E::custom("the secret reads as a number: put it in quotes"))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Credential, E> {
        Err(E::custom("the secret reads as a number: put it in quotes"))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Credential, E> {
        Err(E::custom("the secret reads as a number: put it in quotes"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Credential, A::Error> {
        let Some(key) = map.next_key::<String>()? else {
            return Err(de::Error::custom("expected one of the keys file, command"));
        };
        let credential = match key.as_str() {
            "file" => Credential::File(
                from_home(map.next_value()?, std::env::home_dir()).map_err(de::Error::custom)?,
            ),
            "command" => Credential::Command(map.next_value()?),
            other => return Err(de::Error::unknown_field(other, &["file", "command"])),
        };
        match map.next_key::<String>()? {
            None => Ok(credential),
            Some(_) => Err(de::Error::custom(
                "a secret comes from one place: either file or command",
            )),
        }
    }
}

/// A path, where it begins with `~/` below the user's home folder: nothing else in a configuration is a shell's word.
fn from_home(path: PathBuf, home: Option<PathBuf>) -> Result<PathBuf, &'static str> {
    let Ok(rest) = path.strip_prefix("~") else {
        return Ok(path);
    };
    home.filter(|home| home.is_absolute())
        .map(|home| home.join(rest))
        .ok_or("the file begins with ~/, and nobody knows the home folder: write the whole path")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::ErrorKind;

    #[test]
    fn a_file_may_be_named_from_the_home_folder_on() {
        let of = |path: &str, home: Option<&str>| from_home(path.into(), home.map(PathBuf::from));
        for (path, wanted) in [
            ("~/secrets/x", "/home/me/secrets/x"),
            ("/run/~/x", "/run/~/x"),
            ("~x/y", "~x/y"),
            ("x", "x"),
        ] {
            assert_eq!(of(path, Some("/home/me")), Ok(wanted.into()), "{path}");
        }
        for home in [None, Some(""), Some("me")] {
            assert!(of("~/x", home).is_err());
            assert_eq!(of("/x", home), Ok("/x".into()));
        }
    }

    fn parse(json: &str) -> Result<Credential, serde_json::Error> {
        serde_json::from_str(json)
    }

    async fn read(json: &str) -> Result<String> {
        parse(json)
            .unwrap()
            .read("client_secret")
            .await
            .map(|s| s.expose().to_owned())
    }

    #[tokio::test]
    async fn values_files_and_commands_are_read() {
        assert_eq!(read(r#""hunter2""#).await.unwrap(), "hunter2");
        assert_eq!(
            read(r#"{"command":["printf","%s\n","hunter2"]}"#)
                .await
                .unwrap(),
            "hunter2"
        );
        let path =
            std::env::temp_dir().join(format!("tillhouse-credential-{}", std::process::id()));
        for (written, wanted) in [
            ("one\n", "one"),
            ("two \r\n", "two "),
            ("\u{feff}three\n", "three"),
        ] {
            std::fs::write(&path, written).unwrap();
            let credential = Credential::File(path.clone());
            assert_eq!(
                credential.read("client_secret").await.unwrap().expose(),
                wanted
            );
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn what_goes_wrong_names_the_key_and_no_value() {
        for json in [
            r#""""#,
            r#"{"file":""}"#,
            r#"{"file":"/nowhere/at/all"}"#,
            r#"{"command":[]}"#,
            r#"{"command":["/nowhere/at/all"]}"#,
            r#"{"command":["true"]}"#,
            r#"{"command":["sh","-c","echo hunter2; exit 3"]}"#,
            r#"{"command":["head","-c","70000","/dev/zero"]}"#,
        ] {
            let error = read(json).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{json}");
            assert!(error.to_string().contains("client_secret"), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_pipe_is_read_when_it_is_written_to_and_not_waited_for_without_end() {
        let path =
            std::env::temp_dir().join(format!("tillhouse-credential-pipe-{}", std::process::id()));
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let credential = Credential::File(path.clone());
        let (read, written) = tokio::join!(credential.read("client_secret"), async {
            let path = path.clone();
            tokio::task::spawn_blocking(move || std::fs::write(path, "hunter2\n"))
                .await
                .unwrap()
        });
        written.unwrap();
        assert_eq!(read.unwrap().expose(), "hunter2");
        tokio::time::pause();
        let error = credential.read("client_secret").await.unwrap_err();
        assert!(
            error
                .message()
                .contains("client_secret gave nothing within 10 s"),
            "{error}"
        );
        std::fs::remove_file(&path).unwrap();
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_command_that_is_stopped_takes_its_children_with_it() {
        let path =
            std::env::temp_dir().join(format!("tillhouse-credential-child-{}", std::process::id()));
        let script = format!("sleep 600 & echo $! > {}; wait", path.display());
        let credential = Credential::Command(["sh", "-c", &script].map(str::to_owned).to_vec());
        let mut reading = Box::pin(credential.read("client_secret"));
        let child = loop {
            let paused = tokio::time::timeout(Duration::from_millis(20), &mut reading).await;
            assert!(paused.is_err());
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if text.ends_with('\n') {
                break text.trim().to_owned();
            }
        };
        drop(reading);
        // A process that has ended and was not yet waited for is none.
        let ended = || {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        for _ in 0..6_000 {
            if ended() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(ended(), "{child} still runs");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn mistakes_in_the_configuration_are_named_and_never_quoted() {
        for json in [
            "42424242",
            "-42424242",
            "42424242.5",
            "true",
            r#"{"flie":"x"}"#,
            "{}",
            r#"{"file":"a","command":["b"]}"#,
        ] {
            let error = parse(json).unwrap_err().to_string();
            assert!(!error.contains("42424242"), "{error}");
        }
        assert!(
            parse(r#"{"flie":"x"}"#)
                .unwrap_err()
                .to_string()
                .contains("`file` or `command`")
        );
    }

    #[test]
    fn debug_shows_where_and_never_what() {
        let shown = format!(
            "{:?} {:?} {:?}",
            parse(r#""hunter2""#).unwrap(),
            parse(r#"{"file":"/run/secrets/x"}"#).unwrap(),
            parse(r#"{"command":["vault","--pin","hunter2"]}"#).unwrap()
        );
        assert_eq!(
            shown,
            "Credential(***) Credential(file /run/secrets/x) Credential(command vault)"
        );
    }
}
