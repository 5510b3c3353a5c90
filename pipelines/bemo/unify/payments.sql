-- The payments of be-mo sessions: one a transaction, from the account, which settles with the provider later. The card or tag that opened the
-- session is its medium.
SELECT
    concat($pipeline, ':', s.session_id, ':', s.label, '/1')         AS payment_key,
    concat($pipeline, ':', s.session_id, ':', s.label)               AS transaction_key,
    NULL                                                             AS payment_id,
    label($labels, 'type', 'account')                                AS type,
    label($labels, 'medium', CASE WHEN s.is_rfid THEN 'RFID' END)    AS medium,
    NULL                                                             AS scheme,
    NULL                                                             AS entry_mode,
    NULL                                                             AS function,
    'account'                                                        AS method,
    s.payment_state                                                  AS state,
    s.amount,
    NULL                                                             AS reserved_amount,
    currency_code(nullif(s.label, 'none'))                            AS currency,
    s.rfid                                                           AS card_id,
    NULL                                                             AS additional_card_id,
    NULL                                                             AS additional_card_function,
    NULL                                                             AS identification_id,
    NULL                                                             AS excluded,
    NULL                                                             AS report_group,
    array_min(s.dates)                                               AS created_at,
    $pipeline                                                        AS pipeline,
    $source                                                          AS source,
    s.account_id                                                     AS tenant_id,
    'purchase'                                                       AS perspective,
    sale_kind(s.amount, s.state, array_max(array_replace_all(s.amounts, CAST(NULL AS DECIMAL(18, 4)), CAST(1 AS DECIMAL(18, 4)))))               AS kind,
    concat($pipeline, ':') || s.site                                 AS site_key,
    NULL                                                             AS device_key,
    s._record_time                                                   AS occurred_at,
    month_of(s._record_time)                                         AS month,
    local_date(s._record_time, s.time_zone)                          AS business_date,
    local_hour(s._record_time, s.time_zone)                          AS local_hour,
    s.state                                                          AS transaction_state,
    s._record_key, s._record_time, s._load_id, s._extracted_at, s._content_hash, s._run_id
FROM (
    SELECT
        p.session_id, p.account_id, p.label, p.amount, p.rfid, p.is_rfid, p.site, p.time_zone, p.payment_state,
        values_where(pluck(p.transactions, 'total_amount'), p.labels, p.label)     AS amounts,
        values_where(pluck(p.transactions, 'transaction_date'), p.labels, p.label) AS dates,
        CASE WHEN p.session_end_date IS NULL THEN 'pending' ELSE 'completed' END AS state,
        p._record_key, p._record_time, p._load_id, p._extracted_at, p._content_hash, p._run_id
    FROM (
        SELECT c.*,
            sum_where(pluck(c.transactions, 'total_amount'), c.labels, c.label) AS amount,
            CASE WHEN c.session_end_date IS NULL THEN 'open' ELSE 'collected' END AS payment_state
        FROM (
            SELECT l.*, unnest(array_distinct(l.labels)) AS label
            FROM (
                SELECT *,
                    array_replace_all(pluck(transactions, 'currency_key'), CAST(NULL AS VARCHAR), 'none') AS labels,
                    coalesce(nullif(trim(place_network), '') || '/', '') || place_id AS site
                FROM sessions
            ) l
        ) c
    ) p
) s
