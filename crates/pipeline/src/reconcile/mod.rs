//! Reconciliation: a pipeline's published figures beside its provider's, or beside somebody else's control totals.
//!
//! ```text
//!   yardstick of the source ─┬─ statistics              `provider`: window by window, tenant by tenant; what differs, hour by hour
//!                            ├─ records                 `records`: read again and counted, key by key
//!                            └─ revenue, control file   `days`: day by day
//!   differences ─> transactions to look at ─> report, ops.reconciliations
//! ```
//!
//! Invariant: nothing but ops.reconciliations is written, and no API is named: what a source can be compared with, it says itself
//! ([`tillhouse_extract::Source::reconcile_against`]). Nothing is called equal that was not compared: what could not be is counted, and the
//! [`ReconcileVerdict`] says so.

mod days;
mod listed_by;
mod provider;
mod provider_labels;
mod provider_records;
mod records;

use crate::config::Pipeline;
use crate::context::{RunContext, new_run_id};
use crate::expected::configured_reads;
use jiff::{SignedDuration, Timestamp};
use provider_labels::ProviderLabels;
use serde::Serialize;
use std::collections::BTreeSet;
use tillhouse_lake::{AsOf, ReconciliationRow};
use tillhouse_model::reconcile::ReconcileAgainst;
use tillhouse_model::{Error, ErrorKind, ExactDecimal, Filter, ReadBy, Result, ResultExt, Window};
use tillhouse_query::Session;
use tillhouse_statistics::reconcile::{
    self as side_by_side, ControlTotal, DefinitionFinding, FigureDifference, find_suspects,
};
use tillhouse_statistics::report::{ReportedGap, StatisticsMeta};
use tillhouse_statistics::{CheckedFilter, RequestedNames, StatisticsRequest, statistics};

/// Most differences that are looked into; the rest is listed without transactions.
const LOOKED_INTO: usize = 40;

/// Request of a reconciliation: window, states, filter, and what to compare against.
#[derive(Debug, Clone)]
pub struct ReconcileRequest {
    /// The instants.
    pub window: Window,
    /// Window to compare at a time; what differs is then compared hour by hour.
    pub step: SignedDuration,
    /// The transaction states that count.
    pub states: Vec<String>,
    /// Figures to compare against, if not the best a source offers.
    pub against: Option<ReconcileAgainst>,
    /// Somebody else's totals, instead of a provider's figures.
    pub control: Option<Vec<ControlTotal>>,
    /// The zone in which a control file's days are cut; every site's own by default.
    pub timezone: Option<String>,
    /// Transactions named per difference, at most.
    pub max_transactions: usize,
    /// Only the transactions that pass, on both sides; all by default.
    pub filter: Option<ReconcileFilter>,
}

/// A filter as both sides need it.
#[derive(Debug, Clone)]
pub struct ReconcileFilter {
    /// As it was asked: what the provider is asked.
    pub asked: Filter,
    /// Checked against our columns, with pseudonyms for what is personal in it.
    pub selection: CheckedFilter,
}

/// Result of a reconciliation.
#[derive(Debug, Serialize)]
pub struct Reconciliation {
    /// Its id, in ops.reconciliations.
    pub reconciliation: String,
    /// The published run that was compared.
    pub run: String,
    /// The instants.
    #[serde(flatten)]
    pub window: Window,
    /// The filter that narrowed both sides, with pseudonyms for what is personal in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// One entry a pipeline; with a control file one for all together.
    pub pipelines: Vec<PipelineReconciliation>,
    /// Pipelines that could not be compared, and why.
    #[serde(serialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<(String, Error)>,
    /// Reason that nothing of it is in ops.reconciliations, where that is so: the warehouse cannot be written to, for example.
    #[serde(serialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<Error>,
}

fn text<S: serde::Serializer>(
    error: &Option<Error>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    error.as_ref().map(Error::to_string).serialize(serializer)
}

