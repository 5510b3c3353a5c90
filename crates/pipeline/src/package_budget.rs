//! Budget of the packages that a run gathers side by side.
//!
//! Invariant: all packages that are being gathered take [`TOTAL`] together, give or take a page each, however many resources are read at
//! once: the more there are, the sooner each commits. Up to four are of full size.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of columns after which a package is committed, where few are gathered.
pub(crate) const PACKAGE_BYTES: usize = 12 << 20;
/// Bytes of all of them.
const TOTAL: usize = 4 * PACKAGE_BYTES;
/// Bytes below which a commit is not worth its while.
const LEAST: usize = 1 << 20;

/// Number of packages that are being gathered.
#[derive(Debug, Default)]
pub(crate) struct PackageBudget(AtomicUsize);

/// Share of a budget, until dropped.
pub(crate) struct PackageShare(Arc<PackageBudget>);

impl PackageBudget {
    /// A share for one package that is gathered.
    pub(crate) fn share(self: &Arc<Self>) -> PackageShare {
        self.0.fetch_add(1, Ordering::Relaxed);
        PackageShare(Arc::clone(self))
    }
}

impl PackageShare {
    /// Bytes that the package may take now.
    pub(crate) fn bytes(&self) -> usize {
        let packages = self.0.0.load(Ordering::Relaxed).max(1);
        (TOTAL / packages).clamp(LEAST, PACKAGE_BYTES)
    }
}

impl Drop for PackageShare {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_packages_together_take_what_four_take() {
        let budget = Arc::new(PackageBudget::default());
        let mut shares = Vec::new();
        for packages in 1..=48 {
            shares.push(budget.share());
            let bytes: usize = shares.iter().map(PackageShare::bytes).sum();
            assert!(bytes <= TOTAL, "{packages} packages");
            if packages <= 4 {
                assert_eq!(bytes, packages * PACKAGE_BYTES);
            }
        }
        shares.truncate(4);
        assert_eq!(shares[0].bytes(), PACKAGE_BYTES);
        shares.extend((0..200).map(|_| budget.share()));
        assert_eq!(shares[0].bytes(), LEAST, "a commit costs more than that");
    }
}
