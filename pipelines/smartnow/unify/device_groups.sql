-- SmartNow's groups of machines, with the keys of their machines.
SELECT
    concat($pipeline, ':', id)          AS group_key,
    name,
    CASE WHEN cardinality(machines) > 0
        THEN string_to_array(concat($pipeline, ':', array_to_string(machines, concat(',', $pipeline, ':'))), ',') END AS device_keys
FROM machine_groups
