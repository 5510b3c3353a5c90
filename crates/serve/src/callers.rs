//! Callers: senders of questions, known by a name and a password, by a token of this server, or by one of an OpenID Connect provider.
//!
//! Invariant: where there are users, nobody is answered without being one, and what is answered is of that user's scope. Where there are none, whoever is on this machine sees
//! everything. Users that were once there and are gone let nobody in: they are never taken for a machine without users.

use crate::base64::from_base64;
use crate::guesses::Guesses;
use crate::oidc::{OidcFault, OidcVerifier, is_signed_token};
use crate::options::ServeOptions;
use crate::problem::Problem;
use crate::slots::Claim;
use crate::tokens::{ClientTokens, TokenOwner};
use crate::users::{User, Users};
use crate::work::computed;
use axum::http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};
use tillhouse_model::{ErrorKind, Result};
use tillhouse_query::Scope;
use tokio::sync::{Semaphore, watch};
use xxhash_rust::xxh3::xxh3_128;

/// Passwords that are hashed at once: each takes 19 MiB and a processor.
const HASHED_AT_ONCE: usize = 2;
/// Passwords that wait for their turn; one more is sent away.
const WAITING: usize = 64;
/// Seconds after which a login that was sent away may be tried again.
const RETRY_AFTER: u32 = 2;
/// Time that a refused login takes at least.
pub(crate) const REFUSED_AFTER: Duration = Duration::from_millis(300);
/// Seconds after which a token may be sent again whose provider did not answer.
const PROVIDER_RETRY_AFTER: u32 = 5;
/// Challenge to a client that came by no way in.
const WAYS: &str = "Basic realm=\"tillhouse\", Bearer";

/// Sender of a question, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// None where there are no users.
    pub(crate) user: Option<Arc<User>>,
}

impl Caller {
    /// The part of a run that is seen.
    pub(crate) fn scope(&self) -> Scope {
        let of_user = self.user.as_ref().map(|user| user.scope.clone());
        of_user.unwrap_or_else(Scope::everything)
    }

    /// Digest of the scope, for what is kept by scope; nothing where that is everything.
    pub(crate) fn scope_digest(&self) -> String {
        let scope = self.scope();
        match scope.is_everything() {
            true => String::new(),
            false => format!(" {:032x}", xxh3_128(format!("{scope:?}").as_bytes())),
        }
    }

    /// The claim on a slot.
    pub(crate) fn claim(&self) -> Claim<'_> {
        match &self.user {
            None => Claim::GUEST,
            Some(user) => Claim {
                who: &user.name,
                most: user.concurrency,
            },
        }
    }

    /// Errors with 403 where rows are left out of what is seen: `what` tells of all of them.
    pub(crate) fn check_sees_all(&self, what: &str) -> Result<(), Problem> {
        match self.scope().is_of_some() {
            false => Ok(()),
            true => Err(Problem::new(
                StatusCode::FORBIDDEN,
                format!("{what} of all tenants and pipelines, of which this user sees some"),
            )),
        }
    }
}

/// Time of change and length of a file of users; none where there is no file.
type FileState = Option<(SystemTime, u64)>;

/// Outcome of the last reading of the file.
#[derive(Debug, Default)]
struct ReadFile {
    state: FileState,
    /// Fault for which it is read again, whether or not it changes.
    fault: Option<String>,
}

/// The users, as the file has them now.
pub(crate) struct Callers {
    path: Option<PathBuf>,
    users: RwLock<Option<Arc<Users>>>,
    read: Mutex<ReadFile>,
    /// Turns to hash. Each is held until its hash is made, also where nobody waits for it any more.
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
    pub(crate) guesses: Guesses,
    /// Verifier of a provider's tokens, where one is configured.
    oidc: Option<OidcVerifier>,
    changes: watch::Sender<()>,
}

