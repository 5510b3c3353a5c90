//! The transactions that are still open and too old for the look-back to see: they are asked for by id.
//!
//! Invariant: what an answer by id does not carry keeps its last known value, where a source says that it may leave something out
//! ([`tillhouse_model::Resource::sparse_by_id`]): the last known version is looked up after everything that this run read before has been
//! committed, and the record is completed before it is hashed, so that one that did not change is no new version. It is not looked up where the
//! same answer completed it before, and it has not changed since.

use crate::config::{Pipeline, ResourcePlan};
use crate::context::RunContext;
use crate::message::{LandingMessage, interrupted};
use crate::newest_versions::NewestVersions;
use crate::read::SliceReader;
use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use jiff::Timestamp;
use std::collections::HashSet;
use tillhouse_lake::SourceTable;
use tillhouse_model::{Error, ErrorKind, Result, Slice};
use tillhouse_query::Session;
use tillhouse_statistics::definitions::OPEN_STATES_SQL;
use tokio::sync::{mpsc, oneshot};

/// Most records completed at a time; of as many the last known versions are in memory.
const CHUNK: usize = 500;

/// Question for the open transactions of one pipeline, over the table as it is when the question is made.
pub(crate) struct OpenRecordsQuery {
    /// The session that has the table, and the query; `None` where nothing can be open.
    asked: Option<(Session, String)>,
}

/// Open transactions of one pipeline.
#[derive(Debug, Default)]
pub(crate) struct OpenRecords {
    /// The key of each, and when it happened, as far as that is known.
    keys: Vec<(String, Option<Timestamp>)>,
}

impl OpenRecordsQuery {
    /// The query for those which are too old for the look-back to see, and young enough to be followed. Reads nothing of the table yet.
    pub(crate) async fn new(
        context: &RunContext,
        pipeline: &Pipeline,
        plan: &ResourcePlan,
        now: Timestamp,
    ) -> Result<Self> {
        let Some(table) = context
            .warehouse
            .open_at("unified/transactions", None)
            .await?
        else {
            return Ok(Self { asked: None });
        };
        let lookback = now.checked_sub(plan.sync.lookback).unwrap_or(now);
        let oldest = now.checked_sub(plan.sync.follow_open).unwrap_or(now);
        if oldest >= lookback {
            return Ok(Self { asked: None });
        }
        let (oldest, lookback) = (
            crate::unify::instant(oldest),
            crate::unify::instant(lookback),
        );
        let session = context.engine.empty_session()?;
        session.register("transactions", table.provider)?;
        // A record without a time cannot be found by the look-back either; it is followed for as long after it was last seen.
        let sql = format!(
            "SELECT _record_key, occurred_at FROM transactions \
             WHERE pipeline = '{}' AND {OPEN_STATES_SQL} \
             AND ((occurred_at >= {oldest} AND occurred_at < {lookback}) \
                  OR (occurred_at IS NULL AND _extracted_at >= {oldest})) ORDER BY _record_key",
            pipeline.name
        );
        Ok(Self {
            asked: Some((session, sql)),
        })
    }

    /// The answer, which reads the table.
    pub(crate) async fn answer(self) -> Result<OpenRecords> {
        let Some((session, sql)) = self.asked else {
            return Ok(OpenRecords::default());
        };
        let mut keys = Vec::new();
        for batch in &tillhouse_query::collect(session.query(&sql).await?).await? {
            let of_type = |e| {
                Error::internal("open transactions have other columns than expected").because(e)
            };
            let texts = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)
                .map_err(of_type)?;
            let times = arrow::compute::cast(batch.column(1), &tillhouse_model::table::timestamp())
                .map_err(of_type)?;
            let times = times.as_primitive::<TimestampMicrosecondType>();
            for (row, key) in texts.as_string::<i32>().iter().enumerate() {
                let time = times
                    .is_valid(row)
                    .then(|| Timestamp::from_microsecond(times.value(row)).ok())
                    .flatten();
                keys.extend(key.map(|key| (key.to_owned(), time)));
            }
        }
        Ok(OpenRecords { keys })
    }
}

