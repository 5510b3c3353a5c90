-- SmartNow's user groups: whose sales they are.
SELECT
    concat($pipeline, ':', id)          AS tenant_key,
    CAST(id AS VARCHAR)                 AS tenant_id,
    name,
    $pipeline                           AS pipeline,
    $source                             AS source,
    _extracted_at                       AS _as_of,
    _deleted_at, _extracted_at, _content_hash, _run_id
FROM user_groups
