//! Object stores beneath the tables: where they are, what reaches the disk or the bucket, and what is checked on its way in.
//!
//! Invariant: knows files and bytes, no table and no version.

#[cfg(feature = "cloud")]
mod aws_profile;
pub(crate) mod bounded;
pub(crate) mod checkpoint_seal;
#[cfg(feature = "cloud")]
mod cloud;
#[cfg(feature = "cloud")]
mod cloud_builder;
#[cfg_attr(not(feature = "cloud"), allow(dead_code))]
pub(crate) mod cloud_options;
pub(crate) mod conditions;
pub(crate) mod counter;
pub(crate) mod damaged_key;
pub(crate) mod denied;
pub(crate) mod durable;
#[cfg_attr(not(feature = "cloud"), allow(dead_code))]
pub(crate) mod failure;
pub(crate) mod footer;
pub(crate) mod json_seal;
pub(crate) mod location;
pub(crate) mod log_guard;
pub(crate) mod misplaced;
pub(crate) mod small_files;
pub(crate) mod special_file;

use crate::store::durable::{DiskObserver, LocalDisk};
use crate::store::location::{StoreAddress, WarehouseLocation};
use object_store::ObjectStore;
use std::sync::Arc;
use tillhouse_model::Result;
use url::Url;

/// The store of a location, rooted where the URL's path begins, and the warehouse's URL. No request is sent.
pub(crate) async fn open_store(
    location: &WarehouseLocation,
    witness: Option<DiskObserver>,
) -> Result<(Arc<dyn ObjectStore>, Url)> {
    match location.address()? {
        StoreAddress::Folder(url) => Ok((Arc::new(LocalDisk::new(witness)), url)),
        #[cfg(feature = "cloud")]
        StoreAddress::Cloud(address) => {
            let url = address.url.clone();
            let store = cloud::CloudStore::open(cloud_builder::CloudSettings {
                address,
                options: location.options.clone(),
                variables: location.variables.clone(),
            })
            .await?;
            Ok((Arc::new(store), url))
        }
        #[cfg(not(feature = "cloud"))]
        StoreAddress::Cloud(_) => Err(tillhouse_model::Error::internal(
            "a cloud's address in a build without clouds",
        )),
    }
}

/// Ends the uploads of this process that nobody will end any more; to be called last. On a store that keeps parts of an upload until they are
/// removed, those of a command that was stopped would stay, and be paid for.
pub async fn end_uploads() {
    #[cfg(feature = "cloud")]
    cloud::end_uploads().await;
}
