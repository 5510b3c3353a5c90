//! Fields of a contract as the walk meets them: their keys as the page spells them, their types, and paths among them as steps.
//!
//! Invariant: every field that exists can be decoded, and every pseudonym has a key. What a value costs that cannot be read is settled
//! where the contract is compiled, see [`crate::plan`].

use crate::instant::InstantFormat;
use std::collections::{HashMap, HashSet};
use tillhouse_model::table::ValueNormalisation;
use tillhouse_model::time_zone::time_zone;
use tillhouse_model::{
    ColumnClass, ColumnKind, ColumnSpec, Error, MisfitPolicy, Result, TimeFormat,
};

/// Objects of a contract may be nested this deep; pages may nest twice as deep in what the contract does not know.
const MAX_CONTRACT_DEPTH: usize = 64;

/// Number of fields from which on a key out of turn is looked up in a hash table.
const MANY_FIELDS: usize = 48;

/// Fields of an object, looked up by name.
#[derive(Debug)]
pub(crate) struct ObjectPlan {
    pub(crate) fields: Vec<FieldPlan>,
    /// One word a field that differs whenever short names differ: the first seven bytes and the length.
    tags: Vec<u64>,
    by_name: Option<HashMap<Box<[u8]>, usize>>,
    /// Least memory of one more of these, in bytes, lists' elements aside.
    pub(crate) row_bytes: usize,
}

/// Decoding of one field: its name in JSON, its type, and the cost of a misfit.
#[derive(Debug)]
pub(crate) struct FieldPlan {
    /// The column's name; part of paths in reports is [`FieldPlan::json_name`], as the source spells it.
    pub(crate) name: String,
    /// Empty for the elements of a list.
    pub(crate) json_name: String,
    /// `"name":`, as a page without white space spells it.
    pub(crate) spelled: Box<[u8]>,
    pub(crate) required: bool,
    /// Part of the record's key: a record without it is rejected.
    pub(crate) key: bool,
    /// A text of which nothing can be seen is none.
    pub(crate) blank_is_none: bool,
    /// The text names something: one that [names nothing](tillhouse_model::blank::names_nothing) is none.
    pub(crate) is_name: bool,
    /// Zero is none, as a number and as a text.
    pub(crate) zero_is_none: bool,
    /// The text is kept in the [canonical](tillhouse_model::identifier::canonical) spelling of identifiers.
    pub(crate) is_identifier: bool,
    /// An instant that had not come when the page was asked for is none.
    pub(crate) ahead_is_none: bool,
    /// The element of a list.
    pub(crate) element: bool,
    /// True if a value may stand in a warning or a reject as it came.
    pub(crate) is_quotable: bool,
    /// Cost of a value that cannot be read as this field's.
    pub(crate) misfit: MisfitCost,
    /// The JSON of a value that is no text is the text, as it came.
    pub(crate) keeps_json: bool,
    /// True for a text that is there because something went wrong: one that says that nothing did is none.
    pub(crate) is_fault: bool,
    /// True for a text that its rules want to name a time zone.
    pub(crate) is_zone: bool,
    /// True for a whole number that its rules keep between 0 and 1: a yes or no.
    pub(crate) is_zero_or_one: bool,
    /// Of a list: the key of its elements.
    pub(crate) distinct: Option<ElementIdentity>,
    /// Stands for the column's path in the content hash; never zero.
    pub(crate) id: u64,
    pub(crate) kind: FieldKind,
}

/// Cost of a value that cannot be read as its field's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MisfitCost {
    /// The record.
    Record,
    /// Itself. Of a list's element that is no single value: the element.
    Value,
    /// The record, where it would have decided the record time; else itself. The place of its path among those of the record time.
    Time(usize),
}

/// Column that identifies the elements of a list.
#[derive(Debug)]
pub(crate) struct ElementIdentity {
    /// The field of the element.
    pub(crate) by: usize,
    /// The rule that says so.
    pub(crate) rule: String,
}

