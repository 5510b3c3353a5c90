//! `users.yaml` as it is written.
//!
//! Invariant: the file is readable by its owner alone, is replaced as a whole by one command at a time, and no error quotes a value of it. A link to it stays one. A key with nothing behind it is nobody's tenants, never everybody's.

use super::password::ScramVerifier;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use tillhouse_lake::read_regular_text;
use tillhouse_model::yaml::{YamlFault, YamlNode};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Head of the file.
const HEAD: &str = "\
# Users of `tillhouse serve`, and what they may see. `tillhouse user add` and `tillhouse user remove` write it.
# Without `tenants` a user sees all of them, without `pipelines` likewise; without `password` only tokens of a provider let a user in.
# Passwords are not in here, but guesses could be tried: keep it to yourself.
";

/// Links behind one another that are followed, at most.
const MOST_LINKS: usize = 40;

/// The users while one command changes them: a file beside theirs keeps others from it.
pub(super) struct UsersEdit {
    /// As they are; `None` where there is no file.
    pub(super) file: Option<UsersFile>,
    /// The file itself, where links were named.
    path: PathBuf,
    _lock: EditLock,
}

/// File that is there while the users are changed.
struct EditLock(PathBuf);

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsersFile {
    pub(super) users: Vec<UserEntry>,
}

/// One user.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserEntry {
    pub(super) name: String,
    #[serde(default, deserialize_with = "some")]
    pub(super) tenants: Option<BTreeSet<String>>,
    #[serde(default, deserialize_with = "some")]
    pub(super) pipelines: Option<BTreeSet<String>>,
    #[serde(default)]
    pub(super) personal: bool,
    #[serde(default)]
    pub(super) sources: bool,
    #[serde(default)]
    pub(super) timeout_seconds: Option<u64>,
    #[serde(default)]
    pub(super) memory_mib: Option<u64>,
    #[serde(default)]
    pub(super) concurrency: Option<u64>,
    /// Hash of the password; none where only tokens of a provider let the user in. So it is with `scram`.
    #[serde(default)]
    pub(super) password: Option<String>,
    #[serde(default)]
    pub(super) scram: Option<ScramEntry>,
}

/// Keys of SCRAM-SHA-256, in hexadecimal digits.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScramEntry {
    iterations: u32,
    salt: String,
    stored_key: String,
    server_key: String,
}

/// A set that is there: one with nothing in it, where nothing stands behind the key.
fn some<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<BTreeSet<String>>, D::Error> {
    BTreeSet::deserialize(deserializer).map(Some)
}

impl UsersFile {
    /// Reads the file; `None` where there is none.
    ///
    /// Errors with [`ErrorKind::Config`] for one that others may read, and for one that cannot be understood.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let told = |error: Error| error.at("file", path.display().to_string());
        let text = match read_regular_text(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(told(
                    Error::config("the users cannot be read").because(error),
                ));
            }
        };
        check_mode(path).map_err(told)?;
        Self::parse(&text).map(Some).map_err(told)
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let unreadable = |fault: YamlFault| {
            let (line, key) = (fault.at.line(), fault.key());
            // What stands there may be a verifier.
            let what = match key.as_str() {
                "" => format!("line {line} cannot be read"),
                key => format!("`{key}` in line {line} cannot be read"),
            };
            Error::config(what).hint("docs/serve.md says what stands in users.yaml.")
        };
        let node = YamlNode::parse(text).map_err(unreadable)?;
        node.read().map_err(unreadable)
    }

    /// Writes the file in the place of the one that is there.
    fn write(&self, path: &Path) -> Result<()> {
        let written = || {
            // Readable by its owner alone from the beginning.
            let mut file = NamedTempFile::new_in(folder_of(path))?;
            file.write_all(self.text().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path).map(drop).map_err(|error| error.error)
        };
        written()
            .or_error(ErrorKind::Config, "the users cannot be written")
            .map_err(|error| error.at("file", path.display().to_string()))
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{HEAD}users:");
        if self.users.is_empty() {
            text.push_str(" []");
        }
        text.push('\n');
        for user in &self.users {
            user.write(&mut text);
        }
        text
    }
}

