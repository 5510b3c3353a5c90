//! The names that `warehouse.options` may hold for each cloud, and the settings of our own among them.
//!
//! Invariant: an option that nobody would look at is an error, with the one that was meant where a slip of the hand explains it; an error
//! shows an option's name and never its value. Names are those of object_store, in small or capital letters, with or without the cloud's
//! prefix (`region`, `aws_region`, `AWS_REGION`).

use futures::future::BoxFuture;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_model::did_you_mean::nearest;
use tillhouse_model::{Error, Result, Secret};

/// Kind of a cloud's object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloudKind {
    S3,
    Azure,
    Gcs,
}

/// Value of a store option, or the way to it.
#[derive(Clone)]
pub enum StoreOption {
    /// The value itself.
    Value(Secret),
    /// A secret that is read when the store is opened, and again when the store refuses it.
    Read(Arc<dyn SecretReader>),
}

impl StoreOption {
    /// The value as it is now.
    pub(crate) async fn read(&self) -> Result<Secret> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Read(reader) => reader.read().await,
        }
    }
}

impl From<&str> for StoreOption {
    fn from(value: &str) -> Self {
        Self::Value(Secret::new(value))
    }
}

/// Origin of a secret that may change: a file, or a command.
pub trait SecretReader: Send + Sync {
    /// The secret as it is now. Errors never show it.
    fn read(&self) -> BoxFuture<'_, Result<Secret>>;
}

/// Name of a profile of `~/.aws/config`; an option of ours.
pub(crate) const PROFILE: &str = "profile";
const MAX_RETRIES: &str = "max_retries";
const RETRY_TIMEOUT: &str = "retry_timeout";

/// Options of every store: of the HTTP client, and ours.
const ALL: &[&str] = &[
    MAX_RETRIES,
    RETRY_TIMEOUT,
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "default_content_type",
    "http1_only",
    "http2_keep_alive_interval",
    "http2_keep_alive_timeout",
    "http2_keep_alive_while_idle",
    "http2_max_frame_size",
    "http2_only",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "randomize_addresses",
    "timeout",
    "user_agent",
];
const S3: &[&str] = &[
    PROFILE,
    "access_key_id",
    "checksum_algorithm",
    "conditional_put",
    "container_authorization_token_file",
    "container_credentials_full_uri",
    "container_credentials_relative_uri",
    "copy_if_not_exists",
    "default_region",
    "disable_tagging",
    "endpoint",
    "endpoint_url",
    "endpoint_url_s3",
    "endpoint_url_sts",
    "imdsv1_fallback",
    "metadata_endpoint",
    "region",
    "request_payer",
    "role_arn",
    "role_session_name",
    "s3_express",
    "secret_access_key",
    "server_side_encryption",
    "session_token",
    "skip_signature",
    "sse_bucket_key_enabled",
    "sse_customer_key_base64",
    "sse_kms_key_id",
    "token",
    "unsigned_payload",
    "virtual_hosted_style_request",
    "web_identity_token_file",
];
const AZURE: &[&str] = &[
    "access_key",
    "account_key",
    "account_name",
    "authority_host",
    "authority_id",
    "bearer_token",
    "client_id",
    "client_secret",
    "disable_tagging",
    "endpoint",
    "fabric_cluster_identifier",
    "fabric_session_token",
    "fabric_token_service_url",
    "fabric_workload_host",
    "federated_token_file",
    "identity_endpoint",
    "master_key",
    "msi_endpoint",
    "msi_resource_id",
    "object_id",
    "sas_key",
    "sas_token",
    "skip_signature",
    "tenant_id",
    "token",
    "use_azure_cli",
    "use_emulator",
    "use_fabric_endpoint",
];
const GCS: &[&str] = &[
    "application_credentials",
    "base_url",
    "service_account",
    "service_account_key",
    "service_account_path",
    "skip_signature",
];
/// Names of the bucket, which the URL says.
const BUCKETS: &[&str] = &["bucket", "bucket_name", "container_name"];

