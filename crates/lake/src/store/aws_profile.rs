//! Profiles of `~/.aws/config` and `~/.aws/credentials`, which object_store does not read.
//!
//! Invariant: pure but for [`ProfileFiles::load`] and [`run_process`]; no error shows a value. A profile is what the two files say of it together; where both
//! say a key, the credentials file wins, as it does with AWS' own tools.
//!
//! ```text
//!   [profile tills]              ~/.aws/config: sections are `default` and `profile NAME`; `sso-session NAME` and `services NAME` are passed over
//!   region = eu-central-1
//!   [tills]                      ~/.aws/credentials: a section is a profile
//!   aws_access_key_id = AKIA...
//! ```
//!
//! Deliberately absent: assumed roles (`source_profile`) and single sign-on. Both need AWS' own sign-in protocols; `credential_process` with
//! `aws configure export-credentials` does them, and the error says so.

use crate::store::special_file::read_regular_text;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, Secret};

/// The longest time a `credential_process` may take.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(30);

/// Sections of a profile file: name to keys and values.
type ProfileSections = BTreeMap<String, BTreeMap<String, String>>;

/// The two files, as far as they are there.
#[derive(Default)]
pub(crate) struct ProfileFiles {
    profiles: ProfileSections,
    /// The files that were looked for, for messages.
    places: Vec<PathBuf>,
}

/// Content of a profile.
#[derive(Debug, Clone, Default)]
pub(crate) struct AwsProfile {
    pub(crate) region: Option<String>,
    pub(crate) endpoint_url: Option<String>,
    pub(crate) credentials: Option<ProfileCredentials>,
}

/// Credentials of a profile, or the way to them.
#[derive(Debug, Clone)]
pub(crate) enum ProfileCredentials {
    Keys(AwsKeys),
    /// A program and its arguments, which prints keys as JSON.
    Process(Vec<String>),
    WebIdentity {
        token_file: String,
        role_arn: String,
        session_name: Option<String>,
    },
}

/// A key pair, with the token that temporary ones have.
#[derive(Debug, Clone)]
pub(crate) struct AwsKeys {
    pub(crate) access_key_id: Secret,
    pub(crate) secret_access_key: Secret,
    pub(crate) session_token: Option<Secret>,
}

impl ProfileFiles {
    /// Reads the files that the variables name, or those in the home folder. A file that is not there is none.
    pub(crate) fn load(variables: &BTreeMap<String, String>) -> Result<Self> {
        let variable = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        let home = variable("HOME").or_else(|| variable("USERPROFILE"));
        let place = |name: &str, file: &str| {
            variable(name)
                .map(|path| match (path.strip_prefix("~/"), home) {
                    (Some(below), Some(home)) => Path::new(home).join(below),
                    _ => PathBuf::from(path),
                })
                .or_else(|| home.map(|home| Path::new(home).join(".aws").join(file)))
        };
        let config = place("AWS_CONFIG_FILE", "config");
        let credentials = place("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let text = |path: &Option<PathBuf>| match path
            .as_ref()
            .map(|path| (path, read_regular_text(path)))
        {
            None => Ok(String::new()),
            Some((_, Ok(text))) => Ok(text),
            Some((_, Err(error)))
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(String::new())
            }
            Some((path, Err(error))) => Err(Error::config("a file of AWS profiles cannot be read")
                .at("file", path.display().to_string())
                .because(error)),
        };
        let mut files = Self::parse(&text(&config)?, &text(&credentials)?);
        files.places = [config, credentials].into_iter().flatten().collect();
        Ok(files)
    }

    /// The profiles of two files' texts.
    pub(crate) fn parse(config: &str, credentials: &str) -> Self {
        let mut profiles = ProfileSections::new();
        for (section, keys) in sections(config) {
            let words: Vec<&str> = section.split_whitespace().collect();
            let name = match words.as_slice() {
                ["default"] | ["profile", "default"] => "default".to_owned(),
                ["profile", name @ ..] if !name.is_empty() => name.join(" "),
                _ => continue,
            };
            profiles.entry(unquoted(&name)).or_default().extend(keys);
        }
        for (section, keys) in sections(credentials) {
            profiles.entry(unquoted(&section)).or_default().extend(keys);
        }
        Self {
            profiles,
            places: Vec::new(),
        }
    }

