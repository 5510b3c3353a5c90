//! Users: names with their passwords, and the scope that each sees.
//!
//! Invariant: whoever is let in has proven a password or a key, and sees the scope that `users.yaml` gives to that name. A name that nobody has costs the same one hash as a
//! wrong password. What somebody proved is remembered as a digest under a key of this process, so that a client that sends its password with each request is not hashed anew
//! each time; a changed file forgets it.

mod password;
mod users_file;

pub use password::ScramVerifier;

use password::{KeptPassword, argon2id, is_hash, is_right, mac};
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::Scope;
use users_file::{ScramEntry, UserEntry, UsersEdit, UsersFile};

/// Time that an answer to a user may take, where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of memory of a user's queries together.
const MEMORY: usize = 256 << 20;
/// Questions of a user that are worked on at once.
const CONCURRENCY: usize = 2;
/// Time for which a password that was proven is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Characters of a name, at most.
pub(crate) const LONGEST_NAME: usize = 63;
/// Passwords that are remembered.
const MOST_REMEMBERED: usize = 1_024;

/// Somebody who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Part of a run that is seen.
    pub scope: Scope,
    /// Time that an answer may take.
    pub timeout: Duration,
    /// Bytes of memory of all queries together.
    pub memory: usize,
    /// Questions that are worked on at once.
    pub concurrency: usize,
}

/// A user to be added.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Name.
    pub name: String,
    /// Part of a run that is seen.
    pub scope: Scope,
}

/// Rights of a user that become others; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// Name.
    pub name: String,
    /// The only tenants that are seen.
    pub tenants: Option<BTreeSet<String>>,
    /// The only pipelines that are seen.
    pub pipelines: Option<BTreeSet<String>>,
    /// True if personal columns are seen.
    pub personal: Option<bool>,
    /// True if the schemas of sources are seen.
    pub source_schemas: Option<bool>,
}

/// The users of a project.
pub struct Users {
    known: BTreeMap<String, KnownUser>,
    /// Hash of a password that nobody has, for names that nobody has.
    decoy: String,
    /// Key of this process.
    key: [u8; 32],
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
    hashes: AtomicU64,
}

/// A user, with what is kept of the password.
struct KnownUser {
    user: Arc<User>,
    /// None for a user whom no password lets in.
    password: Option<KeptPassword>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}

