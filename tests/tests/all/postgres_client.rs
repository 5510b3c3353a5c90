//! A client of PostgreSQL's protocol that sends any bytes, right ones and wrong ones, and shows every message that comes back.
//!
//! Invariant: nothing is read into a message that it does not say; a server that says nothing for too long fails the test.

use crate::scram_client::ScramClient;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Time after which a message that is waited for does not come.
const LIMIT: Duration = Duration::from_secs(60);

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerMessage {
    pub(crate) kind: char,
    pub(crate) body: Vec<u8>,
}

/// Value of a column, as it came.
pub(crate) type RawValue = Option<Vec<u8>>;

/// A column, as its description has it: name, number of its type, modifier, format.
pub(crate) type RawColumn = (String, u32, i32, u16);

/// Bytes to and from a server, encrypted or not.
trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for S {}

/// A connection.
pub(crate) struct PostgresClient {
    stream: Box<dyn Transport>,
    /// Settings that the server told.
    pub(crate) told: BTreeMap<String, String>,
    /// Number and secret, for cancel requests.
    pub(crate) key: (i32, i32),
}

/// Parts of the body of a message.
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        self
    }

    pub(crate) fn short(mut self, number: u16) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(crate) fn long(mut self, number: i32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A value behind its length, or none.
    pub(crate) fn value(self, value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => self.long(i32::try_from(value.len()).unwrap()).bytes(value),
            None => self.long(-1),
        }
    }

    /// A message of this body.
    pub(crate) fn message(self, kind: u8) -> Vec<u8> {
        let length = u32::try_from(self.0.len() + 4).unwrap();
        let length = length.to_be_bytes();
        [[kind].as_slice(), length.as_slice(), self.0.as_slice()].concat()
    }
}

impl ServerMessage {
    /// Texts of a message that is made of them.
    fn texts(&self) -> Vec<String> {
        let texts = self.body.split(|byte| *byte == 0);
        texts
            .map(|text| String::from_utf8(text.to_vec()).unwrap())
            .collect()
    }

    /// Fields of an error or a notice, by their letters.
    pub(crate) fn fields(&self) -> BTreeMap<char, String> {
        assert!(matches!(self.kind, 'E' | 'N'), "no error: {self:?}");
        let texts = self.texts();
        let fields = texts.iter().filter(|text| !text.is_empty());
        fields
            .map(|text| (text.chars().next().unwrap(), text[1..].to_owned()))
            .collect()
    }
}

/// Bytes of a body that are taken from its front.
fn take<'a>(body: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (front, rest) = body.split_at(count);
    *body = rest;
    front
}

fn take_short(body: &mut &[u8]) -> u16 {
    u16::from_be_bytes(take(body, 2).try_into().unwrap())
}

fn take_long(body: &mut &[u8]) -> i32 {
    i32::from_be_bytes(take(body, 4).try_into().unwrap())
}

/// Rows of an answer.
pub(crate) fn rows(messages: &[ServerMessage]) -> Vec<Vec<RawValue>> {
    let rows = messages.iter().filter(|message| message.kind == 'D');
    rows.map(|row| {
        let mut body = row.body.as_slice();
        (0..take_short(&mut body))
            .map(|_| {
                let length = usize::try_from(take_long(&mut body)).ok()?;
                Some(take(&mut body, length).to_vec())
            })
            .collect()
    })
    .collect()
}

/// Rows of an answer as texts; what is not there is `NULL`.
pub(crate) fn texts(messages: &[ServerMessage]) -> Vec<Vec<String>> {
    let text = |value: RawValue| match value {
        Some(bytes) => String::from_utf8(bytes).unwrap(),
        None => "NULL".to_owned(),
    };
    let rows = rows(messages).into_iter();
    rows.map(|row| row.into_iter().map(text).collect())
        .collect()
}

