//! The levels of roll-ups: which periods each has a row for, whether it tells sites apart, and what it is added up from.
//!
//! Invariant: a level's periods are UTC's, and a row lies in one of them whole, so that any window of whole periods is answered exactly. Beside
//! its own columns every level keeps pipeline, source, tenant, perspective, kind, state and currency: whoever may not see one of
//! these can be shown the rest.
//!
//! ```text
//!   transactions ─> daily_transactions ─┬─> daily_transaction_totals
//!                                       └─> monthly_transactions ─> yearly_transactions
//!   articles ─┬───> monthly_articles ───┬─> monthly_article_totals
//!             │                         └─> yearly_articles ─> yearly_article_totals
//!             └───> daily_article_totals
//!   payments ─┬───> monthly_payments ───┬─> monthly_payment_totals
//!             │                         └─> yearly_payments ─> yearly_payment_totals
//!             └───> daily_payment_totals
//! ```
//!
//! Hours are columns, not rows: `utc_00` to `utc_23` count a day's transactions by UTC's hours, `local_00` to `local_23` by the sites' own. A year
//! of one site's curve is some thousand rows so, and a month's hours of the day are one. A UTC day of most sites is two rows, which
//! differ in `business_date`, so that the sites' own days are whole numbers of rows too. Days of articles and payments differ in it as well, though they
//! do not tell sites apart.
//!
//! Rows to be read, for 500 sites of 20 tenants in 6 currencies, 60 articles (15 a source), 40 combinations of payment labels, and up to 7
//! of kind and state, at 10 million sales a year; what is asked of the window before is as much again of transactions alone:
//!
//! | level | rows a period | read by | rows |
//! |---|---|---|---|
//! | `yearly_transactions` | 500 x 7 | ten years | 35,000 |
//! | `monthly_transactions` | 500 x 5 | a month, and up to six at an edge | 15,000 |
//! | `daily_transactions` | 500 x 4.3 | days at an edge, up to 15; one site's curve of ten years | 32,000; 16,000 |
//! | `daily_transaction_totals` | 120 x 5 | the curve of a year, of ten | 220,000; 2,200,000, of which 1,300,000 count |
//! | `yearly_article_totals` | 1,800 x 6 | ten years | 110,000 |
//! | `monthly_article_totals` | 1,800 x 4 | a month, and up to six at an edge | 45,000 |
//! | `yearly_payment_totals` | 4,800 x 5 | ten years | 240,000 |
//! | `monthly_payment_totals` | 4,800 x 3 | a month, and up to six at an edge | 90,000 |
//! | `daily_article_totals` | 4,300 | days at an edge, up to 15; none of one site | 65,000 |
//! | `daily_payment_totals` | 6,200 | the same | 93,000 |
//! | `yearly_articles`, `yearly_payments` | 500 x 120, 500 x 280 | ten years of one site | 2,000,000, of which a seventh count |
//!
//! Rejected: an hour by site by label, which has as many rows as the facts where a site sells three times an hour; days of articles and
//! payments by site, which have half as many where a site sells fifty times a day, and as many where it sells five times, so that days of one site are
//! counted from the facts; and hours of articles and payments without sites, of which an hour of a thousand sales has nine hundred rows: nothing is
//! read sooner, and they are more than all other levels together. A window's ends within a day are counted from the facts instead, added to what its
//! whole periods have or taken off, whichever are fewer.

use super::START;
use super::fact::{ARTICLES, BUSINESS_DATE, PAYMENTS, RolledFact, SHARED, SITE, TRANSACTIONS};
use arrow::datatypes::{DataType, Field};
use std::sync::Arc;
use tillhouse_lake::PeriodWidth;
use tillhouse_model::calendar::{DAY, month_start, next_month_start, next_year_start, year_start};
use tillhouse_model::table::PIPELINE;

/// Columns that count a day's transactions by UTC's hours.
pub(crate) const UTC_HOURS: [&str; 24] = [
    "utc_00", "utc_01", "utc_02", "utc_03", "utc_04", "utc_05", "utc_06", "utc_07", "utc_08",
    "utc_09", "utc_10", "utc_11", "utc_12", "utc_13", "utc_14", "utc_15", "utc_16", "utc_17",
    "utc_18", "utc_19", "utc_20", "utc_21", "utc_22", "utc_23",
];

