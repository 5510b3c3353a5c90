-- The pumps that transactions name.
SELECT
    concat($pipeline, ':', t.site, '/', t.pump) AS point_key,
    concat($pipeline, ':', t.site)      AS site_key,
    CAST(t.pump AS VARCHAR)             AS number
FROM (
    SELECT
        attributes['fuel']['pump_number'] AS pump,
        nullif(lower(concat_ws('/',
            coalesce(attributes['location']['brand'], ''),
            coalesce(attributes['location']['address']['country_code'], ''),
            coalesce(attributes['location']['address']['postal_code'], attributes['location']['address']['city'], ''),
            coalesce(attributes['location']['address']['street'], ''),
            coalesce(attributes['location']['address']['house_no'], ''))), '////') AS site
    FROM transactions
) t
WHERE t.site IS NOT NULL AND t.pump IS NOT NULL
