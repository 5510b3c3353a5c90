//! One connection: its statements one after the other, its transaction, its settings, its prepared statements and cursors.
//!
//! Invariant: a transaction reads one run from its first word to its last; outside of one, each statement reads the newest. After a failure nothing is done until the client has
//! taken note of it: by Sync where the message was one of the extended protocol, by ROLLBACK where it was in a transaction. A connection whose user is gone, or has another
//! password or other rights, is closed, with all it holds.

use super::ENDPOINT;
use super::cancel::{CancelHandle, KnownConnection};
use super::columns::WireColumn;
use super::commands::Command;
use super::fault::{Fault, NO_MESSAGE, NOT_ALLOWED, STOPPED, Stop};
use super::listener::PostgresListener;
use super::login::UserLogin;
use super::opening::OpenedConnection;
use super::portals::{Portal, Prepared};
use super::reader::RunReader;
use super::running::{Surroundings, is_binary};
use super::settings::{Changed, REPORTED, Settings};
use super::wire::{Ended, Parts, Wire, put_text};
use crate::callers::Caller;
use crate::observed_statement::ObservedStatement;
use crate::state::ServerState;
use bytes::{BufMut, Bytes};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time that a connection may say nothing.
const IDLE: Duration = Duration::from_secs(8 * 3_600);

/// Transaction of a connection.
pub(super) enum Transaction {
    None,
    /// With the run that it reads, once there is one.
    Open(Option<Arc<RunReader>>),
    /// With the run that it read, to which it goes back.
    Failed(Option<Arc<RunReader>>),
}

impl Transaction {
    /// Letter of the message that says that more may be asked.
    fn status(&self) -> u8 {
        match self {
            Self::None => b'I',
            Self::Open(_) => b'T',
            Self::Failed(_) => b'E',
        }
    }

    /// The transaction once a statement of it has failed.
    fn failed(self) -> Self {
        match self {
            Self::Open(reader) | Self::Failed(reader) => Self::Failed(reader),
            Self::None => Self::None,
        }
    }

    /// The transaction once it has gone back before what failed.
    fn recovered(self) -> Self {
        match self {
            Self::Failed(reader) => Self::Open(reader),
            other => other,
        }
    }
}

/// A connection.
pub(super) struct Conversation<S> {
    pub(super) wire: Wire<S>,
    pub(super) listener: Arc<PostgresListener>,
    pub(super) peer: SocketAddr,
    pub(super) login: UserLogin,
    pub(super) known: KnownConnection,
    pub(super) settings: Settings,
    pub(super) transaction: Transaction,
    /// The last reader, which serves as long as its run is the newest.
    reader: Option<Arc<RunReader>>,
    pub(super) prepared: BTreeMap<String, Arc<Prepared>>,
    pub(super) portals: BTreeMap<String, Portal>,
    /// True from a failure in the extended protocol to the next Sync.
    is_skipping: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    pub(super) fn new(
        wire: Wire<S>,
        listener: Arc<PostgresListener>,
        (peer, known, is_encrypted): (SocketAddr, KnownConnection, bool),
        opened: OpenedConnection,
    ) -> Self {
        let mut settings = Settings::of_user(opened.login.name());
        if is_encrypted {
            settings.note_encryption();
        }
        for (name, value) in &opened.settings {
            // A driver says what it would like; what is otherwise here it is told.
            let _ = settings.set(name, Some(value.as_str()));
        }
        Self {
            wire,
            listener,
            peer,
            login: opened.login,
            known,
            settings,
            transaction: Transaction::None,
            reader: None,
            prepared: BTreeMap::new(),
            portals: BTreeMap::new(),
            is_skipping: false,
        }
    }

