//! The form that chooses the view: period, comparison, zone, narrowing and filter; a script folds it on narrow screens. Behind it stands the builder of filters.
//!
//! Invariant: it is sent with GET, so that every view is an address that can be kept and sent on; what the form has no field for goes with it unseen.

use super::document::PageView;
use super::filter_builder::filter_builder;
use super::{DEFAULT_PERIOD, PERIODS};
use crate::html::Html;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Names of the form's own fields.
const FIELDS: [&str; 10] = [
    "period", "shown", "from", "to", "compare", "timezone", "clock", "tenant", "source", "filter",
];
/// Fields that narrow the view, which are folded where they are empty.
const NARROWING: [&str; 3] = ["tenant", "source", "filter"];
/// Baselines of growth that have a name.
const BASELINES: [&str; 3] = ["previous", "calendar", "last-year"];

/// Adds the form of a view.
pub(crate) fn period_form(html: &mut Html, view: &PageView) {
    let words = view.words();
    let query = &view.query;
    let attributes = [
        ("class", "view"),
        ("method", "get"),
        ("action", view.path.as_str()),
        ("aria-label", words.view),
        // After the way back it says what the page is of, and not what was chosen before it was left.
        ("autocomplete", "off"),
    ];
    html.open("details", &[("class", "chooser"), ("open", "")]);
    html.leaf("summary", &[], words.view);
    html.element("form", &attributes, |html| {
        hidden_fields(html, view, &FIELDS);
        let has_dates = query.get("from").is_some();
        let chosen = match has_dates {
            true => "",
            false => query.get("period").unwrap_or(DEFAULT_PERIOD),
        };
        // A period that is chosen beside dates counts where it is another than the page has.
        html.open(
            "input",
            &[("type", "hidden"), ("name", "shown"), ("value", chosen)],
        );
        labelled(html, words.period, |html| {
            html.element("select", &[("name", "period")], |html| {
                option(html, "", words.from_to, chosen);
                for (period, name) in PERIODS.into_iter().zip(words.periods) {
                    option(html, period, name, chosen);
                }
            });
        });
        labelled(html, words.from, |html| {
            input(html, view, "from", "2026-01-01")
        });
        labelled(html, words.to_before, |html| {
            input(html, view, "to", "2026-02-01")
        });
        let compare = query.get("compare").unwrap_or("previous");
        labelled(html, words.compare, |html| {
            html.element("select", &[("name", "compare")], |html| {
                for (baseline, name) in BASELINES.into_iter().zip(words.baselines) {
                    option(html, baseline, name, compare);
                }
                // One that somebody wrote into the address.
                if !BASELINES.contains(&compare) {
                    option(html, compare, compare, compare);
                }
            });
        });
        labelled(html, words.timezone, |html| {
            input(html, view, "timezone", "Europe/Berlin")
        });
        let clock = query.get("clock").unwrap_or_default();
        labelled(html, words.clock, |html| {
            html.element("select", &[("name", "clock")], |html| {
                option(html, "", words.clock_of_view, clock);
                option(html, "site", words.clock_of_site, clock);
            });
        });
        let is_narrowed = NARROWING.iter().any(|name| query.get(name).is_some());
        let open: &[(&'static str, &str)] = if is_narrowed { &[("open", "")] } else { &[] };
        html.element("details", open, |html| {
            html.leaf("summary", &[], words.narrow);
            labelled(html, words.tenant, |html| input(html, view, "tenant", ""));
            labelled(html, words.source, |html| {
                input(html, view, "source", "hecone")
            });
            labelled(html, words.filter, |html| {
                let example = r#"{"field": "amount", "operator": "gte", "value": 50}"#;
                let attributes = [
                    ("name", "filter"),
                    ("rows", "2"),
                    ("spellcheck", "false"),
                    ("placeholder", example),
                ];
                html.leaf(
                    "textarea",
                    &attributes,
                    query.get("filter").unwrap_or_default(),
                );
            });
        });
        html.leaf("button", &[("type", "submit")], words.show);
    });
    html.raw("</details>\n");
    filter_builder(html, view);
}

/// Adds what goes with a form unseen: the view's parameters that it has no field for.
pub(crate) fn hidden_fields(html: &mut Html, view: &PageView, fields: &[&str]) {
    let kept = view.query.without(&["cursor"]);
    for (name, value) in kept.pairs().filter(|(name, _)| !fields.contains(name)) {
        html.open(
            "input",
            &[("type", "hidden"), ("name", name), ("value", value)],
        );
    }
}

/// Adds a field with its name.
pub(crate) fn labelled(html: &mut Html, name: &str, field: impl FnOnce(&mut Html)) {
    html.element("label", &[], |html| {
        html.leaf("span", &[], name);
        field(html);
    });
}

fn input(html: &mut Html, view: &PageView, name: &'static str, example: &str) {
    let written = view.query.get(name).unwrap_or_default();
    let value = match name {
        "from" | "to" => readable(written, &view.zone()),
        _ => written.to_owned(),
    };
    html.open(
        "input",
        &[
            ("name", name),
            ("value", &value),
            ("placeholder", example),
            ("autocomplete", "off"),
            ("spellcheck", "false"),
        ],
    );
}

/// An instant of the address as the view's clock shows it: a day, or a time of whole minutes with its offset. All else stays as it was written.
fn readable(written: &str, zone: &TimeZone) -> String {
    let Ok(at) = written.parse::<Timestamp>() else {
        return written.to_owned();
    };
    let wall = zone.to_datetime(at);
    let midnight = wall.date().at(0, 0, 0, 0);
    let is_midnight = || zone.to_timestamp(midnight).is_ok_and(|start| start == at);
    if wall == midnight && is_midnight() {
        return wall.date().to_string();
    }
    match (wall.second(), wall.subsec_nanosecond()) {
        (0, 0) => {
            let shown = at.to_zoned(zone.clone());
            shown.strftime("%Y-%m-%d %H:%M%:z").to_string()
        }
        _ => written.to_owned(),
    }
}

fn option(html: &mut Html, value: &str, name: &str, chosen: &str) {
    match value == chosen {
        true => html.leaf("option", &[("value", value), ("selected", "")], name),
        false => html.leaf("option", &[("value", value)], name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_on_the_views_clock() {
        let view = PageView {
            timezone: "Europe/Berlin".to_owned(),
            ..PageView::default()
        };
        for (written, shown) in [
            ("2026-01-04T23:00:00Z", "2026-01-05"),
            ("2026-01-05T09:30:00Z", "2026-01-05 10:30+01:00"),
            ("2026-01-05T09:30:01Z", "2026-01-05T09:30:01Z"),
            ("2026-01-05", "2026-01-05"),
            ("soon", "soon"),
        ] {
            assert_eq!(readable(written, &view.zone()), shown, "{written}");
        }
    }
}