fn texts<S: serde::Serializer>(
    failed: &[(String, Error)],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(
        failed
            .iter()
            .map(|(pipeline, error)| (pipeline, error.to_string())),
    )
}

impl Reconciliation {
    /// True if everything was compared, and nothing differs anywhere.
    pub fn is_clean(&self) -> bool {
        self.pipelines.iter().all(|outcome| {
            matches!(
                outcome.verdict,
                ReconcileVerdict::Equal | ReconcileVerdict::Empty
            )
        })
    }
}

/// The verdict of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconcileVerdict {
    /// Everything was compared and is equal.
    Equal,
    /// Neither side has anything in windows that were read to their end, and no filter left anything out.
    Empty,
    /// Something differs.
    Different,
    /// Nothing differs of what was compared, but something, or everything, was not.
    Incomplete,
}

/// Result of comparing one pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineReconciliation {
    /// The pipeline.
    pub pipeline: String,
    /// Figures it was compared with.
    pub yardstick: ReconcileAgainst,
    /// Sentence on what agreement proves.
    pub proves: &'static str,
    /// Number of windows compared.
    pub windows: u64,
    /// Number of figures.
    pub figures: u64,
    /// Number of figures, records or days that were not compared, though they were asked for; the
    /// notes say which.
    pub not_compared: u64,
    /// The parts of the statistics that the other side says nothing about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts_not_compared: Vec<&'static str>,
    /// Verdict over these.
    pub verdict: ReconcileVerdict,
    /// Differences.
    pub differences: Vec<ReportedDifference>,
    /// Definitions of the other side that explain it.
    pub findings: Vec<DefinitionFinding>,
    /// Notes: gaps, rejects, parts that were not compared.
    pub notes: Vec<String>,
    /// Provider's names of the compared labels, by the common words.
    #[serde(skip)]
    words: ProviderLabels,
}

impl PipelineReconciliation {
    fn new(pipeline: &str, yardstick: ReconcileAgainst) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            yardstick,
            proves: yardstick.proves(),
            windows: 0,
            figures: 0,
            not_compared: 0,
            parts_not_compared: Vec::new(),
            verdict: ReconcileVerdict::Incomplete,
            differences: Vec::new(),
            findings: Vec::new(),
            notes: Vec::new(),
            words: ProviderLabels::default(),
        }
    }

    /// Leaves something out of the comparison, and says so.
    fn leave_out(&mut self, count: u64, note: String) {
        self.not_compared += count;
        self.notes.push(note);
    }

    /// Sets the verdict, when all is noted. `is_proved_empty` says that a window in which neither side has anything
    /// is one of which everything was asked and read.
    fn set_verdict(&mut self, is_proved_empty: bool) {
        // Resources and tenants of one window have the same to say of it.
        let mut said = BTreeSet::new();
        self.notes.retain(|note| said.insert(note.clone()));
        self.verdict = match (self.differences.is_empty(), self.not_compared, self.figures) {
            (false, ..) => ReconcileVerdict::Different,
            (true, 0, 0) if is_proved_empty => ReconcileVerdict::Empty,
            (true, 0, 1..) => ReconcileVerdict::Equal,
            _ => ReconcileVerdict::Incomplete,
        };
    }
}

/// One figure that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportedDifference {
    /// The instants it is about.
    #[serde(flatten)]
    pub window: Window,
    /// The tenant, where the provider was asked tenant by tenant.
    pub tenant: Option<String>,
    /// The part of the statistics.
    pub part: &'static str,
    /// ISO 4217, `unknown`, or null where the other side mixes them.
    pub currency: Option<String>,
    /// The unit of a quantity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The hour, site, article or payment label.
    pub label: Option<String>,
    /// Ours.
    pub ours: Option<ExactDecimal>,
    /// The other side's.
    pub theirs: Option<ExactDecimal>,
    /// Theirs less ours.
    pub difference: Option<ExactDecimal>,
    /// Transactions to look at, by key.
    pub transactions: Vec<String>,
}

