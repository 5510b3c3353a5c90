-- The payments of HecOne transactions, one row each.
--
-- A payment without a currency has its transaction's. What a refund pays back is taken away, once: where the invoice is below zero and no payment
-- that was collected is, or where none was no payment at all, they are told without a sign. Older terminals write card_entrymode instead of entry_mode. How was
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
    CASE WHEN t.is_unsigned AND t.p['amount'] > 0 THEN -(t.p['amount']) ELSE t.p['amount'] END AS amount,
    t.p['reserved_amount']                                           AS reserved_amount,
    currency_code(first_present(t.p['currency'], t.transaction_currency)) AS currency,
    t.p['card_id']                                                   AS card_id,
    t.p['additional_card']['card_id']                                AS additional_card_id,
    label($labels, 'function', t.p['additional_card']['function'])   AS additional_card_function,
    t.p['identification_id']                                         AS identification_id,
    FALSE                                                            AS excluded,
    t.p['created_at']                                                AS created_at
FROM (
    SELECT
        id,
        invoice['amount'] < 0 AND first_present(
            array_min(values_where(pluck(payments, 'amount'), canonical_word(pluck(payments, 'state')), 'collected')),
            array_min(pluck(payments, 'amount'))
        ) >= 0 AS is_unsigned,
        first_present(invoice['currency'], array_any_value(pluck(articles, 'currency')), array_any_value(pluck(payments, 'currency')))
            AS transaction_currency,
        unnest(pluck(payments, 'id', 'type', 'medium', 'scheme', 'entry_mode', 'card_entrymode', 'function', 'state', 'amount',
            'reserved_amount', 'currency', 'card_id', 'additional_card', 'identification_id', 'created_at')) AS p,
        unnest(positions(payments)) AS position
    FROM transactions
) t
