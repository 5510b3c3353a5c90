//! The SQL that is read here: DataFusion's generic dialect with PostgreSQL's precedence of operators.
//!
//! Invariant: an expression without parentheses means here what it means in PostgreSQL, or it is an error. From the tightest to the loosest:
//!
//! ```text
//!   .  ::  unary minus  AT TIME ZONE  ^ (a power)  * / %  + -  any other operator (|| & | << >> ~ -> @>)
//!   BETWEEN IN LIKE ILIKE SIMILAR TO  comparisons  IS  NOT  AND  OR
//! ```
//!
//! The parser's generic table lets `a LIKE 'x' = b` compare first, `a || b * c` concatenate first, and `a IS DISTINCT FROM b AND c` take the
//! condition into the comparison: rows come back that should not, without a word.
//!
//! Rejected: rotating the tree after it was parsed. Parentheses are nodes of their own, so it can be done, but it needs the table of
//! precedences as well, and knows less than the parser does. Rejected: the PostgreSQL dialect itself; it has no `EXCLUDE`, no `{a: 1}`, no `FROM t`, which
//! queries written for Tillhouse use.

use crate::depth::{CHAIN, CONDITIONS};
use crate::language::lambda_function;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use std::any::{Any, TypeId};
use std::cell::Cell;
use std::collections::HashMap;

/// Any operator that is not one of arithmetic, comparison or logic.
const OTHER: u8 = 25;
/// `^`.
const POWER: u8 = 41;
/// A sign before a number.
const SIGN: u8 = 43;

/// SQL dialect of every statement. It counts operators, so that a chain of them is found too long
/// before its tree is too deep to drop.
#[derive(Debug, Default)]
pub(crate) struct SqlDialect {
    operators: Cell<usize>,
    /// True while the arguments of a function that takes lambdas are read.
    is_within_lambdas: Cell<bool>,
}

/// Operators between two looks at how long the chain has become.
const LOOK_EVERY: usize = 128;

impl SqlDialect {
    /// Errors when the chain of operators that an expression ends is too long.
    fn check_chain(&self, expr: &Expr) -> Result<(), ParserError> {
        let operators = self.operators.get() + 1;
        self.operators.set(operators);
        if !operators.is_multiple_of(LOOK_EVERY) {
            return Ok(());
        }
        let links = std::iter::successors(Some(expr), |expr| leftmost(expr));
        if links.take(CHAIN + 1).count() > CHAIN {
            Err(ParserError::RecursionLimitExceeded)
        } else {
            Ok(())
        }
    }
}

/// The operand that the parser had read before the operator.
fn leftmost(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::BinaryOp { left, .. } | Expr::AllOp { left, .. } | Expr::AnyOp { left, .. } => {
            Some(left)
        }
        Expr::IsNull(of)
        | Expr::IsNotNull(of)
        | Expr::IsTrue(of)
        | Expr::IsNotTrue(of)
        | Expr::IsFalse(of)
        | Expr::IsNotFalse(of)
        | Expr::IsUnknown(of)
        | Expr::IsNotUnknown(of)
        | Expr::IsDistinctFrom(of, _)
        | Expr::IsNotDistinctFrom(of, _) => Some(of),
        Expr::AtTimeZone { timestamp: of, .. }
        | Expr::Cast { expr: of, .. }
        | Expr::InList { expr: of, .. }
        | Expr::InSubquery { expr: of, .. }
        | Expr::InUnnest { expr: of, .. }
        | Expr::Between { expr: of, .. }
        | Expr::Like { expr: of, .. }
        | Expr::ILike { expr: of, .. }
        | Expr::SimilarTo { expr: of, .. }
        | Expr::RLike { expr: of, .. }
        | Expr::IsNormalized { expr: of, .. }
        | Expr::Collate { expr: of, .. }
        | Expr::UnaryOp { expr: of, .. }
        | Expr::JsonAccess { value: of, .. } => Some(of),
        Expr::MemberOf(member) => Some(&member.value),
        _ => None,
    }
}

/// Takes abilities over from the generic dialect.
macro_rules! as_generic {
    ($($ability:ident),* $(,)?) => {
        $(fn $ability(&self) -> bool {
            GenericDialect.$ability()
        })*
    };
}

impl Dialect for SqlDialect {
    /// The parser asks at some places for the generic dialect by its type.
    fn dialect(&self) -> TypeId {
        GenericDialect.type_id()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        GenericDialect.is_identifier_part(ch)
    }

