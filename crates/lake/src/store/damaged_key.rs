//! Keys and marks behind which a file says its checksum, told from those in which something has changed.
//!
//! Invariant: a file whose key has changed is damaged, and not a file without a checksum, as other programs and earlier versions of this one write.
//!
//! Rejected: to note in the warehouse from which version on all files of a table have checksums. The note would have to be kept through copies and lost
//! commits, could be damaged itself, and other programs may write a table at any time.

/// Bytes in which a damaged key differs from the right one at most. No key of ours or of another program is that near to one of a checksum.
const DIFFERING: usize = 2;

/// True if these bytes are the key but for a few of them.
pub(crate) fn is_damaged(bytes: &[u8], key: &[u8]) -> bool {
    if bytes.len() != key.len() {
        return false;
    }
    let pairs = bytes.iter().zip(key);
    let differing = pairs.filter(|(found, right)| found != right);
    (1..=DIFFERING).contains(&differing.take(DIFFERING + 1).count())
}

/// True if the key stands somewhere in a text, but for a few of its bytes.
pub(crate) fn stands_in(text: &[u8], key: &[u8]) -> bool {
    text.windows(key.len()).any(|part| is_damaged(part, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_any_bit_flipped_is_damaged_and_another_key_is_not() {
        let key = b"tillhouseChecksum";
        assert!(!stands_in(b"the key tillhouseChecksum itself", key));
        for at in 0..key.len() {
            for bit in 0..8 {
                let mut wrong = key.to_vec();
                wrong[at] ^= 1 << bit;
                assert!(is_damaged(&wrong, key), "{at}");
                let text = [&b"before "[..], &wrong, b" behind"].concat();
                assert!(stands_in(&text, key), "{at}");
            }
        }
        for other in [
            &b"tillhouseCommitId"[..],
            b"tillhouseVersion!",
            b"tillhouseChecks",
            b"",
        ] {
            assert!(!is_damaged(other, key) && !stands_in(other, key));
        }
    }
}
