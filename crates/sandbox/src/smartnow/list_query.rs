//! One question to a list: `where`, `sort`, `skip`, `limit` and `useArchive`, and the rows that answer it.
//!
//! Invariant: what the list does not know is refused, never ignored: another parameter, another column, another operator, a value
//! of the wrong kind. Null is below everything when sorting and fulfils no comparison, as in SQL.

use super::resources::{SmartNowColumnType, SmartNowResource};
use super::table::{SmartNowKey, SmartNowRow, SmartNowTable, micros};
use crate::decimal::Decimal;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::cmp::Ordering;

/// The most records that may be asked for.
const LARGEST: usize = 100;

/// A value of a record or of a condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum SmartNowValue {
    Null,
    Number(Decimal),
    Text(String),
    Flag(bool),
    /// Microseconds since 1970 UTC.
    Instant(i64),
}

impl SmartNowValue {
    /// Reads a condition's value.
    fn operand(holds: SmartNowColumnType, text: &str) -> Option<Self> {
        match holds {
            SmartNowColumnType::Text => Some(Self::Text(text.to_owned())),
            SmartNowColumnType::Number => Decimal::parse(text).map(Self::Number),
            SmartNowColumnType::Flag => match text {
                "true" | "1" => Some(Self::Flag(true)),
                "false" | "0" => Some(Self::Flag(false)),
                _ => None,
            },
            SmartNowColumnType::Instant => Some(Self::Instant(
                text.parse::<Timestamp>().ok()?.as_microsecond(),
            )),
            SmartNowColumnType::Object => None,
        }
    }

    /// Reads a record's value; one of another kind than its column's counts as null.
    fn of(holds: SmartNowColumnType, value: Option<&Value>) -> Self {
        let Some(value) = value else {
            return Self::Null;
        };
        let cell = match (holds, value) {
            (SmartNowColumnType::Text, Value::String(text)) => Some(Self::Text(text.clone())),
            (SmartNowColumnType::Number, Value::Number(number)) => {
                Decimal::parse(&number.to_string()).map(Self::Number)
            }
            (SmartNowColumnType::Flag, Value::Bool(flag)) => Some(Self::Flag(*flag)),
            (SmartNowColumnType::Instant, value) => micros(value).map(Self::Instant),
            _ => None,
        };
        cell.unwrap_or(Self::Null)
    }
}

/// A row, parsed once if at all.
struct SmartNowRowReader<'t> {
    row: &'t SmartNowRow,
    fields: OnceCell<Map<String, Value>>,
}

impl<'t> SmartNowRowReader<'t> {
    fn new(row: &'t SmartNowRow) -> Self {
        Self {
            row,
            fields: OnceCell::new(),
        }
    }

    fn cell(&self, column: &str, holds: SmartNowColumnType) -> SmartNowValue {
        let instant =
            |micros: Option<i64>| micros.map_or(SmartNowValue::Null, SmartNowValue::Instant);
        match (column, &self.row.key) {
            ("createdAt", _) => instant(self.row.created),
            ("updatedAt", _) => instant(self.row.updated),
            ("occurredAt", _) => instant(self.row.occurred),
            ("id", SmartNowKey::Number(number)) => SmartNowValue::Number(Decimal::from(*number)),
            ("id", SmartNowKey::Text(text)) => SmartNowValue::Text(text.to_string()),
            _ => SmartNowValue::of(
                holds,
                self.fields.get_or_init(|| self.row.fields()).get(column),
            ),
        }
    }
}

/// Comparison of a `where` condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaterlineOperator {
    Below,
    AtMost,
    Above,
    AtLeast,
    In,
    NotIn,
    Contains,
    StartsWith,
    EndsWith,
}

/// The operators of Waterline, the query language of Sails. None at all is equality.
const OPERATORS: [(&str, WaterlineOperator); 11] = [
    ("<", WaterlineOperator::Below),
    ("<=", WaterlineOperator::AtMost),
    (">", WaterlineOperator::Above),
    (">=", WaterlineOperator::AtLeast),
    ("", WaterlineOperator::In),
    ("in", WaterlineOperator::In),
    ("!", WaterlineOperator::NotIn),
    ("nin", WaterlineOperator::NotIn),
    ("contains", WaterlineOperator::Contains),
    ("startsWith", WaterlineOperator::StartsWith),
    ("endsWith", WaterlineOperator::EndsWith),
];

/// One condition of `where`: a column, an operator and its operands.
#[derive(Debug)]
struct WaterlineCondition {
    column: &'static str,
    holds: SmartNowColumnType,
    operator: WaterlineOperator,
    operands: Vec<SmartNowValue>,
}