    // `/*! ... */` stays the comment that it is in PostgreSQL; MySQL would run it.
    as_generic!(
        allow_extract_custom,
        allow_extract_single_quotes,
        support_map_literal_syntax,
        supports_array_join_syntax,
        supports_array_typedef_with_brackets,
        supports_asc_desc_in_column_definition,
        supports_bitwise_shift_operators,
        supports_comma_separated_set_assignments,
        supports_comma_separated_trim,
        supports_comment_on,
        supports_comment_optimizer_hint,
        supports_connect_by,
        supports_constraint_keyword_without_name,
        supports_create_index_with_clause,
        supports_create_view_comment_syntax,
        supports_cte_without_as,
        supports_data_type_signed_suffix,
        supports_detach,
        supports_dictionary_syntax,
        supports_empty_projections,
        supports_explain_with_utility_options,
        supports_extract_comma_syntax,
        supports_filter_during_aggregation,
        supports_from_first_select,
        supports_group_by_expr,
        supports_group_by_with_modifier,
        supports_install,
        supports_interpolate,
        supports_interval_options,
        supports_key_column_option,
        supports_left_associative_joins_without_parens,
        supports_limit_by,
        supports_limit_comma,
        supports_load_extension,
        supports_match_against,
        supports_match_recognize,
        supports_named_fn_args_with_assignment_operator,
        supports_nested_comments,
        supports_optimize_table,
        supports_parens_around_table_factor,
        supports_parenthesized_set_variables,
        supports_partition_by_after_order_by,
        supports_pipe_operator,
        supports_prewhere,
        supports_projection_trailing_commas,
        supports_quote_delimited_string,
        supports_select_format,
        supports_select_item_multi_column_alias,
        supports_select_wildcard_except,
        supports_select_wildcard_exclude,
        supports_select_wildcard_ilike,
        supports_select_wildcard_rename,
        supports_select_wildcard_replace,
        supports_set_names,
        supports_settings,
        supports_start_transaction_modifier,
        supports_string_escape_constant,
        supports_struct_literal,
        supports_try_convert,
        supports_unicode_string_literal,
        supports_update_order_by,
        supports_user_host_grantee,
        supports_values_as_table_factor,
        supports_window_clause_named_window_reference,
        supports_window_function_null_treatment_arg,
        supports_with_fill,
        supports_xml_expressions
    );

    /// As in PostgreSQL 16.
    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::Period => 100,
            Precedence::DoubleColon => 50,
            Precedence::AtTz => 42,
            Precedence::MulDivModOp => 40,
            Precedence::PlusMinus => 30,
            Precedence::Xor
            | Precedence::Ampersand
            | Precedence::Caret // The shifts; `^` itself is a power.
            | Precedence::Pipe
            | Precedence::PgOther => OTHER,
            Precedence::Colon => 24,
            Precedence::Between | Precedence::Like => 22,
            Precedence::Eq => 20,
            Precedence::Is => 17,
            Precedence::UnaryNot => 15,
            Precedence::And => 10,
            Precedence::Or => 5,
        }
    }

    /// `ORDER BY ALL`, which the generic dialect takes for a column's name.
    fn supports_order_by_all(&self) -> bool {
        true
    }

    /// Operators that the parser's own table has at another one's level.
    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::StringConcat
            | Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk => Some(Ok(OTHER)),
            Token::Caret => Some(Ok(POWER)),
            Token::Word(word) if word.keyword == Keyword::OPERATOR => Some(Ok(OTHER)),
            token if null_test(token).is_some() => Some(Ok(self.prec_value(Precedence::Is))),
            _ => None,
        }
    }

    /// A sign binds tighter than any operator but `::`: `-2 ^ 2` is 4.
    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let op = match &parser.peek_token_ref().token {
            Token::Minus => UnaryOperator::Minus,
            Token::Plus => UnaryOperator::Plus,
            _ => return lambda_function(parser, &self.is_within_lambdas),
        };
        parser.advance_token();
        Some(parser.parse_subexpr(SIGN).map(|expr| Expr::UnaryOp {
            op,
            expr: Box::new(expr),
        }))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        left: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if let Err(error) = self.check_chain(left) {
            return Some(Err(error));
        }
        for (keyword, operator) in [
            (Keyword::AND, BinaryOperator::And),
            (Keyword::OR, BinaryOperator::Or),
        ] {
            if parser.peek_keyword(keyword) {
                return Some(conditions(parser, left, keyword, &operator, precedence));
            }
        }
        let left = || Box::new(left.clone());
        if parser.consume_token(&Token::Caret) {
            let right = parser.parse_subexpr(precedence);
            return Some(right.map(|right| Expr::BinaryOp {
                left: left(),
                op: BinaryOperator::PGExp,
                right: Box::new(right),
            }));
        }
        if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            let right = parser.parse_subexpr(precedence);
            return Some(right.map(|right| Expr::IsDistinctFrom(left(), Box::new(right))));
        }
        if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
            let right = parser.parse_subexpr(precedence);
            return Some(right.map(|right| Expr::IsNotDistinctFrom(left(), Box::new(right))));
        }
        let is_null = null_test(&parser.peek_token_ref().token)?;
        parser.advance_token();
        Some(Ok(if is_null {
            Expr::IsNull(left())
        } else {
            Expr::IsNotNull(left())
        }))
    }
}

