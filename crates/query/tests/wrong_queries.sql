-- columns

SELECT amout FROM transactions

SELECT t.paidamount FROM transactions t

SELECT sum(revenue) FROM transactions

SELECT "Amount" FROM transactions

SELECT x.amount FROM transactions t JOIN articles a ON t.transaction_key = a.transaction_key

SELECT transactions.amount FROM transactions AS t

SELECT state, method FROM transactions

SELECT count(*) FROM transactions
WHERE status = 'completed'

SELECT tenant FROM transactions

SELECT site_name FROM sites

SELECT frobnication FROM transactions

SELECT state FROM transactions WHERE state = "completed"

SELECT amount * 2 AS doubled FROM transactions WHERE doubled > 3

SELECT transaction_key FROM transactions t JOIN articles a ON t.transaction_key = a.transaction_key

SELECT t.state FROM transactions t JOIN articles t ON true

SELECT t.* FROM transactions

SELECT * EXCLUDE (nothing) FROM transactions

SELECT * FROM transactions JOIN articles USING (transaction_kye)

SELECT *, amount * 2 AS amount FROM transactions ORDER BY amount

SELECT amount

-- tables

SELECT * FROM transaction

SELECT * FROM receipts

SELECT * FROM line_items

SELECT * FROM paymnets

SELECT * FROM runs

SELECT * FROM hecone_transactions

SELECT * FROM unifed.transactions

SELECT * FROM 'sales.csv'

SELECT * FROM nowhere

SELECT * FROM transactions('2026-01-01')

SELECT * FROM upper('a')

WITH r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r

-- functions

SELECT mdeian(amount) FROM transactions

SELECT getdate()

SELECT year(occurred_at), sum(amount) FROM transactions GROUP BY 1

SELECT group_concat(state) FROM transactions

SELECT frobnicate(state) FROM transactions

SELECT row_number() FROM transactions

SELECT rank_of(amount) OVER (ORDER BY amount) FROM transactions

SELECT varchar(amount) FROM transactions

SELECT upper(state, 1) FROM transactions

SELECT now(1)

SELECT sum(amount, paid_amount) FROM transactions

SELECT min() FROM transactions

SELECT substr(state) FROM transactions

SELECT string_agg(state) FROM transactions

SELECT sum(*) FROM transactions

SELECT sum(state) FROM transactions

SELECT avg(occurred_at) FROM transactions

SELECT round(amount, 'x') FROM transactions

SELECT date_trunc(occurred_at, 'month') FROM transactions

SELECT coalesce(amount, business_date) FROM transactions

SELECT percentile_cont(2) WITHIN GROUP (ORDER BY amount) FROM transactions

SELECT date_trunc('moth', occurred_at) FROM transactions

SELECT extract(fortnight FROM occurred_at) FROM transactions

-- types

SELECT state + 1 FROM transactions

SELECT occurred_at - amount FROM transactions

SELECT occurred_at + '1 day' FROM transactions

SELECT * FROM transactions WHERE occurred_at > 5

SELECT * FROM transactions WHERE amount LIKE '1%'

SELECT * FROM transactions WHERE amount

SELECT * FROM transactions WHERE state = 'x' AND amount

SELECT NOT amount FROM transactions

SELECT -state FROM transactions

SELECT CASE WHEN amount THEN 1 END FROM transactions

SELECT CASE WHEN amount > 0 THEN occurred_at ELSE amount END FROM transactions

SELECT state.name FROM transactions

SELECT state[1] FROM transactions

SELECT CAST(amount AS MONEY) FROM transactions

SELECT amount::foo FROM transactions

SELECT CAST(amount AS DATE) FROM transactions

SELECT CAST(amount AS DECIMAL(4, 10)) FROM transactions

-- values

SELECT amount / 0 FROM transactions

SELECT CAST('abc' AS INT)

SELECT CAST(state AS INT) FROM transactions

SELECT CAST(3000000000 AS INT)

SELECT * FROM transactions WHERE amount > '12,50'

SELECT DATE '31.01.2026'

SELECT TIMESTAMP '2026-02-30 12:00:00'

SELECT * FROM transactions WHERE occurred_at >= '01/02/2026'

SELECT * FROM transactions WHERE occurred_at >= 'yesterday'

SELECT * FROM transactions WHERE business_date = '2026-11'

SELECT now() - INTERVAL '1 fortnight'

SELECT now() - INTERVAL '3 dyas'

SELECT occurred_at AT TIME ZONE 'Europe/Zurick' FROM transactions

SELECT occurred_at AT TIME ZONE 'Berlin' FROM transactions

SELECT power(10, 50)::DECIMAL(10, 2)

SELECT sum(x) FROM (VALUES (9223372036854775807), (1)) AS v(x)

SELECT state ~ '(a' FROM transactions

SELECT * FROM transactions WHERE amount > $least

-- groups

