//! Commands of the prompt: what they are called, and what they do.
//!
//! Invariant: each command stands once in [`COMMANDS`], which help, completion and [`PromptCommand::parse`] go by; a command changes how things are shown, and no data.

use tillhouse_model::did_you_mean::nearest;
use tillhouse_model::{Error, Result};

/// A command, for help.
pub(super) struct CommandHelp {
    /// Its names; the first is the usual one.
    pub(super) names: &'static [&'static str],
    /// Its argument.
    pub(super) argument: &'static str,
    /// Description of its effect.
    pub(super) does: &'static str,
}

const fn command(
    names: &'static [&'static str],
    argument: &'static str,
    does: &'static str,
) -> CommandHelp {
    CommandHelp {
        names,
        argument,
        does,
    }
}

/// The commands.
pub(super) const COMMANDS: &[CommandHelp] = &[
    command(
        &["\\dt", "\\dt+"],
        "[PATTERN]",
        "tables, like \\dt hecone.*; + says what they are",
    ),
    command(
        &["\\d", "\\d+"],
        "[TABLE]",
        "columns and types; + says what they mean",
    ),
    command(&["\\df"], "[PATTERN]", "functions, like \\df *date*"),
    command(
        &["\\x"],
        "[on|off|auto]",
        "each row as a record; auto: where it is too wide",
    ),
    command(&["\\table", "\\json", "\\csv"], "", "form of results"),
    command(&["\\timing"], "[on|off]", "the time that queries take"),
    command(&["\\pager"], "[on|off]", "long results through $PAGER"),
    command(
        &["\\o"],
        "[FILE]",
        "next result into x.csv, .json, .parquet or .xlsx",
    ),
    command(&["\\i"], "FILE", "run the queries of a file"),
    command(
        &["\\e"],
        "[FILE]",
        "edit the last query, or a file, in $EDITOR",
    ),
    command(&["\\?", "\\h", "help"], "", "this"),
    command(&["\\q", "quit", "exit"], "", "leave; so does Ctrl-D"),
];

/// The text of `help`.
pub(super) fn help() -> String {
    let mut text = "A query ends with a semicolon and may take several lines.\nTab completes, Ctrl-C stops a query.\n".to_owned();
    for command in COMMANDS {
        let names = command.names.join(" ");
        let call = format!("{names} {}", command.argument);
        text.push_str(&format!("  {:<24} {}\n", call.trim_end(), command.does));
    }
    text
}

/// A command with its argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PromptCommand {
    Quit,
    Help,
    Tables {
        pattern: Option<String>,
        is_full: bool,
    },
    Describe {
        table: String,
        is_full: bool,
    },
    Functions(Option<String>),
    Expanded(Option<String>),
    Format(ResultFormat),
    Timing(Option<bool>),
    Pager(Option<bool>),
    Output(Option<String>),
    Include(String),
    Edit(Option<String>),
}

/// Form of results that a command sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResultFormat {
    Table,
    Json,
    Csv,
}

impl PromptCommand {
    /// The command that a line is; `None` where it is a query.
    pub(super) fn parse(line: &str) -> Option<Result<Self>> {
        let line = line.trim().trim_end_matches(';').trim_end();
        match line.to_lowercase().as_str() {
            "quit" | "exit" => return Some(Ok(Self::Quit)),
            "help" => return Some(Ok(Self::Help)),
            _ => {}
        }
        if !line.starts_with('\\') {
            return None;
        }
        let (name, argument) = line
            .split_once(char::is_whitespace)
            .map_or((line, ""), |(name, rest)| (name, rest.trim()));
        let optional = || (!argument.is_empty()).then(|| argument.to_owned());
        let needed = |what: &str| {
            optional().ok_or_else(|| {
                Error::config(format!("{name} needs {what}")).hint("\\? lists the commands.")
            })
        };
        Some(match name {
            "\\q" => Ok(Self::Quit),
            "\\?" | "\\h" => Ok(Self::Help),
            "\\dt" | "\\dt+" => Ok(Self::Tables {
                pattern: optional(),
                is_full: name.ends_with('+'),
            }),
            "\\d" | "\\d+" => {
                let is_full = name.ends_with('+');
                Ok(match optional() {
                    Some(table) => Self::Describe { table, is_full },
                    None => Self::Tables {
                        pattern: None,
                        is_full,
                    },
                })
            }
            "\\df" => Ok(Self::Functions(optional())),
            "\\x" => Ok(Self::Expanded(optional())),
            "\\table" => Ok(Self::Format(ResultFormat::Table)),
            "\\json" => Ok(Self::Format(ResultFormat::Json)),
            "\\csv" => Ok(Self::Format(ResultFormat::Csv)),
            "\\timing" => switch(name, argument).map(Self::Timing),
            "\\pager" => switch(name, argument).map(Self::Pager),
            "\\o" => Ok(Self::Output(optional().map(unquoted))),
            "\\i" => needed("a file").map(unquoted).map(Self::Include),
            "\\e" => Ok(Self::Edit(optional().map(unquoted))),
            other => Err(unknown(other)),
        })
    }
}

