-- SmartNow's shifts: the sales of a location from one closing to the next.
SELECT
    concat($pipeline, ':', id)                                       AS shift_key,
    CAST(id AS VARCHAR)                                              AS shift_id,
    concat($pipeline, ':') || CAST(nullif(location, 0) AS VARCHAR)   AS site_key,
    concat($pipeline, ':') || CAST(nullif(previous_shift, 0) AS VARCHAR)    AS previous_shift_key,
    concat($pipeline, ':') || CAST(nullif(first_transaction, 0) AS VARCHAR) AS first_transaction_key,
    concat($pipeline, ':') || CAST(nullif(last_transaction, 0) AS VARCHAR)  AS last_transaction_key,
    created_at                                                       AS opened_at,
    closed_at
FROM shifts