SELECT state, sum(amount) FROM transactions

SELECT state, currency, sum(amount) FROM transactions GROUP BY state

SELECT *, sum(amount) FROM transactions

SELECT state FROM transactions GROUP BY state HAVING amount > 1

SELECT state FROM transactions GROUP BY state ORDER BY amount

SELECT state FROM transactions WHERE sum(amount) > 10 GROUP BY state

SELECT sum(count(*)) FROM transactions

SELECT state, count(*) FROM transactions GROUP BY 3

SELECT state FROM transactions ORDER BY 2

SELECT DISTINCT ON (state) state FROM transactions ORDER BY amount

SELECT array_agg(DISTINCT state ORDER BY amount) FROM transactions

SELECT count(DISTINCT state, currency) FROM transactions

-- windows

SELECT state FROM transactions WHERE row_number() OVER (ORDER BY amount) = 1

SELECT sum(amount) OVER (ROWS BETWEEN CURRENT ROW AND 1 PRECEDING) FROM transactions

SELECT sum(amount) OVER w FROM transactions

SELECT lag(amount, 'x') OVER (ORDER BY occurred_at) FROM transactions

SELECT sum(row_number() OVER ()) FROM transactions

SELECT state FROM transactions QUALIFY amount > 1

SELECT sum(amount) OVER (ORDER BY occurred_at ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW) FROM transactions

-- queries within queries

SELECT (SELECT a.amount FROM articles a WHERE a.transaction_key = t.transaction_key) FROM transactions t

SELECT * FROM transactions t WHERE amount > (SELECT avg(amount) FROM articles a WHERE a.amount > t.amount)

SELECT (SELECT amount, state FROM articles) FROM transactions

SELECT (SELECT amount FROM articles) FROM transactions

WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1, 2 FROM r) SELECT * FROM r

WITH RECURSIVE r AS (SELECT n + 1 FROM r) SELECT * FROM r

WITH a AS (SELECT 1), a AS (SELECT 2) SELECT * FROM a

WITH a (x, y) AS (SELECT 1) SELECT * FROM a

-- several queries in one

SELECT state FROM transactions UNION SELECT state, amount FROM articles

SELECT amount FROM transactions UNION ALL SELECT business_date FROM transactions

VALUES (1), (1, 2)

VALUES (1), (DATE '2026-01-01')

-- clauses

SELECT * FROM transactions LIMIT -1

SELECT * FROM transactions LIMIT 'ten'

SELECT * FROM transactions LIMIT amount

SELECT * FROM transactions LIMIT 10 OFFSET -5

SELECT TOP 10 * FROM transactions

SELECT * FROM transactions ORDER BY amount FETCH FIRST 5 ROWS WITH TIES

SELECT *

SELECT * FROM transactions TABLESAMPLE (10)

SELECT amount FROM transactions EXCEPT ALL SELECT amount FROM articles

SELECT * FROM transactions WHERE amount > ALL (SELECT amount FROM articles)

SELECT * FROM transactions JOIN articles

SELECT * FROM transactions t LEFT JOIN articles a WHERE t.amount > a.amount

SELECT state FROM transactions WHERE (started_at, ended_at) OVERLAPS (occurred_at, ended_at)

SELECT state FROM transactions WHERE state LIKE '5!' ESCAPE '!'

-- statements

INSERT INTO transactions VALUES (1)

CREATE VIEW v AS SELECT 1

COPY transactions TO 'x.csv'

UPDATE transactions SET amount = 1

SET timezone = 'Europe/Berlin'

SELECT 1; SELECT 2

SHOW nothing

DESCRIBE nothing

-- syntax

SELCT state FROM transactions

SELECT state FORM transactions

SELECT state FROM transactions WERE state = 'x'

SELECT state
FROM transactions
WHERE state = = 'x'

SELECT FROM transactions WHERE

SELECT state, amount, FROM transactions, WHERE amount > 1

SELECT (state FROM transactions

SELECT state) FROM transactions

SELECT state FROM transactions ORDER state

SELECT state FROM transactions GROUP state

SELECT CASE WHEN state = 'x' THEN 1 FROM transactions

SELECT state FROM transactions LIMIT

SELECT state FROM transactions WHERE state IN

SELECT state FROM transactions WHERE state IN ()

SELECT state FROM transactions WHERE state = 'completed

SELECT state FROM transactions WHERE state = "completed

SELECT state FROM transactions /* all of them

SELECT state FROM transactions WHERE state = ‘completed’

SELECT state amount currency FROM transactions

SELECT state FROM transactions WHERE state = 'a' AND

SELECT order FROM transactions

SELECT state FROM transactions WHERE state = 'it's'

SELECT state FROM transactions LIMIT 5 WHERE amount > 1

SELECT state FROM transactions WHERE amount => 5

SELECT state FROM transactions WHERE amount =< 5

SELECT state FROM transactions WHERE amount IS 5
