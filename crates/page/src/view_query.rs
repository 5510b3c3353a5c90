//! Addresses of the dashboard's pages: a path, and the parameters of the view behind it.
//!
//! Invariant: an address begins with a slash and leads to this server; whatever is in a key or a value, it is one segment of the path or one value of the query part.

use std::collections::BTreeMap;
use url::form_urlencoded;

/// Parameters of a view, by name.
///
/// ```
/// use tillhouse_page::ViewQuery;
/// let view = ViewQuery::new([("from", "2026-01-01".to_owned()), ("filter", "{\"a\": 1}".to_owned())]);
/// assert_eq!(view.address("/sales"), "/sales?filter=%7B%22a%22%3A+1%7D&from=2026-01-01");
/// assert_eq!(ViewQuery::path("/sales/", "hecone:a/b c"), "/sales/hecone%3Aa%2Fb%20c");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViewQuery(BTreeMap<&'static str, String>);

impl ViewQuery {
    /// The parameters.
    pub fn new(pairs: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// A parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Every parameter, by name.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The same with one parameter in another way.
    #[must_use]
    pub fn with(&self, name: &'static str, value: impl Into<String>) -> Self {
        let mut values = self.0.clone();
        values.insert(name, value.into());
        Self(values)
    }

    /// The same without some parameters.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        let kept = self.0.iter().filter(|(name, _)| !names.contains(name));
        Self(kept.map(|(name, value)| (*name, value.clone())).collect())
    }

    /// Some of the parameters.
    pub(crate) fn only(&self, names: &[&str]) -> Self {
        let kept = self.0.iter().filter(|(name, _)| names.contains(name));
        Self(kept.map(|(name, value)| (*name, value.clone())).collect())
    }

    /// The address of this view at a path.
    pub fn address(&self, path: &str) -> String {
        if self.0.is_empty() {
            return path.to_owned();
        }
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish();
        format!("{path}?{query}")
    }

    /// The path of what a key names, within a folder.
    pub fn path(folder: &'static str, key: &str) -> String {
        let key: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
        // A plus is a blank in the query part alone.
        format!("{folder}{}", key.replace('+', "%20"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_gets_out_of_its_place() {
        let hostile = "a&b=c#d\"><script>";
        let view = ViewQuery::new([("tenant", hostile.to_owned())]).with("lang", "de");
        let address = view.address("/");
        assert_eq!(address, "/?lang=de&tenant=a%26b%3Dc%23d%22%3E%3Cscript%3E");
        let query = address.split_once('?').unwrap().1;
        let read: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        assert_eq!(read[1], ("tenant".to_owned(), hostile.to_owned()));
        assert_eq!(
            view.without(&["tenant", "lang"]).address("/sites"),
            "/sites"
        );
        assert_eq!(
            ViewQuery::path("/sites/", "../x?y+z"),
            "/sites/..%2Fx%3Fy%2Bz"
        );
    }
}
