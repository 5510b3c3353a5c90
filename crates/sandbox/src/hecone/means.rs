//! How people pay: the types, media, schemes and entry modes of the sandbox's world.
//!
//! Invariant: a drawn means of payment is one that exists in the trade it is drawn for.

use super::places::Trade;
use crate::random::Random;

/// A way to pay; an empty word means that the provider leaves the field null.
#[derive(Debug)]
pub(crate) struct Means {
    pub kind: &'static str,
    pub medium: &'static str,
    pub schemes: &'static [&'static str],
    pub entry_modes: &'static [&'static str],
    pub functions: &'static [&'static str],
    pub has_card: bool,
}

const fn means(
    kind: &'static str,
    medium: &'static str,
    schemes: &'static [&'static str],
    entry_modes: &'static [&'static str],
    functions: &'static [&'static str],
    has_card: bool,
) -> Means {
    Means { kind, medium, schemes, entry_modes, functions, has_card }
}

const PSP: Means = means(
    "PSPCard",
    "Card",
    &["Visa", "Mastercard", "girocard", "Visa", "Mastercard", "Amex", ""],
    &["Contactless", "Contactless", "Chip", "Swipe"],
    &["SingleCard"],
    true,
);
const FLEET: Means =
    means("FleetCard", "Card", &["DKV", "UTA", "Routex"], &["Chip", "Swipe"], &["DriverCard", "VehicleCard"], true);
const CUSTOMER: Means = means(
    "CustomerCard",
    "RFID",
    &["7 Byte UID", "7 Byte UID", "4 Byte UID"],
    &["Contactless"],
    &["SingleCard", "VehicleCard"],
    true,
);
const APP: Means = means("App", "App", &["QR", "InApp"], &["Remote"], &["", "SingleCard"], false);
const CASH: Means = means("Cash", "Cash", &[""], &["Manual", ""], &[""], false);
const ROAMING: Means = means("Hubject", "Remote", &["ISO 15118", "RFID"], &["Remote"], &["SingleCard"], false);

impl Means {
    pub(crate) fn draw(trade: Trade, random: &mut Random) -> &'static Self {
        match (random.below(100), trade) {
            (0..54, _) => &PSP,
            (54..70, Trade::Fuelling) => &FLEET,
            (54..70, Trade::Charging) => &ROAMING,
            (54..80, _) => &CUSTOMER,
            (80..90, _) => &APP,
            (_, Trade::Charging) => &APP,
            (_, _) => &CASH,
        }
    }

    pub(crate) fn is_fleet(&self) -> bool {
        self.kind == FLEET.kind
    }

    pub(crate) fn is_roaming(&self) -> bool {
        self.kind == ROAMING.kind
    }
}
