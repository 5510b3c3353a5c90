//! Words of what tools ask about the catalog, put as the engine can plan them.
//!
//! Invariant: what is put in the place of something is what that is of a catalog whose tables have no constraints, no indexes, no policies and no privileges of their own. It
//! is found by its words, however they are spaced.

use super::words::{Placed, Token, tokens};
use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    Join, JoinOperator, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, Statement,
    TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;
use tillhouse_query::list_items;

/// Parts of what psql, drivers and libraries ask, and what is put there; `?` is any one word.
const REPLACED: [(&str, &str); 20] = [
    (
        "pg_catalog.array_to_string(c.reloptions || array(select 'toast.' || x from pg_catalog.unnest(tc.reloptions) x), ', ')",
        "''",
    ),
    (
        "ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m \
         JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid) WHERE m.member = r.oid)",
        "'{}'",
    ),
    (
        "(SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid)",
        "false",
    ),
    // psql: \dn+, \l+, \z and others, of version 17 and before.
    (
        "CASE WHEN pg_catalog.array_length(?.?, 1) = 0 THEN ? \
         ELSE pg_catalog.array_to_string(?.?, E'\\n') END AS \"Access privileges\"",
        "CAST(NULL AS TEXT) AS \"Access privileges\"",
    ),
    (
        "pg_catalog.array_to_string(?.?, E'\\n') AS \"Access privileges\"",
        "CAST(NULL AS TEXT) AS \"Access privileges\"",
    ),
    (
        "pg_catalog.array_to_string(ARRAY( SELECT attname || E':\\n  ' || pg_catalog.array_to_string(attacl, E'\\n  ') \
         FROM pg_catalog.pg_attribute a \
         WHERE attrelid = c.oid AND NOT attisdropped AND attacl IS NOT NULL ), E'\\n')",
        "CAST(NULL AS TEXT)",
    ),
    (
        "pg_catalog.array_to_string(ARRAY( SELECT polname \
         || CASE WHEN NOT polpermissive THEN E' (RESTRICTIVE)' ELSE '' END \
         || CASE WHEN polcmd != '*' THEN E' (' || polcmd::pg_catalog.text || E'):' ELSE E':' END \
         || CASE WHEN polqual IS NOT NULL THEN E'\\n  (u): ' || pg_catalog.pg_get_expr(polqual, polrelid) ELSE E'' END \
         || CASE WHEN polwithcheck IS NOT NULL THEN E'\\n  (c): ' || pg_catalog.pg_get_expr(polwithcheck, polrelid) ELSE E'' END \
         || CASE WHEN polroles <> '{0}' THEN E'\\n  to: ' || pg_catalog.array_to_string( \
         ARRAY( SELECT rolname FROM pg_catalog.pg_roles WHERE oid = ANY (polroles) ORDER BY 1 ), E', ') ELSE E'' END \
         FROM pg_catalog.pg_policy pol WHERE polrelid = c.oid), E'\\n')",
        "CAST(NULL AS TEXT)",
    ),
    // psql: \db, \dL, \dd and the rules of \d+.
    (
        "SELECT spcname AS \"Name\", pg_catalog.pg_get_userbyid(spcowner) AS \"Owner\", \
         pg_catalog.pg_tablespace_location(oid) AS \"Location\" FROM pg_catalog.pg_tablespace ORDER BY 1",
        "SELECT 'pg_default' AS \"Name\", 'tillhouse' AS \"Owner\", '' AS \"Location\"",
    ),
    (
        "t.spcname as \"Tablespace\"",
        "'pg_default' AS \"Tablespace\"",
    ),
    (
        "JOIN pg_catalog.pg_tablespace t on d.dattablespace = t.oid",
        "",
    ),
    (
        "LEFT JOIN pg_catalog.pg_description d ON d.classoid = l.tableoid AND d.objoid = l.oid AND d.objsubid = 0",
        "LEFT JOIN pg_catalog.pg_description d ON d.objoid = l.oid AND d.objsubid = -1",
    ),
    (
        "SELECT r.rulename, trim(trailing ';' from pg_catalog.pg_get_ruledef(r.oid, true)) \
         FROM pg_catalog.pg_rewrite r WHERE r.ev_class = ? AND r.rulename != '_RETURN' ORDER BY 1",
        "SELECT CAST(NULL AS TEXT) AS rulename, CAST(NULL AS TEXT) AS rule WHERE false",
    ),
    // ADBC and Npgsql: functions of a type are names here, `-` where there is none.
    ("typreceive != 0", "typreceive <> '-'"),
    ("typsend != 0", "typsend <> '-'"),
    ("proc.oid = typ.typreceive", "proc.proname = typ.typreceive"),
    (
        "elemproc.oid = elemtyp.typreceive",
        "elemproc.proname = elemtyp.typreceive",
    ),
    (
        "(SELECT rngtypid FROM pg_range WHERE rngmultitypid = typ.oid)",
        "0",
    ),
    // pgjdbc: getTypeInfo.
    (
        "typinput = 'pg_catalog.array_in'::regproc",
        "typinput = 'array_in'",
    ),
    // SQLAlchemy 2.1: the collation of a column's type, which is the column's own.
    (
        "(SELECT pg_catalog.pg_type.typcollation FROM pg_catalog.pg_type \
         WHERE pg_catalog.pg_type.oid = pg_catalog.pg_attribute.atttypid)",
        "pg_catalog.pg_attribute.attcollation",
    ),
    // pgcli completes functions, whose types of arguments are no lists here.
    (
        "COALESCE(proallargtypes::regtype[], proargtypes::regtype[])::text[]",
        "CAST(NULL AS TEXT[])",
    ),
];

