"""Runs a script that `tillhouse attach duckdb` printed, then queries, and prints each query's rows as JSON.

    attached.py SCRIPT PLACE QUERY...      PLACE is a database (:memory: or a file), or a warehouse in an object store as read_cloud.py takes it

    [[{"currency": "EUR", "transactions": "12", "amount": "12.3400"}], ...]       every value as text, null as null

INSTALL wants the network, so extensions are loaded from the environment's packages instead; everything else runs as it was printed.
"""

import importlib
import json
import os
import pathlib
import re
import sys

import duckdb
import read_cloud


def load(name):
    package = pathlib.Path(importlib.import_module(f"duckdb_extension_{name}").__file__).parent
    return f"LOAD '{package / 'extensions' / f'v{duckdb.__version__}' / f'{name}.duckdb_extension'}';"


def runnable(script):
    """The script without what wants the network."""
    script = re.sub(r"^INSTALL \w+;\n", "", script, flags=re.MULTILINE)
    return re.sub(r"^LOAD (\w+);", lambda found: load(found[1]), script, flags=re.MULTILINE)


def rows(connection, query):
    found = connection.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, [None if value is None else str(value) for value in row])) for row in found.fetchall()]


def main():
    # The caller's own settings of clouds and proxies are not the tests'.
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    script, place, *queries = sys.argv[1:]
    if place.startswith("{"):
        connection = read_cloud.connect(json.loads(place))
    else:
        config = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        connection = duckdb.connect(place, config=config)
    # Nobody's clock is to matter.
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    connection.execute(runnable(pathlib.Path(script).read_text(encoding="utf-8")))
    json.dump([rows(connection, query) for query in queries], sys.stdout)
    # The readers' own threads do not always survive an orderly end of the interpreter, so it ends at once.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
