//! Logins: who came in by a name, and what they may see.
//!
//! Invariant: where there are users, nobody comes in without a proof of a password, and the keys that it is compared with are there whether or not there is such a user. A
//! login ends with its user, its password and its rights, and where users come to a server that had none: that is looked at before each message, so that neither a prepared
//! statement nor a cursor outlives it.

use crate::callers::{Caller, Callers};
use crate::users::{ScramVerifier, Users};
use std::sync::Arc;
use tillhouse_model::Result;

/// A name that came in, and the user of that name.
pub(super) struct UserLogin {
    name: String,
    caller: Caller,
    /// The users among whom it was found last; none where there were none.
    users: Option<Arc<Users>>,
}

impl UserLogin {
    /// Login under any name, on a server without users, which listens on loopback alone: whoever is on this machine sees what the command line shows.
    pub(super) fn guest(name: String) -> Self {
        Self {
            name,
            caller: Caller::default(),
            users: None,
        }
    }

    /// Login of a user, once the password has been proved; none where there is no such user.
    pub(super) fn of_user(name: String, users: Arc<Users>) -> Option<Self> {
        let caller = Caller {
            user: Some(users.user(&name)?),
        };
        Some(Self {
            name,
            caller,
            users: Some(users),
        })
    }

    /// The name that was said.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The user, as every question knows one.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// True if who came in may still ask.
    pub(super) fn is_current(&mut self, callers: &Callers) -> bool {
        let now = callers.users();
        let is_same = match (&self.users, &now) {
            (None, None) => true,
            (Some(known), Some(now)) => {
                Arc::ptr_eq(known, now)
                    || known.fingerprint(&self.name) == now.fingerprint(&self.name)
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if is_same {
            self.users = now;
        }
        is_same
    }
}

/// Keys that the password of a name is compared with: of a name that nobody has those that nobody has, which are the same each time. Both are worked out for every name,
/// so that neither the answer nor its time tells which it was.
pub(super) fn verifier(users: &Users, decoy_key: &[u8; 32], name: &str) -> Result<ScramVerifier> {
    let decoy = ScramVerifier::decoy(decoy_key, name)?;
    Ok(users.scram(name).unwrap_or(decoy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ServeOptions;
    use crate::users::{NewUser, add_user, remove_user};
    use secrecy::SecretString;
    use std::path::Path;
    use tillhouse_query::Scope;

    fn add(path: &Path, name: &str, password: &str) {
        let new = NewUser {
            name: name.to_owned(),
            scope: Scope::everything(),
        };
        add_user(path, &new, Some(&SecretString::from(password.to_owned()))).unwrap();
    }

    fn callers(path: &Path) -> Callers {
        Callers::open(&ServeOptions {
            users: Some(path.to_path_buf()),
            ..ServeOptions::default()
        })
        .unwrap()
    }

    #[test]
    fn a_login_ends_with_its_user_and_its_password_and_not_with_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        for name in ["north", "south"] {
            add(&path, name, "correct horse battery");
        }
        let callers = callers(&path);
        let login = |name: &str| UserLogin::of_user(name.to_owned(), callers.users().unwrap());
        assert!(login("nobody").is_none());
        let (mut north, mut south) = (login("north").unwrap(), login("south").unwrap());
        assert!(north.is_current(&callers));
        add(&path, "west", "correct horse battery");
        callers.look();
        assert!(north.is_current(&callers) && south.is_current(&callers));
        remove_user(&path, "south").unwrap();
        add(&path, "south", "another password");
        callers.look();
        assert!(north.is_current(&callers) && !south.is_current(&callers));
        remove_user(&path, "north").unwrap();
        callers.look();
        assert!(!north.is_current(&callers));
    }

    #[test]
    fn a_guest_is_out_when_there_are_users() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let callers = callers(&path);
        let mut guest = UserLogin::guest("ada".to_owned());
        assert!(guest.is_current(&callers) && guest.caller().scope().is_everything());
        add(&path, "north", "correct horse battery");
        callers.look();
        assert!(!guest.is_current(&callers));
    }

    #[test]
    fn keys_of_nobody_stay_the_same_when_the_users_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        add(&path, "north", "correct horse battery");
        let callers = callers(&path);
        let of = |name: &str| verifier(&callers.users().unwrap(), &[7; 32], name).unwrap();
        let (nobody, north) = (of("nobody"), of("north"));
        assert_eq!(nobody.salt.len(), north.salt.len());
        assert_eq!(nobody.iterations, north.iterations);
        add(&path, "south", "correct horse battery");
        callers.look();
        assert!(of("nobody") == nobody && of("north") == north);
    }
}
