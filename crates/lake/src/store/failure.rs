//! Failures of a cloud's object store in words: which call, on which path, why, and what to do about it.
//!
//! Invariant: no text of a server or of a library is handed on but a code of letters and the message beside it, without addresses' queries
//! and without any of the store's secrets: what a server answers to a wrong signature repeats half of what was signed.

use crate::store::cloud_options::CloudKind;
use object_store::Error;
use std::fmt;
use tillhouse_model::Secret;

/// A failed call to a store, as the error beneath [`object_store::Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreFailure {
    call: &'static str,
    url: String,
    why: String,
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.call, self.url, self.why)
    }
}

impl std::error::Error for StoreFailure {}

/// True if a store's call is what failed beneath an error: the warehouse itself may be whole. A store that says that an object is not there has answered.
pub fn is_store_failure(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref::<Error>(), Some(Error::NotFound { .. })) {
            return false;
        }
        if error.is::<StoreFailure>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// Facts about a store, for words about its failures.
#[derive(Debug, Clone)]
pub(crate) struct StoreProfile {
    pub(crate) kind: CloudKind,
    pub(crate) bucket: String,
    /// Scheme, host and port that requests go to, where it is not the cloud's own.
    pub(crate) endpoint: Option<String>,
    /// True if nothing was configured, so that the machine's own identity is asked.
    pub(crate) is_instance_identity: bool,
    /// Values that must not be in any text.
    pub(crate) secrets: Vec<Secret>,
}

/// Reason of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    NoBucket,
    UnknownKey,
    WrongSignature,
    ClockOff,
    Expired,
    Denied,
    WrongRegion,
    NotReached,
    NoIdentity,
    Untrusted,
    Slow,
    Full,
    Failing,
    Unencrypted,
    Other,
}

impl Reason {
    /// The reason, from all that an error says.
    fn of(text: &str, code: Option<&str>) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match code.unwrap_or_default() {
            "NoSuchBucket"
            | "ContainerNotFound"
            | "ContainerBeingDeleted"
            | "ResourceNotFound"
            | "InvalidBucketName"
            | "InvalidResourceName" => {
                return Self::NoBucket;
            }
            "InvalidAccessKeyId" | "InvalidClientTokenId" => return Self::UnknownKey,
            "SignatureDoesNotMatch" => return Self::WrongSignature,
            "RequestTimeTooSkewed" | "RequestExpired" => return Self::ClockOff,
            "ExpiredToken"
            | "ExpiredTokenException"
            | "TokenRefreshRequired"
            | "InvalidToken"
            | "InvalidAuthenticationInfo" => {
                return Self::Expired;
            }
            "AuthenticationFailed" => {
                // Azure says the same of a clock, an old token and a wrong key; the detail tells them apart.
                return match () {
                    () if has(&["date header", "Date header"]) => Self::ClockOff,
                    () if has(&[
                        "Signature not valid in the specified time frame",
                        "Lifetime validation failed",
                    ]) =>
                    {
                        Self::Expired
                    }
                    () => Self::WrongSignature,
                };
            }
            // Azurite's word for a wrong key; Azure's own for a network that is not let in.
            "AuthorizationFailure" if has(&["including the signature"]) => {
                return Self::WrongSignature;
            }
            "AccessDenied"
            | "AccountProblem"
            | "AllAccessDisabled"
            | "AuthorizationFailure"
            | "AuthorizationPermissionMismatch"
            | "AuthorizationResourceTypeMismatch"
            | "AuthorizationServiceMismatch"
            | "AuthorizationProtocolMismatch"
            | "InsufficientAccountPermissions"
            | "KeyBasedAuthenticationNotPermitted"
            | "NoAuthenticationInformation" => return Self::Denied,
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "IllegalLocationConstraintException" => return Self::WrongRegion,
            "SlowDown" | "ServerBusy" | "TooManyRequests" => return Self::Slow,
            "XMinioStorageFull"
            | "InsufficientStorage"
            | "QuotaExceeded"
            | "ServiceQuotaExceededException" => return Self::Full,
            "InternalError" | "InternalServerError" if !has(&["o space left on device"]) => {
                return Self::Failing;
            }
            _ => {}
        }
        match () {
            () if has(&["The specified bucket does not exist"]) => Self::NoBucket,
            () if has(&[
                "507 Insufficient Storage",
                "o space left on device",
                "o writable volume",
                "o free volumes",
            ]) =>
            {
                Self::Full
            }
            () if has(&["redirect without LOCATION"]) => Self::WrongRegion,
            () if has(&["URL scheme is not allowed"]) => Self::Unencrypted,
            () if has(&[
                "169.254.",
                "metadata.google",
                "InstanceProfile",
                "instance metadata",
                "managed identity",
                "/metadata/identity",
            ]) =>
            {
                Self::NoIdentity
            }
            () if has(&[
                "certificate",
                "UnknownIssuer",
                "InvalidContentType",
                "tls handshake",
            ]) =>
            {
                Self::Untrusted
            }
            () if has(&["403 Forbidden", "401 Unauthorized"]) => Self::Denied,
            () if has(&["429 ", "503 Service Unavailable"]) => Self::Slow,
            () if has(&[
                "error trying to connect",
                "onnection refused",
                "dns error",
                "onnection reset",
                "timed out",
                "error sending request",
                "onnection closed",
                "broken pipe",
                "HTTP error",
            ]) =>
            {
                Self::NotReached
            }
            () => Self::Other,
        }
    }

    /// True if other credentials may help.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::UnknownKey | Self::WrongSignature | Self::Expired | Self::Denied
        )
    }
}