    /// Answers until the client leaves or the server stops.
    pub(super) async fn answer(mut self, stop: CancellationToken) -> Result<(), Ended> {
        self.greet();
        self.put_ready();
        self.wire.flush().await?;
        let mut changes = self.listener.state.callers.changes();
        loop {
            let said: Result<Option<(u8, Bytes)>, Stop> = tokio::select! {
                () = stop.cancelled() => {
                    Err(Fault::new(STOPPED, "the server stops").fatal().into())
                }
                // Who may no longer ask is sent away also while nothing is asked.
                Ok(()) = changes.changed() => Ok(None),
                said = tokio::time::timeout(IDLE, self.wire.message()) => match said {
                    Ok(said) => said.map(Some).map_err(Stop::from),
                    Err(_) => {
                        let what = "nothing was asked for too long";
                        Err(Fault::new("57P05", what).fatal().into())
                    }
                },
            };
            let outcome = match said {
                Ok(Some((b'X', _))) => return Ok(()),
                Ok(Some((kind, body))) => self.take(kind, body).await,
                Ok(None) => self.check_login().map_err(Stop::from),
                Err(stop) => Err(stop),
            };
            match outcome {
                Ok(()) => self.wire.flush_much().await?,
                Err(Stop::Ended(ended)) => return Err(ended),
                Err(Stop::Fault(fault)) => {
                    fault.put(&mut self.wire);
                    // A client that sends many statements ahead waits for this one before it sends Sync.
                    self.wire.flush().await?;
                    if fault.is_fatal {
                        return Ok(());
                    }
                    self.fail();
                    self.is_skipping = true;
                }
            }
        }
    }

    /// Tells what a driver wants to know first.
    fn greet(&mut self) {
        for (name, shown) in REPORTED {
            self.report(name, shown);
        }
        let (number, secret) = self.known.key;
        self.wire.put(b'K', |out| {
            out.put_i32(number);
            out.put_i32(secret);
        });
    }

    fn report(&mut self, name: &str, shown: &str) {
        let value = self.settings.get(name).unwrap_or_default();
        self.wire.put(b'S', |out| {
            put_text(out, shown);
            put_text(out, value);
        });
    }

    /// Takes a message.
    async fn take(&mut self, kind: u8, body: Bytes) -> Result<(), Stop> {
        self.check_login()?;
        if self.is_skipping && !matches!(kind, b'S' | b'Q' | b'H') {
            return Ok(());
        }
        match kind {
            b'Q' => {
                self.is_skipping = false;
                self.simple(body).await
            }
            b'P' => self.parse(body),
            b'B' => self.bind(body),
            b'D' => self.describe(body).await,
            b'E' => self.execute(body).await,
            b'C' => self.close(body),
            b'H' => Ok(self.wire.flush().await?),
            b'S' => self.sync().await,
            // The end of a COPY that was refused comes late.
            b'd' | b'c' | b'f' => Ok(()),
            _ => Err(
                Fault::new(NO_MESSAGE, "a message is of no kind that is known")
                    .fatal()
                    .into(),
            ),
        }
    }

    async fn sync(&mut self) -> Result<(), Stop> {
        self.is_skipping = false;
        if matches!(self.transaction, Transaction::None) {
            self.portals.retain(|_, portal| portal.is_held);
        }
        self.put_ready();
        Ok(self.wire.flush().await?)
    }

    /// Answers the statements of a text.
    async fn simple(&mut self, body: Bytes) -> Result<(), Stop> {
        let text: Arc<str> = Parts::of(body).text()?.into();
        self.portals.remove("");
        let statements = tillhouse_query::locate_statements(&text);
        if statements.is_empty() {
            self.wire.put(b'I', |_| {});
        }
        for statement in statements {
            let prepared = Prepared::simple(statement, &text);
            let mut portal = Portal::of(Arc::new(prepared));
            match self.run_portal(&mut portal, None, "QUERY").await {
                // A text may have a hundred thousand statements, whose answers are not gathered.
                Ok(()) => self.wire.flush_much().await?,
                Err(Stop::Fault(fault)) if !fault.is_fatal => {
                    fault.put(&mut self.wire);
                    self.fail();
                    break;
                }
                Err(stop) => return Err(stop),
            }
        }
        if matches!(self.transaction, Transaction::None) {
            self.portals.retain(|_, portal| portal.is_held);
        }
        self.put_ready();
        Ok(self.wire.flush().await?)
    }

