//! Resources that all sessions of a process share: memory, spill folder, number of threads.
//!
//! Invariant: the memory limit holds over all sessions of an engine together, not for each.

use crate::bounded;
use crate::bounded_lambdas;
use crate::catalog::Catalog;
use crate::damaged_files::{EarlierRun, NamedFiles};
use crate::distinct::DistinctByGroups;
use crate::distinct_count::SpillSettings;
use crate::exact::{DecimalTexts, ExactAverage, ExactMedian, ExactPercentile, RoundedCasts};
use crate::failure::into_error;
use crate::filter_fences;
use crate::flat_choices::{self, FlatChoices};
use crate::float_extremes::FloatExtremes;
use crate::floats_beside_decimals::FloatsBesideDecimals;
use crate::functions::{self, list_arithmetic};
use crate::guarded;
use crate::held_steps::HeldSteps;
use crate::idle_orders::IdleOrders;
use crate::joined::JoinedTexts;
use crate::large_constants;
use crate::lateral::LateralRows;
use crate::lenient::{LenientProjections, RowErrorLog};
use crate::limits::{SortBudget, SpillingSorts};
use crate::list_order::{self, OrderedLists};
use crate::many_wildcards::ManyWildcards;
use crate::mended_rules::{leave_out, mended_rules};
use crate::merged_filters::MergedFilters;
use crate::null_offsets::NullOffsets;
use crate::one_zero::OneZero;
use crate::operators::{self, ExactOperators};
use crate::ordered;
use crate::outer_keys::OuterKeys;
use crate::overflow::{self, CheckedArithmetic, CheckedSum};
use crate::placement::{self, PlanPlacement};
use crate::pool::{MemoryShare, SharedMemory};
use crate::schemas::ContractTable;
use crate::session::Session;
use crate::set_lists::SetLists;
use crate::shown_casts;
use crate::similar_to::StandardPatterns;
use crate::skipped_rows::NumberedRest;
use crate::slices::SlicedConstants;
use crate::spans::{self, ComparedSpans};
use crate::spill::SpillSpace;
use crate::table_arguments::TableArguments;
use crate::time_texts::{self, TimeTexts};
use crate::truth_tests::TruthTests;
use crate::truth_texts::TruthTexts;
use crate::unnested_keys::UnnestedKeys;
use crate::value_files::ValueSpill;
use crate::whole_groups::WholeGroups;
use crate::window_extremes::WindowExtremes;
use crate::window_values::HeldWindowValues;
use datafusion::catalog::CatalogProvider;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::AggregateUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use tillhouse_lake::{AsOf, LedgerEnd, Warehouse};
use tillhouse_model::{Error, ErrorKind, Result};

/// Rows in a batch of unify: a HecOne record is some thousand bytes wide.
const UNIFY_BATCH_ROWS: usize = 4_096;

/// Memory that each partition of a query finds at least: with less there are fewer partitions. Every one of them holds batches of its own at every step.
const BYTES_A_THREAD: usize = 128 << 20;
/// Rows in a batch, at most and at least.
const BATCH_ROWS: (usize, usize) = (8192, 1024);
/// Memory that is wanted for each row of a batch: a plan has dozens of batches under way.
const BYTES_A_ROW: usize = 32 << 10;
/// Spilled files that a sort or a grouping merges at once.
const MERGED_AT_ONCE: usize = 16;
/// Memory of a partition from which on different texts are counted by a table of their hashes.
const ROOM_FOR_HASHES: usize = 128 << 20;
/// The part of a partition's memory that constants may take in one batch.
const CONSTANTS_PART: usize = 16;

/// Memory limit, spill folder and threads of a query engine.
#[derive(Debug, Clone)]
pub struct QueryEngineOptions {
    /// Bytes of memory for sorts, joins and groupings, over all queries; beyond it they spill to disk.
    pub memory_limit_bytes: u64,
    /// Folder they spill to; the system's folder for temporary files by default.
    pub spill_dir: Option<PathBuf>,
    /// Number of partitions a query is planned for.
    pub threads: usize,
}

