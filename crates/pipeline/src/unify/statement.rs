//! Unify statements: what each reads, what it fills, and whether its result fits.
//!
//! Invariant: a [`UnifyStatement`] that exists reads exactly one resource of its own, and beside it only declared children of that one.
//! A result that does not fit its contract is refused here, before any request is made.

use super::misfits::{MisfitLog, fit};
use super::omitted::{OmittedColumns, TRANSACTIONS, TransactionRows, complete_sql};
use crate::assets::TextAsset;
use crate::config::{ChildLink, ChildResource, Pipeline};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tillhouse_lake::{UnifiedTable, Warehouse};
use tillhouse_model::table::{AS_OF, TableRole, TableSpec};
use tillhouse_model::{Error, ReadMode, Result};
use tillhouse_query::{
    PlannedQuery, QueryEngine, RowErrorLog, ScalarValue, SendableRecordBatchStream, Session,
};
use tokio_util::task::AbortOnDropHandle;

/// A unify statement.
#[derive(Debug, Clone)]
pub(super) struct UnifyStatement {
    /// The unified table it fills.
    pub(super) table: Arc<TableSpec>,
    pub(super) sql: String,
    /// Its place, for messages.
    pub(super) origin: String,
    /// True if it is the project's own. Those that come with the binary were proved by its tests.
    overridden: bool,
    /// The resource whose records it unifies.
    pub(super) resource: &'static str,
    /// True if the records of that resource are facts, which only name what a dimension is of: what one of them does not say stays as it is
    /// known.
    keeps_known: bool,
    /// The children of that resource that it names too.
    pub(super) children: Vec<ChildResource>,
    /// Values that its plan could not compute.
    pub(super) errors: RowErrorLog,
    /// The columns of its table.
    pub(super) schema: SchemaRef,
    /// Those of them that it leaves out.
    pub(super) omitted: Arc<OmittedColumns>,
    /// The statement of the transactions that its rows take some of them from.
    pub(super) transactions: Option<Arc<UnifyStatement>>,
    /// Its plan, where it can run while records still arrive: all its scans of that resource go on side by side.
    pub(super) streaming_plan: Option<PlannedQuery>,
    /// The table of another statement that is fed the same records, whose commits carry the watermark of this one's where no row of this one's changes.
    pub(super) carrier: Option<Arc<TableSpec>>,
}

impl UnifyStatement {
    /// True if it can run while records still arrive: its scans go on side by side, and it reads nothing else. One that joins its resource
    /// needs it as a table.
    pub(super) fn is_streamable(&self) -> bool {
        self.streaming_plan.is_some() && self.children.is_empty()
    }

    /// Its table, as its rows are merged into it, however it runs.
    pub(super) fn target(&self, warehouse: &Warehouse) -> UnifiedTable {
        let table = warehouse.unified_table(Arc::clone(&self.table));
        let table = match &self.carrier {
            Some(carrier) => table.carried_by(warehouse.unified_table(Arc::clone(carrier))),
            None => table,
        };
        match self.keeps_known {
            true => table.keeping_known(),
            false => table,
        }
    }

    /// True if children stand in its table by themselves until their parents are there.
    pub(super) fn has_orphans(&self) -> bool {
        let table = &self.table.name;
        self.children
            .iter()
            .any(|child| child.has_orphans_in(table))
    }

    /// Error with the statement's table and file.
    pub(super) fn place(&self, error: Error) -> Error {
        error
            .at("table", format!("unified.{}", self.table.name))
            .at("file", self.origin.clone())
    }

