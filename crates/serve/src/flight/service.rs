//! The methods of Flight, and what Flight SQL puts into them.
//!
//! Invariant: every method but the handshake is called by who has come in, since the listener lets nobody else through; what a call names by a handle or a ticket is held or
//! signed for that user. A command that is not known, or not there, says so, and nothing that would write is begun.

use super::ENDPOINT;
use super::held::{Held, PreparedStatement, Transaction};
use super::metadata;
use super::parameters::BoundValues;
use super::sent::{sent_schema, sent_type};
use super::statements::{AnswerMessages, Entered, Statements};
use super::status::{http_status, read_only, refused, wrong};
use crate::observe::new_id;
use crate::observed_statement::ObservedStatement;
use crate::postgres::parameter_count;
use crate::problem::Problem;
use crate::state::ServerState;
use crate::tokens::TokenOwner;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionCancelQueryRequest,
    ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    ActionEndTransactionRequest, Any, Command, DoPutPreparedStatementResult, EndTransaction,
    ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria,
    Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, IpcMessage, PollInfo, PutResult, Result as ActionResult, SchemaAsIpc,
    SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use prost::Message;
use std::sync::Arc;
use std::time::Instant;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Response, Status, Streaming};

/// Header of a login, and of every call after it.
const AUTHORIZATION: &str = "authorization";
/// Token of who logs in where there are no users: none is asked for.
const GUEST: &str = "guest";
/// Batches of values that are looked at for the one row that there is.
const MOST_BATCHES: usize = 16;
/// Actions that there are, and what each does.
const ACTIONS: [(&str, &str); 6] = [
    (
        "CreatePreparedStatement",
        "Prepares a query; its columns and its parameters.",
    ),
    ("ClosePreparedStatement", "Ends a prepared statement."),
    (
        "BeginTransaction",
        "Begins a transaction, which reads one run to its end.",
    ),
    ("EndTransaction", "Ends a transaction."),
    ("CancelQuery", "Cancels a query that is being answered."),
    (
        "CancelFlightInfo",
        "Cancels a query that is being answered.",
    ),
];

type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// The methods.
pub(super) struct FlightMethods {
    statements: Statements,
    prepared: Held<PreparedStatement>,
    transactions: Held<Transaction>,
}

/// Answer to a question that has one part.
fn one<T: Send + 'static>(part: T) -> Response<Answers<T>> {
    Response::new(stream::iter([Ok(part)]).boxed())
}

fn not_there(what: &str) -> Status {
    Status::unimplemented(format!("{what} is not there"))
}

/// The sender of a call.
fn entered<T>(request: &Request<T>) -> Result<Entered, Status> {
    let known = request.extensions().get::<Entered>();
    known
        .cloned()
        .ok_or_else(|| Status::unauthenticated("nobody is named"))
}

fn unreadable(what: &str) -> Status {
    wrong(
        &format!("{what} cannot be read"),
        "Send what Flight SQL has in its place.",
    )
}

/// The command of a descriptor or a ticket.
fn command(bytes: &[u8]) -> Result<Command, Status> {
    let any = Any::decode(bytes).map_err(|_| unreadable("the command"))?;
    Command::try_from(any).map_err(|_| unreadable("the command"))
}

/// The request of an action.
fn unpacked<M: ProstMessageExt>(body: &[u8]) -> Result<M, Status> {
    let any = Any::decode(body).map_err(|_| unreadable("the action"))?;
    let request = any.unpack().ok().flatten();
    request.ok_or_else(|| unreadable("the action"))
}

/// The refusal of a command that no query is made by.
fn no_query(command: &Command) -> Status {
    match command {
        Command::CommandStatementUpdate(_)
        | Command::CommandPreparedStatementUpdate(_)
        | Command::CommandStatementIngest(_) => read_only(),
        Command::CommandStatementSubstraitPlan(_) => not_there("Substrait"),
        _ => unreadable("the command"),
    }
}

/// Columns as an IPC message.
fn written(columns: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message: Result<IpcMessage, ArrowError> = SchemaAsIpc::new(columns, &options).try_into();
    let IpcMessage(bytes) = message.map_err(unwritten)?;
    Ok(bytes)
}

fn unwritten(error: ArrowError) -> Status {
    let problem = Problem::internal(format!("columns cannot be written: {error}"));
    refused(&problem, &new_id())
}

/// Columns of an answer, and the ticket that it is fetched by.
struct Planned {
    columns: SchemaRef,
    ticket: Vec<u8>,
}

impl FlightMethods {
    pub(super) fn new(state: Arc<ServerState>) -> Result<Self, Problem> {
        Ok(Self {
            statements: Statements::new(state)?,
            prepared: Held::default(),
            transactions: Held::default(),
        })
    }

