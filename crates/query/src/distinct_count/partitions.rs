//! Hashes of groups in memory, spread over partitions that fit into a processor's cache.
//!
//! Invariant: a hash of a group lies in one partition, whose entries are made different from time to time and before they are handed out. One large table instead would cost a
//! look into far memory for every row, and twice its size while it grows; here a row is written behind its neighbours.

use super::GroupHash;

/// Partitions, a power of two.
pub(super) const PARTITIONS: usize = 256;
/// Entries from which on a partition is made different; then whenever it has doubled.
const FIRST_LOOK: usize = 2_048;

/// The entries of one partition; the first `different` of them are different from each other.
#[derive(Debug, Default)]
struct Partition {
    entries: Vec<GroupHash>,
    different: usize,
}

/// The partitions.
#[derive(Debug)]
pub(super) struct HashPartitions {
    partitions: Vec<Partition>,
    /// Places of a table by which a partition is made different: 0, or an entry's number and 1.
    places: Vec<u32>,
    /// Bytes of all entries, with room for more.
    bytes: usize,
}

impl Default for HashPartitions {
    fn default() -> Self {
        Self {
            partitions: std::iter::repeat_with(Partition::default)
                .take(PARTITIONS)
                .collect(),
            places: Vec::new(),
            bytes: 0,
        }
    }
}

/// The partition of a hash.
pub(super) fn partition_of(hash: &GroupHash) -> usize {
    usize::try_from(hash.low).unwrap_or(usize::MAX) % PARTITIONS
}

impl HashPartitions {
    pub(super) fn add(&mut self, hash: GroupHash) {
        let Self {
            partitions,
            places,
            bytes,
        } = self;
        let Some(partition) = partitions.get_mut(partition_of(&hash)) else {
            return;
        };
        let before = partition.entries.capacity();
        partition.entries.push(hash);
        if partition.entries.len() >= FIRST_LOOK.max(2 * partition.different) {
            partition.make_different(places);
        }
        *bytes += (partition.entries.capacity() - before) * size_of::<GroupHash>();
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.places.capacity() * size_of::<u32>()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.partitions
            .iter()
            .all(|partition| partition.entries.is_empty())
    }

    /// Makes all partitions different, and gives back what they do not need.
    pub(super) fn shrink(&mut self) {
        self.bytes = 0;
        for partition in &mut self.partitions {
            partition.make_different(&mut self.places);
            partition.entries.shrink_to_fit();
            self.bytes += partition.entries.capacity() * size_of::<GroupHash>();
        }
    }

    /// Takes out the different entries of each partition, one partition at a time.
    pub(super) fn drain<E>(
        &mut self,
        mut with: impl FnMut(usize, &[GroupHash]) -> Result<(), E>,
    ) -> Result<(), E> {
        for (at, partition) in self.partitions.iter_mut().enumerate() {
            let mut partition = std::mem::take(partition);
            partition.make_different(&mut self.places);
            with(at, &partition.entries)?;
        }
        self.bytes = 0;
        Ok(())
    }
}

impl Partition {
    /// Leaves each entry once.
    fn make_different(&mut self, places: &mut Vec<u32>) {
        if self.different == self.entries.len() {
            return;
        }
        self.different = make_different(&mut self.entries, places);
    }
}

/// Leaves each entry once; gives back how many there are.
pub(super) fn make_different(entries: &mut Vec<GroupHash>, places: &mut Vec<u32>) -> usize {
    // At most half full, so that an empty place is near.
    let size = (entries.len() * 2).next_power_of_two().max(4);
    places.clear();
    places.resize(size, 0);
    let mask = size - 1;
    let mut kept = 0_usize;
    for at in 0..entries.len() {
        let entry = entries[at];
        // The lowest bits have chosen the partition.
        let mut place = usize::try_from(entry.spread()).unwrap_or(usize::MAX) & mask;
        loop {
            let known = places[place];
            if known == 0 {
                entries[kept] = entry;
                kept += 1;
                places[place] = u32::try_from(kept).unwrap_or(u32::MAX);
                break;
            }
            if entries[known as usize - 1] == entry {
                break;
            }
            place = (place + 1) & mask;
        }
    }
    entries.truncate(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 12, failure_persistence: None, ..Default::default() })]

        /// Whatever comes in, however often, comes out once.
        #[test]
        fn entries_come_out_once(values in proptest::collection::vec((0_u32..5, 0_i128..3000), 0..20_000), high in 0_u32..100) {
            let mut partitions = HashPartitions::default();
            let mut expected = HashSet::new();
            for (group, value) in values {
                let hash = value << high;
                partitions.add(GroupHash::new(group, hash));
                expected.insert((group, hash));
            }
            let mut found = Vec::new();
            partitions.drain(|at, entries| {
                assert!(entries.iter().all(|entry| partition_of(entry) == at));
                found.extend(entries.iter().map(|entry| (entry.group, entry.hash())));
                Ok::<_, ()>(())
            }).unwrap();
            proptest::prop_assert!(partitions.is_empty());
            proptest::prop_assert_eq!(found.len(), expected.len());
            proptest::prop_assert_eq!(found.into_iter().collect::<HashSet<_>>(), expected);
        }
    }
}
