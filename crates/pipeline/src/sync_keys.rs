//! The section `sync` of a pipeline, and what `resources` overrides of it for one resource.
//!
//! Invariant: what comes out is within its bounds; every key that is wrong is told, each with its place.

use crate::yaml::{YamlFile, error_at};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Deserialize;
use std::collections::BTreeMap;
use tillhouse_extract::{ResourceLimits, SourceLimits};
use tillhouse_model::yaml::{FileLocation, Spanned, YamlContent, YamlFault, YamlNode};
use tillhouse_model::{Error, Result, time};

/// The largest `page_size`: beyond that a page is no page.
const LARGEST_PAGE: u32 = 100_000;
/// The largest `concurrency`.
const MOST_AT_ONCE: usize = 64;
/// The longest span of time that a key may name.
const LONGEST: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);

/// The `sync` keys of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncSettings {
    /// The first instant that is wanted.
    pub start: Timestamp,
    /// Window to ask for at a time.
    pub slice: SignedDuration,
    /// Stretch that every run reads again, for late and changed records.
    pub lookback: SignedDuration,
    /// For how long open transactions are asked for by id.
    pub follow_open: SignedDuration,
}

/// Section `sync` as it is written.
#[derive(Debug, Deserialize, Default, Clone)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SyncSection {
    start: Option<Spanned<String>>,
    slice: Option<Spanned<String>>,
    lookback: Option<Spanned<String>>,
    follow_open: Option<Spanned<String>>,
    concurrency: Option<Spanned<u64>>,
    rate_limit: Option<Spanned<String>>,
    page_size: Option<Spanned<u64>>,
    /// True if the end of a listing that declares no total is proved by a request more.
    confirm_end: Option<bool>,
    /// When a scheduler is to run the pipeline; a sync has no use for it.
    schedule: Option<Spanned<String>>,
}

impl SyncSection {
    /// Puts a start where none could be read, so that what is wrong is not missing too. Nothing is ever synced by it: it is told.
    pub(crate) fn make_up_start(&mut self) {
        let value = || Spanned {
            value: "2024-01-01".to_owned(),
            referenced: FileLocation::UNKNOWN,
        };
        self.start.get_or_insert_with(value);
    }
}

/// Resource named under `resources`, its place in the file, and its overrides.
pub(crate) struct RequestedResource {
    pub(crate) name: String,
    pub(crate) at: FileLocation,
    pub(crate) sync: SyncSection,
}

/// The resources that are wanted, from the key `resources`: a list, or a map that overrides `sync` for one; `None` for all there are. And
/// what is wrong with the rest.
pub(crate) fn requested_resources(
    file: &YamlFile,
    node: Option<&YamlNode>,
) -> (Option<Vec<RequestedResource>>, Vec<Error>) {
    let Some(node) = node.filter(|node| !node.is_null()) else {
        return (None, Vec::new());
    };
    let mut all: Vec<RequestedResource> = Vec::new();
    let mut problems = Vec::new();
    match &node.content {
        YamlContent::List(names) => {
            for name in names.iter().filter(|name| !name.absent) {
                match name.text().filter(|name| !name.trim().is_empty()) {
                    Some(text) => all.push(RequestedResource { name: text.to_owned(), at: name.at, sync: SyncSection::default() }),
                    None => problems.push(
                        error_at(file, name.at, "`resources`: expected the name of a resource")
                            .hint("Write it like `resources: [transactions]`."),
                    ),
                }
            }
        }
        YamlContent::Map(entries) => {
            for entry in entries.iter().filter(|entry| !entry.value.absent) {
                let (sync, faults) = entry.value.read_some::<SyncSection>();
                if !faults.is_empty() {
                    let below = |fault: YamlFault| fault.below(&entry.key);
                    problems.push(file.errors(faults.into_iter().map(below).collect(), "resources"));
                }
                let section = format!("resources.{}", entry.key);
                problems.extend(file.blank_keys(Some(&entry.value), &section, |_| true));
                all.push(RequestedResource { name: entry.key.clone(), at: entry.at, sync: sync.unwrap_or_default() });
            }
        }
        YamlContent::Scalar { .. } => problems.push(
            error_at(
                file,
                node.at,
                "`resources`: expected a list of names, or a map that overrides keys of `sync` for one",
            )
            .hint("Write it like `resources: [transactions]`, or `resources: { transactions: { lookback: 7d } }`."),
        ),
    }
    let named = |name: &str| all.iter().filter(|wanted| wanted.name == name).count();
    if let Some(twice) = all.iter().rev().find(|wanted| named(&wanted.name) > 1) {
        problems.push(
            error_at(
                file,
                twice.at,
                format!("`resources` names {:?} twice", twice.name),
            )
            .hint("Keep one of the two."),
        );
    }
    let is_empty = match &node.content {
        YamlContent::List(names) => names.is_empty(),
        YamlContent::Map(entries) => entries.is_empty(),
        YamlContent::Scalar { .. } => false,
    };
    if is_empty {
        problems.push(
            error_at(file, node.at, "`resources` is empty: nothing would be read").hint(
                "Name what is read, like `resources: [transactions]`, or leave the key out to read all there is.",
            ),
        );
    }
    (Some(all), problems)
}

