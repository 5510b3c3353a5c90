//! Command line: commands, flags, and help that teaches.
//!
//! Invariant: nothing is decided here; a value that parses may still be refused by what it is about.

#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "workers")]
mod worker;

use crate::output::{CsvStyle, is_standard_output};
use crate::registry;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
#[cfg(feature = "serve")]
use serve::{SERVE_HELP, USER_HELP};
#[cfg(feature = "serve")]
pub(crate) use serve::{ServeArgs, UserAddArgs, UserCommand};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use tillhouse_statistics::reports::{DEFAULT_AMOUNT, DEFAULT_LIMIT, ReportName};
#[cfg(feature = "workers")]
use worker::WORKER_HELP;
#[cfg(feature = "workers")]
pub(crate) use worker::WorkerArgs;

macro_rules! after_help {
    ($demo:literal) => {
        concat!(
            "Examples:\n",
            $demo,
            "  \
  tillhouse init --source hecone                    make a project in this folder
  tillhouse check                                   is everything set up? changes nothing
  tillhouse sync                                    read what is new, land it, publish it
  tillhouse stats --from 2026-01-01 --to 2026-02-01 HecOne-style statistics of January
  tillhouse report summary                          today, this week, this month, this year
  tillhouse sql \"SELECT currency, count(*), sum(amount) FROM counted GROUP BY 1\"   what stats counts, in SQL

Data goes to standard output, everything else to standard error.
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 done in part (the next sync takes up the rest, or no record of a resource fitted)."
        )
    };
}

#[cfg(feature = "sandbox")]
const AFTER_HELP: &str = after_help!(
    "  tillhouse demo                                    see it work, with data made up on the spot\n"
);
#[cfg(not(feature = "sandbox"))]
const AFTER_HELP: &str = after_help!("");

const REPORT_HELP: &str = "\
Reports:
  revenue-summary        revenue by currency and day                            --from --to
  best-selling-products  the products that sold best, day by day                --from --to [--amount]
  event-counts           events by code, how often and how long                 --from --to [--limit] [--scopes]
  summary                a day, its week, its month, its year                   [--reference]
  heat-map               weekday by hour, over the three months until a day     [--reference]
  products               products of one period against another                 --period1 [--period2]
  payment-types          payment types of one period against another            --period1 [--period2]
  events                 events of one period against another                   --period1 [--period2] [--scopes]
  shift-payments         payments by shift, of one period against another       --period1 [--period2]
  shift-products         products by shift, of one period against another       --period1 [--period2]

A period is 2026-01-01..2026-02-01 (the second date is not included), or JSON with dates told from a reference date:
  '{\"startDate\": {\"month\": 1, \"day\": 1}, \"endDate\": {}}'     from 1 January to the reference date

Examples:
  tillhouse report revenue-summary --from 2026-01-01 --to 2026-02-01 --format csv
  tillhouse report products --period1 2026-01-01..2026-02-01 --period2 2025-01-01..2025-02-01
  tillhouse report heat-map --reference 2026-03-31 --sites smartnow:2
  tillhouse report payment-types --request request.json --format json";

const STATS_HELP: &str = "\
Examples:
  tillhouse stats --from 2026-01-01 --to 2026-02-01
  tillhouse stats --from 2026-01-05 --to 2026-01-06 --timezone Europe/Berlin --format json
  tillhouse stats --from 2026-01-01 --to 2026-02-01 --hours of_day
  tillhouse stats --from 2026-01-01 --to 2026-02-01 --format html --output january.html
  tillhouse stats --from 2026-03-01 --to 2026-04-01 --compare calendar      growth against February
  tillhouse stats --from 2026-03-01 --to 2026-04-01 --compare 2024-03-01..2024-04-01

