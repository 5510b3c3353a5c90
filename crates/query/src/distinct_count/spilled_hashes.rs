//! Hashes of groups on disk, for counts that do not fit into memory.
//!
//! Invariant: the same hash of the same group lies in one file, however often it was written, so that files can be counted one by one.

use super::GroupHash;
use super::partitions::{PARTITIONS, make_different};
use crate::pool::SharedMemory;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::spill_file::{SpillFile, SpillWriter};
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Files that hashes are spread over; each is read into memory as a whole.
const FILES: usize = 32;
/// Bytes of a group and its hash.
const ENTRY: usize = 20;

/// Place and bounds of what is spilled.
#[derive(Debug, Clone)]
pub(crate) struct SpillSettings {
    /// Manager of the files.
    pub(crate) disk: Arc<DiskManager>,
    /// Bytes that all counts beside each other hold in memory, at most.
    pub(crate) bytes: usize,
    /// Memory of all queries; `None` where there is no limit.
    pub(crate) memory: Option<Arc<SharedMemory>>,
    /// Counts beside each other.
    pub(crate) counts: usize,
}

impl SpillSettings {
    /// The settings of each of so many counts beside each other.
    pub(crate) fn shared_by(&self, counts: usize) -> Self {
        Self {
            counts: self.counts * counts.max(1),
            ..self.clone()
        }
    }

    /// Bytes that one count may hold now: half of what its grouping has at most. A grouping that is refused more asks for all hashes at once, those on disk too.
    pub(super) fn room(&self) -> usize {
        let share = self.memory.as_ref().map(|memory| memory.share() / 2);
        self.bytes.min(share.unwrap_or(usize::MAX)) / self.counts.max(1)
    }
}

/// The files of one count.
pub(super) struct SpilledHashes {
    files: Vec<HashFile>,
}

/// One file and its writer, which is locked because a writer may stay with its thread.
struct HashFile {
    file: Arc<dyn SpillFile>,
    writer: Mutex<BufWriter<Box<dyn SpillWriter>>>,
}

impl fmt::Debug for SpilledHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpilledHashes").finish_non_exhaustive()
    }
}

impl SpilledHashes {
    /// Empty files.
    pub(super) fn new(disk: &Arc<DiskManager>) -> Result<Self> {
        let file = |_| {
            let file = disk.create_tmp_file("different values")?;
            let writer = Mutex::new(BufWriter::new(file.open_writer()?));
            Ok(HashFile { file, writer })
        };
        Ok(Self {
            files: (0..FILES).map(file).collect::<Result<_>>()?,
        })
    }

    /// Writes hashes of one partition.
    pub(super) fn write(&mut self, partition: usize, hashes: &[GroupHash]) -> Result<()> {
        let Some(file) = self.files.get_mut(partition * FILES / PARTITIONS) else {
            return Err(internal_datafusion_err!(
                "there is no partition {partition}"
            ));
        };
        let writer = file
            .writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for hash in hashes {
            let mut entry = [0_u8; ENTRY];
            entry[..4].copy_from_slice(&hash.group.to_le_bytes());
            entry[4..12].copy_from_slice(&hash.low.to_le_bytes());
            entry[12..].copy_from_slice(&hash.high.to_le_bytes());
            writer.write_all(&entry)?;
        }
        Ok(())
    }

    /// Hands out the different hashes of each file, one file at a time.
    pub(super) fn drain(self, mut with: impl FnMut(&[GroupHash]) -> Result<()>) -> Result<()> {
        let mut places = Vec::new();
        for HashFile { file, writer } in self.files {
            let mut writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
            writer.flush()?;
            writer.get_mut().finish()?;
            drop(writer);
            let path = file
                .path()
                .ok_or_else(|| internal_datafusion_err!("a spilled file has no path"))?;
            with(&read(File::open(path)?, &mut places)?)?;
        }
        Ok(())
    }
}

/// Bytes that are read at a time: whole entries.
const READ_AT_ONCE: usize = ENTRY * 3_276;
/// Entries from which on those that were read are made different; then whenever they have doubled.
const FIRST_LOOK: usize = 1 << 16;

/// The different hashes of a file. What was written often is not held as often.
fn read(mut from: impl Read, places: &mut Vec<u32>) -> Result<Vec<GroupHash>> {
    let mut entries = Vec::new();
    let mut different = 0;
    let mut bytes = vec![0_u8; READ_AT_ONCE];
    let mut held = 0;
    loop {
        let more = from.read(&mut bytes[held..])?;
        held += more;
        let whole = held / ENTRY * ENTRY;
        entries.extend(bytes[..whole].chunks_exact(ENTRY).map(entry));
        bytes.copy_within(whole..held, 0);
        held -= whole;
        if more == 0 {
            make_different(&mut entries, places);
            return Ok(entries);
        }
        if entries.len() >= FIRST_LOOK.max(2 * different) {
            different = make_different(&mut entries, places);
        }
    }
}

fn entry(bytes: &[u8]) -> GroupHash {
    let number = |from: usize, to: usize| {
        let mut word = [0_u8; 8];
        word[..to - from].copy_from_slice(&bytes[from..to]);
        u64::from_le_bytes(word)
    };
    GroupHash {
        group: u32::try_from(number(0, 4)).unwrap_or(u32::MAX),
        low: number(4, 12),
        high: number(12, 20),
    }
}
