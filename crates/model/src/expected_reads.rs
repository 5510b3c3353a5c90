//! Expected reads: what a pipeline is configured to read, whether or not anything of it ever was.
//!
//! Invariant: coverage begins here. A ledger alone tells of what was read, and knows nothing of a resource or tenant all of whose requests failed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Resources that a pipeline is configured to read, and the tenants it asks each of them for.
///
/// ```
/// use tillhouse_model::ExpectedReads;
/// let partners = ["a", "b"].map(|partner| Some(partner.to_owned()));
/// let expected = ExpectedReads::new("pace", [("transactions".to_owned(), partners.to_vec())]);
/// assert!(expected.contains("transactions", Some("b")) && !expected.contains("transactions", Some("c")));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedReads {
    /// The source's name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Tenants by resource; null where one question answers for all. Without any resource nobody knows what there is to be read: the pipeline was never
    /// synced, or its configuration is wrong.
    #[serde(default)]
    pub resources: BTreeMap<String, Vec<Option<String>>>,
    /// First instant that is to be read, by resource, of those that are read by time (`sync.start`). What lies before it lacks nothing by itself.
    /// Older runs do not tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub starts: BTreeMap<String, Timestamp>,
    /// The run up to which what was read of the pipeline is in the unified tables: an earlier one where unifying failed since, an empty text where it
    /// never succeeded. `None` where nobody noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unified_by: Option<String>,
}

impl ExpectedReads {
    /// Expected reads of a pipeline of this source.
    pub fn new(
        source: &str,
        resources: impl IntoIterator<Item = (String, Vec<Option<String>>)>,
    ) -> Self {
        Self {
            source: Some(source.to_owned()),
            resources: resources.into_iter().collect(),
            starts: BTreeMap::new(),
            unified_by: None,
        }
    }

    /// These, each resource from its first instant on.
    #[must_use]
    pub fn starting(self, starts: impl IntoIterator<Item = (String, Timestamp)>) -> Self {
        Self {
            starts: starts.into_iter().collect(),
            ..self
        }
    }

    /// Expected reads of a pipeline of which nobody knows what there is to be read.
    pub fn unknown(source: Option<String>) -> Self {
        Self {
            source,
            resources: BTreeMap::new(),
            starts: BTreeMap::new(),
            unified_by: None,
        }
    }

    /// True if it is known what there is to be read.
    pub fn is_known(&self) -> bool {
        !self.resources.is_empty()
    }

    /// Every resource with each of its tenants.
    pub fn each(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.resources.iter().flat_map(|(resource, tenants)| {
            tenants
                .iter()
                .map(|tenant| (resource.as_str(), tenant.as_deref()))
        })
    }

    /// True if a resource is to be read of a tenant.
    pub fn contains(&self, resource: &str, tenant: Option<&str>) -> bool {
        self.resources
            .get(resource)
            .is_some_and(|tenants| tenants.iter().any(|own| own.as_deref() == tenant))
    }

    /// True if what a run read is in the unified tables, as far as that was noted.
    pub fn has_unified(&self, run_id: &str) -> bool {
        self.unified_by
            .as_deref()
            .is_none_or(|unified| run_id <= unified)
    }

    /// True if a tenant is asked for, in any resource.
    pub fn names_tenant(&self, tenant: &str) -> bool {
        self.each().any(|(_, own)| own == Some(tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(tenants: &[Option<&str>]) -> Vec<Option<String>> {
        tenants.iter().map(|t| t.map(str::to_owned)).collect()
    }

    #[test]
    fn every_resource_of_every_tenant_is_expected_and_nothing_else() {
        let resources = [
            ("sales".to_owned(), owned(&[Some("b"), Some("a")])),
            ("lists".to_owned(), owned(&[None])),
        ];
        let expected = ExpectedReads::new("pace", resources);
        let each: Vec<_> = expected.each().collect();
        assert_eq!(
            each,
            [("lists", None), ("sales", Some("b")), ("sales", Some("a"))]
        );
        assert!(expected.is_known());
        assert!(expected.contains("lists", None) && expected.contains("sales", Some("a")));
        for (resource, tenant) in [
            ("lists", Some("a")),
            ("sales", None),
            ("sales", Some("A")),
            ("logs", None),
        ] {
            assert!(
                !expected.contains(resource, tenant),
                "{resource} {tenant:?}"
            );
        }
        assert!(expected.names_tenant("b") && !expected.names_tenant("c"));
        let unknown = ExpectedReads::unknown(None);
        assert!(!unknown.is_known() && unknown.each().next().is_none());
    }

    #[test]
    fn it_is_written_in_few_words_and_read_back() {
        let expected =
            ExpectedReads::new("pace", [("sales".to_owned(), owned(&[None, Some("a")]))]);
        let text = serde_json::to_string(&expected).unwrap();
        assert_eq!(
            text,
            r#"{"source":"pace","resources":{"sales":[null,"a"]}}"#
        );
        let back: ExpectedReads = serde_json::from_str(&text).unwrap();
        assert_eq!(back, expected);
        let start: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let expected = expected.starting([("sales".to_owned(), start)]);
        let text = serde_json::to_string(&expected).unwrap();
        assert_eq!(
            text,
            r#"{"source":"pace","resources":{"sales":[null,"a"]},"starts":{"sales":"2026-11-01T00:00:00Z"}}"#
        );
        let back: ExpectedReads = serde_json::from_str(&text).unwrap();
        assert_eq!(back, expected);
        let least: ExpectedReads = serde_json::from_str("{}").unwrap();
        assert_eq!(least, ExpectedReads::unknown(None));
    }
}
