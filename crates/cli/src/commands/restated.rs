//! `restated`: what changed of the past since a run.
//!
//! Invariant: both runs are published ones; nothing is asked of any source.

use crate::args::{Cli, DataFormat, PeriodArg, PerspectiveArg, RestatedArgs};
use crate::commands::{as_of, find_project, now, reading};
use crate::output::{print, print_json, print_text, restated as shown};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::process::ExitCode;
use tillhouse_lake::{AsOf, RunRecord, Warehouse};
use tillhouse_model::{Error, ErrorKind, Result, Window, time::parse_instant};
use tillhouse_statistics::{RequestedNames, StatisticsRequest, find_restatements};

pub(crate) async fn run(
    cli: &Cli,
    arguments: &RestatedArgs,
    format: DataFormat,
) -> Result<ExitCode> {
    let instant = |text: &Option<String>| {
        text.as_deref()
            .map(|t| parse_instant(t, &TimeZone::UTC))
            .transpose()
    };
    let from = instant(&arguments.from)?.unwrap_or(Timestamp::MIN);
    let window = Window::new(from, instant(&arguments.to)?.unwrap_or(Timestamp::MAX))?;
    window.until(now())?;
    let report = reading(find_project(cli)?, async |context| {
        let since = published(&context.warehouse, &as_of(Some(&arguments.since))?).await?;
        let now = published(&context.warehouse, &as_of(arguments.as_of.as_deref())?).await?;
        let session = context
            .engine
            .open(&context.warehouse, &AsOf::Run(now.run_id.clone()))
            .await?;
        let names = RequestedNames {
            tenant: arguments.tenant.as_deref(),
            source: arguments.source.as_deref(),
            ..RequestedNames::default()
        };
        names.check(&session).await?;
        let request = StatisticsRequest {
            tenant: arguments.tenant.clone(),
            source: arguments.source.clone(),
            perspective: match arguments.perspective {
                PerspectiveArg::Sale => "sale".to_owned(),
                PerspectiveArg::Purchase => "purchase".to_owned(),
            },
            states: arguments.counted.states.clone(),
            ..StatisticsRequest::new(window)
        };
        find_restatements(
            &context.engine,
            &context.warehouse,
            &since,
            &now,
            &request,
            arguments.most,
        )
        .await
    })
    .await?;
    match format {
        DataFormat::Json => print_json(&report)?,
        DataFormat::Table => print_text(&shown::text(&report, arguments.by))?,
        DataFormat::Csv(style) => print(&shown::csv(
            &report,
            arguments.by.unwrap_or(PeriodArg::Day),
            style,
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A published run. Errors where there is none of that name or by that time.
pub(crate) async fn published(warehouse: &Warehouse, at: &AsOf) -> Result<RunRecord> {
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