Filters are Kendo UI filter descriptors, as HecOne takes them; a shell wants them in single quotes:
  --filter '{\"field\": \"site_name\", \"operator\": \"contains\", \"value\": \"harbour\"}'
  --filter '{\"logic\": \"and\", \"filters\": [{\"field\": \"amount\", \"operator\": \"gte\", \"value\": 50},
             {\"field\": \"license_plate\", \"operator\": \"eq\", \"value\": \"KA-XY 1\"}]}'
Operators: eq neq isnull isnotnull lt lte gt gte startswith doesnotstartwith endswith doesnotendwith contains
doesnotcontain isempty isnotempty isnullorempty isnotnullorempty. Upper and lower case are one unless
\"ignoreCase\": false. A field that does not exist is answered with those that do. docs/statistics.md has it all.";

/// The sales of tills that nobody stands behind, in one warehouse.
#[derive(Debug, Parser)]
#[command(name = "tillhouse", version, about, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    /// The project's folder [default: this folder, or the nearest one above it with a tillhouse.yaml]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) project: Option<PathBuf>,
    /// Format of data [default: table]; html is for `stats`
    #[arg(long, global = true, value_enum)]
    pub(crate) format: Option<OutputFormat>,
    /// In CSV, put a quote before texts that begin with = + - @, a tab or a line end, also behind blanks, so that no spreadsheet takes them for formulas. Numbers keep their sign
    #[arg(long, global = true)]
    pub(crate) csv_safe: bool,
    /// Format of logs on standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Log more: -v what is done, -vv every request. RUST_LOG has the last word
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// The time that the warehouse is told, for tests and measurements that live through years
    #[arg(long, global = true, hide = true, value_name = "T")]
    pub(crate) now: Option<String>,
    /// Machines that run parts of questions, instead of `workers` in tillhouse.yaml; "" is none
    #[cfg(feature = "workers")]
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT,...",
        value_delimiter = ','
    )]
    pub(crate) workers: Option<Vec<String>>,
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

/// Values of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Table,
    /// For programs: stable, amounts as exact numbers.
    Json,
    /// For spreadsheets.
    Csv,
    /// Statistics as one page of charts, for a browser.
    Html,
}

/// Format of printed data, for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataFormat {
    Table,
    Json,
    Csv(CsvStyle),
}

impl Cli {
    /// The form of texts in CSV: as they are into files and pipes, with visible escapes for a terminal.
    pub(crate) fn csv_style(&self) -> CsvStyle {
        CsvStyle {
            guards_formulas: self.csv_safe,
            escapes_controls: std::io::stdout().is_terminal(),
        }
    }

    /// Format of data; `None` where a page of charts was asked for, which only some commands have.
    pub(crate) fn data_format(&self) -> Option<DataFormat> {
        match self.format {
            None | Some(OutputFormat::Table) => Some(DataFormat::Table),
            Some(OutputFormat::Json) => Some(DataFormat::Json),
            Some(OutputFormat::Csv) => Some(DataFormat::Csv(self.csv_style())),
            Some(OutputFormat::Html) => None,
        }
    }
}

