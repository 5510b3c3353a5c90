//! Calls of functions that DataFusion has under another name, or as an aggregate with an order or a condition.
//!
//! Invariant: what is held in memory is held by aggregates that account for it; nulls are left out as the function says.

use super::refused;
use super::tree::{
    all_rows, arguments, binary, both, call, function, is_not_null, leave_out_numbers, ordered,
    plain_name, text, values, whole, with_order,
};
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, Expr, Function, FunctionArgumentClause,
    FunctionArguments, Ident, Interval, ObjectName, OrderByExpr, OrderByOptions, Value,
};
use tillhouse_model::{Error, ErrorKind, Result};

/// Rewrites a call.
pub(super) fn rewrite(expr: &mut Expr) -> Result<()> {
    let Expr::Function(of) = expr else {
        return Ok(());
    };
    order_by_values(of);
    let Some(name) = plain_name(&of.name) else {
        return Ok(());
    };
    let rewritten = match name.as_str() {
        "every" => renamed(of, "bool_and"),
        "datediff" => renamed(of, "date_diff"),
        "ifnull" => renamed(of, "coalesce"),
        "quantile_disc" | "percentile_disc" => value_at(of, &name)?,
        "count_if" | "countif" => counted(of, &name)?,
        "arg_max" | "max_by" | "argmax" => at_extreme(of, &name, false)?,
        "arg_min" | "min_by" | "argmin" => at_extreme(of, &name, true)?,
        "mode" => most_frequent(of)?,
        "if" | "iff" => conditional(of, &name)?,
        "date_add" | "dateadd" => moved(of, &name, BinaryOperator::Plus)?,
        "date_sub" | "datesub" => moved(of, &name, BinaryOperator::Minus)?,
        "age" => aged(of)?,
        "date_part" | "datepart" => part(of),
        "date_trunc" => truncated(of),
        "regexp_replace" => replaced(of),
        "encode" => padded(of),
        "array_length" => length_or_null(of),
        "regr_count" | "approx_distinct" => signed(of),
        "json_get_float" => {
            return Err(refused(
                "json_get_float",
                "A float loses digits: CAST(json_get(x, 'amount') AS DECIMAL(18, 4)), or AS DOUBLE.",
            ));
        }
        _ => return Ok(()),
    };
    *expr = rewritten;
    Ok(())
}

/// Leaves out the orders by numbers within a call.
fn order_by_values(of: &mut Function) {
    let FunctionArguments::List(list) = &mut of.args else {
        return;
    };
    list.clauses.retain_mut(|clause| match clause {
        FunctionArgumentClause::OrderBy(order) => {
            leave_out_numbers(order);
            !order.is_empty()
        }
        _ => true,
    });
}

fn takes(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::Query, format!("{name} takes {what}"))
        .hint("docs/functions.md has an example.")
}

/// Errors for a call that is made a window function: what it is rewritten to is none.
fn no_window(of: &Function, name: &str) -> Result<()> {
    match of.over {
        None => Ok(()),
        Some(_) => Err(refused(
            &format!("{name} with OVER"),
            "Put it into a subquery with GROUP BY, and join that.",
        )),
    }
}

fn renamed(of: &Function, name: &str) -> Expr {
    let mut of = of.clone();
    of.name = ObjectName::from(Ident::new(name));
    Expr::Function(of)
}

/// `count_if(condition)`: the rows for which it is true.
fn counted(of: &Function, name: &str) -> Result<Expr> {
    let [condition] = values(&of.args)
        .and_then(|args| <[Expr; 1]>::try_from(args).ok())
        .ok_or_else(|| takes(name, "one condition"))?;
    Ok(Expr::Function(Function {
        over: of.over.clone(),
        ..function(
            "count",
            all_rows(),
            Some(both(condition, of.filter.clone())),
        )
    }))
}

