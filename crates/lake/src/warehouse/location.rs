//! The place of a warehouse: its URL, checked, and the store it names.
//!
//! Invariant: options may hold credentials, and a URL too; neither is shown where it is refused for them.

use crate::store::durable::{DiskObserver, LocalDisk};
use object_store::ObjectStore;
use object_store::path::Path;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::{Error, Result};

/// URL and store options of a warehouse.
#[derive(Clone)]
pub struct WarehouseLocation {
    /// A path (relative ones count from the current folder) or a `file://` URL.
    pub url: String,
    /// Options of the object store. They may hold credentials, so they are never printed.
    pub options: BTreeMap<String, String>,
}

impl std::fmt::Debug for WarehouseLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Location")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl WarehouseLocation {
    /// Checks what can be checked without touching the place. Errors with [`ErrorKind::Config`], naming the key.
    pub fn check(&self) -> Result<()> {
        storage(self, None).map(drop)
    }
}

/// The store a location names, rooted where the URL's path begins, and the warehouse's URL.
pub(super) fn storage(
    location: &WarehouseLocation,
    witness: Option<DiskObserver>,
) -> Result<(Arc<dyn ObjectStore>, url::Url)> {
    let text = location.url.trim();
    let bad = |why: &str| {
        Error::config(format!("warehouse.url {why}"))
            .at("url", text)
            .hint("Write a path like ./warehouse or a file:// URL.")
    };
    if text.is_empty() {
        return Err(bad("is empty"));
    }
    let url = if text.contains("://") {
        let url = url::Url::parse(text).map_err(|_| {
            Error::config("warehouse.url is not a URL")
                .hint("Write a path like ./warehouse or a file:// URL.")
        })?;
        if url.scheme() != "file" {
            // The URL itself may hold a credential: only its scheme is shown.
            return Err(Error::config(format!(
                "warehouse.url: {}:// is not supported by this version",
                url.scheme()
            ))
            .hint("Use a folder: a path like ./warehouse or a file:// URL."));
        }
        let path = url
            .to_file_path()
            .map_err(|()| bad("names another machine"))?;
        url::Url::from_directory_path(path)
    } else {
        let path = std::path::absolute(text).map_err(|e| bad("is not a path").because(e))?;
        url::Url::from_directory_path(path)
    }
    .map_err(|()| bad("is not a path"))?;
    if !is_found_again(&url) {
        return Err(Error::config("warehouse.url names a folder that the tables' library cannot find again")
            .at("url", text)
            .hint(
                "In the whole path no folder's name may hold a backslash, a control character, or a percent sign before two hexadecimal digits.",
            ));
    }
    if let Some(option) = location.options.keys().next() {
        return Err(Error::config("warehouse.options: a folder has no options")
            .at("option", option)
            .hint("Leave warehouse.options out."));
    }
    Ok((Arc::new(LocalDisk::new(witness)), url))
}

/// True if the Delta library comes back to the folder: it writes the paths that a store lists into URLs as they are, and reads them decoded.
fn is_found_again(url: &url::Url) -> bool {
    let Ok(path) = Path::from_url_path(url.path()) else {
        return false;
    };
    let mut again = url.clone();
    again.set_path(&format!("/{path}"));
    Path::from_url_path(again.path()).is_ok_and(|again| again == path)
}