    /// Runs it in a session that has its tables, and what it takes from its transactions beside it.
    pub(super) async fn run_on_tables(
        &self,
        session: &Session,
        parameters: &[(String, ScalarValue)],
    ) -> Result<(SendableRecordBatchStream, Option<Arc<TransactionRows>>)> {
        let parameters = borrow_parameters(parameters);
        let mut transactions = None;
        if let Some(statement) = &self.transactions {
            let frame = session.frame(&statement.sql, &parameters).await?;
            let columns = TransactionRows::columns(frame.schema().as_arrow());
            let frame = frame
                .select_columns(&columns)
                .map_err(tillhouse_query::into_error)?;
            let schema = Arc::new(frame.schema().as_arrow().clone());
            let rows = tillhouse_query::execute(frame).await?;
            let rows = tillhouse_query::collect(rows).await?;
            transactions = Some(Arc::new(TransactionRows::of(&schema, &rows)?));
        }
        Ok((
            session.query_with(&self.sql, &parameters).await?,
            transactions,
        ))
    }
}

/// The unify statements of a pipeline, all of which fit their contracts.
#[derive(Debug, Clone)]
pub struct CheckedStatements(pub(super) Vec<UnifyStatement>);

impl CheckedStatements {
    /// A unified table, with the carrier that its statement has.
    pub(crate) fn target_of(&self, warehouse: &Warehouse, table: &Arc<TableSpec>) -> UnifiedTable {
        let Self(all) = self;
        let own = all
            .iter()
            .find(|statement| statement.table.name == table.name);
        match own {
            Some(statement) => statement.target(warehouse),
            None => warehouse.unified_table(Arc::clone(table)),
        }
    }
}

/// Plans every unify statement against its contract, with no data and no request. What a project has not changed is planned no further than
/// its columns and types until there are rows for it.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`], naming the file, the column and what was expected.
pub async fn check(engine: &QueryEngine, pipeline: &Pipeline) -> Result<CheckedStatements> {
    let (mut checked, mut wrong) = (Vec::new(), Vec::new());
    let (statements, mut refused) = statements(engine, pipeline);
    // All at once: planning is most of what a sync does before its first request.
    let planning: Vec<_> = statements
        .into_iter()
        .map(|statement| {
            let (session, parameters) = (
                empty_session(engine, pipeline, &statement.errors)?,
                parameters(pipeline),
            );
            let task = tokio::spawn(async move {
                let planned = session
                    .plan(
                        &statement.sql,
                        &borrow_parameters(&parameters),
                        statement.resource,
                    )
                    .await;
                let planned = match planned {
                    Ok(planned) if statement.overridden => planned.prove().await.map(|()| planned),
                    planned => planned,
                };
                (statement, planned)
            });
            Ok(AbortOnDropHandle::new(task))
        })
        .collect::<Result<_>>()?;
    let mut all = Vec::new();
    for task in planning {
        let (statement, planned) = task
            .await
            .map_err(|e| Error::internal("planning failed").because(e))?;
        match planned {
            Ok(planned) => all.push((statement, planned)),
            Err(error) => wrong.push(
                Error::config("a unify statement cannot be planned")
                    .at("file", statement.origin)
                    .because(error),
            ),
        }
    }
    // Others may take columns from the transactions.
    all.sort_by_key(|(statement, _)| statement.table.name != TRANSACTIONS);
    let mut transactions = None;
    // Where the transactions' statement is refused, the others may have meant to take columns from it.
    let unknown = !refused.is_empty() || !wrong.is_empty();
    for (statement, planned) in all {
        match checked_statement(pipeline, statement, planned, transactions.as_ref(), unknown) {
            Ok(statement) => {
                if statement.table.name == TRANSACTIONS {
                    transactions = Some(Arc::new(statement.clone()));
                }
                checked.push(statement);
            }
            Err(error) => wrong.push(error),
        }
    }
    let facts = checked.iter().filter(|of| of.table.role == TableRole::Fact);
    let of_facts: BTreeSet<&str> = facts.map(|statement| statement.resource).collect();
    let carriers = carriers(&checked);
    for statement in &mut checked {
        statement.keeps_known = of_facts.contains(statement.resource);
        let carrier = carriers.get(statement.resource);
        let carrier = carrier.filter(|carrier| carrier.name != statement.table.name);
        statement.carrier = carrier.filter(|_| statement.is_streamable()).cloned();
    }
    refused.append(&mut wrong);
    if refused.is_empty() {
        Ok(CheckedStatements(checked))
    } else {
        Err(Error::combine(refused))
    }
}

