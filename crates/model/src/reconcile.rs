//! A provider's figures of its own sales, in the shape in which ours are compared with them.
//!
//! Invariant: a figure says which part, currency, unit and label it is about; two figures of one kind are about the same thing
//! exactly where these are equal.

use crate::exact_decimal::ExactDecimal;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// Figures that a source can be reconciled against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconcileAgainst {
    /// The provider's own statistics, part by part.
    Statistics,
    /// The provider's own revenue by currency and day: amounts, each labelled with its day (`2026-01-31`) on the site's own clock.
    Revenue,
    /// Number of the provider's records. Amounts are not compared, so this proves completeness and
    /// nothing else.
    Records,
    /// Control totals: an accountant's, an acquirer's.
    Control,
}

impl ReconcileAgainst {
    /// The name in ops.reconciliations and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Statistics => "statistics",
            Self::Revenue => "revenue",
            Self::Records => "records",
            Self::Control => "control",
        }
    }

    /// Sentence on what agreement with it proves.
    pub fn proves(self) -> &'static str {
        match self {
            Self::Statistics => "Every part of the provider's own statistics is compared.",
            Self::Revenue => {
                "Amounts by currency and day are compared with the provider's; nothing else is."
            }
            Self::Records => {
                "Completeness only: records are counted, their amounts are not compared."
            }
            Self::Control => {
                "Counts and amounts by day and currency are compared with the control totals."
            }
        }
    }
}

macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident $text:literal $scale:literal)*) => {
        /// A part of statistics: what a figure is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum StatisticsPart {
            $($(#[$doc])* $name,)*
        }

        impl StatisticsPart {
            /// Every part.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// HecOne's name of it, where HecOne has one.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Number of digits after the point that are compared: as many as our tables hold.
            pub fn scale(self) -> u8 {
                match self { $(Self::$name => $scale,)* }
            }
        }
    };
}

parts! {
    /// Number of records.
    Records "records" 0
    /// Number of counted transactions.
    Count "transactions_count" 0
    /// Growth of their number, in per cent.
    CountGrowth "transactions_count.growth" 2
    /// The sum of their amounts.
    Amount "transactions_total_amount" 4
    /// Growth of that sum, in per cent.
    AmountGrowth "transactions_total_amount.growth" 2
    /// Transactions by hour.
    Hours "hourly_transactions" 0
    /// Amounts paid by type.
    PaymentType "payment_type_ranking" 4
    /// Amounts paid by medium.
    PaymentMedium "payment_medium_ranking" 4
    /// Amounts paid by scheme.
    PaymentScheme "payment_scheme_ranking" 4
    /// Amounts paid by entry mode.
    PaymentEntryMode "payment_entry_mode_ranking" 4
    /// Amounts paid by function.
    PaymentFunction "payment_function_ranking" 4
    /// Quantities by unit and article.
    Quantities "article_quantities_ranking" 6
    /// Amounts by site.
    SiteAmount "sites_amount_ranking" 4
    /// Transactions by site.
    SiteCount "sites_transactions_ranking" 0
}

impl StatisticsPart {
    /// True for an amount of money; others are counts, quantities, and growth.
    pub fn is_amount(self) -> bool {
        matches!(
            self,
            Self::Amount
                | Self::PaymentType
                | Self::PaymentMedium
                | Self::PaymentScheme
                | Self::PaymentEntryMode
                | Self::PaymentFunction
                | Self::SiteAmount
        )
    }

    /// True if it compares with the window before, and so cannot be added up over windows, sites
    /// or currencies.
    pub fn is_growth(self) -> bool {
        matches!(self, Self::CountGrowth | Self::AmountGrowth)
    }
}

impl fmt::Display for StatisticsPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for StatisticsPart {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Figure of one part, currency, unit and label; ours are brought into the same shape to be
/// compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderFigure {
    /// Part of the statistics that it belongs to.
    pub part: StatisticsPart,
    /// ISO 4217, or `unknown`; `None` where the provider mixes currencies or names none.
    pub currency: Option<String>,
    /// The unit of a quantity.
    pub unit: Option<String>,
    /// The hour, site, article or payment label; `None` for totals.
    pub label: Option<String>,
    /// `None` where there is no number: growth from nothing.
    pub value: Option<ExactDecimal>,
}

/// Figures of a provider about one window.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProviderFigures {
    /// The parts it spoke of at all; others are not compared.
    pub parts: BTreeSet<StatisticsPart>,
    /// The figures.
    pub figures: Vec<ProviderFigure>,
}