/// A file's name without the quotes around it: names may have blanks without them too.
fn unquoted(name: String) -> String {
    let inside = |quote: char| name.strip_prefix(quote)?.strip_suffix(quote);
    match inside('\'').or_else(|| inside('"')) {
        Some(inside) if !inside.is_empty() => inside.to_owned(),
        _ => name,
    }
}

/// `on`, `off`, or the other one than now.
fn switch(name: &str, argument: &str) -> Result<Option<bool>> {
    match argument.to_lowercase().as_str() {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        other => Err(Error::config(format!("{name} is on or off, not {other}"))),
    }
}

fn unknown(name: &str) -> Error {
    let names: Vec<&str> = COMMANDS
        .iter()
        .flat_map(|command| command.names)
        .copied()
        .collect();
    let error = Error::config(format!("there is no command {name}"));
    match nearest(name, &names).filter(|_| name.len() > 3) {
        Some(meant) => error.hint(format!("Did you mean {meant}? \\? lists them.")),
        None => error.hint("\\? lists them."),
    }
}

/// True if a name fits a pattern: `*` stands for any letters, `?` for one; without them the pattern is a part of the name.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return name.contains(pattern);
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    // Where the last star was, and what it had taken by then.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_help_is_known() {
        for command in COMMANDS {
            for name in command.names {
                let line = format!(
                    "{name} {}",
                    if command.argument.is_empty() {
                        ""
                    } else {
                        "on"
                    }
                );
                let line = if command.argument.contains("on|off") {
                    line
                } else {
                    line.replace(" on", " x")
                };
                assert!(matches!(PromptCommand::parse(&line), Some(Ok(_))), "{line}");
                assert!(help().contains(name), "{name}");
            }
        }
        assert!(
            help().lines().all(|line| line.chars().count() <= 80),
            "{}",
            help()
        );
    }

    #[test]
    fn a_line_is_a_command_or_a_query() {
        let tables = |pattern: Option<&str>, is_full| PromptCommand::Tables {
            pattern: pattern.map(str::to_owned),
            is_full,
        };
        let describe = |table: &str, is_full| PromptCommand::Describe {
            table: table.to_owned(),
            is_full,
        };
        for (line, command) in [
            ("\\d", tables(None, false)),
            ("\\dt+ s*", tables(Some("s*"), true)),
            ("\\d sites;", describe("sites", false)),
            (
                "\\d+  hecone.transactions ",
                describe("hecone.transactions", true),
            ),
            ("\\o", PromptCommand::Output(None)),
            (
                "\\o my file.csv",
                PromptCommand::Output(Some("my file.csv".to_owned())),
            ),
            ("\\timing", PromptCommand::Timing(None)),
            ("\\timing OFF", PromptCommand::Timing(Some(false))),
            (
                "\\i my file.sql",
                PromptCommand::Include("my file.sql".to_owned()),
            ),
            (
                "\\i 'my file.sql';",
                PromptCommand::Include("my file.sql".to_owned()),
            ),
            (
                "\\e \"it's.sql\"",
                PromptCommand::Edit(Some("it's.sql".to_owned())),
            ),
            ("\\o ''", PromptCommand::Output(Some("''".to_owned()))),
            ("EXIT;", PromptCommand::Quit),
            ("help", PromptCommand::Help),
        ] {
            assert_eq!(
                PromptCommand::parse(line).and_then(Result::ok),
                Some(command),
                "{line}"
            );
        }
        assert_eq!(
            PromptCommand::parse("SELECT '\\q';").map(|found| found.is_ok()),
            None
        );
        for (line, message) in [
            ("\\timming", "there is no command \\timming"),
            ("\\i", "\\i needs a file"),
            ("\\timing soon", "\\timing is on or off, not soon"),
        ] {
            let error = PromptCommand::parse(line).and_then(Result::err);
            assert_eq!(
                error.map(|error| error.message().to_owned()).as_deref(),
                Some(message)
            );
        }
    }

    #[test]
    fn patterns_fit_names() {
        for (pattern, name, is_fit) in [
            ("pay", "payments", true),
            ("hecone.*", "hecone.transactions", true),
            ("hecone.*", "latest.hecone_transactions", false),
            ("*date*", "to_date", true),
            ("*ate", "to_date", true),
            ("s?tes", "sites", true),
            ("*a*b*c", "xxaxxbxxbc", true),
            ("*a*b*c", "xxaxxbxxb", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(fits(pattern, name), is_fit, "{pattern} {name}");
        }
    }
}
