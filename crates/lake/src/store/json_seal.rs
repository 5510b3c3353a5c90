//! The checksum of a file of JSON, which stands in the file itself: of a commit in its own description, of the folded coverage and of leases beside their rows.
//!
//! Invariant: a file that says its checksum is read only if it has it, and one that says it under a damaged key is not read. JSON in which one bit has
//! flipped is most often JSON: another version, path or amount, and nobody would notice.
//!
//! ```text
//!   {"commitInfo":{...,"tillhouseChecksum":"8f3a90c1d2e4b576",...}}    the checksum of everything but these sixteen digits
//!   {"add":{...}}
//! ```

use crate::store::damaged_key::stands_in;
use std::ops::Range;
use xxhash_rust::xxh3::Xxh3;

/// Key of the checksum, in the first line of the file.
pub(crate) const CHECKSUM: &str = "tillhouseChecksum";
/// The checksum until it is known.
pub(crate) const UNKNOWN: &str = "0000000000000000";

/// The key as it stands in a file, up to the first digit.
fn written_key() -> Vec<u8> {
    format!("\"{CHECKSUM}\":\"").into_bytes()
}

fn first_line(file: &[u8]) -> &[u8] {
    file.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// Place of the checksum's digits; `None` where the file says none. Digits that are cut reach to the end.
fn digits(file: &[u8]) -> Option<Range<usize>> {
    let key = written_key();
    let at = first_line(file)
        .windows(key.len())
        .position(|part| part == key.as_slice())?;
    let start = at + key.len();
    Some(start..(start + UNKNOWN.len()).min(file.len()))
}

/// Checksum of a file but for its digits.
fn checksum(file: &[u8], digits: &Range<usize>) -> String {
    let mut hash = Xxh3::new();
    hash.update(&file[..digits.start]);
    hash.update(&file[digits.end..]);
    format!("{:016x}", hash.digest())
}

/// A file that says [`UNKNOWN`] with its checksum; as it is, where it says none.
pub(crate) fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    if let Some(digits) = digits(&file).filter(|digits| file[digits.clone()] == *UNKNOWN.as_bytes())
    {
        let sum = checksum(&file, &digits);
        file[digits].copy_from_slice(sum.as_bytes());
    }
    file
}

/// True if a file is what was written. One that says no checksum, of another program or an earlier version of this one, is taken.
pub(crate) fn is_sound(file: &[u8]) -> bool {
    match digits(file) {
        Some(digits) => file[digits.clone()] == *checksum(file, &digits).as_bytes(),
        None => !stands_in(first_line(file), &written_key()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let first = format!("{{\"commitInfo\":{{\"{CHECKSUM}\":\"{UNKNOWN}\",\"lines\":2}}}}");
        format!("{first}\n{{\"add\":{{\"path\":\"a\",\"size\":7}}}}").into_bytes()
    }

    #[test]
    fn whatever_bit_flips_is_noticed() {
        let whole = sealed(file());
        assert!(is_sound(&whole));
        assert!(!is_sound(&file()), "no file has that checksum");
        assert_eq!(whole.len(), file().len());
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut wrong = whole.clone();
                wrong[at] ^= 1 << bit;
                assert!(!is_sound(&wrong), "bit {bit} of {at}");
            }
        }
    }

    #[test]
    fn what_says_no_checksum_is_taken_as_it_is() {
        for text in ["", "{}", "{\"a\":1}\n{\"tillhouseChecksum\":\"0000\"}"] {
            assert!(is_sound(text.as_bytes()), "{text}");
            assert_eq!(sealed(text.as_bytes().to_vec()), text.as_bytes());
        }
        // One that ends within its digits is not.
        let whole = sealed(file());
        let cut = digits(&whole).unwrap().start + 5;
        assert!(!is_sound(&whole[..cut]));
    }
}