impl ReportedDifference {
    fn new(
        window: Window,
        tenant: Option<&str>,
        difference: &FigureDifference,
        transactions: Vec<String>,
    ) -> Self {
        Self {
            window,
            tenant: tenant.map(str::to_owned),
            part: difference.part.as_str(),
            currency: difference.currency.clone(),
            unit: difference.unit.clone(),
            label: difference.label.clone(),
            ours: difference.ours.map(ExactDecimal::trimmed),
            theirs: difference.theirs.map(ExactDecimal::trimmed),
            difference: difference.difference().map(ExactDecimal::trimmed),
            transactions,
        }
    }
}

/// One window of one tenant that was compared, with what differs in it.
struct ComparedWindow {
    window: Window,
    tenant: Option<String>,
    figures: u64,
    not_compared: u64,
    differences: Vec<FigureDifference>,
}

impl ComparedWindow {
    fn of(window: Window, tenant: Option<String>, found: side_by_side::FigureComparison) -> Self {
        let side_by_side::FigureComparison {
            figures,
            not_compared,
            differences,
        } = found;
        Self {
            window,
            tenant,
            figures,
            not_compared,
            differences,
        }
    }

    /// As ops.reconciliations spells it.
    fn outcome(&self) -> &'static str {
        match (self.differences.is_empty(), self.not_compared, self.figures) {
            (false, ..) => "different",
            (true, 0, 0) => "empty",
            (true, 0, 1..) => "equal",
            _ => "incomplete",
        }
    }
}

/// Coverage of a window that was compared.
struct ReadState {
    /// True if all of it had been read.
    is_read: bool,
    /// Stretches that had not been read, each with what was not.
    unread: Vec<UnreadPart>,
}

/// Part of what a comparison needs that had not been read over a stretch of time.
struct UnreadPart {
    /// `transactions of b`.
    what: String,
    /// The tenant, where it is one tenant's alone.
    tenant: Option<String>,
    window: Window,
    /// True if it was not to be read either.
    is_before_start: bool,
}

impl ReadState {
    fn of(meta: &StatisticsMeta) -> Self {
        let part = |is_before_start: bool| {
            move |gap: &ReportedGap| UnreadPart {
                what: gap_words(gap),
                tenant: gap.tenant.clone(),
                window: gap.window,
                is_before_start,
            }
        };
        let gaps = meta.gaps.iter().map(part(false));
        let before_start = meta.before_start.iter().map(part(true));
        let still_to_come = meta.still_to_come.map(|window| UnreadPart {
            what: "anything".to_owned(),
            tenant: None,
            window,
            is_before_start: false,
        });
        Self {
            is_read: meta.gaps.is_empty()
                && meta.before_start.is_empty()
                && meta.data_through.is_some_and(|through| through >= meta.to),
            unread: gaps.chain(before_start).chain(still_to_come).collect(),
        }
    }

    /// Parts of which nothing had been read in a window of a tenant, or of all tenants: that nothing differs there says nothing.
    ///
    /// Gives a sentence on why it is not compared; `None` where all of it was read.
    fn never_read(&self, window: Window, tenant: Option<&str>) -> Option<String> {
        let is_of = |part: &&UnreadPart| {
            let is_tenants = match (&part.tenant, tenant) {
                (Some(own), Some(tenant)) => own == tenant,
                _ => true,
            };
            is_tenants && part.window.from() <= window.from() && window.to() <= part.window.to()
        };
        let unread: Vec<&UnreadPart> = self.unread.iter().filter(is_of).collect();
        let named = |is_before_start: bool| {
            let parts = unread
                .iter()
                .filter(|part| part.is_before_start == is_before_start);
            let parts: BTreeSet<&str> = parts.map(|part| part.what.as_str()).collect();
            parts.into_iter().collect::<Vec<_>>().join(", ")
        };
        let (never, early) = (named(false), named(true));
        match (never.is_empty(), early.is_empty()) {
            (true, true) => None,
            (true, false) => Some(format!(
                "{window}: not compared, since it lies before the sync.start of {early}."
            )),
            (false, _) => Some(format!(
                "{window}: not compared, since {never} has never been read. Run `tillhouse sync`."
            )),
        }
    }
}

