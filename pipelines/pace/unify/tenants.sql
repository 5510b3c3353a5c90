-- The partners whose transactions were read. PACE's transactions carry no name for them beside the one they are asked for by.
SELECT
    concat($pipeline, ':', partner)     AS tenant_key,
    partner                             AS tenant_id,
    partner                             AS name
FROM transactions
WHERE partner IS NOT NULL
