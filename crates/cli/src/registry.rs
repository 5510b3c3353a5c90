//! Every source there is. A new one is one more line here.
//!
//! Invariant: the only place in the program where an API is named.

use tillhouse_bemo::BemoConnection;
use tillhouse_hecone::HecOneConnection;
use tillhouse_pace::PaceConnection;
use tillhouse_pipeline::SourceEntry;
use tillhouse_smartnow::SmartNowConnection;

/// The sources, in alphabetical order.
pub(crate) const SOURCES: &[SourceEntry] = &[
    SourceEntry::of::<BemoConnection>(),
    SourceEntry::of::<HecOneConnection>(),
    SourceEntry::of::<PaceConnection>(),
    SourceEntry::of::<SmartNowConnection>(),
];

/// Their names, for help texts and completion.
pub(crate) const NAMES: [&str; SOURCES.len()] = {
    let mut names = [""; SOURCES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = SOURCES[at].name;
        at += 1;
    }
    names
};
