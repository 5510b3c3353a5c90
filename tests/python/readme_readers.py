"""Runs what README.md says of other readers, as it stands there, over a warehouse, and prints what each gives as JSON.

    readme_readers.py README WAREHOUSE

    {"duckdb": 12, "polars": 12, "pyarrow": 12, "glob": 24, "counted": [{"currency": "EUR", "len": "12", "amount": "12.3400"}],
     "comments": {"amount": "What the customer owes ..."}}

`duckdb`, `polars` and `pyarrow` are the rows that the lines of the table give, `counted` what the block of Python gives, and `glob` the rows of the Parquet
files that lie there, which is what README warns of; `comments` are those of the columns of transactions, as deltalake shows them. Only the place of the warehouse is put in, and INSTALL is left out.
"""

import json
import os
import pathlib
import re
import sys
from datetime import UTC, datetime

import attached
import deltalake
import duckdb
import polars


def line(text, reader):
    """The code in the row of a table that begins with a reader."""
    row = next(row for row in text.splitlines() if row.startswith(f"| {reader} |"))
    return re.search(r"`(.+)`", row)[1]


def main():
    readme, warehouse = sys.argv[1:]
    text = pathlib.Path(readme).read_text(encoding="utf-8").replace("warehouse/unified", f"{warehouse}/unified")
    connection = duckdb.connect()
    statement = attached.runnable(line(text, "DuckDB, one table").replace("; ", ";\n"))
    code = {"polars": polars, "deltalake": deltalake, "datetime": datetime, "UTC": UTC}
    scan = eval(line(text, "Polars"), code)
    block = re.search(r"```python\n(.+?)```", text, flags=re.DOTALL)[1]
    counted = eval(block, {**code, "transactions": scan}).sort("currency").collect()
    files = f"{warehouse}/unified/transactions/pipeline=*/month=*/*.parquet"
    columns = deltalake.DeltaTable(f"{warehouse}/unified/transactions").schema().fields
    found = {
        "comments": {column.name: column.metadata.get("comment") for column in columns},
        "duckdb": len(connection.execute(statement).fetchall()),
        "polars": scan.select(polars.len()).collect().item(),
        "pyarrow": eval(line(text, "pandas, PyArrow"), code).num_rows,
        "glob": connection.execute(f"SELECT count(*) FROM read_parquet('{files}', hive_partitioning = true)").fetchone()[0],
        "counted": [{name: str(value) for name, value in row.items()} for row in counted.to_dicts()],
    }
    json.dump(found, sys.stdout)
    # The readers' own threads do not always survive an orderly end of the interpreter, so it ends at once.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
