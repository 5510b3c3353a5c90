-- The sites that transactions name, as the newest transaction shows them.
SELECT
    concat($pipeline, ':', site_id)     AS site_key,
    site['name']                        AS name,
    site['code']                        AS code,
    site['timezone']                    AS timezone,
    site['street']                      AS street,
    NULL                                AS house_number,
    site['city']                        AS city,
    NULL                                AS postal_code,
    NULL                                AS country_code,
    NULL                                AS latitude,
    NULL                                AS longitude,
    NULL                                AS brand,
    $pipeline                           AS pipeline,
    $source                             AS source,
    coalesce(_record_time, _extracted_at) AS _as_of, _extracted_at, _content_hash, _run_id
FROM transactions
WHERE site_id IS NOT NULL AND site['name'] IS NOT NULL
