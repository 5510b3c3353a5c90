//! The workspace's own tests: crate edges, tidy files, valid contracts, and the binary from end to end.
//!
//! Invariant: there is no code here. Everything is one integration binary, `tests/all`: a binary a file would link DataFusion
//! and Delta anew for each, which on a small machine takes longer than running them.
