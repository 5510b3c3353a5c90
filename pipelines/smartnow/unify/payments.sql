-- The payments of SmartNow's sales, one row each.
--
-- The method is in the provider's own five words; the type is in the operator's, so it says nothing that is not said by the method. A payment
-- that the provider leaves out of its reports is kept, and marked `excluded`. Its time, place and state are those of its sale.
SELECT
    concat($pipeline, ':', t.id, '/', t.payment)                     AS payment_key,
    concat($pipeline, ':', t.id)                                     AS transaction_key,
    CAST(t.payment AS VARCHAR)                                       AS payment_id,
    t.payment_type                                                   AS type,
    t.method                                                         AS medium,
    NULL                                                             AS scheme,
    NULL                                                             AS entry_mode,
    NULL                                                             AS function,
    payment_method(NULL, coalesce(t.method, t.payment_type), NULL, NULL, NULL) AS method,
    'collected'                                                      AS state,
    CASE WHEN $price_unit = 'minor' THEN from_minor_units(t.paid, t.payment_currency) ELSE t.paid END AS amount,
    NULL                                                             AS reserved_amount,
    currency_code(t.payment_currency)                                AS currency,
    NULL                                                             AS card_id,
    NULL                                                             AS identification_id,
    t.exclude <> 0                                                   AS excluded,
    t.report_group,
    t.paid_at                                                        AS created_at,
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
    CASE WHEN coalesce(t.paid_in_all, 0) < t.price THEN 'consumed' ELSE 'completed' END AS transaction_state,
    t._record_key, t._record_time, t._land, t._extracted_at, t._content_hash, t._run_id
FROM (
    SELECT s.id, s.usergroup, s.price, s.location, s.machine, s.occurred_at, s.time_zone,
        s._record_key, s._record_time, s._land, s._extracted_at, s._content_hash, s._run_id,
        p.id AS payment, p.type AS payment_type, p.method, p.price AS paid, p.currency AS payment_currency, p.exclude, p.report_group,
        p.occurred_at AS paid_at, a.paid AS paid_in_all
    FROM revenue_transactions s
    JOIN payment_transactions p ON p.revenuetransaction = s.id
    LEFT JOIN (
        SELECT revenuetransaction, currency, sum(price) AS paid
        FROM payment_transactions
        GROUP BY revenuetransaction, currency
    ) a ON a.revenuetransaction = s.id AND a.currency = s.currency
) t
