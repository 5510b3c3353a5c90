//! The tillhouse binary.
fn main() {}
