-- SmartNow's sales, one row each: a revenue transaction is the sale of one product.
--
-- Prices are in minor units by ISO 4217 or in major units, as the connection's price_unit says. In minor units an amount of an unknown
-- currency, or of none, is null, since nobody knows how many digits it has; the sale is kept, and ops.warnings names it. A payment without a
-- currency is in its sale's.
-- What kind a sale is, its salestype says where the connection's sales_types knows it; else a sale of 0 is free, and a negative one is a refund.
-- SmartNow has no word for a sale's state. By HecOne's rule table its article is done and its
-- payments are collected: it is completed where they cover the price, and consumed where they do not, or have not come yet.
-- A location, machine or user group called 0 is none, and so no place that sales have in common.
-- An original price of 0 means that there was no reduction. Tax is derived from the product's rate of that time, which vat_rate explains.
-- A sale that does not say when it happened happened at its timestamp, else when it was made (createdAt): that is the contract's record time.
-- A sale that names no time zone, or one that nobody can read, has its location's, as that last named one that can be read. Where there is none either, day and hour are
-- those of UTC, the offset is null, and ops.warnings names the sale.
SELECT
    concat($pipeline, ':', t.sale)                                   AS transaction_key,
    t.sale                                                           AS transaction_id,
    CAST(nullif(t.usergroup, 0) AS VARCHAR)                          AS tenant_id,
    'sale'                                                           AS perspective,
    coalesce(t.kind_of_type, sale_kind(t.price, 'completed', t.price)) AS kind,
    t.state                                                          AS state,
    t.state                                                          AS state_derived,
    'vending'                                                        AS category,
    t._record_time                                                   AS occurred_at,
    t.zone                                                           AS timezone,
    t.created_at,
    t.updated_at,
    t.amount,
    t.original_amount - t.amount                                     AS discount_amount,
    t.amount - included_tax(t.amount, t.rate)                        AS net_amount,
    included_tax(t.amount, t.rate)                                   AS tax_amount,
    CASE WHEN included_tax(t.amount, t.rate) IS NULL THEN 'unknown' ELSE 'derived' END AS tax_origin,
    CASE WHEN coalesce(t.kind_of_type, sale_kind(t.price, 'completed', t.price)) = 'refund' AND t.paid > 0 THEN -t.unsigned_paid
        ELSE t.unsigned_paid END                                     AS paid_amount,
    currency_code(t.currency)                                        AS currency,
    concat($pipeline, ':') || CAST(nullif(t.location, 0) AS VARCHAR) AS site_key,
    concat($pipeline, ':') || CAST(nullif(t.machine, 0) AS VARCHAR)  AS device_key,
    CAST(t.remote AS VARCHAR)                                        AS terminal_transaction_number
FROM (
    SELECT s.*, p.paid, r.rate,
        coalesce(CASE WHEN utc_offset_minutes(s._extracted_at, s.time_zone) IS NOT NULL THEN s.time_zone END, z.time_zone, s.time_zone) AS zone,
        CASE WHEN s.kind_of_type = 'refund' THEN 'completed' WHEN coalesce(p.paid, 0) < s.price THEN 'consumed' ELSE 'completed' END AS state,
        CASE WHEN $price_unit = 'minor' THEN from_minor_units(s.signed_price, s.currency)
            ELSE CAST(s.signed_price AS DECIMAL(18, 4)) END AS amount,
        CASE WHEN s.signed_price < 0 OR s.original_price <= s.price THEN NULL
            WHEN $price_unit = 'minor' THEN from_minor_units(s.original_price, s.currency)
            ELSE s.original_price END AS original_amount,
        CASE WHEN $price_unit = 'minor' THEN from_minor_units(p.paid, s.currency) ELSE p.paid END AS unsigned_paid
    FROM (
        SELECT *, CAST(id AS VARCHAR) AS sale, mapped(CAST(salestype AS VARCHAR), $sales_types) AS kind_of_type,
            -- A type that means refund takes money away, also where its prices are not negative.
            CASE WHEN mapped(CAST(salestype AS VARCHAR), $sales_types) = 'refund' AND price > 0 THEN -price ELSE price END AS signed_price
        FROM revenue_transactions
    ) s
    LEFT JOIN (
        SELECT r.id, sum(p.price) AS paid
        FROM payment_transactions p
        JOIN revenue_transactions r ON r.id = p.revenuetransaction
        WHERE r.currency IS NULL OR currency_code(coalesce(p.currency, r.currency)) = currency_code(r.currency)
        GROUP BY r.id
        -- Of a sale without a currency those of several are not added up.
        HAVING max(r.currency) IS NOT NULL OR max(p.currency) IS NULL OR min(p.currency) = max(p.currency)
    ) p ON p.id = s.id
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
    LEFT JOIN (
        -- The last one that can be read.
        SELECT id, time_zone, row_number() OVER (
            PARTITION BY id ORDER BY CASE WHEN utc_offset_minutes(_extracted_at, time_zone) IS NULL THEN 1 ELSE 0 END, _load_id DESC) AS nth
        FROM locations
        WHERE _deleted_at IS NULL AND time_zone IS NOT NULL
    ) z ON z.id = s.location AND z.nth = 1
) t
