//! Content of objects that are read whole: bookkeeping beside the tables.
//!
//! Invariant: what is larger than any that a run writes is not read into memory. It counts as an empty object, which is damaged to whoever reads it.

use bytes::Bytes;
use object_store::{GetResult, Result};

/// Largest object of bookkeeping that is read whole, in bytes.
const LARGEST: u64 = 256 << 20;

/// Content of an object; empty where it is too large.
pub(crate) async fn bounded_bytes(found: GetResult) -> Result<Bytes> {
    if found.meta.size > LARGEST {
        let (file, size) = (&found.meta.location, found.meta.size);
        tracing::warn!("/{file} has {size} bytes, too many to be read: it counts as an empty one");
        return Ok(Bytes::new());
    }
    found.bytes().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::local::LocalFileSystem;
    use object_store::path::Path;

    #[tokio::test]
    async fn what_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("coverage.json");
        let (store, file) = (
            LocalFileSystem::new(),
            Path::from_absolute_path(&at).unwrap(),
        );
        std::fs::write(&at, "{}").unwrap();
        let found = store.get(&file).await.unwrap();
        assert_eq!(bounded_bytes(found).await.unwrap(), "{}");
        // A file of holes takes no room on the disk.
        let large = std::fs::File::options().write(true).open(&at).unwrap();
        large.set_len(LARGEST + 1).unwrap();
        let found = store.get(&file).await.unwrap();
        assert_eq!(bounded_bytes(found).await.unwrap(), "");
    }
}