/// Columns of an answer.
pub(crate) fn columns(messages: &[ServerMessage]) -> Vec<RawColumn> {
    let described = messages.iter().find(|message| message.kind == 'T');
    let mut body = described.expect("columns are described").body.as_slice();
    (0..take_short(&mut body))
        .map(|_| {
            let end = body.iter().position(|byte| *byte == 0).unwrap();
            let name = String::from_utf8(take(&mut body, end).to_vec()).unwrap();
            take(&mut body, 1 + 4 + 2);
            let of = u32::from_be_bytes(take(&mut body, 4).try_into().unwrap());
            take(&mut body, 2);
            (name, of, take_long(&mut body), take_short(&mut body))
        })
        .collect()
}

/// Ends of answers: `SELECT 3`.
pub(crate) fn tags(messages: &[ServerMessage]) -> Vec<String> {
    let ends = messages.iter().filter(|message| message.kind == 'C');
    ends.map(|end| end.texts()[0].clone()).collect()
}

/// Kinds of messages, in their order.
pub(crate) fn kinds(messages: &[ServerMessage]) -> String {
    messages.iter().map(|message| message.kind).collect()
}

/// The error of an answer, which has to be there.
pub(crate) fn error(messages: &[ServerMessage]) -> BTreeMap<char, String> {
    let error = messages.iter().find(|message| message.kind == 'E');
    error
        .unwrap_or_else(|| panic!("no error: {messages:?}"))
        .fields()
}

impl PostgresClient {
    /// A connection that has said nothing yet.
    pub(crate) async fn silent(address: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    fn over(stream: impl Transport + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            told: BTreeMap::new(),
            key: (0, 0),
        }
    }

