-- What was sold in PACE transactions: one line each, which costs what the transaction costs. Where no fuel is named, something else was
-- sold, and nobody says what. PACE's rate of VAT is a
-- fraction, but for some sites it comes in per cent: no rate is above 100 % or, but for 0, below 1 %, so up to 1 it is a fraction.
-- A refund takes its quantity, tax and discount away, also where PACE tells them without a sign; its unit price is not below zero.
-- Quantity and unit price are in the base unit of the measure where both are exact there, else in the unit they came in.
SELECT
    concat($pipeline, ':', t.id, '/1')                               AS article_key,
    concat($pipeline, ':', t.id)                                     AS transaction_key,
    1                                                                AS line_number,
    concat($pipeline, ':') || t.product                              AS product_key,
    t.f['type']                                                      AS product_code,
    coalesce(t.f['product_name'], t.f['type'])                       AS name,
    CASE WHEN t.has_fuel THEN 'fuelling' ELSE 'other' END            AS category,
    'done'                                                           AS state,
    t.unit                                                           AS unit_measure,
    t.f['unit']                                                      AS source_unit,
    convert_unit(signed_quantity(t.f['amount'], t.a['price_including_vat'], t.a['price_including_vat'], t.f['price_per_unit'],
        t.a['currency']),
        t.f['unit'], t.unit)                                         AS quantity,
    convert_unit(CASE WHEN t.a['price_including_vat'] < 0 AND t.f['amount'] > 0 AND t.f['price_per_unit'] < 0 THEN -(t.f['price_per_unit'])
        ELSE t.f['price_per_unit'] END, t.unit, t.f['unit'])         AS unit_price,
    t.a['price_including_vat']                                       AS amount,
    CASE WHEN t.a['price_including_vat'] < 0 AND t.a['discount_amount'] > 0 THEN -(t.a['discount_amount'])
        ELSE t.a['discount_amount'] END                              AS discount_amount,
    CAST(CASE WHEN t.a['vat']['rate'] BETWEEN -1 AND 1 THEN t.a['vat']['rate'] * 100 ELSE t.a['vat']['rate'] END AS DECIMAL(38, 4)) AS tax_percentage,
    CASE WHEN t.a['price_including_vat'] < 0 AND t.a['vat']['amount'] > 0 THEN -(t.a['vat']['amount'])
        ELSE t.a['vat']['amount'] END                                AS tax_amount,
    currency_code(t.a['currency'])                                   AS currency
FROM (
    SELECT
        id, attributes AS a, attributes['fuel'] AS f,
        base_unit(attributes['fuel']['unit'], attributes['fuel']['price_per_unit'], attributes['fuel']['amount'], NULL, NULL) AS unit,
        coalesce(replace(replace(one_spelling(attributes['fuel']['type']), '%', '%25'), '/', '%2F') || '/' || one_spelling(attributes['fuel']['product_name']),
            replace(replace(coalesce(one_spelling(attributes['fuel']['type']), one_spelling(attributes['fuel']['product_name'])), '%', '%25'), '/', '%2F')) AS product,
        (attributes['fuel']['type'] IS NOT NULL OR attributes['fuel']['product_name'] IS NOT NULL OR attributes['fuel']['unit'] IS NOT NULL
            OR attributes['fuel']['amount'] IS NOT NULL OR attributes['fuel']['price_per_unit'] IS NOT NULL
            OR attributes['fuel']['pump_number'] IS NOT NULL) AS has_fuel
    FROM transactions
) t