    fn state(&self) -> &Arc<ServerState> {
        &self.statements.state
    }

    /// The run that a query reads: its transaction's, else the newest.
    fn run_of(&self, entered: &Entered, transaction: Option<&Bytes>) -> Result<String, Status> {
        match transaction.filter(|id| !id.is_empty()) {
            None => self.statements.newest_run(),
            Some(id) => Ok(self.transactions.get(entered.user(), id)?.run),
        }
    }

    /// The run that a prepared statement reads: that of the transaction that it was prepared in, and the newest once that has ended, since drivers keep statements for longer.
    fn run_of_prepared(
        &self,
        entered: &Entered,
        prepared: &PreparedStatement,
    ) -> Result<String, Status> {
        let transaction = prepared.transaction.as_ref();
        match transaction.map(|id| self.transactions.get(entered.user(), id)) {
            Some(Ok(transaction)) => Ok(transaction.run),
            Some(Err(_)) | None => self.statements.newest_run(),
        }
    }

    /// Errors for a query that is longer than a request may be.
    fn check_length(&self, sql: &str) -> Result<(), Status> {
        let most = self.state().options.body_bytes;
        match sql.len() > most {
            false => Ok(()),
            true => Err(Status::resource_exhausted(format!(
                "the query has more than the {most} bytes that one may have. serve.body in tillhouse.yaml is the limit."
            ))),
        }
    }

    /// Plans what a descriptor asks for.
    async fn planned(
        &self,
        entered: &Entered,
        method: &str,
        descriptor: &FlightDescriptor,
    ) -> Result<Planned, Status> {
        let command = command(&descriptor.cmd)?;
        let (sql, values, run) = match &command {
            Command::CommandStatementQuery(asked) => {
                self.check_length(&asked.query)?;
                BoundValues::check_count(None, parameter_count(&asked.query))?;
                let run = self.run_of(entered, asked.transaction_id.as_ref())?;
                (asked.query.clone(), None, run)
            }
            Command::CommandPreparedStatementQuery(asked) => {
                let handle = &asked.prepared_statement_handle;
                let prepared = self.prepared.get(entered.user(), handle)?;
                BoundValues::check_count(prepared.values.as_ref(), prepared.parameters)?;
                let run = self.run_of_prepared(entered, &prepared)?;
                (prepared.sql.to_string(), prepared.values, run)
            }
            _ => return list(&command, descriptor),
        };
        let question = self.statements.question(entered, &sql, run);
        let planning = self
            .statements
            .plan(entered, method, &question, values.as_ref());
        let columns = planning.await?;
        let signed = self.statements.signer.ticket(&question, values.as_ref());
        let handle = signed.map_err(|problem| refused(&problem, &question.id))?;
        let ticket = TicketStatementQuery {
            statement_handle: handle.into(),
        };
        Ok(Planned {
            columns,
            ticket: ticket.as_any().encode_to_vec(),
        })
    }

    /// Answers what a ticket names.
    async fn fetched(&self, entered: &Entered, ticket: &Ticket) -> Result<AnswerMessages, Status> {
        match command(&ticket.ticket)? {
            Command::TicketStatementQuery(asked) => {
                let signer = &self.statements.signer;
                let (question, values) = signer.read(&asked.statement_handle, entered.user())?;
                self.statements
                    .answer(entered, question, values.as_ref())
                    .await
            }
            // Not every driver asks what it will get.
            Command::CommandPreparedStatementQuery(asked) => {
                let handle = &asked.prepared_statement_handle;
                let prepared = self.prepared.get(entered.user(), handle)?;
                BoundValues::check_count(prepared.values.as_ref(), prepared.parameters)?;
                let run = self.run_of_prepared(entered, &prepared)?;
                let question = self.statements.question(entered, &prepared.sql, run);
                let values = prepared.values.as_ref();
                self.statements.answer(entered, question, values).await
            }
            other => match told(metadata::columns(&other))? {
                Some(_) => self.statements.list(entered, other).await,
                None => Err(no_query(&other)),
            },
        }
    }

    /// Prepares a query.
    async fn prepare(
        &self,
        entered: &Entered,
        asked: ActionCreatePreparedStatementRequest,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let sql = asked.query;
        self.check_length(&sql)?;
        let transaction = asked.transaction_id.filter(|id| !id.is_empty());
        let run = self.run_of(entered, transaction.as_ref())?;
        let method = "CreatePreparedStatement";
        let shape = self.statements.shape(entered, method, &sql, run).await?;
        let parameters = parameter_count(&sql);
        let of_parameters = (1..=parameters).map(|number| {
            let of = shape.parameters.get(&number.to_string());
            // A text stands for what no place has a type for.
            let of = of.map_or(DataType::Utf8, sent_type);
            Field::new(format!("${number}"), of, true)
        });
        let of_parameters = Schema::new(of_parameters.collect::<Vec<_>>());
        let statement = PreparedStatement {
            sql: sql.into(),
            parameters,
            values: None,
            transaction,
        };
        Ok(ActionCreatePreparedStatementResult {
            dataset_schema: written(&sent_schema(&shape.columns))?,
            parameter_schema: written(&of_parameters)?,
            prepared_statement_handle: self.prepared.keep(entered.user(), statement)?,
        })
    }

