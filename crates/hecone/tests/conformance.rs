//! Conformance suite of a source, for HecOne against the sandbox: one test a clause.
//!
//! Invariant: what the sandbox holds is the measure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;
use tillhouse_extract::SourceConnection;
use tillhouse_extract::testing::{PageLinks, ResourceUnderTest, SourceUnderTest};
use tillhouse_hecone::HecOneConnection;
use tillhouse_model::Window;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

tillhouse_extract::conformance!(subject);

async fn subject() -> SourceUnderTest {
    let options = SandboxOptions {
        transactions: 700,
        ..SandboxOptions::default()
    };
    let window = Window::new(options.from, options.to).unwrap();
    let sandbox = Sandbox::start(options).await.unwrap();
    let connection = |secret: &str| {
        let written = serde_json::json!({
            "base_url": sandbox.hecone_url(),
            "client_id": "sandbox",
            "client_secret": secret,
            "paths": {"refresh": "/auth/refresh"},
        });
        serde_json::from_value::<HecOneConnection>(written).unwrap()
    };
    let (good, wrong) = (connection("sandbox-secret"), connection("not-the-secret"));
    SourceUnderTest::new(sandbox.url(), "hecone", window, move |limits| {
        good.clone().open(limits)
    })
    .refused(move |limits| wrong.clone().open(limits))
    .secret("sandbox-secret")
    .secret("not-the-secret")
    .login(["/hecone/auth/login", "/hecone/auth/refresh"])
    .token_lifetime(Duration::from_secs(3_600))
    .records(
        ResourceUnderTest::of("transactions")
            .key("/id")
            .time("/invoice/created_at")
            .time("/articles/0/start_time")
            .links(PageLinks::Ignored),
    )
    .keep_alive(sandbox)
}
