-- What was sold: SmartNow's sales have one product each, so one row a sale.
--
-- A product is told by its number at the machine (PLU). Amounts, kind and state are those of the sale, see transactions.sql.
SELECT
    concat($pipeline, ':', t.sale, '/1')                             AS article_key,
    concat($pipeline, ':', t.sale)                                   AS transaction_key,
    NULL                                                             AS article_id,
    CAST(1 AS BIGINT)                                                AS line_number,
    concat($pipeline, ':') || CAST(t.machine AS VARCHAR) || '/' || CAST(t.product AS VARCHAR) AS product_key,
    t.internal_ref                                                   AS product_code,
    t.name,
    'vending'                                                        AS category,
    'done'                                                           AS state,
    'pc'                                                             AS unit_measure,
    NULL                                                             AS source_unit,
    CAST(1 AS DECIMAL(18, 6))                                        AS quantity,
    NULL                                                             AS free_quantity,
    NULL                                                             AS max_quantity,
    CAST(t.amount AS DECIMAL(18, 6))                                 AS unit_price,
    t.amount,
    t.original_amount - t.amount                                     AS discount_amount,
    NULL                                                             AS tax_percentage,
    NULL                                                             AS tax_amount,
    currency_code(t.currency)                                        AS currency,
    NULL                                                             AS tariff_code,
    NULL                                                             AS start_time,
    NULL                                                             AS end_time,
    $pipeline                                                        AS pipeline,
    $source                                                          AS source,
    CAST(nullif(t.usergroup, 0) AS VARCHAR)                          AS tenant_id,
    'sale'                                                           AS perspective,
    sale_kind(t.price, 'completed', t.price)                         AS kind,
    concat($pipeline, ':') || CAST(t.location AS VARCHAR)            AS site_key,
    concat($pipeline, ':') || CAST(t.machine AS VARCHAR)             AS device_key,
    t.occurred_at,
    month_of(t.occurred_at)                                          AS month,
    local_date(t.occurred_at, t.time_zone)                           AS business_date,
    local_hour(t.occurred_at, t.time_zone)                           AS local_hour,
    t.state                                                          AS transaction_state,
    t._record_key, t._record_time, t._land, t._extracted_at, t._content_hash, t._run_id
FROM (
    SELECT s.*,
        CAST(s.id AS VARCHAR) AS sale,
        CASE WHEN coalesce(p.paid, 0) < s.price THEN 'consumed' ELSE 'completed' END AS state,
        CASE WHEN $price_unit = 'minor' THEN from_minor_units(s.price, s.currency) ELSE s.price END AS amount,
        CASE WHEN s.price < 0 OR s.original_price <= s.price THEN NULL
            WHEN $price_unit = 'minor' THEN from_minor_units(s.original_price, s.currency)
            ELSE s.original_price END AS original_amount
    FROM revenue_transactions s
    LEFT JOIN (
        SELECT revenuetransaction, currency, sum(price) AS paid
        FROM payment_transactions
        GROUP BY revenuetransaction, currency
    ) p ON p.revenuetransaction = s.id AND p.currency = s.currency
) t
