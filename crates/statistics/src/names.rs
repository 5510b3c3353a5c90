//! Names that a request narrows an answer by: a tenant, a source, sites, devices.
//!
//! Invariant: a name that nothing here has ever had is an error that offers the ones there are. An empty answer about it would read like one
//! about something that was never read, or that sold nothing.

use crate::columns::{each_batch, texts};
use crate::completeness;
use crate::request::{CheckedRequest, StatisticsRequest};
use jiff::Timestamp;
use std::collections::BTreeSet;
use tillhouse_lake::Warehouse;
use tillhouse_model::did_you_mean::nearest;
use tillhouse_model::{Error, Result, Window};
use tillhouse_query::{ScalarValue, Session};

/// So many names are listed.
const LISTED: usize = 12;
/// Among so many a slip of the hand is looked for.
const COMPARED: usize = 10_000;

/// The error about a name, with the one that was meant, or those there are.
fn unknown(what: &str, name: &str, known: &BTreeSet<String>, empty: &str) -> Error {
    let error = Error::config(format!("there is no {what} {name:?}"));
    let all: Vec<&str> = known.iter().map(String::as_str).collect();
    // One or two letters are a slip away from anything.
    let meant = if name.chars().count() > 2 {
        nearest(name, &all)
    } else {
        None
    };
    match meant {
        Some(meant) => error.hint(format!("Did you mean {meant:?}?")),
        None if all.is_empty() => error.hint(empty),
        None => {
            let listed: Vec<String> = all
                .iter()
                .take(LISTED)
                .map(|name| format!("{name:?}"))
                .collect();
            let more = if all.len() > LISTED {
                format!(" and {} more", all.len() - LISTED)
            } else {
                String::new()
            };
            error.hint(format!("There are: {}{more}.", listed.join(", ")))
        }
    }
}

/// Names that a request narrows an answer by.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestedNames<'a> {
    /// A tenant, by `tenant_id`.
    pub tenant: Option<&'a str>,
    /// A source.
    pub source: Option<&'a str>,
    /// Sites, by key or by the provider's id.
    pub sites: &'a [String],
    /// Devices, likewise.
    pub devices: &'a [String],
}

impl RequestedNames<'_> {
    /// Looks them all up in what a session reads, and tenants in the bookkeeping too: one that has sold nothing yet is known once it was read.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] at the first that is not there.
    pub async fn check(&self, session: &Session, warehouse: &Warehouse) -> Result<()> {
        let Some(run) = session.run() else {
            return Ok(());
        };
        let all = StatisticsRequest::new(Window::new(Timestamp::MIN, Timestamp::MAX)?);
        let request = StatisticsRequest {
            source: self.source.map(str::to_owned),
            ..all.clone()
        };
        let pipelines =
            completeness::pipelines(session, run, &CheckedRequest::new(&request)?).await?;
        if let Some(source) = self.source.filter(|_| pipelines.is_empty()) {
            let read = completeness::pipelines(session, run, &CheckedRequest::new(&all)?).await?;
            let read: Vec<&str> = read.iter().map(String::as_str).collect();
            return Err(Error::config(format!("nothing of source {source:?} was ever read")).hint(format!(
                "The pipelines that were read: {}. `tillhouse init --source {source}` adds one, `tillhouse sync` reads it.",
                read.join(", ")
            )));
        }
        if let Some(id) = self.tenant {
            let mut read = BTreeSet::new();
            for pipeline in &pipelines {
                read.extend(
                    warehouse
                        .ops()
                        .coverage(pipeline)
                        .await?
                        .into_iter()
                        .filter_map(|row| row.tenant),
                );
            }
            tenant(session, id, read).await?;
        }
        for (kind, names) in [(SITE, self.sites), (DEVICE, self.devices)] {
            for name in names {
                place(session, kind, name).await?;
            }
        }
        Ok(())
    }
}