    /// Takes note of a failure.
    fn fail(&mut self) {
        self.known.handle.end();
        if !matches!(self.transaction, Transaction::None) {
            let transaction = std::mem::replace(&mut self.transaction, Transaction::None);
            self.transaction = transaction.failed();
            self.portals.retain(|_, portal| portal.is_held);
        }
    }

    /// Runs a portal, or goes on with it, and writes its line in the audit log.
    pub(super) async fn run_portal(
        &mut self,
        portal: &mut Portal,
        most: Option<u64>,
        method: &str,
    ) -> Result<(), Stop> {
        let who = (Some(self.login.name()), self.peer);
        let asked = (method, portal.prepared.query.sql.as_str());
        let state = &self.listener.state;
        let before = self.wire.written;
        let mut observed = ObservedStatement::new(state, ENDPOINT, who, asked);
        let id = observed.id().to_owned();
        let outcome = self.turn(portal, most, &id).await;
        self.known.handle.end();
        let run = match &self.transaction {
            Transaction::Open(Some(reader)) => Some(reader.part.run.clone()),
            _ => self.reader.as_ref().map(|reader| reader.part.run.clone()),
        };
        observed.of_run(run);
        let (status, rows) = match &outcome {
            Ok(rows) => (200, *rows),
            Err(stop) => (stop.status(), 0),
        };
        observed.finish(status, rows, self.wire.written.saturating_sub(before));
        outcome.map(|_| ())
    }

    /// Does what a statement says; the number of its rows.
    async fn turn(
        &mut self,
        portal: &mut Portal,
        most: Option<u64>,
        id: &str,
    ) -> Result<u64, Stop> {
        // A text has many statements, and the rights may have changed since the first.
        self.check_login()?;
        let prepared = Arc::clone(&portal.prepared);
        let ends_it = matches!(
            prepared.command,
            Command::Commit | Command::Rollback | Command::Chain(_) | Command::RollbackTo
        );
        if !ends_it {
            self.check_transaction()?;
        }
        match &prepared.command {
            Command::Query(tag) => self.query(portal, most, tag, id).await,
            Command::Copy(order) => self.copy(&prepared, order, id).await,
            Command::Declare(cursor) => self.declare(portal, cursor, id).await,
            Command::Fetch(order) => self.fetch(order, portal, id).await,
            Command::Show(name) => self.show(name, portal),
            Command::ShowAll => Ok(self.show_all(portal)),
            Command::Refused(fault) => Err(fault.clone().into()),
            command => {
                let tag = self.change(command)?;
                self.put_complete(tag);
                Ok(0)
            }
        }
    }

    /// Errors, and ends the connection, where who came in may no longer ask.
    fn check_login(&mut self) -> Result<(), Fault> {
        match self.login.is_current(&self.listener.state.callers) {
            true => Ok(()),
            false => {
                let what = "the users have changed: this one is gone, or has another password or other rights";
                Err(Fault::new(NOT_ALLOWED, what).hint("Connect again.").fatal())
            }
        }
    }

    /// Errors in a transaction that has failed.
    pub(super) fn check_transaction(&self) -> Result<(), Fault> {
        match self.transaction {
            Transaction::None | Transaction::Open(_) => Ok(()),
            Transaction::Failed(_) => {
                let what = "the transaction has failed, and nothing is done until it ends";
                Err(Fault::new("25P02", what).hint("Send ROLLBACK."))
            }
        }
    }

