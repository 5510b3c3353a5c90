-- The products that were sold, as the newest transaction shows them: name, category and unit are the article's.
SELECT
    concat($pipeline, ':', t.a['product_id']) AS product_key,
    value_where(t.product_codes, t.product_ids, t.a['product_id']) AS code,
    NULL                                AS barcode,
    NULL                                AS report_name,
    NULL                                AS ledger,
    NULL                                AS subledger,
    t.a['name']                         AS name,
    category_of(t.a['category'])        AS category,
    canonical_unit(t.a['unit_measure']) AS unit_measure,
    $pipeline                           AS pipeline,
    $source                             AS source,
    coalesce(t._record_time, t._extracted_at) AS _as_of, t._extracted_at, t._content_hash, t._run_id
FROM (
    SELECT unnest(pluck(articles, 'product_id', 'name', 'category', 'unit_measure')) AS a, pluck(products, 'id') AS product_ids, pluck(products, 'code') AS product_codes,
        _record_time, _extracted_at, _content_hash, _run_id
    FROM transactions
) t
WHERE t.a['product_id'] IS NOT NULL
