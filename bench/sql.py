"""Asks every query of docs/recipes.md of Tillhouse and of DuckDB, over one warehouse: compares the values, and how long both take.

    sql.py --binary TILLHOUSE [--project DIR] [--runs N] [--only WORDS]

DIR is a project with a published run; without one `tillhouse demo` makes one. The queries are those of the page, as they stand, for both. What DuckDB has not is defined beside the views
of `tillhouse attach duckdb`, see `beside`; none needs other words. Behind them stand a few of our own (AT_SIZE), which are asked of ten times as many rows and held to a goal: distinct
texts by groups, and texts that are put together in an order.

Values: numbers by their value, with all digits; texts, days and instants as they are; rows in their order, or in any where the query has none. Where DuckDB's value is a float, which its `/`
makes of decimals, ours is exact: they may differ by a billionth, and one in a hundred, where both are rounded, by one in the last digit, for a float has no halves to round. Their number is printed.

Times: every contender is a process that answers all queries twice, and the second time counts, so that files are known and code is loaded; processes take turns, and the median of each
query counts. Tillhouse's are taken where its results arrive, as JSON, in the pipe that it writes; DuckDB's around execute and fetchall in Python.

  tillhouse      tillhouse sql --format json -f FILE
  duckdb         over the views of `tillhouse attach duckdb`, which read the same files as Delta tables
  duckdb tables  over tables of its own, copied from these views into its memory beforehand

Environment: BENCH_TRANSACTIONS (100000), BENCH_RUNS (5). With no runs, values alone are compared. The exit code is 1 where a value differs, a query fails, or the goal is missed.
"""

import argparse
import datetime
import decimal
import json
import os
import pathlib
import pickle
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

from bench import LIMIT, Stop, environment, number, output_of, say

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "recipes.md"

# By how much a float may differ from a decimal, as a part of it.
PRECISION = decimal.Decimal("1e-9")
# How many of the floats may be rounded the other way: more is no matter of halves.
MOST_HALVES = 0.01

BLANKS = re.compile(r"\s*")

# Ten texts of each transaction, all of them different.
TEXTS = """(
  SELECT transaction_key, site_key, coalesce(business_date, DATE '2026-01-01') AS day, transaction_key || '-' || CAST(x AS VARCHAR) AS k, amount
  FROM transactions CROSS JOIN (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)) AS v(x)
)"""
# Queries whose time depends on how many rows there are; GOAL is the most that each may take of DuckDB's time over the same files.
AT_SIZE = {
    "at size: distinct texts": f"SELECT count(DISTINCT k) AS n FROM {TEXTS}",
    "at size: distinct texts by site": f"SELECT site_key, count(DISTINCT k) AS n FROM {TEXTS} GROUP BY 1\nORDER BY 1",
    "at size: distinct texts beside sums, by site and day": f"SELECT site_key, day, count(DISTINCT k) AS n, count(*) AS rows_, sum(amount) AS total FROM {TEXTS} GROUP BY 1, 2\nORDER BY 1, 2",
    "at size: distinct texts by transaction": f"SELECT sum(n) AS n FROM (SELECT transaction_key, count(DISTINCT k) AS n FROM {TEXTS} GROUP BY 1)",
    "at size: texts in their order, by site": f"SELECT site_key, length(texts) AS n, left(texts, 200) AS begins FROM (SELECT site_key, string_agg(k, ',' ORDER BY k DESC) AS texts FROM {TEXTS} GROUP BY 1)\nORDER BY 1",
    "at size: texts in the order of amounts, by day": f"SELECT day, length(texts) AS n, left(texts, 200) AS begins FROM (SELECT day, string_agg(k, ',' ORDER BY amount, k) AS texts FROM {TEXTS} GROUP BY 1)\nORDER BY 1",
    "at size: texts in their order, by transaction": f"SELECT sum(length(texts)) AS n FROM (SELECT transaction_key, string_agg(k, ',' ORDER BY k DESC) AS texts FROM {TEXTS} GROUP BY 1)",
}
GOAL = 1.5
# What Tillhouse may take: a million texts in their order are more than the usual limit. DuckDB takes up to 80 % of the machine's memory.
MEMORY = "2GiB"

# Our functions that recipes use, and DuckDB has not.
MACROS = """
CREATE MACRO local_timestamp(instant, zone) AS timezone(zone, instant);
CREATE MACRO local_hour(instant, zone) AS date_part('hour', timezone(zone, instant));
CREATE MACRO included_tax(amount, percent) AS CAST(round_even(CAST(amount AS DOUBLE) * percent / (100 + percent), 4) AS DECIMAL(38, 4));
"""


