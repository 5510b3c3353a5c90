-- The products that were bought, as the newest session shows them. Their codes are the networks' own, so their keys carry the network; a '/' of its name, and
-- without one of the code, is written %2F there. The name is the family alone: a code that stood in for it would take the place of a name that an earlier
-- session told.
SELECT
    concat($pipeline, ':', t.network, CASE WHEN t.network = '' THEN replace(replace(coalesce(t.a['product_code'], one_spelling(t.a['product_family'])), '%', '%25'), '/', '%2F')
        ELSE coalesce(t.a['product_code'], one_spelling(t.a['product_family'])) END) AS product_key,
    t.a['product_code']                  AS code,
    t.a['product_family']                AS name,
    category_of(t.a['product_category']) AS category,
    base_unit(t.a['quantity_unit'])      AS unit_measure
FROM (
    SELECT unnest(transactions) AS a,
        coalesce(replace(replace(one_spelling(place_network), '%', '%25'), '/', '%2F') || '/', '') AS network
    FROM sessions
) t
WHERE t.a['product_code'] IS NOT NULL OR t.a['product_family'] IS NOT NULL
