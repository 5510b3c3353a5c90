//! No code: this crate's manifest gives every dependency one set of features, whatever is selected with `-p`, so that `cargo test -p CRATE`
//! reuses what any other build has compiled.
//!
//! Invariant: the manifest is written by `cargo hakari generate` and never by hand; `make lint` verifies it.