impl WaterlineCondition {
    fn passes(&self, row: &SmartNowRowReader<'_>) -> bool {
        let cell = row.cell(self.column, self.holds);
        if cell == SmartNowValue::Null {
            return false;
        }
        let is = |wanted: fn(Ordering) -> bool| {
            self.operands
                .iter()
                .all(|operand| wanted(cell.cmp(operand)))
        };
        let text = |test: fn(&str, &str) -> bool| {
            let SmartNowValue::Text(text) = &cell else {
                return false;
            };
            self.operands
                .iter()
                .any(|operand| matches!(operand, SmartNowValue::Text(part) if test(text, part)))
        };
        match self.operator {
            WaterlineOperator::Below => is(Ordering::is_lt),
            WaterlineOperator::AtMost => is(Ordering::is_le),
            WaterlineOperator::Above => is(Ordering::is_gt),
            WaterlineOperator::AtLeast => is(Ordering::is_ge),
            WaterlineOperator::In => self.operands.contains(&cell),
            WaterlineOperator::NotIn => !self.operands.contains(&cell),
            WaterlineOperator::Contains => text(|text, part| text.contains(part)),
            WaterlineOperator::StartsWith => text(|text, part| text.starts_with(part)),
            WaterlineOperator::EndsWith => text(|text, part| text.ends_with(part)),
        }
    }
}

/// Parsed query of a list.
#[derive(Debug)]
pub(crate) struct SmartNowListQuery {
    conditions: Vec<WaterlineCondition>,
    sort: (&'static str, SmartNowColumnType),
    descending: bool,
    pub limit: Option<usize>,
    pub skip: usize,
    archive: bool,
}

impl SmartNowListQuery {
    /// Reads a query. The error is for the caller's eyes.
    pub(crate) fn parse(
        kind: &SmartNowResource,
        pairs: &[(String, String)],
    ) -> Result<Self, String> {
        let mut question = Self {
            conditions: Vec::new(),
            sort: kind.column("id").ok_or("this list has no id")?,
            descending: false,
            limit: None,
            skip: 0,
            archive: false,
        };
        for (key, value) in pairs {
            match key.as_str() {
                "limit" => question.limit = Some(limit(value)?),
                "skip" => {
                    question.skip = value
                        .parse()
                        .map_err(|_| "`skip` must be a whole number, zero or more")?
                }
                "sort" => question.sort_by(kind, value)?,
                "useArchive" => {
                    question.archive = match value.as_str() {
                        "true" => true,
                        "false" => false,
                        _ => return Err("`useArchive` must be true or false".into()),
                    }
                }
                other => match other.strip_prefix("where[") {
                    Some(rest) => question.condition(kind, rest, value)?,
                    None => return Err(format!("Unknown query parameter `{other}`")),
                },
            }
        }
        Ok(question)
    }

    /// The same question about a list that comes the other way round.
    pub(crate) fn reversed(self) -> Self {
        Self {
            descending: !self.descending,
            ..self
        }
    }

    fn sort_by(&mut self, kind: &SmartNowResource, text: &str) -> Result<(), String> {
        let mut words = text.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        self.sort = usable(kind, name)?;
        self.descending = match (
            words.next().map(str::to_ascii_lowercase).as_deref(),
            words.next(),
        ) {
            (None | Some("asc"), None) => false,
            (Some("desc"), None) => true,
            _ => return Err(format!("Invalid sort `{text}`: a column, then asc or desc")),
        };
        Ok(())
    }