/// `arg_max(value, of)`: the value where `of` is largest, among the rows where neither is null.
fn at_extreme(of: &Function, name: &str, is_least: bool) -> Result<Expr> {
    no_window(of, name)?;
    let [value, by] = values(&of.args)
        .and_then(|args| <[Expr; 2]>::try_from(args).ok())
        .ok_or_else(|| {
            takes(
                name,
                "a value and what it is the largest or the least of; for the first n, rank rows by row_number() in a subquery",
            )
        })?;
    let are_known = binary(is_not_null(&value), BinaryOperator::And, is_not_null(&by));
    let order = OrderByOptions {
        asc: Some(is_least),
        nulls_first: Some(false),
    };
    Ok(Expr::Function(Function {
        filter: Some(both(are_known, of.filter.clone())),
        ..with_order("first_value", value, vec![ordered(by, order)])
    }))
}

/// The values of a group in order, nulls left out, as a list.
fn sorted_values(of: &Function, order: OrderByExpr) -> Expr {
    let value = order.expr.clone();
    let is_known = is_not_null(&value);
    Expr::Function(Function {
        filter: Some(both(is_known, of.filter.clone())),
        ..with_order("array_agg", value, vec![order])
    })
}

/// The order that stands in WITHIN GROUP, with no other argument left out.
fn within_group(of: &Function, name: &str) -> Result<OrderByExpr> {
    match of.within_group.as_slice() {
        [order] => Ok(order.clone()),
        _ => Err(takes(name, "one value: WITHIN GROUP (ORDER BY x)")),
    }
}

/// `mode() WITHIN GROUP (ORDER BY x)` or `mode(x)`: the value that is there most often; of several, the first in order.
fn most_frequent(of: &Function) -> Result<Expr> {
    no_window(of, "mode")?;
    let order = match values(&of.args).as_deref() {
        Some([value]) if of.within_group.is_empty() => {
            ordered(value.clone(), OrderByOptions::default())
        }
        Some([]) => within_group(of, "mode")?,
        _ => return Err(takes("mode", "one value: mode() WITHIN GROUP (ORDER BY x)")),
    };
    Ok(call("most_frequent", vec![sorted_values(of, order)]))
}

/// `percentile_disc(share) WITHIN GROUP (ORDER BY x)` or `quantile_disc(x, share)`: the first value at or after that share of all.
fn value_at(of: &Function, name: &str) -> Result<Expr> {
    no_window(of, name)?;
    let (share, order) = match values(&of.args).as_deref() {
        Some([share]) if !of.within_group.is_empty() => (share.clone(), within_group(of, name)?),
        Some([value, share]) if of.within_group.is_empty() => (
            share.clone(),
            ordered(value.clone(), OrderByOptions::default()),
        ),
        _ => {
            return Err(takes(
                name,
                "a share from 0 to 1: percentile_disc(0.5) WITHIN GROUP (ORDER BY x)",
            ));
        }
    };
    Ok(call(
        "value_at_share",
        vec![sorted_values(of, order), share],
    ))
}

/// `if(condition, then, otherwise)` as a CASE: what is not wanted is not worked out.
fn conditional(of: &Function, name: &str) -> Result<Expr> {
    let args = values(&of.args).unwrap_or_default();
    let (condition, result, otherwise) = match <[Expr; 3]>::try_from(args) {
        Ok([condition, result, otherwise]) => (condition, result, otherwise),
        Err(_) => {
            return Err(takes(
                name,
                "three arguments: a condition, what holds then, and what holds otherwise",
            ));
        }
    };
    Ok(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: Some(Box::new(otherwise)),
    })
}

/// `date_add(day, span)` is `day + span`, and `date_add('month', 2, day)` moves by so many of a unit.
fn moved(of: &Function, name: &str, operator: BinaryOperator) -> Result<Expr> {
    let args = values(&of.args).unwrap_or_default();
    match args.as_slice() {
        [of, span] => Ok(binary(of.clone(), operator, span.clone())),
        [unit, number, of] => {
            let unit = match unit {
                Expr::Value(value) => match &value.value {
                    Value::SingleQuotedString(unit) => Some(unit.clone()),
                    _ => None,
                },
                Expr::Identifier(unit) => Some(unit.value.clone()),
                _ => None,
            };
            let unit = unit
                .filter(|unit| is_unit(unit))
                .ok_or_else(|| takes(name, "a unit like 'day' or 'month', a number and a time"))?;
            let one = Expr::Interval(Interval {
                value: Box::new(text(&format!("1 {unit}"))),
                leading_field: None,
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            });
            let span = binary(number.clone(), BinaryOperator::Multiply, one);
            Ok(binary(of.clone(), operator, span))
        }
        _ => Err(takes(name, "a time and a span: INTERVAL '1 month'")),
    }
}

