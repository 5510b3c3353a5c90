//! The privacy key of a warehouse: a fingerprint of it in the format file, which every command reads anyway.
//!
//! Invariant: pseudonyms of two keys come into one warehouse only where somebody says so. The fingerprint is made with the key, as pseudonyms are, and
//! tells no more of it than they do.

use super::{FORMAT_FILE, Warehouse, WarehouseFormat};
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use std::sync::PoisonError;
use tillhouse_model::{Error, ErrorKind, PseudonymKey, Result};

/// Tries to write the fingerprint, while others write the file too.
const TRIES: u32 = 5;

impl Warehouse {
    /// Compares a key with the one that the warehouse's pseudonyms were made with, as the warehouse said when it was opened. No I/O; a warehouse that names
    /// none, one of an earlier version or without any sync, takes any.
    ///
    /// Errors with [`ErrorKind::Config`] where it is another.
    pub fn check_privacy_key(&self, key: &PseudonymKey) -> Result<()> {
        match self.key_fingerprint() {
            Some(known) if known != key.fingerprint() => Err(self.other_key()),
            _ => Ok(()),
        }
    }

    /// Notes that the warehouse's pseudonyms are made with a key, before any is written: where no key is noted yet, or where this one `replaces` another. No I/O
    /// where it is noted already.
    ///
    /// Errors with [`ErrorKind::Config`] where another one is noted that it does not replace, and with [`ErrorKind::Storage`] where it cannot be.
    pub async fn keep_privacy_key(&self, key: &PseudonymKey, replaces: bool) -> Result<()> {
        let fingerprint = key.fingerprint();
        if self.key_fingerprint().as_ref() == Some(&fingerprint) {
            return Ok(());
        }
        let failed = |error: StoreError| {
            Error::new(
                ErrorKind::Storage,
                "the fingerprint of the privacy key cannot be kept",
            )
            .at("warehouse", self.url().as_str())
            .at("file", FORMAT_FILE)
            .because(error)
        };
        let (store, file) = (self.registry.store(), self.registry.below(FORMAT_FILE));
        let mut last = None;
        for _ in 0..TRIES {
            let found = store.get(&file).await.map_err(failed)?;
            let version = UpdateVersion {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            };
            let format = self.parsed_format(&found.bytes().await.map_err(failed)?)?;
            match &format.privacy_key {
                // Another sync was faster, or a request that was tried again underneath meets its own success.
                Some(known) if *known == fingerprint => {
                    self.know_key(Some(fingerprint));
                    return Ok(());
                }
                Some(_) if !replaces => return Err(self.other_key()),
                _ => {}
            }
            let next = WarehouseFormat {
                privacy_key: Some(fingerprint.clone()),
                ..format
            };
            let options = PutOptions {
                mode: PutMode::Update(version),
                ..PutOptions::default()
            };
            match store.put_opts(&file, next.bytes()?.into(), options).await {
                Ok(_) => {
                    self.know_key(Some(fingerprint));
                    return Ok(());
                }
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(error) => failed(error),
            None => Error::internal("the privacy key was not noted"),
        })
    }

    /// The fingerprint of the key, as the warehouse said when its format was read last.
    pub(super) fn key_fingerprint(&self) -> Option<String> {
        let known = self
            .privacy_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    pub(super) fn know_key(&self, fingerprint: Option<String>) {
        let mut known = self
            .privacy_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = fingerprint;
    }

    fn other_key(&self) -> Error {
        Error::config(
            "privacy_key is not the one that the warehouse's pseudonyms were made with: one car would be two from then on",
        )
        .at("warehouse", self.url().as_str())
        .at("file", FORMAT_FILE)
        .hint(
            "Put the old key back (TILLHOUSE_PRIVACY_KEY in .env or in the environment). If it is lost, or has to be another, begin a new \
             warehouse under another warehouse.url, or go on in this one with `tillhouse sync --full --new-privacy-key`: what the providers \
             no longer give keeps its old pseudonyms.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::location::WarehouseLocation;
    use std::path::Path;
    use tillhouse_model::Secret;

    async fn open(folder: &Path) -> Warehouse {
        let location = WarehouseLocation::new(folder.display().to_string());
        let warehouse = Warehouse::open(&location).await.unwrap();
        warehouse.prepare().await.unwrap();
        warehouse
    }

    fn key(digit: &str) -> PseudonymKey {
        PseudonymKey::parse(&Secret::new(digit.repeat(64))).unwrap()
    }

    #[tokio::test]
    async fn another_key_is_refused_until_somebody_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        let [a, b] = [key("a"), key("b")];
        let warehouse = open(place).await;
        // None is noted: an earlier version's warehouse takes the first that comes.
        warehouse.check_privacy_key(&a).unwrap();
        warehouse.check_privacy_key(&b).unwrap();
        warehouse.keep_privacy_key(&a, false).await.unwrap();
        for warehouse in [warehouse, open(place).await] {
            warehouse.check_privacy_key(&a).unwrap();
            for error in [
                warehouse.check_privacy_key(&b).unwrap_err(),
                warehouse.keep_privacy_key(&b, false).await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Config);
                let hint = error.hint_text().unwrap();
                assert!(hint.contains("--new-privacy-key"), "{error:?}");
                let text = format!("{error:?}");
                assert!(
                    !text.contains(&b.fingerprint()) && !text.contains("bbbb"),
                    "{text}"
                );
            }
        }
        let warehouse = open(place).await;
        warehouse.keep_privacy_key(&b, true).await.unwrap();
        warehouse.check_privacy_key(&b).unwrap();
        let warehouse = open(place).await;
        warehouse.check_privacy_key(&b).unwrap();
        assert!(warehouse.check_privacy_key(&a).is_err());
    }

    #[tokio::test]
    async fn of_two_first_syncs_with_two_keys_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        let [first, second] = [open(place).await, open(place).await];
        let [a, b] = [key("a"), key("b")];
        first.keep_privacy_key(&a, false).await.unwrap();
        // It was opened before and knows of none.
        second.check_privacy_key(&b).unwrap();
        let error = second.keep_privacy_key(&b, false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        second.keep_privacy_key(&a, false).await.unwrap();
        let file = std::fs::read_to_string(place.join(FORMAT_FILE)).unwrap();
        let said: serde_json::Value = serde_json::from_str(&file).unwrap();
        assert_eq!(said["privacy_key"], a.fingerprint());
        assert!(!file.contains("aaaaaaaa"), "{file}");
    }

    #[tokio::test]
    async fn a_file_that_was_written_by_hand_names_no_key_and_the_next_sync_notes_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        let warehouse = open(place).await;
        warehouse.keep_privacy_key(&key("a"), false).await.unwrap();
        let file = place.join(FORMAT_FILE);
        let bare = format!("{{\"format_version\":{}}}", super::super::FORMAT_VERSION);
        std::fs::write(&file, bare).unwrap();
        let warehouse = open(place).await;
        warehouse.check_privacy_key(&key("b")).unwrap();
        warehouse.keep_privacy_key(&key("b"), false).await.unwrap();
        assert!(open(place).await.check_privacy_key(&key("a")).is_err());
    }
}
