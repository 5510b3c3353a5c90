//! Sources of an answer: the levels that cover a request with the fewest rows, and the facts for what is left of it.
//!
//! Invariant: every instant of a window is counted once, added by one source or added by one and taken off again by another, so that
//! whatever sources there are, the figures are the same to the last digit. What a level does not tell apart is never asked of it: sites of a
//! level without sites, what a filter names.
//!
//! ```text
//!   a window      |------------- whole years -------------|-- year --|
//!   months                                                |++++++++|       whole months of the rest
//!   or                                                    |+ + + + + |---| the year, and off it the months behind the window
//!   their edges   the same with days, and what is left of these from the facts
//! ```
//!
//! At each end of a window that is taken which has less to read: so a year in a zone an hour off UTC is ten years' rows and two hours of facts.
//!
//! Transactions are asked three things, each of the levels that are best for it: the window's sums by site, its hours, and the sums of the window before.

use super::fact::{ARTICLES, BUSINESS_DATE, FACTS, PAYMENTS, RolledFact, SITE, TRANSACTIONS};
use super::level::{LEVELS, Level};
use super::table::{self, TABLE};
use super::{SCHEMA, START};
use crate::columns::{each_batch_of, texts};
use crate::filter::{CheckedFilter, FilteredFact, select};
use crate::request::{CheckedRequest, HourGrouping};
use arrow::datatypes::DataType;
use futures::future::join_all;
use std::collections::BTreeSet;
use tillhouse_lake::PeriodWidth;
use tillhouse_model::Result;
use tillhouse_model::calendar::{DAY, HOUR};
use tillhouse_model::table::{LEVEL, PERIOD};
use tillhouse_query::Session;
use tillhouse_query::zone::Zone;

/// Longer windows are not examined day by day for odd offsets: some 270 years.
const MOST_DAYS: i64 = 100_000;
/// Windows from which on the sites that a filter means are looked up first, so that files without them are not opened.
const LONG: i64 = 100 * DAY;
/// The dimensions that give what is ranked its names.
const NAMES: [&str; 2] = ["sites", "products"];
/// More sites than these are not looked for in files.
const MOST_SITES: usize = 50;

/// A stretch of time in microseconds, [from, to).
pub(crate) type Span = (i64, i64);

/// Part of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) span: Span,
    /// True if its sums are taken off: another part has it though the window has not.
    pub(crate) is_taken_off: bool,
}

impl Part {
    /// 1 or -1 for an instant that lies in one of these parts, else 0. Parts of one source do not overlap.
    pub(crate) fn sign_at(parts: &[Self], at: i64) -> i64 {
        let found = parts
            .iter()
            .find(|part| part.span.0 <= at && at < part.span.1);
        found.map_or(0, |part| if part.is_taken_off { -1 } else { 1 })
    }
}

/// Table that rows of a fact are read from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AnswerSource {
    /// The fact itself.
    Facts,
    /// Sums of it.
    Level(&'static Level),
}

