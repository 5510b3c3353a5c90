//! The bookkeeping of reconciliations: what was compared with whom, and what differed.
//!
//! Invariant: rows are only ever added. A comparison that found nothing leaves a row as well, so that what was never compared can be
//! told from what agreed.

use crate::month::month_of;
use crate::ops::edit::{OpsTables, RowAppend};
use crate::ops::row_codec::{
    BookkeepingRow, ColumnType, NUMBER, RowReader, RowValue, json, number,
};
use jiff::Timestamp;
use std::collections::BTreeSet;
use tillhouse_model::{ExactDecimal, Result, Window};

/// One difference, or that a window was compared and none was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconciliationRow {
    /// The reconciliation; ids sort by time.
    pub reconciliation_id: String,
    /// When it was made.
    pub at: Timestamp,
    /// The published run whose tables were compared.
    pub run_id: String,
    /// The pipeline.
    pub pipeline: String,
    /// The tenant, where the provider was asked tenant by tenant.
    pub tenant: Option<String>,
    /// Figures compared with: statistics, revenue, records or control.
    pub yardstick: String,
    /// The instants that were compared.
    pub window: Window,
    /// `equal`: nothing differs in the window. `different`: this figure does.
    pub outcome: String,
    /// Number of figures of the window that were compared.
    pub figures: u64,
    /// The part that differs.
    pub part: Option<String>,
    /// Its currency.
    pub currency: Option<String>,
    /// The unit of a quantity.
    pub unit: Option<String>,
    /// The hour, site, article or payment label.
    pub label: Option<String>,
    /// Our figure.
    pub ours: Option<ExactDecimal>,
    /// The other's figure.
    pub theirs: Option<ExactDecimal>,
    /// Transactions to look at, by key.
    pub transactions: Vec<String>,
    /// The filter that narrowed both sides, as JSON, with pseudonyms for what is personal in it.
    pub filter: Option<String>,
}

impl BookkeepingRow for ReconciliationRow {
    const TABLE: &'static str = "ops/reconciliations";
    const STATISTICS: &'static [&'static str] = &["pipeline", "reconciliation_id"];
    const COLUMNS: &'static [(&'static str, ColumnType, bool)] = &[
        ("reconciliation_id", ColumnType::Text, false),
        ("reconciled_at", ColumnType::Time, false),
        ("run_id", ColumnType::Text, false),
        ("pipeline", ColumnType::Text, false),
        ("tenant", ColumnType::Text, true),
        ("yardstick", ColumnType::Text, false),
        ("window_from", ColumnType::Time, false),
        ("window_to", ColumnType::Time, false),
        ("outcome", ColumnType::Text, false),
        ("figures", ColumnType::Int, false),
        ("part", ColumnType::Text, true),
        ("currency", ColumnType::Text, true),
        ("unit", ColumnType::Text, true),
        ("label", ColumnType::Text, true),
        ("ours", NUMBER, true),
        ("theirs", NUMBER, true),
        ("transactions", ColumnType::Text, false),
        ("filter", ColumnType::Text, true),
    ];

    fn month(&self) -> String {
        month_of(self.at)
    }

    fn cells(&self) -> Result<Vec<RowValue>> {
        Ok(vec![
            self.reconciliation_id.as_str().into(),
            self.at.into(),
            self.run_id.as_str().into(),
            self.pipeline.as_str().into(),
            self.tenant.as_deref().into(),
            self.yardstick.as_str().into(),
            self.window.from().into(),
            self.window.to().into(),
            self.outcome.as_str().into(),
            self.figures.into(),
            self.part.as_deref().into(),
            self.currency.as_deref().into(),
            self.unit.as_deref().into(),
            self.label.as_deref().into(),
            number(self.ours),
            number(self.theirs),
            json(&self.transactions)?,
            self.filter.as_deref().into(),
        ])
    }

    fn read(cells: &RowReader<'_>) -> Result<Self> {
        Ok(Self {
            reconciliation_id: cells.text("reconciliation_id")?,
            at: cells.time("reconciled_at")?,
            run_id: cells.text("run_id")?,
            pipeline: cells.text("pipeline")?,
            tenant: cells.maybe_text("tenant"),
            yardstick: cells.text("yardstick")?,
            window: cells.window()?,
            outcome: cells.text("outcome")?,
            figures: cells.count("figures")?,
            part: cells.maybe_text("part"),
            currency: cells.maybe_text("currency"),
            unit: cells.maybe_text("unit"),
            label: cells.maybe_text("label"),
            ours: cells.maybe_number("ours"),
            theirs: cells.maybe_number("theirs"),
            transactions: cells.json("transactions")?,
            filter: cells.maybe_text("filter"),
        })
    }
}

impl OpsTables {
    /// Adds what a reconciliation found.
    pub async fn record_reconciliation(&self, rows: &[ReconciliationRow]) -> Result<()> {
        let id = rows
            .first()
            .map_or("", |row| row.reconciliation_id.as_str());
        self.edit::<ReconciliationRow>(id, &mut RowAppend(rows))
            .await
    }

    /// Results of reconciliations, of one pipeline or all, the oldest first.
    pub async fn reconciliations(&self, pipeline: Option<&str>) -> Result<Vec<ReconciliationRow>> {
        let pipelines = pipeline.map(|name| BTreeSet::from([name]));
        let mut rows = self
            .read(pipelines.as_ref(), |row: &ReconciliationRow| {
                pipeline.is_none_or(|p| p == row.pipeline)
            })
            .await?;
        rows.sort_by(|a, b| {
            (&a.reconciliation_id, &a.pipeline, &a.tenant, a.window).cmp(&(
                &b.reconciliation_id,
                &b.pipeline,
                &b.tenant,
                b.window,
            ))
        });
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty_store::TempWarehouse;

    #[tokio::test]
    async fn what_was_found_is_read_back_equal_and_only_ever_added() {
        let place = TempWarehouse::new();
        let t = |text: &str| text.parse::<Timestamp>().unwrap();
        let equal = ReconciliationRow {
            reconciliation_id: "1".into(),
            at: t("2026-01-10T00:00:00Z"),
            run_id: "r".into(),
            pipeline: "hecone".into(),
            tenant: None,
            yardstick: "statistics".into(),
            window: Window::new(t("2026-01-01T00:00:00Z"), t("2026-01-02T00:00:00Z")).unwrap(),
            outcome: "equal".into(),
            figures: 31,
            part: None,
            currency: None,
            unit: None,
            label: None,
            ours: None,
            theirs: None,
            transactions: vec![],
            filter: None,
        };
        let different = ReconciliationRow {
            tenant: Some("north".into()),
            outcome: "different".into(),
            part: Some("sites_amount_ranking".into()),
            currency: Some("EUR".into()),
            label: Some("Centre".into()),
            ours: Some(ExactDecimal::new(-12_340_000, 6)),
            theirs: Some(ExactDecimal::new(1, 6)),
            transactions: vec!["hecone:1".into()],
            filter: Some("{}".into()),
            ..equal.clone()
        };
        let ops = place.open().await.ops();
        ops.record_reconciliation(&[equal.clone(), different.clone()])
            .await
            .unwrap();
        let later = ReconciliationRow {
            reconciliation_id: "2".into(),
            pipeline: "other".into(),
            ..equal.clone()
        };
        ops.record_reconciliation(std::slice::from_ref(&later))
            .await
            .unwrap();
        assert_eq!(
            ops.reconciliations(Some("hecone")).await.unwrap(),
            [equal.clone(), different.clone()]
        );
        assert_eq!(
            ops.reconciliations(None).await.unwrap(),
            [equal, different, later]
        );
    }
}