/// Format of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Make a project, or add a source's pipeline to one
    #[command(
        after_help = "Examples:\n  tillhouse init --source hecone\n  tillhouse init ~/sales --source hecone\n\nNo file that exists is changed."
    )]
    Init(InitArgs),
    /// Copy a pipeline's unify SQL and contracts into the project, to change them
    #[command(
        after_help = "Example:\n  tillhouse eject hecone\n\nA file of the same name in the project then replaces the built-in one; `tillhouse check` lists these."
    )]
    Eject(EjectArgs),
    /// Parse everything, reach every source and the warehouse; change nothing
    #[command(
        after_help = "Examples:\n  tillhouse check\n  tillhouse check hecone --format json\n  tillhouse check --warehouse         every log and every data file's footer; exit code 1 where something is damaged"
    )]
    Check(CheckArgs),
    /// Read what is new, land it, unify it, publish it
    #[command(
        after_help = "Examples:\n  tillhouse sync\n  tillhouse sync hecone --from 2026-01-01 --to 2026-02-01\n  tillhouse sync --skip-if-running      for a timer that may come again too early\n\nPipelines are read side by side; one that fails leaves the others alone (exit code 3). A sync can be interrupted at any time; the next one finishes its work."
    )]
    Sync(SyncArgs),
    /// Build the unified tables anew from the source tables, without asking any API
    #[command(
        after_help = "Examples:\n  tillhouse rebuild\n  tillhouse rebuild hecone      after its unify SQL was changed\n\nReaders see the tables as they were until the rebuild is published."
    )]
    Rebuild(RebuildArgs),
    /// Coverage of every pipeline, and what needs attention
    #[command(
        after_help = "Examples:\n  tillhouse status\n  tillhouse status hecone --format json\n  tillhouse status --max-age 2h       exit code 1 where the newest published run is older"
    )]
    Status(StatusArgs),
    /// Make few large data files of many small ones
    #[command(
        after_help = "Examples:\n  tillhouse compact --dry-run\n  tillhouse compact --format json\n\nRows stay as they are; syncs and readers may go on meanwhile. `tillhouse sync` does a share of it by itself when it is due,\nunless tillhouse.yaml says `maintenance: off`."
    )]
    Compact(MaintenanceArgs),
    /// Delete files that no kept run needs
    #[command(
        after_help = "Examples:\n  tillhouse vacuum --dry-run\n  tillhouse vacuum --format json\n\nWhich runs are kept is said by `retention` in tillhouse.yaml: every run for 90 days, then one a day, then one a month.\nRuns that are not kept are no longer answered by --as-of. Syncs and readers may go on meanwhile."
    )]
    Vacuum(MaintenanceArgs),
    /// Take a warehouse that an older version wrote to the newest format, in place
    #[command(
        after_help = "Examples:\n  tillhouse upgrade --dry-run\n  tillhouse upgrade\n\nMake a copy of the warehouse first, and stop syncs of older versions. An upgrade that was interrupted goes on when it is run again."
    )]
    Upgrade(MaintenanceArgs),
    /// HecOne-style statistics: hourly counts, rankings, growth
    #[command(
        after_help = STATS_HELP
    )]
    Stats(StatsArgs),
    /// SmartNow's reports, over all sources
    #[command(after_help = REPORT_HELP)]
    Report(ReportArgs),
    /// Past hours, days and months that changed since a run, by how much, and because of which transactions
    #[command(
        after_help = "Examples:\n  tillhouse restated --since 2026-01-31\n  tillhouse restated --since 20260131T060000Z-1f2e3d --format json\n  tillhouse restated --since 2026-01-31 --by day --format csv\n\nA run is named by its id, or by a time: then it is the last one that had finished by then. Hours that had not been read\nat all are new, not restated, and left out. `tillhouse sql \"SELECT run_id, finished_at FROM ops.runs\"` lists the runs."
    )]
    Restated(RestatedArgs),
    /// Compare the published figures with the provider's own, or with control totals
    #[command(
        after_help = "Examples:\n  tillhouse reconcile --from 2026-01-01 --to 2026-02-01\n  tillhouse reconcile hecone --from 2026-01-05 --to 2026-01-06 --step 1h\n  tillhouse reconcile hecone --by records --from 2026-01-01 --to 2026-02-01\n  tillhouse reconcile pace --control totals.csv --from 2026-01-01 --to 2026-02-01\n\nA control file has the columns day, currency, count, amount:\n  day,currency,count,amount\n  2026-01-01,EUR,1032,41288.10\n\nWhat was found is kept in ops.reconciliations. Exit code 3: something differs, or was not compared."
    )]
    Reconcile(ReconcileArgs),
    /// Query the warehouse; without a query, a prompt
    #[command(
        after_help = "Examples:\n  tillhouse sql \"SELECT currency, business_month, count(*), sum(amount) FROM counted GROUP BY ALL ORDER BY 1, 2\"\n  tillhouse sql \"SELECT currency, site_name, sum(amount) FROM counted GROUP BY ALL ORDER BY 3 DESC\"\n  tillhouse sql --format csv \"SELECT * FROM counted WHERE business_month = '2026-01'\" > january.csv\n  tillhouse sql \"SELECT * FROM hourly_transactions('2026-01-01', '2026-02-01')\"\n  tillhouse sql -f month.sql --param month=2026-01 --output january.parquet\n  tillhouse sql                 a prompt: \\d lists tables, \\d TABLE its columns\n\ncounted, counted_articles and counted_payments are what `stats` counts; transactions has everything: declined and test sales, purchases.\nAmounts of different currencies are never to be added up: group by currency."
    )]
    Sql(SqlArgs),
    /// Meaning of tables and of their columns: descriptions, units and examples
    #[command(
        after_help = "Examples:\n  tillhouse describe                  every table and view, in a line each\n  tillhouse describe counted\n  tillhouse describe hecone.transactions --format json\n  tillhouse describe ops.rejects\n\nA name without a schema is one of unified. Fields of objects are named by their path, like invoice.amount.\nIn SQL: SELECT column_name, description, unit, examples FROM information_schema.columns WHERE table_name = 'counted'"
    )]
    Describe(DescribeArgs),
    /// Print a script that shows the tables to another engine, as one published run has them
    #[command(
        after_help = "Examples:\n  tillhouse attach duckdb > tillhouse.sql; duckdb -init tillhouse.sql\n  tillhouse attach duckdb --as-of 2026-01-31\n\nIn DuckDB then: SELECT currency, count(*), sum(amount) FROM counted GROUP BY ALL;\nEvery table is a view of the version that the run names, and counted, counted_articles, counted_payments, sales are there as here."
    )]
    Attach(AttachArgs),
    #[cfg(feature = "serve")]
    /// Answer tools over HTTP, of the newest published run: statistics, reports, lists, tables, SQL
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
    #[cfg(feature = "serve")]
    /// Users of `tillhouse serve`, and what they may see
    #[command(after_help = USER_HELP)]
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    #[cfg(feature = "workers")]
    /// Run parts of the questions that other machines are asked
    #[command(after_help = WORKER_HELP)]
    Worker(WorkerArgs),
    #[cfg(feature = "sandbox")]
    /// HecOne 360, SmartNow, be-mo and PACE emulated on loopback, to try things out
    #[command(
        after_help = "Example:\n  tillhouse sandbox --transactions 100000 --from 2026-01-01 --to 2026-02-01 --port 8360"
    )]
    Sandbox(SandboxArgs),
    #[cfg(feature = "sandbox")]
    /// See it work: sandbox, sync, statistics, in a temporary project
    #[command(
        after_help = "Examples:\n  tillhouse demo\n  tillhouse demo --transactions 100000 --dir ~/tillhouse-demo"
    )]
    Demo(DemoArgs),
    /// Print a script that makes your shell complete commands and flags
    #[command(
        after_help = "Example:\n  tillhouse completions bash > ~/.local/share/bash-completion/completions/tillhouse"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl CliCommand {
    /// True if the command answers Ctrl-C itself: it has work to bring to an end first.
    pub(crate) fn handles_interrupts(&self) -> bool {
        match self {
            #[cfg(feature = "sandbox")]
            Self::Sandbox(_) | Self::Demo(_) => true,
            #[cfg(feature = "serve")]
            Self::Serve(arguments) => !arguments.check,
            #[cfg(feature = "workers")]
            Self::Worker(_) => true,
            Self::Sync(_) | Self::Rebuild(_) | Self::Reconcile(_) => true,
            _ => false,
        }
    }
}