impl AnswerSource {
    /// As `meta.answered_from` says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::Level(level) => level.name,
        }
    }

    /// The source of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name == Self::Facts.name() {
            return Some(Self::Facts);
        }
        LEVELS
            .iter()
            .find(|level| level.name == name)
            .map(Self::Level)
    }

    /// True if a row stands for as many of the fact's as it counts.
    pub(crate) fn is_counted(self) -> bool {
        matches!(self, Self::Level(_))
    }

    /// A fact's table, as (schema, name).
    pub(crate) fn table(self, fact: &'static str) -> (&'static str, &'static str) {
        match self {
            Self::Facts => ("unified", fact),
            Self::Level(_) => (SCHEMA, TABLE),
        }
    }

    /// The same to stand after FROM, with the columns of the fact that statistics read, under the fact's names. The start of a level's
    /// period passes for the instant: whatever is asked of it, a period does not straddle.
    pub(crate) fn relation(self, fact: &'static str) -> String {
        match self {
            Self::Facts => format!("unified.{fact}"),
            Self::Level(level) => {
                let schema = level.fact.schema();
                let columns = schema.fields().iter().map(|field| field.name().as_str());
                format!(
                    "(SELECT {}, {START} AS occurred_at, month_of({START}) AS month FROM {SCHEMA}.{TABLE} WHERE {LEVEL} = '{}') AS {fact}",
                    columns.collect::<Vec<_>>().join(", "),
                    level.name
                )
            }
        }
    }

    /// Number of the fact's rows that one row stands for.
    pub(crate) fn weight(self) -> &'static str {
        match self {
            Self::Facts => "1",
            Self::Level(level) => level.fact.count,
        }
    }

    /// The column that names the folders of a table by time, and the stretch of time that each holds.
    pub(crate) fn folders(self) -> (&'static str, PeriodWidth) {
        match self {
            Self::Facts => ("month", PeriodWidth::Month),
            Self::Level(level) => (PERIOD, level.width),
        }
    }

    /// Columns that count by UTC's hours, and by the sites' own; none of the facts.
    pub(crate) fn hours(self, grouping: HourGrouping) -> &'static [&'static str] {
        match (self, grouping) {
            (Self::Facts, _) => &[],
            (Self::Level(level), HourGrouping::Timeline) => level.utc_hours(),
            (Self::Level(level), HourGrouping::OfDay) => level.local_hours(),
        }
    }
}

/// One pass over a source of a fact, and what is taken from it.
#[derive(Debug, Clone)]
pub(crate) struct FactScan {
    pub(crate) source: AnswerSource,
    /// Parts of the window asked for, whose sums are taken, sites apart.
    pub(crate) now: Vec<Part>,
    /// Parts of it whose hours are taken: whole hours, also where a level's rows are days.
    pub(crate) hours: Vec<Part>,
    /// Parts of the window before.
    pub(crate) before: Vec<Part>,
    /// True for the one scan of a fact that takes the rows without a time.
    pub(crate) untimed: bool,
}

impl FactScan {
    fn of(source: AnswerSource) -> Self {
        Self {
            source,
            now: Vec::new(),
            hours: Vec::new(),
            before: Vec::new(),
            untimed: false,
        }
    }

    /// All parts together, as far as whole periods of a level have them: those that touch are one, so that a year between two is not read.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let all = self.now.iter().chain(&self.hours).chain(&self.before);
        merged(all.map(|part| self.whole(part.span)).collect())
    }

    /// The stretches of the window whose sums are taken off.
    pub(crate) fn taken_off(&self) -> Vec<Span> {
        let off = self.now.iter().filter(|part| part.is_taken_off);
        merged(off.map(|part| part.span).collect())
    }

    /// The periods that a stretch lies in.
    fn whole(&self, (from, to): Span) -> Span {
        match self.source {
            AnswerSource::Facts => (from, to),
            AnswerSource::Level(level) => {
                let last = level.grain.start_of(to.saturating_sub(1));
                (level.grain.start_of(from), level.grain.end_of(last))
            }
        }
    }
}

/// Stretches of time in order; those that touch are one.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for (from, to) in spans {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// The scans that an answer takes, by fact.
#[derive(Debug, Clone)]
pub(crate) struct AnswerPlan {
    pub(crate) transactions: Vec<FactScan>,
    pub(crate) articles: Vec<FactScan>,
    pub(crate) payments: Vec<FactScan>,
    /// Keys of the sites whose transactions pass the filter, where these were looked up.
    pub(crate) sites: Option<Vec<String>>,
}

impl AnswerPlan {
    /// Everything from the facts, each of them scanned once.
    pub(crate) fn of_facts(now: Span, before: Option<Span>) -> Self {
        let windows = PlannedWindows {
            now,
            before,
            hours: HourGrouping::Timeline,
            has_hours: false,
        };
        Self {
            transactions: windows.scans(&TRANSACTIONS, &[]),
            articles: windows.scans(&ARTICLES, &[]),
            payments: windows.scans(&PAYMENTS, &[]),
            sites: None,
        }
    }