/// The reason of a store's error.
pub(crate) fn reason(error: &Error) -> Reason {
    let text = chain(error);
    Reason::of(&text, element(&text, "Code"))
}

/// An error of a store with the call, the path and the reason instead of what the library says. Its kind stays, but for a bucket that is not
/// there: that is no file that is not there.
pub(crate) fn explain(
    store: &StoreProfile,
    call: &'static str,
    url: String,
    error: Error,
) -> Error {
    let text = chain(&error);
    let code = element(&text, "Code");
    let reason = Reason::of(&text, code);
    let is_answer = matches!(
        error,
        Error::NotFound { .. }
            | Error::AlreadyExists { .. }
            | Error::Precondition { .. }
            | Error::NotModified { .. }
    );
    if is_answer && reason != Reason::NoBucket {
        let why = match &error {
            Error::NotFound { .. } => "it is not there",
            Error::AlreadyExists { .. } => "it is there already",
            _ => "it is not what it was",
        };
        let source = Box::new(StoreFailure {
            call,
            url,
            why: why.to_owned(),
        });
        return match error {
            Error::NotFound { path, .. } => Error::NotFound { path, source },
            Error::AlreadyExists { path, .. } => Error::AlreadyExists { path, source },
            Error::Precondition { path, .. } => Error::Precondition { path, source },
            Error::NotModified { path, .. } => Error::NotModified { path, source },
            _ => Error::Generic {
                store: "store",
                source,
            },
        };
    }
    let why = store.words(call, reason, &text, code);
    let source = Box::new(StoreFailure { call, url, why });
    match error {
        Error::PermissionDenied { path, .. } => Error::PermissionDenied { path, source },
        Error::Unauthenticated { path, .. } => Error::Unauthenticated { path, source },
        Error::NotSupported { .. } => Error::NotSupported { source },
        error @ Error::NotImplemented { .. } => error,
        _ => Error::Generic {
            store: store.kind.store(),
            source,
        },
    }
}

/// Error of a store that has not answered at all yet.
pub(crate) fn silent(store: &StoreProfile, call: &'static str, url: String, seconds: u64) -> Error {
    let reason = if store.is_instance_identity {
        Reason::NoIdentity
    } else {
        Reason::NotReached
    };
    let why = store.words(call, reason, &format!("no answer within {seconds} s"), None);
    Error::Generic {
        store: store.kind.store(),
        source: Box::new(StoreFailure { call, url, why }),
    }
}

impl CloudKind {
    pub(crate) fn store(self) -> &'static str {
        match self {
            Self::S3 => "S3",
            Self::Azure => "Azure",
            Self::Gcs => "GCS",
        }
    }
}