impl CliCommand {
    /// True if the command answers SIGTERM and SIGHUP itself: what it is being asked has to be brought to an end.
    pub(crate) fn handles_terminations(&self) -> bool {
        match self {
            #[cfg(feature = "serve")]
            Self::Serve(arguments) => !arguments.check,
            #[cfg(feature = "workers")]
            Self::Worker(_) => true,
            _ => false,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder [default: this one]
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Add a pipeline for this source; may be repeated
    #[arg(long = "source", value_name = "SOURCE", value_parser = PossibleValuesParser::new(registry::NAMES))]
    pub(crate) sources: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EjectArgs {
    /// The pipeline's name
    pub(crate) pipeline: String,
}

#[derive(Debug, Args)]
pub(crate) struct PipelineArgs {
    /// Pipelines by name [default: all]
    pub(crate) pipelines: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Pipelines by name [default: all]
    pub(crate) pipelines: Vec<String>,
    /// Instead of the configuration, read the whole warehouse: every log and every data file's footer
    #[arg(long, conflicts_with = "pipelines")]
    pub(crate) warehouse: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Pipelines by name [default: all]
    pub(crate) pipelines: Vec<String>,
    /// Exit with 1 where the newest published run, or that of a pipeline, ended longer ago: 90m, 2h, 1d
    #[arg(long, value_name = "LENGTH")]
    pub(crate) max_age: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MaintenanceArgs {
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// Pipelines by name [default: all]
    pub(crate) pipelines: Vec<String>,
    /// Read from here on, known or not: a date (UTC) or a time with its offset
    #[arg(long, value_name = "T")]
    pub(crate) from: Option<String>,
    /// Read up to here, exclusive; a time in the future means now
    #[arg(long, value_name = "T")]
    pub(crate) to: Option<String>,
    /// Read everything again, from `sync.start` on
    #[arg(long)]
    pub(crate) full: bool,
    /// However many requests that means: without it, more than 10,000 slices of a resource are asked about first
    #[arg(long)]
    pub(crate) yes: bool,
    /// Go on with another `privacy_key` than the warehouse was written with: what is not read again keeps its old pseudonyms
    #[arg(long, requires = "full")]
    pub(crate) new_privacy_key: bool,
    #[command(flatten)]
    pub(crate) if_running: IfRunningArgs,
    /// Exit with 0 instead of 3 where a part failed: for schedulers that would take 3 for a failure
    #[arg(long)]
    pub(crate) partial_ok: bool,
}

/// Behaviour where another run of a pipeline is under way; every command that writes pipelines asks alike.
#[derive(Debug, Args)]
pub(crate) struct IfRunningArgs {
    /// Wait while another run of a pipeline is under way; without it, the pipeline fails and says whose run it is
    #[arg(long)]
    pub(crate) wait: bool,
    /// Leave a pipeline out while another run of it is under way; exit code 0 if the others are done
    #[arg(long, conflicts_with = "wait")]
    pub(crate) skip_if_running: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// Pipelines by name [default: all]
    pub(crate) pipelines: Vec<String>,
    #[command(flatten)]
    pub(crate) if_running: IfRunningArgs,
}

/// States that count as a transaction; every command that counts asks them alike.
#[derive(Debug, Args)]
pub(crate) struct TransactionStateArgs {
    /// The transaction states that count
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        default_value = "completed,consumed"
    )]
    pub(crate) states: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// The first instant counted: a date (in --timezone) or a time with its offset
    #[arg(long, value_name = "T")]
    pub(crate) from: String,
    /// The first instant no longer counted
    #[arg(long, value_name = "T")]
    pub(crate) to: String,
    /// Only this tenant (HecOne's mandator)
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) tenant: Option<String>,
    /// Only this source
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) counted: TransactionStateArgs,
    /// The zone in which dates and hours are cut: an IANA name, or an offset like +02:00
    #[arg(
        long,
        value_name = "ZONE",
        allow_hyphen_values = true,
        default_value = "UTC"
    )]
    pub(crate) timezone: String,
    /// timeline: hour after hour; of_day: 00 to 23 by each site's own clock
    #[arg(long, value_enum, default_value_t = HoursArg::Timeline)]
    pub(crate) hours: HoursArg,
    /// Sales, or purchases made elsewhere; they are never added up
    #[arg(long, value_enum, default_value_t = PerspectiveArg::Sale)]
    pub(crate) perspective: PerspectiveArg,
    /// Only transactions that pass: a Kendo UI filter descriptor
    #[arg(long, value_name = "JSON")]
    pub(crate) filter: Option<String>,
    /// Window that growth is measured against: previous (the window of equal length before),
    /// calendar (a month with the month before, the days of a month so far with as many of the month
    /// before, a day with the day before), last-year, or a window of its own as FROM..TO
    #[arg(long, value_name = "HOW", default_value = "previous")]
    pub(crate) compare: String,
    /// As the warehouse was after this run, or at this time
    #[arg(long, value_name = "RUN|T")]
    pub(crate) as_of: Option<String>,
    /// Write to this file instead of standard output, which - is too. A file is replaced as a whole and keeps its mode, a link is followed, a
    /// pipe or a device is written into
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// On a terminal, every row of every currency, not the leading currency alone; files and pipes get all of it anyway
    #[arg(long)]
    pub(crate) all: bool,
    /// Count from the transactions themselves, also where the roll-ups have the same answer sooner
    #[arg(long)]
    pub(crate) from_facts: bool,
}

