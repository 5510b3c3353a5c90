-- The payments of HecOne transactions, one row each.
--
-- A payment without a currency has its transaction's. Older terminals write card_entrymode instead of entry_mode. How was
-- paid is told in the common words (labels.yaml); the method follows from HecOne's own.
SELECT
    concat($pipeline, ':', t.id, '/', t.position)                    AS payment_key,
    concat($pipeline, ':', t.id)                                     AS transaction_key,
    t.p['id']                                                        AS payment_id,
    label($labels, 'type', t.p['type'])                              AS type,
    label($labels, 'medium', t.p['medium'])                          AS medium,
    label($labels, 'scheme', t.p['scheme'])                          AS scheme,
    first_present(label($labels, 'entry_mode', t.p['entry_mode']), label($labels, 'entry_mode', t.p['card_entrymode'])) AS entry_mode,
    label($labels, 'function', t.p['function'])                      AS function,
    payment_method(t.p['type'], t.p['medium'], t.p['scheme'], first_present(canonical_word(t.p['entry_mode']), t.p['card_entrymode']),
        t.p['function'])                                             AS method,
    canonical_word(t.p['state'])                                     AS state,
    t.p['amount']                                                    AS amount,
    t.p['reserved_amount']                                           AS reserved_amount,
    currency_code(first_present(t.p['currency'], t.transaction_currency)) AS currency,
    t.p['card_id']                                                   AS card_id,
    t.p['additional_card']['card_id']                                AS additional_card_id,
    label($labels, 'function', t.p['additional_card']['function'])   AS additional_card_function,
    t.p['identification_id']                                         AS identification_id,
    FALSE                                                            AS excluded,
    NULL                                                             AS report_group,
    t.p['created_at']                                                AS created_at,
    $pipeline                                                        AS pipeline,
    $source                                                          AS source,
    t.mandator_id                                                    AS tenant_id,
    'sale'                                                           AS perspective,
    sale_kind(t.invoice_amount, t.current_state, t.largest_amount)   AS kind,
    concat($pipeline, ':') || t.site_id                              AS site_key,
    concat($pipeline, ':') || t.site_id || '/' || t.device_code      AS device_key,
    t._record_time                                                   AS occurred_at,
    month_of(t._record_time)                                         AS month,
    local_date(t._record_time, t.timezone)                           AS business_date,
    local_hour(t._record_time, t.timezone)                           AS local_hour,
    t.current_state                                                  AS transaction_state,
    t._record_key, t._record_time, t._load_id, t._extracted_at, t._content_hash, t._run_id
FROM (
    SELECT
        id, mandator_id, site_id, device['code'] AS device_code, site['timezone'] AS timezone,
        first_present(canonical_word(state), derived_state(pluck(articles, 'state'), pluck(payments, 'state'),
            sum_where(pluck(payments, 'amount'), canonical_word(pluck(payments, 'state')), 'collected'), invoice['amount'])) AS current_state,
        invoice['amount'] AS invoice_amount, array_max(pluck(articles, 'amount')) AS largest_amount,
        first_present(invoice['currency'], pluck(articles, 'currency')[1], pluck(payments, 'currency')[1]) AS transaction_currency,
        unnest(pluck(payments, 'id', 'type', 'medium', 'scheme', 'entry_mode', 'card_entrymode', 'function', 'state', 'amount',
            'reserved_amount', 'currency', 'card_id', 'additional_card', 'identification_id', 'created_at')) AS p,
        unnest(positions(payments)) AS position,
        _record_key, _record_time, _load_id, _extracted_at, _content_hash, _run_id
    FROM transactions
) t
