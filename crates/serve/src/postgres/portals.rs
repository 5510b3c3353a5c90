//! Prepared statements, portals and cursors: the extended protocol, and queries however they came.
//!
//! Invariant: a portal's rows come in the types that its client was told; a query is run once a portal, however often rows are taken from it. What a connection may hold is
//! bounded.

use super::bind::{self, UNKNOWN};
use super::columns::{WireColumn, WireType, columns};
use super::commands::{self, Command, DeclaredCursor, FetchOrder};
use super::conversation::{Conversation, Transaction, no_cursor, shown_all, too_many};
use super::copy::CopyOrder;
use super::fault::{Fault, NO_MESSAGE, NOT_THERE, Stop};
use super::reader::{BoundQuery, UnboundShape};
use super::running::{RowForm, Running, planned};
use super::wire::Parts;
use super::words::{Token, tokens};
use crate::observe::new_id;
use bytes::{BufMut, Bytes};
use std::sync::Arc;
use tillhouse_query::{LocatedStatement, QueryParameters, locate_statements};
use tokio::io::{AsyncRead, AsyncWrite};

/// Portals and cursors of a connection.
const PORTALS: usize = 16;
/// Prepared statements of a connection, and their bytes.
const PREPARED: (usize, usize) = (1_024, 8 << 20);
/// Bytes of a column that a client was told, with its name.
const TOLD: usize = 96;

/// A statement that was read.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) command: Command,
    pub(super) query: BoundQuery,
    /// Text that errors name a place of.
    text: Arc<str>,
    /// Numbers of the types of its parameters.
    types: Vec<u32>,
    /// Its columns, as the client was told.
    told: Option<Arc<[WireColumn]>>,
    /// True if it came as a text, and its columns are told with its rows.
    is_simple: bool,
}

/// A statement with the values of its parameters.
pub(super) struct Portal {
    pub(super) prepared: Arc<Prepared>,
    given: QueryParameters,
    /// Formats of the columns.
    formats: Vec<i16>,
    running: Option<Running>,
    /// True once all its rows were sent.
    is_done: bool,
    /// True for a cursor that outlives its transaction.
    pub(super) is_held: bool,
    pub(super) is_simple: bool,
}

impl Prepared {
    /// A statement of a text.
    pub(super) fn simple(statement: LocatedStatement, text: &Arc<str>) -> Self {
        Self {
            command: commands::read(&statement.sql),
            query: BoundQuery {
                sql: statement.sql,
                given: QueryParameters::default(),
                start: statement.start,
            },
            text: Arc::clone(text),
            types: Vec::new(),
            told: None,
            is_simple: true,
        }
    }

    /// Bytes that it holds: also a short text may name the last of 65,535 parameters, or have many columns.
    fn bytes(&self) -> usize {
        let told = self.told.as_ref().map_or(0, |told| told.len());
        let texts = self.text.len() + self.query.sql.len();
        texts + self.types.len() * size_of::<u32>() + told * TOLD
    }
}

impl Portal {
    pub(super) fn of(prepared: Arc<Prepared>) -> Self {
        Self {
            is_simple: prepared.is_simple,
            prepared,
            given: QueryParameters::default(),
            formats: Vec::new(),
            running: None,
            is_done: false,
            is_held: false,
        }
    }

    fn bound_query(&self) -> BoundQuery {
        BoundQuery {
            given: self.given.clone(),
            ..self.prepared.query.clone()
        }
    }
}