/// Decoding of a field's value, by its type.
#[derive(Debug)]
pub(crate) enum FieldKind {
    Text(TextTreatment),
    Bool,
    Int,
    Decimal {
        scale: i8,
        limit: i128,
    },
    Time(InstantFormat),
    Date,
    Object(ObjectPlan),
    List(Box<FieldPlan>),
    /// Secret or dropped: never decoded.
    NotDecoded,
}

/// Treatment of a text before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextTreatment {
    Whole,
    /// Without surrounding blanks and in upper case, as ISO 4217 writes it, so that whatever compares or groups by it meets one spelling.
    Currency,
    Pseudonym(ValueNormalisation),
    LastFour,
}

/// Step of a path from a row to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathStep {
    /// Step to the field of that index.
    Field(usize),
    /// Step to every element of the list.
    Elements,
}

/// Names of at most seven bytes have the same tag only if they are equal.
#[inline]
fn tag(name: &[u8]) -> u64 {
    let mut word = [0; 8];
    let size = name.len().min(7);
    word[..size].copy_from_slice(&name[..size]);
    word[7] = u8::try_from(name.len()).unwrap_or(u8::MAX);
    u64::from_le_bytes(word)
}

impl ObjectPlan {
    /// The field of that name, tried from `guess` on, around.
    #[inline]
    pub(crate) fn find(&self, name: &[u8], guess: usize) -> Option<usize> {
        if let Some(map) = &self.by_name {
            return map.get(name).copied();
        }
        let tag = tag(name);
        let hit = |i: &usize| {
            self.tags[*i] == tag
                && (name.len() <= 7 || self.fields[*i].json_name.as_bytes() == name)
        };
        let guess = guess.min(self.tags.len());
        (guess..self.tags.len())
            .find(hit)
            .or_else(|| (0..guess).find(hit))
    }

