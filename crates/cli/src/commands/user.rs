//! `user`: the users of `tillhouse serve`, with what each may see.
//!
//! Invariant: a password is never an argument, which others on the machine could read, and is not shown as it is typed. Only the file of users is written.

use crate::args::{Cli, DataFormat, UserAddArgs, UserCommand};
use crate::commands::{engine, find_project, open_warehouse, read_given};
use crate::output::{TextTable, print, print_json, print_notice, print_text};
use crate::registry::SOURCES;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_lake::{AsOf, read_regular_text};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_pipeline::{Project, expected_of_project};
use tillhouse_query::Scope;
use tillhouse_serve::{
    NewUser, UserChange, Users, add_user, change_user, expect_user, remove_user,
};
use tillhouse_statistics::RequestedNames;

/// The file of users, in the project's folder.
pub(crate) const USERS_FILE: &str = "users.yaml";
/// Bytes of a password that is read, at most.
const MOST: u64 = 4_096;
/// Time in which the warehouse has to say which tenants it knows.
const ASKED_WITHIN: Duration = Duration::from_secs(5);
/// Reads a line from a terminal that does not show it. The shell puts the terminal right again also where it is interrupted, and `printf` is its own: nobody sees an argument.
const ASK: &str = "trap 'stty echo' EXIT; trap 'exit 130' INT TERM HUP; stty -echo || exit 1; IFS= read -r line; printf %s \"$line\"";

pub(crate) async fn run(cli: &Cli, command: &UserCommand, format: DataFormat) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let path = project.dir.join(USERS_FILE);
    match command {
        UserCommand::Add(arguments) => {
            add(&path, arguments)?;
            note_unknown(&project, arguments).await;
            Ok(ExitCode::SUCCESS)
        }
        UserCommand::List => list(&path, format),
        UserCommand::Remove { name } => remove(&path, name),
    }
}

fn add(path: &Path, arguments: &UserAddArgs) -> Result<()> {
    let set = |names: &[String]| (!names.is_empty()).then(|| names.iter().cloned().collect());
    let name = &arguments.name;
    expect_user(path, name, arguments.change)?;
    let password = match arguments.no_password {
        true => None,
        false => Some(password(arguments)?),
    };
    let (what, scope) = match arguments.change {
        true => {
            let change = UserChange {
                name: name.clone(),
                tenants: set(&arguments.tenants),
                pipelines: set(&arguments.pipelines),
                personal: arguments.personal,
                source_schemas: arguments.sources,
            };
            ("changed", change_user(path, &change, password.as_ref())?)
        }
        false => {
            let new = NewUser {
                name: name.clone(),
                scope: Scope {
                    tenants: set(&arguments.tenants),
                    pipelines: set(&arguments.pipelines),
                    personal: arguments.personal.unwrap_or(false),
                    source_schemas: arguments.sources.unwrap_or(false),
                },
            };
            add_user(path, &new, password.as_ref())?;
            ("added", new.scope)
        }
    };
    print_notice(&format!(
        "{what} {name} in {}: {}",
        path.display(),
        seen(&scope)
    ));
    print_notice("A server that runs knows it within seconds.");
    if path.parent().is_some_and(may_reach_git) {
        print_notice(&format!(
            "The project's .gitignore does not name {USERS_FILE}: add that line, so that hashes of passwords stay out of git."
        ));
    }
    Ok(())
}

/// Tells of pipelines and tenants that nothing is known of. They are no error: rights may be there before what they are rights to, and
/// outlive it.
async fn note_unknown(project: &Arc<Project>, arguments: &UserAddArgs) {
    for name in &arguments.pipelines {
        if let Err(error) = project.requested_pipelines(std::slice::from_ref(name), SOURCES) {
            note(&error);
        }
    }
    if arguments.tenants.is_empty() {
        return;
    }
    // A warehouse that cannot be asked, or not soon, says nothing of tenants.
    match tokio::time::timeout(ASKED_WITHIN, unknown_tenants(project, &arguments.tenants)).await {
        Ok(Ok(unknown)) => {
            for error in &unknown {
                note(error);
            }
        }
        Ok(Err(error)) => tracing::debug!("tenants are not looked up: {error}"),
        Err(_) => tracing::debug!("tenants are not looked up: the warehouse is slow"),
    }
}

