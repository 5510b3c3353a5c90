//! The list of transactions: filtered, sorted, a page at a time.
//!
//! Invariant: pages of one run, read one after the other, hold every transaction that passes exactly once. A page begins behind the last row of the page before, by the
//! value it is sorted by and the transaction's key, never by a number of rows to skip. Rows without a value come last, whichever way they are sorted.

use crate::columns::{decimals, instants, texts};
use crate::definitions::COLLECTED;
use crate::facts;
use crate::filter::{CheckedFilter, FilteredFact, select};
use crate::transaction_totals::UNKNOWN;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::common::JoinType;
use datafusion::logical_expr::{Expr, ident, lit};
use std::fmt;
use std::str::FromStr;
use tillhouse_model::{Error, Result, Window};
use tillhouse_query::{DataFrame, ScalarValue, Session, collect, execute, into_error};

/// Precision of amounts.
const AMOUNT_PRECISION: u8 = 18;
/// Digits after the point of amounts.
const AMOUNT_SCALE: u8 = 4;
/// Column that tells rows of one value apart.
const KEY: &str = "transaction_key";
/// The same column of what hangs on a transaction.
const PARENT: &str = "parent_key";

/// Column that transactions are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransactionOrder {
    /// Time of the sale.
    #[default]
    OccurredAt,
    /// Time at which the provider made the record.
    CreatedAt,
    /// Time at which the provider last changed it.
    UpdatedAt,
    /// Gross amount; of different currencies too, number by number.
    Amount,
    /// The key.
    Key,
}

impl TransactionOrder {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::OccurredAt,
        Self::CreatedAt,
        Self::UpdatedAt,
        Self::Amount,
        Self::Key,
    ];

    /// The column's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OccurredAt => "occurred_at",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::Amount => "amount",
            Self::Key => KEY,
        }
    }

    /// A value of the column; of the key there is none beside the key itself.
    fn value(self, number: i128) -> Option<ScalarValue> {
        match self {
            Self::OccurredAt | Self::CreatedAt | Self::UpdatedAt => {
                i64::try_from(number).ok().map(facts::instant)
            }
            Self::Amount => {
                let scale = i8::try_from(AMOUNT_SCALE).ok()?;
                Some(ScalarValue::Decimal128(
                    Some(number),
                    AMOUNT_PRECISION,
                    scale,
                ))
            }
            Self::Key => None,
        }
    }

    /// The value of a row, as a whole number: microseconds since 1970, or ten thousandths.
    fn number(self, batch: &RecordBatch, row: usize) -> Result<Option<i128>> {
        Ok(match self {
            Self::OccurredAt | Self::CreatedAt | Self::UpdatedAt => {
                instants(batch, self.as_str())?.get(row).map(i128::from)
            }
            Self::Amount => decimals(batch, self.as_str())?.known(row),
            Self::Key => None,
        })
    }
}

impl fmt::Display for TransactionOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TransactionOrder {
    type Err = Error;

    /// Errors with [`tillhouse_model::ErrorKind::Config`].
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|order| order.as_str() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::as_str).join(", ");
                Error::config(format!("transactions are not sorted by {text:?}")).hint(format!(
                    "Sort by one of {names}; a minus before it sorts the largest first."
                ))
            })
    }
}

/// The row that a page ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionPlace {
    /// The value it is sorted by, as a whole number; none where the row has none, or where rows are sorted by their key.
    pub number: Option<i128>,
    /// The transaction's key.
    pub key: String,
}

/// Transactions that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionListRequest {
    /// Only those of these instants, by `occurred_at`; all by default, those without a time too.
    pub window: Option<Window>,
    /// Only that tenant's; all by default.
    pub tenant: Option<String>,
    /// Only that source's; all by default.
    pub source: Option<String>,
    /// Only those that pass; all by default.
    pub filter: Option<CheckedFilter>,
    /// Only those with an article of this product, by its key; all by default.
    pub product: Option<String>,
    /// Only those with a collected payment of this method, `unknown` for one of none; all by default.
    pub payment_method: Option<String>,
    /// Column that they are sorted by.
    pub order: TransactionOrder,
    /// True if the largest, or latest, comes first.
    pub is_descending: bool,
    /// Only those behind this one.
    pub after: Option<TransactionPlace>,
    /// Most rows of a page.
    pub limit: usize,
}

