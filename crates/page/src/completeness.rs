//! Completeness of an answer, in words: for tables and for the page alike.
//!
//! Invariant: what is still to come is not called a gap, and nothing that lacks anything is called complete.

use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::{ReadBy, Window};
use tillhouse_statistics::report::{ReportedGap, StatisticsMeta};

/// Most resources, and tenants, of a pipeline that are named one by one where they were not read.
const NAMED: usize = 3;

/// Completeness of an answer, from its `meta`.
#[derive(Debug, Clone, Copy)]
pub struct CompletenessSummary<'a> {
    /// The first instant no longer asked for.
    pub to: Timestamp,
    /// End of what was read without a gap.
    pub data_through: Option<Timestamp>,
    /// Stretches that should have been read and were not.
    pub gaps: &'a [ReportedGap],
    /// Stretches that were not read and were not to be.
    pub before_start: &'a [ReportedGap],
    /// End of the window that no run can have read yet.
    pub still_to_come: Option<Window>,
}

/// A stretch that was not read: of which resources and tenants of which pipeline, by which time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadWindow {
    /// `logs of smartnow`, `transactions of north of pace`.
    pub what: String,
    /// The stretch.
    pub window: Window,
    /// Pipeline that reads it.
    pub pipeline: String,
}

impl UnreadWindow {
    /// Command that reads it.
    pub fn command(&self) -> String {
        let (from, to) = (self.window.from(), self.window.to());
        format!("tillhouse sync {} --from {from} --to {to}", self.pipeline)
    }
}

impl<'a> CompletenessSummary<'a> {
    /// Completeness of a report.
    pub fn of(meta: &'a StatisticsMeta) -> Self {
        Self {
            to: meta.to,
            data_through: meta.data_through,
            gaps: &meta.gaps,
            before_start: &meta.before_start,
            still_to_come: meta.still_to_come,
        }
    }

    /// True if everything that was asked for was read.
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
            && self.before_start.is_empty()
            && self.data_through.is_some_and(|through| through >= self.to)
    }

    /// True if everything was read that was there to be read.
    pub fn is_complete_so_far(&self) -> bool {
        self.gaps.is_empty() && self.data_through.is_some()
    }

    /// `read up to 11:57, two minutes of the window are still to come`; an instant is shown by `shown`.
    pub fn describe(&self, shown: impl Fn(Timestamp) -> String) -> String {
        let Some(through) = self.data_through else {
            return match (self.gaps.is_empty(), self.before_start.is_empty()) {
                (true, true) => "nothing read yet",
                (true, false) => "not read: before sync.start",
                (false, _) => "not read from the beginning on",
            }
            .to_owned();
        };
        let without = if self.gaps.is_empty() {
            ""
        } else {
            " without a gap"
        };
        let read = format!("read{without} up to {}", shown(through));
        // Without a gap, all that was not read is still to come, to the second.
        match self.still_to_come {
            Some(rest) if self.gaps.is_empty() && through > rest.from() && through < self.to => {
                format!("{read}, {}", still_to_come(self.to.duration_since(through)))
            }
            Some(rest) if !self.gaps.is_empty() || through < self.to => {
                format!("{read}, {}", still_to_come(rest.duration()))
            }
            _ => read,
        }
    }

    /// Windows that should have been read and were not.
    pub fn unread_windows(&self) -> Vec<UnreadWindow> {
        grouped(self.gaps)
    }

    /// Windows that were not read since they lie before `sync.start`.
    pub fn windows_before_start(&self) -> Vec<UnreadWindow> {
        grouped(self.before_start)
    }
}

/// Word for what happens in a report: an account buys, all others sell.
pub fn traded(meta: &StatisticsMeta) -> &'static str {
    match meta.perspective.as_str() {
        "purchase" => "bought",
        _ => "sold",
    }
}

/// Windows of gaps. A pipeline that began later than the window lacks the same stretch of every resource and tenant: that is one.
fn grouped(gaps: &[ReportedGap]) -> Vec<UnreadWindow> {
    let mut by_tenant: BTreeMap<_, BTreeSet<Option<&str>>> = BTreeMap::new();
    for gap in gaps {
        by_tenant
            .entry((
                gap.pipeline.as_str(),
                gap.read_by,
                gap.window,
                gap.resource.as_str(),
            ))
            .or_default()
            .insert(gap.tenant.as_deref());
    }
    // Resources whose tenants are the same are told in one.
    let mut grouped: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for ((pipeline, read_by, window, resource), tenants) in by_tenant {
        let tenants: Vec<&str> = tenants.into_iter().flatten().collect();
        grouped
            .entry((pipeline, read_by, window, tenants))
            .or_default()
            .push(resource);
    }
    grouped
        .into_iter()
        .map(|((pipeline, read_by, window, tenants), resources)| {
            let resources = match resources.as_slice() {
                ["*"] => "anything".to_owned(),
                resources => few(resources, "resources"),
            };
            let of = match tenants.as_slice() {
                [] => resources,
                tenants => format!("{resources} of {}", few(tenants, "tenants")),
            };
            let what = match read_by {
                Some(ReadBy::ChangeTime) => format!("what changed of {of} of {pipeline}"),
                _ => format!("{of} of {pipeline}"),
            };
            UnreadWindow {
                what,
                window,
                pipeline: pipeline.to_owned(),
            }
        })
        .collect()
}

/// Names one by one, or how many there are.
fn few(names: &[&str], word: &str) -> String {
    match names.len() <= NAMED {
        true => names.join(", "),
        false => format!("{} {word}", names.len()),
    }
}