    /// Binds values to a prepared statement.
    async fn bind(
        &self,
        entered: &Entered,
        handle: Bytes,
        sent: Answers<FlightData>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let prepared = self.prepared.get(entered.user(), &handle)?;
        let values = match only_row(sent).await? {
            Some(row) => Some(BoundValues::of_row(&row)?),
            None => None,
        };
        let bound = PreparedStatement { values, ..prepared };
        self.prepared.replace(entered.user(), &handle, bound)?;
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(handle),
        })
    }

    /// Cancels what is being answered of the tickets of an answer; false where nothing is.
    fn cancel(&self, entered: &Entered, info: &FlightInfo) -> Result<bool, Status> {
        let mut is_any = false;
        for ticket in info.endpoint.iter().filter_map(|of| of.ticket.as_ref()) {
            if let Command::TicketStatementQuery(asked) = command(&ticket.ticket)? {
                let signer = &self.statements.signer;
                let (question, _) = signer.read(&asked.statement_handle, entered.user())?;
                is_any |= self.statements.cancel(&question);
            }
        }
        Ok(is_any)
    }

    /// Does an action; its result, where it has one.
    async fn act(&self, entered: &Entered, action: Action) -> Result<Option<Vec<u8>>, Status> {
        let body = &action.body;
        Ok(match action.r#type.as_str() {
            "CreatePreparedStatement" => {
                let prepared = self.prepare(entered, unpacked(body)?).await?;
                Some(prepared.as_any().encode_to_vec())
            }
            "ClosePreparedStatement" => {
                let asked: ActionClosePreparedStatementRequest = unpacked(body)?;
                let handle = &asked.prepared_statement_handle;
                self.prepared.end(entered.user(), handle)?;
                None
            }
            "BeginTransaction" => {
                let ActionBeginTransactionRequest {} = unpacked(body)?;
                let run = self.statements.newest_run()?;
                let held = self
                    .transactions
                    .keep(entered.user(), Transaction { run })?;
                let begun = ActionBeginTransactionResult {
                    transaction_id: held,
                };
                Some(begun.as_any().encode_to_vec())
            }
            "EndTransaction" => {
                let asked: ActionEndTransactionRequest = unpacked(body)?;
                if asked.action() == EndTransaction::Unspecified {
                    let what = "nothing says how the transaction ends";
                    return Err(wrong(what, "Commit it or roll it back; both end it."));
                }
                self.transactions
                    .end(entered.user(), &asked.transaction_id)?;
                None
            }
            "CancelQuery" => {
                let asked: ActionCancelQueryRequest = unpacked(body)?;
                let info = FlightInfo::decode(asked.info);
                let info = info.map_err(|_| unreadable("the action"))?;
                let status = cancel_status(self.cancel(entered, &info)?);
                let cancelled = ActionCancelQueryResult {
                    result: status.into(),
                };
                Some(cancelled.as_any().encode_to_vec())
            }
            "CancelFlightInfo" => {
                let asked = CancelFlightInfoRequest::decode(&**body);
                let asked = asked.map_err(|_| unreadable("the action"))?;
                let info = asked.info.ok_or_else(|| unreadable("the action"))?;
                let status = cancel_status(self.cancel(entered, &info)?);
                Some(CancelFlightInfoResult::new(status).encode_to_vec())
            }
            _ => return Err(not_there("that action")),
        })
    }

    /// A token for who has come in by a name and a password.
    fn token(&self, request: &Request<Streaming<HandshakeRequest>>) -> Result<String, Status> {
        let state = self.state();
        let Some(users) = state.callers.users() else {
            return Ok(GUEST.to_owned());
        };
        let entered = entered(request)?;
        let sent = request.metadata().get(AUTHORIZATION);
        let scheme = sent.and_then(|sent| sent.to_str().ok()?.trim().split(' ').next());
        // A token that is given for a token would never end.
        let is_basic = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"));
        let Some(user) = entered.caller.user.as_ref().filter(|_| is_basic) else {
            let what = "a login needs a name and a password. Send them as `authorization: Basic`.";
            return Err(Status::unauthenticated(what));
        };
        let owner = TokenOwner {
            fingerprint: users.fingerprint(&user.name),
            name: user.name.clone(),
        };
        let who = (Some(user.name.as_str()), entered.peer);
        let observed = ObservedStatement::new(state, ENDPOINT, who, ("LOGIN", ""));
        let token = state.tokens.give(Instant::now(), owner).access;
        observed.finish(200, 0, 0);
        Ok(token)
    }
}

