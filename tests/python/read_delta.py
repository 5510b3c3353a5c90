"""Reads a Delta table with two readers that know nothing of Tillhouse, and prints what each found as JSON.

    read_delta.py TABLE [--sum COLUMN]... [--distinct COLUMN]... [--group COLUMN]... [--equal COLUMN=VALUE]...

    {"duckdb":    {"rows": 3, "columns": {"amount": "decimal(18,4)", ...}, "groups": [{"group": {"currency": "EUR"}, "rows": 3,
                   "sums": {"amount": "12.3400"}, "distinct": {"transaction_key": 3}}]},
     "deltalake": {... the same ...}}

Sums are exact decimals, printed as text; a column without values sums to null. Without --group there is one group, {}. Both
readers see the table's latest version. A float column cannot be summed: money that became a float is an error, not a figure.
"""

import argparse
import json
import os
import pathlib
import sys

import duckdb
import duckdb_extension_delta
import pyarrow
import pyarrow.compute
import pyarrow.types
from deltalake import DeltaTable


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--sum", action="append", default=[], dest="sums")
    parser.add_argument("--distinct", action="append", default=[])
    parser.add_argument("--group", action="append", default=[])
    parser.add_argument("--equal", action="append", default=[], type=lambda text: tuple(text.split("=", 1)))
    return parser.parse_args()


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def text(value):
    return None if value is None else str(value)


class Refused(Exception):
    """What was asked for cannot be answered exactly."""


def refuse_floats(columns, sums):
    for name in sums:
        if name not in columns:
            raise Refused(f"no column {name}; there are {', '.join(columns)}")
        if "float" in columns[name] or "double" in columns[name]:
            raise Refused(f"column {name} is {columns[name]}: exact sums need a decimal or an integer")


def with_duckdb(args):
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    folder = pathlib.Path(duckdb_extension_delta.__file__).parent / "extensions" / f"v{duckdb.__version__}"
    connection.execute(f"LOAD '{folder / 'delta.duckdb_extension'}'")
    connection.execute("SET TimeZone = 'UTC'")
    table = f"delta_scan('{args.table}')"
    columns = {
        name: kind.lower() for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()
    }
    refuse_floats(columns, args.sums)
    what = [quoted(name) for name in args.group]
    what += ["count(*)"]
    what += [f"sum({quoted(name)})" for name in args.sums]
    what += [f"count(DISTINCT {quoted(name)})" for name in args.distinct]
    query = f"SELECT {', '.join(what)} FROM {table}"
    if args.equal:
        query += " WHERE " + " AND ".join(f"{quoted(name)} = ?" for name, _ in args.equal)
    if args.group:
        query += " GROUP BY ALL"
    groups = []
    for row in connection.execute(query, [value for _, value in args.equal]).fetchall():
        row = list(row)
        take = lambda n: [row.pop(0) for _ in range(n)]
        groups.append(
            {
                "group": dict(zip(args.group, map(text, take(len(args.group))))),
                "rows": take(1)[0],
                "sums": dict(zip(args.sums, map(text, take(len(args.sums))))),
                "distinct": dict(zip(args.distinct, take(len(args.distinct)))),
            }
        )
    return result(columns, groups)


def with_deltalake(args):
    dataset = DeltaTable(args.table).to_pyarrow_dataset()
    columns = {field.name: str(field.type).replace("decimal128", "decimal").replace(" ", "") for field in dataset.schema}
    refuse_floats(columns, args.sums)
    wanted = list(dict.fromkeys([*args.sums, *args.distinct, *args.group]))
    condition = None
    for name, value in args.equal:
        one = pyarrow.compute.field(name) == value
        condition = one if condition is None else condition & one
    table = dataset.to_table(columns=wanted, filter=condition)
    # One row a group, with the group's row numbers: sums are then taken over decimals, which aggregate exactly.
    if args.group:
        numbered = table.append_column("__row", pyarrow.array(range(table.num_rows), pyarrow.int64()))
        parts = numbered.group_by(args.group).aggregate([("__row", "list")]).to_pylist()
        parts = [({name: text(part[name]) for name in args.group}, table.take(part["__row_list"])) for part in parts]
    else:
        parts = [({}, table)]
    groups = []
    for group, part in parts:
        groups.append(
            {
                "group": group,
                "rows": part.num_rows,
                "sums": {name: text(pyarrow.compute.sum(part[name]).as_py()) for name in args.sums},
                "distinct": {
                    name: pyarrow.compute.count_distinct(part[name], mode="only_valid").as_py() for name in args.distinct
                },
            }
        )
    return result(columns, groups)


def result(columns, groups):
    groups.sort(key=lambda entry: json.dumps(entry["group"], sort_keys=True))
    return {"rows": sum(entry["rows"] for entry in groups), "columns": columns, "groups": groups}


def main():
    args = arguments()
    try:
        json.dump({"duckdb": with_duckdb(args), "deltalake": with_deltalake(args)}, sys.stdout)
        status = 0
    except Refused as refused:
        print(refused, file=sys.stderr)
        status = 1
    # The readers' own threads do not always survive an orderly end of the interpreter, so it ends at once.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
