-- The accounts whose sessions were read. be-mo gives them no name.
SELECT
    concat($pipeline, ':', account_id)  AS tenant_key,
    account_id                          AS tenant_id,
    NULL                                AS name,
    $pipeline                           AS pipeline,
    $source                             AS source,
    coalesce(_record_time, _extracted_at) AS _as_of, _extracted_at, _content_hash, _run_id
FROM sessions
WHERE account_id IS NOT NULL
