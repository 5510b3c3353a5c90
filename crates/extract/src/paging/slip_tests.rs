//! Every form of paging against servers that slip once, in every way and at every request; that lack a page for good; and that lose links.
//!
//! Invariant: where one answer is wrong, every record comes all the same, or there is an error; whatever totals count, however many records
//! there are and wherever pages are cut. The few cases that nobody could tell are listed, each with its reason.

use super::*;
use crate::paging::by_page::{NextPage, NumberedPage, PageNumbering};
use std::collections::BTreeSet;
use url::Url;

/// Scope that a test server's totals count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlipTotals {
    None,
    Listing,
    /// The page they stand on.
    Page,
    /// The listing, up to a limit.
    Capped,
}

/// Error in a single answer of a test server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerSlip {
    /// A 404.
    Missing,
    /// No records; the total is as ever.
    Empty,
    /// The first page of the listing again.
    Repeat,
    /// The first page again, in another order.
    Turned,
}

/// Test server that errs once.
#[derive(Debug, Clone, Copy)]
struct SlippingServer {
    records: u64,
    /// Records a page at most, whatever is asked for.
    most: u64,
    limit: u32,
    totals: SlipTotals,
    slip: ServerSlip,
    /// The request that is answered wrongly.
    at: usize,
}

/// Answer to a request: the records and the total; `None` for a 404.
type SlipAnswer = Option<(Vec<u64>, Option<u64>)>;

impl SlippingServer {
    fn answer(&self, from: u64, number: usize) -> SlipAnswer {
        let size = self.most.min(u64::from(self.limit));
        let cut = |from: u64| {
            (from.min(self.records)..(from + size).min(self.records)).collect::<Vec<_>>()
        };
        let mut rows = cut(from);
        if number == self.at {
            match self.slip {
                ServerSlip::Missing => return None,
                ServerSlip::Empty => rows.clear(),
                ServerSlip::Repeat => rows = cut(0),
                ServerSlip::Turned => rows = cut(0).into_iter().rev().collect(),
            }
        }
        let total = match self.totals {
            SlipTotals::None => None,
            SlipTotals::Listing => Some(self.records),
            SlipTotals::Page => Some(rows.len() as u64),
            SlipTotals::Capped => Some(self.records.min(3)),
        };
        Some((rows, total))
    }

    /// Cases that no reader could tell apart.
    fn is_beyond_telling(&self) -> bool {
        let size = self.most.min(u64::from(self.limit));
        // The first answer of all: an empty one is an empty listing.
        let first =
            self.at == 0 && self.slip == ServerSlip::Empty && self.totals != SlipTotals::Listing;
        // A page of one record again is an id that is listed twice.
        let single = size == 1 && matches!(self.slip, ServerSlip::Repeat | ServerSlip::Turned);
        // An empty page where as many records came as a total says that counts more than a page: two signs are enough.
        let capped = self.totals == SlipTotals::Capped
            && self.slip == ServerSlip::Empty
            && self.at as u64 * size == 3;
        // The second of two pages on a server that cuts pages: to ask it twice would cost every listing of one page a request.
        let second = self.slip == ServerSlip::Empty
            && self.at == 1
            && self.records <= 2 * size
            && size < u64::from(self.limit);
        first || single || capped || second
    }
}

fn every_server() -> impl Iterator<Item = SlippingServer> {
    let mut all = Vec::new();
    for (records, most, limit) in [0, 1, 2, 3, 4, 5, 6, 7, 9].into_iter().flat_map(|records| {
        [(1, 3), (2, 2), (2, 500), (3, 3), (3, 500), (4, 4)]
            .map(|(most, limit)| (records, most, limit))
    }) {
        for totals in [
            SlipTotals::None,
            SlipTotals::Listing,
            SlipTotals::Page,
            SlipTotals::Capped,
        ] {
            for slip in [
                ServerSlip::Missing,
                ServerSlip::Empty,
                ServerSlip::Repeat,
                ServerSlip::Turned,
            ] {
                all.extend((0..8).map(|at| SlippingServer {
                    records,
                    most,
                    limit,
                    totals,
                    slip,
                    at,
                }));
            }
        }
    }
    all.into_iter()
}

fn text(rows: &[u64]) -> String {
    format!(r#"{{"data":{rows:?}}}"#)
}

/// The records that came, or the error.
async fn came(stream: PageStream) -> Result<BTreeSet<u64>> {
    let mut all = BTreeSet::new();
    for page in stream.collect::<Vec<_>>().await {
        let page: serde_json::Value = serde_json::from_slice(&page?.bytes).unwrap();
        all.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|id| id.as_u64().unwrap()),
        );
    }
    Ok(all)
}