impl Callers {
    /// Errors with [`ErrorKind::Config`] for users that cannot be read, and for a provider of tokens that cannot be one.
    pub(crate) fn open(options: &ServeOptions) -> Result<Self> {
        let path = options.users.clone();
        let state = path.as_deref().and_then(state_of);
        let users = match path.as_deref() {
            Some(path) => Users::load_if_there(path)?,
            None => None,
        };
        // Where other machines reach it, a file that has gone since the address was checked leaves nobody. Where tokens say who asks, nobody is let in without.
        let is_for_users = options.oidc.is_some() || options.reached_address().is_some();
        let users = match users {
            None if is_for_users => Some(Users::nobody()?),
            users => users,
        };
        Ok(Self {
            path,
            users: RwLock::new(users.map(Arc::new)),
            read: Mutex::new(ReadFile { state, fault: None }),
            hashing: Arc::new(Semaphore::new(HASHED_AT_ONCE)),
            waiting: Semaphore::new(HASHED_AT_ONCE + WAITING),
            guesses: Guesses::default(),
            oidc: options.oidc.as_ref().map(OidcVerifier::new).transpose()?,
            changes: watch::Sender::new(()),
        })
    }

    /// The users; none where there never were any.
    pub(crate) fn users(&self) -> Option<Arc<Users>> {
        self.users
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notice of every later change of the users, for whoever is connected and asks nothing.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Reads the file anew where it has changed. One that cannot be read leaves the users as they were, and is read again at the next look; one that is gone leaves nobody.
    pub(crate) fn look(&self) {
        let Some(path) = self.path.as_deref() else {
            return;
        };
        let now = state_of(path);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.state == now && read.fault.is_none() {
            return;
        }
        read.state = now;
        let loaded = match Users::load_if_there(path) {
            Ok(Some(users)) => Ok(users),
            Ok(None) => Users::nobody(),
            Err(error) => Err(error),
        };
        match loaded {
            Ok(users) => {
                read.fault = None;
                tracing::info!(users = users.all().count(), "the users have changed");
                {
                    let mut known = self.users.write().unwrap_or_else(PoisonError::into_inner);
                    *known = Some(Arc::new(users));
                }
                self.changes.send_replace(());
            }
            Err(error) => {
                let fault = error.to_string();
                if read.fault.as_ref() != Some(&fault) {
                    tracing::error!("the users are as they were: {fault}");
                }
                read.fault = Some(fault);
            }
        }
    }

    /// Caller that sent a request.
    ///
    /// Errors with 401 where there are users and it is none of them.
    pub(crate) async fn admit(
        &self,
        headers: &HeaderMap,
        tokens: &ClientTokens,
    ) -> Result<Caller, Problem> {
        let Some(users) = self.users() else {
            return Ok(Caller::default());
        };
        let sent = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let Some((scheme, rest)) = sent.and_then(|sent| sent.trim().split_once(' ')) else {
            return Err(refused("nobody is named"));
        };
        if scheme.eq_ignore_ascii_case("basic") {
            let (name, password) = credentials(rest.trim())
                .ok_or_else(|| refused("the credentials cannot be read"))?;
            let user = self.prove(&users, name, password).await?;
            return Ok(Caller { user: Some(user) });
        }
        let token = rest.trim();
        if let Some(oidc) = &self.oidc
            && scheme.eq_ignore_ascii_case("bearer")
            && is_signed_token(token)
        {
            let name = oidc.name(token, Timestamp::now().as_second()).await;
            // The users of this moment: keys may have been waited for.
            let user = name.and_then(|name| {
                let user = self.users().and_then(|users| users.user(&name));
                user.ok_or(OidcFault::Refused("the token is of nobody among the users"))
            });
            return user
                .map(|user| Caller { user: Some(user) })
                .map_err(refused_token);
        }
        let owner = tokens.owner(sent, Instant::now());
        owner
            .and_then(|owner| same_user(&users, &owner))
            .ok_or_else(|| refused("the token is not known, or has expired"))
    }

    /// Caller that a session was begun for; everybody where there are no users.
    ///
    /// Errors with 401 where there are users, and the session is of none of them as they are now.
    pub(crate) fn admit_session(&self, owner: Option<&TokenOwner>) -> Result<Caller, Problem> {
        match self.users() {
            None => Ok(Caller::default()),
            Some(users) => owner
                .and_then(|owner| same_user(&users, owner))
                .ok_or_else(|| refused("nobody has logged in, or the session is over")),
        }
    }

    /// The user of a name and password, and what a token of that user stands for.
    ///
    /// Errors with 401, in the same words and after the same work, whatever is wrong.
    pub(crate) async fn log_in(
        &self,
        users: &Arc<Users>,
        name: &str,
        password: &str,
    ) -> Result<TokenOwner, Problem> {
        let password = SecretString::from(password.to_owned());
        let user = self.prove(users, name.to_owned(), password).await?;
        Ok(TokenOwner {
            fingerprint: users.fingerprint(&user.name),
            name: user.name.clone(),
        })
    }

    /// The user of a name and password.
    ///
    /// Errors with 401 where they are not right, with 429 where a name has been guessed at too often, and with 503 where too many wait.
    async fn prove(
        &self,
        users: &Arc<Users>,
        name: String,
        password: SecretString,
    ) -> Result<Arc<User>, Problem> {
        if let Some(user) = users.proven(&name, &password)? {
            return Ok(user);
        }
        let proven = {
            let Ok(_waiting) = self.waiting.try_acquire() else {
                return Err(Problem::busy(RETRY_AFTER));
            };
            let turn = Arc::clone(&self.hashing).acquire_owned().await;
            // The same password may have been proven meanwhile, as where a client begins with many requests at once.
            if let Some(user) = users.proven(&name, &password)? {
                return Ok(user);
            }
            let begun = self.guesses.begin(&name, Instant::now());
            begun.map_err(guessed_too_often)?;
            let (users, name) = (Arc::clone(users), name.clone());
            computed(move || {
                let _turn = turn;
                users.authenticate_password(&name, &password)
            })
            .await
        };
        // No turn is held while whoever is refused waits.
        match proven {
            Ok(Ok(user)) => {
                self.guesses.right(&name);
                Ok(user)
            }
            Ok(Err(error)) if error.kind() == ErrorKind::Unauthorized => {
                tokio::time::sleep(REFUSED_AFTER).await;
                Err(refused("the name or the password is not right"))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(problem) => Err(problem),
        }
    }
}

/// The user that a token was given to, where rights and password are what they were then.
fn same_user(users: &Users, owner: &TokenOwner) -> Option<Caller> {
    let is_same = users.fingerprint(&owner.name) == owner.fingerprint;
    let user = users.user(&owner.name).filter(|_| is_same)?;
    Some(Caller { user: Some(user) })
}

fn refused(what: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, what)
        .hint("Send name and password (Basic), or a token that POST /auth/login gives for them (Bearer). `tillhouse user add` makes a user.")
        .header(header::WWW_AUTHENTICATE, WAYS)
}

/// Refusal of a provider's token.
fn refused_token(fault: OidcFault) -> Problem {
    match fault {
        OidcFault::Refused(what) => Problem::new(StatusCode::UNAUTHORIZED, what)
            .hint("Get a token from the provider that `serve.oidc` in tillhouse.yaml names, for its audience. `tillhouse user add` makes a user by the name in its claim.")
            .header(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
        OidcFault::Unavailable => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the keys of the tokens' provider cannot be read at the moment",
        )
        .retry_after(PROVIDER_RETRY_AFTER),
    }
}

/// Refusal of a guess that comes too early.
fn guessed_too_often(wait: Duration) -> Problem {
    // Rounded up: whoever comes in time is not refused again.
    let seconds = u32::try_from(wait.as_secs())
        .unwrap_or(u32::MAX)
        .saturating_add(1);
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "the password of this name was wrong too often",
    )
    .hint("Wait as long as Retry-After says. A token that was given before is good all the same.")
    .retry_after(seconds)
}