/// Columns that count a period's transactions by the hours of the sites' own clocks; by UTC's where a site's is not known.
pub(crate) const LOCAL_HOURS: [&str; 24] = [
    "local_00", "local_01", "local_02", "local_03", "local_04", "local_05", "local_06", "local_07",
    "local_08", "local_09", "local_10", "local_11", "local_12", "local_13", "local_14", "local_15",
    "local_16", "local_17", "local_18", "local_19", "local_20", "local_21", "local_22", "local_23",
];

/// Length of the periods that a level has rows for, all of them UTC's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grain {
    Day,
    Month,
    Year,
}

use Grain::{Day, Month, Year};

impl Grain {
    /// Name that a view of a level has for the start of a row's period.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Day => "day",
            Month => "month_start",
            Year => "year_start",
        }
    }

    /// `day`, `month` or `year`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Day => "day",
            Month => "month",
            Year => "year",
        }
    }

    /// The start of the period that an instant is in, both in microseconds.
    pub(crate) fn start_of(self, micros: i64) -> i64 {
        match self {
            Day => micros.saturating_sub(micros.rem_euclid(DAY)),
            Month => month_start(micros),
            Year => year_start(micros),
        }
    }

    /// The first instant after the period that starts with `start`.
    pub(crate) fn end_of(self, start: i64) -> i64 {
        match self {
            Day => start.saturating_add(DAY),
            Month => next_month_start(start),
            Year => next_year_start(start),
        }
    }

    /// The part of a window that consists of whole periods; `None` where it has none.
    pub(crate) fn whole(self, (from, to): (i64, i64)) -> Option<(i64, i64)> {
        let start = self.start_of(from);
        let first = if start == from {
            from
        } else {
            self.end_of(start)
        };
        let end = self.start_of(to);
        (first < end).then_some((first, end))
    }
}

/// One level: rows of the roll-ups that are a fact's sums over periods of one length.
#[derive(Debug)]
pub(crate) struct Level {
    /// Its value in the column `level`, the view of it below `statistics`, and its name in answers.
    pub(crate) name: &'static str,
    pub(crate) fact: &'static RolledFact,
    pub(crate) grain: Grain,
    /// True if sites are told apart.
    by_site: bool,
    /// Stretch of time by which its rows are put away: of few rows a year, so that years are few files; else a month, so that a
    /// sync writes little anew.
    pub(crate) width: PeriodWidth,
    /// The level that it is added up from; none where that is the fact itself.
    from: Option<&'static str>,
}

const fn level(
    name: &'static str,
    fact: &'static RolledFact,
    grain: Grain,
    by_site: bool,
    width: PeriodWidth,
    from: Option<&'static str>,
) -> Level {
    Level {
        name,
        fact,
        grain,
        by_site,
        width,
        from,
    }
}

const BY_MONTH: PeriodWidth = PeriodWidth::Month;
const BY_YEAR: PeriodWidth = PeriodWidth::Year;

/// The levels of all facts. Of one fact an earlier one has fewer rows for the same window, and periods that are no shorter.
pub(crate) static LEVELS: [Level; 14] = [
    level(
        "yearly_transactions",
        &TRANSACTIONS,
        Year,
        true,
        BY_YEAR,
        Some("monthly_transactions"),
    ),
    level(
        "monthly_transactions",
        &TRANSACTIONS,
        Month,
        true,
        BY_YEAR,
        Some("daily_transactions"),
    ),
    level(
        "daily_transaction_totals",
        &TRANSACTIONS,
        Day,
        false,
        BY_YEAR,
        Some("daily_transactions"),
    ),
    level(
        "daily_transactions",
        &TRANSACTIONS,
        Day,
        true,
        BY_MONTH,
        None,
    ),
    level(
        "yearly_article_totals",
        &ARTICLES,
        Year,
        false,
        BY_YEAR,
        Some("yearly_articles"),
    ),
    level(
        "yearly_articles",
        &ARTICLES,
        Year,
        true,
        BY_YEAR,
        Some("monthly_articles"),
    ),
    level(
        "monthly_article_totals",
        &ARTICLES,
        Month,
        false,
        BY_MONTH,
        Some("monthly_articles"),
    ),
    level("monthly_articles", &ARTICLES, Month, true, BY_MONTH, None),
    level(
        "daily_article_totals",
        &ARTICLES,
        Day,
        false,
        BY_MONTH,
        None,
    ),
    level(
        "yearly_payment_totals",
        &PAYMENTS,
        Year,
        false,
        BY_YEAR,
        Some("yearly_payments"),
    ),
    level(
        "yearly_payments",
        &PAYMENTS,
        Year,
        true,
        BY_YEAR,
        Some("monthly_payments"),
    ),
    level(
        "monthly_payment_totals",
        &PAYMENTS,
        Month,
        false,
        BY_MONTH,
        Some("monthly_payments"),
    ),
    level("monthly_payments", &PAYMENTS, Month, true, BY_MONTH, None),
    level(
        "daily_payment_totals",
        &PAYMENTS,
        Day,
        false,
        BY_MONTH,
        None,
    ),
];

