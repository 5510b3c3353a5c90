//! The keys of the transactions that pass a filter, for articles and payments to be asked by.
//!
//! Invariant: what is held counts towards the engine's memory limit, and beyond it is an error, not a crash.
//!
//! A key is kept as 128 bits of its hash: a million of them take some 36 MB, where the texts took 100. Two keys of one hash are as
//! likely as two content hashes of one value, on which landing relies already.

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result as DataFusionResult, plan_datafusion_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, ident,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use tillhouse_model::{FastSet, Result};
use tillhouse_query::{Session, into_error};
use xxhash_rust::xxh3::xxh3_128;

/// Bytes a key takes in the set, with the room a growing set leaves free.
const BYTES: usize = 36;

/// A set of transaction keys.
#[derive(Debug)]
pub(crate) struct TransactionKeys {
    hashes: FastSet<u128>,
    room: MemoryReservation,
}

impl TransactionKeys {
    /// An empty set, on the account of a session's engine.
    pub(crate) fn new(session: &Session) -> Self {
        let runtime = session.context().runtime_env();
        let room = MemoryConsumer::new("the filter's transactions").register(&runtime.memory_pool);
        Self {
            hashes: FastSet::default(),
            room,
        }
    }

    /// Adds a key. Errors with [`tillhouse_model::ErrorKind::Query`] when there is no memory for it.
    pub(crate) fn insert(&mut self, key: &str) -> Result<()> {
        self.put(xxh3_128(key.as_bytes()))
    }

    /// Adds all of another set.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        other.hashes.iter().try_for_each(|hash| self.put(*hash))
    }

    fn put(&mut self, hash: u128) -> Result<()> {
        if self.hashes.len() == self.hashes.capacity() {
            let more = self.hashes.capacity().max(1024);
            self.room.try_grow(more * BYTES).map_err(into_error)?;
            self.hashes.reserve(more);
        }
        self.hashes.insert(hash);
        Ok(())
    }

    fn has(&self, key: &str) -> bool {
        self.hashes.contains(&xxh3_128(key.as_bytes()))
    }

    /// True if a row's `transaction_key` is in the set.
    pub(crate) fn has_transaction(self: &Arc<Self>) -> Expr {
        let signature = Signature::exact(vec![DataType::Utf8], Volatility::Immutable);
        ScalarUDF::new_from_impl(HasTransactionKey {
            keys: Arc::clone(self),
            signature,
        })
        .call(vec![ident("transaction_key")])
    }
}

/// Function that tells whether a transaction key is in the set.
#[derive(Debug)]
struct HasTransactionKey {
    keys: Arc<TransactionKeys>,
    signature: Signature,
}

impl PartialEq for HasTransactionKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
    }
}

impl Eq for HasTransactionKey {}

impl Hash for HasTransactionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.keys).hash(state);
    }
}

impl ScalarUDFImpl for HasTransactionKey {
    fn name(&self) -> &'static str {
        "passes_filter"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let keys = args
            .args
            .first()
            .ok_or_else(|| plan_datafusion_err!("a set of keys is asked about a key"))?;
        let keys = cast(&keys.to_array(args.number_rows)?, &DataType::Utf8)?;
        let keys = keys.as_string::<i32>();
        let kept: BooleanArray = (0..keys.len())
            .map(|row| Some(keys.is_valid(row) && self.keys.has(keys.value(row))))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(kept)))
    }
}
