//! Records that are asked for one by one, by their ids: one that cannot be had keeps none of the others from coming.
//!
//! Invariant: every record that the server gives comes, whatever stands before it in the list. An id that can be no part of an address, and a
//! record that the server refuses as such, are left out with a warning; a failure that may pass, and one that is about the login, is the
//! stream's last word, after everything else. Where nothing at all was given, a refusal is an error: it is not one record that is strange then.
//! Where a run never finds a record by its id, that is said: one that is gone and a wrong path are answered alike.

use crate::source::{Page, PageStream};
use futures::{Stream, StreamExt, stream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tillhouse_model::Error;

/// So many failures in a row are the server's own: each costs its retries, and the next would too.
const ENOUGH: u32 = 3;
/// So many letters of an id are shown.
const SHOWN: usize = 60;

/// The outcome of asking for one record.
#[derive(Debug)]
pub enum Single {
    /// A page that holds it.
    Came(Page),
    /// There is none of that id any more.
    Gone,
    /// Its id can be no part of an address, so it was not asked for.
    Unaskable(Error),
    /// The server refuses this question, and not its asker.
    Refused(Error),
    /// Anything else.
    Failed(Error),
}

/// Where the records of a source are had by id, and whether one was ever found there.
#[derive(Debug)]
pub struct Whereabouts {
    /// The source.
    pub source: &'static str,
    /// The key of the connection that holds the path.
    pub key: &'static str,
    /// The path, with a placeholder for the id.
    pub path: String,
    /// True if a record was found, as long as this lives.
    pub found: AtomicBool,
}

impl Whereabouts {
    /// Where nothing was found yet.
    pub fn new(source: &'static str, key: &'static str, path: impl Into<String>) -> Self {
        Self { source, key, path: path.into(), found: AtomicBool::new(false) }
    }

    /// Says that of so many records none was there, unless one ever was.
    fn doubt(&self, gone: u64) {
        if gone == 0 || self.found.load(Ordering::Relaxed) {
            return;
        }
        let Self { source, key, path, .. } = self;
        tracing::warn!(
            source,
            asked = gone,
            path,
            "not one record that was asked for by its id was found, so what changed in them is not seen: check {key} \
             unless the provider deleted them"
        );
    }
}

struct Rest {
    at: Arc<Whereabouts>,
    outcomes: Pin<Box<dyn Stream<Item = (String, Single)> + Send>>,
    answered: bool,
    gone: u64,
    refused: Option<Error>,
    failed: Option<Error>,
    failed_in_a_row: u32,
    is_over: bool,
}

/// The pages of records that were asked for by id, in the order of their outcomes, and at the end the error that is left to tell.
pub fn pages(at: Arc<Whereabouts>, outcomes: impl Stream<Item = (String, Single)> + Send + 'static) -> PageStream {
    let rest = Rest {
        at,
        outcomes: outcomes.boxed(),
        answered: false,
        gone: 0,
        refused: None,
        failed: None,
        failed_in_a_row: 0,
        is_over: false,
    };
    stream::unfold(rest, |mut rest| async move {
        if rest.is_over {
            return None;
        }
        let page = rest.next().await?;
        Some((page, rest))
    })
    .boxed()
}

impl Rest {
    async fn next(&mut self) -> Option<tillhouse_model::Result<Page>> {
        while self.failed_in_a_row < ENOUGH
            && let Some((id, outcome)) = self.outcomes.next().await
        {
            let id: String = id.chars().take(SHOWN).collect();
            match outcome {
                Single::Came(page) => {
                    (self.answered, self.failed_in_a_row) = (true, 0);
                    self.at.found.store(true, Ordering::Relaxed);
                    return Some(Ok(page));
                }
                Single::Gone => {
                    (self.answered, self.failed_in_a_row) = (true, 0);
                    self.gone += 1;
                }
                Single::Unaskable(error) => {
                    tracing::warn!(source = self.at.source, id, "not asked for by its id, and left as it is: {error}");
                }
                Single::Refused(error) => {
                    tracing::warn!(source = self.at.source, id, "refused by its id, and left as it is: {error}");
                    self.failed_in_a_row = 0;
                    self.refused = Some(error);
                }
                Single::Failed(error) => {
                    tracing::debug!(source = self.at.source, id, "failed by its id: {error}");
                    self.failed_in_a_row += 1;
                    self.failed.get_or_insert(error);
                }
            }
        }
        self.is_over = true;
        self.at.doubt(self.gone);
        let refused = self.refused.take().filter(|_| !self.answered);
        self.failed.take().or(refused).map(Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn came(text: &'static str) -> Single {
        Single::Came(Page {
            bytes: text.into(),
            declared_total: None,
            requested_at: Timestamp::UNIX_EPOCH,
            scope: None,
            anew: false,
            again: false,
        })
    }

    fn refused() -> Single {
        Single::Refused(Error::protocol("400"))
    }

    fn failed() -> Single {
        Single::Failed(Error::protocol("500"))
    }

    /// The pages' texts, and `!` with the error that ended them.
    async fn shown(outcomes: Vec<Single>) -> String {
        let outcomes = stream::iter(outcomes.into_iter().map(|outcome| ("id".to_owned(), outcome)));
        let at = Arc::new(Whereabouts::new("s", "connection.paths.one", "/one/{id}"));
        let pages: Vec<_> = pages(at, outcomes).collect().await;
        let text = |page: &tillhouse_model::Result<Page>| match page {
            Ok(page) => String::from_utf8_lossy(&page.bytes).into_owned(),
            Err(error) => format!("!{}", error.message()),
        };
        pages.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn one_that_cannot_be_had_keeps_none_of_the_others_from_coming() {
        let unaskable = || Single::Unaskable(Error::data("no name"));
        assert_eq!(shown(vec![unaskable(), came("a"), refused(), came("b"), Single::Gone]).await, "a b");
        assert_eq!(shown(vec![failed(), came("a"), failed(), failed(), came("b"), failed()]).await, "a b !500");
        assert_eq!(shown(vec![unaskable(), unaskable()]).await, "", "nothing was asked, so nothing was refused");
    }

    #[tokio::test]
    async fn what_is_wrong_with_all_of_them_is_an_error() {
        assert_eq!(shown(vec![refused(), refused(), refused(), refused()]).await, "!400");
        assert_eq!(shown(vec![refused(), Single::Gone]).await, "", "one is gone, so the address is right");
        assert_eq!(
            shown(vec![came("a"), failed(), failed(), failed(), came("b")]).await,
            "a !500",
            "the server is gone"
        );
        assert_eq!(shown(vec![]).await, "");
    }

    #[tokio::test]
    async fn a_run_that_never_finds_one_says_so() {
        async fn heard(runs: Vec<Vec<Single>>) -> usize {
            let (ear, _guard) = crate::testing::ear::Ear::put_on();
            let at = Arc::new(Whereabouts::new("s", "connection.paths.one", "/one/{id}"));
            for outcomes in runs {
                let outcomes = stream::iter(outcomes.into_iter().map(|outcome| ("id".to_owned(), outcome)));
                pages(Arc::clone(&at), outcomes).collect::<Vec<_>>().await;
            }
            let heard = ear.heard();
            let said = |line: &&str| line.contains("check connection.paths.one") && line.contains("/one/{id}");
            heard.lines().filter(said).count()
        }
        use Single::Gone;
        assert_eq!(heard(vec![vec![Gone]]).await, 1);
        assert_eq!(heard(vec![vec![Gone, Gone, refused()]]).await, 1);
        assert_eq!(heard(vec![vec![Gone, came("a"), Gone]]).await, 0, "one is there, so the path is right");
        assert_eq!(heard(vec![vec![came("a")], vec![Gone, Gone]]).await, 0, "one was there before");
        assert_eq!(heard(vec![vec![Gone], vec![came("a")], vec![Gone]]).await, 1);
        assert_eq!(heard(vec![vec![], vec![refused()], vec![failed()]]).await, 0, "these are errors");
    }
}