    /// Carries out what changes the conversation; the word that ends its answer.
    fn change(&mut self, command: &Command) -> Result<&'static str, Fault> {
        Ok(match command {
            Command::Begin => {
                match self.transaction {
                    Transaction::None => {
                        self.transaction = Transaction::Open(None);
                        // What is read is what was newest now; where there is none, each statement says so.
                        let _ = self.reader();
                    }
                    _ => self.notice("25001", "a transaction is under way already"),
                }
                "BEGIN"
            }
            Command::Commit | Command::Rollback => {
                let tag = match (command, &self.transaction) {
                    (Command::Commit, Transaction::Open(_) | Transaction::None) => "COMMIT",
                    _ => "ROLLBACK",
                };
                if matches!(self.transaction, Transaction::None) {
                    self.notice("25P01", "no transaction is under way");
                }
                self.transaction = Transaction::None;
                self.portals.retain(|_, portal| portal.is_held);
                tag
            }
            Command::Chain(tag) => {
                let tag = match self.transaction {
                    Transaction::None => return Err(no_transaction()),
                    Transaction::Open(_) => *tag,
                    Transaction::Failed(_) => "ROLLBACK",
                };
                self.transaction = Transaction::Open(None);
                self.portals.retain(|_, portal| portal.is_held);
                // As with BEGIN, what is read is what is newest now.
                let _ = self.reader();
                tag
            }
            Command::Savepoint(tag) => match self.transaction {
                Transaction::None => return Err(no_transaction()),
                Transaction::Open(_) | Transaction::Failed(_) => *tag,
            },
            Command::RollbackTo => {
                if matches!(self.transaction, Transaction::None) {
                    return Err(no_transaction());
                }
                let transaction = std::mem::replace(&mut self.transaction, Transaction::None);
                self.transaction = transaction.recovered();
                "ROLLBACK"
            }
            Command::Set(name, value) => {
                self.set(name, value.as_deref())?;
                "SET"
            }
            Command::Reset(name) => {
                self.set(name, None)?;
                "RESET"
            }
            Command::ResetAll => {
                self.reset_settings();
                "RESET"
            }
            Command::DiscardAll => {
                if !matches!(self.transaction, Transaction::None) {
                    let what = "DISCARD ALL cannot be in a transaction";
                    return Err(Fault::new("25001", what));
                }
                self.prepared.clear();
                self.portals.clear();
                self.reset_settings();
                "DISCARD ALL"
            }
            Command::Deallocate(None) => {
                self.prepared.clear();
                "DEALLOCATE ALL"
            }
            Command::Deallocate(Some(name)) => match self.prepared.remove(name) {
                Some(_) => "DEALLOCATE",
                None => {
                    let what = format!("there is no prepared statement {name:?}");
                    return Err(Fault::new("26000", what));
                }
            },
            Command::Close(None) => {
                self.portals.clear();
                "CLOSE CURSOR ALL"
            }
            Command::Close(Some(name)) => match self.portals.remove(name) {
                Some(_) => "CLOSE CURSOR",
                None => return Err(no_cursor(name)),
            },
            Command::Nothing(tag) => *tag,
            // The others are answered with rows, and not here.
            _ => "SELECT",
        })
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Fault> {
        if let Changed::Not(why) = self.settings.set(name, value)? {
            self.notice("01000", &format!("{name} stays as it is: {why}"));
        }
        let name = name.to_lowercase();
        if let Some((known, shown)) = REPORTED.iter().find(|(known, _)| *known == name) {
            self.report(known, shown);
        }
        Ok(())
    }

    fn reset_settings(&mut self) {
        self.settings.reset();
        self.report("application_name", "application_name");
    }

    /// The reader of the run that a statement is to see.
    pub(super) fn reader(&mut self) -> Result<Arc<RunReader>, Fault> {
        if let Transaction::Open(Some(reader)) = &self.transaction {
            return Ok(Arc::clone(reader));
        }
        let fault = |error: &tillhouse_model::Error| Fault::of(error, "", "-");
        let runs = &self.listener.state.runs;
        let run = runs.newest().map_err(|error| fault(&error))?;
        let known = self.reader.take().filter(|known| known.part.run == run.run);
        let reader = match known {
            Some(known) => known,
            None => {
                let caller = self.login.caller().clone();
                let part = runs.part(&run, &caller).map_err(|error| fault(&error))?;
                Arc::new(RunReader {
                    part,
                    name: self.login.name().to_owned(),
                    caller,
                    number: self.known.key.0,
                    catalogs: Arc::clone(&self.listener.catalogs),
                })
            }
        };
        self.reader = Some(Arc::clone(&reader));
        if let Transaction::Open(of_transaction) = &mut self.transaction {
            *of_transaction = Some(Arc::clone(&reader));
        }
        Ok(reader)
    }

