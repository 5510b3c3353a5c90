-- Attempts to redeem vouchers. Looking whether a voucher is valid is none.
--
-- How much was redeemed stands only in what was answered, beside the code, and is never read. Device and location are told by their names.
SELECT
    concat($pipeline, ':', t.id)                                     AS redemption_key,
    CAST(t.id AS VARCHAR)                                            AS redemption_id,
    concat($pipeline, ':') || t.voucher                              AS voucher_key,
    canonical_word(t.action)                                         AS action,
    t.success <> 0                                                   AS succeeded,
    t.requester,
    t.requester_location,
    currency_code(t.currency)                                        AS currency,
    t.created_at                                                     AS occurred_at
FROM voucher_logs t
WHERE canonical_word(t.action) IS DISTINCT FROM 'validate'
