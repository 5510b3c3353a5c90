-- The sites that transactions name, as the newest transaction shows them. PACE's transactions carry no id of a site, so it is its brand
-- and address, in small letters; the name is the station's, where the newer list tells it. The
-- transactions tell what the site's clock showed, which is an offset of that moment and no time zone, so a site has none.
SELECT
    concat($pipeline, ':', t.site)      AS site_key,
    coalesce(t.l['station_name'], nullif(concat_ws(' ', t.l['brand'], t.l['address']['city'], t.l['address']['street'],
        t.l['address']['house_no']), '')) AS name,
    t.l['address']['street']            AS street,
    t.l['address']['house_no']          AS house_number,
    t.l['address']['city']              AS city,
    t.l['address']['postal_code']       AS postal_code,
    t.l['address']['country_code']      AS country_code,
    CAST(t.l['latitude'] AS DECIMAL(20, 6))  AS latitude,
    CAST(t.l['longitude'] AS DECIMAL(20, 6)) AS longitude,
    t.l['brand']                        AS brand
FROM (
    SELECT
        attributes['location'] AS l,
        nullif(lower(concat_ws('/',
            coalesce(attributes['location']['brand'], ''),
            coalesce(attributes['location']['address']['country_code'], ''),
            coalesce(attributes['location']['address']['postal_code'], attributes['location']['address']['city'], ''),
            coalesce(attributes['location']['address']['street'], ''),
            coalesce(attributes['location']['address']['house_no'], ''))), '////') AS site
    FROM transactions
) t
WHERE t.site IS NOT NULL
