//! Conformance suite of a source, for PACE's two lists against the sandbox: one test a clause.
//!
//! Invariant: what the sandbox holds is the measure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;
use tillhouse_extract::SourceConnection;
use tillhouse_extract::testing::{ResourceUnderTest, SourceUnderTest};
use tillhouse_model::Window;
use tillhouse_pace::PaceConnection;
use tillhouse_sandbox::{PaceApi, Sandbox, SandboxOptions};

mod of_a_partner {
    //! A partner's list, by the time of creation.

    tillhouse_extract::conformance!(|| super::subject(super::PaceApi::Partner));
}

mod of_changes {
    //! Its successor, by the time of last change.

    tillhouse_extract::conformance!(|| super::subject(super::PaceApi::Successor));
}

async fn subject(api: PaceApi) -> SourceUnderTest {
    let options = SandboxOptions {
        transactions: 10,
        pace_transactions: Some(800),
        pace_api: api,
        ..SandboxOptions::default()
    };
    let window = Window::new(options.from, options.to).unwrap();
    let sandbox = Sandbox::start(options).await.unwrap();
    let (name, time, filters) = match api {
        PaceApi::Partner => ("partner", "/attributes/createdAt", serde_json::json!({})),
        PaceApi::Successor => (
            "2025-1",
            "/attributes/updatedAt",
            serde_json::json!({"partner": "filter[partner]"}),
        ),
    };
    let connection = |secret: &str| {
        let written = serde_json::json!({
            "base_url": sandbox.url_of("pace"),
            "token_url": format!("{}/auth/token", sandbox.url_of("pace")),
            "client_id": "sandbox",
            "client_secret": secret,
            "partners": sandbox.partners(),
            "api": name,
            "filters": filters,
        });
        serde_json::from_value::<PaceConnection>(written).unwrap()
    };
    let (good, wrong) = (connection("sandbox-secret"), connection("not-the-secret"));
    SourceUnderTest::new(sandbox.url(), "pace", window, move |limits| {
        good.clone().open(limits)
    })
    .refused(move |limits| wrong.clone().open(limits))
    .secret("sandbox-secret")
    .secret("not-the-secret")
    .login(["/pace/auth/token"])
    .token_lifetime(Duration::from_secs(3_600))
    .records(ResourceUnderTest::of("transactions").key("/id").time(time))
    .keep_alive(sandbox)
}