async fn every_slip(form: &str, read: impl Fn(SlippingServer) -> PageStream) {
    let (mut lost, mut failed, mut tried) = (Vec::new(), 0, 0);
    for server in every_server().filter(|server| !server.is_beyond_telling()) {
        tried += 1;
        match came(read(server)).await {
            Err(_) => failed += 1,
            Ok(all) if all.len() as u64 == server.records => {}
            Ok(all) => lost.push(format!("{server:?}: {all:?}")),
        }
    }
    assert!(
        lost.is_empty(),
        "{form}: {} of {tried} lose records, the first: {:#?}",
        lost.len(),
        &lost[..lost.len().min(12)]
    );
    // A 404 for the first page is an error, and little else is.
    assert!(failed * 10 < tried, "{form}: {failed} of {tried} fail");
}

fn listing(server: SlippingServer) -> ListingOptions {
    ListingOptions {
        records_at: Some(&["data"]),
        page_size: server.limit,
        ..ListingOptions::from(200)
    }
}

fn counter() -> impl FnMut() -> usize {
    let mut number = 0;
    move || {
        number += 1;
        number - 1
    }
}

#[tokio::test(start_paused = true)]
async fn by_offset_a_slip_hides_no_record() {
    every_slip("by offset", |server| {
        let mut number = counter();
        by_offset(server.limit, listing(server), move |at| {
            let answer = server.answer(at.offset, number());
            async move {
                let Some((rows, total)) = answer else {
                    return Ok(FetchOutcome::Missing(Error::protocol("nothing there")));
                };
                let (records, page) = (rows.len() as u64, tests::page(text(&rows), total));
                Ok(FetchOutcome::Page(OffsetPage {
                    page,
                    records,
                    limit: None,
                    linked: false,
                    leads_to: None,
                }))
            }
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn by_page_a_slip_hides_no_record() {
    every_slip("by page", |server| {
        let (mut number, size) = (counter(), server.most.min(u64::from(server.limit)));
        by_page(PageNumbering::known(), listing(server), move |place| {
            let answer = server.answer(place.index * size, number());
            async move {
                let Some((rows, total)) = answer else {
                    return Ok(FetchOutcome::Missing(Error::protocol("nothing there")));
                };
                let page = tests::page(text(&rows), total);
                let url =
                    Url::parse(&format!("http://127.0.0.1:1/list?page={}", place.index)).unwrap();
                Ok(FetchOutcome::Page(NumberedPage {
                    page,
                    records: rows,
                    url,
                    next: NextPage::Unknown,
                }))
            }
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn by_link_a_slip_hides_no_record() {
    every_slip("by link", |server| {
        let (mut number, size) = (counter(), server.most.min(u64::from(server.limit)));
        by_link(
            Url::parse("http://127.0.0.1:1/list").unwrap(),
            listing(server),
            move |url| {
                let from: u64 = url.query().map_or(0, |query| {
                    query.trim_start_matches("from=").parse().unwrap()
                });
                let answer = server.answer(from, number());
                async move {
                    let Some((rows, total)) = answer else {
                        return Ok(FetchOutcome::Missing(Error::protocol("nothing there")));
                    };
                    // The links are right: what else could be followed?
                    let link =
                        (from + size < server.records).then(|| format!("?from={}", from + size));
                    Ok(FetchOutcome::Page((tests::page(text(&rows), total), link)))
                }
            },
        )
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn by_key_a_slip_hides_no_record() {
    let (mut lost, mut failed, mut tried) = (Vec::new(), 0, 0);
    for server in every_server()
        .filter(|server| server.totals == SlipTotals::None && !server.is_beyond_telling())
    {
        tried += 1;
        let number = Mutex::new(counter());
        let asked = KeyedListing {
            source: "till",
            resource: "products",
            listing: listing(server),
            hint: "Ask about ids.",
        };
        let stream = by_key(asked, None, move |after| {
            let from = after
                .key
                .map_or(0, |key| key.to_string().parse::<u64>().unwrap() + 1);
            let answer = SlippingServer {
                limit: after.limit,
                ..server
            }
            .answer(from, (*number.lock().unwrap())());
            async move {
                let Some((rows, _)) = answer else {
                    return Ok(KeyedFetch::Missing(Error::protocol("nothing there")));
                };
                let rows: Vec<String> = rows.iter().map(|id| format!(r#"{{"id":{id}}}"#)).collect();
                Ok(KeyedFetch::Page(tests::page(
                    format!("[{}]", rows.join(",")),
                    None,
                )))
            }
        });
        let mut all = BTreeSet::new();
        let mut error = None;
        for page in stream.collect::<Vec<_>>().await {
            match page {
                Ok(page) => {
                    let page: Vec<serde_json::Value> = serde_json::from_slice(&page.bytes).unwrap();
                    all.extend(page.iter().map(|record| record["id"].as_u64().unwrap()));
                }
                Err(e) => error = Some(e),
            }
        }
        if error.is_some() {
            failed += 1;
        } else if all.len() as u64 != server.records {
            lost.push(format!("{server:?}: {all:?}"));
        }
    }
    assert!(
        lost.is_empty(),
        "{} of {tried} lose records: {:#?}",
        lost.len(),
        &lost[..lost.len().min(12)]
    );
    assert!(failed * 10 < tried, "{failed} of {tried} fail");
}

/// Test server that permanently lacks one page in the middle.
#[derive(Debug, Clone, Copy)]
struct LackingServer {
    server: SlippingServer,
    /// The page that it lacks.
    page: u64,
    /// True if what lies behind the end is missing as well.
    ends_missing: bool,
}

impl LackingServer {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for server in every_server().filter(|server| {
            server.at == 0 && matches!(server.slip, ServerSlip::Missing | ServerSlip::Empty)
        }) {
            let size = server.most.min(u64::from(server.limit));
            let middle = 1..server.records.div_ceil(size).saturating_sub(1);
            // Where as many records came as a total says that counts more than a page, two signs are enough.
            let told = |page: &u64| server.totals != SlipTotals::Capped || page * size != 3;
            for ends_missing in [false, true] {
                all.extend(middle.clone().filter(told).map(|page| Self {
                    server,
                    page,
                    ends_missing,
                }));
            }
        }
        all
    }

    fn answer(&self, from: u64) -> SlipAnswer {
        let size = self.server.most.min(u64::from(self.server.limit));
        let lacks = from / size == self.page || (self.ends_missing && from >= self.server.records);
        let answer = SlippingServer {
            at: usize::from(!lacks),
            ..self.server
        }
        .answer(from, 0);
        if from < self.server.records {
            answer
        } else {
            answer.filter(|_| !self.ends_missing)
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_lacking_for_good_is_an_error() {
    let mut silent = Vec::new();
    for lacking in LackingServer::all() {
        let server = lacking.server;
        let offsets = by_offset(server.limit, listing(server), move |at| async move {
            let Some((rows, total)) = lacking.answer(at.offset) else {
                return Ok(FetchOutcome::Missing(Error::protocol("nothing there")));
            };
            let (records, page) = (rows.len() as u64, tests::page(text(&rows), total));
            Ok(FetchOutcome::Page(OffsetPage {
                page,
                records,
                limit: None,
                linked: false,
                leads_to: None,
            }))
        });
        let size = server.most.min(u64::from(server.limit));
        let pages = by_page(
            PageNumbering::known(),
            listing(server),
            move |place| async move {
                let Some((rows, total)) = lacking.answer(place.index * size) else {
                    return Ok(FetchOutcome::Missing(Error::protocol("nothing there")));
                };
                let url =
                    Url::parse(&format!("http://127.0.0.1:1/list?page={}", place.index)).unwrap();
                Ok(FetchOutcome::Page(NumberedPage {
                    page: tests::page(text(&rows), total),
                    records: rows,
                    url,
                    next: NextPage::Unknown,
                }))
            },
        );
        for (form, stream) in [("by offset", offsets), ("by page", pages)] {
            if let Ok(all) = came(stream).await {
                silent.push(format!("{form} {lacking:?}: {all:?}"));
            }
        }
    }
    assert!(
        silent.is_empty(),
        "{} are silent: {:#?}",
        silent.len(),
        &silent[..silent.len().min(12)]
    );
}

/// Pages of a test server that link to the next one.
#[derive(Debug, Clone, Copy)]
enum SlipLinks {
    /// All but the last.
    Right,
    /// All, also the empty ones behind the end.
    Always,
    /// All but the last and this one.
    Without(u64),
    /// All up to this one.
    UpTo(u64),
    /// Only this one.
    Only(u64),
}

#[tokio::test(start_paused = true)]
async fn links_that_are_lost_or_never_end_hide_no_record() {
    let pages = 0..5;
    let all_links = [SlipLinks::Right, SlipLinks::Always]
        .into_iter()
        .chain(pages.clone().map(SlipLinks::Without))
        .chain(pages.clone().map(SlipLinks::UpTo))
        .chain(pages.map(SlipLinks::Only));
    let mut lost = Vec::new();
    for links in all_links {
        for (records, size, limit) in
            (0..10).flat_map(|records| [(records, 2, 2), (records, 2, 500), (records, 3, 3)])
        {
            for (ends_missing, numbered) in
                [(false, true), (true, true), (false, false), (true, false)]
            {
                let listing = ListingOptions {
                    records_at: Some(&["data"]),
                    page_size: limit,
                    ..ListingOptions::from(200)
                };
                let numbering = if numbered {
                    PageNumbering::known()
                } else {
                    PageNumbering::default()
                };
                let asked = Arc::new(AtomicU64::new(0));
                let count = asked.clone();
                let stream = by_page(numbering, listing, move |place| {
                    count.fetch_add(1, Ordering::Relaxed);
                    let from = place.index * size;
                    let rows: Vec<u64> = (from.min(records)..(from + size).min(records)).collect();
                    let url = |index: u64| {
                        Url::parse(&format!("http://127.0.0.1:1/list?page={index}")).unwrap()
                    };
                    let is_last = from + size >= records;
                    let names = match links {
                        SlipLinks::Right => !is_last,
                        SlipLinks::Always => true,
                        SlipLinks::Without(page) => !is_last && page != place.index,
                        SlipLinks::UpTo(page) => !is_last && place.index <= page,
                        SlipLinks::Only(page) => !is_last && place.index == page,
                    };
                    let next = if names {
                        NextPage::Link(url(place.index + 1))
                    } else {
                        NextPage::Unknown
                    };
                    async move {
                        if ends_missing && rows.is_empty() && place.index > 0 {
                            return Ok(FetchOutcome::Missing(Error::protocol("nothing there")));
                        }
                        let page = tests::page(text(&rows), None);
                        Ok(FetchOutcome::Page(NumberedPage {
                            page,
                            records: rows,
                            url: url(place.index),
                            next,
                        }))
                    }
                });
                let shown =
                    format!("{links:?} {records} of {size} of {limit} {ends_missing} {numbered}");
                let outcome = came(stream).await;
                let asked = asked.load(Ordering::Relaxed);
                if outcome.as_ref().map_or(0, |all| all.len() as u64) != records
                    || asked > records / size + 15
                {
                    lost.push(format!("{shown}: {asked} requests, {outcome:?}"));
                }
            }
        }
    }
    assert!(
        lost.is_empty(),
        "{}: {:#?}",
        lost.len(),
        &lost[..lost.len().min(12)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_total_that_is_cut_at_a_page_proves_nothing_by_a_small_window() {
    for (small, most, limit) in [(1, 2, 5), (2, 2, 5), (0, 2, 5), (1, 2, 2)] {
        let known = ListingOptions {
            records_at: Some(&["data"]),
            page_size: limit,
            ..ListingOptions::from(200)
        };
        let of = |records: u64| {
            let server = SlippingServer {
                records,
                most,
                limit,
                totals: SlipTotals::None,
                slip: ServerSlip::Empty,
                at: usize::MAX,
            };
            let answer = move |from: u64| {
                let (rows, _) = server.answer(from, 0).unwrap_or_default();
                (rows, Some(records.min(most)))
            };
            let offsets = by_offset(limit, known.clone(), move |at| {
                let (rows, total) = answer(at.offset);
                let (records, page) = (rows.len() as u64, tests::page(text(&rows), total));
                async move {
                    Ok(OffsetPage {
                        page,
                        records,
                        limit: None,
                        linked: false,
                        leads_to: None,
                    })
                }
            });
            let pages = by_page(PageNumbering::known(), known.clone(), move |place| {
                let (rows, total) = answer(place.index * most);
                let url =
                    Url::parse(&format!("http://127.0.0.1:1/list?page={}", place.index)).unwrap();
                async move {
                    Ok(NumberedPage {
                        page: tests::page(text(&rows), total),
                        records: rows,
                        url,
                        next: NextPage::Unknown,
                    })
                }
            });
            [offsets, pages]
        };
        for records in [small, 7, 2, 3, 7] {
            for stream in of(records) {
                assert_eq!(
                    came(stream).await.unwrap().len() as u64,
                    records,
                    "{small} {most} {limit}"
                );
            }
        }
    }
}
