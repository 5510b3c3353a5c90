//! Sites and devices that fell silent: where nothing was sold for longer than is usual there.
//!
//! Invariant: a silence is told with what is usual for its place and with the time up to which it was counted, and a place that sells as it used to is not on the page.

use super::document::{PageView, document, nothing};
use super::record_table::{ColumnForm, RecordTable, duration, record_table};
use super::{SALES_PATH, SITE_FOLDER};
use crate::html::Html;
use crate::view_query::ViewQuery;
use std::collections::BTreeMap;
use tillhouse_statistics::{
    LEAST_SELLING_HOURS, LEAST_SILENCE, SilenceReport, SilentPlace, USUAL_GAPS,
};

/// Seconds of an hour.
const HOUR: i64 = 3_600;

/// Places that fell silent, and how they are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SilencePage {
    /// The sites.
    pub sites: SilenceReport,
    /// The devices.
    pub devices: SilenceReport,
    /// Names of the sites, by key.
    pub site_names: BTreeMap<String, String>,
    /// Time zones of the sites, by key.
    pub site_zones: BTreeMap<String, String>,
    /// Names of the devices, by key.
    pub device_names: BTreeMap<String, String>,
    /// Keys of the sites that devices stand at, by key.
    pub device_sites: BTreeMap<String, String>,
}

/// The page on places that fell silent.
pub fn silence(view: &PageView, page: &SilencePage) -> String {
    let words = view.words();
    document(view, words.silent_places, |html| {
        let rule = words
            .silence_rule
            .replace("{gaps}", &USUAL_GAPS.to_string())
            .replace("{hours}", &LEAST_SILENCE.to_string())
            .replace("{selling}", &LEAST_SELLING_HOURS.to_string());
        html.leaf("p", &[("class", "note")], &rule);
        read_until(html, view, &page.sites);
        if page.sites.read_until.is_empty() {
            nothing(html, words.no_sites, words.no_sites_hint);
            return;
        }
        if page.sites.places.is_empty() && page.devices.places.is_empty() {
            nothing(html, words.nobody_silent, words.nobody_silent_hint);
            return;
        }
        let site = |place: &SilentPlace| Some(place.key.clone());
        let of_device = |place: &SilentPlace| page.device_sites.get(&place.key).cloned();
        places(
            html,
            view,
            (words.sites, words.site),
            (&page.sites.places, &page.site_names),
            (page, &site),
        );
        places(
            html,
            view,
            (words.devices, words.device),
            (&page.devices.places, &page.device_names),
            (page, &of_device),
        );
    })
}

/// Adds up to when each pipeline was read.
fn read_until(html: &mut Html, view: &PageView, report: &SilenceReport) {
    let zone = view.zone();
    let told = report.read_until.iter();
    let told: Vec<String> = told
        .map(|(pipeline, until)| format!("{pipeline}: {}", view.language.instant(*until, &zone)))
        .collect();
    if !told.is_empty() {
        let said = format!("{} {}.", view.words().read_until, told.join(" \u{b7} "));
        html.leaf("p", &[("class", "note")], &said);
    }
}

/// What is known of the sites, and the key of the site of a place.
type SitesOfPlaces<'a> = (&'a SilencePage, &'a dyn Fn(&SilentPlace) -> Option<String>);

