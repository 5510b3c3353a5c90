//! The checksum of a checkpoint, which stands in the file itself, between its pages and its footer.
//!
//! Invariant: a checkpoint that says its checksum is read only if it has it. The Delta library writes neither checksums of pages nor one of the
//! footer, and a letter that has changed in a column's name would be a table without its files.
//!
//! Readers of Parquet find pages by their places, which are counted from the file's beginning, and the footer by its length, which is counted from the
//! end: what stands between is nobody's, and passed over by all.

use crate::store::damaged_key::is_damaged;
use crate::store::footer::TRAILER;
use bytes::Bytes;
use object_store::PutPayload;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use xxhash_rust::xxh3::Xxh3;

/// First bytes of a seal; its checksum follows.
const MARK: [u8; 8] = *b"TillSeal";
/// The letters that a Parquet file begins and ends with.
const LETTERS: &[u8] = b"PAR1";
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
        return !is_marked(file);
    };
    let Some((before, seal)) = before
        .len()
        .checked_sub(SEAL)
        .and_then(|at| before.split_at_checked(at))
    else {
        return !is_marked(file);
    };
    match seal.strip_prefix(&MARK) {
        Some(sum) => *sum == checksum(before, after),
        None => {
            let mark = seal.get(..MARK.len());
            !mark.is_some_and(|mark| is_damaged(mark, &MARK)) && !is_marked(file)
        }
    }
}

/// Damage of a whole checkpoint; `None` where nothing is, as far as the file itself tells. One without a seal, whose seal may be what is damaged, is
/// read to its end.
pub(crate) fn damage_of(file: &Bytes) -> Option<&'static str> {
    if file.len() < LETTERS.len() + TRAILER
        || !file.starts_with(LETTERS)
        || !file.ends_with(LETTERS)
    {
        return Some("is cut, or no checkpoint");
    }
    let is_whole = is_sound(file) && (is_marked(file) || is_readable(file));
    (!is_whole).then_some("is not what was written")
}

/// True if a Parquet file gives all its rows.
fn is_readable(file: &Bytes) -> bool {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone());
    let reader = reader.and_then(ParquetRecordBatchReaderBuilder::build);
    match reader.map(|mut rows| rows.find_map(std::result::Result::err)) {
        Ok(None) => true,
        // Another program's, in a compression that this one was built without.
        Ok(Some(error)) => error.to_string().contains("Disabled feature"),
        Err(error) => error.to_string().contains("Disabled feature"),
    }
}

/// True if a seal stands somewhere in a file. It has none where it should be: then the length of its footer, by which the place is told, is another one.
fn is_marked(file: &[u8]) -> bool {
    file.windows(MARK.len()).any(|part| *part == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;
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
    fn whatever_bit_flips_is_noticed() {
        let whole = sealed_bytes(&file());
        assert!(is_sound(&whole));
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 1 << (at % 8);
            assert!(!is_sound(&wrong), "{at}");
        }
        let start = footer_start(&whole).unwrap();
        let mark = start - SEAL..start - SEAL + MARK.len();
        let length = whole.len() - TRAILER..whole.len() - 4;
        for at in mark.chain(length) {
            for bit in 0..8 {
                let mut wrong = whole.clone();
                wrong[at] ^= 1 << bit;
                assert!(!is_sound(&wrong), "bit {bit} of {at}");
            }
        }
    }

    #[test]
    fn a_checkpoint_that_is_cut_is_damaged_and_so_is_one_that_is_not_what_was_written() {
        let damage_of = |file: &[u8]| damage_of(&Bytes::copy_from_slice(file));
        let whole = sealed_bytes(&file());
        assert_eq!(damage_of(&whole), None);
        assert_eq!(damage_of(&file()), None, "it says nothing of itself");
        for cut in [0, 3, whole.len() / 2, whole.len() - 1] {
            assert_eq!(
                damage_of(&whole[..cut]),
                Some("is cut, or no checkpoint"),
                "{cut}"
            );
        }
        let mut wrong = whole.clone();
        wrong[100] ^= 1;
        assert_eq!(damage_of(&wrong), Some("is not what was written"));
        // The seal itself is gone, with everything else.
        let end = whole.len() - 12;
        let mut wrong = whole;
        wrong[12..end].iter_mut().for_each(|byte| *byte ^= 0x55);
        assert_eq!(damage_of(&wrong), Some("is not what was written"));
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
