//! `init` and `eject`: files in a project.
//!
//! Invariant: what exists stays as it is.

use crate::args::{Cli, EjectArgs, InitArgs};
use crate::commands::{find_project, start_dir};
use crate::output::print_notice;
use crate::registry::SOURCES;
use std::process::ExitCode;
use tillhouse_model::{Result, Secret};
use tillhouse_pipeline::InitOutcome;

pub(crate) fn init(cli: &Cli, arguments: &InitArgs) -> Result<ExitCode> {
    let dir = arguments.dir.clone().unwrap_or_else(|| start_dir(cli));
    let key: [u8; 32] = rand::random();
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let InitOutcome {
        written,
        missing_variables: unnamed,
    } = tillhouse_pipeline::init(&dir, &arguments.sources, SOURCES, &Secret::new(key))?;
    for path in &written {
        print_notice(&format!("wrote {}", dir.join(path).display()));
    }
    print_notice("");
    if arguments.sources.is_empty() {
        print_notice("Next: add a source with `tillhouse init --source hecone`.");
    } else if !unnamed.is_empty() {
        print_notice(
            "Next: put the connection's values into .env. The .env.example that was there stays as it is, and does not name these:",
        );
        for variable in &unnamed {
            print_notice(&format!("  {variable}="));
        }
        print_notice("Then run `tillhouse check` and `tillhouse sync`.");
    } else {
        print_notice(
            "Next: put the connection's values into .env (see .env.example), then run `tillhouse check` and `tillhouse sync`.",
        );
    }
    if written.iter().any(|p| p.as_os_str() == ".env") {
        print_notice(
            "The privacy key in .env makes pseudonyms of personal data. Keep a copy in a safe place.",
        );
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn eject(cli: &Cli, arguments: &EjectArgs) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let pipelines = project.pipelines(std::slice::from_ref(&arguments.pipeline), SOURCES)?;
    for pipeline in pipelines {
        let (written, kept) =
            tillhouse_pipeline::eject(&project.dir, &pipeline.name, pipeline.source_name)?;
        for path in written {
            print_notice(&format!("wrote {}", path.display()));
        }
        for path in kept {
            print_notice(&format!("kept  {} (it was there already)", path.display()));
        }
    }
    print_notice(
        "\nThese files now replace the built-in ones. After changing SQL or contracts: `tillhouse check`, then `tillhouse rebuild`.",
    );
    Ok(ExitCode::SUCCESS)
}