/// `what changed of sessions of acme`.
fn gap_words(gap: &ReportedGap) -> String {
    let resource = match gap.resource.as_str() {
        "*" => "anything",
        resource => resource,
    };
    let changed = match gap.read_by {
        Some(ReadBy::ChangeTime) => "what changed of ",
        _ => "",
    };
    let tenant = gap.tenant.as_ref();
    let tenant = tenant.map_or_else(String::new, |tenant| format!(" of {tenant}"));
    format!("{changed}{resource}{tenant}")
}

/// Compares the published figures of pipelines, and remembers what was found. A source that cannot be asked does not keep the others
/// from being compared.
///
/// Errors with [`ErrorKind::Query`] when nothing is published, and with [`ErrorKind::Config`] when a source does not have what is to be
/// compared, or the filter asks for a tenant or a site that nothing here has ever had.
pub async fn reconcile(
    context: &RunContext,
    pipelines: &[Pipeline],
    asked: &ReconcileRequest,
) -> Result<Reconciliation> {
    let now = context.warehouse.now();
    let asked = &ReconcileRequest {
        window: asked.window.until(now)?,
        ..asked.clone()
    };
    let configured = pipelines
        .iter()
        .map(|p| (p.name.clone(), configured_reads(p)));
    let session = context
        .engine
        .open(&context.warehouse, &AsOf::Latest)
        .await?
        .expecting(configured.collect());
    let names = RequestedNames {
        filter: asked.filter.as_ref().map(|filter| &filter.selection),
        ..RequestedNames::default()
    };
    names.check(&session).await?;
    let run = session
        .run()
        .map(|run| run.run_id.clone())
        .unwrap_or_default();
    let mut done = Reconciliation {
        reconciliation: new_run_id(now),
        run,
        window: asked.window,
        filter: asked
            .filter
            .as_ref()
            .map(|filter| filter.selection.descriptor().clone()),
        pipelines: Vec::new(),
        failed: Vec::new(),
        not_kept: None,
    };
    let mut rows = Vec::new();
    if let Some(totals) = &asked.control {
        let (mut outcome, compared) =
            days::with_control(&session, pipelines, asked, totals).await?;
        let only = match pipelines {
            [one] => Some(one),
            _ => None,
        };
        let whole = request(asked, only.map(|p| p.name.as_str()), None, asked.window);
        let read = ReadState::of(&statistics(&session, &context.warehouse, &whole).await?.meta);
        finish(
            &session,
            asked,
            only,
            &read,
            &mut outcome,
            &compared,
            &mut rows,
            &done,
            now,
        )
        .await?;
        outcome.set_verdict(false);
        done.pipelines.push(outcome);
    } else {
        let at = |pipeline: &Pipeline, error: Error| error.at("pipeline", pipeline.name.clone());
        let chosen = pipelines
            .iter()
            .map(|p| Ok((p, choose_reconcile_against(p, asked).map_err(|e| at(p, e))?)));
        for (pipeline, yardstick) in chosen.collect::<Result<Vec<_>>>()? {
            let at = |error: Error| at(pipeline, error);
            let compared = match yardstick {
                ReconcileAgainst::Records => {
                    records::compare(context, &session, pipeline, asked).await
                }
                ReconcileAgainst::Revenue => {
                    days::with_revenue(context, &session, pipeline, asked).await
                }
                _ => provider::compare(context, &session, pipeline, asked).await,
            };
            let (mut outcome, compared) = match compared.map_err(at) {
                Ok(compared) => compared,
                Err(error)
                    if error.kind() == ErrorKind::Interrupted
                        || error.kind() == ErrorKind::Config =>
                {
                    return Err(error);
                }
                Err(error) => {
                    done.failed.push((pipeline.name.clone(), error));
                    continue;
                }
            };
            let read = caveats(context, &session, pipeline, asked, &mut outcome)
                .await
                .map_err(at)?;
            let only = Some(pipeline);
            finish(
                &session,
                asked,
                only,
                &read,
                &mut outcome,
                &compared,
                &mut rows,
                &done,
                now,
            )
            .await
            .map_err(at)?;
            outcome.set_verdict(read.is_read && asked.filter.is_none());
            done.pipelines.push(outcome);
        }
    }
    // The findings are worth more than that they are kept: a warehouse that cannot be written to is compared all the same.
    done.not_kept = context
        .warehouse
        .ops()
        .record_reconciliation(&rows)
        .await
        .err();
    Ok(done)
}

