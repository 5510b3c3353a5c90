//! The versions that a sale ever had: when each record of it was read, and which fields changed from version to version.
//!
//! Invariant: a change is of a field whose text differs, or that came or went; what the program itself notes of a version (`_load_id` and the like) is no field of the record, but for its end.

use super::SALE_FOLDER;
use super::document::{PageView, document, nothing};
use super::record_table::{ColumnForm, RecordTable, ShownColumn, record_table};
use crate::html::Html;
use crate::view_query::ViewQuery;
use std::collections::BTreeMap;

/// Field of a record: its path, `articles[0].name`, and its value.
pub type RecordField = (String, String);

/// Column that says when a record was found to be gone.
const DELETED_AT: &str = "_deleted_at";
/// Column by which tables are divided.
const MONTH: &str = "month";

/// A version of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordVersion {
    /// Number of the package that landed it.
    pub load_id: String,
    /// Run that landed it.
    pub run: String,
    /// When it was asked for.
    pub extracted_at: Option<String>,
    /// When that run was published; none where a later one published it.
    pub published_at: Option<String>,
    /// Its fields, those of the program among them.
    pub fields: Vec<RecordField>,
}

/// The versions of a record, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordHistory {
    /// The source's table.
    pub table: String,
    /// The record's key.
    pub key: String,
    /// Its versions.
    pub versions: Vec<RecordVersion>,
}

/// The versions of the records that a sale is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaleVersions {
    /// Time zone of its site.
    pub timezone: Option<String>,
    /// The records.
    pub histories: Vec<RecordHistory>,
    /// True if the reader may see the schemas of sources.
    pub is_shown: bool,
    /// True if the reader may see personal columns.
    pub has_all_columns: bool,
}

/// The page of a sale's versions.
pub fn versions(view: &PageView, key: &str, versions: &SaleVersions) -> String {
    let view = &view.at_site(versions.timezone.as_deref());
    let words = view.words();
    document(view, &format!("{} {key}", words.versions_of_sale), |html| {
        html.element("p", &[("class", "ways")], |html| {
            let sale = view.kept().address(&ViewQuery::path(SALE_FOLDER, key));
            html.leaf("a", &[("href", &sale)], words.to_sale);
        });
        match (versions.is_shown, versions.histories.is_empty()) {
            (false, _) => nothing(html, words.versions_hidden, words.versions_hidden_hint),
            (true, true) => nothing(html, words.no_versions, words.no_versions_hint),
            (true, false) if !versions.has_all_columns => {
                html.leaf("p", &[("class", "note")], words.without_personal);
            }
            (true, false) => {}
        }
        for history in &versions.histories {
            of_record(html, view, history);
        }
    })
}

/// Adds the versions of one record.
fn of_record(html: &mut Html, view: &PageView, history: &RecordHistory) {
    let words = view.words();
    let title = format!("{} {}", history.table, history.key);
    html.element("section", &[("aria-label", &title)], |html| {
        html.leaf("h2", &[], &title);
        let columns = [
            ("version", words.version, ColumnForm::Number),
            ("extracted_at", words.landed, ColumnForm::Instant),
            ("published", words.published, ColumnForm::Instant),
            ("changes", words.changed_fields, ColumnForm::Number),
            ("run", words.run, ColumnForm::Plain),
        ];
        let table = summary(view, history);
        record_table(html, view, words.versions, &columns, &table, |_| None);
        let mut before: Option<&RecordVersion> = None;
        for (at, version) in history.versions.iter().enumerate() {
            let title = format!("{} {}", words.version, at + 1);
            let columns = [
                ("field", words.field, ColumnForm::Plain),
                ("before", words.before, ColumnForm::Plain),
                ("after", words.after, ColumnForm::Plain),
            ];
            // Of the first one nothing was before.
            let first = [columns[0], columns[2]];
            let shown: &[ShownColumn<'_>] = match before {
                None => &first,
                Some(_) => &columns,
            };
            let changes = changes(before, version);
            let add = |html: &mut Html| {
                record_table(html, view, &title, shown, &changes, |_| None);
            };
            match (before, changes.is_empty()) {
                (_, true) => {
                    html.leaf("h3", &[], &title);
                    html.leaf("p", &[("class", "note")], words.no_field_changed);
                }
                (None, false) => html.element("details", &[], |html| {
                    html.leaf("summary", &[], &format!("{title}: {}", words.all_fields));
                    add(html);
                }),
                (Some(_), false) => add(html),
            }
            before = Some(version);
        }
    });
    html.raw("\n");
}

/// A line for each version.
fn summary(view: &PageView, history: &RecordHistory) -> RecordTable {
    let words = view.words();
    let mut before: Option<&RecordVersion> = None;
    let mut rows = Vec::new();
    for (at, version) in history.versions.iter().enumerate() {
        let number = |number: usize| Some(number.to_string());
        let published = version.published_at.as_deref();
        let published = published.unwrap_or(words.with_a_later_run);
        rows.push(vec![
            number(at + 1),
            version.extracted_at.clone(),
            Some(published.to_owned()),
            before.and_then(|before| number(changes(Some(before), version).rows.len())),
            Some(version.run.clone()),
        ]);
        before = Some(version);
    }
    let columns = ["version", "extracted_at", "published", "changes", "run"];
    RecordTable {
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    }
}

