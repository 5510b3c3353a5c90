//! Names that a request narrows an answer by: a tenant, a source, sites, devices, and those that a filter asks for.
//!
//! Invariant: a name that nothing here has ever had is an error that offers the one that was meant, or those there are. An empty answer about it
//! would read like one about something that was never read, or that sold nothing.

use crate::columns::{each_batch, texts};
use crate::completeness;
use crate::filter::CheckedFilter;
use crate::request::{CheckedRequest, StatisticsRequest};
use jiff::Timestamp;
use std::collections::BTreeMap;
use tillhouse_model::did_you_mean::nearest;
use tillhouse_model::{Error, ExpectedReads, FilterOperand, FilterOperator, Result, Window};
use tillhouse_query::{ScalarValue, Session};

/// Most names that are listed.
const LISTED: usize = 12;
/// Among so many a slip of the hand is looked for.
const COMPARED: usize = 10_000;

/// Keys, and the names of those that have one.
type KnownNames = BTreeMap<String, Option<String>>;

/// The error about a name, with the one that was meant, or those there are.
fn unknown(what: &str, name: &str, known: &KnownNames, empty: &str) -> Error {
    let error = Error::config(format!("there is no {what} {name:?}"));
    let shown = |key: &String, of: &Option<String>| match of {
        Some(name) if name != key => format!("{key:?} ({name})"),
        _ => format!("{key:?}"),
    };
    // One or two letters are a slip away from anything.
    let meant = if name.chars().count() > 2 {
        meant(name, known)
    } else {
        None
    };
    match meant {
        Some((key, of)) => error.hint(format!("Did you mean {}?", shown(key, of))),
        None if known.is_empty() => error.hint(empty),
        None => {
            let listed: Vec<String> = known
                .iter()
                .take(LISTED)
                .map(|(key, of)| shown(key, of))
                .collect();
            let more = if known.len() > LISTED {
                format!(" and {} more", known.len() - LISTED)
            } else {
                String::new()
            };
            error.hint(format!("There are: {}{more}.", listed.join(", ")))
        }
    }
}

/// The key that was meant: people write keys, keys without the pipeline before them, and names, in any case.
fn meant<'a>(name: &str, known: &'a KnownNames) -> Option<(&'a String, &'a Option<String>)> {
    let folded = |text: &str| text.trim().to_lowercase();
    let spellings: Vec<(String, (&String, &Option<String>))> = known
        .iter()
        .flat_map(|entry| {
            let (key, of) = entry;
            let id = key.split_once(':').map(|(_, id)| id);
            [Some(key.as_str()), id, of.as_deref()]
                .into_iter()
                .flatten()
                .map(move |text| (folded(text), entry))
        })
        .collect();
    let words: Vec<&str> = spellings.iter().map(|(text, _)| text.as_str()).collect();
    let nearest = nearest(&folded(name), &words)?;
    spellings
        .iter()
        .find(|(text, _)| text == nearest)
        .map(|(_, entry)| *entry)
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
    /// A filter: the tenants and sites that it asks for with `eq`.
    pub filter: Option<&'a CheckedFilter>,
}

impl RequestedNames<'_> {
    /// Looks them all up in what a session reads, and tenants in the bookkeeping too: one that has sold nothing yet is known once it is configured.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] at the first that is not there.
    pub async fn check(&self, session: &Session) -> Result<()> {
        let Some(run) = session.run() else {
            return Ok(());
        };
        if let Some(source) = self.source {
            let all = StatisticsRequest::new(Window::new(Timestamp::MIN, Timestamp::MAX)?);
            let request = StatisticsRequest {
                source: Some(source.to_owned()),
                ..all.clone()
            };
            let pipelines =
                completeness::pipelines(session, run, &CheckedRequest::new(&request)?).await?;
            if pipelines.is_empty() {
                let read =
                    completeness::pipelines(session, run, &CheckedRequest::new(&all)?).await?;
                let read: Vec<&str> = read.iter().map(String::as_str).collect();
                return Err(Error::config(format!("nothing of source {source:?} was ever read")).hint(format!(
                    "The pipelines that were read: {}. `tillhouse init --source {source}` adds one, `tillhouse sync` reads it.",
                    read.join(", ")
                )));
            }
        }
        if let Some(id) = self.tenant {
            look_up(session, &TENANT, NameColumn::Key, id, false).await?;
        }
        for (kind, names) in [(&SITE, self.sites), (&DEVICE, self.devices)] {
            for name in names {
                look_up(session, kind, NameColumn::KeyOrId, name, false).await?;
            }
        }
        let tests = self
            .filter
            .map_or_else(Vec::new, |filter| filter.descriptor().tests());
        for test in tests {
            let FilterOperand::Text(name) = &test.value else {
                continue;
            };
            let asked = FILTERED.iter().find(|(field, ..)| *field == test.field);
            if let (FilterOperator::Eq, Some((_, kind, column))) = (test.operator, asked)
                && !name.is_empty()
            {
                look_up(session, kind, *column, name, test.ignore_case)
                    .await
                    .map_err(|e| e.at("filter", test.field.clone()))?;
            }
        }
        Ok(())
    }
}

