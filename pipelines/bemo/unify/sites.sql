-- The sites that sessions name, as the newest session shows them. placeId is the network's own, so the key carries the network; a '/' of its name, and
-- without one of the id, is written %2F there. The sessions tell
-- an offset, which is the clock's of that moment and no time zone, so a site has none.
SELECT
    concat($pipeline, ':', CASE WHEN one_spelling(place_network) IS NULL THEN replace(replace(place_id, '%', '%25'), '/', '%2F')
        ELSE replace(replace(one_spelling(place_network), '%', '%25'), '/', '%2F') || '/' || place_id END) AS site_key,
    place_name                          AS name,
    place_id                            AS code,
    trim(address)                       AS street,
    city_key                            AS city,
    zip_code                            AS postal_code,
    country_code                        AS country_code,
    CAST(latitude AS DECIMAL(20, 6))    AS latitude,
    CAST(longitude AS DECIMAL(20, 6))   AS longitude,
    place_network                       AS brand
FROM sessions
WHERE place_id IS NOT NULL