/// A text in the words that the engine plans.
pub(super) fn in_our_words(sql: &str) -> String {
    REPLACED.iter().fold(sql.to_owned(), |sql, (theirs, ours)| {
        replaced(sql, &tokens(theirs), ours)
    })
}

/// A text in which `'transactions'::regclass` has the schema that the name is read in, where a table there is called so: several schemas have one of a name.
pub(super) fn with_schemas(sql: &str, schema: &str, is_table: impl Fn(&str) -> bool) -> String {
    let placed = tokens(sql);
    let (mut out, mut copied) = (String::new(), 0);
    for (at, of) in placed.iter().enumerate() {
        let Token::Text(name) = &of.token else {
            continue;
        };
        let mut behind = placed.iter().skip(at + 1).map(|next| &next.token);
        let is_cast = behind.next().is_some_and(|next| next.is_sign(':'))
            && behind.next().is_some_and(|next| next.is_sign(':'));
        let mut behind = behind.skip_while(|next| next.is_word("pg_catalog") || next.is_sign('.'));
        let is_class = behind.next().is_some_and(|next| next.is_word("regclass"));
        if is_cast && is_class && is_table(name) {
            out.push_str(sql.get(copied..of.from).unwrap_or_default());
            out.push_str(&format!("'{schema}.{}'", name.replace('\'', "''")));
            copied = of.to;
        }
    }
    out.push_str(sql.get(copied..).unwrap_or_default());
    out
}

