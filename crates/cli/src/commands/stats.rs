//! `stats`: the statistics, as tables, JSON, CSV or a page of charts.
//!
//! Invariant: dates are read in the zone the answer is cut in.

use crate::args::{Cli, Format, Hours, Stats};
use crate::commands::{as_of, context, find_project};
use crate::output::{deliver, json_text, page, statistics as shown};
use crate::registry::{NAMES, SOURCES};
use jiff::tz::TimeZone;
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_model::{Error, Result, Window, time::parse_instant};
use tillhouse_pipeline::Nobody;
use tillhouse_statistics::reports::heat_map;
use tillhouse_statistics::{Hours as StatisticsHours, Request, statistics};

pub(crate) async fn run(cli: &Cli, arguments: &Stats, format: Option<Format>) -> Result<ExitCode> {
    let zone = TimeZone::get(&arguments.timezone).map_err(|_| {
        Error::config(format!("there is no time zone {:?}", arguments.timezone))
            .hint("Give an IANA name like Europe/Berlin, or UTC.")
    })?;
    let window = Window::new(parse_instant(&arguments.from, &zone)?, parse_instant(&arguments.to, &zone)?)?;
    let project = find_project(cli)?;
    if let Some(source) = &arguments.source {
        let known = SOURCES.iter().any(|s| s.name == source);
        if !known {
            return Err(Error::config(format!("there is no source {source:?}"))
                .hint(format!("Known sources: {}.", NAMES.join(", "))));
        }
    }
    let context = context(project, Arc::new(Nobody)).await?;
    let session = context.engine.open(&context.warehouse, &as_of(arguments.as_of.as_deref())?).await?;
    let request = Request {
        window,
        tenant: arguments.tenant.clone(),
        source: arguments.source.clone(),
        perspective: arguments.perspective.as_str().to_owned(),
        states: arguments.states.clone(),
        timezone: arguments.timezone.clone(),
        hours: match arguments.hours {
            Hours::Timeline => StatisticsHours::Timeline,
            Hours::OfDay => StatisticsHours::OfDay,
        },
    };
    let report = statistics(&session, &context.warehouse, &request).await?;
    let text = match format {
        Some(Format::Json) => json_text(&report)?,
        Some(Format::Table) => shown::text(&report),
        Some(Format::Csv) => shown::csv(&report),
        None => page::page(&report, &heat_map(&session, &request).await?),
    };
    deliver(arguments.output.as_deref(), &text)?;
    Ok(ExitCode::SUCCESS)
}
