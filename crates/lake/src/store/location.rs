//! The place a warehouse lives in: a folder, or a bucket of an object store with a path below it.
//!
//! Invariant: a location is checked without touching the place, and nothing that is said about it shows a credential. Whatever a user may
//! write as its URL, the warehouse sees one form of it: `file:///folder/`, `s3://bucket/path/`, `az://container/path/`, `gs://bucket/path/`.

use crate::store::cloud_options::{self, CloudKind, StoreOption};
use object_store::path::Path;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use tillhouse_model::{Error, Result};
use url::Url;

const FORMS: &str = "Write a path like ./warehouse, or file:///folder, s3://bucket/path, az://container/path or gs://bucket/path.";

/// URL and store options of a warehouse.
///
/// ```
/// use tillhouse_lake::WarehouseLocation;
/// let location = WarehouseLocation::new("s3://tills/warehouse");
/// assert!(WarehouseLocation::new("s3://key:secret@tills/warehouse").check().is_err());
/// # let _ = location;
/// ```
#[derive(Clone, Default)]
pub struct WarehouseLocation {
    /// A path (relative ones count from the current folder), or a URL: `file://`, `s3://`, `az://`, `abfss://`, `gs://`.
    pub url: String,
    /// Options of the object store, by the names that object_store knows. They may hold credentials, so they are never printed.
    pub options: BTreeMap<String, StoreOption>,
    /// Variables of the environment that clouds and profiles go by, see [`is_store_variable`]. They may hold credentials too.
    pub variables: BTreeMap<String, String>,
}

impl fmt::Debug for WarehouseLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Location")
            .field("url", &without_credentials(&self.url))
            .finish_non_exhaustive()
    }
}

/// True for the environment variables that [`WarehouseLocation::variables`] wants: the clouds' own, and those that lead to a home folder.
pub fn is_store_variable(name: &str) -> bool {
    ["AWS_", "AZURE_", "GOOGLE_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || [
            "HOME",
            "USERPROFILE",
            "IDENTITY_ENDPOINT",
            "SERVICE_ACCOUNT",
        ]
        .contains(&name)
}

/// A bucket (a container in Azure) and a path in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloudAddress {
    pub(crate) kind: CloudKind,
    pub(crate) bucket: String,
    /// The storage account, where the URL names it.
    pub(crate) account: Option<String>,
    /// The warehouse's URL, with a trailing slash.
    pub(crate) url: Url,
}

/// A location as it was meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoreAddress {
    /// A folder's URL, with a trailing slash.
    Folder(Url),
    Cloud(CloudAddress),
}

impl WarehouseLocation {
    /// The place at a URL or path, without options.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// Checks what can be checked without touching the place. Errors with [`tillhouse_model::ErrorKind::Config`], naming the key.
    pub fn check(&self) -> Result<()> {
        self.address().map(drop)
    }

    /// The folder on this machine's disks; `None` for a bucket, and for a location that is none.
    pub fn folder(&self) -> Option<PathBuf> {
        match self.address().ok()? {
            StoreAddress::Folder(url) => url.to_file_path().ok(),
            StoreAddress::Cloud(_) => None,
        }
    }

    /// The place that is meant. Errors where its options are not those of such a place.
    pub(crate) fn address(&self) -> Result<StoreAddress> {
        let address = parse(&self.url)?;
        match &address {
            StoreAddress::Folder(_) => match self.options.keys().next() {
                None => Ok(address),
                Some(option) => Err(Error::config("warehouse.options: a folder has no options")
                    .at("option", option)
                    .hint("Leave warehouse.options out.")),
            },
            StoreAddress::Cloud(cloud) => {
                cloud_options::check(cloud.kind, &self.options)?;
                Ok(address)
            }
        }
    }
}

/// A location's text without what may be a credential: user, password, query and fragment of a URL.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest
        .split_once('/')
        .map_or((rest, ""), |(host, path)| (host, path));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}/{path}")
}

