//! Payment labels of two sides that spell them differently: compared in the common words, shown in the provider's.
//!
//! Invariant: both sides' labels go through the same map before they are compared, so that a word which our tables hold under its common name
//! is never a difference by itself.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::reconcile::{ProviderFigure, StatisticsPart};
use tillhouse_model::{LabelKind, LabelMap};

/// The label of what names none, as statistics call it.
const UNKNOWN: &str = "unknown";

/// Provider's words for the common labels of one reconciliation.
#[derive(Debug, Clone, Default)]
pub(super) struct ProviderLabels(BTreeMap<(StatisticsPart, String), BTreeSet<String>>);

/// Label kind of a ranking; `None` for parts without payment labels.
fn kind_of(part: StatisticsPart) -> Option<LabelKind> {
    match part {
        StatisticsPart::PaymentType => Some(LabelKind::Type),
        StatisticsPart::PaymentMedium => Some(LabelKind::Medium),
        StatisticsPart::PaymentScheme => Some(LabelKind::Scheme),
        StatisticsPart::PaymentEntryMode => Some(LabelKind::EntryMode),
        StatisticsPart::PaymentFunction => Some(LabelKind::Function),
        _ => None,
    }
}

/// Label as our figures call it; one of which nothing can be seen is none there.
fn common(labels: &LabelMap, kind: LabelKind, label: &str) -> String {
    labels
        .common(kind, label)
        .map_or_else(|| UNKNOWN.to_owned(), Cow::into_owned)
}

/// Puts the common words into figures.
pub(super) fn map_to_common_labels(labels: &LabelMap, figures: &mut [ProviderFigure]) {
    for figure in figures {
        let Some((kind, label)) = kind_of(figure.part).zip(figure.label.as_ref()) else {
            continue;
        };
        figure.label = Some(common(labels, kind, label));
    }
}

impl ProviderLabels {
    /// Notes what the provider calls its labels, before they are put into the common words.
    pub(super) fn note(&mut self, labels: &LabelMap, theirs: &[ProviderFigure]) {
        for figure in theirs {
            let Some((kind, label)) = kind_of(figure.part).zip(figure.label.as_ref()) else {
                continue;
            };
            self.0
                .entry((figure.part, common(labels, kind, label)))
                .or_default()
                .insert(label.clone());
        }
    }

    /// The provider's word, or words, for a common label. Where it said none, the one that its labels list; else the label itself.
    pub(super) fn of(&self, labels: &LabelMap, part: StatisticsPart, label: &str) -> String {
        if let Some(said) = self.0.get(&(part, label.to_owned())) {
            return said
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(" + ");
        }
        match kind_of(part)
            .map(|kind| labels.words_for(kind, label))
            .as_deref()
        {
            Some([one]) => (*one).to_owned(),
            _ => label.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(part: StatisticsPart, label: &str) -> ProviderFigure {
        ProviderFigure {
            part,
            currency: None,
            unit: None,
            label: Some(label.to_owned()),
            value: None,
        }
    }

    fn labels() -> LabelMap {
        let mut labels = LabelMap::default();
        for (word, common) in [
            ("card", "Card"),
            ("coin", "Cash"),
            ("note", "Cash"),
            ("RFID", "RFID"),
        ] {
            labels.insert(LabelKind::Medium, word, common).unwrap();
        }
        labels
    }

    #[test]
    fn what_is_compared_in_common_words_is_shown_in_the_providers() {
        let labels = labels();
        let mut theirs = vec![
            figure(StatisticsPart::PaymentMedium, "card"),
            figure(StatisticsPart::PaymentMedium, "CARD"),
            figure(StatisticsPart::PaymentMedium, "Token"),
            figure(StatisticsPart::PaymentMedium, " "),
            figure(StatisticsPart::SiteAmount, "card"),
        ];
        let mut words = ProviderLabels::default();
        words.note(&labels, &theirs);
        map_to_common_labels(&labels, &mut theirs);
        let shown: Vec<_> = theirs.iter().filter_map(|f| f.label.as_deref()).collect();
        assert_eq!(
            shown,
            ["Card", "Card", "token", "unknown", "card"],
            "a site's name is no payment label"
        );
        assert_eq!(
            words.of(&labels, StatisticsPart::PaymentMedium, "Card"),
            "CARD + card"
        );
        assert_eq!(
            words.of(&labels, StatisticsPart::PaymentMedium, "token"),
            "Token"
        );
        assert_eq!(
            words.of(&labels, StatisticsPart::PaymentMedium, "RFID"),
            "RFID",
            "the provider said nothing; its labels know the word"
        );
        assert_eq!(
            words.of(&labels, StatisticsPart::PaymentMedium, "Cash"),
            "Cash",
            "two words could be meant"
        );
    }
}
