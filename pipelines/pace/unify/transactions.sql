-- PACE transactions, one row each.
--
-- PACE lists what was paid, and gives no state: a transaction that has an error was not paid, every other one is completed, also where its
-- price is not known. The offset of the
-- site's clock follows from createdAt and createdAtLocaltime. Prices are gross, after discount. Of a
-- refund, net, tax and discount are taken away too, also where PACE tells them without a sign. A sale that
-- names no fuel is of category other. The site is its brand and address; a brand without one is no site.
SELECT
    concat($pipeline, ':', t.id)                                     AS transaction_key,
    t.id                                                             AS transaction_id,
    t.partner                                                        AS tenant_id,
    'sale'                                                           AS perspective,
    sale_kind(t.a['price_including_vat'], t.state, t.a['price_including_vat']) AS kind,
    t.state,
    t.state                                                          AS state_derived,
    CASE WHEN t.has_fuel THEN 'fuelling' ELSE 'other' END            AS category,
    t._record_time                                                   AS occurred_at,
    t.clock                                                          AS timezone,
    t.a['created_at']                                                AS created_at,
    t.a['updated_at']                                                AS updated_at,
    t.a['price_including_vat']                                       AS amount,
    CASE WHEN t.a['price_including_vat'] < 0 AND t.a['discount_amount'] > 0 THEN -(t.a['discount_amount'])
        ELSE t.a['discount_amount'] END                              AS discount_amount,
    CASE WHEN t.a['price_including_vat'] < 0 AND t.a['price_without_vat'] > 0 THEN -(t.a['price_without_vat'])
        ELSE t.a['price_without_vat'] END                            AS net_amount,
    CASE WHEN t.a['price_including_vat'] < 0 AND t.a['vat']['amount'] > 0 THEN -(t.a['vat']['amount'])
        ELSE t.a['vat']['amount'] END                                AS tax_amount,
    CASE WHEN t.a['vat']['amount'] IS NULL THEN 'unknown' ELSE 'reported' END AS tax_origin,
    CASE WHEN t.state = 'completed' THEN t.a['price_including_vat'] END AS paid_amount,
    currency_code(t.a['currency'])                                   AS currency,
    concat($pipeline, ':') || t.site                                 AS site_key,
    concat($pipeline, ':') || t.site || '/' || t.a['fuel']['pump_number'] AS point_key,
    t.a['number_plate']                                              AS license_plate,
    t.a['vin']                                                       AS vin,
    t.a['mileage'] * 0.001                                           AS odometer_km,
    t.a['driver_vehicle_id']                                         AS driver_number
FROM (
    SELECT
        id, partner, attributes AS a,
        clock_offset(attributes['created_at'], attributes['created_at_localtime']) AS clock,
        -- A brand alone, and a country, name no site. Spellings of a part that look alike are one. A '/' of any part but the last is written %2f.
        CASE WHEN attributes['location']['address']['postal_code'] IS NOT NULL OR attributes['location']['address']['city'] IS NOT NULL
            OR attributes['location']['address']['street'] IS NOT NULL OR attributes['location']['address']['house_no'] IS NOT NULL
            THEN lower(concat_ws('/',
                replace(replace(coalesce(canonical_word(attributes['location']['brand']), ''), '%', '%25'), '/', '%2F'),
                replace(replace(coalesce(canonical_word(attributes['location']['address']['country_code']), ''), '%', '%25'), '/', '%2F'),
                replace(replace(coalesce(canonical_word(attributes['location']['address']['postal_code']), canonical_word(attributes['location']['address']['city']), ''),
                    '%', '%25'), '/', '%2F'),
                replace(replace(coalesce(canonical_word(attributes['location']['address']['street']), ''), '%', '%25'), '/', '%2F'),
                coalesce(canonical_word(attributes['location']['address']['house_no']), ''))) END AS site,
        CASE WHEN attributes['error'] IS NULL THEN 'completed' ELSE 'error' END AS state,
        (attributes['fuel']['type'] IS NOT NULL OR attributes['fuel']['product_name'] IS NOT NULL OR attributes['fuel']['unit'] IS NOT NULL
            OR attributes['fuel']['amount'] IS NOT NULL OR attributes['fuel']['price_per_unit'] IS NOT NULL
            OR attributes['fuel']['pump_number'] IS NOT NULL) AS has_fuel
    FROM transactions
) t
