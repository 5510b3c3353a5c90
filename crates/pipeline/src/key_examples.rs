//! Examples of the keys of configuration files, with which mistakes are answered.
//!
//! Invariant: an example is valid where its key stands, and holds no value of anybody's.

use tillhouse_model::yaml::{YamlFault, YamlFaultKind};

/// Keys, by all that leads to them or by their last part, and how they are written.
const EXAMPLES: &[(&str, &str)] = &[
    ("warehouse", "warehouse: { url: ./warehouse }"),
    ("warehouse.url", "url: ./warehouse"),
    (
        "warehouse.options",
        "options: { region: eu-central-1, access_key_id: \"${S3_KEY}\", secret_access_key: { file: /run/secrets/s3 } }",
    ),
    ("memory_limit", "memory_limit: 512MiB"),
    ("privacy_key", "privacy_key: ${TILLHOUSE_PRIVACY_KEY}"),
    (
        "retention",
        "retention: { runs: 90d, daily: 400d, monthly: forever, unused: 24h }",
    ),
    ("retention.runs", "runs: 90d"),
    ("retention.daily", "daily: 400d"),
    ("retention.monthly", "monthly: forever"),
    ("retention.unused", "unused: 24h"),
    ("maintenance", "maintenance: on, or maintenance: off"),
    ("serve", "serve: { listen: 127.0.0.1:8373 }"),
    ("serve.listen", "listen: 127.0.0.1:8373"),
    ("serve.postgres", "postgres: 127.0.0.1:5432"),
    ("serve.flight", "flight: 127.0.0.1:32010"),
    (
        "serve.hecone_login",
        "hecone_login: { client_id: reporting, client_secret: \"${SERVE_SECRET}\" }",
    ),
    ("serve.hecone_currency", "hecone_currency: EUR"),
    (
        "serve.oidc",
        "oidc: { issuer: https://id.example.com, audience: tillhouse }",
    ),
    ("serve.oidc.issuer", "issuer: https://id.example.com"),
    ("serve.oidc.audience", "audience: tillhouse"),
    ("serve.oidc.claim", "claim: sub"),
    (
        "serve.tls",
        "tls: { certificate: server.pem, key: server-key.pem }",
    ),
    ("serve.tls.certificate", "certificate: server.pem"),
    ("serve.tls.key", "key: server-key.pem"),
    ("serve.audit", "audit: audit.jsonl"),
    ("serve.concurrency", "concurrency: 4"),
    ("serve.queue", "queue: 512"),
    ("serve.timeout", "timeout: 60s"),
    ("serve.rows", "rows: 1000000"),
    ("serve.body", "body: 1MiB"),
    ("serve.cache", "cache: 64MiB"),
    ("workers", "workers: [worker-1:7433, worker-2:7433]"),
    ("source", "source: hecone"),
    (
        "connection",
        "connection: { base_url: https://api.example.com }",
    ),
    ("sync", "sync: { start: 2024-01-01 }"),
    (
        "resources",
        "resources: [transactions], or resources: { transactions: { lookback: 7d } }",
    ),
    ("start", "start: 2024-01-01"),
    ("slice", "slice: 1d"),
    ("lookback", "lookback: 3d"),
    ("follow_open", "follow_open: 30d"),
    ("concurrency", "concurrency: 4"),
    ("rate_limit", "rate_limit: 20/s"),
    ("page_size", "page_size: 500"),
    ("confirm_end", "confirm_end: true"),
    ("schedule", "schedule: \"*/15 * * * *\""),
    ("base_url", "base_url: https://api.example.com"),
    (
        "token_url",
        "token_url: https://id.example.com/oauth2/token",
    ),
    ("client_id", "client_id: ${CLIENT_ID}"),
    (
        "client_secret",
        "client_secret: ${CLIENT_SECRET}, { file: PATH } or { command: [PROGRAM, ARGUMENT] }",
    ),
    ("username", "username: ${USERNAME}"),
    (
        "password",
        "password: ${PASSWORD}, { file: PATH } or { command: [PROGRAM, ARGUMENT] }",
    ),
    (
        "access_token",
        "access_token: ${ACCESS_TOKEN}, { file: PATH } or { command: [PROGRAM, ARGUMENT] }",
    ),
    (
        "subscription_key",
        "subscription_key: ${SUBSCRIPTION_KEY}, { file: PATH } or { command: [PROGRAM, ARGUMENT] }",
    ),
    ("file", "client_secret: { file: /run/secrets/NAME }"),
    ("command", "client_secret: { command: [pass, show, NAME] }"),
    ("accounts", "accounts: [A, B]"),
    ("partners", "partners: [A, B]"),
    ("paths", "paths: { login: /auth/login }"),
    ("headers", "headers: { token: Authorization }"),
    ("accept_media_types", "accept_media_types: [text/plain]"),
    ("empty_messages", "empty_messages: [\"Nothing to see\"]"),
    ("sales_types", "sales_types: { 1: test, 2: void }"),
    ("first_page", "first_page: 0"),
    ("token_prefix", "token_prefix: Bearer"),
    ("filter_parameter", "filter_parameter: filter"),
    ("type", "type: { pspcard: PSPCard }"),
    ("medium", "medium: { card: Card }"),
    ("scheme", "scheme: { visa: Visa }"),
    ("entry_mode", "entry_mode: { chip: Chip }"),
    ("function", "function: { fleet: Fleet }"),
];

