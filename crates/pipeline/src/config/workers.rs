//! The key `workers` of tillhouse.yaml, and the variables by which coordinator and workers know each other.
//!
//! Invariant: what comes out has an address for each entry that was written, and all three files of mutual TLS or none. Secrets come from the environment or `.env`, never from a file that is in git.

use crate::environment::Environment;
use crate::yaml::{YamlFile, error_at};
use std::path::{Path, PathBuf};
use tillhouse_model::yaml::Spanned;
use tillhouse_model::{Error, Result, Secret};

/// Variable with the token that coordinator and workers share.
const TOKEN: &str = "TILLHOUSE_WORKERS_TOKEN";
/// Variables with the files of mutual TLS: the authority, this machine's certificate, and its key.
const FILES: [&str; 3] = [
    "TILLHOUSE_WORKERS_CA",
    "TILLHOUSE_WORKERS_CERTIFICATE",
    "TILLHOUSE_WORKERS_KEY",
];

/// Workers that help with questions, and what these are known by.
#[derive(Debug, Clone, Default)]
pub struct WorkerSettings {
    /// Addresses of workers, host and port; none where everything runs on this machine.
    pub addresses: Vec<String>,
    /// Token that all machines share.
    pub token: Option<Secret>,
    /// Files for mutual TLS.
    pub certificates: Option<WorkerCertificates>,
}

/// Files for mutual TLS between coordinator and workers, PEM all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCertificates {
    /// Certificate of the authority that both sides trust.
    pub authority: PathBuf,
    /// Certificate of this machine.
    pub certificate: PathBuf,
    /// Private key of that certificate.
    pub key: PathBuf,
}

/// The settings, and what is wrong with them. Relative paths are below `dir`.
pub(super) fn settings(
    file: &YamlFile,
    addresses: &[Spanned<String>],
    environment: &Environment,
    dir: &Path,
) -> (WorkerSettings, Vec<Error>) {
    let mut problems = Vec::new();
    let checked = addresses.iter().map(|text| address(file, text));
    let addresses = checked
        .filter_map(|checked| checked.map_err(|error| problems.push(error)).ok())
        .collect();
    let certificates = match certificates(environment, dir) {
        Ok(certificates) => certificates,
        Err(error) => {
            problems.push(error);
            None
        }
    };
    let token = environment.get(TOKEN).filter(|token| !token.is_empty());
    let settings = WorkerSettings {
        addresses,
        token: token.map(Secret::new),
        certificates,
    };
    (settings, problems)
}

fn address(file: &YamlFile, text: &Spanned<String>) -> Result<String> {
    let written = text.value.trim();
    let is_address = written.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    match is_address {
        true => Ok(written.to_owned()),
        false => {
            let what = format!("`workers` names {written:?}, and must name hosts and ports");
            Err(error_at(file, text.referenced, what)
                .hint("Write it like `workers: [worker-1:7433, worker-2:7433]`."))
        }
    }
}

fn certificates(environment: &Environment, dir: &Path) -> Result<Option<WorkerCertificates>> {
    let paths = FILES.map(|name| environment.get(name).filter(|path| !path.is_empty()));
    match paths {
        [Some(authority), Some(certificate), Some(key)] => Ok(Some(WorkerCertificates {
            authority: dir.join(authority),
            certificate: dir.join(certificate),
            key: dir.join(key),
        })),
        [None, None, None] => Ok(None),
        _ => Err(Error::config(format!(
            "of {} some are set and some are not",
            FILES.join(", ")
        ))
        .hint("Set all three for certificates on both sides, or none of them.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Written {
        workers: Vec<Spanned<String>>,
    }

    fn read(text: &str, variables: &[(&str, &str)]) -> (WorkerSettings, Vec<Error>) {
        let file = YamlFile::of("tillhouse.yaml".into(), text.to_owned());
        let written: Written = file.parse().unwrap();
        let variables = variables.iter();
        let environment = Environment::of(
            variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        settings(&file, &written.workers, &environment, Path::new("project"))
    }

    #[test]
    fn workers_are_hosts_and_ports() {
        let (settings, problems) = read("workers: [worker-1:7433, \"[::1]:7434\"]\n", &[]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(settings.addresses, ["worker-1:7433", "[::1]:7434"]);
        assert!(settings.token.is_none() && settings.certificates.is_none());
        let (settings, problems) = read("workers:\n  - worker-1\n  - :7433\n  - a:1\n", &[]);
        assert_eq!(settings.addresses, ["a:1"]);
        assert_eq!(problems.len(), 2);
        assert!(
            problems[0].to_string().contains("tillhouse.yaml:2"),
            "{}",
            problems[0]
        );
    }

    #[test]
    fn secrets_and_files_come_from_the_environment() {
        let text = "workers: [a:1]\n";
        let all = [
            (TOKEN, "s3cret"),
            (FILES[0], "ca.pem"),
            (FILES[1], "me.pem"),
            (FILES[2], "/keys/me.pem"),
        ];
        let (settings, problems) = read(text, &all);
        assert!(problems.is_empty(), "{problems:?}");
        assert!(!format!("{settings:?}").contains("s3cret"));
        assert_eq!(settings.token.unwrap().expose(), "s3cret");
        let certificates = settings.certificates.unwrap();
        assert_eq!(certificates.authority, Path::new("project/ca.pem"));
        assert_eq!(certificates.key, Path::new("/keys/me.pem"));
        let (_, problems) = read(text, &all[..2]);
        assert_eq!(problems.len(), 1, "one file of three");
    }
}
