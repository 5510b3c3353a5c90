//! Complete: the pages of a slice hold every record of its window.
//!
//! Invariant: here the server stands still, so what comes can be compared with what it holds, record by record.

use crate::testing::control::ControlLogEntry;
use crate::testing::reading::{ServerRecords, SliceReading};
use crate::testing::run::{CAP, ConformanceRun, TenantResource, limits, long_after};
use crate::testing::source_under_test::SourceUnderTest;
use crate::testing::violation::ClauseResult;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;
use tillhouse_emulator::RecordMutationKind;
use tillhouse_model::Window;

/// More than any API gives at once.
const ENDLESSLY: u32 = 10_000;

/// Every record of a window comes exactly once for every tenant, for page sizes from one to more than the API gives.
pub async fn every_record_comes_once_whatever_the_page_size(
    subject: SourceUnderTest,
) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    // Where the largest page is not known, the server is told one; that holds for all of its resources, so these come last.
    let mut all = bench.resources_by_tenant().await?;
    all.sort_by_key(|asked| asked.resource.largest_page.is_none());
    let mut before = None;
    for asked in all {
        let largest = asked.resource.largest_page.unwrap_or(CAP);
        if asked.resource.largest_page.is_none() {
            bench.control.page_cap(largest).await?;
        }
        let first = before.replace(asked.resource.name) != Some(asked.resource.name);
        // The other tenants are read in one way only.
        let few: &[u32] = if first { &[1, 2, 7] } else { &[7] };
        let many = [largest - 1, largest, largest + 1, ENDLESSLY];
        let many: &[u32] = if first { &many } else { &[] };
        let everything = bench.server_records(&asked, None).await?;
        for (about, sizes) in [(20, few), (largest as usize * 5 / 4, many)] {
            let window = bench.window(&asked, about).await?;
            let wanted = bench.server_records(&asked, Some(window)).await?;
            for size in sizes {
                let reading = bench.read(&asked, window, *size).await?;
                let held = reading
                    .is_exactly(&wanted, &everything)
                    .and_then(|()| sized(&asked, &reading, *size));
                asked.say(
                    format_args!("{} records by pages of {size}", wanted.len()),
                    held,
                )?;
            }
        }
    }
    Ok(())
}

/// A paged API was asked for pages of that size.
fn sized(asked: &TenantResource<'_>, reading: &SliceReading, size: u32) -> ClauseResult {
    let largest = reading
        .pages
        .iter()
        .map(|leaf| leaf.records.len())
        .max()
        .unwrap_or_default();
    if asked.records.paged {
        hold!(largest <= size as usize, "a page has {largest} records");
    } else if size == 1 {
        hold!(
            largest > 1 || reading.pages.len() < 2,
            "it is paged, though the subject says not"
        );
    }
    Ok(())
}

/// A server that gives shorter pages than were asked for, without a word, loses no record.
pub async fn pages_cut_short_lose_nothing(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let all = bench.resources().await?;
    bench.control.page_cap(CAP).await?;
    for asked in all.into_iter().filter(|asked| asked.records.paged) {
        let window = bench.window(&asked, CAP as usize * 5 / 2).await?;
        let wanted = bench.server_records(&asked, Some(window)).await?;
        let everything = bench.server_records(&asked, None).await?;
        let reading = bench.read(&asked, window, 100).await?;
        let held = reading.is_exactly(&wanted, &everything);
        let how = format!(
            "{} records, a hundred asked for at a time, {CAP} given",
            wanted.len()
        );
        if asked.records.cut_pages {
            asked.say(how, held)?;
        } else if wanted.len() > CAP as usize {
            asked.say(
                how,
                reading
                    .ended_well()
                    .and_then(|()| reading.is_true(&everything)),
            )?;
            hold!(
                held.is_err(),
                "{}: the source copes with short pages, though the subject says not",
                asked.resource.name
            );
        }
    }
    Ok(())
}

