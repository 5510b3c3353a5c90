//! The APIs emulated on loopback.
