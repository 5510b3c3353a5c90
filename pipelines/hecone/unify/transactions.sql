-- HecOne transactions, one row each.
--
-- The record time (invoice.created_at, else the first article's start, else the first payment) is when the sale happened.
-- A sale is free when it is over, its invoice is zero and no article costs anything; a negative invoice is a refund. HecOne
-- marks no test sales. Of a refund, what was paid and its tax are taken away too, also where they are told without a sign.
-- The session id is Hubject's, the roaming network's: it is the session's and the roaming session's at once.
-- The state is the provider's word in its one spelling, else state_derived, which follows HecOne's rule table. What was collected in another
-- currency than the invoice's, or where that names none than the first one that an article names, compares with nothing.
SELECT
    concat($pipeline, ':', t.id)                                     AS transaction_key,
    t.id                                                             AS transaction_id,
    t.mandator_id                                                    AS tenant_id,
    'sale'                                                           AS perspective,
    sale_kind(t.invoice['amount'], first_present(t.said_state, t.state_derived), array_max(pluck(t.articles, 'amount'))) AS kind,
    first_present(t.said_state, t.state_derived)                     AS state,
    t.state_derived,
    category_of(pluck(t.articles, 'category'))                       AS category,
    t._record_time                                                   AS occurred_at,
    t.site['timezone']                                               AS timezone,
    t.invoice['created_at']                                          AS created_at,
    array_min(pluck(t.articles, 'start_time'))                       AS started_at,
    array_max(pluck(t.articles, 'end_time'))                         AS ended_at,
    t.invoice['amount']                                              AS amount,
    t.invoice['amount'] - t.tax_amount                               AS net_amount,
    t.tax_amount,
    CASE WHEN t.invoice['tax_amount'] IS NULL THEN 'unknown' ELSE 'reported' END AS tax_origin,
    CASE WHEN t.invoice['amount'] < 0 AND t.invoice['paid_amount'] > 0 THEN -(t.invoice['paid_amount'])
        ELSE t.invoice['paid_amount'] END                            AS paid_amount,
    currency_code(first_present(t.owed_currency, array_any_value(pluck(t.payments, 'currency')))) AS currency,
    concat($pipeline, ':') || t.site_id                              AS site_key,
    concat($pipeline, ':') || t.site_id || '/' || t.device['code']   AS device_key,
    concat($pipeline, ':') || t.point_id                             AS point_key,
    t.client['id']                                                   AS client_id,
    canonical_word(t.client['type'])                                 AS client_type,
    t.customer_data['license_plate']                                 AS license_plate,
    t.customer_data['odometer']                                      AS odometer_km,
    t.customer_data['driver_number']                                 AS driver_number,
    t.customer_data['vehicle_number']                                AS vehicle_number,
    t.customer_data['cost_center']                                   AS cost_center,
    t.customer_data['additional_info']                               AS additional_info,
    t.card_issuer['vehicle_number']                                  AS card_vehicle_number,
    t.card_issuer['driver_name']                                     AS card_driver_name,
    canonical_word(t.receipt['state'])                               AS receipt_state,
    t.receipt['email']                                               AS receipt_email,
    t.terminal_transaction_number,
    t.session_id,
    t.session_id                                                     AS roaming_session_id
FROM (
    SELECT *,
        canonical_word(state) AS said_state,
        derived_state(
            pluck(articles, 'state'),
            pluck(payments, 'state'),
            sum_where(pluck(payments, 'amount'), canonical_word(pluck(payments, 'state')), 'collected',
                pluck(payments, 'currency'), owed_currency),
            invoice['amount']
        ) AS state_derived
    FROM (
        SELECT *,
            first_present(invoice['currency'], array_any_value(pluck(articles, 'currency'))) AS owed_currency,
            CASE WHEN invoice['amount'] < 0 AND invoice['tax_amount'] > 0 THEN -(invoice['tax_amount']) ELSE invoice['tax_amount'] END AS tax_amount
        FROM transactions
    ) s
) t