/// Windows that touch hold together what the window around them holds, wherever it is cut.
pub async fn windows_that_touch_leave_no_gap(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| !asked.is_whole())
    {
        let window = bench.window(&asked, 30).await?;
        let whole = bench.server_records(&asked, Some(window)).await?;
        let everything = bench.server_records(&asked, None).await?;
        let mut pieces = 0;
        let trial = bench.open(limits(7))?;
        for piece in cut(window, &times(&asked, &whole)) {
            let wanted = bench.server_records(&asked, Some(piece)).await?;
            pieces += wanted.len();
            let reading = bench.read(&asked, piece, 7).await?;
            asked.say(piece, reading.is_exactly(&wanted, &everything))?;
            let asks = trial
                .source
                .asks(&asked.slice(piece), asked.resource.read_by);
            let beyond = reading
                .records()
                .filter_map(|record| asked.records.time_of(&record.text))
                .find(|time| *time < asks.from() || asks.to() <= *time);
            hold!(
                beyond.is_none(),
                "{}: a record of {} came for {piece}, though the source says that it asks for {asks}",
                asked.resource.name,
                beyond.map(|time| time.to_string()).unwrap_or_default()
            );
        }
        let whole = whole.len();
        hold!(
            pieces == whole,
            "{}: the server holds {whole} records in {window}, but {pieces} in its parts",
            asked.resource.name
        );
        if let Some(after) = long_after(subject.window) {
            let reading = bench.read(&asked, after, 7).await?;
            let held = reading
                .ended_well()
                .and_then(|()| reading.is_true(&everything));
            asked.say("a window without records", held)?;
        }
    }
    Ok(())
}

/// A record on the instant at which two windows touch is asked for inside of one of them: a server may take a window's end for outside of it, and
/// its start as well.
pub async fn the_instant_between_two_windows_is_read(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    let second = SignedDuration::from_secs(1);
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| !asked.is_whole())
    {
        let name = asked.resource.name;
        let window = bench.window(&asked, 10).await?;
        // A record arrives at a whole second.
        let inner = Window::new(
            window
                .from()
                .checked_add(second * 5)
                .unwrap_or(window.from()),
            window.to().checked_sub(second * 5).unwrap_or(window.to()),
        );
        if let Ok(inner) = inner {
            let (arrive, tenant) = (RecordMutationKind::Arrive, asked.tenant.as_deref());
            bench.control.mutate(arrive, name, tenant, inner).await?;
        }
        let held = bench.server_records(&asked, Some(window)).await?;
        let mut tried = 0;
        for (key, record) in &held {
            let Some(time) = asked.records.time_of(record) else {
                continue;
            };
            let around = time.checked_add(second).ok().and_then(|next| {
                Some((
                    Window::new(window.from(), time).ok()?,
                    Window::new(next, window.to()).ok()?,
                ))
            });
            let Some((before, after)) = around.filter(|_| time.subsec_nanosecond() == 0) else {
                continue;
            };
            tried += 1;
            // One that begins a second later brings it where windows are asked for from a second earlier on.
            let mut found = false;
            for part in [before, after] {
                let reading = bench.read(&asked, part, 7).await?;
                asked.say(part, reading.ended_well())?;
                found |= reading.records().any(|record| record.key == *key);
            }
            hold!(
                found,
                "{name}: neither the window that ends at {time} nor the one that begins there is asked for beyond it, so a server that excludes \
                 both ends hides the record {key:?}"
            );
            if tried == 3 {
                break;
            }
        }
    }
    Ok(())
}

fn times(asked: &TenantResource<'_>, truth: &ServerRecords) -> Vec<Timestamp> {
    let mut times: Vec<Timestamp> = truth
        .values()
        .filter_map(|record| asked.records.time_of(record))
        .collect();
    times.sort_unstable();
    times
}