fn state_of(path: &Path) -> FileState {
    let known = std::fs::metadata(path).ok()?;
    Some((known.modified().ok()?, known.len()))
}

/// Name and password of a request by HTTP's Basic; `None` where there is nothing of the kind.
pub(crate) fn basic_credentials(headers: &HeaderMap) -> Option<(String, SecretString)> {
    let sent = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = sent.trim().split_once(' ')?;
    let encoded = scheme.eq_ignore_ascii_case("basic").then(|| rest.trim())?;
    credentials(encoded)
}

/// Name and password of HTTP's Basic.
fn credentials(encoded: &str) -> Option<(String, SecretString)> {
    // Drivers of Flight SQL leave the padding out.
    let bare = encoded.trim_end_matches('=');
    let padding = "=".repeat((4 - bare.len() % 4) % 4);
    let bytes = from_base64(&format!("{bare}{padding}"))?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), SecretString::from(password.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::OidcOptions;
    use crate::users::{NewUser, add_user, remove_user};
    use axum::http::HeaderValue;
    use futures::future::join_all;
    use secrecy::ExposeSecret;

    const PASSWORD: &str = "correct horse battery";

    fn headers(value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    fn north(path: &Path) {
        let new = NewUser {
            name: "north".to_owned(),
            scope: Scope {
                tenants: Some(["n".to_owned()].into()),
                ..Scope::everything()
            },
        };
        add_user(path, &new, Some(&SecretString::from(PASSWORD.to_owned()))).unwrap();
    }

    fn callers(path: &Path) -> Callers {
        let users = Some(path.to_path_buf());
        Callers::open(&ServeOptions {
            users,
            ..ServeOptions::default()
        })
        .unwrap()
    }

    async fn status(callers: &Callers, tokens: &ClientTokens, sent: &HeaderMap) -> u16 {
        match callers.admit(sent, tokens).await {
            Ok(_) => 200,
            Err(problem) => problem.status.as_u16(),
        }
    }

    #[test]
    fn credentials_are_read_as_the_standard_has_them() {
        // The example of RFC 7617.
        let (name, password) = credentials("QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert_eq!(
            (name.as_str(), password.expose_secret()),
            ("Aladdin", "open sesame")
        );
        assert!(credentials("Zm9vYmFy").is_none(), "no colon");
    }

    #[tokio::test]
    async fn without_users_whoever_is_here_sees_everything() {
        let folder = tempfile::tempdir().unwrap();
        let callers = callers(&folder.path().join("users.yaml"));
        let tokens = ClientTokens::default();
        let guest = callers.admit(&HeaderMap::new(), &tokens).await.unwrap();
        assert!(guest.scope().is_everything() && guest.scope_digest().is_empty());
        assert!(guest.check_sees_all("it tells").is_ok());
    }

    #[tokio::test]
    async fn without_users_nobody_is_answered_where_other_machines_reach_it() {
        let options = ServeOptions {
            listen: "192.0.2.7:1".parse().unwrap(),
            ..ServeOptions::default()
        };
        let callers = Callers::open(&options).unwrap();
        let tokens = ClientTokens::default();
        assert_eq!(status(&callers, &tokens, &HeaderMap::new()).await, 401);
    }

    #[tokio::test]
    async fn with_users_nobody_else_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        north(&path);
        let callers = callers(&path);
        let tokens = ClientTokens::default();
        // north:correct horse battery
        let right = headers("Basic bm9ydGg6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5");
        let caller = callers.admit(&right, &tokens).await.unwrap();
        assert_eq!(caller.user.as_ref().unwrap().name, "north");
        assert!(!caller.scope_digest().is_empty());
        assert_eq!(
            caller.check_sees_all("it tells").unwrap_err().status,
            StatusCode::FORBIDDEN
        );
        let users = callers.users().unwrap();
        let owner = callers.log_in(&users, "north", PASSWORD).await.unwrap();
        let given = tokens.give(Instant::now(), owner);
        let bearer = headers(&format!("Bearer {}", given.access));
        assert_eq!(status(&callers, &tokens, &bearer).await, 200);
        let foreign = ClientTokens::default().give(
            Instant::now(),
            TokenOwner {
                name: "north".to_owned(),
                fingerprint: users.fingerprint("north"),
            },
        );
        for wrong in [
            HeaderMap::new(),
            headers("Basic bm9ydGg6eA=="),
            headers("Basic x"),
            headers("Bearer x"),
            headers(&format!("Bearer {}", foreign.access)),
            headers("Digest x"),
        ] {
            assert_eq!(status(&callers, &tokens, &wrong).await, 401);
        }
    }

    #[tokio::test]
    async fn a_name_that_is_guessed_at_is_refused_before_its_password_is_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        north(&path);
        let callers = callers(&path);
        let tokens = ClientTokens::default();
        let users = callers.users().unwrap();
        let owner = callers.log_in(&users, "north", PASSWORD).await.unwrap();
        let given = tokens.give(Instant::now(), owner);
        let bearer = headers(&format!("Bearer {}", given.access));
        // north:x, and nobody:x
        for guess in ["Basic bm9ydGg6eA==", "Basic bm9ib2R5Ong="] {
            let (before, guess) = (users.hashes(), headers(guess));
            let asked = (0..8).map(|_| status(&callers, &tokens, &guess));
            let told = join_all(asked).await;
            let times = |wanted: u16| told.iter().filter(|told| **told == wanted).count();
            assert_eq!((times(401), times(429)), (5, 3), "{told:?}");
            assert_eq!(users.hashes() - before, 5);
        }
        // Whoever has proven the password before is not kept out by others' guesses.
        let right = headers("Basic bm9ydGg6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5");
        for known in [right, bearer] {
            assert_eq!(status(&callers, &tokens, &known).await, 200);
        }
    }

    #[tokio::test]
    async fn many_requests_at_once_with_the_right_password_are_all_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        north(&path);
        let callers = callers(&path);
        let tokens = ClientTokens::default();
        let right = headers("Basic bm9ydGg6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5");
        let asked = (0..16).map(|_| status(&callers, &tokens, &right));
        let told = join_all(asked).await;
        assert!(told.iter().all(|told| *told == 200), "{told:?}");
        assert!(callers.users().unwrap().hashes() <= 2);
    }

    #[tokio::test]
    async fn a_provider_that_does_not_answer_keeps_its_tokens_out_and_passwords_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", nobody.local_addr().unwrap());
        drop(nobody);
        let options = ServeOptions {
            users: Some(path.clone()),
            oidc: Some(OidcOptions {
                issuer,
                audience: "till".to_owned(),
                claim: "sub".to_owned(),
            }),
            ..ServeOptions::default()
        };
        let tokens = ClientTokens::default();
        // Without users tokens are of nobody, and so is whoever sends none.
        let without_users = Callers::open(&options).unwrap();
        assert_eq!(
            status(&without_users, &tokens, &HeaderMap::new()).await,
            401
        );
        north(&path);
        let callers = Callers::open(&options).unwrap();
        // {"alg":"ES256"}, {}
        let signed = headers("Bearer eyJhbGciOiJFUzI1NiJ9.e30.AAAA");
        assert_eq!(status(&callers, &tokens, &signed).await, 503);
        let unreadable = headers("Bearer a.b.c");
        assert_eq!(status(&callers, &tokens, &unreadable).await, 401);
        let right = headers("Basic bm9ydGg6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5");
        assert_eq!(status(&callers, &tokens, &right).await, 200);
        let users = callers.users().unwrap();
        let owner = callers.log_in(&users, "north", PASSWORD).await.unwrap();
        let given = tokens.give(Instant::now(), owner);
        let own = headers(&format!("Bearer {}", given.access));
        assert_eq!(status(&callers, &tokens, &own).await, 200);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_read_again_and_changes_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        north(&path);
        let callers = callers(&path);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, "users: [").unwrap();
        callers.look();
        assert!(callers.users().unwrap().user("north").is_some());
        assert!(callers.read.lock().unwrap().fault.is_some());
        std::fs::write(&path, good).unwrap();
        callers.look();
        assert!(callers.users().unwrap().user("north").is_some());
        assert!(callers.read.lock().unwrap().fault.is_none());
    }

    #[tokio::test]
    async fn who_is_removed_is_out_with_every_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        north(&path);
        let callers = callers(&path);
        let tokens = ClientTokens::default();
        let users = callers.users().unwrap();
        let owner = callers.log_in(&users, "north", PASSWORD).await.unwrap();
        let given = tokens.give(Instant::now(), owner);
        let bearer = headers(&format!("Bearer {}", given.access));
        remove_user(&path, "north").unwrap();
        callers.look();
        assert_eq!(status(&callers, &tokens, &bearer).await, 401);
        std::fs::remove_file(&path).unwrap();
        callers.look();
        assert_eq!(
            status(&callers, &tokens, &HeaderMap::new()).await,
            401,
            "users that are gone are no machine without users"
        );
    }
}
