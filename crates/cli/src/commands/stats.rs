//! `stats`: the statistics, as tables or JSON.
//!
//! Invariant: dates are read in the zone the answer is cut in; what is asked wrong is refused before the warehouse is opened.

use crate::args::{Cli, Format, Hours, Perspective, Stats};
use crate::commands::{as_of, context, find_project};
use crate::output::{print, print_json, statistics as shown};
use crate::registry::{NAMES, SOURCES};
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_model::{Error, Filter, Result, Window};
use tillhouse_pipeline::Nobody;
use tillhouse_statistics::{Compare, Hours as StatisticsHours, Request, Selection, parse_instant, statistics};

pub(crate) async fn run(cli: &Cli, arguments: &Stats, format: Format) -> Result<ExitCode> {
    let instant = |text: &str| parse_instant(text, &arguments.timezone);
    let window = Window::new(instant(&arguments.from)?, instant(&arguments.to)?)?;
    let compare = Compare::parse(&arguments.compare, &arguments.timezone)?;
    let filter = arguments.filter.as_deref().map(Filter::parse).transpose()?;
    let project = find_project(cli)?;
    let filter =
        filter.map(|filter| Selection::new(&filter, &arguments.timezone, Some(&project.privacy_key))).transpose()?;
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
        perspective: match arguments.perspective {
            Perspective::Sale => "sale".to_owned(),
            Perspective::Purchase => "purchase".to_owned(),
        },
        states: arguments.states.clone(),
        timezone: arguments.timezone.clone(),
        hours: match arguments.hours {
            Hours::Timeline => StatisticsHours::Timeline,
            Hours::OfDay => StatisticsHours::OfDay,
        },
        compare,
        filter,
    };
    let report = statistics(&session, &context.warehouse, &request).await?;
    match format {
        Format::Json => print_json(&report)?,
        Format::Table => print(&shown::text(&report))?,
        Format::Csv => print(&shown::csv(&report))?,
    }
    Ok(ExitCode::SUCCESS)
}
