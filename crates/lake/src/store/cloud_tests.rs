//! Stores of clouds without a cloud: what is connected to, what is refused before it is, and what a failure says.
//!
//! Invariant: no request leaves this machine.

use super::*;
use crate::store::cloud_options::StoreOption;
use crate::store::location::{StoreAddress, WarehouseLocation};
use tillhouse_model::ErrorKind;

fn settings(url: &str, options: &[(&str, &str)], variables: &[(&str, &str)]) -> CloudSettings {
    let location = WarehouseLocation {
        url: url.to_owned(),
        options: options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), StoreOption::from(*value)))
            .collect(),
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    };
    match location.address().unwrap() {
        StoreAddress::Cloud(address) => CloudSettings {
            address,
            options: location.options,
            variables: location.variables,
        },
        StoreAddress::Folder(_) => panic!("{url} is a folder"),
    }
}

async fn told(
    url: &str,
    options: &[(&str, &str)],
    variables: &[(&str, &str)],
) -> tillhouse_model::Error {
    let error = CloudStore::open(settings(url, options, variables))
        .await
        .expect_err(url);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    error
}

#[tokio::test]
async fn what_cannot_work_is_said_before_anything_is_sent() {
    const S3: &str = "s3://tills/wh";
    const AZ: &str = "az://tills/wh";
    for (url, options, variables, words) in [
        (S3, &[][..], &[][..], "warehouse.options.region is missing"),
        (
            S3,
            &[("access_key_id", "hunter2")],
            &[],
            "no secret_access_key",
        ),
        (
            S3,
            &[("secret_access_key", "hunter2"), ("region", "x")],
            &[],
            "no access_key_id",
        ),
        (
            S3,
            &[("endpoint", "http://127.0.0.1:1")],
            &[],
            "not encrypted",
        ),
        (
            S3,
            &[("endpoint", "http://127.0.0.1:1"), ("allow_http", "false")],
            &[],
            "not encrypted",
        ),
        (S3, &[("endpoint", "127.0.0.1:9000")], &[], "is no address"),
        (
            S3,
            &[("endpoint", "https://u:hunter2@s3.example")],
            &[],
            "holds a credential",
        ),
        (
            S3,
            &[("region", "x"), ("conditional_put", "disabled")],
            &[],
            "is not etag",
        ),
        (
            S3,
            &[("region", "x"), ("allow_http", "perhaps")],
            &[],
            "perhaps",
        ),
        (
            S3,
            &[("region", "x"), ("profile", "nobody")],
            &[],
            "no AWS profile `nobody`",
        ),
        (
            S3,
            &[("region", "x")],
            &[("AWS_PROFILE", "nobody")],
            "no AWS profile `nobody`",
        ),
        (
            S3,
            &[],
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")],
            "not encrypted",
        ),
        (AZ, &[], &[], "account_name is missing"),
        (
            AZ,
            &[("account_name", "a"), ("account_key", "hunter2!")],
            &[],
            "warehouse.options",
        ),
        (
            AZ,
            &[("account_name", "a"), ("endpoint", "http://127.0.0.1:1")],
            &[],
            "not encrypted",
        ),
        (
            AZ,
            &[("endpoint", "https://x?sig=hunter2"), ("account_name", "a")],
            &[],
            "holds a credential",
        ),
        (
            "abfss://tills@acme.dfs.core.windows.net/wh",
            &[("account_name", "other")],
            &[],
            "name two accounts",
        ),
        (
            "gs://tills/wh",
            &[("service_account_key", "hunter2")],
            &[],
            "cannot be read",
        ),
        (
            "gs://tills/wh",
            &[
                ("base_url", "http://127.0.0.1:1"),
                ("skip_signature", "true"),
            ],
            &[],
            "not encrypted",
        ),
    ] {
        let error = told(url, options, variables).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.to_string().contains(words), "{words}: {error:?}");
        assert!(error.hint_text().is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn credentials_come_from_one_place() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().display().to_string();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let profile = "[default]\naws_access_key_id=A\naws_secret_access_key=B\nregion=eu-west-1\n[sso]\nsso_session=x\n";
    std::fs::write(home.path().join(".aws/credentials"), profile).unwrap();
    let home = ("HOME", path.as_str());
    let open = async |options: &[(&str, &str)], variables: &[(&str, &str)]| {
        let store = CloudStore::open(settings("s3://tills/wh", options, variables))
            .await
            .unwrap();
        let (_, connection) = store.state.connection();
        (
            connection.is_renewable,
            connection.profile.is_instance_identity,
        )
    };
    // From the profile `default`, which may say something else tomorrow.
    assert_eq!(open(&[], &[home]).await, (true, false));
    let given = [
        ("access_key_id", "k"),
        ("secret_access_key", "s"),
        ("region", "x"),
    ];
    assert_eq!(open(&given, &[home]).await, (false, false));
    // Keys of the environment go before a profile, and the profile that cannot be used is of no concern then.
    let keys = [
        home,
        ("AWS_ACCESS_KEY_ID", "k"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_PROFILE", "sso"),
        ("AWS_REGION", "x"),
    ];
    assert_eq!(open(&[], &keys).await, (false, false));
    let region = [("region", "x")];
    assert_eq!(open(&region, &[]).await, (false, true));
    let web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
        ("AWS_ROLE_ARN", "arn"),
    ];
    assert_eq!(open(&region, &web).await, (false, false));
    // An identity of the options goes before all of these: its token is asked for, which is not there, and nothing is sent.
    let why = async |identity: &[(&str, &str)]| {
        let nobody = [
            ("region", "x"),
            ("endpoint", "http://127.0.0.1:1"),
            ("allow_http", "true"),
            ("max_retries", "0"),
        ];
        let options = [&nobody[..], identity].concat();
        let store = CloudStore::open(settings("s3://tills/wh", &options, &keys))
            .await
            .unwrap();
        let error = store.get(&Path::from("wh/x")).await.unwrap_err();
        error.to_string()
    };
    assert!(why(&[]).await.contains("nobody answers"));
    let web = [
        ("web_identity_token_file", "/there/is/none"),
        ("role_arn", "arn:aws:iam::1:role/tills"),
    ];
    let container = [
        ("container_credentials_full_uri", "http://127.0.0.1:1/keys"),
        ("container_authorization_token_file", "/there/is/none"),
    ];
    for identity in [web, container] {
        let why = why(&identity).await;
        assert!(!why.contains("nobody answers"), "{why}");
    }
    let error = told("s3://tills/wh", &region, &[home, ("AWS_PROFILE", "sso")]).await;
    assert!(
        error.hint_text().unwrap().contains("export-credentials"),
        "{error:?}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_no_file_where_credentials_are_read_from_is_told_before_anybody_waits_for_it() {
    let zero = "/dev/zero";
    let of_s3 = [
        ("region", "x"),
        ("web_identity_token_file", zero),
        ("role_arn", "arn:aws:iam::1:role/tills"),
    ];
    let of_azure = [("account_name", "acme"), ("federated_token_file", zero)];
    for (url, options) in [
        ("s3://tills/wh", &of_s3[..]),
        ("az://tills/wh", &of_azure),
        ("gs://tills/wh", &[("service_account", zero)]),
        ("gs://tills/wh", &[("application_credentials", zero)]),
    ] {
        let error = told(url, options, &[]).await;
        assert!(error.to_string().contains("names a device"), "{error:?}");
    }
}

#[tokio::test]
async fn options_with_the_long_prefix_of_azure_reach_the_client() {
    let with = [
        ("azure_storage_account_name", "acme"),
        ("azure_storage_account_key", "aHVudGVyMg=="),
        ("azure_storage_endpoint", "http://127.0.0.1:1"),
        ("AZURE_STORAGE_ALLOW_HTTP", "true"),
        ("azure_storage_timeout", "3s"),
    ];
    CloudStore::open(settings("az://tills/wh", &with, &[]))
        .await
        .unwrap();
    let wrong = [("account_name", "acme"), ("azure_storage_timeout", "soon")];
    let error = told("az://tills/wh", &wrong, &[]).await;
    assert!(error.to_string().contains("soon"), "{error:?}");
}

#[tokio::test]
async fn nobody_at_an_endpoint_is_said_with_the_call_and_the_path() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for (url, mut options) in [
        (
            "s3://tills/wh",
            vec![
                ("access_key_id", "AKIAHUNTER"),
                ("secret_access_key", "hunter2"),
            ],
        ),
        (
            "az://tills/wh",
            vec![
                ("account_name", "acme"),
                ("sas_token", "sv=2024-01-01&sig=hunter2"),
            ],
        ),
    ] {
        options.extend([
            ("endpoint", endpoint.as_str()),
            ("allow_http", "true"),
            ("max_retries", "0"),
        ]);
        let store = CloudStore::open(settings(url, &options, &[]))
            .await
            .unwrap();
        let path = Path::from("wh/ops/format/format.json");
        let get = store.get(&path).await.expect_err(url);
        let list = store.list_with_delimiter(Some(&path)).await.expect_err(url);
        let listed = store
            .list(Some(&path))
            .next()
            .await
            .unwrap()
            .expect_err(url);
        let put = store.put(&path, "x".into()).await.expect_err(url);
        let delete = store.delete(&path).await.expect_err(url);
        let upload = store.put_multipart(&path).await.err();
        for (call, error) in [
            ("get", get),
            ("list", list),
            ("list", listed),
            ("put", put),
            ("delete", delete),
        ] {
            let text = error.to_string();
            assert!(
                text.contains(&format!("{call} {}/ops/format/format.json", url)),
                "{text}"
            );
            assert!(
                text.contains(&format!("nobody answers at {endpoint}")),
                "{text}"
            );
            assert!(!format!("{error:?}{text}").contains("hunter2"), "{error:?}");
        }
        // Azure begins an upload with its first part.
        assert!(upload.is_some() || url.starts_with("az"));
    }
}

/// Held by tests whose uploads another one would end.
static UPLOADS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Upload that remembers how it ended.
#[derive(Debug)]
struct WatchedUpload(Arc<Mutex<Vec<&'static str>>>);

#[async_trait]
impl MultipartUpload for WatchedUpload {
    fn put_part(&mut self, _: PutPayload) -> UploadPart {
        self.0.lock().unwrap().push("part");
        async { Ok(()) }.boxed()
    }
    async fn complete(&mut self) -> Result<PutResult> {
        self.0.lock().unwrap().push("complete");
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }
    async fn abort(&mut self) -> Result<()> {
        self.0.lock().unwrap().push("abort");
        Ok(())
    }
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_aborted_once_and_one_that_is_done_is_not() {
    let _alone = UPLOADS.lock().await;
    let options = [("region", "x"), ("skip_signature", "true")];
    let store = CloudStore::open(settings("s3://tills/wh", &options, &[]))
        .await
        .unwrap();
    let ends = Arc::new(Mutex::new(Vec::new()));
    let begin = || {
        CloudUpload::new(
            Box::new(WatchedUpload(Arc::clone(&ends))),
            Arc::clone(&store.state),
            store.state.connection().1,
            Path::from("x"),
        )
    };
    let taken = || std::mem::take(&mut *ends.lock().unwrap());
    let mut upload = begin();
    upload.put_part("x".into()).await.unwrap();
    drop(upload);
    tokio::task::yield_now().await;
    assert_eq!(taken(), ["part", "abort"]);
    let mut upload = begin();
    upload.complete().await.unwrap();
    drop(upload);
    tokio::task::yield_now().await;
    assert_eq!(taken(), ["complete"]);
    // At the end of the process nobody drops it any more.
    let upload = begin();
    end_uploads().await;
    assert_eq!(taken(), ["abort"]);
    drop(upload);
    let mut upload = begin();
    upload.abort().await.unwrap();
    assert!(upload.put_part("x".into()).await.is_err());
    drop(upload);
    tokio::task::yield_now().await;
    assert_eq!(taken(), ["abort"]);
}

/// A secret that says something else each time, and counts how often it was asked.
struct RotatingSecret(Mutex<u32>);

impl crate::store::cloud_options::SecretReader for RotatingSecret {
    fn read(&self) -> BoxFuture<'_, tillhouse_model::Result<tillhouse_model::Secret>> {
        let mut count = self.0.lock().unwrap();
        *count += 1;
        let secret = tillhouse_model::Secret::new(format!("secret-{count}"));
        async { Ok(secret) }.boxed()
    }
}

#[tokio::test]
async fn a_store_that_refuses_is_connected_anew_once_by_whoever_is_first() {
    let secret = Arc::new(RotatingSecret(Mutex::new(0)));
    let mut settings = settings(
        "s3://tills/wh",
        &[("region", "x"), ("access_key_id", "k")],
        &[],
    );
    let reader: Arc<dyn crate::store::cloud_options::SecretReader> = secret.clone();
    settings
        .options
        .insert("secret_access_key".to_owned(), StoreOption::Read(reader));
    let store = CloudStore::open(settings).await.unwrap();
    assert_eq!(*secret.0.lock().unwrap(), 1);
    // Two calls that were refused by the first connection: the second finds the new one.
    assert!(store.state.renew(0).await.is_some());
    assert!(store.state.renew(0).await.is_some());
    assert_eq!(
        (*secret.0.lock().unwrap(), store.state.connection().0),
        (2, 1)
    );
    let calls = Mutex::new(0);
    let refused = |_: Arc<dyn ObjectStore>| {
        *calls.lock().unwrap() += 1;
        async {
            Err::<(), _>(Error::PermissionDenied {
                path: "x".to_owned(),
                source: "403 Forbidden".into(),
            })
        }
        .boxed()
    };
    let error = store
        .state
        .call("get", Some(&Path::from("wh/x")), refused)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("get s3://tills/wh/x: access is denied"),
        "{error}"
    );
    assert_eq!((*calls.lock().unwrap(), *secret.0.lock().unwrap()), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_given_up_soon_and_one_that_has_answered_is_waited_for() {
    let options = [
        ("region", "x"),
        ("access_key_id", "k"),
        ("secret_access_key", "s"),
    ];
    let store = CloudStore::open(settings("s3://tills/wh", &options, &[]))
        .await
        .unwrap();
    let never = |_: Arc<dyn ObjectStore>| std::future::pending::<Result<()>>().boxed();
    let error = store.state.call("get", None, never).await.unwrap_err();
    assert!(
        error.to_string().contains("no answer within 15 s"),
        "{error}"
    );
    let answers = |_: Arc<dyn ObjectStore>| async { Ok(()) }.boxed();
    store.state.call("get", None, answers).await.unwrap();
    let waiting = store.state.call("get", None, never);
    assert!(
        tokio::time::timeout(FIRST_ANSWER * 10, waiting)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn what_works_beneath_works_through_it() {
    let _alone = UPLOADS.lock().await;
    let options = [("region", "x"), ("skip_signature", "true")];
    let store = CloudStore::open(settings("s3://tills/wh", &options, &[]))
        .await
        .unwrap();
    let (_, connection) = store.state.connection();
    let beneath = CloudConnection {
        store: Arc::new(object_store::memory::InMemory::new()),
        profile: connection.profile.clone(),
        is_renewable: false,
        is_patient: false,
    };
    *store.state.current.write().unwrap() = (0, Arc::new(beneath));
    let listed = async |prefix: &str| -> Vec<String> {
        let prefix = Path::from(prefix);
        let found: Vec<ObjectMeta> = store.list(Some(&prefix)).try_collect().await.unwrap();
        found
            .into_iter()
            .map(|found| found.location.to_string())
            .collect()
    };
    assert!(listed("wh").await.is_empty());
    for name in ["wh/a", "wh/b"] {
        store.put(&Path::from(name), name.into()).await.unwrap();
    }
    assert_eq!(listed("wh").await, ["wh/a", "wh/b"]);
    let after: Vec<ObjectMeta> = store
        .list_with_offset(Some(&Path::from("wh")), &Path::from("wh/a"))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(after.len(), 1);
    let found = store.get(&Path::from("wh/b")).await.unwrap();
    assert_eq!(found.bytes().await.unwrap(), "wh/b");
    let mut upload = store.put_multipart(&Path::from("wh/c")).await.unwrap();
    upload.put_part("x".into()).await.unwrap();
    upload.complete().await.unwrap();
    store.delete(&Path::from("wh/a")).await.unwrap();
    assert_eq!(listed("wh").await, ["wh/b", "wh/c"]);
    let gone = store.get(&Path::from("wh/a")).await.unwrap_err();
    assert!(
        gone.to_string()
            .contains("get s3://tills/wh/a: it is not there"),
        "{gone}"
    );
}