impl StoreProfile {
    fn words(&self, call: &str, reason: Reason, text: &str, code: Option<&str>) -> String {
        let (kind, bucket) = (self.kind, self.bucket.as_str());
        let pick = |s3: &str, azure: &str, gcs: &str| -> String {
            match kind {
                CloudKind::S3 => s3.to_owned(),
                CloudKind::Azure => azure.to_owned(),
                CloudKind::Gcs => gcs.to_owned(),
            }
        };
        let is_writing = matches!(call, "put" | "upload" | "delete" | "copy");
        match reason {
            Reason::NoBucket => {
                let noun = if kind == CloudKind::Azure { "container" } else { "bucket" };
                format!("there is no {noun} `{bucket}`: make it, or correct warehouse.url (and the region or account beside it)")
            }
            Reason::UnknownKey => {
                "the access key is not known there: correct access_key_id, which stands in warehouse.options, AWS_ACCESS_KEY_ID or the profile"
                    .to_owned()
            }
            Reason::WrongSignature => pick(
                "the signature is refused: correct secret_access_key, which stands in warehouse.options, AWS_SECRET_ACCESS_KEY or the profile",
                "the signature is refused: correct account_key or sas_token, which stand in warehouse.options or in AZURE_STORAGE_ACCOUNT_KEY, \
                 and account_name",
                "the signature is refused: give warehouse.options.service_account the key file that is valid now",
            ),
            Reason::ClockOff => {
                "this machine's clock is off, and signatures count for a few minutes only: set it (timedatectl set-ntp true)".to_owned()
            }
            Reason::Expired => pick(
                "the credentials have expired: get new ones (`aws sso login`, or a new session_token)",
                "the credentials have expired or are not valid yet: get a new sas_token or token, or set this machine's clock",
                "the credentials have expired: get new ones (`gcloud auth application-default login`)",
            ),
            Reason::Denied if is_writing => pick(
                "access is denied: the credentials must be allowed s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload below the \
                 warehouse's path; to read alone is not enough for it",
                "access is denied: the credentials need the role Storage Blob Data Contributor on the container, or a SAS token with sp=racwdl; \
                 to read alone is not enough for it",
                "access is denied: the credentials need the role Storage Object User on the bucket; to read alone is not enough for it",
            ),
            Reason::Denied => pick(
                "access is denied: the credentials must be allowed s3:ListBucket on the bucket and s3:GetObject below the warehouse's path",
                "access is denied: the credentials need the role Storage Blob Data Reader on the container, or a SAS token with sp=rl",
                "access is denied: the credentials need the role Storage Object Viewer on the bucket",
            ),
            Reason::WrongRegion => {
                let region = element(text, "Region")
                    .filter(|region| region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
                    .map_or_else(String::new, |region| format!(", {region}"));
                format!("the bucket lies in another region{region}: set warehouse.options.region to it")
            }
            Reason::NotReached => {
                let place = match &self.endpoint {
                    Some(endpoint) => format!("nobody answers at {endpoint}: check warehouse.options.endpoint"),
                    None => pick(
                        "the store cannot be reached: check warehouse.options.region",
                        "the store cannot be reached: check warehouse.options.account_name",
                        "the store cannot be reached: check",
                    ),
                };
                format!("{place}, the network and a proxy's variables ({})", self.plain(text.rsplit(": ").next().unwrap_or(text), 160))
            }
            Reason::NoIdentity => pick(
                "no credentials were found, neither in warehouse.options nor in AWS_ACCESS_KEY_ID, a profile or this machine's own identity: \
                 set access_key_id and secret_access_key, or profile",
                "no credentials were found, neither in warehouse.options nor in AZURE_STORAGE_ACCOUNT_KEY or this machine's own identity: set \
                 account_key, sas_token, or client_id with client_secret and tenant_id",
                "no credentials were found, neither in warehouse.options nor in GOOGLE_APPLICATION_CREDENTIALS or this machine's own identity: \
                 set service_account to a key file",
            ),
            Reason::Untrusted => {
                "its certificate is not trusted here, or it does not speak TLS: name your own authority's certificates in SSL_CERT_FILE, or \
                 correct the endpoint"
                    .to_owned()
            }
            Reason::Unencrypted => {
                "its address is http:// and not encrypted: set warehouse.options.allow_http to true if that is meant".to_owned()
            }
            Reason::Full => "the store is full: make room there, or let it have more; nothing that was published is lost, and the next run goes on".to_owned(),
            Reason::Failing => {
                let code = self.plain(code.unwrap_or_default(), 60);
                let room = if is_writing { ", and at the room on its disk" } else { "" };
                format!("the store failed, also when it was asked again, and says no more than {code}: of a server of your own look at its log{room}; else try again later")
            }
            Reason::Slow => "the store asks for patience: try again later, or raise warehouse.options.max_retries".to_owned(),
            Reason::Other => match (code, element(text, "Message")) {
                (Some(code), Some(message)) => format!("{} ({})", self.plain(message, 200), self.plain(code, 60)),
                (Some(code), None) => self.plain(code, 60),
                (None, _) => self.plain(text, 240),
            },
        }
    }

    /// The beginning of a text on one line, without queries of addresses and without the store's secrets.
    pub(crate) fn plain(&self, text: &str, longest: usize) -> String {
        let mut text = text.split('<').next().unwrap_or_default().to_owned();
        for secret in self
            .secrets
            .iter()
            .filter(|secret| secret.expose().len() >= 6)
        {
            text = text.replace(secret.expose(), "***");
        }
        let words: Vec<String> = text
            .split_whitespace()
            .map(|word| match word.find('?') {
                Some(at) if word.contains("://") || word.contains('=') => {
                    format!("{}?***", word.get(..at).unwrap_or_default())
                }
                _ => word.to_owned(),
            })
            .collect();
        let text = words.join(" ");
        let short: String = text.chars().take(longest).collect();
        if short.len() < text.len() {
            format!("{short}...")
        } else {
            short
        }
    }
}

/// All that an error and those beneath it say.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}

/// Content of the first element of that name in a server's answer.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let start = text.find(&format!("<{name}>"))? + name.len() + 2;
    let rest = text.get(start..)?;
    rest.get(..rest.find("</")?)
        .map(str::trim)
        .filter(|content| !content.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(kind: CloudKind) -> StoreProfile {
        StoreProfile {
            kind,
            bucket: "tills".to_owned(),
            endpoint: None,
            is_instance_identity: false,
            secrets: vec![Secret::new("hunter2")],
        }
    }

    fn generic(text: &str) -> Error {
        Error::Generic {
            store: "S3",
            source: text.to_owned().into(),
        }
    }

    fn answer(status: &str, code: &str, rest: &str) -> Error {
        generic(&format!(
            "Error performing GET https://s3.example/tills/x?X-Amz-Signature=hunter2 in 1ms - Server returned non-2xx status code: {status}: \
             <?xml version=\"1.0\"?><Error><Code>{code}</Code>{rest}</Error>"
        ))
    }

    fn told(kind: CloudKind, call: &'static str, error: Error) -> String {
        let error = explain(&profile(kind), call, "s3://tills/wh/x".to_owned(), error);
        assert!(is_store_failure(&error), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(call) && text.contains("s3://tills/wh/x"),
            "{text}"
        );
        assert!(!format!("{text}{error:?}").contains("hunter2"), "{text}");
        text
    }

    #[test]
    fn every_reason_names_the_call_the_path_and_what_to_do() {
        use CloudKind::{Azure, Gcs, S3};
        for (kind, call, error, words) in [
            (
                S3,
                "get",
                answer("404 Not Found", "NoSuchBucket", "<Message>no</Message>"),
                "there is no bucket `tills`",
            ),
            (
                Azure,
                "get",
                answer("404 Not Found", "ContainerNotFound", ""),
                "there is no container `tills`",
            ),
            (
                Gcs,
                "get",
                generic("404: The specified bucket does not exist."),
                "there is no bucket",
            ),
            (
                S3,
                "get",
                answer(
                    "403 Forbidden",
                    "InvalidAccessKeyId",
                    "<AWSAccessKeyId>hunter2</AWSAccessKeyId>",
                ),
                "correct access_key_id",
            ),
            (
                S3,
                "get",
                answer(
                    "403 Forbidden",
                    "SignatureDoesNotMatch",
                    "<StringToSign>hunter2</StringToSign>",
                ),
                "secret_access_key",
            ),
            (
                S3,
                "put",
                answer("403 Forbidden", "RequestTimeTooSkewed", ""),
                "clock is off",
            ),
            (
                Azure,
                "get",
                answer(
                    "403",
                    "AuthenticationFailed",
                    "<Message>Server failed</Message><AuthenticationErrorDetail>Request date header too old: 'hunter2'</AuthenticationErrorDetail>",
                ),
                "clock is off",
            ),
            (
                Azure,
                "get",
                answer(
                    "403",
                    "AuthenticationFailed",
                    "<Message>The MAC signature hunter2</Message><AuthenticationErrorDetail>Server used: x-ms-date:Mon</AuthenticationErrorDetail>",
                ),
                "account_key",
            ),
            (
                Azure,
                "get",
                answer(
                    "403",
                    "AuthenticationFailed",
                    "<AuthenticationErrorDetail>Signature not valid in the specified time frame",
                ),
                "sas_token",
            ),
            (
                S3,
                "get",
                answer("400 Bad Request", "ExpiredToken", ""),
                "aws sso login",
            ),
            (
                S3,
                "put",
                answer("403 Forbidden", "AccessDenied", ""),
                "s3:PutObject",
            ),
            (
                S3,
                "list",
                answer("403 Forbidden", "AccessDenied", ""),
                "s3:ListBucket",
            ),
            (
                S3,
                "head",
                generic("Server returned non-2xx status code: 403 Forbidden: "),
                "s3:GetObject",
            ),
            (
                Azure,
                "put",
                answer("403", "AuthorizationPermissionMismatch", ""),
                "Storage Blob Data Contributor",
            ),
            (
                S3,
                "get",
                answer(
                    "400 Bad Request",
                    "AuthorizationHeaderMalformed",
                    "<Message>m</Message><Region>eu-west-1</Region>",
                ),
                "another region, eu-west-1",
            ),
            (
                S3,
                "get",
                generic("Received redirect without LOCATION, this normally"),
                "warehouse.options.region",
            ),
            (
                S3,
                "get",
                generic("error sending request: Connection refused (os error 111)"),
                "cannot be reached",
            ),
            (
                S3,
                "get",
                generic("http://169.254.169.254/latest/api/token: error sending request"),
                "no credentials were found",
            ),
            (
                S3,
                "get",
                generic("error: invalid peer certificate: UnknownIssuer"),
                "SSL_CERT_FILE",
            ),
            (
                S3,
                "get",
                generic("builder error for url (http://x/): URL scheme is not allowed"),
                "allow_http",
            ),
            (
                S3,
                "put",
                answer("503 Service Unavailable", "SlowDown", ""),
                "max_retries",
            ),
            (
                S3,
                "put",
                answer(
                    "507 Insufficient Storage",
                    "XMinioStorageFull",
                    "<Message>Storage backend has reached its minimum free drive threshold.</Message>",
                ),
                "the store is full: make room",
            ),
            (
                S3,
                "put",
                answer("403 Forbidden", "QuotaExceeded", ""),
                "the store is full",
            ),
            (
                S3,
                "upload",
                answer(
                    "500 Internal Server Error",
                    "InternalError",
                    "<Message>write: no space left on device</Message>",
                ),
                "the store is full",
            ),
            (
                S3,
                "put",
                answer(
                    "500 Internal Server Error",
                    "InternalError",
                    "<Message>We encountered an internal error, please try again.</Message>",
                ),
                "InternalError: of a server of your own look at its log, and at the room on its disk",
            ),
            (
                S3,
                "put",
                answer(
                    "400 Bad Request",
                    "EntityTooLarge",
                    "<Message>too large hunter2</Message>",
                ),
                "too large *** (EntityTooLarge)",
            ),
            (
                S3,
                "get",
                generic("odd: https://x/y?sig=hunter2&a=b told hunter2"),
                "https://x/y?*** told ***",
            ),
        ] {
            let text = told(kind, call, error);
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn kinds_that_callers_ask_for_stay_and_a_missing_bucket_is_no_missing_file() {
        let there = |code: &str| Error::NotFound {
            path: "x".to_owned(),
            source: format!("404 <Code>{code}</Code>").into(),
        };
        let explained = |error| {
            explain(
                &profile(CloudKind::S3),
                "get",
                "s3://tills/x".to_owned(),
                error,
            )
        };
        let (missing, no_bucket) = (
            explained(there("NoSuchKey")),
            explained(there("NoSuchBucket")),
        );
        assert!(matches!(missing, Error::NotFound { .. }));
        assert!(matches!(no_bucket, Error::Generic { .. }));
        // A file that is gone is the warehouse's matter, however far below it is said.
        let read = |error| {
            let read = parquet::errors::ParquetError::External(Box::new(error));
            tillhouse_model::Error::data("a file cannot be read").because(read)
        };
        assert!(!is_store_failure(&read(missing)));
        assert!(is_store_failure(&read(no_bucket)));
        let exists = Error::AlreadyExists {
            path: "x".to_owned(),
            source: "412".into(),
        };
        assert!(matches!(explained(exists), Error::AlreadyExists { .. }));
        assert!(reason(&answer("400", "ExpiredToken", "")).is_refusal());
        assert!(!reason(&generic("dns error")).is_refusal());
    }
}
