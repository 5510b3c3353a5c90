-- What SmartNow's machines sell. A sale names a product by its number at the machine (PLU), and so does the key. The
-- operator's code of a product (internalRef) comes with its sales only.
SELECT
    concat($pipeline, ':', machine, '/', plu) AS product_key,
    barcode,
    report_name,
    ledger,
    subledger,
    name,
    'vending'                           AS category,
    'pc'                                AS unit_measure
FROM products
WHERE machine <> 0 AND plu IS NOT NULL
