//! Beginning of a connection: the wish for TLS, a cancel request, the name and the password of who comes.
//!
//! Invariant: nothing is told to who has not come in but that the password was wrong, whether or not there is such a user; no message of theirs is longer than a small limit,
//! and nothing that was sent before a connection is encrypted counts afterwards.

use super::cancel::CancelKey;
use super::fault::{Fault, NO_MESSAGE, NO_PASSWORD, NOT_ALLOWED, NOT_THERE, Stop};
use super::listener::PostgresListener;
use super::login::{UserLogin, verifier};
use super::scram::{Exchange, MECHANISM};
use super::settings::check_path;
use super::wire::{Parts, Wire, put_text};
use crate::users::Users;
use bytes::{BufMut, Bytes};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};

const WISH_FOR_TLS: i32 = 80_877_103;
const WISH_FOR_GSS: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// Version of the protocol.
const VERSION: i32 = 3;
/// Bytes of a user's name, at most.
const LONGEST_NAME: usize = 128;
/// Wishes of a connection before it says who comes, at most.
const WISHES: usize = 4;

/// First words of a connection.
pub(super) enum Beginning {
    /// It is to be encrypted, and its client waits for that.
    Encryption,
    /// It only wants the statement of another cancelled.
    Cancellation(CancelKey),
    /// It says who comes.
    Startup(Startup),
}

/// Words of who comes.
pub(super) struct Startup {
    /// Version of the protocol behind the point.
    minor: i32,
    parts: Parts,
}

/// Client that came in, with what was said beside the name.
pub(super) struct OpenedConnection {
    pub(super) login: UserLogin,
    pub(super) settings: Vec<(String, String)>,
}

/// Reads the first words of a connection. A wish for TLS is for the caller to grant where it can be; else it is declined here.
pub(super) async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    can_encrypt: bool,
) -> Result<Beginning, Stop> {
    for _ in 0..WISHES {
        let mut parts = Parts::of(wire.first().await?);
        match parts.long()? {
            WISH_FOR_TLS if can_encrypt => {
                // Somebody in between could have put it there.
                if wire.is_ahead() {
                    let what =
                        "something was sent in the clear before the connection was encrypted";
                    return Err(Fault::new(NO_MESSAGE, what).fatal().into());
                }
                return Ok(Beginning::Encryption);
            }
            WISH_FOR_TLS | WISH_FOR_GSS => {
                wire.put_byte(b'N');
                wire.flush().await?;
            }
            CANCEL_REQUEST => {
                return Ok(Beginning::Cancellation((parts.long()?, parts.long()?)));
            }
            version if version >> 16 == VERSION => {
                return Ok(Beginning::Startup(Startup {
                    minor: version & 0xffff,
                    parts,
                }));
            }
            _ => {
                let what = "only version 3 of the protocol is spoken here";
                return Err(Fault::new(NOT_THERE, what).fatal().into());
            }
        }
    }
    Err(Fault::new(NO_MESSAGE, "a connection says who comes")
        .fatal()
        .into())
}

/// Lets in who comes, once a password has been proved where one is needed.
pub(super) async fn enter<S: AsyncRead + AsyncWrite + Unpin>(
    listener: &PostgresListener,
    wire: &mut Wire<S>,
    startup: Startup,
) -> Result<OpenedConnection, Stop> {
    let Startup { minor, mut parts } = startup;
    let mut said = BTreeMap::new();
    while !parts.is_empty() {
        let name = parts.text()?;
        if name.is_empty() {
            break;
        }
        said.insert(name, parts.text()?);
    }
    put_version(wire, minor, said.keys());
    let user = match said.remove("user") {
        Some(user) if (1..=LONGEST_NAME).contains(&user.len()) => user,
        _ => {
            let what = "no user is named, or by a name that is too long";
            return Err(Fault::new(NOT_ALLOWED, what).fatal().into());
        }
    };
    if said
        .remove("replication")
        .is_some_and(|wanted| !matches!(wanted.as_str(), "false" | "off" | "no" | "0"))
    {
        return Err(Fault::not_there("replication").fatal().into());
    }
    let login = match listener.state.callers.users() {
        None => UserLogin::guest(user),
        Some(users) => {
            let guesses = &listener.state.callers.guesses;
            // A guess that comes too early is told as one that is wrong.
            if guesses.check(&user, Instant::now()).is_err() {
                return Err(wrong_password(&user));
            }
            let proved = prove(users, &listener.decoy_key, wire, user.clone()).await;
            match &proved {
                Ok(_) => guesses.right(&user),
                Err(Stop::Fault(fault)) if fault.code == NO_PASSWORD => {
                    guesses.wrong(&user, Instant::now());
                }
                Err(_) => {}
            }
            proved?
        }
    };
    wire.put(b'R', |out| out.put_i32(0));
    let options = said.remove("options").unwrap_or_default();
    said.remove("database");
    said.retain(|name, _| !name.starts_with("_pq_."));
    let settings: Vec<(String, String)> = said.into_iter().chain(of_options(&options)).collect();
    // What it would like is told where it is otherwise here; this one would have it read other tables than it thinks.
    for (name, value) in &settings {
        if name.eq_ignore_ascii_case("search_path") {
            check_path(value).map_err(Fault::fatal)?;
        }
    }
    Ok(OpenedConnection { login, settings })
}

