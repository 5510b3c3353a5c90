//! Windows that are named: `OVER w`, and `OVER (w ORDER BY x)`, which takes over what `w` says.
//!
//! Invariant: as in PostgreSQL a window that builds on another has its partitions, and its order where that has one. DataFusion takes no notice of the name in brackets, and knows
//! `OVER w` in columns alone.

use super::operands::folded;
use super::refused;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, Ident, NamedWindowDefinition, NamedWindowExpr, Query, VisitMut, VisitorMut,
    WindowSpec, WindowType,
};
use std::ops::ControlFlow;
use tillhouse_model::{Error, Result};

/// The windows of a SELECT, each whole.
pub(super) struct KnownWindows(Vec<(String, WindowSpec)>);

impl KnownWindows {
    /// Reads the definitions, of which each may build on those before it.
    pub(super) fn of(definitions: &[NamedWindowDefinition]) -> Result<Self> {
        let mut known = Self(Vec::new());
        for NamedWindowDefinition(name, window) in definitions {
            let spec = match window {
                NamedWindowExpr::NamedWindow(of) => known.named(of)?.clone(),
                NamedWindowExpr::WindowSpec(spec) => known.whole(spec)?,
            };
            known.0.push((folded(name), spec));
        }
        Ok(known)
    }

    fn named(&self, name: &Ident) -> Result<&WindowSpec> {
        let wanted = folded(name);
        let found = self.0.iter().find(|(known, _)| *known == wanted);
        found.map(|(_, spec)| spec).ok_or_else(|| {
            refused(
                &format!("the window {name}"),
                "WINDOW w AS (PARTITION BY ...) behind HAVING gives a window its name.",
            )
        })
    }

    /// A window with what the one says that it builds on.
    fn whole(&self, spec: &WindowSpec) -> Result<WindowSpec> {
        let Some(name) = &spec.window_name else {
            return Ok(spec.clone());
        };
        let of = self.named(name)?;
        let changes_it = !spec.partition_by.is_empty()
            || (!spec.order_by.is_empty() && !of.order_by.is_empty())
            || of.window_frame.is_some();
        if changes_it {
            return Err(refused(
                &format!("a window that changes what {name} says"),
                "It may add an order where there is none, and a frame where there is none: write the window out.",
            ));
        }
        Ok(WindowSpec {
            window_name: None,
            partition_by: of.partition_by.clone(),
            order_by: if spec.order_by.is_empty() {
                of.order_by.clone()
            } else {
                spec.order_by.clone()
            },
            window_frame: spec.window_frame.clone(),
        })
    }

    /// Writes the windows of a part of the SELECT out. A subquery has its own. Of a column whose window nobody knows the planner says so.
    pub(super) fn write_out(&self, part: &mut impl VisitMut, is_columns: bool) -> Result<()> {
        let mut writer = WindowWriter {
            known: self,
            queries: 0,
            leaves_unknown: is_columns,
        };
        match VisitMut::visit(part, &mut writer) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }
}

struct WindowWriter<'k> {
    known: &'k KnownWindows,
    queries: usize,
    leaves_unknown: bool,
}

impl WindowWriter<'_> {
    fn write(&self, call: &mut Function) -> Result<()> {
        let spec = match &call.over {
            Some(WindowType::NamedWindow(name)) => match self.known.named(name) {
                Ok(spec) => spec.clone(),
                Err(_) if self.leaves_unknown => return Ok(()),
                Err(error) => return Err(error),
            },
            Some(WindowType::WindowSpec(spec)) if spec.window_name.is_some() => {
                self.known.whole(spec)?
            }
            _ => return Ok(()),
        };
        call.over = Some(WindowType::WindowSpec(spec));
        Ok(())
    }
}

impl VisitorMut for WindowWriter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Expr::Function(call) = expr
            && self.queries == 0
            && let Err(error) = self.write(call)
        {
            return ControlFlow::Break(error);
        }
        ControlFlow::Continue(())
    }
}
