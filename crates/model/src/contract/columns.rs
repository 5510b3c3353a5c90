//! Columns from properties as written: types, classes and treatments.
//!
//! Invariant: a column that comes out is complete by itself: its type can be stored exactly, what is never stored is required
//! nowhere, and a personal value says how it is treated. A number is a decimal with precision and scale, never a float.

use super::odcs::{OdcsCustomProperty, OdcsProperty, OdcsValue};
use super::problems::{ContractProblems, unknown};
use super::rules::{LocatedRule, read_rules};
use crate::note::ColumnNote;
use crate::table::{
    ColumnClass, ColumnKind, ColumnSpec, MisfitPolicy, TableRole, TimeFormat, ValueNormalisation,
};
use crate::yaml::{FileLocation, Spanned};

/// Deepest nesting of objects and arrays.
const MAX_DEPTH: usize = 16;

const LOGICAL_TYPES: [&str; 8] = [
    "string",
    "integer",
    "number",
    "boolean",
    "date",
    "timestamp",
    "object",
    "array",
];
const CLASSIFICATIONS: [&str; 6] = [
    "public",
    "internal",
    "confidential",
    "restricted",
    "personal",
    "secret",
];

/// State of the walk over a contract's columns.
pub(super) struct ColumnWalk<'p> {
    pub(super) problems: &'p mut ContractProblems,
    pub(super) role: TableRole,
    /// The quality rules met on the way.
    pub(super) rules: Vec<LocatedRule>,
    /// Names from the top to the column being read.
    path: Vec<String>,
}

impl<'p> ColumnWalk<'p> {
    pub(super) fn new(problems: &'p mut ContractProblems, role: TableRole) -> Self {
        Self {
            problems,
            role,
            rules: Vec::new(),
            path: Vec::new(),
        }
    }

    /// The columns of a table or object, in order, without those that are wrong.
    pub(super) fn columns(&mut self, written: &[Spanned<OdcsProperty>]) -> Vec<ColumnSpec> {
        let mut columns: Vec<ColumnSpec> = Vec::with_capacity(written.len());
        for property in written {
            let Some(name) = self.name(property) else {
                continue;
            };
            let json_name = property.value.physical_name.as_ref();
            let json_name = json_name.map_or_else(|| name.value.clone(), |n| n.value.clone());
            // Readers of the tables do not tell Id from id.
            if columns
                .iter()
                .any(|c| c.name.eq_ignore_ascii_case(&name.value))
            {
                self.problems.add(
                    name.referenced,
                    format!("two columns of one object are named `{}`", name.value),
                );
                continue;
            }
            if columns.iter().any(|c| c.json_name == json_name) {
                self.problems.add(
                    name.referenced,
                    format!("two columns read the same JSON key `{json_name}`"),
                );
                continue;
            }
            self.path.push(name.value.clone());
            columns.extend(self.column(property, name.value.clone(), json_name, name.referenced));
            self.path.pop();
        }
        columns
    }

