//! The columns of joined tables in a SELECT: `*` by tables, and merged columns by what they are.
//!
//! Invariant: a name that is a subquery's, or a field's, is left as it is; a column of the result keeps its heading.

use super::operands::folded;
use super::refused;
use super::rows;
use super::tree::quoted;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, ExcludeSelectItem, Expr, Ident, ObjectName, Query, SelectItem,
    SelectItemQualifiedWildcardKind, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use std::collections::HashMap;
use std::ops::ControlFlow;
use tillhouse_model::Result;

/// A column of all tables of a FROM together.
pub(super) enum Output {
    /// One that was merged, and what it is.
    Merged(String, Box<Expr>),
    /// Those of a table, but for some.
    Table(JoinedTable),
}

/// A table of a FROM.
pub(super) struct JoinedTable {
    /// Qualifier of its columns.
    pub(super) name: Vec<Ident>,
    pub(super) columns: Option<Vec<String>>,
    /// Columns that were merged.
    pub(super) hidden: Vec<String>,
}

/// The columns of a part of a FROM, in order.
pub(super) type Outputs = Vec<Output>;

impl JoinedTable {
    pub(super) fn column(&self, name: &str) -> Expr {
        let mut path = self.name.clone();
        path.push(quoted(name));
        Expr::CompoundIdentifier(path)
    }

    /// True where it is known to have a column.
    pub(super) fn has(&self, name: &str) -> bool {
        let is_name = |column: &String| column == name;
        self.hidden.iter().any(is_name)
            || self
                .columns
                .as_ref()
                .is_some_and(|columns| columns.iter().any(is_name))
    }
}

/// The names of USING; `None` for what the planner refuses.
pub(super) fn used(names: &[ObjectName]) -> Option<Vec<String>> {
    let name = |name: &ObjectName| match name.0.as_slice() {
        [part] => part.as_ident().map(folded),
        _ => None,
    };
    names.iter().map(name).collect()
}

/// `*`, written out by tables.
pub(super) fn all_columns(
    outputs: &[Output],
    options: &WildcardAdditionalOptions,
) -> Result<Vec<SelectItem>> {
    let WildcardAdditionalOptions {
        opt_exclude,
        opt_except,
        opt_ilike: None,
        opt_replace: None,
        opt_rename: None,
        opt_alias: None,
        ..
    } = options
    else {
        return Err(refused(
            "* with REPLACE, RENAME or ILIKE over a join by USING",
            "Join in a subquery: SELECT * REPLACE (...) FROM (SELECT * FROM a JOIN b USING (k)) AS j.",
        ));
    };
    let mut left_out = match opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => used(std::slice::from_ref(name)),
        Some(ExcludeSelectItem::Multiple(names)) => used(names),
        None => Some(Vec::new()),
    }
    .ok_or_else(|| refused("EXCLUDE of a table's column", "Name the column alone."))?;
    if let Some(except) = opt_except {
        left_out.push(folded(&except.first_element));
        left_out.extend(except.additional_elements.iter().map(folded));
    }
    let mut items = Vec::with_capacity(outputs.len());
    for output in outputs {
        match output {
            Output::Merged(name, _) if left_out.contains(name) => {}
            Output::Merged(name, expr) => items.push(named_column(expr.as_ref().clone(), name)),
            Output::Table(table) => {
                let mut hidden = table.hidden.clone();
                for name in &left_out {
                    let is_merged = hidden.contains(name)
                        || outputs.iter().any(
                            |output| matches!(output, Output::Merged(merged, _) if merged == name),
                        );
                    if is_merged {
                        continue;
                    }
                    if table.columns.is_none() {
                        return Err(refused(
                            "EXCLUDE over a join by USING of tables whose columns are not known before",
                            "Join in a subquery: SELECT * EXCLUDE (x) FROM (SELECT * FROM a JOIN b USING (k)) AS j.",
                        ));
                    }
                    if table.has(name) {
                        hidden.push(name.clone());
                    }
                }
                items.push(all_of(table, &hidden));
            }
        }
    }
    Ok(items)
}

