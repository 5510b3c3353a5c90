-- What was sold: SmartNow's sales have one product each, so one row a sale.
--
-- A product is told by its number at the machine (PLU), which may be 0; a machine called 0 is none.
-- Amounts, kind and state are those of the sale, see transactions.sql.
SELECT
    concat($pipeline, ':', t.sale, '/1')                             AS article_key,
    concat($pipeline, ':', t.sale)                                   AS transaction_key,
    CAST(1 AS BIGINT)                                                AS line_number,
    concat($pipeline, ':') || CAST(nullif(t.machine, 0) AS VARCHAR) || '/' || CAST(t.product AS VARCHAR) AS product_key,
    nullif(trim(t.internal_ref), '')                                 AS product_code,
    t.name,
    'vending'                                                        AS category,
    'done'                                                           AS state,
    'pc'                                                             AS unit_measure,
    -- What is given back takes its piece away.
    CAST(CASE WHEN t.signed_price < 0 OR t.kind_of_type = 'refund' THEN -1 ELSE 1 END AS DECIMAL(18, 6)) AS quantity,
    CASE WHEN t.signed_price < 0 THEN -t.amount ELSE t.amount END    AS unit_price,
    t.amount,
    t.original_amount - t.amount                                     AS discount_amount,
    t.rate                                                           AS tax_percentage,
    included_tax(t.amount, t.rate)                                   AS tax_amount,
    currency_code(t.currency)                                        AS currency
FROM (
    SELECT s.*, r.rate,
        CASE WHEN $price_unit = 'minor' THEN from_minor_units(s.signed_price, s.currency)
            ELSE CAST(s.signed_price AS DECIMAL(18, 4)) END AS amount,
        CASE WHEN s.signed_price < 0 OR s.original_price <= s.price THEN NULL
            WHEN $price_unit = 'minor' THEN from_minor_units(s.original_price, s.currency)
            ELSE s.original_price END AS original_amount
    FROM (
        SELECT *, CAST(id AS VARCHAR) AS sale, mapped(CAST(salestype AS VARCHAR), $sales_types) AS kind_of_type,
            -- A type that means refund takes money away, also where its prices are not negative.
            CASE WHEN mapped(CAST(salestype AS VARCHAR), $sales_types) = 'refund' AND price > 0 THEN -price ELSE price END AS signed_price
        FROM revenue_transactions
    ) s
    LEFT JOIN (
        -- A product's rate holds from when the product was changed to it until it was changed again, be it to none that can be used; the first
        -- one known, also before.
        SELECT machine, plu, rate, since, lead(since) OVER (PARTITION BY machine, plu ORDER BY since, _load_id, id) AS until,
            row_number() OVER (PARTITION BY machine, plu, rate IS NULL ORDER BY since, _load_id, id) AS nth
        FROM (
            SELECT id, machine, plu, _load_id, coalesce(updated_at, _extracted_at) AS since,
                CASE WHEN vatrate < 0 OR vatrate > 100 THEN NULL
                    WHEN $vat_rate = 'fraction' AND vatrate <= 1 THEN CAST(vatrate * 100 AS DECIMAL(9, 4))
                    WHEN $vat_rate = 'percent' AND (vatrate >= 1 OR vatrate = 0) THEN vatrate END AS rate
            FROM products
            WHERE _deleted_at IS NULL AND machine <> 0
        )
    ) r ON r.machine = s.machine AND r.plu = s.product AND r.rate IS NOT NULL
        AND (r.nth = 1 OR r.since <= s._record_time) AND (r.until IS NULL OR r.until > s._record_time)
) t
