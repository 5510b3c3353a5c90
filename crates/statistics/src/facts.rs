//! The transactions of a request: one pass over both windows, one fine GROUP BY, put together here.
//!
//! Invariant: the table is scanned once. Amounts are summed as integers.
//!
//! Rejected: one query a figure (hours, sites, totals, meta), which scans six times; GROUPING SETS, which multiplies rows inside
//! the engine and measured slower than a fine grouping summed up again.

use crate::columns::{add, decimals, each_batch, integers, texts};
use crate::request::{Hours, Question};
use std::collections::{BTreeMap, HashMap};
use tillhouse_model::{Error, Result};
use tillhouse_query::{ScalarValue, Session};

/// What currency and label are called where the provider named none.
pub(crate) const UNKNOWN: &str = "unknown";
/// The states of a sale that may still change.
const OPEN_STATES: [&str; 3] = ["created", "pending", "consumed"];

/// How many, and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: i64,
    pub(crate) amount: i128,
}

impl Tally {
    fn add(&mut self, count: i64, amount: i128) -> Result<()> {
        self.count =
            self.count.checked_add(count).ok_or_else(|| Error::data("more transactions than can be counted"))?;
        add(&mut self.amount, amount)
    }
}

/// The transactions of one currency.
#[derive(Debug, Default)]
pub(crate) struct Currency {
    pub(crate) now: Tally,
    pub(crate) before: Tally,
    /// By hour: its start in microseconds since 1970, or the hour of the day.
    pub(crate) hours: BTreeMap<i64, i64>,
    /// By site key.
    pub(crate) sites: HashMap<Option<String>, Tally>,
}

/// The transactions of a request.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    pub(crate) currencies: BTreeMap<String, Currency>,
    /// Digits after the point of every amount.
    pub(crate) scale: u8,
    pub(crate) open: i64,
    pub(crate) free: i64,
    pub(crate) test: i64,
}

/// The conditions every fact table is asked under, and the values for its placeholders. The tables are partitioned by month, so
/// naming months spares files; the exact times then decide.
pub(crate) struct Conditions {
    pub(crate) sql: String,
    pub(crate) params: Vec<(&'static str, ScalarValue)>,
}

impl Conditions {
    /// Whose transactions are asked for, whenever they were.
    fn whose(question: &Question<'_>) -> Self {
        let request = question.request;
        let text = |value: &str| ScalarValue::Utf8(Some(value.to_owned()));
        let mut sql = "perspective = $perspective".to_owned();
        let mut params = vec![("perspective", text(&request.perspective))];
        if let Some(tenant) = &request.tenant {
            sql.push_str(" AND tenant_id = $tenant");
            params.push(("tenant", text(tenant)));
        }
        if let Some(source) = &request.source {
            sql.push_str(" AND source = $source");
            params.push(("source", text(source)));
        }
        Self { sql, params }
    }

