//! Definition and repetition levels of a nested column, from Arrow's bitmaps and offsets.
//!
//! Invariant: a slot is a place of a value or of a missing one. Levels are worked out once for every struct and list and shared by all leaves
//! inside it.

use arrow::buffer::{NullBuffer, OffsetBuffer};
use std::rc::Rc;

/// Elements of an array that stand in the slots that are not empty, in order.
#[derive(Debug, Clone)]
pub(crate) enum Selection {
    Range(usize, usize),
    Each(Rc<Vec<u32>>),
}

/// Slots of one level of nesting, with their definition and repetition levels.
#[derive(Debug, Clone)]
pub(crate) struct NestingLevels {
    /// Count of slots, empty ones included.
    pub(crate) count: usize,
    /// The definition level of a slot that is not empty.
    pub(crate) level: u8,
    /// The definition level of each; `None`: none is empty.
    pub(crate) definition: Option<Rc<Vec<u8>>>,
    pub(crate) list_level: u8,
    /// The repetition level of each; `None`: nothing is repeated.
    pub(crate) repetition: Option<Rc<Vec<u8>>>,
    pub(crate) selection: Selection,
}

impl NestingLevels {
    /// The rows of a batch.
    pub(crate) fn rows(count: usize) -> Self {
        Self {
            count,
            level: 0,
            definition: None,
            list_level: 0,
            repetition: None,
            selection: Selection::Range(0, count),
        }
    }

    /// The slots whose value is there, of an array that may have nulls.
    pub(crate) fn present(&self, nullable: bool, nulls: Option<&NullBuffer>) -> Self {
        if !nullable {
            return self.clone();
        }
        let (before, level) = (self.level, self.level + 1);
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else {
            let raised = |levels: &Rc<Vec<u8>>| {
                Rc::new(
                    levels
                        .iter()
                        .map(|l| if *l == before { level } else { *l })
                        .collect::<Vec<_>>(),
                )
            };
            return Self {
                level,
                definition: self.definition.as_ref().map(raised),
                ..self.clone()
            };
        };
        let mut gathered = SelectionBuilder::default();
        let mut definition = Vec::with_capacity(self.count);
        self.each(|slot| {
            definition.push(match slot {
                Ok(pick) if nulls.is_valid(pick) => {
                    gathered.add(pick, 1);
                    level
                }
                Ok(_) => before,
                Err(level) => level,
            });
        });
        Self {
            level,
            definition: Some(Rc::new(definition)),
            selection: gathered.build(),
            ..self.clone()
        }
    }

    /// The slots of the elements of lists, an empty one for every list that is empty or not there.
    pub(crate) fn elements(
        &self,
        nullable: bool,
        nulls: Option<&NullBuffer>,
        offsets: &OffsetBuffer<i32>,
    ) -> Self {
        let lists = self.present(nullable, nulls);
        let (level, list_level) = (lists.level + 1, lists.list_level + 1);
        let mut gathered = SelectionBuilder::default();
        let mut definition = Vec::with_capacity(lists.count * 2);
        let mut repetition = Vec::with_capacity(lists.count * 2);
        let mut at = 0;
        lists.each(|slot| {
            let outer = lists
                .repetition
                .as_ref()
                .and_then(|levels| levels.get(at))
                .copied()
                .unwrap_or(0);
            at += 1;
            repetition.push(outer);
            let (from, count) = slot.map_or((0, 0), |list| bounds(offsets, list));
            if count == 0 {
                definition.push(slot.err().unwrap_or(lists.level));
            } else {
                gathered.add(from, count);
                definition.resize(definition.len() + count, level);
                repetition.resize(repetition.len() + count - 1, list_level);
            }
        });
        Self {
            count: definition.len(),
            level,
            definition: Some(Rc::new(definition)),
            list_level,
            repetition: Some(Rc::new(repetition)),
            selection: gathered.build(),
        }
    }

    /// Calls with the element that stands in each slot, or with the level of a slot that is empty.
    fn each(&self, mut call: impl FnMut(Result<usize, u8>)) {
        let mut next = 0;
        let mut pick = || {
            next += 1;
            match &self.selection {
                Selection::Range(from, _) => from + next - 1,
                Selection::Each(picks) => picks.get(next - 1).map_or(0, |pick| *pick as usize),
            }
        };
        match &self.definition {
            None => (0..self.count).for_each(|_| call(Ok(pick()))),
            Some(levels) => levels.iter().for_each(|l| {
                call(if *l == self.level {
                    Ok(pick())
                } else {
                    Err(*l)
                })
            }),
        }
    }
}

/// The first element of a list and how many it has.
fn bounds(offsets: &OffsetBuffer<i32>, list: usize) -> (usize, usize) {
    let at = |i: usize| {
        offsets
            .get(i)
            .map_or(0, |offset| usize::try_from(*offset).unwrap_or(0))
    };
    (at(list), at(list + 1).saturating_sub(at(list)))
}

/// Builder of a selection: neighbours are a range until one is left out.
#[derive(Default)]
struct SelectionBuilder {
    from: usize,
    count: usize,
    each: Vec<u32>,
}

impl SelectionBuilder {
    fn add(&mut self, from: usize, count: usize) {
        if self.each.is_empty() {
            if self.count == 0 {
                self.from = from;
            }
            if self.from + self.count == from {
                self.count += count;
                return;
            }
            self.each.extend(places(self.from, self.count));
        }
        self.each.extend(places(from, count));
    }

    fn build(self) -> Selection {
        if self.each.is_empty() {
            Selection::Range(self.from, self.count)
        } else {
            Selection::Each(Rc::new(self.each))
        }
    }
}

fn places(from: usize, count: usize) -> impl Iterator<Item = u32> {
    (from..from + count).map(|place| u32::try_from(place).unwrap_or(u32::MAX))
}