    /// `shown`: whether the values of these columns may be shown, as far as what they lie in is concerned.
    pub(crate) fn new(
        columns: &[ColumnSpec],
        path: &str,
        has_key: bool,
        shown: bool,
        depth: usize,
    ) -> Result<Self> {
        if depth > MAX_CONTRACT_DEPTH {
            return Err(Error::config(format!(
                "the contract nests objects deeper than {MAX_CONTRACT_DEPTH}"
            ))
            .at("column", path));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = columns.iter().find(|c| !seen.insert(c.json_name.as_str())) {
            return Err(
                Error::config(format!("two columns read the field {:?}", twice.json_name))
                    .at("column", join(path, &twice.name)),
            );
        }
        let fields: Vec<FieldPlan> = columns
            .iter()
            .map(|c| FieldPlan::new(c, join(path, &c.name), has_key, shown, depth))
            .collect::<Result<_>>()?;
        if fields
            .iter()
            .all(|f| matches!(f.kind, FieldKind::NotDecoded))
        {
            return Err(Error::config(
                "an object without any stored column cannot be a table's column",
            )
            .at("column", path)
            .hint("Mark the object itself as secret or dropped."));
        }
        let tags = fields.iter().map(|f| tag(f.json_name.as_bytes())).collect();
        let by_name = (fields.len() > MANY_FIELDS).then(|| {
            fields
                .iter()
                .enumerate()
                .map(|(i, f)| (f.json_name.as_bytes().into(), i))
                .collect()
        });
        let row_bytes = fields.iter().map(FieldPlan::row_bytes).sum();
        Ok(Self {
            fields,
            tags,
            by_name,
            row_bytes,
        })
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

impl ObjectPlan {
    /// Has the text at a path read as a currency, or as the name of a time zone. A path that leads elsewhere is refused where its rule is compiled.
    pub(crate) fn make(&mut self, meaning: TextMeaning, path: &[String]) {
        let Some((name, rest)) = path.split_first() else {
            return;
        };
        if let Some(field) = self.fields.iter_mut().find(|field| field.name == *name) {
            field.make(meaning, rest);
        }
    }
}

/// Meaning of a text that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextMeaning {
    Currency,
    TimeZone,
}

impl FieldPlan {
    fn make(&mut self, meaning: TextMeaning, rest: &[String]) {
        match &mut self.kind {
            FieldKind::List(element) => {
                // Lists are passed through by themselves; `element` may be said, or left out.
                let is_said = rest.first().is_some_and(|name| name == "element");
                element.make(meaning, if is_said { &rest[1..] } else { rest });
            }
            FieldKind::Object(object) => object.make(meaning, rest),
            FieldKind::Text(_) if rest.is_empty() && meaning == TextMeaning::TimeZone => {
                self.is_zone = true;
            }
            FieldKind::Text(keep) if rest.is_empty() && *keep == TextTreatment::Whole => {
                *keep = TextTreatment::Currency
            }
            _ => {}
        }
    }

    /// True for text that is stored, not changed into something else.
    pub(crate) fn is_open_text(&self) -> bool {
        matches!(
            self.kind,
            FieldKind::Text(TextTreatment::Whole | TextTreatment::Currency)
        )
    }

    fn new(
        column: &ColumnSpec,
        path: String,
        has_key: bool,
        shown: bool,
        depth: usize,
    ) -> Result<Self> {
        let shown = shown && column.class == ColumnClass::Open && !column.restricted;
        let wrong = |message: &str| Err(Error::config(message).at("column", &path));
        let keep = match column.class {
            ColumnClass::Open => Some(TextTreatment::Whole),
            ColumnClass::Pseudonym(how) => Some(TextTreatment::Pseudonym(how)),
            ColumnClass::LastFour => Some(TextTreatment::LastFour),
            ColumnClass::Secret | ColumnClass::Dropped => None,
        };
        if matches!(keep, Some(TextTreatment::Pseudonym(_))) && !has_key {
            return Err(Error::config(
                "the contract has pseudonyms, but the project has no key for them",
            )
            .at("column", &path)
            .hint(
                "Set privacy_key in tillhouse.yaml; `tillhouse init` writes a fresh one into .env.",
            ));
        }
        let what = match (&column.kind, keep) {
            (_, None) => FieldKind::NotDecoded,
            (ColumnKind::Text, Some(keep)) => FieldKind::Text(keep),
            (_, Some(TextTreatment::Pseudonym(_) | TextTreatment::LastFour)) => {
                return wrong("only text can be pseudonymised or cut to its last four characters");
            }
            (ColumnKind::Bool, _) => FieldKind::Bool,
            (ColumnKind::Int, _) => FieldKind::Int,
            (ColumnKind::Decimal { precision, scale }, _) => {
                let Some(limit) = 10_i128
                    .checked_pow(u32::from(*precision))
                    .filter(|_| (1..=38).contains(precision))
                else {
                    return wrong("a decimal has 1 to 38 digits");
                };
                FieldKind::Decimal {
                    scale: *scale,
                    limit,
                }
            }
            (ColumnKind::Timestamp(format), _) => FieldKind::Time(match format {
                TimeFormat::Offset => InstantFormat::Offset,
                TimeFormat::Zone(name) => {
                    InstantFormat::Zone(time_zone(name).ok_or_else(|| {
                        Error::config(format!("no time zone is named {name:?}"))
                            .at("column", &path)
                            .hint("Write an IANA name like Europe/Berlin.")
                    })?)
                }
                TimeFormat::EpochSeconds => InstantFormat::Epoch { scale: 6 },
                TimeFormat::EpochMillis => InstantFormat::Epoch { scale: 3 },
            }),
            (ColumnKind::Date, _) => FieldKind::Date,
            (ColumnKind::Binary, _) => {
                return wrong("JSON has no binary values; a source's column cannot be binary");
            }
            (ColumnKind::Struct(columns), _) => {
                FieldKind::Object(ObjectPlan::new(columns, &path, has_key, shown, depth + 1)?)
            }
            (ColumnKind::List(element), _) => {
                let mut element =
                    Self::new(element, format!("{path}[]"), has_key, shown, depth + 1)?;
                if matches!(element.kind, FieldKind::NotDecoded) {
                    return wrong(
                        "a list whose elements are secret or dropped must itself be marked so",
                    );
                }
                element.json_name.clear();
                element.element = true;
                FieldKind::List(Box::new(element))
            }
        };
        let mut spelled = serde_json::to_vec(&column.json_name)
            .map_err(|e| Error::internal("a name is not JSON").because(e))?;
        spelled.push(b':');
        Ok(Self {
            name: column.name.clone(),
            json_name: column.json_name.clone(),
            spelled: spelled.into(),
            required: column.required,
            key: false,
            blank_is_none: column.blank_is_none,
            is_name: column.blank_is_none,
            zero_is_none: column.zero_is_none,
            is_identifier: column.is_identifier,
            ahead_is_none: column.ahead_is_none,
            element: false,
            is_zone: false,
            is_quotable: shown,
            misfit: match column.on_misfit {
                _ if column.required => MisfitCost::Record,
                Some(MisfitPolicy::Warn | MisfitPolicy::Keep) => MisfitCost::Value,
                Some(MisfitPolicy::Reject) => MisfitCost::Record,
                None if matches!(what, FieldKind::Decimal { .. }) => MisfitCost::Record,
                None => MisfitCost::Value,
            },
            keeps_json: column.on_misfit == Some(MisfitPolicy::Keep),
            is_fault: column.on_misfit == Some(MisfitPolicy::Keep) && column.zero_is_none,
            is_zero_or_one: false,
            distinct: None,
            id: xxhash_rust::xxh3::xxh3_64(path.as_bytes()).max(1),
            kind: what,
        })
    }

    /// Bytes a row of it takes at least.
    pub(crate) fn row_bytes(&self) -> usize {
        match &self.kind {
            FieldKind::NotDecoded | FieldKind::Bool => 1,
            FieldKind::Text(TextTreatment::Pseudonym(_)) => 75,
            FieldKind::Text(_) | FieldKind::Date | FieldKind::List(_) => 5,
            FieldKind::Int | FieldKind::Time(_) => 9,
            FieldKind::Decimal { .. } => 17,
            FieldKind::Object(object) => object.row_bytes + 1,
        }
    }
}

/// The field that a path leads to.
pub(crate) fn field_at<'p>(
    record: &'p mut ObjectPlan,
    hops: &[PathStep],
) -> Option<&'p mut FieldPlan> {
    let mut hops = hops.iter();
    let Some(PathStep::Field(at)) = hops.next() else {
        return None;
    };
    let mut field = record.fields.get_mut(*at)?;
    for hop in hops {
        field = match (hop, &mut field.kind) {
            (PathStep::Field(at), FieldKind::Object(object)) => object.fields.get_mut(*at)?,
            (PathStep::Elements, FieldKind::List(element)) => element,
            _ => return None,
        };
    }
    Some(field)
}

/// The steps to a column by its names. Lists are passed through by themselves; `element` may be said, or left out.
pub(crate) fn resolve<'p>(
    record: &'p ObjectPlan,
    path: &[String],
) -> Result<(Vec<PathStep>, &'p FieldPlan)> {
    let missing = || Error::config("no stored column has this path").at("column", path.join("."));
    let mut hops = Vec::new();
    let mut object = Some(record);
    let mut at: Option<&FieldPlan> = None;
    for name in path {
        let found = object.and_then(|o| Some((o, o.fields.iter().position(|f| f.name == *name)?)));
        let Some((parent, index)) = found else {
            if name == "element" && hops.last() == Some(&PathStep::Elements) {
                continue;
            }
            return Err(missing());
        };
        hops.push(PathStep::Field(index));
        let mut field = &parent.fields[index];
        while let FieldKind::List(element) = &field.kind {
            hops.push(PathStep::Elements);
            field = element;
        }
        object = if let FieldKind::Object(o) = &field.kind {
            Some(o)
        } else {
            None
        };
        at = Some(field);
    }
    let field = at
        .filter(|f| !matches!(f.kind, FieldKind::NotDecoded))
        .ok_or_else(missing)?;
    Ok((hops, field))
}
