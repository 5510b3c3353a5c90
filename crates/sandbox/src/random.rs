//! Random numbers that are the same on every machine and in every year: SplitMix64, ten lines, no dependency to drift.
//!
//! Invariant: what a generator gives depends on its seed and stream alone, never on what others drew before.

/// SplitMix64 (Steele, Lea, Flood 2014), one stream a record.
#[derive(Debug, Clone)]
pub(crate) struct RandomStream {
    state: u64,
}

/// The finaliser of SplitMix64: spreads every bit of its input over all of its output.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl RandomStream {
    /// The stream `stream` of the world `seed`.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self {
            state: mix(seed ^ 0x5EED).wrapping_add(mix(stream.wrapping_add(0x9E37_79B9))),
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A whole number below `bound`, by the high half of a product: the bias is below 2^-32 for the bounds used here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A whole number from `low` up to and including `high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low).unsigned_abs() + 1) as i64
    }

    /// True in `per_mille` of 1,000 cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of `choices`, each as likely as the other.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// A version 4 UUID as a number.
    pub(crate) fn uuid(&mut self) -> u128 {
        let raw = (u128::from(self.next()) << 64) | u128::from(self.next());
        (raw & !(0xF << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62)
    }
}

/// A version 4 UUID before (or with `highest` behind) all that were drawn and all of lower turns; `turn` is below 2^32.
pub(crate) fn edge_uuid(turn: u64, highest: bool) -> u128 {
    let (marks, mask) = ((0x4 << 76) | (0x2 << 62), (0xF << 76) | (0x3 << 62));
    let room = u128::from(u32::MAX);
    if highest {
        (!mask | marks) - room + u128::from(turn)
    } else {
        marks + room - u128::from(turn)
    }
}

/// Writes a UUID the way the API does: lower case, hyphenated.
pub(crate) fn uuid_text(id: u128) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (i, byte) in id.to_be_bytes().into_iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text
}

/// Reads a UUID only in the exact form that [`uuid_text`] writes.
pub(crate) fn uuid_number(text: &str) -> Option<u128> {
    if text.len() != 36 {
        return None;
    }
    let mut id = 0_u128;
    for (i, c) in text.bytes().enumerate() {
        if matches!(i, 8 | 13 | 18 | 23) {
            if c != b'-' {
                return None;
            }
            continue;
        }
        let digit = match c {
            b'0'..=b'9' => c - b'0',
            b'a'..=b'f' => c - b'a' + 10,
            _ => return None,
        };
        id = (id << 4) | u128::from(digit);
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_of_the_published_algorithm() {
        let mut random = RandomStream { state: 0 };
        assert_eq!(random.next(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(random.next(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn uuids_survive_their_text() {
        let mut random = RandomStream::new(1, 2);
        for _ in 0..1000 {
            let id = random.uuid();
            let text = uuid_text(id);
            assert_eq!(uuid_number(&text), Some(id));
            assert_eq!(&text[14..15], "4");
            assert!("89ab".contains(&text[19..20]), "{text}");
        }
        assert_eq!(uuid_number("8A159C56-1785-4d8b-a40e-22cb47f56bba"), None);
    }

    #[test]
    fn edges_stand_before_and_behind_everything() {
        for (highest, lower) in [(false, 2), (true, 1)] {
            let (a, b) = (edge_uuid(lower, highest), edge_uuid(3 - lower, highest));
            assert!(
                a < b && uuid_text(a).as_bytes()[14] == b'4',
                "{}",
                uuid_text(a)
            );
        }
        let drawn = RandomStream::new(1, 1).uuid();
        assert!(edge_uuid(7, false) < drawn && drawn < edge_uuid(7, true));
    }

    #[test]
    fn bounds_hold() {
        let mut random = RandomStream::new(3, 0);
        for _ in 0..10_000 {
            assert!((-3..=4).contains(&random.between(-3, 4)));
        }
    }
}