fn parse(text: &str) -> Result<StoreAddress> {
    let text = text.trim();
    let bad = |why: &str| {
        Error::config(format!("warehouse.url {why}"))
            .at("url", without_credentials(text))
            .hint(FORMS)
    };
    if text.is_empty() {
        return Err(bad("is empty"));
    }
    if !text.contains("://") {
        let path = std::path::absolute(text).map_err(|e| bad("is not a path").because(e))?;
        let url = Url::from_directory_path(path).map_err(|()| bad("is not a path"))?;
        return found_again(text, &url).map(|()| StoreAddress::Folder(url));
    }
    // The parser's own words may hold what it could not parse.
    let url =
        Url::parse(text).map_err(|_| Error::config("warehouse.url is not a URL").hint(FORMS))?;
    if url.scheme() == "file" {
        let path = url
            .to_file_path()
            .map_err(|()| bad("names another machine"))?;
        let url = Url::from_directory_path(path).map_err(|()| bad("is not a path"))?;
        return found_again(text, &url).map(|()| StoreAddress::Folder(url));
    }
    let kind = match url.scheme() {
        "s3" | "s3a" => CloudKind::S3,
        "az" | "azure" | "abfs" | "abfss" => CloudKind::Azure,
        "gs" => CloudKind::Gcs,
        scheme => {
            // The rest of the URL may hold a credential: only its scheme is shown.
            let hint = match scheme {
                "http" | "https" => {
                    "The address of a store of your own goes into warehouse.options.endpoint; warehouse.url names the bucket: \
                                     s3://bucket/path or az://container/path."
                }
                "gcs" => "Google's buckets are written gs://bucket/path.",
                _ => FORMS,
            };
            return Err(
                Error::config(format!("warehouse.url: {scheme}:// is not supported")).hint(hint),
            );
        }
    };
    cloud(kind, &url, &bad).and_then(|address| {
        found_again(text, &address.url)?;
        if cfg!(feature = "cloud") {
            return Ok(StoreAddress::Cloud(address));
        }
        Err(Error::config(format!(
            "warehouse.url: {}:// needs a tillhouse that is built with the feature `cloud`",
            url.scheme()
        ))
        .hint("This one was built without it: use a folder, or another build."))
    })
}

