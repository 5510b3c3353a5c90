//! The law of the reader: what it asks for, hands on, waits for and tells.
//!
//! Invariant: each test drives the reader from both its ends, the source's stream and the sink of its pages.

use super::*;
use crate::message::LandingMessage;
use crate::scripted_source::{SALES, SHOPS, ScriptedRun, Turn, page, sale, slice};
use std::time::Duration;
use tillhouse_extract::Page;
use tillhouse_model::ErrorKind;
use tokio::sync::mpsc;

/// Sink that keeps what it was given.
#[derive(Default)]
struct KeptPages(Vec<QueuedPage>);

impl PageSink for KeptPages {
    async fn accept(&mut self, page: QueuedPage) -> Result<()> {
        self.0.push(page);
        Ok(())
    }
}

/// Sink that takes some pages and then fails.
struct FailingSink(usize);

impl PageSink for FailingSink {
    async fn accept(&mut self, _: QueuedPage) -> Result<()> {
        if self.0 == 0 {
            return Err(Error::protocol("no room"));
        }
        self.0 -= 1;
        Ok(())
    }
}

async fn read(
    run: &ScriptedRun,
    resource: &'static Resource,
) -> (Result<SliceReadSummary>, Vec<QueuedPage>) {
    let mut kept = KeptPages::default();
    let read = run
        .reader(resource)
        .read_slice(&slice(resource), resource.read_by, &mut kept)
        .await;
    (read, kept.0)
}

fn pages(ids: &[&str]) -> Vec<Turn> {
    let turn = |id: &&str| Turn::Page(page(&[sale(id)]));
    ids.iter().map(turn).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_at_most_one_page_ahead_of_a_full_channel() {
    let run = ScriptedRun::new([pages(&["a", "b", "c", "d", "e", "f"])]).await;
    let (mut send, mut receive) = mpsc::channel(2);
    let reader = run.reader(SALES);
    let reading = tokio::spawn(async move {
        let slice = slice(SALES);
        reader
            .read_slice(&slice, ReadBy::EventTime, &mut send)
            .await
    });
    for received in 0..3 {
        // Time goes on only when nobody has anything to do.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(
            run.log().taken(),
            received + 3,
            "two wait in the channel, one before it"
        );
        assert!(matches!(
            receive.recv().await,
            Some(LandingMessage::Page(_))
        ));
    }
    while receive.recv().await.is_some() {}
    assert_eq!(reading.await.unwrap().unwrap().records, 6);
}

#[tokio::test]
async fn a_closed_channel_ends_the_reading_and_drops_the_stream() {
    let run = ScriptedRun::new([pages(&["a", "b", "c"])]).await;
    let (mut send, receive) = mpsc::channel(8);
    drop(receive);
    let read = run
        .reader(SALES)
        .read_slice(&slice(SALES), ReadBy::EventTime, &mut send)
        .await;
    let error = read.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(
        (run.log().taken(), run.log().dropped()),
        (1, 1),
        "no page more is asked for"
    );
}

#[tokio::test]
async fn an_error_of_the_sink_ends_the_reading_as_it_is() {
    let run = ScriptedRun::new([pages(&["a", "b", "c"])]).await;
    let read = run
        .reader(SALES)
        .read_slice(&slice(SALES), ReadBy::EventTime, &mut FailingSink(1))
        .await;
    assert!(read.unwrap_err().to_string().contains("no room"));
    assert_eq!((run.log().taken(), run.log().dropped()), (2, 1));
}