/// A window in pieces: at the instant of a record, shortly before and after one, and between two seconds; in equal parts where the
/// instants are not known.
fn cut(window: Window, times: &[Timestamp]) -> Vec<Window> {
    let at = |part: usize, shift: SignedDuration| {
        times
            .get(times.len() * part / 6)
            .and_then(|time| time.checked_add(shift).ok())
    };
    let mut cuts: Vec<Timestamp> = [
        at(1, SignedDuration::ZERO),
        at(2, SignedDuration::from_micros(1)),
        at(3, SignedDuration::from_micros(-1)),
        at(4, SignedDuration::from_millis(300)),
        at(5, SignedDuration::from_secs(1)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if cuts.is_empty() {
        let quarter = SignedDuration::from_micros(
            i64::try_from(window.duration().as_micros() / 4)
                .unwrap_or(1)
                .max(1),
        );
        cuts = window
            .split(window.from(), quarter)
            .iter()
            .map(Window::from)
            .collect();
    }
    cuts.push(window.from());
    cuts.push(window.to());
    cuts.retain(|cut| (window.from()..=window.to()).contains(cut));
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2)
        .filter_map(|pair| Window::new(pair[0], pair[1]).ok())
        .collect()
}

/// A resource that is read whole holds everything, whatever the slice's window is.
pub async fn a_whole_is_whole_whatever_the_window(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench
        .resources_by_tenant()
        .await?
        .into_iter()
        .filter(TenantResource::is_whole)
    {
        let truth = bench.server_records(&asked, None).await?;
        for window in [Some(subject.window), long_after(subject.window)]
            .into_iter()
            .flatten()
        {
            let reading = bench.read(&asked, window, 50).await?;
            asked.say(window, reading.is_exactly(&truth, &truth))?;
        }
    }
    Ok(())
}

/// Reading a slice twice asks the same and gets the same, and changes nothing at the provider's.
pub async fn the_same_question_has_the_same_answer(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources().await? {
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let everything = bench.server_records(&asked, None).await?;
        let trial = bench.open(limits(course.page_size))?;
        let mut readings = Vec::new();
        for _ in 0..2 {
            bench.control.clear_log().await?;
            let reading = trial
                .read(&asked, trial.source.pages(&asked.slice(course.window)))
                .await?;
            let log = bench.control.log().await?;
            let mut questions: Vec<ControlLogEntry> = bench.lists(&log).cloned().collect();
            questions.sort_by(|a, b| (&a.path, &a.query).cmp(&(&b.path, &b.query)));
            readings.push((
                reading.records().cloned().collect::<Vec<_>>(),
                reading.declared_total(),
                questions,
            ));
        }
        let name = asked.resource.name;
        hold!(
            readings[0].2 == readings[1].2,
            "{name}: the same slice is asked for in two ways"
        );
        hold!(
            readings[0] == readings[1],
            "{name}: the same slice came in two ways"
        );
        hold!(
            bench.server_records(&asked, None).await? == everything,
            "{name}: reading changed what the server holds"
        );
    }
    Ok(())
}

/// Every page has its total, as the server declares it, if totals are declared.
pub async fn totals_are_handed_on(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench.resources().await? {
        let name = asked.resource.name;
        let course = asked.say("undisturbed", bench.baseline(&asked).await)?;
        let reading = bench.read(&asked, course.window, course.page_size).await?;
        let told: BTreeSet<Option<u64>> = reading
            .pages
            .iter()
            .map(|leaf| leaf.declared_total)
            .collect();
        let right = told == BTreeSet::from([Some(reading.distinct() as u64)]);
        if !asked.resource.declares_total {
            hold!(
                !right,
                "{name}: every page has the right total, though the resource is said to declare none"
            );
            continue;
        }
        hold!(
            right,
            "{name}: {} records came, and the pages' totals are {told:?}",
            reading.distinct()
        );
        let lies = 10_000;
        bench
            .control
            .fault(json!({"kind": "lie_total", "times": lies}))
            .await?;
        let reading = bench.read(&asked, course.window, course.page_size).await?;
        hold!(
            bench.control.pending().await? < lies,
            "{name}: the server did not lie about its total"
        );
        let (told, came) = (reading.declared_total(), reading.distinct() as u64);
        hold!(
            told == Some(came + 1),
            "{name}: the total is one too high, and the source says {told:?} for {came} records"
        );
        bench.control.clear_faults().await?;
    }
    Ok(())
}
