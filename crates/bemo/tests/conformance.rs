//! Conformance suite of a source, for be-mo against the sandbox: one test a clause.
//!
//! Invariant: what the sandbox holds is the measure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tillhouse_bemo::BemoConnection;
use tillhouse_extract::SourceConnection;
use tillhouse_extract::testing::{PageLinks, ResourceUnderTest, SourceUnderTest};
use tillhouse_model::Window;
use tillhouse_sandbox::{BemoOptions, Sandbox, SandboxOptions};

mod by_range_headers {
    //! Pages are linked by a header.

    tillhouse_extract::conformance!(|| super::subject(true));
}

mod by_number {
    //! Pages are asked for by their number.

    tillhouse_extract::conformance!(|| super::subject(false));
}

async fn subject(range_headers: bool) -> SourceUnderTest {
    // The oldest first, so that what vanishes does so in front of what is still to be read.
    let bemo = BemoOptions {
        range_headers,
        oldest_first: true,
        ..BemoOptions::default()
    };
    let options = SandboxOptions {
        transactions: 10,
        bemo_sessions: Some(600),
        bemo,
        ..SandboxOptions::default()
    };
    let window = Window::new(options.from, options.to).unwrap();
    let sandbox = Sandbox::start(options).await.unwrap();
    let connection = |token: &str| {
        let written = serde_json::json!({
            "base_url": sandbox.url_of("bemo"),
            "access_token": token,
            "subscription_key": "sandbox-key",
            "accounts": sandbox.accounts(),
        });
        serde_json::from_value::<BemoConnection>(written).unwrap()
    };
    let (good, wrong) = (connection("sandbox-token"), connection("not-the-token"));
    // A page is numbered, no total is told: nothing shows that a session vanished.
    let sessions = ResourceUnderTest::of("sessions")
        .key("/sessionId")
        .time("/sessionStartDate")
        .vanishing_hides();
    SourceUnderTest::new(sandbox.url(), "bemo", window, move |limits| {
        good.clone().open(limits)
    })
    .refused(move |limits| wrong.clone().open(limits))
    .secret("sandbox-token")
    .secret("sandbox-key")
    .secret("not-the-token")
    .records(if range_headers {
        sessions.links(PageLinks::Followed)
    } else {
        sessions
    })
    .keep_alive(sandbox)
}
