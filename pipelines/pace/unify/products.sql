-- The products that were sold, as the newest transaction shows them. Every brand has its own name for a product of one type, so a product is
-- both, in one spelling. A '/' of the type, and of a name or a type that stands alone, is written %2F in the key: no two products meet in one.
SELECT
    concat($pipeline, ':', t.product)   AS product_key,
    t.f['type']                         AS code,
    coalesce(t.f['product_name'], t.f['type']) AS name,
    'fuelling'                          AS category,
    base_unit(t.f['unit'])              AS unit_measure
FROM (
    SELECT
        attributes['fuel'] AS f,
        coalesce(replace(replace(one_spelling(attributes['fuel']['type']), '%', '%25'), '/', '%2F') || '/' || one_spelling(attributes['fuel']['product_name']),
            replace(replace(coalesce(one_spelling(attributes['fuel']['type']), one_spelling(attributes['fuel']['product_name'])), '%', '%25'), '/', '%2F')) AS product
    FROM transactions
) t
WHERE t.product IS NOT NULL
