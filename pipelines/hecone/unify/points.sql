-- The points (pump, charging point, lot) that transactions name. A point is sold at by any device of its site: no device is the point's own.
SELECT
    concat($pipeline, ':', point_id)    AS point_key,
    concat($pipeline, ':') || site_id   AS site_key,
    point['name']                       AS name,
    CAST(point['number'] AS VARCHAR)    AS number
FROM transactions
WHERE point_id IS NOT NULL
