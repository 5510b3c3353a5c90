//! `stats`: the statistics, as tables, JSON, CSV or a page of charts.
//!
//! Invariant: dates are read in the zone the answer is cut in; what is asked wrong is refused before the warehouse is opened.

use crate::args::{Cli, DataFormat, HoursArg, StatsArgs};
use crate::commands::{
    as_of, find_project, now, open_session, protected_files, reading, reading_statistics,
    warn_of_other_key,
};
use crate::output::statistics::StatisticsDetail;
use crate::output::terminal_escape::escape_controls_in_lines;
use crate::output::{CsvStyle, json_text, statistics as shown, write_output};
use crate::registry::{NAMES, SOURCES};
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use tillhouse_model::{Error, Filter, Result, Window};
use tillhouse_page::one_file;
use tillhouse_pipeline::RunContext;
use tillhouse_statistics::csv::statistics_csv;
use tillhouse_statistics::reports::heat_map;
use tillhouse_statistics::{
    CheckedFilter, GrowthBaseline, HourGrouping as StatisticsHours, RequestedNames,
    StatisticsRequest, parse_instant, statistics, statistics_of_facts,
};

pub(crate) async fn run(
    cli: &Cli,
    arguments: &StatsArgs,
    format: Option<DataFormat>,
) -> Result<ExitCode> {
    check_ending(arguments.output_file())?;
    let instant = |text: &str| parse_instant(text, &arguments.timezone);
    let window = Window::new(instant(&arguments.from)?, instant(&arguments.to)?)?;
    window.until(now())?;
    let hours = match arguments.hours {
        HoursArg::Timeline => StatisticsHours::Timeline,
        HoursArg::OfDay => StatisticsHours::OfDay,
    };
    if format.is_none() {
        one_file::check_window(window, hours)?;
    }
    let compare = GrowthBaseline::parse(&arguments.compare, &arguments.timezone)?;
    let filter = arguments.filter.as_deref().map(Filter::parse).transpose()?;
    let project = find_project(cli)?;
    if let Some(file) = arguments.output_file() {
        protected_files(&project).check("the output", file)?;
    }
    let filter = filter
        .map(|filter| CheckedFilter::new(&filter, &arguments.timezone, Some(&project.privacy_key)))
        .transpose()?;
    if let Some(source) = &arguments.source {
        let known = SOURCES.iter().any(|s| s.name == source);
        if !known {
            return Err(Error::config(format!("there is no source {source:?}"))
                .hint(format!("Known sources: {}.", NAMES.join(", "))));
        }
    }
    let asked = StatsQuestion {
        window,
        hours,
        compare,
        filter,
    };
    let is_page = format.is_none();
    let work = async |context: RunContext| {
        if asked.filter.is_some() {
            warn_of_other_key(&context.project, &context.warehouse);
        }
        answer(arguments, format, asked, &context).await
    };
    let text = match is_page {
        // Its heat map is a report.
        true => reading(project, work).await?,
        false => reading_statistics(project, work).await?,
    };
    write_output(arguments.output_file(), &text)?;
    Ok(ExitCode::SUCCESS)
}

/// Errors where the file's ending promises what `--format` does not write.
fn check_ending(file: Option<&Path>) -> Result<()> {
    let Some(file) = file else {
        return Ok(());
    };
    let ending = file.extension().unwrap_or_default().to_ascii_lowercase();
    if ending != "xlsx" && ending != "parquet" {
        return Ok(());
    }
    Err(
        Error::config("statistics are written as --format says, which is no workbook and no Parquet")
            .at("file", file.display().to_string())
            .hint("--format csv is for spreadsheets. `tillhouse sql \"SELECT * FROM hourly_transactions('2026-01-01', '2026-02-01')\" --output x.xlsx` writes a workbook."),
    )
}

/// Request, checked as far as it can be without a warehouse.
struct StatsQuestion {
    window: Window,
    hours: StatisticsHours,
    compare: GrowthBaseline,
    filter: Option<CheckedFilter>,
}

/// The statistics as they are printed.
async fn answer(
    arguments: &StatsArgs,
    format: Option<DataFormat>,
    asked: StatsQuestion,
    context: &RunContext,
) -> Result<String> {
    let StatsQuestion {
        window,
        hours,
        compare,
        filter,
    } = asked;
    let session = open_session(context, &as_of(arguments.as_of.as_deref())?).await?;
    let names = RequestedNames {
        tenant: arguments.tenant.as_deref(),
        source: arguments.source.as_deref(),
        filter: filter.as_ref(),
        ..RequestedNames::default()
    };
    names.check(&session).await?;
    let request = StatisticsRequest {
        tenant: arguments.tenant.clone(),
        source: arguments.source.clone(),
        perspective: arguments.perspective.as_str().to_owned(),
        states: arguments.counted.states.clone(),
        timezone: arguments.timezone.clone(),
        hours,
        compare,
        filter,
        ..StatisticsRequest::new(window)
    };
    let report = match arguments.from_facts {
        true => statistics_of_facts(&session, &context.warehouse, &request).await?,
        false => statistics(&session, &context.warehouse, &request).await?,
    };
    Ok(match format {
        Some(DataFormat::Json) => json_text(&report)?,
        Some(DataFormat::Table) => {
            let detail = match arguments.all
                || arguments.output_file().is_some()
                || !std::io::stdout().is_terminal()
            {
                true => StatisticsDetail::Everything,
                false => StatisticsDetail::LeadingCurrency,
            };
            escape_controls_in_lines(&shown::text(&report, detail)).into_owned()
        }
        Some(DataFormat::Csv(style)) => {
            // A file is no terminal.
            let is_shown = style.escapes_controls && arguments.output_file().is_none();
            statistics_csv(
                &report,
                CsvStyle {
                    escapes_controls: is_shown,
                    ..style
                },
            )
        }
        None => one_file::page(&report, &heat_map(&session, &request).await?),
    })
}
