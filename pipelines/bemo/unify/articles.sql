-- What was bought in be-mo sessions, one row a product. Lines are counted within their transaction: the session and the currency.
--
-- Goods that were given back are taken away: their quantity is below zero, also where be-mo tells it without a sign, and their unit price is not. What only makes
-- the session cheaper has the quantity that it had.
-- Quantity and unit price are in the base unit of the measure where both are exact there, else in the unit they came in.
-- Codes of products and ids of sites are the networks' own, so their keys carry the network.
SELECT
    concat($pipeline, ':', s.session_id, ':', replace(replace(s.label, '%', '%25'), ':', '%3A'), '/',
        array_position(values_where(positions(s.labels), s.labels, s.label), s.position)) AS article_key,
    concat($pipeline, ':', s.session_id, ':', replace(replace(s.label, '%', '%25'), ':', '%3A')) AS transaction_key,
    CAST(array_position(values_where(positions(s.labels), s.labels, s.label), s.position) AS BIGINT) AS line_number,
    concat($pipeline, ':') || s.network || CASE WHEN s.network = '' THEN replace(replace(coalesce(s.a['product_code'], one_spelling(s.a['product_family'])), '%', '%25'), '/', '%2F')
        ELSE coalesce(s.a['product_code'], one_spelling(s.a['product_family'])) END AS product_key,
    s.a['product_code']                                              AS product_code,
    coalesce(s.a['product_family'], s.a['product_code'])             AS name,
    category_of(s.a['product_category'])                             AS category,
    CASE WHEN s.session_end_date IS NULL THEN 'ongoing' ELSE 'done' END AS state,
    s.unit                                                           AS unit_measure,
    s.a['quantity_unit']                                             AS source_unit,
    convert_unit(signed_quantity(s.a['quantity'], s.a['total_amount'], s.amount, s.a['unit_price'], nullif(s.label, 'none')), s.a['quantity_unit'], s.unit) AS quantity,
    convert_unit(CASE WHEN s.a['total_amount'] < 0 AND s.amount < 0 AND s.a['quantity'] > 0 AND s.a['unit_price'] < 0 THEN -(s.a['unit_price'])
        ELSE s.a['unit_price'] END, s.unit, s.a['quantity_unit'])    AS unit_price,
    s.a['total_amount']                                              AS amount,
    currency_code(nullif(s.label, 'none'))                            AS currency,
    s.a['tariff_code']                                               AS tariff_code,
    s.session_start_date                                             AS start_time,
    coalesce(s.session_end_date, s.a['transaction_date'])            AS end_time
FROM (
    SELECT c.*, sum_where(c.amounts, c.labels, c.label) AS amount,
        base_unit(c.a['quantity_unit'], c.a['unit_price'], c.a['quantity'], NULL, NULL) AS unit
    FROM (
        SELECT
            l.session_id, l.labels, l.network, l.session_start_date, l.session_end_date, pluck(l.transactions, 'total_amount') AS amounts,
            unnest(l.transactions) AS a, unnest(positions(l.transactions)) AS position, unnest(l.labels) AS label
        FROM (
            SELECT *,
                array_replace_all(pluck(transactions, 'currency_key'), CAST(NULL AS VARCHAR), 'none') AS labels,
                coalesce(replace(replace(one_spelling(place_network), '%', '%25'), '/', '%2F') || '/', '') AS network
            FROM sessions
        ) l
    ) c
) s