    /// `col]`, `col][op]`, `col][op][]` or `col][op][0]`.
    fn condition(
        &mut self,
        kind: &SmartNowResource,
        rest: &str,
        value: &str,
    ) -> Result<(), String> {
        let malformed = || format!("Malformed criteria `where[{rest}`");
        let parts: Vec<&str> = rest
            .strip_suffix(']')
            .ok_or_else(malformed)?
            .split("][")
            .collect();
        let (name, word) = match parts.as_slice() {
            [name] => (*name, ""),
            [name, operator] => (*name, *operator),
            [name, operator, index] if index.bytes().all(|b| b.is_ascii_digit()) => {
                (*name, *operator)
            }
            _ => return Err(malformed()),
        };
        let (column, holds) = usable(kind, name)?;
        let operator = OPERATORS
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, operator)| *operator)
            .ok_or_else(|| format!("Unknown operator `{word}` in criteria for `{name}`"))?;
        let textual = matches!(
            operator,
            WaterlineOperator::Contains
                | WaterlineOperator::StartsWith
                | WaterlineOperator::EndsWith
        );
        if textual && holds != SmartNowColumnType::Text {
            return Err(format!("Operator `{word}` does not apply to `{name}`"));
        }
        let several = matches!(word, "in" | "nin");
        let operands: Option<Vec<SmartNowValue>> = if several {
            value
                .split(',')
                .map(|part| SmartNowValue::operand(holds, part))
                .collect()
        } else {
            SmartNowValue::operand(holds, value).map(|operand| vec![operand])
        };
        let operands = operands.ok_or_else(|| format!("Invalid value for `{name}` in criteria"))?;
        let is_list =
            matches!(operator, WaterlineOperator::In | WaterlineOperator::NotIn) || textual;
        match self
            .conditions
            .iter_mut()
            .find(|c| is_list && c.column == column && c.operator == operator)
        {
            Some(known) => known.operands.extend(operands),
            None => self.conditions.push(WaterlineCondition {
                column,
                holds,
                operator,
                operands,
            }),
        }
        Ok(())
    }

    /// The id behind which the answer begins, where one is named.
    pub(crate) fn after_id(&self) -> Option<SmartNowKey> {
        self.conditions
            .iter()
            .filter(|c| c.column == "id" && c.operator == WaterlineOperator::Above)
            .find_map(|condition| match condition.operands.first()? {
                SmartNowValue::Number(number) => {
                    number.to_string().parse().ok().map(SmartNowKey::Number)
                }
                SmartNowValue::Text(text) => Some(SmartNowKey::Text(text.as_str().into())),
                _ => None,
            })
    }

    /// The rows of a parent, or of all, in the order asked for. `archived` is the instant before which a record is in the archive,
    /// `cap` the most records that the server gives at once.
    pub(crate) fn rows<'t>(
        &self,
        kind: &SmartNowResource,
        table: &'t SmartNowTable,
        parent: Option<&SmartNowKey>,
        archived: i64,
        cap: usize,
    ) -> Vec<&'t SmartNowRow> {
        let rows = self
            .after_id()
            .map_or(table.rows(), |key| table.rows_after(&key));
        let hidden = kind.archived && !self.archive;
        let is_meant = |row: &&SmartNowRow| {
            parent.is_none_or(|parent| row.parent.as_ref() == Some(parent))
                && !(hidden && row.occurred.is_some_and(|occurred| occurred < archived))
                && (self.conditions.is_empty() || {
                    let reader = SmartNowRowReader::new(row);
                    self.conditions
                        .iter()
                        .all(|condition| condition.passes(&reader))
                })
        };
        let most = self.limit.unwrap_or(usize::MAX).min(cap);
        let (column, holds) = self.sort;
        if column == "id" {
            return if self.descending {
                rows.iter()
                    .rev()
                    .filter(is_meant)
                    .skip(self.skip)
                    .take(most)
                    .collect()
            } else {
                rows.iter()
                    .filter(is_meant)
                    .skip(self.skip)
                    .take(most)
                    .collect()
            };
        }
        let mut keyed: Vec<(SmartNowValue, &SmartNowRow)> = rows
            .iter()
            .filter(is_meant)
            .map(|row| (SmartNowRowReader::new(row).cell(column, holds), row))
            .collect();
        // Rows come by id, and the sort is stable: ties stay in that order.
        keyed.sort_by(|a, b| {
            if self.descending {
                b.0.cmp(&a.0)
            } else {
                a.0.cmp(&b.0)
            }
        });
        keyed
            .into_iter()
            .map(|(_, row)| row)
            .skip(self.skip)
            .take(most)
            .collect()
    }
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=LARGEST) => Ok(limit),
        Ok(_) => Err(format!("`limit` must be between 1 and {LARGEST}")),
        Err(_) => Err("`limit` must be a whole number".into()),
    }
}

/// A column that can be compared.
fn usable(
    kind: &SmartNowResource,
    name: &str,
) -> Result<(&'static str, SmartNowColumnType), String> {
    match kind.column(name) {
        Some((_, SmartNowColumnType::Object)) | None => {
            Err(format!("Unknown column `{name}` in criteria"))
        }
        Some(column) => Ok(column),
    }
}

#[cfg(test)]
mod tests {
    use super::super::resources::{RESOURCES, resource_index};
    use super::*;

    fn ask(pairs: &[(&str, &str)]) -> Result<SmartNowListQuery, String> {
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        SmartNowListQuery::parse(&RESOURCES[resource_index("logs").unwrap()], &pairs)
    }