impl Users {
    /// Reads the users of a file.
    ///
    /// Errors with [`ErrorKind::Config`] where there is none, where others may read it, and where it cannot be understood.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_if_there(path)?.ok_or_else(|| {
            Error::config("there are no users")
                .at("file", path.display().to_string())
                .hint("`tillhouse user add NAME` makes one.")
        })
    }

    /// As [`Users::load`]; `None` where there is no such file.
    pub fn load_if_there(path: &Path) -> Result<Option<Self>> {
        let Some(file) = UsersFile::read(path)? else {
            return Ok(None);
        };
        let users = Self::of(file).map_err(|error| error.at("file", path.display().to_string()));
        users.map(Some)
    }

    /// No users: nobody is let in.
    pub(crate) fn nobody() -> Result<Self> {
        Self::of(UsersFile { users: Vec::new() })
    }

    fn of(file: UsersFile) -> Result<Self> {
        let mut known = BTreeMap::new();
        for entry in file.users {
            let name = checked_name(&entry.name)?.to_owned();
            let broken = |what: &str| {
                Error::config(format!("user {name:?}: {what}"))
                    .hint("`tillhouse user remove` and `tillhouse user add` write the user anew.")
            };
            let scram = entry.scram.as_ref().map(ScramEntry::keys);
            let password = match (&entry.password, scram) {
                (None, None) => None,
                (Some(hash), _) if !is_hash(hash) => {
                    return Err(broken("`password` is no hash of argon2id"));
                }
                (Some(hash), Some(Some(scram))) => Some(KeptPassword {
                    argon2id: hash.clone(),
                    scram,
                }),
                (_, Some(None)) => return Err(broken("`scram` has no keys of SCRAM-SHA-256")),
                (Some(_), None) | (None, Some(_)) => {
                    return Err(broken(
                        "has one of `password` and `scram`, which go together",
                    ));
                }
            };
            let user = user_of(&entry).ok_or_else(|| broken("a limit is 0 or too large"))?;
            let user = KnownUser {
                user: Arc::new(user),
                password,
            };
            if known.insert(name.clone(), user).is_some() {
                return Err(broken("is there twice"));
            }
        }
        let nobodys: [u8; 32] = rand::random();
        let nobodys: String = nobodys.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            known,
            decoy: argon2id(&nobodys)?,
            key: rand::random(),
            remembered: Mutex::default(),
            hashes: AtomicU64::new(0),
        })
    }

    /// The user of a name and password. It takes the time of one hash, tens of milliseconds, whatever is wrong; a password that was proven shortly before takes none.
    ///
    /// Errors with [`ErrorKind::Unauthorized`], in the same words whatever is wrong.
    pub fn authenticate_password(&self, name: &str, password: &SecretString) -> Result<Arc<User>> {
        if let Some(user) = self.proven(name, password)? {
            return Ok(user);
        }
        let known = self.known.get(name);
        let known = known.and_then(|known| Some((&known.user, known.password.as_ref()?)));
        self.hashes.fetch_add(1, Ordering::Relaxed);
        let hash = known.map_or(&self.decoy, |(_, kept)| &kept.argon2id);
        match (is_right(hash, password), known) {
            (true, Some((user, _))) => {
                self.remember(self.digest(name, password)?);
                Ok(Arc::clone(user))
            }
            _ => Err(Error::new(
                ErrorKind::Unauthorized,
                "the name or the password is not right",
            )),
        }
    }

    /// The user of a name and password that were proven shortly before.
    pub(crate) fn proven(&self, name: &str, password: &SecretString) -> Result<Option<Arc<User>>> {
        let digest = self.digest(name, password)?;
        let known = self.known.get(name).filter(|_| self.remembers(&digest));
        Ok(known.map(|known| Arc::clone(&known.user)))
    }

    fn digest(&self, name: &str, password: &SecretString) -> Result<[u8; 32]> {
        let password = password.expose_secret().as_bytes();
        // The length keeps the two apart.
        let length = name.len().to_be_bytes();
        mac(&self.key, &[&length, name.as_bytes(), password])
    }

    fn remembers(&self, digest: &[u8; 32]) -> bool {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered
            .get(digest)
            .is_some_and(|proven| proven.elapsed() < REMEMBERED)
    }

    fn remember(&self, digest: [u8; 32]) {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, proven| proven.elapsed() < REMEMBERED);
        if remembered.len() < MOST_REMEMBERED {
            remembered.insert(digest, Instant::now());
        }
    }

    /// The keys of SCRAM-SHA-256 of a name; `None` for a name that nobody has, and for a user without a password.
    pub fn scram(&self, name: &str) -> Option<ScramVerifier> {
        let kept = self.known.get(name)?.password.as_ref()?;
        Some(kept.scram.clone())
    }

    /// The user of a name that was proven in another way.
    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        Some(Arc::clone(&self.known.get(name)?.user))
    }

    /// Digest of a user with what is seen and the hash of the password, to tell if it is still the one that a token was given to.
    pub(crate) fn fingerprint(&self, name: &str) -> Option<u64> {
        let known = self.known.get(name)?;
        let hash = known.password.as_ref().map(|kept| kept.argon2id.as_str());
        let text = format!("{}\n{:?}", hash.unwrap_or_default(), known.user);
        Some(xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &User> {
        self.known.values().map(|known| known.user.as_ref())
    }

    /// True if there is nobody.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Hashes of passwords that were made, for a test of what a refusal costs.
    #[cfg(test)]
    pub(crate) fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }
}

/// Adds a user to a file, which is made where there is none. Only tokens of a provider let in who has no password.
///
/// Errors with [`ErrorKind::Config`] for a name or a password that cannot be one, for a name that is there, and for a file that cannot be
/// read or written; with [`ErrorKind::Conflict`] where another command changes it.
pub fn add_user(path: &Path, new: &NewUser, password: Option<&SecretString>) -> Result<()> {
    checked_name(&new.name)?;
    let kept = password.map(KeptPassword::of).transpose()?;
    let mut edit = UsersEdit::begin(path)?;
    refuse_unless(edit.file.as_ref(), &new.name, false).map_err(|error| of_file(error, path))?;
    let mut file = edit.file.take().unwrap_or(UsersFile { users: Vec::new() });
    file.users.push(UserEntry {
        name: new.name.clone(),
        tenants: new.scope.tenants.clone(),
        pipelines: new.scope.pipelines.clone(),
        personal: new.scope.personal,
        sources: new.scope.source_schemas,
        timeout_seconds: None,
        memory_mib: None,
        concurrency: None,
        scram: kept.as_ref().map(|kept| ScramEntry::of(&kept.scram)),
        password: kept.map(|kept| kept.argon2id),
    });
    file.users.sort_by(|one, other| one.name.cmp(&other.name));
    edit.write(&file)
}

