-- SmartNow's groups of locations, with the keys of their locations.
SELECT
    concat($pipeline, ':', id)          AS group_key,
    name,
    CASE WHEN cardinality(locations) > 0
        THEN string_to_array(concat($pipeline, ':', array_to_string(locations, concat(',', $pipeline, ':'))), ',') END AS site_keys
FROM location_groups