impl CloudKind {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::S3 => S3,
            Self::Azure => AZURE,
            Self::Gcs => GCS,
        }
    }

    /// Prefixes of an option's name in the environment, the longest first.
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::S3 => &["aws_"],
            Self::Azure => &["azure_storage_", "azure_"],
            Self::Gcs => &["google_"],
        }
    }

    /// Options that most people want.
    fn wanted(self) -> &'static str {
        match self {
            Self::S3 => {
                "region, access_key_id, secret_access_key, session_token, profile, endpoint, allow_http"
            }
            Self::Azure => {
                "account_name, account_key, sas_token, client_id, client_secret, tenant_id, endpoint, allow_http"
            }
            Self::Gcs => "service_account, service_account_key, application_credentials",
        }
    }

    /// An option's name in small letters without the cloud's prefix.
    pub(crate) fn plain_name(self, name: &str) -> String {
        let name = name.trim().to_ascii_lowercase();
        let plain = self
            .prefixes()
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix));
        plain.unwrap_or(&name).to_owned()
    }
}

/// Checks the names of a store's options, and the values of our own.
pub(crate) fn check(kind: CloudKind, options: &BTreeMap<String, StoreOption>) -> Result<()> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for name in options.keys() {
        let plain = kind.plain_name(name);
        let refused =
            |what: &str| Error::config(format!("warehouse.options: {what}")).at("option", name);
        if BUCKETS.contains(&plain.as_str()) {
            return Err(refused("the bucket stands in warehouse.url")
                .hint("Leave the option out and write the bucket into warehouse.url, like s3://bucket/path."));
        }
        let known = [ALL, kind.names()].concat();
        if !known.contains(&plain.as_str()) {
            let guess = nearest(&plain, &known)
                .map_or_else(String::new, |meant| format!("Did you mean `{meant}`? "));
            let other = [CloudKind::S3, CloudKind::Azure, CloudKind::Gcs]
                .into_iter()
                .find(|other| {
                    *other != kind && other.names().contains(&other.plain_name(name).as_str())
                })
                .map_or("", |other| match other {
                    CloudKind::S3 => "It is one of s3://. ",
                    CloudKind::Azure => "It is one of az://. ",
                    CloudKind::Gcs => "It is one of gs://. ",
                });
            let other = if guess.is_empty() { other } else { "" };
            return Err(refused("there is no such option").hint(format!(
                "{guess}{other}Options that are often wanted: {}; docs/storage.md lists them all.",
                kind.wanted()
            )));
        }
        if let Some(first) = seen.insert(plain, name) {
            return Err(refused("an option is there twice")
                .at("first", first)
                .hint("Keep one of the two."));
        }
    }
    Retries::of(kind, options).map(drop)
}

/// Number of tries of a request, and the time they may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retries {
    pub(crate) max_retries: usize,
    pub(crate) timeout: Duration,
    /// True if the project says so.
    pub(crate) is_given: bool,
}