/// By resource, the table that is committed with every step of its records: the transactions, else another fact, else a dimension, of those whose
/// statements are fed.
fn carriers(checked: &[UnifyStatement]) -> BTreeMap<&'static str, Arc<TableSpec>> {
    let fed = checked.iter().filter(|statement| statement.is_streamable());
    let (facts, others): (Vec<&UnifyStatement>, Vec<&UnifyStatement>) =
        fed.partition(|statement| statement.table.role == TableRole::Fact);
    let mut carriers = BTreeMap::new();
    for statement in facts.into_iter().chain(others) {
        let first = carriers.entry(statement.resource);
        first.or_insert_with(|| Arc::clone(&statement.table));
    }
    carriers
}

/// A statement that fits its contract, with what it leaves out.
fn checked_statement(
    pipeline: &Pipeline,
    mut statement: UnifyStatement,
    planned: PlannedQuery,
    transactions: Option<&Arc<UnifyStatement>>,
    transactions_unknown: bool,
) -> Result<UnifyStatement> {
    let transactions = transactions.filter(|of| of.resource == statement.resource);
    let (omitted, missing) = OmittedColumns::of(
        &statement.table,
        &planned.schema,
        (&pipeline.name, pipeline.source_name),
        transactions.is_some() || transactions_unknown,
    );
    let wanted = &statement.schema;
    let mut problems: Vec<String> = missing
        .iter()
        .map(|name| format!("column {name:?} is missing"))
        .collect();
    let mut unknown = false;
    for field in planned.schema.fields() {
        match wanted.field_with_name(field.name()) {
            Err(_) => {
                problems.push(format!("column {:?} is not in the contract", field.name()));
                unknown = true;
            }
            Ok(column) if !fits(field.data_type(), column.data_type()) => problems.push(format!(
                "column {:?} is {} where {} is wanted",
                field.name(),
                field.data_type(),
                column.data_type()
            )),
            Ok(_) => {}
        }
    }
    if unknown {
        let left_out: Vec<&str> = wanted
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .filter(|name| planned.schema.field_with_name(name).is_err())
            .collect();
        if !left_out.is_empty() {
            problems.push(format!("left out are {}", left_out.join(", ")));
        }
    }
    if !problems.is_empty() {
        let table = &statement.table.name;
        let text = format!(
            "the result does not fit the contract of unified.{table}: {}",
            problems.join("; ")
        );
        let hint = format!(
            "The contract is schemas/unified/{table}.yaml; cast or rename the columns named."
        );
        return Err(Error::config(text)
            .at("file", statement.origin.clone())
            .hint(hint));
    }
    let mut feeds = planned.scans.is_some();
    if let Some(transactions) = transactions.filter(|_| omitted.inherit()) {
        // Its rows are anew whenever its transactions are.
        let needed = |child: &ChildResource| {
            let names =
                |s: &UnifyStatement| s.children.iter().any(|c| c.resource == child.resource);
            names(&statement) || names(transactions)
        };
        statement.children = pipeline
            .children
            .iter()
            .filter(|child| child.of == statement.resource && needed(child))
            .cloned()
            .collect();
        let row_wise = |plan: &Option<PlannedQuery>| plan.as_ref().is_some_and(|p| p.row_wise);
        feeds &= planned.row_wise && row_wise(&transactions.streaming_plan);
        statement.transactions = Some(Arc::clone(transactions));
    }
    statement.streaming_plan = feeds.then_some(planned);
    statement.omitted = Arc::new(omitted);
    Ok(statement)
}

