-- What was bought in be-mo sessions, one row a product. Lines are counted within their transaction: the session and the currency.
--
-- Codes of products and ids of sites are the networks' own, so their keys carry the network.
SELECT
    concat($pipeline, ':', s.session_id, ':', s.label, '/', s.line_number) AS article_key,
    concat($pipeline, ':', s.session_id, ':', s.label)               AS transaction_key,
    NULL                                                             AS article_id,
    s.line_number,
    concat($pipeline, ':') || s.network || coalesce(s.a['product_code'], s.a['product_family']) AS product_key,
    s.a['product_code']                                              AS product_code,
    coalesce(s.a['product_family'], s.a['product_code'])             AS name,
    category_of(s.a['product_category'])                             AS category,
    s.article_state                                                  AS state,
    canonical_unit(s.a['quantity_unit'])                             AS unit_measure,
    s.a['quantity_unit']                                             AS source_unit,
    signed_quantity(s.a['quantity'], s.a['total_amount'], s.amount)  AS quantity,
    NULL                                                             AS free_quantity,
    NULL                                                             AS max_quantity,
    s.a['unit_price']                                                AS unit_price,
    s.a['total_amount']                                              AS amount,
    NULL                                                             AS discount_amount,
    NULL                                                             AS tax_percentage,
    NULL                                                             AS tax_amount,
    currency_code(nullif(s.label, 'none'))                            AS currency,
    s.a['tariff_code']                                               AS tariff_code,
    s.session_start_date                                             AS start_time,
    coalesce(s.session_end_date, s.a['transaction_date'])            AS end_time,
    $pipeline                                                        AS pipeline,
    $source                                                          AS source,
    s.account_id                                                     AS tenant_id,
    'purchase'                                                       AS perspective,
    sale_kind(s.amount, s.state, array_max(array_replace_all(s.amounts, CAST(NULL AS DECIMAL(18, 4)), CAST(1 AS DECIMAL(18, 4)))))               AS kind,
    concat($pipeline, ':') || s.network || s.place_id                AS site_key,
    NULL                                                             AS device_key,
    s._record_time                                                   AS occurred_at,
    month_of(s._record_time)                                         AS month,
    local_date(s._record_time, s.time_zone)                          AS business_date,
    local_hour(s._record_time, s.time_zone)                          AS local_hour,
    s.state                                                          AS transaction_state,
    s._record_key, s._record_time, s._load_id, s._extracted_at, s._content_hash, s._run_id
FROM (
    SELECT
        p.session_id, p.account_id, p.label, p.a, p.amount, p.network, p.place_id, p.time_zone, p.session_start_date, p.session_end_date,
        CAST(array_position(values_where(positions(p.labels), p.labels, p.label), p.position) AS BIGINT) AS line_number,
        values_where(p.all_amounts, p.labels, p.label) AS amounts,
        p.article_state,
        CASE WHEN p.session_end_date IS NULL THEN 'pending' ELSE 'completed' END AS state,
        p._record_key, p._record_time, p._load_id, p._extracted_at, p._content_hash, p._run_id
    FROM (
        SELECT c.*,
            sum_where(c.all_amounts, c.labels, c.label) AS amount,
            CASE WHEN c.session_end_date IS NULL THEN 'ongoing' ELSE 'done' END AS article_state
        FROM (
            SELECT
                l.session_id, l.account_id, l.labels, l.network, l.place_id, l.time_zone, l.session_start_date, l.session_end_date,
                pluck(l.transactions, 'total_amount') AS all_amounts,
                unnest(l.transactions) AS a, unnest(positions(l.transactions)) AS position, unnest(l.labels) AS label,
                l._record_key, l._record_time, l._load_id, l._extracted_at, l._content_hash, l._run_id
            FROM (
                SELECT *,
                    array_replace_all(pluck(transactions, 'currency_key'), CAST(NULL AS VARCHAR), 'none') AS labels,
                    coalesce(nullif(trim(place_network), '') || '/', '') AS network
                FROM sessions
            ) l
        ) c
    ) p
) s
