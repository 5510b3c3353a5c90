//! Limits on the nesting of a statement and on the parts of its plan.
//!
//! Invariant: what passes here can be planned, run and dropped on the stacks that [`DEEP_STACK`] and [`WORKER_STACK`] name; what does not is an error that says
//! so. Without it a long enough query ends the process: trees are walked, copied, compared and dropped by recursion in the parser, in DataFusion and by
//! the compiler's own code, and an overflowing stack is no error that anybody could catch.
//!
//! ```text
//!   text ── parser: nesting at most NESTING, chains of operators at most CHAIN ── tree: levels at most LEVELS
//!        ── plan: levels at most PLAN_LEVELS, parts at most PLAN_PARTS
//! ```
//!
//! Long lists (`IN`, `VALUES`) are no levels, and neither are long chains of AND and OR, which the dialect balances.

use crate::table_count::TableCounter;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, ObjectName, ObjectNamePart,
    Query, Select, SetExpr, Visit, Visitor,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use std::ops::ControlFlow;
use tillhouse_model::{Error, ErrorKind, Result};

/// The stack of a thread that plans and runs queries. Only what is used of it becomes memory.
pub const DEEP_STACK: usize = 256 << 20;
/// The stack of the threads that a query's tasks are spread over.
pub const WORKER_STACK: usize = 64 << 20;
/// Parentheses, calls and queries within each other, as the parser counts them.
pub(crate) const NESTING: usize = 400;
/// As many parentheses, calls, signs or NOTs surely are no more than that, as users are told: the statement around them counts as well.
const WITHIN: usize = 390;
/// As many queries in FROM, each of which the parser counts twice.
const WITHIN_FROM: usize = 190;
/// As many are read to find out whether a text that cannot be read is wrong, or only too deep.
pub(crate) const FURTHER: usize = 2 * NESTING;
/// Operators in a row, like `a || b || c`; those of AND and OR may be more.
pub(crate) const CHAIN: usize = 1_000;
/// Conditions in a row, of AND or of OR.
pub(crate) const CONDITIONS: usize = 500_000;
/// Levels of a statement's tree.
const LEVELS: usize = 2_500;
/// Subqueries within each other in conditions and columns: `EXISTS (... EXISTS (...))`. Planning one takes nearly twice as long with each level.
const SUBQUERIES: usize = 12;
/// Calls of COALESCE within each other's values, with something else between them, where the value is not the last: all others stand in the plan twice.
const CHOICES: usize = 16;
/// Sets of columns that a query groups by at once, as PostgreSQL has it: planning makes a list of each.
const GROUPING_SETS: usize = 4_096;
/// Lists and structs within each other, and brackets behind a type. Planning asks each for its type, those for the types of all within, over and over.
const LISTS: usize = 64;
/// Levels of a plan.
const PLAN_LEVELS: usize = 5_000;
/// Parts of a plan, each as often as it is used: a WITH that is named twice in the next one, twenty times over, makes a million of ten lines.
const PLAN_PARTS: usize = 50_000;
/// Bytes of a statement: planning takes some twenty times as much memory.
const LONGEST: usize = 3_000_000;
/// Words, values and signs of a statement; each takes half a kilobyte before anything runs.
const WORDS: usize = 300_000;
/// Characters of a name: a name that is not known is compared with all that are.
const LONGEST_NAME: usize = 4_000;
/// A text of fewer characters has room on any stack.
const SHORT: usize = 4_000;

/// Error of a statement that is nested too deeply.
pub(crate) fn too_deep() -> Error {
    Error::new(ErrorKind::Query, "the query is nested too deeply").hint(format!(
        "At most {WITHIN} parentheses, calls, signs or NOTs may stand within each other, {WITHIN_FROM} queries in FROM, and {CHAIN} operators in a row. For many values \
         write a list: `x IN (1, 2, 3)`, or join with (VALUES (1), (2)) AS t(x)."
    ))
}

