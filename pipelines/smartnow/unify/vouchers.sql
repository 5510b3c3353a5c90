-- SmartNow's vouchers, without their codes, which are read nowhere.
--
-- Values are in the unit that the voucher names, "cents": minor units by ISO 4217, whatever the connection's price_unit says. The day of
-- expiry was entered on the clock of the voucher's time zone; where it came as an instant, it is the day of that clock, or of UTC where the
-- voucher names no zone, as those that inherit their campaign's need not.
SELECT
    concat($pipeline, ':', id)                                       AS voucher_key,
    id                                                               AS voucher_id,
    CAST(campaign AS VARCHAR)                                        AS campaign_id,
    canonical_word(type)                                             AS type,
    canonical_word(status)                                           AS status,
    currency_code(currency)                                          AS currency,
    from_minor_units(CASE WHEN in_cents THEN value END, currency)    AS value_amount,
    from_minor_units(CASE WHEN in_cents THEN initial_value END, currency)         AS initial_amount,
    from_minor_units(CASE WHEN in_cents THEN balance END, currency)  AS balance_amount,
    from_minor_units(CASE WHEN in_cents THEN amount_redeemed END, currency)       AS redeemed_amount,
    from_minor_units(CASE WHEN in_cents THEN total_amount_redeemed END, currency) AS total_redeemed_amount,
    redemption_limit,
    redemption_count                                                 AS redemptions,
    total_redemption_count                                           AS total_redemptions,
    last_redemption_at                                               AS last_redeemed_at,
    last_redemption_location                                         AS last_redeemed_where,
    reset_frequency,
    last_reset_at,
    CASE WHEN regexp_like(expires_on, '(Z|[+-][0-9:]{4,6})$')
        THEN local_date(TRY_CAST(expires_on AS TIMESTAMP(6) WITH TIME ZONE), time_zone)
        ELSE TRY_CAST(substr(expires_on, 1, 10) AS DATE) END         AS expires_on,
    time_zone                                                        AS timezone,
    created_at,
    updated_at
FROM (SELECT *, coalesce(canonical_word(value_type), 'cents') = 'cents' AS in_cents FROM vouchers)
