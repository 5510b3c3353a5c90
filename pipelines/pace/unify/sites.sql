-- The sites that transactions name, as the newest transaction shows them. PACE's transactions carry no id of a site, so it is its brand
-- and address, in small letters, where there is an address; the name is the station's, where the newer list tells it. The
-- transactions tell what the site's clock showed, which is an offset of that moment and no time zone, so a site has none.
--
-- Brand and address stand in for a name that a transaction does not tell: in a row of their own, older than all others, so that they never take the
-- place of a name that another one told.
SELECT
    concat($pipeline, ':', t.site)      AS site_key,
    CASE WHEN t.stands_in THEN nullif(concat_ws(' ', t.l['brand'], t.l['address']['city'], t.l['address']['street'],
        t.l['address']['house_no']), '') ELSE t.l['station_name'] END AS name,
    t.l['address']['street']            AS street,
    t.l['address']['house_no']          AS house_number,
    t.l['address']['city']              AS city,
    t.l['address']['postal_code']       AS postal_code,
    t.l['address']['country_code']      AS country_code,
    CAST(t.l['latitude'] AS DECIMAL(20, 6))  AS latitude,
    CAST(t.l['longitude'] AS DECIMAL(20, 6)) AS longitude,
    t.l['brand']                        AS brand,
    CASE WHEN t.stands_in THEN arrow_cast('1970-01-01T00:00:00Z', 'Timestamp(Microsecond, Some("UTC"))')
        ELSE coalesce(t._record_time, t._extracted_at) END AS _as_of
FROM (
    SELECT
        attributes['location'] AS l,
        unnest(CASE WHEN attributes['location']['station_name'] IS NULL THEN make_array(false, true) ELSE make_array(false) END) AS stands_in,
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
        _record_time, _extracted_at
    FROM transactions
) t
WHERE t.site IS NOT NULL
