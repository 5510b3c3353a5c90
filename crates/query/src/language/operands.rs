//! Expressions that DataFusion plans for some operands alone, or not at all.
//!
//! Invariant: each becomes a call of a function of ours, or of the same expression in a form that is planned.

use super::refused;
use super::tree::{call, text, whole};
use crate::zoned::OWN_ZONE;
use datafusion::sql::sqlparser::ast::{AccessExpr, DataType, DateTimeField, Expr, Ident, Value};
use tillhouse_model::Result;

/// Rewrites an expression.
pub(super) fn rewrite(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::AtTimeZone {
            timestamp,
            time_zone,
        } if text_of(time_zone).is_none() => {
            *expr = call(
                "at_time_zone",
                vec![timestamp.as_ref().clone(), time_zone.as_ref().clone()],
            );
        }
        Expr::AtTimeZone { time_zone, .. } if text_of(time_zone) == Some(OWN_ZONE) => {
            **time_zone = text("UTC");
        }
        Expr::Extract {
            field, expr: of, ..
        } => {
            let part = match field {
                DateTimeField::Millenium => "millennium".to_owned(),
                field => field.to_string().to_lowercase(),
            };
            if is_calendar_part(&part) {
                *expr = call("calendar_part", vec![text(&part), of.as_ref().clone()]);
            }
        }
        Expr::Substring {
            expr: of,
            substring_from: Some(from),
            substring_for,
            ..
        } if text_of(from).is_some() => {
            if substring_for.is_some() {
                return Err(refused(
                    "substring by a pattern of SIMILAR TO",
                    "substring(x FROM 'a(b)c') takes a regular expression, and gives the part in brackets.",
                ));
            }
            let found = call(
                "regexp_match",
                vec![of.as_ref().clone(), from.as_ref().clone()],
            );
            *expr = call("array_element", vec![found, whole(1)]);
        }
        Expr::Cast {
            data_type,
            expr: of,
            ..
        } => match data_type {
            DataType::JSON => *expr = call("json", vec![of.as_ref().clone()]),
            DataType::JSONB => {
                return Err(refused(
                    "the type jsonb",
                    "JSON is text here, as it was given: write ::json.",
                ));
            }
            _ => {}
        },
        Expr::CompoundFieldAccess { root, access_chain } => name_fields(root, access_chain),
        _ => {}
    }
    Ok(())
}

/// A list as a call: of a list that is written in brackets the planner does not know the columns of tables before.
pub(super) fn as_call(expr: &mut Expr) {
    if let Expr::Array(list) = expr
        && !list.elem.is_empty()
    {
        list.elem.iter_mut().for_each(as_call);
        *expr = call("make_array", std::mem::take(&mut list.elem));
    }
}

/// A text that stands there as it is.
fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Nested(inner) => text_of(inner),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// True for a part of a time that DataFusion's `date_part` does not know.
pub(super) fn is_calendar_part(part: &str) -> bool {
    matches!(
        part.to_lowercase().as_str(),
        "century"
            | "decade"
            | "millennium"
            | "isoyear"
            | "julian"
            | "timezone"
            | "timezone_hour"
            | "timezone_minute"
    )
}

/// Fields of what is no column, `list[1].field` and `(value).field`: the planner knows them by a text.
fn name_fields(root: &Expr, chain: &mut [AccessExpr]) {
    // A name of a column may have the names of its table and schema before it.
    let mut may_be_of_name = matches!(root, Expr::Identifier(_));
    for access in chain {
        match access {
            AccessExpr::Dot(Expr::Identifier(_)) if may_be_of_name => {}
            AccessExpr::Dot(field) => {
                if let Expr::Identifier(name) = field {
                    *field = text(&folded(name));
                }
            }
            AccessExpr::Subscript(_) => may_be_of_name = false,
        }
    }
}

/// A name as the planner reads it: in lower case unless it is quoted.
pub(super) fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}
