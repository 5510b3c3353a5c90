-- The partners whose transactions were read. PACE's transactions carry no name for them beside the one they are asked for by.
SELECT
    concat($pipeline, ':', partner)     AS tenant_key,
    partner                             AS tenant_id,
    partner                             AS name,
    $pipeline                           AS pipeline,
    $source                             AS source,
    coalesce(_record_time, _extracted_at) AS _as_of, _extracted_at, _content_hash, _run_id
FROM transactions
WHERE partner IS NOT NULL
