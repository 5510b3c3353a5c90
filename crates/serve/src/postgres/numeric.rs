//! Decimal numbers as PostgreSQL sends them: every digit, as text and in groups of four.
//!
//! Invariant: a number goes out with the digits and the scale that it has, however many; nothing is rounded and nothing becomes a float on its way. A column has no NaN, and
//! one that a client sends is refused.

use bytes::{BufMut, BytesMut};

/// Decimal digits of a group.
const GROUP: usize = 4;
/// Sign of a number below nought.
const NEGATIVE: u16 = 0x4000;
/// Groups of a number that is read, at most: more than any column has.
const MOST_GROUPS: i16 = 64;

/// Text of a number: its digits without the point and the sign, and how many stand behind the point.
pub(super) fn text(is_negative: bool, digits: &str, scale: i8) -> String {
    let digits = digits.trim_start_matches('0');
    let sign = match is_negative && !digits.is_empty() {
        true => "-",
        false => "",
    };
    let behind = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        return match digits.is_empty() {
            true => "0".to_owned(),
            false => format!("{sign}{digits}{}", "0".repeat(behind)),
        };
    }
    let digits = format!("{digits:0>width$}", width = behind + 1);
    let (whole, fraction) = digits.split_at(digits.len() - behind);
    format!("{sign}{whole}.{fraction}")
}

/// Writes a number, given as [`text`] writes it, in PostgreSQL's binary form.
pub(super) fn put_binary(text: &str, out: &mut BytesMut) {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let width = |length: usize| length.div_ceil(GROUP) * GROUP;
    let whole = format!("{whole:0>width$}", width = width(whole.len()));
    let padded = format!("{fraction:0<width$}", width = width(fraction.len()));
    let mut weight = (whole.len() / GROUP) as i64 - 1;
    let mut groups: Vec<u16> = Vec::new();
    for group in whole
        .as_bytes()
        .chunks(GROUP)
        .chain(padded.as_bytes().chunks(GROUP))
    {
        let digits = group
            .iter()
            .map(|digit| u16::from(digit.wrapping_sub(b'0')));
        groups.push(digits.fold(0, |number, digit| number * 10 + digit));
    }
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= leading as i64;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign = match is_negative && !groups.is_empty() {
        true => NEGATIVE,
        false => 0,
    };
    out.put_u16(u16::try_from(groups.len()).unwrap_or(u16::MAX));
    out.put_i16(i16::try_from(weight).unwrap_or_default());
    out.put_u16(sign);
    out.put_u16(u16::try_from(fraction.len()).unwrap_or(u16::MAX));
    for group in groups {
        out.put_u16(group);
    }
}

/// Text of a number in PostgreSQL's binary form; none where it is no number, or one that no column holds.
pub(super) fn read_binary(bytes: &[u8]) -> Option<String> {
    let words: Vec<u16> = bytes
        .chunks(2)
        .map(|pair| <[u8; 2]>::try_from(pair).ok().map(u16::from_be_bytes))
        .collect::<Option<_>>()?;
    let [count, weight, sign, scale, groups @ ..] = words.as_slice() else {
        return None;
    };
    let weight = i16::from_be_bytes(weight.to_be_bytes());
    let is_known = usize::from(*count) == groups.len()
        && groups.iter().all(|group| *group < 10_000)
        && matches!(*sign, 0 | NEGATIVE)
        && (-MOST_GROUPS..MOST_GROUPS).contains(&weight)
        && usize::from(*scale) <= usize::from(MOST_GROUPS.unsigned_abs()) * GROUP;
    if !is_known {
        return None;
    }
    let group_at = |place: i16| {
        let at = usize::try_from(weight.checked_sub(place)?).ok()?;
        groups.get(at)
    };
    let digits = |place: i16| format!("{:04}", group_at(place).copied().unwrap_or_default());
    let whole: String = (0..=weight.max(0)).rev().map(digits).collect();
    let scale = usize::from(*scale);
    let behind = i16::try_from(scale.div_ceil(GROUP)).ok()?;
    let mut fraction: String = (1..=behind).map(|place| digits(-place)).collect();
    fraction.truncate(scale);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let is_zero = whole == "0" && fraction.bytes().all(|digit| digit == b'0');
    let sign = match *sign == NEGATIVE && !is_zero {
        true => "-",
        false => "",
    };
    Some(match fraction.is_empty() {
        true => format!("{sign}{whole}"),
        false => format!("{sign}{whole}.{fraction}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_units(units: i128, scale: i8) -> String {
        text(units < 0, &units.unsigned_abs().to_string(), scale)
    }

    fn binary(text: &str) -> Vec<u16> {
        let mut out = BytesMut::new();
        put_binary(text, &mut out);
        let pairs = out
            .chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        pairs.collect()
    }

    #[test]
    fn every_digit_stands_in_the_text() {
        let most = 10_i128.pow(38) - 1;
        for (units, scale, shown) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (12_345, 2, "123.45"),
            (150_000, 4, "15.0000"),
            (-7, 0, "-7"),
            (7, -3, "7000"),
            (0, -3, "0"),
            (most, 0, "99999999999999999999999999999999999999"),
            (-most, 38, "-0.99999999999999999999999999999999999999"),
            (most, 18, "99999999999999999999.999999999999999999"),
        ] {
            assert_eq!(of_units(units, scale), shown);
        }
    }

    #[test]
    fn the_binary_form_has_groups_of_four_digits() {
        for (text, words) in [
            ("0", vec![0, 0, 0, 0]),
            ("0.00", vec![0, 0, 0, 2]),
            ("1", vec![1, 0, 0, 0, 1]),
            ("12345.678", vec![3, 1, 0, 3, 1, 2345, 6780]),
            ("-0.05", vec![1, u16::MAX, NEGATIVE, 2, 500]),
            ("0.00001", vec![1, u16::MAX - 1, 0, 5, 1000]),
            ("70000", vec![1, 1, 0, 0, 7]),
            ("100000000", vec![1, 2, 0, 0, 1]),
        ] {
            assert_eq!(binary(text), words, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let most = 10_i128.pow(38) - 1;
        for units in [0, 1, -1, 9_999, 10_000, -123_456_789, most, -most, most / 7] {
            for scale in [-4, 0, 1, 2, 4, 5, 9, 18, 37, 38] {
                let text = of_units(units, scale);
                let mut out = BytesMut::new();
                put_binary(&text, &mut out);
                assert_eq!(read_binary(&out).as_deref(), Some(text.as_str()));
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let words = |words: &[u16]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_be_bytes()).collect()
        };
        for bytes in [
            vec![],
            vec![0],
            words(&[0, 0, 0]),
            // NaN, and the infinities.
            words(&[0, 0, 0xc000, 0]),
            words(&[0, 0, 0xd000, 0]),
            words(&[2, 0, 0, 0, 1]),
            words(&[1, 0, 0, 0, 10_000]),
            words(&[1, 30_000, 0, 0, 1]),
        ] {
            assert_eq!(read_binary(&bytes), None, "{bytes:?}");
        }
    }
}
