-- The products that were bought, as the newest session shows them. Their codes are the networks' own, so their keys carry the network.
SELECT
    concat($pipeline, ':', t.network, coalesce(t.a['product_code'], t.a['product_family'])) AS product_key,
    t.a['product_code']                                  AS code,
    coalesce(t.a['product_family'], t.a['product_code']) AS name,
    category_of(t.a['product_category'])                 AS category,
    canonical_unit(t.a['quantity_unit'])                 AS unit_measure
FROM (
    SELECT unnest(transactions) AS a, coalesce(nullif(trim(place_network), '') || '/', '') AS network
    FROM sessions
) t
WHERE t.a['product_code'] IS NOT NULL OR t.a['product_family'] IS NOT NULL