/// Sections of keys that people put somewhere else.
const SECTIONS: &[(&str, &str, &[&str])] = &[
    (
        "sync",
        "under `sync` in pipeline.yaml",
        &[
            "start",
            "slice",
            "lookback",
            "follow_open",
            "concurrency",
            "rate_limit",
            "page_size",
            "confirm_end",
            "schedule",
        ],
    ),
    (
        "connection",
        "under `connection` in pipeline.yaml",
        &[
            "base_url",
            "token_url",
            "client_id",
            "client_secret",
            "username",
            "password",
            "access_token",
            "subscription_key",
            "accounts",
            "partners",
            "paths",
            "headers",
            "accept_media_types",
            "empty_messages",
            "price_unit",
            "vat_rate",
            "sales_types",
            "token_prefix",
            "filter_parameter",
            "first_page",
            "scope",
            "operators",
            "archive",
        ],
    ),
    (
        "",
        "at the top of pipeline.yaml",
        &["source", "connection", "sync", "resources"],
    ),
    (
        "",
        "at the top of tillhouse.yaml",
        &[
            "warehouse",
            "memory_limit",
            "privacy_key",
            "retention",
            "maintenance",
            "serve",
            "workers",
        ],
    ),
    (
        "warehouse",
        "under `warehouse` in tillhouse.yaml",
        &["url", "options"],
    ),
    (
        "retention",
        "under `retention` in tillhouse.yaml",
        &["runs", "daily", "monthly", "unused"],
    ),
    (
        "serve",
        "under `serve` in tillhouse.yaml",
        &[
            "listen",
            "postgres",
            "flight",
            "hecone_login",
            "hecone_currency",
            "oidc",
            "tls",
            "audit",
        ],
    ),
];

/// Section of a key that is not known where it stands, in the section `above`.
fn belongs(key: &str, above: &str) -> Option<&'static str> {
    let found = SECTIONS.iter().find(|(_, _, keys)| keys.contains(&key));
    found
        .filter(|(section, ..)| section.is_empty() || *section != above)
        .map(|(_, place, _)| *place)
}

/// Example of a key, all keys that lead to it before it with dots.
fn example(key: &str) -> Option<&'static str> {
    let last = key.rsplit('.').next().unwrap_or(key);
    let of = |wanted: &str| {
        EXAMPLES
            .iter()
            .find(|(key, _)| *key == wanted)
            .map(|(_, example)| *example)
    };
    of(key).or_else(|| of(last))
}

/// Hint for a fault; `None` where the fault's own message says it.
pub(crate) fn hint(fault: &YamlFault) -> Option<String> {
    let how = written_like(fault)?;
    // What the fault's own advice says of a section belongs to its example.
    match (&fault.what, fault.hint()) {
        (YamlFaultKind::Wrong { .. }, Some(keys)) => Some(format!("{how} {keys}")),
        _ => Some(how),
    }
}