/// True if a value of type `found` becomes one of type `wanted` without losing anything.
fn fits(found: &DataType, wanted: &DataType) -> bool {
    use DataType as T;
    match (found, wanted) {
        (a, b) if a == b => true,
        (T::Null, _) => true,
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8) => true,
        (T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_), T::Binary) => true,
        (T::List(a), T::List(b)) => fits(a.data_type(), b.data_type()),
        (T::Timestamp(_, Some(zone)), T::Timestamp(_, Some(_))) => {
            matches!(zone.as_ref(), "UTC" | "+00:00")
        }
        (a, T::Int64) => a.is_integer(),
        (a, T::Decimal128(precision, scale)) if a.is_integer() => *precision >= 18 && *scale >= 0,
        (T::Decimal128(_, from), T::Decimal128(_, to)) => from <= to,
        _ => false,
    }
}

/// Resources of a pipeline that statements name.
#[derive(Default)]
struct NamedResources {
    /// Resources that a statement names which has nothing to do, with the one whose records it unifies.
    idle: Vec<(String, String)>,
    /// Resources that others name.
    used: Vec<String>,
}

/// The statements of a pipeline whose resource it reads; those of resources that the configuration leaves out have nothing to do. And what is wrong with the others.
fn statements(engine: &QueryEngine, pipeline: &Pipeline) -> (Vec<UnifyStatement>, Vec<Error>) {
    let (mut statements, mut named) = (Vec::new(), NamedResources::default());
    let mut wrong: Vec<Error> = Vec::new();
    for asset in &pipeline.unify {
        match statement(engine, pipeline, asset, &mut named) {
            Ok(statement) => statements.extend(statement),
            // Several statements may lack the same.
            Err(error)
                if wrong
                    .iter()
                    .any(|other| other.to_string() == error.to_string()) => {}
            Err(error) => wrong.push(error),
        }
    }
    // A statement that is refused may be the one that uses it.
    for plan in pipeline.resources.iter().filter(|_| wrong.is_empty()) {
        let resource = plan.resource.name;
        let of = named
            .idle
            .iter()
            .find(|(name, _)| name == resource)
            .map(|(_, of)| of);
        if let Some(of) = of.filter(|_| !named.used.iter().any(|name| name == resource)) {
            // Its records would land, and be in no unified table.
            return (
                statements,
                vec![
                    Error::config(format!("{resource} cannot be unified without {of}"))
                        .at("pipeline", pipeline.name.clone())
                        .hint(format!(
                            "Add {of} to the pipeline's resources, or leave {resource} out of them."
                        )),
                ],
            );
        }
    }
    (statements, wrong)
}