/// Outcome of what has no line of its own in the log.
fn told<T>(outcome: Result<T, Problem>) -> Result<T, Status> {
    outcome.map_err(|problem| refused(&problem, &new_id()))
}

/// Columns of a list, which is fetched by the command that asks for it.
fn list(command: &Command, descriptor: &FlightDescriptor) -> Result<Planned, Status> {
    match told(metadata::columns(command))? {
        Some(columns) => Ok(Planned {
            columns,
            ticket: descriptor.cmd.to_vec(),
        }),
        None => Err(no_query(command)),
    }
}

fn cancel_status(is_any: bool) -> CancelStatus {
    match is_any {
        true => CancelStatus::Cancelled,
        false => CancelStatus::NotCancellable,
    }
}

/// The only row that was sent; none where there is no column or no row.
async fn only_row(sent: Answers<FlightData>) -> Result<Option<RecordBatch>, Status> {
    let sent = sent.map_err(FlightError::from);
    let mut batches = FlightRecordBatchStream::new_from_flight_data(sent);
    let (mut row, mut seen) = (None, 0_usize);
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            _ => unreadable("the values of parameters"),
        })?;
        seen += 1;
        if batch.num_rows() > 1 || seen > MOST_BATCHES || (batch.num_rows() == 1 && row.is_some()) {
            let hint = "Bind one, ask, and bind the next.";
            return Err(wrong("a query has one row of values", hint));
        }
        if batch.num_rows() == 1 && batch.num_columns() > 0 {
            row = Some(batch);
        }
    }
    Ok(row)
}

#[tonic::async_trait]
impl FlightService for FlightMethods {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = AnswerMessages;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<ActionResult>;
    type ListActionsStream = Answers<ActionType>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let token = self.token(&request)?;
        let bearer: AsciiMetadataValue = format!("Bearer {token}")
            .parse()
            .map_err(|_| Status::internal("the token cannot be sent"))?;
        let mut response = one(HandshakeResponse {
            protocol_version: 0,
            payload: token.into_bytes().into(),
        });
        response.metadata_mut().insert(AUTHORIZATION, bearer);
        Ok(response)
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(not_there("a list of flights"))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let entered = entered(&request)?;
        let descriptor = request.into_inner();
        let planned = self.planned(&entered, "GetFlightInfo", &descriptor).await?;
        let info = FlightInfo::new().try_with_schema(&planned.columns);
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(planned.ticket));
        let info = info.map_err(unwritten)?.with_endpoint(endpoint);
        Ok(Response::new(
            info.with_descriptor(descriptor).with_ordered(true),
        ))
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(not_there("polling"))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let entered = entered(&request)?;
        let descriptor = request.get_ref();
        let planned = self.planned(&entered, "GetSchema", descriptor).await?;
        Ok(Response::new(SchemaResult {
            schema: written(&planned.columns)?,
        }))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let entered = entered(&request)?;
        let answer = self.fetched(&entered, request.get_ref()).await?;
        Ok(Response::new(answer))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let entered = entered(&request)?;
        let mut sent = request.into_inner();
        let first = sent.message().await?;
        let first = first.ok_or_else(|| unreadable("the command"))?;
        let descriptor = first.flight_descriptor.as_ref();
        let asked = descriptor.ok_or_else(|| unreadable("the command"))?;
        match command(&asked.cmd)? {
            Command::CommandPreparedStatementQuery(asked) => {
                let handle = asked.prepared_statement_handle;
                let all = stream::iter([Ok(first)]).chain(sent).boxed();
                let bound = self.bind(&entered, handle, all).await?;
                Ok(one(PutResult {
                    app_metadata: bound.encode_to_vec().into(),
                }))
            }
            other => {
                let sql = match &other {
                    Command::CommandStatementUpdate(asked) => asked.query.as_str(),
                    _ => "",
                };
                let who = (entered.user(), entered.peer);
                let observed = ObservedStatement::new(self.state(), ENDPOINT, who, ("DoPut", sql));
                let status = no_query(&other);
                observed.finish(http_status(&status), 0, 0);
                Err(status)
            }
        }
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(not_there("DoExchange"))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let entered = entered(&request)?;
        match self.act(&entered, request.into_inner()).await? {
            Some(body) => Ok(one(ActionResult::new(body))),
            None => Ok(Response::new(stream::empty().boxed())),
        }
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        let all = ACTIONS.map(|(name, does)| {
            Ok(ActionType {
                r#type: name.to_owned(),
                description: does.to_owned(),
            })
        });
        Ok(Response::new(stream::iter(all).boxed()))
    }
}
