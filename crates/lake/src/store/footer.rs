//! The checksum of a data file's footer, which stands in the footer itself.
//!
//! Invariant: a footer that says its checksum is read only if it has it. Pages have theirs in their zstd frames; the footer says how they are
//! read, and a digit of a decimal's scale or a letter of a column's name that has changed would be another answer.
//!
//! The checksum is a key of the file's own metadata, which other readers pass over: eight digits of the footer's length, and eight of its
//! hash, which is taken with sixteen zeros in their place. By the length it is found in whatever part of a file ends where the footer does.

use crate::store::damaged_key::stands_in;
use parquet::file::metadata::KeyValue;
use xxhash_rust::xxh3::xxh3_64;

const KEY: &str = "tillhouse.footer_checksum";
const ZEROS: [u8; 16] = *b"0000000000000000";
/// Bytes behind a footer: its length, and the format's four letters.
pub(crate) const TRAILER: usize = 8;

/// The key with no checksum yet.
pub(crate) fn placeholder() -> KeyValue {
    KeyValue::new(KEY.to_owned(), String::from_utf8_lossy(&ZEROS).into_owned())
}

/// Place of the checksum in a footer. Thrift puts two bytes between a key and its value.
fn place(footer: &[u8]) -> Option<usize> {
    let key = footer
        .windows(KEY.len())
        .rposition(|window| window == KEY.as_bytes())?;
    let at = key + KEY.len() + 2;
    (at + ZEROS.len() <= footer.len()).then_some(at)
}

fn checksum(footer: &[u8], at: usize) -> [u8; 16] {
    let mut plain = footer.to_vec();
    if let Some(value) = plain.get_mut(at..at + ZEROS.len()) {
        value.copy_from_slice(&ZEROS);
    }
    let hash = xxh3_64(&plain) & u64::from(u32::MAX);
    let mut text = ZEROS;
    let digits = format!("{:08x}{hash:08x}", footer.len());
    // A footer of four gigabytes is none.
    if digits.len() == text.len() {
        text.copy_from_slice(digits.as_bytes());
    }
    text
}

/// Length that the footer declares.
fn length(value: &[u8]) -> Option<usize> {
    usize::from_str_radix(std::str::from_utf8(value.get(..8)?).ok()?, 16).ok()
}

/// The footer of a file whose end this is; `None` where it does not hold all of it.
fn footer_of(end: &[u8]) -> Option<std::ops::Range<usize>> {
    let until = end.len().checked_sub(TRAILER)?;
    let length = end
        .get(until..until + 4)?
        .try_into()
        .ok()
        .map(u32::from_le_bytes)?;
    let from = until.checked_sub(usize::try_from(length).ok()?)?;
    Some(from..until)
}

/// Writes the checksum into the footer at the end of a file.
pub(crate) fn seal(end: &mut [u8]) {
    let Some(range) = footer_of(end) else { return };
    let Some(footer) = end.get_mut(range) else {
        return;
    };
    if let Some(at) = place(footer) {
        let sum = checksum(footer, at);
        if let Some(value) = footer.get_mut(at..at + ZEROS.len()) {
            value.copy_from_slice(&sum);
        }
    }
}

/// True if the footer in the last bytes of a file is what was written. One that says nothing, or is not there as a whole, is taken.
pub(crate) fn is_sound(end: &[u8]) -> bool {
    footer_of(end)
        .and_then(|range| end.get(range))
        .is_none_or(|footer| match place(footer) {
            Some(at) => {
                let value = footer.get(at..at + ZEROS.len());
                value.is_some_and(|value| value == checksum(footer, at))
            }
            None => !hides_checksum(footer),
        })
}

/// True if a part of a file says a checksum under a key in which something has changed: it is none of a file without.
pub(crate) fn hides_checksum(part: &[u8]) -> bool {
    place(part).is_none() && stands_in(part, KEY.as_bytes())
}

/// As [`is_sound`], of a part of a file that ends where its footer does. A damaged key is [`hides_checksum`]'s to find, where the part is known to be of a footer.
pub(crate) fn is_sound_footer(part: &[u8]) -> bool {
    let Some(at) = place(part) else { return true };
    let Some(value) = part.get(at..at + ZEROS.len()) else {
        return true;
    };
    let Some(from) = length(value).and_then(|length| part.len().checked_sub(length)) else {
        return true;
    };
    let (Some(footer), Some(at)) = (part.get(from..), at.checked_sub(from)) else {
        return false;
    };
    value == checksum(footer, at)
}