/// As many conditions in a row stay the chain that they are written as.
const SHORT_CHAIN: usize = 64;

/// All conditions of one chain of ANDs, or of ORs. A long one becomes a balanced tree: ten thousand conditions are then fourteen levels deep, and
/// whatever walks the tree later needs no more stack for them than for a dozen. AND and OR are associative, nulls included.
fn conditions(
    parser: &mut Parser<'_>,
    first: &Expr,
    keyword: Keyword,
    operator: &BinaryOperator,
    precedence: u8,
) -> Result<Expr, ParserError> {
    let mut all = vec![first.clone()];
    while parser.parse_keyword(keyword) {
        all.push(parser.parse_subexpr(precedence)?);
        if all.len() > CONDITIONS {
            return Err(ParserError::RecursionLimitExceeded);
        }
    }
    if all.len() > SHORT_CHAIN {
        all = as_lists(all, operator);
    }
    let both = |left: Expr, right: Expr| Expr::BinaryOp {
        left: Box::new(left),
        op: operator.clone(),
        right: Box::new(right),
    };
    while all.len() > SHORT_CHAIN {
        let mut level = Vec::with_capacity(all.len().div_ceil(2));
        let mut rest = all.into_iter();
        while let Some(left) = rest.next() {
            level.push(match rest.next() {
                Some(right) => both(left, right),
                None => left,
            });
        }
        all = level;
    }
    let expected = || ParserError::ParserError("a condition is missing".to_owned());
    all.into_iter().reduce(both).ok_or_else(expected)
}

/// `x <> 1 AND x <> 2 AND …` as `x NOT IN (1, 2, …)`, and `x = 1 OR x = 2 OR …` as `x IN (1, 2, …)`: a list is looked up as a set, while every condition is
/// compared with every other one by the optimizer. Nulls mean the same in both.
fn as_lists(all: Vec<Expr>, operator: &BinaryOperator) -> Vec<Expr> {
    let is_negated = *operator == BinaryOperator::And;
    let compared = if is_negated {
        BinaryOperator::NotEq
    } else {
        BinaryOperator::Eq
    };
    let mut kept = Vec::new();
    let mut lists: Vec<(Expr, Vec<Expr>)> = Vec::new();
    let mut known: HashMap<(Expr, bool), usize> = HashMap::new();
    for condition in all {
        match condition {
            Expr::BinaryOp { left, op, right }
                if op == compared
                    && matches!(*left, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) =>
            {
                match is_text(&right) {
                    Some(is_text) => {
                        let list = *known
                            .entry(((*left).clone(), is_text))
                            .or_insert(lists.len());
                        match lists.get_mut(list) {
                            Some((_, values)) => values.push(*right),
                            None => lists.push((*left, vec![*right])),
                        }
                    }
                    None => kept.push(Expr::BinaryOp { left, op, right }),
                }
            }
            other => kept.push(other),
        }
    }
    let list = |(expr, list)| Expr::InList {
        expr: Box::new(expr),
        list,
        negated: is_negated,
    };
    kept.into_iter()
        .chain(lists.into_iter().map(list))
        .collect()
}

/// True for a text, false for a number; `None` for a literal that is neither.
fn is_text(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        } => is_text(expr).filter(|text| !text),
        Expr::Value(value) => match value.value {
            Value::Number(..) => Some(false),
            Value::SingleQuotedString(_) => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// `ISNULL` is a test for null, `NOTNULL` for the contrary, as in PostgreSQL; elsewhere they would be read as a column's new name.
fn null_test(token: &Token) -> Option<bool> {
    let Token::Word(word) = token else {
        return None;
    };
    let named = |name: &str| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(name);
    if named("ISNULL") {
        Some(true)
    } else {
        named("NOTNULL").then_some(false)
    }
}
