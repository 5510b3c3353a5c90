-- The articles of HecOne transactions, one row each.
--
-- An article without a currency has its transaction's. What a refund gives back takes its amount and quantity away, once: where the invoice is below zero and no
-- article that is done is, or where none is done no article at all, they are told without a sign. Goods that were given back within a sale have a quantity below zero
-- too, and none of these has a unit price below zero beside it. Its product's code stands in the transaction's list of products.
-- Quantities and the unit price are in the base unit of the measure where all of them are exact there, else in the unit they came in.
SELECT
    concat($pipeline, ':', t.id, '/', t.line_number)                 AS article_key,
    concat($pipeline, ':', t.id)                                     AS transaction_key,
    t.a['id']                                                        AS article_id,
    t.line_number,
    concat($pipeline, ':') || t.a['product_id']                      AS product_key,
    value_where(t.product_codes, t.product_ids, t.a['product_id'])   AS product_code,
    t.a['name']                                                      AS name,
    category_of(t.a['category'])                                     AS category,
    canonical_word(t.a['state'])                                     AS state,
    t.unit                                                           AS unit_measure,
    t.a['unit_measure']                                              AS source_unit,
    convert_unit(signed_quantity(t.a['quantity'], first_present(t.amount, t.invoice_amount), t.invoice_amount, t.a['unit_price'],
        first_present(t.a['currency'], t.transaction_currency)),
        t.a['unit_measure'], t.unit)                                 AS quantity,
    convert_unit(t.a['free_quantity'], t.a['unit_measure'], t.unit)  AS free_quantity,
    convert_unit(t.a['max_quantity'], t.a['unit_measure'], t.unit)   AS max_quantity,
    convert_unit(CASE WHEN t.invoice_amount < 0 AND first_present(t.amount, t.invoice_amount) < 0 AND t.a['quantity'] > 0 AND t.a['unit_price'] < 0
        THEN -(t.a['unit_price']) ELSE t.a['unit_price'] END, t.unit, t.a['unit_measure']) AS unit_price,
    t.amount,
    t.a['tax_percentage']                                            AS tax_percentage,
    CASE WHEN (t.is_unsigned OR t.invoice_amount < 0 AND t.amount < 0) AND t.a['tax_amount'] > 0 THEN -(t.a['tax_amount'])
        ELSE t.a['tax_amount'] END                                   AS tax_amount,
    currency_code(first_present(t.a['currency'], t.transaction_currency)) AS currency,
    t.a['start_time']                                                AS start_time,
    t.a['end_time']                                                  AS end_time
FROM (
    SELECT u.*, CASE WHEN u.is_unsigned AND u.a['amount'] > 0 THEN -(u.a['amount']) ELSE u.a['amount'] END AS amount,
        base_unit(u.a['unit_measure'], u.a['unit_price'], u.a['quantity'], u.a['free_quantity'], u.a['max_quantity']) AS unit
    FROM (
        SELECT
            id, invoice['amount'] AS invoice_amount,
            invoice['amount'] < 0 AND first_present(
                array_min(values_where(pluck(articles, 'amount'), canonical_word(pluck(articles, 'state')), 'done')),
                array_min(pluck(articles, 'amount'))
            ) >= 0 AS is_unsigned,
            first_present(invoice['currency'], array_any_value(pluck(articles, 'currency')), array_any_value(pluck(payments, 'currency')))
                AS transaction_currency,
            pluck(products, 'id') AS product_ids, pluck(products, 'code') AS product_codes,
            unnest(pluck(articles, 'id', 'product_id', 'name', 'category', 'state', 'unit_measure', 'quantity', 'free_quantity',
                'max_quantity', 'unit_price', 'amount', 'tax_percentage', 'tax_amount', 'currency', 'start_time', 'end_time')) AS a,
            unnest(positions(articles)) AS line_number
        FROM transactions
    ) u
) t
