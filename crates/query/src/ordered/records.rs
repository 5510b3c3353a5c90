//! Values of groups with their sorting keys: the bytes in which they are held, handed on and spilled.
//!
//! Invariant: a record is read back as it was written, and is the same in memory, in a partial result and on disk. Records of equal keys keep the order in which they were taken in.
//!
//! ```text
//!   record   length of the key, length of the value, key, value
//!   chunk    records one after the other; a new one is begun where the last is full, so that none is ever copied to make room
//! ```

use super::keys::KeyLayout;
use super::sort::{self, RowSorter};
use datafusion::common::{Result, exec_datafusion_err, internal_datafusion_err};

/// Bytes of a length.
const LENGTH: usize = size_of::<u32>();
/// Bytes of a record before its key.
const HEADER: usize = 2 * LENGTH;
/// Bytes of a chunk, at least and at most; one record may be longer.
const SMALLEST_CHUNK: usize = 4 << 10;
const LARGEST_CHUNK: usize = 1 << 20;

/// A value and its key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

/// A record of a group, and where it lies.
#[derive(Debug, Clone, Copy)]
struct HeldRow {
    at: usize,
    chunk: u32,
    group: u32,
}

/// Records of all groups, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct HeldRecords {
    chunks: Vec<Vec<u8>>,
    rows: Vec<HeldRow>,
    /// Bytes of the chunks, with room for more.
    capacity: usize,
    /// Bytes of the records.
    bytes: usize,
    /// Bytes of their values.
    values: usize,
}

/// Rows of the first groups by group and key.
#[derive(Debug)]
pub(super) struct SortedRows {
    rows: Vec<u32>,
    /// End of each group.
    ends: Vec<usize>,
}

impl SortedRows {
    /// The rows of a group, by their keys.
    pub(super) fn of_group(&self, group: usize) -> &[u32] {
        let end_of = |group: usize| self.ends.get(group).copied().unwrap_or(self.rows.len());
        let from = group.checked_sub(1).map_or(0, end_of);
        self.rows.get(from..end_of(group)).unwrap_or_default()
    }

    /// The rows of all groups.
    pub(super) fn all(&self) -> &[u32] {
        &self.rows
    }

    pub(super) fn groups(&self) -> usize {
        self.ends.len()
    }
}

fn row_number(row: usize) -> Result<u32> {
    u32::try_from(row).map_err(|_| exec_datafusion_err!("more values than can be numbered"))
}

fn number_of_length(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| exec_datafusion_err!("a value is longer than 4 GiB"))
}

/// The length that stands at a place.
fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..)?.first_chunk::<LENGTH>()?;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

/// Bytes of the record at a place; `None` where it is cut off.
fn record_length(bytes: &[u8], at: usize) -> Option<usize> {
    let (key, value) = (length_at(bytes, at)?, length_at(bytes, at + LENGTH)?);
    let length = HEADER.checked_add(key)?.checked_add(value)?;
    (bytes.len() - at >= length).then_some(length)
}

impl HeldRecords {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes in a value with the parts of its key.
    pub(super) fn push(&mut self, group: u32, key: [&[u8]; 3], value: &[u8]) -> Result<()> {
        let key_length: usize = key.iter().map(|part| part.len()).sum();
        let lengths = [
            number_of_length(key_length)?,
            number_of_length(value.len())?,
        ];
        let (at, chunk) = self.room(HEADER + key_length + value.len());
        for length in lengths {
            chunk.extend_from_slice(&length.to_le_bytes());
        }
        for part in key {
            chunk.extend_from_slice(part);
        }
        chunk.extend_from_slice(value);
        self.index(group, at, key_length, value.len())
    }

    /// Takes in the bytes of whole records.
    pub(super) fn push_records(&mut self, group: u32, records: &[u8]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let (at, chunk) = self.room(records.len());
        chunk.extend_from_slice(records);
        self.index_from(group, at)
    }

    /// Takes over a buffer of whole records.
    pub(super) fn adopt(&mut self, group: u32, records: Vec<u8>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.capacity += records.capacity();
        self.chunks.push(records);
        self.index_from(group, 0)
    }

    /// A chunk with room for so many bytes, and the place behind what it holds.
    fn room(&mut self, length: usize) -> (usize, &mut Vec<u8>) {
        let is_full = (self.chunks.last()).is_none_or(|last| last.capacity() - last.len() < length);
        if is_full {
            let usual = self.bytes.clamp(SMALLEST_CHUNK, LARGEST_CHUNK);
            let room = usual.max(length);
            self.chunks.push(Vec::with_capacity(room));
            self.capacity += room;
        }
        // There is one by now.
        let last = self.chunks.len() - 1;
        let chunk = &mut self.chunks[last];
        (chunk.len(), chunk)
    }

    /// Notes a record of the last chunk.
    fn index(&mut self, group: u32, at: usize, key: usize, value: usize) -> Result<()> {
        let chunk = row_number(self.chunks.len() - 1)?;
        self.next_row()?;
        self.rows.push(HeldRow { at, chunk, group });
        self.bytes += HEADER + key + value;
        self.values += value;
        Ok(())
    }

    /// Notes the records of the last chunk from a place on.
    fn index_from(&mut self, group: u32, mut at: usize) -> Result<()> {
        let cut = || internal_datafusion_err!("a record of an aggregate is cut off");
        loop {
            let Some(chunk) = self.chunks.last().filter(|chunk| at < chunk.len()) else {
                return Ok(());
            };
            let length = record_length(chunk, at).ok_or_else(cut)?;
            let key = length_at(chunk, at).ok_or_else(cut)?;
            self.index(group, at, key, length - HEADER - key)?;
            at += length;
        }
    }

