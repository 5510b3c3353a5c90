//! Words of what tools ask about the catalog, put as the engine can plan them.
//!
//! Invariant: what is put in the place of something is what that is of a catalog whose tables have no constraints, no indexes, no policies and no privileges of their own. It
//! is found by its words, however they are spaced.

use super::words::{Placed, Token, tokens};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, SelectItem, SetExpr, Statement, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;

/// Parts of what psql, drivers and libraries ask, and what is put there; `?` is any one word.
const REPLACED: [(&str, &str); 17] = [
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

/// Functions that only questions about constraints and indexes are asked with, and psql's about the descriptions of those.
const OF_CONSTRAINTS: [&str; 2] = ["generate_subscripts(", "'table constraint'"];

/// Puts a statement as the engine can plan it, once its values are in it.
pub(super) fn in_our_forms(statement: &mut Statement) {
    let written = statement.to_string().to_lowercase();
    if OF_CONSTRAINTS.iter().any(|sign| written.contains(sign))
        && let Statement::Query(query) = statement
        && let Some(none) = without_rows(query)
    {
        *statement = none;
        return;
    }
    let _ = VisitMut::visit(statement, &mut FormVisitor);
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
        _ => None,
    };
    let names = select.projection.iter().map(name);
    let columns: Option<Vec<String>> = names
        .map(|name| {
            let name = Ident::with_quote('"', name?);
            Some(format!("CAST(NULL AS TEXT) AS {name}"))
        })
        .collect();
    let sql = format!("SELECT {} WHERE false", columns?.join(", "));
    Parser::parse_sql(&PostgreSqlDialect {}, &sql).ok()?.pop()
}

/// Visitor of what the engine has another form for.
struct FormVisitor;

impl VisitorMut for FormVisitor {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            // SQLAlchemy asks for the options of a column's sequence.
            Expr::Subquery(query) if query.to_string().contains("json_build_object(") => {
                *expr = Expr::value(Value::Null);
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
            ("SELECT a LIKE 'b' FROM t", "SELECT a LIKE 'b' FROM t"),
        ] {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, theirs).unwrap();
            in_our_forms(&mut statements[0]);
            assert_eq!(statements[0].to_string(), ours);
        }
    }
}
