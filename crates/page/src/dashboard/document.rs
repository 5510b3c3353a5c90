//! The document around every page: head, navigation, the line about a newer run, footer.
//!
//! Invariant: whatever a page is about, its navigation keeps the view that the reader chose: period, zone, narrowing and language go from page to page.

use super::{
    LOGOUT_PATH, OVERVIEW_PATH, RECONCILIATIONS_PATH, RESTATED_PATH, SALES_PATH, SILENT_PATH,
    SITES_PATH, SOURCES_PATH,
};
use crate::html::Html;
use crate::language::Language;
use crate::view_query::ViewQuery;
use crate::words::Words;
use jiff::tz::TimeZone;
use tillhouse_model::zone_name;

/// Parameters that belong to one page and not to the view.
const OF_A_PAGE: [&str; 10] = [
    "cursor",
    "limit",
    "weekday",
    "hour",
    "currency",
    "counted",
    "product",
    "payment_method",
    "since",
    "reconciliation",
];

/// The view that a page is of.
#[derive(Debug, Clone, Default)]
pub struct PageView {
    /// Language of the page.
    pub language: Language,
    /// Path of the page.
    pub path: String,
    /// Parameters of its address.
    pub query: ViewQuery,
    /// Time zone of the view, as it was asked for.
    pub timezone: String,
    /// The published run that the page is of; none where it is of none.
    pub run: Option<String>,
    /// True where the reader has logged in, and may log out.
    pub has_session: bool,
    /// True where the reader sees personal columns.
    pub sees_personal: bool,
    /// True where the window has more days than a filter can name, so that no weekday leads to its sales.
    pub is_too_long_for_links: bool,
}

impl PageView {
    pub(crate) fn words(&self) -> &'static Words {
        Words::of(self.language)
    }

    /// The clock that times are shown on.
    pub(crate) fn zone(&self) -> TimeZone {
        zone_name::clock(&self.timezone).unwrap_or(TimeZone::UTC)
    }

    /// The clock that the time of a row is shown on, in a view of sites' own clocks: that of its `timezone`, or the view's where that is not known. None in other views.
    pub(crate) fn clock_of(&self, timezone: Option<&str>) -> Option<TimeZone> {
        let is_on_sites_clocks = self.query.get("clock") == Some("site");
        is_on_sites_clocks.then(|| {
            let known = timezone.and_then(zone_name::clock);
            known.unwrap_or_else(|| self.zone())
        })
    }

    /// The same view of what is at one site, all of whose times are of that site's clock where the view is of sites' own clocks and that one is known.
    pub(crate) fn at_site(&self, timezone: Option<&str>) -> Self {
        let known = timezone.filter(|name| zone_name::clock(name).is_some());
        match known.filter(|_| self.clock_of(None).is_some()) {
            Some(name) => Self {
                timezone: name.to_owned(),
                ..self.clone()
            },
            None => self.clone(),
        }
    }

    /// The parameters that go from page to page.
    pub(crate) fn kept(&self) -> ViewQuery {
        self.query.without(&OF_A_PAGE)
    }
}

/// A whole document; `title` names the page, and `body` adds what it is about.
pub(crate) fn document(view: &PageView, title: &str, body: impl FnOnce(&mut Html)) -> String {
    let words = view.words();
    let mut html = Html::default();
    html.raw("<!doctype html>\n");
    html.element("html", &[("lang", view.language.code())], |html| {
        head(html, title, "dashboard.js");
        html.raw("\n");
        let run = view.run.as_deref().unwrap_or_default();
        html.element("body", &[("data-run", run)], |html| {
            html.leaf("a", &[("class", "skip"), ("href", "#main")], words.skip);
            navigation(html, view);
            html.element(
                "p",
                &[
                    ("id", "news"),
                    ("class", "news"),
                    ("role", "status"),
                    ("hidden", ""),
                ],
                |html| {
                    html.text(words.newer_run);
                    html.raw(" ");
                    html.leaf(
                        "a",
                        &[(
                            "href",
                            &view.query.without(&["as_of", "cursor"]).address(&view.path),
                        )],
                        words.reload,
                    );
                },
            );
            html.raw("\n");
            html.element("main", &[("id", "main"), ("tabindex", "-1")], |html| {
                html.leaf("h1", &[], title);
                body(html);
            });
            footer(html, view);
        });
    });
    html.into_text()
}