/// Figures that a pipeline is compared against.
fn choose_reconcile_against(
    pipeline: &Pipeline,
    asked: &ReconcileRequest,
) -> Result<ReconcileAgainst> {
    let best = pipeline.source.reconcile_against();
    let chosen = match asked.against {
        None => Ok(best),
        Some(wanted) if wanted == best || wanted == ReconcileAgainst::Records => Ok(wanted),
        Some(wanted) => {
            let offered = if best == ReconcileAgainst::Records {
                "records"
            } else {
                &format!("{}, records", best.as_str())
            };
            Err(Error::config(format!(
                "{} has no {} to compare with",
                pipeline.source_name,
                wanted.as_str()
            ))
            .hint(format!("It offers: {offered}.")))
        }
    }?;
    if asked.filter.is_some() && chosen == ReconcileAgainst::Records {
        return Err(Error::config("the number of records cannot be narrowed by a filter").hint(
            "A filter narrows a provider's own statistics, where it has some: name its pipeline, without --by records.",
        ));
    }
    Ok(chosen)
}

/// Everything of one pipeline and tenant in a window.
fn request(
    asked: &ReconcileRequest,
    pipeline: Option<&str>,
    tenant: Option<&str>,
    window: Window,
) -> StatisticsRequest {
    StatisticsRequest {
        pipeline: pipeline.map(str::to_owned),
        tenant: tenant.map(str::to_owned),
        states: asked.states.clone(),
        filter: asked.filter.as_ref().map(|filter| filter.selection.clone()),
        ..StatisticsRequest::new(window)
    }
}

/// Known reasons against agreement; and how much of the window had been read.
async fn caveats(
    context: &RunContext,
    session: &Session,
    pipeline: &Pipeline,
    asked: &ReconcileRequest,
    outcome: &mut PipelineReconciliation,
) -> Result<ReadState> {
    let whole = request(asked, Some(&pipeline.name), None, asked.window);
    let meta = statistics(session, &context.warehouse, &whole).await?.meta;
    let read = ReadState::of(&meta);
    let mut note = |text: String| outcome.notes.push(text);
    for gap in &meta.gaps {
        note(format!(
            "{} was never read over {}: run `tillhouse sync`.",
            gap_words(gap),
            gap.window
        ));
    }
    for early in &meta.before_start {
        let (from, to) = (early.window.from(), early.window.to());
        note(format!(
            "{} was not read over {}, which lies before its sync.start. To read that: `tillhouse sync {} --from {from} --to {to}`.",
            gap_words(early),
            early.window,
            pipeline.name
        ));
    }
    if let Some(rest) = meta.still_to_come {
        note(format!(
            "{rest} was still to come when the source was last read: run `tillhouse sync`."
        ));
    }
    if meta.rejects > 0 {
        note(format!(
            "{} records of the window did not fit their contract and are missing here: see ops.rejects.",
            meta.rejects
        ));
    }
    if meta.open_transactions > 0 {
        note(format!(
            "{} transactions of the window are still open; the provider may know more of them by now.",
            meta.open_transactions
        ));
    }
    if meta.transactions_without_time > 0 {
        note(format!(
            "{} transactions have no time and are in no window.",
            meta.transactions_without_time
        ));
    }
    if meta.payments_without_time > 0 {
        note(format!(
            "{} payments have no known sale and no time, and are in no window.",
            meta.payments_without_time
        ));
    }
    Ok(read)
}

