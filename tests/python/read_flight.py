"""Reads from `tillhouse serve --flight` with ADBC's driver, as a program would, and prints what it found as JSON.

    read_flight.py grpc://127.0.0.1:PORT [USER PASSWORD [AUTHORITY.pem]]

    {"rows": 300, "streamed": 1000000, "tables": 40, "wrong": []}

`wrong` names every value that did not come back as it was sent or asked for, and every question that was answered in another way.
"""

import datetime
import decimal
import json
import sys

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager
import pyarrow

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
    ("arrow_cast('a word', 'Dictionary(Int32, Utf8)')", "a word"),
    ("arrow_cast('a text that is longer than a view', 'Utf8View')", "a text that is longer than a view"),
    ("CAST(NULL AS BIGINT)", None),
    ("DATE '2026-02-28'", datetime.date(2026, 2, 28)),
    ("TIMESTAMP '2026-02-28 23:59:59.123456'", datetime.datetime(2026, 2, 28, 23, 59, 59, 123456)),
    ("TIMESTAMPTZ '2026-02-28T23:59:59+02:00'", datetime.datetime(2026, 2, 28, 21, 59, 59, tzinfo=UTC)),
    ("ARRAY[1, 2, 3]", [1, 2, 3]),
    ("ARRAY['a', NULL, 'b c']", ["a", None, "b c"]),
    ("named_struct('a', 1, 'b', 'x')", {"a": 1, "b": "x"}),
]
# Values that are sent as parameters and have to come back.
SENT = [7, 2**40, -1, decimal.Decimal("12.50"), "it's", "007", True, datetime.date(2026, 1, 1), None]


def check_values(cursor, wrong):
    sql = "SELECT " + ", ".join(f"{query} AS c{at}" for at, (query, _) in enumerate(VALUES))
    cursor.execute(sql)
    row = list(cursor.fetch_arrow_table().to_pylist()[0].values())
    for (query, wanted), found in zip(VALUES, row):
        same = found == wanted and (isinstance(wanted, datetime.datetime) or type(found) is type(wanted))
        if not same:
            wrong.append(f"{query}: {found!r}")


def check_parameters(cursor, wrong):
    for value in SENT:
        cursor.execute("SELECT $1 AS value", [value])
        found = cursor.fetchone()[0]
        if found != value:
            wrong.append(f"{value!r} came back as {found!r}")
    # The same statement with other values.
    for day in (1, 2):
        cursor.execute("SELECT count(*) FROM transactions WHERE amount >= $1 AND currency <> $2", [day, "XTS"])
        if cursor.fetchone()[0] <= 0:
            wrong.append("no amount is above nought")


def check_errors(cursor, wrong):
    for sql, said in [
        ("DELETE FROM transactions", "only reads"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT nothing FROM transactions", "nothing"),
    ]:
        try:
            cursor.execute(sql)
            wrong.append(f"{sql} was done")
        except adbc_driver_manager.Error as error:
            if said not in str(error):
                wrong.append(f"{sql}: {error}")


def tables(connection, wrong):
    listed = connection.adbc_get_objects(depth="columns", db_schema_filter="unified").read_all().to_pylist()
    names = {
        table["table_name"]: [column["column_name"] for column in table["table_columns"]]
        for catalog in listed
        for schema in catalog["catalog_db_schemas"]
        for table in schema["db_schema_tables"]
    }
    if "amount" not in names.get("transactions", []):
        wrong.append("transactions has no column amount")
    if sorted(connection.adbc_get_table_types()) != ["TABLE", "VIEW"]:
        wrong.append("tables have other types")
    columns = connection.adbc_get_table_schema("transactions", db_schema_filter="unified")
    if not pyarrow.types.is_decimal128(columns.field("amount").type):
        wrong.append(f"amount is a {columns.field('amount').type}")
    if connection.adbc_get_info()["vendor_name"] != "Tillhouse":
        wrong.append("it has another name")
    return len(names)


def options(arguments):
    given = dict(zip(("username", "password"), arguments))
    if len(arguments) > 2:
        with open(arguments[2], encoding="ascii") as authority:
            given[adbc_driver_flightsql.DatabaseOptions.TLS_ROOT_CERTS.value] = authority.read()
    return given


def main():
    wrong = []
    # Not in autocommit: from here to the end of the block one run is read.
    with flight.connect(sys.argv[1], db_kwargs=options(sys.argv[2:])) as connection:
        with connection.cursor() as cursor:
            check_values(cursor, wrong)
            check_parameters(cursor, wrong)
            check_errors(cursor, wrong)
            cursor.execute("SELECT transaction_key FROM transactions")
            rows = cursor.fetch_arrow_table().num_rows
            cursor.execute("SELECT value, concat('a text of some length: ', value) AS text FROM generate_series(1, 1000000)")
            streamed = sum(batch.num_rows for batch in cursor.fetch_record_batch())
        found = tables(connection, wrong)
        connection.commit()
    print(json.dumps({"rows": rows, "streamed": streamed, "tables": found, "wrong": wrong}))


if __name__ == "__main__":
    main()
