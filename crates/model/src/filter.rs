//! Kendo UI filter and composite filter descriptors: the shape in which HecOne and our own statistics take a filter.
//!
//! Invariant: a parsed [`Filter`] is within its bounds (depth 32, 1,000 nodes) and names only operators that exist; which
//! fields exist is for whoever applies it to say.
