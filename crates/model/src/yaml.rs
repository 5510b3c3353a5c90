//! YAML as configuration files and contracts are written in it: a tree of values with their places, and a serde deserializer over it.
//!
//! Invariant: every error names a place, the keys that lead there, what is expected and what was found, in words for the people who write such
//! files; no word of serde or of the YAML library gets into one.
//!
//! ```text
//!   text --serde-saphyr--> YamlNode, a tree with places --NodeDeserializer, for serde--> typed value
//!                             |                                 |
//!                             +----------- YamlFault -----------+
//! ```
//!
//! Rejected: deserializing straight from the library. Its errors and serde's speak to programmers (`invalid type: unit value`), an untagged
//! enum loses the place, and `1e5` or `no` cannot be read as the text that it is where a text is wanted.

mod fault;
mod node;
mod partial;
mod reader;
mod recovery;
mod syntax;

pub(crate) use fault::one_of;
pub use fault::{YamlFault, YamlFaultKind};
pub use node::{FileLocation, YamlContent, YamlEntry, YamlNode, YamlScalar};
pub use partial::PartialRead;
pub use reader::{NodeDeserializer, Spanned};