/// Gives a user of a file another password, or none, and the rights that are named; what is not named stays. What is seen from then on.
///
/// Errors as [`add_user`], and for a name that is not there.
pub fn change_user(
    path: &Path,
    change: &UserChange,
    password: Option<&SecretString>,
) -> Result<Scope> {
    let kept = password.map(KeptPassword::of).transpose()?;
    let mut edit = UsersEdit::begin(path)?;
    refuse_unless(edit.file.as_ref(), &change.name, true).map_err(|error| of_file(error, path))?;
    let mut file = edit.file.take().unwrap_or(UsersFile { users: Vec::new() });
    let mut scope = Scope::default();
    for user in &mut file.users {
        if user.name != change.name {
            continue;
        }
        for (set, named) in [
            (&mut user.tenants, &change.tenants),
            (&mut user.pipelines, &change.pipelines),
        ] {
            if named.is_some() {
                set.clone_from(named);
            }
        }
        user.personal = change.personal.unwrap_or(user.personal);
        user.sources = change.source_schemas.unwrap_or(user.sources);
        user.scram = kept.as_ref().map(|kept| ScramEntry::of(&kept.scram));
        user.password = kept.as_ref().map(|kept| kept.argon2id.clone());
        scope = scope_of(user);
    }
    edit.write(&file)?;
    Ok(scope)
}

/// Errors unless a user is there, or is not, for whoever asks before a password is given.
pub fn expect_user(path: &Path, name: &str, is_there: bool) -> Result<()> {
    checked_name(name)?;
    let file = UsersFile::read(path)?;
    refuse_unless(file.as_ref(), name, is_there).map_err(|error| of_file(error, path))
}

/// Removes a user from a file. True if there was one.
pub fn remove_user(path: &Path, name: &str) -> Result<bool> {
    let mut edit = UsersEdit::begin(path)?;
    let Some(mut file) = edit.file.take() else {
        return Ok(false);
    };
    let before = file.users.len();
    file.users.retain(|user| user.name != name);
    if file.users.len() == before {
        return Ok(false);
    }
    edit.write(&file)?;
    Ok(true)
}

fn refuse_unless(file: Option<&UsersFile>, name: &str, is_there: bool) -> Result<()> {
    let mut known = file.iter().flat_map(|file| &file.users);
    match (known.any(|user| user.name == name), is_there) {
        (true, false) => Err(Error::config(format!("there is a user {name:?} already")).hint(format!(
            "`tillhouse user add {name} --change` gives another password and the rights that are named, and leaves the others as they are."
        ))),
        (false, true) => Err(Error::config(format!("there is no user {name:?}"))
            .hint("`tillhouse user list` lists those there are.")),
        _ => Ok(()),
    }
}

fn of_file(error: Error, path: &Path) -> Error {
    error.at("file", path.display().to_string())
}

fn scope_of(entry: &UserEntry) -> Scope {
    Scope {
        tenants: entry.tenants.clone(),
        pipelines: entry.pipelines.clone(),
        personal: entry.personal,
        source_schemas: entry.sources,
    }
}

fn user_of(entry: &UserEntry) -> Option<User> {
    let count = |number: u64| usize::try_from(number).ok().filter(|count| *count > 0);
    let concurrency = match entry.concurrency {
        None => CONCURRENCY,
        Some(number) => count(number)?,
    };
    let memory = match entry.memory_mib {
        None => MEMORY,
        Some(number) => count(number)?.checked_mul(1 << 20)?,
    };
    let timeout = match entry.timeout_seconds {
        None => TIMEOUT,
        Some(0) => return None,
        Some(seconds) => Duration::from_secs(seconds),
    };
    Some(User {
        name: entry.name.clone(),
        scope: scope_of(entry),
        timeout,
        memory,
        concurrency,
    })
}

