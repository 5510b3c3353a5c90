//! Files of `ops` that stand beside the tables and repeat what these say: the folded coverage, fingerprints, notes of published runs. The ones that are
//! damaged.
//!
//! Invariant: nothing is lost with any of them. A reader passes over one that is damaged, and a run writes it anew; here each is named, with the way out.

use crate::ops::coverage::FoldedCoverage;
use crate::ops::edit::OpsTables;
use crate::ops::fingerprints::{self, PipelineFingerprints};
use crate::ops::published_note::{self, PublishedNote};
use crate::ops::slices::FOLDED;
use crate::store::bounded::bounded_bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

/// The folder of bookkeeping.
const OPS: &str = "ops/";
const OF_COVERAGE: &str =
    "The next `tillhouse sync` writes it anew: ops/slices says the same. It may be deleted.";
const OF_FINGERPRINTS: &str = "The next `tillhouse sync` of the pipeline writes it anew: what is known is looked up in the tables until then. It may be deleted.";
const OF_NOTES: &str = "ops/runs says the same. Each `tillhouse sync` publishes a new one and keeps one before it; this one may be deleted.";

/// A file that is damaged, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DamagedFile {
    /// Its path below `ops`.
    pub(crate) file: String,
    /// The damage, in a sentence.
    pub(crate) what: String,
    /// Advice.
    pub(crate) hint: &'static str,
}

/// Files of one kind.
struct SideFiles {
    /// The file below the warehouse, or the folder of them.
    place: &'static str,
    is_folder: bool,
    is_sound: fn(&[u8]) -> bool,
    hint: &'static str,
}

const ALL: [SideFiles; 3] = [
    SideFiles {
        place: FOLDED,
        is_folder: false,
        is_sound: |bytes| {
            let read = FoldedCoverage::read(bytes);
            read.is_some_and(|folded| folded.rows().is_some())
        },
        hint: OF_COVERAGE,
    },
    SideFiles {
        place: fingerprints::FOLDER,
        is_folder: true,
        is_sound: |bytes| PipelineFingerprints::read(bytes).is_some(),
        hint: OF_FINGERPRINTS,
    },
    SideFiles {
        place: published_note::FOLDER,
        is_folder: true,
        is_sound: |bytes| PublishedNote::read(bytes).is_some(),
        hint: OF_NOTES,
    },
];

impl OpsTables {
    /// Files beside the tables that are damaged or cannot be read. All there are, older ones too, are read.
    pub(crate) async fn damaged_files(&self) -> Vec<DamagedFile> {
        let mut damaged = Vec::new();
        for kind in &ALL {
            let unreadable = |place: &str, error: object_store::Error| DamagedFile {
                file: place.strip_prefix(OPS).unwrap_or(place).to_owned(),
                what: format!("cannot be read: {error}"),
                hint: kind.hint,
            };
            let places = match self.places_of(kind).await {
                Ok(places) => places,
                Err(error) => {
                    damaged.push(unreadable(kind.place, error));
                    continue;
                }
            };
            for (place, path) in places {
                // Where something else stands in its place, the list of the warehouse's own objects tells.
                if self.registry.misplaced(&place).is_some() {
                    continue;
                }
                match self.bytes_at(&path).await {
                    Ok(Some(bytes)) if !(kind.is_sound)(&bytes) => damaged.push(DamagedFile {
                        file: place.strip_prefix(OPS).unwrap_or(&place).to_owned(),
                        what: "is damaged".to_owned(),
                        hint: kind.hint,
                    }),
                    Ok(_) => {}
                    Err(error) => damaged.push(unreadable(&place, error)),
                }
            }
        }
        damaged
    }

    /// Files of a kind, each by its path below the warehouse and in the store.
    async fn places_of(
        &self,
        kind: &SideFiles,
    ) -> Result<Vec<(String, Path)>, object_store::Error> {
        let path = self.registry.below(kind.place);
        if !kind.is_folder {
            return Ok(vec![(kind.place.to_owned(), path)]);
        }
        let listed: Vec<_> = self
            .registry
            .store()
            .list(Some(&path))
            .try_collect()
            .await?;
        let files = listed.into_iter().filter_map(|found| {
            let name = found.location.filename()?;
            // Those that begin with a dot are a file manager's, or not finished.
            let place = (!name.starts_with('.')).then(|| format!("{}/{name}", kind.place))?;
            Some((place, found.location))
        });
        Ok(files.collect())
    }

    /// Content of a file; `None` where it is gone.
    async fn bytes_at(&self, path: &Path) -> Result<Option<bytes::Bytes>, object_store::Error> {
        match self.registry.store().get(path).await {
            Ok(found) => bounded_bytes(found).await.map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty_store::TempWarehouse;

    #[tokio::test]
    async fn every_file_beside_the_tables_that_is_damaged_is_named_with_the_way_out() {
        let place = TempWarehouse::new();
        let ops = place.open().await.ops();
        assert_eq!(ops.damaged_files().await, [], "nothing is there yet");
        for (file, hint) in [
            ("coverage.json", OF_COVERAGE),
            ("fingerprints/hecone", OF_FINGERPRINTS),
            ("published/00000000000000000001.json.zst", OF_NOTES),
        ] {
            let path = place.root().join("ops").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "{").unwrap();
            let found = ops.damaged_files().await;
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].file.as_str(), found[0].hint), (file, hint));
            assert_eq!(found[0].what, "is damaged");
            std::fs::remove_file(path).unwrap();
        }
        let foreign = place.root().join("ops/published/.DS_Store");
        std::fs::write(foreign, "x").unwrap();
        assert_eq!(ops.damaged_files().await, []);
    }
}
