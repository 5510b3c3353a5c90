//! Lambdas: `list_transform(list, x -> x + 1)`, beside `->` that looks into JSON.
//!
//! Invariant: an arrow is a lambda's only behind a name that is a later argument of a function that takes lambdas; anywhere else, within a lambda too, it looks into JSON.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, LambdaFunction, LambdaFunctionParameter, LambdaSyntax, ObjectName,
    OneOrManyWithParens,
};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use std::cell::Cell;

/// The functions that take lambdas.
const FUNCTIONS: [&str; 6] = [
    "list_transform",
    "array_transform",
    "list_filter",
    "array_filter",
    "list_any_match",
    "array_any_match",
];

/// Reads a call that takes lambdas, or a lambda within one. `is_within` tells whether the arguments of such a call are being read; `None` for anything else.
pub(crate) fn lambda_function(
    parser: &mut Parser<'_>,
    is_within: &Cell<bool>,
) -> Option<Result<Expr, ParserError>> {
    let (name, is_plain) = match &parser.peek_token_ref().token {
        Token::Word(word) => (word.value.clone(), word.quote_style.is_none()),
        _ => return several(parser, is_within),
    };
    let (is_call, is_arrow, is_word) = match &parser.peek_nth_token_ref(1).token {
        Token::LParen => (is_plain, false, false),
        Token::Arrow => (false, true, false),
        Token::Word(_) => (false, false, is_plain),
        _ => return None,
    };
    if is_call {
        if !FUNCTIONS.contains(&name.to_lowercase().as_str()) {
            return None;
        }
        let before = is_within.replace(true);
        parser.advance_token();
        let call = parser.parse_function(ObjectName::from(Ident::new(name)));
        is_within.set(before);
        return Some(call);
    }
    if !is_within.get() || parser.get_current_token().token != Token::Comma {
        return None;
    }
    if is_arrow {
        let parameter = parser.parse_identifier();
        parser.advance_token();
        return Some(parameter.and_then(|name| {
            let parameter = OneOrManyWithParens::One(untyped(name));
            body(parser, is_within, parameter, LambdaSyntax::Arrow)
        }));
    }
    if is_word && name.eq_ignore_ascii_case("lambda") {
        parser.advance_token();
        return Some(parameters(parser).and_then(|parameters| {
            parser.expect_token(&Token::Colon)?;
            body(parser, is_within, parameters, LambdaSyntax::LambdaKeyword)
        }));
    }
    None
}

/// `(x, i) -> ...`.
fn several(parser: &mut Parser<'_>, is_within: &Cell<bool>) -> Option<Result<Expr, ParserError>> {
    if !is_within.get()
        || parser.get_current_token().token != Token::Comma
        || parser.peek_token_ref().token != Token::LParen
    {
        return None;
    }
    let mut at = 1;
    loop {
        if !matches!(parser.peek_nth_token_ref(at).token, Token::Word(_)) {
            return None;
        }
        match parser.peek_nth_token_ref(at + 1).token {
            Token::Comma => at += 2,
            Token::RParen if parser.peek_nth_token_ref(at + 2).token == Token::Arrow => break,
            _ => return None,
        }
    }
    parser.advance_token();
    Some(parameters(parser).and_then(|parameters| {
        parser.expect_token(&Token::RParen)?;
        parser.expect_token(&Token::Arrow)?;
        body(parser, is_within, parameters, LambdaSyntax::Arrow)
    }))
}

fn untyped(name: Ident) -> LambdaFunctionParameter {
    LambdaFunctionParameter {
        name,
        data_type: None,
    }
}

fn parameters(
    parser: &mut Parser<'_>,
) -> Result<OneOrManyWithParens<LambdaFunctionParameter>, ParserError> {
    let names = parser.parse_comma_separated(Parser::parse_identifier)?;
    Ok(OneOrManyWithParens::Many(
        names.into_iter().map(untyped).collect(),
    ))
}

fn body(
    parser: &mut Parser<'_>,
    is_within: &Cell<bool>,
    params: OneOrManyWithParens<LambdaFunctionParameter>,
    syntax: LambdaSyntax,
) -> Result<Expr, ParserError> {
    let before = is_within.replace(false);
    let body = parser.parse_expr();
    is_within.set(before);
    Ok(Expr::Lambda(LambdaFunction {
        params,
        body: Box::new(body?),
        syntax,
    }))
}
