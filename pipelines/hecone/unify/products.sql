-- The products that were sold, as the newest transaction shows them: name, category and unit are the article's.
SELECT
    concat($pipeline, ':', t.a['product_id']) AS product_key,
    value_where(t.product_codes, t.product_ids, t.a['product_id']) AS code,
    t.a['name']                         AS name,
    category_of(t.a['category'])        AS category,
    base_unit(t.a['unit_measure'])      AS unit_measure
FROM (
    SELECT unnest(pluck(articles, 'product_id', 'name', 'category', 'unit_measure')) AS a,
        pluck(products, 'id') AS product_ids, pluck(products, 'code') AS product_codes
    FROM transactions
) t
WHERE t.a['product_id'] IS NOT NULL
