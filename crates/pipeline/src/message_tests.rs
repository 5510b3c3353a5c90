//! The law of the channels between the steps: order, who waits, and what a closed one means.
//!
//! Invariant: a channel hands on every page once, in the order in which it was read, or says that it cannot.

use super::*;
use crate::scripted_source::{queued, sale};
use std::time::Duration;

fn ids(message: LandingMessage) -> Vec<String> {
    match message {
        LandingMessage::Page(page) => {
            let keys = page.incoming.keys.iter().flatten();
            keys.map(str::to_owned).collect()
        }
        LandingMessage::Complete(_) | LandingMessage::Flush(_) => Vec::new(),
    }
}

#[tokio::test]
async fn pages_arrive_in_the_order_in_which_they_were_read() {
    let (mut send, mut receive) = mpsc::channel(2);
    let reading = tokio::spawn(async move {
        for id in ["a", "b", "c", "d", "e"] {
            send.accept(queued(&[sale(id)], 1)).await.unwrap();
        }
    });
    let mut came = Vec::new();
    while let Some(message) = receive.recv().await {
        came.extend(ids(message));
    }
    reading.await.unwrap();
    assert_eq!(came, ["a", "b", "c", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_a_full_channel() {
    let (mut send, mut receive) = mpsc::channel(1);
    send.accept(queued(&[sale("a")], 1)).await.unwrap();
    let mut second = std::pin::pin!(send.accept(queued(&[sale("b")], 1)));
    let waiting = tokio::time::timeout(Duration::from_secs(3600), &mut second).await;
    assert!(waiting.is_err(), "nobody takes the first");
    assert_eq!(ids(receive.recv().await.unwrap()), ["a"]);
    second.await.unwrap();
    assert_eq!(ids(receive.recv().await.unwrap()), ["b"]);
}

#[tokio::test]
async fn a_closed_channel_interrupts_whoever_hands_on_or_waits() {
    let (mut send, mut receive) = mpsc::channel(1);
    send.accept(queued(&[sale("a")], 1)).await.unwrap();
    let mut waiting = send.clone();
    let second = tokio::spawn(async move { waiting.accept(queued(&[sale("b")], 1)).await });
    tokio::task::yield_now().await;
    receive.close();
    let refused = second.await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Interrupted);
    let refused = send.accept(queued(&[sale("c")], 1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Interrupted);
    assert!(
        refused.hint_text().is_some(),
        "it says what becomes of what landed"
    );
    // Its content is still handed on.
    assert_eq!(ids(receive.recv().await.unwrap()), ["a"]);
    assert!(receive.recv().await.is_none());
}