impl TransactionListRequest {
    /// The latest transactions, `limit` of them.
    pub fn new(limit: usize) -> Self {
        Self {
            window: None,
            tenant: None,
            source: None,
            filter: None,
            product: None,
            payment_method: None,
            order: TransactionOrder::OccurredAt,
            is_descending: true,
            after: None,
            limit,
        }
    }
}

/// A page of transactions.
#[derive(Debug, Clone)]
pub struct TransactionPage {
    /// Its rows: the columns of `unified.transactions` but for the lineage.
    pub rows: RecordBatch,
    /// The row that the next page begins behind; none where this page is the last.
    pub next: Option<TransactionPlace>,
}

/// Reads a page of transactions.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`] where a page of nothing is asked for.
pub async fn list_transactions(
    session: &Session,
    request: &TransactionListRequest,
) -> Result<TransactionPage> {
    if request.limit == 0 {
        return Err(
            Error::config("a page of nothing was asked for").hint("Ask for one row at least.")
        );
    }
    let columns = session.columns("unified", "transactions").await?;
    let shown: Vec<Expr> = columns
        .fields()
        .iter()
        .filter(|field| !field.name().starts_with('_'))
        .map(|field| ident(field.name()))
        .collect();
    let frame = session
        .sql("SELECT * FROM unified.transactions")
        .await?
        .filter(conditions(request))
        .map_err(into_error)?;
    let frame = match &request.filter {
        Some(filter) => select(session, frame, filter, FilteredFact::Transaction).await?,
        None => frame,
    };
    let frame = with_children(session, frame, request).await?;
    let frame = sorted(frame, request)?.select(shown).map_err(into_error)?;
    let schema: SchemaRef = frame.schema().inner().clone();
    let batches = collect(execute(frame).await?).await?;
    let schema = batches.first().map_or(schema, RecordBatch::schema);
    let all = concat_batches(&schema, &batches)
        .map_err(|error| Error::internal("rows of one query differ").because(error))?;
    page(all, request)
}

/// The rows of a page, and the place behind which the next one begins.
fn page(all: RecordBatch, request: &TransactionListRequest) -> Result<TransactionPage> {
    if all.num_rows() <= request.limit {
        return Ok(TransactionPage {
            rows: all,
            next: None,
        });
    }
    let last = request.limit - 1;
    let key = texts(&all, KEY)?
        .get(last)
        .ok_or_else(|| Error::data("a transaction has no key"))?
        .to_owned();
    let number = request.order.number(&all, last)?;
    Ok(TransactionPage {
        rows: all.slice(0, request.limit),
        next: Some(TransactionPlace { number, key }),
    })
}

/// Condition on the columns of transactions themselves.
fn conditions(request: &TransactionListRequest) -> Expr {
    let mut all = Vec::new();
    if let Some(tenant) = &request.tenant {
        all.push(ident("tenant_id").eq(lit(tenant.as_str())));
    }
    if let Some(source) = &request.source {
        all.push(ident("source").eq(lit(source.as_str())));
    }
    if let Some(window) = request.window {
        all.extend(within(window));
    }
    if let Some(place) = &request.after {
        all.push(behind(request, place));
    }
    all.into_iter()
        .reduce(Expr::and)
        .unwrap_or_else(|| lit(true))
}

/// Conditions that a fact is of a window.
fn within(window: Window) -> Vec<Expr> {
    let (since, until) = (window.from().as_microsecond(), window.to().as_microsecond());
    let mut all = vec![
        ident("occurred_at").gt_eq(lit(facts::instant(since))),
        ident("occurred_at").lt(lit(facts::instant(until))),
    ];
    // The tables are partitioned by month: naming months spares files.
    if let Some((first, last)) = facts::month(since).zip(facts::month(until.saturating_sub(1))) {
        all.push(ident("month").gt_eq(lit(first)));
        all.push(ident("month").lt_eq(lit(last)));
    }
    all
}

