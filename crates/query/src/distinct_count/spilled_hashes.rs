//! Hashes of groups on disk, for counts that do not fit into memory.
//!
//! Invariant: the same hash of the same group lies in one file, however often it was written, so that files can be counted one by one.

use super::GroupHash;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::spill_file::{SpillFile, SpillWriter};
use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_model::FastSet;

/// Files that hashes are spread over; each is read into memory as a whole.
const FILES: u64 = 32;
/// Bytes of a group and its hash.
const ENTRY: usize = 20;

/// Place and bounds of what is spilled.
#[derive(Debug, Clone)]
pub(crate) struct SpillSettings {
    /// Manager of the files.
    pub(crate) disk: Arc<DiskManager>,
    /// Bytes that are held in memory.
    pub(crate) bytes: usize,
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

    /// Writes a hash of a group.
    pub(super) fn write(&mut self, seen: &GroupHash) -> Result<()> {
        let file = usize::try_from(seen.low % FILES).unwrap_or_default();
        let mut entry = [0_u8; ENTRY];
        entry[..4].copy_from_slice(&seen.group.to_le_bytes());
        entry[4..12].copy_from_slice(&seen.low.to_le_bytes());
        entry[12..].copy_from_slice(&seen.high.to_le_bytes());
        let writer = self.files[file].writer.get_mut();
        Ok(writer
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&entry)?)
    }

    /// Hands out the different hashes of each file, one file at a time.
    pub(super) fn drain(
        self,
        mut with: impl FnMut(&FastSet<GroupHash>) -> Result<()>,
    ) -> Result<()> {
        for HashFile { file, writer } in self.files {
            let mut writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
            writer.flush()?;
            writer.get_mut().finish()?;
            drop(writer);
            let path = file
                .path()
                .ok_or_else(|| internal_datafusion_err!("a spilled file has no path"))?;
            with(&read(BufReader::new(File::open(path)?))?)?;
        }
        Ok(())
    }
}

fn read(mut from: impl Read) -> Result<FastSet<GroupHash>> {
    let mut seen = FastSet::default();
    let mut entry = [0_u8; ENTRY];
    loop {
        match from.read_exact(&mut entry) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(seen),
            Err(error) => return Err(error.into()),
        }
        let word = |at: usize| {
            let mut bytes = [0_u8; 8];
            bytes.copy_from_slice(&entry[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let [a, b, c, d, ..] = entry;
        seen.insert(GroupHash {
            group: u32::from_le_bytes([a, b, c, d]),
            low: word(4),
            high: word(12),
        });
    }
}