impl Level {
    /// The levels of a fact, in their order.
    pub(crate) fn of(fact: &RolledFact) -> impl Iterator<Item = &'static Self> + use<> {
        let name = fact.name;
        LEVELS.iter().filter(move |level| level.fact.name == name)
    }

    /// The levels that are added up from the fact itself, those with the longest periods first: the facts of one of these are read at a time, and
    /// those of all others lie in it.
    pub(super) fn from_facts(fact: &RolledFact) -> impl Iterator<Item = &'static Self> + use<> {
        Self::of(fact).filter(|level| level.from.is_none())
    }

    /// The levels that are added up from this one.
    pub(super) fn coarser(&self) -> impl Iterator<Item = &'static Self> + use<> {
        let name = self.name;
        LEVELS.iter().filter(move |level| level.from == Some(name))
    }

    /// The level that it is added up from; `None` where that is the fact itself.
    pub(super) fn finer(&self) -> Option<&'static Self> {
        LEVELS.iter().find(|level| self.from == Some(level.name))
    }

    /// The columns that count by UTC's hours; none where it has no such counts.
    pub(crate) fn utc_hours(&self) -> &'static [&'static str] {
        match (self.fact.has_hours, self.grain) {
            (true, Day) => &UTC_HOURS,
            _ => &[],
        }
    }

    /// The columns that count by the sites' own hours; none where it has no such counts.
    pub(crate) fn local_hours(&self) -> &'static [&'static str] {
        match self.fact.has_hours && self.by_site {
            true => &LOCAL_HOURS,
            false => &[],
        }
    }

    /// True if its rows are apart by a column of the fact: what a filter names, or a figure is grouped by.
    pub(super) fn keeps(&self, column: &str) -> bool {
        // A child's `state` is its transaction's here.
        [PIPELINE, "state"].contains(&column)
            || SHARED.contains(&column)
            || (column == SITE && self.by_site)
            || (column == BUSINESS_DATE && self.has_business_date())
            || (column == "month" && self.grain != Year)
    }

    /// True if its rows are apart by the sites' own days: all days, but for those that only count by UTC's hours.
    fn has_business_date(&self) -> bool {
        self.grain == Day && (self.by_site || !self.fact.has_hours)
    }

    /// True if it has values in a column that the levels of its fact have.
    pub(super) fn fills(&self, column: &str) -> bool {
        match column {
            SITE => self.by_site,
            BUSINESS_DATE => self.has_business_date(),
            _ if is_hour(column) => {
                self.utc_hours().contains(&column) || self.local_hours().contains(&column)
            }
            _ => true,
        }
    }

    /// The columns of its rows that are read to add them up further, but for the start of their period: texts, and others.
    pub(super) fn columns(&self) -> (Vec<String>, Vec<String>) {
        let schema = self.fact.schema();
        let fields = schema.fields().iter();
        let filled = fields.filter(|field| {
            let name = field.name().as_str();
            name != START && !RolledFact::is_place(name) && self.fills(name)
        });
        let (texts, others): (Vec<_>, Vec<_>) =
            filled.partition(|field| *field.data_type() == DataType::Utf8);
        let names = |fields: Vec<&Arc<Field>>| {
            let names = fields.into_iter().map(|field| field.name().clone());
            names.collect()
        };
        (names(texts), names(others))
    }

    /// The columns of its view: of the table, and as the view calls them.
    pub(crate) fn view_columns(&self) -> Vec<(String, String)> {
        let schema = self.fact.schema();
        let names = schema.fields().iter().map(|field| field.name().clone());
        let own = names
            .filter(|name| (name == PIPELINE || !RolledFact::is_place(name)) && self.fills(name));
        let shown = own.map(|name| match name == START {
            true => (name, self.grain.column().to_owned()),
            false => (name.clone(), name),
        });
        shown.collect()
    }
}

