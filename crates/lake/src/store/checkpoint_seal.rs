//! The checksum of a checkpoint, which stands in the file itself, between its pages and its footer.
//!
//! Invariant: a checkpoint that says its checksum is read only if it has it. The Delta library writes neither checksums of pages nor one of the
//! footer, and a letter that has changed in a column's name would be a table without its files.
//!
//! Readers of Parquet find pages by their places, which are counted from the file's beginning, and the footer by its length, which is counted from the
//! end: what stands between is nobody's, and passed over by all.

use crate::store::footer::TRAILER;
use bytes::Bytes;
use object_store::PutPayload;
use xxhash_rust::xxh3::Xxh3;

/// First bytes of a seal; its checksum follows.
const MARK: [u8; 8] = *b"TillSeal";
/// Bytes of a seal.
const SEAL: usize = 16;

/// Place of the footer in a whole file.
fn footer_start(file: &[u8]) -> Option<usize> {
    let until = file.len().checked_sub(TRAILER)?;
    let length: [u8; 4] = file.get(until..until + 4)?.try_into().ok()?;
    until.checked_sub(usize::try_from(u32::from_le_bytes(length)).ok()?)
}

/// Checksum of a file but for its seal.
fn checksum(before: &[u8], after: &[u8]) -> [u8; 8] {
    let mut hash = Xxh3::new();
    hash.update(before);
    hash.update(after);
    hash.digest().to_le_bytes()
}

/// A checkpoint with its seal; as it is, where it does not end as Parquet does.
pub(crate) fn sealed(parts: impl IntoIterator<Item = Bytes>) -> PutPayload {
    let parts: Vec<Bytes> = parts.into_iter().collect();
    let file = Bytes::from(parts.concat());
    let Some(start) = footer_start(&file) else {
        return file.into();
    };
    let (before, after) = (file.slice(..start), file.slice(start..));
    let seal = [MARK, checksum(&before, &after)].concat();
    [before, Bytes::from(seal), after].into_iter().collect()
}

/// True if a whole checkpoint is what was written. One without a seal, of another program or an earlier version of this one, is taken.
pub(crate) fn is_sound(file: &[u8]) -> bool {
    let Some((before, after)) = footer_start(file).and_then(|start| file.split_at_checked(start))
    else {
        return true;
    };
    let Some((before, seal)) = before
        .len()
        .checked_sub(SEAL)
        .and_then(|at| before.split_at_checked(at))
    else {
        return true;
    };
    match seal.strip_prefix(&MARK) {
        Some(sum) => *sum == checksum(before, after),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use std::sync::Arc;

    fn file() -> Vec<u8> {
        let column = Arc::new(Int64Array::from_iter_values(0..1000));
        let rows = RecordBatch::try_from_iter([("number", column as _)]).unwrap();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        file
    }

    fn sealed_bytes(file: &[u8]) -> Vec<u8> {
        let (first, last) = file.split_at(file.len() / 3);
        let parts = [first, last].map(Bytes::copy_from_slice);
        sealed(parts).into_iter().collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_sealed_file_is_read_as_it_was() {
        let sealed = sealed_bytes(&file());
        assert_eq!(sealed.len(), file().len() + SEAL);
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(sealed)).unwrap();
        let rows: usize = reader
            .build()
            .unwrap()
            .map(|rows| rows.unwrap().num_rows())
            .sum();
        assert_eq!(rows, 1000);
    }

    #[test]
    fn whatever_byte_changes_is_noticed_but_in_the_mark_and_the_length() {
        let whole = sealed_bytes(&file());
        assert!(is_sound(&whole));
        let start = footer_start(&whole).unwrap();
        let spared = [
            start - SEAL..start - SEAL + MARK.len(),
            whole.len() - TRAILER..whole.len() - 4,
        ];
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 1 << (at % 8);
            let is_spared = spared.iter().any(|range| range.contains(&at));
            assert!(is_spared || !is_sound(&wrong), "{at}");
        }
    }

    #[test]
    fn what_has_no_seal_is_taken() {
        assert!(is_sound(&file()));
        for few in 0..40 {
            let zeros = vec![0; few];
            assert!(is_sound(&zeros));
            assert!(is_sound(&file()[..few]));
        }
        assert_eq!(sealed_bytes(b"short"), b"short");
    }
}
