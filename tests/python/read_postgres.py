"""Reads from `tillhouse serve --postgres` with psycopg, as a program would, and prints what it found as JSON.

    read_postgres.py 127.0.0.1:PORT [USER PASSWORD]

    {"rows": 300, "copied": 300, "fetched": 300, "wrong": []}

`wrong` names every value that did not come back as it was sent or asked for, in text and in binary form.
"""

import datetime
import decimal
import json
import sys

import psycopg
import psycopg.errors

UTC = datetime.timezone.utc
# A query, and what each of its columns has to be.
VALUES = [
    ("CAST('99999999999999999999.999999999999999999' AS DECIMAL(38,18))", decimal.Decimal("99999999999999999999.999999999999999999")),
    ("CAST('-0.05' AS DECIMAL(9,2))", decimal.Decimal("-0.05")),
    ("CAST(7 AS SMALLINT)", 7),
    ("CAST(-7 AS BIGINT)", -7),
    ("CAST(0.1 AS DOUBLE)", 0.1),
    ("true", True),
    ("'it''s é'", "it's é"),
    ("CAST(NULL AS BIGINT)", None),
    ("DATE '2026-02-28'", datetime.date(2026, 2, 28)),
    ("TIMESTAMP '2026-02-28 23:59:59.123456'", datetime.datetime(2026, 2, 28, 23, 59, 59, 123456)),
    ("TIMESTAMPTZ '2026-02-28T23:59:59+02:00'", datetime.datetime(2026, 2, 28, 21, 59, 59, tzinfo=UTC)),
    ("INTERVAL '3 days 4 hours'", datetime.timedelta(days=3, hours=4)),
    ("ARRAY[1, 2, 3]", [1, 2, 3]),
    ("ARRAY['a', NULL, 'b c']", ["a", None, "b c"]),
    ("named_struct('a', 1, 'b', 'x')", {"a": 1, "b": "x"}),
]
# Values that are sent as parameters and have to come back.
SENT = [7, 2**40, -1, decimal.Decimal("12.50"), "it's", "007", True, datetime.date(2026, 1, 1), None]


def same(found, wanted):
    if isinstance(wanted, decimal.Decimal):
        return isinstance(found, decimal.Decimal) and found == wanted
    return type(found) is type(wanted) and found == wanted


def check_values(connection, wrong):
    sql = "SELECT " + ", ".join(f"{query} AS c{at}" for at, (query, _) in enumerate(VALUES))
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            row = cursor.execute(sql).fetchone()
        for (query, wanted), found in zip(VALUES, row):
            if not same(found, wanted):
                wrong.append(f"{query} as {'binary' if binary else 'text'}: {found!r}")


def check_parameters(connection, wrong):
    for value in SENT:
        for _ in range(7):  # From the sixth time on it is prepared under a name.
            found = connection.execute("SELECT %s AS value", [value]).fetchone()[0]
        if found != value and not (isinstance(value, str) and str(found) == value):
            wrong.append(f"{value!r} came back as {found!r}")
    found = connection.execute("SELECT count(*) FROM transactions WHERE amount >= %s AND currency = ANY(%s)", [0, ["EUR", "CHF"]])
    if found.fetchone()[0] <= 0:
        wrong.append("no amount is above nought")


def check_errors(connection, wrong):
    for sql, error in [
        ("DELETE FROM transactions", psycopg.errors.ReadOnlySqlTransaction),
        ("SELECT * FROM nowhere", psycopg.errors.UndefinedTable),
        ("SELECT nothing FROM transactions", psycopg.errors.UndefinedColumn),
    ]:
        try:
            connection.execute(sql)
            wrong.append(f"{sql} was done")
        except error:
            pass
        except psycopg.Error as other:
            wrong.append(f"{sql}: {other!r}")
        connection.rollback()


def check_pipeline(connection, wrong):
    """Sends statements ahead, one of which fails: the failure is told before the end."""
    if not psycopg.Pipeline.is_supported():
        return
    try:
        with connection.pipeline():
            connection.execute("SELECT 1")
            connection.execute("SELECT nothing FROM transactions").fetchone()
        wrong.append("a failure in a pipeline was not told")
    except psycopg.errors.UndefinedColumn:
        pass
    connection.rollback()


def check_copy(connection, wrong):
    with connection.cursor() as cursor, cursor.copy("COPY (SELECT 7 AS n) TO STDOUT (FORMAT BINARY)") as copy:
        copy.set_types(["int8"])
        found = list(copy.rows())
    if found != [(7,)]:
        wrong.append(f"COPY BINARY: {found!r}")


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    wrong = []
    user, password = sys.argv[2:] or ("ada", None)
    with psycopg.connect(host=host, port=port, user=user, password=password, dbname="tillhouse") as connection:
        check_values(connection, wrong)
        check_parameters(connection, wrong)
        check_errors(connection, wrong)
        check_pipeline(connection, wrong)
        check_copy(connection, wrong)
        rows = connection.execute("SELECT transaction_key FROM transactions").fetchall()
        with connection.cursor() as cursor, cursor.copy("COPY (SELECT transaction_key FROM transactions) TO STDOUT") as copy:
            copied = sum(1 for _ in copy.rows())
        with connection.cursor(name="all of them") as cursor:
            cursor.itersize = 50
            cursor.execute("SELECT transaction_key FROM transactions WHERE amount >= %s OR amount < %s OR amount IS NULL", [0, 0])
            fetched = sum(1 for _ in cursor)
    print(json.dumps({"rows": len(rows), "copied": copied, "fetched": fetched, "wrong": wrong}))


if __name__ == "__main__":
    main()