fn written_like(fault: &YamlFault) -> Option<String> {
    let written = |how: &str| Some(format!("Write it like `{how}`."));
    match &fault.what {
        YamlFaultKind::MissingKey(missing) => {
            let above = fault.key();
            let key = if above.is_empty() {
                missing.clone()
            } else {
                format!("{above}.{missing}")
            };
            match example(&key) {
                Some(how) => written(how),
                None => written(&format!("{missing}: ...")),
            }
        }
        YamlFaultKind::Wrong { expected, .. } => {
            let key = fault.key();
            if key.is_empty() {
                return written("key: value");
            }
            let key = key.split('[').next().unwrap_or(&key);
            if let Some(resource) = key
                .strip_prefix("resources.")
                .filter(|name| !name.contains('.'))
            {
                return written(&format!("resources: {{ {resource}: {{ lookback: 7d }} }}"));
            }
            if let Some(how) = example(key) {
                return written(how);
            }
            let last = key.rsplit('.').next().unwrap_or(key);
            let how = match expected.as_str() {
                "a list" => "[a, b]",
                "keys and values" => "{ name: value }",
                "true or false" => "true",
                "a text" => "\"text\"",
                _ if expected.contains("number") => "5",
                _ => match expected.strip_prefix("one of ") {
                    Some(words) => return Some(format!("Write one of {words}.")),
                    None => return None,
                },
            };
            written(&format!("{last}: {how}"))
        }
        YamlFaultKind::UnknownKey { key, known } => {
            let path = fault.path();
            let above = path
                .len()
                .checked_sub(2)
                .and_then(|at| path.get(at))
                .copied()
                .unwrap_or_default();
            let place = belongs(key, above).filter(|_| !known.contains(&key.as_str()))?;
            Some(format!(
                "`{key}` belongs {place}; here may stand {}.",
                known.join(", ")
            ))
        }
        YamlFaultKind::Custom(_) => example(&fault.key()).and_then(written),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::yaml::YamlNode;

    #[test]
    fn a_key_in_the_wrong_section_is_sent_to_its_own() {
        let under = |key, above| belongs(key, above);
        assert_eq!(
            under("page_size", ""),
            Some("under `sync` in pipeline.yaml")
        );
        assert_eq!(
            under("base_url", "sync"),
            Some("under `connection` in pipeline.yaml")
        );
        assert_eq!(
            under("memory_limit", "sync"),
            Some("at the top of tillhouse.yaml")
        );
        assert_eq!(under("username", "connection"), None, "another source's");
        assert_eq!(under("colour", ""), None);
    }

    #[test]
    fn a_value_in_the_place_of_a_section_is_told_its_keys() {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Section {
            #[serde(rename = "runs")]
            _runs: Option<String>,
            #[serde(rename = "daily")]
            _daily: Option<String>,
        }
        #[derive(serde::Deserialize)]
        struct File {
            #[serde(rename = "retention")]
            _retention: Section,
        }
        for wrong in ["on", "7", "[a]"] {
            let node = YamlNode::parse(&format!("retention: {wrong}")).unwrap();
            let fault = node.read::<File>().err().unwrap();
            let told = fault.message("the file");
            assert!(
                told.starts_with("`retention`: expected keys and values, found"),
                "{told}"
            );
            let advice = hint(&fault).unwrap();
            assert!(
                advice.contains("retention: { runs: 90d")
                    && advice.ends_with("Keys that may stand there: runs, daily."),
                "{advice}"
            );
        }
    }

    #[test]
    fn every_example_is_yaml() {
        for (key, how) in EXAMPLES {
            let last = key.rsplit('.').next().unwrap();
            let first = how.split(", or ").next().unwrap();
            let is_one = !first.contains("}, { ");
            if is_one && !["file", "command"].contains(key) {
                assert!(YamlNode::parse(first).unwrap().get(last).is_some(), "{how}");
            }
        }
    }
}
