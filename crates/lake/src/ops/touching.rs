//! Slices that touch, as one row of the ledger.
//!
//! Invariant: the rows say what the slices did. Two are one only where they lie side by side, were read by the same run in the same way, and
//! the whole of both had happened when the first of them was read: a window counts as read only up to that instant.

use crate::ops::rows::SliceRow;
use tillhouse_model::Window;

/// Joins rows that touch. The order is by pipeline, resource, tenant and window.
pub(crate) fn join_touching(mut rows: Vec<SliceRow>) -> Vec<SliceRow> {
    rows.sort_by(|a, b| {
        let key = |row: &SliceRow| {
            (
                row.read_by.map(tillhouse_model::ReadBy::as_str),
                row.window,
                row.read_at,
            )
        };
        (&a.pipeline, &a.resource, &a.tenant, key(a)).cmp(&(
            &b.pipeline,
            &b.resource,
            &b.tenant,
            key(b),
        ))
    });
    let mut joined: Vec<SliceRow> = Vec::with_capacity(rows.len());
    for row in rows {
        match joined.last_mut().and_then(|before| both(before, &row)) {
            Some(one) => {
                joined.pop();
                joined.push(one);
            }
            None => joined.push(row),
        }
    }
    joined
}

/// Two slices as one row; `None` where that would lose something.
fn both(a: &SliceRow, b: &SliceRow) -> Option<SliceRow> {
    let is_of_one = a.pipeline == b.pipeline
        && a.resource == b.resource
        && a.tenant == b.tenant
        && a.run_id == b.run_id
        && (a.read_by, a.also_read_by) == (b.read_by, b.also_read_by);
    let read_at = a.read_at.min(b.read_at);
    if !is_of_one || a.window.to() != b.window.from() || b.window.to() > read_at {
        return None;
    }
    // The total that one of them declared says nothing of both.
    let declared_total = match (a.declared_total, b.declared_total) {
        (Some(a), Some(b)) => Some(a + b),
        (None, None) => None,
        _ => return None,
    };
    Some(SliceRow {
        window: Window::new(a.window.from(), b.window.to()).ok()?,
        read_at,
        records: a.records + b.records,
        rejects: a.rejects + b.rejects,
        declared_total,
        attempts: a.attempts.max(b.attempts),
        load_id: a.load_id.max(b.load_id),
        ..a.clone()
    })
}

#[cfg(test)]
#[path = "touching_tests.rs"]
mod tests;
