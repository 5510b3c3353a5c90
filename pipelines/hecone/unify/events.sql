-- The log entries of HecOne transactions, their articles, payments and receipts, one row each.
SELECT
    concat($pipeline, ':', e.path, '/', e.position)                  AS event_key,
    e.scope,
    CAST(e.entry['code'] AS VARCHAR)                                 AS code,
    e.entry['description']                                           AS description,
    e.entry['level']                                                 AS level,
    e.entry['timestamp']                                             AS occurred_at,
    concat($pipeline, ':', e.id)                                     AS transaction_key,
    concat($pipeline, ':') || e.article                              AS article_key,
    concat($pipeline, ':') || e.payment                              AS payment_key,
    month_of(coalesce(e.entry['timestamp'], e._record_time))         AS month
FROM (
    SELECT 'transaction' AS scope, id, concat(id, '/log') AS path, CAST(NULL AS VARCHAR) AS article, CAST(NULL AS VARCHAR) AS payment,
        unnest(log) AS entry, unnest(positions(log)) AS position
    FROM transactions
    UNION ALL
    SELECT 'receipt' AS scope, id, concat(id, '/receipt') AS path, CAST(NULL AS VARCHAR) AS article, CAST(NULL AS VARCHAR) AS payment,
        unnest(receipt['log']) AS entry, unnest(positions(receipt['log'])) AS position
    FROM transactions
    UNION ALL
    SELECT 'article' AS scope, id, concat(id, '/article/', line) AS path,
        concat(id, '/', line) AS article, CAST(NULL AS VARCHAR) AS payment,
        unnest(log) AS entry, unnest(positions(log)) AS position
    FROM (SELECT id, unnest(pluck(articles, 'log')) AS log, unnest(positions(articles)) AS line FROM transactions)
    UNION ALL
    SELECT 'payment' AS scope, id, concat(id, '/payment/', line) AS path,
        CAST(NULL AS VARCHAR) AS article, concat(id, '/', line) AS payment,
        unnest(log) AS entry, unnest(positions(log)) AS position
    FROM (SELECT id, unnest(pluck(payments, 'log')) AS log, unnest(positions(payments)) AS line FROM transactions)
) e