/// A name that every endpoint can take: HTTP's Basic parts it from the password at a colon, and logs show it.
fn checked_name(name: &str) -> Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    let is_name = (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_plain);
    match is_name {
        true => Ok(name),
        false => Err(Error::config("that is no name of a user").hint(
            "A name has 1 to 63 letters, digits and the characters . _ @ -, like reporting or anna@example.org.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse battery";

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    fn north() -> NewUser {
        NewUser {
            name: "north".to_owned(),
            scope: Scope {
                tenants: Some(["a \"b\"".to_owned(), "c: d".to_owned()].into()),
                pipelines: None,
                personal: false,
                source_schemas: false,
            },
        }
    }

    #[test]
    fn a_user_comes_back_as_it_was_added_and_is_gone_when_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        assert!(Users::load(&path).is_err());
        assert!(Users::load_if_there(&path).unwrap().is_none());
        add_user(&path, &north(), Some(&secret(PASSWORD))).unwrap();
        let everything = NewUser {
            name: "all".to_owned(),
            scope: Scope::everything(),
        };
        add_user(&path, &everything, Some(&secret(PASSWORD))).unwrap();
        let users = Users::load(&path).unwrap();
        assert_eq!(users.user("north").unwrap().scope, north().scope);
        assert!(users.user("all").unwrap().scope.is_everything());
        assert_eq!(users.all().count(), 2);
        let before = users.fingerprint("north");
        let same = UserChange {
            name: "north".to_owned(),
            ..UserChange::default()
        };
        change_user(&path, &same, Some(&secret("another password"))).unwrap();
        let users = Users::load(&path).unwrap();
        assert_ne!(users.fingerprint("north"), before);
        assert!(
            users
                .authenticate_password("north", &secret(PASSWORD))
                .is_err()
        );
        let right = users.authenticate_password("north", &secret("another password"));
        assert_eq!(right.unwrap().name, "north");
        assert!(remove_user(&path, "north").unwrap());
        assert!(!remove_user(&path, "north").unwrap());
        assert!(Users::load(&path).unwrap().user("north").is_none());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(PASSWORD));
    }

    #[test]
    fn a_user_who_is_there_is_changed_only_where_that_is_asked_for_and_keeps_what_is_not_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let of = |name: &str| Some(BTreeSet::from([name.to_owned()]));
        let password = secret(PASSWORD);
        add_user(&path, &north(), Some(&password)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let limited = text.replace("sources: false", "sources: false\n    concurrency: 7");
        std::fs::write(&path, limited).unwrap();
        let before = std::fs::read(&path).unwrap();
        let wider = NewUser {
            scope: Scope::everything(),
            ..north()
        };
        for error in [
            add_user(&path, &wider, Some(&password)).unwrap_err(),
            expect_user(&path, "north", false).unwrap_err(),
        ] {
            assert!(error.hint_text().unwrap().contains("--change"), "{error:?}");
        }
        let change = |name: &str| UserChange {
            name: name.to_owned(),
            ..UserChange::default()
        };
        assert!(change_user(&path, &change("nobody"), Some(&password)).is_err());
        assert!(expect_user(&path, "nobody", true).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
        let mut scope = north().scope;
        for (change, named) in [
            (change("north"), scope.clone()),
            (
                UserChange {
                    pipelines: of("pace"),
                    personal: Some(true),
                    ..change("north")
                },
                Scope {
                    pipelines: of("pace"),
                    personal: true,
                    ..scope.clone()
                },
            ),
            (
                UserChange {
                    tenants: of("d"),
                    personal: Some(false),
                    source_schemas: Some(true),
                    ..change("north")
                },
                Scope {
                    tenants: of("d"),
                    pipelines: of("pace"),
                    personal: false,
                    source_schemas: true,
                },
            ),
        ] {
            scope = change_user(&path, &change, Some(&password)).unwrap();
            assert_eq!(scope, named, "{change:?}");
            let user = Users::load(&path).unwrap().user("north").unwrap();
            assert_eq!((&user.scope, user.concurrency), (&scope, 7));
        }
    }

    #[test]
    fn of_two_commands_at_once_neither_loses_what_the_other_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let edit = UsersEdit::begin(&path).unwrap();
        let other = add_user(&path, &north(), Some(&secret(PASSWORD))).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Conflict);
        assert!(other.to_string().contains("users.yaml.lock"), "{other}");
        assert_eq!(
            remove_user(&path, "north").unwrap_err().kind(),
            ErrorKind::Conflict
        );
        drop(edit);
        add_user(&path, &north(), Some(&secret(PASSWORD))).unwrap();
        assert!(remove_user(&path, "north").unwrap());
        let left = std::fs::read_dir(folder.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["users.yaml"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_in_their_place_is_told_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let error = Users::load(&path).err().unwrap();
        assert!(format!("{error:?}").contains("a pipe stands"), "{error:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_written_through() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("kept")).unwrap();
        symlink("kept/next.yaml", at("users.yaml")).unwrap();
        symlink("users of all.yaml", at("kept/next.yaml")).unwrap();
        // The file is made where there is none, and replaced where there is one.
        for name in ["north", "south"] {
            let new = NewUser {
                name: name.to_owned(),
                ..north()
            };
            add_user(&at("users.yaml"), &new, Some(&secret(PASSWORD))).unwrap();
            let users = Users::load(&at("kept/users of all.yaml")).unwrap();
            assert!(users.user(name).is_some());
        }
        for link in ["users.yaml", "kept/next.yaml"] {
            assert!(std::fs::symlink_metadata(at(link)).unwrap().is_symlink());
        }
        symlink("round.yaml", at("round.yaml")).unwrap();
        assert!(add_user(&at("round.yaml"), &north(), Some(&secret(PASSWORD))).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        add_user(&path, &north(), Some(&secret(PASSWORD))).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Users::load(&path).unwrap_err();
        assert!(error.hint_text().unwrap().contains("chmod 600"), "{error}");
    }

    /// The time of a hash is what a refusal takes; times themselves are no measure in a test.
    #[test]
    fn a_name_that_nobody_has_costs_what_a_wrong_password_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        add_user(&path, &north(), Some(&secret(PASSWORD))).unwrap();
        let users = Users::load(&path).unwrap();
        let cost = |name: &str, password: &str| {
            let before = users.hashes();
            let outcome = users.authenticate_password(name, &secret(password));
            (
                outcome.map_err(|error| error.to_string()),
                users.hashes() - before,
            )
        };
        let (wrong, of_wrong) = cost("north", "not the password");
        let (nobody, of_nobody) = cost("nobody", "not the password");
        let (empty, of_empty) = cost("", "");
        assert_eq!((of_wrong, of_nobody, of_empty), (1, 1, 1));
        assert!(wrong.is_err() && wrong == nobody && nobody == empty);
        assert_eq!(cost("north", PASSWORD).1, 1);
        assert_eq!(cost("north", PASSWORD).1, 0, "it was proven just now");
        assert_eq!(cost("nort", "hcorrect horse battery").1, 1);
        assert!(users.scram("nobody").is_none());
        assert!(users.scram("north").is_some());
    }

    #[test]
    fn a_broken_file_is_refused_without_a_word_of_what_stands_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        add_user(&path, &north(), Some(&secret(PASSWORD))).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let parsed = |text: &str| UsersFile::parse(text).and_then(Users::of);
        assert!(parsed(&good).is_ok());
        let cut = parsed(&good.replace("tenants: [", "tenants: #[")).unwrap();
        let cut = cut.user("north").unwrap();
        assert_eq!(
            cut.scope.tenants,
            Some([].into()),
            "nobody's, not everybody's"
        );
        for (from, to) in [
            ("tenants:", "tenant:"),
            ("personal: false", "personal: SECRET"),
            ("$argon2id$", "SECRET"),
            ("iterations: 16384", "iterations: 1"),
            ("sources: false", "sources: false\n    memory_mib: 0"),
            ("sources: false", "sources: false\n    more: SECRET"),
            ("name: \"north\"", "name: \"no:rth\""),
        ] {
            assert!(good.contains(from), "{from}");
            let error = parsed(&good.replace(from, to)).err().unwrap();
            assert!(!format!("{error:?}").contains("SECRET"), "{to}: {error:?}");
        }
        let twice = good.replace("users:\n", &format!("users:\n{}", entries(&good)));
        assert!(parsed(&twice).is_err());
    }

    #[test]
    fn a_user_without_a_password_is_let_in_by_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        add_user(&path, &north(), Some(&secret(PASSWORD))).unwrap();
        let before = Users::load(&path).unwrap().fingerprint("north");
        let change = UserChange {
            name: "north".to_owned(),
            ..UserChange::default()
        };
        change_user(&path, &change, None).unwrap();
        let users = Users::load(&path).unwrap();
        assert_eq!(users.user("north").unwrap().scope, north().scope);
        assert_ne!(users.fingerprint("north"), before);
        assert!(users.scram("north").is_none());
        for guess in [PASSWORD, "", "null"] {
            let hashes = users.hashes();
            assert!(
                users
                    .authenticate_password("north", &secret(guess))
                    .is_err()
            );
            assert_eq!(users.hashes() - hashes, 1, "it costs what others do");
        }
        // One of the two alone is a file that somebody has cut.
        change_user(&path, &change, Some(&secret(PASSWORD))).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let without_scram = whole.split("    scram:").next().unwrap();
        let without_hash: String = whole
            .lines()
            .filter(|line| !line.starts_with("    password:"))
            .map(|line| format!("{line}\n"))
            .collect();
        for cut in [without_scram, &without_hash] {
            assert!(UsersFile::parse(cut).and_then(Users::of).is_err(), "{cut}");
        }
    }

    fn entries(text: &str) -> &str {
        text.split_once("users:\n").unwrap().1
    }
}