/// `two minutes of the window are still to come`.
fn still_to_come(rest: SignedDuration) -> String {
    const WORDS: [&str; 12] = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    let seconds = rest.as_secs().max(1);
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let word = usize::try_from(count - 1)
        .ok()
        .and_then(|at| WORDS.get(at).copied());
    let number = word.map_or_else(|| count.to_string(), str::to_owned);
    let (plural, verb) = if count == 1 { ("", "is") } else { ("s", "are") };
    format!("{number} {unit}{plural} of the window {verb} still to come")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    fn t(text: &str) -> Timestamp {
        format!("2026-01-31T{text}Z").parse().unwrap()
    }

    fn w(from: &str, to: &str) -> Window {
        Window::new(t(from), t(to)).unwrap()
    }

    fn words(through: Option<&str>, gaps: &[ReportedGap], still_to_come: Option<Window>) -> String {
        let to = t("12:00:00");
        let whole = CompletenessSummary {
            to,
            data_through: through.map(t),
            gaps,
            before_start: &[],
            still_to_come,
        };
        whole.describe(|at| at.to_zoned(TimeZone::UTC).strftime("%H:%M").to_string())
    }

    fn gap(resource: &str, read_by: Option<ReadBy>) -> ReportedGap {
        ReportedGap {
            pipeline: "p".into(),
            resource: resource.into(),
            tenant: None,
            window: w("10:00:00", "11:00:00"),
            read_by,
        }
    }

    #[test]
    fn what_is_still_to_come_is_said_in_words() {
        let rest = Some(w("11:57:30", "12:00:00"));
        let two = "read up to 11:57, two minutes of the window are still to come";
        assert_eq!(words(Some("11:57:30"), &[], rest), two);
        assert_eq!(
            words(Some("11:58:30"), &[], rest),
            "read up to 11:58, one minute of the window is still to come"
        );
        assert_eq!(
            words(Some("11:59:50"), &[], rest),
            "read up to 11:59, ten seconds of the window are still to come"
        );
        assert_eq!(words(Some("12:00:00"), &[], None), "read up to 12:00");
        let gaps = [gap("logs", None)];
        assert_eq!(
            words(Some("10:00:00"), &gaps, rest),
            "read without a gap up to 10:00, two minutes of the window are still to come"
        );
        assert_eq!(
            words(Some("10:00:00"), &gaps, None),
            "read without a gap up to 10:00"
        );
        assert_eq!(words(None, &gaps, None), "not read from the beginning on");
        let early = CompletenessSummary {
            to: t("12:00:00"),
            data_through: None,
            gaps: &[],
            before_start: &gaps,
            still_to_come: None,
        };
        assert_eq!(
            early.describe(|at| at.to_string()),
            "not read: before sync.start"
        );
        assert!(early.unread_windows().is_empty() && !early.is_complete());
        assert_eq!(
            early.windows_before_start()[0].command(),
            "tillhouse sync p --from 2026-01-31T10:00:00Z --to 2026-01-31T11:00:00Z"
        );
        let hours = |hours: i64| still_to_come(SignedDuration::from_hours(hours));
        assert_eq!(hours(13), "13 hours of the window are still to come");
        assert_eq!(hours(48), "two days of the window are still to come");
    }

    #[test]
    fn only_what_lacks_nothing_is_whole() {
        let to = t("12:00:00");
        let of = |through: Option<&str>, gaps| {
            let of = CompletenessSummary {
                to,
                data_through: through.map(t),
                gaps,
                before_start: &[],
                still_to_come: None,
            };
            (of.is_complete(), of.is_complete_so_far())
        };
        let gaps = [gap("logs", None)];
        assert_eq!(of(Some("12:00:00"), &[]), (true, true));
        assert_eq!(of(Some("11:59:59"), &[]), (false, true));
        assert_eq!(of(Some("12:00:00"), &gaps), (false, false));
        assert_eq!(of(None, &[]), (false, false));
    }

    #[test]
    fn the_same_stretch_of_many_resources_is_one() {
        let change = Some(ReadBy::ChangeTime);
        let gaps = [
            gap("a", None),
            gap("b", None),
            gap("sales", change),
            gap("*", None),
        ];
        let of = |gaps: &[ReportedGap]| {
            let of = CompletenessSummary {
                to: t("12:00:00"),
                data_through: None,
                gaps,
                before_start: &[],
                still_to_come: None,
            };
            of.unread_windows()
                .into_iter()
                .map(|unread| unread.what)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&gaps[..3]), ["a, b of p", "what changed of sales of p"]);
        assert_eq!(of(&gaps[3..]), ["anything of p"]);
        assert_eq!(
            of(&["a", "b", "c", "d"].map(|name| gap(name, None))),
            ["4 resources of p"]
        );
    }

    #[test]
    fn tenants_that_were_not_read_are_named() {
        let of_tenant = |resource: &str, tenant: &str| ReportedGap {
            tenant: Some(tenant.into()),
            ..gap(resource, None)
        };
        let of = |gaps: &[ReportedGap]| {
            let of = CompletenessSummary {
                to: t("12:00:00"),
                data_through: None,
                gaps,
                before_start: &[],
                still_to_come: None,
            };
            let unread = of.unread_windows().into_iter();
            unread.map(|unread| unread.what).collect::<Vec<_>>()
        };
        assert_eq!(of(&[of_tenant("sales", "b")]), ["sales of b of p"]);
        let two = ["a", "b"].map(|tenant| of_tenant("sales", tenant));
        assert_eq!(of(&two), ["sales of a, b of p"]);
        let many = ["a", "b", "c", "d"].map(|tenant| of_tenant("sales", tenant));
        assert_eq!(of(&many), ["sales of 4 tenants of p"]);
        let mixed = [
            gap("lists", None),
            of_tenant("sales", "b"),
            of_tenant("logs", "b"),
        ];
        assert_eq!(of(&mixed), ["lists of p", "logs, sales of b of p"]);
    }
}