/// Errors when a text is too long to be read in bounded memory.
pub(crate) fn check_length(sql: &str) -> Result<()> {
    if sql.len() <= LONGEST {
        return Ok(());
    }
    Err(too_long(format!("more than {LONGEST} bytes")))
}

/// Errors when a statement has too many words, or one that is too long.
pub(crate) fn check_words(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut words = 0_usize;
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) if word.value.len() > LONGEST_NAME => {
                return Err(Error::new(
                    ErrorKind::Query,
                    format!("a name in the query is longer than {LONGEST_NAME} characters"),
                )
                .hint("Texts stand in single quotes, names in double ones."));
            }
            _ => words += 1,
        }
    }
    if words > WORDS {
        return Err(too_long(format!(
            "more than {WORDS} words, values and signs"
        )));
    }
    Ok(())
}

fn too_long(what: String) -> Error {
    Error::new(ErrorKind::Query, format!("the query is too long: {what}"))
        .hint("Ask for less at a time: several queries, each with a part of the values.")
}

/// Runs what recurses over a text of some length where there is room for it.
pub(crate) fn with_room<T: Send>(text: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if text.len() < SHORT {
        work()
    } else {
        on_deep_stack(work)
    }
}

/// Runs what recurses deeply on a thread with a stack for it.
pub(crate) fn on_deep_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("parser".to_owned())
            .stack_size(DEEP_STACK);
        let failed = |_| Error::internal("the SQL could not be read");
        thread
            .spawn_scoped(scope, work)
            .map_err(|error| Error::internal("cannot start a thread").because(error))?
            .join()
            .map_err(failed)?
    })
}

/// Errors when brackets, CASEs, signs or NOTs stand too deeply within each other. The parser would try everything else first, which takes it for ever.
pub(crate) fn check_nesting(tokens: &[TokenWithSpan]) -> std::result::Result<(), ParserError> {
    // Signs and NOTs wait for what they stand before; those outside of a bracket go on waiting within it.
    let (mut open, mut depth, mut waiting) = (Vec::new(), 0_usize, 0_usize);
    // Names in a row, `a.b.c`: each is looked up within what stands before it.
    let (mut path, mut is_behind_period) = (0_usize, false);
    let mut types = TypeNesting::default();
    for token in tokens {
        types.read(&token.token);
        if types.is_too_deep() {
            return Err(ParserError::RecursionLimitExceeded);
        }
        let keyword = if let Token::Word(word) = &token.token {
            word.keyword
        } else {
            Keyword::NoKeyword
        };
        match (&token.token, keyword) {
            (Token::LParen | Token::LBracket | Token::LBrace, _) | (_, Keyword::CASE) => {
                depth += 1 + waiting;
                open.push(std::mem::take(&mut waiting));
            }
            (Token::RParen | Token::RBracket | Token::RBrace, _) | (_, Keyword::END) => {
                waiting = 0;
                depth = open
                    .pop()
                    .map_or(0, |outside: usize| depth.saturating_sub(1 + outside));
            }
            (Token::Minus | Token::Plus | Token::Tilde, _)
            | (_, Keyword::NOT | Keyword::INTERVAL) => waiting += 1,
            (Token::Whitespace(_), _) => {}
            _ => waiting = 0,
        }
        match &token.token {
            Token::Whitespace(_) => {}
            Token::Period => (path, is_behind_period) = (path + 1, true),
            Token::Word(_) if is_behind_period => is_behind_period = false,
            _ => (path, is_behind_period) = (0, false),
        }
        if depth + waiting > NESTING || path > NESTING {
            return Err(ParserError::RecursionLimitExceeded);
        }
    }
    Ok(())
}

