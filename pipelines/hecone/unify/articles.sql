-- The articles of HecOne transactions, one row each.
--
-- An article without a currency has its transaction's. What a refund gives back takes its quantity away. Its product's code stands in the transaction's list of products.
SELECT
    concat($pipeline, ':', t.id, '/', t.line_number)                 AS article_key,
    concat($pipeline, ':', t.id)                                     AS transaction_key,
    t.a['id']                                                        AS article_id,
    t.line_number,
    concat($pipeline, ':') || t.a['product_id']                      AS product_key,
    value_where(t.product_codes, t.product_ids, t.a['product_id'])   AS product_code,
    t.a['name']                                                      AS name,
    category_of(t.a['category'])                                     AS category,
    canonical_word(t.a['state'])                                     AS state,
    canonical_unit(t.a['unit_measure'])                              AS unit_measure,
    t.a['unit_measure']                                              AS source_unit,
    signed_quantity(t.a['quantity'], t.a['amount'], t.invoice_amount) AS quantity,
    t.a['free_quantity']                                             AS free_quantity,
    t.a['max_quantity']                                              AS max_quantity,
    t.a['unit_price']                                                AS unit_price,
    t.a['amount']                                                    AS amount,
    NULL                                                             AS discount_amount,
    t.a['tax_percentage']                                            AS tax_percentage,
    t.a['tax_amount']                                                AS tax_amount,
    currency_code(first_present(t.a['currency'], t.transaction_currency)) AS currency,
    NULL                                                             AS tariff_code,
    t.a['start_time']                                                AS start_time,
    t.a['end_time']                                                  AS end_time,
    $pipeline                                                        AS pipeline,
    $source                                                          AS source,
    t.mandator_id                                                    AS tenant_id,
    'sale'                                                           AS perspective,
    sale_kind(t.invoice_amount, t.current_state, t.largest_amount)   AS kind,
    concat($pipeline, ':') || t.site_id                              AS site_key,
    concat($pipeline, ':') || t.site_id || '/' || t.device_code      AS device_key,
    t._record_time                                                   AS occurred_at,
    month_of(t._record_time)                                         AS month,
    local_date(t._record_time, t.timezone)                           AS business_date,
    local_hour(t._record_time, t.timezone)                           AS local_hour,
    t.current_state                                                  AS transaction_state,
    t._record_key, t._record_time, t._load_id, t._extracted_at, t._content_hash, t._run_id
FROM (
    SELECT
        id, mandator_id, site_id, device['code'] AS device_code, site['timezone'] AS timezone,
        first_present(canonical_word(state), derived_state(pluck(articles, 'state'), pluck(payments, 'state'),
            sum_where(pluck(payments, 'amount'), canonical_word(pluck(payments, 'state')), 'collected'), invoice['amount'])) AS current_state,
        invoice['amount'] AS invoice_amount, array_max(pluck(articles, 'amount')) AS largest_amount,
        first_present(invoice['currency'], pluck(articles, 'currency')[1], pluck(payments, 'currency')[1]) AS transaction_currency,
        pluck(products, 'id') AS product_ids, pluck(products, 'code') AS product_codes,
        unnest(pluck(articles, 'id', 'product_id', 'name', 'category', 'state', 'unit_measure', 'quantity', 'free_quantity',
            'max_quantity', 'unit_price', 'amount', 'tax_percentage', 'tax_amount', 'currency', 'start_time', 'end_time')) AS a,
        unnest(positions(articles)) AS line_number,
        _record_key, _record_time, _load_id, _extracted_at, _content_hash, _run_id
    FROM transactions
) t
