-- The pumps that transactions name.
SELECT
    concat($pipeline, ':', t.site, '/', t.pump) AS point_key,
    concat($pipeline, ':', t.site)      AS site_key,
    CAST(t.pump AS VARCHAR)             AS number
FROM (
    SELECT
        attributes['fuel']['pump_number'] AS pump,
        -- A brand alone, and a country, name no site. Spellings of a part that look alike are one. A '/' of any part but the last is written %2f.
        CASE WHEN attributes['location']['address']['postal_code'] IS NOT NULL OR attributes['location']['address']['city'] IS NOT NULL
            OR attributes['location']['address']['street'] IS NOT NULL OR attributes['location']['address']['house_no'] IS NOT NULL
            THEN lower(concat_ws('/',
                replace(replace(coalesce(canonical_word(attributes['location']['brand']), ''), '%', '%25'), '/', '%2F'),
                replace(replace(coalesce(canonical_word(attributes['location']['address']['country_code']), ''), '%', '%25'), '/', '%2F'),
                replace(replace(coalesce(canonical_word(attributes['location']['address']['postal_code']), canonical_word(attributes['location']['address']['city']), ''),
                    '%', '%25'), '/', '%2F'),
                replace(replace(coalesce(canonical_word(attributes['location']['address']['street']), ''), '%', '%25'), '/', '%2F'),
                coalesce(canonical_word(attributes['location']['address']['house_no']), ''))) END AS site
    FROM transactions
) t
WHERE t.site IS NOT NULL AND t.pump IS NOT NULL