/// Brackets of types: those in a row behind a type, `INT[][]`, and those that open one within another, `ARRAY<ARRAY<INT>>`. The parser counts neither.
#[derive(Default)]
struct TypeNesting {
    /// Brackets in a row with a number in them, or nothing.
    row: usize,
    /// True within such a bracket.
    is_within: bool,
    opened: usize,
    is_behind_name: bool,
}

impl TypeNesting {
    fn read(&mut self, token: &Token) {
        if matches!(token, Token::Whitespace(_)) {
            return;
        }
        (self.row, self.is_within) = match token {
            Token::LBracket => (self.row, true),
            Token::Number(..) if self.is_within => (self.row, true),
            Token::RBracket if self.is_within => (self.row + 1, false),
            _ => (0, false),
        };
        self.opened += usize::from(self.is_behind_name && *token == Token::Lt);
        self.is_behind_name = matches!(token, Token::Word(word)
            if matches!(word.keyword, Keyword::ARRAY | Keyword::STRUCT));
    }

    fn is_too_deep(&self) -> bool {
        self.row > LISTS || self.opened > NESTING
    }
}

/// Errors when a statement's tree has too many levels.
pub fn check_depth(statement: &Statement) -> Result<()> {
    let inner = match statement {
        Statement::Statement(inner) => inner,
        Statement::Explain(explain) => return check_depth(&explain.statement),
        _ => return Ok(()),
    };
    match Visit::visit(inner.as_ref(), &mut DepthCounter::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(Break::Levels) => Err(too_deep()),
        ControlFlow::Break(Break::Unions) => Err(too_many_in_a_row("UNIONs")),
        ControlFlow::Break(Break::Joins) => Err(too_many_in_a_row("joins")),
        ControlFlow::Break(Break::Parts) => Err(too_many_parts()),
        ControlFlow::Break(Break::Subqueries) => Err(too_many_subqueries()),
        ControlFlow::Break(Break::GroupingSets) => Err(too_many_grouping_sets()),
        ControlFlow::Break(Break::Choices) => Err(too_many_choices()),
        ControlFlow::Break(Break::Lists) => Err(too_many_lists()),
    }
}

/// Limit that a statement exceeds.
enum Break {
    Levels,
    Unions,
    Joins,
    Parts,
    Subqueries,
    GroupingSets,
    Choices,
    Lists,
}

/// Error of a statement whose levels are queries or tables one after the other, and nothing within each other.
fn too_many_in_a_row(what: &str) -> Error {
    Error::new(
        ErrorKind::Query,
        format!("the query has too many {what} in a row, some {LEVELS} at most"),
    )
    .hint(
        "Constant rows are one query: SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t(n, name). Many values of one column are a list: \
         WHERE x IN (1, 2, 3). Else ask in several queries.",
    )
}

fn too_many_lists() -> Error {
    let message =
        format!("the query is nested too deeply: more than {LISTS} lists within each other");
    Error::new(ErrorKind::Query, message)
        .hint("Write rows, (VALUES (1, 2), (3, 4)) AS t(a, b), and gather them: array_agg(b).")
}

/// True for an expression that makes a list or a struct of others.
fn is_list(expr: &Expr) -> bool {
    match expr {
        Expr::Array(_) | Expr::Dictionary(_) | Expr::Map(_) | Expr::Struct { .. } => true,
        Expr::Function(call) => {
            let [ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else {
                return false;
            };
            [
                "make_array",
                "make_list",
                "struct",
                "row",
                "named_struct",
                "map",
                "make_map",
            ]
            .iter()
            .any(|list| name.value.eq_ignore_ascii_case(list))
        }
        _ => false,
    }
}

fn too_many_choices() -> Error {
    let message =
        format!("the query is nested too deeply: more than {CHOICES} COALESCE within each other");
    Error::new(ErrorKind::Query, message).hint(
        "One takes as many values as one likes, coalesce(a, b, c), and as its last value any other; inner ones may stand in a WITH.",
    )
}

/// The last value of a call that gives the first one that is not null; `None` for any other expression.
fn last_of_choice(expr: &Expr) -> Option<Option<&Expr>> {
    let Expr::Function(call) = expr else {
        return None;
    };
    let [ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else {
        return None;
    };
    let is_choice = ["coalesce", "nvl", "ifnull"]
        .iter()
        .any(|choice| name.value.eq_ignore_ascii_case(choice));
    let last = match &call.args {
        FunctionArguments::List(list) => list.args.last(),
        _ => None,
    };
    is_choice.then_some(match last {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(last))) => Some(last),
        _ => None,
    })
}