    /// The bytes of a record.
    pub(super) fn bytes_of(&self, row: u32) -> &[u8] {
        let Some(row) = self.rows.get(row as usize) else {
            return &[];
        };
        let chunk = &self.chunks[row.chunk as usize];
        let length = record_length(chunk, row.at).unwrap_or(0);
        &chunk[row.at..row.at + length]
    }

    pub(super) fn record(&self, row: u32) -> Record<'_> {
        let bytes = self.bytes_of(row);
        let key = length_at(bytes, 0).unwrap_or(0);
        let (key, value) = bytes.get(HEADER..).unwrap_or_default().split_at(key);
        Record { key, value }
    }

    /// The rows of the first groups by group, then by key, and among equal keys as they came.
    pub(super) fn sorted(&self, groups: usize, layout: KeyLayout) -> SortedRows {
        let mut places = vec![0_usize; groups];
        for row in &self.rows {
            if let Some(count) = places.get_mut(row.group as usize) {
                *count += 1;
            }
        }
        let mut next = 0;
        for place in &mut places {
            next += std::mem::replace(place, next);
        }
        let mut rows = vec![0; next];
        for (number, row) in (0_u32..).zip(&self.rows) {
            if let Some(place) = places.get_mut(row.group as usize) {
                rows[*place] = number;
                *place += 1;
            }
        }
        let mut sorter = RowSorter::new(layout.tail_descends());
        let mut from = 0;
        for end in &places {
            sorter.sort(&mut rows[from..*end], |row| layout.parts(self.record(row)));
            from = *end;
        }
        SortedRows { rows, ends: places }
    }

    /// Number of the next record that is taken in.
    pub(super) fn next_row(&self) -> Result<u32> {
        row_number(self.rows.len())
    }

    /// The rows of groups from a number on, in the order in which [`Self::split_off`] numbers them anew.
    pub(super) fn rows_from(&self, first: u32) -> Vec<u32> {
        let rows = (0_u32..).zip(&self.rows);
        let rows = rows.filter(|(_, row)| row.group >= first);
        rows.map(|(number, _)| number).collect()
    }

    /// Takes out the records of groups from a number on; they become the first ones.
    pub(super) fn split_off(&self, first: u32) -> Result<Self> {
        let mut others = Self::default();
        for (number, row) in (0_u32..).zip(&self.rows) {
            if let Some(group) = row.group.checked_sub(first) {
                others.push_records(group, self.bytes_of(number))?;
            }
        }
        Ok(others)
    }

    /// Bytes of the values.
    pub(super) fn value_bytes(&self) -> usize {
        self.values
    }

    /// Bytes of the records.
    pub(super) fn record_bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes in memory, with the numbers of the sorted rows.
    pub(super) fn size(&self) -> usize {
        let chunks = self.chunks.capacity() * size_of::<Vec<u8>>();
        let rows = self.rows.capacity() * size_of::<HeldRow>();
        self.capacity + chunks + rows + self.rows.len() * size_of::<u32>()
    }

    /// Bytes that sorting takes beside them.
    pub(super) fn sorting(&self) -> usize {
        self.rows.len() * sort::BYTES_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(values: &[(u32, &str, &str)]) -> HeldRecords {
        let mut records = HeldRecords::default();
        for (group, key, value) in values {
            let (first, last) = key.as_bytes().split_at(key.len() / 2);
            records
                .push(*group, [first, &[], last], value.as_bytes())
                .unwrap();
        }
        records
    }

    fn values(records: &HeldRecords, rows: &[u32]) -> Vec<String> {
        let text = |row: &u32| String::from_utf8(records.record(*row).value.to_vec()).unwrap();
        rows.iter().map(text).collect()
    }

    #[test]
    fn records_come_out_by_group_and_key_through_every_form() {
        let long = "x".repeat(3 << 20);
        let some = [
            (1, "b", "1b"),
            (0, "k", long.as_str()),
            (1, "a", "1a"),
            (0, "", ""),
            (3, "c", "3c"),
        ];
        let held = records(&some);
        let mut copied = HeldRecords::default();
        for (number, (group, ..)) in (0_u32..).zip(&some) {
            copied.push_records(*group, held.bytes_of(number)).unwrap();
        }
        for held in [&held, &copied] {
            let sorted = held.sorted(3, KeyLayout::default());
            assert_eq!(values(held, sorted.of_group(0)), ["", long.as_str()]);
            assert_eq!(values(held, sorted.of_group(1)), ["1a", "1b"]);
            assert!(sorted.of_group(2).is_empty() && sorted.of_group(3).is_empty());
            let others = held.split_off(1).unwrap();
            assert_eq!(others.len(), 3);
            let sorted = others.sorted(3, KeyLayout::default());
            assert_eq!(values(&others, sorted.all()), ["1a", "1b", "3c"]);
        }
        assert!(held.size() > 3 << 20 && held.value_bytes() < held.record_bytes());
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let held = records(&[(0, "key", "value")]);
        let bytes = held.bytes_of(0);
        for length in 1..bytes.len() {
            let mut others = HeldRecords::default();
            assert!(others.push_records(0, &bytes[..length]).is_err());
        }
    }
}