/// Adds the places of a kind, or that there are none.
fn places(
    html: &mut Html,
    view: &PageView,
    (title, name): (&str, &str),
    (places, names): (&[SilentPlace], &BTreeMap<String, String>),
    (known, site_of): SitesOfPlaces<'_>,
) {
    let words = view.words();
    if places.is_empty() {
        html.leaf("h2", &[], title);
        html.leaf("p", &[("class", "note")], words.none);
        return;
    }
    let rows = places.iter().map(|place| {
        let site = site_of(place);
        let zone = site.as_ref().and_then(|key| known.site_zones.get(key));
        let zone = zone.cloned();
        let site = site.map(|key| known.site_names.get(&key).cloned().unwrap_or(key));
        let shown = names.get(&place.key).unwrap_or(&place.key);
        vec![
            Some(shown.clone()),
            site,
            Some(place.last_hour.to_string()),
            Some(duration(place.silent_hours.saturating_mul(HOUR))),
            Some(duration(place.usual_hours.saturating_mul(HOUR))),
            zone,
        ]
    });
    let table = RecordTable {
        columns: ["name", "site", "last_hour", "silent", "usual", "timezone"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
    };
    let mut columns = vec![
        ("name", name, ColumnForm::Plain),
        ("site", words.site, ColumnForm::Plain),
        ("last_hour", words.last_hour, ColumnForm::Instant),
        ("silent", words.silent_for, ColumnForm::Plain),
        ("usual", words.usual_gap, ColumnForm::Plain),
    ];
    // A site stands at itself.
    if name == words.site {
        columns.retain(|(column, ..)| *column != "site");
    }
    record_table(html, view, title, &columns, &table, |row| {
        let site = site_of(places.get(row)?)?;
        Some(match known.site_names.contains_key(&site) {
            true => view.kept().address(&ViewQuery::path(SITE_FOLDER, &site)),
            false => view.kept().with("site", site).address(SALES_PATH),
        })
    });
}

/// The line of the first view on so many sites and devices that fell silent; none where none did.
pub fn silence_line(view: &PageView, sites: usize, devices: usize) -> Option<String> {
    let words = view.words();
    let count = |many: usize| view.language.count(i64::try_from(many).unwrap_or(i64::MAX));
    let parts = [(words.sites, sites), (words.devices, devices)];
    let parts = parts.into_iter().filter(|(_, many)| *many > 0);
    let parts: Vec<String> = parts
        .map(|(name, many)| format!("{name} {}", count(many)))
        .collect();
    (!parts.is_empty()).then(|| format!("{}: {}.", words.fell_silent, parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    fn place(key: &str) -> SilentPlace {
        SilentPlace {
            pipeline: "p".to_owned(),
            key: key.to_owned(),
            last_hour: "2026-01-05T10:00:00Z".parse().unwrap(),
            silent_hours: 30,
            usual_hours: 8,
        }
    }

    fn report(places: Vec<SilentPlace>) -> SilenceReport {
        SilenceReport {
            places,
            read_until: [("p".to_owned(), "2026-01-06T17:00:00Z".parse().unwrap())].into(),
        }
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        pairs.collect()
    }

    #[test]
    fn who_fell_silent_is_told_with_what_is_usual_and_leads_to_its_site() {
        let page = SilencePage {
            sites: report(vec![place("p:1"), place("p:2")]),
            devices: report(vec![place("p:d")]),
            site_names: map(&[("p:1", "<b>Harbour")]),
            site_zones: map(&[("p:1", "America/New_York")]),
            device_names: map(&[("p:d", "Till")]),
            device_sites: map(&[("p:d", "p:1")]),
        };
        let html = silence(&PageView::default(), &page);
        for part in [
            "<a href=\"/sites/p%3A1\">&lt;b&gt;Harbour</a>",
            "<a href=\"/sales?site=p%3A2\">p:2</a>",
            "<a href=\"/sites/p%3A1\">Till</a>",
            "<td class=\"plain\">5 January 2026, 10:00</td><td class=\"plain\">1 d 6 h</td><td class=\"plain\">8 h 0 min</td>",
            "Read until p: 6 January 2026, 17:00.",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains('{'), "{html}");
        // Where the view asks for it, hours are those of the site; of one whose clock is not known the view's.
        let view = PageView {
            query: ViewQuery::new([("clock", "site".to_owned())]),
            ..PageView::default()
        };
        let html = silence(&view, &page);
        for (hour, count) in [("05:00 -05:00", 2), ("10:00 +00:00", 1)] {
            let shown = format!("5 January 2026, {hour}");
            assert_eq!(html.matches(&shown).count(), count, "{shown}: {html}");
        }
    }

    #[test]
    fn where_nobody_is_silent_or_nothing_was_read_the_page_says_so() {
        let view = PageView {
            language: Language::German,
            ..PageView::default()
        };
        let words = view.words();
        let nobody = SilencePage {
            sites: report(Vec::new()),
            ..SilencePage::default()
        };
        assert!(silence(&view, &nobody).contains(words.nobody_silent));
        let unread = silence(&view, &SilencePage::default());
        assert!(unread.contains(words.no_sites) && !unread.contains(words.nobody_silent));
        assert_eq!(silence_line(&view, 0, 0), None);
        let line = silence_line(&view, 2, 0).unwrap();
        assert!(
            line.contains("Standorte 2") && !line.contains(words.devices),
            "{line}"
        );
    }
}
