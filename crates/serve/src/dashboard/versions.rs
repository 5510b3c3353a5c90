//! The page of all versions that a sale ever had: of each record that it is made of, as the source's table keeps them.
//!
//! Invariant: a version is shown to whoever may see the source's schema, with the columns that the session has for them; nothing of a statement is looked at. The table of a record is the one
//! that has the very version that the sale was made from.
//!
//! ```text
//!   the sale, its articles, payments, events ─> key, package and time of the record that each is from
//!     └─ every table of the pipeline, in the month of the record ─> its versions
//!          └─ the month of the version before, where that is another ─> and so on
//! ```

use super::pages::parts_of;
use super::question::DashboardQuestion;
use super::record_fields::fields_of;
use super::row_texts::rows_of;
use super::run_page::RunPage;
use crate::answer::AnswerNote;
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::state::ServerState;
use axum::response::Response;
use futures::TryStreamExt;
use futures::future::try_join_all;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tillhouse_model::calendar::{NO_MONTH, month_of};
use tillhouse_model::table::{
    EXTRACTED_AT, LOAD_ID, MONTH, PREV_RECORD_TIME, RECORD_KEY, RECORD_TIME, RUN_ID,
};
use tillhouse_page::dashboard::{
    self as page, PageView, RecordField, RecordHistory, RecordTable, RecordVersion, SaleParts,
    SaleVersions,
};
use tillhouse_query::{ScalarValue, Session, into_error, quoted_name};

/// Most versions of a record that are shown.
const VERSIONS: usize = 200;
/// Most records of a sale whose versions are looked for.
const RECORDS: usize = 50;

/// The page of a sale's versions.
pub(super) async fn versions(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    key: String,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let asked = format!("versions {key:?}");
    let page = RunPage::of(state, question, asked)?;
    page.answer(
        state,
        note,
        async move |_: &ServerState, run: &RunSession, view: PageView| {
            let parts = parts_of(&run.session, &key).await?;
            let versions = versions_of(&run.session, &parts).await?;
            let histories = versions.histories.iter();
            let rows: usize = histories.map(|history| history.versions.len()).sum();
            Ok((page::versions(&view, &key, &versions), rows))
        },
    )
    .await
}

/// A record that rows of a sale are from, as they name the version of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct RecordSource {
    key: String,
    load_id: String,
    extracted_at: String,
    /// The month that the version lies in.
    month: String,
}

impl RecordSource {
    /// The records that the rows of a table are from.
    fn of(table: &RecordTable) -> impl Iterator<Item = Self> {
        (0..table.rows.len()).filter_map(move |row| {
            let text = |column: &str| table.value(row, column).map(str::to_owned);
            Some(Self {
                key: text(RECORD_KEY)?,
                load_id: text(LOAD_ID)?,
                extracted_at: text(EXTRACTED_AT)?,
                month: month(table.value(row, RECORD_TIME)),
            })
        })
    }

    /// True for the version of a record that it is about.
    fn is_from(&self, fields: &[RecordField]) -> bool {
        field(fields, LOAD_ID) == Some(&self.load_id)
            && field(fields, EXTRACTED_AT) == Some(&self.extracted_at)
    }
}

/// The month of a record's time as tables are divided by it.
fn month(time: Option<&str>) -> String {
    let time = time.and_then(|time| time.parse::<Timestamp>().ok());
    time.map_or_else(|| NO_MONTH.to_owned(), month_of)
}

fn field<'a>(fields: &'a [RecordField], name: &str) -> Option<&'a String> {
    let mut fields = fields.iter();
    fields
        .find(|(path, _)| path == name)
        .map(|(_, value)| value)
}

async fn versions_of(session: &Session, parts: &SaleParts) -> Result<SaleVersions, Problem> {
    let pipeline = parts.sale.value(0, "pipeline").unwrap_or_default();
    let tables = session.tables().await?.into_iter();
    let tables = tables.filter(|(schema, _)| schema == pipeline);
    let tables: Vec<String> = tables.map(|(_, table)| table).collect();
    let scope = session.scope();
    let all = [&parts.sale, &parts.articles, &parts.payments, &parts.events];
    let sources: BTreeSet<RecordSource> = all.into_iter().flat_map(RecordSource::of).collect();
    // One version is enough to find a record by.
    let sources: BTreeMap<&str, &RecordSource> = sources
        .iter()
        .map(|source| (source.key.as_str(), source))
        .collect();
    let found = sources.values().take(RECORDS).flat_map(|source| {
        let tables = tables.iter();
        tables.map(move |table| history(session, pipeline, table, source))
    });
    let found = try_join_all(found).await?;
    let mut histories: Vec<RecordHistory> = found.into_iter().flatten().collect();
    add_runs(session, &mut histories).await?;
    let timezone = parts.sale.value(0, "timezone");
    Ok(SaleVersions {
        timezone: timezone.map(str::to_owned),
        histories,
        is_shown: scope.source_schemas && scope.tenants.is_none(),
        has_all_columns: scope.personal,
    })
}