/// The transactions that have the article, and the payment, that is asked for.
async fn with_children(
    session: &Session,
    mut frame: DataFrame,
    request: &TransactionListRequest,
) -> Result<DataFrame> {
    if let Some(product) = &request.product {
        let condition = ident("product_key").eq(lit(product.as_str()));
        frame = with_child(session, frame, request, ("articles", condition)).await?;
    }
    if let Some(method) = &request.payment_method {
        let named = ident("method").eq(lit(method.as_str()));
        let method = match method.as_str() {
            UNKNOWN => named
                .or(ident("method").is_null())
                .or(ident("method").eq(lit(""))),
            _ => named,
        };
        let condition = method.and(ident("state").eq(lit(COLLECTED)));
        frame = with_child(session, frame, request, ("payments", condition)).await?;
    }
    Ok(frame)
}

/// The transactions that a row of a table names which meets a condition. Such a row has the time of its transaction.
async fn with_child(
    session: &Session,
    frame: DataFrame,
    request: &TransactionListRequest,
    (table, condition): (&str, Expr),
) -> Result<DataFrame> {
    if !session.has_table("unified", table).await? {
        return frame.filter(lit(false)).map_err(into_error);
    }
    let window = request.window.map(within).unwrap_or_default();
    let condition = window.into_iter().fold(condition, Expr::and);
    let children = session
        .sql(&format!("SELECT * FROM unified.{table}"))
        .await?
        .filter(condition)
        .and_then(|rows| rows.select(vec![ident(KEY).alias(PARENT)]))
        .map_err(into_error)?;
    frame
        .join(children, JoinType::LeftSemi, &[KEY], &[PARENT], None)
        .map_err(into_error)
}

/// Condition that a row stands behind a place.
fn behind(request: &TransactionListRequest, place: &TransactionPlace) -> Expr {
    let key = || ident(KEY);
    let further_key = match request.is_descending {
        true => key().lt(lit(place.key.as_str())),
        false => key().gt(lit(place.key.as_str())),
    };
    if request.order == TransactionOrder::Key {
        return further_key;
    }
    let column = || ident(request.order.as_str());
    match place.number.and_then(|number| request.order.value(number)) {
        None => column().is_null().and(further_key),
        Some(value) => {
            let further = match request.is_descending {
                true => column().lt(lit(value.clone())),
                false => column().gt(lit(value.clone())),
            };
            let same = column().eq(lit(value)).and(further_key);
            further.or(same).or(column().is_null())
        }
    }
}