    /// An encrypted connection to a server of this machine whose certificate is of an authority; it has said nothing yet.
    pub(crate) async fn encrypted(address: &str, authority: &Path) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let wish = [8_i32.to_be_bytes(), 80_877_103_i32.to_be_bytes()].concat();
        stream.write_all(&wish).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(authority).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        Self::over(connector.connect(name, stream).await.unwrap())
    }

    /// A connection of whoever is on this machine, once it may ask.
    pub(crate) async fn connect(address: &str) -> Self {
        let entered = Self::silent(address).await.enter("ada", "").await;
        entered.expect("it comes in")
    }

    /// A connection of a user, once it may ask; the fields of the error where it is not let in.
    pub(crate) async fn log_in(
        address: &str,
        user: &str,
        password: &str,
    ) -> Result<Self, BTreeMap<char, String>> {
        Self::silent(address).await.enter(user, password).await
    }

    /// Says who comes, and proves a password where it is asked for.
    pub(crate) async fn enter(
        mut self,
        user: &str,
        password: &str,
    ) -> Result<Self, BTreeMap<char, String>> {
        let said = Body::new()
            .long(3 << 16)
            .text("user")
            .text(user)
            .text("database")
            .text("tillhouse")
            .text("application_name")
            .text("tests")
            .text("");
        self.send_first(said).await;
        let mut scram = ScramClient::new(password);
        loop {
            let message = self.message().await.expect("it is not closed silently");
            match message.kind {
                'R' => self.authenticate(&mut scram, &message.body).await,
                'S' => {
                    let texts = message.texts();
                    self.told.insert(texts[0].clone(), texts[1].clone());
                }
                'K' => {
                    let mut body = message.body.as_slice();
                    self.key = (take_long(&mut body), take_long(&mut body));
                }
                'Z' => {
                    assert_eq!(message.body, b"I");
                    return Ok(self);
                }
                'E' => return Err(message.fields()),
                _ => panic!("it is not expected: {message:?}"),
            }
        }
    }

    /// Answers a message of the login.
    async fn authenticate(&mut self, scram: &mut ScramClient, mut body: &[u8]) {
        let kind = take_long(&mut body);
        let text = std::str::from_utf8(body).unwrap();
        match kind {
            0 => assert!(body.is_empty()),
            10 => {
                assert_eq!(text, "SCRAM-SHA-256\0\0");
                let said = Body::new().text("SCRAM-SHA-256");
                let said = said.value(Some(scram.first().as_bytes()));
                self.send(&said.message(b'p')).await;
            }
            11 => {
                let last = scram.last(text);
                let said = Body::new().bytes(last.as_bytes());
                self.send(&said.message(b'p')).await;
            }
            12 => scram.check_server(text),
            _ => panic!("a login of another kind is asked for: {kind}"),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a message without a kind.
    pub(crate) async fn send_first(&mut self, body: Body) {
        let message = body.message(0);
        self.send(&message[1..]).await;
    }

    /// A byte that is no message.
    pub(crate) async fn byte(&mut self) -> u8 {
        let byte = tokio::time::timeout(LIMIT, self.stream.read_u8()).await;
        byte.expect("it answers").expect("it answers")
    }

    /// The next message; none where the server has closed the connection.
    pub(crate) async fn message(&mut self) -> Option<ServerMessage> {
        let read = async {
            let kind = self.stream.read_u8().await.ok()?;
            let length = self.stream.read_u32().await.ok()?;
            let mut body = vec![0; usize::try_from(length).unwrap() - 4];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(ServerMessage {
                kind: char::from(kind),
                body,
            })
        };
        let read = tokio::time::timeout(LIMIT, read).await;
        read.expect("a message comes")
    }

    /// Messages up to the one that says that more may be asked.
    pub(crate) async fn until_ready(&mut self) -> Vec<ServerMessage> {
        let mut messages = Vec::new();
        loop {
            let message = self.message().await;
            let message = message.unwrap_or_else(|| panic!("it was closed: {messages:?}"));
            let is_ready = message.kind == 'Z';
            messages.push(message);
            if is_ready {
                return messages;
            }
        }
    }

    /// Messages until the connection is closed.
    pub(crate) async fn until_closed(&mut self) -> Vec<ServerMessage> {
        let mut messages = Vec::new();
        while let Some(message) = self.message().await {
            messages.push(message);
        }
        messages
    }

    /// Asks with a text.
    pub(crate) async fn query(&mut self, sql: &str) -> Vec<ServerMessage> {
        self.send(&Body::new().text(sql).message(b'Q')).await;
        self.until_ready().await
    }

    /// Asks with a text that has to be answered, for rows as texts.
    pub(crate) async fn texts(&mut self, sql: &str) -> Vec<Vec<String>> {
        let messages = self.query(sql).await;
        let failed = messages.iter().find(|message| message.kind == 'E');
        assert!(failed.is_none(), "{sql}: {:?}", failed.unwrap().fields());
        texts(&messages)
    }
}

/// Parse, without types of parameters but those that are given.
pub(crate) fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let body = Body::new()
        .text(name)
        .text(sql)
        .short(u16::try_from(types.len()).unwrap());
    let body = types
        .iter()
        .fold(body, |body, of| body.bytes(&of.to_be_bytes()));
    body.message(b'P')
}

/// Bind, with values in one format and columns in one.
pub(crate) fn bind(
    portal: &str,
    of: &str,
    (format, values): (u16, &[Option<&[u8]>]),
    columns: u16,
) -> Vec<u8> {
    let body = Body::new().text(portal).text(of).short(1).short(format);
    let body = body.short(u16::try_from(values.len()).unwrap());
    let body = values.iter().fold(body, |body, value| body.value(*value));
    body.short(1).short(columns).message(b'B')
}

/// Describe, of a statement (`S`) or a portal (`P`).
pub(crate) fn describe(kind: u8, name: &str) -> Vec<u8> {
    Body::new().bytes(&[kind]).text(name).message(b'D')
}

/// Execute, for a number of rows at most; 0 for all.
pub(crate) fn execute(portal: &str, most: i32) -> Vec<u8> {
    Body::new().text(portal).long(most).message(b'E')
}

/// Sync.
pub(crate) fn sync() -> Vec<u8> {
    Body::new().message(b'S')
}