    /// Parts of the conversation that a query needs while its rows are written.
    pub(super) fn context(&self) -> QueryContext {
        let state = Arc::clone(&self.listener.state);
        let caller = self.login.caller().clone();
        QueryContext {
            timeout: self.settings.timeout(state.timeout(&caller)),
            state,
            cancel: Arc::clone(&self.known.handle),
            caller,
        }
    }

    fn notice(&mut self, code: &str, message: &str) {
        self.wire.put(b'N', |out| {
            for (field, text) in [
                (b'S', "WARNING"),
                (b'V', "WARNING"),
                (b'C', code),
                (b'M', message),
            ] {
                out.put_u8(field);
                put_text(out, text);
            }
            out.put_u8(0);
        });
    }

    pub(super) fn put_complete(&mut self, tag: &str) {
        self.wire.put(b'C', |out| put_text(out, tag));
    }

    /// Says which columns follow.
    pub(super) fn put_columns(&mut self, columns: &[WireColumn], formats: &[i16]) {
        self.wire.put(b'T', |out| {
            out.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
            for (at, column) in columns.iter().enumerate() {
                put_text(out, &column.name);
                // Of no table that the client could ask about.
                out.put_i32(0);
                out.put_i16(0);
                out.put_u32(column.of.oid());
                out.put_i16(column.of.size());
                out.put_i32(column.modifier);
                out.put_i16(i16::from(is_binary(formats, at)));
            }
        });
    }

    fn put_ready(&mut self) {
        let status = self.transaction.status();
        self.wire.put(b'Z', |out| out.put_u8(status));
    }

    fn show(&mut self, name: &str, portal: &Portal) -> Result<u64, Stop> {
        let Some(value) = self.settings.get(name).map(str::to_owned) else {
            let what = format!("there is no setting {name:?}");
            return Err(Fault::new("42704", what).into());
        };
        if portal.is_simple {
            self.put_columns(&[WireColumn::text(name)], &[]);
        }
        self.put_texts(&[value.as_str()]);
        self.put_complete("SHOW");
        Ok(1)
    }

    fn show_all(&mut self, portal: &Portal) -> u64 {
        if portal.is_simple {
            self.put_columns(&shown_all(), &[]);
        }
        let all: Vec<(String, String)> = self
            .settings
            .all()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        for (name, value) in &all {
            self.put_texts(&[name.as_str(), value.as_str(), ""]);
        }
        self.put_complete("SHOW");
        u64::try_from(all.len()).unwrap_or(u64::MAX)
    }

    /// Writes a row of texts, which have the same bytes in both forms.
    fn put_texts(&mut self, texts: &[&str]) {
        self.wire.put(b'D', |out| {
            out.put_u16(u16::try_from(texts.len()).unwrap_or(u16::MAX));
            for text in texts {
                out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
                out.put_slice(text.as_bytes());
            }
        });
    }
}

/// Columns of `SHOW ALL`.
pub(super) fn shown_all() -> [WireColumn; 3] {
    ["name", "setting", "description"].map(WireColumn::text)
}

fn no_transaction() -> Fault {
    Fault::new("25P01", "that can only be in a transaction")
}

pub(super) fn no_cursor(name: &str) -> Fault {
    Fault::new("34000", format!("there is no cursor {name:?}"))
}

/// Parts of a conversation that a query needs.
pub(super) struct QueryContext {
    state: Arc<ServerState>,
    cancel: Arc<CancelHandle>,
    caller: Caller,
    timeout: Duration,
}

impl QueryContext {
    /// Surroundings of a query that has come now, with an id, in a text.
    pub(super) fn around<'a>(&'a self, id: &'a str, text: &'a str) -> Surroundings<'a> {
        Surroundings {
            state: &self.state,
            cancel: &self.cancel,
            caller: &self.caller,
            id,
            text,
            timeout: self.timeout,
            until: Instant::now() + self.timeout,
        }
    }
}

/// The fault of a connection that is asked for more than it may hold.
pub(super) fn too_many(what: &str) -> Fault {
    Fault::new("54000", format!("a connection may have no more {what}"))
}
