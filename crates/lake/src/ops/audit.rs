//! The bookkeeping of questions: who asked a server what of which run.
//!
//! Invariant: rows are only ever added, as they are given; what may not stand in them is for the server to leave out.

use crate::month::month_of;
use crate::ops::edit::{OpsTables, RowAppend};
use crate::ops::row_codec::{BookkeepingRow, ColumnType, RowReader, RowValue};
use jiff::Timestamp;
use tillhouse_model::Result;

/// A request that a server has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// When it came.
    pub asked_at: Timestamp,
    /// Its id, as a problem names it.
    pub request_id: String,
    /// The user or client; nobody where none was named.
    pub who: Option<String>,
    /// Address that it came from.
    pub from_address: String,
    /// Method of HTTP, or kind of statement.
    pub method: String,
    /// Endpoint.
    pub endpoint: String,
    /// Question, without values that may be personal.
    pub asked: Option<String>,
    /// The run that was answered from.
    pub run_id: Option<String>,
    /// Status of the answer.
    pub status: u64,
    /// Rows of the answer.
    pub rows: u64,
    /// Bytes of the answer, before they are compressed.
    pub bytes: u64,
    /// Milliseconds until the answer had ended.
    pub milliseconds: u64,
    /// True if the answer was read to its end.
    pub is_whole: bool,
}

impl BookkeepingRow for AuditRow {
    const TABLE: &'static str = "ops/audit";
    const STATISTICS: &'static [&'static str] = &["run_id"];
    const COLUMNS: &'static [(&'static str, ColumnType, bool)] = &[
        ("asked_at", ColumnType::Time, false),
        ("request_id", ColumnType::Text, false),
        ("who", ColumnType::Text, true),
        ("from_address", ColumnType::Text, false),
        ("method", ColumnType::Text, false),
        ("endpoint", ColumnType::Text, false),
        ("asked", ColumnType::Text, true),
        ("run_id", ColumnType::Text, true),
        ("status", ColumnType::Int, false),
        ("rows", ColumnType::Int, false),
        ("bytes", ColumnType::Int, false),
        ("milliseconds", ColumnType::Int, false),
        ("is_whole", ColumnType::Bool, false),
    ];

    fn month(&self) -> String {
        month_of(self.asked_at)
    }

    fn cells(&self) -> Result<Vec<RowValue>> {
        Ok(vec![
            self.asked_at.into(),
            self.request_id.as_str().into(),
            self.who.as_deref().into(),
            self.from_address.as_str().into(),
            self.method.as_str().into(),
            self.endpoint.as_str().into(),
            self.asked.as_deref().into(),
            self.run_id.as_deref().into(),
            self.status.into(),
            self.rows.into(),
            self.bytes.into(),
            self.milliseconds.into(),
            self.is_whole.into(),
        ])
    }

    fn read(cells: &RowReader<'_>) -> Result<Self> {
        Ok(Self {
            asked_at: cells.time("asked_at")?,
            request_id: cells.text("request_id")?,
            who: cells.maybe_text("who"),
            from_address: cells.text("from_address")?,
            method: cells.text("method")?,
            endpoint: cells.text("endpoint")?,
            asked: cells.maybe_text("asked"),
            run_id: cells.maybe_text("run_id"),
            status: cells.count("status")?,
            rows: cells.count("rows")?,
            bytes: cells.count("bytes")?,
            milliseconds: cells.count("milliseconds")?,
            is_whole: cells.boolean("is_whole")?,
        })
    }
}

impl OpsTables {
    /// Adds what was asked, in one commit. Nothing is written for nothing.
    pub async fn record_audit(&self, rows: &[AuditRow]) -> Result<()> {
        let id = rows.first().map_or("", |row| row.request_id.as_str());
        self.edit::<AuditRow>(id, &mut RowAppend(rows)).await
    }

    /// Questions, the oldest first.
    pub async fn audit(&self) -> Result<Vec<AuditRow>> {
        let mut rows = self.read(None, |_: &AuditRow| true).await?;
        rows.sort_by(|a, b| (a.asked_at, &a.request_id).cmp(&(b.asked_at, &b.request_id)));
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty_store::{TempWarehouse, t};
    use crate::maintenance::compact::CompactionOptions;

    fn row() -> AuditRow {
        AuditRow {
            asked_at: t("2026-01-31T23:59:59Z"),
            request_id: "1".into(),
            who: Some("north".into()),
            from_address: "127.0.0.1".into(),
            method: "GET".into(),
            endpoint: "statistics".into(),
            asked: Some("from=2026-01-01&".into()),
            run_id: Some("r".into()),
            status: 200,
            rows: 1,
            bytes: 2,
            milliseconds: 3,
            is_whole: true,
        }
    }

    #[tokio::test]
    async fn what_was_asked_is_read_back_and_only_ever_added() {
        let place = TempWarehouse::new();
        let ops = place.open().await.ops();
        ops.record_audit(&[]).await.unwrap();
        assert!(!place.root().join("ops/audit").exists());
        let first = row();
        let second = AuditRow {
            asked_at: t("2026-02-01T00:00:00Z"),
            request_id: "2".into(),
            who: None,
            asked: None,
            run_id: None,
            status: 401,
            is_whole: false,
            ..first.clone()
        };
        ops.record_audit(std::slice::from_ref(&second))
            .await
            .unwrap();
        ops.record_audit(std::slice::from_ref(&first))
            .await
            .unwrap();
        assert_eq!(ops.audit().await.unwrap(), [first, second]);
    }

    #[tokio::test]
    async fn its_many_small_files_become_few_as_those_of_other_bookkeeping() {
        let place = TempWarehouse::new();
        let warehouse = place.open().await;
        let ops = warehouse.ops();
        for minute in 10..20 {
            let row = AuditRow {
                asked_at: t(&format!("2026-01-31T23:{minute}:00Z")),
                request_id: minute.to_string(),
                ..row()
            };
            ops.record_audit(&[row]).await.unwrap();
        }
        let before = ops.audit().await.unwrap();
        let done = warehouse
            .compact(CompactionOptions::everything(), "upkeep", &|_| {})
            .await
            .unwrap();
        assert!(done.failed.is_empty(), "{:?}", done.failed);
        let told = &done.tables[0];
        assert_eq!((told.table.as_str(), told.files_before), ("ops/audit", 10));
        assert_eq!(told.files_after, Some(1));
        assert_eq!(ops.audit().await.unwrap(), before);
    }
}
