-- SmartNow's user groups: whose sales they are.
SELECT
    concat($pipeline, ':', id)          AS tenant_key,
    CAST(id AS VARCHAR)                 AS tenant_id,
    name
FROM user_groups
