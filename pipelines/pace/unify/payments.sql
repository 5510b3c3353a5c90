-- The payments of PACE transactions, one each. How was paid, only the newer list says.
SELECT
    concat($pipeline, ':', t.id, '/1')                               AS payment_key,
    concat($pipeline, ':', t.id)                                     AS transaction_key,
    NULL                                                             AS payment_id,
    label($labels, 'type', t.a['payment_method_kind'])               AS type,
    NULL                                                             AS medium,
    NULL                                                             AS scheme,
    NULL                                                             AS entry_mode,
    NULL                                                             AS function,
    payment_method(t.a['payment_method_kind'], NULL, NULL, NULL, NULL) AS method,
    t.payment_state                                                  AS state,
    t.a['price_including_vat']                                       AS amount,
    NULL                                                             AS reserved_amount,
    currency_code(t.a['currency'])                                   AS currency,
    NULL                                                             AS card_id,
    NULL                                                             AS additional_card_id,
    NULL                                                             AS additional_card_function,
    t.a['payment_method_id']                                         AS identification_id,
    NULL                                                             AS excluded,
    NULL                                                             AS report_group,
    t.a['created_at']                                                AS created_at,
    $pipeline                                                        AS pipeline,
    $source                                                          AS source,
    t.partner                                                        AS tenant_id,
    'sale'                                                           AS perspective,
    sale_kind(t.a['price_including_vat'], t.transaction_state, t.a['price_including_vat']) AS kind,
    concat($pipeline, ':') || t.site                                 AS site_key,
    NULL                                                             AS device_key,
    t._record_time                                                   AS occurred_at,
    month_of(t._record_time)                                         AS month,
    local_date(t._record_time, t.clock)                              AS business_date,
    local_hour(t._record_time, t.clock)                              AS local_hour,
    t.transaction_state,
    t._record_key, t._record_time, t._load_id, t._extracted_at, t._content_hash, t._run_id
FROM (
    SELECT p.*, CASE WHEN p.payment_state = 'error' THEN 'error' ELSE 'completed' END AS transaction_state
    FROM (
        SELECT
            id, partner, attributes AS a,
            CASE WHEN attributes['error'] IS NULL THEN 'collected' ELSE 'error' END AS payment_state,
            clock_offset(attributes['created_at'], attributes['created_at_localtime']) AS clock,
            nullif(lower(concat_ws('/',
                coalesce(attributes['location']['brand'], ''),
                coalesce(attributes['location']['address']['country_code'], ''),
                coalesce(attributes['location']['address']['postal_code'], attributes['location']['address']['city'], ''),
                coalesce(attributes['location']['address']['street'], ''),
                coalesce(attributes['location']['address']['house_no'], ''))), '////') AS site,
            _record_key, _record_time, _load_id, _extracted_at, _content_hash, _run_id
        FROM transactions
    ) p
) t
