//! Clients of the clouds' object stores, from options, the environment's variables and AWS' profiles.
//!
//! Invariant: what the project's options say wins over a variable of the environment, and credentials are taken from one place as a whole: a key
//! of the options never meets a token of the environment. Nothing is sent unencrypted unless `allow_http` says so.
//!
//! Credentials of S3, the first that is there: options, keys or an identity; `profile` of the options; AWS_ACCESS_KEY_ID; AWS_WEB_IDENTITY_TOKEN_FILE; AWS_PROFILE or
//! the profile `default`; a container's or instance's identity.

use crate::store::aws_profile::{AwsKeys, ProfileCredentials, ProfileFiles, run_process};
use crate::store::cloud_options::{CloudKind, PROFILE, Retries, StoreOption};
use crate::store::failure::StoreProfile;
use crate::store::location::CloudAddress;
use crate::store::special_file::special_file;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_model::{Error, Result, Secret};
use url::Url;

const USER_AGENT: &str = concat!("tillhouse/", env!("CARGO_PKG_VERSION"));

/// Everything that a connection is made from.
pub(crate) struct CloudSettings {
    pub(crate) address: CloudAddress,
    pub(crate) options: BTreeMap<String, StoreOption>,
    pub(crate) variables: BTreeMap<String, String>,
}

/// A client, and what is known of it.
pub(crate) struct CloudConnection {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) profile: StoreProfile,
    /// True if its credentials come from where there may be others later.
    pub(crate) is_renewable: bool,
    /// True if the project says how long a store may be away.
    pub(crate) is_patient: bool,
}

impl CloudSettings {
    fn profile(
        &self,
        endpoint: Option<String>,
        is_instance_identity: bool,
        secrets: Vec<Secret>,
    ) -> StoreProfile {
        StoreProfile {
            kind: self.address.kind,
            bucket: self.address.bucket.clone(),
            endpoint,
            is_instance_identity,
            secrets,
        }
    }
}

impl CloudConnection {
    fn of(store: impl ObjectStore, profile: StoreProfile) -> Self {
        Self {
            store: Arc::new(store),
            profile,
            is_renewable: false,
            is_patient: false,
        }
    }
}

/// Names of keys whose values are paths of files, beside those of files of tokens.
const CREDENTIAL_FILES: [&str; 2] = ["google_service_account", "google_application_credentials"];

/// Values by configuration key, later ones over earlier ones.
struct Values<K>(HashMap<K, String>);

impl<K: FromStr + std::hash::Hash + Eq + Copy> Values<K> {
    fn has(&self, keys: &[K]) -> bool {
        keys.iter().any(|key| self.0.contains_key(key))
    }

    fn text(&self, key: &K) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Errors where something that is no file stands at a path that the library opens by itself: nothing would end the wait for whoever writes into a pipe.
    fn check_files(&self) -> Result<()>
    where
        K: AsRef<str>,
    {
        for (key, path) in &self.0 {
            let name = key.as_ref();
            let names_file = name.ends_with("_token_file") || CREDENTIAL_FILES.contains(&name);
            if names_file && let Some(kind) = special_file(std::path::Path::new(path)) {
                return Err(Error::config(format!("{name} names {kind}"))
                    .at("file", path.as_str())
                    .hint("Name a regular file."));
            }
        }
        Ok(())
    }

    /// Hands them to a builder; who asks is this program, unless they say otherwise.
    fn configure<B>(mut self, builder: B, agent: K, set: fn(B, K, String) -> B) -> B {
        let agent = self.0.entry(agent);
        agent.or_insert_with(|| USER_AGENT.to_owned());
        let values = self.0.into_iter();
        values.fold(builder, |builder, (key, value)| set(builder, key, value))
    }
}

