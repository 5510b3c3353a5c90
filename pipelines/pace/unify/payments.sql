-- The payments of PACE transactions, one each. How was paid, only the newer list says.
SELECT
    concat($pipeline, ':', id, '/1')                                 AS payment_key,
    concat($pipeline, ':', id)                                       AS transaction_key,
    label($labels, 'type', attributes['payment_method_kind'])        AS type,
    payment_method(attributes['payment_method_kind'], NULL, NULL, NULL, NULL) AS method,
    CASE WHEN attributes['error'] IS NULL THEN 'collected' ELSE 'error' END AS state,
    attributes['price_including_vat']                                AS amount,
    currency_code(attributes['currency'])                            AS currency,
    attributes['payment_method_id']                                  AS identification_id,
    attributes['created_at']                                         AS created_at
FROM transactions
