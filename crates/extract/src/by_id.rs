//! Records that are asked for one by one, by their ids: one that cannot be had keeps none of the others from coming.
//!
//! Invariant: every record that the server gives comes, whatever stands before it in the list. An id that can be no part of an address, and a
//! record that the server refuses as such, are left out with a warning; a failure that may pass, and one that is about the login, is the
//! stream's last word, after everything else, and names all records that it kept from coming. Where nothing at all was given, a refusal is an error: it is not one record that is strange then.
//! Where a run never finds a record by its id, that is said: one that is gone and a wrong path are answered alike.

use crate::source::{Page, PageStream};
use futures::{Stream, StreamExt, stream};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tillhouse_model::Error;

/// Failures in a row that are the server's own: each costs its retries, and the next would too.
const ENOUGH: u32 = 3;
/// Most letters of an id that are shown.
const SHOWN: usize = 60;
/// Most failures in different words that an error tells.
const KINDS: usize = 5;
/// Most ids that an error names.
const NAMED: usize = 20;

/// Outcome of asking for one record by id.
#[derive(Debug)]
pub enum RecordLookup {
    /// A page that holds it.
    Found(Page),
    /// No record has that id any more.
    NotFound,
    /// Its id can be no part of an address, so it was not asked for.
    InvalidId(Error),
    /// The server refuses this question, and not its asker.
    Refused(Error),
    /// Anything else.
    Failed(Error),
}

/// Endpoint for single records by id, and whether a record was ever found there.
#[derive(Debug)]
pub struct RecordEndpoint {
    /// The source.
    pub source: &'static str,
    /// The key of the connection that holds the path.
    pub key: &'static str,
    /// The path, with a placeholder for the id.
    pub path: String,
    /// True if a record was found, as long as this lives.
    pub found: AtomicBool,
}

impl RecordEndpoint {
    /// Endpoint at which nothing was found yet.
    pub fn new(source: &'static str, key: &'static str, path: impl Into<String>) -> Self {
        Self {
            source,
            key,
            path: path.into(),
            found: AtomicBool::new(false),
        }
    }

    /// Says that of so many records none was there, unless one ever was.
    fn doubt(&self, gone: u64) {
        if gone == 0 || self.found.load(Ordering::Relaxed) {
            return;
        }
        let Self {
            source, key, path, ..
        } = self;
        tracing::warn!(
            source,
            asked = gone,
            path,
            "not one record that was asked for by its id was found, so what changed in them is not seen: check {key} \
             unless the provider deleted them"
        );
    }
}

/// Records of which one error stands for all.
#[derive(Default)]
struct LeftRecords {
    count: usize,
    named: Vec<String>,
}

impl LeftRecords {
    fn add(&mut self, id: &str) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(id.chars().take(SHOWN).collect());
        }
    }

    /// `2: a, b`, with how many more there are than are named.
    fn listed(&self) -> String {
        let more = match self.count.saturating_sub(self.named.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}: {}{more}", self.count, self.named.join(", "))
    }

    /// An error with these records in it, if there are any.
    fn explain(&self, error: Error, key: &'static str) -> Error {
        match self.count {
            0 => error,
            _ => error.at(key, self.listed()),
        }
    }
}

/// Lookups still to come, and what came of those so far.
struct RemainingLookups {
    at: Arc<RecordEndpoint>,
    /// The ids of which nothing came yet.
    unanswered: VecDeque<String>,
    outcomes: Pin<Box<dyn Stream<Item = (String, RecordLookup)> + Send>>,
    answered: bool,
    gone: u64,
    refused: Option<Error>,
    refused_records: LeftRecords,
    /// The failures that differ in their words, with the records of each.
    failed: Vec<(Error, LeftRecords)>,
    failed_in_a_row: u32,
    is_over: bool,
}

