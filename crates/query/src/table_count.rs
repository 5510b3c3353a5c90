//! Count of the tables that a statement comes to, each as often as it is read.
//!
//! Invariant: the plan has no more tables than are counted. A query of WITH counts wherever it is named, with quotes or without, and names hide each other as they do for
//! the planner.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Query};
use std::collections::HashMap;

/// Counter of tables, for a visitor that goes through a statement.
#[derive(Debug, Default)]
pub(crate) struct TableCounter {
    /// The queries that are being looked into, from the outermost on.
    queries: Vec<CountedQuery>,
}

/// Query that is being looked into.
#[derive(Debug)]
struct CountedQuery {
    tables: usize,
    /// Names of its WITH whose queries are still to be counted; they come before the rest of it.
    uncounted: HashMap<*const Query, String>,
    /// Names of its WITH, with the tables that each comes to.
    counted: HashMap<String, usize>,
}

impl TableCounter {
    /// Begins with a query.
    pub(crate) fn enter(&mut self, query: &Query) {
        let named = query.with.iter().flat_map(|with| &with.cte_tables);
        let uncounted = named.map(|named| {
            let of = std::ptr::from_ref(named.query.as_ref());
            (of, folded(&named.alias.name))
        });
        self.queries.push(CountedQuery {
            tables: 1,
            uncounted: uncounted.collect(),
            counted: HashMap::new(),
        });
    }

    /// Counts what a name in FROM stands for.
    pub(crate) fn add(&mut self, relation: &ObjectName) {
        let tables = self.tables_of(relation);
        if let Some(query) = self.queries.last_mut() {
            query.tables = query.tables.saturating_add(tables);
        }
    }

    /// Ends with a query; returns the tables that it comes to.
    pub(crate) fn leave(&mut self, query: &Query) -> usize {
        let tables = self.queries.pop().map_or(1, |left| left.tables);
        if let Some(outer) = self.queries.last_mut() {
            match outer.uncounted.remove(&std::ptr::from_ref(query)) {
                Some(name) => {
                    outer.counted.insert(name, tables);
                }
                None => outer.tables = outer.tables.saturating_add(tables),
            }
        }
        tables
    }

    fn tables_of(&self, relation: &ObjectName) -> usize {
        let [ObjectNamePart::Identifier(name)] = relation.0.as_slice() else {
            return 1;
        };
        let name = folded(name);
        let mut inner_first = self.queries.iter().rev();
        let known = inner_first.find_map(|query| query.counted.get(&name));
        known.copied().unwrap_or(1)
    }
}

/// A name as the planner compares it.
fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use crate::failure::into_error;
    use crate::read_only;

    /// A WITH of so many queries, each of which reads the one before it twice. `name` writes their names.
    fn doubling(count: usize, first: &str, name: impl Fn(usize) -> String) -> String {
        let named: Vec<String> = (1..=count)
            .map(|i| {
                let before = name(i - 1);
                format!(
                    "{} AS (SELECT x.a FROM {before} AS x CROSS JOIN {before} AS y)",
                    name(i)
                )
            })
            .collect();
        format!(
            "WITH {} AS ({first}), {} SELECT * FROM {}",
            name(0),
            named.join(", "),
            name(count)
        )
    }

    #[test]
    fn a_name_of_with_counts_however_it_is_written() {
        let one = "SELECT 1 AS a";
        let names: [fn(usize) -> String; 4] = [
            |i| format!("c{i}"),
            |i| format!("\"c{i}\""),
            |i| format!("`C{i}`"),
            |i| format!("\"C {i}\""),
        ];
        for name in names {
            let few = doubling(5, one, name);
            read_only::parse(&few).unwrap();
            let many = doubling(20, one, name);
            // 4,096 within, and each of those sixteen times.
            let within = doubling(4, &doubling(12, one, name), |i| format!("outer{i}"));
            // The inner name hides the outer one there and nowhere else.
            let hidden = doubling(20, "WITH c9 AS (SELECT 1 AS a) SELECT a FROM c9", name);
            for sql in [&many, &within, &hidden, &format!("EXPLAIN {many}")] {
                let error = into_error(read_only::parse(sql).unwrap_err());
                assert!(
                    error.message().contains("plan has more than"),
                    "{sql:.80}: {error:?}"
                );
            }
        }
        let small = doubling(20, one, |i| format!("c{i}"));
        let large = small
            .replace("FROM c", "FROM C")
            .replace("JOIN c", "JOIN C");
        assert!(read_only::parse(&large).is_err());
        // A name in quotes is not the one in small letters.
        let both = doubling(14, one, |i| format!("c{i}"));
        let both = both.replace(" FROM c14", " FROM \"C14\", c14");
        read_only::parse(&both).unwrap();
    }
}
