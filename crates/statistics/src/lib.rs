//! The statistics.
