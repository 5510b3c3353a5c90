//! Reads of runs before the newest, which damage may have left unreadable for good.
//!
//! Invariant: an error is told with another hint only where the newest run is known to be whole without what the earlier one lacks. Everything is asked after a read has
//! failed, and never before.

use crate::log::remedy::ASK_ANOTHER_RUN;
use crate::log::table_version::TableVersion;
use crate::ops::rows::{AsOf, RunRecord};
use crate::store::denied::is_denied;
use crate::store::failure::is_store_failure;
use crate::warehouse::Warehouse;
use object_store::path::Path;
use tillhouse_model::Error;

impl Warehouse {
    /// The error of a table at a version, with the hint that fits where only runs before the newest need that version: no command repairs these.
    pub(crate) async fn told_of_earlier(
        &self,
        path: &str,
        version: &TableVersion,
        error: Error,
    ) -> Error {
        if is_store_failure(&error) || is_denied(&error.to_string()) {
            return error;
        }
        let newest = self.newest_run().await;
        let named = newest.as_ref().and_then(|run| run.tables.get(path));
        let (Some(named), Ok(table)) = (named.filter(|named| *named != version), self.table(path))
        else {
            return error;
        };
        match table.at(named).await {
            Ok(_) => error.hint(ASK_ANOTHER_RUN),
            Err(_) => error,
        }
    }

    /// True unless the newest published run is known to do without a data file, by its place in the store.
    pub async fn newest_needs(&self, location: &str) -> bool {
        let Some(run) = self.newest_run().await else {
            return true;
        };
        for (path, version) in &run.tables {
            let folder = format!("{}/", self.registry.below(path));
            let Some(file) = location.strip_prefix(&folder) else {
                continue;
            };
            let Ok(table) = self.table(path) else {
                return true;
            };
            return match table.at(version).await {
                Ok(Some(snapshot)) => snapshot.files.iter().any(|known| {
                    Path::parse(&known.path).is_ok_and(|known| known.as_ref() == file)
                }),
                Ok(None) | Err(_) => true,
            };
        }
        true
    }

    async fn newest_run(&self) -> Option<RunRecord> {
        self.ops().published(&AsOf::Latest).await.ok().flatten()
    }
}