/// One statement; `None` where it has nothing to do.
fn statement(
    engine: &QueryEngine,
    pipeline: &Pipeline,
    asset: &TextAsset,
    NamedResources { idle, used }: &mut NamedResources,
) -> Result<Option<UnifyStatement>> {
    let named = engine.table_names(&asset.text).map_err(|error| {
        let place =
            place_in_sql(&error.to_string()).map(|(line, column)| format!(":{line}:{column}"));
        let place = asset.origin.clone() + &place.unwrap_or_default();
        Error::config("a unify statement cannot be parsed")
            .at("file", place)
            .because(error)
    })?;
    let wrong = |message: String, hint: String| {
        Error::config(message)
            .at("file", asset.origin.clone())
            .hint(hint)
    };
    let offered: Vec<&'static str> = pipeline.offered.iter().map(|(r, _)| r.name).collect();
    let (known, unknown): (Vec<&String>, Vec<&String>) =
        named.iter().partition(|n| offered.contains(&n.as_str()));
    if let Some(unknown) = unknown.first() {
        return Err(wrong(
            format!(
                "a unify statement reads {unknown:?}, which {} does not have",
                pipeline.source_name
            ),
            format!("Read FROM one of: {}.", offered.join(", ")),
        ));
    }
    let is_child = |name: &str| {
        pipeline
            .children
            .iter()
            .any(|c| c.resource == name && known.iter().any(|other| *other == c.of))
    };
    let own: Vec<&&String> = known.iter().filter(|name| !is_child(name)).collect();
    let [own] = own.as_slice() else {
        let known: Vec<&str> = known.iter().map(|k| k.as_str()).collect();
        return Err(wrong(
            match known.len() {
                0 => "a unify statement reads none of the pipeline's resources".to_owned(),
                _ => format!("a unify statement reads {} at once", known.join(" and ")),
            },
            format!(
                "Read one of: {}; others only as its children, which unify/children.yaml declares.",
                offered.join(", ")
            ),
        ));
    };
    let Some(plan) = pipeline
        .resources
        .iter()
        .find(|r| r.resource.name == own.as_str())
    else {
        idle.extend(
            known
                .iter()
                .filter(|name| name.as_str() != own.as_str())
                .map(|name| (name.to_string(), own.to_string())),
        );
        return Ok(None);
    };
    used.extend(known.iter().map(|name| name.to_string()));
    let missing = pipeline.children.iter().find(|c| {
        let is_part = matches!(c.link, ChildLink::Part { .. }) && c.of == plan.resource.name;
        is_part && known.iter().any(|name| *name == c.resource) && !pipeline.reads(c.resource)
    });
    if let Some(ChildResource {
        resource: missing, ..
    }) = missing
    {
        // Without them its rows would be wrong, not only fewer.
        return Err(Error::config(format!(
            "{} cannot be unified without {missing}",
            plan.resource.name
        ))
        .at("pipeline", pipeline.name.clone())
        .hint(format!(
            "Add {missing} to the pipeline's resources, or leave {} out of them.",
            plan.resource.name
        )));
    }
    let table = pipeline
        .unified
        .get(&asset.name)
        .ok_or_else(|| Error::internal("an unknown unified table"))?;
    let children = pipeline.children.iter().filter(|c| {
        c.of == plan.resource.name
            && known.iter().any(|name| *name == c.resource)
            && pipeline.reads(c.resource)
    });
    // A statement that says itself as of when a row is says itself what is gone.
    let marks_deleted =
        plan.resource.read_mode == ReadMode::FullRefresh && !asset.text.contains(AS_OF);
    Ok(Some(UnifyStatement {
        table: Arc::clone(table),
        sql: complete_sql(&asset.text, table, plan.resource.name, marks_deleted)?,
        origin: asset.origin.clone(),
        overridden: asset.overridden,
        resource: plan.resource.name,
        keeps_known: false,
        children: children.cloned().collect(),
        errors: RowErrorLog::default(),
        schema: table.unified_schema(),
        omitted: Arc::default(),
        transactions: None,
        streaming_plan: None,
        carrier: None,
    }))
}