    /// A profile by name; `None` where the files do not have it.
    ///
    /// Errors with [`ErrorKind::Config`] where it asks for a sign-in that is not done here, or says half of what it must.
    pub(crate) fn profile(&self, name: &str) -> Result<Option<AwsProfile>> {
        let Some(keys) = self.profiles.get(name) else {
            return Ok(None);
        };
        let value = |key: &str| keys.get(key).filter(|value| !value.is_empty()).cloned();
        let wrong = |why: &str| {
            Error::config(format!("the AWS profile `{name}` {why}")).at("files", self.places())
        };
        let credentials = match (value("aws_access_key_id"), value("aws_secret_access_key")) {
            (Some(id), Some(secret)) => Some(ProfileCredentials::Keys(AwsKeys {
                access_key_id: Secret::new(id),
                secret_access_key: Secret::new(secret),
                session_token: value("aws_session_token").map(Secret::new),
            })),
            (Some(_), None) => {
                return Err(
                    wrong("has an aws_access_key_id and no aws_secret_access_key")
                        .hint("Add the other one."),
                );
            }
            (None, Some(_)) => {
                return Err(
                    wrong("has an aws_secret_access_key and no aws_access_key_id")
                        .hint("Add the other one."),
                );
            }
            (None, None) => {
                match (
                    value("web_identity_token_file"),
                    value("role_arn"),
                    value("credential_process"),
                ) {
                    (Some(token_file), Some(role_arn), _) => {
                        Some(ProfileCredentials::WebIdentity {
                            token_file,
                            role_arn,
                            session_name: value("role_session_name"),
                        })
                    }
                    (_, _, Some(command)) => {
                        let words = words(&command).filter(|words| !words.is_empty()).ok_or_else(|| {
                        wrong("has a credential_process with a quotation mark that does not end").hint("Close it.")
                    })?;
                        Some(ProfileCredentials::Process(words))
                    }
                    (_, role, None)
                        if role.is_some() || keys.keys().any(|key| key.starts_with("sso_")) =>
                    {
                        let what = if role.is_some() {
                            "takes on a role"
                        } else {
                            "signs in by single sign-on"
                        };
                        return Err(wrong(&format!("{what}, which is not done here")).hint(format!(
                        "Let AWS' own tool do it: in a profile of its own, write credential_process = aws configure export-credentials --profile \
                         {name} --format process, and name that profile."
                    )));
                    }
                    _ => None,
                }
            }
        };
        Ok(Some(AwsProfile {
            region: value("region"),
            endpoint_url: value("endpoint_url"),
            credentials,
        }))
    }

    /// Error of a profile that was asked for by name and is not there.
    pub(crate) fn missing(&self, name: &str) -> Error {
        let mut known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
        known.truncate(10);
        let hint = match known.is_empty() {
            true => "There are no profiles at all: `aws configure` makes one, or set access_key_id and secret_access_key in \
                     warehouse.options."
                .to_owned(),
            false => format!("There are: {}.", known.join(", ")),
        };
        Error::config(format!("there is no AWS profile `{name}`"))
            .at("files", self.places())
            .hint(hint)
    }

    fn places(&self) -> String {
        let places: Vec<String> = self
            .places
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        places.join(", ")
    }
}

/// Sections of a profile file. Lines that are indented belong to the key before them (`s3 =`), and are passed over.
fn sections(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = trimmed.strip_prefix('[') {
            // The text behind the bracket is a comment.
            let name = section.split(']').next().unwrap_or_default();
            found.push((name.trim().to_owned(), BTreeMap::new()));
            continue;
        }
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let (Some((_, keys)), Some((key, value))) = (found.last_mut(), trimmed.split_once('='))
        else {
            continue;
        };
        // A comment after a value begins with a space: keys hold # and ; themselves.
        let value = [" #", " ;", "\t#", "\t;"]
            .iter()
            .filter_map(|mark| value.find(mark))
            .min()
            .map_or(value, |end| value.get(..end).unwrap_or(value));
        keys.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
    }
    found
}

