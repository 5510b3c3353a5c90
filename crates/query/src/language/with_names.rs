//! `WITH` of a name that a query around it has given to another one.
//!
//! Invariant: a name means the innermost query that has it, and within such a query that is not recursive what it meant before. The planner
//! refuses it as a name that is given twice, so that the inner query gets a name of its own, and its tables are called as they were.
//!
//! ```text
//!   WITH a AS (...) SELECT * FROM (WITH a AS (SELECT x + 1 AS x FROM a) SELECT a.x FROM a) AS q
//!   WITH a AS (...) SELECT * FROM (WITH n AS (SELECT x + 1 AS x FROM a) SELECT a.x FROM n AS a) AS q
//! ```

use super::operands::folded;
use super::tree::quoted;
use datafusion::sql::sqlparser::ast::{
    ObjectName, Query, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

/// Visitor that gives such queries names of their own, from the inside out.
#[derive(Default)]
pub(super) struct WithNames {
    /// Names of the queries of each WITH around.
    around: Vec<Vec<String>>,
    /// Names that were given.
    given: usize,
}

impl VisitorMut for WithNames {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = tables.map(|cte| folded(&cte.alias.name)).collect();
        self.around.push(names);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let own = self.around.pop().unwrap_or_default();
        for name in &own {
            let is_around = self.around.iter().any(|names| names.contains(name));
            // One that a WITH gives twice is a mistake, and stays the name that was written.
            let is_once = own.iter().filter(|other| *other == name).count() == 1;
            if is_around && is_once {
                self.given += 1;
                rename(query, name, &format!("__with_{}_{name}", self.given));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Renames a query of a WITH where it is seen: in itself if it is recursive, in those after it, and in what stands behind WITH.
fn rename(query: &mut Query, name: &str, new: &str) {
    let mut tables = RenamedTables { name, new };
    let mut with = query.with.take();
    // It does not break off.
    let _ = query.visit(&mut tables);
    if let Some(with) = &mut with {
        let mut is_seen = false;
        for cte in &mut with.cte_tables {
            let is_it = folded(&cte.alias.name) == name;
            if is_it {
                cte.alias.name = quoted(new);
            }
            let sees_it = if is_it { with.recursive } else { is_seen };
            if sees_it {
                let _ = cte.query.visit(&mut tables);
            }
            is_seen |= is_it;
        }
    }
    query.with = with;
}

/// Visitor that renames the tables of a name, which stay called as they were.
struct RenamedTables<'n> {
    name: &'n str,
    new: &'n str,
}

impl VisitorMut for RenamedTables<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } = table
            && let [part] = name.0.as_slice()
            && let Some(written) = part.as_ident().cloned()
            && folded(&written) == self.name
        {
            alias.get_or_insert_with(|| TableAlias {
                explicit: true,
                name: written,
                columns: Vec::new(),
                at: None,
            });
            *name = ObjectName::from(quoted(self.new));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::WithNames;
    use datafusion::sql::sqlparser::ast::VisitMut;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn renamed(sql: &str) -> String {
        let mut statements = Parser::parse_sql(&GenericDialect {}, sql).unwrap();
        let _ = statements.visit(&mut WithNames::default());
        statements[0].to_string()
    }

    #[test]
    fn an_inner_query_has_a_name_of_its_own() {
        for (sql, after) in [
            (
                "WITH a AS (SELECT 1) SELECT * FROM a",
                "WITH a AS (SELECT 1) SELECT * FROM a",
            ),
            (
                "WITH a AS (SELECT 1 AS x) SELECT * FROM (WITH a AS (SELECT x + 1 AS x FROM a) SELECT a.x FROM a) AS q, a",
                "WITH a AS (SELECT 1 AS x) SELECT * FROM (WITH \"__with_1_a\" AS (SELECT x + 1 AS x FROM a) SELECT a.x FROM \"__with_1_a\" AS a) AS q, a",
            ),
            (
                "WITH a AS (SELECT 1), b AS (WITH a AS (SELECT 2), c AS (SELECT * FROM A) SELECT * FROM c, a AS d) SELECT * FROM a, b",
                "WITH a AS (SELECT 1), b AS (WITH \"__with_1_a\" AS (SELECT 2), c AS (SELECT * FROM \"__with_1_a\" AS A) SELECT * FROM c, \"__with_1_a\" AS d) SELECT * FROM a, b",
            ),
            (
                "WITH a AS (SELECT 1) SELECT (WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a WHERE n < 3) SELECT max(n) FROM a)",
                "WITH a AS (SELECT 1) SELECT (WITH RECURSIVE \"__with_1_a\" AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM \"__with_1_a\" AS a WHERE n < 3) SELECT max(n) FROM \"__with_1_a\" AS a)",
            ),
        ] {
            assert_eq!(renamed(sql), after);
        }
    }

    #[test]
    fn each_level_means_its_own() {
        let sql = "WITH a AS (SELECT 1 AS x) SELECT (WITH a AS (SELECT 2 AS x) SELECT (WITH a AS (SELECT x FROM a) SELECT x FROM a) FROM a) FROM a";
        assert_eq!(
            renamed(sql),
            "WITH a AS (SELECT 1 AS x) SELECT (WITH \"__with_2_a\" AS (SELECT 2 AS x) SELECT (WITH \"__with_1_a\" AS (SELECT x FROM \"__with_2_a\" AS a) SELECT x FROM \"__with_1_a\" AS a) FROM \"__with_2_a\" AS a) FROM a"
        );
    }
}