/// Errors where no record names a tenant, and it is none of the `known`.
async fn tenant(session: &Session, id: &str, mut known: BTreeSet<String>) -> Result<()> {
    for table in ["tenants", "transactions", "events"] {
        if known.contains(id) {
            return Ok(());
        }
        if session.has_table("unified", table).await?
            && has_column(session, table, "tenant_id").await?
        {
            let sql = format!(
                "SELECT DISTINCT tenant_id FROM unified.{table} WHERE tenant_id IS NOT NULL LIMIT {COMPARED}"
            );
            gather(session, &sql, &[], "tenant_id", &mut known).await?;
            let sql =
                format!("SELECT tenant_id FROM unified.{table} WHERE tenant_id = $name LIMIT 1");
            gather(
                session,
                &sql,
                &[("name", text(id))],
                "tenant_id",
                &mut known,
            )
            .await?;
        }
    }
    match known.contains(id) {
        true => Ok(()),
        false => Err(unknown(
            "tenant",
            id,
            &known,
            "No record names one, and none was read tenant by tenant.",
        )),
    }
}

/// Sites or devices: their dimension and its key.
struct PlaceDimension {
    /// Word for it.
    word: &'static str,
    /// The table that lists it.
    dimension: &'static str,
    /// Its key, there and in the facts.
    key: &'static str,
}

const SITE: &PlaceDimension = &PlaceDimension {
    word: "site",
    dimension: "sites",
    key: "site_key",
};
const DEVICE: &PlaceDimension = &PlaceDimension {
    word: "device",
    dimension: "devices",
    key: "device_key",
};

/// Errors where nothing has a place, by its key or by the provider's id.
async fn place(session: &Session, place: &PlaceDimension, name: &str) -> Result<()> {
    let PlaceDimension {
        word,
        dimension,
        key,
    } = place;
    let tables = [*dimension, "transactions", "events"];
    let mut there = Vec::new();
    for table in tables {
        if session.has_table("unified", table).await? && has_column(session, table, key).await? {
            there.push(table);
        }
    }
    let mut found = BTreeSet::new();
    for table in &there {
        let sql = format!(
            "SELECT {key} FROM unified.{table}
             WHERE {key} = $name OR substr({key}, character_length(pipeline) + 2) = $name LIMIT 1"
        );
        gather(session, &sql, &[("name", text(name))], key, &mut found).await?;
        if !found.is_empty() {
            return Ok(());
        }
    }
    let mut known = BTreeSet::new();
    for table in &there {
        let sql = format!(
            "SELECT DISTINCT {key} FROM unified.{table} WHERE {key} IS NOT NULL LIMIT {COMPARED}"
        );
        gather(session, &sql, &[], key, &mut known).await?;
    }
    if there.contains(dimension) {
        // People write names where a key is wanted.
        let sql = format!(
            "SELECT {key} FROM unified.{dimension} WHERE lower(name) = lower($name) LIMIT 1"
        );
        let mut named = BTreeSet::new();
        gather(session, &sql, &[("name", text(name))], key, &mut named).await?;
        if let Some(meant) = named.first() {
            return Err(
                Error::config(format!("{name:?} is the name of a {word}, not its key"))
                    .hint(format!("Write its key: {meant:?}.")),
            );
        }
    }
    Err(unknown(word, name, &known, "No record names one."))
}

fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}

async fn has_column(session: &Session, table: &str, column: &str) -> Result<bool> {
    Ok(session
        .columns("unified", table)
        .await?
        .field_with_name(column)
        .is_ok())
}

async fn gather(
    session: &Session,
    sql: &str,
    params: &[(&str, ScalarValue)],
    column: &str,
    into: &mut BTreeSet<String>,
) -> Result<()> {
    each_batch(session, sql, params, |batch| {
        let names = texts(batch, column)?;
        into.extend(
            (0..batch.num_rows())
                .filter_map(|row| names.get(row))
                .map(str::to_owned),
        );
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_offered_else_those_there_are() {
        let known: BTreeSet<String> = ["north", "south"].map(str::to_owned).into();
        let hint = |name: &str, known: &BTreeSet<String>| {
            let error = unknown("tenant", name, known, "None.");
            assert_eq!(error.kind(), tillhouse_model::ErrorKind::Config);
            error.hint_text().unwrap().to_owned()
        };
        assert_eq!(hint("nort", &known), "Did you mean \"north\"?");
        assert_eq!(hint("berlin", &known), "There are: \"north\", \"south\".");
        assert_eq!(hint("berlin", &BTreeSet::new()), "None.");
        let many: BTreeSet<String> = (10..40).map(|nth| format!("tenant-{nth}")).collect();
        assert!(
            hint("x", &many).ends_with("\"tenant-21\" and 18 more."),
            "{}",
            hint("x", &many)
        );
    }
}