fn all_of(table: &JoinedTable, hidden: &[String]) -> SelectItem {
    let names = hidden
        .iter()
        .map(|name| ObjectName::from(quoted(name)))
        .collect();
    let options = WildcardAdditionalOptions {
        opt_exclude: (!hidden.is_empty()).then_some(ExcludeSelectItem::Multiple(names)),
        ..WildcardAdditionalOptions::default()
    };
    let name = ObjectName::from(table.name.clone());
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
}

/// A merged column as one of a SELECT, under its name.
fn named_column(expr: Expr, name: &str) -> SelectItem {
    match expr {
        Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(expr),
        other => SelectItem::ExprWithAlias {
            expr: other,
            alias: quoted(name),
        },
    }
}

/// The name of a column that has none of its own.
fn heading(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => folded(name),
        Expr::Nested(inner) => heading(inner),
        other => other.to_string(),
    }
}

/// True if a name is that of a column of the result, which ORDER BY means first.
pub(super) fn is_output(items: &[SelectItem], outputs: &[Output], name: &str) -> bool {
    items.iter().any(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => folded(alias) == name,
        SelectItem::UnnamedExpr(Expr::Identifier(column)) => folded(column) == name,
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => {
            path.last().is_some_and(|column| folded(column) == name)
        }
        SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(of),
            WildcardAdditionalOptions {
                opt_exclude: None, ..
            },
        ) => outputs.iter().any(|output| match output {
            Output::Table(table) => {
                ObjectName::from(table.name.clone()).to_string() == of.to_string()
                    && table.has(name)
            }
            Output::Merged(..) => false,
        }),
        _ => false,
    })
}

/// Visitor that says what merged columns are, where they are named alone. A subquery's names are its own.
pub(super) struct MergedNames {
    known: HashMap<String, Expr>,
    queries: usize,
    /// The fields of each access around, which are no columns.
    fields: Vec<Vec<AccessExpr>>,
}

impl MergedNames {
    pub(super) fn of<'o>(outputs: impl IntoIterator<Item = &'o Output>) -> Self {
        let merged = outputs.into_iter().filter_map(|output| match output {
            Output::Merged(name, expr) => Some((name.clone(), expr.as_ref().clone())),
            Output::Table(_) => None,
        });
        Self {
            known: merged.collect(),
            queries: 0,
            fields: Vec::new(),
        }
    }

    pub(super) fn replace(&mut self, part: &mut impl VisitMut) {
        // It does not break off.
        let _ = VisitMut::visit(part, self);
    }

    /// A column of a SELECT, under the name that it had.
    pub(super) fn item(&mut self, mut item: SelectItem) -> SelectItem {
        let SelectItem::UnnamedExpr(expr) = &mut item else {
            self.replace(&mut item);
            return item;
        };
        let heading = heading(expr);
        let before = expr.clone();
        self.replace(expr);
        if *expr == before {
            item
        } else {
            named_column(expr.clone(), &heading)
        }
    }
}

impl VisitorMut for MergedNames {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundFieldAccess { access_chain, .. } => {
                self.fields.push(access_chain.clone());
            }
            // `(k, x) IN (SELECT ...)`, of which `k` stands within a query since it is asked by EXISTS.
            Expr::Exists { subquery, .. } if self.queries == 0 => {
                if let Some(comparison) = rows::comparison_in(subquery) {
                    self.replace(comparison);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundFieldAccess { access_chain, .. } => {
                for (now, before) in access_chain
                    .iter_mut()
                    .zip(self.fields.pop().unwrap_or_default())
                {
                    if matches!(before, AccessExpr::Dot(_)) {
                        *now = before;
                    }
                }
            }
            Expr::Identifier(name) if self.queries == 0 => {
                if let Some(merged) = self.known.get(&folded(name)) {
                    *expr = merged.clone();
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
