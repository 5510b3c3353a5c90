//! Order: records that come in another order than was asked for.
//!
//! Invariant: a source may need the order that it asks for, but sees that it does not get it: no record is lost without a word.

use super::ends::{ALWAYS, READINGS, faulty};
use crate::testing::run::{ConformanceRun, SliceBaseline};
use crate::testing::source_under_test::{PageLinks, SourceUnderTest};
use crate::testing::violation::ClauseResult;
use serde_json::json;
use tillhouse_model::ErrorKind;

/// A server that pays no heed to the order that is asked for is read whole, or the slice is an error. Where it lists in another order with every
/// request, records may come twice and others not at all: that is an error, too, or said in a remark.
pub async fn records_in_another_order_are_read_or_told(subject: SourceUnderTest) -> ClauseResult {
    let bench = ConformanceRun::new(&subject)?;
    for asked in bench
        .resources()
        .await?
        .into_iter()
        .filter(|asked| asked.records.paged)
    {
        let name = asked.resource.name;
        let SliceBaseline {
            window,
            page_size,
            requests,
            truth,
            ..
        } = asked.say("undisturbed", bench.baseline(&asked).await)?;
        if page_size < 2 {
            // One record is in every order.
            continue;
        }
        let everything = bench.server_records(&asked, None).await?;
        for kind in ["unsorted", "shuffled"] {
            let fault = json!({"kind": kind, "times": ALWAYS});
            let (reading, sent, met) = faulty(&bench, &asked, window, page_size, fault).await?;
            hold!(
                met > 0 || asked.records.links == PageLinks::Followed,
                "{name}, {kind}: it was not asked for"
            );
            asked.say(kind, reading.is_true(&everything))?;
            match &reading.error {
                Some(error) => hold!(
                    error.kind() == ErrorKind::Protocol,
                    "{name}, {kind}: an error of kind {:?}",
                    error.kind()
                ),
                None if kind == "shuffled" && reading.has_remarks() => {}
                None => asked.say(kind, reading.is_complete(&truth, &everything))?,
            }
            hold!(
                sent <= READINGS * (requests + 6),
                "{name}, {kind}: {sent} requests, where {requests} do"
            );
        }
    }
    Ok(())
}
