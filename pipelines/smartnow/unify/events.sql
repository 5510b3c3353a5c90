-- What machines reported, one row a log.
--
-- A log's own `duration` has no documented unit: the seconds are counted from the two times. Its `type` is a number of the provider's that
-- says nothing of how serious it is; it stays in the source table.
SELECT
    concat($pipeline, ':log/', t.id)                                 AS event_key,
    'device'                                                         AS scope,
    t.code,
    t.error_identity,
    t.extra_data                                                     AS description,
    t._record_time                                                   AS occurred_at,
    t.resolved_at,
    (CAST(t.resolved_at AS BIGINT) - CAST(t._record_time AS BIGINT)) / 1000000 AS duration_seconds,
    concat($pipeline, ':') || CAST(nullif(t.location, 0) AS VARCHAR) AS site_key,
    concat($pipeline, ':') || CAST(nullif(t.machine, 0) AS VARCHAR)  AS device_key,
    month_of(t._record_time)                                         AS month
FROM logs t