/// Reader of single keys that collects what is wrong with them.
struct SyncKeyReader<'f> {
    file: &'f YamlFile,
    problems: Vec<Error>,
}

impl SyncKeyReader<'_> {
    fn wrong<T>(&mut self, at: FileLocation, key: &str, what: &str, hint: &str) -> Option<T> {
        self.problems
            .push(error_at(self.file, at, format!("`{key}` {what}")).hint(hint));
        None
    }

    /// A whole number within bounds.
    fn number(&mut self, key: &str, given: Option<&Spanned<u64>>, most: u64) -> Option<u64> {
        let given = given?;
        if (1..=most).contains(&given.value) {
            return Some(given.value);
        }
        let example = key.rsplit('.').next().unwrap_or(key);
        let example = if example == "page_size" {
            "page_size: 500"
        } else {
            "concurrency: 4"
        };
        self.wrong(
            given.referenced,
            key,
            &format!("must be between 1 and {most}"),
            &format!("Write it like `{example}`."),
        )
    }

    fn rate(&mut self, key: &str, given: Option<&Spanned<String>>) -> Option<u32> {
        let given = given?;
        let per_second = given
            .value
            .trim()
            .strip_suffix("/s")
            .and_then(|n| n.trim().parse::<u32>().ok());
        match per_second {
            Some(n) if n > 0 => Some(n),
            _ => {
                let what = format!(
                    "is {:?}, and must be a whole number of requests a second, like 20/s",
                    given.value
                );
                self.wrong(
                    given.referenced,
                    key,
                    &what,
                    "Write it like `rate_limit: 20/s`; leave it out for no limit.",
                )
            }
        }
    }

    fn limits(&mut self, section: &str, sync: &SyncSection) -> ResourceLimits {
        let key = |name: &str| format!("{section}.{name}");
        let page_size = self.number(
            &key("page_size"),
            sync.page_size.as_ref(),
            u64::from(LARGEST_PAGE),
        );
        let concurrency = self.number(
            &key("concurrency"),
            sync.concurrency.as_ref(),
            MOST_AT_ONCE as u64,
        );
        ResourceLimits {
            page_size: page_size.and_then(|size| u32::try_from(size).ok()),
            concurrency: concurrency.and_then(|most| usize::try_from(most).ok()),
            rate_per_second: self.rate(&key("rate_limit"), sync.rate_limit.as_ref()),
            confirm_end: sync.confirm_end,
        }
    }

    fn span(
        &mut self,
        keys: [(&str, Option<&Spanned<String>>); 2],
        name: &str,
        default: &str,
        least: i64,
    ) -> Option<SignedDuration> {
        let (section, text, at) = match keys
            .into_iter()
            .find_map(|(section, given)| Some((section, given?)))
        {
            Some((section, given)) => (section, given.value.as_str(), given.referenced),
            None => ("sync", default, FileLocation::UNKNOWN),
        };
        let key = format!("{section}.{name}");
        let hint = "Write a whole number and a unit: 90s, 10m, 12h, 3d or 2w.";
        match time::parse_duration(text) {
            Err(_) => self.wrong(
                at,
                &key,
                &format!("is {text:?}, which is not a length of time"),
                hint,
            ),
            Ok(span) if span.as_secs() < least => self.wrong(
                at,
                &key,
                &format!("is {text:?}, which is too short: the least is {least}s"),
                hint,
            ),
            Ok(span) if span > LONGEST => self.wrong(
                at,
                &key,
                &format!("is {text:?}, which is too long: the most is a hundred years"),
                hint,
            ),
            Ok(span) => Some(span),
        }
    }
}

