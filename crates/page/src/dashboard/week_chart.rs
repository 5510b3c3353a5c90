//! Weekday by hour: a week of squares, darker where more was sold.
//!
//! Invariant: hours are those of each site's own clock, and a square leads to the sales that it counts, but for a window too long for a filter to name its days: the drawing says so.

use super::document::PageView;
use super::record_table::scroll;
use crate::html::Html;
use crate::view_query::ViewQuery;
use tillhouse_statistics::reports::WeekHour;

/// Adds the week of one currency; `sales` are its sales.
pub(crate) fn week_chart(
    html: &mut Html,
    view: &PageView,
    id: &str,
    cells: &[&WeekHour],
    sales: &ViewQuery,
) {
    let words = view.words();
    let most = cells.iter().map(|cell| cell.count).max().unwrap_or(0);
    let (title_id, labels) = (format!("{id}-t"), format!("{id}-t"));
    html.element("figure", &[("class", "chart week")], |html| {
        html.leaf("h3", &[], words.weekday_by_hour);
        html.leaf("p", &[("class", "note")], words.on_sites_clocks);
        if view.is_too_long_for_links {
            html.leaf("p", &[("class", "note")], words.too_long_for_links);
        }
        html.element("div", &[("class", "plot")], |html| {
            html.element(
                "div",
                &[("class", "scale"), ("aria-hidden", "true")],
                |html| {
                    for weekday in view.language.weekdays() {
                        html.leaf("span", &[], &weekday.chars().take(2).collect::<String>());
                    }
                },
            );
            let attributes = [
                ("viewBox", "0 0 24 7"),
                ("preserveAspectRatio", "none"),
                ("role", "group"),
                ("aria-labelledby", labels.as_str()),
            ];
            html.element("svg", &attributes, |html| {
                html.leaf("title", &[("id", &title_id)], words.weekday_by_hour);
                for day in 1..=7_i8 {
                    for hour in 0..24_i8 {
                        square(html, view, (day, hour, most), cells, sales);
                    }
                }
            });
        });
        html.element("p", &[("class", "axis"), ("aria-hidden", "true")], |html| {
            for hour in ["00", "06", "12", "18", "23"] {
                html.leaf("span", &[], hour);
            }
        });
        table(html, view, cells, sales);
    });
    html.raw("\n");
}

fn found<'a>(cells: &[&'a WeekHour], day: i8, hour: i8) -> Option<&'a WeekHour> {
    let found = cells
        .iter()
        .find(|cell| (cell.day, cell.hour) == (day, hour));
    found.copied().filter(|cell| cell.count > 0)
}

fn weekday(view: &PageView, day: i8) -> &'static str {
    let at = usize::try_from(day - 1).unwrap_or(0);
    let names = view.language.weekdays();
    names.get(at).copied().unwrap_or_default()
}

fn address(sales: &ViewQuery, cell: &WeekHour) -> String {
    let of_day = sales.with("weekday", cell.day.to_string());
    of_day
        .with("hour", cell.hour.to_string())
        .address(super::SALES_PATH)
}

fn square(
    html: &mut Html,
    view: &PageView,
    (day, hour, most): (i8, i8, i64),
    cells: &[&WeekHour],
    sales: &ViewQuery,
) {
    let (x, y) = (hour.to_string(), (day - 1).to_string());
    let place = [
        ("x", x.as_str()),
        ("y", y.as_str()),
        ("width", "1"),
        ("height", "1"),
    ];
    let Some(cell) = found(cells, day, hour) else {
        let [x, y, width, height] = place;
        html.leaf("rect", &[("class", "none"), x, y, width, height], "");
        return;
    };
    // Not from nothing: what was sold once must be told from what was not.
    let shade = 14 + cell.count.saturating_mul(86) / most.max(1);
    let opacity = format!("{}.{:02}", shade / 100, shade % 100);
    let inside = |html: &mut Html| {
        let said = format!(
            "{} {hour:02}:00: {}",
            weekday(view, day),
            view.language.count(cell.count)
        );
        html.leaf("title", &[], &said);
        let [x, y, width, height] = place;
        html.leaf(
            "rect",
            &[("fill-opacity", &opacity), x, y, width, height],
            "",
        );
    };
    match view.is_too_long_for_links {
        true => html.element("g", &[], inside),
        false => {
            let address = address(sales, cell);
            html.element("a", &[("href", &address), ("tabindex", "-1")], inside);
        }
    }
}

fn table(html: &mut Html, view: &PageView, cells: &[&WeekHour], sales: &ViewQuery) {
    let words = view.words();
    html.element("details", &[], |html| {
        html.leaf("summary", &[], words.as_a_table);
        scroll(html, words.weekday_by_hour, |html| {
            html.element("table", &[], |html| {
                html.element("thead", &[], |html| {
                    html.element("tr", &[], |html| {
                        html.leaf("th", &[("scope", "col")], words.weekday);
                        for hour in 0..24 {
                            html.leaf("th", &[("scope", "col")], &format!("{hour:02}"));
                        }
                    });
                });
                html.element("tbody", &[], |html| {
                    for day in 1..=7_i8 {
                        html.element("tr", &[], |html| {
                            html.leaf("th", &[("scope", "row")], weekday(view, day));
                            for hour in 0..24_i8 {
                                html.element("td", &[], |html| match found(cells, day, hour) {
                                    Some(cell) => {
                                        let count = view.language.count(cell.count);
                                        match view.is_too_long_for_links {
                                            true => html.text(&count),
                                            false => html.leaf(
                                                "a",
                                                &[("href", &address(sales, cell))],
                                                &count,
                                            ),
                                        }
                                    }
                                    None => html.text("0"),
                                });
                            }
                        });
                    }
                });
            });
        });
    });
}
