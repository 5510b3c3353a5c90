//! `report`: SmartNow's reports over all sources, as tables, JSON or CSV.
//!
//! Invariant: this is where the clock is read, and only where nobody said which day it is.

use crate::args::{Cli, DataFormat, ReportArgs};
use crate::commands::{as_of, find_project, now, open_session, read_given, reading};
use crate::output::{print, print_json, print_text, report as shown};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::path::Path;
use std::process::ExitCode;
use tillhouse_model::{CivilPeriod, Error, ErrorKind, Result, ResultExt, parse_day};
use tillhouse_statistics::RequestedNames;
use tillhouse_statistics::csv::report_csv;
use tillhouse_statistics::reports::{
    ReportName, ReportRequest, ReportTime, read_period, refuse_the_future, report,
};
use tillhouse_statistics::sales_report::{ReportEntityId, ReportRequestBody};

pub(crate) async fn run(cli: &Cli, arguments: &ReportArgs, format: DataFormat) -> Result<ExitCode> {
    let request = request(arguments)?;
    let at = as_of(arguments.as_of.as_deref())?;
    let report = reading(find_project(cli)?, async |context| {
        let session = open_session(&context, &at).await?;
        let names = RequestedNames {
            tenant: request.tenant.as_deref(),
            source: request.source.as_deref(),
            sites: &request.sites,
            devices: &request.devices,
            filter: None,
        };
        names.check(&session).await?;
        report(&session, &context.warehouse, &request).await
    })
    .await?;
    match format {
        DataFormat::Json => print_json(&report)?,
        DataFormat::Table => print_text(&shown::text(&report))?,
        DataFormat::Csv(style) => print(&report_csv(&report, style))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Request, checked as far as it can be without a warehouse.
fn request(arguments: &ReportArgs) -> Result<ReportRequest> {
    let name: ReportName = arguments.name.parse()?;
    let today = match &arguments.reference {
        Some(text) => parse_day(text)?,
        None => TimeZone::UTC.to_datetime(now()).date(),
    };
    let body = arguments.request.as_deref().map(body).transpose()?;
    let [sites, devices, site_groups, device_groups] =
        body.as_ref().map(places).unwrap_or_default();
    let when = if name.is_about_a_date() {
        if arguments.from.is_some() || arguments.period1.is_some() {
            return Err(
                Error::config(format!("the report {name} is about one date"))
                    .hint("Give it with --reference; without it, today's is taken."),
            );
        }
        ReportTime::On(today)
    } else {
        periods(name, arguments, body, today)?
    };
    refuse_the_future(&when, now())?;
    Ok(ReportRequest {
        tenant: arguments.tenant.clone(),
        source: arguments.source.clone(),
        perspective: arguments.perspective.as_str().to_owned(),
        states: arguments.counted.states.clone(),
        sites: [arguments.sites.clone(), sites].concat(),
        devices: [arguments.devices.clone(), devices].concat(),
        site_groups: [arguments.site_groups.clone(), site_groups].concat(),
        device_groups: [arguments.device_groups.clone(), device_groups].concat(),
        amount: arguments.amount,
        limit: arguments.limit,
        scopes: arguments.scopes.clone(),
        ..ReportRequest::new(name, when)
    })
}

/// The sites, devices, groups of sites and groups of devices that a request names.
fn places(body: &ReportRequestBody) -> [Vec<String>; 4] {
    [
        &body.locations,
        &body.machines,
        &body.location_groups,
        &body.machine_groups,
    ]
    .map(|ids| ids.iter().cloned().map(ReportEntityId::into_text).collect())
}

fn periods(
    name: ReportName,
    arguments: &ReportArgs,
    body: Option<ReportRequestBody>,
    today: Date,
) -> Result<ReportTime> {
    if arguments.period2.is_some() && !name.compares() {
        return Err(
            Error::config(format!("the report {name} is about one period"))
                .hint("Leave --period2 away."),
        );
    }
    if let Some(body) = body {
        let second = body
            .period2
            .map(|period| period.resolve(today))
            .transpose()?;
        return Ok(ReportTime::Periods(body.period1.resolve(today)?, second));
    }
    let first = match (&arguments.period1, &arguments.from, &arguments.to) {
        (Some(text), _, _) => read_period(text, today)?,
        (None, Some(from), Some(to)) => CivilPeriod::parse(&format!("{from}..{to}"))?,
        _ => {
            return Err(Error::config(format!("the report {name} needs a period"))
                .hint("Give --from and --to, or --period1 2026-01-01..2026-02-01."));
        }
    };
    let second = arguments
        .period2
        .as_deref()
        .map(|text| read_period(text, today))
        .transpose()?;
    Ok(ReportTime::Periods(first, second))
}

fn body(path: &Path) -> Result<ReportRequestBody> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
            .or_error(ErrorKind::Config, "cannot read standard input")?
    } else {
        read_given(path, "cannot read the report request")?
    };
    ReportRequestBody::parse(&text)
}
