//! Every source there is. A new one is one more line here.
//!
//! Invariant: the only place in the program where an API is named, but for examples in help texts and the emulated APIs of the feature `sandbox`.

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

/// Targets of their log lines: a source's crate is called `tillhouse-<its name>`.
pub(crate) fn log_targets() -> [String; SOURCES.len()] {
    NAMES.map(|name| format!("tillhouse_{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_as_its_crate() {
        let crates = [
            std::any::type_name::<BemoConnection>(),
            std::any::type_name::<HecOneConnection>(),
            std::any::type_name::<PaceConnection>(),
            std::any::type_name::<SmartNowConnection>(),
        ];
        for (target, connection) in log_targets().iter().zip(crates) {
            assert!(
                connection.starts_with(&format!("{target}::")),
                "{connection}"
            );
        }
    }
}