/// The pages of records that were asked for by id, in the order of their outcomes, which is that of `ids`, and at the end the error that is left
/// to tell.
pub fn record_pages(
    at: Arc<RecordEndpoint>,
    ids: impl IntoIterator<Item = String>,
    outcomes: impl Stream<Item = (String, RecordLookup)> + Send + 'static,
) -> PageStream {
    let rest = RemainingLookups {
        at,
        unanswered: ids.into_iter().collect(),
        outcomes: outcomes.boxed(),
        answered: false,
        gone: 0,
        refused: None,
        refused_records: LeftRecords::default(),
        failed: Vec::new(),
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

impl RemainingLookups {
    async fn next(&mut self) -> Option<tillhouse_model::Result<Page>> {
        while self.failed_in_a_row < ENOUGH
            && let Some((id, outcome)) = self.outcomes.next().await
        {
            self.unanswered.pop_front();
            let id: String = id.chars().take(SHOWN).collect();
            match outcome {
                RecordLookup::Found(page) => {
                    (self.answered, self.failed_in_a_row) = (true, 0);
                    self.at.found.store(true, Ordering::Relaxed);
                    return Some(Ok(page));
                }
                RecordLookup::NotFound => {
                    (self.answered, self.failed_in_a_row) = (true, 0);
                    self.gone += 1;
                }
                RecordLookup::InvalidId(error) => {
                    tracing::warn!(
                        source = self.at.source,
                        id,
                        "not asked for by its id, and left as it is: {error}"
                    );
                }
                RecordLookup::Refused(error) => {
                    tracing::warn!(
                        source = self.at.source,
                        id,
                        "refused by its id, and left as it is: {error}"
                    );
                    self.failed_in_a_row = 0;
                    self.refused_records.add(&id);
                    self.refused = Some(error);
                }
                RecordLookup::Failed(error) => {
                    tracing::debug!(source = self.at.source, id, "failed by its id: {error}");
                    self.failed_in_a_row += 1;
                    self.note_failed(&id, error);
                }
            }
        }
        self.is_over = true;
        self.at.doubt(self.gone);
        let refused = self.refused.take().filter(|_| !self.answered);
        let refused = refused.map(|error| self.refused_records.explain(error, "records refused"));
        let failed = std::mem::take(&mut self.failed);
        if failed.is_empty() {
            return refused.map(Err);
        }
        let failed = failed
            .into_iter()
            .map(|(error, records)| records.explain(error, "records that failed"));
        let mut unasked = LeftRecords::default();
        self.unanswered.iter().for_each(|id| unasked.add(id));
        Some(Err(unasked.explain(
            Error::combine(failed.collect()),
            "records not waited for, since the server fails",
        )))
    }

    /// Notes a failure with those that are alike, or with the last where there are many.
    fn note_failed(&mut self, id: &str, error: Error) {
        let is_alike = |(known, _): &(Error, LeftRecords)| {
            known.kind() == error.kind() && known.message() == error.message()
        };
        let most = self.failed.len() >= KINDS;
        let at = self.failed.iter().position(is_alike);
        match at.or_else(|| self.failed.len().checked_sub(1).filter(|_| most)) {
            Some(at) => {
                if let Some((_, records)) = self.failed.get_mut(at) {
                    records.add(id);
                }
            }
            None => {
                let mut records = LeftRecords::default();
                records.add(id);
                self.failed.push((error, records));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn came(text: &'static str) -> RecordLookup {
        RecordLookup::Found(Page {
            bytes: text.into(),
            declared_total: None,
            requested_at: Timestamp::UNIX_EPOCH,
            scope: None,
            restarts_listing: false,
            is_reread: false,
            remarks: Vec::new(),
        })
    }

    fn refused() -> RecordLookup {
        RecordLookup::Refused(Error::protocol("400"))
    }

    fn failed() -> RecordLookup {
        RecordLookup::Failed(Error::protocol("500"))
    }

    async fn pages_of(outcomes: Vec<RecordLookup>) -> Vec<tillhouse_model::Result<Page>> {
        let ids: Vec<String> = (1..=outcomes.len()).map(|nth| format!("k{nth}")).collect();
        let outcomes = stream::iter(ids.clone().into_iter().zip(outcomes));
        let at = Arc::new(RecordEndpoint::new(
            "s",
            "connection.paths.one",
            "/one/{id}",
        ));
        record_pages(at, ids, outcomes).collect().await
    }

    #[tokio::test]
    async fn an_error_names_all_records_that_it_stands_for() {
        async fn last(outcomes: Vec<RecordLookup>) -> String {
            pages_of(outcomes)
                .await
                .pop()
                .unwrap()
                .unwrap_err()
                .to_string()
        }
        assert_eq!(
            last(vec![failed(), came("a"), failed(), RecordLookup::NotFound]).await,
            "500 (records that failed 2: k1, k3)"
        );
        assert_eq!(
            last(vec![failed(), failed(), failed(), failed(), came("b")]).await,
            "500 (records that failed 3: k1, k2, k3, records not waited for, since the server fails 2: k4, k5)"
        );
        assert_eq!(
            last(vec![refused(), refused()]).await,
            "400 (records refused 2: k1, k2)"
        );
        let other = || RecordLookup::Failed(Error::protocol("boom"));
        assert_eq!(
            last(vec![failed(), other(), failed()]).await,
            "2 problems: 500 (records that failed 2: k1, k3); boom (records that failed 1: k2)"
        );
        let many: Vec<_> = (0..50).flat_map(|_| [failed(), came("a")]).collect();
        let error = pages_of(many).await.pop().unwrap().unwrap_err().to_string();
        assert!(
            error.contains("failed 50: k1, k3") && error.contains("k39 and 30 more"),
            "{error}"
        );
    }

    /// The pages' texts, and `!` with the error that ended them.
    async fn shown(outcomes: Vec<RecordLookup>) -> String {
        let pages = pages_of(outcomes).await;
        let text = |page: &tillhouse_model::Result<Page>| match page {
            Ok(page) => String::from_utf8_lossy(&page.bytes).into_owned(),
            Err(error) => format!("!{}", error.message()),
        };
        pages.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn one_that_cannot_be_had_keeps_none_of_the_others_from_coming() {
        let unaskable = || RecordLookup::InvalidId(Error::data("no name"));
        assert_eq!(
            shown(vec![
                unaskable(),
                came("a"),
                refused(),
                came("b"),
                RecordLookup::NotFound
            ])
            .await,
            "a b"
        );
        assert_eq!(
            shown(vec![
                failed(),
                came("a"),
                failed(),
                failed(),
                came("b"),
                failed()
            ])
            .await,
            "a b !500"
        );
        assert_eq!(
            shown(vec![unaskable(), unaskable()]).await,
            "",
            "nothing was asked, so nothing was refused"
        );
    }

    #[tokio::test]
    async fn what_is_wrong_with_all_of_them_is_an_error() {
        assert_eq!(
            shown(vec![refused(), refused(), refused(), refused()]).await,
            "!400"
        );
        assert_eq!(
            shown(vec![refused(), RecordLookup::NotFound]).await,
            "",
            "one is gone, so the address is right"
        );
        assert_eq!(
            shown(vec![came("a"), failed(), failed(), failed(), came("b")]).await,
            "a !500",
            "the server is gone"
        );
        assert_eq!(shown(vec![]).await, "");
    }

    #[tokio::test]
    async fn a_run_that_never_finds_one_says_so() {
        async fn heard(runs: Vec<Vec<RecordLookup>>) -> usize {
            let (ear, _guard) = crate::testing::log_capture::LogCapture::start();
            let at = Arc::new(RecordEndpoint::new(
                "s",
                "connection.paths.one",
                "/one/{id}",
            ));
            for outcomes in runs {
                let outcomes = stream::iter(
                    outcomes
                        .into_iter()
                        .map(|outcome| ("id".to_owned(), outcome)),
                );
                record_pages(Arc::clone(&at), [], outcomes)
                    .collect::<Vec<_>>()
                    .await;
            }
            let heard = ear.heard();
            let said = |line: &&str| {
                line.contains("check connection.paths.one") && line.contains("/one/{id}")
            };
            heard.lines().filter(said).count()
        }
        use RecordLookup::NotFound;
        assert_eq!(heard(vec![vec![NotFound]]).await, 1);
        assert_eq!(heard(vec![vec![NotFound, NotFound, refused()]]).await, 1);
        assert_eq!(
            heard(vec![vec![NotFound, came("a"), NotFound]]).await,
            0,
            "one is there, so the path is right"
        );
        assert_eq!(
            heard(vec![vec![came("a")], vec![NotFound, NotFound]]).await,
            0,
            "one was there before"
        );
        assert_eq!(
            heard(vec![vec![NotFound], vec![came("a")], vec![NotFound]]).await,
            1
        );
        assert_eq!(
            heard(vec![vec![], vec![refused()], vec![failed()]]).await,
            0,
            "these are errors"
        );
    }
}