/// Looks into the differences, and turns everything into rows to be remembered.
#[expect(
    clippy::too_many_arguments,
    reason = "what is gathered comes from everywhere, once"
)]
async fn finish(
    session: &Session,
    asked: &ReconcileRequest,
    only: Option<&Pipeline>,
    read: &ReadState,
    outcome: &mut PipelineReconciliation,
    compared: &[ComparedWindow],
    rows: &mut Vec<ReconciliationRow>,
    done: &Reconciliation,
    at: Timestamp,
) -> Result<()> {
    for one in compared {
        let ComparedWindow {
            window,
            tenant,
            figures,
            not_compared,
            differences,
        } = one;
        outcome.windows += 1;
        let unread = match differences.is_empty() {
            true => read.never_read(*window, tenant.as_deref()),
            false => None,
        };
        let never_read = unread.is_some();
        match unread {
            // Nothing here and nothing there agrees, and proves nothing.
            Some(why) => outcome.leave_out((*figures).max(1), why),
            None => outcome.figures += figures,
        }
        if *not_compared > 0 {
            let of = tenant
                .as_ref()
                .map_or_else(String::new, |tenant| format!(" of {tenant}"));
            let note = format!(
                "{not_compared} figures of {window}{of} have no number on one side: not compared."
            );
            outcome.leave_out(*not_compared, note);
        }
        let row = ReconciliationRow {
            reconciliation_id: done.reconciliation.clone(),
            at,
            run_id: done.run.clone(),
            pipeline: outcome.pipeline.clone(),
            tenant: tenant.clone(),
            yardstick: outcome.yardstick.as_str().to_owned(),
            window: *window,
            outcome: match never_read {
                true => "incomplete",
                false => one.outcome(),
            }
            .to_owned(),
            figures: *figures,
            part: None,
            currency: None,
            unit: None,
            label: None,
            ours: None,
            theirs: None,
            transactions: Vec::new(),
            filter: done
                .filter
                .as_ref()
                .map(serde_json::to_string)
                .transpose()
                .or_error(ErrorKind::Internal, "a filter cannot be written")?,
        };
        if differences.is_empty() {
            rows.push(row);
            continue;
        }
        for difference in differences {
            let transactions = match (outcome.yardstick, outcome.differences.len() < LOOKED_INTO) {
                // Their keys were found already.
                (ReconcileAgainst::Records, _) | (_, false) => Vec::new(),
                _ => {
                    let request = request(
                        asked,
                        only.map(|p| p.name.as_str()),
                        tenant.as_deref(),
                        *window,
                    );
                    find_suspects(session, &request, difference, asked.max_transactions).await?
                }
            };
            let shown = only.zip(difference.label.as_deref());
            let shown = shown.map(|(pipeline, label)| {
                outcome.words.of(&pipeline.labels, difference.part, label)
            });
            let difference = &FigureDifference {
                label: shown.or_else(|| difference.label.clone()),
                ..difference.clone()
            };
            rows.push(ReconciliationRow {
                part: Some(difference.part.as_str().to_owned()),
                currency: difference.currency.clone(),
                unit: difference.unit.clone(),
                label: difference.label.clone(),
                ours: difference.ours,
                theirs: difference.theirs,
                transactions: transactions.clone(),
                ..row.clone()
            });
            outcome.differences.push(ReportedDifference::new(
                *window,
                tenant.as_deref(),
                difference,
                transactions,
            ));
        }
    }
    Ok(())
}

/// The error of a comparison without anything to compare.
fn nothing_to_compare() -> Error {
    Error::new(
        ErrorKind::Query,
        "there is nothing to compare: the pipeline has no published transactions",
    )
    .hint("Run `tillhouse sync` first.")
}