/// Column by which something is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameColumn {
    Key,
    /// The key without the pipeline before it.
    Id,
    KeyOrId,
    /// Its name in the dimension.
    Name,
}

/// Tenants, sites or devices: their dimension and its key.
struct NamedDimension {
    /// Word for one.
    word: &'static str,
    /// Its key, there and in the facts.
    key: &'static str,
    /// The tables that name some, the dimension first, each with the column of the key there.
    tables: &'static [(&'static str, &'static str, &'static str)],
    /// Hint where there are none.
    empty: &'static str,
}

const TENANT: NamedDimension = NamedDimension {
    word: "tenant",
    key: "tenant_id",
    tables: &[
        ("unified", "tenants", "tenant_id"),
        ("unified", "transactions", "tenant_id"),
        ("unified", "events", "tenant_id"),
        ("ops", "slices", "tenant"),
    ],
    empty: "No record names one, and none was read tenant by tenant.",
};
const SITE: NamedDimension = NamedDimension {
    word: "site",
    key: "site_key",
    tables: &[
        ("unified", "sites", "site_key"),
        ("unified", "transactions", "site_key"),
        ("unified", "events", "site_key"),
    ],
    empty: "No record names one.",
};
const DEVICE: NamedDimension = NamedDimension {
    word: "device",
    key: "device_key",
    tables: &[
        ("unified", "devices", "device_key"),
        ("unified", "transactions", "device_key"),
        ("unified", "events", "device_key"),
    ],
    empty: "No record names one.",
};

/// Fields of a filter that name one of these.
const FILTERED: [(&str, &NamedDimension, NameColumn); 6] = [
    ("tenant_id", &TENANT, NameColumn::Key),
    ("mandator_id", &TENANT, NameColumn::Key),
    ("tenant_name", &TENANT, NameColumn::Name),
    ("site_key", &SITE, NameColumn::Key),
    ("site_id", &SITE, NameColumn::Id),
    ("site_name", &SITE, NameColumn::Name),
];

/// Errors where nothing has that name.
async fn look_up(
    session: &Session,
    kind: &NamedDimension,
    column: NameColumn,
    name: &str,
    ignore_case: bool,
) -> Result<()> {
    let NamedDimension {
        word, key, empty, ..
    } = kind;
    let mut there = Vec::new();
    for (schema, table, key) in kind.tables {
        if session.has_table(schema, table).await?
            && has_column(session, schema, table, key).await?
        {
            there.push((*schema, *table, *key));
        }
    }
    let dimension = there
        .first()
        .filter(|first| Some(*first) == kind.tables.first())
        .copied();
    let expected: Vec<&str> = match kind.word == TENANT.word {
        true => expected_tenants(session),
        false => Vec::new(),
    };
    let is_same = |own: &&str| match ignore_case {
        true => own.to_lowercase() == name.to_lowercase(),
        false => *own == name,
    };
    if column == NameColumn::Key && expected.iter().any(is_same) {
        return Ok(());
    }
    let equal = |column: &str| match ignore_case {
        true => format!("lower({column}) = lower($name)"),
        false => format!("{column} = $name"),
    };
    let id = |key: &str| equal(&format!("substr({key}, character_length(pipeline) + 2)"));
    for (schema, table, key) in &there {
        let condition = match column {
            NameColumn::Key => equal(key),
            NameColumn::Id => id(key),
            NameColumn::KeyOrId => format!("({} OR {})", equal(key), id(key)),
            NameColumn::Name if Some((*schema, *table, *key)) == dimension => equal("name"),
            NameColumn::Name => continue,
        };
        let sql = format!("SELECT {key} AS key FROM {schema}.{table} WHERE {condition} LIMIT 1");
        let mut found = KnownNames::new();
        gather(session, &sql, &[("name", text(name))], &mut found).await?;
        if !found.is_empty() {
            return Ok(());
        }
    }
    let mut known = KnownNames::new();
    for (schema, table, key) in there.iter().rev() {
        let is_named = Some((*schema, *table, *key)) == dimension
            && has_column(session, schema, table, "name").await?;
        let shown = match is_named {
            true => format!("{key} AS key, name"),
            false => format!("DISTINCT {key} AS key"),
        };
        let sql = format!(
            "SELECT {shown} FROM {schema}.{table} WHERE {key} IS NOT NULL LIMIT {COMPARED}"
        );
        gather(session, &sql, &[], &mut known).await?;
    }
    for tenant in expected {
        known.entry(tenant.to_owned()).or_default();
    }
    if column == NameColumn::Name {
        // A name is asked for: names are offered.
        known = known
            .into_values()
            .flatten()
            .map(|name| (name, None))
            .collect();
        return Err(unknown(&format!("{word} named"), name, &known, empty));
    }
    // People write names where a key is wanted.
    let same = |of: &Option<String>| {
        of.as_ref()
            .is_some_and(|of| of.to_lowercase() == name.to_lowercase())
    };
    if let Some((meant, _)) = known.iter().find(|(_, of)| same(of)) {
        return Err(
            Error::config(format!("{name:?} is the name of a {word}, not its {key}"))
                .hint(format!("Write its key: {meant:?}.")),
        );
    }
    Err(unknown(word, name, &known, empty))
}