/// Connects to the store. Errors with [`tillhouse_model::ErrorKind::Config`], naming the option.
pub(crate) async fn connect(settings: &CloudSettings) -> Result<CloudConnection> {
    let kind = settings.address.kind;
    let retries = Retries::of(kind, &settings.options)?;
    let mut options = BTreeMap::new();
    let mut secrets = Vec::new();
    for (name, option) in &settings.options {
        let value = option.read().await?;
        let name = name.trim().to_ascii_lowercase();
        if is_secret(&name) {
            secrets.push(value.clone());
        }
        options.insert(name, value.expose().trim().to_owned());
    }
    secrets.extend(
        settings
            .variables
            .iter()
            .filter(|(name, _)| is_secret(&name.to_ascii_lowercase()))
            .map(|(_, value)| Secret::new(value.as_str())),
    );
    let retry = RetryConfig {
        // Half a minute for ten tries: a store that is started anew is back by then.
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(8),
            base: 5.,
        },
        max_retries: retries.max_retries,
        retry_timeout: retries.timeout,
    };
    let mut connection = match kind {
        CloudKind::S3 => s3(settings, &options, retry, secrets).await?,
        CloudKind::Azure => azure(settings, &options, retry, secrets)?,
        CloudKind::Gcs => gcs(settings, &options, retry, secrets)?,
    };
    connection.is_patient = retries.is_given;
    connection.is_renewable |= settings
        .options
        .values()
        .any(|option| matches!(option, StoreOption::Read(_)));
    Ok(connection)
}

