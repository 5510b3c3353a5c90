-- The payments of be-mo sessions: one a transaction, from the account, which settles with the provider later. The card or tag that opened the
-- session is its medium.
SELECT
    concat($pipeline, ':', s.session_id, ':', replace(replace(s.label, '%', '%25'), ':', '%3A'), '/1') AS payment_key,
    concat($pipeline, ':', s.session_id, ':', replace(replace(s.label, '%', '%25'), ':', '%3A')) AS transaction_key,
    label($labels, 'type', 'account')                                AS type,
    label($labels, 'medium', CASE WHEN s.is_rfid THEN 'RFID' END)    AS medium,
    'account'                                                        AS method,
    CASE WHEN s.session_end_date IS NULL THEN 'open' ELSE 'collected' END AS state,
    sum_where(pluck(s.transactions, 'total_amount'), s.labels, s.label) AS amount,
    currency_code(nullif(s.label, 'none'))                            AS currency,
    s.rfid                                                           AS card_id,
    array_min(values_where(pluck(s.transactions, 'transaction_date'), s.labels, s.label)) AS created_at
FROM (
    SELECT l.*, unnest(array_distinct(l.labels)) AS label
    FROM (
        SELECT *, array_replace_all(pluck(transactions, 'currency_key'), CAST(NULL AS VARCHAR), 'none') AS labels
        FROM sessions
    ) l
) s
