-- The payments of SmartNow's sales, one row each.
--
-- The method is in the provider's own five words; the type is in the operator's, so it says nothing that is not said by the method: it tells the
-- method only where the provider names none, in the common words that both have (labels.yaml). A payment
-- that the provider leaves out of its reports is kept, and marked `excluded`. Its time, place and state are those of its sale.
-- A payment without a currency has its sale's.
-- A payment whose sale is not there stands by itself, with its own time and place: kind and transaction_state are null, and its transaction is the one
-- that it names. When the sale comes, the payment becomes the sale's.
-- Day and hour are those of the time zone that the sale names, or the payment without one; where that is none, or nobody can read it, of its location's.
SELECT
    concat($pipeline, ':', t.sale, '/', t.payment)                   AS payment_key,
    concat($pipeline, ':', t.sale)                                   AS transaction_key,
    CAST(t.payment AS VARCHAR)                                       AS payment_id,
    label($labels, 'type', t.payment_type)                           AS type,
    label($labels, 'medium', t.method)                               AS medium,
    payment_method(NULL, first_present(label($labels, 'medium', t.method), label($labels, 'type', t.payment_type)), NULL, NULL, NULL) AS method,
    'collected'                                                      AS state,
    CASE WHEN $price_unit = 'minor' THEN from_minor_units(t.paid, coalesce(t.payment_currency, t.sale_currency)) ELSE CAST(t.paid AS DECIMAL(18, 4)) END AS amount,
    currency_code(coalesce(t.payment_currency, t.sale_currency))     AS currency,
    t.exclude <> 0                                                   AS excluded,
    t.report_group,
    t.paid_at                                                        AS created_at,
    CAST(nullif(t.usergroup, 0) AS VARCHAR)                          AS tenant_id,
    'sale'                                                           AS perspective,
    CASE WHEN t.has_sale THEN coalesce(t.kind_of_type, sale_kind(t.price, 'completed', t.price)) END AS kind,
    concat($pipeline, ':') || CAST(nullif(t.location, 0) AS VARCHAR) AS site_key,
    concat($pipeline, ':') || CAST(nullif(t.machine, 0) AS VARCHAR)  AS device_key,
    t.occurred_at,
    month_of(t.occurred_at)                                          AS month,
    local_date(t.occurred_at, t.time_zone)                           AS business_date,
    local_hour(t.occurred_at, t.time_zone)                           AS local_hour,
    CASE WHEN NOT t.has_sale THEN NULL
        WHEN t.kind_of_type = 'refund' THEN 'completed'
        WHEN coalesce(t.paid_in_all, 0) < t.price THEN 'consumed'
        ELSE 'completed' END                                         AS transaction_state
FROM (
    SELECT s.id IS NOT NULL AS has_sale, s.usergroup, s.price, s.currency AS sale_currency, mapped(CAST(s.salestype AS VARCHAR), $sales_types) AS kind_of_type,
        -- 0 names no sale, as it names no user group, location or machine.
        coalesce(CAST(nullif(p.revenuetransaction, 0) AS VARCHAR), concat('payment_transactions/', p.id)) AS sale,
        CASE WHEN s.id IS NULL THEN p.location ELSE s.location END AS location,
        CASE WHEN s.id IS NULL THEN p.machine ELSE s.machine END AS machine,
        CASE WHEN s.id IS NULL THEN p._record_time ELSE s._record_time END AS occurred_at,
        coalesce(
            CASE WHEN s.id IS NULL AND utc_offset_minutes(p._extracted_at, p.time_zone) IS NOT NULL THEN p.time_zone
                WHEN s.id IS NOT NULL AND utc_offset_minutes(p._extracted_at, s.time_zone) IS NOT NULL THEN s.time_zone END,
            z.time_zone
        ) AS time_zone,
        p.id AS payment, p.type AS payment_type, p.method, p.currency AS payment_currency, p.exclude, p.report_group,
        -- A refund takes money away, also where its prices, or its payments' alone, are not negative.
        CASE WHEN coalesce(mapped(CAST(s.salestype AS VARCHAR), $sales_types), sale_kind(s.price, 'completed', s.price)) = 'refund'
            AND coalesce(a.paid, p.price) > 0 THEN -p.price ELSE p.price END AS paid,
        p._record_time AS paid_at, a.paid AS paid_in_all,
        CASE WHEN s.id IS NULL THEN concat('payment_transactions/', p._record_key) ELSE s._record_key END AS _record_key,
        CASE WHEN s.id IS NULL THEN p._record_time ELSE s._record_time END AS _record_time,
        CASE WHEN s.id IS NULL THEN p._load_id ELSE s._load_id END AS _load_id,
        CASE WHEN s.id IS NULL THEN p._extracted_at ELSE s._extracted_at END AS _extracted_at,
        CASE WHEN s.id IS NULL THEN p._content_hash ELSE s._content_hash END AS _content_hash,
        CASE WHEN s.id IS NULL THEN p._run_id ELSE s._run_id END AS _run_id
    FROM payment_transactions p
    LEFT JOIN revenue_transactions s ON s.id = p.revenuetransaction
    LEFT JOIN (
        SELECT r.id, sum(p.price) AS paid
        FROM payment_transactions p
        JOIN revenue_transactions r ON r.id = p.revenuetransaction
        WHERE r.currency IS NULL OR currency_code(coalesce(p.currency, r.currency)) = currency_code(r.currency)
        GROUP BY r.id
        -- Of a sale without a currency those of several are not added up.
        HAVING max(r.currency) IS NOT NULL OR max(p.currency) IS NULL OR min(p.currency) = max(p.currency)
    ) a ON a.id = s.id
    LEFT JOIN (
        -- The last one that can be read.
        SELECT id, time_zone, row_number() OVER (
            PARTITION BY id ORDER BY CASE WHEN utc_offset_minutes(_extracted_at, time_zone) IS NULL THEN 1 ELSE 0 END, _load_id DESC) AS nth
        FROM locations
        WHERE _deleted_at IS NULL AND time_zone IS NOT NULL
    ) z ON z.id = CASE WHEN s.id IS NULL THEN p.location ELSE s.location END AND z.nth = 1
) t