/// Tenants that are to be read, whether or not anything of them was.
fn expected_tenants(session: &Session) -> Vec<&str> {
    let recorded = session
        .run()
        .into_iter()
        .flat_map(|run| run.expected.values());
    let all = recorded.chain(session.configured().values());
    all.flat_map(ExpectedReads::each)
        .filter_map(|(_, tenant)| tenant)
        .collect()
}

fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}

async fn has_column(session: &Session, schema: &str, table: &str, column: &str) -> Result<bool> {
    Ok(session
        .columns(schema, table)
        .await?
        .field_with_name(column)
        .is_ok())
}

/// Takes in the keys a query gives, and their names where it has them.
async fn gather(
    session: &Session,
    sql: &str,
    params: &[(&str, ScalarValue)],
    into: &mut KnownNames,
) -> Result<()> {
    each_batch(session, sql, params, |batch| {
        let keys = texts(batch, "key")?;
        let names = batch
            .column_by_name("name")
            .map(|_| texts(batch, "name"))
            .transpose()?;
        for row in 0..batch.num_rows() {
            if let Some(key) = keys.get(row) {
                let name = names.as_ref().and_then(|names| names.get(row));
                let known = into.entry(key.to_owned()).or_default();
                *known = name.map(str::to_owned).or_else(|| known.take());
            }
        }
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_offered_else_those_there_are() {
        let plain = |key: &str| (key.to_owned(), None);
        let known: KnownNames = ["north", "south"].map(plain).into();
        let hint = |name: &str, known: &KnownNames| {
            let error = unknown("tenant", name, known, "None.");
            assert_eq!(error.kind(), tillhouse_model::ErrorKind::Config);
            error.hint_text().unwrap().to_owned()
        };
        assert_eq!(hint("nort", &known), "Did you mean \"north\"?");
        assert_eq!(hint("berlin", &known), "There are: \"north\", \"south\".");
        assert_eq!(hint("berlin", &KnownNames::new()), "None.");
        let named = |key: &str, name: &str| (key.to_owned(), Some(name.to_owned()));
        let sites: KnownNames = [named("hecone:17", "Freiburg"), named("pace:x", "Basel")].into();
        for meant in ["Freibrug", "freiburg", "hecone:71", "Hecone:17"] {
            assert_eq!(
                hint(meant, &sites),
                "Did you mean \"hecone:17\" (Freiburg)?",
                "{meant}"
            );
        }
        assert_eq!(
            hint("Hamburg", &sites),
            "There are: \"hecone:17\" (Freiburg), \"pace:x\" (Basel)."
        );
        let many: KnownNames = (10..40)
            .map(|nth| plain(&format!("tenant-{nth}")))
            .collect();
        assert!(
            hint("x", &many).ends_with("\"tenant-21\" and 18 more."),
            "{}",
            hint("x", &many)
        );
    }
}
