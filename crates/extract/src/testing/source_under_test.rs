//! Subject of the suite: a source, the server it reads from, and what can be expected of both.
//!
//! Invariant: everything a clause knows of a particular API stands here, as data.

use crate::source::{Source, SourceLimits};
use crate::testing::violation::ClauseViolation;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_model::{Result, Window};

/// Function that opens the source under test.
type OpenSourceFn = Box<dyn Fn(SourceLimits) -> Result<Arc<dyn Source>>>;

/// Use of links between pages, by the API and by the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageLinks {
    /// Pages carry no links.
    None,
    /// Pages carry links, which the source does not read.
    Ignored,
    /// The source goes from page to page by link.
    Followed,
}

/// Source under test and its server.
pub struct SourceUnderTest {
    pub(crate) url: String,
    pub(crate) name: &'static str,
    pub(crate) window: Window,
    pub(crate) open: OpenSourceFn,
    pub(crate) open_refused: Option<OpenSourceFn>,
    pub(crate) records: Vec<ResourceUnderTest>,
    pub(crate) login: Vec<String>,
    pub(crate) token_lifetime: Option<Duration>,
    pub(crate) secrets: Vec<String>,
    kept: Vec<Box<dyn Any>>,
}

impl SourceUnderTest {
    /// A source without a login, with no resource yet. `url` is where the server's `/control` lies, `name` the source's,
    /// `window` all that the server has records in (at least a few hundred for each resource that is read by windows; more than two of the
    /// largest pages). `open` opens the source as a pipeline does.
    pub fn new(
        url: impl Into<String>,
        name: &'static str,
        window: Window,
        open: impl Fn(SourceLimits) -> Result<Arc<dyn Source>> + 'static,
    ) -> Self {
        Self {
            url: url.into(),
            name,
            window,
            open: Box::new(open),
            open_refused: None,
            records: Vec::new(),
            login: Vec::new(),
            token_lifetime: None,
            secrets: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// One of the source's resources. All of them must be named.
    #[must_use]
    pub fn records(mut self, records: ResourceUnderTest) -> Self {
        self.records.push(records);
        self
    }

    /// The whole paths, source's prefix included, at which the source logs in and renews its token.
    #[must_use]
    pub fn login<T: Into<String>>(mut self, paths: impl IntoIterator<Item = T>) -> Self {
        self.login = paths.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the lifetime of the server's tokens, where it declares one.
    #[must_use]
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = Some(lifetime);
        self
    }

    /// Opens the source with credentials that the server refuses.
    #[must_use]
    pub fn refused(
        mut self,
        open: impl Fn(SourceLimits) -> Result<Arc<dyn Source>> + 'static,
    ) -> Self {
        self.open_refused = Some(Box::new(open));
        self
    }

    /// A credential, which must never be seen.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Something to keep as long as the subject, like the server.
    #[must_use]
    pub fn keep_alive(mut self, thing: impl Any) -> Self {
        self.kept.push(Box::new(thing));
        self
    }

    /// A violation if one of the secrets is in the text, as it is or percent-encoded.
    pub(crate) fn keeps_secrets(&self, text: &str, what: &str) -> Result<(), ClauseViolation> {
        let encoded = |secret: &String| secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let forms = self
            .secrets
            .iter()
            .flat_map(|secret| [secret.clone(), encoded(secret)]);
        match forms
            .into_iter()
            .find(|secret: &String| text.contains(secret.as_str()))
        {
            None => Ok(()),
            Some(secret) => {
                let shown = text.replace(secret.as_str(), "<the secret>");
                Err(ClauseViolation::new(format!(
                    "{what} tells a secret: {shown}"
                )))
            }
        }
    }
}

/// Resource under test: where the keys and times of its records are, and how the API pages it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceUnderTest {
    pub(crate) resource: &'static str,
    pub(crate) key: Vec<&'static str>,
    pub(crate) time: Vec<&'static str>,
    pub(crate) paged: bool,
    pub(crate) cut_pages: bool,
    pub(crate) shifts: bool,
    pub(crate) links: PageLinks,
    pub(crate) learns_by_change: bool,
    pub(crate) by_parents: bool,
}

impl ResourceUnderTest {
    /// The records of a resource. Their key is to be added.
    pub fn of(resource: &'static str) -> Self {
        Self {
            resource,
            key: Vec::new(),
            time: Vec::new(),
            paged: true,
            cut_pages: true,
            shifts: true,
            links: PageLinks::None,
            learns_by_change: false,
            by_parents: false,
        }
    }

    /// A JSON pointer within a record (`/id`) to what identifies it; several together are a key of several parts.
    #[must_use]
    pub fn key(mut self, pointer: &'static str) -> Self {
        self.key.push(pointer);
        self
    }

    /// A JSON pointer to the record's time, an RFC 3339 text; of several the first that has one counts. Without any, windows
    /// are not cut at the very instants of records.
    #[must_use]
    pub fn time(mut self, pointer: &'static str) -> Self {
        self.time.push(pointer);
        self
    }

    /// Declares that the API does not page this resource by the size asked for: pages hold what one request gives.
    #[must_use]
    pub fn unpaged(mut self) -> Self {
        self.paged = false;
        self
    }

    /// Sets the links between pages; by default there are none.
    #[must_use]
    pub fn links(mut self, links: PageLinks) -> Self {
        self.links = links;
        self
    }

    /// Declares that the source does not notice when the API gives shorter pages than were asked for, because a short page is the
    /// only sign of the end.
    #[must_use]
    pub fn short_page_ends(mut self) -> Self {
        self.cut_pages = false;
        self
    }

    /// Declares that what the provider learns late is not a record of long ago, but something new about one.
    #[must_use]
    pub fn learns_by_change(mut self) -> Self {
        self.learns_by_change = true;
        self
    }

    /// Declares that the API lists this resource parent by parent: one that has no list may be gone.
    #[must_use]
    pub fn by_parents(mut self) -> Self {
        self.by_parents = true;
        self
    }

    /// Declares that a record that vanishes while paging can hide another one, and that nothing in the API tells it: the look-back
    /// reads it again. A source of a resource that declares totals may be inexact without this, as long as its totals tell.
    #[must_use]
    pub fn vanishing_hides(mut self) -> Self {
        self.shifts = false;
        self
    }
}
