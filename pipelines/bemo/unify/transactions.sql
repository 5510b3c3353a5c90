-- be-mo sessions, one row a session and currency: its products, added up.
--
-- A session in which nothing was bought (yet) has no transaction; it stands in the source table. Where no currency is named, `none` stands
-- in its place in the id. The account buys, so these are purchases and never added to anybody's sales. Neither be-mo's states nor its taxes
-- are known: a session that has ended is done and charged to the account, one that has not is going on, also where nobody says what it
-- costs. Its amount is the sum of the amounts that are known; ops.warnings names the purchases without one. The site is
-- placeId within its network: ids are the networks' own.
SELECT
    concat($pipeline, ':', s.session_id, ':', s.label)               AS transaction_key,
    $pipeline                                                        AS pipeline,
    $source                                                          AS source,
    concat(s.session_id, ':', s.label)                               AS transaction_id,
    s.account_id                                                     AS tenant_id,
    'purchase'                                                       AS perspective,
    sale_kind(s.amount, s.state, array_max(array_replace_all(s.amounts, CAST(NULL AS DECIMAL(18, 4)), CAST(1 AS DECIMAL(18, 4)))))               AS kind,
    s.state,
    s.state                                                          AS state_derived,
    category_of(s.categories)                                        AS category,
    s._record_time                                                   AS occurred_at,
    month_of(s._record_time)                                         AS month,
    local_date(s._record_time, s.time_zone)                          AS business_date,
    local_hour(s._record_time, s.time_zone)                          AS local_hour,
    utc_offset_minutes(s._record_time, s.time_zone)                  AS utc_offset_minutes,
    s.time_zone                                                      AS timezone,
    NULL                                                             AS created_at,
    NULL                                                             AS updated_at,
    s.session_start_date                                             AS started_at,
    s.session_end_date                                               AS ended_at,
    s.amount,
    NULL                                                             AS discount_amount,
    NULL                                                             AS net_amount,
    NULL                                                             AS tax_amount,
    'unknown'                                                        AS tax_origin,
    CASE WHEN s.session_end_date IS NOT NULL THEN s.amount END       AS paid_amount,
    currency_code(nullif(s.label, 'none'))                            AS currency,
    concat($pipeline, ':') || s.site                                 AS site_key,
    NULL                                                             AS device_key,
    NULL                                                             AS point_key,
    NULL                                                             AS client_id,
    NULL                                                             AS client_type,
    NULL                                                             AS license_plate,
    NULL                                                             AS vin,
    NULL                                                             AS odometer_km,
    NULL                                                             AS driver_number,
    s.vehicle_id,
    NULL                                                             AS vehicle_number,
    NULL                                                             AS cost_center,
    NULL                                                             AS additional_info,
    NULL                                                             AS card_vehicle_number,
    NULL                                                             AS card_driver_name,
    NULL                                                             AS receipt_state,
    NULL                                                             AS receipt_email,
    NULL                                                             AS terminal_transaction_number,
    s.session_id,
    NULL                                                             AS roaming_session_id,
    s._record_key, s._record_time, s._load_id, s._extracted_at, s._content_hash, s._run_id
FROM (
    SELECT
        p.session_id, p.account_id, p.label, p.amount, p.vehicle_id, p.site, p.time_zone, p.session_start_date, p.session_end_date,
        values_where(pluck(p.transactions, 'total_amount'), p.labels, p.label)     AS amounts,
        values_where(pluck(p.transactions, 'product_category'), p.labels, p.label) AS categories,
        CASE WHEN p.session_end_date IS NULL THEN 'pending' ELSE 'completed' END AS state,
        p._record_key, p._record_time, p._load_id, p._extracted_at, p._content_hash, p._run_id
    FROM (
        SELECT c.*, sum_where(pluck(c.transactions, 'total_amount'), c.labels, c.label) AS amount
        FROM (
            SELECT l.*, unnest(array_distinct(l.labels)) AS label
            FROM (
                SELECT *,
                    array_replace_all(pluck(transactions, 'currency_key'), CAST(NULL AS VARCHAR), 'none') AS labels,
                    coalesce(nullif(trim(place_network), '') || '/', '') || place_id AS site
                FROM sessions
            ) l
        ) c
    ) p
) s