fn is_unit(unit: &str) -> bool {
    let unit = unit.to_lowercase();
    matches!(
        unit.strip_suffix('s').unwrap_or(&unit),
        "microsecond"
            | "millisecond"
            | "second"
            | "minute"
            | "hour"
            | "day"
            | "week"
            | "month"
            | "year"
    )
}

/// `age(then)` counts to the beginning of this day.
fn aged(of: &Function) -> Result<Expr> {
    let args = values(&of.args).unwrap_or_default();
    match args.as_slice() {
        [then] => Ok(call(
            "age",
            vec![call("current_date", Vec::new()), then.clone()],
        )),
        [_, _] => Ok(Expr::Function(of.clone())),
        _ => Err(takes(
            "age",
            "one time, or two of which the second is taken off the first",
        )),
    }
}

/// `date_trunc('month', instant, zone)`: the beginning of the day, week, month, quarter or year on the zone's clock, as an instant.
fn truncated(of: &Function) -> Expr {
    let is_of_days = |unit: &str| {
        matches!(
            unit.to_lowercase().as_str(),
            "day" | "week" | "month" | "quarter" | "year"
        )
    };
    if let Some([Expr::Value(unit), at, zone]) = values(&of.args).as_deref()
        && let Value::SingleQuotedString(name) = &unit.value
        && is_of_days(name)
    {
        // What has no zone is UTC's.
        let clock = call("local_timestamp", vec![at.clone(), text("UTC")]);
        let instant = call("at_time_zone", vec![clock, text("UTC")]);
        let clock = call("at_time_zone", vec![instant, zone.clone()]);
        let begun = call("date_trunc", vec![Expr::Value(unit.clone()), clock]);
        return call("at_time_zone", vec![begun, zone.clone()]);
    }
    Expr::Function(of.clone())
}

fn is_call_of(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Function(of) if plain_name(&of.name).as_deref() == Some(name))
}

/// `encode(bytes, 'base64')` fills up with `=`, which decoders want.
fn padded(of: &Function) -> Expr {
    if let Some([bytes, Expr::Value(form)]) = values(&of.args).as_deref()
        && let Value::SingleQuotedString(form) = &form.value
        && form.eq_ignore_ascii_case("base64")
    {
        return call("encode", vec![bytes.clone(), text("base64pad")]);
    }
    Expr::Function(of.clone())
}

/// `array_length(list, 1)` of a list without elements is null, as in PostgreSQL; with one argument, which DuckDB has, it is 0.
fn length_or_null(of: &Function) -> Expr {
    let length = Expr::Function(of.clone());
    match values(&of.args).as_deref() {
        Some([_, _]) => call("nullif", vec![length, whole(0)]),
        _ => length,
    }
}

/// A count, whose own type has no sign, as `bigint`.
fn signed(of: &Function) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Function(of.clone())),
        data_type: DataType::BigInt(None),
        array: false,
        format: None,
    }
}

/// `regexp_replace(text, pattern, by)`, where `by` is written as in PostgreSQL. A statement may be read a second time from the text that it became.
fn replaced(of: &Function) -> Expr {
    let mut of = of.clone();
    if let Some(mut args) = values(&of.args)
        && let Some(by) = args.get_mut(2)
        && !is_call_of(by, "regexp_replacement")
    {
        *by = call("regexp_replacement", vec![by.clone()]);
        of.args = arguments(args);
    }
    Expr::Function(of)
}

/// `date_part('century', at)`, and the other parts that DataFusion does not know.
fn part(of: &Function) -> Expr {
    if let Some([Expr::Value(part), at]) = values(&of.args).as_deref()
        && let Value::SingleQuotedString(part) = &part.value
        && super::operands::is_calendar_part(part)
    {
        return super::operands::calendar_part(part, at);
    }
    Expr::Function(of.clone())
}
