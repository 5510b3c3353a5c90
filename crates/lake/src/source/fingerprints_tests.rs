//! Fingerprints by themselves: what counts, what is kept of them, and their form on storage.
//!
//! Invariant: each test fails when its rule is taken out of the code.

use super::*;

const SYNC: FingerprintUse = FingerprintUse {
    recognizes: true,
    adds: true,
};

fn content(number: u64) -> Option<ContentFingerprint> {
    Some(ContentFingerprint(number, !number))
}

fn knows(notes: &RecordFingerprints, files: u128, key: u64, number: u64) -> bool {
    notes.recognize(files, std::iter::once((key, content(number)))) == [true]
}

#[test]
fn entries_count_for_their_files_and_content_alone() {
    let notes = RecordFingerprints::empty(SYNC);
    notes.settle((1, 2), vec![(7, content(70)), (8, content(80)), (9, None)]);
    assert!(notes.count_for(2) && !notes.count_for(1));
    assert!(knows(&notes, 2, 7, 70) && knows(&notes, 2, 8, 80));
    assert!(!knows(&notes, 2, 7, 71) && !knows(&notes, 1, 7, 70) && !knows(&notes, 2, 9, 90));
    assert_eq!(notes.recognize(2, std::iter::once((7, None))), [false]);
    // A record that a landing could not tell is not known any more.
    notes.settle((2, 3), vec![(8, None)]);
    assert!(knows(&notes, 3, 7, 70) && !knows(&notes, 3, 8, 80));
    // Somebody else has been there.
    notes.settle((4, 5), vec![(9, content(90))]);
    assert!(knows(&notes, 5, 9, 90) && !knows(&notes, 5, 7, 70));
}

#[test]
fn a_run_that_reads_everything_or_something_else_uses_them_as_it_may() {
    let notes = RecordFingerprints::empty(SYNC);
    notes.settle((1, 2), vec![(7, content(70))]);
    let (files, bytes) = notes.stored().unwrap();
    let full = FingerprintUse {
        recognizes: false,
        ..SYNC
    };
    let of_full = RecordFingerprints::read(files, &bytes, full).unwrap();
    assert!(!knows(&of_full, 2, 7, 70) && !of_full.count_for(2));
    let narrow = FingerprintUse {
        adds: false,
        ..SYNC
    };
    let of_narrow = RecordFingerprints::read(files, &bytes, narrow).unwrap();
    of_narrow.settle((2, 3), vec![(7, content(71)), (8, content(80))]);
    assert!(knows(&of_narrow, 3, 7, 71) && !knows(&of_narrow, 3, 8, 80));
}

#[test]
fn what_is_stored_is_what_is_read_and_what_did_not_come_can_be_dropped() {
    let notes = RecordFingerprints::empty(SYNC);
    assert_eq!(notes.stored(), None);
    notes.settle((1, 2), vec![(7, content(70)), (8, content(80))]);
    assert!(notes.is_changed());
    let (files, bytes) = notes.stored().unwrap();
    assert_eq!((files, bytes.len()), (2, 2 * ENTRY));
    let next = RecordFingerprints::read(files, &bytes, SYNC).unwrap();
    assert!(knows(&next, 2, 8, 80) && !next.is_changed());
    next.settle((2, 2), Vec::new());
    assert!(!next.is_changed(), "nothing was found out");
    next.drop_unseen();
    assert!(!knows(&next, 2, 7, 70) && knows(&next, 2, 8, 80));
    assert!(RecordFingerprints::read(2, &bytes[1..], SYNC).is_none());
}

#[test]
fn no_more_are_kept_than_those_that_came_last() {
    let notes = RecordFingerprints::empty(SYNC);
    let many = (MOST + SLACK + 1) as u64;
    notes.settle((1, 2), (0..many).map(|key| (key, content(key))).collect());
    assert!(!knows(&notes, 2, 0, 0) && knows(&notes, 2, many - 1, many - 1));
    let (_, bytes) = notes.stored().unwrap();
    assert_eq!(bytes.len(), MOST * ENTRY);
}
