-- The devices that transactions name. HecOne gives a device no id of its own: its code is one within its site.
SELECT
    concat($pipeline, ':', site_id, '/', device['code']) AS device_key,
    concat($pipeline, ':', site_id)     AS site_key,
    device['name']                      AS name,
    device['code']                      AS code
FROM transactions
WHERE site_id IS NOT NULL AND device['code'] IS NOT NULL