/// Errors of tenants that the newest published run and the configuration do not know; none while nothing is published.
async fn unknown_tenants(project: &Arc<Project>, tenants: &[String]) -> Result<Vec<Error>> {
    let warehouse = open_warehouse(project).await?;
    let session = engine(project)?.open(&warehouse, &AsOf::Latest).await?;
    let session = session.expecting(expected_of_project(project, SOURCES));
    let mut unknown = Vec::new();
    for tenant in tenants {
        let names = RequestedNames {
            tenant: Some(tenant),
            ..RequestedNames::default()
        };
        match names.check(&session).await {
            Err(error) if error.kind() == ErrorKind::Config => unknown.push(error),
            outcome => outcome?,
        }
    }
    Ok(unknown)
}

fn note(error: &Error) {
    let message = error.message();
    let end = if message.ends_with('?') { "" } else { "." };
    let hint = error.hint_text().unwrap_or_default();
    print_notice(&format!(
        "note: {message}{end} {hint} By that name the user sees nothing."
    ));
}

/// True if a project's `.gitignore` does not keep the users out of git; where there is none, if the project is in a git repository.
fn may_reach_git(project: &Path) -> bool {
    match read_regular_text(&project.join(".gitignore")) {
        Ok(text) => !ignores_users(&text),
        Err(_) => project
            .ancestors()
            .any(|folder| folder.join(".git").exists()),
    }
}

/// True if a `.gitignore` names the users, as the one does that `init` writes.
fn ignores_users(gitignore: &str) -> bool {
    let lines = gitignore.lines().map(str::trim_end);
    let named = [USERS_FILE, "*.yaml", "*"];
    lines.fold(false, |is_ignored, line| {
        let pattern = line.strip_prefix('!').unwrap_or(line);
        let is_named = named.contains(&pattern.strip_prefix('/').unwrap_or(pattern));
        if is_named {
            !line.starts_with('!')
        } else {
            is_ignored
        }
    })
}

fn remove(path: &Path, name: &str) -> Result<ExitCode> {
    if !remove_user(path, name)? {
        return Err(Error::config(format!("there is no user {name:?}"))
            .at("file", path.display().to_string())
            .hint("`tillhouse user list` lists those there are."));
    }
    print_notice(&format!(
        "removed {name}; a server that runs lets nobody in by that name within seconds"
    ));
    Ok(ExitCode::SUCCESS)
}

/// A user, for whoever lists them.
#[derive(Serialize)]
struct ListedUser<'a> {
    name: &'a str,
    /// Null for all.
    tenants: Option<Vec<&'a str>>,
    /// Null for all.
    pipelines: Option<Vec<&'a str>>,
    personal: bool,
    sources: bool,
    timeout_seconds: u64,
    memory_bytes: usize,
    concurrency: usize,
}

