//! Division and multiplication of decimals that round half away from zero.
//!
//! Invariant: the exact result, rounded once. What is larger than 128 bits on the way is worked out in 256.

use arrow::datatypes::i256;

/// `numerator * 10^shift / denominator`, rounded half away from zero; `None` where it does not fit, or the denominator is zero.
pub(crate) fn rounded_quotient(numerator: i128, shift: i16, denominator: i128) -> Option<i128> {
    let (up, down) = (
        u32::from(shift.max(0).unsigned_abs()),
        u32::from(shift.min(0).unsigned_abs()),
    );
    let small = || {
        let numerator = numerator.checked_mul(10_i128.checked_pow(up)?)?;
        let denominator = denominator.checked_mul(10_i128.checked_pow(down)?)?;
        Some((numerator, denominator))
    };
    if let Some((numerator, denominator)) = small() {
        let (quotient, rest) = (
            numerator.checked_div(denominator)?,
            numerator.checked_rem(denominator)?,
        );
        let is_half = rest.unsigned_abs() >= denominator.unsigned_abs() - rest.unsigned_abs();
        return if is_half {
            let away = if (numerator < 0) == (denominator < 0) {
                1
            } else {
                -1
            };
            quotient.checked_add(away)
        } else {
            Some(quotient)
        };
    }
    let ten = i256::from_i128(10);
    let numerator = i256::from_i128(numerator).checked_mul(ten.checked_pow(up)?)?;
    let denominator = i256::from_i128(denominator).checked_mul(ten.checked_pow(down)?)?;
    rounded_wide(numerator, denominator)?.to_i128()
}

/// A product with so many digits less than it has, rounded half away from zero; `None` where it does not fit.
pub(crate) fn rounded_product(left: i128, right: i128, fewer: u32) -> Option<i128> {
    let product = i256::from_i128(left).checked_mul(i256::from_i128(right))?;
    let divisor = i256::from_i128(10).checked_pow(fewer)?;
    rounded_wide(product, divisor)?.to_i128()
}

fn rounded_wide(numerator: i256, denominator: i256) -> Option<i256> {
    let quotient = numerator.checked_div(denominator)?;
    let rest = numerator.checked_rem(denominator)?.checked_abs()?;
    let is_half = rest >= denominator.checked_abs()?.checked_sub(rest)?;
    if !is_half {
        return Some(quotient);
    }
    if numerator.is_negative() == denominator.is_negative() {
        quotient.checked_add(i256::ONE)
    } else {
        quotient.checked_sub(i256::ONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_away_from_zero() {
        for (numerator, shift, denominator, quotient) in [
            (1, 0, 2, Some(1)),
            (-1, 0, 2, Some(-1)),
            (1, 0, -2, Some(-1)),
            (-1, 0, -2, Some(1)),
            (1, 0, 3, Some(0)),
            (2, 0, 3, Some(1)),
            (2, 10, 3, Some(6_666_666_667)),
            (-2, 10, 3, Some(-6_666_666_667)),
            (15, -1, 1, Some(2)),
            (-15, -1, 1, Some(-2)),
            (14, -1, 1, Some(1)),
            (0, 10, 7, Some(0)),
            (1, 0, 0, None),
            (i128::MAX, 1, 10, Some(i128::MAX)),
            (i128::MAX, 10, 1, None),
            (i128::MIN, 0, -1, None),
        ] {
            assert_eq!(
                rounded_quotient(numerator, shift, denominator),
                quotient,
                "{numerator}e{shift} / {denominator}"
            );
        }
        assert_eq!(rounded_product(15, 1, 1), Some(2));
        assert_eq!(rounded_product(-15, 1, 1), Some(-2));
        assert_eq!(
            rounded_product(i128::MAX, 1_000, 3),
            Some(i128::MAX),
            "wider than 128 bits on the way"
        );
        assert_eq!(rounded_product(i128::MAX, i128::MAX, 0), None);
    }

    proptest::proptest! {
        /// The way through 256 bits gives what the one through 128 does.
        #[test]
        fn both_ways_agree(numerator in -1_000_000_000_i128..1_000_000_000, denominator in 1_i128..1_000_000, shift in 0_i16..12) {
            let wide = i256::from_i128(numerator).checked_mul(i256::from_i128(10).checked_pow(u32::from(shift.unsigned_abs())).unwrap()).unwrap();
            let wide = rounded_wide(wide, i256::from_i128(denominator)).unwrap().to_i128();
            proptest::prop_assert_eq!(rounded_quotient(numerator, shift, denominator), wide);
        }
    }
}
