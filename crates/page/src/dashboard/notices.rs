//! Lines of the first view about what lies beside its period: what was restated since yesterday, and who fell silent.
//!
//! Invariant: without scripts each line is a link that leads to its page. A script asks once for what they say, and puts it there; a line that has nothing to say goes.

use super::document::PageView;
use super::{NOTICES_PATH, RESTATED_PATH, SILENT_PATH};
use crate::html::Html;

/// Name of the line on what was restated.
pub const RESTATED_NOTICE: &str = "restated";
/// Name of the line on places that fell silent.
pub const SILENCE_NOTICE: &str = "silence";
/// Parameters that the lines depend on.
const OF_NOTICES: [&str; 7] = [
    "tenant",
    "source",
    "states",
    "perspective",
    "timezone",
    "as_of",
    "lang",
];

/// Adds the lines.
pub(crate) fn notices(html: &mut Html, view: &PageView) {
    let words = view.words();
    let asked = view.query.only(&OF_NOTICES);
    let asked = asked.with("lang", view.language.code());
    let address = asked.address(NOTICES_PATH);
    let attributes = [
        ("class", "notices"),
        ("aria-live", "polite"),
        ("data-notices", address.as_str()),
    ];
    html.element("ul", &attributes, |html| {
        for (name, path, said) in [
            (
                RESTATED_NOTICE,
                RESTATED_PATH,
                words.restated_since_yesterday,
            ),
            (SILENCE_NOTICE, SILENT_PATH, words.silent_places),
        ] {
            html.element("li", &[], |html| {
                let address = view.kept().address(path);
                let attributes = [("href", address.as_str()), ("data-notice", name)];
                html.leaf("a", &attributes, said);
            });
        }
    });
    html.raw("\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view_query::ViewQuery;

    #[test]
    fn the_lines_are_links_and_what_they_say_does_not_depend_on_the_period() {
        let view = PageView {
            query: ViewQuery::new([
                ("from", "2026-01-01".to_owned()),
                ("tenant", "n".to_owned()),
            ]),
            ..PageView::default()
        };
        let mut html = Html::default();
        notices(&mut html, &view);
        let html = html.into_text();
        for part in [
            "data-notices=\"/notices.json?lang=en&amp;tenant=n\"",
            "<a href=\"/restated?from=2026-01-01&amp;tenant=n\" data-notice=\"restated\">",
            "<a href=\"/silent?from=2026-01-01&amp;tenant=n\" data-notice=\"silence\">",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
