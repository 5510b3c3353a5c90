-- SmartNow's groups of machines, with the keys of their machines.
SELECT
    concat($pipeline, ':', id)          AS group_key,
    name,
    CASE WHEN cardinality(machines) > 0
        THEN string_to_array(concat($pipeline, ':', array_to_string(machines, concat(',', $pipeline, ':'))), ',') END AS device_keys,
    $pipeline                           AS pipeline,
    $source                             AS source,
    _extracted_at                       AS _as_of,
    _deleted_at, _extracted_at, _content_hash, _run_id
FROM machine_groups