/// Number of parameters of a statement: `$7` is the seventh.
pub(crate) fn parameter_count(sql: &str) -> usize {
    let placed = tokens(sql);
    let pairs = placed.windows(2);
    let numbers = pairs.filter_map(|pair| match pair {
        [sign, number] if sign.token.is_sign('$') && sign.to == number.from => {
            match &number.token {
                Token::Number(digits) => digits.parse::<usize>().ok(),
                _ => None,
            }
        }
        _ => None,
    });
    // More than a message can have is no number of a parameter.
    numbers
        .filter(|number| *number <= usize::from(u16::MAX))
        .max()
        .unwrap_or_default()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    /// Parse: a statement to be run later.
    pub(super) fn parse(&mut self, body: Bytes) -> Result<(), Stop> {
        let mut parts = Parts::of(body);
        let (name, text) = (parts.text()?, Arc::<str>::from(parts.text()?));
        let mut types = Vec::new();
        for _ in 0..parts.count()? {
            types.push(u32::from_be_bytes(parts.long()?.to_be_bytes()));
        }
        let mut statements = locate_statements(&text);
        if statements.len() > 1 {
            let what = "a prepared statement is one statement";
            return Err(Fault::new("42601", what).into());
        }
        let statement = statements.pop().unwrap_or(LocatedStatement {
            sql: String::new(),
            start: (1, 1),
        });
        let count = parameter_count(&statement.sql);
        types.resize(count.max(types.len()), UNKNOWN);
        let prepared = Prepared {
            types,
            is_simple: false,
            ..Prepared::simple(statement, &text)
        };
        self.keep(name, prepared)?;
        self.wire.put(b'1', |_| {});
        Ok(())
    }

    /// Keeps a prepared statement in the place of one of its name.
    fn keep(&mut self, name: String, prepared: Prepared) -> Result<(), Fault> {
        self.prepared.remove(&name);
        let bytes: usize = self.prepared.values().map(|known| known.bytes()).sum();
        if self.prepared.len() >= PREPARED.0 || bytes + prepared.bytes() > PREPARED.1 {
            return Err(too_many("prepared statements"));
        }
        self.prepared.insert(name, Arc::new(prepared));
        Ok(())
    }

    /// Bind: a statement with its values.
    pub(super) fn bind(&mut self, body: Bytes) -> Result<(), Stop> {
        let mut parts = Parts::of(body);
        let (name, of) = (parts.text()?, parts.text()?);
        let mut formats = Vec::new();
        for _ in 0..parts.count()? {
            formats.push(parts.short()?);
        }
        let mut values = Vec::new();
        for _ in 0..parts.count()? {
            values.push(parts.value()?);
        }
        let mut columns = Vec::new();
        for _ in 0..parts.count()? {
            columns.push(parts.short()?);
        }
        let prepared = self.known_statement(&of)?;
        if values.len() != prepared.types.len() {
            let what = format!(
                "{} values were sent, and the statement has {} parameters",
                values.len(),
                prepared.types.len()
            );
            return Err(Fault::new(NO_MESSAGE, what).into());
        }
        self.portals.remove(&name);
        if self.portals.len() >= PORTALS {
            return Err(too_many("portals and cursors").into());
        }
        let given = bind::parameters(&prepared.types, &formats, &values)?;
        let portal = Portal {
            given,
            formats: columns,
            ..Portal::of(prepared)
        };
        self.portals.insert(name, portal);
        self.wire.put(b'2', |_| {});
        Ok(())
    }

    fn known_statement(&self, name: &str) -> Result<Arc<Prepared>, Fault> {
        let known = self.prepared.get(name).cloned();
        known.ok_or_else(|| Fault::new("26000", format!("there is no prepared statement {name:?}")))
    }

    /// Describe: the columns of a statement or a portal, and the parameters of a statement.
    pub(super) async fn describe(&mut self, body: Bytes) -> Result<(), Stop> {
        let mut parts = Parts::of(body);
        let (kind, name) = (parts.byte()?, parts.text()?);
        match kind {
            b'S' => self.describe_statement(&name).await,
            b'P' => self.describe_portal(&name).await,
            _ => Err(Fault::new(NO_MESSAGE, "nothing else is described").into()),
        }
    }

    async fn describe_statement(&mut self, name: &str) -> Result<(), Stop> {
        let prepared = self.known_statement(name)?;
        let mut described = Prepared::clone(&prepared);
        if let Command::Query(_) = prepared.command
            && !prepared.query.sql.is_empty()
        {
            let shape = self.shape(&prepared).await?;
            described.types = shape.types;
            let told = columns(&shape.columns)?;
            // How many digits a decimal has may depend on a value that is not there yet.
            described.told = Some(match described.types.is_empty() {
                true => told,
                false => told.iter().map(WireColumn::without_modifier).collect(),
            });
        }
        let types = described.types.clone();
        let told = self.told_columns(&described);
        self.keep(name.to_owned(), described)?;
        self.wire.put(b't', |out| {
            out.put_u16(u16::try_from(types.len()).unwrap_or(u16::MAX));
            types.iter().for_each(|of| out.put_u32(*of));
        });
        self.put_described(told, &[]);
        Ok(())
    }

    async fn describe_portal(&mut self, name: &str) -> Result<(), Stop> {
        let mut portal = self.portals.remove(name).ok_or_else(|| no_cursor(name))?;
        let is_query = matches!(portal.prepared.command, Command::Query(_));
        let is_told = portal.prepared.told.is_some() || portal.running.is_some();
        if is_query && !is_told && !portal.is_done && !portal.prepared.query.sql.is_empty() {
            // It is run with what it was planned for: the rows are asked for next.
            let running = self.begun(&portal, &new_id()).await?;
            running.rest();
            portal.running = Some(running);
        }
        let told = match &portal.running {
            Some(running) => Some(Arc::clone(&running.columns)),
            None => self.told_columns(&portal.prepared),
        };
        let formats = portal.formats.clone();
        self.portals.insert(name.to_owned(), portal);
        self.put_described(told, &formats);
        Ok(())
    }

    /// Columns that a client is told before there are rows.
    fn told_columns(&self, prepared: &Prepared) -> Option<Arc<[WireColumn]>> {
        match &prepared.command {
            Command::Show(name) => Some(Arc::from([WireColumn::text(name)])),
            Command::ShowAll => Some(Arc::from(shown_all())),
            Command::Fetch(order) if !order.is_move => {
                let cursor = self.portals.get(&order.cursor)?;
                cursor.running.as_ref().map(|of| Arc::clone(&of.columns))
            }
            _ => prepared.told.clone(),
        }
    }

    fn put_described(&mut self, told: Option<Arc<[WireColumn]>>, formats: &[i16]) {
        match told {
            Some(told) => self.put_columns(&told, formats),
            None => self.wire.put(b'n', |_| {}),
        }
    }

    /// Plans a query whose parameters have no values yet, to see its columns.
    async fn shape(&mut self, prepared: &Prepared) -> Result<UnboundShape, Stop> {
        self.check_transaction()?;
        let reader = self.reader()?;
        let context = self.context();
        let id = new_id();
        let around = context.around(&id, &prepared.text);
        let (query, types) = (prepared.query.clone(), prepared.types.clone());
        let work = move || async move { reader.unbound_shape(&query, types).await };
        planned(&around, &mut self.wire, work).await
    }

    /// Begins the query of a portal.
    async fn begun(&mut self, portal: &Portal, id: &str) -> Result<Running, Stop> {
        self.check_transaction()?;
        let reader = self.reader()?;
        let context = self.context();
        let text = &portal.prepared.text;
        let around = context.around(id, text);
        let mut running =
            Running::begin(&reader, portal.bound_query(), &around, &mut self.wire).await?;
        if let Some(told) = &portal.prepared.told {
            running.columns = as_told(told, &running.columns)?;
        }
        Ok(running)
    }

    /// Execute: rows of a portal.
    pub(super) async fn execute(&mut self, body: Bytes) -> Result<(), Stop> {
        let mut parts = Parts::of(body);
        let (name, most) = (parts.text()?, parts.long()?);
        let most = u64::try_from(most).ok().filter(|most| *most > 0);
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_cursor(&name))?;
        self.run_portal(&mut portal, most, "EXECUTE").await?;
        // One that ended a transaction ended with it.
        let ends_it = matches!(
            portal.prepared.command,
            Command::Commit | Command::Rollback | Command::Chain(_) | Command::DiscardAll
        );
        if !ends_it {
            self.portals.insert(name, portal);
        }
        Ok(())
    }

    /// Close: a statement or a portal, where there is one.
    pub(super) fn close(&mut self, body: Bytes) -> Result<(), Stop> {
        let mut parts = Parts::of(body);
        let (kind, name) = (parts.byte()?, parts.text()?);
        match kind {
            b'S' => drop(self.prepared.remove(&name)),
            b'P' => drop(self.portals.remove(&name)),
            _ => return Err(Fault::new(NO_MESSAGE, "nothing else is closed").into()),
        }
        self.wire.put(b'3', |_| {});
        Ok(())
    }

    /// Runs a query, or goes on with it.
    pub(super) async fn query(
        &mut self,
        portal: &mut Portal,
        most: Option<u64>,
        tag: &str,
        id: &str,
    ) -> Result<u64, Stop> {
        let prepared = Arc::clone(&portal.prepared);
        if prepared.query.sql.is_empty() {
            self.wire.put(b'I', |_| {});
            return Ok(0);
        }
        if portal.is_done {
            self.put_complete(&format!("{tag} 0"));
            return Ok(0);
        }
        let mut running = match portal.running.take() {
            Some(running) => running,
            None => {
                let running = self.begun(portal, id).await?;
                if portal.is_simple {
                    self.put_columns(&running.columns, &[]);
                }
                running
            }
        };
        let context = self.context();
        let around = context.around(id, &prepared.text);
        let form = RowForm::Messages(&portal.formats);
        let progress = running.send(form, most, &around, &mut self.wire).await?;
        portal.is_done = progress.is_at_end;
        match (progress.is_at_end, tag) {
            (false, _) => {
                self.wire.put(b's', |_| {});
                portal.running = Some(running);
            }
            (true, "SELECT") => self.put_complete(&format!("SELECT {}", progress.rows)),
            (true, tag) => self.put_complete(tag),
        }
        Ok(progress.rows)
    }

    /// Runs a query and sends its rows as data of COPY.
    pub(super) async fn copy(
        &mut self,
        prepared: &Prepared,
        order: &CopyOrder,
        id: &str,
    ) -> Result<u64, Stop> {
        let reader = self.reader()?;
        let context = self.context();
        let around = context.around(id, &prepared.text);
        let query = BoundQuery {
            sql: order.sql.clone(),
            given: QueryParameters::default(),
            start: order
                .from
                .map_or(prepared.query.start, |from| within(&prepared.query, from)),
        };
        let mut running = Running::begin(&reader, query, &around, &mut self.wire).await?;
        let format = &order.format;
        let count = running.columns.len();
        self.wire.put(b'H', |out| {
            out.put_u8(u8::from(format.is_binary()));
            out.put_u16(u16::try_from(count).unwrap_or(u16::MAX));
            (0..count).for_each(|_| out.put_i16(i16::from(format.is_binary())));
        });
        let names: Vec<String> = running.columns.iter().map(|of| of.name.clone()).collect();
        self.put_data(|out| format.put_begin(names.iter().map(String::as_str), out));
        let form = RowForm::Copy(format);
        let progress = running.send(form, None, &around, &mut self.wire).await?;
        self.put_data(|out| {
            if progress.rows == 0 {
                format.put_signature(out);
            }
            format.put_end(out)
        });
        self.wire.put(b'c', |_| {});
        self.put_complete(&format!("COPY {}", progress.rows));
        Ok(progress.rows)
    }

    /// Writes data of COPY, unless there is none.
    fn put_data(&mut self, fill: impl FnOnce(&mut bytes::BytesMut) -> bool) {
        let _ = self.wire.try_put(b'd', |out| match fill(out) {
            true => Ok(()),
            false => Err(()),
        });
    }

    /// Begins a cursor.
    pub(super) async fn declare(
        &mut self,
        portal: &Portal,
        cursor: &DeclaredCursor,
        id: &str,
    ) -> Result<u64, Stop> {
        let prepared = &portal.prepared;
        if matches!(self.transaction, Transaction::None) && !cursor.is_held {
            let what = "a cursor that ends with its transaction needs one";
            return Err(Fault::new("25P01", what)
                .hint("Send BEGIN first, or declare it WITH HOLD.")
                .into());
        }
        if self.portals.contains_key(&cursor.name) {
            let what = format!("there is a cursor {:?} already", cursor.name);
            return Err(Fault::new("42P03", what).into());
        }
        if self.portals.len() >= PORTALS {
            return Err(too_many("portals and cursors").into());
        }
        let reader = self.reader()?;
        let context = self.context();
        let around = context.around(id, &prepared.text);
        let query = BoundQuery {
            sql: cursor.sql.clone(),
            given: portal.given.clone(),
            start: within(&prepared.query, cursor.from),
        };
        if !matches!(commands::read(&query.sql), Command::Query("SELECT")) {
            return Err(Fault::new(NOT_THERE, "a cursor is over a query").into());
        }
        let running = Running::begin(&reader, query, &around, &mut self.wire).await?;
        running.rest();
        let portal = Portal {
            running: Some(running),
            is_held: cursor.is_held,
            ..Portal::of(Arc::clone(prepared))
        };
        self.portals.insert(cursor.name.clone(), portal);
        self.put_complete("DECLARE CURSOR");
        Ok(0)
    }

    /// Takes rows from a cursor, or passes them over.
    pub(super) async fn fetch(
        &mut self,
        order: &FetchOrder,
        portal: &Portal,
        id: &str,
    ) -> Result<u64, Stop> {
        let name = &order.cursor;
        let mut cursor = self.portals.remove(name).ok_or_else(|| no_cursor(name))?;
        let Some(running) = &mut cursor.running else {
            self.portals.insert(name.clone(), cursor);
            return Err(no_cursor(name).into());
        };
        let context = self.context();
        let text = &portal.prepared.text;
        let around = context.around(id, text);
        let form = match order.is_move {
            true => RowForm::Skipped,
            false => RowForm::Messages(&portal.formats),
        };
        if portal.is_simple && !order.is_move {
            self.put_columns(&running.columns, &[]);
        }
        let progress = running
            .send(form, order.count, &around, &mut self.wire)
            .await?;
        self.portals.insert(name.clone(), cursor);
        let verb = if order.is_move { "MOVE" } else { "FETCH" };
        self.put_complete(&format!("{verb} {}", progress.rows));
        Ok(progress.rows)
    }
}

