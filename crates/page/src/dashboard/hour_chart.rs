//! Bars of the sales of each hour, or each day, of a window.
//!
//! Invariant: a bar leads to the sales that it counts; the table below has the same links, for whoever does not use the drawing.

use super::document::PageView;
use super::record_table::scroll;
use crate::html::Html;
use crate::slots::{self, TimeSlot};
use crate::view_query::ViewQuery;
use jiff::tz::TimeZone;
use tillhouse_model::Window;
use tillhouse_statistics::report::HourlyTransactions;

/// Width of a bar's place, in units of the drawing.
const PLACE: usize = 10;
/// Height of the drawing.
const HEIGHT: i64 = 100;

/// Sales by hour, or by day, of one currency.
pub(crate) struct HourChart<'a> {
    /// Unique on the page.
    pub(crate) id: String,
    pub(crate) hours: &'a [HourlyTransactions],
    pub(crate) window: Window,
    pub(crate) zone: &'a TimeZone,
    /// The sales of the currency, whose period each bar narrows.
    pub(crate) sales: ViewQuery,
}

/// A bar as it is drawn and told.
struct ChartBar {
    name: String,
    sales: i64,
    address: String,
}

impl HourChart<'_> {
    /// Adds the drawing and its table.
    pub(crate) fn add_to(&self, html: &mut Html, view: &PageView) {
        let words = view.words();
        let is_hourly = slots::is_hourly(&self.window);
        let starts = slots::starts_of(self.hours);
        let slots = match is_hourly {
            true => slots::by_hour(&starts, &self.window, self.zone),
            false => slots::by_day(&starts, &self.window, self.zone),
        };
        let bars: Vec<ChartBar> = slots
            .iter()
            .map(|slot| self.bar(view, slot, is_hourly))
            .collect();
        let (title, point) = match is_hourly {
            true => (words.sales_by_hour, words.hour),
            false => (words.sales_by_day, words.day),
        };
        let busiest = bars.iter().rev().max_by_key(|bar| bar.sales);
        let note = match busiest.filter(|bar| bar.sales > 0) {
            Some(bar) => format!(
                "{}: {}, {}.",
                words.busiest,
                bar.name,
                view.language.count(bar.sales)
            ),
            None => words.no_sales.to_owned(),
        };
        html.element("figure", &[("class", "chart")], |html| {
            html.leaf("h3", &[], title);
            html.leaf("p", &[("class", "note")], &note);
            drawing(html, view, &self.id, (title, &note), &bars);
            axis(html, view, &slots);
            table(html, view, (title, point), &bars);
        });
        html.raw("\n");
    }

    fn bar(&self, view: &PageView, slot: &TimeSlot, is_hourly: bool) -> ChartBar {
        let (from, to) = (
            slot.start.max(self.window.from()),
            slot.end.min(self.window.to()),
        );
        let name = match is_hourly {
            true => view.language.instant(slot.start, self.zone),
            false => view.language.day(slot.day),
        };
        let sales = self.sales.with("from", from.to_string());
        ChartBar {
            name,
            sales: slot.transactions,
            address: sales.with("to", to.to_string()).address(super::SALES_PATH),
        }
    }
}

fn drawing(
    html: &mut Html,
    view: &PageView,
    id: &str,
    (title, note): (&str, &str),
    bars: &[ChartBar],
) {
    let most = bars.iter().map(|bar| bar.sales).max().unwrap_or(0);
    let (title_id, note_id) = (format!("{id}-t"), format!("{id}-d"));
    let labels = format!("{title_id} {note_id}");
    let view_box = format!("0 0 {} {HEIGHT}", bars.len().max(1) * PLACE);
    html.element("div", &[("class", "plot")], |html| {
        html.element(
            "div",
            &[("class", "scale"), ("aria-hidden", "true")],
            |html| {
                html.leaf("span", &[], &view.language.count(most));
                html.leaf("span", &[], "0");
            },
        );
        let attributes = [
            ("viewBox", view_box.as_str()),
            ("preserveAspectRatio", "none"),
            ("role", "group"),
            ("aria-labelledby", labels.as_str()),
        ];
        html.element("svg", &attributes, |html| {
            html.leaf("title", &[("id", &title_id)], title);
            html.leaf("desc", &[("id", &note_id)], note);
            for (at, bar) in bars.iter().enumerate().filter(|(_, bar)| bar.sales > 0) {
                let height = (bar.sales.saturating_mul(HEIGHT) / most.max(1)).max(1);
                let (x, y) = ((at * PLACE + 1).to_string(), (HEIGHT - height).to_string());
                let (width, height) = ((PLACE - 2).to_string(), height.to_string());
                html.element("a", &[("href", &bar.address), ("tabindex", "-1")], |html| {
                    let said = format!("{}: {}", bar.name, view.language.count(bar.sales));
                    html.leaf("title", &[], &said);
                    let place = [
                        ("x", x.as_str()),
                        ("y", y.as_str()),
                        ("width", width.as_str()),
                        ("height", height.as_str()),
                    ];
                    html.leaf("rect", &place, "");
                });
            }
        });
    });
}

/// Names of the first, the middle and the last slot.
fn axis(html: &mut Html, view: &PageView, slots: &[TimeSlot]) {
    let (Some(first), Some(last)) = (slots.first(), slots.last()) else {
        return;
    };
    let middle = slots.get(slots.len() / 2).unwrap_or(first);
    html.element("p", &[("class", "axis"), ("aria-hidden", "true")], |html| {
        for slot in [first, middle, last] {
            html.leaf("span", &[], &view.language.short_day(slot.day));
        }
    });
}

fn table(html: &mut Html, view: &PageView, (title, point): (&str, &str), bars: &[ChartBar]) {
    let words = view.words();
    let sold: Vec<&ChartBar> = bars.iter().filter(|bar| bar.sales > 0).collect();
    if sold.is_empty() {
        return;
    }
    html.element("details", &[], |html| {
        html.leaf("summary", &[], words.as_a_table);
        scroll(html, title, |html| {
            html.element("table", &[], |html| {
                html.element("thead", &[], |html| {
                    html.element("tr", &[], |html| {
                        html.leaf("th", &[("scope", "col")], point);
                        html.leaf("th", &[("scope", "col")], words.sales);
                    });
                });
                html.element("tbody", &[], |html| {
                    for bar in sold {
                        html.element("tr", &[], |html| {
                            html.leaf("th", &[("scope", "row")], &bar.name);
                            html.element("td", &[], |html| {
                                let count = view.language.count(bar.sales);
                                html.leaf("a", &[("href", &bar.address)], &count);
                            });
                        });
                    }
                });
            });
        });
    });
}
