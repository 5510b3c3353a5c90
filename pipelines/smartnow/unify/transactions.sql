-- SmartNow's sales, one row each: a revenue transaction is the sale of one product.
--
-- Prices are in minor units by ISO 4217 or in major units, as the connection's price_unit says. In minor units an amount of an unknown
-- currency is null, since nobody knows how many digits it has; the sale is kept.
-- A sale of 0 is free, a negative one is a refund. SmartNow has no word for a sale's state. By HecOne's rule table its article is done and its
-- payments are collected: it is completed where they cover the price, and consumed where they do not, or have not come yet.
-- An original price of 0 means that there was no reduction. Tax is not told.
-- Where the time zone is unknown, day and hour are those of UTC, the offset is null, and ops.warnings names the sale.
SELECT
    concat($pipeline, ':', t.sale)                                   AS transaction_key,
    $pipeline                                                        AS pipeline,
    $source                                                          AS source,
    t.sale                                                           AS transaction_id,
    CAST(nullif(t.usergroup, 0) AS VARCHAR)                          AS tenant_id,
    'sale'                                                           AS perspective,
    sale_kind(t.price, 'completed', t.price)                         AS kind,
    t.state                                                          AS state,
    t.state                                                          AS state_derived,
    'vending'                                                        AS category,
    t.occurred_at,
    month_of(t.occurred_at)                                          AS month,
    local_date(t.occurred_at, t.time_zone)                           AS business_date,
    local_hour(t.occurred_at, t.time_zone)                           AS local_hour,
    utc_offset_minutes(t.occurred_at, t.time_zone)                   AS utc_offset_minutes,
    t.time_zone                                                      AS timezone,
    t.created_at,
    t.updated_at,
    NULL                                                             AS started_at,
    NULL                                                             AS ended_at,
    t.amount,
    t.original_amount - t.amount                                     AS discount_amount,
    NULL                                                             AS net_amount,
    NULL                                                             AS tax_amount,
    'unknown'                                                        AS tax_origin,
    t.paid_amount,
    currency_code(t.currency)                                        AS currency,
    concat($pipeline, ':') || CAST(t.location AS VARCHAR)            AS site_key,
    concat($pipeline, ':') || CAST(t.machine AS VARCHAR)             AS device_key,
    NULL                                                             AS point_key,
    NULL                                                             AS client_id,
    NULL                                                             AS client_type,
    NULL                                                             AS license_plate,
    NULL                                                             AS vin,
    NULL                                                             AS odometer_km,
    NULL                                                             AS driver_number,
    NULL                                                             AS vehicle_id,
    NULL                                                             AS vehicle_number,
    NULL                                                             AS cost_center,
    NULL                                                             AS additional_info,
    NULL                                                             AS card_vehicle_number,
    NULL                                                             AS card_driver_name,
    NULL                                                             AS receipt_state,
    NULL                                                             AS receipt_email,
    CAST(t.remote AS VARCHAR)                                        AS terminal_transaction_number,
    NULL                                                             AS session_id,
    NULL                                                             AS roaming_session_id,
    t._record_key, t._record_time, t._land, t._extracted_at, t._content_hash, t._run_id
FROM (
    SELECT s.*,
        CAST(s.id AS VARCHAR) AS sale,
        CASE WHEN coalesce(p.paid, 0) < s.price THEN 'consumed' ELSE 'completed' END AS state,
        CASE WHEN $price_unit = 'minor' THEN from_minor_units(s.price, s.currency) ELSE s.price END AS amount,
        CASE WHEN s.price < 0 OR s.original_price <= s.price THEN NULL
            WHEN $price_unit = 'minor' THEN from_minor_units(s.original_price, s.currency)
            ELSE s.original_price END AS original_amount,
        CASE WHEN $price_unit = 'minor' THEN from_minor_units(p.paid, s.currency) ELSE CAST(p.paid AS DECIMAL(18, 4)) END AS paid_amount
    FROM revenue_transactions s
    LEFT JOIN (
        SELECT revenuetransaction, currency, sum(price) AS paid
        FROM payment_transactions
        GROUP BY revenuetransaction, currency
    ) p ON p.revenuetransaction = s.id AND p.currency = s.currency
) t