/// Fields that differ from those of the version before, in their order; those that went stand last.
fn changes(before: Option<&RecordVersion>, version: &RecordVersion) -> RecordTable {
    let own = |of: &RecordVersion| -> Vec<RecordField> {
        let is_own = |(path, _): &&RecordField| {
            path == DELETED_AT || !(path.starts_with('_') || path == MONTH)
        };
        of.fields.iter().filter(is_own).cloned().collect()
    };
    let (then, now) = (before.map(own).unwrap_or_default(), own(version));
    let by_path =
        |fields: &[RecordField]| -> BTreeMap<String, String> { fields.iter().cloned().collect() };
    let (then_by_path, now_by_path) = (by_path(&then), by_path(&now));
    let changed = now.into_iter().filter_map(|(path, after)| {
        let before = then_by_path.get(&path);
        let row = |before: Option<&String>| {
            vec![Some(path.clone()), before.cloned(), Some(after.clone())]
        };
        (before != Some(&after)).then(|| row(before))
    });
    let gone = then
        .iter()
        .filter(|(path, _)| !now_by_path.contains_key(path));
    let gone = gone.map(|(path, before)| vec![Some(path.clone()), Some(before.clone()), None]);
    RecordTable {
        columns: ["field", "before", "after"].map(str::to_owned).to_vec(),
        rows: changed.chain(gone).collect(),
    }
}

/// The way from a sale to its versions.
pub(crate) fn way_to_versions(html: &mut Html, view: &PageView, key: &str) {
    html.element("p", &[("class", "ways")], |html| {
        let path = format!(
            "{}{}",
            ViewQuery::path(SALE_FOLDER, key),
            super::VERSIONS_ENDING
        );
        let address = view.kept().address(&path);
        html.leaf("a", &[("href", &address)], view.words().every_version);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    fn version(load_id: &str, fields: &[(&str, &str)]) -> RecordVersion {
        let fields = fields
            .iter()
            .map(|(path, value)| ((*path).to_owned(), (*value).to_owned()));
        RecordVersion {
            load_id: load_id.to_owned(),
            run: "20260105T100000Z-000000".to_owned(),
            extracted_at: Some("2026-01-05T10:00:00Z".to_owned()),
            published_at: None,
            fields: fields.collect(),
        }
    }

    fn history() -> RecordHistory {
        RecordHistory {
            table: "hecone.transactions".to_owned(),
            key: "7".to_owned(),
            versions: vec![
                version(
                    "3",
                    &[("state", "pending"), ("plate", "B-1"), ("_load_id", "3")],
                ),
                version(
                    "9",
                    &[
                        ("state", "<b>"),
                        ("articles[0].name", "Tea"),
                        ("_load_id", "9"),
                        ("month", "2026-01"),
                    ],
                ),
            ],
        }
    }

    #[test]
    fn fields_that_came_changed_and_went_are_told_and_those_of_the_program_are_not() {
        let RecordHistory { versions, .. } = history();
        let text = |table: &RecordTable| -> Vec<String> {
            let rows = table.rows.iter();
            let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "-".to_owned());
            rows.map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" "))
                .collect()
        };
        assert_eq!(
            text(&changes(Some(&versions[0]), &versions[1])),
            ["state pending <b>", "articles[0].name - Tea", "plate B-1 -"]
        );
        assert_eq!(
            text(&changes(None, &versions[0])),
            ["state - pending", "plate - B-1"]
        );
        assert!(changes(Some(&versions[1]), &versions[1]).is_empty());
        let gone = version("10", &[(DELETED_AT, "2026-02-01T00:00:00Z")]);
        assert_eq!(
            text(&changes(None, &gone)),
            ["_deleted_at - 2026-02-01T00:00:00Z"]
        );
    }

    #[test]
    fn the_page_says_what_changed_and_who_is_shown_what() {
        let view = PageView {
            language: Language::German,
            timezone: "Europe/Berlin".to_owned(),
            ..PageView::default()
        };
        let words = view.words();
        let shown = |is_shown: bool, has_all_columns: bool, histories: Vec<RecordHistory>| {
            let of = SaleVersions {
                timezone: None,
                histories,
                is_shown,
                has_all_columns,
            };
            versions(&view, "hecone:7", &of)
        };
        let page = shown(true, true, vec![history()]);
        for part in [
            "<h2>hecone.transactions 7</h2>",
            "<td class=\"plain\">5. Januar 2026, 11:00</td>",
            "<td class=\"plain\">&lt;b&gt;</td>",
            words.with_a_later_run,
            "href=\"/sales/hecone%3A7\"",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("_load_id") && !page.contains(words.without_personal));
        assert!(shown(true, false, vec![history()]).contains(words.without_personal));
        assert!(shown(true, true, Vec::new()).contains(words.no_versions));
        assert!(shown(false, true, Vec::new()).contains(words.versions_hidden));
    }
}
