//! Values of large groups on disk, for aggregates that hold all values of a group: pieces of one, in the bytes that the aggregate holds them in.
//!
//! Invariant: a file lives for as long as the plan whose call wrote it, and is gone with it, after an error and a cancelled query too. A partial result names its pieces instead of holding
//! their bytes, so that DataFusion, which spills and merges partial results by groups, moves a few bytes for a group of any size.
//!
//! Rejected: values in the partial results that DataFusion spills. It merges batches of thousands of groups, of sixteen files at a time: a few large groups are then all there is, many times
//! over, and a query that had room for its result failed for the merge.

use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::spill_file::{SpillFile, SpillWriter};
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a group from which on it is written to a file of its own.
pub(crate) const LARGE_GROUP: usize = 1 << 10;

/// Place of what is spilled, and the memory of all queries.
#[derive(Debug, Clone)]
pub(crate) struct ValueSpill {
    /// Manager of the files.
    pub(crate) disk: Arc<DiskManager>,
    /// Pool that large results are asked of.
    pub(crate) pool: Arc<dyn MemoryPool>,
}

/// Files of one call of a plan.
#[derive(Debug)]
pub(crate) struct ValueFiles {
    pub(crate) spill: ValueSpill,
    files: Mutex<Vec<Arc<ValueFile>>>,
}

/// One file; pieces are written behind each other.
pub(crate) struct ValueFile {
    number: u64,
    file: Arc<dyn SpillFile>,
    open: Mutex<OpenFile>,
}

/// Both ends of a file.
struct OpenFile {
    writer: BufWriter<Box<dyn SpillWriter>>,
    written: u64,
    reader: Option<File>,
}

/// A piece of a group in a file. Pieces of one file are in the order in which they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Piece {
    file: u64,
    from: u64,
    length: u64,
    rows: u64,
    values: u64,
}

fn number(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Piece {
    /// Bytes of a piece in a partial result.
    pub(crate) const BYTES: usize = 5 * Self::NUMBER;
    const NUMBER: usize = size_of::<u64>();

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let numbers = [self.file, self.from, self.length, self.rows, self.values];
        let mut bytes = [0; Self::BYTES];
        for (place, number) in bytes.chunks_exact_mut(Self::NUMBER).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// The pieces that a partial result names.
    pub(crate) fn all_of(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.chunks_exact(Self::BYTES).map(|piece| {
            let number = |at: usize| {
                let mut number = [0; Self::NUMBER];
                number.copy_from_slice(&piece[at * Self::NUMBER..(at + 1) * Self::NUMBER]);
                u64::from_le_bytes(number)
            };
            Self {
                file: number(0),
                from: number(1),
                length: number(2),
                rows: number(3),
                values: number(4),
            }
        })
    }

    /// Bytes of its records.
    pub(crate) fn length(self) -> usize {
        bytes(self.length)
    }

    /// Number of its records.
    pub(crate) fn rows(self) -> usize {
        bytes(self.rows)
    }

    /// Bytes of its values.
    pub(crate) fn values(self) -> usize {
        bytes(self.values)
    }
}

impl fmt::Debug for ValueFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueFile").finish_non_exhaustive()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ValueFiles {
    pub(crate) fn new(spill: ValueSpill) -> Self {
        Self {
            spill,
            files: Mutex::default(),
        }
    }

    /// A new file.
    pub(crate) fn create(&self) -> Result<Arc<ValueFile>> {
        let file = self.spill.disk.create_tmp_file("values of groups")?;
        let writer = BufWriter::new(file.open_writer()?);
        let mut files = lock(&self.files);
        let file = Arc::new(ValueFile {
            number: number(files.len()),
            file,
            open: Mutex::new(OpenFile {
                writer,
                written: 0,
                reader: None,
            }),
        });
        files.push(Arc::clone(&file));
        Ok(file)
    }

    /// The records of a piece.
    pub(crate) fn read(&self, piece: Piece) -> Result<Vec<u8>> {
        let file = lock(&self.files).get(bytes(piece.file)).map(Arc::clone);
        let file = file.ok_or_else(|| internal_datafusion_err!("a spilled group has no file"))?;
        file.read(piece)
    }

    /// Paths of the files.
    #[cfg(test)]
    pub(crate) fn paths(&self) -> Vec<std::path::PathBuf> {
        let files = lock(&self.files);
        let path = |file: &Arc<ValueFile>| file.file.path().unwrap().to_owned();
        files.iter().map(path).collect()
    }
}

impl ValueFile {
    /// Writes the records of a piece, whose values take so many bytes, behind the others.
    pub(crate) fn write<R: AsRef<[u8]>>(
        &self,
        records: impl Iterator<Item = R>,
        values: usize,
    ) -> Result<Piece> {
        let mut open = lock(&self.open);
        let (from, mut rows) = (open.written, 0);
        for record in records {
            let record = record.as_ref();
            open.writer.write_all(record)?;
            open.written += number(record.len());
            rows += 1;
        }
        Ok(Piece {
            file: self.number,
            from,
            length: open.written - from,
            rows,
            values: number(values),
        })
    }

    fn read(&self, piece: Piece) -> Result<Vec<u8>> {
        let mut open = lock(&self.open);
        // What was written may stand in the buffer still.
        open.writer.flush()?;
        let reader = match &mut open.reader {
            Some(reader) => reader,
            none => {
                let path = self.file.path();
                let path =
                    path.ok_or_else(|| internal_datafusion_err!("a spilled file has no path"))?;
                none.insert(File::open(path)?)
            }
        };
        reader.seek(SeekFrom::Start(piece.from))?;
        let mut records = vec![0; piece.length()];
        reader.read_exact(&mut records)?;
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::UnboundedMemoryPool;

    #[test]
    fn pieces_are_read_as_they_were_written_and_go_with_their_call() {
        let files = ValueFiles::new(ValueSpill {
            disk: Arc::new(DiskManager::builder().build().unwrap()),
            pool: Arc::new(UnboundedMemoryPool::default()),
        });
        let (one, other) = (files.create().unwrap(), files.create().unwrap());
        let first = one.write([&b"ab"[..], b"c"].into_iter(), 2).unwrap();
        assert_eq!(files.read(first).unwrap(), b"abc");
        assert_eq!((first.length(), first.rows(), first.values()), (3, 2, 2));
        let beside = other.write([&b"xyz"[..]].into_iter(), 3).unwrap();
        let second = one.write([&b"defg"[..]].into_iter(), 4).unwrap();
        assert!(first < second && second < beside);
        let named: Vec<u8> = [beside, second]
            .iter()
            .flat_map(|piece| piece.to_bytes())
            .collect();
        let read: Vec<Vec<u8>> = Piece::all_of(&named)
            .map(|piece| files.read(piece).unwrap())
            .collect();
        assert_eq!(read, [b"xyz".to_vec(), b"defg".to_vec()]);
        let paths = files.paths();
        assert!(paths.len() == 2 && paths.iter().all(|path| path.exists()));
        drop((one, other, files));
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