impl StatsArgs {
    /// The file that is written; `None` for standard output, named or not.
    pub(crate) fn output_file(&self) -> Option<&Path> {
        let named = self.output.as_deref();
        named.filter(|file| !is_standard_output(file))
    }
}

#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The table or view, with or without its schema; without one, all there are are listed
    pub(crate) table: Option<String>,
    /// As the warehouse was after this run, or at this time
    #[arg(long, value_name = "RUN|T")]
    pub(crate) as_of: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The report, see below
    #[arg(hide_possible_values = true, value_parser = PossibleValuesParser::new(ReportName::ALL.map(ReportName::as_str)))]
    pub(crate) name: String,
    /// The first day, on each site's own clock
    #[arg(long, value_name = "DATE", requires = "to")]
    pub(crate) from: Option<String>,
    /// The first day no longer counted
    #[arg(long, value_name = "DATE", requires = "from")]
    pub(crate) to: Option<String>,
    /// The period: FROM..TO, or JSON
    #[arg(long, value_name = "PERIOD", conflicts_with = "from")]
    pub(crate) period1: Option<String>,
    /// The period it is compared with
    #[arg(long, value_name = "PERIOD")]
    pub(crate) period2: Option<String>,
    /// A SmartNow report request as JSON: a file, or - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["from", "period1", "period2"])]
    pub(crate) request: Option<PathBuf>,
    /// The day that relative dates count from: a date, or a time with its offset [default: today, UTC]
    #[arg(long, value_name = "T")]
    pub(crate) reference: Option<String>,
    /// Number of best-selling products
    #[arg(long, value_name = "N", default_value_t = DEFAULT_AMOUNT)]
    pub(crate) amount: usize,
    /// Number of codes in the event counts
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
    pub(crate) limit: usize,
    /// Only this tenant (SmartNow's user group)
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) tenant: Option<String>,
    /// Only this source
    #[arg(long, value_name = "SOURCE", value_parser = PossibleValuesParser::new(registry::NAMES))]
    pub(crate) source: Option<String>,
    /// Only these sites (SmartNow's locations), by key or by the provider's id
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub(crate) sites: Vec<String>,
    /// Only these devices (SmartNow's machines), by key or by the provider's id
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub(crate) devices: Vec<String>,
    /// Only the sites of these groups (SmartNow's location groups), beside those that --sites names
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub(crate) site_groups: Vec<String>,
    /// Only the devices of these groups (SmartNow's machine groups), beside those that --devices names
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub(crate) device_groups: Vec<String>,
    /// Whose logs events stand in: transaction, article, payment, receipt, device [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) scopes: Vec<String>,
    #[command(flatten)]
    pub(crate) counted: TransactionStateArgs,
    /// Sales, or purchases made elsewhere; they are never added up
    #[arg(long, value_enum, default_value_t = PerspectiveArg::Sale)]
    pub(crate) perspective: PerspectiveArg,
    /// As the warehouse was after this run, or at this time
    #[arg(long, value_name = "RUN|T")]
    pub(crate) as_of: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum HoursArg {
    Timeline,
    OfDay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PerspectiveArg {
    Sale,
    Purchase,
}

impl PerspectiveArg {
    /// `sale` or `purchase`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Purchase => "purchase",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RestatedArgs {
    /// The run to compare with, or a time: the last run that had finished by then
    #[arg(long, value_name = "RUN|T")]
    pub(crate) since: String,
    /// The run whose figures are the present ones [default: the newest]
    #[arg(long, value_name = "RUN|T")]
    pub(crate) as_of: Option<String>,
    /// Only hours from here on: a date (UTC) or a time with its offset
    #[arg(long, value_name = "T")]
    pub(crate) from: Option<String>,
    /// Only hours up to here, exclusive
    #[arg(long, value_name = "T")]
    pub(crate) to: Option<String>,
    /// Only this tenant (HecOne's mandator)
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) tenant: Option<String>,
    /// Only this source
    #[arg(long, value_name = "SOURCE", value_parser = PossibleValuesParser::new(registry::NAMES))]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) counted: TransactionStateArgs,
    /// Sales, or purchases made elsewhere
    #[arg(long, value_enum, default_value_t = PerspectiveArg::Sale)]
    pub(crate) perspective: PerspectiveArg,
    /// Only these periods [default: all three; csv: days]
    #[arg(long, value_enum)]
    pub(crate) by: Option<PeriodArg>,
    /// Most transactions to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) most: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PeriodArg {
    /// UTC hours.
    Hour,
    /// Every site's own days.
    Day,
    /// Every site's own months.
    Month,
}

