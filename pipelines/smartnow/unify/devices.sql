-- SmartNow's machines. Their code is the operator's own mark, else the name of their gateway.
SELECT
    concat($pipeline, ':', id)          AS device_key,
    concat($pipeline, ':') || CAST(nullif(location, 0) AS VARCHAR) AS site_key,
    name,
    coalesce(nullif(tag, ''), hostname) AS code
FROM machines
