//! Parquet's RLE encoding, a mixture of runs and bit-packed numbers: levels and dictionary indices are written in it.
//!
//! Invariant: a reader that knows the width and how many numbers there are gets back exactly those. Runs of fewer than eight equal
//! numbers are packed with their neighbours.

/// Equal numbers from which on a run is shorter than the numbers packed.
const RUN: usize = 8;

/// Bits that numbers up to `largest` need.
pub(crate) fn width_of(largest: u32) -> u8 {
    u8::try_from(u32::BITS - largest.leading_zeros()).unwrap_or(0)
}

/// Appends numbers that each fit into `width` bits.
pub(crate) fn write<T: Copy + PartialEq + Into<u32>>(numbers: &[T], width: u8, out: &mut Vec<u8>) {
    // The first number that is not written yet.
    let mut waiting = 0;
    let mut at = 0;
    while let Some(number) = numbers.get(at) {
        let run = numbers[at..]
            .iter()
            .take_while(|other| *other == number)
            .count();
        // Packed numbers come in groups of eight; the run gives what the last group lacks.
        let lent = (at - waiting).next_multiple_of(8) - (at - waiting);
        if run >= RUN + lent {
            pack(&numbers[waiting..at + lent], width, out);
            repeat((*number).into(), run - lent, width, out);
            waiting = at + run;
        }
        at += run;
    }
    pack(&numbers[waiting..], width, out);
}

/// Appends one number, so many times over.
pub(crate) fn repeat(number: u32, times: usize, width: u8, out: &mut Vec<u8>) {
    if times > 0 {
        varint(times << 1, out);
        let bytes = usize::from(width.div_ceil(8));
        out.extend_from_slice(&number.to_le_bytes()[..bytes]);
    }
}

fn pack<T: Copy + Into<u32>>(numbers: &[T], width: u8, out: &mut Vec<u8>) {
    if numbers.is_empty() {
        return;
    }
    let groups = numbers.len().div_ceil(8);
    varint(groups << 1 | 1, out);
    let end = out.len() + groups * usize::from(width);
    let (mut held, mut bits) = (0_u64, 0);
    for number in numbers {
        held |= u64::from((*number).into()) << bits;
        bits += width;
        if bits >= 32 {
            let [a, b, c, d, ..] = held.to_le_bytes();
            out.extend_from_slice(&[a, b, c, d]);
            held >>= 32;
            bits -= 32;
        }
    }
    out.extend_from_slice(&held.to_le_bytes()[..usize::from(bits.div_ceil(8))]);
    out.resize(end, 0);
}

fn varint(mut number: usize, out: &mut Vec<u8>) {
    loop {
        let low = number.to_le_bytes()[0];
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Reads `count` numbers the way the format's document describes.
    fn read(bytes: &[u8], width: u8, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        let mut at = 0;
        while numbers.len() < count {
            let (mut header, mut shift) = (0_usize, 0);
            loop {
                let byte = bytes[at];
                at += 1;
                header |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            if header & 1 == 0 {
                let bytes_of_number = usize::from(width.div_ceil(8));
                let mut number = [0; 4];
                number[..bytes_of_number].copy_from_slice(&bytes[at..at + bytes_of_number]);
                at += bytes_of_number;
                numbers.extend(std::iter::repeat_n(u32::from_le_bytes(number), header >> 1));
            } else {
                for i in 0..(header >> 1) * 8 {
                    let bit = |b: usize| u32::from(bytes[at + b / 8] >> (b % 8) & 1);
                    let number = (0..usize::from(width))
                        .map(|b| bit(i * usize::from(width) + b) << b)
                        .sum();
                    numbers.push(number);
                }
                at += (header >> 1) * usize::from(width);
            }
        }
        assert_eq!(at, bytes.len(), "nothing is left over");
        numbers.truncate(count);
        numbers
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(
            runs in vec((any::<u32>(), 1_usize..40), 0..40), width in 1_u8..=32
        ) {
            let largest = u32::MAX >> (32 - width);
            let numbers: Vec<u32> =
                runs.iter().flat_map(|(number, times)| std::iter::repeat_n(number & largest, *times)).collect();
            let mut bytes = Vec::new();
            write(&numbers, width, &mut bytes);
            prop_assert_eq!(read(&bytes, width, numbers.len()), numbers);
        }
    }

    #[test]
    fn equal_numbers_are_a_run_and_others_packed() {
        let mut bytes = Vec::new();
        write(&[1_u8; 1_000], 1, &mut bytes);
        assert_eq!(bytes, [0xd0, 0x0f, 1]);
        bytes.clear();
        write(&[0_u8, 1, 1, 0, 1], 1, &mut bytes);
        assert_eq!(bytes, [3, 0b1_0110]);
        assert_eq!(
            (
                width_of(0),
                width_of(1),
                width_of(2),
                width_of(255),
                width_of(256)
            ),
            (0, 1, 2, 8, 9)
        );
    }
}