/// True if a column of a level counts by hours.
pub(crate) fn is_hour(column: &str) -> bool {
    UTC_HOURS.contains(&column) || LOCAL_HOURS.contains(&column)
}

#[cfg(test)]
mod tests {
    use super::super::FACTS;
    use super::*;
    use std::collections::BTreeSet;

    fn t(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn every_level_comes_from_a_finer_one_that_has_all_its_columns() {
        let mut reached = BTreeSet::new();
        for fact in FACTS {
            let mut ready: Vec<&Level> = Level::from_facts(fact).collect();
            // One pass over the fact, by the longest periods, makes them all.
            assert!(!ready.is_empty(), "{}", fact.name);
            assert!(
                ready.is_sorted_by(|first, next| first.grain > next.grain),
                "{}",
                fact.name
            );
            while let Some(level) = ready.pop() {
                assert!(reached.insert(level.name), "{} comes twice", level.name);
                let (texts, others) = level.columns();
                for coarser in level.coarser() {
                    assert_eq!(coarser.fact.name, fact.name);
                    assert!(level.grain <= coarser.grain);
                    assert_eq!(coarser.finer().map(|finer| finer.name), Some(level.name));
                    let (own_texts, own_others) = coarser.columns();
                    assert!(own_texts.iter().all(|name| texts.contains(name)));
                    assert!(own_others.iter().all(|name| others.contains(name)));
                    ready.push(coarser);
                }
            }
        }
        assert_eq!(reached.len(), LEVELS.len());
    }

    #[test]
    fn levels_have_names_and_folders_of_their_own() {
        let names: BTreeSet<&str> = LEVELS.iter().map(|level| level.name).collect();
        assert_eq!(names.len(), LEVELS.len());
        for fact in FACTS {
            // What is read of a period is whole in its folder.
            for level in Level::of(fact).filter(|level| level.grain == Year) {
                assert_eq!(level.width, BY_YEAR, "{}", level.name);
            }
            let mut days =
                Level::of(fact).filter(|level| level.grain == Day && level.from.is_none());
            assert!(days.all(|level| level.width == BY_MONTH));
        }
    }

    #[test]
    fn every_level_keeps_what_decides_who_may_see_a_row() {
        for level in &LEVELS {
            let state = match level.fact.name {
                "transactions" => "state",
                _ => "transaction_state",
            };
            let (texts, _) = level.columns();
            for name in [
                "source",
                "tenant_id",
                "perspective",
                "kind",
                state,
                "currency",
            ] {
                assert!(
                    texts.iter().any(|text| text == name),
                    "{}: {name}",
                    level.name
                );
            }
            let shown = level.view_columns();
            assert!(
                shown.iter().any(|(name, ..)| name == PIPELINE),
                "{}",
                level.name
            );
        }
    }

    #[test]
    fn windows_are_cut_into_whole_periods() {
        let window = (t("2024-01-31T22:30:00Z"), t("2026-04-02T01:00:00Z"));
        for (grain, first, end) in [
            (Day, "2024-02-01T00:00:00Z", "2026-04-02T00:00:00Z"),
            (Month, "2024-02-01T00:00:00Z", "2026-04-01T00:00:00Z"),
            (Year, "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ] {
            assert_eq!(grain.whole(window), Some((t(first), t(end))), "{grain:?}");
        }
        let within_a_month = (t("2026-02-01T00:00:00.000001Z"), t("2026-03-31T23:59:59Z"));
        assert_eq!(Month.whole(within_a_month), None);
        assert_eq!(Day.whole((0, 0)), None);
        let extremes = (
            jiff::Timestamp::MIN.as_microsecond(),
            jiff::Timestamp::MAX.as_microsecond(),
        );
        let grains = [Day, Month, Year];
        assert!(grains.iter().all(|grain| grain.whole(extremes).is_some()));
    }
}
