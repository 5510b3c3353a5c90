//! Note on a column, in words for people and for tools that show them.
//!
//! Invariant: nothing is decided by a note.

/// Meaning of a column, its unit, and values that it may have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnNote {
    /// Meaning, in a sentence or two.
    pub description: String,
    /// Unit of its numbers: `minutes`, `major units of currency`.
    pub unit: Option<String>,
    /// Values as they may stand there.
    pub examples: Vec<String>,
}

impl ColumnNote {
    /// A note of a description alone.
    pub fn of(description: impl Into<String>) -> Self {
        Self {
            description: description.into(),
            ..Self::default()
        }
    }

    /// The note in one text, for tools that show one comment a column: `When it is due. Unit: days. Examples: 14, 30.` A unit that the
    /// description names is not named again.
    pub fn comment(&self) -> String {
        let mut parts = Vec::new();
        if !self.description.is_empty() {
            parts.push(self.description.clone());
        }
        let is_new = |unit: &&String| !self.description.contains(unit.as_str());
        let unit = self.unit.iter().filter(is_new);
        parts.extend(unit.map(|unit| format!("Unit: {unit}.")));
        if !self.examples.is_empty() {
            parts.push(format!("Examples: {}.", self.examples.join(", ")));
        }
        parts.join(" ")
    }
}
