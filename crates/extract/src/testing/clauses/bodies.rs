//! Bodies: how the bytes of a page may come, and what is not to be lost with one record of it.
//!
//! Invariant: what comes out is what the server holds, to the byte, in whatever wrapping it came.

use crate::media_type::MediaTypes;
use crate::source::Page;
use crate::testing::reading::SliceReading;
use crate::testing::run::{ConformanceRun, SliceBaseline, TenantResource, limits};
use crate::testing::source_under_test::SourceUnderTest;
use crate::testing::violation::{ClauseResult, ClauseViolation};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tillhouse_model::ErrorKind;

/// JSON under a media type that the connection accepts is read as any other.
pub async fn an_accepted_media_type_is_read(subject: SourceUnderTest) -> ClauseResult {
    let accepted = MediaTypes::new(["text/plain"]).map_err(ClauseViolation::new)?;
    for path in logins_too(&subject) {
        let fault = json!({"kind": "wrong_content_type", "times": 1_000, "path": path});
        is_read(&subject, &fault, &accepted).await?;
    }
    Ok(())
}

/// A byte order mark before a page, or before a login's answer, is passed over.
pub async fn a_byte_order_mark_is_passed_over(subject: SourceUnderTest) -> ClauseResult {
    for path in logins_too(&subject) {
        let fault = json!({"kind": "byte_order_mark", "times": 1_000, "path": path});
        is_read(&subject, &fault, &MediaTypes::default()).await?;
    }
    Ok(())
}

/// A body is decompressed whatever case the encoding's name is in, whichever of its names it is, and however many members it has.
pub async fn compressed_bodies_are_read(subject: SourceUnderTest) -> ClauseResult {
    for path in logins_too(&subject) {
        for (encoding, members) in [
            ("gzip", 1),
            ("GZIP", 1),
            ("x-gzip", 3),
            ("identity, gzip", 2),
            ("Identity", 1),
            ("utf-8", 1),
        ] {
            let fault = json!({"kind": "encoded", "encoding": encoding, "members": members, "times": 1_000, "path": path});
            is_read(&subject, &fault, &MediaTypes::default()).await?;
        }
    }
    Ok(())
}

/// Faults without a path hit pages only.
fn logins_too(subject: &SourceUnderTest) -> impl Iterator<Item = Option<&String>> {
    [None].into_iter().chain(subject.login.first().map(Some))
}

async fn is_read(subject: &SourceUnderTest, fault: &Value, accepted: &MediaTypes) -> ClauseResult {
    let bench = ConformanceRun::new(subject)?;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        let mut limits = limits(course.page_size);
        limits.accept_media_types = accepted.clone();
        bench.control.fault(fault.clone()).await?;
        let trial = bench.open(limits)?;
        let reading = trial
            .read(&asked, trial.source.pages(&asked.slice(course.window)))
            .await?;
        bench.control.clear_faults().await?;
        asked.say(
            format_args!("every answer {fault}"),
            reading.is_exactly(&course.truth, &everything),
        )?;
        hold!(
            trial.stats().retries == 0,
            "{}: {fault} was taken for a trouble",
            asked.resource.name
        );
    }
    Ok(())
}

/// An encoding that nobody asked for is an error that names it, not a page that cannot be read.
pub async fn an_encoding_that_nobody_asked_for_is_an_error(
    subject: SourceUnderTest,
) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources().await? {
        let name = asked.resource.name;
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        for encoding in ["br", "zstd", "Deflate", "gzip, br"] {
            bench
                .control
                .fault(json!({"kind": "encoded", "encoding": encoding, "times": 1_000}))
                .await?;
            let reading = bench.read(&asked, course.window, course.page_size).await?;
            bench.control.clear_faults().await?;
            let Some(error) = &reading.error else {
                hold!(
                    false,
                    "{name}, encoded as {encoding}: the stream ends as if all were well"
                );
                continue;
            };
            hold!(
                error.kind() == ErrorKind::Protocol,
                "{name}, encoded as {encoding}: {:?}: {error}",
                error.kind()
            );
            let told = error.to_string().contains("encoded as") && error.hint_text().is_some();
            hold!(
                told,
                "{name}, encoded as {encoding}: the error says neither that nor what to do: {error}"
            );
        }
    }
    Ok(())
}

