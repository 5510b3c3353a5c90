//! Arguments and help of the commands of the server: `serve` and `user`.
//!
//! Invariant: nothing is decided here; a password is never an argument, which others on the machine could read.

use clap::{Args, Subcommand, ValueHint};
use std::net::SocketAddr;
use std::path::PathBuf;

pub(super) const SERVE_HELP: &str = "\
Examples:
  tillhouse serve                                   until Ctrl-C, SIGTERM or SIGHUP; running requests are answered first
  tillhouse serve --check                           what it would listen on, who may come in, and what would keep it from starting
  curl 'http://127.0.0.1:8373/api/v1/statistics?from=2026-01-01&to=2026-02-01'
  curl -H 'Accept: text/csv' 'http://127.0.0.1:8373/api/v1/reports/summary'
  curl 'http://127.0.0.1:8373/api/v1/sql' --json '{\"query\": \"SELECT currency, sum(amount) FROM counted GROUP BY 1\"}'
  tillhouse serve --postgres 127.0.0.1:5432         psql \"host=127.0.0.1 dbname=tillhouse\", drivers, BI tools
  tillhouse serve --flight 127.0.0.1:32010          ADBC, JDBC and whatever else speaks Flight SQL

http://127.0.0.1:8373/docs/ shows every path and its parameters; /openapi.json is the document, /metrics is for Prometheus.
A client that was written against HecOne works with this address as its base URL: POST /auth/login takes what
`serve.hecone_login` in tillhouse.yaml says, GET /transactions/statistics answers in HecOne's shape.
It reads the warehouse and writes nothing but its audit log. A new run is seen within seconds. docs/serve.md has it all.";

pub(super) const USER_HELP: &str = "\
Examples:
  tillhouse user add reporting --tenant north-fuels       asks for a password of 12 characters or more
  tillhouse user add analyst --personal --sources < password.txt
  tillhouse user add anna@example.org --no-password        for tokens of the provider that `serve.oidc` names
  tillhouse user add reporting --change --tenant city-fuels   another password, other tenants; what is not named stays
  tillhouse user list
  tillhouse user remove reporting

The users stand in users.yaml beside tillhouse.yaml, as hashes. Once there is one, nobody is answered without a name and a
password, or a token: one that POST /auth/login gives for them, or of the provider that `serve.oidc` names. docs/serve.md says what each of them sees.";

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user, or with --change give one another password and other rights
    Add(UserAddArgs),
    /// The users, and what they may see
    List,
    /// Remove a user; tokens end with it
    Remove {
        /// The user's name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UserAddArgs {
    /// The user's name: letters, digits and . _ @ -
    pub(crate) name: String,
    /// Change a user who is there: another password, and the rights that are named here; the others stay
    #[arg(long)]
    pub(crate) change: bool,
    /// Only this tenant's rows; may be repeated [default: all]
    #[arg(long = "tenant", value_name = "TENANT")]
    pub(crate) tenants: Vec<String>,
    /// Only this pipeline's rows; may be repeated [default: all]
    #[arg(long = "pipeline", value_name = "PIPELINE")]
    pub(crate) pipelines: Vec<String>,
    /// Personal columns too, which are pseudonyms; with --change, `--personal=false` takes them away
    #[arg(
        long,
        value_name = "IS_SEEN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) personal: Option<bool>,
    /// The schemas of sources too, or `--sources=false`; they tell no tenants apart, so that a user of some tenants sees none of them
    #[arg(
        long,
        value_name = "IS_SEEN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) sources: Option<bool>,
    /// File with the password [default: asked for on a terminal, else standard input]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) password_file: Option<PathBuf>,
    /// No password: only tokens of the provider that `serve.oidc` names let the user in
    #[arg(long, conflicts_with = "password_file")]
    pub(crate) no_password: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on, of this machine alone unless there are users and TLS; port 0 takes any that is free [default: serve.listen, else 127.0.0.1:8373]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Address to listen on for PostgreSQL's protocol too (psql, drivers, BI tools), of this machine alone unless there are users and TLS [default: serve.postgres, else none]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) postgres: Option<SocketAddr>,
    /// Address to listen on for Flight SQL too (ADBC, JDBC), of this machine alone unless there are users and TLS [default: serve.flight, else none]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) flight: Option<SocketAddr>,
    /// Say what it would listen on, who may come in and what would keep it from starting, and end
    #[arg(long)]
    pub(crate) check: bool,
}