#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    /// Pipelines by name [default: all]
    pub(crate) pipelines: Vec<String>,
    /// The first instant compared: a date (UTC) or a time with its offset
    #[arg(long, value_name = "T")]
    pub(crate) from: String,
    /// The first instant no longer compared
    #[arg(long, value_name = "T")]
    pub(crate) to: String,
    /// Window to compare at a time: 1h, 1d, 7d. What differs is then compared hour by hour
    #[arg(long, value_name = "LENGTH", default_value = "1d")]
    pub(crate) step: String,
    #[command(flatten)]
    pub(crate) counted: TransactionStateArgs,
    /// Figures to compare with [default: the most a source offers]
    #[arg(long, value_enum, conflicts_with = "control")]
    pub(crate) by: Option<ReconcileAgainstArg>,
    /// Compare with the totals in this CSV file instead of the provider's figures
    #[arg(long, value_name = "FILE.csv", value_hint = ValueHint::FilePath)]
    pub(crate) control: Option<PathBuf>,
    /// Only transactions that pass, on both sides: a Kendo UI filter descriptor, for example of one site's `site_id`
    #[arg(long, value_name = "JSON")]
    pub(crate) filter: Option<String>,
    /// The IANA zone in which the days of the control file are cut [default: every site's own clock]
    #[arg(
        long,
        value_name = "ZONE",
        allow_hyphen_values = true,
        requires = "control"
    )]
    pub(crate) timezone: Option<String>,
    /// Most transactions to name for a difference
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) most: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReconcileAgainstArg {
    /// The provider's own statistics, part by part.
    Statistics,
    /// The provider's own revenue by currency and day.
    Revenue,
    /// Number of the provider's records: completeness only.
    Records,
}

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The query, or several, each with a semicolon behind it; without one, a prompt (or the queries on standard input)
    pub(crate) query: Option<String>,
    /// Read the queries from this file; - is standard input
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "query")]
    pub(crate) file: Option<PathBuf>,
    /// The value of a parameter that the query names :day, $day or $1; may be repeated. It takes the place of a literal, never of SQL
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
    /// Write the result to this file, as its ending says: .csv, .json, .parquet or .xlsx; - is standard output, as --format says. A file is replaced
    /// as a whole, once the query is done
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Separator of the cells of CSV: a character like ; or |, or `tab` [default: a comma]
    #[arg(long, value_name = "CHARACTER", value_parser = separator)]
    pub(crate) csv_separator: Option<u8>,
    /// Text for null in tables, CSV and workbooks [default: NULL in tables, nothing in the others]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) null: Option<String>,
    /// As the warehouse was after this run, or at this time
    #[arg(long, value_name = "RUN|T")]
    pub(crate) as_of: Option<String>,
    /// Memory a query may use before it spills to disk, like 1GiB [default: the project's memory_limit]. The process ends a query that
    /// takes 128 MiB more
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_limit: Option<String>,
}