impl UsersEdit {
    /// Begins an edit of a file, which may not be there yet.
    ///
    /// Errors with [`ErrorKind::Conflict`] where another command changes it, and as [`UsersFile::read`].
    pub(super) fn begin(path: &Path) -> Result<Self> {
        let path = behind_links(path)?;
        let lock = EditLock::take(&path)?;
        Ok(Self {
            file: UsersFile::read(&path)?,
            path,
            _lock: lock,
        })
    }

    /// Ends the edit with these users.
    pub(super) fn write(self, file: &UsersFile) -> Result<()> {
        file.write(&self.path)
    }
}

impl EditLock {
    fn take(users: &Path) -> Result<Self> {
        let mut path = users.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path);
        let error = match made {
            Ok(_) => return Ok(Self(path)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Error::new(
                ErrorKind::Conflict,
                "another `tillhouse user` is changing the users, or was cut short",
            )
            .hint(
                "Nothing was changed. Run it again; if it stays so and no other one is at work, remove this file.",
            ),
            Err(error) => Error::config("the users cannot be written").because(error),
        };
        Err(error.at("file", path.display().to_string()))
    }
}

impl Drop for EditLock {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(%error, "{} cannot be removed: remove it", self.0.display());
        }
    }
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The file that a path names, behind all links; it need not be there.
fn behind_links(path: &Path) -> Result<PathBuf> {
    let mut found = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&found) {
            Ok(next) => found = folder_of(&found).join(next),
            // No link, or nothing.
            Err(_) => return Ok(found),
        }
    }
    Err(
        Error::config("the users are behind links that lead nowhere")
            .at("file", path.display().to_string())
            .hint("Make it a file, or a link to one."),
    )
}

/// A text as YAML has it in quotes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

impl UserEntry {
    // Writing to a String cannot fail.
    fn write(&self, out: &mut String) {
        let _ = writeln!(out, "  - name: {}", quoted(&self.name));
        for (key, set) in [("tenants", &self.tenants), ("pipelines", &self.pipelines)] {
            if let Some(set) = set {
                let items: Vec<String> = set.iter().map(|item| quoted(item)).collect();
                let _ = writeln!(out, "    {key}: [{}]", items.join(", "));
            }
        }
        let _ = writeln!(out, "    personal: {}", self.personal);
        let _ = writeln!(out, "    sources: {}", self.sources);
        for (key, number) in [
            ("timeout_seconds", self.timeout_seconds),
            ("memory_mib", self.memory_mib),
            ("concurrency", self.concurrency),
        ] {
            if let Some(number) = number {
                let _ = writeln!(out, "    {key}: {number}");
            }
        }
        if let Some(password) = &self.password {
            let _ = writeln!(out, "    password: {}", quoted(password));
        }
        let Some(scram) = &self.scram else {
            return;
        };
        let _ = writeln!(out, "    scram:");
        let _ = writeln!(out, "      iterations: {}", scram.iterations);
        for (key, digits) in [
            ("salt", &scram.salt),
            ("stored_key", &scram.stored_key),
            ("server_key", &scram.server_key),
        ] {
            let _ = writeln!(out, "      {key}: {}", quoted(digits));
        }
    }
}

impl ScramEntry {
    pub(super) fn of(keys: &ScramVerifier) -> Self {
        Self {
            iterations: keys.iterations,
            salt: hex(&keys.salt),
            stored_key: hex(&keys.stored_key),
            server_key: hex(&keys.server_key),
        }
    }

    /// The keys; `None` where what stands there can be none.
    pub(super) fn keys(&self) -> Option<ScramVerifier> {
        let keys = ScramVerifier {
            salt: bytes_of(&self.salt)?,
            iterations: self.iterations,
            stored_key: bytes_of(&self.stored_key)?.try_into().ok()?,
            server_key: bytes_of(&self.server_key)?.try_into().ok()?,
        };
        (keys.iterations >= 4096 && keys.salt.len() >= 8).then_some(keys)
    }
}

/// Refuses a file that others than its owner may read or write.
fn check_mode(path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path)
            .or_error(ErrorKind::Config, "the users cannot be read")?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(
                Error::config("others than its owner may read or write the users")
                    .hint(format!("chmod 600 {}", path.display())),
            );
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
