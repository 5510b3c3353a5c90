//! Expiry of a table's log: the commits and checkpoints that nobody needs any more.
//!
//! Invariant: from what stays, the newest version and those that were the newest a short while ago can be told commit by commit, and so can every
//! version that a kept run names: from a checkpoint, and the commits after it without a gap.
//!
//! ```text
//!   kept runs name   3              57  58                    120       | base, of the newest versions
//!   stays            checkpoint 3   checkpoint 50, 51 ... 58  checkpoint 120 | checkpoint 140, 141 142 ...
//! ```
//!
//! A version that stands alone gets a checkpoint of its own, so that what is before and behind it can go; neighbours share one and the commits between
//! them. Any Delta reader opens the newest version by the newest checkpoint and what comes after it, as the protocol says, and a kept one by its number.
//!
//! Rejected: to take only a beginning of the log. With runs that are kept for years, one a month, a log that shrinks once in ten years.

use crate::log::damage::LogFiles;
use crate::maintenance::file_lifetimes::has_all;
use std::collections::BTreeSet;

/// Versions no further apart share a checkpoint, and the commits between them.
const NEAR: u64 = 4;
/// Most commits that a reader of a kept version has to read after a checkpoint.
const FAR: u64 = 50;
/// Commits that are worth a checkpoint.
const WORTH: u64 = 2;

/// Files of a log that can go, by version.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ExpiredLog {
    pub(crate) commits: BTreeSet<u64>,
    pub(crate) checkpoints: BTreeSet<u64>,
    /// Versions of which a checkpoint lets more go.
    pub(crate) wanted: BTreeSet<u64>,
}

/// Entries that can go of a log before `base`, a checkpoint that everything newer is told from. `kept` are the versions that kept runs name, `pointed` is the checkpoint
/// that readers are pointed to.
///
/// Errors with a version that cannot be told from the log as it is.
pub(crate) fn expired(
    log: &LogFiles,
    kept: &BTreeSet<u64>,
    base: u64,
    pointed: Option<u64>,
) -> Result<ExpiredLog, u64> {
    let mut stays = LogFiles::default();
    let mut wanted = BTreeSet::new();
    // A checkpoint that stays, and how far it reaches by commits that stay.
    let mut reach: Option<(u64, u64)> = None;
    let mut versions = kept.range(..base).copied().peekable();
    while let Some(version) = versions.next() {
        if let Some((from, to)) = reach
            && version - to <= NEAR
            && version - from <= FAR
            && has_all(&log.commits, to + 1, version)
        {
            stays.commits.extend(to + 1..=version);
            reach = Some((from, version));
            continue;
        }
        let checkpoint = log.checkpoints.range(..=version).next_back().copied();
        let first = checkpoint.map_or(0, |checkpoint| checkpoint + 1);
        if !has_all(&log.commits, first, version) {
            return Err(version);
        }
        stays.checkpoints.extend(checkpoint);
        stays.commits.extend(first..=version);
        reach = Some((first.saturating_sub(1), version));
        let is_alone = versions.peek().is_none_or(|next| next - version > NEAR);
        if is_alone && version + 1 - first >= WORTH {
            wanted.insert(version);
        }
    }
    stays.checkpoints.extend(pointed);
    let goes = |all: &BTreeSet<u64>, stays: &BTreeSet<u64>| {
        let before = all.range(..base).copied();
        before.filter(|version| !stays.contains(version)).collect()
    };
    Ok(ExpiredLog {
        commits: goes(&log.commits, &stays.commits),
        checkpoints: goes(&log.checkpoints, &stays.checkpoints),
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(versions: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
        versions.into_iter().collect()
    }

    /// A log of so many commits with a checkpoint each ten of them.
    fn log(newest: u64) -> LogFiles {
        LogFiles {
            commits: set(0..=newest),
            checkpoints: set((10..=newest).step_by(10)),
        }
    }

    /// The log without what can go, checkpoints that were wanted written before.
    fn expire(mut log: LogFiles, kept: &BTreeSet<u64>, base: u64) -> LogFiles {
        let first = expired(&log, kept, base, None).unwrap();
        log.checkpoints.extend(&first.wanted);
        let then = expired(&log, kept, base, None).unwrap();
        assert!(then.wanted.is_empty(), "{then:?}");
        for version in &then.commits {
            log.commits.remove(version);
        }
        for version in &then.checkpoints {
            log.checkpoints.remove(version);
        }
        log
    }

    #[test]
    fn what_stands_alone_gets_a_checkpoint_and_neighbours_share_one() {
        let left = expire(log(149), &set([3, 57, 58, 100, 120]), 140);
        assert_eq!(left.checkpoints, set([3, 50, 100, 120, 140]));
        assert_eq!(left.commits, set((51..=58).chain(140..=149)));
        // A day later the neighbours are thinned, and the base has moved.
        let more = expire(left, &set([3, 58, 120]), 140);
        assert_eq!(more.checkpoints, set([3, 58, 120, 140]));
        assert_eq!(more.commits, set(140..=149));
        // Nothing more to do.
        let again = expired(&more, &set([3, 58, 120]), 140, None).unwrap();
        assert_eq!(again, ExpiredLog::default());
    }

    #[test]
    fn where_every_version_is_kept_commits_stay_and_few_checkpoints() {
        let left = expire(log(300), &set(0..=290), 290);
        assert_eq!(left.commits, set(0..=300));
        let gaps: Vec<u64> = left.checkpoints.iter().copied().collect();
        assert!(
            gaps.len() < 10 && gaps.windows(2).all(|two| two[1] - two[0] <= FAR + 10),
            "{gaps:?}"
        );
    }

    #[test]
    fn the_checkpoint_that_readers_are_pointed_to_stays_and_so_does_everything_from_the_base() {
        let found = expired(&log(99), &set([]), 90, Some(40)).unwrap();
        assert_eq!(found.commits, set(0..90));
        assert_eq!(found.checkpoints, set([10, 20, 30, 50, 60, 70, 80]));
    }

    #[test]
    fn a_version_that_cannot_be_told_is_an_error() {
        let mut cut = log(99);
        cut.commits.remove(&53);
        assert_eq!(
            expired(&cut, &set([52]), 90, None).unwrap().commits.len(),
            87
        );
        assert_eq!(expired(&cut, &set([55]), 90, None), Err(55));
        cut.commits.remove(&0);
        assert_eq!(expired(&cut, &set([5]), 90, None), Err(5));
    }

    /// A number that looks random and is the same every time.
    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn whatever_is_kept_and_dropped_each_kept_version_can_be_told() {
        for seed in 1..=200_u64 {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let newest = 100 + next(&mut state) % 300;
            let mut log = log(newest);
            let one_in = 1 + next(&mut state) % 40;
            let mut kept: BTreeSet<u64> = (0..=newest)
                .filter(|_| next(&mut state).is_multiple_of(one_in))
                .collect();
            let mut at_most = 0;
            for _ in 0..4 {
                at_most = at_most.max(newest - next(&mut state) % 50);
                let base = *log.checkpoints.range(..=at_most).next_back().unwrap();
                log = expire(log, &kept, base);
                for version in kept.iter().copied().chain([newest]) {
                    let from = log.checkpoints.range(..=version).next_back();
                    let first = from.map_or(0, |from| from + 1);
                    assert!(
                        has_all(&log.commits, first, version),
                        "seed {seed}: {version}"
                    );
                }
                kept.retain(|_| !next(&mut state).is_multiple_of(3));
            }
        }
    }
}