    /// Names of all sources, the levels in their order and the facts last.
    pub(crate) fn sources(&self) -> String {
        let scans = || {
            let all = self.transactions.iter().chain(&self.articles);
            all.chain(&self.payments).map(|scan| scan.source.name())
        };
        let names = LEVELS.iter().map(|level| level.name).chain(["facts"]);
        let read: Vec<&str> = names
            .filter(|name| scans().any(|source| source == *name))
            .collect();
        read.join(", ")
    }
}

/// Windows of a request, and whether UTC's hours are those of its zone.
struct PlannedWindows {
    now: Span,
    before: Option<Span>,
    hours: HourGrouping,
    has_hours: bool,
}

impl PlannedWindows {
    fn of(question: &CheckedRequest<'_>) -> Self {
        Self {
            now: question.now,
            before: question.before,
            hours: question.request.hours,
            has_hours: has_whole_hours(question.zone, question.now.0, question.now.1),
        }
    }

    /// The scans of a fact. Of the levels an earlier one has fewer rows.
    fn scans(&self, fact: &RolledFact, levels: &[&'static Level]) -> Vec<FactScan> {
        let scans = match fact.name == TRANSACTIONS.name {
            true => self.transactions(levels),
            false => self.children(levels),
        };
        // An article without a time is told by its transaction; a payment may have none.
        match fact.name == ARTICLES.name {
            true => scans.0,
            false => scans.with_untimed(levels),
        }
    }

    fn transactions(&self, levels: &[&'static Level]) -> PlannedScans {
        let mut scans = PlannedScans::default();
        let by_site: Vec<&'static Level> = fitting(levels, |level| level.keeps(SITE));
        for (source, part) in cover(self.now, &by_site) {
            scans.of(source).now.push(part);
        }
        for (source, part) in self.hours(levels) {
            scans.of(source).hours.push(part);
        }
        let before = self.before.into_iter();
        for (source, part) in before.flat_map(|before| cover(before, levels)) {
            scans.of(source).before.push(part);
        }
        scans
    }

    /// Sources of the hours.
    fn hours(&self, levels: &[&'static Level]) -> Vec<(AnswerSource, Part)> {
        if self.hours == HourGrouping::OfDay {
            let of_sites = fitting(levels, |level| !level.local_hours().is_empty());
            return cover(self.now, &of_sites);
        }
        let mut all = levels.iter().copied();
        let days = all.find(|level| !level.utc_hours().is_empty());
        let Some(days) = days.filter(|_| self.has_hours) else {
            return cover(self.now, &[]);
        };
        // A day's row has its hours: those of the window are picked from it.
        let hour = |at: i64| at.saturating_sub(at.rem_euclid(HOUR));
        let from = hour(self.now.0.saturating_add(HOUR - 1));
        let whole = (from, hour(self.now.1).max(from));
        if whole.0 >= whole.1 {
            return cover(self.now, &[]);
        }
        let mut found = vec![(AnswerSource::Level(days), added(whole))];
        for edge in [(self.now.0, whole.0), (whole.1, self.now.1)] {
            found.extend(cover(edge, &[]));
        }
        found
    }

    /// Articles or payments.
    fn children(&self, levels: &[&'static Level]) -> PlannedScans {
        let mut scans = PlannedScans::default();
        for (source, part) in cover(self.now, levels) {
            scans.of(source).now.push(part);
        }
        scans
    }
}

fn fitting(levels: &[&'static Level], is_fit: impl Fn(&Level) -> bool) -> Vec<&'static Level> {
    let levels = levels.iter().copied();
    levels.filter(|level| is_fit(level)).collect()
}

fn added(span: Span) -> Part {
    Part {
        span,
        is_taken_off: false,
    }
}

/// Scans of a fact, one a source.
#[derive(Default)]
struct PlannedScans(Vec<FactScan>);

impl PlannedScans {
    /// The scan of a source, made if it is not there.
    fn of(&mut self, source: AnswerSource) -> &mut FactScan {
        let known = self
            .0
            .iter()
            .position(|scan| scan.source.name() == source.name());
        let at = known.unwrap_or(self.0.len());
        if at == self.0.len() {
            self.0.push(FactScan::of(source));
        }
        &mut self.0[at]
    }

    /// The scans, of which the first takes the rows without a time; there is one for them at least.
    fn with_untimed(mut self, levels: &[&'static Level]) -> Vec<FactScan> {
        if self.0.is_empty() {
            let least = levels.first().copied();
            self.of(least.map_or(AnswerSource::Facts, AnswerSource::Level));
        }
        if let Some(first) = self.0.first_mut() {
            first.untimed = true;
        }
        self.0
    }
}

/// Covers a window by periods of levels, of which longer ones come before shorter ones, and by facts where no level fits.
fn cover(window: Span, levels: &[&'static Level]) -> Vec<(AnswerSource, Part)> {
    // Of levels with periods of one length, the first has the fewest rows.
    let mut lengths: Vec<&'static Level> = Vec::new();
    for &level in levels {
        if lengths.last().is_none_or(|last| last.grain != level.grain) {
            lengths.push(level);
        }
    }
    let mut found = Vec::new();
    fill(added(window), &lengths, &mut found);
    found
}

/// Covers a stretch by whole periods of the first level, and its ends by what comes after that.
fn fill(part: Part, levels: &[&'static Level], found: &mut Vec<(AnswerSource, Part)>) {
    let (from, to) = part.span;
    if from >= to {
        return;
    }
    let Some((&level, finer)) = levels.split_first() else {
        found.push((AnswerSource::Facts, part));
        return;
    };
    let of = |span: Span| Part { span, ..part };
    let ends = match level.grain.whole(part.span) {
        Some(whole) => {
            found.push((AnswerSource::Level(level), of(whole)));
            [(from, whole.0), (whole.1, to)]
        }
        None => {
            let end = level.grain.end_of(level.grain.start_of(from)).min(to);
            [(from, end), (end, to)]
        }
    };
    for end in ends {
        fill_end(of(end), level, finer, found);
    }
}

/// Covers a part of one period: by what is finer, or by the period, off which the rest of it is taken where that is shorter.
fn fill_end(
    part: Part,
    level: &'static Level,
    finer: &[&'static Level],
    found: &mut Vec<(AnswerSource, Part)>,
) {
    let (from, to) = part.span;
    if from >= to {
        return;
    }
    let start = level.grain.start_of(from);
    let end = level.grain.end_of(start);
    let rest = (from - start).saturating_add(end.saturating_sub(to));
    if rest >= to - from {
        fill(part, finer, found);
        return;
    }
    let of = |span: Span| Part { span, ..part };
    found.push((AnswerSource::Level(level), of((start, end))));
    for rest in [(start, from), (to, end)] {
        let off = Part {
            is_taken_off: !part.is_taken_off,
            ..of(rest)
        };
        fill(off, finer, found);
    }
}

/// The scans that answer a request with the least reading.
pub(crate) async fn route(session: &Session, question: &CheckedRequest<'_>) -> Result<AnswerPlan> {
    // Filters by what only transactions have are told by their keys, which no level keeps.
    if question.needs_keys() {
        return Ok(AnswerPlan::of_facts(question.now, question.before));
    }
    let filter = question.request.filter.as_ref();
    let filtered = filter.map(CheckedFilter::fact_columns).unwrap_or_default();
    let windows = PlannedWindows::of(question);
    let ahead = async {
        open_ahead(session, &windows, &filtered).await;
        Ok(())
    };
    let (published, ()) = futures::try_join!(published(session), ahead)?;
    let of_fact = |fact: &RolledFact| of_fact(&published, fact);
    let of_transactions = of_fact(&TRANSACTIONS);
    let (of_articles, of_payments) = (of_fact(&ARTICLES), of_fact(&PAYMENTS));
    let (transactions, articles, payments, sites) = futures::try_join!(
        scans_of(
            session,
            &TRANSACTIONS,
            &of_transactions,
            &windows,
            &filtered
        ),
        scans_of(session, &ARTICLES, &of_articles, &windows, &filtered),
        scans_of(session, &PAYMENTS, &of_payments, &windows, &filtered),
        sites_of(session, question, &of_transactions, &filtered),
    )?;
    Ok(AnswerPlan {
        transactions,
        articles,
        payments,
        sites,
    })
}

/// The scans that count a window's transactions by the sites' own days and hours: of days where these tell apart what is asked, and of the facts for less than a day.
pub(crate) async fn route_week(
    session: &Session,
    question: &CheckedRequest<'_>,
) -> Result<AnswerPlan> {
    let filter = question.request.filter.as_ref();
    let filtered = filter.map(CheckedFilter::fact_columns).unwrap_or_default();
    let published = match question.needs_keys() {
        true => Vec::new(),
        false => of_fact(&published(session).await?, &TRANSACTIONS),
    };
    Ok(AnswerPlan {
        transactions: week_scans(question.now, &published, &filtered),
        articles: Vec::new(),
        payments: Vec::new(),
        sites: sites_of(session, question, &published, &filtered).await?,
    })
}

/// The scans of a window whose transactions are counted by the sites' own days and hours.
fn week_scans(
    now: Span,
    published: &[&'static Level],
    filtered: &BTreeSet<&'static str>,
) -> Vec<FactScan> {
    let days = fitting(published, |level| {
        level.keeps(BUSINESS_DATE)
            && !level.local_hours().is_empty()
            && filtered.iter().all(|column| level.keeps(column))
    });
    let mut scans = PlannedScans::default();
    for (source, part) in cover(now, &days) {
        scans.of(source).now.push(part);
    }
    scans.0
}

/// Opens what an answer reads beside its levels, while these are looked at: names, and the facts that no level spares. What fails is told to whoever reads
/// that table.
async fn open_ahead(
    session: &Session,
    windows: &PlannedWindows,
    filtered: &BTreeSet<&'static str>,
) {
    let is_read = |fact: &&'static RolledFact| {
        let all = Level::of(fact);
        let levels: Vec<&'static Level> = all
            .filter(|level| filtered.iter().all(|column| level.keeps(column)))
            .collect();
        let scans = windows.scans(fact, &levels);
        scans.iter().any(|scan| !scan.source.is_counted())
    };
    let facts = FACTS.into_iter().filter(is_read).map(|fact| fact.name);
    let opening = facts
        .chain(NAMES)
        .map(|table| session.has_table("unified", table));
    drop(join_all(opening).await);
}

/// The cheapest source of transactions by the sites' own days, whole days being asked for.
pub(crate) async fn source_of_days(session: &Session) -> Result<AnswerSource> {
    let published = published(session).await?;
    let mut levels = of_fact(&published, &TRANSACTIONS).into_iter();
    let days = levels.find(|level| level.keeps(BUSINESS_DATE));
    Ok(days.map_or(AnswerSource::Facts, AnswerSource::Level))
}

/// The cheapest source of each site's hours, as UTC has them, whole days being asked for.
pub(crate) async fn source_of_site_hours(session: &Session) -> Result<AnswerSource> {
    let published = published(session).await?;
    let mut levels = of_fact(&published, &TRANSACTIONS).into_iter();
    let days = levels.find(|level| level.keeps(SITE) && !level.utc_hours().is_empty());
    Ok(days.map_or(AnswerSource::Facts, AnswerSource::Level))
}

/// The levels that the run of the session has, in their order: of the facts it names; none where it has roll-ups of another edition, or that nobody brought to
/// the facts it names.
async fn published(session: &Session) -> Result<Vec<&'static Level>> {
    if !session.has_table(SCHEMA, TABLE).await? {
        return Ok(Vec::new());
    }
    let run = session.run();
    // Of tables that somebody registered nothing else is known.
    if let (Some(warehouse), Some(run)) = (session.warehouse(), run) {
        let asked = table::is_kept_up(warehouse, run);
        if !session.finding(TABLE, asked).await? {
            return Ok(Vec::new());
        }
    }
    let present = session.columns(SCHEMA, TABLE).await?;
    let is_there = |fact: &&'static RolledFact| {
        let schema = fact.schema();
        let mut fields = schema.fields().iter();
        let path = format!("unified/{}", fact.name);
        fields.all(|field| present.field_with_name(field.name()).is_ok())
            && run.is_none_or(|run| run.tables.contains_key(&path))
    };
    let facts = FACTS.into_iter().filter(is_there);
    Ok(facts.flat_map(Level::of).collect())
}

/// Those of some levels that are a fact's.
fn of_fact(levels: &[&'static Level], fact: &RolledFact) -> Vec<&'static Level> {
    fitting(levels, |level| level.fact.name == fact.name)
}

/// The scans of a fact for a request that filters by some columns. Of the levels that the run has, one that does not tell these apart is left out.
async fn scans_of(
    session: &Session,
    fact: &RolledFact,
    published: &[&'static Level],
    windows: &PlannedWindows,
    filtered: &BTreeSet<&'static str>,
) -> Result<Vec<FactScan>> {
    let mut levels = published.to_vec();
    levels.retain(|level| filtered.iter().all(|column| level.keeps(column)));
    let scans = windows.scans(fact, &levels);
    let of_levels = scans.iter().filter(|scan| scan.source.is_counted()).count();
    let is_mixed = of_levels > 0 && of_levels < scans.len();
    if is_mixed && !has_scales(session, fact).await? {
        return Ok(windows.scans(fact, &[]));
    }
    Ok(scans)
}

/// True if the fact's sums have as many digits after the point as those of its levels, so that the two add up.
async fn has_scales(session: &Session, fact: &RolledFact) -> Result<bool> {
    let present = session.columns("unified", fact.name).await?;
    Ok(fact.sums.iter().all(|(name, scale)| {
        let field = present.field_with_name(name);
        field.is_ok_and(
            |field| matches!(field.data_type(), DataType::Decimal128(_, own) if own == scale),
        )
    }))
}

/// The keys of the sites that a filter by nothing but sites means, of those that have transactions; `None` where it is no such filter, the window is
/// short, or they are many.
async fn sites_of(
    session: &Session,
    question: &CheckedRequest<'_>,
    published: &[&'static Level],
    filtered: &BTreeSet<&'static str>,
) -> Result<Option<Vec<String>>> {
    let is_long = question.now.1.saturating_sub(question.now.0) >= LONG;
    let is_of_sites = filtered.contains(SITE)
        && filtered
            .iter()
            .all(|column| [SITE, "pipeline"].contains(column));
    let (Some(filter), true) = (&question.request.filter, is_long && is_of_sites) else {
        return Ok(None);
    };
    let Some(level) = published.iter().find(|level| level.keeps(SITE)) else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT DISTINCT pipeline, site_key FROM {SCHEMA}.{TABLE} WHERE {LEVEL} = '{}'",
        level.name
    );
    let rows = session.frame(&sql, &[]).await?;
    let rows = select(session, rows, filter, FilteredFact::Transaction).await?;
    let (mut found, mut has_none) = (Vec::new(), false);
    each_batch_of(rows, |batch| {
        let keys = texts(batch, SITE)?;
        for row in 0..batch.num_rows() {
            match keys.get(row) {
                Some(key) => found.push(key.to_owned()),
                None => has_none = true,
            }
        }
        Ok(())
    })
    .await?;
    Ok(Some(found).filter(|found| !has_none && found.len() <= MOST_SITES))
}

/// True if a zone's hours are UTC's at every instant of a window, by whatever other name.
///
/// No zone changes its clock twice within a UTC day (`query::zone` tests that), so a day's first and last instant tell all offsets
/// of it. A clock that is changed within an hour, as Goose Bay's was a minute after midnight, has two hours in one of UTC's.
fn has_whole_hours(zone: Zone, from: i64, to: i64) -> bool {
    let whole = |instant: i64| zone.offset_at(instant).rem_euclid(3600) == 0;
    let same = |from: i64, to: i64| zone.offset_at(from) == zone.offset_at(to - 1);
    let is_whole = |day: i64| {
        let (from, to) = (day * DAY, (day + 1) * DAY);
        let mut hours = (0..24).map(|hour| from + hour * HOUR);
        whole(from)
            && whole(to - 1)
            && (same(from, to) || hours.all(|start| same(start, start + HOUR)))
    };
    let (first, last) = (from.div_euclid(DAY), to.div_euclid(DAY));
    match zone {
        Zone::Fixed(_) => whole(from),
        Zone::Named(_) => last - first <= MOST_DAYS && (first..=last).all(is_whole),
    }
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
