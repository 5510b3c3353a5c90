//! Rows of a query, as texts, and tables of them.
//!
//! Invariant: a value is shown with every digit that the query gave; what is null is an empty cell.

use super::document::PageView;
use crate::html::Html;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tillhouse_model::ExactDecimal;

/// Rows of a query: values as texts, null where there is none.
///
/// ```
/// use tillhouse_page::dashboard::RecordTable;
/// let table = RecordTable {
///     columns: vec!["state".to_owned()],
///     rows: vec![vec![Some("completed".to_owned())]],
/// };
/// assert_eq!(table.value(0, "state"), Some("completed"));
/// assert_eq!(table.value(0, "mood"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordTable {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, with a value for each column.
    pub rows: Vec<Vec<Option<String>>>,
}

impl RecordTable {
    /// A value; none where it is null, and where there is no such row or column.
    pub fn value(&self, row: usize, column: &str) -> Option<&str> {
        let at = self.columns.iter().position(|known| known == column)?;
        self.rows.get(row)?.get(at)?.as_deref()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Form of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnForm {
    /// As they are.
    Plain,
    /// Instants, on the view's clock, or on that of the row's `timezone`.
    Instant,
    /// Amounts, of the currency in the column `currency` of their row.
    Amount,
    /// Numbers.
    Number,
}

impl ColumnForm {
    /// The value of a row; empty where there is none.
    pub(crate) fn shown(
        self,
        view: &PageView,
        zone: &TimeZone,
        (table, row): (&RecordTable, usize),
        column: &str,
    ) -> String {
        let Some(value) = table.value(row, column) else {
            return String::new();
        };
        let shown = match self {
            Self::Plain => None,
            Self::Instant => {
                let at = value.parse::<Timestamp>().ok();
                at.map(|at| match view.clock_of(table.value(row, "timezone")) {
                    Some(clock) => view.language.instant_with_offset(at, &clock),
                    None => view.language.instant(at, zone),
                })
            }
            Self::Amount => {
                let currency = table.value(row, "currency").unwrap_or_default();
                let amount = ExactDecimal::parse(value);
                amount.map(|amount| view.language.money(amount, currency))
            }
            Self::Number => {
                let number = ExactDecimal::parse(value);
                number.map(|number| view.language.quantity(number))
            }
        };
        shown.unwrap_or_else(|| value.to_owned())
    }
}

/// A column of a table: its name in the rows, its heading, its form.
pub(crate) type ShownColumn<'a> = (&'static str, &'a str, ColumnForm);

/// Adds a part that is scrolled by itself, with the keyboard too, under a name that is read out.
pub(crate) fn scroll(html: &mut Html, name: &str, inside: impl FnOnce(&mut Html)) {
    named_region(html, "scroll", name, inside);
}

fn named_region(html: &mut Html, class: &'static str, name: &str, inside: impl FnOnce(&mut Html)) {
    let attributes = [
        ("class", class),
        ("tabindex", "0"),
        ("role", "region"),
        ("aria-label", name),
    ];
    html.element("div", &attributes, inside);
}

/// Adds a table of those columns that the rows have. `address` gives the address that the first column of a row leads to.
pub(crate) fn record_table(
    html: &mut Html,
    view: &PageView,
    caption: &str,
    columns: &[ShownColumn<'_>],
    table: &RecordTable,
    address: impl Fn(usize) -> Option<String>,
) {
    let zone = view.zone();
    let has = |name: &str| table.columns.iter().any(|known| known == name);
    let columns: Vec<&ShownColumn<'_>> = columns.iter().filter(|(name, ..)| has(name)).collect();
    named_region(html, "rows", caption, |html| {
        html.element("table", &[], |html| {
            html.leaf("caption", &[], caption);
            html.element("thead", &[], |html| {
                html.element("tr", &[], |html| {
                    for (_, heading, form) in &columns {
                        html.leaf(
                            "th",
                            &[("scope", "col"), ("class", class_of(*form))],
                            heading,
                        );
                    }
                });
            });
            html.element("tbody", &[], |html| {
                for row in 0..table.rows.len() {
                    html.element("tr", &[], |html| {
                        for (at, (name, _, form)) in columns.iter().enumerate() {
                            let shown = form.shown(view, &zone, (table, row), name);
                            let link = (at == 0).then(|| address(row)).flatten();
                            html.element("td", &[("class", class_of(*form))], |html| match &link {
                                Some(link) if shown.is_empty() => {
                                    html.leaf("a", &[("href", link)], "\u{2013}");
                                }
                                Some(link) => html.leaf("a", &[("href", link)], &shown),
                                None => html.text(&shown),
                            });
                        }
                    });
                }
            });
        });
    });
    html.raw("\n");
}

fn class_of(form: ColumnForm) -> &'static str {
    match form {
        ColumnForm::Amount | ColumnForm::Number => "number",
        ColumnForm::Plain | ColumnForm::Instant => "plain",
    }
}

/// Adds the values of a row that are there, each under the name of its column.
pub(crate) fn record(html: &mut Html, view: &PageView, table: &RecordTable, row: usize) {
    let zone = view.zone();
    html.element("dl", &[("class", "record")], |html| {
        for column in &table.columns {
            if column.starts_with('_') || table.value(row, column).is_none() {
                continue;
            }
            let form = match column.as_str() {
                name if name.ends_with("_at") => ColumnForm::Instant,
                name if name == "amount" || name.ends_with("_amount") => ColumnForm::Amount,
                _ => ColumnForm::Plain,
            };
            html.element("div", &[], |html| {
                html.leaf("dt", &[], column);
                html.leaf("dd", &[], &form.shown(view, &zone, (table, row), column));
            });
        }
    });
    html.raw("\n");
}

/// Seconds in the largest units that fit: `3 d 4 h`, `12 min`, `7 s`.
pub(crate) fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours) = (seconds / 86_400, seconds % 86_400 / 3_600);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{hours} h {} min", seconds % 3_600 / 60),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn durations_are_told_in_their_largest_units() {
        for (seconds, said) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_660, "1 h 1 min"),
            (97_200, "1 d 3 h"),
        ] {
            assert_eq!(duration(seconds), said);
        }
    }

    #[test]
    fn times_are_on_the_clock_of_their_site_where_that_is_asked_for() {
        let text = |text: &str| Some(text.to_owned());
        let row = |zone: Option<String>| vec![text("2026-01-05T10:00:00Z"), zone];
        let table = RecordTable {
            columns: ["occurred_at", "timezone"].map(str::to_owned).to_vec(),
            rows: vec![row(text("America/New_York")), row(None)],
        };
        let mut view = PageView {
            timezone: "Europe/Berlin".to_owned(),
            ..PageView::default()
        };
        let shown = |view: &PageView, row: usize| {
            ColumnForm::Instant.shown(view, &view.zone(), (&table, row), "occurred_at")
        };
        assert_eq!(shown(&view, 0), "5 January 2026, 11:00");
        view.query = view.query.with("clock", "site");
        assert_eq!(shown(&view, 0), "5 January 2026, 05:00 -05:00");
        // Of a site whose clock is not known the view's stands, with its offset.
        assert_eq!(shown(&view, 1), "5 January 2026, 11:00 +01:00");
        let there = view.at_site(table.value(0, "timezone"));
        assert_eq!(there.timezone, "America/New_York");
        assert_eq!(view.at_site(None).timezone, "Europe/Berlin");
    }

    #[test]
    fn values_keep_their_digits_and_names_are_escaped() {
        let view = PageView {
            language: Language::German,
            timezone: "Europe/Berlin".to_owned(),
            ..PageView::default()
        };
        let text = |text: &str| Some(text.to_owned());
        let table = RecordTable {
            columns: ["name", "amount", "currency", "occurred_at", "_run_id"]
                .map(str::to_owned)
                .to_vec(),
            rows: vec![
                vec![
                    text("<img src=x>"),
                    text("1234567890123456.7891"),
                    text("EUR"),
                    text("2026-01-05T10:00:00Z"),
                    text("r"),
                ],
                vec![None, None, None, None, None],
            ],
        };
        let mut html = Html::default();
        let columns = [
            ("name", "Name", ColumnForm::Plain),
            ("amount", "Betrag", ColumnForm::Amount),
            ("mood", "Laune", ColumnForm::Plain),
        ];
        record_table(&mut html, &view, "Verk\u{e4}ufe", &columns, &table, |row| {
            (row == 0).then(|| "/sales/a".to_owned())
        });
        record(&mut html, &view, &table, 0);
        let page = html.into_text();
        for part in [
            "<a href=\"/sales/a\">&lt;img src=x&gt;</a>",
            "1.234.567.890.123.456,7891\u{a0}EUR",
            "<dt>occurred_at</dt><dd>5. Januar 2026, 11:00</dd>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(
            !page.contains("Laune") && !page.contains("_run_id"),
            "{page}"
        );
    }
}