fn unquoted(name: &str) -> String {
    name.trim_matches(['"', '\'']).to_owned()
}

/// Words of a command line as a shell cuts them, with quotation marks and without anything else of a shell; `None` where one does not end.
fn words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Runs a `credential_process` and reads the keys that it prints.
pub(crate) async fn run_process(words: &[String]) -> Result<AwsKeys> {
    /// Output of a `credential_process`.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ProcessOutput {
        access_key_id: Secret,
        secret_access_key: Secret,
        session_token: Option<Secret>,
    }
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Error::internal("an empty command"))?;
    let wrong = |what: &str| {
        Error::config(format!("the credential_process of an AWS profile {what}"))
            .at("program", program)
    };
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PROCESS_TIMEOUT, child)
        .await
        .map_err(|_| {
            wrong("took more than 30 s").hint("It gets no input: it must not ask for a password.")
        })?
        .or_error(
            ErrorKind::Config,
            "the credential_process of an AWS profile cannot be run",
        )
        .map_err(|error| error.at("program", program))?;
    if !output.status.success() {
        return Err(wrong(&format!("failed ({})", output.status))
            .hint("Run it by hand: it says there why."));
    }
    // The parser's own words may hold a key.
    let ProcessOutput {
        access_key_id,
        secret_access_key,
        session_token,
    } = serde_json::from_slice(&output.stdout).map_err(|_| {
        wrong("printed something else than keys")
            .hint("It must print JSON with Version, AccessKeyId and SecretAccessKey.")
    })?;
    Ok(AwsKeys {
        access_key_id,
        secret_access_key,
        session_token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\u{feff}# mine
[default]
region = eu-central-1   # Frankfurt
output=json
s3 =
    max_concurrent_requests = 20
    region = nowhere

[profile tills]
region=eu-west-1
endpoint_url = http://127.0.0.1:9000

[ profile \"two words\" ]
aws_access_key_id = AKIATWO
aws_secret_access_key = a#b;c=d==

[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = default
[profile sso]
sso_session = corp
[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
[profile process]
credential_process = \"/opt/my tools/keys\" --for 'tills' -x
[profile web]
web_identity_token_file = /var/token
role_arn = arn:aws:iam::1:role/web
[profile half]
aws_access_key_id = AKIAHALF
[profile open]
credential_process = \"keys
[tills]
region = not-a-profile-here
";
    const CREDENTIALS: &str = "[default] ; the usual
aws_access_key_id=AKIADEFAULT
aws_secret_access_key = s/e+c=r#e;t
[tills]
AWS_ACCESS_KEY_ID = AKIATILLS
aws_secret_access_key = hunter2
aws_session_token = token==
";

    fn profile(name: &str) -> AwsProfile {
        ProfileFiles::parse(CONFIG, CREDENTIALS)
            .profile(name)
            .unwrap()
            .unwrap()
    }

    fn keys(name: &str) -> (String, String, Option<String>) {
        match profile(name).credentials {
            Some(ProfileCredentials::Keys(keys)) => (
                keys.access_key_id.expose().to_owned(),
                keys.secret_access_key.expose().to_owned(),
                keys.session_token.map(|token| token.expose().to_owned()),
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_files_say_what_a_profile_is() {
        assert_eq!(
            keys("default"),
            ("AKIADEFAULT".into(), "s/e+c=r#e;t".into(), None)
        );
        assert_eq!(profile("default").region.as_deref(), Some("eu-central-1"));
        assert_eq!(
            keys("tills"),
            ("AKIATILLS".into(), "hunter2".into(), Some("token==".into()))
        );
        let tills = profile("tills");
        assert_eq!(tills.region.as_deref(), Some("eu-west-1"));
        assert_eq!(tills.endpoint_url.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(keys("two words").1, "a#b;c=d==");
        assert!(matches!(
            profile("web").credentials,
            Some(ProfileCredentials::WebIdentity { .. })
        ));
        match profile("process").credentials {
            Some(ProfileCredentials::Process(words)) => {
                assert_eq!(words, ["/opt/my tools/keys", "--for", "tills", "-x"])
            }
            other => panic!("{other:?}"),
        }
        let files = ProfileFiles::parse(CONFIG, CREDENTIALS);
        assert!(files.profile("corp").unwrap().is_none());
        assert!(
            ProfileFiles::parse("", "")
                .profile("default")
                .unwrap()
                .is_none()
        );
        assert!(
            ProfileFiles::parse("region = x\n[\n=\n[profile]\n]", "[default\nx")
                .profile("default")
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn what_cannot_be_done_here_is_said_with_the_way_around() {
        let files = ProfileFiles::parse(CONFIG, CREDENTIALS);
        for (name, hint) in [
            ("role", "aws configure export-credentials --profile role"),
            ("sso", "aws configure export-credentials --profile sso"),
            ("half", "Add the other one"),
            ("open", "Close it"),
        ] {
            let error = files.profile(name).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
            assert!(!format!("{error:?}").contains("AKIA"), "{error:?}");
        }
        let missing = files.missing("tils");
        assert!(
            missing.hint_text().unwrap().contains("tills"),
            "{missing:?}"
        );
    }

    #[test]
    fn the_files_are_where_the_variables_say() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name).display().to_string();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/config"), CONFIG).unwrap();
        std::fs::write(
            home.path().join("elsewhere"),
            "[tills]\naws_access_key_id=A\naws_secret_access_key=B\n",
        )
        .unwrap();
        let of = |variables: &[(&str, String)]| {
            let variables = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            ProfileFiles::load(&variables)
        };
        let home_of = || ("HOME", home.path().display().to_string());
        let files = of(&[
            home_of(),
            ("AWS_SHARED_CREDENTIALS_FILE", path("elsewhere")),
        ])
        .unwrap();
        let tills = files.profile("tills").unwrap().unwrap();
        assert!(tills.region.as_deref() == Some("eu-west-1") && tills.credentials.is_some());
        let files = of(&[
            home_of(),
            ("AWS_SHARED_CREDENTIALS_FILE", "~/elsewhere".to_owned()),
        ])
        .unwrap();
        assert!(
            files
                .profile("tills")
                .unwrap()
                .unwrap()
                .credentials
                .is_some()
        );
        assert!(of(&[]).unwrap().profile("default").unwrap().is_none());
        assert!(
            of(&[("AWS_CONFIG_FILE", path("nowhere"))])
                .unwrap()
                .profile("default")
                .unwrap()
                .is_none()
        );
        let error = of(&[("AWS_CONFIG_FILE", home.path().display().to_string())])
            .err()
            .unwrap();
        assert!(error.to_string().contains("cannot be read"), "{error:?}");
        // What has no end, and what nobody writes into, is not read.
        #[cfg(unix)]
        {
            let made = std::process::Command::new("mkfifo")
                .arg(path("pipe"))
                .status();
            assert!(made.unwrap().success());
            for (place, told) in [
                ("/dev/zero".to_owned(), "a device"),
                (path("pipe"), "a pipe"),
            ] {
                let error = of(&[("AWS_CONFIG_FILE", place)]).err().unwrap();
                assert!(error.to_string().contains(told), "{error:?}");
            }
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_process_prints_keys_and_nothing_it_prints_is_told() {
        let run = async |script: &str| {
            let words = ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
            run_process(&words).await
        };
        let keys =
            run("echo '{\"Version\":1,\"AccessKeyId\":\"AKIA\",\"SecretAccessKey\":\"hunter2\"}'")
                .await
                .unwrap();
        assert_eq!(
            (keys.access_key_id.expose(), keys.secret_access_key.expose()),
            ("AKIA", "hunter2")
        );
        for script in [
            "echo hunter2",
            "echo '{\"AccessKeyId\":\"hunter2\"}'",
            "echo hunter2 >&2; exit 3",
        ] {
            let error = run(script).await.unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(run_process(&["/no/such/program".to_owned()]).await.is_err());
    }
}
