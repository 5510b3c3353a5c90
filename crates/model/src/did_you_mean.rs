//! Names that were nearly written right.
//!
//! Invariant: a name is offered only where a slip of the hand explains the difference; a wrong guess is worse than the list.

/// The candidate that differs from `found` by a slip of the hand.
pub fn nearest<'a>(found: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let lower = found.to_lowercase();
    let slips = if found.chars().count() <= 4 { 1 } else { 2 };
    candidates
        .iter()
        .map(|c| (strsim::osa_distance(&lower, &c.to_lowercase()), *c))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let fields = ["amount", "paid_amount", "site_name"];
        assert_eq!(nearest("amout", &fields), Some("amount"));
        assert_eq!(nearest("Site_Nmae", &fields), Some("site_name"));
        assert_eq!(nearest("price", &fields), None);
    }
}
