//! Payment methods: the types, media, schemes and entry modes of the sandbox's world.
//!
//! Invariant: a drawn means of payment is one that exists in the trade it is drawn for.

use super::sites::SiteCategory;
use crate::random::RandomStream;

/// A payment method; an empty word means that the provider leaves the field null.
#[derive(Debug)]
pub(crate) struct HecOnePaymentMethod {
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
) -> HecOnePaymentMethod {
    HecOnePaymentMethod {
        kind,
        medium,
        schemes,
        entry_modes,
        functions,
        has_card,
    }
}

const PSP: HecOnePaymentMethod = means(
    "PSPCard",
    "Card",
    &[
        "Visa",
        "Mastercard",
        "girocard",
        "Visa",
        "Mastercard",
        "Amex",
        "",
    ],
    &["Contactless", "Contactless", "Chip", "Swipe"],
    &["SingleCard"],
    true,
);
const FLEET: HecOnePaymentMethod = means(
    "FleetCard",
    "Card",
    &["DKV", "UTA", "Routex"],
    &["Chip", "Swipe"],
    &["DriverCard", "VehicleCard"],
    true,
);
const CUSTOMER: HecOnePaymentMethod = means(
    "CustomerCard",
    "RFID",
    &["7 Byte UID", "7 Byte UID", "4 Byte UID"],
    &["Contactless"],
    &["SingleCard", "VehicleCard"],
    true,
);
const APP: HecOnePaymentMethod = means(
    "App",
    "App",
    &["QR", "InApp"],
    &["Remote"],
    &["", "SingleCard"],
    false,
);
const CASH: HecOnePaymentMethod = means("Cash", "Cash", &[""], &["Manual", ""], &[""], false);
const ROAMING: HecOnePaymentMethod = means(
    "Hubject",
    "Remote",
    &["ISO 15118", "RFID"],
    &["Remote"],
    &["SingleCard"],
    false,
);

impl HecOnePaymentMethod {
    pub(crate) fn draw(trade: SiteCategory, random: &mut RandomStream) -> &'static Self {
        match (random.below(100), trade) {
            (0..54, _) => &PSP,
            (54..70, SiteCategory::Fuelling) => &FLEET,
            (54..70, SiteCategory::Charging) => &ROAMING,
            (54..80, _) => &CUSTOMER,
            (80..90, _) => &APP,
            (_, SiteCategory::Charging) => &APP,
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