    fn answer(pairs: &[(&str, &str)]) -> Vec<i64> {
        let kind = &RESOURCES[resource_index("logs").unwrap()];
        let rows = [
            r#"{"id":1,"code":"ED014","duration":null,"isResolvable":true,"createdAt":"2026-01-01T00:00:00Z"}"#,
            r#"{"id":2,"code":"ED017","duration":60,"isResolvable":false,"createdAt":"2026-01-01T01:00:00+01:00"}"#,
            r#"{"id":3,"code":"CM_REBOOT","duration":7.5,"isResolvable":true,"createdAt":"2026-01-01T00:00:01Z"}"#,
            r#"{"id":10,"code":null,"duration":60,"createdAt":"2026-01-02T00:00:00Z","occurredAt":"2025-01-02T00:00:00Z"}"#,
        ];
        let table = SmartNowTable::new(
            rows.iter()
                .map(|json| SmartNowRow::read(kind, json, None).unwrap())
                .collect(),
        );
        let archived = "2025-10-01T00:00:00Z"
            .parse::<Timestamp>()
            .unwrap()
            .as_microsecond();
        let rows = ask(pairs)
            .unwrap()
            .rows(kind, &table, None, archived, usize::MAX);
        rows.iter()
            .map(|row| row.key.text().parse().unwrap())
            .collect()
    }

    #[test]
    fn conditions_compare_by_the_columns_kind_and_null_fulfils_none() {
        let all = ("useArchive", "true");
        assert_eq!(answer(&[]), [1, 2, 3]);
        assert_eq!(answer(&[all]), [1, 2, 3, 10]);
        assert_eq!(
            answer(&[all, ("where[id][>]", "2")]),
            [3, 10],
            "numbers, not texts"
        );
        assert_eq!(
            answer(&[
                ("where[createdAt][>=]", "2026-01-01T00:00:00Z"),
                ("where[createdAt][<]", "2026-01-01T00:00:01Z")
            ]),
            [1, 2]
        );
        assert_eq!(answer(&[("where[duration][<=]", "60")]), [2, 3]);
        assert_eq!(answer(&[("where[duration]", "60.0")]), [2]);
        assert_eq!(answer(&[all, ("where[code][!]", "ED014")]), [2, 3]);
        assert_eq!(
            answer(&[
                ("where[code][in][]", "ED014"),
                ("where[code][in][]", "ED017")
            ]),
            [1, 2]
        );
        assert_eq!(answer(&[("where[id][in]", "1,3")]), [1, 3]);
        assert_eq!(
            answer(&[("where[id][nin][0]", "1"), ("where[id][nin][1]", "3")]),
            [2]
        );
        assert_eq!(
            answer(&[
                ("where[code][startsWith]", "ED"),
                ("where[code][endsWith]", "7")
            ]),
            [2]
        );
        assert_eq!(answer(&[("where[code][contains]", "_RE")]), [3]);
        assert_eq!(answer(&[("where[isResolvable]", "true")]), [1, 3]);
    }

    #[test]
    fn rows_are_sorted_skipped_and_limited() {
        assert_eq!(answer(&[("sort", "id desc")]), [3, 2, 1]);
        assert_eq!(answer(&[("sort", "code ASC")]), [3, 1, 2]);
        assert_eq!(
            answer(&[("sort", "duration desc"), ("useArchive", "true")]),
            [2, 10, 3, 1]
        );
        assert_eq!(
            answer(&[("sort", "createdAt"), ("skip", "1"), ("limit", "1")]),
            [2]
        );
        assert_eq!(answer(&[("skip", "9")]), [0; 0]);
        assert_eq!(
            ask(&[("where[id][>]", "41")]).unwrap().after_id(),
            Some(SmartNowKey::Number(41))
        );
    }

    #[test]
    fn what_the_list_does_not_know_is_refused() {
        for pair in [
            ("limit", "101"),
            ("limit", "0"),
            ("limit", "-1"),
            ("limit", "many"),
            ("skip", "-1"),
            ("sort", "colour asc"),
            ("sort", "id up"),
            ("sort", "id asc, code desc"),
            ("sort", ""),
            ("useArchive", "yes"),
            ("page", "2"),
            ("where", "{}"),
            ("where[colour]", "red"),
            ("where[id][~]", "1"),
            ("where[id][>", "1"),
            ("where[id][in][x]", "1"),
            ("where[id][>]", "abc"),
            ("where[id][contains]", "1"),
            ("where[createdAt][>=]", "yesterday"),
            ("where[createdAt][>=]", "2026-01-01"),
        ] {
            assert!(ask(&[pair]).is_err(), "{pair:?}");
        }
    }
}
