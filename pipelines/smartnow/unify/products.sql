-- What SmartNow's machines sell. A sale names a product by its number at the machine (PLU), and so does the key. The
-- operator's code of a product (internalRef) comes with its sales only.
SELECT
    concat($pipeline, ':', machine, '/', plu) AS product_key,
    NULL                                AS code,
    barcode,
    report_name,
    ledger,
    subledger,
    name,
    'vending'                           AS category,
    'pc'                                AS unit_measure,
    $pipeline                           AS pipeline,
    $source                             AS source,
    _extracted_at                       AS _as_of,
    _deleted_at, _extracted_at, _content_hash, _run_id
FROM products
WHERE machine IS NOT NULL AND plu IS NOT NULL
