//! Answers to a wrong configuration of an object store.
//!
//! Invariant: each answer names the call or the key and what to do, shows no credential, and leaves nothing in the store.

use super::servers::{CloudPlace, azurite, seaweedfs};
use crate::project::TestProject;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

/// Runs `check` and `sync`, which must both fail with these words; nothing secret may be in what they say.
async fn refused(
    project: &TestProject,
    place: &CloudPlace,
    code: i32,
    words: &[&str],
    secrets: &[&str],
) {
    place.write(project);
    for command in [&["check"][..], &["sync", "--to", "2026-01-02"]] {
        let ran = project.run(command).await;
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(
            ran.code,
            Some(code),
            "{command:?} with {}: {said}",
            place.url
        );
        for word in words {
            assert!(
                said.contains(word),
                "{command:?} with {} does not say {word:?}: {said}",
                place.url
            );
        }
        for secret in secrets {
            assert!(!said.contains(secret), "{secret} is in {said}");
        }
    }
}

async fn project(sandbox: &Sandbox, place: &CloudPlace) -> TestProject {
    let project = TestProject::new(&sandbox.hecone_url()).await;
    place.settle(&project);
    project
}

async fn small_sandbox() -> Sandbox {
    let options = SandboxOptions {
        transactions: 20,
        ..SandboxOptions::default()
    };
    Sandbox::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_on_s3_are_told_with_what_to_do() {
    let server = seaweedfs().await;
    let good = CloudPlace::s3(server, "bad/wh");
    let sandbox = small_sandbox().await;
    let project = project(&sandbox, &good).await;
    let secrets = ["tillsecret", "wrongsecret", "hunter2"];
    let check = async |place: &CloudPlace, code: i32, words: &[&str]| {
        refused(&project, place, code, words, &secrets).await
    };
    check(
        &good.at("s3://nowhere/wh"),
        1,
        &["there is no bucket `nowhere`: make it", "s3://nowhere/wh"],
    )
    .await;
    check(
        &good.with("access_key_id", "wrongkey"),
        1,
        &[
            "access key is not known",
            "correct access_key_id",
            "get s3://tills/bad/wh/",
        ],
    )
    .await;
    check(
        &good.with("secret_access_key", "wrongsecret"),
        1,
        &["signature is refused", "secret_access_key"],
    )
    .await;
    let reader = good
        .with("access_key_id", "readkey")
        .with("secret_access_key", "readsecret");
    check(
        &reader,
        1,
        &["access is denied", "s3:PutObject", "cannot be written"],
    )
    .await;
    check(
        &good.with("allow_http", ""),
        2,
        &["not encrypted", "allow_http"],
    )
    .await;
    check(
        &good.with("endpoint", ""),
        2,
        &["warehouse.options.region is missing", "AWS_REGION"],
    )
    .await;
    let nobody = good
        .with("endpoint", "http://127.0.0.1:1")
        .with("max_retries", "1");
    check(
        &nobody,
        1,
        &[
            "nobody answers at http://127.0.0.1:1",
            "warehouse.options.endpoint",
        ],
    )
    .await;
    check(
        &good.at("s3://key:hunter2@tills/wh"),
        2,
        &["holds a credential", "warehouse.options"],
    )
    .await;
    check(
        &good.with("acces_key_id", "hunter2"),
        2,
        &[
            "there is no such option",
            "Did you mean `access_key_id`?",
            "tillhouse.yaml:",
        ],
    )
    .await;
    check(
        &good.with("secret_access_key", "{ file: /no/such/file }"),
        2,
        &["warehouse.options.secret_access_key", "/no/such/file"],
    )
    .await;
    check(
        &good
            .with("profile", "nobody")
            .with("access_key_id", "")
            .with("secret_access_key", ""),
        2,
        &["no AWS profile `nobody`"],
    )
    .await;
    let (names, uploads) = server.list("bad/").await;
    assert!(
        names.is_empty() && uploads.is_empty(),
        "{names:?} {uploads:?}"
    );
    // A folder that is a file.
    server.order("put bad/file").await;
    let told = [
        "a file stands where the warehouse should be",
        "s3://tills/bad/file",
        "Name another place",
    ];
    check(&good.at("s3://tills/bad/file"), 2, &told).await;
    let (names, _) = server.list("bad/").await;
    assert_eq!(names, ["bad/file"]);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_whose_credential_may_read_alone_loses_nothing_and_reading_goes_on() {
    let server = seaweedfs().await;
    let place = CloudPlace::s3(server, "readonly/wh");
    let sandbox = small_sandbox().await;
    let project = project(&sandbox, &place).await;
    project.sync(&["--to", "2026-01-03"]).await;
    let rows = project.count("SELECT count(*) FROM transactions").await;
    let reader = place
        .with("access_key_id", "readkey")
        .with("secret_access_key", "readsecret");
    reader.write(&project);
    let ran = project.run(&["sync", "--to", "2026-01-06"]).await;
    assert!(matches!(ran.code, Some(1 | 3)), "{ran:?}");
    assert!(
        ran.stderr.contains("access is denied") && ran.stderr.contains("s3:PutObject"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        project.count("SELECT count(*) FROM transactions").await,
        rows
    );
    // A secret's file is read when the store is opened.
    let secret = project.path().join("secret");
    std::fs::write(&secret, "tillsecret\n").unwrap();
    place
        .with("secret_access_key", "{ file: secret }")
        .write(&project);
    project.sync(&["--to", "2026-01-06"]).await;
    assert!(project.count("SELECT count(*) FROM transactions").await > rows);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_the_environment_and_from_a_profile() {
    let server = seaweedfs().await;
    let place = CloudPlace::s3(server, "profile/wh");
    let sandbox = small_sandbox().await;
    let project = project(&sandbox, &place).await;
    let bare = place
        .with("access_key_id", "")
        .with("secret_access_key", "")
        .with("endpoint", "")
        .with("allow_http", "");
    bare.write(&project);
    let home = project.path().join("home");
    std::fs::create_dir_all(home.join(".aws")).unwrap();
    let endpoint = server.text("endpoint");
    let config = format!("[profile tills]\nregion = us-east-1\nendpoint_url = {endpoint}\n");
    std::fs::write(home.join(".aws/config"), config).unwrap();
    std::fs::write(
        home.join(".aws/credentials"),
        "[tills]\naws_access_key_id = tillkey\naws_secret_access_key = tillsecret\n",
    )
    .unwrap();
    let run = async |variables: &[(&str, &str)]| {
        let mut command = project.command(&["check"]);
        command.envs(variables.iter().copied());
        crate::project::run_to_end(command).await
    };
    let home = home.to_str().unwrap();
    let profile = [
        ("HOME", home),
        ("AWS_PROFILE", "tills"),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    let ran = run(&profile).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = run(&profile[..2]).await;
    assert!(
        ran.code == Some(2) && ran.stderr.contains("not encrypted"),
        "{ran:?}"
    );
    let variables = [
        ("AWS_ACCESS_KEY_ID", "tillkey"),
        ("AWS_SECRET_ACCESS_KEY", "tillsecret"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    let ran = run(&variables).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_on_azure_are_told_with_what_to_do() {
    let good = CloudPlace::azure(azurite().await, "bad/wh");
    let sandbox = small_sandbox().await;
    let project = project(&sandbox, &good).await;
    let key = project.env("AZURE_KEY");
    let secrets = [key.as_str(), "hunter2"];
    let check = async |place: &CloudPlace, code: i32, words: &[&str]| {
        refused(&project, place, code, words, &secrets).await
    };
    check(
        &good.at("az://nowhere/wh"),
        1,
        &["there is no container `nowhere`: make it"],
    )
    .await;
    check(
        &good.with("account_key", "d3Jvbmc="),
        1,
        &["signature is refused", "account_key"],
    )
    .await;
    check(
        &good.with("account_key", "hunter2!"),
        2,
        &["warehouse.options"],
    )
    .await;
    check(
        &good.with("account_name", ""),
        2,
        &["account_name is missing"],
    )
    .await;
    check(&good.with("allow_http", ""), 2, &["not encrypted"]).await;
    let token = good
        .with("account_key", "")
        .with("sas_token", "sv=2024-01-01&sp=rl&sig=hunter2");
    check(&token, 1, &["az://tills/bad/wh"]).await;
    check(
        &good.at("az://tills/wh?sv=1&sig=hunter2"),
        2,
        &["sas_token"],
    )
    .await;
    check(&good.with("region", "eu"), 2, &["It is one of s3://."]).await;
    sandbox.stop().await;
}
