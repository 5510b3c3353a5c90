//! Patterns of numbers.
//!
//! Invariant: a number is rounded half away from zero to the digits that the pattern has; one that has more digits before the point than the pattern gives signs `#`, as in PostgreSQL,
//! never a part of itself.

use crate::exact::rounded_quotient;
use datafusion::common::{Result, exec_err};

/// Form of a number's sign.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sign {
    /// A minus before the number, or a blank.
    Plain,
    /// `S` before the digits: plus or minus, next to the number.
    Before,
    /// `S` behind the digits.
    Behind,
    /// `MI` or `SG`: a place of its own.
    Placed,
    /// `PR`: angle brackets around a negative number.
    Brackets,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// `9` or `0` before the point; true for `0`.
    Whole(bool),
    /// `9` or `0` behind it.
    Decimal(bool),
    Point,
    Comma,
    Minus,
    Plus,
    EitherSign,
    Text(String),
}

/// A pattern that was read.
#[derive(Debug)]
pub(super) struct NumberPattern {
    parts: Vec<Part>,
    whole: usize,
    decimals: usize,
    is_bare: bool,
    sign: Sign,
}

impl NumberPattern {
    pub(super) fn read(pattern: &str) -> Result<Self> {
        let mut read = Self {
            parts: Vec::new(),
            whole: 0,
            decimals: 0,
            is_bare: false,
            sign: Sign::Plain,
        };
        let mut has_point = false;
        let mut rest = pattern;
        while let Some(c) = rest.chars().next() {
            let upper = |length: usize| rest.get(..length).map(str::to_ascii_uppercase);
            let two = upper(2).unwrap_or_default();
            let mut taken = c.len_utf8();
            match two.as_str() {
                "FM" => {
                    read.is_bare = true;
                    rest = &rest[2..];
                    continue;
                }
                "MI" | "PL" | "SG" => {
                    // A plus of its own place leaves the minus where it would be.
                    if two != "PL" {
                        read.sign = Sign::Placed;
                    }
                    read.parts.push(match two.as_str() {
                        "MI" => Part::Minus,
                        "PL" => Part::Plus,
                        _ => Part::EitherSign,
                    });
                    rest = &rest[2..];
                    continue;
                }
                "PR" => {
                    read.sign = Sign::Brackets;
                    rest = &rest[2..];
                    continue;
                }
                "RN" | "TH" => {
                    return exec_err!(
                        "{two} in a pattern of to_char is not known here for numbers"
                    );
                }
                _ => {}
            }
            if upper(4).as_deref() == Some("EEEE") {
                return exec_err!("EEEE in a pattern of to_char is not known here");
            }
            match c {
                '9' | '0' if has_point => {
                    read.decimals += 1;
                    read.parts.push(Part::Decimal(c == '0'));
                }
                '9' | '0' => {
                    read.whole += 1;
                    read.parts.push(Part::Whole(c == '0'));
                }
                '.' | 'D' | 'd' => {
                    if has_point {
                        return exec_err!("the pattern {pattern:?} of to_char has two points");
                    }
                    has_point = true;
                    read.parts.push(Part::Point);
                }
                ',' | 'G' | 'g' => read.parts.push(Part::Comma),
                'S' | 's' => {
                    read.sign = if read.whole + read.decimals == 0 && !has_point {
                        Sign::Before
                    } else {
                        Sign::Behind
                    };
                }
                'L' | 'l' | 'V' | 'v' => {
                    return exec_err!("{c} in a pattern of to_char is not known here");
                }
                '"' => {
                    let behind = &rest[1..];
                    let end = behind.find('"').unwrap_or(behind.len());
                    read.parts.push(Part::Text(behind[..end].to_owned()));
                    taken = (end + 2).min(rest.len());
                }
                '%' if rest[1..].starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    return exec_err!(
                        "{pattern:?} is a format of strftime(time, format); to_char of a number takes PostgreSQL's patterns, like '999,990.00'"
                    );
                }
                other => read.parts.push(Part::Text(other.to_string())),
            }
            rest = &rest[taken..];
        }
        Ok(read)
    }

    /// A decimal of a scale.
    pub(super) fn decimal(&self, value: i128, scale: i8) -> Result<String> {
        let decimals = i16::try_from(self.decimals).unwrap_or(i16::MAX);
        let shift = decimals - i16::from(scale);
        let (rounded, more) = match rounded_quotient(value, shift.min(0), 1) {
            Some(rounded) => (rounded, usize::from(shift.max(0).unsigned_abs())),
            None => return exec_err!("a number is too long for to_char"),
        };
        let mut digits = rounded.unsigned_abs().to_string();
        if rounded != 0 {
            digits.extend(std::iter::repeat_n('0', more));
        }
        Ok(self.text(value < 0, &digits))
    }

    /// A float.
    pub(super) fn float(&self, value: f64) -> Result<String> {
        if !value.is_finite() {
            return exec_err!("to_char has no digits for {value}");
        }
        let digits: String = format!("{:.*}", self.decimals, value.abs())
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        Ok(self.text(value < 0.0, &digits))
    }

    /// A number of whole digits and decimals in one text.
    fn text(&self, is_negative: bool, digits: &str) -> String {
        let digits = digits.trim_start_matches('0');
        let (whole, decimals) = match digits.len().checked_sub(self.decimals) {
            Some(at) => (digits[..at].to_owned(), digits[at..].to_owned()),
            None => (String::new(), format!("{digits:0>0$}", self.decimals)),
        };
        // A negative number that is rounded to nothing has no sign.
        let is_negative = is_negative && !digits.is_empty();
        let is_too_long = whole.len() > self.whole;
        let first_zero = self
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Whole(is_zero) => Some(*is_zero),
                _ => None,
            })
            .position(|is_zero| is_zero)
            .unwrap_or(self.whole);
        // The place of the first digit that is shown; a lone nought is shown where there are no decimals.
        let mut first = self.whole.saturating_sub(whole.len()).min(first_zero);
        let kept = self.kept_decimals(&decimals);
        let has_decimals = if self.is_bare {
            kept > 0
        } else {
            self.decimals > 0
        };
        if whole.is_empty() && !has_decimals && self.whole > 0 && first == self.whole {
            first = self.whole - 1;
        }
        let mut to = String::new();
        let (mut at_whole, mut at_decimal) = (0, 0);
        let mut is_begun = false;
        let begin = |to: &mut String, is_begun: &mut bool| {
            if *is_begun {
                return;
            }
            *is_begun = true;
            match self.sign {
                Sign::Plain if is_negative => to.push('-'),
                Sign::Plain if !self.is_bare => to.push(' '),
                Sign::Before => to.push(if is_negative { '-' } else { '+' }),
                Sign::Brackets if is_negative => to.push('<'),
                Sign::Brackets if !self.is_bare => to.push(' '),
                _ => {}
            }
        };
        for part in &self.parts {
            match part {
                Part::Whole(_) => {
                    if is_too_long {
                        begin(&mut to, &mut is_begun);
                        to.push('#');
                    } else if at_whole < first {
                        if !self.is_bare {
                            to.push(' ');
                        }
                    } else {
                        begin(&mut to, &mut is_begun);
                        let from = self.whole - whole.len();
                        let digit = at_whole
                            .checked_sub(from)
                            .and_then(|at| whole.as_bytes().get(at));
                        to.push(digit.map_or('0', |digit| char::from(*digit)));
                    }
                    at_whole += 1;
                }
                Part::Comma => {
                    if is_begun {
                        to.push(',');
                    } else if !self.is_bare {
                        to.push(' ');
                    }
                }
                Part::Point => {
                    begin(&mut to, &mut is_begun);
                    to.push('.');
                }
                Part::Decimal(_) => {
                    begin(&mut to, &mut is_begun);
                    if is_too_long {
                        to.push('#');
                    } else if at_decimal < kept {
                        let digit = decimals.as_bytes().get(at_decimal);
                        to.push(digit.map_or('0', |digit| char::from(*digit)));
                    }
                    at_decimal += 1;
                }
                Part::Minus => {
                    if is_negative {
                        to.push('-');
                    } else if !self.is_bare {
                        to.push(' ');
                    }
                }
                Part::Plus => {
                    if !is_negative {
                        to.push('+');
                    } else if !self.is_bare {
                        to.push(' ');
                    }
                }
                Part::EitherSign => to.push(if is_negative { '-' } else { '+' }),
                Part::Text(text) => to.push_str(text),
            }
        }
        match self.sign {
            Sign::Behind => to.push(if is_negative { '-' } else { '+' }),
            Sign::Brackets if is_negative => to.push('>'),
            Sign::Brackets if !self.is_bare => to.push(' '),
            _ => {}
        }
        to
    }

    /// Decimals that are shown: without filling up, noughts at the end are not, but for those that the pattern demands.
    fn kept_decimals(&self, decimals: &str) -> usize {
        if !self.is_bare {
            return self.decimals;
        }
        let demanded = self
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Decimal(is_zero) => Some(*is_zero),
                _ => None,
            })
            .collect::<Vec<_>>();
        let demanded = demanded
            .iter()
            .rposition(|is_zero| *is_zero)
            .map_or(0, |at| at + 1);
        decimals.trim_end_matches('0').len().max(demanded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of PostgreSQL 15.
    #[test]
    fn patterns_are_postgresqls() {
        for (value, pattern, expected) in [
            (123_456, "999,990.00", "   1,234.56"),
            (123_456, "9,999.9", " 1,234.6"),
            (-123_456, "9,999.99", "-1,234.56"),
            (123_456, "FM999,990.00", "1,234.56"),
            (5, "990.00", "   0.05"),
            (50, "99.9", "   .5"),
            (0, "99", "  0"),
            (0, "FM99.99", "0."),
            (1_230, "FM99.99", "12.3"),
            (1_200, "0000", " 0012"),
            (-1_200, "9999", "  -12"),
            (1_200, "S999", " +12"),
            (1_200, "999S", " 12+"),
            (-1_200, "999MI", " 12-"),
            (-1_200, "999PR", " <12>"),
            (1_200, "PL99", "+ 12"),
            (-1_200, "PL99", " -12"),
            (1_200, "MI99", " 12"),
            (-1, "0.9", " 0.0"),
            (0, "FM9.0", ".0"),
            (123_456, "999.99", " ###.##"),
            (1_250, "99 \"EUR\"", " 13 EUR"),
        ] {
            let read = NumberPattern::read(pattern).unwrap();
            assert_eq!(
                read.decimal(value, 2).unwrap(),
                expected,
                "{value} {pattern}"
            );
        }
        for pattern in ["RN", "9.9.9", "9EEEE", "%Y"] {
            assert!(NumberPattern::read(pattern).is_err(), "{pattern}");
        }
    }
}
