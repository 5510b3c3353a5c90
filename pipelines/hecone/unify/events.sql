-- The log entries of HecOne transactions, their articles, payments and receipts, one row each.
SELECT
    concat($pipeline, ':', e.path, '/', e.position)                  AS event_key,
    e.scope,
    CAST(e.entry['code'] AS VARCHAR)                                 AS code,
    NULL                                                             AS error_identity,
    e.entry['description']                                           AS description,
    e.entry['level']                                                 AS level,
    e.entry['timestamp']                                             AS occurred_at,
    NULL                                                             AS resolved_at,
    NULL                                                             AS duration_seconds,
    concat($pipeline, ':', e.id)                                     AS transaction_key,
    concat($pipeline, ':') || e.article                              AS article_key,
    concat($pipeline, ':') || e.payment                              AS payment_key,
    $pipeline                                                        AS pipeline,
    $source                                                          AS source,
    e.mandator_id                                                    AS tenant_id,
    concat($pipeline, ':') || e.site_id                              AS site_key,
    concat($pipeline, ':') || e.site_id || '/' || e.device_code      AS device_key,
    month_of(coalesce(e.entry['timestamp'], e._record_time))         AS month,
    e._record_key, e._record_time, e._load_id, e._extracted_at, e._content_hash, e._run_id
FROM (
    SELECT 'transaction' AS scope, concat(id, '/log') AS path, CAST(NULL AS VARCHAR) AS article, CAST(NULL AS VARCHAR) AS payment,
        unnest(log) AS entry, unnest(positions(log)) AS position,
        id, mandator_id, site_id, device['code'] AS device_code,
        _record_key, _record_time, _load_id, _extracted_at, _content_hash, _run_id
    FROM transactions
    UNION ALL
    SELECT 'receipt' AS scope, concat(id, '/receipt') AS path, CAST(NULL AS VARCHAR) AS article, CAST(NULL AS VARCHAR) AS payment,
        unnest(receipt['log']) AS entry, unnest(positions(receipt['log'])) AS position,
        id, mandator_id, site_id, device['code'] AS device_code,
        _record_key, _record_time, _load_id, _extracted_at, _content_hash, _run_id
    FROM transactions
    UNION ALL
    SELECT 'article' AS scope, concat(id, '/article/', line) AS path,
        concat(id, '/', line) AS article, CAST(NULL AS VARCHAR) AS payment,
        unnest(log) AS entry, unnest(positions(log)) AS position,
        id, mandator_id, site_id, device_code,
        _record_key, _record_time, _load_id, _extracted_at, _content_hash, _run_id
    FROM (
        SELECT unnest(pluck(articles, 'log')) AS log, unnest(positions(articles)) AS line,
            id, mandator_id, site_id, device['code'] AS device_code,
            _record_key, _record_time, _load_id, _extracted_at, _content_hash, _run_id
        FROM transactions
    )
    UNION ALL
    SELECT 'payment' AS scope, concat(id, '/payment/', line) AS path,
        CAST(NULL AS VARCHAR) AS article, concat(id, '/', line) AS payment,
        unnest(log) AS entry, unnest(positions(log)) AS position,
        id, mandator_id, site_id, device_code,
        _record_key, _record_time, _load_id, _extracted_at, _content_hash, _run_id
    FROM (
        SELECT unnest(pluck(payments, 'log')) AS log, unnest(positions(payments)) AS line,
            id, mandator_id, site_id, device['code'] AS device_code,
            _record_key, _record_time, _load_id, _extracted_at, _content_hash, _run_id
        FROM transactions
    )
) e