impl Default for QueryEngineOptions {
    /// 512 MiB, the system's folder for temporary files, as many threads as the machine has.
    fn default() -> Self {
        Self {
            memory_limit_bytes: 512 << 20,
            spill_dir: None,
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }
}

/// Factory of sessions, with the memory, spill folder and threads they share. One a process; cheap
/// to clone.
///
/// ```
/// use tillhouse_query::{QueryEngine, QueryEngineOptions, collect};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let engine = QueryEngine::new(QueryEngineOptions { memory_limit_bytes: 64 << 20, ..Default::default() })?;
/// let session = engine.empty_session()?;
/// let rows = collect(session.query("SELECT canonical_unit('ltr') AS unit").await?).await?;
/// assert_eq!(rows[0].num_rows(), 1);
/// assert!(session.query("CREATE TABLE t (a INT)").await.is_err());
/// # Ok::<(), tillhouse_model::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct QueryEngine {
    runtime: Arc<RuntimeEnv>,
    config: SessionConfig,
    contracts: Arc<[ContractTable]>,
}

impl QueryEngine {
    /// An engine. The spill folder is made when something is spilled; what killed processes left there is removed now.
    pub fn new(options: QueryEngineOptions) -> Result<Self> {
        guarded::hush();
        let limit = usize::try_from(options.memory_limit_bytes).unwrap_or(usize::MAX);
        // Tracked: an error names who held the memory.
        let memory = SharedMemory::new(limit);
        let pool = TrackConsumersPool::new(memory.clone(), NonZeroUsize::MIN.saturating_add(2));
        let spill = Arc::new(SpillSpace::below(options.spill_dir));
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(
                DiskManagerBuilder::default()
                    .with_temp_file_factory(spill)
                    .with_max_spill_merge_fan_in(MERGED_AT_ONCE),
            )
            .build_arc()
            .map_err(into_error)?;
        let threads = options.threads.clamp(1, (limit / BYTES_A_THREAD).max(1));
        Ok(Self {
            runtime,
            config: config(threads, limit).with_extension(Arc::new(memory)),
            contracts: Arc::default(),
        })
    }

    /// The same engine for a reader who knows contracts: tables of theirs that no run has written yet are empty in SQL.
    #[must_use]
    pub fn knowing(self, contracts: impl IntoIterator<Item = ContractTable>) -> Self {
        Self {
            contracts: contracts.into_iter().collect(),
            ..self
        }
    }

    /// The same engine, whose queries run where a placement says. They are planned for two partitions at least: what is planned for one is not added up in parts.
    #[must_use]
    pub fn placing(self, placement: Arc<dyn PlanPlacement>) -> Self {
        let partitions = self.config.target_partitions().max(2);
        let config = self.config.with_target_partitions(partitions);
        Self {
            config: placement::configured(config, placement),
            runtime: self.runtime,
            contracts: self.contracts,
        }
    }

    /// Functions and settings of sessions over a published run, without a table: for a part of a plan that another process sends.
    pub fn state_builder(&self) -> Result<SessionStateBuilder> {
        let catalog = Arc::new(Catalog::empty(&self.contracts));
        let session = self.session(self.config.clone(), catalog, None)?;
        let state = session.context().state();
        Ok(SessionStateBuilder::new_from_existing(state))
    }

    /// Memory that the queries of one reader may take together, of that which all share.
    pub fn memory_share(&self, bytes: usize) -> MemoryShare {
        MemoryShare::new(Arc::clone(&self.runtime.memory_pool), bytes)
    }

    /// Registers the warehouse's checked store, so that its files are read through it. Sessions
    /// opened over a warehouse do so by themselves.
    pub fn register_warehouse(&self, warehouse: &Warehouse) {
        warehouse.register_store(&self.runtime);
    }

