//! Way of paying, in one word.
//!
//! Invariant: the answer is one of card cash rfid app account voucher token other, or null where the provider said nothing.
//!
//! The five words a provider gives overlap and contradict each other (a payment of medium "Card" whose scheme is "7 Byte UID" is
//! an RFID tag in card's clothing), so the rules go from the words that leave no doubt to the ones that do; the first hit wins.

use super::arguments::CallArguments;
use super::{ArgumentType, SqlFunction};
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use std::sync::Arc;
use tillhouse_model::{FastMap, word};

const TEXT: ArgumentType = ArgumentType::Text;

/// `payment_method(type, medium, scheme, entry_mode, function)`.
pub(super) fn function() -> SqlFunction {
    SqlFunction::new(
        "payment_method",
        &[TEXT, TEXT, TEXT, TEXT, TEXT],
        DataType::Utf8,
        payment_method,
    )
}

fn payment_method(arguments: &CallArguments) -> Result<ArrayRef> {
    let mut words = Vec::with_capacity(5);
    for position in 0..5 {
        words.push(arguments.text(position)?);
    }
    let mut known: FastMap<[Option<&str>; 5], Option<&'static str>> = FastMap::default();
    let methods: StringArray = (0..arguments.rows())
        .map(|row| {
            let mut said = [None; 5];
            for (slot, word) in said.iter_mut().zip(&words) {
                *slot = word.get(row);
            }
            *known.entry(said).or_insert_with(|| method(&said))
        })
        .collect();
    Ok(Arc::new(methods))
}

/// A rule of `payment_method`: the method, the words that mean it anywhere inside a provider's
/// word, and those that must stand alone.
struct PaymentMethodRule {
    method: &'static str,
    anywhere: &'static [&'static str],
    alone: &'static [&'static str],
}

/// docs/functions.md prints this table; keep the two alike.
const RULES: [PaymentMethodRule; 9] = [
    PaymentMethodRule {
        method: "voucher",
        anywhere: &["voucher", "coupon", "giftcard", "gift card", "gutschein"],
        alone: &["code"],
    },
    PaymentMethodRule {
        method: "cash",
        anywhere: &["cash", "coin", "banknote"],
        alone: &["bar", "note", "bill"],
    },
    PaymentMethodRule {
        method: "card",
        anywhere: &[
            "psp",
            "credit",
            "debit",
            "visa",
            "mastercard",
            "maestro",
            "amex",
            "girocard",
            "vpay",
            "emv",
        ],
        alone: &["bank", "bankcard", "ec"],
    },
    PaymentMethodRule {
        method: "app",
        anywhere: &[
            "applepay",
            "apple pay",
            "googlepay",
            "google pay",
            "paypal",
            "wallet",
            "mobile",
            "twint",
            "alipay",
        ],
        alone: &["app", "web", "qr", "online"],
    },
    PaymentMethodRule {
        method: "rfid",
        anywhere: &["rfid", "mifare", "legic", "transponder", "byte uid"],
        alone: &["uid", "tag", "nfc"],
    },
    PaymentMethodRule {
        method: "account",
        anywhere: &[
            "account", "invoice", "sepa", "contract", "customer", "postpaid", "roaming", "hubject",
        ],
        alone: &[],
    },
    PaymentMethodRule {
        method: "token",
        anywhere: &["token"],
        alone: &["virtual"],
    },
    PaymentMethodRule {
        method: "card",
        anywhere: &["card"],
        alone: &["dkv", "uta", "shell", "aral", "fleet"],
    },
    PaymentMethodRule {
        method: "app",
        anywhere: &[],
        alone: &["remote"],
    },
];

fn method(said: &[Option<&str>; 5]) -> Option<&'static str> {
    // "Cashless" means the opposite of the word it contains.
    let said = said
        .iter()
        .flatten()
        .map(|word| word::canonical(word))
        .filter(|word| !word.is_empty());
    let said: Vec<String> = said.map(|word| word.replace("cashless", "")).collect();
    if said.is_empty() {
        return None;
    }
    let holds = |rule: &&PaymentMethodRule| {
        said.iter().any(|word| {
            rule.anywhere.iter().any(|stem| word.contains(stem))
                || word
                    .split(|c: char| !c.is_alphanumeric())
                    .any(|part| rule.alone.contains(&part))
        })
    };
    Some(RULES.iter().find(holds).map_or("other", |rule| rule.method))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(word: &str) -> Option<&'static str> {
        method(&[Some(word), None, None, None, None])
    }

    #[test]
    fn words_without_doubt() {
        for (word, expected) in [
            ("PSPCard", "card"),
            ("Cash", "cash"),
            ("COIN", "cash"),
            ("Cashless", "other"),
            ("barcode", "other"),
            ("voucher", "voucher"),
            ("code", "voucher"),
            ("applepay", "app"),
            ("creditcard", "card"),
            ("paypal", "app"),
            ("sepa", "account"),
            ("RFID", "rfid"),
            ("7 Byte UID", "rfid"),
            ("fluid", "other"),
            ("token", "token"),
            ("virtual", "token"),
            ("FuelCard", "card"),
            ("dkv", "card"),
        ] {
            assert_eq!(one(word), Some(expected), "{word}");
        }
        assert_eq!(method(&[None; 5]), None);
        assert_eq!(
            method(&[Some(" "), Some(""), None, Some("\u{200b}"), None]),
            None,
            "nothing was said"
        );
        assert_eq!(one("\u{ff23}\u{ff21}\u{ff33}\u{ff28}"), Some("cash"));
    }

    #[test]
    fn the_surer_word_wins() {
        let uid = method(&[
            None,
            Some("Card"),
            Some("7 Byte UID"),
            Some("Remote"),
            Some("SingleCard"),
        ]);
        assert_eq!(uid, Some("rfid"));
        let bank = method(&[
            Some("PSPCard"),
            Some("Card"),
            Some("7 Byte UID"),
            Some("Remote"),
            Some("SingleCard"),
        ]);
        assert_eq!(bank, Some("card"));
    }
}
