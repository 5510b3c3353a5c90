//! Connections that several pipelines of a project name: each provider's limits hold once, over all of them.
//!
//! Invariant: two pipelines share limits where source, address and credentials are the same; all else may differ (accounts, partners, paths, units of prices),
//! since what is read over a connection and how does not make it another one. Nothing of a connection is kept but a hash.

use std::cell::RefCell;
use std::collections::HashMap;
use tillhouse_extract::SharedLimits;
use tillhouse_model::yaml::{YamlContent, YamlNode};
use xxhash_rust::xxh3::xxh3_128;

/// Keys of a connection that say where the provider is and who asks, of all sources. Of a source that has none of them everything is compared.
const IDENTITY: [&str; 9] = [
    "access_token",
    "api_key",
    "base_url",
    "client_id",
    "client_secret",
    "password",
    "subscription_key",
    "token_url",
    "username",
];

/// Limits by connection, of the pipelines that are read together.
#[derive(Default)]
pub(super) struct SharedConnections(RefCell<HashMap<u128, SharedLimits>>);

impl SharedConnections {
    /// The limits of a connection to a source.
    pub(super) fn limits(&self, source: &str, connection: &YamlNode) -> SharedLimits {
        let text = identity(source, connection);
        let mut all = self.0.borrow_mut();
        all.entry(xxh3_128(text.as_bytes())).or_default().clone()
    }
}

/// Text that is the same for connections of the same source, address and credentials.
fn identity(source: &str, connection: &YamlNode) -> String {
    let mut text = source.to_owned();
    for key in IDENTITY {
        if let Some(value) = connection.get(key) {
            text.push_str(&format!("{key:?}:"));
            describe(value, &mut text);
        }
    }
    if text == source {
        describe(connection, &mut text);
    }
    text
}

/// Adds keys and values to a text that is the same for connections that are; the order of keys does not matter.
fn describe(node: &YamlNode, text: &mut String) {
    match &node.content {
        YamlContent::Scalar { text: value, .. } => {
            text.push_str(&format!("{:?}", value.trim().trim_end_matches('/')));
        }
        YamlContent::List(_) => {}
        YamlContent::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            text.push('{');
            for entry in entries {
                text.push_str(&format!("{:?}:", entry.key));
                describe(&entry.value, text);
            }
            text.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_the_same_by_source_address_and_credentials() {
        let of = |source: &str, text: &str| identity(source, &YamlNode::parse(text).unwrap());
        let one = of(
            "bemo",
            "{ base_url: http://x, access_token: t, accounts: [1] }",
        );
        for same in [
            "{ access_token: t, base_url: http://x, accounts: [1] }",
            "{ base_url: http://x/, access_token: 't', accounts: [2, 3] }",
            "base_url: http://x\naccess_token: \" t \"\naccounts:\n- 4\n",
            "{ base_url: http://x, access_token: t, price_unit: major, paths: { sessions: /s }, first_page: 1 }",
        ] {
            assert_eq!(of("bemo", same), one, "{same}");
        }
        for other in [
            "{ base_url: http://y, access_token: t, accounts: [1] }",
            "{ base_url: http://x, access_token: u, accounts: [1] }",
            "{ base_url: http://x, access_token: { file: t }, accounts: [1] }",
            "{ base_url: http://x, accounts: [1] }",
        ] {
            assert_ne!(of("bemo", other), one, "{other}");
        }
        assert_ne!(of("kiosk", "{ at: x }"), of("kiosk", "{ at: y }"));
        let text = "{ base_url: http://x, access_token: t, accounts: [1] }";
        assert_ne!(of("pace", text), one);
    }
}