/// A text with other words wherever it has these.
fn replaced(sql: String, theirs: &[Placed], ours: &str) -> String {
    let placed = tokens(&sql);
    let is_it = |words: &[Placed]| {
        words
            .iter()
            .zip(theirs)
            .all(|(word, wanted)| wanted.token == Token::Sign('?') || word.token == wanted.token)
    };
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(words) = placed.get(at..at + theirs.len()) {
        match (is_it(words), words.first(), words.last()) {
            (true, Some(first), Some(last)) => {
                out.push_str(sql.get(copied..first.from).unwrap_or_default());
                out.push_str(ours);
                copied = last.to;
                at += theirs.len();
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return sql;
    }
    out.push_str(sql.get(copied..).unwrap_or_default());
    out
}

/// Functions of lists that questions about constraints and indexes are asked with, and pgjdbc's.
const OF_LISTS: [&str; 2] = ["generate_subscripts", "_pg_expandarray"];
/// Word of psql's question about the descriptions of constraints.
const CONSTRAINT: &str = "table constraint";
/// Tables of constraints and indexes, of which there are none here.
const CONSTRAINED: [&str; 2] = ["pg_constraint", "pg_index"];
/// Columns with the columns of an index or a constraint, of which psqlODBC and pgjdbc ask for one.
const KEYS: [&str; 3] = ["conkey", "confkey", "indkey"];
/// Beginnings of the names of columns that are true or false.
const TRUTHS: [&str; 4] = ["atthas", "attis", "indis", "relhas"];
/// Tables of the catalog that have no rows here.
const EMPTY: [&str; 3] = ["pg_attrdef", "pg_inherits", "pg_sequence"];
/// Tables whose rows SQLAlchemy asks for as options of a column, where it has some that are its own.
const OF_OPTIONS: [&str; 2] = ["pg_collation", "pg_sequence"];
/// Function that the parser puts in the place of `= ANY (...)`.
const IS_ONE_OF: &str = "array_contains";

/// Puts a statement as the engine can plan it, once its values are in it.
pub(super) fn in_our_forms(statement: &mut Statement) {
    if let Statement::Query(query) = statement
        && is_of_constraints(query)
        && let Some(none) = without_rows(query)
    {
        *statement = none;
        return;
    }
    let _ = VisitMut::visit(statement, &mut FormVisitor::default());
}

/// True of a query that reads the constraints or the indexes, in words that the engine has not.
fn is_of_constraints(query: &Query) -> bool {
    if !reads(query, &CONSTRAINED) {
        return false;
    }
    let written = query.to_string();
    let placed = tokens(&written);
    placed.iter().enumerate().any(|(at, of)| {
        let is_before = |sign: char| {
            let next = placed.get(at + 1);
            next.is_some_and(|next| next.token.is_sign(sign))
        };
        match &of.token {
            Token::Text(text) => text == CONSTRAINT,
            Token::Word(name) | Token::Name(name) => {
                let name = name.as_str();
                (OF_LISTS.contains(&name) && is_before('('))
                    || (KEYS.contains(&name) && is_before('['))
            }
            Token::Number(_) | Token::Sign(_) => false,
        }
    })
}

/// True of a query that reads one of these tables of the catalog, also within the queries that it reads; not in its values and conditions.
fn reads(query: &Query, tables: &[&str]) -> bool {
    let mut with = query.with.iter().flat_map(|with| &with.cte_tables);
    body_reads(&query.body, tables) || with.any(|with| reads(&with.query, tables))
}

fn body_reads(body: &SetExpr, tables: &[&str]) -> bool {
    match body {
        SetExpr::Select(select) => select.from.iter().any(|from| from_reads(from, tables)),
        SetExpr::Query(inner) => reads(inner, tables),
        SetExpr::SetOperation { left, right, .. } => {
            body_reads(left, tables) || body_reads(right, tables)
        }
        _ => false,
    }
}

fn from_reads(from: &TableWithJoins, tables: &[&str]) -> bool {
    let joined = from.joins.iter().map(|join| &join.relation);
    let mut all = std::iter::once(&from.relation).chain(joined);
    all.any(|relation| match relation {
        TableFactor::Table { name, .. } => {
            catalog_table(name).is_some_and(|name| tables.contains(&name))
        }
        TableFactor::Derived { subquery, .. } => reads(subquery, tables),
        TableFactor::NestedJoin {
            table_with_joins, ..
        } => from_reads(table_with_joins, tables),
        _ => false,
    })
}

/// A statement with the columns of a query, by the names that it gives them, and no rows: our tables have no constraints and no indexes.
fn without_rows(query: &Query) -> Option<Statement> {
    let mut body = query.body.as_ref();
    let select = loop {
        body = match body {
            SetExpr::Select(select) => break select,
            SetExpr::Query(inner) => inner.body.as_ref(),
            SetExpr::SetOperation { left, .. } => left.as_ref(),
            _ => return None,
        };
    };
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => {
            path.last().map(|name| name.value.clone())
        }
        SelectItem::UnnamedExpr(_) => Some("?column?".to_owned()),
        _ => None,
    };
    let mut known: Vec<String> = Vec::new();
    let columns: Option<Vec<String>> = select
        .projection
        .iter()
        .map(|item| {
            let mut name = name(item)?;
            // A query of the engine has each name once; a client reads those that were written.
            while known.contains(&name) {
                name.push('_');
            }
            let column = Ident::with_quote('"', name.clone());
            known.push(name);
            Some(format!("CAST(NULL AS TEXT) AS {column}"))
        })
        .collect();
    let sql = format!("SELECT {} WHERE false", columns?.join(", "));
    Parser::parse_sql(&PostgreSqlDialect {}, &sql).ok()?.pop()
}

/// Visitor of what the engine has another form for.
#[derive(Default)]
struct FormVisitor {
    /// Names of queries in WITH, which are no tables of the catalog.
    with: Vec<String>,
}

impl VisitorMut for FormVisitor {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.with
            .extend(with.map(|with| with.alias.name.value.clone()));
        // `SELECT EXISTS (...)` and nothing else: the engine knows EXISTS as a condition alone.
        if let SetExpr::Select(select) = query.body.as_mut()
            && select.from.is_empty()
        {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                    && let Some(counted) = counted(expr)
                {
                    *expr = counted;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Subquery(query)
                if reads_nothing(query, &self.with) || is_of_constraints(query) =>
            {
                *expr = Expr::value(Value::Null);
            }
            Expr::Function(function) => {
                if let Some(form) = one_of_list(function) {
                    *expr = form;
                }
            }
            // `ix.indisprimary = 'f'`: the engine compares no truth with a text.
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq | BinaryOperator::NotEq,
                right,
            } => {
                if is_truth(left)
                    && let Some(of) = truth(right)
                {
                    **right = Expr::value(Value::Boolean(of));
                }
            }
            // `LIKE 'pg/_%' ESCAPE '/'`: the engine knows the backslash alone.
            Expr::Like {
                pattern,
                escape_char,
                ..
            }
            | Expr::ILike {
                pattern,
                escape_char,
                ..
            } => {
                let escape = escape_char.take().map(|escape| escape.value);
                if let Some(Value::SingleQuotedString(escape)) = escape
                    && let Some(escape) = escape.chars().next()
                {
                    escape_otherwise(pattern, escape);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// EXISTS as the number of its rows; none of anything else.
fn counted(expr: &Expr) -> Option<Expr> {
    let Expr::Exists { subquery, negated } = expr else {
        return None;
    };
    let sign = if *negated { "=" } else { ">" };
    let sql = format!("(SELECT count(*) {sign} 0 FROM ({subquery}) AS found)");
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(&sql);
    parser.ok()?.parse_expr().ok()
}

/// True of a query of a value that reads a table without rows, or the options that no column has: it gives null. One that counts gives a number, and an outer join may give rows.
fn reads_nothing(query: &Query, with: &[String]) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return false;
    };
    let ([from], [item]) = (select.from.as_slice(), select.projection.as_slice()) else {
        return false;
    };
    let TableFactor::Table { name, .. } = &from.relation else {
        return false;
    };
    let table = catalog_table(name)
        .filter(|name| query.with.is_none() && !with.iter().any(|other| other == name));
    let is_of_it = |join: &Join| {
        matches!(
            join.join_operator,
            JoinOperator::Join(_)
                | JoinOperator::Inner(_)
                | JoinOperator::Left(_)
                | JoinOperator::LeftOuter(_)
                | JoinOperator::CrossJoin(_)
        )
    };
    let value = match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr,
        _ => return false,
    };
    let tables: &[&str] = match value {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => &EMPTY,
        Expr::Function(function) => match last_word(&function.name) {
            Some("pg_get_expr") => &EMPTY,
            Some("json_build_object") => &OF_OPTIONS,
            _ => return false,
        },
        _ => return false,
    };
    table.is_some_and(|table| tables.contains(&table)) && from.joins.iter().all(is_of_it)
}

/// True of a column of the catalog that is true or false.
fn is_truth(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(path) => path.last(),
        _ => None,
    };
    name.is_some_and(|name| TRUTHS.iter().any(|truth| name.value.starts_with(truth)))
}

/// Truth that a text stands for.
fn truth(expr: &Expr) -> Option<bool> {
    let Expr::Value(value) = expr else {
        return None;
    };
    match &value.value {
        Value::SingleQuotedString(text) => match text.as_str() {
            "t" | "true" => Some(true),
            "f" | "false" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// The table of the catalog that a name without a schema, or with that of the catalog, may be of.
fn catalog_table(name: &ObjectName) -> Option<&str> {
    let mut parts = name.0.iter().rev().map(ObjectNamePart::as_ident);
    let table = parts.next()??;
    match parts.next() {
        Some(schema) if schema?.value != "pg_catalog" => None,
        _ => Some(table.value.as_str()),
    }
}

/// The last word of a name with or without a schema.
fn last_word(name: &ObjectName) -> Option<&str> {
    let last = name.0.last().and_then(ObjectNamePart::as_ident)?;
    Some(last.value.as_str())
}

/// Other form of `x = ANY (...)`: the text of a list, which a parameter was, is the list, and no column is one of those of an index or a constraint. None where it stays.
fn one_of_list(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(given) = &function.args else {
        return None;
    };
    let first = given
        .args
        .first()
        .filter(|_| last_word(&function.name) == Some(IS_ONE_OF))?;
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(list)) = first else {
        return None;
    };
    let is_key = |name: &Ident| KEYS.contains(&name.value.as_str());
    let items = match list {
        Expr::Identifier(name) if is_key(name) => Vec::new(),
        Expr::CompoundIdentifier(path) if path.last().is_some_and(is_key) => Vec::new(),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => list_items(text)?,
            _ => return None,
        },
        _ => return None,
    };
    if items.is_empty() {
        return Some(Expr::value(Value::Boolean(false)));
    }
    let item =
        |item: Option<String>| Expr::value(item.map_or(Value::Null, Value::SingleQuotedString));
    let array = Expr::Array(Array {
        elem: items.into_iter().map(item).collect(),
        named: true,
    });
    let mut form = function.clone();
    if let FunctionArguments::List(given) = &mut form.args
        && let Some(first) = given.args.first_mut()
    {
        *first = FunctionArg::Unnamed(FunctionArgExpr::Expr(array));
    }
    Some(Expr::Function(form))
}

/// Escapes the signs of a pattern with backslashes and not with another character, in each text that it is made of.
fn escape_otherwise(pattern: &mut Expr, escape: char) {
    match pattern {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => escape_otherwise(inner, escape),
        Expr::BinaryOp { left, right, .. } => {
            escape_otherwise(left, escape);
            escape_otherwise(right, escape);
        }
        Expr::Value(value) => {
            if let Value::SingleQuotedString(text) = &mut value.value {
                *text = with_backslashes(text, escape);
            }
        }
        _ => {}
    }
}

/// A pattern whose signs another character escapes, with backslashes in its place.
fn with_backslashes(pattern: &str, escape: char) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c == escape {
            out.push('\\');
            out.extend(chars.next());
        } else if c == '\\' {
            out.push_str("\\\\");
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_however_they_are_spaced() {
        for (theirs, ours) in [
            (
                "SELECT oid FROM pg_type WHERE (typreceive  !=\n0 OR typsend != 0)",
                "SELECT oid FROM pg_type WHERE (typreceive <> '-' OR typsend <> '-')",
            ),
            (
                "SELECT pg_catalog.array_to_string(n.nspacl, E'\\n') AS \"Access privileges\", 1",
                "SELECT CAST(NULL AS TEXT) AS \"Access privileges\", 1",
            ),
            (
                "SELECT CASE WHEN pg_catalog.array_length(d.datacl, 1) = 0 THEN '(none)' \
                 ELSE pg_catalog.array_to_string(d.datacl, E'\\n') END AS \"Access privileges\"",
                "SELECT CAST(NULL AS TEXT) AS \"Access privileges\"",
            ),
            ("SELECT 'typreceive != 0'", "SELECT 'typreceive != 0'"),
            ("", ""),
        ] {
            assert_eq!(in_our_words(theirs), ours);
        }
    }

    #[test]
    fn a_name_of_a_table_is_of_the_schema_that_is_read() {
        for (theirs, ours) in [
            (
                "SELECT 'sales'::regclass",
                "SELECT 'unified.sales'::regclass",
            ),
            (
                "a = 'sales'::pg_catalog.regclass AND b = 'x'",
                "a = 'unified.sales'::pg_catalog.regclass AND b = 'x'",
            ),
            ("SELECT 'pg_class'::regclass", "SELECT 'pg_class'::regclass"),
            ("SELECT 'sales'::text", "SELECT 'sales'::text"),
            ("SELECT 'sales'", "SELECT 'sales'"),
        ] {
            let is_table = |name: &str| name == "sales";
            assert_eq!(with_schemas(theirs, "unified", is_table), ours);
        }
    }

    #[test]
    fn forms_that_the_engine_has_not_are_put_otherwise() {
        for (theirs, ours) in [
            (
                "SELECT a FROM t WHERE a NOT LIKE 'pg/_%\\' ESCAPE '/'",
                "SELECT a FROM t WHERE a NOT LIKE 'pg\\_%\\\\'",
            ),
            (
                "SELECT (SELECT json_build_object('a', 1) FROM pg_sequence) AS options",
                "SELECT NULL AS options",
            ),
            (
                "SELECT s.conrelid, array_agg(s.a) AS cols FROM \
                 (SELECT conrelid, generate_subscripts(conkey, 1) AS a FROM pg_constraint) AS s GROUP BY 1",
                "SELECT CAST(NULL AS TEXT) AS \"conrelid\", CAST(NULL AS TEXT) AS \"cols\" WHERE false",
            ),
            (
                "SELECT ta.attname, tc.relname, ic.relname, NULL FROM pg_index i, t AS ta, t AS tc, t AS ic \
                 WHERE ta.attnum = i.indkey[1]",
                "SELECT CAST(NULL AS TEXT) AS \"attname\", CAST(NULL AS TEXT) AS \"relname\", \
                 CAST(NULL AS TEXT) AS \"relname_\", CAST(NULL AS TEXT) AS \"?column?\" WHERE false",
            ),
            (
                "SELECT CASE WHEN a.atthasdef THEN (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef AS d \
                 WHERE a.atthasdef AND d.adrelid = a.attrelid) ELSE NULL END FROM a",
                "SELECT CASE WHEN a.atthasdef THEN NULL ELSE NULL END FROM a",
            ),
            (
                "SELECT (SELECT pg_index.indkey[1] FROM pg_index), 'indkey[' FROM a",
                "SELECT NULL, 'indkey[' FROM a",
            ),
            (
                "SELECT 'indkey[', indkey[1] FROM a",
                "SELECT 'indkey[', indkey[1] FROM a",
            ),
            (
                "SELECT (SELECT a.x FROM pg_sequence RIGHT JOIN a ON true), (SELECT max(x) FROM pg_sequence)",
                "SELECT (SELECT a.x FROM pg_sequence RIGHT JOIN a ON true), (SELECT max(x) FROM pg_sequence)",
            ),
            (
                "WITH pg_sequence AS (SELECT 1 AS x) SELECT (SELECT x FROM pg_sequence), (SELECT x FROM pg_catalog.pg_inherits)",
                "WITH pg_sequence AS (SELECT 1 AS x) SELECT (SELECT x FROM pg_sequence), NULL",
            ),
            (
                "SELECT (SELECT count(*) FROM pg_sequence)",
                "SELECT (SELECT count(*) FROM pg_sequence)",
            ),
            (
                "SELECT a FROM t WHERE array_contains('{r, \"v,w\", NULL}', a) AND NOT array_contains('{}', a)",
                "SELECT a FROM t WHERE array_contains(ARRAY['r', 'v,w', NULL], a) AND NOT false",
            ),
            (
                "SELECT a FROM t JOIN i ON array_contains(i.indkey, t.attnum) OR array_contains('no list', a)",
                "SELECT a FROM t JOIN i ON false OR array_contains('no list', a)",
            ),
            (
                "SELECT a FROM i WHERE ix.indisprimary = 'f' AND relhasindex <> 'true' AND relkind = 't' AND attisdropped = a",
                "SELECT a FROM i WHERE ix.indisprimary = false AND relhasindex <> true AND relkind = 't' AND attisdropped = a",
            ),
            (
                "SELECT EXISTS (SELECT 1 FROM t), NOT EXISTS (SELECT 1 FROM t) AS none",
                "SELECT (SELECT count(*) > 0 FROM (SELECT 1 FROM t) AS found), \
                 (SELECT count(*) = 0 FROM (SELECT 1 FROM t) AS found) AS none",
            ),
            (
                "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u)",
                "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u)",
            ),
            ("SELECT a LIKE 'b' FROM t", "SELECT a LIKE 'b' FROM t"),
        ] {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, theirs).unwrap();
            in_our_forms(&mut statements[0]);
            assert_eq!(statements[0].to_string(), ours);
        }
    }
}