#[tokio::test]
async fn a_cancelled_reader_keeps_what_came_and_drops_a_stream_that_hangs() {
    let mut turns = pages(&["a"]);
    turns.push(Turn::Hang);
    let run = ScriptedRun::new([turns]).await;
    let (mut send, mut receive) = mpsc::channel(8);
    let reader = run.reader(SALES);
    let reading = tokio::spawn(async move {
        let slice = slice(SALES);
        reader
            .read_slice(&slice, ReadBy::EventTime, &mut send)
            .await
    });
    assert!(receive.recv().await.is_some());
    run.cancel.cancel();
    let error = reading.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(receive.recv().await.is_none(), "nothing is complete");
    assert_eq!(run.log().dropped(), 1);
    // One that is cancelled before it begins takes no page at all.
    let (read, kept) = read(&run, SALES).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!((kept.len(), run.log().taken()), (0, 1));
}

#[tokio::test]
async fn pages_before_an_error_are_handed_on_and_the_error_names_its_slice() {
    let mut turns = pages(&["a", "b"]);
    turns.push(Turn::Fail(Error::protocol("torn")));
    turns.extend(pages(&["c"]));
    let run = ScriptedRun::new([turns]).await;
    let (read, kept) = read(&run, SALES).await;
    let error = read.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("torn") && text.contains(&slice(SALES).to_string()),
        "{text}"
    );
    assert_eq!((error.kind(), kept.len()), (ErrorKind::Protocol, 2));
    assert_eq!(run.log().dropped(), 1);
}

#[tokio::test]
async fn a_page_that_is_no_json_is_an_error_of_its_slice() {
    let mut torn = page(&[sale("b")]);
    torn.bytes = torn.bytes.slice(..torn.bytes.len() - 3);
    let run = ScriptedRun::new([vec![Turn::Page(page(&[sale("a")])), Turn::Page(torn)]]).await;
    let (read, kept) = read(&run, SALES).await;
    let text = read.unwrap_err().to_string();
    assert!(text.contains(&slice(SALES).to_string()), "{text}");
    assert_eq!(kept.len(), 1);
}

