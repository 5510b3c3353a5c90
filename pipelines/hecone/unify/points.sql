-- The points (pump, charging point, lot) that transactions name.
SELECT
    concat($pipeline, ':', point_id)    AS point_key,
    concat($pipeline, ':') || site_id || '/' || device['code'] AS device_key,
    concat($pipeline, ':') || site_id   AS site_key,
    point['name']                       AS name,
    CAST(point['number'] AS VARCHAR)    AS number,
    $pipeline                           AS pipeline,
    $source                             AS source,
    coalesce(_record_time, _extracted_at) AS _as_of, _extracted_at, _content_hash, _run_id
FROM transactions
WHERE point_id IS NOT NULL
