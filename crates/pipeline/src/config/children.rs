//! The children that a unify folder declares: resources whose records are parts of another's, or looked up by them.
//!
//! Invariant: every resource, table and column that a child names exists.

use crate::assets::TextAsset;
use crate::yaml::{YamlFile, error_at};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::table::RuleCheck;
use tillhouse_model::yaml::Spanned;
use tillhouse_model::{ProblemList, Resource, Result, TableSpec};

/// A resource whose records are parts of another's, or looked up by them: when one arrives or changes, its parents are unified anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildResource {
    /// The child.
    pub resource: &'static str,
    /// The parent.
    pub of: &'static str,
    /// Link from a child to its parents.
    pub link: ChildLink,
}

/// Link from a child to its parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildLink {
    /// It is a part of one parent, and names it.
    Part {
        /// The child's column that holds the parent's record key.
        by: String,
        /// The unified table that holds a child by itself until its parent is there.
        orphans: Option<String>,
        /// The parent's column that says how many children it has.
        counted: Option<String>,
    },
    /// Parents look it up, and so do parts of theirs that stand by themselves, by columns of the same names.
    Lookup {
        /// The child's columns, and the parent's that hold the same.
        on: Vec<(String, String)>,
        /// The child's columns that are looked up; when others change, no parent is unified anew.
        uses: Vec<String>,
        /// The parent's own column that counts before them: one that has it looks nothing up.
        unless: Option<OwnColumn>,
    },
}

/// A parent's column that makes a lookup needless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnColumn {
    /// Its name.
    pub name: String,
    /// True if its contract says that it is a time zone: one that nobody can read is none.
    pub is_time_zone: bool,
}

impl OwnColumn {
    fn of(name: String, spec: &TableSpec) -> Self {
        let is_time_zone = spec.rules.iter().any(|rule| {
            rule.check == RuleCheck::TimeZone && rule.path.iter().eq(std::iter::once(&name))
        });
        Self { name, is_time_zone }
    }
}

impl ChildResource {
    /// True if the statement of that unified table holds children by themselves until their
    /// parents are there.
    pub(crate) fn has_orphans_in(&self, table: &str) -> bool {
        matches!(&self.link, ChildLink::Part { orphans: Some(orphans), .. } if orphans == table)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChildEntry {
    of: Spanned<String>,
    by: Option<Spanned<String>>,
    orphans: Option<Spanned<String>>,
    counted: Option<Spanned<String>>,
    on: Option<BTreeMap<String, Spanned<String>>>,
    uses: Option<Vec<Spanned<String>>>,
    unless: Option<Spanned<String>>,
}

/// The children that a unify folder declares.
pub(super) fn children(
    asset: &TextAsset,
    offered: &[(&'static Resource, Arc<TableSpec>)],
    unified: &BTreeMap<String, Arc<TableSpec>>,
) -> Result<Vec<ChildResource>> {
    let file = YamlFile::of(asset.origin.clone().into(), asset.text.clone());
    let written: BTreeMap<String, ChildEntry> = file.parse()?;
    let find = |name: &str| offered.iter().find(|(r, _)| r.name == name);
    let known = || {
        offered
            .iter()
            .map(|(r, _)| r.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let read = |(name, child): (String, ChildEntry)| {
        let (resource, spec) = find(&name).ok_or_else(|| {
            error_at(
                &file,
                child.of.referenced,
                format!("there is no resource {name:?}"),
            )
            .hint(format!("There are: {}.", known()))
        })?;
        let (of, of_spec) = find(&child.of.value).ok_or_else(|| {
            error_at(
                &file,
                child.of.referenced,
                format!("there is no resource {:?}", child.of.value),
            )
            .hint(format!("There are: {}.", known()))
        })?;
        let has = |spec: &TableSpec, column: &Spanned<String>| {
            if spec
                .column(&column.value)
                .is_some_and(|column| column.class.is_stored())
            {
                return Ok(column.value.clone());
            }
            let message = format!("{} has no column {:?}", spec.name, column.value);
            Err(error_at(&file, column.referenced, message)
                .hint("Name a column that the resource's contract stores."))
        };
        let link = match (child.by, child.on) {
            (Some(by), None) => {
                if let Some(orphans) = child
                    .orphans
                    .as_ref()
                    .filter(|orphans| !unified.contains_key(&orphans.value))
                {
                    let message = format!("there is no unified table {:?}", orphans.value);
                    return Err(error_at(&file, orphans.referenced, message));
                }
                let orphans = child.orphans.map(|orphans| orphans.value);
                let counted = child
                    .counted
                    .map(|counted| has(of_spec, &counted))
                    .transpose()?;
                ChildLink::Part {
                    by: has(spec, &by)?,
                    orphans,
                    counted,
                }
            }
            (None, Some(on)) if !on.is_empty() => {
                let key = |name: &str| Spanned {
                    value: name.to_owned(),
                    ..child.of.clone()
                };
                let pairs = on
                    .iter()
                    .map(|(own, theirs)| Ok((has(spec, &key(own))?, has(of_spec, theirs)?)));
                let on = pairs.collect::<Result<_>>()?;
                let uses = child.uses.unwrap_or_default();
                ChildLink::Lookup {
                    on,
                    uses: uses
                        .iter()
                        .map(|used| has(spec, used))
                        .collect::<Result<_>>()?,
                    unless: child
                        .unless
                        .map(|unless| {
                            has(of_spec, &unless).map(|name| OwnColumn::of(name, of_spec))
                        })
                        .transpose()?,
                }
            }
            _ => {
                return Err(error_at(&file, child.of.referenced, format!("how does a record of {name} find its parent?"))
                    .hint("Write `by: COLUMN` (and `orphans: TABLE`), or `on: { COLUMN: PARENT'S COLUMN }` with `uses: [COLUMN]`."));
            }
        };
        Ok(ChildResource {
            resource: resource.name,
            of: of.name,
            link,
        })
    };
    let mut problems = ProblemList::default();
    let all = written
        .into_iter()
        .filter_map(|child| problems.keep(read(child)))
        .collect();
    problems.or(Some(all))
}
