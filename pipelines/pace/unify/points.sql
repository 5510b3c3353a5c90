-- The pumps that transactions name.
SELECT
    concat($pipeline, ':', t.site, '/', t.pump) AS point_key,
    NULL                                AS device_key,
    concat($pipeline, ':', t.site)      AS site_key,
    NULL                                AS name,
    CAST(t.pump AS VARCHAR)             AS number,
    $pipeline                           AS pipeline,
    $source                             AS source,
    coalesce(t._record_time, t._extracted_at) AS _as_of, t._extracted_at, t._content_hash, t._run_id
FROM (
    SELECT
        attributes['fuel']['pump_number'] AS pump,
        nullif(lower(concat_ws('/',
            coalesce(attributes['location']['brand'], ''),
            coalesce(attributes['location']['address']['country_code'], ''),
            coalesce(attributes['location']['address']['postal_code'], attributes['location']['address']['city'], ''),
            coalesce(attributes['location']['address']['street'], ''),
            coalesce(attributes['location']['address']['house_no'], ''))), '////') AS site,
        _record_time, _extracted_at, _content_hash, _run_id
    FROM transactions
) t
WHERE t.site IS NOT NULL AND t.pump IS NOT NULL