/// The head of a document with one of the modules.
pub(crate) fn head(html: &mut Html, title: &str, module: &'static str) {
    html.element("head", &[], |html| {
        html.raw("<meta charset=\"utf-8\">");
        html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        html.raw("<meta name=\"color-scheme\" content=\"light dark\">");
        html.leaf("title", &[], &format!("{title} \u{b7} Tillhouse"));
        html.raw("<link rel=\"icon\" href=\"data:,\">");
        html.raw("<link rel=\"stylesheet\" href=\"/assets/style.css\">");
        let address = format!("/assets/{module}");
        html.leaf("script", &[("type", "module"), ("src", &address)], "");
    });
}

fn navigation(html: &mut Html, view: &PageView) {
    let words = view.words();
    let kept = view.kept();
    html.element("header", &[("class", "top")], |html| {
        html.element("nav", &[("aria-label", words.pages)], |html| {
            let pages = [
                (OVERVIEW_PATH, words.overview),
                (SALES_PATH, words.sales),
                (SITES_PATH, words.sites),
                (SILENT_PATH, words.silent),
                (RESTATED_PATH, words.restated),
                (RECONCILIATIONS_PATH, words.reconciliations),
                (SOURCES_PATH, words.sources),
            ];
            for (path, name) in pages {
                let address = kept.address(path);
                let is_here = match path {
                    OVERVIEW_PATH => view.path == path,
                    _ => view.path.starts_with(path),
                };
                match is_here {
                    true => html.leaf("a", &[("href", &address), ("aria-current", "page")], name),
                    false => html.leaf("a", &[("href", &address)], name),
                }
                html.raw(" ");
            }
        });
        html.element("div", &[("class", "reader")], |html| {
            for language in Language::ALL {
                if language != view.language {
                    let address = view.query.with("lang", language.code()).address(&view.path);
                    let code = language.code();
                    html.leaf(
                        "a",
                        &[("href", &address), ("lang", code), ("hreflang", code)],
                        language.name(),
                    );
                }
            }
            if view.has_session {
                html.element(
                    "form",
                    &[("method", "post"), ("action", LOGOUT_PATH)],
                    |html| {
                        html.leaf("button", &[("type", "submit")], words.log_out);
                    },
                );
            }
        });
    });
    html.raw("\n");
}

fn footer(html: &mut Html, view: &PageView) {
    let words = view.words();
    html.raw("\n");
    html.element("footer", &[], |html| {
        html.element("p", &[], |html| {
            if view.clock_of(None).is_some() {
                html.text(words.sites_clocks);
                html.raw(" ");
            }
            html.text(&format!("{} {}. ", words.times_of, view.timezone));
            if let Some(run) = &view.run {
                html.text(&format!("{} {run}.", words.run));
            }
        });
    });
}

/// A paragraph that says why there is nothing, and what to do.
pub(crate) fn nothing(html: &mut Html, why: &str, what_to_do: &str) {
    html.element("div", &[("class", "empty")], |html| {
        html.leaf("p", &[], why);
        html.leaf("p", &[("class", "note")], what_to_do);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_the_view_and_nothing_is_in_it_that_the_policy_forbids() {
        let view = PageView {
            path: SALES_PATH.to_owned(),
            query: ViewQuery::new([
                ("from", "2026-01-01".to_owned()),
                ("cursor", "7b".to_owned()),
                ("tenant", "\"><script>x</script>".to_owned()),
            ]),
            timezone: "Europe/Berlin".to_owned(),
            has_session: true,
            ..PageView::default()
        };
        let page = document(&view, "<b>", |html| html.text("body"));
        assert!(page.contains("<h1>&lt;b&gt;</h1>"), "{page}");
        assert!(
            page.contains(
                "href=\"/sites?from=2026-01-01&amp;tenant=%22%3E%3Cscript%3Ex%3C%2Fscript%3E\""
            ),
            "{page}"
        );
        assert_eq!(page.matches("<script").count(), 1, "{page}");
        assert_eq!(page.matches("aria-current").count(), 1, "{page}");
        for forbidden in [" style=\"", " onclick", "http://", "https://", "<style"] {
            assert!(!page.contains(forbidden), "{forbidden}: {page}");
        }
    }

    #[test]
    fn the_clock_is_the_one_that_was_asked_for() {
        let at = "2026-01-05T10:00:00Z".parse().unwrap();
        for (timezone, hour) in [("Europe/Berlin", 11), ("-05:30", 4), ("", 10)] {
            let view = PageView {
                timezone: timezone.to_owned(),
                ..PageView::default()
            };
            assert_eq!(view.zone().to_datetime(at).hour(), hour, "{timezone}");
        }
    }
}
