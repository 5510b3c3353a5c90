-- SmartNow's groups of locations, with the keys of their locations.
SELECT
    concat($pipeline, ':', id)          AS group_key,
    name,
    CASE WHEN cardinality(locations) > 0
        THEN string_to_array(concat($pipeline, ':', array_to_string(locations, concat(',', $pipeline, ':'))), ',') END AS site_keys,
    $pipeline                           AS pipeline,
    $source                             AS source,
    _extracted_at                       AS _as_of,
    _deleted_at, _extracted_at, _content_hash, _run_id
FROM location_groups