    /// The same, between two instants.
    pub(crate) fn between(question: &Question<'_>, (since, until): (i64, i64)) -> Self {
        let mut conditions = Self::whose(question);
        conditions.sql.push_str(" AND occurred_at >= $since AND occurred_at < $until");
        conditions.params.push(("since", instant(since)));
        conditions.params.push(("until", instant(until)));
        if let Some((first, last)) = month(since).zip(month(until.saturating_sub(1))) {
            conditions.sql.push_str(" AND month >= $first_month AND month <= $last_month");
            conditions.params.push(("first_month", ScalarValue::Utf8(Some(first))));
            conditions.params.push(("last_month", ScalarValue::Utf8(Some(last))));
        }
        conditions
    }
}

pub(crate) fn instant(micros: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
}

/// The partition an instant is in; `None` for years that four digits cannot write, whose names do not sort.
pub(crate) fn month(micros: i64) -> Option<String> {
    let instant = jiff::Timestamp::from_microsecond(micros).ok()?;
    let date = instant.to_zoned(jiff::tz::TimeZone::UTC).date();
    (date.year() >= 0).then(|| format!("{:04}-{:02}", date.year(), date.month()))
}

/// Counts the transactions of both windows.
pub(crate) async fn transactions(session: &Session, question: &Question<'_>) -> Result<Transactions> {
    let mut found = Transactions::default();
    if !session.has_table("unified", "transactions").await? {
        return Ok(found);
    }
    let since = question.before.map_or(question.now.0, |before| before.0);
    let mut conditions = Conditions::between(question, (since, question.now.1));
    conditions.params.push(("from", instant(question.now.0)));
    let hour = match question.request.hours {
        Hours::Timeline => {
            conditions.params.push(("zone", ScalarValue::Utf8(Some(question.request.timezone.clone()))));
            "CAST(local_hour_start(occurred_at, $zone) AS BIGINT)"
        }
        // A site whose clock is not known goes by UTC, as its business date does.
        Hours::OfDay => "coalesce(local_hour, CAST(date_part('hour', occurred_at) AS BIGINT))",
    };
    // Of the earlier window only totals are wanted, so its hours and sites do not make groups.
    let sql = format!(
        "SELECT is_now, currency, kind, state, site_key, hour, count(*) AS transactions, sum(amount) AS amount
         FROM (SELECT occurred_at >= $from AS is_now, currency, kind, state, amount,
                      CASE WHEN occurred_at >= $from THEN site_key END AS site_key,
                      CASE WHEN occurred_at >= $from THEN {hour} END AS hour
               FROM unified.transactions
               WHERE {} AND kind IN ('sale', 'refund', 'free', 'test')) AS asked
         GROUP BY is_now, currency, kind, state, site_key, hour",
        conditions.sql
    );
    each_batch(session, &sql, &conditions.params, |batch| {
        let (is_now, hours, counts) =
            (integers(batch, "is_now")?, integers(batch, "hour")?, integers(batch, "transactions")?);
        let (currencies, kinds, states, sites) =
            (texts(batch, "currency")?, texts(batch, "kind")?, texts(batch, "state")?, texts(batch, "site_key")?);
        let amounts = decimals(batch, "amount")?;
        found.scale = amounts.scale;
        for row in 0..batch.num_rows() {
            let (is_now, count) = (is_now.get(row) == Some(1), counts.get(row).unwrap_or(0));
            let (kind, state) = (kinds.get(row), states.get(row));
            let counted = question.counts_state(state);
            if !matches!(kind, Some("sale" | "refund")) {
                match kind {
                    Some("free") if is_now && counted => found.free += count,
                    Some("test") if is_now && counted => found.test += count,
                    _ => {}
                }
                continue;
            }
            if is_now && state.is_some_and(|state| OPEN_STATES.contains(&state)) {
                found.open += count;
            }
            if !counted {
                continue;
            }
            let name = currencies.get(row).unwrap_or(UNKNOWN);
            let currency = match found.currencies.get_mut(name) {
                Some(currency) => currency,
                None => found.currencies.entry(name.to_owned()).or_default(),
            };
            let amount = amounts.get(row);
            if !is_now {
                currency.before.add(count, amount)?;
                continue;
            }
            currency.now.add(count, amount)?;
            if let Some(hour) = hours.get(row) {
                *currency.hours.entry(hour).or_default() += count;
            }
            currency.sites.entry(sites.get(row).map(str::to_owned)).or_default().add(count, amount)?;
        }
        Ok(())
    })
    .await?;
    Ok(found)
}

/// Transactions that no window can count. They have a partition of their own, so this reads nothing else.
pub(crate) async fn without_time(session: &Session, question: &Question<'_>) -> Result<i64> {
    if !session.has_table("unified", "transactions").await? {
        return Ok(0);
    }
    let conditions = Conditions::whose(question);
    let sql = format!(
        "SELECT count(*) AS transactions FROM unified.transactions
         WHERE {} AND month = 'none' AND occurred_at IS NULL",
        conditions.sql
    );
    let mut count = 0;
    each_batch(session, &sql, &conditions.params, |batch| {
        let counts = integers(batch, "transactions")?;
        count += (0..batch.num_rows()).filter_map(|row| counts.get(row)).sum::<i64>();
        Ok(())
    })
    .await?;
    Ok(count)
}
