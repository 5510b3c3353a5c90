-- The accounts whose sessions were read. be-mo gives them no name.
SELECT
    concat($pipeline, ':', account_id)  AS tenant_key,
    account_id                          AS tenant_id
FROM sessions
WHERE account_id IS NOT NULL