/// The first rows, in order: one more than a page has, so that the end is known.
fn sorted(frame: DataFrame, request: &TransactionListRequest) -> Result<DataFrame> {
    let ascending = !request.is_descending;
    let mut by = Vec::new();
    if request.order != TransactionOrder::Key {
        by.push(ident(request.order.as_str()).sort(ascending, false));
    }
    by.push(ident(KEY).sort(ascending, false));
    frame
        .sort(by)
        .and_then(|sorted| sorted.limit(0, Some(request.limit.saturating_add(1))))
        .map_err(into_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Decimal128Array, StringArray, TimestampMicrosecondArray};
    use datafusion::datasource::MemTable;
    use std::sync::Arc;
    use tillhouse_query::{QueryEngine, QueryEngineOptions};

    /// Transactions of which some happened at once, and one at no known time.
    fn table() -> RecordBatch {
        let times = [Some(3), Some(1), None, Some(2), Some(2), Some(2), None];
        let keys: Vec<String> = (0..times.len()).map(|at| format!("hecone:{at}")).collect();
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            (KEY, Arc::new(StringArray::from(keys)), false),
            (
                "occurred_at",
                Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC")),
                true,
            ),
            (
                "amount",
                Arc::new(
                    Decimal128Array::from(vec![
                        Some(5),
                        None,
                        Some(-1),
                        Some(5),
                        None,
                        Some(0),
                        Some(5),
                    ])
                    .with_precision_and_scale(AMOUNT_PRECISION, 4)
                    .unwrap(),
                ),
                true,
            ),
            (
                "month",
                Arc::new(StringArray::from(vec!["1970-01"; times.len()])),
                true,
            ),
            (
                "_run_id",
                Arc::new(StringArray::from(vec!["r"; times.len()])),
                true,
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    fn session() -> Session {
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = engine.empty_session().unwrap();
        let batch = table();
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
        session
            .register("unified.transactions", Arc::new(table))
            .unwrap();
        session
    }

    async fn all_pages(order: TransactionOrder, is_descending: bool, limit: usize) -> Vec<String> {
        let session = session();
        let mut request = TransactionListRequest {
            order,
            is_descending,
            ..TransactionListRequest::new(limit)
        };
        let mut found = Vec::new();
        for _ in 0..10 {
            let page = list_transactions(&session, &request).await.unwrap();
            assert!(page.rows.num_rows() <= limit);
            assert!(page.rows.column_by_name("_run_id").is_none());
            let keys = texts(&page.rows, KEY).unwrap();
            found.extend((0..page.rows.num_rows()).filter_map(|row| {
                keys.get(row)
                    .and_then(|key| key.strip_prefix("hecone:"))
                    .map(str::to_owned)
            }));
            request.after = page.next;
            if request.after.is_none() {
                break;
            }
        }
        found
    }

    #[tokio::test]
    async fn every_transaction_is_on_one_page_whatever_the_size_and_the_order() {
        for (order, is_descending, expected) in [
            (TransactionOrder::OccurredAt, true, "0 5 4 3 1 6 2"),
            (TransactionOrder::OccurredAt, false, "1 3 4 5 0 2 6"),
            (TransactionOrder::Amount, true, "6 3 0 5 2 4 1"),
            (TransactionOrder::Amount, false, "2 5 0 3 6 1 4"),
            (TransactionOrder::Key, false, "0 1 2 3 4 5 6"),
            (TransactionOrder::Key, true, "6 5 4 3 2 1 0"),
        ] {
            for limit in [1, 2, 3, 7, 100] {
                let found = all_pages(order, is_descending, limit).await.join(" ");
                assert_eq!(found, expected, "{order} {is_descending} {limit}");
            }
        }
    }

    #[tokio::test]
    async fn what_hangs_on_a_transaction_narrows_the_list_and_doubles_no_row() {
        let session = session();
        let texts_of =
            |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let keys = |keys: [u8; 4]| {
            let keys: Vec<String> = keys.iter().map(|key| format!("hecone:{key}")).collect();
            texts_of(keys.iter().map(|key| Some(key.as_str())).collect())
        };
        let register = |name: &str, columns: Vec<(&str, ArrayRef, bool)>| {
            let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
            session.register(name, Arc::new(table)).unwrap();
        };
        let methods = vec![Some("card"), Some("card"), None, Some("cash")];
        let states = vec![
            Some("collected"),
            Some("collected"),
            Some("collected"),
            Some("open"),
        ];
        register(
            "unified.payments",
            vec![
                (KEY, keys([0, 0, 3, 4]), false),
                ("method", texts_of(methods), true),
                ("state", texts_of(states), true),
            ],
        );
        let products = vec![Some("hecone:p"), Some("hecone:p"), Some("hecone:q"), None];
        register(
            "unified.articles",
            vec![
                (KEY, keys([0, 5, 5, 6]), false),
                ("product_key", texts_of(products), true),
            ],
        );
        for (product, method, expected) in [
            (None, Some("card"), "hecone:0"),
            (None, Some("unknown"), "hecone:3"),
            (None, Some("cash"), ""),
            (Some("hecone:p"), None, "hecone:0 hecone:5"),
            (Some("hecone:p"), Some("card"), "hecone:0"),
        ] {
            let request = TransactionListRequest {
                product: product.map(str::to_owned),
                payment_method: method.map(str::to_owned),
                ..TransactionListRequest::new(10)
            };
            let rows = list_transactions(&session, &request).await.unwrap().rows;
            let keys = texts(&rows, KEY).unwrap();
            let found: Vec<&str> = (0..rows.num_rows())
                .filter_map(|row| keys.get(row))
                .collect();
            assert_eq!(found.join(" "), expected, "{product:?} {method:?}");
        }
    }

    #[tokio::test]
    async fn a_window_leaves_out_what_has_no_time() {
        let at = |micros| jiff::Timestamp::from_microsecond(micros).unwrap();
        let request = TransactionListRequest {
            window: Some(Window::new(at(2), at(3)).unwrap()),
            ..TransactionListRequest::new(10)
        };
        let page = list_transactions(&session(), &request).await.unwrap();
        assert_eq!(page.rows.num_rows(), 3);
        let nothing = list_transactions(&session(), &TransactionListRequest::new(0)).await;
        assert!(nothing.is_err());
        assert!("mood".parse::<TransactionOrder>().is_err());
    }
}
