-- The mandators that transactions name. HecOne's transactions carry no name for them.
SELECT
    concat($pipeline, ':', mandator_id) AS tenant_key,
    mandator_id                         AS tenant_id,
    NULL                                AS name,
    $pipeline                           AS pipeline,
    $source                             AS source,
    coalesce(_record_time, _extracted_at) AS _as_of, _extracted_at, _content_hash, _run_id
FROM transactions
WHERE mandator_id IS NOT NULL
