-- The points (pump, charging point, lot) that transactions name.
SELECT
    concat($pipeline, ':', point_id)    AS point_key,
    concat($pipeline, ':') || site_id || '/' || device['code'] AS device_key,
    concat($pipeline, ':') || site_id   AS site_key,
    point['name']                       AS name,
    CAST(point['number'] AS VARCHAR)    AS number
FROM transactions
WHERE point_id IS NOT NULL
