-- What was sold in PACE transactions: one line each, which costs what the transaction costs. Where no fuel is named, something else was
-- sold, and nobody says what. PACE's rate of VAT is a
-- fraction, but for some sites it comes in per cent: no rate is above 100 % or, but for 0, below 1 %, so up to 1 it is a fraction.
SELECT
    concat($pipeline, ':', t.id, '/1')                               AS article_key,
    concat($pipeline, ':', t.id)                                     AS transaction_key,
    NULL                                                             AS article_id,
    1                                                                AS line_number,
    concat($pipeline, ':') || t.product                              AS product_key,
    t.f['type']                                                      AS product_code,
    coalesce(t.f['product_name'], t.f['type'])                       AS name,
    CASE WHEN t.has_fuel THEN 'fuelling' ELSE 'other' END            AS category,
    'done'                                                           AS state,
    canonical_unit(t.f['unit'])                                      AS unit_measure,
    t.f['unit']                                                      AS source_unit,
    signed_quantity(t.f['amount'], t.a['price_including_vat'], t.a['price_including_vat']) AS quantity,
    NULL                                                             AS free_quantity,
    NULL                                                             AS max_quantity,
    t.f['price_per_unit']                                            AS unit_price,
    t.a['price_including_vat']                                       AS amount,
    t.a['discount_amount']                                           AS discount_amount,
    CAST(CASE WHEN t.a['vat']['rate'] BETWEEN -1 AND 1 THEN t.a['vat']['rate'] * 100 ELSE t.a['vat']['rate'] END AS DECIMAL(38, 4)) AS tax_percentage,
    t.a['vat']['amount']                                             AS tax_amount,
    currency_code(t.a['currency'])                                   AS currency,
    NULL                                                             AS tariff_code,
    NULL                                                             AS start_time,
    NULL                                                             AS end_time,
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
    SELECT
        id, partner, attributes AS a, attributes['fuel'] AS f,
        coalesce(attributes['fuel']['type'] || '/' || attributes['fuel']['product_name'],
            attributes['fuel']['type'], attributes['fuel']['product_name']) AS product,
        clock_offset(attributes['created_at'], attributes['created_at_localtime']) AS clock,
        nullif(lower(concat_ws('/',
            coalesce(attributes['location']['brand'], ''),
            coalesce(attributes['location']['address']['country_code'], ''),
            coalesce(attributes['location']['address']['postal_code'], attributes['location']['address']['city'], ''),
            coalesce(attributes['location']['address']['street'], ''),
            coalesce(attributes['location']['address']['house_no'], ''))), '////') AS site,
        CASE WHEN attributes['error'] IS NULL THEN 'completed' ELSE 'error' END AS transaction_state,
        (attributes['fuel']['type'] IS NOT NULL OR attributes['fuel']['product_name'] IS NOT NULL OR attributes['fuel']['unit'] IS NOT NULL
            OR attributes['fuel']['amount'] IS NOT NULL OR attributes['fuel']['price_per_unit'] IS NOT NULL
            OR attributes['fuel']['pump_number'] IS NOT NULL) AS has_fuel,
        _record_key, _record_time, _load_id, _extracted_at, _content_hash, _run_id
    FROM transactions
) t