    fn name<'w>(&mut self, property: &'w Spanned<OdcsProperty>) -> Option<&'w Spanned<String>> {
        let Some(name) = &property.value.name else {
            self.problems
                .add(property.referenced, "a property needs a `name`");
            return None;
        };
        let reserved =
            self.path.is_empty() && (name.value == "month" && self.role == TableRole::Source);
        if !is_name(&name.value) {
            self.problems.add(
                name.referenced,
                format!(
                    "`{}` cannot name a column: expected a letter, then letters, digits and underscores; the name in the JSON \
                     goes into `physicalName`",
                    name.value
                ),
            );
            return None;
        }
        if reserved {
            let text = "the column `month` is added to every source table; give this one another name, and `physicalName: month`";
            self.problems.add(name.referenced, text);
            return None;
        }
        Some(name)
    }

    fn column(
        &mut self,
        written: &Spanned<OdcsProperty>,
        name: String,
        json_name: String,
        at: FileLocation,
    ) -> Option<ColumnSpec> {
        let property = &written.value;
        if self.path.len() > 1 {
            self.top_level_only(property);
        }
        if let Some(values) = &property.values {
            let text = "`enum` is not checked; write a quality rule with the metric invalidValues";
            self.problems.add(values.referenced, text);
        }
        let options = self.own_options(property)?;
        let class = self.class(property, &options, at);
        let kind = self.kind(property, &options, at);
        let (class, kind) = (class?, kind?);
        self.agreement(property, &kind, class, at)?;
        for quality in &property.quality {
            self.rules.extend(read_rules(
                quality,
                &self.path,
                Some((&kind, class)),
                self.problems,
            ));
        }
        if property.unique.as_ref().is_some_and(|u| u.value) {
            let name = format!("{}_unique", self.path.join("_"));
            let place = property.unique.as_ref().map_or(at, |u| u.referenced);
            self.rules
                .push(LocatedRule::unique(name, vec![self.path.clone()], place));
        }
        let description = property
            .description
            .as_ref()
            .map(|d| d.value.trim().to_owned())
            .unwrap_or_default();
        let required = property.required.as_ref().is_some_and(|r| r.value);
        let is_open_text = class == ColumnClass::Open && kind == ColumnKind::Text;
        let on_misfit = self.on_misfit(&options, class, is_open_text, required);
        let restricted = property
            .classification
            .as_ref()
            .is_some_and(|c| c.value == "restricted");
        let blank_is_none = self.says(("blank", options.blank), is_open_text, "strings");
        let may_be_zero =
            class == ColumnClass::Open && matches!(kind, ColumnKind::Text | ColumnKind::Int);
        let zero_is_none = self.says(("zero", options.zero), may_be_zero, "strings and integers");
        let is_identifier = self.says(("identifier", options.identifier), is_open_text, "strings");
        let is_time = class == ColumnClass::Open && matches!(kind, ColumnKind::Timestamp(_));
        let ahead_is_none = self.says(("ahead", options.ahead), is_time, "timestamps");
        Some(ColumnSpec {
            name,
            json_name,
            kind,
            required,
            class,
            restricted,
            on_misfit,
            blank_is_none,
            zero_is_none,
            is_identifier,
            ahead_is_none,
            note: ColumnNote {
                description,
                unit: options.unit.map(|(text, _)| text.trim().to_owned()),
                examples: property
                    .examples
                    .iter()
                    .flatten()
                    .filter_map(|example| example.0.clone())
                    .collect(),
            },
        })
    }

    /// Policy for a value that does not fit, as the contract writes it.
    fn on_misfit(
        &mut self,
        own: &PropertyOptions<'_>,
        class: ColumnClass,
        is_open_text: bool,
        required: bool,
    ) -> Option<MisfitPolicy> {
        let (word, at) = own.misfit?;
        if self.role != TableRole::Source {
            self.problems.add(
                at,
                "`misfit` is for a source's columns: what unify makes fits its type or is an error",
            );
        } else if !class.is_stored() {
            self.problems
                .add(at, "`misfit` is for what is stored: this is never read");
        }
        match word {
            "reject" => Some(MisfitPolicy::Reject),
            "warn" if required => {
                self.problems.add(
                    at,
                    "what is required cannot be null: leave `misfit: warn` out, or `required`",
                );
                None
            }
            "warn" => Some(MisfitPolicy::Warn),
            "keep" if !is_open_text => {
                self.problems.add(
                    at,
                    "`misfit: keep` is for strings that are stored as they come: nothing else can hold another value's JSON",
                );
                None
            }
            "keep" => Some(MisfitPolicy::Keep),
            other => {
                self.problems.add(
                    at,
                    unknown("price of a misfit", other, &["reject", "warn", "keep"]),
                );
                None
            }
        }
    }

    /// True if the contract says something of a column's values: that one which says nothing is null, a blank text, a zero or a time to come, or that
    /// they are identifiers. `of` names the columns of which it may.
    fn says(
        &mut self,
        (property, said): (&str, Option<(&str, FileLocation)>),
        may_be: bool,
        of: &str,
    ) -> bool {
        let Some((word, at)) = said else {
            return false;
        };
        let (what, known) = match property {
            "zero" => ("meaning of a zero", "none"),
            "ahead" => ("meaning of a time that is still to come", "none"),
            "identifier" => ("spelling of an identifier", "canonical"),
            _ => ("meaning of a blank text", "none"),
        };
        if word != known {
            self.problems.add(at, unknown(what, word, &[known]));
        } else if self.role != TableRole::Source || !may_be {
            self.problems.add(
                at,
                format!(
                    "`{property}: {known}` is for the {of} of a source's table that are stored as they come"
                ),
            );
        }
        true
    }

    /// Reports keys that the standard allows everywhere and a table only at its top.
    fn top_level_only(&mut self, property: &OdcsProperty) {
        let marks = [
            ("primaryKey", property.primary_key.as_ref()),
            ("partitioned", property.partitioned.as_ref()),
            ("unique", property.unique.as_ref()),
        ];
        for (key, mark) in marks {
            if let Some(mark) = mark.filter(|m| m.value) {
                self.problems.add(
                    mark.referenced,
                    format!("`{key}` is for the table's own columns, not for nested ones"),
                );
            }
        }
    }

    fn own_options<'w>(&mut self, property: &'w OdcsProperty) -> Option<PropertyOptions<'w>> {
        let mut own = PropertyOptions::default();
        for OdcsCustomProperty {
            property: key,
            value,
            ..
        } in &property.custom_properties
        {
            let slot = match key.value.as_str() {
                "treatment" => &mut own.treatment,
                "normalise" => &mut own.normalise,
                "epochUnit" => &mut own.epoch_unit,
                "misfit" => &mut own.misfit,
                "blank" => &mut own.blank,
                "zero" => &mut own.zero,
                "identifier" => &mut own.identifier,
                "ahead" => &mut own.ahead,
                "unit" => &mut own.unit,
                other => {
                    let known = [
                        "treatment",
                        "normalise",
                        "epochUnit",
                        "misfit",
                        "blank",
                        "zero",
                        "identifier",
                        "ahead",
                        "unit",
                    ];
                    let text = unknown("custom property", other, &known);
                    self.problems.add(key.referenced, text);
                    continue;
                }
            };
            let Some(text) = value.value.as_text() else {
                self.problems
                    .add(value.referenced, format!("`{}` is a word", key.value));
                return None;
            };
            if slot.replace((text, value.referenced)).is_some() {
                self.problems.add(
                    key.referenced,
                    format!("the custom property `{}` stands here twice", key.value),
                );
            }
        }
        Some(own)
    }

    fn class(
        &mut self,
        property: &OdcsProperty,
        own: &PropertyOptions<'_>,
        at: FileLocation,
    ) -> Option<ColumnClass> {
        let classification = property.classification.as_ref();
        let word = classification.map_or("internal", |c| c.value.as_str());
        let at = classification.map_or(at, |c| c.referenced);
        let treatment = own.treatment.map(|(word, _)| word);
        let treated_at = own.treatment.map_or(at, |(_, at)| at);
        let class = match (word, treatment) {
            ("public" | "internal" | "confidential", None) => ColumnClass::Open,
            ("public" | "internal" | "confidential" | "secret", Some(_)) => {
                let text = format!(
                    "`treatment` is for classification personal or restricted, and this one is {word}"
                );
                self.problems.add(treated_at, text);
                return None;
            }
            ("secret", None) => ColumnClass::Secret,
            ("restricted", None | Some("drop")) | ("personal", Some("drop")) => {
                ColumnClass::Dropped
            }
            ("restricted", Some("keep")) => ColumnClass::Open,
            ("restricted", Some(other)) => {
                self.problems.add(
                    treated_at,
                    unknown("treatment of a restricted value", other, &["drop", "keep"]),
                );
                return None;
            }
            ("personal", Some("lastFour")) => ColumnClass::LastFour,
            ("personal", Some("pseudonym")) => {
                match own.normalise.map(|(word, at)| (normalise(word), word, at)) {
                    Some((Some(how), _, _)) => ColumnClass::Pseudonym(how),
                    Some((None, word, at)) => {
                        self.problems.add(
                            at,
                            unknown(
                                "way to normalise",
                                word,
                                &["text", "plate", "email", "card"],
                            ),
                        );
                        return None;
                    }
                    None => {
                        let text = "a pseudonym needs the custom property `normalise`: `text`, `plate`, `email` or `card`";
                        self.problems.add(treated_at, text);
                        return None;
                    }
                }
            }
            ("personal", Some(other)) => {
                let known = ["pseudonym", "lastFour", "drop"];
                self.problems.add(
                    treated_at,
                    unknown("treatment of a personal value", other, &known),
                );
                return None;
            }
            ("personal", None) => {
                let text = "a personal value needs the custom property `treatment`: `pseudonym`, `lastFour` or `drop`";
                self.problems.add(at, text);
                return None;
            }
            (other, _) => {
                self.problems
                    .add(at, unknown("classification", other, &CLASSIFICATIONS));
                return None;
            }
        };
        if let Some((_, at)) = own
            .normalise
            .filter(|_| !matches!(class, ColumnClass::Pseudonym(_)))
        {
            self.problems
                .add(at, "`normalise` is for `treatment: pseudonym` only");
        }
        Some(class)
    }

    fn kind(
        &mut self,
        property: &OdcsProperty,
        own: &PropertyOptions<'_>,
        at: FileLocation,
    ) -> Option<ColumnKind> {
        let Some(logical) = &property.logical_type else {
            self.problems.add(
                at,
                format!(
                    "`{}` needs a `logicalType`: {}",
                    self.here(),
                    LOGICAL_TYPES.join(", ")
                ),
            );
            return None;
        };
        let word = logical.value.as_str();
        if let (true, Some(properties)) = (word != "object", &property.properties) {
            self.problems.add(
                properties.referenced,
                "`properties` belong to `logicalType: object`",
            );
        }
        if let (true, Some(items)) = (word != "array", &property.items) {
            self.problems
                .add(items.referenced, "`items` belong to `logicalType: array`");
        }
        if let Some((_, at)) = own.epoch_unit.filter(|_| word != "timestamp") {
            self.problems
                .add(at, "`epochUnit` belongs to `logicalType: timestamp`");
        }
        if word != "timestamp" {
            self.options(property, word);
        }
        match word {
            "string" => match self.physical(property, &["string", "text", "binary"])? {
                Some("binary") if self.role == TableRole::Source => {
                    let text = "`binary` is for unified tables; a source's JSON has none: leave it a string";
                    self.problems.add(
                        property.physical_type.as_ref().map_or(at, |t| t.referenced),
                        text,
                    );
                    None
                }
                Some("binary") => Some(ColumnKind::Binary),
                _ => Some(ColumnKind::Text),
            },
            "integer" => self
                .physical(property, &["integer", "long", "bigint"])
                .map(|_| ColumnKind::Int),
            "boolean" => self
                .physical(property, &["boolean"])
                .map(|_| ColumnKind::Bool),
            "date" => self.physical(property, &["date"]).map(|_| ColumnKind::Date),
            "number" => self.decimal(property, logical.referenced),
            "timestamp" => {
                self.physical(property, &["timestamp"])?;
                self.time_format(property, own).map(ColumnKind::Timestamp)
            }
            "object" => {
                self.physical(property, &["object", "struct"])?;
                let written = property.properties.as_ref().filter(|p| !p.value.is_empty());
                let Some(written) = written else {
                    self.problems.add(
                        at,
                        format!("the object `{}` needs `properties`", self.here()),
                    );
                    return None;
                };
                self.deeper(at)?;
                Some(ColumnKind::Struct(self.columns(&written.value)))
            }
            "array" => {
                self.physical(property, &["array", "list"])?;
                let Some(items) = &property.items else {
                    self.problems
                        .add(at, format!("the array `{}` needs `items`", self.here()));
                    return None;
                };
                self.deeper(at)?;
                self.items(items)
                    .map(|element| ColumnKind::List(Box::new(element)))
            }
            "time" => {
                let text = "`time` cannot be stored; take timestamp, or string for a time of day";
                self.problems.add(logical.referenced, text);
                None
            }
            other => {
                self.problems.add(
                    logical.referenced,
                    unknown("logicalType", other, &LOGICAL_TYPES),
                );
                None
            }
        }
    }

    fn deeper(&mut self, at: FileLocation) -> Option<()> {
        if self.path.len() < MAX_DEPTH {
            return Some(());
        }
        self.problems.add(
            at,
            format!("objects and arrays nest deeper than {MAX_DEPTH}"),
        );
        None
    }

    /// The column of an array's items. Paths pass through arrays, so the path does not grow.
    fn items(&mut self, items: &Spanned<OdcsProperty>) -> Option<ColumnSpec> {
        let property = &items.value;
        let marks = [
            ("required", &property.required),
            ("unique", &property.unique),
            ("primaryKey", &property.primary_key),
            ("partitioned", &property.partitioned),
        ];
        for (key, mark) in marks {
            if let Some(mark) = mark.as_ref().filter(|m| m.value) {
                self.problems.add(
                    mark.referenced,
                    format!("`{key}` cannot be said of an array's items"),
                );
            }
        }
        let before = self.problems.count();
        let element = self.column(
            items,
            "element".to_owned(),
            "element".to_owned(),
            items.referenced,
        )?;
        if !element.class.is_stored() && self.problems.count() == before {
            let at = property
                .classification
                .as_ref()
                .map_or(items.referenced, |c| c.referenced);
            self.problems.add(
                at,
                "items that are never stored: classify the array itself instead",
            );
            return None;
        }
        Some(element)
    }

    /// The physical type, where it is one of those that fit; anything else would promise what is not kept.
    fn physical<'w>(
        &mut self,
        property: &'w OdcsProperty,
        fitting: &[&str],
    ) -> Option<Option<&'w str>> {
        let Some(physical) = &property.physical_type else {
            return Some(None);
        };
        if fitting.contains(&physical.value.as_str()) {
            return Some(Some(&physical.value));
        }
        self.problems.add(
            physical.referenced,
            unknown("physicalType", &physical.value, fitting),
        );
        None
    }

    fn decimal(&mut self, property: &OdcsProperty, at: FileLocation) -> Option<ColumnKind> {
        let Some(physical) = &property.physical_type else {
            let text = "a number needs `physicalType: decimal(precision,scale)`, for example decimal(18,4): nothing passes through a float";
            self.problems.add(at, text);
            return None;
        };
        match parse_decimal(&physical.value) {
            Some((precision, scale)) if (1..=38).contains(&precision) && scale <= precision => {
                Some(ColumnKind::Decimal {
                    precision,
                    scale: i8::try_from(scale).ok()?,
                })
            }
            Some((precision, scale)) => {
                let text = format!(
                    "decimal({precision},{scale}) does not fit: expected 1 to 38 digits in all, and at most as many after the point"
                );
                self.problems.add(physical.referenced, text);
                None
            }
            None => {
                let text = format!(
                    "the physicalType of a number is `decimal(precision,scale)`, found `{}`",
                    physical.value
                );
                self.problems.add(physical.referenced, text);
                None
            }
        }
    }

    /// Refuses options that would have to be checked and are not. A string's `format` and a date's ISO form say nothing new.
    fn options(&mut self, property: &OdcsProperty, logical: &str) {
        for (key, value) in &property.logical_type_options {
            let harmless = match (logical, key.as_str()) {
                ("string", "format") => true,
                ("date", "format") => value.value.as_text() == Some("yyyy-MM-dd"),
                _ => false,
            };
            if !harmless {
                let text = format!(
                    "the option `{key}` of a {logical} is not checked; leave it out, or write a quality rule"
                );
                self.problems.add(value.referenced, text);
            }
        }
    }

    fn time_format(
        &mut self,
        property: &OdcsProperty,
        own: &PropertyOptions<'_>,
    ) -> Option<TimeFormat> {
        let (mut has_offset, mut zone) = (None, None);
        for (key, value) in &property.logical_type_options {
            match (key.as_str(), &value.value) {
                ("timezone", OdcsValue::Bool(yes)) => has_offset = Some((*yes, value.referenced)),
                ("defaultTimezone", OdcsValue::Text(name)) => zone = Some((name, value.referenced)),
                ("timezone", _) => self.problems.add(
                    value.referenced,
                    "`timezone` is true (a time has its offset) or false",
                ),
                ("defaultTimezone", _) => self.problems.add(
                    value.referenced,
                    "`defaultTimezone` is an IANA time zone name",
                ),
                (other, _) => {
                    let text = format!(
                        "the option `{other}` of a timestamp is not read: times are RFC 3339, or numbers by `epochUnit`; known are \
                         `timezone` and `defaultTimezone`"
                    );
                    self.problems.add(value.referenced, text);
                }
            }
        }
        if let Some((unit, at)) = own.epoch_unit {
            if let Some(at) = has_offset.map(|(_, at)| at).or(zone.map(|(_, at)| at)) {
                self.problems.add(
                    at,
                    "a number of seconds has no time zone: leave this out beside `epochUnit`",
                );
            }
            return match unit {
                "seconds" => Some(TimeFormat::EpochSeconds),
                "millis" => Some(TimeFormat::EpochMillis),
                other => {
                    self.problems
                        .add(at, unknown("epochUnit", other, &["seconds", "millis"]));
                    None
                }
            };
        }
        match (has_offset, zone) {
            (None | Some((true, _)), None) => Some(TimeFormat::Offset),
            (Some((false, _)), Some((name, at))) => {
                if crate::time_zone::IanaZone::get(name).is_none() {
                    self.problems.add(
                        at,
                        format!("`{name}` is not an IANA time zone name, such as Europe/Berlin"),
                    );
                    return None;
                }
                Some(TimeFormat::Zone(name.clone()))
            }
            (Some((false, at)), None) => {
                self.problems
                    .add(at, "times without an offset need `defaultTimezone`: the IANA name of the zone they are in");
                None
            }
            (_, Some((_, at))) => {
                self.problems
                    .add(at, "`defaultTimezone` is for times without an offset: say `timezone: false` beside it");
                None
            }
        }
    }

    /// Checks that type, class and requirement agree.
    fn agreement(
        &mut self,
        property: &OdcsProperty,
        kind: &ColumnKind,
        class: ColumnClass,
        at: FileLocation,
    ) -> Option<()> {
        let at_class = property
            .classification
            .as_ref()
            .map_or(at, |c| c.referenced);
        if matches!(class, ColumnClass::Pseudonym(_) | ColumnClass::LastFour)
            && *kind != ColumnKind::Text
        {
            self.problems.add(
                at_class,
                "pseudonyms and last four characters are made of strings only; drop it, or make it a string",
            );
            return None;
        }
        if !class.is_stored() {
            if let Some(required) = property.required.as_ref().filter(|r| r.value) {
                self.problems.add(
                    required.referenced,
                    "what is never stored cannot be required",
                );
                return None;
            }
            return Some(());
        }
        if let ColumnKind::Struct(columns) = kind {
            // Without columns, each of them was wrong and has been named.
            if !columns.is_empty() && columns.iter().all(|c| !c.class.is_stored()) {
                let text = format!(
                    "nothing of the object `{}` is stored: classify the object itself instead",
                    self.here()
                );
                self.problems.add(at, text);
                return None;
            }
        }
        Some(())
    }

    fn here(&self) -> String {
        self.path.join(".")
    }
}