/// A character that may part cells: none that could be part of a number, a time or a word, no quote and no line end.
fn separator(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text == "tab" || text == "\\t" => Ok(b'\t'),
        [one]
            if matches!(one, b'\t' | b' ')
                || one.is_ascii_punctuation() && !br#""'-+._:"#.contains(one) =>
        {
            Ok(*one)
        }
        _ => Err("write one character, like ; or |, or tab".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The engine
    #[arg(value_enum)]
    pub(crate) engine: AttachedEngine,
    /// As the warehouse was after this run, or at this time
    #[arg(long, value_name = "RUN|T")]
    pub(crate) as_of: Option<String>,
}

/// Engines that a script can be written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AttachedEngine {
    /// DuckDB 1.5 or newer.
    Duckdb,
}

#[cfg(feature = "sandbox")]
#[derive(Debug, Args)]
pub(crate) struct SandboxArgs {
    /// The port on 127.0.0.1; 0 takes any that is free
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Number of HecOne transactions; the other APIs have fewer, in proportion
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) transactions: u64,
    /// The first day of traffic (UTC) [default: 30 days before the end]
    #[arg(long, value_name = "T")]
    pub(crate) from: Option<String>,
    /// The end of traffic, exclusive [default: now]
    #[arg(long, value_name = "T")]
    pub(crate) to: Option<String>,
    /// The same seed gives the same data
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// No refunds and voids, no records that do not fit, no site that gets another name
    #[arg(long)]
    pub(crate) plain: bool,
}

#[cfg(feature = "sandbox")]
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Number of transactions
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) transactions: u64,
    /// Folder of the project [default: a new temporary folder, which is kept]
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

#[cfg(test)]
#[path = "args_tests.rs"]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
