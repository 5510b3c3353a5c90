//! Words of what tools ask about the catalog, put as the engine can plan them.
//!
//! Invariant: what is put in the place of something is what that is of a catalog whose tables have no constraints, no indexes, no policies and no privileges of their own. It
//! is found by its words, however they are spaced.

use super::catalog_empty::{
    NamedQuery, add_named, catalog_table, empty, is_key, is_null, is_of_key, last_word,
    reads_constrained,
};
use super::words::{Placed, Token, tokens};
use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Join,
    JoinOperator, Query, SelectItem, SetExpr, Statement, TableFactor, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;
use tillhouse_query::list_items;

/// Parts of what psql, drivers and libraries ask, and what is put there; `?` is any one word.
const REPLACED: [(&str, &str); 21] = [
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
    // psql: \dy.
    (
        "pg_catalog.array_to_string(array(select x from pg_catalog.unnest(evttags) as t(x)), ', ')",
        "''",
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
    REPLACED
        .iter()
        .fold(with_counts(sql), |sql, (theirs, ours)| {
            replaced(sql, &tokens(theirs), ours)
        })
}

/// A text in which `(SELECT count(...) ...)` among columns stands in brackets of its own: the parser makes null of a column that is a query about the row, and a count is never null.
fn with_counts(sql: &str) -> String {
    let placed = tokens(sql);
    let is_word = |at: usize, word: &str| placed.get(at).is_some_and(|of| of.token.is_word(word));
    let is_sign = |at: usize, sign: char| placed.get(at).is_some_and(|of| of.token.is_sign(sign));
    let mut brackets: Vec<(usize, char)> = Vec::new();
    for (at, of) in placed.iter().enumerate().skip(1) {
        let is_column = is_word(at - 1, "select") || is_sign(at - 1, ',');
        let is_count = is_sign(at, '(')
            && is_word(at + 1, "select")
            && is_word(at + 2, "count")
            && is_sign(at + 3, '(');
        if is_column
            && is_count
            && let Some(end) = end_of_brackets(&placed, at)
        {
            brackets.extend([(of.from, '('), (end, ')')]);
        }
    }
    brackets.sort_unstable();
    let (mut out, mut copied) = (String::new(), 0);
    for (at, bracket) in brackets {
        out.push_str(sql.get(copied..at).unwrap_or_default());
        out.push(bracket);
        copied = at;
    }
    out.push_str(sql.get(copied..).unwrap_or_default());
    out
}

/// The place behind the bracket that closes the one at a token.
fn end_of_brackets(placed: &[Placed], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for of in placed.iter().skip(at) {
        if of.token.is_sign('(') {
            depth += 1;
        } else if of.token.is_sign(')') {
            depth -= 1;
            if depth == 0 {
                return Some(of.to);
            }
        }
    }
    None
}

/// The texts that are cast to `regclass`, with where they stand: `'sales'::regclass`, `CAST('sales' AS regclass)`.
fn classes(placed: &[Placed]) -> impl Iterator<Item = (&Placed, &str)> {
    placed.iter().enumerate().filter_map(move |(at, of)| {
        let Token::Text(name) = &of.token else {
            return None;
        };
        let mut behind = placed.iter().skip(at + 1).map(|next| &next.token);
        let is_called = at > 1 && placed.get(at - 2)?.token.is_word("cast");
        let is_cast = match behind.next()? {
            next if next.is_sign(':') => behind.next()?.is_sign(':'),
            next => is_called && next.is_word("as"),
        };
        let mut behind = behind.skip_while(|next| next.is_word("pg_catalog") || next.is_sign('.'));
        (is_cast && behind.next()?.is_word("regclass")).then_some((of, name.as_str()))
    })
}

/// The names of a statement that are those of tables, by a cast.
pub(super) fn class_names(sql: &str) -> Vec<String> {
    let placed = tokens(sql);
    classes(&placed).map(|(_, name)| name.to_owned()).collect()
}

/// The function whose number psql asks for before it asks for its text: `\sf` and `\ef`.
pub(super) fn function_with_text(sql: &str) -> Option<String> {
    let placed = tokens(sql);
    let words = placed.iter().map(|of| &of.token);
    let words: Vec<&Token> = words
        .filter(|word| !word.is_word("pg_catalog") && !word.is_sign('.') && !word.is_sign(';'))
        .collect();
    let [select, Token::Text(name), casts @ .., of] = words.as_slice() else {
        return None;
    };
    let is_number = match casts {
        [a, b, kind, c, d] => {
            [a, b, c, d].iter().all(|sign| sign.is_sign(':'))
                && (kind.is_word("regproc") || kind.is_word("regprocedure"))
        }
        _ => false,
    };
    (is_number && select.is_word("select") && of.is_word("oid")).then(|| name.clone())
}

/// A text in which `'transactions'::regclass` has the schema that such a name is read in, where a table is called so: several schemas have one of a name.
pub(super) fn with_schemas<'a>(sql: &str, schema_of: impl Fn(&str) -> Option<&'a str>) -> String {
    let placed = tokens(sql);
    let (mut out, mut copied) = (String::new(), 0);
    for (of, name) in classes(&placed) {
        if let Some(schema) = schema_of(name) {
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
    let mut forms = FormVisitor {
        has_keys: reads_constrained(statement),
        ..FormVisitor::default()
    };
    let _ = VisitMut::visit(statement, &mut forms);
}

/// Visitor of what the engine has another form for.
#[derive(Default)]
struct FormVisitor {
    /// Queries in WITH, which are no tables of the catalog.
    with: Vec<NamedQuery>,
    /// Queries around the one that is visited.
    depth: usize,
    /// True of a statement that reads constraints or indexes.
    has_keys: bool,
}

impl VisitorMut for FormVisitor {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        add_named(query, &mut self.with);
        empty(query, &self.with, self.depth == 0);
        self.depth += 1;
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

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Subquery(query)
                if reads_nothing(query, &self.with) || is_null(query, &self.with) =>
            {
                *expr = Expr::value(Value::Null);
            }
            Expr::CompoundFieldAccess { root, access_chain }
                if self.has_keys && is_of_key(root, access_chain) =>
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
fn reads_nothing(query: &Query, with: &[NamedQuery]) -> bool {
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
        .filter(|name| query.with.is_none() && !with.iter().any(|(other, _)| other == name));
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
    let items = match list {
        list if is_key(list) => Vec::new(),
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
            (
                "SELECT a, (SELECT count(*) FROM b WHERE (b.a = c.a)) AS n FROM c WHERE a IN (SELECT count(*) FROM d)",
                "SELECT a, ((SELECT count(*) FROM b WHERE (b.a = c.a))) AS n FROM c WHERE a IN (SELECT count(*) FROM d)",
            ),
            (
                "SELECT (SELECT count(a), (SELECT count(1)) FROM b), (SELECT max(a) FROM b)",
                "SELECT ((SELECT count(a), ((SELECT count(1))) FROM b)), (SELECT max(a) FROM b)",
            ),
            ("SELECT (SELECT count(", "SELECT (SELECT count("),
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
            (
                "SELECT 'pg_class'::regclass",
                "SELECT 'pg_catalog.pg_class'::regclass",
            ),
            ("SELECT 'other'::regclass", "SELECT 'other'::regclass"),
            ("SELECT 'sales'::text", "SELECT 'sales'::text"),
            ("SELECT 'sales'", "SELECT 'sales'"),
        ] {
            let schema_of = |name: &str| match name {
                "sales" => Some("unified"),
                "pg_class" => Some("pg_catalog"),
                _ => None,
            };
            assert_eq!(with_schemas(theirs, schema_of), ours);
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

    #[test]
    fn what_has_rows_beside_constraints_and_indexes_keeps_them() {
        for (theirs, ours) in [
            (
                "SELECT c.relname AS name FROM pg_class AS c UNION ALL SELECT i.indkey[1] FROM pg_index AS i ORDER BY 1",
                "SELECT c.relname AS name FROM pg_class AS c UNION ALL SELECT NULL AS \"?column?\" WHERE false ORDER BY 1",
            ),
            (
                "SELECT conkey[1] FROM pg_constraint UNION ALL SELECT i.indkey[1] FROM pg_index AS i ORDER BY 1",
                "SELECT CAST(NULL AS TEXT) AS \"?column?\" WHERE false",
            ),
            (
                "SELECT conkey[1] AS a FROM pg_constraint EXCEPT SELECT oid FROM pg_class",
                "SELECT CAST(NULL AS TEXT) AS \"a\" WHERE false",
            ),
            (
                "SELECT c.relname, i.indkey[0] FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indrelid = c.oid",
                "SELECT c.relname, NULL FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indrelid = c.oid",
            ),
            (
                "SELECT c.relname FROM pg_class AS c LEFT JOIN (SELECT conrelid, generate_subscripts(conkey, 1) AS n FROM pg_constraint) AS k \
                 ON k.conrelid = c.oid",
                "SELECT c.relname FROM pg_class AS c LEFT JOIN (SELECT NULL AS \"conrelid\", NULL AS \"n\" WHERE false) AS k ON k.conrelid = c.oid",
            ),
            (
                "SELECT c.relname FROM pg_index AS i RIGHT JOIN pg_class AS c ON i.indkey[0] = 1",
                "SELECT c.relname FROM pg_index AS i RIGHT JOIN pg_class AS c ON NULL = 1",
            ),
            (
                "WITH k AS (SELECT generate_subscripts(conkey, 1) AS n FROM pg_constraint) SELECT n FROM k JOIN pg_class AS c ON true",
                "SELECT CAST(NULL AS TEXT) AS \"n\" WHERE false",
            ),
            (
                "WITH k AS (SELECT generate_subscripts(conkey, 1) AS n FROM pg_constraint) SELECT count(*) FROM k",
                "WITH k AS (SELECT NULL AS \"n\" WHERE false) SELECT count(*) FROM k",
            ),
            (
                "WITH pg_index AS (SELECT 1 AS a) SELECT a FROM pg_index UNION ALL SELECT conkey[1] FROM pg_constraint",
                "WITH pg_index AS (SELECT 1 AS a) SELECT a FROM pg_index UNION ALL SELECT NULL AS \"?column?\" WHERE false",
            ),
            (
                "SELECT (SELECT count(*) FROM pg_index AS i WHERE i.indkey[0] = 1), (SELECT max(i.indkey[0]) FROM pg_index AS i) FROM c",
                "SELECT (SELECT count(*) FROM pg_index AS i WHERE NULL = 1), NULL FROM c",
            ),
            (
                "SELECT tt.name FROM (SELECT CAST('table constraint' AS TEXT) AS name FROM pg_constraint UNION ALL SELECT opcname FROM pg_opclass) AS tt \
                 JOIN pg_description AS d ON d.objoid = 1 ORDER BY 1",
                "SELECT CAST(NULL AS TEXT) AS \"name\" WHERE false",
            ),
        ] {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, theirs).unwrap();
            in_our_forms(&mut statements[0]);
            assert_eq!(statements[0].to_string(), ours);
        }
    }
}
