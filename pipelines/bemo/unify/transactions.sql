-- be-mo sessions, one row a session and currency: its products, added up.
--
-- A session in which nothing was bought (yet) has no transaction; it stands in the source table. Where no currency is named, `none` stands
-- in its place in the id; a ':' or '%' in what a currency should be is written %3A and %25 there, so that no two ids meet. The account
-- buys, so these are purchases and never added to anybody's sales. Neither be-mo's states nor its taxes
-- are known: a session that has ended is done and charged to the account, one that has not is going on, also where nobody says what it
-- costs. Its amount is the sum of the amounts that are known; ops.warnings names the purchases without one. The site is
-- placeId within its network: ids are the networks' own. A '/' of the network's name, and without a network of the id, is written %2F in the key.
SELECT
    concat($pipeline, ':', s.session_id, ':', s.label_part)          AS transaction_key,
    concat(s.session_id, ':', s.label_part)                          AS transaction_id,
    s.account_id                                                     AS tenant_id,
    'purchase'                                                       AS perspective,
    sale_kind(s.amount, s.state, array_max(array_replace_all(s.amounts, CAST(NULL AS DECIMAL(18, 4)), CAST(1 AS DECIMAL(18, 4)))))               AS kind,
    s.state,
    s.state                                                          AS state_derived,
    category_of(s.categories)                                        AS category,
    s._record_time                                                   AS occurred_at,
    s.time_zone                                                      AS timezone,
    s.session_start_date                                             AS started_at,
    s.session_end_date                                               AS ended_at,
    s.amount,
    'unknown'                                                        AS tax_origin,
    CASE WHEN s.session_end_date IS NOT NULL THEN s.amount END       AS paid_amount,
    currency_code(nullif(s.label, 'none'))                            AS currency,
    concat($pipeline, ':') || s.site                                 AS site_key,
    s.vehicle_id,
    s.session_id
FROM (
    SELECT
        p.session_id, p.account_id, p.label, replace(replace(p.label, '%', '%25'), ':', '%3A') AS label_part, p.amount,
        p.vehicle_id, p.site, p.time_zone, p.session_start_date, p.session_end_date,
        values_where(pluck(p.transactions, 'total_amount'), p.labels, p.label)     AS amounts,
        values_where(pluck(p.transactions, 'product_category'), p.labels, p.label) AS categories,
        CASE WHEN p.session_end_date IS NULL THEN 'pending' ELSE 'completed' END AS state
    FROM (
        SELECT c.*, sum_where(pluck(c.transactions, 'total_amount'), c.labels, c.label) AS amount
        FROM (
            SELECT l.*, unnest(array_distinct(l.labels)) AS label
            FROM (
                SELECT *,
                    array_replace_all(pluck(transactions, 'currency_key'), CAST(NULL AS VARCHAR), 'none') AS labels,
                    CASE WHEN one_spelling(place_network) IS NULL THEN replace(replace(place_id, '%', '%25'), '/', '%2F')
                        ELSE replace(replace(one_spelling(place_network), '%', '%25'), '/', '%2F') || '/' || place_id END AS site
                FROM sessions
            ) l
        ) c
    ) p
) s