/// Tillhouse's custom properties of one property, with their places.
#[derive(Default)]
struct PropertyOptions<'w> {
    treatment: Option<(&'w str, FileLocation)>,
    normalise: Option<(&'w str, FileLocation)>,
    epoch_unit: Option<(&'w str, FileLocation)>,
    misfit: Option<(&'w str, FileLocation)>,
    blank: Option<(&'w str, FileLocation)>,
    zero: Option<(&'w str, FileLocation)>,
    identifier: Option<(&'w str, FileLocation)>,
    ahead: Option<(&'w str, FileLocation)>,
    unit: Option<(&'w str, FileLocation)>,
}

fn normalise(word: &str) -> Option<ValueNormalisation> {
    Some(match word {
        "text" => ValueNormalisation::Text,
        "plate" => ValueNormalisation::Plate,
        "email" => ValueNormalisation::Email,
        "card" => ValueNormalisation::Card,
        _ => return None,
    })
}

/// A letter, then letters, digits and underscores, all ASCII: no engine needs quotes for it. Names that start with an
/// underscore are Tillhouse's own.
pub(super) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Precision and scale of `decimal(p,s)`; `decimal(p)` has no digits after the point.
fn parse_decimal(text: &str) -> Option<(u8, u8)> {
    let inside = text.trim().strip_prefix("decimal(")?.strip_suffix(')')?;
    let (precision, scale) = inside.split_once(',').unwrap_or((inside, "0"));
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}