def recipes():
    """The page's queries by their questions."""
    found, question = {}, None
    lines = iter(PAGE.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith("### "):
            question = line.removeprefix("### ")
        elif line == "```sql":
            if question is None or question in found:
                raise Stop(f"{PAGE.name}: every query has a question of its own, and one below {question!r} has none")
            found[question] = "\n".join(iter(lambda: next(lines), "```"))
    if not found:
        raise Stop(f"{PAGE} has no queries")
    return found


class Tillhouse:
    name = "tillhouse"

    def __init__(self, binary, project, work):
        self.command = [binary, "--project", project, "sql", "--memory-limit", MEMORY, "--format", "json"]
        self.work = work

    def start(self):
        begin = time.perf_counter()
        output_of([*self.command, "SELECT 1"], env=environment())
        return time.perf_counter() - begin

    def answer(self, queries, times):
        """Rows of each query, and seconds that it took the last time."""
        file = self.work / "queries.sql"
        file.write_text(";\n\n".join(list(queries.values()) * times) + ";\n", encoding="utf-8")
        written, chunks = bytearray(), []
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                [*self.command, "-f", file], env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
            try:
                while chunk := os.read(process.stdout.fileno(), 1 << 20):
                    written += chunk
                    chunks.append((len(written), time.perf_counter()))
                process.wait(LIMIT)
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            said = log.read().decode(errors="replace")
        if process.returncode != 0:
            raise Stop(f"tillhouse sql ended with {process.returncode}: {said[-4000:]}")
        results = list(documents(written.decode()))
        if len(results) != times * len(queries):
            raise Stop(f"tillhouse sql gave {len(results)} results of {times * len(queries)} queries")
        arrived, ends = iter(chunks), []
        at, when = next(arrived)
        for _, end in results:
            while at < end:
                at, when = next(arrived)
            ends.append(when)
        first = len(results) - len(queries)
        rows = {name: found for name, (found, _) in zip(queries, results[first:])}
        taken = [ends[i] - ends[i - 1] for i in range(first, len(results))] if first else []
        return rows, dict(zip(queries, taken))


def documents(text):
    """Each result, and the byte behind it."""
    decoder = json.JSONDecoder(
        object_pairs_hook=lambda pairs: [value for _, value in pairs], parse_float=decimal.Decimal, parse_int=decimal.Decimal
    )
    at, bytes_before = 0, 0
    while at < len(text):
        found, end = decoder.raw_decode(text, at)
        bytes_before += len(text[at:end].encode())
        yield [[ours(value) for value in row] for row in found], bytes_before
        at = BLANKS.match(text, end).end()
        bytes_before += at - end


def ours(value):
    """A value as JSON has it. An instant may have noughts behind its second."""
    if isinstance(value, list):
        return [ours(element) for element in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z?", value):
        return re.sub(r"\.?0*(Z?)$", r"\1", value)
    return value


def theirs(value):
    """A value as Python has it from DuckDB, in the form of `ours`; a float stays one."""
    if isinstance(value, (list, tuple)):
        return [theirs(element) for element in value]
    if isinstance(value, bool) or value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, (int, decimal.Decimal)):
        return decimal.Decimal(value)
    if isinstance(value, datetime.datetime):
        text = value.isoformat() if value.tzinfo is None else value.astimezone(datetime.timezone.utc).replace(tzinfo=None).isoformat()
        return (text.rstrip("0").rstrip(".") if "." in text else text) + ("" if value.tzinfo is None else "Z")
    if isinstance(value, datetime.date):
        return value.isoformat()
    raise Stop(f"{type(value).__name__} is nothing that is compared: {value!r}")


class DuckDb:
    """DuckDB in a process of its own, which is this program with --peer."""

    def __init__(self, name, script, warehouse, work, is_copied):
        self.name, self.work = name, work
        self.command = [sys.executable, "-B", __file__, "--peer", script, warehouse, "copied" if is_copied else "views"]

    def start(self):
        begin = time.perf_counter()
        self.run({}, 1)
        return time.perf_counter() - begin

    def run(self, queries, times):
        asked, answered = self.work / "asked.json", self.work / "answered.pickle"
        asked.write_text(json.dumps({"times": times, "queries": queries}), encoding="utf-8")
        output_of([*map(str, self.command), asked, answered], env=environment())
        return pickle.loads(answered.read_bytes())

    def answer(self, queries, times):
        rows, taken = self.run(queries, times)
        return {name: [[theirs(value) for value in row] for row in found] for name, found in rows.items()}, taken


def beside(connection, script, warehouse):
    """What the script of `attach` does not define: bookkeeping as it is now, the newest versions, members of groups, our functions."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS ops; CREATE SCHEMA IF NOT EXISTS latest")
    for empty in sorted(pathlib.Path(script).parent.glob("ops.*.parquet")):
        connection.execute(f"CREATE VIEW {empty.stem} AS SELECT * FROM '{empty}'")
    for log in sorted(pathlib.Path(warehouse).glob("ops/*/_delta_log")):
        table = log.parent
        connection.execute(f"CREATE OR REPLACE VIEW ops.{table.name} AS SELECT * FROM delta_scan('{table}')")
    connection.execute(
        "CREATE VIEW latest.hecone_transactions AS SELECT * FROM (SELECT * FROM hecone.transactions "
        "QUALIFY row_number() OVER (PARTITION BY _record_key ORDER BY _load_id DESC) = 1) WHERE _deleted_at IS NULL"
    )
    connection.execute(
        "CREATE VIEW unified.site_group_members AS SELECT group_key, name AS group_name, unnest(site_keys) AS site_key FROM unified.site_groups"
    )
    connection.execute(MACROS)


def copy(connection):
    """Tables in the place of the views over Delta tables."""
    query = "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal AND sql LIKE '%delta_scan(%'"
    for schema, name in connection.execute(query).fetchall():
        table = f'"{schema}"."{name}"'
        connection.execute(f"CREATE TABLE memory.main.copied AS SELECT * FROM {table}; DROP VIEW {table}")
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM memory.main.copied; DROP TABLE memory.main.copied")


def be_duckdb(script, warehouse, kind, asked, answered):
    import duckdb

    sys.path.insert(0, str(HERE.parent / "tests/python"))
    import attached

    config = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    connection = duckdb.connect(":memory:", config=config)
    # Nulls are the largest values, as in PostgreSQL and here; days of instants are UTC's.
    connection.execute("SET TimeZone = 'UTC'; SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
    connection.execute(attached.runnable(pathlib.Path(script).read_text(encoding="utf-8")))
    beside(connection, script, warehouse)
    if kind == "copied":
        copy(connection)
    given = json.loads(pathlib.Path(asked).read_text(encoding="utf-8"))
    rows, taken = {}, {}
    for _ in range(given["times"]):
        for name, query in given["queries"].items():
            begin = time.perf_counter()
            try:
                rows[name] = connection.execute(query).fetchall()
            except duckdb.Error as error:
                raise SystemExit(f"{name} DuckDB does not answer: {error}") from error
            taken[name] = time.perf_counter() - begin
    pathlib.Path(answered).write_bytes(pickle.dumps((rows, taken)))
    # The reader's own threads do not always survive an orderly end of the interpreter, so it ends at once.
    os._exit(0)


class Comparison:
    """Values of both beside each other."""

    def __init__(self):
        self.values = self.floats = self.halves = 0

    def is_equal(self, mine, other):
        self.values += 1
        if isinstance(mine, list) and isinstance(other, list):
            return len(mine) == len(other) and all(self.is_equal(*pair) for pair in zip(mine, other))
        if not isinstance(other, float) or not isinstance(mine, decimal.Decimal):
            return type(mine) is type(other) and mine == other
        self.floats += 1
        shown = decimal.Decimal(repr(other))
        difference = abs(mine - shown)
        if difference <= abs(mine) * PRECISION:
            return True
        last = max(-value.normalize().as_tuple().exponent for value in (mine, shown))
        is_half = 0 < last <= 6 and difference == decimal.Decimal(1).scaleb(-last)
        self.halves += is_half
        return is_half

    def difference(self, query, mine, other):
        """What differs, in words; None where nothing does."""
        if len(mine) != len(other):
            return f"{len(mine)} rows, and {len(other)} in DuckDB"
        if not re.search(r"^ORDER BY", query, re.MULTILINE):
            mine, other = sorted(mine, key=repr), sorted(other, key=repr)
        for number_of_row, (row, row_there) in enumerate(zip(mine, other), 1):
            if not self.is_equal(row, row_there):
                return f"row {number_of_row} is\n      {shown(row)}\n    and in DuckDB\n      {shown(row_there)}"
        return None


def shown(row):
    return " | ".join("NULL" if value is None else str(value) for value in row)


def compare(queries, tillhouse, duckdb):
    """Prints which values differ; how many queries' do."""
    mine, _ = tillhouse.answer(queries, 1)
    other, _ = duckdb.answer(queries, 1)
    comparison, differing, empty = Comparison(), 0, []
    for name, query in queries.items():
        if not mine[name]:
            empty.append(name)
        if difference := comparison.difference(query, mine[name], other[name]):
            differing += 1
            print(f"DIFFERENT  {name}\n    {difference}")
    print(
        f"{len(queries)} queries, {sum(map(len, mine.values()))} rows, {comparison.values} values, of which {comparison.floats} are floats in DuckDB"
        f" ({comparison.halves} of them rounded the other way at a half)"
    )
    for name in empty:
        print(f"without a row: {name}")
    if comparison.halves > MOST_HALVES * comparison.floats:
        raise Stop("so many values are not rounded differently by chance")
    return differing


def measure(queries, contenders, runs):
    """Prints what each query takes of whom; how many miss the goal."""
    taken = {contender.name: {name: [] for name in queries} for contender in contenders}
    starts = {contender.name: [] for contender in contenders}
    for turn in range(runs):
        for contender in contenders:
            starts[contender.name].append(contender.start())
            _, times = contender.answer(queries, 2)
            for name, seconds in times.items():
                taken[contender.name][name].append(seconds)
            say(f"  {turn + 1}: {contender.name:<14} {sum(times.values()):8.2f} s")
    medians = {of: {name: statistics.median(all_of) for name, all_of in times.items()} for of, times in taken.items()}
    ours_, *peers = medians
    cores = os.cpu_count()
    print(f"\n{platform.system()} {platform.machine()}, {cores} cores; medians of {runs} runs")
    width = max(map(len, queries))
    print(f"{'ms':<{width}}" + "".join(f"{of:>15}" for of in medians) + "".join(f"{'of ' + of:>18}" for of in peers))
    ratios = {of: [medians[ours_][name] / medians[of][name] for name in queries] for of in peers}
    for at, name in enumerate(queries):
        print(
            f"{name:<{width}}"
            + "".join(f"{1000 * medians[of][name]:>15.1f}" for of in medians)
            + "".join(f"{ratios[of][at]:>18.2f}" for of in peers)
        )
    print(f"{'all':<{width}}" + "".join(f"{1000 * sum(medians[of].values()):>15.1f}" for of in medians))
    # Of the last one with its copying.
    print(f"{'start of the process':<{width}}" + "".join(f"{1000 * statistics.median(starts[of]):>15.1f}" for of in medians))
    at_size = [name in AT_SIZE for name in queries]
    for of in peers:
        recipes_alone = [ratio for ratio, is_large in zip(ratios[of], at_size) if not is_large]
        if recipes_alone:
            print(f"median of the ratios, tillhouse to {of}: {statistics.median(recipes_alone):.2f}")
    # The first peer reads the same files.
    missed = 0
    for name, ratio, is_large in zip(queries, ratios[peers[0]], at_size):
        if is_large:
            missed += ratio > GOAL
            print(f"{'PASS' if ratio <= GOAL else 'FAIL'}  {name}: {ratio:.2f} of {peers[0]}'s time, at most {GOAL}")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--project", type=pathlib.Path, help="a project with a published run, instead of the demo's")
    parser.add_argument("--runs", type=int, help="runs of each contender, of which the median counts; 0 compares values alone")
    parser.add_argument("--only", default="", help="only queries whose question contains this")
    args = parser.parse_args()
    binary = args.binary.resolve()
    runs = number("BENCH_RUNS", 5) if args.runs is None else args.runs
    queries = {question: query for question, query in (recipes() | AT_SIZE).items() if args.only in question}
    if not queries:
        raise Stop(f"no question contains {args.only!r}")
    with tempfile.TemporaryDirectory(prefix="tillhouse-bench-") as work:
        work = pathlib.Path(work)
        project = args.project
        if project is None:
            project = work / "demo"
            transactions = str(number("BENCH_TRANSACTIONS", 100_000))
            say(f"tillhouse demo --transactions {transactions}")
            output_of([binary, "demo", "--transactions", transactions, "--dir", project], env=environment())
        project = project.resolve()
        script, warehouse = work / "attached.sql", project / "warehouse"
        script.write_text(output_of([binary, "--project", project, "attach", "duckdb"], env=environment()), encoding="utf-8")
        # A bookkeeping table is made by its first row, and empty until then.
        for name in sorted(set(re.findall(r"\bops\.(\w+)", " ".join(queries.values())))):
            if not (warehouse / "ops" / name).exists():
                output_of([binary, "--project", project, "sql", "--output", work / f"ops.{name}.parquet", f"SELECT * FROM ops.{name}"], env=environment())
        tillhouse = Tillhouse(binary, project, work)
        duckdb = DuckDb("duckdb", script, warehouse, work, is_copied=False)
        differing = compare(queries, tillhouse, duckdb)
        missed = 0
        if runs:
            missed = measure(queries, [tillhouse, duckdb, DuckDb("duckdb tables", script, warehouse, work, is_copied=True)], runs)
        print(f"\n{'FAIL' if differing else 'PASS'}  values: {differing} of {len(queries)} queries differ")
        return 1 if differing or missed else 0


if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["--peer"]:
            be_duckdb(*sys.argv[2:])
        sys.exit(main())
    except Stop as stop:
        say(f"error: {stop}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
