//! Expressions that DataFusion plans for some operands alone, or not at all.
//!
//! Invariant: each becomes a call of a function of ours, or of the same expression in a form that is planned.

use super::refused;
use super::tree::{binary, call, either, text, whole};
use crate::span_texts::{SpanField, SpanFields, with_units};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CharacterLength, DataType, DateTimeField, Expr, Ident,
    Interval, TimezoneInfo, TypedString, UnaryOperator, Value,
};
use tillhouse_model::Result;

/// Rewrites an expression.
pub(super) fn rewrite(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::AtTimeZone {
            timestamp,
            time_zone,
        } => {
            *expr = call(
                "at_time_zone",
                vec![timestamp.as_ref().clone(), time_zone.as_ref().clone()],
            );
        }
        Expr::AnyOp {
            left,
            compare_op,
            right,
            ..
        } => {
            if let Some(any) = any_of(left, compare_op, right) {
                *expr = any;
            }
        }
        Expr::Like { any: true, .. } | Expr::ILike { any: true, .. } => *expr = like_any(expr)?,
        Expr::Like { .. } | Expr::ILike { .. } => escape(expr)?,
        Expr::Extract {
            field, expr: of, ..
        } => {
            let part = match field {
                DateTimeField::Millenium => "millennium".to_owned(),
                field => field.to_string().to_lowercase(),
            };
            if is_calendar_part(&part) {
                *expr = calendar_part(&part, of);
            }
        }
        Expr::Interval(Interval {
            value,
            leading_field: None,
            ..
        }) => {
            if let Expr::Value(of) = value.as_mut()
                && let Value::SingleQuotedString(span) = &mut of.value
            {
                *span = with_units(span).into_owned();
            }
        }
        Expr::Interval(span) => end_with_fields(span),
        // DataFusion puts the sign in front of the text, where it is of the first unit alone.
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: of,
        } if matches!(**of, Expr::Interval(_)) => {
            let span = of.as_ref().clone();
            **of = Expr::Nested(Box::new(span));
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
            DataType::Time(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
                if matches!(*digits, Some(0 | 3 | 6)) =>
            {
                let digits = digits.take();
                *expr = rounded_time(expr.clone(), digits);
            }
            DataType::Bytea => {
                if let Some(hex) = text_of(of).and_then(|text| text.strip_prefix("\\x")) {
                    *expr = bytes_of(hex)?;
                }
            }
            other => {
                if let Some(length) = length_of(other) {
                    *other = DataType::Varchar(None);
                    if let Some(length) = length {
                        *expr = call("left", vec![expr.clone(), whole(length)]);
                    }
                }
            }
        },
        Expr::TypedString(TypedString {
            data_type: DataType::Time(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone),
            ..
        }) if matches!(*digits, Some(0 | 3 | 6)) => {
            let digits = digits.take();
            *expr = rounded_time(expr.clone(), digits);
        }
        Expr::CompoundFieldAccess { root, access_chain } => name_fields(root, access_chain),
        _ => {}
    }
    Ok(())
}

/// A time of day with so many digits of a second, rounded as the time of a day of the calendar is.
fn rounded_time(time: Expr, digits: Option<u64>) -> Expr {
    let cast = |expr: Expr, data_type: DataType| Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    };
    let day = cast(text("2000-01-01"), DataType::Date);
    let at = Expr::Nested(Box::new(binary(day, BinaryOperator::Plus, time)));
    let rounded = cast(at, DataType::Timestamp(digits, TimezoneInfo::None));
    cast(rounded, DataType::Time(None, TimezoneInfo::None))
}

