//! Makes cargo take the build dependencies of this crate's manifest into account.

fn main() {}