#[tokio::test]
async fn a_listing_that_begins_anew_counts_once_and_tells_nothing_twice() {
    let records = [sale("a"), r#"{"at":"2026-01-01T11:00:00Z"}"#.to_owned()];
    let anew = Page {
        restarts_listing: true,
        ..page(&records)
    };
    let turns = vec![
        Turn::Page(page(&records)),
        Turn::Page(anew),
        Turn::Page(page(&[sale("b")])),
    ];
    let run = ScriptedRun::new([turns]).await;
    let (read, kept) = read(&run, SALES).await;
    let read = read.unwrap();
    assert_eq!((read.records, read.rejects, read.attempts), (2, 1, 2));
    let rejects: Vec<usize> = kept.iter().map(|page| page.rejects.len()).collect();
    assert_eq!(rejects, [1, 0, 0]);
    assert_eq!(kept.len(), 3, "what was seen was true, and is landed");
}

#[tokio::test]
async fn fewer_records_than_declared_are_an_error_by_the_own_time_alone() {
    let declared = || {
        vec![Turn::Page(Page {
            declared_total: Some(3),
            ..page(&[sale("a"), sale("b")])
        })]
    };
    let run = ScriptedRun::new([declared(), declared()]).await;
    let (read, kept) = read(&run, SALES).await;
    let text = read.unwrap_err().to_string();
    assert!(text.contains("declares 3 records, but 2 came"), "{text}");
    assert_eq!(kept[0].read_by, Some(ReadBy::EventTime));
    // The records that the provider learnt of in a window are another listing, whose total says nothing of the window.
    let mut kept = KeptPages::default();
    let read = run
        .reader(SALES)
        .read_slice(&slice(SALES), ReadBy::ChangeTime, &mut kept)
        .await
        .unwrap();
    assert_eq!((read.by, read.records), (ReadBy::ChangeTime, 2));
    assert_eq!(kept.0[0].read_by, Some(ReadBy::ChangeTime));
    let questions = run.log().questions.lock().unwrap().clone();
    assert_eq!(questions, ["pages sales", "changes sales"]);
}

#[tokio::test]
async fn a_resource_that_is_read_whole_has_the_keys_of_all_that_came() {
    let of_parent = |parent: &str, records: &[String]| {
        Turn::Page(Page {
            scope: Some(parent.into()),
            ..page(records)
        })
    };
    let both = [sale("a"), sale("b")];
    let keyless = [r#"{"at":"2026-01-01T11:00:00Z"}"#.to_owned()];
    let run = ScriptedRun::new([
        vec![of_parent("7", &both), of_parent("8", &both)],
        vec![of_parent("7", &both), of_parent("7", &keyless)],
        pages(&["a"]),
    ])
    .await;
    let (whole, kept) = read(&run, SHOPS).await;
    let whole = whole.unwrap();
    assert_eq!(whole.keys.map(|keys| keys.len()), Some(2));
    assert_eq!((whole.records, kept[0].read_by), (4, None));
    let told: usize = kept.iter().map(|page| page.warnings.len()).sum();
    assert_eq!(told, 0, "every parent's list is one of its own");
    let (unknown, _) = read(&run, SHOPS).await;
    assert!(
        unknown.unwrap().keys.is_none(),
        "nobody can tell what a record without a key is"
    );
    let (windowed, _) = read(&run, SALES).await;
    assert!(
        windowed.unwrap().keys.is_none(),
        "a window misses nothing outside of it"
    );
}

#[tokio::test]
async fn the_observer_hears_of_every_page_with_its_rejects_and_bytes() {
    let records = [sale("a"), r#"{"id":"b","at":"never"}"#.to_owned()];
    let pages = [page(&records), page(&[]), page(&[sale("c")])];
    let sizes: Vec<u64> = pages.iter().map(|page| page.bytes.len() as u64).collect();
    let run = ScriptedRun::new([
        pages.into_iter().map(Turn::Page).collect(),
        vec![Turn::Page(page(&[sale("d")]))],
    ])
    .await;
    let (read, _) = read(&run, SALES).await;
    let read = read.unwrap();
    assert_eq!((read.records, read.rejects), (2, 1));
    assert_eq!(
        run.events.pages(),
        [(2, sizes[0]), (0, sizes[1]), (1, sizes[2])]
    );
    let mut kept = KeptPages::default();
    let ids = vec!["d".to_owned()];
    let reader = run.reader(SALES);
    let by_id = reader.read_by_id(ids, None, &slice(SALES), &mut kept).await;
    assert_eq!((by_id.unwrap(), run.events.pages().len()), (1, 4));
    assert_eq!(kept.0[0].read_by, None, "it was not asked for by time");
}

#[tokio::test]
async fn a_slice_without_a_page_is_covered_up_to_the_question() {
    let run = ScriptedRun::new([]).await;
    let before = run.warehouse.now();
    let (read, kept) = read(&run, SALES).await;
    let read = read.unwrap();
    assert_eq!((read.records, read.attempts, kept.len()), (0, 1, 0));
    assert!(before <= read.read_at && read.read_at <= run.warehouse.now());
    // Where there is one, up to when it was asked for.
    let run = ScriptedRun::new([pages(&["a"])]).await;
    let (read, _) = self::read(&run, SALES).await;
    assert_eq!(read.unwrap().read_at, page(&[]).requested_at);
}

#[test]
fn the_first_window_begins_a_little_earlier() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let slice = |from: &str| Slice {
        resource: "sales".into(),
        tenant: None,
        window: Window::new(at(from), at("2026-01-03T00:00:00Z")).unwrap(),
    };
    let start = at("2026-01-01T00:00:00Z");
    let first = widen_first_window(&slice("2026-01-01T00:00:00Z"), start);
    assert_eq!(
        (first.window.from(), first.window.to()),
        (at("2025-12-31T23:59:59Z"), at("2026-01-03T00:00:00Z"))
    );
    let second = slice("2026-01-02T00:00:00Z");
    assert_eq!(widen_first_window(&second, start), second);
}