/// A record that is damaged in itself is one record: its page comes, and all others with it.
pub async fn a_damaged_record_costs_no_other(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let damages = [
        "\"Caf\\ud83d\"",
        "\"Caf\u{fffd}\"",
        "NaN",
        "-Infinity",
        "007",
        "1e999",
        "\"a\nb\u{1}\"",
        "\"C:\\q\"",
        "\"12\" screen\"",
        &deep,
    ];
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        let Some((_, whole)) = course.truth.iter().nth(course.truth.len() / 2) else {
            continue;
        };
        for damage in damages {
            // Behind what is there, so that the record is known by its key.
            let Some(inside) = whole.trim_end().strip_suffix('}') else {
                continue;
            };
            let damaged = format!(r#"{inside},"damaged":{damage}}}"#);
            bench
                .control
                .fault(json!({"kind": "replaced", "text": whole, "with": damaged, "times": 1_000}))
                .await?;
            let (reading, met) = read_mended(&bench, &asked, &course, &damaged, whole).await?;
            asked.say(
                format_args!(
                    "one record damaged by {}",
                    damage.chars().take(20).collect::<String>()
                ),
                reading.is_exactly(&course.truth, &everything),
            )?;
            hold!(
                met == 1,
                "{}: no page holds the damaged record",
                asked.resource.name
            );
        }
    }
    Ok(())
}

/// Signs between two records are no record: a comma too many or too few costs none of them.
pub async fn a_damaged_comma_costs_no_record(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        let Some((_, whole)) = course.truth.iter().nth(course.truth.len() / 2) else {
            continue;
        };
        let followed = format!("{whole},");
        for (text, with) in [
            (whole, format!(",{whole}")),
            (whole, format!("{whole},")),
            (whole, format!("{whole} , ,")),
            (whole, format!("{whole};")),
            // Behind the last record of a page there is none.
            (&followed, format!("{whole}\n\t\n")),
        ] {
            bench
                .control
                .fault(json!({"kind": "replaced", "text": text, "with": with, "times": 1_000}))
                .await?;
            let (reading, met) = read_mended(&bench, &asked, &course, &with, text).await?;
            asked.say(
                format_args!("{} in the place of a record", with.replace(whole, "{..}")),
                reading.is_exactly(&course.truth, &everything),
            )?;
            hold!(
                met == 1 || text == &followed,
                "{}: no page holds the damaged comma",
                asked.resource.name
            );
        }
    }
    Ok(())
}

/// Reads a slice from a server that sends `damaged` in the place of `whole`. With the damage mended again, the suite reads a page as any other; how
/// many had it is told beside them. The server is well again then.
async fn read_mended<'s>(
    bench: &ConformanceRun<'s>,
    asked: &TenantResource<'s>,
    course: &SliceBaseline,
    damaged: &str,
    whole: &str,
) -> Result<(SliceReading, usize), ClauseViolation> {
    let trial = bench.open(limits(course.page_size))?;
    let met = Arc::new(AtomicUsize::new(0));
    let (seen, from, to) = (met.clone(), sent(damaged), whole.to_owned());
    let pages = trial
        .source
        .pages(&asked.slice(course.window))
        .map(move |page| {
            page.map(|page| {
                let bytes = mended(&page.bytes, &from, to.as_bytes());
                seen.fetch_add(usize::from(bytes.is_some()), Ordering::Relaxed);
                Page {
                    bytes: bytes.unwrap_or(page.bytes),
                    ..page
                }
            })
        });
    let reading = trial.read(asked, pages.boxed()).await?;
    bench.control.clear_faults().await?;
    Ok((reading, met.load(Ordering::Relaxed)))
}

/// The bytes that a replacement is sent as.
fn sent(with: &str) -> Vec<u8> {
    with.split('\u{fffd}')
        .map(str::as_bytes)
        .collect::<Vec<_>>()
        .join(&0xff)
}

/// A page with some bytes replaced, where it holds them.
fn mended(page: &Bytes, from: &[u8], to: &[u8]) -> Option<Bytes> {
    let at = page.windows(from.len()).position(|window| window == from)?;
    Some([&page[..at], to, &page[at + from.len()..]].concat().into())
}