/// The versions that a table has of a record; none where it is another table's.
async fn history(
    session: &Session,
    schema: &str,
    table: &str,
    source: &RecordSource,
) -> Result<Option<RecordHistory>, Problem> {
    if !session.has_table(schema, table).await? {
        return Ok(None);
    }
    let columns = session.columns(schema, table).await?;
    let has = |name: &str| columns.field_with_name(name).is_ok();
    if ![RECORD_KEY, LOAD_ID, EXTRACTED_AT, MONTH]
        .into_iter()
        .all(has)
    {
        return Ok(None);
    }
    let mut versions: BTreeMap<i64, Vec<RecordField>> = BTreeMap::new();
    let (mut read, mut next) = (BTreeSet::new(), BTreeSet::from([source.month.clone()]));
    while !next.is_empty() {
        let found = records(session, schema, table, &source.key, &next).await?;
        read.append(&mut next);
        for fields in found {
            // A version that moved says when the one before it was.
            let before = field(&fields, PREV_RECORD_TIME);
            next.extend(before.map(|time| month(Some(time.as_str()))));
            let load_id = field(&fields, LOAD_ID).and_then(|id| id.parse().ok());
            versions.insert(load_id.unwrap_or_default(), fields);
        }
        next.retain(|month| !read.contains(month));
    }
    let is_here = versions.values().any(|fields| source.is_from(fields));
    Ok(is_here.then(|| RecordHistory {
        table: format!("{schema}.{table}"),
        key: source.key.clone(),
        versions: versions.into_values().map(version).collect(),
    }))
}

/// The versions of a record in some months.
async fn records(
    session: &Session,
    schema: &str,
    table: &str,
    key: &str,
    months: &BTreeSet<String>,
) -> Result<Vec<Vec<RecordField>>, Problem> {
    let quoted: Vec<String> = months.iter().map(|month| format!("'{month}'")).collect();
    let sql = format!(
        "SELECT * FROM {}.{} WHERE {RECORD_KEY} = $key AND {MONTH} IN ({}) ORDER BY {LOAD_ID} DESC LIMIT {VERSIONS}",
        quoted_name(schema),
        quoted_name(table),
        quoted.join(", ")
    );
    let params = [("key", ScalarValue::from(key))];
    let mut stream = session.query_with(&sql, &params).await?;
    let mut found = Vec::new();
    while let Some(batch) = stream.try_next().await.map_err(into_error)? {
        for row in 0..batch.num_rows() {
            found.push(fields_of(&batch, row).map_err(|error| {
                Problem::internal(format!("a record cannot be shown: {error}"))
            })?);
        }
    }
    Ok(found)
}

fn version(fields: Vec<RecordField>) -> RecordVersion {
    let text = |name: &str| field(&fields, name).cloned();
    RecordVersion {
        load_id: text(LOAD_ID).unwrap_or_default(),
        run: text(RUN_ID).unwrap_or_default(),
        extracted_at: text(EXTRACTED_AT),
        published_at: None,
        fields,
    }
}

/// Adds when the runs that brought versions were published; none where one was not.
async fn add_runs(session: &Session, histories: &mut [RecordHistory]) -> Result<(), Problem> {
    let versions = histories.iter().flat_map(|history| &history.versions);
    let runs: BTreeSet<String> = versions.map(|version| version.run.clone()).collect();
    if runs.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = (0..runs.len()).map(|at| format!("run_{at}")).collect();
    let places: Vec<String> = names.iter().map(|name| format!("${name}")).collect();
    let sql = format!(
        "SELECT run_id, finished_at FROM ops.runs WHERE published AND run_id IN ({})",
        places.join(", ")
    );
    let names = names.iter().map(String::as_str);
    let runs = runs.iter().map(|run| ScalarValue::from(run.as_str()));
    let params: Vec<(&str, ScalarValue)> = names.zip(runs).collect();
    let published = rows_of(session, &sql, &params).await?;
    let published: BTreeMap<&str, &str> = (0..published.rows.len())
        .filter_map(|row| {
            let run = published.value(row, "run_id")?;
            Some((run, published.value(row, "finished_at")?))
        })
        .collect();
    let versions = histories.iter_mut().flat_map(|of| &mut of.versions);
    for version in versions {
        let at = published.get(version.run.as_str());
        version.published_at = at.map(|at| (*at).to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_the_version_that_a_row_was_made_from() {
        let text = |text: &str| Some(text.to_owned());
        let columns = ["amount", RECORD_KEY, LOAD_ID, EXTRACTED_AT, RECORD_TIME];
        let at = "2026-01-31T10:00:00Z";
        let rows = RecordTable {
            columns: columns.map(str::to_owned).to_vec(),
            rows: vec![
                vec![text("1"), text("7"), text("12"), text(at), text(at)],
                vec![text("2"), text("7"), text("12"), text(at), None],
                // Of a row that does not say so, nothing is known.
                vec![text("3"), None, text("12"), text(at), text(at)],
            ],
        };
        let sources: Vec<RecordSource> = RecordSource::of(&rows).collect();
        let months: Vec<&str> = sources.iter().map(|of| of.month.as_str()).collect();
        assert_eq!(months, ["2026-01", NO_MONTH]);
        let fields = |load_id: &str| {
            [(LOAD_ID, load_id), (EXTRACTED_AT, at)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        assert!(sources[0].is_from(&fields("12")) && !sources[0].is_from(&fields("13")));
    }
}