    /// A session over the tables of a published run.
    ///
    /// Errors with [`ErrorKind::Query`] when nothing has been published by then, and with [`ErrorKind::Storage`] where bookkeeping is older
    /// than the tables.
    pub async fn open(&self, warehouse: &Warehouse, at: &AsOf) -> Result<Session> {
        self.register_warehouse(warehouse);
        let ops = warehouse.ops();
        let (run, ledger) = match at {
            AsOf::Latest => ops.newest_with_ledger().await?,
            AsOf::Run(_) | AsOf::Time(_) => (ops.published(at).await?, LedgerEnd::default()),
        };
        let run = run.ok_or_else(|| match at {
            AsOf::Latest => Error::new(ErrorKind::Query, "nothing has been published yet")
                .hint("Run `tillhouse sync`; what it brings in can then be queried."),
            AsOf::Run(run) => {
                Error::new(ErrorKind::Query, format!("there is no published run {run}")).hint(
                    "`tillhouse sql \"SELECT run_id, finished_at FROM ops.runs\"` lists the runs.",
                )
            }
            AsOf::Time(time) => Error::new(
                ErrorKind::Query,
                format!("nothing had been published by {time}"),
            )
            .hint("`tillhouse sql \"SELECT run_id, finished_at FROM ops.runs\"` lists the runs."),
        })?;
        if *at == AsOf::Latest {
            ops.refuse_older_copy(&run).await?;
        }
        if *at == AsOf::Latest
            && let Err(error) = ops.warn_of_unpublished_reads(&run, ledger).await
        {
            tracing::warn!(
                "nobody can tell if anything was read since run {}: {error}",
                run.run_id
            );
        }
        let catalog = Arc::new(Catalog::over(warehouse, &run, &self.contracts));
        let config = match at {
            AsOf::Latest => self.config.clone(),
            AsOf::Run(_) | AsOf::Time(_) => {
                let earlier = Arc::new(EarlierRun(warehouse.clone()));
                self.config.clone().with_extension(earlier)
            }
        };
        self.session(config, catalog, Some(run))
    }

    /// A session without any tables: its user registers what it needs.
    ///
    /// Made for unify, which runs several statements at once over wide records: each is planned for one partition and small
    /// batches, so that what is held in memory is a few megabytes a statement.
    pub fn empty_session(&self) -> Result<Session> {
        let config = self
            .config
            .clone()
            .with_target_partitions(1)
            .with_batch_size(UNIFY_BATCH_ROWS);
        self.session(config, Arc::new(Catalog::empty(&self.contracts)), None)
    }

    /// As [`Self::empty_session`], but an expression that fails for a row gives null there and is logged: a value that a unify
    /// statement cannot derive from one record must not keep the others from their tables.
    pub fn lenient_session(&self, errors: &RowErrorLog) -> Result<Session> {
        let config = self
            .config
            .clone()
            .with_target_partitions(1)
            .with_batch_size(UNIFY_BATCH_ROWS);
        let catalog = Arc::new(Catalog::empty(&self.contracts));
        let rule = Arc::new(LenientProjections {
            errors: errors.clone(),
        });
        let context = context_with(config, Arc::clone(&self.runtime), &catalog, Some(rule));
        Ok(Session::new(context, catalog, None))
    }

    /// The settings of its sessions, for tables that are opened before they are registered.
    pub fn state(&self) -> Result<Arc<SessionState>> {
        Ok(Arc::new(self.empty_session()?.context().state()))
    }

    fn session(
        &self,
        config: SessionConfig,
        catalog: Arc<Catalog>,
        run: Option<tillhouse_lake::RunRecord>,
    ) -> Result<Session> {
        let context = context(config, Arc::clone(&self.runtime), &catalog);
        Ok(Session::new(context, catalog, run))
    }
}

