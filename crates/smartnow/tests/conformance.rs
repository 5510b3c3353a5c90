//! Conformance suite of a source, for SmartNow and all its resources against the sandbox: one test a clause.
//!
//! Invariant: what the sandbox holds is the measure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tillhouse_extract::SourceConnection;
use tillhouse_extract::testing::{ResourceUnderTest, SourceUnderTest};
use tillhouse_model::Window;
use tillhouse_sandbox::{Sandbox, SandboxOptions};
use tillhouse_smartnow::{RESOURCES, SmartNowConnection};

tillhouse_extract::conformance!(subject);

async fn subject() -> SourceUnderTest {
    let options = SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(500),
        ..SandboxOptions::default()
    };
    // Vouchers and what they were used for go back further than sales.
    let window = Window::new(options.from, options.to).unwrap();
    let sandbox = Sandbox::start(options).await.unwrap();
    let connection = |password: &str| {
        let written = serde_json::json!({
            "base_url": sandbox.url_of("smartnow"), "username": "sandbox", "password": password,
        });
        serde_json::from_value::<SmartNowConnection>(written).unwrap()
    };
    let (good, wrong) = (connection("sandbox-secret"), connection("not-the-secret"));
    let mut subject = SourceUnderTest::new(sandbox.url(), "smartnow", window, move |limits| {
        good.clone().open(limits)
    })
    .refused(move |limits| wrong.clone().open(limits))
    .secret("sandbox-secret")
    .secret("not-the-secret")
    .login(["/smartnow/auth/login", "/smartnow/auth/refresh"]);
    for resource in RESOURCES {
        let records = match resource.name {
            "products"
            | "vouchers"
            | "voucher_logs"
            | "integration_records"
            | "integration_transactions" => {
                ResourceUnderTest::of(resource.name).key("/id").by_parents()
            }
            name => ResourceUnderTest::of(name).key("/id"),
        };
        subject = subject.records(match resource.name {
            "logs" => records.time("/createdAt").learns_by_change(),
            _ => records.time("/updatedAt"),
        });
    }
    subject.keep_alive(sandbox)
}