/// Line and column of a byte of a statement, in the text that it came in.
fn within(query: &BoundQuery, from: usize) -> (u64, u64) {
    let before = query.sql.get(..from).unwrap_or_default();
    let lines = before.matches('\n').count();
    let behind = before.rsplit('\n').next().unwrap_or_default();
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let column = number(behind.chars().count());
    match lines {
        0 => (query.start.0, query.start.1.saturating_add(column)),
        lines => (query.start.0.saturating_add(number(lines)), column + 1),
    }
}

/// Columns in the types that a client was told, where the rows can be written so.
fn as_told(told: &Arc<[WireColumn]>, are: &Arc<[WireColumn]>) -> Result<Arc<[WireColumn]>, Fault> {
    let fits = |(told, is): (&WireColumn, &WireColumn)| {
        let is_nested = matches!(is.of, WireType::Json | WireType::List(_));
        // A decimal that a client sends may be whole, and a value that it sends may be none.
        let is_whole = matches!(is.of, WireType::Int2 | WireType::Int4 | WireType::Int8);
        told.of == is.of
            || is.is_null
            || (told.of == WireType::Text && !is_nested)
            || (told.of == WireType::Numeric && is_whole)
    };
    match told.len() == are.len() && told.iter().zip(are.iter()).all(fits) {
        true => Ok(Arc::clone(told)),
        false => Err(
            Fault::new(NOT_THERE, "the columns are not those that were told before")
                .hint("Prepare the statement anew, and say the types of its parameters."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_by_the_highest() {
        for (sql, count) in [
            ("SELECT 1", 0),
            ("SELECT $1, $3", 3),
            ("SELECT '$5', \"$6\" -- $7", 0),
            ("SELECT $10 + $2", 10),
            ("SELECT $99999999999", 0),
        ] {
            assert_eq!(parameter_count(sql), count, "{sql}");
        }
    }

    #[test]
    fn a_query_within_a_statement_knows_its_place() {
        let query = |sql: &str, start| BoundQuery {
            sql: sql.to_owned(),
            given: QueryParameters::default(),
            start,
        };
        assert_eq!(
            within(&query("COPY (SELECT 1) TO STDOUT", (2, 5)), 6),
            (2, 11)
        );
        assert_eq!(within(&query("COPY\n (SELECT 1)", (2, 5)), 7), (3, 3));
    }
}
