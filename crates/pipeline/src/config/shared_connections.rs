//! Connections that several pipelines of a project name: each provider's limits hold once, over all of them.
//!
//! Invariant: two pipelines share limits where source, address and credentials are the same; lists (accounts, partners) may differ, since what
//! is read over a connection does not make it another one. Nothing of a connection is kept but a hash.

use std::cell::RefCell;
use std::collections::HashMap;
use tillhouse_extract::SharedLimits;
use tillhouse_model::yaml::{YamlContent, YamlNode};
use xxhash_rust::xxh3::xxh3_128;

/// Limits by connection, of the pipelines that are read together.
#[derive(Default)]
pub(super) struct SharedConnections(RefCell<HashMap<u128, SharedLimits>>);

impl SharedConnections {
    /// The limits of a connection to a source.
    pub(super) fn limits(&self, source: &str, connection: &YamlNode) -> SharedLimits {
        let mut text = source.to_owned();
        describe(connection, &mut text);
        let mut all = self.0.borrow_mut();
        all.entry(xxh3_128(text.as_bytes())).or_default().clone()
    }
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
        let of = |source: &str, text: &str| {
            let mut described = source.to_owned();
            describe(&YamlNode::parse(text).unwrap(), &mut described);
            described
        };
        let one = of(
            "bemo",
            "{ base_url: http://x, access_token: t, accounts: [1] }",
        );
        for same in [
            "{ access_token: t, base_url: http://x, accounts: [1] }",
            "{ base_url: http://x/, access_token: 't', accounts: [2, 3] }",
            "base_url: http://x\naccess_token: \" t \"\naccounts:\n- 4\n",
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
        let text = "{ base_url: http://x, access_token: t, accounts: [1] }";
        assert_ne!(of("pace", text), one);
    }
}
