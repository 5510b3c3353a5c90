//! The workspace's own tests: the plan is kept, the files are tidy, the contracts are valid, the house works from end to end.
//!
//! Invariant: there is no code here. Everything is one integration binary, `tests/all`: a binary a file would link DataFusion
//! and Delta anew for each, which on a small machine takes longer than running them.