/// The limits that the whole pipeline, and each resource that is named, is asked under.
pub(crate) fn limits(
    file: &YamlFile,
    sync: &SyncSection,
    wanted: &[RequestedResource],
) -> Result<SourceLimits> {
    let mut keys = SyncKeyReader {
        file,
        problems: Vec::new(),
    };
    let defaults = SourceLimits::default();
    let own = keys.limits("sync", sync);
    let limits = SourceLimits {
        page_size: own.page_size.unwrap_or(defaults.page_size),
        concurrency: own.concurrency.unwrap_or(defaults.concurrency),
        rate_per_second: own.rate_per_second,
        confirm_end: own.confirm_end.unwrap_or(true),
        by_resource: BTreeMap::new(),
        ..defaults
    };
    let mut by_resource = BTreeMap::new();
    for RequestedResource { name, sync, .. } in wanted {
        let own = keys.limits(&format!("resources.{name}"), sync);
        if own != ResourceLimits::default() {
            by_resource.insert(name.clone(), own);
        }
    }
    let scheduled = wanted
        .iter()
        .map(|one| (format!("resources.{}", one.name), &one.sync));
    for (section, sync) in std::iter::once(("sync".to_owned(), sync)).chain(scheduled) {
        let Some(schedule) = &sync.schedule else {
            continue;
        };
        let fields = schedule.value.split_whitespace().count();
        let key = format!("{section}.schedule");
        if section != "sync" {
            let hint = "Write it under sync, or make a pipeline of its own for what is read at other times.";
            keys.wrong::<()>(
                schedule.referenced,
                &key,
                "belongs to the whole pipeline",
                hint,
            );
        } else if !(5..=6).contains(&fields) {
            let what = format!(
                "is {:?}, and must have five fields: minute, hour, day, month, weekday",
                schedule.value
            );
            keys.wrong::<()>(
                schedule.referenced,
                &key,
                &what,
                "Write it like `schedule: \"*/15 * * * *\"`.",
            );
        }
    }
    if keys.problems.is_empty() {
        Ok(SourceLimits {
            by_resource,
            ..limits
        })
    } else {
        Err(Error::combine(keys.problems))
    }
}

/// True if a schedule is written down, for whoever runs the pipeline.
pub(crate) fn is_scheduled(sync: &SyncSection) -> bool {
    sync.schedule.is_some()
}

/// That the settings of every resource that is wanted are within their bounds; what is wrong with several of them is told once.
pub(crate) fn check(
    file: &YamlFile,
    base: &SyncSection,
    wanted: Option<&[RequestedResource]>,
) -> Result<()> {
    let all = RequestedResource {
        name: String::new(),
        at: FileLocation::UNKNOWN,
        sync: SyncSection::default(),
    };
    let wanted = wanted.unwrap_or(std::slice::from_ref(&all));
    let mut problems: Vec<Error> = Vec::new();
    for one in wanted {
        let (_, found) = read(file, base, &one.name, &one.sync);
        for error in found {
            if !problems
                .iter()
                .any(|known| known.to_string() == error.to_string())
            {
                problems.push(error);
            }
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::combine(problems))
    }
}

/// Settings of a resource: its own, else those for all, else the defaults.
pub(crate) fn settings(
    file: &YamlFile,
    base: &SyncSection,
    name: &str,
    over: &SyncSection,
) -> Result<SyncSettings> {
    let (settings, problems) = read(file, base, name, over);
    settings.ok_or_else(|| Error::combine(problems))
}

fn read(
    file: &YamlFile,
    base: &SyncSection,
    name: &str,
    over: &SyncSection,
) -> (Option<SyncSettings>, Vec<Error>) {
    let mut keys = SyncKeyReader {
        file,
        problems: Vec::new(),
    };
    let own = format!("resources.{name}");
    let start = over
        .start
        .as_ref()
        .map(|start| (own.as_str(), start))
        .or(base.start.as_ref().map(|start| ("sync", start)));
    let start = match start {
        Some((section, given)) => time::parse_instant(&given.value, &TimeZone::UTC).map_or_else(
            |_| {
                let what = match time::lies_beyond_calendar(&given.value) {
                    true => "lies at the end of the calendar, where instants are not reckoned any more",
                    false => "is neither a date nor a time",
                };
                keys.wrong(
                    given.referenced,
                    &format!("{section}.start"),
                    &format!("is {:?}, which {what}", given.value),
                    "Write a date like 2026-01-31, or a time with its offset like 2026-01-31T12:00:00Z.",
                )
            },
            Some,
        ),
        None => {
            keys.problems.push(
                Error::config("the key `sync.start` is missing: from when on shall be read?")
                    .at("file", file.path.display().to_string())
                    .hint("Write `sync: { start: 2024-01-01 }`."),
            );
            None
        }
    };
    let mut span = |of: fn(&SyncSection) -> Option<&Spanned<String>>,
                    name: &str,
                    default: &str,
                    least: i64| {
        keys.span(
            [(own.as_str(), of(over)), ("sync", of(base))],
            name,
            default,
            least,
        )
    };
    let slice = span(|sync| sync.slice.as_ref(), "slice", "1d", 60);
    let lookback = span(|sync| sync.lookback.as_ref(), "lookback", "3d", 0);
    let follow_open = span(|sync| sync.follow_open.as_ref(), "follow_open", "30d", 0);
    let settings = match (start, slice, lookback, follow_open) {
        (Some(start), Some(slice), Some(lookback), Some(follow_open)) => Some(SyncSettings {
            start,
            slice,
            lookback,
            follow_open,
        }),
        _ => None,
    };
    (settings, keys.problems)
}