/// True if a setting's value must not be shown.
fn is_secret(name: &str) -> bool {
    [
        "key",
        "secret",
        "token",
        "sas",
        "password",
        "credential",
        "service_account",
        "proxy_url",
        "connection_string",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// Settings of the environment whose names are of the store's.
fn from_variables<K: FromStr>(
    variables: &BTreeMap<String, String>,
    prefix: &str,
) -> Vec<(K, String)> {
    variables
        .iter()
        .filter(|(name, value)| name.starts_with(prefix) && !value.trim().is_empty())
        .filter_map(|(name, value)| {
            Some((
                name.to_ascii_lowercase().parse().ok()?,
                value.trim().to_owned(),
            ))
        })
        .collect()
}

/// Settings of the options whose names are of the library's.
fn from_options<K: FromStr>(
    kind: CloudKind,
    options: &BTreeMap<String, String>,
) -> Vec<(K, String)> {
    // The library knows a setting of the HTTP client by one of the cloud's prefixes, and not by each.
    let key = |name: &str| -> Option<K> {
        let plain = || kind.plain_name(name).parse().ok();
        name.parse().ok().or_else(plain)
    };
    options
        .iter()
        .filter_map(|(name, value)| Some((key(name)?, value.clone())))
        .collect()
}

/// A client that could not be made from the options.
fn refused(error: object_store::Error, profile: &StoreProfile, url: &Url) -> Error {
    Error::config(format!(
        "warehouse.options: {}",
        profile.plain(&error.to_string(), 200)
    ))
    .at("warehouse", url.as_str())
    .hint("docs/storage.md lists the options with an example for each store.")
}

/// Errors where an address is none, holds a credential, or is not encrypted and that is not allowed.
fn check_endpoint(
    option: &str,
    endpoint: Option<&str>,
    allow_http: Option<&str>,
) -> Result<Option<String>> {
    let Some(endpoint) = endpoint else {
        return Ok(None);
    };
    let wrong = |what: &str| Error::config(format!("warehouse.options.{option} {what}"));
    let url = Url::parse(endpoint)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| {
            wrong("is no address")
                .hint("Write it with its scheme, like https://s3.example.com:9000.")
        })?;
    if url.password().is_some() || !url.username().is_empty() || url.query().is_some() {
        return Err(
            wrong("holds a credential, or a ?").hint("Credentials have options of their own.")
        );
    }
    let place = url[..url::Position::BeforePath].to_owned();
    let is_allowed = allow_http.is_some_and(|value| {
        ["true", "1", "yes", "on", "y", "t"].contains(&value.to_ascii_lowercase().as_str())
    });
    if url.scheme() == "http" && !is_allowed {
        return Err(wrong("is http://, and what is sent there is not encrypted").at("endpoint", place).hint(
            "Write https://, or set warehouse.options.allow_http to true, for a store on this machine or in a network of its own.",
        ));
    }
    Ok(Some(place))
}

async fn s3(
    settings: &CloudSettings,
    options: &BTreeMap<String, String>,
    retry: RetryConfig,
    mut secrets: Vec<Secret>,
) -> Result<CloudConnection> {
    use AmazonS3ConfigKey as Key;
    const KEYS: [Key; 3] = [Key::AccessKeyId, Key::SecretAccessKey, Key::Token];
    const IDENTITIES: [Key; 5] = [
        Key::WebIdentityTokenFile,
        Key::RoleArn,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
        Key::ContainerAuthorizationTokenFile,
    ];
    let named = options
        .get(PROFILE)
        .or_else(|| options.get("aws_profile"))
        .cloned();
    let mut given: Values<Key> = Values(from_options(CloudKind::S3, options).into_iter().collect());
    if let Some(region) = given.0.remove(&Key::DefaultRegion) {
        given.0.entry(Key::Region).or_insert(region);
    }
    // Credentials are of one place.
    let has_own_identity = (given.has(&[Key::WebIdentityTokenFile]) && given.has(&[Key::RoleArn]))
        || given.has(&[Key::ContainerCredentialsRelativeUri])
        || (given.has(&[Key::ContainerCredentialsFullUri])
            && given.has(&[Key::ContainerAuthorizationTokenFile]));
    let is_settled = given.has(&KEYS) || named.is_some() || has_own_identity;
    let mut values: Values<Key> = Values(HashMap::new());
    for (key, value) in from_variables::<Key>(&settings.variables, "AWS_") {
        let is_credential = KEYS.contains(&key) || IDENTITIES.contains(&key);
        let is_hidden = (is_credential && is_settled)
            || (key == Key::S3Endpoint && given.has(&[Key::Endpoint]))
            || key == Key::Bucket;
        if !is_hidden {
            values.0.insert(key, value);
        }
    }
    if let Some(region) = values.0.remove(&Key::DefaultRegion) {
        values.0.entry(Key::Region).or_insert(region);
    }
    values.0.extend(given.0);
    // The profiles' settings, where there are no others.
    let has_identity = values.has(&KEYS)
        || (has_own_identity && named.is_none())
        || (values.has(&[Key::WebIdentityTokenFile]) && values.has(&[Key::RoleArn]))
        || values
            .text(&Key::SkipSignature)
            .is_some_and(|skip| skip.eq_ignore_ascii_case("true"));
    let mut is_renewable = false;
    let asked = named.clone().or_else(|| {
        let variable = settings.variables.get("AWS_PROFILE");
        variable.filter(|name| !name.is_empty()).cloned()
    });
    let files = ProfileFiles::load(&settings.variables)?;
    let name = asked.as_deref().unwrap_or("default");
    let wants_keys = !has_identity;
    let profile = match files.profile(name) {
        Ok(None) if asked.is_some() && wants_keys => return Err(files.missing(name)),
        Err(error) if wants_keys => return Err(error),
        found => found.ok().flatten(),
    };
    if let Some(profile) = profile {
        if let Some(region) = profile.region {
            values.0.entry(Key::Region).or_insert(region);
        }
        if let Some(endpoint) = profile
            .endpoint_url
            .filter(|_| !values.has(&[Key::Endpoint, Key::S3Endpoint]))
        {
            values.0.insert(Key::Endpoint, endpoint);
        }
        if wants_keys {
            let keys = match profile.credentials {
                Some(ProfileCredentials::Keys(keys)) => Some(keys),
                Some(ProfileCredentials::Process(words)) => Some(run_process(&words).await?),
                Some(ProfileCredentials::WebIdentity {
                    token_file,
                    role_arn,
                    session_name,
                }) => {
                    values.0.insert(Key::WebIdentityTokenFile, token_file);
                    values.0.insert(Key::RoleArn, role_arn);
                    values
                        .0
                        .extend(session_name.map(|name| (Key::RoleSessionName, name)));
                    None
                }
                None if named.is_some() => {
                    return Err(Error::config(format!("the AWS profile `{name}` has no credentials"))
                        .hint("Add aws_access_key_id and aws_secret_access_key to it, or a credential_process."));
                }
                None => None,
            };
            if let Some(AwsKeys {
                access_key_id,
                secret_access_key,
                session_token,
            }) = keys
            {
                is_renewable = true;
                values
                    .0
                    .insert(Key::AccessKeyId, access_key_id.expose().to_owned());
                values
                    .0
                    .insert(Key::SecretAccessKey, secret_access_key.expose().to_owned());
                values.0.extend(
                    session_token
                        .as_ref()
                        .map(|token| (Key::Token, token.expose().to_owned())),
                );
                secrets.push(secret_access_key);
                secrets.extend(session_token);
            }
        }
    }
    let (id, secret) = (
        (Key::AccessKeyId, "access_key_id"),
        (Key::SecretAccessKey, "secret_access_key"),
    );
    for ((key, there), (other, lacking)) in [(id, secret), (secret, id)] {
        if values.has(&[key]) && !values.has(&[other]) {
            return Err(Error::config(format!(
                "warehouse.options: there is {} {there} and no {lacking}",
                if key == Key::AccessKeyId { "an" } else { "a" }
            ))
            .hint(
                "Set both, in warehouse.options or as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            ));
        }
    }
    let allow_http = values.text(&Key::Client(ClientConfigKey::AllowHttp));
    let endpoint = values
        .text(&Key::S3Endpoint)
        .or_else(|| values.text(&Key::Endpoint));
    let endpoint = check_endpoint("endpoint", endpoint, allow_http)?;
    if endpoint.is_none() && !values.has(&[Key::Region]) {
        return Err(Error::config("warehouse.options.region is missing")
            .at("warehouse", settings.address.url.as_str())
            .hint(
                "Write the bucket's region, like `options: { region: eu-central-1 }`, set AWS_REGION, or give the profile a region. A store of \
                 your own needs warehouse.options.endpoint instead.",
            ));
    }
    let is_conditional = values
        .text(&Key::ConditionalPut)
        .is_none_or(|value| value.eq_ignore_ascii_case("etag"));
    if !is_conditional {
        return Err(
            Error::config("warehouse.options.conditional_put is not etag")
                .hint("Two syncs at once are told apart by it: leave the option out."),
        );
    }
    let is_instance_identity = !values.has(&KEYS)
        && !values.has(&IDENTITIES)
        && values.text(&Key::SkipSignature).is_none();
    let profile = settings.profile(endpoint, is_instance_identity, secrets);
    values.check_files()?;
    let builder = values.configure(
        AmazonS3Builder::new().with_retry(retry),
        Key::Client(ClientConfigKey::UserAgent),
        AmazonS3Builder::with_config,
    );
    let store = builder
        .with_bucket_name(&settings.address.bucket)
        .build()
        .map_err(|error| refused(error, &profile, &settings.address.url))?;
    Ok(CloudConnection {
        is_renewable,
        ..CloudConnection::of(store, profile)
    })
}

fn azure(
    settings: &CloudSettings,
    options: &BTreeMap<String, String>,
    retry: RetryConfig,
    secrets: Vec<Secret>,
) -> Result<CloudConnection> {
    use AzureConfigKey as Key;
    const CREDENTIALS: [Key; 8] = [
        Key::AccessKey,
        Key::ClientSecret,
        Key::SasKey,
        Key::Token,
        Key::FederatedTokenFile,
        Key::UseAzureCli,
        Key::MsiEndpoint,
        Key::FabricSessionToken,
    ];
    let given: Values<Key> = Values(
        from_options(CloudKind::Azure, options)
            .into_iter()
            .collect(),
    );
    let is_settled = given.has(&CREDENTIALS);
    let mut values: Values<Key> = Values(HashMap::new());
    let variable = |name: &str| {
        settings
            .variables
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    };
    // Names of Azure's own command line, which the library does not know.
    let mut found: Vec<(Key, String)> =
        connection_string(variable("AZURE_STORAGE_CONNECTION_STRING").unwrap_or_default());
    found.extend(variable("AZURE_STORAGE_ACCOUNT").map(|name| (Key::AccountName, name.to_owned())));
    found.extend(variable("AZURE_STORAGE_KEY").map(|key| (Key::AccessKey, key.to_owned())));
    found.extend(
        variable("IDENTITY_ENDPOINT").map(|endpoint| (Key::MsiEndpoint, endpoint.to_owned())),
    );
    found.extend(from_variables(&settings.variables, "AZURE_"));
    for (key, value) in found {
        let is_credential = CREDENTIALS.contains(&key) || key == Key::ClientId;
        if key != Key::ContainerName && !(is_credential && is_settled) {
            values.0.insert(key, value);
        }
    }
    values.0.extend(given.0);
    if let Some(account) = &settings.address.account {
        if values
            .text(&Key::AccountName)
            .is_some_and(|other| other != account)
            && options.keys().any(|name| name.ends_with("account_name"))
        {
            return Err(Error::config(
                "warehouse.url and warehouse.options.account_name name two accounts",
            )
            .hint("Leave the option out: the URL says the account."));
        }
        values.0.insert(Key::AccountName, account.clone());
    }
    let is_emulator = values
        .text(&Key::UseEmulator)
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !is_emulator && !values.has(&[Key::AccountName]) {
        return Err(Error::config("warehouse.options.account_name is missing")
            .at("warehouse", settings.address.url.as_str())
            .hint("Write the storage account's name, like `options: { account_name: acme }`, or set AZURE_STORAGE_ACCOUNT_NAME."));
    }
    let allow_http = values.text(&Key::Client(ClientConfigKey::AllowHttp));
    let endpoint = check_endpoint("endpoint", values.text(&Key::Endpoint), allow_http)?;
    let is_instance_identity =
        !is_emulator && !values.has(&CREDENTIALS) && !values.has(&[Key::SkipSignature]);
    let profile = settings.profile(endpoint, is_instance_identity, secrets);
    values.check_files()?;
    let builder = values.configure(
        MicrosoftAzureBuilder::new().with_retry(retry),
        Key::Client(ClientConfigKey::UserAgent),
        MicrosoftAzureBuilder::with_config,
    );
    let store = builder
        .with_container_name(&settings.address.bucket)
        .build()
        .map_err(|error| refused(error, &profile, &settings.address.url))?;
    Ok(CloudConnection::of(store, profile))
}

/// Settings of an `AZURE_STORAGE_CONNECTION_STRING`: `Name=value` with semicolons between.
fn connection_string(text: &str) -> Vec<(AzureConfigKey, String)> {
    use AzureConfigKey as Key;
    text.split(';')
        .filter_map(|part| part.split_once('='))
        .filter_map(|(name, value)| {
            let key = match name.trim() {
                "AccountName" => Key::AccountName,
                "AccountKey" => Key::AccessKey,
                "SharedAccessSignature" => Key::SasKey,
                "BlobEndpoint" => Key::Endpoint,
                _ => return None,
            };
            Some((key, value.trim().to_owned()))
        })
        .collect()
}

fn gcs(
    settings: &CloudSettings,
    options: &BTreeMap<String, String>,
    retry: RetryConfig,
    secrets: Vec<Secret>,
) -> Result<CloudConnection> {
    use GoogleConfigKey as Key;
    const CREDENTIALS: [Key; 3] = [
        Key::ServiceAccount,
        Key::ServiceAccountKey,
        Key::ApplicationCredentials,
    ];
    let given: Values<Key> = Values(from_options(CloudKind::Gcs, options).into_iter().collect());
    let is_settled = given.has(&CREDENTIALS);
    let mut found: Vec<(Key, String)> = Vec::new();
    let variable = settings
        .variables
        .get("SERVICE_ACCOUNT")
        .filter(|value| !value.is_empty());
    found.extend(variable.map(|path| (Key::ServiceAccount, path.clone())));
    found.extend(from_variables(&settings.variables, "GOOGLE_"));
    let mut values: Values<Key> = Values(HashMap::new());
    for (key, value) in found {
        if key != Key::Bucket && !(CREDENTIALS.contains(&key) && is_settled) {
            values.0.insert(key, value);
        }
    }
    values.0.extend(given.0);
    let allow_http = values.text(&Key::Client(ClientConfigKey::AllowHttp));
    let endpoint = check_endpoint("base_url", values.text(&Key::BaseUrl), allow_http)?;
    let is_instance_identity = !values.has(&CREDENTIALS) && !values.has(&[Key::SkipSignature]);
    let profile = settings.profile(endpoint, is_instance_identity, secrets);
    values.check_files()?;
    let builder = values.configure(
        GoogleCloudStorageBuilder::new().with_retry(retry),
        Key::Client(ClientConfigKey::UserAgent),
        GoogleCloudStorageBuilder::with_config,
    );
    let store = builder.with_bucket_name(&settings.address.bucket).build().map_err(|_| {
        // The parser's own words may hold a part of the key file.
        Error::config("warehouse.options: Google's credentials cannot be read")
            .at("warehouse", settings.address.url.as_str())
            .hint(
                "service_account names a key file, service_account_key holds its JSON, application_credentials names what `gcloud auth \
                 application-default login` wrote; one of them, and the file must be there.",
            )
    })?;
    Ok(CloudConnection::of(store, profile))
}