/// Grouping sets that a GROUP BY comes to: each CUBE and ROLLUP of it has as many as it has parts of its columns, and those beside it multiply them.
fn grouping_sets(select: &Select) -> usize {
    let GroupByExpr::Expressions(exprs, _) = &select.group_by else {
        return 1;
    };
    let sets = exprs.iter().map(|expr| match expr {
        Expr::GroupingSets(sets) => sets.len(),
        Expr::Rollup(columns) => columns.len().saturating_add(1),
        Expr::Cube(columns) => {
            let columns = u32::try_from(columns.len()).unwrap_or(u32::MAX);
            2_usize.saturating_pow(columns)
        }
        _ => 1,
    });
    sets.fold(1, usize::saturating_mul)
}

fn too_many_grouping_sets() -> Error {
    Error::new(
        ErrorKind::Query,
        format!("the query groups in more than {GROUPING_SETS} ways at once"),
    )
    .hint("CUBE of n columns has 2 to the power of n grouping sets: name the columns that are wanted, or write GROUPING SETS.")
}

fn too_many_subqueries() -> Error {
    Error::new(
        ErrorKind::Query,
        format!(
            "the query is nested too deeply: more than {SUBQUERIES} subqueries within each other"
        ),
    )
    .hint("Write inner queries as joins, or put them into WITH: those may be more.")
}

/// True for an expression that holds a query.
fn is_subquery(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Exists { .. } | Expr::InSubquery { .. } | Expr::Subquery(_)
    )
}

fn too_many_parts() -> Error {
    Error::new(ErrorKind::Query, format!("the query's plan has more than {PLAN_PARTS} parts")).hint(
        "A query in WITH is worked out as often as it is named; where each names the one before twice, parts double with every one.",
    )
}

/// Visitor that counts nesting levels, and the tables that each query comes to.
#[derive(Default)]
struct DepthCounter {
    level: usize,
    subqueries: usize,
    lists: usize,
    /// The tables of each query: planning one that is read a million times takes gigabytes, so it must be known before.
    tables: TableCounter,
    /// The expressions that are being looked into.
    entered: Vec<EnteredExpr>,
    /// Those among them that a plan has twice.
    twice: usize,
}

/// Expression that is being looked into.
#[derive(Clone, Copy)]
struct EnteredExpr {
    /// Its values if it is a choice, or in parentheses within one: choices directly within each other become one.
    choice: Option<ChoiceValues>,
    /// True if it is a value of a choice, and others come after it.
    is_twice: bool,
}

/// Values of a choice.
#[derive(Clone, Copy)]
struct ChoiceValues {
    /// The last; `None` where others come after it, of the choice that this one is a part of.
    last: Option<*const Expr>,
}

impl DepthCounter {
    fn enter(&mut self, expr: &Expr) -> ControlFlow<Break> {
        let within = self.entered.last().and_then(|outer| outer.choice);
        let is_last = within.is_none_or(|choice| choice.last == Some(std::ptr::from_ref(expr)));
        let last = match expr {
            Expr::Nested(inner) if within.is_some() => Some(Some(inner.as_ref())),
            other => last_of_choice(other),
        };
        let choice = last.map(|last| ChoiceValues {
            last: last.filter(|_| is_last).map(std::ptr::from_ref),
        });
        let is_twice = choice.is_none() && !is_last;
        self.entered.push(EnteredExpr { choice, is_twice });
        self.twice += usize::from(is_twice);
        match self.twice > CHOICES {
            true => ControlFlow::Break(Break::Choices),
            false => ControlFlow::Continue(()),
        }
    }