/// The bucket of a cloud's URL.
fn cloud(kind: CloudKind, url: &Url, bad: &dyn Fn(&str) -> Error) -> Result<CloudAddress> {
    // abfss://container@account.dfs.core.windows.net/path is how Hadoop and Spark write it.
    let is_hadoop = matches!(url.scheme(), "abfs" | "abfss");
    if url.password().is_some() || (!url.username().is_empty() && !is_hadoop) {
        return Err(bad("holds a credential").hint(
            "A URL is shown in logs and messages. Put the credential into warehouse.options, as ${VARIABLE}, { file: PATH } or \
             { command: [PROGRAM] }, and write the URL without it.",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("holds a ? or a #").hint(
            "A shared access signature goes into warehouse.options.sas_token; other settings go into warehouse.options too. In a name, write \
             ? as %3F and # as %23.",
        ));
    }
    if url.port().is_some() {
        return Err(bad("holds a port").hint(
            "The address of a store of your own goes into warehouse.options.endpoint; warehouse.url names the bucket: s3://bucket/path.",
        ));
    }
    let host = url.host_str().unwrap_or_default();
    let (bucket, account) = match (is_hadoop, url.username()) {
        (true, container) if !container.is_empty() => {
            let account = host
                .strip_suffix(".dfs.core.windows.net")
                .or_else(|| host.strip_suffix(".blob.core.windows.net"))
                .filter(|account| !account.is_empty() && !account.contains('.'))
                .ok_or_else(|| {
                    bad("names a host that is none of Azure's storage accounts").hint(
                        "Write abfss://container@account.dfs.core.windows.net/path, or az://container/path with \
                         warehouse.options.account_name.",
                    )
                })?;
            (container, Some(account.to_owned()))
        }
        _ => (host, None),
    };
    if bucket.is_empty() {
        return Err(bad("names no bucket"));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !bucket.chars().all(is_plain) {
        return Err(bad("names no bucket that there can be")
            .hint("A bucket's name has letters, digits, hyphens and dots; the path follows after a slash."));
    }
    let scheme = match kind {
        CloudKind::S3 => "s3",
        CloudKind::Azure => "az",
        CloudKind::Gcs => "gs",
    };
    let path = url.path().trim_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    let url = Url::parse(&format!("{scheme}://{bucket}/{path}{slash}"))
        .map_err(|_| bad("is not a URL"))?;
    Ok(CloudAddress {
        kind,
        bucket: bucket.to_owned(),
        account,
        url,
    })
}

/// Errors where the Delta library does not come back to the place: it writes the paths that a store lists into URLs as they are, and reads
/// them decoded.
fn found_again(text: &str, url: &Url) -> Result<()> {
    let is_found_again = |url: &Url| {
        let path = Path::from_url_path(url.path()).ok()?;
        let mut again = url.clone();
        again.set_path(&format!("/{path}"));
        Some(Path::from_url_path(again.path()).ok()? == path)
    };
    if is_found_again(url) == Some(true) {
        return Ok(());
    }
    Err(
        Error::config("warehouse.url names a folder that the tables' library cannot find again")
            .at("url", without_credentials(text))
            .hint(
                "In the whole path no folder's name may hold a backslash, a control character, or a percent sign before two hexadecimal digits.",
            ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::ErrorKind;

    #[cfg(feature = "cloud")]
    fn parsed(text: &str) -> CloudAddress {
        match WarehouseLocation::new(text).address() {
            Ok(StoreAddress::Cloud(address)) => address,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[cfg(feature = "cloud")]
    #[test]
    fn every_way_to_write_a_bucket_leads_to_one_form() {
        for (text, kind, bucket, account, url) in [
            (
                "s3://tills/wh",
                CloudKind::S3,
                "tills",
                None,
                "s3://tills/wh/",
            ),
            (
                "s3://tills/wh//",
                CloudKind::S3,
                "tills",
                None,
                "s3://tills/wh/",
            ),
            (" s3a://tills ", CloudKind::S3, "tills", None, "s3://tills/"),
            (
                "s3://my.tills-2/a/b c",
                CloudKind::S3,
                "my.tills-2",
                None,
                "s3://my.tills-2/a/b%20c/",
            ),
            (
                "az://tills/wh/",
                CloudKind::Azure,
                "tills",
                None,
                "az://tills/wh/",
            ),
            (
                "abfss://tills/wh",
                CloudKind::Azure,
                "tills",
                None,
                "az://tills/wh/",
            ),
            (
                "abfss://tills@acme.dfs.core.windows.net/wh",
                CloudKind::Azure,
                "tills",
                Some("acme"),
                "az://tills/wh/",
            ),
            (
                "gs://tills_1/wh",
                CloudKind::Gcs,
                "tills_1",
                None,
                "gs://tills_1/wh/",
            ),
        ] {
            let found = parsed(text);
            assert_eq!(
                (
                    found.kind,
                    found.bucket.as_str(),
                    found.account.as_deref(),
                    found.url.as_str()
                ),
                (kind, bucket, account, url),
                "{text}"
            );
        }
    }

    #[test]
    fn what_cannot_be_a_bucket_is_refused_with_what_to_write_and_without_the_credential() {
        for (text, hint) in [
            ("s3:///wh", "s3://bucket/path"),
            ("s3://AKIA:hunter2@tills/wh", "without it"),
            ("s3://hunter2@tills/wh", "without it"),
            ("az://tills/wh?sv=1&sig=hunter2", "sas_token"),
            ("s3://tills/wh#hunter2", "%23"),
            ("s3://tills:9000/wh", "endpoint"),
            ("s3://ti lls/wh", "FORMS"),
            (
                "https://user:hunter2@s3.eu-central-1.amazonaws.com/tills",
                "s3://bucket/path",
            ),
            ("gcs://tills/wh", "gs://bucket/path"),
            ("abfss://tills@hunter2.example.com/wh", "account_name"),
            (
                "abfss://tills:hunter2@acme.dfs.core.windows.net/wh",
                "without it",
            ),
            ("ftp://hunter2@tills/wh", "s3://bucket/path"),
            ("s3://tills/w%2541", "percent sign"),
            ("s3//tills://x", "s3://bucket/path"),
        ] {
            let location = WarehouseLocation::new(text);
            let error = location.check().expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            let hint = if hint == "FORMS" {
                "s3://bucket/path"
            } else {
                hint
            };
            let told = error.hint_text().unwrap_or_default();
            assert!(told.contains(hint), "{text}: {error:?}");
            let is_host = text.contains("hunter2.example");
            assert!(
                is_host || !format!("{error:?}{location:?}").contains("hunter2"),
                "{text}: {error:?}"
            );
        }
    }
}
