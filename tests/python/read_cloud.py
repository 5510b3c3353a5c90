"""Reads Delta tables of an object store with three readers that know nothing of Tillhouse, and prints what each found as JSON.

    read_cloud.py PLACE TABLE...         PLACE is JSON: {"url": "s3://tills/wh", "endpoint": ..., "key_id": ..., "secret": ...}
                                                     or {"url": "az://tills/wh", "endpoint": ..., "account": ..., "key": ...}

    {"unified/transactions": {"duckdb": {"rows": 3, "amount": "12.3400"}, "polars": {...}, "deltalake": {...}}}

A table without a column `amount` has rows alone. DuckDB reads S3 with httpfs, and Azure with azure.
"""

import importlib
import json
import os
import pathlib
import sys

import duckdb
import polars
import pyarrow.compute
from deltalake import DeltaTable


def options(place):
    if place["url"].startswith("s3://"):
        return {
            "AWS_ENDPOINT_URL": place["endpoint"],
            "AWS_ACCESS_KEY_ID": place["key_id"],
            "AWS_SECRET_ACCESS_KEY": place["secret"],
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
    return {
        "AZURE_STORAGE_ENDPOINT": place["endpoint"],
        "AZURE_STORAGE_ACCOUNT_NAME": place["account"],
        "AZURE_STORAGE_ACCOUNT_KEY": place["key"],
        "AZURE_ALLOW_HTTP": "true",
    }


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def connect(place):
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    is_s3 = place["url"].startswith("s3://")
    for name in ["httpfs" if is_s3 else "azure", "delta"]:
        package = pathlib.Path(importlib.import_module(f"duckdb_extension_{name}").__file__).parent
        connection.execute(f"LOAD '{package / 'extensions' / f'v{duckdb.__version__}' / f'{name}.duckdb_extension'}'")
    if is_s3:
        host = place["endpoint"].removeprefix("http://")
        connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID {quoted(place['key_id'])}, SECRET {quoted(place['secret'])}, REGION 'us-east-1', "
            f"ENDPOINT {quoted(host)}, URL_STYLE 'path', USE_SSL false)"
        )
    else:
        # Its delta extension goes to the emulator's usual port, wherever the secret says it is.
        os.environ["AZURITE_BLOB_STORAGE_URL"] = place["endpoint"].removesuffix("/" + place["account"])
        text = (
            f"DefaultEndpointsProtocol=http;AccountName={place['account']};AccountKey={place['key']};BlobEndpoint={place['endpoint']};"
        )
        connection.execute(f"CREATE SECRET (TYPE azure, CONNECTION_STRING {quoted(text)})")
    return connection


def with_duckdb(connection, url):
    table = f"delta_scan({quoted(url)})"
    columns = [name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()]
    what = "count(*)" + (", sum(amount)" if "amount" in columns else "")
    row = connection.execute(f"SELECT {what} FROM {table}").fetchone()
    return answer(*row)


def with_polars(place, url):
    table = polars.scan_delta(url, storage_options=options(place))
    has_amount = "amount" in table.collect_schema().names()
    found = table.select(polars.len(), *([polars.col("amount").sum()] if has_amount else [])).collect()
    return answer(*found.row(0))


def with_deltalake(place, url):
    table = DeltaTable(url, storage_options=options(place)).to_pyarrow_table()
    if "amount" not in table.column_names:
        return answer(table.num_rows)
    return answer(table.num_rows, pyarrow.compute.sum(table["amount"]).as_py())


def answer(rows, amount=None):
    return {"rows": rows, **({} if amount is None else {"amount": str(amount)})}


def main():
    # The caller's own settings of clouds and proxies are not the tests'.
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    place = json.loads(sys.argv[1])
    connection = connect(place)
    found = {}
    for name in sys.argv[2:]:
        url = f"{place['url'].rstrip('/')}/{name}"
        found[name] = {
            "duckdb": with_duckdb(connection, url),
            "polars": with_polars(place, url),
            "deltalake": with_deltalake(place, url),
        }
    json.dump(found, sys.stdout)
    # The readers' own threads do not always survive an orderly end of the interpreter, so it ends at once.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
