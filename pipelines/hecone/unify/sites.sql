-- The sites that transactions name, as the newest transaction shows them.
SELECT
    concat($pipeline, ':', site_id)     AS site_key,
    site['name']                        AS name,
    site['code']                        AS code,
    site['timezone']                    AS timezone,
    site['street']                      AS street,
    site['city']                        AS city
FROM transactions
WHERE site_id IS NOT NULL AND site['name'] IS NOT NULL
