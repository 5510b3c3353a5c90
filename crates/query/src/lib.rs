//! The DataFusion session over a published snapshot.