impl Retries {
    /// As the options say; where they say nothing a store may be away for half a minute.
    pub(crate) fn of(kind: CloudKind, options: &BTreeMap<String, StoreOption>) -> Result<Self> {
        let value = |wanted: &str| {
            options
                .iter()
                .find(|(name, _)| kind.plain_name(name) == wanted)
                .map(|(_, value)| value)
        };
        let (max_retries, timeout) = (value(MAX_RETRIES), value(RETRY_TIMEOUT));
        let is_given = max_retries.is_some() || timeout.is_some();
        let bad = |name: &str, form: &str| {
            Error::config(format!("warehouse.options: {name} must be {form}")).at("option", name)
        };
        let text = |option: &StoreOption| match option {
            StoreOption::Value(value) => Some(value.expose().trim().to_owned()),
            StoreOption::Read(_) => None,
        };
        let max_retries = match max_retries {
            None => 10,
            Some(option) => text(option)
                .and_then(|text| text.parse::<u16>().ok())
                .filter(|count| *count <= 100)
                .ok_or_else(|| bad(MAX_RETRIES, "a whole number from 0 to 100"))?,
        };
        let timeout = match timeout {
            None => Duration::from_secs(180),
            Some(option) => text(option)
                .and_then(|text| text.parse::<SignedDuration>().ok())
                .and_then(|duration| Duration::try_from(duration).ok())
                .filter(|duration| *duration <= Duration::from_secs(300))
                .ok_or_else(|| {
                    bad(
                        RETRY_TIMEOUT,
                        "a time of at most 5m, written like 90s or 3m",
                    )
                })?,
        };
        Ok(Self {
            max_retries: max_retries.into(),
            timeout,
            is_given,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(names: &[(&str, &str)]) -> BTreeMap<String, StoreOption> {
        names
            .iter()
            .map(|(name, value)| ((*name).to_owned(), StoreOption::from(*value)))
            .collect()
    }

    #[cfg(feature = "cloud")]
    #[test]
    fn every_name_that_is_offered_is_one_that_the_library_knows() {
        use object_store::aws::AmazonS3ConfigKey;
        use object_store::azure::AzureConfigKey;
        use object_store::gcp::GoogleConfigKey;
        let library = |names: &[&'static str]| -> Vec<&'static str> {
            let ours = [PROFILE, MAX_RETRIES, RETRY_TIMEOUT];
            names
                .iter()
                .copied()
                .filter(|name| !ours.contains(name))
                .collect()
        };
        for name in library(&[ALL, S3].concat()) {
            let known = [name.to_owned(), format!("aws_{name}")];
            assert!(
                known
                    .iter()
                    .any(|name| name.parse::<AmazonS3ConfigKey>().is_ok()),
                "{name}"
            );
        }
        for name in library(&[ALL, AZURE].concat()) {
            assert!(name.parse::<AzureConfigKey>().is_ok(), "{name}");
        }
        for name in library(&[ALL, GCS].concat()) {
            assert!(name.parse::<GoogleConfigKey>().is_ok(), "{name}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused_with_a_guess_and_without_its_value() {
        for (kind, name, hint) in [
            (
                CloudKind::S3,
                "acces_key_id",
                "Did you mean `access_key_id`?",
            ),
            (CloudKind::S3, "AWS_REGOIN", "Did you mean `region`?"),
            (CloudKind::S3, "allowhttp", "Did you mean `allow_http`?"),
            (CloudKind::S3, "account_key", "It is one of az://."),
            (CloudKind::Azure, "secret_access_key", "It is one of s3://."),
            (
                CloudKind::Azure,
                "azure_storage_acount_name",
                "Did you mean `account_name`?",
            ),
            (CloudKind::Azure, "profile", "It is one of s3://."),
            (CloudKind::Gcs, "region", "It is one of s3://."),
            (CloudKind::Gcs, "bukcet", "service_account"),
            (CloudKind::S3, "bucket", "warehouse.url"),
            (CloudKind::Azure, "container_name", "warehouse.url"),
            (CloudKind::S3, "color", "access_key_id"),
        ] {
            let error = check(kind, &options(&[(name, "hunter2")])).expect_err(name);
            let told = error.hint_text().unwrap_or_default();
            assert!(told.contains(hint), "{name}: {error:?}");
            assert!(error.to_string().contains(name) && !format!("{error:?}").contains("hunter2"));
        }
        for (kind, name) in [
            (CloudKind::S3, "AWS_ACCESS_KEY_ID"),
            (CloudKind::S3, "aws_profile"),
            (CloudKind::S3, "timeout"),
            (CloudKind::Azure, "AZURE_STORAGE_ACCOUNT_KEY"),
            (CloudKind::Azure, "azure_client_id"),
            (CloudKind::Gcs, "google_service_account"),
        ] {
            check(kind, &options(&[(name, "x")])).expect(name);
        }
        let twice = check(
            CloudKind::S3,
            &options(&[("region", "x"), ("aws_region", "y")]),
        );
        assert!(twice.expect_err("twice").to_string().contains("twice"));
    }

    #[test]
    fn retries_are_what_the_options_say() {
        let of = |named: &[(&str, &str)]| Retries::of(CloudKind::S3, &options(named));
        let retries = of(&[("max_retries", "0"), ("retry_timeout", "90s")]).unwrap();
        assert_eq!(
            (retries.max_retries, retries.timeout),
            (0, Duration::from_secs(90))
        );
        assert!(retries.is_given && !of(&[]).unwrap().is_given);
        for (name, value) in [
            ("max_retries", "many"),
            ("max_retries", "-1"),
            ("max_retries", "1000"),
            ("retry_timeout", "3"),
            ("retry_timeout", "-3m"),
            ("retry_timeout", "1h"),
        ] {
            assert!(of(&[(name, value)]).is_err(), "{name}: {value}");
        }
    }
}