/// `INTERVAL '1 02:03' DAY TO MINUTE` in numbers with units. Fields that no span has, and a text that is none, are left to the planner, which refuses them.
fn end_with_fields(span: &mut Interval) {
    let (Some(first), Some(written)) = (
        span.leading_field.as_ref().and_then(span_field),
        text_of(&span.value),
    ) else {
        return;
    };
    let last = match &span.last_field {
        None => None,
        Some(last) => match span_field(last) {
            Some(last) => Some(last),
            None => return,
        },
    };
    // The digits of SECOND by itself are read as those of a leading field.
    let digits = match (first, span.leading_precision) {
        (_, None) => span.fractional_seconds_precision,
        (SpanField::Second, digits) => digits,
        _ => return,
    };
    let digits = digits.map(|digits| u32::try_from(digits).unwrap_or(u32::MAX));
    let Some(fields) = SpanFields::new(first, last, digits) else {
        return;
    };
    let said = match fields.of(written) {
        Some(said) => said,
        // What is wrong is the text.
        None if last.is_some() || digits.is_some() => written.to_owned(),
        None => return,
    };
    *span = Interval {
        value: Box::new(text(&said)),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    };
}

fn span_field(field: &DateTimeField) -> Option<SpanField> {
    Some(match field {
        DateTimeField::Year => SpanField::Year,
        DateTimeField::Month => SpanField::Month,
        DateTimeField::Day => SpanField::Day,
        DateTimeField::Hour => SpanField::Hour,
        DateTimeField::Minute => SpanField::Minute,
        DateTimeField::Second => SpanField::Second,
        _ => return None,
    })
}

/// `x LIKE ANY (ARRAY['a%', 'b%'])` as `x LIKE 'a%' OR x LIKE 'b%'`, with NOT and without.
fn like_any(of: &Expr) -> Result<Expr> {
    let mut like = of.clone();
    let (Expr::Like { any, pattern, .. } | Expr::ILike { any, pattern, .. }) = &mut like else {
        return Ok(of.clone());
    };
    *any = false;
    let mut patterns = std::mem::replace(pattern.as_mut(), whole(0));
    while let Expr::Nested(inner) = patterns {
        patterns = *inner;
    }
    // What PostgreSQL takes for a list is no pattern.
    let is_list_in_text = text_of(&patterns).is_some_and(|text| text.starts_with('{'));
    let several = match patterns {
        Expr::Array(list) => list.elem,
        Expr::Tuple(several) => several,
        one @ Expr::Value(_) if !is_list_in_text => vec![one],
        _ => Vec::new(),
    };
    let each = several.into_iter().map(|one| -> Result<Expr> {
        let mut like = like.clone();
        if let Expr::Like { pattern, .. } | Expr::ILike { pattern, .. } = &mut like {
            **pattern = one;
        }
        escape(&mut like)?;
        Ok(like)
    });
    match either(each.collect::<Result<Vec<_>>>()?) {
        Some(chosen) => Ok(Expr::Nested(Box::new(chosen))),
        None => Err(refused(
            "LIKE ANY of what is no list that is written out",
            "x LIKE ANY (ARRAY['a%', 'b%']), or x LIKE 'a%' OR x LIKE 'b%'.",
        )),
    }
}

/// `x LIKE 'a!%' ESCAPE '!'` with the backslash in place of another letter, which is the only one that is planned. A pattern that is no text stays as it is, and is refused.
fn escape(like: &mut Expr) -> Result<()> {
    let (Expr::Like {
        pattern,
        escape_char,
        ..
    }
    | Expr::ILike {
        pattern,
        escape_char,
        ..
    }) = like
    else {
        return Ok(());
    };
    let Some(Value::SingleQuotedString(letter)) = escape_char.as_ref().map(|of| &of.value) else {
        return Ok(());
    };
    let mut letters = letter.chars();
    let (letter, None) = (letters.next(), letters.next()) else {
        return Err(refused(
            "ESCAPE of several letters",
            "It is one, x LIKE '50!%' ESCAPE '!', or none, ESCAPE ''.",
        ));
    };
    let Some(written) = text_of(pattern) else {
        return Ok(());
    };
    **pattern = text(&with_backslashes(written, letter)?);
    *escape_char = None;
    Ok(())
}

fn with_backslashes(pattern: &str, letter: Option<char>) -> Result<String> {
    let mut escaped = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let (c, is_itself) = match Some(c) == letter {
            true => match rest.next() {
                Some(next) => (next, true),
                None => {
                    return Err(refused(
                        "a pattern of LIKE that ends with its ESCAPE",
                        "It stands before the letter that it escapes: '50!%' ESCAPE '!'; the letter itself is written twice.",
                    ));
                }
            },
            false => (c, false),
        };
        if c == '\\' || is_itself && matches!(c, '%' | '_') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    Ok(escaped)
}