    fn leave(&mut self) {
        let is_twice = self.entered.pop().is_some_and(|left| left.is_twice);
        self.twice -= usize::from(is_twice);
    }

    fn down(&mut self, more: usize) -> ControlFlow<Break> {
        self.level += more;
        if self.level > LEVELS {
            ControlFlow::Break(Break::Levels)
        } else {
            ControlFlow::Continue(())
        }
    }

    fn up(&mut self, more: usize) -> ControlFlow<Break> {
        self.level -= more;
        ControlFlow::Continue(())
    }
}

/// Levels that an expression adds: `a[1][2]` has one for each bracket.
fn levels_of(expr: &Expr) -> usize {
    match expr {
        Expr::CompoundFieldAccess { access_chain, .. } => 1 + access_chain.len(),
        _ => 1,
    }
}

/// UNIONs of a query in a row, and joins of the first query among them: planned, each is a level.
fn in_a_row(query: &Query) -> (usize, usize) {
    let (mut unions, mut body) = (0, &query.body);
    while let SetExpr::SetOperation { left, .. } = body.as_ref() {
        (unions, body) = (unions + 1, left);
    }
    let joins: usize = match body.as_ref() {
        SetExpr::Select(select) => select.from.iter().map(|from| 1 + from.joins.len()).sum(),
        _ => 0,
    };
    (unions, joins)
}

/// Levels that a query adds: a chain of UNIONs has one for each, and joins one after the other likewise.
fn levels_of_query(query: &Query) -> usize {
    let (unions, joins) = in_a_row(query);
    1 + unions + joins
}

impl Visitor for DepthCounter {
    type Break = Break;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Break> {
        self.tables.enter(query);
        let mut bodies = vec![query.body.as_ref()];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::Select(select) if grouping_sets(select) > GROUPING_SETS => {
                    return ControlFlow::Break(Break::GroupingSets);
                }
                SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                _ => {}
            }
        }
        let (unions, joins) = in_a_row(query);
        self.down(1 + unions + joins)
            .map_break(|levels| match levels {
                Break::Levels if unions > LEVELS / 2 => Break::Unions,
                Break::Levels if joins > LEVELS / 2 => Break::Joins,
                other => other,
            })
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Break> {
        if self.tables.leave(query) > PLAN_PARTS {
            return ControlFlow::Break(Break::Parts);
        }
        self.up(levels_of_query(query))
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Break> {
        self.tables.add(relation);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Break> {
        self.enter(expr)?;
        self.subqueries += usize::from(is_subquery(expr));
        if self.subqueries > SUBQUERIES {
            return ControlFlow::Break(Break::Subqueries);
        }
        self.lists += usize::from(is_list(expr));
        if self.lists > LISTS {
            return ControlFlow::Break(Break::Lists);
        }
        self.down(levels_of(expr))
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Break> {
        self.leave();
        self.subqueries -= usize::from(is_subquery(expr));
        self.lists -= usize::from(is_list(expr));
        self.up(levels_of(expr))
    }
}

/// Errors when a plan has too many levels or parts. Parts that are shared in memory count each time: the optimizer copies them.
pub fn check_plan(plan: &LogicalPlan) -> Result<()> {
    let (mut parts, mut rest) = (0, vec![(plan, 1_usize)]);
    while let Some((part, level)) = rest.pop() {
        parts += 1;
        if level > PLAN_LEVELS {
            return Err(too_deep());
        }
        if parts > PLAN_PARTS {
            return Err(too_many_parts());
        }
        rest.extend(part.inputs().into_iter().map(|input| (input, level + 1)));
    }
    Ok(())
}
