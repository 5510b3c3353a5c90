//! Groups of sites and devices that a report is limited to: their members, as if these had been named.
//!
//! Invariant: a group that is not there is an error, never an empty report; a group without members limits a report to nothing.

use super::ReportRequest;
use crate::columns::{each_batch, texts};
use std::collections::BTreeSet;
use tillhouse_model::{Error, Result};
use tillhouse_query::{ScalarValue, Session};

/// Sites and devices that a report is about, by key or by the provider's id; `None` for all.
#[derive(Debug, Clone, Default)]
pub(super) struct ReportPlaces {
    pub(super) sites: Option<Vec<String>>,
    pub(super) devices: Option<Vec<String>>,
}

/// Groups of sites or of devices: their table, its columns and their word.
struct PlaceGroupKind {
    table: &'static str,
    members: &'static str,
    key: &'static str,
    word: &'static str,
}

const SITES: PlaceGroupKind = PlaceGroupKind {
    table: "site_groups",
    members: "site_group_members",
    key: "site_key",
    word: "sites",
};
const DEVICES: PlaceGroupKind = PlaceGroupKind {
    table: "device_groups",
    members: "device_group_members",
    key: "device_key",
    word: "devices",
};

/// Sites and devices that a request is limited to.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`] when it names a group that is not there.
pub(super) async fn places(session: &Session, request: &ReportRequest) -> Result<ReportPlaces> {
    Ok(ReportPlaces {
        sites: named(session, &SITES, &request.sites, &request.site_groups).await?,
        devices: named(session, &DEVICES, &request.devices, &request.device_groups).await?,
    })
}

async fn named(
    session: &Session,
    kind: &PlaceGroupKind,
    places: &[String],
    groups: &[String],
) -> Result<Option<Vec<String>>> {
    if groups.is_empty() {
        return Ok((!places.is_empty()).then(|| places.to_vec()));
    }
    let unknown = |group: &str| {
        Error::config(format!("there is no group of {} {group:?}", kind.word)).hint(format!(
            "`tillhouse sql \"SELECT group_key, name FROM {}\"` lists them.",
            kind.table
        ))
    };
    let mut all: BTreeSet<String> = places.iter().cloned().collect();
    if !session.has_table("unified", kind.table).await? {
        return Err(groups
            .first()
            .map_or_else(|| Error::internal("no group"), |group| unknown(group)));
    }
    let is_it =
        "(group_key = $group OR substr(group_key, character_length(pipeline) + 2) = $group)";
    for group in groups {
        let parameters = [("group", ScalarValue::Utf8(Some(group.clone())))];
        let sql = format!(
            "SELECT group_key FROM unified.{} WHERE _deleted_at IS NULL AND {is_it}",
            kind.table
        );
        let mut found = false;
        each_batch(session, &sql, &parameters, |batch| {
            found |= batch.num_rows() > 0;
            Ok(())
        })
        .await?;
        if !found {
            return Err(unknown(group));
        }
        let sql = format!(
            "SELECT {} AS member FROM unified.{} WHERE {is_it}",
            kind.key, kind.members
        );
        each_batch(session, &sql, &parameters, |batch| {
            let members = texts(batch, "member")?;
            all.extend((0..batch.num_rows()).filter_map(|row| members.get(row).map(str::to_owned)));
            Ok(())
        })
        .await?;
    }
    Ok(Some(all.into_iter().collect()))
}