/// Says which version is spoken, to a client that knows a later one or wants more than there is.
fn put_version<'a, S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    minor: i32,
    said: impl Iterator<Item = &'a String>,
) {
    let unknown: Vec<&String> = said.filter(|name| name.starts_with("_pq_.")).collect();
    if minor > 0 || !unknown.is_empty() {
        wire.put(b'v', |out| {
            // The whole number, as PostgreSQL says it.
            out.put_i32(VERSION << 16);
            out.put_u32(u32::try_from(unknown.len()).unwrap_or(u32::MAX));
            for name in &unknown {
                put_text(out, name);
            }
        });
    }
}

/// Settings of `-c name=value --name=value`.
fn of_options(options: &str) -> Vec<(String, String)> {
    let words = options.split_whitespace();
    let words = words.map(|word| word.trim_start_matches("--").trim_start_matches("-c"));
    let pairs = words.filter_map(|word| word.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Refusal of a name whose password is not right.
fn wrong_password(name: &str) -> Stop {
    let message = format!("password authentication failed for user {name:?}");
    Fault::new(NO_PASSWORD, message).fatal().into()
}

/// Has the password of a name proved.
async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
    users: Arc<Users>,
    decoy_key: &[u8; 32],
    wire: &mut Wire<S>,
    name: String,
) -> Result<UserLogin, Stop> {
    let wrong = {
        let name = name.clone();
        move || wrong_password(&name)
    };
    wire.put(b'R', |out| {
        out.put_i32(10);
        put_text(out, MECHANISM);
        out.put_u8(0);
    });
    wire.flush().await?;
    let mut parts = password_message(wire).await?;
    let mechanism = parts.text()?;
    let first = parts.value()?.unwrap_or_default();
    let verifier =
        verifier(&users, decoy_key, &name).map_err(|error| Fault::of(&error, "", "-").fatal())?;
    let exchange = Exchange::begin(verifier, &first, rand::random::<[u8; 18]>());
    let exchange = exchange
        .filter(|_| mechanism == MECHANISM)
        .ok_or_else(&wrong)?;
    wire.put(b'R', |out| {
        out.put_i32(11);
        out.put_slice(exchange.challenge().as_bytes());
    });
    wire.flush().await?;
    let last: Bytes = password_message(wire).await?.rest();
    let proved = exchange.finish(&last);
    let (Some(last), Some(login)) = (proved, UserLogin::of_user(name, users)) else {
        return Err(wrong());
    };
    wire.put(b'R', |out| {
        out.put_i32(12);
        out.put_slice(last.as_bytes());
    });
    Ok(login)
}

async fn password_message<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
) -> Result<Parts, Stop> {
    match wire.message().await? {
        (b'p', body) => Ok(Parts::of(body)),
        _ => Err(Fault::new(NO_MESSAGE, "a password was asked for")
            .fatal()
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scram::client;
    use super::*;
    use crate::users::{NewUser, add_user};
    use secrecy::SecretString;
    use tillhouse_query::Scope;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    const PASSWORD: &str = "correct horse battery";

    /// The users of a file with one.
    fn ada() -> Arc<Users> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let new = NewUser {
            name: "ada".to_owned(),
            scope: Scope::everything(),
        };
        add_user(&path, &new, Some(&SecretString::from(PASSWORD.to_owned()))).unwrap();
        Arc::new(Users::load(&path).unwrap())
    }

    /// The next part of the exchange, where there is one.
    async fn said(wire: &mut Wire<DuplexStream>) -> Option<String> {
        let (kind, body) = wire.message().await.ok()?;
        assert_eq!(kind, b'R');
        Some(String::from_utf8_lossy(body.get(4..)?).into_owned())
    }

    /// The outcome of an exchange, what the server said first, and what the client said last; where that is given, it is sent in place of a proof.
    async fn exchange(
        users: &Arc<Users>,
        (name, password): (&str, &str),
        replayed: Option<&str>,
    ) -> (Result<UserLogin, Fault>, String, String) {
        let (ours, theirs) = duplex(4_096);
        let (mut ours, mut theirs) = (Wire::new(ours, 1_000), Wire::new(theirs, 1_000));
        let client = async {
            assert!(
                said(&mut theirs)
                    .await
                    .is_some_and(|text| text.starts_with(MECHANISM))
            );
            let first = "n=,r=abc";
            theirs.put(b'p', |out| {
                put_text(out, MECHANISM);
                out.put_u32(u32::try_from(first.len() + 3).unwrap());
                out.put_slice(format!("n,,{first}").as_bytes());
            });
            theirs.flush().await.unwrap();
            let challenge = said(&mut theirs).await.unwrap();
            let last = match replayed {
                Some(last) => last.to_owned(),
                None => client::last(first, &challenge, password),
            };
            theirs.put(b'p', |out| out.put_slice(last.as_bytes()));
            theirs.flush().await.unwrap();
            (challenge, last)
        };
        let server = prove(Arc::clone(users), &[9; 32], &mut ours, name.to_owned());
        let (outcome, (challenge, last)) = tokio::join!(server, client);
        let outcome = outcome.map_err(|stop| match stop {
            Stop::Fault(fault) => fault,
            Stop::Ended(ended) => panic!("it ended: {ended:?}"),
        });
        (outcome, challenge, last)
    }

    #[tokio::test]
    async fn a_password_is_proved_or_nobody_comes_in() {
        let users = ada();
        let (right, challenge, proof) = exchange(&users, ("ada", PASSWORD), None).await;
        let login = right.ok().unwrap();
        assert_eq!(login.caller().user, users.user("ada"));
        assert!(challenge.starts_with("r=abc") && challenge.ends_with(",i=16384"));
        let (wrong, ..) = exchange(&users, ("ada", "pencil"), None).await;
        // A proof is good once: the server has a part in what it is of.
        let (replayed, ..) = exchange(&users, ("ada", PASSWORD), Some(&proof)).await;
        let (nobody, challenge, _) = exchange(&users, ("bob", PASSWORD), None).await;
        assert!(challenge.ends_with(",i=16384"), "{challenge}");
        for (outcome, name) in [(wrong, "ada"), (replayed, "ada"), (nobody, "bob")] {
            let fault = outcome.err().unwrap();
            assert_eq!((fault.code, fault.is_fatal), ("28P01", true));
            assert_eq!(
                fault.message,
                format!("password authentication failed for user {name:?}")
            );
        }
    }

    /// The beginning of a connection that sends these bytes.
    async fn begun(bytes: &[u8], can_encrypt: bool) -> Result<Beginning, Stop> {
        let (ours, mut theirs) = duplex(4_096);
        theirs.write_all(bytes).await.unwrap();
        begin(&mut Wire::new(ours, 1_000), can_encrypt).await
    }

    #[tokio::test]
    async fn nothing_that_was_sent_in_the_clear_counts_as_encrypted() {
        let wish = [8_i32.to_be_bytes(), WISH_FOR_TLS.to_be_bytes()].concat();
        let granted = begun(&wish, true).await;
        assert!(matches!(granted, Ok(Beginning::Encryption)));
        let stuffed = [wish.as_slice(), b"more"].concat();
        let refused = begun(&stuffed, true).await;
        assert!(matches!(refused, Err(Stop::Fault(fault)) if fault.is_fatal));
        let many = wish.repeat(WISHES + 1);
        let refused = begun(&many, false).await;
        assert!(matches!(refused, Err(Stop::Fault(fault)) if fault.is_fatal));
    }

    #[tokio::test]
    async fn who_has_not_come_in_sends_nothing_long() {
        let long = 10_001_u32.to_be_bytes();
        let refused = begun(&long, false).await;
        assert!(matches!(refused, Err(Stop::Fault(fault)) if fault.is_fatal));
    }

    #[test]
    fn settings_of_the_environment_are_read() {
        let read = of_options("-c statement_timeout=5s --search_path=unified -cx.y=1 -c");
        let read: Vec<(&str, &str)> = read.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            read,
            [
                ("statement_timeout", "5s"),
                ("search_path", "unified"),
                ("x.y", "1")
            ]
        );
    }
}
