-- SmartNow's locations. The country is free text: only where it is a code of two letters is it taken for one.
SELECT
    concat($pipeline, ':', id)          AS site_key,
    name,
    time_zone                           AS timezone,
    address                             AS street,
    city,
    postcode                            AS postal_code,
    CASE WHEN regexp_like(trim(country), '^[A-Za-z]{2}$') THEN upper(trim(country)) END AS country_code,
    CAST(latitude AS DECIMAL(18, 6))    AS latitude,
    CAST(longitude AS DECIMAL(18, 6))   AS longitude
FROM locations
