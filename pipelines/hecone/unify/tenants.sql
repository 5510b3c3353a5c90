-- The mandators that transactions name. HecOne's transactions carry no name for them.
SELECT
    concat($pipeline, ':', mandator_id) AS tenant_key,
    mandator_id                         AS tenant_id
FROM transactions
WHERE mandator_id IS NOT NULL