/// Rows that a statement gives over the tables of a session, with what it leaves out, as they are written; for tests of unify SQL.
///
/// `transactions` is the statement of the transactions of the same resource. Errors as a sync does.
pub async fn rows_of_statement(
    session: &Session,
    (table, sql): (&Arc<TableSpec>, &str),
    transactions: Option<(&Arc<TableSpec>, &str)>,
    resource: &'static str,
    parameters: &[(String, ScalarValue)],
) -> Result<Vec<RecordBatch>> {
    let text = |name: &str| {
        let parameter = parameters.iter().find(|(known, _)| known == name);
        match parameter {
            Some((_, ScalarValue::Utf8(Some(text)))) => text.clone(),
            _ => String::new(),
        }
    };
    let made = async |(table, sql): (&Arc<TableSpec>, &str),
                      transactions: Option<&Arc<UnifyStatement>>| {
        let sql = complete_sql(sql, table, resource, false)?;
        let frame = session.frame(&sql, &borrow_parameters(parameters)).await?;
        let given = frame.schema().as_arrow();
        let names = (text("pipeline"), text("source"));
        let (omitted, missing) =
            OmittedColumns::of(table, given, (&names.0, &names.1), transactions.is_some());
        let schema = table.unified_schema();
        let misfit = given.fields().iter().filter(|found| {
            let wanted = schema.field_with_name(found.name());
            !wanted.is_ok_and(|wanted| fits(found.data_type(), wanted.data_type()))
        });
        let wrong: Vec<&String> = missing
            .iter()
            .chain(misfit.map(|field| field.name()))
            .collect();
        if !wrong.is_empty() {
            let text = format!("{} does not fit its contract: {wrong:?}", table.name);
            return Err(Error::config(text));
        }
        Ok(UnifyStatement {
            table: Arc::clone(table),
            origin: table.name.clone(),
            overridden: true,
            resource,
            keeps_known: false,
            children: Vec::new(),
            errors: RowErrorLog::default(),
            schema,
            transactions: transactions.filter(|_| omitted.inherit()).cloned(),
            omitted: Arc::new(omitted),
            streaming_plan: None,
            carrier: None,
            sql,
        })
    };
    let of = match transactions {
        Some(transactions) => Some(Arc::new(made(transactions, None).await?)),
        None => None,
    };
    let statement = made((table, sql), of.as_ref()).await?;
    let (rows, transactions) = statement.run_on_tables(session, parameters).await?;
    let misfits = MisfitLog::default();
    tillhouse_query::collect(rows)
        .await?
        .iter()
        .map(|batch| fit(batch, &statement, transactions.as_deref(), &misfits))
        .collect()
}

/// Line and column that an error of the SQL parser names: `... at Line: 3, Column: 7`.
fn place_in_sql(text: &str) -> Option<(u64, u64)> {
    let number = |text: &str| {
        text.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    let (_, rest) = text.rsplit_once("Line: ")?;
    Some((number(rest)?, number(rest.split_once("Column: ")?.1)?))
}

/// A session in which every resource of the source is there, but empty; what it cannot compute is noted in `errors`.
pub(super) fn empty_session(
    engine: &QueryEngine,
    pipeline: &Pipeline,
    errors: &RowErrorLog,
) -> Result<Session> {
    let session = engine.lenient_session(errors)?;
    for (resource, spec) in &pipeline.offered {
        session.register_batches(resource.name, spec.source_schema(), Vec::new())?;
    }
    Ok(session)
}

/// Parameters that statements may name as `$name`.
pub(super) type StatementParameters = Vec<(String, ScalarValue)>;

pub(super) fn parameters(pipeline: &Pipeline) -> StatementParameters {
    let mut all = vec![
        (
            "pipeline".to_owned(),
            ScalarValue::from(pipeline.name.as_str()),
        ),
        ("source".to_owned(), ScalarValue::from(pipeline.source_name)),
        (
            "labels".to_owned(),
            ScalarValue::from(pipeline.labels.to_json()),
        ),
    ];
    all.extend(
        pipeline
            .source
            .parameters()
            .into_iter()
            .map(|(name, text)| (name.to_owned(), ScalarValue::from(text))),
    );
    all
}

pub(super) fn borrow_parameters(parameters: &[(String, ScalarValue)]) -> Vec<(&str, ScalarValue)> {
    parameters
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::table;

    #[test]
    fn the_place_of_a_mistake_in_sql_is_found() {
        assert_eq!(
            place_in_sql("found: SELEC at Line: 3, Column: 17"),
            Some((3, 17))
        );
        assert_eq!(place_in_sql("found: EOF"), None);
    }

    #[test]
    fn only_lossless_results_fit() {
        assert!(fits(
            &DataType::Decimal128(38, 2),
            &DataType::Decimal128(18, 4)
        ));
        assert!(!fits(
            &DataType::Decimal128(18, 6),
            &DataType::Decimal128(18, 4)
        ));
        assert!(!fits(&DataType::Float64, &DataType::Decimal128(18, 4)));
        assert!(!fits(
            &DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
            &table::timestamp()
        ));
    }
}
