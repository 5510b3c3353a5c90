//! The views of groups: one row for every device of every group of devices, and for every site of every group of sites.
//!
//! Invariant: a group that was deleted has no members; a member that is in no dimension has a row all the same, without a name.

use datafusion::catalog::TableProvider;
use datafusion::common::{Column, Result};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder};
use std::sync::Arc;
use tillhouse_model::table::DELETED_AT;

/// View over the members of groups: one row a group and member.
pub(crate) struct GroupMembersView {
    /// Its name.
    pub(crate) view: &'static str,
    /// The table of groups.
    pub(crate) groups: &'static str,
    /// The dimension of the members.
    pub(crate) members: &'static str,
    /// The groups' list of keys.
    list: &'static str,
    /// The dimension's key.
    key: &'static str,
    /// Name of the view's column of members.
    name: &'static str,
    /// Meaning of one row.
    pub(crate) description: &'static str,
    /// Columns of its own, and what they mean.
    pub(crate) notes: &'static [(&'static str, &'static str)],
}

/// The devices of groups of devices.
pub(crate) const DEVICE_GROUPS: GroupMembersView = GroupMembersView {
    view: "device_group_members",
    groups: "device_groups",
    members: "devices",
    list: "device_keys",
    key: "device_key",
    name: "device_name",
    description: "One device of one group of devices.",
    notes: &[
        ("group_name", "Name of the group."),
        ("device_key", "Device that is in the group."),
    ],
};

/// The sites of groups of sites.
pub(crate) const SITE_GROUPS: GroupMembersView = GroupMembersView {
    view: "site_group_members",
    groups: "site_groups",
    members: "sites",
    list: "site_keys",
    key: "site_key",
    name: "site_name",
    description: "One site of one group of sites.",
    notes: &[
        ("group_name", "Name of the group."),
        ("site_key", "Site that is in the group."),
    ],
};

/// The view over the groups, and their members' dimension where that exists.
pub(crate) fn view(
    of: &GroupMembersView,
    groups: Arc<dyn TableProvider>,
    members: Option<Arc<dyn TableProvider>>,
) -> Result<Arc<dyn TableProvider>> {
    let plain = |name: &str| Expr::Column(Column::from_name(name));
    let mut plan = LogicalPlanBuilder::scan(of.groups, provider_as_source(groups), None)?;
    if plan.schema().has_column_with_unqualified_name(DELETED_AT) {
        plan = plan.filter(column(of.groups, DELETED_AT).is_null())?;
    }
    let shown = ["group_key", "pipeline", "source"].map(|name| column(of.groups, name).alias(name));
    let more = [
        column(of.groups, "name").alias("group_name"),
        column(of.groups, of.list).alias("member"),
    ];
    let mut plan = plan
        .project(shown.into_iter().chain(more))?
        .unnest_column(Column::from_name("member"))?
        .filter(plain("member").is_not_null())?;
    let mut columns = vec![
        plain("group_key"),
        plain("group_name"),
        plain("member").alias(of.key),
    ];
    if let Some(members) = members {
        let right = LogicalPlanBuilder::scan(of.members, provider_as_source(members), None)?
            .project([
                column(of.members, of.key).alias("known"),
                column(of.members, "name").alias(of.name),
            ])?
            .build()?;
        let keys = (
            vec![Column::from_name("member")],
            vec![Column::from_name("known")],
        );
        plan = plan.join(right, JoinType::Left, keys, None)?;
        columns.push(plain(of.name));
    }
    columns.extend(["pipeline", "source"].map(plain));
    Ok(Arc::new(ViewTable::new(
        plan.project(columns)?.build()?,
        None,
    )))
}

fn column(table: &str, name: &str) -> Expr {
    Expr::Column(Column::new(Some(table), name))
}
