-- The products that were sold, as the newest transaction shows them. Every brand has its own name for a product of one type, so a product is
-- both.
SELECT
    concat($pipeline, ':', t.product)   AS product_key,
    t.f['type']                         AS code,
    NULL                                AS barcode,
    NULL                                AS report_name,
    NULL                                AS ledger,
    NULL                                AS subledger,
    coalesce(t.f['product_name'], t.f['type']) AS name,
    'fuelling'                          AS category,
    canonical_unit(t.f['unit'])         AS unit_measure,
    $pipeline                           AS pipeline,
    $source                             AS source,
    coalesce(t._record_time, t._extracted_at) AS _as_of, t._extracted_at, t._content_hash, t._run_id
FROM (
    SELECT
        attributes['fuel'] AS f,
        coalesce(attributes['fuel']['type'] || '/' || attributes['fuel']['product_name'],
            attributes['fuel']['type'], attributes['fuel']['product_name']) AS product,
        _record_time, _extracted_at, _content_hash, _run_id
    FROM transactions
) t
WHERE t.product IS NOT NULL