impl OpenRecords {
    /// Asks for them; how many came.
    pub(crate) async fn follow(
        self,
        reader: &SliceReader,
        (table, rejected): (&SourceTable, &HashSet<String>),
        slice: &Slice,
        to: &mut mpsc::Sender<LandingMessage>,
    ) -> Result<u64> {
        if self.keys.is_empty() {
            return Ok(0);
        }
        if !reader.resource.sparse_by_id {
            return reader
                .read_by_id(
                    self.keys.into_iter().map(|(key, _)| key).collect(),
                    None,
                    slice,
                    to,
                )
                .await;
        }
        let (flushed, answer) = oneshot::channel();
        let asked = to.send(LandingMessage::Flush(flushed)).await.is_ok();
        if !asked || answer.await.is_err() {
            // Landing has failed and says why itself.
            return Err(interrupted());
        }
        let (mut came, mut failed) = (0, Vec::new());
        for chunk in self.keys.chunks(CHUNK) {
            let ids: Vec<String> = chunk.iter().map(|(key, _)| key.clone()).collect();
            let times: Vec<Timestamp> = chunk.iter().filter_map(|(_, time)| *time).collect();
            let newest = NewestVersions::of(table, (ids.clone(), times), rejected);
            // A chunk that is not whole keeps no other from coming, as long as somebody answers.
            match reader.read_by_id(ids, Some(&newest), slice, to).await {
                Ok(records) => came += records,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::Unreachable | ErrorKind::Busy
                    ) =>
                {
                    return Err(error);
                }
                Err(error) => failed.push(error),
            }
        }
        match failed.is_empty() {
            true => Ok(came),
            false => Err(Error::combine(failed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::land::PackageWriter;
    use crate::scripted_source::{SALES, SPARSE, ScriptedRun, Turn, page, sale, slice};
    use std::sync::Arc;
    use tillhouse_lake::FingerprintUse;

    fn open(count: usize) -> OpenRecords {
        OpenRecords {
            keys: (0..count).map(|nth| (format!("k{nth}"), None)).collect(),
        }
    }

    /// Outcome of following some records, and the pages that arrive; flushes are answered where `is_landing`.
    async fn follow(
        run: &ScriptedRun,
        reader: SliceReader,
        count: usize,
        is_landing: bool,
    ) -> (Result<u64>, usize) {
        let table = Arc::clone(&run.writer(None).table);
        let (mut send, mut receive) = mpsc::channel(1);
        let taking = async {
            let mut pages = 0;
            while let Some(message) = receive.recv().await {
                match message {
                    LandingMessage::Page(_) => pages += 1,
                    LandingMessage::Flush(answer) if is_landing => answer.send(()).unwrap(),
                    _ => {}
                }
            }
            pages
        };
        let following = async {
            let (open, slice) = (open(count), slice(SALES));
            let came = open
                .follow(&reader, (&table, &HashSet::new()), &slice, &mut send)
                .await;
            drop(send);
            came
        };
        tokio::join!(following, taking)
    }

    fn one() -> Vec<Turn> {
        vec![Turn::Page(page(&[sale("a")]))]
    }

    #[tokio::test]
    async fn nothing_open_asks_for_nothing() {
        let run = ScriptedRun::new([one()]).await;
        let (came, pages) = follow(&run, run.reader(SPARSE), 0, false).await;
        assert_eq!((came.unwrap(), pages), (0, 0));
        assert!(run.log().questions.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn records_that_come_whole_are_asked_for_at_once() {
        let run = ScriptedRun::new([one()]).await;
        let (came, pages) = follow(&run, run.reader(SALES), CHUNK + 1, false).await;
        assert_eq!((came.unwrap(), pages), (1, 1));
        assert_eq!(*run.log().questions.lock().unwrap(), ["501 by id sales"]);
    }

    #[tokio::test]
    async fn records_that_are_completed_wait_for_what_was_read_before() {
        let run = ScriptedRun::new([one()]).await;
        let (came, pages) = follow(&run, run.reader(SPARSE), 1, false).await;
        assert_eq!(came.unwrap_err().kind(), ErrorKind::Interrupted);
        assert_eq!(pages, 0);
        assert!(
            run.log().questions.lock().unwrap().is_empty(),
            "nothing is asked before"
        );
    }

    #[tokio::test]
    async fn a_chunk_that_fails_keeps_no_other_from_coming_as_long_as_somebody_answers() {
        for (kind, asked, arrived) in [
            (ErrorKind::Protocol, 2, 1),
            (ErrorKind::Unreachable, 1, 0),
            (ErrorKind::Busy, 1, 0),
        ] {
            let failure = vec![Turn::Fail(Error::new(kind, "no"))];
            let run = ScriptedRun::new([failure, one()]).await;
            land_one(&run).await;
            let (came, pages) = follow(&run, run.reader(SPARSE), CHUNK + 1, true).await;
            assert_eq!((came.unwrap_err().kind(), pages), (kind, arrived));
            assert_eq!(run.log().questions.lock().unwrap().len(), asked);
        }
    }

    /// Lands a record, so that there is a table in which the last known versions are looked up.
    async fn land_one(run: &ScriptedRun) {
        let (send, receive) = mpsc::channel(1);
        let page = crate::scripted_source::queued(&[sale("k0")], 1);
        assert!(
            send.send(LandingMessage::Page(Box::new(page)))
                .await
                .is_ok()
        );
        drop(send);
        run.writer(None).run(receive).await.unwrap();
    }

    #[tokio::test]
    async fn the_same_answer_about_a_record_that_is_as_it_was_reads_nothing() {
        let same = || vec![Turn::Page(page(&[sale("k0")]))];
        let run = ScriptedRun::new([same(), same(), same()]).await;
        land_one(&run).await;
        let use_of = FingerprintUse {
            recognizes: true,
            adds: true,
        };
        let ops = run.warehouse.ops();
        let next_run = async |rejected: &[&str]| {
            let notes = ops.fingerprints("shop").await;
            let writer = run.writer(None);
            let table = (*writer.table).clone();
            let table = Arc::new(table.recognizing(notes.of("sales", use_of)));
            let rejected: HashSet<String> = rejected.iter().map(|key| (*key).to_owned()).collect();
            let writer = PackageWriter {
                table: Arc::clone(&table),
                ..writer
            };
            let (mut send, receive) = mpsc::channel(1);
            let landing = tokio::spawn(writer.run(receive));
            let before = run.warehouse.requests().source_gets;
            let reader = run.reader(SPARSE);
            let slice = slice(SALES);
            let following = open(1).follow(&reader, (&table, &rejected), &slice, &mut send);
            assert_eq!(following.await.unwrap(), 1);
            drop(send);
            let counts = landing.await.unwrap().unwrap();
            ops.keep_fingerprints(&notes).await;
            let reads = run.warehouse.requests().source_gets - before;
            (
                (counts.records, counts.unchanged, counts.changed),
                reads > 0,
            )
        };
        assert_eq!(
            next_run(&[]).await,
            ((1, 1, 0), true),
            "nothing is known yet"
        );
        assert_eq!(next_run(&[]).await, ((1, 1, 0), false));
        assert_eq!(
            next_run(&["k0"]).await,
            ((1, 1, 0), true),
            "a reject is to be resolved"
        );
    }
}
