//! `restated`: what changed of the past since a run.
//!
//! Invariant: both runs are published ones; nothing is asked of any source.

use crate::args::{Cli, Format, Period, Perspective, Restated};
use crate::commands::{as_of, find_project, reading};
use crate::output::{print, print_json, print_text, restated as shown};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::process::ExitCode;
use tillhouse_lake::{AsOf, RunRecord, Warehouse};
use tillhouse_model::{Error, ErrorKind, Result, Window, time::parse_instant};
use tillhouse_statistics::{Names, Request, restated};

pub(crate) async fn run(cli: &Cli, arguments: &Restated, format: Format) -> Result<ExitCode> {
    let instant = |text: &Option<String>| text.as_deref().map(|t| parse_instant(t, &TimeZone::UTC)).transpose();
    let from = instant(&arguments.from)?.unwrap_or(Timestamp::MIN);
    let window = Window::new(from, instant(&arguments.to)?.unwrap_or(Timestamp::MAX))?;
    window.until(Timestamp::now())?;
    let report = reading(find_project(cli)?, async |context| {
        let since = published(&context.warehouse, &as_of(Some(&arguments.since))?).await?;
        let now = published(&context.warehouse, &as_of(arguments.as_of.as_deref())?).await?;
        let session = context.engine.open(&context.warehouse, &AsOf::Run(now.run_id.clone())).await?;
        let names =
            Names { tenant: arguments.tenant.as_deref(), source: arguments.source.as_deref(), ..Names::default() };
        names.check(&session, &context.warehouse).await?;
        let request = Request {
            tenant: arguments.tenant.clone(),
            source: arguments.source.clone(),
            perspective: match arguments.perspective {
                Perspective::Sale => "sale".to_owned(),
                Perspective::Purchase => "purchase".to_owned(),
            },
            states: arguments.counted.states.clone(),
            ..Request::new(window)
        };
        restated(&context.engine, &context.warehouse, &since, &now, &request, arguments.most).await
    })
    .await?;
    match format {
        Format::Json => print_json(&report)?,
        Format::Table => print_text(&shown::text(&report, arguments.by))?,
        Format::Csv(style) => print(&shown::csv(&report, arguments.by.unwrap_or(Period::Day), style))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn published(warehouse: &Warehouse, at: &AsOf) -> Result<RunRecord> {
    warehouse.ops().published(at).await?.ok_or_else(|| {
        let hint = "`tillhouse sql \"SELECT run_id, finished_at FROM ops.runs\"` lists the runs.";
        let what = match at {
            AsOf::Latest => "nothing has been published yet".to_owned(),
            AsOf::Run(run) => format!("there is no published run {run}"),
            AsOf::Time(time) => format!("nothing had been published by {time}"),
        };
        Error::new(ErrorKind::Query, what).hint(hint)
    })
}