/// A context over another catalog, without Tillhouse's functions and rules but for those that hold what is made of small values to memory.
pub(crate) fn catalog_context(
    name: &str,
    tables: Arc<dyn CatalogProvider>,
    runtime: Arc<RuntimeEnv>,
) -> SessionContext {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(name, crate::schemas::DEFAULT_SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_target_partitions(1);
    leave_out(config.options_mut());
    let pool = Arc::clone(&runtime.memory_pool);
    let joined = JoinedTexts::new(&pool);
    let joined_text = joined.function();
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_physical_optimizer_rules(filter_fences::physical_rules())
        .with_physical_optimizer_rule(Arc::new(HeldSteps))
        .with_optimizer_rules(mended_rules())
        .with_default_features()
        .with_analyzer_rule(Arc::new(joined))
        .with_analyzer_rule(Arc::new(ManyWildcards::new()))
        .with_analyzer_rule(Arc::new(NumberedRest))
        .build();
    let context = SessionContext::new_with_state(state);
    context.register_udf(joined_text);
    context.register_udf(shown_casts::function());
    hold_functions(&context, &context.state(), &pool);
    context.register_catalog(name, tables);
    context
}

/// Holds the functions of a state that make large values of small ones to the memory of a pool.
fn hold_functions(context: &SessionContext, state: &SessionState, pool: &Arc<dyn MemoryPool>) {
    for function in bounded::functions(|name| state.scalar_functions().get(name).cloned(), pool) {
        context.register_udf(function);
    }
    for function in state.higher_order_functions().values() {
        context.register_higher_order_function(Arc::new(bounded_lambdas::held(function, pool)));
    }
}

/// A context with Tillhouse's functions, over a catalog.
pub(crate) fn context(
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    catalog: &Arc<Catalog>,
) -> SessionContext {
    context_with(config, runtime, catalog, None)
}

/// As [`context`], with one more rule for plans, after all others.
fn context_with(
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    catalog: &Arc<Catalog>,
    rule: Option<Arc<LenientProjections>>,
) -> SessionContext {
    let pool = Arc::clone(&runtime.memory_pool);
    let held_pool = Arc::clone(&pool);
    // Each partition has its heap, and sorts and joins beside it want their share. Of a file that is merged, four batches are held.
    let share = match pool.memory_limit() {
        MemoryLimit::Finite(bytes) => bytes / config.target_partitions().max(1),
        _ => usize::MAX,
    };
    let budget = SortBudget {
        heap: share / 8,
        batch: share / (16 * MERGED_AT_ONCE),
    };
    let spill = SpillSettings {
        disk: Arc::clone(&runtime.disk_manager),
        bytes: share / 4,
        memory: config.get_extension(),
        counts: 1,
    };
    let values = ValueSpill {
        disk: Arc::clone(&runtime.disk_manager),
        pool: Arc::clone(&pool),
    };
    let whole_groups = WholeGroups {
        spill: values.clone(),
    };
    let joined = JoinedTexts::new(&pool);
    let joined_text = joined.function();
    let sum = Arc::new(AggregateUDF::new_from_impl(CheckedSum::default()));
    let mut builder = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(vec![Arc::new(ExactOperators::new())])
        .with_physical_optimizer_rules(filter_fences::physical_rules())
        .with_physical_optimizer_rule(Arc::new(whole_groups))
        .with_physical_optimizer_rule(Arc::new(SpillingSorts { budget }))
        .with_physical_optimizer_rule(Arc::new(SlicedConstants {
            bytes: share / CONSTANTS_PART,
        }))
        .with_physical_optimizer_rule(Arc::new(HeldSteps))
        .with_physical_optimizer_rule(Arc::new(MergedFilters))
        .with_optimizer_rules(large_constants::optimizer_rules())
        .with_default_features()
        .with_analyzer_rule(Arc::new(LateralRows))
        .with_analyzer_rule(Arc::new(OuterKeys))
        .with_analyzer_rule(Arc::new(UnnestedKeys))
        .with_analyzer_rule(Arc::new(StandardPatterns::new()))
        .with_analyzer_rule(Arc::new(ManyWildcards::new()))
        .with_analyzer_rule(Arc::new(RoundedCasts))
        .with_analyzer_rule(Arc::new(TimeTexts))
        .with_analyzer_rule(Arc::new(ComparedSpans))
        .with_analyzer_rule(Arc::new(OrderedLists))
        .with_analyzer_rule(Arc::new(TruthTests))
        .with_analyzer_rule(Arc::new(OneZero))
        .with_analyzer_rule(Arc::new(CheckedArithmetic::new()))
        .with_analyzer_rule(Arc::new(joined))
        .with_analyzer_rule(Arc::new(HeldWindowValues { pool: held_pool }))
        .with_analyzer_rule(Arc::new(DistinctByGroups {
            sum,
            count: count_udaf(),
            spill,
            prefers_hashes: share >= ROOM_FOR_HASHES,
        }))
        .with_analyzer_rule(Arc::new(SetLists))
        .with_analyzer_rule(Arc::new(NumberedRest));
    let analyzer = builder.analyzer().get_or_insert_default();
    analyzer.add_function_rewrite(Arc::new(FlatChoices));
    analyzer.add_function_rewrite(Arc::new(IdleOrders));
    analyzer.add_function_rewrite(Arc::new(FloatExtremes));
    analyzer.add_function_rewrite(Arc::new(WindowExtremes));
    analyzer.add_function_rewrite(Arc::new(NullOffsets));
    // Before types are coerced; those above come afterwards.
    analyzer.rules.insert(0, Arc::new(FloatsBesideDecimals));
    analyzer.rules.insert(0, Arc::new(DecimalTexts));
    analyzer.rules.insert(0, Arc::new(TruthTexts));
    if let Some(rule) = rule {
        builder = builder.with_physical_optimizer_rule(rule);
    }
    builder = builder.with_physical_optimizer_rule(Arc::new(NamedFiles));
    let mut state = builder.build();
    let arguments = TableArguments::new(state.analyzer().clone());
    // It never fails.
    let _ = state.register_relation_planner(Arc::new(arguments));
    let context = SessionContext::new_with_state(state);
    for function in functions::all()
        .into_iter()
        .chain(overflow::functions())
        .chain(operators::functions())
        .chain(spans::functions())
        .chain([list_order::function(), flat_choices::function()])
        .chain([shown_casts::function()])
        .chain(time_texts::functions())
        .chain([joined_text])
    {
        context.register_udf(function);
    }
    let state = context.state();
    for function in list_arithmetic::functions(|name| state.scalar_functions().get(name).cloned()) {
        context.register_udf(function);
    }
    hold_functions(&context, &state, &pool);
    for function in functions::standard(|name| state.scalar_functions().get(name).cloned()) {
        context.register_udf(function);
    }
    for function in functions::signed(|name| state.scalar_functions().get(name).cloned()) {
        context.register_udf(function);
    }
    for function in functions::signed_windows() {
        context.register_udwf(function);
    }
    for function in functions::standard_aggregates() {
        context.register_udaf(function);
    }
    let strftime = functions::strftime(|name| state.scalar_functions().get(name).cloned());
    if let Some(function) = strftime.and_then(|inner| bounded::held(&Arc::new(inner), &pool)) {
        context.register_udf(function);
    }
    context.register_udaf(AggregateUDF::new_from_impl(CheckedSum::default()));
    context.register_udaf(AggregateUDF::new_from_impl(ExactAverage::default()));
    context.register_udaf(AggregateUDF::new_from_impl(ExactPercentile::new(&values)));
    context.register_udaf(AggregateUDF::new_from_impl(ExactMedian::new(&values)));
    for aggregate in ordered::aggregates() {
        context.register_udaf(aggregate);
    }
    catalog.attach(&context);
    context
}

fn config(threads: usize, limit: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(crate::schemas::CATALOG, crate::schemas::DEFAULT_SCHEMA)
        .with_create_default_catalog_and_schema(false)
        // The catalog has one of its own.
        .with_information_schema(false)
        .with_target_partitions(threads)
        .with_batch_size((limit / threads / BYTES_A_ROW).clamp(BATCH_ROWS.1, BATCH_ROWS.0));
    let options = config.options_mut();
    leave_out(options);
    options.sql_parser.parse_float_as_decimal = true;
    // Errors say where they are.
    options.sql_parser.collect_spans = true;
    options.execution.time_zone = Some("+00:00".to_owned());
    // Memory that a sort keeps back for merging what it spilled; the default of 10 MB a thread would eat a small limit whole.
    let merge = limit / (8 * threads);
    options.execution.sort_spill_reservation_bytes =
        options.execution.sort_spill_reservation_bytes.min(merge);
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    // Unify writes what it reads: text that comes as views would be copied once more on its way into the next file.
    options.execution.parquet.schema_force_view_types = false;
    config
}