fn list(path: &Path, format: DataFormat) -> Result<ExitCode> {
    let users = Users::load_if_there(path)?;
    let users: Vec<ListedUser<'_>> = users
        .iter()
        .flat_map(Users::all)
        .map(|user| ListedUser {
            name: &user.name,
            tenants: names(user.scope.tenants.as_ref()),
            pipelines: names(user.scope.pipelines.as_ref()),
            personal: user.scope.personal,
            sources: user.scope.source_schemas,
            timeout_seconds: user.timeout.as_secs(),
            memory_bytes: user.memory,
            concurrency: user.concurrency,
        })
        .collect();
    let joined = |names: &Option<Vec<&str>>| names.as_ref().map(|names| names.join(" "));
    match format {
        DataFormat::Json => print_json(&users)?,
        DataFormat::Csv(style) => {
            let mut text = String::from("name,tenants,pipelines,personal,sources\n");
            for user in &users {
                let cell = |names| style.cell(&joined(names).unwrap_or_default());
                text.push_str(&format!(
                    "{},{},{},{},{}\n",
                    style.cell(user.name),
                    cell(&user.tenants),
                    cell(&user.pipelines),
                    user.personal,
                    user.sources
                ));
            }
            print(&text)?;
        }
        DataFormat::Table => {
            let mut table = TextTable::new();
            table.set_header([
                "name",
                "tenants",
                "pipelines",
                "personal columns",
                "source schemas",
            ]);
            let word = |is_seen: bool| match is_seen {
                true => "yes".to_owned(),
                false => "no".to_owned(),
            };
            for user in &users {
                let cell = |names| joined(names).unwrap_or_else(|| "all".to_owned());
                table.add_row([
                    user.name.to_owned(),
                    cell(&user.tenants),
                    cell(&user.pipelines),
                    word(user.personal),
                    word(user.sources),
                ]);
            }
            print_text(&format!("{table}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn names(set: Option<&std::collections::BTreeSet<String>>) -> Option<Vec<&str>> {
    set.map(|set| set.iter().map(String::as_str).collect())
}

/// A scope, in words.
pub(crate) fn seen(scope: &Scope) -> String {
    let of = |what: &str, set: Option<&std::collections::BTreeSet<String>>| match names(set) {
        None => format!("all {what}"),
        Some(names) => format!("{what} {}", names.join(", ")),
    };
    let mut parts = vec![
        of("tenants", scope.tenants.as_ref()),
        of("pipelines", scope.pipelines.as_ref()),
    ];
    for (is_seen, what) in [
        (scope.personal, "personal columns"),
        (scope.source_schemas, "source schemas"),
    ] {
        let word = if is_seen { "with" } else { "without" };
        parts.push(format!("{word} {what}"));
    }
    parts.join("; ")
}

/// The password: of a file, of standard input, or asked for twice on the terminal.
fn password(arguments: &UserAddArgs) -> Result<SecretString> {
    if let Some(file) = &arguments.password_file {
        return of_file(file);
    }
    let mut stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return first_line(&mut stdin).or_error(
            ErrorKind::Config,
            "the password cannot be read from standard input",
        );
    }
    let first = asked(&format!("Password of {}: ", arguments.name))?;
    let second = asked("Once more: ")?;
    match first.expose_secret() == second.expose_secret() {
        true => Ok(first),
        false => Err(Error::config("the two passwords are not the same")),
    }
}

fn of_file(file: &Path) -> Result<SecretString> {
    let failed = "the password cannot be read";
    let text = read_given(file, failed)?;
    first_line(&mut text.as_bytes()).or_error(ErrorKind::Config, failed)
}

/// The first line of a reader, without its end.
fn first_line(reader: &mut impl Read) -> std::io::Result<SecretString> {
    let mut text = String::new();
    reader.take(MOST).read_to_string(&mut text)?;
    let line = text.trim_end_matches(['\r', '\n']);
    Ok(SecretString::from(line.to_owned()))
}

/// Asks on the terminal, which does not show what is typed.
fn asked(question: &str) -> Result<SecretString> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let hint = "Give the password in a file, --password-file FILE, or on standard input.";
    let failed = || Error::config("the password cannot be asked for").hint(hint);
    let _ = write!(std::io::stderr().lock(), "{question}");
    let terminal = std::fs::File::open("/dev/tty").map_err(|_| failed())?;
    let answer = Command::new("sh")
        .args(["-c", ASK])
        .stdin(terminal)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|_| failed())?;
    print_notice("");
    if answer.status.code() == Some(130) {
        return Err(Error::new(ErrorKind::Interrupted, "stopped"));
    }
    let text = String::from_utf8(answer.stdout).map_err(|_| failed())?;
    match answer.status.success() {
        true => Ok(SecretString::from(text)),
        false => Err(failed()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_stands_there_but_for_the_end_of_the_line() {
        let read = |text: &str| {
            let secret = first_line(&mut text.as_bytes()).unwrap();
            secret.expose_secret().to_owned()
        };
        assert_eq!(read(" with blanks \r\n"), " with blanks ");
        assert_eq!(read("plain"), "plain");
    }

    #[test]
    fn a_gitignore_keeps_the_users_out_where_a_line_names_them() {
        for text in [
            ".env\nusers.yaml\nwarehouse/\n",
            "/users.yaml",
            "*.yaml\r\n!pipeline.yaml\r\n",
            "!users.yaml\nusers.yaml",
        ] {
            assert!(ignores_users(text), "{text}");
        }
        for text in [
            "",
            ".env\nwarehouse/\n",
            "# users.yaml",
            "other/users.yaml",
            "*.yaml\n!users.yaml",
        ] {
            assert!(!ignores_users(text), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        assert!(may_reach_git(folder.path()));
        std::fs::write(folder.path().join(".gitignore"), "users.yaml\n").unwrap();
        assert!(!may_reach_git(folder.path()));
    }

    #[test]
    fn what_is_seen_is_said_in_words() {
        let scope = Scope {
            tenants: Some(["a".to_owned(), "b".to_owned()].into()),
            pipelines: None,
            personal: false,
            source_schemas: true,
        };
        assert_eq!(
            seen(&scope),
            "tenants a, b; all pipelines; without personal columns; with source schemas"
        );
    }
}