/// A comparison with any element of a list: `=` of a list that is written out is IN, any other says that not all are otherwise. Of the planner's own, one with a null among
/// the elements is false where it is unknown.
fn any_of(left: &Expr, operator: &BinaryOperator, right: &Expr) -> Option<Expr> {
    let otherwise = match operator {
        BinaryOperator::Eq => BinaryOperator::NotEq,
        BinaryOperator::NotEq => BinaryOperator::Eq,
        BinaryOperator::Lt => BinaryOperator::GtEq,
        BinaryOperator::GtEq => BinaryOperator::Lt,
        BinaryOperator::Gt => BinaryOperator::LtEq,
        BinaryOperator::LtEq => BinaryOperator::Gt,
        _ => return None,
    };
    match right {
        Expr::Array(list)
            if *operator == BinaryOperator::Eq
                && !list.elem.is_empty()
                && !list.elem.iter().any(|of| matches!(of, Expr::Array(_))) =>
        {
            Some(Expr::InList {
                expr: Box::new(left.clone()),
                list: list.elem.clone(),
                negated: false,
            })
        }
        // The type of a parameter is known by what it is compared with.
        Expr::Value(_) => None,
        _ => Some(Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(Expr::Nested(Box::new(Expr::AllOp {
                left: Box::new(left.clone()),
                compare_op: otherwise,
                right: Box::new(right.clone()),
            }))),
        }),
    }
}

/// Bytes that are written in hexadecimal digits.
fn bytes_of(hex: &str) -> Result<Expr> {
    if hex.len().is_multiple_of(2) && hex.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Ok(call("decode", vec![text(hex), text("hex")]));
    }
    Err(refused(
        "bytes that begin with \\x and are not written in pairs of hexadecimal digits",
        "'\\x4142'::bytea are two bytes.",
    ))
}

/// The letters that a text of a type has at most, within; `None` for what is no type of texts with a length.
#[expect(
    clippy::option_option,
    reason = "no such type, and one without a length"
)]
fn length_of(data_type: &DataType) -> Option<Option<usize>> {
    let letters = |length: &Option<CharacterLength>| match length {
        Some(CharacterLength::IntegerLength { length, .. }) => usize::try_from(*length).ok(),
        _ => None,
    };
    match data_type {
        DataType::Varchar(length)
        | DataType::Nvarchar(length)
        | DataType::CharVarying(length)
        | DataType::CharacterVarying(length) => Some(letters(length)),
        // Without a length it is one letter.
        DataType::Char(None) | DataType::Character(None) => Some(Some(1)),
        DataType::Char(length) | DataType::Character(length) => Some(letters(length)),
        _ => None,
    }
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

/// Such a part of a time.
pub(super) fn calendar_part(part: &str, of: &Expr) -> Expr {
    match part.to_lowercase().as_str() {
        "julian" => call("julian_day", vec![of.clone()]),
        part => call("calendar_part", vec![text(part), of.clone()]),
    }
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
pub(crate) fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::with_backslashes;

    #[test]
    fn any_letter_escapes_as_the_backslash_does() {
        for (pattern, letter, escaped) in [
            ("a!%b%", Some('!'), "a\\%b%"),
            ("a!!b!_", Some('!'), "a!b\\_"),
            ("a\\b", Some('!'), "a\\\\b"),
            ("a!\\b!c", Some('!'), "a\\\\bc"),
            ("a\\%b", Some('\\'), "a\\%b"),
            ("a\\%b", None, "a\\\\%b"),
            ("%%", Some('%'), "\\%"),
            ("ä€%", Some('€'), "ä\\%"),
        ] {
            assert_eq!(
                with_backslashes(pattern, letter).unwrap(),
                escaped,
                "{pattern}"
            );
        }
        assert!(with_backslashes("a!", Some('!')).is_err());
    }
}
