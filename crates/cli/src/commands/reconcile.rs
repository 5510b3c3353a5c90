//! `reconcile`: the published figures beside the provider's own, or beside control totals.
//!
//! Invariant: exit code 0 only where everything was compared and nothing differs; 3 where something differs or was not compared, so that a
//! scheduler sees it.

use crate::args::{Cli, DataFormat, ReconcileAgainstArg, ReconcileArgs};
use crate::commands::{find_project, read_given, reading, stop_on_ctrl_c};
use crate::failure::{self, PARTIAL};
use crate::output::{print, print_json, print_notice, print_text, reconciliation as shown};
use crate::registry::SOURCES;
use jiff::tz::TimeZone;
use std::process::ExitCode;
use tillhouse_model::reconcile::ReconcileAgainst;
use tillhouse_model::time::{parse_duration, parse_instant};
use tillhouse_model::time_zone::time_zone;
use tillhouse_model::{Error, Filter, Result, Window};
use tillhouse_pipeline::{ReconcileFilter, ReconcileRequest, reconcile};
use tillhouse_statistics::CheckedFilter;
use tillhouse_statistics::reconcile::control_totals;

/// A century of days; more is a mistake, and each is a request a tenant.
const MOST_WINDOWS: i64 = 36_525;

pub(crate) async fn run(
    cli: &Cli,
    arguments: &ReconcileArgs,
    format: DataFormat,
) -> Result<ExitCode> {
    let zone = match &arguments.timezone {
        None => TimeZone::UTC,
        Some(name) => time_zone(name).ok_or_else(|| {
            Error::config(format!("there is no time zone {name:?}"))
                .hint("Give an IANA name like Europe/Berlin, or UTC.")
        })?,
    };
    let window = Window::new(
        parse_instant(&arguments.from, &zone)?,
        parse_instant(&arguments.to, &zone)?,
    )?;
    let step = parse_duration(&arguments.step)?;
    if step.as_secs() < 3600 {
        return Err(Error::config("--step is shorter than an hour")
            .hint("Give a whole number of hours or days: 1h, 1d."));
    }
    let windows = window
        .duration()
        .as_secs()
        .div_euclid(step.as_secs())
        .saturating_add(1);
    if windows > MOST_WINDOWS {
        return Err(Error::config(format!(
            "from {} to {} are {windows} windows of {}, each of which the provider would be asked for; {MOST_WINDOWS} are the most",
            arguments.from, arguments.to, arguments.step
        ))
        .hint("Narrow --from and --to, or give a longer --step."));
    }
    let control = match &arguments.control {
        None => None,
        Some(path) => {
            let name = path.display().to_string();
            let text = read_given(path, "the control file cannot be read")?;
            Some(control_totals(&text, &name)?)
        }
    };
    let filter = arguments.filter.as_deref().map(Filter::parse).transpose()?;
    let project = find_project(cli)?;
    let narrowed = |asked: Filter| {
        let selection = CheckedFilter::new(&asked, "UTC", Some(&project.privacy_key))?;
        Ok::<_, Error>(ReconcileFilter { asked, selection })
    };
    let asked = ReconcileRequest {
        window,
        step,
        states: arguments.counted.states.clone(),
        against: arguments.by.map(|by| match by {
            ReconcileAgainstArg::Statistics => ReconcileAgainst::Statistics,
            ReconcileAgainstArg::Revenue => ReconcileAgainst::Revenue,
            ReconcileAgainstArg::Records => ReconcileAgainst::Records,
        }),
        control,
        timezone: arguments.timezone.clone(),
        max_transactions: arguments.most,
        filter: filter.map(narrowed).transpose()?,
    };
    let pipelines = project.pipelines(&arguments.pipelines, SOURCES)?;
    let done = reading(project, async |context| {
        stop_on_ctrl_c(&context.cancel);
        // Every personal value would differ.
        let key = &context.project.privacy_key;
        context.warehouse.check_privacy_key(key)?;
        reconcile(&context, &pipelines, &asked).await
    })
    .await?;
    match format {
        DataFormat::Json => print_json(&done)?,
        DataFormat::Table => print_text(&shown::text(&done))?,
        DataFormat::Csv(style) => {
            print(&shown::csv(&done, style))?;
            // Lines of differences alone do not tell what was not compared.
            print_notice(&shown::remarks(&done));
        }
    }
    if done.window.to() < window.to() {
        print_notice(&format!(
            "Compared up to now: --to {} lies in the future.",
            window.to()
        ));
    }
    if let Some(error) = &done.not_kept {
        print_notice(&format!("Not kept in ops.reconciliations: {error}"));
    }
    if !done.failed.is_empty() {
        for (_, error) in &done.failed {
            failure::report(error);
        }
        return Ok(ExitCode::FAILURE);
    }
    Ok(if done.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(PARTIAL)
    })
}
